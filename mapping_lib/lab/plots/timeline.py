"""A vertical timeline, which can be read on a phone."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

from matplotlib.figure import Figure

from mapping_lib.lab.plots.style import COLOURS, WIDTH, panels

Event = tuple[int, str, bool]
"""Year, a few words, and whether the event is marked."""

_ROW = 0.31  # inches


def timeline(events: Sequence[Event], *, plain: str, marked: str) -> Figure:
    """Draw one row for each event, the oldest on top; rows lie further apart where years do.

    Parameters
    ----------
    events
        In the order of their years; up to 36 characters fit.
    plain, marked
        What the two kinds of event are, for the legend.

    Raises
    ------
    ValueError
        No events, or years that go back.

    Examples
    --------
    >>> import matplotlib.pyplot as plt
    >>> figure = timeline([(1958, "perceptron", False)], plain="models", marked="transfer")
    >>> [text.get_text() for text in figure.axes[0].texts]
    ['1958', 'perceptron']
    >>> plt.close(figure)
    """
    years = [year for year, _, _ in events]
    if not years or years != sorted(years):
        raise ValueError("events are due, one at least, in the order of their years")
    heights = [0.0]
    for before, after in pairwise(years):
        heights.append(heights[-1] + 1 + min(after - before, 12) / 10)
    rows = heights[-1] + 3.2  # room for the legend
    figure, (axis,) = panels(ratio=rows * _ROW / WIDTH)
    axis.plot([0, 0], [0, heights[-1]], color=COLOURS["light"], linewidth=3, zorder=1)
    for kind, colour, marker, name in (
        (False, "blue", "o", plain),
        (True, "vermilion", "D", marked),
    ):
        places = [height for height, event in zip(heights, events, strict=True) if event[2] == kind]
        axis.scatter(
            [0] * len(places),
            places,
            s=90,
            color=COLOURS[colour],
            marker=marker,
            label=name,
            zorder=2,
        )
    for height, (year, words, is_marked) in zip(heights, events, strict=True):
        weight = "bold" if is_marked else "normal"
        axis.text(-0.03, height, str(year), ha="right", va="center", fontsize=17)
        axis.text(0.03, height, words, va="center", fontsize=17, fontweight=weight)
    axis.set(xlim=(-0.14, 1), ylim=(heights[-1] + 0.8, -2.4))
    axis.set_axis_off()
    axis.legend(loc="upper left", ncols=2, fontsize=17, borderpad=0, handletextpad=0.2)
    return figure
