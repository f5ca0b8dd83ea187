"""Twenty real photographs and scans, whole or cut into patches."""

from pathlib import PurePosixPath

import numpy as np
import torch
from PIL import Image

from mapping_lib._names import suggest
from mapping_lib.lab.data._arguments import at_least_one, check_seed
from mapping_lib.lab.data._pictures import clipped, square
from mapping_lib.lab.data.types import Images, Pixels
from mapping_lib.lab.registry import find, locate


def photograph(name: str, *, size: int = 224) -> Images:
    """Return one of the twenty pictures whole: in colour if it has any, its middle square.

    Parameters
    ----------
    name
        Its class in :func:`photographs`, such as ``"china"``.
    size
        Side of the square in pixels.

    Raises
    ------
    ValueError
        There is no such picture; the message suggests the nearest name.

    Examples
    --------
    >>> photograph("china").images.shape
    torch.Size([1, 3, 224, 224])
    """
    at_least_one(size=size)
    entry = find("photographs")
    names = {_class_name(file.path): file.path for file in entry.files}
    if name not in names:
        raise ValueError(f"there is no photograph {name!r}" + suggest(name, names))
    picture = square(locate(entry, names[name]).read_bytes(), size)
    return Images(picture[None], torch.tensor([0]), (name,), entry="photographs", split="all")


def photographs(
    labels_per_class: int, *, seed: int, size: int = 96, test_per_class: int = 20
) -> tuple[Images, Images]:
    """Cut patches from twenty pictures; the class of a patch is the picture it was cut from.

    Training patches come from the left half of each picture, test patches from the right half,
    so no pixel is in both. All are square, grey (repeated to three channels), 40 to 80 % of the
    half's shorter side, with random contrast (0.5 to 1.5) and brightness (-0.2 to 0.2).

    Parameters
    ----------
    labels_per_class
        Training patches of each picture, at least 1. The first ones are the same for any number.
    seed
        Draws the training patches. The test patches are the same for every seed.
    size
        Side of a patch in pixels.
    test_per_class
        Test patches of each picture.

    Raises
    ------
    ValueError
        A number below one, a seed below zero, or patches that take more than 4 GB.

    Examples
    --------
    >>> train, test = photographs(1, seed=0, size=32)
    >>> train, test
    (Images(photographs, train: 20 of 3×32×32, 20 classes), Images(photographs, test: 400 of \
3×32×32, 20 classes))
    """
    at_least_one(labels_per_class=labels_per_class, size=size, test_per_class=test_per_class)
    check_seed(seed)
    entry = find("photographs")
    _check_memory(labels_per_class + test_per_class, len(entry.files), size)
    pictures = [Image.open(locate(entry, file.path)).convert("L") for file in entry.files]
    classes = tuple(_class_name(file.path) for file in entry.files)

    def patches(count: int, half: int, stream: int) -> Images:
        cut = [
            _patch(picture, half, size, generator)
            for k, picture in enumerate(pictures)
            for generator in [np.random.default_rng([stream, k])]
            for _ in range(count)
        ]
        labels = torch.arange(len(pictures)).repeat_interleave(count)
        images = torch.from_numpy(np.stack(cut))[:, None].repeat(1, 3, 1, 1)
        return Images(images, labels, classes, entry="photographs", split=("train", "test")[half])

    return patches(labels_per_class, 0, seed + 1), patches(test_per_class, 1, 0)


def _check_memory(per_class: int, classes: int, size: int) -> None:
    gigabytes = per_class * classes * 3 * size**2 * 4 / 1e9
    if gigabytes > 4:
        raise ValueError(
            f"{per_class} patches of {classes} pictures, {size} pixels wide, take "
            f"{gigabytes:.0f} GB: ask for fewer, or for smaller ones"
        )


def _class_name(path: str) -> str:
    """Return what a picture is called here: its file's name, or plainer words."""
    stem = PurePosixPath(path).stem
    plainer = {"chelsea": "cat", "hubble_deep_field": "stars", "ihc": "tissue", "page": "print"}
    return plainer.get(stem, stem.removesuffix("_motion").removesuffix("_left"))


def _patch(picture: Image.Image, half: int, size: int, generator: np.random.Generator) -> Pixels:
    """Cut one jittered patch from the left (0) or the right (1) half of a grey picture."""
    width, height = picture.width // 2, picture.height
    side = int(generator.uniform(0.4, 0.8) * min(width, height))
    left = (picture.width - width) * half + int(generator.integers(width - side + 1))
    top = int(generator.integers(height - side + 1))
    cut = picture.crop((left, top, left + side, top + side))
    pixels = np.asarray(cut.resize((size, size), Image.Resampling.BILINEAR), np.float32) / 255
    contrast, brightness = generator.uniform(0.5, 1.5), generator.uniform(-0.2, 0.2)
    changed = (pixels - pixels.mean()) * contrast + pixels.mean() + brightness
    return clipped(changed)
