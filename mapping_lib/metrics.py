r"""Metrics of classifiers (section 6.1.1) that torchmetrics and scikit-learn lack.

How far a classifier's **confidence**, its largest probability, is from how often it is right; the
temperature that repairs it; and which places of an image a score came from. Accuracy, macro
averages and confusion matrices are torchmetrics' and scikit-learn's.
"""

from typing import NamedTuple

import torch
from torch import Tensor

from mapping_lib._checks import (
    require_finite,
    require_float,
    require_labels,
    require_logits,
    require_same_shape,
    shape,
    warn_of_distribution,
)

__all__ = [
    "Reliability",
    "expected_calibration_error",
    "fit_temperature",
    "grad_cam",
    "reliability",
]


class Reliability(NamedTuple):
    """What :func:`reliability` finds in each bin that holds an example.

    Attributes
    ----------
    confidence
        Mean confidence of the bin's examples, rising from bin to bin.
    accuracy
        Share of them that are right.
    size
        Their number.
    """

    confidence: Tensor
    accuracy: Tensor
    size: Tensor


def reliability(
    logits: Tensor, labels: Tensor, *, bins: int = 15, equal_mass: bool = False
) -> Reliability:
    r"""Mean confidence and accuracy of the examples, bin by bin of their confidence.

    .. math::

        \hat y_i = \operatorname{arg\,max}_k p_{ik}, \qquad c_i = p_{i \hat y_i}, \qquad
        \operatorname{conf}(B_m) = \frac{1}{|B_m|} \sum_{i \in B_m} c_i, \qquad
        \operatorname{acc}(B_m) = \frac{1}{|B_m|} \sum_{i \in B_m} [\hat y_i = y_i]

    :math:`p_i` is the softmax of the logits. Of M bins of equal width, bin m holds the examples
    with :math:`(m-1)/M < c_i \le m/M`. Bins of equal mass hold as many examples each as the others,
    up to one; examples of equal confidence share how many of them are right, so that it doesn't
    matter which of them falls into which bin.

    Taught in :ref:`image-classification` (section 6.1.1).
    Source: :cite:t:`guo2017calibration`, section 2; equal masses :cite:t:`nguyen2015posterior`.

    Parameters
    ----------
    logits
        Logits, ``(n, K)`` with at least two classes.
    labels
        Labels :math:`y`, ``(n,)``, integers from 0 to K - 1.
    bins
        The number M.
    equal_mass
        Whether the bins hold equally many examples, instead of being equally wide.

    Returns
    -------
    Reliability
        A row for each bin that holds an example.

    Raises
    ------
    TypeError
        The logits aren't floating point, or the labels aren't integers.
    ValueError
        The shapes don't fit, there is only one class, a label is out of range, `bins` is no whole
        number from 1, or logits are empty, NaN or infinite.

    Warns
    -----
    UserWarning
        Every row of logits is a probability distribution.

    Examples
    --------
    >>> logits = torch.tensor([[.6, .4], [.3, .7], [.1, .9]]).log()
    >>> found = reliability(logits, torch.tensor([0, 0, 1]), bins=5)  # (0.4, 0.6], (0.6, 0.8], ...
    >>> found.accuracy, found.size
    (tensor([1., 0., 1.]), tensor([1, 1, 1]))
    """
    require_logits(logits=logits)
    n, classes = logits.shape
    require_labels("labels", labels, n, classes)
    _require_bins(bins)
    warn_of_distribution(logits=logits)
    confidence, predicted = logits.softmax(1).max(1)
    right = (predicted == labels).to(confidence)
    if equal_mass:
        _, group, equal = torch.unique(confidence, return_inverse=True, return_counts=True)
        right = (_sums(right, group, len(equal)) / equal)[group]
        index = torch.empty_like(group)
        index[confidence.argsort()] = torch.arange(n, device=group.device) * bins // n
    else:
        edges = torch.linspace(0, 1, bins + 1, dtype=confidence.dtype, device=logits.device)
        index = torch.bucketize(confidence.detach(), edges[1:-1])
    size = index.bincount(minlength=bins)
    held = size > 0
    mean_confidence, accuracy = (
        _sums(values, index, bins)[held] / size[held] for values in (confidence, right)
    )
    return Reliability(mean_confidence, accuracy, size[held])


def expected_calibration_error(
    logits: Tensor, labels: Tensor, *, bins: int = 15, equal_mass: bool = False
) -> Tensor:
    r"""Expected calibration error: how far confidence is from accuracy, on average over bins.

    .. math::

        \operatorname{ECE} = \sum_{m=1}^{M} \frac{|B_m|}{n}
        \bigl| \operatorname{acc}(B_m) - \operatorname{conf}(B_m) \bigr|

    The bins are those of :func:`reliability`. The error depends on them, and that of a finite
    sample is above 0 even where the probabilities are exactly right: more so for more bins.

    Taught in :ref:`image-classification` (section 6.1.1).
    Source: :cite:t:`naeini2015obtaining`; in this form :cite:t:`guo2017calibration`, eq. 3.

    Parameters
    ----------
    logits
        Logits, ``(n, K)`` with at least two classes.
    labels
        Labels, ``(n,)``, integers from 0 to K - 1.
    bins
        The number M.
    equal_mass
        Whether the bins hold equally many examples, instead of being equally wide.

    Returns
    -------
    Tensor
        A scalar from 0 to 1.

    Raises
    ------
    TypeError
        The logits aren't floating point, or the labels aren't integers.
    ValueError
        As :func:`reliability` raises it.

    Examples
    --------
    >>> logits = torch.tensor([[3., 0.], [3., 0.]])  # sure to 0.95, right in one of two
    >>> expected_calibration_error(logits, torch.tensor([0, 1]))
    tensor(0.4526)
    """
    found = reliability(logits, labels, bins=bins, equal_mass=equal_mass)
    gaps = (found.accuracy - found.confidence).abs()
    return (found.size * gaps).sum() / len(logits)


