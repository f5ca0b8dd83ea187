"""The checks of the exercises of section 4.2, Losses and optimisation."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from torch import Tensor

from mapping_lib.lab.exercises.compare import compare
from mapping_lib.lab.exercises.core import exercise

_ROUNDED = 2e-3  # three digits are enough for numbers that were worked out by hand


@exercise("4.2-a")
def rates_on_paper(answer: Any) -> str | None:
    """Check stability limit, best rate and its factor for the eigenvalues 8 and 1/2."""
    if not isinstance(answer, list | tuple | np.ndarray | Tensor) or len(answer) != 3:
        return "give a list of three numbers: [limit, best, factor]"
    limit, best, factor = answer
    return (
        compare(
            limit,
            2 / 8,
            what="the limit",
            hints={
                "the limit is set by the largest eigenvalue, not by the smallest": 2 / 0.5,
                "1/λ_max is where the steepest direction is solved in one step; "
                "it stays stable up to twice that": 1 / 8,
            },
            tolerance=_ROUNDED,
        )
        or compare(
            best,
            2 / 8.5,
            what="the best rate",
            hints={
                "this is the limit itself: the steepest direction would never shrink": 2 / 8,
                "at 1/λ_max the flat direction is slower than it need be: "
                "make both factors equal in size": 1 / 8,
                "the rate halfway between 1/8 and 1/0.5 is beyond the limit": (1 / 8 + 2) / 2,
                "at this rate the steep direction is not yet the slower one: "
                "|1 − 8η| and |1 − η/2| have to be equal": 1 / 8.5,
            },
            tolerance=_ROUNDED,
        )
        or compare(
            factor,
            7.5 / 8.5,
            what="the factor",
            hints={
                "a factor is |1 − ηλ|: it is a size, so not negative": -7.5 / 8.5,
                "this is ηλ for the flat direction; the error shrinks by |1 − ηλ|": 1 / 8.5,
                "this is the factor turned upside down: the error is multiplied by less than 1": (
                    8.5 / 7.5
                ),
                "this is the factor of the loss, which goes with the square of the error": (
                    (7.5 / 8.5) ** 2
                ),
            },
            tolerance=_ROUNDED,
        )
    )


@exercise("4.2-b")
def logistic_gradient(answer: Callable[[Tensor, Tensor, Tensor], Any]) -> str | None:
    """Check the gradient of binary cross-entropy in the weights of a linear model."""
    inputs = torch.randn(7, 3, dtype=torch.float64)
    weight = torch.randn(3, dtype=torch.float64)
    target = (torch.rand(7) < 0.5).double()
    p = torch.sigmoid(inputs @ weight)
    hints = {
        "this is the gradient of the squared error: with cross-entropy p(1 − p) cancels": (
            inputs.T @ (2 * (p - target) * p * (1 - p)) / 7
        ),
        "the factor p(1 − p) is too much: the derivative of −log σ(z) has cancelled it": (
            inputs.T @ ((p - target) * p * (1 - p)) / 7
        ),
        "z is where p is due: take the sigmoid of the logits before subtracting y": (
            inputs.T @ (inputs @ weight - target) / 7
        ),
        "this is the gradient in the logits, p − y; the chain rule brings each row of x with it": (
            (p - target) / 7
        ),
        "this is p − y without the inputs and without the mean": p - target,
    }
    due = inputs.T @ (p - target) / 7
    return compare(
        answer(weight, inputs, target), due, what="the gradient", hints=hints, factors={"n": 7}
    )


@exercise("4.2-c")
def log_sum_exp(answer: Callable[[Tensor], Any]) -> str | None:
    """Check log-sum-exp by rows: first on small logits, then on ones that overflow."""
    small = torch.randn(4, 3, dtype=torch.float64)
    due = small.logsumexp(1)
    wrong = compare(
        answer(small),
        due,
        what="the result on small logits",
        hints={
            "the sum goes over the classes (dim=1), not over the examples": small.logsumexp(0),
            "this sums over all rows: each row has its own": small.logsumexp((0, 1)),
            "the row's maximum was subtracted and has to be added back": due - small.amax(1),
            "the maximum has the wrong sign: add it to the logarithm": due - 2 * small.amax(1),
            "the logarithm is missing": small.exp().sum(1),
            "this is the maximum alone: the logarithm of the sum is missing": small.amax(1),
        },
    )
    if wrong is not None:
        return wrong
    for shift, words in ((1000.0, "overflows: e^1000 is infinite"), (-1000.0, "underflows")):
        logits = small + shift
        if not torch.as_tensor(answer(logits)).isfinite().all():
            return f"right for small logits, but around {shift:g} it {words}: subtract the maximum"
    logits = torch.tensor([[0.0, 3000.0, 2.0], [-3000.0, 3.0, 1.0]], dtype=torch.float64)
    if not torch.as_tensor(answer(logits)).isfinite().all():
        return (
            "it fails when rows or entries differ much in size: subtract each row's own maximum, "
            "not its first entry, its mean or the maximum of the whole matrix"
        )
    return compare(
        answer(logits), logits.logsumexp(1), what="the result on entries of unequal size"
    )


@exercise("4.2-d")
def momentum_limit(answer: Callable[[float, float], Any]) -> str | None:
    """Check the stability limit of gradient descent with momentum."""
    cases = [(4.0, 0.5), (10.0, 0.9), (0.5, 0.2)]
    hints = {
        "this is the limit of plain gradient descent: it does not depend on μ": [
            2 / λ for λ, _ in cases
        ],
        "in this form momentum raises the limit; 2(1 − μ)/λ_max lowers it": [
            2 * (1 - μ) / λ for λ, μ in cases
        ],
        "1/(1 − μ) is how much faster a constant slope is descended; the limit grows less: "
        "measure it for two values of μ": [2 / ((1 - μ) * λ) for λ, μ in cases],
        "this is half the limit": [(1 + μ) / λ for λ, μ in cases],
        "the limit grows with 1 + μ, not with its square": [2 * (1 + μ) ** 2 / λ for λ, μ in cases],
        "this is the limit of Nesterov's form; momentum's is larger": [
            2 * (1 + μ) / (λ * (1 + 2 * μ)) for λ, μ in cases
        ],
        "this is the fastest rate for one curvature, not the largest stable one": [
            (1 - μ**0.5) ** 2 / λ for λ, μ in cases
        ],
    }
    due = [2 * (1 + μ) / λ for λ, μ in cases]
    what = f"the limit for (λ, μ) in {cases}"
    return compare([answer(λ, μ) for λ, μ in cases], due, what=what, hints=hints)


@exercise("4.2-e")
def step_with_anchor(answer: Callable[..., Any]) -> str | None:
    """Check a gradient step on a loss with a penalty on the distance from the source."""
    parameters, gradients, source = torch.randn(3, 4, dtype=torch.float64)
    rate, strength = 0.1, 0.7
    pull = parameters - source
    hints = {
        "the penalty pulls to zero (weight decay); pull towards the source": (
            parameters - rate * (gradients + strength * parameters)
        ),
        "the penalty pushes away from the source: its gradient is α(θ − θ_source)": (
            parameters - rate * (gradients - strength * pull)
        ),
        "the step goes uphill: the sign of the whole step is wrong": (
            parameters + rate * (gradients + strength * pull)
        ),
        "the pull lacks the learning rate: it is part of the gradient": (
            parameters - rate * gradients - strength * pull
        ),
        "the derivative of (α/2)‖θ − θ_source‖² has no factor 2": (
            parameters - rate * (gradients + 2 * strength * pull)
        ),
        "the derivative of (α/2)‖θ − θ_source‖² has no factor ½ left": (
            parameters - rate * (gradients + strength / 2 * pull)
        ),
        "the derivative of a square is not the square: the pull is α(θ − θ_source)": (
            parameters - rate * (gradients + strength * pull**2)
        ),
        "rate and strength are exchanged": (parameters - strength * (gradients + rate * pull)),
        "the strength α is missing": parameters - rate * (gradients + pull),
        "the penalty is missing": parameters - rate * gradients,
    }
    due = parameters - rate * (gradients + strength * pull)
    value = answer(parameters, gradients, source, rate=rate, strength=strength)
    return compare(value, due, what="the new θ", hints=hints)
