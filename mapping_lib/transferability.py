r"""What a transfer is worth (section 1.2): two learning curves, and numbers read off them.

A learning curve is a score :math:`a(n)`, the higher the better, over the number of labels
:math:`n_1 < \dots < n_m`: ``scores`` of shape ``(…, m)`` and ``labels`` of shape ``(m,)``. Axes
before the last, such as seeds, are kept. With transfer the curve is :math:`a_t`, from scratch
:math:`a_s`.
"""

from math import inf

import torch
from torch import Tensor

from mapping_lib._checks import (
    require_float,
    require_number,
    require_same_shape,
    require_tensor,
    seen,
    shape,
)

__all__ = [
    "area_under_curve",
    "asymptotic_gain",
    "jump_start",
    "labels_saved",
    "labels_to_threshold",
    "paired_interval",
    "transfer_ratio",
]


def jump_start(transfer: Tensor, scratch: Tensor) -> Tensor:
    r"""How much better the transfer is at the start, with the fewest labels.

    .. math:: a_t(n_1) - a_s(n_1)

    Taught in :ref:`why-transfer-matters` (section 1.2.3).
    Source: :cite:t:`taylor2009transfer`, section 2.

    Parameters
    ----------
    transfer, scratch
        Scores of the two curves ``(…, m)`` at the same numbers of labels.

    Returns
    -------
    Tensor
        ``(…)``, in the unit of the scores; negative if the transfer starts worse.

    Raises
    ------
    TypeError
        A tensor isn't floating point, or the dtypes differ.
    ValueError
        The shapes differ, or a score is NaN or infinite.

    Examples
    --------
    >>> jump_start(torch.tensor([0.5, 0.75]), torch.tensor([0.25, 0.75]))
    tensor(0.2500)
    """
    _require_curves(transfer=transfer, scratch=scratch)
    return transfer[..., 0] - scratch[..., 0]


def asymptotic_gain(transfer: Tensor, scratch: Tensor, *, last: int = 1) -> Tensor:
    r"""How much better the transfer is at the end, with the most labels.

    .. math:: \frac1r \sum_{i=m-r+1}^{m} \bigl( a_t(n_i) - a_s(n_i) \bigr)

    It says something of the asymptote only where both curves have become flat.

    Taught in :ref:`why-transfer-matters` (section 1.2.3).
    Source: :cite:t:`taylor2009transfer`, section 2.

    Parameters
    ----------
    transfer, scratch
        Scores of the two curves ``(…, m)`` at the same numbers of labels.
    last
        :math:`r`, how many points at the end are averaged, 1 to m.

    Returns
    -------
    Tensor
        ``(…)``, in the unit of the scores.

    Raises
    ------
    TypeError
        A tensor isn't floating point, or the dtypes differ.
    ValueError
        The shapes differ, a score is NaN or infinite, or there aren't so many points.

    Examples
    --------
    >>> asymptotic_gain(torch.tensor([0.5, 0.75, 1.0]), torch.tensor([0.25, 0.5, 0.5]))
    tensor(0.5000)
    """
    _require_curves(transfer=transfer, scratch=scratch)
    if last not in range(1, transfer.shape[-1] + 1):
        raise ValueError(f"last must be a whole number from 1 to {transfer.shape[-1]}, got {last}")
    return (transfer - scratch)[..., -last:].mean(-1)


def labels_to_threshold(labels: Tensor, scores: Tensor, *, threshold: float) -> Tensor:
    r"""How many labels it takes to reach a score for the first time.

    .. math::
        n_{i-1} + \frac{\tau - a(n_{i-1})}{a(n_i) - a(n_{i-1})} \, (n_i - n_{i-1}), \qquad
        i = \min \{ j : a(n_j) \ge \tau \}

    Between two points the curve is taken to be straight. Where :math:`i = 1`, the answer is
    :math:`n_1`: so many or fewer.

    Taught in :ref:`why-transfer-matters` (section 1.2.3).
    Source: :cite:t:`taylor2009transfer`, section 2 (time to threshold); the line between the points
    is ours.

    Parameters
    ----------
    labels
        :math:`n`, ``(m,)``, increasing.
    scores
        :math:`a`, ``(…, m)``.
    threshold
        :math:`\tau`, in the unit of the scores.

    Returns
    -------
    Tensor
        ``(…)``, in labels; infinite where the curve never reaches the threshold.

    Raises
    ------
    TypeError
        The scores aren't floating point, or `labels` is no tensor.
    ValueError
        The numbers of labels don't increase or aren't one a score, a score is NaN or infinite, or
        the threshold is no finite number.

    Examples
    --------
    >>> scores = torch.tensor([[0.5, 0.75, 1.0], [0.25, 0.5, 0.5]])
    >>> labels_to_threshold(torch.tensor([1, 2, 4]), scores, threshold=0.875)
    tensor([3., inf])
    """
    _require_curves(scores=scores)
    n = _increasing(labels, scores)
    require_number("threshold", threshold, least=-inf, below=inf)
    if threshold == -inf:
        raise ValueError("threshold must be a finite number, got -inf")
    reached = scores >= threshold
    first = reached.int().argmax(-1, keepdim=True)  # 0 where none is
    before = (first - 1).clamp(min=0)
    low, high = scores.gather(-1, before), scores.gather(-1, first)
    inside = first > before
    share = (threshold - low) / torch.where(inside, high - low, high.new_ones(()))
    between = n[before] + share * (n[first] - n[before])
    found = torch.where(inside, between, n[0]).squeeze(-1)
    return torch.where(reached.any(-1), found, found.new_full((), inf))


