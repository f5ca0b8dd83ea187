"""The checks of the exercises of section 4.3.1, Domain adaptation."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.nn.functional import logsigmoid

from mapping_lib.lab.exercises.compare import compare
from mapping_lib.lab.exercises.core import exercise


@exercise("4.3.1-a")
def bound_on_paper(answer: Any) -> str | None:
    """Check a proxy A-distance, the bound with it, and the least sum of risks under label shift."""
    if not isinstance(answer, list | tuple | np.ndarray | Tensor) or len(answer) != 3:
        return "give a list of three numbers: [A-distance, bound, least sum of risks]"
    distance, bound, least = answer
    return (
        compare(
            distance,
            1.4,
            what="the A-distance",
            hints={
                "this is 1 − 2ε; the distance is twice that": 0.7,
                "this is 2(1 − ε): a guesser with error ½ must come to 0": 1.7,
                "this is the share of right answers, not the distance": 0.85,
            },
        )
        or compare(
            bound,
            0.8,
            what="the bound",
            hints={
                "the divergence enters with the factor ½": 0.04 + 1.4 + 0.06,
                "the joint risk is missing": 0.74,
                "the source risk is missing": 0.76,
            },
        )
        or compare(
            least,
            0.3,
            what="the least sum of risks",
            hints={
                "this adds both classes; a mistake in one is a mistake in the other: half of it": (
                    0.6
                ),
                "equal features give equal predictions, but the classes aren't equally frequent: "
                "the sum can't be 0": 0.0,
                "this is the share in the target; it is the difference that counts": 0.8,
            },
        )
    )


@exercise("4.3.1-b")
def adversarial_loss(answer: Callable[[Tensor, Tensor], Any]) -> str | None:
    """Check the discriminator's loss, on unequal sizes, then on large logits."""
    source, target = torch.randn(3, dtype=torch.float64), torch.randn(7, dtype=torch.float64)
    right, wrong = -logsigmoid(source), -logsigmoid(-target)
    due = (right.mean() + wrong.mean()) / 2
    message = compare(
        answer(source, target),
        due,
        what="the loss",
        hints={
            "this is constant: a softmax over a single logit is always 1, and nothing is learned": (
                torch.zeros((), dtype=torch.float64)
            ),
            "each domain must count half, however many rows it has: take two means": (
                torch.cat([right, wrong]).mean()
            ),
            "source and target are exchanged: here the source is class 1": (
                (logsigmoid(-source).mean() + logsigmoid(target).mean()) / -2
            ),
            "both domains have got the label 1": ((right.mean() - logsigmoid(target).mean()) / 2),
            "the sum of the two means has to be halved": right.mean() + wrong.mean(),
        },
    )
    if message is not None:
        return message
    source = torch.tensor([1000.0, -1000.0, 0.0], dtype=torch.float64)
    target = torch.tensor([-1000.0, 3000.0], dtype=torch.float64)
    value = torch.as_tensor(answer(source, target))
    if not value.isfinite().all():
        return "right for small logits, but infinite or NaN for large ones: use logsigmoid"
    due = (-logsigmoid(source).mean() - logsigmoid(-target).mean()) / 2
    if compare(value, due) is not None:
        return (
            "right for small logits, but not for large ones: a loss grows with the logit of a "
            "mistake, so don't cut it off; use logsigmoid"
        )
    return None


@exercise("4.3.1-c")
def schedule(answer: Callable[[float, float], Any]) -> str | None:
    """Check the share of λ after a share of the training."""
    cases = [(0.0, 10.0), (0.1, 10.0), (1.0, 10.0), (0.5, 4.0)]

    def values(f: Callable[[float, float], float]) -> list[float]:
        return [f(p, gamma) for p, gamma in cases]

    return compare(
        [answer(p, gamma) for p, gamma in cases],
        values(lambda p, g: math.tanh(g * p / 2)),
        what=f"the share for (p, γ) in {cases}",
        hints={
            "γ isn't used: with γ = 1 the weight never gets near 1": (
                values(lambda p, g: math.tanh(p / 2))
            ),
            "it must begin at 0: subtract 1": values(lambda p, g: 2 / (1 + math.exp(-g * p))),
            "this begins at ½: a sigmoid alone": values(lambda p, g: 1 / (1 + math.exp(-g * p))),
            "it falls: the exponent's sign is wrong": (
                values(lambda p, g: 2 / (1 + math.exp(g * p)) - 1)
            ),
            "this rises twice as fast": values(lambda p, g: math.tanh(g * p)),
        },
    )


@exercise("4.3.1-d")
def information(answer: Callable[[Tensor], Any]) -> str | None:
    """Check mean entropy less entropy of the mean, then the same where a prediction is sure."""
    logits = 2 * torch.randn(6, 4, dtype=torch.float64)

    def entropy(p: Tensor) -> Tensor:
        return -(p * p.log()).sum(-1)

    p = logits.softmax(1)
    each, mean = entropy(p).mean(), entropy(p.mean(0))
    message = compare(
        answer(logits),
        each - mean,
        what="the loss",
        hints={
            "this is entropy minimisation alone: one class for all rows would satisfy it": each,
            "the sign is wrong: the entropy of the mean has to be large": each + mean,
            "this is the information itself; a loss is minimised: change the sign": mean - each,
            "average the probabilities, not the logits": each - entropy(logits.mean(0).softmax(0)),
            "the entropies of the rows were summed, not averaged": 6 * each - mean,
        },
    )
    if message is not None:
        return message
    zero = "0 · log 0 counts 0, as torch.special.entr has it"
    for rows, words in (
        ([[1.0, 0.0], [0.5, 0.5]], "where one is 0"),
        ([[1.0, 0.0, 0.0], [0.0, 1.0, 0.0]], "where the mean of a class is 0"),
    ):
        sure = torch.tensor(rows, dtype=torch.float64)
        due = torch.special.entr(sure).sum(1).mean() - torch.special.entr(sure.mean(0)).sum()
        value = torch.as_tensor(answer(sure.log().clamp(min=-1e4)))
        if not value.isfinite().all():
            return (
                f"right while all probabilities are positive, but infinite or NaN {words}: {zero}"
            )
        if compare(value, due) is not None:
            return f"right while all probabilities are positive, but not {words}: {zero}"
    return None


@exercise("4.3.1-e")
def weights(answer: Callable[[Tensor, int, int], Any]) -> str | None:
    """Check density ratios from a domain classifier that saw unequal numbers of rows."""
    logits = torch.randn(5, dtype=torch.float64)
    plain = torch.exp(-logits)
    return compare(
        answer(logits, 300, 100),
        3 * plain,
        what="the weight",
        hints={
            "the classifier saw three times as many source rows, which its logits hold: "
            "multiply by n_s / n_t": plain,
            "n_s / n_t is upside down": plain / 3,
            "this is source over target; rows that look like the target must weigh more": (
                3 * torch.exp(logits)
            ),
            "this is source over target, all of it": torch.exp(logits) / 3,
            "this is the probability of the target, not the ratio of the densities": (
                torch.sigmoid(-logits)
            ),
            "this is the probability of the target times n_s / n_t; divide by that of the source": (
                3 * torch.sigmoid(-logits)
            ),
        },
    )
