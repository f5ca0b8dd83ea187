r"""Federated learning (section 8.3.3): many clients train one model, and their rows stay with them.

In a round the server sends the parameters :math:`\theta`, each client k takes some steps of
gradient descent on its own rows from there, and the server averages what comes back, weighted by
the clients' numbers of rows :math:`n_k`. Here are the client's steps (plain, with FedProx's
proximal term, with SCAFFOLD's control variates), the server's mean, what FedBN leaves at the
clients, an uneven split of rows over clients, sums under masks, and what gradients give away.

A loss is a function ``loss(parameters, batch)`` that gives a scalar, as in
:mod:`mapping_lib.meta`; :func:`client_loss` makes one of a module. What belongs to all clients is
stacked: the clients are the first axis.
"""

import copy
import math
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn
from torch.func import functional_call, grad, vmap
from torch.nn.modules.batchnorm import _BatchNorm
from torch.utils._pytree import tree_leaves, tree_map

from mapping_lib._checks import (
    place_of,
    require_features,
    require_finite,
    require_float,
    require_labels,
    require_number,
    require_tensor,
    seen,
    shape,
)
from mapping_lib.meta import Loss, _require_whole, _value
from mapping_lib.optimisers import Parameters, _each, _require_alike

__all__ = [
    "ClientUpdate",
    "broadcast",
    "client_loss",
    "client_update",
    "client_updates",
    "control_variates",
    "dirichlet_split",
    "fedavg",
    "gradient_mismatch",
    "label_from_gradient",
    "local_entries",
    "masked_message",
    "masked_sum",
    "pair_seeds",
    "proximal_term",
    "server_variate",
    "to_fixed_point",
]


class ClientUpdate(NamedTuple):
    """What :func:`client_update` returns, and with a first axis for clients ``client_updates``.

    The parameters after the local steps, the buffers after them (None where none were given), and
    the loss of each step before it was taken.
    """

    parameters: Parameters
    buffers: dict[str, Tensor] | None
    losses: Tensor


def client_loss(model: nn.Module, criterion: Callable[[Any, Any], Tensor]) -> Callable[..., Any]:
    r"""Make of a module a client's loss, which can carry batch norm's running statistics along.

    .. math:: L_k(\theta) = \ell \bigl( f_\theta(x), y \bigr)

    Called as ``loss(parameters, batch)`` it gives the scalar; called as
    ``loss(parameters, batch, buffers)``, the scalar and what the buffers became. The module itself
    is left alone either way, so clients never write into each other's statistics. Each layer is in
    the mode, train or eval, that it is in now.

    Taught in :ref:`federated-transfer` (section 8.3.3).
    Source: :cite:t:`mcmahan2017communication`, section 2, the objective of one client.

    Parameters
    ----------
    model
        :math:`f`; a copy of it is taken.
    criterion
        :math:`\ell`, called as ``criterion(outputs, targets)``.

    Returns
    -------
    callable
        The loss; a batch is ``(inputs, targets)``.

    Raises
    ------
    TypeError
        The model isn't a module.
    ValueError
        Raised by the loss: names of parameters or buffers aren't the model's.

    Examples
    --------
    >>> line = nn.Linear(1, 1, bias=False)
    >>> loss = client_loss(line, nn.functional.mse_loss)
    >>> loss({"weight": torch.tensor([[3.]])}, (torch.tensor([[1.]]), torch.tensor([[1.]])))
    tensor(4.)
    """
    if not isinstance(model, nn.Module):
        raise TypeError(
            f"model must be a torch.nn.Module, got {type(model).__name__}; "
            "a plain function of parameters and batch is a loss already"
        )
    own = copy.deepcopy(model)
    names = {name for name, _ in own.named_parameters()}
    known = {name for name, _ in own.named_buffers()}

    def loss(parameters: Any, batch: Any, buffers: Mapping[str, Tensor] | None = None) -> Any:
        if set(parameters) != names or not set(buffers or {}) <= known:
            found = sorted(set(parameters) | set(buffers or {}))
            raise ValueError(
                f"parameters must have the names {sorted(names)} and buffers names of "
                f"{sorted(known)}, got {found}; take both from one model of this kind"
            )
        inputs, targets = batch
        # Cloned where they are used: what runs here is changed in place.
        held = {n: b.clone() for n, b in {**dict(own.named_buffers()), **(buffers or {})}.items()}
        value = criterion(functional_call(own, (parameters, held), (inputs,)), targets)
        return value if buffers is None else (value, {name: held[name] for name in buffers})

    return loss


