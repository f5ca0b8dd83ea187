"""Instances: weights against densities and other solvers, boosting by hand, selection."""

import itertools
import math
import warnings
from functools import partial

import numpy as np
import pytest
import scipy.optimize
import scipy.special
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch.testing import assert_close

from mapping_lib import _solvers, instances
from mapping_lib.adaptation import importance_weights
from mapping_lib.instances import (
    classifier_ratio,
    effective_sample_size,
    k_center,
    kernel_mean_matching,
    kliep,
    select_confident,
    self_paced_weights,
    tradaboost,
)
from mapping_lib.kernels import gaussian_kernel, median_heuristic

SEEDS = st.integers(0, 10_000)


def generator(seed=0):
    return torch.Generator().manual_seed(seed)


def normal(*size, seed=0, dtype=torch.float64):
    return torch.randn(*size, generator=generator(seed), dtype=dtype)


def shifted(n=40, m=30, d=2, seed=0, by=0.5):
    """A source around 0 and a narrower target beside it."""
    return normal(n, d, seed=seed), 0.8 * normal(m, d, seed=seed + 1) + by


def program(source, target, bandwidth, ridge):
    """K and kappa of the quadratic program, written once more with NumPy."""
    x, y = source.numpy(), target.numpy()
    squared = ((x[:, None] - x[None]) ** 2).sum(2)
    K = np.exp(-squared / (2 * bandwidth**2)) + ridge * np.eye(len(x))
    squared = ((x[:, None] - y[None]) ** 2).sum(2)
    return K, len(x) / len(y) * np.exp(-squared / (2 * bandwidth**2)).sum(1)


def objective(K, kappa, beta):
    beta = np.asarray(beta)
    return beta @ K @ beta / 2 - kappa @ beta


def quiet(function, *arguments, **settings):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)
        return function(*arguments, **settings)


@pytest.mark.parametrize(
    ("function", "settings"),
    [
        (kernel_mean_matching, {}),
        (kliep, {"bandwidth": 1.0, "generator": generator()}),
        (classifier_ratio, {}),
    ],
)
def test_domains_may_be_named(function, settings):
    source, target = shifted()
    assert_close(
        quiet(function, source=source, target=target, **settings),
        quiet(function, source, target, **settings),
    )


def test_settings_by_keyword_alone():
    source, target = shifted()
    labels, few = torch.arange(40) % 2, torch.arange(30) % 2
    calls = [
        lambda: kernel_mean_matching(source, target, 1.0),
        lambda: kliep(source, target, generator()),
        lambda: classifier_ratio(source, target, 1.0),
        lambda: tradaboost(source, labels, target, few, 5),
        lambda: select_confident(source, 0.5),
        lambda: k_center(source, 3),
        lambda: self_paced_weights(source, 1.0),
    ]
    for call in calls:
        with pytest.raises(TypeError, match="positional argument"):
            call()


class TestEffectiveSampleSize:
    def test_by_hand(self):
        assert_close(effective_sample_size(torch.tensor([3.0, 1.0, 0.0])), torch.tensor(1.6))

    @given(SEEDS, st.floats(1e-3, 1e3))
    def test_bounds_scale_and_order(self, seed, scale):
        weights = normal(7, seed=seed).exp()
        size = effective_sample_size(weights)
        assert 1 <= size <= 7
        assert_close(effective_sample_size(scale * weights.flip(0)), size)

    def test_equal_weights_are_worth_their_number(self):
        assert effective_sample_size(torch.full((5,), 0.2)) == 5

    @pytest.mark.parametrize("scale", [1e-30, 1e30])
    def test_no_overflow(self, scale):
        assert_close(
            effective_sample_size(torch.tensor([3.0, 1.0, 0.0]) * scale), torch.tensor(1.6)
        )

    def test_it_is_the_factor_of_a_weighted_means_variance(self):
        weights = torch.tensor([4.0, 2.0, 1.0, 1.0], dtype=torch.float64)
        values = normal(200_000, 4)
        means = values @ (weights / weights.sum())
        assert_close(1 / means.var(), effective_sample_size(weights), rtol=0.02, atol=0)

    def test_gradients(self):
        weights = normal(5).exp().requires_grad_()
        assert torch.autograd.gradcheck(effective_sample_size, weights)

    @pytest.mark.parametrize(
        ("weights", "error", "words"),
        [
            (torch.tensor([1.0, -2.0]), ValueError, "must not be negative, got -2"),
            (torch.zeros(3), ValueError, "all 3 weights are 0"),
            (torch.ones(2, 2), ValueError, r"must be a vector.*got shape \(2, 2\)"),
            (torch.tensor([1.0, torch.nan]), ValueError, "contains NaN"),
            (torch.tensor([1.0, torch.inf]), ValueError, "must be finite"),
            (torch.tensor([1, 2]), TypeError, "floating-point"),
        ],
    )
    def test_bad_input(self, weights, error, words):
        with pytest.raises(error, match=words):
            effective_sample_size(weights)


