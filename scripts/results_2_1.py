"""Measure what section 2.1 compares, and write book/results/structures_*.json.

    python scripts/results_2_1.py digits      (5 CPU minutes)
    python scripts/results_2_1.py transfer    (6 CPU minutes)

Networks of five structures and about 12,500 parameters each. All are trained in one way, Adam at
0.005 for 20 epochs of batches of 64; no rate is chosen for any of them. A seed draws digits,
weights, batches and orders.

digits: 3,200 rendered digits to train on and 800 others to measure on, as they are, with their rows
in another order, and with their pixels in another order (one order for all images of a seed, in
training and in measuring). The networks trained on digits as they are are measured on shifted
digits, too, and on digits whose rows are put into another order only now.

transfer: those networks on 797 handwritten digits; then fine-tuned on 1, 5 or 20 labels a class of
1,000 other handwritten digits, for 300 steps at 0.005 or, slowly, at 0.001, against networks
trained on the same labels from scratch, for 300 steps at 0.005. Nothing is chosen on handwritten
digits.
"""

from functools import cache
from pathlib import Path

import torch
from recipes import run_recipe
from torch import Tensor, nn

from mapping_lib.lab import results
from mapping_lib.lab.adapting import Problem, digit_problem
from mapping_lib.lab.data.types import Images
from mapping_lib.lab.small_networks import permuted, shifted, small_network, trained
from mapping_lib.lab.training import accuracy, predict

FOLDER = Path(__file__).resolve().parents[1] / "book" / "results"
SEEDS = range(5)
METHODS = {
    "feed-forward": "one hidden layer of 47 units",
    "convolutional": "three convolutions, 16, 24 and 39 channels, mean over all places",
    "convolutional, flattened": "two convolutions, 8 and 24 channels, a hidden layer of 27 units",
    "recurrent": "a gated recurrent unit of 55 numbers reads the rows from the top",
    "bag of rows": "two layers on each row, 100 and 97 units, mean over the rows",
}
RATE, TUNING_RATE, EPOCHS, STEPS = 5e-3, 1e-3, 20, 300
problem = cache(digit_problem)


def score(network: nn.Module, images: Tensor, labels: Tensor) -> float:
    """Measure accuracy."""
    return round(accuracy(predict(network, images), labels), 4)


def viewed(images: Tensor, view: str, seed: int) -> Tensor:
    """Put rows or pixels into another order, or leave them."""
    if view == "as they are":
        return images
    return permuted(images, "rows" if view == "rows permuted" else "pixels", seed=seed)


@cache
def source_network(method: str, view: str, seed: int) -> nn.Module:
    """Train a network on rendered digits."""
    source = problem(seed).source
    return trained(
        small_network(method, seed=seed),
        viewed(source.images, view, seed),
        source.labels,
        rate=RATE,
        epochs=EPOCHS,
        seed=seed,
    )


def recorder_of(name: str, title: str, data: list[str]) -> results.Recorder:
    """Open a results file."""
    return results.Recorder(
        FOLDER / f"{name}.json",
        problem=title,
        recipe=f"scripts/results_2_1.py {name.removeprefix('structures_')}",
        data=data,
        methods={m: results.Method(what, "one rate for all, none tried") for m, what in
                 METHODS.items()},
        packages=("torch", "numpy", "pillow"),
        settings={"rate": RATE, "tuning_rate": TUNING_RATE, "epochs": EPOCHS, "steps": STEPS},
    )  # fmt: skip


def measure_digits() -> None:
    """Fill book/results/structures_digits.json."""
    recorder = recorder_of(
        "structures_digits", "rendered digits by networks of one parameter budget",
        ["rendered-glyphs"],
    )  # fmt: skip

    def measure(key: results.Row) -> dict[str, float]:
        method, view, seed = key["method"], key["view"], key["seed"]
        network, held_out = source_network(method, view, seed), problem(seed).source_held_out
        images = viewed(held_out.images, view, seed)
        other = permuted(images, "rows", seed=seed + 100)
        if view == "as they are":
            moved = {"method": method, "seed": seed}
            recorder.extend(
                "shifts",
                [
                    moved | {"axis": axis, "shift": pixels, "accuracy": score(
                        network, shifted(images, pixels, axis=axis), held_out.labels)}
                    for axis in ("right", "down")
                    for pixels in range(9)
                ],
            )  # fmt: skip
        return {
            "accuracy": score(network, images, held_out.labels),
            "accuracy_other_order": score(network, other, held_out.labels),
        }

    recorder.measure(
        [
            {"method": method, "view": view, "seed": seed}
            for seed in SEEDS
            for view in ("as they are", "rows permuted", "pixels permuted")
            for method in METHODS
        ],
        measure,
    )


def few(images: Images, per_class: int, seed: int) -> tuple[Tensor, Tensor]:
    """Draw some labelled images of each class."""
    order = torch.randperm(len(images), generator=torch.Generator().manual_seed(seed))
    labels = images.labels[order]
    rows = torch.cat([order[labels == k][:per_class] for k in range(10)])
    return images.images[rows], images.labels[rows]


def measure_transfer() -> None:
    """Fill book/results/structures_transfer.json."""
    recorder = recorder_of(
        "structures_transfer", "rendered to handwritten digits, networks of one parameter budget",
        ["rendered-glyphs", "handwritten-digits"],
    )  # fmt: skip

    def network_of(method: str, way: str, labels: int, data: Problem, seed: int) -> nn.Module:
        network = small_network(method, seed=seed)
        if way != "from scratch":
            network.load_state_dict(source_network(method, "as they are", seed).state_dict())
        if way == "frozen":
            return network
        images, truth = few(data.target, labels, seed)
        rate = TUNING_RATE if way == "fine-tuned slowly" else RATE
        epochs = round(STEPS / -(-len(images) // 64))
        return trained(network, images, truth, rate=rate, epochs=epochs, seed=seed)

    def measure(key: results.Row) -> dict[str, float]:
        data = problem(key["seed"])
        network = network_of(key["method"], key["way"], key["labels"], data, key["seed"])
        test, truth = data.target_test.images, data.target_test.labels
        return {
            "accuracy": score(network, test, truth),
            "accuracy_shifted": score(network, shifted(test, 2), truth),
            "source_accuracy": score(
                network, data.source_held_out.images, data.source_held_out.labels
            ),
        }

    recorder.measure(
        [
            {"method": method, "way": way, "labels": labels, "seed": seed}
            for seed in SEEDS
            for method in METHODS
            for way, numbers in (
                ("frozen", (0,)), ("from scratch", (1, 5, 20)), ("fine-tuned", (1, 5, 20)),
                ("fine-tuned slowly", (1, 5, 20)),
            )
            for labels in numbers
        ],
        measure,
    )  # fmt: skip


if __name__ == "__main__":
    run_recipe(__doc__, {"digits": measure_digits, "transfer": measure_transfer})
