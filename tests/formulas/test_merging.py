"""Merging: paths, permutations, averages and directions, against closed forms and references."""

import itertools
from functools import partial

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn
from torch.func import functional_call
from torch.optim.swa_utils import AveragedModel
from torch.testing import assert_close

from mapping_lib.merging import (
    Soup,
    add_task_vectors,
    barrier,
    bezier,
    greedy_soup,
    interpolate,
    permute,
    soup,
    task_vector,
    unit_axes,
    weight_matching,
)

SEEDS = st.integers(0, 10_000)


def normal(*size, seed=0, dtype=torch.float64):
    return torch.randn(*size, generator=torch.Generator().manual_seed(seed), dtype=dtype)


def perceptron(seed=0, widths=(3, 5, 4, 2)):
    """Layers "0", "2", "4" with ReLU between them."""
    layers = []
    for inputs, outputs in itertools.pairwise(widths):
        layer = nn.Linear(inputs, outputs).double()
        layer.weight.data = normal(outputs, inputs, seed=seed + outputs)
        layer.bias.data = normal(outputs, seed=seed + 50 + outputs)
        layers += [layer, nn.ReLU()]
    return nn.Sequential(*layers[:-1])


class Convolutional(nn.Module):
    """Convolutions with batch norm, then linear layers on a flattened map of six places."""

    def __init__(self):
        super().__init__()
        self.first = nn.Conv2d(1, 4, 3, padding=1)
        self.norm = nn.BatchNorm2d(4)
        self.second = nn.Conv2d(4, 3, 2, bias=False)
        self.middle = nn.Linear(3 * 6, 5)
        self.head = nn.Linear(5, 2)

    def forward(self, x):
        x = self.norm(self.first(x)).relu()
        x = self.second(x).relu().flatten(1)
        return self.head(self.middle(x).relu())


CHAIN = ["first", "norm", "second", "middle", "head"]


def convolutional(seed=0):
    torch.manual_seed(seed)
    model = Convolutional().double()
    for _ in range(3):
        model(torch.randn(9, 1, 3, 4, dtype=torch.float64))
    nn.init.normal_(model.norm.weight)
    nn.init.normal_(model.norm.bias)
    return model.eval()


def places_of(*sizes, seed=0):
    generator = torch.Generator().manual_seed(seed)
    return [torch.randperm(n, generator=generator) for n in sizes]


def distance(first, second):
    return sum(((first[name] - second[name]) ** 2).sum() for name in first)


def one(*values):
    return {"w": torch.tensor(values, dtype=torch.float64)}


# --- paths ---


def test_line_in_closed_form():
    source, target = one(1.0, -2.0), one(5.0, 6.0)
    assert_close(interpolate(source, target, share=0.25), one(2.0, 0.0))
    assert_close(interpolate(source, target, share=0), source)
    assert_close(interpolate(source, target, share=1), target)


def test_curve_in_closed_form():
    source, bend, target = one(1.0), one(10.0), one(4.0)
    value = 0.3**2 * 1 + 2 * 0.3 * 0.7 * 10 + 0.7**2 * 4
    assert_close(bezier(source, bend, target, share=0.7), one(value))
    assert_close(bezier(source, bend, target, share=0), source)
    assert_close(bezier(source, bend, target, share=1), target)


@given(share=st.floats(0, 1), seed=SEEDS)
def test_curve_bent_to_the_middle_is_the_line(share, seed):
    source, target = {"w": normal(3, seed=seed)}, {"w": normal(3, seed=seed + 1)}
    middle = interpolate(source, target, share=0.5)
    curve = bezier(source, middle, target, share=share)
    assert_close(curve, interpolate(source, target, share=share))


@given(share=st.floats(0, 1), seed=SEEDS)
def test_line_back_is_the_same_line(share, seed):
    source, target = {"w": normal(3, seed=seed)}, {"w": normal(3, seed=seed + 1)}
    there = interpolate(source, target, share=share)
    assert_close(there, interpolate(target, source, share=1 - share))


