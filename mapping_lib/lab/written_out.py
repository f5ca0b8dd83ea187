"""EfficientNet-Lite0 written out in the functions of PyTorch and of TensorFlow, line by line alike.

Everything but the strides stands in the names and the shapes of its tensors. Images go in with the
channels where the framework has them, in [0, 1]; features come out, shape (n, 1280). Neither
framework is imported before it is needed.
"""

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

if TYPE_CHECKING:
    from torch import Tensor

Array = npt.NDArray[np.float32]

STRIDES = (1, 2, 2, 2, 1, 2, 1)  # of the first block of each stage
EPSILON = 1e-3  # of batch norm, as the network was trained
MEAN, DEVIATION = 0.498, 0.502

DENSE, KERNEL, DEPTHWISE = (1, 0), (2, 3, 1, 0), (2, 3, 0, 1)


def tensorflow_layout(state: Mapping[str, Array]) -> dict[str, Array]:
    """Return torch's arrays with their axes in TensorFlow's order, under the same names.

    Taught in :ref:`tensorflow` (section 7.1.1).

    Parameters
    ----------
    state
        Arrays by torch's names. Those of depthwise convolutions end in ``conv_dw.weight``.

    Examples
    --------
    >>> layout = tensorflow_layout({"stem.weight": np.zeros((32, 3, 5, 7), np.float32)})
    >>> layout["stem.weight"].shape
    (5, 7, 3, 32)
    """
    axes = {1: (0,), 2: DENSE, 4: KERNEL}
    return {
        name: array.transpose(DEPTHWISE if "conv_dw" in name else axes[array.ndim])
        for name, array in state.items()
    }


def tensorflow_features(
    weights: Mapping[str, Any], images: Any, *, symmetric: bool = False, epsilon: float = EPSILON
) -> Any:
    """Map images (n, height, width, 3) to features (n, 1280) by TensorFlow's functions.

    Taught in :ref:`tensorflow` (section 7.1.1).

    Parameters
    ----------
    weights
        Arrays, constants or variables, as :func:`tensorflow_layout` orders them.
    images
        In [0, 1], channels last.
    symmetric
        Pad as much before as after, as torch's convolutions do: a mistake, for comparison.
    epsilon
        Of batch norm.
    """
    import tensorflow as tf

    def convolve(x: Any, name: str, stride: int = 1) -> Any:
        kernel = weights[f"{name}.weight"]
        padding = "SAME"
        if symmetric and (side := kernel.shape[0] // 2):
            x = tf.pad(x, [[0, 0], [side, side], [side, side], [0, 0]])
            padding = "VALID"
        if "conv_dw" in name:
            return tf.nn.depthwise_conv2d(x, kernel, (1, stride, stride, 1), padding)
        return tf.nn.conv2d(x, kernel, stride, padding)

    def normalise(x: Any, name: str) -> Any:
        mean, variance = weights[f"{name}.running_mean"], weights[f"{name}.running_var"]
        scale, shift = weights[f"{name}.weight"], weights[f"{name}.bias"]
        return tf.nn.batch_normalization(x, mean, variance, shift, scale, epsilon)

    x = _body(weights, (images - MEAN) / DEVIATION, convolve, normalise, tf.nn.relu6)
    return tf.reduce_mean(x, (1, 2))


def torch_features(
    weights: Mapping[str, "Tensor"],
    images: "Tensor",
    *,
    symmetric: bool = False,
    epsilon: float = EPSILON,
) -> "Tensor":
    """Map images (n, 3, height, width) to features (n, 1280) by torch's functions.

    Taught in :ref:`pytorch` (section 7.1.2).

    Parameters
    ----------
    weights
        Tensors by torch's names.
    images
        In [0, 1], channels first.
    symmetric
        Pad as much before as after: a mistake here, for comparison.
    epsilon
        Of batch norm.
    """
    from torch.nn import functional as F  # noqa: N812  (everybody's name for it)

    def convolve(x: "Tensor", name: str, stride: int = 1) -> "Tensor":
        kernel = weights[f"{name}.weight"]
        groups = len(kernel) if "conv_dw" in name else 1
        side = kernel.shape[-1] // 2
        if not symmetric:
            x, side = F.pad(x, same_padding(x.shape[2:], kernel.shape[-1], stride)), 0
        return F.conv2d(x, kernel, None, stride, side, groups=groups)

    def normalise(x: "Tensor", name: str) -> "Tensor":
        mean, variance = weights[f"{name}.running_mean"], weights[f"{name}.running_var"]
        scale, shift = weights[f"{name}.weight"], weights[f"{name}.bias"]
        return F.batch_norm(x, mean, variance, scale, shift, False, 0.0, epsilon)

    x = _body(weights, (images - MEAN) / DEVIATION, convolve, normalise, F.relu6)
    features: Tensor = x.mean((2, 3))
    return features


def same_padding(size: tuple[int, ...], kernel: int, stride: int) -> tuple[int, int, int, int]:
    """Return TensorFlow's ``"SAME"`` padding as ``torch.nn.functional.pad`` takes it.

    As few rows and columns as give ⌈size / stride⌉ places; where their number is odd, the odd one
    comes after. Taught in :ref:`pytorch` (section 7.1.2).

    Parameters
    ----------
    size
        Height and width.
    kernel
        The side of the kernel.
    stride
        The step between its places.

    Returns
    -------
    tuple
        Columns before and after, rows before and after.

    Examples
    --------
    >>> same_padding((8, 9), 3, 2)
    (1, 1, 0, 1)
    """
    height, width = (max((-(-n // stride) - 1) * stride + kernel - n, 0) for n in size)
    return width // 2, width - width // 2, height // 2, height - height // 2


def _body(
    weights: Mapping[str, Any],
    x: Any,
    convolve: Callable[..., Any],
    normalise: Callable[[Any, str], Any],
    relu6: Callable[[Any], Any],
) -> Any:
    """Compose the network: the same for all frameworks."""
    x = relu6(normalise(convolve(x, "conv_stem", 2), "bn1"))
    for stage, first_stride in enumerate(STRIDES):
        block = 0
        while f"{(name := f'blocks.{stage}.{block}')}.conv_dw.weight" in weights:
            stride = 1 if block else first_stride
            widened = f"{name}.conv_pwl.weight" in weights
            y, count = x, 1
            if widened:
                y, count = relu6(normalise(convolve(y, f"{name}.conv_pw"), f"{name}.bn1")), 2
            y = relu6(normalise(convolve(y, f"{name}.conv_dw", stride), f"{name}.bn{count}"))
            last = f"{name}.conv_pwl" if widened else f"{name}.conv_pw"
            y = normalise(convolve(y, last), f"{name}.bn{count + 1}")
            x = x + y if stride == 1 and x.shape == y.shape else y
            block += 1
    return relu6(normalise(convolve(x, "conv_head"), "bn2"))
