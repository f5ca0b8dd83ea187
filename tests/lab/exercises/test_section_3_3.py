import math

import torch

from mapping_lib.lab.exercises import Case, check


def weights_of(p, n, m):
    return n / m * (1 - p) / p


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
        solution=weights_of,
        wrong={
            "correct for that": lambda p, n, m: (1 - p) / p,
            "the wrong way round": lambda p, n, m: m / n * (1 - p) / p,
            "like the target's would count least": lambda p, n, m: m / n * p / (1 - p),
            "numbers of rows are missing": lambda p, n, m: p / (1 - p),
            "turn the fraction round": lambda p, n, m: n / m * p / (1 - p),
            "the ratio of the two is due": lambda p, n, m: 1 - p,
            "the ratio of the two probabilities is due": lambda p, n, m: n / m * (1 - p),
            "a mean of 1": lambda p, n, m: weights_of(p, n, m) / weights_of(p, n, m).mean(),
            "not the logit: its odds": lambda p, n, m: n / m * torch.exp(-p),
            "not the logit, and the numbers": lambda p, n, m: torch.exp(-p),
            "weights of sum 1": lambda p, n, m: weights_of(p, n, m) / weights_of(p, n, m).sum(),
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
            "the first row belongs": lambda *a: farthest(*a)[1:],
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
            "the natural one": lambda *a: boosted(*a, log=math.log10),
            "counts weights, not rows": lambda *a: boosted(*a, equal=True),
            "not of all": lambda *a: boosted(*a, rows=len(a[0])),
            "treated alike": adaboost,
            "divide by its sum": undivided,
        },
    ),
}


def test_weights_may_be_worth_as_a_list():
    assert check("3.3-a", [0.368, 0.0183])
