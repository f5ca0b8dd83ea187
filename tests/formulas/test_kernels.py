"""Kernels: scikit-learn and SciPy, closed forms, properties, errors."""

import math

import numpy as np
import pytest
import scipy.spatial.distance
import sklearn.metrics.pairwise
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch.func import vmap
from torch.testing import assert_close

from mapping_lib.kernels import gaussian_kernel, laplacian_kernel, median_heuristic

FLOATS = [torch.float16, torch.bfloat16, torch.float32, torch.float64]
SEEDS = st.integers(0, 10_000)
KERNELS = [gaussian_kernel, laplacian_kernel]


def normal(*shape, seed=0, scale=1.0, dtype=torch.float64):
    generator = torch.Generator().manual_seed(seed)
    return (scale * torch.randn(shape, generator=generator, dtype=torch.float64)).to(dtype)


class TestGaussianKernel:
    def test_by_hand(self):
        x, y = torch.tensor([[0.0, 0.0]]), torch.tensor([[3.0, 4.0], [0.0, 0.0], [1.0, 0.0]])
        expected = torch.tensor([[math.exp(-25 / 18), 1.0, math.exp(-1 / 18)]])
        assert_close(gaussian_kernel(x, y, bandwidth=3), expected)

    @pytest.mark.parametrize("bandwidth", [0.3, 1.0, 7.0])
    def test_agrees_with_scikit_learn(self, bandwidth):
        x, y = normal(7, 5), normal(4, 5, seed=1)
        expected = sklearn.metrics.pairwise.rbf_kernel(x, y, gamma=1 / (2 * bandwidth**2))
        assert_close(gaussian_kernel(x, y, bandwidth=bandwidth), torch.as_tensor(expected))

    def test_the_distance_is_squared_unlike_in_skada(self):
        """skada's Gaussian kernel takes the distance itself: a Laplacian kernel."""
        near, far = gaussian_kernel(torch.zeros(1, 1), torch.tensor([[1.0], [2.0]]), bandwidth=1)[0]
        assert_close(far, near**4)
        assert abs(far - near**2) > 0.2

    def test_digits_far_from_the_origin(self):
        x, y = normal(6, 3, dtype=torch.float32), normal(5, 3, seed=1, dtype=torch.float32)
        x, y = x + 4096, y + 4096  # exact shifts lose digits of the rows, not of the kernel
        expected = gaussian_kernel(x.double(), y.double(), bandwidth=1)
        assert_close(gaussian_kernel(x, y, bandwidth=1).double(), expected, atol=2e-6, rtol=0)

    @given(SEEDS)
    def test_equal_rows_have_similarity_one(self, seed):
        x = 10 + normal(6, 4, seed=seed, dtype=torch.float32)
        assert (gaussian_kernel(x, x, bandwidth=1e-3).diag() == 1).all()

    def test_first_and_second_derivative_where_rows_are_equal(self):
        x = normal(3, 2).requires_grad_()
        y = x.detach().clone().requires_grad_()
        assert torch.autograd.gradcheck(lambda a, b: gaussian_kernel(a, b, bandwidth=2.0), (x, y))
        first = torch.autograd.grad(
            gaussian_kernel(x, y, bandwidth=2.0)[0, 0], x, create_graph=True
        )
        second = torch.autograd.grad(first[0][0, 0], x)[0]
        assert second[0, 0] == pytest.approx(-1 / 4)  # of exp(-r²/8) at r = 0

    def test_gradients_also_by_the_bandwidth(self):
        σ = torch.tensor(1.3, dtype=torch.float64, requires_grad=True)
        arguments = [normal(3, 2).requires_grad_(), normal(4, 2, seed=1).requires_grad_(), σ]

        def kernel(x, y, σ):
            return gaussian_kernel(x, y, bandwidth=σ)

        assert torch.autograd.gradcheck(kernel, arguments)
        assert torch.autograd.gradgradcheck(kernel, arguments)


