r"""Structures of networks (section 2.1): what a layer knows of its input before it has learned.

A convolution is a linear map whose matrix repeats one small kernel; a recurrent network applies one
step again and again. Rows are examples, as everywhere: ``x`` is ``(..., d)``, a state ``(..., h)``.
Weights are stored as PyTorch stores them.
"""

from collections.abc import Callable, Sequence

import torch
from torch import Tensor

from mapping_lib._checks import require_float, require_matrix, require_number, seen, shape

__all__ = [
    "convolution_matrix",
    "equivariance_error",
    "gru_step",
    "lstm_step",
    "recurrent_step",
    "state_jacobians",
]


def convolution_matrix(
    kernel: Tensor,
    *,
    size: Sequence[int],
    stride: int = 1,
    padding: int = 0,
    circular: bool = False,
) -> Tensor:
    r"""Write a convolution as the matrix that it multiplies a flattened image with.

    .. math::

        A_{(o, i, j),\, (c, u, v)} = \sum_{a, b} K_{ocab}\,
        [\, u = s i + a - p \,]\, [\, v = s j + b - p \,]

    A bracket is 1 where its equation holds and 0 elsewhere; with circular padding the equations are
    modulo the image's height and width. As everywhere in deep learning, the kernel isn't flipped.

    Taught in :ref:`convolutional-networks` (section 2.1.2).
    Source: :cite:t:`dumoulin2016guide`, section 4.1.

    Parameters
    ----------
    kernel
        Weights :math:`K`, ``(c_out, c_in, k_h, k_w)``.
    size
        Height and width of the image.
    stride
        The step :math:`s` between two places of the kernel.
    padding
        How many rows and columns :math:`p` are added at each side.
    circular
        Whether they are those of the opposite side; zeros by default.

    Returns
    -------
    Tensor
        The matrix :math:`A`, ``(c_out * h_out * w_out, c_in * height * width)``.

    Raises
    ------
    TypeError
        The kernel isn't a floating-point tensor, or a size isn't a number.
    ValueError
        The kernel hasn't four axes or fits nowhere, it is empty or contains NaN, or a size isn't
        whole or is out of range.

    Examples
    --------
    >>> kernel = torch.tensor([1.0, 2.0]).view(1, 1, 1, 2)
    >>> convolution_matrix(kernel, size=(1, 3))
    tensor([[1., 2., 0.],
            [0., 1., 2.]])
    """
    require_float(kernel=kernel)
    if kernel.ndim != 4:
        raise ValueError(
            f"kernel must have the 4 axes (c_out, c_in, height, width), got {shape(kernel)}"
        )
    if len(size) != 2:
        raise ValueError(f"size must be height and width, got {tuple(size)}")
    for name, value, least in (
        ("height", size[0], 1),
        ("width", size[1], 1),
        ("stride", stride, 1),
        ("padding", padding, 0),
    ):
        require_number(name, value, least=least)
        if value != int(value):
            raise ValueError(f"{name} must be whole, got {value}")
    down, right = (
        _reads(n, window, stride, padding, circular).to(kernel)
        for n, window in zip(size, kernel.shape[2:], strict=True)
    )
    matrix = torch.einsum("ocab,iau,jbv->oijcuv", kernel, down, right)
    return matrix.flatten(3).flatten(0, 2)


def _reads(n: int, window: int, stride: int, padding: int, circular: bool) -> Tensor:
    """Tell whether place i of a window reads with its weight a the pixel u: ``(n_out, window, n)``.

    Pixels of a zero padding are read by none.
    """
    places = (n + 2 * padding - window) // stride + 1
    if places < 1:
        raise ValueError(
            f"the kernel is {window} long and the padded image {n + 2 * padding}: it fits nowhere; "
            "give it a larger padding"
        )
    read = stride * torch.arange(places)[:, None] + torch.arange(window) - padding
    if circular:
        read = read % n
    return read[..., None] == torch.arange(n)


