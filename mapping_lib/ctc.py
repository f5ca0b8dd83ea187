r"""Connectionist temporal classification (section 6.3.1): labels without their times.

A network gives a distribution over labels and a *blank* for each frame. A path is one label a
frame; collapsing it (equal neighbours once, then no blanks) gives a sequence of labels. The
probability of a sequence is that of all paths that collapse to it.
"""

from collections.abc import Sequence
from itertools import pairwise

import torch
from torch import Tensor

from mapping_lib._checks import require_finite, require_float, require_number, seen, shape

__all__ = ["collapse", "ctc_loss", "frames_needed", "greedy_decode"]


def collapse(path: Sequence[int] | Tensor, *, blank: int = 0) -> list[int]:
    r"""Return the labels that a path stands for: equal neighbours once, then no blanks.

    .. math::

        \mathcal B(\pi) = \bigl( \pi_t : \pi_t \ne \pi_{t-1} \text{ or } t = 1,\;
        \pi_t \ne \text{blank} \bigr)

    Taught in :ref:`speech-recognition` (section 6.3.1).
    Source: :cite:t:`graves2006connectionist`, section 3.1.

    Parameters
    ----------
    path
        One label a frame.
    blank
        The label that stands for none.

    Returns
    -------
    list of int
        At most as many labels as there are frames.

    Raises
    ------
    ValueError
        The path has not one axis.

    Examples
    --------
    >>> collapse([0, 3, 3, 0, 3, 5, 5])
    [3, 3, 5]
    """
    if isinstance(path, Tensor):
        if path.ndim != 1:
            raise ValueError(
                f"path must have one label a frame, got the shape {shape(path)}; "
                "give one example at a time"
            )
        path = path.tolist()
    frames = [int(label) for label in path]
    return [
        label
        for before, label in zip([blank, *frames], frames, strict=False)
        if label not in (before, blank)
    ]


def frames_needed(labels: Sequence[int] | Tensor) -> int:
    r"""Return the frames of the shortest path that collapses to these labels.

    One for each label, and one for the blank between two that are equal:

    .. math:: L + \bigl| \{ i > 1 : y_i = y_{i-1} \} \bigr|

    Taught in :ref:`speech-recognition` (section 6.3.1).
    Source: :cite:t:`graves2006connectionist`, section 4.1.

    Parameters
    ----------
    labels
        The sequence, without blanks.

    Returns
    -------
    int
        Number of frames.

    Raises
    ------
    TypeError
        The labels can't be gone through one by one.

    Examples
    --------
    >>> frames_needed([7, 7, 2])
    4
    """
    wanted = [int(label) for label in labels]
    return len(wanted) + sum(a == b for a, b in pairwise(wanted))


def ctc_loss(
    logits: Tensor,
    targets: Tensor,
    *,
    frames: Tensor | None = None,
    lengths: Tensor | None = None,
    blank: int = 0,
) -> Tensor:
    r"""Mean negative log-probability of the target sequences, by the forward algorithm.

    With blanks before, between and after its labels, a target becomes
    :math:`y' = (\varnothing, y_1, \varnothing, y_2, \dots, y_L, \varnothing)`. Of all paths whose
    first :math:`t` frames end in its place :math:`s`, the probability together is

    .. math::

        \alpha_t(s) = p_t(y'_s) \bigl[ \alpha_{t-1}(s) + \alpha_{t-1}(s - 1)
        + \alpha_{t-1}(s - 2) \, [y'_s \ne \varnothing, \; y'_s \ne y'_{s-2}] \bigr]

    and the loss of one example is :math:`-\log (\alpha_T(2L + 1) + \alpha_T(2L))`. Computed in
    logarithms. ``torch.nn.functional.ctc_loss`` is faster and takes log-probabilities with the
    frames as first axis; its ``reduction="mean"`` also divides by the targets' lengths, and it
    returns infinity where this function says that a target is too long.

    Taught in :ref:`speech-recognition` (section 6.3.1).
    Source: :cite:t:`graves2006connectionist`, eq. 6 to 8.

    Parameters
    ----------
    logits
        Scores ``(n, T, K)``: for each frame one a label, the blank among them.
    targets
        Labels ``(n, L)``, integers; what follows a target's own length is ignored.
    frames
        How many frames of each example count, ``(n,)``; None means all.
    lengths
        How many labels each target has, ``(n,)``, 0 allowed; None means all.
    blank
        Which of the K labels is the blank.

    Returns
    -------
    Tensor
        A scalar in nats, at least 0.

    Raises
    ------
    TypeError
        The logits aren't floating point, or targets or counts no integers.
    ValueError
        Shapes that don't fit, NaN or infinity, a label out of range or equal to the blank, or a
        target that needs more frames than there are.

    Examples
    --------
    Three frames, blank and one label, all equally likely: 6 of the 8 paths collapse to "1".

    >>> loss = ctc_loss(torch.zeros(1, 3, 2), torch.tensor([[1]]))
    >>> (-loss).exp()
    tensor(0.7500)
    """
    frames, lengths = _checked(logits, targets, frames, lengths, blank)
    n, steps, _ = logits.shape
    places = 2 * targets.shape[1] + 1
    device = logits.device
    spread = torch.full((n, places), blank, dtype=torch.long, device=device)  # blanks between
    within = torch.arange(targets.shape[1], device=device) < lengths[:, None]
    spread[:, 1::2] = targets.where(within, blank)
    skips = torch.zeros((n, places), dtype=torch.bool, device=device)
    skips[:, 2:] = (spread[:, 2:] != blank) & (spread[:, 2:] != spread[:, :-2])

    emitted = logits.log_softmax(-1).gather(2, spread[:, None].expand(-1, steps, -1))
    never = torch.finfo(logits.dtype).min / 4  # log 0, but its gradient is no NaN
    start = torch.arange(places, device=device) < 2
    alpha = emitted[:, 0].where(start, never)
    for t in range(1, steps):
        one = _moved(alpha, 1, never)
        two = _moved(alpha, 2, never).where(skips, never)
        ahead = torch.stack([alpha, one, two]).logsumexp(0) + emitted[:, t]
        alpha = ahead.where((t < frames)[:, None], alpha)  # an example that is over stays
    last = alpha.gather(1, 2 * lengths[:, None])[:, 0]
    if targets.shape[1]:
        before = alpha.gather(1, (2 * lengths - 1).clamp(min=0)[:, None])[:, 0]
        last = torch.logaddexp(last, before.where(lengths > 0, never))
    return -last.mean()


