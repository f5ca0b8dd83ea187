"""Measure the tables of section 4.3.3 and write them to book/results.

    OMP_NUM_THREADS=1 python scripts/results_4_3_3.py sinusoid
    OMP_NUM_THREADS=1 python scripts/results_4_3_3.py glyphs
    OMP_NUM_THREADS=1 MAPPING_DATA=… python scripts/results_4_3_3.py omniglot

The file is written after each row; a second call goes on where the first one stopped.

sinusoid: y = A sin(x − φ) from ten points, after Finn et al. (2017): 70,000 outer steps of 25
tasks. It also writes the checkpoints that the page loads; compiling needs a C++ compiler.

glyphs: 5-way 1-shot tasks of rendered letters, 16×16. Training scripts, the validation script and
test scripts are disjoint. Every learner is trained for about the same CPU time (FIRST iterations),
then for twice, four times … that, until doubling gained less than a point on the validation script.
The test classes choose nothing.

omniglot: 5-way 1-shot and 5-shot tasks of drawn characters, 16×16, trained on four alphabets' and
tested on three others'; iterations as the glyphs chose them.

A seed draws first weights, training tasks and batches. All learners of a file are tested on the
same episodes.
"""

import argparse
import statistics
import sys
import time
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from mapping_lib.lab import checkpoints
from mapping_lib.lab.data import Images, omniglot, rendered_glyphs
from mapping_lib.lab.few_shot import (
    ANIL,
    MAML,
    FirstOrder,
    Fresh,
    Learner,
    Pixels,
    Pretraining,
    Prototypes,
    Reptile,
    Ridge,
    Task,
    checkpoint_path,
    episode_accuracies,
    errors_by_step,
    meta_train,
    pretrain,
    regressor,
)
from mapping_lib.lab.results import Method, Recorder

ROOT = Path(__file__).resolve().parents[1]
ITERATIONS = 70_000
RATES = (0.003, 0.005, 0.01, 0.02)
DIVERGED = 1e6  # stands for an error that is no longer finite


def finite(errors: Tensor) -> float:
    """Give the mean, or DIVERGED."""
    return min(float(errors.mean().nan_to_num(DIVERGED)), DIVERGED)


def sinusoid() -> None:
    """Fill meta_sinusoid.json and write the checkpoints of seed 0."""
    recorder = Recorder(
        ROOT / "book" / "results" / "meta_sinusoid.json",
        problem="sinusoids from ten points, error after 0 to 10 steps",
        recipe="scripts/results_4_3_3.py sinusoid",
        methods={
            "MAML": Method("second order, one inner step in training", chosen=CHOSEN_RATE),
            "first-order MAML": Method("the same without second derivatives", chosen=CHOSEN_RATE),
            "pretraining": Method("fits the points of all tasks together", chosen=CHOSEN_RATE),
            "no training": Method("random first weights", chosen=CHOSEN_RATE),
        },
        packages=["torch"],
        settings={"iterations": ITERATIONS, "tasks": 25, "shots": 10, "inner rate": 0.01},
    )

    def row(key: dict[str, Any]) -> dict[str, float]:
        network = regressor(seed=key["seed"])
        settings = {"iterations": ITERATIONS, "seed": key["seed"]}
        if key["method"] == "pretraining":
            pretrain(network, **settings)
        elif key["method"] != "no training":
            first_order = key["method"] == "first-order MAML"
            meta_train(network, **settings, first_order=first_order, compiled=True)
        if key["seed"] == 0 and key["method"] in ("MAML", "pretraining"):
            checkpoint_path(key["method"]).parent.mkdir(exist_ok=True)
            checkpoints.save(network.state_dict(), checkpoint_path(key["method"]))
        ends = {
            rate: finite(errors_by_step(network, inner_rate=rate, tasks=2000, seed=20_000)[-1])
            for rate in RATES
        }
        rate = min(ends, key=lambda r: ends[r])
        errors, own = (errors_by_step(network, inner_rate=r) for r in (rate, 0.01))
        worse = ~(own[-1] <= own[0])
        return {
            "rate": rate,
            **{f"error_{k}": round(finite(e), 4) for k, e in enumerate(errors)},
            **{f"own_{k}": round(finite(own[k]), 4) for k in (1, 5, 10)},
            "own_median_10": round(float(own[-1].nan_to_num(DIVERGED).median()), 4),
            "own_worse": round(float(worse.float().mean()), 4),
        }

    methods = ("no training", "pretraining", "MAML", "first-order MAML")
    recorder.measure([{"method": m, "seed": s} for s in range(3) for m in methods], row)


