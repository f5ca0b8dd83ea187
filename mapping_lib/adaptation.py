r"""Domain adaptation (section 4.3.1): labels on the source, none on the target.

The problem is :math:`\min_\theta L_s + \lambda L_d`. Here are that sum and its schedule, the domain
losses :math:`L_d` that distances between samples (:mod:`mapping_lib.distances`) don't cover, the
terms of the bound that says why the sum helps, and scores that choose :math:`\lambda` without
target labels.
"""

import math

import torch
from torch import Tensor
from torch.nn.functional import logsigmoid

from mapping_lib._checks import (
    place_of,
    require_features,
    require_finite,
    require_float,
    require_labels,
    require_logits,
    require_number,
    require_same_shape,
    require_scalar,
    require_tensor,
    seen,
    shape,
    warn_of_distribution,
    warn_of_few,
)

__all__ = [
    "adaptation_loss",
    "adaptation_weight",
    "certainty_weights",
    "classifier_discrepancy",
    "conditional_features",
    "deep_jdot",
    "domain_adversarial_loss",
    "ideal_joint_risk",
    "importance_weighted_risk",
    "importance_weights",
    "information_maximisation",
    "minimum_class_confusion",
    "reverse_gradient",
    "soft_neighbourhood_density",
    "target_risk_bound",
]


def adaptation_loss(source_loss: Tensor, domain_loss: Tensor, *, weight: float) -> Tensor:
    r"""The objective of domain adaptation.

    .. math:: L_s + \lambda L_d

    Taught in :ref:`domain-adaptation` (section 4.3.1).
    Source: the form shared by the methods in :cite:t:`ganin2016domain` and
    :cite:t:`damodaran2018deepjdot`.

    Parameters
    ----------
    source_loss
        :math:`L_s`, a scalar: the loss on the labelled source.
    domain_loss
        :math:`L_d`, a scalar: how far the domains are apart, or what else the target says.
    weight
        :math:`\lambda`, not negative.

    Returns
    -------
    Tensor
        A scalar.

    Raises
    ------
    TypeError
        A loss isn't a floating-point tensor, or the dtypes differ.
    ValueError
        A loss isn't a scalar or is NaN, or the weight is negative or not finite.

    Examples
    --------
    >>> adaptation_loss(torch.tensor(1.), torch.tensor(4.), weight=0.5)
    tensor(3.)
    """
    require_float(source_loss=source_loss, domain_loss=domain_loss)
    require_scalar(source_loss=source_loss, domain_loss=domain_loss)
    require_number("weight", weight, below=math.inf)
    return source_loss + weight * domain_loss


def adaptation_weight(progress: float, *, gamma: float = 10.0) -> float:
    r"""The share of :math:`\lambda` in use after a share of the training.

    .. math:: \lambda(p) = \frac{2}{1 + e^{-\gamma p}} - 1

    It rises from 0 to :math:`\tanh(\gamma / 2)`. With :math:`\gamma = 10` that is 0.9999; with
    :math:`\gamma = 1`, as some implementations have it, the weight ends at 0.46.

    Taught in :ref:`domain-adaptation` (section 4.3.1).
    Source: :cite:t:`ganin2016domain`, section 5.2.

    Parameters
    ----------
    progress
        :math:`p`, the share of the training done, from 0 to 1.
    gamma
        :math:`\gamma`, how fast the weight rises.

    Returns
    -------
    float
        From 0 to 1, to multiply :math:`\lambda` by.

    Raises
    ------
    TypeError
        An argument isn't a number.
    ValueError
        The progress lies outside [0, 1], or :math:`\gamma` is negative or not finite.

    Examples
    --------
    >>> [round(adaptation_weight(p), 4) for p in (0, 0.1, 1)]
    [0.0, 0.4621, 0.9999]
    """
    require_number("progress", progress, most=1)
    require_number("gamma", gamma, below=math.inf)
    return 2 / (1 + math.exp(-gamma * progress)) - 1


class _Reversal(torch.autograd.Function):
    """Identity whose gradient is multiplied by -weight."""

    generate_vmap_rule = True

    @staticmethod
    def forward(features: Tensor, weight: float) -> Tensor:
        return features.view_as(features)

    @staticmethod
    def setup_context(ctx, inputs, output):  # type: ignore[no-untyped-def]
        ctx.weight = inputs[1]

    @staticmethod
    def backward(ctx, gradient):  # type: ignore[no-untyped-def]
        return -ctx.weight * gradient, None

    @staticmethod
    def jvp(ctx, tangent, _):  # type: ignore[no-untyped-def]
        return -ctx.weight * tangent