def proximal_term(parameters: Parameters, start: Parameters, *, strength: float) -> Tensor:
    r"""FedProx's price of leaving the parameters that the server sent.

    .. math:: \frac{\mu}{2} \, \lVert \theta - \theta_0 \rVert^2

    A client that minimises its loss plus this stops between its own optimum and the start, however
    many steps it takes. Its gradient is :math:`\mu (\theta - \theta_0)`.

    Taught in :ref:`federated-transfer` (section 8.3.3).
    Source: :cite:t:`li2020federated`, eq. 2.

    Parameters
    ----------
    parameters
        :math:`\theta`, a tensor or tensors by name.
    start
        :math:`\theta_0`, like the parameters.
    strength
        :math:`\mu`, not negative.

    Returns
    -------
    Tensor
        A scalar.

    Raises
    ------
    TypeError
        They aren't both tensors, or both dictionaries, of one floating type.
    ValueError
        Names or shapes differ, a tensor holds NaN, or the strength is negative.

    Examples
    --------
    >>> proximal_term(torch.tensor([3., 1.]), torch.tensor([1., 1.]), strength=0.5)
    tensor(1.)
    """
    _require_alike(parameters=parameters, start=start)
    require_number("strength", strength, below=math.inf)
    squares = _each(lambda θ, θ_0: (θ - θ_0).square().sum(), parameters, start)
    total: Tensor = sum(tree_leaves(squares))
    return strength / 2 * total


def client_update(
    loss: Callable[..., Any],
    parameters: Parameters,
    batches: Any,
    *,
    rate: float,
    proximal: float = 0.0,
    correction: Parameters | None = None,
    buffers: Mapping[str, Tensor] | None = None,
) -> ClientUpdate:
    r"""A client's local steps, one a batch, from the parameters that the server sent.

    .. math::

        \theta_{i+1} = \theta_i - \eta \, \bigl( \nabla L_k(\theta_i; b_i)
        + \mu (\theta_i - \theta_0) + c - c_k \bigr), \qquad i = 0, \dots, E - 1

    With :math:`\mu = 0` and without correction this is FedAvg's client; with :math:`\mu > 0`
    FedProx's (by gradient steps); with the correction :math:`c - c_k` SCAFFOLD's.

    Taught in :ref:`federated-transfer` (section 8.3.3).
    Source: :cite:t:`mcmahan2017communication`, algorithm 1; the term with :math:`\mu`
    :cite:t:`li2020federated`, eq. 2; the correction :cite:t:`karimireddy2020scaffold`, eq. 3.

    Parameters
    ----------
    loss
        Called as ``loss(parameters, batch)``, or with buffers as :func:`client_loss` says.
    parameters
        :math:`\theta_0`; left as they are.
    batches
        A tensor, or tuples or dictionaries of tensors, with the steps on the first axis, (E, ...).
    rate
        :math:`\eta`, not negative.
    proximal
        :math:`\mu`, not negative.
    correction
        :math:`c - c_k`, like the parameters.
    buffers
        Running statistics to carry along; left as they are.

    Returns
    -------
    ClientUpdate
        Parameters and buffers after the last step, without graph, and losses (E,).

    Raises
    ------
    TypeError
        Parameters aren't floating-point tensors, or the loss gives no tensor.
    ValueError
        The client has no rows, the correction doesn't fit, the loss isn't a scalar, or a number is
        out of range.
    FloatingPointError
        The steps diverge.

    Examples
    --------
    >>> half_square = lambda θ, b: (θ - b).square() / 2
    >>> two_steps = torch.tensor([1., 1.])
    >>> client_update(half_square, torch.tensor(5.), two_steps, rate=0.5).parameters
    tensor(2.)
    """
    _require_update(parameters, batches, rate, proximal, correction, of="steps")
    found = _local_steps(loss, rate, proximal, parameters, batches, correction, buffers)
    _say_if_diverged(found.losses[None], found.parameters, rate)
    return found


def client_updates(
    loss: Callable[..., Any],
    parameters: Parameters,
    batches: Any,
    *,
    rate: float,
    proximal: float = 0.0,
    corrections: Parameters | None = None,
    buffers: Mapping[str, Tensor] | None = None,
    vectorised: bool | None = None,
) -> ClientUpdate:
    r"""The local steps of all clients: :func:`client_update` for each.

    .. math:: \theta_k = \operatorname{update}_k(\theta_{0,k}), \qquad k = 1, \dots, m

    **Vectorised**, all at once under :func:`torch.func.vmap`, several times faster for many small
    clients; **looped**, one after the other. Both give the same up to rounding. Clients take
    equally many steps on batches of equal size; a client with fewer rows draws some more often.

    Taught in :ref:`federated-transfer` (section 8.3.3).
    Source: :cite:t:`mcmahan2017communication`, algorithm 1, "for each client in parallel".

    Parameters
    ----------
    loss
        As in :func:`client_update`.
    parameters
        What each client starts from, (m, ...), as :func:`broadcast` makes it.
    batches
        Clients on the first axis, steps on the second, (m, E, ...).
    rate, proximal
        As in :func:`client_update`.
    corrections
        :math:`c - c_k`, stacked like the parameters.
    buffers
        Running statistics of each client, stacked.
    vectorised
        None: unless a client's parameter has more than two axes, as convolutions' kernels have.

    Returns
    -------
    ClientUpdate
        Parameters and buffers stacked, losses (m, E).

    Raises
    ------
    TypeError, ValueError, FloatingPointError
        As :func:`client_update` raises them; or numbers of clients differ.

    Examples
    --------
    >>> half_square = lambda θ, b: (θ - b).square() / 2
    >>> start, batches = torch.tensor([5., 5.]), torch.tensor([[1.], [3.]])
    >>> client_updates(half_square, start, batches, rate=0.5).parameters
    tensor([3., 4.])
    """
    _require_update(parameters, batches, rate, proximal, corrections, of="clients")
    trees = (parameters, batches, corrections, dict(buffers) if buffers is not None else None)
    counts = sorted({len(leaf) for leaf in tree_leaves(trees) if isinstance(leaf, Tensor)})
    if len(counts) > 1:
        raise ValueError(
            "parameters, batches, corrections and buffers must have one number of clients on the "
            f"first axis, got {counts}; stack the clients, as broadcast(...) does"
        )
    if vectorised is None:
        vectorised = all(part.ndim <= 3 for part in tree_leaves(parameters))
    steps = partial(_local_steps, loss, rate, proximal)
    found: Any
    if vectorised:
        axes = tuple(None if tree is None else 0 for tree in trees)
        of_clients: Any = partial(vmap, randomness="different")
        rows: Any = (0, None if buffers is None else 0, 0)
        found = of_clients(steps, axes, ClientUpdate(*rows))(*trees)
    else:
        each = [steps(*(_of_client(tree, k) for tree in trees)) for k in range(counts[0])]
        found = tree_map(_stacked, *each)
    _say_if_diverged(found.losses, found.parameters, rate)
    return ClientUpdate(*found)


