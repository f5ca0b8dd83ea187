"""Measure the tables of section 8.3.1 and write them to book/results.

    OMP_NUM_THREADS=1 python scripts/results_8_3_1.py pool
    OMP_NUM_THREADS=1 MAPPING_DATA=… python scripts/results_8_3_1.py sources

Each file is written after each row; a second call goes on where the first one stopped.

pool: train the ten source networks and write them to book/results/checkpoints.

sources: what each source is worth on each target, by five draws of its labels: the test accuracy of
a logistic regression on its frozen features, and of the fine-tuned network.

scores: which source each score chooses, and the regret.

layers: the same for the stages of EfficientNet-Lite0, by the accuracy of a logistic regression on
the features after each stage; three draws.

strategies: what each strategy is worth on each target, with 2 and 10 labels a class and three
draws, from the source whose frozen features have the best cross-validated accuracy.

schedules: a controller of frozen groups against fixed schedules, by equal steps.

joint: the loss of a source added to the target's, kept or dropped, by equal steps; beside it a plan
that drops it after half of the steps, and a network without a source that trains on all rows.
"""

from functools import cache
from hashlib import sha256
from pathlib import Path
from typing import Any

import torch
from recipes import run_recipe

from mapping_lib.lab import checkpoints, choosing
from mapping_lib.lab.adjusting import adjust, every, split
from mapping_lib.lab.backbones import efficientnet_lite0
from mapping_lib.lab.choosing import DEVELOPMENT, HELD_OUT, SOURCES, Target
from mapping_lib.lab.probing import STAGES, by_stage, probe
from mapping_lib.lab.results import Method, Recorder, load
from mapping_lib.lab.training import accuracy, predict
from mapping_lib.source_scores import h_score, leep, logme
from mapping_lib.strategies import Controller, Decision, regret

ROOT = Path(__file__).resolve().parents[1]
RESULTS = ROOT / "book" / "results"
SEEDS = range(5)
DATA = [
    "rendered-glyphs",
    "photographs",
    "handwritten-digits",
    "mnist",
    "usps",
    "hymenoptera",
    "office-caltech10",
]
PACKAGES = ["torch", "scikit-learn", "pillow"]
GENTLE = {"head_rate": 1e-2, "body_rate": 1e-3}
FAST = {"head_rate": 3e-3, "body_rate": 3e-3}


def per_class(target: str, level: int = 5) -> int:
    """Return the labels of a class: with two classes four times as many."""
    return 4 * level if target == "ants and bees" else level


def frozen_accuracy(network: Any, target: Target) -> float:
    """Return the test accuracy of a logistic regression on frozen features."""
    train, test = (
        choosing.frozen_features(network, x) for x in (target.images, target.test_images)
    )
    return probe(train, target.labels, test, target.test_labels)


def tuned_accuracy(network: Any, target: Target, seed: int, **rates: float) -> float:
    """Return the test accuracy of a fine-tuned network."""
    tuned = choosing.fine_tune(network, target, seed=seed, **rates)
    return accuracy(predict(tuned, target.test_images), target.test_labels)


def pool() -> None:
    """Write the source networks, in half precision."""
    state = {}
    for name in SOURCES:
        network = choosing.pretrain(name)
        images, labels = choosing.source_problem(name)
        print(f"{name:14} {accuracy(predict(network, images), labels):.3f} on its own images")
        state |= {f"{name}/{key}": v.half() for key, v in network.state_dict().items()}
    choosing.pool_path().parent.mkdir(exist_ok=True)
    path = checkpoints.save(state, choosing.pool_path())
    print(path.stat().st_size, sha256(path.read_bytes()).hexdigest())


def sources() -> None:
    """Fill choosing_sources."""
    recorder = Recorder(
        RESULTS / "choosing_sources.json",
        problem="what each source network is worth on each target",
        recipe="scripts/results_8_3_1.py sources",
        data=DATA,
        methods={
            name: Method(
                f"a network that learned {classes} classes of {name!r}",
                chosen="rates and steps on the development target Georgian, one draw",
            )
            for name, classes in SOURCES.items()
        }
        | {
            "untrained": Method(
                "random weights; in place of fine-tuning, training from scratch",
                chosen="rates and steps on the development target Georgian, one draw",
            )
        },
        packages=PACKAGES,
        settings={"labels": "5 a class, ants and bees 20", "steps": 60, "Adam's rates": GENTLE}
        | {"Adam's rates from scratch": FAST},
    )
    networks = choosing.pool()

    def row(key: dict[str, Any]) -> dict[str, float]:
        name, seed = key["target"], key["seed"]
        target = choosing.target_problem(name, per_class=per_class(name), seed=seed)
        if key["method"] == "untrained":
            body = choosing.small_network(2, seed=seed)
            found = tuned_accuracy(None, target, seed, **FAST)
        else:
            body = networks[key["method"]]
            found = tuned_accuracy(body, target, seed, **GENTLE)
        return {"tuned": round(found, 4), "frozen": round(frozen_accuracy(body, target), 4)}

    recorder.measure(
        [
            {"method": source, "target": target, "seed": seed}
            for target in (*HELD_OUT, *DEVELOPMENT)
            for seed in SEEDS
            for source in (*SOURCES, "untrained")
        ],
        row,
    )