def reverse_gradient(features: Tensor, weight: float = 1.0) -> Tensor:
    r"""Return the features as they are, and reverse the gradient that flows back.

    .. math:: R(f) = f, \qquad \frac{\partial R}{\partial f} = -\lambda I

    What stands behind the reversal is trained to lower a loss, what stands before it to raise the
    same loss: a min-max problem by one backward pass.

    Taught in :ref:`domain-adaptation` (section 4.3.1).
    Source: :cite:t:`ganin2016domain`, section 4.2.

    Parameters
    ----------
    features
        :math:`f`, of any shape.
    weight
        :math:`\lambda`, not negative.

    Returns
    -------
    Tensor
        The features themselves.

    Raises
    ------
    TypeError
        The features aren't a floating-point tensor, or the weight isn't a number.
    ValueError
        The features are empty or contain NaN, or the weight is negative or not finite.

    Examples
    --------
    >>> f = torch.tensor([3.], requires_grad=True)
    >>> (2 * reverse_gradient(f, 0.5)).sum().backward()
    >>> f.grad
    tensor([-1.])
    """
    require_float(features=features)
    require_number("weight", weight, below=math.inf)
    return _Reversal.apply(features, float(weight))  # type: ignore[no-any-return]


def domain_adversarial_loss(
    source_logits: Tensor,
    target_logits: Tensor,
    *,
    source_weights: Tensor | None = None,
    target_weights: Tensor | None = None,
) -> Tensor:
    r"""Cross-entropy of a discriminator that tells the source (1) from the target (0).

    .. math::

        -\frac{1}{2} \Bigl[ \frac{1}{n_s} \sum_{i=1}^{n_s} \log \sigma(d^s_i)
        + \frac{1}{n_t} \sum_{j=1}^{n_t} \log \sigma(-d^t_j) \Bigr], \qquad
        \sigma(d) = \frac{1}{1 + e^{-d}}

    Both domains count the same, however many rows each has. With weights, each mean is a weighted
    one. The discriminator gets its features through :func:`reverse_gradient`. Its least value over
    all discriminators is log 2 less the Jensen-Shannon divergence of the domains, so log 2 is what
    a discriminator that can't tell them apart has.

    Taught in :ref:`domain-adaptation` (section 4.3.1).
    Source: :cite:t:`ganin2016domain`; weights: :cite:t:`long2018conditional`.

    Parameters
    ----------
    source_logits, target_logits
        One logit a row, :math:`d^s` and :math:`d^t`: ``(n_s,)`` and ``(n_t,)``, or with a second
        axis of length 1.
    source_weights, target_weights
        Weights of the rows, ``(n_s,)`` and ``(n_t,)``, not negative; None weighs all the same.

    Returns
    -------
    Tensor
        A scalar in nats.

    Raises
    ------
    TypeError
        A tensor isn't floating point, or the dtypes differ.
    ValueError
        There are several logits a row, the weights don't fit, are negative or all 0, or a tensor
        is empty, NaN or infinite.

    Examples
    --------
    >>> domain_adversarial_loss(torch.tensor([0.]), torch.tensor([0., -1e9]))  # 3/4 log 2
    tensor(0.5199)
    """
    source, target = (
        _one_logit(name, logits)
        for name, logits in (("source_logits", source_logits), ("target_logits", target_logits))
    )
    require_float(source_logits=source, target_logits=target)
    require_finite(source_logits=source, target_logits=target)
    source_mean = _weighted_mean(logsigmoid(source), source_weights, "source_weights")
    target_mean = _weighted_mean(logsigmoid(-target), target_weights, "target_weights")
    return -(source_mean + target_mean) / 2


