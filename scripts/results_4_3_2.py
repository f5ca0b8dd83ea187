"""Measure the tables of section 4.3.2 and write them to book/results.

    OMP_NUM_THREADS=1 python scripts/results_4_3_2.py scales
    OMP_NUM_THREADS=1 python scripts/results_4_3_2.py sharing
    OMP_NUM_THREADS=1 python scripts/results_4_3_2.py front

The file is written after each row; a second call goes on where the first one stopped.

Three tasks on scikit-learn's handwritten digits: the digit, whether it is odd, and its ink (the
mean of the pixels, standardised), by one network with a head for each. A seed draws the images that
train, those that choose (ten a class) and those that test (70 a class), the first weights and the
batches.

scales: 20 labels a class, and the loss of the ink multiplied by 0.1 to 100. Each row
has the scores on the images that choose and on those that test, and the file's table "curves" has
them on the way. The plain sum at one scale is a fixed weight at another, so it is measured at more
scales than the other methods.

sharing: one to 20 labels of the digit a class, with the other tasks labelled on the same images or
on all that neither choose nor test.

front: digit and ink through a trunk with few or many features, the weight of the digit between 0
and 1, by the sum of the weighted losses and by the larger of them.
"""

from pathlib import Path
from typing import Any

import torch
from recipes import run_recipe

from mapping_lib.lab.multitasking import (
    TaskNetwork,
    TaskProblem,
    balance,
    digit_tasks,
    fixed,
    largest,
    scores,
    train,
)
from mapping_lib.lab.results import Method, Recorder

ROOT = Path(__file__).resolve().parents[1]
SEEDS = range(5)
BATCH = 64
DATA, PACKAGES = ["handwritten-digits"], ["torch", "scipy", "scikit-learn"]

STEPS = 600
CHECKPOINTS = (50, 100, 200, 400, 600)
RATES = (1e-3,)
SCALES = {"each alone": (1.0,), "sum": (0.1, 1.0, 10.0, 100.0)}
WHAT = {
    "each alone": "a network for each task, which share nothing",
    "sum": "the sum of the three losses",
    "uncertainty": "each loss over a variance that is learned, Adam's rate 0.01",
    "GradNorm": "weights learned so that the gradients have alike lengths, α = 1.5, "
    "Adam's rate 0.01",
    "PCGrad": "each gradient without what conflicts with another",
    "MGDA": "the shortest convex combination of the gradients, times the number of tasks",
    "equal lengths": "each gradient divided by its length, times their mean length",
}

LABELS = (1, 5, 20)
COMPANY: dict[str, tuple[tuple[str, ...], tuple[str, ...]]] = {
    "digit alone": (("digit",), ()),
    "+ parity and ink, same images": (("digit", "parity", "ink"), ()),
    "+ ink of all images": (("digit", "ink"), ("ink",)),
    "+ parity of all images": (("digit", "parity"), ("parity",)),
    "+ both of all images": (("digit", "parity", "ink"), ("parity", "ink")),
}

FRONTS = {"weighted sum": (4, 64), "largest term": (4,)}
WEIGHTS = (0.02, 0.1, 0.3, 0.5, 0.7, 0.9, 0.98)


def measured(network: TaskNetwork, problem: TaskProblem) -> dict[str, float]:
    """Return the scores that choose and those that test."""
    parts = {"validation": problem.validation, "test": problem.test}
    return {
        f"{part}_{task}": round(score, 4)
        for part, rows in parts.items()
        for task, score in scores(network, problem, rows).items()
    }


