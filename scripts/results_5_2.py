"""Measure the tables of section 5.2 and write them to book/results.

    OMP_NUM_THREADS=1 python scripts/results_5_2.py photographs
    OMP_NUM_THREADS=1 MAPPING_DATA=… python scripts/results_5_2.py ants-bees

The file is written after each row; a second call goes on where the first one stopped.

photographs: twenty pictures, a patch's class is the picture it was cut from (left halves to train,
right halves to test, 96 px, grey), with 1, 5 and 20 labels a class and five seeds. A seed draws the
training patches, the new layers and the order; the 400 test patches are always the same.
Learning rates are chosen by `choose` on patches of the left halves alone; no test patch is used.

ants-bees: the two methods of the notebook's live comparison, with its settings, on the official
split at 224 px with five seeds. A seed draws the new layers and the order.
"""

import time
from collections.abc import Callable, Iterator
from functools import cache, cached_property
from itertools import product
from pathlib import Path
from typing import Any

import torch
from recipes import run_recipe
from sklearn.linear_model import LogisticRegression
from torch import Tensor, nn
from torch.nn.functional import cross_entropy

from mapping_lib.lab import backbones, results
from mapping_lib.lab.data import Images, photographs, transfer_problem
from mapping_lib.lab.training import fit

FOLDER = Path(__file__).resolve().parents[1] / "book" / "results"
SIZE, SEEDS, LABELS = 96, range(5), (1, 5, 20)
STEPS, BATCH = 80, 16  # of every method that trains the body of EfficientNet-Lite0
# Of the PyTorch tutorial; and of the small network on ants and bees.
RECIPE: dict[str, Any] = {"rate": 0.001, "momentum": 0.9, "batch_size": 4, "epochs": 25}
BASELINE: dict[str, Any] = {"rate": 0.003, "momentum": 0.9, "batch_size": 16, "epochs": 15}
PACKAGES = ("torch", "timm", "scikit-learn", "numpy", "pillow")
SETTINGS = {"size": SIZE, "test": 400, "steps": STEPS, "batch": BATCH, "momentum": 0.9}
TUNING_SEED, VALIDATION_SEED = 1000, 2000

Curve = list[dict[str, float]] | None  # None: nobody wants to see it
Outcome = tuple[float, float]  # test accuracy, CPU seconds to train
Methods = dict[str, tuple[Callable[..., Outcome], str]]  # how to train, how that was chosen


def batches(n: int, batch: int, steps: int, seed: int) -> Iterator[Tensor]:
    """Draw the indices of `steps` batches, epoch by epoch."""
    generator = torch.Generator().manual_seed(seed)
    done = 0
    while done < steps:
        for indices in torch.randperm(n, generator=generator).split(batch):
            if done < steps:
                yield indices
            done += 1


def descend(
    model: nn.Module,
    groups: list[dict[str, object]],
    train: tuple[Tensor, Tensor],
    *,
    batch: int,
    steps: int,
    seed: int,
    watch: Callable[[int, float], None] = lambda step, loss: None,
) -> None:
    """Train with SGD, momentum 0.9 and cross-entropy."""
    inputs, labels = train
    optimiser = torch.optim.SGD(groups, momentum=0.9)
    model.train()
    for step, indices in enumerate(batches(len(inputs), batch, steps, seed)):
        loss = cross_entropy(model(inputs[indices]), labels[indices])
        watch(step, loss.item())
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
    model.eval()


def accuracy(model: nn.Module, images: Tensor, labels: Tensor) -> float:
    """Share of images whose largest logit is the label's."""
    model.eval()
    with torch.no_grad():
        logits = torch.cat([model(batch) for batch in images.split(64)])
    return (logits.argmax(1) == labels).double().mean().item()


class Problem:
    """A training and a test set, with the frozen features of both computed once, when needed."""

    def __init__(self, train: Images, test: Images) -> None:
        self.train, self.test, self.classes = train, test, len(train.classes)
        start = time.process_time()
        self.train_features = frozen_features(train.images)
        self.feature_seconds = time.process_time() - start  # counted in every frozen method

    @cached_property
    def test_features(self) -> Tensor:
        """Frozen features of the test set."""
        return frozen_features(self.test.images)


def frozen_features(images: Tensor) -> Tensor:
    """Features of EfficientNet-Lite0 with its ImageNet weights."""
    return backbones.features(backbones.efficientnet_lite0(), images, progress=False)


@cache
def problem_of(labels: int, seed: int) -> Problem:
    """Draw a training set; the test set and its features are made once."""
    train, test = photographs(labels, seed=seed, size=SIZE)
    if (labels, seed) == (LABELS[0], SEEDS[0]):
        return Problem(train, test)
    first = problem_of(LABELS[0], SEEDS[0])
    problem = Problem(train, first.test)
    problem.__dict__["test_features"] = first.test_features
    return problem


