"""Networks of four structures and one parameter budget, for 16×16 images and ten classes.

Each has 12,500 parameters, give or take two in a hundred; they differ in what they know of an image
before they have seen one::

    network = trained(small_network("recurrent", seed=0), images, labels, epochs=20)
"""

from __future__ import annotations

from collections.abc import Callable
from itertools import pairwise
from typing import Literal, get_args

import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy, max_pool2d

from mapping_lib.lab.data._arguments import one_of
from mapping_lib.lab.machine import seeded
from mapping_lib.lab.training import fit
from mapping_lib.structures import gru_step, lstm_step

__all__ = [
    "BagOfRows",
    "Convolutional",
    "FeedForward",
    "FlattenedConvolutional",
    "Recurrent",
    "Structure",
    "gated_norms",
    "jacobian_norms",
    "permuted",
    "shifted",
    "small_network",
    "trained",
]

Structure = Literal[
    "feed-forward", "convolutional", "convolutional, flattened", "recurrent", "bag of rows"
]


class FeedForward(nn.Module):
    """One hidden layer: every pixel is joined to every unit, and none knows of its neighbours.

    Parameters
    ----------
    width
        Number of hidden units.
    """

    def __init__(self, width: int = 47) -> None:
        super().__init__()
        self.hidden = nn.Linear(256, width)
        self.head = nn.Linear(width, 10)

    def forward(self, images: Tensor) -> Tensor:
        """Map images (n, 1, 16, 16) to logits (n, 10)."""
        logits: Tensor = self.head(self.hidden(images.flatten(1)).relu())
        return logits


class Convolutional(nn.Module):
    """Three convolutions with circular padding, a maximum over 2×2 places after each of the first
    two, then the mean over all places.

    Parameters
    ----------
    widths
        Channels of the three convolutions.
    """

    def __init__(self, widths: tuple[int, int, int] = (16, 24, 39)) -> None:
        super().__init__()
        self.convolutions = _convolutions(1, *widths)
        self.head = nn.Linear(widths[-1], 10)

    def forward(self, images: Tensor) -> Tensor:
        """Map images (n, 1, 16, 16) to logits (n, 10)."""
        first, second, third = self.convolutions
        x = max_pool2d(first(images).relu(), 2)
        x = third(max_pool2d(second(x).relu(), 2)).relu()
        logits: Tensor = self.head(x.mean((2, 3)))
        return logits


class FlattenedConvolutional(nn.Module):
    """Two convolutions as in :class:`Convolutional`, then a hidden layer that sees each place.

    Parameters
    ----------
    widths
        Channels of the two convolutions, and hidden units.
    """

    def __init__(self, widths: tuple[int, int, int] = (8, 24, 27)) -> None:
        super().__init__()
        self.convolutions = _convolutions(1, *widths[:2])
        self.hidden = nn.Linear(16 * widths[1], widths[2])
        self.head = nn.Linear(widths[2], 10)

    def forward(self, images: Tensor) -> Tensor:
        """Map images (n, 1, 16, 16) to logits (n, 10)."""
        for convolution in self.convolutions:
            images = max_pool2d(convolution(images).relu(), 2)
        logits: Tensor = self.head(self.hidden(images.flatten(1)).relu())
        return logits


class Recurrent(nn.Module):
    """A gated recurrent unit that reads the rows of an image from the top, then answers.

    Parameters
    ----------
    width
        Size of the state.
    """

    def __init__(self, width: int = 55) -> None:
        super().__init__()
        self.cell = nn.GRU(16, width, batch_first=True)
        self.head = nn.Linear(width, 10)

    def forward(self, images: Tensor) -> Tensor:
        """Map images (n, 1, 16, 16) to logits (n, 10)."""
        states, _ = self.cell(images.squeeze(1))
        logits: Tensor = self.head(states[:, -1])
        return logits


class BagOfRows(nn.Module):
    """The same two layers on each row, then the mean over the rows: their order is not seen.

    Parameters
    ----------
    widths
        Units of the two layers.
    """

    def __init__(self, widths: tuple[int, int] = (100, 97)) -> None:
        super().__init__()
        self.rows = nn.Sequential(
            nn.Linear(16, widths[0]), nn.ReLU(), nn.Linear(widths[0], widths[1]), nn.ReLU()
        )
        self.head = nn.Linear(widths[1], 10)

    def forward(self, images: Tensor) -> Tensor:
        """Map images (n, 1, 16, 16) to logits (n, 10)."""
        logits: Tensor = self.head(self.rows(images.squeeze(1)).mean(1))
        return logits


_MAKERS: dict[Structure, Callable[[], nn.Module]] = {
    "feed-forward": FeedForward,
    "convolutional": Convolutional,
    "convolutional, flattened": FlattenedConvolutional,
    "recurrent": Recurrent,
    "bag of rows": BagOfRows,
}


def small_network(structure: Structure, *, seed: int) -> nn.Module:
    """Make a network of a structure, about 12,500 parameters, for 16×16 images and ten classes.

    Parameters
    ----------
    structure
        Its name; "bag of rows" is the baseline that ignores order.
    seed
        Draws the first weights, and nothing else.

    Raises
    ------
    ValueError
        An unknown structure; the message suggests the nearest known one.

    Examples
    --------
    >>> small_network("recurrent", seed=0)(torch.zeros(3, 1, 16, 16)).shape
    torch.Size([3, 10])
    """
    one_of(get_args(Structure), structure=structure)
    with seeded(seed):
        return _MAKERS[structure]()


