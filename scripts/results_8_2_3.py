"""Measure the tables of section 8.2.3 and write them to book/results.

    OMP_NUM_THREADS=1 python scripts/results_8_2_3.py memory
    OMP_NUM_THREADS=1 MAPPING_DATA=… python scripts/results_8_2_3.py mixtures

Each file is written after each row; a second call goes on where the first one stopped.

memory: peak memory of a process of its own that reads shards, row by row or all at once.

buffers: accuracy on new digits after eight passes over sorted shards, by the size of the buffer.

mixtures: MNIST, USPS and scikit-learn's digits with 4,000, 400 and 40 rows in one network.

tails: ten digits, with a hundred times as many rows of the first class as of the last one.

shares: a classifier of equally frequent digits where they are not, its outputs adjusted.
"""

import subprocess
import sys
from functools import cache
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import torch
from recipes import run_recipe
from torch import Tensor, nn
from torch.nn.functional import cross_entropy
from torch.utils.data import DataLoader

from mapping_lib.lab.data import (
    Images,
    handwritten_digits,
    mnist,
    rendered_digits,
    usps,
)
from mapping_lib.lab.results import Method, Recorder
from mapping_lib.lab.small_networks import Structure, small_network
from mapping_lib.lab.streams import (
    ShardStream,
    long_tail,
    mixed_batches,
    tail_counts,
    write_shards,
)
from mapping_lib.lab.training import accuracy, fit, predict
from mapping_lib.metrics import fit_temperature
from mapping_lib.mixing import (
    adjust_priors,
    class_balanced_weights,
    estimate_priors,
    logit_adjusted_loss,
    source_shares,
)

ROOT = Path(__file__).resolve().parents[1]
RESULTS = ROOT / "book" / "results"
SEEDS = range(5)
PACKAGES = ["torch", "numpy"]
STRUCTURE: Structure = "convolutional, flattened"
READ = """
import sys
from pathlib import Path
import numpy as np, torch
from mapping_lib.lab.streams import ShardStream
def memory(name):
    text = Path("/proc/self/status").read_text()
    return int(next(l for l in text.splitlines() if l.startswith(name)).split()[1]) / 1024
how, times, *paths = sys.argv[1:]
paths = [Path(p) for p in paths] * int(times)
for image, label in ShardStream(paths[:1], buffer=10): pass
start, total = memory("VmRSS"), 0.0
if how == "all at once":
    images = torch.cat([torch.from_numpy(np.load(p)["images"]) for p in paths])
    rows = len(images)
else:
    rows = sum(1 for _ in ShardStream(paths, buffer=1000))
print(rows, memory("VmHWM") - start)
"""


def train(
    model: nn.Module, batches: Any, *, rate: float, loss: Any = cross_entropy, epochs: int = 1
) -> nn.Module:
    """Train by Adam and return the model."""
    optimiser = torch.optim.Adam(model.parameters(), rate)
    fit(model, loss, batches, epochs=epochs, optimiser=optimiser, progress=False)
    return model


def memory() -> None:
    """Fill streaming_memory."""
    recorder = Recorder(
        RESULTS / "streaming_memory.json",
        problem="peak memory of reading shards",
        recipe="scripts/results_8_2_3.py memory",
        data=["rendered-glyphs"],
        methods={
            "all at once": Method("loads every shard and joins them", chosen="nothing to choose"),
            "stream": Method(
                "one shard at a time, a buffer of 1,000 rows", chosen="set, not tuned"
            ),
        },
        packages=PACKAGES,
        settings={"rows": "8,000 of 1×32×32 in 8 shards; more data: the same shards again"}
        | {"memory": "highest resident memory of the process, less that before reading, MiB"},
    )
    made = rendered_digits(1000, seed=0, size=32)
    with TemporaryDirectory() as folder:
        paths = write_shards(
            Path(folder), made.images.repeat(8, 1, 1, 1), made.labels.repeat(8), rows=1000
        )

        def row(key: dict[str, Any]) -> dict[str, float]:
            command = [sys.executable, "-c", READ, key["method"], str(key["times"])]
            answer = subprocess.run(
                [*command, *map(str, paths)], check=True, capture_output=True, text=True
            )
            rows, mebibytes = answer.stdout.split()
            return {"rows": int(rows), "peak_mib": round(float(mebibytes), 1)}

        recorder.measure(
            [
                {"method": method, "times": times, "seed": seed}
                for seed in range(1)
                for times in (1, 4, 16)
                for method in ("all at once", "stream")
            ],
            row,
        )


