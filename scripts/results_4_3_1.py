"""Measure the tables of section 4.3.1 and write them to book/results.

    OMP_NUM_THREADS=1 python scripts/results_4_3_1.py digits
    OMP_NUM_THREADS=1 python scripts/results_4_3_1.py adversary
    OMP_NUM_THREADS=1 MAPPING_DATA=… python scripts/results_4_3_1.py mnist-usps

The file is written after each row; a second call goes on where the first one stopped.

digits: 4,000 rendered digits (3,200 to train, 800 held out) to 1,797 handwritten ones (1,000
without labels to adapt on, 797 to test). adversary: eight ways to set adversarial adaptation up, on
the same digits. mnist-usps: 2,000 images of MNIST's and 1,800 of USPS's training part, in both
directions, a fifth of the source held out; tested on the official test part of the target.

A seed draws the renders or the subsets, the splits, the first weights and the batches. Every λ of a
method's grid is measured. Each row has what chooses among them: scores without target labels, and
for comparison the accuracy on the target's training images, which takes their labels. Test images
choose nothing.
"""

import argparse
import sys
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import torch
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from torch import Tensor, nn

from mapping_lib.adaptation import (
    importance_weighted_risk,
    importance_weights,
    information_maximisation,
    minimum_class_confusion,
    soft_neighbourhood_density,
)
from mapping_lib.distances import coral, proxy_a_distance
from mapping_lib.lab.adapting import (
    Adversary,
    Batch,
    ConditionalAdversary,
    DigitNetwork,
    Problem,
    SecondHead,
    adapt,
    digit_problem,
    joint_transport,
    outputs,
    several_kernels,
    split,
    transport,
)
from mapping_lib.lab.data import Images, mnist, usps
from mapping_lib.lab.results import Method, Recorder
from mapping_lib.lab.training import accuracy
from mapping_lib.losses import entropy

ROOT = Path(__file__).resolve().parents[1]
SEEDS = range(5)
STEPS, BATCH, RATE = 400, 64, 1e-3
HELD_OUT = 0.2


@cache
def digits(seed: int) -> Problem:
    """Rendered to handwritten digits."""
    return digit_problem(seed)


@cache
def official(name: str) -> tuple[Images, Images]:
    """Return MNIST or USPS at 16 pixels."""
    return mnist(size=16) if name == "MNIST" else usps()


def mnist_usps(pair: str, seed: int) -> Problem:
    """2,000 images of MNIST and 1,800 of USPS, in the direction that the pair names."""
    generator = torch.Generator().manual_seed(seed)
    sizes = {"MNIST": 2000, "USPS": 1800}
    source, target = pair.split("→")
    held_out = int(HELD_OUT * sizes[source])
    parts = split(official(source)[0], [sizes[source] - held_out, held_out], generator)
    (adapted,) = split(official(target)[0], [sizes[target]], generator)
    return Problem(*parts, adapted, official(target)[1])


DomainLoss = Callable[[Batch], Tensor]


@dataclass(frozen=True)
class Recipe:
    """How a method trains."""

    what: str
    weights: tuple[float, ...]
    domain_loss: Callable[[DigitNetwork, int], DomainLoss | None]
    shared_norm: bool = False
    betas: tuple[float, float] = (0.9, 0.999)
    domain_statistics: str = "target"


def adversary(*, layer_norm: bool) -> Callable[[DigitNetwork, int], nn.Module]:
    """Return what makes a discriminator."""
    return lambda _, seed: Adversary(64, seed=seed, layer_norm=layer_norm)


