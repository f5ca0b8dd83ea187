"""Draw the cover: a mapping carries a source space, its grid and its points, to a target space.

Run ``python scripts/draw_cover.py``; it writes cover.png and cover-dark.png to book/_static. The
mapping is learned with the library, not drawn by hand: 24 small nonlinear steps, composed, are
trained until the two classes, tangled in the source, lie on the two sides of a straight line in
the target. The curved boundary in the source is the preimage of that line, and the streams between
the spaces are the ways of some points through the steps.
"""

from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
import torch
from matplotlib.axes import Axes
from matplotlib.collections import LineCollection
from matplotlib.patches import FancyArrowPatch
from PIL import Image
from torch import Tensor

from mapping_lib.lab.plots.style import COLOURS, use_style
from mapping_lib.losses import binary_cross_entropy
from mapping_lib.mappings import linear, nonlinear
from mapping_lib.optimisers import adam, cosine, descend

FOLDER = Path(__file__).parents[1] / "book" / "_static"
STEPS, KNOTS, WIDTH = 24, 4, 12  # 24 steps, whose weights change evenly between four sets
HALF = np.array([1.8, 1.35])  # the part of the source that is drawn: half its width and height
APART = 5.3  # from the middle of the source to the middle of the target
THEMES = {
    "cover.png": {
        "classes": (COLOURS["blue"], COLOURS["orange"]),
        "ink": "#262626",
        "grid": "#7F93A8",
        "edge": "#FFFFFF",
        "tint": 0.15,
    },
    "cover-dark.png": {
        "classes": (COLOURS["sky"], COLOURS["orange"]),
        "ink": "#ECECEC",
        "grid": "#8A99A8",
        "edge": "#121212",
        "tint": 0.25,
    },
}


def two_moons(count: int, generator: torch.Generator) -> tuple[Tensor, Tensor]:
    """Draw points of two classes, each along half a circle, that no straight line separates."""
    labels = torch.arange(count) % 2
    side = 1.0 - 2.0 * labels
    angle = torch.linspace(0, torch.pi, count)
    moon = torch.stack([torch.cos(angle) - 0.5, torch.sin(angle) - 0.25], dim=1) * side[:, None]
    return moon + 0.09 * torch.randn(count, 2, generator=generator), labels


def way(x: Tensor, weights: dict[str, Tensor]) -> Tensor:
    """Follow points (n, 2) through the composed steps: (steps + 1, n, 2)."""
    at = torch.linspace(0, KNOTS - 1, STEPS)
    blend = (1 - (at[:, None] - torch.arange(KNOTS)).abs()).clamp(min=0)  # (steps, knots)
    places = [x]
    for weight, bias, out in zip(
        *(torch.tensordot(blend, w, dims=1) for w in weights.values()), strict=True
    ):
        x = x + linear(nonlinear(x, weight, bias, activation="tanh"), out) / STEPS
        places.append(x)
    return torch.stack(places)


def learn(x: Tensor, labels: Tensor, generator: torch.Generator) -> dict[str, Tensor]:
    """Train the mapping: classes above and below a line, and the whole space moved gently."""
    half = torch.tensor(HALF, dtype=x.dtype)
    anywhere = (2 * torch.rand(200, 2, generator=generator) - 1) * half

    def loss(weights: dict[str, Tensor]) -> Tensor:
        height = way(x, weights)[-1, :, 1]
        speed = way(anywhere, weights).diff(dim=0) * STEPS
        return binary_cross_entropy(9 * height, 1.0 - labels) + 0.04 * speed.square().mean()

    start = {
        "weight": torch.randn(KNOTS, WIDTH, 2, generator=generator),
        "bias": torch.randn(KNOTS, WIDTH, generator=generator),
        "out": 0.1 * torch.randn(KNOTS, 2, WIDTH, generator=generator),
    }
    run = descend(loss, start, steps=500, rate=cosine(0.03, steps=500), method=adam)
    print(f"loss {run.losses[0]:.3f} -> {run.losses[-1]:.3f}")
    return {name: values[-1] for name, values in run.parameters.items()}


