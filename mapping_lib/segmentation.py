r"""Semantic segmentation: a loss of overlap, and learning from pixels that nobody has labelled.

Logits have a class in their second axis, ``(n, K, ...)``: for images ``(n, K, height, width)``. A
mask holds one label a pixel, from 0 to K - 1, or :data:`IGNORED`.
"""

from __future__ import annotations

from math import ceil, log

import torch
from torch import Tensor
from torch.nn.functional import max_pool2d, one_hot

from mapping_lib._checks import (
    require_finite,
    require_float,
    require_number,
    require_tensor,
    seen,
    shape,
    warn_of_distribution,
)

__all__ = [
    "IGNORED",
    "boundary_band",
    "class_balanced_thresholds",
    "pixel_entropy",
    "pseudo_labels",
    "soft_dice_loss",
]

IGNORED = 255
"""The label of a pixel that nobody has labelled; it counts in no loss and in no score."""


def soft_dice_loss(logits: Tensor, target: Tensor) -> Tensor:
    r"""One minus the overlap of what is predicted and what is there, averaged over classes.

    .. math::

        1 - \frac{1}{\lvert \mathcal K \rvert} \sum_{k \in \mathcal K}
        \frac{2 \sum_i p_{ik}\, g_{ik}}{\sum_i p_{ik}^2 + \sum_i g_{ik}}, \qquad
        p_i = \operatorname{softmax}(z_i)

    :math:`g_{ik}` is 1 where pixel i shows class k, else 0. The sums run over the labelled pixels
    of all images, and :math:`\mathcal K` holds the classes that occur in the target: for one that
    doesn't, the quotient is 0 whatever is predicted. Each class weighs the same, however few pixels
    it has.

    Taught in :ref:`semantic-segmentation` (section 6.1.3).
    Source: :cite:t:`milletari2016vnet`, there for two classes.

    Parameters
    ----------
    logits
        :math:`z`, ``(n, K, ...)`` with at least two classes.
    target
        ``(n, ...)``, integers from 0 to K - 1, or :data:`IGNORED`.

    Returns
    -------
    Tensor
        A scalar between 0 and 1; 0 where no pixel is labelled.

    Raises
    ------
    TypeError
        The logits aren't floating point, or the target isn't of integers.
    ValueError
        The shapes don't fit, a label is no class, or the logits are NaN or infinite.

    Warns
    -----
    UserWarning
        Every pixel's logits are a probability distribution.

    Examples
    --------
    >>> logits = torch.tensor([[[9.0, 0.0], [-90.0, 0.0]]])  # two pixels: sure, undecided
    >>> soft_dice_loss(logits, torch.tensor([[0, 1]]))  # 1 - (2/2.25 + 1/1.25) / 2
    tensor(0.1556)
    """
    rows, labels = _labelled(logits, target)
    warn_of_distribution(logits=logits)
    if len(rows) == 0:
        return logits.sum() * 0
    p = rows.softmax(1)
    g = one_hot(labels, rows.shape[1]).to(p)
    overlap = 2 * (p * g).sum(0) / (p.square().sum(0) + g.sum(0))
    return 1 - overlap[g.any(0)].mean()


def pixel_entropy(logits: Tensor) -> Tensor:
    r"""How undecided a segmenter is at each pixel, from 0 (sure) to 1 (all classes alike).

    .. math:: E_i = -\frac{1}{\log K} \sum_{k=1}^K p_{ik} \log p_{ik}, \qquad
        p_i = \operatorname{softmax}(z_i)

    Its mean over the pixels of unlabelled images is the loss of entropy minimisation.

    Taught in :ref:`semantic-segmentation` (section 6.1.3).
    Source: :cite:t:`vu2019advent`.

    Parameters
    ----------
    logits
        :math:`z`, ``(n, K, ...)`` with at least two classes.

    Returns
    -------
    Tensor
        ``(n, ...)``, in [0, 1].

    Raises
    ------
    TypeError
        The logits aren't floating point.
    ValueError
        They have no axis of at least two classes, or are NaN or infinite.

    Warns
    -----
    UserWarning
        Every pixel's logits are a probability distribution.

    Examples
    --------
    >>> pixel_entropy(torch.tensor([[[0.0, 1.0986], [0.0, 0.0]]]))  # p = 1/2 and p = 3/4
    tensor([[1.0000, 0.8113]])
    """
    _require_maps(logits)
    warn_of_distribution(logits=logits)
    log_p = logits.log_softmax(1)
    return -(log_p.exp() * log_p).sum(1) / log(logits.shape[1])


