r"""Conditional random fields over tags (section 6.2.2): one score for a whole row of tags.

Emissions ``(n, time, K)`` score each tag at each place, transitions ``(K, K)`` score each tag
(column) after each other (row). A mask says which places of a padded batch are there.
"""

import torch
from torch import Tensor

from mapping_lib._checks import (
    require_finite,
    require_float,
    require_tensor,
    seen,
    shape,
)

__all__ = ["crf_log_partition", "crf_loss", "crf_marginals", "crf_score", "viterbi"]


def crf_score(
    emissions: Tensor,
    tags: Tensor,
    transitions: Tensor,
    *,
    start: Tensor | None = None,
    end: Tensor | None = None,
    mask: Tensor | None = None,
) -> Tensor:
    r"""Score of one row of tags: what its places say of it, and what its steps do.

    .. math::

        s(x, y) = a_{y_1} + \sum_{t=1}^{T} z_{t, y_t} + \sum_{t=2}^{T} A_{y_{t-1} y_t} + b_{y_T}

    Taught in :ref:`named-entities` (section 6.2.2).
    Source: :cite:t:`lample2016neural`, section 2.2.

    Parameters
    ----------
    emissions
        Scores :math:`z` of each tag at each place, ``(n, time, K)``.
    tags
        The row of tags :math:`y` of each sequence, ``(n, time)``, integers from 0 to K − 1; what
        stands at masked places doesn't matter.
    transitions
        Score :math:`A_{ij}` of tag j after tag i, ``(K, K)``. A step is forbidden by a large
        negative number such as −10,000.
    start, end
        Score of each tag in the first and in the last place, :math:`a` and :math:`b`, ``(K,)``;
        None is 0.
    mask
        Booleans ``(n, time)``: True for the first T places of each sequence, T at least 1. None
        for no padding.

    Returns
    -------
    Tensor
        One score a sequence, ``(n,)``.

    Raises
    ------
    TypeError
        Scores that aren't floating point or differ in type, tags that aren't integers, a mask that
        isn't boolean.
    ValueError
        Shapes that don't fit, NaN or infinity, unknown tags, or a mask with a hole or an empty row.

    Examples
    --------
    >>> emissions = torch.tensor([[[1.0, 0.0], [0.0, 2.0]]])
    >>> transitions = torch.tensor([[0.0, 0.5], [0.0, 0.0]])
    >>> crf_score(emissions, torch.tensor([[0, 1]]), transitions)  # 1 + 2 and the step's 0.5
    tensor([3.5000])
    """
    start, end, mask = _checked(emissions, transitions, start, end, mask)
    tags = _known(tags, emissions, mask)
    places = emissions.gather(2, tags[..., None])[..., 0] * mask
    steps = transitions[tags[:, :-1], tags[:, 1:]] * mask[:, 1:]
    last = tags.gather(1, mask.sum(1, keepdim=True) - 1)[:, 0]
    return start[tags[:, 0]] + places.sum(1) + steps.sum(1) + end[last]


def crf_log_partition(
    emissions: Tensor,
    transitions: Tensor,
    *,
    start: Tensor | None = None,
    end: Tensor | None = None,
    mask: Tensor | None = None,
) -> Tensor:
    r"""Logarithm of the sum of :math:`e^s` over all rows of tags, place by place.

    .. math::

        \log Z(x) = \log \sum_{y} e^{s(x, y)} = \log \sum_j e^{\alpha_T(j) + b_j}, \qquad
        \alpha_1(j) = a_j + z_{1j}, \quad
        \alpha_t(j) = z_{tj} + \log \sum_i e^{\alpha_{t-1}(i) + A_{ij}}

    The forward algorithm: :math:`T K^2` steps in place of :math:`K^T` rows.

    Taught in :ref:`named-entities` (section 6.2.2).
    Source: :cite:t:`lafferty2001conditional`, section 3; :cite:t:`sutton2012introduction`,
    section 4.1.

    Parameters
    ----------
    emissions, transitions, start, end, mask
        As :func:`crf_score` takes them.

    Returns
    -------
    Tensor
        One number a sequence, ``(n,)``; at least the score of any row of tags.

    Raises
    ------
    TypeError, ValueError
        As :func:`crf_score` raises them.

    Examples
    --------
    >>> emissions = torch.zeros(1, 3, 2)  # all 2³ rows have the score 0
    >>> crf_log_partition(emissions, torch.zeros(2, 2))  # log 8
    tensor([2.0794])
    """
    start, end, mask = _checked(emissions, transitions, start, end, mask)
    return (_forward(emissions, transitions, start, mask)[-1] + end).logsumexp(1)