def broadcast(
    shared: Parameters, clients: int, *, own: Mapping[str, Tensor] | None = None
) -> Parameters:
    r"""What the clients start a round from: the server's entries, and those that they keep.

    .. math::

        \theta_k^{(j)} = \begin{cases} \theta_k^{(j)} & j \in \mathcal{S} \\
        \theta^{(j)} & \text{otherwise} \end{cases}

    where :math:`\mathcal{S}` are the names that stay at the clients: none for FedAvg, those of
    :func:`local_entries` for FedBN.

    Taught in :ref:`federated-transfer` (section 8.3.3).
    Source: :cite:t:`li2021fedbn`, section 3; without `own` :cite:t:`mcmahan2017communication`,
    algorithm 1.

    Parameters
    ----------
    shared
        :math:`\theta`, a tensor or tensors by name.
    clients
        m, at least 1.
    own
        What clients keep, stacked by name, (m, ...); the names are some of `shared`.

    Returns
    -------
    Tensor or dict
        Stacked, (m, ...).

    Raises
    ------
    TypeError
        These aren't floating-point tensors, or the number of clients isn't whole.
    ValueError
        A kept name is unknown, or its shape isn't (m, ...).

    Examples
    --------
    >>> sent = broadcast({"w": torch.tensor(1.), "b": torch.tensor(0.)}, 2,
    ...                  own={"b": torch.tensor([5., 6.])})
    >>> sent["w"], sent["b"]
    (tensor([1., 1.]), tensor([5., 6.]))
    """
    _require_alike(shared=shared)
    _require_whole("clients", clients)
    sent: Any = _each(lambda part: part.detach().expand(clients, *part.shape), shared)
    for name, part in (own or {}).items():
        if isinstance(sent, Tensor) or name not in sent or part.shape != sent[name].shape:
            due = shape(sent[name]) if isinstance(sent, dict) and name in sent else "no such entry"
            raise ValueError(
                f"own[{name!r}] has the shape {shape(part)} where the model has {due}; give the "
                "clients' entries stacked, by names of the model"
            )
        sent = {**sent, name: part}
    return sent  # type: ignore[no-any-return]


def fedavg(clients: Parameters | Sequence[Parameters], weights: Tensor | Sequence[float]) -> Any:
    r"""The server's mean of what the clients send, weighted by their numbers of rows.

    .. math:: \theta = \sum_{k=1}^{m} \frac{n_k}{\sum_j n_j} \, \theta_k

    After one full-batch step everywhere this is one step on all rows together; after several it
    isn't, and the fixed point of many rounds is not the optimum where clients differ.

    Taught in :ref:`federated-transfer` (section 8.3.3).
    Source: :cite:t:`mcmahan2017communication`, algorithm 1.

    Parameters
    ----------
    clients
        :math:`\theta_k`: stacked, (m, ...), or a sequence with one tensor or dictionary a client.
    weights
        :math:`n_k`, one a client, not negative and not all zero.

    Returns
    -------
    Tensor or dict
        :math:`\theta`, of the shapes of one client.

    Raises
    ------
    TypeError
        Parameters aren't floating-point tensors.
    ValueError
        Names or shapes of clients differ, there is no client, a tensor holds NaN, or the weights
        don't fit, are negative or sum to zero.

    Examples
    --------
    >>> fedavg(torch.tensor([[0., 4.], [3., 1.]]), [1, 2])
    tensor([2., 2.])
    """
    if isinstance(clients, Sequence):
        if not clients:
            raise ValueError("clients is empty; give the parameters of at least one client")
        _require_alike(**{f"client {k}": each for k, each in enumerate(clients)})
        clients = _each(lambda *parts: torch.stack(parts), *clients)
    _require_alike(clients=clients)
    shares = _shares(weights, tree_leaves(clients))
    return _each(lambda part: torch.tensordot(shares.to(part), part, dims=1), clients)


