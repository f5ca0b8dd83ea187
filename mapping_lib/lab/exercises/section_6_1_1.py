"""Checks of the exercises of section 6.1.1, image classification."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from mapping_lib.lab.exercises.compare import compare
from mapping_lib.lab.exercises.core import exercise
from mapping_lib.metrics import fit_temperature, grad_cam


@exercise("6.1.1-a")
def macro(answer: Any) -> str | None:
    """Check accuracy and macro-averaged accuracy of a screening test."""
    both = 86 / 90, 5 / 10
    overall, mean = 91 / 100, sum(both) / 2
    return compare(
        answer,
        (overall, mean),
        what="the pair",
        hints={
            "swapped: first the accuracy over all, then the mean over the classes": (mean, overall),
            "the first number counts all 100 leaves, whatever their class": (mean, mean),
            "the second is the mean of the classes' accuracies, not weighed by their size": (
                overall,
                overall,
            ),
            "give shares, not per cent": (100 * overall, 100 * mean),
            "those are the accuracies of the two classes: the second number is their mean, the "
            "first counts all leaves": both,
            "the second is that of the ill leaves alone: average it with the other's": (
                overall,
                both[1],
            ),
        },
        tolerance=6e-3,
    )


@exercise("6.1.1-b")
def calibration_by_hand(answer: Any) -> str | None:
    """Check the calibration error of five predictions in two bins."""
    low, high = abs(0.65 - 1), abs(0.95 - 2 / 3)
    return compare(
        answer,
        (2 * low + 3 * high) / 5,
        what="the error",
        hints={
            "that is one bin for all: take the gaps bin by bin, so that they can't cancel": 0.03,
            "each bin's gap is weighed by its share of the predictions": (low + high) / 2,
            "that is the lower bin's gap alone, and also what single predictions give: take each "
            "bin's gap, weighed by its share": low,
            "that is the gap in the upper bin alone": high,
            "weigh by shares of the five predictions, not by their numbers": 2 * low + 3 * high,
            "the gaps are weighed by the shares of their bins, not just added": low + high,
            "give a share, not per cent": 100 * (2 * low + 3 * high) / 5,
            "squared gaps: take their absolute values": (2 * low**2 + 3 * high**2) / 5,
        },
        tolerance=5e-3,
    )


@exercise("6.1.1-c")
def temperature(answer: Callable[..., Any]) -> str | None:
    """Check a function that finds the temperature."""
    generator = torch.Generator().manual_seed(0)
    for factor in (3.0, 0.4):
        sharp = torch.randn(400, 5, generator=generator)
        labels = torch.multinomial(sharp.softmax(1), 1, generator=generator)[:, 0]
        logits = factor * sharp
        expected = fit_temperature(logits, labels)
        got = answer(logits, labels)
        if isinstance(got, Tensor) and got.numel() == 1:
            got = got.detach().item()
        what = f"the temperature of logits that are {factor:g} times as large as they should be"
        wrong = compare(
            got,
            expected,
            what=what,
            hints={
                "logits are divided by the temperature: you return its inverse": 1 / expected,
                "always 1: the logits are as they were": 1.0,
                "the loss is minimised over the logarithm of T: return T": torch.tensor(expected)
                .log()
                .item(),
            },
            tolerance=0.02,
        )
        if wrong and isinstance(got, int | float) and 0.85 < got / expected < 1.15:
            return f"{what} is near the best one, but not to 2 %: search with a finer grid there"
        if wrong:
            return wrong
    return None


@exercise("6.1.1-d")
def class_maps(answer: Callable[..., Any]) -> str | None:
    """Check Grad-CAM from activations and gradients."""
    generator = torch.Generator().manual_seed(1)
    maps, slopes = (torch.randn(2, 3, 4, 5, generator=generator) for _ in range(2))
    weights = slopes.mean((2, 3), keepdim=True)
    signed = (weights * maps).sum(1)
    return compare(
        answer(maps, slopes),
        grad_cam(maps, slopes),
        what="the Grad-CAM",
        hints={
            "negative places are to be set to 0": signed,
            "average the gradients over the places first: one weight a channel": (slopes * maps)
            .sum(1)
            .relu(),
            "add over the channels, don't average": (weights * maps).mean(1).relu(),
            "the gradients are averaged over the places, not added": 20 * signed.relu(),
            "set the sum to 0 where it is negative, not each channel's part": (weights * maps)
            .relu()
            .sum(1),
            "what speaks against the class is left out, not turned round": signed.abs(),
            "that shows what speaks against the class: the sign is turned": (-signed).relu(),
            "average the gradients over the places, not over the channels": (
                slopes.mean(1, keepdim=True) * maps
            )
            .sum(1)
            .relu(),
            "set the sum to 0 where it is negative, not the weights": (weights.relu() * maps)
            .sum(1)
            .relu(),
            "the gradients belong to the weights, the activations to the maps: they are swapped": (
                maps.mean((2, 3), keepdim=True) * slopes
            )
            .sum(1)
            .relu(),
        },
        factors={"hw": 20.0, "C": 3.0},
    )
