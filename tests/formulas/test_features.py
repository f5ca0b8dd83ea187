"""Features: extraction, alignment, selection and fusion, against closed forms and references."""

from functools import partial

import numpy as np
import ot
import pytest
import scipy.linalg
import scipy.spatial
import sklearn.cross_decomposition
import sklearn.decomposition
import sklearn.metrics
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import nn
from torch.testing import assert_close
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from mapping_lib.distances import mmd
from mapping_lib.features import (
    bilinear_fusion,
    canonical_correlation,
    concatenation_fusion,
    coral_map,
    extract,
    gated_fusion,
    information_per_feature,
    joint_distribution_adaptation,
    mmd_per_feature,
    procrustes,
    select_features,
    subspace_alignment,
    tca,
    transport_map,
)
from mapping_lib.kernels import gaussian_kernel
from mapping_lib.mappings import linear
from mapping_lib.transport import sinkhorn_plan

SEEDS = st.integers(0, 10_000)
PAIRWISE = [coral_map, partial(subspace_alignment, width=1), partial(tca, width=1), transport_map,
            mmd_per_feature]  # fmt: skip


def normal(*size, seed=0, dtype=torch.float64):
    return torch.randn(*size, generator=torch.Generator().manual_seed(seed), dtype=dtype)


def rotation(d, seed=0):
    return torch.linalg.qr(normal(d, d, seed=seed)).Q


def two_sets(seed=0, d=4):
    """Two sets of unequal sizes, means and covariances."""
    source = normal(11, d, seed=seed) @ normal(d, d, seed=seed + 1) + 3
    target = normal(17, d, seed=seed + 2) @ normal(d, d, seed=seed + 3) - 1
    return source, target


class LargestTensor(TorchDispatchMode):
    """Remember how many numbers the largest tensor holds that any operation makes."""

    numbers = 0

    def __torch_dispatch__(self, operation, types, args=(), kwargs=None):
        result = operation(*args, **(kwargs or {}))
        made = [leaf.numel() for leaf in tree_leaves(result) if isinstance(leaf, torch.Tensor)]
        self.numbers = max([self.numbers, *made])
        return result


class Network(nn.Module):
    def __init__(self):
        super().__init__()
        self.conv = nn.Conv2d(1, 3, 3)
        self.norm = nn.BatchNorm2d(3)
        self.drop = nn.Dropout(0.5)
        self.pool = nn.AdaptiveAvgPool2d(1)
        self.head = nn.Linear(3, 2)
        self.unused = nn.Linear(2, 2)
        self.runs = 0

    def forward(self, x):
        x = self.pool(self.drop(self.norm(self.conv(x)))).flatten(1)
        self.runs += 1
        return self.head(x)


class TestExtract:
    def test_channels_are_averaged_over_places(self):
        model, images = Network(), normal(5, 1, 6, 7, dtype=torch.float32)
        found = extract(model, images, layers=["conv", "head"])
        assert list(found) == ["conv", "head"]
        assert_close(found["conv"], model.conv(images).mean((2, 3)).detach())
        assert_close(found["head"], model.eval()(images).detach())

    def test_runs_no_further_than_needed(self):
        model = Network()
        extract(model, torch.ones(2, 1, 4, 4), layers=["norm"])
        assert model.runs == 0
        extract(model, torch.ones(2, 1, 4, 4), layers=["norm", "head"])
        assert model.runs == 1

    def test_eval_mode_and_no_trace(self):
        model = Network().train()
        model.drop.eval()
        before = [module.training for module in model.modules()]
        state = {k: v.clone() for k, v in model.state_dict().items()}
        images = normal(6, 1, 5, 5, dtype=torch.float32)
        found = extract(model, images, layers=["drop"])["drop"]
        assert_close(found, extract(model, images, layers=["drop"])["drop"])
        assert not found.requires_grad
        assert [module.training for module in model.modules()] == before
        assert all(torch.equal(state[k], v) for k, v in model.state_dict().items())
        assert not model.drop._forward_hooks

    @given(st.integers(1, 9))
    def test_batches_change_nothing(self, batch_size):
        model, images = Network(), normal(7, 1, 4, 4, dtype=torch.float32)
        found = extract(model, images, layers=["norm"], batch_size=batch_size)
        assert_close(found, extract(model, images, layers=["norm"]))

    def test_a_batch_is_64_rows_by_default(self):
        model = Network()
        for rows, runs in ((64, 1), (65, 2)):
            model.runs = 0
            extract(model, torch.ones(rows, 1, 3, 3), layers=["head"])
            assert model.runs == runs

    def test_nested_names_and_order(self):
        model = nn.Sequential(nn.Sequential(nn.Linear(2, 3), nn.ReLU()), nn.Linear(3, 1))
        found = extract(model, torch.ones(2, 2), layers=["1", "0.0"])
        assert [tuple(x.shape) for x in found.values()] == [(2, 1), (2, 3)]

    def test_sequences_are_averaged_over_all_but_two_axes(self):
        found = extract(nn.Sequential(nn.Identity()), torch.arange(8.0).view(1, 2, 4), layers=["0"])
        assert found["0"].tolist() == [[1.5, 5.5]]

    @pytest.mark.parametrize(
        ("settings", "error", "words"),
        [
            ({"layers": ["convolution"]}, ValueError, "no layer 'convolution'"),
            ({"layers": ["haed"]}, ValueError, "did you mean 'head'"),
            ({"layers": [""]}, ValueError, "no layer ''"),
            ({"layers": []}, ValueError, "give at least one"),
            ({"layers": "conv"}, ValueError, "must be a list of names, got 'conv'"),
            ({"layers": ["unused"]}, ValueError, "doesn't run its layer 'unused'"),
            ({"layers": ["conv"], "batch_size": 0}, ValueError, "batch_size must lie in"),
        ],
    )
    def test_bad_input(self, settings, error, words):
        model = Network()
        with pytest.raises(error, match=words):
            extract(model, torch.ones(2, 1, 4, 4), **settings)
        assert not any(module._forward_hooks for module in model.modules())

    def test_layer_without_a_tensor(self):
        model = nn.Sequential(nn.LSTM(2, 3))
        with pytest.raises(TypeError, match="layer '0' returns tuple, not a tensor"):
            extract(model, torch.ones(4, 1, 2), layers=["0"])


