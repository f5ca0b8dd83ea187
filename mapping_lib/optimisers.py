r"""Optimisers (section 4.2.3): one step as a pure function of parameters, gradients and state.

A step returns new parameters and the state that the next step takes; nothing is changed in place,
so a step can be differentiated, repeated or compared. Parameters are a tensor or a dictionary of
tensors. They follow the conventions of :mod:`torch.optim`.
"""

import math
from collections.abc import Callable
from typing import Any, NamedTuple, TypeAlias

import torch
from torch import Tensor

from mapping_lib._checks import (
    require_float,
    require_matrix,
    require_number,
    require_same_shape,
    seen,
    shape,
)

__all__ = [
    "AdamState",
    "Parameters",
    "Trajectory",
    "adam",
    "constant",
    "convergence_rate",
    "cosine",
    "descend",
    "exponential_decay",
    "gradient_descent",
    "momentum",
    "nesterov",
    "stability_limit",
]

Parameters: TypeAlias = Tensor | dict[str, Tensor]
"""A tensor, or a dictionary of tensors by name."""


class AdamState(NamedTuple):
    """What :func:`adam` remembers: how many steps were made, and two running means."""

    step: int
    mean: Parameters
    mean_square: Parameters


class Trajectory(NamedTuple):
    """The way of :func:`descend`: ``steps + 1`` points, stacked, and the loss at each of them."""

    parameters: Parameters
    losses: Tensor


def gradient_descent(
    parameters: Parameters, gradients: Parameters, state: None = None, *, rate: float
) -> tuple[Parameters, None]:
    r"""Step downhill.

    .. math:: \theta \leftarrow \theta - \eta \, g

    Taught in :ref:`gradient-descent` (section 4.2.3).
    Source: :cite:t:`bottou2018optimization`, section 4.

    Parameters
    ----------
    parameters
        The parameters :math:`\theta`, a tensor or a dictionary of tensors.
    gradients
        The gradients :math:`g`, of the same names and shapes.
    state
        None: this method remembers nothing.
    rate
        The learning rate :math:`\eta`, not negative.

    Returns
    -------
    tuple
        The new parameters and None.

    Raises
    ------
    TypeError
        Parameters and gradients aren't both tensors or both dictionaries of floating-point
        tensors, or the rate is no number.
    ValueError
        Names or shapes differ, a tensor is empty or contains NaN, or the rate is negative.

    Examples
    --------
    >>> gradient_descent(torch.tensor([5.]), torch.tensor([2.]), rate=0.5)
    (tensor([4.]), None)
    """
    require_number("rate", rate)
    _require_alike(parameters=parameters, gradients=gradients)
    return _each(lambda θ, g: θ - rate * g, parameters, gradients), None


def momentum(
    parameters: Parameters,
    gradients: Parameters,
    state: Parameters | None = None,
    *,
    rate: float,
    momentum: float = 0.9,
) -> tuple[Parameters, Parameters]:
    r"""Step with the velocity that earlier gradients have built up.

    .. math::

        v &\leftarrow \mu v + g \\
        \theta &\leftarrow \theta - \eta \, v

    Taught in :ref:`gradient-descent` (section 4.2.3).
    Source: :cite:t:`polyak1964methods`, in the form of :class:`torch.optim.SGD`.

    Parameters
    ----------
    parameters
        The parameters :math:`\theta`, a tensor or a dictionary of tensors.
    gradients
        The gradients :math:`g`, of the same names and shapes.
    state
        The velocity :math:`v` from the step before; None is zero.
    rate
        The learning rate :math:`\eta`, not negative.
    momentum
        The share :math:`\mu` of the velocity that stays, in [0, 1).

    Returns
    -------
    tuple
        The new parameters and the new velocity.

    Raises
    ------
    TypeError
        Parameters, gradients and state aren't all tensors or all dictionaries of floating-point
        tensors, or a hyper-parameter is no number.
    ValueError
        Names or shapes differ, a tensor is empty or contains NaN, or a hyper-parameter is out of
        range.

    Examples
    --------
    >>> θ, v = momentum(torch.tensor([5.]), torch.tensor([2.]), rate=1, momentum=0.5)
    >>> momentum(θ, torch.tensor([0.]), v, rate=1, momentum=0.5)
    (tensor([2.]), tensor([1.]))
    """
    require_number("rate", rate)
    require_number("momentum", momentum, below=1)
    v = _velocity(parameters, gradients, state)
    v = _each(lambda v, g: momentum * v + g, v, gradients)
    return _each(lambda θ, v: θ - rate * v, parameters, v), v