def equivariance_error(
    function: Callable[[Tensor], Tensor],
    x: Tensor,
    *,
    before: Callable[[Tensor], Tensor],
    after: Callable[[Tensor], Tensor] | None = None,
) -> Tensor:
    r"""Measure how far a mapping is from commuting with a transformation.

    .. math:: \frac{\lVert f(T x) - T' f(x) \rVert}{\lVert f(x) \rVert}

    The norms are taken over all entries. 0 means that :math:`f` is equivariant for these inputs;
    with the identity for :math:`T'`, that it is invariant.

    Taught in :ref:`convolutional-networks` (section 2.1.2).
    Source: :cite:t:`cohen2016group`, section 2.

    Parameters
    ----------
    function
        The mapping :math:`f`.
    x
        Inputs, in whatever shape `function` takes.
    before
        The transformation :math:`T` of inputs.
    after
        The transformation :math:`T'` of outputs; by default the same.

    Returns
    -------
    Tensor
        A scalar of at least 0, without a unit.

    Raises
    ------
    TypeError
        Inputs or outputs aren't floating-point tensors.
    ValueError
        The outputs are zero everywhere, or those of both sides have different shapes; a tensor is
        empty or contains NaN.

    Examples
    --------
    >>> x = torch.tensor([3.0, 4.0])
    >>> equivariance_error(lambda x: 2 * x, x, before=lambda x: x.flip(0))
    tensor(0.)
    >>> equivariance_error(lambda x: x, x, before=lambda x: -x, after=lambda y: y)
    tensor(2.)
    """
    require_float(x=x)
    plain, moved_first = function(x), function(before(x))
    require_float(**{"f(x)": plain, "f(T x)": moved_first})
    moved_last = (before if after is None else after)(plain)
    if moved_first.shape != moved_last.shape:
        raise ValueError(
            f"f(T x) has the shape {shape(moved_first)} and T' f(x) {shape(moved_last)}: give "
            "`after` the transformation that fits the outputs"
        )
    size = plain.norm()
    if seen(size == 0):
        raise ValueError("f(x) is zero everywhere, so an error relative to it has no meaning")
    error: Tensor = (moved_first - moved_last).norm() / size
    return error


def recurrent_step(
    x: Tensor, state: Tensor, weight: Tensor, recurrent_weight: Tensor, bias: Tensor | None = None
) -> Tensor:
    r"""Take one step of a recurrent network: a new state from an input and the state before.

    .. math:: h_t = \tanh(W x_t + U h_{t-1} + b)

    Taught in :ref:`recurrent-networks` (section 2.1.3).
    Source: :cite:t:`pascanu2013difficulty`, section 1.

    Parameters
    ----------
    x
        The input :math:`x_t`, ``(..., d)``.
    state
        The state :math:`h_{t-1}`, ``(..., h)``.
    weight
        The matrix :math:`W`, ``(h, d)``.
    recurrent_weight
        The matrix :math:`U`, ``(h, h)``.
    bias
        The shift :math:`b`, ``(h,)``; none by default. PyTorch stores it as a sum of two.

    Returns
    -------
    Tensor
        The state :math:`h_t`, ``(..., h)``.

    Raises
    ------
    TypeError
        A tensor isn't floating point, or the dtypes differ.
    ValueError
        The widths don't fit, a tensor is empty or contains NaN.

    Examples
    --------
    >>> one = torch.ones(1, 1)
    >>> recurrent_step(torch.tensor([2.0]), torch.tensor([-2.0]), one, one)
    tensor([0.])
    """
    _require_step(x, state, weight, recurrent_weight, 1, bias=bias)
    return torch.tanh(_plus(x @ weight.mT, bias) + state @ recurrent_weight.mT)


