"""The losses of section 4.2: closed forms, torch, SciPy and scikit-learn, properties, errors."""

import math
import warnings

import pytest
import scipy.stats
import sklearn.metrics
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch.func import grad, jacrev, vmap
from torch.nn import functional
from torch.testing import assert_close

from mapping_lib.losses import binary_cross_entropy, cross_entropy, entropy, kl_divergence, mse

FLOATS = [torch.float16, torch.bfloat16, torch.float32, torch.float64]
SEEDS = st.integers(0, 10_000)


def normal(*shape, seed=0, scale=2.0, dtype=torch.float64):
    generator = torch.Generator().manual_seed(seed)
    return (scale * torch.randn(shape, generator=generator, dtype=torch.float64)).to(dtype)


def labels(n, classes, seed=0):
    return torch.randint(classes, (n,), generator=torch.Generator().manual_seed(seed))


def logits_of(*rows, dtype=torch.float64):
    """Return logits, shifted so that they aren't log-probabilities, of rows of probabilities."""
    return torch.tensor(rows, dtype=dtype).log() + 3


def is_close(actual, expected, **tolerances):
    assert_close(actual, torch.tensor(expected, dtype=actual.dtype), **tolerances)


class TestMse:
    def test_by_hand(self):
        prediction = torch.tensor([[1.0, -2.0, 0.5], [3.0, 0.0, 4.0]])
        target = torch.tensor([[2.0, 1.0, 0.5], [-1.0, 2.0, 4.0]])
        is_close(mse(prediction, target), (1 + 9 + 0 + 16 + 4 + 0) / 6)

    @pytest.mark.parametrize("shape", [(), (7,), (4, 3), (2, 3, 5)])
    def test_agrees_with_torch_and_scikit_learn(self, shape):
        prediction, target = normal(*shape), normal(*shape, seed=1)
        ours = mse(prediction, target)
        assert_close(ours, functional.mse_loss(prediction, target))
        flat = sklearn.metrics.mean_squared_error(
            target.ravel().numpy(), prediction.ravel().numpy()
        )
        is_close(ours, flat)

    @given(SEEDS, st.floats(-10, 10), st.floats(-100, 100))
    def test_scales_by_the_square_and_ignores_a_common_shift(self, seed, scale, shift):
        a, b = normal(6, 2, seed=seed), normal(6, 2, seed=seed + 1)
        assert_close(mse(scale * a + shift, scale * b + shift), scale**2 * mse(a, b))
        assert mse(a, b) == mse(b, a) > 0 == mse(a, a)

    @given(SEEDS)
    def test_is_variance_plus_squared_bias(self, seed):
        a, b = normal(9, seed=seed), normal(9, seed=seed + 1)
        error = a - b
        assert_close(mse(a, b), error.var(correction=0) + error.mean() ** 2)

    def test_the_best_constant_is_the_mean(self):
        target = normal(11)
        constant = target.mean().expand(11)
        assert_close(grad(mse)(constant, target).sum(), torch.zeros((), dtype=torch.float64))

    def test_gradient_by_hand(self):
        prediction, target = torch.tensor([1.0, 5.0, 2.0]), torch.tensor([2.0, 2.0, 2.0])
        assert_close(grad(mse)(prediction, target), torch.tensor([-2.0, 6.0, 0.0]) / 3)

    def test_a_loss_that_overflows_is_infinite(self):
        assert mse(torch.tensor([1e30]), torch.tensor([0.0])) == torch.inf
        assert mse(torch.tensor([torch.inf]), torch.tensor([0.0])) == torch.inf

    @pytest.mark.parametrize("dtype", FLOATS)
    def test_keeps_the_dtype(self, dtype):
        is_close(
            mse(torch.tensor([3.0, 1.0], dtype=dtype), torch.tensor([1.0, 1.0], dtype=dtype)), 2.0
        )

    def test_gradients(self):
        arguments = [normal(4, 3).requires_grad_(), normal(4, 3, seed=1).requires_grad_()]
        assert torch.autograd.gradcheck(mse, arguments)
        assert torch.autograd.gradgradcheck(mse, arguments)

    @pytest.mark.parametrize(
        ("prediction", "target", "error", "words"),
        [
            (1.0, torch.ones(1), TypeError, "prediction must be a torch.Tensor, got float"),
            (torch.ones(1), [1.0], TypeError, "target must be a torch.Tensor, got list"),
            (
                torch.ones(2).int(),
                torch.ones(2),
                TypeError,
                r"prediction must hold floating.*int32",
            ),
            (torch.ones(2), torch.ones(2).long(), TypeError, r"target must hold.*target\.float"),
            (torch.ones(2), torch.ones(2).double(), TypeError, "must have one dtype"),
            (
                torch.ones(4, 1),
                torch.ones(4),
                ValueError,
                r"shapes must be equal, got prediction \(4, 1\), target \(4,\); use reshape",
            ),
            (torch.ones(0), torch.ones(0), ValueError, r"prediction is empty, its shape is \(0,\)"),
            (torch.tensor([1, torch.nan]), torch.ones(2), ValueError, "prediction.*NaN in 1 of 2"),
            (torch.ones(2), torch.tensor([1, torch.nan]), ValueError, "target contains NaN"),
        ],
    )
    def test_bad_input(self, prediction, target, error, words):
        with pytest.raises(error, match=words):
            mse(prediction, target)


