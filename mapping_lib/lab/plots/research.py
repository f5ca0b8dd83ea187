"""A map of research by its questions: when each was asked, and by whom."""

from __future__ import annotations

import re
from collections.abc import Mapping
from itertools import groupby

from matplotlib.figure import Figure

from mapping_lib.lab.plots.style import COLOURS, panels

_PAPER = re.compile(r"\s*(.+?)\s+(\d{4})\s*")


def draw_questions(questions: Mapping[str, str], *, until: int | None = None) -> Figure:
    """Draw a line for each question with a dot for each paper, its year along the line.

    The names stand above their line, in the order of the dots. Papers of one year are stacked.

    Parameters
    ----------
    questions
        Papers by question: ``"Pratt 1993, Thrun 1996"``, names and years, in any order.
    until
        The last year of the axis; by default that of the latest paper.

    Raises
    ------
    ValueError
        A paper is not a name and a year, or there are no questions.
    """
    papers = {question: _parsed(text) for question, text in questions.items()}
    if not papers:
        raise ValueError("there are no questions to draw")
    first = min(year for row in papers.values() for year, _ in row)
    last = until or max(year for row in papers.values() for year, _ in row)
    figure, (axis,) = panels(ratio=0.115 * len(papers) + 0.06)
    for place, (question, row) in enumerate(papers.items()):
        axis.plot([row[0][0], last], [place, place], color=COLOURS["light"], zorder=1)
        for year, same in groupby(row, key=lambda paper: paper[0]):
            for height, _ in enumerate(same):
                axis.plot(year, place - 0.13 * height, "o", color=COLOURS["blue"], markersize=7)
        left = {"ha": "left", "va": "center", "clip_on": False}
        axis.text(first - 1, place - 0.5, question, fontsize=15, weight="bold", **left)
        names = ", ".join(name for _, name in row)
        axis.text(first - 1, place - 0.23, names, fontsize=14, **left)
    axis.set(xlim=(first - 1, last + 0.5), ylim=(len(papers) - 0.65, -0.75))
    axis.set_yticks([])
    axis.grid(axis="y", visible=False)
    axis.spines["left"].set_visible(False)
    axis.tick_params(axis="x", labelsize=14)
    return figure


def _parsed(text: str) -> list[tuple[int, str]]:
    """Return year and name of each paper, the earliest first."""
    found = []
    for paper in text.split(","):
        match = _PAPER.fullmatch(paper)
        if not match:
            raise ValueError(f"a paper is a name and a year, as in 'Pratt 1993', not {paper!r}")
        found.append((int(match[2]), match[1]))
    return sorted(found, key=lambda paper: paper[0])
