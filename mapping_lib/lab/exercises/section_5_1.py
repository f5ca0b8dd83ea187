"""Checks of the exercises of section 5.1, feature extraction with Keras."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import torch

from mapping_lib.lab.exercises.compare import compare
from mapping_lib.lab.exercises.core import exercise

_MEAN = np.array([103.939, 116.779, 123.68])  # of ImageNet's blue, green and red


@exercise("5.1-a")
def trained_numbers(answer: Any) -> str | None:
    """Check how many numbers the recipe trains, with pooling and with flattening."""
    hidden, softmax = 512 * 1024 + 1024, 1024 * 2 + 2
    pooled, flat = hidden + softmax, 49 * 512 * 1024 + 1024 + softmax
    return compare(
        answer,
        (pooled, flat),
        what="the pair of counts",
        hints={
            "the two are swapped": (flat, pooled),
            "the biases are missing": (512 * 1024 + 2048, 49 * 512 * 1024 + 2048),
            "the softmax layer has to be counted as well": (hidden, flat - softmax),
            "flattening keeps every place: 7 · 7 · 512 features": (pooled, pooled),
            "between pooling and softmax stands the hidden layer of 1,024": (1_026, 50_178),
            "this is for the page's 20 classes; here there are 2": (
                hidden + 1024 * 20 + 20,
                flat - softmax + 1024 * 20 + 20,
            ),
            "the frozen body's numbers are not trained": (pooled + 14_714_688, flat + 14_714_688),
        },
        tolerance=1e-9,
    )


@exercise("5.1-b")
def to_keras(answer: Callable[..., Any]) -> str | None:
    """Check kernels of a convolution and of a depthwise one in Keras's layout."""
    for depthwise, shape, axes, swapped in (
        (False, (7, 5, 2, 3), (2, 3, 1, 0), "out stands before in"),
        (True, (7, 1, 2, 3), (2, 3, 0, 1), "the 1 stands before the channels"),
    ):
        weight = torch.randn(shape)
        array = weight.numpy()
        kind = "the depthwise kernel" if depthwise else "the kernel"
        got = _array(answer(weight.clone(), depthwise))
        if got is None:
            return f"{kind} is no array"
        height, width, *channels = axes
        right = array.transpose(axes)
        wrong = compare(
            got,
            right.tolist(),
            what=kind,
            hints={
                f"{kind} is torch's, unchanged": array,
                f"in {kind}, {swapped}": array.transpose(height, width, *channels[::-1]),
                f"{kind} has height and width exchanged: if it were square, nobody would notice": (
                    array.transpose(width, height, *channels)
                ),
                f"{kind} was reshaped: the shape is right, the numbers are shuffled": (
                    array.reshape(right.shape)
                ),
            },
        )
        if wrong:
            return wrong
    return None


@exercise("5.1-c")
def batches_to_forget(answer: Any) -> str | None:
    """Check after how many batches less than half of the old running mean is left in Keras."""
    if isinstance(answer, float) and 68 < answer < 69:
        return "that is where exactly half is left; batches come whole"
    return compare(
        answer,
        69,
        what="the number of batches",
        hints={
            "that is torch's 0.9; Keras keeps 0.99": 7,
            "each batch takes a hundredth of what is left, not of the original": 50,
            "almost: a little more than half is left": 68,
            "one batch earlier less than half is left already": 70,
            "that is the share; the number of batches is asked for": 0.5,
        },
    )


@exercise("5.1-d")
def freeze_below(answer: Callable[..., Any]) -> str | None:
    """Check a function that freezes everything below a layer, and every batch norm."""
    from mapping_lib.lab.keras_models import keras  # here, since the other checks don't need it

    kinds = keras.layers
    model = keras.Sequential(
        [
            keras.Input((8, 8, 3)),
            kinds.Conv2D(4, 3, name="below"),
            kinds.BatchNormalization(name="norm_below"),
            kinds.ReLU(name="relu"),
            kinds.Conv2D(4, 3, name="block"),
            kinds.BatchNormalization(name="norm_above"),
            kinds.GlobalAveragePooling2D(name="pool"),
            kinds.Dense(2, name="head"),
        ]
    )
    model.get_layer("block").trainable = False  # it may come frozen
    result = answer(model, "block")
    if not isinstance(result, keras.Model):
        return f"the function returns a {type(result).__name__} where the model is due"
    learns = {layer.name for layer in result.layers if layer.trainable_variables}
    if not learns:
        return "nothing can learn: what freezes the model freezes every layer in it"
    if "below" in learns:
        return "a convolution below the layer still learns"
    if "block" not in learns:
        return "the layer itself has to learn: it came frozen, and 'below' it doesn't count"
    if "head" not in learns:
        return "the head is above the layer and has to learn"
    if still := sorted(learns & {"norm_below", "norm_above"}):
        return f"{still[0]} would learn, and move its statistics: freeze every batch norm"
    return None


@exercise("5.1-e")
def prepared(answer: Callable[..., Any]) -> str | None:
    """Check the preprocessing of VGG16: blue first, 0 to 255, the mean taken off."""
    images = torch.rand(2, 3, 4, 3, dtype=torch.float64).numpy()
    got = _array(answer(images.copy()))
    if got is None:
        return "the prepared images are no array"
    blue_first = 255 * images[..., ::-1]
    return compare(
        got,
        (blue_first - _MEAN).tolist(),
        what="the array of prepared images",
        hints={
            "the images are still in [0, 1]: the mean is one of numbers up to 255": blue_first / 255
            - _MEAN,
            "red is still first": 255 * images - _MEAN,
            "red is still first; the mean has been turned instead": 255 * images - _MEAN[::-1],
            "the mean of red has been taken off blue: it is listed blue first": blue_first
            - _MEAN[::-1],
            "the mean is not taken off": blue_first,
            "the mean has been added": blue_first + _MEAN,
            "the wrong axis is turned: the picture is mirrored, its colours are as before": (
                255 * images[:, :, ::-1] - _MEAN
            ),
        },
    )


def _array(value: Any) -> np.ndarray[Any, Any] | None:
    """Return what may be NumPy's, torch's or TensorFlow's as an array."""
    try:
        array = np.ascontiguousarray(value)  # torch takes no axis that runs backwards
    except (TypeError, ValueError, RuntimeError):
        return None
    return array if array.dtype.kind in "fiu" else None