def test_paths_are_differentiable():
    def line(s, t):
        return interpolate({"w": s}, {"w": t}, share=0.3)["w"]

    def curve(s, b, t):
        return bezier({"w": s}, {"w": b}, {"w": t}, share=0.3)["w"]

    s, b, t = (normal(2, 3, seed=k).requires_grad_() for k in range(3))
    assert torch.autograd.gradcheck(line, (s, t))
    assert torch.autograd.gradcheck(curve, (s, b, t))


def test_gradient_reaches_the_bend_of_a_network():
    source, target = (dict(perceptron(seed).state_dict()) for seed in (0, 1))
    bend = {name: x.clone().requires_grad_() for name, x in source.items()}
    state = bezier(source, bend, target, share=0.25)
    x = normal(6, 3)
    loss = functional_call(perceptron(), state, (x,)).square().sum()
    loss.backward()
    inside = {name: x.detach().clone().requires_grad_() for name, x in state.items()}
    functional_call(perceptron(), inside, (x,)).square().sum().backward()
    for name, tensor in bend.items():
        assert_close(tensor.grad, 2 * 0.25 * 0.75 * inside[name].grad)


def test_what_is_no_number_of_the_network_is_the_first_states():
    source, target = (convolutional(seed).state_dict() for seed in (0, 1))
    target["norm.num_batches_tracked"] += 7
    middle = interpolate(source, target, share=0.5)
    assert middle["norm.num_batches_tracked"] == 3
    assert middle["norm.num_batches_tracked"].dtype == torch.int64
    Convolutional().double().load_state_dict(middle)


def test_nothing_is_changed_in_place():
    source, target = perceptron(0).state_dict(), perceptron(1).state_dict()
    before = {name: x.clone() for name, x in source.items()}
    axes = unit_axes(source, layers=["0", "2", "4"])
    found = weight_matching(source, target, axes=axes, generator=torch.Generator())
    permute(source, found, axes=axes)
    soup([source, target])
    add_task_vectors(source, task_vector(source, target))
    assert_close(dict(source), before)
    assert list(axes) == list(source)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_dtype_is_kept(dtype):
    source, target = {"w": torch.ones(2, dtype=dtype)}, {"w": torch.zeros(2, dtype=dtype)}
    for state in (
        interpolate(source, target, share=0.5),
        bezier(source, source, target, share=0.5),
        soup([source, target]),
        task_vector(source, target),
        add_task_vectors(source, target, scale=0.5),
    ):
        assert state["w"].dtype == dtype


# --- the barrier ---


def test_barrier_is_above_the_line_between_the_ends():
    assert_close(barrier(torch.tensor([0.0, 5.0, 2.0, 4.0])), torch.tensor(5 - 4 / 3))
    assert_close(barrier(torch.tensor([0.0, 1.0, 9.0, 4.0])), torch.tensor(9 - 8 / 3))


def test_slope_is_no_barrier():
    """The maximum less the mean of the ends would give 2 here."""
    assert barrier(torch.tensor([0.0, 1.0, 2.0, 3.0, 4.0])) == 0


@given(st.lists(st.floats(-100, 100), min_size=3, max_size=8), st.floats(-5, 5), st.floats(-5, 5))
def test_barrier_is_not_negative_and_ignores_a_slope(losses, level, slope):
    losses = torch.tensor(losses, dtype=torch.float64)
    tilted = losses + level + slope * torch.linspace(0, 1, len(losses), dtype=torch.float64)
    assert barrier(losses) >= 0
    assert_close(barrier(tilted), barrier(losses), atol=1e-9, rtol=0)
    assert_close(barrier(losses.flip(0)), barrier(losses), atol=1e-9, rtol=0)


def test_barrier_of_a_quadratic_loss_is_that_of_its_chord():
    """On t ↦ -(t - 1/2)², the chord lies 1/4 below the top."""
    t = torch.linspace(0, 1, 5, dtype=torch.float64)
    assert_close(barrier(-((t - 0.5) ** 2)), torch.tensor(0.25, dtype=torch.float64))
    assert torch.autograd.gradcheck(barrier, (normal(6).requires_grad_(),))


# --- permutations ---


