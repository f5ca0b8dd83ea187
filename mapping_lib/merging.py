r"""Map the parameters of one network to those of another (section 2.3.2): permute its units, go
from one to the other on a line or a curve, average several, add and subtract what they learned.

A network is its state, the tensors by name that ``model.state_dict()`` returns; a result is a state
that ``model.load_state_dict(...)`` takes. What isn't floating point, such as the counter of batch
norm, is taken over from the first state. Nothing is changed in place, and gradients flow through
every tensor, so that a path between networks can be trained itself.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import NamedTuple, TypeAlias

import torch
from torch import Tensor

from mapping_lib._checks import (
    place_of,
    require_finite,
    require_float,
    require_number,
    require_same_shape,
    require_tensor,
    shape,
)
from mapping_lib._names import suggest

__all__ = [
    "Soup",
    "add_task_vectors",
    "barrier",
    "bezier",
    "greedy_soup",
    "interpolate",
    "permute",
    "soup",
    "task_vector",
    "unit_axes",
    "weight_matching",
]

State: TypeAlias = Mapping[str, Tensor]
"""The tensors of a network by name, as ``model.state_dict()`` returns them."""

Axes: TypeAlias = Mapping[str, Sequence[str | None]]
"""By a tensor's name, whose units each of its axes counts; None where they keep their places."""

Permutations: TypeAlias = Mapping[str, Tensor]
"""By the name of a group of units, ``(n,)``: entry i is the unit that goes to place i."""


class Soup(NamedTuple):
    """The average of some networks, which ones they are, and the score of their average.

    Made by :func:`greedy_soup`.
    """

    state: dict[str, Tensor]
    members: tuple[int, ...]
    score: float


def interpolate(source: State, target: State, *, share: float) -> dict[str, Tensor]:
    r"""Go a share of the way from one network to another, in a straight line.

    .. math:: \theta(t) = (1 - t) \, \theta_s + t \, \theta_t

    Taught in :ref:`mapping-parameter-spaces` (section 2.3.2).
    Source: :cite:t:`frankle2020linear`, section 2.

    Parameters
    ----------
    source
        The state at :math:`t = 0`.
    target
        The state at :math:`t = 1`, with the same names and shapes.
    share
        :math:`t`, in [0, 1].

    Returns
    -------
    dict of str to Tensor
        The state there.

    Raises
    ------
    TypeError
        A value isn't a tensor, or the dtypes of a pair differ.
    ValueError
        Names or shapes differ, a tensor holds NaN or infinite values, or the share is outside
        [0, 1].

    Examples
    --------
    >>> interpolate({"w": torch.tensor([0.])}, {"w": torch.tensor([4.])}, share=0.25)
    {'w': tensor([1.])}
    """
    require_number("share", share, most=1)
    return _combine([1 - share, share], source=source, target=target)


def barrier(losses: Tensor) -> Tensor:
    r"""How far the loss on a path rises over the line between the losses at its ends.

    .. math::

        \max_{t \in [0, 1]} \; L(\theta(t))
        - \bigl[ (1 - t) \, L(\theta(0)) + t \, L(\theta(1)) \bigr]

    The largest value in the middle, less the mean of the ends, would call a slope a barrier.
    Between the points given the loss may be higher.

    Taught in :ref:`mapping-parameter-spaces` (section 2.3.2).
    Source: :cite:t:`entezari2022role`, section 2.

    Parameters
    ----------
    losses
        At points of the path that are evenly spaced in t, both ends among them, ``(k,)``, k ≥ 3.

    Returns
    -------
    Tensor
        A scalar in units of the loss, not negative: 0 for a path on which it nowhere rises.

    Raises
    ------
    TypeError
        The losses aren't floating point.
    ValueError
        There are fewer than three, they aren't in one row, or they are NaN or infinite.

    Examples
    --------
    >>> barrier(torch.tensor([1., 5., 3.]))  # 5 - (1 + 3) / 2
    tensor(3.)
    """
    require_float(losses=losses)
    require_finite(losses=losses)
    if losses.ndim != 1 or len(losses) < 3:
        raise ValueError(
            f"losses must be three or more in one row, got shape {shape(losses)}; "
            "measure the loss at both ends and between them"
        )
    t = torch.linspace(0, 1, len(losses), dtype=losses.dtype, device=losses.device)
    return (losses - ((1 - t) * losses[0] + t * losses[-1])).max()


