"""Measure the tables of section 6.1.2 and write them to book/results.

    OMP_NUM_THREADS=1 python scripts/results_6_1_2.py rates
    OMP_NUM_THREADS=1 python scripts/results_6_1_2.py scenes
    OMP_NUM_THREADS=1 python scripts/results_6_1_2.py shift
    OMP_NUM_THREADS=1 MAPPING_DATA=… python scripts/results_6_1_2.py coco

They run on a GPU where there is one: there each takes minutes, on a CPU hours. A name with a number
behind it, as in `scenes-0`, measures the rows of that seed alone, so that several processes can
fill one file; `rates-0` to `rates-5` measure one rate each. The file is written after each row; a
second call goes on where the first one stopped.

scenes: things cut from photographs on other photographs, 128 px, six classes. Training scenes come
from the left halves of the photographs, the 200 test scenes, always the same, from the right ones.
A seed draws training scenes, new layers and the order.

shift: a detector fine-tuned on 100 clear scenes, tested on the 200 test scenes in fog and at night.
What adapts sees 100 other scenes of the training halves in that weather, without their labels.

coco: COCO-128, persons only, 256 px: 128 images of train2017 to learn, 128 of val2017 to test; only
about half of them show a person. `low` and `high` bound the middle 95 % of AP50 over 500 draws of
test images. A seed draws new layers and the order (and, where they are used, the scenes).

rates: AP on 200 scenes of the training halves that no other row uses, after learning from 100
others, for three learning rates of the body, with ImageNet's weights and with random ones. The
other tables take the best of each. It comes first.
"""

from collections.abc import Callable
from dataclasses import replace
from functools import cache, partial
from pathlib import Path
from typing import Any

import torch
from recipes import run_recipe

from mapping_lib.lab import results
from mapping_lib.lab.data import Scenes, coco128
from mapping_lib.lab.detecting import (
    CentreHead,
    Course,
    Detector,
    adapt_statistics,
    bootstrap,
    detect,
    joined,
    only,
    pseudo_labelled,
    scored,
    train,
)
from mapping_lib.lab.machine import seeded
from mapping_lib.lab.scenes import THINGS, fitted, scenes, shifted

FOLDER = Path(__file__).resolve().parents[1] / "book" / "results"
SEEDS = {"scenes": range(5), "shift": range(3), "coco": range(3)}
DEVICE = "auto"
PACKAGES = ("torch", "torchvision", "timm", "pillow", "numpy")
DATA, WEIGHTS = ("photographs", "rendered-glyphs"), ("efficientnet-lite0",)
RATE = 3e-3
FROZEN = Course(steps=400, batch=16, head_rate=RATE)
TUNED = Course(steps=400, batch=16, head_rate=RATE, body_rate=1e-3)  # the rate: `chosen`
SCRATCH = replace(TUNED, statistics_fixed=False)
LONGER = replace(SCRATCH, steps=1600)
AGAIN = replace(TUNED, steps=150, head_rate=RATE / 3)
BODY_RATES = {"ImageNet": (1e-4, 3e-4, 1e-3), "random": (3e-4, 1e-3, 3e-3)}
TEST, UNLABELLED, LEAST = 200, 100, 0.4
SETTINGS = {
    "batch": 16,
    "optimiser": "Adam, rate falling to 0 along a cosine",
    "head's rate": RATE,
    "augmentation": "mirror images",
}
CHOSEN = "the body's rate by detection_rates, on scenes of the training halves"
MEANS: dict[str, tuple[bool, Course, str]] = {
    "ImageNet, fine-tuned": (
        True,
        TUNED,
        "All weights trained, ImageNet's to begin with, batch norm's statistics kept; 400 steps.",
    ),
    "ImageNet, frozen": (True, FROZEN, "The head trained on ImageNet's frozen maps; 400 steps."),
    "random, all trained": (
        False,
        SCRATCH,
        "The same network, random weights to begin with, all trained; 400 steps.",
    ),
    "random, 1,600 steps": (False, LONGER, "The same, four times as long."),
    "random, frozen": (False, FROZEN, "The head trained on random frozen maps; 400 steps."),
}


@cache
def best_rate(begin: str) -> float:
    """Return the body's rate of the best AP on the validation scenes."""
    rows = results.load("detection_rates")["rows"]
    mine = [row for row in rows if row["method"] == begin]
    if len(mine) < len(BODY_RATES[begin]):
        raise SystemExit("measure first: scripts/results_6_1_2.py rates")
    return float(max(mine, key=lambda row: row["ap"])["rate"])


def fresh(course: Course, *, pretrained: bool = True) -> Course:
    """Copy a course, its losses its own, the body's rate the chosen one unless it is frozen."""
    if course.body_rate == 0:
        return replace(course, losses=[])
    rate = best_rate("ImageNet" if pretrained else "random")
    if course.steps == AGAIN.steps:
        rate /= 3
    return replace(course, losses=[], body_rate=rate)


