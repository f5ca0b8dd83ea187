"""Learning curves: by hand, against NumPy and SciPy, gradients, properties, bad input."""

import math

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats
from torch.testing import assert_close

from mapping_lib.transferability import (
    area_under_curve,
    asymptotic_gain,
    jump_start,
    labels_saved,
    labels_to_threshold,
    paired_interval,
    transfer_ratio,
)

LABELS = torch.tensor([1, 2, 5, 10])
TRANSFER = torch.tensor([[0.5, 0.6, 0.8, 0.9], [0.4, 0.7, 0.7, 0.8]], dtype=torch.float64)
SCRATCH = torch.tensor([[0.1, 0.2, 0.5, 0.9], [0.2, 0.1, 0.6, 0.7]], dtype=torch.float64)
SCORES = st.lists(st.floats(0, 1), min_size=2, max_size=6)


def curve(scores):
    return torch.tensor(scores, dtype=torch.float64)


def steps(scores, *, seed=0):
    """As many increasing numbers of labels as there are scores, at uneven steps."""
    g = torch.Generator().manual_seed(seed)
    return torch.randint(1, 9, (len(scores),), generator=g).cumsum(0)


class TestEnds:
    def test_by_hand(self):
        assert_close(jump_start(TRANSFER, SCRATCH), curve([0.4, 0.2]))
        assert_close(asymptotic_gain(TRANSFER, SCRATCH), curve([0.0, 0.1]))
        assert_close(asymptotic_gain(TRANSFER, SCRATCH, last=2), curve([0.15, 0.1]))
        whole = (TRANSFER - SCRATCH).mean(1)
        assert_close(asymptotic_gain(TRANSFER, SCRATCH, last=4), whole)

    @given(SCORES)
    def test_of_one_curve_is_zero_and_turning_round_changes_the_sign(self, scores):
        a, b = curve(scores), curve(scores).flip(0)
        assert jump_start(a, a) == asymptotic_gain(a, a) == 0
        assert jump_start(a, b) == -jump_start(b, a) == -asymptotic_gain(a, b)

    @pytest.mark.parametrize("last", [0, 5, -1, 1.5])
    def test_number_of_points(self, last):
        with pytest.raises(ValueError, match=r"last must be a whole number from 1 to 4, got"):
            asymptotic_gain(TRANSFER, SCRATCH, last=last)
        seeds = torch.zeros(2, 3, 4)
        with pytest.raises(ValueError, match=r"from 1 to 4, got"):
            asymptotic_gain(seeds, seeds, last=last)


class TestThreshold:
    def test_by_hand(self):
        needs = labels_to_threshold(LABELS, SCRATCH, threshold=0.4)
        # 0.2 at 2 and 0.5 at 5: two thirds of the way; 0.1 at 2 and 0.6 at 5: three fifths
        assert_close(needs, curve([4.0, 3.8]))

    def test_at_a_point_and_at_the_first(self):
        assert_close(labels_to_threshold(LABELS, TRANSFER[0], threshold=0.8), curve(5.0))
        assert_close(labels_to_threshold(LABELS, TRANSFER[0], threshold=0.5), curve(1.0))
        assert_close(labels_to_threshold(LABELS, TRANSFER[0], threshold=-3), curve(1.0))

    def test_first_crossing_of_a_curve_that_falls_again(self):
        scores = curve([0.2, 0.6, 0.1, 0.9])
        assert_close(labels_to_threshold(LABELS, scores, threshold=0.4), curve(1.5))

    def test_never_reached(self):
        assert_close(labels_to_threshold(LABELS, SCRATCH, threshold=0.8), curve([8.75, math.inf]))
        high = labels_to_threshold(LABELS, SCRATCH[0], threshold=0.91)
        assert high == math.inf

    def test_saved_by_hand(self):
        saved = labels_saved(LABELS, TRANSFER, SCRATCH, threshold=0.7)
        # 0.7: transfer at 3.5 and 2, scratch at 7.5 and 10
        assert_close(saved, curve([4.0, 8.0]))
        assert_close(labels_saved(LABELS, SCRATCH, TRANSFER, threshold=0.7), -saved)

    def test_saved_where_one_or_both_never_reach_it(self):
        a, b = TRANSFER[1], SCRATCH[1]
        assert labels_saved(LABELS, a, b, threshold=0.75) == math.inf
        assert labels_saved(LABELS, b, a, threshold=0.75) == -math.inf
        assert labels_saved(LABELS, a, b, threshold=0.95).isnan()

    @given(SCORES, st.floats(0, 1))
    def test_agrees_with_a_search_along_the_line(self, scores, threshold):
        a, n = curve(scores), steps(scores)
        found = float(labels_to_threshold(n, a, threshold=threshold))
        if found == math.inf:
            assert max(scores) < threshold
            return
        assert n[0] <= found <= n[-1]
        at = np.interp(found, n, scores)
        assert at >= threshold - 1e-9
        earlier = np.linspace(int(n[0]), found, 50, endpoint=False)
        assert found == n[0] or (np.interp(earlier, n, scores) < threshold + 1e-9).all()

    @given(SCORES)
    def test_a_higher_threshold_takes_no_fewer_labels(self, scores):
        a, n = curve(scores), steps(scores)
        needs = [float(labels_to_threshold(n, a, threshold=t)) for t in (0.2, 0.4, 0.4, 0.7)]
        assert needs == sorted(needs)

    @pytest.mark.parametrize("threshold", [math.nan, math.inf, -math.inf])
    def test_threshold_must_be_a_number(self, threshold):
        with pytest.raises(ValueError, match="threshold must"):
            labels_to_threshold(LABELS, SCRATCH, threshold=threshold)
        with pytest.raises(TypeError, match="threshold must be a number"):
            labels_to_threshold(LABELS, SCRATCH, threshold="high")


