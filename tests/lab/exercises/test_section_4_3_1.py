"""The exercises of section 4.3.1: their solutions and plausible wrong answers."""

import math

import numpy as np
import torch
from torch.nn.functional import logsigmoid

from mapping_lib.lab.exercises import Case, check


def entropy(p):
    return torch.special.entr(p).sum(-1)


def information_by_logarithms(z):
    p = z.softmax(1)
    return -(p * p.log()).sum(1).mean() + (p.mean(0) * p.mean(0).log()).sum()


def rows_only(z):
    p = z.softmax(1)
    return entropy(p).mean() + (p.mean(0) * p.mean(0).log()).sum()


def adversarial(source, target):
    return -(logsigmoid(source).mean() + logsigmoid(-target).mean()) / 2


def with_probabilities(source, target):
    p, q = torch.sigmoid(source), torch.sigmoid(target)
    return -(p.log().mean() + (1 - q).log().mean()) / 2


def by_softmax(source, target):
    rows = torch.cat([source, target]).unsqueeze(1).log_softmax(1)
    return -rows.mean()


CASES = {
    "4.3.1-a": Case(
        solution=[1.4, 0.8, 0.3],
        wrong={
            "twice that": [0.7, 0.8, 0.3],
            "must come to 0": [1.7, 0.8, 0.3],
            "share of right answers": [0.85, 0.8, 0.3],
            "factor ½": [1.4, 1.5, 0.3],
            "joint risk is missing": [1.4, 0.74, 0.3],
            "source risk is missing": [1.4, 0.76, 0.3],
            "half of it": [1.4, 0.8, 0.6],
            "can't be 0": [1.4, 0.8, 0.0],
            "difference that counts": [1.4, 0.8, 0.8],
            "three numbers": 0.8,
        },
    ),
    "4.3.1-b": Case(
        solution=adversarial,
        wrong={
            "softmax over a single logit": by_softmax,
            "two means": lambda s, t: -torch.cat([logsigmoid(s), logsigmoid(-t)]).mean(),
            "exchanged": lambda s, t: adversarial(-s, -t),
            "label 1": lambda s, t: adversarial(s, -t),
            "halved": lambda s, t: 2 * adversarial(s, t),
            "wrong sign": lambda s, t: -adversarial(s, t),
            "infinite or NaN": with_probabilities,
            "cut it off": lambda s, t: adversarial(s.clamp(-30, 30), t.clamp(-30, 30)),
        },
    ),
    "4.3.1-c": Case(
        solution=lambda p, gamma: 2 / (1 + math.exp(-gamma * p)) - 1,
        wrong={
            "the share for (p, γ) in [(0.0, 10.0)": lambda p, gamma: 1 - math.exp(-gamma * p),
            "γ isn't used": lambda p, gamma: 2 / (1 + math.exp(-p)) - 1,
            "begin at 0": lambda p, gamma: 2 / (1 + math.exp(-gamma * p)),
            "begins at ½": lambda p, gamma: 1 / (1 + math.exp(-gamma * p)),
            "it falls": lambda p, gamma: 2 / (1 + math.exp(gamma * p)) - 1,
            "twice as fast": lambda p, gamma: math.tanh(gamma * p),
        },
    ),
    "4.3.1-d": Case(
        solution=lambda z: entropy(z.softmax(1)).mean() - entropy(z.softmax(1).mean(0)),
        wrong={
            "entropy minimisation alone": lambda z: entropy(z.softmax(1)).mean(),
            "sign is wrong": lambda z: entropy(z.softmax(1)).mean() + entropy(z.softmax(1).mean(0)),
            "change the sign": lambda z: (
                entropy(z.softmax(1).mean(0)) - entropy(z.softmax(1)).mean()
            ),
            "not the logits": lambda z: (
                entropy(z.softmax(1)).mean() - entropy(z.mean(0).softmax(0))
            ),
            "summed": lambda z: entropy(z.softmax(1)).sum() - entropy(z.softmax(1).mean(0)),
            "infinite or NaN where one is 0": information_by_logarithms,
            "NaN where the mean of a class is 0": rows_only,
            "not where the mean": lambda z: rows_only(z).nan_to_num(),
        },
    ),
    "4.3.1-e": Case(
        solution=lambda z, n_s, n_t: n_s / n_t * torch.exp(-z),
        wrong={
            "three times as many": lambda z, n_s, n_t: torch.exp(-z),
            "upside down": lambda z, n_s, n_t: n_t / n_s * torch.exp(-z),
            "must weigh more": lambda z, n_s, n_t: n_s / n_t * torch.exp(z),
            "all of it": lambda z, n_s, n_t: n_t / n_s * torch.exp(z),
            "probability of the target, not": lambda z, n_s, n_t: torch.sigmoid(-z),
            "divide by that": lambda z, n_s, n_t: n_s / n_t * torch.sigmoid(-z),
        },
    ),
}


def test_numbers_from_paper_may_stand_in_an_array():
    assert check("4.3.1-a", np.array([1.4, 0.8, 0.3]))


def test_entropies_with_a_small_number_in_the_logarithm_are_right():
    def loss(z):
        p = z.softmax(1)
        rows = -(p * (p + 1e-12).log()).sum(1).mean()
        return rows + (p.mean(0) * (p.mean(0) + 1e-12).log()).sum()

    assert check("4.3.1-d", loss)