def bezier(source: State, bend: State, target: State, *, share: float) -> dict[str, Tensor]:
    r"""Go a share of the way from one network to another, on a curve that a third one bends.

    .. math:: \gamma(t) = (1 - t)^2 \, \theta_s + 2 t (1 - t) \, \theta_b + t^2 \, \theta_t

    It starts at the source and ends at the target whatever the bend, which can be trained to make
    the loss on the way small, at t drawn from [0, 1] anew in every step.

    Taught in :ref:`mapping-parameter-spaces` (section 2.3.2).
    Source: :cite:t:`garipov2018loss`, section 3.2.

    Parameters
    ----------
    source
        The state at :math:`t = 0`.
    bend
        The state that the curve is drawn to; the curve passes by it.
    target
        The state at :math:`t = 1`.
    share
        :math:`t`, in [0, 1].

    Returns
    -------
    dict of str to Tensor
        The state there.

    Raises
    ------
    TypeError
        A value isn't a tensor, or dtypes differ.
    ValueError
        Names or shapes differ, a tensor holds NaN or infinite values, or the share is outside
        [0, 1].

    Examples
    --------
    >>> source, bend, target = ({"w": torch.tensor([value])} for value in (0., 4., 0.))
    >>> bezier(source, bend, target, share=0.5)  # half of the way to the bend
    {'w': tensor([2.])}
    """
    require_number("share", share, most=1)
    coefficients = [(1 - share) ** 2, 2 * share * (1 - share), share**2]
    return _combine(coefficients, source=source, bend=bend, target=target)


def unit_axes(state: State, *, layers: Sequence[str]) -> dict[str, tuple[str | None, ...]]:
    r"""Say which axes of a chain of layers count the units of which layer.

    .. math:: W_l : (\text{units of layer } l) \times (\text{units of layer } l - 1) \times \dots

    A bias and a norm layer count the units of the layer before. Inputs of the first layer and
    outputs of the last one keep their places, so their axes have no name. A network that isn't a
    chain needs a table of its own: two layers whose outputs are added share one name.

    Taught in :ref:`mapping-parameter-spaces` (section 2.3.2).
    Source: :cite:t:`ainsworth2023git`, section 3.

    Parameters
    ----------
    state
        Of the network.
    layers
        Names of its layers with parameters, in the order in which they are computed: linear,
        convolutional, and norm layers.

    Returns
    -------
    dict of str to tuple
        By a tensor's name, for each of its axes the layer whose units it counts, or None.

    Raises
    ------
    TypeError
        A value of the state isn't a tensor.
    ValueError
        No layers, a layer that the state doesn't have, or tensors that belong to none of them.

    Examples
    --------
    >>> model = torch.nn.Sequential(torch.nn.Linear(2, 3), torch.nn.ReLU(), torch.nn.Linear(3, 1))
    >>> axes = unit_axes(model.state_dict(), layers=["0", "2"])
    >>> axes["0.weight"], axes["0.bias"], axes["2.weight"]
    (('0', None), ('0',), (None, '0'))
    """
    if not layers or isinstance(layers, str):
        raise ValueError(f"layers must be a list of names, got {layers!r}; give at least one")
    require_tensor(**state)
    known = {name.rpartition(".")[0] for name in state}
    for layer in layers:
        if f"{layer}.weight" not in state:
            raise ValueError(f"the state has no layer {layer!r}{suggest(layer, known)}")
    if forgotten := known - set(layers):
        raise ValueError(
            f"these layers of the state are not among layers: {sorted(forgotten)}; "
            "units can't be permuted in some of their layers only"
        )
    maps = [layer for layer in layers if state[f"{layer}.weight"].ndim > 1]
    axes: dict[str, tuple[str | None, ...]] = {}
    units: str | None = None
    for layer in layers:
        inputs = units
        if layer in maps:
            units = None if layer == maps[-1] else layer
        for name, tensor in state.items():
            if name.rpartition(".")[0] == layer:
                places = tensor.ndim - 2
                wide = (units, inputs, *[None] * places)
                axes[name] = wide if places >= 0 else (units,) * tensor.ndim
    return axes