class TestLaplacianKernel:
    def test_by_hand(self):
        x, y = torch.tensor([[0.0, 0.0]]), torch.tensor([[3.0, -4.0], [0.0, 0.0]])
        expected = torch.tensor([[math.exp(-7 / 2), 1.0]])
        assert_close(laplacian_kernel(x, y, bandwidth=2), expected)

    @pytest.mark.parametrize("bandwidth", [0.3, 1.0, 7.0])
    def test_agrees_with_scikit_learn(self, bandwidth):
        x, y = normal(7, 5), normal(4, 5, seed=1)
        expected = sklearn.metrics.pairwise.laplacian_kernel(x, y, gamma=1 / bandwidth)
        assert_close(laplacian_kernel(x, y, bandwidth=bandwidth), torch.as_tensor(expected))

    def test_gradients(self):
        arguments = [normal(3, 2).requires_grad_(), normal(4, 2, seed=1).requires_grad_()]

        def kernel(x, y):
            return laplacian_kernel(x, y, bandwidth=1.5)

        assert torch.autograd.gradcheck(kernel, arguments)
        assert torch.autograd.gradgradcheck(kernel, arguments)

    def test_far_rows_still_count(self):
        x, y = torch.zeros(1, 1), torch.tensor([[8.0]])
        assert laplacian_kernel(x, y, bandwidth=1) > 1e9 * gaussian_kernel(x, y, bandwidth=1)


@pytest.mark.parametrize("kernel", KERNELS)
class TestKernels:
    @given(SEEDS, st.floats(0.1, 10))
    def test_matrix_is_symmetric_in_0_1_and_positive_semidefinite(self, kernel, seed, bandwidth):
        x = normal(8, 3, seed=seed)
        K = kernel(x, x, bandwidth=bandwidth)
        assert_close(K, K.mT)
        assert (K >= 0).all()
        assert (K <= 1).all()
        assert torch.linalg.eigvalsh(K)[0] > -1e-12

    @given(SEEDS, st.floats(-20, 20), st.floats(0.1, 10))
    def test_shifts_and_common_scales_change_nothing(self, kernel, seed, shift, scale):
        x, y = normal(5, 3, seed=seed), normal(4, 3, seed=seed + 1)
        expected = kernel(x, y, bandwidth=0.7)
        assert_close(kernel(x + shift, y + shift, bandwidth=0.7), expected)
        assert_close(kernel(scale * x, scale * y, bandwidth=0.7 * scale), expected)

    def test_maps_over_bandwidths(self, kernel):
        x, y = normal(3, 2), normal(4, 2, seed=1)
        matrices = vmap(lambda σ: kernel(x, y, bandwidth=σ))(torch.tensor([0.5, 2.0]).double())
        assert_close(matrices, torch.stack([kernel(x, y, bandwidth=σ) for σ in (0.5, 2)]))

    @pytest.mark.parametrize("dtype", FLOATS)
    def test_keeps_the_dtype(self, kernel, dtype):
        x, y = normal(3, 2, dtype=dtype), normal(4, 2, seed=1, dtype=dtype)
        K = kernel(y=y, x=x, bandwidth=2.0)
        assert K.dtype == dtype
        expected = kernel(x.double(), y.double(), bandwidth=2.0)
        tolerance = 2 * torch.finfo(dtype).eps
        assert_close(K.double(), expected, atol=tolerance, rtol=0)

    @pytest.mark.parametrize(
        ("x", "y", "bandwidth", "error", "words"),
        [
            ([[0.0]], torch.ones(1, 1), 1, TypeError, "x must be a torch.Tensor"),
            (torch.ones(1, 1), torch.ones(1, 1).double(), 1, TypeError, "one dtype"),
            (torch.ones(2), torch.ones(2, 1), 1, ValueError, "x must be a matrix"),
            (
                torch.ones(2, 3),
                torch.ones(2, 4),
                1,
                ValueError,
                r"widths must be equal, got x \(2, 3\), y \(2, 4\)",
            ),
            (torch.ones(0, 3), torch.ones(2, 3), 1, ValueError, "x is empty"),
            (torch.ones(1, 1), torch.full((1, 1), torch.nan), 1, ValueError, "y contains NaN"),
            (torch.ones(1, 1), torch.full((1, 1), torch.inf), 1, ValueError, "y must be finite"),
            (torch.ones(1, 1), torch.ones(1, 1), 0, ValueError, "bandwidth must be positive"),
            (
                torch.ones(1, 1),
                torch.ones(1, 1),
                -1,
                ValueError,
                r"bandwidth must lie in \[0, inf\)",
            ),
            (torch.ones(1, 1), torch.ones(1, 1), torch.tensor(0.0), ValueError, "positive"),
            (
                torch.ones(1, 1),
                torch.ones(1, 1),
                torch.tensor(math.nan),
                ValueError,
                r"got nan|tensor\(nan\)",
            ),
            (torch.ones(1, 1), torch.ones(1, 1), torch.ones(2), ValueError, "must be one number"),
            (torch.ones(1, 1), torch.ones(1, 1), "wide", TypeError, "must be a number"),
        ],
    )
    def test_bad_input(self, kernel, x, y, bandwidth, error, words):
        with pytest.raises(error, match=words):
            kernel(x, y, bandwidth=bandwidth)


