import os
import subprocess
import sys
from dataclasses import replace
from hashlib import sha256
from pathlib import Path

import h5py
import nbformat
import numpy as np
import pytest
import torch
from nbclient import NotebookClient

from mapping_lib.lab import backbones, keras_models, registry
from mapping_lib.lab.data import Images, photograph
from mapping_lib.lab.keras_models import (
    STAGE_ENDS,
    arrays,
    carry_over,
    cut,
    efficientnet_lite0,
    extractor,
    keras,
    small_cnn,
    top,
    unfreeze,
    vgg16,
)
from mapping_lib.lab.registry import CorruptKnowledge, MissingKnowledge, find


@pytest.fixture(scope="module")
def pretrained():
    return efficientnet_lite0(include_top=True)


@pytest.fixture(scope="module")
def source():
    return backbones.efficientnet_lite0()


@pytest.fixture(scope="module")
def pictures():
    return torch.cat([photograph(name).images for name in ("china", "flower")])


@pytest.fixture
def model():
    keras.utils.set_random_seed(0)
    return efficientnet_lite0(pretrained=False)


@pytest.fixture
def images():
    return np.random.default_rng(0).random((6, 32, 32, 3), np.float32)


def channels_last(tensor):
    return tensor.permute(0, 2, 3, 1).numpy()


def counted(variables):
    return sum(int(np.prod(variable.shape)) for variable in variables)


def state_of(model):
    return {variable.path: variable.numpy() for variable in model.variables}


def moved(before, model):
    return {
        path for path, value in state_of(model).items() if not np.array_equal(value, before[path])
    }


def batch_norms(model):
    return [x for x in model.layers if isinstance(x, keras.layers.BatchNormalization)]


# importing


USE = """
import keras, numpy
for seed in range(6):  # TensorFlow would warn of retracing at the fifth
    model = keras.Sequential([keras.layers.Dense(2)])
    model.predict(numpy.ones((2, 3)), verbose=0)
keras_models.small_cnn(2).predict(numpy.ones((2, 32, 32, 3)), verbose=0)
model.compile("adam", "categorical_crossentropy")
history = model.fit(numpy.ones((2, 3)), numpy.eye(2), verbose=0)
"""


def test_nothing_is_printed_and_nothing_written_outside_the_cache(tmp_path):
    home, cache = tmp_path / "home", tmp_path / "cache"
    home.mkdir()
    chosen = {"HOME": home, "MAPPING_CACHE": cache, "MPLCONFIGDIR": cache, "PYTHONUNBUFFERED": 1}
    environment = {name: v for name, v in os.environ.items() if name not in keras_models.SETTINGS}
    environment |= {name: str(value) for name, value in chosen.items()}
    environment["TF_NUM_INTRAOP_THREADS"] = "2"  # what is set already stays
    code = f"""
from mapping_lib.lab import keras_models
import os
{USE}
assert os.environ["TF_NUM_INTRAOP_THREADS"] == "2"
assert os.environ["TF_NUM_INTEROP_THREADS"] == "1"
assert keras.backend.backend() == "tensorflow"
"""
    command = [sys.executable, "-c", code]
    done = subprocess.run(command, env=environment, capture_output=True, text=True)
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
    assert list(home.iterdir()) == []
    assert (cache / "keras" / "keras.json").is_file()


def test_nothing_is_printed_in_a_notebook(tmp_path, monkeypatch):
    for name in keras_models.SETTINGS:
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("MAPPING_CACHE", str(tmp_path))
    cell = nbformat.v4.new_code_cell(f"from mapping_lib.lab import keras_models\n{USE}")
    notebook = nbformat.v4.new_notebook(cells=[cell])
    NotebookClient(notebook, timeout=120, kernel_name="python3").execute()
    assert notebook.cells[0].outputs == []


def test_what_was_held_back_is_told_when_the_import_fails(capfd):
    with keras_models._stderr_held_back():
        os.write(2, b"chatter")
    assert capfd.readouterr().err == ""
    with pytest.raises(ZeroDivisionError), keras_models._stderr_held_back():
        os.write(2, b"the reason") / 0
    os.write(2, b", and on")
    assert capfd.readouterr().err == "the reason, and on"


# EfficientNet-Lite0 agrees with torch


