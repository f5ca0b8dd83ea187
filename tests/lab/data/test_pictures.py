import io
import json
import zipfile

import numpy as np
import pytest
import torch
from PIL import Image
from scipy.io import savemat

from mapping_lib.lab.data import (
    coco128,
    hymenoptera,
    office_caltech10,
    office_caltech10_surf,
    omniglot,
    transfer_problem,
)
from mapping_lib.lab.registry import CorruptKnowledge, MissingKnowledge


def encoded(width, height, value, kind="JPEG", mode="RGB"):
    stream = io.BytesIO()
    Image.new(mode, (width, height), (value, 0, 0) if mode == "RGB" else value).save(stream, kind)
    return stream.getvalue()


def zipped(members):
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w") as archive:
        for name, content in members.items():
            archive.writestr(name, content)
    return stream.getvalue()


# ants and bees

HYMENOPTERA = "hymenoptera/hymenoptera_data.zip"
INSECTS = {
    "hymenoptera_data/train/ants/2.jpg": encoded(20, 10, 200),
    "hymenoptera_data/train/ants/1.jpg": encoded(10, 20, 100),
    "hymenoptera_data/train/bees/3.jpg": encoded(16, 16, 50),
    "hymenoptera_data/val/bees/4.jpg": encoded(16, 16, 0),
    "hymenoptera_data/readme.txt": b"no picture",
}


def test_hymenoptera_reads_the_archive(plant):
    plant("hymenoptera", {HYMENOPTERA: zipped(INSECTS)})
    train, test = hymenoptera(size=8)
    assert train.images.shape == (3, 3, 8, 8)
    assert train.labels.tolist() == [0, 0, 1]
    assert test.labels.tolist() == [1]
    assert train.classes == ("ants", "bees")
    assert train.images[:, 0].mean((1, 2)).mul(255).round().tolist() == pytest.approx(
        [100, 200, 50], abs=3
    )
    train, test = transfer_problem("real", seed=0)
    assert train.images.shape == (3, 3, 224, 224)
    assert test.domain == "hymenoptera"


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (zipped({"readme.txt": b"nothing"}), "holds no train/ and val/ folders"),
        (zipped({}), "an archive without files"),
        (zipped(INSECTS)[:-40], r"can't be read .*is damaged"),
        (
            zipped(INSECTS | {"hymenoptera_data/train/ants/2.jpg": b"\xff\xd8 no jpeg"}),
            r"can't be read as an archive of pictures \(UnidentifiedImageError",
        ),
        (
            zipped(INSECTS | {"hymenoptera_data/val/bees/4.jpg": encoded(90, 90, 1)[:-150]}),
            r"can't be read as an archive of pictures \(OSError: Truncated File Read",
        ),
        (zipped(INSECTS | {"../../evil.jpg": b""}), "would land outside its folder"),
    ],
)
def test_damaged_insects(plant, content, words):
    plant("hymenoptera", {HYMENOPTERA: content})
    with pytest.raises(CorruptKnowledge, match=words):
        hymenoptera()


def test_another_archive_is_refused(plant):
    folder = plant("hymenoptera", {HYMENOPTERA: zipped(INSECTS)})
    path = folder / HYMENOPTERA
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


# Office-Caltech-10

OFFICE = "office_caltech10/office_caltech10_images96.zip"


def test_office_pictures(plant):
    pictures = {
        "images/amazon/mug/b.jpg": encoded(12, 9, 40),
        "images/amazon/bike/a.jpg": encoded(9, 12, 80),
        "images/dslr/mug/c.jpg": encoded(9, 9, 120),
    }
    plant("office-caltech10", {OFFICE: zipped(pictures)})
    amazon = office_caltech10("amazon", size=8)
    assert amazon.images.shape == (2, 3, 8, 8)
    assert [amazon.classes[k] for k in amazon.labels] == ["bike", "mug"]
    assert (amazon.entry, amazon.domain) == ("office-caltech10", "amazon")
    with pytest.raises(CorruptKnowledge, match="holds no folder images/webcam"):
        office_caltech10("webcam")
    with pytest.raises(ValueError, match=r"unknown domain 'amzon'; did you mean 'amazon'\?"):
        office_caltech10("amzon")


def test_a_kind_of_thing_that_is_unknown(plant):
    plant("office-caltech10", {OFFICE: zipped({"images/dslr/lamp/a.jpg": encoded(9, 9, 1)})})
    with pytest.raises(CorruptKnowledge, match="can't be read"):
        office_caltech10("dslr")


SURF = "office_caltech10/Caltech10_SURF_L10.mat"


def mat(**variables):
    stream = io.BytesIO()
    savemat(stream, variables)
    return stream.getvalue()


def test_office_surf_features(plant):
    counts = np.array([[1, 0, 3], [2, 2, 0]], np.uint8)
    plant("office-caltech10-surf", {SURF: mat(fts=counts, labels=np.array([[10], [1]]))})
    caltech = office_caltech10_surf("caltech10")
    assert caltech.features.tolist() == [[1, 0, 3], [2, 2, 0]]
    assert [caltech.classes[k] for k in caltech.labels] == ["projector", "backpack"]


@pytest.mark.parametrize("content", [mat(fts=np.eye(2)), mat(fts=np.eye(2), labels=[1])[:-9], b""])
def test_damaged_surf_features(plant, content):
    plant("office-caltech10-surf", {SURF: content})
    with pytest.raises(CorruptKnowledge, match=r"SURF_L10.mat can't be read as a MATLAB file"):
        office_caltech10_surf("caltech10")


DOMAINS = {"amazon": 958, "caltech10": 1123, "dslr": 157, "webcam": 295}


