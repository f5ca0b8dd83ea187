import pytest
import torch
from torch.testing import assert_close

from mapping_lib.lab.data import Scenes
from mapping_lib.lab.scenes import (
    GROUNDS,
    TEXTURES,
    THINGS,
    fitted,
    foggy,
    nightly,
    scenes,
    shifted,
)


@pytest.fixture(scope="module")
def drawn():
    return scenes(12, seed=3, size=96)


def test_first_scenes_are_the_same_for_any_number(drawn):
    few = scenes(2, seed=3, size=96)
    assert_close(torch.stack(few.images), torch.stack(drawn.images[:2]))
    assert_close(few.boxes[1], drawn.boxes[1])
    other = scenes(2, seed=4, size=96)
    assert not torch.equal(few.images[0], other.images[0])


def test_boxes_and_masks_agree(drawn):
    for boxes, labels, mask in zip(drawn.boxes, drawn.labels, drawn.masks, strict=True):
        for box, label in zip(boxes.long(), labels, strict=True):
            left, top, right, bottom = box.tolist()
            inside = mask[top:bottom, left:right] == label + 1
            assert inside[0].any()
            assert inside[-1].any()
            assert inside[:, 0].any()
            assert inside[:, -1].any()
        shown = set(mask.unique().tolist()) - {0}
        assert shown == set((labels + 1).tolist())


def test_numbers_and_sizes_are_as_asked():
    found = scenes(8, seed=0, size=96, things=(1, 3), sides=(0.2, 0.3))
    for boxes in found.boxes:
        assert 1 <= len(boxes) <= 3
        sides = (boxes[:, 2:] - boxes[:, :2]).max(1).values
        assert sides.max() <= 0.3 * 96 + 2
    assert found.classes == tuple(THINGS)
    assert found.regions[0] == "ground"
    assert found.regions[1] == found.classes[0]


def test_halves_are_disjoint():
    assert not set(GROUNDS) & set(TEXTURES)
    train, test = (scenes(1, seed=0, split=split, size=32) for split in ("train", "test"))
    assert not torch.equal(train.images[0], test.images[0])
    assert (train.split, test.split) == ("train", "test")


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"n": 0}, "n must be at least 1"),
        ({"seed": -1}, "seed"),
        ({"split": "tset"}, "unknown split 'tset'"),
        ({"things": (3, 2)}, "things must be"),
        ({"things": (0, 2)}, "things must be"),
        ({"sides": (0.5, 0.4)}, "sides must be"),
        ({"sides": (0.5, 0.95)}, "sides must be"),
    ],
)
def test_scenes_refuses(options, words):
    with pytest.raises(ValueError, match=words):
        scenes(**({"n": 1, "seed": 0, "size": 32} | options))


def test_fog_fades_to_its_own_light_with_the_distance():
    black = foggy(torch.zeros(1, 3, 4, 2), 0.5)
    due = 0.85 * (1 - torch.exp(-torch.tensor([1.0, 0.75, 0.5, 0.25])))
    assert_close(black[0, 0, :, 0], due)
    images = torch.rand(2, 3, 4, 4)
    assert_close(foggy(images, 0.0), images)
    far, near = foggy(images, 1.0)[:, :, 0], foggy(images, 1.0)[:, :, -1]
    assert far.std() < near.std()


def test_night_is_dark_and_blue_and_the_same_for_a_seed():
    images = torch.rand(2, 3, 32, 32)
    assert_close(nightly(images, 0.0, generator=torch.Generator()), images)
    a, b = (shifted(images, "night", 1.0, seed=s) for s in (1, 1))
    assert_close(a, b)
    assert not torch.equal(a, shifted(images, "night", 1.0, seed=2))
    red, _, blue = a.mean((0, 2, 3))
    assert a.mean() < 0.35 * images.mean()
    assert red < blue
    assert_close(shifted(images, "clear"), images)


@pytest.mark.parametrize("strength", [-0.1, 1.1])
def test_strength_is_a_share(strength):
    for weather in ("fog", "night"):
        with pytest.raises(ValueError, match="strength"):
            shifted(torch.rand(1, 3, 2, 2), weather, strength)


def test_unknown_weather():
    with pytest.raises(ValueError, match="unknown shift 'rain'"):
        shifted(torch.rand(1, 3, 2, 2), "rain")


def test_fitted_scales_boxes_with_the_image():
    found = Scenes(
        (torch.rand(3, 20, 40), torch.rand(3, 8, 4)),
        (torch.tensor([[4.0, 2.0, 40.0, 20.0]]), torch.zeros(0, 4)),
        (torch.tensor([0]), torch.zeros(0).long()),
        ("thing",),
        (torch.zeros(20, 40).long(), None),
        {0: "ground"},
        entry="photographs",
        split="test",
    )
    square = fitted(found, size=16)
    assert [image.shape for image in square.images] == [(3, 16, 16)] * 2
    assert_close(square.boxes[0], torch.tensor([[1.6, 0.8, 16.0, 8.0]]))
    assert square.images[0][:, 8:].eq(0.5).all()
    assert square.masks[0][:8].eq(0).all()
    assert square.masks[0][8:].eq(255).all()
    assert square.masks[1] is None


def test_fitted_leaves_no_box_without_area():
    found = Scenes(
        (torch.rand(3, 400, 400),),
        (torch.tensor([[399.0, 399.0, 400.0, 400.0], [0.0, 0.0, 1.0, 1.0]]),),
        (torch.tensor([0, 0]),),
        ("thing",),
        (None,),
        {},
        entry="photographs",
        split="test",
    )
    boxes = fitted(found, size=8).boxes[0]
    assert ((boxes[:, 2:] - boxes[:, :2]) >= 1).all()
