"""Run a function in a new Python process: what is fixed at import can be another thing there.

Keras reads its backend once, when it is imported, and a process that has imported TensorFlow never
gives its memory back. So what is to be compared runs in processes of its own: arrays go in, arrays
come back, together with the memory that it took.
"""

import importlib
import json
import os
import resource
import subprocess
import sys
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

Array = npt.NDArray[Any]
_PEAK = "peak_mb"
_SHOWN = 2000  # characters of what a failed process wrote


def elsewhere(
    function: str,
    arrays: Mapping[str, Array | float | str],
    *,
    settings: Mapping[str, str] | None = None,
    timeout: float = 600,
) -> dict[str, Array]:
    """Call a function in a new process, and return the arrays that it returns.

    Taught in :ref:`keras` (section 7.1.3).

    Parameters
    ----------
    function
        Where it stands, as ``"package.module:name"``. It takes the arrays by name, and returns a
        dictionary of arrays or numbers.
    arrays
        What it is called with: arrays, numbers or words, by name.
    settings
        Environment variables that the process has besides this one's, such as
        ``{"KERAS_BACKEND": "torch"}``.
    timeout
        Seconds after which the process is ended.

    Returns
    -------
    dict
        What the function returned, as arrays, and under ``"peak_mb"`` the largest memory of the
        process in MB, imports included.

    Raises
    ------
    ValueError
        `function` is no such name, or an argument or result is called ``"peak_mb"``.
    RuntimeError
        The process failed or took too long; the message has the end of what it wrote.

    Examples
    --------
    >>> found = elsewhere("numpy:linspace", {"start": 0, "stop": 1, "num": 3})
    Traceback (most recent call last):
        ...
    RuntimeError: numpy:linspace returned a ndarray where a dictionary of arrays is due
    """
    module, _, name = function.partition(":")
    if not (module and name.isidentifier()):
        raise ValueError(f"a function is named 'package.module:name', not {function!r}")
    if _PEAK in arrays:
        raise ValueError(f"{_PEAK!r} is what comes back: call the argument otherwise")
    with tempfile.TemporaryDirectory() as folder:
        given, found = Path(folder, "given.npz"), Path(folder, "found.npz")
        np.savez(given, allow_pickle=False, **{n: np.asarray(a) for n, a in arrays.items()})
        call = json.dumps([function, str(given), str(found)])
        paths = [str(Path(__file__).parents[2]), os.environ.get("PYTHONPATH", "")]
        surroundings = os.environ | {"PYTHONPATH": os.pathsep.join(filter(None, paths))}
        code = f"from mapping_lib.lab.processes import _serve; _serve(*{call})"
        try:
            done = subprocess.run(
                [sys.executable, "-c", code],
                env=surroundings | dict(settings or {}),
                capture_output=True,
                text=True,
                timeout=timeout,
                check=False,
            )
        except subprocess.TimeoutExpired as error:
            raise RuntimeError(f"{function} took more than {timeout:g} s and was ended") from error
        if done.returncode:
            lines = done.stderr.strip()[-_SHOWN:]
            last = lines.rpartition("\n")[2].removeprefix("RuntimeError: ")
            raise RuntimeError(last if function in last else f"{function} failed:\n{lines}")
        with np.load(found, allow_pickle=False) as back:
            return {key: back[key] for key in back.files}


def peak_memory() -> float:
    """Return the largest memory that this process has had so far, in MB (10⁶ bytes).

    Pages of shared libraries count once they have been read. On Linux this is ``VmHWM``, which
    begins anew with each program; ``getrusage`` would remember the parent's.
    """
    status = Path("/proc/self/status")
    if status.is_file():
        for line in status.read_text().splitlines():
            if line.startswith("VmHWM:"):
                return int(line.split()[1]) * 1024 / 1e6
    largest = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return largest * (1 if sys.platform == "darwin" else 1024) / 1e6


def _serve(function: str, given: str, found: str) -> None:
    """Be the other process."""
    module, _, name = function.partition(":")
    with np.load(given, allow_pickle=False) as stored:
        arguments = {key: stored[key] for key in stored.files}
    single = {key: a.item() if a.ndim == 0 else a for key, a in arguments.items()}
    result = getattr(importlib.import_module(module), name)(**single)
    if not isinstance(result, Mapping):
        kind = type(result).__name__
        raise RuntimeError(f"{function} returned a {kind} where a dictionary of arrays is due")
    if _PEAK in result:
        raise RuntimeError(f"{function} returned {_PEAK!r}, which is measured here")
    arrays = {key: np.asarray(value) for key, value in result.items()}
    np.savez(found, allow_pickle=False, **arrays, **{_PEAK: np.asarray(peak_memory())})
