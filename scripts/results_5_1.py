"""Measure the tables of section 5.1 and write them to book/results.

    OMP_NUM_THREADS=1 python scripts/results_5_1.py photographs
    OMP_NUM_THREADS=1 MAPPING_DATA=… python scripts/results_5_1.py ants-bees

The file is written after each row; a second call goes on where the first one stopped.

photographs: twenty pictures, a patch's class is the picture it was cut from (left halves to train,
right halves to test, 96 px, grey), with 1, 5 and 20 labels a class. A seed draws the training
patches, the new layers and the order. ants-bees: 244 pictures to train, 153 to test, 224 px; a seed
draws the new layers and the order, and four of the methods are measured.

Each method has one number to choose. A few are tried with three further seeds, for each number of
labels anew, on other patches of the left halves (photographs) or on a fifth of the training
pictures, held out (ants and bees). No test picture is used. At equal accuracy the gentler choice
wins: fewer epochs, a smaller rate. The small network takes minutes to train on the ants and bees:
there it has the rate that won on the photographs with every number of labels.
"""

import time
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import cache, partial
from pathlib import Path
from typing import Any

import numpy as np
from recipes import run_recipe

from mapping_lib.lab import keras_models
from mapping_lib.lab.data import Images, hymenoptera, photographs
from mapping_lib.lab.keras_models import keras
from mapping_lib.lab.results import Method, Recorder

FOLDER = Path(__file__).resolve().parents[1] / "book" / "results"
SEEDS, LABELS = range(5), (1, 5, 20)
TUNING_SEEDS = range(1000, 1003)
BATCH, SMALL_BATCH, SMALL_STEPS, EPOCHS = 32, 16, 400, 10

EXTRACTOR = keras_models.extractor("bundled")
LOWER, UPPER = keras_models.cut(EXTRACTOR)
IMAGENET = UPPER.get_weights()


@dataclass
class Part:
    """Images and labels, and what the frozen extractor makes of them, computed once."""

    images: np.ndarray
    labels: np.ndarray
    between: np.ndarray  # before the last block
    maps: np.ndarray  # the last feature map

    def rows(self, indices: np.ndarray) -> "Part":
        """Return some of the examples."""
        return Part(*(a[indices] for a in (self.images, self.labels, self.between, self.maps)))


@dataclass
class Problem:
    """What to train on, what to test on, and the CPU seconds of the training features."""

    train: Part
    test: Part
    lower_seconds: float = 0.0
    upper_seconds: float = 0.0


def part(images: Images) -> tuple[Part, float, float]:
    """Compute the features, and the CPU seconds of the lower and the upper part of the network."""
    UPPER.set_weights(IMAGENET)
    pixels, labels = keras_models.arrays(images)
    start = time.process_time()
    between = LOWER.predict(pixels, verbose=0)
    half = time.process_time()
    maps = UPPER.predict(between, verbose=0)
    return Part(pixels, labels, between, maps), half - start, time.process_time() - half


# Each method takes (problem, seed, its number, the recipe's epochs) and returns the test accuracy
# and CPU seconds. The seed is set before.


def fit(model: Any, inputs: np.ndarray, train: Part, *, rate: float = 0.001, **options: Any) -> Any:
    """Compile and fit as the recipe does: Adam, cross-entropy."""
    model.compile(keras.optimizers.Adam(rate), "categorical_crossentropy", metrics=["accuracy"])
    model.fit(inputs, train.labels, verbose=0, **options)
    return model


def accuracy(model: Any, inputs: np.ndarray, test: Part) -> float:
    """Share of the test set whose most probable class is the label's."""
    return float((model.predict(inputs, verbose=0).argmax(1) == test.labels.argmax(1)).mean())