def permute(state: State, permutations: Permutations, *, axes: Axes) -> dict[str, Tensor]:
    r"""Give the units of a network other places; the function that it computes stays the same.

    .. math:: W_l \mapsto P_l W_l P_{l-1}^\top, \qquad b_l \mapsto P_l b_l

    An axis that is k times as long as its group, as that of a linear layer after a flattened
    feature map with k places, moves in blocks of k.

    Taught in :ref:`mapping-parameter-spaces` (section 2.3.2).
    Source: :cite:t:`ainsworth2023git`, section 2.

    Parameters
    ----------
    state
        Of the network.
    permutations
        By the name of a group, ``(n,)``: entry i is the unit that goes to place i. A group without
        one keeps its places.
    axes
        Whose units each axis counts, as :func:`unit_axes` says it for a chain.

    Returns
    -------
    dict of str to Tensor
        The permuted state.

    Raises
    ------
    TypeError
        A value of the state isn't a tensor.
    ValueError
        A permutation isn't one, belongs to no axis or doesn't fit it; or a tensor of `axes` is
        missing or has another number of axes.

    Examples
    --------
    >>> state = {"0.weight": torch.tensor([[1.], [2.]]), "1.weight": torch.tensor([[3., 4.]])}
    >>> axes = unit_axes(state, layers=["0", "1"])
    >>> permute(state, {"0": torch.tensor([1, 0])}, axes=axes)["1.weight"]
    tensor([[4., 3.]])
    """
    sizes = _group_sizes(axes, state=state)
    for group, order in permutations.items():
        if group not in sizes:
            raise ValueError(f"no axis counts the units of {group!r}{suggest(group, sizes)}")
        _require_permutation(order, group, sizes[group])
    result = dict(state)
    for name, groups in axes.items():
        result[name] = _moved(state[name], groups, permutations)
    return result


def weight_matching(
    source: State,
    target: State,
    *,
    axes: Axes,
    generator: torch.Generator,
    rounds: int = 100,
) -> dict[str, Tensor]:
    r"""Find places for the source's units in which its weights come closest to the target's.

    .. math::

        \pi = \arg\min_\pi \lVert \pi(\theta_s) - \theta_t \rVert^2
            = \arg\max_\pi \langle \pi(\theta_s), \theta_t \rangle

    With the others held fixed, the best permutation of one group is a linear assignment problem,
    which has an exact solution. Groups take turns in random order until none of them gains.
    What is reached no single group can improve; a better one may exist, and another draw may find
    it. No data are needed, no gradients flow. Every tensor of `axes` counts, so the running
    statistics of batch norm do, too: leave them out of `axes` for the search.

    Taught in :ref:`mapping-parameter-spaces` (section 2.3.2).
    Source: :cite:t:`ainsworth2023git`, section 3.2 and algorithm 1.

    Parameters
    ----------
    source
        The state whose units are to be permuted.
    target
        The state that they are to match, with the same names and shapes.
    axes
        Whose units each axis counts, as :func:`unit_axes` says it for a chain.
    generator
        Draws the order of the groups.
    rounds
        How often each group takes its turn at most.

    Returns
    -------
    dict of str to Tensor
        The permutation of each group, for :func:`permute`.

    Raises
    ------
    TypeError
        A value of a state isn't a tensor, or the dtypes of a pair differ.
    ValueError
        Names or shapes differ, a tensor holds NaN or infinite values, `axes` doesn't fit the
        states, or a tensor counts one group on two axes.

    Examples
    --------
    >>> source = {"0.weight": torch.tensor([[1.], [2.]]), "1.weight": torch.tensor([[3., 4.]])}
    >>> target = {"0.weight": torch.tensor([[2.], [1.]]), "1.weight": torch.tensor([[4., 3.]])}
    >>> axes = unit_axes(source, layers=["0", "1"])
    >>> weight_matching(source, target, axes=axes, generator=torch.Generator().manual_seed(0))
    {'0': tensor([1, 0])}
    """
    from scipy.optimize import linear_sum_assignment

    require_number("rounds", rounds, least=1)
    _require_alike(source=source, target=target)
    sizes = _group_sizes(axes, source=source)
    for name, groups in axes.items():
        named = [group for group in groups if group is not None]
        if twice := [group for group in named if named.count(group) > 1]:
            raise ValueError(
                f"{name} counts the units of {twice[0]!r} on two axes, which no assignment of one "
                "group alone solves; give the axes different groups, or leave the group out"
            )
    names = list(sizes)
    permutations = {group: torch.arange(n, device="cpu") for group, n in sizes.items()}
    for _ in range(int(rounds)):
        gained = False
        for turn in torch.randperm(len(names), generator=generator, device=place_of(generator)):
            group = names[int(turn)]
            alike = _similarity(source, target, axes, permutations, group, sizes[group])
            places, units = linear_sum_assignment(alike.numpy(), maximize=True)
            best, held = alike[places, units].sum(), alike[places, permutations[group]].sum()
            if best > held + 1e-9 * alike.abs().max():
                permutations[group] = torch.from_numpy(units)
                gained = True
        if not gained:
            break
    return permutations


