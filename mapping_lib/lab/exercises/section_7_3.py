"""Checks of the exercises of section 7.3, data sets."""

from __future__ import annotations

import csv
import io
from collections.abc import Callable
from typing import Any

import torch

from mapping_lib.lab.exercises.compare import compare
from mapping_lib.lab.exercises.core import exercise


@exercise("7.3-a")
def swap_on_paper(answer: Any) -> str | None:
    """Check the share of wrong labels at which two models swap places."""
    return compare(
        answer,
        0.05,
        what="the share of wrong labels",
        tolerance=1e-3,
        hints={
            "that takes into account what each gets right of the wrongly labelled images, but not "
            "how often each gives the very same wrong label": 0.02 / 0.3,
            "add nothing: an answer that agrees with a wrong label counts as right, so it is "
            "taken off what is lost": 0.02 / 0.2,
            "that is the difference of the accuracies; divide it by the difference of what the two "
            "models lose for each wrong label": 0.02,
            "that is what the better model loses for each wrong label; the other loses some, too": (
                0.02 / 0.5
            ),
        },
    )


@exercise("7.3-b")
def decoded_runs(answer: Callable[..., Any]) -> str | None:
    """Check the mask of run lengths, also where the first pixel is 1."""
    for size, counts in (([3, 5], [2, 3, 4, 1, 5]), ([2, 3], [0, 1, 4, 1]), ([4, 2], [8])):
        height, width = size
        values = torch.arange(len(counts)) % 2
        flat = values.repeat_interleave(torch.tensor(counts))
        due = flat.reshape(width, height).T.contiguous()
        got = answer(list(size), list(counts))
        if isinstance(got, torch.Tensor):
            got = got.long()
        wrong = compare(
            got,
            due,
            what=f"the mask of {counts} on {height} × {width}",
            hints={
                "the pixels are counted down the first column, then down the second: not along "
                "the rows": flat.reshape(height, width),
                "the first number counts pixels of 0, not of 1": 1 - due,
                "that is the mask lying on its side: the size is height, width": flat.reshape(
                    width, height
                ),
            },
        )
        if wrong:
            return wrong
    return None


@exercise("7.3-c")
def boxes_and_labels(answer: Callable[..., Any]) -> str | None:
    """Check corners and labels from 0, read off annotations in COCO's form."""
    categories = [{"id": 87, "name": "scissors"}, {"id": 5, "name": "airplane"}]
    categories.insert(1, {"id": 28, "name": "umbrella"})
    annotations = [
        {"category_id": 28, "bbox": [10.0, 20.0, 30.0, 5.0], "iscrowd": 0},
        {"category_id": 5, "bbox": [0.0, 0.0, 100.0, 80.0], "iscrowd": 1},
        {"category_id": 87, "bbox": [1.0, 2.0, 3.0, 4.0], "iscrowd": 0},
        {"category_id": 5, "bbox": [7.0, 0.0, 2.0, 9.0], "iscrowd": 0},
    ]
    got = answer([dict(row) for row in annotations], [dict(row) for row in categories])
    if not isinstance(got, tuple) or len(got) != 2:
        return "a pair is due: the corners, and the labels"
    boxes = torch.tensor([row["bbox"] for row in annotations])
    corners = torch.cat([boxes[:, :2], boxes[:, :2] + boxes[:, 2:]], 1)
    kept = torch.tensor([0, 2, 3])
    wrong = compare(
        got[0],
        corners[kept],
        what="the tensor of corners",
        hints={
            "the third and fourth number are width and height, not the right and lower edge": (
                boxes[kept]
            ),
            "the box of a crowd is among them: leave out what has iscrowd 1": corners,
            "that takes the first two numbers for the middle of the box": torch.cat(
                [boxes[:, :2] - boxes[:, 2:] / 2, boxes[:, :2] + boxes[:, 2:] / 2], 1
            )[kept],
        },
    )
    if wrong:
        return wrong
    return compare(
        got[1],
        torch.tensor([1, 2, 0]),
        what="the tensor of labels",
        hints={
            "that is category_id as it stands; a network with three logits needs 0, 1, 2": (
                torch.tensor([28, 87, 5])
            ),
            "category_id less 1 leaves the gaps in": torch.tensor([27, 86, 4]),
            "these labels follow the order of the list; sort the categories by id first, since "
            "nothing says that a file's list is sorted": torch.tensor([1, 0, 2]),
        },
    )


_TSV = (
    "index\tsentence\tlabel\n"
    '0\t"No way, he said\t1\n'
    "1\tfine\t0\n"
    "2\ta 5\u2028inch screen\t1\n"
    '3\tso "good"\t0\n'
    '4\tthe end"\t1\n'
    "5\t\t0\n"
    "6\tsigned by\t\n"
)


@exercise("7.3-d")
def every_row(answer: Callable[..., Any]) -> str | None:
    """Check that a reader of tab-separated text loses no row and changes no cell."""
    due = [line.split("\t") for line in _TSV.split("\n")[1:] if line]
    got = answer(_TSV)
    if not isinstance(got, list) or not all(isinstance(row, list | tuple) for row in got):
        return "a list of rows is due, each a list of strings"
    found = [list(row) for row in got]
    if found == due:
        return None
    if found and found[0] == ["index", "sentence", "label"]:
        return "the first line names the columns: it is no row"
    lost = list(csv.reader(io.StringIO(_TSV), delimiter="\t"))[1:]
    if found == lost or len(found) < 7:
        return (
            f"{len(found)} rows where 7 are due: a double quote that opens swallows lines until "
            "the next one; no quote means anything in this format"
        )
    if len(found) > 7:
        return (
            f"{len(found)} rows where 7 are due: a row was cut where no line ends; splitlines() "
            "cuts at more characters than '\\n'"
        )
    for number, (row, right) in enumerate(zip(found, due, strict=True)):
        if row != right:
            if len(row) != len(right):
                return (
                    f"row {number} has {len(row)} cells where {len(right)} are due: an empty cell "
                    "counts, also at the end of a line"
                )
            return f"row {number} is {row}, it should be {right}"
    return None


@exercise("7.3-e")
def one_number(answer: Callable[..., Any]) -> str | None:
    """Check the mean over tasks of the means of their measures."""
    scores = {"CoLA": [0.5], "MRPC": [0.9, 0.7], "MNLI": [0.85, 0.83], "RTE": [0.6]}
    flat = [value for values in scores.values() for value in values]
    return compare(
        answer({name: list(values) for name, values in scores.items()}),
        (0.5 + 0.8 + 0.84 + 0.6) / 4,
        what="the score",
        hints={
            "that is the mean of all measures: a task with two of them counts twice": (
                sum(flat) / len(flat)
            ),
            "that takes the first measure of each task alone": (0.5 + 0.9 + 0.85 + 0.6) / 4,
            "that is the sum over the tasks": 0.5 + 0.8 + 0.84 + 0.6,
        },
    )