def nesterov(
    parameters: Parameters,
    gradients: Parameters,
    state: Parameters | None = None,
    *,
    rate: float,
    momentum: float = 0.9,
) -> tuple[Parameters, Parameters]:
    r"""Step with the velocity as it will be after this gradient.

    .. math::

        v &\leftarrow \mu v + g \\
        \theta &\leftarrow \theta - \eta \, (g + \mu v)

    Taught in :ref:`gradient-descent` (section 4.2.3).
    Source: :cite:t:`bottou2018optimization`, section 7.2, in the form of
    :class:`torch.optim.SGD` with ``nesterov=True``.

    Parameters
    ----------
    parameters
        The parameters :math:`\theta`, a tensor or a dictionary of tensors.
    gradients
        The gradients :math:`g`, of the same names and shapes.
    state
        The velocity :math:`v` from the step before; None is zero.
    rate
        The learning rate :math:`\eta`, not negative.
    momentum
        The share :math:`\mu` of the velocity that stays, in [0, 1).

    Returns
    -------
    tuple
        The new parameters and the new velocity.

    Raises
    ------
    TypeError
        Parameters, gradients and state aren't all tensors or all dictionaries of floating-point
        tensors, or a hyper-parameter is no number.
    ValueError
        Names or shapes differ, a tensor is empty or contains NaN, or a hyper-parameter is out of
        range.

    Examples
    --------
    >>> nesterov(torch.tensor([5.]), torch.tensor([2.]), rate=1, momentum=0.5)
    (tensor([2.]), tensor([2.]))
    """
    require_number("rate", rate)
    require_number("momentum", momentum, below=1)
    v = _velocity(parameters, gradients, state)
    v = _each(lambda v, g: momentum * v + g, v, gradients)
    return _each(lambda θ, g, v: θ - rate * (g + momentum * v), parameters, gradients, v), v


def adam(
    parameters: Parameters,
    gradients: Parameters,
    state: AdamState | None = None,
    *,
    rate: float,
    beta1: float = 0.9,
    beta2: float = 0.999,
    epsilon: float = 1e-8,
) -> tuple[Parameters, AdamState]:
    r"""Step by the running mean of the gradients, in units of their running root mean square.

    .. math::

        m &\leftarrow \beta_1 m + (1 - \beta_1) \, g \\
        v &\leftarrow \beta_2 v + (1 - \beta_2) \, g^2 \\
        \theta &\leftarrow \theta - \eta \,
            \frac{m / (1 - \beta_1^k)}{\sqrt{v / (1 - \beta_2^k)} + \epsilon}

    in step k = 1, 2, ...

    Taught in :ref:`gradient-descent` (section 4.2.3).
    Source: :cite:t:`kingma2015adam`, algorithm 1.

    Parameters
    ----------
    parameters
        The parameters :math:`\theta`, a tensor or a dictionary of tensors.
    gradients
        The gradients :math:`g`, of the same names and shapes.
    state
        The state from the step before; None before the first.
    rate
        The learning rate :math:`\eta`, not negative: about the size of a step in each coordinate.
    beta1, beta2
        The decay of the two running means, in [0, 1).
    epsilon
        What keeps the denominator from zero. It must not round to zero: in float16 take 1e-4.

    Returns
    -------
    tuple
        The new parameters and the new :class:`AdamState`.

    Raises
    ------
    TypeError
        Parameters, gradients and state aren't all tensors or all dictionaries of floating-point
        tensors, or a hyper-parameter is no number.
    ValueError
        Names or shapes differ, a tensor is empty or contains NaN, or a hyper-parameter is out of
        range.

    Examples
    --------
    >>> θ, state = adam(torch.tensor([5., 5.]), torch.tensor([100., -1.]), rate=1)
    >>> θ  # the first step is ±η, whatever the size of the gradient
    tensor([4., 6.])
    """
    require_number("rate", rate)
    require_number("beta1", beta1, below=1)
    require_number("beta2", beta2, below=1)
    require_number("epsilon", epsilon)
    k, m, v = _adam_state(parameters, gradients, state)
    k = k + 1
    m = _each(lambda m, g: beta1 * m + (1 - beta1) * g, m, gradients)
    v = _each(lambda v, g: beta2 * v + (1 - beta2) * g**2, v, gradients)

    def step(θ: Tensor, m: Tensor, v: Tensor) -> Tensor:
        m_hat = m / (1 - beta1**k)
        v_hat = v / (1 - beta2**k)
        return θ - rate * m_hat / (v_hat.sqrt() + epsilon)

    return _each(step, parameters, m, v), AdamState(k, m, v)


