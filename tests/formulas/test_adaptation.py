"""Domain adaptation (section 4.3.1): closed forms, references, properties, known mistakes."""

import math
import warnings

import numpy as np
import pytest
import scipy.optimize
import scipy.stats
import torch
from hypothesis import given
from hypothesis import strategies as st
from sklearn.linear_model import LogisticRegression
from torch import nn
from torch.autograd import gradcheck, gradgradcheck
from torch.func import grad, vmap
from torch.nn import functional
from torch.testing import assert_close

from mapping_lib.adaptation import (
    adaptation_loss,
    adaptation_weight,
    certainty_weights,
    classifier_discrepancy,
    conditional_features,
    deep_jdot,
    domain_adversarial_loss,
    ideal_joint_risk,
    importance_weighted_risk,
    importance_weights,
    information_maximisation,
    minimum_class_confusion,
    reverse_gradient,
    soft_neighbourhood_density,
    target_risk_bound,
)
from mapping_lib.distances import coral

FLOATS = [torch.float16, torch.bfloat16, torch.float32, torch.float64]
SEEDS = st.integers(0, 10_000)


def normal(*shape, seed=0, scale=1.0, dtype=torch.float64):
    generator = torch.Generator().manual_seed(seed)
    return (scale * torch.randn(shape, generator=generator, dtype=torch.float64)).to(dtype)


def labels(n, classes, seed=0):
    return torch.randint(classes, (n,), generator=torch.Generator().manual_seed(seed))


def logits_of(*rows, dtype=torch.float64):
    """Return logits, shifted so that they aren't log-probabilities, of rows of probabilities."""
    return torch.tensor(rows, dtype=dtype).log() + 3


def is_close(actual, expected, **tolerances):
    assert_close(actual, torch.tensor(expected, dtype=actual.dtype), **tolerances)


def scalar(value):
    return torch.tensor(value, dtype=torch.float64)


def entropies(p):
    return torch.as_tensor(scipy.stats.entropy(p.numpy(), axis=1))


BAD_LOGITS = [
    ([[0.0, 1.0]], TypeError, "logits must be a torch.Tensor, got list"),
    (torch.ones(3, 2).long(), TypeError, "must hold floating-point"),
    (torch.ones(3), ValueError, "must be a matrix with 2 axes, got 1"),
    (torch.ones(3, 1), ValueError, r"\(3, 1\) has one class only"),
    (torch.ones(0, 2), ValueError, "is empty"),
    (torch.full((3, 2), torch.nan), ValueError, "contains NaN in 6 of 6"),
    (torch.full((3, 2), torch.inf), ValueError, "must be finite, got 6 infinite"),
]
ON_LOGITS = [
    certainty_weights,
    information_maximisation,
    minimum_class_confusion,
    soft_neighbourhood_density,
]


@pytest.mark.parametrize("function", ON_LOGITS)
@pytest.mark.parametrize(("logits", "error", "words"), BAD_LOGITS)
def test_bad_logits(function, logits, error, words):
    with pytest.raises(error, match=words):
        function(logits)


@pytest.mark.parametrize("function", ON_LOGITS)
def test_probabilities_are_warned_of_at_the_caller(function):
    with pytest.warns(UserWarning, match="logits: every row is a probability") as record:
        function(normal(5, 3).softmax(1))
    assert [warning.filename for warning in record] == [__file__]


class TestAdaptationLoss:
    def test_by_hand(self):
        assert adaptation_loss(scalar(0.5), scalar(-2.0), weight=0.25) == 0

    def test_of_no_weight_is_the_source_loss(self):
        assert adaptation_loss(scalar(0.5), scalar(7.0), weight=0) == 0.5

    def test_gradients(self):
        source, domain = scalar(0.5).requires_grad_(), scalar(2.0).requires_grad_()
        adaptation_loss(source, domain, weight=0.3).backward()
        assert (source.grad, domain.grad) == (1, 0.3)

    @pytest.mark.parametrize("dtype", FLOATS)
    def test_keeps_the_dtype(self, dtype):
        one = torch.ones((), dtype=dtype)
        assert adaptation_loss(one, one, weight=0.5).dtype == dtype

    def test_the_encoder_receives_the_gradient_of_both_losses(self):
        """adapt's DeepCORAL: the encoder never receives the task's gradient."""
        encoder, head = nn.Linear(3, 4).double(), nn.Linear(4, 2).double()
        x_s, x_t, y = normal(6, 3), normal(5, 3, seed=1), labels(6, 2)

        def gradient(weight, task):
            encoder.zero_grad()
            f_s, f_t = encoder(x_s), encoder(x_t)
            source_loss = functional.cross_entropy(head(f_s), y) * task
            adaptation_loss(source_loss, coral(f_s, f_t), weight=weight).backward()
            return encoder.weight.grad.clone()

        task_alone, both, domain_alone = gradient(0, 1), gradient(0.7, 1), gradient(0.7, 0)
        assert task_alone.abs().max() > 1e-3
        assert domain_alone.abs().max() > 1e-3
        assert_close(both, task_alone + domain_alone)

    @pytest.mark.parametrize(
        ("source", "domain", "weight", "error", "words"),
        [
            (1.0, scalar(1.0), 1, TypeError, "source_loss must be a torch.Tensor, got float"),
            (scalar(1.0), torch.tensor(1.0), 1, TypeError, "must have one dtype"),
            (normal(2), scalar(1.0), 1, ValueError, r"source_loss must be a scalar.*\(2,\)"),
            (scalar(1.0), normal(2), 1, ValueError, r"domain_loss must be a scalar.*mean\(\)"),
            (scalar(math.nan), scalar(1.0), 1, ValueError, "source_loss contains NaN"),
            (
                scalar(1.0),
                scalar(1.0),
                -0.1,
                ValueError,
                r"weight must lie in \[0, inf\), got -0.1",
            ),
            (scalar(1.0), scalar(1.0), math.inf, ValueError, "weight must lie in"),
            (scalar(1.0), scalar(1.0), math.nan, ValueError, "weight must lie in"),
            (scalar(1.0), scalar(1.0), "1", TypeError, "weight must be a number, got '1'"),
        ],
    )
    def test_bad_input(self, source, domain, weight, error, words):
        with pytest.raises(error, match=words):
            adaptation_loss(source, domain, weight=weight)


