"""Checks of the exercises of section 2.1, model structures."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor
from torch.nn.functional import pad

from mapping_lib.lab.exercises.compare import compare
from mapping_lib.lab.exercises.core import exercise


@exercise("2.1-a")
def counting(answer: Any) -> str | None:
    """Check the numbers of parameters of a convolution and of a GRU."""
    return compare(
        answer,
        (608, 1920),
        what="the pair of numbers",
        hints={
            "each output channel has a bias as well": (600, 1920),
            "the GRU has two biases in each block, b and b'": (608, 1860),
            "the biases are missing in both": (600, 1800),
            "the biases of the GRU are missing": (608, 1800),
            "each output channel has weights for all 3 input channels": (208, 1920),
            "a GRU has three blocks, r, z and n": (608, 640),
            "four blocks are an LSTM's: a GRU has three": (608, 2560),
            "the two numbers are swapped": (1920, 608),
            "an output channel has one bias, not one for each of its 3 kernels": (624, 1920),
        },
    )


@exercise("2.1-b")
def circulant(answer: Callable[[Tensor, int], Any]) -> str | None:
    """Check the matrix of a circular convolution in one dimension."""
    kernel = torch.tensor([2.0, 5.0, -3.0, 1.0, 7.0], dtype=torch.float64)
    n = 7

    def matrix(weights: Tensor, start: int, around: bool = True) -> Tensor:
        found = torch.zeros(n, n, dtype=torch.float64)
        for i in range(n):
            for a, weight in enumerate(weights):
                place = i + a + start
                if around or 0 <= place < n:
                    found[i, place % n] = weight
        return found

    return compare(
        answer(kernel, n),
        matrix(kernel, -2),
        what="the matrix",
        hints={
            "the kernel is flipped: deep learning's convolution doesn't flip it": matrix(
                kernel.flip(0), -2
            ),
            "that is padding with zeros: what leaves at one side comes back at the other": matrix(
                kernel, -2, around=False
            ),
            "the first weight stands on the diagonal, where the middle one is due": matrix(
                kernel, 0
            ),
            "the last weight stands on the diagonal, where the middle one is due": matrix(
                kernel, -4
            ),
        },
    )


@exercise("2.1-c")
def back(answer: Callable[[Tensor, Tensor, Tensor], Any]) -> str | None:
    """Check backpropagation through time as products of a matrix and a vector."""
    gradient = torch.randn(4, dtype=torch.float64)
    states = torch.randn(5, 4, dtype=torch.float64).tanh()
    weight = torch.randn(4, 4, dtype=torch.float64)

    def run(
        visited: Tensor, *, u: Tensor = weight.T, slope: bool = True, late: bool = False
    ) -> Tensor:
        found = gradient
        for state in visited:
            d = 1 - state**2 if slope else torch.ones_like(state)
            found = d * (u @ found) if late else u @ (d * found)
        return found

    order = states[1:].flip(0)
    return compare(
        answer(gradient, states, weight),
        run(order),
        what="the gradient",
        hints={
            "going back it is the transpose of U that multiplies": run(order, u=weight),
            "the steps have to be taken from the last to the first": run(states[1:]),
            "the slope of tanh, 1 - h², is missing": run(order, slope=False),
            "first through tanh, then through U: D stands on the side of the later state": run(
                order, late=True
            ),
            "one step too many: the gradient arrives at h_1, not before it": run(states.flip(0)),
            "the states have been through tanh already: its slope there is 1 - h²": run(
                order.tanh()
            ),
            "the slopes are those of one step earlier: D_k has the state h_k": run(
                states[:-1].flip(0)
            ),
        },
    )


@exercise("2.1-d")
def averaged(answer: Callable[[Callable[[Tensor], Tensor], Tensor], Any]) -> str | None:
    """Check the mean of a function over all shifts to the right."""
    images = torch.randn(3, 1, 4, 6, dtype=torch.float64)
    weight = torch.randn(24, 2, dtype=torch.float64)

    def function(x: Tensor) -> Tensor:
        return torch.tanh(x.flatten(1) @ weight)

    def mean(axis: int, places: int) -> Tensor:
        return torch.stack([function(images.roll(k, axis)) for k in range(places)]).mean(0)

    moved = torch.stack([images.roll(k, -1) for k in range(6)]).mean(0)
    lost = torch.stack([function(pad(images, (k, 0))[..., :6]) for k in range(6)]).mean(0)
    return compare(
        answer(function, images),
        mean(-1, 6),
        what="the mean",
        hints={
            "the images were averaged, where the function's values are due": function(moved),
            "the images were moved down, not to the right": mean(-2, 4),
            "one shift is missing: there are as many as the image is wide": mean(-1, 5),
            "only as many shifts as the image is high were taken": mean(-1, 4),
            "that is the function itself, without any shift": function(images),
            "the sum has to be divided by the number of shifts": 6 * mean(-1, 6),
            "what leaves on the right has to come back on the left": lost,
            "each image keeps a mean of its own: average over the shifts alone": mean(-1, 6).mean(
                0
            ),
        },
    )
