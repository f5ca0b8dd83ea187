"""Measure the tables of section 1.2 and write them to book/results.

    OMP_NUM_THREADS=1 python scripts/results_1_2.py photographs
    OMP_NUM_THREADS=1 python scripts/results_1_2.py digits

The file is written after each row; a second call goes on where the first one stopped.

photographs: twenty pictures, a patch's class is the picture it was cut from (left halves to train,
right halves to test, 96 px, grey), with 1 to 20 labels a class and five seeds. A seed draws the
training patches, first weights and order; fewer labels are the first of more. The 400 test patches
are always the same. The rate of the network from scratch is chosen by `choose` on other patches of
the left halves; no test patch is used.

digits: handwritten digits, with 1 to 50 labels a class and five seeds. The network is trained from
random weights, or from those that it learned on 3,200 rendered digits. A seed draws renders,
subsets, weights and order. Nothing is chosen: all trainings follow one recipe.
"""

import copy
import time
from functools import cache
from pathlib import Path

import torch
from recipes import run_recipe
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from torch import Tensor
from torch.nn.functional import cross_entropy

from mapping_lib.lab import backbones, results
from mapping_lib.lab.adapting import DigitNetwork, Problem, digit_problem
from mapping_lib.lab.data import Images, photographs
from mapping_lib.lab.machine import seeded
from mapping_lib.lab.training import accuracy, fit, predict

FOLDER = Path(__file__).resolve().parents[1] / "book" / "results"
LABELS, MORE, SEEDS = (1, 2, 5, 10, 20), (1, 2, 5, 10, 20, 50), range(5)
SIZE = 96
RATES = (0.001, 0.003, 0.01, 0.03)
TUNING_SEED, VALIDATION_SEED = 1000, 2000


def first_of_each(labels: Tensor, count: int) -> Tensor:
    """Rows of the first `count` examples of each class."""
    classes = range(int(labels.max()) + 1)
    return torch.cat([(labels == k).nonzero()[:count, 0] for k in classes])


