"""Checks of what the readers are asked for."""

from collections.abc import Iterable

import numpy as np

from mapping_lib._names import suggest


def check_seed(seed: int) -> None:
    """Refuse what NumPy can't take, and -1, which would draw training patches as test ones are."""
    if not isinstance(seed, int | np.integer) or seed < 0:
        raise ValueError(f"seed must be a whole number from 0, got {seed!r}")


def at_least_one(**counts: int) -> None:
    """Refuse counts and sizes below one."""
    for name, count in counts.items():
        if not isinstance(count, int | np.integer) or count < 1:
            raise ValueError(f"{name} must be at least 1 and whole, got {count!r}")


def one_of(known: Iterable[str], **given: str) -> None:
    """Refuse a name that isn't one of those known, and suggest the nearest."""
    known = list(known)
    for name, value in given.items():
        if value not in known:
            raise ValueError(f"unknown {name} {value!r}" + suggest(value, known))