class TestArea:
    def test_by_hand(self):
        # (1 · 0.15 + 3 · 0.35 + 5 · 0.7) / 9 and (1 · 0.15 + 3 · 0.35 + 5 · 0.65) / 9
        assert_close(area_under_curve(LABELS, SCRATCH), curve([4.7 / 9, 4.45 / 9]))

    @given(SCORES)
    def test_against_numpy(self, scores):
        n = steps(scores, seed=1)
        expected = np.trapezoid(scores, n) / float(n[-1] - n[0])
        assert_close(area_under_curve(n, curve(scores)), curve(float(expected)))

    @given(SCORES, st.floats(0.1, 10), st.floats(-5, 5))
    def test_does_not_depend_on_the_unit_of_the_labels(self, scores, unit, shift):
        n = steps(scores).double()
        a = curve(scores)
        assert_close(area_under_curve(unit * n + shift, a), area_under_curve(n, a))
        area = float(area_under_curve(n, a))
        assert min(scores) - 1e-12 <= area <= max(scores) + 1e-12

    def test_ratio_by_hand(self):
        n = torch.tensor([0, 1, 4])
        a, b = curve([0.4, 0.6, 1.0]), curve([0.2, 0.2, 0.6])
        # areas (0.5 + 3 · 0.8) / 4 = 0.725 and (0.2 + 3 · 0.4) / 4 = 0.35
        assert_close(transfer_ratio(n, a, b), curve(0.375 / 0.35))
        assert_close(transfer_ratio(n, b, a), curve(-0.375 / 0.725))
        assert transfer_ratio(n, a, a) == 0

    def test_ratio_depends_on_the_zero_of_the_scores(self):
        n = torch.tensor([1, 2])
        low, high = curve([0.1, 0.1]), curve([0.2, 0.2])
        assert_close(transfer_ratio(n, high, low), curve(1.0))
        assert_close(transfer_ratio(n, high + 1, low + 1), curve(0.1 / 1.1))
        assert_close(transfer_ratio(n, 7 * high, 7 * low), curve(1.0))

    def test_ratio_needs_an_area(self):
        for scratch in (curve([0.0, 0.0]), curve([0.5, -0.6])):
            with pytest.raises(ValueError, match="area from scratch must be positive"):
                transfer_ratio(torch.tensor([1, 2]), curve([0.5, 0.5]), scratch)

    def test_one_point_has_no_area(self):
        with pytest.raises(ValueError, match="one point has no area"):
            area_under_curve(torch.tensor([1]), curve([0.5]))


