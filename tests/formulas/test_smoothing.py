"""Smoothed labels: hand-computed values, torch's own smoothing, properties, errors."""

import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch.nn.functional import cross_entropy
from torch.testing import assert_close

from mapping_lib.sequences import smoothed_cross_entropy, smoothed_labels

SEEDS = st.integers(0, 10_000)
SHARES = st.floats(0, 0.95)


def drawn(n=5, classes=3, seed=0, dtype=torch.float64):
    generator = torch.Generator().manual_seed(seed)
    logits = 3 * torch.randn(n, classes, generator=generator, dtype=torch.float64)
    labels = torch.randint(classes, (n,), generator=generator)
    return logits.to(dtype), labels


class TestSmoothedLabels:
    def test_by_hand(self):
        found = smoothed_labels(torch.tensor([2, 0]), classes=5, smoothing=0.1)
        expected = torch.tensor([[0.02, 0.02, 0.92, 0.02, 0.02], [0.92, 0.02, 0.02, 0.02, 0.02]])
        assert_close(found, expected)

    def test_the_sum_is_not_098(self):
        # One well-known library leaves the label's own even share out: 0.9 + 4 * 0.02 = 0.98.
        found = smoothed_labels(torch.tensor([3]), classes=5, smoothing=0.1)
        mistaken = torch.full((1, 5), 0.02)
        mistaken[0, 3] = 0.9
        assert_close(mistaken.sum(), torch.tensor(0.98))
        assert_close(found.sum(), torch.tensor(1.0))

    @given(SEEDS, SHARES, st.integers(2, 9))
    def test_rows_are_distributions(self, seed, smoothing, classes):
        labels = drawn(7, classes, seed)[1]
        found = smoothed_labels(labels, classes=classes, smoothing=smoothing)
        assert found.shape == (7, classes)
        assert (found >= 0).all()
        assert_close(found.sum(1), torch.ones(7))
        assert_close(found.gather(1, labels[:, None]).squeeze(1), found.max(1).values)

    def test_no_smoothing_is_one_hot(self):
        labels = torch.tensor([1, 0, 3])
        found = smoothed_labels(labels, classes=4, smoothing=0)
        assert_close(found, torch.eye(4)[labels])

    @pytest.mark.parametrize(
        ("labels", "classes", "smoothing", "error", "words"),
        [
            (torch.tensor([1.0]), 3, 0.1, TypeError, "labels must be integers"),
            (torch.tensor([3]), 3, 0.1, ValueError, "labels"),
            (torch.tensor([[1]]), 3, 0.1, ValueError, "one label a row"),
            (torch.tensor([0]), 1, 0.1, ValueError, "classes"),
            (torch.tensor([0]), 3, 1.0, ValueError, "smoothing"),
            (torch.tensor([0]), 3, -0.1, ValueError, "smoothing"),
        ],
    )
    def test_bad_input(self, labels, classes, smoothing, error, words):
        with pytest.raises(error, match=words):
            smoothed_labels(labels, classes=classes, smoothing=smoothing)


class TestSmoothedCrossEntropy:
    def test_by_hand(self):
        logits = torch.tensor([[math.log(3.0), 0.0]])  # p is 3/4 and 1/4
        found = smoothed_cross_entropy(logits, torch.tensor([0]), smoothing=0.2)
        assert_close(found, torch.tensor(-0.9 * math.log(0.75) - 0.1 * math.log(0.25)))

    @given(SEEDS, SHARES, st.integers(2, 6))
    def test_like_torch(self, seed, smoothing, classes):
        logits, labels = drawn(6, classes, seed)
        found = smoothed_cross_entropy(logits, labels, smoothing=smoothing)
        assert_close(found, cross_entropy(logits, labels, label_smoothing=smoothing))

    def test_like_torch_with_padding(self):
        logits, labels = drawn(9, 4)
        labels[:3] = 0
        found = smoothed_cross_entropy(logits, labels, smoothing=0.1, ignore=0)
        theirs = cross_entropy(logits, labels, label_smoothing=0.1, ignore_index=0)
        assert_close(found, theirs)

    @given(SEEDS, SHARES)
    def test_cross_entropy_to_the_smoothed_labels(self, seed, smoothing):
        logits, labels = drawn(5, 4, seed)
        soft = smoothed_labels(labels, classes=4, smoothing=smoothing).double()
        expected = -(soft * logits.log_softmax(1)).sum(1).mean()
        found = smoothed_cross_entropy(logits, labels, smoothing=smoothing)
        assert_close(found, expected, rtol=1e-5, atol=1e-6)

    def test_the_best_prediction_is_the_smoothed_label(self):
        labels = torch.tensor([1, 1])
        soft = smoothed_labels(labels, classes=3, smoothing=0.3)
        logits = soft.log().requires_grad_()
        (slope,) = torch.autograd.grad(
            smoothed_cross_entropy(logits, labels, smoothing=0.3), logits
        )
        assert_close(slope, torch.zeros_like(slope), rtol=0, atol=1e-6)

    def test_gradient(self):
        logits, labels = drawn()
        logits.requires_grad_()
        assert torch.autograd.gradcheck(
            lambda z: smoothed_cross_entropy(z, labels, smoothing=0.1, ignore=0), logits
        )

    def test_extreme_logits(self):
        logits = torch.tensor([[1e9, 0.0]])
        found = smoothed_cross_entropy(logits, torch.tensor([0]), smoothing=0.1)
        assert_close(found, torch.tensor(0.05e9))

    @pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float32])
    def test_dtypes(self, dtype):
        logits, labels = drawn(dtype=dtype)
        found = smoothed_cross_entropy(logits, labels, smoothing=0.1)
        assert found.dtype == dtype
        assert found.isfinite()

    def test_all_padding(self):
        with pytest.raises(ValueError, match="no place counts"):
            smoothed_cross_entropy(torch.zeros(2, 3), torch.tensor([0, 0]), smoothing=0.1, ignore=0)

    @pytest.mark.parametrize(
        ("logits", "labels", "smoothing", "error", "words"),
        [
            (torch.zeros(2, 3).long(), torch.tensor([0, 1]), 0.1, TypeError, "floating-point"),
            (torch.zeros(2, 3), torch.tensor([0.0, 1.0]), 0.1, TypeError, "integers"),
            (torch.zeros(2, 3), torch.tensor([0, 3]), 0.1, ValueError, "labels"),
            (torch.zeros(2, 3), torch.tensor([0]), 0.1, ValueError, "one label a row"),
            (torch.full((2, 3), torch.inf), torch.tensor([0, 1]), 0.1, ValueError, "finite"),
            (torch.full((2, 3), torch.nan), torch.tensor([0, 1]), 0.1, ValueError, "NaN"),
            (torch.zeros(2, 3), torch.tensor([0, 1]), 1.0, ValueError, "smoothing"),
        ],
    )
    def test_bad_input(self, logits, labels, smoothing, error, words):
        with pytest.raises(error, match=words):
            smoothed_cross_entropy(logits, labels, smoothing=smoothing)
