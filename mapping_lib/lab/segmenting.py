"""An encoder-decoder on EfficientNet-Lite0 that labels pixels, its training, and its scores."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy, interpolate

from mapping_lib.lab.data import Scenes
from mapping_lib.lab.detecting import Levels, Pyramid, _batches, pyramid_maps
from mapping_lib.lab.machine import device as choose_device
from mapping_lib.lab.machine import seeded
from mapping_lib.parameters import adabn
from mapping_lib.segmentation import (
    IGNORED,
    class_balanced_thresholds,
    pixel_entropy,
    pseudo_labels,
    soft_dice_loss,
)

STAGES = (0, 1, 2, 4, 6)
"""The blocks of EfficientNet-Lite0 that are read, at strides 2, 4, 8, 16 and 32."""

WIDTHS = (16, 24, 40, 112, 320)
"""Their channels."""

GROUPS = {
    "person": ("person",),
    "sky": ("sky-other-merged",),
    "plants": ("tree-merged", "flower", "potted plant"),
    "ground": (
        "grass-merged",
        "pavement-merged",
        "dirt-merged",
        "road",
        "playingfield",
        "snow",
        "sand",
        "gravel",
        "floor-wood",
        "floor-other-merged",
    ),
    "walls": (
        "wall-other-merged",
        "wall-brick",
        "wall-stone",
        "wall-tile",
        "wall-wood",
        "building-other-merged",
        "house",
        "ceiling-merged",
    ),
}
"""Five groups of COCO's panoptic categories, for few images; all other categories are a sixth."""


class Encoder(Pyramid):
    """Images to feature maps of five strides: as the detector's pyramid, with a finer map more."""

    stages = STAGES


class Decoder(nn.Module):
    """Feature maps to logits at stride 2, as in a U-Net :cite:p:`ronneberger2015unet`.

    From the coarsest map down, what is known so far is brought to the size of the next finer map,
    laid beside it, and both are mixed by a convolution of 3 × 3. The maps, whose scales differ, are
    normalised first. Group norm, which is the same in training and use.

    Parameters
    ----------
    classes
        Number of classes.
    width
        Channels inside.
    skips
        Whether the finer maps are used; without them the coarsest map alone is brought to size.
    """

    def __init__(self, classes: int, *, width: int = 32, skips: bool = True) -> None:
        super().__init__()
        self.skips = skips
        self.norm = nn.ModuleList([nn.GroupNorm(1, channels) for channels in WIDTHS])
        self.first = nn.Conv2d(WIDTHS[-1], width, 1)
        self.mix = nn.ModuleList(
            [
                nn.Sequential(
                    nn.Conv2d(width + skips * channels, width, 3, padding=1),
                    nn.GroupNorm(8, width),
                    nn.ReLU(),
                )
                for channels in WIDTHS[-2::-1]
            ]
        )
        self.last = nn.Conv2d(width, classes, 1)

    def forward(self, levels: Levels) -> Tensor:
        """Map the five levels to logits (n, classes, height / 2, width / 2)."""
        alike = [norm(level) for norm, level in zip(self.norm, levels, strict=True)]
        x: Tensor = self.first(alike[-1])
        for mix, level in zip(self.mix, alike[-2::-1], strict=True):
            x = interpolate(x, level.shape[-2:], mode="nearest")
            x = mix(torch.cat([x, level], 1) if self.skips else x)
        logits: Tensor = self.last(x)
        return logits


class Segmenter(nn.Module):
    """Images to logits of each pixel: ``decoder(encoder(images))``, brought to the images' size.

    Parameters
    ----------
    classes
        Names of the labels, in their order.
    pretrained
        Whether the encoder has ImageNet's weights, else random ones.
    seed
        Draws the weights that aren't ImageNet's.
    width, skips
        As :class:`Decoder` takes them.
    """

    def __init__(
        self,
        classes: Sequence[str],
        *,
        pretrained: bool = True,
        seed: int = 0,
        width: int = 32,
        skips: bool = True,
    ) -> None:
        super().__init__()
        self.classes = tuple(classes)
        with seeded(seed):
            self.encoder = Encoder(pretrained=pretrained)
            self.decoder = Decoder(len(self.classes), width=width, skips=skips)

    @property
    def place(self) -> torch.device:
        """Where the weights are."""
        return self.encoder.mean.device

    def decode(self, levels: Levels) -> Tensor:
        """Map the encoder's levels to logits of twice the finest level's size."""
        fine: Tensor = interpolate(self.decoder(levels), scale_factor=2, mode="bilinear")
        return fine

    def forward(self, images: Tensor) -> Tensor:
        """Map images (n, 3, height, width) in [0, 1] to logits (n, classes, height, width)."""
        return self.decode(self.encoder(images))


