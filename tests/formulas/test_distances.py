"""Distances between sets: closed forms, SciPy and scikit-learn, properties, memory, errors."""

import itertools
import math
import warnings

import numpy as np
import pytest
import scipy.spatial.distance
import scipy.stats
import torch
from hypothesis import given
from hypothesis import strategies as st
from sklearn.linear_model import LogisticRegression
from torch.func import grad, vmap
from torch.testing import assert_close
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from mapping_lib import distances
from mapping_lib.distances import (
    coral,
    jmmd,
    kernel_cka,
    linear_cka,
    linear_time_mmd,
    mmd,
    proxy_a_distance,
)
from mapping_lib.kernels import gaussian_kernel, laplacian_kernel, median_heuristic

FLOATS = [torch.float16, torch.bfloat16, torch.float32, torch.float64]
SEEDS = st.integers(0, 10_000)
SETS = [(1, 1), (3, 5), (9, 4), (17, 8)]
BANDWIDTHS = [
    [1.3],
    [0.5, 1.0, 2.0],  # doubling bandwidths: two squarings
    [math.sqrt(2), 1.0, 2.0, 0.25],  # in any order: one, one and four squarings
    [1.0, 1.0],  # the same twice
    [0.9, 1.0, 64.0],  # no squarings lead from one to the other
    [1.0, 8.0],  # six squarings would lose digits
]


def normal(*shape, seed=0, scale=1.0, dtype=torch.float64):
    generator = torch.Generator().manual_seed(seed)
    return (scale * torch.randn(shape, generator=generator, dtype=torch.float64)).to(dtype)


def domains(n=7, m=5, d=3, seed=0, shift=0.5, dtype=torch.float64):
    return normal(n, d, seed=seed, dtype=dtype), shift + normal(m, d, seed=seed + 1, dtype=dtype)


def rotation(d, seed=0):
    return torch.linalg.qr(normal(d, d, seed=seed)).Q


def kernel_sum(x, y, bandwidths):
    """Return the sum of Gaussian kernels by SciPy."""
    squared = scipy.spatial.distance.cdist(x, y, "sqeuclidean")
    return sum(np.exp(-squared / (2 * σ**2)) for σ in bandwidths)


def two_sample(K_ss, K_tt, K_st, *, biased):
    """Return MMD² from the three kernel matrices, as written in Gretton et al. (2012)."""
    if biased:
        return K_ss.mean() + K_tt.mean() - 2 * K_st.mean()
    n, m = K_st.shape
    within_s = (K_ss.sum() - np.trace(K_ss)) / (n * (n - 1))
    within_t = (K_tt.sum() - np.trace(K_tt)) / (m * (m - 1))
    return within_s + within_t - 2 * K_st.mean()


def mmd_by_scipy(source, target, bandwidths, *, biased=True):
    source, target = source.detach(), target.detach()
    matrices = [
        kernel_sum(x, y, bandwidths)
        for x, y in ((source, source), (target, target), (source, target))
    ]
    return two_sample(*matrices, biased=biased)


def mmd_by_torch(source, target, bandwidths, *, biased=True):
    """Return MMD² by plain differences, for gradients."""

    def kernel(x, y):
        squared = ((x[:, None] - y) ** 2).sum(-1)
        return sum(torch.exp(-squared / (2 * σ**2)) for σ in bandwidths)

    def within(x):
        return kernel(x, x).mean() if biased else kernel(x, x).mean() * len(x) / (len(x) - 1)

    return within(source) + within(target) - 2 * kernel(source, target).mean()


@pytest.fixture(params=[256, 4, 3, 1])
def block(request, monkeypatch):
    """Make the blocks of rows smaller than the sets, with a remainder and without."""
    monkeypatch.setattr(distances, "BLOCK", request.param)
    return request.param


class LargestTensor(TorchDispatchMode):
    """Remember how many numbers the largest tensor holds that any operation makes."""

    numbers = 0

    def __torch_dispatch__(self, operation, types, args=(), kwargs=None):
        result = operation(*args, **(kwargs or {}))
        made = [leaf.numel() for leaf in tree_leaves(result) if isinstance(leaf, torch.Tensor)]
        self.numbers = max([self.numbers, *made])
        return result


