from dataclasses import replace

import matplotlib.pyplot as plt
import pytest
import torch
from matplotlib.patches import Rectangle

from mapping_lib.detection import Detections
from mapping_lib.lab.plots.detection import KIND_COLOURS, draw_box, draw_scenes
from mapping_lib.lab.plots.style import COLOURS
from mapping_lib.lab.scenes import scenes


@pytest.fixture(scope="module")
def few():
    return scenes(2, seed=0, size=64)


def rims(axis):
    return [p for p in axis.patches if isinstance(p, Rectangle)]


def test_each_true_box_is_drawn_with_its_name(few):
    figure = draw_scenes(few, [1, 0], columns=2)
    first = figure.axes[0]
    assert len(rims(first)) == 2 * len(few.boxes[1])
    left, top = rims(first)[0].get_xy()
    assert (left + 0.5, top + 0.5) == tuple(few.boxes[1][0, :2].tolist())
    assert [t.get_text() for t in first.texts] == [few.classes[k] for k in few.labels[1]]
    plt.close(figure)


def test_missed_things_are_dashed_and_kinds_have_their_colour(few):
    guess = Detections(few.boxes[0][:1], torch.tensor([0.9]), few.labels[0][:1])
    none = Detections(torch.zeros(0, 4), torch.zeros(0), torch.zeros(0).long())
    figure = draw_scenes(few, [0], [guess, none], columns=1)
    edges = [plt.matplotlib.colors.to_hex(p.get_edgecolor()).upper() for p in rims(figure.axes[0])]
    assert edges.count(COLOURS[KIND_COLOURS["right"]]) == 1
    assert edges.count(COLOURS["black"]) == len(few.boxes[0]) - 1
    assert len(figure.legends) == 1
    plt.close(figure)


def test_what_may_not_be_published_is_not_drawn(few):
    figure = draw_scenes(replace(few, entry="coco128"), [0])
    assert "not shown" in figure.axes[0].texts[0].get_text()
    assert not figure.axes[0].images
    plt.close(figure)


def test_own_pictures_are_drawn(few):
    figure = draw_scenes(replace(few, entry="own"), [0], columns=1)
    assert figure.axes[0].images
    plt.close(figure)


def test_box_without_text():
    figure, axis = plt.subplots()
    draw_box(axis, torch.tensor([1.0, 2.0, 5.0, 4.0]), colour="blue", dashed=True)
    assert rims(axis)[1].get_width() == 4
    assert not axis.texts
    plt.close(figure)