def soup(states: Sequence[State], *, weights: Sequence[float] | None = None) -> dict[str, Tensor]:
    r"""Average the parameters of several networks.

    .. math:: \bar\theta = \sum_m w_m \, \theta_m

    For M networks, all weights are :math:`w_m = 1 / M` unless given.

    It needs as much time and memory as one network, where an ensemble, the average of outputs,
    needs M times as much. It makes sense only for networks without a barrier between them, as those
    fine-tuned from one start often are.

    Taught in :ref:`mapping-parameter-spaces` (section 2.3.2).
    Source: :cite:t:`wortsman2022model`, section 2.

    Parameters
    ----------
    states
        At least one, with the same names and shapes.
    weights
        :math:`w_m`, not negative, with sum 1; None for equal ones.

    Returns
    -------
    dict of str to Tensor
        The average.

    Raises
    ------
    TypeError
        A value isn't a tensor, or dtypes differ.
    ValueError
        There are no states, names or shapes differ, a tensor holds NaN or infinite values, or the
        weights don't fit.

    Examples
    --------
    >>> soup([{"w": torch.tensor([0.])}, {"w": torch.tensor([1.])}, {"w": torch.tensor([5.])}])
    {'w': tensor([2.])}
    """
    _require_several(states)
    if weights is None:
        weights = [1 / len(states)] * len(states)
    if len(weights) != len(states):
        raise ValueError(f"got {len(weights)} weights for {len(states)} states; give one a state")
    for weight in weights:
        require_number("a weight", weight)
    if abs(sum(weights) - 1) > 1e-6:
        raise ValueError(
            f"the weights must have sum 1, got {sum(weights):g}; divide each by their sum"
        )
    return _combine(weights, **{f"states[{m}]": state for m, state in enumerate(states)})


def greedy_soup(states: Sequence[State], score: Callable[[dict[str, Tensor]], float]) -> Soup:
    r"""Average those networks whose joining the average makes it no worse.

    .. math::

        S \leftarrow S \cup \{m\} \quad \text{if} \quad
        s(\bar\theta_{S \cup \{m\}}) \ge s(\bar\theta_S)

    where :math:`\bar\theta_S` is the average of the chosen ones.

    The networks m come in the order of their own score s, the best first, which :math:`S` starts
    with. On the data of the score the soup is therefore no worse than the best of them.

    Taught in :ref:`mapping-parameter-spaces` (section 2.3.2).
    Source: :cite:t:`wortsman2022model`, recipe 1.

    Parameters
    ----------
    states
        At least one, with the same names and shapes.
    score
        Takes a state and returns how good it is on held-out data, not on test data: larger is
        better.

    Returns
    -------
    Soup
        The average, which states are in it, in the order in which they joined, and its score.

    Raises
    ------
    TypeError
        A value isn't a tensor, or dtypes differ.
    ValueError
        There are no states, names or shapes differ, a tensor holds NaN or infinite values, or a
        score is NaN.

    Examples
    --------
    >>> states = [{"w": torch.tensor([value])} for value in (1., 4., 9.)]
    >>> greedy_soup(states, lambda state: -abs(state["w"].item() - 3))
    Soup(state={'w': tensor([2.5000])}, members=(1, 0), score=-0.5)
    """
    _require_several(states)
    alone = [_scored(score, dict(state)) for state in states]
    order = sorted(range(len(states)), key=lambda m: alone[m], reverse=True)
    members, best, reached = [order[0]], soup([states[order[0]]]), alone[order[0]]
    for m in order[1:]:
        tried = soup([states[member] for member in (*members, m)])
        value = _scored(score, tried)
        if value >= reached:
            members, best, reached = [*members, m], tried, value
    return Soup(best, tuple(members), reached)