def local_entries(model: nn.Module) -> list[str]:
    r"""The names that FedBN leaves at the clients: all that batch norm owns.

    .. math:: \mathcal{S} = \{ j : \theta^{(j)} \text{ belongs to a batch norm layer} \}

    Scale, shift, running mean and running variance. Where clients' features differ in location and
    scale, each normalises by its own and shares the rest.

    Taught in :ref:`federated-transfer` (section 8.3.3).
    Source: :cite:t:`li2021fedbn`, section 3.

    Parameters
    ----------
    model
        Any module.

    Returns
    -------
    list of str
        Names of parameters and of floating-point buffers, in the model's order.

    Raises
    ------
    TypeError
        The model isn't a module.
    ValueError
        It has no batch norm layer, so that FedBN is FedAvg.

    Examples
    --------
    >>> local_entries(nn.Sequential(nn.Linear(2, 3), nn.BatchNorm1d(3)))
    ['1.weight', '1.bias', '1.running_mean', '1.running_var']
    """
    if not isinstance(model, nn.Module):
        raise TypeError(f"model must be a torch.nn.Module, got {type(model).__name__}")
    found = [
        f"{name}.{entry}" if name else entry
        for name, layer in model.named_modules()
        if isinstance(layer, _BatchNorm)
        for entry, tensor in layer.state_dict().items()
        if tensor.is_floating_point()
    ]
    if not found:
        raise ValueError(
            "the model has no batch norm layer with entries of its own, so nothing would stay at "
            "the clients; use FedAvg"
        )
    return found


def control_variates(
    variates: Parameters,
    server: Parameters,
    start: Parameters,
    ends: Parameters,
    *,
    rate: float,
    steps: int,
) -> Parameters:
    r"""SCAFFOLD's new control variates of the clients: their mean gradients on the way (option II).

    .. math:: c_k^+ = c_k - c + \frac{1}{E \eta} (\theta_0 - \theta_k)

    The steps were corrected by :math:`c - c_k`; what is left of the way after that is the client's
    own mean gradient, for nothing more than a subtraction.

    Taught in :ref:`federated-transfer` (section 8.3.3).
    Source: :cite:t:`karimireddy2020scaffold`, eq. 4, option II.

    Parameters
    ----------
    variates
        :math:`c_k`, stacked, (m, ...).
    server
        :math:`c`, of the shapes of one client.
    start
        :math:`\theta_0`, that the server sent.
    ends
        :math:`\theta_k`, stacked.
    rate
        :math:`\eta`, positive.
    steps
        E, at least 1.

    Returns
    -------
    Tensor or dict
        :math:`c_k^+`, stacked.

    Raises
    ------
    TypeError
        These aren't floating-point tensors of one kind.
    ValueError
        Names or shapes differ, a tensor holds NaN, or a number is out of range.

    Examples
    --------
    >>> zero = torch.zeros(2)  # clients moved from 5 to 3 and to 4 in one step at the rate 0.5
    >>> control_variates(zero, torch.tensor(0.), torch.tensor(5.), torch.tensor([3., 4.]),
    ...                  rate=0.5, steps=1)
    tensor([4., 2.])
    """
    _require_alike(variates=variates, ends=ends)
    _require_alike(server=server, start=start, **{"one client of variates": _first(variates)})
    _require_whole("steps", steps)
    require_number("rate", rate, below=math.inf)
    if rate == 0:
        raise ValueError("rate must be positive: without steps there is no mean gradient")
    return _each(
        lambda c_k, c, x, y: c_k - c + (x - y) / (steps * rate), variates, server, start, ends
    )


def server_variate(
    server: Parameters, before: Parameters, after: Parameters, *, shares: Tensor | Sequence[float]
) -> Parameters:
    r"""SCAFFOLD's new control variate of the server, from the clients that took part.

    .. math:: c^+ = c + \sum_{k \in S} w_k \, (c_k^+ - c_k)

    so that :math:`c = \sum_k w_k c_k` over **all** clients goes on to hold. The paper has
    :math:`w_k = 1 / m`; for a mean weighted by rows it is :math:`n_k / n`, n the rows of all
    clients, also of those that didn't take part.

    Taught in :ref:`federated-transfer` (section 8.3.3).
    Source: :cite:t:`karimireddy2020scaffold`, eq. 5.

    Parameters
    ----------
    server
        :math:`c`.
    before, after
        :math:`c_k` and :math:`c_k^+` of the clients that took part, stacked.
    shares
        :math:`w_k` of these clients, not negative, with a sum of at most 1.

    Returns
    -------
    Tensor or dict
        :math:`c^+`.

    Raises
    ------
    TypeError
        These aren't floating-point tensors of one kind.
    ValueError
        Names or shapes differ, a tensor holds NaN, or the shares are no shares.

    Examples
    --------
    >>> server_variate(torch.tensor(1.), torch.tensor([0., 1.]), torch.tensor([4., 3.]),
    ...                shares=[0.25, 0.5])
    tensor(3.)
    """
    _require_alike(before=before, after=after)
    _require_alike(server=server, **{"one client of before": _first(before)})
    w = _weights("shares", shares, tree_leaves(before))
    if seen(w.sum() > 1 + 1e-6):
        raise ValueError(
            f"shares must sum to at most 1, got {float(w.sum()):g}; divide by the rows of all"
        )
    return _each(
        lambda c, old, new: c + torch.tensordot(w.to(old), new - old, dims=1), server, before, after
    )


