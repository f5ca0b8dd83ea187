"""Pictures of representations: who attends to whom, and what a network makes of a photograph."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from torch import Tensor

from mapping_lib.lab.plots.style import COLOURS, panels


def table_of_numbers(
    axis: Axes,
    values: Tensor,
    names: Sequence[str],
    *,
    columns: Sequence[str] | None = None,
    numbers: bool = True,
    size: float = 13,
) -> None:
    """Draw a matrix from 0 (white) to 1 (blue), with the names of its rows and columns.

    Parameters
    ----------
    axis
        Where to draw.
    values
        Shape (n, m).
    names
        Of the rows, and of the columns where those have none of their own.
    columns
        Of the columns.
    numbers
        Whether to write the values into the cells.
    size
        Of the letters.

    Raises
    ------
    ValueError
        The names don't fit the matrix.
    """
    across = names if columns is None else columns
    if values.shape != (len(names), len(across)):
        raise ValueError(f"{len(names)} and {len(across)} names for {tuple(values.shape)} values")
    axis.imshow(values.numpy(), cmap="Blues", vmin=0, vmax=1, aspect="auto")
    axis.set_xticks(range(len(across)), across, rotation=90, fontsize=size)
    axis.set_yticks(range(len(names)), names, fontsize=size)
    axis.grid(False)
    if not numbers:
        return
    for row, line in enumerate(values.tolist()):
        for column, value in enumerate(line):
            colour = "white" if value > 0.6 else COLOURS["black"]
            where: dict[str, Any] = {
                "ha": "center",
                "va": "center",
                "fontsize": size - 2,
                "color": colour,
            }
            axis.text(column, row, f"{value:.2f}".removeprefix("0") or "0", **where)


def channels(image: Tensor, maps: Mapping[str, Tensor], *, count: int = 4) -> Figure:
    """Draw a photograph and, of each layer, the maps of the channels that vary most.

    Each map is drawn from its own smallest value (dark) to its own largest (bright).

    Parameters
    ----------
    image
        Shape (3, height, width), in [0, 1].
    maps
        By the layer's name, shape (channels, height, width).
    count
        Maps of each layer.

    Raises
    ------
    ValueError
        A layer has too few channels, or there is no layer.
    """
    if not maps or any(len(found) < count for found in maps.values()):
        raise ValueError(f"at least one layer of {count} channels or more is due")
    figure, axes = panels(count + 1, len(maps), ratio=1.0)
    grid = axes.reshape(len(maps), count + 1)
    for line, (name, found) in zip(grid, maps.items(), strict=True):
        spread = found.flatten(1).std(1) / (found.flatten(1).abs().amax(1) + 1e-8)
        spread = spread.where(found.flatten(1).std(1) > 1e-6, torch.zeros(()))
        line[0].set_ylabel(name, fontsize=14)
        for axis, channel in zip(line[1:], spread.topk(count).indices.tolist(), strict=True):
            axis.imshow(found[channel].numpy(), cmap="viridis")
    for axis in axes:
        axis.set(xticks=[], yticks=[])
        axis.spines[:].set_visible(False)
        axis.grid(False)
    grid[0, 0].imshow(image.permute(1, 2, 0).numpy())
    return figure
