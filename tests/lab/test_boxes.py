import json

import numpy as np
import pytest
from PIL import Image

from mapping_lib.lab.boxes import read_coco, read_yolo

CLASSES = ("cup", "plate")


def save(path, width=20, height=10, mode="RGB"):
    Image.new(mode, (width, height)).save(path)
    return path


@pytest.fixture
def yolo(tmp_path):
    (tmp_path / "images").mkdir()
    (tmp_path / "labels").mkdir()
    save(tmp_path / "images" / "a.png")
    save(tmp_path / "images" / "b.jpg", 8, 8, "L")
    (tmp_path / "labels" / "a.txt").write_text("1 0.5 0.5 0.5 0.4\n\n0 0.9 0.5 0.2 1.0\n")

    def read(classes=CLASSES):
        return read_yolo(tmp_path / "images", tmp_path / "labels", classes=classes)

    return tmp_path, read


def test_yolo_boxes_are_in_pixels(yolo):
    found = yolo[1]()
    assert found.boxes[0].flatten().tolist() == pytest.approx([5, 3, 15, 7, 16, 0, 20, 10])
    assert found.labels[0].tolist() == [1, 0]
    assert found.boxes[1].shape == (0, 4)
    assert [tuple(image.shape) for image in found.images] == [(3, 10, 20), (3, 8, 8)]


@pytest.mark.parametrize(
    ("line", "words"),
    [
        ("1 0.5 0.5 0.5", r"a\.txt, line 2: .* isn't a class and four numbers"),
        ("cup 0.5 0.5 0.5 0.5", "isn't a class and four numbers"),
        ("2 0.5 0.5 0.5 0.5", r"a\.txt, line 2: class 2 has no name; there are 2"),
        ("-1 0.5 0.5 0.5 0.5", "class -1 has no name"),
        ("1 0.5 0.5 0 0.5", r"a\.txt, line 2: the box .* has no area"),
        ("1 0.9 0.5 0.5 0.5", r"a\.txt, line 2: the box .* reaches beyond .* 20 × 10"),
    ],
)
def test_yolo_names_the_line_that_is_wrong(yolo, line, words):
    folder, read = yolo
    (folder / "labels" / "a.txt").write_text("1 0.5 0.5 0.5 0.4\n" + line)
    with pytest.raises(ValueError, match=words):
        read()


def test_yolo_names_the_file_that_is_wrong(yolo):
    folder, read = yolo
    (folder / "labels" / "c.txt").write_text("")
    with pytest.raises(ValueError, match=r"c\.txt has no picture"):
        read()
    (folder / "labels" / "c.txt").unlink()
    torn = (folder / "images" / "a.png").read_bytes()[:40]
    (folder / "images" / "a.png").write_bytes(torn)
    with pytest.raises(ValueError, match=r"a\.png can't be read"):
        read()


def test_deep_pictures_are_refused(yolo):
    folder, read = yolo
    Image.fromarray(np.zeros((4, 4), np.uint16)).save(folder / "images" / "d.png")
    with pytest.raises(ValueError, match=r"d\.png has 16 or more bits"):
        read()


@pytest.mark.parametrize("mode", ["L", "LA", "RGBA", "P", "CMYK"])
def test_other_colours_are_converted(yolo, mode):
    folder, read = yolo
    save(folder / "images" / ("e.tif" if mode == "CMYK" else "e.png"), mode=mode)
    assert {len(image) for image in read().images} == {3}


def test_folders_must_be_there(tmp_path):
    with pytest.raises(ValueError, match="is no folder; give the one that holds the pictures"):
        read_yolo(tmp_path / "no", tmp_path, classes=CLASSES)
    with pytest.raises(ValueError, match="holds no picture"):
        read_yolo(tmp_path, tmp_path, classes=CLASSES)
    save(tmp_path / "a.png")
    with pytest.raises(ValueError, match="the one that holds the text files"):
        read_yolo(tmp_path, tmp_path / "no", classes=CLASSES)


def coco(tmp_path, **changes):
    save(tmp_path / "a.png")
    content = {
        "images": [{"id": 7, "file_name": "a.png"}],
        "categories": [{"id": 1, "name": "cup"}, {"id": 9, "name": "plate"}],
        "annotations": [
            {"id": 1, "image_id": 7, "category_id": 9, "bbox": [1, 2, 3, 4]},
            {"id": 2, "image_id": 7, "category_id": 1, "bbox": [0, 0, 99, 9], "iscrowd": 1},
        ],
    }
    (tmp_path / "boxes.json").write_text(json.dumps(content | changes))
    return read_coco(tmp_path, tmp_path / "boxes.json")


def test_coco_boxes_are_corners_and_crowds_are_left_out(tmp_path):
    found = coco(tmp_path)
    assert found.boxes[0].tolist() == [[1, 2, 4, 6]]
    assert found.labels[0].tolist() == [1]
    assert found.classes == CLASSES


def annotation(**changes):
    return [{"id": 5, "image_id": 7, "category_id": 9, "bbox": [1, 2, 3, 4]} | changes]


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"annotations": annotation(bbox=[1, 2, 0, 4])}, r"annotation 5 of a\.png: .* no area"),
        ({"annotations": annotation(bbox=[10, 2, 30, 4])}, r"a\.png: the box .* beyond"),
        ({"annotations": annotation(bbox=[1, 2, 3])}, "bbox must be left, top"),
        ({"annotations": annotation(category_id=3)}, r"of a\.png: there is no category 3"),
        ({"annotations": annotation(image_id=3)}, "there is no image 3"),
        ({"annotations": [{}]}, "isn't COCO's form"),
        ({"categories": 3}, "isn't COCO's form"),
        ({"images": [{"id": 7, "file_name": "b.png"}]}, r"b\.png, which isn't there"),
        ({"images": [], "annotations": []}, "there are no pictures"),
    ],
)
def test_coco_names_what_is_wrong(tmp_path, changes, words):
    with pytest.raises(ValueError, match=words):
        coco(tmp_path, **changes)


def test_coco_file_must_be_there(tmp_path):
    with pytest.raises(ValueError, match="can't be read"):
        read_coco(tmp_path, tmp_path / "no.json")
    (tmp_path / "torn.json").write_text("{")
    with pytest.raises(ValueError, match="isn't COCO's form"):
        read_coco(tmp_path, tmp_path / "torn.json")
