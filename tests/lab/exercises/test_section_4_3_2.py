"""The exercises of section 4.3.2: their solutions and plausible wrong answers."""

import numpy as np
import torch

from mapping_lib.lab.exercises import Case, check


def projected(g, other):
    return g - (g @ other).clamp(max=0) / (other @ other) * other


def shortest(a, b):
    return ((b - a) @ b / (b - a).square().sum()).clamp(0, 1)


def beats(points, strictly_all=False):
    no_worse = (points[:, None] <= points).all(2)
    better = (points[:, None] < points).any(2)
    return (points[:, None] < points).all(2) if strictly_all else no_worse & better


CASES = {
    "4.3.2-a": Case(
        solution=[-4 / 65**0.5, 21 / 13, 14 / 13, 17 / 26, 9 / 26],
        wrong={
            "inner product": [-4, 21 / 13, 14 / 13, 17 / 26, 9 / 26],
            "not by their squares": [-4 / 65, 21 / 13, 14 / 13, 17 / 26, 9 / 26],
            "second length as well": [-4 / 5**0.5, 21 / 13, 14 / 13, 17 / 26, 9 / 26],
            "first length as well": [-4 / 13**0.5, 21 / 13, 14 / 13, 17 / 26, 9 / 26],
            "cosine is right so far, but too coarse": [-0.5, 21 / 13, 14 / 13, 17 / 26, 9 / 26],
            "what is taken away": [-0.496, -8 / 13, 12 / 13, 17 / 26, 9 / 26],
            "was added": [-0.496, 5 / 13, 38 / 13, 17 / 26, 9 / 26],
            "the first is asked for": [-0.496, 2.8, -1.4, 17 / 26, 9 / 26],
            "not by its length": [-0.496, 3.2188, -1.3282, 17 / 26, 9 / 26],
            "not of the first": [-0.496, 2.6, -0.4, 17 / 26, 9 / 26],
            "other way round": [-0.496, 1.615, 1.077, 9 / 26, 17 / 26],
            "orthogonal": [-0.496, 1.615, 1.077, 13 / 18, 5 / 18],
            "equally long": [-0.496, 1.615, 1.077, 0.61688, 0.38312],
            "weights is right so far, but too coarse": [-0.496, 1.615, 1.077, 0.65, 0.35],
            "five numbers": -0.6,
        },
    ),
    "4.3.2-b": Case(
        solution=projected,
        wrong={
            "although the two conflict": lambda g, o: g,
            "take it away": lambda g, o: (g @ o) / (o @ o) * o,
            "was added": lambda g, o: g + (g @ o) / (o @ o) * o,
            "squared length of the other": lambda g, o: g - (g @ o) * o,
            "not by the length": lambda g, o: g - (g @ o) / o.norm() * o,
            "not of the first": lambda g, o: g - (g @ o) / (g @ g) * o,
            "the first one is asked for": lambda g, o: o - (g @ o) / (g @ g) * g,
            "nothing may be taken away": lambda g, o: g - (g @ o) / (o @ o) * o,
        },
    ),
    "4.3.2-c": Case(
        solution=lambda losses: 1 / (2 * losses),
        wrong={
            "in the denominator": lambda losses: losses,
            "one over it": lambda losses: 2 * losses,
            "factor 1/2 before s": lambda losses: 1 / losses,
            "logarithm of the best variance": lambda losses: (2 * losses).log(),
            "without square root": lambda losses: (2 * losses).rsqrt(),
            "best value of the term": lambda losses: 0.5 + (2 * losses).log() / 2,
        },
    ),
    "4.3.2-d": Case(
        solution=shortest,
        wrong={
            "weight of the second": lambda a, b: 1 - shortest(a, b),
            "holds for orthogonal": lambda a, b: (b @ b) / (a @ a + b @ b),
            "both parts equally long": lambda a, b: b.norm() / (a.norm() + b.norm()),
            "divide by the squared length of the difference": lambda a, b: (b - a) @ b,
            "not by the length": lambda a, b: (b - a) @ b / (b - a).norm(),
            "inner product has the wrong sign": lambda a, b: (a + b) @ b / (a + b).square().sum(),
            "clamp it": lambda a, b: (b - a) @ b / (b - a).square().sum(),
        },
    ),
    "4.3.2-e": Case(
        solution=lambda points: ~beats(points).any(0),
        wrong={
            "isn't better than itself": lambda points: ~(points[:, None] <= points).all(2).any(0),
            "off the front": lambda points: beats(points).any(0),
            "better in every task": lambda points: ~beats(points, strictly_all=True).any(0),
            "beat no other": lambda points: ~beats(points).any(1),
            "neither beats the other": lambda points: (
                ~(
                    (points[:, None] <= points).all(2) & ~torch.eye(len(points), dtype=torch.bool)
                ).any(0)
            ),
            "boolean": lambda points: beats(points).any(0).nonzero(),
            "the point": lambda points: points[:, 0] == points[:, 0].min(),
        },
    ),
}


def test_numbers_from_paper_may_be_rounded_to_three_digits():
    assert check("4.3.2-a", [-0.496, 1.62, 1.08, 0.654, 0.346])


def test_a_weight_may_be_a_plain_number():
    assert check("4.3.2-d", lambda a, b: shortest(a, b).item())


def test_numbers_from_paper_may_stand_in_an_array():
    assert check("4.3.2-a", np.array(CASES["4.3.2-a"].solution))


def test_the_front_may_be_a_list_or_an_array():
    def on_front(points):
        return ~beats(points).any(0)

    assert check("4.3.2-e", lambda points: on_front(points).tolist())
    assert check("4.3.2-e", lambda points: on_front(points).numpy())
    assert not check("4.3.2-e", lambda points: [str(row) for row in on_front(points)])
