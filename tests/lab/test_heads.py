from dataclasses import replace

import numpy as np
import pytest

from mapping_lib.lab.heads import Task, in_keras, in_tensorflow, in_torch
from mapping_lib.lab.keras_models import keras  # noqa: F401  (sets Keras's environment)
from mapping_lib.lab.processes import elsewhere


@pytest.fixture
def task():
    random = np.random.default_rng(0)
    features, labels = random.normal(size=(23, 6)), random.permutation(np.arange(23) % 3)
    return Task.draw(features, labels, epochs=4, batch_size=5, seed=0)


def by_hand(task):
    """Softmax regression by momentum, in NumPy."""
    weight, bias = task.weight.copy(), task.bias.copy()
    speed, losses = [np.zeros_like(weight), np.zeros_like(bias)], []
    for batch in task.order:
        x, y = task.features[batch], task.labels[batch]
        logits = x @ weight + bias
        p = np.exp(logits) / np.exp(logits).sum(1, keepdims=True)
        losses.append(-np.log(p[np.arange(len(y)), y]).mean())
        slope = (p - np.eye(3)[y]) / len(y)
        for v, g in zip(speed, (x.T @ slope, slope.sum(0)), strict=True):
            v[...] = task.momentum * v + g
        weight, bias = weight - task.rate * speed[0], bias - task.rate * speed[1]
    return np.array(losses), weight, bias


def test_task_says_what_it_is(task):
    assert repr(task) == "Task: 23 examples of 6 features, 3 classes, 16 steps of 5, float64"
    assert np.abs(task.weight).max() <= 6**-0.5
    for epoch in task.order.reshape(4, 20):
        assert len(set(epoch)) == 20


@pytest.mark.parametrize(
    "train", [in_torch, in_tensorflow, lambda task: in_tensorflow(task, graph=False)]
)
def test_frameworks_do_what_is_done_by_hand(task, train):
    found, (losses, weight, bias) = train(task), by_hand(task)
    assert np.allclose(found.losses, losses, atol=1e-12)
    assert np.allclose(found.weight, weight, atol=1e-12)
    assert np.allclose(found.bias, bias, atol=1e-12)


@pytest.mark.parametrize("backend", ["tensorflow", "torch"])
def test_keras_does_the_same_on_both_backends(task, backend):
    task = replace(task.astype(np.float32), rate=0.1)
    if backend == "tensorflow":
        run = in_keras(task)
        found = vars(run)
        assert 0 <= run.accuracy(task.features, task.labels) <= 1
    else:
        arguments = {"way": "keras", **vars(task)}
        settings = {"KERAS_BACKEND": "torch"}
        found = elsewhere("mapping_lib.lab.heads:by_arrays", arguments, settings=settings)
    losses, weight, bias = by_hand(task.astype(np.float64))
    assert np.allclose(found["losses"], losses, atol=1e-5)
    assert np.allclose(found["weight"], weight, atol=1e-5)
    assert np.allclose(found["bias"], bias, atol=1e-5)


@pytest.mark.parametrize(("rows", "size"), [(22, 5), (23, 24), (23, 0)])
def test_batches_that_cannot_be_drawn_are_refused(rows, size):
    labels = np.zeros(rows, int)
    with pytest.raises(ValueError, match="need as many labels and a batch of 1 to 23"):
        Task.draw(np.zeros((23, 2)), labels, epochs=1, batch_size=size, seed=0)