class TestAdaptationWeight:
    @pytest.mark.parametrize("p", [0, 0.01, 0.3, 1])
    @pytest.mark.parametrize("gamma", [0, 1, 10, 25.0, 100])
    def test_is_a_hyperbolic_tangent(self, p, gamma):
        assert adaptation_weight(p, gamma=gamma) == pytest.approx(math.tanh(gamma * p / 2))

    def test_reaches_one_with_the_default(self):
        """DANN schedules with γ = 1 in place of 10: λ never gets near 1."""
        assert adaptation_weight(1) > 0.9999
        assert adaptation_weight(0.5) > 0.98
        assert adaptation_weight(1, gamma=1) < 0.47

    def test_starts_at_zero_and_rises(self):
        values = [adaptation_weight(k / 20) for k in range(21)]
        assert values[0] == 0
        assert values == sorted(set(values))

    @pytest.mark.parametrize(
        ("p", "gamma", "error", "words"),
        [
            (-0.1, 10, ValueError, r"progress must lie in \[0, 1\], got -0.1"),
            (1.1, 10, ValueError, r"progress must lie in \[0, 1\], got 1.1"),
            (0.5, -1, ValueError, r"gamma must lie in \[0, inf\), got -1"),
            (0.5, math.inf, ValueError, "gamma must lie in"),
            ("half", 10, TypeError, "progress must be a number"),
        ],
    )
    def test_bad_input(self, p, gamma, error, words):
        with pytest.raises(error, match=words):
            adaptation_weight(p, gamma=gamma)


class TestReverseGradient:
    @pytest.mark.parametrize("dtype", FLOATS)
    def test_is_the_identity(self, dtype):
        x = normal(3, 4, dtype=dtype)
        assert torch.equal(reverse_gradient(x, 0.3), x)
        assert reverse_gradient(x).dtype == dtype

    @pytest.mark.parametrize("weight", [0, 0.3, 1, 5])
    def test_the_gradient_is_minus_the_weight(self, weight):
        x = normal(3, 4)
        plain = grad(lambda x: (x**3).sum())(x)
        assert_close(grad(lambda x: (reverse_gradient(x, weight) ** 3).sum())(x), -weight * plain)

    def test_weight_one_is_the_default(self):
        assert grad(lambda x: reverse_gradient(x).sum())(normal(3)).tolist() == [-1, -1, -1]

    def test_gradcheck_fails_by_design(self):
        with pytest.raises(RuntimeError, match="Jacobian mismatch"):
            gradcheck(lambda x: reverse_gradient(x, 0.5), normal(3).requires_grad_())

    def test_what_stands_behind_it_is_not_reversed(self):
        """One backward pass: the discriminator goes down the loss, the features up."""
        features, discriminator = normal(5, 2).requires_grad_(), normal(2).requires_grad_()
        zeros, ones = torch.zeros(2, dtype=torch.float64), torch.ones(3, dtype=torch.float64)

        def gradients(reverse):
            z = reverse(features) @ discriminator
            loss = functional.binary_cross_entropy_with_logits(z, torch.cat([zeros, ones]))
            return torch.autograd.grad(loss, (features, discriminator))

        plain, turned = gradients(lambda f: f), gradients(lambda f: reverse_gradient(f, 2.0))
        assert_close(turned[0], -2 * plain[0])
        assert_close(turned[1], plain[1])

    def test_under_vmap_and_twice(self):
        x = normal(4, 3)
        turned = vmap(grad(lambda x: (reverse_gradient(x, 0.5) ** 2).sum()))(x)
        assert_close(turned, -x)
        twice = reverse_gradient(reverse_gradient(x.requires_grad_(), 0.5), 3.0)
        assert_close(torch.autograd.grad(twice.sum(), x)[0], torch.full_like(x, 1.5))

    def test_forward_mode(self):
        x, v = normal(3), normal(3, seed=1)
        _, tangent = torch.func.jvp(lambda x: reverse_gradient(x, 0.5), (x,), (v,))
        assert_close(tangent, -0.5 * v)

    @pytest.mark.parametrize(
        ("x", "weight", "error", "words"),
        [
            ([1.0], 1, TypeError, "features must be a torch.Tensor"),
            (torch.ones(2).int(), 1, TypeError, "must hold floating-point"),
            (torch.ones(0), 1, ValueError, "is empty"),
            (torch.tensor([math.nan]), 1, ValueError, "contains NaN"),
            (torch.ones(2), -1, ValueError, r"weight must lie in \[0, inf\), got -1"),
            (torch.ones(2), math.inf, ValueError, "weight must lie in"),
        ],
    )
    def test_bad_input(self, x, weight, error, words):
        with pytest.raises(error, match=words):
            reverse_gradient(x, weight)


