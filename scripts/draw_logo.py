"""Draw the book's logo and favicon: the sign ↦ leads from a source space into a target space.

Run ``python scripts/draw_logo.py``; it writes logo.svg, logo-dark.svg and favicon.svg to
book/_static. The grid is straight in the source, on the left, and bent in the target by the
mapping below. The letters are outlines, so that they look the same everywhere.
"""

from pathlib import Path

import numpy as np
from matplotlib.font_manager import FontProperties
from matplotlib.path import Path as Outline
from matplotlib.textpath import TextPath

FOLDER = Path(__file__).parents[1] / "book" / "_static"
SOURCE, TARGET = "#0072B2", "#D55E00"
INK = {"logo.svg": "#262626", "logo-dark.svg": "#E8E8E8"}
SIDE = 64
MIDDLE = 31  # where the target space begins


def mapping(x: np.ndarray, y: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Leave the source as it is, and turn the target the more, the further right it lies."""
    angle = 0.022 * np.maximum(x - MIDDLE, 0)
    return (
        MIDDLE + (x - MIDDLE) * np.cos(angle) + (y - 20) * np.sin(angle),
        20 + (y - 20) * np.cos(angle) - (x - MIDDLE) * np.sin(angle),
    )


def curve(x: np.ndarray, y: np.ndarray) -> str:
    """Return an SVG path through points."""
    return "M" + "L".join(f"{a:.1f} {b:.1f}" for a, b in zip(x, y, strict=True))


def grid() -> str:
    """Return the grid lines under the mapping."""
    along = np.linspace(-10, 90, 41)
    lines = []
    for at in range(-5, 96, 12):
        lines.append(curve(*mapping(along, np.full_like(along, at + 1.0))))
        lines.append(curve(*mapping(np.full_like(along, at), along)))
    return "".join(lines)


def mark(*, details: bool) -> str:
    """Draw the sign in its square; without details it is still clear at 16 pixels."""
    boundary = f"M{MIDDLE} 0H{SIDE}V{SIDE}H{MIDDLE}Z"
    width = 4.5 if details else 6
    shapes = [
        f'<clipPath id="square"><rect width="{SIDE}" height="{SIDE}" rx="14"/></clipPath>',
        '<g clip-path="url(#square)">',
        f'<rect width="{SIDE}" height="{SIDE}" fill="{SOURCE}"/>',
        f'<path d="{boundary}" fill="{TARGET}"/>',
    ]
    if details:
        shapes.append(
            f'<path d="{grid()}" fill="none" stroke="#fff" stroke-opacity=".38" stroke-width="1"/>'
        )
    shapes += [
        f'<g fill="none" stroke="#fff" stroke-width="{width}" stroke-linecap="round" '
        'stroke-linejoin="round">',
        '<path d="M13 22V42M13 32H50M38.5 20.5L50 32L38.5 43.5"/></g></g>',
    ]
    return "".join(shapes)


def letters(text: str, x: float, baseline: float, size: float) -> str:
    """Return the outlines of a line of text as one SVG path."""
    outline = TextPath((0, 0), text, size=size, prop=FontProperties(family="DejaVu Sans"))
    commands = {Outline.MOVETO: "M", Outline.LINETO: "L", Outline.CURVE3: "Q", Outline.CURVE4: "C"}
    parts = []
    for vertices, code in outline.iter_segments():
        if code == Outline.CLOSEPOLY:
            parts.append("Z")
            continue
        pairs = vertices.reshape(-1, 2) * (1, -1) + (x, baseline)
        parts.append(commands[code] + " ".join(f"{a:.2f} {b:.2f}" for a, b in pairs))
    return "".join(parts)


def svg(content: str, width: int) -> str:
    """Wrap shapes into an SVG document."""
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {SIDE}" '
        f'width="{width}" height="{SIDE}" role="img">\n'
        f"<title>Everything is a mapping</title>\n{content}\n</svg>\n"
    )


def main() -> None:
    """Write the three files."""
    for name, ink in INK.items():
        text = letters("Everything is", 78, 28, 21) + letters("a mapping", 78, 54, 21)
        content = f'{mark(details=True)}\n<path d="{text}" fill="{ink}"/>'
        (FOLDER / name).write_text(svg(content, 222), encoding="utf-8")
    (FOLDER / "favicon.svg").write_text(svg(mark(details=False), SIDE), encoding="utf-8")


if __name__ == "__main__":
    main()
