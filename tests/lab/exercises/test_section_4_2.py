"""The exercises of section 4.2: their solutions and plausible wrong answers."""

import numpy as np
import pytest
import torch

from mapping_lib.lab.exercises import Case, check


def logistic(step):
    """Return a gradient from the residual that ``step`` makes of probabilities and targets."""

    def gradient(weight, inputs, target):
        return inputs.T @ step(torch.sigmoid(inputs @ weight), target) / len(target)

    return gradient


def log_sum_exp(logits):
    largest = logits.max(dim=1, keepdim=True).values
    return (logits - largest).exp().sum(1).log() + largest.squeeze(1)


def by_mean(logits):
    middle = logits.mean(dim=1, keepdim=True)
    return (logits - middle).exp().sum(1).log() + middle.squeeze(1)


def by_first_entry(logits):
    return (logits - logits[:, :1]).exp().sum(1).log() + logits[:, 0]


def by_whole_maximum(logits):
    return (logits - logits.max()).exp().sum(1).log() + logits.max()


def anchored(pull):
    def step(parameters, gradients, source, *, rate, strength):
        return parameters - rate * (gradients + pull(parameters, source, strength))

    return step


CASES = {
    "4.2-a": Case(
        solution=[0.25, 2 / 8.5, 7.5 / 8.5],
        wrong={
            "not by the smallest": [4, 2 / 8.5, 7.5 / 8.5],
            "in one step": [0.125, 2 / 8.5, 7.5 / 8.5],
            "this is the limit itself": [0.25, 0.25, 0.875],
            "slower than it need be": [0.25, 0.125, 0.9375],
            "not negative": [0.25, 2 / 8.5, -7.5 / 8.5],
            "this is ηλ": [0.25, 2 / 8.5, 1 / 8.5],
            "square of the error": [0.25, 2 / 8.5, (7.5 / 8.5) ** 2],
            "upside down": [0.25, 2 / 8.5, 8.5 / 7.5],
            "not yet the slower one": [0.25, 1 / 8.5, 7.5 / 8.5],
            "three numbers": 0.25,
        },
    ),
    "4.2-b": Case(
        solution=logistic(lambda p, y: p - y),
        wrong={
            "has the wrong sign": logistic(lambda p, y: y - p),
            "squared error": logistic(lambda p, y: 2 * (p - y) * p * (1 - p)),
            "too much": logistic(lambda p, y: (p - y) * p * (1 - p)),
            "factor n": lambda w, x, y: x.T @ (torch.sigmoid(x @ w) - y),
            "sigmoid of the logits": lambda w, x, y: x.T @ (x @ w - y) / len(y),
            "in the logits": lambda w, x, y: (torch.sigmoid(x @ w) - y) / len(y),
            "without the inputs": lambda w, x, y: torch.sigmoid(x @ w) - y,
        },
    ),
    "4.2-c": Case(
        solution=log_sum_exp,
        wrong={
            "overflows": lambda z: z.exp().sum(1).log(),
            "added back": lambda z: (z - z.amax(1, keepdim=True)).exp().sum(1).log(),
            "not over the examples": lambda z: z.logsumexp(0),
            "all rows": lambda z: z.logsumexp((0, 1)),
            "differ much in size": by_mean,
            "maximum alone": lambda z: z.amax(1),
            "logarithm is missing": lambda z: z.exp().sum(1),
        },
    ),
    "4.2-d": Case(
        solution=lambda largest, μ: 2 * (1 + μ) / largest,
        wrong={
            "the limit for (λ, μ) in [(4.0, 0.5)": lambda largest, μ: (2 + μ) / largest,
            "plain gradient descent": lambda largest, μ: 2 / largest,
            "lowers it": lambda largest, μ: 2 * (1 - μ) / largest,
            "constant slope": lambda largest, μ: 2 / (1 - μ) / largest,
            "Nesterov": lambda largest, μ: 2 * (1 + μ) / (largest * (1 + 2 * μ)),
            "half the limit": lambda largest, μ: (1 + μ) / largest,
            "not with its square": lambda largest, μ: 2 * (1 + μ) ** 2 / largest,
        },
    ),
    "4.2-e": Case(
        solution=anchored(lambda θ, source, α: α * (θ - source)),
        wrong={
            "weight decay": anchored(lambda θ, source, α: α * θ),
            "pushes away": anchored(lambda θ, source, α: α * (source - θ)),
            "no factor 2": anchored(lambda θ, source, α: 2 * α * (θ - source)),
            "no factor ½ left": anchored(lambda θ, source, α: α / 2 * (θ - source)),
            "not the square": anchored(lambda θ, source, α: α * (θ - source) ** 2),
            "are exchanged": lambda θ, g, source, *, rate, strength: (
                θ - strength * (g + rate * (θ - source))
            ),
            "α is missing": anchored(lambda θ, source, α: θ - source),
            "penalty is missing": anchored(lambda θ, source, α: 0),
            "uphill": lambda θ, g, source, *, rate, strength: (
                θ + rate * (g + strength * (θ - source))
            ),
            "lacks the learning rate": lambda θ, g, source, *, rate, strength: (
                θ - rate * g - strength * (θ - source)
            ),
        },
    ),
}


@pytest.mark.parametrize("shift", [by_whole_maximum, by_first_entry, by_mean])
def test_shift_by_anything_but_the_maximum_of_the_row_is_caught(shift):
    verdict = check("4.2-c", shift)
    assert not verdict
    assert "not its first entry" in verdict.message


def test_numbers_from_paper_may_stand_in_an_array_and_be_rounded():
    assert check("4.2-a", np.array([0.25, 0.235, 0.882]))
