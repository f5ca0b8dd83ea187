"""Clients with digits of their own, and rounds of federated training over all of them at once.

Twenty clients hold handwritten digits that differ in their classes (:func:`uneven_clients`) or in
how they look (:func:`rendered_clients`); :func:`train` runs the rounds of one method::

    clients = uneven_clients(0.1, seed=0)
    found = train("FedAvg", clients, network(seed=0), rounds=30, rate=0.1, seed=0)
    found.curve[-1]  # accuracy on the test digits after the last round
"""

from __future__ import annotations

import copy
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any, Literal, NamedTuple, get_args

import torch
from torch import Tensor, nn
from torch.func import functional_call, vmap
from torch.nn.functional import avg_pool2d, cross_entropy, pad

from mapping_lib.federated import (
    broadcast,
    client_loss,
    client_updates,
    control_variates,
    dirichlet_split,
    fedavg,
    local_entries,
    server_variate,
)
from mapping_lib.lab.data import handwritten_digits, rendered_digits
from mapping_lib.lab.data._arguments import at_least_one, one_of
from mapping_lib.lab.machine import seeded
from mapping_lib.lab.training import fit

__all__ = [
    "BATCH",
    "CLIENTS",
    "SIZES",
    "STEPS",
    "Clients",
    "Found",
    "Method",
    "client_batches",
    "network",
    "pretrained",
    "rendered",
    "rendered_clients",
    "rounds_to",
    "traffic",
    "train",
    "uneven_clients",
]

Method = Literal["FedAvg", "FedProx", "SCAFFOLD", "FedBN", "local only", "central"]

CLIENTS = 20
SIZES = tuple(26 + 4 * k for k in range(CLIENTS))
"""Rows of each client, from 26 to 102 and 1,280 in all; a fifth of them is held out."""

STEPS, BATCH = 20, 16
"""Local steps a round, and rows a step."""


@dataclass(frozen=True, eq=False)
class Clients:
    """What each client holds, and the digits that nobody trains on.

    Attributes
    ----------
    train
        Images and labels of each client.
    held
        Rows that each client holds out of its own, to choose by.
    test
        Images (m, n, 1, 8, 8), as each client would see them, and their labels (n,).
    """

    train: list[tuple[Tensor, Tensor]]
    held: list[tuple[Tensor, Tensor]]
    test: tuple[Tensor, Tensor]

    def __len__(self) -> int:
        return len(self.train)

    @property
    def rows(self) -> Tensor:
        """The numbers of rows to train on, (m,), which are the weights of the mean."""
        return torch.tensor([len(labels) for _, labels in self.train])

    def shares(self) -> Tensor:
        """The shares of the ten classes at each client, (m, 10)."""
        counts = [torch.bincount(labels, minlength=10) for _, labels in self.train]
        return torch.stack(counts) / self.rows[:, None]


class Found(NamedTuple):
    """What :func:`train` returns.

    ``curve`` holds the test accuracy after each round, the mean over the clients where each has a
    network of its own; ``held`` the accuracy on the clients' held-out rows at the end, ``own`` the
    test accuracy when each class counts as much as at the client (mean over clients), and ``state``
    the parameters and running statistics of all clients, stacked.
    """

    curve: list[float]
    held: float
    own: float
    state: dict[str, Tensor]


def uneven_clients(concentration: float, *, seed: int, clients: int = CLIENTS) -> Clients:
    """Deal handwritten digits to clients whose classes are uneven; 517 digits test.

    Parameters
    ----------
    concentration
        Of the Dirichlet distribution, see :func:`mapping_lib.federated.dirichlet_split`.
    seed
        Draws test digits and split.
    clients
        How many, up to 20.

    Examples
    --------
    >>> len(uneven_clients(0.5, seed=0, clients=3))
    3
    """
    return _dealt(concentration, seed, clients, lambda images, client: images)


def rendered_clients(*, seed: int, clients: int = CLIENTS) -> Clients:
    """Deal handwritten digits evenly to clients that each see them in another way.

    Parameters
    ----------
    seed
        Draws test digits and split.
    clients
        How many, up to 20.

    Examples
    --------
    >>> rendered_clients(seed=0, clients=2).test[0].shape
    torch.Size([2, 517, 1, 8, 8])
    """
    return _dealt(1e6, seed, clients, rendered)


def rendered(images: Tensor, client: int) -> Tensor:
    """Show images as a client sees them: in turn plain, blurred, pale, inverted, pale and inverted.

    Parameters
    ----------
    images
        Shape (n, 1, side, side), in [0, 1]; so is the result.
    client
        Its number. Every five clients the change is a little stronger.

    Examples
    --------
    >>> rendered(torch.ones(1, 1, 2, 2), 3).unique()
    tensor([0.])
    """
    kind, strength = client % 5, 1 + client // 5  # 1 to 4
    if kind == 1:
        smooth = avg_pool2d(pad(images, (1, 1, 1, 1)), 3, stride=1)
        share = strength / 4
        return (1 - share) * images + share * smooth
    low = 0.1 + 0.05 * strength
    if kind in (2, 4):  # between 0.5 and 0.5 + low
        images = 0.5 + low * images
    return 1 - images if kind in (3, 4) else images


