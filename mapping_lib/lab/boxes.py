"""Read a reader's own pictures with boxes: YOLO's text files, or COCO's JSON."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from PIL import Image
from torch import Tensor

from mapping_lib._names import suggest
from mapping_lib.lab.archives import reading
from mapping_lib.lab.data import Scenes
from mapping_lib.lab.data._pictures import as_tensor
from mapping_lib.lab.folders import SUFFIXES

Boxes = list[tuple[str, list[float], str]]  # where it stands, the box in pixels, its label


def read_yolo(images: str | Path, labels: str | Path, *, classes: Sequence[str]) -> Scenes:
    """Read pictures, and for each a text file of its name with a line for each box.

    A line holds the number of the class from 0, then the middle's x and y and the width and the
    height as shares of the picture's. A picture without a file, or with an empty one, shows
    nothing. Nothing is written.

    Taught in :ref:`object-detection` (section 6.1.2).

    Parameters
    ----------
    images
        The folder of pictures.
    labels
        The folder of text files.
    classes
        Names of the classes, in the order of their numbers.

    Raises
    ------
    ValueError
        A folder or a picture that can't be read, a line that isn't five numbers, a box without
        area or beyond the picture, a class that has no name, a text file without a picture. The
        message names the file and the line.
    """
    pictures, folder = _pictures(images), Path(labels)
    if not folder.is_dir():
        raise ValueError(f"{folder} is no folder; give the one that holds the text files")
    stems = {path.stem for path in pictures}
    for path in sorted(folder.glob("*.txt")):
        if path.stem not in stems and path.name != "classes.txt":
            raise ValueError(f"{path} has no picture of its name in {images}")
    read = []
    for path in pictures:
        image, rows = _decoded(path), []
        height, width = image.shape[1:]
        source = folder / f"{path.stem}.txt"
        lines = source.read_text(encoding="utf-8").splitlines() if source.is_file() else []
        for number, line in enumerate(lines, start=1):
            if not line.strip():
                continue
            where = f"{source}, line {number}"
            try:
                kind, x, y, w, h = line.split()
                label = classes[_index(kind, len(classes))]
                x, y, w, h = (float(value) for value in (x, y, w, h))  # type: ignore[assignment]
            except IndexError:
                raise ValueError(
                    f"{where}: class {kind} has no name; there are {len(classes)}, from 0"
                ) from None
            except ValueError:
                raise ValueError(
                    f"{where}: {line!r} isn't a class and four numbers (middle and size as shares)"
                ) from None
            box = [
                (float(x) - float(w) / 2) * width,
                (float(y) - float(h) / 2) * height,
                (float(x) + float(w) / 2) * width,
                (float(y) + float(h) / 2) * height,
            ]
            rows.append((where, box, label))
        read.append((image, rows))
    return _scenes(read, tuple(classes))


def read_coco(images: str | Path, annotations: str | Path) -> Scenes:
    """Read pictures with the boxes that a JSON file in COCO's form holds.

    Boxes of whole crowds are left out. Classes are the file's categories, in its order.

    Taught in :ref:`object-detection` (section 6.1.2).

    Parameters
    ----------
    images
        The folder of pictures that the file names.
    annotations
        The file: "images" with id and file_name, "annotations" with image_id, category_id and bbox
        (left, top, width, height in pixels), "categories" with id and name.

    Raises
    ------
    ValueError
        A file that can't be read or isn't of this form, a picture that isn't there, a box without
        area or beyond its picture, an unknown category or picture. The message names the file.
    """
    path, folder = Path(annotations), Path(images)
    try:
        held: Any = json.loads(path.read_text(encoding="utf-8"))
        names = {row["id"]: str(row["name"]) for row in held["categories"]}
        files = {row["id"]: folder / str(row["file_name"]) for row in held["images"]}
        rows = [
            (row.get("id"), row["image_id"], row["category_id"], [float(v) for v in row["bbox"]])
            for row in held["annotations"]
            if not row.get("iscrowd")
        ]
    except OSError as error:
        raise ValueError(f"{path} can't be read: {error}") from None
    except (ValueError, KeyError, TypeError) as error:
        raise ValueError(
            f"{path} isn't COCO's form (images, annotations, categories): "
            f"{type(error).__name__} {error}"
        ) from None
    boxes: dict[Any, Boxes] = {number: [] for number in files}
    for number, image, kind, box in rows:
        where = f"{path}, annotation {number}"
        if image not in files:
            raise ValueError(f"{where}: there is no image {image!r} in the file")
        if kind not in names:
            raise ValueError(f"{where} of {files[image].name}: there is no category {kind!r}")
        if len(box) != 4:
            raise ValueError(f"{where}: bbox must be left, top, width, height, got {box}")
        left, top, width, height = box
        corners = [left, top, left + width, top + height]
        boxes[image].append((f"{where} of {files[image].name}", corners, names[kind]))
    missing = [str(file) for file in files.values() if not file.is_file()]
    if missing:
        raise ValueError(f"{path} names {missing[0]}, which isn't there ({len(missing)} in all)")
    read = [(_decoded(files[number]), boxes[number]) for number in files]
    return _scenes(read, tuple(names.values()))


def _index(kind: str, classes: int) -> int:
    number = int(kind)
    if not 0 <= number < classes:
        raise IndexError
    return number


def _pictures(folder: str | Path) -> list[Path]:
    """List the pictures of a folder."""
    folder = Path(folder)
    if not folder.is_dir():
        raise ValueError(f"{folder} is no folder; give the one that holds the pictures")
    found = sorted(
        path
        for path in folder.iterdir()
        if path.suffix.lower() in SUFFIXES and not path.name.startswith(".")
    )
    if not found:
        raise ValueError(f"{folder} holds no picture ({', '.join(SUFFIXES)})")
    return found


def _decoded(path: Path) -> Tensor:
    """Decode a picture; grey and transparent ones become colours, 16 bits are refused."""
    with reading(path, "a picture"), Image.open(path) as opened:
        opened.load()  # a torn file fails here, and not later
        mode, plain = opened.mode, opened.convert("RGB")
    if mode.startswith("I") or mode == "F":
        raise ValueError(
            f"{path} has 16 or more bits a colour ({mode}), which can't be scaled without knowing "
            "its range; save it with 8 bits"
        )
    return as_tensor(plain)


def _scenes(read: Sequence[tuple[Tensor, Boxes]], classes: tuple[str, ...]) -> Scenes:
    """Check each box and put all together."""
    if not read:
        raise ValueError("there are no pictures")
    boxes, labels = [], []
    for image, rows in read:
        height, width = image.shape[1:]
        limits = torch.tensor([width, height, width, height], dtype=torch.float32)
        for where, (left, top, right, bottom), label in rows:
            box = f"the box ({left:g}, {top:g}, {right:g}, {bottom:g})"
            if not (left < right and top < bottom):
                raise ValueError(f"{where}: {box} has no area")
            if left < -1 or top < -1 or right > width + 1 or bottom > height + 1:
                raise ValueError(
                    f"{where}: {box} reaches beyond the picture of {width} × {height} pixels"
                )
            if label not in classes:
                raise ValueError(f"{where}: unknown label {label!r}{suggest(label, classes)}")
        corners = torch.tensor([box for _, box, _ in rows]).reshape(-1, 4)
        boxes.append(corners.clamp(min=0).minimum(limits))  # a pixel beyond: rounding
        labels.append(torch.tensor([classes.index(k) for *_, k in rows], dtype=torch.int64))
    return Scenes(
        tuple(image for image, _ in read),
        tuple(boxes),
        tuple(labels),
        classes,
        (None,) * len(read),
        {},
        entry="own",
        split="all",
    )
