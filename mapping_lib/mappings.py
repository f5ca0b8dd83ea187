r"""Mappings between spaces (section 4.1): linear, nonlinear and composed, and how they stretch.

Everything is a mapping: :math:`f : \mathbb{R}^{d_\text{in}} \to \mathbb{R}^{d_\text{out}}` takes
rows of features ``(n, d_in)`` to rows ``(n, d_out)``. A weight is stored as PyTorch stores it,
``(d_out, d_in)``.
"""

from collections.abc import Callable, Sequence
from functools import reduce
from itertools import pairwise
from typing import NamedTuple, TypeAlias

import torch
from torch import Tensor

from mapping_lib._checks import require_float, require_matrix, require_number, shape
from mapping_lib._names import suggest

__all__ = [
    "Layer",
    "activation",
    "activation_derivative",
    "compose",
    "condition_number",
    "jacobian",
    "linear",
    "lipschitz_bound",
    "multilayer",
    "multilayer_jacobian",
    "nonlinear",
    "numerical_rank",
]

Layer: TypeAlias = tuple[Tensor, Tensor | None]
"""The weight ``(d_out, d_in)`` of a layer and its bias ``(d_out,)`` or None."""


class _Activation(NamedTuple):
    function: Callable[[Tensor], Tensor]
    derivative: Callable[[Tensor], Tensor]
    steepest: float  # sup |σ'|


_ACTIVATIONS = {
    "sigmoid": _Activation(torch.sigmoid, lambda z: torch.sigmoid(z) * torch.sigmoid(-z), 1 / 4),
    "tanh": _Activation(torch.tanh, lambda z: 1 - torch.tanh(z) ** 2, 1.0),
    "relu": _Activation(torch.relu, lambda z: (z > 0).to(z.dtype), 1.0),
}


def linear(x: Tensor, weight: Tensor, bias: Tensor | None = None) -> Tensor:
    r"""Map features linearly and shift them.

    .. math:: f(x) = W x + b

    Taught in :ref:`linear-mappings` (section 4.1.1).
    Source: :cite:t:`trefethen1997numerical`, lecture 1.

    Parameters
    ----------
    x
        Features ``(..., d_in)``, one row an example.
    weight
        The matrix :math:`W`, ``(d_out, d_in)``.
    bias
        The shift :math:`b`, ``(d_out,)``; none by default.

    Returns
    -------
    Tensor
        Mapped features ``(..., d_out)``.

    Raises
    ------
    TypeError
        A tensor isn't floating point, or the dtypes differ.
    ValueError
        The widths don't fit, a tensor is empty or contains NaN.

    Examples
    --------
    >>> linear(torch.tensor([1., 2.]), torch.tensor([[3., 4.]]), torch.tensor([5.]))
    tensor([16.])
    """
    _require_layer(x, weight, bias)
    product = x @ weight.mT
    return product if bias is None else product + bias


def nonlinear(
    x: Tensor, weight: Tensor, bias: Tensor | None = None, *, activation: str = "relu"
) -> Tensor:
    r"""Map features linearly, then bend each coordinate.

    .. math:: f(x) = \sigma(W x + b)

    Taught in :ref:`nonlinear-mappings` (section 4.1.2).
    Source: :cite:t:`rumelhart1986learning`, eqs. 1 and 2.

    Parameters
    ----------
    x
        Features ``(..., d_in)``.
    weight
        The matrix :math:`W`, ``(d_out, d_in)``.
    bias
        The shift :math:`b`, ``(d_out,)``; none by default.
    activation
        The name of :math:`\sigma`: ``"sigmoid"``, ``"tanh"`` or ``"relu"``.

    Returns
    -------
    Tensor
        Mapped features ``(..., d_out)``.

    Raises
    ------
    TypeError
        A tensor isn't floating point, or the dtypes differ.
    ValueError
        The widths don't fit, a tensor is empty or contains NaN, or the activation is unknown.

    Examples
    --------
    >>> nonlinear(torch.tensor([1., 2.]), torch.tensor([[3., 4.], [-3., 0.]]))
    tensor([11.,  0.])
    """
    return _find(activation).function(linear(x, weight, bias))


def activation(name: str) -> Callable[[Tensor], Tensor]:
    r"""Find an activation by its name.

    .. math::

        \operatorname{sigmoid}(z) = \frac{1}{1 + e^{-z}}, \qquad
        \tanh(z) = \frac{e^z - e^{-z}}{e^z + e^{-z}}, \qquad
        \operatorname{relu}(z) = \max(0, z)

    Taught in :ref:`nonlinear-mappings` (section 4.1.2).
    Source: :cite:t:`lecun2015deep`, figure 1.

    Parameters
    ----------
    name
        ``"sigmoid"``, ``"tanh"`` or ``"relu"``.

    Returns
    -------
    Callable
        The function :math:`\sigma`, applied to each element of a tensor of any shape.

    Raises
    ------
    ValueError
        The name is unknown.

    Examples
    --------
    >>> activation("relu")(torch.tensor([-2., 3.]))
    tensor([0., 3.])
    """
    return _find(name).function


