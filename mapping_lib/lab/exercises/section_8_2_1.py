"""Checks of the exercises of section 8.2.1, negative transfer."""

from __future__ import annotations

from collections.abc import Callable
from math import log
from typing import Any

import torch
from torch import Tensor

from mapping_lib.lab.exercises.compare import compare
from mapping_lib.lab.exercises.core import exercise
from mapping_lib.source_scores import nce

_ENTROPY = -(0.5 * log(0.5) + 0.3 * log(0.3) + 0.2 * log(0.2))


@exercise("8.2.1-a")
def leep_of_extremes(answer: Any) -> str | None:
    """Check LEEP of a perfect and of an uninformative source."""
    return compare(
        answer,
        (0.0, -_ENTROPY),
        what="the pair",
        hints={
            "swapped: first the perfect source": (-_ENTROPY, 0.0),
            "the second has the wrong sign: a log likelihood isn't positive": (0.0, _ENTROPY),
            "the second holds for three classes of equal size; these have shares 0.5, 0.3, 0.2": (
                0.0,
                -log(3),
            ),
            "the second is in bits: take the natural logarithm": (0.0, -_ENTROPY / log(2)),
            "the first is the log of a likelihood of 1, not 1": (1.0, -_ENTROPY),
            "the second depends on the target's labels only, not on the source's 4 classes": (
                0.0,
                -log(4),
            ),
        },
        tolerance=4e-3,
    )


@exercise("8.2.1-b")
def paired_bootstrap(answer: Callable[..., Any]) -> str | None:
    """Check a function that computes the gap and its bootstrap interval."""
    generator = torch.Generator().manual_seed(0)
    hard = torch.rand(12, generator=generator)  # what both runs of a seed share
    scratch = 0.2 + 0.5 * hard
    uneven = -torch.rand(12, generator=generator).log()  # a few large ones: no symmetric interval
    transfer = scratch + 0.02 + 0.05 * (uneven - uneven.mean())
    difference = transfer - scratch
    rows = torch.randint(12, (2, 100_000, 12), generator=generator)
    means = difference[rows[0]].mean(1)
    apart = transfer[rows[0]].mean(1) - scratch[rows[1]].mean(1)

    def summary(values: Tensor, confidence: float = 0.95) -> list[float]:
        levels = torch.tensor([(1 - confidence) / 2, (1 + confidence) / 2])
        return [float(difference.mean()), *values.quantile(levels).tolist()]

    def around(width: float) -> list[float]:
        error = float(difference.std()) / 12**0.5
        return [gap, gap - width * error, gap + width * error]

    gap, low, high = summary(means)
    given = answer(transfer.clone(), scratch.clone())
    if isinstance(given, tuple | list) or (isinstance(given, Tensor) and given.ndim):
        given = [float(value) for value in given]
    return compare(
        given,
        [gap, low, high],
        what="the gap with its interval",
        hints={
            "the sign: the gap is the risk with the source minus that without": [-gap, -high, -low],
            "draw the same seeds for both: resampled apart, what a seed's two runs share counts": (
                summary(apart)
            ),
            "those are quantiles of the differences; resample, and take those of the means": (
                summary(difference)
            ),
            "the ends hold 90 %: take the quantiles 0.025 and 0.975": summary(means, 0.9),
            "the ends hold 99 %: take the quantiles 0.025 and 0.975": summary(means, 0.99),
            "that is Student's t interval: resample, and take the quantiles of the means": (
                around(2.201)
            ),
            "that is the normal interval: resample, and take the quantiles of the means": (
                around(1.96)
            ),
            "the ends are swapped": [gap, high, low],
            "order: the gap, the lower and the upper end": [low, gap, high],
        },
        tolerance=0.04,
    )


@exercise("8.2.1-c")
def conditional_entropy(answer: Callable[..., Any]) -> str | None:
    """Check a function that computes the negative conditional entropy."""
    generator = torch.Generator().manual_seed(1)
    z = torch.randint(4, (30,), generator=generator)
    y = torch.where(torch.rand(30, generator=generator) < 0.6, z % 3, (z + 1) % 3)
    z[z == 2] = 5  # class 2 is never seen
    got = answer(z.clone(), y.clone())
    if isinstance(got, Tensor) and got.numel() == 1:
        got = got.item()
    if isinstance(got, float) and got != got:
        return "NaN: a class that no example has, or 0 log 0; leave these terms out"
    right = float(nce(z, y))
    within = [y[z == k] for k in set(z.tolist())]
    unweighted = sum((float(nce(torch.zeros_like(own), own)) for own in within), 0.0)
    return compare(
        got,
        right,
        what="the score",
        hints={
            "the sign: the entropy is positive, the score is its negative": -right,
            "that is −H(Z | Y): condition on the source's labels": float(nce(y, z)),
            "that is −H(Y): condition on the source's labels": float(nce(torch.zeros_like(y), y)),
            "in bits: take the natural logarithm": right / log(2),
            "a sum over the examples: divide by their number": 30 * right,
            "weigh each source class by its share of the examples": unweighted,
        },
    )


@exercise("8.2.1-d")
def which_to_drop(answer: Callable[..., Any]) -> str | None:
    """Check a rule that drops sources: certain harm only, or a score below random weights'."""
    gaps = {
        "a": (0.10, 0.04, 0.16),
        "b": (0.05, -0.01, 0.11),
        "c": (-0.08, -0.12, -0.03),
        "d": (0.02, 0.01, 0.03),
        "e": (-0.03, -0.09, 0.02),
    }
    got = answer({name: torch.tensor(gap) for name, gap in gaps.items()})
    if not isinstance(got, list | tuple | set) or not all(isinstance(name, str) for name in got):
        return f"a list of names is due, got {got!r}"
    wrong = {
        ("a", "b", "d"): "b's interval holds 0: that it hurts isn't certain",
        ("b", "e"): "those are the uncertain ones; drop the ones that clearly hurt",
        ("c",): "c clearly helps: a positive gap is harm, for it is a difference of risks",
        ("c", "e"): "c and e have negative gaps, they help: a gap is a difference of risks",
        ("a", "c", "d"): "c's whole interval is below 0: it clearly helps",
        ("a",): "d hurts little, but clearly: its whole interval is above 0",
        ("a", "b", "d", "e"): "a positive upper end isn't enough: the lower end must be above 0",
    }
    found = tuple(sorted(got))
    if found == ("a", "d"):
        return None
    return wrong.get(found, f"a and d clearly hurt, got {', '.join(found) or 'nothing'}")