class TestCoralMap:
    @given(SEEDS)
    def test_reproduces_mean_and_covariance_exactly(self, seed):
        source, target = two_sets(seed)
        mapped = linear(source, *coral_map(source, target))
        assert_close(mapped.mean(0), target.mean(0))
        assert_close(torch.cov(mapped.T), torch.cov(target.T), rtol=1e-6, atol=1e-6)

    @pytest.mark.parametrize("ridge", [0.0, 0.3])
    def test_agrees_with_scipy_matrix_functions(self, ridge):
        source, target = two_sets()
        C_s, C_t = (np.cov(x.numpy().T) + ridge * np.eye(4) for x in (source, target))
        expected = scipy.linalg.sqrtm(C_t) @ np.linalg.inv(scipy.linalg.sqrtm(C_s))
        weight, bias = coral_map(source, target, ridge=ridge)
        assert_close(weight, torch.as_tensor(expected.real))
        assert_close(bias, target.mean(0) - weight @ source.mean(0))

    def test_root_is_of_the_target_and_inverse_of_the_source(self):
        source = torch.tensor([[-2.0, 0.0], [2.0, 0.0], [0.0, -1.0], [0.0, 1.0]])
        target = torch.tensor([[-6.0, 0.0], [6.0, 0.0], [0.0, -4.0], [0.0, 4.0]])
        assert_close(coral_map(source, target)[0], torch.diag(torch.tensor([3.0, 4.0])))

    @given(SEEDS)
    def test_identity_on_identical_sets(self, seed):
        source, _ = two_sets(seed)
        weight, bias = coral_map(source, source)
        assert_close(weight, torch.eye(4, dtype=torch.float64), atol=1e-7, rtol=0)
        assert_close(bias, torch.zeros(4, dtype=torch.float64), atol=1e-6, rtol=0)

    def test_large_ridge_leaves_the_spread_alone(self):
        weight, _ = coral_map(*two_sets(), ridge=1e9)
        assert_close(weight, torch.eye(4, dtype=torch.float64), atol=1e-5, rtol=0)

    def test_ridge_lets_fewer_rows_than_features_through(self):
        source, target = normal(3, 6), normal(4, 6, seed=1)
        with pytest.raises(
            ValueError, match=r"3 rows and 6 features, has rank 2 and so no inverse"
        ):
            coral_map(source, target)
        assert coral_map(source, target, ridge=1.0)[0].shape == (6, 6)

    def test_singular_target_is_no_obstacle(self):
        source, target = normal(9, 3), normal(2, 3, seed=1)
        mapped = linear(source, *coral_map(source, target))
        assert_close(torch.cov(mapped.T), torch.cov(target.T), atol=1e-7, rtol=0)

    def test_gradients(self):
        source, target = two_sets(d=3)
        arguments = [source.requires_grad_(), target.requires_grad_()]
        assert torch.autograd.gradcheck(lambda s, t: coral_map(s, t, ridge=0.1), arguments)

    @pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float32])
    def test_keeps_the_dtype(self, dtype):
        weight, bias = coral_map(normal(9, 2).to(dtype), normal(7, 2, seed=1).to(dtype))
        assert weight.dtype == bias.dtype == dtype

    def test_constant_data(self):
        with pytest.raises(ValueError, match=r"source's covariance.*has rank 0"):
            coral_map(torch.ones(5, 2), torch.randn(5, 2))

    def test_negative_ridge(self):
        with pytest.raises(ValueError, match="ridge must lie in"):
            coral_map(*two_sets(), ridge=-1.0)


