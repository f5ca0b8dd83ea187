"""Metrics: torchmetrics, scikit-learn and SciPy, closed forms, properties, errors."""

import math

import numpy as np
import pytest
import torch
from hypothesis import assume, given
from hypothesis import strategies as st
from scipy.optimize import minimize_scalar
from sklearn.calibration import calibration_curve
from torch import nn
from torch.nn.functional import cross_entropy
from torch.testing import assert_close
from torchmetrics.functional.classification import multiclass_calibration_error

from mapping_lib.metrics import expected_calibration_error, fit_temperature, grad_cam, reliability

SEEDS = st.integers(0, 10_000)
BINS = st.integers(1, 30)


def drawn(n=60, classes=4, seed=0, scale=2.0, dtype=torch.float64):
    """Logits, and labels that are their argmax in about two of three rows."""
    generator = torch.Generator().manual_seed(seed)
    logits = (scale * torch.randn(n, classes, generator=generator, dtype=torch.float64)).to(dtype)
    other = torch.randint(classes, (n,), generator=generator)
    wrong = torch.rand(n, generator=generator) < 0.33
    return logits, torch.where(wrong, other, logits.argmax(1))


def sure(confidences, right):
    """Logits of two classes with these confidences in class 0, and labels right or wrong."""
    p = torch.tensor(confidences, dtype=torch.float64)
    logits = torch.stack([p, 1 - p], 1).log()
    return logits - 1, torch.tensor([0 if hit else 1 for hit in right])  # no distribution


class TestReliability:
    def test_by_hand(self):
        logits, labels = sure([0.55, 0.62, 0.68, 0.95, 0.85], [0, 1, 0, 1, 1])
        found = reliability(logits, labels, bins=5)  # nobody in the first two bins
        assert_close(found.confidence, torch.tensor([0.55, 0.65, 0.9], dtype=torch.float64))
        assert_close(found.accuracy, torch.tensor([0, 0.5, 1], dtype=torch.float64))
        assert found.size.tolist() == [1, 2, 2]

    def test_equal_mass_by_hand(self):
        logits, labels = sure([0.9, 0.55, 0.8, 0.6, 0.7], [1, 0, 1, 1, 0])
        found = reliability(logits, labels, bins=2, equal_mass=True)
        assert_close(found.confidence, torch.tensor([1.85 / 3, 0.85], dtype=torch.float64))
        assert_close(found.accuracy, torch.tensor([1 / 3, 1], dtype=torch.float64))
        assert found.size.tolist() == [3, 2]

    def test_settings_go_by_name_and_there_are_fifteen_bins(self):
        crowd = sure([k / 100 for k in range(51, 100)], [1] * 49)
        assert len(reliability(*crowd).size) == len(reliability(*crowd, bins=15).size) == 8
        assert len(reliability(*crowd, bins=14).size) == 7
        with pytest.raises(TypeError, match="positional"):
            reliability(*crowd, 15)

    def test_an_edge_belongs_to_the_bin_below(self):
        """As Guo et al. say; torchmetrics puts it into the bin above."""
        logits = torch.tensor([[0.0, 0.0], [0.0, 0.1]])  # confidences 0.5 and 0.525
        assert reliability(logits, torch.tensor([0, 1]), bins=2).size.tolist() == [1, 1]
        certain = torch.tensor([[0.0, 1000.0]])
        assert_close(reliability(certain, torch.tensor([1])).confidence, torch.ones(1))

    def test_equal_mass_agrees_with_scikit_learn(self):
        logits, labels = drawn(60)
        confidence, predicted = logits.softmax(1).max(1)
        theirs = calibration_curve(
            (predicted == labels).numpy(), confidence.numpy(), n_bins=6, strategy="quantile"
        )
        found = reliability(logits, labels, bins=6, equal_mass=True)
        assert_close(found.accuracy, torch.as_tensor(theirs[0]))
        assert_close(found.confidence, torch.as_tensor(theirs[1]))

    def test_equal_width_agrees_with_scikit_learn(self):
        logits, labels = drawn(60)
        confidence, predicted = logits.softmax(1).max(1)
        theirs = calibration_curve((predicted == labels).numpy(), confidence.numpy(), n_bins=7)
        found = reliability(logits, labels, bins=7)
        assert_close(found.accuracy, torch.as_tensor(theirs[0]))
        assert_close(found.confidence, torch.as_tensor(theirs[1]))

    @given(SEEDS, BINS, st.booleans())
    def test_bins_hold_all_rows(self, seed, bins, equal_mass):
        logits, labels = drawn(23, seed=seed)
        found = reliability(logits, labels, bins=bins, equal_mass=equal_mass)
        assert found.size.sum() == 23
        assert (found.size > 0).all()
        assert_close((found.size * found.accuracy).sum() / 23, right(logits, labels))
        assert (found.confidence.diff() > 0).all()
        if equal_mass:
            assert len(found.size) == min(bins, 23)
            assert found.size.max() - found.size.min() <= 1

    @given(SEEDS, st.booleans())
    def test_order_of_rows_does_not_matter_with_ties_either(self, seed, equal_mass):
        logits, labels = drawn(12, seed=seed)
        logits = logits.round().repeat(3, 1)  # many ties
        labels = torch.cat([labels, labels, 3 - labels])
        order = torch.randperm(36, generator=torch.Generator().manual_seed(seed))
        one = reliability(logits, labels, bins=5, equal_mass=equal_mass)
        two = reliability(logits[order], labels[order], bins=5, equal_mass=equal_mass)
        for a, b in zip(one, two, strict=True):
            assert_close(a, b)


