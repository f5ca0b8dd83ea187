"""Digits that a camera has spoilt, a network that learned clean ones, and their order."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy
from torchvision.transforms.functional import gaussian_blur

from mapping_lib._names import suggest
from mapping_lib.lab.adapting import split
from mapping_lib.lab.data import Images, handwritten_digits
from mapping_lib.lab.machine import seeded
from mapping_lib.lab.training import fit

STRENGTHS = {"none": 0.0, "noise": 0.4, "blur": 2.0, "contrast": 0.2}
"""By the corruption's name, the standard deviation of noise, that of the blur in pixels, and the
share of the contrast that is left."""


def corrupt(
    images: Tensor, kind: str, *, strength: float | None = None, generator: torch.Generator
) -> Tensor:
    """Spoil images: add noise, blur them, or take their contrast away.

    Parameters
    ----------
    images
        Shape (n, channels, height, width), in [0, 1]; so is the result.
    kind
        A name of :data:`STRENGTHS`.
    strength
        Another than that of :data:`STRENGTHS`.
    generator
        Draws the noise.

    Raises
    ------
    ValueError
        There is no such corruption.

    Examples
    --------
    >>> corrupt(torch.ones(1, 1, 2, 2), "contrast", generator=torch.Generator()).unique()
    tensor([0.6000])
    """
    if kind not in STRENGTHS:
        raise ValueError(f"there is no corruption {kind!r}{suggest(kind, STRENGTHS)}")
    strength = STRENGTHS[kind] if strength is None else strength
    if kind == "noise":
        return (images + strength * torch.randn(images.shape, generator=generator)).clamp(0, 1)
    if kind == "blur":
        blurred: Tensor = gaussian_blur(images, [9, 9], [strength, strength])
        return blurred
    return 0.5 + strength * (images - 0.5) if kind == "contrast" else images


def digit_classifier(seed: int) -> tuple[nn.Sequential, Images]:
    """Train a small network with plain batch norm on clean handwritten digits.

    Parameters
    ----------
    seed
        Draws its first weights, the 1,000 digits that it learns, and their order.

    Returns
    -------
    nn.Sequential
        The network in eval mode, 22k parameters.
    Images
        The 797 digits that it hasn't seen.
    """
    known, unseen = split(handwritten_digits(), [1000, 797], torch.Generator().manual_seed(seed))
    with seeded(seed):
        layers: list[nn.Module] = []
        for narrow, wide in ((1, 16), (16, 32), (32, 32)):
            layers += [nn.Conv2d(narrow, wide, 3, padding=1, bias=False), nn.BatchNorm2d(wide)]
            layers += [nn.ReLU(), nn.MaxPool2d(2) if wide > narrow else nn.Flatten()]
        network = nn.Sequential(*layers, nn.Linear(32 * 16, 10))
    fit(
        network,
        cross_entropy,
        known.images,
        known.labels,
        epochs=10,
        rate=0.05,
        seed=seed,
        progress=False,
    )
    return network.eval(), unseen


def stream(
    labels: Tensor, *, batch: int, one_class: bool, generator: torch.Generator
) -> list[Tensor]:
    """Return the rows of each batch in which examples arrive.

    Parameters
    ----------
    labels
        Shape (n,), the classes of the examples.
    batch
        Examples a batch; the last one of all, or of a class, may be smaller.
    one_class
        Whether each batch holds one class only, as the pictures of one place do; batches of the
        classes alternate at random. Otherwise all examples are mixed.
    generator
        Draws the order.

    Examples
    --------
    >>> labels = torch.tensor([0, 1, 0, 1])
    >>> batches = stream(labels, batch=2, one_class=True, generator=torch.Generator())
    >>> sorted(labels[rows].tolist() for rows in batches)
    [[0, 0], [1, 1]]
    """
    if batch < 1:
        raise ValueError(f"batch must be at least 1, got {batch}")
    order = torch.randperm(len(labels), generator=generator)
    if not one_class:
        return list(torch.split(order, batch))
    classes = range(int(labels.max()) + 1)
    parts = [p for k in classes for p in torch.split(order[labels[order] == k], batch) if len(p)]
    return [parts[k] for k in torch.randperm(len(parts), generator=generator)]