def dirichlet_split(
    labels: Tensor,
    *,
    concentration: float,
    sizes: Sequence[int],
    generator: torch.Generator,
) -> list[Tensor]:
    r"""Deal rows to clients whose shares of the classes are drawn from a Dirichlet distribution.

    .. math:: q_k \sim \operatorname{Dir}(\alpha K p), \qquad y \sim \operatorname{Categorical}(q_k)

    where p are the shares of the K classes in the data: with even classes, :math:`\alpha` is the
    parameter of each class. (:cite:t:`hsu2019measuring` write :math:`\alpha p`, so their
    :math:`\alpha` is K times this one.) Large: every client is like the whole. Towards 0: a
    client has one class. Rows are dealt without replacement; where a class runs out, its share
    goes to the others, so the last clients are a little less extreme.

    Taught in :ref:`federated-transfer` (section 8.3.3).
    Source: :cite:t:`hsu2019measuring`, section 3.

    Parameters
    ----------
    labels
        Classes of all rows, (n,), whole numbers from 0.
    concentration
        :math:`\alpha`, positive.
    sizes
        Rows of each client, at least 1 each, n in all or fewer.
    generator
        Draws shares and rows.

    Returns
    -------
    list of Tensor
        Rows of each client, disjoint.

    Raises
    ------
    TypeError
        Labels aren't whole numbers, or a size isn't one.
    ValueError
        The concentration isn't positive and finite, a client would be empty, or there are fewer
        rows than asked for.

    Examples
    --------
    >>> labels = torch.tensor([0, 0, 0, 1, 1, 1])
    >>> draw = torch.Generator().manual_seed(0)
    >>> parts = dirichlet_split(labels, concentration=1.0, sizes=[4, 2], generator=draw)
    >>> [len(part) for part in parts], torch.cat(parts).sort().values
    ([4, 2], tensor([0, 1, 2, 3, 4, 5]))
    """
    require_tensor(labels=labels)
    require_labels("labels", labels, len(labels) if labels.ndim else 0)
    require_number("concentration", concentration, below=math.inf)
    if concentration == 0:
        raise ValueError("concentration must be positive, got 0; for one class a client take 0.001")
    sizes = list(sizes)
    for k, size in enumerate(sizes):
        _require_whole(f"sizes[{k}]", size)  # no empty client
    if not sizes or sum(sizes) > len(labels):
        raise ValueError(
            f"sizes {sizes} must name at least one client and at most {len(labels)} rows in all"
        )
    order = torch.randperm(len(labels), generator=generator, device=place_of(generator))
    order = order.to(labels.device)
    pools = [order[labels[order] == k] for k in range(int(labels.max()) + 1)]
    left = torch.tensor([len(pool) for pool in pools], dtype=torch.float64, device="cpu")
    prior = concentration * len(pools) * left / left.sum()
    parts = []
    for size in sizes:
        q = _dirichlet(prior, generator)
        taken: list[Tensor] = []
        while len(taken) < size:
            chances = q * (left > 0)
            chances = chances if chances.sum() > 0 else left
            k = int(_draw(chances, generator))
            left[k] -= 1
            taken.append(pools[k][int(left[k])])
        parts.append(torch.stack(taken))
    return parts


def pair_seeds(clients: int, *, generator: torch.Generator) -> Tensor:
    r"""A secret for each pair of clients, which masks are drawn from.

    .. math:: s_{uv} = s_{vu}

    In the protocol the two agree on it by exchanging keys, so that the server never knows it; here
    it is drawn. (A `torch.Generator` is no cryptographic one: this shows how masks cancel, it
    protects nobody.)

    Taught in :ref:`federated-transfer` (section 8.3.3).
    Source: :cite:t:`bonawitz2017practical`, section 4.

    Parameters
    ----------
    clients
        m, at least 2: a single client's sum is its message.
    generator
        Draws the secrets.

    Returns
    -------
    Tensor
        Symmetric (m, m), whole numbers; the diagonal is 0 and unused.

    Raises
    ------
    TypeError
        The number isn't whole.
    ValueError
        There are fewer than two clients.

    Examples
    --------
    >>> seeds = pair_seeds(3, generator=torch.Generator().manual_seed(0))
    >>> bool((seeds == seeds.T).all()), seeds.diagonal()
    (True, tensor([0, 0, 0]))
    """
    _require_whole("clients", clients, least=2)
    drawn = torch.randint(
        1, 2**62, (clients, clients), generator=generator, device=place_of(generator)
    )
    upper = drawn.triu(1)
    return upper + upper.T