def conditional_features(features: Tensor, logits: Tensor) -> Tensor:
    r"""What the discriminator of conditional adversarial adaptation (CDAN) sees.

    .. math:: f_i \otimes p_i = \operatorname{vec} (f_i p_i^\top), \qquad
        p_i = \operatorname{softmax}(z_i)

    The product lets it compare the domains class by class.

    Taught in :ref:`domain-adaptation` (section 4.3.1).
    Source: :cite:t:`long2018conditional`, section 3.2.

    Parameters
    ----------
    features
        :math:`f`, ``(n, d)``.
    logits
        :math:`z`, ``(n, K)`` with at least two classes; detach them to keep the classifier out of
        the game.

    Returns
    -------
    Tensor
        Products ``(n, d K)``, those of the first feature with all classes first.

    Raises
    ------
    TypeError
        A tensor isn't floating point, or the dtypes differ.
    ValueError
        The numbers of rows differ, there is only one class, or a tensor is no matrix, empty, NaN
        or infinite.

    Warns
    -----
    UserWarning
        Every row of logits is a probability distribution.

    Examples
    --------
    >>> conditional_features(torch.tensor([[2., 4.]]), torch.tensor([[0., 0.]]))
    tensor([[1., 1., 2., 2.]])
    """
    require_features(features=features)
    require_float(features=features, logits=logits)
    require_logits(logits=logits)
    warn_of_distribution(logits=logits)
    _require_rows(len(features), logits=logits)
    return (features.unsqueeze(2) * logits.softmax(dim=1).unsqueeze(1)).flatten(1)


def certainty_weights(logits: Tensor) -> Tensor:
    r"""Weights that prefer rows of which the classifier is sure.

    .. math:: w_i = 1 + e^{-H(p_i)}, \qquad H(p) = -\sum_{k=1}^{K} p_k \log p_k, \qquad
        p_i = \operatorname{softmax}(z_i)

    Taught in :ref:`domain-adaptation` (section 4.3.1).
    Source: :cite:t:`long2018conditional`, section 3.3.

    Parameters
    ----------
    logits
        :math:`z`, ``(n, K)`` with at least two classes.

    Returns
    -------
    Tensor
        Weights ``(n,)`` between 1 + 1/K and 2, without gradient.

    Raises
    ------
    TypeError
        The logits aren't a floating-point tensor.
    ValueError
        The logits aren't a matrix, have only one class, or are empty, NaN or infinite.

    Warns
    -----
    UserWarning
        Every row of logits is a probability distribution.

    Examples
    --------
    >>> certainty_weights(torch.tensor([[0., 0.], [9., -1e9]]))
    tensor([1.5000, 2.0000])
    """
    require_logits(logits=logits)
    warn_of_distribution(logits=logits)
    return 1 + torch.exp(-_entropies(logits.detach()))


def classifier_discrepancy(logits: Tensor, other_logits: Tensor) -> Tensor:
    r"""How far two classifiers disagree on the same rows (maximum classifier discrepancy, MCD).

    .. math::

        \frac{1}{n} \sum_{i=1}^{n} \frac{1}{K} \sum_{k=1}^{K} \lvert p_{ik} - q_{ik} \rvert, \qquad
        p_i = \operatorname{softmax}(z_i), \quad q_i = \operatorname{softmax}(r_i)

    The classifiers raise it on the target, the features lower it.

    Taught in :ref:`domain-adaptation` (section 4.3.1).
    Source: :cite:t:`saito2018maximum`, section 3.

    Parameters
    ----------
    logits, other_logits
        :math:`z` and :math:`r` of the two classifiers, ``(n, K)`` with at least two classes.

    Returns
    -------
    Tensor
        A scalar between 0 and 2/K.

    Raises
    ------
    TypeError
        A tensor isn't floating point, or the dtypes differ.
    ValueError
        The shapes differ, there is only one class, or a tensor is no matrix, empty, NaN or
        infinite.

    Warns
    -----
    UserWarning
        Every row of one argument is a probability distribution.

    Examples
    --------
    >>> classifier_discrepancy(torch.tensor([[0., 0.]]), torch.tensor([[0., -1e9]]))
    tensor(0.5000)
    """
    require_logits(logits=logits, other_logits=other_logits)
    require_same_shape(logits=logits, other_logits=other_logits)
    warn_of_distribution(logits=logits, other_logits=other_logits)
    return (logits.softmax(dim=1) - other_logits.softmax(dim=1)).abs().mean()


