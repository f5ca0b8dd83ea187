"""Checks of the exercises of section 6.2.1, text classification."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from sklearn.metrics import balanced_accuracy_score, f1_score, precision_score, recall_score
from torch import Tensor
from torch.nn.functional import normalize

from mapping_lib.lab.exercises.compare import compare
from mapping_lib.lab.exercises.core import exercise

_FIRST, _SECOND = 170 / 179, 12 / 21  # F1 of 85 right of 90, and of 6 right of 10


@exercise("6.2.1-a")
def f1_by_hand(answer: Any) -> str | None:
    """Check accuracy and macro-F1 of 100 messages."""
    accuracy, macro = 91 / 100, (_FIRST + _SECOND) / 2
    recalls = (85 / 90 + 6 / 10) / 2
    return compare(
        answer,
        (accuracy, macro),
        what="the pair",
        hints={
            "swapped: first the accuracy, then the macro-F1": (macro, accuracy),
            "the second is the mean of the classes' recalls; F1 counts false alarms, too": (
                accuracy,
                recalls,
            ),
            "the second is the mean of the classes' precisions; F1 counts what is missed, too": (
                accuracy,
                (85 / 89 + 6 / 11) / 2,
            ),
            "the second is the F1 of the rare class alone: average it with the other's": (
                accuracy,
                _SECOND,
            ),
            "the second is the F1 of the common class alone: average it with the other's": (
                accuracy,
                _FIRST,
            ),
            "weighed by the classes' sizes: a macro average isn't": (
                accuracy,
                0.9 * _FIRST + 0.1 * _SECOND,
            ),
            "counted over both classes together, F1 is the accuracy": (accuracy, accuracy),
            "give shares, not per cent": (100 * accuracy, 100 * macro),
        },
        tolerance=4e-3,
    )


@exercise("6.2.1-b")
def changed_parameters(answer: Any) -> str | None:
    """Check how many parameters the low-rank changes have."""
    layers, width, rank = 6, 384, 8
    right = layers * 2 * 2 * width * rank
    return compare(
        answer,
        right,
        what="the number",
        hints={
            "that is half: each layer has a change of the queries and one of the values, and each "
            "change has two matrices, A and B": right / 2,
            "there are six layers": right / layers,
            "those are the parameters of the weights themselves, not of their changes": layers
            * 2
            * width
            * width,
            "the rank counts once in each matrix, not twice": right * rank,
            "that is one change alone: count the matrices that get one": right / 12,
            "those are the changes and the head of the live run: leave the head out": right
            + 7 * width
            + 7,
            "queries and values alone, not the keys": 1.5 * right,
        },
        tolerance=1e-6,
    )


@exercise("6.2.1-c")
def pooled(answer: Callable[..., Any]) -> str | None:
    """Check the embedding of texts from those of their word pieces."""
    generator = torch.Generator().manual_seed(0)
    states = torch.randn(3, 5, 4, generator=generator)
    mask = torch.tensor([[1, 1, 1, 0, 0], [1, 1, 1, 1, 1], [1, 1, 0, 0, 0]])
    given = mask.unsqueeze(2)
    means = (states * given).sum(1) / given.sum(1)
    got = answer(states.clone(), mask.clone())
    if isinstance(got, Tensor) and got.shape == (3, 5, 4):
        return "the embeddings have a row for each piece; a text has one: average over the pieces"
    return compare(
        got,
        normalize(means),
        what="the table of embeddings",
        hints={
            "the padding is averaged, too: use the mask": normalize(states.mean(1)),
            "scale them to length 1": means,
            "scale the sum to length 1": (states * given).sum(1),
            "the mask is turned round: 1 is a piece, 0 is padding": normalize(
                (states * (1 - given)).sum(1)
            ),
            "that is the vector of the first piece, [CLS]; take the mean": normalize(states[:, 0]),
            "each piece is scaled to length 1 before the mean; scale the mean": normalize(
                (normalize(states, dim=2) * given).sum(1)
            ),
            "that is the largest over the pieces, not the mean": normalize(
                states.masked_fill(given == 0, -1e9).amax(1)
            ),
            "divide by the length over the features (dim=1), not over the texts": normalize(
                means, dim=0
            ),
        },
    )


@exercise("6.2.1-d")
def macro_f1(answer: Callable[..., Any]) -> str | None:
    """Check a function that computes macro-F1."""
    generator = torch.Generator().manual_seed(1)
    labels = torch.randint(3, (40,), generator=generator)
    labels[:4] = 3  # a rare class, never predicted
    found = torch.where(torch.rand(40, generator=generator) < 0.6, labels, (labels + 1) % 3)
    found[found == 3] = 0
    truth, guess = labels.numpy(), found.numpy()
    each = f1_score(truth, guess, average=None, zero_division=0)
    precision, recall = (
        float(score(truth, guess, average="macro", zero_division=0))
        for score in (precision_score, recall_score)
    )
    got = answer(found.clone(), labels.clone(), 4)
    if isinstance(got, Tensor) and got.numel() == 1:
        got = got.detach().item()
    if isinstance(got, float | np.floating) and got != got:
        return "class 3 is never predicted, and you divide by 0: its F1 is 0"
    return compare(
        got,
        float(each.mean()),
        what="macro-F1",
        hints={
            "a class that is never predicted counts, too, with F1 = 0": float(each[:3].mean()),
            "that is the accuracy (F1 counted over all classes together)": float(
                (found == labels).double().mean()
            ),
            "that is the mean recall: false alarms must count as well": float(
                balanced_accuracy_score(truth, guess)
            ),
            "that is the mean precision: what is missed must count as well": precision,
            "take F1 of each class and then the mean, not F1 of the means": 2
            * precision
            * recall
            / (precision + recall),
            "weighed by the classes' sizes: a macro average isn't": float(
                f1_score(truth, guess, average="weighted", zero_division=0)
            ),
        },
    )
