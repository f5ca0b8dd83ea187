"""Mixing unequal data (section 8.2.3): closed forms, references, properties, words."""

import math

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch.autograd import gradcheck
from torch.nn.functional import cross_entropy
from torch.testing import assert_close

from mapping_lib.mixing import (
    Moments,
    adjust_priors,
    class_balanced_weights,
    estimate_priors,
    logit_adjusted_loss,
    merge_moments,
    moments,
    source_shares,
)

FLOATS = [torch.float32, torch.float64]
COUNTS = st.lists(st.integers(1, 10_000), min_size=1, max_size=6)
SEEDS = st.integers(0, 10_000)
nan, inf = math.nan, math.inf


def normal(*shape, seed=0):
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(*shape, generator=generator, dtype=torch.float64)


# Shares of sources


@pytest.mark.parametrize("dtype", FLOATS)
def test_shares_by_hand(dtype):
    counts = torch.tensor([64, 1, 27], dtype=dtype)
    found = source_shares(counts, temperature=3)
    assert found.dtype == dtype
    assert_close(found, torch.tensor([4, 1, 3], dtype=dtype) / 8)
    assert_close(source_shares(counts, temperature=1), counts / 92)
    assert_close(source_shares(counts, temperature=inf), torch.full((3,), 1 / 3, dtype=dtype))
    assert_close(source_shares(counts, temperature=0.5), counts**2 / (counts**2).sum())


def test_the_temperature_is_named():
    with pytest.raises(TypeError, match="positional"):
        source_shares(torch.tensor([3.0, 1.0]), 2.0)


def test_shares_of_whole_numbers_are_of_the_default_type():
    assert source_shares(torch.tensor([3, 1]), temperature=1).dtype == torch.float32


def test_shares_of_huge_sources_at_a_low_temperature_are_finite():
    found = source_shares(torch.tensor([1e9, 1e8]), temperature=0.01)
    assert found.tolist() == [1, 0]


@given(COUNTS, st.floats(0.1, 100), st.floats(1.01, 10))
def test_shares_sum_to_one_keep_the_order_and_flatten(counts, temperature, factor):
    counts = torch.tensor(counts, dtype=torch.float64)
    found = source_shares(counts, temperature=temperature)
    flatter = source_shares(counts, temperature=temperature * factor)
    assert_close(found.sum(), torch.tensor(1.0, dtype=torch.float64))
    assert (found[counts.argsort()].diff() >= -1e-12).all()
    assert flatter.max() <= found.max() + 1e-12
    assert flatter.min() >= found.min() - 1e-12
    assert_close(source_shares(7 * counts, temperature=temperature), found)


@pytest.mark.parametrize(
    ("counts", "error", "words"),
    [
        ([4, 1], TypeError, "counts must be a torch.Tensor"),
        (torch.tensor([True, True]), TypeError, "real numbers, got torch.bool"),
        (torch.tensor([1j, 1]), TypeError, "real numbers"),
        (torch.tensor(3), ValueError, r"\(m,\), one number a source, got \(\)"),
        (torch.tensor([]), ValueError, r"one number a source, got \(0,\)"),
        (torch.ones(2, 1), ValueError, r"got \(2, 1\)"),
        (torch.tensor([1, nan]), ValueError, "must be finite"),
        (torch.tensor([1, inf]), ValueError, "must be finite"),
        (torch.tensor([4, -1]), ValueError, "can't be negative"),
        (torch.tensor([4, 0, 2]), ValueError, "source 1 has no rows; leave it out"),
    ],
)
def test_counts_that_cannot_be_are_refused(counts, error, words):
    with pytest.raises(error, match=words):
        source_shares(counts, temperature=1)


@pytest.mark.parametrize(
    ("temperature", "error", "words"),
    [
        (0, ValueError, "above 0, got 0; 1 draws"),
        (-1, ValueError, "above 0, got -1"),
        (nan, ValueError, "above 0, got nan"),
        ("warm", TypeError, "temperature must be a number"),
    ],
)
def test_temperature_that_cannot_be_is_refused(temperature, error, words):
    with pytest.raises(error, match=words):
        source_shares(torch.tensor([2, 1]), temperature=temperature)


# Weights of classes


@pytest.mark.parametrize("dtype", FLOATS)
def test_weights_by_hand(dtype):
    # E = 1 + 0.5 + 0.25, 1, 1 + 0.5
    counts = torch.tensor([3, 1, 2], dtype=dtype)
    inverse = torch.tensor([1 / 1.75, 1.0, 1 / 1.5], dtype=dtype)
    found = class_balanced_weights(counts, beta=0.5)
    assert found.dtype == dtype
    assert_close(found, 3 * inverse / inverse.sum())


