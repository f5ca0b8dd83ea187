"""Measure the tables of section 7.1 and write them to book/results.

    OMP_NUM_THREADS=1 python scripts/results_7_1.py speed
    OMP_NUM_THREADS=1 python scripts/results_7_1.py defaults

The file is written after each row; a second call goes on where the first one stopped.

speed: one transfer, in a process of its own for each framework and seed, one thread, the frameworks
in turn. A seed draws the 100 training patches, the first weights of the head and the order. Seconds
are those of the CPU, compilers included, so that what else the machine does counts little.
TensorFlow runs as it is installed, with oneDNN, which the pages of the book switch off.

defaults: a network trained in PyTorch, with the values that PyTorch takes where nobody says
anything, and then with Keras's, one at a time. A seed draws the patches, the first weights and the
order. Nothing is chosen: defaults are what isn't chosen.
"""

import tempfile
import time
from collections.abc import Callable
from functools import cache, partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from recipes import run_recipe
from torch import nn

from mapping_lib.lab import backbones, heads, keras_models, processes, timing
from mapping_lib.lab.data import Images, photographs
from mapping_lib.lab.machine import seed_everything
from mapping_lib.lab.results import Method, Recorder
from mapping_lib.lab.training import accuracy, fit, predict
from mapping_lib.losses import cross_entropy

FOLDER = Path(__file__).resolve().parents[1] / "book" / "results"
SEEDS = range(5)
LABELS, EPOCHS, BATCH = 5, 30, 10
TEST_EVERY = 4  # a quarter of the 400 test patches
NETWORK_EPOCHS, NETWORK_BATCH = (5, 20), 16

ONEDNN = {"TF_ENABLE_ONEDNN_OPTS": "1"}
# One compiling process, that compiles anew each time.
COMPILED = {"TORCHINDUCTOR_COMPILE_THREADS": "1", "TORCHINDUCTOR_FORCE_DISABLE_CACHES": "1"}
ON_TENSORFLOW, ON_TORCH = {"KERAS_BACKEND": "tensorflow"}, {"KERAS_BACKEND": "torch"}
WAYS: dict[str, tuple[str, dict[str, str], str]] = {
    "PyTorch": ("torch", {}, "Functions of torch, run one by one."),
    "PyTorch, torch.compile": (
        "torch, compiled",
        COMPILED,
        "The same functions through torch.compile, which writes and compiles C++ for them.",
    ),
    "TensorFlow, eager": ("tensorflow", ONEDNN, "Functions of TensorFlow, run one by one."),
    "TensorFlow, tf.function": (
        "tensorflow, graph",
        ONEDNN,
        "The same functions through tf.function, which traces them into a graph.",
    ),
    "Keras on TensorFlow": ("keras", ONEDNN | ON_TENSORFLOW, "A Keras model: predict, fit."),
    "Keras on PyTorch": ("keras", ON_TORCH, "The same file of a Keras model, channels last."),
}


def measure_speed(path: Path) -> None:
    """Fill book/results/frameworks_speed.json."""
    source = backbones.efficientnet_lite0()
    state = {n: t.numpy() for n, t in source.body.state_dict().items() if "num_batches" not in n}

    @cache
    def problem(seed: int) -> tuple[dict[str, Any], np.ndarray, np.ndarray, np.ndarray, heads.Run]:
        train, test = photographs(LABELS, seed=seed)
        chosen = test.images[::TEST_EVERY], test.labels[::TEST_EVERY].numpy()
        features = backbones.features(source, train.images).numpy()
        truth = train.labels.numpy()
        task = heads.Task.draw(features, truth, epochs=EPOCHS, batch_size=BATCH, seed=seed)
        arrays = {
            "train": train.images.permute(0, 2, 3, 1).contiguous().numpy(),
            "test": chosen[0].permute(0, 2, 3, 1).contiguous().numpy(),
            **{name: getattr(task, name) for name in ("labels", "weight", "bias", "order")},
        }
        test_features = backbones.features(source, chosen[0]).numpy()
        return arrays, features, test_features, chosen[1], heads.in_torch(task)

    def row(key: dict[str, Any], folder: Path) -> dict[str, float]:
        way, settings, _ = WAYS[key["method"]]
        arrays, features, test_features, truth, expected = problem(key["seed"])
        body = folder / ("body.keras" if way == "keras" else "body.npz")
        found = processes.elsewhere(
            "mapping_lib.lab.timing:transfer",
            {"way": way, "path": str(body), **arrays},
            settings=settings,
        )
        head = heads.Run(np.empty(0), found["head_weight"], found["head_bias"])
        answers = (found["test_features"] @ head.weight + head.bias).argmax(1)
        same = (test_features @ expected.weight + expected.bias).argmax(1)
        numbers = {name: float(value) for name, value in found.items() if value.ndim == 0}
        return {name: round(value, 4) for name, value in numbers.items()} | {
            "features_apart": float(np.abs(found["features"] - features).max() / features.max()),
            "weights_apart": float(
                np.abs(head.weight - expected.weight).max() / np.abs(expected.weight).max()
            ),
            "answers_differ": int((answers != same).sum()),
            "accuracy": float((answers == truth).mean()),
            "seconds": sum(numbers[n] for n in ("import_s", "load_s", "first_s", "head_s")),
        }

    recorder = Recorder(
        path,
        problem="one transfer in several frameworks: 100 patches of photographs, 96 px",
        recipe="scripts/results_7_1.py speed",
        data=["photographs"],
        weights=["efficientnet-lite0"],
        methods={
            name: Method(what, chosen="nothing to choose: the same rate, batches, first weights")
            for name, (_, _, what) in WAYS.items()
        },
        packages=["torch", "tensorflow", "keras", "numpy"],
        settings={
            "head": {"epochs": EPOCHS, "batch": BATCH, "rate": 0.01, "momentum": 0.9},
            "test": "a quarter of the test patches",
            "apart": "largest difference to timm's network and PyTorch's head / largest value",
            "seconds": "CPU seconds of one transfer: import, load, first pass, head",
        },
    )
    keys = [{"method": method, "seed": seed} for seed in SEEDS for method in WAYS]
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        np.savez(folder / "body.npz", allow_pickle=False, **state)
        timing.without_dots(keras_models.efficientnet_lite0()).save(folder / "body.keras")
        recorder.measure(keys, partial(row, folder=folder))


