"""An anchor-free detector on EfficientNet-Lite0, its training, and its scores."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn.functional import interpolate
from torchvision.ops import box_iou

from mapping_lib.detection import (
    Detections,
    average_precision,
    centre_heatmap,
    centre_l1,
    centre_targets,
    decode,
    heatmap_focal_loss,
    match_detections,
)
from mapping_lib.lab import backbones
from mapping_lib.lab.data import Scenes
from mapping_lib.lab.data._arguments import one_of
from mapping_lib.lab.machine import device as choose_device
from mapping_lib.lab.machine import seeded
from mapping_lib.parameters import adabn

STAGES = (1, 2, 4, 6)
"""The blocks of EfficientNet-Lite0 whose outputs the detector reads, at strides 4, 8, 16 and 32."""

WIDTHS = (24, 40, 112, 320)
"""Their channels."""

STRIDE = 4
"""Pixels that a cell of the detector's maps is wide and high."""

THRESHOLDS = tuple((0.5 + 0.05 * np.arange(10)).round(2).tolist())
"""The overlaps over which COCO averages."""

Maps = tuple[Tensor, Tensor, Tensor]  # heat (n, K, h, w), sizes (n, 2, h, w), offsets (n, 2, h, w)
Levels = tuple[Tensor, ...]


class Pyramid(nn.Module):
    """Images to feature maps of four strides: the stages of EfficientNet-Lite0 that are read.

    Parameters
    ----------
    pretrained
        Whether the weights are ImageNet's, else random ones.
    """

    mean: Tensor
    std: Tensor
    stages: tuple[int, ...] = STAGES

    def __init__(self, *, pretrained: bool = True) -> None:
        super().__init__()
        model = backbones.efficientnet_lite0(pretrained=pretrained)
        body: Any = model.body
        self.stem = nn.Sequential(body.conv_stem, body.bn1)
        self.blocks = body.blocks
        self.register_buffer("mean", model.mean, persistent=False)
        self.register_buffer("std", model.std, persistent=False)

    def forward(self, images: Tensor) -> Levels:
        """Map images (n, 3, height, width) in [0, 1] to one map a stage, the finest first."""
        x = self.stem((images - self.mean) / self.std)
        levels = []
        for number, block in enumerate(self.blocks):
            x = block(x)
            if number in self.stages:
                levels.append(x)
        return tuple(levels)


class CentreHead(nn.Module):
    """Feature maps to a heat map of centres for each class, sizes and offsets, at stride 4.

    A feature pyramid :cite:p:`lin2017feature`: from the coarsest map down, each is brought to one
    width, doubled in size and added to the next. Group norm, which is the same in training and use.

    Parameters
    ----------
    classes
        Number of classes.
    width
        Channels inside.
    """

    def __init__(self, classes: int, *, width: int = 64) -> None:
        super().__init__()
        self.lateral = nn.ModuleList([nn.Conv2d(channels, width, 1) for channels in WIDTHS])
        self.norm = nn.ModuleList([nn.GroupNorm(8, width) for _ in WIDTHS])
        self.smooth = nn.Sequential(
            nn.Conv2d(width, width, 3, padding=1), nn.GroupNorm(8, width), nn.ReLU()
        )
        self.heat = nn.Conv2d(width, classes, 1)
        self.size = nn.Conv2d(width, 2, 1)
        self.offset = nn.Conv2d(width, 2, 1)
        nn.init.constant_(self.heat.bias, -4.0)  # type: ignore[arg-type]  # at first: no centres
        nn.init.constant_(self.offset.bias, 0.5)  # type: ignore[arg-type]
        nn.init.constant_(self.size.bias, 6.0)  # type: ignore[arg-type]

    def forward(self, levels: Levels) -> Maps:
        """Map the four levels to heat (logits), sizes and offsets (both in cells)."""
        x: Tensor | None = None
        for lateral, norm, level in reversed(
            list(zip(self.lateral, self.norm, levels, strict=True))
        ):
            here = norm(lateral(level))
            if x is not None:
                here = here + interpolate(x, here.shape[-2:], mode="nearest")
            x = torch.relu(here)
        assert x is not None
        x = self.smooth(x)
        return self.heat(x), self.size(x), self.offset(x)


