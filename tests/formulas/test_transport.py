"""Transport: POT, SciPy, closed forms, limits, properties, errors."""

import itertools
import math
import warnings
from collections import Counter

import numpy as np
import ot
import pytest
import scipy.linalg
import scipy.optimize
import scipy.spatial.distance
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch.testing import assert_close
from torch.utils._python_dispatch import TorchDispatchMode

from mapping_lib import transport
from mapping_lib.transport import (
    bures_wasserstein,
    sinkhorn_divergence,
    sinkhorn_plan,
    sliced_wasserstein,
)

FLOATS = [torch.float16, torch.bfloat16, torch.float32, torch.float64]
SEEDS = st.integers(0, 10_000)


def normal(*shape, seed=0, scale=1.0, dtype=torch.float64):
    generator = torch.Generator().manual_seed(seed)
    return (scale * torch.randn(shape, generator=generator, dtype=torch.float64)).to(dtype)


def domains(n=7, m=5, d=3, seed=0, shift=0.5, dtype=torch.float64):
    return normal(n, d, seed=seed, dtype=dtype), shift + normal(m, d, seed=seed + 1, dtype=dtype)


def costs(n=7, m=5, seed=0):
    """Return squared distances between random points, the largest of them 1."""
    cost = torch.as_tensor(
        scipy.spatial.distance.cdist(*domains(n, m, 2, seed=seed), metric="sqeuclidean")
    )
    return cost / cost.max()


def masses(n, seed=0):
    return (0.1 + torch.rand(n, generator=seeded(seed), dtype=torch.float64)).softmax(0)


def seeded(seed=0):
    return torch.Generator().manual_seed(seed)


def rotation(d, seed=0):
    return torch.linalg.qr(normal(d, d, seed=seed)).Q


class Counts(TorchDispatchMode):
    """Count how often each operation is called."""

    def __init__(self):
        super().__init__()
        self.of = Counter()

    def __torch_dispatch__(self, operation, types, args=(), kwargs=None):
        self.of[operation.overloadpacket.__name__] += 1
        return operation(*args, **(kwargs or {}))