class TestSubspaceAlignment:
    @pytest.mark.parametrize("n", [11, 3])
    def test_agrees_with_scikit_learn(self, n):
        source, target = normal(n, 4), normal(17, 4, seed=1) * torch.tensor([3.0, 1.0, 2.0, 0.5])
        layers = subspace_alignment(source, target, width=2)
        P_s, P_t = (
            torch.as_tensor(sklearn.decomposition.PCA(2).fit(x.numpy()).components_.T)
            for x in (source, target)
        )
        M = P_s.T @ P_t
        expected_s = (source - source.mean(0)) @ P_s @ M
        expected_t = (target - target.mean(0)) @ P_t
        sign = (linear(target, *layers.target) * expected_t).sum(0).sign()
        assert_close(linear(target, *layers.target) * sign, expected_t)
        assert_close(linear(source, *layers.source) * sign, expected_s)

    @given(SEEDS)
    def test_sets_that_differ_by_a_shift_are_laid_on_each_other(self, seed):
        source, _ = two_sets(seed)
        layers = subspace_alignment(source, source + 5, width=3)
        assert_close(
            linear(source, *layers.source), linear(source + 5, *layers.target), atol=1e-6, rtol=1e-6
        )

    def test_sign_makes_the_largest_entry_positive(self):
        source, target = two_sets()
        for weight in (subspace_alignment(source, x, width=3).target[0] for x in (target, -target)):
            largest = weight.abs().argmax(1, keepdim=True)
            assert (weight.gather(1, largest) > 0).all()

    def test_gradients(self):
        source, target = two_sets(d=3)
        arguments = [source.requires_grad_(), target.requires_grad_()]
        flat = lambda s, t: sum(subspace_alignment(s, t, width=2), start=())  # noqa: E731
        assert torch.autograd.gradcheck(flat, arguments)

    @pytest.mark.parametrize(
        ("width", "words"),
        [
            (0, "width must be a whole number from 1 to 4"),
            (5, "from 1 to 4.*got 5"),
            (1.5, "got 1.5"),
        ],
    )
    def test_bad_width(self, width, words):
        with pytest.raises(ValueError, match=words):
            subspace_alignment(*two_sets(), width=width)

    @pytest.mark.parametrize("n", [9, 3])
    def test_fewer_directions_than_width(self, n):
        line = torch.arange(float(n)).unsqueeze(1) * torch.ones(1, 4)
        with pytest.raises(ValueError, match="source varies in 1 directions only, and width is 2"):
            subspace_alignment(line, torch.randn(9, 4), width=2)

    @pytest.mark.parametrize(("n", "d"), [(9, 4), (5, 4), (5, 7)])
    def test_the_greatest_width_maps_the_source_onto_itself(self, n, d):
        # all directions of the source are kept: the distances between its rows stay as they are
        source = normal(n, d)
        aligned = linear(source, *subspace_alignment(source, source, width=min(n - 1, d)).source)
        assert_close(torch.pdist(aligned), torch.pdist(source))

    def test_few_rows_of_wide_features_make_no_covariance(self):
        source, target = normal(5, 200), normal(6, 200, seed=1)
        with LargestTensor() as largest:
            subspace_alignment(source, target, width=2)
        assert 6 * 200 <= largest.numbers < 200**2


def reference_components(K, differences, width, penalty):
    """Solve the generalised eigenproblem as it is written, with SciPy."""
    K = K.numpy()
    n = len(K)
    H = np.eye(n) - 1 / n
    L = sum(np.outer(e, e) for e in differences)
    values, W = scipy.linalg.eigh(K @ H @ K, K @ L @ K + penalty * np.eye(n))
    return K @ W[:, ::-1][:, :width], values[::-1][:width]


def difference(n_s, n_t):
    return np.r_[np.full(n_s, 1 / n_s), np.full(n_t, -1 / n_t)]


class TestTca:
    @pytest.mark.parametrize("penalty", [0.1, 2.0])
    @pytest.mark.parametrize("kernel", [None, partial(gaussian_kernel, bandwidth=2.0)])
    def test_agrees_with_the_generalised_eigenproblem(self, kernel, penalty):
        source, target = two_sets()
        both = torch.cat([source, target])
        K = both @ both.T if kernel is None else kernel(both, both)
        expected, values = reference_components(K, [difference(11, 17)], 3, penalty)
        z_s, z_t = tca(source, target, width=3, penalty=penalty, kernel=kernel)
        assert z_s.shape == (11, 3)
        assert z_t.shape == (17, 3)
        Z = torch.cat([z_s, z_t])
        assert_close(Z.abs(), torch.as_tensor(expected).abs(), atol=1e-6, rtol=1e-6)
        scatter = (Z - Z.mean(0)).square().sum(0)
        assert_close(scatter, torch.as_tensor(values.copy()), rtol=1e-8, atol=0)

    def test_lanczos_agrees_with_the_dense_solver(self, monkeypatch):
        source, target = normal(70, 5), normal(80, 5, seed=1) + 1
        kernel = partial(gaussian_kernel, bandwidth=2.0)
        many = tca(source, target, width=40, kernel=kernel)
        monkeypatch.setattr(scipy.linalg, "eigh", lambda *_, **__: 1 / 0)
        few = tca(source, target, width=3, kernel=kernel)
        for a, b in zip(few, many, strict=True):
            assert_close(a, b[:, :3], atol=1e-8, rtol=1e-6)

    def test_the_first_component_of_a_few_rows(self):
        source, target = normal(6, 4), normal(7, 4, seed=1) + 1
        one, three = (tca(source, target, width=width) for width in (1, 3))
        assert_close(torch.cat(one), torch.cat(three)[:, :1])

    def test_linear_kernel_on_equal_means_is_pca_with_each_component_scaled_once_more(self):
        source, target = (x - x.mean(0) for x in two_sets())
        both = torch.cat([source, target])
        U, s, _ = torch.linalg.svd(both, full_matrices=False)
        Z = torch.cat(tca(source, target, width=4, penalty=1.0))
        assert_close(Z.abs(), (U * s**2).abs(), atol=1e-8, rtol=1e-8)

    @given(SEEDS)
    def test_smaller_penalty_brings_the_means_closer(self, seed):
        source, target = two_sets(seed)
        gaps = []
        for penalty in (1e4, 1e-2):
            z_s, z_t = tca(source, target, width=2, penalty=penalty)
            gap = (z_s.mean(0) - z_t.mean(0)).square().sum()
            gaps.append(gap / torch.cat([z_s, z_t]).var(0).sum())
        assert gaps[1] <= gaps[0] + 1e-12

    @given(SEEDS)
    def test_components_are_uncorrelated_and_in_order(self, seed):
        covariance = torch.cov(torch.cat(tca(*two_sets(seed), width=3)).T)
        variances = covariance.diagonal()
        assert (variances.diff() <= 1e-9 * variances[0]).all()
        assert_close(covariance, torch.diag(variances), atol=1e-6 * variances[0].item(), rtol=0)

    def test_order_of_the_rows_does_not_matter(self):
        source, target = two_sets()
        z_s, z_t = tca(source, target, width=2)
        flipped_s, flipped_t = tca(source.flip(0), target.flip(0), width=2)
        assert_close(flipped_s.flip(0), z_s)
        assert_close(flipped_t.flip(0), z_t)

    def test_keeps_the_dtype(self):
        z_s, z_t = tca(*(x.float() for x in two_sets()), width=2)
        assert z_s.dtype == z_t.dtype == torch.float32

    @pytest.mark.parametrize(
        ("settings", "words"),
        [
            ({"width": 2, "penalty": 0.0}, "penalty must be above 0"),
            ({"width": 2, "penalty": -1.0}, "penalty must lie in"),
            ({"width": 28}, "width must be a whole number from 1 to 27"),
            ({"width": 5}, "vary in 4 directions only, and width is 5"),
        ],
    )
    def test_bad_settings(self, settings, words):
        with pytest.raises(ValueError, match=words):
            tca(*two_sets(), **settings)

    def test_constant_data(self):
        with pytest.raises(ValueError, match="vary in 0 directions only"):
            tca(torch.ones(5, 2), torch.ones(4, 2), width=1)

    def test_kernel_with_nan(self):
        with pytest.raises(ValueError, match="kernel contains NaN"):
            tca(*two_sets(), width=1, kernel=lambda x, y: x @ y.T * torch.nan)