def constant(rate: float) -> Callable[[int], float]:
    r"""Keep the rate.

    .. math:: \eta_k = \eta

    Taught in :ref:`gradient-descent` (section 4.2.3).
    Source: :cite:t:`bottou2018optimization`, section 4.2.

    Parameters
    ----------
    rate
        The learning rate :math:`\eta`, not negative.

    Returns
    -------
    Callable
        The schedule: the step k = 0, 1, ... to the rate in it.

    Raises
    ------
    TypeError
        The rate is no number.
    ValueError
        The rate is negative.

    Examples
    --------
    >>> constant(0.1)(7)
    0.1
    """
    require_number("rate", rate)
    return lambda k: rate


def exponential_decay(rate: float, *, factor: float) -> Callable[[int], float]:
    r"""Multiply the rate by the same factor in every step.

    .. math:: \eta_k = \eta \, \gamma^k

    Taught in :ref:`gradient-descent` (section 4.2.3).
    Source: compare :cite:t:`li2020exponential`, who let the rate grow.

    Parameters
    ----------
    rate
        The first learning rate :math:`\eta`, not negative.
    factor
        The factor :math:`\gamma`, in [0, 1].

    Returns
    -------
    Callable
        The schedule: the step k = 0, 1, ... to the rate in it.

    Raises
    ------
    TypeError
        An argument is no number.
    ValueError
        The rate is negative, or the factor out of range.

    Examples
    --------
    >>> exponential_decay(8.0, factor=0.5)(3)
    1.0
    """
    require_number("rate", rate)
    require_number("factor", factor, most=1)
    return lambda k: rate * factor**k


def cosine(rate: float, *, steps: int, warmup: int = 0) -> Callable[[int], float]:
    r"""Raise the rate along a line, then lower it to zero along half a cosine.

    .. math::

        \eta_k = \begin{cases}
            \eta \, \frac{k + 1}{w + 1} & k < w \\
            \frac{\eta}{2} \bigl(1 + \cos \pi \frac{k - w}{T - w}\bigr) & w \le k \le T \\
            0 & k > T
        \end{cases}

    Taught in :ref:`gradient-descent` (section 4.2.3).
    Source: :cite:t:`loshchilov2017sgdr`, eq. 5; the warm-up from
    :cite:t:`goyal2017accurate`, section 2.2.

    Parameters
    ----------
    rate
        The largest learning rate :math:`\eta`, not negative; reached in step w.
    steps
        The number of steps T, above the warm-up.
    warmup
        The number of steps w with rising rate.

    Returns
    -------
    Callable
        The schedule: the step k = 0, 1, ... to the rate in it.

    Raises
    ------
    TypeError
        An argument is no number.
    ValueError
        The rate or the warm-up is negative, or the steps don't exceed the warm-up.

    Examples
    --------
    >>> schedule = cosine(1.0, steps=5, warmup=1)
    >>> [round(schedule(k), 2) for k in range(6)]
    [0.5, 1.0, 0.85, 0.5, 0.15, 0.0]
    """
    require_number("rate", rate)
    require_number("warmup", warmup)
    require_number("steps", steps, least=warmup + 1)

    def schedule(k: int) -> float:
        if k < warmup:
            return rate * (k + 1) / (warmup + 1)
        progress = min(1, (k - warmup) / (steps - warmup))
        return rate * (1 + math.cos(math.pi * progress)) / 2

    return schedule