@pytest.mark.parametrize("size", [(224, 224), (193, 224), (97, 160), (32, 33)])
def test_logits_are_those_of_torch(pretrained, source, pictures, size):
    some = pictures[:, :, : size[0], : size[1]]
    with torch.no_grad():
        expected = source(some).numpy()
    found = pretrained(channels_last(some), training=False).numpy()
    assert np.abs(found - expected).max() < 1e-5 * np.abs(expected).max()


@pytest.mark.parametrize("size", [(224, 224), (193, 161)])
def test_every_stage_agrees_with_torch(pretrained, source, pictures, size):
    some = pictures[:, :, : size[0], : size[1]]
    names = [*STAGE_ENDS, "bn2.act"]
    outputs = keras.Model(pretrained.input, [pretrained.get_layer(n).output for n in names])
    found = outputs(channels_last(some), training=False)
    body = source.body
    with torch.no_grad():
        x = body.bn1(body.conv_stem((some - source.mean) / source.std))
        for stage, output in zip(body.blocks, found, strict=False):
            x = stage(x)
            assert output.shape == channels_last(x).shape
            assert np.abs(output - channels_last(x)).max() < 2e-5 * x.abs().max()
        x = body.bn2(body.conv_head(x))
    assert np.abs(found[-1] - channels_last(x)).max() < 2e-5 * x.abs().max()
    assert found[-1].shape == (2, -(-size[0] // 32), -(-size[1] // 32), 1280)


def test_the_labels_are_those_of_imagenet(pretrained, pictures):
    assert pretrained(channels_last(pictures)).numpy().argmax(1).tolist() == [698, 985]


def test_the_layers_are_named_as_in_timm(pretrained, source):
    theirs = {name.rpartition(".")[0] for name in source.body.state_dict()} | {"classifier"}
    assert {layer.name for layer in pretrained.layers if layer.weights} == theirs


@pytest.mark.parametrize(
    ("table", "change"),
    [
        ("KERNEL_AXES", {"Conv2D": (3, 2, 1, 0)}),  # the picture mirrored at its diagonal
        ("KERNEL_AXES", {"DepthwiseConv2D": (3, 2, 0, 1)}),
        ("TORCH_NAMES", {"gamma": "bias", "beta": "weight"}),
        ("TORCH_NAMES", {"moving_mean": "running_var", "moving_variance": "running_mean"}),
        ("TORCH_NAMES", {"beta": "running_mean", "moving_mean": "bias"}),
    ],
)
def test_a_wrong_mapping_fits_but_does_not_agree(monkeypatch, pretrained, pictures, table, change):
    monkeypatch.setattr(keras_models, table, getattr(keras_models, table) | change)
    wrong = efficientnet_lite0(include_top=True)
    images = channels_last(pictures)
    found, expected = wrong(images).numpy(), pretrained(images).numpy()
    assert not np.abs(found - expected).max() < 0.1 * np.abs(expected).max()  # NaN differs, too


def test_a_wrong_epsilon_would_be_noticed(pretrained, source, pictures):
    other = keras.models.clone_model(
        pretrained, clone_function=lambda x: x.__class__.from_config(with_epsilon(x, 1e-5))
    )
    other.set_weights(pretrained.get_weights())
    with torch.no_grad():
        expected = source(pictures).numpy()
    found = other(channels_last(pictures)).numpy()
    assert np.abs(found - expected).max() > 1e-3 * np.abs(expected).max()


def with_epsilon(layer, epsilon):
    config = layer.get_config()
    return config | ({"epsilon": epsilon} if "epsilon" in config else {})


# what carry_over refuses


def small_pair():
    layers = [keras.Input((4, 4, 3)), keras.layers.Conv2D(5, (2, 3), name="conv")]
    layers += [keras.layers.BatchNormalization(name="norm")]
    parts = {"conv": torch.nn.Conv2d(3, 5, (2, 3)), "norm": torch.nn.BatchNorm2d(5)}
    return torch.nn.ModuleDict(parts), keras.Sequential(layers, name="small")


def test_carry_over_returns_the_model_and_leaves_the_counter():
    network, model = small_pair()
    assert carry_over(network.state_dict(), model) is model
    kernel = model.get_layer("conv").kernel.numpy()
    assert np.array_equal(kernel[1, 2, 0], network["conv"].weight.detach()[:, 0, 1, 2].numpy())


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"conv.bias": None}, "torch lacks conv.bias, which small has"),
        ({"fc.weight": torch.zeros(2)}, "small has no place for fc.weight"),
        (
            {"conv.weight": torch.zeros(5, 3, 3, 2)},
            r"conv.weight has the shape \(3, 2, 3, 5\) in Keras's layout, but small has \(2, 3,",
        ),
    ],
)
def test_carry_over_names_what_does_not_match(change, words):
    network, model = small_pair()
    before = state_of(model)
    state = {n: t for n, t in (network.state_dict() | change).items() if t is not None}
    with pytest.raises(CorruptKnowledge, match=words):
        carry_over(state, model)
    assert not moved(before, model)


