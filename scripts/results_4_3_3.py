"""Measure the tables of section 4.3.3 and write them to book/results.

    OMP_NUM_THREADS=1 python scripts/results_4_3_3.py sinusoid
    OMP_NUM_THREADS=1 python scripts/results_4_3_3.py glyphs
    OMP_NUM_THREADS=1 python scripts/results_4_3_3.py classes
    OMP_NUM_THREADS=1 MAPPING_DATA=… python scripts/results_4_3_3.py omniglot

The file is written after each row; a second call goes on where the first one stopped.

sinusoid: y = A sin(x − φ) from ten points, after Finn et al. (2017): 70,000 outer steps of 25
tasks. It also writes the checkpoints that the page loads; compiling needs a C++ compiler.

glyphs: 5-way 1-shot tasks of rendered letters, 16×16. Training scripts, the validation script and
test scripts are disjoint. "equal time": every learner is trained for about the same CPU time (FIRST
iterations). "longer": for twice, four times, eight times that, until doubling gained less than a
point on the validation script. The test classes choose nothing.

classes: three of these learners at four times FIRST, with all 577 classes and with 112 drawn from
them, and at sixteen times FIRST with all.

omniglot: 5-way 1-shot and 5-shot tasks of drawn characters, 16×16, trained on four alphabets'
characters, with iterations chosen on a fifth's as above, and tested on three others'.

A seed draws first weights, training tasks and batches. All learners of a file are tested on the
same episodes.
"""

import statistics
import time
from collections.abc import Callable
from copy import deepcopy
from dataclasses import replace
from pathlib import Path
from typing import Any, NamedTuple

import torch
from recipes import run_recipe
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
from mapping_lib.lab.results import Method, Recorder, Row

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
}  # and what a trained learner can be tested as besides, below
FROZEN = "pretraining, logistic regression"
TUNED = "pretraining, fine-tuning"
ALONE = "MAML, one image at a time"
BASE = {FROZEN: "pretraining", TUNED: "pretraining", ALONE: "MAML"}
WHAT |= {
    FROZEN: "the same features, then a logistic regression",
    TUNED: "the same network, then 50 steps on the support set behind a new head",
    ALONE: "the same network; batch norm sees each query image with the support set alone",
}
DOUBLINGS, GAIN, EPISODES = 3, 0.01, 100
STOPPED = (
    f"iterations doubled until that gained less than {GAIN:g} on {{}}, "
    "{} times at most; rates by trial {} with another seed"
)
SIZE = 16


class Sets(NamedTuple):
    """Images of classes that are disjoint: to train on, to choose by, to test on."""

    train: Images
    validation: Images
    test: Images


def letters() -> Sets:
    """Rendered letters, the same for all seeds."""
    splits = ("train", "validation", "test")
    return Sets(*(rendered_glyphs(split, per_class=20, seed=0, size=SIZE) for split in splits))


def characters() -> Sets:
    """Omniglot's small sets, Balinese to choose by."""
    train, test = omniglot(size=SIZE)
    held = torch.tensor([name.startswith("Balinese") for name in train.classes])
    return Sets(of_classes(train, ~held), of_classes(train, held), test)


def of_classes(images: Images, wanted: Tensor) -> Images:
    """Give the images of some classes, which are then called 0, 1, …"""
    rows = wanted[images.labels]
    left, labels = torch.unique(images.labels[rows], return_inverse=True)
    classes = tuple(images.classes[k] for k in left.tolist())
    return replace(images, images=images.images[rows], labels=labels, classes=classes)


def accuracy(classify: Callable[[Task], Tensor], images: Images, shots: int, seed: int) -> float:
    """Mean accuracy in a hundred 5-way episodes."""
    settings = {"ways": 5, "shots": shots, "episodes": EPISODES}
    return statistics.fmean(episode_accuracies(classify, images, **settings, seed=seed))


def classifiers(method: str, learner: Learner) -> dict[str, Callable[[Task], Tensor]]:
    """Give what a trained learner can be tested as."""
    found: dict[str, Callable[[Task], Tensor]] = {method: learner.classify}
    if isinstance(learner, Pretraining):
        found |= {FROZEN: learner.by_regression, TUNED: learner.by_fine_tuning}
    if method == "MAML" and isinstance(learner, MAML):
        found[ALONE] = learner.one_at_a_time
    return found


def learn(method: str, seed: int, sets: Sets, *, shots: int, doublings: int) -> dict[str, Any]:
    """Train one learner, for longer until doubling doesn't help; test it where it was best."""
    learner = CLASSES[method](ways=5, shots=shots, seed=seed)
    curve: list[dict[str, Any]] = []
    done, used = 0, 0.0
    for doubling in range(doublings + 1):
        due = FIRST[method] * 2**doubling - done
        start = time.process_time()
        learner.train(sets.train, due)
        done, used = done + due, used + time.process_time() - start
        value = accuracy(learner.classify, sets.validation, shots, 5_000)
        before = max((each["validation"] for each in curve), default=0.0)
        curve.append(
            {
                "method": method,
                "seed": seed,
                "iterations": done,
                "seconds": round(used, 1),
                "validation": round(value, 4),
            }
        )
        if curve[-1]["validation"] > before:
            best, point = deepcopy(learner), curve[-1]
        if not due or curve[-1]["validation"] < before + GAIN:
            break
    found: dict[str, Any] = {"curve": curve}
    for name, classify in classifiers(method, best).items():
        value = accuracy(classify, sets.test, shots, 6_000)
        cost = {each: point[each] for each in ("iterations", "seconds")}
        found[name] = {"accuracy": round(value, 4), **cost}
    return found


