"""Sources that help or hurt a small target, and stacks of small networks that learn from them.

Every source is about 2,000 images of 16×16 with labels; the two targets have ten classes and few
labels. A stack holds the weights of many networks, which are trained at once::

    state = networks(range(5))
    state = descend(state, known=(images, labels), steps=200, rate=1e-3)
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import replace
from functools import cache
from typing import Literal

import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy

from mapping_lib.lab.data import (
    Images,
    handwritten_digits,
    photographs,
    rendered_digits,
    rendered_glyphs,
)
from mapping_lib.lab.data._arguments import one_of
from mapping_lib.lab.machine import seeded
from mapping_lib.lab.small_networks import permuted, small_network

__all__ = [
    "SOURCES",
    "Examples",
    "State",
    "Target",
    "descend",
    "draw_source",
    "draw_target",
    "features_of",
    "logits_of",
    "networks",
]

Target = Literal["digits", "photographs"]
State = dict[str, Tensor]
Examples = tuple[Tensor, Tensor]

SOURCES = {
    "digits": "2,000 digits drawn from matplotlib's fonts",
    "100 digits": "100 of these, drawn again and again",
    "letters": "letters of Latin, Greek, Cyrillic and Canadian syllabics, 577 classes",
    "other scripts": "letters of eight other scripts, 261 classes",
    "negatives": "the digits, black on white",
    "on their side": "the digits, turned by 90 degrees",
    "pixels mixed": "the digits, all their pixels in one other order",
    "exchanged labels": "the digits, each class under the name of the next",
    "random labels": "the digits, each image under a label drawn for itself",
    "by brightness": "the digits, in ten classes by their mean brightness",
    "photographs": "patches of ten photographs; the class is the picture",
    "stripes": "waves in ten directions, with noise",
    "noise": "independent pixels, in ten classes drawn at random",
}
"""Each source's name, and what it is."""


