"""States: training into one, measuring one, walking from one to another."""

from functools import partial

import pytest
import torch
from torch.testing import assert_close

from mapping_lib import merging
from mapping_lib.lab.data import Images
from mapping_lib.lab.states import LAYERS, accuracy_of, connect, perceptron, trained, walk
from mapping_lib.lab.training import accuracy, predict
from mapping_lib.losses import cross_entropy


@pytest.fixture(scope="module")
def images():
    """Forty images, easy to tell apart: a bright row says the class."""
    labels = torch.arange(40) % 10
    pixels = torch.rand(40, 1, 10, 10, generator=torch.Generator().manual_seed(0)) / 4
    pixels[torch.arange(40), 0, labels] += 0.75
    return Images(pixels, labels, tuple("0123456789"), entry="rendered-glyphs", split="all")


def test_seed_alone_draws_the_first_weights():
    torch.manual_seed(1)
    before = torch.random.get_rng_state()
    first, again, other = (perceptron(4, seed=seed).state_dict() for seed in (3, 3, 4))
    assert torch.equal(torch.random.get_rng_state(), before)
    assert_close(first, again)
    assert not torch.equal(first["1.weight"], other["1.weight"])
    assert merging.unit_axes(first, layers=LAYERS)["3.weight"] == ("3", "1")
    assert first["1.weight"].shape == (4, 64)


def test_training_starts_where_it_is_told_and_returns_a_copy(images):
    network = perceptron(16, seed=0, size=10)
    start = {name: tensor.clone() for name, tensor in network.state_dict().items()}
    state = trained(network, images, seed=0, epochs=40, rate=0.01)
    assert accuracy_of(state, network=network, images=images) > 0.9
    assert accuracy_of(start, network=network, images=images) < 0.5
    again = trained(network, images, seed=0, start=start, epochs=40, rate=0.01)
    assert_close(again, state)
    network[1].weight.data.zero_()
    assert_close(again, state)


def test_walk_measures_loss_and_accuracy_at_each_point(images):
    networks = [perceptron(16, seed=seed, size=10) for seed in (0, 1)]
    source, target = (trained(n, images, seed=k, epochs=5) for k, n in enumerate(networks))
    path = partial(merging.interpolate, source, target)
    losses, accuracies = walk(
        lambda share: path(share=share), network=networks[0], images=images, points=5
    )
    assert losses.shape == accuracies.shape == (5,)
    for point, state in ((0, source), (2, path(share=0.5)), (4, target)):
        networks[0].load_state_dict(state)
        logits = predict(networks[0], images.images)
        assert_close(losses[point], cross_entropy(logits, images.labels))
        assert accuracies[point] == accuracy(logits, images.labels)


def test_bend_lowers_the_loss_on_the_way_and_leaves_the_ends(images):
    networks = [perceptron(16, seed=seed, size=10) for seed in (0, 1)]
    source, target = (trained(n, images, seed=k, epochs=60) for k, n in enumerate(networks))
    before = {name: tensor.clone() for name, tensor in source.items()}
    bend = connect(source, target, network=networks[0], images=images, seed=0, steps=150, rate=0.01)
    assert_close(source, before)
    assert not any(tensor.requires_grad for tensor in bend.values())
    measure = partial(walk, network=networks[0], images=images, points=11)
    line, _ = measure(lambda t: merging.interpolate(source, target, share=t))
    curve, _ = measure(lambda t: merging.bezier(source, bend, target, share=t))
    assert merging.barrier(curve) < 0.5 * merging.barrier(line)
    again = connect(
        source, target, network=networks[0], images=images, seed=0, steps=150, rate=0.01
    )
    assert_close(again, bend)
