"""Measure the tables of section 6.1.1 and write them to book/results.

    OMP_NUM_THREADS=1 python scripts/results_6_1_1.py photographs
    OMP_NUM_THREADS=1 MAPPING_DATA=… python scripts/results_6_1_1.py ants-bees
    OMP_NUM_THREADS=1 python scripts/results_6_1_1.py corruption
    OMP_NUM_THREADS=1 python scripts/results_6_1_1.py maps
    OMP_NUM_THREADS=1 python scripts/results_6_1_1.py masking

The files are written after each row; a second call goes on where the first one stopped. A GPU is
used where there is one; on it all five take a few minutes. On one core of a CPU they take half an
hour, and fine-tuning on ants and bees, which comes last, as long again.

photographs: the problem of scripts/results_5_2.py (patches of left halves to train, of right halves
to test, 96 px, grey), and how sure its classifiers are. Rates are those chosen there and in
scripts/results_3_2.py. A temperature is fitted on 200 held-out patches of the left halves, where
the training patches come from, and, to compare, on test patches: on each half of them for the
other half. Where every held-out patch is classified right there is no temperature; it stays 1.

ants-bees: the same on the official test pictures at 224 px, with 1, 5 and 20 training pictures a
class, which a seed draws; 100 others are held out for the temperature. No rate is chosen on it. The
small network sees them at 112 px, which takes a quarter of the time.

corruption: networks that learned 5 clean patches a class meet spoilt test patches, in batches of 64
that mix the classes; 200 of them. A seed draws the training patches, the noise and the order.

maps: Grad-CAM of 50 test patches at 192 px, by the trained network and by one whose parts were
replaced by random ones, from the head downwards; how alike the two maps of a patch are.

masking: accuracy on these patches when a share of each is greyed: the places where the map is
highest, where it is lowest, or places drawn at random.
"""

from collections.abc import Callable, Iterable, Sequence
from copy import deepcopy
from dataclasses import dataclass, replace
from functools import cache, cached_property
from itertools import product
from pathlib import Path
from statistics import fmean
from typing import Any

import torch
from recipes import run_recipe
from results_3_2 import RANK, drawn_by
from results_5_2 import BATCH, RECIPE, SIZE, STEPS, TUNING_SEED, VALIDATION_SEED, batches
from sklearn.linear_model import LogisticRegression
from torch import Tensor, nn
from torch.nn.functional import avg_pool2d, cross_entropy

from mapping_lib.lab import backbones, results
from mapping_lib.lab.corruption import corrupt, stream
from mapping_lib.lab.data import Images, hymenoptera, photographs
from mapping_lib.lab.machine import device, seeded
from mapping_lib.lab.saliency import maps_of, masked, rank_correlation
from mapping_lib.lab.training import fit, predict
from mapping_lib.metrics import expected_calibration_error, fit_temperature
from mapping_lib.parameters import adabn, add_lora, freeze, tent, tent_step, trainable

FOLDER = Path(__file__).resolve().parents[1] / "book" / "results"
PACKAGES = ("torch", "timm", "scikit-learn", "numpy", "pillow")
SEEDS, LABELS = range(5), (1, 5, 20)
PLACE = device("auto")
BY_5_2 = "rate as chosen in scripts/results_5_2.py, on other patches of the left halves"
BY_3_2 = "rate as chosen in scripts/results_3_2.py, on other patches of the left halves"
DEFAULT = "nothing chosen: scikit-learn's default"


@dataclass
class Task:
    """Images to learn from, to hold out, and to test on; frozen features are made when needed."""

    train: Images
    held_out: Images
    test: Images

    @cached_property
    def features(self) -> Tensor:
        """Frozen features of the training images."""
        return frozen_features(self.train)

    def logits(self, model: nn.Module) -> tuple[Tensor, Tensor]:
        """Return a model's logits of the held-out and of the test images."""
        if isinstance(model, nn.Linear):  # a head of frozen features
            found = [predict(model, frozen_features(part)) for part in (self.held_out, self.test)]
        else:
            found = [logits_of(model, part) for part in (self.held_out, self.test)]
        return found[0], found[1]

    @property
    def classes(self) -> int:
        """Number of classes."""
        return len(self.train.classes)


@cache
def pretrained() -> backbones.Backbone:
    """Return EfficientNet-Lite0 with its ImageNet weights, to be copied."""
    model = backbones.efficientnet_lite0().to(PLACE)
    return model.to(memory_format=torch.channels_last)  # a third faster, the same numbers


