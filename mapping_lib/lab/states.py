"""Networks as points: train one into a state, measure a state, walk from one to another.

What section 2.3 does with the functions of :mod:`mapping_lib.merging`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

import torch
from torch import Tensor, nn
from torch.func import functional_call

from mapping_lib.lab.data import Images
from mapping_lib.lab.machine import seeded
from mapping_lib.lab.training import accuracy, fit, predict
from mapping_lib.losses import cross_entropy
from mapping_lib.merging import bezier, interpolate

__all__ = [
    "LAYERS",
    "State",
    "accuracy_of",
    "connect",
    "perceptron",
    "trained",
    "walk",
]

State = dict[str, Tensor]

LAYERS = ["1", "3", "5"]
"""The layers with parameters of a :func:`perceptron`, in the order in which they are computed."""


def perceptron(width: int, *, seed: int, size: int = 8) -> nn.Sequential:
    """Return a network for digits: two hidden layers with ReLU, ten logits.

    Parameters
    ----------
    width
        Of both hidden layers.
    seed
        Draws the first weights.
    size
        Side of the images in pixels.
    """
    with seeded(seed):
        return nn.Sequential(
            nn.Flatten(),
            nn.Linear(size * size, width),
            nn.ReLU(),
            nn.Linear(width, width),
            nn.ReLU(),
            nn.Linear(width, 10),
        )


def trained(
    network: nn.Module,
    images: Images,
    *,
    seed: int,
    start: Mapping[str, Tensor] | None = None,
    epochs: int = 30,
    rate: float = 1e-3,
) -> State:
    """Train a network with Adam and return a copy of its state.

    Parameters
    ----------
    network
        Is left as it was trained.
    images
        With labels.
    seed
        Draws the batches, of 32.
    start
        A state to load first; None goes on from the network's own.
    epochs, rate
        Of the training.
    """
    if start is not None:
        network.load_state_dict(dict(start))
    optimiser = torch.optim.Adam(network.parameters(), rate)
    fit(
        network,
        cross_entropy,
        images.images,
        images.labels,
        epochs=epochs,
        optimiser=optimiser,
        seed=seed,
        progress=False,
    )
    return {name: tensor.detach().clone() for name, tensor in network.state_dict().items()}


def accuracy_of(state: Mapping[str, Tensor], *, network: nn.Module, images: Images) -> float:
    """Return a state's share of right answers; the network is left with that state.

    Parameters
    ----------
    state
        What the network loads.
    network
        Of that architecture.
    images
        With labels.
    """
    network.load_state_dict(dict(state))
    return accuracy(predict(network, images.images), images.labels)


def walk(
    path: Callable[[float], Mapping[str, Tensor]],
    *,
    network: nn.Module,
    images: Images,
    points: int = 21,
) -> tuple[Tensor, Tensor]:
    """Measure a path of states at evenly spaced points.

    Parameters
    ----------
    path
        Takes a share of the way, from 0 to 1, and returns the state there.
    network
        Of that architecture; is left with the last state.
    images
        With labels, to measure on.
    points
        Of the path, both ends among them.

    Returns
    -------
    Tensor, Tensor
        Mean cross-entropy and accuracy at each point, ``(points,)``.
    """
    losses, accuracies = [], []
    for share in torch.linspace(0, 1, points).tolist():
        network.load_state_dict(dict(path(share)))
        logits = predict(network, images.images)
        losses.append(cross_entropy(logits, images.labels))
        accuracies.append(accuracy(logits, images.labels))
    return torch.stack(losses), torch.tensor(accuracies)


def connect(
    source: Mapping[str, Tensor],
    target: Mapping[str, Tensor],
    *,
    network: nn.Module,
    images: Images,
    seed: int,
    steps: int = 600,
    rate: float = 3e-3,
    batch_size: int = 64,
) -> State:
    """Train the bend of a Bézier curve between two states, so that the loss on it is small.

    Each step draws a batch and a share t of the way, and descends along the gradient of the loss of
    the state there; the ends stay. The bend starts in the middle of the straight line.

    Parameters
    ----------
    source, target
        The ends.
    network
        Of their architecture; its own parameters are left alone.
    images
        With labels, to train on.
    seed
        Draws shares and batches.
    steps, rate, batch_size
        Of the training, with Adam.

    Returns
    -------
    dict of str to Tensor
        The bend, for :func:`mapping_lib.merging.bezier`.
    """
    middle = interpolate(source, target, share=0.5)
    bend = {name: tensor.detach().clone().requires_grad_() for name, tensor in middle.items()}
    optimiser = torch.optim.Adam(bend.values(), rate)
    generator = torch.Generator().manual_seed(seed)
    for _ in range(steps):
        rows = torch.randint(len(images), (batch_size,), generator=generator)
        share = torch.rand((), generator=generator).item()
        state = bezier(source, bend, target, share=share)
        logits = functional_call(network, state, (images.images[rows],))
        loss = cross_entropy(logits, images.labels[rows])
        optimiser.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        optimiser.step()
    return {name: tensor.detach() for name, tensor in bend.items()}