# VGG16: its weights can't be had here, so random ones of the same shape stand in


@pytest.fixture
def random_vgg16(tmp_path, monkeypatch):
    """Keras's own VGG16, its weights in a file of the old form, and the registry knowing it."""
    keras.utils.set_random_seed(1)
    network = keras.applications.VGG16(include_top=False, weights=None)
    entry = find("vgg16")
    monkeypatch.setenv("MAPPING_CACHE", str(tmp_path))
    path = registry.cache_folder() / "keras" / "models" / entry.files[0].path
    path.parent.mkdir(parents=True)
    named = [layer for layer in network.layers if layer.weights]
    with h5py.File(path, "w") as file:
        file.attrs["layer_names"] = [layer.name for layer in named]
        for layer in named:
            group = file.create_group(layer.name)
            names = [f"{layer.name}_{letter}_1:0" for letter in "Wb"]
            group.attrs["weight_names"] = names
            for name, weight in zip(names, layer.get_weights(), strict=True):
                group[name] = weight
    known = replace(
        entry.files[0],
        size=path.stat().st_size,
        sha256=sha256(path.read_bytes()).hexdigest(),
    )
    entries = tuple(replace(e, files=(known,)) if e is entry else e for e in registry.ENTRIES)
    monkeypatch.setattr(registry, "ENTRIES", entries)
    return network, path


def test_vgg16_is_keras_with_its_own_preprocessing(random_vgg16, images):
    theirs, _ = random_vgg16
    prepared = keras.applications.vgg16.preprocess_input(images * 255)
    found = extractor("full")(images).numpy()
    assert found.shape == (6, 1, 1, 512)
    expected = theirs(prepared).numpy()
    assert np.allclose(found, expected, atol=1e-4 * np.abs(expected).max())


def test_vgg16_with_other_content_is_refused_before_it_is_read(random_vgg16, monkeypatch):
    _, path = random_vgg16
    content = bytearray(path.read_bytes())
    content[-1] ^= 1
    path.write_bytes(content)
    monkeypatch.setattr(keras.Model, "load_weights", pytest.fail)
    with pytest.raises(CorruptKnowledge, match="SHA-256"):
        vgg16()


def test_vgg16_without_its_weights(tmp_path, monkeypatch):
    monkeypatch.setenv("MAPPING_CACHE", str(tmp_path))
    monkeypatch.setenv("KERAS_HOME", str(tmp_path / "keras"))
    with pytest.raises(MissingKnowledge) as caught:
        extractor("full")
    for words in ("vgg16_weights_tf_dim_ordering_tf_kernels_notop.h5", str(tmp_path), "Instead:"):
        assert words in str(caught.value)


def test_the_shapes_of_vgg16_are_those_of_the_entry():
    network = vgg16(pretrained=False)
    numbers = counted(network.variables)
    assert numbers == 14_714_688
    assert 0 < find("vgg16").size - 4 * numbers < 100_000  # the rest is names


def test_extractor_of_a_tier():
    assert extractor("bundled", pretrained=False).name == "efficientnet-lite0"
    assert extractor("real", pretrained=False).output.shape[-1] == 1280
    assert extractor("full", pretrained=False).name == "vgg16"
    with pytest.raises(ValueError, match=r"'bundle'; did you mean 'bundled'\?"):
        extractor("bundle")


# what goes on top, and the baseline


@pytest.mark.parametrize(
    ("hidden", "numbers"), [(1024, 1280 * 1024 + 1024 + 1024 * 20 + 20), (None, 1280 * 20 + 20)]
)
def test_top(hidden, numbers):
    model = top(20, hidden=hidden)
    maps = np.random.default_rng(0).random((2, 3, 4, 1280), np.float32)
    found = model(maps).numpy()
    assert found.shape == (2, 20)
    assert np.allclose(found.sum(1), 1, atol=1e-5)
    assert np.allclose(model(maps[:, ::-1, ::-1]), found, atol=1e-5)  # places are pooled
    assert counted(model.trainable_variables) == numbers