def information_maximisation(logits: Tensor) -> Tensor:
    r"""Mean entropy of the predictions less the entropy of their mean.

    .. math::

        \frac{1}{n} \sum_{i=1}^{n} H(p_i) - H\Bigl(\frac{1}{n} \sum_{i=1}^{n} p_i\Bigr), \qquad
        p_i = \operatorname{softmax}(z_i)

    It is least when each prediction is sure and all classes are predicted equally often: the
    negative of the information that a row holds on its predicted class. The first term alone is
    entropy minimisation, :func:`mapping_lib.losses.entropy`, which one class for all rows satisfies
    as well.

    Taught in :ref:`domain-adaptation` (section 4.3.1).
    Source: :cite:t:`krause2010discriminative`; on a target domain :cite:t:`liang2020shot`.

    Parameters
    ----------
    logits
        :math:`z` on the target, ``(n, K)`` with at least two classes.

    Returns
    -------
    Tensor
        A scalar in nats, between -log K and 0.

    Raises
    ------
    TypeError
        The logits aren't a floating-point tensor.
    ValueError
        The logits aren't a matrix, have only one class or one row, or are empty, NaN or infinite.

    Warns
    -----
    UserWarning
        Every row of logits is a probability distribution.

    Examples
    --------
    >>> information_maximisation(torch.tensor([[0., -1e9], [-1e9, 0.]]))  # -log 2
    tensor(-0.6931)
    """
    require_logits(logits=logits)
    _require_two_rows(logits=logits)
    warn_of_distribution(logits=logits)
    log_mean = logits.log_softmax(dim=1).logsumexp(dim=0) - math.log(len(logits))
    return _entropies(logits).mean() + (log_mean.exp() * log_mean).sum()


def minimum_class_confusion(logits: Tensor, *, temperature: float = 2.5) -> Tensor:
    r"""The share of predictions that falls on pairs of different classes.

    .. math::

        \frac{1}{K} \sum_{k=1}^{K} \sum_{l \ne k} \frac{C_{kl}}{\sum_{m} C_{km}}, \qquad
        C_{kl} = \sum_{i=1}^{n} w_i\, p_{ik}\, p_{il}, \qquad
        p_i = \operatorname{softmax}(z_i / T), \quad
        w_i = \frac{n (1 + e^{-H(p_i)})}{\sum_{j} (1 + e^{-H(p_j)})}

    The weights :math:`w_i` get no gradient.

    Taught in :ref:`domain-adaptation` (section 4.3.1).
    Source: :cite:t:`jin2020minimum`, section 3.

    Parameters
    ----------
    logits
        :math:`z` on the target, ``(n, K)`` with at least two classes.
    temperature
        :math:`T`, positive.

    Returns
    -------
    Tensor
        A scalar between 0 and 1 - 1/K.

    Raises
    ------
    TypeError
        The logits aren't a floating-point tensor.
    ValueError
        The temperature isn't positive, or the logits aren't a matrix, have only one class or one
        row, or are empty, NaN or infinite.

    Warns
    -----
    UserWarning
        Every row of logits is a probability distribution.

    Examples
    --------
    >>> minimum_class_confusion(torch.tensor([[0., -1e9], [0., -1e9], [-1e9, 0.]]))
    tensor(0.)
    >>> minimum_class_confusion(torch.zeros(3, 4))
    tensor(0.7500)
    """
    require_logits(logits=logits)
    _require_two_rows(logits=logits)
    warn_of_distribution(logits=logits)
    _require_positive("temperature", temperature)
    n, K = logits.shape
    scaled = logits / temperature
    weights = 1 + torch.exp(-_entropies(scaled.detach()))
    weights = n * weights / weights.sum()
    p = scaled.softmax(dim=1)
    confusion = p.T @ (weights.unsqueeze(1) * p)
    totals = confusion.sum(dim=1, keepdim=True)
    # A class that nothing is predicted as is confused with nothing.
    shares = confusion / totals.clamp_min(torch.finfo(logits.dtype).tiny)
    return (shares.sum() - shares.diagonal().sum()) / K