class TestKernelMeanMatching:
    def test_far_apart_rows_get_their_shares(self):
        source = torch.tensor([[0.0], [99.0], [198.0]])
        target = torch.tensor([[0.0], [0.0], [0.0], [99.0], [198.0]])
        weights = kernel_mean_matching(source, target, bandwidth=1, ridge=0)
        assert_close(weights, torch.tensor([9 / 5, 3 / 5, 3 / 5]))

    def test_ridge_shrinks_them(self):
        source, target = torch.tensor([[0.0], [99.0]]), torch.tensor([[0.0]] * 3 + [[99.0]])
        weights = kernel_mean_matching(source, target, bandwidth=1, ridge=0.25)
        assert_close(weights, torch.tensor([1.5, 0.5]) / 1.25)
        default = quiet(kernel_mean_matching, source, target, bandwidth=1)
        assert_close(default.sum(), torch.tensor(2**0.5), atol=1e-5, rtol=0)  # slack's least
        assert_close(default.diff(), torch.tensor([-0.5]), atol=1e-5, rtol=0)

    def test_a_bound_holds(self):
        source, target = torch.tensor([[0.0], [99.0]]), torch.tensor([[0.0]] * 3 + [[99.0]])
        weights = kernel_mean_matching(source, target, bandwidth=1, ridge=0, bound=1.2)
        assert_close(weights, torch.tensor([1.2, 0.5]), atol=1e-5, rtol=0)

    @pytest.mark.parametrize(("slack", "total"), [(0.0, 2.0), (0.2, 1.6), (0.4, 1.2)])
    def test_the_sum_stays_in_the_slack_from_below(self, slack, total):
        # without slack's bound the ridge 1 halves the weights; their difference stays 1/2
        source, target = torch.tensor([[0.0], [99.0]]), torch.tensor([[0.0]] * 3 + [[99.0]])
        weights = quiet(kernel_mean_matching, source, target, bandwidth=1, ridge=1, slack=slack)
        expected = torch.tensor([total / 2 + 0.25, total / 2 - 0.25])
        assert_close(weights, expected, atol=1e-5, rtol=0)

    def test_the_sum_stays_in_the_slack_from_above(self):
        # between two source rows the target is near both, so the free optimum sums to more than 2
        source, target = torch.tensor([[-1.0], [1.0]]), torch.tensor([[0.0]])
        free = quiet(kernel_mean_matching, source, target, bandwidth=1, ridge=0, slack=0.5)
        near, far = math.exp(-1 / 2), math.exp(-2)
        assert_close(free, torch.full((2,), 2 * near / (1 + far)))
        weights = quiet(kernel_mean_matching, source, target, bandwidth=1, ridge=0, slack=0.05)
        assert_close(weights, torch.full((2,), 1.05))

    def test_slack_by_default(self):
        # no target row near the second source row and a large ridge: the sum falls to its bound
        source, target = torch.tensor([[0.0], [9.0], [18.0], [27.0]]), torch.tensor([[0.0]])
        weights = quiet(kernel_mean_matching, source, target, bandwidth=1, ridge=1000.0)
        assert_close(weights.sum(), torch.tensor(4 * 4**-0.5), atol=1e-4, rtol=0)

    @pytest.mark.parametrize("ridge", [0.0, 0.5])
    @pytest.mark.parametrize(("bound", "slack"), [(1000.0, 0.9), (1.5, 0.9), (1000.0, 0.01)])
    def test_agrees_with_scipy(self, ridge, bound, slack):
        source, target = shifted(25, 20)
        n = len(source)
        K, kappa = program(source, target, 1.0, ridge)
        sums = scipy.optimize.LinearConstraint(np.ones(n), n * (1 - slack), n * (1 + slack))
        found = scipy.optimize.minimize(
            lambda x: objective(K, kappa, x),
            np.ones(n),
            jac=lambda x: K @ x - kappa,
            hess=lambda _: K,
            method="trust-constr",
            bounds=scipy.optimize.Bounds(0, bound),
            constraints=sums,
            options={"gtol": 1e-9, "xtol": 1e-12, "maxiter": 3000},
        )
        weights = quiet(
            kernel_mean_matching,
            source,
            target,
            bandwidth=1.0,
            ridge=ridge,
            bound=bound,
            slack=slack,
        )
        scale = abs(objective(K, kappa, found.x))
        assert objective(K, kappa, weights) <= objective(K, kappa, found.x) + 1e-7 * scale
        assert weights.min() >= -1e-9
        assert weights.max() <= bound + 1e-9
        assert n * (1 - slack) - 1e-6 <= weights.sum() <= n * (1 + slack) + 1e-6
        if ridge:
            assert_close(weights, torch.as_tensor(found.x), atol=1e-3, rtol=0)

    @given(SEEDS, st.sampled_from([0.0, 0.1, 1.0]), st.sampled_from([1.5, 50.0]))
    def test_the_optimum_has_no_way_down(self, seed, ridge, bound):
        source, target = shifted(12, 9, seed=seed)
        n, slack = 12, 0.3
        K, kappa = program(source, target, 1.0, ridge)
        weights = quiet(
            kernel_mean_matching,
            source,
            target,
            bandwidth=1.0,
            ridge=ridge,
            bound=bound,
            slack=slack,
        )
        gradient = K @ weights.numpy() - kappa
        lowest = scipy.optimize.linprog(
            gradient,
            A_ub=[np.ones(n), -np.ones(n)],
            b_ub=[n * (1 + slack), -n * (1 - slack)],
            bounds=(0, bound),
        )
        assert gradient @ weights.numpy() - lowest.fun <= 1e-5 * abs(objective(K, kappa, weights))

    @pytest.mark.parametrize("ridge", [0.05, 1.0])
    def test_gradients_and_interior_points_find_the_same(self, ridge, monkeypatch):
        source, target = shifted(501, 400, d=8)
        K, kappa = (torch.as_tensor(x) for x in program(source, target, 2.0, ridge))
        settings = {"bandwidth": 2.0, "ridge": ridge}
        monkeypatch.setattr(_solvers, "PRODUCTS", 1)
        calls = []
        inner = _solvers.interior_point
        monkeypatch.setattr(
            _solvers, "interior_point", lambda *a, **s: calls.append(1) or inner(*a, **s)
        )
        by_gradient = quiet(kernel_mean_matching, source, target, **settings)
        assert not calls
        monkeypatch.setattr(_solvers, "SMALL", 501)
        by_points = quiet(kernel_mean_matching, source, target, **settings)
        assert calls
        scale = abs(objective(K.numpy(), kappa.numpy(), by_points))
        low, high = (objective(K.numpy(), kappa.numpy(), x) for x in (by_points, by_gradient))
        assert abs(low - high) <= 1e-6 * scale
        assert_close(by_gradient, by_points, atol=0.02, rtol=0)

    @pytest.mark.parametrize("total", [None, 90.0])
    @pytest.mark.parametrize("ridge", [0.0, 0.3])
    def test_a_root_of_low_rank_gives_the_same(self, ridge, total):
        source, target = shifted(100, 70, d=1)
        K, kappa = (torch.as_tensor(x) for x in program(source, target, 1.5, 0.0))
        root = _solvers.low_rank_root(K)
        assert root.shape[1] < 20
        assert_close(root @ root.T, K, atol=1e-8, rtol=0)
        full = K + ridge * torch.eye(100).double()
        solve = partial(_solvers.interior_point, full, kappa, 50.0, total=total)
        dense, low = (solve(root=r, ridge=ridge).numpy() for r in (None, root))
        gap = objective(full.numpy(), kappa.numpy(), low) - objective(
            full.numpy(), kappa.numpy(), dense
        )
        assert abs(gap) <= 1e-8 * abs(objective(full.numpy(), kappa.numpy(), dense))
        if ridge:
            assert_close(low, dense, atol=1e-3, rtol=0)

    def test_no_root_of_low_rank(self):
        source, _ = shifted(100, 70, d=6)
        assert _solvers.low_rank_root(gaussian_kernel(source, source, bandwidth=0.5)) is None
        assert _solvers.low_rank_root(torch.eye(3)) is None
        # all but the last digits in few steps
        K = torch.diag(torch.tensor([1.0] * 10 + [1e-6] * 90).double())
        assert _solvers.low_rank_root(K) is None

    def test_a_root_makes_gradients_needless(self, monkeypatch):
        monkeypatch.setattr(_solvers, "SMALL", 10)
        monkeypatch.setattr(_solvers, "projected_gradient", None)
        source, target = shifted(100, 70, d=1)
        assert kernel_mean_matching(source, target).shape == (100,)

    def test_what_gradients_do_not_settle_interior_points_finish(self, monkeypatch):
        source, target = shifted(60, 40, d=1)
        expected = kernel_mean_matching(source, target, ridge=0.1)
        monkeypatch.setattr(_solvers, "SMALL", 10)
        monkeypatch.setattr(_solvers, "PRODUCTS", 0.05)
        found = kernel_mean_matching(source, target, ridge=0.1)
        assert_close(found, expected, atol=1e-3, rtol=0)

    @pytest.mark.parametrize("slack", [0.0, 0.02])
    def test_gradients_keep_to_the_sum(self, slack, monkeypatch):
        monkeypatch.setattr(_solvers, "SMALL", 10)
        monkeypatch.setattr(_solvers, "PRODUCTS", 10)
        monkeypatch.setattr(_solvers, "interior_point", None)
        source, target = shifted(80, 50, d=3)
        weights = kernel_mean_matching(source, target, ridge=0.5, slack=slack)
        monkeypatch.undo()
        expected = kernel_mean_matching(source, target, ridge=0.5, slack=slack)
        assert_close(weights.sum(), expected.sum(), atol=1e-3, rtol=0)
        assert_close(weights, expected, atol=0.01, rtol=0)
        assert weights.sum() >= 80 * (1 - slack) - 1e-9

    def test_median_heuristic_by_default(self):
        source, target = shifted()
        bandwidth = float(median_heuristic(source, target))
        expected = kernel_mean_matching(source, target, bandwidth=bandwidth)
        assert_close(kernel_mean_matching(source, target), expected)

    def test_with_the_ridge_it_comes_near_the_true_ratio_and_without_it_does_not(self):
        source, target = shifted(300, 300, d=1, by=1.0)
        ratio = torch.exp(source**2 / 2 - (source - 1) ** 2 / (2 * 0.64)).squeeze(1) / 0.8
        errors = [
            (quiet(kernel_mean_matching, source, target, ridge=r) - ratio).square().mean().sqrt()
            for r in (1.0, 0.0)
        ]
        assert errors[0] < 0.4 < 1.0 < errors[1]

    @given(SEEDS)
    def test_order_shift_and_turn_change_nothing(self, seed):
        source, target = shifted(15, 10, seed=seed)
        turn = torch.linalg.qr(normal(2, 2, seed=seed)).Q
        weights = quiet(kernel_mean_matching, source, target)
        moved = quiet(kernel_mean_matching, source.flip(0) @ turn + 3, target @ turn + 3)
        assert_close(moved.flip(0), weights, atol=1e-5, rtol=1e-5)

    def test_equal_sets_get_nearly_equal_weights(self):
        rows = normal(50, 2)
        weights = kernel_mean_matching(rows, rows)
        assert weights.std() < 0.1
        assert_close(kernel_mean_matching(rows, rows, ridge=0).mean(), torch.tensor(1.0).double())

    @pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float32])
    def test_dtype_and_no_gradient(self, dtype):
        source, target = (x.to(dtype) for x in shifted())
        weights = kernel_mean_matching(source.requires_grad_(), target)
        assert weights.dtype == dtype
        assert not weights.requires_grad

    @pytest.mark.parametrize("by", [6.0, 20.0])
    @pytest.mark.parametrize("ridge", [0.0, 1.0])
    def test_no_overlap_gives_a_warning_with_the_effective_size(self, by, ridge):
        words = r"stands for [0-4]?\d% of the target only.*of 40 rows worth \d+\.\d equal ones"
        with pytest.warns(UserWarning, match=words):
            kernel_mean_matching(*shifted(by=by), ridge=ridge)

    def test_few_rows_that_match_give_a_warning_with_the_effective_size(self):
        with pytest.warns(UserWarning, match=r"40 weights are worth [123]\.\d equal ones"):
            kernel_mean_matching(*shifted(by=1.0), ridge=0)

    def test_the_share_of_the_target_is_a_product_of_means(self):
        source, target = shifted(30, 1100, by=3.0)
        weights = quiet(kernel_mean_matching, source, target, bandwidth=1.5, ridge=0.3)
        across = gaussian_kernel(source, target, bandwidth=1.5).mean(1)
        some = target[::3]  # of 1,100 at most 500 are enough
        share = weights @ across / 30 / gaussian_kernel(some, some, bandwidth=1.5).mean()
        with pytest.warns(UserWarning, match=f"stands for {float(share):.0%} of") as caught:
            kernel_mean_matching(source, target, bandwidth=1.5, ridge=0.3)
        assert f"{float(effective_sample_size(weights)):.1f} equal" in str(caught[0].message)
        assert caught[0].filename == __file__

    @pytest.mark.parametrize("seed", range(8))
    def test_domains_that_overlap_give_no_warning(self, seed):
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            kernel_mean_matching(*shifted(seed=seed))
            kliep(*shifted(seed=seed), generator=generator(seed))
            classifier_ratio(*shifted(seed=seed))

    def test_nothing_within_reach(self):
        with pytest.raises(ValueError, match=r"within reach of bandwidth=0\.1; choose a larger"):
            kernel_mean_matching(*shifted(by=60.0), bandwidth=0.1)

    @pytest.mark.parametrize(
        ("settings", "error", "words"),
        [
            ({"bound": 1.0}, ValueError, "bound must be above 1"),
            ({"bound": math.inf}, ValueError, "bound must lie in"),
            ({"slack": 1.5}, ValueError, r"slack must lie in \[0, 1\]"),
            ({"slack": -0.1}, ValueError, "slack must lie in"),
            ({"ridge": -1.0}, ValueError, "ridge must lie in"),
            ({"bandwidth": 0.0}, ValueError, "bandwidth must be positive"),
            ({"bound": "large"}, TypeError, "bound must be a number"),
        ],
    )
    def test_bad_settings(self, settings, error, words):
        with pytest.raises(error, match=words):
            kernel_mean_matching(*shifted(), **settings)

    def test_bad_features(self):
        with pytest.raises(ValueError, match="widths must be equal"):
            kernel_mean_matching(torch.randn(4, 2), torch.randn(4, 3))
        with pytest.raises(ValueError, match="source contains NaN"):
            kernel_mean_matching(torch.full((4, 2), torch.nan), torch.randn(4, 2))