def gru_step(
    x: Tensor,
    state: Tensor,
    weight: Tensor,
    recurrent_weight: Tensor,
    bias: Tensor | None = None,
    recurrent_bias: Tensor | None = None,
) -> Tensor:
    r"""Take one step of a gated recurrent unit.

    .. math::

        a &= W x_t + b, \qquad e = U h_{t-1} + b' \\
        r &= \sigma(a_r + e_r), \qquad z = \sigma(a_z + e_z) \\
        n &= \tanh(a_n + r \odot e_n) \\
        h_t &= z \odot h_{t-1} + (1 - z) \odot n

    The paper has :math:`U_n (r \odot h_{t-1})`; this is the form that PyTorch and cuDNN compute.

    Taught in :ref:`recurrent-networks` (section 2.1.3).
    Source: :cite:t:`cho2014learning`, section 2.3.

    Parameters
    ----------
    x
        The input :math:`x_t`, ``(..., d)``.
    state
        The state :math:`h_{t-1}`, ``(..., h)``.
    weight
        The blocks :math:`W_r, W_z, W_n`, one above the other, ``(3 h, d)``.
    recurrent_weight
        The matrices :math:`U_r, U_z, U_n`, ``(3 h, h)``.
    bias, recurrent_bias
        The shifts :math:`b` and :math:`b'`, ``(3 h,)`` each; none by default.

    Returns
    -------
    Tensor
        The state :math:`h_t`, ``(..., h)``.

    Raises
    ------
    TypeError
        A tensor isn't floating point, or the dtypes differ.
    ValueError
        The widths don't fit, a tensor is empty or contains NaN.

    Examples
    --------
    >>> nothing = torch.zeros(3, 1)
    >>> gru_step(torch.tensor([7.0]), torch.tensor([4.0]), nothing, nothing)  # z = 1/2, n = 0
    tensor([2.])
    """
    _require_step(x, state, weight, recurrent_weight, 3, bias=bias, recurrent_bias=recurrent_bias)
    x_r, x_z, x_n = _plus(x @ weight.mT, bias).chunk(3, -1)
    h_r, h_z, h_n = _plus(state @ recurrent_weight.mT, recurrent_bias).chunk(3, -1)
    r, z = torch.sigmoid(x_r + h_r), torch.sigmoid(x_z + h_z)
    n = torch.tanh(x_n + r * h_n)
    return z * state + (1 - z) * n


def lstm_step(
    x: Tensor,
    state: tuple[Tensor, Tensor],
    weight: Tensor,
    recurrent_weight: Tensor,
    bias: Tensor | None = None,
) -> tuple[Tensor, Tensor]:
    r"""Take one step of a long short-term memory.

    .. math::

        a &= W x_t + U h_{t-1} + b \\
        i &= \sigma(a_i), \quad f = \sigma(a_f), \quad o = \sigma(a_o), \quad g = \tanh(a_g) \\
        c_t &= f \odot c_{t-1} + i \odot g \\
        h_t &= o \odot \tanh(c_t)

    The forget gate :math:`f` came later: :cite:t:`gers2000learning`.

    Taught in :ref:`recurrent-networks` (section 2.1.3).
    Source: :cite:t:`hochreiter1997long`.

    Parameters
    ----------
    x
        The input :math:`x_t`, ``(..., d)``.
    state
        The pair of :math:`h_{t-1}` and the cell :math:`c_{t-1}`, ``(..., h)`` each.
    weight
        The blocks :math:`W_i, W_f, W_g, W_o`, one above the other, ``(4 h, d)``.
    recurrent_weight
        The matrices :math:`U_i, U_f, U_g, U_o`, ``(4 h, h)``.
    bias
        The shift :math:`b`, ``(4 h,)``; none by default. PyTorch stores it as a sum of two.

    Returns
    -------
    tuple of Tensor
        The pair of :math:`h_t` and :math:`c_t`, ``(..., h)`` each.

    Raises
    ------
    TypeError
        A tensor isn't floating point, or the dtypes differ.
    ValueError
        The widths don't fit, a tensor is empty or contains NaN.

    Examples
    --------
    >>> nothing = torch.zeros(4, 1)
    >>> zero, cell = torch.tensor([0.0]), torch.tensor([4.0])
    >>> lstm_step(zero, (zero, cell), nothing, nothing)[1]  # f = 1/2, g = 0
    tensor([2.])
    """
    h, cell = state
    _require_step(x, h, weight, recurrent_weight, 4, bias=bias)
    require_float(cell=cell, state=h)
    if cell.shape[-1:] != h.shape[-1:]:
        raise ValueError(
            f"cell {shape(cell)} and state {shape(h)} must have one width: they are a pair"
        )
    i, f, g, o = (_plus(x @ weight.mT, bias) + h @ recurrent_weight.mT).chunk(4, -1)
    cell = torch.sigmoid(f) * cell + torch.sigmoid(i) * torch.tanh(g)
    return torch.sigmoid(o) * torch.tanh(cell), cell