@pytest.mark.real
@pytest.mark.parametrize(("domain", "n"), DOMAINS.items())
def test_the_real_office(domain, n):
    features = office_caltech10_surf(domain)
    assert features.features.shape == (n, 800)
    pictures = office_caltech10(domain, size=16)
    assert len(pictures) == n
    assert torch.equal(pictures.labels.bincount(), features.labels.bincount())


@pytest.mark.real
def test_the_published_baseline_of_the_surf_features():
    """1-NN from Caltech to Amazon gives 23.7 %, as Gong et al. (2012) report."""

    def prepared(examples):
        shares = examples.features / examples.features.sum(1, keepdim=True)
        return (shares - shares.mean(0)) / (shares.std(0) + 1e-12)

    source, target = office_caltech10_surf("caltech10"), office_caltech10_surf("amazon")
    nearest = torch.cdist(prepared(target), prepared(source)).argmin(1)
    right = (source.labels[nearest] == target.labels).double().mean().item()
    assert 100 * right == pytest.approx(23.7, abs=0.05)


# Omniglot


def drawings(alphabet):
    return {
        f"set/{alphabet}/character02/1_01.png": encoded(105, 105, 1, "PNG", "1"),
        f"set/{alphabet}/character01/2_01.png": encoded(105, 105, 0, "PNG", "1"),
        f"set/{alphabet}/character01/2_02.png": encoded(105, 105, 1, "PNG", "1"),
    }


def test_omniglot(plant):
    stem = "omniglot/images_background_small"
    both = drawings("Greek") | drawings("Latin")
    files = {f"{stem}1.zip": zipped(drawings("Greek")), f"{stem}2.zip": zipped(both)}
    plant("omniglot", files)
    train, test = omniglot()
    assert train.images.shape == (3, 1, 28, 28)
    assert train.images.mean((1, 2, 3)).tolist() == [1, 0, 0]  # white on black
    assert train.labels.tolist() == [0, 0, 1]
    assert train.classes == ("Greek character01", "Greek character02")
    assert test.classes == ("Latin character01", "Latin character02")  # no Greek: it was trained on
    plant("omniglot", files | {f"{stem}2.zip": zipped({"readme": b""})})
    with pytest.raises(CorruptKnowledge, match=r"small2\.zip holds no drawings"):
        omniglot()


@pytest.mark.real
def test_the_real_omniglot():
    train, test = omniglot()
    assert train.labels.bincount().tolist() == [20] * 136
    assert test.labels.bincount().tolist() == [20] * 106
    alphabets = [{name.rsplit(" ", 1)[0] for name in part.classes} for part in (train, test)]
    assert [len(names) for names in alphabets] == [5, 3]
    assert not alphabets[0] & alphabets[1]


# COCO


def coco(**changes):
    mask = io.BytesIO()
    Image.fromarray(np.array([[0, 0, 92], [1, 1, 1]], np.uint8)).save(mask, "PNG")
    return zipped(
        {
            "classes_detection.json": json.dumps({"0": "person", "1": "bicycle"}),
            "classes_semantic.json": json.dumps({"0": "unlabeled", "1": "person", "92": "banner"}),
            "images/train2017/1.jpg": encoded(40, 20, 9),
            "images/train2017/2.jpg": encoded(3, 2, 9),
            "images/val2017/3.jpg": encoded(8, 8, 9),
            "labels/train2017/1.txt": "1 0.5 0.5 0.5 0.2\n0 0.9 0.5 0.3 1.0\n",
            "masks/train2017/2.png": mask.getvalue(),
        }
        | changes
    )


def test_coco_boxes_are_in_pixels_and_inside(plant):
    plant("coco128", {"coco128/coco128_256px.zip": coco()})
    train = coco128("train")
    assert [tuple(image.shape) for image in train.images] == [(3, 20, 40), (3, 2, 3)]
    assert train.boxes[0].flatten().tolist() == pytest.approx([10, 8, 30, 12, 30, 0, 40, 20])
    assert train.labels[0].tolist() == [1, 0]
    assert train.boxes[1].shape == (0, 4)  # no file of labels: no objects
    assert train.masks[0] is None
    assert train.masks[1].tolist() == [[0, 0, 92], [1, 1, 1]]
    assert train.classes == ("person", "bicycle")
    assert train.regions[92] == "banner"
    assert len(coco128("test")) == 1


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"labels/train2017/1.txt": "1 0.5 0.5"}, "can't be read as COCO's images"),
        ({"labels/train2017/1.txt": "1 0.5 0.5 0 0.2"}, "scene 0: a box has no area"),
        ({"labels/train2017/1.txt": "2 0.5 0.5 0.1 0.2"}, "labels must lie in 0 … 1"),
        ({"masks/train2017/2.png": encoded(3, 3, 1, "PNG", "L")}, r"the mask is \(3, 3\)"),
        ({"masks/train2017/2.png": encoded(3, 2, 5, "PNG", "L")}, r"numbers \[5\], which have no"),
        ({"classes_semantic.json": "{"}, "JSONDecodeError"),
    ],
)
def test_damaged_coco(plant, changes, words):
    plant("coco128", {"coco128/coco128_256px.zip": coco(**changes)})
    with pytest.raises(ValueError, match=words):
        coco128("train")


@pytest.mark.real
def test_the_real_coco():
    train, test = coco128("train"), coco128("test")
    assert len(train) == len(test) == 128
    assert sum(mask is not None for mask in train.masks + test.masks) == 200
    assert len(train.classes) == 80
    people = sum(bool((labels == 0).any()) for labels in train.labels)
    assert people == 61  # the only class that is frequent enough to score
    with pytest.raises(ValueError, match=r"unknown split 'val'; known names: 'test', 'train'"):
        coco128("val")