def labels_saved(labels: Tensor, transfer: Tensor, scratch: Tensor, *, threshold: float) -> Tensor:
    r"""How many labels fewer the transfer needs to reach a score.

    .. math:: n_s(\tau) - n_t(\tau)

    with the :math:`n(\tau)` of :func:`labels_to_threshold`.

    Taught in :ref:`why-transfer-matters` (section 1.2.3).
    Source: :cite:t:`taylor2009transfer`, section 2 (time to threshold).

    Parameters
    ----------
    labels
        :math:`n`, ``(m,)``, increasing.
    transfer, scratch
        Scores of the two curves ``(…, m)``.
    threshold
        :math:`\tau`, in the unit of the scores.

    Returns
    -------
    Tensor
        ``(…)``, in labels; infinite where only the transfer reaches the threshold, minus infinity
        where only scratch does, NaN where neither does.

    Raises
    ------
    TypeError
        A curve isn't floating point, the dtypes differ, or `labels` is no tensor.
    ValueError
        The shapes differ, or as :func:`labels_to_threshold` raises it.

    Examples
    --------
    >>> labels, scratch = torch.tensor([1, 2, 4]), torch.tensor([0.0, 0.25, 0.5])
    >>> labels_saved(labels, torch.tensor([0.25, 0.5, 0.5]), scratch, threshold=0.5)
    tensor(2.)
    """
    _require_curves(transfer=transfer, scratch=scratch)
    alone, helped = (
        labels_to_threshold(labels, scores, threshold=threshold) for scores in (scratch, transfer)
    )
    return alone - helped


def area_under_curve(labels: Tensor, scores: Tensor) -> Tensor:
    r"""Mean height of a learning curve, straight between its points.

    .. math::
        \frac{1}{n_m - n_1} \sum_{i=1}^{m-1} (n_{i+1} - n_i) \, \frac{a(n_i) + a(n_{i+1})}{2}

    Divided by the width of the axis, so that it is in the unit of the scores. With the logarithms
    of the numbers of labels as `labels`, every doubling counts the same.

    Taught in :ref:`why-transfer-matters` (section 1.2.3).
    Source: :cite:t:`taylor2009transfer`, section 2 (total reward), by the trapezoidal rule.

    Parameters
    ----------
    labels
        :math:`n`, ``(m,)``, increasing, two numbers at least; or their logarithms.
    scores
        :math:`a`, ``(…, m)``.

    Returns
    -------
    Tensor
        ``(…)``, between the lowest and the highest score.

    Raises
    ------
    TypeError
        The scores aren't floating point, or `labels` is no tensor.
    ValueError
        The numbers of labels don't increase, aren't one a score or fewer than two, or a score is
        NaN or infinite.

    Examples
    --------
    >>> area_under_curve(torch.tensor([1, 2, 5]), torch.tensor([0.0, 1.0, 1.0]))
    tensor(0.8750)
    """
    _require_curves(scores=scores)
    n = _increasing(labels, scores)
    if len(n) < 2:
        raise ValueError("a curve of one point has no area; measure at two numbers of labels")
    heights = (scores[..., 1:] + scores[..., :-1]) / 2
    return (heights * n.diff()).sum(-1) / (n[-1] - n[0])


