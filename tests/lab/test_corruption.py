"""Spoilt digits, the network that meets them, and the order in which they come."""

import pytest
import torch
from torch import nn

from mapping_lib.lab.corruption import STRENGTHS, corrupt, digit_classifier, stream
from mapping_lib.lab.training import accuracy, predict


def drawn(seed=0):
    return torch.Generator().manual_seed(seed)


@pytest.mark.parametrize("kind", STRENGTHS)
def test_images_stay_images(kind):
    images = torch.rand(3, 1, 16, 16, generator=drawn())
    spoilt = corrupt(images, kind, generator=drawn())
    assert spoilt.shape == images.shape
    assert spoilt.min() >= 0
    assert spoilt.max() <= 1
    assert torch.equal(spoilt, images) == (kind == "none")
    assert torch.equal(spoilt, corrupt(images, kind, generator=drawn()))


def test_each_corruption_does_what_its_name_says():
    flat = torch.full((1, 1, 64, 64), 0.5)
    noise = corrupt(flat, "noise", strength=0.1, generator=drawn()) - 0.5
    assert noise.std() == pytest.approx(0.1, rel=0.05)
    dot = torch.zeros(1, 1, 16, 16)
    dot[..., 8, 8] = 1
    blurred = corrupt(dot, "blur", generator=drawn())
    assert blurred.sum() == pytest.approx(1, rel=1e-4)
    assert blurred.max() < 0.1
    grey = corrupt(dot, "contrast", strength=0.25, generator=drawn())
    assert grey.unique().tolist() == [0.375, 0.625]


def test_an_unknown_corruption_is_refused():
    with pytest.raises(ValueError, match=r"no corruption 'noisy'; did you mean 'noise'"):
        corrupt(torch.rand(1, 1, 4, 4), "noisy", generator=drawn())


def test_the_classifier_reads_clean_digits_by_plain_batch_norm():
    torch.manual_seed(5)
    state = torch.get_rng_state()
    network, unseen = digit_classifier(0)
    assert torch.equal(torch.get_rng_state(), state)
    assert not network.training
    assert len(unseen) == 797
    assert sum(isinstance(layer, nn.BatchNorm2d) for layer in network) == 3
    assert accuracy(predict(network, unseen.images), unseen.labels) > 0.95


def test_mixed_batches_hold_every_row_once():
    labels = torch.arange(10) % 3
    batches = stream(labels, batch=4, one_class=False, generator=drawn())
    assert [len(rows) for rows in batches] == [4, 4, 2]
    assert sorted(torch.cat(batches).tolist()) == list(range(10))


def test_batches_of_one_class_hold_every_row_once_and_alternate():
    labels = torch.tensor([0, 2] * 10 + [2])
    batches = stream(labels, batch=4, one_class=True, generator=drawn())
    assert sorted(torch.cat(batches).tolist()) == list(range(21))
    assert all(len(labels[rows].unique()) == 1 for rows in batches)
    order = [labels[rows[0]].item() for rows in batches]
    assert order != sorted(order)


def test_a_batch_holds_something():
    with pytest.raises(ValueError, match="batch must be at least 1, got 0"):
        stream(torch.zeros(3), batch=0, one_class=False, generator=drawn())
