import torch

from mapping_lib.lab.exercises import Case, check


def barycentres(plan, target):
    return plan @ target / plan.sum(1, keepdim=True)


def information(counts):
    p = counts / counts.sum()
    independent = p.sum(1, keepdim=True) * p.sum(0)
    seen = p > 0
    return (p[seen] * (p[seen] / independent[seen]).log()).sum()


def independent_share(counts):
    p = counts / counts.sum()
    return p.sum(1, keepdim=True) * p.sum(0)


def weighted(counts, by):
    p = counts / counts.sum()
    return (by * (p / independent_share(counts)).log())[p > 0].sum()


def entropy(p):
    return -(p[p > 0] * p[p > 0].log()).sum()


def nan_information(counts):
    p = counts / counts.sum()
    return (p * (p / (p.sum(1, keepdim=True) * p.sum(0))).log()).sum()


def score(source, labels, target, classify):
    guesses = classify(source, labels, target)
    return (classify(target, guesses, source) == labels).double().mean()


CASES = {
    "3.1-a": Case(
        solution=(2.5, -8.5),
        wrong={
            "has to be the other way": (0.4, -1 - 0.4 * 3),
            "not of variances": (6.25, -1 - 6.25 * 3),
            "not the mean 3": (2.5, -4),
            "swapped": (-8.5, 2.5),
            "the bias has the wrong sign": (2.5, 8.5),
            "only 0 does": (2.5, -1),
            "not added": (2.5, -1 + 2.5 * 3),
        },
    ),
    "3.1-b": Case(
        solution=barycentres,
        wrong={
            "divided by the mass that it sends": lambda plan, target: plan @ target,
            "that of the rows is due": lambda plan, target: plan / plan.sum(0) @ target,
            "don't send 1/n each": lambda plan, target: len(plan) * plan @ target,
            "not the mean of all": lambda plan, target: target[plan.argmax(1)],
            "a mean of its own": lambda plan, target: target.mean(0).repeat(len(plan), 1),
            "without a softmax": lambda plan, target: plan.softmax(1) @ target,
            "the matrix of moved rows is": lambda plan, target: 0 * (plan @ target),
        },
    ),
    "3.1-c": Case(
        solution=information,
        wrong={
            "0 · log 0": nan_information,
            "multiplied by p(b, c), not": lambda counts: weighted(
                counts, independent_share(counts)
            ),
            "to be multiplied by p(b, c)": lambda counts: weighted(counts, torch.tensor(1.0)),
            "in bits": lambda counts: information(counts) / torch.tensor(2.0).log(),
            "divided by their sum": lambda counts: counts.sum() * information(counts),
            "entropy of the table": lambda counts: entropy(counts / counts.sum()),
            "of the bins alone": lambda counts: entropy((counts / counts.sum()).sum(1)),
            "of the classes alone": lambda counts: entropy((counts / counts.sum()).sum(0)),
            "the classes' entropy, not what": lambda counts: (
                entropy((counts / counts.sum()).sum(0)) - information(counts)
            ),
            "the bins' entropy, not what": lambda counts: (
                entropy((counts / counts.sum()).sum(1)) - information(counts)
            ),
        },
    ),
    "3.1-d": Case(
        solution=score,
        wrong={
            "not their share": lambda *a: score(*a) * len(a[1]),
            "share of wrong answers": lambda *a: 1 - score(*a),
            "in percent": lambda *a: 100 * score(*a),
            "number of target rows": lambda *a: score(*a) * len(a[0]) / len(a[2]),
            "classified by themselves": lambda source, labels, target, classify: (
                (classify(source, labels, source) == labels).double().mean()
            ),
        },
    ),
}


def test_mutual_information_may_be_a_float():
    assert check("3.1-c", lambda counts: float(information(counts)))
    assert "0 · log 0" in check("3.1-c", lambda counts: float(nan_information(counts))).message
