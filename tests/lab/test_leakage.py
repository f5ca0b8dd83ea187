"""What a client's gradient gives away."""

import pytest
import torch
from torch.nn.functional import cross_entropy

from mapping_lib.lab.leakage import (
    RATE,
    attacked,
    drawn,
    guessed,
    reconstructed,
    sent,
    similarity,
    victim,
)


def test_one_step_sends_the_gradient_and_several_their_mean():
    model, (images, labels) = victim(seed=0), drawn(3, seed=0)
    due = torch.autograd.grad(cross_entropy(model(images), labels), tuple(model.parameters()))
    found = sent(model, images, labels)
    for mine, theirs in zip(found.gradient.values(), due, strict=True):
        assert torch.allclose(mine, theirs)
    after = sent(model, images, labels, steps=2).gradient
    with torch.no_grad():
        for part, g in zip(model.parameters(), due, strict=True):
            part -= RATE * g
    second = torch.autograd.grad(cross_entropy(model(images), labels), tuple(model.parameters()))
    for mine, one, two in zip(after.values(), due, second, strict=True):
        assert torch.allclose(mine, (one + two) / 2)


def test_a_digit_is_made_again_from_its_gradient():
    model, (images, labels) = victim(seed=0), drawn(1, seed=0)
    found = reconstructed(model, sent(model, images, labels).gradient, labels, seed=0)
    assert (found - images).abs().max() < 0.01
    assert attacked(1, 1, clients=1, seed=0) > 0.99
    assert 0.5 < guessed(1, 1, clients=1, seed=0) < 0.95


def test_similarity_is_of_shapes_in_any_order():
    images = drawn(3, seed=0)[0]
    assert similarity(0.5 * images.flip(0) + 0.1, images) == pytest.approx(1)
    assert similarity(1 - images[:1], images[:1]) == pytest.approx(-1)
    assert similarity(torch.ones_like(images), images) == 0


@pytest.mark.parametrize(
    ("call", "words"),
    [
        (lambda: drawn(0, seed=0), "count must be at least 1"),
        (lambda: drawn(1798, seed=0), "1797 digits"),
        (lambda: sent(victim(seed=0), *drawn(1, seed=0), steps=0), "steps must be at least 1"),
        (lambda: similarity(torch.eye(2), torch.eye(3)), "same shape|shapes"),
        (
            lambda: reconstructed(victim(seed=0), {}, torch.tensor([1]), seed=0, starts=0),
            "starts must be at least 1",
        ),
    ],
)
def test_bad_input(call, words):
    with pytest.raises(ValueError, match=words):
        call()
