"""Checks of the exercises of section 6.3.3, emotion recognition."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from torch import Tensor

from mapping_lib.lab.exercises.compare import compare
from mapping_lib.lab.exercises.core import exercise


@exercise("6.3.3-a")
def recalls(answer: Any) -> str | None:
    """Check accuracy and unweighted average recall of three moods."""
    right, sizes = (76, 6, 1), (80, 15, 5)
    accuracy = sum(right) / sum(sizes)
    each = [hit / size for hit, size in zip(right, sizes, strict=True)]
    mean = sum(each) / 3
    return compare(
        answer,
        (accuracy, mean),
        what="the pair",
        hints={
            "swapped: first the accuracy, then the unweighted average recall": (mean, accuracy),
            "the second gives each mood the same weight, whatever its size": (accuracy, accuracy),
            "the first counts clips, whatever their mood": (mean, mean),
            "give shares, not per cent": (100 * accuracy, 100 * mean),
            "the second is the mean over all three moods, neutral among them": (
                accuracy,
                (each[1] + each[2]) / 2,
            ),
            "the second is the recall of the sad ones alone: average all three": (
                accuracy,
                each[2],
            ),
        },
        tolerance=6e-3,
    )


@exercise("6.3.3-b")
def pitch_of_a_frame(answer: Callable[..., Any]) -> str | None:
    """Check a function that finds the pitch of one frame."""
    even, bright = (1.0, 1 / 2, 1 / 3), (0.4, 0.6, 1.0)  # loudness of the first three partials
    for due, rate, loud in (
        (100.0, 8000, even),
        (160.0, 8000, even),
        (250.0, 12000, even),
        (320.0, 8000, even),
        (125.0, 8000, bright),
    ):
        t = torch.arange(rate // 20, dtype=torch.float64) / rate
        waves = (a * (2 * torch.pi * due * k * t + k).sin() for k, a in enumerate(loud, 1))
        tone = sum(waves, 0 * t)
        got = answer(tone, rate)
        if isinstance(got, Tensor) and got.numel() == 1:
            got = got.item()
        if isinstance(got, int | float) and got > 401 and abs(got - rate / due) > 1:
            return "above 400 Hz: near lag 0 every wave is like itself; begin at the lag rate / 400"
        wrong = compare(
            got,
            due,
            what=f"the pitch of a voice of {due:g} Hz, at {rate:,} samples a second,",
            hints={
                "that is the lag in samples: divide the rate by it": rate / due,
                "that is the period in seconds: the pitch is its inverse": 1 / due,
                "one octave too low: of two equal peaks take the shorter lag": due / 2,
                "a third of the pitch: of equal peaks take the shortest lag": due / 3,
                "a quarter of the pitch: of equal peaks take the shortest lag": due / 4,
                "a fifth of the pitch: of equal peaks take the shortest lag": due / 5,
                "one octave too high: at that lag only every other partial is like itself": 2 * due,
                "that is the loudest or busiest partial: the wave repeats at the lowest": 3 * due,
                "that is the rate divided by the shortest lag allowed: near lag 0 every wave is "
                "like itself; begin the search at rate / 400": 400.0,
                "lag and index differ: add the first lag of your search to the index": rate
                / (rate / due - rate / 400),
                **(
                    {"the rate isn't always 8,000: use the argument": due * 8000 / rate}
                    if rate != 8000
                    else {}
                ),
            },
            tolerance=0.03,
        )
        if wrong:
            return wrong
    return None


@exercise("6.3.3-c")
def folds(answer: Callable[..., Any]) -> str | None:
    """Check a function that puts clips into folds by their speakers."""
    draw = torch.Generator().manual_seed(0)
    names = torch.tensor([3, 5, 8, 9, 11, 14, 20])  # not from 0, and not without gaps
    speakers = names[torch.randint(0, len(names), (60,), generator=draw)]
    for count, numbers, shares in ((3, "0, 1 and 2", [2, 2, 3]), (2, "0 and 1", [3, 4])):
        try:
            found = np.asarray(answer(speakers, count))
        except ValueError:  # rows of unequal length
            return "return one number a clip, shape (60,), not a list for each fold"
        if found.shape != (60,):
            return f"return one number a clip, shape (60,); the shape is {found.shape}"
        values = np.unique(found).tolist()
        if values != list(range(count)):
            shown = ", ".join(str(value) for value in values[:5]) + ", …" * (len(values) > 5)
            return (
                f"with {count} folds the numbers are {numbers}, not {shown}; "
                "have you numbered the speakers afresh, from 0 and without gaps?"
            )
        owned = [set(speakers[torch.from_numpy(found == k)].tolist()) for k in range(count)]
        for first in range(count):
            for second in range(first):
                if shared := owned[first] & owned[second]:
                    return (
                        f"speaker {min(shared)} is in folds {second} and {first}: the test would "
                        "hear a voice that was trained on"
                    )
        counts = sorted(map(len, owned))
        if counts != shares:
            due = " and ".join(map(str, shares)) if count == 2 else "2, 2 and 3"
            return f"seven speakers in {count} folds are {due}, not {counts}: deal them out evenly"
    return None
