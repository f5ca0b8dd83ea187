"""Pictures of scenes with the boxes of things and of what a detector says."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle
from torch import Tensor

from mapping_lib.detection import Detections
from mapping_lib.lab.data import Scenes
from mapping_lib.lab.detecting import kinds
from mapping_lib.lab.plots.style import COLOURS, panels
from mapping_lib.lab.registry import find

KIND_COLOURS = {
    "right": "sky",
    "duplicate": "yellow",
    "other class": "purple",
    "beside": "green",
    "nothing there": "vermilion",
    "missed": "black",
}
"""The colour of each kind of detection that :func:`mapping_lib.lab.detecting.kinds` names."""


def draw_box(axis: Axes, box: Tensor, *, colour: str, text: str = "", dashed: bool = False) -> None:
    """Draw one box on an image, on a white rim so that it is seen on any ground.

    Parameters
    ----------
    axis
        That shows the image.
    box
        Left, top, right, bottom in pixels.
    colour
        A name of the palette.
    text
        Written at the upper left corner.
    dashed
        Whether the line is broken.
    """
    left, top, right, bottom = box.tolist()
    for width, shade in ((4.0, "white"), (2.2, COLOURS[colour])):
        style = (0, (3, 2)) if dashed and shade != "white" else "solid"
        corner = (left - 0.5, top - 0.5)
        rim = Rectangle(
            corner, right - left, bottom - top, fill=False, ec=shade, lw=width, ls=style
        )
        axis.add_patch(rim)
    if text:
        ground = {"facecolor": "white", "edgecolor": "none", "alpha": 0.85, "pad": 1.0}
        axis.text(left, top - 2, text, fontsize=12, bbox=ground, va="bottom", clip_on=True)


def draw_scenes(
    found: Scenes,
    indices: Sequence[int],
    guesses: Sequence[Detections] | None = None,
    *,
    least: float = 0.3,
    columns: int = 3,
    colours: Mapping[str, str] = KIND_COLOURS,
) -> Figure:
    """Draw scenes with their true boxes, or with a detector's, coloured by what each is.

    With detections, things that were missed are dashed. Where the images may not be published, a
    sentence that says so takes their place.

    Parameters
    ----------
    found, indices
        Which scenes to draw.
    guesses
        What a detector says about each of `found`; none to draw the true boxes.
    least
        The least score of a detection that is drawn.
    columns
        Scenes in a row.
    colours
        Of each kind of detection, names of the palette.
    """
    if found.entry != "own" and not find(found.entry).publishable:
        figure, (axis,) = panels(ratio=0.15)
        words = f"{len(indices)} scenes, not shown: {found.entry} may not be published"
        axis.text(0.5, 0.5, words, ha="center", va="center")
        axis.set_axis_off()
        return figure
    figure, axes = panels(columns, math.ceil(len(indices) / columns), ratio=1.0)
    for axis in axes:
        axis.set_axis_off()
    for axis, index in zip(axes, indices, strict=False):
        axis.imshow(found.images[index].permute(1, 2, 0).numpy(), interpolation="bilinear")
        boxes, labels = found.boxes[index], found.labels[index]
        if guesses is None:
            for box, label in zip(boxes, labels.tolist(), strict=True):
                draw_box(axis, box, colour="sky", text=found.classes[label])
            continue
        keep = guesses[index].scores >= least
        sure = Detections(*(part[keep] for part in guesses[index]))
        names, missed = kinds(sure, boxes, labels)
        for box in boxes[missed]:
            draw_box(axis, box, colour=colours["missed"], dashed=True)
        for box, label, name in zip(sure.boxes, sure.labels.tolist(), names, strict=True):
            draw_box(axis, box, colour=colours[name], text=found.classes[label])
    if guesses is not None:
        for name, colour in colours.items():
            axes[0].plot([], [], color=COLOURS[colour], lw=3, label=name)
        figure.legend(loc="outside lower center", ncols=3, fontsize=14)
    return figure