def test_axes_of_a_chain_with_norm_and_flattened_map():
    state = convolutional().state_dict()
    axes = unit_axes(state, layers=CHAIN)
    assert axes == {
        "first.weight": ("first", None, None, None),
        "first.bias": ("first",),
        "norm.weight": ("first",),
        "norm.bias": ("first",),
        "norm.running_mean": ("first",),
        "norm.running_var": ("first",),
        "norm.num_batches_tracked": (),
        "second.weight": ("second", "first", None, None),
        "middle.weight": ("middle", "second"),
        "middle.bias": ("middle",),
        "head.weight": (None, "middle"),
        "head.bias": (None,),
    }


def test_norm_before_the_first_and_after_the_last_layer_keeps_its_places():
    model = nn.Sequential(nn.LayerNorm(3), nn.Linear(3, 2), nn.Linear(2, 4), nn.LayerNorm(4))
    axes = unit_axes(model.state_dict(), layers=["0", "1", "2", "3"])
    assert axes["0.weight"] == axes["3.weight"] == (None,)
    assert axes["1.weight"] == ("1", None)
    assert axes["2.weight"] == (None, "1")


def test_permutation_by_matrices():
    """W_l ↦ P_l W_l P_{l-1}ᵀ with (P x)_i = x_{π(i)}."""
    state = perceptron().state_dict()
    first, second = places_of(5, 4)
    P, Q = torch.eye(5).double()[first], torch.eye(4).double()[second]
    axes = unit_axes(state, layers=["0", "2", "4"])
    moved = permute(state, {"0": first, "2": second}, axes=axes)
    assert_close(moved["0.weight"], P @ state["0.weight"])
    assert_close(moved["0.bias"], P @ state["0.bias"])
    assert_close(moved["2.weight"], Q @ state["2.weight"] @ P.T)
    assert_close(moved["4.weight"], state["4.weight"] @ Q.T)
    assert_close(moved["4.bias"], state["4.bias"])


@settings(deadline=None, max_examples=20)
@given(seed=SEEDS)
def test_permuted_network_computes_the_same(seed):
    x = normal(7, 1, 3, 4, seed=seed)
    model = convolutional(seed)
    before = model(x)
    axes = unit_axes(model.state_dict(), layers=CHAIN)
    orders = dict(zip(("first", "second", "middle"), places_of(4, 3, 5, seed=seed), strict=True))
    moved = permute(model.state_dict(), orders, axes=axes)
    model.load_state_dict(moved)
    assert_close(model(x), before)
    back = {group: order.argsort() for group, order in orders.items()}
    assert_close(permute(moved, back, axes=axes), dict(convolutional(seed).state_dict()))


def test_group_without_a_permutation_keeps_its_places():
    state = perceptron().state_dict()
    axes = unit_axes(state, layers=["0", "2", "4"])
    assert_close(permute(state, {}, axes=axes), dict(state))
    moved = permute(state, {"2": torch.tensor([1, 0, 2, 3])}, axes=axes)
    assert_close(moved["0.weight"], state["0.weight"])
    assert_close(moved["2.weight"][0], state["2.weight"][1])


def test_sum_of_two_branches_shares_a_group():
    """Outputs that are added must move together, as in a residual block."""
    state = {
        "into.weight": normal(4, 3, seed=1),
        "skip.weight": normal(4, 3, seed=2),
        "out.weight": normal(2, 4, seed=3),
    }
    axes = {"into.weight": ("h", None), "skip.weight": ("h", None), "out.weight": (None, "h")}

    def output(state, x):
        hidden = (x @ state["into.weight"].T).relu() + x @ state["skip.weight"].T
        return hidden @ state["out.weight"].T

    x = normal(5, 3)
    moved = permute(state, {"h": torch.tensor([2, 0, 3, 1])}, axes=axes)
    assert_close(output(moved, x), output(state, x))
    found = weight_matching(state, moved, axes=axes, generator=torch.Generator())
    assert found["h"].tolist() == [2, 0, 3, 1]


@settings(deadline=None, max_examples=20)
@given(seed=SEEDS)
def test_matching_finds_a_permutation_again(seed):
    state = perceptron(seed, widths=(6, 7, 8, 3)).state_dict()
    axes = unit_axes(state, layers=["0", "2", "4"])
    orders = dict(zip(("0", "2"), places_of(7, 8, seed=seed), strict=True))
    moved = permute(state, orders, axes=axes)
    found = weight_matching(state, moved, axes=axes, generator=torch.Generator().manual_seed(seed))
    assert {group: order.tolist() for group, order in found.items()} == {
        group: order.tolist() for group, order in orders.items()
    }
    assert_close(permute(state, found, axes=axes), moved)


