"""COCO's form of annotations: masks as run lengths and polygons, a set written out, its score.

Taught in :ref:`coco` (section 7.3.2).
"""

from __future__ import annotations

import contextlib
import io
import json
from collections.abc import Mapping, Sequence
from importlib import import_module
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from mapping_lib.detection import Detections
from mapping_lib.lab.data import Scenes

LICENCES = (
    {"id": 1, "name": "Attribution License", "url": "http://creativecommons.org/licenses/by/2.0/"},
    {
        "id": 2,
        "name": "Attribution-NonCommercial License",
        "url": "http://creativecommons.org/licenses/by-nc/2.0/",
    },
)
"""What the pictures of a made set are said to be under, in turn."""


def run_lengths(mask: Tensor) -> dict[str, list[int]]:
    """Return a mask's run lengths in COCO's uncompressed form.

    The mask is read column by column; runs of 0 and of 1 follow each other, 0 first.

    Parameters
    ----------
    mask
        Shape (height, width), of 0 and 1 or of truth values.

    Examples
    --------
    >>> run_lengths(torch.tensor([[0, 1, 1], [0, 0, 1]]))
    {'size': [2, 3], 'counts': [2, 1, 1, 2]}
    >>> run_lengths(torch.tensor([[1], [0]]))
    {'size': [2, 1], 'counts': [0, 1, 1]}
    """
    pixels = mask.T.reshape(-1).bool()
    ends = (pixels[1:] != pixels[:-1]).nonzero().flatten().tolist()
    borders = [-1, *ends, len(pixels) - 1]
    counts = [b - a for a, b in pairwise(borders)]
    return {"size": list(mask.shape), "counts": [0, *counts] if pixels[0] else counts}


def from_run_lengths(runs: Mapping[str, Any]) -> Tensor:
    """Return the mask of COCO's uncompressed run lengths, shape (height, width), of truth values.

    Raises
    ------
    ValueError
        The counts don't fill the mask, or are in COCO's compressed form.

    Examples
    --------
    >>> from_run_lengths({"size": [2, 3], "counts": [2, 1, 1, 2]}).int()
    tensor([[0, 1, 1],
            [0, 0, 1]], dtype=torch.int32)
    """
    height, width = runs["size"]
    counts = runs["counts"]
    if isinstance(counts, str | bytes):
        raise ValueError("these counts are compressed; decode them with pycocotools.mask.decode")
    if sum(counts) != height * width:
        raise ValueError(
            f"the counts sum to {sum(counts)}, but {height} × {width} is {height * width}"
        )
    values = torch.arange(len(counts)) % 2 == 1
    return values.repeat_interleave(torch.tensor(counts)).reshape(width, height).T


def polygons(mask: Tensor, *, tolerance: float = 0.5) -> list[list[float]]:
    """Return the outlines of a mask as COCO's polygons, x, y, x, y, … in pixels.

    Holes are lost: COCO's polygons are united, and nothing is cut out of them.

    Parameters
    ----------
    mask
        Shape (height, width).
    tolerance
        How far a simplified outline may lie from the full one, in pixels.
    """
    measure: Any = import_module("skimage.measure")
    padded = np.pad(mask.numpy().astype(float), 1)
    found = []
    for contour in measure.find_contours(padded, 0.5):
        corners = measure.approximate_polygon(contour, tolerance)[:-1]
        if len(corners) >= 3:
            points = np.clip(corners[:, ::-1] - 0.5, 0, np.array(mask.shape[::-1]))
            found.append(points.round(2).reshape(-1).tolist())
    return found


