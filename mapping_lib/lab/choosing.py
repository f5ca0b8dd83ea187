"""A pool of small pretrained networks, held-out targets, and what a choice among them is worth.

Ten networks of one form learn ten source problems of grey 16×16 images; a target brings a few
labels. What a source is worth there is measured: its features frozen, or the network fine-tuned.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import cache
from hashlib import sha256
from pathlib import Path
from types import MappingProxyType
from typing import NamedTuple

import numpy as np
import torch
from PIL import Image, ImageDraw, ImageFilter
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import StratifiedKFold, cross_val_predict
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from torch import Tensor, nn
from torch.nn.functional import cross_entropy, interpolate

from mapping_lib._names import suggest
from mapping_lib.lab import checkpoints, results
from mapping_lib.lab.data import (
    handwritten_digits,
    hymenoptera,
    mnist,
    office_caltech10,
    photographs,
    rendered_digits,
    rendered_glyphs,
    usps,
)
from mapping_lib.lab.data._arguments import at_least_one
from mapping_lib.lab.machine import seeded
from mapping_lib.lab.training import predict

__all__ = [
    "DEVELOPMENT",
    "HELD_OUT",
    "POOL_SHA256",
    "SHAPES",
    "SOURCES",
    "Target",
    "cross_validated",
    "fine_tune",
    "frozen_features",
    "pool",
    "pool_path",
    "pretrain",
    "small_network",
    "source_problem",
    "target_problem",
    "tuned_cross_validated",
]

SIDE = 16
WIDTH = 64

SHAPES = ("disc", "ring", "square", "frame", "triangle", "cross", "bar", "star")
"""Classes of the drawn shapes."""

SOURCES: Mapping[str, int] = MappingProxyType(
    {
        "digits": 10,
        "Latin": 183,
        "Greek": 31,
        "Cyrillic": 97,
        "syllabics": 266,
        "all scripts": 577,
        "shapes": len(SHAPES),
        "pictures": 10,
        "turns": 4,
        "wrong labels": 10,
    }
)
"""Number of classes of each source problem. "all scripts" is the largest; "wrong labels" are the
digits with labels drawn at random."""

HELD_OUT = (
    "handwritten",
    "Armenian",
    "Hebrew",
    "Arabic",
    "Tifinagh",
    "photographs",
    "MNIST",
    "USPS",
    "ants and bees",
)
"""Targets on which choices are judged; the last three need files that aren't bundled."""

DEVELOPMENT = ("Georgian", "Lao", "N'Ko", "office")
"""Targets on which thresholds and rates are set; the last one needs files that aren't bundled."""

POOL_SHA256 = "6c1dfc33cb789f8e396ee0a1f245fe43a9b1c4c643aaf72bec34cb2935e58f10"
"""Of the file that scripts/results_8_3_1.py wrote."""


class Target(NamedTuple):
    """A few labelled images, and others to judge by."""

    images: Tensor
    labels: Tensor
    test_images: Tensor
    test_labels: Tensor
    classes: int


class _Standardise(nn.Module):
    """Give each image mean 0 and standard deviation 1."""

    def forward(self, images: Tensor) -> Tensor:
        centred = images - images.mean((1, 2, 3), keepdim=True)
        return centred / (images.std((1, 2, 3), keepdim=True) + 1e-3)


def small_network(classes: int, *, seed: int) -> nn.Sequential:
    """Return a network for 1×16×16 images: four blocks with parameters, then a linear head.

    Group norm rather than batch norm: a frozen block has no statistics that could drift.

    Parameters
    ----------
    classes
        Logits of the head.
    seed
        Draws the first weights.

    Examples
    --------
    >>> network = small_network(10, seed=0)
    >>> network(torch.rand(2, 1, 16, 16)).shape, len(network)
    (torch.Size([2, 10]), 6)
    """
    with seeded(seed):
        return nn.Sequential(
            _Standardise(),
            nn.Sequential(nn.Conv2d(1, 16, 5, 2, 2), nn.GroupNorm(4, 16), nn.ReLU()),
            nn.Sequential(
                nn.Conv2d(16, 32, 3, padding=1), nn.GroupNorm(4, 32), nn.ReLU(), nn.MaxPool2d(2)
            ),
            nn.Sequential(
                nn.Conv2d(32, 64, 3, padding=1), nn.GroupNorm(4, 64), nn.ReLU(), nn.AvgPool2d(2)
            ),
            nn.Sequential(nn.Flatten(), nn.Linear(256, WIDTH), nn.ReLU()),
            nn.Linear(WIDTH, classes),
        )


