"""One transfer timed in one framework, in a process of its own: seconds, memory, and its numbers.

Called by :func:`mapping_lib.lab.processes.elsewhere`, so that each framework pays its own import
and has its own memory. Nothing is imported before the clock runs but NumPy.
"""

import os
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from mapping_lib.lab import heads, written_out

Array = npt.NDArray[Any]
Measured = dict[str, Array | float]

TUNING_BATCH, TUNING_RATE = 16, 1e-3


def transfer(way: str, path: str, **arrays: Any) -> Measured:
    """Import a framework, load the body, map the images, train the head, fine-tune some steps.

    Parameters
    ----------
    way
        A key of ``WAYS``.
    path
        Of the body: a ``.keras`` file for Keras, an ``.npz`` of torch's arrays for the others.
    arrays
        ``train`` and ``test``, images with the channels last, and of a
        :class:`~mapping_lib.lab.heads.Task` ``labels``, ``weight``, ``bias`` and ``order``.

    Returns
    -------
    dict
        CPU seconds ``import_s``, ``load_s``, ``first_s`` (the first pass over the training images),
        ``features_s`` (the second), ``head_s`` (training), ``first_tuning_s`` and ``tuning_s`` (the
        first and the second fine-tuning step); ``tuning_losses``, ``features``, ``test_features``,
        ``head_weight``, ``head_bias``.
    """
    begin, train_head = WAYS[way]
    clock = _Clock()
    load = begin()
    found: Measured = {"import_s": clock.lap()}
    extract, tuning_step = load(path, arrays)
    found["load_s"] = clock.lap()
    features = extract(arrays["train"])
    found["first_s"] = clock.lap()
    extract(arrays["train"])
    found["features_s"] = clock.lap()
    test_features = extract(arrays["test"])
    parts = {name: arrays[name] for name in ("labels", "weight", "bias", "order")}
    clock.lap()
    run = train_head(heads.Task(features, **parts))
    found["head_s"] = clock.lap()
    losses = [tuning_step()]
    found["first_tuning_s"] = clock.lap()
    losses.append(tuning_step())
    found["tuning_s"] = clock.lap()
    return found | {
        "tuning_losses": np.array(losses),
        "features": features,
        "test_features": test_features,
        "head_weight": run.weight,
        "head_bias": run.bias,
    }


def without_dots(model: Any) -> Any:
    """Return a copy of a Keras model whose layers have underscores for the dots in their names.

    With torch below it Keras makes each variable a parameter of a module, and torch allows no dot
    in the name of one.

    Taught in :ref:`keras` (section 7.1.3).

    Parameters
    ----------
    model
        A built :class:`keras.Model`.
    """
    import keras

    def renamed(layer: Any) -> Any:
        name = layer.name.replace(".", "_")
        return type(layer).from_config(layer.get_config() | {"name": name})

    copy = keras.models.clone_model(model, clone_function=renamed)
    copy.set_weights(model.get_weights())
    return copy


def on_this_backend(folder: str, patch: Array, **task: Any) -> dict[str, Array | str]:
    """Train the head in Keras and open ``.keras`` files, on the backend of this process.

    Taught in :ref:`keras` (section 7.1.3).

    Parameters
    ----------
    folder
        Where the files lie.
    patch
        What each model that opens is given, the channels last.
    task
        The fields of a :class:`~mapping_lib.lab.heads.Task`.

    Returns
    -------
    dict
        ``losses``, ``weight`` and ``bias`` of the head; by the name of each file, without its
        ending, what the model gives, or the words of the error.
    """
    import keras

    found: dict[str, Array | str] = vars(heads.in_keras(heads.Task(**task))).copy()
    for path in sorted(Path(folder).glob("*.keras")):
        try:
            found[path.stem] = keras.saving.load_model(path).predict(patch, verbose=0)
        except (KeyError, ValueError) as error:
            found[path.stem] = f"{type(error).__name__}: {error}"
    return found


class _Clock:
    """CPU seconds since the last lap, of this process and of the compilers that it called."""

    def __init__(self) -> None:
        self._last = self._now()

    def lap(self) -> float:
        before, self._last = self._last, self._now()
        return self._last - before

    @staticmethod
    def _now() -> float:
        return time.process_time() + sum(os.times()[2:4])


