import pytest
import torch

from mapping_lib.lab.exercises import Case, check


def permuted(W1, b1, W2, order):
    return W1[order], b1[order], W2[:, order]


def line(losses):
    return losses[0] + torch.linspace(0, 1, len(losses)).to(losses) * (losses[-1] - losses[0])


def edited(c_start, c_first, c_second):
    """An answer with these coefficients, each a function of the scale."""

    def answer(start, first, second, scale):
        return {
            name: c_start(scale) * start[name]
            + c_first(scale) * first[name]
            + c_second(scale) * second[name]
            for name in start
        }

    return answer


CASES = {
    "2.3-a": Case(
        solution=144,
        wrong={
            "they don't mix": 5040,
            "the number of orders of n units is n!": 12,
            "multiply, don't add": 30,
            "only hidden units can be permuted": 576,
            "the second hidden layer only": 24,
            "the first hidden layer only": 6,
        },
    ),
    "2.3-b": Case(
        solution=permuted,
        wrong={
            "that is the inverse": lambda W1, b1, W2, order: permuted(W1, b1, W2, order.argsort()),
            "the biases have to move": lambda W1, b1, W2, order: (W1[order], b1, W2[:, order]),
            "its columns have to move as well": lambda W1, b1, W2, order: (
                W1[order],
                b1[order],
                W2,
            ),
            "moved the other way": lambda W1, b1, W2, order: (
                W1[order],
                b1[order],
                W2[:, order.argsort()],
            ),
            "return three tensors": lambda W1, b1, W2, order: W1[order],
            "nothing has moved": lambda W1, b1, W2, order: (W1, b1, W2),
            "the units are its columns": lambda W1, b1, W2, order: (
                W1[order],
                b1[order],
                W2[order],
            ),
            "the units are its rows": lambda W1, b1, W2, order: (
                W1[:, order],
                b1[order],
                W2[:, order],
            ),
            "the new W1": lambda W1, b1, W2, order: (W1, b1[order], W2[:, order]),
        },
    ),
    "2.3-c": Case(
        solution=lambda losses: (losses - line(losses)).max(),
        wrong={
            "over the mean of the ends": lambda losses: losses.max() - losses[[0, -1]].mean(),
            "over the first end alone": lambda losses: losses.max() - losses[0],
            "over the higher end": lambda losses: losses.max() - losses[[0, -1]].max(),
            "take off the line": lambda losses: losses.max(),
            "no absolute values": lambda losses: (losses - line(losses)).abs().max(),
            "the largest step": lambda losses: losses.diff().max(),
            "not the other way": lambda losses: (losses - line(losses.flip(0))).max(),
            "it may be highest elsewhere": lambda losses: (losses - line(losses))[len(losses) // 2],
            "from 0 at the first loss to 1 at the last": lambda losses: max(
                loss - (1 - i / len(losses)) * losses[0] - i / len(losses) * losses[-1]
                for i, loss in enumerate(losses)
            ),
            "the mean rise": lambda losses: (losses - line(losses)).mean(),
        },
    ),
    "2.3-d": Case(
        solution=edited(lambda s: 1, lambda s: s, lambda s: -s),
        wrong={
            "adds both tasks": edited(lambda s: 1 - 2 * s, lambda s: s, lambda s: s),
            "the second network itself": edited(lambda s: 1 - s, lambda s: s, lambda s: -s),
            "belongs to both": edited(lambda s: 2 - s, lambda s: s, lambda s: -1),
            "subtract the start from each": edited(lambda s: 1, lambda s: s, lambda s: -1),
            "the scale is missing": edited(lambda s: 1, lambda s: 1, lambda s: -1),
            "swapped": edited(lambda s: 1, lambda s: -s, lambda s: s),
            "the start is missing": edited(lambda s: 0, lambda s: s, lambda s: -s),
            "the first task alone": edited(lambda s: 1 - s, lambda s: s, lambda s: 0),
            "the second task alone": edited(lambda s: 1 + s, lambda s: 0, lambda s: -s),
            "writes into a state": lambda start, first, second, scale: {
                name: value.add_(scale * (first[name] - second[name]))
                for name, value in start.items()
            },
            "return a state": lambda *arguments: arguments[0]["w"],
        },
    ),
    "2.3-e": Case(
        solution=lambda W, b, Q, c: (W @ Q, W @ c + b),
        wrong={
            "W is on the left": lambda W, b, Q, c: (Q @ W, W @ c + b),
            "which undoes the map": lambda W, b, Q, c: (W @ Q.T, W @ c + b),
            "has to take up Q": lambda W, b, Q, c: (W, W @ c + b),
            "has to take up the shift": lambda W, b, Q, c: (W @ Q, b),
            "W c, not c": lambda W, b, Q, c: (W @ Q, c + b),
            "own bias is missing": lambda W, b, Q, c: (W @ Q, W @ c),
            "after the rotation": lambda W, b, Q, c: (W @ Q, W @ Q @ c + b),
            "return two tensors": lambda W, b, Q, c: W @ Q,
            "the new bias": lambda W, b, Q, c: (W @ Q, b - W @ c),
        },
    ),
}


@pytest.mark.parametrize("seed", range(5))
def test_barrier_may_be_a_float(seed):
    assert check("2.3-c", lambda losses: float((losses - line(losses)).max()))