class TestSinkhornPlan:
    @pytest.mark.parametrize("ε", [0.01, 0.5, 20.0])
    def test_two_rows_by_hand(self, ε):
        cost = torch.tensor([[1.0, 2.0], [4.0, 3.0]], dtype=torch.float64)
        q = math.exp(-(1 + 3 - 2 - 4) / (2 * ε))  # P11 P22 / (P12 P21) = q²
        expected = torch.tensor([[q, 1.0], [1.0, q]], dtype=torch.float64) / (2 * (1 + q))
        assert_close(sinkhorn_plan(cost, regularisation=ε), expected)

    @pytest.mark.parametrize("ε", [0.02, 0.1, 1.0])
    @pytest.mark.parametrize(("n", "m"), [(7, 5), (20, 31), (1, 4), (4, 1)])
    def test_agrees_with_pot(self, ε, n, m):
        cost, a, b = costs(n, m), masses(n), masses(m, seed=1)
        expected = ot.sinkhorn(
            a.numpy(), b.numpy(), cost.numpy(), ε, stopThr=1e-13, numItermax=100_000
        )
        plan = sinkhorn_plan(
            cost, regularisation=ε, source_weights=a, target_weights=b, tolerance=1e-13
        )
        assert_close(plan, torch.as_tensor(expected), atol=1e-11, rtol=0)

    @pytest.mark.parametrize(("ε", "n", "m"), [(3e-3, 16, 12), (1e-3, 30, 40)])
    def test_agrees_with_pot_in_logarithms_at_small_regularisation(self, ε, n, m):
        cost = costs(n, m)
        uniform = [np.full(k, 1 / k) for k in (n, m)]
        with warnings.catch_warnings(action="ignore"):
            expected = ot.bregman.sinkhorn_log(
                *uniform, cost.numpy(), ε, stopThr=1e-10, numItermax=20_000
            )
        plan = sinkhorn_plan(cost, regularisation=ε)
        assert_close(plan, torch.as_tensor(expected), atol=1e-7, rtol=0)

    @pytest.mark.parametrize("ε", [1e-2, 1e-3, 1e-4, 1e-6])
    @pytest.mark.parametrize(("n", "m"), [(30, 30), (20, 33), (33, 20)])
    def test_sums_are_right_and_the_plan_has_its_form_at_any_regularisation(self, ε, n, m):
        cost = costs(n, m)
        plan = sinkhorn_plan(cost, regularisation=ε)
        assert_close(plan.sum(1), torch.full((n,), 1 / n, dtype=cost.dtype), atol=1e-9, rtol=0)
        assert_close(plan.sum(0), torch.full((m,), 1 / m, dtype=cost.dtype), atol=1e-9, rtol=0)
        # f + g = ε log P + C is a part of the row and a part of the column: exchanges cost nothing
        i, j = divmod(int(plan.argmax()), m)
        potential = ε * plan.clamp(min=1e-300).log() + cost
        exchanged = potential - potential[i] - potential[:, j : j + 1] + potential[i, j]
        seen = plan > 1e-250
        assert exchanged[seen & seen[i] & seen[:, j : j + 1]].abs().max() < 1e-12

    def test_becomes_the_best_assignment(self):
        cost = costs(12, 12)
        rows, columns = scipy.optimize.linear_sum_assignment(cost)
        plan = sinkhorn_plan(cost, regularisation=1e-4)
        assert (plan.argmax(1).numpy() == columns).all()
        assert_close((plan * cost).sum(), cost[rows, columns].mean(), atol=1e-4, rtol=0)

    def test_becomes_independent(self):
        a, b = masses(7), masses(5, seed=1)
        plan = sinkhorn_plan(costs(), regularisation=1e6, source_weights=a, target_weights=b)
        assert_close(plan, torch.outer(a, b), atol=1e-7, rtol=0)

    def test_newton_is_needed_where_scaling_is_slow(self, monkeypatch):
        cost = torch.tensor(
            [[2.25, 6.25], [0.25, 2.25]]
        )  # a shift: both plans cost almost the same
        expected = sinkhorn_plan(cost, regularisation=0.1)
        assert_close(expected.sum(0), torch.tensor([0.5, 0.5]))
        monkeypatch.setattr(transport, "_newton", lambda *_, **__: 1 / 0)
        with pytest.raises(ZeroDivisionError):
            sinkhorn_plan(cost, regularisation=0.1)
        slow = sinkhorn_plan(cost, regularisation=0.1, iterations=1_000_000, tolerance=1e-5)
        assert_close(slow, expected, atol=1e-4, rtol=0)

    def test_a_slow_pace_is_given_up_early_and_a_good_one_is_not(self, monkeypatch):
        with Counts() as counts:
            sinkhorn_plan(costs(30, 40), regularisation=1e-5)
        assert counts.of["mv"] < 2 * 150
        monkeypatch.setattr(transport, "_newton", lambda *_, **__: 1 / 0)
        with Counts() as counts:
            sinkhorn_plan(costs(30, 40), regularisation=0.005)
        assert 2 * 150 < counts.of["mv"] < 2 * 2500
        assert counts.of["linalg_vector_norm"] <= counts.of["mv"] / 20 + 2  # not at each step

    def test_at_the_optimum_the_dual_value_is_the_objective(self):
        cost, ε = costs(), 0.05
        a, b = (torch.full((k,), 1 / k, dtype=torch.float64) for k in (7, 5))
        P, f, g, _ = transport._solve(cost, a, b, ε, 2500, 1e-12)
        expected = (P * (cost + ε * P.log())).sum()
        assert_close(a @ f + b @ g, expected)
        assert_close(transport._dual(cost, a, b, ε, g)[2], expected.item())

    @given(SEEDS, st.floats(0.005, 2))
    def test_shifts_transposition_and_scales(self, seed, ε):
        cost = costs(seed=seed)
        plan = sinkhorn_plan(cost, regularisation=ε)
        shifted = cost + normal(7, 1, seed=seed) + normal(5, seed=seed + 1)
        tolerances = {"atol": 1e-7, "rtol": 0}
        assert_close(sinkhorn_plan(shifted, regularisation=ε), plan, **tolerances)
        assert_close(sinkhorn_plan(cost.mT, regularisation=ε), plan.mT, **tolerances)
        assert_close(sinkhorn_plan(30 * cost, regularisation=30 * ε), plan, **tolerances)
        permuted = sinkhorn_plan(cost.flip(0), regularisation=ε)
        assert_close(permuted, plan.flip(0), **tolerances)

    @given(SEEDS)
    def test_is_better_than_other_plans_of_the_same_sums(self, seed):
        cost, ε = costs(6, 6, seed=seed), 0.05
        plan = sinkhorn_plan(cost, regularisation=ε)
        other = sinkhorn_plan(costs(6, 6, seed=seed + 1), regularisation=ε)

        def objective(P):
            return (P * cost).sum() + ε * (P * (P.log() - 1)).sum()

        assert objective(plan) < objective(0.9 * plan + 0.1 * other)

    def test_extreme_costs(self):
        """At this regularisation e^(-C/ε) is zero everywhere, or infinite."""
        for offset in (1e4, -1e4):
            plan = sinkhorn_plan(costs() + offset, regularisation=1e-2)
            assert_close(plan, sinkhorn_plan(costs(), regularisation=1e-2), atol=1e-8, rtol=0)

    def test_constant_costs(self):
        assert_close(sinkhorn_plan(torch.ones(3, 2), regularisation=0.1), torch.full((3, 2), 1 / 6))

    @pytest.mark.parametrize("dtype", FLOATS)
    def test_keeps_the_dtype_without_a_gradient(self, dtype):
        cost = costs().to(dtype).requires_grad_()
        plan = sinkhorn_plan(cost=cost, regularisation=0.1)
        assert plan.dtype == dtype
        assert not plan.requires_grad
        expected = sinkhorn_plan(cost.detach().double(), regularisation=0.1)
        assert_close(plan.double(), expected, atol=torch.finfo(dtype).eps, rtol=0)

    def test_leaves_its_arguments_alone(self):
        cost, a = costs(), masses(7)
        before = cost.clone(), a.clone()
        sinkhorn_plan(cost, regularisation=1e-3, source_weights=a)
        assert_close((cost, a), before)

    def test_an_unreachable_tolerance_is_warned_of_at_the_caller(self):
        # many uneven masses: with few even ones, rounding hits the sums exactly on some processors
        def plan(**settings):
            return sinkhorn_plan(
                costs(60, 50),
                regularisation=0.01,
                source_weights=masses(60),
                target_weights=masses(50, seed=1),
                **settings,
            )

        with pytest.warns(UserWarning, match=r"sums of the plan are still off.*more than 1.0e-30"):
            found = plan(tolerance=1e-30)
        assert_close(found, plan())

    @pytest.mark.parametrize(
        ("cost", "options", "error", "words"),
        [
            ([[0.0]], {}, TypeError, "cost must be a torch.Tensor"),
            (torch.ones(2, 2).int(), {}, TypeError, "cost must hold floating"),
            (torch.ones(2), {}, ValueError, "cost must be a matrix"),
            (torch.ones(0, 2), {}, ValueError, "cost is empty"),
            (torch.full((2, 2), torch.nan), {}, ValueError, "cost contains NaN"),
            (torch.full((2, 2), torch.inf), {}, ValueError, "cost must be finite, got 4 infinite"),
            (torch.eye(2), {"regularisation": 0}, ValueError, "regularisation must be positive"),
            (torch.eye(2), {"regularisation": -1}, ValueError, r"regularisation must lie in \[0"),
            (
                torch.eye(2),
                {"regularisation": 1e-10},
                ValueError,
                "regularisation 1e-10 is lost beside costs from 0 to 1.*linear_sum_assignment",
            ),
            (torch.eye(2), {"iterations": 0}, ValueError, "iterations must be positive, got 0"),
            (torch.eye(2), {"tolerance": 0}, ValueError, "tolerance must be positive, got 0"),
            (
                torch.ones(2, 3),
                {"source_weights": torch.ones(3) / 3},
                ValueError,
                r"source_weights \(3,\) doesn't fit cost \(2, 3\): its shape must be \(2,\)",
            ),
            (
                torch.ones(2, 3),
                {"target_weights": torch.tensor([0.5, 0.5, 0.0])},
                ValueError,
                "target_weights must be positive with sum 1, got values from 0 and sum 1",
            ),
            (
                torch.ones(2, 3),
                {"target_weights": torch.ones(3)},
                ValueError,
                "target_weights must be positive.* sum 3; drop rows of weight 0 and divide",
            ),
            (
                torch.ones(2, 3),
                {"source_weights": torch.ones(2).double() / 2},
                TypeError,
                "one dtype",
            ),
        ],
    )
    def test_bad_input(self, cost, options, error, words):
        with pytest.raises(error, match=words):
            sinkhorn_plan(cost, **{"regularisation": 0.1, **options})