def class_balanced_thresholds(logits: Tensor, *, share: float) -> Tensor:
    r"""For each class, the confidence that a share of the pixels called so reach.

    .. math::

        \tau_k = \text{the } \lceil \rho N_k \rceil\text{-th largest of }
        \bigl\{ p_{ik} : \arg\max_l p_{il} = k \bigr\}, \qquad
        p_i = \operatorname{softmax}(z_i)

    :math:`N_k` pixels are called k. One threshold for all would keep the easy classes and lose the
    hard ones. A class that no pixel is called has the threshold 1.

    Taught in :ref:`semantic-segmentation` (section 6.1.3).
    Source: :cite:t:`zou2018unsupervised`.

    Parameters
    ----------
    logits
        :math:`z` of unlabelled images, ``(n, K, ...)`` with at least two classes.
    share
        :math:`\rho`, more than 0 and at most 1.

    Returns
    -------
    Tensor
        ``(K,)``, without gradient.

    Raises
    ------
    TypeError
        The logits aren't floating point.
    ValueError
        They have no axis of at least two classes, are NaN or infinite, or the share is out of
        range.

    Warns
    -----
    UserWarning
        Every pixel's logits are a probability distribution.

    Examples
    --------
    >>> logits = torch.tensor([[[3.0, 2.0, 1.0, 0.0], [0.0, 0.0, 0.0, 1.0]]])
    >>> class_balanced_thresholds(logits, share=0.5).round(decimals=2)  # the second of three
    tensor([0.8800, 0.7300])
    """
    _require_maps(logits)
    warn_of_distribution(logits=logits)
    require_number("share", share, most=1)
    if share == 0:
        raise ValueError("share must be more than 0, got 0: no pixel would be kept")
    surest, called = logits.detach().softmax(1).max(1)
    thresholds = torch.ones(logits.shape[1], dtype=logits.dtype, device=logits.device)
    for k in range(logits.shape[1]):
        mine = surest[called == k].sort(descending=True).values
        if len(mine):
            thresholds[k] = mine[ceil(round(share * len(mine), 6)) - 1]
    return thresholds


def pseudo_labels(logits: Tensor, *, thresholds: Tensor | float) -> Tensor:
    r"""Label the pixels of which the segmenter is sure, and leave the others out.

    .. math::

        \hat y_i = \begin{cases}
        \arg\max_k p_{ik} / \tau_k & \max_k p_{ik} / \tau_k \ge 1 \\
        \text{ignored} & \text{else}
        \end{cases}
        \qquad p_i = \operatorname{softmax}(z_i)

    Taught in :ref:`semantic-segmentation` (section 6.1.3).
    Source: :cite:t:`zou2018unsupervised`.

    Parameters
    ----------
    logits
        :math:`z`, ``(n, K, ...)`` with at least two classes.
    thresholds
        :math:`\tau`: one number in (0, 1] for all classes, or ``(K,)``, as
        :func:`class_balanced_thresholds` finds them.

    Returns
    -------
    Tensor
        ``(n, ...)``, integers: a class, or :data:`IGNORED`.

    Raises
    ------
    TypeError
        The logits aren't floating point.
    ValueError
        They have no axis of at least two classes, are NaN or infinite, or a threshold is out of
        range.

    Warns
    -----
    UserWarning
        Every pixel's logits are a probability distribution.

    Examples
    --------
    >>> logits = torch.tensor([[[3.0, 0.5, 0.0], [0.0, 0.0, 1.0]]])  # 0.95, 0.62, 0.73 sure
    >>> pseudo_labels(logits, thresholds=0.7)
    tensor([[  0, 255,   1]])
    """
    _require_maps(logits)
    warn_of_distribution(logits=logits)
    K = logits.shape[1]
    tau = torch.as_tensor(thresholds, dtype=logits.dtype, device=logits.device)
    if tau.ndim and tau.shape != (K,):
        raise ValueError(f"thresholds must be one number or {K}, a class each, got {shape(tau)}")
    if seen(~((tau > 0) & (tau <= 1)).all()):
        raise ValueError(
            f"thresholds must lie in (0, 1], got {float(tau.min()):g} to {float(tau.max()):g}"
        )
    p = logits.detach().softmax(1)
    best, called = (p / tau.expand(K).view(K, *[1] * (logits.ndim - 2))).max(1)
    return called.masked_fill(best < 1, IGNORED)