def state_jacobians(states: Tensor, recurrent_weight: Tensor) -> Tensor:
    r"""Differentiate the last state by each state before it: backpropagation through time.

    .. math::

        \frac{\partial h_T}{\partial h_t} = D_T U\, D_{T-1} U \cdots D_{t+1} U, \qquad
        D_k = \operatorname{diag}(1 - h_k^2)

    for the states of :func:`recurrent_step`.

    Taught in :ref:`recurrent-networks` (section 2.1.3).
    Source: :cite:t:`bengio1994learning`; :cite:t:`pascanu2013difficulty`, eq. 5.

    Parameters
    ----------
    states
        The states :math:`h_1, \dots, h_T` of one sequence, ``(T, h)``, between -1 and 1.
    recurrent_weight
        The matrix :math:`U`, ``(h, h)``.

    Returns
    -------
    Tensor
        One matrix a state, ``(T, h, h)``; the last one is the identity.

    Raises
    ------
    TypeError
        A tensor isn't floating point, or the dtypes differ.
    ValueError
        The widths don't fit, a tensor is no matrix, is empty or contains NaN, or a state is out of
        range.

    Examples
    --------
    >>> states = torch.tensor([[0.9], [0.0], [0.0]])
    >>> state_jacobians(states, torch.tensor([[2.0]])).flatten()  # 2², 2, 1
    tensor([4., 2., 1.])
    """
    require_float(states=states, recurrent_weight=recurrent_weight)
    require_matrix(states=states, recurrent_weight=recurrent_weight)
    h = states.shape[1]
    if recurrent_weight.shape != (h, h):
        raise ValueError(
            f"recurrent_weight {shape(recurrent_weight)} must be ({h}, {h}), as wide as the states"
        )
    if seen((states.abs() > 1).any()):
        raise ValueError("the states must lie between -1 and 1, as tanh leaves them")
    product = torch.eye(h, dtype=states.dtype, device=states.device)
    found = [product]
    for state in states[1:].flip(0):
        product = product @ ((1 - state**2).unsqueeze(1) * recurrent_weight)
        found.append(product)
    return torch.stack(found[::-1])


def _plus(product: Tensor, bias: Tensor | None) -> Tensor:
    return product if bias is None else product + bias


def _require_step(
    x: Tensor,
    state: Tensor,
    weight: Tensor,
    recurrent_weight: Tensor,
    blocks: int,
    **biases: Tensor | None,
) -> None:
    """Require an input, a state and weights of so many blocks that fit each other."""
    given = {name: bias for name, bias in biases.items() if bias is not None}
    require_float(x=x, state=state, weight=weight, recurrent_weight=recurrent_weight, **given)
    d, h = x.shape[-1:].numel(), state.shape[-1:].numel()
    rows = blocks * h
    expected = {"weight": (rows, d), "recurrent_weight": (rows, h)} | dict.fromkeys(given, (rows,))
    for name, tensor in {"weight": weight, "recurrent_weight": recurrent_weight, **given}.items():
        if tensor.shape != expected[name]:
            raise ValueError(
                f"{name} {shape(tensor)} must be {expected[name]} for inputs {d} and states {h} "
                "wide; swap axes with mT if it is stored the other way"
            )