def crf_loss(
    emissions: Tensor,
    tags: Tensor,
    transitions: Tensor,
    *,
    start: Tensor | None = None,
    end: Tensor | None = None,
    mask: Tensor | None = None,
) -> Tensor:
    r"""Negative log-likelihood of whole rows of tags, mean over the sequences.

    .. math::

        \frac1n \sum_{i=1}^{n} \bigl[ \log Z(x_i) - s(x_i, y_i) \bigr]

    Without transitions it is the sum of the places' cross-entropies.

    Taught in :ref:`named-entities` (section 6.2.2).
    Source: :cite:t:`lafferty2001conditional`, section 3; :cite:t:`lample2016neural`, section 2.2.

    Parameters
    ----------
    emissions, tags, transitions, start, end, mask
        As :func:`crf_score` takes them.

    Returns
    -------
    Tensor
        A scalar in nats a sequence, not negative.

    Raises
    ------
    TypeError, ValueError
        As :func:`crf_score` raises them.

    Examples
    --------
    >>> emissions = torch.zeros(1, 3, 2)  # eight rows, all equally likely
    >>> crf_loss(emissions, torch.tensor([[0, 1, 1]]), torch.zeros(2, 2))  # log 8
    tensor(2.0794)
    """
    options = {"start": start, "end": end, "mask": mask}
    total = crf_log_partition(emissions, transitions, **options)
    return (total - crf_score(emissions, tags, transitions, **options)).mean()


def crf_marginals(
    emissions: Tensor,
    transitions: Tensor,
    *,
    start: Tensor | None = None,
    end: Tensor | None = None,
    mask: Tensor | None = None,
) -> Tensor:
    r"""Probability of each tag at each place, over all rows of tags.

    .. math::

        p(y_t = j \mid x) = e^{\alpha_t(j) + \beta_t(j) - \log Z(x)}, \qquad
        \beta_T(j) = b_j, \quad
        \beta_t(i) = \log \sum_j e^{A_{ij} + z_{t+1,j} + \beta_{t+1}(j)}

    It is the gradient of :math:`\log Z` in the emissions, so the gradient of the loss in them is
    this minus the one-hot tags, as for the softmax.

    Taught in :ref:`named-entities` (section 6.2.2).
    Source: :cite:t:`sutton2012introduction`, section 4.1.

    Parameters
    ----------
    emissions, transitions, start, end, mask
        As :func:`crf_score` takes them.

    Returns
    -------
    Tensor
        Probabilities ``(n, time, K)``, each place with sum 1; masked places are 0.

    Raises
    ------
    TypeError, ValueError
        As :func:`crf_score` raises them.

    Examples
    --------
    >>> never = -10_000.0  # from tag 0 on to tag 1 only: three rows are left
    >>> transitions = torch.tensor([[0.0, 0.0], [never, 0.0]])
    >>> crf_marginals(torch.zeros(1, 2, 2), transitions)
    tensor([[[0.6667, 0.3333],
             [0.3333, 0.6667]]])
    """
    start, end, mask = _checked(emissions, transitions, start, end, mask)
    forward = _forward(emissions, transitions, start, mask)
    backward = [end.expand(len(emissions), -1)]
    for t in range(emissions.shape[1] - 1, 0, -1):
        later = (emissions[:, t] + backward[-1])[:, None, :]
        step = (transitions + later).logsumexp(2)
        backward.append(torch.where(mask[:, t, None], step, backward[-1]))
    both = torch.stack(forward, 1) + torch.stack(backward[::-1], 1)
    total = (forward[-1] + end).logsumexp(1)
    return (both - total[:, None, None]).exp() * mask[..., None]


