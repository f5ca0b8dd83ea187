"""Curves of measured tables: a value over a column, mean and deviation over the seeds."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from matplotlib.axes import Axes

from mapping_lib.lab.plots.style import COLOURS, learning_curve


def draw_rows(
    axis: Axes,
    rows: Sequence[Mapping[str, Any]],
    *,
    over: str,
    value: str = "accuracy",
    colour: str = "blue",
    label: str | None = None,
    **where: Any,
) -> dict[Any, float]:
    """Draw a value of a results file over one of its columns, and return the means.

    Parameters
    ----------
    axis
        Where to draw.
    rows
        With "seed", the column and the value.
    over
        The column along the axis.
    value
        What was measured.
    colour
        A name of the palette.
    label
        Of the line.
    **where
        Columns and what they must hold.

    Returns
    -------
    dict
        The mean over the seeds, by the column's values.

    Raises
    ------
    ValueError
        No row matches, or a seed lacks a value of the column or has it twice.
    """
    chosen = [row for row in rows if all(row.get(key) == wanted for key, wanted in where.items())]
    if not chosen:
        raise ValueError(f"no row has {where}")
    found = {(row["seed"], row[over]): row[value] for row in chosen}
    seeds, places = (sorted({key[k] for key in found}) for k in (0, 1))
    if len(found) != len(chosen) or len(found) != len(seeds) * len(places):
        raise ValueError(f"each seed must have one row for each {over}: {where} doesn't fit")
    runs = np.array([[found[seed, place] for place in places] for seed in seeds])
    learning_curve(axis, places, runs, label=label, colour=COLOURS[colour], marker="o")
    return dict(zip(places, runs.mean(0).tolist(), strict=True))
