r"""Initialisation (section 3.2.1): where the parameters of a network start, at random or from
another network.

A weight has the shape ``(out, in)`` or, of a convolution, ``(out, in, *kernel)``. With the kernel's
k places, :math:`n_\text{in} = k \cdot \text{in}` numbers enter each output, and each input enters
:math:`n_\text{out} = k \cdot \text{out}` of them.
"""

import math
import warnings
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from mapping_lib._checks import place_of, require_float, require_number, require_tensor, shape
from mapping_lib._modules import first_outputs, hint, weighted_layers

__all__ = ["Matching", "copy_matching", "he", "lsuv", "orthogonal", "xavier"]


class Matching(NamedTuple):
    """What :func:`copy_matching` did, by the model's names.

    Copied were names in both with one shape. All else kept its values: names that the source lacks
    are missing, and those of another shape stand with the two shapes, the source's first.
    Unexpected are names of the source, renamed, that the model lacks.
    """

    copied: list[str]
    missing: list[str]
    other_shape: dict[str, tuple[tuple[int, ...], tuple[int, ...]]]
    unexpected: list[str]


def xavier(
    shape: Sequence[int],
    *,
    gain: float = 1.0,
    generator: torch.Generator | None = None,
    dtype: torch.dtype | None = None,
    device: torch.device | str | None = None,
) -> Tensor:
    r"""Draw a weight whose layer keeps the variance of signal and gradient, between the two.

    .. math::

        W_{ij} \sim U(-b, b), \qquad b = g \sqrt{\frac{6}{n_\text{in} + n_\text{out}}}, \qquad
        \operatorname{Var} W_{ij} = \frac{2 g^2}{n_\text{in} + n_\text{out}}

    A linear layer keeps the signal's variance at :math:`1 / n_\text{in}`, and the gradient's at
    :math:`1 / n_\text{out}`. Meant for activations with slope 1 at 0, such as tanh.

    Taught in :ref:`parameter-initialisation` (section 3.2.1).
    Source: :cite:t:`glorot2010understanding`, eqs. 12 and 16.

    Parameters
    ----------
    shape
        ``(out, in)`` or ``(out, in, *kernel)``.
    gain
        The factor g.
    generator
        Draws; by default torch's own.
    dtype, device
        Of the weight; by default torch's dtype, and the generator's device.

    Returns
    -------
    Tensor
        The weight, of the given shape.

    Raises
    ------
    TypeError
        The shape doesn't hold whole numbers, or the dtype isn't floating point.
    ValueError
        The shape has fewer than two axes, a size below 1, or the gain is negative.

    Examples
    --------
    >>> weight = xavier((2, 4), generator=torch.Generator().manual_seed(0))
    >>> weight.shape, bool((weight.abs() <= 1).all())  # the square root of 6 / (4 + 2)
    (torch.Size([2, 4]), True)
    """
    fan_in, fan_out = _fans(shape)
    require_number("gain", gain)
    bound = gain * math.sqrt(6 / (fan_in + fan_out))
    empty = _empty(shape, generator, dtype, device)
    return empty.uniform_(-bound, bound, generator=generator)


def he(
    shape: Sequence[int],
    *,
    slope: float = 0.0,
    generator: torch.Generator | None = None,
    dtype: torch.dtype | None = None,
    device: torch.device | str | None = None,
) -> Tensor:
    r"""Draw a weight that keeps the mean square of the signal from one ReLU to the next.

    .. math::

        W_{ij} \sim \mathcal N(0, s^2), \qquad s^2 = \frac{2}{(1 + a^2) \, n_\text{in}}

    A ReLU lets half of a symmetric signal's mean square through, and with slope :math:`a` below 0
    the share :math:`(1 + a^2) / 2`: the factor makes up for it.

    Taught in :ref:`parameter-initialisation` (section 3.2.1).
    Source: :cite:t:`he2015delving`, eqs. 10 and 15.

    Parameters
    ----------
    shape
        ``(out, in)`` or ``(out, in, *kernel)``.
    slope
        Of the activation below 0: 0 of ReLU, 1 of a linear layer.
    generator
        Draws; by default torch's own.
    dtype, device
        Of the weight; by default torch's dtype, and the generator's device.

    Returns
    -------
    Tensor
        The weight, of the given shape.

    Raises
    ------
    TypeError
        The shape doesn't hold whole numbers, or the dtype isn't floating point.
    ValueError
        The shape has fewer than two axes, a size below 1, or the slope is negative.

    Examples
    --------
    >>> weight = he((500, 50), generator=torch.Generator().manual_seed(0))
    >>> round(float(weight.std()), 2)  # the square root of 2 / 50
    0.2
    """
    fan_in, _ = _fans(shape)
    require_number("slope", slope)
    deviation = math.sqrt(2 / ((1 + slope**2) * fan_in))
    return _empty(shape, generator, dtype, device).normal_(0, deviation, generator=generator)


