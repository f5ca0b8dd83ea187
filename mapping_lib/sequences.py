r"""Mappings of sequences (section 2.2.3): attention, its heads, and where a place is written.

A sequence is a matrix ``(..., time, features)``. Attention maps it to another by letting each place
take a mean over the places of this or another sequence.
"""

import math
from typing import NamedTuple

import torch
from torch import Tensor

from mapping_lib._checks import (
    require_float,
    require_labels,
    require_logits,
    require_number,
    require_tensor,
    seen,
    shape,
    warn_of_distribution,
)
from mapping_lib.mappings import Layer, linear

__all__ = [
    "AttentionLayers",
    "attention",
    "attention_weights",
    "multi_head_attention",
    "sinusoidal_positions",
    "smoothed_cross_entropy",
    "smoothed_labels",
    "split_heads",
]


class AttentionLayers(NamedTuple):
    """The four linear maps of :func:`multi_head_attention`, each a weight and a bias or None.

    Attributes
    ----------
    query
        From the features of the sequence that attends, ``(d, d_target)``.
    key, value
        From the features of the sequence attended to, ``(d, d_source)`` each.
    output
        From all heads side by side to what is returned, ``(d_out, d)``.
    """

    query: Layer
    key: Layer
    value: Layer
    output: Layer


def attention_weights(query: Tensor, key: Tensor, *, mask: Tensor | None = None) -> Tensor:
    r"""How much each place attends to each: the softmax of scaled inner products.

    .. math::

        A = \operatorname{softmax}\Bigl( \frac{Q K^\top}{\sqrt d} \Bigr), \qquad
        A_{ij} = \frac{e^{q_i^\top k_j / \sqrt d}}{\sum_l e^{q_i^\top k_l / \sqrt d}}

    Taught in :ref:`attention` (section 2.2.3).
    Source: :cite:t:`vaswani2017attention`, eq. 1.

    Parameters
    ----------
    query
        What each place looks for, :math:`Q`, ``(..., n, d)``.
    key
        What each place offers, :math:`K`, ``(..., m, d)``. Leading axes are broadcast.
    mask
        Which places may be attended to, booleans that broadcast to ``(..., n, m)``: True lets it,
        as in ``torch.nn.functional.scaled_dot_product_attention``; in
        ``torch.nn.MultiheadAttention`` True forbids it. None lets all.

    Returns
    -------
    Tensor
        Weights ``(..., n, m)``, not negative, each row with sum 1; 0 where the mask is False.

    Raises
    ------
    TypeError
        A tensor isn't floating point, the dtypes differ, or the mask isn't boolean.
    ValueError
        Shapes that don't fit, NaN or infinity, or a row that may attend to nothing.

    Examples
    --------
    >>> query = torch.tensor([[2.0, 0.0, 0.0, 0.0]])
    >>> key = torch.tensor([[0.0, 5.0, 0.0, 0.0], [math.log(3), 0.0, 0.0, 0.0]])
    >>> attention_weights(query, key)  # scores 0 and log 3: e to them is 1 and 3
    tensor([[0.2500, 0.7500]])
    """
    _require_sequences(query=query, key=key)
    if query.shape[-1] != key.shape[-1]:
        raise ValueError(
            f"query and key must have the same features, got {shape(query)} and {shape(key)}; "
            "map them to one width first"
        )
    scores = query @ key.mT / math.sqrt(query.shape[-1])
    if mask is not None:
        scores = scores.masked_fill(~_fitting(mask, scores), -math.inf)
    return scores.softmax(-1)