def buffers() -> None:
    """Fill streaming_buffers."""
    recorder = Recorder(
        RESULTS / "streaming_buffers.json",
        problem="learning from a stream of rows that are sorted by class",
        recipe="scripts/results_8_2_3.py buffers",
        data=["rendered-glyphs"],
        methods={
            "sorted": Method("shards sorted by class, in order", chosen="nothing to choose"),
            "shards shuffled": Method(
                "the same, each pass in another order of the shards", chosen="nothing to choose"
            ),
            "rows shuffled once": Method(
                "rows shuffled before they were written", chosen="nothing to choose"
            ),
        },
        packages=PACKAGES,
        settings={"rows": 2000, "shards": 20, "passes": 8, "batch": 64, "Adam's rate": 3e-3},
    )

    def row(key: dict[str, Any]) -> dict[str, float]:
        seed = key["seed"]
        made, test = rendered_digits(2000, seed=seed), rendered_digits(1000, seed=100)
        order = made.labels.argsort(stable=True)
        if key["method"] == "rows shuffled once":
            order = torch.randperm(2000, generator=torch.Generator().manual_seed(seed))
        with TemporaryDirectory() as folder:
            paths = write_shards(Path(folder), made.images[order], made.labels[order], rows=100)
            stream = ShardStream(
                paths,
                buffer=key["buffer"],
                seed=seed,
                shuffle_shards=key["method"] == "shards shuffled",
            )
            network = train(
                small_network("feed-forward", seed=seed),
                DataLoader(stream, batch_size=64),
                rate=3e-3,
                epochs=8,
            )
        return {"accuracy": round(accuracy(predict(network, test.images), test.labels), 4)}

    recorder.measure(
        [
            {"method": method, "buffer": buffer, "seed": seed}
            for seed in SEEDS
            for method, sizes in {
                "sorted": (1, 64, 250, 1000, 2000),
                "shards shuffled": (1, 250),
                "rows shuffled once": (1, 250),
            }.items()
            for buffer in sizes
        ],
        row,
    )


SIZES = {"mnist": 4000, "usps": 400, "handwritten": 40}
TEMPERATURES = {"proportional": 1.0, "T = 2": 2.0, "T = 5": 5.0, "equal": float("inf")}


@cache
def pools() -> dict[str, Images]:
    """Return the three sets, of 16×16."""
    return {
        "mnist": mnist(size=16)[0],
        "usps": usps(size=16)[0],
        "handwritten": handwritten_digits(),
    }


def mixtures() -> None:
    """Fill mixing_sources."""
    recorder = Recorder(
        RESULTS / "mixing_sources.json",
        problem="three sets of digits of very unequal size in one network",
        recipe="scripts/results_8_2_3.py mixtures",
        data=["mnist", "usps", "handwritten-digits"],
        methods={
            f"{name} alone": Method("the rows of this set only", chosen="nothing to choose")
            for name in SIZES
        }
        | {
            name: Method(f"shares at temperature {T:g}", chosen="the page chooses by held-out rows")
            for name, T in TEMPERATURES.items()
        },
        packages=PACKAGES,
        settings={"rows": SIZES, "held out of these": "a fifth", "test rows": "1,000 each"}
        | {"steps": 300, "batch": 64, "Adam's rate": 3e-3},
    )

    @cache
    def drawn(seed: int) -> dict[str, list[tuple[Tensor, Tensor]]]:
        found: dict[str, list[tuple[Tensor, Tensor]]] = {"train": [], "held": [], "test": []}
        for name, size in SIZES.items():
            images = pools()[name]
            order = torch.randperm(
                len(images.labels), generator=torch.Generator().manual_seed(seed)
            )
            cut = size * 4 // 5
            for part, rows in (
                ("train", order[:cut]),
                ("held", order[cut:size]),
                ("test", order[size : size + 1000]),
            ):
                found[part].append((images.images[rows], images.labels[rows]))
        return found

    def row(key: dict[str, Any]) -> dict[str, float]:
        sets = drawn(key["seed"])
        if key["method"].endswith("alone"):
            shares = torch.tensor([float(key["method"] == f"{name} alone") for name in SIZES])
        else:
            counts = torch.tensor([len(y) for _, y in sets["train"]])
            shares = source_shares(counts, temperature=TEMPERATURES[key["method"]])
        batches = mixed_batches(sets["train"], shares, steps=300, seed=key["seed"])
        network = train(small_network(STRUCTURE, seed=key["seed"]), batches, rate=3e-3)
        return {
            f"{part}_{name}": round(accuracy(predict(network, x), y), 4)
            for part in ("test", "held")
            for name, (x, y) in zip(SIZES, sets[part], strict=True)
        }

    recorder.measure(
        [
            {"method": method, "seed": seed}
            for seed in SEEDS
            for method in (*(f"{name} alone" for name in SIZES), *TEMPERATURES)
        ],
        row,
    )