CHOSEN_RATE = (
    f"the rate of the test's inner steps among {RATES} by the error after ten steps on 2,000 "
    "other sinusoids; columns own_… are at the rate of the training, 0.01"
)

FIRST: dict[str, int] = {
    "pixels": 0,
    "no training": 0,
    "prototypes": 400,
    "ridge regression": 400,
    "pretraining": 400,
    "ANIL": 150,
    "MAML": 300,
    "first-order MAML": 350,
    "Reptile": 150,
}
CLASSES: dict[str, type[Learner]] = {
    "pixels": Pixels,
    "no training": Fresh,
    "prototypes": Prototypes,
    "ridge regression": Ridge,
    "pretraining": Pretraining,
    "ANIL": ANIL,
    "MAML": MAML,
    "first-order MAML": FirstOrder,
    "Reptile": Reptile,
}
WHAT = {
    "pixels": "nearest mean of the images",
    "no training": "random weights, 50 steps on the support set",
    "prototypes": "prototypical network, one episode a step",
    "ridge regression": "ridge regression on learned features, one episode a step (R2-D2)",
    "pretraining": "a classifier of all training classes, then the nearest mean of its features",
    "ANIL": "MAML that adapts the head alone, three inner steps in training, ten in the test",
    "MAML": "second order, one inner step in training, ten in the test",
    "first-order MAML": "the same without second derivatives",
    "Reptile": "ten inner steps, each on ten images of a task with ten a class; ten in the test",
}
FROZEN = "pretraining, logistic regression"
TUNED = "pretraining, fine-tuning"
ALONE = "MAML, one image at a time"
BASE = {FROZEN: "pretraining", TUNED: "pretraining", ALONE: "MAML"}
WHAT_AFTER = {
    FROZEN: "the same features, then a logistic regression",
    TUNED: "the same network, then 50 steps on the support set behind a new head",
    ALONE: "the same network; batch norm sees each query image with the support set alone",
}
DOUBLINGS, GAIN, EPISODES = 3, 0.01, 100
SIZE = 16


@cache
def letters(split: str) -> Images:
    """Rendered letters of a split, the same for all seeds."""
    return rendered_glyphs(split, per_class=20, seed=0, size=SIZE)


def accuracies(
    classify: Callable[[Task], Tensor], images: Images, shots: int, seed: int
) -> list[float]:
    """Accuracy in each of a hundred 5-way episodes."""
    settings = {"ways": 5, "shots": shots, "episodes": EPISODES}
    return episode_accuracies(classify, images, **settings, seed=seed)


def classifiers(method: str, learner: Learner) -> dict[str, Callable[[Task], Tensor]]:
    """Give what a trained learner can be tested as."""
    found: dict[str, Callable[[Task], Tensor]] = {method: learner.classify}
    if isinstance(learner, Pretraining):
        found |= {FROZEN: learner.by_regression, TUNED: learner.by_fine_tuning}
    if method == "MAML" and isinstance(learner, MAML):
        found[ALONE] = learner.one_at_a_time
    return found


