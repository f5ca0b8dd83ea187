import hashlib
import io
import zipfile
from dataclasses import replace

import numpy as np
import pytest
import torch
from PIL import Image

from mapping_lib.lab import data, registry
from mapping_lib.lab.data import (
    Images,
    handwritten_digits,
    hymenoptera,
    photograph,
    photographs,
    rendered_digits,
    transfer_problem,
)
from mapping_lib.lab.registry import CorruptKnowledge, MissingKnowledge, find


def images(**changes):
    settings = {
        "images": torch.rand(3, 1, 4, 4),
        "labels": torch.tensor([0, 1, 1]),
        "classes": ("a", "b"),
        "domain": "somewhere",
        "split": "all",
    }
    return Images(**(settings | changes))


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"images": torch.rand(3, 4, 4)}, r"shape \(n, channels, height, width\)"),
        ({"images": torch.rand(0, 1, 4, 4), "labels": torch.zeros(0).long()}, "n at least 1"),
        ({"images": torch.ones(3, 1, 4, 4).byte()}, "must be floats"),
        ({"images": torch.full((3, 1, 4, 4), 255.0)}, r"must lie in \[0, 1\].*divide bytes by 255"),
        ({"images": torch.full((3, 1, 4, 4), torch.nan)}, "hold no NaN"),
        ({"labels": torch.tensor([0, 1])}, "labels must be 3 int64 numbers, one an image"),
        ({"labels": torch.tensor([0.0, 1, 1])}, "int64 numbers"),
        ({"labels": torch.tensor([0, 1, 2])}, r"must lie in 0 … 1 \(there are 2 classes\)"),
        ({"labels": torch.tensor([0, -1, 1])}, r"got -1 … 1"),
    ],
)
def test_images_are_checked(changes, words):
    with pytest.raises(ValueError, match=words):
        images(**changes)


def test_images_tell_what_they_are():
    assert repr(images()) == "Images(somewhere, all: 3 of 1×4×4, 2 classes)"
    assert len(images()) == 3


# photographs


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
            patch = data._patch(picture, half, 16, np.random.default_rng(seed))
            assert patch.shape == (16, 16)
            assert patch.std() < 1e-6
            assert patch.mean() <= 0.21 if half == 0 else patch.mean() >= 0.79


@pytest.mark.parametrize("wrong", ["labels_per_class", "size", "test_per_class"])
def test_counts_below_one(wrong):
    settings = {"labels_per_class": 1, "size": 8, "test_per_class": 1} | {wrong: 0}
    with pytest.raises(ValueError, match=f"{wrong} must be at least 1 and whole, got 0"):
        photographs(seed=0, **settings)


# digits


def test_rendered_digits():
    digits = rendered_digits(200, seed=0)
    assert digits.images.shape == (200, 1, 16, 16)
    assert digits.labels.bincount().tolist() == [20] * 10
    assert digits.classes == tuple("0123456789")
    assert torch.equal(digits.images, rendered_digits(200, seed=0).images)
    assert not torch.equal(digits.images, rendered_digits(200, seed=1).images)
    ink = digits.images.mean((1, 2, 3))
    assert ink.min() > 0.02  # something is drawn, white on black
    assert ink.max() < 0.7
    assert rendered_digits(7, seed=0, size=32).images.shape == (7, 1, 32, 32)


def test_rendered_digits_are_told_apart_by_a_nearest_mean():
    train, test = rendered_digits(600, seed=0), rendered_digits(200, seed=1)
    means = torch.stack([train.images[train.labels == k].mean(0).flatten() for k in range(10)])
    distances = torch.cdist(test.images.flatten(1), means)
    assert (distances.argmin(1) == test.labels).double().mean() > 0.35  # chance is 0.1


def test_handwritten_digits():
    digits = handwritten_digits()
    assert digits.images.shape == (1797, 1, 16, 16)
    assert digits.labels[:10].tolist() == list(range(10))
    assert digits.labels.bincount().tolist() == [178, 182, 177, 183, 181, 182, 181, 179, 174, 180]
    small = handwritten_digits(size=8).images
    assert small[0, 0, 0].mul(16).tolist() == [0, 0, 5, 13, 9, 1, 0, 0]  # as scikit-learn has it


def test_digits_below_one():
    with pytest.raises(ValueError, match="n must be at least 1 and whole, got 0"):
        rendered_digits(0, seed=0)
    with pytest.raises(ValueError, match="size must be at least 1 and whole, got -8"):
        handwritten_digits(size=-8)


