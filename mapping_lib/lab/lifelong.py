"""Tasks that come one after another, a network that learns them, and ways to keep the old ones."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Literal

import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy
from torch.nn.utils import parameters_to_vector

from mapping_lib._names import suggest
from mapping_lib.continual import (
    Anchor,
    agem_projection,
    diagonal_fisher,
    ewc_penalty,
    lwf_loss,
    reservoir_slots,
)
from mapping_lib.lab.data import Images
from mapping_lib.lab.machine import seeded
from mapping_lib.lab.training import predict

__all__ = [
    "METHODS",
    "Course",
    "LifelongNetwork",
    "Scenario",
    "Task",
    "learn",
    "split_tasks",
]

Scenario = Literal["task", "class"]
"""What the test tells. Either the task, whose classes alone are then open, or nothing."""

METHODS = (
    "fine-tuning",
    "frozen body",
    "EWC",
    "LwF",
    "A-GEM",
    "replay",
    "replay, reservoir",
    "joint training",
    "from scratch",
)
"""What :func:`learn` knows."""


@dataclass(frozen=True, repr=False)
class Task:
    """Images of some classes, to train on, to choose by, and to test on.

    Attributes
    ----------
    name
        Of the task.
    classes
        Their numbers in the whole sequence.
    train, validation, test
        Images and their labels, which are such numbers.
    """

    name: str
    classes: tuple[int, ...]
    train: tuple[Tensor, Tensor]
    validation: tuple[Tensor, Tensor]
    test: tuple[Tensor, Tensor]

    def __repr__(self) -> str:
        sizes = ", ".join(str(len(part[1])) for part in (self.train, self.validation, self.test))
        return f"Task({self.name}: {len(self.classes)} classes, {sizes} images)"


def split_tasks(
    images: Images,
    groups: Sequence[Sequence[int]],
    *,
    sizes: tuple[int, int, int],
    seed: int,
    names: Sequence[str] | None = None,
) -> list[Task]:
    """Make a sequence of tasks of labelled images.

    Parameters
    ----------
    images
        With all classes.
    groups
        The classes of each task, in the order in which the tasks come.
    sizes
        Images of each class to train on, to choose by, and to test on.
    seed
        Draws which.
    names
        Of the tasks; by default their classes'.

    Raises
    ------
    ValueError
        A task has no classes, a class stands in two tasks or has too few images.
    """
    flat = [each for group in groups for each in group]
    if not groups or not all(len(group) for group in groups):
        raise ValueError("each task needs at least one class, and there must be a task")
    if twice := sorted({each for each in flat if flat.count(each) > 1}):
        raise ValueError(f"class {twice[0]} stands twice; give each class to one task")
    draw = torch.Generator().manual_seed(seed)
    tasks = []
    for position, group in enumerate(groups):
        parts: list[list[Tensor]] = [[], [], []]
        for each in group:
            rows = (images.labels == each).nonzero().squeeze(1)
            if len(rows) < sum(sizes):
                raise ValueError(f"class {each} has {len(rows)} images, {sum(sizes)} are due")
            order = rows[torch.randperm(len(rows), generator=draw)][: sum(sizes)]
            for part, chosen in zip(parts, torch.split(order, list(sizes)), strict=True):
                part.append(chosen)
        train, validation, test = (
            (images.images[rows], images.labels[rows]) for rows in map(torch.cat, parts)
        )
        name = names[position] if names else " ".join(images.classes[k] for k in group)
        tasks.append(Task(name, tuple(group), train, validation, test))
    return tasks


class LifelongNetwork(nn.Module):
    """A perceptron with two hidden layers, and a head with a row for each class to come.

    Parameters
    ----------
    classes
        How many there will be.
    size
        Side of the images in pixels.
    width
        Of the hidden layers.
    seed
        Draws the first weights.
    """

    def __init__(self, classes: int, *, size: int = 8, width: int = 100, seed: int) -> None:
        super().__init__()
        with seeded(seed):
            self.body = nn.Sequential(
                nn.Flatten(),
                nn.Linear(size * size, width),
                nn.ReLU(),
                nn.Linear(width, width),
                nn.ReLU(),
            )
            self.head = nn.Linear(width, classes)
        self.open: list[int] = list(range(classes))

    def forward(self, images: Tensor) -> Tensor:
        """Give the logits of the classes that are open."""
        logits: Tensor = self.head(self.body(images))
        return logits[:, self.open]


@dataclass(repr=False)
class Course:
    """What :func:`learn` returns.

    Attributes
    ----------
    network
        After the last task.
    accuracies
        Entry (i, j): accuracy on the test images of task j after learning task i.
    baseline
        Accuracies before the first task.
    validation
        Mean accuracy on the validation images of the first two tasks after the second: what a
        strength may be chosen by.
    """

    network: LifelongNetwork
    accuracies: Tensor
    baseline: Tensor
    validation: float = 0.0


@dataclass
class _Memory:
    """Rows of old tasks: some of each class, or a reservoir of the stream."""

    size: int
    reservoir: bool
    draw: torch.Generator
    images: list[Tensor] = field(default_factory=list)
    labels: list[int] = field(default_factory=list)
    passed: int = 0

    def add(self, images: Tensor, labels: Tensor, classes: Sequence[int]) -> None:
        order = torch.randperm(len(labels), generator=self.draw)
        if not self.reservoir:
            for each in classes:
                rows = order[labels[order] == each][: self.size]
                self.images += list(images[rows])
                self.labels += [each] * len(rows)
            return
        slots = reservoir_slots(
            len(order), size=self.size, passed=self.passed, generator=self.draw
        ).tolist()
        self.passed += len(order)
        for row, slot in zip(order.tolist(), slots, strict=True):
            if slot == len(self.images):
                self.images.append(images[row])
                self.labels.append(int(labels[row]))
            elif slot >= 0:
                self.images[slot], self.labels[slot] = images[row], int(labels[row])

    def batch(self, size: int) -> tuple[Tensor, Tensor]:
        rows = torch.randint(len(self.labels), (size,), generator=self.draw).tolist()
        return torch.stack([self.images[k] for k in rows]), torch.tensor(
            [self.labels[k] for k in rows]
        )


def learn(
    tasks: Sequence[Task],
    method: str,
    scenario: Scenario,
    *,
    seed: int,
    strength: float = 0.0,
    memory: int = 10,
    epochs: int = 12,
    rate: float = 1e-3,
    batch_size: int = 32,
    width: int = 100,
) -> Course:
    """Learn tasks in their order with Adam, and test all of them after each.

    Parameters
    ----------
    tasks
        In their order.
    method
        One of :data:`METHODS`. "from scratch" learns each task with a new network and has no past;
        "joint training" learns all tasks so far from their rows together, after each.
    scenario
        With ``"task"`` the network knows each row's task, so that the softmax is over its classes
        alone; with ``"class"`` it is over all classes so far.
    seed
        Draws first weights, batches and memory.
    strength
        Of EWC's penalty or of LwF's.
    memory
        For replay and A-GEM: rows a class; for the reservoir, rows in all.
    epochs, rate, batch_size
        Of each task.
    width
        Of the network's hidden layers.

    Raises
    ------
    ValueError
        An unknown method, or a task has no rows.
    """
    if method not in METHODS:
        raise ValueError(f"unknown method {method!r}{suggest(method, METHODS)}")
    for task in tasks:
        if not len(task.train[1]):
            raise ValueError(f"task {task.name!r} is empty: it has no rows to train on")
    run = _Run(tasks, method, scenario, seed, strength, memory, width)
    network = run.network
    rows, validation = [], 0.0
    baseline = torch.tensor([run.accuracy(t.test, t, tasks) for t in tasks])
    for position, task in enumerate(tasks):
        if method in ("joint training", "from scratch"):
            network.load_state_dict(run.first)
        run.train(position, epochs=epochs, rate=rate, batch_size=batch_size)
        known = tasks[: position + 1]
        rows.append([run.accuracy(t.test, t, known) for t in tasks])
        if position == 1:
            validation = sum(run.accuracy(t.validation, t, known) for t in known) / 2
        run.remember(task)
    return Course(network, torch.tensor(rows), baseline, validation)


class _Run:
    """The state of a network on its way through the tasks."""

    def __init__(
        self,
        tasks: Sequence[Task],
        method: str,
        scenario: Scenario,
        seed: int,
        strength: float,
        memory: int,
        width: int,
    ) -> None:
        self.tasks, self.method, self.scenario, self.strength = tasks, method, scenario, strength
        classes = 1 + max(k for task in tasks for k in task.classes)
        size = tasks[0].train[0].shape[-1]
        self.network = LifelongNetwork(classes, size=size, width=width, seed=seed)
        self.first = {k: v.clone() for k, v in self.network.state_dict().items()}
        self.draw = torch.Generator().manual_seed(seed)
        self.memory = _Memory(memory, "reservoir" in method, self.draw)
        self.anchors: list[Anchor] = []

    def open(self, task: Task, known: Sequence[Task]) -> list[int]:
        """Give the classes that a row of a task may be taken for."""
        if self.scenario == "task":
            return list(task.classes)
        return sorted(k for t in known for k in t.classes)

    def accuracy(self, rows: tuple[Tensor, Tensor], task: Task, known: Sequence[Task]) -> float:
        self.network.open = self.open(task, known)
        found = torch.tensor(self.network.open)[predict(self.network, rows[0]).argmax(1)]
        return float((found == rows[1]).double().mean())

    def loss(self, logits: Tensor, labels: Tensor, known: Sequence[Task]) -> Tensor:
        """Cross-entropy over the classes that are open to each row."""
        allowed = torch.zeros(logits.shape[1], logits.shape[1], dtype=torch.bool)
        for task in known:
            for each in task.classes:
                allowed[each, self.open(task, known)] = True
        return cross_entropy(logits.masked_fill(~allowed[labels], -1e4), labels)

    def train(self, position: int, *, epochs: int, rate: float, batch_size: int) -> None:
        network, task, known = self.network, self.tasks[position], self.tasks[: position + 1]
        old = [k for t in known[:-1] for k in t.classes]
        images, labels = task.train
        if self.method == "joint training":
            images, labels = (
                torch.cat(part) for part in zip(*(t.train for t in known), strict=True)
            )
        network.open = list(range(network.head.out_features))
        heads = [list(t.classes) for t in known[:-1]] if self.scenario == "task" else [old]
        before = predict(network, images)
        network.body.requires_grad_(self.method != "frozen body" or not old)
        optimiser = torch.optim.Adam([p for p in network.parameters() if p.requires_grad], rate)
        own = self.open(task, known)
        place = torch.full((network.head.out_features,), -1)
        place[own] = torch.arange(len(own))
        for _ in range(epochs):
            for rows in torch.split(torch.randperm(len(labels), generator=self.draw), batch_size):
                x, y = images[rows], labels[rows]
                optimiser.zero_grad()
                if old and self.method.startswith("replay"):
                    x, y = (
                        torch.cat(p) for p in zip((x, y), self.memory.batch(len(y)), strict=True)
                    )
                logits = network(x)
                if old and self.method == "LwF":
                    value = lwf_loss(
                        logits[:, own],
                        place[y],
                        [logits[:, head] for head in heads],
                        [before[rows][:, head] for head in heads],
                        strength=self.strength,
                    )
                else:
                    value = self.loss(logits, y, known)
                if self.anchors:
                    value = value + ewc_penalty(network, self.anchors, strength=self.strength)
                value.backward()  # type: ignore[no-untyped-call]
                if old and self.method == "A-GEM":
                    self._project(known, batch_size)
                if old and self.method == "frozen body":
                    for p in network.head.parameters():
                        assert p.grad is not None
                        p.grad[old] = 0
                optimiser.step()
        network.body.requires_grad_(True)

    def _project(self, known: Sequence[Task], batch_size: int) -> None:
        """Correct the gradient by that on rows of the memory."""
        parameters = list(self.network.parameters())
        x, y = self.memory.batch(batch_size)
        reference = torch.autograd.grad(self.loss(self.network(x), y, known), parameters)
        gradient = parameters_to_vector([p.grad for p in parameters if p.grad is not None])
        found = agem_projection(gradient, parameters_to_vector(reference))
        at = 0
        for p in parameters:
            p.grad = found[at : at + p.numel()].view_as(p)
            at += p.numel()

    def remember(self, task: Task) -> None:
        """Keep what the method keeps of a task that has been learned."""
        known = self.tasks[: self.tasks.index(task) + 1]
        if self.method in ("A-GEM", "replay", "replay, reservoir"):
            self.memory.add(*task.train, task.classes)
        if self.method == "EWC":
            self.network.open = self.open(task, known)
            fisher = diagonal_fisher(self.network, task.train[0], labels="exact")
            copies = {k: p.detach().clone() for k, p in self.network.named_parameters()}
            self.anchors.append(Anchor(task.name, copies, fisher))
