"""Checks of the exercises of section 6.2.2, named entities."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import torch

from mapping_lib.lab.exercises.compare import compare
from mapping_lib.lab.exercises.core import exercise
from mapping_lib.tagging import crf_log_partition, crf_marginals, crf_score, viterbi


@exercise("6.2.2-a")
def whole_entities(answer: Any) -> str | None:
    """Check precision, recall and F1 of one sentence."""
    precision, recall, f1 = 1 / 2, 1 / 3, 2 / 5
    return compare(
        answer,
        (precision, recall, f1),
        what="the triple",
        hints={
            "swapped: precision counts what was predicted, recall what is there": (
                recall,
                precision,
                f1,
            ),
            "F1 is the harmonic mean of the two, not the arithmetic one": (
                precision,
                recall,
                (precision + recall) / 2,
            ),
            "the third is the share of right words, not the harmonic mean of the two": (
                precision,
                recall,
                4 / 6,
            ),
            "those are numbers of entities: divide them": (1.0, 1.0, 2.0),
            "half of a name is no entity: its boundaries are wrong": (1.0, 2 / 3, 4 / 5),
            "that counts words; count entities": (1.0, 1 / 2, 2 / 3),
            "give shares, not per cent": (50.0, 100 / 3, 40.0),
        },
        tolerance=1e-2,
    )


@exercise("6.2.2-b")
def probability_of_a_row(answer: Any) -> str | None:
    """Check the probability of one row of tags among four."""
    return compare(
        answer,
        8 / 18,
        what="the probability",
        hints={
            "that is the weight of the row: divide it by the sum over all four rows": 8.0,
            "the step from P to P has a weight, too": (2 / 3) * (1 / 4),
            "that is the probability of P at the second place, whatever stands before it": 9 / 18,
            "the row is normalised as a whole, not place by place": (2 / 3) * (4 / 7),
            "that is the row P, O": 6 / 18,
            "give a share, not per cent": 800 / 18,
        },
        tolerance=1.2e-2,
    )


@exercise("6.2.2-c")
def forward_algorithm(answer: Callable[..., Any]) -> str | None:
    """Check a function that sums over all rows of tags."""
    generator = torch.Generator().manual_seed(0)
    for length in (1, 4, 30):
        emissions = torch.randn(length, 3, generator=generator)
        transitions = torch.randn(3, 3, generator=generator)
        one = emissions[None]
        right = crf_log_partition(one, transitions)[0]
        best = viterbi(one, transitions)
        last = after = before = emissions[0]
        for scores in emissions[1:]:
            last = scores + (last[:, None] + transitions).logsumexp(0)
            after = scores + (after[:, None] + transitions).logsumexp(1)
            before = scores + (before + transitions).logsumexp(0)
        wrong = compare(
            answer(emissions, transitions),
            right.item(),
            what=f"the log-partition of {length} place{'s' if length > 1 else ''}",
            hints={
                "that is the score of the best row: add over the tags before, don't take the "
                "largest": crf_score(one, best, transitions)[0],
                "the rows of A are the tags before, its columns the tags after: it is transposed": (
                    crf_log_partition(one, transitions.T)[0]
                ),
                "add over the tags before, not over those after": after.logsumexp(0),
                "alpha belongs to the tags before, the rows of A: add it as a column": (
                    before.logsumexp(0)
                ),
                "the first place has no step before it": crf_log_partition(
                    torch.cat([torch.zeros(1, 3), emissions])[None], transitions
                )[0],
                "that is one number a tag: add over the last tags, too": last,
                "the transitions are missing": emissions.logsumexp(1).sum(),
                "that is Z: return its logarithm": right.exp(),
                "take the natural logarithm": right / math.log(2),
            },
        )
        if wrong:
            return wrong
    emissions = torch.full((400, 3), 5.0)
    return compare(
        answer(emissions, torch.zeros(3, 3)),
        crf_log_partition(emissions[None], torch.zeros(3, 3)).item(),
        what="the log-partition of 400 places (stay with logarithms, e to the score overflows): it",
    )


@exercise("6.2.2-d")
def best_row(answer: Callable[..., Any]) -> str | None:
    """Check a function that finds the best row of tags."""
    generator = torch.Generator().manual_seed(1)
    for _ in range(10):
        emissions = torch.randn(7, 4, generator=generator)
        transitions = 2 * torch.randn(4, 4, generator=generator)
        due = viterbi(emissions[None], transitions)[0]
        so_far = emissions[0]
        greedy = [int(so_far.argmax())]
        ends = list(greedy)
        for scores in emissions[1:]:
            greedy.append(int((scores + transitions[greedy[-1]]).argmax()))
            so_far = scores + (so_far[:, None] + transitions).amax(0)
            ends.append(int(so_far.argmax()))
        got = answer(emissions, transitions)
        if isinstance(got, tuple) and len(got) == 2:
            return "return the row alone, not a pair"
        wrong = compare(
            got,
            due.tolist(),
            what="the row",
            hints={
                "that is the best tag of each place by itself: add the steps": emissions.argmax(1),
                "that decides place by place and never goes back: keep the best way to every tag": (
                    torch.tensor(greedy)
                ),
                "that is where the best way up to each place ends: walk back from the last": (
                    torch.tensor(ends)
                ),
                "that is the likeliest tag of each place over all rows, not the best row": (
                    crf_marginals(emissions[None], transitions)[0].argmax(1)
                ),
                "the rows of A are the tags before, its columns the tags after: it is transposed": (
                    viterbi(emissions[None], transitions.T)[0]
                ),
                "the row is read backwards from its end: turn it round": due.flip(0),
            },
        )
        if wrong:
            return wrong
    return None
