"""One training loop for several tasks, in which what becomes of their gradients is an argument.

A :class:`TaskNetwork` has a trunk that all tasks share and a head for each. :func:`train` asks a
balance, in each step, what to do with the tasks' losses and with their gradients in the trunk, so
that methods are exchanged in one place::

    problem = digit_tasks(seed=0)
    network = TaskNetwork(problem.tasks, seed=0)
    train(network, problem, balance("PCGrad", problem, seed=0), steps=300, seed=0)
    scores(network, problem, problem.test)
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy, mse_loss

from mapping_lib._names import suggest
from mapping_lib.lab.data import handwritten_digits
from mapping_lib.lab.machine import seeded
from mapping_lib.lab.training import accuracy
from mapping_lib.multitask import (
    chebyshev_loss,
    gradient_cosine,
    gradnorm_loss,
    mgda_weights,
    multitask_loss,
    pcgrad,
    task_gradients,
    uncertainty_loss,
)

__all__ = [
    "METHODS",
    "Balance",
    "GradNorm",
    "Step",
    "Task",
    "TaskNetwork",
    "TaskProblem",
    "TaskTraining",
    "Uncertainty",
    "balance",
    "digit_tasks",
    "fixed",
    "largest",
    "scores",
    "train",
]

TEST_PER_CLASS = 70


@dataclass(frozen=True)
class Task:
    """What is to be predicted of an image.

    Attributes
    ----------
    targets
        One for every image, ``(n,)``: integers are classes, real numbers are predicted by
        least squares.
    rows
        The images whose target is known while training.
    scale
        What the loss is multiplied by: the units it is measured in.
    """

    targets: Tensor
    rows: Tensor
    scale: float = 1.0

    @property
    def squared(self) -> bool:
        """Whether the loss is a mean squared error."""
        return self.targets.is_floating_point()

    @property
    def outputs(self) -> int:
        """How many numbers the head computes."""
        return 1 if self.squared else int(self.targets.max()) + 1

    def loss(self, outputs: Tensor, rows: Tensor) -> Tensor:
        """Return the loss of the outputs for some images, in the task's units."""
        targets = self.targets[rows]
        if self.squared:
            return self.scale * mse_loss(outputs.squeeze(1), targets)
        return self.scale * cross_entropy(outputs, targets)

    def score(self, outputs: Tensor, rows: Tensor) -> float:
        """Return the accuracy, or the share of the variance that is explained (R²)."""
        targets = self.targets[rows]
        if self.squared:
            return float(1 - mse_loss(outputs.squeeze(1), targets) / targets.var(correction=0))
        return accuracy(outputs, targets)


@dataclass(frozen=True)
class TaskProblem:
    """Images, the tasks on them, and the rows that choose and that test."""

    images: Tensor
    tasks: dict[str, Task]
    validation: Tensor
    test: Tensor

    def only(self, *names: str) -> TaskProblem:
        """Return the problem with some of its tasks."""
        for name in names:
            if name not in self.tasks:
                raise ValueError(f"no task {name!r}{suggest(name, self.tasks)}")
        return replace(self, tasks={name: self.tasks[name] for name in names})

    def labelled(self, **rows: Tensor) -> TaskProblem:
        """Return the problem with other rows to train some tasks on."""
        tasks = {
            name: replace(task, rows=rows.get(name, task.rows)) for name, task in self.tasks.items()
        }
        return replace(self, tasks=tasks)


def digit_tasks(
    seed: int, *, labels_per_class: int = 20, ink_scale: float = 1.0
) -> tuple[TaskProblem, Tensor]:
    """Three questions about handwritten digits: which digit, odd or even, and how much ink.

    Parameters
    ----------
    seed
        Draws which images train, choose and test.
    labels_per_class
        Images of each digit to train on, at most 90.
    ink_scale
        What the loss of the ink is multiplied by. The ink itself, the mean of the pixels, has mean
        0 and variance 1 over all images.

    Returns
    -------
    TaskProblem, Tensor
        The problem, with 10 further images of each digit to choose by and 70 to test, and the rows
        of all images that neither choose nor test.

    Raises
    ------
    ValueError
        Too many or too few labels.
    """
    if not 1 <= labels_per_class <= 90:
        raise ValueError(f"labels_per_class must lie between 1 and 90, got {labels_per_class}")
    digits = handwritten_digits()
    generator = torch.Generator().manual_seed(seed)
    order = torch.randperm(len(digits), generator=generator)
    by_class = [order[digits.labels[order] == k] for k in range(len(digits.classes))]
    held = TEST_PER_CLASS + 10
    test = torch.cat([rows[:TEST_PER_CLASS] for rows in by_class])
    validation = torch.cat([rows[TEST_PER_CLASS:held] for rows in by_class])
    rows = torch.cat([rows[held : held + labels_per_class] for rows in by_class])
    ink = digits.images.mean(dim=(1, 2, 3))
    tasks = {
        "digit": Task(digits.labels, rows),
        "parity": Task(digits.labels % 2, rows),
        "ink": Task((ink - ink.mean()) / ink.std(), rows, scale=ink_scale),
    }
    others = torch.cat([rows[held:] for rows in by_class])
    return TaskProblem(digits.images, tasks, validation, test), others


