"""Three small tables of measurements, which come with scikit-learn."""

from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from mapping_lib.lab.archives import reading, unpacked
from mapping_lib.lab.data.types import Features, Measurements
from mapping_lib.lab.registry import locate

_NUCLEUS = (
    "radius",
    "texture",
    "perimeter",
    "area",
    "smoothness",
    "compactness",
    "concavity",
    "concave points",
    "symmetry",
    "fractal dimension",
)
_WINE = (
    "alcohol",
    "malic acid",
    "ash",
    "alcalinity of ash",
    "magnesium",
    "total phenols",
    "flavanoids",
    "nonflavanoid phenols",
    "proanthocyanins",
    "colour intensity",
    "hue",
    "OD280/OD315 of diluted wines",
    "proline",
)
_BLOOD = (
    "total cholesterol",
    "LDL",
    "HDL",
    "cholesterol over HDL",
    "log triglycerides",
    "blood sugar",
)


def breast_cancer() -> Features:
    """Return 569 tumours of the breast, described by 30 numbers about the nuclei of their cells.

    Each of ten quantities stands three times: its mean, its standard error and its worst (the mean
    of the three largest). The columns are not standardised.

    Examples
    --------
    >>> breast_cancer()
    Features(breast-cancer, all: 569 rows of 30, 2 classes)
    >>> breast_cancer().names[0]
    'mean radius'
    """
    names = tuple(f"{of} {what}" for of in ("mean", "error of", "worst") for what in _NUCLEUS)
    rows, labels = _classified("breast-cancer", columns=30, classes=2)
    return Features(
        rows, labels, ("malignant", "benign"), names, entry="breast-cancer", split="all"
    )


def wine() -> Features:
    """Return 178 wines of three growers of one region, by 13 chemical measurements.

    The columns are not standardised.

    Examples
    --------
    >>> wine()
    Features(wine, all: 178 rows of 13, 3 classes)
    """
    rows, labels = _classified("wine", columns=13, classes=3)
    classes = ("grower 1", "grower 2", "grower 3")
    return Features(rows, labels, classes, _WINE, entry="wine", split="all")


def diabetes() -> Measurements:
    """Return 442 diabetes patients by ten measurements, and how far the disease went in a year.

    The columns are as measured (years, mm Hg, ...), not centred and scaled as scikit-learn returns
    them unless asked. The second, sex, is 1 or 2.

    Examples
    --------
    >>> diabetes()
    Measurements(diabetes, all: 442 rows of 10, one number each)
    >>> diabetes().values[:2]
    tensor([151.,  75.])
    """
    rows = _packed(locate("diabetes", "datasets/data/diabetes_data_raw.csv.gz"), columns=10)
    values = _packed(locate("diabetes", "datasets/data/diabetes_target.csv.gz"), columns=1)
    names = ("age", "sex", "body mass index", "blood pressure", *_BLOOD)
    return Measurements(rows, values.squeeze(1), names, entry="diabetes", split="all")


def _classified(name: str, *, columns: int, classes: int) -> tuple[Tensor, Tensor]:
    """Read a table whose first line is a head and whose last column is the class."""
    path = locate(name)
    with reading(path, "a table with a class in its last column"):
        table = np.loadtxt(path, delimiter=",", skiprows=1, ndmin=2)
        if table.shape[1] != columns + 1:
            raise ValueError(f"{table.shape[1]} columns, not {columns + 1}")
        labels = table[:, -1]
        if not np.isin(labels, range(classes)).all():
            raise ValueError(f"a class that isn't one of 0 to {classes - 1}")
    return torch.from_numpy(table[:, :-1]).float(), torch.from_numpy(labels).long()


def _packed(path: Path, *, columns: int) -> Tensor:
    """Read a packed table of numbers that spaces separate."""
    content = unpacked(path).decode("ascii", errors="replace")
    with reading(path, "a packed table of numbers"):
        table = np.loadtxt(content.splitlines(), dtype=np.float32, ndmin=2)
        if table.shape[1] != columns:
            raise ValueError(f"{table.shape[1]} columns, not {columns}")
    return torch.from_numpy(table)