_features: dict[int, tuple[Images, Tensor]] = {}


def frozen_features(images: Images) -> Tensor:
    """Return the frozen features, computed once for each set of images."""
    if id(images) not in _features:
        found = backbones.features(pretrained(), images.images, progress=False)
        _features[id(images)] = images, found  # the images stay, so that no other gets their id
    return _features[id(images)][1]


def logits_of(model: nn.Module, images: Images | Tensor) -> Tensor:
    """Return a model's logits."""
    tensor = images.images if isinstance(images, Images) else images
    return predict(model, tensor, batch_size=64)


def chosen(file: str, method: str, column: str) -> float:
    """Return what an earlier recipe chose."""
    return next(row[column] for row in results.load(file)["chosen"] if row["method"] == method)


# How a network is trained: each takes a task and a seed.


def scratch(task: Task, seed: int) -> backbones.Backbone:
    """A small network, each image standardised, 400 steps."""
    with seeded(seed):
        model = backbones.small_cnn(task.classes)
    rate = chosen("fine_tuning_photographs", "small CNN from scratch", "rate")
    groups: list[dict[str, Any]] = [{"params": list(model.parameters()), "lr": rate}]
    return descend(model, groups, task, seed, 5 * STEPS)


def scratch_half(task: Task, seed: int) -> nn.Module:
    """A small network on images of half the side, each standardised, 400 steps."""
    halves = replace(task.train, images=avg_pool2d(task.train.images, 2))
    model = scratch(Task(halves, task.held_out, task.test), seed)
    return nn.Sequential(nn.AvgPool2d(2), model)


def frozen(task: Task, seed: int) -> nn.Linear:
    """Frozen features and a logistic regression, with scikit-learn's penalty, C = 1."""
    return solved(task, task.features, 1.0)


def frozen_unpenalised(task: Task, seed: int) -> nn.Linear:
    """Frozen features and a logistic regression with hardly any penalty, C = 10,000."""
    return solved(task, task.features, 10_000.0)


def fine_tuned(task: Task, seed: int) -> backbones.Backbone:
    """The head first, by the source's recipe; then all, the body with a tenth of the rate."""
    model = headed(task, seed)
    rate = chosen("fine_tuning_photographs", "fine-tuned, smaller rate for the body", "rate")
    groups = backbones.parameter_groups(model, head_rate=rate, body_rate=rate / 10)
    return descend(model, groups, task, seed, STEPS)


def lora(task: Task, seed: int) -> backbones.Backbone:
    """The head first; then changes of rank 4 on the stages' 1×1 convolutions, and the head."""
    model = headed(task, seed).cpu()
    freeze(model, "body")
    add_lora(model, "body.blocks.*.conv_pw*", rank=RANK, generator=drawn_by(seed))
    head = list(model.head.parameters())
    rest = [p for p in trainable(model) if all(p is not q for q in head)]
    rate = chosen("parameters_photographs", "LoRA", "setting")
    groups = [{"params": head, "lr": 0.003}, {"params": rest, "lr": rate}]
    return descend(model, groups, task, seed, STEPS)


def solved(task: Task, features: Tensor, penalty: float) -> nn.Linear:
    """Return the head that solves a logistic regression."""
    solver = LogisticRegression(C=penalty, max_iter=20_000)
    solver.fit(features.numpy(), task.train.labels.numpy())
    weight, bias = torch.as_tensor(solver.coef_), torch.as_tensor(solver.intercept_)
    if len(weight) == 1:  # two classes, one logit: half of it for one, half against the other
        weight, bias = torch.cat([-weight, weight]) / 2, torch.cat([-bias, bias]) / 2
    head = nn.Linear(features.shape[1], task.classes)
    head.load_state_dict({"weight": weight, "bias": bias})
    return head


def whole(body: backbones.Backbone, head: nn.Linear) -> backbones.Backbone:
    """Return a copy of a network with another head."""
    model = deepcopy(body)
    model.head = deepcopy(head).to(PLACE)
    return model


def headed(task: Task, seed: int) -> backbones.Backbone:
    """Return the pretrained network, all of it free, with a head that learned by the recipe."""
    with seeded(seed):
        model = backbones.replace_head(deepcopy(pretrained()).cpu(), task.classes)
    kind: dict[str, Any] = RECIPE | {"seed": seed, "progress": False}
    fit(model.head, cross_entropy, task.features, task.train.labels, **kind)
    return backbones.unfreeze(model)