class Detector(nn.Module):
    """Images to maps: ``head(pyramid(images))``.

    Parameters
    ----------
    classes
        Names of what it looks for.
    pretrained
        Whether the pyramid has ImageNet's weights, else random ones.
    seed
        Draws the weights that aren't ImageNet's.
    """

    def __init__(
        self, classes: Sequence[str], *, pretrained: bool = True, seed: int = 0, width: int = 64
    ) -> None:
        super().__init__()
        self.classes = tuple(classes)
        with seeded(seed):
            self.pyramid = Pyramid(pretrained=pretrained)
            self.head = CentreHead(len(self.classes), width=width)

    def forward(self, images: Tensor) -> Maps:
        """Map images (n, 3, height, width) in [0, 1] to heat, sizes and offsets."""
        maps: Maps = self.head(self.pyramid(images))
        return maps


@dataclass(frozen=True)
class Wanted:
    """What the maps should be for some scenes of one size, made by :func:`wanted`.

    Attributes
    ----------
    heat
        Shape (n, classes, rows, columns).
    cells
        Shape (N, 3), scene, row and column of each centre.
    sizes, offsets
        Shape (N, 2), in cells.
    """

    heat: Tensor
    cells: Tensor
    sizes: Tensor
    offsets: Tensor

    def rows(self, chosen: Tensor) -> Wanted:
        """Return what is wanted for some of the scenes, in their order."""
        new = torch.full((len(self.heat),), -1, device=self.cells.device)
        new[chosen] = torch.arange(len(chosen), device=new.device)
        keep = new[self.cells[:, 0]] >= 0
        cells = self.cells[keep]
        cells = torch.cat([new[cells[:, :1]], cells[:, 1:]], 1)
        return Wanted(self.heat[chosen], cells, self.sizes[keep], self.offsets[keep])

    def to(self, place: torch.device) -> Wanted:
        """Return the same on another device."""
        return Wanted(*(t.to(place) for t in (self.heat, self.cells, self.sizes, self.offsets)))


def wanted(found: Scenes, *, min_iou: float = 0.3) -> Wanted:
    """Draw what a detector should say about scenes of one size.

    Parameters
    ----------
    found
        Scenes whose images have one size, a multiple of 4 pixels.
    min_iou
        As :func:`mapping_lib.detection.centre_heatmap` takes it.

    Raises
    ------
    ValueError
        The images have several sizes; :func:`mapping_lib.lab.scenes.fitted` brings them to one.
    """
    if len({image.shape for image in found.images}) > 1:
        raise ValueError("the images have several sizes: bring them to one with scenes.fitted")
    height, width = found.images[0].shape[1:]
    shape = {"size": (height, width), "stride": STRIDE}
    heat, cells, sizes, offsets = [], [], [], []
    for number, (boxes, labels) in enumerate(zip(found.boxes, found.labels, strict=True)):
        heat.append(
            centre_heatmap(boxes, labels, classes=len(found.classes), min_iou=min_iou, **shape)  # type: ignore[arg-type]
        )
        centres = centre_targets(boxes, **shape)  # type: ignore[arg-type]
        scene = torch.full((len(boxes), 1), number)
        cells.append(torch.cat([scene, centres.cells], 1))
        sizes.append(centres.sizes)
        offsets.append(centres.offsets)
    return Wanted(torch.stack(heat), torch.cat(cells), torch.cat(sizes), torch.cat(offsets))


def detection_loss(maps: Maps, due: Wanted) -> Tensor:
    """Add the three losses with the weights of :cite:t:`zhou2019objects`: 1, 0.1 and 1."""
    heat, size, offset = maps
    at = {"cells": due.cells}
    focal = heatmap_focal_loss(heat, due.heat)
    return focal + 0.1 * centre_l1(size, due.sizes, **at) + centre_l1(offset, due.offsets, **at)


def mirrored(found: Scenes) -> Scenes:
    """Return the scenes, and each once more seen in a mirror."""
    images, boxes, masks = list(found.images), list(found.boxes), list(found.masks)
    for image, around, mask in zip(found.images, found.boxes, found.masks, strict=True):
        width = image.shape[2]
        images.append(image.flip(2))
        left, top, right, bottom = around.unbind(1)
        boxes.append(torch.stack([width - right, top, width - left, bottom], 1))
        masks.append(None if mask is None else mask.flip(1))
    return replace(
        found,
        images=tuple(images),
        boxes=tuple(boxes),
        labels=found.labels * 2,
        masks=tuple(masks),
    )


