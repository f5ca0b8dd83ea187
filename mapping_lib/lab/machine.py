"""The machine a notebook runs on: its random numbers, devices and threads."""

from __future__ import annotations

import os
import random
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from types import TracebackType

import numpy as np
import torch
from IPython.core.getipython import get_ipython
from threadpoolctl import threadpool_limits

from mapping_lib._names import suggest


def seed_everything(seed: int) -> None:
    """Seed the random numbers of Python, NumPy and PyTorch on all devices.

    Parameters
    ----------
    seed
        A whole number from 0 to 2³² − 1.

    Raises
    ------
    ValueError
        The seed is not a whole number from 0 to 2³² − 1.
    """
    whole = hasattr(seed, "__index__") and not isinstance(seed, bool)
    if not whole or not 0 <= seed < 2**32:
        raise ValueError(f"a seed is a whole number from 0 to 2**32 - 1, not {seed!r}")
    seed = int(seed)
    random.seed(seed)
    np.random.seed(seed)  # noqa: NPY002  (libraries that still draw from the global state)
    torch.manual_seed(seed)


@contextmanager
def seeded(seed: int) -> Iterator[None]:
    """Draw from a seed inside a ``with`` block, as the first weights of layers are drawn.

    PyTorch's generator of the CPU goes on afterwards as if nothing had been drawn; those of other
    devices are left alone.

    Parameters
    ----------
    seed
        A whole number from 0.

    Examples
    --------
    >>> with seeded(0):
    ...     first = torch.rand(2)
    >>> with seeded(0):
    ...     print(torch.equal(torch.rand(2), first))
    True
    """
    with torch.random.fork_rng(devices=[]):
        torch.default_generator.manual_seed(seed)  # torch.manual_seed would seed all devices
        yield


def device(name: str | torch.device = "auto") -> torch.device:
    """Choose a device by name.

    Parameters
    ----------
    name
        ``"cpu"``, ``"cuda"`` (or ``"cuda:1"`` …), ``"mps"``, or ``"auto"``: the first of CUDA, MPS
        and CPU that this machine has.

    Raises
    ------
    ValueError
        The name is unknown, or this machine has no such device.

    Examples
    --------
    >>> device("cpu")
    device(type='cpu')
    """
    kind, _, index = str(name).partition(":")
    found = {
        "cuda": torch.cuda.device_count() if torch.cuda.is_available() else 0,
        "mps": int(torch.backends.mps.is_available()),
        "cpu": 1,
    }
    if kind == "auto":
        return torch.device(next(kind for kind, count in found.items() if count))
    if kind not in found or not (index == "" or index.isdecimal()):
        raise ValueError(f"unknown device {str(name)!r}{suggest(str(name), ['auto', *found])}")
    if int(index or 0) >= found[kind]:
        present = ", ".join(kind for kind, count in found.items() if count)
        raise ValueError(
            f"device {str(name)!r} is not there: PyTorch {torch.__version__} sees {present}; "
            "use device='auto' to take what there is"
        )
    return torch.device(name)


def shows_progress(wanted: bool | None = None) -> bool:
    """Decide whether long work shows a progress bar.

    Parameters
    ----------
    wanted
        True or False as the caller says; None: as the environment variable MAPPING_PROGRESS says
        (0 or 1), and without it in a terminal and in a notebook that somebody is looking at.

    Raises
    ------
    ValueError
        MAPPING_PROGRESS is neither 0 nor 1.
    """
    if wanted is not None:
        return wanted
    setting = os.environ.get("MAPPING_PROGRESS", "")
    if setting not in ("", "0", "1"):
        raise ValueError(f"MAPPING_PROGRESS must be 0 or 1, not {setting!r}")
    return setting == "1" if setting else sys.stderr.isatty() or _in_notebook()


def _in_notebook() -> bool:
    return hasattr(get_ipython(), "kernel")


class single_thread:  # noqa: N801  (it reads like a function, as torch.no_grad does)
    """Let PyTorch, NumPy and scikit-learn compute with one thread, or inside a ``with`` block.

    Threads that wait for each other make small models slow: on a busy machine with two cores, two
    threads can take ten times as long as one.

    Examples
    --------
    >>> before = torch.get_num_threads()
    >>> with single_thread():
    ...     torch.get_num_threads()
    1
    >>> torch.get_num_threads() == before
    True
    """

    def __init__(self) -> None:
        self._before = torch.get_num_threads()
        self._libraries = threadpool_limits(1)
        torch.set_num_threads(1)

    def __enter__(self) -> None:
        pass

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._libraries.restore_original_limits()
        torch.set_num_threads(self._before)