def table(recorder: Recorder, keys: list[Row], sets: Sets, doublings: int) -> None:
    """Fill a results file with few-shot learners."""
    trained: dict[tuple[Any, ...], dict[str, Any]] = {}

    def row(key: Row) -> dict[str, float]:
        method, shots, seed = key["method"], key.get("shots", 1), key["seed"]
        base = BASE.get(method) or str(method)
        times = 0 if key.get("training") == "equal time" else doublings
        of = (base, shots, seed, times)
        if of not in trained:
            trained[of] = learn(base, seed, sets, shots=shots, doublings=times)
        if base == method and times:
            where = {"shots": shots} if "shots" in key else {}
            recorder.extend("curves", [where | point for point in trained[of]["curve"]])
        values: dict[str, float] = trained[of][method]
        return values

    recorder.measure(keys, row)


def described(names: list[str], *stopped: object) -> dict[str, Method]:
    """Give methods with what they do and how their settings were chosen."""
    chosen = STOPPED.format(*stopped)
    return {
        name: Method(WHAT[name], chosen=chosen if FIRST.get(name, 1) else "nothing to choose")
        for name in names
    }


SETTINGS = {"image side": SIZE, "episodes": EPISODES, "queries a class": 10}


def glyphs() -> None:
    """Fill meta_glyphs.json."""
    names = list(WHAT)
    recorder = Recorder(
        ROOT / "book" / "results" / "meta_glyphs.json",
        problem="letters of scripts never seen, 5-way 1-shot",
        recipe="scripts/results_4_3_3.py glyphs",
        data=["rendered-glyphs"],
        methods=described(names, "the validation script", DOUBLINGS, "there"),
        packages=["torch", "scikit-learn", "pillow"],
        settings=SETTINGS,
    )
    keys = [
        {"method": method, "training": training, "seed": seed}
        for training in ("equal time", "longer")
        for seed in range(5)
        for method in names
    ]
    table(recorder, keys, letters(), DOUBLINGS)


def drawn() -> None:
    """Fill meta_omniglot.json."""
    names = ["pixels", "no training", "prototypes", "ridge regression", "pretraining", FROZEN]
    names += ["ANIL", "MAML", ALONE]
    chosen_on = "Balinese, which is neither trained nor tested on"
    recorder = Recorder(
        ROOT / "book" / "results" / "meta_omniglot.json",
        problem="Omniglot's small sets, 5-way, alphabets never seen",
        recipe="scripts/results_4_3_3.py omniglot",
        data=["omniglot"],
        methods=described(names, chosen_on, 2, "on rendered letters"),
        packages=["torch", "scikit-learn", "pillow"],
        settings=SETTINGS,
    )
    keys = [{"method": m, "shots": k, "seed": s} for s in range(3) for k in (1, 5) for m in names]
    table(recorder, keys, characters(), 2)


def classes() -> None:
    """Fill meta_classes.json."""
    few = ("prototypes", "pretraining", "MAML", ALONE)
    recorder = Recorder(
        ROOT / "book" / "results" / "meta_classes.json",
        problem="letters of scripts never seen, 5-way 1-shot, by the number of training classes",
        recipe="scripts/results_4_3_3.py classes",
        data=["rendered-glyphs"],
        methods={
            name: Method(WHAT[name], chosen="nothing: iterations are given, as multiples")
            for name in few
        },
        packages=["torch", "pillow"],
        settings=SETTINGS,
    )
    sets = letters()
    trained: dict[tuple[Any, ...], Learner] = {}

    def row(key: Row) -> dict[str, float]:
        method, count, times, seed = (key[k] for k in ("method", "classes", "times", "seed"))
        base = BASE.get(method) or str(method)
        of = (base, count, times, seed)
        if of not in trained:
            draw = torch.Generator().manual_seed(seed)
            wanted = torch.randperm(len(sets.train.classes), generator=draw) < count
            trained[of] = CLASSES[base](ways=5, shots=1, seed=seed)
            trained[of].train(of_classes(sets.train, wanted), times * FIRST[base])
        classify = classifiers(base, trained[of])[method]
        return {"accuracy": round(accuracy(classify, sets.test, 1, 6_000), 4)}

    keys = [
        {"method": method, "classes": count, "times": times, "seed": seed}
        for count, times in ((577, 4), (112, 4), (577, 16))
        for seed in range(3)
        for method in few
    ]
    recorder.measure(keys, row)


if __name__ == "__main__":
    recipes = {"sinusoid": sinusoid, "glyphs": glyphs, "classes": classes, "omniglot": drawn}
    run_recipe(__doc__, recipes)
