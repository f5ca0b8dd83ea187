import pytest
import torch
from torch.testing import assert_close

from mapping_lib.lab.small_networks import (
    gated_norms,
    jacobian_norms,
    permuted,
    shifted,
    small_network,
    trained,
)
from mapping_lib.structures import gru_step, recurrent_step, state_jacobians

STRUCTURES = [
    "feed-forward", "convolutional", "convolutional, flattened", "recurrent", "bag of rows",
]  # fmt: skip


def images(n=3, seed=0):
    return torch.rand(n, 1, 16, 16, generator=torch.Generator().manual_seed(seed))


@pytest.mark.parametrize("structure", STRUCTURES)
def test_networks_have_one_budget_and_depend_on_the_seed_alone(structure):
    network = small_network(structure, seed=1)
    assert abs(sum(p.numel() for p in network.parameters()) / 12_500 - 1) < 0.02
    assert network(images()).shape == (3, 10)
    torch.rand(1)
    assert_close(network(images()), small_network(structure, seed=1)(images()))
    assert not torch.equal(network(images()), small_network(structure, seed=2)(images()))


def test_unknown_structure():
    with pytest.raises(ValueError, match="did you mean 'recurrent'"):
        small_network("recurent", seed=0)


def test_convolutional_network_does_not_see_shifts_by_the_grid_of_its_pooling():
    network = small_network("convolutional", seed=0)
    plain = network(images())
    assert_close(network(shifted(images(), 4)), plain)
    assert_close(network(shifted(images(), -8, axis="down")), plain)
    assert not torch.allclose(network(shifted(images(), 2)), plain, atol=1e-6)
    flattened = small_network("convolutional, flattened", seed=0)
    assert not torch.allclose(flattened(shifted(images(), 4)), flattened(images()), atol=1e-4)


def test_bag_of_rows_does_not_see_their_order():
    network = small_network("bag of rows", seed=0)
    assert_close(network(permuted(images(), "rows", seed=3)), network(images()))
    recurrent = small_network("recurrent", seed=0)
    other = recurrent(permuted(images(), "rows", seed=3))
    assert not torch.allclose(other, recurrent(images()), atol=1e-4)


def test_recurrent_network_is_the_books_step():
    network = small_network("recurrent", seed=0)
    weights = [p for name, p in network.named_parameters() if name.startswith("cell")]
    state = torch.zeros(3, 55)
    for row in images().squeeze(1).unbind(1):
        state = gru_step(row, state, *weights)
    assert_close(network.head(state), network(images()))


def test_shifts():
    image = torch.arange(4.0).view(1, 1, 2, 2)
    assert shifted(image, 1).flatten().tolist() == [1, 0, 3, 2]
    assert shifted(image, 1, axis="down").flatten().tolist() == [2, 3, 0, 1]
    assert_close(shifted(shifted(images(), 3), -3), images())


@pytest.mark.parametrize("what", ["pixels", "rows"])
def test_permutation_is_the_same_for_all_images_and_loses_nothing(what):
    both = images(2)
    moved = permuted(both, what, seed=5)
    assert_close(moved.flatten(1).sort(1).values, both.flatten(1).sort(1).values)
    assert_close(permuted(both[1:], what, seed=5), moved[1:])
    assert not torch.equal(moved, both)
    if what == "rows":
        assert all(any(torch.equal(r, s) for s in both[0, 0]) for r in moved[0, 0])


def test_permutation_of_something_else():
    with pytest.raises(ValueError, match="unknown what 'columns'"):
        permuted(images(), "columns", seed=0)


def test_jacobian_norms_are_those_of_the_product():
    generator = torch.Generator().manual_seed(0)
    w, u = torch.randn(4, 2, generator=generator), torch.randn(4, 4, generator=generator)
    inputs, state = torch.randn(5, 2, generator=generator), torch.zeros(4)
    states = [state]
    for x in inputs:
        states.append(recurrent_step(x, states[-1], w, u))
    got = jacobian_norms(lambda x, h: recurrent_step(x, h, w, u), state, inputs)
    expected = torch.linalg.matrix_norm(state_jacobians(torch.stack(states), u)) / 2
    assert_close(got, expected)


def test_training_depends_on_its_seed():
    x, y = images(40), torch.arange(40) % 10
    first, again, other = (
        trained(small_network("feed-forward", seed=0), x, y, epochs=30, seed=seed)
        for seed in (1, 1, 2)
    )
    assert_close(first(x), again(x))
    assert not torch.equal(first(x), other(x))
    assert (first(x).argmax(1) == y).float().mean() > 0.5


@pytest.mark.parametrize("kind", ["GRU", "LSTM"])
def test_an_open_gate_lets_the_gradient_pass(kind):
    inputs = torch.randn(20, 3, generator=torch.Generator().manual_seed(0))
    shut, open_ = (gated_norms(kind, inputs, width=6, bias=b, seed=0) for b in (-3.0, 6.0))
    assert shut.shape == (21,)
    assert shut[-1] == open_[-1] == 1
    assert open_[0] > 0.5 > 100 * shut[0]


def test_gated_norms_know_two_kinds():
    with pytest.raises(ValueError, match="did you mean 'GRU'"):
        gated_norms("GRUU", torch.zeros(2, 2), width=3, bias=0, seed=0)