def descend(
    model: backbones.Backbone, groups: list[dict[str, Any]], task: Task, seed: int, steps: int
) -> backbones.Backbone:
    """Train with SGD, momentum 0.9 and cross-entropy, some steps of 16 images."""
    optimiser = torch.optim.SGD(groups, momentum=0.9)
    order = batches(len(task.train), BATCH, steps, seed)
    drawn = [(task.train.images[rows], task.train.labels[rows]) for rows in order]
    kind: dict[str, Any] = {"epochs": 1, "optimiser": optimiser, "seed": seed, "progress": False}
    fit(model, cross_entropy, drawn, device=PLACE, **kind)
    return model.eval()


Train = Callable[[Task, int], nn.Module]
TRAINED: dict[str, tuple[Train, str]] = {
    "frozen, logistic regression": (frozen, DEFAULT),
    "frozen, hardly any penalty": (frozen_unpenalised, "C by hand, for hardly any penalty"),
    "small CNN from scratch": (scratch, BY_5_2),
    "small CNN from scratch, 112 px": (scratch_half, BY_5_2),
    "fine-tuned": (fine_tuned, BY_5_2),
    "LoRA": (lora, BY_3_2),
}


def described(methods: Iterable[str]) -> dict[str, results.Method]:
    """Describe each method by its function's docstring."""
    return {m: results.Method(TRAINED[m][0].__doc__ or "", TRAINED[m][1]) for m in methods}


# photographs, ants and bees: accuracy, and how far confidence is from it


@cache
def photographs_task(labels: int, seed: int) -> Task:
    """Draw training patches; held-out and test patches are the same for all."""
    train, _ = photographs(labels, seed=seed, size=SIZE, test_per_class=1)
    return Task(train, *unseen_patches())


@cache
def unseen_patches() -> tuple[Images, Images]:
    """Return held-out patches of the left halves, and the test patches of the right ones."""
    held_out, test = photographs(10, seed=VALIDATION_SEED, size=SIZE)
    return held_out, test


@cache
def insects() -> tuple[Images, Images]:
    """Return the official training and test pictures."""
    return hymenoptera(size=224)


def some(images: Images, rows: Tensor) -> Images:
    """Return some of the images."""
    return replace(images, images=images.images[rows], labels=images.labels[rows])


@cache
def insects_task(labels: int, seed: int) -> Task:
    """Draw training pictures, and 100 others to hold out."""
    known, test = insects()
    order = torch.randperm(len(known), generator=drawn_by(seed))
    by_class = [order[known.labels[order] == k] for k in range(len(known.classes))]
    rows = torch.cat([members[:labels] for members in by_class])
    rest = torch.cat([members[max(LABELS) :] for members in by_class])
    rest = rest[torch.randperm(len(rest), generator=drawn_by(seed))][:100]
    return Task(some(known, rows), some(known, rest), test)


def temperature(logits: Tensor, labels: Tensor) -> float:
    """Fit a temperature; 1 where every example is right, 100 where the logits say nothing."""
    try:
        return min(fit_temperature(logits, labels), 100.0)
    except ValueError:  # the best would be 0, or infinite
        return 1.0 if (logits.argmax(1) == labels).all() else 100.0


def measured(task: Task, method: str, seed: int) -> dict[str, float]:
    """Train, and return accuracy, log loss and calibration errors, before and after scaling."""
    held_out, logits = task.logits(TRAINED[method][0](task, seed))
    labels = task.test.labels
    found = temperature(held_out, task.held_out.labels)
    halves = torch.randperm(len(labels), generator=drawn_by(seed)).chunk(2)
    by_test = [temperature(logits[rows], labels[rows]) for rows in halves]
    crossed = torch.empty_like(logits)
    for rows, other in zip(halves, reversed(by_test), strict=True):
        crossed[rows] = logits[rows] / other
    right = logits.argmax(1) == labels
    recall = [right[labels == k].double().mean().item() for k in range(task.classes)]
    values = {
        "accuracy": right.double().mean().item(),
        "macro_accuracy": fmean(recall),
        "confidence": logits.softmax(1).amax(1).mean().item(),
        "temperature": found,
        "temperature_by_test": fmean(by_test),
        "ece_if_right": fmean(chance_error(logits, s) for s in range(20)),
    }
    for name, scaled in (("", logits), ("_scaled", logits / found), ("_by_test", crossed)):
        values |= {
            f"log_loss{name}": cross_entropy(scaled, labels).item(),
            f"ece{name}": expected_calibration_error(scaled, labels).item(),
            f"ece_mass{name}": expected_calibration_error(scaled, labels, equal_mass=True).item(),
        }
    return {name: round(value, 4) for name, value in values.items()}