class TestInterval:
    @pytest.mark.parametrize("confidence", [0.5, 0.9, 0.95])
    def test_against_scipy(self, confidence):
        x, y = torch.randn(2, 7, 3, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
        found = paired_interval(x, y, confidence=confidence)
        expected = stats.ttest_rel(x.numpy(), y.numpy()).confidence_interval(confidence)
        assert_close(found, torch.from_numpy(np.stack(expected)))

    def test_default_is_95_percent(self):
        x, y = curve([1.0, 2.0, 4.0]), curve([0.5, 1.5, 2.0])
        assert_close(paired_interval(x, y), paired_interval(x, y, confidence=0.95))

    def test_what_both_runs_share_falls_out(self):
        x, y = curve([0.5, 0.7, 0.6]), curve([0.4, 0.5, 0.55])
        hard = curve([100.0, -3.0, 7.0])
        assert_close(paired_interval(x + hard, y + hard), paired_interval(x, y))
        assert_close(paired_interval(y, x), -paired_interval(x, y).flip(0))

    def test_holds_the_mean_as_often_as_it_says(self):
        g = torch.Generator().manual_seed(0)
        x = torch.randn(5, 4000, generator=g, dtype=torch.float64) + 0.3
        low, high = paired_interval(x, torch.zeros_like(x), confidence=0.8)
        held = ((low < 0.3) & (high > 0.3)).double().mean()
        assert abs(float(held) - 0.8) < 0.03

    def test_bad_input(self):
        with pytest.raises(ValueError, match="one seed says nothing about spread"):
            paired_interval(curve([1.0]), curve([0.0]))
        for confidence in (0, 1, 1.5):
            with pytest.raises(ValueError, match="confidence must"):
                paired_interval(TRANSFER, SCRATCH, confidence=confidence)


class TestAll:
    of_two = pytest.mark.parametrize(
        "measure",
        [
            jump_start,
            asymptotic_gain,
            lambda a, b: labels_saved(LABELS, a, b, threshold=0.55),
            lambda a, b: transfer_ratio(LABELS, a, b),
            paired_interval,
        ],
    )

    @of_two
    def test_gradients(self, measure):
        curves = [a.clone().requires_grad_() for a in (TRANSFER, SCRATCH)]
        assert torch.autograd.gradcheck(measure, curves)

    @of_two
    @pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.bfloat16])
    def test_dtype_is_kept(self, measure, dtype):
        assert measure(TRANSFER.to(dtype), SCRATCH.to(dtype)).dtype == dtype

    @of_two
    def test_bad_curves(self, measure):
        with pytest.raises(ValueError, match="contains NaN in 1 of 8 places"):
            measure(
                TRANSFER,
                SCRATCH.clone()
                .index_fill_(1, torch.tensor(2), 0.1)
                .clone()
                .mul(torch.tensor([[1, 1, math.nan, 1], [1, 1, 1, 1]])),
            )
        with pytest.raises(ValueError, match="must be finite, got 8 infinite scores"):
            measure(TRANSFER, SCRATCH + math.inf)
        with pytest.raises(ValueError, match="shapes must be equal"):
            measure(TRANSFER, SCRATCH[:1])
        with pytest.raises(TypeError, match="one dtype"):
            measure(TRANSFER.float(), SCRATCH)
        with pytest.raises(TypeError, match="floating-point"):
            measure(TRANSFER.long(), SCRATCH)

    def test_a_single_number_is_no_curve(self):
        with pytest.raises(ValueError, match="transfer is a single number"):
            jump_start(curve(0.5), curve(0.5))
        with pytest.raises(ValueError, match="scores is a single number"):
            area_under_curve(LABELS, curve(0.5))

    @pytest.mark.parametrize(
        "measure",
        [
            area_under_curve,
            lambda n, a: labels_to_threshold(n, a, threshold=0.5),
            lambda n, a: labels_saved(n, a, a, threshold=0.5),
            lambda n, a: transfer_ratio(n, a, a),
        ],
    )
    def test_bad_labels(self, measure):
        for wrong in ([1, 5, 2, 10], [1, 2, 2, 10], [1, 2, 5, math.inf], [math.nan, 2, 5, 10]):
            with pytest.raises(ValueError, match="increase from point to point"):
                measure(torch.tensor(wrong), SCRATCH)
        with pytest.raises(ValueError, match=r"labels must have the shape \(4,\)"):
            measure(LABELS[:3], SCRATCH)
        with pytest.raises(TypeError, match=r"labels must be a torch\.Tensor"):
            measure([1, 2, 5, 10], SCRATCH)

    def test_inside_vmap(self):
        scores = torch.stack([TRANSFER, SCRATCH])
        found = torch.func.vmap(lambda a: area_under_curve(LABELS, a))(scores)
        assert_close(found, area_under_curve(LABELS, scores))