class TestJointDistributionAdaptation:
    def problem(self, seed=0):
        labels = torch.arange(12) % 3
        source = normal(12, 4, seed=seed) + 4 * nn.functional.one_hot(labels, 4)
        truth = torch.arange(18) % 3
        target = normal(18, 4, seed=seed + 1) + 4 * nn.functional.one_hot(truth, 4) + 1
        return source, target, labels, truth

    def test_first_round_is_tca(self):
        source, target, labels, _ = self.problem()
        z_s, z_t, _ = joint_distribution_adaptation(source, target, labels, width=2, rounds=1)
        expected_s, expected_t = tca(source, target, width=2)
        assert_close(z_s, expected_s)
        assert_close(z_t, expected_t)

    def test_second_round_agrees_with_the_generalised_eigenproblem(self):
        source, target, labels, _ = self.problem()
        first = joint_distribution_adaptation(source, target, labels, width=2, rounds=1)
        second = joint_distribution_adaptation(source, target, labels, width=2, rounds=2)
        differences = [difference(12, 18)]
        for c in range(3):
            s, t = (labels == c).double().numpy(), (first.labels == c).double().numpy()
            differences.append(np.r_[s / s.sum(), -t / t.sum()])
        both = torch.cat([source, target])
        expected, _ = reference_components(both @ both.T, differences, 2, 1.0)
        assert_close(torch.cat(second[:2]).abs(), torch.as_tensor(np.abs(expected)))

    def test_labels_are_those_of_the_nearest_mapped_row(self):
        source, target, labels, truth = self.problem()
        z_s, z_t, guesses = joint_distribution_adaptation(source, target, labels, width=2)
        tree = scipy.spatial.KDTree(z_s.numpy())
        assert guesses.tolist() == labels[tree.query(z_t.numpy())[1]].tolist()
        assert (guesses == truth).double().mean() > 0.6

    def test_own_classifier(self):
        source, target, labels, truth = self.problem()
        result = joint_distribution_adaptation(
            source, target, labels, width=2, classify=lambda s, y, t: truth
        )
        assert torch.equal(result.labels, truth)

    @pytest.mark.parametrize(("settings", "expected"), [({}, 10), ({"rounds": 3}, 3)])
    def test_classifies_once_a_round(self, settings, expected):
        source, target, labels, truth = self.problem()
        rounds = []

        def classify(s, y, t):
            rounds.append(len(t))
            return truth

        joint_distribution_adaptation(
            source, target, labels, width=2, classify=classify, **settings
        )
        assert rounds == [18] * expected

    def test_class_nobody_is_taken_for_is_left_out(self):
        source, target, labels, _ = self.problem()
        always = torch.zeros(18, dtype=torch.long)
        result = joint_distribution_adaptation(
            source, target, labels, width=2, rounds=2, classify=lambda s, y, t: always
        )
        assert result.target.isfinite().all()

    def test_names_of_the_classes_do_not_matter(self):
        source, target, labels, _ = self.problem()
        a = joint_distribution_adaptation(source, target, labels, width=2)
        b = joint_distribution_adaptation(source, target, 7 - 3 * labels, width=2)
        assert torch.equal(7 - 3 * a.labels, b.labels)

    @pytest.mark.parametrize(
        ("labels", "error", "words"),
        [
            (torch.zeros(12, dtype=torch.long), ValueError, "all labels are 0.*two classes"),
            (torch.arange(11), ValueError, r"source has 12 rows, but labels have shape \(11,\)"),
            (torch.arange(12.0), TypeError, "labels must be integers"),
            (torch.ones(12).bool(), TypeError, "labels must be integers"),
            ([0] * 12, TypeError, "labels must be a torch.Tensor"),
        ],
    )
    def test_bad_labels(self, labels, error, words):
        source, target, _, _ = self.problem()
        with pytest.raises(error, match=words):
            joint_distribution_adaptation(source, target, labels, width=2)

    def test_bad_settings(self):
        source, target, labels, _ = self.problem()
        with pytest.raises(ValueError, match="rounds must lie in"):
            joint_distribution_adaptation(source, target, labels, width=2, rounds=0)