def likelihood(source, target, centres, bandwidth):
    """The largest likelihood by SciPy: a softmax makes the constraints go away."""
    A = gaussian_kernel(target, centres, bandwidth=bandwidth)
    A = A / gaussian_kernel(source, centres, bandwidth=bandwidth).mean(0)
    A = A.numpy()

    def loss(z):
        gamma = scipy.special.softmax(z)
        w = A @ gamma
        slope = A.T @ (1 / w) / len(w)
        return -np.log(w).mean(), -gamma * (slope - slope @ gamma)

    found = scipy.optimize.minimize(
        loss, np.zeros(A.shape[1]), jac=True, method="BFGS", options={"maxiter": 5000}
    )
    return -found.fun


class TestKliep:
    def test_the_bandwidth_is_the_likeliest_on_rows_held_out(self):
        """The fit's own rows would choose 0.2 here, and a single held-out row 0.8."""
        draw = generator()
        source = 1.5 * torch.randn(60, 1, generator=draw, dtype=torch.float64)
        target = 0.6 * torch.randn(15, 1, generator=draw, dtype=torch.float64) + 0.5
        order, fold = torch.randperm(15, generator=generator()), torch.arange(15) % 5
        bandwidths = (0.1, 0.2, 0.4, 0.8)

        def likelihood(bandwidth):
            settings = {"bandwidth": bandwidth, "generator": generator()}
            held = (
                kliep(source, target[order[fold != k]], at=target[order[fold == k]], **settings)
                for k in range(5)
            )
            return torch.cat(list(held)).log().sum()

        best = max(bandwidths, key=likelihood)
        assert best == 0.4
        expected = kliep(source, target, bandwidth=best, generator=generator())
        found = kliep(source, target, bandwidth=bandwidths, generator=generator())
        assert_close(found, expected)

    def test_far_apart_rows_get_their_shares(self):
        source = torch.tensor([[0.0], [99.0], [198.0]])
        target = torch.tensor([[0.0], [0.0], [0.0], [99.0], [198.0]])
        weights = kliep(source, target, bandwidth=1, generator=generator())
        assert_close(weights, torch.tensor([9 / 5, 3 / 5, 3 / 5]), atol=1e-3, rtol=0)

    @given(SEEDS, st.sampled_from([0.5, 1.0, 3.0]))
    def test_reaches_the_largest_likelihood_and_the_mean_1(self, seed, bandwidth):
        source, target = shifted(20, 15, seed=seed)
        w = quiet(kliep, source, target, bandwidth=bandwidth, generator=generator(), at=target)
        best = likelihood(source, target, target, bandwidth)
        assert w.log().mean() >= best - 2e-6
        weights = quiet(kliep, source, target, bandwidth=bandwidth, generator=generator())
        assert_close(weights.mean(), torch.tensor(1.0).double())
        assert (weights >= 0).all()

    def test_centres_are_so_many_target_rows(self):
        source, target = shifted(20, 15)
        bests = {
            tuple(rows): likelihood(source, target, target[list(rows)], 1.0)
            for rows in itertools.combinations(range(15), 1)
        }
        w = kliep(source, target, bandwidth=1.0, centres=1, generator=generator(), at=target)
        assert min(abs(w.log().mean() - best) for best in bests.values()) < 1e-5
        k = gaussian_kernel(source, target, bandwidth=1.0)
        weights = kliep(source, target, bandwidth=1.0, centres=1, generator=generator())
        assert any(torch.allclose(weights, k[:, j] / k[:, j].mean()) for j in range(15))

    def test_a_hundred_centres_by_default(self):
        rows = 9.0 * torch.arange(101).double().unsqueeze(1)  # each is its own centre, or has none
        weights = kliep(rows, rows, bandwidth=1.0, generator=generator())
        assert (weights > 1e-3).sum() == 100
        weights = kliep(rows, rows, bandwidth=1.0, centres=101, generator=generator())
        assert (weights > 1e-3).sum() == 101

    def test_other_draws_other_centres(self):
        source, target = shifted()
        draw = lambda seed: kliep(source, target, centres=3, generator=generator(seed))  # noqa: E731
        assert_close(draw(1), draw(1))
        assert not torch.allclose(draw(1), draw(2))

    def test_median_heuristic_by_default(self):
        source, target = shifted()
        bandwidth = float(median_heuristic(source, target))
        expected = kliep(source, target, bandwidth=bandwidth, generator=generator())
        assert_close(kliep(source, target, generator=generator()), expected)

    def test_the_bandwidth_with_the_best_held_out_likelihood(self):
        source, target = shifted(60, 43, d=1)
        bandwidths = [0.02, 0.5, 20.0]
        chosen = kliep(source, target, bandwidth=bandwidths, generator=generator())
        each = [
            quiet(kliep, source, target, bandwidth=b, generator=generator()) for b in bandwidths
        ]
        assert [torch.equal(chosen, weights) for weights in each] == [False, True, False]
        order = torch.randperm(43, generator=generator())
        scores = []
        for bandwidth in bandwidths:
            score = 0
            for fold in range(5):
                out = torch.arange(43) % 5 == fold
                kept, held = target[order[~out]], target[order[out]]
                w = quiet(kliep, source, kept, bandwidth=bandwidth, generator=generator(), at=held)
                score += w.clamp(min=2.2250738585072014e-308).log().sum()
            scores.append(score)
            found = instances._held_out_likelihood(source, target, order, 100, bandwidth)
            assert found == pytest.approx(float(score), rel=1e-3)
        assert max(scores) == scores[1]
        assert instances._likeliest(source, target, order, 100, bandwidths) == 0.5
        assert instances._likeliest(source, target, order, 100, (2.0, 0.02)) == 2.0

    def test_a_held_out_row_is_no_centre(self):
        # with a tiny bandwidth each row's own kernel would give it a high likelihood
        source = torch.linspace(0, 1, 50).double().unsqueeze(1)
        target = source[::2] + 0.001
        order = torch.randperm(25, generator=generator())
        assert instances._likeliest(source, target, order, 100, [0.004, 0.5]) == 0.5

    def test_near_the_true_ratio(self):
        source, target = shifted(300, 300, d=1)
        ratio = torch.exp(source**2 / 2 - (source - 0.5) ** 2 / (2 * 0.64)).squeeze(1) / 0.8
        weights = kliep(source, target, bandwidth=1.0, generator=generator())
        assert (weights - ratio).square().mean().sqrt() < 0.3

    def test_a_target_row_out_of_reach_counts_for_nothing(self):
        source, target = shifted(20, 15)
        far = torch.cat([target, torch.full((1, 2), 1e3).double()])
        weights = kliep(source, far, bandwidth=1.0, centres=16, generator=generator())
        assert weights.isfinite().all()
        alone = kliep(source, target, bandwidth=1.0, centres=15, generator=generator())
        assert_close(weights, alone, atol=1e-2, rtol=0)

    def test_dtype_and_no_gradient(self):
        source, target = (x.float() for x in shifted())
        weights = kliep(source.requires_grad_(), target, generator=generator())
        assert weights.dtype == torch.float32
        assert not weights.requires_grad
        assert kliep(source, target, generator=generator(), at=target).shape == (30,)

    @pytest.mark.parametrize("by", [6.0, 20.0])
    def test_no_overlap_gives_a_warning_with_the_effective_size(self, by):
        source, target = shifted(by=by)
        bandwidth = float(median_heuristic(source, target))
        weights = quiet(kliep, source, target, bandwidth=bandwidth, generator=generator())
        k = gaussian_kernel(target, target, bandwidth=bandwidth)
        share = (weights @ gaussian_kernel(source, target, bandwidth=bandwidth)).mean() / 40
        share = float(share / k.mean())
        with pytest.warns(
            UserWarning, match=f"stands for {share:.0%} of the target only"
        ) as caught:
            kliep(source, target, bandwidth=bandwidth, generator=generator())
        assert f"{float(effective_sample_size(weights)):.1f} equal" in str(caught[0].message)
        assert caught[0].filename == __file__

    def test_few_rows_that_match_give_a_warning_with_the_effective_size(self):
        source, target = shifted(40, 30, d=1, by=2.5)
        target = torch.cat([target[:3], source.max() + 0.01 * target[3:]])
        with pytest.warns(UserWarning, match=r"40 weights are worth 1\.\d equal ones"):
            kliep(source, target, bandwidth=0.1, generator=generator())

    def test_nothing_within_reach(self):
        with pytest.raises(ValueError, match=r"no centre has a source row.*bandwidth=0\.1"):
            kliep(*shifted(by=60.0), bandwidth=0.1, generator=generator())

    @pytest.mark.parametrize(
        ("settings", "error", "words"),
        [
            ({"centres": 0}, ValueError, "centres must lie in"),
            ({"bandwidth": -1.0}, ValueError, "bandwidth must lie in"),
            ({"bandwidth": []}, ValueError, "at least one and 5 target rows, got 0 and 30"),
            ({"at": torch.randn(3, 5).double()}, ValueError, "widths must be equal"),
            ({"at": torch.randn(3, 2)}, TypeError, "one dtype"),
        ],
    )
    def test_bad_settings(self, settings, error, words):
        with pytest.raises(error, match=words):
            kliep(*shifted(), generator=generator(), **settings)

    def test_too_few_rows_for_the_folds(self):
        with pytest.raises(ValueError, match="5 target rows, got 2 and 4"):
            kliep(normal(9, 2), normal(4, 2), bandwidth=[1.0, 2.0], generator=generator())