def _torch(*, compiled: bool) -> Any:
    import torch
    from torch.nn import functional as F  # noqa: N812

    torch.set_num_threads(1)
    network = written_out.torch_features
    if compiled:
        network = torch.compile(network)

    def load(path: str, arrays: Mapping[str, Array]) -> Any:
        weights = {name: torch.from_numpy(a) for name, a in np.load(path).items()}

        def extract(images: Array) -> Array:
            with torch.no_grad():
                return network(weights, _channels_first(torch, images)).numpy()

        learn = {n: w.clone().requires_grad_("running" not in n) for n, w in weights.items()}
        head = [torch.tensor(arrays[n], requires_grad=True) for n in ("weight", "bias")]
        free = [*head, *(w for w in learn.values() if w.requires_grad)]
        optimiser = torch.optim.SGD(free, lr=TUNING_RATE)
        x = _channels_first(torch, arrays["train"][:TUNING_BATCH])
        y = torch.from_numpy(arrays["labels"][:TUNING_BATCH])

        def tuning_step() -> float:
            optimiser.zero_grad()
            loss = F.cross_entropy(network(learn, x) @ head[0] + head[1], y)
            loss.backward()  # type: ignore[no-untyped-call]
            optimiser.step()
            return loss.item()

        return extract, tuning_step

    return load


def _channels_first(torch: Any, images: Array) -> Any:
    return torch.from_numpy(images).permute(0, 3, 1, 2).contiguous()


def _tensorflow(*, graph: bool) -> Any:
    import tensorflow as tf

    def load(path: str, arrays: Mapping[str, Array]) -> Any:
        layout = written_out.tensorflow_layout(np.load(path))
        weights = {name: tf.Variable(a, name=name) for name, a in layout.items()}
        head = [tf.Variable(arrays[n]) for n in ("weight", "bias")]
        learn = {name: tf.Variable(w) for name, w in weights.items()}
        free = [*head, *(w for name, w in learn.items() if "running" not in name)]
        x = tf.constant(arrays["train"][:TUNING_BATCH])
        y = tf.constant(arrays["labels"][:TUNING_BATCH])

        def mapped(images: Any) -> Any:
            return written_out.tensorflow_features(weights, images)

        def step() -> Any:
            with tf.GradientTape() as tape:
                logits = written_out.tensorflow_features(learn, x) @ head[0] + head[1]
                loss = tf.reduce_mean(tf.nn.sparse_softmax_cross_entropy_with_logits(y, logits))
            for p, g in zip(free, tape.gradient(loss, free), strict=True):
                p.assign_sub(TUNING_RATE * g)
            return loss

        if graph:
            mapped, step = tf.function(mapped), tf.function(step)
        return lambda images: mapped(tf.constant(images)).numpy(), lambda: float(step())

    return load


def _keras() -> Any:
    import keras

    if keras.backend.backend() == "torch":
        import torch

        torch.set_num_threads(1)

    def load(path: str, arrays: Mapping[str, Array]) -> Any:
        body = keras.saving.load_model(path)
        for layer in body.layers:  # batch norm in inference mode, as in the other ways
            layer.trainable = not isinstance(layer, keras.layers.BatchNormalization)
        pool = keras.layers.GlobalAveragePooling2D()
        extractor = keras.Sequential([body, pool])

        def extract(images: Array) -> Array:
            found: Array = extractor.predict(images, batch_size=len(images), verbose=0)
            return found

        dense = keras.layers.Dense(arrays["weight"].shape[1])
        model: list[Any] = []
        x, y = arrays["train"][:TUNING_BATCH], arrays["labels"][:TUNING_BATCH]

        def tuning_step() -> float:
            if not model:
                model.append(keras.Sequential([body, pool, dense]))
                dense.set_weights([arrays["weight"], arrays["bias"]])
                model[0].compile(
                    keras.optimizers.SGD(TUNING_RATE),
                    keras.losses.SparseCategoricalCrossentropy(from_logits=True),
                )
            model[0].reset_metrics()
            return float(model[0].train_on_batch(x, y))

        return extract, tuning_step

    return load


WAYS: dict[str, tuple[Callable[[], Any], Callable[[heads.Task], heads.Run]]] = {
    "torch": (lambda: _torch(compiled=False), heads.in_torch),
    "torch, compiled": (lambda: _torch(compiled=True), heads.in_torch),
    "tensorflow": (lambda: _tensorflow(graph=False), lambda t: heads.in_tensorflow(t, graph=False)),
    "tensorflow, graph": (lambda: _tensorflow(graph=True), heads.in_tensorflow),
    "keras": (_keras, heads.in_keras),
}
