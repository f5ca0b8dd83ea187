"""Checks of the exercises of section 6.1.3, semantic segmentation."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from mapping_lib.lab.exercises.compare import compare
from mapping_lib.lab.exercises.core import exercise

IGNORED = 255


@exercise("6.1.3-a")
def all_ground(answer: Any) -> str | None:
    """Check the mIoU of calling all ground: 80 pixels of ground, 15 of leaf, 5 of root."""
    return compare(
        answer,
        0.8 / 3,
        what="the mIoU",
        tolerance=2e-3,
        hints={
            "that is the pixel accuracy, and the overlap of ground alone; the two classes that are "
            "never said count, too, each with 0": 0.8,
            "there are three classes, and the mean is over all of them": 0.4,
            "the union for ground is all 100 pixels, since all are called ground: its overlap is "
            "0.8, not 1": 1 / 3,
            "that is the mean of the Dice scores; the overlap divides by the union": 160 / 180 / 3,
            "give a share, not per cent": 80 / 3,
        },
    )


@exercise("6.1.3-b")
def mean_overlap(answer: Callable[..., Any]) -> str | None:
    """Check mIoU with ignored pixels and classes that don't occur, aren't said, or neither."""
    mask = torch.randint(4, (3, 6, 5))
    mask[0, :2] = IGNORED
    guess = torch.where(torch.rand(mask.shape) < 0.6, mask, torch.randint(4, mask.shape))
    guess[mask == IGNORED] = torch.randint(4, (int((mask == IGNORED).sum()),))
    for words, y, said in (
        ("all classes occur, some pixels are ignored", mask, guess),
        (
            "class 3 neither occurs nor is said",
            mask.masked_fill(mask == 3, 1),
            guess.masked_fill(guess == 3, 0),
        ),
        ("class 3 is said and doesn't occur", mask.masked_fill(mask == 3, 1), guess),
        ("class 3 occurs and isn't said", mask, guess.masked_fill(guess == 3, 0)),
    ):
        right = _miou(said, y)
        shown = set(y[y != IGNORED].tolist())
        wrong = compare(
            answer(said, y, 4),
            right,
            what="the mIoU",
            hints={
                f"leave out the pixels whose label is {IGNORED}, also from what is said": _miou(
                    said, y, ignore=False
                ),
                "that is the pixel accuracy": float((said == y)[y != IGNORED].float().mean()),
                "a class that neither occurs nor is said has no overlap: leave it out of the mean, "
                "don't count it as 0": _miou(said, y, absent=0.0),
                "leave out only classes that neither occur nor are said: this one is said, so its "
                "overlap is 0 and counts": _miou(said, y, of="mask"),
                "leave out only classes that neither occur nor are said: this one occurs, so its "
                "overlap is 0 and counts": _miou(said, y, of="said"),
                "that is the mean recall: what is wrongly called a class counts, too": sum(
                    float((said == k)[y == k].float().mean()) for k in shown
                )
                / len(shown),
                "that is the mean of the Dice scores; divide by the union": _miou(
                    said, y, dice=True
                ),
                "that is the mean over images of each image's mIoU; count the pixels of all images "
                "together": sum(_miou(a, b) for a, b in zip(said, y, strict=True)) / len(y),
                "the union counts what is in both once: take the overlap off the sum": _miou(
                    said, y, twice=True
                ),
            },
        )
        if wrong:
            return f"where {words}: {wrong}"
    return None


@exercise("6.1.3-c")
def sure_labels(answer: Callable[..., Any]) -> str | None:
    """Check labels of the pixels whose confidence reaches a threshold; the others are ignored."""
    logits = 2 * torch.randn(2, 3, 4, 5, dtype=torch.float64)
    surest, called = logits.softmax(1).max(1)
    threshold = float(surest.median()) - 1e-6

    def kept(sure: Tensor, labels: Tensor = called, rest: int = IGNORED) -> Tensor:
        return labels.masked_fill(~sure, rest)

    got = answer(logits, threshold)
    right = kept(surest >= threshold)
    if isinstance(got, Tensor) and got.dtype.is_floating_point:
        return f"labels must be integers, got {got.dtype}"
    if isinstance(got, Tensor) and got.shape == right.shape:
        across = logits.softmax(0).amax(1), logits.flatten(2).softmax(2).view_as(logits).amax(1)
        for words, wrong in {
            f"a pixel that is left out has the label {IGNORED}, not -1": kept(
                surest >= threshold, rest=-1
            ),
            f"a pixel that is left out has the label {IGNORED}, not 0, which is a class": kept(
                surest >= threshold, rest=0
            ),
            "the logits were compared with the threshold; it is a probability: softmax first": kept(
                logits.amax(1) >= threshold
            ),
            "the classes exclude each other: softmax over them, not a sigmoid of each": kept(
                logits.sigmoid().amax(1) >= threshold
            ),
            "the softmax must go over the classes, axis 1": kept(across[0] >= threshold),
            "the softmax must go over the classes of a pixel, not over the pixels": kept(
                across[1] >= threshold
            ),
            "that keeps the pixels of which the segmenter is not sure": kept(surest < threshold),
            "no pixel is left out": called,
        }.items():
            if torch.equal(got, wrong):
                return words
    return compare(got, right, what="the mask of labels")


def _miou(
    said: Tensor,
    mask: Tensor,
    *,
    ignore: bool = True,
    absent: float | None = None,
    twice: bool = False,
    dice: bool = False,
    of: str = "",
) -> float:
    """Return mIoU of four classes, right or with a mistake."""
    known = (mask != IGNORED) | (not ignore)
    values = []
    for k in range(4):
        true, called = (mask == k) & known, (said == k) & known
        both = int((true & called).sum())
        union = int(true.sum() + called.sum()) - (0 if twice or dice else both)
        if (of == "mask" and not true.any()) or (of == "said" and not called.any()):
            continue
        if union:
            values.append((2 if dice else 1) * both / union)
        elif absent is not None:
            values.append(absent)
    return sum(values) / len(values)
