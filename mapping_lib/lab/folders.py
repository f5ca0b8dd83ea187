"""Read a reader's own pictures: a folder with a sub-folder for each class."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from PIL import Image, ImageOps
from torch import Tensor

from mapping_lib.lab.archives import reading
from mapping_lib.lab.data._arguments import at_least_one
from mapping_lib.lab.data._pictures import as_tensor
from mapping_lib.lab.data.types import Images

SUFFIXES = (".jpg", ".jpeg", ".png", ".webp", ".bmp", ".tif", ".tiff")
"""What a picture's name may end in."""

_LEFT_BY_SYSTEMS = ("thumbs.db", "desktop.ini")
_OTHER_MODES = {
    "1": "black and white",
    "L": "grey",
    "LA": "grey with transparency",
    "P": "a palette of colours",
    "RGBA": "colour with transparency",
    "CMYK": "four printing inks",
}


@dataclass(frozen=True, repr=False)
class OwnPictures(Images):
    """Pictures of a folder, and the files they are from.

    Otherwise as :class:`~mapping_lib.lab.data.types.Images`.

    Attributes
    ----------
    files
        The file of each picture, from the folder on, such as ``"ants/1.jpg"``.
    """

    files: tuple[str, ...]


def read_folder(folder: str | Path, *, size: int = 224, convert: bool = False) -> OwnPictures:
    """Read a folder that has a sub-folder for each class, with the pictures of that class.

    The shorter side is scaled to `size` and the middle square is cut out, as for the book's own
    sets. A camera's note of how it was held is followed. Nothing is written.

    Taught in :ref:`image-classification` (section 6.1.1).

    Parameters
    ----------
    folder
        Its sub-folders' names are the classes, in alphabetical order. Hidden files are left out.
    size
        Side of the squares in pixels.
    convert
        Whether to take pictures that aren't plain colours: grey is repeated in three channels,
        what is transparent becomes white, 16 bits become 8, inks become light. By default such a
        picture is an error: if all pictures of one class are grey, a network learns to tell grey
        from colour.

    Raises
    ------
    FileNotFoundError, NotADirectoryError
        There is no such folder.
    ValueError
        There are fewer than two classes, one without pictures, something that is no picture, the
        same picture twice, or one that isn't plain colours. The message names it.
    CorruptKnowledge
        A picture is torn or damaged; the message names the file.
    """
    at_least_one(size=size)
    folder = Path(folder).expanduser()
    if not folder.exists():
        raise FileNotFoundError(
            f"there is no folder {folder}; looked for it at {folder.absolute()}"
        )
    if not folder.is_dir():
        raise NotADirectoryError(f"{folder} is a file; give the folder that holds the classes")
    members = _visible(folder)
    classes = [path for path in members if path.is_dir()]
    if loose := [path for path in members if not path.is_dir()]:
        raise ValueError(
            f"{loose[0]} lies beside the classes; put each picture into the sub-folder of its class"
        )
    if len(classes) < 2:
        found = f"only {classes[0].name!r}" if classes else "none"
        raise ValueError(
            f"{folder} must have a sub-folder for each of at least two classes, it has {found}"
        )
    tensors, labels, files = [], [], []
    seen: dict[str, Path] = {}
    for label, kind in enumerate(classes):
        pictures = _visible(kind)
        if not pictures:
            raise ValueError(f"the class {kind} has no pictures ({', '.join(SUFFIXES)})")
        for path in pictures:
            if path.is_dir() or path.suffix.lower() not in SUFFIXES:
                raise ValueError(
                    f"{path} is no picture that can be read ({', '.join(SUFFIXES)}); "
                    "convert it, or take it out of the folder"
                )
            known = seen.setdefault(hashlib.sha256(path.read_bytes()).hexdigest(), path)
            if known != path:
                raise ValueError(
                    f"{path} is the same picture as {known}; remove one, or the same picture is "
                    "learned from and tested on"
                )
            tensors.append(_square(path, size, convert))
            labels.append(label)
            files.append(f"{kind.name}/{path.name}")
    return OwnPictures(
        torch.stack(tensors),
        torch.tensor(labels),
        tuple(kind.name for kind in classes),
        entry="own pictures",
        split="all",
        domain=folder.name,
        files=tuple(files),
    )


def split_by_class(labels: Tensor, *, share: float, seed: int) -> tuple[Tensor, Tensor]:
    """Divide examples in two, the same share of each class: what is kept, and what is held out.

    Parameters
    ----------
    labels
        Shape (n,).
    share
        To hold out of each class, more than 0 and less than 1; at least one example of each class,
        and at least one is kept.
    seed
        Draws them.

    Returns
    -------
    Tensor, Tensor
        Rows to keep and rows held out, each in rising order.

    Raises
    ------
    ValueError
        A class has one example, or the share isn't between 0 and 1.

    Examples
    --------
    >>> kept, held_out = split_by_class(torch.tensor([0, 0, 0, 0, 1, 1]), share=0.25, seed=0)
    >>> len(kept), len(held_out)
    (4, 2)
    """
    if not 0 < share < 1:
        raise ValueError(f"share must lie between 0 and 1, got {share}")
    generator = torch.Generator().manual_seed(seed)
    out = []
    for k in sorted(set(labels.tolist())):
        rows = (labels == k).nonzero().flatten()
        if len(rows) < 2:
            raise ValueError(f"class {k} has one example: two are the least, one to test on")
        count = min(max(1, round(share * len(rows))), len(rows) - 1)
        out.append(rows[torch.randperm(len(rows), generator=generator)[:count]])
    held = torch.zeros(len(labels), dtype=torch.bool)
    held[torch.cat(out)] = True
    return (~held).nonzero().flatten(), held.nonzero().flatten()


def _visible(folder: Path) -> list[Path]:
    """List a folder without what is hidden or systems leave there."""
    return sorted(
        path
        for path in folder.iterdir()
        if not path.name.startswith(".") and path.name.lower() not in _LEFT_BY_SYSTEMS
    )


def _square(path: Path, size: int, convert: bool) -> Tensor:
    """Decode a picture, scale its shorter side, and cut the middle square out."""
    with reading(path, "a picture"):
        with Image.open(path) as opened:
            opened.load()  # a torn file fails here, and not later
            picture = ImageOps.exif_transpose(opened)
        plain = picture if picture.mode == "RGB" else _converted(picture)
    if picture.mode != "RGB" and not convert:
        kind = _OTHER_MODES.get(picture.mode, "16 or more bits")
        raise ValueError(
            f"{path} isn't plain colours (RGB, 8 bits) but {picture.mode} ({kind}); save it as a "
            "colour picture, or let read_folder do so with convert=True"
        )
    side = min(plain.size)
    left, top = (plain.width - side) // 2, (plain.height - side) // 2
    box = (left, top, left + side, top + side)
    return as_tensor(plain.resize((size, size), Image.Resampling.BILINEAR, box))


def _converted(picture: Image.Image) -> Image.Image:
    """Turn any picture into plain colours; Pillow alone would cut 16 bits off at 255."""
    if picture.mode.startswith("I") or picture.mode == "F":
        deep = picture.convert("F")
        top = 65535 if np.asarray(deep).max() > 255 else 255
        return deep.point(lambda value: value * (255 / top)).convert("L").convert("RGB")
    if picture.mode in ("LA", "PA", "RGBA") or "transparency" in picture.info:
        colours = picture.convert("RGBA")
        white = Image.new("RGBA", colours.size, "white")
        return Image.alpha_composite(white, colours).convert("RGB")
    return picture.convert("RGB")
