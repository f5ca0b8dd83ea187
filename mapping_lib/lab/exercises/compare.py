"""Say what is wrong with a number or a tensor, in the words a teacher would use."""

from __future__ import annotations

from collections.abc import Mapping
from fractions import Fraction
from typing import Any

import numpy as np
import torch
from torch import Tensor

from mapping_lib.lab.exercises.core import _a, describe

_PLACES = ("first", "second", "third", "fourth")


def compare(
    value: Any,
    expected: Any,
    *,
    what: str = "the answer",
    hints: Mapping[str, Any] | None = None,
    factors: Mapping[str, float] | None = None,
    tolerance: float = 1e-4,
) -> str | None:
    """Compare an answer with the expected value and name the mistake.

    Recognised, in this order: no numbers at all, no tensor, whole numbers where real ones are due
    (and the other way round), the wrong values in `hints`, a missing sum or mean, transposed,
    wrong shape, NaN and infinity, wrong sign, a constant factor, a constant difference.

    Parameters
    ----------
    value
        The answer, or what the learner's function returned.
    expected
        The right value. When it is a tensor, `value` must be one too; when it is a number or a
        list, Python's, NumPy's and PyTorch's numbers are all accepted.
    what
        What the value is, to begin the messages with: ``"the gradient"``.
    hints
        Wrong values to expect here, by what is to be said of them: ``{"the factor 2 is missing":
        expected / 2}``.
    factors
        Numbers a factor may be made of, by name: ``{"n": 5}`` recognises n, 1/n, 2n, 2/n …
        Choose sizes whose products and ratios differ.
    tolerance
        Allowed difference, relative to the largest expected entry.

    Returns
    -------
    str or None
        What is wrong; None when nothing is.

    Examples
    --------
    >>> compare(0.5, 0.5)
    >>> compare(-0.5, 0.5, what="the slope")
    'the slope has the wrong sign'
    >>> compare(0.1, 0.5, what="the mean", factors={"n": 5})
    'the mean is off by the factor 1/n'
    """
    if callable(value) and not isinstance(value, Tensor):
        return f"{what} is a function where its value is due: call it"
    if isinstance(expected, Tensor) and not isinstance(value, Tensor):
        cut = isinstance(value, float) and expected.dim() == 0 and expected.is_floating_point()
        why = "; float() and .item() cut the gradient" if cut else ""
        return f"{what} is {_a(value)} where a tensor is due{why}"
    got, due = _numbers(value), _numbers(expected)
    assert due is not None, "the expected value must be numbers"
    if got is None:
        return f"{what} {_no_numbers(value)}"
    if got.is_complex() and not due.is_complex():
        return f"{what} is complex where real numbers are due"
    if isinstance(expected, Tensor) and got.is_floating_point() != due.is_floating_point():
        wanted = "real numbers" if due.is_floating_point() else "whole numbers"
        return f"{what} has dtype {got.dtype} where {wanted} ({due.dtype}) are due"
    got, due = got.double(), due.double()
    if not isinstance(expected, Tensor) and got.numel() == due.numel() == 1:
        got = got.reshape(due.shape)
    if _close(got, due, tolerance):
        return None
    for words, wrong in (hints or {}).items():
        candidate = _numbers(wrong)
        if candidate is not None and _close(got, candidate.double(), tolerance):
            return words
    mistake = (
        _wrong_shape(got, due, tolerance)
        or _not_finite(got, due)
        or _wrong_factor(got, due, factors or {}, tolerance)
        or _wrong_entries(got, due, tolerance)
    )
    return f"{what} {mistake}"


def _numbers(value: Any) -> Tensor | None:
    if isinstance(value, Tensor):
        return value.detach().cpu()
    if isinstance(value, Fraction):
        return torch.tensor(float(value))
    if isinstance(value, np.ndarray):
        value = value.copy()  # torch takes none whose axes are turned round
    try:
        return torch.as_tensor(value)
    except (TypeError, ValueError, RuntimeError):
        pass
    if isinstance(value, str):  # whose letters are strings again
        return None
    try:  # a list of tensors, of NumPy's numbers, or of fractions
        entries = [_numbers(entry) for entry in value]
        known = [entry for entry in entries if entry is not None]
        return torch.stack(known) if len(known) == len(entries) else None
    except (TypeError, ValueError, RuntimeError):
        return None


