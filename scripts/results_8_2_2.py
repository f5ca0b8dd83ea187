"""Measure the tables of section 8.2.2 and write them to book/results.

    OMP_NUM_THREADS=1 python scripts/results_8_2_2.py moved

Four files are written, row after row; a second call goes on where the first one stopped.

EfficientNet-Lite0, trained on ImageNet, is fine-tuned on 200 handwritten digits, 20 of each, drawn
at 48 px; 300 others test. All networks of a seed begin from one starting point, ImageNet's body and
a head that learned for five epochs on its frozen features. All parameters learn by SGD, 60 steps of
16; batch norm keeps ImageNet's statistics. A seed draws the digits, the head, the order, and the
photographs' crops. Rates are not chosen: two are shown.

movement_accuracy: what each network reaches.

movement_stages: for each stage, how far its parameters moved; linear CKA of the features after it
with those of the starting point, on the test digits and on 200 crops of photographs; what linear
probes read there (the digit, learned on the 200 digits and tested on the 300; the picture that a
crop was cut from, learned on left halves and tested on right ones); and what the network loses when
the stage is put back to its starting point (rewound).

movement_scale: what the same measures say where nothing moved (the starting point itself), where
all is different (random weights), and of other images (rows in a random order).

movement_maps: Grad-CAM after stage 3 for the true digit of 100 test images. How alike the map is to
the starting point's; and accuracy when a quarter of the places is greyed, or when half of them
is kept, those of highest value by the map or by an order that needs no network.
"""

from __future__ import annotations

from collections.abc import Callable
from copy import deepcopy
from functools import cache
from pathlib import Path
from typing import Any

import torch
from recipes import run_recipe
from torch import Tensor, nn
from torch.nn.functional import avg_pool2d, cross_entropy, interpolate

from mapping_lib.distances import linear_cka
from mapping_lib.lab import backbones, results
from mapping_lib.lab.data import handwritten_digits
from mapping_lib.lab.machine import seeded
from mapping_lib.lab.movement import PARTS, distances, rewound
from mapping_lib.lab.probing import by_stage, crops, probe
from mapping_lib.lab.saliency import maps_of, masked, rank_correlation
from mapping_lib.lab.training import accuracy, fit, predict

FOLDER = Path(__file__).resolve().parents[1] / "book" / "results"
PACKAGES = ("torch", "timm", "scikit-learn", "pillow")
SEEDS = range(3)
SIDE, PER_CLASS, TEST, STEPS, BATCH = 48, 20, 300, 60, 16
CROPS, MAPS, LAYER, DELETED, KEPT = 10, 100, "body.blocks.2", 0.25, 0.5
SETTINGS: dict[str, Any] = {
    "size": SIDE,
    "labels a class": PER_CLASS,
    "test": TEST,
    "steps": STEPS,
    "batch": BATCH,
}
SET = "nothing chosen: set beforehand"
TUNED = {
    "fine-tuned, 0.0003": (0.0003, False),
    "fine-tuned, 0.001": (0.001, False),
    "shuffled labels, 0.0003": (0.0003, True),
    "shuffled labels, 0.001": (0.001, True),
}
METHODS = {
    "small CNN from scratch": "101,000 random parameters, 400 steps, rate 0.003.",
    "starting point": "ImageNet's body; the head learned for five epochs on its features.",
    "frozen": "ImageNet's body; the head learned for 100 epochs on its features.",
    "fine-tuned, 0.0003": "All parameters, rate 0.0003, from the starting point.",
    "fine-tuned, 0.001": "All parameters, rate 0.001, from the starting point.",
    "shuffled labels, 0.0003": "Rate 0.0003, the labels of the 200 digits in a random order.",
    "shuffled labels, 0.001": "Rate 0.001, the labels of the 200 digits in a random order.",
    "random": "Another network: random weights, nothing learned.",
    "other pictures": "The features of the starting point, its rows in a random order.",
}


def drawn_by(seed: int) -> torch.Generator:
    """Return a generator."""
    return torch.Generator().manual_seed(seed)


@cache
def digits(seed: int) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Draw digits to learn from, and others to test on."""
    everything = handwritten_digits(size=16)
    order = torch.randperm(len(everything.labels), generator=drawn_by(1000 + seed))
    labels = everything.labels[order]
    rows = torch.cat([order[labels == k][:PER_CLASS] for k in range(10)])
    rest = order[~torch.isin(order, rows)][:TEST]
    large = [
        interpolate(everything.images[at], SIDE, mode="bilinear").repeat(1, 3, 1, 1)
        for at in (rows, rest)
    ]
    return large[0], everything.labels[rows], large[1], everything.labels[rest]


def head_on_features(seed: int, *, epochs: int, rate: float) -> backbones.Backbone:
    """Return ImageNet's body with a head that learned on its frozen features."""
    images, labels, _, _ = digits(seed)
    model = backbones.efficientnet_lite0().to(memory_format=torch.channels_last)
    features = backbones.features(model, images, progress=False)
    with seeded(seed):
        backbones.replace_head(model, 10)
    kind: dict[str, Any] = {"batch_size": BATCH, "seed": seed, "progress": False}
    fit(model.head, cross_entropy, features, labels, epochs=epochs, rate=rate, **kind)
    return model