@given(COUNTS, st.floats(0, 1))
def test_weights_are_those_of_the_geometric_sum(counts, beta):
    counts = [min(n, 40) for n in counts]
    numbers = np.array([sum(beta**i for i in range(n)) for n in counts])
    due = len(counts) / numbers / (1 / numbers).sum()
    found = class_balanced_weights(torch.tensor(counts, dtype=torch.float64), beta=beta)
    np.testing.assert_allclose(found, due, rtol=1e-6)
    assert_close(found.mean(), torch.tensor(1.0, dtype=torch.float64))


def test_ends_of_beta():
    counts = torch.tensor([100.0, 1.0, 10.0])
    assert_close(class_balanced_weights(counts, beta=0), torch.ones(3))
    inverse = 3 / counts / (1 / counts).sum()
    assert_close(class_balanced_weights(counts, beta=1), inverse)
    assert_close(class_balanced_weights(counts, beta=1 - 1e-9), inverse, rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize("beta", [-0.1, 1.1, nan])
def test_beta_outside_is_refused(beta):
    with pytest.raises(ValueError, match=r"beta must lie in \[0, 1\]"):
        class_balanced_weights(torch.tensor([2, 1]), beta=beta)


def test_class_without_rows_is_refused():
    with pytest.raises(ValueError, match="class 0 has no rows; a class without rows"):
        class_balanced_weights(torch.tensor([0, 1]), beta=0.9)


# Logit adjustment


def test_adjusted_loss_by_hand():
    # Shares 3/4 and 1/4: e^z π = (2 · 3/4, 1 · 1/4) and (1 · 3/4, 3 · 1/4)
    logits = torch.tensor([[math.log(2), 0.0], [0.0, math.log(3)]], dtype=torch.float64)
    found = logit_adjusted_loss(logits, torch.tensor([1, 1]), counts=torch.tensor([30, 10]))
    assert_close(found.item(), (math.log(7) + math.log(2)) / 2)


@given(SEEDS, st.floats(0, 3))
def test_adjusted_loss_is_torchs_of_shifted_logits(seed, strength):
    logits, labels = normal(7, 3, seed=seed), torch.tensor([0, 2, 1, 1, 0, 0, 2])
    counts = torch.tensor([50, 3, 7])
    shifted = logits + strength * torch.tensor([50 / 60, 3 / 60, 7 / 60]).double().log()
    found = logit_adjusted_loss(logits, labels, counts=counts, strength=strength)
    assert_close(found, cross_entropy(shifted, labels), rtol=1e-6, atol=1e-7)


def test_adjusted_loss_without_strength_or_with_equal_shares_is_cross_entropy():
    logits, labels = normal(4, 3), torch.tensor([2, 0, 1, 1])
    plain = cross_entropy(logits, labels)
    assert_close(
        logit_adjusted_loss(logits, labels, counts=torch.tensor([9, 2, 1]), strength=0), plain
    )
    assert_close(logit_adjusted_loss(logits, labels, counts=torch.tensor([5, 5, 5])), plain)


def test_gradients():
    logits = normal(4, 3).requires_grad_()
    labels, counts = torch.tensor([2, 0, 1, 1]), torch.tensor([9, 2, 1])
    assert gradcheck(lambda z: logit_adjusted_loss(z, labels, counts=counts), logits)
    fair = torch.ones(3).double()
    assert gradcheck(lambda z: adjust_priors(z, trained=fair, wanted=counts.double()), logits)
    rows = normal(5, 2).requires_grad_()
    assert gradcheck(lambda x: moments(x)[1:], rows)
    other = moments(normal(3, 2, seed=1))
    assert gradcheck(lambda x: merge_moments(moments(x), other)[1:], rows)


@pytest.mark.parametrize(
    ("change", "error", "words"),
    [
        ({"logits": torch.ones(2, 3).long()}, TypeError, "floating-point"),
        ({"logits": torch.full((2, 3), nan)}, ValueError, "NaN"),
        ({"logits": torch.ones(2, 1)}, ValueError, "one class only"),
        ({"labels": torch.tensor([0, 3])}, ValueError, "labels must lie between 0 and 2"),
        ({"labels": torch.tensor([0])}, ValueError, "one label a row"),
        ({"counts": torch.tensor([4, 2])}, ValueError, "counts must have one number for each of"),
        ({"counts": torch.tensor([4, 0, 2])}, ValueError, "class 1 has no rows; leave it out"),
        ({"counts": torch.tensor([4, -2, 2])}, ValueError, "negative"),
        ({"strength": -1.0}, ValueError, "strength must lie in"),
        ({"strength": inf}, ValueError, "strength must lie in"),
    ],
)
def test_adjusted_loss_refuses(change, error, words):
    given = {
        "logits": torch.zeros(2, 3),
        "labels": torch.tensor([0, 2]),
        "counts": torch.tensor([4, 1, 2]),
    } | change
    with pytest.raises(error, match=words):
        logit_adjusted_loss(given.pop("logits"), given.pop("labels"), **given)


PROBABILITIES, SHARES = torch.tensor([[0.2, 0.8], [0.6, 0.4]]), torch.tensor([0.5, 0.5])


@pytest.mark.parametrize(
    "call",
    [
        lambda p: logit_adjusted_loss(p, torch.tensor([0, 1]), counts=torch.tensor([4, 1])),
        lambda p: adjust_priors(p, trained=SHARES, wanted=SHARES),
        lambda p: estimate_priors(p, trained=SHARES),
    ],
)
def test_probabilities_in_place_of_logits_are_noticed(call):
    with pytest.warns(UserWarning, match="logits are due"):
        call(PROBABILITIES)


# Other shares than in training


def test_priors_by_bayes_rule():
    likelihood = torch.tensor([[0.2, 0.5, 0.1], [0.4, 0.1, 0.3]], dtype=torch.float64)
    before = torch.tensor([0.5, 0.2, 0.3], dtype=torch.float64)
    after = torch.tensor([0.1, 0.3, 0.6], dtype=torch.float64)
    found = adjust_priors((likelihood * before).log(), trained=before, wanted=after).softmax(1)
    due = likelihood * after
    assert_close(found, due / due.sum(1, keepdim=True))


def test_priors_may_be_counts_and_go_back():
    logits = normal(5, 3)
    before, after = torch.tensor([5, 2, 3]), torch.tensor([1, 3, 6])
    there = adjust_priors(logits, trained=before, wanted=after)
    assert there.dtype == torch.float64
    same = adjust_priors(logits, trained=before / 10, wanted=after / 10)
    assert_close(there, same, rtol=1e-6, atol=1e-6)
    assert_close(adjust_priors(there, trained=after, wanted=before), logits, rtol=1e-6, atol=1e-6)


def test_adjusting_to_equal_shares_undoes_the_adjusted_loss():
    logits, labels = normal(5, 3), torch.tensor([0, 1, 2, 2, 0])
    counts = torch.tensor([90.0, 9.0, 1.0], dtype=torch.float64)
    carried = logits + (counts / 100).log()
    freed = adjust_priors(carried, trained=counts, wanted=torch.ones(3))
    assert_close(freed.softmax(1), logits.softmax(1), rtol=1e-6, atol=1e-7)
    assert_close(
        logit_adjusted_loss(freed, labels, counts=counts),
        cross_entropy(carried, labels),
        rtol=1e-6,
        atol=1e-7,
    )


def two_normals(share, n, seed=0):
    """Return logits of two unit normals around ±1, equally frequent in training."""
    labels = (torch.arange(n) >= share * n).double()  # the first class has this share
    x = normal(n, seed=seed) + 2 * labels - 1
    return torch.stack([-x, x], 1)


@pytest.mark.parametrize("share", [0.5, 0.8, 0.95])
def test_estimated_shares_are_the_true_ones_where_the_model_is_right(share):
    found = estimate_priors(two_normals(share, 20_000), trained=torch.tensor([0.5, 0.5]))
    assert_close(found[0].item(), share, rtol=0, atol=0.02)


def test_one_step_of_the_estimate_by_hand():
    trained = torch.tensor([0.25, 0.75], dtype=torch.float64)
    posterior = torch.tensor([[0.5, 0.5], [0.1, 0.9]], dtype=torch.float64)
    found = estimate_priors(posterior.log(), trained=trained, steps=1)
    assert_close(found, posterior.mean(0))
    ratio = posterior / trained * found
    due = (ratio / ratio.sum(1, keepdim=True)).mean(0)
    assert_close(estimate_priors(posterior.log(), trained=trained, steps=2), due)


@given(SEEDS)
def test_steps_of_the_estimate_raise_the_likelihood(seed):
    logits, trained = 2 * normal(20, 3, seed=seed), torch.tensor([0.2, 0.3, 0.5]).double()
    likelihood = logits.softmax(1) / trained
    values = [(likelihood @ trained).log().sum().item()]
    for steps in (1, 2, 3, 10, 50):
        found = estimate_priors(logits, trained=trained, steps=steps)
        assert_close(found.sum().item(), 1.0)
        values.append((likelihood @ found).log().sum().item())
    assert (np.diff(values) >= -1e-9).all()


@pytest.mark.parametrize(
    ("shares", "error", "words"),
    [
        ([0.5, 0.5], TypeError, "must be a torch.Tensor"),
        (torch.tensor([[0.5, 0.5]]), ValueError, r"shape \(K,\), one share a class, got \(1, 2\)"),
        (torch.ones(3), ValueError, "one number for each of the 2 classes of the logits, got 3"),
        (torch.tensor([1.0, 0.0]), ValueError, "positive and finite"),
        (torch.tensor([1.0, -0.5]), ValueError, "positive and finite"),
        (torch.tensor([1.0, nan]), ValueError, "positive and finite"),
        (torch.tensor([1.0, inf]), ValueError, "positive and finite"),
    ],
)
def test_shares_that_cannot_be_are_refused(shares, error, words):
    logits, fair = torch.zeros(1, 2), torch.ones(2)
    with pytest.raises(error, match=f"trained {words}|{words}"):
        adjust_priors(logits, trained=shares, wanted=fair)
    with pytest.raises(error, match="wanted"):
        adjust_priors(logits, trained=fair, wanted=shares)
    with pytest.raises(error, match="trained"):
        estimate_priors(logits, trained=shares)


@pytest.mark.parametrize(
    ("steps", "error", "words"),
    [
        (0, ValueError, "steps must be at least 1, got 0"),
        (1.5, TypeError, "steps must be a whole number"),
        (True, TypeError, "steps must be a whole number"),
    ],
)
def test_steps_that_cannot_be_are_refused(steps, error, words):
    with pytest.raises(error, match=words):
        estimate_priors(torch.zeros(1, 2), trained=torch.ones(2), steps=steps)


def test_logits_are_checked():
    fair = torch.ones(2)
    for function in (
        lambda z: adjust_priors(z, trained=fair, wanted=fair),
        lambda z: estimate_priors(z, trained=fair),
    ):
        with pytest.raises(ValueError, match="NaN"):
            function(torch.tensor([[nan, 1.0]]))
        with pytest.raises(TypeError, match="floating-point"):
            function(torch.ones(1, 2).long())


# Statistics in one pass


def test_moments_are_numpys():
    rows = normal(7, 3)
    n, mean, scatter = moments(rows)
    assert n == 7
    np.testing.assert_allclose(mean, rows.numpy().mean(0))
    np.testing.assert_allclose(scatter / (n - 1), np.cov(rows.numpy().T))


def test_merge_by_hand():
    # 1, 2, 3 and 10, 14: means 2 and 12, scatters 2 and 8, δ = 10
    first, second = (torch.tensor(x)[:, None] for x in ([1.0, 2.0, 3.0], [10.0, 14.0]))
    n, mean, scatter = merge_moments(moments(first), moments(second))
    assert (n, mean.item(), scatter.item()) == (5, 6.0, pytest.approx(2 + 8 + 3 * 2 / 5 * 100))


@given(SEEDS, st.integers(1, 9), st.integers(1, 9))
def test_merging_is_taking_all_rows_in_any_order(seed, n, m):
    rows = 3 + normal(n + m, 3, seed=seed)
    a, b = moments(rows[:n]), moments(rows[n:])
    due = moments(rows)
    for found in (merge_moments(a, b), merge_moments(b, a)):
        assert found.n == due.n
        assert_close(found.mean, due.mean)
        assert_close(found.scatter, due.scatter)


def test_row_by_row_keeps_its_digits_where_sums_of_squares_lose_them():
    rows = (10_000 + normal(2000, 1)).float()
    due = rows.double().var(0)
    passing = moments(rows[:1])
    for row in rows[1:]:
        passing = merge_moments(passing, moments(row[None]))
    assert_close((passing.scatter[0] / 1999).double(), due, rtol=1e-2, atol=0)
    naive = (rows**2).mean(0) - rows.mean(0) ** 2
    assert (naive.double() / due - 1).abs() > 0.5


def test_merging_refuses():
    one = moments(torch.ones(2, 2))
    with pytest.raises(TypeError, match="first must be Moments, got Tensor; make them"):
        merge_moments(torch.ones(2, 2), one)
    with pytest.raises(TypeError, match="second must be Moments, got tuple"):
        merge_moments(one, (1, 2, 3))
    with pytest.raises(ValueError, match=r"widths must be equal, got first \(2,\), second \(3,\)"):
        merge_moments(one, moments(torch.ones(2, 3)))


@pytest.mark.parametrize(
    ("rows", "error", "words"),
    [
        (torch.ones(2, 2).long(), TypeError, "floating-point"),
        (torch.ones(0, 2), ValueError, "rows is empty"),
        (torch.ones(2), ValueError, "matrix"),
        (torch.tensor([[nan]]), ValueError, "NaN"),
        (torch.tensor([[inf]]), ValueError, "finite"),
    ],
)
def test_moments_refuse(rows, error, words):
    with pytest.raises(error, match=words):
        moments(rows)


def test_moments_have_names():
    assert Moments._fields == ("n", "mean", "scatter")