class TestNewton:
    def steps(self, times, most=1.0):
        """Return the solution after so many steps from the potential 0."""
        a, b = (torch.full((k,), 1 / k, dtype=torch.float64) for k in (7, 5))
        return transport._newton(costs(), a, b, 0.05, torch.zeros_like(b), most, times, 1e-15)

    def test_each_step_squares_the_error(self):
        errors = [self.steps(times).error for times in (2, 3, 4, 5)]
        assert errors[0] < 0.02
        for error, further in itertools.pairwise(errors):
            assert further < 5 * error**2

    @pytest.mark.parametrize("times", [1, 3])
    def test_the_error_is_that_of_the_plan(self, times):
        found = self.steps(times)
        assert (found.plan.sum(0) - 1 / 5).norm().item() == pytest.approx(found.error)

    def test_a_step_goes_no_further_than_asked(self):
        # the best potentials differ by no more than the costs, so no step needs to
        assert self.steps(1).g.abs().max() > 0.1
        assert self.steps(1, most=0.01).g.abs().max().item() == pytest.approx(0.01)

    @pytest.mark.parametrize(("n", "m"), [(20, 33), (33, 20)])
    def test_the_system_is_of_the_smaller_side(self, n, m, monkeypatch):
        sizes, factor = set(), transport._cholesky

        def remembered(matrix, ridge):
            sizes.add(len(matrix))
            return factor(matrix, ridge)

        monkeypatch.setattr(transport, "_cholesky", remembered)
        sinkhorn_plan(costs(n, m), regularisation=1e-4)
        assert sizes == {20}


