"""Handwritten digits of three origins."""

from typing import Literal

import numpy as np
import torch
from torch import Tensor

from mapping_lib.lab.archives import reading, unpacked
from mapping_lib.lab.data._arguments import at_least_one
from mapping_lib.lab.data.glyphs import DIGITS
from mapping_lib.lab.data.types import Images
from mapping_lib.lab.registry import CorruptKnowledge, locate


def handwritten_digits(*, size: int = 16) -> Images:
    """Return scikit-learn's 1,797 handwritten digits, enlarged from 8×8, white on black.

    Parameters
    ----------
    size
        Side in pixels.

    Examples
    --------
    >>> handwritten_digits()
    Images(handwritten-digits, all: 1797 of 1×16×16, 10 classes)
    """
    at_least_one(size=size)
    table = np.loadtxt(locate("handwritten-digits"), delimiter=",", dtype=np.float32)
    pixels = torch.from_numpy(table[:, :-1].reshape(-1, 1, 8, 8) / 16)
    labels = torch.from_numpy(table[:, -1]).long()
    return Images(_scaled(pixels, size), labels, DIGITS, entry="handwritten-digits", split="all")


def mnist(*, size: int = 28, download: bool = False) -> tuple[Images, Images]:
    """Return MNIST, the official 60,000 training and 10,000 test images, white on black.

    Parameters
    ----------
    size
        Side in pixels.
    download
        Fetch the four files (12 MB) that are missing.

    Raises
    ------
    MissingKnowledge, CorruptKnowledge, DownloadFailed, CacheNotWritable
        As :func:`mapping_lib.lab.registry.locate` raises them.
    """
    at_least_one(size=size)

    def part(prefix: str, split: str) -> Images:
        images = _idx(f"mnist/{prefix}-images-idx3-ubyte.gz", download).float() / 255
        labels = _idx(f"mnist/{prefix}-labels-idx1-ubyte.gz", download).long()
        return Images(_scaled(images[:, None], size), labels, DIGITS, entry="mnist", split=split)

    return part("train", "train"), part("t10k", "test")


def usps(*, size: int = 16) -> tuple[Images, Images]:
    """Return USPS, the official 7,291 training and 2,007 test images, white on black.

    Parameters
    ----------
    size
        Side in pixels.

    Raises
    ------
    MissingKnowledge, CorruptKnowledge
        As :func:`mapping_lib.lab.registry.locate` raises them.
    """
    at_least_one(size=size)

    def part(name: Literal["usps.bz2", "usps.t.bz2"], split: str) -> Images:
        path = locate("usps", f"usps/{name}")
        content = unpacked(path).replace(b":", b" ")
        with reading(path, "digits in LIBSVM's format"):
            # Each row is "label 1:value 2:value …", none left out.
            table = np.array(content.split(), np.float32).reshape(-1, 1 + 2 * 256)
            if not (table[:, 1::2] == np.arange(1, 257)).all():
                raise ValueError("a row doesn't have the features 1 to 256")
        pixels = torch.from_numpy((table[:, 2::2].reshape(-1, 1, 16, 16) + 1) / 2)
        labels = torch.from_numpy(table[:, 0]).long() - 1
        return Images(_scaled(pixels, size), labels, DIGITS, entry="usps", split=split)

    return part("usps.bz2", "train"), part("usps.t.bz2", "test")


def _idx(name: str, download: bool) -> Tensor:
    """Read MNIST's format: two zero bytes, the type, the number of axes, the axes, the bytes."""
    path = locate("mnist", name, download=download)
    content = unpacked(path)
    axes = content[3] if len(content) > 3 else 0
    if content[:3] != b"\0\0\x08" or axes not in (1, 3):
        raise CorruptKnowledge(f"{path} is no file of bytes in MNIST's idx format")
    with reading(path, "an idx file"):
        shape = np.frombuffer(content, ">i4", axes, offset=4).tolist()
        values = np.frombuffer(content, np.uint8, offset=4 + 4 * axes).reshape(shape)
    return torch.from_numpy(values.copy())


def _scaled(images: Tensor, size: int) -> Tensor:
    """Scale square images to a side, and keep them in [0, 1]."""
    if images.shape[-1] != size:
        images = torch.nn.functional.interpolate(
            images, (size, size), mode="bilinear", antialias=True
        )
    return images.clamp(0, 1)
