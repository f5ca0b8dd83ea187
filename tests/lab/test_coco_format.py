import json
from dataclasses import replace

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from pycocotools import mask as theirs

from mapping_lib.detection import Detections
from mapping_lib.lab.boxes import read_coco
from mapping_lib.lab.coco_format import (
    coco_scores,
    detections_as_coco,
    from_run_lengths,
    polygons,
    run_lengths,
    write_coco,
)
from mapping_lib.lab.detecting import scored
from mapping_lib.lab.scenes import scenes

CATEGORIES = [5, 13, 87, 40, 77, 28]
IMAGES = [139, 285, 632]


@pytest.fixture(scope="module")
def made():
    return scenes(3, seed=1, size=96, things=(2, 3))


@given(
    height=st.integers(1, 7),
    width=st.integers(1, 7),
    seed=st.integers(0, 99),
    share=st.floats(0, 1),
)
def test_runs_are_those_of_pycocotools(height, width, seed, share):
    drawn = torch.rand(height, width, generator=torch.Generator().manual_seed(seed))
    mask = drawn < share
    runs = run_lengths(mask)
    assert sum(runs["counts"]) == height * width
    assert all(count > 0 for count in runs["counts"][1:])
    assert torch.equal(from_run_lengths(runs), mask)
    packed = theirs.frPyObjects(runs, height, width)
    assert np.array_equal(theirs.decode(packed), mask.numpy())


def test_wrong_runs_are_refused():
    with pytest.raises(ValueError, match="sum to 5, but 2 × 3 is 6"):
        from_run_lengths({"size": [2, 3], "counts": [2, 3]})
    with pytest.raises(ValueError, match="compressed"):
        from_run_lengths({"size": [2, 3], "counts": "52203"})


def test_polygon_of_a_rectangle_is_the_rectangle_but_for_corners():
    mask = torch.zeros(9, 12)
    mask[2:6, 3:10] = 1
    (outline,) = polygons(mask)
    decoded = theirs.decode(theirs.merge(theirs.frPyObjects([outline], 9, 12)))
    wrong = np.argwhere(decoded != mask.numpy()).tolist()
    assert all(place in ([2, 3], [2, 9], [5, 3], [5, 9]) for place in wrong)


def test_polygons_lose_a_hole():
    mask = torch.ones(12, 12)
    mask[4:8, 4:8] = 0
    decoded = theirs.decode(theirs.merge(theirs.frPyObjects(polygons(mask), 12, 12)))
    assert decoded[5, 5] == 1


def test_what_is_written_is_read_again(made, tmp_path):
    path = write_coco(made, tmp_path, categories=CATEGORIES, images=IMAGES)
    held = json.loads(path.read_text())
    assert [row["id"] for row in held["categories"]] == sorted(CATEGORIES)
    assert {row["license"] for row in held["images"]} == {1, 2}
    found = read_coco(tmp_path, path)
    for before, after in zip(made.boxes, found.boxes, strict=True):
        assert torch.equal(before, after)
    names = [[made.classes[k] for k in labels] for labels in made.labels]
    assert names == [[found.classes[k] for k in labels] for labels in found.labels]
    areas = [row["area"] for row in held["annotations"]]
    assert sum(areas) == sum(int((mask > 0).sum()) for mask in made.masks)


def test_what_cannot_be_written_is_refused(made, tmp_path):
    with pytest.raises(ValueError, match="categories: 6 different numbers are due"):
        write_coco(made, tmp_path, categories=[1, 2, 3], images=IMAGES)
    with pytest.raises(ValueError, match="images: 3 different numbers are due"):
        write_coco(made, tmp_path, categories=CATEGORIES, images=[1, 1, 2])
    with pytest.raises(ValueError, match="scene 0 has no mask"):
        write_coco(replace(made, masks=(None,) * 3), tmp_path, categories=CATEGORIES, images=IMAGES)
    doubled = replace(
        made,
        boxes=tuple(torch.cat([boxes, boxes[:1]]) for boxes in made.boxes),
        labels=tuple(torch.cat([labels, labels[:1]]) for labels in made.labels),
    )
    with pytest.raises(ValueError, match="two things of the class"):
        write_coco(doubled, tmp_path, categories=CATEGORIES, images=IMAGES)


def test_score_is_the_books(made, tmp_path):
    path = write_coco(made, tmp_path, categories=CATEGORIES, images=IMAGES)
    generator = torch.Generator().manual_seed(0)
    guesses = [
        Detections(
            boxes + 2.5 * torch.randn(boxes.shape, generator=generator),
            torch.rand(len(boxes), generator=generator),
            labels,
        )
        for boxes, labels in zip(made.boxes, made.labels, strict=True)
    ]
    rows = detections_as_coco(guesses, images=IMAGES, categories=CATEGORIES)
    theirs, ours = coco_scores(path, rows), scored(guesses, made)
    assert 0.05 < theirs["ap"] < 0.95
    assert theirs["ap"] == pytest.approx(ours["ap"], abs=1e-6)
    assert theirs["ap50"] == pytest.approx(ours["ap50"], abs=1e-6)


def test_score_says_what_is_wrong(made, tmp_path, capsys):
    path = write_coco(made, tmp_path, categories=CATEGORIES, images=IMAGES)
    with pytest.raises(ValueError, match="there are no detections"):
        coco_scores(path, [])
    row = {"image_id": 7, "category_id": 5, "bbox": [0, 0, 1, 1], "score": 0.5}
    with pytest.raises(ValueError, match="has no image 7"):
        coco_scores(path, [row])
    assert capsys.readouterr().out == ""
