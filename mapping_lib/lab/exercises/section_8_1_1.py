"""Checks of the exercises of section 8.1.1, cross-modal transfer."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import torch
from torch.nn.functional import cross_entropy, normalize

from mapping_lib.lab.exercises.compare import compare
from mapping_lib.lab.exercises.core import exercise


@exercise("8.1.1-a")
def uniform_by_hand(answer: Any) -> str | None:
    """Check the loss of four equal cosines, and the slope at an own pair's similarity."""
    value, slope = math.log(4), (0.25 + 0.25 - 2) / 8
    return compare(
        answer,
        (value, slope),
        what="the pair",
        hints={
            "swapped: first the loss, then the slope": (slope, value),
            "the loss is in nats, not bits: log is the natural logarithm": (2.0, slope),
            "the loss averages both directions, it doesn't add them": (2 * value, slope),
            "the slope of an own pair is negative: raising it lowers the loss": (value, -slope),
            "the slope is that of the mean over n pairs: divide by 4": (value, 4 * slope),
            "that is the slope of one direction times ½; both the row and the column count": (
                value,
                slope / 2,
            ),
            "both directions are averaged, with a factor of ½": (value, 2 * slope),
            "that is the slope at another text's similarity, (¼ + ¼)/8": (value, 0.5 / 8),
            "that is the slope by the cosine; z is already divided by the temperature": (
                value,
                10 * slope,
            ),
            "an own pair is taken off twice, once for each direction": (value, (0.5 - 1) / 8),
            "the loss is −log ¼, which is positive": (-value, slope),
            "the common similarity doesn't matter: it cancels in the softmax": (
                value - 0.5 / 0.1,
                slope,
            ),
        },
        tolerance=4e-3,
    )


@exercise("8.1.1-b")
def symmetric_loss(answer: Callable[..., Any]) -> str | None:
    """Check a function that computes the symmetric loss."""
    generator = torch.Generator().manual_seed(0)
    images, texts = (torch.randn(6, 4, generator=generator) * (2 + k) for k in range(2))
    temperature = 0.3
    own = torch.arange(6)
    u, v = normalize(images), normalize(texts)

    def both(scores: torch.Tensor) -> tuple[float, float]:
        return cross_entropy(scores, own).item(), cross_entropy(scores.mT, own).item()

    z = u @ v.mT / temperature
    rows, columns = both(z)
    right = (rows + columns) / 2
    within = (z - 1e9 * torch.eye(6)).logsumexp(1) - z.diagonal()
    return compare(
        answer(images.clone(), texts.clone(), temperature),
        right,
        what="the loss",
        hints={
            "that is one direction, the text of each image; add the image of each text": rows,
            "that is one direction, the image of each text; add the text of each image": columns,
            "average both directions, don't add them": rows + columns,
            "average over the pairs, don't add them": 6 * right,
            "scale the rows to length 1 first": sum(both(images @ texts.mT / temperature)) / 2,
            "divide by the temperature, don't multiply": sum(both(u @ v.mT * temperature)) / 2,
            "the temperature is missing": sum(both(u @ v.mT)) / 2,
            "the own pair belongs into the sum of the softmax, too": within.mean().item(),
            "that is log n, the loss of a guess, whatever the embeddings": math.log(6),
            "the sign is wrong: a loss falls as own pairs come closer": -right,
            "scale over the features (dim=1), not over the batch": sum(
                both(normalize(images, dim=0) @ normalize(texts, dim=0).mT / temperature)
            )
            / 2,
        },
    )


@exercise("8.1.1-c")
def head_from_prompts(answer: Callable[..., Any]) -> str | None:
    """Check a function that makes a classifier's weights from prompts."""
    generator = torch.Generator().manual_seed(1)
    prompts = torch.randn(3, 4, 5, generator=generator)
    prompts = prompts * torch.rand(3, 4, 1, generator=generator).mul(9).add(1)
    unit = normalize(prompts, dim=2)
    return compare(
        answer(prompts.clone()),
        normalize(unit.mean(1)),
        what="the weights",
        hints={
            "scale the mean to length 1 again": unit.mean(1),
            "scale the sum to length 1 again": unit.sum(1),
            "scale each prompt to length 1 before the mean, or long ones count more": normalize(
                prompts.mean(1)
            ),
            "nothing is scaled to length 1": prompts.mean(1),
            "that is the first prompt alone; average over all": unit[:, 0],
            "scale over the features, the last axis": normalize(normalize(prompts, dim=1).mean(1)),
            "average over the prompts (dim=1), not over the classes": normalize(unit.mean(0)),
        },
    )


@exercise("8.1.1-d")
def gap(answer: Callable[..., Any]) -> str | None:
    """Check a function that measures the modality gap."""
    generator = torch.Generator().manual_seed(2)
    images = 3 * torch.randn(5, 3, generator=generator) + torch.tensor([4.0, 0.0, 0.0])
    texts = torch.rand(7, 3, generator=generator) * torch.arange(1, 8)[:, None]
    u, v = normalize(images), normalize(texts)
    difference = u.mean(0) - v.mean(0)
    return compare(
        answer(images.clone(), texts.clone()),
        difference.norm().item(),
        what="the gap",
        hints={
            "scale the rows to length 1 before the means": (images.mean(0) - texts.mean(0))
            .norm()
            .item(),
            "don't scale the means again: their length is part of the gap": (
                (normalize(u.mean(0), dim=0) - normalize(v.mean(0), dim=0)).norm().item()
            ),
            "that is the vector between the means; the gap is its length": difference,
            "add up squares and take the root, not absolute values": difference.abs().sum().item(),
            "that is the squared length; take the root": difference.square().sum().item(),
            "that is the mean distance of all pairs, not the distance of the means": torch.cdist(
                u, v
            )
            .mean()
            .item(),
            "that is 1 − the cosine of the means; take their distance": 1
            - torch.cosine_similarity(u.mean(0), v.mean(0), dim=0).item(),
        },
    )
