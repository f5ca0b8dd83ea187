"""Scores of sources: by hand, against brute force and NumPy, properties, bad input."""

import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.optimize import minimize
from scipy.stats import entropy
from sklearn.covariance import ledoit_wolf
from torch.testing import assert_close

from mapping_lib.source_scores import h_score, leep, logme, nce, negative_transfer_gap
from mapping_lib.transferability import paired_interval

SEED = st.integers(0, 10_000)
SIZES = [(60, 5), (50, 80), (30, 30), (7, 3), (4, 9)]


def drawn(n, d, *, seed=0, classes=3):
    """Features, and labels that they say something about; each class is there."""
    g = torch.Generator().manual_seed(seed)
    labels = torch.arange(n) % classes
    features = torch.randn(n, d, generator=g, dtype=torch.float64)
    features[:, 0] += labels
    return features, labels[torch.randperm(n, generator=g)] if seed % 2 else labels


def probabilities(n, z, *, seed=0):
    g = torch.Generator().manual_seed(seed)
    return (2 * torch.randn(n, z, generator=g, dtype=torch.float64)).softmax(1)


def rotation(d, *, seed=0):
    g = torch.Generator().manual_seed(seed)
    return torch.linalg.qr(torch.randn(d, d, generator=g, dtype=torch.float64)).Q


class TestLeep:
    def test_by_hand(self):
        theta = torch.tensor([[0.75, 0.25], [0.25, 0.75], [0.5, 0.5]])
        labels = torch.tensor([0, 1, 1])
        # P(0|z) = .75/1.5, .25/1.5; so P(y=0) for the first: .75 (1/2) + .25 (1/6)
        by_hand = (
            math.log(0.75 / 2 + 0.25 / 6)
            + math.log(0.25 / 2 + 0.75 * 5 / 6)
            + math.log(0.5 / 2 + 0.5 * 5 / 6)
        ) / 3
        assert_close(leep(theta, labels), torch.tensor(by_hand))

    def test_against_loops(self):
        theta, labels = probabilities(12, 4), torch.arange(12) % 3
        joint = np.zeros((3, 4))
        for row, y in zip(theta.numpy(), labels.tolist(), strict=True):
            joint[y] += row / 12
        conditional = joint / joint.sum(0)
        each = [
            math.log(sum(conditional[y, z] * row[z] for z in range(4)))
            for row, y in zip(theta.numpy(), labels.tolist(), strict=True)
        ]
        assert leep(theta, labels).item() == pytest.approx(np.mean(each), abs=1e-12)

    def test_an_unused_source_class_adds_nothing(self):
        """Where tllib's is NaN."""
        theta, labels = probabilities(9, 3), torch.arange(9) % 2
        wider = torch.cat([theta[:, :1], torch.zeros(9, 1), theta[:, 1:]], 1)
        assert_close(leep(wider, labels), leep(theta, labels))

    def test_of_one_class_that_says_nothing_is_the_entropy(self):
        labels = torch.tensor([0, 0, 0, 5])
        same = torch.tensor([[0.25, 0.75]]).expand(4, 2)
        assert leep(same, labels).item() == pytest.approx(-entropy([0.75, 0.25]), abs=1e-6)

    @given(SEED)
    def test_properties(self, seed):
        theta, labels = probabilities(10, 4, seed=seed), torch.arange(10) % 3
        score = leep(theta, labels)
        assert -entropy([0.4, 0.3, 0.3]) - 1e-9 <= score <= 0
        assert_close(leep(theta[:, [2, 0, 3, 1]], (labels + 1) % 3), score)
        order = torch.randperm(10, generator=torch.Generator().manual_seed(seed))
        assert_close(leep(theta[order], labels[order]), score)
        hard = torch.eye(4, dtype=torch.float64)[theta.argmax(1)]
        assert leep(hard, labels) <= nce(theta.argmax(1), labels) + 1e-6  # equal for hard ones

    def test_dtype(self):
        for dtype in (torch.float16, torch.float32, torch.float64):
            theta = torch.tensor([[0.5, 0.5], [0.25, 0.75]], dtype=dtype)
            assert leep(theta, torch.tensor([0, 1])).dtype == dtype

    @pytest.mark.parametrize(
        ("change", "error", "words"),
        [
            (lambda t, y: (t.log(), y), ValueError, r"rows of probabilities.*logits.softmax\(1\)"),
            (lambda t, y: (2 * t, y), ValueError, "sums from 2"),
            (lambda t, y: (t - torch.eye(4)[:, :3], y), ValueError, "not negative"),
            (lambda t, y: (t * math.nan, y), ValueError, "contains NaN"),
            (lambda t, y: (t, y.float()), TypeError, "labels must be integers"),
            (lambda t, y: (t, y[:3]), ValueError, r"labels must have the shape \(4,\)"),
            (lambda t, y: (t, y - 1), ValueError, "labels must lie between 0"),
            (lambda t, y: (t[0], y), ValueError, "must be a matrix"),
            (lambda t, y: (t.long(), y), TypeError, "floating-point"),
        ],
    )
    def test_bad_input(self, change, error, words):
        with pytest.raises(error, match=words):
            leep(*change(probabilities(4, 3), torch.tensor([0, 1, 2, 0])))

    def test_negative_with_right_sum(self):
        theta = torch.tensor([[1.5, -0.5], [0.5, 0.5]])
        with pytest.raises(ValueError, match="not negative"):
            leep(theta, torch.tensor([0, 1]))
        slightly = torch.tensor([[0.5, 0.5002], [0.5, 0.5]])
        with pytest.raises(ValueError, match="sum 1"):
            leep(slightly, torch.tensor([0, 1]))
        leep(torch.tensor([[0.5, 0.50005], [0.5, 0.5]]), torch.tensor([0, 1]))
        half = torch.tensor([[0.3333, 0.3333, 0.3333], [0.2, 0.3, 0.5]], dtype=torch.float16)
        leep(half, torch.tensor([0, 1]))