def test_matching_finds_the_permutation_of_a_convolutional_network_again():
    state = dict(convolutional().state_dict())
    axes = unit_axes(state, layers=CHAIN)
    orders = dict(zip(("first", "second", "middle"), places_of(4, 3, 5, seed=3), strict=True))
    moved = permute(state, orders, axes=axes)
    found = weight_matching(state, moved, axes=axes, generator=torch.Generator().manual_seed(0))
    assert_close(permute(state, found, axes=axes), moved)
    only = {name: groups for name, groups in axes.items() if "norm" not in name}
    found = weight_matching(state, moved, axes=only, generator=torch.Generator().manual_seed(0))
    assert_close(permute(state, found, axes=axes), moved)


@settings(deadline=None, max_examples=20)
@given(seed=SEEDS)
def test_one_group_is_matched_as_well_as_all_permutations_could(seed):
    source, target = (perceptron(seed + k, widths=(3, 4, 2)).state_dict() for k in (0, 9))
    axes = unit_axes(source, layers=["0", "2"])
    found = weight_matching(source, target, axes=axes, generator=torch.Generator())
    reached = distance(permute(source, found, axes=axes), target)
    every = (
        distance(permute(source, {"0": torch.tensor(order)}, axes=axes), target)
        for order in itertools.permutations(range(4))
    )
    assert_close(reached, min(every))


@settings(deadline=None, max_examples=20)
@given(seed=SEEDS)
def test_no_swap_in_a_single_group_improves_a_matching(seed):
    source, target = (perceptron(seed + k).state_dict() for k in (0, 9))
    axes = unit_axes(source, layers=["0", "2", "4"])
    found = weight_matching(
        source, target, axes=axes, generator=torch.Generator().manual_seed(seed)
    )
    reached = distance(permute(source, found, axes=axes), target)
    assert reached <= distance(source, target) + 1e-9
    for group, order in found.items():
        for i, j in itertools.combinations(range(len(order)), 2):
            swapped = order.clone()
            swapped[[i, j]] = order[[j, i]]
            other = permute(source, found | {group: swapped}, axes=axes)
            assert distance(other, target) >= reached - 1e-9


def test_more_rounds_come_closer_and_the_generator_decides():
    source, target = (perceptron(k, widths=(6, 9, 9, 9, 3)).state_dict() for k in (0, 30))
    axes = unit_axes(source, layers=["0", "2", "4", "6"])

    def reached(rounds, seed=0):
        generator = torch.Generator().manual_seed(seed)
        found = weight_matching(source, target, axes=axes, generator=generator, rounds=rounds)
        return distance(permute(source, found, axes=axes), target).item()

    assert reached(100) < reached(1) < distance(source, target)
    assert reached(100) == reached(100)
    assert len({reached(100, seed) for seed in range(6)}) > 1


def test_matching_stops_once_nothing_gains():
    """Of two equal networks: after the first round, which draws one order of the groups."""
    state = perceptron(widths=(6, 9, 9, 9, 3)).state_dict()
    axes = unit_axes(state, layers=["0", "2", "4", "6"])
    used, once = (torch.Generator().manual_seed(7) for _ in range(2))
    weight_matching(state, state, axes=axes, generator=used)
    torch.randperm(3, generator=once)
    assert torch.equal(used.get_state(), once.get_state())


def test_matching_needs_no_gradient_and_reads_any_dtype():
    source, target = (
        {name: x.float().requires_grad_() for name, x in perceptron(k).state_dict().items()}
        for k in (0, 1)
    )
    axes = unit_axes(source, layers=["0", "2", "4"])
    found = weight_matching(source, target, axes=axes, generator=torch.Generator())
    assert all(order.dtype == torch.int64 for order in found.values())
    assert permute(source, found, axes=axes)["0.weight"].requires_grad


# --- averages ---


def test_soup_is_torchs_average():
    states = [perceptron(seed).state_dict() for seed in range(3)]
    average = AveragedModel(perceptron(0))
    for seed in range(3):
        average.update_parameters(perceptron(seed))
    assert_close(soup(states), dict(average.module.state_dict()))


