"""Checks of the exercises of section 1.3, state of research."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from mapping_lib.lab.exercises.compare import compare
from mapping_lib.lab.exercises.core import exercise


@exercise("1.3-a")
def interval_by_hand(answer: Any) -> str | None:
    """Check mean and half width of an interval of five paired differences."""
    return compare(
        answer,
        (2.0, 2.776),
        what="the pair of mean and half width",
        hints={
            "the standard deviation was not divided by √5: that is the spread of the seeds, not "
            "the uncertainty of their mean": (2.0, 6.207),
            "the variance divides by n - 1 = 4, not by 5": (2.0, 2.483),
            "that is the whole width: half of it is asked for": (2.0, 5.552),
            "the quantile 2.776 is missing: that is the standard error": (2.0, 1.0),
            "that is the standard deviation of the differences: the interval has 2.776/√5 of it": (
                2.0,
                2.236,
            ),
            "these are no independent groups, each seed is in both: subtract seed by seed first": (
                2.0,
                4.946,
            ),
            "the two conditions were taken as independent: subtract seed by seed first": (
                2.0,
                5.954,
            ),
            "the sign is that of without minus with": (-2.0, 2.776),
            "those are the ends of the interval: its middle and its half width are due": (
                -0.776,
                4.776,
            ),
            "the mean comes first, then the half width": (2.776, 2.0),
            "1.96 is for many seeds: for five the quantile is 2.776": (2.0, 1.96),
        },
        tolerance=0.01,  # 2.8 is right, too
    )


@exercise("1.3-b")
def price_of_choosing(answer: Callable[[Tensor, Tensor], Any]) -> str | None:
    """Check what choosing settings without target labels costs each method."""
    validation = torch.tensor(
        [[0.62, 0.71, 0.69], [0.90, 0.80, 0.70], [0.55, 0.56, 0.83], [0.40, 0.30, 0.20]],
        dtype=torch.float64,
    )
    target = torch.tensor(
        [[0.50, 0.58, 0.64], [0.71, 0.73, 0.76], [0.61, 0.45, 0.52], [0.81, 0.66, 0.59]],
        dtype=torch.float64,
    )
    chosen = target.gather(1, validation.argmax(1, keepdim=True)).squeeze(1)
    best = target.max(1).values
    return compare(
        answer(validation, target),
        best - chosen,
        what="the price",
        hints={
            "the sign is turned: the oracle is never worse than the choice": chosen - best,
            "that is the chosen accuracy on the target, not what it lacks": chosen,
            "the validation score itself was taken: it chooses, the target's accuracy counts": best
            - validation.max(1).values,
            "a setting is chosen for each method, not one for all of them": best
            - target[:, validation.mean(0).argmax()],
            "each method has an oracle of its own, not the best of all methods": best.max()
            - chosen,
        },
    )


@exercise("1.3-c")
def verdicts(answer: Callable[[Tensor, Tensor], Any]) -> str | None:
    """Check verdicts on sources by paired intervals."""
    without = torch.tensor([0.50, 0.62, 0.71, 0.55, 0.66], dtype=torch.float64)
    wiggle = torch.tensor([0.01, -0.01, 0.02, -0.02, 0.00], dtype=torch.float64)
    statistic = [7, -7, 2.05, -5.6, 0.35, 1.1, 1.5, -2.18, 2.35, -2.6, 2.27]  # mean over its error
    scale = torch.tensor([1.0] * 4 + [4.0] + [1.0] * 6, dtype=torch.float64)
    shift = torch.tensor(statistic, dtype=torch.float64) * scale * wiggle.std() / 5**0.5
    differences = shift[:, None] + scale[:, None] * wiggle
    error = differences.std(1) / 5**0.5
    mean = differences.mean(1)

    def signs(width: Tensor) -> Tensor:
        return torch.where(mean.abs() > width, mean.sign(), 0.0).long()

    right = signs(2.776 * error)
    got = answer(without + differences, without)
    if isinstance(got, Tensor) and not got.is_floating_point():
        got = got.long()
    spread = (differences + without).var(1) + without.var()
    return compare(
        got,
        right,
        what="the tensor of verdicts",
        hints={
            "the signs are turned: -1 where the source hurts": -right,
            "the sign of the mean is no verdict: the interval has to exclude 0": mean.sign().long(),
            "nothing is shown for any source, as without pairing: subtract seed by seed before you "
            "take the deviation": signs(2.776 * (spread / 5).sqrt()),
            "the standard deviation has to be divided by √5": signs(2.776 * differences.std(1)),
            "divide the standard deviation by √5, not by 5": signs(2.776 * differences.std(1) / 5),
            "the quantile 2.776 is missing: one standard error is no 95 % interval": signs(error),
            "that is one standard deviation: the half width is 2.776/√5 of it": signs(
                differences.std(1)
            ),
            "1.96 is for many seeds: for five the quantile is 2.776": signs(1.96 * error),
            "2.132 is the one-sided quantile: both sides together leave out 5 %, so 2.776": signs(
                2.132 * error
            ),
            "the variance divides by n - 1 = 4, not by 5": signs(2.776 * 0.8**0.5 * error),
            "2.306 is for two groups of five seeds each: for five pairs it is 2.776": signs(
                2.306 * error
            ),
            "a source whose interval lies below 0 gets -1": right.clamp(min=0),
            "a source whose interval lies below 0 gets -1, not 1": right.abs(),
        },
    )
