"""Checks of the exercises of section 7.1, frameworks."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import torch
from torch import nn

from mapping_lib.lab.exercises.compare import compare
from mapping_lib.lab.exercises.core import exercise


@exercise("7.1-a")
def two_velocities(answer: Any) -> str | None:
    """Check how far two conventions of momentum move after the rate has fallen."""
    torch_moves, keras_moves = 0.01 * 2.71, 0.9 * 0.19 + 0.01
    return compare(
        answer,
        (torch_moves, keras_moves),
        what="the pair of distances",
        hints={
            "the two are swapped": (keras_moves, torch_moves),
            "that is the velocity of PyTorch, not yet times the rate": (2.71, keras_moves),
            "Keras's velocity was made with the old rate: it doesn't fall with it": (
                torch_moves,
                torch_moves,
            ),
            "PyTorch's velocity knows no rate: the new one holds for all of it": (
                keras_moves,
                keras_moves,
            ),
            "the third gradient is missing": (0.01 * 0.9 * 1.9, 0.9 * 0.19),
            "the rate of the third step is 0.01": (0.271, 0.271),
            "that is where they are in the second step": (0.19, 0.19),
        },
    )


@exercise("7.1-b")
def batch_norm_to_keras(answer: Callable[..., Any]) -> str | None:
    """Check the arguments and the arrays of a batch norm in Keras."""
    norm = nn.BatchNorm2d(3, eps=0.02, momentum=0.3)
    with torch.no_grad():
        for number, tensor in enumerate(_vectors(norm)):
            tensor.copy_(torch.rand(3) + number)
    result = answer(norm)
    if not isinstance(result, tuple | list) or len(result) != 2:
        return "the function returns two things: the arguments, and the list of arrays"
    arguments, arrays = result
    if not isinstance(arguments, Mapping) or set(arguments) != {"momentum", "epsilon"}:
        return "the arguments are a dictionary of 'momentum' and 'epsilon'"
    for name, right, hints in (
        ("momentum", 0.7, {"what PyTorch takes of the new, Keras keeps of the old": 0.3}),
        ("epsilon", 0.02, {"that is Keras's default: the layer has an ε of its own": 1e-3}),
    ):
        if wrong := compare(arguments[name], right, what=name, hints=hints):
            return wrong
    if not isinstance(arrays, list | tuple) or len(arrays) != 4:
        return "set_weights takes a list of four arrays"
    if not all(isinstance(array, np.ndarray) for array in arrays):
        return "the four are to be NumPy arrays: detach() and numpy()"
    gamma, beta, mean, variance = (tensor.detach().numpy() for tensor in _vectors(norm))
    return compare(
        np.stack(arrays),
        np.stack([gamma, beta, mean, variance]).tolist(),
        what="the stack of the four arrays",
        hints={
            "beta stands before gamma": np.stack([beta, gamma, mean, variance]),
            "the variance stands before the mean": np.stack([gamma, beta, variance, mean]),
            "the averages stand before gamma and beta": np.stack([mean, variance, gamma, beta]),
            "the last one is the deviation, not the variance": np.stack(
                [gamma, beta, mean, variance**0.5]
            ),
        },
    )


@exercise("7.1-c")
def epsilon_for_torch(answer: Callable[..., Any]) -> str | None:
    """Check the ε that makes torch's Adam move as Keras's does, step by step."""
    for step, epsilon, beta in ((1, 1e-7, 0.999), (7, 1e-3, 0.9), (400, 1e-7, 0.99)):
        left = 1 - beta**step
        got = answer(step, epsilon, beta)
        wrong = compare(
            got,
            epsilon / left**0.5,
            what=f"eps in step {step}",
            hints={
                "that is Keras's ε unchanged: its moment isn't corrected yet, torch's is": epsilon,
                "that is the other way round: in the first steps torch needs the larger ε": epsilon
                * left**0.5,
                "the root is missing: it is the root of the second moment that ε is added to": (
                    epsilon / left
                ),
                "the steps are counted from 1": epsilon / (1 - beta ** (step + 1)) ** 0.5,
                "the correction is 1 − β₂ to the power of the step": epsilon / (1 - beta) ** 0.5,
            },
        )
        if wrong:
            return wrong
    return None


def _vectors(norm: nn.BatchNorm2d) -> list[torch.Tensor]:
    assert norm.running_mean is not None
    assert norm.running_var is not None
    return [norm.weight, norm.bias, norm.running_mean, norm.running_var]