def attention(query: Tensor, key: Tensor, value: Tensor, *, mask: Tensor | None = None) -> Tensor:
    r"""Scaled dot-product attention: for each query the mean of the values, by weight.

    .. math:: \operatorname{softmax}\Bigl( \frac{Q K^\top}{\sqrt d} \Bigr) V

    Taught in :ref:`attention` (section 2.2.3).
    Source: :cite:t:`vaswani2017attention`, eq. 1.

    Parameters
    ----------
    query, key, mask
        As :func:`attention_weights` takes them.
    value
        What is averaged, :math:`V`, ``(..., m, d_v)``: one row for each key.

    Returns
    -------
    Tensor
        Means ``(..., n, d_v)``, in units of the values.

    Raises
    ------
    TypeError
        As :func:`attention_weights` raises it.
    ValueError
        As there, or not one value for each key.

    Examples
    --------
    >>> query = torch.tensor([[1.0, 0.0]])
    >>> key = torch.tensor([[0.0, 5.0], [0.0, -3.0]])  # scores 0 and 0: equal weights
    >>> attention(query, key, torch.tensor([[2.0], [8.0]]))
    tensor([[5.]])
    """
    _require_sequences(query=query, key=key, value=value)
    if key.shape[-2] != value.shape[-2]:
        raise ValueError(
            f"there must be one value for each key, got {value.shape[-2]} values "
            f"{shape(value)} for {key.shape[-2]} keys {shape(key)}"
        )
    return attention_weights(query, key, mask=mask) @ value


def split_heads(sequence: Tensor, *, heads: int) -> Tensor:
    r"""Cut the features of each place into equal parts, one for each head.

    .. math::

        x \mapsto (x^{(1)}, \dots, x^{(h)}), \qquad
        x^{(i)} = \bigl( x_{(i-1) d/h + 1}, \dots, x_{i d/h} \bigr)

    Taught in :ref:`attention` (section 2.2.3).
    Source: :cite:t:`vaswani2017attention`, section 3.2.2.

    Parameters
    ----------
    sequence
        Places and their features, ``(..., n, d)``.
    heads
        Number of heads :math:`h`, a divisor of d.

    Returns
    -------
    Tensor
        The parts, ``(..., h, n, d / h)``; a view, where that is possible.

    Raises
    ------
    TypeError
        The sequence isn't floating point.
    ValueError
        The heads don't divide the features, the sequence is no matrix, or it holds NaN or infinity.

    Examples
    --------
    >>> split_heads(torch.tensor([[1.0, 2.0, 3.0, 4.0]]), heads=2)
    tensor([[[1., 2.]],
    <BLANKLINE>
            [[3., 4.]]])
    """
    _require_sequences(sequence=sequence)
    require_number("heads", heads, least=1)
    if sequence.shape[-1] % heads:
        raise ValueError(
            f"heads must divide the {sequence.shape[-1]} features of {shape(sequence)}, got {heads}"
        )
    return sequence.reshape(*sequence.shape[:-1], heads, -1).transpose(-3, -2)


def multi_head_attention(
    source: Tensor,
    target: Tensor,
    layers: AttentionLayers,
    *,
    heads: int,
    mask: Tensor | None = None,
) -> Tensor:
    r"""Attention in several subspaces at once: each head has its own queries, keys and values.

    .. math::

        \bigl[ H^{(1)}, \dots, H^{(h)} \bigr] W_o^\top + b_o, \qquad
        H^{(i)} = \operatorname{softmax}\biggl( \frac{Q^{(i)} K^{(i)\top}}{\sqrt{d/h}} \biggr)
        V^{(i)}

    where :math:`Q = X_t W_q^\top + b_q` comes from the target, and K and V, by their own weights,
    from the source; :math:`(i)` is the part of head i. Where both are one sequence this is
    self-attention.

    Taught in :ref:`attention` (section 2.2.3).
    Source: :cite:t:`vaswani2017attention`, section 3.2.2.

    Parameters
    ----------
    source
        The sequence attended to, ``(..., m, d_source)``.
    target
        The sequence that attends, ``(..., n, d_target)``.
    layers
        The four maps :math:`(W, b)`.
    heads
        Number of heads :math:`h`, a divisor of the queries' features.
    mask
        As :func:`attention_weights` takes it; of the shape ``(n, m)`` or ``(..., 1, n, m)``, since
        the heads are an axis, too.

    Returns
    -------
    Tensor
        A sequence of the target's length, ``(..., n, d_out)``.

    Raises
    ------
    TypeError, ValueError
        As :func:`attention`, :func:`split_heads` and :func:`mapping_lib.mappings.linear` raise
        them.

    Examples
    --------
    >>> one = (torch.eye(2), None)
    >>> layers = AttentionLayers(query=one, key=one, value=one, output=one)
    >>> source = torch.tensor([[0.0, 1.0], [0.0, 1.0]])  # equal keys: equal weights
    >>> multi_head_attention(source, torch.tensor([[3.0, -2.0]]), layers, heads=2)
    tensor([[0., 1.]])
    """
    _require_sequences(source=source, target=target)
    query = split_heads(linear(target, *layers.query), heads=heads)
    key = split_heads(linear(source, *layers.key), heads=heads)
    value = split_heads(linear(source, *layers.value), heads=heads)
    found = attention(query, key, value, mask=mask)
    return linear(found.transpose(-3, -2).flatten(-2), *layers.output)


