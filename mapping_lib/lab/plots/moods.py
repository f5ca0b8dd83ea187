"""Figures of moods: the pitch of a voice over time, and what moods have in common."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from torch import Tensor

from mapping_lib.lab.plots.style import COLOURS, SOURCE, TARGET, panels
from mapping_lib.prosody import pitch

__all__ = ["draw_intervals", "draw_pitch", "draw_profiles"]


def draw_pitch(
    axis: Axes, wave: Tensor, *, rate: int, label: str, colour: str, voiced: float = 0.7
) -> None:
    """Draw the pitch of a voice over time, with gaps where there is none.

    Parameters
    ----------
    axis
        Where to draw.
    wave
        Shape (samples,).
    rate
        Samples a second.
    label
        For the legend.
    colour
        A name of the palette.
    voiced
        Least strength of a frame that is drawn.
    """
    track = pitch(wave, rate=rate)
    seconds = 0.025 + 0.01 * np.arange(len(track.hertz))
    hertz = np.where(track.strength.numpy() >= voiced, track.hertz.numpy(), np.nan)
    axis.plot(seconds, hertz, "o-", color=COLOURS[colour], markersize=3, lw=1.5, label=label)
    axis.set(xlabel="time in s", ylabel="pitch in Hz")


def draw_profiles(
    rows: Sequence[Mapping[str, Any]], corpora: Sequence[str], moods: Sequence[str]
) -> Figure:
    """Draw, for each mood, the mean of each feature in two corpora: where both agree, dots meet.

    Parameters
    ----------
    rows
        Each with "corpus", "mood", "feature" and "mean".
    corpora
        The two to compare, the source first.
    moods
        A panel each.
    """
    names = list(dict.fromkeys(row["feature"] for row in rows))
    figure, axes = panels(2, 2, ratio=0.85, sharex=True, sharey=True)
    for axis, mood in zip(axes, moods, strict=True):
        axis.axvline(0, color=COLOURS["grey"], lw=1)
        places = {}
        for corpus, colour, mark in zip(corpora, (SOURCE, TARGET), "os", strict=True):
            means = {
                row["feature"]: row["mean"]
                for row in rows
                if (row["corpus"], row["mood"]) == (corpus, mood)
            }
            places[corpus] = [means[name] for name in names]
            axis.plot(places[corpus], range(len(names)), mark, color=colour, label=corpus, ms=7)
        axis.hlines(range(len(names)), *places.values(), color=COLOURS["light"], lw=3, zorder=1)
        axis.set_title(mood, fontsize=13)
        axis.tick_params(labelsize=12)
    axes[0].set_yticks(range(len(names)), names)
    axes[0].invert_yaxis()
    figure.legend(*axes[0].get_legend_handles_labels(), loc="outside upper right", ncols=2)
    figure.supxlabel("mean over clips, in standard deviations of a speaker", fontsize=12)
    return figure


def draw_intervals(axis: Axes, found: Mapping[str, tuple[float, float, float]]) -> None:
    """Draw a value and its interval for each name, a row each, the first on top.

    Parameters
    ----------
    axis
        Where to draw.
    found
        Value, lower and upper end, by name.
    """
    for row, (value, low, high) in enumerate(found.values()):
        axis.plot([low, high], [row, row], color=COLOURS["blue"], lw=3, alpha=0.4)
        axis.plot(value, row, "o", color=COLOURS["blue"], ms=7)
        text = f"{value:.2f} ({low:.2f} to {high:.2f})"
        axis.annotate(text, (high, row), (8, 0), textcoords="offset points", va="center")
    axis.set_yticks(range(len(found)), list(found))
    axis.set_ylim(len(found) - 0.5, -0.5)
