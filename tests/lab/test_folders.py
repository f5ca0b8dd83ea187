import io
import re

import numpy as np
import pytest
import torch
from PIL import Image

from mapping_lib.lab.folders import read_folder, split_by_class
from mapping_lib.lab.registry import CorruptKnowledge


def save(path, mode="RGB", colour=(200, 100, 50), size=(12, 10), **settings):
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new(mode, size, colour).save(path, **settings)
    return path


@pytest.fixture
def folder(tmp_path):
    """Two classes, three plain pictures."""
    save(tmp_path / "own" / "bees" / "2.png", colour=(0, 0, 250))
    save(tmp_path / "own" / "ants" / "1.jpg", colour=(250, 0, 0))
    save(tmp_path / "own" / "ants" / "3.PNG", colour=(100, 0, 0), size=(9, 30))
    return tmp_path / "own"


def wrong(folder, words, error=ValueError, **settings):
    with pytest.raises(error, match=re.escape(words)):
        read_folder(folder, size=8, **settings)


def test_a_folder_of_two_classes(folder):
    (folder / ".hidden").write_text("")
    (folder / "bees" / "Thumbs.db").write_text("")
    found = read_folder(str(folder), size=8)
    assert found.images.shape == (3, 3, 8, 8)
    assert found.classes == ("ants", "bees")
    assert found.labels.tolist() == [0, 0, 1]
    assert found.files == ("ants/1.jpg", "ants/3.PNG", "bees/2.png")
    assert found.images[1].mean((1, 2)).mul(255).round().tolist() == [100, 0, 0]
    assert repr(found) == "OwnPictures(own, all: 3 of 3×8×8, 2 classes)"


def test_a_camera_held_upright(folder):
    turned = Image.new("RGB", (20, 10), "black")
    turned.paste("white", (0, 0, 10, 10))  # white at the left, shown at the top
    exif = Image.Exif()
    exif[0x0112] = 6  # turn by 90 degrees to the right
    turned.save(folder / "bees" / "turned.png", exif=exif)
    picture = read_folder(folder, size=10).images[3, 0]
    assert picture[:4].min() == 1
    assert picture[6:].max() == 0


@pytest.mark.parametrize(
    ("mode", "colour", "name", "words"),
    [
        ("L", 90, "a.png", "L (grey)"),
        ("RGBA", (0, 100, 0, 128), "a.png", "RGBA (colour with transparency)"),
        ("CMYK", (0, 255, 255, 0), "a.jpg", "CMYK (four printing inks)"),
        ("I;16", 40_000, "a.png", "I;16 (16 or more bits)"),
        ("P", 3, "a.png", "P (a palette of colours)"),
        ("1", 1, "a.png", "1 (black and white)"),
        ("LA", (90, 255), "a.png", "LA (grey with transparency)"),
        ("I", 70_000, "a.tif", "I (16 or more bits)"),
    ],
)
def test_what_is_not_plain_colours_is_named(folder, mode, colour, name, words):
    path = save(folder / "bees" / name, mode, colour)
    wrong(folder, f"{path} isn't plain colours (RGB, 8 bits) but {words}")
    read_folder(folder, size=8, convert=True)


@pytest.mark.parametrize(
    ("mode", "colour", "name", "expected"),
    [
        ("L", 90, "a.png", (90, 90, 90)),
        ("I;16", 257 * 90, "a.png", (90, 90, 90)),  # Pillow's own conversion gives 255
        ("RGBA", (0, 100, 0, 0), "a.png", (255, 255, 255)),
        ("CMYK", (0, 255, 255, 0), "a.tif", (255, 0, 0)),
        ("LA", (90, 255), "a.png", (90, 90, 90)),
    ],
)
def test_conversion(folder, mode, colour, name, expected):
    save(folder / "bees" / name, mode, colour)
    found = read_folder(folder, size=8, convert=True)
    shown = found.images[found.files.index(f"bees/{name}")]
    assert torch.allclose(shown.mean((1, 2)) * 255, torch.tensor(expected).float(), atol=1.5)


def test_a_deep_picture_keeps_its_steps(folder):
    steps = np.arange(0, 65536, 1024, dtype=np.uint16).reshape(8, 8)
    Image.fromarray(steps).save(folder / "bees" / "deep.png")
    found = read_folder(folder, size=8, convert=True)
    shown = found.images[found.files.index("bees/deep.png")]
    assert len(shown[0].unique()) == 64


def test_torn_and_empty_files_are_named(folder):
    stream = io.BytesIO()
    noise = np.random.default_rng(0).integers(0, 255, (40, 40, 3), dtype=np.uint8)
    Image.fromarray(noise).save(stream, "JPEG")
    torn = folder / "bees" / "torn.jpg"
    torn.write_bytes(stream.getvalue()[:-400])
    wrong(folder, f"{torn} can't be read as a picture", CorruptKnowledge)
    torn.write_bytes(b"")
    wrong(folder, f"{torn} can't be read as a picture", CorruptKnowledge)
    torn.write_text("no picture")
    wrong(folder, f"{torn} can't be read as a picture", CorruptKnowledge, convert=True)


def test_folders_that_are_none(tmp_path, folder):
    wrong(tmp_path / "nowhere", "there is no folder", FileNotFoundError)
    wrong(folder / "bees" / "2.png", "is a file; give the folder", NotADirectoryError)
    wrong(folder / "bees", "2.png lies beside the classes")
    (tmp_path / "empty").mkdir()
    wrong(tmp_path / "empty", "at least two classes, it has none")
    save(tmp_path / "single" / "cats" / "1.png")
    wrong(tmp_path / "single", "at least two classes, it has only 'cats'")
    (folder / "wasps").mkdir()
    wrong(folder, f"the class {folder / 'wasps'} has no pictures")


def test_files_that_are_no_pictures(folder):
    (folder / "bees" / "notes.txt").write_text("")
    wrong(folder, "notes.txt is no picture that can be read (.jpg")
    (folder / "bees" / "notes.txt").unlink()
    (folder / "bees" / "more.png").mkdir()
    wrong(folder, "more.png is no picture")


def test_the_same_picture_twice(folder):
    copy = folder / "bees" / "copy.jpg"
    copy.write_bytes((folder / "ants" / "1.jpg").read_bytes())
    wrong(folder, f"{copy} is the same picture as {folder / 'ants' / '1.jpg'}")


def test_split_by_class():
    labels = torch.tensor([0] * 10 + [1] * 2 + [2] * 5)
    kept, held_out = split_by_class(labels, share=0.3, seed=0)
    assert sorted([*kept.tolist(), *held_out.tolist()]) == list(range(17))
    assert labels[held_out].bincount().tolist() == [3, 1, 2]
    again = split_by_class(labels, share=0.3, seed=0)
    assert torch.equal(held_out, again[1])
    assert not torch.equal(held_out, split_by_class(labels, share=0.3, seed=1)[1])
    kept, _ = split_by_class(labels, share=0.99, seed=0)
    assert labels[kept].bincount().tolist() == [1, 1, 1]


def test_split_wants_two_of_each_class():
    with pytest.raises(ValueError, match="class 1 has one example"):
        split_by_class(torch.tensor([0, 0, 1]), share=0.5, seed=0)
    with pytest.raises(ValueError, match="between 0 and 1, got 1"):
        split_by_class(torch.tensor([0, 0]), share=1, seed=0)