def network(*, seed: int, norm: bool = False) -> nn.Sequential:
    """Return a perceptron for 8×8 digits with two hidden layers of 64 units.

    Parameters
    ----------
    seed
        Draws the first weights.
    norm
        Whether batch norm stands before each ReLU.
    """

    def block() -> list[nn.Module]:
        return [nn.Linear(64, 64), *([nn.BatchNorm1d(64)] if norm else []), nn.ReLU()]

    with seeded(seed):
        return nn.Sequential(nn.Flatten(), *block(), *block(), nn.Linear(64, 10))


def pretrained(*, seed: int, epochs: int = 20) -> nn.Sequential:
    """Return the :func:`network` after training on 4,000 digits rendered from fonts.

    Parameters
    ----------
    seed
        Draws first weights, glyphs and batches.
    epochs
        How often to go through the glyphs.
    """
    model, glyphs = network(seed=seed), rendered_digits(4000, seed=seed, size=8)
    fit(
        model,
        cross_entropy,
        glyphs.images,
        glyphs.labels,
        epochs=epochs,
        rate=0.05,
        batch_size=64,
        seed=seed,
        progress=False,
    )
    return model


def client_batches(
    inputs: Tensor, labels: Tensor, *, seed: int, round: int, client: int, steps: int, size: int
) -> tuple[Tensor, Tensor]:
    """Draw the batches of one client in one round, with replacement.

    They depend on the client's own rows and these numbers alone, so a client in a process of its
    own draws the same.

    Parameters
    ----------
    inputs, labels
        The client's rows.
    seed, round, client
        What the draw is seeded with.
    steps, size
        How many batches, of how many rows.

    Returns
    -------
    tuple of Tensor
        Inputs (steps, size, ...) and labels (steps, size).
    """
    generator = torch.Generator().manual_seed((seed * 100_003 + round) * 1_009 + client)
    rows = torch.randint(len(labels), (steps, size), generator=generator)
    return inputs[rows], labels[rows]


def train(
    method: Method,
    clients: Clients,
    model: nn.Module,
    *,
    rounds: int,
    rate: float,
    seed: int,
    proximal: float = 0.0,
    steps: int = STEPS,
    batch_size: int = BATCH,
) -> Found:
    """Train by one method: so many rounds of so many local steps, whatever the method.

    Parameters
    ----------
    method
        "local only" never averages. "central" has all rows in one place, and batches as large as
        all clients' together.
    clients
        Who trains.
    model
        Where all start; left as it is.
    rounds, steps, batch_size
        How often the server averages, local steps in between, and rows a step.
    rate
        Of the local steps.
    seed
        Draws the batches.
    proximal
        FedProx's strength.
    """
    one_of(get_args(Method), method=method)
    at_least_one(rounds=rounds, steps=steps, batch_size=batch_size)
    model = copy.deepcopy(model).train()
    if method == "central":
        batch_size *= len(clients)
        clients = _together(clients)
    m, loss = len(clients), client_loss(model, cross_entropy)
    shared: Any = {n: p.detach() for n, p in model.named_parameters()}
    floats = {n: b for n, b in model.named_buffers() if b.is_floating_point()}
    names, state = list(shared), broadcast({**shared, **floats}, m)
    kept = local_entries(model) if method == "FedBN" else []
    variate = {n: torch.zeros_like(p) for n, p in shared.items()}
    variates: Any = broadcast(variate, m)
    weights, curve = clients.rows, []
    for round in range(rounds):
        assert isinstance(state, dict)
        start = {n: state[n] for n in names}
        drawn = [
            client_batches(*own, seed=seed, round=round, client=k, steps=steps, size=batch_size)
            for k, own in enumerate(clients.train)
        ]
        batches = tuple(torch.stack(part) for part in zip(*drawn, strict=True))
        corrections = {n: variate[n] - variates[n] for n in names} if method == "SCAFFOLD" else None
        ends = client_updates(
            loss,
            start,
            batches,
            rate=rate,
            proximal=proximal if method == "FedProx" else 0.0,
            corrections=corrections,
            buffers={n: state[n] for n in floats} if floats else None,
        )
        assert isinstance(ends.parameters, dict)
        if method == "SCAFFOLD":
            first = {n: part[0] for n, part in start.items()}
            after: Any = control_variates(
                variates, variate, first, ends.parameters, rate=rate, steps=steps
            )
            shares = weights / weights.sum()
            now: Any = server_variate(variate, variates, after, shares=shares)
            variate, variates = now, after
        state = {**ends.parameters, **(ends.buffers or {})}
        if method != "local only":
            state = broadcast(fedavg(state, weights), m, own={n: state[n] for n in kept})
        curve.append(float(_right(model, state, clients).mean()))
    assert isinstance(state, dict)
    return Found(curve, _on_held(model, state, clients), _on_own(model, state, clients), state)


