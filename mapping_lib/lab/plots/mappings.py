"""Pictures of what a mapping does to the plane, to images and to two classes of points.

They draw what the notebook hands them, and compute nothing but the picture itself.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

import torch
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from torch import Tensor

from mapping_lib.lab.plots.style import COLOURS, SOURCE, TARGET, panels
from mapping_lib.mappings import Layer, linear, multilayer

Function = Callable[[Tensor], Tensor]


def show_maps(
    functions: Mapping[str, Function],
    *,
    arrows: Tensor | None = None,
    limit: float = 2.2,
    columns: int = 3,
) -> Figure:
    """Draw the image of a grid and of the unit circle under mappings of the plane.

    Parameters
    ----------
    functions
        The mappings, from (n, 2) to (n, 2), by the title of their panel.
    arrows
        Two vectors (2, 2), one a row, whose images are drawn as arrows; None: the two axes.
    limit
        Half the width of each panel.
    columns
        Panels in a row.
    """
    rows = -(-len(functions) // columns)
    figure, axes = panels(columns, rows, ratio=1.1)
    tips = torch.eye(2) if arrows is None else arrows
    for axis, (title, function) in zip(axes, functions.items(), strict=False):
        for family, colour in zip(_grid(), ("sky", "grey"), strict=True):
            for line in family:
                axis.plot(*_points(function, line), color=COLOURS[colour], linewidth=0.8, alpha=0.8)
        axis.plot(*_points(function, _circle()), color=COLOURS["orange"], linewidth=2.2)
        (origin,) = _points(function, torch.zeros(1, 2)).T
        for tip, colour in zip(_points(function, tips).T, ("vermilion", "green"), strict=True):
            arrow = {"arrowstyle": "-|>", "color": COLOURS[colour], "lw": 2, "shrinkA": 0}
            axis.annotate("", tip.tolist(), origin.tolist(), arrowprops=arrow | {"shrinkB": 0})
        axis.set(title=title, aspect="equal", xlim=(-limit, limit), ylim=(-limit, limit))
        axis.set(xticks=range(-2, 3), yticks=range(-2, 3))
        axis.grid(False)
    for axis in axes[len(functions) :]:
        axis.set_axis_off()
    return figure


def show_images(rows: Mapping[str, Tensor], *, signed: Sequence[str] = ()) -> Figure:
    """Draw rows of small grey images, black for 1 and white for 0.

    Parameters
    ----------
    rows
        Images (n, height, width) by the label of their row, n the same in all.
    signed
        Labels of the rows that hold differences: drawn from blue (−1) over white to red (+1).
    """
    count = len(next(iter(rows.values())))
    figure, axes = panels(count, len(rows), ratio=1.0)
    grid = axes.reshape(len(rows), count)
    for line, (label, images) in zip(grid, rows.items(), strict=True):
        lowest, colours = (-1, "RdBu_r") if label in signed else (0, "gray_r")
        for axis, image in zip(line, images, strict=True):
            axis.imshow(image.numpy(), cmap=colours, vmin=lowest, vmax=1)
            axis.set(xticks=[], yticks=[])
            axis.spines[:].set_visible(False)
        line[0].set_ylabel(label, rotation=0, ha="right", va="center")
    return figure


def show_classes(
    axis: Axes, points: Tensor, labels: Tensor, score: Function, *, limits: tuple[float, float]
) -> None:
    """Draw points of two classes and the line on which a score is zero.

    Parameters
    ----------
    axis
        Where to draw.
    points, labels
        Points (n, 2) and their classes (n,), 0 or 1.
    score
        From (n, 2) to (n, 1): the side where it is positive is shaded.
    limits
        The lowest and the highest coordinate drawn, on both axes.
    """
    for label, colour, marker in ((0, SOURCE, "o"), (1, TARGET, "^")):
        x, y = points[labels == label].T
        axis.scatter(x, y, color=colour, marker=marker, s=14, alpha=0.8)
    x, y, values = _on_plane(score, limits)
    height = values.squeeze(-1).numpy()
    axis.contourf(x, y, height, levels=[0, float("inf")], colors=[TARGET], alpha=0.15)
    axis.contour(x, y, height, levels=[0], colors=["black"], linewidths=1.5)
    axis.set(aspect="equal", xlim=limits, ylim=limits)
    axis.grid(False)


def show_fold_lines(axis: Axes, layers: Sequence[Layer], *, limit: float = 2.0) -> None:
    """Draw where each ReLU of a network on the plane switches, a colour and a style per layer.

    Parameters
    ----------
    axis
        Where to draw.
    layers
        One to three hidden layers, the first with two inputs.
    limit
        Half the width of the square drawn.
    """
    styles = (("-", 2.0), ("--", 1.5), (":", 1.5))
    for depth, (style, width) in enumerate(styles[: len(layers)]):
        x, y, values = _on_plane(_switch(layers, depth), (-limit, limit))
        for unit in values.permute(2, 0, 1).numpy():
            axis.contour(
                x, y, unit, levels=[0], colors=[f"C{depth}"], linewidths=width, linestyles=style
            )
        axis.plot([], [], style, color=f"C{depth}", linewidth=width, label=f"layer {depth + 1}")
    axis.set(aspect="equal", xlabel="$x_1$", ylabel="$x_2$")
    axis.set(xticks=(-limit, 0, limit), yticks=(-limit, 0, limit))
    axis.grid(False)


def _switch(layers: Sequence[Layer], depth: int) -> Function:
    """Return a layer's pre-activations, whose signs switch its ReLUs, as a mapping of the input."""
    if depth == 0:
        return lambda x: linear(x, *layers[0])
    return lambda x: multilayer(x, layers[: depth + 1])


def _points(function: Function, points: Tensor) -> Tensor:
    """Return the images of points as one row of x and one of y, as matplotlib takes them."""
    return function(points).detach().T


def _grid(lines: int = 9, points: int = 81) -> tuple[list[Tensor], list[Tensor]]:
    """Return the vertical and the horizontal lines of a grid on [−1, 1]²."""
    along, at = torch.linspace(-1, 1, points), torch.linspace(-1, 1, lines)
    vertical = [torch.stack([place.expand(points), along], dim=1) for place in at]
    return vertical, [line.flip(1) for line in vertical]


def _circle(points: int = 201) -> Tensor:
    angle = torch.linspace(0, 2 * torch.pi, points)
    return torch.stack([angle.cos(), angle.sin()], dim=1)


def _on_plane(function: Function, limits: tuple[float, float]) -> tuple[Tensor, Tensor, Tensor]:
    """Evaluate a function on a square lattice: x (300,), y (300,), values (300, 300, units)."""
    x = torch.linspace(*limits, 300)
    across, up = torch.meshgrid(x, x, indexing="xy")
    values = function(torch.stack([across, up], dim=-1).reshape(-1, 2)).detach()
    return x, x, values.reshape(300, 300, -1)