def sinusoidal_positions(
    length: int, width: int, *, base: float = 10_000, dtype: torch.dtype | None = None
) -> Tensor:
    r"""Write the number of a place as sines and cosines, to be added to its features.

    .. math::

        P_{t,2i} = \sin\bigl( t\, \beta^{-2i/d} \bigr), \qquad
        P_{t,2i+1} = \cos\bigl( t\, \beta^{-2i/d} \bigr), \qquad t, i = 0, 1, \dots

    The inner product of two places depends on their distance alone, and places k apart differ by
    one rotation, the same everywhere.

    Taught in :ref:`attention` (section 2.2.3).
    Source: :cite:t:`vaswani2017attention`, section 3.5.

    Parameters
    ----------
    length
        Number of places, at least 1.
    width
        Number of features d, even.
    base
        The base :math:`\beta`, at least 1: the slowest wave has a period of almost
        :math:`2 \pi \beta` places.
    dtype
        Of the result; None is torch's default.

    Returns
    -------
    Tensor
        One row a place, ``(length, width)``, in [−1, 1].

    Raises
    ------
    TypeError, ValueError
        No numbers, no place, or a width that is odd or too small.

    Examples
    --------
    >>> sinusoidal_positions(2, 2)  # sin 0, cos 0; sin 1, cos 1
    tensor([[0.0000, 1.0000],
            [0.8415, 0.5403]])
    """
    require_number("length", length, least=1)
    require_number("width", width, least=2)
    require_number("base", base, least=1)
    if width % 2:
        raise ValueError(f"width must be even, one sine and one cosine a wave, got {width}")
    speed = base ** (-torch.arange(0, width, 2, dtype=torch.float64) / width)
    angle = torch.arange(length, dtype=torch.float64)[:, None] * speed
    waves = torch.stack([angle.sin(), angle.cos()], dim=-1).flatten(1)
    return waves.to(dtype or torch.get_default_dtype())


def _require_sequences(**sequences: Tensor) -> None:
    """Require finite tensors of one dtype with an axis of places and one of features."""
    require_float(**sequences)
    for name, sequence in sequences.items():
        if seen(sequence.isinf().any()):
            raise ValueError(
                f"{name} must be finite, got {int(sequence.isinf().sum())} infinite values; "
                "leave places out by a mask"
            )
        if sequence.ndim < 2:
            raise ValueError(
                f"{name} must have the shape (..., time, features), got {shape(sequence)}; "
                "add an axis with unsqueeze"
            )


def _fitting(mask: Tensor, scores: Tensor) -> Tensor:
    """Require a boolean mask that fits the scores and leaves each row something."""
    require_tensor(mask=mask)
    if mask.dtype != torch.bool:
        raise TypeError(
            f"mask must be boolean, True where attending is allowed, got {mask.dtype}; "
            "write mask == 1, or mask == 0 if its ones mark what is left out"
        )
    try:
        mask.expand(scores.shape)
    except RuntimeError:
        raise ValueError(
            f"mask {shape(mask)} doesn't fit the weights {shape(scores)}, one for each query and "
            "key; give padding (n, m) an axis for the queries with mask[:, None, :]"
        ) from None
    nothing = ~mask.any(-1)
    if seen(nothing.any()):
        raise ValueError(
            f"mask leaves {int(nothing.sum())} of {nothing.numel()} rows nothing to attend to, and "
            "a softmax over nothing is NaN; let them attend to themselves, and drop their output"
        )
    return mask