METHODS = {
    "source only": Recipe(
        "source loss alone; the target is normalised by the source's statistics",
        (0.0,),
        lambda *_: None,
        domain_statistics="source",
    ),
    "own statistics": Recipe(
        "source loss alone; the target is normalised by its own statistics (AdaBN)",
        (0.0,),
        lambda *_: None,
    ),
    "CORAL": Recipe(
        "CORAL of the features",
        (10.0, 100.0, 1000.0),
        lambda *_: lambda b: coral(b.source, b.target),
    ),
    "MMD": Recipe(
        "MMD² of the features, four kernels",
        (0.3, 1.0, 3.0, 10.0, 30.0),
        lambda *_: several_kernels,
    ),
    "Sinkhorn": Recipe(
        "Sinkhorn divergence of the features", (0.01, 0.03, 0.1, 0.3), lambda *_: transport
    ),
    "DANN": Recipe(
        "a discriminator behind reversed gradients",
        (0.1, 0.3, 1.0, 3.0),
        adversary(layer_norm=False),
    ),
    "CDAN": Recipe(
        "the same on products of features and probabilities, sure rows weighing more",
        (0.1, 0.3, 1.0, 3.0),
        lambda _, seed: ConditionalAdversary(seed=seed, layer_norm=False),
    ),
    "MCD": Recipe(
        "discrepancy of two classifiers behind reversed gradients",
        (0.3, 1.0, 3.0, 10.0),
        lambda network, seed: SecondHead(network.head, seed=seed),
    ),
    "DeepJDOT": Recipe(
        "transport of features and labels", (0.1, 1.0, 10.0), lambda *_: joint_transport
    ),
    "entropy": Recipe(
        "mean entropy of the target's predictions",
        (0.1, 0.3, 1.0),
        lambda *_: lambda b: entropy(b.target_logits),
    ),
    "information": Recipe(
        "the same less the entropy of the mean prediction (information maximisation)",
        (0.1, 0.3, 1.0, 3.0),
        lambda *_: lambda b: information_maximisation(b.target_logits),
    ),
    "class confusion": Recipe(
        "minimum class confusion of the target's predictions",
        (0.3, 1.0, 3.0, 10.0),
        lambda *_: lambda b: minimum_class_confusion(b.target_logits),
    ),
}

ADVERSARIES = {
    " + ".join(name for name, on in zip(names, switches, strict=True) if on) or "plain": Recipe(
        "a discriminator behind reversed gradients; "
        f"layer norm before it {'on' if switches[0] else 'off'}, "
        f"Adam's first β {0.5 if switches[1] else 0.9}, "
        f"batch norm {'shared' if switches[2] else 'of each domain'}",
        (0.3, 1.0),
        adversary(layer_norm=bool(switches[0])),
        betas=(0.5 if switches[1] else 0.9, 0.999),
        shared_norm=bool(switches[2]),
    )
    for names in [("layer norm", "β 0.5", "shared norm")]
    for switches in [(a, b, c) for c in (0, 1) for b in (0, 1) for a in (0, 1)]
}

SMALL = {
    name: Recipe(
        METHODS[name].what,
        weights,
        METHODS[name].domain_loss,
        domain_statistics=METHODS[name].domain_statistics,
    )
    for name, weights in {
        "source only": (0.0,),
        "own statistics": (0.0,),
        "CORAL": (100.0, 1000.0),
        "MMD": (1.0, 3.0, 10.0),
        "Sinkhorn": (0.03, 0.1, 0.3),
        "DANN": (0.1, 0.3, 1.0),
        "CDAN": (0.1, 0.3, 1.0),
        "MCD": (1.0, 3.0),
        "DeepJDOT": (0.1, 1.0),
        "entropy": (0.1, 0.3),
        "information": (0.1, 0.3, 1.0),
        "class confusion": (1.0, 3.0),
    }.items()
}


