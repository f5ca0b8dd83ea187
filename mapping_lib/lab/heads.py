"""One linear head on frozen features, trained in PyTorch, in TensorFlow and in Keras.

The same numbers go into all three: the features, the first weights, and which examples are in which
batch. What comes out can be compared number by number. Only the framework that is asked for is
imported.
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any, Self

import numpy as np
import numpy.typing as npt

Array = npt.NDArray[Any]


@dataclass(frozen=True, repr=False)
class Task:
    """Everything that training needs, in arrays that belong to no framework.

    Attributes
    ----------
    features
        Shape (n, d).
    labels
        Whole numbers from 0, shape (n,).
    weight, bias
        What the head begins with, shapes (d, k) and (k,).
    order
        The examples of each batch, shape (steps, batch size).
    rate, momentum
        Of stochastic gradient descent.
    """

    features: Array
    labels: Array
    weight: Array
    bias: Array
    order: Array
    rate: float = 0.01
    momentum: float = 0.9

    def __repr__(self) -> str:
        n, d = self.features.shape
        steps, size = self.order.shape
        return (
            f"Task: {n} examples of {d} features, {self.weight.shape[1]} classes, "
            f"{steps} steps of {size}, {self.features.dtype}"
        )

    @classmethod
    def draw(
        cls, features: Array, labels: Array, *, epochs: int, batch_size: int, seed: int
    ) -> Self:
        """Draw the first weights and the order of the examples.

        The weights are uniform within ±1/√d, as torch's linear layer has them; each epoch has an
        order of its own, and what doesn't fill a last batch is left out of it.

        Parameters
        ----------
        features, labels
            Of the training examples.
        epochs
            How often the examples are gone through.
        batch_size
            Examples a step, at most all of them.
        seed
            Of the random numbers.
        """
        n, d = features.shape
        if len(labels) != n or not 1 <= batch_size <= n:
            raise ValueError(
                f"{n} rows of features need as many labels and a batch of 1 to {n}, "
                f"not {len(labels)} labels and a batch of {batch_size}"
            )
        random, classes = np.random.default_rng(seed), int(labels.max()) + 1
        weight = random.uniform(-1, 1, (d, classes)) / np.sqrt(d)
        steps = n // batch_size
        order = [random.permutation(n)[: steps * batch_size] for _ in range(epochs)]
        return cls(
            features,
            labels.astype(np.int64),
            weight.astype(features.dtype),
            np.zeros(classes, features.dtype),
            np.concatenate(order).reshape(-1, batch_size),
        )

    def astype(self, dtype: npt.DTypeLike) -> Self:
        """Return the same task in another precision."""
        names = ("features", "weight", "bias")
        return replace(self, **{name: getattr(self, name).astype(dtype) for name in names})


@dataclass(frozen=True)
class Run:
    """What training gave: the loss of each batch before its step, and the head after all."""

    losses: Array
    weight: Array
    bias: Array

    def accuracy(self, features: Array, labels: Array) -> float:
        """Return the share of examples whose largest logit is the label's."""
        return float((np.argmax(features @ self.weight + self.bias, 1) == labels).mean())


def in_torch(task: Task) -> Run:
    """Train in PyTorch: a layer, a loss, an optimiser, and a loop that calls them.

    Taught in :ref:`pytorch` (section 7.1.2).
    """
    import torch
    from torch import nn

    d, classes = task.weight.shape
    x, y, weight, bias, order = (
        torch.from_numpy(a)
        for a in (task.features, task.labels, task.weight.T, task.bias, task.order)
    )
    head = nn.Linear(d, classes, dtype=x.dtype)
    head.load_state_dict({"weight": weight, "bias": bias})  # Linear keeps (out, in)
    optimiser = torch.optim.SGD(head.parameters(), lr=task.rate, momentum=task.momentum)
    criterion = nn.CrossEntropyLoss()
    losses = []
    for batch in order:
        optimiser.zero_grad()
        loss = criterion(head(x[batch]), y[batch])
        loss.backward()
        optimiser.step()
        losses.append(loss.item())
    weight, bias = head.weight.detach(), head.bias.detach()
    return Run(np.array(losses), weight.numpy().T, bias.numpy())


def in_tensorflow(task: Task, *, graph: bool = True) -> Run:
    """Train in TensorFlow: variables, a tape that records the gradient, and updates by hand.

    Taught in :ref:`tensorflow` (section 7.1.1).

    Parameters
    ----------
    task
        What to train on.
    graph
        Compile the step with ``tf.function``; else run it operation by operation.
    """
    import tensorflow as tf

    x, y, order = (tf.constant(a) for a in (task.features, task.labels, task.order))
    parameters = [tf.Variable(task.weight), tf.Variable(task.bias)]
    velocities = [tf.Variable(tf.zeros_like(p)) for p in parameters]

    def step(batch: Any) -> Any:
        with tf.GradientTape() as tape:
            weight, bias = parameters
            logits = tf.gather(x, batch) @ weight + bias
            loss = tf.reduce_mean(
                tf.nn.sparse_softmax_cross_entropy_with_logits(tf.gather(y, batch), logits)
            )
        gradients = tape.gradient(loss, parameters)
        for p, v, g in zip(parameters, velocities, gradients, strict=True):
            v.assign(task.momentum * v + g)
            p.assign_sub(task.rate * v)
        return loss

    if graph:
        step = tf.function(step)
    losses = [step(batch).numpy() for batch in order]
    return Run(np.array(losses), *(p.numpy() for p in parameters))


def in_keras(task: Task) -> Run:
    """Train in Keras, on whatever backend it was imported with: compile and fit.

    Taught in :ref:`keras` (section 7.1.3).
    """
    import keras

    d, classes = task.weight.shape
    dense = keras.layers.Dense(classes, dtype=task.weight.dtype.name)
    head = keras.Sequential([keras.Input((d,), dtype=task.weight.dtype.name), dense])
    head.set_weights([task.weight, task.bias])
    head.compile(
        keras.optimizers.SGD(task.rate, momentum=task.momentum),
        keras.losses.SparseCategoricalCrossentropy(from_logits=True),
    )
    losses: list[float] = []
    each = keras.callbacks.LambdaCallback(
        on_train_batch_begin=lambda batch, logs: head.reset_metrics(),  # else a running mean
        on_train_batch_end=lambda batch, logs: losses.append(logs["loss"]),
    )
    order = task.order.ravel()  # all epochs in one, as drawn
    head.fit(
        task.features[order],
        task.labels[order],
        batch_size=task.order.shape[1],
        shuffle=False,
        verbose=0,
        callbacks=[each],
    )
    weight, bias = (keras.ops.convert_to_numpy(v) for v in dense.weights)
    return Run(np.array(losses), weight, bias)


def by_arrays(way: str, **arrays: Any) -> Mapping[str, Array]:
    """Train one way, all in arrays and numbers, as a process of its own is called.

    Parameters
    ----------
    way
        ``"torch"``, ``"tensorflow"`` or ``"keras"``.
    arrays
        The fields of a :class:`Task`.
    """
    ways = {"torch": in_torch, "tensorflow": in_tensorflow, "keras": in_keras}
    return vars(ways[way](Task(**arrays)))