class TestProcrustes:
    @given(SEEDS)
    def test_recovers_a_rotation_and_a_shift(self, seed):
        source, Q = normal(9, 3, seed=seed), rotation(3, seed=seed + 1)
        weight, bias = procrustes(source, source @ Q.T + 5)
        assert_close(weight, Q, atol=1e-7, rtol=0)
        assert_close(bias, torch.full((3,), 5.0, dtype=torch.float64))

    def test_agrees_with_scipy(self):
        source, target = normal(9, 4), normal(9, 4, seed=1)
        R, _ = scipy.linalg.orthogonal_procrustes(
            (source - source.mean(0)).numpy(), (target - target.mean(0)).numpy()
        )
        weight, bias = procrustes(source, target)
        assert_close(weight, torch.as_tensor(R.T))
        assert_close(bias, target.mean(0) - weight @ source.mean(0))

    @given(SEEDS)
    def test_no_other_rotation_is_closer(self, seed):
        source, target = normal(8, 3, seed=seed), normal(8, 3, seed=seed + 1)
        weight, bias = procrustes(source, target)
        assert_close(weight @ weight.T, torch.eye(3, dtype=torch.float64))
        best = (linear(source, weight, bias) - target).square().sum()
        other = rotation(3, seed=seed + 2)
        shift = target.mean(0) - other @ source.mean(0)
        assert best <= (linear(source, other, shift) - target).square().sum()

    def test_gradients(self):
        arguments = [normal(7, 3).requires_grad_(), normal(7, 3, seed=1).requires_grad_()]
        assert torch.autograd.gradcheck(procrustes, arguments)

    def test_rows_without_partners(self):
        with pytest.raises(ValueError, match=r"row i of source.*5 and 6 rows.*coral_map"):
            procrustes(torch.randn(5, 2), torch.randn(6, 2))
        with pytest.raises(ValueError, match="at least 2 rows, got 1"):
            procrustes(torch.randn(1, 2), torch.randn(1, 2))


class TestCanonicalCorrelation:
    def views(self, seed=0, n=40):
        common = normal(n, 2, seed=seed)
        source = torch.cat([common, normal(n, 2, seed=seed + 1)], 1) @ normal(4, 4, seed=seed + 2)
        noise = normal(n, 3, seed=seed + 3)
        return source, common @ normal(2, 3, seed=seed + 4) + 0.5 * noise

    def test_agrees_with_scikit_learn(self):
        source, target = self.views()
        reference = sklearn.cross_decomposition.CCA(2, max_iter=10_000, tol=1e-12)
        x, y = reference.fit_transform(source.numpy(), target.numpy())
        expected = [np.corrcoef(x[:, k], y[:, k])[0, 1] for k in range(2)]
        found = canonical_correlation(source, target, width=2).correlations
        assert_close(found, torch.tensor(expected, dtype=torch.float64), atol=1e-5, rtol=0)

    @given(SEEDS)
    def test_outputs_are_white_and_correlate_as_said(self, seed):
        source, target = self.views(seed)
        layer_s, layer_t, correlations = canonical_correlation(source, target, width=3)
        a, b = linear(source, *layer_s), linear(target, *layer_t)
        eye = torch.eye(3, dtype=torch.float64)
        assert_close(torch.cov(a.T), eye, atol=1e-6, rtol=0)
        assert_close(torch.cov(b.T), eye, atol=1e-6, rtol=0)
        for view in (a, b):
            assert_close(view.mean(0), torch.zeros(3, dtype=torch.float64), atol=1e-6, rtol=0)
        cross = (a.T @ b) / (len(a) - 1)
        assert_close(cross, torch.diag(correlations), atol=1e-6, rtol=0)
        assert (correlations.diff() <= 0).all()

    @given(SEEDS)
    def test_linear_maps_of_a_view_change_no_correlation(self, seed):
        source, target = self.views(seed)
        expected = canonical_correlation(source, target, width=3).correlations
        bent = source @ normal(4, 4, seed=seed + 9) + 7
        found = canonical_correlation(bent, target, width=3).correlations
        assert_close(found, expected, atol=1e-6, rtol=0)

    def test_ridge_shrinks_by_hand(self):
        x = torch.tensor([[-1.0], [0.0], [1.0]], dtype=torch.float64)  # variance 1
        found = canonical_correlation(x, 2 * x, width=1, ridge=1.0)
        assert_close(found.correlations.item(), 2 / (2 * 5) ** 0.5)
        assert_close(found.source[0].item(), 1 / 2**0.5)
        assert_close(found.target[0].item(), 1 / 5**0.5)

    def test_gradients(self):
        source, target = (x.requires_grad_() for x in self.views(n=12))
        correlations = lambda s, t: canonical_correlation(s, t, width=2).correlations  # noqa: E731
        assert torch.autograd.gradcheck(correlations, [source, target])

    @pytest.mark.parametrize(
        ("source", "target", "width", "words"),
        [
            (torch.randn(5, 2), torch.randn(6, 2), 1, "5 and 6 rows"),
            (torch.randn(9, 2), torch.randn(9, 3), 3, "from 1 to 2"),
            (torch.randn(1, 2), torch.randn(1, 3), 1, "source.*at least 2 rows, got 1"),
            (torch.randn(3, 4), torch.randn(3, 1), 1, "source's covariance.*give a ridge"),
            (torch.randn(3, 1), torch.randn(3, 4), 1, "target's covariance.*give a ridge"),
        ],
    )
    def test_bad_input(self, source, target, width, words):
        with pytest.raises(ValueError, match=words):
            canonical_correlation(source, target, width=width)


