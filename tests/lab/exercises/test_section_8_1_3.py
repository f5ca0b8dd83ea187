"""The exercises of section 8.1.3: their solutions and plausible wrong answers."""

import torch

from mapping_lib.lab.exercises import Case


def project(g, r):
    return g - torch.clamp(g @ r, max=0) / (r @ r) * r


def numbers(R):
    last, own = R[-1, :-1], R.diagonal()[:-1]
    return (R[:-1, :-1].amax(0) - last).mean(), (last - own).mean()


def reservoir(stream, size, generator, *, highest=lambda t: t + 1):
    memory = []
    for t, item in enumerate(stream):
        if t < size:
            memory.append(item)
            continue
        slot = int(torch.randint(highest(t), (), generator=generator))
        if slot < size:
            memory[slot] = item
    return memory


def with_numbers(first=None, second=None):
    def answer(R):
        right = numbers(R)
        return [first(R) if first else right[0], second(R) if second else right[1]]

    return answer


def always(stream, size, generator):
    memory = list(stream)[:size]
    for item in list(stream)[size:]:
        memory[int(torch.randint(size, (), generator=generator))] = item
    return memory


def lost(R):
    return R[:-1].amax(0) - R[-1]


def back(R):
    return R[-1] - R.diagonal()


CASES = {
    "8.1.3-a": Case(
        solution=[2, 5, 1, 5],
        wrong={
            "plain mean": [3, 5, 1, 5],
            "weights are exchanged": [4, 5, 1, 5],
            "factors cancel": [2.6, 5, 1, 5],
            "counts F twice": [11 / 7, 5, 1, 5],
            "where fine-tuning starts": [2, 1, 1, 5],
            "optimum of B alone": [2, 2, 1, 5],
            "the penalty forbids": [2, 5, 5, 5],
            "it goes further": [2, 5, 2, 5],
            "and so is its square": [2, 5, 1, 2],
            "no penalty at all": [2, 5, 1, 1],
            "four numbers": [2, 5, 1],
        },
    ),
    "8.1.3-b": Case(
        solution=project,
        wrong={
            "must change": lambda g, r: g,
            "not by its root": lambda g, r: g - (g @ r) / r.norm() * r,
            "squared length of the reference": lambda g, r: g - (g @ r) * r,
            "is to be taken off": lambda g, r: g + (g @ r) / (r @ r) * r,
            "length of g": lambda g, r: g - (g @ r) / (g @ g) * r,
            "the part along the reference, which": lambda g, r: (g @ r) / (r @ r) * r,
            "direction alone": lambda g, r: r / r.norm(),
            "multiple of g": lambda g, r: r - (g @ r) / (g @ g) * g,
            "there is no conflict": lambda g, r: g - (g @ r) / (r @ r) * r,
        },
    ),
    "8.1.3-c": Case(
        solution=numbers,
        wrong={
            "this has the wrong sign": with_numbers(lambda R: -lost(R)[:-1].mean()),
            "measures from the diagonal": with_numbers(lambda R: -back(R)[:-1].mean()),
            "can't be forgotten yet": with_numbers(lambda R: lost(R).mean()),
            "sum where the mean": with_numbers(lambda R: lost(R)[:-1].sum()),
            "not over a row": with_numbers(lambda R: (R[:-1].amax(1) - R[-1, :-1]).mean()),
            "T − 1, not by T": with_numbers(lambda R: lost(R)[:-1].sum() / len(R)),
            "counts negatively": with_numbers(lambda R: (R.amax(0) - R[-1])[:-1].mean()),
            "before the task was learned": with_numbers(
                lambda R: sum(R[j:-1, j].max() - R[-1, j] for j in range(3)) / 3
            ),
            "backward transfer is negative": with_numbers(None, lambda R: -back(R)[:-1].mean()),
            "from the best before": with_numbers(None, lambda R: -lost(R)[:-1].mean()),
            "the last task has no later": with_numbers(None, lambda R: back(R).mean()),
            "not their sum": with_numbers(None, lambda R: back(R)[:-1].sum()),
            "return two numbers": lambda R: numbers(R)[0],
        },
    ),
    "8.1.3-d": Case(
        solution=reservoir,
        wrong={
            "stay for ever": lambda stream, size, generator: list(stream)[:size],
            "always kept": always,
            "late items are too likely": lambda *a: reservoir(*a, highest=lambda t: t),
            "late items are too rare": lambda *a: reservoir(*a, highest=lambda t: 2 * t + 2),
            "as a list": lambda *a: torch.tensor(reservoir(*a)),
            "items where 3 are due": lambda *a: reservoir(*a)[:2],
            "stands in the memory twice": lambda stream, size, generator: [0] * size,
            "kept whole": lambda stream, size, generator: (
                reservoir(stream, size, generator) if len(stream) > size else [0]
            ),
        },
    ),
}