def names(found: Scenes) -> tuple[str, ...]:
    """Return the names of the labels 0, 1, … of masks, without what is ignored.

    Raises
    ------
    ValueError
        The labels aren't counted from 0.
    """
    numbers = sorted(set(found.regions) - {IGNORED})
    if numbers != list(range(len(numbers))):
        raise ValueError(f"labels must be counted from 0, got {numbers}; use grouped")
    return tuple(found.regions[k] for k in numbers)


def masks_of(found: Scenes) -> Tensor:
    """Return the masks of scenes of one size, shape (n, height, width).

    Raises
    ------
    ValueError
        A scene has no mask, or the sizes differ.
    """
    masks = [mask for mask in found.masks if mask is not None]
    if len(masks) < len(found):
        raise ValueError(f"{len(found) - len(masks)} of {len(found)} scenes have no mask")
    if len({mask.shape for mask in masks}) > 1:
        raise ValueError("the images have several sizes: bring them to one with scenes.fitted")
    return torch.stack(masks)


def chosen(found: Scenes, rows: Sequence[int]) -> Scenes:
    """Return some of the scenes, in the order given."""
    return replace(
        found,
        images=tuple(found.images[i] for i in rows),
        boxes=tuple(found.boxes[i] for i in rows),
        labels=tuple(found.labels[i] for i in rows),
        masks=tuple(found.masks[i] for i in rows),
    )


def grouped(
    found: Scenes, groups: Mapping[str, Sequence[str]] = GROUPS, *, rest: str | None = "other"
) -> Scenes:
    """Merge the categories of masks into groups, and leave out images without a mask.

    Parameters
    ----------
    found
        Scenes whose masks hold many categories, such as COCO's.
    groups
        The categories' names by the group's, which become the labels 0, 1, …
    rest
        Name of the group of all other categories, the last label; None to ignore them. Pixels that
        are unlabelled or outside of the image are always ignored.

    Raises
    ------
    ValueError
        A category is in no mask's list of names.
    """
    by_name = {name: key for key, name in found.regions.items()}
    table = torch.full((max(found.regions) + 1,), len(groups) if rest else IGNORED)
    for key, name in found.regions.items():
        if name in ("unlabeled", "outside"):
            table[key] = IGNORED
    for number, members in enumerate(groups.values()):
        for name in members:
            if name not in by_name:
                raise ValueError(f"the masks have no category {name!r}")
            table[by_name[name]] = number
    kept = chosen(found, [i for i, mask in enumerate(found.masks) if mask is not None])
    labels = [*groups, *([rest] if rest else [])]
    return replace(
        kept,
        masks=tuple(table[mask] for mask in kept.masks if mask is not None),
        regions=dict(enumerate(labels)) | {IGNORED: "ignored"},
    )


@dataclass(frozen=True)
class Course:
    """How a segmenter is trained: Adam, the rate falling to 0 along a cosine.

    Attributes
    ----------
    steps, batch
        How many steps of how many images.
    decoder_rate, encoder_rate
        Learning rates; an encoder rate of 0 freezes it, and its maps are then computed once.
    statistics_fixed
        Whether the encoder's batch norm keeps its stored statistics.
    dice
        Weight of the Dice loss beside cross-entropy.
    entropy
        Weight of the entropy of unlabelled images.
    losses
        Those of the labelled images are appended here, one a step.
    """

    steps: int = 300
    batch: int = 16
    decoder_rate: float = 3e-3
    encoder_rate: float = 0.0
    statistics_fixed: bool = True
    dice: float = 1.0
    entropy: float = 0.0
    losses: list[float] = field(default_factory=list, compare=False)


