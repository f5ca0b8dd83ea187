import csv
import io

import torch

from mapping_lib.lab.coco_format import from_run_lengths
from mapping_lib.lab.exercises import Case


def along_rows(size, counts):
    values = torch.arange(len(counts)) % 2
    return values.repeat_interleave(torch.tensor(counts)).reshape(size)


def decoded(size, counts):
    return from_run_lengths({"size": size, "counts": counts}).long()


def read(annotations, categories, *, crowds=False, corners=True, ranks=True, sort=True):
    numbers = [row["id"] for row in categories]
    numbers = sorted(numbers) if sort else numbers
    kept = [row for row in annotations if crowds or not row["iscrowd"]]
    boxes = torch.tensor([row["bbox"] for row in kept])
    if corners:
        boxes = torch.cat([boxes[:, :2], boxes[:, :2] + boxes[:, 2:]], 1)
    labels = [row["category_id"] for row in kept]
    return boxes, torch.tensor([numbers.index(k) for k in labels] if ranks else labels)


def variant(**options):
    return lambda annotations, categories: read(annotations, categories, **options)


def quoted(text):
    return list(csv.reader(io.StringIO(text), delimiter="\t"))[1:]


CASES = {
    "7.3-a": Case(
        solution=0.05,
        wrong={
            "how often each gives": 0.02 / 0.3,
            "difference of the accuracies": 0.02,
            "the other loses some": 0.04,
            "add nothing": 0.1,
        },
    ),
    "7.3-b": Case(
        solution=decoded,
        wrong={
            "not along the rows": along_rows,
            "counts pixels of 0": lambda s, c: 1 - decoded(s, c),
            "on its side": lambda s, c: decoded(s, c).T,
        },
    ),
    "7.3-c": Case(
        solution=read,
        wrong={
            "width and height": variant(corners=False),
            "box of a crowd": variant(crowds=True),
            "as it stands": variant(ranks=False),
            "sort the categories": variant(sort=False),
            "a pair is due": lambda a, c: read(a, c)[0],
            "leaves the gaps": lambda a, c: (read(a, c)[0], read(a, c, ranks=False)[1] - 1),
        },
    ),
    "7.3-d": Case(
        solution=lambda text: [line.split("\t") for line in text.split("\n")[1:] if line],
        wrong={
            "swallows lines": quoted,
            "splitlines()": lambda text: [x.split("\t") for x in text.splitlines()[1:] if x],
            "it is no row": lambda text: [x.split("\t") for x in text.split("\n") if x],
            "an empty cell": lambda text: [
                x.strip().split("\t") for x in text.split("\n")[1:] if x
            ],
        },
    ),
    "7.3-e": Case(
        solution=lambda scores: sum(sum(v) / len(v) for v in scores.values()) / len(scores),
        wrong={
            "counts twice": lambda s: sum(map(sum, s.values())) / sum(map(len, s.values())),
            "first measure": lambda s: sum(v[0] for v in s.values()) / len(s),
            "sum over the tasks": lambda s: sum(sum(v) / len(v) for v in s.values()),
        },
    ),
}