def orthogonal(
    shape: Sequence[int],
    *,
    gain: float = 1.0,
    generator: torch.Generator | None = None,
    dtype: torch.dtype | None = None,
    device: torch.device | str | None = None,
) -> Tensor:
    r"""Draw a weight that stretches all directions alike.

    .. math::

        W^\top W = g^2 I \;\; (n_\text{in} \le \text{out}), \qquad
        W W^\top = g^2 I \;\; (n_\text{in} \ge \text{out})

    All singular values are :math:`g`, where those of independent draws spread from near 0 to twice
    their root mean square. Drawn uniformly from all such matrices. A convolution's weight is taken
    as a matrix of ``out`` rows.

    Taught in :ref:`parameter-initialisation` (section 3.2.1).
    Source: :cite:t:`saxe2014exact`.

    Parameters
    ----------
    shape
        ``(out, in)`` or ``(out, in, *kernel)``.
    gain
        The factor g.
    generator
        Draws; by default torch's own.
    dtype, device
        Of the weight; by default torch's dtype, and the generator's device.

    Returns
    -------
    Tensor
        The weight, of the given shape.

    Raises
    ------
    TypeError
        The shape doesn't hold whole numbers, or the dtype isn't floating point.
    ValueError
        The shape has fewer than two axes, a size below 1, or the gain is negative.

    Examples
    --------
    >>> weight = orthogonal((2, 3), gain=2.0, generator=torch.Generator().manual_seed(0))
    >>> torch.allclose(weight @ weight.T, torch.tensor([[4., 0.], [0., 4.]]), atol=1e-6)
    True
    """
    _fans(shape)
    require_number("gain", gain)
    weight = _empty(shape, generator, dtype, device)
    out = shape[0]
    rest = weight.numel() // out
    normal = weight.new_empty(out, rest).normal_(generator=generator)
    tall = normal if out >= rest else normal.mT
    Q, R = torch.linalg.qr(tall.to(torch.promote_types(tall.dtype, torch.float32)))
    Q = Q * R.diagonal().sign()  # else the directions wouldn't be drawn uniformly
    weight.view(out, rest).copy_(gain * (Q if out >= rest else Q.mT))
    return weight


@torch.no_grad()
def lsuv(
    model: nn.Module,
    inputs: Tensor,
    *,
    tolerance: float = 0.1,
    steps: int = 10,
    generator: torch.Generator | None = None,
) -> dict[str, float]:
    r"""Layer-sequential unit variance: scale each layer by what it does to real inputs.

    .. math::

        W_l \leftarrow \frac{W_l}{\sqrt{\operatorname{Var} B_l}} \qquad l = 1, 2, \dots, L, \qquad
        \text{until } \lvert \operatorname{Var} B_l - 1 \rvert < \tau

    :math:`B_l` is the output of layer l on the inputs: its variance is over examples, channels and
    places together. The layers are the linear and convolutional ones, in the order in which the
    model runs them. They start orthogonal, with biases 0, and are changed in place. The model runs
    in eval mode; a layer that it uses several times is judged by the first.

    Taught in :ref:`parameter-initialisation` (section 3.2.1).
    Source: :cite:t:`mishkin2016all`, algorithm 1.

    Parameters
    ----------
    model
        Any module; its linear and convolutional layers lose their weights.
    inputs
        What it maps, ``(n, ...)``: a batch of real examples.
    tolerance
        :math:`\tau`.
    steps
        How often a layer is scaled at most.
    generator
        Draws the orthogonal weights; by default torch's own.

    Returns
    -------
    dict of str to float
        By the layer's name, in their order, the factor on its orthogonal weight.

    Raises
    ------
    TypeError
        The inputs aren't floating point.
    ValueError
        The inputs are empty or contain NaN, a number is out of range, the model runs no such layer,
        or the output of one is constant or infinite.

    Warns
    -----
    UserWarning
        A layer doesn't reach the tolerance.

    Examples
    --------
    >>> model = nn.Sequential(nn.Linear(1, 1), nn.Linear(1, 1))
    >>> lsuv(model, torch.tensor([[-4.], [4.]]))  # standard deviation 4
    {'0': 0.25, '1': 1.0}
    """
    require_float(inputs=inputs)
    require_number("tolerance", tolerance)
    require_number("steps", steps, least=1)
    layers = _layers_in_order(model, inputs)
    for layer in layers.values():
        weight = layer.weight
        device = place_of(generator, weight.device)
        drawn = orthogonal(weight.shape, generator=generator, dtype=weight.dtype, device=device)
        weight.copy_(drawn)
        if layer.bias is not None:
            layer.bias.zero_()
    scales = dict.fromkeys(layers, 1.0)
    for name, layer in layers.items():
        for step in range(steps + 1):
            variance = float(first_outputs(model, inputs, {name: layer})[name].var(correction=0))
            if abs(variance - 1) < tolerance:
                break
            if not 0 < variance < math.inf:
                raise ValueError(
                    f"the output of layer {name!r} has the variance {variance:g} and can't be "
                    "scaled to 1; look for dead units before it and for constant inputs"
                )
            if step == steps:
                warnings.warn(
                    f"after {steps} steps the output of layer {name!r} has the variance "
                    f"{variance:g}, not 1; allow more steps",
                    UserWarning,
                    stacklevel=3,
                )
            else:
                layer.weight /= math.sqrt(variance)
                scales[name] /= math.sqrt(variance)
    return scales


