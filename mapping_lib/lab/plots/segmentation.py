"""Pictures of masks, of what a segmenter says, and of which classes it takes for which."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.colors import to_rgb
from matplotlib.figure import Figure
from matplotlib.patches import Patch
from torch import Tensor

from mapping_lib.lab.data import Scenes
from mapping_lib.lab.data.types import Pixels
from mapping_lib.lab.plots.style import COLOURS, panels
from mapping_lib.lab.registry import find
from mapping_lib.lab.segmenting import names
from mapping_lib.segmentation import IGNORED

PAINTS = ("light", "blue", "orange", "green", "vermilion", "purple", "sky", "yellow", "black")
"""The colour of each class, names of the palette; the first is for the ground."""


def painted(mask: Tensor) -> Pixels:
    """Return a mask as a picture (height, width, 3); what is ignored is white.

    Raises
    ------
    ValueError
        There are more classes than colours.
    """
    numbers = mask.numpy()
    most = max(numbers[numbers != IGNORED].max(initial=0), 0)
    if most >= len(PAINTS):
        raise ValueError(f"class {most} has no colour; there are {len(PAINTS)}, from 0")
    table = np.ones((IGNORED + 1, 3), np.float32)
    table[: len(PAINTS)] = [to_rgb(COLOURS[name]) for name in PAINTS]
    picture: Pixels = table[numbers]
    return picture


def draw_masks(
    found: Scenes, indices: Sequence[int], guesses: Mapping[str, Tensor] | None = None
) -> Figure:
    """Draw scenes, a row each: the image, its mask, and what segmenters say.

    Where the images may not be published, a sentence that says so takes their place.

    Parameters
    ----------
    found, indices
        Which scenes to draw.
    guesses
        By the title of a column: the class of each pixel of each of `found`, (n, height, width).
    """
    if found.entry != "own" and not find(found.entry).publishable:
        figure, (axis,) = panels(ratio=0.15)
        words = f"{len(indices)} scenes, not shown: {found.entry} may not be published"
        axis.text(0.5, 0.5, words, ha="center", va="center")
        axis.set_axis_off()
        return figure
    said = guesses or {}
    columns = 2 + len(said)
    figure, axes = panels(columns, len(indices), ratio=1.02)
    for axis in axes:
        axis.set_axis_off()
    for axis, title in zip(axes, ["scene", "truth", *said], strict=False):
        axis.set_title(title, fontsize=15)
    for row, index in enumerate(indices):
        mask = found.masks[index]
        assert mask is not None
        pictures = [found.images[index].permute(1, 2, 0).numpy(), painted(mask)]
        pictures += [painted(guess[index]) for guess in said.values()]
        for axis, picture in zip(axes[row * columns :], pictures, strict=False):
            axis.imshow(picture, vmin=0, vmax=1)
    keys = [
        Patch(color=COLOURS[paint], label=name)
        for paint, name in zip(PAINTS, names(found), strict=False)
    ]
    figure.legend(handles=keys, loc="outside lower center", ncols=4, fontsize=13)
    return figure


def draw_confusion(axis: Axes, table: Tensor, classes: Sequence[str]) -> None:
    """Draw, for each true class, the share of its pixels that are called each class, in per cent.

    Parameters
    ----------
    axis
        Where to draw.
    table
        Pixels by true class (row) and said class (column).
    classes
        Their names.
    """
    shares = (table / table.sum(1, keepdim=True).clamp(min=1)).numpy()
    axis.imshow(shares, vmin=0, vmax=1, cmap="Blues")
    for row, column in np.ndindex(*shares.shape):
        dark = shares[row, column] > 0.5
        text = f"{100 * shares[row, column]:.0f}"
        axis.text(column, row, text, ha="center", va="center", color="white" if dark else "black")
    axis.set_xticks(range(len(classes)), classes, rotation=45, ha="right")
    axis.set_yticks(range(len(classes)), classes)
    axis.set(xlabel="said", ylabel="true")
    axis.grid(visible=False)
    axis.tick_params(length=0)
