"""Few-shot problems of section 4.3.3: sinusoids, images in episodes, and learners of both."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from hashlib import sha256
from pathlib import Path
from typing import Any, NamedTuple, TypeAlias

import torch
from torch import Tensor, nn
from torch.func import vmap
from torch.nn.functional import cross_entropy, mse_loss, normalize

from mapping_lib._modules import modes_kept
from mapping_lib._names import suggest
from mapping_lib.lab import checkpoints, results
from mapping_lib.lab.data.types import Images
from mapping_lib.lab.machine import seeded
from mapping_lib.lab.training import accuracy
from mapping_lib.meta import (
    episode,
    inner_loop,
    maml_gradient,
    prototype_logits,
    reptile_step,
    ridge_logits,
    task_loss,
)

__all__ = [
    "ANIL",
    "CHECKPOINTS",
    "MAML",
    "Convolutions",
    "FirstOrder",
    "Fresh",
    "Learner",
    "Pixels",
    "Pretraining",
    "Prototypes",
    "Reptile",
    "Ridge",
    "Task",
    "checkpoint_path",
    "converged_regressor",
    "draw_task",
    "episode_accuracies",
    "errors_by_step",
    "meta_train",
    "pretrain",
    "regressor",
    "sinusoids",
    "stacked",
]

Pair: TypeAlias = tuple[Tensor, Tensor]
"""Inputs and what they should give."""

CHECKPOINTS = {
    "MAML": "c9013f67c166e288a38a71fe5c28828863e43ffc2e30a8c8b622ab0689e6b0f4",
    "pretraining": "a1f050cd514e6ed5d555df0e3fc52015385d756e6be9f8d586da817e2356e5bc",
}
"""SHA-256 of the checkpoints that scripts/results_4_3_3.py wrote."""


def sinusoids(
    tasks: int, *, shots: int, queries: int, generator: torch.Generator
) -> tuple[Pair, Pair]:
    """Draw regression tasks y = A sin(x - φ), as Finn et al. (2017) did.

    The amplitude A lies in [0.1, 5], the phase φ in [0, π], and x in [-5, 5].

    Parameters
    ----------
    tasks
        How many.
    shots, queries
        Points of each task to learn from, and to be judged by.
    generator
        Draws all of it.

    Returns
    -------
    support, query
        Pairs (x, y) of shape (tasks, points, 1).
    """
    size = (tasks, 1, 1)
    amplitude = 0.1 + 4.9 * torch.rand(size, generator=generator)
    phase = torch.pi * torch.rand(size, generator=generator)
    x = 10 * torch.rand(tasks, shots + queries, 1, generator=generator) - 5
    y = amplitude * torch.sin(x - phase)
    return (x[:, :shots], y[:, :shots]), (x[:, shots:], y[:, shots:])


def regressor(*, seed: int, width: int = 40) -> nn.Sequential:
    """Make the perceptron that fits a sinusoid: two hidden layers.

    Parameters
    ----------
    seed
        Draws the first weights, and nothing else.
    width
        Of the hidden layers.
    """
    with seeded(seed):
        return nn.Sequential(
            nn.Linear(1, width), nn.ReLU(), nn.Linear(width, width), nn.ReLU(), nn.Linear(width, 1)
        )


def meta_train(
    network: nn.Module,
    *,
    iterations: int,
    seed: int,
    tasks: int = 25,
    shots: int = 10,
    inner_rate: float = 0.01,
    steps: int = 1,
    first_order: bool = False,
    rate: float = 1e-3,
    compiled: bool = False,
) -> list[float]:
    """Train a regressor of sinusoids by MAML, with Adam outside.

    Parameters
    ----------
    network
        Is trained in place.
    iterations
        Outer steps.
    seed
        Draws the tasks.
    tasks, shots
        Of an outer step; as many points again judge each task.
    inner_rate, steps, first_order
        As :func:`mapping_lib.meta.maml_gradient` takes them.
    rate
        Of Adam.
    compiled
        Whether to compile the gradient, which takes up to a minute and a C++ compiler, and then
        makes a step several times faster.

    Returns
    -------
    list of float
        The loss after adaptation in each outer step.
    """
    loss = task_loss(network, mse_loss)
    gradient: Any = partial(
        maml_gradient, loss, inner_rate=inner_rate, steps=steps, first_order=first_order
    )
    if compiled:
        gradient = torch.compile(gradient)

    def step(support: Pair, query: Pair) -> Tensor:
        start = {name: part.detach() for name, part in network.named_parameters()}
        value, found = gradient(start, support, query)
        _set_gradients(network, found)
        return value  # type: ignore[no-any-return]

    draws = {"iterations": iterations, "seed": seed, "tasks": tasks, "shots": shots}
    return _descend(network, step, **draws, rate=rate)


def pretrain(
    network: nn.Module,
    *,
    iterations: int,
    seed: int,
    tasks: int = 25,
    shots: int = 10,
    rate: float = 1e-3,
) -> list[float]:
    """Train a regressor on the points of all sinusoids together, on the batches of `meta_train`.

    Parameters
    ----------
    network
        Is trained in place.
    iterations, seed, tasks, shots, rate
        As in :func:`meta_train`.

    Returns
    -------
    list of float
        The loss in each step.
    """

    def step(support: Pair, query: Pair) -> Tensor:
        x, y = (torch.cat(pair, dim=1) for pair in zip(support, query, strict=True))
        network.zero_grad()
        value = mse_loss(network(x), y)
        value.backward()  # type: ignore[no-untyped-call]
        return value

    draws = {"iterations": iterations, "seed": seed, "tasks": tasks, "shots": shots}
    return _descend(network, step, **draws, rate=rate)


def _descend(
    network: nn.Module,
    step: Callable[[Pair, Pair], Tensor],
    *,
    iterations: int,
    seed: int,
    tasks: int,
    shots: int,
    rate: float,
) -> list[float]:
    """Train by Adam on gradients that a step leaves in the network; give its losses."""
    optimiser = torch.optim.Adam(network.parameters(), lr=rate)
    generator = torch.Generator().manual_seed(seed)
    losses = []
    for _ in range(iterations):
        value = step(*sinusoids(tasks, shots=shots, queries=shots, generator=generator))
        optimiser.step()
        losses.append(value.item())
    return losses


def _set_gradients(network: nn.Module, gradient: Any) -> None:
    for name, parameter in network.named_parameters():
        parameter.grad = gradient[name]


@torch.no_grad()
def errors_by_step(
    network: nn.Module,
    *,
    steps: int = 10,
    inner_rate: float = 0.01,
    tasks: int = 500,
    shots: int = 10,
    seed: int = 10_000,
) -> Tensor:
    """Measure a regressor on new sinusoids after 0, 1, ... inner steps.

    Parameters
    ----------
    network
        The parameters to start from.
    steps, inner_rate
        Of the inner loop.
    tasks, shots
        How many sinusoids, and how many points of each to learn from; 100 others judge.
    seed
        Draws them.

    Returns
    -------
    Tensor
        Mean squared errors, ``(steps + 1, tasks)``.
    """
    generator = torch.Generator().manual_seed(seed)
    support, query = sinusoids(tasks, shots=shots, queries=100, generator=generator)
    loss = task_loss(network, mse_loss)
    start = {name: part.detach() for name, part in network.named_parameters()}
    each: Any = {name: part.expand(tasks, *part.shape) for name, part in start.items()}
    step = vmap(partial(inner_loop, loss, inner_rate=inner_rate))
    errors = [vmap(loss)(each, query)]
    for _ in range(steps):
        each = step(each, support)
        errors.append(vmap(loss)(each, query))
    return torch.stack(errors)


def converged_regressor(method: str) -> nn.Module:
    """Load a regressor of sinusoids that was trained for 70,000 steps.

    Parameters
    ----------
    method
        ``"MAML"`` or ``"pretraining"``.

    Raises
    ------
    ValueError
        An unknown method.
    FileNotFoundError, CheckpointError
        The checkpoint isn't there, is damaged, or isn't the one whose SHA-256 stands here.
    """
    if method not in CHECKPOINTS:
        raise ValueError(f"unknown method {method!r}{suggest(method, CHECKPOINTS)}")
    path = checkpoint_path(method)
    network = checkpoints.load(path, regressor(seed=0))
    if sha256(path.read_bytes()).hexdigest() != CHECKPOINTS[method]:
        raise checkpoints.CheckpointError(
            f"{path} isn't the file it should be: its SHA-256 is another; check it out again, or "
            "if the recipe has made it anew, put the new sum into mapping_lib/lab/few_shot.py"
        )
    return network


def checkpoint_path(method: str) -> Path:
    """Give the place of a checkpoint of this section, beside the results.

    Parameters
    ----------
    method
        ``"MAML"`` or ``"pretraining"``.
    """
    return results.folder() / "checkpoints" / f"sinusoid_{method.lower()}.pt"


class Task(NamedTuple):
    """One episode of images."""

    support: Tensor
    support_labels: Tensor
    query: Tensor
    query_labels: Tensor


def draw_task(
    images: Images, *, ways: int, shots: int, queries: int, generator: torch.Generator
) -> Task:
    """Draw an episode of images.

    Parameters
    ----------
    images
        To draw from.
    ways, shots, queries, generator
        As :func:`mapping_lib.meta.episode` takes them.
    """
    drawn = episode(images.labels, ways=ways, shots=shots, queries=queries, generator=generator)
    return Task(
        images.images[drawn.support],
        drawn.support_labels,
        images.images[drawn.query],
        drawn.query_labels,
    )


def stacked(tasks: list[Task]) -> tuple[Pair, Pair]:
    """Stack tasks for :func:`mapping_lib.meta.maml_gradient`: support and query, tasks first.

    Parameters
    ----------
    tasks
        Of equal sizes.
    """
    support, support_labels, query, query_labels = (
        torch.stack(part) for part in zip(*tasks, strict=True)
    )
    return (support, support_labels), (query, query_labels)


class Convolutions(nn.Module):
    """Four convolutions with batch norm and pooling, then a linear head: "conv-4".

    Parameters
    ----------
    classes
        Number of logits.
    seed
        Draws the first weights, and nothing else.
    width
        Number of channels, and of features for images of 16 to 31 pixels.
    """

    def __init__(self, classes: int, *, seed: int, width: int = 32) -> None:
        super().__init__()
        with seeded(seed):
            layers: list[nn.Module] = []
            for channels in (1, width, width, width):
                layers += [
                    nn.Conv2d(channels, width, 3, padding=1),
                    nn.BatchNorm2d(width),
                    nn.ReLU(),
                    nn.MaxPool2d(2),
                ]
            self.body = nn.Sequential(*layers, nn.Flatten())
            self.head = nn.Linear(width, classes)

    def forward(self, images: Tensor) -> Tensor:
        """Map images (n, 1, h, w) to logits."""
        return self.head(self.body(images))  # type: ignore[no-any-return]


class Learner:
    """What learns from tasks, and then a task from few images.

    Parameters
    ----------
    ways, shots
        Of the tasks it is made for.
    seed
        Draws the first weights, and all that is drawn in training.
    """

    def __init__(self, *, ways: int, shots: int, seed: int) -> None:
        self.ways, self.shots = ways, shots
        self.network = Convolutions(ways, seed=seed)
        self.generator = torch.Generator().manual_seed(seed)

    def draw(self, images: Images, *, shots: int | None = None, queries: int = 10) -> Task:
        """Draw a task to train on."""
        shots = self.shots if shots is None else shots
        return draw_task(
            images, ways=self.ways, shots=shots, queries=queries, generator=self.generator
        )

    def train(self, images: Images, iterations: int) -> None:
        """Go on training."""

    def classify(self, task: Task) -> Tensor:
        """Give the logits of the query set; its labels are not looked at."""
        raise NotImplementedError


class Pixels(Learner):
    """The nearest mean of the images themselves."""

    def classify(self, task: Task) -> Tensor:
        """Give the logits of the query set."""
        return prototype_logits(task.support.flatten(1), task.support_labels, task.query.flatten(1))


class Prototypes(Learner):
    """Prototypical networks: features in which the nearest mean is right."""

    rate = 1e-3
    first_scale = 1.0

    def __init__(self, **settings: Any) -> None:
        super().__init__(**settings)
        self.network.head = nn.Identity()  # type: ignore[assignment]
        self.scale = nn.Parameter(torch.tensor(self.first_scale))
        self.optimiser = torch.optim.Adam([*self.network.parameters(), self.scale], lr=self.rate)

    def head(self, support: Tensor, labels: Tensor, query: Tensor) -> Tensor:
        """Give logits from features."""
        return prototype_logits(support, labels, query) * self.scale / support.shape[1]

    def logits(self, task: Task) -> Tensor:
        """Give the logits of the query set."""
        features = self.network(torch.cat([task.support, task.query]))
        support, query = features.split([len(task.support), len(task.query)])
        return self.head(support, task.support_labels, query)

    def train(self, images: Images, iterations: int) -> None:
        """Take steps of one task each."""
        self.network.train()
        for _ in range(iterations):
            task = self.draw(images)
            self.optimiser.zero_grad()
            cross_entropy(self.logits(task), task.query_labels).backward()  # type: ignore[no-untyped-call]
            self.optimiser.step()

    @torch.no_grad()
    def classify(self, task: Task) -> Tensor:
        """Give the logits of the query set."""
        with modes_kept(self.network):
            self.network.eval()
            return self.logits(task)


class Ridge(Prototypes):
    """Features in which ridge regression is right, with learned strength and scale (R2-D2)."""

    first_scale = 10.0

    def __init__(self, **settings: Any) -> None:
        super().__init__(**settings)
        self.log_regularisation = nn.Parameter(torch.tensor(0.0))
        self.optimiser.add_param_group({"params": [self.log_regularisation]})

    def head(self, support: Tensor, labels: Tensor, query: Tensor) -> Tensor:
        """Give logits from features."""
        strength = self.log_regularisation.exp()
        return self.scale * ridge_logits(support, labels, query, regularisation=strength)


class MAML(Learner):
    """MAML and its relatives: parameters from which few steps suffice."""

    rate = 1e-3
    inner_rate = 0.1
    steps = 1
    test_steps = 10
    tasks = 1
    first_order = False
    only: str | None = None

    def __init__(self, **settings: Any) -> None:
        super().__init__(**settings)
        self.loss = task_loss(self.network, cross_entropy)
        self.optimiser = torch.optim.Adam(self.network.parameters(), lr=self.rate)

    @property
    def parameters(self) -> dict[str, Tensor]:
        """The network's parameters by name."""
        return dict(self.network.named_parameters())

    def train(self, images: Images, iterations: int) -> None:
        """Take outer steps."""
        for _ in range(iterations):
            support, query = stacked([self.draw(images) for _ in range(self.tasks)])
            _, gradient = maml_gradient(
                self.loss,
                self.parameters,
                support,
                query,
                inner_rate=self.inner_rate,
                steps=self.steps,
                only=self.only,
                first_order=self.first_order,
            )
            _set_gradients(self.network, gradient)
            self.optimiser.step()

    def adapted(self, task: Task, steps: int) -> Any:
        """Give the parameters after some steps on the support set."""
        with torch.no_grad():
            return inner_loop(
                self.loss,
                self.parameters,
                (task.support, task.support_labels),
                inner_rate=self.inner_rate,
                steps=steps,
                only=self.only,
            )

    @torch.no_grad()
    def classify(self, task: Task, *, steps: int | None = None) -> Tensor:
        """Give the logits of the query set, normalised by the query's own statistics."""
        θ = self.adapted(task, self.test_steps if steps is None else steps)
        return task_loss(self.network, lambda z, _: z)(θ, (task.query, None))

    @torch.no_grad()
    def one_at_a_time(self, task: Task) -> Tensor:
        """Give the same, each query image normalised together with the support set alone."""
        θ = self.adapted(task, self.test_steps)
        logits = task_loss(self.network, lambda z, _: z[-1])
        rows = [logits(θ, (torch.cat([task.support, image[None]]), None)) for image in task.query]
        return torch.stack(rows)