def test_small_cnn_is_that_of_torch(images):
    model = small_cnn(20)
    assert model(images).shape == (6, 20)
    assert counted(model.trainable_variables) == 101_028
    brighter = images * 0.5 + 0.2  # contrast and brightness are taken out
    assert np.allclose(model(images), model(brighter), atol=1e-3)


def test_the_seed_decides(images):
    runs = []
    for seed in (0, 0, 1):
        keras.utils.set_random_seed(seed)
        model = small_cnn(2)
        model.compile("adam", "categorical_crossentropy")
        model.fit(images, np.eye(2)[[0, 1] * 3], batch_size=2, epochs=2, verbose=0)
        runs.append(model.predict(images, verbose=0))
    assert np.array_equal(runs[0], runs[1])
    assert not np.allclose(runs[0], runs[2])


# cutting and freezing


@pytest.mark.parametrize("tier", ["bundled", "full"])
def test_the_parts_make_the_whole(tier, images):
    model = extractor(tier, pretrained=False)
    lower, upper = cut(model)
    assert np.allclose(upper(lower(images)), model(images), atol=1e-5)
    assert upper.get_layer(model.layers[-1].name) is model.layers[-1]
    below = {layer.name for layer in lower.layers if layer.weights}
    above = {layer.name for layer in upper.layers if layer.weights}
    assert not below & above
    first = {"bundled": "blocks.6.0.conv_pw", "full": "block5_conv1"}[tier]
    assert first in above
    assert len(below | above) == sum(bool(layer.weights) for layer in model.layers)


def test_cut_where_it_is_asked(model):
    lower, _ = cut(model, "blocks.1.1")
    assert lower.output.shape[-1] == 24
    with pytest.raises(ValueError, match=r"No such layer: blocks\.9"):
        cut(model, "blocks.9")


def test_a_frozen_extractor_is_frozen_in_training_mode(model, images):
    model.trainable = False
    before = state_of(model)
    assert np.allclose(model(images, training=True), model(images, training=False))
    assert not moved(before, model)
    model.trainable = True
    assert not np.allclose(model(images, training=True), model(images, training=False))
    statistics = {v.path for norm in batch_norms(model) for v in norm.non_trainable_variables}
    assert moved(before, model) == statistics


@pytest.mark.parametrize("fixed", [True, False])
def test_unfreeze_and_batch_norm(images, fixed):
    lower, model = cut(extractor("bundled"))
    model.trainable = False
    assert unfreeze(model, statistics_fixed=fixed) is model
    before = state_of(model)
    model.compile(keras.optimizers.Adam(0.01), "mse")
    model.fit(lower.predict(images, verbose=0), np.zeros((6, 1, 1, 1280)), verbose=0)
    norms = {v.path for norm in batch_norms(model) for v in norm.variables}
    kernels = {v.path for v in model.variables if v.name == "kernel"}
    assert kernels <= moved(before, model)
    assert bool(norms & moved(before, model)) != fixed
    assert len(kernels) == 4


@pytest.mark.parametrize("fixed", [True, False])
def test_unfreeze_whatever_was_frozen_before(model, fixed):
    """On TensorFlow, Keras ignores model.trainable = True while it is True: layers stay frozen."""
    for layer in model.layers:
        layer.trainable = False
    model.trainable = True
    assert not model.trainable_variables  # Keras's trap; if this fails, the page needs changing
    for again in (True, False, fixed):
        unfreeze(model, statistics_fixed=again)
    assert all(norm.trainable != fixed for norm in batch_norms(model))
    assert len(model.trainable_variables) == (49 if fixed else 3 * 49)


# images


def test_arrays():
    given = torch.rand(3, 3, 4, 5)
    labels = torch.tensor([2, 0, 1])
    classes = ("a", "b", "c", "d")
    images = Images(
        images=given, labels=labels, classes=classes, entry="photographs", split="train"
    )
    pixels, labels = arrays(images)
    assert pixels.shape == (3, 4, 5, 3)
    assert np.array_equal(pixels[2, 1, 3], given[2, :, 1, 3].numpy())
    assert labels.dtype == np.float32
    assert labels.tolist() == [[0, 0, 1, 0], [1, 0, 0, 0], [0, 1, 0, 0]]


def test_the_settings_stay_inside_the_cache():
    assert Path(keras_models.SETTINGS["KERAS_HOME"]).is_relative_to(registry.cache_folder())