def train(
    segmenter: Segmenter,
    found: Scenes,
    course: Course,
    *,
    seed: int,
    unlabelled: Tensor | None = None,
    device: str = "cpu",
) -> Segmenter:
    """Train a segmenter on scenes of one size, and on their mirror images.

    Parameters
    ----------
    segmenter
        Changed in place, moved to the device, and left in eval mode.
    found
        What to train on.
    course
        How to train; losses are appended to its list.
    seed
        Draws the order.
    unlabelled
        Images (m, 3, height, width) whose entropy is made small, too.
    device
        As :func:`mapping_lib.lab.machine.device` takes it.

    Raises
    ------
    ValueError
        Scenes and segmenter have other labels, a scene has no mask, no pixel is labelled, or the
        course wants an entropy and there are no images for it.
    FloatingPointError
        The loss is NaN or infinite.
    """
    if names(found) != segmenter.classes:
        raise ValueError(f"the segmenter knows {segmenter.classes}, the masks {names(found)}")
    if (unlabelled is None) != (course.entropy == 0):
        raise ValueError("an entropy's weight and unlabelled images are due together")
    frozen = course.encoder_rate == 0
    segmenter.to(choose_device(device)).eval()
    labelled = _Batches(segmenter, *_mirrored(found), frozen=frozen)
    if (labelled.masks == IGNORED).all():
        raise ValueError("no pixel is labelled, so there is nothing to learn from")
    generator = torch.Generator().manual_seed(seed)
    order = _batches(len(labelled.masks), course.batch, course.steps, generator)
    others: Iterator[Tensor] = iter(())
    if unlabelled is not None:
        free = _Batches(segmenter, unlabelled, None, frozen=frozen)
        others = _batches(len(unlabelled), course.batch, course.steps, generator)
    segmenter.train()
    if frozen or course.statistics_fixed:
        segmenter.encoder.eval()
    groups = [{"params": list(segmenter.decoder.parameters()), "lr": course.decoder_rate}]
    if not frozen:
        groups.append({"params": list(segmenter.encoder.parameters()), "lr": course.encoder_rate})
    optimiser = torch.optim.Adam(groups)
    falling = torch.optim.lr_scheduler.CosineAnnealingLR(optimiser, course.steps)
    losses = []
    for rows in order:
        loss = segmentation_loss(
            labelled.logits(rows), labelled.masks[rows.to(segmenter.place)], dice=course.dice
        )
        losses.append(loss.detach())
        if unlabelled is not None:
            loss = loss + course.entropy * pixel_entropy(free.logits(next(others))).mean()
        optimiser.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        optimiser.step()
        falling.step()
    course.losses.extend(torch.stack(losses).tolist())  # at the end: each look stops a GPU
    if not np.isfinite(course.losses).all():
        raise FloatingPointError("the loss is not finite: try smaller learning rates")
    return segmenter.eval()


def segmentation_loss(logits: Tensor, masks: Tensor, *, dice: float = 1.0) -> Tensor:
    """Return cross-entropy over the labelled pixels plus the Dice loss, weighted."""
    loss = cross_entropy(logits, masks, ignore_index=IGNORED, reduction="sum")
    loss = loss / (masks != IGNORED).sum().clamp(min=1)
    return loss + dice * soft_dice_loss(logits, masks) if dice else loss


class _Batches:
    """Images, or the frozen encoder's maps of them, and their masks, on the segmenter's device."""

    def __init__(
        self, segmenter: Segmenter, images: Tensor, masks: Tensor | None, *, frozen: bool
    ) -> None:
        self.segmenter = segmenter
        self.levels = pyramid_maps(segmenter.encoder, images) if frozen else ()
        self.images = images.to(segmenter.place)
        self.masks = torch.empty(0) if masks is None else masks.to(segmenter.place)

    def logits(self, rows: Tensor) -> Tensor:
        rows = rows.to(self.images.device)
        if self.levels:
            return self.segmenter.decode(tuple(level[rows] for level in self.levels))
        logits: Tensor = self.segmenter(self.images[rows])
        return logits


def logits_of(
    segmenter: Segmenter, images: Sequence[Tensor] | Tensor, *, batch: int = 64
) -> Tensor:
    """Return the logits of images of one size, (n, classes, height, width), on the CPU."""
    was = segmenter.training
    segmenter.eval()
    with torch.no_grad():
        parts = [
            segmenter(part.to(segmenter.place)).float().cpu()
            for part in torch.split(torch.stack(list(images)), batch)
        ]
    segmenter.train(was)
    return torch.cat(parts)


def segment(segmenter: Segmenter, images: Sequence[Tensor] | Tensor) -> Tensor:
    """Return the likeliest class of each pixel, (n, height, width)."""
    return logits_of(segmenter, images).argmax(1)