def chance_error(logits: Tensor, seed: int) -> float:
    """Return the calibration error that is left where the probabilities are exactly right."""
    labels = torch.multinomial(logits.softmax(1), 1, generator=drawn_by(seed))[:, 0]
    return expected_calibration_error(logits, labels).item()


def measure_task(
    name: str, task: Callable[[int, int], Task], methods: Sequence[str], **header: Any
) -> None:
    """Fill a file with every method at every number of labels and seed."""
    recorder = results.Recorder(
        FOLDER / f"{name}.json",
        weights=["efficientnet-lite0"],
        methods=described(methods),
        packages=PACKAGES,
        device=str(PLACE),
        **header,
    )
    keys = [
        {"method": method, "labels_per_class": labels, "seed": seed}
        for method, seed, labels in product(methods, SEEDS, LABELS)  # slow methods last
    ]
    recorder.measure(
        keys, lambda k: measured(task(k["labels_per_class"], k["seed"]), k["method"], k["seed"])
    )


def measure_photographs() -> None:
    """Fill book/results/classification_photographs.json."""
    measure_task(
        "classification_photographs",
        photographs_task,
        [
            "frozen, logistic regression",
            "frozen, hardly any penalty",
            "small CNN from scratch",
            "fine-tuned",
        ],
        problem="photographs, how sure classifiers are, patches of left and right halves",
        recipe="scripts/results_6_1_1.py photographs",
        data=["photographs"],
        settings={"size": SIZE, "test": 400, "held out": 200, "steps": STEPS, "batch": BATCH},
    )


def measure_ants_bees() -> None:
    """Fill book/results/classification_ants_bees.json."""
    measure_task(
        "classification_ants_bees",
        insects_task,
        [method for method in TRAINED if method != "small CNN from scratch"],
        problem="ants and bees, few labels, official test pictures",
        recipe="scripts/results_6_1_1.py ants-bees",
        data=["hymenoptera"],
        settings={"size": 224, "test": 153, "held out": 100, "steps": STEPS, "batch": BATCH},
    )


# corruption: clean patches to learn from, spoilt ones to be tested on

FEW = 5
STRENGTHS = {
    "none": (0.0,),
    "noise": (0.02, 0.05, 0.1, 0.15, 0.2),
    "blur": (0.5, 1.0, 1.5, 2.0, 3.0),
    "contrast": (0.6, 0.4, 0.3, 0.2, 0.1),
}
RATES = (0.0001, 0.001, 0.01)
HOW = {
    "small CNN from scratch": "The network as it is.",
    "small CNN from scratch, AdaBN": "Statistics of each batch of 64.",
    "frozen": "Frozen features and a logistic regression, C = 1, as they are.",
    "frozen, AdaBN": "The same, normalised by the statistics of each batch of 64.",
    "patches' statistics": "Batch norm measured on the training patches before the head learns.",
    "patches' statistics, AdaBN": "The same, normalised by the statistics of each batch of 64.",
    "patches' statistics, Tent": "The same, and a step of Adam after each batch; one pass.",
}


def on_patches(task: Task) -> backbones.Backbone:
    """Return the frozen network with the training patches' statistics, and a head."""
    body = deepcopy(pretrained())
    adabn(body, task.train.images.to(PLACE))
    features = backbones.features(body, task.train.images, progress=False)
    return whole(body, solved(task, features, 1.0))


@cache
def networks(seed: int) -> dict[str, nn.Module]:
    """Train the networks that are tested on spoilt patches."""
    task = photographs_task(FEW, seed)
    return {
        "small CNN from scratch": scratch(task, seed),
        "frozen": whole(pretrained(), frozen(task, seed)),
        "patches' statistics": on_patches(task),
    }


def adapted_logits(
    model: nn.Module, images: Tensor, order: Iterable[Tensor], how: str, rate: float = 0.0
) -> Tensor:
    """Adapt to batches as they come; return each image's logits when its batch came.

    AdaBN without a prior on one batch is what Tent does before its step.
    """
    network = deepcopy(model).eval()
    learning = tent(network) if how else []
    optimiser = torch.optim.Adam(learning, lr=rate) if how == "Tent" else None
    rows, found = [], []
    for batch in order:
        rows.append(batch)
        inputs = images[batch].to(PLACE)
        found.append(
            tent_step(network, inputs, optimiser) if optimiser else predict(network, inputs)
        )
    logits = torch.cat(found).cpu()
    return logits[torch.cat(rows).argsort()]