def trained(
    network: nn.Module,
    images: Tensor,
    labels: Tensor,
    *,
    epochs: int,
    rate: float = 5e-3,
    seed: int = 0,
) -> nn.Module:
    """Train a network as all of section 2.1 are trained: Adam, batches of 64, cross-entropy.

    Parameters
    ----------
    network
        Is trained in place, and returned.
    images, labels
        One row an example.
    epochs, rate
        How long, and how fast.
    seed
        Draws the batches.
    """
    optimiser = torch.optim.Adam(network.parameters(), lr=rate, fused=True)
    fit(
        network,
        cross_entropy,
        images,
        labels,
        epochs=epochs,
        batch_size=64,
        optimiser=optimiser,
        seed=seed,
    )
    return network


def shifted(images: Tensor, pixels: int, *, axis: Literal["right", "down"] = "right") -> Tensor:
    """Shift images by whole pixels; what leaves at one side comes back at the other.

    Parameters
    ----------
    images
        Shape (n, 1, height, width).
    pixels
        How far; below 0 to the left, or up.
    axis
        In which direction.

    Examples
    --------
    >>> shifted(torch.tensor([[[[1., 2., 3.]]]]), 1)
    tensor([[[[3., 1., 2.]]]])
    """
    return images.roll(pixels, dims=-1 if axis == "right" else -2)


def permuted(images: Tensor, what: Literal["pixels", "rows"], *, seed: int) -> Tensor:
    """Put the pixels, or the rows, of all images into one order drawn at random.

    Parameters
    ----------
    images
        Shape (n, 1, height, width).
    what
        "pixels" or "rows".
    seed
        Draws the order.

    Examples
    --------
    >>> permuted(torch.arange(4.0).view(1, 1, 4, 1), "rows", seed=0).flatten()
    tensor([0., 1., 3., 2.])
    """
    one_of(("pixels", "rows"), what=what)
    generator = torch.Generator().manual_seed(seed)
    if what == "rows":
        return images[:, :, torch.randperm(images.shape[2], generator=generator)]
    flat = images.flatten(2)
    return flat[:, :, torch.randperm(flat.shape[2], generator=generator)].view(images.shape)


def jacobian_norms(
    step: Callable[[Tensor, Tensor], Tensor], state: Tensor, inputs: Tensor
) -> Tensor:
    r"""Measure how much of a change of each state arrives at the last one.

    .. math:: \frac{1}{\sqrt h} \Bigl\lVert \frac{\partial h_T}{\partial h_t} \Bigr\rVert_F

    which is 1 for the identity.

    Parameters
    ----------
    step
        Takes an input ``(d,)`` and a state ``(h,)`` to the next state.
    state
        The first state :math:`h_0`, ``(h,)``.
    inputs
        One row a step, ``(T, d)``.

    Returns
    -------
    Tensor
        For :math:`t = 0, \dots, T`, ``(T + 1,)``; the last one is 1.

    Examples
    --------
    >>> jacobian_norms(lambda x, h: 3 * h + x, torch.zeros(2), torch.zeros(2, 2))
    tensor([9., 3., 1.])
    """
    jacobians = []
    for x in inputs:
        jacobians.append(torch.func.jacrev(step, argnums=1)(x, state))
        state = step(x, state)
    product = torch.eye(len(state), dtype=state.dtype)
    norms = [product.norm()]
    for jacobian in jacobians[::-1]:
        product = product @ jacobian
        norms.append(product.norm())
    scaled: Tensor = torch.stack(norms[::-1]) / len(state) ** 0.5
    return scaled


def gated_norms(
    kind: Literal["GRU", "LSTM"], inputs: Tensor, *, width: int, bias: float, seed: int
) -> Tensor:
    """Measure :func:`jacobian_norms` of a gated step with weights drawn at random.

    Input weights are normal with variance 1/d, recurrent ones rotations, biases zero but that of
    the gate that keeps the state. The state of an LSTM is h and c together.

    Parameters
    ----------
    kind
        "GRU" or "LSTM".
    inputs
        One row a step, ``(T, d)``.
    width
        Of the state.
    bias
        Of the gate z of a GRU, or f of an LSTM.
    seed
        Draws the weights.

    Examples
    --------
    >>> gated_norms("GRU", torch.zeros(3, 2), width=4, bias=50.0, seed=0)
    tensor([1., 1., 1., 1.])
    """
    one_of(("GRU", "LSTM"), kind=kind)
    generator = torch.Generator().manual_seed(seed)
    blocks, d = (3 if kind == "GRU" else 4), inputs.shape[1]
    w = torch.randn(blocks * width, d, generator=generator) / d**0.5
    square = torch.randn(blocks, width, width, generator=generator)
    u = torch.linalg.qr(square).Q.flatten(0, 1)
    b = torch.zeros(blocks * width)
    b[width : 2 * width] = bias

    def gru(x: Tensor, state: Tensor) -> Tensor:
        return gru_step(x, state, w, u, b)

    def lstm(x: Tensor, state: Tensor) -> Tensor:
        return torch.cat(lstm_step(x, (state[:width], state[width:]), w, u, b))

    if kind == "GRU":
        return jacobian_norms(gru, torch.zeros(width), inputs)
    return jacobian_norms(lstm, torch.zeros(2 * width), inputs)


def _convolutions(*widths: int) -> nn.ModuleList:
    return nn.ModuleList(
        nn.Conv2d(a, b, 3, padding=1, padding_mode="circular") for a, b in pairwise(widths)
    )