def _no_numbers(value: Any) -> str:
    if isinstance(value, list | tuple):
        for place, entry in enumerate(value):
            if _numbers(entry) is None:
                return f"has {describe(entry)} at [{place}] where a number is due"
        if value:
            return "has entries of different shapes where numbers are due"
    return f"is {_a(value)} where numbers are due"


def _allowed(due: Tensor, tolerance: float) -> float:
    finite = due[due.isfinite()].abs()
    largest = finite.max().item() if finite.numel() else 0.0
    return tolerance * (largest or 1.0)


def _close(got: Tensor, due: Tensor, tolerance: float) -> bool:
    if got.shape != due.shape:
        return False
    near = (got - due).abs() <= _allowed(due, tolerance)
    return bool((near | (got == due)).all())


def _wrong_shape(got: Tensor, due: Tensor, tolerance: float) -> str | None:
    if got.dim() == 2 and _close(got.T, due, tolerance):
        return "is transposed"
    if got.shape == due.shape:
        return None
    has, wants = tuple(got.shape), tuple(due.shape)
    shapes = f"has the shape {has} where {wants} is due"
    if due.dim() == 0 and got.numel() > 1:
        for name, reduced in (("mean", got.mean()), ("sum", got.sum())):
            if _close(reduced, due, tolerance):
                return f"{shapes}: the {name} over its entries is missing"
    if got.numel() == due.numel() and _close(got.reshape(due.shape), due, tolerance):
        return f"{shapes}; its numbers are right"
    rows = due.shape[0] if due.dim() else 0
    if rows > 1 and due.numel() == rows and has == (rows, rows):
        return f"{shapes}: did a row and a column broadcast to a square?"
    return shapes


def _not_finite(got: Tensor, due: Tensor) -> str | None:
    if got.isnan().any() and not due.isnan().any():
        return "has entries that are NaN" if got.numel() > 1 else "is NaN"
    if got.isinf().any() and not due.isinf().any():
        return "has infinite entries" if got.numel() > 1 else "is infinite"
    return None


def _wrong_factor(
    got: Tensor, due: Tensor, factors: Mapping[str, float], tolerance: float
) -> str | None:
    if not (got != 0).any():
        return "is zero everywhere" if got.numel() > 1 else "is zero"
    used = due.abs() > _allowed(due, tolerance)
    if not used.any() or not due.isfinite().all():
        return None
    factor = (got[used] / due[used]).median().item()
    if factor == 0 or not _close(got / factor, due, tolerance):
        return None
    if abs(factor + 1) <= tolerance:
        return "has the wrong sign"
    for name, number in _named_factors(factors).items():
        if abs(factor - number) <= tolerance * abs(number):
            return f"is off by the factor {name}"
        if abs(factor + number) <= tolerance * abs(number):
            return f"is off by the factor {name} and has the wrong sign"
    # One number is always some factor away: that says nothing, and would give the answer away.
    return f"is off by the same factor {factor:.3g} everywhere" if used.sum() > 1 else None


def _named_factors(factors: Mapping[str, float]) -> dict[str, float]:
    named: dict[str, float] = {"2": 2.0, "1/2": 0.5}
    for name, number in factors.items():
        named |= {
            name: number,
            f"1/{name}": 1 / number,
            f"2{name}": 2 * number,
            f"2/{name}": 2 / number,
            f"{name}/2": number / 2,
            f"1/(2{name})": 1 / (2 * number),
        }
    return named


def _wrong_entries(got: Tensor, due: Tensor, tolerance: float) -> str:
    difference = got - due
    if got.numel() == 1:
        return "is too large" if difference.item() > 0 else "is too small"
    allowed = _allowed(due, tolerance)
    if (difference - difference.flatten()[0]).abs().max() <= allowed:
        return f"is off by the same difference {difference.flatten()[0].item():.3g} everywhere"
    wrong = difference.abs() > allowed
    if wrong.dim() == 1 and len(wrong) <= len(_PLACES):
        return _wrong_places(difference, wrong)
    first = wrong.nonzero()[0].tolist()
    return f"is wrong in {int(wrong.sum())} of {wrong.numel()} entries, first at {first}"


def _wrong_places(difference: Tensor, wrong: Tensor) -> str:
    """Name the wrong ones of a few numbers."""
    places = [place for place, hit in zip(_PLACES, wrong.tolist(), strict=False) if hit]
    if len(places) == 1:
        size = "large" if difference[wrong].item() > 0 else "small"
        return f"is wrong in its {places[0]} number, which is too {size}"
    return f"is wrong in its {', '.join(places[:-1])} and {places[-1]} numbers"