def greedy_decode(
    logits: Tensor, *, frames: Tensor | None = None, blank: int = 0
) -> list[list[int]]:
    r"""Return for each example the labels of its likeliest path.

    .. math:: \mathcal B \Bigl( \operatorname*{arg\,max}_k z_{1k}, \dots,
        \operatorname*{arg\,max}_k z_{Tk} \Bigr)

    The likeliest path needn't belong to the likeliest sequence, which many paths share; finding
    that one takes a search.

    Taught in :ref:`speech-recognition` (section 6.3.1).
    Source: :cite:t:`graves2006connectionist`, eq. 4.

    Parameters
    ----------
    logits, frames, blank
        As :func:`ctc_loss` takes them.

    Returns
    -------
    list of list of int
        The labels of each example; none where all is blank.

    Raises
    ------
    TypeError
        The logits aren't floating point, or the frames no integers.
    ValueError
        Shapes that don't fit, or NaN or infinity.

    Examples
    --------
    >>> logits = torch.tensor([[[0.0, 2.0], [0.0, 1.0], [1.0, 0.0], [0.0, 1.0]]])
    >>> greedy_decode(logits)
    [[1, 1]]
    """
    frames = _checked_logits(logits, frames, blank)
    paths = logits.argmax(-1).tolist()
    return [
        collapse(path[:count], blank=blank)
        for path, count in zip(paths, frames.tolist(), strict=True)
    ]


def _moved(alpha: Tensor, by: int, never: float) -> Tensor:
    """Shift the places to the right, nothing coming in."""
    return torch.nn.functional.pad(alpha, (by, 0), value=never)[:, : alpha.shape[1]]


def _checked_logits(logits: Tensor, frames: Tensor | None, blank: int) -> Tensor:
    """Check logits and their frames, and return the frames."""
    require_float(logits=logits)
    require_finite(logits=logits)
    if logits.ndim != 3:
        raise ValueError(
            f"logits must have the shape (n, frames, labels), got {shape(logits)}; "
            "add an axis for a single example with logits[None]"
        )
    require_number("blank", blank, most=logits.shape[2] - 1)
    if frames is None:
        return torch.full((len(logits),), logits.shape[1], device=logits.device)
    return _counts("frames", frames, len(logits), 1, logits.shape[1])


def _checked(
    logits: Tensor, targets: Tensor, frames: Tensor | None, lengths: Tensor | None, blank: int
) -> tuple[Tensor, Tensor]:
    """Check everything, and return frames and lengths."""
    frames = _checked_logits(logits, frames, blank)
    n, labels = len(logits), logits.shape[2]
    if not isinstance(targets, Tensor) or targets.is_floating_point():
        raise TypeError("targets must be a tensor of integers; use torch.tensor([[…]])")
    if targets.ndim != 2 or len(targets) != n:
        raise ValueError(f"targets must have the shape ({n}, labels), got {shape(targets)}")
    if lengths is None:
        lengths = torch.full((n,), targets.shape[1], device=logits.device)
    lengths = _counts("lengths", lengths, n, 0, targets.shape[1])
    for i in range(n) if targets.device.type != "meta" else ():
        own = targets[i, : int(lengths[i])]
        if seen(((own < 0) | (own >= labels) | (own == blank)).any()):
            raise ValueError(
                f"target {i} must hold labels from 0 to {labels - 1} other than the blank "
                f"{blank}, got {own.tolist()}; count labels from 1 if the blank is 0"
            )
        if frames_needed(own) > frames[i]:
            raise ValueError(
                f"target {i} with {len(own)} labels needs {frames_needed(own)} frames (one more "
                f"for each repeated label), but there are {int(frames[i])}; shorten the stride of "
                "the encoder, or leave the example out"
            )
    return frames, lengths


def _counts(name: str, counts: Tensor, n: int, least: int, most: int) -> Tensor:
    """Check one whole number an example."""
    if not isinstance(counts, Tensor) or counts.is_floating_point():
        raise TypeError(f"{name} must be a tensor of integers; use torch.tensor([…])")
    if counts.shape != (n,):
        raise ValueError(f"{name} must have the shape ({n},), got {shape(counts)}")
    if seen(((counts < least) | (counts > most)).any()):
        raise ValueError(f"{name} must lie between {least} and {most}, got {counts.tolist()}")
    return counts