def test_soup_with_weights_in_closed_form():
    assert_close(soup([one(1.0), one(5.0), one(9.0)], weights=[0.5, 0.5, 0]), one(3.0))
    assert_close(soup([one(4.0)]), one(4.0))
    pair = [one(1.0), one(5.0)]
    assert_close(soup(pair, weights=[0.75, 0.25]), interpolate(*pair, share=0.25))


def test_soup_of_many():
    states = [one(float(k)) for k in range(300)]
    assert_close(soup(states, weights=[1 / 300] * 300), one(149.5))


def test_soup_of_linear_networks_is_their_ensemble():
    """Of linear networks of one layer; of others it isn't."""
    x, layers = normal(4, 3), [normal(2, 3, seed=k) for k in range(3)]
    mean = sum(x @ layer.T for layer in layers) / 3
    assert_close(x @ soup([{"w": layer} for layer in layers])["w"].T, mean)


def closeness(state, goal=3.0):
    return -abs(state["w"].item() - goal)


def test_greedy_soup_by_hand():
    """4 starts; with 1 it is 2.5, better; with 9 it would be 4.67, worse."""
    made = greedy_soup([one(9.0), one(1.0), one(4.0)], closeness)
    assert made == Soup(made.state, (2, 1), -0.5)
    assert_close(made.state, one(2.5))


def test_greedy_soup_takes_a_tie_and_the_earlier_of_equals_first():
    made = greedy_soup([one(2.0), one(4.0), one(4.0)], lambda state: 1.0)
    assert made.members == (0, 1, 2)
    assert_close(made.state, one(10 / 3))


def test_greedy_soup_of_one_and_of_a_counted_score():
    calls = []

    def score(state):
        calls.append(state["w"].item())
        return torch.tensor(closeness(state))

    made = greedy_soup([one(8.0)], score)
    assert (made.members, made.score) == ((0,), -5.0)
    assert isinstance(made.score, float)
    assert calls == [8.0]


@given(st.lists(st.floats(-10, 10), min_size=1, max_size=6))
def test_greedy_soup_is_no_worse_than_the_best(values):
    states = [one(value) for value in values]
    made = greedy_soup(states, closeness)
    assert made.score >= max(map(closeness, states))
    assert_close(soup([states[m] for m in made.members]), made.state)
    assert_close(closeness(made.state), made.score)


# --- task vectors ---


def test_task_vector_leads_from_start_to_tuned_and_back():
    start, tuned = convolutional(0).state_dict(), convolutional(1).state_dict()
    vector = task_vector(start, tuned)
    assert "norm.num_batches_tracked" not in vector
    assert_close(vector["head.bias"], tuned["head.bias"] - start["head.bias"])
    there = add_task_vectors(start, vector)
    assert_close(there, dict(tuned))
    assert list(there) == list(start)
    back = task_vector(tuned, start)
    assert_close(add_task_vectors(start, vector, back), dict(start))


def test_sum_of_vectors_in_closed_form():
    start, first, second = one(1.0, 1.0), one(2.0, 0.0), one(0.0, 6.0)
    assert_close(add_task_vectors(start, first, second), one(3.0, 7.0))
    assert_close(add_task_vectors(start, first, second, scale=0.5), one(2.0, 4.0))
    assert_close(add_task_vectors(start, first, scale=-1), one(-1.0, 1.0))
    assert_close(add_task_vectors(start, first, scale=0), start)


@given(scale=st.floats(-3, 3), seed=SEEDS)
def test_one_over_k_times_the_vectors_is_the_soup(scale, seed):
    start, *tuned = ({"w": normal(4, seed=seed + k)} for k in range(4))
    vectors = [task_vector(start, state) for state in tuned]
    assert_close(add_task_vectors(start, *vectors, scale=1 / 3), soup(tuned))
    forward = add_task_vectors(start, *vectors, scale=scale)
    assert_close(add_task_vectors(forward, *vectors, scale=-scale), start)


