from dataclasses import replace

import numpy as np
import pytest
import torch
from torchmetrics import JaccardIndex

from mapping_lib.lab.data import Scenes
from mapping_lib.lab.detecting import pyramid_maps
from mapping_lib.lab.scenes import scenes
from mapping_lib.lab.segmenting import (
    GROUPS,
    Course,
    Segmenter,
    adapt_statistics,
    bootstrap,
    chosen,
    confusions,
    grouped,
    joined,
    logits_of,
    masks_of,
    names,
    overlaps,
    pseudo_labelled,
    scored,
    segment,
    segmentation_loss,
    train,
)
from mapping_lib.segmentation import pixel_entropy


@pytest.fixture(scope="module")
def few():
    return scenes(4, seed=0, size=32, sides=(0.2, 0.6))


def small(found, **options):
    return Segmenter(names(found), pretrained=False, width=8, **options).eval()


def test_logits_have_the_images_size_and_the_frozen_way_is_the_same(few):
    segmenter = small(few)
    images = torch.stack(few.images)
    whole = logits_of(segmenter, images, batch=3)
    assert whole.shape == (4, 7, 32, 32)
    levels = pyramid_maps(segmenter.encoder, images, batch=3)
    assert [level.shape[-1] for level in levels] == [16, 8, 4, 2, 1]
    with torch.no_grad():
        assert torch.allclose(segmenter.decode(levels), whole, atol=1e-5)
    assert torch.equal(segment(segmenter, few.images), whole.argmax(1))


def test_without_skips_the_coarsest_map_alone_decides(few):
    segmenter = small(few, skips=False)
    levels = list(pyramid_maps(segmenter.encoder, torch.stack(few.images)))
    with torch.no_grad():
        before = segmenter.decode(tuple(levels))
        levels[0] = levels[0] + 1
        assert torch.equal(segmenter.decode(tuple(levels)), before)


def test_training_is_repeatable_and_lowers_the_loss(few):
    course = Course(steps=25, batch=4)
    first = train(small(few), few, course, seed=1)
    again = train(small(few), few, Course(steps=25, batch=4), seed=1)
    assert torch.equal(logits_of(first, few.images), logits_of(again, few.images))
    assert np.mean(course.losses[-5:]) < np.mean(course.losses[:5]) - 0.2
    assert len(course.losses) == 25


def test_a_frozen_encoder_stays_as_it_is(few):
    segmenter = small(few)
    before = {k: v.clone() for k, v in segmenter.encoder.state_dict().items()}
    train(segmenter, few, Course(steps=2, batch=2), seed=0)
    assert all(torch.equal(v, before[k]) for k, v in segmenter.encoder.state_dict().items())
    train(segmenter, few, Course(steps=1, batch=2, encoder_rate=1e-3), seed=0)
    changed = [
        k for k, v in segmenter.encoder.state_dict().items() if not torch.equal(v, before[k])
    ]
    assert changed
    assert not any("running" in name for name in changed)


def test_entropy_makes_unlabelled_images_surer(few):
    other = torch.stack(scenes(4, seed=9, size=32).images)
    left = {}
    for weight in (0.0, 3.0):
        segmenter = small(few)
        unlabelled = other if weight else None
        course = Course(steps=20, batch=4, entropy=weight)
        train(segmenter, few, course, seed=0, unlabelled=unlabelled)
        left[weight] = pixel_entropy(logits_of(segmenter, other)).mean()
    assert left[3.0] < left[0.0]


def test_training_refuses(few):
    with pytest.raises(ValueError, match="the segmenter knows"):
        train(Segmenter(["a", "b"], pretrained=False), few, Course(steps=1), seed=0)
    with pytest.raises(ValueError, match="due together"):
        train(small(few), few, Course(steps=1, entropy=1.0), seed=0)
    with pytest.raises(ValueError, match="due together"):
        train(small(few), few, Course(steps=1), seed=0, unlabelled=torch.stack(few.images))
    nothing = replace(
        few,
        masks=tuple(torch.full_like(mask, 255) for mask in few.masks),
        regions=few.regions | {255: "ignored"},
    )
    with pytest.raises(ValueError, match="no pixel is labelled"):
        train(small(few), nothing, Course(steps=1), seed=0)
    broken = small(few)
    torch.nn.init.constant_(broken.decoder.last.weight, 1e38)
    with pytest.raises(FloatingPointError, match="not finite"):
        train(broken, few, Course(steps=2, batch=2, dice=0.0), seed=0)


def test_the_loss_counts_labelled_pixels_alone():
    logits = torch.randn(1, 3, 2, 2, generator=torch.Generator().manual_seed(0))
    mask = torch.tensor([[[0, 255], [255, 2]]])
    p = logits.log_softmax(1)
    due = -(p[0, 0, 0, 0] + p[0, 2, 1, 1]) / 2
    assert torch.isclose(segmentation_loss(logits, mask, dice=0.0), due)
    assert segmentation_loss(logits, torch.full_like(mask, 255)) == 0