class TestClassifierRatio:
    def test_normal_distributions_that_differ_by_a_shift(self):
        source, target = normal(4000, 1), normal(1500, 1, seed=1) + 0.5
        ratio = torch.exp(0.5 * source - 0.125).squeeze(1)
        assert_close(classifier_ratio(source, target), ratio, atol=0.05, rtol=0.15)

    def test_agrees_with_importance_weights(self):
        from sklearn.linear_model import LogisticRegression

        source, target = shifted(50, 20)
        both = torch.cat([source, target])
        scale = lambda x: ((x - both.mean(0)) / both.std(0, correction=0)).numpy()  # noqa: E731
        model = LogisticRegression(C=1 / 3).fit(scale(both), [1] * 50 + [0] * 20)
        logits = torch.as_tensor(model.decision_function(scale(source)))
        expected = importance_weights(logits, source_share=50 / 70)
        found = classifier_ratio(source, target, regularisation=3.0)
        assert_close(found, expected, atol=1e-3, rtol=1e-3)

    def test_other_rows(self):
        source, target = shifted(50, 20)
        assert_close(
            classifier_ratio(source, target, at=source[:7]), classifier_ratio(source, target)[:7]
        )
        weak = classifier_ratio(source, target, regularisation=1e6)
        assert_close(weak, torch.ones(50).double(), atol=1e-3, rtol=0)

    def test_of_other_rows_it_does_not_warn(self, recwarn):
        classifier_ratio(
            *shifted(200, 100), at=torch.tensor([[-9.0, -9.0]] * 30 + [[9.0, 9.0]]).double()
        )
        assert not [w for w in recwarn if w.category is UserWarning]

    @pytest.mark.parametrize("by", [3.0, 6.0, 20.0])
    def test_no_overlap_gives_a_warning(self, by):
        weights = quiet(classifier_ratio, *shifted(by=by))
        words = f"stands for {float(weights.mean()):.0%} of the target only"
        with pytest.warns(UserWarning, match=words) as caught:
            classifier_ratio(*shifted(by=by))
        assert f"{float(effective_sample_size(weights)):.1f} equal" in str(caught[0].message)
        assert caught[0].filename == __file__

    def test_dtype(self):
        source, target = (x.float() for x in shifted())
        assert classifier_ratio(source.requires_grad_(), target).dtype == torch.float32

    @pytest.mark.parametrize(("value", "words"), [(0.0, "must be positive"), (-1.0, "must lie in")])
    def test_bad_regularisation(self, value, words):
        with pytest.raises(ValueError, match=words):
            classifier_ratio(*shifted(), regularisation=value)


