"""The exercises of section 8.2.3: their solutions and plausible wrong answers."""

import numpy as np
import torch
from torch.nn.functional import cross_entropy

from mapping_lib.lab.exercises import Case, check


def shares(counts, temperature):
    powers = counts ** (1 / temperature)
    return powers / powers.sum()


def update(n, mean, squares, x):
    n = n + 1
    δ = x - mean
    mean = mean + δ / n
    return n, mean, squares + δ * (x - mean)


def adjusted(logits, labels, counts):
    return cross_entropy(logits + (counts / counts.sum()).log(), labels)


CASES = {
    "8.2.3-a": Case(
        solution=[0.25, 0.5, 100],
        wrong={
            "three numbers": 0.25,
            "in proportion, T = 1": [0.1, 0.5, 100],
            "to the power T": [1 / 82, 0.5, 100],
            "the large source": [0.75, 0.5, 100],
            "30 + 10": [1 / 3, 0.5, 100],
            "divide by their sum": [0.25, 1, 100],
            "takes all": [0.25, 0, 100],
            "the share at T = 1": [0.25, 0.1, 100],
            "above the line": [0.25, 0.5, 0],
            "below the line": [0.25, 0.5, 0.01],
            "begins with 1": [0.25, 0.5, 99],
        },
    ),
    "8.2.3-b": Case(
        solution=shares,
        wrong={
            "the exponent is 1/T": lambda n, T: n**T / (n**T).sum(),
            "isn't used": lambda n, T: n / n.sum(),
            "don't add up to 1": lambda n, T: n ** (1 / T),
            "sum of the counts": lambda n, T: n ** (1 / T) / n.sum(),
            "logarithms first": lambda n, T: (n / T).softmax(0),
            "don't add up to 1 any more": lambda n, T: (n / n.sum()) ** (1 / T),
            "exponent is negative": lambda n, T: (-n.log() / T).softmax(0),
            "the share at T = 2": lambda n, T: n.sqrt() / n.sqrt().sum(),
            "all alike": lambda n, T: (n * 0).softmax(0),
        },
    ),
    "8.2.3-c": Case(
        solution=update,
        wrong={
            "three things": lambda n, m, s, x: m,
            "count the new row": lambda n, m, s, x: (n, *update(n, m, s, x)[1:]),
            "must be divided by the new number": lambda n, m, s, x: (n + 1, m + (x - m) / n, s),
            "6, not 5": lambda n, m, s, x: (n + 1, (n * m + x) / n, s),
            "stands for five rows": lambda n, m, s, x: (n + 1, (m + x) / (n + 1), s),
            "wasn't moved": lambda n, m, s, x: (n + 1, m, s),
            "to the old mean": lambda n, m, s, x: (n + 1, (x - m) / (n + 1), s),
            "sign is wrong": lambda n, m, s, x: (n + 1, m - (x - m) / (n + 1), s),
            "not as one half": lambda n, m, s, x: (n + 1, (m + x) / 2, s),
            "from the old mean twice": lambda n, m, s, x: (
                *update(n, m, s, x)[:2],
                s + (x - m) ** 2,
            ),
            "from the new mean twice": lambda n, m, s, x: (
                *update(n, m, s, x)[:2],
                s + (x - update(n, m, s, x)[1]) ** 2,
            ),
            "taken away": lambda n, m, s, x: (
                *update(n, m, s, x)[:2],
                2 * s - update(n, m, s, x)[2],
            ),
            "(n+1)/n times": lambda n, m, s, x: (
                *update(n, m, s, x)[:2],
                s + (n + 1) / n * (x - m) ** 2,
            ),
            "not 1/(n+1) times": lambda n, m, s, x: (
                *update(n, m, s, x)[:2],
                s + (x - m) ** 2 / (n + 1),
            ),
            "not of the row itself": lambda n, m, s, x: (*update(n, m, s, x)[:2], s + x**2),
            "this is the variance; return the sum": lambda n, m, s, x: (
                *update(n, m, s, x)[:2],
                update(n, m, s, x)[2] / (n + 1),
            ),
            "adds something": lambda n, m, s, x: (*update(n, m, s, x)[:2], s),
        },
    ),
    "8.2.3-d": Case(
        solution=adjusted,
        wrong={
            "must be added while learning": lambda z, y, n: cross_entropy(
                z - (n / n.sum()).log(), y
            ),
            "add their logarithms": lambda z, y, n: cross_entropy(z + n / n.sum(), y),
            "aren't used": lambda z, y, n: cross_entropy(z, y),
            "add to the logits instead": lambda z, y, n: cross_entropy(z, y, 1 / n),
            "another mean": lambda z, y, n: cross_entropy(
                z, y, len(n) / n / (1 / n).sum(), reduction="none"
            ).mean(),
            "multiplied by the shares": lambda z, y, n: cross_entropy(z * n / n.sum(), y),
            "natural logarithm": lambda z, y, n: cross_entropy(z + (n / n.sum()).log2(), y),
            "shares of the batch": lambda z, y, n: cross_entropy(
                z + (y.bincount() / len(y)).log(), y
            ),
            "got probabilities": lambda z, y, n: cross_entropy(z.softmax(1) + n.log(), y),
            "mean over the rows": lambda z, y, n: 6 * adjusted(z, y, n),
        },
    ),
}


def test_numbers_on_paper_may_come_as_an_array():
    for answer in (np.array([0.25, 0.5, 100]), torch.tensor([0.25, 0.5, 100]), (1 / 4, 1 / 2, 100)):
        assert check("8.2.3-a", answer)
