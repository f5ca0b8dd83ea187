"""Pictures of things from archives: ants and bees, office goods, drawn characters, street scenes.

Most of them must not be shown in anything that is published (their entries say so); numbers about
them may.
"""

import io
import json
from collections import defaultdict
from pathlib import PurePosixPath

import numpy as np
import torch
from PIL import Image
from scipy.io import loadmat
from torch import Tensor

from mapping_lib.lab.archives import members, reading
from mapping_lib.lab.data._arguments import at_least_one, one_of
from mapping_lib.lab.data._pictures import as_tensor, decoded, square
from mapping_lib.lab.data.types import Features, Images, Scenes
from mapping_lib.lab.registry import CorruptKnowledge, locate

OFFICE_DOMAINS = ("amazon", "caltech10", "dslr", "webcam")
OFFICE_CLASSES = (
    "backpack",
    "bike",
    "calculator",
    "headphones",
    "keyboard",
    "laptop",
    "monitor",
    "mouse",
    "mug",
    "projector",
)


def hymenoptera(*, size: int = 224) -> tuple[Images, Images]:
    """Return the ants and bees, the official training and validation pictures.

    The shorter side is scaled to ``size`` and the middle square is cut out. The pictures must not
    be shown in anything that is published.

    Parameters
    ----------
    size
        Side of the square in pixels.

    Raises
    ------
    MissingKnowledge, CorruptKnowledge
        The archive isn't there, or isn't the variant that the registry knows.
    """
    at_least_one(size=size)
    path = locate("hymenoptera")
    classes = ("ants", "bees")
    found: dict[str, list[tuple[Tensor, int]]] = {"train": [], "val": []}
    with reading(path, "an archive of pictures"):
        for name, content in members(path).items():
            match name.parts:
                case (_, ("train" | "val") as split, ("ants" | "bees") as kind, _):
                    found[split].append((square(content, size), classes.index(kind)))
    if not (found["train"] and found["val"]):
        raise CorruptKnowledge(f"{path} holds no train/ and val/ folders with ants and bees")
    train, test = (
        _images(found[folder], classes, entry="hymenoptera", split=split)
        for folder, split in (("train", "train"), ("val", "test"))
    )
    return train, test


def office_caltech10(domain: str, *, size: int = 96) -> Images:
    """Return the pictures of one domain of Office-Caltech-10: ten kinds of things, 2,533 in all.

    They must not be shown in anything that is published.

    Parameters
    ----------
    domain
        ``"amazon"`` (958), ``"caltech10"`` (1,123), ``"dslr"`` (157) or ``"webcam"`` (295).
    size
        Side of the middle square, which is cut out, in pixels.

    Raises
    ------
    ValueError
        An unknown domain.
    MissingKnowledge, CorruptKnowledge
        The archive isn't there, or isn't the variant that the registry knows.
    """
    one_of(OFFICE_DOMAINS, domain=domain)
    at_least_one(size=size)
    path = locate("office-caltech10")
    with reading(path, "an archive of pictures"):
        found = [
            (square(content, size), OFFICE_CLASSES.index(name.parts[2]))
            for name, content in members(path).items()
            if name.parts[:2] == ("images", domain)
        ]
    if not found:
        raise CorruptKnowledge(f"{path} holds no folder images/{domain}")
    return _images(found, OFFICE_CLASSES, entry="office-caltech10", split="all", domain=domain)


def office_caltech10_surf(domain: str) -> Features:
    """Return the SURF features of one domain of Office-Caltech-10: counts of 800 visual words.

    The usual preparation divides each row by its sum and then standardises each column.

    Parameters
    ----------
    domain
        ``"amazon"``, ``"caltech10"``, ``"dslr"`` or ``"webcam"``.

    Raises
    ------
    ValueError
        An unknown domain.
    MissingKnowledge, CorruptKnowledge
        The file isn't there, or isn't the one that the registry knows.
    """
    one_of(OFFICE_DOMAINS, domain=domain)
    stem = "Caltech10" if domain == "caltech10" else domain
    path = locate("office-caltech10-surf", f"office_caltech10/{stem}_SURF_L10.mat")
    with reading(path, "a MATLAB file with fts and labels"):
        table = loadmat(path, variable_names=["fts", "labels"])
        counts = torch.from_numpy(table["fts"].astype(np.float32))
        labels = torch.from_numpy(table["labels"].ravel().astype(np.int64)) - 1
    return Features(
        counts, labels, OFFICE_CLASSES, entry="office-caltech10-surf", split="all", domain=domain
    )


