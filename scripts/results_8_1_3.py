"""Measure the tables of section 8.1.3 and write them to book/results.

    OMP_NUM_THREADS=1 python scripts/results_8_1_3.py digits
    OMP_NUM_THREADS=1 python scripts/results_8_1_3.py orders
    OMP_NUM_THREADS=1 python scripts/results_8_1_3.py scripts
    OMP_NUM_THREADS=1 python scripts/results_8_1_3.py omniglot

The file is written after each row; a second call goes on where the first one stopped.

digits: scikit-learn's handwritten digits, 0 to 4 and then 5 to 9, or five tasks of two, with the
task known in the test or not. EWC and LwF at several strengths. A seed draws the images, the first
weights, the batches and the memory. Column "validation" is what a strength may be chosen by: mean
accuracy on the validation images of the first two tasks after the second. With two tasks in all
these would be the tasks that count; there the first task is cut into two (digits 0 to 2, then 3
and 4) and a network of its own learns these.

orders: five tasks of two in several orders, with several seeds each.

scripts, omniglot: the letters of one script or alphabet after another, the script known in the
test, few images a letter to train on.
"""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import torch
from recipes import run_recipe

from mapping_lib.continual import average_accuracy, backward_transfer, forgetting, forward_transfer
from mapping_lib.lab.data import Images, handwritten_digits, omniglot, rendered_glyphs
from mapping_lib.lab.lifelong import Course, Task, learn, split_tasks
from mapping_lib.lab.results import Method, Recorder, Row

ROOT = Path(__file__).resolve().parents[1]
SEEDS = range(3)
EWC, LWF = (10.0, 100.0, 1e3, 1e4), (1.0, 3.0)
SPLITS = {
    "two": [[0, 1, 2, 3, 4], [5, 6, 7, 8, 9]],
    "five": [[0, 1], [2, 3], [4, 5], [6, 7], [8, 9]],
}
INSIDE = [[0, 1, 2], [3, 4]]
SIZES = (110, 20, 40)
SLOTS = 100  # of the reservoir: ten for each of ten classes
WHAT = {
    "fine-tuning": "goes on with each task's rows alone",
    "frozen body": "the first task's body, a new head for each task",
    "EWC": "a penalty on changes by the diagonal of the Fisher matrix, exact over the classes",
    "LwF": "keeps the old heads' answers to the new rows, temperature 2",
    "A-GEM": "gradients corrected by a memory of ten rows a class",
    "replay": "half of each batch from a memory of ten rows a class",
    "replay, reservoir": "half of each batch from a reservoir of 100 rows",
    "joint training": "all rows so far together, after each task anew",
    "from scratch": "a new network for each task, which knows no other",
}
CHOSEN = {
    "EWC": "every strength is measured; the page takes the best by column validation and, beside "
    "it, the oracle's by the test",
}
CHOSEN["LwF"] = CHOSEN["EWC"]
SETTINGS = {"epochs": 12, "batch": 32, "Adam's rate": 0.001, "width": 100}


def methods(names: Sequence[str], chosen: dict[str, str] | None = None) -> dict[str, Method]:
    """Give methods with how their settings were chosen."""
    chosen = CHOSEN if chosen is None else chosen
    return {
        name: Method(WHAT[name], chosen=chosen.get(name, "nothing was tuned")) for name in names
    }


def numbers(course: Course) -> dict[str, float]:
    """Give what is read off the accuracy matrix."""
    matrix = course.accuracies
    found = {
        "accuracy": average_accuracy(matrix),
        "forgetting": forgetting(matrix),
        "backward": backward_transfer(matrix),
        "forward": forward_transfer(matrix, course.baseline.to(matrix.dtype)),
        "learning": matrix.diagonal()[1:].mean(),
        "first": matrix[-1, 0],
    }
    return {name: round(float(value), 4) for name, value in found.items()}


def strengths(method: str) -> tuple[float, ...]:
    """Give the strengths that a method is measured at."""
    return {"EWC": EWC, "LwF": LWF}.get(method, (0.0,))


def with_matrix(recorder: Recorder, key: Row, course: Course) -> dict[str, float]:
    """Store the matrix beside the numbers."""
    matrix = [[round(value, 4) for value in row] for row in course.accuracies.tolist()]
    recorder.extend("matrices", [key | {"matrix": matrix}])
    return numbers(course)


def digits() -> None:
    """Fill lifelong_digits.json."""
    recorder = Recorder(
        ROOT / "book" / "results" / "lifelong_digits.json",
        problem="handwritten digits, two tasks of five classes or five of two",
        recipe="scripts/results_8_1_3.py digits",
        data=["handwritten-digits"],
        methods=methods(list(WHAT)),
        packages=["torch", "scikit-learn"],
        settings=SETTINGS | {"images a class to train, choose, test": list(SIZES)},
    )
    images = handwritten_digits(size=8)

    def row(key: dict[str, Any]) -> dict[str, float]:
        method, seed = key["method"], key["seed"]
        settings = {"seed": seed, "strength": key["strength"]}
        settings["memory"] = SLOTS if method == "replay, reservoir" else 10
        tasks = split_tasks(images, SPLITS[key["split"]], sizes=SIZES, seed=seed)
        course = learn(tasks, method, key["scenario"], **settings)
        value = course.validation
        if key["split"] == "two":
            value = 0.0
            if len(strengths(method)) > 1:
                inside = split_tasks(images, INSIDE, sizes=SIZES, seed=seed)
                value = learn(inside, method, key["scenario"], **settings).validation
        return with_matrix(recorder, key, course) | {"validation": round(value, 4)}

    keys = [
        {"method": m, "split": split, "scenario": scenario, "strength": s, "seed": seed}
        for seed in SEEDS
        for split in SPLITS
        for scenario in ("task", "class")
        for m in WHAT
        for s in strengths(m)
    ]
    recorder.measure(keys, row)


