"""Detection: closed forms, plain loops, pycocotools through torchmetrics, known mistakes."""

import itertools
import math

import numpy as np
import pytest
import torch
import torchvision
from hypothesis import given
from hypothesis import strategies as st
from torch.autograd import gradcheck
from torch.nn.functional import binary_cross_entropy_with_logits
from torch.testing import assert_close
from torchmetrics.detection import MeanAveragePrecision
from torchvision.ops import box_iou

from mapping_lib.detection import (
    average_precision,
    centre_heatmap,
    centre_l1,
    centre_targets,
    decode,
    gaussian_radius,
    heatmap_focal_loss,
    match_detections,
)

SIDES = st.floats(0.5, 60)
OVERLAPS = st.floats(0.05, 1)


def normal(*size, seed=0):
    return torch.randn(*size, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


# the radius


def corner_shifts(sizes, r):
    """Boxes whose corners are moved by r each way along each axis, and the box itself."""
    w, h = sizes
    box = torch.tensor([[0.0, 0.0, w, h]], dtype=torch.float64)
    moves = list(itertools.product((-r, r), repeat=4))
    return box, box + torch.tensor(moves, dtype=torch.float64)


@given(SIDES, SIDES, OVERLAPS)
def test_radius_keeps_the_overlap_and_no_larger_one_does(w, h, t):
    r = gaussian_radius(torch.tensor([[w, h]], dtype=torch.float64), min_iou=t).item()
    box, moved = corner_shifts((w, h), r * (1 - 1e-9))
    assert box_iou(box, moved).min() >= t - 1e-6
    box, moved = corner_shifts((w, h), min(r * 1.02 + 1e-6, min(w, h) / 2 - 1e-9))
    if r * 1.02 < min(w, h) / 2 - 1e-6 and t < 1:
        assert box_iou(box, moved).min() < t


@pytest.mark.parametrize(
    ("size", "t", "radius"),
    [
        ((8.0, 8.0), 0.25, 2.0),  # shrunk to 4 × 4
        ((10.0, 10.0), 0.7, (40 - math.sqrt(1120)) / 8),
        ((12.0, 4.0), 0.5, (32 - math.sqrt(32**2 - 16 * 24)) / 8),
        ((7.0, 3.0), 1.0, 0.0),
    ],
)
def test_radius_by_hand(size, t, radius):
    found = gaussian_radius(torch.tensor([size], dtype=torch.float64), min_iou=t)
    assert_close(found, torch.tensor([radius], dtype=torch.float64), atol=1e-12, rtol=0)


@given(w=st.floats(0.5, 200), h=st.floats(0.5, 200), t=st.floats(0.05, 1, exclude_max=True))
def test_the_box_that_shrinks_is_the_worst_case_of_the_three(w, h, t):
    # 4 r² − 2 (w + h) r + (1 − t) w h = 0, its smaller root by NumPy
    shrunk = min(np.roots([4, -2 * (w + h), (1 - t) * w * h]).real)
    radius = gaussian_radius(torch.tensor([[w, h]], dtype=torch.float64), min_iou=t)
    assert radius.item() == pytest.approx(shrunk, rel=1e-6, abs=1e-9)


def test_radius_is_not_that_of_the_published_code():
    """CornerNet divides by 2 where twice the leading coefficient is due, and adds the root."""
    w = h = 10.0
    t, total, area = 0.3, 20.0, 100.0
    a, b, c = 4 * t, -2 * t * total, (t - 1) * area
    published = (b + math.sqrt(b * b - 4 * a * c)) / 2
    right = gaussian_radius(torch.tensor([[w, h]]), min_iou=t).item()
    assert published > 2 * right
    box, moved = corner_shifts((w, h), right)
    assert box_iou(box, moved).min() > 0.29
    box, moved = corner_shifts((w, h), published)
    assert box_iou(box, moved).min() < 0.01


@given(SIDES, SIDES, OVERLAPS, st.floats(0.1, 10))
def test_radius_is_symmetric_and_scales_with_the_box(w, h, t, scale):
    sizes = torch.tensor([[w, h], [h, w], [scale * w, scale * h]], dtype=torch.float64)
    a, b, c = gaussian_radius(sizes, min_iou=t)
    assert_close(a, b)
    assert_close(c, scale * a)


def test_radius_has_the_right_gradient():
    sizes = torch.tensor([[3.0, 8.0], [5.0, 2.0]], dtype=torch.float64, requires_grad=True)
    assert gradcheck(lambda s: gaussian_radius(s, min_iou=0.4), sizes)


@pytest.mark.parametrize(
    ("sizes", "options", "error", "words"),
    [
        (torch.ones(3), {}, ValueError, r"\(n, 2\), width and height"),
        (torch.ones(1, 3), {}, ValueError, r"\(n, 2\), width and height"),
        (torch.tensor([[1.0, 0.0]]), {}, ValueError, "has no area"),
        (torch.tensor([[1.0, math.inf]]), {}, ValueError, "must be finite"),
        (torch.ones(1, 2), {"min_iou": 0}, ValueError, r"\(0, 1\], got 0"),
        (torch.ones(1, 2), {"min_iou": 1.2}, ValueError, r"\[0, 1\]"),
        (torch.ones(1, 2).long(), {}, TypeError, "floating-point"),
    ],
)
def test_radius_refuses(sizes, options, error, words):
    with pytest.raises(error, match=words):
        gaussian_radius(sizes, **options)


# centres and heat maps

BOXES = torch.tensor([[2.0, 4.0, 8.0, 6.0], [10.0, 1.0, 16.0, 11.0]])


def test_centres_by_hand():
    found = centre_targets(BOXES, size=(12, 16), stride=4)
    assert found.cells.tolist() == [[1, 1], [1, 3]]  # row, column
    assert_close(found.offsets, torch.tensor([[0.25, 0.25], [0.25, 0.5]]))
    assert_close(found.sizes, torch.tensor([[1.5, 0.5], [1.5, 2.5]]))


def test_heat_is_the_formula_cell_by_cell():
    labels = torch.tensor([1, 1])
    heat = centre_heatmap(BOXES, labels, classes=3, size=(12, 16), stride=4, min_iou=0.3)
    assert heat.shape == (3, 3, 4)
    assert not heat[[0, 2]].any()
    centres = centre_targets(BOXES, size=(12, 16), stride=4)
    deviation = (gaussian_radius(centres.sizes, min_iou=0.3) / 3).tolist()
    for row, column in itertools.product(range(3), range(4)):
        due = max(
            math.exp(-((row - r) ** 2 + (column - c) ** 2) / (2 * s * s))
            for (r, c), s in zip(centres.cells.tolist(), deviation, strict=True)
        )
        assert heat[1, row, column].item() == pytest.approx(due, abs=1e-6)
    assert heat[1, 1, 1] == heat[1, 1, 3] == 1


def test_heat_is_wide_enough_to_see_beyond_one_cell():
    heat = centre_heatmap(
        torch.tensor([[20.0, 20.0, 84.0, 84.0]]), torch.tensor([0]), classes=1, size=(128, 128),
        stride=4,
    )  # fmt: skip
    r = gaussian_radius(torch.tensor([[16.0, 16.0]])).item()
    assert heat[0, 13, 12].item() == pytest.approx(math.exp(-1 / (2 * (r / 3) ** 2)), abs=1e-5)
    assert_close(heat[0, 13, 12], heat[0, 12, 13])


@pytest.mark.parametrize("box", [(1, 2, 1, 5), (4, 2, 3, 5), (1, 2, 3, 2), (1, 5, 3, 2)], ids=str)
def test_boxes_without_an_area_are_refused(box):
    with pytest.raises(ValueError, match=r"box 1 .* has no area"):
        centre_targets(torch.tensor([(0.0, 0, 2, 2), box]), size=(8, 8), stride=4)


def test_no_boxes_give_an_empty_map():
    none = torch.zeros(0, 4)
    heat = centre_heatmap(none, torch.zeros(0).long(), classes=2, size=(8, 8), stride=4)
    assert heat.shape == (2, 2, 2)
    assert not heat.any()
    assert centre_targets(none, size=(8, 8), stride=4).cells.shape == (0, 2)


@pytest.mark.parametrize(
    ("boxes", "labels", "error", "words"),
    [
        ([[0.0, 0.0, 9.0, 4.0]], [0], ValueError, r"box 0 .* beyond the image of 8 × 4 pixels"),
        ([[-1.0, 0.0, 4.0, 4.0]], [0], ValueError, "beyond the image"),
        ([[0.0, 0.0, 4.0, 5.0]], [0], ValueError, "beyond the image"),
        ([[0.0, 0.0, 4.0, 4.0], [3.0, 1.0, 3.0, 2.0]], [0, 0], ValueError, "box 1 .* no area"),
        ([[4.0, 0.0, 0.0, 4.0]], [0], ValueError, "no area"),
        ([[0.0, 2.0, 4.0, 2.0]], [0], ValueError, "no area"),
        ([[0.0, 4.0, 4.0, 1.0]], [0], ValueError, "no area"),
        ([[0.0, 0.0, 4.0, 4.0]], [2], ValueError, "labels must lie between 0 and 1"),
        ([[0.0, 0.0, 4.0, 4.0]], [-1], ValueError, "labels must lie between 0 and 1"),
        ([[0.0, 0.0, 4.0, 4.0]], [0, 1], ValueError, r"shape \(1,\)"),
        ([[0.0, 0.0, 4.0, 4.0]], [0.0], TypeError, "must be integers"),
        ([[0.0, 0.0, 4.0, math.nan]], [0], ValueError, "NaN"),
        ([[0.0, 0.0, 4.0]], [0], ValueError, r"boxes must be \(n, 4\)"),
        ([[0.0, 0.0, 4.0, 4.0, 0.0]], [0], ValueError, r"boxes must be \(n, 4\)"),
        ([[0, 0, 4, 4]], [0], TypeError, "floating-point"),
    ],
)
def test_heat_refuses(boxes, labels, error, words):
    with pytest.raises(error, match=words):
        centre_heatmap(torch.tensor(boxes), torch.tensor(labels), classes=2, size=(4, 8), stride=4)


@pytest.mark.parametrize(("size", "stride"), [((6, 8), 4), ((8, 2), 4), ((8, 8), 0)])
def test_map_must_fit_the_stride(size, stride):
    with pytest.raises(ValueError, match="stride"):
        centre_targets(BOXES[:0], size=size, stride=stride)


# losses


def test_focal_loss_by_hand():
    logits = torch.tensor([0.0, math.log(3), -math.log(3)], dtype=torch.float64)  # 1/2, 3/4, 1/4
    target = torch.tensor([1.0, 0.5, 0.0], dtype=torch.float64)
    due = 0.25 * math.log(2) + 0.5**4 * 0.75**2 * math.log(4) + 0.25**2 * math.log(4 / 3)
    assert heatmap_focal_loss(logits, target).item() == pytest.approx(due, rel=1e-12)
    two = torch.cat([target, target]).view(2, 3)
    assert_close(heatmap_focal_loss(logits.repeat(2).view(2, 3), two).item(), due)


def test_focal_loss_without_focus_is_cross_entropy():
    logits, target = normal(3, 4), (normal(3, 4, seed=1) > 0).double()
    entropy = binary_cross_entropy_with_logits(logits, target, reduction="sum")
    found = heatmap_focal_loss(logits, target, alpha=0, beta=0)
    assert_close(found, entropy / target.sum())


def test_focal_loss_is_torchvisions_where_there_are_only_ones_and_zeros():
    logits, target = normal(5, 4), (normal(5, 4, seed=1) > 0.5).double()
    reference = torchvision.ops.sigmoid_focal_loss(
        logits, target, alpha=-1, gamma=2, reduction="sum"
    )
    assert_close(heatmap_focal_loss(logits, target, alpha=2), reference / target.sum())


def test_focal_loss_without_centres_is_the_sum_and_stays_finite():
    assert heatmap_focal_loss(torch.tensor([-1e9, 0.0]), torch.zeros(2)).item() == pytest.approx(
        0.25 * math.log(2)
    )
    huge = torch.tensor([-1e4, 1e4], requires_grad=True)
    loss = heatmap_focal_loss(huge, torch.tensor([1.0, 0.0]))
    loss.backward()
    assert loss.item() == pytest.approx(2e4)
    assert huge.grad.isfinite().all()


def test_losses_have_the_right_gradients():
    target = torch.rand(2, 3, 4, dtype=torch.float64)
    target[0, 1, 2] = 1
    logits = normal(2, 3, 4).requires_grad_()
    assert gradcheck(lambda z: heatmap_focal_loss(z, target, alpha=2, beta=4), logits)
    maps = normal(2, 2, 3, 4).requires_grad_()
    cells = torch.tensor([[0, 1, 2], [1, 0, 3], [0, 1, 2]])
    assert gradcheck(lambda m: centre_l1(m, normal(3, 2, seed=5), cells=cells), maps)


@given(st.floats(0, 0.99))
def test_a_cell_near_a_centre_counts_less(near):
    logits = torch.zeros(1, dtype=torch.float64)
    far = heatmap_focal_loss(logits, torch.zeros(1, dtype=torch.float64))
    here = heatmap_focal_loss(logits, torch.full((1,), near, dtype=torch.float64))
    assert_close(here, (1 - near) ** 4 * far)


@pytest.mark.parametrize(
    ("logits", "target", "options", "error", "words"),
    [
        (torch.zeros(2), torch.zeros(3), {}, ValueError, "shapes must be equal"),
        (torch.zeros(2), torch.tensor([0.0, 1.5]), {}, ValueError, r"\[0, 1\]"),
        (torch.tensor([0.0, math.inf]), torch.zeros(2), {}, ValueError, "finite"),
        (torch.zeros(2), torch.zeros(2), {"alpha": -1}, ValueError, "alpha"),
        (torch.zeros(2), torch.zeros(2), {"beta": -1}, ValueError, "beta"),
        (torch.zeros(2), torch.zeros(2).long(), {}, TypeError, "floating-point"),
    ],
)
def test_focal_loss_refuses(logits, target, options, error, words):
    with pytest.raises(error, match=words):
        heatmap_focal_loss(logits, target, **options)


def test_l1_by_hand_looks_at_its_cells_alone():
    maps = torch.arange(24.0).view(1, 2, 3, 4)
    cells = torch.tensor([[0, 1, 2], [0, 2, 0]])  # 6 and 18; 8 and 20
    values = torch.tensor([[5.0, 20.0], [8.0, 16.0]])
    assert centre_l1(maps, values, cells=cells).item() == ((1 + 2) + (0 + 4)) / 2
    assert centre_l1(maps, values[:0], cells=cells[:0]) == 0


@pytest.mark.parametrize(
    ("maps", "values", "cells", "error", "words"),
    [
        (torch.zeros(1, 2, 3, 4), torch.zeros(1, 2), [[0, 3, 0]], ValueError, "beyond the maps"),
        (torch.zeros(1, 2, 3, 4), torch.zeros(1, 2), [[1, 0, 0]], ValueError, "beyond the maps"),
        (torch.zeros(1, 2, 3, 4), torch.zeros(1, 2), [[0, -1, 0]], ValueError, "beyond the maps"),
        (torch.zeros(1, 2, 3, 4), torch.zeros(1, 3), [[0, 0, 0]], ValueError, "are due, got"),
        (torch.zeros(1, 2, 3, 4), torch.zeros(1, 2), [[0.0, 0, 0]], TypeError, "integers"),
        (torch.zeros(2, 3, 4), torch.zeros(1, 2), [[0, 0, 0]], ValueError, "are due, got"),
    ],
)
def test_l1_refuses(maps, values, cells, error, words):
    with pytest.raises(error, match=words):
        centre_l1(maps, values, cells=torch.tensor(cells))


# from maps to boxes and back


@given(st.integers(0, 40))
def test_boxes_come_back_from_their_own_targets(seed):
    generator = torch.Generator().manual_seed(seed)
    cells = torch.randperm(48, generator=generator)[:5]
    corners = torch.stack([cells % 8, cells // 8], 1) * 8.0 + 2 * torch.rand(
        5, 2, generator=generator
    )
    sides = 2 + 4 * torch.rand(5, 2, generator=generator)
    boxes, labels = torch.cat([corners, corners + sides], 1), torch.arange(5) % 3
    size, stride = (48, 64), 4
    heat = centre_heatmap(boxes, labels, classes=3, size=size, stride=stride)
    centres = centre_targets(boxes, size=size, stride=stride)
    maps = torch.zeros(2, 2, 12, 16)
    row, column = centres.cells.unbind(1)
    maps[0, :, row, column], maps[1, :, row, column] = centres.sizes.T, centres.offsets.T
    found = decode(torch.logit(heat, eps=1e-6), *maps, stride=stride, keep=5)
    order = torch.cdist(boxes, found.boxes).argmin(1)
    assert_close(found.boxes[order], boxes, atol=1e-4, rtol=0)
    assert found.labels[order].tolist() == labels.tolist()


def test_peaks_are_those_of_a_plain_loop():
    heat = normal(2, 5, 6)
    sizes, offsets = normal(2, 5, 6, seed=1).abs(), normal(2, 5, 6, seed=2)
    found = decode(heat, sizes, offsets, stride=3, keep=100)
    peaks = []
    for k, r, c in itertools.product(range(2), range(5), range(6)):
        around = heat[k, max(r - 1, 0) : r + 2, max(c - 1, 0) : c + 2]
        if heat[k, r, c] == around.max():
            x, y = c + offsets[0, r, c], r + offsets[1, r, c]
            w, h = sizes[:, r, c] / 2
            peaks.append(
                (heat[k, r, c].item(), k, [3 * (x - w), 3 * (y - h), 3 * (x + w), 3 * (y + h)])
            )
    peaks.sort(key=lambda peak: -peak[0])
    assert found.labels.tolist() == [k for _, k, _ in peaks]
    assert_close(found.scores, torch.tensor([s for s, *_ in peaks], dtype=torch.float64).sigmoid())
    assert_close(found.boxes, torch.tensor([box for *_, box in peaks], dtype=torch.float64))
    few = decode(heat, sizes, offsets, stride=3, keep=2)
    assert_close(few.boxes, found.boxes[:2])


def test_negative_sizes_count_as_nothing():
    found = decode(torch.zeros(1, 1, 1), -torch.ones(2, 1, 1), torch.zeros(2, 1, 1), stride=4)
    assert found.boxes.tolist() == [[0, 0, 0, 0]]


@pytest.mark.parametrize(
    ("shapes", "options", "words"),
    [
        (((1, 3, 4), (2, 3, 4), (2, 4, 3)), {}, "are due, got"),
        (((3, 4), (2, 3, 4), (2, 3, 4)), {}, "are due, got"),
        (((1, 3, 4), (2, 3, 4), (2, 3, 4)), {"keep": 0}, "keep"),
        (((1, 3, 4), (2, 3, 4), (2, 3, 4)), {"stride": 0}, "stride"),
    ],
)
def test_decode_refuses(shapes, options, words):
    with pytest.raises(ValueError, match=words):
        decode(*(torch.zeros(s) for s in shapes), **({"stride": 4} | options))


# matching and precision


def test_matching_by_hand():
    overlaps = torch.tensor([[0.6, 0.8, 0.0], [0.55, 0.9, 0.1], [0.2, 0.95, 0.5]])
    assert match_detections(overlaps, threshold=0.5).tolist() == [1, 0, 2]
    assert match_detections(overlaps, threshold=0.56).tolist() == [1, -1, -1]
    assert match_detections(torch.zeros(2, 0), threshold=0.5).tolist() == [-1, -1]
    assert match_detections(torch.zeros(0, 2), threshold=0.5).shape == (0,)
    assert match_detections(torch.ones(1, 1), threshold=1.0).tolist() == [0]


@pytest.mark.parametrize(
    ("overlaps", "threshold", "error", "words"),
    [
        (torch.ones(2), 0.5, ValueError, "must be a matrix"),
        (torch.ones(1, 1, 1), 0.5, ValueError, "must be a matrix"),
        (torch.full((1, 1), 1.5), 0.5, ValueError, r"lie in \[0, 1\]"),
        (torch.full((1, 1), math.nan), 0.5, ValueError, "no NaN"),
        (torch.ones(1, 1), 0, ValueError, "threshold"),
        (torch.ones(1, 1).long(), 0.5, TypeError, "floating-point"),
    ],
)
def test_matching_refuses(overlaps, threshold, error, words):
    with pytest.raises(error, match=words):
        match_detections(overlaps, threshold=threshold)


def test_precision_by_hand():
    scores = torch.tensor([0.9, 0.8, 0.7], dtype=torch.float64)
    hits = torch.tensor([True, False, True])
    # Recall 0 to 0.50 at precision 1 (51 levels), to 1 at 2/3 (50 levels).
    found = average_precision(scores, hits, objects=2)
    assert found.item() == pytest.approx((51 + 50 * 2 / 3) / 101, abs=1e-12)
    # Of three objects one is never found: recall ends at 2/3 (levels 0.34 to 0.66).
    found = average_precision(scores, hits, objects=3)
    assert found.item() == pytest.approx((34 + 33 * 2 / 3) / 101, abs=1e-12)
    assert average_precision(scores[:0], hits[:0], objects=3) == 0


@given(st.lists(st.booleans(), min_size=1, max_size=12), st.integers(0, 5))
def test_precision_takes_scores_in_any_order_and_by_rank_alone(hits, missed):
    hits = torch.tensor(hits)
    objects = max(int(hits.sum()) + missed, 1)
    scores = torch.linspace(1, 0.1, len(hits), dtype=torch.float64)
    found = average_precision(scores, hits, objects=objects)
    mixed = torch.randperm(len(hits))
    assert_close(average_precision(scores[mixed], hits[mixed], objects=objects), found)
    assert_close(average_precision(scores.square(), hits, objects=objects), found)
    assert 0 <= found <= 1
    longer = average_precision(
        torch.cat([scores, scores[-1:] / 2]), torch.cat([hits, ~hits[:0].any()[None] & False]),
        objects=objects,
    )  # fmt: skip
    assert_close(longer, found)  # a false alarm below all else costs nothing


@pytest.mark.parametrize("seed", range(4))
def test_precision_is_that_of_pycocotools(seed):
    generator = torch.Generator().manual_seed(seed)
    images, classes = 6, 3
    truths, guesses = [], []
    for _ in range(images):
        n = int(torch.randint(1, 6, (), generator=generator))
        corner = 40 * torch.rand(n, 2, generator=generator)
        boxes = torch.cat([corner, corner + 8 + 20 * torch.rand(n, 2, generator=generator)], 1)
        labels = torch.randint(classes, (n,), generator=generator)
        truths.append({"boxes": boxes, "labels": labels})
        moved = boxes.repeat(2, 1) + 4 * torch.randn(2 * n, 4, generator=generator)
        moved[:, 2:] = torch.maximum(moved[:, 2:], moved[:, :2] + 1)
        other = torch.randint(classes, (2 * n,), generator=generator)
        stays = torch.rand(2 * n, generator=generator) < 0.8
        guess = torch.where(stays, labels.repeat(2), other)
        scores = (torch.rand(2 * n, generator=generator) * 20).round() / 20  # ties, too
        guesses.append({"boxes": moved, "labels": guess, "scores": scores})
    # torchmetrics' own thresholds are rounded to float32, so that a recall of 7/10 may miss 0.70.
    metric = MeanAveragePrecision(
        iou_thresholds=np.linspace(0.5, 0.95, 10).tolist(),
        rec_thresholds=np.linspace(0, 1, 101).tolist(),
    )
    metric.update(guesses, truths)
    due = metric.compute()
    thresholds = [0.5 + 0.05 * k for k in range(10)]
    table = []
    for k, t in itertools.product(range(classes), thresholds):
        scores, hits, objects = [], [], 0
        for guess, truth in zip(guesses, truths, strict=True):
            mine, true = guess["labels"] == k, truth["labels"] == k
            order = guess["scores"][mine].argsort(descending=True, stable=True)
            overlaps = box_iou(guess["boxes"][mine][order], truth["boxes"][true])
            scores.append(guess["scores"][mine][order])
            hits.append(match_detections(overlaps, threshold=t) >= 0)
            objects += int(true.sum())
        table.append(average_precision(torch.cat(scores), torch.cat(hits), objects=objects))
    found = torch.stack(table).view(classes, 10)
    assert found.mean().item() == pytest.approx(due["map"].item(), abs=1e-6)
    assert found[:, 0].mean().item() == pytest.approx(due["map_50"].item(), abs=1e-6)
    assert found[:, 5].mean().item() == pytest.approx(due["map_75"].item(), abs=1e-6)


@pytest.mark.parametrize(
    ("scores", "hits", "objects", "error", "words"),
    [
        (torch.ones(2), torch.ones(2), 2, TypeError, "bool hits"),
        (torch.ones(2).long(), torch.ones(2).bool(), 2, TypeError, "float scores"),
        (torch.ones(2), torch.ones(3).bool(), 3, ValueError, r"must be \(m,\) both"),
        (torch.tensor([1.0, math.nan]), torch.ones(2).bool(), 2, ValueError, "NaN"),
        (torch.ones(2), torch.ones(2).bool(), 0, ValueError, "objects"),
        (torch.ones(2), torch.ones(2).bool(), 1, ValueError, "2 hits of 1 objects"),
    ],
)
def test_precision_refuses(scores, hits, objects, error, words):
    with pytest.raises(error, match=words):
        average_precision(scores, hits, objects=objects)
