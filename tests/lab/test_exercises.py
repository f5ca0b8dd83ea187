import math
from fractions import Fraction

import numpy as np
import pytest
import torch
from torch import nn

from mapping_lib.lab.exercises import (
    Verdict,
    check,
    compare,
    core,
    describe,
    exercise,
    guard,
    registered,
)


@pytest.fixture
def sum_of_squares(monkeypatch):
    """Register one exercise for a test: a function that sums squares."""
    registered()
    monkeypatch.setattr(core, "_checks", dict(core._checks))

    @exercise("0.1-a")
    def _check(answer):
        x = torch.randn(5, dtype=torch.float64)
        return compare(answer(x), x.square().sum(), what="the sum", factors={"n": 5})

    return "0.1-a"


def test_right(sum_of_squares):
    verdict = check(sum_of_squares, lambda x: x @ x)
    assert verdict
    assert repr(verdict) == "✓ 0.1-a: right"
    assert verdict._repr_markdown_() == "✓ **0.1-a**: right"


def test_wrong(sum_of_squares):
    verdict = check(sum_of_squares, lambda x: x.square().mean())
    assert not verdict
    assert repr(verdict) == "✗ 0.1-a: the sum is off by the factor 1/n"


def test_verdict_is_frozen():
    with pytest.raises(AttributeError):
        Verdict("0.1-a", False, "wrong").right = True


@pytest.mark.parametrize("answer", [None, lambda x: None])
def test_nothing_yet(sum_of_squares, answer):
    verdict = check(sum_of_squares, answer)
    assert not verdict
    assert verdict.message.startswith("nothing yet")


def test_exception_in_words(sum_of_squares):
    message = check(sum_of_squares, lambda x: x.reshape(7)).message
    assert "raised `RuntimeError: shape '[7]' is invalid" in message
    assert "when given `(tensor of shape (5,))`" in message


def test_wrong_number_of_arguments(sum_of_squares):
    assert "positional argument" in check(sum_of_squares, lambda x, y: x).message


def test_no_function(sum_of_squares):
    assert check(sum_of_squares, 3.0).message == "the answer is a float where a function is due"


def test_a_check_that_chokes_on_the_answer(sum_of_squares):
    exercise("0.1-b")(lambda answer: answer["weight"])
    assert "could not be checked: `TypeError" in check("0.1-b", 3.0).message


def test_interrupt_is_not_swallowed(sum_of_squares):
    def interrupted(x):
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        check(sum_of_squares, interrupted)


def test_arguments_are_copies(sum_of_squares):
    assert check(sum_of_squares, lambda x: x.square_().sum())


def test_models_are_handed_over_as_they_are(sum_of_squares):
    exercise("0.1-c")(lambda model: None if model.weight.numel() == 6 else "6 weights are due")
    assert check("0.1-c", nn.Linear(3, 2))
    assert not check("0.1-c", nn.Linear(2, 2))


def test_random_numbers_are_seeded_and_put_back(sum_of_squares):
    drawn = []
    exercise("0.1-d")(lambda answer: drawn.append(torch.rand(3)))
    torch.manual_seed(5)
    expected = torch.rand(2)
    torch.manual_seed(5)
    first = torch.rand(1)
    check("0.1-d", 1)
    check("0.1-d", 1)
    assert torch.equal(torch.cat([first, torch.rand(1)]), expected)
    assert torch.equal(drawn[0], drawn[1])


def test_unknown_id(sum_of_squares):
    with pytest.raises(ValueError, match=r"no exercise '0.1_a'.*did you mean '0.1-a'"):
        check("0.1_a", 1)


def test_registered_twice(sum_of_squares):
    def elsewhere(answer):
        return None

    elsewhere.__module__ = "another"
    with pytest.raises(ValueError, match="registered twice"):
        exercise(sum_of_squares)(elsewhere)


def test_guard_under_function_transforms():
    square = guard(lambda x: x**2)
    x = torch.tensor([1.0, 3.0])
    torch.testing.assert_close(torch.func.vmap(torch.func.grad(square))(x), 2 * x)
    with pytest.raises(core._AnswerError, match=r"when given `\(tensor of shape \(\)\)`"):
        torch.func.vmap(guard(lambda x: x.reshape(2)))(x)


def test_describe():
    assert describe(torch.tensor(2.5)) == "tensor(2.5)"
    assert describe(torch.zeros(5)) == "tensor of shape (5,)"
    assert describe("relu") == "'relu'"
    assert describe(list(range(100))).endswith("…")


# compare ---------------------------------------------------------------------------------------

DUE = torch.tensor([[1.0, -2.0, 3.0], [4.0, 5.0, 7.0]])


@pytest.mark.parametrize(
    "value", [0.25, np.float32(0.25), np.array(0.25), np.array([0.25]), torch.tensor(0.25)]
)
def test_every_kind_of_number_is_accepted(value):
    assert compare(value, 0.25) is None


def test_integers_and_lists_are_accepted_for_numbers():
    assert compare(2, 2.0) is None
    assert compare([torch.tensor(1.0), torch.tensor(2.0)], [1, 2]) is None
    assert compare(np.array([1, 2]), [1.0, 2.0]) is None
    assert compare(math.inf, math.inf) is None