def deep_jdot(
    source_features: Tensor,
    source_labels: Tensor,
    target_features: Tensor,
    target_logits: Tensor,
    *,
    feature_weight: float,
    label_weight: float,
) -> Tensor:
    r"""Cost of moving the source's features and labels to the target's features and predictions.

    .. math::

        \min_{P \in \Pi} \sum_{i=1}^{n_s} \sum_{j=1}^{n_t} P_{ij}
        \bigl( \alpha \lVert f^s_i - f^t_j \rVert^2 - \beta \log p^t_{j y_i} \bigr), \qquad
        \Pi = \Bigl\{ P \ge 0 : \sum_j P_{ij} = \frac{1}{n_s},\ \sum_i P_{ij} = \frac{1}{n_t}
        \Bigr\}

    The plan is exact, and gets no gradient: at the minimum it needs none.

    Taught in :ref:`domain-adaptation` (section 4.3.1).
    Source: :cite:t:`damodaran2018deepjdot`, section 3.

    Parameters
    ----------
    source_features
        :math:`f^s`, ``(n_s, d)``.
    source_labels
        :math:`y`, ``(n_s,)``, integers from 0 to K - 1.
    target_features
        :math:`f^t`, ``(n_t, d)``.
    target_logits
        Of the classifier on the target, ``(n_t, K)`` with at least two classes.
    feature_weight
        :math:`\alpha`, not negative.
    label_weight
        :math:`\beta`, not negative.

    Returns
    -------
    Tensor
        A scalar.

    Raises
    ------
    TypeError
        A tensor isn't floating point, the dtypes differ, or the labels aren't integers.
    ValueError
        Shapes don't fit, a label is out of range, a weight is negative, or a tensor is empty, NaN
        or infinite.

    Warns
    -----
    UserWarning
        Every row of logits is a probability distribution.

    Examples
    --------
    >>> deep_jdot(
    ...     torch.tensor([[0.], [1.]]), torch.tensor([0, 1]),
    ...     torch.tensor([[1.], [3.]]), torch.tensor([[0., 0.], [0., 0.]]),
    ...     feature_weight=1, label_weight=0,
    ... )  # (1 + 4) / 2
    tensor(2.5000)
    """
    require_features(source_features=source_features, target_features=target_features)
    require_float(target_features=target_features, target_logits=target_logits)
    require_logits(target_logits=target_logits)
    warn_of_distribution(target_logits=target_logits)
    _require_rows(len(target_features), target_logits=target_logits)
    require_labels("source_labels", source_labels, len(source_features), target_logits.shape[1])
    require_number("feature_weight", feature_weight, below=math.inf)
    require_number("label_weight", label_weight, below=math.inf)
    apart = (source_features.unsqueeze(1) - target_features.unsqueeze(0)).square().sum(dim=2)
    surprise = -target_logits.log_softmax(dim=1).T[source_labels.long()]  # (n_s, n_t)
    cost = feature_weight * apart + label_weight * surprise
    return (_optimal_plan(cost.detach()) * cost).sum()


