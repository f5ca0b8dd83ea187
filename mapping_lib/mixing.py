r"""Mixing unequal data (section 8.2.3): sources and classes of very different size, and statistics
of rows that pass by once.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn.functional import cross_entropy

from mapping_lib._checks import (
    require_features,
    require_labels,
    require_logits,
    require_number,
    require_tensor,
    seen,
    shape,
    warn_of_distribution,
)

__all__ = [
    "Moments",
    "adjust_priors",
    "class_balanced_weights",
    "estimate_priors",
    "logit_adjusted_loss",
    "merge_moments",
    "moments",
    "source_shares",
]


def source_shares(counts: Tensor, *, temperature: float) -> Tensor:
    r"""How often to draw from each source, between in proportion and all alike.

    .. math:: p_i = \frac{n_i^{1/T}}{\sum_j n_j^{1/T}}

    Taught in :ref:`heterogeneous-data` (section 8.2.3).
    Source: :cite:t:`arivazhagan2019massively`, section on sampling; they take :math:`T = 5`.

    Parameters
    ----------
    counts
        :math:`n_i`, rows of each source, ``(m,)``.
    temperature
        :math:`T > 0`: 1 draws in proportion to the rows, ``inf`` from all sources alike, and
        values below 1 prefer the large ones even more.

    Returns
    -------
    Tensor
        Shares with sum 1, ``(m,)``; of the counts' dtype if that is floating point.

    Raises
    ------
    TypeError
        The counts are no tensor of numbers.
    ValueError
        A source is empty or has a negative or unknown number of rows; or :math:`T \le 0`.

    Examples
    --------
    >>> source_shares(torch.tensor([16, 4]), temperature=1)
    tensor([0.8000, 0.2000])
    >>> source_shares(torch.tensor([16, 4]), temperature=2)
    tensor([0.6667, 0.3333])
    """
    rows = _counts(counts, "source", "leave it out of the mixture")
    try:
        positive = temperature > 0
    except TypeError:
        raise TypeError(f"temperature must be a number, got {temperature!r}") from None
    if not positive:
        raise ValueError(
            f"temperature must be above 0, got {temperature}; 1 draws in proportion to the rows, "
            "inf from all sources alike"
        )
    return (rows.log() / temperature).softmax(0)


def class_balanced_weights(counts: Tensor, *, beta: float) -> Tensor:
    r"""Weights of classes by the effective number of their rows.

    .. math::
        w_k = \frac{K / E_k}{\sum_j 1 / E_j}, \qquad
        E_k = \frac{1 - \beta^{n_k}}{1 - \beta}

    Each further row of a class adds :math:`\beta` times what the one before added.

    Taught in :ref:`heterogeneous-data` (section 8.2.3).
    Source: :cite:t:`cui2019class`, proposition 1 and section 4.

    Parameters
    ----------
    counts
        :math:`n_k`, rows of each class, ``(K,)``.
    beta
        From 0 (all weights 1) to 1 (the limit, weights in inverse proportion to the rows).

    Returns
    -------
    Tensor
        Weights with mean 1, ``(K,)``, as :func:`torch.nn.functional.cross_entropy` takes them.

    Raises
    ------
    TypeError
        The counts are no tensor of numbers.
    ValueError
        A class has no rows, or a negative or unknown number of them; or a :math:`\beta` outside.

    Examples
    --------
    >>> class_balanced_weights(torch.tensor([2, 1]), beta=0.5)
    tensor([0.8000, 1.2000])
    """
    rows = _counts(counts, "class", "a class without rows can't be weighted, leave it out")
    require_number("beta", beta, most=1)
    if beta == 1:
        inverse = 1 / rows
    else:
        decay = rows.new_tensor(beta, dtype=torch.float64).log()
        inverse = (1 - beta) / -torch.expm1(rows.double() * decay)
    weights = inverse * (len(rows) / inverse.sum())
    return weights.to(rows.dtype)


def logit_adjusted_loss(
    logits: Tensor, labels: Tensor, *, counts: Tensor, strength: float = 1.0
) -> Tensor:
    r"""Cross-entropy whose logits carry the classes' shares while the model learns.

    .. math::
        L = -\frac1n \sum_{i=1}^{n} \log
        \frac{e^{z_{i y_i} + \tau \log \pi_{y_i}}}{\sum_k e^{z_{ik} + \tau \log \pi_k}},
        \qquad \pi_k = \frac{n_k}{\sum_j n_j}

    What the shares explain need not be learned: :math:`z` alone, as used for predicting, is then
    meant for classes that are equally frequent.

    Taught in :ref:`heterogeneous-data` (section 8.2.3).
    Source: :cite:t:`menon2021long`, eq. 10; with :math:`\tau = 1` the balanced softmax of
    :cite:t:`ren2020balanced`.

    Parameters
    ----------
    logits
        :math:`z`, ``(n, K)``.
    labels
        :math:`y`, ``(n,)``.
    counts
        :math:`n_k`, rows of each class in the whole training set, ``(K,)``.
    strength
        :math:`\tau \ge 0`; 0 is plain cross-entropy.

    Returns
    -------
    Tensor
        Scalar, in nats.

    Raises
    ------
    TypeError
        The logits aren't floating point, or the labels not whole numbers.
    ValueError
        Shapes that don't fit, labels out of range, a class without rows, or NaN.

    Warns
    -----
    UserWarning
        Every row of logits is a probability distribution.

    Examples
    --------
    >>> logits = torch.zeros(1, 2)
    >>> logit_adjusted_loss(logits, torch.tensor([1]), counts=torch.tensor([3, 1]))
    tensor(1.3863)
    """
    require_logits(logits=logits)
    require_labels("labels", labels, len(logits), logits.shape[1])
    warn_of_distribution(logits=logits)
    rows = _counts(counts, "class", "leave it out, for its logit would be adjusted without bound")
    _require_width("counts", rows, logits)
    require_number("strength", strength, below=float("inf"))
    prior = (rows / rows.sum()).log().to(logits.dtype)
    return cross_entropy(logits + strength * prior, labels)


def adjust_priors(logits: Tensor, *, trained: Tensor, wanted: Tensor) -> Tensor:
    r"""Logits for other shares of the classes than those of training.

    .. math:: z'_{ik} = z_{ik} + \log \pi'_k - \log \pi_k

    Exact by Bayes' rule where only the shares differ, the rows of each class being alike
    (*label shift*), and the model's probabilities are right.

    Taught in :ref:`heterogeneous-data` (section 8.2.3).
    Source: :cite:t:`saerens2002adjusting`; with equal :math:`\pi'` the post-hoc adjustment of
    :cite:t:`menon2021long`, eq. 9.

    Parameters
    ----------
    logits
        :math:`z`, ``(n, K)``.
    trained
        :math:`\pi`, shares or counts of the classes in training, ``(K,)``.
    wanted
        :math:`\pi'`, the same where the model is used.

    Returns
    -------
    Tensor
        :math:`z'`, ``(n, K)``.

    Raises
    ------
    TypeError
        The logits aren't floating point.
    ValueError
        Shapes that don't fit, or a share that isn't positive.

    Warns
    -----
    UserWarning
        Every row of logits is a probability distribution.

    Examples
    --------
    >>> fair = torch.tensor([0.5, 0.5])
    >>> adjust_priors(torch.zeros(1, 2), trained=fair, wanted=torch.tensor([0.8, 0.2])).softmax(1)
    tensor([[0.8000, 0.2000]])
    """
    require_logits(logits=logits)
    warn_of_distribution(logits=logits)
    before, after = _shares("trained", trained, logits), _shares("wanted", wanted, logits)
    return logits + (after.log() - before.log()).to(logits.dtype)


def estimate_priors(logits: Tensor, *, trained: Tensor, steps: int = 100) -> Tensor:
    r"""Shares of the classes among unlabelled rows, by expectation-maximisation.

    .. math::
        \pi'_k \leftarrow \frac1n \sum_{i=1}^{n}
        \operatorname{softmax}_k \bigl(z_i + \log \pi' - \log \pi\bigr)

    begun at :math:`\pi' = \pi`. Each step raises the likelihood of the rows under label shift.

    Taught in :ref:`heterogeneous-data` (section 8.2.3).
    Source: :cite:t:`saerens2002adjusting`.

    Parameters
    ----------
    logits
        :math:`z` of the unlabelled rows, ``(n, K)``.
    trained
        :math:`\pi`, shares or counts of the classes in training, ``(K,)``.
    steps
        How many.

    Returns
    -------
    Tensor
        :math:`\pi'`, ``(K,)``, with sum 1; a class that no row looks like goes to 0.

    Raises
    ------
    TypeError
        The logits aren't floating point, or `steps` is no whole number.
    ValueError
        Shapes that don't fit, a share that isn't positive, or fewer than one step.

    Warns
    -----
    UserWarning
        Every row of logits is a probability distribution.

    Examples
    --------
    >>> sure = torch.tensor([[20.0, 0.0], [0.0, 20.0], [20.0, 0.0], [20.0, 0.0]])
    >>> estimate_priors(sure, trained=torch.tensor([0.5, 0.5]))
    tensor([0.7500, 0.2500])
    """
    require_logits(logits=logits)
    warn_of_distribution(logits=logits)
    before = _shares("trained", trained, logits).to(logits.dtype)
    if not isinstance(steps, int) or isinstance(steps, bool):
        raise TypeError(f"steps must be a whole number, got {steps!r}")
    if steps < 1:
        raise ValueError(f"steps must be at least 1, got {steps}")
    likelihood = logits - before.log()
    found = before
    for _ in range(steps):
        found = (likelihood + found.log()).softmax(1).mean(0)
    return found


class Moments(NamedTuple):
    """What :func:`moments` and :func:`merge_moments` keep of the rows that have passed."""

    n: int
    """How many rows."""

    mean: Tensor
    """Their mean, ``(d,)``."""

    scatter: Tensor
    """The sum of the outer products of their deviations from the mean, ``(d, d)``."""


def moments(rows: Tensor) -> Moments:
    r"""Number, mean and scatter of rows.

    .. math::
        \mu = \frac1n \sum_{i=1}^{n} x_i, \qquad
        M = \sum_{i=1}^{n} (x_i - \mu)(x_i - \mu)^\top, \qquad C = \frac{M}{n - 1}

    Taught in :ref:`heterogeneous-data` (section 8.2.3).
    Source: :cite:t:`chan1983algorithms`, the two-pass algorithm.

    Parameters
    ----------
    rows
        :math:`x_i`, ``(n, d)``, at least one.

    Returns
    -------
    Moments
        :math:`n`, :math:`\mu` and :math:`M`.

    Raises
    ------
    TypeError
        The rows aren't floating point.
    ValueError
        No rows, not a matrix, NaN or infinite values.

    Examples
    --------
    >>> moments(torch.tensor([[1.0], [3.0], [5.0]]))
    Moments(n=3, mean=tensor([3.]), scatter=tensor([[8.]]))
    """
    require_features(rows=rows)
    mean = rows.mean(0)
    deviations = rows - mean
    return Moments(len(rows), mean, deviations.T @ deviations)


def merge_moments(first: Moments, second: Moments) -> Moments:
    r"""Moments of two sets of rows together, from the moments of each.

    .. math::
        \mu = \mu_a + \frac{n_b}{n} \delta, \qquad
        M = M_a + M_b + \frac{n_a n_b}{n} \delta \delta^\top, \qquad
        \delta = \mu_b - \mu_a, \quad n = n_a + n_b

    With a single new row this is Welford's update. No large numbers are subtracted from each
    other, as :math:`\sum x x^\top - n \mu \mu^\top` does.

    Taught in :ref:`heterogeneous-data` (section 8.2.3).
    Source: :cite:t:`chan1983algorithms`; for one row :cite:t:`welford1962note`.

    Parameters
    ----------
    first, second
        Of rows of one width; in any order.

    Returns
    -------
    Moments
        Of all rows.

    Raises
    ------
    TypeError
        These aren't moments.
    ValueError
        The widths differ.

    Examples
    --------
    >>> one, two = torch.tensor([[1.0], [3.0]]), torch.tensor([[5.0]])
    >>> merge_moments(moments(one), moments(two))
    Moments(n=3, mean=tensor([3.]), scatter=tensor([[8.]]))
    """
    for name, value in (("first", first), ("second", second)):
        if not isinstance(value, Moments):
            raise TypeError(
                f"{name} must be Moments, got {type(value).__name__}; make them with moments(rows)"
            )
    if first.mean.shape != second.mean.shape:
        raise ValueError(
            f"the widths must be equal, got first {shape(first.mean)}, second "
            f"{shape(second.mean)}; give all rows the same features as columns"
        )
    n = first.n + second.n
    δ = second.mean - first.mean
    scatter = first.scatter + second.scatter + first.n * second.n / n * torch.outer(δ, δ)
    return Moments(n, first.mean + second.n / n * δ, scatter)


def _counts(counts: Tensor, what: str, advice: str) -> Tensor:
    """Require a positive number for each source or class; return floating-point ones."""
    require_tensor(counts=counts)
    if counts.dtype == torch.bool or counts.is_complex():
        raise TypeError(f"counts must be real numbers, got {counts.dtype}; count with bincount")
    if counts.ndim != 1 or len(counts) == 0:
        raise ValueError(
            f"counts must have the shape (m,), one number a {what}, got {shape(counts)}"
        )
    rows = counts if counts.is_floating_point() else counts.to(torch.get_default_dtype())
    if seen(~rows.isfinite().all()):
        raise ValueError(f"counts must be finite, got {rows.tolist()}; count the rows again")
    if seen((rows < 0).any()):
        raise ValueError(f"counts can't be negative, got {rows.tolist()}; count the rows again")
    if seen((rows == 0).any()):
        raise ValueError(f"{what} {int(rows.argmin())} has no rows; {advice}")
    return rows


def _require_width(name: str, rows: Tensor, logits: Tensor) -> None:
    if len(rows) != logits.shape[1]:
        raise ValueError(
            f"{name} must have one number for each of the {logits.shape[1]} classes of the "
            f"logits, got {len(rows)}"
        )


def _shares(name: str, shares: Tensor, logits: Tensor) -> Tensor:
    """Require a positive share or count of each class; return shares with sum 1."""
    require_tensor(**{name: shares})
    if shares.ndim != 1:
        raise ValueError(f"{name} must have the shape (K,), one share a class, got {shape(shares)}")
    _require_width(name, shares, logits)
    if seen(~((shares > 0) & shares.isfinite()).all()):
        raise ValueError(
            f"{name} must be positive and finite, got {shares.tolist()}; a class that can't occur "
            "has no logarithm, give it a small share"
        )
    return shares / shares.sum()