def accuracy(logits: Tensor, labels: Tensor) -> float:
    """Return the share that is right."""
    return round((logits.argmax(1) == labels).double().mean().item(), 4)


def choose_rate(recorder: results.Recorder) -> None:
    """Choose Tent's rate for each corruption on held-out patches, spoilt in the two other ways."""
    task = photographs_task(FEW, TUNING_SEED)
    model, kinds = on_patches(task), [kind for kind in STRENGTHS if kind != "none"]
    order = stream(task.held_out.labels, batch=64, one_class=False, generator=drawn_by(TUNING_SEED))
    reached = {}
    for kind in kinds:
        middle = STRENGTHS[kind][2]
        images = corrupt(
            task.held_out.images, kind, strength=middle, generator=drawn_by(TUNING_SEED)
        )
        for rate in RATES:
            logits = adapted_logits(model, images, order, "Tent", rate)
            reached[kind, rate] = accuracy(logits, task.held_out.labels)
    for kind in ("none", *kinds):
        tried = {r: fmean(reached[k, r] for k in kinds if k != kind) for r in RATES}
        best = max(RATES, key=lambda rate: tried[rate])  # the smallest of equals
        shown = {f"{rate:g}": round(tried[rate], 4) for rate in RATES}
        row = {"corruption": kind, "rate": best, "accuracy under others": shown}
        recorder.extend("chosen", [row])


def measure_corruption() -> None:
    """Fill book/results/classification_corruption.json."""
    by_rate = "by `choose_rate`, on held-out patches of the left halves, spoilt otherwise"
    recorder = results.Recorder(
        FOLDER / "classification_corruption.json",
        problem="spoilt patches of photographs in batches of 64, networks that learned clean ones",
        recipe="scripts/results_6_1_1.py corruption",
        data=["photographs"],
        weights=["efficientnet-lite0"],
        methods={
            name: results.Method(what, by_rate if "Tent" in name else "nothing chosen on it")
            for name, what in HOW.items()
        },
        packages=PACKAGES,
        settings={
            "strengths": STRENGTHS,
            "labels a class": FEW,
            "test": 200,
            "batch": 64,
        },
        device=str(PLACE),
    )
    if not recorder.rows("chosen"):
        choose_rate(recorder)
    rates = {row["corruption"]: row["rate"] for row in recorder.rows("chosen")}

    def measure(key: results.Row) -> dict[str, float]:
        test = photographs_task(FEW, key["seed"]).test
        test = some(test, torch.arange(0, len(test), 2))
        images = corrupt(
            test.images,
            key["corruption"],
            strength=key["strength"],
            generator=drawn_by(key["seed"]),
        )
        order = stream(test.labels, batch=64, one_class=False, generator=drawn_by(key["seed"]))
        base, _, how = key["method"].partition(", ")
        model = networks(key["seed"])[base]
        logits = adapted_logits(model, images, order, how, rates[key["corruption"]])
        return {
            "accuracy": accuracy(logits, test.labels),
            "confidence": round(logits.softmax(1).amax(1).mean().item(), 4),
            "ece": round(expected_calibration_error(logits, test.labels).item(), 4),
        }

    recorder.measure(
        [
            {"method": method, "corruption": kind, "strength": strength, "seed": seed}
            for seed in SEEDS
            for kind, strengths in STRENGTHS.items()
            for strength in strengths
            for method in HOW
        ],
        measure,
    )


# maps: does Grad-CAM depend on what was learned, and do the places it shows matter?

MAP_SIZE, MAPS = 192, 50
PARTS = {
    "head": ("head",),
    "and the last convolution": ("body.conv_head", "body.bn2"),
    "and stage 7": ("body.blocks.6",),
    "and stages 5 and 6": ("body.blocks.4", "body.blocks.5"),
    "and stages 2 to 4": ("body.blocks.1", "body.blocks.2", "body.blocks.3"),
    "everything": ("body.blocks.0", "body.conv_stem", "body.bn1"),
}


@cache
def map_task(seed: int) -> tuple[backbones.Backbone, Images, Tensor, Tensor]:
    """Return a trained network, test patches, the classes it predicts, and its maps of them."""
    train, test = photographs(FEW, seed=seed, size=MAP_SIZE)
    task = Task(train, test, test)
    features = backbones.features(pretrained(), train.images, progress=False)
    model = whole(pretrained(), solved(task, features, 1.0))
    test = some(test, torch.randperm(len(test), generator=drawn_by(seed))[:MAPS])
    predicted = logits_of(model, test).argmax(1)
    return model, test, predicted, maps_of(model, test.images, predicted)


