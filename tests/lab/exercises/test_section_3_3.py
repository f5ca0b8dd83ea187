import math

import numpy as np
import pytest
import torch
from sklearn.linear_model import LinearRegression

from mapping_lib.lab.exercises import Case, check


def weighted_line(x, y, weights):
    share = weights / weights.sum()
    dx, dy = x - (share * x).sum(), y - (share * y).sum()
    slope = (share * dx * dy).sum() / (share * dx**2).sum()
    return slope, (share * (y - slope * x)).sum()


def solved(columns, due):
    return torch.linalg.lstsq(torch.stack(columns, 1), due[:, None]).solution[:, 0]


def farthest(rows, first, count, score=lambda near, chosen: near[:, chosen].amin(1)):
    near, chosen = torch.cdist(rows, rows), [first]
    while len(chosen) < count:
        value = score(near, chosen).clone()
        value[chosen] = -1
        chosen.append(int(value.argmax()))
    return torch.tensor(chosen)


def nearest(rows, first, count):
    near, chosen = torch.cdist(rows, rows), [first]
    while len(chosen) < count:
        value = near[:, chosen].amin(1)
        value[chosen] = torch.inf
        chosen.append(int(value.argmin()))
    return torch.tensor(chosen)


def boosted(
    weights,
    wrong,
    n,
    rounds,
    *,
    two=2.0,
    rows=None,
    error_over=slice(5, None),
    sign=-1,
    up=False,
    log=math.log,
    equal=False,
):
    wrong = wrong.double()
    beta = 1 / (1 + math.sqrt(two * log(rows or n) / rounds))
    part = slice(n, None) if error_over == slice(5, None) else error_over
    error = (weights[part] * wrong[part]).sum() / weights[part].sum()
    error = wrong[n:].mean() if equal else error
    factor = error / (1 - error)
    source = (1 / beta if up else beta) ** wrong[:n]
    new = torch.cat([weights[:n] * source, weights[n:] * factor ** (sign * wrong[n:])])
    return new / new.sum()


def unscaled(weights, wrong, n, rounds):
    new = boosted(weights, wrong, n, rounds)
    return new * (weights[1] / new[1])


def adaboost(weights, wrong, n, rounds):
    error = (weights[n:] * wrong[n:]).sum() / weights[n:].sum()
    new = weights * (error / (1 - error)) ** -wrong.double()
    return new / new.sum()


def undivided(weights, wrong, n, rounds):
    error = (weights[n:] * wrong[n:]).sum()
    beta = 1 / (1 + math.sqrt(2 * math.log(n) / rounds))
    factor = error / (1 - error)
    new = torch.cat(
        [weights[:n] * beta ** wrong[:n].double(), weights[n:] * factor ** -wrong[n:].double()]
    )
    return new / new.sum()


def in_blocks(rows, first, count):
    near = torch.cdist(rows, rows, p=1)
    return farthest(rows, first, count, lambda _, chosen: near[:, chosen].amin(1))


def from_the_mean(rows, first, count):
    return farthest(rows, first, count, lambda _, chosen: (rows - rows[chosen].mean(0)).norm(dim=1))


def round_of(weights, wrong, n, beta, factor):
    change = torch.cat([beta ** wrong[:n].double(), factor ** -wrong[n:].double()])
    return weights * change / (weights * change).sum()


def error_of(weights, wrong, n):
    return (weights[n:] * wrong[n:]).sum() / weights[n:].sum()


def beta_of(n, rounds):
    return 1 / (1 + math.sqrt(2 * math.log(n) / rounds))


def without_root(weights, wrong, n, rounds):
    error = error_of(weights, wrong, n)
    beta = 1 / (1 + 2 * math.log(n) / rounds)
    return round_of(weights, wrong, n, beta, error / (1 - error))


def source_alone(weights, wrong, n, rounds):
    return round_of(weights, wrong, n, beta_of(n, rounds), torch.tensor(1.0))


def target_alone(weights, wrong, n, rounds):
    error = error_of(weights, wrong, n)
    return round_of(weights, wrong, n, 1.0, error / (1 - error))


def plain_error(weights, wrong, n, rounds):
    return round_of(weights, wrong, n, beta_of(n, rounds), error_of(weights, wrong, n))


def right_rows(weights, wrong, n, rounds):
    error = error_of(weights, wrong, n)
    return round_of(weights, ~wrong, n, beta_of(n, rounds), error / (1 - error))