def to_fixed_point(values: Tensor, *, clients: int, bits: int = 32, fraction: int = 16) -> Tensor:
    r"""Write numbers as whole ones modulo :math:`2^b`, so that masks can hide them.

    .. math:: \operatorname{round}(2^f x) \bmod 2^b

    Negative numbers are the upper half of the range. The sum of all clients must fit into it:
    :math:`m \, \lvert 2^f x \rvert < 2^{b - 1}`. Each number is off by at most half of
    :math:`2^{-f}`.

    Taught in :ref:`federated-transfer` (section 8.3.3).
    Source: :cite:t:`bonawitz2017practical`, section 4: inputs are elements of
    :math:`\mathbb{Z}_R`.

    Parameters
    ----------
    values
        Floating point, any shape.
    clients
        m, whose sum has to fit.
    bits
        b, 8 to 62.
    fraction
        f, bits behind the point, below b.

    Returns
    -------
    Tensor
        Whole numbers in :math:`[0, 2^b)`, int64.

    Raises
    ------
    TypeError
        Values aren't floating point, or a number isn't whole.
    ValueError
        Values are NaN, infinite, or too large for the range.

    Examples
    --------
    >>> to_fixed_point(torch.tensor([1.5, -0.25]), clients=2, bits=8, fraction=2)
    tensor([  6, 255])
    """
    require_float(values=values)
    require_finite(values=values)
    _require_whole("clients", clients)
    _require_bits(bits)
    _require_whole("fraction", fraction, least=0)
    scaled = (values.double() * 2.0**fraction).round()
    if seen(clients * scaled.abs().max() >= 2.0 ** (bits - 1)):
        raise ValueError(
            f"the sum of {clients} clients with values up to {float(values.abs().max()):g} needs "
            f"more than {bits} bits with {fraction} behind the point; take more bits, a smaller "
            "fraction, or clip the values"
        )
    residues: Tensor = scaled.long() % 2**bits
    return residues


def masked_message(values: Tensor, client: int, seeds: Tensor, *, bits: int = 32) -> Tensor:
    r"""What a client sends: its numbers under masks, one for each other client.

    .. math::

        z_u = x_u + \sum_{v > u} G(s_{uv}) - \sum_{v < u} G(s_{uv}) \mod 2^b

    with G a generator of numbers, uniform in :math:`[0, 2^b)`. One message alone is uniform
    whatever :math:`x_u` is. The sum of **all** messages is the sum of the values. Clients that drop
    out are not handled here: without one of the messages the sum is noise, and recovering from that
    is most of the protocol.

    Taught in :ref:`federated-transfer` (section 8.3.3).
    Source: :cite:t:`bonawitz2017practical`, section 4, "masking with one-time pads".

    Parameters
    ----------
    values
        :math:`x_u`, whole numbers in :math:`[0, 2^b)`, int64, as :func:`to_fixed_point` gives them.
    client
        u, from 0.
    seeds
        The secrets that u shares with each client, (m,): a row of :func:`pair_seeds`. Those of one
        round only: masks used twice give differences away.
    bits
        b, as for the values.

    Returns
    -------
    Tensor
        :math:`z_u`, int64, of the shape of the values.

    Raises
    ------
    TypeError
        Values or seeds aren't int64.
    ValueError
        Values are out of range, there are fewer than two clients, or no such client.

    Examples
    --------
    >>> seeds = pair_seeds(2, generator=torch.Generator().manual_seed(0))
    >>> a, b = (masked_message(torch.tensor([x]), u, seeds[u]) for u, x in enumerate((3, 4)))
    >>> masked_sum(torch.stack([a, b]))
    tensor([7])
    """
    _require_bits(bits)
    _require_residues("values", values, bits)
    require_tensor(seeds=seeds)
    if seeds.dtype != torch.int64 or seeds.ndim != 1 or len(seeds) < 2:
        raise ValueError(
            f"seeds must be int64 of shape (m,) with m at least 2, got {seeds.dtype} "
            f"{shape(seeds)}; take row {client} of pair_seeds(...)"
        )
    if isinstance(client, bool) or not isinstance(client, int) or not 0 <= client < len(seeds):
        raise ValueError(f"client must lie between 0 and {len(seeds) - 1}, got {client!r}")
    message = values
    for other, seed in enumerate(seeds.tolist()):
        if other != client:
            draw = torch.Generator(device="cpu").manual_seed(seed)
            mask = torch.randint(2**bits, values.shape, generator=draw, device="cpu")
            mask = mask.to(values.device)
            message = (message + mask if other > client else message - mask) % 2**bits
    return message


