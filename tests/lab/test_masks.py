import numpy as np
import pytest
import torch
from PIL import Image

from mapping_lib.lab.masks import divided, masked_folder
from mapping_lib.lab.scenes import fitted
from mapping_lib.lab.segmenting import masks_of, names

CLASSES = ("soil", "leaf", "root")


def picture(path, width=6, height=4):
    Image.new("RGB", (width, height), "green").save(path)


def mask(path, numbers, mode=None):
    pixels = np.array(numbers, np.uint8)
    drawn = Image.fromarray(pixels)
    (drawn.convert(mode) if mode else drawn).save(path)


@pytest.fixture
def own(tmp_path):
    images, masks = tmp_path / "images", tmp_path / "masks"
    images.mkdir()
    masks.mkdir()
    picture(images / "a.jpg")
    picture(images / "b.png", 3, 2)
    rows = np.zeros((4, 6))
    rows[1, 2], rows[3, 5] = 2, 255
    mask(masks / "a.png", rows)
    mask(masks / "b.png", [[0, 1, 1], [0, 0, 1]])
    (masks / ".hidden").write_text("")
    return images, masks


def read(own, **options):
    return masked_folder(*own, classes=CLASSES, **options)


def test_numbers_are_read(own):
    found = read(own)
    assert found.files == ("a.png", "b.png")
    assert names(found) == CLASSES
    assert found.masks[0][1, 2] == 2
    assert found.masks[0][3, 5] == 255
    assert found.masks[1].tolist() == [[0, 1, 1], [0, 0, 1]]
    square = masks_of(fitted(found, size=6))
    assert square.shape == (2, 6, 6)
    assert set(square[0, 4:].flatten().tolist()) == {255}


def test_a_palette_gives_its_numbers(own):
    drawn = Image.fromarray(np.array([[0, 1, 1], [2, 0, 1]], np.uint8), mode="P")
    drawn.putpalette([0, 0, 0, 200, 0, 0, 0, 200, 0])
    drawn.save(own[1] / "b.png")
    assert read(own).masks[1].tolist() == [[0, 1, 1], [2, 0, 1]]


def test_another_number_may_be_ignored(own):
    mask(own[1] / "a.png", np.full((4, 6), 9))
    assert (read(own, ignored=9).masks[0] == 255).all()


def test_deep_and_black_and_white_masks_are_numbers(own):
    Image.fromarray(np.full((4, 6), 2, np.uint16)).save(own[1] / "a.png")
    mask(own[1] / "b.png", [[0, 255, 0]] * 2, "1")
    found = read(own)
    assert (found.masks[0] == 2).all()
    assert found.masks[1].tolist() == [[0, 1, 0]] * 2


def test_a_mask_of_another_size(own):
    mask(own[1] / "a.png", np.zeros((6, 4)))
    with pytest.raises(ValueError, match=r"a\.png has 4 × 6 pixels, its picture a\.jpg 6 × 4"):
        read(own)


@pytest.mark.parametrize("mode", ["RGB", "RGBA", "LA"])
def test_a_mask_in_colours(own, mode):
    mask(own[1] / "b.png", [[0, 7, 7]] * 2, mode)
    with pytest.raises(ValueError, match=rf"b\.png holds colours \({mode}: .*number a pixel"):
        read(own)


def test_a_number_without_a_name(own):
    mask(own[1] / "b.png", [[0, 1, 1], [0, 3, 3]])
    words = r"b\.png has the number 3 in 2 pixels \(first in row 1, column 1\), which has no name"
    with pytest.raises(ValueError, match=words):
        read(own)
    mask(own[1] / "b.png", [[0, 255, 255]] * 2)
    with pytest.raises(ValueError, match=r"number 255 .*divide by 255"):
        read(own, ignored=9)


def test_a_lossy_mask(own):
    (own[1] / "b.png").unlink()
    mask(own[1] / "b.jpg", [[0, 1, 1]] * 2)
    with pytest.raises(ValueError, match=r"b\.jpg is saved as \.jpg, which may change"):
        read(own)


@pytest.mark.parametrize("folder", [0, 1])
def test_a_torn_file(own, folder):
    path = sorted(own[folder].glob("b.*"))[0]
    path.write_bytes(path.read_bytes()[:40])
    with pytest.raises(ValueError, match=r"b\.png can't be read as a (picture|mask)"):
        read(own)


def test_what_is_missing(own):
    (own[1] / "c.png").write_bytes((own[1] / "b.png").read_bytes())
    with pytest.raises(ValueError, match=r"c\.png has no picture of its name"):
        read(own)
    (own[1] / "c.png").unlink()
    (own[1] / "a.png").unlink()
    with pytest.raises(ValueError, match=r"a\.jpg has no mask of its name"):
        read(own)
    (own[1] / "b.png").unlink()
    with pytest.raises(ValueError, match="masks holds no masks"):
        read(own)
    with pytest.raises(ValueError, match="nowhere is no folder"):
        masked_folder(own[0], own[1] / "nowhere", classes=CLASSES)
    with pytest.raises(ValueError, match="holds no picture"):
        masked_folder(own[1], own[0], classes=CLASSES)
    with pytest.raises(ValueError, match="at least two classes"):
        masked_folder(*own, classes=["soil"])


def test_a_class_that_cannot_be_learned_is_named(own):
    found = read(own)
    with pytest.raises(ValueError, match=r"(a\.png shows 'root'|b\.png shows 'leaf')"):
        divided(found, share=0.5, seed=0)


def test_division(own):
    for name in "cdef":
        picture(own[0] / f"{name}.png")
        mask(own[1] / f"{name}.png", np.zeros((4, 6)))
    for name in "ab":
        (own[1] / f"{name}.png").unlink()
        (own[0] / ("a.jpg" if name == "a" else "b.png")).unlink()
    kept, held = divided(read(own), share=0.25, seed=0)
    assert (len(kept), len(held)) == (3, 1)
    assert sorted(kept.files + held.files) == [f"{name}.png" for name in "cdef"]
    assert (kept.split, held.split) == ("train", "test")
    assert torch.equal(held.masks[0], torch.zeros(4, 6, dtype=torch.int64))
    for share in (0, 1):
        with pytest.raises(ValueError, match="between 0 and 1"):
            divided(kept, share=share, seed=0)
    with pytest.raises(ValueError, match="two pictures are the least"):
        divided(held, share=0.5, seed=0)
