"""The checks of the exercises of section 8.3.1, Adaptive transfer."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor

from mapping_lib.lab.exercises.compare import compare
from mapping_lib.lab.exercises.core import exercise


@exercise("8.3.1-a")
def random_choice_on_paper(answer: Any) -> str | None:
    """Check two expected regrets of four sources worth 0.9, 0.8, 0.8 and 0.5."""
    if not isinstance(answer, list | tuple | Tensor | np.ndarray) or len(answer) != 2:
        return "give a list of two numbers: [expected regret of chance, of the score]"
    chance, score = answer
    return compare(
        chance,
        0.15,
        what="the expected regret of chance",
        hints={
            "this is the mean accuracy; the regret is what it lacks of the best": 0.75,
            "this is the regret of the worst choice; take the mean over all four": 0.4,
            "the best source counts as well, with a regret of 0: divide by four": 0.2,
            "this is the sum of the regrets; divide by the number of sources": 0.6,
            "a regret isn't negative: the best minus the chosen": -0.15,
        },
        tolerance=4e-3,
    ) or compare(
        score,
        0.08,
        what="the expected regret of the score",
        hints={
            "0.6 is how often it is right, and then the regret is 0; weigh the misses, 0.4": 0.12,
            "this is the regret of a miss; multiply by how often there is one": 0.2,
            "after a miss the best source is out: take the mean over the other three": 0.06,
            "this is the expected accuracy; the regret is what it lacks of the best": 0.82,
        },
        tolerance=4e-3,
    )


@exercise("8.3.1-b")
def regret_in_code(answer: Callable[[Tensor, Tensor], Any]) -> str | None:
    """Check regrets of several targets at once."""
    scores = torch.rand(5, 4, dtype=torch.float64)
    scores = scores + torch.arange(5, dtype=torch.float64)[:, None]  # rows of unlike height
    chosen = torch.tensor([3, 0, 2, 1, 0])
    scores[1, 0] = scores[1].max() + 0.5  # here the choice is right
    rows = torch.arange(5)
    taken = scores[rows, chosen]
    return compare(
        answer(chosen, scores),
        scores.amax(1) - taken,
        what="the regret",
        hints={
            "the best of all targets was taken; each row has its own best": scores.max() - taken,
            "this is what the chosen is worth; subtract it from the best": taken,
            "this is the best; subtract what the chosen is worth": scores.amax(1),
            "the sign is wrong: the best minus the chosen": taken - scores.amax(1),
            "this compares with the mean, not with the best": scores.mean(1) - taken,
            "this is the regret of chance: what the mean lacks of the best": scores.amax(1)
            - scores.mean(1),
            "the regret is a difference, not a share of the best": 1 - taken / scores.amax(1),
            "candidates are counted from 0": scores.amax(1) - scores[rows, chosen - 1],
            "the same candidate was taken in each row": scores.amax(1) - scores[:, 0],
            "best and chosen were taken along the wrong axis: a row is a target, a column a "
            "candidate": scores.amax(0),
            "asked for is a regret for each row, not their mean": (scores.amax(1) - taken).mean(),
        },
    )


@exercise("8.3.1-c")
def rule_for_unfreezing(answer: Callable[[Sequence[float], int], Any]) -> str | None:
    """Check a rule that opens the next group when the last looks brought nothing."""
    cases = [
        ([1.0, 0.5, 0.6, 0.7], 2, True, "the last 2 are all above the best before them"),
        ([1.0, 0.5, 0.6, 0.4], 2, False, "the last one is below the best before it"),
        ([1.0, 0.5, 0.45, 0.7], 2, False, "one of the last 2 is below the best before them"),
        ([1.0, 0.9, 0.2, 0.5, 0.4], 2, True, "the best so far is 0.2, and the last 2 are above it"),
        ([0.5, 0.6], 2, False, "there is no loss before the last 2"),
        ([0.5, 0.6, 0.7], 2, True, "the last 2 are above the first"),
        ([1.0, 0.5, 0.6, 0.7], 1, True, "the last one is above the best before it"),
        ([1.0, 0.5, 0.6, 0.7], 3, False, "0.5 is among the last 3, and below the first"),
        (
            [0.2, 0.9, 0.5, 0.4],
            2,
            True,
            "the smallest before the last 2 is 0.2, not the latest one",
        ),
        ([1.0, 0.5, 0.5, 0.6], 2, False, "0.5 was reached again: that isn't larger than the best"),
    ]
    for losses, patience, due, why in cases:
        found = answer(list(losses), patience)
        if isinstance(found, Tensor) and found.numel() == 1:
            found = found.item()
        if isinstance(found, np.bool_):
            found = bool(found)
        if not isinstance(found, bool):
            return f"the rule must return True or False, got {found!r}"
        if found != due:
            opens = "should open a group" if due else "should open nothing"
            return f"with {losses} and patience {patience} the rule {opens}: {why}"
    return None


@exercise("8.3.1-d")
def shares_of_first_places(answer: Callable[[Tensor], Any]) -> str | None:
    """Check shares of first places in resamples with ties."""
    scores = torch.tensor(
        [[3, 1, 2, 0], [1, 3, 3, 0], [2, 2, 2, 1], [4, 5, 1, 0], [0, 0, 0, 0]], dtype=torch.float64
    )
    scores = scores[torch.randperm(5)]
    best = scores == scores.amax(1, keepdim=True)
    due = (best / best.sum(1, keepdim=True)).mean(0)
    first = torch.zeros(4, dtype=torch.float64)
    for row in scores:
        first[row.argmax()] += 0.2
    return compare(
        answer(scores),
        due,
        what="the share",
        hints={
            "ties are given to the first of them; let those that tie share the place": first,
            "with ties the shares add up to more than 1: divide each row by its number of best": (
                best.double().mean(0)
            ),
            "ties share the place of their resample: divide each row before the mean, not the "
            "mean by its sum": best.double().mean(0) / best.double().mean(0).sum(),
            "these are counts; divide by the number of resamples": 5 * due,
            "rows are resamples, columns sources: the best of each row is asked for": (
                (scores == scores.amax(0)).double().mean(0)
            ),
            "these are mean scores; count how often each source is first": scores.mean(0),
        },
    )
