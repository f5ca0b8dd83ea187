"""What a client's gradient gives away: its digits, looked for by whoever sees the gradient.

The attacker knows the network and its parameters, the labels (one can be read off, see
:func:`mapping_lib.federated.label_from_gradient`) and what the client sent; :func:`reconstructed`
looks for images with that gradient.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import torch
from scipy.optimize import linear_sum_assignment
from torch import Tensor, nn
from torch.nn.functional import cross_entropy

from mapping_lib._checks import require_same_shape
from mapping_lib.federated import client_loss, client_update, gradient_mismatch
from mapping_lib.lab.data import handwritten_digits
from mapping_lib.lab.data._arguments import at_least_one
from mapping_lib.lab.machine import seeded

__all__ = [
    "ITERATIONS",
    "RATE",
    "Sent",
    "attacked",
    "drawn",
    "guessed",
    "reconstructed",
    "sent",
    "similarity",
    "victim",
]

RATE, ITERATIONS = 0.3, 150
"""Of the client's local steps, and of the attacker's search."""


class Sent(NamedTuple):
    """What the server can compute from what a client sent, and the client's digits.

    ``gradient`` is (θ_0 − θ_E) / (E η): the gradient after one step, its mean on the way after
    several. ``images`` (n, 1, 8, 8) and ``labels`` are what it was computed from.
    """

    gradient: dict[str, Tensor]
    images: Tensor
    labels: Tensor


def victim(*, seed: int) -> nn.Sequential:
    """Return the network that is trained: one hidden layer of 64 smooth units, in float64.

    Parameters
    ----------
    seed
        Draws the first weights.
    """
    with seeded(seed):
        return nn.Sequential(nn.Flatten(), nn.Linear(64, 64), nn.Tanh(), nn.Linear(64, 10)).double()


def drawn(count: int, *, seed: int) -> tuple[Tensor, Tensor]:
    """Draw handwritten digits: images (count, 1, 8, 8) in float64, and labels.

    Parameters
    ----------
    count
        How many.
    seed
        Draws them.
    """
    at_least_one(count=count)
    digits = handwritten_digits(size=8)
    if count > len(digits):
        raise ValueError(f"there are {len(digits)} digits, so count can't be {count}")
    rows = torch.randperm(len(digits), generator=torch.Generator().manual_seed(seed))[:count]
    return digits.images[rows].double(), digits.labels[rows]


def sent(model: nn.Module, images: Tensor, labels: Tensor, *, steps: int = 1) -> Sent:
    """Take a client's full-batch local steps, and give what can be read off the difference.

    Parameters
    ----------
    model
        What the server sent; left as it is.
    images, labels
        The client's rows.
    steps
        Local steps at :data:`RATE`.
    """
    at_least_one(steps=steps)
    start = {name: part.detach() for name, part in model.named_parameters()}
    batches = tuple(part.expand(steps, *part.shape) for part in (images, labels))
    end: Any = client_update(
        client_loss(model, cross_entropy), start, batches, rate=RATE
    ).parameters
    gradient = {name: (start[name] - end[name]) / (steps * RATE) for name in start}
    return Sent(gradient, images, labels)


def reconstructed(
    model: nn.Module,
    gradient: dict[str, Tensor],
    labels: Tensor,
    *,
    seed: int,
    iterations: int = ITERATIONS,
    starts: int = 2,
) -> Tensor:
    """Look for images whose gradient is the one observed, by L-BFGS from random ones.

    Parameters
    ----------
    model
        The network, as the server sent it.
    gradient
        What was observed.
    labels
        Of the images that are looked for.
    seed
        Draws the first images.
    iterations, starts
        How long to search, from how many beginnings; the smaller mismatch wins.

    Returns
    -------
    Tensor
        Images (n, 1, 8, 8), clipped to [0, 1].
    """
    at_least_one(iterations=iterations, starts=starts)
    loss = client_loss(model, cross_entropy)
    θ: Any = {name: part.detach() for name, part in model.named_parameters()}
    scale = sum(g.square().sum() for g in gradient.values())
    generator = torch.Generator().manual_seed(seed)
    best, lowest = torch.zeros(len(labels), 1, 8, 8).double(), float("inf")
    for _ in range(starts):
        x = torch.rand(len(labels), 1, 8, 8, generator=generator, dtype=torch.float64)
        x.requires_grad_()
        search = torch.optim.LBFGS(
            [x], max_iter=iterations, line_search_fn="strong_wolfe", tolerance_grad=1e-12
        )

        def mismatch() -> Tensor:
            search.zero_grad()  # noqa: B023
            value = gradient_mismatch(loss, θ, (x, labels), gradient) / scale  # noqa: B023
            value.backward()  # type: ignore[no-untyped-call]
            return value

        search.step(mismatch)  # type: ignore[no-untyped-call]
        value = float(mismatch().detach())
        if value < lowest:
            best, lowest = x.detach().clamp(0, 1), value
        if lowest < 1e-10:
            break
    return best


def similarity(found: Tensor, images: Tensor) -> float:
    """Return the mean correlation of images with the true ones, matched as well as can be.

    Parameters
    ----------
    found, images
        Shape (n, ...) both. 1 is a perfect copy up to brightness and contrast; an image without
        any contrast counts 0.

    Examples
    --------
    >>> round(similarity(torch.eye(2), torch.eye(2).flip(0)), 3)
    1.0
    """
    require_same_shape(found=found, images=images)
    rows = [each.flatten(1).double() for each in (found, images)]
    rows = [each - each.mean(1, keepdim=True) for each in rows]
    a, b = (each / each.norm(dim=1, keepdim=True).clamp(min=1e-12) for each in rows)
    table = a @ b.T
    pairs = linear_sum_assignment(-table.numpy())
    return float(table[pairs].mean())


def attacked(batch: int, steps: int, *, clients: int, seed: int) -> float:
    """Return how alike the images are that an attacker makes again.

    Parameters
    ----------
    batch, steps
        Images of a client, and its local steps.
    clients
        Above 1: only the mean over so many clients is seen, as under masks.
    seed
        Draws network, digits and search.
    """
    model = victim(seed=seed)
    images, labels = drawn(batch * clients, seed=seed)
    found = sent(model, images, labels, steps=steps)
    return similarity(reconstructed(model, found.gradient, labels, seed=seed), images)


def guessed(batch: int, steps: int, *, clients: int, seed: int) -> float:
    """Return how alike the mean images of the labels are: what the labels alone give away.

    Parameters
    ----------
    batch, steps, clients, seed
        As in :func:`attacked`.
    """
    images, labels = drawn(batch * clients, seed=seed)
    digits = handwritten_digits(size=8)
    means = torch.stack([digits.images[digits.labels == k].mean(0) for k in range(10)])
    return similarity(means[labels], images)
