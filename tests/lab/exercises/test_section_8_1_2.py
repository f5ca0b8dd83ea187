"""The exercises of section 8.1.2: their solutions and plausible wrong answers."""

import numpy as np
import torch
from torch.nn.functional import cross_entropy, normalize

from mapping_lib.lab.exercises import Case, check


def means(support, labels):
    return torch.stack([support[labels == k].mean(0) for k in labels.unique()])


def cosine(support, labels, query, factor):
    return factor * normalize(query) @ normalize(means(support, labels)).T


def step(
    head,
    support,
    labels,
    query,
    query_labels,
    inner,
    outer,
    *,
    graph=True,
    begin="head",
    of=None,
    sign=-1,
    added=False,
    over="mean",
):
    start = head.clone().requires_grad_()
    value = cross_entropy(support @ start.T, labels, reduction=over)
    (gradient,) = torch.autograd.grad(value, start, create_graph=graph)
    adapted = start - inner * gradient
    if of == "support":
        query, query_labels = support, labels
    where = start if of == "before" else adapted
    value = cross_entropy(query @ where.T, query_labels, reduction=over)
    if added:
        value = value + cross_entropy(support @ start.T, labels)
    (gradient,) = torch.autograd.grad(value, start)
    if begin is None:
        return gradient
    return (adapted if begin == "adapted" else start).detach() + sign * outer * gradient


def inner_only(head, support, labels, query, query_labels, inner, outer):
    return step(head, support, labels, support, labels, 0.0, inner)


ORDER = ["random body, nearest mean", "episodes, cosine", "pixels", "episodes, MAML"]

CASES = {
    "8.1.2-a": Case(
        solution=[28, 16, 165, 256],
        wrong={
            "one task": [7, 16, 165, 256],
            "query loss out": [24, 16, 165, 256],
            "Hessian-vector products out": [16, 16, 165, 256],
            "one a task": [36, 16, 165, 256],
            "one task only": [10, 16, 165, 256],
            "counts as one here": [40, 16, 165, 256],
            "needs no Hessian": [28, 28, 165, 256],
            "has a query gradient besides": [28, 12, 165, 256],
            "number for one task": [28, 4, 165, 256],
            "a bias for each class": [28, 16, 160, 256],
            "belongs to a class": [28, 16, 192, 256],
            "these are all parameters": [28, 16, 28485, 256],
            "a scale and a shift": [28, 16, 165, 128],
            "this is one layer": [28, 16, 165, 64],
            "no part of this": [28, 16, 165, 421],
            "four numbers": [28, 16, 165],
        },
    ),
    "8.1.2-b": Case(
        solution=cosine,
        wrong={
            "factor is missing": lambda s, y, q, f: cosine(s, y, q, 1.0),
            "doesn't divide": lambda s, y, q, f: cosine(s, y, q, 1 / f),
            "queries aren't divided": lambda s, y, q, f: f * q @ normalize(means(s, y)).T,
            "means aren't divided": lambda s, y, q, f: f * normalize(q) @ means(s, y).T,
            "inner products": lambda s, y, q, f: f * q @ means(s, y).T,
            "mean of the features first": lambda s, y, q, f: cosine(normalize(s), y, q, f),
            "a length below 1": lambda s, y, q, f: f * normalize(q) @ means(normalize(s), y).T,
            "squared distances": lambda s, y, q, f: -f * (q[:, None] - means(s, y)).square().sum(2),
            "itself is asked for": lambda s, y, q, f: cosine(s, y, q, f) - f,
            "these are probabilities": lambda *a: cosine(*a).softmax(1),
            "as they first appear": lambda s, y, q, f: cosine(
                s, (y[:, None] == torch.stack([y[0], y[1], y[2]])).int().argmax(1), q, f
            ),
            "not each column": lambda s, y, q, f: (
                f * normalize(q, dim=0) @ normalize(means(s, y), dim=0).T
            ),
            "wrong sign": lambda *a: -cosine(*a),
        },
    ),
    "8.1.2-c": Case(
        solution=step,
        wrong={
            "create_graph": lambda *a: step(*a, graph=False),
            "the outer step is due": inner_only,
            "not at the adapted one": lambda *a: step(*a, begin="adapted"),
            "with respect to it": lambda *a: step(*a, begin="adapted", graph=False),
            "before adaptation": lambda *a: step(*a, of="before"),
            "judges by the support": lambda *a: step(*a, of="support"),
            "outer step goes uphill": lambda *a: step(*a, sign=1),
            "inner step goes uphill": lambda *a: step(*a[:5], -a[5], a[6]),
            "rates are exchanged": lambda *a: step(*a[:5], a[6], a[5]),
            "sets are exchanged": lambda *a: step(a[0], a[3], a[4], a[1], a[2], *a[5:]),
            "was added": lambda *a: step(*a, added=True),
            "here it is their sum": lambda *a: step(*a, over="sum"),
            "hasn't moved": lambda *a: a[0],
            "not where the step leads": lambda *a: step(*a, begin=None),
        },
    ),
    "8.1.2-d": Case(
        solution=ORDER,
        wrong={
            "from best to worst": ORDER[::-1],
            "isn't the best": [ORDER[0], ORDER[1], ORDER[3], ORDER[2]],
            "isn't the worst": [ORDER[2], ORDER[1], ORDER[0], ORDER[3]],
            "look at the column of digits": [ORDER[0], ORDER[2], ORDER[1], ORDER[3]],
            "these four names": ORDER[:3],
        },
    ),
}


def test_numbers_on_paper_may_come_as_an_array():
    for answer in (np.array([28, 16, 165, 256]), torch.tensor([28, 16, 165, 256])):
        assert check("8.1.2-a", answer)
