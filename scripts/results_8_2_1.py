"""Measure the tables of section 8.2.1 and write them to book/results.

    OMP_NUM_THREADS=1 python scripts/results_8_2_1.py gaps
    OMP_NUM_THREADS=1 python scripts/results_8_2_1.py joint
    OMP_NUM_THREADS=1 python scripts/results_8_2_1.py remedies

The file is written after each row. The networks are trained together in stacks, so that all rows
are there at once, after about a minute.

gaps: a feed-forward network of 12,500 parameters learns a source in 300 steps of 64 images at rate
0.002, then the target's 20 labelled images, all of them in each of 200 steps, with a new head. From
scratch, the 20 images get all 500 steps; a second baseline gets 200. The rate is one of two. It is
chosen by learning half of the labelled images and testing the other half, then the other way
round; from scratch as well. The scores are measured before the target is learned, from the same 20
labelled images, the proxy A-distance from 400 without labels. Those that end in "400" have 400
labels, which the real setting hasn't. "scratch" has scores, too: those of random weights.

joint: one head for both, a source's class k is the target's class k; each of 500 steps sees 20
images of the target and 64 of the source. "weight" is that of the source's loss; "chosen" takes 0,
0.1 or 1 by the same two halves. Rate 0.001 for all.

remedies: other ways to go on from a source, with the target's 200 steps and two values tried each.
"scratch" goes on from random weights in the same way: what the way costs without any source.
"""

from functools import cache
from itertools import product
from pathlib import Path
from typing import Any

import torch
from recipes import run_recipe
from torch import Tensor
from torch.nn.functional import cross_entropy

from mapping_lib.distances import proxy_a_distance
from mapping_lib.lab.results import Method, Recorder
from mapping_lib.lab.sources import (
    SOURCES,
    State,
    descend,
    draw_source,
    draw_target,
    features_of,
    logits_of,
    networks,
)
from mapping_lib.source_scores import h_score, leep, logme, nce

FOLDER = Path(__file__).resolve().parents[1] / "book" / "results"
SEEDS = range(8)
SOURCE_STEPS, STEPS = 300, 200
RATES = (1e-3, 3e-3)
CHOSEN = "rate 0.001 or 0.003, by two halves of the labelled images"
SETTINGS = {"source steps": SOURCE_STEPS, "steps": STEPS, "labels": 20, "optimiser": "Adam"}
DATA = ["rendered-glyphs", "handwritten-digits", "photographs"]
TARGETS = ("digits",)
PACKAGES = ("torch", "numpy", "pillow", "scikit-learn")


@cache
def source(name: str) -> tuple[Tensor, Tensor]:
    """Images and labels of a source, one draw a seed."""
    images, labels = zip(*(draw_source(name, seed=seed) for seed in SEEDS), strict=True)
    return torch.stack(images), torch.stack(labels)


@cache
def learned(name: str) -> State:
    """Return the networks that have learned a source, one a seed."""
    if name == "scratch":
        return networks(SEEDS)
    images, labels = source(name)
    generator = torch.Generator().manual_seed(0)
    start = networks(SEEDS, classes=int(labels.max()) + 1)
    return descend(
        start, drawn=(images, labels), steps=SOURCE_STEPS, rate=2e-3, generator=generator
    )


@cache
def target(name: Any) -> tuple[Tensor, ...]:
    """Labelled images and labels, and those that test, one draw a seed."""
    pairs = [draw_target(name, labels_per_class=2, seed=seed) for seed in SEEDS]
    parts = [(part.images, part.labels) for pair in pairs for part in pair]
    known, test = zip(*parts[::2], strict=True), zip(*parts[1::2], strict=True)
    return tuple(torch.stack(tensors) for tensors in (*known, *test))


def halves(labels: Tensor) -> tuple[Tensor, Tensor]:
    """Rows (m, 20) of the first image of each class, twice, and of the second."""
    order = labels.argsort(dim=1, stable=True)
    return order[:, ::2].repeat(1, 2), order[:, 1::2].repeat(1, 2)


def rows_of(tensor: Tensor, rows: Tensor) -> Tensor:
    """Take other rows of each network's examples."""
    return tensor[torch.arange(len(rows)).unsqueeze(1), rows]