def right(logits, labels):
    return (logits.argmax(1) == labels).double().mean()


class TestExpectedCalibrationError:
    def test_by_hand(self):
        logits, labels = sure([0.55, 0.62, 0.68, 0.95, 0.85], [0, 1, 0, 1, 1])
        expected = torch.tensor((0.55 + 2 * 0.15 + 2 * 0.1) / 5, dtype=torch.float64)
        assert_close(expected_calibration_error(logits, labels, bins=5), expected)

    @pytest.mark.parametrize("bins", [1, 5, 15, 40])
    @pytest.mark.parametrize("classes", [2, 7])
    def test_agrees_with_torchmetrics(self, bins, classes):
        logits, labels = drawn(200, classes)
        expected = multiclass_calibration_error(
            logits.softmax(1), labels, num_classes=classes, n_bins=bins, norm="l1"
        )
        found = expected_calibration_error(logits, labels, bins=bins)
        assert_close(found.float(), expected)

    @pytest.mark.parametrize("equal_mass", [False, True])
    def test_one_bin_is_the_gap_of_the_means(self, equal_mass):
        logits, labels = drawn()
        gap = (logits.softmax(1).amax(1).mean() - right(logits, labels)).abs()
        found = expected_calibration_error(logits, labels, bins=1, equal_mass=equal_mass)
        assert_close(found, gap)

    def test_a_bin_a_row_is_the_mean_distance_to_right_or_wrong(self):
        logits, labels = drawn(30)
        confidence, predicted = logits.softmax(1).max(1)
        expected = ((predicted == labels).double() - confidence).abs().mean()
        found = expected_calibration_error(logits, labels, bins=30, equal_mass=True)
        assert_close(found, expected)

    @given(SEEDS, BINS, st.booleans())
    def test_bounds_and_invariances(self, seed, bins, equal_mass):
        logits, labels = drawn(31, seed=seed)
        found = expected_calibration_error(logits, labels, bins=bins, equal_mass=equal_mass)
        assert 0 <= found <= 1
        shifted = logits + torch.arange(31.0)[:, None]
        renamed, names = logits.flip(1), 3 - labels
        for other, truth in ((shifted, labels), (renamed, names)):
            again = expected_calibration_error(other, truth, bins=bins, equal_mass=equal_mass)
            assert_close(found, again, atol=1e-9, rtol=0)

    def test_labels_drawn_from_the_probabilities_have_little_and_less_with_more_rows(self):
        generator = torch.Generator().manual_seed(0)
        errors = []
        for n in (100, 10_000):
            logits = torch.randn(n, 5, generator=generator)
            labels = torch.multinomial(logits.softmax(1), 1, generator=generator)[:, 0]
            errors.append(expected_calibration_error(logits, labels).item())
        assert errors[1] < 0.02 < 0.04 < errors[0]

    def test_gradient(self):
        logits, labels = drawn(9)
        assert torch.autograd.gradcheck(
            lambda z: expected_calibration_error(z, labels, bins=3), logits.requires_grad_()
        )

    @pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float32])
    def test_keeps_the_dtype(self, dtype):
        logits, labels = drawn(dtype=dtype)
        found = expected_calibration_error(logits, labels)
        assert found.dtype == dtype
        assert found.ndim == 0

    def test_bad_input(self):
        logits, labels = drawn(5)
        with pytest.raises(ValueError, match="one class only"):
            expected_calibration_error(logits[:, :1], labels)
        with pytest.raises(ValueError, match=r"between 0 and 3, got 0 to 4"):
            expected_calibration_error(logits, torch.tensor([0, 1, 2, 3, 4]))
        with pytest.raises(TypeError, match=r"use labels\.long\(\)"):
            expected_calibration_error(logits, labels.double())
        with pytest.raises(ValueError, match="bins must be at least 1, got 0"):
            expected_calibration_error(logits, labels, bins=0)
        with pytest.raises(TypeError, match=r"bins must be a whole number, got 1\.5"):
            expected_calibration_error(logits, labels, bins=1.5)
        with pytest.raises(ValueError, match="contains NaN in 1 of 20 places"):
            reliability(
                logits.index_fill(0, torch.tensor([2]), 1).masked_fill(
                    torch.eye(5, 4).bool() & (torch.arange(5) == 0)[:, None], math.nan
                ),
                labels,
            )
        with pytest.warns(UserWarning, match="logits are due"):
            expected_calibration_error(logits.softmax(1), labels)


