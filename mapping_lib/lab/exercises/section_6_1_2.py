"""Checks of the exercises of section 6.1.2, object detection."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor
from torch.nn.functional import max_pool2d

from mapping_lib.lab.exercises.compare import compare
from mapping_lib.lab.exercises.core import exercise


@exercise("6.1.2-a")
def precision_on_paper(answer: Any) -> str | None:
    """Check the average precision of miss, hit, hit, miss with two objects."""
    return compare(
        answer,
        2 / 3,
        what="the average precision",
        tolerance=1e-3,
        hints={
            "that is the mean of the precisions at the hits; at each recall the best precision at "
            "that recall or a higher one counts": 7 / 12,
            "that is the precision of all four detections": 0.5,
            "that is the recall: both objects are found": 1.0,
            "that is the mean of the four precisions; ask at each recall for the best one": 5 / 12,
            "give a share, not per cent": 200 / 3,
            "at recall 0.5 the precision is 1/2, but at recall 1 it is 2/3, which is better and "
            "counts for the lower recalls, too": (51 * 0.5 + 50 * 2 / 3) / 101,
        },
    )


@exercise("6.1.2-b")
def overlap(answer: Callable[..., Any]) -> str | None:
    """Check intersection over union, also where boxes don't meet or lie in each other."""
    cases = {
        "meet at a corner": ((0.0, 0.0, 4.0, 3.0), (3.0, 1.0, 5.0, 5.0)),
        "meet, the second left of and above the first": (
            (3.0, 2.0, 9.0, 6.0),
            (1.0, 0.0, 5.0, 5.0),
        ),
        "lie in each other": ((0.0, 0.0, 10.0, 4.0), (2.0, 1.0, 5.0, 3.0)),
        "don't meet, one right of and below the other": (
            (0.0, 0.0, 2.0, 2.0),
            (5.0, 6.0, 8.0, 8.0),
        ),
        "don't meet, one beside the other": ((0.0, 0.0, 2.0, 4.0), (5.0, 1.0, 8.0, 3.0)),
    }
    for words, (a, b) in cases.items():
        width = min(a[2], b[2]) - max(a[0], b[0])
        height = min(a[3], b[3]) - max(a[1], b[1])
        inside = max(width, 0) * max(height, 0)
        areas = [(box[2] - box[0]) * (box[3] - box[1]) for box in (a, b)]
        union = sum(areas) - inside
        larger = [(box[2] - box[0] + 1) * (box[3] - box[1] + 1) for box in (a, b)]
        meet = max(width + 1, 0) * max(height + 1, 0)
        wrong = compare(
            answer(torch.tensor(a), torch.tensor(b)),
            inside / union,
            what="the overlap",
            hints={
                "width and height of the part in common must not be negative, neither of "
                "them: two negative ones even multiply to a positive area": width
                * height
                / (sum(areas) - width * height),
                "the part in common is counted twice in the sum of the areas: take it off once": (
                    inside / sum(areas)
                ),
                "that is the area in common, not its share of the union": inside,
                "twice the part in common over the sum of the areas is Dice: divide what both have "
                "by what they cover together": 2 * inside / sum(areas),
                "that is the share of the smaller box that is covered": inside / min(areas),
                "that is the share of the first box that is covered": inside / areas[0],
                "that is the area of the union, not the share in common": union,
                "a box from 0 to 4 is 4 wide: the coordinates are edges, not pixels to count": (
                    meet / (sum(larger) - meet)
                ),
            },
        )
        if wrong:
            return f"boxes that {words}: {wrong}"
    return None


@exercise("6.1.2-c")
def peaks(answer: Callable[[Tensor], Any]) -> str | None:
    """Check which cells of heat maps no neighbour exceeds: border, negative heat and equal heat."""
    heat = torch.randn(2, 6, 7, dtype=torch.float64) - 3
    heat[0, 2, 3] = heat[0, 2, 4] = heat[0].max() + 0.5
    heat[1, 0, 2], heat[1, -1, 2] = -0.5, -0.4  # a peak whose opposite at the other edge is hotter
    heat[1, 3, 0] = 0.7  # a peak at the border that zeros around it don't hide
    around = max_pool2d(heat[None], 3, stride=1, padding=1)[0]
    right = heat == around
    strict = right.clone()
    strict[0, 2, 3:5] = False
    zeros = torch.nn.functional.pad(heat, (1, 1, 1, 1))
    with_zeros = heat == max_pool2d(zeros[None], 3, stride=1)[0]
    around = torch.nn.functional.pad(heat[None], (1, 1, 1, 1), mode="circular")
    joined = heat == max_pool2d(around, 3, stride=1)[0]
    inner = torch.zeros_like(right)
    inner[:, 1:-1, 1:-1] = right[:, 1:-1, 1:-1]
    cross = torch.ones_like(right)
    for down, across in ((0, 1), (1, 0), (0, -1), (-1, 0)):
        moved = torch.full_like(heat, -torch.inf)
        rows, columns = (
            slice(max(down, 0), 6 + min(down, 0)),
            slice(max(across, 0), 7 + min(across, 0)),
        )
        back = slice(max(-down, 0), 6 + min(-down, 0)), slice(max(-across, 0), 7 + min(-across, 0))
        moved[:, rows, columns] = heat[:, back[0], back[1]]
        cross &= heat >= moved
    got = answer(heat)
    if isinstance(got, Tensor) and got.dtype != torch.bool:
        return f"the peaks have dtype {got.dtype} where True and False (torch.bool) are due"
    if isinstance(got, Tensor) and got.shape == right.shape:
        both = heat == heat.amax(0, keepdim=True)
        for words, wrong in {
            "peaks at the border are missing: outside the map there is nothing, not zeros, and "
            "zeros exceed negative heat": with_zeros,
            "a cell at the border can be a peak, too: it has fewer neighbours": inner,
            "the map isn't a ring: cells at one edge are no neighbours of those opposite "
            "(torch.roll joins them)": joined,
            "the four neighbours at the corners count, too": cross,
            "that is one peak a map; there can be several": heat == heat.amax((1, 2), keepdim=True),
            "the windows are too wide: 5 × 5 cells where 3 × 3 are due": (
                heat == max_pool2d(heat[None], 5, stride=1, padding=2)[0]
            ),
            "each class has a map of its own: don't compare across classes": both,
            "two neighbours that are equally hot are peaks, both: neither is hotter": (strict),
            "that is the opposite: the cells that some neighbour exceeds": ~right,
        }.items():
            if torch.equal(got, wrong) and not torch.equal(wrong, right):
                return words
    return compare(got, right, what="the map of peaks")