def constant(*answers):
    """A learner that gives one hypothesis after the other, each a list of classes by row."""
    left = list(answers)

    def learner(rows, labels, weights):
        answer = torch.tensor(left.pop(0))
        return lambda x: answer[x[:, 0].long()]

    return learner


class TestTradaboost:
    source = torch.tensor([[0.0], [1.0], [2.0]])
    target = torch.tensor([[3.0], [4.0]])
    source_labels = torch.tensor([1, 0, 1])
    target_labels = torch.tensor([0, 1])

    def boost(self, *answers, **settings):
        return tradaboost(
            self.source,
            self.source_labels,
            self.target,
            self.target_labels,
            rounds=len(answers),
            learner=constant(*answers),
            **settings,
        )

    def test_one_round_by_hand(self):
        # the hypothesis errs on source row 0 and on no target row: half a target row counts
        found = self.boost([0, 0, 1, 0, 1])
        beta = 1 / (1 + math.sqrt(2 * math.log(3)))
        weights = torch.tensor([beta, 1.0, 1.0, 1.0, 1.0])
        assert_close(found.weights, torch.stack([torch.full((5,), 0.2), weights / weights.sum()]))
        assert_close(found.betas, torch.tensor([0.25 / 0.75]))

    def test_two_rounds_by_hand(self):
        # first right on all of the source and wrong on target row 3 of a target weight 1/4 each
        target, labels = torch.tensor([[3.0], [4.0], [5.0], [6.0]]), torch.tensor([0, 1, 1, 1])
        learner = constant([0, 0, 1, 1, 1, 1, 1], [1, 0, 0, 0, 1, 0, 1])
        found = tradaboost(
            self.source, self.source_labels, target, labels, rounds=2, learner=learner
        )
        beta = 1 / (1 + math.sqrt(2 * math.log(3) / 2))
        first = torch.tensor([beta, 1, 1, 3, 1, 1, 1])  # one quarter wrong: beta_1 = 1/3
        error = 1 / 6  # of row 5, with weight 1 of 6
        second = first * torch.tensor([1, 1, beta, 1, 1, (1 - error) / error, 1])
        expected = torch.stack([torch.ones(7) / 7, first / first.sum(), second / second.sum()])
        assert_close(found.weights, expected)
        assert_close(found.betas, torch.tensor([1 / 3, error / (1 - error)]))

    @pytest.mark.parametrize(("rounds", "voting"), [(1, 1), (2, 2), (3, 2), (4, 3), (5, 3), (6, 4)])
    def test_the_later_half_votes(self, rounds, voting):
        # with N rounds those from ceil(N / 2) on, counted from 1
        right = [1, 0, 1, 0, 1]
        found = self.boost(*[right] * rounds)
        called = []
        spies = [lambda x, t=t: called.append(t) or torch.ones(len(x)) for t in range(rounds)]
        found._replace(hypotheses=spies).predict(self.source)
        assert called == list(range(rounds - voting, rounds))

    def test_votes_count_by_the_logarithm_of_beta(self):
        yes, no = (lambda x: torch.ones(len(x)).long()), (lambda x: torch.zeros(len(x)).long())
        boosted = instances.Boosted([yes, yes, no], torch.tensor([1e-9, 0.5, 0.2]), torch.ones(1))
        assert boosted.predict(self.target).tolist() == [0, 0]
        boosted = boosted._replace(betas=torch.tensor([1e-9, 0.2, 0.5]))
        assert boosted.predict(self.target).tolist() == [1, 1]
        boosted = boosted._replace(betas=torch.tensor([1e-9, 0.5, 0.5]))
        assert boosted.predict(self.target).tolist() == [1, 1]  # a draw is a 1, as in the paper

    def test_ends_before_a_hypothesis_that_is_no_better_than_chance(self):
        right, wrong = [1, 0, 1, 0, 1], [1, 0, 1, 1, 1]  # one of two target rows wrong: a half
        found = self.boost(right, right, wrong, right)
        assert len(found.hypotheses) == len(found.betas) == len(found.weights) - 1 == 2

    def test_first_hypothesis_no_better_than_chance(self):
        with pytest.raises(ValueError, match="errs on 50% of the target's weight, no better"):
            self.boost([1, 0, 1, 1, 1])

    @given(SEEDS)
    def test_weights_are_shares_and_a_wrong_source_row_only_loses(self, seed):
        source, labels = (
            normal(30, 2, seed=seed),
            torch.randint(2, (30,), generator=generator(seed)),
        )
        target = normal(9, 2, seed=seed + 1)
        few = (target[:, 0] > target[:, 0].median()).long()
        try:
            found = tradaboost(source, labels, target, few, rounds=4)
        except ValueError:
            return
        assert_close(found.weights.sum(1), torch.ones(len(found.weights)).double())
        ratio = found.weights[:, :30] / found.weights[:, :30].max(1, keepdim=True).values
        assert (ratio.diff(dim=0) <= 1e-12).all()
        assert ((found.betas > 0) & (found.betas < 1)).all()

    def test_with_logistic_regression_it_forgets_a_part_of_the_source_that_is_wrong(self):
        source, target = normal(200, 2), normal(20, 2, seed=1)
        rule = lambda x: (x[:, 0] > 0).long()  # noqa: E731
        labels = rule(source)
        labels[:60] = 1 - labels[:60]
        found = tradaboost(source, labels, target, rule(target), rounds=20)
        assert found.weights[-1][:60].sum() < 0.1 * found.weights[-1][60:200].sum()
        test = normal(500, 2, seed=2)
        assert (found.predict(test) == rule(test)).double().mean() > 0.85
        assert found.predict(test).dtype == torch.int64

    def test_twenty_rounds_by_default(self):
        learner = constant(*[[1, 0, 1, 0, 1]] * 30)
        found = tradaboost(
            self.source, self.source_labels, self.target, self.target_labels, learner=learner
        )
        assert len(found.betas) == 20

    @pytest.mark.parametrize(
        ("changed", "error", "words"),
        [
            ({"source_labels": torch.tensor([0, 1, 2])}, ValueError, "between 0 and 1, got 0 to 2"),
            ({"source_labels": torch.tensor([0, 1, -1])}, ValueError, "source_labels must lie"),
            ({"target_labels": torch.tensor([0.0, 1.0])}, TypeError, "target_labels must be int"),
            ({"target_labels": torch.tensor([0])}, ValueError, "target_labels must have the shape"),
            ({"target": torch.ones(2, 3)}, ValueError, "widths must be equal"),
            ({"rounds": 0}, ValueError, "rounds must lie in"),
        ],
    )
    def test_bad_input(self, changed, error, words):
        settings = {
            "source": self.source,
            "source_labels": self.source_labels,
            "target": self.target,
            "target_labels": self.target_labels,
        } | changed
        with pytest.raises(error, match=words):
            tradaboost(**settings)


