"""Sources that help or hurt, and stacks of networks that learn as if each were alone."""

import pytest
import torch
from torch.nn.functional import cross_entropy
from torch.testing import assert_close

from mapping_lib.lab.small_networks import small_network
from mapping_lib.lab.sources import (
    SOURCES,
    descend,
    draw_source,
    draw_target,
    features_of,
    logits_of,
    networks,
)


def examples(m=2, n=6):
    g = torch.Generator().manual_seed(0)
    return torch.rand(m, n, 1, 16, 16, generator=g), torch.randint(10, (m, n), generator=g)


@pytest.mark.parametrize("name", [n for n in SOURCES if n not in ("letters", "other scripts")])
def test_sources_are_images_with_labels_and_depend_on_the_seed(name):
    images, labels = draw_source(name, seed=1, count=200)
    assert images.shape[1:] == (1, 16, 16)
    assert len(images) == len(labels) == (100 if name == "100 digits" else 200)
    assert 0 <= images.min() < images.max() <= 1
    assert labels.unique().tolist() == list(range(10))
    again, _ = draw_source(name, seed=1, count=200)
    assert_close(again, images)
    assert not torch.equal(draw_source(name, seed=2, count=200)[0], images)


def test_what_is_changed_is_the_digits():
    images, labels = draw_source("digits", seed=0, count=60)
    assert_close(draw_source("negatives", seed=0, count=60), (1 - images, labels))
    assert_close(draw_source("exchanged labels", seed=0, count=60), (images, (labels + 1) % 10))
    shuffled = draw_source("random labels", seed=0, count=60)
    assert_close(shuffled[0], images)
    assert not torch.equal(shuffled[1], labels)
    assert shuffled[1].bincount().tolist() == labels.bincount().tolist()
    mixed = draw_source("pixels mixed", seed=0, count=60)[0]
    assert_close(mixed.flatten(1).sort().values, images.flatten(1).sort().values)
    side = draw_source("on their side", seed=0, count=60)[0]
    assert_close(side.rot90(-1, (2, 3)), images)
    by_brightness = draw_source("by brightness", seed=0, count=60)
    means = by_brightness[0].mean((1, 2, 3))
    assert means[by_brightness[1] == 0].max() < means[by_brightness[1] == 9].min()


def test_an_unknown_source():
    with pytest.raises(ValueError, match="digits"):
        draw_source("digit", seed=0)
    with pytest.raises(ValueError, match="photographs"):
        draw_target("photograph", labels_per_class=2, seed=0)


@pytest.mark.parametrize("name", ["digits", "photographs"])
def test_targets_have_ten_classes_and_nothing_in_common(name):
    known, test = draw_target(name, labels_per_class=2, seed=3)
    assert known.labels.bincount().tolist() == [2] * 10
    assert len(test) == (800 if name == "digits" else 600)
    assert known.images.shape[1:] == test.images.shape[1:] == (1, 16, 16)
    same = torch.cdist(known.images.flatten(1), test.images.flatten(1)).min()
    assert same > 0
    more, _ = draw_target(name, labels_per_class=3, seed=3)
    assert torch.isin(known.images.sum((1, 2, 3)), more.images.sum((1, 2, 3))).all()


def test_a_stack_says_what_its_networks_say():
    state, (images, _) = networks([4, 7]), examples()
    for place, seed in enumerate([4, 7]):
        network = small_network("feed-forward", seed=seed)
        assert_close(logits_of(state, images)[place], network(images[place]))
        assert_close(logits_of(state, images[0])[place], network(images[0]))
    assert features_of(state, images).shape == (2, 6, 47)
    assert networks([4], classes=3)["head.weight"].shape == (1, 3, 47)


def test_a_stack_learns_as_each_network_alone():
    images, labels = examples()
    state = networks([4, 7])
    after = descend(state, known=(images, labels), steps=3, rate=0.01)
    assert_close(state, networks([4, 7]))  # left as it was
    network = small_network("feed-forward", seed=7)
    optimiser = torch.optim.Adam(network.parameters(), lr=0.01)
    for _ in range(3):
        optimiser.zero_grad()
        cross_entropy(network(images[1]), labels[1]).backward()
        optimiser.step()
    for name, weights in network.state_dict().items():
        assert_close(after[name][1], weights, rtol=1e-3, atol=1e-4)


def test_what_is_fixed_stays_and_what_is_pulled_stays_near():
    known = examples()
    state = networks([4, 7])
    hidden = ("hidden.weight", "hidden.bias")
    fixed = descend(state, known=known, steps=5, rate=0.01, fixed=hidden)
    assert_close(fixed["hidden.weight"], state["hidden.weight"])
    assert not torch.equal(fixed["head.weight"], state["head.weight"])
    free, near = (
        (descend(state, known=known, steps=40, rate=0.01, pull=pull)["hidden.weight"]
         - state["hidden.weight"]).norm() for pull in (0.0, 1.0)
    )  # fmt: skip
    assert near < free / 2


def test_weight_zero_is_without_the_source():
    known, drawn = examples(), examples(n=80)
    state = networks([4, 7])
    g = torch.Generator().manual_seed(0)
    with_it = descend(state, known=known, drawn=drawn, weight=0.0, steps=3, rate=0.01, generator=g)
    assert_close(with_it, descend(state, known=known, steps=3, rate=0.01))
    moved = descend(state, drawn=drawn, steps=3, rate=0.01, generator=g)
    assert not torch.equal(moved["head.weight"], state["head.weight"])
