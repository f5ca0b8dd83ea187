"""Pictures of weighted points, and of what a method gains over another on the same seeds."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from matplotlib.axes import Axes
from numpy.typing import ArrayLike

from mapping_lib.lab.plots.style import COLOURS, SOURCE


def weighted_points(
    axis: Axes,
    x: ArrayLike,
    y: ArrayLike,
    *,
    weights: ArrayLike | None = None,
    colour: str = SOURCE,
    label: str | None = None,
    area: float = 22.0,
) -> None:
    """Draw points whose area is their weight; those that weigh almost nothing stay as specks.

    Parameters
    ----------
    axis
        Where to draw.
    x, y
        Shape (n,).
    weights
        Shape (n,), not negative; None draws all alike.
    colour, label
        Of the points.
    area
        In square points, of a point of mean weight.

    Raises
    ------
    ValueError
        The weights don't fit the points, one is negative, or all are zero.
    """
    x, y = np.asarray(x, dtype=float), np.asarray(y, dtype=float)
    weights = np.ones(x.shape) if weights is None else np.asarray(weights, dtype=float)
    if not x.shape == y.shape == weights.shape or x.ndim != 1:
        raise ValueError(f"x, y and weights are due for each point, not {x.shape}, {weights.shape}")
    if weights.min() < 0 or weights.sum() == 0:
        raise ValueError("weights must not be negative, nor all zero")
    areas = 1.5 + area * weights / weights.mean()
    axis.scatter(x, y, s=areas, color=colour, alpha=0.45, linewidths=0, label=label)


def gains(
    axis: Axes,
    differences: Mapping[str, Sequence[float]],
    *,
    colours: Mapping[str, str] | None = None,
    notes: Mapping[str, str] | None = None,
) -> None:
    """Draw a row for each method: a dot a seed, and the mean with its interval of 95 %.

    The interval is two standard errors to each side.

    Parameters
    ----------
    axis
        Where to draw; label its x-axis with what was gained over what.
    differences
        By method, one number a seed: the method's result less that of the other on this seed.
    colours
        By method; those without one are blue.
    notes
        By method, words at the right end of the row.

    Raises
    ------
    ValueError
        No methods, or one with fewer than two seeds.
    """
    few = [name for name, values in differences.items() if len(values) < 2]
    if few or not differences:
        raise ValueError(f"at least two seeds are due, for {', '.join(few) or 'one method'}")
    axis.axvline(0, color=COLOURS["grey"], linewidth=1)
    for row, (name, values) in enumerate(differences.items()):
        colour = (colours or {}).get(name, COLOURS["blue"])
        mean = float(np.mean(values))
        error = 2 * float(np.std(values, ddof=1)) / len(values) ** 0.5
        axis.plot(values, [row] * len(values), "o", color=colour, alpha=0.3, markersize=4)
        axis.errorbar(mean, row, xerr=error, fmt="D", color=colour, capsize=4, markersize=6)
        if note := (notes or {}).get(name):
            axis.annotate(
                note, (1.02, row), xycoords=axis.get_yaxis_transform(), va="center", fontsize=10
            )
    axis.set_yticks(range(len(differences)), list(differences))
    axis.set_ylim(len(differences) - 0.5, -0.5)
    axis.grid(axis="y", visible=False)
    axis.tick_params(axis="y", length=0)
    axis.spines["left"].set_visible(False)