class TestMedianHeuristic:
    @pytest.mark.parametrize(("n", "m"), [(1, 1), (1, 2), (3, 4), (20, 7), (5, 1)])
    def test_agrees_with_numpy_and_scipy(self, n, m):
        source, target = normal(n, 3), 1 + normal(m, 3, seed=1)
        z = np.concatenate([source, target])
        expected = np.median(scipy.spatial.distance.pdist(z))
        assert_close(median_heuristic(source, target).item(), expected)

    def test_even_numbers_of_pairs_take_the_mean_of_the_middle_two(self):
        z = torch.tensor([[0.0], [1.0], [3.0], [7.0]])  # 1, 2, 3, 4, 6, 7
        assert median_heuristic(z[:1], z[1:]) == 3.5

    def test_a_row_and_itself_are_no_pair(self):
        # with the zeros of the diagonal the median would be 0
        assert median_heuristic(torch.zeros(1, 2), torch.tensor([[3.0, 4.0]])) == 5

    def test_large_sets_are_thinned_in_equal_steps(self):
        source, target = normal(40, 2), 3 + normal(10, 2, seed=1)
        thinned = median_heuristic(source[[0, 3, 6, 10, 13, 16, 20, 23, 26, 30, 33, 36]], target)
        assert_close(median_heuristic(source, target, rows=12), thinned)
        assert median_heuristic(source, target, rows=40) != thinned
        assert_close(median_heuristic(target, source, rows=12), thinned)

    def test_a_thousand_rows_of_a_set_are_used_by_default(self):
        # equal steps through 1001 rows leave out the last: that of number 1000
        source, target = normal(1001, 1), torch.zeros(1, 1, dtype=torch.float64)
        value = median_heuristic(source, target)
        assert value == median_heuristic(source[:1000], target)
        assert value != median_heuristic(source, target, rows=1001)

    def test_memory_does_not_grow_with_the_sets(self):
        one = median_heuristic(normal(100_000, 2, dtype=torch.float32), torch.zeros(1, 2))
        assert one == pytest.approx(math.sqrt(4 * math.log(2)), rel=0.05)  # of N(0, 2 I), radius

    @given(SEEDS, st.floats(0.1, 10))
    def test_scales_with_the_features(self, seed, scale):
        source, target = normal(6, 3, seed=seed), normal(4, 3, seed=seed + 1)
        expected = scale * median_heuristic(source, target)
        assert_close(median_heuristic(scale * source + 5, scale * target + 5), expected)
        assert_close(median_heuristic(scale * target, scale * source), expected)

    @pytest.mark.parametrize("dtype", FLOATS)
    def test_keeps_the_dtype(self, dtype):
        value = median_heuristic(torch.zeros(1, 2, dtype=dtype), torch.ones(1, 2, dtype=dtype))
        assert_close(value, torch.tensor(math.sqrt(2), dtype=dtype))

    def test_no_gradient(self):
        assert not median_heuristic(normal(3, 2).requires_grad_(), normal(3, 2)).requires_grad

    @pytest.mark.parametrize(
        ("source", "target", "rows", "error", "words"),
        [
            (
                torch.full((5, 3), 0.1),
                torch.full((4, 3), 0.1),
                9,
                ValueError,
                "median distance is zero: most pairs of rows are equal.*pass a bandwidth",
            ),
            (torch.ones(4, 1), torch.zeros(1, 1), 9, ValueError, "median distance is zero"),
            (torch.ones(2, 3), torch.ones(2, 4), 9, ValueError, "widths must be equal"),
            (torch.ones(2, 3), torch.ones(0, 3), 9, ValueError, "target is empty"),
            (torch.ones(2, 3), torch.ones(3), 9, ValueError, "target must be a matrix"),
            (torch.ones(2, 3), torch.eye(3), 1, ValueError, r"rows must lie in \[2, inf\)"),
        ],
    )
    def test_bad_input(self, source, target, rows, error, words):
        with pytest.raises(error, match=words):
            median_heuristic(source, target, rows=rows)


@pytest.mark.parametrize(
    ("function", "setting"),
    [(gaussian_kernel, 1.0), (laplacian_kernel, 1.0), (median_heuristic, 9)],
)
def test_settings_are_given_by_keyword_alone(function, setting):
    """A number in the place of a setting would say nothing of which setting it is."""
    with pytest.raises(TypeError, match="positional argument"):
        function(normal(3, 2), normal(4, 2), setting)
