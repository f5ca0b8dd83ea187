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
def ratio_of_probabilities(answer: Callable[[Tensor, int, int], Any]) -> str | None:
    """Check weights from a classifier of the domains that saw unequal numbers of rows."""
    p = torch.linspace(0.1, 0.9, 7, dtype=torch.float64)
    n, m = 30, 12
    odds = (1 - p) / p
    return compare(
        answer(p, n, m),
        n / m * odds,
        what="the vector of weights",
        hints={
            "the classifier saw more rows of one domain than of the other: correct for that": odds,
            "the numbers of rows stand the wrong way round": m / n * odds,
            "that is the ratio source over target: rows like the target's would count least": m
            / n
            / odds,
            "that is the ratio source over target, and the numbers of rows are missing": 1 / odds,
            "that is the ratio source over target; turn the fraction round": n / m / odds,
            "that is the probability of the target: the ratio of the two is due": 1 - p,
            "that is the probability of the target; the ratio of the two probabilities is due": n
            / m
            * (1 - p),
            "weights of sum 1 will do for a fit, but here the ratio itself is due": odds
            / odds.sum(),
            "a mean of 1 is for estimates; here the ratio itself is due": odds / odds.mean(),
            "p is a probability, not the logit: its odds are p / (1 - p)": n / m * (-p).exp(),
            "p is a probability, not the logit, and the numbers of rows are missing": (-p).exp(),
        },
        factors={"n": n, "m": m},
    )


@exercise("3.3-c")
def farthest_first(answer: Callable[[Tensor, int, int], Any]) -> str | None:
    """Check greedy k-center from a given first row, on rows where shortcuts go elsewhere."""
    rows = torch.tensor(
        [[7, 3], [0, 5], [9, 0], [9, 3], [1, 6], [1, 7], [9, 7], [6, 7]], dtype=torch.float64
    )
    count = 5
    near = torch.cdist(rows, rows)

    def walk(score: Callable[[list[int]], Tensor], largest: bool = True) -> Tensor:
        chosen = [0]
        while len(chosen) < count:
            value = score(chosen).clone()
            value[chosen] = -math.inf if largest else math.inf
            chosen.append(int(value.argmax() if largest else value.argmin()))
        return torch.tensor(chosen)

    right = walk(lambda chosen: near[:, chosen].amin(1))
    return compare(
        answer(rows, 0, count),
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
                lambda chosen: near[:, 0]
            ),
            "the first row belongs to those chosen": right[1:],
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

    def updated(source: float, error: Tensor, *, sign: int = -1) -> Tensor:
        factor = error / (1 - error)
        new = torch.cat(
            [weights[:n] * source ** wrong[:n], weights[n:] * factor ** (sign * wrong[n:].double())]
        )
        return new / new.sum()

    right = updated(beta, error)
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
            "the logarithm in the source's β is the natural one": updated(
                1 / (1 + math.sqrt(2 * math.log10(n) / rounds)), error
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
