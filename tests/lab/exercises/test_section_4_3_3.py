"""The exercises of section 4.3.3: their solutions and plausible wrong answers."""

from functools import reduce

import numpy as np
import torch
from torch.nn.functional import one_hot

from mapping_lib.lab.exercises import Case, check


def outer(H, θ, b, c, rate, steps):
    for _ in range(steps):
        θ = θ - rate * H @ (θ - b)
    v = H @ (θ - c)
    for _ in range(steps):
        v = v - rate * H @ v
    return v


def outer_with(H, θ, b, c, rate, steps, *, factors):
    for _ in range(steps):
        θ = θ - rate * H @ (θ - b)
    return torch.linalg.matrix_power(torch.eye(3) - rate * H, factors) @ H @ (θ - c)


def classes(support, labels):
    return torch.stack([support[labels == k].mean(0) for k in labels.unique()])


def logits(support, labels, query):
    return -(query[:, None] - classes(support, labels)).square().sum(2)


def from_sums(support, labels, query, divisor=1.0):
    sums = one_hot(labels).to(support).T @ support / divisor
    return -(query[:, None] - sums).square().sum(2)


def dual(X, Y, strength):
    return torch.linalg.solve(X @ X.T + strength * torch.eye(len(X)), Y)


def primal(X, Y, strength):
    identity = torch.eye(X.shape[1])
    return torch.linalg.solve(X.T @ X + strength * identity, X.T @ Y)


def mean(tasks):
    return torch.stack(tasks).mean(0)


CASES = {
    "4.3.3-a": Case(
        solution=[6, 3.75, 5, 1],
        wrong={
            "downhill": [8, 3.75, 5, 1],
            "twice that": [5, 3.75, 5, 1],
            "this is the gradient, not where": [4, 3.75, 5, 1],
            "length of the step": [1, 3.75, 5, 1],
            "not the query loss": [5.5, 3.75, 5, 1],
            "it is first-order MAML": [6, 5, 5, 1],
            "at the adapted parameter": [6, 0.75 * 6, 5, 1],
            "judges by the support": [6, 0.75 * 3, 5, 1],
            "not 1 + α": [6, 6.25, 5, 1],
            "not α": [6, 1.25, 5, 1],
            "leaves the factor": [6, 3.75, 3.75, 1],
            "before the step": [6, 3.75, 6, 1],
            "gradient of the support loss": [6, 3.75, 3, 1],
            "still ¾": [6, 3.75, 5, 0.25],
            "there is no step": [6, 3.75, 5, 0],
            "factor is −1": [6, 3.75, 5, 2],
            "four numbers": [6, 3.75, 5],
        },
    ),
    "4.3.3-b": Case(
        solution=outer,
        wrong={
            "factors I − αH are missing": lambda *a: outer_with(*a, factors=0),
            "a single one": lambda *a: outer_with(*a, factors=1),
            "factor too many": lambda *a: outer_with(*a, factors=a[-1] + 1),
            "not at the first ones": lambda H, θ, b, c, rate, steps: (
                torch.linalg.matrix_power(torch.eye(3) - rate * H, steps) @ H @ (θ - c)
            ),
            "judges by the support": lambda H, θ, b, c, rate, steps: outer(H, θ, b, b, rate, steps),
            "before any step": lambda H, θ, b, c, rate, steps: H @ (θ - c),
            "wrong sign": lambda *a: -outer(*a),
        },
    ),
    "4.3.3-c": Case(
        solution=logits,
        wrong={
            "a minus is missing": lambda *a: -logits(*a),
            "logits are their squares": lambda *a: -(-logits(*a)).sqrt(),
            "mean over the features": lambda *a: logits(*a) / 4,
            "these are sums": from_sums,
            "divided by one number": lambda *a: from_sums(*a, divisor=7 / 3),
            "inner products": lambda s, y, q: q @ classes(s, y).T,
            "is transposed": lambda s, y, q: logits(s, y, q).T,
        },
    ),
    "4.3.3-d": Case(
        solution=lambda X, Y, s: X.T @ dual(X, Y, s),
        wrong={
            "λ is missing": lambda X, Y, s: X.T @ dual(X, Y, 0),
            "dual weights": dual,
            "not squared": lambda X, Y, s: X.T @ dual(X, Y, s**2),
            "on the diagonal": lambda X, Y, s: X.T @ torch.linalg.solve(X @ X.T + s, Y),
            "size of the features": primal,
        },
    ),
    "4.3.3-e": Case(
        solution=lambda θ, φ, rate: θ + rate * (mean(φ) - θ),
        wrong={
            "leads away": lambda θ, φ, rate: θ - rate * (mean(φ) - θ),
            "confused": lambda θ, φ, rate: θ + rate * sum(each - θ for each in φ),
            "only the last task": lambda θ, φ, rate: θ + rate * (φ[-1] - θ),
            "by the share ε": lambda θ, φ, rate: mean(φ),
            "this is the step": lambda θ, φ, rate: rate * (mean(φ) - θ),
            "take turns": lambda θ, φ, rate: reduce(lambda a, b: a + rate * (b - a), φ, θ),
            "are exchanged": lambda θ, φ, rate: rate * θ + (1 - rate) * mean(φ),
            "taken off each φ": lambda θ, φ, rate: θ + rate * mean(φ),
        },
    ),
}


def test_numbers_from_paper_may_stand_in_an_array():
    assert check("4.3.3-a", np.array([6, 3.75, 5, 1]))


def test_new_tensors_of_the_default_dtype_fit():
    def by_product(H, θ, b, c, rate, steps):
        factors = torch.eye(len(H))
        for _ in range(steps):
            θ = θ - rate * H @ (θ - b)
            factors = factors @ (torch.eye(len(H)) - rate * H)
        return factors @ H @ (θ - c)

    def by_one_hot(support, labels, query):
        members = one_hot(labels).float()
        means = members.T @ support / members.sum(0)[:, None]
        return -(query[:, None] - means).square().sum(2)

    assert check("4.3.3-b", by_product)
    assert check("4.3.3-c", by_one_hot)


def test_the_inverse_of_the_large_system_is_no_small_system():
    def by_inverse(X, Y, strength):
        return torch.linalg.inv(X.T @ X + strength * torch.eye(X.shape[1])) @ X.T @ Y

    assert "size of the features" in check("4.3.3-d", by_inverse).message
