"""The exercises of section 4.1: their solutions and plausible wrong answers."""

import math

import numpy as np
import torch

from mapping_lib.lab.exercises import Case, check


def right_vectors(matrix, rank=None):
    return torch.linalg.svd(matrix, full_matrices=False).Vh[:rank]


def lost(weight, x):
    rows = right_vectors(weight)
    return x - rows.T @ (rows @ x)


def scaled_rows(slope):
    def layer_jacobian(x, weight, bias):
        return slope(torch.sigmoid(weight @ x + bias))[:, None] * weight

    return layer_jacobian


def share(directions_of, data, rank):
    kept = data @ right_vectors(directions_of, rank).T
    return kept.square().sum() / data.square().sum()


def centred(data):
    return data - data.mean(0)


CASES = {
    "4.1-a": Case(
        solution=[math.sqrt(45), math.sqrt(5), 3.0],
        wrong={
            "square roots": [45, 5, 9],
            "eigenvalues of W,": [5, 3, 5 / 3],
            "comes first": [math.sqrt(5), math.sqrt(45), 3],
            "not of the eigenvalues": [math.sqrt(45), math.sqrt(5), 9],
            "upside down": [math.sqrt(45), math.sqrt(5), 1 / 3],
            "|det W| = 15": [7, 2, 3.5],
            "three numbers": 3.0,
            "three plain numbers": [[math.sqrt(45), math.sqrt(5)], 3, 3],
            "are NaN": [math.nan, math.nan, 3],
            "wrong in": [6.8, 2.2059, 3.0],
        },
    ),
    "4.1-b": Case(
        solution=lost,
        wrong={
            "W keeps": lambda weight, x: x - lost(weight, x),
            "perpendicular unit vectors": lambda weight, x: x - weight.T @ weight @ x,
            "x itself": lambda weight, x: x,
            "sign": lambda weight, x: -lost(weight, x),
            "shape": lambda weight, x: weight @ x,
        },
    ),
    "4.1-c": Case(
        solution=scaled_rows(lambda s: s * (1 - s)),
        wrong={
            "this is W,": lambda x, weight, bias: weight,
            "diag(σ(z)) W": scaled_rows(lambda s: s),
            "derivative of tanh": scaled_rows(lambda s: 1 - s**2),
            "bias is missing": lambda x, weight, bias: scaled_rows(lambda s: s * (1 - s))(
                x, weight, torch.zeros_like(bias)
            ),
            "transposed": lambda x, weight, bias: (
                scaled_rows(lambda s: s * (1 - s))(x, weight, bias).T
            ),
            "raised": lambda x, weight, bias: (
                weight * torch.sigmoid(weight @ x + bias) * (1 - torch.sigmoid(weight @ x + bias))
            ),
        },
    ),
    "4.1-d": Case(
        solution=lambda a, n: math.sqrt(2 / (n * (1 + a**2))),
        wrong={
            "the deviation for (a, n) in [(0.1, 50)": lambda a, n: 0.1,
            "the variance v": lambda a, n: 2 / (n * (1 + a**2)),
            "for ReLU (a = 0) only": lambda a, n: math.sqrt(2 / n),
            "Xavier": lambda a, n: math.sqrt(1 / n),
            "a² where you have a": lambda a, n: math.sqrt(2 / (n * (1 + a))),
            "before averaging": lambda a, n: 2 / (math.sqrt(n) * (1 + a)),
            "below the line": lambda a, n: math.sqrt((1 + a**2) / (2 * n)),
        },
    ),
    "4.1-e": Case(
        solution=lambda source, target, rank: share(centred(source), centred(target), rank),
        wrong={
            "source's own variance": lambda s, t, r: share(centred(s), centred(s), r),
            "target's own principal": lambda s, t, r: share(centred(t), centred(t), r),
            "centred by the source's mean": lambda s, t, r: share(centred(s), t - s.mean(0), r),
            "target is not centred": lambda s, t, r: share(centred(s), t, r),
            "source is not centred": lambda s, t, r: share(s, centred(t), r),
            "squares": lambda s, t, r: share(centred(s), centred(t), r).sqrt(),
            "lost": lambda s, t, r: 1 - share(centred(s), centred(t), r),
            "its columns": lambda s, t, r: (
                (centred(t) @ right_vectors(centred(s))[:, :r]).square().sum()
                / centred(t).square().sum()
            ),
            "percent": lambda s, t, r: 100 * share(centred(s), centred(t), r),
        },
    ),
}


def test_numbers_from_paper_may_stand_in_an_array_and_be_rounded():
    assert check("4.1-a", np.array([6.71, 2.24, 3.0]))