class TaskNetwork(nn.Module):
    """A trunk of two layers that all tasks share, and a linear head for each.

    Parameters
    ----------
    tasks
        The tasks by name.
    seed
        Draws the first weights, and nothing else. The trunk's don't depend on the tasks.
    width
        Features that the trunk hands to the heads.
    """

    def __init__(self, tasks: dict[str, Task], *, seed: int, width: int = 64) -> None:
        super().__init__()
        with seeded(seed):
            self.trunk = nn.Sequential(
                nn.Flatten(), nn.Linear(256, 128), nn.ReLU(), nn.Linear(128, width), nn.Tanh()
            )
            self.heads = nn.ModuleDict(
                {name: nn.Linear(width, task.outputs) for name, task in tasks.items()}
            )

    def forward(self, images: Tensor) -> dict[str, Tensor]:
        """Map images to the outputs of every head."""
        features = self.trunk(images)
        return {name: head(features) for name, head in self.heads.items()}


class Step(NamedTuple):
    """What a balance decides: the trunk's gradient (P,), and each head's weight (T,)."""

    shared: Tensor
    weights: Tensor


Balance = Callable[[Tensor, Tensor], Step]
"""From the losses (T,) and the trunk's gradients (T, P) of the tasks to a step."""


def fixed(weights: Iterable[float] | None = None) -> Balance:
    """Return the balance with fixed weights; None: the plain sum."""

    def step(losses: Tensor, gradients: Tensor) -> Step:
        w = torch.ones_like(losses) if weights is None else losses.new_tensor(tuple(weights))
        return Step(w @ gradients, w)

    return step


def largest(weights: Iterable[float]) -> Balance:
    """Return the balance that lowers the largest weighted loss alone."""
    w = tuple(weights)

    def step(losses: Tensor, gradients: Tensor) -> Step:
        values = losses.detach().requires_grad_()
        (chosen,) = torch.autograd.grad(chebyshev_loss(values, weights=w), values)
        return Step(chosen @ gradients, chosen)

    return step


class Uncertainty:
    """Weights from learned variances, :func:`mapping_lib.multitask.uncertainty_loss`.

    Parameters
    ----------
    squared
        For each task whether its loss is a mean squared error.
    rate
        Adam's rate for the logarithms of the variances.
    """

    def __init__(self, squared: Iterable[bool], *, rate: float = 1e-2) -> None:
        self.squared = tuple(squared)
        self.log_variances = torch.zeros(len(self.squared), requires_grad=True)
        self._optimiser = torch.optim.Adam([self.log_variances], lr=rate)

    def __call__(self, losses: Tensor, gradients: Tensor) -> Step:
        """Move the variances one step, then weigh by them."""
        self._optimiser.zero_grad()
        uncertainty_loss(losses, self.log_variances, squared=self.squared).backward()  # type: ignore[no-untyped-call]
        self._optimiser.step()
        halves = losses.new_tensor([0.5 if each else 1.0 for each in self.squared])
        w = halves * torch.exp(-self.log_variances.detach())
        return Step(w @ gradients, w)


class GradNorm:
    """Weights that make the gradients alike, :func:`mapping_lib.multitask.gradnorm_loss`.

    Parameters
    ----------
    tasks
        Their number.
    asymmetry, rate
        α, and Adam's rate for the weights.
    """

    def __init__(self, tasks: int, *, asymmetry: float = 1.5, rate: float = 1e-2) -> None:
        self.weights = torch.ones(tasks, requires_grad=True)
        self.asymmetry = asymmetry
        self.first: Tensor | None = None
        self._optimiser = torch.optim.Adam([self.weights], lr=rate)

    def __call__(self, losses: Tensor, gradients: Tensor) -> Step:
        """Move the weights one step, then weigh by them."""
        self.first = losses if self.first is None else self.first
        self._optimiser.zero_grad()
        gradnorm_loss(
            self.weights, gradients, losses, self.first, asymmetry=self.asymmetry
        ).backward()  # type: ignore[no-untyped-call]
        self._optimiser.step()
        with torch.no_grad():
            self.weights.clamp_(min=1e-3)
            self.weights.div_(self.weights.mean())
        w = self.weights.detach().clone()
        return Step(w @ gradients, w)


def _equal_lengths(losses: Tensor, gradients: Tensor) -> Step:
    lengths = gradients.norm(dim=1)
    w = lengths.mean() / lengths.clamp(min=1e-12)
    return Step(w @ gradients, w)