class FirstOrder(MAML):
    """First-order MAML."""

    first_order = True


class ANIL(MAML):
    """MAML whose inner loop changes the head alone."""

    only = "head"
    steps = 3


class Reptile(MAML):
    """Reptile: moves towards what ordinary training on a task ends in."""

    outer_rate = 0.2
    steps = 10
    batch = 10

    def train(self, images: Images, iterations: int) -> None:
        """Take outer steps of one task each: minibatches from ten images a class."""
        for _ in range(iterations):
            task = self.draw(images, shots=10, queries=1)
            θ: Any = self.parameters
            with torch.no_grad():
                for _ in range(self.steps):
                    order = torch.randperm(len(task.support), generator=self.generator)
                    rows = order[: self.batch]
                    batch = task.support[rows], task.support_labels[rows]
                    θ = inner_loop(self.loss, θ, batch, inner_rate=self.inner_rate)
                new: Any = reptile_step(self.parameters, [θ], rate=self.outer_rate)
                for name, parameter in self.network.named_parameters():
                    parameter.copy_(new[name])


class Fresh(MAML):
    """No training beforehand: random weights, and steps on the support set."""

    test_steps = 50


class Pretraining(Learner):
    """An ordinary classifier of all training classes; its features are kept."""

    rate = 1e-3
    batch = 64

    def __init__(self, **settings: Any) -> None:
        super().__init__(**settings)
        self.optimiser: torch.optim.Optimizer | None = None

    def train(self, images: Images, iterations: int) -> None:
        """Take steps of one batch each."""
        if self.optimiser is None:
            width = self.network.head.in_features
            with seeded(self.generator.initial_seed()):
                self.network.head = nn.Linear(width, len(images.classes))
            self.optimiser = torch.optim.Adam(self.network.parameters(), lr=self.rate)
        self.network.train()
        for _ in range(iterations):
            rows = torch.randint(len(images), (self.batch,), generator=self.generator)
            self.optimiser.zero_grad()
            value = cross_entropy(self.network(images.images[rows]), images.labels[rows])
            value.backward()  # type: ignore[no-untyped-call]
            self.optimiser.step()

    @torch.no_grad()
    def features(self, images: Tensor) -> Tensor:
        """Give features of length 1."""
        with modes_kept(self.network):
            return normalize(self.network.eval().body(images))

    def classify(self, task: Task) -> Tensor:
        """Give the logits of the query set: the nearest mean of normalised features."""
        support, query = self.features(task.support), self.features(task.query)
        return prototype_logits(support, task.support_labels, query)

    def by_regression(self, task: Task) -> Tensor:
        """Give those of a logistic regression on the same features."""
        from sklearn.linear_model import LogisticRegression

        support, query = self.features(task.support), self.features(task.query)
        model = LogisticRegression(C=10.0, max_iter=200).fit(support, task.support_labels)
        return torch.as_tensor(model.predict_proba(query)).log()

    def by_fine_tuning(self, task: Task) -> Tensor:
        """Give those of the whole network, fine-tuned behind a new head."""
        tuned = Fresh(ways=self.ways, shots=self.shots, seed=self.generator.initial_seed())
        tuned.network.body.load_state_dict(self.network.body.state_dict())
        return tuned.classify(task)


def episode_accuracies(
    classify: Callable[[Task], Tensor],
    images: Images,
    *,
    ways: int,
    shots: int,
    episodes: int,
    seed: int,
    queries: int = 10,
) -> list[float]:
    """Measure a classifier of tasks: its accuracy in each of many episodes, the same for all.

    Parameters
    ----------
    classify
        Takes a task and gives logits of its query set.
    images
        To draw tasks from.
    ways, shots, queries
        Of the tasks.
    episodes
        How many.
    seed
        Draws them.
    """
    generator = torch.Generator().manual_seed(seed)
    found = []
    for _ in range(episodes):
        task = draw_task(images, ways=ways, shots=shots, queries=queries, generator=generator)
        found.append(accuracy(classify(task), task.query_labels))
    return found
