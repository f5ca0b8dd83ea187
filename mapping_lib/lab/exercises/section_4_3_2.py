"""The checks of the exercises of section 4.3.2, Multi-task learning."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from typing import Any

import numpy as np
import torch
from torch import Tensor

from mapping_lib.lab.exercises.compare import compare
from mapping_lib.lab.exercises.core import exercise


@exercise("4.3.2-a")
def two_gradients_on_paper(answer: Any) -> str | None:
    """Check a cosine, a projected gradient and the weights of the shortest combination."""
    if not isinstance(answer, list | tuple | np.ndarray | Tensor) or len(answer) != 5:
        return "give a list of five numbers: [cosine, first and second entry, weight, weight]"
    cosine, *projected, first, second = answer
    g, other = torch.tensor([1.0, 2.0]), torch.tensor([2.0, -3.0])
    part = -4 / 13 * other
    return (
        _on_paper(
            cosine,
            -4 / 65**0.5,
            what="the cosine",
            hints={
                "this is the inner product; divide it by both lengths": -4.0,
                "divide by both lengths, not by their squares: these are 5 and 13": -4 / 65,
                "divide by the second length as well": -4 / 5**0.5,
                "divide by the first length as well": -4 / 13**0.5,
            },
        )
        or _on_paper(
            projected,
            [21 / 13, 14 / 13],
            what="the projected gradient",
            hints={
                "this is the part along the second gradient; it is what is taken away": part,
                "the part was added: the sign of the inner product counts": g + part,
                "this projects the second gradient; the first is asked for": other + 4 / 5 * g,
                "divide by the squared length of the second gradient, not by its length": (
                    g + 4 / 13**0.5 * other
                ),
                "divide by the squared length of the second gradient, not of the first": (
                    g + 4 / 5 * other
                ),
            },
        )
        or _on_paper(
            [first, second],
            [17 / 26, 9 / 26],
            what="the pair of weights",
            hints={
                "these are the shares the other way round: the longer gradient counts less": (
                    [9 / 26, 17 / 26]
                ),
                "these would make orthogonal gradients shortest; here they conflict": (
                    [13 / 18, 5 / 18]
                ),
                "these make both parts equally long; the shortest combination is another": (
                    [13**0.5 / (13**0.5 + 5**0.5), 5**0.5 / (13**0.5 + 5**0.5)]
                ),
            },
        )
    )


def _on_paper(value: Any, due: Any, *, what: str, hints: dict[str, Any]) -> str | None:
    """Compare numbers that were worked out by hand: three digits are enough, two are not."""
    message = compare(value, due, what=what, hints=hints, tolerance=4e-3)
    if message and compare(value, due, tolerance=1e-2) is None:
        return f"{what} is right so far, but too coarse: give fractions, or three digits"
    return message


@exercise("4.3.2-b")
def surgery(answer: Callable[[Tensor, Tensor], Any]) -> str | None:
    """Check the projection of one gradient, in conflict and without."""
    g, other = torch.randn(5, dtype=torch.float64), 3 * torch.randn(5, dtype=torch.float64)
    g = g - 2 * (g @ other).abs() / (other @ other) * other
    inner = g @ other
    part = inner / (other @ other) * other
    message = compare(
        answer(g, other),
        g - part,
        what="the projected gradient",
        hints={
            "this is the gradient itself, although the two conflict": g,
            "this is the part along the other gradient; take it away from the first": part,
            "the part along the other gradient was added; subtract it": g + part,
            "divide by the squared length of the other gradient": g - inner * other,
            "divide by the squared length, not by the length": g - inner / other.norm() * other,
            "divide by the squared length of the other gradient, not of the first": (
                g - inner / (g @ g) * other
            ),
            "the other gradient was projected; the first one is asked for": (
                other - inner / (g @ g) * g
            ),
        },
    )
    if message:
        return message
    return compare(
        answer(g, -other),
        g,
        what="without conflict the gradient",
        hints={
            "there is no conflict here, so nothing may be taken away: mind the sign of the inner "
            "product": g - part,
        },
    )


@exercise("4.3.2-c")
def learned_weights(answer: Callable[[Tensor], Any]) -> str | None:
    """Check what uncertainty weighting comes to once the variances have settled."""
    losses = torch.rand(4, dtype=torch.float64) * 5 + 0.1
    return compare(
        answer(losses),
        1 / (2 * losses),
        what="the weight",
        hints={
            "this is the variance that is best; the weight has it in the denominator": losses,
            "this is the variance that is best for a cross-entropy; the weight is one over it": (
                2 * losses
            ),
            "this forgets the factor 1/2 before s: set the derivative by s to 0": 1 / losses,
            "this is the logarithm of the best variance": (2 * losses).log(),
            "a weight without square root: the variance is e^s": (1 / (2 * losses)).sqrt(),
            "this is the best value of the term, not the weight": (0.5 + (2 * losses).log() / 2),
        },
    )


@exercise("4.3.2-d")
def shortest(answer: Callable[[Tensor, Tensor], Any]) -> str | None:
    """Check the closed form of two tasks, in between and at both ends."""
    a = torch.randn(6, dtype=torch.float64)
    b = 2 * torch.randn(6, dtype=torch.float64)
    b = b - (a @ b) / (a @ a) * a - 0.4 * a  # in conflict, so that both count
    inside = (b @ (b - a)) / (a - b).square().sum()
    message = compare(
        answer(a, b),
        float(inside),
        what="the weight of the first gradient",
        hints={
            "this is the weight of the second gradient": 1 - inside,
            "this holds for orthogonal gradients; the inner product is missing": (
                (b @ b) / (a @ a + b @ b)
            ),
            "this makes both parts equally long; the shortest combination is another": (
                b.norm() / (a.norm() + b.norm())
            ),
            "divide by the squared length of the difference": b @ (b - a),
            "divide by the squared length of the difference, not by the length": (
                (b @ (b - a)) / (a - b).norm()
            ),
            "the inner product has the wrong sign": (b @ (b + a)) / (a + b).square().sum(),
        },
    )
    if message:
        return message
    longer = 3 * a  # the first alone is shorter than any mixture
    return compare(
        answer(a, longer),
        1.0,
        what="where the second gradient is longer and points the same way, the weight",
        hints={"a weight lies between 0 and 1: clamp it": (longer @ (longer - a)) / (4 * (a @ a))},
    ) or compare(
        answer(longer, a),
        0.0,
        what="where the first gradient is longer and points the same way, the weight",
        hints={"a weight lies between 0 and 1: clamp it": (a @ (a - longer)) / (4 * (a @ a))},
    )


@exercise("4.3.2-e")
def front(answer: Callable[[Tensor], Any]) -> str | None:
    """Check which points are on the front, among them equal ones and ties."""
    best = torch.tensor([[0, 6], [1, 3], [1, 3], [3, 1], [6, 0]])  # two of them equal
    beaten = torch.tensor([[1, 6], [1, 4], [4, 4], [3, 3], [6, 1], [5, 6], [7, 7]])
    points = torch.cat([best, beaten])[torch.randperm(12)].double()
    no_worse = (points.unsqueeze(1) <= points).all(2)
    better = (points.unsqueeze(1) < points).any(2)
    everywhere = (points.unsqueeze(1) < points).all(2)
    due = ~(no_worse & better).any(0)
    found = answer(points)
    if isinstance(found, list | tuple | np.ndarray):
        with suppress(TypeError, ValueError, RuntimeError):
            found = torch.as_tensor(found)
    if not isinstance(found, Tensor) or found.dtype != torch.bool or found.shape != due.shape:
        return f"give a boolean tensor of shape {tuple(due.shape)}, true for points on the front"
    if torch.equal(found, due):
        return None
    hints = {
        "no point is on the front: a point isn't better than itself, nor than an equal one": (
            torch.zeros_like(due)
        ),
        "these are the points off the front": ~due,
        "this asks to be better in every task; better in one and no worse in the others suffices": (
            ~everywhere.any(0)
        ),
        "these are the points that beat no other; asked for are those that no other beats, with "
        "small losses better than large ones": ~(no_worse & better).any(1),
        "of two equal points neither beats the other: both are on the front": ~(
            no_worse & ~torch.eye(len(points), dtype=torch.bool)
        ).any(0),
    }
    for words, wrong in hints.items():
        if torch.equal(found, wrong):
            return words
    place = int((found != due).nonzero()[0])
    row = [int(value) for value in points[place]]
    return (
        f"the point {row} is {'not ' if found[place] else ''}on the front of {len(points)} points"
    )
