import math

import pytest
import torch

from mapping_lib.lab.exercises import Case, check
from mapping_lib.tagging import crf_marginals


def total(emissions, transitions, reduce=torch.logsumexp):
    alpha = emissions[0]
    for scores in emissions[1:]:
        alpha = scores + reduce(alpha[:, None] + transitions, 0)
    return reduce(alpha, 0)


def steps(emissions, step):
    alpha = emissions[0]
    for scores in emissions[1:]:
        alpha = scores + step(alpha)
    return alpha


def overflowing(emissions, transitions):
    alpha = emissions[0].exp()
    for scores in emissions[1:]:
        alpha = scores.exp() * (alpha @ transitions.exp())
    return alpha.sum().log()


def best(emissions, transitions, turn=True):
    score, pointers = emissions[0], []
    for scores in emissions[1:]:
        step, pointer = (score[:, None] + transitions).max(0)
        score = scores + step
        pointers.append(pointer)
    row = [score.argmax()]
    for pointer in reversed(pointers):
        row.append(pointer[row[-1]])
    return torch.stack(row[::-1] if turn else row)


def ends(emissions, transitions):
    score = emissions[0]
    row = [int(score.argmax())]
    for scores in emissions[1:]:
        score = scores + (score[:, None] + transitions).amax(0)
        row.append(int(score.argmax()))
    return row


def greedy(emissions, transitions):
    row = [int(emissions[0].argmax())]
    for scores in emissions[1:]:
        row.append(int((scores + transitions[row[-1]]).argmax()))
    return row


CASES = {
    "6.2.2-a": Case(
        solution=(0.5, 1 / 3, 0.4),
        wrong={
            "swapped": (1 / 3, 0.5, 0.4),
            "harmonic mean": (0.5, 1 / 3, 0.4167),
            "half of a name": (1.0, 0.667, 0.8),
            "counts words": (1.0, 0.5, 0.667),
            "share of right words": (0.5, 1 / 3, 0.667),
            "numbers of entities": (1, 1, 2),
            "give shares": (50, 33.3, 40),
        },
    ),
    "6.2.2-b": Case(
        solution=4 / 9,
        wrong={
            "divide it by the sum": 8,
            "has a weight, too": 1 / 6,
            "whatever stands before": 0.5,
            "not place by place": 8 / 21,
            "that is the row P, O": 1 / 3,
            "not per cent": 44.4,
        },
    ),
    "6.2.2-c": Case(
        solution=total,
        wrong={
            "the score of the best row": lambda z, A: total(z, A, torch.amax),
            "it is transposed": lambda z, A: total(z, A.T),
            "not over those after": lambda z, A: steps(
                z, lambda a: (a[:, None] + A).logsumexp(1)
            ).logsumexp(0),
            "add it as a column": lambda z, A: steps(z, lambda a: (a + A).logsumexp(0)).logsumexp(
                0
            ),
            "no step before it": lambda z, A: total(torch.cat([0 * z[:1], z]), A),
            "over the last tags": lambda z, A: steps(z, lambda a: (a[:, None] + A).logsumexp(0)),
            "transitions are missing": lambda z, A: total(z, 0 * A),
            "return its logarithm": lambda z, A: total(z, A).exp(),
            "overflows": overflowing,
            "natural logarithm": lambda z, A: total(z, A) / math.log(2),
        },
    ),
    "6.2.2-d": Case(
        solution=best,
        wrong={
            "of each place by itself": lambda z, A: z.argmax(1),
            "never goes back": greedy,
            "walk back from the last": ends,
            "not the best row": lambda z, A: crf_marginals(z[None], A)[0].argmax(1),
            "it is transposed": lambda z, A: best(z, A.T),
            "turn it round": lambda z, A: best(z, A, turn=False),
            "not a pair": lambda z, A: (best(z, A), 0.0),
            "is a dict": lambda z, A: {},
        },
    ),
}


def test_two_decimals_will_do():
    assert check("6.2.2-b", 0.44)


def test_log_partition_may_be_a_number():
    assert check("6.2.2-c", lambda z, A: total(z, A).item())


@pytest.mark.parametrize("kind", [torch.Tensor.tolist, torch.Tensor.numpy, tuple])
def test_row_may_be_of_any_kind(kind):
    assert check("6.2.2-d", lambda z, A: kind(best(z, A)))
