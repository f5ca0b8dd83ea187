from dataclasses import replace

import numpy as np
import pytest
import torch
from torch.testing import assert_close
from torchmetrics.detection import MeanAveragePrecision

from mapping_lib.detection import Detections
from mapping_lib.lab.detecting import (
    WIDTHS,
    CentreHead,
    Course,
    Detector,
    Pyramid,
    adapt_statistics,
    bootstrap,
    detect,
    errors,
    jittered,
    joined,
    matches,
    mirrored,
    only,
    pseudo_labelled,
    pyramid_maps,
    scored,
    train,
    wanted,
)
from mapping_lib.lab.scenes import THINGS, scenes


@pytest.fixture(scope="module")
def few():
    return scenes(4, seed=0, size=64)


def detector(seed=0, **options):
    return Detector(tuple(THINGS), pretrained=False, seed=seed, width=16, **options)


def test_pyramid_has_the_strides_and_widths():
    levels = Pyramid(pretrained=False).eval()(torch.rand(1, 3, 64, 96))
    assert [level.shape[1] for level in levels] == list(WIDTHS)
    assert [tuple(level.shape[2:]) for level in levels] == [(16, 24), (8, 12), (4, 6), (2, 3)]


def test_pyramid_ends_where_the_backbones_features_begin():
    from mapping_lib.lab import backbones

    torch.manual_seed(0)
    model = backbones.efficientnet_lite0(pretrained=True)
    images = torch.rand(1, 3, 64, 64)
    last = Pyramid().eval()(images)[-1]
    seen = {}
    model.body.blocks[-1].register_forward_hook(lambda m, i, o: seen.update(o=o))
    model.features(images)
    assert_close(last, seen["o"])


def test_head_begins_without_centres():
    head = CentreHead(3, width=16)
    sides = (16, 8, 4, 2)
    levels = tuple(torch.zeros(2, c, n, n) for c, n in zip(WIDTHS, sides, strict=True))
    heat, size, offset = head(levels)
    assert heat.shape == (2, 3, 16, 16)
    assert size.shape == offset.shape == (2, 2, 16, 16)
    assert heat.sigmoid().max() < 0.1


def test_weights_depend_on_the_seed_alone():
    first = detector(0).state_dict()
    torch.rand(3)
    for name, value in detector(0).state_dict().items():
        assert_close(value, first[name])
    assert not torch.equal(detector(1).head.heat.weight, first["head.heat.weight"])


def test_wanted_rows_renumber_their_scenes(few):
    due = wanted(few)
    part = due.rows(torch.tensor([2, 0]))
    assert_close(part.heat[0], due.heat[2])
    assert set(part.cells[:, 0].tolist()) == {0, 1}
    n = [len(boxes) for boxes in few.boxes]
    assert (part.cells[:, 0] == 0).sum() == n[2]
    assert (part.cells[:, 0] == 1).sum() == n[0]
    assert len(part.sizes) == len(part.offsets) == n[0] + n[2]
    for image, row, column in part.cells.tolist():
        assert part.heat[image, :, row, column].max() == 1


def test_images_of_several_sizes_are_refused(few):
    mixed = replace(
        few,
        images=(torch.rand(3, 96, 96), *few.images[1:]),
        masks=(None,) * 4,
    )
    with pytest.raises(ValueError, match=r"several sizes.*scenes\.fitted"):
        wanted(mixed)


def test_mirror_twice_is_the_scene(few):
    both = mirrored(few)
    assert len(both) == 8
    assert_close(both.images[4].flip(2), few.images[0])
    again = mirrored(replace(both, images=both.images[4:], boxes=both.boxes[4:],
                             labels=both.labels[4:], masks=both.masks[4:]))  # fmt: skip
    assert_close(again.boxes[4], few.boxes[0])
    assert torch.equal(again.masks[4], few.masks[0])


def test_only_one_class_stays(few):
    stars = only(few, "star")
    assert stars.classes == ("star",)
    wanted_number = sum(int((labels == 3).sum()) for labels in few.labels)
    assert sum(map(len, stars.boxes)) == wanted_number
    assert len(stars) == 4
    with pytest.raises(ValueError, match="unknown name 'stars'"):
        only(few, "stars")


def test_joined_keeps_both(few):
    assert len(joined(few, few)) == 8
    with pytest.raises(ValueError, match="classes differ"):
        joined(few, only(few, "star"))


@pytest.mark.parametrize(
    "course",
    [
        Course(steps=3, batch=2),
        Course(steps=3, batch=2, body_rate=1e-3),
        Course(steps=3, batch=2, body_rate=1e-3, statistics_fixed=False),
    ],
)
def test_training_moves_what_it_should(few, course):
    model = detector()
    before = {name: value.clone() for name, value in model.state_dict().items()}
    train(model, few, course, seed=0)
    after = model.state_dict()
    changed = {name for name, value in after.items() if not torch.equal(value, before[name])}
    assert any(name.startswith("head") for name in changed)
    body = {name for name in changed if name.startswith("pyramid")}
    statistics = {name for name in body if "running" in name or "num_batches" in name}
    assert bool(body - statistics) == (course.body_rate > 0)
    assert bool(statistics) == (not course.statistics_fixed)
    assert len(course.losses) == 3
    assert not model.training


def test_training_depends_on_the_seed_alone(few):
    runs = []
    for seed in (0, 0, 1):
        model = train(detector(), few, Course(steps=2, batch=2), seed=seed)
        torch.rand(1)
        runs.append(model.head.heat.weight.detach())
    assert_close(runs[0], runs[1])
    assert not torch.equal(runs[0], runs[2])


