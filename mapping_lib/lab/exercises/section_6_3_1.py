"""Checks of the exercises of section 6.3.1, speech recognition."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from mapping_lib.ctc import collapse
from mapping_lib.lab.exercises.compare import compare
from mapping_lib.lab.exercises.core import exercise
from mapping_lib.lab.recognising import word_errors


@exercise("6.3.1-a")
def two_frames(answer: Any) -> str | None:
    """Check the probability of one label in two frames."""
    blank, a = 1 / 2, 1 / 3
    right = a * a + 2 * blank * a
    return compare(
        answer,
        right,
        what="the probability",
        hints={
            "the path a, a is missing: equal neighbours are one label": 2 * blank * a,
            "that is the path a, a alone; two more collapse to it": a * a,
            "a before the blank and a after it are two paths": a * a + blank * a,
            "that is of a and blank together: the path blank, blank is no a": (a + blank) ** 2,
            "that counts a, b and b, a too: they stand for two labels": 1 - (1 - a) ** 2,
            "that is one path; others collapse to it as well": blank * a,
            "that is the likeliest path, which stands for nothing": blank**2,
            "give the probability, not the loss": -float(torch.tensor(right).log()),
            "give a share, not per cent": 100 * right,
        },
        tolerance=1.5e-2,
    )


@exercise("6.3.1-b")
def repeated_digits(answer: Any) -> str | None:
    """Check the fewest steps of five digits, and an error rate."""
    steps, rate = 8.0, 2 / 5
    return compare(
        answer,
        (steps, rate),
        what="the pair",
        hints={
            "the first: a blank has to stand between two equal digits": (5.0, rate),
            "the first: no blank is needed before the first digit or after the last": (10.0, rate),
            "the first: only equal neighbours need a blank between them": (9.0, rate),
            "the first: only equal neighbours need a blank between them, and none is needed at the "
            "ends": (11.0, rate),
            "the first: three equal digits have two places between them, and each needs a blank": (
                7.0,
                rate,
            ),
            "the first: a blank has to stand between two equal digits; the second is divided by "
            "the digits said": (5.0, 2 / 3),
            "the second is divided by the digits said, not by those heard": (steps, 2 / 3),
            "the second is a share: divide by the number of digits said": (steps, 2.0),
            "the second counts both digits that are missing": (steps, 1 / 5),
            "the second is the share of errors, not of what is right": (steps, 3 / 5),
            "the second is a share, not a percentage": (steps, 40.0),
            "swapped: first the steps, then the error rate": (rate, steps),
        },
        tolerance=1e-3,
    )


@exercise("6.3.1-c")
def collapsing(answer: Callable[..., Any]) -> str | None:
    """Check a function that collapses a path."""
    for path in ([1, 1, 2], [0, 3, 0], [4, 4, 0, 4, 0, 0, 2], [0, 0], [], [5, 0, 0, 5, 5]):
        got = answer(list(path))
        if isinstance(got, Tensor):
            got = got.tolist()
        if got is None:
            return "nothing yet: the function returns None"
        if not isinstance(got, list):
            return f"the function must return a list, not {got!r}"
        right = collapse(path)
        if got == right:
            continue
        no_blanks = [label for label in path if label]
        merged = [b for b, a in zip(path, [None, *path], strict=False) if b != a]
        late = [b for b, a in zip(no_blanks, [None, *no_blanks], strict=False) if b != a]
        said = f"{path} gives {got}, where {right} is due"
        if got == merged:
            return f"{said}: the blanks are still there"
        if got == no_blanks:
            return f"{said}: equal neighbours aren't merged"
        if got == late:
            return (
                f"{said}: a blank between two equal labels keeps them apart, so merge before you "
                "drop the blanks"
            )
        return said
    return None


@exercise("6.3.1-d")
def error_rate(answer: Callable[..., Any]) -> str | None:
    """Check a function that returns the word error rate of some strings."""
    cases = (
        (["1 2 3"], ["1 2 3"]),
        (["1 2 3 4", "5 6", "7"], ["1 3 4", "5 6", "7"]),
        (["7 7 5", "2"], ["7 5", "2 2 2"]),
        (["1 2", "3 4 5 6"], ["1 3", ""]),
        (["4"], ["4 2 3"]),
        (["one three ten"], ["one ten"]),
    )
    for said, heard in cases:
        got = answer(list(said), list(heard))
        if got is None:
            return "nothing yet: the function returns None"
        if isinstance(got, Tensor) and got.numel() == 1:
            got = got.item()
        rows = [word_errors([a], [b])["wer"] for a, b in zip(said, heard, strict=True)]
        right = word_errors(said, heard)["wer"]
        swapped = word_errors(heard, said)["wer"] if any(heard) else -1.0
        wrong = compare(
            got,
            right,
            what=f"the rate of {said} heard as {heard}",
            hints={
                "add up errors and words over all strings, then divide; not string by string": (
                    sum(rows) / len(rows)
                ),
                "divide by the words said, not by those heard": swapped,
                "an error rate can be above 1: don't cut it off": min(right, 1.0),
                "give a share, not a percentage": 100 * right,
                "it counts the errors and doesn't divide by the words": right
                * sum(len(text.split()) for text in said),
                "words are compared place by place: one that is left out shifts all others": (
                    _by_place(said, heard)
                ),
                "a word replaced is one error, not one left out and one added": _replacing_is_two(
                    said, heard
                ),
                "it compares characters: cut the texts into words": _spelt(said, heard, " "),
                "it compares letters: cut the texts into words": _spelt(said, heard, ""),
                "align each string by itself, not all of them joined": word_errors(
                    [" ".join(said)], [" ".join(heard)]
                )["wer"],
                "that is the share of strings that aren't heard quite right: count words": sum(
                    a != b for a, b in zip(said, heard, strict=True)
                )
                / len(said),
                "that is the share of what is right": 1 - right,
            },
            tolerance=1e-6,
        )
        if wrong:
            return wrong
    return None


def _replacing_is_two(said: list[str], heard: list[str]) -> float:
    """Return what one gets who only leaves out and adds."""
    total = 0
    for a, b in zip(said, heard, strict=True):
        left, right = a.split(), b.split()
        same = [0] * (len(right) + 1)  # words that two beginnings have in common, in order
        for word in left:
            new = [0]
            for j, other in enumerate(right):
                new.append(same[j] + 1 if word == other else max(same[j + 1], new[j]))
            same = new
        total += len(left) + len(right) - 2 * same[-1]
    return total / sum(len(text.split()) for text in said)


def _spelt(said: list[str], heard: list[str], blank: str) -> float:
    """Return what one gets who compares characters, with blanks or without."""

    def spelt(texts: list[str]) -> list[str]:
        return [" ".join(text.replace(" ", blank).replace(" ", "_")) for text in texts]

    return word_errors(spelt(said), spelt(heard))["wer"]


def _by_place(said: list[str], heard: list[str]) -> float:
    """Return what one gets who compares words place by place."""
    wrong = 0
    for a, b in zip(said, heard, strict=True):
        left, right = a.split(), b.split()
        wrong += sum(x != y for x, y in zip(left, right, strict=False))
        wrong += abs(len(left) - len(right))
    return wrong / sum(len(text.split()) for text in said)
