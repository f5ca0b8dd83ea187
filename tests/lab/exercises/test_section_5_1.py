import numpy as np

from mapping_lib.lab.exercises import Case, check

MEAN = np.array([103.939, 116.779, 123.68])


def to_keras(weight, depthwise, ordinary=(2, 3, 1, 0), channels=(2, 3, 0, 1)):
    return weight.numpy().transpose(channels if depthwise else ordinary)


def reshaped(weight, depthwise):
    return weight.numpy().reshape(to_keras(weight, depthwise).shape)


def freeze_below(model, name, norms=True, block=True):
    below = True
    for layer in model.layers:
        below = below and layer.name != name
        norm = type(layer).__name__ == "BatchNormalization"
        layer.trainable = not below and not (norm and norms)
    if not block:
        model.get_layer(name).trainable = False
    return model


def freeze_all(model, name):
    model.trainable = False
    return model


def freeze_only_above(model, name):
    model = freeze_below(model, name)
    model.get_layer("below").trainable = True
    return model


def freeze_head(model, name):
    model = freeze_below(model, name)
    model.get_layer("head").trainable = False
    return model


def prepared(images, scale=255, mean=MEAN, turn=-1):
    return np.flip(images, turn) * scale - mean


CASES = {
    "5.1-a": Case(
        solution=(527_362, 25_693_186),
        wrong={
            "swapped": (25_693_186, 527_362),
            "the biases are missing": (526_336, 25_692_160),
            "softmax layer has to be counted": (525_312, 25_691_136),
            "7 · 7 · 512 features": (527_362, 527_362),
            "stands the hidden layer": (1_026, 50_178),
            "20 classes": (545_812, 25_711_636),
            "frozen body's numbers": (15_242_050, 40_407_874),
        },
    ),
    "5.1-b": Case(
        solution=to_keras,
        wrong={
            "the kernel has height and width": lambda w, d: to_keras(w, d, ordinary=(3, 2, 1, 0)),
            "out stands before in": lambda w, d: to_keras(w, d, ordinary=(2, 3, 0, 1)),
            "the 1 stands before": lambda w, d: to_keras(w, d, channels=(2, 3, 1, 0)),
            "depthwise kernel has height": lambda w, d: to_keras(w, d, channels=(3, 2, 0, 1)),
            "the kernel was reshaped": reshaped,
            "unchanged": lambda w, d: w.numpy(),
            "is no array": lambda w, d: "a kernel",
        },
    ),
    "5.1-c": Case(
        solution=69,
        wrong={
            "torch's": 7,
            "not of the original": 50,
            "almost": 68,
            "one batch earlier": 70,
            "come whole": 68.97,
            "batches is too large": 100,
            "a str": "69",
        },
    ),
    "5.1-d": Case(
        solution=freeze_below,
        wrong={
            "nothing can learn": freeze_all,
            "below the layer still learns": freeze_only_above,
            "the layer itself has to learn": lambda m, n: freeze_below(m, n, block=False),
            "the head is above": freeze_head,
            "norm_above would learn": lambda m, n: freeze_below(m, n, norms=False),
            "where the model is due": lambda m, n: m.layers,
        },
    ),
    "5.1-e": Case(
        solution=prepared,
        wrong={
            "still in [0, 1]": lambda images: prepared(images, scale=1),
            "red is still first": lambda images: images * 255 - MEAN,
            "turned instead": lambda images: images * 255 - MEAN[::-1],
            "taken off blue": lambda images: prepared(images, mean=MEAN[::-1]),
            "not taken off": lambda images: prepared(images, mean=0),
            "has been added": lambda images: prepared(images, mean=-MEAN),
            "the wrong axis": lambda images: prepared(images, turn=2),
            "no array": lambda images: "images",
        },
    ),
}


def test_a_number_of_batches_that_was_not_expected_is_not_told_the_right_one():
    assert "69" not in check("5.1-c", 100).message


def test_images_may_be_prepared_in_any_order():
    assert check("5.1-e", lambda images: (images * 255 - MEAN[::-1])[..., ::-1])
    assert (
        "taken off blue" in check("5.1-e", lambda images: (images * 255 - MEAN)[..., ::-1]).message
    )