def score(problem: Problem, model: nn.Module, *, on_features: bool = False) -> float:
    """Test accuracy of a model of images, or of a head of features."""
    inputs = problem.test_features if on_features else problem.test.images
    return accuracy(model, inputs, problem.test.labels)


# Each method takes (problem, seed, rate, curve) and returns an Outcome.


def from_scratch_small(problem: Problem, seed: int, rate: float, curve: Curve) -> Outcome:
    """A small network, each image standardised, 400 steps."""
    model = backbones.small_cnn(problem.classes)
    start = time.process_time()
    train = (problem.train.images, problem.train.labels)
    groups = [{"params": model.parameters(), "lr": rate}]
    descend(model, groups, train, batch=BATCH, steps=5 * STEPS, seed=seed)
    seconds = time.process_time() - start
    return score(problem, model), seconds


def train_body(
    problem: Problem,
    model: backbones.Backbone,
    groups: list[dict[str, object]],
    seed: int,
    curve: Curve,
    steps: int = STEPS,
) -> Outcome:
    """Train body and head for the common number of steps, watching the test set if asked to."""
    seconds = 0.0
    start = time.process_time()
    train = (problem.train.images, problem.train.labels)

    def watch(step: int, loss: float) -> None:
        nonlocal start, seconds
        if curve is not None and step % 20 == 0:
            seconds += time.process_time() - start
            mode = model.training
            curve.append({"step": step, "loss": loss, "accuracy": score(problem, model)})
            model.train(mode)
            start = time.process_time()

    descend(model, groups, train, batch=BATCH, steps=steps, seed=seed, watch=watch)
    seconds += time.process_time() - start
    reached = score(problem, model)
    if curve is not None:
        curve.append({"step": steps, "accuracy": reached})
    return reached, seconds


def from_scratch_large(
    problem: Problem, seed: int, rate: float, curve: Curve, steps: int = STEPS
) -> Outcome:
    """EfficientNet-Lite0 with random weights, everything trained."""
    model = backbones.efficientnet_lite0(pretrained=False, classes=problem.classes)
    groups = backbones.parameter_groups(model, head_rate=rate, body_rate=rate)
    return train_body(problem, model, groups, seed, curve, steps)


def from_scratch_longer(problem: Problem, seed: int, rate: float, curve: Curve) -> Outcome:
    """The same with the same rate and 400 steps; 20 labels and three seeds only."""
    return from_scratch_large(problem, seed, rate, curve, 5 * STEPS)