class TestDomainAdversarialLoss:
    def test_by_hand_on_unequal_sizes(self):
        # σ(log 3) = 3/4; each domain counts half, whatever its size
        source = torch.tensor([math.log(3)], dtype=torch.float64)
        target = torch.tensor([math.log(3), -math.log(3), -math.log(3)], dtype=torch.float64)
        expected = (-math.log(3 / 4) + (-math.log(1 / 4) - 2 * math.log(3 / 4)) / 3) / 2
        is_close(domain_adversarial_loss(source, target), expected)

    @pytest.mark.parametrize("column", [False, True])
    def test_agrees_with_torch(self, column):
        source, target = normal(4), normal(4, seed=1)
        truth = torch.cat([torch.ones(4), torch.zeros(4)]).double()
        expected = functional.binary_cross_entropy_with_logits(torch.cat([source, target]), truth)
        shaped = [z.unsqueeze(1) if column else z for z in (source, target)]
        assert_close(domain_adversarial_loss(*shaped), expected)

    def test_has_a_gradient_in_one_logit(self):
        """skada's DANN head: softmax over one logit is constant 1 and has no gradient."""
        source, target = normal(5, 1), normal(3, 1, seed=1)
        gradients = grad(domain_adversarial_loss, argnums=(0, 1))(source, target)
        assert_close(gradients[0], (torch.sigmoid(source) - 1) / 10)
        assert_close(gradients[1], torch.sigmoid(target) / 6)
        assert min(g.abs().min() for g in gradients) > 0

    def test_two_logits_a_row_are_refused(self):
        with pytest.raises(ValueError, match=r"one logit a row.*got the shape \(5, 2\)"):
            domain_adversarial_loss(normal(5, 2), normal(5, 2))

    def test_an_undecided_discriminator_has_log_2(self):
        is_close(domain_adversarial_loss(torch.zeros(3), torch.zeros(7)), math.log(2))

    def test_its_least_value_is_log_2_less_the_jensen_shannon_divergence(self):
        p, q = np.array([0.5, 0.25, 0.25]), np.array([0.125, 0.125, 0.75])
        source = torch.tensor([0] * 4 + [1] * 2 + [2] * 2)
        target = torch.tensor([0, 1] + [2] * 6)
        best = torch.tensor(np.log(p / q))
        expected = math.log(2) - scipy.spatial.distance.jensenshannon(p, q) ** 2
        is_close(domain_adversarial_loss(best[source], best[target]), expected)

    def test_weights_by_hand(self):
        z = math.log(3)
        source, target = torch.tensor([z, -z]).double(), torch.tensor([z, 0.0, -z]).double()
        loss = domain_adversarial_loss(
            source,
            target,
            source_weights=scalar([3.0, 1.0]),
            target_weights=scalar([0.0, 1.0, 1.0]),
        )
        expected = (3 * math.log(4 / 3) + math.log(4)) / 4 + (math.log(2) + math.log(4 / 3)) / 2
        is_close(loss, expected / 2)

    @given(SEEDS, st.floats(0.01, 100))
    def test_a_common_factor_of_weights_changes_nothing(self, seed, factor):
        source, target, weights = normal(4, seed=seed), normal(3, seed=seed + 1), normal(4).abs()
        losses = [
            domain_adversarial_loss(source, target, source_weights=c * weights) for c in (1, factor)
        ]
        assert_close(*losses)

    @given(SEEDS)
    def test_swapping_domains_and_sign_changes_nothing(self, seed):
        source, target = normal(4, seed=seed), normal(6, seed=seed + 1)
        assert_close(
            domain_adversarial_loss(source, target), domain_adversarial_loss(-target, -source)
        )

    def test_extreme_logits(self):
        big = torch.tensor([1e9, -1e9])
        assert domain_adversarial_loss(big[:1], big[1:]) == 0
        assert domain_adversarial_loss(big[1:], big[:1]) == 1e9

    def test_gradients(self):
        arguments = [normal(4).requires_grad_(), normal(3, seed=1).requires_grad_()]
        assert gradcheck(domain_adversarial_loss, arguments)
        assert gradgradcheck(domain_adversarial_loss, arguments)

    @pytest.mark.parametrize(
        ("source", "target", "weights", "error", "words"),
        [
            ([0.0], torch.ones(2), {}, TypeError, "source_logits must be a torch.Tensor"),
            (torch.ones(2), torch.ones(2).double(), {}, TypeError, "must have one dtype"),
            (torch.ones(0), torch.ones(2), {}, ValueError, "source_logits is empty"),
            (torch.ones(2), torch.full((2,), torch.nan), {}, ValueError, "target_logits contains"),
            (torch.ones(2), torch.full((2,), torch.inf), {}, ValueError, "target_logits must be"),
            (torch.ones(()), torch.ones(2), {}, ValueError, r"got the shape \(\)"),
            (torch.ones(2, 1, 1), torch.ones(2), {}, ValueError, r"the shape \(2, 1, 1\)"),
            (
                torch.ones(2),
                torch.ones(3),
                {"source_weights": torch.ones(3)},
                ValueError,
                r"source_weights must be one number for each of 2 rows, got the shape \(3,\)",
            ),
            (
                torch.ones(2),
                torch.ones(3),
                {"target_weights": torch.tensor([1.0, -1.0, 3.0])},
                ValueError,
                "target_weights must not be negative nor all zero, got -1",
            ),
            (
                torch.ones(2),
                torch.ones(3),
                {"target_weights": torch.zeros(3)},
                ValueError,
                "not be negative nor all zero",
            ),
            (
                torch.ones(2),
                torch.ones(3),
                {"source_weights": torch.tensor([1.0, torch.inf])},
                ValueError,
                "source_weights must be finite",
            ),
        ],
    )
    def test_bad_input(self, source, target, weights, error, words):
        with pytest.raises(error, match=words):
            domain_adversarial_loss(source, target, **weights)