@cache
def start(seed: int) -> backbones.Backbone:
    """Return where all fine-tuning of a seed begins."""
    return head_on_features(seed, epochs=5, rate=0.001)


@cache
def network(method: str, seed: int) -> backbones.Backbone:
    """Train a network."""
    images, labels, _, _ = digits(seed)
    kind: dict[str, Any] = {"epochs": 1, "seed": seed, "progress": False}
    if method == "starting point":
        return start(seed)
    if method == "frozen":
        return head_on_features(seed, epochs=100, rate=0.01)
    if method == "random":
        with seeded(seed):
            return backbones.efficientnet_lite0(pretrained=False, classes=10)
    rate, shuffled, steps = 0.003, False, 400
    if method == "small CNN from scratch":
        with seeded(seed):
            model = backbones.small_cnn(10)
    else:
        rate, shuffled = TUNED[method]
        model, steps = backbones.unfreeze(deepcopy(start(seed))), STEPS
    if shuffled:
        labels = labels[torch.randperm(len(labels), generator=drawn_by(seed))]
    generator = drawn_by(seed)
    epochs = [
        torch.randperm(len(labels), generator=generator)[:192] for _ in range(steps // 12 + 1)
    ]
    order = torch.split(torch.cat(epochs), BATCH)[:steps]
    optimiser = torch.optim.SGD(model.parameters(), lr=rate, momentum=0.9)
    drawn = [(images[rows], labels[rows]) for rows in order]
    fit(model, cross_entropy, drawn, optimiser=optimiser, **kind)
    return model.eval()


def recorder_of(name: str, problem: str, methods: dict[str, str], **more: Any) -> results.Recorder:
    """Open a results file."""
    return results.Recorder(
        FOLDER / f"movement_{name}.json",
        problem=problem,
        recipe="scripts/results_8_2_2.py moved",
        data=["handwritten-digits", "photographs"],
        weights=["efficientnet-lite0"],
        methods={method: results.Method(what, SET) for method, what in methods.items()},
        packages=PACKAGES,
        settings=SETTINGS | more,
    )


def judged(model: nn.Module, seed: int) -> tuple[float, float]:
    """Return accuracy and mean cross-entropy on the test digits."""
    _, _, images, labels = digits(seed)
    logits = predict(model, images, batch_size=64)
    return accuracy(logits, labels), cross_entropy(logits, labels).item()


def rounded(values: dict[str, float]) -> dict[str, float]:
    """Round measured values."""
    return {name: round(value, 6) for name, value in values.items()}


def accuracy_row(key: results.Row) -> dict[str, float]:
    """Measure what a network reaches, on what it learned and on the test."""
    images, labels, _, _ = digits(key["seed"])
    model = network(key["method"], key["seed"])
    right, loss = judged(model, key["seed"])
    if key["method"].startswith("shuffled"):
        labels = labels[torch.randperm(len(labels), generator=drawn_by(key["seed"]))]
    learned = accuracy(predict(model, images, batch_size=64), labels)
    return rounded({"accuracy": right, "loss": loss, "accuracy_learned": learned})


# --- stages ---


@cache
def described(method: str, seed: int) -> dict[str, dict[str, Tensor]]:
    """Take features of digits and of crops after each stage."""
    learn, _, test, _ = digits(seed)
    left, right = (crops(CROPS, half=half, seed=seed, size=SIDE) for half in ("left", "right"))
    parts = {"learn": learn, "test": test, "left": left.images, "right": right.images}
    model = network(method, seed)
    return {name: by_stage(model, images) for name, images in parts.items()}


def alike(one: dict[str, Tensor], other: dict[str, Tensor], layer: str, order: Tensor) -> float:
    """Return the linear CKA of two descriptions, the rows of the second in an order."""
    return linear_cka(one[layer].double(), other[layer][order].double()).item()


def stage_row(key: results.Row) -> dict[str, float]:
    """Measure one stage of one network."""
    method, stage, seed = key["method"], key["stage"], key["seed"]
    _, labels, _, truth = digits(seed)
    own, old = described(_kept(method), seed), described("starting point", seed)
    values = {}
    for name, part in (("digits", "test"), ("photographs", "right")):
        n = len(old[part][stage])
        shuffled = torch.randperm(n, generator=drawn_by(seed))
        order = shuffled if method == "other pictures" else torch.arange(n)
        values[f"cka_{name}"] = alike(old[part], own[part], stage, order)
    picture = torch.arange(20).repeat_interleave(CROPS)
    values["probe_digit"] = probe(own["learn"][stage], labels, own["test"][stage], truth)
    values["probe_picture"] = probe(own["left"][stage], picture, own["right"][stage], picture)
    names = PARTS[stage]
    model = network(_kept(method), seed)
    values["distance"] = distances(start(seed), model, {stage: names})[stage]
    if method in TUNED:
        put_back = rewound(model, start(seed), names)
        values["accuracy_rewound"], values["loss_rewound"] = judged(put_back, seed)
    return rounded(values)


def _kept(method: str) -> str:
    return "starting point" if method == "other pictures" else method


# --- maps ---

JUDGED = ("fine-tuned, 0.0003", "fine-tuned, 0.001", "shuffled labels, 0.0003")
ORDERS = {
    "nothing": "The image as it is.",
    "map": "Grad-CAM of the network itself.",
    "map of the starting point": "Grad-CAM of the starting point.",
    "map, random head": "Grad-CAM of the network with a random head.",
    "map, random network": "Grad-CAM of a network with random weights.",
    "map of another image": "Grad-CAM of the network for another test image.",
    "contrast": "Standard deviation of the pixels at each place: no network.",
    "centre": "Nearness to the centre of the image.",
    "random": "Places in a random order.",
}


def orders(method: str, seed: int) -> dict[str, Tensor]:
    """Give each place of each image a value, in several ways."""
    _, _, images, labels = digits(seed)
    images, labels = images[:MAPS], labels[:MAPS]
    model = network(method, seed)
    other = network("random", seed)
    headless = deepcopy(model)
    headless.head = deepcopy(other.head)
    found = {
        name: maps_of(each, images, labels, layer=LAYER)
        for name, each in (
            ("map", model),
            ("map of the starting point", start(seed)),
            ("map, random head", headless),
            ("map, random network", other),
        )
    }
    found["map of another image"] = found["map"].roll(1, 0)
    side = found["map"].shape[-1]
    grey = images.mean(1)
    square = avg_pool2d(grey.square(), SIDE // side) - avg_pool2d(grey, SIDE // side).square()
    found["contrast"] = square.clamp(min=0).sqrt()
    places = torch.linspace(-1, 1, side)
    found["centre"] = -(places[:, None].square() + places.square()).expand_as(grey[:, :side, :side])
    found["nothing"] = torch.zeros_like(found["map"])
    found["random"] = torch.rand(found["map"].shape, generator=drawn_by(seed))
    return found


_orders: Callable[[str, int], dict[str, Tensor]] = cache(orders)


def map_row(key: results.Row) -> dict[str, float]:
    """Measure one order of places for one network."""
    tuned, seed = key["network"], key["seed"]
    _, _, images, labels = digits(seed)
    images, labels = images[:MAPS], labels[:MAPS]
    model, found = network(tuned, seed), _orders(tuned, seed)
    order = found[key["method"]]
    values = {"rank_correlation": rank_correlation(found["map"], order).mean().item()}
    amounts = (0.0, 0.0) if key["method"] == "nothing" else (DELETED, 1 - KEPT)
    for name, worth, share in zip(("deleted", "kept"), (order, -order), amounts, strict=True):
        logits = predict(model, masked(images, worth, share=share), batch_size=64)
        values[f"accuracy_{name}"] = accuracy(logits, labels)
    return rounded(values)


def measure() -> None:
    """Fill the three files, seed after seed."""
    reached = recorder_of(
        "accuracy",
        "handwritten digits, EfficientNet-Lite0 fine-tuned on 200 of them",
        {name: what for name, what in METHODS.items() if name not in ("random", "other pictures")},
    )
    compared = [*TUNED, "starting point", "random", "other pictures"]
    stages = recorder_of(
        "stages",
        "what moved in EfficientNet-Lite0 when it was fine-tuned on digits, by stage",
        {name: METHODS[name] for name in compared[: len(TUNED)]},
        **{"crops a picture": CROPS},
    )
    scale = recorder_of(
        "scale",
        "what the measures of movement say where nothing moved, or where all is different",
        {name: METHODS[name] for name in compared[len(TUNED) :]},
        **{"crops a picture": CROPS},
    )
    maps = recorder_of(
        "maps",
        "Grad-CAM of a fine-tuned network beside its starting point, and what its places are worth",
        ORDERS,
        images=MAPS,
        layer="stage 3",
        deleted=DELETED,
        kept=KEPT,
    )
    for seed in SEEDS:
        names = [name for name in METHODS if name not in ("random", "other pictures")]
        reached.measure([{"method": name, "seed": seed} for name in names], accuracy_row)
        for recorder, methods in (
            (stages, compared[: len(TUNED)]),
            (scale, compared[len(TUNED) :]),
        ):
            keys = [{"method": m, "stage": s, "seed": seed} for m in methods for s in PARTS]
            recorder.measure(keys, stage_row)
        pairs = [(name, tuned) for tuned in JUDGED for name in ORDERS]
        maps.measure([{"method": n, "network": t, "seed": seed} for n, t in pairs], map_row)


if __name__ == "__main__":
    run_recipe(__doc__, {"moved": measure})