@torch.no_grad()
def copy_matching(
    source_state: Mapping[str, Tensor],
    model: nn.Module,
    *,
    rename: Callable[[str], str] | None = None,
) -> Matching:
    r"""Copy into a model what matches by name and shape, and report what doesn't.

    .. math::

        \theta_k \leftarrow \theta^s_k \qquad \text{for all names } k \text{ in both with }
        \operatorname{shape} \theta_k = \operatorname{shape} \theta^s_k

    Buffers are copied as parameters are, so that batch norm keeps its statistics. Nothing is copied
    if anything is wrong.

    Taught in :ref:`parameter-initialisation` (section 3.2.1).
    Source: :cite:t:`yosinski2014how`, section 2.

    Parameters
    ----------
    source_state
        Tensors by name, as ``state_dict()`` gives them.
    model
        Is changed in place, and keeps its dtype and device.
    rename
        Maps a name of the source to the model's, such as
        ``lambda name: name.removeprefix("module.")``.

    Returns
    -------
    Matching
        The names copied, missing, of another shape, and unexpected.

    Raises
    ------
    TypeError
        The source isn't a mapping from names to tensors.
    ValueError
        Nothing matches, two names become one, or a tensor to be copied contains NaN.

    Examples
    --------
    >>> model = nn.Sequential(nn.Linear(2, 2), nn.Linear(2, 3))
    >>> source = {"0.weight": torch.ones(2, 2), "1.weight": torch.ones(5, 2)}
    >>> copy_matching(source, model)._asdict()  # doctest: +NORMALIZE_WHITESPACE
    {'copied': ['0.weight'], 'missing': ['0.bias', '1.bias'],
     'other_shape': {'1.weight': ((5, 2), (3, 2))}, 'unexpected': []}
    """
    source = _renamed(source_state, rename)
    own = model.state_dict()
    shapes = {
        name: (shape(source[name]), shape(tensor)) for name, tensor in own.items() if name in source
    }
    copied = [name for name, (theirs, ours) in shapes.items() if theirs == ours]
    if not copied:
        first = next(iter(source), "")
        raise ValueError(
            f"none of the source's {len(source)} names matches the model's in name and shape, "
            f"such as {first!r}{hint(first, own)}; give rename a function from the "
            "source's names to the model's"
        )
    for name in copied:
        if source[name].isnan().any():
            raise ValueError(f"{name!r} contains NaN; take another state of the source")
    for name in copied:
        own[name].copy_(source[name])
    return Matching(
        copied,
        [name for name in own if name not in source],
        {name: pair for name, pair in shapes.items() if pair[0] != pair[1]},
        [name for name in source if name not in own],
    )


def _fans(shape: Sequence[int]) -> tuple[int, int]:
    """How many numbers enter an output, and how many outputs an input enters."""
    if not all(isinstance(size, int) for size in shape):
        raise TypeError(f"shape must hold whole numbers, got {tuple(shape)}")
    if len(shape) < 2:
        raise ValueError(
            f"shape must be (out, in) or (out, in, *kernel), got {tuple(shape)}; "
            "a bias is usually set to 0"
        )
    if min(shape) < 1:
        raise ValueError(f"all sizes must be at least 1, got {tuple(shape)}")
    out, into, *kernel = shape
    return into * math.prod(kernel), out * math.prod(kernel)


def _empty(
    shape: Sequence[int],
    generator: torch.Generator | None,
    dtype: torch.dtype | None,
    device: torch.device | str | None,
) -> Tensor:
    """Make a tensor to draw into."""
    if dtype is not None and not dtype.is_floating_point:
        raise TypeError(f"dtype must be floating point, got {dtype}")
    if device is None and generator is not None:
        device = place_of(generator)
    return torch.empty(tuple(shape), dtype=dtype, device=device)


def _layers_in_order(model: nn.Module, inputs: Tensor) -> dict[str, Any]:
    """Give the linear and convolutional layers that a model runs, in their order."""
    layers = weighted_layers(model)
    found = first_outputs(model, inputs, layers) if layers else {}
    if not found:
        raise ValueError("the model runs no linear or convolutional layer; there is nothing to set")
    return {name: layers[name] for name in found}


def _renamed(state: Mapping[str, Tensor], rename: Callable[[str], str] | None) -> dict[str, Tensor]:
    """Give the source by the model's names."""
    if not isinstance(state, Mapping):
        raise TypeError(
            f"source_state must map names to tensors, got {type(state).__name__}; "
            "use source.state_dict()"
        )
    require_tensor(**{f"source_state[{name!r}]": tensor for name, tensor in state.items()})
    if rename is None:
        return dict(state)
    renamed: dict[str, Tensor] = {}
    for name, tensor in state.items():
        if (new := rename(name)) in renamed:
            raise ValueError(f"rename turns two names into {new!r}, the second is {name!r}")
        renamed[new] = tensor
    return renamed