def entropic_cost(source, target, ε):
    """Return <P, C> + ε KL(P | a bᵀ) with POT's plan."""
    C = scipy.spatial.distance.cdist(source, target, "sqeuclidean")
    a, b = (np.full(len(rows), 1 / len(rows)) for rows in (source, target))
    P = ot.sinkhorn(a, b, C, ε, stopThr=1e-11, numItermax=100_000)
    return (P * C).sum() + ε * (P * np.log(P / np.outer(a, b))).sum()


class TestSinkhornDivergence:
    @pytest.mark.parametrize("ε", [2.0, 5.0, 50.0])
    @pytest.mark.parametrize(("n", "m"), [(7, 5), (4, 9), (1, 3)])
    def test_agrees_with_pot(self, ε, n, m):
        source, target = domains(n, m)
        expected = (
            entropic_cost(source, target, ε)
            - entropic_cost(source, source, ε) / 2
            - entropic_cost(target, target, ε) / 2
        )
        assert_close(sinkhorn_divergence(source, target, regularisation=ε).item(), expected)

    def test_small_regularisation_gives_the_squared_wasserstein_distance(self):
        source, target = domains(8, 8)
        C = scipy.spatial.distance.cdist(source, target, "sqeuclidean")
        rows, columns = scipy.optimize.linear_sum_assignment(C)
        value = sinkhorn_divergence(source, target, regularisation=1e-3)
        assert_close(value.item(), C[rows, columns].mean(), rtol=0.01, atol=0)

    def test_large_regularisation_gives_the_squared_distance_of_the_means(self):
        source, target = domains()
        expected = ((source.mean(0) - target.mean(0)) ** 2).sum()
        value = sinkhorn_divergence(source, target, regularisation=1e7)
        assert_close(value, expected, rtol=1e-5, atol=0)

    @pytest.mark.parametrize("ε", [0.01, 1.0])
    def test_a_shift_costs_its_square(self, ε):
        source = normal(6, 3)
        shift = torch.tensor([1.0, 2.0, -2.0])
        value = sinkhorn_divergence(source, source + shift, regularisation=ε)
        assert_close(value.item(), 9.0, atol=1e-6, rtol=0)

    @given(SEEDS, st.floats(0.05, 20))
    def test_is_zero_on_equal_sets_positive_elsewhere_symmetric_and_moves(self, seed, ε):
        source, target = domains(seed=seed)
        value = sinkhorn_divergence(source, target, regularisation=ε)
        assert value > 0
        assert sinkhorn_divergence(source, source.flip(0), regularisation=ε) == pytest.approx(
            0, abs=1e-7
        )
        tolerances = {"atol": 1e-7, "rtol": 1e-6}
        Q = rotation(3, seed)
        assert_close(sinkhorn_divergence(target, source, regularisation=ε), value, **tolerances)
        moved = sinkhorn_divergence(source @ Q + 4, target @ Q + 4, regularisation=ε)
        assert_close(moved, value, **tolerances)
        scaled = sinkhorn_divergence(3 * source, 3 * target, regularisation=9 * ε)
        assert_close(scaled, 9 * value, **tolerances)

    @pytest.mark.parametrize("ε", [0.1, 2.0])
    def test_gradient_is_exact(self, ε):
        sets = [rows.requires_grad_() for rows in domains(5, 4, 2)]
        assert torch.autograd.gradcheck(
            lambda s, t: sinkhorn_divergence(s, t, regularisation=ε, tolerance=1e-12), sets
        )

    def test_gradient_vanishes_on_equal_sets(self):
        source = normal(6, 3).requires_grad_()
        sinkhorn_divergence(source, source.detach().clone(), regularisation=0.5).backward()
        assert source.grad.abs().max() < 1e-7

    def test_a_second_derivative_is_an_error_not_zero(self):
        source, target = domains()
        source.requires_grad_()
        value = sinkhorn_divergence(source, target, regularisation=0.5)
        (first,) = torch.autograd.grad(value, source, create_graph=True)
        with pytest.raises(RuntimeError, match="have a first derivative only"):
            first.sum().backward()

    @pytest.mark.parametrize("dtype", FLOATS)
    def test_keeps_the_dtype(self, dtype):
        source, target = (rows.requires_grad_() for rows in domains(dtype=dtype))
        value = sinkhorn_divergence(target=target, source=source, regularisation=0.5)
        value.backward()
        assert value.dtype == source.grad.dtype == dtype
        expected = sinkhorn_divergence(source.double(), target.double(), regularisation=0.5)
        assert_close(value.double(), expected, rtol=torch.finfo(dtype).eps, atol=0)

    def test_bad_input(self):
        with pytest.raises(ValueError, match="widths must be equal"):
            sinkhorn_divergence(torch.eye(2), torch.eye(3), regularisation=1)
        with pytest.raises(ValueError, match="target contains NaN"):
            sinkhorn_divergence(torch.eye(2), torch.full((1, 2), torch.nan), regularisation=1)
        with pytest.raises(ValueError, match="regularisation must be positive, got 0"):
            sinkhorn_divergence(torch.eye(2), torch.eye(2), regularisation=0)
        with pytest.raises(ValueError, match="tolerance must be positive, got 0"):
            sinkhorn_divergence(torch.eye(2), torch.eye(2), regularisation=1, tolerance=0)


