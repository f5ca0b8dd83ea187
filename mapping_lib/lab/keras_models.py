"""Networks for section 5.1 in Keras: feature extractors with their weights, and what goes on top.

Import this module before Keras: it sets, where nothing else is set, what TensorFlow and Keras read
from the environment while they are imported. Images go in as Keras has them, channels last, in
[0, 1]; each network normalises them itself.
"""

import logging
import os
import sys
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import numpy as np
import numpy.typing as npt
from torch import Tensor

from mapping_lib.lab import backbones
from mapping_lib.lab.data import Images
from mapping_lib.lab.registry import CorruptKnowledge, cache_folder, check_tier, locate

SETTINGS = {
    "KERAS_BACKEND": "tensorflow",
    "KERAS_HOME": str(cache_folder() / "keras"),  # Keras writes a file on import, else into ~
    "TF_CPP_MIN_LOG_LEVEL": "3",
    "TF_ENABLE_ONEDNN_OPTS": "0",  # the same sums in the same order on every processor
    "TF_NUM_INTRAOP_THREADS": "1",
    "TF_NUM_INTEROP_THREADS": "1",
}


@contextmanager
def _stderr_held_back() -> Iterator[None]:
    """Keep what C++ code writes to stderr to itself, unless the block fails."""
    sys.stderr.flush()
    stderr = os.dup(2)
    with tempfile.TemporaryFile() as held_back:
        os.dup2(held_back.fileno(), 2)
        try:
            yield
        except BaseException:
            held_back.seek(0)
            os.write(stderr, held_back.read())
            raise
        finally:
            os.dup2(stderr, 2)
            os.close(stderr)


for _name, _value in SETTINGS.items():
    os.environ.setdefault(_name, _value)
with _stderr_held_back():  # TensorFlow tells of missing GPUs whatever the log level
    import keras as keras  # others may import it from here, after the settings
    from keras import layers
logging.getLogger("tensorflow").setLevel(logging.ERROR)  # a new model for each seed is no mistake

# Kernel, stride, expansion, channels and number of blocks of each stage.
STAGES = (
    (3, 1, 1, 16, 1),
    (3, 2, 6, 24, 2),
    (5, 2, 6, 40, 2),
    (3, 2, 6, 80, 3),
    (5, 1, 6, 112, 3),
    (5, 2, 6, 192, 4),
    (3, 1, 6, 320, 1),
)
STAGE_ENDS = tuple(f"blocks.{stage}.{row[-1] - 1}" for stage, row in enumerate(STAGES))
BEFORE_LAST_BLOCK = {"efficientnet-lite0": STAGE_ENDS[-2], "vgg16": "block4_pool"}

# How torch's state dict calls the variables of a Keras layer, and which of its axes comes first.
TORCH_NAMES = {
    "kernel": "weight",
    "bias": "bias",
    "gamma": "weight",
    "beta": "bias",
    "moving_mean": "running_mean",
    "moving_variance": "running_var",
}
KERNEL_AXES = {
    "Conv2D": (2, 3, 1, 0),  # (out, in, height, width) → (height, width, in, out)
    "DepthwiseConv2D": (2, 3, 0, 1),  # (channels, 1, height, width) → (height, width, channels, 1)
    "Dense": (1, 0),  # (out, in) → (in, out)
}


def carry_over(state: Mapping[str, Tensor], model: Any) -> Any:
    """Copy torch's tensors into a Keras model whose layers have the same names; return the model.

    Every tensor must find its place and every place its tensor; else nothing is copied. Batch
    norm's ``num_batches_tracked`` counts what Keras doesn't, and stays behind.

    Taught in :ref:`keras-feature-extraction` (section 5.1).

    Parameters
    ----------
    state
        As ``state_dict()`` of a :class:`torch.nn.Module` returns it.
    model
        A built :class:`keras.Model`.

    Raises
    ------
    CorruptKnowledge
        A tensor without a place, a place without a tensor, or another shape; the message names it.
    """
    counter = "num_batches_tracked"
    left = {name: tensor for name, tensor in state.items() if counter not in name}
    pairs = []
    for layer in model.layers:
        for variable in layer.weights:
            name = f"{layer.name}.{TORCH_NAMES[variable.name]}"
            if name not in left:
                raise CorruptKnowledge(f"torch lacks {name}, which {model.name} has")
            array = left.pop(name).numpy()
            if variable.name == "kernel":
                array = array.transpose(KERNEL_AXES[type(layer).__name__])
            if array.shape != tuple(variable.shape):
                raise CorruptKnowledge(
                    f"{name} has the shape {array.shape} in Keras's layout, "
                    f"but {model.name} has {tuple(variable.shape)} there"
                )
            pairs.append((variable, array))
    if left:
        raise CorruptKnowledge(f"{model.name} has no place for {', '.join(left)}")
    for variable, array in pairs:
        variable.assign(array)
    return model