@pytest.mark.parametrize(
    ("value", "words"),
    [
        (DUE + 1e-6, None),
        (DUE.double(), None),
        (lambda x: x, "call it"),
        (1.5, "is a float where a tensor is due"),
        (DUE.tolist(), "is a list where a tensor is due"),
        (DUE.long(), "dtype torch.int64 where real numbers (torch.float32) are due"),
        (DUE.T, "is transposed"),
        (DUE.flatten(), "shape (6,) where (2, 3) is due; its numbers are right"),
        (DUE[0], "shape (3,) where (2, 3) is due"),
        (DUE.sqrt(), "NaN"),
        (DUE / 0, "infinite"),
        (-DUE, "has the wrong sign"),
        (0 * DUE, "is zero everywhere"),
        (2 * DUE, "off by the factor 2"),
        (DUE / 2, "off by the factor 1/2"),
        (DUE / 7, "off by the factor 1/n"),
        (2 * DUE / 7, "off by the factor 2/n"),
        (-DUE / 14, "off by the factor 1/(2n) and has the wrong sign"),
        (DUE * 0.3, "off by the same factor 0.3 everywhere"),
        (DUE + 0.5, "off by the same difference 0.5 everywhere"),
        (DUE.square(), "wrong in 5 of 6 entries, first at [0, 1]"),
        (DUE.abs(), "wrong in 1 of 6 entries, first at [0, 1]"),
    ],
)
def test_compare_tensor(value, words):
    message = compare(value, DUE, what="the gradient", factors={"n": 7})
    assert message is None if words is None else words in message
    assert message is None or message.startswith("the gradient ")


@pytest.mark.parametrize(
    ("value", "words"),
    [
        ("two", "is a str where numbers are due"),
        (6 + 2j, "is complex where real numbers are due"),
        ({"a": 1}, "is a dict where numbers are due"),
        ([1, 2], "has the shape (2,) where () is due"),
        (-6, "wrong sign"),
        (1.5, "factor 1/n"),
        (0, "is zero"),
        (math.nan, "is NaN"),
        (5, "is too small"),
        (8, "is too large"),
    ],
)
def test_compare_number(value, words):
    assert words in compare(value, 6, factors={"n": 4})


def test_the_factor_of_a_single_number_is_not_given_away():
    assert compare(1.7, 6.0) == "the answer is too small"


def test_missing_reduction():
    due = DUE.mean()
    assert "the mean over its entries is missing" in compare(DUE, due)
    assert "the sum over its entries is missing" in compare(DUE, DUE.sum())


def test_broadcast_to_a_square():
    prediction, target = torch.randn(4, 1), torch.randn(4)
    assert "broadcast" in compare(prediction - target, target)


def test_square_matrix_transposed():
    matrix = torch.tensor([[1.0, 2.0], [3.0, 4.0]])
    assert compare(matrix.T, matrix) == "the answer is transposed"


def test_whole_numbers_due():
    assert "whole numbers" in compare(torch.tensor([1.0]), torch.tensor([1]))


def test_hints_come_first():
    hints = {"the square root is missing": 36.0}
    assert compare(36.0, 6.0, hints=hints) == "the square root is missing"


def test_values_that_need_a_gradient():
    assert compare(DUE.clone().requires_grad_(), DUE) is None


@pytest.mark.parametrize(
    ("value", "words"),
    [
        ([1, 3, 3, 4], "is wrong in its second number, which is too large"),
        ([1, 2, 2, 4], "is wrong in its third number, which is too small"),
        ([2, 2, 1, 4], "is wrong in its first and third numbers"),
        ([2, 2, 1, 9], "is wrong in its first, third and fourth numbers"),
        ((1, None, 3, 4), "has None at [1] where a number is due"),
        ([1, 2, "three", 4], "has 'three' at [2] where a number is due"),
        ([[1, 2], [3]], "has entries of different shapes where numbers are due"),
        ([], "has the shape (0,) where (4,) is due"),
    ],
)
def test_compare_some_numbers(value, words):
    assert words in compare(value, [1, 2, 3, 4])


def test_fractions_and_arrays_turned_round_are_numbers():
    assert compare(Fraction(1, 4), 0.25) is None
    assert compare((Fraction(1, 4), 2), [0.25, 2]) is None
    assert compare(np.array([2.0, 1.0])[::-1], [1, 2]) is None
    assert compare(np.array(3.0), 3) is None


@pytest.mark.parametrize("value", [2, 1.5])
def test_only_a_real_number_in_place_of_a_scalar_cuts_the_gradient(value):
    cuts = "cut the gradient" in compare(value, torch.tensor(1.0))
    assert cuts == isinstance(value, float)
    assert "gradient" not in compare(value, torch.tensor([1.0, 2.0]))
    assert "gradient" not in compare(value, torch.tensor(3))


def test_tensors_of_two_dtypes():
    mixed = guard(lambda x: x @ torch.ones(2, dtype=torch.float32))
    with pytest.raises(core._AnswerError, match=r"need the inputs' dtype, torch\.float64"):
        mixed(torch.ones(2, dtype=torch.float64))
    with pytest.raises(core._AnswerError) as other:
        guard(lambda x: x @ torch.ones(3))(torch.ones(2))
    assert "dtype" not in str(other.value)