def ideal_joint_risk(
    source: Tensor,
    source_labels: Tensor,
    target: Tensor,
    target_labels: Tensor,
    *,
    generator: torch.Generator,
    held_out: float = 0.5,
    regularisation: float = 1.0,
) -> float:
    r"""Estimate the least sum of both risks that one linear classifier reaches on features.

    .. math:: \lambda^* = \min_{h} \bigl[ \varepsilon_s(h) + \varepsilon_t(h) \bigr]

    A logistic regression is fitted to rows of both domains, each domain weighing the same, and its
    errors are counted on the other rows. It needs target labels: it explains results, it can't
    choose anything. Since the classifier lowers another loss on other rows, the estimate is too
    high rather than too low.

    Taught in :ref:`domain-adaptation` (section 4.3.1).
    Source: the constant :math:`\lambda` in :cite:t:`bendavid2010theory`.

    Parameters
    ----------
    source, target
        Features, ``(n_s, d)`` and ``(n_t, d)``, four rows at least.
    source_labels, target_labels
        Integers from 0, ``(n_s,)`` and ``(n_t,)``.
    generator
        Draws which rows are held out.
    held_out
        The share of the rows of each domain on which the errors are counted, in (0, 1).
    regularisation
        Weight of half the squared norm of the classifier's coefficients, beside the summed
        log-loss of standardised features.

    Returns
    -------
    float
        Between 0 and 2.

    Raises
    ------
    TypeError
        The features aren't floating point, their dtypes differ, or labels aren't integers.
    ValueError
        Shapes don't fit, a set has fewer than four rows, the rows to fit have one class only,
        features are NaN or infinite, or the share or the weight is out of range.

    Examples
    --------
    >>> x, y = torch.tensor([-1.] * 8 + [1.] * 8).reshape(16, 1), torch.tensor([0] * 8 + [1] * 8)
    >>> ideal_joint_risk(x, y, x, y, generator=torch.Generator().manual_seed(0))
    0.0
    """
    require_features(least=4, source=source, target=target)
    for name, features, labels in (
        ("source_labels", source, source_labels),
        ("target_labels", target, target_labels),
    ):
        require_labels(name, labels, len(features))
    require_number("held_out", held_out, below=1)
    _require_positive("held_out", held_out)
    _require_positive("regularisation", regularisation)
    from sklearn.linear_model import LogisticRegression
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    train_rows, train_labels, weights, tests = [], [], [], []
    for rows, labels in ((source, source_labels), (target, target_labels)):
        order = torch.randperm(len(rows), generator=generator, device=place_of(generator)).cpu()
        count = min(max(1, round(held_out * len(rows))), len(rows) - 1)
        values, truth = rows.detach().cpu().double()[order], labels.cpu()[order]
        tests.append((values[:count].numpy(), truth[:count].numpy()))
        train_rows.append(values[count:])
        train_labels.append(truth[count:])
        weights.append(torch.full((len(rows) - count,), 1 / (len(rows) - count), device="cpu"))
    truth, weight = torch.cat(train_labels), torch.cat(weights)
    if (truth == truth[0]).all():
        raise ValueError(
            f"the rows to fit have only class {int(truth[0])}; give rows of at least two classes"
        )
    model = make_pipeline(StandardScaler(), LogisticRegression(C=1 / regularisation, max_iter=1000))
    model.fit(
        torch.cat(train_rows).numpy(),
        truth.numpy(),
        logisticregression__sample_weight=(weight * len(weight) / 2).numpy(),
    )
    return float(sum((model.predict(rows) != truth).mean() for rows, truth in tests))


def target_risk_bound(source_risk: float, divergence: float, joint_risk: float) -> float:
    r"""Ben-David's bound on the risk in the target domain.

    .. math:: \varepsilon_t(h) \le \varepsilon_s(h)
        + \frac{1}{2} d_{\mathcal{H} \Delta \mathcal{H}}(\mathcal{D}_s, \mathcal{D}_t) + \lambda^*

    It holds for true risks, and for measured ones up to sampling error.

    Taught in :ref:`domain-adaptation` (section 4.3.1).
    Source: :cite:t:`bendavid2010theory`, theorem 2.

    Parameters
    ----------
    source_risk
        :math:`\varepsilon_s(h)`, from 0 to 1.
    divergence
        :math:`d`, from 0 to 2, such as :func:`mapping_lib.distances.proxy_a_distance` estimates it
        from below.
    joint_risk
        :math:`\lambda^*`, from 0 to 2, see :func:`ideal_joint_risk`.

    Returns
    -------
    float
        The right-hand side. Above 1 it says nothing.

    Raises
    ------
    TypeError
        An argument isn't a number.
    ValueError
        An argument is out of its range.

    Examples
    --------
    >>> target_risk_bound(0.25, 0.5, 0.125)
    0.625
    """
    require_number("source_risk", source_risk, most=1)
    require_number("divergence", divergence, most=2)
    require_number("joint_risk", joint_risk, most=2)
    return source_risk + divergence / 2 + joint_risk


def importance_weights(domain_logits: Tensor, *, source_share: float) -> Tensor:
    r"""Density ratio target over source, from a classifier that tells the domains apart.

    .. math::

        w_i = \frac{p_t(x_i)}{p_s(x_i)} = \frac{\pi}{1 - \pi}\, e^{-d_i}, \qquad
        d_i = \log \frac{P(\text{source} \mid x_i)}{P(\text{target} \mid x_i)}

    Taught in :ref:`domain-adaptation` (section 4.3.1).
    Source: :cite:t:`bickel2007discriminative`.

    Parameters
    ----------
    domain_logits
        :math:`d` on source rows, ``(n,)``.
    source_share
        :math:`\pi`, the source's share of the rows that the classifier was trained on.

    Returns
    -------
    Tensor
        Weights ``(n,)``.

    Raises
    ------
    TypeError
        The logits aren't a floating-point tensor.
    ValueError
        There is more than one logit a row, one is NaN or infinite, or the share isn't strictly
        between 0 and 1.

    Warns
    -----
    UserWarning
        The weights are worth less than a tenth of their number: the domains hardly overlap.

    Examples
    --------
    >>> importance_weights(torch.tensor([0., 0.]), source_share=0.75)
    tensor([3., 3.])
    """
    logits = _one_logit("domain_logits", domain_logits)
    require_float(domain_logits=logits)
    require_finite(domain_logits=logits)
    require_number("source_share", source_share, below=1)
    if source_share == 0:
        raise ValueError("source_share must be positive, got 0: the source has rows")
    weights = source_share / (1 - source_share) * torch.exp(-logits)
    warn_of_few(weights)
    return weights