class TestBinaryCrossEntropy:
    def test_by_hand(self):
        # sigmoid(log 3) = 3/4: the losses are log 4/3 for label 1 and log 4 for label 0
        logits = torch.tensor([math.log(3), math.log(3), -math.log(3)], dtype=torch.float64)
        target = torch.tensor([1, 0, 0])
        is_close(binary_cross_entropy(logits, target), (2 * math.log(4 / 3) + math.log(4)) / 3)

    def test_soft_targets_by_hand(self):
        logits = torch.tensor([math.log(3)], dtype=torch.float64)
        expected = 0.2 * math.log(4 / 3) + 0.8 * math.log(4)
        is_close(binary_cross_entropy(logits, torch.tensor([0.2], dtype=torch.float64)), expected)

    @pytest.mark.parametrize("shape", [(), (7,), (5, 3)])
    def test_agrees_with_torch(self, shape):
        logits, target = normal(*shape), torch.sigmoid(normal(*shape, seed=1))
        expected = functional.binary_cross_entropy_with_logits(logits, target)
        assert_close(binary_cross_entropy(logits, target), expected)

    def test_agrees_with_scikit_learn(self):
        logits, target = normal(20), labels(20, 2)
        expected = sklearn.metrics.log_loss(target.numpy(), torch.sigmoid(logits).numpy())
        is_close(binary_cross_entropy(logits, target), expected)

    @given(SEEDS)
    def test_is_cross_entropy_over_the_logits_zero_and_z(self, seed):
        logits, target = normal(8, seed=seed), labels(8, 2, seed=seed)
        two = torch.stack([torch.zeros_like(logits), logits], dim=1)
        assert_close(binary_cross_entropy(logits, target), functional.cross_entropy(two, target))

    @given(SEEDS)
    def test_swapping_the_classes_changes_nothing(self, seed):
        logits, target = normal(8, seed=seed), torch.sigmoid(normal(8, seed=seed + 1))
        swapped = binary_cross_entropy(-logits, 1 - target)
        assert_close(binary_cross_entropy(logits, target), swapped)

    @given(SEEDS)
    def test_is_least_where_the_prediction_is_the_target(self, seed):
        target = torch.sigmoid(normal(8, seed=seed))
        best = binary_cross_entropy(torch.logit(target), target)
        assert best <= binary_cross_entropy(normal(8, seed=seed + 1), target)
        is_close(best, scipy.stats.entropy([target.numpy(), 1 - target.numpy()]).mean())

    def test_gradient_is_prediction_minus_target(self):
        logits, target = normal(6), torch.sigmoid(normal(6, seed=1))
        expected = (torch.sigmoid(logits) - target) / 6
        assert_close(grad(binary_cross_entropy)(logits, target), expected)

    @pytest.mark.parametrize("dtype", FLOATS)
    @pytest.mark.parametrize(("label", "expected"), [(1, (1e4, 0)), (0, (0, 1e4))])
    def test_extreme_logits_are_exact_in_each_dtype(self, dtype, label, expected):
        for logit, value in zip((-1e4, 1e4), expected, strict=True):
            loss = binary_cross_entropy(torch.tensor([logit], dtype=dtype), torch.tensor([label]))
            is_close(loss, value, atol=0, rtol=0)
            assert loss.dtype == dtype

    def test_logits_of_a_milliard(self):
        logits = torch.tensor([1e9, -1e9, 1e9, -1e9])
        assert binary_cross_entropy(logits, torch.tensor([1, 0, 1, 0])) == 0
        assert binary_cross_entropy(logits, torch.tensor([0, 1, 0, 1])) == 1e9
        gradient = grad(binary_cross_entropy)(logits, torch.tensor([0, 0, 1, 1]))
        assert gradient.tolist() == [0.25, 0, 0, -0.25]

    def test_small_losses_keep_their_digits(self):
        # log(1 + e^z) - z would be 0 here
        loss = binary_cross_entropy(torch.tensor([30.0]), torch.tensor([1.0]))
        is_close(loss, math.exp(-30), atol=0, rtol=1e-5)

    @pytest.mark.parametrize("dtype", [torch.bool, torch.uint8, torch.int64, torch.float64])
    def test_labels_of_any_dtype(self, dtype):
        logits, target = normal(6, dtype=torch.float32), labels(6, 2)
        expected = functional.binary_cross_entropy_with_logits(logits, target.float())
        assert_close(binary_cross_entropy(logits, target.to(dtype)), expected)

    def test_gradients(self):
        arguments = [normal(6).requires_grad_(), torch.sigmoid(normal(6, seed=1)).requires_grad_()]
        assert torch.autograd.gradcheck(binary_cross_entropy, arguments)
        assert torch.autograd.gradgradcheck(binary_cross_entropy, arguments)

    @pytest.mark.parametrize(
        ("logits", "target", "error", "words"),
        [
            ([0.0], torch.ones(1), TypeError, "logits must be a torch.Tensor"),
            (torch.ones(1).int(), torch.ones(1), TypeError, "logits must hold floating"),
            (torch.ones(1), [1], TypeError, r"target must be a torch.Tensor, got list; make one"),
            (torch.ones(3, 1), torch.ones(3), ValueError, r"logits \(3, 1\), target \(3,\)"),
            (torch.ones(0), torch.ones(0), ValueError, "logits is empty"),
            (torch.tensor([torch.nan]), torch.ones(1), ValueError, "logits contains NaN"),
            (torch.tensor([torch.inf]), torch.ones(1), ValueError, "finite, got 1 infinite values"),
            (torch.tensor([-torch.inf]), torch.ones(1), ValueError, "logits must be finite.*-1e4"),
            (torch.ones(1), torch.tensor([torch.nan]), ValueError, "target contains NaN"),
            (
                torch.ones(2),
                torch.tensor([-1, 1]),
                ValueError,
                r"target must lie in \[0, 1\], got -1 to 1; write labels as 0 and 1",
            ),
            (torch.ones(2), torch.tensor([0, 1.5]), ValueError, "got 0 to 1.5"),
            (torch.ones(2), torch.tensor([-0.5, 0.5]), ValueError, "got -0.5 to 0.5"),
        ],
    )
    def test_bad_input(self, logits, target, error, words):
        with pytest.raises(error, match=words):
            binary_cross_entropy(logits, target)

    def test_probabilities_are_warned_of_at_the_caller(self):
        probabilities, target = torch.linspace(0, 1, 10), torch.ones(10)
        with pytest.warns(
            UserWarning, match=r"logits: all values lie in \[0, 1\].*sigmoid"
        ) as record:
            binary_cross_entropy(probabilities, target)
        assert [warning.filename for warning in record] == [__file__]

    @pytest.mark.parametrize(
        "logits",
        [
            torch.linspace(0, 1, 9),
            torch.linspace(0, 1.01, 10),
            torch.linspace(-0.01, 1, 10),
            torch.zeros(10),  # a model that hasn't learned anything yet
        ],
    )
    def test_logits_are_not_warned_of(self, logits):
        with warnings.catch_warnings(action="error"):
            binary_cross_entropy(logits, torch.ones(len(logits)))


