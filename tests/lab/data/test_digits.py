import bz2
import gzip

import numpy as np
import pytest
import torch

from mapping_lib.lab.data import handwritten_digits, mnist, usps
from mapping_lib.lab.registry import CorruptKnowledge, MissingKnowledge


def test_handwritten_digits():
    digits = handwritten_digits()
    assert digits.images.shape == (1797, 1, 16, 16)
    assert digits.labels[:10].tolist() == list(range(10))
    assert digits.labels.bincount().tolist() == [178, 182, 177, 183, 181, 182, 181, 179, 174, 180]
    small = handwritten_digits(size=8).images
    assert small[0, 0, 0].mul(16).tolist() == [0, 0, 5, 13, 9, 1, 0, 0]  # as scikit-learn has it
    with pytest.raises(ValueError, match="size must be at least 1 and whole, got -8"):
        handwritten_digits(size=-8)


# MNIST, from files made here

PIXELS = np.arange(3 * 28 * 28, dtype=np.uint8).reshape(3, 28, 28)


def idx(values, *, shape=None):
    shape = values.shape if shape is None else shape
    head = bytes([0, 0, 8, len(shape)]) + np.array(shape, ">i4").tobytes()
    return gzip.compress(head + values.astype(np.uint8).tobytes())


def mnist_files(**changes):
    files = {}
    for prefix, n in (("train", 3), ("t10k", 2)):
        files[f"mnist/{prefix}-images-idx3-ubyte.gz"] = idx(PIXELS[:n])
        files[f"mnist/{prefix}-labels-idx1-ubyte.gz"] = idx(np.array([7, 0, 9])[:n])
    return files | changes


def test_mnist_reads_its_format(plant):
    plant("mnist", mnist_files())
    train, test = mnist()
    assert train.images.shape == (3, 1, 28, 28)
    assert torch.equal(train.images[:, 0] * 255, torch.from_numpy(PIXELS).float())
    assert train.labels.tolist() == [7, 0, 9]
    assert (len(test), test.split, test.domain) == (2, "test", "mnist")
    assert mnist(size=14)[0].images.shape == (3, 1, 14, 14)


@pytest.mark.parametrize(
    "content",
    [
        idx(PIXELS, shape=(4, 28, 28)),
        gzip.compress(b"\0\0\x0d\3 floats"),
        gzip.compress(b""),
        idx(PIXELS)[:-20],
    ],
    ids=["shape", "type", "empty", "torn"],  # gzip stamps the time, which would be part of the id
)
def test_damaged_mnist(plant, content):
    plant("mnist", mnist_files(**{"mnist/train-images-idx3-ubyte.gz": content}))
    with pytest.raises(CorruptKnowledge, match=r"train-images-idx3-ubyte.gz (can't|is no file)"):
        mnist()


def test_mnist_with_other_labels(plant):
    labels = {"mnist/train-labels-idx1-ubyte.gz": idx(np.array([1, 2]))}
    plant("mnist", mnist_files(**labels))
    with pytest.raises(ValueError, match="labels must be 3 int64 numbers"):
        mnist()


def test_no_mnist(monkeypatch, tmp_path):
    monkeypatch.setenv("MAPPING_CACHE", str(tmp_path))
    monkeypatch.delenv("MAPPING_DATA", raising=False)
    with pytest.raises(MissingKnowledge, match="How to get it: pass download=True once while onl"):
        mnist()


@pytest.mark.real
def test_the_real_mnist():
    train, test = mnist()
    assert train.labels.bincount().tolist() == [
        *(5923, 6742, 5958, 6131, 5842),
        *(5421, 5918, 6265, 5851, 5949),
    ]
    assert (len(train), len(test)) == (60_000, 10_000)
    assert train.images.mean().item() == pytest.approx(0.1307, abs=1e-4)  # as everyone has it
    assert train.images.std().item() == pytest.approx(0.3081, abs=1e-4)


# USPS, from files made here


def libsvm(rows):
    lines = (
        " ".join([str(label), *(f"{k}:{value:g}" for k, value in enumerate(values, start=1))])
        for label, values in rows
    )
    return bz2.compress("\n".join(lines).encode() + b" \n")


ROWS = [(10, np.linspace(-1, 1, 256)), (1, np.full(256, -1.0))]


def test_usps_reads_libsvms_format(plant):
    plant("usps", {"usps/usps.bz2": libsvm(ROWS), "usps/usps.t.bz2": libsvm(ROWS[:1])})
    train, test = usps()
    assert train.images.shape == (2, 1, 16, 16)
    assert train.images[0].flatten().tolist() == pytest.approx(np.linspace(0, 1, 256), abs=1e-5)
    assert train.labels.tolist() == [9, 0]
    assert (len(test), test.split) == (1, "test")


@pytest.mark.parametrize(
    "content",
    [libsvm([(1, np.zeros(255))]), bz2.compress(b"1 1:x"), libsvm(ROWS)[:-10]],
)
def test_damaged_usps(plant, content):
    plant("usps", {"usps/usps.bz2": content, "usps/usps.t.bz2": libsvm(ROWS)})
    with pytest.raises(CorruptKnowledge, match=r"usps.bz2 can't be read as"):
        usps()


@pytest.mark.real
def test_the_real_usps():
    train, test = usps()
    assert (len(train), len(test)) == (7291, 2007)
    assert train.labels.bincount().tolist() == [1194, 1005, 731, 658, 652, 556, 664, 645, 542, 644]
    images = train.images.flatten(1)
    nearest = torch.cdist(test.images.flatten(1), images).topk(3, largest=False).indices
    votes = train.labels[nearest].mode(1).values
    assert (votes == test.labels).double().mean().item() == pytest.approx(0.945, abs=0.01)