def only(found: Scenes, name: str) -> Scenes:
    """Return the scenes with the boxes of one class alone; images without any stay.

    Masks are left out.

    Raises
    ------
    ValueError
        There is no such class.
    """
    one_of(found.classes, name=name)
    kept = [labels == found.classes.index(name) for labels in found.labels]
    return replace(
        found,
        boxes=tuple(boxes[keep] for boxes, keep in zip(found.boxes, kept, strict=True)),
        labels=tuple(torch.zeros(int(keep.sum()), dtype=torch.int64) for keep in kept),
        classes=(name,),
        masks=(None,) * len(found),
    )


def joined(first: Scenes, second: Scenes) -> Scenes:
    """Return the scenes of both, which have the same classes; masks are left out.

    Raises
    ------
    ValueError
        The classes differ.
    """
    if first.classes != second.classes:
        raise ValueError(f"the classes differ: {first.classes} and {second.classes}")
    return replace(
        first,
        images=first.images + second.images,
        boxes=first.boxes + second.boxes,
        labels=first.labels + second.labels,
        masks=(None,) * (len(first) + len(second)),
    )


def jittered(found: Scenes, *, seed: int) -> Scenes:
    """Return the scenes, each with its contrast, light and colour changed at random, and noise.

    Contrast is multiplied by 0.2 to 1.2, light by 0.2 to 1.2, each colour by 0.8 to 1.2; then up to
    0.6 of the room above the brightest pixel is added, and noise of a deviation up to 0.05.

    Parameters
    ----------
    found
        Scenes of one size; boxes stay as they are, masks too.
    seed
        Draws the changes.
    """
    generator = torch.Generator().manual_seed(seed)
    images = []
    for image in found.images:
        contrast, light, lift, strength = torch.rand(4, generator=generator).tolist()
        colour = 0.8 + 0.4 * torch.rand(3, 1, 1, generator=generator)
        mean = image.mean()
        changed = (mean + (0.2 + contrast) * (image - mean)) * (0.2 + light) * colour
        changed = changed + 0.6 * lift * (1 - changed.max()).clamp(min=0)
        noise = torch.randn(image.shape, generator=generator)
        images.append((changed + 0.05 * strength * noise).clamp(0, 1))
    return replace(found, images=tuple(images))


@dataclass(frozen=True)
class Course:
    """How a detector is trained: Adam, the rate falling to 0 along a cosine.

    Attributes
    ----------
    steps, batch
        How many steps of how many scenes.
    head_rate, body_rate
        Learning rates; a body rate of 0 freezes the pyramid, whose maps are then computed once.
    statistics_fixed
        Whether the pyramid's batch norm keeps its stored statistics.
    """

    steps: int = 400
    batch: int = 16
    head_rate: float = 2e-3
    body_rate: float = 0.0
    statistics_fixed: bool = True
    losses: list[float] = field(default_factory=list, compare=False)


def train(
    detector: Detector, found: Scenes, course: Course, *, seed: int, device: str = "cpu"
) -> Detector:
    """Train a detector on scenes of one size, and on their mirror images.

    Parameters
    ----------
    detector
        Changed in place, moved to the device, and left in eval mode.
    found
        What to train on.
    course
        How to train; losses are appended to its list, one a step.
    seed
        Draws the order.
    device
        As :func:`mapping_lib.lab.machine.device` takes it.

    Raises
    ------
    ValueError
        Scenes and detector have other classes.
    FloatingPointError
        The loss is NaN or infinite.
    """
    if found.classes != detector.classes:
        raise ValueError(f"the detector knows {detector.classes}, the scenes have {found.classes}")
    frozen = course.body_rate == 0
    place = choose_device(device)
    detector.to(place).eval()
    both = mirrored(found)
    images, due = torch.stack(both.images), wanted(both).to(place)
    levels = pyramid_maps(detector.pyramid, images) if frozen else ()
    detector.train()
    if frozen or course.statistics_fixed:
        detector.pyramid.eval()
    groups = [{"params": list(detector.head.parameters()), "lr": course.head_rate}]
    if not frozen:
        groups.append({"params": list(detector.pyramid.parameters()), "lr": course.body_rate})
    optimiser = torch.optim.Adam(groups)
    falling = torch.optim.lr_scheduler.CosineAnnealingLR(optimiser, course.steps)
    generator = torch.Generator().manual_seed(seed)
    images = images.to(place)
    for chosen in _batches(len(images), course.batch, course.steps, generator):
        rows = chosen.to(place)
        if frozen:
            maps = detector.head(tuple(level[rows] for level in levels))
        else:
            maps = detector(images[rows])
        loss = detection_loss(maps, due.rows(rows))
        optimiser.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        optimiser.step()
        falling.step()
        course.losses.append(float(loss.detach()))
        if not np.isfinite(course.losses[-1]):
            raise FloatingPointError("the loss is not finite: try smaller learning rates")
    return detector.eval()