class TestFitTemperature:
    def test_by_hand(self):
        logits = torch.tensor([[4.0, 0.0]] * 4)
        found = fit_temperature(logits, torch.tensor([0, 0, 0, 1]))
        assert found == pytest.approx(4 / math.log(3))

    def test_warns_of_probabilities(self):
        logits, labels = drawn(80)
        with pytest.warns(UserWarning, match="logits are due"):
            fit_temperature(logits.softmax(1), labels)

    @pytest.mark.parametrize("scale", [0.1, 1.0, 20.0])
    def test_agrees_with_scipy(self, scale):
        logits, labels = drawn(80, scale=scale)
        theirs = minimize_scalar(
            lambda t: cross_entropy(logits / np.exp(t), labels).item(),
            bounds=(-6, 6),
            method="bounded",
            options={"xatol": 1e-9},
        )
        assert fit_temperature(logits, labels) == pytest.approx(np.exp(theirs.x), rel=1e-5)

    @given(SEEDS, st.floats(0.01, 100))
    def test_scales_with_the_logits(self, seed, factor):
        logits, labels = drawn(seed=seed)
        assume(right(logits, labels) != 1)
        found = fit_temperature(logits, labels)
        assert fit_temperature(factor * logits, labels) == pytest.approx(factor * found, rel=1e-9)
        assert fit_temperature(logits + 5, labels) == pytest.approx(found, rel=1e-6)
        assert fit_temperature(logits / found, labels) == pytest.approx(1, rel=1e-9)

    @given(SEEDS)
    def test_no_other_temperature_is_better(self, seed):
        logits, labels = drawn(seed=seed)
        best = fit_temperature(logits, labels)
        least = cross_entropy(logits / best, labels)
        for factor in (0.3, 0.97, 1.03, 3):
            assert cross_entropy(logits / (best * factor), labels) > least

    def test_mean_logit_under_the_probabilities_is_that_of_the_labels(self):
        """The condition for the optimum, Guo et al. (2017), supplement S2."""
        logits, labels = drawn()
        scaled = logits / fit_temperature(logits, labels)
        expected = (scaled.softmax(1) * logits).sum(1).mean()
        assert_close(expected, logits.gather(1, labels[:, None]).mean())

    def test_is_a_number_whatever_the_gradient(self):
        logits, labels = drawn(dtype=torch.float32)
        assert isinstance(fit_temperature(logits.requires_grad_(), labels), float)

    def test_where_there_is_none(self):
        logits, _ = drawn(6)
        with pytest.raises(ValueError, match="all 6 examples are classified right"):
            fit_temperature(logits, logits.argmax(1))
        with pytest.raises(ValueError, match="the best temperature is infinite"):
            fit_temperature(logits, logits.argmin(1))
        mixed = torch.tensor([[2.0, 0.0], [2.0, 0.0]])  # as often wrong as right
        with pytest.raises(ValueError, match="the best temperature is infinite"):
            fit_temperature(mixed, torch.tensor([0, 1]))

    def test_bad_input(self):
        logits, labels = drawn(5)
        with pytest.raises(ValueError, match=r"labels must have the shape \(5,\)"):
            fit_temperature(logits, labels[:4])
        with pytest.raises(ValueError, match="one class only"):
            fit_temperature(logits[:, :1], labels)