def masked_sum(messages: Tensor, *, bits: int = 32) -> Tensor:
    r"""The server's sum of all messages, in which the masks have cancelled.

    .. math:: \sum_u z_u \equiv \sum_u x_u \mod 2^b

    read as whole numbers in :math:`[-2^{b-1}, 2^{b-1})`. Divide by :math:`2^f` to have back what
    :func:`to_fixed_point` wrote. Dropouts aren't handled: see :func:`masked_message`.

    Taught in :ref:`federated-transfer` (section 8.3.3).
    Source: :cite:t:`bonawitz2017practical`, section 4.

    Parameters
    ----------
    messages
        :math:`z_u` of all clients, stacked, (m, ...), int64.
    bits
        b, as for the messages.

    Returns
    -------
    Tensor
        The exact sum, int64.

    Raises
    ------
    TypeError
        Messages aren't int64.
    ValueError
        Messages are out of range, or there are fewer than two.

    Examples
    --------
    >>> masked_sum(torch.tensor([[250], [3]]), bits=8)  # −6 + 3
    tensor([-3])
    """
    _require_bits(bits)
    _require_residues("messages", messages, bits)
    if messages.ndim == 0 or len(messages) < 2:
        raise ValueError(
            f"messages {shape(messages)} must be those of at least two clients, stacked: the sum "
            "of one is its secret"
        )
    half = 2 ** (bits - 1)
    total: Tensor = (messages.sum(0) + half) % 2**bits - half
    return total


def gradient_mismatch(
    loss: Loss, parameters: Parameters, batch: Any, observed: Parameters
) -> Tensor:
    r"""How far the gradient of made-up rows is from one that was observed.

    .. math:: \bigl\lVert \nabla_\theta L(\theta; x', y') - g \bigr\rVert^2

    Differentiable in the rows: who sees g and knows :math:`\theta` looks for rows that bring this
    to zero, and finds the client's (deep leakage from gradients).

    Taught in :ref:`federated-transfer` (section 8.3.3).
    Source: :cite:t:`zhu2019deep`, section 3, the objective of the attack.

    Parameters
    ----------
    loss
        Called as ``loss(parameters, batch)``.
    parameters
        :math:`\theta`.
    batch
        :math:`(x', y')`, as the loss takes it.
    observed
        g, like the parameters.

    Returns
    -------
    Tensor
        A scalar.

    Raises
    ------
    TypeError
        Parameters and gradient aren't both tensors or both dictionaries, or the loss gives none.
    ValueError
        Names or shapes differ, a tensor holds NaN, or the loss isn't a scalar.

    Examples
    --------
    >>> half_square = lambda θ, x: (θ - x).square() / 2  # the gradient is θ − x
    >>> gradient_mismatch(half_square, torch.tensor(5.), torch.tensor(1.), torch.tensor(3.))
    tensor(1.)
    """
    _require_alike(parameters=parameters, observed=observed)
    found = grad(partial(_value, loss))(parameters, batch)
    total: Tensor = sum(tree_leaves(_each(lambda a, g: (a - g).square().sum(), found, observed)))
    return total


def label_from_gradient(gradient: Tensor) -> int:
    r"""Read the label of one example off the gradient of the last layer's weights.

    .. math::

        \nabla_{W_i} \ell = (p_i - [i = y]) \, h, \qquad
        y = i \;\text{ with }\; \nabla_{W_i} \ell \cdot \nabla_{W_j} \ell \le 0
        \;\text{ for all } j \ne i

    With cross-entropy :math:`p_i - [i = y]` is negative for the label alone, so its row points
    away from all the others.

    Taught in :ref:`federated-transfer` (section 8.3.3).
    Source: :cite:t:`zhao2020idlg`, section 3.

    Parameters
    ----------
    gradient
        :math:`\nabla_W \ell` of one example, (K, d), K at least 3.

    Returns
    -------
    int
        y.

    Raises
    ------
    TypeError
        The gradient isn't floating point.
    ValueError
        It isn't a finite matrix with three rows, or no row stands out: then it isn't that of one
        example.

    Examples
    --------
    >>> h, p = torch.tensor([1., 2.]), torch.tensor([0.5, 0.25, 0.25])
    >>> label_from_gradient(torch.outer(p - torch.tensor([0., 1., 0.]), h))
    1
    """
    require_features(least=3, gradient=gradient)
    products = gradient @ gradient.T
    products = products - torch.diag(products.diagonal())
    away = (products <= 0).all(1) & (gradient != 0).any(1)
    if int(away.sum()) != 1:
        raise ValueError(
            f"{int(away.sum())} rows point away from all the others, where one should: this is "
            "not the gradient of a single example under cross-entropy"
        )
    return int(away.nonzero())


def _local_steps(
    loss: Callable[..., Any],
    rate: float,
    proximal: float,
    parameters: Any,
    batches: Any,
    correction: Any,
    buffers: Any,
) -> ClientUpdate:
    """Take the steps of one client, perhaps inside vmap."""
    start = _each(Tensor.detach, parameters)

    def objective(θ: Any, held: Any, batch: Any) -> Any:
        value, after = (_value(loss, θ, batch), {}) if held is None else loss(θ, batch, held)
        total = value + proximal_term(θ, start, strength=proximal) if proximal else value
        return total, (value.detach(), after)

    θ, held, values = start, buffers, []
    for i in range(len(tree_leaves(batches)[0])):
        batch = tree_map(lambda leaf: leaf[i], batches)  # noqa: B023
        gradient, (value, after) = grad(objective, has_aux=True)(θ, held, batch)
        held = None if held is None else after
        if correction is not None:
            gradient = _each(torch.add, gradient, correction)
        θ = _each(lambda part, g: part - rate * g, θ, gradient)
        values.append(value)
    return ClientUpdate(θ, held, torch.stack(values))