class TestCrossEntropy:
    def test_by_hand(self):
        logits = logits_of([0.1, 0.2, 0.7], [0.5, 0.25, 0.25])
        expected = -(math.log(0.7) + math.log(0.25)) / 2
        is_close(cross_entropy(logits, torch.tensor([2, 1])), expected)

    def test_soft_targets_by_hand(self):
        logits = logits_of([0.1, 0.2, 0.7])
        target = torch.tensor([[0.5, 0.2, 0.3]], dtype=torch.float64)
        expected = -(0.5 * math.log(0.1) + 0.2 * math.log(0.2) + 0.3 * math.log(0.7))
        is_close(cross_entropy(logits, target), expected)

    @pytest.mark.parametrize(("n", "classes"), [(1, 2), (7, 3), (3, 11)])
    def test_agrees_with_torch(self, n, classes):
        logits, hard = normal(n, classes), labels(n, classes)
        soft = normal(n, classes, seed=1).softmax(1)
        assert_close(cross_entropy(logits, hard), functional.cross_entropy(logits, hard))
        assert_close(cross_entropy(logits, soft), functional.cross_entropy(logits, soft))

    def test_agrees_with_scikit_learn(self):
        logits, target = normal(20, 4), labels(20, 4)
        expected = sklearn.metrics.log_loss(target, logits.softmax(1).numpy(), labels=range(4))
        is_close(cross_entropy(logits, target), expected)

    @given(SEEDS)
    def test_labels_are_one_hot_probabilities(self, seed):
        logits, target = normal(6, 4, seed=seed), labels(6, 4, seed=seed)
        one_hot = functional.one_hot(target, 4)
        assert_close(cross_entropy(logits, target), cross_entropy(logits, one_hot))

    @given(SEEDS, st.floats(-1e6, 1e6))
    def test_a_shift_of_a_row_changes_nothing(self, seed, shift):
        logits, target = normal(6, 4, seed=seed), labels(6, 4, seed=seed)
        shifted = logits + torch.linspace(-1, 1, 6, dtype=torch.float64)[:, None] * shift
        assert_close(
            cross_entropy(shifted, target), cross_entropy(logits, target), atol=1e-8, rtol=0
        )

    @given(SEEDS)
    def test_permuting_rows_or_classes_changes_nothing(self, seed):
        logits, target = normal(6, 4, seed=seed), labels(6, 4, seed=seed)
        generator = torch.Generator().manual_seed(seed)
        rows, classes = (torch.randperm(k, generator=generator) for k in (6, 4))
        expected = cross_entropy(logits, target)
        assert_close(cross_entropy(logits[rows], target[rows]), expected)
        assert_close(cross_entropy(logits[:, classes], classes.argsort()[target]), expected)

    @given(SEEDS)
    def test_is_entropy_plus_divergence_from_the_target(self, seed):
        logits, target_logits = normal(6, 4, seed=seed), normal(6, 4, seed=seed + 1)
        p, q = target_logits.softmax(1).numpy(), logits.softmax(1).numpy()
        expected = (scipy.stats.entropy(p, axis=1) + scipy.stats.entropy(p, q, axis=1)).mean()
        is_close(cross_entropy(logits, target_logits.softmax(1)), expected)

    def test_of_undecided_logits_is_log_k(self):
        is_close(cross_entropy(torch.zeros(3, 5), torch.tensor([4, 0, 2])), math.log(5))

    def test_gradient_is_prediction_minus_target(self):
        logits, target = normal(6, 4), labels(6, 4)
        expected = (logits.softmax(1) - functional.one_hot(target, 4)) / 6
        assert_close(grad(cross_entropy)(logits, target), expected)

    @pytest.mark.parametrize("dtype", FLOATS)
    @pytest.mark.parametrize("soft", [False, True])
    def test_extreme_logits_are_exact_in_each_dtype(self, dtype, soft):
        logits = torch.tensor([[1e4, -1e4, 0]], dtype=dtype)
        for label, expected in enumerate([0, 2e4, 1e4]):
            target = torch.tensor([label])
            loss = cross_entropy(
                logits, functional.one_hot(target, 3).to(dtype) if soft else target
            )
            assert loss.dtype == dtype
            is_close(loss, expected, atol=0, rtol=0)

    def test_logits_of_a_milliard(self):
        logits = torch.tensor([[1e9, -1e9], [-1e9, 1e9]])
        assert cross_entropy(logits, torch.tensor([0, 1])) == 0
        assert cross_entropy(logits, torch.tensor([1, 0])) == 2e9
        gradient = grad(cross_entropy)(logits, torch.tensor([1, 1]))
        assert gradient.tolist() == [[0.5, -0.5], [0, 0]]

    @pytest.mark.parametrize("dtype", [torch.uint8, torch.int32, torch.int64])
    def test_labels_of_any_integer_dtype(self, dtype):
        logits, target = normal(6, 3), labels(6, 3)
        expected = functional.cross_entropy(logits, target)
        assert_close(cross_entropy(logits, target.to(dtype)), expected)

    def test_gradients(self):
        logits, target = normal(5, 3).requires_grad_(), labels(5, 3)
        assert torch.autograd.gradcheck(lambda z: cross_entropy(z, target), logits)
        assert torch.autograd.gradgradcheck(lambda z: cross_entropy(z, target), logits)

    def test_gradients_reach_soft_targets(self):
        arguments = [normal(5, 3).requires_grad_(), normal(5, 3, seed=1).requires_grad_()]
        assert torch.autograd.gradcheck(lambda z, t: cross_entropy(z, t.softmax(1)), arguments)

    @pytest.mark.parametrize(
        ("logits", "target", "error", "words"),
        [
            ([[0.0]], torch.tensor([0]), TypeError, "logits must be a torch.Tensor"),
            (torch.eye(2).long(), torch.tensor([0, 1]), TypeError, "logits must hold floating"),
            (torch.ones(3), torch.tensor([0]), ValueError, "logits must be a matrix"),
            (
                torch.ones(3, 1),
                torch.zeros(3).long(),
                ValueError,
                r"logits \(3, 1\) has one class only.*always 1; use binary_cross_entropy",
            ),
            (torch.ones(0, 3), torch.tensor([]).long(), ValueError, "logits is empty"),
            (torch.full((1, 2), torch.nan), torch.tensor([0]), ValueError, "logits contains NaN"),
            (
                torch.full((1, 2), torch.inf),
                torch.tensor([0]),
                ValueError,
                "finite, got 2 infinite",
            ),
            (torch.ones(2, 3), torch.tensor([0.0, 1.0]), TypeError, "integers, got torch.float32"),
            (torch.ones(2, 3), torch.tensor([0j, 1j]), TypeError, "integers, got torch.complex64"),
            (
                torch.ones(2, 3),
                torch.tensor([True, False]),
                TypeError,
                "got torch.bool; use target",
            ),
            (torch.ones(2, 3), [0, 1], TypeError, "target must be a torch.Tensor, got list"),
            (torch.ones(2, 3), torch.tensor([0, 1, 2]), ValueError, "got 3 labels for 2 rows"),
            (
                torch.ones(2, 3),
                torch.tensor([0, 3]),
                ValueError,
                "labels must lie between 0 and 2, got 0 to 3; count classes from 0",
            ),
            (torch.ones(2, 3), torch.tensor([-1, 2]), ValueError, "got -1 to 2"),
            (torch.ones(2, 3), torch.tensor([[0], [1]]), ValueError, r"target \(2, 1\).*squeeze"),
            (torch.ones(2, 3), torch.tensor(1), ValueError, r"logits \(2, 3\), target \(\)"),
            (
                torch.ones(1, 2),
                torch.tensor([[0.5, 0.6]]),
                ValueError,
                "target must be class labels or rows of probabilities.*from 0.5 to 0.6 and sums "
                "from 1.1 to 1.1; normalise",
            ),
            (torch.ones(1, 2), torch.tensor([[-0.5, 1.5]]), ValueError, "not negative.*from -0.5"),
            (torch.ones(1, 2), torch.tensor([[torch.nan, 1]]), ValueError, "target contains NaN"),
        ],
    )
    def test_bad_input(self, logits, target, error, words):
        with pytest.raises(error, match=words):
            cross_entropy(logits, target)