class TestNce:
    def test_by_hand(self):
        z, y = torch.tensor([3, 3, 3, 3, 8]), torch.tensor([0, 0, 0, 2, 2])
        assert nce(z, y).item() == pytest.approx(-4 / 5 * entropy([0.75, 0.25]), abs=1e-6)
        assert nce(y, z).item() == pytest.approx(-2 / 5 * entropy([0.5, 0.5]), abs=1e-6)

    @given(SEED)
    def test_properties(self, seed):
        g = torch.Generator().manual_seed(seed)
        z, y = torch.randint(3, (2, 20), generator=g)
        score, shares = nce(z, y), y.bincount() / 20
        assert -entropy(shares) - 1e-6 <= score <= 0
        assert nce(y, y) == 0
        assert_close(nce(torch.zeros_like(y), y), torch.tensor(-entropy(shares)).float())
        assert_close(nce(z * 7 + 1, 5 - y), score)
        assert_close(leep(torch.eye(3)[z], y), score)  # LEEP of a source that is always sure

    def test_it_takes_the_default_dtype(self):
        assert nce(torch.tensor([0, 1]), torch.tensor([0, 0])).dtype == torch.get_default_dtype()

    @pytest.mark.parametrize(
        ("z", "y", "error", "words"),
        [
            ([0, 1], [0.0, 1.0], TypeError, "^labels must be integers"),
            ([0.0, 1.0], [0, 1], TypeError, "source_labels must be integers"),
            ([0, 1, 1], [0, 1], ValueError, r"source_labels must have the shape \(2,\)"),
            ([0, -1], [0, 1], ValueError, "source_labels must lie between 0"),
        ],
    )
    def test_bad_input(self, z, y, error, words):
        with pytest.raises(error, match=words):
            nce(torch.tensor(z), torch.tensor(y))

    def test_no_labels(self):
        empty = torch.zeros(0, dtype=torch.long)
        with pytest.raises(ValueError, match="labels is empty"):
            nce(empty, empty)
        with pytest.raises(TypeError, match=r"labels must be a torch.Tensor"):
            nce(torch.tensor([0]), [0])


def brute_force(features, y):
    """The largest log evidence an example: a Gaussian in n dimensions, over both precisions."""
    f, y = features.numpy(), y.numpy()

    def cost(logs):
        alpha, beta = np.exp(np.clip(logs, -30, 30))
        covariance = np.eye(len(f)) / beta + f @ f.T / alpha
        size = np.linalg.slogdet(2 * np.pi * covariance)[1]
        return (size + y @ np.linalg.solve(covariance, y)) / 2 / len(f)

    starts = [(0, 0), (6, 0)]
    options = {"xatol": 1e-6, "fatol": 1e-11}
    return -min(minimize(cost, s, method="Nelder-Mead", options=options).fun for s in starts)


