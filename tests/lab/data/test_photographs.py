import numpy as np
import pytest
import torch
from PIL import Image

from mapping_lib.lab.data import photograph, photographs, transfer_problem
from mapping_lib.lab.data.photographs import _patch


def test_photographs():
    train, test = photographs(2, seed=0, size=32, test_per_class=3)
    assert train.images.shape == (40, 3, 32, 32)
    assert test.images.shape == (60, 3, 32, 32)
    assert train.images.dtype == torch.float32
    assert train.labels.bincount().tolist() == [2] * 20
    assert test.labels.bincount().tolist() == [3] * 20
    assert train.classes == test.classes
    assert len(set(train.classes)) == 20
    assert {"china", "flower", "astronaut", "clock", "motorcycle"} <= set(train.classes)
    assert (train.split, test.split) == ("train", "test")
    assert torch.equal(train.images[:, 0], train.images[:, 2])  # grey


def test_photographs_are_drawn_by_the_seed():
    train, test = photographs(2, seed=0, size=24, test_per_class=2)
    again, _ = photographs(2, seed=0, size=24, test_per_class=2)
    other, same_test = photographs(2, seed=1, size=24, test_per_class=2)
    assert torch.equal(train.images, again.images)
    assert not torch.equal(train.images, other.images)
    assert torch.equal(test.images, same_test.images)
    more, _ = photographs(5, seed=0, size=24, test_per_class=1)
    first = [int((more.labels == k).nonzero()[i]) for k in range(20) for i in range(2)]
    assert torch.equal(more.images[first], train.images)


def test_one_photograph():
    china = photograph("china", size=64)
    assert china.images.shape == (1, 3, 64, 64)
    assert china.classes == ("china",)
    assert not torch.equal(china.images[:, 0], china.images[:, 2])
    with pytest.raises(ValueError, match="no photograph 'cofee'; did you mean 'coffee'"):
        photograph("cofee")


@pytest.mark.parametrize("half", [0, 1])
def test_patches_stay_in_their_half(half):
    # A picture whose left half is black and whose right half is white; the jitter can't hide it.
    for width in (100, 101):
        pixels = np.zeros((60, width), np.uint8)
        pixels[:, width - width // 2 :] = 255
        pixels[:, width // 2 : width - width // 2] = 128
        picture = Image.fromarray(pixels)
        for seed in range(40):
            patch = _patch(picture, half, 16, np.random.default_rng(seed))
            assert patch.shape == (16, 16)
            assert patch.std() < 1e-6
            assert patch.mean() <= 0.21 if half == 0 else patch.mean() >= 0.79


@pytest.mark.parametrize("wrong", ["labels_per_class", "size", "test_per_class"])
def test_counts_below_one(wrong):
    settings = {"labels_per_class": 1, "size": 8, "test_per_class": 1} | {wrong: 0}
    with pytest.raises(ValueError, match=f"{wrong} must be at least 1 and whole, got 0"):
        photographs(seed=0, **settings)


def test_more_patches_than_memory():
    with pytest.raises(ValueError, match="20 pictures, 96 pixels wide, take 2212 GB: ask for"):
        photographs(10**6, seed=0)


@pytest.mark.parametrize("seed", [-1, 1.5, "1", None])
def test_bad_seeds(seed):
    with pytest.raises(ValueError, match=r"seed must be a whole number from 0, got"):
        photographs(1, seed=seed, size=8)


def test_transfer_problem_of_an_unknown_tier():
    with pytest.raises(ValueError, match=r"'ful'; did you mean 'full'\?"):
        transfer_problem("ful", seed=0)


@pytest.mark.parametrize("tier", ["bundled", "full"])
def test_transfer_problem_without_downloads(tier):
    train, test = transfer_problem(tier, seed=3, labels_per_class=2)
    expected, _ = photographs(2, seed=3, size=96, test_per_class=1)
    assert torch.equal(train.images, expected.images)
    assert len(test) == 400
