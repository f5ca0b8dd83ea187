"""Checks of the exercises of section 2.2, representations."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from mapping_lib.lab.exercises.compare import compare
from mapping_lib.lab.exercises.core import exercise
from mapping_lib.sequences import attention


@exercise("2.2-a")
def attention_by_hand(answer: Any) -> str | None:
    """Check attention with the weights 1/8, 5/8, 2/8 and the values (8, 0), (0, 8), (4, 4)."""
    return compare(
        answer,
        (2.0, 6.0),
        what="the pair of numbers",
        hints={
            "those are the weights: they have to average the values": (0.125, 0.625, 0.25),
            "those are the scores before the softmax, one for each key": (
                0.0,
                math.log(5),
                math.log(2),
            ),
            "divided by d = 4, where the square root of d is due": _mixed((1, 5**0.5, 2**0.5)),
            "the scores have to be divided by the square root of d = 4": _mixed((1, 25, 4)),
            "all weights are equal there: the scores don't count": (4.0, 4.0),
            "the weights have to be divided by their sum, 8": (16.0, 48.0),
            "that is the value of the word with the largest weight: the softmax takes a mean": (
                0.0,
                8.0,
            ),
            "the two numbers are swapped": (6.0, 2.0),
        },
    )


def _mixed(weights: tuple[float, ...]) -> tuple[float, float]:
    a, b, c = (weight / sum(weights) for weight in weights)
    return 8 * a + 4 * c, 8 * b + 4 * c


@exercise("2.2-b")
def fourth_word(answer: Callable[..., Any]) -> str | None:
    """Check a rule for analogies that takes rows of any length and leaves out its three inputs."""
    vectors = torch.randn(40, 6, dtype=torch.float64)
    lengths = 0.2 + 3 * torch.rand(40, 1, dtype=torch.float64)
    unit = vectors / vectors.norm(dim=1, keepdim=True)
    stretched = lengths * unit
    questions = [(k, (7 * k + 3) % 40, (11 * k + 5) % 40) for k in range(30)]
    questions = [q for q in questions if len(set(q)) == 3]

    def rule(rows: Tensor, signs: tuple[int, int, int], *, out: slice, cosine: bool) -> Tensor:
        found = []
        for question in questions:
            sought = sum(s * rows[at] for s, at in zip(signs, question, strict=True))
            scores = (unit if cosine else stretched) @ sought
            scores[list(question)[out]] = -torch.inf
            found.append(scores.argmax())
        return torch.stack(found)

    whole, nothing = slice(3), slice(0)
    right = rule(unit, (-1, 1, 1), out=whole, cosine=True)
    sought = torch.stack([stretched[b] - stretched[a] + stretched[c] for a, b, c in questions])
    distances = torch.cdist(sought, stretched)
    distances.scatter_(1, torch.tensor(questions), torch.inf)
    closest = distances.argmin(1)
    got = [answer(stretched, a, b, c) for a, b, c in questions]
    wrong = compare(
        got,
        right.tolist(),
        what="the list of rows found",
        hints={
            "a, b and c have to be left out: one of them is nearly always the nearest": rule(
                unit, (-1, 1, 1), out=nothing, cosine=True
            ).tolist(),
            "c is left out, but a and b can be the nearest as well": rule(
                unit, (-1, 1, 1), out=slice(2, 3), cosine=True
            ).tolist(),
            "a and b are the wrong way round: b − a is the way to go from c": rule(
                unit, (1, -1, 1), out=whole, cosine=True
            ).tolist(),
            "that is the row nearest to c, whatever a and b are": rule(
                unit, (0, 0, 1), out=whole, cosine=True
            ).tolist(),
            "long rows win by their length: the cosine divides by it": rule(
                unit, (-1, 1, 1), out=whole, cosine=False
            ).tolist(),
            "bring all rows to length 1 before you add them": rule(
                stretched, (-1, 1, 1), out=whole, cosine=True
            ).tolist(),
            "the smallest distance of rows of any length: bring all of them to length 1 first": (
                closest.tolist()
            ),
            "inner products of rows of any length: bring all of them to length 1 first": rule(
                stretched, (-1, 1, 1), out=whole, cosine=False
            ).tolist(),
        },
    )
    if wrong:
        return wrong
    square = torch.tensor([[1.0, 0.0], [0.0, 1.0], [2.0, 1.0], [-1.0, -3.0]], dtype=torch.float64)
    if compare(answer(square, 0, 1, 2), 3):  # the only row that may be found
        return "what is left may have a cosine below 0, so a score of 0 can still win: −∞ can't"
    return None


@exercise("2.2-c")
def causal_attention(answer: Callable[[Tensor, Tensor, Tensor], Any]) -> str | None:
    """Check attention in which no place sees a later one."""
    query, key = (torch.randn(5, 3, dtype=torch.float64) for _ in range(2))
    value = torch.randn(5, 2, dtype=torch.float64)
    past = torch.ones(5, 5, dtype=torch.bool).tril()
    scores = query @ key.T
    weights = (scores / 3**0.5).softmax(1)
    scaled = 3**0.5 * query  # undoes the division inside
    ahead = torch.ones(5, 5, dtype=torch.bool).tril(1)
    strictly = past.tril(-1)
    strictly[0, 0] = True
    found = answer(query, key, value)
    if isinstance(found, Tensor) and found.isnan().any(-1).tolist() == [True, *4 * [False]]:
        return "the first place sees nothing at all: a place may see itself, too"
    return compare(
        found,
        attention(query, key, value, mask=past),
        what="the output",
        hints={
            "each place sees all of them: nothing is masked": attention(query, key, value),
            "each place sees itself and the later ones: the triangle is the wrong way up": (
                attention(query, key, value, mask=past.T)
            ),
            "the weights of a row no longer have the sum 1: mask the scores before the softmax": (
                (weights * past) @ value
            ),
            "a score of 0 still has the weight e⁰: masked scores have to be −∞": (
                (scores / 3**0.5 * past).softmax(1) @ value
            ),
            "the scores have to be divided by the square root of the number of features": (
                attention(scaled, key, value, mask=past)
            ),
            "divided by d, where the square root of d is due": (
                attention(query / 3**0.5, key, value, mask=past)
            ),
            "a place may see itself, too": attention(query, key, value, mask=strictly),
            "each place also sees the next one, which is what it mustn't": attention(
                query, key, value, mask=ahead
            ),
            "query and key are swapped: each row of scores belongs to one query": attention(
                key, query, value, mask=past
            ),
            "d is the number of features of query and key, not of the values": attention(
                (3 / 2) ** 0.5 * query, key, value, mask=past
            ),
            "the softmax runs over the queries: each row of weights must have the sum 1": (
                (scores / 3**0.5).masked_fill(~past, -torch.inf).softmax(0) @ value
            ),
        },
    )


@exercise("2.2-d")
def explained_share(answer: Callable[..., Any]) -> str | None:
    """Check R² of a least-squares probe on new rows."""
    direction = torch.randn(4, dtype=torch.float64)
    train, new = (torch.randn(n, 4, dtype=torch.float64) + 1 for n in (30, 20))
    y, truth = (
        rows @ direction + 5 + 0.7 * torch.randn(len(rows), dtype=torch.float64)
        for rows in (train, new)
    )

    def guesses(rows: Tensor, *, constant: bool = True) -> Tensor:
        wide = [torch.cat([x, x.new_ones(len(x), int(constant))], dim=1) for x in (train, rows)]
        solution: Tensor = torch.linalg.lstsq(wide[0], y[:, None]).solution
        return wide[1] @ solution[:, 0]

    def share(found: Tensor, due: Tensor, mean: Tensor) -> Tensor:
        return 1 - (due - found).square().sum() / (due - mean).square().sum()

    found = guesses(new)
    right = share(found, truth, truth.mean())
    return compare(
        answer(train, y, new, truth),
        right.item(),
        what="the share",
        hints={
            "the probe is judged on the rows it has learned from": share(
                guesses(train), y, y.mean()
            ),
            "a constant is missing: add a column of ones": share(
                guesses(new, constant=False), truth, truth.mean()
            ),
            "that is what is left over, not what is explained": 1 - right,
            "the spread is around the mean of the true values, not around 0": share(
                found, truth, torch.zeros(())
            ),
            "the spread is around the mean of the new values, not of those learned from": share(
                found, truth, y.mean()
            ),
            "errors of the shape (n, n): truth minus a column; drop the column's second axis": (
                share(found[:, None], truth, truth.mean())
            ),
            "take the sum of squares off 1 only after it was divided": (
                (1 - (truth - found).square().sum()) / (truth - truth.mean()).square().sum()
            ),
            "squares of the errors, not of their distance from the mean error: a shift counts": (
                1 - (truth - found).var() / truth.var()
            ),
            "the probe has to be fitted to `train` and `y`, not to the new rows": share(
                torch.cat([new, new.new_ones(20, 1)], 1)
                @ torch.linalg.lstsq(
                    torch.cat([new, new.new_ones(20, 1)], 1), truth[:, None]
                ).solution[:, 0],
                truth,
                truth.mean(),
            ),
            "both sums or both means: torch.var divides by n − 1": (
                1 - (truth - found).square().mean() / truth.var()
            ),
            "that is the correlation's square, which forgives a wrong slope or shift": (
                torch.corrcoef(torch.stack([found, truth]))[0, 1].square()
            ),
            "that is the mean squared error: divide it by the variance": (
                (truth - found).square().mean()
            ),
        },
    )
