import matplotlib.pyplot as plt
import numpy as np
import pytest
import torch

from mapping_lib.lab.data import Images
from mapping_lib.lab.plots import panels
from mapping_lib.lab.plots.images import accuracy_by_labels, accuracy_by_step, confusion, gallery


@pytest.fixture(autouse=True)
def closed():
    yield
    plt.close("all")


def images(entry="photographs", n=5):
    pixels, labels = torch.rand(n, 3, 8, 8), torch.arange(n) % 2
    return Images(pixels, labels, ("cat", "cup"), entry=entry, split="test", domain="part")


def drawn(figure):
    return [picture for axis in figure.axes for picture in axis.get_images()]


def test_gallery_draws_each_image_under_its_class():
    shown = images()
    figure = gallery(shown, torch.tensor([3, 0, 4]), columns=2)
    assert [axis.get_title("center") for axis in figure.axes[:3]] == ["cup", "cat", "cat"]
    assert len(drawn(figure)) == 3
    assert np.allclose(drawn(figure)[0].get_array(), shown.images[3].permute(1, 2, 0))
    assert len(figure.axes) == 4  # two rows of two, the last one empty
    assert not any(axis.axison for axis in figure.axes)


def test_gallery_with_titles():
    figure = gallery(images(), [1], titles=["cup\n→ cat"], colour="vermilion")
    assert figure.axes[0].get_title("center") == "cup\n→ cat"


def test_what_may_not_be_published_is_not_drawn():
    figure = gallery(images("hymenoptera"), [0, 1])
    assert drawn(figure) == []
    assert "2 pictures, not shown: hymenoptera may not be published" in {
        text.get_text() for text in figure.axes[0].texts
    }


def test_gallery_wants_images_and_as_many_titles():
    with pytest.raises(ValueError, match="2 images and 1 titles"):
        gallery(images(), [0, 1], titles=["one"])
    with pytest.raises(ValueError, match="0 images and 0 titles"):
        gallery(images(), [])


def test_confusion_has_true_classes_in_rows():
    labels, predicted = torch.tensor([0, 0, 0, 1, 2]), torch.tensor([0, 0, 1, 1, 0])
    figure = confusion(labels, predicted, ("a", "b", "c"))
    (axis,) = figure.axes
    cells = {(t.get_position()[1], t.get_position()[0]): t.get_text() for t in axis.texts}
    assert cells == {(0, 0): "67", (0, 1): "33", (1, 1): "100", (2, 0): "100"}
    assert axis.get_ylabel() == "true class"


def test_confusion_leaves_an_absent_class_empty():
    figure = confusion(torch.tensor([0, 0]), torch.tensor([0, 0]), ("a", "b"))
    assert [text.get_text() for text in figure.axes[0].texts] == ["100"]


ROWS = [
    {
        "method": method,
        "labels_per_class": k,
        "seed": seed,
        "step": k,
        "accuracy": value + seed / 10,
    }
    for method, value in (("one", 0.5), ("two", 0.2))
    for k in (5, 1)
    for seed in (1, 0)
]


@pytest.mark.parametrize("draw", [accuracy_by_labels, accuracy_by_step])
def test_curves_show_the_mean_over_seeds(draw):
    _, (axis,) = panels()
    draw(axis, ROWS, {"two": "blue", "one": "orange"})
    two, one = axis.get_lines()
    assert two.get_label() == "two"
    assert two.get_xdata().tolist() == [1, 5]
    assert np.allclose(two.get_ydata(), 0.25)
    assert np.allclose(one.get_ydata(), 0.55)


def test_unknown_method():
    _, (axis,) = panels()
    with pytest.raises(KeyError, match="no row has method 'three' and labels_per_class 1"):
        accuracy_by_labels(axis, ROWS, {"three": "blue"})