class TestConditionalFeatures:
    def test_by_hand(self):
        features = torch.tensor([[1.0, -2.0], [3.0, 0.5]]).double()
        logits = logits_of([0.5, 0.25, 0.25], [0.1, 0.2, 0.7])
        expected = [[0.5, 0.25, 0.25, -1, -0.5, -0.5], [0.3, 0.6, 2.1, 0.05, 0.1, 0.35]]
        assert_close(conditional_features(features, logits), torch.tensor(expected).double())

    @given(SEEDS)
    def test_rows_are_outer_products(self, seed):
        features, logits = normal(4, 3, seed=seed), normal(4, 2, seed=seed + 1)
        for f, z, product in zip(
            features, logits, conditional_features(features, logits), strict=True
        ):
            assert_close(product, torch.outer(f, z.softmax(0)).flatten())

    @given(SEEDS)
    def test_the_features_are_its_sums_over_classes(self, seed):
        features, logits = normal(4, 3, seed=seed), normal(4, 5, seed=seed + 1)
        products = conditional_features(features, logits)
        assert_close(products.reshape(4, 3, 5).sum(2), features)

    def test_gradients(self):
        arguments = [normal(3, 2).requires_grad_(), normal(3, 2, seed=1).requires_grad_()]
        assert gradcheck(conditional_features, arguments)

    def test_bad_input(self):
        with pytest.raises(ValueError, match="logits has 3 rows where the features have 4"):
            conditional_features(normal(4, 2), normal(3, 2))
        with pytest.raises(ValueError, match="one class only"):
            conditional_features(normal(4, 2), normal(4, 1))
        with pytest.raises(TypeError, match="must have one dtype"):
            conditional_features(normal(4, 2), normal(4, 2).float())
        with pytest.raises(ValueError, match="features must be a matrix"):
            conditional_features(normal(4), normal(4, 2))
        with pytest.raises(ValueError, match="features must be finite"):
            conditional_features(torch.full((2, 2), torch.inf), torch.ones(2, 2))
        with pytest.warns(UserWarning, match="probability distribution"):
            conditional_features(normal(4, 2), normal(4, 3).softmax(1))


class TestCertaintyWeights:
    def test_by_hand(self):
        H = -(0.2 * math.log(0.2) + 0.8 * math.log(0.8))
        weights = certainty_weights(logits_of([0.2, 0.8], [0.5, 0.5]))
        assert_close(weights, torch.tensor([1 + math.exp(-H), 1.5]).double())

    @given(SEEDS)
    def test_agrees_with_scipy_and_keeps_its_bounds(self, seed):
        logits = normal(6, 4, seed=seed, scale=3)
        weights = certainty_weights(logits)
        assert_close(weights, 1 + (-entropies(logits.softmax(1))).exp())
        assert weights.min() >= 1.25
        assert weights.max() <= 2

    def test_has_no_gradient(self):
        assert not certainty_weights(normal(3, 2).requires_grad_()).requires_grad


class TestClassifierDiscrepancy:
    def test_by_hand(self):
        first = logits_of([0.5, 0.3, 0.2], [0.1, 0.1, 0.8])
        second = logits_of([0.1, 0.3, 0.6], [0.1, 0.1, 0.8])
        is_close(classifier_discrepancy(first, second), 0.8 / 6)

    @given(SEEDS)
    def test_is_a_bounded_symmetric_distance(self, seed):
        a, b, c = (normal(5, 3, seed=seed + k, scale=3) for k in range(3))
        d = classifier_discrepancy
        assert_close(d(a, b), d(b, a))
        assert d(a, a) == 0
        assert 0 < d(a, b) <= 2 / 3
        assert d(a, c) <= d(a, b) + d(b, c) + 1e-12
        assert_close(d(a + 7, b), d(a, b))

    def test_is_greatest_where_both_are_sure_of_different_classes(self):
        a = torch.tensor([[0.0, -1e9, -1e9, -1e9]])
        is_close(classifier_discrepancy(a, a.flip(1)), 0.5)

    def test_gradients(self):
        arguments = [normal(4, 3).requires_grad_(), normal(4, 3, seed=1).requires_grad_()]
        assert gradcheck(classifier_discrepancy, arguments)

    def test_bad_input(self):
        with pytest.raises(ValueError, match="shapes must be equal"):
            classifier_discrepancy(normal(4, 3), normal(5, 3))
        with pytest.raises(ValueError, match=r"other_logits.*one class only"):
            classifier_discrepancy(normal(4, 2), normal(4, 1))
        with pytest.warns(UserWarning, match="other_logits: every row") as record:
            classifier_discrepancy(normal(4, 3), normal(4, 3).softmax(1))
        assert [warning.filename for warning in record] == [__file__]


class TestInformationMaximisation:
    def test_by_hand(self):
        logits = logits_of([0.5, 0.25, 0.25], [0.1, 0.2, 0.7])
        rows = [
            0.5 * math.log(2) + 0.5 * math.log(4),
            -sum(p * math.log(p) for p in (0.1, 0.2, 0.7)),
        ]
        mean = (0.3, 0.225, 0.475)
        expected = sum(rows) / 2 + sum(p * math.log(p) for p in mean)
        is_close(information_maximisation(logits), expected)

    @given(SEEDS)
    def test_agrees_with_scipy_and_is_minus_a_mutual_information(self, seed):
        logits = normal(7, 4, seed=seed, scale=3)
        p = logits.softmax(1)
        value = information_maximisation(logits)
        assert_close(value, entropies(p).mean() - entropies(p.mean(0, keepdim=True))[0])
        assert -math.log(4) <= value <= 1e-12

    def test_one_class_for_all_rows_is_not_rewarded(self):
        one_class = torch.tensor([[0.0, -1e9]]).expand(4, 2)
        assert information_maximisation(one_class) == 0
        both = torch.tensor([[0.0, -1e9], [-1e9, 0.0]])
        is_close(information_maximisation(both), -math.log(2))

    def test_underflow_of_a_class_leaves_the_gradient_finite(self):
        logits = torch.tensor([[0.0, 1.0, -1e4], [1.0, 0.0, -1e4]])
        assert grad(information_maximisation)(logits).isfinite().all()

    def test_gradients(self):
        assert gradcheck(information_maximisation, normal(4, 3).requires_grad_())
        assert gradgradcheck(information_maximisation, normal(4, 3).requires_grad_())

    def test_one_row_is_refused(self):
        with pytest.raises(ValueError, match="logits has one row only; at least 2"):
            information_maximisation(normal(1, 3))


