"""Figures of speakers: errors of detection, voices as points, and who is taken for whom."""

from __future__ import annotations

from collections.abc import Sequence
from statistics import NormalDist

import matplotlib.pyplot as plt
import numpy as np
import torch
from matplotlib.axes import Axes
from torch import Tensor

from mapping_lib.lab.plots.style import COLOURS
from mapping_lib.lab.speakers import Trials
from mapping_lib.speech import detection_errors

__all__ = ["draw_det", "draw_points", "draw_voices", "prepare_det", "voice_scores"]

_TICKS = (0.01, 0.05, 0.2, 0.5, 0.8)
_LEAST = 0.004


def _deviate(shares: Sequence[float]) -> list[float]:
    """Return normal deviates of shares, which are kept away from 0 and 1."""
    normal = NormalDist()
    return [normal.inv_cdf(min(max(share, _LEAST / 10), 1 - _LEAST / 10)) for share in shares]


def prepare_det(axis: Axes) -> None:
    """Give a panel the axes of a DET curve: both errors on the scale of normal deviates.

    The dotted diagonal is where the two are equal.

    Parameters
    ----------
    axis
        Where the curves will be drawn.
    """
    places = _deviate(_TICKS)
    names = [f"{share:.0%}" for share in _TICKS]
    axis.set_xticks(places, names)
    axis.set_yticks(places, names)
    ends = _deviate((_LEAST, 0.9))
    axis.plot(ends, ends, color=COLOURS["grey"], linewidth=1.2, linestyle=":")
    axis.set(xlim=ends, ylim=ends, xlabel="false accepts", ylabel="false rejects")
    axis.set_aspect("equal")


def draw_det(axis: Axes, trials: Trials, *, colour: str, label: str, style: str = "-") -> None:
    """Draw the DET curve of some trials, and a dot at the equal error rate.

    Parameters
    ----------
    axis
        That `prepare_det` prepared.
    trials
        The pairs.
    colour
        A name of the palette.
    label
        For the legend.
    style
        Of the line.
    """
    errors = detection_errors(trials.scores, trials.same_voice)
    at = torch.linspace(0, len(errors.thresholds) - 1, 400).long()  # enough for a picture
    x, y = (_deviate(share[at].tolist()) for share in errors[1:])
    axis.plot(x, y, color=COLOURS[colour], linestyle=style, label=label)
    equal = _deviate([trials.error()])
    axis.plot(equal, equal, "o", color=COLOURS[colour], markersize=7)


def draw_points(
    axis: Axes, points: Tensor, values: Sequence[float], *, title: str, label: str = ""
) -> None:
    """Draw embeddings in two dimensions, coloured by a number each.

    Parameters
    ----------
    axis
        Where to draw.
    points
        Shape (n, 2).
    values
        What the colours show, such as pitch; they are put in order, so that equal steps in rank
        are equal steps in colour.
    title
        Of the panel.
    label
        Of the scale of colours; none is drawn if it is empty.
    """
    ranks = np.unique(np.asarray(values), return_inverse=True)[1]
    colours = plt.get_cmap("cividis")(ranks / max(ranks.max(), 1))
    axis.scatter(points[:, 0], points[:, 1], c=colours, s=16, linewidths=0)
    axis.set_title(title)
    axis.set(xticks=[], yticks=[])
    if label:
        axis.set_xlabel(label)


def voice_scores(trials: Trials) -> Tensor:
    """Return the mean score of each pair of speakers, ``(k, k)``; the diagonal is within one.

    Parameters
    ----------
    trials
        The pairs.
    """
    count = int(trials.speakers.max()) + 1
    sums, number = torch.zeros(count, count), torch.zeros(count, count)
    first, second = trials.speakers.unbind(1)
    for one, other in ((first, second), (second, first)):
        sums.index_put_((one, other), trials.scores, accumulate=True)
        number.index_put_((one, other), torch.ones(len(trials)), accumulate=True)
    return sums / number


def draw_voices(axis: Axes, scores: Tensor, names: Sequence[str]) -> None:
    """Draw how alike speakers sound to an encoder, with the numbers written in.

    Parameters
    ----------
    axis
        Where to draw.
    scores
        Shape (k, k), as `voice_scores` returns them.
    names
        Of the k speakers.
    """
    axis.imshow(scores.numpy(), cmap="cividis", vmin=-0.5, vmax=1)
    for row, line in enumerate(scores.tolist()):
        for column, score in enumerate(line):
            text = f"{score:.1f}".replace("-0.0", "0.0").replace("-", "\N{MINUS SIGN}")
            shade = "white" if score < 0.35 else "black"
            axis.text(column, row, text, ha="center", va="center", color=shade, fontsize=11)
    axis.set_xticks(range(len(names)), names, rotation=60, ha="right")
    axis.set_yticks(range(len(names)), names)
    axis.grid(False)