def descend(
    loss: Callable[[Any], Tensor],
    start: Parameters,
    *,
    steps: int,
    rate: float | Callable[[int], float],
    method: Callable[..., tuple[Parameters, Any]] = gradient_descent,
    **settings: float,
) -> Trajectory:
    r"""Minimise a loss from a start and return the whole way.

    .. math:: \theta_{k+1} = \operatorname{method}(\theta_k, \nabla L(\theta_k); \eta_k)

    Taught in :ref:`gradient-descent` (section 4.2.3).
    Source: :cite:t:`bottou2018optimization`, section 4.

    Parameters
    ----------
    loss
        The loss :math:`L` as a function of the parameters, a scalar tensor.
    start
        The first parameters :math:`\theta_0`, a tensor or a dictionary of tensors.
    steps
        How many steps to make, at least 0.
    rate
        The learning rate, or a schedule: a function of the step k = 0, 1, ...
    method
        :func:`gradient_descent`, :func:`momentum`, :func:`nesterov`, :func:`adam` or a function
        of that form.
    settings
        Further keyword arguments of the method, such as ``momentum=0.5``.

    Returns
    -------
    Trajectory
        ``parameters`` ``(steps + 1, ...)``, for a dictionary one such stack a name; and ``losses``
        ``(steps + 1,)``. A loss that overflows is kept, and the way ends there: the point and its
        loss are repeated up to the last step.

    Raises
    ------
    TypeError
        A setting isn't one of the method's, or as the loss and the method say.
    ValueError
        The loss isn't a scalar, the number of steps is negative, or as the loss and the method say.

    Examples
    --------
    >>> parameters, losses = descend(lambda θ: θ**2 / 2, torch.tensor(8.), steps=3, rate=0.5)
    >>> parameters
    tensor([8., 4., 2., 1.])
    >>> losses
    tensor([32.0000,  8.0000,  2.0000,  0.5000])
    """
    require_number("steps", steps)
    _require_alike(start=start)
    schedule = rate if callable(rate) else constant(rate)
    loss = _scalar(loss)
    gradient_and_loss = torch.func.grad_and_value(loss)
    parameters, state = start, None
    points, losses = [], []
    for k in range(steps):
        gradients, value = gradient_and_loss(parameters)
        points.append(parameters)
        losses.append(value)
        if not seen(~value.isfinite()):
            parameters, state = method(parameters, gradients, state, rate=schedule(k), **settings)
    points.append(parameters)
    losses.append(loss(parameters))
    return Trajectory(_each(lambda *stack: torch.stack(stack), *points), torch.stack(losses))


def stability_limit(hessian: Tensor) -> Tensor:
    r"""Give the learning rate above which gradient descent on a quadratic diverges.

    .. math:: \frac{2}{\lambda_\text{max}(H)}

    Taught in :ref:`gradient-descent` (section 4.2.3).
    Source: :cite:t:`goh2017why`.

    Parameters
    ----------
    hessian
        The second derivatives :math:`H`, a symmetric matrix ``(d, d)`` with a largest eigenvalue
        that isn't negative. Along a negative eigenvalue, if there is one, gradient descent leaves
        at any rate.

    Returns
    -------
    Tensor
        A scalar, infinite where nothing curves.

    Raises
    ------
    TypeError
        The Hessian isn't a floating-point tensor.
    ValueError
        The Hessian isn't square or symmetric, is empty or contains NaN, or curves only downwards.

    Examples
    --------
    >>> stability_limit(torch.tensor([[4., 0.], [0., 1.]]))
    tensor(0.5000)
    """
    largest = _eigenvalues(hessian)[-1]
    if seen(largest < 0):
        raise ValueError(
            f"the largest eigenvalue of the Hessian is negative, {float(largest):g}: this point is "
            "near a maximum, where gradient descent diverges at any rate; check the loss's sign"
        )
    return 2 / largest