REMEDIES = {
    "plain": Method("cross-entropy on the rows as they are", chosen="nothing to choose"),
    "resampled": Method("classes drawn equally often", chosen="nothing to choose"),
    "class-balanced": Method("weights by the effective number", chosen="β = 0.999, not tuned"),
    "logit-adjusted": Method("logits carry the shares while learning", chosen="τ = 1, not tuned"),
}


def remedied(
    model: nn.Module, x: Tensor, y: Tensor, counts: Tensor, remedy: str, *, seed: int, rate: float
) -> nn.Module:
    """Train a model on a long tail with one of the remedies, 300 steps."""
    loss: Any = cross_entropy
    if remedy == "class-balanced":
        loss = nn.CrossEntropyLoss(class_balanced_weights(counts, beta=0.999))
    if remedy == "logit-adjusted":

        def loss(z: Tensor, y: Tensor) -> Tensor:
            return logit_adjusted_loss(z, y, counts=counts)

    sets, shares = [(x, y)], torch.ones(1)
    if remedy == "resampled":
        sets = [(x[y == k], y[y == k]) for k in range(len(counts))]
        shares = torch.ones(len(counts))
    batches = mixed_batches(sets, shares, steps=300, seed=seed)
    return train(model, batches, rate=rate, loss=loss)


def by_class(model: nn.Module, x: Tensor, y: Tensor, counts: Tensor) -> dict[str, float]:
    """Return mean accuracies over the classes, the commonest and the rarest, and in proportion."""
    right = (predict(model, x).argmax(1) == y).double()
    recall = torch.stack([right[y == k].mean() for k in range(len(counts))])
    order, third = counts.argsort(descending=True), round(len(counts) / 3)
    found = {
        "balanced": recall.mean(),
        "common": recall[order[:third]].mean(),
        "rare": recall[order[-third:]].mean(),
        "as_trained": (recall * counts).sum() / counts.sum(),
    }
    return {name: round(float(value), 4) for name, value in found.items()}


@cache
def rendered_network(structure: Structure, seed: int) -> nn.Module:
    """Return a network that has learned digits from fonts, equally many of each."""
    made = rendered_digits(4000, seed=seed)
    batches = mixed_batches([(made.images, made.labels)], torch.ones(1), steps=300, seed=seed)
    return train(small_network(structure, seed=seed), batches, rate=3e-3)


def tails() -> None:
    """Fill long_tails."""
    recorder = Recorder(
        RESULTS / "long_tails.json",
        problem="classes of very unequal size in the target",
        recipe="scripts/results_8_2_3.py tails",
        data=["rendered-glyphs", "handwritten-digits"],
        methods=REMEDIES
        | {"source only": Method("the network of rendered digits", chosen="nothing to choose")},
        packages=PACKAGES,
        settings={"rows of a class": "100 to 1"} | {"steps": 300, "batch": 64, "Adam's rate": 1e-3},
    )

    def row(key: dict[str, Any]) -> dict[str, float]:
        seed, remedy = key["seed"], key["method"]
        generator = torch.Generator().manual_seed(seed)
        digits = handwritten_digits()
        counts = tail_counts(10, most=100, ratio=100)[torch.randperm(10, generator=generator)]
        chosen, left = long_tail(digits, counts, seed=seed)
        model = small_network("feed-forward", seed=seed)
        if key["start"] == "pretrained":
            model.load_state_dict(rendered_network("feed-forward", seed).state_dict())
        if remedy != "source only":
            x, y = digits.images[chosen], digits.labels[chosen]
            model = remedied(model, x, y, counts, remedy, seed=seed, rate=1e-3)
        return by_class(model, digits.images[left], digits.labels[left], counts)

    recorder.measure(
        [
            {"method": method, "start": start, "seed": seed}
            for start in ("pretrained", "scratch")
            for seed in SEEDS
            for method in (*REMEDIES, *(["source only"] if start == "pretrained" else []))
        ],
        row,
    )