def rounds_to(curve: list[float], threshold: float) -> int | None:
    """Return after how many rounds a curve first reaches a threshold, None if it never does.

    >>> rounds_to([0.5, 0.8, 0.7, 0.9], 0.75)
    2
    """
    return next((k + 1 for k, value in enumerate(curve) if value >= threshold), None)


def traffic(model: nn.Module, method: Method) -> int:
    """Return the bytes that go to one client and back in a round, four a number.

    SCAFFOLD sends a variate with the parameters, both ways; FedBN leaves batch norm at home.

    Parameters
    ----------
    model
        Whose parameters and running statistics are sent.
    method
        As in :func:`train`.

    Examples
    --------
    >>> traffic(nn.Linear(2, 1), "FedAvg"), traffic(nn.Linear(2, 1), "SCAFFOLD")
    (24, 48)
    """
    if method in ("local only", "central"):
        return 0
    entries = {n: t for n, t in model.state_dict().items() if t.is_floating_point()}
    kept = set(local_entries(model)) if method == "FedBN" else set()
    numbers: int = sum(t.numel() for n, t in entries.items() if n not in kept)
    if method == "SCAFFOLD":
        numbers += sum(p.numel() for p in model.parameters())
    return 2 * 4 * numbers


def _dealt(concentration: float, seed: int, count: int, look: Any) -> Clients:
    """Deal digits to clients; `look` says how a client sees images."""
    at_least_one(clients=count)
    if count > CLIENTS:
        raise ValueError(f"clients must be at most {CLIENTS}, for whom there are rows, got {count}")
    digits = handwritten_digits(size=8)
    generator = torch.Generator().manual_seed(seed)
    order = torch.randperm(len(digits), generator=generator)
    dealt, test = order[: sum(SIZES)], order[sum(SIZES) :]
    labels = digits.labels[dealt]
    parts = dirichlet_split(
        labels, concentration=concentration, sizes=SIZES[:count], generator=generator
    )
    train, held = [], []
    for k, part in enumerate(parts):
        own = look(digits.images[dealt[part]], k), labels[part]
        fifth = len(part) // 5
        mixed = torch.randperm(len(part), generator=generator)  # the split deals classes in runs
        rows, out = mixed[fifth:], mixed[:fifth]
        train.append((own[0][rows], own[1][rows]))
        held.append((own[0][out], own[1][out]))
    seen = torch.stack([look(digits.images[test], k) for k in range(count)])
    return Clients(train, held, (seen, digits.labels[test]))


def _together(clients: Clients) -> Clients:
    """Give one client that holds everything; it is tested as all of them see the digits."""
    (images, labels), m = clients.test, len(clients)
    one = [
        tuple(torch.cat(part) for part in zip(*rows, strict=True))
        for rows in (clients.train, clients.held)
    ]
    return replace(
        clients,
        train=[one[0]],  # type: ignore[list-item]
        held=[one[1]],  # type: ignore[list-item]
        test=(images.flatten(0, 1)[None], labels.repeat(m)),
    )


def _logits(model: nn.Module, state: Mapping[str, Tensor], images: Tensor) -> Tensor:
    """Give each client's logits of its own view of the images, in eval mode."""
    model.eval()
    with torch.no_grad():
        logits: Tensor = vmap(lambda s, x: functional_call(model, s, (x,)))(dict(state), images)
    model.train()
    return logits


def _right(model: nn.Module, state: Any, clients: Clients) -> Tensor:
    """Say which test images each client's network gets right, (m, n)."""
    images, labels = clients.test
    if all(bool((part == part[:1]).all()) for part in state.values()) and bool(
        (images == images[:1]).all()
    ):
        state, images = {n: part[:1] for n, part in state.items()}, images[:1]
    right = (_logits(model, state, images).argmax(-1) == labels).float()
    return right.expand(len(clients), -1)


def _on_held(model: nn.Module, state: Any, clients: Clients) -> float:
    """Give the share of right answers on the clients' held-out rows, by each client's network."""
    right = 0
    for k, (images, labels) in enumerate(clients.held):
        own = {n: part[k : k + 1] for n, part in state.items()}
        right += int((_logits(model, own, images[None])[0].argmax(-1) == labels).sum())
    return right / sum(len(labels) for _, labels in clients.held)


def _on_own(model: nn.Module, state: Any, clients: Clients) -> float:
    """Give the accuracy when each class counts as much as at the client, mean over clients."""
    right, labels = _right(model, state, clients), clients.test[1]
    by_class = torch.stack([right[:, labels == c].mean(1) for c in range(10)], 1)
    return float((by_class * clients.shares()).sum(1).mean())
