"""Checks of the exercises of section 3.2, parameter-based transfer."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from mapping_lib.lab.exercises.compare import compare
from mapping_lib.lab.exercises.core import exercise


@exercise("3.2-a")
def factor_of_ten_layers(answer: Any) -> str | None:
    """Check by how much ten ReLU layers under Xavier's rule change the mean square."""
    return compare(
        answer,
        2.0**-10,
        what="the factor",
        tolerance=0.03,  # 0.001 is right, too
        hints={
            "that is what becomes of the size; its square is asked for": 2.0**-5,
            "that would be without the ReLUs, or with He's rule": 1.0,
            "that is one layer": 0.5,
            "the signal becomes smaller, not larger": 2.0**10,
            "each of the ten ReLUs halves, the first and the last as well": 2.0**-9,
            "that is the exponent of 2": -10.0,
        },
    )


@exercise("3.2-b")
def closest_change(answer: Callable[[Tensor, Tensor, int], Any]) -> str | None:
    """Check the closest matrix of rank 2 to the change of a weight that isn't square."""
    before = torch.randn(7, 5, dtype=torch.float64)
    after = before + torch.randn(7, 5, dtype=torch.float64)

    def cut(matrix: Tensor, kept: slice) -> Tensor:
        U, s, Vh = torch.linalg.svd(matrix, full_matrices=False)
        product: Tensor = U[:, kept] * s[kept] @ Vh[kept]
        return product

    change = after - before
    U, s, Vh = torch.linalg.svd(change, full_matrices=False)
    first = slice(2)
    return compare(
        answer(before, after, 2),
        cut(change, first),
        what="the change",
        hints={
            "that is close to the new weight; the change from the old one is due": cut(
                after, first
            ),
            "that is the new weight, with the change added; the change alone is due": before
            + cut(change, first),
            "the singular values are missing": U[:, first] @ Vh[first],
            "those are the smallest singular values; the largest explain most": cut(
                change, slice(-2, None)
            ),
            "that is the whole change, of full rank": change,
            "one singular value too many": cut(change, slice(3)),
            "one singular value is missing": cut(change, slice(1)),
            "torch.linalg.svd returns the right singular vectors as rows already": (
                U[:, first] * s[first] @ Vh[:, first].T
            ),
            "the singular values enter once, not squared": U[:, first] * s[first] ** 2 @ Vh[first],
            "that is the change of the two weights' approximations": cut(after, first)
            - cut(before, first),
        },
    )


@exercise("3.2-c")
def pooled_statistics(answer: Callable[[Tensor, Tensor, Tensor], Any]) -> str | None:
    """Check mean and variance of batches of different size, place and spread."""
    batches = [
        torch.randn(count, dtype=torch.float64) * spread + place
        for count, spread, place in ((8, 1.0, 0.0), (8, 2.0, 5.0), (3, 0.5, -2.0))
    ]
    means = torch.stack([batch.mean() for batch in batches])
    variances = torch.stack([batch.var(correction=0) for batch in batches])
    counts = torch.tensor([float(len(batch)) for batch in batches], dtype=torch.float64)
    together = torch.cat(batches)
    mean, n = together.mean(), counts.sum()

    def pair(mean: Tensor, variance: Tensor) -> list[float]:
        return [mean.item(), variance.item()]

    within = (counts * variances).sum() / n
    plain = means.mean()
    return compare(
        answer(means, variances, counts),
        pair(mean, together.var(correction=0)),
        what="the pair of mean and variance",
        hints={
            "the means of the batches differ, and that is variance, too": pair(mean, within),
            "the variance within the batches is missing": pair(
                mean, (counts * (means - mean) ** 2).sum() / n
            ),
            "the mean comes first, then the variance": pair(together.var(correction=0), mean),
            "each batch counts as much as the values it holds": pair(
                plain, (variances + (means - plain) ** 2).mean()
            ),
            "each batch counts as much as its values, and their means differ": pair(
                plain, variances.mean()
            ),
            "that is the mean square: the square of the mean is still to be taken off": pair(
                mean, within + (counts * means**2).sum() / n
            ),
            "the spread of the means is to be weighted by the counts, as the means are": pair(
                mean, within + means.var(correction=0)
            ),
            "the spread of the means is to be weighted by the counts, and not by k - 1": pair(
                mean, within + means.var()
            ),
            "divide by n, not by n - 1": pair(mean, together.var(correction=1)),
            "that is the standard deviation; its square is due": pair(
                mean, together.std(correction=0)
            ),
        },
    )


@exercise("3.2-d")
def warning_light(answer: Callable[[Tensor], Any]) -> str | None:
    """Check the entropy of the mean prediction, also where all predictions are one class."""
    logits = 3 * torch.randn(9, 4, dtype=torch.float64) + torch.tensor([0.0, 1.0, -1.0, 2.0])
    p = logits.softmax(1)

    def entropy(p: Tensor) -> Tensor:
        return -(p * p.log()).sum(-1)

    right = entropy(p.mean(0))
    shares = torch.bincount(p.argmax(1), minlength=4).double() / len(p)
    wrong = compare(
        answer(logits),
        right.item(),  # a number: a float is as good as a tensor
        what="the diversity",
        hints={
            "that is the mean of the entropies, Tent's own loss: the mean comes first": entropy(
                p
            ).mean(),
            "that is the entropy of the mean logits: take probabilities first": entropy(
                logits.mean(0).softmax(0)
            ),
            "the mean is over the rows, not over the classes": entropy(p.mean(1)),
            "the softmax runs over the classes of a row, not over the rows": entropy(
                logits.softmax(0).mean(0)
            ),
            "the terms of an entropy add up: that is their mean": right / 4,
            "that is in bits: take the natural logarithm": right / torch.tensor(2.0).log(),
            "that is divided by log K": right / torch.tensor(4.0).log(),
            "that is the entropy of how often each class is the most probable: take the mean of "
            "the probabilities": -shares.xlogy(shares).sum(),
            "that is the entropy of the mean, less the mean of the entropies: the first alone is "
            "due": right - entropy(p).mean(),
        },
    )
    if wrong is not None:
        return wrong
    collapsed = torch.tensor([[800.0, 0.0, 0.0], [900.0, 0.0, 0.0]], dtype=torch.float64)
    wrong = compare(
        answer(collapsed),
        0.0,
        what="the diversity of predictions that are all sure of one class",
        tolerance=1e-6,
    )
    if wrong is not None and wrong.endswith("is NaN"):
        return f"{wrong}: take 0 log 0 as 0"
    return wrong