def rates_table(numbers: range) -> None:
    """Fill detection_rates."""
    recorder = results.Recorder(
        FOLDER / "detection_rates.json",
        problem="learning rates of a detector's body, on validation scenes",
        recipe="scripts/results_6_1_2.py rates",
        methods={
            "ImageNet": results.Method("ImageNet's weights to begin with.", "every rate is shown"),
            "random": results.Method("Random weights to begin with.", "every rate is shown"),
        },
        packages=PACKAGES,
        data=DATA,
        weights=WEIGHTS,
        settings=SETTINGS | {"steps": TUNED.steps, "scenes": 100, "size": 128},
        device=DEVICE,
    )

    def row(key: dict[str, Any]) -> dict[str, float]:
        pretrained = key["method"] == "ImageNet"
        found, judge = scenes(100, seed=1000), scenes(TEST, seed=2000)
        detector = Detector(found.classes, pretrained=pretrained, seed=1000)
        course = replace(TUNED if pretrained else SCRATCH, body_rate=key["rate"], losses=[])
        train(detector, found, course, seed=1000, device=DEVICE)
        return rounded(scored(detect(detector, judge.images), judge))

    keys = [
        {"method": begin, "rate": rate, "seed": 1000}
        for begin, rates in BODY_RATES.items()
        for rate in rates
    ]
    recorder.measure([keys[number] for number in numbers], row)


@cache
def test_scenes() -> Scenes:
    """Draw the test scenes, the same for every row."""
    return scenes(TEST, seed=0, split="test")


def rounded(values: dict[str, float]) -> dict[str, float]:
    """Keep four decimals."""
    return {name: round(value, 4) for name, value in values.items()}


def scenes_table(seeds: range) -> None:
    """Fill detection_scenes."""
    recorder = results.Recorder(
        FOLDER / "detection_scenes.json",
        problem="things in generated scenes, by the number of labelled scenes",
        recipe="scripts/results_6_1_2.py scenes",
        methods={name: results.Method(what, CHOSEN) for name, (_, _, what) in MEANS.items()},
        packages=PACKAGES,
        data=DATA,
        weights=WEIGHTS,
        settings=SETTINGS | {"test scenes": TEST, "size": 128},
        device=DEVICE,
    )

    def row(key: dict[str, Any]) -> dict[str, float]:
        pretrained, course, _ = MEANS[key["method"]]
        found = scenes(key["scenes"], seed=key["seed"])
        detector = Detector(found.classes, pretrained=pretrained, seed=key["seed"])
        train(
            detector,
            found,
            fresh(course, pretrained=pretrained),
            seed=key["seed"],
            device=DEVICE,
        )
        return rounded(scored(detect(detector, test_scenes().images), test_scenes()))

    recorder.measure(
        [
            {"method": method, "scenes": count, "seed": seed}
            for seed in seeds
            for count in (20, 100, 500)
            for method in MEANS
            if method != "random, 1,600 steps" or count == 500
        ],
        row,
    )


def weather(found: Scenes, shift: str, strength: float, seed: int) -> Scenes:
    """Put weather over scenes."""
    images = shifted(torch.stack(found.images), shift, strength, seed=seed)
    return replace(found, images=tuple(images), domain=f"scenes, {shift}")


@cache
def source_detector(seed: int, jitter: bool) -> Detector:
    """Fine-tune on 100 clear scenes, with or without jitter."""
    found = scenes(100, seed=seed)
    detector = Detector(found.classes, seed=seed)
    course = replace(fresh(TUNED), jitter=jitter)
    return train(detector, found, course, seed=seed, device=DEVICE)


def copied(detector: Detector, seed: int) -> Detector:
    """Copy a detector, which adapting changes in place."""
    twin = Detector(detector.classes, pretrained=False, seed=seed)
    twin.load_state_dict(detector.state_dict())
    return twin.to(detector.pyramid.mean.device).eval()


def self_trained(detector: Detector, target: Scenes, seed: int) -> Detector:
    """Go on training, on the clear scenes and on the detector's own boxes of a sure score."""
    guesses = pseudo_labelled(detector, target, least=LEAST)
    both = joined(scenes(100, seed=seed), guesses)
    return train(detector, both, fresh(AGAIN), seed=seed, device=DEVICE)


REPAIRS = {
    "source only": "A detector fine-tuned on 100 clear scenes, used as it is.",
    "statistics": "Batch norm's statistics replaced by those of unlabelled scenes.",
    "self-training": "150 more steps on clear scenes and on its own boxes of a score of 0.4.",
    "statistics, self-training": "The one, then the other.",
    "jitter": "Brightness, contrast, colour and noise changed at random in the source's training.",
    "jitter, statistics": "The one, then the other.",
    "jitter, self-training": "The one, then the other.",
    "labelled target": "Fine-tuned on 100 labelled scenes of that weather: what could be had.",
}