def tuned(starts: State, name: str, copies: int, values: list[dict[str, Any]]) -> Any:
    """Learn the target by each of some settings; return what each network's best one reaches.

    Three stacks: all labelled images, and either half, whose other half chooses.
    """
    images, labels, test, truth = (
        part.repeat(copies, *[1] * (part.ndim - 1)) for part in target(name)
    )
    first, second = halves(labels)
    everything = torch.arange(20).expand(len(labels), 20)
    reached, hits = [], []
    for settings in values:
        extra = dict(settings)
        drawn = extra.pop("drawn", None)
        fit = []
        for rows in (everything, first, second):
            part = (rows_of(images, rows), rows_of(labels, rows))
            generator = torch.Generator().manual_seed(0)
            fit.append(descend(starts, known=part, drawn=drawn, generator=generator, **extra))
        found = logits_of(fit[0], test).argmax(2)
        reached.append((found == truth).float().mean(1))
        hit = torch.zeros(len(labels))
        for state, rows in ((fit[1], second), (fit[2], first)):
            held, wanted = logits_of(state, rows_of(images, rows)), rows_of(labels, rows)
            right = (held.argmax(2) == wanted).float().mean(1)
            loss = cross_entropy(held.mT, wanted, reduction="none").mean(1)
            hit += right - 1e-4 * loss  # of equally many hits, the smaller loss
        hits.append(hit)
    return torch.stack(reached), torch.stack(hits)  # (values, networks)


def stacked(names: list[str]) -> State:
    """Networks that have learned sources, one source after another, with new heads.

    The head must be another than the one that learning the source began with: the hidden layer has
    adapted to that, so a source with the target's classes in the target's order would have an
    advantage that no real one has.
    """
    heads = networks([100 + seed for seed in SEEDS])
    return {
        key: torch.cat([(learned(name) if "hidden" in key else heads)[key] for name in names])
        for key in heads
    }


def best(reached: Tensor, hits: Tensor) -> tuple[Tensor, Tensor]:
    """Each network's accuracy by the value with most hits, and which value that is."""
    took = hits.argmax(0)
    return reached.gather(0, took.unsqueeze(0))[0], took


# gaps


@cache
def all_gaps(name: str) -> dict[tuple[str, int], tuple[float, float]]:
    """Accuracy and rate of each method and seed on a target."""
    found = {}
    runs = [(["scratch"], SOURCE_STEPS + STEPS, "scratch"), (["scratch"], STEPS, "short")]
    for names, steps, method in [*runs, (list(SOURCES), STEPS, "")]:
        values = [{"steps": steps, "rate": rate} for rate in RATES]
        accuracy, took = best(*tuned(stacked(names), name, len(names), values))
        for row, (origin, seed) in enumerate(product(names, SEEDS)):
            key = {"short": "scratch, 200 steps"}.get(method, origin)
            found[key, seed] = float(accuracy[row]), RATES[int(took[row])]
    return found


def scores(origin: str, name: Any, seed: int) -> dict[str, float]:
    """Return what is known of a source before the target is learned."""
    state = {key: weights[seed : seed + 1] for key, weights in learned(origin).items()}
    few = [draw_target(name, labels_per_class=k, seed=seed)[0] for k in (2, 40)]
    found: dict[str, float] = {}
    for end, part in zip(("", " 400"), few, strict=True):
        features, labels = features_of(state, part.images)[0], part.labels
        logits = logits_of(state, part.images)[0]
        found |= {
            f"LEEP{end}": float(leep(logits.softmax(1), labels)),
            f"NCE{end}": float(nce(logits.argmax(1), labels)),
            f"LogME{end}": float(logme(features, labels)),
            f"H-score{end}": float(h_score(features, labels)),
            f"H-score, shrunk{end}": float(h_score(features, labels, shrinkage="auto")),
            f"nearest mean{end}": nearest_mean(features, labels),
        }
    if origin != "scratch":
        own, generator = features_of(state, source(origin)[0][seed, :400])[0], torch.Generator()
        away = features_of(state, few[1].images)[0]
        distance = proxy_a_distance(own, away, generator=generator.manual_seed(seed))
        found["proxy A-distance"] = float(distance)
    return found


def nearest_mean(features: Tensor, labels: Tensor) -> float:
    """Return the share of examples that are nearest to their class's mean, themselves left out."""
    hot = torch.eye(10)[labels]
    counts = hot.sum(0) - hot  # (n, 10): how many others each class has, for each example
    means = (hot.T @ features - hot[:, :, None] * features[:, None]) / counts[:, :, None]
    distances = (features[:, None] - means).square().sum(2)
    return float((distances.argmin(1) == labels).float().mean())


def gaps() -> None:
    """Fill negative_gaps."""
    recorder = Recorder(
        FOLDER / "negative_gaps.json",
        problem="20 labels of a target, after sources that help or hurt, at equal budgets",
        recipe="scripts/results_8_2_1.py gaps",
        data=DATA,
        methods={
            "scratch": Method("random weights, 500 steps on the target", CHOSEN),
            "scratch, 200 steps": Method("random weights, 200 steps on the target", CHOSEN),
            **{name: Method(what, CHOSEN) for name, what in SOURCES.items()},
        },
        packages=PACKAGES,
        settings=SETTINGS,
    )

    def measure(key: dict[str, Any]) -> dict[str, float]:
        accuracy, rate = all_gaps(key["target"])[key["method"], key["seed"]]
        found = {"accuracy": accuracy, "rate": rate}
        if "," not in key["method"]:
            found |= scores(key["method"], key["target"], key["seed"])
        return {name: round(value, 4) for name, value in found.items()}

    recorder.measure(
        [
            {"target": name, "method": method, "seed": seed}
            for name in TARGETS
            for method in ("scratch", "scratch, 200 steps", *SOURCES)
            for seed in SEEDS
        ],
        measure,
    )


