"""Measure the tables of section 8.1.2 and write them to book/results.

    OMP_NUM_THREADS=1 python scripts/results_8_1_2.py letters
    OMP_NUM_THREADS=1 python scripts/results_8_1_2.py path
    OMP_NUM_THREADS=1 python scripts/results_8_1_2.py photographs
    OMP_NUM_THREADS=1 MAPPING_DATA=… python scripts/results_8_1_2.py omniglot

The file is written after each row; a second call goes on where the first one stopped.

letters: rendered letters, 16×16, with and without pretraining, with and without meta-learning. All
learners have the same number of training steps in all (STEPS), or about the CPU time of so many
steps of pretraining (TIMED); what is pretrained and then meta-learned spends half of it on each.
Learners are trained on one-shot episodes of four scripts, and tested on the letters of these
scripts (drawn anew), on eight other scripts and on handwritten digits.

path: pretraining for as long as it helps, then episodes, step by step, beside more pretraining.

photographs: frozen features of EfficientNet-Lite0, pretrained and with random weights, and a scale
and a shift of them that are learned from episodes.

omniglot: the comparison of letters with drawn characters.

A seed draws first weights, training tasks and batches, and the test episodes, which are the same
for all learners of a seed.
"""

import time
from collections.abc import Callable
from copy import deepcopy
from dataclasses import replace
from functools import cache, partial
from pathlib import Path
from typing import Any, NamedTuple

import torch
from recipes import run_recipe
from torch import Tensor
from torch.nn.functional import normalize

from mapping_lib.lab.backbones import efficientnet_lite0, features
from mapping_lib.lab.data import (
    Images,
    handwritten_digits,
    omniglot,
    photographs,
    rendered_glyphs,
)
from mapping_lib.lab.few_shot import (
    ANIL,
    MAML,
    Fresh,
    Learner,
    Pixels,
    Pretraining,
    Task,
    draw_task,
)
from mapping_lib.lab.machine import seeded
from mapping_lib.lab.results import Method, Recorder, Row
from mapping_lib.lab.warm_starts import (
    Cosine,
    FeatureScale,
    ScaleShift,
    crossing_task,
    from_body,
    mean_accuracy,
)
from mapping_lib.meta import ridge_logits

ROOT = Path(__file__).resolve().parents[1]
SIZE, EPISODES, QUERIES = 16, 50, 10
SEEDS, FEW = 5, 3  # of letters; of what is dearer
STEPS = 640
TIMED = {"cosine": 560, "MAML": 416, "ANIL": 392, "scale and shift": 688}
Classify = Callable[[Task], Tensor]


class Gradients(MAML):
    """MAML with five steps in the test."""

    test_steps = 5


class Heads(ANIL):
    """ANIL with five steps in the test."""

    test_steps = 5


class Shifted(ScaleShift):
    """Scale and shift at the rate that was best."""

    rate = 1e-2


class Fixed(Cosine):
    """Episodes with batch norm's running statistics as pretraining left them."""

    statistics_fixed = True


class Untrained(Fresh):
    """Random weights, and ten steps on the support set."""

    test_steps = 10


LEARNERS: dict[str, type[Learner]] = {
    "cosine": Cosine,
    "MAML": Gradients,
    "ANIL": Heads,
    "scale and shift": Shifted,
}
RATE = (
    "the rate among 1e-3 and 3e-4 (scale and shift: 1e-2 and 3e-3) by the accuracy on Georgian "
    "letters after pretraining, with another seed"
)
NOTHING = "nothing to choose"
GIVEN = "rates as in section 4.3.3; steps are given"
WHAT = {
    "pixels": Method("nearest mean of the images", NOTHING),
    "random body, nearest mean": Method("nearest mean by cosine, random weights", NOTHING),
    "random start, fine-tuning": Method("random weights, ten steps on the support set", GIVEN),
    "pretraining, nearest mean": Method("a classifier, then the nearest mean by cosine", GIVEN),
    "pretraining, ridge": Method("the same, then ridge regression of strength 1", GIVEN),
    "pretraining, task statistics": Method(
        "nearest mean, batch norm by the task's own images, queries included", GIVEN
    ),
    "episodes, cosine": Method("a random body, trained through the nearest mean by cosine", RATE),
    "episodes, task statistics": Method("as episodes, cosine, batch norm by the task's own", RATE),
    "episodes, MAML": Method("second order, one inner step, five in the test", RATE),
    "both, cosine": Method("a pretrained body, trained on as above", RATE),
    "both, MAML": Method("MAML from a pretrained body", RATE),
    "both, ANIL": Method("the inner loop moves the head alone: three steps, five later", RATE),
    "both, scale and shift": Method("as cosine, but kernels stay as pretrained", RATE),
}
SETTINGS = {"image side": SIZE, "episodes": EPISODES, "queries a class": QUERIES, "ways": 5}


