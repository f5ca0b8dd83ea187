"""Checks of the exercises of section 2.3, mapping and transfer."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from mapping_lib.lab.exercises.compare import compare
from mapping_lib.lab.exercises.core import exercise


@exercise("2.3-a")
def symmetries(answer: Any) -> str | None:
    """Check in how many orders the hidden units of a network can be stored: 3! · 4!."""
    return compare(
        answer,
        144,
        what="the number of orders",
        hints={
            "units of different layers can't change places: the orders of the two layers multiply, "
            "they don't mix": 5040,
            "the number of orders of n units is n!, not n": 12,
            "each order of one layer goes with every order of the other: multiply, don't add": 30,
            "inputs and outputs keep their places: only hidden units can be permuted": (
                2 * 6 * 24 * 2
            ),
            "that is the second hidden layer only: the first has orders as well": 24,
            "that is the first hidden layer only: the second has orders as well": 6,
        },
    )


@exercise("2.3-b")
def permuted_by_hand(answer: Callable[..., Any]) -> str | None:
    """Check a permutation of the hidden units of a network with one hidden layer."""
    W1 = torch.randn(4, 4, dtype=torch.float64)  # square: a wrong axis gives wrong numbers
    b1 = torch.randn(4, dtype=torch.float64)
    W2 = torch.randn(4, 4, dtype=torch.float64)
    order = torch.tensor([2, 0, 3, 1])
    got = answer(W1.clone(), b1.clone(), W2.clone(), order)
    if not isinstance(got, tuple | list) or len(got) != 3:
        return "return three tensors: W1, b1 and W2"
    back = order.argsort()
    right = (W1[order], b1[order], W2[:, order])
    if all(_same(g, b) for g, b in zip(got, (W1[back], b1[back], W2[:, back]), strict=True)):
        return "that is the inverse: unit order[i] has to go to place i"
    if _same(got[1], b1) and _same(got[0], right[0]):
        return "the biases have to move with their units"
    if all(_same(g, old) for g, old in zip(got, (W1, b1, W2), strict=True)):
        return "nothing has moved: the three tensors are the old ones"
    if _same(got[0], W1[:, order]):
        return "W1 is (units, inputs): the units are its rows"
    if _same(got[2], W2[order]):
        return "W2 is (outputs, units): the units are its columns"
    if _same(got[2], W2):
        return "W2 reads the hidden units: its columns have to move as well"
    if _same(got[2], W2[:, back]):
        return "the columns of W2 moved the other way: they need the same order as the rows of W1"
    names = ("W1", "b1", "W2")
    for name, value, due in zip(names, got, right, strict=True):
        if wrong := compare(value, due, what=f"the new {name}"):
            return wrong
    return None


@exercise("2.3-c")
def barrier_by_hand(answer: Callable[[Tensor], Any]) -> str | None:
    """Check the barrier of losses on a path whose ends differ."""
    losses = torch.tensor([1.6, 0.2, 2.1, 3.1, 2.4], dtype=torch.float64)
    line = losses[0] + torch.linspace(0, 1, 5, dtype=torch.float64) * (losses[-1] - losses[0])
    rise = losses - line
    got = answer(losses)
    shares = torch.arange(5, dtype=torch.float64) / 5
    late = (losses - (1 - shares) * losses[0] - shares * losses[-1]).max()
    return compare(
        got,
        rise.max().item(),
        what="the barrier",
        hints={
            "that is the rise over the mean of the ends: a slope would count as a barrier": (
                losses.max() - (losses[0] + losses[-1]) / 2
            ),
            "that is the rise over the first end alone": losses.max() - losses[0],
            "that is the rise over the higher end: at each point compare with the line there": (
                losses.max() - losses[-1]
            ),
            "where the loss lies below the line there is no barrier: no absolute values": (
                rise.abs().max()
            ),
            "that is the largest step from one point to the next": losses.diff().max(),
            "the line goes from the first loss to the last, not the other way": (
                losses - line.flip(0)
            ).max(),
            f"for the losses {losses.tolist()} that is {late:.2f}, not {rise.max():.2f}: t runs "
            "from 0 at the first loss to 1 at the last": late,
            "that is the largest loss: take off the line between the ends": losses.max(),
            "that is the rise in the middle: it may be highest elsewhere": rise[2],
            "that is the mean rise, not the largest": rise.mean(),
        },
    )


@exercise("2.3-d")
def exchanged(answer: Callable[..., Any]) -> str | None:
    """Check a network that is given one task and made to forget another."""
    shapes = {"w": (3,), "b": (2, 2)}
    start, first, second = (
        {name: torch.randn(*shape, dtype=torch.float64) for name, shape in shapes.items()}
        for _ in range(3)
    )
    states = (start, first, second)
    given = [{name: value.clone() for name, value in state.items()} for state in states]
    got = answer(*given, 0.4)
    if not isinstance(got, dict) or set(got) != set(shapes):
        return "return a state: a dict with the tensors 'w' and 'b'"
    pairs = zip(given, states, strict=True)
    if any(not _same(now.get(name), kept[name]) for now, kept in pairs for name in shapes):
        return "your function writes into a state that it was given: return a new one"

    def state(c_start: float, c_first: float, c_second: float) -> dict[str, Tensor]:
        return {
            name: c_start * start[name] + c_first * first[name] + c_second * second[name]
            for name in shapes
        }

    wrongs = {
        "that adds both tasks: the second has to be taken away": state(0.2, 0.4, 0.4),
        "that takes away the second network itself, not what fine-tuning has changed": state(
            0.6, 0.4, -0.4
        ),
        "the scale belongs to both task vectors": state(1.6, 0.4, -1),
        "the scale belongs to both task vectors, and start + scale * first already holds a whole "
        "network: subtract the start from each before scaling": state(1, 0.4, -1),
        "the scale is missing": state(1, 1, -1),
        "first and second are swapped": state(1, -0.4, 0.4),
        "that is the difference of the tasks: the start is missing": state(0, 0.4, -0.4),
        "that goes towards the first task alone: the second is still to be forgotten": state(
            0.6, 0.4, 0
        ),
        "that goes away from the second task alone: the first is still to be learned": state(
            1.4, 0, -0.4
        ),
    }
    for words, wrong in wrongs.items():
        if all(_same(got[name], wrong[name]) for name in shapes):
            return words
    for name, due in state(1, 0.4, -0.4).items():
        if said := compare(got[name], due, what=f"the new {name!r}"):
            return said
    return None


@exercise("2.3-e")
def folded(answer: Callable[..., Any]) -> str | None:
    """Check the head that gives on the features what a head gives on mapped features."""
    W = torch.randn(3, 3, dtype=torch.float64)  # square: a wrong order gives wrong numbers
    b = torch.randn(3, dtype=torch.float64)
    Q = torch.linalg.qr(torch.randn(3, 3, dtype=torch.float64)).Q
    c = torch.randn(3, dtype=torch.float64)
    got = answer(W.clone(), b.clone(), Q.clone(), c.clone())
    if not isinstance(got, tuple | list) or len(got) != 2:
        return "return two tensors: the weight and the bias of the new head"
    if _same(got[0], Q @ W):
        return "Q comes first and W reads what it gives: W is on the left, W (Q φ) = (W Q) φ"
    if _same(got[0], W @ Q.T):
        return "that is W Qᵀ, which undoes the map: W (Q φ) = (W Q) φ"
    if _same(got[0], W):
        return "the weight has to take up Q: W (Q φ) = (W Q) φ"
    if _same(got[1], b):
        return "the bias has to take up the shift: the head sees W c as well as b"
    if _same(got[1], b + c):
        return "the head reads the shift as it reads features: W c, not c"
    if _same(got[1], W @ c):
        return "the head's own bias is missing"
    if _same(got[1], W @ Q @ c + b):
        return "the shift comes after the rotation: W c, not W Q c"
    return compare(got[0], W @ Q, what="the new weight") or compare(
        got[1], W @ c + b, what="the new bias"
    )


def _same(value: Any, due: Tensor) -> bool:
    return (
        isinstance(value, Tensor)
        and value.shape == due.shape
        and torch.allclose(value.double(), due, atol=1e-8)
    )
