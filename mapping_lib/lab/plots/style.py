"""The house style: colours that colour-blind readers can tell apart, sizes, common plots."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import matplotlib.pyplot as plt
import numpy as np
from cycler import cycler
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from numpy.typing import ArrayLike, NDArray

COLOURS = {
    "blue": "#0072B2",
    "orange": "#E69F00",
    "green": "#009E73",
    "vermilion": "#D55E00",
    "purple": "#CC79A7",
    "sky": "#56B4E9",
    "yellow": "#F0E442",
    "black": "#000000",
    "grey": "#7F7F7F",
    "light": "#D9D9D9",
}
"""The palette of Okabe and Ito, which colour-blind readers can tell apart, and two greys."""

SOURCE = COLOURS["blue"]
"""The colour of what belongs to the source, in the whole book."""

TARGET = COLOURS["vermilion"]
"""The colour of what belongs to the target, in the whole book."""

WIDTH = 7.0
"""The width of a figure in inches, which is that of the text column at 100 pixels an inch."""

_INK = "#262626"
_CYCLE = ["blue", "vermilion", "green", "purple", "orange", "sky", "black"]


def use_style() -> None:
    """Switch the house style on for all figures drawn afterwards."""
    plt.rcParams.update(
        {
            "figure.figsize": (WIDTH, WIDTH * 0.55),
            "figure.dpi": 150,
            "figure.constrained_layout.use": True,
            "figure.facecolor": "white",
            "savefig.facecolor": "white",
            "font.family": "DejaVu Sans",
            # On a phone a figure is half as wide: its words must be read there, too.
            "font.size": 12.5,
            "axes.titlesize": 13,
            "axes.titlelocation": "left",
            "axes.labelsize": 12.5,
            "xtick.labelsize": 11.5,
            "ytick.labelsize": 11.5,
            "legend.fontsize": 11.5,
            "legend.framealpha": 0.85,
            "legend.edgecolor": "none",
            "mathtext.fontset": "cm",
            "text.color": _INK,
            "axes.edgecolor": "#8C8C8C",
            "axes.labelcolor": _INK,
            "axes.titlecolor": _INK,
            "xtick.color": "#8C8C8C",
            "ytick.color": "#8C8C8C",
            "xtick.labelcolor": _INK,
            "ytick.labelcolor": _INK,
            "axes.prop_cycle": cycler(color=[COLOURS[name] for name in _CYCLE]),
            "axes.spines.top": False,
            "axes.spines.right": False,
            "axes.axisbelow": True,
            "axes.grid": True,
            "grid.color": "#EBEBEB",
            "grid.linewidth": 0.8,
            "lines.linewidth": 2.0,
            "lines.markersize": 5,
            "lines.solid_capstyle": "round",
            "image.cmap": "cividis",
            "image.interpolation": "nearest",
        }
    )


def panels(
    columns: int = 1, rows: int = 1, *, ratio: float = 0.8, **settings: Any
) -> tuple[Figure, NDArray[np.object_]]:
    """Make a figure of house width with equal panels.

    Parameters
    ----------
    columns, rows
        Number of panels; more than three side by side are too small for a phone.
    ratio
        Height of a panel over its width.
    **settings
        Passed on to :func:`matplotlib.pyplot.subplots`.

    Returns
    -------
    Figure, array of Axes
        The axes in one row, panel after panel, whatever their number.

    Examples
    --------
    >>> figure, axes = panels(2, ratio=1)
    >>> axes.shape, figure.get_size_inches().tolist()
    ((2,), [7.0, 3.5])
    >>> plt.close(figure)
    """
    size = (WIDTH, WIDTH / columns * ratio * rows)
    figure, axes = plt.subplots(rows, columns, figsize=size, squeeze=False, **settings)
    return figure, axes.ravel()


def learning_curve(
    axis: Axes,
    x: ArrayLike,
    values: ArrayLike,
    *,
    label: str | None = None,
    colour: str | None = None,
    **settings: Any,
) -> None:
    """Draw the mean of several runs as a line, in a band of one standard deviation.

    Parameters
    ----------
    axis
        Where to draw.
    x
        Shape (n,): epochs, numbers of labels.
    values
        Shape (seeds, n), or (n,) for a single run, which has no band.
    label, colour
        Of the line; without a colour the next of the cycle is taken.
    **settings
        Passed on to :meth:`matplotlib.axes.Axes.plot`.

    Raises
    ------
    ValueError
        A run does not have one value for each x.
    """
    x, runs = np.asarray(x), np.atleast_2d(np.asarray(values, dtype=float))
    if runs.ndim != 2 or x.shape != runs.shape[1:]:
        raise ValueError(f"values must be (seeds, {x.size}), one for each x, not {runs.shape}")
    mean = runs.mean(axis=0)
    settings |= {"color": colour} if colour else {}
    (line,) = axis.plot(x, mean, label=label, **settings)
    if len(runs) > 1:
        spread = runs.std(axis=0, ddof=1)
        axis.fill_between(
            x, mean - spread, mean + spread, color=line.get_color(), alpha=0.18, linewidth=0
        )


def bars_with_seeds(
    axis: Axes,
    results: Mapping[str, Sequence[float]],
    *,
    colours: Mapping[str, str] | None = None,
    digits: int = 2,
) -> None:
    """Draw a horizontal bar for each method, a dot for each seed, and mean ± deviation as text.

    Parameters
    ----------
    axis
        Where to draw; label its x-axis with what was measured.
    results
        One number a seed, by method; the first method stands on top.
    colours
        By method; those without one are blue.
    digits
        Decimals in the text.

    Raises
    ------
    ValueError
        No methods, or a method without results.
    """
    empty = [name for name, values in results.items() if len(values) == 0]
    if empty or not results:
        raise ValueError(f"no results for {', '.join(empty)}" if empty else "no results")
    largest = max(max(values) for values in results.values())
    for row, (name, values) in enumerate(results.items()):
        colour = (colours or {}).get(name, COLOURS["blue"])
        mean = float(np.mean(values))
        text = f"{mean:.{digits}f}"
        if len(values) > 1:
            text += f" ± {np.std(values, ddof=1):.{digits}f}"
        axis.barh(row, mean, height=0.6, color=colour, alpha=0.35)
        axis.plot(values, [row] * len(values), "o", color=colour, markersize=4)
        axis.annotate(
            text, (max(*values, mean), row), (8, 0), textcoords="offset points", va="center"
        )
    axis.set_yticks(range(len(results)), list(results))
    axis.invert_yaxis()
    axis.grid(axis="y", visible=False)
    axis.tick_params(axis="y", length=0)
    axis.spines["left"].set_visible(False)
    axis.set_xlim(0, largest * 1.45)