def test_vectors_of_a_linear_model_add_their_outputs():
    """f(x; θ₀ + Στ) = f(x; θ₀) + Σ [f(x; θ_k) - f(x; θ₀)] if f is linear in θ."""
    x = normal(5, 3)
    start, *tuned = ({"w": normal(3, seed=k)} for k in range(3))
    vectors = [task_vector(start, state) for state in tuned]
    total = x @ start["w"] + sum(x @ state["w"] - x @ start["w"] for state in tuned)
    assert_close(x @ add_task_vectors(start, *vectors)["w"], total)


def test_averages_and_vectors_are_differentiable():
    def combined(a, b):
        vector = task_vector({"w": a}, {"w": b})
        added = add_task_vectors({"w": a}, vector, scale=0.3)
        return soup([added, {"w": b}], weights=[0.2, 0.8])["w"]

    a, b = (normal(2, 3, seed=k).requires_grad_() for k in range(2))
    assert torch.autograd.gradcheck(combined, (a, b))
    permuted = partial(permute, permutations={"h": torch.tensor([2, 0, 1])}, axes={"w": ("h",)})
    assert torch.autograd.gradcheck(
        lambda x: permuted({"w": x})["w"], (normal(3).requires_grad_(),)
    )


# --- bad input ---

PAIRS = {
    "interpolate": (partial(interpolate, share=0.5), "source", "target"),
    "bezier": (lambda a, b: bezier(a, a, b, share=0.5), "source", "target"),
    "weight_matching": (
        lambda a, b: weight_matching(a, b, axes={"w": ("h",)}, generator=torch.Generator()),
        "source",
        "target",
    ),
    "soup": (lambda a, b: soup([a, b]), r"states\[0\]", r"states\[1\]"),
    "task_vector": (task_vector, "start", "tuned"),
    "add_task_vectors": (add_task_vectors, "start", r"vectors\[0\]"),
}
pairs = pytest.mark.parametrize(("function", "first", "second"), PAIRS.values(), ids=PAIRS)


@pairs
def test_states_of_two_architectures(function, first, second):
    with pytest.raises(ValueError, match=rf"{second} has no 'w'.*one architecture"):
        function(one(1.0), {})
    with pytest.raises(ValueError, match=rf"{first} has no 'v' \(1 such\)"):
        function(one(1.0), one(1.0) | {"v": torch.ones(1)})
    with pytest.raises(ValueError, match=rf"{second} has no 'u' \(2 such\)"):
        function(one(1.0) | {"u": torch.ones(1)}, one(1.0) | {"v": torch.ones(1)})
    with pytest.raises(ValueError, match=r"shapes must be equal, got .*'w'.* \(1,\).* \(2,\)"):
        function(one(1.0), one(1.0, 2.0))


@pairs
def test_states_that_hold_no_finite_tensors(function, first, second):
    with pytest.raises(TypeError, match=rf"{second}\['w'\] must be a torch.Tensor, got float"):
        function(one(1.0), {"w": 1.0})
    with pytest.raises(ValueError, match=rf"{first}\['w'\] contains NaN"):
        function(one(float("nan")), one(1.0))
    with pytest.raises(ValueError, match=rf"{second}\['w'\] must be finite"):
        function(one(1.0), one(float("inf")))
    with pytest.raises(TypeError, match="one dtype"):
        function(one(1.0), {"w": torch.ones(1)})


def test_share_outside_the_path():
    for share in (-0.1, 1.1, float("nan")):
        with pytest.raises(ValueError, match=r"share must lie in \[0, 1\]"):
            interpolate(one(1.0), one(2.0), share=share)
        with pytest.raises(ValueError, match=r"share must lie in \[0, 1\]"):
            bezier(one(1.0), one(1.0), one(2.0), share=share)


def test_losses_that_are_no_path():
    with pytest.raises(ValueError, match=r"three or more in one row, got shape \(2,\)"):
        barrier(torch.ones(2))
    with pytest.raises(ValueError, match=r"got shape \(3, 1\); measure the loss at both ends"):
        barrier(torch.ones(3, 1))
    with pytest.raises(TypeError, match="floating-point"):
        barrier(torch.arange(3))
    with pytest.raises(ValueError, match="NaN"):
        barrier(torch.tensor([1.0, float("nan"), 1.0]))
    with pytest.raises(ValueError, match="finite"):
        barrier(torch.tensor([1.0, float("inf"), 1.0]))