class TestLogme:
    @pytest.mark.parametrize(("n", "d"), SIZES)
    def test_is_the_exact_evidence(self, n, d):
        """Also for n < d, where the published code's determinant has too few terms."""
        features, _ = drawn(n, d)
        noise = torch.randn(n, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
        y = features[:, 0] - features[:, 1] / 2 + noise / 2
        assert logme(features, y).item() == pytest.approx(brute_force(features, y), abs=1e-7)

    def test_the_published_code_is_too_high_where_n_is_below_d(self):
        features, labels = drawn(50, 80)
        ours = logme(features, labels).item()
        assert published(features.numpy(), labels.numpy()) > ours + 1
        features, labels = drawn(60, 5)
        assert published(features.numpy(), labels.numpy()) == pytest.approx(
            logme(features, labels).item(), abs=1e-3
        )

    def test_classes_are_columns(self):
        features, labels = drawn(20, 6)
        columns = torch.stack([(labels == k).double() for k in range(3)], 1)
        each = [brute_force(features, column) for column in columns.T]
        assert logme(features, labels).item() == pytest.approx(np.mean(each), abs=1e-7)
        assert_close(logme(features, columns), logme(features, labels))
        assert_close(logme(features, 2 * labels + 5), logme(features, labels))  # absent ones

    def test_features_that_say_nothing(self):
        y = torch.tensor([1.0, -1.0, 3.0, 1.0], dtype=torch.float64)
        nothing = -0.5 - math.log(2 * math.pi * 3) / 2  # a Gaussian of y's mean square, 3
        for features in (torch.zeros(4, 2), torch.tensor([[1.0], [1.0], [0.0], [0.0]])):
            f = features.double()
            orthogonal = f - torch.outer(y, y @ f) / (y @ y)
            assert logme(orthogonal, y).item() == pytest.approx(nothing, abs=1e-7)

    def test_an_exact_fit_by_few_directions_stays_finite(self):
        """Its evidence has no bound: a millionth of the column's square is taken as not reached."""
        labels = torch.arange(6) % 3
        exact = torch.eye(3, dtype=torch.float64)[labels]  # six rows, three directions
        noise = torch.tensor([[1.0], [1], [1], [-1], [-1], [-1]], dtype=torch.float64)
        columns = exact + (2e-6 / 6) ** 0.5 * noise  # the same, with a real rest of that size
        assert logme(exact, labels).isfinite()
        assert_close(logme(exact, labels), logme(exact, columns), rtol=0, atol=1e-4)
        assert logme(torch.eye(6), labels).isfinite()  # as many directions as examples

    @settings(deadline=None, max_examples=15)
    @given(SEED, st.sampled_from([(12, 4), (6, 9)]))
    def test_invariances(self, seed, size):
        features, labels = drawn(*size, seed=seed)
        score = logme(features, labels)
        assert_close(logme(1e-3 * features @ rotation(size[1], seed=seed), labels), score)
        assert_close(logme(torch.cat([features, 0 * features], 1), labels), score)
        assert_close(logme(features.flip(0), labels.flip(0)), score)
        y = features[:, 1] + labels
        assert_close(logme(features, 4 * y), logme(features, y) - math.log(4))

    def test_dtype(self):
        features, labels = drawn(10, 3)
        assert logme(features.float(), labels).dtype == torch.float32
        assert_close(logme(features.float(), labels).double(), logme(features, labels), rtol=1e-5,
                     atol=1e-5)  # fmt: skip

    @pytest.mark.parametrize(
        ("change", "error", "words"),
        [
            (lambda f, y: (f, y * 0), ValueError, "all labels are of one class"),
            (lambda f, y: (f * math.nan, y), ValueError, "contains NaN"),
            (lambda f, y: (f / 0, y), ValueError, "NaN|infinite"),
            (lambda f, y: (f, y[:4]), ValueError, r"labels must have the shape \(6,\)"),
            (lambda f, y: (f, y.double()[:4]), ValueError, r"\(4,\) must have 6 rows"),
            (lambda f, y: (f, y.double()[:0]), ValueError, r"labels is empty.* \(0, 1\)"),
            (lambda f, y: (f, y * math.nan), ValueError, "labels contains NaN"),
            (lambda f, y: (f, 0.0 * y + 2), ValueError, "labels is constant"),
            (lambda f, y: (f, torch.stack([0.0 * y, y + 0.5], 1)), ValueError, "is constant"),
            (lambda f, y: (f, y > 0), TypeError, "labels must be integers"),
            (lambda f, y: (f, y.tolist()), TypeError, r"labels must be a torch.Tensor"),
            (lambda f, y: (f[:1], y[:1]), ValueError, "at least 2 rows"),
            (lambda f, y: (f[:, 0], y), ValueError, "must be a matrix"),
            (lambda f, y: (f.long(), y), TypeError, "floating-point"),
        ],
    )
    def test_bad_input(self, change, error, words):
        with pytest.raises(error, match=words):
            logme(*change(*drawn(6, 2)))


def published(f, labels):
    """LogME's published fixed point, whose determinant has only the min(n, d) values it found."""
    n, d = f.shape
    u, s, _ = np.linalg.svd(f, full_matrices=False)
    sigma, evidences = s**2, []
    for k in range(labels.max() + 1):
        y = (labels == k).astype(float)
        x2 = (u.T @ y) ** 2
        rest, alpha, beta = (y**2).sum() - x2.sum(), 1.0, 1.0
        for _ in range(11):
            t = alpha / beta
            gamma, m2 = (sigma / (sigma + t)).sum(), (sigma * x2 / (t + sigma) ** 2).sum()
            res2 = (x2 / (1 + sigma / t) ** 2).sum() + rest
            alpha, beta = gamma / (m2 + 1e-5), (n - gamma) / (res2 + 1e-5)
            if abs(alpha / beta - t) / t <= 1e-3:
                break
        evidences.append(
            d / 2 * np.log(alpha) + n / 2 * np.log(beta) - np.log(alpha + beta * sigma).sum() / 2
            - beta / 2 * res2 - alpha / 2 * m2 - n / 2 * np.log(2 * np.pi)
        )  # fmt: skip
    return np.mean(evidences) / n


def traces(features, labels, weight=0.0):
    """H-score from its definition, with explicit covariances."""
    f, y = features.numpy(), labels.numpy()
    means = np.stack([f[y == k].mean(0) for k in y])
    covariance, between = (np.cov(rows.T, bias=True).reshape(f.shape[1], -1) for rows in (f, means))
    d = f.shape[1]
    shrunk = (1 - weight) * covariance + weight * np.trace(covariance) / d * np.eye(d)
    return np.trace(np.linalg.pinv(shrunk, rcond=1e-10, hermitian=True) @ between) * (1 - weight)


class TestHScore:
    def test_by_hand(self):
        # class means 1 and 5, overall mean 3: between 4; within 1, so 4 / 5
        features = torch.tensor([[0.0], [2.0], [4.0], [6.0]])
        labels = torch.tensor([2, 2, 7, 7])
        assert_close(h_score(features, labels), torch.tensor(0.8))
        assert_close(h_score(features, labels, shrinkage=0.5), torch.tensor(0.4))

    @pytest.mark.parametrize("weight", [0.0, 0.3])
    @pytest.mark.parametrize(("n", "d"), [(40, 5), (11, 3), (9, 20)])
    def test_against_the_definition(self, n, d, weight):
        features, labels = drawn(n, d, seed=1)
        ours = h_score(features, labels, shrinkage=weight).item()
        assert ours == pytest.approx(traces(features, labels, weight), abs=1e-8)

    def test_automatic_shrinkage_is_ledoit_and_wolfs(self):
        features, labels = drawn(9, 20, seed=1)
        covariance, weight = ledoit_wolf(features.numpy())
        assert 0.1 < weight < 1
        ours = h_score(features, labels, shrinkage="auto")
        assert_close(ours, h_score(features, labels, shrinkage=weight))
        means = torch.stack([features[labels == k].mean(0) for k in labels]).numpy()
        expected = np.trace(np.linalg.inv(covariance) @ np.cov(means.T, bias=True))
        assert ours.item() == pytest.approx((1 - weight) * expected)

    def test_features_that_are_shrunk_all_the_way_score_nothing(self):
        generator = torch.Generator().manual_seed(0)
        features = torch.randn(4, 2, generator=generator, dtype=torch.float64)
        assert ledoit_wolf(features.numpy())[1] == 1
        found = h_score(features, torch.tensor([0, 0, 1, 1]), shrinkage="auto").item()
        assert 0 < found < 1e-8

    def test_without_shrinkage_any_source_is_the_best_where_n_is_below_d(self):
        features, labels = drawn(9, 20)
        assert h_score(features, labels).item() == pytest.approx(2)
        mixed = labels[torch.randperm(9, generator=torch.Generator().manual_seed(0))]
        assert h_score(features, mixed).item() == pytest.approx(2)
        shrunk = [h_score(features, y, shrinkage=0.2).item() for y in (labels, mixed)]
        assert shrunk[0] < 2
        assert shrunk[0] != pytest.approx(shrunk[1])

    @settings(deadline=None, max_examples=25)
    @given(SEED)
    def test_properties(self, seed):
        features, labels = drawn(15, 4, seed=seed)
        score = h_score(features, labels)
        assert 0 <= score <= 2 + 1e-9
        mixed = features @ torch.randn(
            4, 4, generator=torch.Generator().manual_seed(seed), dtype=torch.float64
        )
        assert_close(h_score(mixed + 7, labels), score, rtol=1e-5, atol=1e-5)
        assert_close(h_score(torch.cat([features, features], 1), labels), score)  # no new direction
        turned = 3 * features @ rotation(4, seed=seed)
        assert_close(
            h_score(turned, labels, shrinkage=0.4), h_score(features, labels, shrinkage=0.4)
        )
        assert h_score(features, labels, shrinkage=0.4) < score

    def test_dtype(self):
        features, labels = drawn(10, 3)
        assert h_score(features.float(), labels).dtype == torch.float32

    @pytest.mark.parametrize(
        ("change", "error", "words"),
        [
            (lambda f, y: (f, y * 0), ValueError, "all labels are of one class"),
            (lambda f, y: (f * math.nan, y), ValueError, "contains NaN"),
            (lambda f, y: (0 * f + 0.1, y), ValueError, "features are constant"),
            (lambda f, y: (0 * f, y), ValueError, "features are constant"),
            (lambda f, y: (f, y[:4]), ValueError, r"labels must have the shape \(6,\)"),
            (lambda f, y: (f, y.float()), TypeError, "labels must be integers"),
            (lambda f, y: (f[:1], y[:1]), ValueError, "at least 2 rows"),
        ],
    )
    def test_bad_input(self, change, error, words):
        with pytest.raises(error, match=words):
            h_score(*change(*drawn(6, 2)))

    @pytest.mark.parametrize(
        ("weight", "error"), [(1, ValueError), (-0.1, ValueError), ("lots", TypeError)]
    )
    def test_shrinkage(self, weight, error):
        with pytest.raises(error, match="shrinkage must"):
            h_score(*drawn(6, 2), shrinkage=weight)


class TestGap:
    WITH = torch.tensor([0.5, 0.3, 0.45, 0.6, 0.4], dtype=torch.float64)
    WITHOUT = torch.tensor([0.2, 0.2, 0.3, 0.25, 0.3], dtype=torch.float64)

    @staticmethod
    def generator():
        return torch.Generator().manual_seed(0)

    def test_the_gap_is_the_mean_difference_of_risks(self):
        gap, low, high = negative_transfer_gap(self.WITH, self.WITHOUT)
        assert gap.item() == pytest.approx(0.2)
        assert low < gap < high

    def test_two_seeds_by_hand(self):
        """Differences 0 and 1: means 0, 1/2 and 1 with shares 1/4, 1/2 and 1/4."""
        pair = torch.tensor([0.5, 1.5]), torch.tensor([0.5, 0.5])
        for confidence, ends in ((0.9, [0, 1]), (0.4, [0.5, 0.5])):
            found = negative_transfer_gap(*pair, confidence=confidence, generator=self.generator())
            assert_close(found, torch.tensor([0.5, *ends]))

    def test_against_scipy(self):
        from scipy.stats import bootstrap

        g = torch.Generator().manual_seed(3)
        with_it, without = torch.rand(2, 12, generator=g, dtype=torch.float64)
        found = negative_transfer_gap(with_it, without, confidence=0.8, generator=g)
        reference = bootstrap(
            ((with_it - without).numpy(),), np.mean, confidence_level=0.8, method="percentile",
            n_resamples=20_000, rng=0,
        ).confidence_interval  # fmt: skip
        assert found[1].item() == pytest.approx(reference.low, abs=5e-3)
        assert found[2].item() == pytest.approx(reference.high, abs=5e-3)

    def test_few_resamples(self):
        """Of one resample both ends are its mean; of two, they lie between the two."""
        one = negative_transfer_gap(
            self.WITH, self.WITHOUT, resamples=1, generator=self.generator()
        )
        assert one[1] == one[2]
        drawn_rows = torch.randint(5, (2, 5), generator=self.generator())
        low, high = (self.WITH - self.WITHOUT)[drawn_rows].mean(1).sort().values
        two = negative_transfer_gap(
            self.WITH, self.WITHOUT, resamples=2, confidence=0.5, generator=self.generator()
        )
        assert_close(two[1:], torch.stack([low + (high - low) / 4, high - (high - low) / 4]))

    def test_columns_are_resampled_alike(self):
        both = torch.stack([self.WITH, 2 * self.WITH, self.WITHOUT], 1)
        alone = torch.stack([self.WITHOUT, 2 * self.WITHOUT, self.WITHOUT], 1)
        found = negative_transfer_gap(both, alone, generator=self.generator())
        assert found.shape == (3, 3)
        single = negative_transfer_gap(self.WITH, self.WITHOUT, generator=self.generator())
        assert_close(found[:, 0], single)
        assert_close(found[:, 1], 2 * single)
        assert_close(found[:, 2], 0 * single)

    def test_it_is_narrower_than_students_interval(self):
        """With five seeds a percentile bootstrap promises too much."""
        _, low, high = negative_transfer_gap(self.WITH, self.WITHOUT, generator=self.generator())
        student = paired_interval(self.WITH, self.WITHOUT)
        assert student[0] < low < high < student[1]

    def test_the_generator_decides(self):
        a, b = (
            negative_transfer_gap(self.WITH, self.WITHOUT, resamples=50, generator=self.generator())
            for _ in range(2)
        )
        assert_close(a, b)
        wider = negative_transfer_gap(self.WITH, self.WITHOUT, generator=self.generator())
        narrow = negative_transfer_gap(
            self.WITH, self.WITHOUT, confidence=0.5, generator=self.generator()
        )
        assert wider[1] < narrow[1] < narrow[2] < wider[2]

    def test_turning_round_changes_the_sign(self):
        a = negative_transfer_gap(self.WITH, self.WITHOUT, generator=self.generator())
        b = negative_transfer_gap(self.WITHOUT, self.WITH, generator=self.generator())
        assert_close(a[[0, 2, 1]], -b)

    @pytest.mark.parametrize(
        ("change", "error", "words"),
        [
            (lambda a, b: ((a[:1], b[:1]), {}), ValueError, "one seed says nothing"),
            (lambda a, b: ((a[0], b[0]), {}), ValueError, "one seed says nothing"),
            (lambda a, b: ((a, b[:3]), {}), ValueError, "shapes must be equal"),
            (lambda a, b: ((a / 0, b), {}), ValueError, "must be finite.*diverged"),
            (lambda a, b: ((a * math.nan, b), {}), ValueError, "contains NaN"),
            (lambda a, b: ((a.float(), b), {}), TypeError, "one dtype"),
            (lambda a, b: ((a.long(), b), {}), TypeError, "floating-point"),
            (lambda a, b: ((a, b), {"confidence": 1}), ValueError, r"lie in \[0, 1\)"),
            (lambda a, b: ((a, b), {"confidence": 0}), ValueError, "positive, got 0"),
            (lambda a, b: ((a, b), {"confidence": -0.1}), ValueError, r"lie in \[0, 1\)"),
            (lambda a, b: ((a, b), {"resamples": 0}), ValueError, "whole number from 1, got 0"),
            (lambda a, b: ((a, b), {"resamples": 1.5}), ValueError, "whole number from 1"),
        ],
    )
    def test_bad_input(self, change, error, words):
        arguments, options = change(self.WITH, self.WITHOUT)
        with pytest.raises(error, match=words):
            negative_transfer_gap(*arguments, **options)