def transfer_ratio(labels: Tensor, transfer: Tensor, scratch: Tensor) -> Tensor:
    r"""By which share the area under the curve grows through transfer.

    .. math:: \frac{A_t - A_s}{A_s}

    with the areas :math:`A` of :func:`area_under_curve`. The scores need a zero that means
    something: adding a constant to both curves changes the ratio.

    Taught in :ref:`why-transfer-matters` (section 1.2.3).
    Source: :cite:t:`taylor2009transfer`, section 2.

    Parameters
    ----------
    labels
        :math:`n`, ``(m,)``, increasing, two numbers at least; or their logarithms.
    transfer, scratch
        Scores of the two curves ``(…, m)``.

    Returns
    -------
    Tensor
        ``(…)``, without unit; 0 for equal areas, negative if the transfer hurts on the whole.

    Raises
    ------
    TypeError
        A curve isn't floating point, the dtypes differ, or `labels` is no tensor.
    ValueError
        The shapes differ, the area from scratch isn't positive, or as :func:`area_under_curve`
        raises it.

    Examples
    --------
    >>> curves = torch.tensor([0.5, 1.0, 1.0]), torch.tensor([0.25, 0.5, 0.5])
    >>> transfer_ratio(torch.tensor([1, 2, 4]), *curves)
    tensor(1.)
    """
    _require_curves(transfer=transfer, scratch=scratch)
    with_it, without = (area_under_curve(labels, a) for a in (transfer, scratch))
    if seen((without <= 0).any()):
        raise ValueError(
            f"the area from scratch must be positive, got {float(without.min()):g}; "
            "use scores that are 0 at the worst, such as accuracies"
        )
    return (with_it - without) / without


def paired_interval(transfer: Tensor, scratch: Tensor, *, confidence: float = 0.95) -> Tensor:
    r"""Interval for the mean difference of two methods that were run with the same seeds.

    .. math::
        \bar d \pm t_{k-1} \, \frac{s}{\sqrt k}, \qquad d_j = x_j - y_j, \qquad
        s^2 = \frac{1}{k - 1} \sum_{j=1}^k (d_j - \bar d)^2

    :math:`t_{k-1}` is the quantile of Student's distribution that leaves half of what is missing to
    certainty above it. A seed's own difficulty is in both runs and falls out of the difference. The
    differences are taken to be about normal; the interval speaks of other seeds, not of other data.

    Taught in :ref:`why-transfer-matters` (section 1.2.3).
    Source: :cite:t:`student1908probable`.

    Parameters
    ----------
    transfer, scratch
        :math:`x` and :math:`y`, ``(k, …)``, one row a seed, two seeds at least.
    confidence
        The share of such intervals that hold the mean, in (0, 1).

    Returns
    -------
    Tensor
        ``(2, …)``: the lower and the upper end.

    Raises
    ------
    TypeError
        A tensor isn't floating point, or the dtypes differ.
    ValueError
        The shapes differ, there are fewer than two seeds, a value is NaN or infinite, or the
        confidence is out of range.

    Examples
    --------
    >>> paired_interval(torch.tensor([1., 3.]), torch.tensor([0., 0.]), confidence=0.5)
    tensor([1., 3.])
    """
    from scipy.special import stdtrit

    _require_curves(transfer=transfer, scratch=scratch)
    require_number("confidence", confidence, below=1)
    if confidence == 0:
        raise ValueError("confidence must be positive, got 0")
    difference = transfer - scratch
    k = len(difference)
    if k < 2:
        raise ValueError("one seed says nothing about spread; give two at least, one a row")
    quantile = float(stdtrit(k - 1, (1 + confidence) / 2))
    mean, reach = difference.mean(0), quantile * difference.std(0) / k**0.5
    return torch.stack([mean - reach, mean + reach])


def _require_curves(**curves: Tensor) -> None:
    """Require finite scores of one shape, with one axis at least."""
    require_float(**curves)
    for name, scores in curves.items():
        if scores.ndim == 0:
            raise ValueError(f"{name} is a single number; give one score for each number of labels")
        if seen(scores.isinf().any()):
            raise ValueError(
                f"{name} must be finite, got {int(scores.isinf().sum())} infinite scores; find out "
                "where they arise or leave these numbers of labels out"
            )
    require_same_shape(**curves)


def _increasing(labels: Tensor, scores: Tensor) -> Tensor:
    """Return the numbers of labels in the dtype of the scores; they must increase."""
    require_tensor(labels=labels)
    if labels.shape != scores.shape[-1:]:
        raise ValueError(
            f"labels must have the shape ({scores.shape[-1]},), one number for each score, got "
            f"{shape(labels)}"
        )
    n = labels.to(scores)
    if seen(~((n.diff() > 0).all() & n.isfinite().all())):
        raise ValueError(
            f"labels must be finite and increase from point to point, got {labels.tolist()}; "
            "sort both by the number of labels and average repeated ones"
        )
    return n