def adapt_statistics(
    segmenter: Segmenter, images: Sequence[Tensor] | Tensor, *, batch: int = 32
) -> Segmenter:
    """Replace batch norm's stored statistics by those of unlabelled images, and nothing else."""
    parts = torch.split(torch.stack(list(images)), batch)
    adabn(segmenter.encoder, [part.to(segmenter.place) for part in parts])
    return segmenter.eval()


def pseudo_labelled(
    segmenter: Segmenter,
    found: Scenes,
    *,
    threshold: float | None = None,
    share: float | None = None,
) -> Scenes:
    """Return scenes with the segmenter's own labels in place of the true ones.

    Parameters
    ----------
    segmenter
        Labels them.
    found
        Scenes of one size, whose masks aren't looked at.
    threshold
        One confidence for all classes.
    share
        Or the share of the pixels of each class that are kept.

    Raises
    ------
    ValueError
        Not exactly one of threshold and share.
    """
    if (threshold is None) == (share is None):
        raise ValueError(f"give threshold or share, got {threshold} and {share}")
    logits = logits_of(segmenter, found.images)
    tau = threshold if share is None else class_balanced_thresholds(logits, share=share)
    assert tau is not None
    return replace(
        found,
        masks=tuple(pseudo_labels(logits, thresholds=tau)),
        regions=dict(enumerate(segmenter.classes)) | {IGNORED: "ignored"},
        domain=f"{found.domain}, labelled by a segmenter",
    )


def joined(first: Scenes, second: Scenes) -> Scenes:
    """Return the scenes of both, which have the same labels.

    Raises
    ------
    ValueError
        The labels differ.
    """
    if names(first) != names(second):
        raise ValueError(f"the labels differ: {names(first)} and {names(second)}")
    return replace(
        first,
        images=first.images + second.images,
        boxes=first.boxes + second.boxes,
        labels=first.labels + second.labels,
        masks=first.masks + second.masks,
        regions=first.regions | second.regions,
    )


def confusions(guesses: Tensor, masks: Tensor, classes: int) -> Tensor:
    """Count pixels by true class (row) and said class (column), for each image.

    Parameters
    ----------
    guesses, masks
        Shape (n, height, width); pixels that the mask ignores aren't counted.
    classes
        Number of classes.

    Returns
    -------
    Tensor
        Shape (n, classes, classes), integers.

    Raises
    ------
    ValueError
        The shapes differ.
    """
    if guesses.shape != masks.shape:
        raise ValueError(f"guesses {tuple(guesses.shape)}, masks {tuple(masks.shape)}: not alike")
    tables = []
    for guess, mask in zip(guesses, masks, strict=True):
        known = mask != IGNORED
        cells = mask[known].long() * classes + guess[known].long()
        tables.append(torch.bincount(cells, minlength=classes**2).view(classes, classes))
    return torch.stack(tables)


def overlaps(table: Tensor) -> Tensor:
    """Return the intersection over union of each class, from a table of true and said classes.

    NaN for a class that neither occurs nor is said.
    """
    hits = table.diagonal().double()
    union = table.sum(0) + table.sum(1) - hits
    return torch.where(union > 0, hits / union.clamp(min=1), torch.nan)


def scored(guesses: Tensor, masks: Tensor, classes: int) -> dict[str, float]:
    """Return mIoU and pixel accuracy over all pixels of all images together."""
    table = confusions(guesses, masks, classes).sum(0)
    accuracy = table.diagonal().sum() / table.sum()
    return {"miou": float(overlaps(table).nanmean()), "accuracy": float(accuracy)}


def bootstrap(
    guesses: Tensor, masks: Tensor, classes: int, *, draws: int = 500, seed: int = 0
) -> tuple[float, float]:
    """Return the middle 95 % of mIoU over images drawn anew, as many as there are."""
    tables = confusions(guesses, masks, classes)
    generator = torch.Generator().manual_seed(seed)
    n = len(tables)
    drawn = [torch.randint(n, (n,), generator=generator) for _ in range(draws)]
    values = torch.stack([overlaps(tables[rows].sum(0)).nanmean() for rows in drawn])
    low, high = values.quantile(torch.tensor([0.025, 0.975], dtype=values.dtype)).tolist()
    return low, high


def _mirrored(found: Scenes) -> tuple[Tensor, Tensor]:
    """Stack images and masks, each once more seen in a mirror."""
    masks, images = masks_of(found), torch.stack(found.images)
    return torch.cat([images, images.flip(3)]), torch.cat([masks, masks.flip(2)])