class TestKlDivergence:
    def test_by_hand(self):
        p, q = (
            logits_of([0.5, 0.25, 0.25], [1 / 3, 1 / 3, 1 / 3]),
            logits_of([0.25, 0.5, 0.25], [0.5, 0.25, 0.25]),
        )
        first = 0.5 * math.log(2) + 0.25 * math.log(1 / 2)
        second = (math.log(2 / 3) + 2 * math.log(4 / 3)) / 3
        is_close(kl_divergence(p, q), (first + second) / 2)

    @pytest.mark.parametrize(("n", "classes"), [(1, 2), (7, 3), (3, 11)])
    def test_agrees_with_torch_and_scipy(self, n, classes):
        z, r = normal(n, classes), normal(n, classes, seed=1)
        ours = kl_divergence(z, r)
        log_p, log_q = z.log_softmax(1), r.log_softmax(1)
        assert_close(ours, functional.kl_div(log_q, log_p, log_target=True, reduction="batchmean"))
        is_close(ours, scipy.stats.entropy(log_p.exp(), log_q.exp(), axis=1).mean())

    @given(SEEDS, st.floats(0.001, 20))
    def test_is_not_negative_and_zero_on_equal_distributions(self, seed, scale):
        z, r = normal(4, 5, seed=seed, scale=scale), normal(4, 5, seed=seed + 1, scale=scale)
        assert kl_divergence(z, r) > 0
        assert kl_divergence(z, z) == 0
        assert kl_divergence(z, z + 7) == pytest.approx(0, abs=1e-12)

    @given(SEEDS)
    def test_is_at_least_pinskers_bound(self, seed):
        z, r = normal(1, 5, seed=seed), normal(1, 5, seed=seed + 1)
        distance = (z.softmax(1) - r.softmax(1)).abs().sum() / 2
        assert kl_divergence(z, r) >= 2 * distance**2

    @given(SEEDS)
    def test_from_the_uniform_is_what_lacks_to_log_k(self, seed):
        z = normal(4, 5, seed=seed)
        expected = math.log(5) - scipy.stats.entropy(z.softmax(1), axis=1).mean()
        is_close(kl_divergence(z, torch.zeros_like(z)), expected)

    def test_is_not_symmetric(self):
        p, q = logits_of([0.98, 0.01, 0.01]), logits_of([0.4, 0.3, 0.3])
        assert kl_divergence(q, p) > 2 * kl_divergence(p, q)

    @pytest.mark.parametrize("dtype", FLOATS)
    def test_extreme_logits_are_exact_in_each_dtype(self, dtype):
        z = torch.tensor([[1e4, -1e4]], dtype=dtype)
        is_close(kl_divergence(z, -z), 2e4, atol=0, rtol=0)
        is_close(kl_divergence(z, z), 0.0, atol=0, rtol=0)
        assert kl_divergence(z, -z).dtype == dtype

    def test_logits_of_a_milliard(self):
        z = torch.tensor([[1e9, -1e9]], requires_grad=True)
        loss = kl_divergence(z, -z.detach())
        loss.backward()
        assert loss == 2e9
        assert z.grad.isfinite().all()

    def test_gradients(self):
        arguments = [normal(4, 3).requires_grad_(), normal(4, 3, seed=1).requires_grad_()]
        assert torch.autograd.gradcheck(kl_divergence, arguments)
        assert torch.autograd.gradgradcheck(kl_divergence, arguments)

    def test_shapes_must_be_equal(self):
        words = r"logits \(4, 3\), reference_logits \(1, 3\)"
        with pytest.raises(ValueError, match=words):
            kl_divergence(torch.ones(4, 3), torch.ones(1, 3))

    def test_the_reference_is_checked_too(self):
        with pytest.raises(ValueError, match="reference_logits must be a matrix"):
            kl_divergence(torch.ones(4, 3), torch.ones(3))
        with pytest.raises(ValueError, match="reference_logits contains NaN"):
            kl_divergence(torch.ones(1, 2), torch.full((1, 2), torch.nan))
        with pytest.raises(ValueError, match="reference_logits must be finite"):
            kl_divergence(torch.ones(1, 2), torch.full((1, 2), -torch.inf))
        with pytest.raises(TypeError, match="one dtype"):
            kl_divergence(torch.ones(1, 2), torch.ones(1, 2).double())