class TestMinimumClassConfusion:
    def test_by_hand(self):
        # rows with equal entropies, so equal weights; temperature 1
        logits = logits_of([0.8, 0.2], [0.8, 0.2], [0.2, 0.8])
        c00, c01, c11 = 0.64 * 2 + 0.04, 0.16 * 3, 0.04 * 2 + 0.64
        expected = (c01 / (c00 + c01) + c01 / (c11 + c01)) / 2
        is_close(minimum_class_confusion(logits, temperature=1), expected)

    @given(SEEDS, st.floats(0.5, 5))
    def test_agrees_with_its_definition(self, seed, temperature):
        logits = normal(6, 3, seed=seed, scale=3)
        p = (logits / temperature).softmax(1)
        w = 1 + (-entropies(p)).exp()
        w = 6 * w / w.sum()
        C = torch.einsum("i,ik,il->kl", w, p, p)
        C = C / C.sum(1, keepdim=True)
        expected = sum(C[k, m] for k in range(3) for m in range(3) if k != m) / 3
        value = minimum_class_confusion(logits, temperature=temperature)
        assert_close(value, expected)
        assert 0 <= value <= 2 / 3 + 1e-12

    def test_the_default_temperature(self):
        logits = normal(6, 3, scale=3)
        expected = minimum_class_confusion(logits, temperature=2.5)
        assert minimum_class_confusion(logits) == expected

    def test_the_weights_get_no_gradient(self):
        logits = normal(5, 3)
        w = 1 + (-entropies(logits.softmax(1))).exp()

        def with_fixed_weights(logits):
            p = logits.softmax(1)
            C = p.T @ (w[:, None] * p)
            C = C / C.sum(1, keepdim=True)
            return (C.sum() - C.trace()) / 3

        expected = grad(with_fixed_weights)(logits)
        assert_close(grad(minimum_class_confusion)(logits / 1, temperature=1), expected)

    def test_a_class_that_is_never_predicted_is_confused_with_nothing(self):
        logits = torch.tensor([[0.0, -1e9, -1e9], [-1e9, 0.0, -1e9]])
        assert minimum_class_confusion(logits) == 0
        assert grad(minimum_class_confusion)(logits).isfinite().all()

    def test_bad_input(self):
        for temperature in (0, -1, math.inf, math.nan):
            with pytest.raises(ValueError, match="temperature must"):
                minimum_class_confusion(normal(3, 2), temperature=temperature)
        with pytest.raises(ValueError, match="one row only"):
            minimum_class_confusion(normal(1, 2))


def jdot_by_linear_programme(f_s, y, f_t, z, alpha, beta):
    n, m = len(f_s), len(f_t)
    cost = np.array(
        [
            [
                alpha * ((f_s[i] - f_t[j]) ** 2).sum() - beta * z[j].log_softmax(0)[y[i]]
                for j in range(m)
            ]
            for i in range(n)
        ]
    )
    sums = np.zeros((n + m, n, m))
    for i in range(n):
        sums[i, i] = 1
    for j in range(m):
        sums[n + j, :, j] = 1
    due = [1 / n] * n + [1 / m] * m
    found = scipy.optimize.linprog(cost.ravel(), A_eq=sums.reshape(n + m, -1), b_eq=due)
    return found.fun


