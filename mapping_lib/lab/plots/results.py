"""Pictures of measured tables, for any problem and any methods."""

from __future__ import annotations

import re
import textwrap
from collections.abc import Mapping, Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from mapping_lib.lab.plots.style import WIDTH, bars_with_seeds, panels

Runs = Mapping[str, Mapping[str, Sequence[float]]]


def columns_of(runs: Runs) -> list[str]:
    """Return the columns that any method has, in order, numbers in theirs.

    Raises
    ------
    ValueError
        There are no methods.

    Examples
    --------
    >>> columns_of({"a": {"5, blur": [0.5]}, "b": {"10, blur": [0.7]}})
    ['5, blur', '10, blur']
    """
    if not runs:
        raise ValueError("no results to draw")
    return sorted({column for cells in runs.values() for column in cells}, key=_as_numbers)


def _as_numbers(column: str) -> list[tuple[float, str]]:
    parts = re.split(r"(\d+(?:\.\d+)?)", column)
    return [(float(part), "") if k % 2 else (-1.0, part) for k, part in enumerate(parts)]


def table_of_dots(runs: Runs, *, value: str, by: str = "") -> Figure:
    """Draw a row for each method, in it a dot for each seed and a tick for the mean.

    Where a problem has several columns, such as numbers of labels, each has its colour; where it
    has one, there are bars with numbers.

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
    columns = columns_of(runs)
    runs = {textwrap.fill(method, 26): cells for method, cells in runs.items()}
    figure, (axis,) = panels(ratio=(0.9 + 0.55 * len(runs)) / WIDTH)
    axis.set_xlabel(value)
    if len(columns) == 1:
        _bars(axis, {method: cells[columns[0]] for method, cells in runs.items()})
    else:
        _dots(axis, runs, columns)
        side_by_side = max(1, min(len(columns), 64 // (6 + max(map(len, columns)))))
        figure.legend(title=by, loc="outside upper center", ncols=side_by_side)
    return figure


def table_of_means(runs: Runs, *, value: str, by: str = "") -> Figure:
    """Draw a matrix of the means: a line for each column of the problem, a field for each method.

    For problems with more columns than there are colours for :func:`table_of_dots`.

    Parameters
    ----------
    runs, value, by
        As for :func:`table_of_dots`.

    Raises
    ------
    ValueError
        There are no methods.

    Examples
    --------
    >>> figure = table_of_means({"a": {"1": [0.5, 0.6], "5": [0.8]}}, value="accuracy", by="labels")
    >>> [text.get_text() for text in figure.axes[0].texts]
    ['0.55', '0.80']
    """
    columns = columns_of(runs)
    means = np.array([[np.mean(m.get(c, [np.nan])) for m in runs.values()] for c in columns])
    figure, (axis,) = panels(ratio=(1.6 + 0.23 * len(columns)) / WIDTH)
    image = axis.imshow(means, cmap="cividis", aspect="auto")
    figure.colorbar(image, ax=axis, label=value, aspect=40)
    axis.set_xticks(
        range(len(runs)), [textwrap.fill(method, 26) for method in runs], rotation=90, fontsize=9
    )
    axis.set_yticks(range(len(columns)), columns, fontsize=9)
    axis.set_ylabel(by)
    axis.xaxis.tick_top()
    axis.grid(False)
    middle = (np.nanmin(means) + np.nanmax(means)) / 2
    if len(runs) <= 12:  # or the numbers would touch
        for (row, place), mean in np.ndenumerate(means):
            if np.isfinite(mean):
                colour = "black" if mean > middle else "white"
                axis.text(place, row, f"{mean:.2f}", ha="center", va="center", color=colour, size=8)
    return figure


def _bars(axis: Axes, values: Mapping[str, Sequence[float]]) -> None:
    bars_with_seeds(axis, values, digits=3)
    if max(map(max, values.values())) <= 1:  # shares: there is nothing beyond 1
        axis.set_xticks(np.linspace(0, 1, 6))


def _dots(axis: Axes, runs: Runs, columns: Sequence[str]) -> None:
    for place, column in enumerate(columns):
        colour, height = f"C{place}", 0.5 * place / (len(columns) - 1) - 0.25
        for row, cells in enumerate(runs.values()):
            if column in cells:
                dots = cells[column]
                axis.plot(dots, [row + height] * len(dots), "o", color=colour, alpha=0.4)
                axis.plot(np.mean(dots), row + height, "|", color=colour, ms=11, mew=2.5)
        axis.plot([], [], "o", color=colour, label=column)
    axis.set_yticks(range(len(runs)), list(runs))
    axis.set_yticks(np.arange(0.5, len(runs) - 1), minor=True)  # rules between the rows
    axis.set_ylim(len(runs) - 0.5, -0.5)
    axis.grid(axis="y", visible=False)
    axis.grid(axis="y", which="minor")
    axis.tick_params(axis="y", which="both", length=0)
    axis.spines["left"].set_visible(False)
