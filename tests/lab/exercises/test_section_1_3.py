import pytest
import torch

from mapping_lib.lab.exercises import Case, check


def price(validation, target):
    chosen = target.gather(1, validation.argmax(1, keepdim=True)).squeeze(1)
    return target.max(1).values - chosen


def verdicts(with_source, without):
    d = with_source - without
    half = 2.776 * d.std(1) / 5**0.5
    return (d.mean(1) > half).long() - (d.mean(1) < -half).long()


def unpaired(with_source, without):
    mean = with_source.mean(1) - without.mean()
    half = 2.776 * ((with_source.var(1) + without.var()) / 5).sqrt()
    return (mean > half).long() - (mean < -half).long()


def width(errors):
    """Verdicts by an interval that is so many standard errors wide on each side."""

    def answer(with_source, without):
        d = with_source - without
        half = errors * d.std(1) / 5**0.5
        return (d.mean(1) > half).long() - (d.mean(1) < -half).long()

    return answer


CASES = {
    "1.3-a": Case(
        solution=(2.0, 2.776),
        wrong={
            "not divided by √5": (2, 2.776 * 5**0.5),
            "divides by n - 1": (2, 2.776 * 2 / 5**0.5),
            "half of it is asked": (2, 2 * 2.776),
            "quantile 2.776 is missing": (2, 1),
            "taken as independent": (2, 2.776 * (23 / 5) ** 0.5),
            "no independent groups": (2, 2.306 * (23 / 5) ** 0.5),
            "that is the standard deviation": (2, 5**0.5),
            "without minus with": (-2, 2.776),
            "the ends of the interval": (2 - 2.776, 2 + 2.776),
            "the mean comes first": (2.776, 2),
            "1.96 is for many seeds": (2, 1.96),
        },
    ),
    "1.3-b": Case(
        solution=price,
        wrong={
            "the sign is turned": lambda v, t: -price(v, t),
            "not what it lacks": lambda v, t: t.max(1).values - price(v, t),
            "score itself was taken": lambda v, t: t.max(1).values - v.max(1).values,
            "for each method": lambda v, t: t.max(1).values - t[:, v.mean(0).argmax()],
            "oracle of its own": lambda v, t: t.max() - t.max(1).values + price(v, t),
        },
    ),
    "1.3-c": Case(
        solution=verdicts,
        wrong={
            "the signs are turned": lambda a, b: -verdicts(a, b),
            "is no verdict": lambda a, b: (a - b).mean(1).sign().long(),
            "as without pairing": unpaired,
            "divided by √5": width(2.776 * 5**0.5),
            "by √5, not by 5": width(2.776 / 5**0.5),
            "quantile 2.776 is missing": width(1.0),
            "one standard deviation": width(5**0.5),
            "1.96 is for many seeds": width(1.96),
            "one-sided quantile": width(2.132),
            "divides by n - 1": width(2.776 * 2 / 5**0.5),
            "two groups of five": width(2.306),
            "lies below 0 gets -1": lambda a, b: (verdicts(a, b) > 0).long(),
            "gets -1, not 1": lambda a, b: verdicts(a, b) != 0,
        },
    ),
}


def test_the_half_width_may_be_rounded():
    assert check("1.3-a", [2, 2.8])


@pytest.mark.parametrize("kind", [torch.int8, torch.int32])
def test_verdicts_may_be_small_integers(kind):
    assert check("1.3-c", lambda a, b: verdicts(a, b).to(kind))