class TestDeepJdot:
    def test_by_hand(self):
        f_s, f_t = torch.tensor([[0.0], [10.0]]).double(), torch.tensor([[11.0], [2.0]]).double()
        z = logits_of([0.25, 0.75], [0.5, 0.5])
        value = deep_jdot(f_s, torch.tensor([0, 1]), f_t, z, feature_weight=2, label_weight=3)
        # 0 goes to 2, 10 to 11
        expected = (2 * 4 + 3 * math.log(2) + 2 * 1 - 3 * math.log(0.75)) / 2
        is_close(value, expected)

    @pytest.mark.parametrize(("n", "m"), [(5, 5), (4, 7), (6, 2), (1, 3)])
    def test_agrees_with_a_linear_programme(self, n, m):
        f_s, f_t, z, y = normal(n, 3), normal(m, 3, seed=1), normal(m, 4, seed=2), labels(n, 4)
        value = deep_jdot(f_s, y, f_t, z, feature_weight=0.3, label_weight=1.5)
        is_close(value, jdot_by_linear_programme(f_s, y, f_t, z, 0.3, 1.5))

    @given(SEEDS)
    def test_permuting_the_rows_changes_nothing(self, seed):
        f_s, f_t, z, y = normal(4, 2), normal(4, 2, seed=1), normal(4, 3, seed=2), labels(4, 3)
        order = torch.randperm(4, generator=torch.Generator().manual_seed(seed))
        weights = {"feature_weight": 1, "label_weight": 1}
        expected = deep_jdot(f_s, y, f_t, z, **weights)
        assert_close(deep_jdot(f_s[order], y[order], f_t, z, **weights), expected)
        assert_close(deep_jdot(f_s, y, f_t[order], z[order], **weights), expected)

    def test_without_labels_is_the_wasserstein_distance_on_the_line(self):
        x, y = normal(6, 1), normal(6, 1, seed=1)
        value = deep_jdot(x, labels(6, 2), y, normal(6, 2), feature_weight=1, label_weight=0)
        assert_close(value, (x.sort(0).values - y.sort(0).values).square().mean())

    @pytest.mark.parametrize("m", [4, 3])
    def test_gradients(self, m):
        f_s, f_t, z = normal(4, 2), normal(m, 2, seed=1), normal(m, 3, seed=2)

        def loss(f_s, f_t, z):
            return deep_jdot(f_s, labels(4, 3), f_t, z, feature_weight=1, label_weight=0.5)

        assert gradcheck(loss, [a.requires_grad_() for a in (f_s, f_t, z)])

    def test_keeps_the_dtype(self):
        value = deep_jdot(
            normal(3, 2).float(),
            labels(3, 2),
            normal(4, 2).float(),
            normal(4, 2).float(),
            feature_weight=1,
            label_weight=1,
        )
        assert value.dtype == torch.float32

    @pytest.mark.parametrize(
        ("change", "error", "words"),
        [
            ({"target_features": normal(4, 3)}, ValueError, "widths must be equal"),
            ({"target_logits": normal(3, 2)}, ValueError, "target_logits has 3 rows where"),
            ({"target_logits": normal(4, 1)}, ValueError, "one class only"),
            ({"source_labels": labels(4, 2)}, ValueError, r"source_labels must have the shape"),
            ({"source_labels": torch.tensor([0, 1, 2])}, ValueError, "between 0 and 1, got 0 to 2"),
            ({"source_labels": torch.tensor([0, -1, 1])}, ValueError, "got -1 to 1"),
            ({"source_labels": torch.ones(3)}, TypeError, "source_labels must be integers"),
            ({"source_features": torch.full((3, 2), torch.nan)}, ValueError, "contains NaN"),
            ({"source_features": normal(0, 2)}, ValueError, "is empty"),
            ({"feature_weight": -1}, ValueError, r"feature_weight must lie in \[0, inf\)"),
            ({"label_weight": -1}, ValueError, r"label_weight must lie in \[0, inf\)"),
        ],
    )
    def test_bad_input(self, change, error, words):
        arguments = {
            "source_features": normal(3, 2),
            "source_labels": labels(3, 2),
            "target_features": normal(4, 2),
            "target_logits": normal(4, 2),
            "feature_weight": 1,
            "label_weight": 1,
        }
        with pytest.raises(error, match=words):
            deep_jdot(**(arguments | change))


def blobs(n, means, seed=0):
    y = torch.arange(n) % len(means)
    return torch.tensor(means, dtype=torch.float64)[y] + normal(n, 2, seed=seed), y


