"""Checks of the exercises of section 3.1, feature-based transfer."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from mapping_lib.lab.exercises.compare import compare
from mapping_lib.lab.exercises.core import exercise


@exercise("3.1-a")
def coral_by_hand(answer: Any) -> str | None:
    """Check slope and bias of the CORAL map from N(3, 4) to N(-1, 25)."""
    return compare(
        answer,
        (2.5, -8.5),
        what="the pair of slope and bias",
        hints={
            "the slope takes the target's spread to the source's: it has to be the other way": (
                0.4,
                -2.2,
            ),
            "the slope is a ratio of standard deviations, not of variances": (6.25, -19.75),
            "the bias has to bring the mapped mean 2.5 · 3 to -1, not the mean 3": (2.5, -4.0),
            "slope and bias are swapped": (-8.5, 2.5),
            "the bias has the wrong sign": (2.5, 8.5),
            "the source's mean has to arrive at -1: as it is, only 0 does": (2.5, -1.0),
            "the mapped mean has to be taken off -1, not added": (2.5, 6.5),
        },
    )


@exercise("3.1-b")
def barycentres(answer: Callable[[Tensor, Tensor], Any]) -> str | None:
    """Check the barycentric map of a plan whose rows don't have equal sums."""
    plan = torch.rand(3, 5, dtype=torch.float64) * torch.tensor([[1.0], [2.0], [5.0]])
    plan = plan / plan.sum()
    target = torch.randn(5, 2, dtype=torch.float64)
    moved = plan @ target
    return compare(
        answer(plan, target),
        moved / plan.sum(1, keepdim=True),
        what="the matrix of moved rows",
        hints={
            "each row has to be divided by the mass that it sends": moved,
            "divided by the mass of the columns, where that of the rows is due": (
                plan / plan.sum(0)
            )
            @ target,
            "the rows don't send 1/n each here: divide by the sum of each row of the plan": 3
            * moved,
            "that is the target row with the largest mass, not the mean of all": target[
                plan.argmax(1)
            ],
            "each row goes to a mean of its own, weighted by its row of the plan": target.mean(
                0
            ).expand(3, 2),
            "masses are shares already: divide by their sum, without a softmax": plan.softmax(1)
            @ target,
        },
        factors={"n": 3},
    )


@exercise("3.1-c")
def information_of_counts(answer: Callable[[Tensor], Any]) -> str | None:
    """Check mutual information in nats, from a table of counts with an empty cell."""
    counts = torch.tensor([[6.0, 0.0, 2.0], [1.0, 5.0, 3.0]], dtype=torch.float64)
    p = counts / counts.sum()
    both = p[p > 0]
    independent = p.sum(1, keepdim=True) * p.sum(0)
    entropy_rows = -(p.sum(1) * p.sum(1).log()).sum()
    entropy_columns = -(p.sum(0) * p.sum(0).log()).sum()
    joint = -(both * both.log()).sum()
    right = entropy_rows + entropy_columns - joint
    got = answer(counts)
    if isinstance(got, Tensor | float) and torch.as_tensor(got).isnan().any():
        return "the empty cell gives 0 · log 0, which is NaN here: its term is 0"
    return compare(
        got,
        right.item(),  # a number: a float is as good as a tensor
        what="the mutual information",
        hints={
            "that is in bits: take the natural logarithm": right / torch.tensor(2.0).log(),
            "the counts have to be divided by their sum first": counts.sum() * right,
            "that is the entropy of the table, not what its two sides share": joint,
            "that is the entropy of the bins alone": entropy_rows,
            "that is the entropy of the classes alone": entropy_columns,
            "that is what is left of the classes' entropy, not what is gained": joint
            - entropy_rows,
            "that is what is left of the bins' entropy, not what is gained": joint
            - entropy_columns,
            "each term has to be multiplied by p(b, c)": (both / independent[p > 0]).log().sum(),
            "each term is multiplied by p(b, c), not by what independence would give": (
                independent * (p / independent).log()
            )[p > 0].sum(),
        },
    )


@exercise("3.1-d")
def reverse_validation(answer: Callable[..., Any]) -> str | None:
    """Check a score of two feature sets that takes no target labels."""
    labels = torch.arange(20) % 4
    source = (
        torch.randn(20, 2, dtype=torch.float64) + torch.eye(4, dtype=torch.float64)[labels][:, :2]
    )
    target = torch.randn(26, 2, dtype=torch.float64) * 1.5

    def classify(known: Tensor, known_labels: Tensor, rows: Tensor) -> Tensor:
        nearest: Tensor = known_labels[torch.cdist(rows, known).argmin(1)]
        return nearest

    guesses = classify(source, labels, target)
    back = classify(target, guesses, source)
    right = (back == labels).double().mean().item()
    return compare(
        answer(source, labels, target, classify),
        right,
        what="the score",
        hints={
            "that is the number of right answers, not their share": 20 * right,
            "that is the share of wrong answers": 1 - right,
            "rows were classified by themselves: the source has to come back by way of the "
            "target": 1.0,
            "that is in percent; a share lies between 0 and 1": 100 * right,
            "divided by the number of target rows: it is the source's rows that come back": (
                20 / 26 * right
            ),
        },
    )
