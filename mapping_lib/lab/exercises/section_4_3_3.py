"""The checks of the exercises of section 4.3.3, Meta-learning."""

from __future__ import annotations

from collections.abc import Callable
from functools import reduce
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.nn.functional import one_hot

from mapping_lib.lab.exercises.compare import compare
from mapping_lib.lab.exercises.core import exercise


@exercise("4.3.3-a")
def one_step_on_paper(answer: Any) -> str | None:
    """Check adapted parameter, both outer gradients, and the rate that makes MAML's zero."""
    if not isinstance(answer, list | tuple | np.ndarray | Tensor) or len(answer) != 4:
        return "give a list of four numbers: [adapted θ, MAML, first-order MAML, α]"
    adapted, second, first, rate = answer
    return (
        compare(
            adapted,
            6.0,
            what="the adapted parameter",
            hints={
                "the step goes against the gradient, downhill": 8.0,
                "the gradient of ½(θ − b)² is θ − b; this is a step by twice that": 5.0,
                "this is the gradient, not where the step leads": 4.0,
                "this is the length of the step, not where it leads": 1.0,
                "the inner step goes down the support loss, not the query loss": 5.5,
            },
        )
        or compare(
            second,
            3.75,
            what="MAML's gradient",
            hints={
                "this lacks the factor 1 − α: it is first-order MAML": 5.0,
                "the query gradient is taken after the step, at the adapted parameter": 4.5,
                "this judges by the support loss; the outer loss is that of the query set": 2.25,
                "the factor is 1 − α, not 1 + α": 6.25,
                "the factor is 1 − α, not α": 1.25,
            },
        )
        or compare(
            first,
            5.0,
            what="first-order MAML's gradient",
            hints={
                "first order leaves the factor 1 − α out": 3.75,
                "this is the gradient before the step; it is taken after it": 6.0,
                "this is the gradient of the support loss; the outer loss is the query loss": 3.0,
            },
        )
        or compare(
            rate,
            1.0,
            what="α",
            hints={
                "at this rate the second-order factor is still ¾": 0.25,
                "at α = 0 there is no step, and the factor is 1": 0.0,
                "at α = 2 the factor is −1, not 0": 2.0,
            },
        )
    )


@exercise("4.3.3-b")
def outer_gradient(answer: Callable[..., Any]) -> str | None:
    """Check the product of the factors I − αH on a quadratic, for several steps."""
    root = torch.randn(3, 3)  # of the page's own dtype, so that torch.eye(3) fits
    H, α, steps = root @ root.T / 3 + torch.eye(3), 0.1, 3
    θ, b, c = torch.randn(3, 3).unbind()
    factor = torch.eye(3) - α * H
    powers = [torch.linalg.matrix_power(factor, k) for k in range(steps + 2)]
    end = b + powers[steps] @ (θ - b)
    return compare(
        answer(H, θ, b, c, α, steps),
        powers[steps] @ H @ (end - c),
        what="the outer gradient",
        hints={
            "this is first-order MAML: the factors I − αH are missing": H @ (end - c),
            "there is one factor for each inner step; this has a single one": (
                factor @ H @ (end - c)
            ),
            "this has a factor too many": powers[steps + 1] @ H @ (end - c),
            "the query gradient is taken at the adapted parameters, not at the first ones": (
                powers[steps] @ H @ (θ - c)
            ),
            "this judges by the support set; the outer loss is that of the query set": (
                powers[steps] @ H @ (end - b)
            ),
            "this is the gradient of the query loss before any step": H @ (θ - c),
        },
    )


@exercise("4.3.3-c")
def nearest_mean(answer: Callable[[Tensor, Tensor, Tensor], Any]) -> str | None:
    """Check the logits of prototypical networks, with classes of unequal sizes."""
    labels = torch.tensor([2, 0, 1, 0, 0, 2, 1])
    support, query = torch.randn(7, 4), torch.randn(5, 4)  # of the page's own dtype
    members = one_hot(labels).to(support)
    means = members.T @ support / members.sum(0)[:, None]
    squares = (query[:, None] - means).square().sum(2)
    sums = members.T @ support
    return compare(
        answer(support, labels, query),
        -squares,
        what="the tensor of logits",
        hints={
            "the nearest class must have the largest logit: a minus is missing": squares,
            "these are distances; the logits are their squares": -squares.sqrt(),
            "this takes the mean over the features where the sum is due": -squares / 4,
            "these are sums of the classes' rows; divide each by its number of rows": (
                -(query[:, None] - sums).square().sum(2)
            ),
            "all classes are divided by one number, but they differ in size": (
                -(query[:, None] - sums / (7 / 3)).square().sum(2)
            ),
            "these are inner products with the means": query @ means.T,
        },
    )


@exercise("4.3.3-d")
def ridge_weights(answer: Callable[..., Any]) -> str | None:
    """Check ridge regression with more features than rows, by the small system."""
    X, λ, systems = torch.randn(4, 9), 0.7, []  # of the page's own dtype
    Y = one_hot(torch.tensor([0, 1, 2, 1])).to(X)
    solve, inv = torch.linalg.solve, torch.linalg.inv

    def watch(function: Callable[..., Tensor]) -> Callable[..., Tensor]:
        def watched(A: Tensor, *rest: Any, **settings: Any) -> Tensor:
            systems.append(A.shape[-1])
            return function(A, *rest, **settings)

        return watched

    torch.linalg.solve, torch.linalg.inv = watch(solve), watch(inv)
    try:
        found = answer(X, Y, λ)
    finally:
        torch.linalg.solve, torch.linalg.inv = solve, inv
    eye = torch.eye(4)
    wrong = compare(
        found,
        X.T @ solve(X @ X.T + λ * eye, Y),
        what="W",
        hints={
            "λ is missing": X.T @ solve(X @ X.T, Y),
            "these are the dual weights, one a row of the support; multiply by Xᵀ": (
                solve(X @ X.T + λ * eye, Y)
            ),
            "λ enters once, not squared": X.T @ solve(X @ X.T + λ**2 * eye, Y),
            "λ is added to every entry; it belongs on the diagonal": X.T @ solve(X @ X.T + λ, Y),
        },
    )
    if wrong is None and systems and min(systems) > 4:
        return (
            "W is right, but the system you solve has the size of the features, 9 × 9; "
            "use X Xᵀ + λI, which has that of the support, 4 × 4"
        )
    return wrong


@exercise("4.3.3-e")
def reptile(answer: Callable[[Tensor, list[Tensor], float], Any]) -> str | None:
    """Check Reptile's step for three tasks."""
    θ, *φ = torch.randn(4, 5).unbind()
    mean, ε = torch.stack(φ).mean(0), 0.3
    return compare(
        answer(θ, φ, ε),
        θ + ε * (mean - θ),
        what="the new θ",
        hints={
            "the step leads away from the tasks' parameters": θ - ε * (mean - θ),
            "sum and mean over the tasks are confused": θ + ε * 3 * (mean - θ),
            "only the last task counts here": θ + ε * (φ[-1] - θ),
            "the tasks take turns here; all of them start from θ, and their steps are averaged": (
                reduce(lambda start, end: start + ε * (end - start), φ, θ)
            ),
            "ε and 1 − ε are exchanged: at ε = 0 the start stays where it is": (
                ε * θ + (1 - ε) * mean
            ),
            "this is the mean of the tasks' parameters; go there by the share ε only": mean,
            "this is the step, not where it leads": ε * (mean - θ),
            "θ must be taken off each φ: the step is towards them, not along them": θ + ε * mean,
        },
    )
