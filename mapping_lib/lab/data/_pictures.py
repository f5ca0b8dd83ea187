"""Decode and shape pictures."""

import io

import numpy as np
import numpy.typing as npt
import torch
from PIL import Image
from torch import Tensor

from mapping_lib.lab.data.types import Pixels


def clipped(pixels: npt.NDArray[np.floating]) -> Pixels:
    """Cut values off at 0 and 1."""
    return np.asarray(np.clip(pixels, 0, 1), np.float32)


def decoded(content: bytes) -> Image.Image:
    """Decode a picture in colour."""
    with Image.open(io.BytesIO(content)) as opened:
        return opened.convert("RGB")


def square(content: bytes, size: int) -> Tensor:
    """Decode a picture, scale its shorter side to size, and cut the middle square out."""
    picture = decoded(content)
    side = min(picture.size)
    left, top = (picture.width - side) // 2, (picture.height - side) // 2
    box = (left, top, left + side, top + side)
    return as_tensor(picture.resize((size, size), Image.Resampling.BILINEAR, box))


def as_tensor(picture: Image.Image) -> Tensor:
    """Turn a picture into a tensor (channels, height, width) in [0, 1]."""
    pixels = torch.from_numpy(np.asarray(picture, np.float32) / 255)
    return (pixels.permute(2, 0, 1) if pixels.ndim == 3 else pixels[None]).contiguous()