def each_by_itself(*arguments):
    new, n = boosted(*arguments), arguments[2]
    return torch.cat([new[:n] / new[:n].sum(), new[n:] / new[n:].sum()])


CASES = {
    "3.3-a": Case(
        solution=(math.exp(-1), math.exp(-4)),
        wrong={
            "in the other order": (math.exp(-4), math.exp(-1)),
            "one over the share": (math.exp(1), math.exp(4)),
            "isn't halved": (math.exp(-1 / 2), math.exp(-4 / 2)),
            "enters squared": (math.exp(-1), math.exp(-2)),
            "the mean of w is 1": (1, 1),
        },
    ),
    "3.3-b": Case(
        solution=weighted_line,
        wrong={
            "without weights": lambda x, y, w: weighted_line(x, y, torch.ones_like(w)),
            "enter squared": lambda x, y, w: np.polyfit(x.numpy(), y.numpy(), 1, w=w.numpy()),
            "column of ones": lambda x, y, w: solved(
                [w.sqrt() * x, torch.ones_like(x)], w.sqrt() * y
            ),
            "through the origin": lambda x, y, w: ((w * x * y).sum() / (w * x * x).sum(), 0.0),
            "the weighted means": lambda x, y, w: (
                weighted_line(x, y, w)[0],
                y.mean() - weighted_line(x, y, w)[0] * x.mean(),
            ),
            "the slope comes first": lambda x, y, w: weighted_line(x, y, w)[::-1],
        },
    ),
    "3.3-c": Case(
        solution=farthest,
        wrong={
            "the nearest one": nearest,
            "the row chosen last alone": lambda *a: farthest(*a, lambda d, c: d[:, c[-1]]),
            "the largest distance": lambda *a: farthest(*a, lambda d, c: d[:, c].amax(1)),
            "the mean distance": lambda *a: farthest(*a, lambda d, c: d[:, c].mean(1)),
            "farthest from the first one": lambda *a: farthest(*a, lambda d, c: d[:, c[0]]),
            "isn't always row 0": lambda rows, first, count: farthest(rows, 0, count),
            "the first row belongs": lambda *a: farthest(*a)[1:],
            "counts as one of them": lambda r, first, n: farthest(r, first, n + 1)[1:],
            "another distance": in_blocks,
            "not the mean of those chosen": from_the_mean,
            "in another order": lambda *a: farthest(*a).sort().values,
        },
    ),
    "3.3-d": Case(
        solution=boosted,
        wrong={
            "divided by their sum": unscaled,
            "counted on the target's rows alone": lambda *a: boosted(*a, error_over=slice(None)),
            "they have to gain": lambda *a: boosted(*a, sign=1),
            "they have to lose": lambda *a: boosted(*a, up=True),
            "lacks the factor 2": lambda *a: boosted(*a, two=1.0),
            "not of the target's": lambda *a: boosted(*a, rows=len(a[0]) - a[2]),
            "not that to base 10": lambda *a: boosted(*a, log=math.log10),
            "not that to base 2": lambda *a: boosted(*a, log=math.log2),
            "the root around": without_root,
            "have to lose weight as well": target_alone,
            "have to gain weight as well": source_alone,
            "rows that are right": right_rows,
            "not ε": plain_error,
            "share one sum": each_by_itself,
            "counts weights, not rows": lambda *a: boosted(*a, equal=True),
            "not of all": lambda *a: boosted(*a, rows=len(a[0])),
            "treated alike": adaboost,
            "divide by its sum": undivided,
        },
    ),
}


def test_weights_may_be_worth_as_a_list():
    assert check("3.3-a", [0.368, 0.0183])


@pytest.mark.parametrize("kind", [list, tuple, np.array, torch.tensor])
def test_a_line_may_be_any_pair(kind):
    assert check("3.3-b", lambda *a: kind([float(part) for part in weighted_line(*a)]))


def test_the_line_is_scikit_learns():
    def answer(x, y, weights):
        model = LinearRegression().fit(x[:, None], y, sample_weight=weights)
        return model.coef_[0], model.intercept_

    assert check("3.3-b", answer)
    assert check("3.3-b", lambda x, y, w: weighted_line(x, y, 10 * w))
    assert check("3.3-b", lambda x, y, w: np.polyfit(x.numpy(), y.numpy(), 1, w=w.sqrt().numpy()))
