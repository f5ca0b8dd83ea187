import pytest
import torch
from torch.nn.functional import cross_entropy, huber_loss, kl_div

from mapping_lib.lab.exercises import Case, check


def divergence(student, teacher, temperature):
    q, p = ((z / temperature).log_softmax(1) for z in (student, teacher))
    return (p.exp() * (p - q)).sum(1).mean()


def kd(student, teacher, temperature):
    return temperature**2 * divergence(student, teacher, temperature)


def both(student, teacher, labels, temperature, alpha):
    hard = cross_entropy(student, labels)
    return (1 - alpha) * hard + alpha * kd(student, teacher, temperature)


def relative(rows):
    distances = torch.pdist(rows)
    return distances / distances.mean()


def relations(student, teacher):
    return huber_loss(relative(student), relative(teacher))


def naive(student, teacher, temperature):
    q, p = ((z / temperature).softmax(1) for z in (student, teacher))
    return temperature**2 * (p * (p / q).log()).sum(1).mean()


def clamped(student, teacher, temperature):
    q, p = ((z / temperature).softmax(1).clamp_min(1e-12) for z in (student, teacher))
    return temperature**2 * (p * (p / q).log()).sum(1).mean()


def without_nan(student, teacher, temperature):
    q, p = ((z / temperature).softmax(1) for z in (student, teacher))
    terms = (p * (p / q).log()).nan_to_num(posinf=0)
    return temperature**2 * terms.sum(1).mean()


def all_pairs(rows):
    distances = torch.cdist(rows, rows)
    return distances / distances.mean()


def cross(student, teacher, temperature):
    return temperature**2 * cross_entropy(student / temperature, (teacher / temperature).softmax(1))


def kl_of_library(student, teacher, temperature):
    q, p = (student / temperature).log_softmax(1), (teacher / temperature).softmax(1)
    return temperature**2 * kl_div(q, p, reduction="none").mean()


CASES = {
    "8.3.2-a": Case(
        solution=[2 / 3, -1, 1 / 3],
        wrong={
            "mean of z off first": [5 / 3, 0, 4 / 3],
            "number of classes is missing": [2, -3, 1],
            "the wrong sign: where": [-2 / 3, 1, -1 / 3],
            "T times smaller": [0, 0, 0],
            "not on their softmax": [0.8193, -0.8331, 0.0138],
            "by the factor 1/K": [2 / 9, -1 / 3, 1 / 9],
            "first and third numbers": [0.65, -1, 0.35],
        },
    ),
    "8.3.2-b": Case(
        solution=kd,
        wrong={
            "factor T² is missing": divergence,
            "the factor is T²": lambda s, t, T: T * divergence(s, t, T),
            "divided by K, too": kl_of_library,
            "sum over the rows": lambda s, t, T: len(s) * kd(s, t, T),
            "are exchanged": lambda s, t, T: kd(t, s, T),
            "entropy has to come off": cross,
            "divided by T, both of them": lambda s, t, T: T**2 * divergence(s, t, 1),
            "it has to divide them": lambda s, t, T: T**2 * divergence(s, t, 1 / T),
            "use log_softmax": naive,
            "where 4e+04 is due": clamped,
            "replacing NaN": without_nan,
            "the number 4 stands for it": lambda s, t, T: kd(s, t, 4),
        },
    ),
    "8.3.2-c": Case(
        solution=both,
        wrong={
            "shares are exchanged": lambda s, t, y, T, a: both(s, t, y, T, 1 - a),
            "the factor T² is missing": lambda s, t, y, T, a: (
                (1 - a) * cross_entropy(s, y) + a * divergence(s, t, T)
            ),
            "the teacher's term alone": lambda s, t, y, T, a: (
                T**2 * ((1 - a) * cross_entropy(s, y) + a * divergence(s, t, T))
            ),
            "at temperature 1": lambda s, t, y, T, a: (
                (1 - a) * cross_entropy(s / T, y) + a * kd(s, t, T)
            ),
            "weighted by 1 - α": lambda s, t, y, T, a: cross_entropy(s, y) + a * kd(s, t, T),
            "has to be weighted by α": lambda s, t, y, T, a: (
                (1 - a) * cross_entropy(s, y) + kd(s, t, T)
            ),
            "labels alone": lambda s, t, y, T, a: cross_entropy(s, y),
            "the labels are missing": lambda s, t, y, T, a: kd(s, t, T),
            "the labels' term is missing": lambda s, t, y, T, a: a * kd(s, t, T),
            "the teacher's term is missing": lambda s, t, y, T, a: (1 - a) * cross_entropy(s, y),
            "exchanged in the teacher's term": lambda s, t, y, T, a: (
                (1 - a) * cross_entropy(s, y) + a * kd(t, s, T)
            ),
            "not the teacher's": lambda s, t, y, T, a: (
                (1 - a) * cross_entropy(t, y) + a * kd(s, t, T)
            ),
            "the number 4 stands for it": lambda s, t, y, T, a: both(s, t, y, 4, a),
            "at α = 1 the factor": lambda s, t, y, T, a: (
                divergence(s, t, T) if a == 1 else both(s, t, y, T, a)
            ),
        },
    ),
    "8.3.2-d": Case(
        solution=relations,
        wrong={
            "divided by their mean": lambda s, t: huber_loss(torch.pdist(s), torch.pdist(t)),
            "divided by the teacher's": lambda s, t: huber_loss(
                torch.pdist(s) / torch.pdist(t).mean(), relative(t)
            ),
            "mean absolute": lambda s, t: (relative(s) - relative(t)).abs().mean(),
            "mean square": lambda s, t: (relative(s) - relative(t)).square().mean(),
            "squared error": lambda s, t: (relative(s) - relative(t)).square().mean() / 2,
            "in the mean of the loss": lambda s, t: huber_loss(all_pairs(s), all_pairs(t)),
            "not their squares": lambda s, t: huber_loss(
                *(torch.pdist(x) ** 2 / (torch.pdist(x) ** 2).mean() for x in (s, t))
            ),
        },
    ),
}


def test_naive_softmax_is_right_where_nothing_overflows():
    assert not check("8.3.2-b", naive)
    assert "right for small logits" in check("8.3.2-b", naive).message


@pytest.mark.parametrize("answer", [(0.67, -1, 0.33), torch.tensor([0.667, -1.0, 0.333])])
def test_two_decimals_are_enough_on_paper(answer):
    assert check("8.3.2-a", answer)


def test_any_way_to_write_the_sums_is_right():
    def of_torch(student, teacher, T):
        log_q, p = (student / T).log_softmax(1), (teacher / T).softmax(1)
        return T**2 * kl_div(log_q, p, reduction="batchmean")

    def square(rows):
        distances = torch.cdist(rows, rows)
        n = len(rows)
        return distances / (distances.sum() / (n * (n - 1)))

    def all_relations(student, teacher):
        n = len(student)
        total = huber_loss(square(student), square(teacher), reduction="sum")
        return total / (n * (n - 1))

    assert check("8.3.2-b", of_torch)
    assert check("8.3.2-b", lambda s, t, T: kd(s.float(), t.float(), T))
    assert check("8.3.2-d", all_relations)