class TestSelectConfident:
    logits = torch.tensor([[0.0, 0.0, 0.0], [5.0, 0.0, 0.0], [0.0, 0.0, 2.0], [0.0, 5.0, 0.0]])

    def test_threshold_by_hand(self):
        sure = math.exp(2) / (math.exp(2) + 2)
        assert select_confident(self.logits, threshold=sure - 1e-6).tolist() == [1, 2, 3]
        assert select_confident(self.logits, threshold=sure + 1e-6).tolist() == [1, 3]
        assert select_confident(self.logits, threshold=0).tolist() == [0, 1, 2, 3]
        assert select_confident(self.logits, threshold=1).tolist() == []

    def test_at_the_threshold_a_row_counts(self):
        assert select_confident(torch.zeros(1, 2), threshold=0.5).tolist() == [0]

    @pytest.mark.parametrize(("count", "rows"), [(1, [1]), (2, [1, 3]), (3, [1, 2, 3])])
    def test_count_takes_the_surest_and_of_equals_the_first(self, count, rows):
        assert select_confident(self.logits, count=count).tolist() == rows

    @given(SEEDS, st.integers(1, 8))
    def test_both_ways_agree(self, seed, count):
        logits = normal(8, 3, seed=seed)
        chosen = select_confident(logits, count=count)
        least = logits.softmax(1).amax(1)[chosen].min()
        assert chosen.tolist() == select_confident(logits, threshold=float(least)).tolist()
        assert chosen.tolist() == select_confident(logits + 7, count=count).tolist()

    @pytest.mark.parametrize(
        ("settings", "words"),
        [
            ({}, "either threshold or count, got threshold=None, count=None"),
            ({"threshold": 0.5, "count": 1}, "either threshold or count"),
            ({"threshold": 1.5}, r"threshold must lie in \[0, 1\]"),
            ({"count": 0}, r"count must be a whole number from 1 to 4 \(rows of logits\), got 0"),
            ({"count": 5}, "from 1 to 4"),
            ({"count": 1.0}, "got 1.0"),
        ],
    )
    def test_bad_settings(self, settings, words):
        with pytest.raises(ValueError, match=words):
            select_confident(self.logits, **settings)

    @pytest.mark.parametrize(
        ("logits", "words"),
        [
            (torch.zeros(3), "must be a matrix"),
            (torch.zeros(3, 1), "one class only"),
            (torch.full((3, 2), torch.nan), "contains NaN"),
            (torch.full((3, 2), torch.inf), "must be finite"),
        ],
    )
    def test_bad_logits(self, logits, words):
        with pytest.raises(ValueError, match=words):
            select_confident(logits, count=1)

    def test_warns_of_probabilities(self):
        with pytest.warns(UserWarning, match="logits are due"):
            select_confident(torch.tensor([[0.9, 0.1], [0.5, 0.5]]), threshold=0.7)