def pyramid_maps(pyramid: Pyramid, images: Tensor, *, batch: int = 64) -> Levels:
    """Return a pyramid's maps of all images, eval mode, without gradients."""
    place, was = pyramid.mean.device, pyramid.training
    pyramid.eval()
    with torch.no_grad():
        parts = [pyramid(part.to(place)) for part in torch.split(images, batch)]
    pyramid.train(was)
    return tuple(torch.cat(level) for level in zip(*parts, strict=True))


def detect(
    detector: Detector, images: Sequence[Tensor] | Tensor, *, least: float = 0.0, batch: int = 64
) -> list[Detections]:
    """Find things in images of one size: at most 100 boxes each, cut off at the image's border.

    Parameters
    ----------
    detector
        In eval mode while it looks; put back into its mode afterwards.
    images
        Each (3, height, width), in [0, 1].
    least
        The least score of a box that is returned.
    batch
        Images at a time.
    """
    images = torch.stack(list(images))
    place = detector.pyramid.mean.device
    height, width = images.shape[-2:]
    limits = torch.tensor([width, height, width, height])
    was, found = detector.training, []
    detector.eval()
    with torch.no_grad():
        for part in torch.split(images, batch):
            maps = [m.float().cpu() for m in detector(part.to(place))]
            for heat, size, offset in zip(*maps, strict=True):
                boxes, scores, labels = decode(heat, size, offset, stride=STRIDE)
                boxes = boxes.clamp(min=0).minimum(limits)
                keep = (scores >= least) & ((boxes[:, 2:] - boxes[:, :2]) > 0).all(1)
                found.append(Detections(boxes[keep], scores[keep], labels[keep]))
    detector.train(was)
    return found


def adapt_statistics(
    detector: Detector, images: Sequence[Tensor] | Tensor, *, batch: int = 32
) -> Detector:
    """Replace batch norm's stored statistics by those of unlabelled images, and nothing else.

    Parameters
    ----------
    detector
        Changed in place.
    images
        Of the new domain, each (3, height, width).
    batch
        Images at a time.
    """
    place = detector.pyramid.mean.device
    adabn(detector.pyramid, [p.to(place) for p in torch.split(torch.stack(list(images)), batch)])
    return detector.eval()


def pseudo_labelled(detector: Detector, found: Scenes, *, least: float = 0.5) -> Scenes:
    """Return scenes with the detector's own boxes of at least a score in place of the true ones.

    Scenes in which it finds nothing are kept, without boxes.
    """
    guesses = detect(detector, found.images, least=least)
    return replace(
        found,
        boxes=tuple(guess.boxes for guess in guesses),
        labels=tuple(guess.labels for guess in guesses),
        masks=(None,) * len(found),
        domain=f"{found.domain}, labelled by a detector",
    )


Hits = dict[int, list[tuple[Tensor, Tensor, int]]]  # class: for each image scores, hits, objects


def matches(
    guesses: Sequence[Detections], found: Scenes, *, thresholds: Sequence[float] = THRESHOLDS
) -> Hits:
    """Match detections with the true boxes, image by image and class by class.

    Returns
    -------
    dict
        For each class one entry an image: scores (m,), hits (thresholds, m), number of objects.
    """
    if len(guesses) != len(found):
        raise ValueError(f"{len(guesses)} sets of detections for {len(found)} images")
    result: Hits = {k: [] for k in range(len(found.classes))}
    for guess, boxes, labels in zip(guesses, found.boxes, found.labels, strict=True):
        order = guess.scores.argsort(descending=True, stable=True)
        overlaps = box_iou(guess.boxes[order], boxes)
        for k, rows in result.items():
            mine, true = guess.labels[order] == k, labels == k
            table = overlaps[mine][:, true]
            hits = [match_detections(table, threshold=t) >= 0 for t in thresholds]
            rows.append((guess.scores[order][mine], torch.stack(hits), int(true.sum())))
    return result