def run(recipe: Recipe, weight: float, problem: Problem, seed: int) -> dict[str, float]:
    """Train once and measure everything."""
    network = DigitNetwork(seed=seed, shared_norm=recipe.shared_norm)
    training = adapt(
        network,
        problem.source,
        problem.target.images,
        domain_loss=recipe.domain_loss(network, seed),
        weight=weight,
        steps=STEPS,
        batch_size=BATCH,
        rate=RATE,
        betas=recipe.betas,
        seed=seed,
    )
    source = outputs(network, problem.source.images[:1000], "source")
    held_out = outputs(network, problem.source_held_out.images, "source")
    target = outputs(network, problem.target.images, recipe.domain_statistics)
    test = outputs(network, problem.target_test.images, recipe.domain_statistics)
    generator = torch.Generator().manual_seed(seed)
    weights, effective = ratio(source.features, target.features, held_out.features)
    losses = nn.functional.cross_entropy(
        held_out.logits, problem.source_held_out.labels, reduction="none"
    )
    few = target.logits[:1000]
    return {
        "accuracy": accuracy(test.logits, problem.target_test.labels),
        "target_train_accuracy": accuracy(target.logits, problem.target.labels),
        "source_accuracy": accuracy(held_out.logits, problem.source_held_out.labels),
        "density": round(float(soft_neighbourhood_density(few)), 4),
        "information": round(float(-information_maximisation(few)), 4),
        "weighted_risk": round(float(importance_weighted_risk(losses, weights, control=True)), 4),
        "effective_share": round(effective, 4),
        "a_distance": round(
            float(proxy_a_distance(source.features, target.features, generator=generator)), 4
        ),
        "source_loss": round(sum(training.source_losses[-20:]) / 20, 4),
        "domain_loss": round(sum(training.domain_losses[-20:]) / 20, 4),
    }


def ratio(source: Tensor, target: Tensor, held_out: Tensor) -> tuple[Tensor, float]:
    """Density ratio of held-out source features, and the share of them that it is worth."""
    classifier = make_pipeline(StandardScaler(), LogisticRegression(C=0.01, max_iter=1000))
    classifier.fit(torch.cat([source, target]), [1] * len(source) + [0] * len(target))
    logits = torch.as_tensor(classifier.decision_function(held_out), dtype=held_out.dtype)
    share = len(source) / (len(source) + len(target))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)  # the share is stored
        weights = importance_weights(logits, source_share=share)
    effective = weights.sum().square() / weights.square().sum() / len(weights)
    return weights, float(effective)


def measure(
    name: str,
    command: str,
    title: str,
    data: list[str],
    recipes: dict[str, Recipe],
    draw: Callable[..., Problem],
    problems: list[dict[str, Any]],
) -> None:
    """Fill one file."""
    recorder = Recorder(
        ROOT / "book" / "results" / f"{name}.json",
        problem=title,
        recipe=f"scripts/results_4_3_1.py {command}",
        data=data,
        methods={
            method: Method(
                recipe.what,
                chosen="nothing to choose"
                if recipe.weights == (0.0,)
                else "not here: every λ is measured, and the page chooses by a score without "
                "target labels and, beside it, by the labels of the target's training images",
            )
            for method, recipe in recipes.items()
        },
        packages=["torch", "numpy", "scikit-learn", "pillow"],
        settings={"steps": STEPS, "batch": BATCH, "Adam's rate": RATE, "image side": 16},
    )
    keys = [
        {"method": method, **problem, "weight": weight, "seed": seed}
        for seed in SEEDS
        for problem in problems
        for method, recipe in recipes.items()
        for weight in recipe.weights
    ]

    def row(key: dict[str, Any]) -> dict[str, float]:
        chosen = {n: v for n, v in key.items() if n not in ("method", "weight")}
        values = run(recipes[key["method"]], key["weight"], draw(**chosen), key["seed"])
        return {column: round(value, 4) for column, value in values.items()}

    recorder.measure(keys, row)


def main(arguments: list[str]) -> None:
    """Run one of the recipes."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("problem", choices=["digits", "adversary", "mnist-usps"])
    chosen = parser.parse_args(arguments).problem
    torch.set_num_threads(1)
    bundled = ["rendered-glyphs", "handwritten-digits"]
    if chosen == "digits":
        title = "rendered to handwritten digits, domain adaptation"
        measure("adaptation_digits", chosen, title, bundled, METHODS, digits, [{}])
    elif chosen == "adversary":
        title = "rendered to handwritten digits, what makes adversarial adaptation stable"
        measure("adaptation_adversary", chosen, title, bundled, ADVERSARIES, digits, [{}])
    else:
        title = "MNIST and USPS, 2,000 and 1,800 images, domain adaptation in both directions"
        pairs = [{"pair": "MNIST→USPS"}, {"pair": "USPS→MNIST"}]
        measure("adaptation_mnist_usps", chosen, title, ["mnist", "usps"], SMALL, mnist_usps, pairs)


if __name__ == "__main__":
    main(sys.argv[1:])