class KerasAdam(torch.optim.Adam):
    """Adam with the ε of Keras, which stands beside the second moment before it is corrected."""

    def step(self, closure: Any = None) -> Any:
        """Set torch's ε so that it does what Keras's does in this step, and take the step."""
        for group in self.param_groups:
            states = [self.state[p] for p in group["params"] if self.state[p]]
            count = 1 + (int(states[0]["step"]) if states else 0)
            group["eps"] = 1e-7 / (1 - group["betas"][1] ** count) ** 0.5
        return super().step(closure)


def weights(model: nn.Module) -> None:
    """Draw first weights as Keras does: Glorot's uniform, biases zero."""
    for module in model.modules():
        if isinstance(module, nn.Conv2d | nn.Linear):
            nn.init.xavier_uniform_(module.weight)
            if module.bias is not None:
                nn.init.zeros_(module.bias)


def norm(model: nn.Module, **values: float) -> None:
    """Set values of every batch norm."""
    for module in model.modules():
        if isinstance(module, nn.BatchNorm2d):
            for name, value in values.items():
                setattr(module, name, value)


BASE = "PyTorch's defaults"
CHANGES: dict[str, tuple[tuple[Callable[[nn.Module], None], ...], type[torch.optim.Adam], str]] = {
    BASE: ((), torch.optim.Adam, "Adam, rate 0.001, everything else as PyTorch has it."),
    "Keras's first weights": ((weights,), torch.optim.Adam, "Glorot's uniform, biases zero."),
    "Keras's batch norm ε": ((partial(norm, eps=1e-3),), torch.optim.Adam, "0.001 for 0.00001."),
    "Keras's batch norm momentum": (
        (partial(norm, momentum=0.01),),
        torch.optim.Adam,
        "The running averages take 0.01 of each batch's for 0.1.",
    ),
    "Keras's Adam": ((), KerasAdam, "ε = 1e-7 for 1e-8, and beside the uncorrected moment."),
    "all of Keras's defaults": (
        (weights, partial(norm, eps=1e-3, momentum=0.01)),
        KerasAdam,
        "All of these at once.",
    ),
}
CNN, HEAD = "small CNN from scratch", "head on frozen features"
NO_NORM = [name for name in CHANGES if "batch norm" not in name]


def measure_defaults(path: Path) -> None:
    """Fill book/results/frameworks_defaults.json."""
    source = backbones.efficientnet_lite0()

    @cache
    def problem(seed: int) -> tuple[Images, Images]:
        return photographs(LABELS, seed=seed)

    @cache
    def mapped(seed: int, part: int) -> torch.Tensor:
        return backbones.features(source, problem(seed)[part].images)

    @cache
    def run(method: str, network: str, seed: int) -> dict[int, tuple[float, float, float]]:
        changes, optimiser_type, _ = CHANGES[method]
        train, test = problem(seed)
        seed_everything(seed)
        frozen = network == HEAD
        model: nn.Module = backbones.small_cnn(len(train.classes))
        if frozen:
            model = nn.Linear(source.width, len(train.classes))
        inputs, tests = (
            (mapped(seed, 0), mapped(seed, 1)) if frozen else (train.images, test.images)
        )
        for change in changes:
            change(model)
        optimiser, done, seconds, found = optimiser_type(model.parameters()), 0, 0.0, {}
        for epochs in NETWORK_EPOCHS:
            start = time.process_time()
            history = fit(
                model,
                cross_entropy,
                inputs,
                train.labels,
                epochs=epochs - done,
                optimiser=optimiser,
                batch_size=NETWORK_BATCH,
                seed=seed + done,
            )
            seconds += time.process_time() - start
            done = epochs
            reached = accuracy(predict(model, tests), test.labels)
            found[epochs] = reached, history.losses[-1], seconds
        return found

    def row(key: dict[str, Any]) -> dict[str, float]:
        found = run(key["method"], key["network"], key["seed"])[key["epochs"]]
        return {"accuracy": round(found[0], 4), "loss": round(found[1], 5), "seconds": found[2]}

    recorder = Recorder(
        path,
        problem="what differing defaults cost: 100 patches of photographs, 96 px",
        recipe="scripts/results_7_1.py defaults",
        data=["photographs"],
        weights=["efficientnet-lite0"],
        methods={
            name: Method(what, chosen="nothing: a default is what nobody chose")
            for name, (_, _, what) in CHANGES.items()
        },
        packages=["torch", "timm", "numpy", "pillow"],
        settings={"batch": NETWORK_BATCH, "rate": 0.001, "labels per class": LABELS},
    )
    keys = [
        {"method": method, "network": network, "epochs": epochs, "seed": seed}
        for seed in SEEDS
        for network, methods in ((HEAD, NO_NORM), (CNN, list(CHANGES)))
        for method in methods
        for epochs in NETWORK_EPOCHS
    ]
    recorder.measure(keys, row)


if __name__ == "__main__":
    run_recipe(
        __doc__,
        {
            "speed": partial(measure_speed, FOLDER / "frameworks_speed.json"),
            "defaults": partial(measure_defaults, FOLDER / "frameworks_defaults.json"),
        },
    )