def test_layers_that_are_no_chain():
    state = perceptron().state_dict()
    for layers in ([], "0"):
        with pytest.raises(ValueError, match="layers must be a list of names, got"):
            unit_axes(state, layers=layers)
    with pytest.raises(ValueError, match="the state has no layer '1'"):
        unit_axes(state, layers=["0", "1", "2", "4"])
    with pytest.raises(ValueError, match=r"not among layers: \['2', '4'\]; units can't"):
        unit_axes(state, layers=["0"])
    with pytest.raises(TypeError, match=r"torch\.Tensor"):
        unit_axes({"0.weight": [1.0]}, layers=["0"])


def test_permutations_that_are_none():
    state = perceptron().state_dict()
    move = partial(permute, state, axes=unit_axes(state, layers=["0", "2", "4"]))
    for order in ([0, 1, 2, 3, 3], [0, 1, 2, 3], [1, 2, 3, 4, 5], [0.0, 1.0, 2.0, 3.0, 4.0]):
        with pytest.raises(ValueError, match=r"permutations\['0'\] must hold each whole number "
                           "from 0 to 4 once"):  # fmt: skip
            move({"0": torch.tensor(order)})
    with pytest.raises(ValueError, match=r"0 to 4 once, got torch\.bool"):
        move({"0": torch.tensor([True, False, True, True, True])})
    with pytest.raises(TypeError, match=r"permutations\['0'\] must be a torch.Tensor, got list"):
        move({"0": [0, 1, 2, 3, 4]})
    with pytest.raises(ValueError, match="no axis counts the units of '4'; known names: '0', '2'"):
        move({"4": torch.tensor([1, 0])})


def test_axes_that_do_not_fit():
    state = perceptron().state_dict()
    with pytest.raises(ValueError, match=r"state has no tensor '1.weight' of axes"):
        permute(state, {}, axes={"1.weight": ("h", None)})
    with pytest.raises(
        ValueError, match=r"axes gives 1 groups for 0.weight, whose shape is \(5, 3"
    ):
        permute(state, {}, axes={"0.weight": ("h",)})
    axes = {"0.weight": ("h", None), "4.weight": (None, "h")}
    with pytest.raises(ValueError, match=r"group 'h' has 4 units.*\{'0.weight \(axis 0\)': 5\}"):
        permute(state, {}, axes=axes)
    square = {"w": normal(3, 3)}
    match = partial(weight_matching, square, square, generator=torch.Generator())
    with pytest.raises(ValueError, match="w counts the units of 'h' on two axes"):
        match(axes={"w": ("h", "h")})
    with pytest.raises(ValueError, match=r"rounds must lie in \[1, inf"):
        match(axes={"w": ("h", None)}, rounds=0)
    with pytest.raises(ValueError, match="source has no tensor"):
        match(axes={"v": ("h",)})
    assert match(axes={"w": (None, None)}) == {}


def test_soups_of_nothing_and_weights_that_do_not_fit():
    for function in (soup, partial(greedy_soup, score=closeness)):
        with pytest.raises(ValueError, match="at least one state, got none; write"):
            function([])
        with pytest.raises(ValueError, match="a list of at least one state, got one state"):
            function(one(1.0))
    with pytest.raises(ValueError, match="got 1 weights for 2 states; give one a state"):
        soup([one(1.0), one(2.0)], weights=[1.0])
    with pytest.raises(ValueError, match=r"must have sum 1, got 1.5; divide each"):
        soup([one(1.0), one(2.0)], weights=[1.0, 0.5])
    with pytest.raises(ValueError, match=r"a weight must lie in \[0, inf"):
        soup([one(1.0), one(2.0)], weights=[1.5, -0.5])
    with pytest.raises(ValueError, match="the score of a state is NaN"):
        greedy_soup([one(1.0)], lambda state: float("nan"))


def test_no_vectors_and_a_scale_that_is_no_number():
    with pytest.raises(ValueError, match="no vectors to add; make one with task_vector"):
        add_task_vectors(one(1.0))
    for scale in (float("nan"), float("inf")):
        with pytest.raises(ValueError, match="scale must lie in"):
            add_task_vectors(one(1.0), one(1.0), scale=scale)
