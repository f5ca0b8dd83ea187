import pytest
import torch
from torch.nn.functional import normalize

from mapping_lib.lab.exercises import Case, check
from mapping_lib.speech import detection_errors


def cost(scores, same, prior, swapped=False, last=True):
    _, accepts, rejects = detection_errors(scores, same)
    if swapped:
        prior = 1 - prior
    found = prior * rejects + (1 - prior) * accepts
    return (found if last else found[:-1]).min()


def but_for_all(scores, same, prior):
    _, accepts, rejects = detection_errors(scores, same)
    return (prior * rejects + (1 - prior) * accepts)[1:].min()


def of_all(scores, same, prior):
    _, accepts, rejects = detection_errors(scores, same)
    wrong = prior * rejects * same.sum() + (1 - prior) * accepts * (~same).sum()
    return (wrong / len(same)).min()


def at_equal(scores, same, prior):
    _, accepts, rejects = detection_errors(scores, same)
    k = (accepts - rejects <= 0).nonzero()[0]
    return (prior * rejects + (1 - prior) * accepts)[k]


def unweighed(scores, same, prior):
    _, accepts, rejects = detection_errors(scores, same)
    return (accepts + rejects).min()


def named(enrolled, speakers, claims, first=True, last=True):
    unit = normalize(enrolled, dim=1) if first else enrolled
    means = torch.stack([unit[speakers == k].mean(0) for k in speakers.unique()])
    return (claims @ (normalize(means, dim=1) if last else means).T).argmax(1)


def by_distance(enrolled, speakers, claims):
    unit = normalize(enrolled, dim=1)
    means = torch.stack([unit[speakers == k].mean(0) for k in speakers.unique()])
    return torch.cdist(claims, means).argmin(1)


def by_sums(enrolled, speakers, claims):
    unit = normalize(enrolled, dim=1)
    sums = torch.stack([unit[speakers == k].sum(0) for k in speakers.unique()])
    return (claims @ sums.T).argmax(1)


def nearest(enrolled, speakers, claims):
    return (claims @ normalize(enrolled, dim=1).T).argmax(1)


CASES = {
    "6.3.2-a": Case(
        solution=(1 / 5, 3 / 4, 1 / 4),
        wrong={
            "swapped": (0.75, 0.2, 0.25),
            "not by all nine": (1 / 9, 3 / 9, 0.25),
            "of which there are five": (0.25, 0.75, 0.25),
            "rejected, not accepted": (0.2, 0.25, 0.25),
            "isn't the mean": (0.2, 0.75, 0.475),
            "after the two errors have passed": (0.2, 0.75, 0.2),
            "those are the false accepts before": (0.2, 0.75, 0.4),
            "where they are nearest": (0.2, 0.75, 0.225),
            "mean of the two errors before": (0.2, 0.75, 0.325),
            "not per cent": (20, 75, 25),
            "numbers of trials": (1, 3, 0.25),
        },
    ),
    "6.3.2-b": Case(
        solution=(0.7071, 0),
        wrong={
            "swapped": (0, 0.7071),
            "isn't of length 1": (0.5, 0),
            "the other utterance alone": (0.7071, 0.7071),
            "the mean of two": (1, 0),
        },
    ),
    "6.3.2-c": Case(
        solution=cost,
        wrong={
            "1 - prior the false accepts": lambda s, y, p: cost(s, y, p, swapped=True),
            "accept nobody": lambda s, y, p: cost(s, y, p, last=False),
            "both errors are equal": at_equal,
            "aren't weighed": unweighed,
            "accept everybody": but_for_all,
            "a share of the trials of its own kind": of_all,
            "the two kinds are exchanged": lambda s, y, p: cost(s, ~y, p),
            "is too small": lambda s, y, p: 0.01,
        },
    ),
    "6.3.2-d": Case(
        solution=named,
        wrong={
            "before you average": lambda e, s, c: named(e, s, c, first=False),
            "a cosine": lambda e, s, c: named(e, s, c, last=False),
            "nearest single clip": lambda e, s, c: s[nearest(e, s, c)],
            "not of its speaker": nearest,
            "not the scores": lambda e, s, c: c @ e[:4].T,
            "the nearest by distance": by_distance,
            "more clips": by_sums,
            "numbered from 0": lambda e, s, c: named(e, s, c) + 1,
        },
    ),
}


@pytest.mark.parametrize("kind", [torch.Tensor.tolist, torch.Tensor.numpy])
def test_speakers_may_be_a_list_or_an_array(kind):
    assert check("6.3.2-d", lambda e, s, c: kind(named(e, s, c)))


def test_the_largest_cosines_are_no_speakers():
    message = check("6.3.2-d", lambda e, s, c: (c @ e.T).amax(1)).message
    assert "the number of the best speaker" in message