def glyphs() -> None:
    """Fill meta_glyphs.json."""
    stopped = (
        f"iterations doubled until that gained less than {GAIN:g} on the validation script, "
        f"{DOUBLINGS} times at most; rates by trial there with another seed"
    )
    recorder = Recorder(
        ROOT / "book" / "results" / "meta_glyphs.json",
        problem="letters of scripts never seen, 5-way 1-shot",
        recipe="scripts/results_4_3_3.py glyphs",
        data=["rendered-glyphs"],
        methods={
            name: Method(what, chosen=stopped if FIRST.get(name, 1) else "nothing to choose")
            for name, what in {**WHAT, **WHAT_AFTER}.items()
        },
        packages=["torch", "scikit-learn", "pillow"],
        settings={"image side": SIZE, "episodes": EPISODES, "queries a class": 10},
    )
    trained: dict[tuple[str, int], dict[str, Any]] = {}

    train, validation, test = (letters(split) for split in ("train", "validation", "test"))

    def run(method: str, seed: int) -> dict[str, Any]:
        """Train one learner until doubling doesn't help; test it at equal time and at its best."""
        learner = CLASSES[method](ways=5, shots=1, seed=seed)
        names = list(classifiers(method, learner))
        curve: list[dict[str, Any]] = []
        tests: list[dict[str, float]] = []
        done, used = 0, 0.0
        for doubling in range(DOUBLINGS + 1):
            due = FIRST[method] * 2**doubling - done
            start = time.process_time()
            learner.train(train, due)
            done, used = done + due, used + time.process_time() - start
            found = accuracies(learner.classify, validation, 1, 5_000)
            curve.append(
                {
                    "method": method,
                    "seed": seed,
                    "iterations": done,
                    "seconds": round(used, 1),
                    "validation": round(statistics.fmean(found), 4),
                }
            )
            tests.append(
                {
                    name: statistics.fmean(accuracies(classify, test, 1, 6_000))
                    for name, classify in classifiers(method, learner).items()
                }
            )
            values = [point["validation"] for point in curve]
            if not due or (doubling and values[-1] < max(values[:-1]) + GAIN):
                break
        best = max(range(len(curve)), key=lambda n: curve[n]["validation"])
        return {
            name: {
                "accuracy": round(tests[best][name], 4),
                "equal_time": round(tests[0][name], 4),
                "iterations": curve[best]["iterations"],
                "seconds": curve[best]["seconds"],
                "seconds_equal": curve[0]["seconds"],
            }
            for name in names
        } | {"curve": curve}

    def row(key: dict[str, Any]) -> dict[str, float]:
        method, seed = key["method"], key["seed"]
        base = BASE.get(method, method)
        if (base, seed) not in trained:
            trained[base, seed] = run(base, seed)
        found = trained[base, seed]
        if base == method:
            recorder.extend("curves", found["curve"])
        values: dict[str, float] = found[method]
        return values

    order = [*WHAT, *WHAT_AFTER]
    recorder.measure([{"method": m, "seed": s} for s in range(5) for m in order], row)


def drawn() -> None:
    """Fill meta_omniglot.json."""
    train, test = omniglot(size=SIZE)
    few = ("pixels", "no training", "prototypes", "ridge regression", "pretraining", "ANIL", "MAML")
    recorder = Recorder(
        ROOT / "book" / "results" / "meta_omniglot.json",
        problem="Omniglot's small sets, 5-way, alphabets never seen",
        recipe="scripts/results_4_3_3.py omniglot",
        data=["omniglot"],
        methods={
            name: Method(
                WHAT[name],
                chosen="rates and iterations (four times the first) as the rendered letters' "
                "validation script chose them"
                if FIRST[name]
                else "nothing to choose",
            )
            for name in few
        },
        packages=["torch", "pillow"],
        settings={"image side": SIZE, "episodes": EPISODES, "queries a class": 10},
    )

    def row(key: dict[str, Any]) -> dict[str, float]:
        learner = CLASSES[key["method"]](ways=5, shots=key["shots"], seed=key["seed"])
        learner.train(train, 4 * FIRST[key["method"]])
        found = accuracies(learner.classify, test, key["shots"], 6_000)
        return {"accuracy": round(statistics.fmean(found), 4)}

    keys = [{"method": m, "shots": k, "seed": s} for s in range(5) for k in (1, 5) for m in few]
    recorder.measure(keys, row)


def main(arguments: list[str]) -> None:
    """Run one of the recipes."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("problem", choices=["sinusoid", "glyphs", "omniglot"])
    chosen = parser.parse_args(arguments).problem
    torch.set_num_threads(1)
    {"sinusoid": sinusoid, "glyphs": glyphs, "omniglot": drawn}[chosen]()


if __name__ == "__main__":
    main(sys.argv[1:])