@cache
def _letters(split: str, per_class: int) -> tuple[Tensor, Tensor, tuple[str, ...]]:
    found = rendered_glyphs(split, per_class=per_class, seed=0, size=SIDE)
    return found.images, found.labels, found.classes


def _script(
    split: str, script: str, per_class: int, classes: int | None = None
) -> tuple[Tensor, Tensor]:
    """Return the images of one script, its letters counted from 0."""
    images, labels, names = _letters(split, per_class)
    mine = [k for k, name in enumerate(names) if name.startswith(script)][:classes]
    rows = torch.isin(labels, torch.tensor(mine))
    return images[rows], labels[rows] - mine[0]


def _photographs(
    first: int, per_class: int, *, seed: int, test: int, side: int = SIDE
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Return grey patches of ten of the twenty pictures: the left halves, and the right ones."""
    parts: list[Tensor] = []
    for part in photographs(per_class, seed=seed, size=side, test_per_class=test):
        rows = (part.labels >= first) & (part.labels < first + 10)
        parts += [part.images[rows, :1], part.labels[rows] - first]
    return parts[0], parts[1], parts[2], parts[3]


def _turned(images: Tensor) -> tuple[Tensor, Tensor]:
    """Turn each image by none to three quarter turns: the turn is its class."""
    turns = [images.rot90(k, (2, 3)) for k in range(4)]
    return torch.cat(turns), torch.arange(4).repeat_interleave(len(images))


def _shape(kind: str, generator: np.random.Generator) -> Tensor:
    side = 4 * SIDE
    canvas = Image.new("L", (side, side))
    draw = ImageDraw.Draw(canvas)
    radius = side * generator.uniform(0.2, 0.4)
    middle = side / 2 + side * generator.uniform(-0.12, 0.12, 2)
    width = int(side * generator.uniform(0.06, 0.14))

    def around(corners: int, *radii: float, start: float = 0.0) -> list[tuple[float, float]]:
        angles = start + 2 * np.pi * np.arange(corners) / corners
        return [
            (
                middle[0] + radii[k % len(radii)] * np.sin(a),
                middle[1] - radii[k % len(radii)] * np.cos(a),
            )
            for k, a in enumerate(angles)
        ]

    box = [*(middle - radius), *(middle + radius)]
    if kind in ("disc", "ring"):
        draw.ellipse(box, **({"fill": 255} if kind == "disc" else {"outline": 255, "width": width}))
    elif kind in ("square", "frame"):
        draw.rectangle(
            box, **({"fill": 255} if kind == "square" else {"outline": 255, "width": width})
        )
    elif kind == "triangle":
        draw.polygon(around(3, radius), fill=255)
    elif kind == "star":
        draw.polygon(around(10, radius, radius / 2.5), fill=255)
    else:
        draw.rectangle([box[0], middle[1] - width, box[2], middle[1] + width], fill=255)
        if kind == "cross":
            draw.rectangle([middle[0] - width, box[1], middle[0] + width, box[3]], fill=255)
    turned = canvas.rotate(generator.uniform(-20, 20), Image.Resampling.BILINEAR)
    blurred = turned.filter(ImageFilter.GaussianBlur(generator.uniform(0, side / 24)))
    pixels = np.asarray(blurred.resize((SIDE, SIDE), Image.Resampling.BOX), np.float32) / 255
    noise = generator.normal(0, generator.uniform(0, 0.1), pixels.shape)
    return torch.from_numpy(np.clip(pixels + noise, 0, 1).astype(np.float32))[None]


def source_problem(name: str) -> tuple[Tensor, Tensor]:
    """Return the images and labels that a source network learns.

    Parameters
    ----------
    name
        One of :data:`SOURCES`.

    Raises
    ------
    ValueError
        An unknown source; the message suggests the nearest known one.
    """
    _known(name, SOURCES)
    if name in ("digits", "wrong labels"):
        found = rendered_digits(3000, seed=0, size=SIDE)
        if name == "digits":
            return found.images, found.labels
        order = torch.randperm(3000, generator=torch.Generator().manual_seed(0))
        return found.images, found.labels[order]
    if name == "shapes":
        generator = np.random.default_rng(0)
        images = torch.stack([_shape(kind, generator) for kind in SHAPES for _ in range(300)])
        return images, torch.arange(len(SHAPES)).repeat_interleave(300)
    if name in ("pictures", "turns"):
        left, labels, right, others = _photographs(0, 200, seed=100, test=200)
        images, labels = torch.cat([left, right]), torch.cat([labels, others])
        return (images, labels) if name == "pictures" else _turned(images[::3])
    if name == "all scripts":
        return _letters("train", 20)[:2]
    return _script("train", "Canadian" if name == "syllabics" else name, 20)


def target_problem(name: str, *, per_class: int, seed: int, side: int = SIDE) -> Target:
    """Return a target: a few labelled images and others to judge by.

    Scripts are the first ten letters of the script, drawn by the fonts; photographs are ten that
    no source was cut from, training patches from their left and test patches from their right
    halves.

    Parameters
    ----------
    name
        One of :data:`HELD_OUT` or :data:`DEVELOPMENT`.
    per_class
        Labelled images of each class.
    seed
        Draws the labelled images; the test images are the same for every seed.
    side
        Of the images in pixels; letters are drawn at 16 and enlarged.

    Raises
    ------
    ValueError
        An unknown target (the message suggests the nearest known one), or fewer or more images of
        a class than there are.
    MissingKnowledge
        Of the targets that aren't bundled, as :func:`mapping_lib.lab.registry.locate` raises it.
    """
    _known(name, (*HELD_OUT, *DEVELOPMENT))
    at_least_one(per_class=per_class, side=side)
    if name == "photographs":
        x, y, test_x, test_y = _photographs(10, per_class, seed=seed, test=40, side=side)
        return Target(x, y, test_x, test_y, 10)
    x, y, test_x, test_y = _everything(name, side)
    classes = int(y.max()) + 1
    generator = torch.Generator().manual_seed(seed)
    rows = []
    for k in range(classes):
        mine = (y == k).nonzero().flatten()
        if per_class > len(mine):
            raise ValueError(f"{name}: class {k} has {len(mine)} images, not {per_class}")
        rows.append(mine[torch.randperm(len(mine), generator=generator)[:per_class]])
    chosen = torch.cat(rows)
    return Target(x[chosen], y[chosen], test_x, test_y, classes)


@cache
def _everything(name: str, side: int) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Return all images that a target's labelled ones are drawn from, and those that test."""
    if name == "handwritten":
        images = handwritten_digits(size=side)
        x, y = images.images, images.labels
        return x[:1000], y[:1000], x[1000:], y[1000:]
    if name in ("MNIST", "USPS", "ants and bees"):
        read = {"MNIST": mnist, "USPS": usps, "ants and bees": hymenoptera}[name]
        train, test = read(size=side)
        rows = torch.randperm(len(test), generator=torch.Generator().manual_seed(0))[:500]
        grey, test_grey = (part.images.mean(1, keepdim=True) for part in (train, test))
        return grey, train.labels, test_grey[rows], test.labels[rows]
    if name == "office":
        found = office_caltech10("amazon", size=side)
        grey, labels = found.images.mean(1, keepdim=True), found.labels
        rows = torch.randperm(len(labels), generator=torch.Generator().manual_seed(0))
        a, b = rows[:-500], rows[-500:]
        return grey[a], labels[a], grey[b], labels[b]
    x, y = _script("validation" if name == "Georgian" else "test", name, 40, classes=10)
    if side != SIDE:
        x = interpolate(x, (side, side), mode="bilinear")
    half = torch.arange(len(x)) % 40 < 15
    return x[half], y[half], x[~half], y[~half]


def pretrain(name: str, *, epochs: int = 20, rate: float = 2e-3) -> nn.Sequential:
    """Train a source network with Adam, in batches of 64; the rate falls linearly to zero.

    Parameters
    ----------
    name
        One of :data:`SOURCES`.
    epochs, rate
        How long (600 steps at least), and how fast at first.
    """
    images, labels = source_problem(name)
    steps = max(600, epochs * len(images) // 64)
    network = small_network(SOURCES[name], seed=0)
    optimiser = torch.optim.Adam(network.parameters(), rate, fused=True)
    decay = torch.optim.lr_scheduler.LinearLR(optimiser, 1.0, 0.01, steps)
    generator = torch.Generator().manual_seed(0)
    for _ in range(steps):
        rows = torch.randint(len(images), (64,), generator=generator)
        optimiser.zero_grad()
        loss = cross_entropy(network(images[rows]), labels[rows])
        loss.backward()  # type: ignore[no-untyped-call]
        optimiser.step()
        decay.step()
    return network


def pool_path() -> Path:
    """Give the place of the pool's weights, beside the results."""
    return results.folder() / "checkpoints" / "source_pool.pt"


def pool() -> dict[str, nn.Sequential]:
    """Load the pretrained source networks, by name.

    Raises
    ------
    CheckpointError
        The file isn't the one that the recipe wrote.
    FileNotFoundError
        There is no such file.
    """
    path = pool_path()
    state = checkpoints.read(path)
    if sha256(path.read_bytes()).hexdigest() != POOL_SHA256:
        raise checkpoints.CheckpointError(
            f"{path} isn't the file it should be: its SHA-256 is another; check it out again, or "
            "if the recipe has made it anew, put the new sum into mapping_lib/lab/choosing.py"
        )
    networks = {}
    for name, classes in SOURCES.items():
        networks[name] = small_network(classes, seed=0)
        start = f"{name}/"
        mine = {key.removeprefix(start): v for key, v in state.items() if key.startswith(start)}
        networks[name].load_state_dict({key: value.float() for key, value in mine.items()})
        networks[name].eval()
    return networks


def frozen_features(network: nn.Sequential, images: Tensor) -> Tensor:
    """Map images to what the head of a network sees, (n, 64).

    Parameters
    ----------
    network
        A :func:`small_network`.
    images
        Shape (n, 1, 16, 16).
    """
    return predict(network[:-1], images)


def fine_tune(
    network: nn.Sequential | None,
    target: Target,
    *,
    head_rate: float = 1e-2,
    body_rate: float = 1e-3,
    steps: int = 60,
    seed: int = 0,
) -> nn.Sequential:
    """Train a copy of a network, behind a new head, on a target's labels, all in each step.

    Parameters
    ----------
    network
        Where the body starts; None starts from random weights.
    target
        Whose labelled images are learned.
    head_rate, body_rate
        Of Adam; a body rate of 0 freezes the body.
    steps
        How many.
    seed
        Draws the new head, and the body where there is none.
    """
    tuned = small_network(target.classes, seed=seed)
    if network is not None:
        tuned[:-1].load_state_dict(network[:-1].state_dict())
    groups = [
        {"params": list(tuned[-1].parameters()), "lr": head_rate},
        {"params": list(tuned[:-1].parameters()), "lr": body_rate},
    ]
    optimiser = torch.optim.Adam(groups, fused=True)
    for _ in range(steps):
        optimiser.zero_grad()
        loss = cross_entropy(tuned(target.images), target.labels)
        loss.backward()  # type: ignore[no-untyped-call]
        optimiser.step()
    return tuned


def _head() -> object:
    return make_pipeline(StandardScaler(), LogisticRegression(max_iter=2000))


def _folds(labels: Tensor, folds: int) -> StratifiedKFold:
    counts = labels.bincount()
    fewest = int(counts[counts > 0].min())
    if fewest < 2:
        raise ValueError("cross-validation needs two labelled rows of each class at least")
    return StratifiedKFold(min(folds, fewest), shuffle=True, random_state=0)


def cross_validated(features: Tensor, labels: Tensor, *, folds: int = 5) -> Tensor:
    """Score features by the cross-validated accuracy of a logistic regression.

    Parameters
    ----------
    features
        Shape (n, d).
    labels
        Shape (n,), two of each class at least.
    folds
        How many, or as many as the rarest class has rows.

    Returns
    -------
    Tensor
        A scalar between 0 and 1.

    Examples
    --------
    >>> rows = torch.tensor([[0.0], [0.1], [5.0], [5.1]])
    >>> cross_validated(rows, torch.tensor([0, 0, 1, 1]))
    tensor(1.)
    """
    found = cross_val_predict(_head(), features.numpy(), labels.numpy(), cv=_folds(labels, folds))
    return (torch.from_numpy(found) == labels).float().mean()


def tuned_cross_validated(
    network: nn.Sequential | None, target: Target, *, folds: int = 3, **settings: float
) -> float:
    """Give the cross-validated accuracy of a fine-tuned network on a target's labelled images.

    Parameters
    ----------
    network, **settings
        As :func:`fine_tune` takes them.
    target
        Whose test images are left alone.
    folds
        How many, or as many as the rarest class has rows.
    """
    right = 0
    for train, held in _folds(target.labels, folds).split(target.images, target.labels):
        part = target._replace(images=target.images[train], labels=target.labels[train])
        tuned = fine_tune(network, part, **settings)  # type: ignore[arg-type]
        found = predict(tuned, target.images[held]).argmax(1)
        right += int((found == target.labels[held]).sum())
    return right / len(target.labels)


def _known(name: str, names: Mapping[str, int] | Sequence[str]) -> None:
    if name not in names:
        raise ValueError(f"there is no {name!r}{suggest(name, names)}")