class TestIdealJointRisk:
    def risk(self, *sets, **settings):
        return ideal_joint_risk(*sets, generator=torch.Generator().manual_seed(0), **settings)

    def test_domains_that_agree_have_none(self):
        source, target = blobs(60, [(-9, 0), (9, 0)]), blobs(33, [(-9, 1), (9, 1)], seed=1)
        assert self.risk(*source, *target) == 0

    def test_domains_that_contradict_each_other_have_one(self):
        x, y = blobs(200, [(-9, 0), (9, 0)])
        assert self.risk(x, y, x, 1 - y) == pytest.approx(1, abs=0.05)

    def test_agrees_with_scikit_learn(self):
        source = blobs(40, [(-1, 0), (1, 0), (0, 2)])
        target = blobs(30, [(-1, 1), (1, 1), (0, 3)], seed=1)
        generator = torch.Generator().manual_seed(5)
        orders = [torch.randperm(n, generator=generator) for n in (40, 30)]
        held = [order[: n // 4] for order, n in zip(orders, (40, 32), strict=True)]
        kept = [order[n // 4 :] for order, n in zip(orders, (40, 32), strict=True)]
        x = torch.cat([source[0][kept[0]], target[0][kept[1]]])
        y = torch.cat([source[1][kept[0]], target[1][kept[1]]])
        mean, scale = x.mean(0), x.std(0, correction=0)
        w = torch.cat([torch.full((30,), 52 / 60), torch.full((22,), 52 / 44)])
        model = LogisticRegression(C=1 / 3, max_iter=1000)
        model.fit((x - mean) / scale, y, sample_weight=w.numpy())
        expected = sum(
            (model.predict((data[rows] - mean) / scale) != truth[rows].numpy()).mean()
            for (data, truth), rows in zip((source, target), held, strict=True)
        )
        value = ideal_joint_risk(
            *source,
            *target,
            generator=torch.Generator().manual_seed(5),
            held_out=0.25,
            regularisation=3,
        )
        assert value == pytest.approx(expected)
        assert expected > 0

    @pytest.mark.parametrize("held_out", [0.01, 0.99])
    def test_a_row_is_left_on_either_side(self, held_out):
        x = torch.tensor([[-9.0], [-8.0], [-9.0], [-8.0]])
        zeros, ones = torch.zeros(4).long(), torch.ones(4).long()
        assert self.risk(x, zeros, -x, ones, held_out=held_out) == 0

    def test_takes_any_float_and_leaves_gradients_alone(self):
        x, y = blobs(20, [(-9, 0), (9, 0)])
        x = x.float().requires_grad_()
        assert self.risk(x, y, x, y) == 0
        assert x.grad is None

    def test_bad_input(self):
        x, y = blobs(8, [(-1, 0), (1, 0)])
        with pytest.raises(ValueError, match=r"target.*at least 4 rows, got 3"):
            self.risk(x, y, x[:3], y[:3])
        with pytest.raises(ValueError, match="widths must be equal"):
            self.risk(x, y, x[:, :1], y)
        with pytest.raises(ValueError, match="only class 1; give rows of at least two"):
            self.risk(x, torch.ones(8).long(), x, torch.ones(8).long())
        with pytest.raises(ValueError, match=r"target_labels must have the shape \(8,\)"):
            self.risk(x, y, x, y[:4])
        with pytest.raises(ValueError, match="source_labels must lie between 0 and inf, got -1"):
            self.risk(x, y - 1, x, y)
        with pytest.raises(TypeError, match="target_labels must be integers"):
            self.risk(x, y, x, y.float())
        for share in (0, 1):
            with pytest.raises(ValueError, match="held_out must"):
                self.risk(x, y, x, y, held_out=share)
        with pytest.raises(ValueError, match="regularisation must be positive"):
            self.risk(x, y, x, y, regularisation=0)


class TestTargetRiskBound:
    def test_by_hand(self):
        assert target_risk_bound(0.1, 0.6, 0.05) == pytest.approx(0.45)

    def test_holds_for_thresholds_on_the_line(self):
        """All terms exact: classifiers x > c on finite domains, the supremum by enumeration."""
        source = [(0.0, 0), (0.2, 0), (0.5, 1), (0.9, 1)]
        target = [(0.1, 0), (0.4, 0), (0.6, 0), (0.8, 1), (1.0, 1)]
        cuts = [-1, *sorted(x + 1e-3 for x, _ in source + target)]

        def risk(domain, c):
            return sum((x > c) != bool(y) for x, y in domain) / len(domain)

        def disagreement(domain, c, d):
            return sum((x > c) != (x > d) for x, _ in domain) / len(domain)

        divergence = 2 * max(
            abs(disagreement(source, c, d) - disagreement(target, c, d)) for c in cuts for d in cuts
        )
        joint = min(risk(source, c) + risk(target, c) for c in cuts)
        assert joint > 0
        for c in cuts:
            bound = target_risk_bound(risk(source, c), divergence, joint)
            assert risk(target, c) <= bound

    @pytest.mark.parametrize(
        ("arguments", "words"),
        [
            ((-0.1, 0, 0), r"source_risk must lie in \[0, 1\]"),
            ((1.1, 0, 0), r"source_risk must lie in \[0, 1\]"),
            ((0, 2.1, 0), r"divergence must lie in \[0, 2\]"),
            ((0, -0.1, 0), r"divergence must lie in \[0, 2\]"),
            ((0, 0, 2.1), r"joint_risk must lie in \[0, 2\]"),
            ((0, 0, -0.1), r"joint_risk must lie in \[0, 2\]"),
        ],
    )
    def test_bad_input(self, arguments, words):
        with pytest.raises(ValueError, match=words):
            target_risk_bound(*arguments)


class TestImportanceWeights:
    def test_by_hand(self):
        logits = torch.tensor([0.0, math.log(2), -math.log(4)]).double()
        weights = importance_weights(logits, source_share=0.25)
        assert_close(weights, torch.tensor([1 / 3, 1 / 6, 4 / 3]).double())

    def test_gives_the_ratio_of_two_normal_densities(self):
        """The best classifier of N(0, 1) from N(1, 1) with share π has the logit log(π p_s / …)."""
        x = torch.linspace(-2, 3, 11, dtype=torch.float64)
        p_s, p_t = (torch.distributions.Normal(m, 1.0).log_prob(x).exp() for m in (0.0, 1.0))
        share = 0.7
        logits = (share * p_s / ((1 - share) * p_t)).log()
        assert_close(importance_weights(logits, source_share=share), p_t / p_s)

    def test_no_overlap_is_warned_of_at_the_caller(self):
        logits = torch.tensor([-20.0] + [20.0] * 19)
        with pytest.warns(UserWarning, match=r"20 weights are worth 1.0 equal ones.*overlap") as w:
            importance_weights(logits, source_share=0.5)
        assert [warning.filename for warning in w] == [__file__]

    @pytest.mark.parametrize("equal", [True, False])
    def test_overlap_is_not_warned_of(self, equal):
        with warnings.catch_warnings(action="error"):
            importance_weights(torch.zeros(20) if equal else normal(20), source_share=0.5)

    def test_bad_input(self):
        for share in (0, 1, 1.5, -1, math.nan):
            with pytest.raises(ValueError, match="source_share must"):
                importance_weights(normal(3), source_share=share)
        with pytest.raises(ValueError, match="domain_logits must be one logit a row"):
            importance_weights(normal(3, 2), source_share=0.5)
        with pytest.raises(ValueError, match="domain_logits must be finite"):
            importance_weights(torch.tensor([torch.inf]), source_share=0.5)


class TestImportanceWeightedRisk:
    def test_by_hand(self):
        losses, weights = scalar([1.0, 0.0, 2.0]), scalar([0.5, 4.0, 3.0])
        is_close(importance_weighted_risk(losses, weights), 6.5 / 3)

    def test_control_agrees_with_numpy(self):
        losses, weights = normal(9).abs(), normal(9, seed=1).abs()
        covariance = np.cov((weights * losses).numpy(), weights.numpy())
        eta = -covariance[0, 1] / covariance[1, 1]
        expected = (weights * losses).mean() + eta * (weights.mean() - 1)
        assert_close(importance_weighted_risk(losses, weights, control=True), expected)

    @given(SEEDS)
    def test_weights_of_one_give_the_mean(self, seed):
        losses, ones = normal(7, seed=seed), torch.ones(7).double()
        for control in (False, True):
            value = importance_weighted_risk(losses, ones, control=control)
            assert_close(value, losses.mean())

    @given(SEEDS, st.floats(-5, 5))
    def test_control_is_exact_where_all_losses_are_equal(self, seed, loss):
        weights = normal(7, seed=seed).abs()
        losses = torch.full((7,), loss, dtype=torch.float64)
        is_close(importance_weighted_risk(losses, weights, control=True), loss)

    def test_is_the_target_risk_under_covariate_shift(self):
        """Source 0 and 1 with probabilities 3/4, 1/4; target 1/4, 3/4; losses 0.2 and 0.6."""
        losses = scalar([0.2, 0.2, 0.2, 0.6])
        weights = scalar([1 / 3, 1 / 3, 1 / 3, 3.0])
        for control in (False, True):
            value = importance_weighted_risk(losses, weights, control=control)
            is_close(value, 0.25 * 0.2 + 0.75 * 0.6)

    def test_gradients(self):
        arguments = normal(5).requires_grad_(), normal(5, seed=1).abs().requires_grad_()
        for control in (False, True):
            assert gradcheck(
                lambda a, b, c=control: importance_weighted_risk(a, b, control=c), arguments
            )

    def test_bad_input(self):
        with pytest.raises(ValueError, match="shapes must be equal"):
            importance_weighted_risk(normal(3), normal(4).abs())
        with pytest.raises(ValueError, match=r"losses must have one axis, got the shape \(2, 2\)"):
            importance_weighted_risk(normal(2, 2), normal(2, 2).abs())
        with pytest.raises(ValueError, match="losses has one row only"):
            importance_weighted_risk(normal(1), normal(1).abs())
        with pytest.raises(ValueError, match="weights must not be negative, got -1"):
            importance_weighted_risk(normal(2), scalar([-1.0, 3.0]))
        with pytest.raises(ValueError, match="weights must be finite"):
            importance_weighted_risk(normal(2), scalar([math.inf, 3.0]))
        with pytest.raises(TypeError, match="losses must hold floating"):
            importance_weighted_risk(torch.tensor([0, 1]), torch.ones(2))


class TestSoftNeighbourhoodDensity:
    @given(SEEDS, st.floats(0.03, 2))
    def test_agrees_with_its_definition(self, seed, temperature):
        logits = normal(6, 3, seed=seed, scale=2)
        p = functional.normalize(logits.softmax(1)).numpy()
        rows = []
        for i in range(6):
            s = np.delete(p[i] @ p.T, i) / temperature
            q = scipy.special.softmax(s)
            rows.append(scipy.stats.entropy(q))
        value = soft_neighbourhood_density(logits, temperature=temperature)
        is_close(value, float(np.mean(rows)))
        assert 0 <= value <= math.log(5) + 1e-12

    def test_clusters_have_the_log_of_their_size_less_one(self):
        # two clusters of 5 and 3: within them similarity 1, between them 0
        logits = torch.tensor([[0.0, -1e4]] * 5 + [[-1e4, 0.0]] * 3).double()
        expected = (5 * math.log(4) + 3 * math.log(2)) / 8
        is_close(soft_neighbourhood_density(logits), expected, atol=1e-6, rtol=0)

    def test_one_class_for_all_rows_has_the_highest_score(self):
        """Its known weakness."""
        is_close(soft_neighbourhood_density(torch.zeros(6, 3)), math.log(5))

    def test_the_default_temperature(self):
        logits = normal(6, 3)
        expected = soft_neighbourhood_density(logits, temperature=0.05)
        assert soft_neighbourhood_density(logits) == expected

    def test_gradients(self):
        assert gradcheck(soft_neighbourhood_density, normal(4, 3).requires_grad_())

    def test_bad_input(self):
        with pytest.raises(ValueError, match="logits has 2 rows; neighbours need at least 3"):
            soft_neighbourhood_density(normal(2, 3))
        with pytest.raises(ValueError, match="temperature must be positive, got 0"):
            soft_neighbourhood_density(normal(4, 3), temperature=0)


@pytest.mark.parametrize("dtype", FLOATS)
def test_every_loss_keeps_the_dtype(dtype):
    logits, features, vector = (normal(4, 3, dtype=dtype), normal(4, 2, dtype=dtype), normal(4))
    vector = vector.to(dtype)
    for value in (
        domain_adversarial_loss(vector, vector),
        conditional_features(features, logits),
        certainty_weights(logits),
        classifier_discrepancy(logits, logits),
        information_maximisation(logits),
        minimum_class_confusion(logits),
        importance_weights(vector, source_share=0.5),
        importance_weighted_risk(vector, vector.abs(), control=True),
        soft_neighbourhood_density(logits),
    ):
        assert value.dtype == dtype
        assert value.isfinite().all()


@pytest.mark.parametrize(
    ("function", "arguments"),
    [
        (adaptation_loss, (scalar(1.0), scalar(2.0), 0.5)),
        (adaptation_weight, (0.5, 10.0)),
        (domain_adversarial_loss, (normal(4), normal(3), normal(4).abs())),
        (minimum_class_confusion, (normal(4, 3), 2.5)),
        (deep_jdot, (normal(3, 2), labels(3, 2), normal(4, 2), normal(4, 2), 1.0, 1.0)),
        (
            ideal_joint_risk,
            (*[normal(8, 2), torch.arange(8) % 2] * 2, torch.Generator()),
        ),
        (importance_weights, (normal(4), 0.5)),
        (importance_weighted_risk, (normal(4), normal(4).abs(), True)),
        (soft_neighbourhood_density, (normal(4, 3), 0.05)),
    ],
)
def test_settings_are_given_by_keyword_alone(function, arguments):
    """A number in the place of a setting would say nothing of which setting it is."""
    with pytest.raises(TypeError, match="positional argument"):
        function(*arguments)