class TestKCenter:
    rows = torch.tensor([[0.0, 0.0], [1.0, 0.0], [10.0, 0.0], [10.0, 4.0], [0.0, 3.0]])

    @pytest.mark.parametrize("row", [5, 6, -1])
    def test_chosen_rows_must_exist(self, row):
        with pytest.raises(ValueError, match="rows from 0 to 4"):
            k_center(self.rows, count=1, chosen=torch.tensor([0, row]))

    def test_by_hand(self):
        assert k_center(self.rows, count=4, chosen=torch.tensor([1])).tolist() == [3, 2, 4, 0]
        assert k_center(self.rows, count=2, chosen=torch.tensor([0, 3])).tolist() == [2, 4]

    def test_all_rows_in_the_end_also_equal_ones(self):
        rows = torch.ones(6, 2)
        assert sorted(k_center(rows, count=6, generator=generator()).tolist()) == list(range(6))
        found = k_center(rows, count=5, chosen=torch.tensor([2, 2])).tolist()
        assert sorted(found) == [0, 1, 3, 4, 5]

    def test_the_first_row_is_drawn(self):
        firsts = {int(k_center(self.rows, count=1, generator=generator(s))) for s in range(40)}
        assert firsts == set(range(5))
        one, two = (k_center(self.rows, count=3, generator=generator(4)) for _ in range(2))
        assert one.tolist() == two.tolist()

    @given(SEEDS, st.integers(1, 4))
    def test_at_most_twice_the_least_radius(self, seed, count):
        rows = normal(9, 2, seed=seed)
        apart = torch.cdist(rows, rows)
        radius = lambda chosen: float(apart[:, list(chosen)].min(1).values.max())  # noqa: E731
        found = k_center(rows, count=count, generator=generator(seed)).tolist()
        assert len(set(found)) == count
        best = min(radius(c) for c in itertools.combinations(range(9), count))
        assert radius(found) <= 2 * best + 1e-12

    @given(SEEDS)
    def test_each_new_row_is_the_farthest(self, seed):
        rows = normal(12, 3, seed=seed)
        apart = torch.cdist(rows, rows)
        found = k_center(rows, count=12, generator=generator(seed)).tolist()
        for k in range(1, 12):
            distances = apart[:, found[:k]].min(1).values
            assert_close(distances[found[k]], distances.max())

    @pytest.mark.parametrize(
        ("settings", "error", "words"),
        [
            ({"count": 2}, ValueError, "give a generator"),
            ({"count": 6, "generator": generator()}, ValueError, "from 1 to 5"),
            ({"count": 0, "generator": generator()}, ValueError, "got 0"),
            (
                {"count": 4, "chosen": torch.tensor([1, 1, 2])},
                ValueError,
                r"from 1 to 3 \(rows that aren't chosen yet\)",
            ),
            ({"count": 1, "chosen": torch.tensor([5])}, ValueError, "rows from 0 to 4"),
            ({"count": 1, "chosen": torch.tensor([6])}, ValueError, "rows from 0 to 4"),
            ({"count": 1, "chosen": torch.tensor([-1])}, ValueError, "rows from 0 to 4"),
            ({"count": 1, "chosen": torch.tensor([[0]])}, ValueError, "must be a vector"),
            ({"count": 1, "chosen": torch.tensor([]).long()}, ValueError, "must be a vector"),
            ({"count": 1, "chosen": torch.tensor([0.0])}, TypeError, "must hold indices"),
            ({"count": 1, "chosen": torch.tensor([True] * 5)}, TypeError, "nonzero"),
        ],
    )
    def test_bad_settings(self, settings, error, words):
        with pytest.raises(error, match=words):
            k_center(self.rows, **settings)