def scores() -> None:
    """Fill choosing_scores; needs choosing_sources."""
    worth = load("choosing_sources")["rows"]
    nothing = "nothing to choose"
    recorder = Recorder(
        RESULTS / "choosing_scores.json",
        problem="which source each score chooses",
        recipe="scripts/results_8_3_1.py scores",
        data=DATA,
        methods={
            "LogME": Method("the evidence of a linear model on the features", chosen=nothing),
            "LEEP": Method("the likelihood of labels given the source's classes", chosen=nothing),
            "H-score": Method(
                "the scatter of class means in that of the features",
                chosen="shrinkage by Ledoit and Wolf's formula",
            ),
            "cross-validation": Method(
                "accuracy of a logistic regression, 5 folds", chosen="defaults of scikit-learn"
            ),
        },
        packages=PACKAGES,
        settings={"labels": "5 a class, ants and bees 20"},
    )
    networks = choosing.pool()
    ways = {
        "LogME": logme,
        "H-score": lambda rows, labels: h_score(rows, labels, shrinkage="auto"),
        "cross-validation": choosing.cross_validated,
    }

    def row(key: dict[str, Any]) -> dict[str, float]:
        name, seed = key["target"], key["seed"]
        target = choosing.target_problem(name, per_class=per_class(name), seed=seed)
        values = []
        for network in networks.values():
            if key["method"] == "LEEP":
                found = leep(predict(network, target.images).softmax(1), target.labels)
            else:
                features = choosing.frozen_features(network, target.images)
                found = ways[key["method"]](features, target.labels)
            values.append(round(float(found), 4))
        chosen = max(range(len(values)), key=lambda m: values[m])
        recorder.extend("scores", [{**key, **dict(zip(networks, values, strict=True))}])
        costs = {}
        for use in ("tuned", "frozen"):
            true = [r[use] for s in SOURCES for r in worth if same(r, s, name, seed)]
            costs[f"regret_{use}"] = round(float(regret(chosen, torch.tensor(true))), 4)
        return costs | {"chosen": chosen}

    recorder.measure(
        [
            {"method": method, "target": target, "seed": seed}
            for target in (*HELD_OUT, *DEVELOPMENT)
            for seed in SEEDS
            for method in ("LogME", "LEEP", "H-score", "cross-validation")
        ],
        row,
    )


def same(row: dict[str, Any], method: str, target: str, seed: int) -> bool:
    """Say whether a row belongs to a method, a target and a seed."""
    return (row["method"], row["target"], row["seed"]) == (method, target, seed)


def layers() -> None:
    """Fill choosing_layers."""
    nothing = "nothing to choose"
    recorder = Recorder(
        RESULTS / "choosing_layers.json",
        problem="after which stage of EfficientNet-Lite0 to cut",
        recipe="scripts/results_8_3_1.py layers",
        data=DATA,
        weights=["efficientnet-lite0"],
        methods={name: Method(f"features after {name}", chosen=nothing) for name in STAGES},
        packages=[*PACKAGES, "timm"],
        settings={"labels": "5 a class, ants and bees 20", "side": 64, "test images": 200},
    )
    model = efficientnet_lite0()

    @cache
    def stages(name: str, seed: int) -> tuple[Target, dict[str, Any], dict[str, Any]]:
        target = choosing.target_problem(name, per_class=per_class(name), seed=seed, side=64)
        rows = torch.randperm(len(target.test_labels), generator=torch.Generator().manual_seed(0))
        rows = rows[:200]
        target = target._replace(
            test_images=target.test_images[rows], test_labels=target.test_labels[rows]
        )
        train, test = (
            by_stage(model, x.expand(-1, 3, -1, -1)) for x in (target.images, target.test_images)
        )
        return target, train, test

    def row(key: dict[str, Any]) -> dict[str, float]:
        target, train, test = stages(key["target"], key["seed"])
        a, b = train[key["method"]], test[key["method"]]
        return {
            "accuracy": round(probe(a, target.labels, b, target.test_labels), 4),
            "logme": round(float(logme(a, target.labels)), 4),
            "h_score": round(float(h_score(a, target.labels, shrinkage="auto")), 4),
            "cross_validation": round(float(choosing.cross_validated(a, target.labels)), 4),
        }

    recorder.measure(
        [
            {"method": stage, "target": target, "seed": seed}
            for target in (
                "handwritten",
                "Arabic",
                "photographs",
                "USPS",
                "ants and bees",
                "office",
            )
            for seed in range(3)
            for stage in STAGES
        ],
        row,
    )