def train_head(problem: Problem, seed: int, steps: int | None = None) -> nn.Linear:
    """Train a new linear layer on the frozen features by the source's recipe."""
    head = nn.Linear(problem.train_features.shape[1], problem.classes)
    n, batch = len(problem.train), RECIPE["batch_size"]
    steps = steps or RECIPE["epochs"] * -(-n // batch)
    groups: list[dict[str, object]] = [{"params": head.parameters(), "lr": RECIPE["rate"]}]
    train = (problem.train_features, problem.train.labels)
    descend(head, groups, train, batch=batch, steps=steps, seed=seed)
    return head


def frozen_recipe(
    problem: Problem, seed: int, rate: float, curve: Curve, steps: int | None = None
) -> Outcome:
    """Frozen features and a head trained by the source's recipe, 25 epochs."""
    start = time.process_time()
    head = train_head(problem, seed, steps)
    seconds = problem.feature_seconds + time.process_time() - start
    return score(problem, head, on_features=True), seconds


def solve_head(problem: Problem, c: float) -> Outcome:
    """Solve a logistic regression on the frozen features, with the penalty |W|² / (2 c)."""
    start = time.process_time()
    solver = LogisticRegression(C=c, max_iter=20_000)
    solver.fit(problem.train_features.numpy(), problem.train.labels.numpy())
    seconds = problem.feature_seconds + time.process_time() - start
    reached = solver.score(problem.test_features.numpy(), problem.test.labels.numpy())
    return float(reached), seconds


def frozen_penalised(problem: Problem, seed: int, rate: float, curve: Curve) -> Outcome:
    """Frozen features and a logistic regression solved exactly, with scikit-learn's C = 1."""
    return solve_head(problem, 1.0)


def frozen_solved(problem: Problem, seed: int, rate: float, curve: Curve) -> Outcome:
    """Frozen features and a logistic regression solved exactly, with C = 10,000."""
    return solve_head(problem, 10_000.0)


def frozen_fixed(problem: Problem, seed: int, rate: float, curve: Curve) -> Outcome:
    """The recipe stopped after 125 steps of 4 images, body in eval mode."""
    return frozen_recipe(problem, seed, rate, curve, 125)


def frozen_free(problem: Problem, seed: int, rate: float, curve: Curve) -> Outcome:
    """The same 125 steps with the mistake: parameters frozen, batch norm in train mode."""
    model = backbones.efficientnet_lite0(classes=problem.classes)
    torch.manual_seed(seed)
    model.head = nn.Linear(model.width, problem.classes)
    backbones.freeze(model, statistics_fixed=False)
    start = time.process_time()
    groups: list[dict[str, object]] = [{"params": model.head.parameters(), "lr": RECIPE["rate"]}]
    train = (problem.train.images, problem.train.labels)
    descend(model, groups, train, batch=RECIPE["batch_size"], steps=125, seed=seed)
    seconds = time.process_time() - start
    return score(problem, model), seconds


def one_rate(problem: Problem, seed: int, rate: float, curve: Curve) -> Outcome:
    """A new head, then everything trained at once with one rate."""
    model = backbones.efficientnet_lite0(classes=problem.classes)
    backbones.unfreeze(model)
    groups = backbones.parameter_groups(model, head_rate=rate, body_rate=rate)
    return train_body(problem, model, groups, seed, curve)


def smaller_rate(problem: Problem, seed: int, rate: float, curve: Curve) -> Outcome:
    """The head first, by the recipe; then everything, the body with a tenth of the head's rate."""
    model = backbones.efficientnet_lite0(classes=problem.classes)
    start = time.process_time()
    model.head = train_head(problem, seed)
    first = problem.feature_seconds + time.process_time() - start
    backbones.unfreeze(model)
    groups = backbones.parameter_groups(model, head_rate=rate, body_rate=rate / 10)
    reached, seconds = train_body(problem, model, groups, seed, curve)
    return reached, first + seconds


def sweep(problem: Problem, seed: int) -> Iterator[dict[str, float]]:
    """Unfreeze after the recipe, 20 steps at several rates of the body: what moves, how far."""
    some = slice(None, None, 4)
    images, before = problem.test.images[some], problem.test_features[some]
    for rate in BODY_RATES:
        torch.manual_seed(seed)
        model = backbones.efficientnet_lite0(classes=problem.classes)
        model.head = train_head(problem, seed)
        backbones.unfreeze(model)
        groups = backbones.parameter_groups(model, head_rate=RECIPE["rate"], body_rate=rate)
        train = (problem.train.images, problem.train.labels)
        descend(model, groups, train, batch=BATCH, steps=20, seed=seed)
        moved = backbones.features(model, images, progress=False) - before
        yield {
            "body_rate": rate,
            "features_moved": round((moved.norm() / before.norm()).item(), 4),
            "accuracy": score(problem, model),
        }


BY_CHOOSE = "rate by `choose`: accuracy on other patches of the left halves, 5 labels a class"
BY_SOURCE = "nothing chosen: the source's recipe"
SHORTER = BY_SOURCE + ", its number of steps at one label a class"
METHODS: Methods = {
    "small CNN from scratch": (from_scratch_small, BY_CHOOSE),
    "frozen, recipe": (frozen_recipe, BY_SOURCE),
    "frozen, solved, default penalty": (frozen_penalised, "nothing chosen: scikit-learn's default"),
    "frozen, solved, hardly any penalty": (frozen_solved, "C by hand, for hardly any penalty"),
    "frozen, 125 steps": (frozen_fixed, SHORTER),
    "frozen, 125 steps, batch norm in train mode": (frozen_free, SHORTER),
    "fine-tuned, smaller rate for the body": (smaller_rate, BY_CHOOSE + "; the tenth set by hand"),
    "fine-tuned, one rate": (one_rate, BY_CHOOSE),
    "EfficientNet-Lite0 from scratch": (from_scratch_large, BY_CHOOSE),
    "EfficientNet-Lite0 from scratch, 400 steps": (
        from_scratch_longer,
        "rate as chosen for 80 steps",
    ),
}
FEWER = {"EfficientNet-Lite0 from scratch, 400 steps": [(20, seed) for seed in range(3)]}
RATES = {
    "small CNN from scratch": (0.003, 0.01, 0.03),
    "EfficientNet-Lite0 from scratch": (0.01, 0.03, 0.1),
    "fine-tuned, one rate": (0.001, 0.003, 0.01, 0.03),
    "fine-tuned, smaller rate for the body": (0.003, 0.01, 0.03, 0.1),
}
BODY_RATES = (0.0, 0.0001, 0.001, 0.003, 0.01, 0.03)
CURVES = ("fine-tuned, smaller rate for the body", "fine-tuned, one rate")


def described(methods: Methods) -> dict[str, results.Method]:
    """Describe each method by its function's docstring."""
    return {name: results.Method(f.__doc__ or "", chosen) for name, (f, chosen) in methods.items()}


def choose(method: str) -> dict[str, object]:
    """Choose a method's rate at 5 labels a class, on other patches of the left halves."""
    train, _ = photographs(5, seed=TUNING_SEED, size=SIZE, test_per_class=1)
    validation, _ = photographs(10, seed=VALIDATION_SEED, size=SIZE, test_per_class=1)
    problem = Problem(train, validation)
    tried = {}
    for rate in RATES[method]:
        torch.manual_seed(TUNING_SEED)
        tried[str(rate)], _ = METHODS[method][0](problem, TUNING_SEED, rate, None)
    best = max(RATES[method], key=lambda rate: (tried[str(rate)], -rate))
    return {"method": method, "rate": best, "validation accuracy by rate": tried}


def measure_photographs() -> None:
    """Fill book/results/fine_tuning_photographs.json."""
    recorder = results.Recorder(
        FOLDER / "fine_tuning_photographs.json",
        problem="photographs, patches of left halves to train, of right halves to test",
        recipe="scripts/results_5_2.py photographs",
        data=["photographs"],
        weights=["efficientnet-lite0"],
        methods=described(METHODS),
        packages=PACKAGES,
        settings=SETTINGS | {"source's recipe": RECIPE},
    )
    for method in RATES:
        if not any(choice["method"] == method for choice in recorder.rows("chosen")):
            recorder.extend("chosen", [choose(method)])
    rates = {choice["method"]: choice["rate"] for choice in recorder.rows("chosen")}

    def measure(key: results.Row) -> dict[str, float]:
        method, labels, seed = key.values()
        problem = problem_of(labels, seed)
        torch.manual_seed(seed)
        rate = rates.get(method.removesuffix(", 400 steps"), 0.0)
        curve: Curve = [] if labels == 5 and method in CURVES else None
        reached, seconds = METHODS[method][0](problem, seed, rate, curve)
        recorder.extend("curves", [key | point for point in curve or []])
        return {"accuracy": round(reached, 4), "seconds": seconds}

    keys = [
        {"method": method, "labels_per_class": labels, "seed": seed}
        for method in METHODS
        for labels, seed in FEWER.get(method, product(LABELS, SEEDS))
    ]
    recorder.measure(keys, measure)
    for seed in SEEDS:
        if not any(row["seed"] == seed for row in recorder.rows("sweep")):
            points = sweep(problem_of(5, seed), seed)
            recorder.extend("sweep", [{"labels_per_class": 5, "seed": seed} | p for p in points])


def scratch_live(problem: Problem, seed: int) -> Outcome:
    """A small network, each image standardised, 15 epochs."""
    model = backbones.small_cnn(problem.classes)
    images, labels = problem.train.images, problem.train.labels
    start = time.process_time()
    fit(model, cross_entropy, images, labels, **BASELINE, seed=seed, progress=False)
    seconds = time.process_time() - start
    return score(problem, model), seconds


def frozen_live(problem: Problem, seed: int) -> Outcome:
    """Frozen features, computed once, and a new head trained by the source's recipe, 25 epochs."""
    head = nn.Linear(problem.train_features.shape[1], problem.classes)
    features, labels = problem.train_features, problem.train.labels
    start = time.process_time()
    fit(head, cross_entropy, features, labels, **RECIPE, seed=seed, progress=False)
    seconds = problem.feature_seconds + time.process_time() - start
    return score(problem, head, on_features=True), seconds


def measure_ants_bees() -> None:
    """Fill book/results/fine_tuning_ants_bees.json."""
    methods: Methods = {
        "small CNN from scratch": (scratch_live, "rate as on the photographs, epochs set by hand"),
        "frozen body, new head": (frozen_live, BY_SOURCE),
    }
    recorder = results.Recorder(
        FOLDER / "fine_tuning_ants_bees.json",
        problem="ants and bees, official split",
        recipe="scripts/results_5_2.py ants-bees",
        data=["hymenoptera"],
        weights=["efficientnet-lite0"],
        methods=described(methods),
        packages=PACKAGES,
        settings={"size": 224, "baseline": BASELINE, "source's recipe": RECIPE},
    )
    problem = Problem(*transfer_problem("real", seed=0))  # its split is official, drawn by no seed

    def measure(key: results.Row) -> dict[str, float]:
        torch.manual_seed(key["seed"])
        reached, seconds = methods[key["method"]][0](problem, key["seed"])
        return {"accuracy": round(reached, 4), "seconds": seconds}

    recorder.measure([{"method": m, "seed": seed} for m in methods for seed in SEEDS], measure)


if __name__ == "__main__":
    run_recipe(
        __doc__,
        {
            "photographs": measure_photographs,
            "ants-bees": measure_ants_bees,
        },
    )