class TestSlicedWasserstein:
    @pytest.mark.parametrize(("n", "m"), [(1, 1), (5, 5), (6, 4), (3, 8), (2, 6)])
    def test_along_a_line_agrees_with_pot(self, n, m):
        source, target = domains(n, m, 1)
        expected = ot.wasserstein_1d(source.numpy(), target.numpy(), p=2)[0]
        value = sliced_wasserstein(source, target, projections=3, generator=seeded())
        assert_close(value.item(), float(expected))

    @pytest.mark.parametrize(("n", "m"), [(5, 5), (6, 4), (3, 8)])
    def test_agrees_with_pot_on_the_same_directions(self, n, m):
        source, target = domains(n, m)
        u = torch.randn(3, 7, generator=seeded(2), dtype=torch.float64)
        expected = ot.sliced_wasserstein_distance(
            source.numpy(), target.numpy(), projections=(u / u.norm(dim=0)).numpy()
        )
        value = sliced_wasserstein(source, target, projections=7, generator=seeded(2))
        assert_close(value.item(), float(expected) ** 2)

    def test_a_shift_costs_its_square_over_the_width_on_average(self):
        source = normal(9, 4)
        shift = torch.tensor([2.0, 0.0, 1.0, 0.0])
        value = sliced_wasserstein(source, source + shift, projections=20_000, generator=seeded())
        assert_close(value.item(), 5 / 4, rtol=0.03, atol=0)

    @given(SEEDS)
    def test_zero_symmetry_order_and_scale(self, seed):
        source, target = domains(seed=seed)

        def value(s, t):
            return sliced_wasserstein(s, t, projections=4, generator=seeded(seed))

        assert value(source, target) > 0
        assert value(source, source.flip(0)) == 0
        assert_close(value(source, source.repeat(3, 1)), torch.zeros(()).double())
        assert_close(value(target, source), value(source, target))
        assert_close(value(source.flip(0) + 2, target + 2), value(source, target))
        assert_close(value(3 * source, 3 * target), 9 * value(source, target))

    def test_gradients(self):
        sets = [rows.requires_grad_() for rows in domains(5, 3, 2)]

        def value(s, t):
            return sliced_wasserstein(s, t, projections=3, generator=seeded())

        assert torch.autograd.gradcheck(value, sets)
        assert torch.autograd.gradgradcheck(value, sets)

    @pytest.mark.parametrize("dtype", FLOATS)
    def test_keeps_the_dtype(self, dtype):
        source, target = domains(dtype=dtype)
        value = sliced_wasserstein(target=target, source=source, projections=3, generator=seeded())
        expected = sliced_wasserstein(
            source.double(), target.double(), projections=3, generator=seeded()
        )
        assert value.dtype == dtype
        assert_close(value.double(), expected, rtol=torch.finfo(dtype).eps + 1e-6, atol=0)

    def test_bad_input(self):
        with pytest.raises(ValueError, match=r"projections must lie in \[1, inf\), got 0"):
            sliced_wasserstein(torch.eye(2), torch.eye(2), projections=0, generator=seeded())
        with pytest.raises(ValueError, match="widths must be equal"):
            sliced_wasserstein(torch.eye(2), torch.eye(3), projections=1, generator=seeded())
        with pytest.raises(ValueError, match="source is empty"):
            sliced_wasserstein(torch.ones(0, 2), torch.eye(2), projections=1, generator=seeded())


