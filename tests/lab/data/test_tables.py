import gzip

import numpy as np
import pytest
from sklearn import datasets

from mapping_lib.lab.data import breast_cancer, diabetes, wine
from mapping_lib.lab.registry import CorruptKnowledge


@pytest.mark.parametrize(
    ("table", "loader"), [(breast_cancer(), "load_breast_cancer"), (wine(), "load_wine")]
)
def test_classified_tables_are_scikit_learns(table, loader):
    theirs = getattr(datasets, loader)()
    assert np.allclose(table.features, theirs.data.astype(np.float32), rtol=0, atol=0)
    assert table.labels.tolist() == theirs.target.tolist()
    assert len(table.names) == len(theirs.feature_names)
    assert (table.split, len(table)) == ("all", len(theirs.target))


def test_names_are_those_of_the_columns():
    theirs = [name.removeprefix("mean ") for name in datasets.load_breast_cancer().feature_names]
    names = breast_cancer().names
    assert names[0] == "mean radius"
    assert names[10] == "error of radius"
    assert names[29] == "worst fractal dimension"
    assert [name.removeprefix("mean ") for name in names[:10]] == theirs[:10]
    assert wine().names[-1] == "proline"


def test_diabetes_is_as_measured():
    table, theirs = diabetes(), datasets.load_diabetes(scaled=False)
    assert np.allclose(table.features, theirs.data)
    assert np.allclose(table.values, theirs.target)
    assert table.names[2] == "body mass index"
    assert table.features[0, 0] == 59  # years


def test_classes_are_in_the_order_of_the_numbers():
    assert breast_cancer().labels.bincount().tolist() == [212, 357]
    assert breast_cancer().classes == ("malignant", "benign")
    assert wine().labels.bincount().tolist() == [59, 71, 48]


def wines(rows):
    return {"wine.csv": ("178,13,a,b,c\n" + "\n".join(rows)).encode()}


GOOD = ",".join(["1"] * 13)


@pytest.mark.parametrize(
    ("rows", "words"),
    [
        ([f"{GOOD},0", "1,2,0"], "can't be read as a table with a class"),
        (["1,2,0"], "3 columns, not 14"),
        ([f"{GOOD},3"], "a class that isn't one of 0 to 2"),
        ([f"{GOOD},0.5"], "a class that isn't one of 0 to 2"),
        ([f"{GOOD},red"], "could not convert"),
        ([f"{GOOD},nan"], "a class that isn't one of 0 to 2"),
    ],
)
def test_damaged_table(plant, rows, words):
    plant("wine", wines(rows))
    with pytest.raises(CorruptKnowledge, match=words):
        wine()


def test_hole_in_a_table(plant):
    plant("wine", wines([f"nan,{GOOD[2:]},0"]))
    with pytest.raises(ValueError, match="features hold NaN or infinity"):
        wine()


def packed(rows):
    return gzip.compress("\n".join(rows).encode())


def test_diabetes_reads_its_two_files(plant):
    rows = ["59 2 " + "1 " * 8, "48 1 " + "3 " * 8]
    data, target = "datasets/data/diabetes_data_raw.csv.gz", "datasets/data/diabetes_target.csv.gz"
    plant("diabetes", {data: packed(rows), target: packed(["151", "75"])})
    assert diabetes().values.tolist() == [151, 75]
    plant("diabetes", {data: packed([rows[0], "48 1"]), target: packed(["151", "75"])})
    with pytest.raises(CorruptKnowledge, match=r"raw\.csv\.gz can't be read as a packed table"):
        diabetes()
    plant("diabetes", {data: packed(["1 2"]), target: packed(["151"])})
    with pytest.raises(CorruptKnowledge, match="2 columns, not 10"):
        diabetes()
    plant("diabetes", {data: packed(rows), target: packed(["151"])})
    with pytest.raises(ValueError, match="values must be 2 numbers"):
        diabetes()
    plant("diabetes", {data: packed(rows)[:-12], target: packed(["151", "75"])})
    with pytest.raises(CorruptKnowledge, match="can't be read as a packed file"):
        diabetes()