def task_vector(start: State, tuned: State) -> dict[str, Tensor]:
    r"""What fine-tuning has changed: a direction in the space of parameters.

    .. math:: \tau = \theta_\text{tuned} - \theta_\text{start}

    Taught in :ref:`mapping-parameter-spaces` (section 2.3.2).
    Source: :cite:t:`ilharco2023editing`, section 2.

    Parameters
    ----------
    start
        The state that fine-tuning started from.
    tuned
        The state that it came to, with the same names and shapes.

    Returns
    -------
    dict of str to Tensor
        The difference of each tensor; without those that aren't floating point.

    Raises
    ------
    TypeError
        A value isn't a tensor, or the dtypes of a pair differ.
    ValueError
        Names or shapes differ, or a tensor holds NaN or infinite values.

    Examples
    --------
    >>> task_vector({"w": torch.tensor([1.])}, {"w": torch.tensor([3.])})
    {'w': tensor([2.])}
    """
    difference = _combine([-1, 1], start=start, tuned=tuned)
    return {name: change for name, change in difference.items() if change.is_floating_point()}


def add_task_vectors(start: State, *vectors: State, scale: float = 1.0) -> dict[str, Tensor]:
    r"""Go from a network along the sum of task vectors.

    .. math:: \theta_\text{start} + \lambda \sum_k \tau_k

    Added vectors are meant to bring their tasks together in one network; a negative
    :math:`\lambda` is meant to take a task away.

    Taught in :ref:`mapping-parameter-spaces` (section 2.3.2).
    Source: :cite:t:`ilharco2023editing`, section 2.

    Parameters
    ----------
    start
        The state that the vectors start from.
    vectors
        At least one, as :func:`task_vector` makes them.
    scale
        :math:`\lambda`, chosen on held-out data. With K vectors, 1/K goes to the average of the
        tuned networks.

    Returns
    -------
    dict of str to Tensor
        The state there.

    Raises
    ------
    TypeError
        A value isn't a tensor, or dtypes differ.
    ValueError
        There are no vectors, names or shapes differ, a tensor holds NaN or infinite values, or the
        scale isn't finite.

    Examples
    --------
    >>> start, first, second = ({"w": torch.tensor([value])} for value in (1., 2., 5.))
    >>> add_task_vectors(start, first, second, scale=0.5)
    {'w': tensor([4.5000])}
    """
    if not vectors:
        raise ValueError("there are no vectors to add; make one with task_vector(start, tuned)")
    largest = torch.finfo(torch.float64).max
    require_number("scale", scale, least=-largest, most=largest)
    floats = {name: tensor for name, tensor in start.items() if _is_float(tensor)}
    named = {f"vectors[{k}]": vector for k, vector in enumerate(vectors)}
    moved = _combine([1, *[scale] * len(vectors)], start=floats, **named)
    return {**start, **moved}


def _combine(coefficients: Sequence[float], **states: State) -> dict[str, Tensor]:
    """Sum states with coefficients; what isn't floating point is that of the first state."""
    _require_alike(**states)
    first, *_ = states.values()
    result = dict(first)
    for name, tensor in first.items():
        if tensor.is_floating_point():
            total = torch.zeros_like(tensor)
            for coefficient, state in zip(coefficients, states.values(), strict=True):
                total = total + coefficient * state[name]
            result[name] = total
    return result