def efficientnet_lite0(*, pretrained: bool = True, include_top: bool = False) -> Any:
    """Return EfficientNet-Lite0 :cite:p:`tan2019efficientnet` in Keras, layers named as in timm.

    Parameters
    ----------
    pretrained
        Carry the bundled ImageNet weights over from torch, else draw random ones.
    include_top
        Go on to the logits of ImageNet's 1,000 classes. Without it the model ends in the last
        feature map, shape (n, height/32, width/32, 1280), rounded up.

    Examples
    --------
    >>> efficientnet_lite0(pretrained=False).output.shape
    (None, None, None, 1280)
    """
    images = keras.Input((None, None, 3), name="images")
    x = layers.Rescaling(1 / 0.502, offset=-0.498 / 0.502, name="normalise")(images)
    x = layers.Conv2D(32, 3, 2, "same", use_bias=False, name="conv_stem")(x)
    x = _normalised(x, "bn1")
    for stage, (kernel, stride, expansion, channels, blocks) in enumerate(STAGES):
        for block in range(blocks):
            name = f"blocks.{stage}.{block}"
            x = _block(x, name, kernel, 1 if block else stride, expansion, channels)
    x = layers.Conv2D(1280, 1, use_bias=False, name="conv_head")(x)
    x = _normalised(x, "bn2")
    if include_top:
        x = layers.GlobalAveragePooling2D(name="global_pool")(x)
        x = layers.Dense(1000, name="classifier")(x)
    model = keras.Model(images, x, name="efficientnet-lite0")
    if not pretrained:
        return model
    source = backbones.efficientnet_lite0()
    state = source.body.state_dict()
    if include_top:
        state |= {f"classifier.{name}": t for name, t in source.head.state_dict().items()}
    return carry_over(state, model)


def _block(x: Any, name: str, kernel: int, stride: int, expansion: int, channels: int) -> Any:
    """Widen by a 1×1 convolution, filter each channel, narrow again; add the input if it fits.

    Without widening timm counts the layers from the depthwise one, hence the numbers.
    """
    shortcut, width = x, x.shape[-1]
    first = 2 if expansion > 1 else 1
    if expansion > 1:
        x = layers.Conv2D(width * expansion, 1, use_bias=False, name=f"{name}.conv_pw")(x)
        x = _normalised(x, f"{name}.bn1")
    depthwise = layers.DepthwiseConv2D(
        kernel, stride, "same", use_bias=False, name=f"{name}.conv_dw"
    )
    x = _normalised(depthwise(x), f"{name}.bn{first}")
    narrow = f"{name}.conv_pwl" if expansion > 1 else f"{name}.conv_pw"
    x = layers.Conv2D(channels, 1, use_bias=False, name=narrow)(x)
    x = _normalised(x, f"{name}.bn{first + 1}", activation=False)
    if stride == 1 and width == channels:
        return layers.Add(name=name)([x, shortcut])
    return layers.Identity(name=name)(x)


def _normalised(x: Any, name: str, *, activation: bool = True) -> Any:
    """Add batch norm and, after it, ReLU6."""
    x = layers.BatchNormalization(epsilon=1e-3, name=name)(x)
    return layers.ReLU(max_value=6, name=f"{name}.act")(x) if activation else x


def vgg16(*, pretrained: bool = True, download: bool = False) -> Any:
    """Return VGG16 :cite:p:`simonyan2015very` of ``keras.applications`` without its top.

    Parameters
    ----------
    pretrained
        Load the ImageNet weights from the cache, their hash checked first, else draw random ones.
    download
        Fetch the weights (59 MB) if they aren't in the cache.

    Raises
    ------
    MissingKnowledge, CorruptKnowledge, DownloadFailed
        The weights aren't there, aren't the right ones, or can't be fetched.
    """
    images = keras.Input((None, None, 3), name="images")
    x = layers.Rescaling(255.0)(keras.ops.flip(images, axis=-1))  # VGG's colours: blue first
    x = layers.Normalization(mean=[103.939, 116.779, 123.68], variance=[1.0, 1.0, 1.0])(x)
    network = keras.applications.VGG16(include_top=False, weights=None, input_tensor=x)
    model = keras.Model(images, network.output, name="vgg16")  # one input, not a list of one
    if pretrained:
        model.load_weights(locate("vgg16", download=download))
    return model


