"""The checks of the exercises of section 8.1.3, Lifelong transfer."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import torch
from numpy import ndarray
from torch import Tensor

from mapping_lib.lab.exercises.compare import compare
from mapping_lib.lab.exercises.core import exercise


@exercise("8.1.3-a")
def two_valleys(answer: Any) -> str | None:
    """Check where EWC ends between two quadratic losses, and three other ends."""
    if isinstance(answer, Tensor | ndarray):
        answer = answer.tolist()
    if not isinstance(answer, list | tuple) or len(answer) != 4:
        return "give a list of four numbers: [EWC at λ = 1, fine-tuning, λ → ∞, F from the mean]"
    ewc, plain, stiff, mistaken = answer
    return (
        compare(
            ewc,
            2.0,
            what="EWC's end",
            hints={
                "this is the plain mean of the two optima; the curvatures 3 and 1 weigh them": 3.0,
                "the weights are exchanged: F = 3 belongs to task A": 4.0,
                "with ½ in both terms the factors cancel; this has F/2 or 2F": 2.6,
                "this counts F twice: the penalty is ½ λ F (θ − 1)²": 11 / 7,
            },
        )
        or compare(
            plain,
            5.0,
            what="fine-tuning's end",
            hints={
                "this is task A's optimum, where fine-tuning starts": 1.0,
                "fine-tuning has no penalty; it goes to the optimum of B alone": 2.0,
            },
        )
        or compare(
            stiff,
            1.0,
            what="the end for λ → ∞",
            hints={
                "this is task B's optimum; the penalty forbids going there": 5.0,
                "this is the end at λ = 1; as λ grows it goes further": 2.0,
            },
        )
        or compare(
            mistaken,
            5.0,
            what="the end with the squared mean gradient",
            hints={
                "the mean gradient of task A at A's optimum is 0, and so is its square": 2.0,
                "F = 0 gives no penalty at all, not an infinite one": 1.0,
            },
        )
    )


@exercise("8.1.3-b")
def projection(answer: Callable[[Tensor, Tensor], Any]) -> str | None:
    """Check A-GEM's projection on a conflict, and where there is none."""
    r, other = torch.randn(2, 7, dtype=torch.float64).unbind()
    g = other - (2 + (other @ r) / (r @ r)) * r  # its part along r is −2r
    along = (g @ r) / (r @ r)
    unit = r / r.norm()
    wrong = compare(
        answer(g, r),
        g - along * r,
        what="the projected gradient",
        hints={
            "the two conflict, so the gradient must change": g,
            "divide by gᵣᵀgᵣ, not by its root": g - (g @ r) / r.norm() * r,
            "divide by the squared length of the reference: a projection doesn't depend on it": (
                g - (g @ r) * r
            ),
            "the part along the reference is added where it is to be taken off": g + along * r,
            "this divides by the length of g; the projection is onto the reference": (
                g - (g @ r) / (g @ g) * r
            ),
            "this is the part along the reference, which is to be taken off": along * r,
            "this is the reference's direction alone": unit,
            "this takes off a multiple of g; it's the part along the reference that goes": (
                r - (g @ r) / (g @ g) * g
            ),
        },
    )
    if wrong:
        return wrong
    g = other + (1 - (other @ r) / (r @ r)) * r  # along r
    return compare(
        answer(g, r),
        g,
        what="without a conflict the gradient",
        hints={
            "gᵀgᵣ is positive here: there is no conflict, so g must stay as it is": (
                g - (g @ r) / (r @ r) * r
            ),
        },
    )


@exercise("8.1.3-c")
def numbers_of_a_matrix(answer: Callable[[Tensor], Any]) -> str | None:
    """Check forgetting and backward transfer of a matrix whose best isn't on its diagonal."""
    R = torch.rand(4, 4, dtype=torch.float64) / 20 + torch.tensor(
        [[0.6, 0.7, 0.1, 0.0], [0.8, 0.5, 0.2, 0.1], [0.3, 0.6, 0.5, 0.1], [0.4, 0.3, 0.7, 0.8]]
    )
    found = answer(R)
    if isinstance(found, Tensor | ndarray):
        found = found.tolist()
    if not isinstance(found, list | tuple) or len(found) != 2:
        return "return two numbers: forgetting, then backward transfer"
    best, last, own = R[:-1].amax(dim=0), R[-1], R.diagonal()
    lost, back = best - last, last - own
    since = torch.stack([R[j:-1, j].amax() for j in range(3)])  # from its own task on
    return compare(
        torch.as_tensor(found[0]),
        lost[:-1].mean(),
        what="forgetting",
        hints={
            "forgetting is positive where accuracy fell: this has the wrong sign": (
                -lost[:-1].mean()
            ),
            "this measures from the diagonal; forgetting is from the best before": -back[
                :-1
            ].mean(),
            "the mean is over the T − 1 old tasks; the last can't be forgotten yet": lost.mean(),
            "sum where the mean over the T − 1 old tasks is due": lost[:-1].sum(),
            "the maximum is over the tasks learned before (a column of R), not over a row": (
                R[:-1].amax(dim=1) - last[:-1]
            ).mean(),
            "divide by T − 1, not by T": lost[:-1].sum() / 4,
            "the maximum is over i < T: a task that the last one improved counts negatively": (
                R.amax(dim=0) - last
            )[:-1].mean(),
            "the maximum is over all rows above the last, also those before the task was learned": (
                since - last[:-1]
            ).mean(),
        },
    ) or compare(
        torch.as_tensor(found[1]),
        back[:-1].mean(),
        what="backward transfer",
        hints={
            "backward transfer is negative where accuracy fell: this has the wrong sign": (
                -back[:-1].mean()
            ),
            "this measures from the best before; backward transfer is from the diagonal": (
                -lost[:-1].mean()
            ),
            "divide by T − 1, not by T: the last task has no later one": back.mean(),
            "backward transfer is the mean over the T − 1 old tasks, not their sum": back[
                :-1
            ].sum(),
        },
    )


@exercise("8.1.3-d")
def reservoir(answer: Callable[..., Any]) -> str | None:
    """Check by two thousand streams that each item is kept with the same probability."""
    size, n, runs = 3, 9, 2000
    draw = torch.Generator().manual_seed(int(torch.randint(1000, ())))
    counts = torch.zeros(n)
    for _ in range(runs):
        memory = answer(range(n), size, draw)
        if not isinstance(memory, list):
            return f"return the memory as a list, not {type(memory).__name__}"
        if len(memory) != size:
            return f"the memory has {len(memory)} items where {size} are due"
        if len(set(map(int, memory))) != size:
            return "an item stands in the memory twice; each comes once"
        counts[[int(item) for item in memory]] += 1
    shares = counts / runs
    bound = 5 * math.sqrt(size / n * (1 - size / n) / runs)
    if ((shares - size / n).abs() < bound).all():
        short = answer(range(2), size, draw)
        return None if list(short) == [0, 1] else "a stream shorter than the memory is kept whole"
    listed = ", ".join(f"{share:.2f}" for share in shares)
    if shares[size:].sum() == 0:
        words = "the first items stay for ever; later ones must be able to push them out"
    elif shares[-1] == 1:
        words = "the last item is always kept; it may be let go"
    elif shares[:size].mean() < size / n:
        words = "late items are too likely; item t (from 0) is kept with probability k / (t + 1)"
    else:
        words = "late items are too rare; item t (from 0) is kept with probability k / (t + 1)"
    return f"{words}. Shares of the items 0 to {n - 1}: {listed}, where {size / n:.2f} is due"