def shares() -> None:
    """Fill shifted_shares."""
    known = Method("adjusted by the true shares, an oracle", chosen="nothing to choose")
    recorder = Recorder(
        RESULTS / "shifted_shares.json",
        problem="handwritten digits of other shares than in training",
        recipe="scripts/results_8_2_3.py shares",
        data=["rendered-glyphs", "handwritten-digits"],
        methods={
            "as it is": Method("outputs not adjusted", chosen="nothing to choose"),
            "estimated": Method(
                "shares by expectation-maximisation", chosen="100 steps, not tuned"
            ),
            "calibrated, estimated": Method(
                "the same, after a temperature", chosen="temperature on 200 held-out source rows"
            ),
            "known": known,
            "calibrated, known": Method(
                "the same, after a temperature", chosen="temperature on 200 held-out source rows"
            ),
        },
        packages=PACKAGES,
        settings={"steps": 300, "batch": 64, "Adam's rate": 3e-3}
        | {"target": "at most 90 rows a class, the last one 90 / ratio"},
    )
    digits = handwritten_digits()

    @cache
    def learned(domain: str, seed: int) -> tuple[nn.Module, float, Tensor]:
        own, left = long_tail(digits, torch.full((10,), 80), seed=seed)
        if domain == "rendered":
            model = rendered_network(STRUCTURE, seed)
            held = rendered_digits(200, seed=seed + 50)
            held_x, held_y = held.images, held.labels
        else:
            order = own[torch.randperm(800, generator=torch.Generator().manual_seed(seed))]
            x, y = digits.images[order], digits.labels[order]
            batches = mixed_batches([(x[200:], y[200:])], torch.ones(1), steps=300, seed=seed)
            model = train(small_network(STRUCTURE, seed=seed), batches, rate=3e-3)
            held_x, held_y = x[:200], y[:200]
        return model, float(fit_temperature(predict(model, held_x), held_y)), left

    def row(key: dict[str, Any]) -> dict[str, float]:
        seed = key["seed"]
        model, temperature, left = learned(key["source"], seed)
        generator = torch.Generator().manual_seed(seed)
        counts = tail_counts(10, most=90, ratio=key["ratio"])
        counts = counts[torch.randperm(10, generator=generator)]
        labels = digits.labels[left]
        rows = torch.cat([left[(labels == k).nonzero()[: counts[k], 0]] for k in range(10)])
        truth = digits.labels[rows]
        true = truth.bincount(minlength=10) / len(truth)
        logits = predict(model, digits.images[rows])
        fair = torch.full((10,), 0.1)
        found = fair
        if key["method"].startswith("calibrated"):
            logits = logits / temperature
        if key["method"].endswith("known"):
            found = true
        if key["method"].endswith("estimated"):
            found = estimate_priors(logits, trained=fair).clamp(min=1e-6)
        adjusted = adjust_priors(logits, trained=fair, wanted=found)
        return {
            "accuracy": round(accuracy(adjusted, truth), 4),
            "distance": round(float((found - true).abs().sum() / 2), 4),
            "temperature": round(temperature, 3),
        }

    recorder.measure(
        [
            {"method": method, "source": source, "ratio": ratio, "seed": seed}
            for seed in SEEDS
            for source in ("handwritten", "rendered")
            for ratio in (1, 10, 90)
            for method in (
                "as it is",
                "estimated",
                "calibrated, estimated",
                "known",
                "calibrated, known",
            )
        ],
        row,
    )


if __name__ == "__main__":
    run_recipe(
        __doc__,
        {
            "memory": memory,
            "buffers": buffers,
            "mixtures": mixtures,
            "tails": tails,
            "shares": shares,
        },
    )