def test_frozen_maps_give_the_same_step_as_images(few):
    """A frozen pyramid's maps, computed once, are those that each step would compute."""
    model = detector()
    levels = pyramid_maps(model.pyramid, torch.stack(few.images), batch=3)
    with torch.no_grad():
        direct = model.eval()(torch.stack(few.images))
        cached = model.head(levels)
    for a, b in zip(direct, cached, strict=True):
        assert_close(a, b, atol=1e-4, rtol=1e-4)


def test_training_refuses(few):
    with pytest.raises(ValueError, match="the detector knows"):
        train(detector(), only(few, "star"), Course(steps=1), seed=0)


def test_jitter_changes_images_alone(few):
    a, b = (jittered(few, seed=s) for s in (0, 0))
    assert_close(torch.stack(a.images), torch.stack(b.images))
    assert not torch.equal(a.images[0], few.images[0])
    assert a.boxes is few.boxes
    assert min(image.min() for image in a.images) >= 0
    assert max(image.max() for image in a.images) <= 1


def test_boxes_lie_in_the_image(few):
    for guess in detect(detector(), few.images):
        assert len(guess.boxes) <= 100
        assert guess.boxes.min() >= 0
        assert guess.boxes.max() <= 64
        assert ((guess.boxes[:, 2:] - guess.boxes[:, :2]) > 0).all()
    assert all(len(g.scores) == 0 for g in detect(detector(), few.images, least=0.99))


def test_statistics_become_those_of_the_images(few):
    model = detector()
    weights = model.pyramid.stem[0].weight.clone()
    images = torch.stack(few.images)
    adapt_statistics(model, images, batch=2)
    with torch.no_grad():
        seen = model.pyramid.stem[0]((images - model.pyramid.mean) / model.pyramid.std)
    norm = model.pyramid.stem[1]
    assert_close(norm.running_mean, seen.mean((0, 2, 3)), atol=1e-4, rtol=1e-3)
    assert_close(weights, model.pyramid.stem[0].weight)
    assert not model.training


def test_pseudo_labels_are_the_detectors(few):
    guessed = pseudo_labelled(detector(), few, least=0.0)
    assert_close(guessed.boxes[0], detect(detector(), few.images)[0].boxes)
    none = pseudo_labelled(detector(), few, least=0.999)
    assert all(len(boxes) == 0 for boxes in none.boxes)


def noisy(found, seed):
    generator = torch.Generator().manual_seed(seed)
    guesses = []
    for boxes, labels in zip(found.boxes, found.labels, strict=True):
        moved = boxes.repeat(2, 1) + 4 * torch.randn(2 * len(boxes), 4, generator=generator)
        moved = moved.clamp(0, 64)
        moved[:, 2:] = torch.maximum(moved[:, 2:], moved[:, :2] + 1)
        order = torch.rand(len(moved), generator=generator).sort(descending=True)
        guesses.append(Detections(moved, order.values, labels.repeat(2)))
    return guesses


@pytest.mark.parametrize("seed", [0, 1])
def test_scores_are_those_of_pycocotools(few, seed):
    guesses = noisy(few, seed)
    metric = MeanAveragePrecision(
        iou_thresholds=np.linspace(0.5, 0.95, 10).tolist(),
        rec_thresholds=np.linspace(0, 1, 101).tolist(),
    )
    metric.update(
        [guess._asdict() for guess in guesses],
        [{"boxes": b, "labels": k} for b, k in zip(few.boxes, few.labels, strict=True)],
    )
    due, found = metric.compute(), scored(guesses, few)
    assert found["ap"] == pytest.approx(due["map"].item(), abs=1e-6)
    assert found["ap50"] == pytest.approx(due["map_50"].item(), abs=1e-6)
    assert found["ap75"] == pytest.approx(due["map_75"].item(), abs=1e-6)


def perfect(found):
    return [
        Detections(boxes, torch.ones(len(boxes)), labels)
        for boxes, labels in zip(found.boxes, found.labels, strict=True)
    ]


def test_perfect_and_empty_detections(few):
    assert scored(perfect(few), few) == {"ap": 1.0, "ap50": 1.0, "ap75": 1.0}
    assert bootstrap(perfect(few), few, draws=5) == (1.0, 1.0)
    none = [Detections(torch.zeros(0, 4), torch.zeros(0), torch.zeros(0).long())] * 4
    assert scored(none, few)["ap"] == 0
    with pytest.raises(ValueError, match="2 sets of detections for 4 images"):
        matches(none[:2], few)


def test_interval_holds_the_value(few):
    guesses = noisy(few, 0)
    low, high = bootstrap(guesses, few, draws=50)
    assert low <= scored(guesses, few)["ap50"] <= high


def test_each_error_has_its_name():
    found = scenes(1, seed=0, size=64, things=(3, 3))
    box, label = found.boxes[0], found.labels[0]
    a, b, _ = box
    wrong = (label[1] + 1) % 6
    shifted = b.clone()
    shifted[[0, 2]] += 0.5 * (b[2] - b[0])
    far = torch.tensor([0.0, 0.0, 2.0, 2.0])
    rows = [
        (a, 0.9, label[0]),  # right
        (a, 0.8, label[0]),  # once more
        (b, 0.7, wrong),  # another class
        (shifted, 0.6, label[1]),  # beside
        (far, 0.5, label[0]),  # nothing there
    ]
    guess = Detections(
        torch.stack([r[0] for r in rows]),
        torch.tensor([r[1] for r in rows]),
        torch.stack([torch.as_tensor(r[2]) for r in rows]),
    )
    counted = errors([guess], found, least=0.3)
    assert counted == {
        "right": 1,
        "duplicate": 1,
        "other class": 1,
        "beside": 1,
        "nothing there": 1,
        "missed": 2,
    }