def draw_space(axis: Axes, here: np.ndarray, height: np.ndarray, theme: dict) -> None:
    """Draw the grid (rows, columns, 2) where it is, its two halves and the line between them."""
    x, y = here[..., 0], here[..., 1]
    axis.contourf(x, y, height, [-9, 0, 9], colors=theme["classes"][::-1], alpha=theme["tint"])
    lines = [*here[::20], *here.swapaxes(0, 1)[::20]]
    axis.add_collection(LineCollection(lines, colors=theme["grid"], linewidths=0.8, alpha=0.7))
    axis.contour(x, y, height, [0], colors=theme["ink"], linewidths=2)


def draw(name: str, weights: dict[str, Tensor], x: Tensor, labels: Tensor) -> None:
    """Draw and store the picture for one theme."""
    theme = THEMES[name]
    figure = plt.figure(figsize=(7, 2.85), layout="none")
    axis = figure.add_axes((0, 0, 1, 1))
    rows, columns = (torch.linspace(-h, h, int(h * 400 / 3) + 1) for h in HALF[::-1])
    mesh = torch.stack(torch.meshgrid(columns, rows, indexing="xy"), dim=-1)
    end = way(mesh.flatten(0, 1), weights)[-1].reshape(mesh.shape).numpy()
    shift = np.array([APART, 0.0])
    draw_space(axis, mesh.numpy(), end[..., 1], theme)
    draw_space(axis, end + shift, end[..., 1], theme)

    places = way(x, weights).numpy()
    colours = np.array(theme["classes"])[labels.numpy()]
    # A stream leaves and arrives level: the step it is at grows smoothly with the way it has gone.
    gone = np.linspace(0, 1, 80)
    at = gone**2 * (3 - 2 * gone) * (len(places) - 1)
    for point, colour in list(zip(places.swapaxes(0, 1), colours, strict=True))[::7]:
        stream = np.stack([np.interp(at, range(len(point)), along) for along in point.T], axis=1)
        stream[:, 0] += APART * gone
        pieces = np.stack([stream[:-1], stream[1:]], axis=1)
        fade = 0.12 + 0.5 * np.sin(np.pi * gone[:-1]) ** 1.5
        axis.add_collection(LineCollection(pieces, colors=colour, alpha=fade, linewidths=1.1))
    dots = {"s": 16, "c": colours, "edgecolors": theme["edge"], "linewidths": 0.5, "zorder": 3}
    axis.scatter(*places[0].T, **dots)
    axis.scatter(*(places[-1] + shift).T, **dots)

    middle, text = APART / 2, {"color": theme["ink"], "ha": "center", "va": "center"}
    arrow = {"arrowstyle": "-|>,head_length=8,head_width=4.5", "connectionstyle": "arc3,rad=-0.25"}
    ends = (middle - 0.6, 1.18), (middle + 0.6, 1.18)
    axis.add_patch(FancyArrowPatch(*ends, linewidth=2.2, color=theme["ink"], **arrow))
    axis.text(middle, 1.63, "$f$", fontsize=23, **text)
    axis.text(0, -1.82, "source space", fontsize=17, **text)
    axis.text(APART, -1.82, "target space", fontsize=17, **text)
    axis.set(xlim=(-2.1, APART + 2.1), ylim=(-2.05, 1.85), aspect="equal")
    axis.axis("off")
    figure.savefig(FOLDER / name, dpi=200, transparent=True)
    plt.close(figure)
    with Image.open(FOLDER / name) as picture:  # a palette makes the file three times smaller
        picture.quantize(256).save(FOLDER / name, optimize=True)


def main() -> None:
    """Learn the mapping once and draw it for both themes."""
    use_style()
    generator = torch.Generator().manual_seed(4)
    x, labels = two_moons(150, generator)
    weights = learn(x, labels, generator)
    for name in THEMES:
        draw(name, weights, x, labels)


if __name__ == "__main__":
    torch.set_num_threads(1)
    main()
