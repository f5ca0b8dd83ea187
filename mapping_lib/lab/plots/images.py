"""Pictures of images, of what a classifier makes of them, and of results by number of labels.

Images of a data set whose entry says that its content may not be published are never drawn.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import torch
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import PercentFormatter
from torch import Tensor

from mapping_lib.lab.data import Images
from mapping_lib.lab.plots.style import COLOURS, WIDTH, learning_curve, panels
from mapping_lib.lab.registry import find

Rows = Sequence[Mapping[str, Any]]


def gallery(
    images: Images,
    indices: Sequence[int] | Tensor,
    *,
    titles: Sequence[str] | None = None,
    columns: int = 7,
    colour: str = "black",
) -> Figure:
    """Draw some images with a title over each.

    Where the images may not be published, a sentence that says so takes their place.

    Parameters
    ----------
    images, indices
        Which images to draw.
    titles
        One for each of them; by default the name of its class.
    columns
        Images in a row.
    colour
        Of the titles, a name of the palette.
    """
    chosen = [int(index) for index in indices]
    if titles is None:
        titles = [images.classes[int(images.labels[index])] for index in chosen]
    if not chosen or len(titles) != len(chosen):
        raise ValueError(f"{len(chosen)} images and {len(titles)} titles: at least one of each")
    entry = find(images.entry)
    if not entry.publishable:
        figure, (axis,) = panels(ratio=0.15)
        words = f"{len(chosen)} pictures, not shown: {entry.name} may not be published"
        axis.text(0.5, 0.5, words, ha="center", va="center")
        axis.set_axis_off()
        return figure
    rows = math.ceil(len(chosen) / columns)
    lines = 1 + max(title.count("\n") for title in titles)
    figure, axes = panels(columns, rows, ratio=1.05 + 0.15 * lines)
    for axis, index, title in zip(axes, chosen, titles, strict=False):
        axis.imshow(images.images[index].permute(1, 2, 0).numpy(), cmap="gray", vmin=0, vmax=1)
        axis.set_title(title, fontsize=9, color=COLOURS[colour], loc="center")
    for axis in axes:
        axis.set_axis_off()
    return figure


def confusion(labels: Tensor, predicted: Tensor, classes: Sequence[str]) -> Figure:
    """Draw the confusion matrix: a row for each true class, in per cent of its images.

    Parameters
    ----------
    labels, predicted
        Shape (n,), true and predicted classes.
    classes
        Their names.
    """
    k = len(classes)
    counts = torch.bincount(labels * k + predicted, minlength=k * k).view(k, k).double()
    shares = 100 * counts / counts.sum(1, keepdim=True).clamp(min=1)
    side = WIDTH if k > 5 else WIDTH / 2
    figure, (axis,) = panels(ratio=0.95)
    figure.set_size_inches(side, side * 0.95)
    axis.imshow(np.sqrt(shares.numpy()), cmap="Blues", vmin=0, vmax=10)
    for row, column in shares.round().nonzero().tolist():
        value = shares[row, column].item()
        dark = "white" if value > 45 else COLOURS["black"]
        axis.text(column, row, f"{value:.0f}", ha="center", va="center", fontsize=8, color=dark)
    axis.set_xticks(range(k), classes, rotation=90, fontsize=9)
    axis.set_yticks(range(k), classes, fontsize=9)
    axis.set(xlabel="predicted class", ylabel="true class")
    axis.grid(False)
    return figure


def accuracy_by_labels(axis: Axes, rows: Rows, methods: Mapping[str, str]) -> None:
    """Draw accuracy over the number of labels a class, mean and deviation over the seeds.

    Parameters
    ----------
    axis
        Where to draw.
    rows
        With "method", "labels_per_class", "seed" and "accuracy".
    methods
        Colour, a name of the palette, of each method to draw.
    """
    labels = sorted({row["labels_per_class"] for row in rows})
    for method, colour in methods.items():
        values = [_by_seed(rows, method, "labels_per_class", number) for number in labels]
        runs = np.array(values).T
        learning_curve(axis, labels, runs, label=method, colour=COLOURS[colour], marker="o")
    axis.set_xscale("log")
    axis.set_xticks(labels, [str(number) for number in labels])
    axis.minorticks_off()
    axis.yaxis.set_major_formatter(PercentFormatter(1, decimals=0))
    axis.set(xlabel="labelled patches a class", ylabel="test accuracy")


def accuracy_by_step(axis: Axes, curves: Rows, methods: Mapping[str, str]) -> None:
    """Draw test accuracy over training steps, mean and deviation over the seeds.

    Parameters
    ----------
    axis
        Where to draw.
    curves
        With "method", "step", "seed" and "accuracy".
    methods
        Colour, a name of the palette, of each method to draw.
    """
    steps = sorted({row["step"] for row in curves})
    for method, colour in methods.items():
        runs = np.array([_by_seed(curves, method, "step", step) for step in steps]).T
        learning_curve(axis, steps, runs, label=method, colour=COLOURS[colour], marker="o")
    axis.yaxis.set_major_formatter(PercentFormatter(1, decimals=0))
    axis.set(xlabel="steps of 16 images", ylabel="test accuracy")


def _by_seed(rows: Rows, method: str, key: str, value: Any) -> list[float]:
    """Return the accuracies of a method at one place, ordered by seed."""
    found = [row for row in rows if row["method"] == method and row[key] == value]
    if not found:
        raise KeyError(f"no row has method {method!r} and {key} {value}")
    return [row["accuracy"] for row in sorted(found, key=lambda row: int(row["seed"]))]
