"""Read a reader's own pictures with masks, whose pixels are numbers of classes."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import cast

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from mapping_lib.lab.archives import reading
from mapping_lib.lab.boxes import _decoded, _pictures
from mapping_lib.lab.data import Scenes
from mapping_lib.lab.segmenting import chosen
from mapping_lib.segmentation import IGNORED

_LOSSY = (".jpg", ".jpeg", ".webp")
_NUMBERS = ("1", "L", "P", "I", "I;16", "I;16B", "I;16L")  # modes whose pixels are one number


@dataclass(frozen=True, repr=False)
class OwnScenes(Scenes):
    """Pictures with masks, and the files they are from.

    Otherwise as :class:`~mapping_lib.lab.data.types.Scenes`, without boxes.

    Attributes
    ----------
    files
        The name of each mask's file.
    """

    files: tuple[str, ...] = ()


def masked_folder(
    images: str | Path, masks: str | Path, *, classes: Sequence[str], ignored: int = IGNORED
) -> OwnScenes:
    """Read pictures, and for each a mask of its name: a grey or palette PNG of class numbers.

    Nothing is written. A palette's numbers are taken, not its colours, as in PASCAL VOC's masks.

    Taught in :ref:`semantic-segmentation` (section 6.1.3).

    Parameters
    ----------
    images
        The folder of pictures, of any size.
    masks
        The folder of masks.
    classes
        Names of the classes, in the order of their numbers, from 0.
    ignored
        The number of pixels that nobody has labelled.

    Raises
    ------
    ValueError
        A folder or a file that can't be read; a picture without mask or a mask without picture; a
        mask of another size, in colours, in a format that changes numbers, or with a number that
        has no name. The message names the file.
    """
    if len(classes) < 2:
        raise ValueError(f"at least two classes are due, got {list(classes)}")
    pictures, folder = _pictures(images), Path(masks)
    if not folder.is_dir():
        raise ValueError(f"{folder} is no folder; give the one that holds the masks")
    found = {
        path.stem: path
        for path in sorted(folder.iterdir())
        if path.is_file() and not path.name.startswith(".")
    }
    if not found:
        raise ValueError(f"{folder} holds no masks; each picture needs one of its name (a.png)")
    stems = {path.stem for path in pictures}
    if alone := sorted(set(found) - stems):
        raise ValueError(f"{found[alone[0]]} has no picture of its name in {images}")
    tensors, labels = [], []
    for path in pictures:
        if path.stem not in found:
            raise ValueError(f"{path} has no mask of its name in {folder}")
        image = _decoded(path)
        mask = _numbers(found[path.stem])
        (height, width), size = image.shape[1:], tuple(mask.shape[::-1])
        if size != (width, height):
            raise ValueError(
                f"{found[path.stem]} has {size[0]} × {size[1]} pixels, its picture {path.name} "
                f"{width} × {height}; a mask has a number for each pixel of its picture"
            )
        tensors.append(image)
        labels.append(_checked(mask, found[path.stem], classes, ignored))
    return OwnScenes(
        tuple(tensors),
        (torch.zeros(0, 4),) * len(tensors),
        (torch.zeros(0, dtype=torch.int64),) * len(tensors),
        tuple(classes),
        tuple(labels),
        dict(enumerate(classes)) | {IGNORED: "ignored"},
        entry="own",
        split="all",
        files=tuple(found[path.stem].name for path in pictures),
    )


def divided(found: OwnScenes, *, share: float, seed: int) -> tuple[OwnScenes, OwnScenes]:
    """Divide pictures at random: what to learn from, and what is held out for a test.

    Parameters
    ----------
    found
        At least two pictures.
    share
        To hold out, more than 0 and less than 1; at least one picture, and one is kept.
    seed
        Draws them.

    Raises
    ------
    ValueError
        The share is out of range, there is one picture, or a picture that is held out shows a class
        that no other does: it can't be learned. The message names its file.
    """
    if not 0 < share < 1:
        raise ValueError(f"share must lie between 0 and 1, got {share}")
    n = len(found)
    if n < 2:
        raise ValueError(f"two pictures are the least, one to test on; got {n}")
    order = torch.randperm(n, generator=torch.Generator().manual_seed(seed)).tolist()
    count = min(max(1, round(share * n)), n - 1)
    test, kept = sorted(order[:count]), sorted(order[count:])
    seen = {number for i in kept for number in _shown(found.masks[i])}
    for i in test:
        if unseen := sorted(_shown(found.masks[i]) - seen):
            raise ValueError(
                f"{found.files[i]} shows {found.regions[unseen[0]]!r} (number {unseen[0]}), which "
                "no picture to learn from does: add pictures, or draw with another seed"
            )
    return _rows(found, kept, "train"), _rows(found, test, "test")


def _numbers(path: Path) -> Tensor:
    """Decode a mask to numbers."""
    if path.suffix.lower() in _LOSSY:
        raise ValueError(
            f"{path} is saved as {path.suffix}, which may change numbers at the edges of things; "
            "save the mask as PNG"
        )
    with reading(path, "a mask"), Image.open(path) as opened:
        opened.load()  # a torn file fails here, and not later
        mode = opened.mode
        pixels = np.asarray(opened).astype(np.int64)
    if mode not in _NUMBERS:
        colours = np.unique(pixels.reshape(-1, pixels.shape[-1])[:, :3], axis=0)
        shown = ", ".join(str(tuple(colour)) for colour in colours[:3].tolist())
        raise ValueError(
            f"{path} holds colours ({mode}: {shown}{' …' if len(colours) > 3 else ''}), but a mask "
            "is one number a pixel; give each colour its class's number and save it as grey (L)"
        )
    return torch.from_numpy(pixels)


def _checked(mask: Tensor, path: Path, classes: Sequence[str], ignored: int) -> Tensor:
    """Check that each number has a name; what is ignored becomes :data:`IGNORED`."""
    numbers = mask.masked_fill(mask == ignored, -1)
    wrong = (numbers >= len(classes)) | (numbers < -1)
    if wrong.any():
        row, column = wrong.nonzero()[0].tolist()
        which = sorted(set(mask[wrong].tolist()))
        hint = "; 255 is often white: divide by 255" if which == [255] else ""
        raise ValueError(
            f"{path} has the number {which[0]} in {int((mask == which[0]).sum())} pixels (first in "
            f"row {row}, column {column}), which has no name; there are {len(classes)}, from 0"
            f"{hint}"
        )
    return numbers.masked_fill(numbers == -1, IGNORED)


def _shown(mask: Tensor | None) -> set[int]:
    return set() if mask is None else set(torch.unique(mask).tolist()) - {IGNORED}


def _rows(found: OwnScenes, rows: Sequence[int], split: str) -> OwnScenes:
    files = tuple(found.files[i] for i in rows)
    kept = cast(OwnScenes, chosen(found, rows))  # of the class that it was given
    return replace(kept, files=files, split=split)