def precision_of(hits: Hits, images: Sequence[int] | None = None) -> Tensor:
    """Return average precision, shape (classes that occur, thresholds), over some images or all."""
    values = []
    for rows in hits.values():
        chosen = rows if images is None else [rows[i] for i in images]
        objects = sum(count for *_, count in chosen)
        if objects == 0:
            continue
        scores = torch.cat([score for score, *_ in chosen])
        right = torch.cat([hit for _, hit, _ in chosen], 1)
        values.append(
            torch.stack([average_precision(scores, row, objects=objects) for row in right])
        )
    if not values:
        raise ValueError("there is no object in these images, so precision means nothing")
    return torch.stack(values)


def scored(guesses: Sequence[Detections], found: Scenes) -> dict[str, float]:
    """Return AP (mean over classes and overlaps 0.5 to 0.95), AP50 and AP75 as COCO does."""
    table = precision_of(matches(guesses, found)).mean(0)
    return {"ap": float(table.mean()), "ap50": float(table[0]), "ap75": float(table[5])}


def bootstrap(
    guesses: Sequence[Detections], found: Scenes, *, draws: int = 500, seed: int = 0
) -> tuple[float, float]:
    """Return the middle 95 % of AP50 over images drawn anew, as many as there are."""
    hits = matches(guesses, found, thresholds=(0.5,))
    generator = np.random.default_rng(seed)
    values: list[float] = []
    while len(values) < draws:
        images = generator.integers(len(found), size=len(found)).tolist()
        if any(rows[i][2] for rows in hits.values() for i in images):
            values.append(float(precision_of(hits, images).mean()))
    low, high = np.quantile(values, [0.025, 0.975])
    return float(low), float(high)


ERRORS = ("right", "duplicate", "other class", "beside", "nothing there", "missed")
"""What :func:`errors` counts."""


def kinds(guess: Detections, boxes: Tensor, labels: Tensor) -> tuple[list[str], Tensor]:
    """Say what each detection of an image is, and which objects were missed.

    After :cite:t:`bolya2020tide`, with an overlap of 0.5 for a hit and 0.1 for being near.

    Parameters
    ----------
    guess
        The detections, the best first.
    boxes, labels
        The true ones, shape (m, 4) and (m,).

    Returns
    -------
    list
        For each detection: "right"; "duplicate", if it hits an object that a better one has found;
        "other class", if it would hit an object of another class; "beside", if it is near an object
        of its class; else "nothing there".
    Tensor
        Shape (m,), bool, whether no detection hits the object.
    """
    overlaps = box_iou(guess.boxes, boxes)
    same = guess.labels[:, None] == labels[None, :]
    missed = torch.ones(len(boxes), dtype=torch.bool)
    found = torch.full((len(guess.boxes),), -1)
    for k in torch.unique(labels):
        mine, true = (guess.labels == k).nonzero().flatten(), (labels == k).nonzero().flatten()
        hits = match_detections(overlaps[mine][:, true], threshold=0.5)
        found[mine[hits >= 0]] = true[hits[hits >= 0]]
    missed[found[found >= 0]] = False
    names = []
    for i, overlap in enumerate(overlaps):
        if found[i] >= 0:
            names.append("right")
        elif (same[i] & (overlap >= 0.5)).any():
            names.append("duplicate")
        elif (overlap >= 0.5).any():
            names.append("other class")
        else:
            names.append("beside" if (same[i] & (overlap >= 0.1)).any() else "nothing there")
    return names, missed


def errors(guesses: Sequence[Detections], found: Scenes, *, least: float = 0.3) -> dict[str, int]:
    """Count what the detections of at least a score are, and the objects that none of them hits."""
    counts = dict.fromkeys(ERRORS, 0)
    for guess, boxes, labels in zip(guesses, found.boxes, found.labels, strict=True):
        keep = guess.scores >= least
        sure = Detections(guess.boxes[keep], guess.scores[keep], guess.labels[keep])
        names, missed = kinds(sure, boxes, labels)
        for name in names:
            counts[name] += 1
        counts["missed"] += int(missed.sum())
    return counts


def _batches(n: int, batch: int, steps: int, generator: torch.Generator) -> Iterator[Tensor]:
    """Draw the rows of `steps` batches, epoch by epoch; an epoch's last small batch is left out."""
    done = 0
    while done < steps:
        for rows in torch.split(torch.randperm(n, generator=generator), batch):
            if done < steps and (len(rows) == batch or n < batch):
                yield rows
                done += 1