def fit_temperature(logits: Tensor, labels: Tensor) -> float:
    r"""Temperature that makes held-out labels most likely.

    .. math::

        T^* = \operatorname{arg\,min}_{T > 0} \; \frac1n \sum_{i=1}^{n}
        \Bigl[ \log \sum_{k} e^{z_{ik} / T} - \frac{z_{i y_i}}{T} \Bigr]

    The loss is convex in :math:`\beta = 1/T`, with the slope
    :math:`\frac1n \sum_i (\sum_k p_{ik} z_{ik} - z_{i y_i})` there, whose root is found by halving
    an interval, in float64. Divide logits by the temperature: no prediction changes, only how sure
    it is. The logits must not be those that the classifier was trained on.

    Taught in :ref:`image-classification` (section 6.1.1).
    Source: :cite:t:`guo2017calibration`, section 4.2.

    Parameters
    ----------
    logits
        Logits :math:`z` of held-out examples, ``(n, K)`` with at least two classes.
    labels
        Their labels :math:`y`, ``(n,)``, integers from 0 to K - 1.

    Returns
    -------
    float
        The temperature; above 1 where the classifier is too sure.

    Raises
    ------
    TypeError
        The logits aren't floating point, or the labels aren't integers.
    ValueError
        There is no such temperature: every example is right, so that the best would be 0, or the
        logits say nothing about the labels, so that the best would be infinite. Or the shapes don't
        fit, there is only one class, a label is out of range, or logits are empty, NaN or infinite.

    Warns
    -----
    UserWarning
        Every row of logits is a probability distribution.

    Examples
    --------
    >>> logits = torch.tensor([[4., 0.]] * 4)
    >>> round(fit_temperature(logits, torch.tensor([0, 0, 0, 1])), 3)  # 4 / log 3: right 3 of 4
    3.641
    """
    require_logits(logits=logits)
    require_labels("labels", labels, *logits.shape)
    warn_of_distribution(logits=logits)
    z = logits.detach().double().cpu()
    gaps = z - z.gather(1, labels.cpu()[:, None])
    if gaps.max() <= 0:
        raise ValueError(
            f"all {len(z)} examples are classified right, so the likelihood grows as the "
            "temperature falls to 0; hold out more examples, among them some that go wrong"
        )
    if gaps.mean(1).mean() >= 0:
        raise ValueError(
            "the labels' logits are no larger than the other classes' on average, so the best "
            "temperature is infinite; do the labels belong to these logits?"
        )

    def slope(beta: float) -> float:
        return float(((beta * gaps).softmax(1) * gaps).sum(1).mean())

    low = high = 1.0
    while slope(low) > 0:
        low /= 2
    while slope(high) < 0:
        high *= 2
    for _ in range(60):
        middle = (low + high) / 2
        low, high = (middle, high) if slope(middle) < 0 else (low, middle)
    return 2 / (low + high)


def grad_cam(activations: Tensor, gradients: Tensor) -> Tensor:
    r"""Places of a layer's maps that a score came from: gradient-weighted class activation maps.

    .. math::

        L_{ij} = \max\Bigl(0, \sum_{c} \alpha_c A_{cij}\Bigr), \qquad
        \alpha_c = \frac{1}{hw} \sum_{i=1}^{h} \sum_{j=1}^{w}
        \frac{\partial z}{\partial A_{cij}}

    z is the score that is asked about, usually a class's logit. Behind the last convolution, where
    a mean over places and a linear head follow, :math:`\alpha_c` is the head's weight divided by
    :math:`hw`, and the map is a class activation map :cite:p:`zhou2016learning`.

    Taught in :ref:`image-classification` (section 6.1.1).
    Source: :cite:t:`selvaraju2017grad`, eqs. 1 and 2.

    Parameters
    ----------
    activations
        Outputs A of a convolutional layer, ``(n, C, h, w)``.
    gradients
        Gradients of each image's score in them, of the same shape.

    Returns
    -------
    Tensor
        Maps ``(n, h, w)``, not negative, in units of the score.

    Raises
    ------
    TypeError
        A tensor isn't floating point, or the dtypes differ.
    ValueError
        The shapes differ or don't have four axes, or values are NaN, infinite or missing.

    Examples
    --------
    >>> maps = torch.tensor([[[[1., 2.]], [[3., 0.]]]])  # one image, two channels, 1 x 2 places
    >>> slopes = torch.tensor([[[[1., 0.]], [[0., -.5]]]])  # means 0.5 and -0.25
    >>> grad_cam(maps, slopes)
    tensor([[[0., 1.]]])
    """
    require_float(activations=activations, gradients=gradients)
    require_same_shape(activations=activations, gradients=gradients)
    if activations.ndim != 4:
        raise ValueError(
            f"activations must be maps (n, channels, height, width), got {shape(activations)}; "
            "take them from a convolutional layer"
        )
    require_finite(activations=activations, gradients=gradients)
    weights = gradients.mean((2, 3), keepdim=True)
    return (weights * activations).sum(1).relu()


def _sums(values: Tensor, index: Tensor, bins: int) -> Tensor:
    """Add up the values of each bin."""
    return values.new_zeros(bins).index_add(0, index, values)


def _require_bins(bins: int) -> None:
    if not isinstance(bins, int) or isinstance(bins, bool):
        raise TypeError(f"bins must be a whole number, got {bins!r}")
    if bins < 1:
        raise ValueError(f"bins must be at least 1, got {bins}")
