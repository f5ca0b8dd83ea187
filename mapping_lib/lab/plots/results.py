"""Pictures of measured tables, for any problem and any methods."""

from __future__ import annotations

import textwrap
from collections.abc import Mapping, Sequence

import numpy as np
from matplotlib.figure import Figure

from mapping_lib.lab.plots.style import WIDTH, bars_with_seeds, panels

Runs = Mapping[str, Mapping[str, Sequence[float]]]


def table_of_dots(runs: Runs, *, value: str, by: str = "") -> Figure:
    """Draw a line for each method, on it a dot for each seed and a tick for the mean.

    Problems with several columns, such as numbers of labels, get a colour for each; with a single
    one, bars with numbers are drawn.

    Parameters
    ----------
    runs
        One number a seed, by method and column; a method may lack columns.
    value
        What was measured, for the axis.
    by
        What the columns are, for the legend.

    Raises
    ------
    ValueError
        There are no methods.

    Examples
    --------
    >>> figure = table_of_dots({"a": {"1": [0.5, 0.6], "5": [0.8]}}, value="accuracy", by="labels")
    >>> figure.axes[0].get_xlabel()
    'accuracy'
    """
    if not runs:
        raise ValueError("no results to draw")
    columns = list(dict.fromkeys(column for cells in runs.values() for column in cells))
    names = [textwrap.fill(method, 26) for method in runs]
    several = len(columns) > 1
    figure, (axis,) = panels()
    figure.set_size_inches(WIDTH, 0.9 + len(runs) * (0.5 if several else 0.6))
    axis.set_xlabel(value)
    if not several:
        values = [cells[columns[0]] for cells in runs.values()]
        bars_with_seeds(axis, dict(zip(names, values, strict=True)), digits=3)
        return figure
    for place, column in enumerate(columns):
        height = np.linspace(-0.25, 0.25, len(columns))[place]
        for row, cells in enumerate(runs.values()):
            dots = cells.get(column, [])
            axis.plot(dots, [row + height] * len(dots), "o", color=f"C{place}", alpha=0.4)
            if dots:
                axis.plot(np.mean(dots), row + height, "|", color=f"C{place}", ms=11, mew=2.5)
        axis.plot([], [], "o", color=f"C{place}", label=column)
    axis.set_yticks(range(len(names)), names)
    axis.set_ylim(len(names) - 0.5, -0.5)
    axis.tick_params(axis="y", length=0)
    axis.set_yticks(np.arange(0.5, len(names) - 1), minor=True)
    axis.grid(axis="y", visible=False)
    axis.grid(axis="y", which="minor")
    axis.tick_params(axis="y", which="minor", length=0)
    axis.spines["left"].set_visible(False)
    figure.legend(title=by, loc="outside upper center", ncols=min(len(columns), 6))
    return figure
