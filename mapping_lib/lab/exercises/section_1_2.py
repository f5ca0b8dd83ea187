"""Checks of the exercises of section 1.2, what knowledge transfer is."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

import torch
from torch import Tensor

from mapping_lib.lab.exercises.compare import compare
from mapping_lib.lab.exercises.core import exercise

SETTINGS = {
    "inductive": "it has labels of the target task",
    "transductive": "the task stays, and labels are there in the source only",
    "unsupervised": "it has no labels anywhere",
}
"""The settings of Pan and Yang, by what tells them."""

CASES = ("transductive", "inductive", "unsupervised", "transductive")
"""The settings of the four cases, in their order."""


@exercise("1.2-a")
def settings(answer: Any) -> str | None:
    """Check the settings of four cases."""
    if isinstance(answer, str) or not isinstance(answer, Iterable):
        return 'give four words, one for each case, such as ("inductive", …)'
    words = [str(word).strip().casefold() for word in answer]
    if len(words) != len(CASES):
        return f"{len(words)} words where {len(CASES)} are due, one for each case"
    for number, (word, right) in enumerate(zip(words, CASES, strict=True), start=1):
        if word not in SETTINGS:
            return f"case {number}: choose one of {', '.join(SETTINGS)}, not {word!r}"
        if word != right:
            return f"case {number} is not {word}: {SETTINGS[right]}"
    return None


def _curves() -> tuple[Tensor, Tensor, Tensor]:
    """Return uneven numbers of labels, a curve with transfer and a lower one."""
    labels = torch.tensor([1.0, 3.0, 4.0, 16.0], dtype=torch.float64)
    rising = torch.rand(2, 4, dtype=torch.float64).cumsum(1) / 8 + torch.tensor([[0.4], [0.1]])
    return labels, *rising


@exercise("1.2-b")
def labels_on_a_logarithmic_axis(answer: Callable[..., Any]) -> str | None:
    """Check the first crossing of a curve that is straight over the logarithm of labels."""
    labels = torch.tensor([1.0, 3.0, 12.0, 16.0], dtype=torch.float64)
    scores = torch.tensor([0.2, 0.3, 0.7, 0.9], dtype=torch.float64)
    threshold = 0.4 + 0.2 * torch.rand((), dtype=torch.float64).item()
    share = (threshold - 0.3) / 0.4
    wrong = compare(
        answer(labels, scores, threshold),
        3 * 4**share,
        what="the number of labels",
        hints={
            "that is straight over the labels, not over their logarithm": 3 + 9 * share,
            "that is the logarithm of the number of labels: take its exponential": torch.tensor(
                3 * 4**share
            ).log(),
            "that is the first measured number at which the score is reached; go between it and "
            "the one before": 12.0,
            "that is the last number at which the score isn't reached yet": 3.0,
        },
    )
    if wrong:
        return wrong
    labels = torch.tensor([1, 2, 3, 4, 8, 12, 16, 24, 32, 64], dtype=torch.float64)
    falls = torch.tensor([1, 1.5, 2, 2.5, 6, 1, 1, 2, 3, 9], dtype=torch.float64) / 10
    return compare(
        answer(labels, falls, 0.4),
        4 * 2 ** (3 / 7),
        what="for a curve that rises, falls and rises again, the number of labels",
        hints={
            "the curve rises, falls and rises again: the first crossing counts, not the last (an "
            "interpolation that searches sorted scores can't be used)": 32 * 2 ** (1 / 6),
        },
    )


@exercise("1.2-c")
def ratio_of_areas(answer: Callable[..., Any]) -> str | None:
    """Check the transfer ratio of two curves at uneven numbers of labels."""
    labels, transfer, scratch = _curves()
    steps = labels.diff()
    areas = [((a[1:] + a[:-1]) / 2 * steps).sum().item() for a in (transfer, scratch)]
    ratio = areas[0] / areas[1] - 1

    def by(widths: Tensor, left: float) -> Tensor:
        """Return the ratio with these widths, and heights so far towards the left end."""
        heights = [(left * a[:-1] + (1 - left) * a[1:]) @ widths for a in (transfer, scratch)]
        return heights[0] / heights[1] - 1

    one_end = "that takes the height at one end of each step: the mean of both ends is due"
    return compare(
        answer(labels, transfer, scratch),
        ratio,
        what="the ratio",
        hints={
            "equal areas should give 0: take 1 off, or divide the difference": ratio + 1,
            "that divides by the area with transfer": 1 - areas[1] / areas[0],
            "that is the mean of the scores: the points don't stand at equal distances, so weigh "
            "them by the steps between": (transfer.mean() / scratch.mean()).item() - 1,
            "that is the difference of the areas; divide it by the area from scratch": areas[0]
            - areas[1],
            "it has the wrong sign: transfer minus scratch": -ratio,
            f"{one_end}, not the left one": by(steps, 1),
            f"{one_end}, not the right one": by(steps, 0),
            "that is over the logarithm of the numbers of labels: here they count as they are": by(
                labels.log().diff(), 0.5
            ),
            "that gives each step between two points the same weight: multiply by its width": by(
                torch.ones_like(steps), 0.5
            ),
        },
    )


@exercise("1.2-d")
def error_of_a_paired_mean(answer: Callable[[Tensor, Tensor], Any]) -> str | None:
    """Check the standard error of a mean difference over common seeds."""
    hard = 3 * torch.randn(6, dtype=torch.float64)
    x, y = hard + torch.rand(2, 6, dtype=torch.float64)
    d = x - y
    right = d.std().item() / 6**0.5
    return compare(
        answer(x, y),
        right,
        what="the standard error",
        hints={
            "that takes the runs for independent: the seeds are the same, so take the difference "
            "of each pair first": ((x.var() + y.var()) / 6).sqrt().item(),
            "that is the spread of the differences: for that of their mean divide by √k": (
                d.std().item()
            ),
            "divided by k where √k is due": d.std().item() / 6,
            "the spread of a sample divides by k − 1, not by k": d.std(correction=0).item()
            / 6**0.5,
            "that is the variance of the mean: take its root": right**2,
            "that is half the interval: s/√k alone is asked for, without the quantile": (
                2.570582 * right
            ),
            "s/√k alone is asked for, without the quantile 2.776": 2.776 * right,
            "that is the mean difference: its standard error is asked for": d.mean().item(),
        },
    )