class TestTransportMap:
    def test_is_the_barycentre_of_the_plan(self):
        source, target = two_sets()
        cost = torch.as_tensor(
            scipy.spatial.distance.cdist(source.numpy(), target.numpy(), "sqeuclidean")
        )
        plan = sinkhorn_plan(cost / cost.mean(), regularisation=0.1)
        expected = (plan / plan.sum(1, keepdim=True)) @ target
        assert_close(transport_map(source, target, regularisation=0.1), expected)

    def test_agrees_with_pot(self):
        source, target = (x.numpy() for x in two_sets())
        cost = scipy.spatial.distance.cdist(source, target, "sqeuclidean")
        plan = ot.sinkhorn(
            np.full(11, 1 / 11), np.full(17, 1 / 17), cost / cost.mean(), 0.1, stopThr=1e-13
        )
        expected = torch.as_tensor(plan @ target * 11)
        found = transport_map(*two_sets(), regularisation=0.1)
        assert_close(found, expected, atol=1e-6, rtol=1e-6)

    @given(SEEDS)
    def test_neither_unit_nor_origin_matters(self, seed):
        source, target = two_sets(seed)
        moved = transport_map(source, target, regularisation=0.2)
        other = transport_map(100 * source + 1, 100 * target + 1, regularisation=0.2)
        assert_close(other, 100 * moved + 1, atol=1e-4, rtol=1e-4)

    def test_small_regularisation_pairs_large_moves_to_the_mean(self):
        source = torch.tensor([[0.0, 0.0], [1.0, 0.0], [2.0, 0.0]], dtype=torch.float64)
        target = source.flip(0) + torch.tensor([0.0, 5.0])
        assert_close(transport_map(source, target, regularisation=0.002), target.flip(0))
        mean = target.mean(0).expand(3, 2)
        assert_close(transport_map(source, target, regularisation=1e4), mean, atol=1e-3, rtol=0)

    def test_gradient_takes_the_plan_as_fixed(self):
        source, target = normal(4, 2).requires_grad_(), normal(5, 2, seed=1).requires_grad_()
        moved = transport_map(source, target, regularisation=0.5)
        moved.sum().backward()
        assert source.grad is None
        assert_close(target.grad, torch.full((5, 2), 4 / 5, dtype=torch.float64))

    def test_one_point(self):
        with pytest.raises(ValueError, match="nothing to transport"):
            transport_map(torch.ones(3, 2), torch.ones(4, 2))


class TestMmdPerFeature:
    def test_is_the_mmd_of_each_column(self):
        source, target = two_sets()
        for bandwidth in (None, 0.7):
            expected = [mmd(source[:, [j]], target[:, [j]], bandwidth=bandwidth) for j in range(4)]
            assert_close(
                mmd_per_feature(source, target, bandwidth=bandwidth), torch.stack(expected)
            )

    def test_the_shifted_feature_scores_highest(self):
        source, target = normal(30, 3), normal(20, 3, seed=1) + torch.tensor([0.0, 3.0, 0.0])
        assert mmd_per_feature(source, target).argmax() == 1

    def test_constant_and_mostly_equal_features(self):
        source = torch.tensor([[1.0, 0.0], [1.0, 0.0], [1.0, 0.0], [1.0, 9.0]])
        scores = mmd_per_feature(source, source[:3])
        assert scores[0] == 0
        assert scores[1] > 0
        assert (mmd_per_feature(source, source) == 0).all()

    def test_dead_features_score_zero_with_a_gradient_of_zero(self):
        source = torch.zeros(4, 2, requires_grad=True)
        scores = mmd_per_feature(source, torch.zeros(3, 2))
        scores.sum().backward()
        assert scores.tolist() == [0, 0]
        assert (source.grad == 0).all()

    def test_rounding_makes_no_score_negative(self):
        source = normal(9, 30, dtype=torch.float32)
        assert (mmd_per_feature(source, source.flip(0), bandwidth=1.0) >= 0).all()

    def test_gradients(self):
        arguments = [normal(4, 2).requires_grad_(), normal(5, 2, seed=1).requires_grad_()]
        assert torch.autograd.gradcheck(partial(mmd_per_feature, bandwidth=1.0), arguments)