def _shortest(losses: Tensor, gradients: Tensor) -> Step:
    return Step(len(losses) * (mgda_weights(gradients) @ gradients), torch.ones_like(losses))


METHODS = ("sum", "uncertainty", "GradNorm", "PCGrad", "MGDA", "equal lengths")
"""The names that :func:`balance` knows."""


def balance(method: str, problem: TaskProblem, *, seed: int) -> Balance:
    """Return a method's balance for a problem, as new.

    Parameters
    ----------
    method
        One of ``METHODS``. "equal lengths" divides each gradient by its length and
        multiplies it by the mean length.
    problem
        Whose tasks are to be balanced.
    seed
        Draws the orders of PCGrad.

    Raises
    ------
    ValueError
        An unknown method.
    """
    if method == "sum":
        return fixed()
    if method == "uncertainty":
        return Uncertainty(task.squared for task in problem.tasks.values())
    if method == "GradNorm":
        return GradNorm(len(problem.tasks))
    if method == "PCGrad":
        generator = torch.Generator().manual_seed(seed)
        return lambda losses, gradients: Step(
            pcgrad(gradients, generator=generator).sum(dim=0), torch.ones_like(losses)
        )
    if method == "MGDA":
        return _shortest
    if method == "equal lengths":
        return _equal_lengths
    raise ValueError(f"no method {method!r}{suggest(method, METHODS)}")


@dataclass(frozen=True)
class TaskTraining:
    """What :func:`train` saw in each step, tasks in the order of the problem.

    Attributes
    ----------
    losses, lengths
        ``(steps, T)``: the tasks' losses, and the lengths of their gradients in the trunk.
    cosines
        ``(steps, T, T)``: of those gradients.
    weights
        ``(steps, T)``: what the balance weighed the heads by.
    """

    losses: Tensor
    lengths: Tensor
    cosines: Tensor
    weights: Tensor


def train(
    network: TaskNetwork,
    problem: TaskProblem,
    step: Balance,
    *,
    steps: int,
    seed: int,
    rate: float = 1e-3,
    batch_size: int = 64,
    after: Callable[[int], None] | None = None,
) -> TaskTraining:
    """Train trunk and heads by Adam, the trunk along what the balance makes of the gradients.

    Tasks that are trained on the same rows see the same images in a step.

    Parameters
    ----------
    network, problem
        What to train, and on what.
    step
        The balance, see :func:`balance`.
    steps, rate, batch_size
        Number of steps, Adam's rate, and images of each task in a step.
    seed
        Draws the batches.
    after
        Called after each step with the number of steps made.

    Returns
    -------
    TaskTraining
        What was seen.

    Raises
    ------
    FloatingPointError
        A loss is no longer finite.
    """
    trunk = list(network.trunk.parameters())
    heads = [parameter for name in problem.tasks for parameter in network.heads[name].parameters()]
    optimiser = torch.optim.Adam([*trunk, *heads], lr=rate)
    sizes = [parameter.numel() for parameter in trunk]
    generator = torch.Generator().manual_seed(seed)
    seen: list[tuple[Tensor, ...]] = []
    network.train()
    for number in range(1, steps + 1):
        places = torch.rand(batch_size, generator=generator)
        values: list[Tensor] = []
        features: dict[int, Tensor] = {}
        for name, task in problem.tasks.items():
            rows = task.rows[(places * len(task.rows)).long()]
            if id(task.rows) not in features:
                features[id(task.rows)] = network.trunk(problem.images[rows])
            values.append(task.loss(network.heads[name](features[id(task.rows)]), rows))
        losses = torch.stack(values)
        if not losses.isfinite().all():
            raise FloatingPointError(
                f"a loss is no longer finite in step {number}: try a smaller rate (now {rate:g})"
            )
        gradients = task_gradients(losses, trunk)
        shared, weights = step(losses.detach(), gradients)
        optimiser.zero_grad()
        total = multitask_loss(losses, weights=weights)
        total.backward(inputs=heads)  # type: ignore[no-untyped-call]
        for parameter, part in zip(trunk, torch.split(shared, sizes), strict=True):
            parameter.grad = part.view_as(parameter).clone()
        optimiser.step()
        lengths = gradients.norm(dim=1)
        seen.append((losses.detach(), lengths, gradient_cosine(gradients), weights))
        if after is not None:
            after(number)
    return TaskTraining(*map(torch.stack, zip(*seen, strict=True)))


def scores(network: TaskNetwork, problem: TaskProblem, rows: Tensor) -> dict[str, float]:
    """Return the score of each task of the problem on some images."""
    with torch.no_grad():
        outputs = network(problem.images[rows])
    return {name: task.score(outputs[name], rows) for name, task in problem.tasks.items()}