def activation_derivative(name: str) -> Callable[[Tensor], Tensor]:
    r"""Find the derivative of an activation by the activation's name.

    .. math::

        \operatorname{sigmoid}'(z) = \operatorname{sigmoid}(z) \, \operatorname{sigmoid}(-z), \qquad
        \tanh'(z) = 1 - \tanh^2(z), \qquad
        \operatorname{relu}'(z) = \begin{cases} 1 & z > 0 \\ 0 & z \le 0 \end{cases}

    At 0 ReLU has no derivative; 0 is taken there, as everywhere in PyTorch.

    Taught in :ref:`nonlinear-mappings` (section 4.1.2).
    Source: :cite:t:`lecun2015deep`, figure 1.

    Parameters
    ----------
    name
        ``"sigmoid"``, ``"tanh"`` or ``"relu"``.

    Returns
    -------
    Callable
        The function :math:`\sigma'`, applied to each element of a tensor of any shape.

    Raises
    ------
    ValueError
        The name is unknown.

    Examples
    --------
    >>> activation_derivative("sigmoid")(torch.tensor([0.]))
    tensor([0.2500])
    """
    return _find(name).derivative


def compose(*functions: Callable[[Tensor], Tensor]) -> Callable[[Tensor], Tensor]:
    r"""Chain functions, the first one applied first.

    .. math:: \operatorname{compose}(f_1, \dots, f_L)(x) = f_L(\cdots f_2(f_1(x)))

    Taught in :ref:`composed-mappings` (section 4.1.3).
    Source: :cite:t:`baydin2018automatic`, section 3.

    Parameters
    ----------
    functions
        Functions of one tensor. Without any, the composition is the identity.

    Returns
    -------
    Callable
        The composed function.

    Raises
    ------
    TypeError
        An argument isn't callable.

    Examples
    --------
    >>> compose(lambda x: x + 1, lambda x: 10 * x)(torch.tensor([2.]))
    tensor([30.])
    """
    for position, function in enumerate(functions, start=1):
        if not callable(function):
            raise TypeError(
                f"argument {position} of compose must be a function, got "
                f"{type(function).__name__}; give functions first, the tensor afterwards"
            )
    return lambda x: reduce(lambda value, function: function(value), functions, x)


def multilayer(x: Tensor, layers: Sequence[Layer], *, activation: str = "relu") -> Tensor:
    r"""Map features through several layers; the last one is linear.

    .. math:: f(x) = W_L \, \sigma(W_{L-1} \cdots \sigma(W_1 x + b_1) \cdots + b_{L-1}) + b_L

    Taught in :ref:`composed-mappings` (section 4.1.3).
    Source: :cite:t:`rumelhart1986learning`.

    Parameters
    ----------
    x
        Features ``(..., d_0)``.
    layers
        Pairs of a weight ``(d_l, d_{l-1})`` and a bias ``(d_l,)`` or None, at least one pair.
    activation
        The name of :math:`\sigma`: ``"sigmoid"``, ``"tanh"`` or ``"relu"``.

    Returns
    -------
    Tensor
        Mapped features ``(..., d_L)``.

    Raises
    ------
    TypeError
        A layer isn't a pair, a tensor isn't floating point, or the dtypes differ.
    ValueError
        There is no layer, the widths don't fit, a tensor is empty or contains NaN, or the
        activation is unknown.

    Examples
    --------
    >>> first = (torch.tensor([[1.], [-1.]]), None)
    >>> last = (torch.tensor([[1., 1.]]), torch.tensor([10.]))
    >>> multilayer(torch.tensor([[-3.], [2.]]), [first, last])  # |x| + 10
    tensor([[13.],
            [12.]])
    """
    *hidden, last = _require_layers(layers)
    for layer in hidden:
        x = nonlinear(x, *layer, activation=activation)
    return linear(x, *last)