def from_scratch(problem: Problem, rate: float, epochs: int) -> tuple[float, float]:
    """A small network, each image standardised, 400 steps of 16 images."""
    train = problem.train
    passes = -(-SMALL_STEPS // -(-len(train.labels) // SMALL_BATCH))
    start = time.process_time()
    model = keras_models.small_cnn(train.labels.shape[1])
    fit(model, train.images, train, rate=rate, epochs=passes, batch_size=SMALL_BATCH)
    seconds = time.process_time() - start
    return accuracy(model, problem.test.images, problem.test), seconds


def frozen(problem: Problem, epochs: int, hidden: int | None) -> tuple[float, float]:
    """Train a top on the frozen features."""
    train = problem.train
    start = time.process_time()
    model = keras_models.top(train.labels.shape[1], hidden=hidden)
    fit(model, train.maps, train, epochs=epochs, batch_size=BATCH)
    seconds = time.process_time() - start
    features = problem.lower_seconds + problem.upper_seconds
    return accuracy(model, problem.test.maps, problem.test), features + seconds


def frozen_recipe(problem: Problem, number: float, epochs: int) -> tuple[float, float]:
    """Frozen features; pooling, Dense(1024, relu) and softmax trained with Adam, rate 0.001."""
    return frozen(problem, int(number), 1024)


def frozen_softmax(problem: Problem, number: float, epochs: int) -> tuple[float, float]:
    """Frozen features; pooling and softmax alone, trained with Adam, rate 0.001."""
    return frozen(problem, int(number), None)


def last_block(
    problem: Problem, rate: float, first: int, *, statistics_fixed: bool = True
) -> tuple[float, float]:
    """Train a top for some epochs, then the last block with it."""
    train = problem.train
    UPPER.set_weights(IMAGENET)
    start = time.process_time()
    top = keras_models.top(train.labels.shape[1])
    seconds = problem.lower_seconds
    if first:
        fit(top, train.maps, train, epochs=first, batch_size=BATCH)
        seconds += problem.upper_seconds
    keras_models.unfreeze(UPPER, statistics_fixed=statistics_fixed)
    model = keras.Sequential([UPPER, top])
    fit(model, train.between, train, rate=rate, epochs=EPOCHS, batch_size=BATCH)
    seconds += time.process_time() - start
    return accuracy(model, problem.test.between, problem.test), seconds


def second_stage(problem: Problem, rate: float, epochs: int) -> tuple[float, float]:
    """The frozen recipe; then 10 epochs of Adam on the last block and the top, batch norm fixed."""
    return last_block(problem, rate, epochs)


def second_stage_moving(problem: Problem, rate: float, epochs: int) -> tuple[float, float]:
    """The same with batch norm trained as well, so that its statistics follow the batches."""
    return last_block(problem, rate, epochs, statistics_fixed=False)


def at_once(problem: Problem, rate: float, epochs: int) -> tuple[float, float]:
    """The last block and a new top together, 10 epochs of Adam, without a first stage."""
    return last_block(problem, rate, 0)


SCRATCH, RECIPE, SECOND = "small CNN from scratch", "frozen, recipe", "frozen, then last block"
MOVING, AT_ONCE = f"{SECOND}, batch norm moving", "last block and top at once"
FIRST_STAGE = (SECOND, MOVING)
METHODS: dict[str, Callable[[Problem, float, int], tuple[float, float]]] = {
    SCRATCH: from_scratch,
    RECIPE: frozen_recipe,
    "frozen, softmax alone": frozen_softmax,
    SECOND: second_stage,
    MOVING: second_stage_moving,
    AT_ONCE: at_once,
}
EPOCH_CHOICES, RATE_CHOICES = (10, 30, 100), (0.00001, 0.0001, 0.001)
CHOICES: dict[str, tuple[float, ...]] = {
    SCRATCH: (0.001, 0.003, 0.01),
    RECIPE: EPOCH_CHOICES,
    "frozen, softmax alone": EPOCH_CHOICES,
    SECOND: RATE_CHOICES,
    AT_ONCE: RATE_CHOICES,
}


@dataclass
class Study:
    """A results file, what its keys are drawn from, and what their numbers are chosen on."""

    recorder: Recorder
    draw: Callable[..., Problem]
    tuning: Callable[..., Problem]
    given: dict[str, float] = field(default_factory=dict)  # numbers that aren't chosen here

    def number(self, key: dict[str, Any]) -> float:
        """Look up a method's number, or choose and store it."""
        name = SECOND if key["method"] == MOVING else key["method"]  # they differ in one thing
        if name in self.given:
            return self.given[name]
        columns = {n: value for n, value in key.items() if n not in ("method", "seed")}
        where = {"method": name, **columns}
        for row in self.recorder.rows("chosen"):
            if where.items() <= row.items():
                return float(row["number"])
        epochs, tried = self.first_stage(where), {}
        for number in CHOICES[name]:
            reached = []
            for seed in TUNING_SEEDS:
                problem = self.tuning(seed=seed, **columns)
                keras.utils.set_random_seed(seed)
                reached.append(METHODS[name](problem, number, epochs)[0])
            tried[number] = round(sum(reached) / len(reached), 4)
        best = max(tried, key=lambda number: (tried[number], -number))
        row = where | {"number": best, "validation": {f"{n:g}": a for n, a in tried.items()}}
        self.recorder.extend("chosen", [row])
        return best

    def first_stage(self, key: dict[str, Any]) -> int:
        """Return the epochs of a first stage, which are those of the frozen recipe."""
        if key["method"] not in FIRST_STAGE:
            return 0
        return int(self.number(key | {"method": RECIPE}))

    def row(self, key: dict[str, Any]) -> dict[str, float]:
        """Measure a row."""
        number, epochs = self.number(key), self.first_stage(key)
        problem = self.draw(**{name: value for name, value in key.items() if name != "method"})
        keras.utils.set_random_seed(key["seed"])
        reached, seconds = METHODS[key["method"]](problem, number, epochs)
        return {"accuracy": round(reached, 4), "seconds": seconds}


def recorder_for(
    path: Path, command: str, problem: str, data: str, methods: list[str], chosen: dict[str, str]
) -> Recorder:
    """Open a results file; `chosen` says how numbers were chosen, those of "" and exceptions."""
    how = {
        name: f"{'its rate' if c[0] < 1 else 'its epochs'}, of {', '.join(f'{n:g}' for n in c)}: "
        f"{chosen['']} (the table 'chosen' has the accuracies)"
        for name, c in CHOICES.items()
    }
    how |= {MOVING: f"nothing: the rate of {SECOND!r}"} | chosen
    return Recorder(
        path,
        problem=problem,
        recipe=f"scripts/results_5_1.py {command}",
        data=[data],
        weights=["efficientnet-lite0"],
        methods={
            name: Method(" ".join((METHODS[name].__doc__ or "").split()), chosen=how[name])
            for name in methods
        },
        packages=["keras", "tensorflow", "torch", "timm", "numpy", "pillow"],
        settings={
            "batch": BATCH,
            "epochs of the second stage": EPOCHS,
            "small CNN": {"steps": SMALL_STEPS, "batch": SMALL_BATCH},
            "seconds": "CPU seconds to train, the frozen features of the training images included",
        },
    )


def measure_photographs(path: Path) -> None:
    """Fill book/results/keras_photographs.json."""

    @cache
    def test() -> Part:
        return part(photographs(1, seed=0)[1])[0]

    @cache
    def draw(labels_per_class: int, seed: int) -> Problem:
        train, lower, upper = part(photographs(labels_per_class, seed=seed)[0])
        return Problem(train, test(), lower, upper)

    @cache
    def tuning(labels_per_class: int, seed: int) -> Problem:
        train, validation = (
            photographs(number, seed=s, test_per_class=1)[0]
            for number, s in ((labels_per_class, seed), (10, seed + 1000))
        )
        return Problem(part(train)[0], part(validation)[0])

    recorder = recorder_for(
        path,
        "photographs",
        "photographs, patches of left halves to train, of right halves to test, 96 px",
        "photographs",
        list(METHODS),
        {
            "": "the best of three draws of other patches of the left halves, for each number of "
            "labels"
        },
    )
    keys = [
        {"method": method, "labels_per_class": labels, "seed": seed}
        for method in METHODS
        for labels in LABELS
        for seed in SEEDS
    ]
    recorder.measure(keys, Study(recorder, draw, tuning).row)


def measure_ants_bees(path: Path) -> None:
    """Fill book/results/keras_ants_bees.json."""
    methods = list(METHODS)[:4]
    train, test = hymenoptera(size=224)
    train_part, lower, upper = part(train)
    test_part, *_ = part(test)

    def draw(seed: int) -> Problem:
        return Problem(train_part, test_part, lower, upper)

    def tuning(seed: int) -> Problem:
        order = np.random.default_rng(seed).permutation(len(train))
        held_out, rest = np.split(order, [len(train) // 5])
        return Problem(train_part.rows(rest), train_part.rows(held_out))

    recorder = recorder_for(
        path,
        "ants-bees",
        "ants and bees, official split, 224 px",
        "hymenoptera",
        methods,
        {
            "": "the best on a fifth of the training pictures, held out, three times at random",
            SCRATCH: "the rate that won on the photographs with every number of labels",
        },
    )
    keys = [{"method": method, "seed": seed} for method in methods for seed in SEEDS]
    recorder.measure(keys, Study(recorder, draw, tuning, given={SCRATCH: 0.003}).row)


if __name__ == "__main__":
    run_recipe(
        __doc__,
        {
            "photographs": partial(measure_photographs, FOLDER / "keras_photographs.json"),
            "ants-bees": partial(measure_ants_bees, FOLDER / "keras_ants_bees.json"),
        },
    )
