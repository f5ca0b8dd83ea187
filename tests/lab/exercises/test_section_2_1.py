import torch
from torch.nn.functional import pad

from mapping_lib.lab.exercises import Case


def circulant(kernel, n, flip=False, around=True, start=None):
    kernel = kernel.flip(0) if flip else kernel
    start = -(len(kernel) // 2) if start is None else start
    matrix = torch.zeros(n, n, dtype=kernel.dtype)
    for i in range(n):
        for a, weight in enumerate(kernel):
            if around or 0 <= i + a + start < n:
                matrix[i, (i + a + start) % n] = weight
    return matrix


def back(gradient, states, weight, first=1):
    for state in states[first:].flip(0):
        gradient = weight.T @ ((1 - state**2) * gradient)
    return gradient


def back_without_transpose(gradient, states, weight):
    return back(gradient, states, weight.T)


def back_without_slope(gradient, states, weight):
    return torch.linalg.matrix_power(weight.T, len(states) - 1) @ gradient


def back_in_the_order_of_time(gradient, states, weight):
    for state in states[1:]:
        gradient = weight.T @ ((1 - state**2) * gradient)
    return gradient


def back_through_the_weight_first(gradient, states, weight):
    for state in states[1:].flip(0):
        gradient = (1 - state**2) * (weight.T @ gradient)
    return gradient


def back_with_earlier_slopes(gradient, states, weight):
    for state in states[:-1].flip(0):
        gradient = weight.T @ ((1 - state**2) * gradient)
    return gradient


def averaged(function, images, axis=-1, places=None):
    places = places or images.shape[axis]
    return sum(function(images.roll(k, axis)) for k in range(places)) / places


CASES = {
    "2.1-a": Case(
        solution=(608, 1920),
        wrong={
            "output channel has a bias": (600, 1920),
            "two biases in each block": (608, 1860),
            "missing in both": (600, 1800),
            "of the GRU are missing": (608, 1800),
            "all 3 input channels": (208, 1920),
            "three blocks, r, z and n": (608, 640),
            "four blocks are an LSTM's": (608, 2560),
            "swapped": (1920, 608),
            "not one for each of its 3 kernels": (8 * 3 * (25 + 1), 1920),
        },
    ),
    "2.1-b": Case(
        solution=circulant,
        wrong={
            "flipped": lambda kernel, n: circulant(kernel, n, flip=True),
            "padding with zeros": lambda kernel, n: circulant(kernel, n, around=False),
            "first weight stands on the diagonal": lambda kernel, n: circulant(kernel, n, start=0),
            "last weight stands on the diagonal": lambda kernel, n: circulant(
                kernel, n, start=1 - len(kernel)
            ),
        },
    ),
    "2.1-c": Case(
        solution=back,
        wrong={
            "the transpose of U": back_without_transpose,
            "from the last to the first": back_in_the_order_of_time,
            "slope of tanh": back_without_slope,
            "first through tanh": back_through_the_weight_first,
            "one step too many": lambda *a: back(*a, first=0),
            "one step earlier": back_with_earlier_slopes,
            "through tanh already": lambda g, h, u: back(g, h.tanh(), u),
        },
    ),
    "2.1-d": Case(
        solution=averaged,
        wrong={
            "the images were averaged": lambda f, x: f(
                sum(x.roll(k, -1) for k in range(x.shape[-1])) / x.shape[-1]
            ),
            "moved down": lambda f, x: averaged(f, x, axis=-2),
            "one shift is missing": lambda f, x: averaged(f, x, places=x.shape[-1] - 1),
            "as the image is high": lambda f, x: averaged(f, x, places=x.shape[-2]),
            "without any shift": lambda f, x: f(x),
            "divided by the number": lambda f, x: averaged(f, x) * x.shape[-1],
            "come back on the left": lambda f, x: (
                sum(f(pad(x, (k, 0))[..., : x.shape[-1]]) for k in range(x.shape[-1])) / x.shape[-1]
            ),
            "a mean of its own": lambda f, x: averaged(f, x).mean(0),
        },
    ),
}
