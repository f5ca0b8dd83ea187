import math

import pytest
import torch

from mapping_lib.lab.exercises import Case, check


def cut(matrix, kept):
    U, s, Vh = torch.linalg.svd(matrix, full_matrices=False)
    return U[:, kept] * s[kept] @ Vh[kept]


def without_singular_values(before, after, rank):
    U, _, Vh = torch.linalg.svd(after - before, full_matrices=False)
    return U[:, :rank] @ Vh[:rank]


def transposed_again(before, after, rank):
    U, s, V = torch.linalg.svd(after - before, full_matrices=False)
    return U[:, :rank] * s[:rank] @ V[:, :rank].T


def squared(before, after, rank):
    U, s, Vh = torch.linalg.svd(after - before, full_matrices=False)
    return U[:, :rank] * s[:rank].square() @ Vh[:rank]


def pooled(means, variances, counts):
    share = counts / counts.sum()
    mean = (share * means).sum()
    return mean, (share * (variances + (means - mean) ** 2)).sum()


def unbiased(means, variances, counts):
    mean, variance = pooled(means, variances, counts)
    n = counts.sum()
    return mean, variance * n / (n - 1)


def within(means, variances, counts):
    share = counts / counts.sum()
    return (share * means).sum(), (share * variances).sum()


def unweighted(means, variances, counts):
    return pooled(means, variances, torch.ones_like(counts))


def diversity(logits):
    mean = logits.softmax(1).mean(0)
    return -(mean * mean.clamp_min(1e-30).log()).sum()


def entropies(p, axis=-1):
    return -(p * p.log()).sum(axis)


def of_the_commonest(logits):
    shares = logits.argmax(1).bincount(minlength=logits.shape[1]).double() / len(logits)
    return -shares.xlogy(shares).sum()


CASES = {
    "3.2-a": Case(
        solution=1 / 1024,
        wrong={
            "its square is asked for": 1 / 32,
            "without the ReLUs": 1.0,
            "one layer": 0.5,
            "not larger": 1024,
            "the first and the last": 1 / 512,
            "the exponent": -10,
        },
    ),
    "3.2-b": Case(
        solution=lambda before, after, rank: cut(after - before, slice(rank)),
        wrong={
            "the change from the old one is due": lambda b, a, r: cut(a, slice(r)),
            "the change alone is due": lambda b, a, r: b + cut(a - b, slice(r)),
            "singular values are missing": without_singular_values,
            "the smallest": lambda b, a, r: cut(a - b, slice(-r, None)),
            "of full rank": lambda b, a, r: a - b,
            "one singular value too many": lambda b, a, r: cut(a - b, slice(r + 1)),
            "one singular value is missing": lambda b, a, r: cut(a - b, slice(r - 1)),
            "as rows already": transposed_again,
            "not squared": squared,
            "weights' approximations": lambda b, a, r: cut(a, slice(r)) - cut(b, slice(r)),
            "wrong sign": lambda b, a, r: cut(b - a, slice(r)),
        },
    ),
    "3.2-c": Case(
        solution=pooled,
        wrong={
            "that is variance, too": within,
            "within the batches is missing": lambda m, v, n: pooled(m, 0 * v, n),
            "the mean comes first": lambda *a: pooled(*a)[::-1],
            "as much as the values it holds": unweighted,
            "as much as its values, and": lambda m, v, n: (m.mean(), v.mean()),
            "not by n - 1": unbiased,
            "the square of the mean": lambda m, v, n: (
                (n * m).sum() / n.sum(),
                (n * (v + m**2)).sum() / n.sum(),
            ),
            "by the counts, as": lambda m, v, n: (
                (n * m).sum() / n.sum(),
                (n * v).sum() / n.sum() + m.var(correction=0),
            ),
            "and not by k - 1": lambda m, v, n: (
                (n * m).sum() / n.sum(),
                (n * v).sum() / n.sum() + m.var(),
            ),
            "its square is due": lambda *a: (pooled(*a)[0], pooled(*a)[1].sqrt()),
        },
    ),
    "3.2-d": Case(
        solution=diversity,
        wrong={
            "Tent's own loss": lambda z: entropies(z.softmax(1)).mean(),
            "take probabilities first": lambda z: entropies(z.mean(0).softmax(0)),
            "not over the classes": lambda z: entropies(z.softmax(1).mean(1)),
            "in bits": lambda z: diversity(z) / torch.tensor(2.0).log(),
            "is NaN: take 0 log 0 as 0": lambda z: entropies(z.softmax(1).mean(0)),
            "not over the rows": lambda z: entropies(z.softmax(0).mean(0)),
            "add up": lambda z: torch.special.entr(z.softmax(1).mean(0)).mean(),
            "divided by log K": lambda z: diversity(z) / math.log(z.shape[1]),
            "the most probable": of_the_commonest,
            "less the mean of the entropies": lambda z: (
                diversity(z) - entropies(z.softmax(1).clamp_min(1e-30)).mean()
            ),
        },
    ),
}


def test_the_warning_light_may_be_a_float():
    assert check("3.2-d", lambda logits: float(diversity(logits)))


@pytest.mark.parametrize("answer", [0.001, 0.00098, 0.000977])
def test_the_factor_may_be_rounded(answer):
    assert check("3.2-a", answer)