class TestGradCam:
    def test_by_hand(self):
        maps = torch.tensor([[[[1.0, 2.0]], [[3.0, 0.0]]]])
        slopes = torch.tensor([[[[1.0, 0.0]], [[0.0, -0.5]]]])
        assert_close(grad_cam(maps, slopes), torch.tensor([[[0.0, 1.0]]]))

    def test_behind_a_mean_and_a_linear_head_it_is_the_class_activation_map(self):
        generator = torch.Generator().manual_seed(0)
        maps = torch.rand(2, 3, 4, 5, generator=generator, dtype=torch.float64).requires_grad_()
        head = nn.Linear(3, 6).double()
        score = head(maps.mean((2, 3)))[:, 2].sum()
        (slopes,) = torch.autograd.grad(score, maps)
        expected = torch.einsum("c,nchw->nhw", head.weight[2], maps).relu() / 20
        assert_close(grad_cam(maps, slopes), expected)

    def test_gradient(self):
        generator = torch.Generator().manual_seed(1)
        maps, slopes = (
            torch.randn(2, 3, 2, 3, generator=generator, dtype=torch.float64).requires_grad_()
            for _ in range(2)
        )
        assert torch.autograd.gradcheck(grad_cam, (maps, slopes))

    @given(SEEDS, st.floats(0.1, 10))
    def test_properties(self, seed, factor):
        generator = torch.Generator().manual_seed(seed)
        maps, slopes = (
            torch.randn(2, 4, 3, 5, generator=generator, dtype=torch.float64) for _ in range(2)
        )
        found = grad_cam(maps, slopes)
        assert found.shape == (2, 3, 5)
        assert (found >= 0).all()
        assert_close(grad_cam(maps, factor * slopes), factor * found)
        order = torch.randperm(4, generator=generator)
        assert_close(grad_cam(maps[:, order], slopes[:, order]), found)
        assert_close(grad_cam(maps.flip(3), slopes), found.flip(2))
        assert_close(grad_cam(maps[:1], slopes[:1]), found[:1])

    def test_bad_input(self):
        maps = torch.ones(2, 3, 4, 5)
        with pytest.raises(ValueError, match="the shapes must be equal"):
            grad_cam(maps, maps[:1])
        with pytest.raises(ValueError, match=r"maps \(n, channels, height, width\), got \(2, 3\)"):
            grad_cam(torch.ones(2, 3), torch.ones(2, 3))
        with pytest.raises(ValueError, match="must be finite"):
            grad_cam(maps, math.inf * maps)
        with pytest.raises(TypeError, match="floating-point"):
            grad_cam(maps.long(), maps.long())
