"""A drawing of every method of the book by what is mapped, made from the table of methods."""

from __future__ import annotations

import textwrap
from collections.abc import Sequence
from itertools import groupby
from typing import Any

from matplotlib.axes import Axes
from matplotlib.figure import Figure

from mapping_lib.lab.methods import GIVES, MAPPED, Mapped, Method
from mapping_lib.lab.plots.style import COLOURS, SOURCE, TARGET, WIDTH, panels

_COLOUR = {"features": "purple", "parameters": "black", "instances": "green"}
_SYMBOLS: dict[Mapped, str] = {
    "instances": r"$(x_i, y_i)$",
    "parameters": r"$\theta_{}$",
    "features": r"$\phi(x)$",
}
_ARROWS: dict[Mapped, str] = {
    "instances": r"weigh, choose, make",
    "parameters": r"move, average, add",
    "features": r"$Q\,\phi(x) + c$",
}
_LINE = 0.2  # inches
_WORDS = {
    "nothing": "target gives nothing",
    "inputs": "target gives inputs",
    "pairs": "target gives pairs",
    "labels": "target gives labels",
}


def draw_methods(methods: Sequence[Method], *, width: int = 23) -> Figure:
    """Draw a network of the source over one of the target, and the methods where they map.

    Below each arrow stand the methods that map there, with their sections, by what the target has
    to give.

    Parameters
    ----------
    methods
        Rows of :data:`mapping_lib.lab.methods.METHODS`.
    width
        Letters in a line.
    """
    figure, (axis,) = panels()
    axis.set_axis_off()
    columns: tuple[Mapped, ...] = ("instances", "parameters", "features")
    assert set(columns) == set(MAPPED)
    bottom = 0.0
    for column, mapped in enumerate(columns):
        _pair(axis, mapped, (column + 0.5) / 3, last=column == 2)
        top = 2.15
        for gives in GIVES:
            chosen = [m for m in methods if m.mapped == mapped and m.gives == gives]
            if chosen:
                top = _list(axis, column / 3, top, gives, chosen, width)
        bottom = max(bottom, top)
    axis.set(xlim=(0, 1), ylim=(bottom, 0))  # down the page, in inches
    figure.set_size_inches(WIDTH, bottom)
    return figure


def _pair(axis: Axes, mapped: Mapped, centre: float, *, last: bool) -> None:
    """Draw a place of the source's network, that of the target's, and the arrow between them."""
    for height, colour, whose in ((0.3, SOURCE, "source"), (1.55, TARGET, "target")):
        box: dict[str, Any] = {
            "boxstyle": "round,pad=0.35",
            "facecolor": "white",
            "edgecolor": colour,
            "lw": 1.5,
        }
        words: dict[str, Any] = {"ha": "center", "va": "center", "fontsize": 11, "bbox": box}
        symbols = _SYMBOLS[mapped].replace("{}", whose[0])
        axis.text(centre, height, f"{whose}'s {mapped}\n{symbols}", **words)
        if not last:
            arrow = {"arrowstyle": "->", "color": colour, "lw": 1.5}
            ends = (centre + 0.205, height), (centre + 0.13, height)
            axis.annotate("", *ends, arrowprops=arrow)
    arrow = {"arrowstyle": "-|>", "color": COLOURS[_COLOUR[mapped]], "lw": 3}
    axis.annotate("", (centre, 1.25), (centre, 0.6), arrowprops=arrow)
    axis.text(centre + 0.015, 0.92, _ARROWS[mapped], fontsize=11, va="center")


def _list(
    axis: Axes, left: float, top: float, gives: str, methods: Sequence[Method], width: int
) -> float:
    """Write what needs the same of the target, section by section; return where to go on."""
    colour = COLOURS[_COLOUR[methods[0].mapped]]
    axis.text(left, top, _WORDS[gives], fontsize=11, color=colour, weight="bold")
    top += 1.1 * _LINE
    for number, group in groupby(methods, key=lambda method: method.number):
        names = ", ".join(method.name for method in group)
        for line in textwrap.wrap(f"{number} {names}", width, subsequent_indent="  "):
            axis.text(left, top, line, fontsize=10.5)
            top += _LINE
    return top + 0.5 * _LINE