def convergence_rate(hessian: Tensor, *, rate: float) -> Tensor:
    r"""Give the factor by which a step of gradient descent shrinks the slowest error.

    .. math:: \max_i \, |1 - \eta \lambda_i(H)|

    On a quadratic the error after k steps is :math:`(I - \eta H)^k` times the first error.

    Taught in :ref:`gradient-descent` (section 4.2.3).
    Source: :cite:t:`goh2017why`.

    Parameters
    ----------
    hessian
        The second derivatives :math:`H`, a symmetric matrix ``(d, d)``.
    rate
        The learning rate :math:`\eta`, not negative.

    Returns
    -------
    Tensor
        A scalar: below 1 the error vanishes, above 1 it grows.

    Raises
    ------
    TypeError
        The Hessian isn't a floating-point tensor, or the rate is no number.
    ValueError
        The Hessian isn't square or symmetric, is empty or contains NaN, or the rate is negative.

    Examples
    --------
    >>> convergence_rate(torch.tensor([[4., 0.], [0., 1.]]), rate=0.25)
    tensor(0.7500)
    """
    require_number("rate", rate)
    return (1 - rate * _eigenvalues(hessian)).abs().max()


def _each(function: Callable[..., Tensor], *trees: Any) -> Parameters:
    """Apply a function to tensors, or to the tensors of each name."""
    if not isinstance(trees[0], dict):
        return function(*trees)
    return {name: function(*(tree[name] for tree in trees)) for name in trees[0]}


def _velocity(
    parameters: Parameters, gradients: Parameters, state: Parameters | None
) -> Parameters:
    """Check what a step is given; give the velocity, zero before the first step."""
    if state is None:
        _require_alike(parameters=parameters, gradients=gradients)
        return _each(torch.zeros_like, parameters)
    _require_alike(parameters=parameters, gradients=gradients, state=state)
    return state


def _adam_state(
    parameters: Parameters, gradients: Parameters, state: AdamState | None
) -> AdamState:
    """Check what a step is given; give the state, zero before the first step."""
    if state is None:
        zeros = _velocity(parameters, gradients, None)
        return AdamState(0, zeros, zeros)
    if not isinstance(state, AdamState):
        raise TypeError(
            f"state must be the AdamState of the step before, got {type(state).__name__}; "
            "pass None before the first step"
        )
    _require_alike(
        parameters=parameters, gradients=gradients, mean=state.mean, mean_square=state.mean_square
    )
    return state


def _eigenvalues(hessian: Tensor) -> Tensor:
    """Give the eigenvalues, smallest first; half precision is computed in single."""
    require_float(hessian=hessian)
    require_matrix(hessian=hessian)
    if hessian.shape[0] != hessian.shape[1]:
        raise ValueError(f"hessian must be square, got shape {shape(hessian)}")
    at_least_single = torch.promote_types(hessian.dtype, torch.float32)
    H = hessian.to(at_least_single)
    tolerance = 100 * torch.finfo(hessian.dtype).eps * H.abs().max()
    if seen(((H - H.mT).abs() > tolerance).any()):
        raise ValueError("hessian must be symmetric; use (hessian + hessian.mT) / 2")
    values: Tensor = torch.linalg.eigvalsh(H)
    return values.to(hessian.dtype)


def _scalar(loss: Callable[[Any], Tensor]) -> Callable[[Any], Tensor]:
    """Require a loss to return a scalar."""

    def checked(parameters: Parameters) -> Tensor:
        value = loss(parameters)
        if not isinstance(value, Tensor) or value.ndim != 0:
            found = f"shape {shape(value)}" if isinstance(value, Tensor) else type(value).__name__
            raise ValueError(f"loss must return a scalar tensor, got {found}; use .mean()")
        return value

    return checked


def _require_alike(**trees: Parameters) -> None:
    """Require all tensors, or all dictionaries with the same names, of the same shapes."""
    tensors = {argument: tree for argument, tree in trees.items() if not isinstance(tree, dict)}
    dicts = {argument: tree for argument, tree in trees.items() if isinstance(tree, dict)}
    if tensors and dicts:
        found = ", ".join(f"{argument} {type(tree).__name__}" for argument, tree in trees.items())
        raise TypeError(f"give only tensors or only dictionaries of tensors, got {found}")
    names = sorted(next(iter(dicts.values()), {}))
    for argument, tree in dicts.items():
        if not tree:
            raise ValueError(f"{argument} is empty; give at least one tensor")
        if sorted(tree) != names:
            raise ValueError(f"{argument} must have the names {names}, got {sorted(tree)}")
    groups = [
        {f"{argument}[{name!r}]": dicts[argument][name] for argument in dicts} for name in names
    ]
    for group in groups or [tensors]:
        require_float(**group)
        require_same_shape(**group)
