"""Checks of the exercises of section 1.1, how deep learning developed."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch

from mapping_lib.lab.exercises.compare import compare
from mapping_lib.lab.exercises.core import exercise


@exercise("1.1-a")
def one_pass_by_hand(answer: Any) -> str | None:
    """Check the perceptron's weights after one pass over three given rows."""
    return compare(
        answer,
        [-2.0, 1.0, 0.0],
        what="the list of weights",
        hints={
            "the second row has the label -1: its correction is minus the row": [4, 3, 2],
            "the third row is right already: no correction there": [-3, 2, 1],
            "0 is no decision, so the first row counts as a mistake": [0, 0, 0],
            "those are the weights after the first row: go on to the third": [1, 2, 1],
            "every sign is turned round: add the label times the row": [2, -1, 0],
            "those are the weights after two passes: stop after one": [-4, 2, 0],
            "that goes on until no mistake is left: stop after one pass": [-3, 4, 1],
        },
    )


@exercise("1.1-b")
def bound_from_a_start(answer: Callable[..., Any]) -> str | None:
    """Check the bound on mistakes from a start that isn't zero."""
    y = torch.tensor([1.0, -1.0, 1.0, -1.0, 1.0, -1.0], dtype=torch.float64)
    u = torch.tensor([0.5, -1.0, 0.25], dtype=torch.float64)
    x = torch.randn(6, 3, dtype=torch.float64)
    x = x - (x @ u)[:, None] * u / (u @ u)  # now every row lies on the plane of u …
    heights = torch.tensor([0.9, 0.6, 1.3, 0.8, 2.0, 1.1], dtype=torch.float64)
    x = x + (y * heights)[:, None] * u / (u @ u)  # … and now at its height, on its side
    start = torch.randn(3, dtype=torch.float64)
    longest = x.square().sum(1).max()
    margins = y * (x @ u)
    right = (start - u * longest / margins.min()).square().sum() / longest
    return compare(
        answer(x, y, u, start),
        right.item(),
        what="the bound",
        hints={
            "u has to be stretched until its least margin is R²": (
                (start - u).square().sum() / longest
            ),
            "the start is left out: that is the bound from zero": longest
            / (margins.min() / u.norm()).square(),
            "the least margin counts, not the mean": (
                (start - u * longest / margins.mean()).square().sum() / longest
            ),
            "the labels are left out of the margin": (
                (start - u * longest / (x @ u).min()).square().sum() / longest
            ),
            "the distance has to be squared": (start - u * longest / margins.min()).norm()
            / longest,
            "R² is the squared length of the longest row, not of the mean row": (
                (start - u * x.square().sum(1).mean() / margins.min()).square().sum()
                / x.square().sum(1).mean()
            ),
            "u has to be stretched to R², not to R": (
                (start - u * longest.sqrt() / margins.min()).square().sum() / longest
            ),
            "the least margin counts, not the largest": (
                (start - u * longest / margins.max()).square().sum() / longest
            ),
            "divided by R, where R² is due": (
                (start - u * longest / margins.min()).square().sum() / longest.sqrt()
            ),
            "that is the squared distance alone: divide it by R²": (
                (start - u * longest / margins.min()).square().sum()
            ),
            "u of length 1 is not yet stretched: its least margin has to be R²": (
                (start - u / u.norm()).square().sum() / longest
            ),
            "R² belongs to a whole row: add up the squares of its entries": (
                (start - u * x.square().max() / margins.min()).square().sum() / x.square().max()
            ),
        },
    )


@exercise("1.1-c")
def xor_by_thresholds(answer: Any) -> str | None:
    """Check two layers of threshold units on the four points of XOR."""
    shapes = {"W": (2, 2), "b": (2,), "v": (2,), "c": ()}
    if not isinstance(answer, list | tuple) or len(answer) != len(shapes):
        return "the answer is W, b, v and c, in this order"
    values = []
    for (name, shape), given in zip(shapes.items(), answer, strict=True):
        try:
            value = torch.as_tensor(given, dtype=torch.float64)
        except (TypeError, ValueError, RuntimeError):
            return f"{name} isn't made of numbers"
        if value.shape != shape:
            return f"{name} has the shape {tuple(value.shape)}, where {shape} is due"
        values.append(value)
    W, b, v, c = values
    for point in ([0.0, 0.0], [0.0, 1.0], [1.0, 0.0], [1.0, 1.0]):
        hidden = (W @ torch.tensor(point, dtype=torch.float64) + b > 0).double()
        got = int(v @ hidden + c > 0)
        if got != int(sum(point) == 1):
            at, seen = tuple(map(int, point)), tuple(map(int, hidden))
            return f"{at} comes out as {got}, where {1 - got} is due; its hidden units are {seen}"
    return None


@exercise("1.1-d")
def gradient_with_relu(answer: Callable[..., Any]) -> str | None:
    """Check the gradient of the first layer's weights where the hidden units are ReLUs."""
    n, d, hidden = 5, 3, 4
    x = torch.randn(n, d, dtype=torch.float64)
    y = torch.tensor([1.0, -1.0, -1.0, 1.0, -1.0], dtype=torch.float64)
    W, v = torch.randn(hidden, d, dtype=torch.float64), torch.randn(hidden, dtype=torch.float64)
    b, c = torch.randn(hidden, dtype=torch.float64), torch.tensor(0.3, dtype=torch.float64)
    before = x @ W.T + b
    z = before.relu() @ v + c
    dz = -y * torch.sigmoid(-y * z) / n
    on = (before > 0).double()
    right = (dz[:, None] * v * on).T @ x
    bent = -y * torch.sigmoid(-y * (before.tanh() @ v + c)) / n
    inner = -y * torch.sigmoid(y * z) / n
    with_tanh = (bent[:, None] * v * on).T @ x
    return compare(
        answer(x, y, W, b, v, c),
        right,
        what="the gradient",
        hints={
            "that is tanh's derivative, 1 - h²: ReLU's is 1 or 0": (
                (dz[:, None] * v * (1 - before.relu().square())).T @ x
            ),
            "ReLU's derivative is left out: units that are off learn nothing": (
                (dz[:, None] * v).T @ x
            ),
            "ReLU's derivative is 1 or 0, not the unit's value": (
                (dz[:, None] * v * before.relu()).T @ x
            ),
            "the weight v of each hidden unit is left out": ((dz[:, None] * on).T @ x),
            "h and z still come from tanh: the forward line changes too": with_tanh,
            "look at the sign inside σ: a row that is right and sure has hardly any slope": (
                (inner[:, None] * v * on).T @ x
            ),
        },
        factors={"n": n},
    )
