"""Checks of the exercises of section 3.3, instance-based transfer."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from mapping_lib.lab.exercises.compare import compare
from mapping_lib.lab.exercises.core import exercise


@exercise("3.3-a")
def share_worth(answer: Any) -> str | None:
    """Check the effective share of normal distributions shifted by one and by two deviations."""
    return compare(
        answer,
        (math.exp(-1), math.exp(-4)),
        what="the pair of shares",
        hints={
            "right, but in the other order: the share for 1 comes first": (
                math.exp(-4),
                math.exp(-1),
            ),
            "that is one over the share, the mean of the squared weights": (math.e, math.exp(4)),
            "the exponent isn't halved: the mean of w² is e to the power of μ², not of μ²/2": (
                math.exp(-0.5),
                math.exp(-2),
            ),
            "the shift enters squared: two deviations cost e to the power of 4": (
                math.exp(-1),
                math.exp(-2),
            ),
            "the mean of w is 1 whatever the shift: it is that of w² that counts": (1.0, 1.0),
        },
        tolerance=0.01,
    )


@exercise("3.3-b")
def line_with_weights(answer: Callable[[Tensor, Tensor, Tensor], Any]) -> str | None:
    """Check slope and intercept of a weighted least-squares line, a weight of 0 among them."""
    x = torch.tensor([-1.0, 0.5, 1.0, 2.0, 2.5, 4.0, 5.0], dtype=torch.float64)
    y = x**2 / 4 - x + 0.2 * torch.randn(7, dtype=torch.float64) + 3
    weights = torch.tensor([0.5, 3.0, 0.0, 1.5, 6.0, 0.2, 2.0], dtype=torch.float64)
    root, one = weights.sqrt(), torch.ones_like(x)

    def fitted(*columns: Tensor, due: Tensor) -> list[float]:
        found = torch.linalg.lstsq(torch.stack(columns, 1), due[:, None]).solution[:, 0]
        return [*found.tolist(), 0.0][:2]

    slope, intercept = fitted(root * x, root, due=root * y)
    return compare(
        answer(x, y, weights),
        [slope, intercept],
        what="the pair of slope and intercept",
        hints={
            "that is the line without weights": fitted(x, one, due=y),
            "the weights enter squared: multiply errors by their roots": fitted(
                weights * x, weights, due=weights * y
            ),
            "the column of ones belongs to its row, too: it gets the row's factor": fitted(
                root * x, one, due=root * y
            ),
            "that line goes through the origin: it may have an intercept": fitted(
                root * x, due=root * y
            ),
            "the line goes through the weighted means of x and y, not through the plain ones": [
                slope,
                (y.mean() - slope * x.mean()).item(),
            ],
            "the slope comes first, then the intercept": [intercept, slope],
        },
    )


@exercise("3.3-c")
def farthest_first(answer: Callable[[Tensor, int, int], Any]) -> str | None:
    """Check greedy k-center from a given first row, on rows where shortcuts go elsewhere."""
    rows = torch.tensor(
        [[0, 5], [9, 0], [9, 3], [7, 3], [1, 6], [1, 7], [9, 7], [6, 7]], dtype=torch.float64
    )
    first, count = 3, 5
    near = torch.cdist(rows, rows)

    def walk(
        score: Callable[[list[int]], Tensor],
        *,
        first: int = first,
        count: int = count,
        largest: bool = True,
    ) -> Tensor:
        chosen = [first]
        while len(chosen) < count:
            value = score(chosen).clone()
            value[chosen] = -math.inf if largest else math.inf
            chosen.append(int(value.argmax() if largest else value.argmin()))
        return torch.tensor(chosen)

    right = walk(lambda chosen: near[:, chosen].amin(1))
    return compare(
        answer(rows, first, count),
        right,
        what="the vector of rows chosen",
        hints={
            "the next row is the nearest one: take the farthest": walk(
                lambda chosen: near[:, chosen].amin(1), largest=False
            ),
            "that looks at the row chosen last alone; each row's nearest chosen one counts": walk(
                lambda chosen: near[:, chosen[-1]]
            ),
            "that takes the largest distance to a chosen row; the smallest one counts": walk(
                lambda chosen: near[:, chosen].amax(1)
            ),
            "that takes the mean distance to the chosen rows; the smallest one counts": walk(
                lambda chosen: near[:, chosen].mean(1)
            ),
            "those are the rows farthest from the first one; the others chosen count as well": walk(
                lambda chosen: near[:, first]
            ),
            "the row to begin with is given: it isn't always row 0": walk(
                lambda chosen: near[:, chosen].amin(1), first=0
            ),
            "the first row belongs to those chosen": right[1:],
            "the first row belongs to those chosen, and counts as one of them": walk(
                lambda chosen: near[:, chosen].amin(1), count=count + 1
            )[1:],
            "the sum of absolute differences is another distance: the root of squares is due": walk(
                lambda chosen: torch.cdist(rows, rows, p=1)[:, chosen].amin(1)
            ),
            "each row's nearest chosen one counts, not the mean of those chosen": walk(
                lambda chosen: (rows - rows[chosen].mean(0)).norm(dim=1)
            ),
            "right, but in another order: give them as they were chosen": right.sort().values,
        },
    )


@exercise("3.3-d")
def one_round(answer: Callable[[Tensor, Tensor, int, int], Any]) -> str | None:
    """Check one round of TrAdaBoost, from weights that aren't equal."""
    n, rounds = 5, 8
    weights = torch.tensor([3.0, 1, 2, 4, 1, 2, 3, 5, 4], dtype=torch.float64)
    wrong = torch.tensor([1, 0, 1, 0, 0, 1, 0, 0, 0], dtype=torch.bool)
    weights = weights / weights.sum()
    beta = 1 / (1 + math.sqrt(2 * math.log(n) / rounds))
    error = (weights[n:] * wrong[n:]).sum() / weights[n:].sum()
    everywhere = (weights * wrong).sum()

    def updated(source: float, error: Tensor, *, sign: int = -1, changed: Tensor = wrong) -> Tensor:
        factor = error / (1 - error)
        new = weights * torch.cat(
            [source ** changed[:n].double(), factor ** (sign * changed[n:].double())]
        )
        return new / new.sum()

    right = updated(beta, error)
    half = torch.tensor(0.5, dtype=torch.float64)
    unscaled = right / right[1] * weights[1]
    return compare(
        answer(weights, wrong, n, rounds),
        right,
        what="the vector of new weights",
        hints={
            "the weights have to be divided by their sum": unscaled,
            "the error is counted on the target's rows alone": updated(beta, everywhere),
            "the target's rows in error lose weight: they have to gain": updated(
                beta, error, sign=1
            ),
            "the source's rows in error gain weight: they have to lose": updated(1 / beta, error),
            "the source's β lacks the factor 2 under the root": updated(
                1 / (1 + math.sqrt(math.log(n) / rounds)), error
            ),
            "the source's β takes the number of its rows, not of all": updated(
                1 / (1 + math.sqrt(2 * math.log(len(weights)) / rounds)), error
            ),
            "the source's β takes the number of the source's rows, not of the target's": updated(
                1 / (1 + math.sqrt(2 * math.log(len(weights) - n) / rounds)), error
            ),
            "the logarithm in the source's β is the natural one, not that to base 10": updated(
                1 / (1 + math.sqrt(2 * math.log10(n) / rounds)), error
            ),
            "the root around 2 log(n) / N is missing in the source's β": updated(
                1 / (1 + 2 * math.log(n) / rounds), error
            ),
            "β of the target is ε / (1 − ε), not ε": updated(beta, error / (1 + error)),
            "the source's rows in error have to lose weight as well": updated(1.0, error),
            "the target's rows in error have to gain weight as well": updated(beta, half),
            "the weights of rows that are right were changed, not of those in error": updated(
                beta, error, changed=~wrong
            ),
            "source and target share one sum: divide by that of all weights": torch.cat(
                [right[:n] / right[:n].sum(), right[n:] / right[n:].sum()]
            ),
            "the logarithm in the source's β is the natural one, not that to base 2": updated(
                1 / (1 + math.sqrt(2 * math.log2(n) / rounds)), error
            ),
            "the error counts weights, not rows": updated(beta, wrong[n:].double().mean()),
            "both are treated alike, as in AdaBoost: the source has its own β": updated(
                float((1 - error) / error), error
            ),
            "the error is a share of the target's weight: divide by its sum": updated(
                beta, (weights[n:] * wrong[n:]).sum()
            ),
        },
    )