class TestMmd:
    def test_by_hand(self):
        # pairs within: 1, 1, e^-2 twice; between: e^-8, e^-2
        source, target = torch.tensor([[0.0], [2.0]]), torch.tensor([[4.0]])
        expected = (1 + math.exp(-2)) / 2 + 1 - (math.exp(-8) + math.exp(-2))
        assert_close(mmd(source, target, bandwidth=1), torch.tensor(expected))

    @pytest.mark.parametrize("bandwidths", BANDWIDTHS)
    @pytest.mark.parametrize(("n", "m"), SETS)
    def test_biased_agrees_with_scipy(self, block, bandwidths, n, m):
        source, target = domains(n, m)
        expected = mmd_by_scipy(source, target, bandwidths)
        assert_close(mmd(source, target, bandwidth=bandwidths).item(), expected)

    @pytest.mark.parametrize("bandwidths", BANDWIDTHS)
    @pytest.mark.parametrize(("n", "m"), SETS[1:])
    def test_unbiased_agrees_with_scipy(self, block, bandwidths, n, m):
        source, target = domains(n, m)
        expected = mmd_by_scipy(source, target, bandwidths, biased=False)
        assert_close(mmd(source, target, bandwidth=bandwidths, biased=False).item(), expected)

    @pytest.mark.parametrize("bandwidths", BANDWIDTHS)
    @pytest.mark.parametrize("biased", [True, False])
    def test_gradient_agrees_with_plain_torch(self, block, bandwidths, biased):
        sets = [rows.requires_grad_() for rows in domains(9, 6)]
        ours = torch.autograd.grad(3 * mmd(*sets, bandwidth=bandwidths, biased=biased), sets)
        plain = mmd_by_torch(*sets, bandwidths, biased=biased)
        for actual, expected in zip(ours, torch.autograd.grad(3 * plain, sets), strict=True):
            assert_close(actual, expected)

    @pytest.mark.parametrize("biased", [True, False])
    def test_gradients(self, block, biased):
        def value(source, target):
            return mmd(source, target, bandwidth=[0.8, 1.6, 3.0], biased=biased)

        sets = [rows.requires_grad_() for rows in domains(5, 3, d=2)]
        assert torch.autograd.gradcheck(value, sets)
        assert torch.autograd.gradgradcheck(value, sets)

    def test_gradient_of_one_set_alone(self):
        source, target = domains()
        ours = grad(lambda t: mmd(source, t, bandwidth=1.0))(target)
        assert_close(ours, grad(lambda t: mmd_by_torch(source, t, [1.0]))(target))
        target.requires_grad_()
        mmd(source, target, bandwidth=1.0).backward()
        assert_close(target.grad, ours)

    def test_maps_over_batches(self):
        batch = torch.stack([domains()[0], domains(seed=5)[0]])
        target = domains()[1]

        def value(source):
            return mmd(source, target, bandwidth=1.0)

        assert_close(vmap(value)(batch), torch.stack([value(source) for source in batch]))
        assert_close(vmap(grad(value))(batch), torch.stack([grad(value)(s) for s in batch]))

    @pytest.mark.parametrize("σ", [0.5, 2.0])
    def test_closed_form_between_two_normal_distributions(self, σ):
        """2c (1 - exp(-|μ|²/2(σ² + 2s²))), c = (σ²/(σ² + 2s²))^(d/2)."""
        s, d, μ = 0.7, 2, torch.tensor([1.0, 0.5])
        source = s * normal(6000, d, dtype=torch.float32)
        target = μ + s * normal(5000, d, seed=1, dtype=torch.float32)
        c = (σ**2 / (σ**2 + 2 * s**2)) ** (d / 2)
        expected = 2 * c * (1 - math.exp(-float(μ @ μ) / (2 * (σ**2 + 2 * s**2))))
        assert_close(
            mmd(source, target, bandwidth=σ, biased=False).item(), expected, rtol=0.05, atol=0
        )

    def test_identical_samples_unlike_in_tllib(self):
        """tllib's is neither the biased nor the unbiased estimate: ±0.07 on identical samples."""
        x = normal(40, 3)
        assert mmd(x, x, bandwidth=1.0) == pytest.approx(0, abs=1e-15)
        K = kernel_sum(x, x, [1.0])
        off_diagonal = (K.sum() - 40) / (40 * 39)
        expected = 2 * off_diagonal - 2 * K.mean()
        assert_close(mmd(x, x, bandwidth=1.0, biased=False).item(), expected)
        assert expected < 0

    def test_unbiased_is_zero_on_average(self):
        values = [
            mmd(normal(20, 2, seed=2 * k), normal(12, 2, seed=2 * k + 1), bandwidth=1, biased=False)
            for k in range(200)
        ]
        values = torch.stack(values)
        assert abs(values.mean()) < 3 * values.std() / math.sqrt(200)
        assert values.min() < 0

    @given(SEEDS, st.floats(0.2, 5))
    def test_biased_lies_between_zero_and_two(self, seed, σ):
        source, target = domains(seed=seed, shift=1)
        assert 0 < mmd(source, target, bandwidth=σ) < 2
        assert mmd(target, source, bandwidth=σ) == pytest.approx(
            mmd(source, target, bandwidth=σ).item()
        )

    @given(SEEDS, st.floats(0.1, 10))
    def test_permutations_motions_and_common_scales_change_nothing(self, seed, scale):
        source, target = domains(seed=seed)
        expected = mmd(source, target, bandwidth=1.0)
        permuted = source[torch.randperm(7, generator=torch.Generator().manual_seed(seed))]
        Q = rotation(3, seed)
        assert_close(mmd(permuted, target, bandwidth=1.0), expected)
        assert_close(mmd(source @ Q + 9, target @ Q + 9, bandwidth=1.0), expected)
        assert_close(mmd(scale * source, scale * target, bandwidth=scale), expected)
        assert_close(mmd(source, target), mmd(scale * source, scale * target))

    def test_several_kernels_are_the_sum(self):
        source, target = domains()
        expected = sum(mmd(source, target, bandwidth=σ) for σ in (0.5, 1.0, 3.0))
        assert_close(mmd(source, target, bandwidth=[0.5, 1.0, 3.0]), expected)
        assert_close(mmd(source, target, bandwidth=torch.tensor([0.5, 1.0, 3.0])), expected)

    def test_without_bandwidth_takes_the_median(self):
        source, target = domains()
        expected = mmd(source, target, bandwidth=median_heuristic(source, target))
        assert_close(mmd(source, target), expected)

    @pytest.mark.parametrize("dtype", FLOATS)
    def test_keeps_the_dtype(self, dtype):
        source, target = (rows.requires_grad_() for rows in domains(shift=2, dtype=dtype))
        value = mmd(target=target, source=source, bandwidth=1.5)
        value.backward()
        expected = mmd_by_scipy(source.double(), target.double(), [1.5])
        assert value.dtype == source.grad.dtype == target.grad.dtype == dtype
        assert_close(value.item(), expected, rtol=2 * torch.finfo(dtype).eps, atol=1e-6)

    def test_digits_far_from_the_origin(self):
        source, target = (512 + rows for rows in domains(dtype=torch.float32))
        expected = mmd_by_scipy(source.double(), target.double(), [1.0])
        assert_close(mmd(source, target, bandwidth=1.0).item(), expected, atol=1e-6, rtol=0)

    def test_a_narrow_kernel_on_far_rows_is_computed_in_double(self):
        source = torch.tensor([[0.0], [3.0], [3e4], [3e4 + 2]])
        target = torch.tensor([[1.0], [3e4 + 1]])
        expected = mmd_by_scipy(source.double(), target.double(), [1.0, 1e4])
        assert_close(mmd(source, target, bandwidth=[1.0, 1e4]).item(), expected)
        source = torch.tensor([[0.0], [1e25]])  # whose squares overflow in single
        assert mmd(source, source, bandwidth=1e24) == pytest.approx(0, abs=1e-7)

    def test_wide_features_take_no_broadcast(self):
        """Several MMD losses make (2n)² d numbers: 2 GiB at n = 256, d = 2048."""
        n, d = 256, 2048
        source, target = (rows.requires_grad_() for rows in domains(n, n, d, dtype=torch.float32))
        with LargestTensor() as largest:
            mmd(source, target).backward()
        assert largest.numbers <= 2 * n * (d + 2)

    @pytest.mark.parametrize("n", [40, 80, 160])
    def test_memory_grows_as_the_features_do(self, monkeypatch, n):
        monkeypatch.setattr(distances, "BLOCK", 8)
        source, target = (rows.requires_grad_() for rows in domains(n, n // 2, 2))
        with LargestTensor() as largest:
            mmd(source, target, bandwidth=[0.5, 1.0]).backward()
        assert largest.numbers <= max((n + n // 2) * (2 + 2), 3 * 8 * 8)

    def test_no_gradient_no_work_for_it(self, monkeypatch):
        monkeypatch.setattr(distances, "BLOCK", 8)
        source, target = domains(40, 40, 50)
        with LargestTensor() as largest, torch.no_grad():
            value = mmd(source.requires_grad_(), target, bandwidth=1.0)
        assert not value.requires_grad
        assert largest.numbers == 80 * 52

    def test_sets_that_do_not_overlap_are_warned_of_at_the_caller(self):
        source, target = domains(shift=100)
        with pytest.warns(UserWarning, match="don't overlap at the bandwidth 1: ") as record:
            mmd(source, target, bandwidth=[0.5, 1.0])
        assert [warning.filename for warning in record] == [__file__]
        with warnings.catch_warnings(action="error"):
            mmd(source, target)
            mmd(source, target, bandwidth=[1.0, 40.0])

    @pytest.mark.parametrize(
        ("source", "target", "options", "error", "words"),
        [
            ([[0.0]], torch.ones(1, 1), {}, TypeError, "source must be a torch.Tensor"),
            (torch.ones(2, 1).int(), torch.ones(1, 1), {}, TypeError, "source must hold float"),
            (torch.ones(2, 1), torch.ones(1, 1).double(), {}, TypeError, "one dtype"),
            (torch.ones(2), torch.ones(2, 1), {}, ValueError, "source must be a matrix"),
            (
                torch.ones(2, 3),
                torch.ones(2, 4),
                {},
                ValueError,
                r"widths must be equal, got source \(2, 3\), target \(2, 4\)",
            ),
            (torch.ones(0, 3), torch.ones(2, 3), {}, ValueError, "source is empty"),
            (
                torch.full((2, 1), torch.nan),
                torch.ones(1, 1),
                {},
                ValueError,
                "source contains NaN",
            ),
            (torch.ones(1, 1), torch.full((1, 1), torch.inf), {}, ValueError, "target must be fin"),
            (torch.ones(3, 2), torch.ones(2, 2), {}, ValueError, "median distance is zero"),
            (
                torch.eye(3),
                torch.ones(1, 3),
                {"biased": False},
                ValueError,
                r"target \(1, 3\) must have at least 2 rows, got 1",
            ),
            (torch.eye(2), torch.eye(2), {"bandwidth": 0}, ValueError, "must be positive, got"),
            (torch.eye(2), torch.eye(2), {"bandwidth": [1, -1]}, ValueError, "bandwidth must lie"),
            (torch.eye(2), torch.eye(2), {"bandwidth": []}, ValueError, "must be positive"),
            (torch.eye(2), torch.eye(2), {"bandwidth": math.nan}, ValueError, "bandwidth must"),
            (torch.eye(2), torch.eye(2), {"bandwidth": math.inf}, ValueError, "bandwidth must"),
            (torch.eye(2), torch.eye(2), {"bandwidth": "wide"}, TypeError, "must be a number"),
            (
                torch.eye(2),
                torch.eye(2),
                {"bandwidth": torch.ones((), requires_grad=True)},
                ValueError,
                "bandwidth carries a gradient.*gaussian_kernel",
            ),
        ],
    )
    def test_bad_input(self, source, target, options, error, words):
        with pytest.raises(error, match=words):
            mmd(source, target, **options)


class TestLinearTimeMmd:
    def test_by_hand(self):
        source = torch.tensor([[0.0], [1.0], [2.0], [0.0], [50.0]])
        target = torch.tensor([[1.0], [3.0], [2.0], [2.0]])

        def k(r):
            return math.exp(-(r**2) / 2)

        first = k(1) + k(2) - k(3) - k(0)
        second = k(2) + k(0) - k(0) - k(2)
        expected = torch.tensor((first + second) / 2)
        assert_close(linear_time_mmd(source, target, bandwidth=1), expected)
        assert_close(linear_time_mmd(target, source, bandwidth=1), expected)

    def test_rows_without_a_partner_do_not_count(self):
        source, target = normal(6, 2), normal(11, 2, seed=1)
        expected = linear_time_mmd(source, target[:6], bandwidth=1)
        assert_close(linear_time_mmd(source, target, bandwidth=1), expected)
        assert_close(linear_time_mmd(target, source, bandwidth=1), expected)

    def test_over_all_orders_is_the_unbiased_estimate(self):
        source, target = domains(4, 4)
        values = [
            linear_time_mmd(source[list(p)], target[list(q)], bandwidth=[0.7, 2.0])
            for p in itertools.permutations(range(4))
            for q in itertools.permutations(range(4))
        ]
        expected = mmd_by_scipy(source, target, [0.7, 2.0], biased=False)
        assert_close(torch.stack(values).mean().item(), expected)

    def test_without_bandwidth_takes_the_median(self):
        source, target = domains()
        expected = linear_time_mmd(source, target, bandwidth=median_heuristic(source, target))
        assert_close(linear_time_mmd(source, target), expected)

    @pytest.mark.parametrize("dtype", FLOATS)
    def test_keeps_the_dtype(self, dtype):
        source, target = domains(dtype=dtype)
        value = linear_time_mmd(target=target, source=source, bandwidth=1.5)
        expected = linear_time_mmd(source.double(), target.double(), bandwidth=1.5)
        assert value.dtype == dtype
        assert_close(value.double(), expected, atol=torch.finfo(dtype).eps, rtol=0)

    def test_gradients(self):
        sets = [rows.requires_grad_() for rows in domains()]

        def value(source, target):
            return linear_time_mmd(source, target, bandwidth=[0.8, 1.5])

        assert torch.autograd.gradcheck(value, sets)
        assert torch.autograd.gradgradcheck(value, sets)

    def test_bad_input(self):
        with pytest.raises(ValueError, match=r"target .* must have at least 2 rows, got 1"):
            linear_time_mmd(torch.eye(3), torch.ones(1, 3))
        with pytest.raises(ValueError, match="bandwidth must be positive"):
            linear_time_mmd(torch.eye(3), torch.eye(3), bandwidth=0)


class TestJmmd:
    @pytest.mark.parametrize("biased", [True, False])
    def test_agrees_with_the_product_of_scipys_kernels(self, biased):
        source = [normal(6, 3), normal(6, 2, seed=1)]
        target = [1 + normal(4, 3, seed=2), normal(4, 2, seed=3)]
        σs = (1.5, 0.8)

        def kernel(x, y):
            return math.prod(kernel_sum(a, b, [σ]) for a, b, σ in zip(x, y, σs, strict=True))

        expected = two_sample(
            kernel(source, source), kernel(target, target), kernel(source, target), biased=biased
        )
        assert_close(jmmd(source, target, bandwidth=σs, biased=biased).item(), expected)

    def test_of_one_layer_is_mmd(self):
        source, target = domains()
        assert_close(jmmd(target=[target], source=[source]), mmd(source, target))
        assert_close(jmmd((source,), (target,), bandwidth=(2,)), mmd(source, target, bandwidth=2))

    def test_sees_what_a_sum_over_layers_does_not(self):
        # the same features and the same predictions, paired otherwise
        features, predictions = torch.tensor([[0.0], [1.0]]), torch.tensor([[0.0], [1.0]])
        swapped = predictions.flip(0)
        assert mmd(predictions, swapped, bandwidth=1) == pytest.approx(0, abs=1e-7)
        assert jmmd([features, predictions], [features, swapped], bandwidth=(1, 1)) > 0.1

    def test_each_layer_has_its_median(self):
        source, target = domains()
        layers = [source, 100 * source], [target, 100 * target]
        σ = float(median_heuristic(source, target))
        assert_close(jmmd(*layers), jmmd(*layers, bandwidth=(σ, 100 * σ)))

    def test_gradients(self):
        tensors = [normal(4, 3), normal(4, 2, seed=1), normal(3, 3, seed=2), normal(3, 2, seed=3)]

        def value(a, b, c, d):
            return jmmd((a, b), (c, d), bandwidth=(1.0, 2.0))

        arguments = [tensor.requires_grad_() for tensor in tensors]
        assert torch.autograd.gradcheck(value, arguments)
        assert torch.autograd.gradgradcheck(value, arguments)

    @pytest.mark.parametrize(
        ("source", "target", "bandwidth", "error", "words"),
        [
            (torch.eye(2), [torch.eye(2)], None, TypeError, "source must be a seq.*use mmd"),
            ([torch.eye(2)], torch.eye(2), None, TypeError, "target must be a seq.*got Tensor"),
            ([torch.eye(2)], [2.0], None, TypeError, r"target\[0\] must be a torch.Tensor"),
            ([], [], None, ValueError, "got 0 layers of the source and 0 of the target"),
            ([torch.eye(2)], [torch.eye(2)] * 2, None, ValueError, "got 1 layers .* 2 of the"),
            (
                [torch.eye(2), torch.ones(3, 1)],
                [torch.eye(2), torch.ones(2, 1)],
                None,
                ValueError,
                r"layers of source must have the same rows, got \(2, 2\), \(3, 1\)",
            ),
            ([torch.eye(2)], [torch.ones(2, 3)], None, ValueError, "widths must be equal"),
            ([torch.eye(2)], [torch.eye(2)], (1, 2), ValueError, "got 2 bandwidths for 1 layers"),
            ([torch.eye(2)], [torch.eye(2)], (0,), ValueError, "bandwidth must be positive"),
            ([torch.eye(2)], [torch.full((2, 2), torch.nan)], None, ValueError, "contains NaN"),
        ],
    )
    def test_bad_input(self, source, target, bandwidth, error, words):
        with pytest.raises(error, match=words):
            jmmd(source, target, bandwidth=bandwidth)


class TestCoral:
    @pytest.mark.parametrize(("n", "m", "d"), [(5, 9, 3), (9, 5, 14), (3, 4, 20), (30, 2, 1)])
    def test_agrees_with_numpy(self, n, m, d):
        source, target = normal(n, d), 2 * normal(m, d, seed=1) + 3
        difference = np.cov(source.numpy().T) - np.cov(target.numpy().T)
        expected = float((np.atleast_2d(difference) ** 2).sum()) / (4 * d**2)
        assert_close(coral(source, target).item(), expected)

    def test_neither_four_times_nor_with_the_means_unlike_in_tllib(self):
        """tllib's is four times its documented value, and adds an undocumented mean term."""
        source, target = torch.tensor([[0.0, 0.0], [2.0, 0.0]]), torch.tensor([[1.0, 0], [5.0, 0]])
        assert coral(source, target) == (8 - 2) ** 2 / 16
        assert coral(source, source + 7) == 0

    @pytest.mark.parametrize("d", [3, 30])
    @given(seed=SEEDS, scale=st.floats(0.1, 3))
    def test_motions_change_nothing_scales_count_to_the_fourth(self, d, seed, scale):
        source, target = domains(6, 8, d, seed=seed)
        value, Q = coral(source, target), rotation(d, seed)
        assert_close(coral(target, source), value)
        assert_close(coral(source @ Q + 5, target @ Q - 3), value)
        assert_close(coral(scale * source, scale * target), scale**4 * value)
        assert coral(source, source.flip(0)) == pytest.approx(0, abs=1e-12)

    @pytest.mark.parametrize("dtype", FLOATS)
    @pytest.mark.parametrize("d", [3, 30])
    def test_keeps_the_dtype(self, dtype, d):
        source, target = domains(6, 8, d, dtype=dtype)
        value = coral(target=2 * target, source=source)
        assert value.dtype == dtype
        expected = coral(source.double(), 2 * target.double())
        assert_close(value.double(), expected, rtol=2 * torch.finfo(dtype).eps + 1e-6, atol=0)

    @pytest.mark.parametrize("d", [2, 12])
    def test_gradients(self, d):
        sets = [rows.requires_grad_() for rows in domains(5, 4, d)]
        assert torch.autograd.gradcheck(coral, sets)
        assert torch.autograd.gradgradcheck(coral, sets)

    def test_few_rows_of_wide_features_make_no_covariance(self):
        source, target = domains(8, 6, 1000)
        with LargestTensor() as largest:
            coral(source, target)
        assert largest.numbers == 8 * 1000

    def test_bad_input(self):
        with pytest.raises(ValueError, match=r"source .* must have at least 2 rows, got 1"):
            coral(torch.ones(1, 3), torch.eye(3))
        with pytest.raises(ValueError, match="widths must be equal"):
            coral(torch.eye(2), torch.eye(3))
        with pytest.raises(ValueError, match="target contains NaN"):
            coral(torch.eye(2), torch.full((2, 2), torch.nan))


def seeded(seed=0):
    return torch.Generator().manual_seed(seed)


class TestProxyADistance:
    def test_separable_domains_are_two_apart(self):
        source, target = domains(30, 20, shift=20)
        assert proxy_a_distance(source, target, generator=seeded()) == 2

    def test_equal_domains_give_zero_on_average_not_two_as_on_training_rows(self):
        """The error on training rows would be 0 here: 50 features part 60 rows."""
        values = [
            proxy_a_distance(
                normal(30, 50, seed=2 * k), normal(30, 50, seed=2 * k + 1), generator=seeded(k)
            )
            for k in range(60)
        ]
        values = torch.stack(values)
        assert abs(values.mean()) < 3 * values.std() / math.sqrt(60)
        assert values.min() < 0

    def test_the_larger_set_counts_no_more(self):
        """Calling all rows source would have an error of 2 % only: a distance of 1.9."""
        values = [
            proxy_a_distance(
                normal(980, 2, seed=2 * k), normal(20, 2, seed=2 * k + 1), generator=seeded(k)
            )
            for k in range(20)
        ]
        assert abs(torch.stack(values).mean()) < 0.4

    def test_agrees_with_the_best_linear_error_of_two_normal_distributions(self):
        source, target = normal(4000, 1), 1 + normal(4000, 1, seed=1)
        error = scipy.stats.norm.cdf(-0.5)
        value = proxy_a_distance(source, target, generator=seeded())
        assert_close(value.item(), 2 * (1 - 2 * error), atol=0.06, rtol=0)

    def test_regularisation_keeps_the_classifier_from_small_differences(self):
        # target - source is (0, 0.2), and both features vary together with variance 1
        u, v = normal(200, 1), normal(200, 1, seed=1)
        source, target = torch.cat([u, u], dim=1), torch.cat([v, v + 0.2], dim=1)
        weak, strong = (
            proxy_a_distance(source, target, generator=seeded(), regularisation=weight)
            for weight in (1e-6, 1e6)
        )
        assert weak == 2  # x2 - x1 tells the domains apart
        assert strong < 1  # x2, along which the means differ, hardly does

    def test_agrees_with_scikit_learn_on_the_same_split(self):
        source, target = domains(12, 9, 2)
        generator, train, test = seeded(3), [], []
        for rows in (source, target):
            order = torch.randperm(len(rows), generator=generator)
            count = round(0.25 * len(rows))
            test.append(rows[order[:count]].numpy())
            train.append(rows[order[count:]].numpy())
        X = np.concatenate(train)
        mean, scale = X.mean(0), X.std(0)
        y = np.repeat([0, 1], [len(rows) for rows in train])
        model = LogisticRegression(C=1 / 5, class_weight="balanced").fit((X - mean) / scale, y)
        errors = [
            np.mean(model.predict((rows - mean) / scale) != label)
            for label, rows in enumerate(test)
        ]
        value = proxy_a_distance(
            source, target, generator=seeded(3), held_out=0.25, regularisation=5
        )
        assert_close(value.item(), 2 * (1 - 2 * np.mean(errors)))

    @given(SEEDS)
    def test_is_drawn_by_the_generator_alone(self, seed):
        source, target = domains(11, 9)
        values = [proxy_a_distance(source, target, generator=seeded(seed)) for _ in range(2)]
        assert values[0] == values[1]
        assert -2 <= values[0] <= 2

    @pytest.mark.parametrize("dtype", FLOATS)
    def test_keeps_the_dtype_without_a_gradient(self, dtype):
        source, target = domains(dtype=dtype)
        value = proxy_a_distance(target=target, source=source.requires_grad_(), generator=seeded())
        assert value.dtype == dtype
        assert not value.requires_grad

    @pytest.mark.parametrize("held_out", [0.01, 0.99])
    def test_a_row_is_left_on_either_side(self, held_out):
        source, target = domains(5, 4, shift=30)
        assert proxy_a_distance(source, target, generator=seeded(), held_out=held_out) == 2

    @pytest.mark.parametrize(
        ("options", "words"),
        [
            ({"held_out": 0}, "held_out and regularisation must be positive, got 0 and 1"),
            ({"held_out": 1}, r"held_out must lie in \[0, 1\)"),
            ({"regularisation": 0}, "must be positive, got 0.5 and 0"),
            ({"regularisation": -1}, r"regularisation must lie in \[0, inf\)"),
        ],
    )
    def test_bad_options(self, options, words):
        with pytest.raises(ValueError, match=words):
            proxy_a_distance(torch.eye(4), torch.eye(4), generator=seeded(), **options)

    def test_bad_input(self):
        with pytest.raises(ValueError, match=r"target .* must have at least 4 rows, got 3"):
            proxy_a_distance(torch.eye(4)[:, :3], torch.eye(3), generator=seeded())
        with pytest.raises(ValueError, match="widths must be equal"):
            proxy_a_distance(torch.eye(4), torch.eye(5), generator=seeded())


def hsic_cosine(K, L):
    """Return the alignment of two kernel matrices, by the centring matrix written out."""
    n = len(K)
    H = np.eye(n) - np.ones((n, n)) / n

    def hsic(A, B):
        return np.trace(A @ H @ B @ H)

    return hsic(K, L) / math.sqrt(hsic(K, K) * hsic(L, L))


class TestLinearCka:
    @pytest.mark.parametrize(("d_s", "d_t"), [(2, 3), (3, 20), (20, 3), (20, 30), (9, 10)])
    def test_agrees_with_the_alignment_of_kernel_matrices(self, d_s, d_t):
        s, t = 5 + normal(9, d_s), normal(9, d_t, seed=1)
        s[:, 0] += 2 * t[:, 0]
        expected = hsic_cosine((s @ s.mT).numpy(), (t @ t.mT).numpy())
        assert_close(linear_cka(s, t).item(), expected)
        assert_close(linear_cka(t, s).item(), expected)

    def test_of_single_features_is_the_squared_correlation(self):
        s, t = normal(12, 1), normal(12, 1, seed=1)
        expected = scipy.stats.pearsonr(s[:, 0], t[:, 0]).statistic ** 2
        assert_close(linear_cka(s, t).item(), expected)

    @pytest.mark.parametrize("d", [3, 15])
    @given(seed=SEEDS, scale=st.floats(0.1, 10))
    def test_rotations_and_scales_change_nothing(self, d, seed, scale):
        s, t = normal(9, d, seed=seed), normal(9, 4, seed=seed + 1)
        value = linear_cka(s, t)
        assert 0 <= value <= 1
        assert_close(linear_cka(scale * s @ rotation(d, seed) + 3, -t), value)
        assert linear_cka(s, scale * s @ rotation(d, seed)) == pytest.approx(1)

    def test_stretching_one_feature_counts(self):
        s = normal(9, 3)
        assert linear_cka(s, s * torch.tensor([1.0, 1.0, 20.0])) < 0.9


class TestKernelCka:
    @pytest.mark.parametrize("bandwidth", [(1.0, 2.0), (0.3, 5.0)])
    def test_agrees_with_the_alignment_of_scipys_kernels(self, bandwidth):
        s, t = normal(9, 3), normal(9, 2, seed=1)
        t[:, 0] += s[:, 0]
        K, L = (kernel_sum(x, x, [σ]) for x, σ in zip((s, t), bandwidth, strict=True))
        assert_close(kernel_cka(s, t, bandwidth=bandwidth).item(), hsic_cosine(K, L))
        assert_close(kernel_cka(t, s, bandwidth=bandwidth[::-1]).item(), hsic_cosine(K, L))

    @pytest.mark.parametrize("n", [8, 9])
    def test_without_bandwidth_takes_each_median(self, n):
        s, t = normal(n, 3), 7 * normal(n, 2, seed=1)
        σs = [np.median(scipy.spatial.distance.pdist(x)) for x in (s, t)]
        assert_close(kernel_cka(s, t), kernel_cka(s, t, bandwidth=σs))

    def test_wide_kernels_are_linear(self):
        s, t = normal(9, 3), normal(9, 2, seed=1)
        assert_close(kernel_cka(s, t, bandwidth=(1e3, 1e3)), linear_cka(s, t), rtol=1e-4, atol=0)

    @given(SEEDS, st.floats(0.1, 10))
    def test_motions_and_scales_change_nothing(self, seed, scale):
        s, t = normal(9, 3, seed=seed), normal(9, 4, seed=seed + 1)
        value = kernel_cka(s, t)
        assert 0 <= value <= 1
        assert_close(kernel_cka(scale * s @ rotation(3, seed) + 3, t), value)
        assert kernel_cka(s, scale * s @ rotation(3, seed)) == pytest.approx(1)

    def test_the_bandwidths_must_be_two(self):
        with pytest.raises(ValueError, match="bandwidth must be two numbers, got 1"):
            kernel_cka(torch.eye(3), torch.eye(3), bandwidth=2.0)


@pytest.mark.parametrize("cka", [linear_cka, kernel_cka])
class TestCka:
    @pytest.mark.parametrize("dtype", FLOATS)
    @pytest.mark.parametrize("d", [3, 30])
    def test_keeps_the_dtype(self, cka, dtype, d):
        s, t = normal(9, d, dtype=dtype), normal(9, d, seed=1, dtype=dtype)
        value = cka(target=t, source=s)
        assert value.dtype == dtype
        expected = cka(s.double(), t.double())
        assert_close(value.double(), expected, rtol=8 * torch.finfo(dtype).eps, atol=1e-6)

    @pytest.mark.parametrize("d", [2, 9])
    def test_gradients(self, cka, d):
        pairs = [normal(5, d).requires_grad_(), normal(5, d + 1, seed=1).requires_grad_()]
        options = {} if cka is linear_cka else {"bandwidth": (1.0, 1.5)}
        assert torch.autograd.gradcheck(lambda s, t: cka(s, t, **options), pairs)
        assert torch.autograd.gradgradcheck(lambda s, t: cka(s, t, **options), pairs)

    @pytest.mark.parametrize(
        ("source", "target", "error", "words"),
        [
            (
                torch.eye(3),
                torch.eye(2),
                ValueError,
                r"source \(3, 3\) and target \(2, 2\) must describe the same examples",
            ),
            (torch.ones(1, 3), torch.ones(1, 3), ValueError, "at least 2 rows"),
            (torch.eye(3), torch.eye(3).double(), TypeError, "one dtype"),
            (torch.eye(3), torch.ones(3), ValueError, "target must be a matrix"),
            (torch.full((3, 1), torch.nan), torch.eye(3), ValueError, "source contains NaN"),
            (torch.eye(3), torch.full((3, 1), torch.inf), ValueError, "target must be finite"),
        ],
    )
    def test_bad_input(self, cka, source, target, error, words):
        with pytest.raises(error, match=words):
            cka(source, target)


@pytest.mark.parametrize("constant", [0.0, 0.1, 3.0])
@pytest.mark.parametrize("width", [2, 9])
def test_constant_features_align_with_nothing(constant, width):
    constant, varied = torch.full((7, width), constant), normal(7, width, dtype=torch.float32)
    with pytest.raises(ValueError, match="source is constant"):
        linear_cka(constant, varied)
    with pytest.raises(ValueError, match="target is constant"):
        linear_cka(varied, constant)
    with pytest.raises(ValueError, match="target is constant"):
        kernel_cka(varied, constant, bandwidth=(1, 1))
    for bandwidth in [(1, 1e9), (1e9, 1)]:
        with pytest.raises(ValueError, match=r"same for all pairs.*smaller bandwidth"):
            kernel_cka(varied, varied, bandwidth=bandwidth)


def test_means_of_other_kernels_give_their_discrepancy():
    """What the books' formula says with a Laplacian kernel; mmd's is Gaussian."""
    source, target = domains()
    for kernel, same in ((gaussian_kernel, True), (laplacian_kernel, False)):
        K_ss, K_tt, K_st = (
            kernel(x, y, bandwidth=1.3)
            for x, y in ((source, source), (target, target), (source, target))
        )
        value = K_ss.mean() + K_tt.mean() - 2 * K_st.mean()
        assert value > 0
        assert torch.isclose(value, mmd(source, target, bandwidth=1.3)) == same


@pytest.mark.parametrize(
    ("function", "arguments"),
    [
        (mmd, (*domains(), 1.0)),
        (linear_time_mmd, (*domains(), 1.0)),
        (jmmd, ([domains()[0]], [domains()[1]], [1.0])),
        (proxy_a_distance, (*domains(), torch.Generator())),
        (kernel_cka, (*domains(5, 5), (1.0, 1.0))),
    ],
)
def test_settings_are_given_by_keyword_alone(function, arguments):
    """A number in the place of a setting would say nothing of which setting it is."""
    with pytest.raises(TypeError, match="positional argument"):
        function(*arguments)