def repaired(method: str, target: Scenes, seed: int) -> Detector:
    """Return the detector of a method, adapted to unlabelled scenes of the target."""
    if method == "labelled target":
        detector = Detector(target.classes, seed=seed)
        return train(detector, target, fresh(TUNED), seed=seed, device=DEVICE)
    detector = copied(source_detector(seed, method.startswith("jitter")), seed)
    if "statistics" in method:
        adapt_statistics(detector, target.images)
    return self_trained(detector, target, seed) if "self-training" in method else detector


def shift_table(seeds: range) -> None:
    """Fill detection_shift."""
    recorder = results.Recorder(
        FOLDER / "detection_shift.json",
        problem="a detector of clear scenes in fog and at night",
        recipe="scripts/results_6_1_2.py shift",
        methods={
            name: results.Method(
                what, "without target labels; " + CHOSEN if name != "labelled target" else CHOSEN
            )
            for name, what in REPAIRS.items()
        },
        packages=PACKAGES,
        data=DATA,
        weights=WEIGHTS,
        settings=SETTINGS | {"test scenes": TEST, "unlabelled scenes": UNLABELLED, "size": 128},
        device=DEVICE,
    )

    def row(key: dict[str, Any]) -> dict[str, float]:
        shift, strength, seed = key["shift"], key["strength"], key["seed"]
        target = weather(scenes(UNLABELLED, seed=500 + seed), shift, strength, 1 + seed)
        test = weather(test_scenes(), shift, strength, 0)
        detector = repaired(key["method"], target, seed)
        return rounded(scored(detect(detector, test.images), test))

    clear = [("clear", 0.0, method) for method in ("source only", "jitter")]
    dark = [
        (shift, strength, method)
        for shift in ("fog", "night")
        for strength in (0.5, 1.0)
        for method in REPAIRS
    ]
    recorder.measure(
        [
            {"method": method, "shift": shift, "strength": strength, "seed": seed}
            for seed in seeds
            for shift, strength, method in [*clear, *dark]
        ],
        row,
    )


PERSONS = {
    "ImageNet, fine-tuned": "All weights trained, ImageNet's to begin with.",
    "ImageNet, scenes, fine-tuned": "Fine-tuned on 500 generated scenes first; a new heat map.",
    "ImageNet, frozen": "The head trained on ImageNet's frozen maps.",
    "random, all trained": "The same network, random weights to begin with, all trained.",
}


@cache
def persons() -> tuple[Scenes, Scenes]:
    """Return COCO-128's images with their persons."""
    train, test = (only(fitted(coco128(split), size=256), "person") for split in ("train", "test"))
    return train, test


def person_detector(method: str, seed: int) -> Detector:
    """Train a detector of persons."""
    pretrained, course, _ = MEANS.get(method, MEANS["ImageNet, fine-tuned"])
    if method == "ImageNet, scenes, fine-tuned":
        detector = Detector(tuple(THINGS), seed=seed)
        train(detector, scenes(500, seed=seed), fresh(TUNED), seed=seed, device=DEVICE)
        with seeded(seed):
            new = CentreHead(1).heat
        detector.head.heat, detector.classes = new, ("person",)
    else:
        detector = Detector(("person",), pretrained=pretrained, seed=seed)
    course = fresh(course, pretrained=pretrained)
    return train(detector, persons()[0], course, seed=seed, device=DEVICE)


def coco_table(seeds: range) -> None:
    """Fill detection_coco."""
    recorder = results.Recorder(
        FOLDER / "detection_coco.json",
        problem="persons in COCO-128",
        recipe="scripts/results_6_1_2.py coco",
        methods={name: results.Method(what, CHOSEN) for name, what in PERSONS.items()},
        packages=PACKAGES,
        data=("coco128", *DATA),
        weights=WEIGHTS,
        settings=SETTINGS | {"steps": 400, "size": 256},
        device=DEVICE,
    )

    def row(key: dict[str, Any]) -> dict[str, float]:
        test = persons()[1]
        guesses = detect(person_detector(key["method"], key["seed"]), test.images)
        low, high = bootstrap(guesses, test)
        return rounded(scored(guesses, test) | {"low": low, "high": high})

    recorder.measure(
        [{"method": method, "seed": seed} for seed in seeds for method in PERSONS], row
    )


if __name__ == "__main__":
    tables: dict[str, Callable[[range], None]] = {
        "scenes": scenes_table,
        "shift": shift_table,
        "coco": coco_table,
    }
    every: dict[str, Callable[[], object]] = {"rates": partial(rates_table, range(6))}
    every |= {
        f"rates-{number}": partial(rates_table, range(number, number + 1)) for number in range(6)
    }
    for name, table in tables.items():
        every[name] = partial(table, SEEDS[name])
        every |= {f"{name}-{seed}": partial(table, range(seed, seed + 1)) for seed in SEEDS[name]}
    run_recipe(__doc__ or "", every)
