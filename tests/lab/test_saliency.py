import matplotlib.pyplot as plt
import pytest
import scipy.stats
import torch
from torch import nn
from torch.testing import assert_close

from mapping_lib.lab.backbones import Backbone
from mapping_lib.lab.plots import panels
from mapping_lib.lab.plots.classification import overlays, reliability_diagram
from mapping_lib.lab.saliency import maps_of, masked, rank_correlation
from mapping_lib.metrics import Reliability


@pytest.fixture(autouse=True)
def closed():
    yield
    plt.close("all")


@pytest.fixture
def model():
    body = nn.Sequential(nn.Conv2d(3, 4, 2, stride=2), nn.AdaptiveAvgPool2d(1), nn.Flatten())
    return Backbone("tiny", body, nn.Linear(4, 5), mean=(0.0,) * 3, std=(1.0,) * 3).eval()


def test_maps_are_those_of_the_head(model):
    images, classes = torch.rand(5, 3, 8, 6), torch.tensor([0, 4, 2, 1, 1])
    found = maps_of(model, images, classes, layer="body.0", batch_size=2)
    with torch.no_grad():
        expected = torch.einsum("nc,nchw->nhw", model.head.weight[classes], model.body[0](images))
    assert_close(found, expected.relu() / 12)
    assert not model.body[0]._forward_hooks
    assert not found.requires_grad


def test_maps_need_a_class_for_each_image(model):
    with pytest.raises(ValueError, match="5 images and"):
        maps_of(model, torch.rand(5, 3, 8, 8), torch.tensor([0]), layer="body.0")
    with pytest.raises(AttributeError):
        maps_of(model, torch.rand(1, 3, 8, 8), torch.tensor([0]))


def test_rank_correlation_agrees_with_scipy():
    maps, others = torch.randn(4, 3, 5).round(decimals=1).relu(), torch.randn(4, 3, 5).round()
    expected = [
        scipy.stats.spearmanr(a.flatten(), b.flatten()).statistic
        for a, b in zip(maps, others, strict=True)
    ]
    assert_close(rank_correlation(maps, others), torch.tensor(expected, dtype=torch.float32))


def test_a_flat_map_correlates_with_nothing():
    assert rank_correlation(torch.rand(1, 2, 3), torch.ones(1, 2, 3)).tolist() == [0]
    with pytest.raises(ValueError, match="are no pairs"):
        rank_correlation(torch.rand(1, 2, 3), torch.ones(1, 3, 2))


def test_masking_greys_the_highest_places():
    images, maps = torch.rand(2, 3, 8, 12), torch.arange(12.0).view(2, 2, 3)
    maps[1] = -maps[1]
    found = masked(images, maps, share=0.3)  # two of six places
    changed = (found != images).all(1)
    assert changed[0].nonzero().amin(0).tolist() == [4, 4]
    assert changed[1].nonzero().amax(0).tolist() == [3, 7]
    assert changed.flatten(1).sum(1).tolist() == [32, 32]
    assert_close(found[0, 1, 7, 11], images[0, 1].mean())
    assert torch.equal(masked(images, maps, share=0), images)
    with pytest.raises(ValueError, match="share must lie in"):
        masked(images, maps, share=1.2)


def test_diagram_draws_a_dot_a_bin():
    found = Reliability(torch.tensor([0.3, 0.9]), torch.tensor([0.2, 0.5]), torch.tensor([1, 3]))
    _, (axis,) = panels()
    reliability_diagram(axis, found)
    dots = axis.collections[-1]
    assert_close(
        torch.tensor(dots.get_offsets().data), torch.tensor([[0.3, 0.2], [0.9, 0.5]]).double()
    )
    assert dots.get_sizes()[1] > dots.get_sizes()[0]


def test_overlays_scale_each_map():
    maps = torch.tensor([[[0.0, 2.0], [1.0, 0.0]], [[0.0, 0.0], [0.0, 0.0]]])
    figure = overlays(
        torch.rand(2, 3, 4, 4), maps, ["a", "b\nc"], columns=2, colours=["blue", "black"]
    )
    assert [axis.get_title("center") for axis in figure.axes] == ["a", "b\nc"]
    first, second = (axis.get_images()[1].get_array() for axis in figure.axes)
    assert first.max() == 1
    assert second.max() == 0
    with pytest.raises(ValueError, match="as many"):
        overlays(torch.rand(1, 3, 4, 4), maps, ["a"])