def viterbi(
    emissions: Tensor,
    transitions: Tensor,
    *,
    start: Tensor | None = None,
    end: Tensor | None = None,
    mask: Tensor | None = None,
) -> Tensor:
    r"""Return the row of tags with the highest score.

    .. math::

        y^* = \operatorname*{arg\,max}_{y} s(x, y), \qquad
        \delta_t(j) = z_{tj} + \max_i \bigl[ \delta_{t-1}(i) + A_{ij} \bigr]

    with :math:`\delta_1 = \alpha_1`: the forward algorithm with a maximum in place of the sum. It
    keeps for each tag from which it was reached best, and reads these pointers backwards.

    Taught in :ref:`named-entities` (section 6.2.2).
    Source: :cite:t:`viterbi1967error`; :cite:t:`sutton2012introduction`, section 4.1.

    Parameters
    ----------
    emissions, transitions, start, end, mask
        As :func:`crf_score` takes them.

    Returns
    -------
    Tensor
        Tags ``(n, time)``, integers; −1 at masked places.

    Raises
    ------
    TypeError, ValueError
        As :func:`crf_score` raises them.

    Examples
    --------
    >>> emissions = torch.tensor([[[1.0, 0.0], [0.0, 2.0], [1.0, 0.0]]])
    >>> viterbi(emissions, torch.zeros(2, 2))  # each place by itself
    tensor([[0, 1, 0]])
    >>> viterbi(emissions, torch.tensor([[0.0, 0.0], [-5.0, 0.0]]))  # leaving tag 1 is dear
    tensor([[0, 1, 1]])
    """
    start, end, mask = _checked(emissions, transitions, start, end, mask)
    best, pointers = start + emissions[:, 0], []
    for t in range(1, emissions.shape[1]):
        step, pointer = (best[:, :, None] + transitions).max(1)
        here = mask[:, t, None]
        best = torch.where(here, step + emissions[:, t], best)
        itself = torch.arange(best.shape[1], device=best.device)
        pointers.append(torch.where(here, pointer, itself))
    row = [(best + end).argmax(1)]
    for pointer in reversed(pointers):
        row.append(pointer.gather(1, row[-1][:, None])[:, 0])
    return torch.stack(row[::-1], 1).masked_fill(~mask, -1)


def _forward(emissions: Tensor, transitions: Tensor, start: Tensor, mask: Tensor) -> list[Tensor]:
    """Return the forward scores of each place; after its end a sequence keeps its last ones."""
    forward = [start + emissions[:, 0]]
    for t in range(1, emissions.shape[1]):
        step = (forward[-1][:, :, None] + transitions).logsumexp(1) + emissions[:, t]
        forward.append(torch.where(mask[:, t, None], step, forward[-1]))
    return forward


def _checked(
    emissions: Tensor,
    transitions: Tensor,
    start: Tensor | None,
    end: Tensor | None,
    mask: Tensor | None,
) -> tuple[Tensor, Tensor, Tensor]:
    """Require what fits together; return start, end and mask, made where they were left out."""
    ends = {name: given for name, given in (("start", start), ("end", end)) if given is not None}
    require_float(emissions=emissions, transitions=transitions, **ends)
    require_finite(emissions=emissions, transitions=transitions, **ends)
    if emissions.ndim != 3:
        raise ValueError(
            f"emissions must have the shape (n, time, tags), got {shape(emissions)}; "
            "give a single sentence an axis with [None]"
        )
    n, length, classes = emissions.shape
    if transitions.shape != (classes, classes):
        raise ValueError(
            f"transitions must be ({classes}, {classes}), a row and a column for each tag of "
            f"emissions {shape(emissions)}, got {shape(transitions)}"
        )
    for name, given in ends.items():
        if given.shape != (classes,):
            raise ValueError(f"{name} must be ({classes},), one a tag, got {shape(given)}")
    if mask is None:
        mask = torch.ones(n, length, dtype=torch.bool, device=emissions.device)
    require_tensor(mask=mask)
    if mask.dtype != torch.bool:
        raise TypeError(
            f"mask must be boolean, True where there is a token, got {mask.dtype}; write mask == 1"
        )
    if mask.shape != (n, length):
        raise ValueError(f"mask must be ({n}, {length}), one a place, got {shape(mask)}")
    if seen(~mask[:, 0].all()) or seen((mask[:, 1:] & ~mask[:, :-1]).any()):
        raise ValueError(
            "mask must be True from the first place of each sequence to its last, without a hole; "
            "pad at the end, and leave empty sequences out"
        )
    none = emissions.new_zeros(classes)
    return none if start is None else start, none if end is None else end, mask


def _known(tags: Tensor, emissions: Tensor, mask: Tensor) -> Tensor:
    """Require a known tag at each place that is there; put tag 0 at the others."""
    require_tensor(tags=tags)
    if tags.is_floating_point() or tags.is_complex() or tags.dtype == torch.bool:
        raise TypeError(f"tags must be integers, got {tags.dtype}; use tags.long()")
    if tags.shape != mask.shape:
        raise ValueError(f"tags must be {shape(mask)}, one a place, got {shape(tags)}")
    tags, classes = tags.long().masked_fill(~mask, 0), emissions.shape[2]
    if seen(((tags < 0) | (tags >= classes)).any()):
        raise ValueError(
            f"tags must lie between 0 and {classes - 1}, got {int(tags.min())} to "
            f"{int(tags.max())}; mask padding, and count tags from 0"
        )
    return tags
