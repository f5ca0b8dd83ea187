import math
from collections import Counter

import torch

from mapping_lib.lab.exercises import Case


def smooth(labels, classes, share):
    return (1 - share) * torch.eye(classes)[labels] + share / classes


def without_own(labels, classes, share):
    one_hot = torch.eye(classes)[labels]
    return (1 - share) * one_hot + share / classes * (1 - one_hot)


def to_others(labels, classes, share):
    one_hot = torch.eye(classes)[labels]
    return (1 - share) * one_hot + share / (classes - 1) * (1 - one_hot)


def f_score(found, wanted, order, square=4, clip=True):
    have, due = (
        Counter(text[k : k + order] for k in range(len(text) - order + 1))
        for text in (found, wanted)
    )
    if clip:
        common = sum(min(count, due[gram]) for gram, count in have.items())
    else:
        common = sum(count for gram, count in have.items() if gram in due)
    if not common:
        return 0.0
    precision, recall = common / sum(have.values()), common / sum(due.values())
    return (1 + square) * precision * recall / (square * precision + recall)


def cut(found, wanted, order, step=1, more=0):
    have, due = (
        Counter(text[k : k + order] for k in range(0, len(text) - order + 1 + more, step))
        for text in (found, wanted)
    )
    common = sum(min(count, due[gram]) for gram, count in have.items())
    if not common:
        return 0.0
    precision, recall = common / sum(have.values()), common / sum(due.values())
    return 5 * precision * recall / (4 * precision + recall)


def divides_by_none(found, wanted, order):
    have, due = (
        Counter(text[k : k + order] for k in range(len(text) - order + 1))
        for text in (found, wanted)
    )
    common = sum(min(count, due[gram]) for gram, count in have.items())
    precision, recall = common / sum(have.values()), common / sum(due.values())
    return 5 * precision * recall / (4 * precision + recall) if common else 0.0


def carried(table, old, fresh, new):
    child = fresh.clone()
    for row, symbol in enumerate(new):
        if symbol in old:
            child[row] = table[old.index(symbol)]
    return child


def but_the_first(table, old, fresh, new):
    child = carried(table, old, fresh, new)
    child[0] = fresh[0]
    return child


def with_means(table, old, fresh, new):
    return carried(table, old, table.mean(0).expand_as(fresh), new)


def by_place(table, old, fresh, new):
    return torch.cat([table, fresh[len(table) :]])


def with_zeros(table, old, fresh, new):
    return carried(table, old, torch.zeros_like(fresh), new)


MEAN, PENALTY = (4 / 5 * 3 / 4 * 2 / 3) ** (1 / 4), math.exp(-1 / 3)

CASES = {
    "6.2.3-a": Case(
        solution=MEAN * PENALTY,
        wrong={
            "the penalty for that is missing": MEAN,
            "geometric mean": (1 + 4 / 5 + 3 / 4 + 2 / 3) / 4 * PENALTY,
            "fourth root": MEAN**4 * PENALTY,
            "reference over translation": MEAN * math.exp(1 / 4),
            "not the ratio": MEAN * 6 / 8,
            "can't be above 1": MEAN * math.exp(1 / 3),
        },
    ),
    "6.2.3-b": Case(
        solution=smooth,
        wrong={
            "add up to 0.98": without_own,
            "not to the K − 1 others": to_others,
            "for each class, not ε": lambda y, k, s: (1 - s) * torch.eye(k)[y] + s,
            "keeps too much": lambda y, k, s: torch.eye(k)[y] + s / k,
            "nothing is smoothed": lambda y, k, s: torch.eye(k)[y],
        },
    ),
    "6.2.3-c": Case(
        solution=f_score,
        wrong={
            "here it is 1": lambda f, w, n: f_score(f, w, n, square=1),
            "4, not 2": lambda f, w, n: f_score(f, w, n, square=2),
            "swapped": lambda f, w, n: f_score(w, f, n),
            "at most as often": lambda f, w, n: f_score(f, w, n, clip=False),
            "the last n-gram is missing": lambda f, w, n: cut(f, w, n, more=-1),
            "shorter than n": lambda f, w, n: cut(f, w, n, more=n - 1),
            "n-grams overlap": lambda f, w, n: cut(f, w, n, step=n),
            "not of all lengths": lambda f, w, n: sum(cut(f, w, k) for k in range(1, n + 1)) / n,
            "given `('el', 'del', 3)`": divides_by_none,
        },
    ),
    "6.2.3-d": Case(
        solution=carried,
        wrong={
            "not by their place": by_place,
            "don't set them to 0": with_zeros,
            "number 0": but_the_first,
            "keep the rows of the new table": with_means,
            "as it was": lambda table, old, fresh, new: fresh,
            "that is the parent's table": lambda table, old, fresh, new: table,
        },
    ),
}