def omniglot(*, size: int = 28, download: bool = False) -> tuple[Images, Images]:
    """Return drawn characters of Omniglot's two small background sets, white on black.

    Training: the first set, 136 characters of Balinese, Early Aramaic, Greek, Korean and Latin.
    Test: the 106 characters of katakana, Sanskrit and Tagalog in the second. Its Greek and Latin
    are left out, since the first set has them too: a test on them would be no test on alphabets
    never seen. There are 20 drawings of each character.

    Parameters
    ----------
    size
        Side in pixels; the drawings have 105.
    download
        Fetch the archives (3 MB) that are missing.

    Raises
    ------
    MissingKnowledge, CorruptKnowledge, DownloadFailed, CacheNotWritable
        As :func:`mapping_lib.lab.registry.locate` raises them.
    """
    at_least_one(size=size)

    drawn = [_omniglot_set(number, size, download) for number in (1, 2)]
    seen = {alphabet for alphabet, _ in drawn[0]}
    unseen = {key: images for key, images in drawn[1].items() if key[0] not in seen}
    train, test = (
        _images(
            [(image, k) for k, images in enumerate(characters.values()) for image in images],
            tuple(" ".join(key) for key in characters),
            entry="omniglot",
            split=split,
        )
        for characters, split in ((drawn[0], "train"), (unseen, "test"))
    )
    return train, test


def _omniglot_set(number: int, size: int, download: bool) -> dict[tuple[str, str], list[Tensor]]:
    """Read one archive: the drawings of each character, by alphabet and character."""
    stem = f"images_background_small{number}"
    path = locate("omniglot", f"omniglot/{stem}.zip", download=download)
    drawings: dict[tuple[str, str], list[Tensor]] = defaultdict(list)
    with reading(path, "an archive of drawings"):
        for name, content in members(path).items():
            match name.parts:
                case (_, alphabet, character, _) if name.suffix == ".png":
                    drawings[alphabet, character].append(_drawing(content, size))
    if not drawings:
        raise CorruptKnowledge(f"{path} holds no drawings {stem}/alphabet/character/*.png")
    return drawings


def coco128(split: str) -> Scenes:
    """Return 128 images of COCO with their boxes, 100 of them with masks, longer side 256 pixels.

    Parameters
    ----------
    split
        ``"train"``: the first images of train2017; ``"test"``: the first of val2017.

    Raises
    ------
    ValueError
        An unknown split.
    MissingKnowledge, CorruptKnowledge
        The archive isn't there, or isn't the variant that the registry knows.
    """
    one_of(("train", "test"), split=split)
    path = locate("coco128")
    folder = {"train": "train2017", "test": "val2017"}[split]
    with reading(path, "COCO's images, boxes and masks"):
        held = members(path)
        classes: dict[str, str] = json.loads(held[PurePosixPath("classes_detection.json")])
        regions: dict[str, str] = json.loads(held[PurePosixPath("classes_semantic.json")])
        stems = [name.stem for name in held if name.parts[:2] == ("images", folder)]
        images, boxes, labels, masks = [], [], [], []
        for stem in stems:
            image = as_tensor(decoded(held[PurePosixPath("images", folder, f"{stem}.jpg")]))
            # An image without a file of labels has no object that COCO's classes name.
            rows = held.get(PurePosixPath("labels", folder, f"{stem}.txt"), b"")
            where, which = _yolo(rows, image)
            mask = held.get(PurePosixPath("masks", folder, f"{stem}.png"))
            images.append(image)
            boxes.append(where)
            labels.append(which)
            masks.append(None if mask is None else _mask(mask))
    return Scenes(
        tuple(images),
        tuple(boxes),
        tuple(labels),
        tuple(classes.values()),
        tuple(masks),
        {int(number): name for number, name in regions.items()},
        entry="coco128",
        split=split,
    )


def _images(
    found: list[tuple[Tensor, int]],
    classes: tuple[str, ...],
    *,
    entry: str,
    split: str,
    domain: str = "",
) -> Images:
    """Stack pictures with their labels."""
    pictures, labels = zip(*found, strict=True)
    images, numbers = torch.stack(pictures), torch.tensor(labels)
    return Images(images, numbers, classes, entry=entry, split=split, domain=domain)


def _drawing(content: bytes, size: int) -> Tensor:
    """Decode a black drawing on white, scale it, and turn it white on black."""
    with Image.open(io.BytesIO(content)) as opened:
        picture = opened.convert("L")
    return 1 - as_tensor(picture.resize((size, size), Image.Resampling.BOX))


def _yolo(content: bytes, image: Tensor) -> tuple[Tensor, Tensor]:
    """Read rows of class, middle and size, relative to the image, as boxes in pixels and labels."""
    rows = [[float(number) for number in row.split()] for row in content.decode().splitlines()]
    table = torch.tensor(rows).reshape(-1, 5)
    height, width = image.shape[1:]
    scale = torch.tensor([width, height])
    middle, half = table[:, 1:3], table[:, 3:5] / 2
    boxes = torch.cat([(middle - half) * scale, (middle + half) * scale], dim=1)
    limits = torch.cat([scale, scale])
    return boxes.clamp(min=0).minimum(limits), table[:, 0].long()  # rounding may reach beyond


def _mask(content: bytes) -> Tensor:
    """Decode a mask, whose grey levels are numbers."""
    with Image.open(io.BytesIO(content)) as opened:
        return torch.from_numpy(np.asarray(opened).astype(np.int64))
