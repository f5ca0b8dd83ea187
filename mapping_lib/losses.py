r"""Losses (section 4.2): how far a prediction is from its target, as one number to minimise.

Classification losses take **logits**, the scores before softmax or sigmoid, because only so can
they be computed without overflow. All are means over examples; logarithms are natural, so
information is measured in nats. Logits must be finite.
"""

import torch
from torch import Tensor
from torch.nn.functional import logsigmoid

from mapping_lib._checks import (
    require_distribution,
    require_finite,
    require_float,
    require_logits,
    require_same_shape,
    require_tensor,
    seen,
    warn_of_distribution,
    warn_of_probabilities,
)

__all__ = ["binary_cross_entropy", "cross_entropy", "entropy", "kl_divergence", "mse"]

ONE_LOGIT = "use binary_cross_entropy for a single logit"


def mse(prediction: Tensor, target: Tensor) -> Tensor:
    r"""Mean squared error.

    .. math:: \frac{1}{n} \sum_{i=1}^{n} (\hat y_i - y_i)^2

    Taught in :ref:`mean-squared-error` (section 4.2.1).
    Source: its history in :cite:t:`stigler1981gauss`.

    Parameters
    ----------
    prediction
        Predictions :math:`\hat y` of any shape; n counts all elements.
    target
        Targets :math:`y` of the same shape.

    Returns
    -------
    Tensor
        A scalar in squared units of the target.

    Raises
    ------
    TypeError
        A tensor isn't floating point, or the dtypes differ.
    ValueError
        The shapes differ, or a tensor is empty or contains NaN.

    Examples
    --------
    >>> mse(torch.tensor([1., 5.]), torch.tensor([1., 1.]))
    tensor(8.)
    """
    require_float(prediction=prediction, target=target)
    require_same_shape(prediction=prediction, target=target)
    return ((prediction - target) ** 2).mean()


def binary_cross_entropy(logits: Tensor, target: Tensor) -> Tensor:
    r"""Cross-entropy of two classes, from the logit of the second.

    .. math::

        -\frac{1}{n} \sum_{i=1}^{n}
        \bigl[ y_i \log \sigma(z_i) + (1 - y_i) \log \sigma(-z_i) \bigr], \qquad
        \sigma(z) = \frac{1}{1 + e^{-z}}

    Taught in :ref:`cross-entropy` (section 4.2.2).
    Source: the likelihood in :cite:t:`cox1958regression`.

    Parameters
    ----------
    logits
        Logits :math:`z` of any shape; n counts all elements.
    target
        Labels 0 and 1, or probabilities :math:`y` in [0, 1], of the same shape and of any dtype.

    Returns
    -------
    Tensor
        A scalar in nats.

    Raises
    ------
    TypeError
        The logits aren't a floating-point tensor, or the target isn't a tensor.
    ValueError
        The shapes differ, a target lies outside [0, 1], or logits are empty, NaN or infinite.

    Warns
    -----
    UserWarning
        Ten or more logits, not all equal, lie in [0, 1]: they look like probabilities.

    Examples
    --------
    >>> binary_cross_entropy(torch.tensor([0., 1e9]), torch.tensor([1., 1.]))  # (log 2 + 0) / 2
    tensor(0.3466)
    """
    require_float(logits=logits)
    require_finite(logits=logits)
    warn_of_probabilities(logits=logits)
    y = _float_target(target, logits)
    if seen(((y < 0) | (y > 1)).any()):
        raise ValueError(
            f"target must lie in [0, 1], got {float(y.min()):g} to {float(y.max()):g}; "
            "write labels as 0 and 1"
        )
    return -(y * logsigmoid(logits) + (1 - y) * logsigmoid(-logits)).mean()


def cross_entropy(logits: Tensor, target: Tensor) -> Tensor:
    r"""Cross-entropy of several classes.

    .. math::

        -\frac{1}{n} \sum_{i=1}^{n} \sum_{k=1}^{K} y_{ik} \log p_{ik}, \qquad
        p_{ik} = \frac{e^{z_{ik}}}{\sum_{j} e^{z_{ij}}}

    With labels :math:`c_i` in place of probabilities :math:`y_i`, the inner sum is
    :math:`\log p_{i c_i}`.

    Taught in :ref:`cross-entropy` (section 4.2.2).
    Source: :cite:t:`bridle1990probabilistic`.

    Parameters
    ----------
    logits
        Logits :math:`z`, ``(n, K)`` with at least two classes.
    target
        Labels ``(n,)``, integers from 0 to K - 1; or probabilities :math:`y`, ``(n, K)``.

    Returns
    -------
    Tensor
        A scalar in nats.

    Raises
    ------
    TypeError
        The logits aren't a floating-point tensor, or labels aren't integers.
    ValueError
        The shapes don't fit, there is only one class, a label is out of range, target rows aren't
        probabilities, or logits are empty, NaN or infinite.

    Warns
    -----
    UserWarning
        Every row of logits is a probability distribution.

    Examples
    --------
    >>> cross_entropy(torch.tensor([[0., 0., 0., -1e9]]), torch.tensor([2]))  # log 3
    tensor(1.0986)
    """
    require_logits(logits=logits, instead=ONE_LOGIT)
    require_tensor(target=target)
    warn_of_distribution(logits=logits)
    log_p = logits.log_softmax(dim=1)
    if target.ndim == 1:
        _require_labels(target, logits)
        return -log_p.gather(1, target.long().unsqueeze(1)).mean()
    y = _float_target(target, logits)
    require_distribution("target", y)
    return -(y * log_p).sum(dim=1).mean()