def draw_source(name: str, *, seed: int, count: int = 2000) -> tuple[Tensor, Tensor]:
    """Draw the images and labels of a source.

    Parameters
    ----------
    name
        A key of :data:`SOURCES`.
    seed
        Draws all of it.
    count
        About how many images.

    Returns
    -------
    tuple
        Images ``(n, 1, 16, 16)`` from 0 to 1, and labels ``(n,)``.

    Raises
    ------
    ValueError
        An unknown source; the message suggests the nearest known one.

    Examples
    --------
    >>> images, labels = draw_source("stripes", seed=0, count=20)
    >>> images.shape, labels.unique().numel()
    (torch.Size([20, 1, 16, 16]), 10)
    """
    one_of(SOURCES, name=name)
    generator = torch.Generator().manual_seed(seed)
    if name == "stripes":
        return _stripes(count, generator)
    if name == "noise":
        return torch.rand(count, 1, 16, 16, generator=generator), torch.arange(count) % 10
    if name == "photographs":
        each = max(count // 10, 1)
        return _ten_pictures(photographs(each, seed=seed, size=16, test_per_class=1)[0], 0)
    if name in ("letters", "other scripts"):
        split, classes = ("train", 577) if name == "letters" else ("test", 261)
        glyphs = rendered_glyphs(split, per_class=-(-count // classes), seed=seed, size=16)
        return glyphs.images, glyphs.labels
    drawn = _digits(100 if name == "100 digits" else count, seed)
    return _changed(name, drawn.images, drawn.labels, seed, generator)


def draw_target(name: Target, *, labels_per_class: int, seed: int) -> tuple[Images, Images]:
    """Draw a target's labelled images, and those that test.

    Parameters
    ----------
    name
        "digits": scikit-learn's handwritten digits, 800 others test. "photographs": ten pictures
        that are in no source, labelled patches from their left halves, 600 from their right test.
    labels_per_class
        Labelled images of each of the ten classes.
    seed
        Draws them.

    Examples
    --------
    >>> known, test = draw_target("digits", labels_per_class=2, seed=0)
    >>> len(known), len(test)
    (20, 800)
    """
    one_of(("digits", "photographs"), name=name)
    if name == "photographs":
        cut = photographs(labels_per_class, seed=seed, size=16, test_per_class=60)
        first, second = (
            replace(part, images=images, labels=labels, classes=part.classes[10:])
            for part in cut
            for images, labels in [_ten_pictures(part, 10)]
        )
        return first, second
    digits = handwritten_digits()
    order = torch.randperm(len(digits), generator=torch.Generator().manual_seed(seed))
    chosen = torch.cat([order[digits.labels[order] == k][:labels_per_class] for k in range(10)])
    rest = order[~torch.isin(order, chosen)][:800]
    known, test = (
        replace(digits, images=digits.images[rows], labels=digits.labels[rows])
        for rows in (chosen, rest)
    )
    return known, test


def networks(seeds: Iterable[int], *, classes: int = 10) -> State:
    """Return the first weights of feed-forward networks, one for each seed, in one stack.

    >>> {name: tuple(weights.shape) for name, weights in networks(range(2)).items()}
    {'hidden.weight': (2, 47, 256), 'hidden.bias': (2, 47), \
'head.weight': (2, 10, 47), 'head.bias': (2, 10)}
    """
    states = []
    for seed in seeds:
        network = small_network("feed-forward", seed=seed)
        if classes != 10:
            with seeded(1000 + seed):
                network.head = nn.Linear(47, classes)
        states.append(network.state_dict())
    return {name: torch.stack([state[name] for state in states]) for name in states[0]}


def features_of(state: State, images: Tensor) -> Tensor:
    """Return the hidden units of all networks of a stack, ``(m, n, 47)``.

    Parameters
    ----------
    state
        A stack of m networks.
    images
        ``(n, 1, 16, 16)`` for all of them, or ``(m, n, 1, 16, 16)``.
    """
    rows = images.flatten(-3)
    weight, bias = state["hidden.weight"], state["hidden.bias"]
    return (rows @ weight.mT + bias.unsqueeze(1)).relu()


def logits_of(state: State, images: Tensor) -> Tensor:
    """Return the logits of all networks of a stack, ``(m, n, classes)``; as :func:`features_of`."""
    return features_of(state, images) @ state["head.weight"].mT + state["head.bias"].unsqueeze(1)


def descend(
    state: State,
    *,
    steps: int,
    rate: float,
    known: Examples | None = None,
    drawn: Examples | None = None,
    weight: float = 1.0,
    pull: float = 0.0,
    fixed: tuple[str, ...] = (),
    generator: torch.Generator | None = None,
) -> State:
    """Train all networks of a stack at once by Adam, each on examples of its own.

    Parameters
    ----------
    state
        A stack of m networks, left as it is.
    steps, rate
        How long, and how fast.
    known
        Images ``(m, n, 1, 16, 16)`` and labels ``(m, n)`` that are learned in every step.
    drawn
        The same, but 64 of each network's are drawn in every step.
    weight
        Of their loss beside that of `known`.
    pull
        Strength of L2-SP (section 3.2.2), towards the hidden layer's weights at the start.
    fixed
        Names of weights that stay.
    generator
        Draws.

    Returns
    -------
    dict
        The stack afterwards.
    """
    now = {name: w.clone().requires_grad_(name not in fixed) for name, w in state.items()}
    moving = [w for w in now.values() if w.requires_grad]
    optimiser = torch.optim.Adam(moving, lr=rate, fused=True)
    for _ in range(steps):
        loss = torch.zeros(())
        if known is not None:
            loss = loss + _losses(now, *known)
        if drawn is not None:
            images, labels = drawn
            rows = torch.randint(labels.shape[1], (len(labels), 64), generator=generator)
            each = torch.arange(len(labels)).unsqueeze(1)
            loss = loss + weight * _losses(now, images[each, rows], labels[each, rows])
        if pull:
            for name in ("hidden.weight", "hidden.bias"):
                loss = loss + pull / 2 * (now[name] - state[name]).square().sum()
        optimiser.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        optimiser.step()
    return {name: w.detach() for name, w in now.items()}


def _losses(state: State, images: Tensor, labels: Tensor) -> Tensor:
    """Return the sum over the networks of their mean losses: each learns as if it were alone."""
    logits = logits_of(state, images).flatten(0, 1)
    return cross_entropy(logits, labels.flatten(), reduction="sum") / labels.shape[1]


@cache
def _digits(count: int, seed: int) -> Images:
    return rendered_digits(count, seed=seed)


def _changed(
    name: str, images: Tensor, labels: Tensor, seed: int, generator: torch.Generator
) -> tuple[Tensor, Tensor]:
    """Change rendered digits as a source's name says."""
    order = torch.randperm(len(images), generator=generator)
    changes: dict[str, Callable[[], tuple[Tensor, Tensor]]] = {
        "negatives": lambda: (1 - images, labels),
        "on their side": lambda: (images.rot90(1, (2, 3)), labels),
        "pixels mixed": lambda: (permuted(images, "pixels", seed=seed), labels),
        "exchanged labels": lambda: (images, (labels + 1) % 10),
        "random labels": lambda: (images, labels[order]),
        "by brightness": lambda: (
            images,
            images.mean((1, 2, 3)).argsort().argsort() * 10 // len(images),
        ),
    }
    return changes[name]() if name in changes else (images, labels)


def _ten_pictures(patches: Images, first: int) -> tuple[Tensor, Tensor]:
    """Keep ten of the twenty pictures, in one channel."""
    kept = (patches.labels >= first) & (patches.labels < first + 10)
    return patches.images[kept][:, :1], patches.labels[kept] - first


def _stripes(count: int, generator: torch.Generator) -> tuple[Tensor, Tensor]:
    """Draw waves in ten directions."""
    labels = torch.arange(count) % 10
    length, phase = torch.rand(2, count, 1, 1, generator=generator)
    y, x = torch.meshgrid(torch.arange(16.0), torch.arange(16.0), indexing="ij")
    angle = (torch.pi * labels / 10).view(-1, 1, 1)
    way = x * angle.cos() + y * angle.sin()
    waves = (2 * torch.pi * (way / (4 + 6 * length) + phase)).sin() / 2 + 0.5
    noise = 0.1 * torch.randn(count, 16, 16, generator=generator)
    return (waves + noise).clamp(0, 1)[:, None], labels