def bures_by_scipy(source, target):
    """Return the formula, with SciPy's square roots of matrices."""
    C_s, C_t = (np.atleast_2d(np.cov(rows.numpy().T)) for rows in (source, target))
    root = scipy.linalg.sqrtm(C_s)
    inner = np.real(scipy.linalg.sqrtm(root @ C_t @ root))
    shift = source.numpy().mean(0) - target.numpy().mean(0)
    return shift @ shift + np.trace(C_s + C_t - 2 * inner)


class TestBuresWasserstein:
    @pytest.mark.parametrize(("n", "m", "d"), [(9, 12, 1), (9, 12, 3), (30, 8, 5)])
    def test_agrees_with_scipy(self, n, m, d):
        source, target = normal(n, d) @ normal(d, d, seed=3), 1 + normal(m, d, seed=1)
        assert_close(
            bures_wasserstein(source, target).item(), float(bures_by_scipy(source, target))
        )

    def test_agrees_with_pot(self):
        source, target = domains(20, 30, 4)
        value = ot.gaussian.bures_wasserstein_distance(
            *(rows.mean(0).numpy() for rows in (source, target)),
            *(np.cov(rows.numpy().T) for rows in (source, target)),
        )
        assert_close(bures_wasserstein(source, target).item(), float(value) ** 2)

    @pytest.mark.parametrize(("n", "m"), [(4, 6), (4, 30), (30, 4)])
    def test_fewer_rows_than_features(self, n, m):
        source, target = domains(n, m, 12)
        # along the directions that both sets span nothing is lost by rotating into them
        basis = torch.linalg.svd(torch.cat([source, target]) - target[0], full_matrices=False).Vh
        rotated = (source - target[0]) @ basis.mT, (target - target[0]) @ basis.mT
        expected = float(bures_by_scipy(*rotated))
        assert_close(bures_wasserstein(source, target).item(), expected, rtol=1e-5, atol=0)

    def test_of_single_features_compares_means_and_standard_deviations(self):
        source, target = normal(8, 1), 3 + 2 * normal(5, 1, seed=1)
        expected = (source.mean() - target.mean()) ** 2 + (source.std() - target.std()) ** 2
        assert_close(bures_wasserstein(source, target), expected)

    def test_is_at_most_the_squared_wasserstein_distance(self):
        source, target = domains(9, 9)
        cost = torch.cdist(source, target) ** 2
        rows, columns = scipy.optimize.linear_sum_assignment(cost)
        unbiased = 9 / 8  # covariances divide by n - 1
        assert bures_wasserstein(source, target) <= unbiased * cost[rows, columns].mean()

    @given(SEEDS, st.floats(0.1, 10))
    def test_zero_symmetry_motions_and_scale(self, seed, scale):
        source, target = domains(seed=seed)
        value, Q = bures_wasserstein(source, target), rotation(3, seed)
        assert value > 0
        assert bures_wasserstein(source, source.flip(0)) == pytest.approx(0, abs=1e-12)
        assert_close(bures_wasserstein(target, source), value)
        assert_close(bures_wasserstein(source @ Q + 5, target @ Q + 5), value)
        assert_close(bures_wasserstein(scale * source, scale * target), scale**2 * value)
        shift = torch.tensor([0.0, 3.0, 4.0])
        assert_close(bures_wasserstein(source, source + shift).item(), 25.0)

    @pytest.mark.parametrize(("n", "m", "d"), [(6, 5, 2), (3, 4, 5)])
    def test_gradients(self, n, m, d):
        sets = [rows.requires_grad_() for rows in domains(n, m, d)]
        assert torch.autograd.gradcheck(bures_wasserstein, sets)

    def test_gradient_is_finite_where_features_are_dead(self):
        source, target = domains()
        source[:, 1], target[:, 1], target[:, 2] = 0.0, 0.0, 1.0
        source.requires_grad_()
        bures_wasserstein(source, target).backward()
        assert source.grad.isfinite().all()
        assert source.grad[:, 1].abs().max() == 0

    def test_a_feature_dead_in_the_source_alone_is_drawn_by_its_mean_alone(self):
        source = torch.tensor([[0.0, 4.0], [1.0, 4.0], [5.0, 4.0]], requires_grad=True)
        target = torch.tensor([[1.0, 1.0], [1.0, -1.0], [-1.0, 1.0], [-1.0, -1.0]])
        bures_wasserstein(source, target).backward()
        assert_close(source.grad[:, 1], torch.full((3,), 2 * 4 / 3))

    def test_a_second_derivative_is_an_error_not_zero(self):
        source, target = domains()
        source.requires_grad_()
        (first,) = torch.autograd.grad(bures_wasserstein(source, target), source, create_graph=True)
        with pytest.raises(RuntimeError, match="have a first derivative only"):
            (first**2).sum().backward()

    @pytest.mark.parametrize("dtype", FLOATS)
    def test_keeps_the_dtype(self, dtype):
        source, target = domains(dtype=dtype)
        value = bures_wasserstein(target=target, source=source)
        assert value.dtype == dtype
        expected = bures_wasserstein(source.double(), target.double())
        assert_close(value.double(), expected, rtol=torch.finfo(dtype).eps + 1e-5, atol=0)

    def test_bad_input(self):
        with pytest.raises(ValueError, match=r"target \(1, 2\) must have at least 2 rows"):
            bures_wasserstein(torch.eye(2), torch.ones(1, 2))
        with pytest.raises(ValueError, match="widths must be equal"):
            bures_wasserstein(torch.eye(2), torch.eye(3))


@pytest.mark.parametrize(
    ("function", "arguments"),
    [
        (sinkhorn_plan, (costs(), 0.1)),
        (sinkhorn_divergence, (*domains(), 0.1)),
        (sliced_wasserstein, (*domains(), 3, seeded())),
    ],
)
def test_settings_are_given_by_keyword_alone(function, arguments):
    """A number in the place of a setting would say nothing of which setting it is."""
    with pytest.raises(TypeError, match="positional argument"):
        function(*arguments)