def test_scores_are_those_of_torchmetrics(few):
    masks = masks_of(few)
    generator = torch.Generator().manual_seed(0)
    noise = torch.randint(7, masks.shape, generator=generator)
    guesses = torch.where(torch.rand(masks.shape, generator=generator) < 0.7, masks, noise)
    masks = masks.clone()
    masks[0, :8] = 255
    due = JaccardIndex(task="multiclass", num_classes=7, ignore_index=255)(guesses, masks)
    found = scored(guesses, masks, 7)
    assert found["miou"] == pytest.approx(float(due), abs=1e-6)
    known = masks != 255
    assert found["accuracy"] == pytest.approx(float((guesses == masks)[known].float().mean()))
    low, high = bootstrap(guesses, masks, 7, draws=50)
    assert low <= found["miou"] <= high


def test_overlap_by_hand_and_an_absent_class():
    guess = torch.tensor([[[0, 0, 1]]])
    mask = torch.tensor([[[0, 1, 1]]])
    table = confusions(guess, mask, 3)[0]
    assert table.tolist() == [[1, 0, 0], [1, 1, 0], [0, 0, 0]]
    found = overlaps(table)
    assert found[:2].tolist() == [0.5, 0.5]
    assert found[2].isnan()
    assert scored(guess, mask, 3)["miou"] == 0.5
    with pytest.raises(ValueError, match="not alike"):
        confusions(guess, mask[..., :2], 3)


def test_pseudo_labels_take_the_masks_place(few):
    segmenter = small(few)
    hidden = replace(few, masks=(None,) * len(few))
    for sure in ({"threshold": 0.2}, {"share": 0.5}):
        guessed = pseudo_labelled(segmenter, hidden, **sure)
        said, masks = segment(segmenter, few.images), masks_of(guessed)
        kept = masks != 255
        assert kept.any()
        if "threshold" in sure:  # thresholds by class may turn a label round
            assert torch.equal(masks[kept], said[kept])
        both = joined(few, guessed)
        assert len(both) == 8
        assert names(both) == names(few)
    for wrong in ({}, {"threshold": 0.5, "share": 0.5}):
        with pytest.raises(ValueError, match="threshold or share"):
            pseudo_labelled(segmenter, few, **wrong)


def test_statistics_become_those_of_the_images(few):
    segmenter = small(few)
    before = segmenter.encoder.stem[1].running_mean.clone()
    adapt_statistics(segmenter, few.images)
    assert not torch.equal(segmenter.encoder.stem[1].running_mean, before)


def real(names_of_regions):
    masks = (torch.tensor([[0, 1], [2, 255]]), None)
    return Scenes(
        (torch.zeros(3, 2, 2),) * 2,
        (torch.zeros(0, 4),) * 2,
        (torch.zeros(0, dtype=torch.int64),) * 2,
        ("thing",),
        masks,
        names_of_regions,
        entry="coco128",
        split="train",
    )


def test_categories_become_groups():
    found = real({0: "unlabeled", 1: "grass", 2: "cat", 255: "outside"})
    two = grouped(found, {"ground": ["grass"]})
    assert len(two) == 1
    assert names(two) == ("ground", "other")
    assert two.masks[0].tolist() == [[255, 0], [1, 255]]
    one = grouped(found, {"ground": ["grass"]}, rest=None)
    assert one.masks[0].tolist() == [[255, 0], [255, 255]]
    with pytest.raises(ValueError, match="no category 'moss'"):
        grouped(found, {"ground": ["moss"]})
    with pytest.raises(ValueError, match="counted from 0"):
        names(real({1: "grass", 0: "unlabeled", 2: "cat", 7: "x", 255: "outside"}))
    with pytest.raises(ValueError, match="1 of 2 scenes have no mask"):
        masks_of(found)


def test_groups_share_no_category():
    members = [name for group in GROUPS.values() for name in group]
    assert len(set(members)) == len(members)


def test_sizes_must_be_one(few):
    odd = chosen(few, [0])
    odd = replace(
        odd,
        images=(*few.images[:1], torch.zeros(3, 4, 4)),
        boxes=(*few.boxes[:1], torch.zeros(0, 4)),
        labels=(*few.labels[:1], torch.zeros(0, dtype=torch.int64)),
        masks=(few.masks[0], torch.zeros(4, 4, dtype=torch.int64)),
    )
    with pytest.raises(ValueError, match=r"scenes\.fitted"):
        masks_of(odd)
    with pytest.raises(ValueError, match="labels differ"):
        joined(few, replace(odd, regions=few.regions | {7: "more"}))