class TestEntropy:
    def test_by_hand(self):
        logits = logits_of([0.5, 0.25, 0.25], [0.8, 0.1, 0.1])
        first = 1.5 * math.log(2)
        second = -(0.8 * math.log(0.8) + 0.2 * math.log(0.1))
        is_close(entropy(logits), (first + second) / 2)

    @pytest.mark.parametrize(("n", "classes"), [(1, 2), (7, 3), (3, 11)])
    def test_agrees_with_torch_and_scipy(self, n, classes):
        logits = normal(n, classes)
        assert_close(
            entropy(logits), torch.distributions.Categorical(logits=logits).entropy().mean()
        )
        is_close(entropy(logits), scipy.stats.entropy(logits.softmax(1), axis=1).mean())

    @given(SEEDS, st.floats(0.001, 50))
    def test_lies_between_zero_and_log_k(self, seed, scale):
        assert 0 <= entropy(normal(6, 5, seed=seed, scale=scale)) <= math.log(5) + 1e-12

    @given(SEEDS)
    def test_is_concave(self, seed):
        p, q = (normal(1, 5, seed=seed + k).softmax(1) for k in (0, 1))
        mixed = entropy((0.3 * p + 0.7 * q).log())
        assert mixed >= 0.3 * entropy(p.log()) + 0.7 * entropy(q.log())

    @given(SEEDS, st.floats(1.1, 10))
    def test_falls_as_logits_grow(self, seed, factor):
        logits = normal(6, 5, seed=seed)
        assert entropy(factor * logits) < entropy(logits)

    @pytest.mark.parametrize("dtype", FLOATS)
    def test_extreme_logits_are_exact_in_each_dtype(self, dtype):
        decided = torch.tensor([[1e4, -1e4, 0]], dtype=dtype)
        is_close(entropy(decided), 0.0, atol=0, rtol=0)
        is_close(entropy(torch.tensor([[1e4, -1e4, 1e4]], dtype=dtype)), math.log(2))
        assert entropy(decided).dtype == dtype

    def test_logits_of_a_milliard(self):
        assert entropy(torch.tensor([[1e9, -1e9], [0, 1e9]])) == 0
        gradient = grad(entropy)(torch.tensor([[1e9, -1e9, 0]]))
        assert gradient.tolist() == [[0, 0, 0]]

    def test_gradients(self):
        logits = normal(4, 3).requires_grad_()
        assert torch.autograd.gradcheck(entropy, logits)
        assert torch.autograd.gradgradcheck(entropy, logits)


