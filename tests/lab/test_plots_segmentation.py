from dataclasses import replace

import matplotlib.pyplot as plt
import numpy as np
import pytest
import torch
from matplotlib.colors import to_rgb

from mapping_lib.lab.plots.segmentation import PAINTS, draw_confusion, draw_masks, painted
from mapping_lib.lab.plots.style import COLOURS
from mapping_lib.lab.scenes import scenes


@pytest.fixture(scope="module")
def few():
    return scenes(2, seed=0, size=32)


def test_each_class_has_its_colour_and_the_ignored_is_white():
    found = painted(torch.tensor([[0, 2], [255, 1]]))
    assert np.allclose(found[0, 1], to_rgb(COLOURS[PAINTS[2]]))
    assert np.allclose(found[1, 0], 1)
    assert found.shape == (2, 2, 3)
    with pytest.raises(ValueError, match="class 9 has no colour"):
        painted(torch.tensor([[9]]))


def test_a_row_for_each_scene_and_a_column_for_each_guess(few):
    guess = torch.stack([mask * 0 + 3 for mask in few.masks])
    figure = draw_masks(few, [1, 0], {"all umbrellas": guess})
    assert len(figure.axes) == 6
    assert [axis.get_title("left") for axis in figure.axes[:3]] == [
        "scene",
        "truth",
        "all umbrellas",
    ]
    shown = [axis.images[0].get_array() for axis in figure.axes]
    assert np.allclose(shown[1], painted(few.masks[1]))
    assert np.allclose(shown[5], to_rgb(COLOURS[PAINTS[3]]))
    assert [text.get_text() for text in figure.legends[0].get_texts()][:2] == ["ground", "airplane"]
    plt.close(figure)


def test_what_may_not_be_published_is_not_drawn(few):
    figure = draw_masks(replace(few, entry="coco128"), [0])
    assert not figure.axes[0].images
    assert "may not be published" in figure.axes[0].texts[0].get_text()
    plt.close(figure)


def test_confusion_is_in_per_cent_of_the_true_class():
    figure, axis = plt.subplots()
    draw_confusion(axis, torch.tensor([[3, 1], [0, 0]]), ["a", "b"])
    assert [text.get_text() for text in axis.texts] == ["75", "25", "0", "0"]
    plt.close(figure)