def _of_client(tree: Any, k: int) -> Any:
    """Give the entries of client k."""
    return tree_map(lambda leaf: None if leaf is None else leaf[k], tree)


def _stacked(*leaves: Any) -> Any:
    """Stack what each client has, if it has any."""
    return None if leaves[0] is None else torch.stack(leaves)


def _require_update(
    parameters: Any, batches: Any, rate: float, proximal: float, correction: Any, *, of: str
) -> None:
    """Check what local steps are given; `of` says what is on the first axis."""
    extra = {} if correction is None else {"correction": correction}
    _require_alike(parameters=parameters, **extra)
    require_number("rate", rate, below=math.inf)
    require_number("proximal", proximal, below=math.inf)
    leaves = [leaf for leaf in tree_leaves(batches) if isinstance(leaf, Tensor)]
    least = 1 if of == "steps" else 2
    if not leaves or any(leaf.ndim < least for leaf in leaves):
        raise ValueError(
            f"batches must hold tensors with the {of} on the first axis"
            + ("" if least == 1 else " and the steps on the second")
        )
    if any(leaf.numel() == 0 for leaf in leaves):
        raise ValueError(
            "a client without rows can't take a step: batches hold an empty tensor, "
            f"{[shape(leaf) for leaf in leaves]}; leave such clients out of the round"
        )
    if len({leaf.shape[:least] for leaf in leaves}) > 1:
        raise ValueError(
            f"all tensors of the batches must have one number of {of}"
            f"{'' if least == 1 else ' and steps'}, got {[shape(leaf) for leaf in leaves]}"
        )
    for leaf in leaves:
        if leaf.is_floating_point():
            require_float(batches=leaf)


def _say_if_diverged(losses: Tensor, parameters: Any, rate: float) -> None:
    """Raise where local steps have left the finite numbers."""
    wrong = ~losses.isfinite().all(1)
    if seen(wrong.any()) or any(seen(~part.isfinite().all()) for part in tree_leaves(parameters)):
        raise FloatingPointError(
            f"local steps diverge at rate {rate:g} (losses not finite at clients "
            f"{wrong.nonzero().flatten().tolist()}); take a smaller rate or fewer steps"
        )


def _weights(name: str, weights: Tensor | Sequence[float], stacked: list[Tensor]) -> Tensor:
    """Check one number a client, not negative, against the stacked tensors."""
    counts = sorted({len(part) if part.ndim else 0 for part in stacked})
    w = torch.as_tensor(weights, dtype=torch.float64, device=stacked[0].device)
    if w.ndim != 1 or counts != [len(w)]:
        raise ValueError(
            f"{name} must have one number for each client, got {shape(w)} for "
            f"{counts} clients on the first axis"
        )
    if seen(~(w.isfinite() & (w >= 0)).all()):
        raise ValueError(f"{name} must be finite and not negative, got {w.tolist()}")
    return w


def _shares(weights: Tensor | Sequence[float], stacked: list[Tensor]) -> Tensor:
    """Bring weights to the sum 1."""
    w = _weights("weights", weights, stacked)
    if seen(w.sum() == 0):
        raise ValueError(
            "weights are all zero, so there is nothing to average; give numbers of rows"
        )
    return w / w.sum()


def _first(stacked: Any) -> Any:
    """Give the entries of the first client, whose shapes are those of the server's."""
    if any(part.ndim == 0 or len(part) == 0 for part in tree_leaves(stacked)):
        raise ValueError("clients must be stacked on the first axis, at least one of them")
    return _each(lambda part: part[0], stacked)


def _dirichlet(prior: Tensor, generator: torch.Generator) -> Tensor:
    """Draw shares of classes; a class without rows has none."""
    q = torch.zeros_like(prior)
    found = prior > 0
    drawn = torch._sample_dirichlet(prior[found].to(place_of(generator)), generator=generator)
    q[found] = drawn.to(q.device)
    return q


def _draw(chances: Tensor, generator: torch.Generator) -> Tensor:
    """Draw one index in proportion to chances."""
    return torch.multinomial(chances.to(place_of(generator)), 1, generator=generator)


def _require_bits(bits: int) -> None:
    _require_whole("bits", bits, least=8)
    require_number("bits", bits, least=8, most=62)


def _require_residues(name: str, values: Tensor, bits: int) -> None:
    """Require whole numbers modulo 2^bits."""
    require_tensor(**{name: values})
    if values.dtype != torch.int64:
        raise TypeError(f"{name} must be int64, got {values.dtype}; use to_fixed_point(...)")
    if seen(((values < 0) | (values >= 2**bits)).any()):
        raise ValueError(f"{name} must lie in [0, 2**{bits}); use to_fixed_point(...)")
