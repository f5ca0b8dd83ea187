"""The checks of the exercises of section 4.1, Mappings."""

from __future__ import annotations

from collections.abc import Callable
from math import isclose, isfinite, sqrt
from typing import Any

import numpy as np
import torch
from torch import Tensor

from mapping_lib.lab.exercises.compare import compare
from mapping_lib.lab.exercises.core import exercise


@exercise("4.1-a")
def singular_values_by_hand(answer: Any) -> str | None:
    """Check s_max, s_min and κ of the matrix with the rows (3, 0) and (4, 5)."""
    largest, smallest = sqrt(45), sqrt(5)
    if not isinstance(answer, list | tuple | np.ndarray | Tensor) or len(answer) != 3:
        return "give a list of three numbers: [s_max, s_min, kappa]"
    hints = {
        "45 and 5 are the eigenvalues of WᵀW; the singular values are their square roots": [45, 5],
        "5 and 3 are the eigenvalues of W, not its singular values: start from WᵀW": [5, 3],
        "the larger singular value comes first": [smallest, largest],
    }
    wrong = compare(
        list(answer[:2]), [largest, smallest], what="[s_max, s_min]", hints=hints, tolerance=2e-3
    )
    if wrong is not None:
        try:
            product = abs(float(answer[0]) * float(answer[1]))
        except (TypeError, ValueError):
            return "give three plain numbers: [s_max, s_min, kappa]"
        if wrong not in hints and isfinite(product) and not isclose(product, 15, rel_tol=1e-3):
            return f"{wrong}. Their product must be |det W| = 15; yours is {product:.4g}"
        return wrong
    return compare(
        answer[2],
        largest / smallest,
        what="κ",
        hints={
            "κ is the ratio of the singular values, not of the eigenvalues of WᵀW": 9.0,
            "κ is s_max / s_min, at least 1: yours is upside down": 1 / 3,
        },
        tolerance=2e-3,
    )


@exercise("4.1-b")
def lost(answer: Callable[[Tensor, Tensor], Any]) -> str | None:
    """Check the part of a vector that lies in a matrix's null space."""
    weight = torch.randn(2, 5, dtype=torch.float64)
    x = torch.randn(5, dtype=torch.float64)
    kept = torch.linalg.pinv(weight) @ weight @ x
    hints = {
        "this is the part that W keeps; the lost part is the rest of x": kept,
        "the sign is wrong: this is kept − x": kept - x,
        "x − WᵀWx would be right if the rows of W were perpendicular unit vectors; "
        "take perpendicular ones from the SVD": x - weight.T @ weight @ x,
        "this is x itself: the part in the row space of W must be taken off": x,
    }
    return compare(answer(weight, x), x - kept, what="the lost part", hints=hints)


@exercise("4.1-c")
def layer_jacobian(answer: Callable[[Tensor, Tensor, Tensor], Any]) -> str | None:
    """Check the Jacobian of a sigmoid layer."""
    weight = torch.randn(4, 3, dtype=torch.float64)
    bias, x = torch.randn(4, dtype=torch.float64), torch.randn(3, dtype=torch.float64)
    σ = torch.sigmoid(weight @ x + bias)
    without = torch.sigmoid(weight @ x)
    hints = {
        "this is W, the Jacobian of Wx + b: the factor σ′(z) is missing": weight,
        "this is diag(σ(z)) W: the derivative σ′(z) is due in place of σ(z)": σ[:, None] * weight,
        "σ′ is taken at Wx: the bias is missing in z": (without * (1 - without))[:, None] * weight,
        "1 − σ² is the derivative of tanh; for the sigmoid it is σ(1 − σ)": (
            (1 - σ**2)[:, None] * weight
        ),
    }
    jacobian = (σ * (1 - σ))[:, None] * weight
    return compare(answer(x, weight, bias), jacobian, what="the Jacobian", hints=hints)


@exercise("4.1-d")
def deviation(answer: Callable[[float, int], Any]) -> str | None:
    """Check the standard deviation of weights that keeps the gradient behind leaky ReLUs."""
    cases = [(0.1, 50), (0.3, 200), (0.7, 64)]
    hints = {
        "this is the variance v; the standard deviation is its square root": [
            2 / (n * (1 + a**2)) for a, n in cases
        ],
        "this does not depend on a: it is right for ReLU (a = 0) only": [
            sqrt(2 / n) for _, n in cases
        ],
        "this is Xavier's: it is right for a = 1 only": [sqrt(1 / n) for _, n in cases],
        "the formula has the mean of σ′ squared, so a² where you have a": [
            sqrt(2 / (n * (1 + a))) for a, n in cases
        ],
        "squaring comes before averaging: the mean of σ′² is (1 + a²)/2, not ((1 + a)/2)²": [
            2 / (sqrt(n) * (1 + a)) for a, n in cases
        ],
        "the factor n v (1 + a²)/2 must be 1, so (1 + a²)/2 belongs below the line": [
            sqrt((1 + a**2) / (2 * n)) for a, n in cases
        ],
    }
    due = [sqrt(2 / (n * (1 + a**2))) for a, n in cases]
    what = f"the deviation for (a, n) in {cases}"
    return compare([answer(a, n) for a, n in cases], due, what=what, hints=hints)


@exercise("4.1-e")
def kept_share(answer: Callable[[Tensor, Tensor, int], Any]) -> str | None:
    """Check the share of the target's variance in the source's principal directions."""
    scales = torch.tensor([3.0, 2.0, 1.0, 1.0, 0.5, 0.5], dtype=torch.float64)
    source = torch.randn(40, 6, dtype=torch.float64) * scales + 2
    target = torch.randn(30, 6, dtype=torch.float64) * scales.roll(1) - 1
    rank = 2
    own = target - target.mean(0)
    across = torch.linalg.svd(source - source.mean(0), full_matrices=False).Vh
    hints = {
        "this is the share of the source's own variance: project the target": _share(
            source - source.mean(0), source - source.mean(0), rank
        ),
        "these are the target's own principal directions: take the source's": _share(
            own, own, rank
        ),
        "the target is centred by the source's mean: its variance is about its own": _share(
            source - source.mean(0), target - source.mean(0), rank
        ),
        "the target is not centred: subtract its mean before measuring": _share(
            source - source.mean(0), target, rank
        ),
        "the source is not centred: its first direction is then little but its mean": _share(
            source, own, rank
        ),
        "this is a ratio of lengths; variance needs their squares": sqrt(
            _share(source - source.mean(0), own, rank)
        ),
        "this is the share that is lost; the kept one is 1 minus it": 1
        - _share(source - source.mean(0), own, rank),
        "the principal directions are the rows of Vh; you took its columns": float(
            (own @ across[:, :rank]).square().sum() / own.square().sum()
        ),
        "this is in percent: give the share, between 0 and 1": 100
        * _share(source - source.mean(0), own, rank),
    }
    due = _share(source - source.mean(0), own, rank)
    return compare(answer(source, target, rank), due, what="the share", hints=hints)


def _share(directions_of: Tensor, data: Tensor, rank: int) -> float:
    rows = torch.linalg.svd(directions_of, full_matrices=False).Vh[:rank]
    return float((data @ rows.T).square().sum() / data.square().sum())