def _similarity(
    source: State, target: State, axes: Axes, permutations: Permutations, group: str, n: int
) -> Tensor:
    """Inner products of the target's units in a group (rows) with the source's (columns)."""
    total = torch.zeros(n, n, dtype=torch.float64, device="cpu")
    others = {name: order for name, order in permutations.items() if name != group}
    for name, groups in axes.items():
        if group not in groups or not source[name].is_floating_point():
            continue
        axis = list(groups).index(group)
        moved = _moved(source[name], groups, others)
        s, t = (x.detach().cpu().double().movedim(axis, 0) for x in (moved, target[name]))
        total += t.reshape(n, -1) @ s.reshape(n, -1).mT
    return total


def _moved(tensor: Tensor, groups: Sequence[str | None], permutations: Permutations) -> Tensor:
    """Permute each axis that counts a permuted group, in blocks if it is longer."""
    for axis, group in enumerate(groups):
        order = None if group is None else permutations.get(group)
        if order is not None:
            block = tensor.shape[axis] // len(order)
            within = torch.arange(block, device=tensor.device)
            places = (order.to(tensor.device)[:, None] * block + within).flatten()
            tensor = tensor.index_select(axis, places)
    return tensor


def _group_sizes(axes: Axes, **states: State) -> dict[str, int]:
    """The number of units of each group: the shortest axis that counts it."""
    ((kind, state),) = states.items()
    require_tensor(**state)
    lengths: dict[str, dict[str, int]] = {}
    for name, groups in axes.items():
        if name not in state:
            raise ValueError(f"{kind} has no tensor {name!r} of axes{suggest(name, state)}")
        if len(groups) != state[name].ndim:
            raise ValueError(
                f"axes gives {len(groups)} groups for {name}, whose shape is "
                f"{shape(state[name])}; give one an axis, None where units keep their places"
            )
        for axis, group in enumerate(groups):
            if group is not None:
                found = lengths.setdefault(group, {})
                found[f"{name} (axis {axis})"] = state[name].shape[axis]
    for group, found in lengths.items():
        n = min(found.values())
        if wrong := {where: length for where, length in found.items() if length % n}:
            raise ValueError(
                f"group {group!r} has {n} units, but these axes are no multiple of that: {wrong}; "
                "they count the units of another layer"
            )
    return {group: min(found.values()) for group, found in lengths.items()}


def _require_permutation(order: Tensor, group: str, n: int) -> None:
    require_tensor(**{f"permutations[{group!r}]": order})
    integers = not (order.is_floating_point() or order.dtype == torch.bool)
    if not integers or shape(order) != (n,) or sorted(order.tolist()) != list(range(n)):
        raise ValueError(
            f"permutations[{group!r}] must hold each whole number from 0 to {n - 1} once, "
            f"got {order.dtype} of shape {shape(order)}; weight_matching makes such"
        )


def _require_several(states: Sequence[State]) -> None:
    if isinstance(states, Mapping) or not states:
        what = "one state" if states else "none"
        raise ValueError(f"states must be a list of at least one state, got {what}; write [a, b]")


def _require_alike(**states: State) -> None:
    """Require states with the same names, shapes and dtypes, and with finite numbers."""
    (kind, first), *others = states.items()
    require_tensor(**{f"{kind}[{name!r}]": tensor for name, tensor in first.items()})
    for other, state in others:
        require_tensor(**{f"{other}[{name!r}]": tensor for name, tensor in state.items()})
        if lost := [name for name in (*first, *state) if name not in first or name not in state]:
            where = other if lost[0] in first else kind
            raise ValueError(
                f"{kind} and {other} must have the same tensors, but {where} has no {lost[0]!r}"
                f" ({len(lost)} such); both must be states of one architecture"
            )
    for name, tensor in first.items():
        tensors = {f"{other}[{name!r}]": state[name] for other, state in states.items()}
        require_same_shape(**tensors)
        if tensor.is_floating_point():
            require_float(**tensors)
            require_finite(**tensors)


def _is_float(tensor: Tensor) -> bool:
    return isinstance(tensor, Tensor) and tensor.is_floating_point()


def _scored(score: Callable[[dict[str, Tensor]], float], state: dict[str, Tensor]) -> float:
    value = float(score(state))
    if value != value:
        raise ValueError("the score of a state is NaN; it must be a number, larger for better")
    return value