class TestInformationPerFeature:
    @given(SEEDS)
    def test_agrees_with_scikit_learn(self, seed):
        features = normal(50, 3, seed=seed)
        labels = torch.randint(4, (50,), generator=torch.Generator().manual_seed(seed))
        found = information_per_feature(features, labels, bins=5)
        cuts = np.quantile(features.numpy(), np.arange(1, 5) / 5, axis=0, method="higher")
        for j in range(3):
            bins = np.searchsorted(cuts[:, j], features[:, j].numpy(), side="right")
            expected = sklearn.metrics.mutual_info_score(labels.numpy(), bins)
            assert_close(found[j].item(), expected, atol=1e-9, rtol=1e-9)

    def test_bounds(self):
        labels = torch.arange(12) % 3
        features = torch.stack([labels.double(), torch.ones(12).double()], 1)
        found = information_per_feature(features, labels, bins=3)
        assert_close(found, torch.tensor([np.log(3), 0.0], dtype=torch.float64))

    @given(SEEDS)
    def test_monotone_maps_change_nothing(self, seed):
        features, labels = normal(40, 2, seed=seed), torch.arange(40) % 3
        expected = information_per_feature(features, labels)
        assert_close(information_per_feature(features.exp(), labels), expected)

    @pytest.mark.parametrize(
        ("labels", "bins", "words"),
        [
            (torch.zeros(4, dtype=torch.long), 2, "at least two classes"),
            (torch.arange(3), 2, "features has 4 rows"),
            (torch.arange(4), 1, "bins must lie in"),
        ],
    )
    def test_bad_input(self, labels, bins, words):
        with pytest.raises(ValueError, match=words):
            information_per_feature(torch.randn(4, 2), labels, bins=bins)


class TestSelectFeatures:
    def test_largest_in_ascending_order(self):
        assert select_features(torch.tensor([0.1, 0.9, 0.3, 0.8]), keep=3).tolist() == [1, 2, 3]

    def test_first_of_equal_scores(self):
        assert select_features(torch.tensor([0.5, 0.5, 0.5]), keep=2).tolist() == [0, 1]

    @given(SEEDS, st.integers(1, 9))
    def test_no_other_choice_scores_higher(self, seed, keep):
        scores = normal(9, seed=seed)
        chosen = scores[select_features(scores, keep=keep)].sum()
        assert_close(chosen, scores.sort(descending=True).values[:keep].sum())

    @pytest.mark.parametrize(
        ("scores", "keep", "words"),
        [
            (torch.ones(3), 4, "keep must be a whole number from 1 to 3"),
            (torch.ones(3), 0, "keep must be a whole number"),
            (torch.ones(3, 1), 1, r"must be a vector, one a feature, got shape \(3, 1\)"),
            (torch.tensor([1.0, torch.nan]), 1, "scores contains NaN"),
        ],
    )
    def test_bad_input(self, scores, keep, words):
        with pytest.raises(ValueError, match=words):
            select_features(scores, keep=keep)


class TestConcatenationFusion:
    @given(SEEDS)
    def test_each_view_has_mean_square_norm_one(self, seed):
        views = normal(6, 2, seed=seed), 1000 * normal(6, 3, seed=seed + 1)
        fused = concatenation_fusion(*views)
        assert fused.shape == (6, 5)
        for part in (fused[:, :2], fused[:, 2:]):
            assert_close(part.square().sum(1).mean().item(), 1.0)
        assert_close(concatenation_fusion(5 * views[0], views[1]), fused)

    def test_gradients(self):
        arguments = [normal(4, 2).requires_grad_(), normal(4, 3, seed=1).requires_grad_()]
        assert torch.autograd.gradcheck(concatenation_fusion, arguments)

    @pytest.mark.parametrize(
        ("views", "words"),
        [
            ([], "there are no views"),
            ([torch.ones(2, 1), torch.ones(3, 1)], r"one number of rows.*view 1 \(2, 1\), view 2"),
            ([torch.ones(2, 1), torch.zeros(2, 2)], "view 2 is zero everywhere"),
        ],
    )
    def test_bad_input(self, views, words):
        with pytest.raises(ValueError, match=words):
            concatenation_fusion(*views)


class TestGatedFusion:
    def test_by_hand(self):
        # sigmoid(log 3) = 3/4
        first, second = torch.tensor([[1.0, 0.0]]), torch.tensor([[0.0, 8.0]])
        weight = torch.zeros(2, 4)
        weight[0, 0] = np.log(3)
        assert_close(gated_fusion(first, second, weight), torch.tensor([[0.75, 4.0]]))
        closed = gated_fusion(first, second, weight, torch.tensor([-1e4, 1e4]))
        assert_close(closed, torch.tensor([[0.0, 0.0]]))

    @given(SEEDS)
    def test_lies_between_the_views(self, seed):
        first, second = normal(5, 3, seed=seed), normal(5, 3, seed=seed + 1)
        for rows in (1, 3):
            fused = gated_fusion(first, second, normal(rows, 6, seed=seed + 2))
            assert (fused <= torch.maximum(first, second) + 1e-12).all()
            assert (fused >= torch.minimum(first, second) - 1e-12).all()

    def test_gradients(self):
        arguments = [normal(*size, seed=k).requires_grad_() for k, size in
                     enumerate([(4, 2), (4, 2), (2, 4), (2,)])]  # fmt: skip
        assert torch.autograd.gradcheck(gated_fusion, arguments)

    @pytest.mark.parametrize(
        ("second", "weight", "words"),
        [
            (torch.ones(3, 3), torch.ones(2, 4), r"must have one shape, got first \(3, 2\)"),
            (torch.ones(3, 2), torch.ones(3, 4), r"shape \(1, 4\) or \(2, 4\), got \(3, 4\)"),
            (torch.ones(3, 2), torch.ones(4), r"shape \(1, 4\) or \(2, 4\), got \(4,\)"),
            (torch.ones(3, 2), torch.ones(1, 4, 1), r"or \(2, 4\), got \(1, 4, 1\)"),
        ],
    )
    def test_bad_input(self, second, weight, words):
        with pytest.raises(ValueError, match=words):
            gated_fusion(torch.ones(3, 2), second, weight)