class TestSelfPacedWeights:
    losses = torch.tensor([0.0, 1.0, 2.0, 5.0])

    def test_by_hand(self):
        assert self_paced_weights(self.losses, age=2).tolist() == [1, 1, 0, 0]
        assert self_paced_weights(self.losses, age=2.5, soft=True).tolist() == [
            1.0,
            pytest.approx(0.6),
            pytest.approx(0.2),
            0.0,
        ]

    @pytest.mark.parametrize("soft", [False, True])
    @given(st.floats(0.05, 20.0), st.floats(0.1, 10.0))
    def test_they_minimise_the_objective(self, soft, loss, age):
        v = np.linspace(0, 1, 2001)
        regulariser = age / 2 * (v**2 - 2 * v) if soft else -age * v
        best = v[np.argmin(v * loss + regulariser)]
        found = self_paced_weights(torch.tensor([loss]).double(), age=age, soft=soft)
        if abs(loss - age) > 1e-6:
            assert abs(float(found) - best) <= 1 / 2000

    def test_shape_dtype_and_no_gradient(self):
        losses = self.losses.double().reshape(2, 2).requires_grad_()
        for soft in (False, True):
            weights = self_paced_weights(losses, age=1.5, soft=soft)
            assert weights.shape == (2, 2)
            assert weights.dtype == torch.float64
            assert not weights.requires_grad

    @pytest.mark.parametrize(
        ("losses", "age", "error", "words"),
        [
            (torch.tensor([1.0]), 0.0, ValueError, "age must be positive"),
            (torch.tensor([1.0]), -1.0, ValueError, "age must lie in"),
            (torch.tensor([1.0]), math.inf, ValueError, "age must lie in"),
            (torch.tensor([-1.0]), 1.0, ValueError, "must not be negative, got -1"),
            (torch.tensor([torch.inf]), 1.0, ValueError, "must be finite"),
            (torch.tensor([1]), 1.0, TypeError, "floating-point"),
        ],
    )
    def test_bad_input(self, losses, age, error, words):
        with pytest.raises(error, match=words):
            self_paced_weights(losses, age=age)
