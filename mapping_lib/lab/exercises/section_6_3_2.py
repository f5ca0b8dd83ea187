"""Checks of the exercises of section 6.3.2, speaker recognition."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor
from torch.nn.functional import normalize

from mapping_lib.lab.exercises.compare import compare
from mapping_lib.lab.exercises.core import exercise
from mapping_lib.speech import detection_errors


@exercise("6.3.2-a")
def nine_trials(answer: Any) -> str | None:
    """Check false accepts, false rejects and the equal error rate of nine trials."""
    accepts, rejects, equal = 0.2, 0.75, 0.25
    return compare(
        answer,
        (accepts, rejects, equal),
        what="the triple",
        hints={
            "swapped: first the false accepts, then the false rejects": (rejects, accepts, equal),
            "divide by the trials of that kind, not by all nine": (1 / 9, 3 / 9, equal),
            "the first is a share of the trials of two voices, of which there are five": (
                0.25,
                rejects,
                equal,
            ),
            "the second counts the trials of one voice that are rejected, not accepted": (
                accepts,
                0.25,
                equal,
            ),
            "the third isn't the mean at this threshold: look for where the two are equal": (
                accepts,
                rejects,
                (accepts + rejects) / 2,
            ),
            "the third: those are the false accepts after the two errors have passed each other; "
            "take a straight line between the two thresholds": (accepts, rejects, 0.2),
            "the third: those are the false accepts before the two errors pass each other; take a "
            "straight line between the two thresholds": (accepts, rejects, 0.4),
            "the third isn't the mean of the two errors where they are nearest: take a straight "
            "line between the two thresholds": (accepts, rejects, 0.225),
            "the third isn't the mean of the two errors before they pass each other: take a "
            "straight line between the two thresholds": (accepts, rejects, 0.325),
            "give shares, not per cent": (100 * accepts, 100 * rejects, 100 * equal),
            "those are numbers of trials: divide by the trials of that kind": (1.0, 3.0, equal),
        },
        tolerance=5e-3,
    )


@exercise("6.3.2-b")
def left_out(answer: Any) -> str | None:
    """Check the cosines with and without leaving an utterance out of its centroid."""
    within = 2**-0.5
    return compare(
        answer,
        (within, 0.0),
        what="the pair",
        hints={
            "swapped: first with the utterance in its centroid": (0.0, within),
            "the cosine divides by the lengths of both, and the centroid isn't of length 1": (
                0.5,
                0.0,
            ),
            "without it, the centroid is the other utterance alone": (within, within),
            "the utterance isn't its own centroid: that is the mean of two": (1.0, 0.0),
        },
        tolerance=5e-3,
    )


def _cost(scores: Tensor, same: Tensor, prior: float) -> Tensor:
    _, accepts, rejects = detection_errors(scores, same)
    return prior * rejects + (1 - prior) * accepts


@exercise("6.3.2-c")
def least_cost(answer: Callable[..., Any]) -> str | None:
    """Check a function that returns the least cost over all thresholds."""
    generator = torch.Generator().manual_seed(0)
    same = torch.arange(90) % 3 == 0
    for prior, shift in ((0.3, 1.0), (0.05, -1.0), (0.98, -1.0)):
        scores = torch.randn(90, generator=generator) + shift * same
        costs = _cost(scores, same, prior)
        thresholds, accepts, rejects = detection_errors(scores, same)
        equal = int((accepts <= rejects).nonzero()[0])
        best = int(costs.argmin())
        not_all = costs[1:].min().item()
        got = answer(scores, same, prior)
        if isinstance(got, Tensor) and got.numel() == 1:
            got = got.detach().item()
        wrong = compare(
            got,
            costs.min().item(),
            what=f"the cost with a prior of {prior:g}",
            hints={
                "the prior weighs the false rejects, and 1 - prior the false accepts": _cost(
                    scores, same, 1 - prior
                )
                .min()
                .item(),
                "to accept nobody is allowed, too: try a threshold above all scores": costs[:-1]
                .min()
                .item(),
                "to accept everybody is allowed, too: try a threshold below all scores": not_all,
                "each error is a share of the trials of its own kind, not of all": (
                    (prior * rejects * same.sum() + (1 - prior) * accepts * (~same).sum()) / 90
                )
                .min()
                .item(),
                "the two kinds are exchanged: same is True for a pair of one voice": _cost(
                    scores, ~same, prior
                )
                .min()
                .item(),
                "that is the largest cost": costs.max().item(),
                "that is the cost where both errors are equal: take the least": costs[equal].item(),
                "the errors aren't weighed by the prior": (accepts + rejects).min().item(),
                "return the cost, not the threshold": thresholds[best].item(),
            },
            tolerance=1e-3,
        )
        if wrong:
            return wrong
    return None


def _identify(enrolled: Tensor, speakers: Tensor, claims: Tensor) -> Tensor:
    return normalize(claims, dim=1) @ normalize(_models(enrolled, speakers), dim=1).T


def _models(enrolled: Tensor, speakers: Tensor) -> Tensor:
    unit = normalize(enrolled, dim=1)
    return torch.stack([unit[speakers == k].mean(0) for k in range(int(speakers.max()) + 1)])


@exercise("6.3.2-d")
def identify(answer: Callable[..., Any]) -> str | None:
    """Check a function that names the speaker of each claim."""
    generator = torch.Generator().manual_seed(2)
    speakers = torch.tensor([0, 1, 1, 2, 2, 2, 3, 3])
    lengths = torch.rand(8, 1, generator=generator) * 5 + 0.1
    enrolled = normalize(torch.randn(8, 6, generator=generator), dim=1) * lengths
    claims = torch.randn(200, 6, generator=generator)
    unit = normalize(claims, dim=1)
    scores = _identify(enrolled, speakers, claims)
    plain = torch.stack([enrolled[speakers == k].mean(0) for k in range(4)])
    raw = _models(enrolled, speakers)
    nearest = (unit @ normalize(enrolled, dim=1).T).argmax(1)
    got = answer(enrolled, speakers, claims)
    if isinstance(got, Tensor) and not (got == got.round()).all():
        return "return the number of the best speaker, not the scores: argmax over the speakers"
    distance = torch.cdist(claims, raw)
    sums = torch.stack([normalize(enrolled, dim=1)[speakers == k].sum(0) for k in range(4)])
    return compare(
        got,
        scores.argmax(1).tolist(),
        what="the list of speakers",
        hints={
            "bring the enrolled embeddings to length 1 before you average them": (
                unit @ normalize(plain, dim=1).T
            ).argmax(1),
            "divide by the length of each mean, too: a cosine": (unit @ raw.T).argmax(1),
            "average each speaker's clips; you took the nearest single clip": speakers[nearest],
            "that is the number of the nearest clip, not of its speaker": nearest,
            "that is the least similar speaker": scores.argmin(1),
            "that is the nearest by distance: the largest cosine is asked for": distance.argmin(1),
            "more clips must not make a speaker more alike: divide by the length": (
                unit @ sums.T
            ).argmax(1),
            "speakers are numbered from 0": scores.argmax(1) + 1,
        },
    )
