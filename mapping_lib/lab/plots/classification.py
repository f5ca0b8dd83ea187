"""Pictures of how sure a classifier is, and of where it looked."""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from torch import Tensor
from torch.nn.functional import interpolate

from mapping_lib.lab.plots.style import COLOURS, panels
from mapping_lib.metrics import Reliability


def reliability_diagram(axis: Axes, found: Reliability, *, colour: str = "blue") -> None:
    """Draw accuracy over confidence, a dot a bin, its area the number of examples in it.

    Lines from the dots to the diagonal are what the calibration error averages.

    Parameters
    ----------
    axis
        Where to draw.
    found
        What :func:`mapping_lib.metrics.reliability` returned.
    colour
        Of the dots, a name of the palette.
    """
    confidence, accuracy, size = (values.tolist() for values in found)
    axis.plot([0, 1], [0, 1], color=COLOURS["grey"], lw=1)
    axis.vlines(confidence, confidence, accuracy, color=COLOURS[colour], lw=1.5)
    areas = [20 + 300 * count / sum(size) for count in size]
    axis.scatter(confidence, accuracy, s=areas, color=COLOURS[colour], alpha=0.6, lw=0)
    axis.set(xlim=(-0.03, 1.06), ylim=(-0.06, 1.08), xlabel="confidence", ylabel="accuracy")
    axis.set_xticks([0, 0.5, 1])
    axis.set_yticks([0, 0.5, 1])
    axis.set_aspect("equal")


def overlays(
    images: Tensor,
    maps: Tensor,
    titles: Sequence[str],
    *,
    columns: int = 4,
    colours: Sequence[str] | str = "black",
) -> Figure:
    """Draw maps over the images that they belong to, each map scaled to its own largest value.

    Parameters
    ----------
    images
        Shape (n, 3, height, width), in [0, 1]; of a set that may be published.
    maps
        Shape (n, h, w), not negative.
    titles
        One an image.
    columns
        Images in a row.
    colours
        Of the titles, a name of the palette for all or for each.
    """
    if not len(images) == len(maps) == len(titles):
        raise ValueError(f"{len(images)} images, {len(maps)} maps, {len(titles)} titles: as many")
    names = [colours] * len(images) if isinstance(colours, str) else list(colours)
    largest = maps.flatten(1).amax(1).clamp(min=1e-12)[:, None, None]
    fine = interpolate((maps / largest)[:, None], images.shape[2:], mode="bilinear")[:, 0]
    lines = 1 + max(title.count("\n") for title in titles)
    rows = math.ceil(len(images) / columns)
    figure, axes = panels(columns, rows, ratio=1.02 + 0.11 * lines)
    for axis in axes:
        axis.set_axis_off()
    for axis, image, heat, title, name in zip(axes, images, fine, titles, names, strict=False):
        axis.imshow(image.permute(1, 2, 0), vmin=0, vmax=1)
        axis.imshow(heat, cmap="inferno", vmin=0, vmax=1, alpha=0.25 + 0.4 * torch.sqrt(heat))
        axis.set_title(title, fontsize=11, color=COLOURS[name], loc="center")
    return figure