def extractor(tier: str, *, pretrained: bool = True, download: bool = False) -> Any:
    """Return the feature extractor of a tier: VGG16 for ``"full"``, else EfficientNet-Lite0.

    Taught in :ref:`keras-feature-extraction` (section 5.1).

    Parameters
    ----------
    tier
        ``"bundled"``, ``"real"`` or ``"full"``.
    pretrained, download
        As :func:`efficientnet_lite0` and :func:`vgg16` take them.

    Raises
    ------
    ValueError
        An unknown tier.
    MissingKnowledge, CorruptKnowledge, DownloadFailed
        The weights aren't there, aren't the right ones, or can't be fetched.
    """
    if check_tier(tier) == "full":
        return vgg16(pretrained=pretrained, download=download)
    return efficientnet_lite0(pretrained=pretrained)


def top(classes: int, *, hidden: int | None = 1024) -> Any:
    """Return what the recipe puts on a feature map: pooling, a hidden layer, softmax.

    Parameters
    ----------
    classes
        Number of probabilities.
    hidden
        Width of the hidden layer; None leaves it out.
    """
    parts = [layers.GlobalAveragePooling2D()]
    if hidden is not None:
        parts.append(layers.Dense(hidden, activation="relu"))
    parts.append(layers.Dense(classes, activation="softmax"))
    return keras.Sequential(parts, name="top")


def small_cnn(classes: int) -> Any:
    """Return the baseline: the layers of :func:`mapping_lib.lab.backbones.small_cnn`, in Keras.

    Each image is standardised first. Batch norm follows its batches as fast as torch's does
    (Keras's default is ten times slower: too slow for a few hundred steps).

    Parameters
    ----------
    classes
        Number of probabilities.
    """
    standardise = layers.LayerNormalization(
        axis=(1, 2, 3), center=False, scale=False, epsilon=1e-6, name="standardise"
    )
    parts = [keras.Input((None, None, 3), name="images"), standardise]
    for width, side, stride in ((16, 5, 2), (32, 3, 1), (64, 3, 1), (128, 3, 1)):
        parts += [layers.Conv2D(width, side, stride, "same", use_bias=False)]
        parts += [layers.BatchNormalization(momentum=0.9, epsilon=1e-5)]
        parts += [layers.ReLU(), layers.MaxPooling2D()]
    parts += [layers.GlobalAveragePooling2D(), layers.Dense(classes, activation="softmax")]
    return keras.Sequential(parts, name="small-cnn")


def cut(model: Any, layer: str | None = None) -> tuple[Any, Any]:
    """Cut a model after a layer into a lower and an upper part; both share its layers.

    ``upper(lower(x))`` is ``model(x)``. While everything below the cut is frozen, ``lower`` need
    be run only once.

    Parameters
    ----------
    model
        Such as :func:`extractor` returns.
    layer
        Name of the last layer of the lower part, by default the one before the last block.

    Raises
    ------
    ValueError
        There is no such layer.
    """
    between = model.get_layer(layer or BEFORE_LAST_BLOCK[model.name]).output
    lower = keras.Model(model.input, between, name="lower")
    return lower, keras.Model(between, model.output, name="upper")


def unfreeze(model: Any, *, statistics_fixed: bool = True) -> Any:
    """Let all layers learn again, and return the model.

    In Keras, a batch norm that is not trainable runs in inference mode, whatever the mode of the
    model is: its statistics are as fixed as its parameters.

    Parameters
    ----------
    model
        The model, or the part of one, to be fine-tuned.
    statistics_fixed
        Whether batch norm stays as it was; usual with small batches.
    """
    model.trainable = True  # does nothing to its layers where it was True already
    for layer in model.layers:
        norm = isinstance(layer, layers.BatchNormalization)
        layer.trainable = not (norm and statistics_fixed)
    return model


def arrays(images: Images) -> tuple[npt.NDArray[np.float32], npt.NDArray[np.float32]]:
    """Return images with the channels last, and their labels one-hot, as Keras takes them.

    Parameters
    ----------
    images
        What :mod:`mapping_lib.lab.data` returns.
    """
    pixels = np.ascontiguousarray(images.images.permute(0, 2, 3, 1).numpy())
    labels = keras.utils.to_categorical(images.labels.numpy(), len(images.classes))
    return pixels, labels.astype(np.float32)
