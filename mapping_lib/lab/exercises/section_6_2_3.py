"""Checks of the exercises of section 6.2.3, machine translation."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from mapping_lib.lab.exercises.compare import compare
from mapping_lib.lab.exercises.core import exercise
from mapping_lib.sequences import smoothed_labels


@exercise("6.2.3-a")
def bleu_by_hand(answer: Any) -> str | None:
    """Check BLEU of a translation that is too short."""
    shares = (6 / 6, 4 / 5, 3 / 4, 2 / 3)
    mean, short = math.prod(shares) ** (1 / 4), math.exp(1 - 8 / 6)
    return compare(
        answer,
        mean * short,
        what="BLEU",
        hints={
            "the translation has 6 words, its reference 8: the penalty for that is missing": mean,
            "that is the penalty alone": short,
            "the precisions are averaged by their geometric mean, not added and divided": sum(
                shares
            )
            / 4
            * short,
            "the penalty is exp(1 − 8/6): reference over translation": mean * math.exp(1 - 6 / 8),
            "the fourth root is missing": math.prod(shares) * short,
            "n-grams are counted in the translation, not in the reference": (
                (6 / 8 * 4 / 7 * 3 / 6 * 2 / 5) ** (1 / 4) * short
            ),
            "the penalty is an exponential, not the ratio of the lengths": mean * 6 / 8,
            "the penalty can't be above 1: the translation is shorter than its reference": mean
            * math.exp(8 / 6 - 1),
            "give a number from 0 to 1, not per cent": 100 * mean * short,
        },
        tolerance=6e-3,
    )


@exercise("6.2.3-b")
def smooth(answer: Callable[..., Any]) -> str | None:
    """Check a function that smooths labels."""
    for classes, share in ((5, 0.1), (3, 0.4)):
        labels = torch.tensor([2, 0, 1, 2])
        one_hot = torch.eye(classes)[labels]
        expected = smoothed_labels(labels, classes=classes, smoothing=share)
        without = share / classes * (1 - one_hot) + (1 - share) * one_hot
        wrong = compare(
            answer(labels, classes, share),
            expected,
            what=f"the table of labels for K = {classes} and ε = {share:g}",
            hints={
                f"the rows add up to {1 - share / classes:.2f}: the label's own class gets an "
                "even share, too": without,
                "the share goes to all K classes, not to the K − 1 others": share
                / (classes - 1)
                * (1 - one_hot)
                + (1 - share) * one_hot,
                "the even share is ε/K for each class, not ε": (1 - share) * one_hot + share,
                "the label keeps too much: scale its one-hot row by 1 − ε": one_hot
                + share / classes,
                "these are one-hot labels: nothing is smoothed": one_hot,
                "ε and 1 − ε are swapped": share * one_hot + (1 - share) / classes,
            },
        )
        if wrong:
            return wrong
    return None


@exercise("6.2.3-c")
def character_score(answer: Callable[..., Any]) -> str | None:
    """Check a function that computes the F-score of character n-grams of one order."""
    cases = (
        ("allemand", "aleman", 2),
        ("banana", "bana", 2),
        ("bananas", "banana", 2),
        ("peso", "hrvn", 1),
        ("lari", "rial", 1),
        ("el", "del", 3),  # shorter than n
    )
    for found, wanted, order in cases:
        expected, hints = _f_scores(found, wanted, order)
        got = answer(found, wanted, order)
        if isinstance(got, Tensor) and got.numel() == 1:
            got = got.detach().item()
        words = compare(
            got,
            expected,
            what=f"the score of {found!r} for {wanted!r} with n = {order}",
            hints={hint: value for hint, value in hints.items() if abs(value - expected) > 1e-3},
            tolerance=1e-3,
        )
        if words:
            return words
    return None


@exercise("6.2.3-d")
def carry_rows(answer: Callable[..., Any]) -> str | None:
    """Check a function that carries embeddings over to another vocabulary."""
    old, new = ["<pad>", "a", "b", "c"], ["<pad>", "b", "ñ", "a", "d"]
    table, fresh = torch.randn(4, 3), torch.randn(5, 3)
    got = answer(table, old, fresh, new)
    expected = fresh.clone()
    for row, symbol in enumerate(new):
        if symbol in old:
            expected[row] = table[old.index(symbol)]
    same_place = fresh.clone()
    same_place[:4] = table
    zeros = expected.clone()
    zeros[[2, 4]] = 0
    without_first = expected.clone()
    without_first[0] = fresh[0]
    known = [symbol in old for symbol in new]
    if (
        isinstance(got, Tensor)
        and got.shape == expected.shape
        and got.is_floating_point()
        and torch.allclose(got[known].to(expected), expected[known])
        and not torch.allclose(got.to(expected), expected)
        and not torch.allclose(got.to(expected), zeros)
    ):
        return "symbols that the parent doesn't know keep the rows of the new table"
    return compare(
        got,
        expected,
        what="the child's table",
        hints={
            "rows are matched by their symbol, not by their place": same_place,
            "symbols that the parent doesn't know keep their new rows: don't set them to 0": zeros,
            "the first symbol, number 0, is carried over as well (in Python 0 counts as false)": (
                without_first
            ),
            "that is the new table as it was: carry the rows of equal symbols over": fresh,
            "that is the parent's table: the child's has one row for each of its own symbols": (
                table
            ),
        },
    )


def _grams(text: str, order: int) -> Counter[str]:
    return Counter(text[k : k + order] for k in range(len(text) - order + 1))


def _f_scores(found: str, wanted: str, order: int) -> tuple[float, dict[str, float]]:
    """Return the right score, and what plausible mistakes give."""
    have, due = _grams(found, order), _grams(wanted, order)

    def score(common: float, square: float = 4.0, swap: bool = False) -> float:
        precision, recall = common / max(have.total(), 1), common / max(due.total(), 1)
        if swap:
            precision, recall = recall, precision
        if precision + recall == 0:
            return 0.0
        return (1 + square) * precision * recall / (square * precision + recall)

    matches = (have & due).total()
    return score(matches), {
        "recall counts twice as much as precision: β² is 4, here it is 1": score(matches, 1.0),
        "β is squared: 4, not 2": score(matches, 2.0),
        "precision and recall are swapped": score(matches, swap=True),
        "that is the precision alone": matches / max(have.total(), 1),
        "that is the recall alone": matches / max(due.total(), 1),
        "an n-gram counts at most as often as it is in the reference": score(
            sum(count for gram, count in have.items() if gram in due)
        ),
        "an n-gram that comes twice in both counts twice": score(len(set(have) & set(due))),
        "the last n-gram is missing: a text of L characters has L − n + 1": _cut(
            found, wanted, order, last=-1
        ),
        "what is left at the end and shorter than n is no n-gram": _cut(
            found, wanted, order, last=order - 1
        ),
        "n-grams overlap: one begins at each character": _cut(found, wanted, order, step=order),
        "take n-grams of this one length, not of all lengths up to it": sum(
            _cut(found, wanted, k) for k in range(1, order + 1)
        )
        / order,
    }


def _cut(found: str, wanted: str, order: int, *, last: int = 0, step: int = 1) -> float:
    """Return the score where texts are cut into n-grams in another way."""
    have, due = (
        Counter(text[k : k + order] for k in range(0, len(text) - order + 1 + last, step))
        for text in (found, wanted)
    )
    common = (have & due).total()
    if not common:
        return 0.0
    precision, recall = common / have.total(), common / due.total()
    return 5 * precision * recall / (4 * precision + recall)