def kl_divergence(logits: Tensor, reference_logits: Tensor) -> Tensor:
    r"""Kullback-Leibler divergence of distributions from reference distributions.

    .. math::

        \frac{1}{n} \sum_{i=1}^{n} \sum_{k=1}^{K} p_{ik} \log \frac{p_{ik}}{q_{ik}}, \qquad
        p_i = \operatorname{softmax}(z_i), \quad q_i = \operatorname{softmax}(r_i)

    It isn't symmetric: mistakes count where :math:`p` has its mass.

    Taught in :ref:`cross-entropy` (section 4.2.2).
    Source: :cite:t:`kullback1951information`.

    Parameters
    ----------
    logits
        Logits :math:`z` of :math:`p`, ``(n, K)`` with at least two classes.
    reference_logits
        Logits :math:`r` of :math:`q`, ``(n, K)``.

    Returns
    -------
    Tensor
        A scalar in nats, not negative, 0 where the distributions are equal.

    Raises
    ------
    TypeError
        A tensor isn't floating point, or the dtypes differ.
    ValueError
        The shapes differ, there is only one class, or logits are empty, NaN or infinite.

    Warns
    -----
    UserWarning
        Every row of one argument is a probability distribution.

    Examples
    --------
    >>> kl_divergence(torch.tensor([[0., 0., -1e9]]), torch.tensor([[0., 0., 0.]]))  # log 3/2
    tensor(0.4055)
    """
    require_logits(logits=logits, reference_logits=reference_logits, instead=ONE_LOGIT)
    require_same_shape(logits=logits, reference_logits=reference_logits)
    warn_of_distribution(logits=logits, reference_logits=reference_logits)
    log_p = logits.log_softmax(dim=1)
    log_q = reference_logits.log_softmax(dim=1)
    return (log_p.exp() * (log_p - log_q)).sum(dim=1).mean()


def entropy(logits: Tensor) -> Tensor:
    r"""Mean entropy of predicted distributions: how undecided they are.

    .. math::

        -\frac{1}{n} \sum_{i=1}^{n} \sum_{k=1}^{K} p_{ik} \log p_{ik}, \qquad
        p_i = \operatorname{softmax}(z_i)

    Taught in :ref:`cross-entropy` (section 4.2.2).
    Source: :cite:t:`shannon1948mathematical`, section 6.

    Parameters
    ----------
    logits
        Logits :math:`z`, ``(n, K)`` with at least two classes.

    Returns
    -------
    Tensor
        A scalar in nats, between 0 and log K.

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
    >>> entropy(torch.tensor([[0., 0., -1e9], [5., -1e9, -1e9]]))  # (log 2 + 0) / 2
    tensor(0.3466)
    """
    require_logits(logits=logits, instead=ONE_LOGIT)
    warn_of_distribution(logits=logits)
    log_p = logits.log_softmax(dim=1)
    return -(log_p.exp() * log_p).sum(dim=1).mean()


def _require_labels(target: Tensor, logits: Tensor) -> None:
    n, K = logits.shape
    if target.is_floating_point() or target.is_complex() or target.dtype == torch.bool:
        raise TypeError(f"labels must be integers, got {target.dtype}; use target.long()")
    if len(target) != n:
        raise ValueError(f"got {len(target)} labels for {n} rows of logits; give one label a row")
    if seen(((target < 0) | (target >= K)).any()):
        raise ValueError(
            f"labels must lie between 0 and {K - 1}, got {int(target.min())} to "
            f"{int(target.max())}; count classes from 0"
        )


def _float_target(target: Tensor, logits: Tensor) -> Tensor:
    """Give a target of the logits' shape in their dtype: labels become 0.0 and 1.0."""
    require_tensor(target=target)
    y = target.to(logits.dtype)
    require_float(target=y)
    require_same_shape(logits=logits, target=y)
    return y