def smoothed_labels(labels: Tensor, *, classes: int, smoothing: float) -> Tensor:
    r"""Take some probability from each label and spread it evenly over all classes, its own too.

    .. math:: q_k = (1 - \varepsilon)\, [k = y] + \frac{\varepsilon}{K}

    The even share goes to the label as well, so each row has the sum 1. Without it the sum would
    be :math:`1 - \varepsilon / K`: 0.98 for five classes and a smoothing of 0.1.

    Taught in :ref:`machine-translation` (section 6.2.3).
    Source: :cite:t:`szegedy2016rethinking`, section 7.

    Parameters
    ----------
    labels
        Classes, whole numbers from 0 to K − 1, ``(n,)``.
    classes
        Their number :math:`K`, at least 2.
    smoothing
        The share :math:`\varepsilon`, from 0 (one-hot) to below 1.

    Returns
    -------
    Tensor
        Probabilities ``(n, K)`` of torch's default dtype, each row with sum 1.

    Raises
    ------
    TypeError
        The labels aren't whole numbers.
    ValueError
        A label isn't a class, or a number is out of range.

    Examples
    --------
    >>> smoothed_labels(torch.tensor([1]), classes=4, smoothing=0.2)
    tensor([[0.0500, 0.8500, 0.0500, 0.0500]])
    """
    require_number("classes", classes, least=2)
    require_number("smoothing", smoothing, below=1)
    require_labels("labels", labels, labels.numel(), classes)
    even = torch.full((len(labels), classes), smoothing / classes, device=labels.device)
    return even.scatter_add_(1, labels[:, None], torch.full_like(even[:, :1], 1 - smoothing))


def smoothed_cross_entropy(
    logits: Tensor, labels: Tensor, *, smoothing: float, ignore: int | None = None
) -> Tensor:
    r"""Cross-entropy to smoothed labels, the mean over the places that count.

    .. math::

        \frac1n \sum_{i=1}^{n} \Bigl[ (1 - \varepsilon) \bigl( -\log p_{i y_i} \bigr)
        + \frac{\varepsilon}{K} \sum_{k=1}^{K} \bigl( -\log p_{ik} \bigr) \Bigr]

    with :math:`p = \operatorname{softmax}(z)`: the loss to the label, and a little of the mean
    loss to all classes, which a model pays for being too sure.

    Taught in :ref:`machine-translation` (section 6.2.3).
    Source: :cite:t:`szegedy2016rethinking`, section 7; used for translation by
    :cite:t:`vaswani2017attention`, section 5.4.

    Parameters
    ----------
    logits
        One row a place, ``(n, K)``.
    labels
        What is said there, ``(n,)``.
    smoothing
        The share :math:`\varepsilon`, from 0 (plain cross-entropy) to below 1.
    ignore
        A label whose places don't count, such as padding; None lets all count.

    Returns
    -------
    Tensor
        Scalar, in nats.

    Raises
    ------
    TypeError
        Logits that aren't floating point, or labels that aren't whole numbers.
    ValueError
        Shapes that don't fit, NaN or infinity, a label that isn't a class, or no place that counts.

    Warns
    -----
    UserWarning
        Every row of logits is a probability distribution.

    Examples
    --------
    >>> logits = torch.tensor([[0.0, 0.0], [5.0, -5.0]])  # p is 1/2 for both, then padding
    >>> smoothed_cross_entropy(logits, torch.tensor([1, 0]), smoothing=0.1, ignore=0)
    tensor(0.6931)
    """
    require_logits(logits=logits)
    require_number("smoothing", smoothing, below=1)
    require_labels("labels", labels, len(logits), logits.shape[1])
    warn_of_distribution(logits=logits)
    losses = -logits.log_softmax(1)
    own = losses.gather(1, labels[:, None]).squeeze(1)
    each = (1 - smoothing) * own + smoothing * losses.mean(1)
    if ignore is None:
        return each.mean()
    counted = labels != ignore
    if seen(~counted.any()):
        raise ValueError(
            f"every label is {ignore}, which is ignored: no place counts, and a mean over "
            "none is NaN; leave such batches out"
        )
    return (each * counted).sum() / counted.sum()