class Found(NamedTuple):
    """What classifies, and what it took."""

    classify: Classify
    iterations: int
    seconds: float


def ridge(source: Pretraining, task: Task) -> Tensor:
    """Classify by ridge regression on a pretrained network's features."""
    support, query = source.features(task.support), source.features(task.query)
    return ridge_logits(support, task.support_labels, query, regularisation=1.0)


def by_task(learner: Any, task: Task) -> Tensor:
    """Classify with batch norm's statistics from the task's own images, and keep nothing."""
    copied = deepcopy(learner)
    copied.network.train()
    with torch.no_grad():
        logits: Tensor = copied.logits(task)
    return logits


def timed(learner: Learner, images: Images, iterations: int) -> float:
    """Train, and give the CPU seconds that it took."""
    start = time.process_time()
    learner.train(images, iterations)
    return time.process_time() - start


@cache
def glyphs(split: str, seed: int) -> Images:
    """Rendered letters."""
    return rendered_glyphs(split, per_class=20, seed=seed, size=SIZE)


def learned(train: Images, seed: int, methods: list[str]) -> dict[tuple[str, str], Found]:
    """Train the learners of a seed that these methods need; by method and budget."""
    made = {"ways": 5, "shots": 1, "seed": seed}
    found: dict[tuple[str, str], Found] = {}

    def keep(method: str, classify: Classify, iterations: int = 0, seconds: float = 0.0) -> None:
        for budget in ("equal time", "equal steps"):
            found[method, budget] = Found(classify, iterations, round(seconds, 1))

    keep("pixels", Pixels(**made).classify)
    keep("random body, nearest mean", Cosine(**made).classify)
    keep("random start, fine-tuning", Untrained(**made).classify)
    half, whole, first = Pretraining(**made), Pretraining(**made), 0.0
    if any(method.startswith("both") for method in methods):
        first = timed(half, train, STEPS // 2)
    if any(method.startswith("pretraining") for method in methods):
        seconds = timed(whole, train, STEPS)
        warm = from_body(Cosine(**made), whole)
        keep("pretraining, nearest mean", warm.classify, STEPS, seconds)
        keep("pretraining, task statistics", partial(by_task, warm), STEPS, seconds)
        keep("pretraining, ridge", partial(ridge, whole), STEPS, seconds)
    for name, make in LEARNERS.items():
        for start, share in (("episodes", 1), ("both", 2)):
            method, variant = f"{start}, {name}", f"{start}, task statistics"
            if method not in methods and not (name == "cosine" and variant in methods):
                continue
            before, used = (0, 0.0) if share == 1 else (STEPS // 2, first)
            learner, done = make(**made), 0
            if share == 2:
                from_body(learner, half)
            budgets = {"equal time": TIMED[name] // share, "equal steps": STEPS // share}
            for budget, due in sorted(budgets.items(), key=lambda each: each[1]):
                used += timed(learner, train, due - done)
                done = due
                trained, spent = deepcopy(learner), (before + done, round(used, 1))
                found[method, budget] = Found(trained.classify, *spent)
                if name == "cosine":
                    found[variant, budget] = Found(partial(by_task, trained), *spent)
    return found


def table(recorder: Recorder, keys: list[Row], train: Images, tests: dict[str, Any]) -> None:
    """Fill a file with accuracies; a test is a set of images and a number of shots."""
    columns = ("method", "budget", "test", "seed")
    there = {tuple(each[c] for c in columns) for each in recorder.rows()}
    due = [key for key in keys if tuple(key[c] for c in columns) not in there]
    learners: dict[int, Any] = {}
    drawn: dict[tuple[str, int], list[Task]] = {}
    known: dict[tuple[Classify, str], tuple[float, float]] = {}

    def row(key: Row) -> dict[str, float]:
        seed = key["seed"]
        if seed not in learners:
            learners.clear()
            known.clear()
            methods = [each["method"] for each in due if each["seed"] == seed]
            learners[seed] = learned(train, seed, methods)
        tasks = drawn.get((key["test"], seed))
        if tasks is None:
            images, shots = tests[key["test"]]
            generator = torch.Generator().manual_seed(7_000 + seed)
            tasks = [
                draw_task(images, ways=5, shots=shots, queries=QUERIES, generator=generator)
                for _ in range(EPISODES)
            ]
            drawn[key["test"], seed] = tasks
        made = learners[seed][key["method"], key["budget"]]
        if (made.classify, key["test"]) not in known:  # untrained: the same at equal steps
            known[made.classify, key["test"]] = mean_accuracy(made.classify, tasks)
        mean, error = known[made.classify, key["test"]]
        return {
            "accuracy": round(mean, 4),
            "standard_error": round(error, 4),
            "iterations": made.iterations,
            "seconds": made.seconds,
        }

    recorder.measure(keys, row)


def keys_for(methods: list[str], tests: dict[str, Any], seeds: int, steps_too: bool) -> list[Row]:
    """Every test at equal time; the first at equal steps as well."""
    cells = [("equal time", test) for test in tests]
    if steps_too:
        cells.append(("equal steps", next(iter(tests))))
    return [
        {"method": method, "budget": budget, "test": test, "seed": seed}
        for seed in range(seeds)
        for method in methods
        for budget, test in cells
    ]


def letters() -> None:
    """Fill meta_transfer_letters.json."""
    recorder = Recorder(
        ROOT / "book" / "results" / "meta_transfer_letters.json",
        problem="pretraining, meta-learning, both: letters, 5-way",
        recipe="scripts/results_8_1_2.py letters",
        data=["rendered-glyphs", "handwritten-digits"],
        methods=WHAT,
        packages=["torch", "pillow"],
        settings=SETTINGS | {"steps": STEPS, "steps at equal time": TIMED},
    )
    new = glyphs("test", 0)
    tests = {
        "new scripts": (new, 1),
        "new scripts, five shots": (new, 5),
        "same scripts": (glyphs("train", 1), 1),
        "digits": (handwritten_digits(size=SIZE), 1),
    }
    table(recorder, keys_for(list(WHAT), tests, SEEDS, True), glyphs("train", 0), tests)


def of_classes(images: Images, wanted: Tensor) -> Images:
    """Give the images of some classes, which are then called 0, 1, …"""
    rows = wanted[images.labels]
    left, labels = torch.unique(images.labels[rows], return_inverse=True)
    classes = tuple(images.classes[k] for k in left.tolist())
    return replace(images, images=images.images[rows], labels=labels, classes=classes)


def drawn() -> None:
    """Fill meta_transfer_omniglot.json."""
    cheap = [name for name in WHAT if "MAML" not in name and "ANIL" not in name]
    left_out = ("start", "statistics")
    methods = {n: WHAT[n] for n in cheap if not any(word in n for word in left_out)}
    recorder = Recorder(
        ROOT / "book" / "results" / "meta_transfer_omniglot.json",
        problem="pretraining, meta-learning, both: Omniglot's small sets, 5-way",
        recipe="scripts/results_8_1_2.py omniglot",
        data=["omniglot", "rendered-glyphs"],
        methods=methods,
        packages=["torch", "pillow"],
        settings=SETTINGS | {"steps": STEPS, "steps at equal time": TIMED},
    )
    train, test = omniglot(size=SIZE)
    held = torch.tensor([name.startswith("Balinese") for name in train.classes])
    tests = {
        "new alphabets": (test, 1),
        "new alphabets, five shots": (test, 5),
        "rendered letters": (glyphs("test", 0), 1),
    }
    keys = keys_for(list(methods), tests, FEW, False)
    table(recorder, keys, of_classes(train, ~held), tests)


LONG, EXTRA = 1600, (0, 100, 400)
PATH_RATES = {"episodes, small rate": 1e-4, "statistics alone": 0.0}


def path() -> None:
    """Fill meta_transfer_path.json."""
    methods = {
        "more pretraining": Method("batches of all classes, rate 1e-3", GIVEN),
        "episodes": Method("as both, cosine, rate 1e-3", GIVEN),
        "episodes, small rate": Method("the same at 1e-4", GIVEN),
        "episodes, fixed statistics": Method("as episodes, batch norm in eval mode", GIVEN),
        "statistics alone": Method("as episodes at rate 0: batch norm alone sees them", GIVEN),
    }
    recorder = Recorder(
        ROOT / "book" / "results" / "meta_transfer_path.json",
        problem=f"after {LONG} steps of pretraining: episodes or more of it, letters, 5-way 1-shot",
        recipe="scripts/results_8_1_2.py path",
        data=["rendered-glyphs", "handwritten-digits"],
        methods=methods,
        packages=["torch", "pillow"],
        settings=SETTINGS,
    )
    train = glyphs("train", 0)
    tests = {
        "same_scripts": glyphs("train", 1),
        "Georgian": glyphs("validation", 0),
        "new_scripts": glyphs("test", 0),
        "digits": handwritten_digits(size=SIZE),
    }
    state: dict[Any, Any] = {}

    def start(method: str, seed: int) -> tuple[Learner, Pretraining]:
        if seed not in state:
            state.clear()
            state[seed] = Pretraining(ways=5, shots=1, seed=seed)
            state[seed].train(train, LONG)
        pretrained = state[seed]
        if method == "more pretraining":
            return pretrained, pretrained
        make = Fixed if method == "episodes, fixed statistics" else Cosine
        learner = make(ways=5, shots=1, seed=seed)
        for group in learner.optimiser.param_groups:
            group["lr"] = PATH_RATES.get(method, group["lr"])
        return from_body(learner, pretrained), pretrained

    def row(key: Row) -> dict[str, float]:
        method, seed, steps = key["method"], key["seed"], key["steps"]
        if (method, seed) not in state:
            state[method, seed] = [*start(method, seed), 0]
        learner, pretrained, done = state[method, seed]
        learner.train(train, steps - done)
        state[method, seed][2] = steps
        if not steps and ("start", seed) in state:
            return dict(state["start", seed])
        tested = learner
        if method == "more pretraining":
            tested = from_body(Cosine(ways=5, shots=1, seed=seed), pretrained)
        found = {}
        for name, images in tests.items():
            generator = torch.Generator().manual_seed(8_000 + seed)
            draw = partial(draw_task, images, ways=5, shots=1, queries=QUERIES)
            tasks = [draw(generator=generator) for _ in range(EPISODES)]
            found[name] = round(mean_accuracy(tested.classify, tasks)[0], 4)
        if not steps:
            state["start", seed] = found
        return found

    order = [*methods][1:] + [*methods][:1]  # more pretraining moves the start of the others
    recorder.measure(
        [{"method": m, "steps": n, "seed": s} for s in range(FEW) for m in order for n in EXTRA],
        row,
    )


def pictures() -> None:
    """Fill meta_transfer_photographs.json."""
    chosen = "rate among 1e-3, 1e-2 and steps among 0, 50, 200 by five other photographs, per seed"
    methods = {
        "random body, nearest mean": Method("features of random weights, cosine", NOTHING),
        "random body, episodes": Method("their scale and shift, learned from episodes", chosen),
        "pretraining, nearest mean": Method("features of ImageNet's network, cosine", NOTHING),
        "pretraining, ridge": Method("ridge regression of strength 1 on them", NOTHING),
        "both, scale and shift": Method("their scale and shift, learned from episodes", chosen),
    }
    recorder = Recorder(
        ROOT / "book" / "results" / "meta_transfer_photographs.json",
        problem="frozen features of photographs, with and without meta-learning, 5-way",
        recipe="scripts/results_8_1_2.py photographs",
        data=["photographs", "rendered-glyphs"],
        weights=["efficientnet-lite0"],
        methods=methods,
        packages=["torch", "timm", "pillow"],
        settings={"image side": 96, "episodes": 100, "queries a class": QUERIES, "ways": 5},
    )
    left, right = photographs(20, seed=0, size=96)
    glyph = rendered_glyphs("test", per_class=15, seed=0, size=96)
    with seeded(0):
        glyph = of_classes(glyph, torch.rand(len(glyph.classes)) < 0.2)
    shown = [left.images, right.images, glyph.images.repeat(1, 3, 1, 1)]

    @cache
    def coded(pretrained: bool) -> list[Tensor]:
        with seeded(0):
            network = efficientnet_lite0(pretrained=pretrained).eval()
        return [features(network, each) for each in shown]

    def episodes(pretrained: bool, classes: Tensor, shots: int, seed: int) -> list[Task]:
        generator = torch.Generator().manual_seed(seed)
        known, new, _ = coded(pretrained)
        settings: dict[str, Any] = {"ways": 5, "shots": shots, "queries": QUERIES}
        pair = (known, left.labels), (new, right.labels)
        return [
            crossing_task(*pair, classes=classes, **settings, generator=generator)
            for _ in range(100)
        ]

    def abroad(pretrained: bool, shots: int, seed: int) -> list[Task]:
        generator = torch.Generator().manual_seed(seed)
        letters: Any = LetterFeatures(coded(pretrained)[2], glyph.labels)
        return [
            draw_task(letters, ways=5, shots=shots, queries=QUERIES, generator=generator)
            for _ in range(100)
        ]

    @cache
    def learner(pretrained: bool, seed: int) -> tuple[FeatureScale, float, int]:
        known, new, _ = coded(pretrained)
        base, held, _ = split(seed)
        trials = []
        for rate in (1e-3, 1e-2):
            made = FeatureScale(width=1280, ways=5, shots=1, seed=seed)
            for group in made.optimiser.param_groups:
                group["lr"] = rate
            for more, total in ((0, 0), (50, 50), (150, 200)):
                made.practise(
                    lambda g: crossing_task(
                        (known, left.labels),
                        (new, right.labels),
                        classes=base,
                        ways=5,
                        shots=1,
                        queries=QUERIES,
                        generator=g,
                    ),
                    more,
                )
                value = mean_accuracy(made.classify, episodes(pretrained, held, 1, 8_500 + seed))
                trials.append((value[0], -total, rate, made.network.state_dict()))
                trials[-1] = (*trials[-1][:3], {k: v.clone() for k, v in trials[-1][3].items()})
        best = max(trials, key=lambda each: each[:2])
        made.network.load_state_dict(best[3])
        return made, best[2], -best[1]

    def row(key: Row) -> dict[str, float]:
        method, test, shots, seed = (key[k] for k in ("method", "test", "shots", "seed"))
        pretrained = not method.startswith("random")
        _, _, new = split(seed)
        if test == "letters":
            tasks = abroad(pretrained, shots, 9_000 + seed)
        else:
            tasks = episodes(pretrained, new, shots, 9_000 + seed)
        rate, steps = 0.0, 0
        classify: Classify = FeatureScale(width=1280, ways=5, shots=1, seed=seed).classify
        if method in ("random body, episodes", "both, scale and shift"):
            made, rate, steps = learner(pretrained, seed)
            classify = made.classify
        elif method == "pretraining, ridge":
            classify = direct_ridge
        mean, error = mean_accuracy(classify, tasks)
        return {
            "accuracy": round(mean, 4),
            "standard_error": round(error, 4),
            "rate": rate,
            "steps": steps,
        }

    keys = [
        {"method": m, "test": t, "shots": k, "seed": s}
        for s in range(5)
        for m in methods
        for t in ("photographs", "letters")
        for k in (1, 5)
    ]
    recorder.measure(keys, row)


class LetterFeatures(NamedTuple):
    """Features and labels, to draw episodes from."""

    images: Tensor
    labels: Tensor


def direct_ridge(task: Task) -> Tensor:
    """Classify features by ridge regression."""
    support, query = normalize(task.support), normalize(task.query)
    return ridge_logits(support, task.support_labels, query, regularisation=1.0)


def split(seed: int) -> tuple[Tensor, Tensor, Tensor]:
    """Ten photographs to learn from, five to choose by, five to test on."""
    order = torch.randperm(20, generator=torch.Generator().manual_seed(seed))
    return order[:10], order[10:15], order[15:]


if __name__ == "__main__":
    run_recipe(
        __doc__,
        {"letters": letters, "path": path, "photographs": pictures, "omniglot": drawn},
    )