def orders() -> None:
    """Fill lifelong_orders.json."""
    fixed = {"LwF": "strength 1, the paper's"}
    recorder = Recorder(
        ROOT / "book" / "results" / "lifelong_orders.json",
        problem="handwritten digits, five tasks of two in four orders",
        recipe="scripts/results_8_1_3.py orders",
        data=["handwritten-digits"],
        methods=methods(["fine-tuning", "LwF", "replay"], fixed),
        packages=["torch", "scikit-learn"],
        settings=SETTINGS | {"images a class to train, choose, test": list(SIZES)},
    )
    images = handwritten_digits(size=8)

    def row(key: dict[str, Any]) -> dict[str, float]:
        draw = torch.Generator().manual_seed(key["order"])
        groups = [SPLITS["five"][k] for k in torch.randperm(5, generator=draw).tolist()]
        tasks = split_tasks(images, groups, sizes=SIZES, seed=key["seed"])
        course = learn(tasks, key["method"], key["scenario"], seed=key["seed"], strength=1.0)
        return numbers(course)

    keys = [
        {"method": m, "scenario": scenario, "order": order, "seed": seed}
        for m, scenario in (("fine-tuning", "task"), ("LwF", "task"), ("replay", "class"))
        for order in range(4)
        for seed in range(3)
    ]
    recorder.measure(keys, row)


ROW = [name for name in WHAT if "reservoir" not in name]
LETTERS = 20


def alphabets(
    images: Images, names: Sequence[str], seed: int, sizes: tuple[int, int, int]
) -> list[Task]:
    """Make a task of twenty letters of each script, drawn by the seed."""
    draw = torch.Generator().manual_seed(seed)
    kept: list[int] = []
    groups = []
    for name in names:
        own = [k for k, c in enumerate(images.classes) if c.startswith(name)]
        order = torch.randperm(len(own), generator=draw)[:LETTERS].tolist()
        groups.append(list(range(len(kept), len(kept) + len(order))))
        kept += [own[k] for k in order]
    place = torch.full((len(images.classes),), -1)
    place[kept] = torch.arange(len(kept))
    rows = place[images.labels] >= 0
    chosen = Images(
        images.images[rows],
        place[images.labels[rows]],
        tuple(images.classes[k] for k in kept),
        entry=images.entry,
        split=images.split,
    )
    return split_tasks(chosen, groups, sizes=sizes, seed=seed, names=names)


def glyphs() -> Images:
    """Give the letters of all scripts, the same for all seeds."""
    parts = [
        rendered_glyphs(split, per_class=16, seed=0, size=16)
        for split in ("train", "validation", "test")
    ]
    shifts = [0, len(parts[0].classes), len(parts[0].classes) + len(parts[1].classes)]
    return Images(
        torch.cat([part.images for part in parts]),
        torch.cat([part.labels + shift for part, shift in zip(parts, shifts, strict=True)]),
        tuple(name for part in parts for name in part.classes),
        entry="rendered-glyphs",
        split="all",
    )


def sequence(
    file: str, problem: str, entry: str, names: Sequence[str], read: Callable[[], Images]
) -> None:
    """Fill a file with a sequence of alphabets."""
    sizes = (4, 2, 10)
    recorder = Recorder(
        ROOT / "book" / "results" / f"lifelong_{file}.json",
        problem=problem,
        recipe=f"scripts/results_8_1_3.py {file}",
        data=[entry],
        methods=methods(ROW),
        packages=["torch", "pillow"],
        settings=SETTINGS
        | {"epochs": 40, "letters": LETTERS, "images a letter": list(sizes), "order": list(names)},
    )
    images = read()

    def row(key: dict[str, Any]) -> dict[str, float]:
        draw = torch.Generator().manual_seed(100 + key["seed"])
        order = [names[k] for k in torch.randperm(len(names), generator=draw).tolist()]
        tasks = alphabets(images, order, key["seed"], sizes)
        settings = {"seed": key["seed"], "strength": key["strength"], "memory": 2, "epochs": 40}
        course = learn(tasks, key["method"], "task", **settings)
        return with_matrix(recorder, key, course) | {"validation": round(course.validation, 4)}

    keys = [
        {"method": m, "strength": s, "seed": seed}
        for seed in SEEDS
        for m in ROW
        for s in strengths(m)
    ]
    recorder.measure(keys, row)


def rendered() -> None:
    """Fill lifelong_scripts.json."""
    sequence(
        "scripts",
        "rendered letters of six scripts one after another, twenty letters each",
        "rendered-glyphs",
        ["Greek", "Cyrillic", "Canadian", "Georgian", "Armenian", "Tifinagh"],
        glyphs,
    )


def drawn() -> None:
    """Fill lifelong_omniglot.json."""
    sequence(
        "omniglot",
        "Omniglot's first small set: five alphabets one after another, twenty characters each",
        "omniglot",
        ["Balinese", "Early", "Greek", "Korean", "Latin"],
        lambda: omniglot(size=16)[0],
    )


if __name__ == "__main__":
    run_recipe(
        __doc__, {"digits": digits, "orders": orders, "scripts": rendered, "omniglot": drawn}
    )
