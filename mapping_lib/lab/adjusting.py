"""Fine-tuning whose frozen groups and whose source term change on the way, by a plan or by looks.

A network of :mod:`mapping_lib.lab.choosing` learns a target's labels while a schedule says how many
of its groups learn, counted from the head; a second loss, of a source with the same classes, may
take part until it is dropped.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy

from mapping_lib.lab.choosing import Target
from mapping_lib.lab.training import accuracy, predict
from mapping_lib.multitask import gradient_cosine
from mapping_lib.strategies import Controller

__all__ = ["Run", "adjust", "every", "split"]

GROUPS = 5
"""Groups of a network: four blocks and the head."""


@dataclass
class Run:
    """What was seen while a network learned.

    Attributes
    ----------
    looks
        Steps after which the held-out rows were looked at.
    losses
        Of the held-out rows, at each look.
    unfrozen
        Groups that learned, at each look.
    accuracies
        Of the test images, at every fifth look and the last.
    cosines
        Between the gradients of the two losses, at each step; empty without a source.
    shares
        Weight of the source's loss, at each step; empty without a source.
    """

    looks: list[int] = field(default_factory=list)
    losses: list[float] = field(default_factory=list)
    unfrozen: list[int] = field(default_factory=list)
    accuracies: list[float] = field(default_factory=list)
    cosines: list[float] = field(default_factory=list)
    shares: list[float] = field(default_factory=list)


def split(target: Target, held: int) -> tuple[Target, Target]:
    """Take the last labelled rows of each class away from a target, to look at.

    Parameters
    ----------
    target
        As :func:`mapping_lib.lab.choosing.target_problem` gives it.
    held
        How many of each class.

    Returns
    -------
    Target, Target
        One with the rows that train, one with those that were taken away.
    """
    place = torch.zeros_like(target.labels)
    for k in range(target.classes):
        mine = target.labels == k
        place[mine] = torch.arange(int(mine.sum())).flip(0)
    train = place >= held
    return (
        target._replace(images=target.images[train], labels=target.labels[train]),
        target._replace(images=target.images[~train], labels=target.labels[~train]),
    )


def every(steps: int) -> Callable[[int], int]:
    """Return the fixed schedule that opens one more group every so many steps.

    Parameters
    ----------
    steps
        Between two openings.

    Examples
    --------
    >>> schedule = every(10)
    >>> [schedule(step) for step in (0, 9, 10, 99)]
    [1, 1, 2, 5]
    """
    return lambda step: min(1 + step // steps, GROUPS)


def adjust(
    network: nn.Sequential,
    target: Target,
    held: Target,
    *,
    schedule: Callable[[int], int] | Controller,
    steps: int,
    source: tuple[Tensor, Tensor] | None = None,
    gate: bool = False,
    head_rate: float = 1e-2,
    body_rate: float = 1e-3,
    look: int = 5,
    seed: int = 0,
) -> Run:
    """Train a network on all labelled rows of a target in each step, as a schedule says.

    Parameters
    ----------
    network
        Is trained in place; its head must have the target's classes.
    target, held
        Rows that train, and rows that are looked at.
    schedule
        Takes the step and gives the number of groups that learn; or a controller, which is shown
        the held-out loss and the mean cosine since the last look.
    steps
        How many.
    source
        Images and labels of a source with the same classes, whose loss on a batch of 64 is added.
    gate
        Whether the source is left out of each step in which its gradient's cosine with the
        target's is below 0.
    head_rate, body_rate
        Of Adam.
    look
        Steps between two looks.
    seed
        Draws the source's batches.
    """
    groups = [*network[1:-1], network[-1]][::-1]  # from the head
    rates = [head_rate] + [body_rate] * (len(groups) - 1)
    optimiser = torch.optim.Adam(
        [
            {"params": list(group.parameters()), "lr": rate}
            for group, rate in zip(groups, rates, strict=True)
        ],
        fused=True,
    )
    generator = torch.Generator().manual_seed(seed)
    run, recent = Run(), list[float]()
    for step in range(steps):
        adaptive = isinstance(schedule, Controller)
        unfrozen = schedule.unfrozen if isinstance(schedule, Controller) else schedule(step)
        learning = [p for group in groups[:unfrozen] for p in group.parameters()]
        for group in groups:
            group.requires_grad_(group in groups[:unfrozen])
        loss = cross_entropy(network(target.images), target.labels)
        gradients = torch.autograd.grad(loss, learning)
        if source is not None:
            rows = torch.randint(len(source[0]), (64,), generator=generator)
            other = torch.autograd.grad(
                cross_entropy(network(source[0][rows]), source[1][rows]), learning
            )
            flat = [torch.cat([g.flatten() for g in part]) for part in (gradients, other)]
            cosine = float(gradient_cosine(torch.stack(flat))[0, 1])
            on = not (gate and cosine < 0)
            if isinstance(schedule, Controller):
                on = schedule.source
            recent.append(cosine)
            run.cosines.append(cosine)
            run.shares.append(float(on))
            if on:
                gradients = tuple(a + b for a, b in zip(gradients, other, strict=True))
        optimiser.zero_grad()
        for parameter, gradient in zip(learning, gradients, strict=True):
            parameter.grad = gradient
        optimiser.step()
        if (step + 1) % look == 0:
            run.looks.append(step + 1)
            run.losses.append(float(cross_entropy(predict(network, held.images), held.labels)))
            run.unfrozen.append(unfrozen)
            if len(run.looks) % 5 == 0 or step + 1 == steps:
                logits = predict(network, target.test_images)
                run.accuracies.append(accuracy(logits, target.test_labels))
            if adaptive:
                mean = sum(recent) / len(recent) if recent else None
                schedule.update(step + 1, run.losses[-1], cosine=mean)  # type: ignore[union-attr]
                recent.clear()
    network.requires_grad_(True)
    return run