def jacobian(function: Callable[[Tensor], Tensor], x: Tensor) -> Tensor:
    r"""Differentiate a mapping at each row of features, by automatic differentiation.

    .. math:: J_{ij}(x) = \frac{\partial f_i(x)}{\partial x_j}

    Taught in :ref:`nonlinear-mappings` (section 4.1.2).
    Source: :cite:t:`baydin2018automatic`, section 3.2.

    Parameters
    ----------
    function
        A mapping of rows ``(n, d_in)`` to rows ``(n, d_out)`` that treats each row by itself
        (batch normalisation in train mode doesn't).
    x
        Features ``(n, d_in)``.

    Returns
    -------
    Tensor
        One matrix a row, ``(n, d_out, d_in)``.

    Raises
    ------
    TypeError
        ``x`` isn't a floating-point tensor.
    ValueError
        ``x`` isn't a matrix, is empty or contains NaN, or the function doesn't return rows.

    Examples
    --------
    >>> jacobian(lambda x: x**2, torch.tensor([[1., 3.]]))
    tensor([[[2., 0.],
             [0., 6.]]])
    """
    require_float(x=x)
    require_matrix(x=x)

    def of_one_row(row: Tensor) -> Tensor:
        image = function(row.unsqueeze(0))
        if image.ndim != 2 or len(image) != 1:
            raise ValueError(
                f"the function must map rows (n, d_in) to rows (n, d_out), but it maps shape "
                f"{(1, *row.shape)} to {shape(image)}"
            )
        return image.squeeze(0)

    one_matrix_a_row: Tensor = torch.func.vmap(torch.func.jacrev(of_one_row))(x)
    return one_matrix_a_row


def multilayer_jacobian(x: Tensor, layers: Sequence[Layer], *, activation: str = "relu") -> Tensor:
    r"""Differentiate :func:`multilayer` at each row by the chain rule.

    .. math::

        J = W_L D_{L-1} W_{L-1} \cdots D_1 W_1, \qquad
        D_l = \operatorname{diag} \sigma'(W_l x_{l-1} + b_l)

    Taught in :ref:`composed-mappings` (section 4.1.3).
    Source: :cite:t:`rumelhart1986learning`, eqs. 4 to 7.

    Parameters
    ----------
    x
        Features ``(n, d_0)``.
    layers
        Pairs of a weight ``(d_l, d_{l-1})`` and a bias ``(d_l,)`` or None, at least one pair.
    activation
        The name of :math:`\sigma`: ``"sigmoid"``, ``"tanh"`` or ``"relu"``.

    Returns
    -------
    Tensor
        One matrix a row, ``(n, d_L, d_0)``.

    Raises
    ------
    TypeError
        A layer isn't a pair, a tensor isn't floating point, or the dtypes differ.
    ValueError
        There is no layer, ``x`` isn't a matrix, the widths don't fit, a tensor is empty or contains
        NaN, or the activation is unknown.

    Examples
    --------
    >>> layers = [(torch.tensor([[1.], [-1.]]), None), (torch.tensor([[1., 1.]]), None)]
    >>> multilayer_jacobian(torch.tensor([[-3.], [2.]]), layers).flatten()  # the slope of |x|
    tensor([-1.,  1.])
    """
    require_float(x=x)
    require_matrix(x=x)
    σ, derivative, _ = _find(activation)
    *hidden, last = _require_layers(layers)
    J = torch.eye(x.shape[1], dtype=x.dtype, device=x.device).expand(len(x), -1, -1)
    for weight, bias in hidden:
        z = linear(x, weight, bias)
        J = derivative(z).unsqueeze(-1) * (weight @ J)  # D W J: row i of W J times σ'(z_i)
        x = σ(z)
    _require_layer(x, *last)
    return last[0] @ J


def lipschitz_bound(layers: Sequence[Layer], *, activation: str = "relu") -> Tensor:
    r"""Bound how much :func:`multilayer` can stretch any distance.

    .. math::

        \lVert f(x) - f(y) \rVert_2 \le K \lVert x - y \rVert_2, \qquad
        K = \prod_{l=1}^{L} \lVert W_l \rVert_2 \cdot \Bigl(\sup_z |\sigma'(z)|\Bigr)^{L-1}

    The steepest slope is 1/4 for the sigmoid, 1 for tanh and ReLU.

    Taught in :ref:`composed-mappings` (section 4.1.3).
    Source: :cite:t:`szegedy2014intriguing`, section 4.3.

    Parameters
    ----------
    layers
        Pairs of a weight ``(d_l, d_{l-1})`` and a bias ``(d_l,)`` or None, at least one pair.
    activation
        The name of :math:`\sigma`: ``"sigmoid"``, ``"tanh"`` or ``"relu"``.

    Returns
    -------
    Tensor
        A scalar: output units per input unit.

    Raises
    ------
    TypeError
        A layer isn't a pair, a weight isn't floating point, or the dtypes differ.
    ValueError
        There is no layer, the widths don't fit, a weight is empty or contains NaN, or the
        activation is unknown.

    Examples
    --------
    >>> layers = [(torch.tensor([[3., 0.], [0., 2.]]), None), (torch.tensor([[0., 5.]]), None)]
    >>> lipschitz_bound(layers)
    tensor(15.)
    """
    steepest = _find(activation).steepest
    norms = [_singular_values(weight)[0] for weight, _ in _require_layers(layers)]
    return torch.stack(norms).prod() * steepest ** (len(norms) - 1)