def strategies() -> None:
    """Fill choosing_strategies."""
    rates = "rates and steps on the development target Georgian, one draw"
    recorder = Recorder(
        RESULTS / "choosing_strategies.json",
        problem="what each strategy is worth on each target",
        recipe="scripts/results_8_3_1.py strategies",
        data=DATA,
        methods={
            "frozen head": Method("a logistic regression on frozen features", chosen="nothing"),
            "fine-tuning": Method(
                "all weights move, the body at a tenth of the rate", chosen=rates
            ),
            "from scratch": Method("random first weights", chosen=rates),
        },
        packages=PACKAGES,
        settings={"steps": 60, "folds": 3, "source": "by cross-validation of the frozen head"},
    )
    networks = choosing.pool()

    @cache
    def frozen_scores(name: str, level: int, seed: int) -> dict[str, float]:
        target = choosing.target_problem(name, per_class=per_class(name, level), seed=seed)
        return {
            source: float(
                choosing.cross_validated(
                    choosing.frozen_features(network, target.images), target.labels, folds=3
                )
            )
            for source, network in networks.items()
        }

    def row(key: dict[str, Any]) -> dict[str, float]:
        name, seed = key["target"], key["seed"]
        target = choosing.target_problem(
            name, per_class=per_class(name, key["per_class"]), seed=seed
        )
        scores = frozen_scores(name, key["per_class"], seed)
        source = max(scores, key=lambda name: scores[name])
        if key["method"] == "frozen head":
            found, score = frozen_accuracy(networks[source], target), scores[source]
        else:
            network = None if key["method"] == "from scratch" else networks[source]
            way = {"fine-tuning": GENTLE, "from scratch": FAST}
            settings = way[key["method"]]
            found = tuned_accuracy(network, target, seed, **settings)
            score = choosing.tuned_cross_validated(network, target, seed=seed, **settings)
        return {
            "accuracy": round(found, 4),
            "score": round(score, 4),
            "labels": len(target.labels),
            "classes": target.classes,
            "source": list(SOURCES).index(source),
        }

    recorder.measure(
        [
            {"method": method, "target": target, "per_class": level, "seed": seed}
            for seed in range(3)
            for target in (*HELD_OUT, *DEVELOPMENT)
            for level in (2, 10)
            for method in ("frozen head", "fine-tuning", "from scratch")
        ],
        row,
    )


def schedules() -> None:
    """Fill adjusting_schedules."""
    chosen = "defaults, the same on all targets"
    recorder = Recorder(
        RESULTS / "adjusting_schedules.json",
        problem="frozen groups opened by a plan, or by a controller",
        recipe="scripts/results_8_3_1.py schedules",
        data=["rendered-glyphs", "photographs", "handwritten-digits"],
        methods={
            "frozen": Method("only the head learns", chosen="nothing to choose"),
            "all at once": Method("all groups learn from the start", chosen="nothing to choose"),
            "one every 30 steps": Method("a fixed schedule of five groups", chosen="150 / 5"),
            "controller": Method("opens a group when the held-out loss stalls", chosen=chosen),
            "all at once, all rows": Method(
                "as above, but the held-out rows train as well", chosen="nothing to choose"
            ),
        },
        packages=PACKAGES,
        settings={"source": "all scripts", "steps": 150, "labels a class": "7, and 3 held out"}
        | {"Adam's rates": GENTLE, "controller": {"patience": 3, "plateau": 0.99, "look": 5}},
    )
    start = choosing.pool()["all scripts"].state_dict()

    def row(key: dict[str, Any]) -> dict[str, float]:
        full = choosing.target_problem(key["target"], per_class=10, seed=key["seed"])
        train, held = split(full, 3)
        network = choosing.small_network(full.classes, seed=key["seed"])
        body = {name: v for name, v in start.items() if not name.startswith("5.")}
        network.load_state_dict(body, strict=False)
        plans = {"frozen": lambda _: 1, "one every 30 steps": every(30)}
        plan = plans.get(key["method"], lambda _: 5)
        controller = Controller(5)
        run = adjust(
            network,
            full if key["method"].endswith("all rows") else train,
            held,
            schedule=controller if key["method"] == "controller" else plan,
            steps=150,
            seed=key["seed"],
        )
        here = {"target": key["target"], "seed": key["seed"]}
        recorder.extend("decisions", [here | vars(made) for made in controller.decisions])
        return {"accuracy": round(run.accuracies[-1], 4), "unfrozen": run.unfrozen[-1]}

    recorder.measure(
        [
            {"method": method, "target": target, "seed": seed}
            for target in ("Armenian", "handwritten", "photographs")
            for seed in SEEDS
            for method in (
                "frozen",
                "all at once",
                "one every 30 steps",
                "controller",
                "all at once, all rows",
            )
        ],
        row,
    )