MULTI_CLASS = {
    "cross_entropy": lambda z: cross_entropy(z, torch.zeros(len(z)).long()),
    "kl_divergence": lambda z: kl_divergence(z, torch.zeros_like(z)),
    "kl_divergence of the reference": lambda z: kl_divergence(torch.zeros_like(z), z),
    "entropy": entropy,
}


@pytest.mark.parametrize("loss", MULTI_CLASS.values(), ids=MULTI_CLASS)
class TestLogitsAreDue:
    @pytest.mark.parametrize("dtype", FLOATS)
    def test_probabilities_are_warned_of_at_the_caller(self, loss, dtype):
        with pytest.warns(UserWarning, match=r"logits: every row is a.*softmax") as record:
            loss(normal(4, 3).softmax(1).to(dtype))
        assert [warning.filename for warning in record] == [__file__]

    @pytest.mark.parametrize(
        "logits",
        [
            torch.tensor([[0.2, 0.3, 0.5], [0.2, 0.3, 0.6]]),  # one sum isn't 1
            torch.tensor([[0.2, 0.3, 0.5], [-0.2, 0.7, 0.5]]),  # one value is negative
            torch.zeros(2, 3),
        ],
    )
    def test_logits_are_not_warned_of(self, loss, logits):
        with warnings.catch_warnings(action="error"):
            loss(logits)

    @pytest.mark.parametrize(
        ("logits", "error", "words"),
        [
            (torch.ones(4, 1), ValueError, r"logits \(4, 1\) has one class only"),
            (torch.ones(4), ValueError, "logits must be a matrix"),
            (torch.ones(0, 3), ValueError, "logits is empty"),
            (torch.full((2, 2), torch.nan), ValueError, "logits contains NaN in 4 of 4"),
            (torch.full((2, 2), -torch.inf), ValueError, "logits must be finite, got 4 infinite"),
            (torch.ones(2, 2).long(), TypeError, "logits must hold floating-point.*int64"),
        ],
    )
    def test_bad_logits(self, loss, logits, error, words):
        with pytest.raises(error, match=words):
            loss(logits)


