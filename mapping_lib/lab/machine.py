"""The machine a notebook runs on: its random numbers, devices and threads."""

from __future__ import annotations

import random
from types import TracebackType

import numpy as np
import torch

from mapping_lib.lab.names import suggest


def seed_everything(seed: int) -> None:
    """Seed the random numbers of Python, NumPy and PyTorch on all devices.

    Raises
    ------
    ValueError
        The seed is not a whole number from 0 to 2³² − 1.
    """
    if not isinstance(seed, int) or not 0 <= seed < 2**32:
        raise ValueError(f"a seed is a whole number from 0 to 2**32 - 1, not {seed!r}")
    random.seed(seed)
    np.random.seed(seed)  # noqa: NPY002  (libraries that still draw from the global state)
    torch.manual_seed(seed)


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


class single_thread:  # noqa: N801  (it reads like a function, as torch.no_grad does)
    """Let PyTorch compute with one thread: from now on, or inside a ``with`` block.

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
        torch.set_num_threads(1)

    def __enter__(self) -> None:
        pass

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        torch.set_num_threads(self._before)
