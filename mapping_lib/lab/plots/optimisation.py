"""Pictures of losses: their surfaces and the ways that optimisers take over them."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import numpy as np
import torch
from matplotlib.axes import Axes
from torch import Tensor

from mapping_lib.lab.plots.style import COLOURS
from mapping_lib.optimisers import Trajectory

Loss = Callable[[Tensor], Tensor]
Limits = tuple[float, float]

_WAYS = (("blue", "o"), ("vermilion", "s"), ("green", "^"), ("purple", "D"))


def draw_surface(axis: Axes, loss: Loss, x: Limits, y: Limits, *, lowest: float = 1e-2) -> None:
    """Draw the level lines of a loss of two parameters, each a constant factor above the last.

    Parameters
    ----------
    axis
        Where to draw.
    loss
        From parameters (2,) to a scalar that is not negative; its minimum should be 0.
    x, y
        Limits of the two parameters.
    lowest
        The innermost level, as a share of the largest loss in the picture.
    """
    first, second = torch.linspace(*x, 161), torch.linspace(*y, 161)
    grid = torch.cartesian_prod(first, second)
    height = torch.vmap(loss)(grid).reshape(161, 161).T.numpy()
    levels = np.geomspace(lowest, 1, 11) * height.max()
    axis.contour(first, second, height, levels=levels, cmap="Greys_r", linewidths=0.9, alpha=0.7)
    axis.set(xlim=x, ylim=y, xlabel=r"$\theta_1$", ylabel=r"$\theta_2$")
    axis.grid(False)


def draw_ways(
    axis: Axes,
    ways: Mapping[str, Trajectory],
    minimum: Tensor,
    *,
    steps: int | None = None,
    marked: int = 12,
) -> None:
    """Draw the trajectories of optimisers over a surface, from one start to one minimum.

    Parameters
    ----------
    axis
        Where to draw; a way that leaves it is cut off.
    ways
        Trajectories of two parameters by the name of their method, at most four.
    minimum
        Where the loss is least, (2,).
    steps
        How many steps to draw; None for all.
    marked
        How many of the first points are marked.
    """
    for (name, way), (colour, marker) in zip(ways.items(), _WAYS, strict=False):
        points = _stack(way)[: None if steps is None else steps + 1].detach().numpy()
        axis.plot(*points.T, color=COLOURS[colour], linewidth=1.3, label=name)
        axis.plot(*points[1 : marked + 1].T, marker, color=COLOURS[colour], markersize=3)
        axis.plot(*points[0], "o", color=COLOURS["black"], markersize=5, zorder=4)
    axis.plot(*minimum, "*", color=COLOURS["black"], markersize=11, zorder=5)


def _stack(way: Trajectory) -> Tensor:
    if not isinstance(way.parameters, Tensor) or way.parameters.shape[1:] != (2,):
        raise ValueError("only ways of two parameters can be drawn on the plane")
    return way.parameters