class HalfTheSteps(Controller):
    """Drops the source after half of 200 steps, whatever it sees."""

    def update(self, step: int, loss: float, *, cosine: float | None = None) -> list[Decision]:
        """Look at the step alone."""
        self.source = step < 100
        return []


def joint() -> None:
    """Fill adjusting_sources."""
    recorder = Recorder(
        RESULTS / "adjusting_sources.json",
        problem="rendered digits beside few handwritten ones, with right and with wrong labels",
        recipe="scripts/results_8_3_1.py joint",
        data=["rendered-glyphs", "handwritten-digits"],
        methods={
            "target alone": Method("no source", chosen="nothing to choose"),
            "joint": Method("both losses, equal weights", chosen="nothing was tuned"),
            "gate": Method(
                "the source is left out of each step whose cosine is below 0", chosen="nothing"
            ),
            "half the steps": Method(
                "a plan drops the source after 100 steps", chosen="200 / 2, before any was tried"
            ),
            "controller": Method("drops the source for good", chosen="defaults"),
            "target alone, all rows": Method(
                "no source; the held-out rows train as well", chosen="nothing to choose"
            ),
        },
        packages=PACKAGES,
        settings={"steps": 200, "labels a class": "4, and 2 held out", "Adam's rate": 3e-3}
        | {"controller": {"patience": 3, "rise": 1.1, "window": 5, "look": 5}},
    )
    images, labels = choosing.source_problem("digits")
    given = {"right": labels, "shifted": (labels + 1) % 10}

    def row(key: dict[str, Any]) -> dict[str, float]:
        full = choosing.target_problem("handwritten", per_class=6, seed=key["seed"])
        train, held = split(full, 2)
        alone = key["labels"] == "none"
        controller = (HalfTheSteps if key["method"] == "half the steps" else Controller)(
            5, source=True
        )
        controller.unfrozen = 5
        watches = key["method"] in ("controller", "half the steps")
        run = adjust(
            choosing.small_network(10, seed=key["seed"]),
            full if key["method"].endswith("all rows") else train,
            held,
            schedule=controller if watches else lambda _: 5,
            steps=200,
            source=None if alone else (images, given[key["labels"]]),
            gate=key["method"] == "gate",
            head_rate=3e-3,
            body_rate=3e-3,
            seed=key["seed"],
        )
        here = {name: key[name] for name in ("method", "labels", "seed")}
        recorder.extend("decisions", [here | vars(made) for made in controller.decisions])
        cosines, shares = run.cosines or [0.0], run.shares or [0.0]
        return {
            "accuracy": round(run.accuracies[-1], 4),
            "cosine": round(sum(cosines) / len(cosines), 4),
            "first_cosine": round(sum(cosines[:20]) / len(cosines[:20]), 4),
            "share": round(sum(shares) / len(shares), 4),
        }

    recorder.measure(
        [
            {"method": method, "labels": labels, "seed": seed}
            for seed in SEEDS
            for labels, methods in {
                "none": ["target alone", "target alone, all rows"],
                **{kind: ["joint", "gate", "half the steps", "controller"] for kind in given},
            }.items()
            for method in methods
        ],
        row,
    )


if __name__ == "__main__":
    run_recipe(
        __doc__,
        {
            "pool": pool,
            "sources": sources,
            "scores": scores,
            "layers": layers,
            "strategies": strategies,
            "schedules": schedules,
            "joint": joint,
        },
    )
