"""Checks of the exercises of section 8.3.2, distillation."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor
from torch.nn.functional import cross_entropy, huber_loss, kl_div

from mapping_lib.lab.exercises.compare import compare
from mapping_lib.lab.exercises.core import exercise


def _softmax_gradient() -> list[float]:
    """Give q - p at T = 1."""
    z, v = torch.tensor([[5.0, 3.0, 1.0], [0.0, 3.0, -3.0]]).softmax(1)
    return (z - v).tolist()  # type: ignore[no-any-return]


@exercise("8.3.2-a")
def gradient_when_hot(answer: Any) -> str | None:
    """Check the limit of the gradient of T² KL for z = (5, 3, 1), v = (0, 3, -3)."""
    right = torch.tensor([2.0, -3.0, 1.0]) / 3
    return compare(
        answer,
        right.tolist(),
        what="the gradient",
        hints={
            "the logits need mean zero: take the mean of z off first": [5 / 3, 0, 4 / 3],
            "the number of classes is missing": (3 * right).tolist(),
            "the wrong sign: where the student's logit is too large, the gradient is positive": (
                -right
            ).tolist(),
            "this limit is T times smaller than that of T² KL: it is that of T · KL": [0, 0, 0],
            "the limit rests on the logits, not on their softmax at T = 1": _softmax_gradient(),
        },
        factors={"K": 3},
        tolerance=5e-3,  # two decimals will do
    )


def _pair() -> tuple[Tensor, Tensor]:
    return torch.randn(5, 3, dtype=torch.float64), 3 * torch.randn(5, 3, dtype=torch.float64)


def _divergence(student: Tensor, teacher: Tensor, temperature: float) -> Tensor:
    log_q, log_p = ((z / temperature).log_softmax(1) for z in (student, teacher))
    return kl_div(log_q, log_p, reduction="batchmean", log_target=True)


@exercise("8.3.2-b")
def softened_divergence(answer: Callable[[Tensor, Tensor, float], Any]) -> str | None:
    """Check the loss of softened answers for 5 rows, 3 classes and T = 4."""
    student, teacher = _pair()
    kl, t = _divergence(student, teacher, 4), 4.0
    p = (teacher / t).softmax(1)
    entropy = -(p * p.log()).sum(1).mean()
    complaint = compare(
        answer(student, teacher, t),
        t**2 * kl,
        what="the loss",
        hints={
            "the factor T² is missing": kl,
            "that is T times the divergence: the factor is T²": t * kl,
            "the mean runs over rows, the sum over classes: here it was divided by K, too, as "
            'reduction="mean" does': t**2 * kl / 3,
            "that is the sum over the rows, not their mean": 5 * t**2 * kl,
            "student and teacher are exchanged: the teacher's probabilities weight the logarithms":
            t**2 * _divergence(teacher, student, 4),
            "that is the cross-entropy: the teacher's entropy has to come off": t**2
            * (kl + entropy),
            "the logits have to be divided by T, both of them": t**2
            * _divergence(student, teacher, 1),
            "T multiplies the logits here: it has to divide them": t**2
            * _divergence(student, teacher, 1 / t),
        },
    )  # fmt: skip
    if complaint is not None:
        return complaint
    large = 1e4 * torch.tensor([[1.0, -1.0, 0.0]], dtype=torch.float64)
    value = torch.as_tensor(answer(large, -large, 2.0))
    if not value.isfinite():
        return (
            "right for small logits, but infinite or NaN for ±1e4: use log_softmax, not the "
            "logarithm of softmax"
        )
    due = 4 * _divergence(large, -large, 2)
    fixed = compare(
        answer(student, teacher, 2.0),
        4 * _divergence(student, teacher, 2),
        what="the loss at T = 2",
        hints={"T is an argument: the number 4 stands for it here": t**2 * kl},
    )
    if fixed is not None:
        return fixed
    if compare(value, due) is not None:
        return (
            f"right for small logits, but {value.item():.4g} where {due.item():.4g} is due for ±1e4"
            ": clamping probabilities or replacing NaN loses what their logarithms say; use "
            "log_softmax"
        )
    return None


@exercise("8.3.2-c")
def labels_and_teacher(answer: Callable[..., Any]) -> str | None:
    """Check the combined loss at α = 0.25 and at α = 1."""
    student, teacher = _pair()
    labels = torch.tensor([2, 0, 1, 1, 2])
    hard, kl, t = cross_entropy(student, labels), _divergence(student, teacher, 4), 4.0
    soft = t**2 * kl
    complaint = compare(
        answer(student, teacher, labels, t, 0.25),
        0.75 * hard + 0.25 * soft,
        what="the loss",
        hints={
            "α is the share of the teacher: the two shares are exchanged": 0.25 * hard
            + 0.75 * soft,
            "the factor T² is missing": 0.75 * hard + 0.25 * kl,
            "T² belongs to the teacher's term alone": t**2 * (0.75 * hard + 0.25 * kl),
            "labels are learned at temperature 1: don't divide those logits by T": 0.75
            * cross_entropy(student / t, labels)
            + 0.25 * soft,
            "the labels' term has to be weighted by 1 - α": hard + 0.25 * soft,
            "the teacher's term has to be weighted by α": 0.75 * hard + soft,
            "the labels' term is missing": 0.25 * soft,
            "the teacher's term is missing": 0.75 * hard,
            "these are the labels alone: the teacher's term is missing": hard,
            "this is the teacher's term alone, without α: the labels are missing": soft,
            "student and teacher are exchanged in the teacher's term": 0.75 * hard
            + 0.25 * t**2 * _divergence(teacher, student, t),
            "the labels are for the student's logits, not the teacher's": 0.75
            * cross_entropy(teacher, labels)
            + 0.25 * soft,
        },
    )
    if complaint is not None:
        return complaint
    warm = _divergence(student, teacher, 2)
    return compare(
        answer(student, teacher, labels, 2.0, 1.0),
        4 * warm,
        what="the loss at T = 2 and α = 1",
        hints={
            "at α = 1 the factor T² is missing, as in torchdistill": warm,
            "T is an argument: the number 4 stands for it here": soft,
        },
    )


@exercise("8.3.2-d")
def relations(answer: Callable[[Tensor, Tensor], Any]) -> str | None:
    """Check the relational loss of distances for 5 rows of 2 and of 4 features."""
    student = torch.randn(5, 2, dtype=torch.float64)
    teacher = 9 * torch.randn(5, 4, dtype=torch.float64) ** 2
    u, v = torch.pdist(student), torch.pdist(teacher)
    one, other = u / u.mean(), v / v.mean()
    # Over all n² pairs, those of a row with itself among them: the means are smaller by 4/5.
    return compare(
        answer(student, teacher),
        huber_loss(one, other),
        what="the loss",
        hints={
            "each set's distances have to be divided by their mean": huber_loss(u, v),
            "each set has its own mean distance: both were divided by the teacher's": huber_loss(
                u / v.mean(), other
            ),
            "differences up to 1 count by half their square: that is the mean absolute "
            "difference": (one - other).abs().mean(),
            "differences beyond 1 count linearly, those up to 1 by half their square: that is the "
            "mean square": (one - other).square().mean(),
            "differences beyond 1 count linearly: that is the squared error": (one - other)
            .square()
            .mean()
            / 2,
            "take the mean over the pairs i ≠ j: the n pairs of a row with itself are among them": (
                0.8 * huber_loss(one, other)
            ),
            "the mean distance is over the pairs i ≠ j, not over all n²": huber_loss(
                1.25 * one, 1.25 * other
            ),
            "pairs i ≠ j only, in the mean distance and in the mean of the loss": 0.8
            * huber_loss(1.25 * one, 1.25 * other),
            "distances are due, not their squares": huber_loss(
                u**2 / (u**2).mean(), v**2 / (v**2).mean()
            ),
        },
        factors={"number of pairs": 10, "n": 5},
    )