def from_scratch(images: Tensor, labels: Tensor, seed: int, rate: float) -> backbones.Backbone:
    """Train the small network for 40 epochs, 400 steps at least."""
    with seeded(seed):
        model = backbones.small_cnn(20)
    epochs = max(40, -(-400 // -(-len(images) // 16)))
    fit(
        model,
        cross_entropy,
        images,
        labels,
        epochs=epochs,
        rate=rate,
        batch_size=16,
        seed=seed,
        progress=False,
    )
    return model


@cache
def patches(seed: int) -> tuple[Images, Images]:
    """The most patches to train on, and those to test on."""
    return photographs(max(LABELS), seed=seed, size=SIZE)


@cache
def body(pretrained: bool) -> backbones.Backbone:
    """EfficientNet-Lite0 with the weights of ImageNet or random ones."""
    with seeded(0):
        return backbones.efficientnet_lite0(pretrained=pretrained)


@cache
def train_features(pretrained: bool, seed: int) -> tuple[Tensor, float]:
    """Frozen features of all training patches, and the CPU seconds of one."""
    images = patches(seed)[0].images
    start = time.process_time()
    rows = backbones.features(body(pretrained), images, progress=False)
    return rows, (time.process_time() - start) / len(images)


@cache
def test_features(pretrained: bool) -> Tensor:
    """Frozen features of the test patches, which are the same for each seed."""
    return backbones.features(body(pretrained), patches(0)[1].images, progress=False)


def choose() -> dict[str, object]:
    """Choose the rate from scratch at 5 labels a class, on other patches of the left halves."""
    train, _ = photographs(5, seed=TUNING_SEED, size=SIZE, test_per_class=1)
    judge, _ = photographs(10, seed=VALIDATION_SEED, size=SIZE, test_per_class=1)
    tried = {}
    for rate in RATES:
        model = from_scratch(train.images, train.labels, TUNING_SEED, rate)
        tried[str(rate)] = accuracy(predict(model, judge.images), judge.labels)
    best = max(RATES, key=lambda rate: (tried[str(rate)], -rate))
    return {"method": "from scratch", "rate": best, "validation accuracy by rate": tried}


def measure_photographs() -> None:
    """Fill book/results/transfer_curves.json."""
    probe = "logistic regression on standardised features, C = 1"
    methods = {
        "transfer": results.Method(
            "frozen features of EfficientNet-Lite0 trained on ImageNet, and a " + probe,
            "nothing chosen: scikit-learn's defaults",
        ),
        "random features": results.Method(
            "the same with random weights: the architecture without knowledge",
            "nothing chosen: scikit-learn's defaults",
        ),
        "from scratch": results.Method(
            "a small network, each image standardised, 40 epochs and 400 steps at least",
            "rate by `choose`: accuracy on other patches of the left halves, 5 labels a class",
        ),
    }
    recorder = results.Recorder(
        FOLDER / "transfer_curves.json",
        problem="photographs, accuracy over the number of labels a class",
        recipe="scripts/results_1_2.py photographs",
        data=["photographs"],
        weights=["efficientnet-lite0"],
        methods=methods,
        packages=("torch", "timm", "scikit-learn", "numpy", "pillow"),
        settings={"size": SIZE, "test": 400, "batch": 16, "momentum": 0.9},
    )
    if not recorder.rows("chosen"):
        recorder.extend("chosen", [choose()])
    rate = recorder.rows("chosen")[0]["rate"]

    def measure(key: results.Row) -> dict[str, float]:
        method, count, seed = key["method"], key["labels_per_class"], key["seed"]
        train, test = patches(seed)
        rows = first_of_each(train.labels, count)
        if method == "from scratch":
            start = time.process_time()
            model = from_scratch(train.images[rows], train.labels[rows], seed, rate)
            seconds = time.process_time() - start
            reached = accuracy(predict(model, test.images), test.labels)
        else:
            pretrained = method == "transfer"
            known, each = train_features(pretrained, seed)
            start = time.process_time()
            head = make_pipeline(StandardScaler(), LogisticRegression(max_iter=5000))
            head.fit(known[rows].numpy(), train.labels[rows].numpy())
            seconds = time.process_time() - start + each * len(rows)
            reached = float(head.score(test_features(pretrained).numpy(), test.labels.numpy()))
        return {"accuracy": round(reached, 4), "seconds": seconds}

    recorder.measure(
        [
            {"method": method, "labels_per_class": count, "seed": seed}
            for method in methods
            for seed in SEEDS
            for count in LABELS
        ],
        measure,
    )


def train_digits(network: DigitNetwork, images: Tensor, labels: Tensor, seed: int) -> None:
    """Adam with rate 0.001, batches of 64 at most, 300 steps."""
    batch = min(64, len(images))
    fit(
        network,
        cross_entropy,
        images,
        labels,
        epochs=-(-300 // -(-len(images) // batch)),
        optimiser=torch.optim.Adam(network.parameters(), lr=0.001),
        batch_size=batch,
        seed=seed,
        progress=False,
    )


@cache
def digits(seed: int) -> tuple[Problem, DigitNetwork]:
    """The two sets of digits, and a network trained on the rendered ones."""
    problem = digit_problem(seed)
    network = DigitNetwork(seed=seed, shared_norm=True)
    train_digits(network, problem.source.images, problem.source.labels, seed)
    return problem, network


def measure_digits() -> None:
    """Fill book/results/transfer_digits.json."""
    recipe = "nothing chosen: Adam, rate 0.001, batches of 64, 300 steps, as on the source"
    methods = {
        "source only": results.Method("trained on renders, no target label", recipe),
        "transfer": results.Method("trained on renders, then on the labels", recipe),
        "from scratch": results.Method("the same network, random weights at first", recipe),
    }
    recorder = results.Recorder(
        FOLDER / "transfer_digits.json",
        problem="rendered to handwritten digits, accuracy over the number of labels a class",
        recipe="scripts/results_1_2.py digits",
        data=["rendered-glyphs", "handwritten-digits"],
        methods=methods,
        packages=("torch", "numpy", "scikit-learn", "matplotlib"),
        settings={"renders": 3200, "test": 797, "steps": 300},
    )

    def measure(key: results.Row) -> dict[str, float]:
        count, seed = key["labels_per_class"], key["seed"]
        problem, source = digits(seed)
        start = time.process_time()
        if key["method"] == "from scratch":
            network = DigitNetwork(seed=seed + 100, shared_norm=True)
        else:
            network = copy.deepcopy(source)
        if count:
            rows = first_of_each(problem.target.labels, count)
            train_digits(network, problem.target.images[rows], problem.target.labels[rows], seed)
        seconds = time.process_time() - start
        reached = accuracy(predict(network, problem.target_test.images), problem.target_test.labels)
        return {"accuracy": round(reached, 4), "seconds": seconds}

    keys = [
        {"method": method, "labels_per_class": count, "seed": seed}
        for method in ("transfer", "from scratch")
        for seed in SEEDS
        for count in MORE
    ]
    keys += [{"method": "source only", "labels_per_class": 0, "seed": seed} for seed in SEEDS]
    recorder.measure(keys, measure)


if __name__ == "__main__":
    run_recipe(__doc__, {"photographs": measure_photographs, "digits": measure_digits})