@pytest.mark.parametrize(
    "loss",
    [
        lambda z: mse(z, torch.ones_like(z)),
        lambda z: binary_cross_entropy(z, torch.full_like(z, 0.25)),
        lambda z: cross_entropy(z, torch.tensor([2, 0, 1, 1])),
        lambda z: cross_entropy(z, torch.tensor([0.5, 0.25, 0.25]).expand(4, 3)),
        lambda z: kl_divergence(z, torch.ones_like(z)),
        entropy,
    ],
)
class TestTransforms:
    def test_vmap_grad_and_jacrev(self, loss):
        batch = normal(2, 4, 3, dtype=torch.float32)
        assert_close(vmap(loss)(batch), torch.stack([loss(z) for z in batch]))
        gradients = torch.stack([torch.autograd.functional.jacobian(loss, z) for z in batch])
        assert_close(vmap(grad(loss))(batch), gradients)
        assert_close(vmap(jacrev(loss))(batch), gradients)

    def test_compiles_without_a_graph_break(self, loss):
        logits = normal(4, 3, dtype=torch.float32)
        torch.compiler.reset()
        assert_close(torch.compile(loss, backend="eager", fullgraph=True)(logits), loss(logits))

    def test_values_are_not_looked_at_under_vmap(self, loss):
        assert vmap(loss)(torch.full((2, 4, 3), torch.nan)).isnan().all()


def test_labels_may_be_mapped_over_too():
    logits, target = normal(2, 4, 3), torch.stack([labels(4, 3), labels(4, 3, seed=1)])
    expected = torch.stack(
        [functional.cross_entropy(*pair) for pair in zip(logits, target, strict=True)]
    )
    assert_close(vmap(cross_entropy)(logits, target), expected)
    soft = functional.one_hot(target, 3).double()
    assert_close(vmap(cross_entropy)(logits, soft), expected)
