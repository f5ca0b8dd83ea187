"""The exercises of section 4.3.2: their solutions and plausible wrong answers."""

import torch

from mapping_lib.lab.exercises import Case


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
        solution=[-0.6, 1.28, 0.96, 31 / 41, 10 / 41],
        wrong={
            "inner product": [-6, 1.28, 0.96, 31 / 41, 10 / 41],
            "not by their squares": [-0.06, 1.28, 0.96, 31 / 41, 10 / 41],
            "other length": [-3, 1.28, 0.96, 31 / 41, 10 / 41],
            "what is taken away": [-0.6, 0.72, -0.96, 31 / 41, 10 / 41],
            "was added": [-0.6, 2.72, -0.96, 31 / 41, 10 / 41],
            "the first is asked for": [-0.6, 0.0, 4.0, 31 / 41, 10 / 41],
            "not by its length": [-0.6, -1.6, 4.8, 31 / 41, 10 / 41],
            "other way round": [-0.6, 1.28, 0.96, 10 / 41, 31 / 41],
            "orthogonal": [-0.6, 1.28, 0.96, 25 / 29, 4 / 29],
            "equally long": [-0.6, 1.28, 0.96, 5 / 7, 2 / 7],
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
