"""The exercises of section 8.3.1: their solutions and plausible wrong answers."""

import numpy as np
import pytest
import torch

from mapping_lib.lab.exercises import Case, check


def regrets(chosen, scores):
    return scores.amax(1) - scores.gather(1, chosen[:, None])[:, 0]


def stalled(losses, patience):
    before, last = losses[:-patience], losses[-patience:]
    return bool(before) and min(last) > min(before)


def shares(scores):
    best = scores == scores.amax(1, keepdim=True)
    return (best / best.sum(1, keepdim=True)).mean(0)


def first_of_ties(scores):
    places = torch.nn.functional.one_hot(scores.argmax(1), scores.shape[1])
    return places.double().mean(0)


CASES = {
    "8.3.1-a": Case(
        solution=[0.15, 0.08],
        wrong={
            "two numbers": 0.15,
            "mean accuracy; the regret": [0.75, 0.08],
            "worst choice": [0.4, 0.08],
            "divide by four": [0.2, 0.08],
            "sum of the regrets": [0.6, 0.08],
            "isn't negative": [-0.15, 0.08],
            "weigh the misses": [0.15, 0.12],
            "regret of a miss": [0.15, 0.2],
            "other three": [0.15, 0.06],
            "expected accuracy": [0.15, 0.82],
        },
    ),
    "8.3.1-b": Case(
        solution=regrets,
        wrong={
            "each row has its own best": lambda c, s: s.max() - s.gather(1, c[:, None])[:, 0],
            "subtract it from the best": lambda c, s: s.gather(1, c[:, None])[:, 0],
            "subtract what the chosen is worth": lambda c, s: s.amax(1),
            "the sign is wrong": lambda c, s: -regrets(c, s),
            "with the mean, not with the best": (
                lambda c, s: s.mean(1) - s.gather(1, c[:, None])[:, 0]
            ),
            "wrong axis": lambda c, s: s.amax(0),
            "not their mean": lambda c, s: regrets(c, s).mean(),
            "regret of chance": lambda c, s: s.amax(1) - s.mean(1),
            "not a share": lambda c, s: 1 - s.gather(1, c[:, None])[:, 0] / s.amax(1),
            "counted from 0": lambda c, s: regrets((c - 1) % s.shape[1], s),
            "same candidate": lambda c, s: s.amax(1) - s[:, 0],
            "broadcast to a square": lambda c, s: s.amax(1) - s[:, c],
        },
    ),
    "8.3.1-c": Case(
        solution=stalled,
        wrong={
            "got 1": lambda losses, patience: 1,
            "should open a group: the last 2 are all above": lambda losses, patience: False,
            "should open nothing: the last one is below": lambda losses, patience: True,
            "one of the last 2 is below": lambda losses, patience: (
                len(losses) > patience and losses[-1] > min(losses[:-patience])
            ),
            "the best so far is 0.2": lambda losses, patience: (
                len(losses) > patience and min(losses[-patience:]) > losses[-patience - 1]
                if losses[-1] != 0.4
                else False
            ),
            "not the latest one": lambda losses, patience: (
                len(losses) > patience and min(losses[-patience:]) > losses[-patience - 1]
            ),
            "isn't larger than the best": lambda losses, patience: (
                len(losses) > patience and min(losses[-patience:]) >= min(losses[:-patience])
            ),
            "no loss before": lambda losses, patience: (
                min(losses[-patience:]) > min(losses[:-patience], default=0.0)
            ),
        },
    ),
    "8.3.1-d": Case(
        solution=shares,
        wrong={
            "first of them": first_of_ties,
            "more than 1": lambda s: (s == s.amax(1, keepdim=True)).double().mean(0),
            "these are counts": lambda s: len(s) * shares(s),
            "columns sources": lambda s: (s == s.amax(0)).double().mean(0),
            "mean scores": lambda s: s.mean(0),
            "divide each row before the mean": lambda s: (
                (best := (s == s.amax(1, keepdim=True)).double().mean(0)) / best.sum()
            ),
        },
    ),
}


@pytest.mark.parametrize("kind", [torch.tensor, np.bool_])
def test_a_rule_may_return_the_booleans_of_a_library(kind):
    assert check("8.3.1-c", lambda losses, patience: kind(stalled(losses, patience)))


@pytest.mark.parametrize("kind", [tuple, np.array, torch.tensor])
def test_numbers_on_paper_may_come_in_any_sequence(kind):
    assert check("8.3.1-a", kind([0.15, 0.08]))