def map_recorder(part: str, problem: str, methods: dict[str, str]) -> results.Recorder:
    """Open a file of what was measured on the maps of `map_task`."""
    return results.Recorder(
        FOLDER / f"classification_{part}.json",
        problem=problem,
        recipe=f"scripts/results_6_1_1.py {part}",
        data=["photographs"],
        weights=["efficientnet-lite0"],
        methods={name: results.Method(what, "nothing to choose") for name, what in methods.items()},
        packages=PACKAGES,
        settings={"size": MAP_SIZE, "patches": MAPS, "labels a class": FEW},
        device=str(PLACE),
    )


def measure_maps() -> None:
    """Fill book/results/classification_maps.json."""
    other = "another head, learned from other patches"
    methods = {other: "The same body and a head from patches of another seed."}
    methods |= dict.fromkeys(PARTS, "Random weights in place of the trained ones, cascading.")
    methods |= {
        "another patch": "The trained network's map of another test patch.",
        "contrast of the patch": "Standard deviation of the pixels at each place: no network.",
    }
    recorder = map_recorder(
        "maps",
        "Grad-CAM of test patches, rank correlation with the trained network's maps",
        methods,
    )

    def measure(key: results.Row) -> dict[str, float]:
        model, test, predicted, maps = map_task(key["seed"])
        if key["method"] == "another patch":
            found = maps.roll(1, 0)
        elif key["method"] == "contrast of the patch":
            found = contrast(test.images, MAP_SIZE // maps.shape[-1])
        elif key["method"] == other:
            network = map_task((key["seed"] + 1) % len(SEEDS))[0]
            found = maps_of(network, test.images, predicted)
        else:
            network = randomised(model, key["method"], key["seed"])
            found = maps_of(network, test.images, predicted)
        return {
            "rank_correlation": round(rank_correlation(maps, found).mean().item(), 4),
            "empty": round((found.flatten(1).amax(1) == 0).double().mean().item(), 4),
        }

    keys = [{"method": method, "seed": seed} for seed in SEEDS for method in methods]
    recorder.measure(keys, measure)


def contrast(images: Tensor, side: int) -> Tensor:
    """Return the standard deviation of the pixels in each square."""
    grey = images.mean(1)
    variance = avg_pool2d(grey.square(), side) - avg_pool2d(grey, side).square()
    return variance.clamp(min=0).sqrt()


def randomised(model: backbones.Backbone, last: str, seed: int) -> backbones.Backbone:
    """Replace parts by random ones, from the head down to and with the last one."""
    names = list(PARTS)
    replaced = [part for name in names[: names.index(last) + 1] for part in PARTS[name]]
    with seeded(seed):
        fresh = backbones.efficientnet_lite0(pretrained=False, classes=model.head.out_features)
    network = deepcopy(model)
    for part in replaced:
        network.get_submodule(part).load_state_dict(fresh.get_submodule(part).state_dict())
    return network


def measure_masking() -> None:
    """Fill book/results/classification_masking.json."""
    methods = {
        "nothing": "The patches as they are.",
        "lowest": "Grey where the map is lowest.",
        "random": "Grey at places drawn at random.",
        "highest": "Grey where the map is highest.",
    }
    recorder = map_recorder(
        "masking", "accuracy on test patches of which a part is grey, chosen by Grad-CAM", methods
    )

    def measure(key: results.Row) -> dict[str, float]:
        model, test, predicted, maps = map_task(key["seed"])
        order = torch.rand(maps.shape, generator=drawn_by(key["seed"]))
        values = {"highest": maps, "lowest": -maps, "random": order, "nothing": maps}
        share = 0.0 if key["method"] == "nothing" else key["share"]
        logits = logits_of(model, masked(test.images, values[key["method"]], share=share))
        return {
            "accuracy": accuracy(logits, test.labels),
            "as_before": accuracy(logits, predicted),
        }

    recorder.measure(
        [
            {"method": method, "share": share, "seed": seed}
            for seed in SEEDS
            for share in (0.1, 0.25, 0.5)
            for method in methods
        ],
        measure,
    )


if __name__ == "__main__":
    run_recipe(
        __doc__,
        {
            "photographs": measure_photographs,
            "ants-bees": measure_ants_bees,
            "corruption": measure_corruption,
            "maps": measure_maps,
            "masking": measure_masking,
        },
    )
