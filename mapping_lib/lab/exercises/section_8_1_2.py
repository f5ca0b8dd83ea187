"""The checks of the exercises of section 8.1.2, Meta-learning with transfer."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.func import grad
from torch.nn.functional import cross_entropy, normalize, one_hot

from mapping_lib.lab.exercises.compare import compare
from mapping_lib.lab.exercises.core import exercise
from mapping_lib.meta import OuterGradient, inner_loop, maml_gradient

ORDER = ["random body, nearest mean", "episodes, cosine", "pixels", "episodes, MAML"]


@exercise("8.1.2-a")
def counting(answer: Any) -> str | None:
    """Check derivatives of an outer step, and numbers that each method can change."""
    if not isinstance(answer, list | tuple | np.ndarray | Tensor) or len(answer) != 4:
        return "give a list of four numbers: [MAML, first-order MAML, ANIL, scale and shift]"
    second, first, head, shifts = answer
    return (
        compare(
            second,
            28,
            what="the number of MAML's derivatives",
            hints={
                "this is one task; there are four": 7,
                "this leaves the gradient of the query loss out": 24,
                "this leaves the Hessian-vector products out: one for each inner step": 16,
                "this counts a query gradient for each inner step; there is one a task": 36,
                "the inner steps are counted for one task only": 10,
                "a Hessian-vector product counts as one here": 40,
            },
        )
        or compare(
            first,
            16,
            what="the number of first-order MAML's derivatives",
            hints={
                "first order needs no Hessian-vector products": 28,
                "each task has a query gradient besides its three inner ones": 12,
                "this is the number for one task": 4,
            },
        )
        or compare(
            head,
            165,
            what="what ANIL's inner loop can change",
            hints={
                "the head has a bias for each class": 160,
                "32 inputs, five classes: the bias belongs to a class, not to an input": 192,
                "these are all parameters; the inner loop of ANIL moves the head alone": 28485,
            },
        )
        or compare(
            shifts,
            256,
            what="the number of scales and shifts",
            hints={
                "a channel has a scale and a shift": 128,
                "this is one layer; there are four": 64,
                "the head is no part of this": 421,
            },
        )
    )


@exercise("8.1.2-b")
def cosine_head(answer: Callable[[Tensor, Tensor, Tensor, float], Any]) -> str | None:
    """Check the cosine head, with classes of unequal sizes and features of unequal lengths."""
    labels = torch.tensor([2, 0, 1, 0, 0, 2, 1])
    lengths = torch.tensor([1.0, 3, 0.5, 0.2, 2, 4, 1], dtype=torch.float64)[:, None]
    support = lengths * torch.randn(7, 4, dtype=torch.float64)
    query, factor = 2 * torch.randn(5, 4, dtype=torch.float64), 7.0
    members = one_hot(labels).double()
    means = members.T @ support / members.sum(0)[:, None]
    of_directions = members.T @ normalize(support) / members.sum(0)[:, None]
    cosine = normalize(query) @ normalize(means).T
    return compare(
        answer(support, labels, query, factor),
        factor * cosine,
        what="the logits",
        hints={
            "the factor is missing": cosine,
            "the factor multiplies; it doesn't divide": cosine / factor,
            "the queries aren't divided by their length": factor * query @ normalize(means).T,
            "the means aren't divided by their length": factor * normalize(query) @ means.T,
            "these are inner products; divide both sides by their lengths": (
                factor * query @ means.T
            ),
            "take the mean of the features first, then its direction": (
                factor * normalize(query) @ normalize(of_directions).T
            ),
            "the directions of the rows are averaged, and that mean has a length below 1; take "
            "the mean first, then divide by its length": (
                factor * normalize(query) @ of_directions.T
            ),
            "this is the factor times (cosine - 1), as the library's head has it; here the cosine "
            "itself is asked for": factor * (cosine - 1),
            "these are probabilities; return the logits": (factor * cosine).softmax(1),
            "column k belongs to class k; here the classes stand as they first appear": (
                factor * cosine[:, [2, 0, 1]]
            ),
            "divide each row by its length, not each column": (
                factor * normalize(query, dim=0) @ normalize(means, dim=0).T
            ),
            "these are squared distances; the head compares directions": (
                -factor * (query[:, None] - means).square().sum(2)
            ),
        },
    )


@exercise("8.1.2-c")
def head_step(answer: Callable[..., Any]) -> str | None:
    """Check one outer step on a linear head, the features being fixed."""
    support, query = torch.randn(5, 4, dtype=torch.float64), torch.randn(9, 4, dtype=torch.float64)
    labels, query_labels = torch.tensor([0, 1, 2, 1, 0]), torch.arange(9) % 3
    head, α, β = torch.randn(3, 4, dtype=torch.float64), 0.8, 0.3

    def loss(W: Tensor, batch: tuple[Tensor, Tensor]) -> Tensor:
        return cross_entropy(batch[0] @ W.T, batch[1])

    known, new = (support, labels), (query, query_labels)
    batches = tuple(each[None] for each in known), tuple(each[None] for each in new)
    second, first, same = (
        _tensor(maml_gradient(loss, head, batches[0], judge, inner_rate=α, first_order=order))
        for judge, order in ((batches[1], False), (batches[1], True), (batches[0], False))
    )
    adapted: Any = inner_loop(loss, head, known, inner_rate=α)
    before: Any = inner_loop(loss, head, new, inner_rate=β)
    at_start: Any = inner_loop(loss, head, known, inner_rate=β)

    def outer(judged: Any, taught: Any, rate: float) -> Tensor:
        found: Tensor = grad(lambda W: loss(W - rate * grad(loss)(W, taught), judged))(head)
        return found

    return compare(
        answer(head, support, labels, query, query_labels, α, β),
        head - β * second,
        what="the new head",
        hints={
            "this is first-order MAML: keep the graph of the inner gradient (create_graph=True)": (
                head - β * first
            ),
            "this is the head after the inner step; the outer step is due": adapted,
            "the outer step begins at the old head, not at the adapted one": adapted - β * second,
            "the outer step begins at the old head, and the gradient is that with respect to it": (
                adapted - β * first
            ),
            "this is a step on the query loss before adaptation": before,
            "this judges by the support set; the outer loss is that of the query set": (
                head - β * same
            ),
            "the outer step goes uphill": head + β * second,
            "the inner step goes uphill": head - β * outer(new, known, -α),
            "the two rates are exchanged": head - α * outer(new, known, β),
            "the two sets are exchanged: adapt on the support set, judge by the query set": (
                head - β * outer(known, new, α)
            ),
            "the outer loss is that of the query set alone; here the support set's was added": (
                at_start - β * second
            ),
            "cross_entropy is a mean over the rows; here it is their sum": (
                head - β * 9 * outer(new, known, 5 * α)
            ),
            "the head hasn't moved": head,
            "this is the gradient, not where the step leads": second,
        },
    )


def _tensor(found: OuterGradient) -> Tensor:
    gradient: Any = found.gradient
    return gradient  # type: ignore[no-any-return]


@exercise("8.1.2-d")
def order_on_digits(answer: Any) -> str | None:
    """Check the order of four learners on digits, as it was measured."""
    if not isinstance(answer, list | tuple) or sorted(map(str, answer)) != sorted(ORDER):
        return f"give a list of these four names, the worst first: {sorted(ORDER)}"
    if list(answer) == ORDER[::-1]:
        return "this is the order from best to worst; the worst comes first"
    if answer[3] != "episodes, MAML":
        return (
            f"{answer[3]!r} isn't the best: the digits are a new domain, and only one of the four "
            "may change its features for a task"
        )
    if answer[0] != "random body, nearest mean":
        return (
            f"{answer[0]!r} isn't the worst: one of the four has been trained on nothing and has "
            "lost what the pixels say"
        )
    if list(answer) != ORDER:
        return (
            "features that were made to tell letters apart need not tell digits apart better than "
            "the pixels do; look at the column of digits"
        )
    return None
