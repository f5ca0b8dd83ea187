from itertools import groupby

from torchmetrics.functional.text import word_error_rate

from mapping_lib.ctc import collapse
from mapping_lib.lab.exercises import Case
from mapping_lib.lab.recognising import word_errors


def merge(path):
    return [label for label, _ in groupby(path)]


def wer(said, heard):
    return word_error_rate(heard, said).item()


def by_place(said, heard):
    words = sum(len(text.split()) for text in said)
    wrong = 0
    for a, b in zip(said, heard, strict=True):
        left, right = a.split(), b.split()
        wrong += sum(x != y for x, y in zip(left, right, strict=False))
        wrong += abs(len(left) - len(right))
    return wrong / words


def without_replacing(said, heard):
    total = 0
    for a, b in zip(said, heard, strict=True):
        left, right = a.split(), b.split()
        row = list(range(len(right) + 1))
        for i, word in enumerate(left, 1):
            new = [i]
            for j, other in enumerate(right, 1):
                new.append(min(row[j - 1] + 2 * (word != other), row[j] + 1, new[j - 1] + 1))
            row = new
        total += row[-1]
    return total / sum(len(text.split()) for text in said)


def spelt(said, heard, blank):
    return wer(*([" ".join(text.replace(" ", blank)) for text in part] for part in (said, heard)))


CASES = {
    "6.3.1-a": Case(
        solution=4 / 9,
        wrong={
            "the path a, a is missing": 1 / 3,
            "the path a, a alone": 1 / 9,
            "two paths": 1 / 9 + 1 / 6,
            "is no a": (5 / 6) ** 2,
            "stand for two labels": 5 / 9,
            "that is one path": 1 / 6,
            "the likeliest path": 1 / 4,
            "not the loss": 0.811,
            "not per cent": 44.4,
        },
    ),
    "6.3.1-b": Case(
        solution=(8, 0.4),
        wrong={
            "has to stand between two equal digits": (5, 0.4),
            "only equal neighbours": (9, 0.4),
            "no blank is needed before": (10, 0.4),
            "not by those heard": (8, 2 / 3),
            "is a share": (8, 2),
            "not of what is right": (8, 0.6),
            "not a percentage": (8, 40),
            "swapped": (0.4, 8),
            "two places between them": (7, 0.4),
            "none is needed at the ends": (11, 0.4),
            "between two equal digits; the second": (5, 2 / 3),
        },
    ),
    "6.3.1-c": Case(
        solution=collapse,
        wrong={
            "the blanks are still there": merge,
            "equal neighbours aren't merged": lambda path: [k for k in path if k],
            "merge before you drop": lambda path: merge([k for k in path if k]),
            "must return a list": lambda path: tuple(collapse(path)),
            "is due": lambda path: sorted(collapse(path)),
        },
    ),
    "6.3.1-d": Case(
        solution=wer,
        wrong={
            "not string by string": lambda said, heard: (
                sum(wer([a], [b]) for a, b in zip(said, heard, strict=True)) / len(said)
            ),
            "not by those heard": lambda said, heard: wer(heard, said) if any(heard) else 1.0,
            "don't cut it off": lambda said, heard: min(wer(said, heard), 1.0),
            "place by place": by_place,
            "not one left out and one added": without_replacing,
            "it compares characters": lambda said, heard: spelt(said, heard, "_"),
            "it compares letters": lambda said, heard: spelt(said, heard, ""),
            "not all of them joined": lambda said, heard: wer([" ".join(said)], [" ".join(heard)]),
            "share of strings": lambda said, heard: (
                sum(a != b for a, b in zip(said, heard, strict=True)) / len(said)
            ),
            "share of what is right": lambda said, heard: 1 - wer(said, heard),
            "not a percentage": lambda said, heard: 100 * wer(said, heard),
            "doesn't divide": lambda said, heard: (
                word_errors(said, heard)["wer"] * sum(len(text.split()) for text in said)
            ),
        },
    ),
}