def write_coco(
    scenes: Scenes, folder: str | Path, *, categories: Sequence[int], images: Sequence[int]
) -> Path:
    """Write scenes as PNG pictures with a file ``instances.json`` in COCO's form.

    Parameters
    ----------
    scenes
        With masks whose numbers are 1 + class, such as :func:`mapping_lib.lab.scenes.scenes` makes.
    folder
        An existing folder.
    categories
        The number of each class in the file; any numbers, as COCO's have gaps.
    images
        The number of each image.

    Returns
    -------
    Path
        The JSON file. Its categories stand in the order of their numbers; licences take turns.

    Raises
    ------
    ValueError
        Numbers missing or double, a scene without mask, or two things of one class whose boxes
        overlap: a mask of classes can't tell them apart.
    """
    folder = Path(folder)
    for name, given, due in (
        ("categories", categories, len(scenes.classes)),
        ("images", images, len(scenes)),
    ):
        if len(given) != due or len(set(given)) != due:
            raise ValueError(f"{name}: {due} different numbers are due, got {list(given)}")
    pictures: list[dict[str, Any]] = []
    annotations: list[dict[str, Any]] = []
    for k, number in enumerate(images):
        height, width = scenes.images[k].shape[1:]
        pixels = (scenes.images[k].permute(1, 2, 0) * 255).round().to(torch.uint8)
        name = f"{number:012d}.png"
        Image.fromarray(pixels.numpy()).save(folder / name)
        pictures.append(
            {
                "id": number,
                "file_name": name,
                "width": width,
                "height": height,
                "license": LICENCES[k % len(LICENCES)]["id"],
            }
        )
        for j, label in enumerate(scenes.labels[k].tolist()):
            shape = _thing(scenes, k, j)
            left, top, right, bottom = scenes.boxes[k][j].tolist()
            annotations.append(
                {
                    "id": len(annotations) + 1,
                    "image_id": number,
                    "category_id": categories[label],
                    "bbox": [left, top, right - left, bottom - top],
                    "area": int(shape.sum()),
                    "iscrowd": 0,
                    "segmentation": polygons(shape),
                }
            )
    kinds = sorted(zip(categories, scenes.classes, strict=True))
    held = {
        "licenses": list(LICENCES),
        "images": pictures,
        "categories": [{"id": number, "name": name} for number, name in kinds],
        "annotations": annotations,
    }
    path = folder / "instances.json"
    path.write_text(json.dumps(held), encoding="utf-8")
    return path


def _thing(scenes: Scenes, scene: int, thing: int) -> Tensor:
    """Return the mask of one thing: its class's pixels within its box."""
    mask, boxes, labels = scenes.masks[scene], scenes.boxes[scene], scenes.labels[scene]
    if mask is None:
        raise ValueError(f"scene {scene} has no mask")
    left, top, right, bottom = boxes[thing].long().tolist()
    for other in (labels == labels[thing]).nonzero().flatten().tolist():
        a, b, c, d = boxes[other].long().tolist()
        if other != thing and a < right and left < c and b < bottom and top < d:
            raise ValueError(
                f"scene {scene} has two things of the class {scenes.classes[labels[thing]]!r} "
                "whose boxes overlap; its mask can't tell them apart"
            )
    shape = torch.zeros_like(mask, dtype=torch.bool)
    shape[top:bottom, left:right] = mask[top:bottom, left:right] == labels[thing] + 1
    return shape


def detections_as_coco(
    guesses: Sequence[Detections], *, images: Sequence[int], categories: Sequence[int]
) -> list[dict[str, Any]]:
    """Return detections in the form of COCO's results: one entry a box, left, top, width, height.

    Parameters
    ----------
    guesses
        One set of detections an image.
    images, categories
        The number of each image, and of each class.
    """
    return [
        {
            "image_id": number,
            "category_id": categories[label],
            "bbox": [left, top, right - left, bottom - top],
            "score": score,
        }
        for number, guess in zip(images, guesses, strict=True)
        for (left, top, right, bottom), score, label in zip(
            guess.boxes.tolist(), guess.scores.tolist(), guess.labels.tolist(), strict=True
        )
    ]


def coco_scores(
    annotations: str | Path, results: Sequence[Mapping[str, Any]], *, kind: str = "bbox"
) -> dict[str, float]:
    """Return AP and AP50 as pycocotools computes them, without its prints.

    Parameters
    ----------
    annotations
        A JSON file in COCO's form.
    results
        Detections in COCO's form; at least one.
    kind
        ``"bbox"`` or ``"segm"``.
    """
    coco: Any = import_module("pycocotools.coco")
    cocoeval: Any = import_module("pycocotools.cocoeval")
    if not results:
        raise ValueError("there are no detections; COCO's score of none isn't defined there")
    with contextlib.redirect_stdout(io.StringIO()):
        truth = coco.COCO(str(annotations))
        known = set(truth.getImgIds())
        if strange := {row["image_id"] for row in results} - known:
            raise ValueError(f"{annotations} has no image {min(strange)}")
        measured = cocoeval.COCOeval(truth, truth.loadRes([dict(row) for row in results]), kind)
        measured.evaluate()
        measured.accumulate()
        measured.summarize()
    return {"ap": float(measured.stats[0]), "ap50": float(measured.stats[1])}
