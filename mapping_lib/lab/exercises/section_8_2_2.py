"""Checks of the exercises of section 8.2.2, interpretability of transfer."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from mapping_lib.distances import linear_cka
from mapping_lib.lab.exercises.compare import compare
from mapping_lib.lab.exercises.core import exercise


@exercise("8.2.2-a")
def replaced_direction(answer: Any) -> str | None:
    """Check linear CKA where one of two directions was replaced, large or small."""
    large = 10_000 / 10_001
    return compare(
        answer,
        (large, 0.5),
        what="the pair",
        hints={
            "swapped: first the case with variances 100 and 1": (0.5, large),
            "variances enter squared: the norm is that of a product of the features": (
                100 / 101,
                0.5,
            ),
            "the first isn't exactly 1: the small direction is gone": (1.0, 0.5),
            "that counts directions; CKA weighs them by their variances": (0.5, 0.5),
            "divide by both norms: the second is ‖XᵀY‖² = 1 over √2 · √2": (large, 2**-0.5),
            "half of the variance is still shared in the second case": (large, 0.0),
        },
        tolerance=2e-5,
    )


def _hsic(K: Tensor, L: Tensor) -> Tensor:
    """Return the unbiased HSIC of two matrices with zeros on their diagonals."""
    n = len(K)
    squares = K.sum() * L.sum() / ((n - 1) * (n - 2))
    return ((K * L).sum() + squares - 2 / (n - 2) * (K @ L).sum()) / (n * (n - 3))


def _debiased(x: Tensor, y: Tensor, *, diagonal: bool = False, hsic: Any = _hsic) -> float:
    K, L = x @ x.mT, y @ y.mT
    if not diagonal:
        K, L = (products - products.diagonal().diag() for products in (K, L))
    return float(hsic(K, L) / (hsic(K, K) * hsic(L, L)).sqrt())


@exercise("8.2.2-b")
def debiased_cka(answer: Callable[..., Any]) -> str | None:
    """Check a function that computes linear CKA from unbiased estimates."""
    generator = torch.Generator().manual_seed(0)
    x = torch.randn(12, 7, generator=generator, dtype=torch.float64) + 0.3
    y = x[:, :5] @ torch.randn(5, 5, generator=generator, dtype=torch.float64)
    y = y + 2 * torch.randn(12, 5, generator=generator, dtype=torch.float64)
    given = answer(x.clone(), y.clone())
    if isinstance(given, Tensor) and given.numel() == 1:
        given = given.item()
    right = _debiased(x, y)

    def wrong(hsic: Callable[[Tensor, Tensor], Tensor]) -> float:
        return _debiased(x, y, hsic=hsic)

    K, L = (rows @ rows.mT for rows in (x, y))
    K, L = (products - products.diagonal().diag() for products in (K, L))
    return compare(
        given,
        right,
        what="the debiased CKA",
        hints={
            "that is the biased CKA: set the diagonals to 0 and use the formula": float(
                linear_cka(x, y)
            ),
            "set the diagonals of both matrices to 0 first": _debiased(x, y, diagonal=True),
            "the last term is subtracted": wrong(lambda a, b: _hsic(a, b) + 4 * _last(a, b)),
            "the last term has the factor 2 / (n − 2)": wrong(
                lambda a, b: _hsic(a, b) + _last(a, b)
            ),
            "the last two terms are missing": wrong(lambda a, b: (a * b).sum()),
            "the last term is missing": wrong(lambda a, b: _hsic(a, b) + 2 * _last(a, b)),
            "that is HSIC: divide it by the root of HSIC(K, K) · HSIC(L, L)": float(_hsic(K, L)),
            "take the square root of what you divide by": float(
                _hsic(K, L) / (_hsic(K, K) * _hsic(L, L))
            ),
        },
        tolerance=1e-6,
    )


def _last(K: Tensor, L: Tensor) -> Tensor:
    """Return half of what the last term takes away."""
    n = len(K)
    return (K @ L).sum() / ((n - 2) * n * (n - 3))


@exercise("8.2.2-c")
def put_back(answer: Callable[..., Any]) -> str | None:
    """Check a function that puts the tensors of one submodule back."""
    names = ["blocks.1.weight", "blocks.1.bias", "blocks.10.weight", "blocks.2.blocks.1.weight"]
    before = {name: torch.full((2,), float(k)) for k, name in enumerate(names)}
    after = {name: value + 100 for name, value in before.items()}
    kept_before, kept_after = (
        {name: value.clone() for name, value in state.items()} for state in (before, after)
    )
    found = answer(after, before, "blocks.1")
    for name in names:
        if not torch.equal(after[name], kept_after[name]):
            return "your function changes the state it was given: make a new dictionary"
        if not torch.equal(before[name], kept_before[name]):
            return "your function changes the old state"
    if not isinstance(found, dict) or sorted(found) != sorted(names):
        return "return a dictionary with all names of the state"
    put = {name for name in names if torch.equal(found[name], before[name])}
    if put == set(names):
        return "everything was put back: only what lies inside blocks.1 is due"
    if not put:
        return "nothing was put back"
    if put == set(names[2:]):
        return "the wrong way round: what lies inside blocks.1 takes its old value"
    if "blocks.10.weight" in put:
        return "blocks.10.weight begins with 'blocks.1' but lies in another block: add the dot"
    if "blocks.2.blocks.1.weight" in put:
        return "blocks.2.blocks.1.weight lies in blocks.2: compare the beginning of the name"
    if put != set(names[:2]):
        return "all tensors inside blocks.1 are due, its bias among them"
    if any(found[n].data_ptr() in (after[n].data_ptr(), before[n].data_ptr()) for n in names):
        return "a tensor shares its memory with the state it came from: clone it"
    return None