def importance_weighted_risk(losses: Tensor, weights: Tensor, *, control: bool = False) -> Tensor:
    r"""Estimate the risk in the target domain from losses on the source.

    .. math::

        \frac{1}{n} \sum_{i=1}^{n} w_i \ell_i \quad (\text{IWV}), \qquad
        \frac{1}{n} \sum_{i=1}^{n} w_i \ell_i + \eta \Bigl( \frac{1}{n} \sum_{i=1}^{n} w_i - 1
        \Bigr), \quad \eta = -\frac{\operatorname{Cov}(w \ell, w)}{\operatorname{Var}(w)}
        \quad (\text{DEV})

    Unbiased where only the inputs' distribution differs, :math:`P_s(y \mid x) = P_t(y \mid x)`, and
    the weights are the density ratio. Deep embedded validation (DEV) uses that the weights' mean
    is known to be 1 in order to reduce the variance.

    Taught in :ref:`domain-adaptation` (section 4.3.1).
    Source: :cite:t:`sugiyama2007covariate`; with control :cite:t:`you2019towards`.

    Parameters
    ----------
    losses
        :math:`\ell` on held-out source rows, ``(n,)``, such as 0 for right and 1 for wrong.
    weights
        :math:`w`, ``(n,)``, not negative, such as from :func:`importance_weights`.
    control
        Whether to add the second term.

    Returns
    -------
    Tensor
        A scalar in units of the losses; with control it may be negative.

    Raises
    ------
    TypeError
        A tensor isn't floating point, or the dtypes differ.
    ValueError
        The shapes differ or have more than one axis, there are fewer than two rows, or a weight is
        negative, NaN or infinite.

    Examples
    --------
    >>> losses, weights = torch.tensor([0., 0., 1., 1.]), torch.tensor([1., 2., 1., 2.])
    >>> importance_weighted_risk(losses, weights)
    tensor(0.7500)
    >>> importance_weighted_risk(losses, weights, control=True)  # slope 1/2, mean weight 3/2
    tensor(0.5000)
    """
    require_float(losses=losses, weights=weights)
    require_same_shape(losses=losses, weights=weights)
    if losses.ndim != 1:
        raise ValueError(f"losses must have one axis, got the shape {shape(losses)}; don't reduce")
    _require_two_rows(losses=losses)
    require_finite(losses=losses, weights=weights)
    if seen((weights < 0).any()):
        raise ValueError(f"weights must not be negative, got {float(weights.min()):g}")
    weighted = weights * losses
    if not control:
        return weighted.mean()
    spread = weights - weights.mean()
    variance = spread.square().mean()
    slope = (spread * weighted).mean() / torch.where(variance > 0, variance, 1)
    return weighted.mean() - slope * (weights.mean() - 1)


