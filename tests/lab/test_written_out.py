import numpy as np
import pytest
import torch

from mapping_lib.lab import backbones
from mapping_lib.lab.keras_models import efficientnet_lite0
from mapping_lib.lab.timing import without_dots
from mapping_lib.lab.written_out import (
    same_padding,
    tensorflow_features,
    tensorflow_layout,
    torch_features,
)


@pytest.fixture(scope="module")
def source():
    return backbones.efficientnet_lite0()


@pytest.fixture(scope="module")
def images():
    return torch.rand(2, 3, 64, 75, generator=torch.Generator().manual_seed(0))


def test_both_compute_what_timm_computes(source, images):
    state = {n: t for n, t in source.body.state_dict().items() if "num_batches" not in n}
    expected = backbones.features(source, images).numpy()
    with torch.no_grad():
        here = torch_features(state, images).numpy()
        symmetric = torch_features(state, images, symmetric=True).numpy()
        other = torch_features(state, images, epsilon=1e-5).numpy()
    assert np.allclose(here, expected, atol=1e-4)
    assert np.abs(symmetric - expected).max() > 0.1
    assert np.abs(other - expected).max() > 0.1
    layout = tensorflow_layout({n: t.numpy() for n, t in state.items()})
    last = images.permute(0, 2, 3, 1).numpy()
    for options, wanted in (
        ({}, here),
        ({"symmetric": True}, symmetric),
        ({"epsilon": 1e-5}, other),
    ):
        there = tensorflow_features(layout, last, **options).numpy()
        assert np.allclose(there, wanted, atol=1e-4)


@pytest.mark.parametrize("size", [7, 8, 9, 10])
@pytest.mark.parametrize(("kernel", "stride"), [(1, 1), (3, 1), (3, 2), (5, 2), (5, 1)])
def test_padding_gives_as_many_places_as_there_are_strides(size, kernel, stride):
    before, after, *_ = same_padding((6, size), kernel, stride)
    assert after - before in (0, 1)
    assert (size + before + after - kernel) // stride + 1 == -(-size // stride)
    if before + after:  # one less would be one place too few
        assert (size + before + after - 1 - kernel) // stride + 1 < -(-size // stride)


def test_names_without_dots_leave_the_numbers():
    model = efficientnet_lite0(pretrained=False)
    copy = without_dots(model)
    assert not [layer.name for layer in copy.layers if "." in layer.name]
    for one, other in zip(model.get_weights(), copy.get_weights(), strict=True):
        assert np.array_equal(one, other)