class TestBilinearFusion:
    @given(SEEDS)
    def test_agrees_with_torch(self, seed):
        first, second = normal(5, 3, seed=seed), normal(5, 2, seed=seed + 1)
        weight = normal(4, 3, 2, seed=seed + 2)
        expected = nn.functional.bilinear(first, second, weight)
        assert_close(bilinear_fusion(first, second, weight), expected)
        products = bilinear_fusion(first, second)
        assert products.shape == (5, 6)
        assert_close(products @ weight.flatten(1).T, expected)

    def test_products_by_hand(self):
        fused = bilinear_fusion(torch.tensor([[2.0, 3.0]]), torch.tensor([[5.0, 7.0, 11.0]]))
        assert fused.tolist() == [[10, 14, 22, 15, 21, 33]]

    def test_gradients(self):
        arguments = [normal(*size, seed=k).requires_grad_() for k, size in
                     enumerate([(4, 2), (4, 3), (2, 2, 3)])]  # fmt: skip
        assert torch.autograd.gradcheck(bilinear_fusion, arguments)

    @pytest.mark.parametrize(
        ("second", "weight", "words"),
        [
            (torch.ones(2, 3), None, r"one number of rows.*second \(2, 3\)"),
            (torch.ones(3, 3), torch.ones(4, 3, 2), r"shape \(k, 2, 3\), got \(4, 3, 2\)"),
            (torch.ones(3, 3), torch.ones(2, 3), r"shape \(k, 2, 3\), got \(2, 3\)"),
        ],
    )
    def test_bad_input(self, second, weight, words):
        with pytest.raises(ValueError, match=words):
            bilinear_fusion(torch.ones(3, 2), second, weight)


@pytest.mark.parametrize("function", PAIRWISE)
class TestTwoSets:
    @pytest.mark.parametrize(
        ("source", "target", "error", "words"),
        [
            (torch.ones(4, 2), torch.ones(4, 3), ValueError, "widths must be equal"),
            (torch.ones(1, 2), torch.ones(4, 2), ValueError, "source.*at least 2 rows, got 1"),
            (torch.ones(4, 2), torch.ones(1, 2), ValueError, "target.*at least 2 rows, got 1"),
            (torch.ones(0, 2), torch.ones(4, 2), ValueError, "source is empty"),
            (torch.ones(4), torch.ones(4, 2), ValueError, "source must be a matrix"),
            (torch.full((4, 2), torch.nan), torch.ones(4, 2), ValueError, "source contains NaN"),
            (torch.ones(4, 2), torch.full((4, 2), torch.inf), ValueError, "target must be finite"),
            (torch.ones(4, 2).int(), torch.ones(4, 2), TypeError, "floating-point"),
            (torch.ones(4, 2), torch.ones(4, 2).double(), TypeError, "one dtype"),
        ],
    )
    def test_bad_input(self, function, source, target, error, words):
        with pytest.raises(error, match=words):
            function(source, target)


@pytest.mark.parametrize(
    ("function", "arguments"),
    [
        (extract, (nn.Sequential(nn.Linear(4, 2)), normal(3, 4, dtype=torch.float32), ["0"])),
        (coral_map, (*two_sets(), 0.1)),
        (subspace_alignment, (*two_sets(), 1)),
        (tca, (*two_sets(), 1)),
        (joint_distribution_adaptation, (*two_sets(), torch.arange(11) % 2, 1)),
        (canonical_correlation, (normal(9, 2), normal(9, 3), 1)),
        (transport_map, (*two_sets(), 0.1)),
        (mmd_per_feature, (*two_sets(), 1.0)),
        (information_per_feature, (normal(9, 2), torch.arange(9) % 2, 4)),
        (select_features, (torch.arange(4.0), 2)),
    ],
)
def test_settings_are_given_by_keyword_alone(function, arguments):
    """A number in the place of a setting would say nothing of which setting it is."""
    with pytest.raises(TypeError, match="positional argument"):
        function(*arguments)


@pytest.mark.parametrize(
    ("function", "arguments", "settings", "default"),
    [
        (coral_map, two_sets(), {}, {"ridge": 0}),
        (tca, two_sets(), {"width": 2}, {"penalty": 1}),
        (canonical_correlation, (normal(9, 2), normal(9, 3)), {"width": 1}, {"ridge": 0}),
        (transport_map, two_sets(), {}, {"regularisation": 0.05}),
        (information_per_feature, (normal(30, 2), torch.arange(30) % 3), {}, {"bins": 8}),
    ],
)
def test_the_default_settings(function, arguments, settings, default):
    value = function(*arguments, **settings)
    assert_close(value, function(*arguments, **settings, **default), atol=0, rtol=0)