def soft_neighbourhood_density(logits: Tensor, *, temperature: float = 0.05) -> Tensor:
    r"""Score of a classifier on the target without labels: the higher, the better it should be.

    .. math::

        \frac{1}{n} \sum_{i=1}^{n} H(q_i), \qquad
        q_{ij} = \frac{e^{s_{ij} / T}}{\sum_{m \ne i} e^{s_{im} / T}}, \quad
        s_{ij} = \frac{p_i^\top p_j}{\lVert p_i \rVert\, \lVert p_j \rVert}, \quad
        p_i = \operatorname{softmax}(z_i)

    It is high where each row has many equal neighbours among the predictions, which clusters give
    and scattered predictions don't. A classifier that gives all rows one class has the highest
    score of all, log (n - 1).

    Taught in :ref:`domain-adaptation` (section 4.3.1).
    Source: :cite:t:`saito2021tune`, section 3.

    Parameters
    ----------
    logits
        :math:`z` on the target, ``(n, K)`` with at least two classes and three rows.
    temperature
        :math:`T`, positive.

    Returns
    -------
    Tensor
        A scalar in nats, between 0 and log (n - 1).

    Raises
    ------
    TypeError
        The logits aren't a floating-point tensor.
    ValueError
        The temperature isn't positive, there are fewer than three rows or only one class, or the
        logits aren't a matrix, are empty, NaN or infinite.

    Warns
    -----
    UserWarning
        Every row of logits is a probability distribution.

    Examples
    --------
    >>> soft_neighbourhood_density(torch.tensor([[0., -9.], [0., -9.], [0., -9.]]))  # log 2
    tensor(0.6931)
    """
    require_logits(logits=logits)
    warn_of_distribution(logits=logits)
    _require_positive("temperature", temperature)
    if len(logits) < 3:
        raise ValueError(f"logits has {len(logits)} rows; neighbours need at least 3")
    p = logits.softmax(dim=1)
    p = p / p.square().sum(dim=1, keepdim=True).sqrt()
    own = torch.eye(len(p), dtype=torch.bool, device=p.device)
    log_q = (p @ p.T / temperature).masked_fill(own, -math.inf).log_softmax(dim=1)
    return (log_q.exp() * -log_q.masked_fill(own, 0)).sum(dim=1).mean()


def _entropies(logits: Tensor) -> Tensor:
    log_p = logits.log_softmax(dim=1)
    return -(log_p.exp() * log_p).sum(dim=1)


def _weighted_mean(values: Tensor, weights: Tensor | None, name: str) -> Tensor:
    if weights is None:
        return values.mean()
    require_float(**{name: weights, "logits": values})
    if weights.shape != values.shape:
        raise ValueError(
            f"{name} must be one number for each of {len(values)} rows, got the shape "
            f"{shape(weights)}"
        )
    require_finite(**{name: weights})
    if seen((weights < 0).any() | (weights.sum() == 0)):
        raise ValueError(
            f"{name} must not be negative nor all zero, got {weights.min():g} at least"
        )
    return (weights * values).sum() / weights.sum()


def _optimal_plan(cost: Tensor) -> Tensor:
    """Return the plan of least cost between uniform weights."""
    n, m = cost.shape
    matrix = cost.double().cpu().numpy()
    if n == m:
        from scipy.optimize import linear_sum_assignment

        rows, columns = linear_sum_assignment(matrix)
        plan = torch.zeros(n, m, dtype=torch.float64, device="cpu")
        plan[torch.from_numpy(rows), torch.from_numpy(columns)] = 1 / n
    else:
        from scipy.optimize import linprog
        from scipy.sparse import eye, kron, vstack

        sums = vstack([kron(eye(n), [[1.0] * m]), kron([[1.0] * n], eye(m))])  # of rows, of columns
        due = [1 / n] * n + [1 / m] * m
        found = linprog(matrix.ravel(), A_eq=sums.tocsr(), b_eq=due, method="highs")
        plan = torch.from_numpy(found.x).reshape(n, m)
    return plan.to(cost)


def _one_logit(name: str, logits: Tensor) -> Tensor:
    """Give one logit a row as a vector."""
    require_tensor(**{name: logits})
    if logits.ndim == 2 and logits.shape[1] == 1:
        logits = logits.squeeze(1)
    if logits.ndim != 1:
        raise ValueError(
            f"{name} must be one logit a row, (n,) or (n, 1), got the shape {shape(logits)}; a "
            "discriminator of two domains has one output"
        )
    return logits


def _require_two_rows(**tensors: Tensor) -> None:
    for name, tensor in tensors.items():
        if len(tensor) < 2:
            raise ValueError(f"{name} has one row only; at least 2 are needed")


def _require_rows(n: int, **tensors: Tensor) -> None:
    for name, tensor in tensors.items():
        if len(tensor) != n:
            raise ValueError(
                f"{name} has {len(tensor)} rows where the features have {n}; give one row each"
            )


def _require_positive(name: str, value: float) -> None:
    require_number(name, value, below=math.inf)
    if value == 0:
        raise ValueError(f"{name} must be positive, got 0")