@pytest.mark.parametrize("seed", [-1, 1.5, "1", None])
@pytest.mark.parametrize("draw", [photographs, rendered_digits])
def test_bad_seeds(draw, seed):
    with pytest.raises(ValueError, match=r"seed must be a whole number from 0, got"):
        draw(1, seed=seed, size=8)


@pytest.mark.parametrize("n", [1.5, "3"])
def test_counts_that_are_not_whole(n):
    with pytest.raises(ValueError, match="n must be at least 1 and whole, got"):
        rendered_digits(n, seed=0)


# ants and bees, from archives made here


def jpeg(width, height, value):
    stream = io.BytesIO()
    Image.new("RGB", (width, height), (value, 0, 0)).save(stream, "JPEG")
    return stream.getvalue()


@pytest.fixture
def archive(tmp_path, monkeypatch):
    """Write an archive, and let the registry take it for the right one."""
    monkeypatch.setenv("MAPPING_DATA", str(tmp_path))
    path = tmp_path / "hymenoptera" / "hymenoptera_data.zip"
    path.parent.mkdir()

    def write(members, damage=lambda content: content):
        stream = io.BytesIO()
        with zipfile.ZipFile(stream, "w") as zipped:
            for name, content in members.items():
                zipped.writestr(name, content)
        path.write_bytes(damage(stream.getvalue()))
        content = path.read_bytes()
        known = find("hymenoptera")
        (file,) = known.files
        sha256 = hashlib.sha256(content).hexdigest()
        file = replace(file, sha256=sha256, size=len(content))
        monkeypatch.setattr(registry, "ENTRIES", (replace(known, files=(file,)),))
        return path

    return write


MEMBERS = {
    "hymenoptera_data/train/ants/2.jpg": jpeg(20, 10, 200),
    "hymenoptera_data/train/ants/1.jpg": jpeg(10, 20, 100),
    "hymenoptera_data/train/bees/3.jpg": jpeg(16, 16, 50),
    "hymenoptera_data/val/bees/4.jpg": jpeg(16, 16, 0),
    "hymenoptera_data/readme.txt": b"no picture",
}


def test_hymenoptera_reads_the_archive(archive):
    archive(MEMBERS)
    train, test = hymenoptera(size=8)
    assert train.images.shape == (3, 3, 8, 8)
    assert train.labels.tolist() == [0, 0, 1]
    assert test.labels.tolist() == [1]
    assert train.classes == ("ants", "bees")
    assert train.images[:, 0].mean((1, 2)).mul(255).round().tolist() == pytest.approx(
        [100, 200, 50], abs=3
    )


def test_an_archive_without_pictures(archive):
    archive({"readme.txt": b"nothing"})
    with pytest.raises(CorruptKnowledge, match="holds no train/ and val/ folders"):
        hymenoptera()


def test_a_damaged_archive(archive):
    archive(MEMBERS, damage=lambda content: content[:-40])
    with pytest.raises(CorruptKnowledge, match=r"can't be read .*is damaged"):
        hymenoptera()


def test_a_damaged_picture(archive):
    archive(MEMBERS | {"hymenoptera_data/train/ants/2.jpg": b"\xff\xd8 no jpeg"})
    with pytest.raises(CorruptKnowledge, match=r"can't be read .*a picture in it is damaged"):
        hymenoptera()


def test_another_archive_is_refused(archive):
    path = archive(MEMBERS)
    path.write_bytes(path.read_bytes() + b" ")
    with pytest.raises(CorruptKnowledge, match="it is torn, or another variant"):
        hymenoptera()


def test_no_archive(monkeypatch, tmp_path):
    monkeypatch.setenv("MAPPING_CACHE", str(tmp_path))
    monkeypatch.delenv("MAPPING_DATA", raising=False)
    with pytest.raises(MissingKnowledge, match="MAPPING_DATA isn't set"):
        hymenoptera()


@pytest.mark.real
def test_the_real_ants_and_bees():
    train, test = hymenoptera(size=32)
    assert train.labels.bincount().tolist() == [123, 121]
    assert test.labels.bincount().tolist() == [70, 83]


# the problem of a tier


def test_transfer_problem(archive):
    archive(MEMBERS)
    train, test = transfer_problem("real", seed=0)
    assert train.images.shape == (3, 3, 224, 224)
    assert test.domain == "hymenoptera"
    with pytest.raises(ValueError, match=r"'ful'; did you mean 'full'\?"):
        transfer_problem("ful", seed=0)


@pytest.mark.parametrize("tier", ["bundled", "full"])
def test_transfer_problem_without_downloads(tier):
    train, test = transfer_problem(tier, seed=3, labels_per_class=2)
    expected, _ = photographs(2, seed=3, size=96, test_per_class=1)
    assert torch.equal(train.images, expected.images)
    assert len(test) == 400
