"""The checks of the exercises of section 8.2.3, Large heterogeneous data."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.nn.functional import cross_entropy

from mapping_lib.lab.exercises.compare import compare
from mapping_lib.lab.exercises.core import exercise


@exercise("8.2.3-a")
def limits_on_paper(answer: Any) -> str | None:
    """Check a share at T = 2, a share for T without bound, and an effective number."""
    if not isinstance(answer, list | tuple | np.ndarray | Tensor) or len(answer) != 3:
        return "give a list of three numbers: [share at T = 2, limit of the share, limit of E]"
    share, limit, effective = answer
    return (
        compare(
            share,
            0.25,
            what="the share at T = 2",
            hints={
                "this is in proportion, T = 1": 0.1,
                "n was taken to the power T; the exponent is 1/T": 1 / 82,
                "this is the share of the large source": 0.75,
                "divide by the sum of both roots, 30 + 10": 1 / 3,
            },
            tolerance=4e-3,
        )
        or compare(
            limit,
            0.5,
            what="the limit of the share",
            hints={
                "each power goes to 1, and there are two of them: divide by their sum": 1.0,
                "this is the limit for T to 0, where the large source takes all": 0.0,
                "this is the share at T = 1": 0.1,
            },
            tolerance=4e-3,
        )
        or compare(
            effective,
            100.0,
            what="the limit of E",
            hints={
                "0.99 to the power n goes to 0, so that 1 is left above the line": 0.0,
                "this is 1 - β; it stands below the line": 0.01,
                "the sum 1 + β + β² + … begins with 1": 99.0,
            },
            tolerance=4e-3,
        )
    )


@exercise("8.2.3-b")
def shares_in_code(answer: Callable[[Tensor, float], Any]) -> str | None:
    """Check shares of sources at a temperature."""
    counts = torch.tensor([4000.0, 350.0, 20.0], dtype=torch.float64)
    temperature = 2.5
    powers = counts ** (1 / temperature)
    due = powers / powers.sum()
    sharp = counts**temperature
    return compare(
        answer(counts, temperature),
        due,
        what="the vector of shares",
        hints={
            "the exponent is 1/T, not T": sharp / sharp.sum(),
            "the temperature isn't used": counts / counts.sum(),
            "they don't add up to 1: divide by the sum of the powers": powers,
            "the powers were divided by the sum of the counts": powers / counts.sum(),
            "a softmax of the counts: take their logarithms first": (counts / temperature).softmax(
                0
            ),
            "shares to the power 1/T don't add up to 1 any more: divide by their sum": (
                counts / counts.sum()
            )
            ** (1 / temperature),
            "the small sources get the large shares; here the exponent is negative": (
                (1 / powers) / (1 / powers).sum()
            ),
            "this is the share at T = 2; take the temperature that is given": (
                counts.sqrt() / counts.sqrt().sum()
            ),
            "these are all alike, the limit for large T": torch.full_like(counts, 1 / 3),
        },
    )


@exercise("8.2.3-c")
def one_more_row(answer: Callable[[int, Tensor, Tensor, Tensor], Any]) -> str | None:
    """Check Welford's update of a mean and of sums of squared deviations."""
    rows = torch.randn(6, 3, dtype=torch.float64) + torch.tensor([5.0, -2.0, 0.5])
    old, x = rows[:-1], rows[-1]
    mean, squares = old.mean(0), (old - old.mean(0)).square().sum(0)
    new = rows.mean(0)
    found = answer(5, mean, squares, x)
    if not isinstance(found, tuple | list) or len(found) != 3:
        return "return three things: the number of rows, their mean, the sums of squares"
    δ = x - mean
    return (
        compare(found[0], 6, what="the number of rows", hints={"count the new row as well": 5})
        or compare(
            found[1],
            new,
            what="the mean",
            hints={
                "δ must be divided by the new number of rows, 6, not 5": mean + δ / 5,
                "divide by the new number of rows, 6, not 5": (5 * mean + x) / 5,
                "the old mean stands for five rows: multiply it by their number": (mean + x) / 6,
                "the mean wasn't moved": mean,
                "add δ / n to the old mean": δ / 6,
                "δ = x - mean; here its sign is wrong": mean - δ / 6,
                "the new row counts as one of six, not as one half": (mean + x) / 2,
            },
        )
        or compare(
            found[2],
            (rows - new).square().sum(0),
            what="the sum of squares",
            hints={
                "this takes δ from the old mean twice; one of them must be from the new mean": (
                    squares + δ**2
                ),
                "this takes δ from the new mean twice; one of them must be from the old mean": (
                    squares + (x - new) ** 2
                ),
                "the new row adds to the sum; here its part is taken away": (
                    squares - δ * (x - new)
                ),
                "δ² counts n/(n+1) times, here it counts (n+1)/n times": squares + 6 / 5 * δ**2,
                "δ² counts n/(n+1) times, not 1/(n+1) times": squares + δ**2 / 6,
                "the square is that of a deviation from the mean, not of the row itself": (
                    squares + x**2
                ),
                "this is the variance; return the sum": (rows - new).square().mean(0),
                "this is the variance; return the sum ": rows.var(0),
                "the new row adds something": squares,
            },
        )
    )


@exercise("8.2.3-d")
def adjusted_cross_entropy(answer: Callable[[Tensor, Tensor, Tensor], Any]) -> str | None:
    """Check the loss of logits that carry the classes' shares."""
    logits = torch.randn(6, 3, dtype=torch.float64)
    labels = torch.tensor([0, 0, 0, 1, 0, 2])
    counts = torch.tensor([400.0, 30.0, 5.0], dtype=torch.float64)
    prior = counts / counts.sum()
    due = cross_entropy(logits + prior.log(), labels)
    weights = 3 / counts / (1 / counts).sum()
    return compare(
        answer(logits, labels, counts),
        due,
        what="the loss",
        hints={
            "the shares must be added while learning; taking them away is for predicting": (
                cross_entropy(logits - prior.log(), labels)
            ),
            "the shares themselves were added; add their logarithms": (
                cross_entropy(logits + prior, labels)
            ),
            "this is plain cross-entropy, the counts aren't used": cross_entropy(logits, labels),
            "this weights the classes; add to the logits instead": (
                cross_entropy(logits, labels, weights)
            ),
            "this weights the classes, and takes another mean; add to the logits instead": (
                cross_entropy(logits, labels, weights, reduction="none").mean()
            ),
            "the logits were multiplied by the shares; add the logarithms of the shares": (
                cross_entropy(logits * prior, labels)
            ),
            "the loss is in nats: take the natural logarithm": (
                cross_entropy(logits + prior.log2(), labels)
            ),
            "these are the shares of the batch; take those of the counts": (
                cross_entropy(logits + labels.bincount(minlength=3).double().log(), labels)
            ),
            "cross_entropy takes logits; here it got probabilities": (
                cross_entropy(logits.softmax(1) + prior.log(), labels)
            ),
            "the mean over the rows is missing": 6 * due,
        },
    )