def scales() -> None:
    """Fill multitask_scales."""
    recorder = Recorder(
        ROOT / "book" / "results" / "multitask_scales.json",
        problem="digit, parity and ink of handwritten digits, the ink's loss in several units",
        recipe="scripts/results_4_3_2.py scales",
        data=DATA,
        methods={
            name: Method(
                what,
                chosen="nothing was tuned, Adam's rate 0.001 for all; the page chooses a fixed "
                "weight by ten further images a class and, beside it, by the test",
            )
            for name, what in WHAT.items()
        },
        packages=PACKAGES,
        settings={"steps": STEPS, "batch": BATCH, "labels a class": 20},
    )

    def row(key: dict[str, Any]) -> dict[str, float]:
        problem, _ = digit_tasks(key["seed"], ink_scale=key["scale"])
        alone = key["method"] == "each alone"
        curve: dict[int, dict[str, float]] = {step: {} for step in CHECKPOINTS}
        for part in [problem.only(name) for name in problem.tasks] if alone else [problem]:
            network = TaskNetwork(part.tasks, seed=key["seed"])

            def after(step: int, network: Any = network, part: TaskProblem = part) -> None:
                if step in curve:
                    curve[step].update(measured(network, part))

            way = balance("sum" if alone else key["method"], part, seed=key["seed"])
            train(
                network,
                part,
                way,
                steps=STEPS,
                rate=key["rate"],
                batch_size=BATCH,
                seed=key["seed"],
                after=after,
            )
        recorder.extend("curves", [{**key, "step": at, **curve[at]} for at in CHECKPOINTS])
        return curve[STEPS]

    recorder.measure(
        [
            {"method": method, "scale": scale, "rate": rate, "seed": seed}
            for rate in RATES
            for seed in SEEDS
            for method in WHAT
            for scale in SCALES.get(method, (1.0, 10.0, 100.0))
        ],
        row,
    )


def sharing() -> None:
    """Fill multitask_sharing."""
    recorder = Recorder(
        ROOT / "book" / "results" / "multitask_sharing.json",
        problem="few labels of the digit, and other tasks in company",
        recipe="scripts/results_4_3_2.py sharing",
        data=DATA,
        methods={
            name: Method(
                "the sum of the losses of " + " and ".join(names), chosen="nothing to choose"
            )
            for name, (names, _) in COMPANY.items()
        },
        packages=PACKAGES,
        settings={"steps": STEPS, "batch": BATCH, "Adam's rate": 1e-3},
    )

    def row(key: dict[str, Any]) -> dict[str, float]:
        names, everywhere = COMPANY[key["method"]]
        problem, others = digit_tasks(key["seed"], labels_per_class=key["labels_per_class"])
        problem = problem.only(*names).labelled(**dict.fromkeys(everywhere, others))
        network = TaskNetwork(problem.tasks, seed=key["seed"])
        train(network, problem, fixed(), steps=STEPS, batch_size=BATCH, seed=key["seed"])
        return {"accuracy": scores(network, problem, problem.test)["digit"]}

    recorder.measure(
        [
            {"method": method, "labels_per_class": labels, "seed": seed}
            for seed in SEEDS
            for labels in LABELS
            for method in COMPANY
        ],
        row,
    )


def front() -> None:
    """Fill multitask_front."""
    recorder = Recorder(
        ROOT / "book" / "results" / "multitask_front.json",
        problem="digit and ink through a trunk with few or many features",
        recipe="scripts/results_4_3_2.py front",
        data=DATA,
        methods={
            name: Method(
                f"{what} of w times the digit's loss and 1 - w times the ink's",
                chosen="nothing to choose: every weight is measured",
            )
            for name, what in {"weighted sum": "the sum", "largest term": "the larger"}.items()
        },
        packages=PACKAGES,
        settings={"steps": STEPS, "batch": BATCH, "Adam's rate": 3e-3, "labels a class": 90},
    )

    def row(key: dict[str, Any]) -> dict[str, float]:
        problem, _ = digit_tasks(key["seed"], labels_per_class=90)
        problem = problem.only("digit", "ink")
        network = TaskNetwork(problem.tasks, seed=key["seed"], width=key["width"])
        weights = (key["weight"], 1 - key["weight"])
        way = fixed(weights) if key["method"] == "weighted sum" else largest(weights)
        train(
            network,
            problem,
            way,
            steps=STEPS,
            rate=3e-3,
            batch_size=BATCH,
            seed=key["seed"],
        )
        rows = problem.tasks["digit"].rows
        with torch.no_grad():
            outputs = network(problem.images[rows])
        losses = {
            f"{name}_loss": round(float(task.loss(outputs[name], rows)), 4)
            for name, task in problem.tasks.items()
        }
        return losses | measured(network, problem)

    recorder.measure(
        [
            {"method": method, "width": width, "weight": weight, "seed": seed}
            for seed in range(3)
            for method, widths in FRONTS.items()
            for width in widths
            for weight in WEIGHTS
        ],
        row,
    )


if __name__ == "__main__":
    run_recipe(__doc__, {"scales": scales, "sharing": sharing, "front": front})