def boundary_band(mask: Tensor, *, radius: int = 1) -> Tensor:
    r"""Pixels that another class is near: those with another label in the square around them.

    .. math:: B = \bigl\{\, i : \exists j,\; \lVert i - j \rVert_\infty \le r,\;
        y_j \ne y_i \,\bigr\}

    Ignored pixels are neither in the band nor another class.

    Taught in :ref:`semantic-segmentation` (section 6.1.3).
    Source: :cite:t:`kohli2009robust`, who score the band alone.

    Parameters
    ----------
    mask
        Labels ``(n, height, width)``, integers.
    radius
        r in pixels, at least 1.

    Returns
    -------
    Tensor
        The same shape, bool.

    Raises
    ------
    TypeError
        The mask doesn't hold integers.
    ValueError
        It doesn't have three axes, or the radius is less than 1.

    Examples
    --------
    >>> boundary_band(torch.tensor([[[0, 0, 0, 1, 1]]]))
    tensor([[[False, False,  True,  True, False]]])
    """
    _require_integers("mask", mask)
    if mask.ndim != 3:
        raise ValueError(f"mask must be (n, height, width), got {shape(mask)}")
    if isinstance(radius, bool) or not isinstance(radius, int) or radius < 1:
        raise ValueError(f"radius must be a whole number of pixels from 1, got {radius!r}")
    labels = mask.double()[:, None]
    known = (mask != IGNORED)[:, None]
    high = max_pool2d(labels.masked_fill(~known, -torch.inf), 2 * radius + 1, 1, radius)
    low = -max_pool2d((-labels).masked_fill(~known, -torch.inf), 2 * radius + 1, 1, radius)
    band: Tensor = (known & (high > low))[:, 0]
    return band


def _labelled(logits: Tensor, target: Tensor) -> tuple[Tensor, Tensor]:
    """Return the rows of logits ``(m, K)`` and the labels ``(m,)`` of the labelled pixels."""
    _require_maps(logits)
    _require_integers("target", target)
    K = logits.shape[1]
    if target.shape != logits.shape[:1] + logits.shape[2:]:
        raise ValueError(
            f"logits (n, K, ...) and a target (n, ...) are due, got {shape(logits)} and "
            f"{shape(target)}; bring the logits to the mask's size with interpolate"
        )
    known = target != IGNORED
    if seen((known & ((target < 0) | (target >= K))).any()):
        wrong = sorted(set(target[known & ((target < 0) | (target >= K))].tolist()))
        raise ValueError(
            f"the target has the labels {wrong}, but classes are 0 to {K - 1} (and {IGNORED}, "
            "which is ignored)"
        )
    return logits.movedim(1, -1)[known], target[known].long()


def _require_maps(logits: Tensor) -> None:
    require_float(logits=logits)
    require_finite(logits=logits)
    if logits.ndim < 2 or logits.shape[1] < 2:
        raise ValueError(
            f"logits must be (n, K, ...) with at least two classes K, got {shape(logits)}"
        )


def _require_integers(name: str, labels: Tensor) -> None:
    require_tensor(**{name: labels})
    if labels.is_floating_point() or labels.is_complex() or labels.dtype == torch.bool:
        raise TypeError(f"{name} must be integers, got {labels.dtype}; use {name}.long()")