# joint

TOGETHER = ["digits", "exchanged labels", "random labels", "negatives", "photographs"]


@cache
def all_joint() -> dict[tuple[str, str, int], float]:
    """Accuracy of each source, weight and seed."""
    images, labels = (torch.cat(parts) for parts in zip(*map(source, TOGETHER), strict=True))
    values: list[dict[str, Any]] = [{"steps": SOURCE_STEPS + STEPS, "rate": RATES[0]}]
    values += [values[0] | {"drawn": (images, labels), "weight": w} for w in (0.1, 1.0)]
    start = stacked(["scratch"] * len(TOGETHER))
    reached, hits = tuned(start, "digits", len(TOGETHER), values)
    table = torch.cat([reached, best(reached, hits)[0].unsqueeze(0)])
    keys = product(("0", "0.1", "1", "chosen"), TOGETHER, SEEDS)
    return {
        (name, weight, seed): float(value)
        for (weight, name, seed), value in zip(keys, table.flatten(), strict=True)
    }


def joint() -> None:
    """Fill negative_joint."""
    recorder = Recorder(
        FOLDER / "negative_joint.json",
        problem="20 labelled handwritten digits, learned together with a source under one head",
        recipe="scripts/results_8_2_1.py joint",
        data=DATA,
        methods={name: Method(SOURCES[name], "rate fixed") for name in TOGETHER},
        packages=PACKAGES,
        settings=SETTINGS,
    )
    keys = product(TOGETHER, ("0", "0.1", "1", "chosen"), SEEDS)
    recorder.measure(
        [{"method": name, "weight": weight, "seed": seed} for name, weight, seed in keys],
        lambda key: {"accuracy": round(all_joint()[key["method"], key["weight"], key["seed"]], 4)},
    )


# remedies

ALL = {"steps": STEPS}
GONE_ON_FROM = ["digits", "random labels", "negatives", "on their side", "photographs", "scratch"]
WAYS: dict[str, tuple[str, list[dict[str, Any]]]] = {
    "small rate": (
        "all weights, rate 0.0001 or 0.0003",
        [ALL | {"rate": rate} for rate in (1e-4, 3e-4)],
    ),
    "frozen": (
        "the new head alone, rate 0.003 or 0.03",
        [ALL | {"rate": r, "fixed": ("hidden.weight", "hidden.bias")} for r in (3e-3, 3e-2)],
    ),
    "L2-SP": (
        "all weights, drawn to the source's with strength 0.1 or 1, rate 0.001",
        [ALL | {"rate": RATES[0], "pull": pull} for pull in (0.1, 1.0)],
    ),
    "halved": (
        "all weights, from the mean of the source's and random ones",
        [ALL | {"rate": rate} for rate in RATES],
    ),
}


@cache
def all_remedies(way: str, name: str) -> list[float]:
    """Accuracy of each seed when a source is gone on from in one way."""
    start = stacked([name])
    if way == "halved":
        fresh = stacked(["scratch"])
        start = {key: (weights + fresh[key]) / 2 for key, weights in start.items()}
    accuracy, _ = best(*tuned(start, "digits", 1, WAYS[way][1]))
    found: list[float] = accuracy.tolist()
    return found


def remedies() -> None:
    """Fill negative_remedies."""
    recorder = Recorder(
        FOLDER / "negative_remedies.json",
        problem="20 labelled handwritten digits after a source, learned in other ways",
        recipe="scripts/results_8_2_1.py remedies",
        data=DATA,
        methods={
            way: Method(what, "two values, as in negative_gaps") for way, (what, _) in WAYS.items()
        },
        packages=PACKAGES,
        settings=SETTINGS,
    )
    keys = [k for k in product(WAYS, GONE_ON_FROM, SEEDS) if k[:2] != ("halved", "scratch")]
    recorder.measure(
        [{"method": way, "source": name, "seed": seed} for way, name, seed in keys],
        lambda key: {"accuracy": round(all_remedies(key["method"], key["source"])[key["seed"]], 4)},
    )


if __name__ == "__main__":
    run_recipe(__doc__ or "", {"gaps": gaps, "joint": joint, "remedies": remedies})