def numerical_rank(matrix: Tensor, *, tolerance: float | None = None) -> Tensor:
    r"""Count the directions that a matrix doesn't flatten.

    .. math:: \#\{\, i : s_i > \tau \, s_\text{max} \,\}

    where :math:`s_i` are the singular values.

    Taught in :ref:`linear-mappings` (section 4.1.1).
    Source: :cite:t:`trefethen1997numerical`, lecture 5.

    Parameters
    ----------
    matrix
        A matrix ``(m, n)``.
    tolerance
        The relative tolerance :math:`\tau` in [0, 1); by default max(m, n) times the machine
        epsilon of the dtype.

    Returns
    -------
    Tensor
        An integer scalar between 0 and min(m, n).

    Raises
    ------
    TypeError
        The matrix isn't a floating-point tensor, or the tolerance is no number.
    ValueError
        The matrix hasn't two axes, is empty or contains NaN, or the tolerance is out of range.

    Examples
    --------
    >>> numerical_rank(torch.tensor([[1., 2.], [2., 4.]]))
    tensor(1)
    """
    s = _singular_values(matrix)
    if tolerance is None:
        tolerance = max(matrix.shape) * torch.finfo(matrix.dtype).eps
    else:
        require_number("tolerance", tolerance, below=1)
    return (s > tolerance * s[0]).sum()


def condition_number(matrix: Tensor) -> Tensor:
    r"""Compare the most stretched direction with the least stretched one.

    .. math:: \kappa = \frac{s_\text{max}}{s_\text{min}}

    where :math:`s` are the min(m, n) singular values; infinite for a singular matrix.

    Taught in :ref:`linear-mappings` (section 4.1.1).
    Source: :cite:t:`trefethen1997numerical`, lecture 12.

    Parameters
    ----------
    matrix
        A matrix ``(m, n)``.

    Returns
    -------
    Tensor
        A scalar between 1 and infinity.

    Raises
    ------
    TypeError
        The matrix isn't a floating-point tensor.
    ValueError
        The matrix hasn't two axes, is empty or contains NaN.

    Examples
    --------
    >>> condition_number(torch.tensor([[4., 0.], [0., -2.]]))
    tensor(2.)
    """
    s = _singular_values(matrix)
    return torch.where(s[-1] > 0, s[0] / s[-1], torch.inf)


def _singular_values(matrix: Tensor) -> Tensor:
    """Give the singular values, largest first; half precision is computed in single."""
    require_float(matrix=matrix)
    require_matrix(matrix=matrix)
    at_least_single = torch.promote_types(matrix.dtype, torch.float32)
    s: Tensor = torch.linalg.svdvals(matrix.to(at_least_single))
    return s.to(matrix.dtype)


def _find(name: str) -> _Activation:
    if name not in _ACTIVATIONS:
        raise ValueError(f"unknown activation {name!r}{suggest(name, _ACTIVATIONS)}")
    return _ACTIVATIONS[name]


def _require_layer(x: Tensor, weight: Tensor, bias: Tensor | None) -> None:
    given = {"x": x, "weight": weight} | ({} if bias is None else {"bias": bias})
    require_float(**given)
    require_matrix(weight=weight)
    d_out, d_in = weight.shape
    if x.ndim == 0 or x.shape[-1] != d_in:
        raise ValueError(
            f"x {shape(x)} doesn't fit weight {shape(weight)}: the last axis of x must be {d_in} "
            "wide; a weight is stored as (d_out, d_in), transpose it with weight.mT if need be"
        )
    if bias is not None and bias.shape != (d_out,):
        raise ValueError(
            f"bias {shape(bias)} doesn't fit weight {shape(weight)}: its shape must be ({d_out},)"
        )


def _require_layers(layers: Sequence[Layer]) -> Sequence[Layer]:
    if len(layers) == 0:
        raise ValueError("layers is empty; give at least one pair (weight, bias)")
    for position, layer in enumerate(layers, start=1):
        if not isinstance(layer, (tuple, list)) or len(layer) != 2:
            raise TypeError(
                f"layer {position} must be a pair (weight, bias), got {type(layer).__name__}; "
                "write (weight, None) for a layer without bias"
            )
        require_float(weight=layer[0])
        require_matrix(weight=layer[0])
    for position, ((first, _), (second, _)) in enumerate(pairwise(layers), start=1):
        if first.shape[0] != second.shape[1]:
            raise ValueError(
                f"layer {position} with weight {shape(first)} gives {first.shape[0]} features, but "
                f"layer {position + 1} with weight {shape(second)} takes {second.shape[1]}"
            )
    return layers
