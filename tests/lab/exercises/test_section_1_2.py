import math

import numpy as np
import pytest
import torch
from scipy import stats

from mapping_lib import transferability
from mapping_lib.lab.exercises import Case, check


def needed(labels, scores, threshold):
    return transferability.labels_to_threshold(labels.log(), scores, threshold=threshold).exp()


def reached(labels, scores, threshold):
    return labels[int((scores >= threshold).int().argmax())]


def area(labels, scores):
    return ((scores[1:] + scores[:-1]) / 2 * labels.diff()).sum()


def ratio(labels, transfer, scratch):
    return area(labels, transfer) / area(labels, scratch) - 1


def error(x, y):
    return (x - y).std() / len(x) ** 0.5


CASES = {
    "1.2-a": Case(
        solution=("transductive", "inductive", "unsupervised", "transductive"),
        wrong={
            "case 1 is not inductive: the task stays": (
                "inductive",
                "inductive",
                "unsupervised",
                "transductive",
            ),
            "case 2 is not transductive: it has labels of the target": (
                "transductive",
                "transductive",
                "unsupervised",
                "transductive",
            ),
            "case 3 is not transductive: it has no labels": (
                "Transductive",
                "inductive ",
                "transductive",
                "transductive",
            ),
            "case 4: choose one of": ("transductive", "inductive", "unsupervised", "supervised"),
            "3 words where 4 are due": ("transductive", "inductive", "unsupervised"),
            "give four words": "transductive, inductive, unsupervised, transductive",
        },
    ),
    "1.2-b": Case(
        solution=needed,
        wrong={
            "straight over the labels": lambda n, a, t: transferability.labels_to_threshold(
                n, a, threshold=t
            ),
            "take its exponential": lambda n, a, t: needed(n, a, t).log(),
            "the first measured number": reached,
            "isn't reached yet": lambda n, a, t: n[int((a >= t).int().argmax()) - 1],
            "rises, falls and rises again": lambda n, a, t: torch.exp(
                n.log()[int((a < t).nonzero()[-1])]
                + (t - a[int((a < t).nonzero()[-1])])
                / a.diff()[int((a < t).nonzero()[-1])]
                * n.log().diff()[int((a < t).nonzero()[-1])]
            ),
        },
    ),
    "1.2-c": Case(
        solution=ratio,
        wrong={
            "equal areas should give 0": lambda n, a, b: area(n, a) / area(n, b),
            "by the area with transfer": lambda n, a, b: 1 - area(n, b) / area(n, a),
            "equal distances": lambda n, a, b: a.mean() / b.mean() - 1,
            "difference of the areas": lambda n, a, b: area(n, a) - area(n, b),
            "not the left one": lambda n, a, b: n.diff() @ a[:-1] / (n.diff() @ b[:-1]) - 1,
            "not the right one": lambda n, a, b: n.diff() @ a[1:] / (n.diff() @ b[1:]) - 1,
            "over the logarithm": lambda n, a, b: ratio(n.log(), a, b),
            "by its width": lambda n, a, b: (a[1:] + a[:-1]).sum() / (b[1:] + b[:-1]).sum() - 1,
            "wrong sign": lambda n, a, b: -ratio(n, a, b),
        },
    ),
    "1.2-d": Case(
        solution=error,
        wrong={
            "independent": lambda x, y: ((x.var() + y.var()) / len(x)) ** 0.5,
            "divide by √k": lambda x, y: (x - y).std(),
            "divided by k where": lambda x, y: (x - y).std() / len(x),
            "k − 1": lambda x, y: (x - y).std(correction=0) / len(x) ** 0.5,
            "take its root": lambda x, y: error(x, y) ** 2,
            "half the interval": lambda x, y: stats.t.ppf(0.975, len(x) - 1) * error(x, y),
            "without the quantile 2.776": lambda x, y: 2.776 * error(x, y),
            "the mean difference": lambda x, y: (x - y).mean(),
        },
    ),
}


@pytest.mark.parametrize("answer", [4, 0.5, len])
def test_settings_are_words(answer):
    assert "give four words" in check("1.2-a", answer).message


def test_sorted_search_does_not_find_the_first_crossing():
    verdict = check("1.2-b", lambda n, a, t: math.exp(np.interp(t, a.numpy(), n.log().numpy())))
    assert "the first crossing counts" in verdict.message


def test_the_library_agrees():
    assert check("1.2-c", transferability.transfer_ratio)
    assert check("1.2-d", lambda x, y: float(error(x, y)))
