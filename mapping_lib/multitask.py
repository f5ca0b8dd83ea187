r"""Multi-task learning (section 4.3.2): one network, several losses.

The problem is :math:`\min_\theta \sum_t L_t(\theta_s, \theta_t)`: tasks that share the parameters
:math:`\theta_s` and keep :math:`\theta_t` to themselves. Here are that sum, what the tasks'
gradients say about each other, ways to weigh the losses or to combine the gradients, and what is
best when no task may lose: the Pareto front.

Losses are a tensor ``(T,)`` or a sequence of T scalars; gradients are a matrix ``(T, P)`` with one
task a row, as :func:`task_gradients` makes it.
"""

import math
from collections.abc import Iterable, Sequence
from typing import TypeAlias

import torch
from torch import Tensor
from torch.nn.functional import one_hot

from mapping_lib._checks import (
    place_of,
    require_features,
    require_finite,
    require_float,
    require_number,
    require_same_shape,
    require_scalar,
    require_tensor,
    seen,
    shape,
)

__all__ = [
    "chebyshev_loss",
    "gradient_cosine",
    "gradnorm_loss",
    "mgda_weights",
    "multitask_loss",
    "pareto_front",
    "pcgrad",
    "task_gradients",
    "uncertainty_loss",
]

Losses: TypeAlias = Tensor | Sequence[Tensor]
"""One loss a task: a tensor (T,), or a sequence of scalars."""


def multitask_loss(losses: Losses, *, weights: Tensor | Sequence[float] | None = None) -> Tensor:
    r"""The objective of multi-task learning: a weighted sum of the tasks' losses.

    .. math:: \sum_{t=1}^{T} w_t \, L_t(\theta_s, \theta_t)

    Taught in :ref:`multi-task-learning` (section 4.3.2).
    Source: :cite:t:`caruana1997multitask`; with weights :cite:t:`sener2018multi`, eq. 1.

    Parameters
    ----------
    losses
        :math:`L_t`, ``(T,)`` or T scalars.
    weights
        :math:`w_t`, ``(T,)``, not negative and not all 0; None: all 1.

    Returns
    -------
    Tensor
        A scalar.

    Raises
    ------
    TypeError
        A loss isn't a floating-point tensor, or the dtypes differ.
    ValueError
        A loss isn't a scalar or is NaN, there are no losses, or the weights don't fit, are
        negative, not finite or all 0.

    Examples
    --------
    >>> multitask_loss([torch.tensor(1.), torch.tensor(4.)], weights=[1, 0.5])
    tensor(3.)
    """
    stacked = _stacked(losses)
    return stacked.sum() if weights is None else (_weights(weights, stacked) * stacked).sum()


def task_gradients(
    losses: Losses, parameters: Iterable[Tensor], *, create_graph: bool = False
) -> Tensor:
    r"""The gradient of each task's loss in the shared parameters, one task a row.

    .. math:: g_t = \nabla_{\theta_s} L_t, \qquad t = 1, \dots, T

    The graph of the losses is kept, so that the tasks' own parameters can have their gradients
    from the same forward pass.

    Taught in :ref:`multi-task-learning` (section 4.3.2).
    Source: :cite:t:`sener2018multi`, section 3.1.

    Parameters
    ----------
    losses
        :math:`L_t`, ``(T,)`` or T scalars.
    parameters
        :math:`\theta_s`, tensors that require gradients, P numbers together.
    create_graph
        Whether the gradients can be differentiated in turn.

    Returns
    -------
    Tensor
        :math:`g`, ``(T, P)``: the parameters flattened, in their order. A parameter that a task
        doesn't use has the gradient 0 there.

    Raises
    ------
    TypeError
        A loss or a parameter isn't a floating-point tensor.
    ValueError
        A loss isn't a scalar or is NaN, there are no losses or no parameters, a parameter doesn't
        require gradients, or a loss doesn't depend on any of them.

    Examples
    --------
    >>> shared = torch.tensor([1., 2.], requires_grad=True)
    >>> task_gradients([3 * shared[0], (shared ** 2).sum()], [shared])
    tensor([[3., 0.],
            [2., 4.]])
    """
    stacked = _stacked(losses)
    parts = [parameters] if isinstance(parameters, Tensor) else list(parameters)
    if not parts:
        raise ValueError("there are no shared parameters; give at least one tensor")
    for n, part in enumerate(parts):
        require_tensor(**{f"parameters[{n}]": part})
        if not part.requires_grad:
            raise ValueError(
                f"parameters[{n}] {shape(part)} doesn't require gradients; "
                "unfreeze it with requires_grad_() before the forward pass, or leave it out"
            )
    pieces: list[Tensor] = []
    for t, loss in enumerate(losses):
        if not loss.requires_grad:
            raise ValueError(
                f"the loss of task {t} has no gradient; compute it from the parameters, "
                "not under torch.no_grad() and without detach() or item()"
            )
        found = torch.autograd.grad(
            loss, parts, retain_graph=True, create_graph=create_graph, allow_unused=True
        )
        if all(gradient is None for gradient in found):
            raise ValueError(
                f"the loss of task {t} doesn't depend on the shared parameters; "
                "give the parameters that it was computed from"
            )
        pieces += [
            torch.zeros_like(part).flatten() if gradient is None else gradient.flatten()
            for part, gradient in zip(parts, found, strict=True)
        ]
    return torch.cat(pieces).view(len(losses), -1).to(stacked.dtype)


def gradient_cosine(gradients: Tensor) -> Tensor:
    r"""Cosines between the gradients of the tasks: negative where two tasks conflict.

    .. math:: c_{tu} = \frac{g_t \cdot g_u}{\lVert g_t \rVert \, \lVert g_u \rVert}

    A small step against :math:`g_u` raises the loss of task t exactly if :math:`c_{tu} < 0`.

    Taught in :ref:`multi-task-learning` (section 4.3.2).
    Source: :cite:t:`yu2020gradient`, definition 1.

    Parameters
    ----------
    gradients
        :math:`g`, ``(T, P)``.

    Returns
    -------
    Tensor
        ``(T, T)``, symmetric, between -1 and 1; 0 beside a gradient that is 0.

    Raises
    ------
    TypeError
        The gradients aren't a floating-point tensor.
    ValueError
        The gradients aren't a matrix, or are empty, NaN or infinite.

    Examples
    --------
    >>> gradient_cosine(torch.tensor([[2., 0.], [-3., 4.]]))
    tensor([[ 1.0000, -0.6000],
            [-0.6000,  1.0000]])
    """
    require_features(gradients=gradients)
    norms = torch.linalg.vector_norm(gradients, dim=1, keepdim=True)
    units: Tensor = gradients / norms.clamp(min=torch.finfo(norms.dtype).tiny)
    return (units @ units.T).clamp(-1, 1)


def uncertainty_loss(
    losses: Losses, log_variances: Tensor, *, squared: Sequence[bool] | None = None
) -> Tensor:
    r"""The tasks' losses, each over a variance that is learned with the network.

    .. math::

        \sum_{t=1}^{T} \Bigl( c_t \, e^{-s_t} L_t + \frac{s_t}{2} \Bigr), \qquad
        c_t = \begin{cases} 1/2 & \text{squared error} \\ 1 & \text{cross-entropy} \end{cases}

    :math:`s_t = \log \sigma_t^2` is the logarithm of the noise of task t. The first term is what
    the negative log-likelihood of a Gaussian, or approximately of a softmax at the temperature
    :math:`\sigma_t^2`, makes of the loss; the second forbids infinite noise. At its best,
    :math:`e^{s_t} = 2 c_t L_t`, and what remains is :math:`\sum_t \frac{1}{2} \log L_t` and a
    constant: the units of a loss no longer matter.

    Taught in :ref:`multi-task-learning` (section 4.3.2).
    Source: :cite:t:`kendall2018multi`, eqs. 7 and 10.

    Parameters
    ----------
    losses
        :math:`L_t`, ``(T,)`` or T scalars.
    log_variances
        :math:`s`, ``(T,)``, learned; 0 to begin with.
    squared
        For each task whether its loss is a mean squared error; None: none is.

    Returns
    -------
    Tensor
        A scalar, which can be negative.

    Raises
    ------
    TypeError
        A loss or the log-variances aren't floating-point tensors, or the dtypes differ.
    ValueError
        A loss isn't a scalar or is NaN, there are no losses, or the log-variances or `squared`
        don't have one entry a task.

    Examples
    --------
    >>> losses, s = [torch.tensor(3.), torch.tensor(8.)], torch.tensor([0., 0.])
    >>> uncertainty_loss(losses, s, squared=[False, True])  # 3 + 8/2
    tensor(7.)
    """
    stacked = _stacked(losses)
    require_float(losses=stacked, log_variances=log_variances)
    require_finite(log_variances=log_variances)
    require_same_shape(losses=stacked, log_variances=log_variances)
    factors = torch.ones_like(stacked)
    if squared is not None:
        if len(squared) != len(stacked):
            raise ValueError(
                f"squared must have one entry for each of the {len(stacked)} tasks, "
                f"got {len(squared)}"
            )
        factors = stacked.new_tensor([0.5 if each else 1.0 for each in squared])
    return (factors * torch.exp(-log_variances) * stacked + log_variances / 2).sum()


def gradnorm_loss(
    weights: Tensor,
    gradients: Tensor,
    losses: Losses,
    first_losses: Losses,
    *,
    asymmetry: float = 1.5,
) -> Tensor:
    r"""How far the weighted gradients are from the lengths that GradNorm wants, to learn weights.

    .. math::

        \sum_{t=1}^{T} \bigl\lvert w_t \lVert g_t \rVert - \bar G \, r_t^{\alpha} \bigr\rvert,
        \qquad \bar G = \frac{1}{T} \sum_{u} w_u \lVert g_u \rVert, \qquad
        r_t = \frac{L_t / L_t^{(0)}}{\frac{1}{T} \sum_{u} L_u / L_u^{(0)}}

    All tasks get gradients of the mean length :math:`\bar G`, longer where a task lags behind. The
    wanted length :math:`\bar G r_t^{\alpha}` is a constant: the gradient flows to the weights by
    :math:`w_t \lVert g_t \rVert` alone. After each step on the weights divide them by their mean,
    so that their sum stays T.

    Taught in :ref:`multi-task-learning` (section 4.3.2).
    Source: :cite:t:`chen2018gradnorm`, eqs. 1 and 2.

    Parameters
    ----------
    weights
        :math:`w`, ``(T,)``, not negative.
    gradients
        :math:`g`, ``(T, P)``, of the losses without weights.
    losses, first_losses
        :math:`L_t` and what they were in the first step, :math:`L_t^{(0)}`: ``(T,)`` or T scalars.
    asymmetry
        :math:`\alpha`, how strongly a task that lags behind is helped; 0: equal lengths.

    Returns
    -------
    Tensor
        A scalar, with a gradient in the weights alone.

    Raises
    ------
    TypeError
        A tensor isn't floating point, or the dtypes differ.
    ValueError
        The numbers of tasks differ, weights or losses are negative, first losses aren't positive,
        or a tensor is empty, NaN or infinite.

    Examples
    --------
    >>> w, losses = torch.tensor([1., 1.]), torch.tensor([2., 2.])
    >>> gradnorm_loss(w, torch.tensor([[3., 4.], [0., 9.]]), losses, losses)  # |5 - 7| + |9 - 7|
    tensor(4.)
    """
    require_features(gradients=gradients)
    now, first = (
        _stacked(each, name) for each, name in ((losses, "losses"), (first_losses, "first_losses"))
    )
    require_float(weights=weights, gradients=gradients, losses=now, first_losses=first)
    require_same_shape(weights=weights, losses=now, first_losses=first)
    _require_tasks(len(now), gradients)
    for name, values in (("weights", weights), ("losses", now)):
        if seen((values < 0).any()):
            raise ValueError(f"{name} must not be negative, got {float(values.min()):g}")
    if seen((first <= 0).any()):
        raise ValueError(
            f"first_losses must be positive, got {float(first.min()):g}; "
            "take them from a step in which no task is solved"
        )
    require_number("asymmetry", asymmetry, below=math.inf)
    lengths = weights * gradients.detach().norm(dim=1)
    progress = now.detach() / first.detach()
    lag = progress / progress.mean()
    wanted = (lengths.mean() * lag**asymmetry).detach()
    distance: Tensor = (lengths - wanted).abs().sum()
    return distance


def pcgrad(gradients: Tensor, *, generator: torch.Generator | None = None) -> Tensor:
    r"""Gradients from which what conflicts with other tasks is projected away (PCGrad).

    .. math::

        g_t^{\text{PC}} \leftarrow g_t^{\text{PC}}
        - \min\Bigl( 0, \frac{g_t^{\text{PC}} \cdot g_u}{\lVert g_u \rVert^2} \Bigr) \, g_u
        \qquad \text{for } u \ne t \text{ in random order, beginning with } g_t

    The others' gradients :math:`g_u` are the original ones. The step is made along the sum,
    ``pcgrad(gradients).sum(0)``. With two tasks :math:`g_t^{\text{PC}}` is orthogonal to the other
    task's original gradient; with more, a later projection can bring back a conflict.

    Taught in :ref:`multi-task-learning` (section 4.3.2).
    Source: :cite:t:`yu2020gradient`, algorithm 1.

    Parameters
    ----------
    gradients
        :math:`g`, ``(T, P)``.
    generator
        Draws the orders; None takes the global one. With two tasks there is nothing to draw.

    Returns
    -------
    Tensor
        :math:`g^{\text{PC}}`, ``(T, P)``; gradients without conflict come back as they are.

    Raises
    ------
    TypeError
        The gradients aren't a floating-point tensor.
    ValueError
        The gradients aren't a matrix, or are empty, NaN or infinite.

    Examples
    --------
    >>> pcgrad(torch.tensor([[1., 0.], [-1., 1.]]))
    tensor([[0.5000, 0.5000],
            [0.0000, 1.0000]])
    """
    require_features(gradients=gradients)
    tasks = len(gradients)
    wide = gradients.to(torch.promote_types(gradients.dtype, torch.float32))  # as squares need
    products = wide @ wide.T
    squares = products.diagonal().clamp(min=torch.finfo(products.dtype).tiny)
    combination = torch.eye(tasks, dtype=products.dtype, device=products.device)  # of gradients
    for others in _orders(tasks, generator).to(gradients.device):
        along = (combination * products[others]).sum(dim=1) / squares[others]
        combination = combination - along.clamp(max=0).unsqueeze(1) * one_hot(others, tasks)
    return (combination @ wide).to(gradients.dtype)


def mgda_weights(gradients: Tensor) -> Tensor:
    r"""Weights of the shortest convex combination of the gradients (MGDA).

    .. math::

        \operatorname*{arg\,min}_{w} \, \Bigl\lVert \sum_{t=1}^{T} w_t g_t \Bigr\rVert^2
        \quad \text{subject to } w_t \ge 0, \; \sum_t w_t = 1

    A step against the combination :math:`d = \sum_t w_t g_t` lowers every loss, for
    :math:`g_t \cdot d \ge \lVert d \rVert^2`; if d is 0 no direction lowers all, and the point is
    Pareto stationary. The least is found exactly, not by a number of Frank-Wolfe steps: with
    non-negative x, minimise :math:`\lVert \sum_t x_t g_t \rVert^2 + (\sum_t x_t - 1)^2`, then
    divide x by its sum.

    Taught in :ref:`multi-task-learning` (section 4.3.2).
    Source: :cite:t:`desideri2012multiple`; in deep learning :cite:t:`sener2018multi`, eq. 3.

    Parameters
    ----------
    gradients
        :math:`g`, ``(T, P)``.

    Returns
    -------
    Tensor
        :math:`w`, ``(T,)``, without gradient.

    Raises
    ------
    TypeError
        The gradients aren't a floating-point tensor.
    ValueError
        The gradients aren't a matrix, or are empty, NaN or infinite.

    Examples
    --------
    >>> mgda_weights(torch.tensor([[1., 0.], [0., 2.]]))  # w = (4, 1)/5: the longer counts less
    tensor([0.8000, 0.2000])
    """
    require_features(gradients=gradients)
    from scipy.optimize import nnls

    rows = gradients.detach()
    low, high = rows.aminmax()
    rows = rows / torch.maximum(-low, high).clamp(min=torch.finfo(rows.dtype).tiny)
    rows = rows.to(torch.promote_types(rows.dtype, torch.float32))
    values, vectors = torch.linalg.eigh((rows @ rows.T).cpu().double())
    # A square root of the inner products has the same lengths: T numbers a task in place of P.
    root = values.clamp(min=0).sqrt().unsqueeze(1) * vectors.T
    ones = torch.ones_like(root[:1])
    system = torch.cat([root, ones]).numpy()
    x = torch.from_numpy(nnls(system, torch.eye(len(system), device="cpu")[-1].numpy())[0])
    return (x / x.sum()).to(gradients)


def chebyshev_loss(
    losses: Losses,
    *,
    weights: Tensor | Sequence[float],
    ideal: Tensor | Sequence[float] | None = None,
) -> Tensor:
    r"""The largest weighted loss, whose minima reach the whole Pareto front.

    .. math:: \max_t \, w_t \, (L_t - L_t^*)

    A weighted sum finds the points of the front that lie on its convex hull, whatever the weights;
    a front that bends inwards it skips. The largest term has no such blind spot.

    Taught in :ref:`multi-task-learning` (section 4.3.2).
    Source: :cite:t:`steuer1983interactive`.

    Parameters
    ----------
    losses
        :math:`L_t`, ``(T,)`` or T scalars.
    weights
        :math:`w_t`, ``(T,)``, not negative and not all 0.
    ideal
        :math:`L_t^*`, ``(T,)``: what each task alone could reach, or below; None: 0.

    Returns
    -------
    Tensor
        A scalar. Where several terms are largest, they share the gradient.

    Raises
    ------
    TypeError
        A loss isn't a floating-point tensor, or the dtypes differ.
    ValueError
        A loss isn't a scalar or is NaN, there are no losses, the weights don't fit, are negative,
        not finite or all 0, or the ideal doesn't fit.

    Examples
    --------
    >>> chebyshev_loss(torch.tensor([1., 4.]), weights=[3, 0.5])
    tensor(3.)
    """
    stacked = _stacked(losses)
    if ideal is None:
        ideal = torch.zeros_like(stacked)
    floor = torch.as_tensor(ideal, dtype=stacked.dtype, device=stacked.device)
    require_float(ideal=floor)
    require_same_shape(losses=stacked, ideal=floor)
    return (_weights(weights, stacked) * (stacked - floor)).amax()


def pareto_front(losses: Tensor) -> Tensor:
    r"""Which points no other point beats: none is as good in every task and better in one.

    .. math::

        \{\, i : \text{there is no } j \text{ with } L_{jt} \le L_{it} \text{ for all } t
        \text{ and } L_{jt} < L_{it} \text{ for some } t \,\}

    Taught in :ref:`multi-task-learning` (section 4.3.2).
    Source: :cite:t:`sener2018multi`, definition 1.

    Parameters
    ----------
    losses
        ``(n, T)``: a row for each point, that is for each network, and a column for each task;
        smaller is better.

    Returns
    -------
    Tensor
        Boolean ``(n,)``; equal points are both on the front or both off it.

    Raises
    ------
    TypeError
        The losses aren't a floating-point tensor.
    ValueError
        The losses aren't a matrix, or are empty, NaN or infinite.

    Examples
    --------
    >>> pareto_front(torch.tensor([[1., 5.], [2., 3.], [3., 3.]]))
    tensor([ True,  True, False])
    """
    require_features(losses=losses)
    no_worse = (losses.unsqueeze(1) <= losses).all(dim=2)  # j (rows) against i (columns)
    better = (losses.unsqueeze(1) < losses).any(dim=2)
    return ~(no_worse & better).any(dim=0)


def _stacked(losses: Losses, name: str = "losses") -> Tensor:
    """Give the losses as one tensor (T,)."""
    if isinstance(losses, Tensor):
        if losses.ndim != 1:
            raise ValueError(
                f"{name} must have one axis, a loss a task, got the shape {shape(losses)}; "
                "stack the tasks' scalar losses"
            )
        require_float(**{name: losses})
        return losses
    if not isinstance(losses, Sequence):
        raise TypeError(
            f"{name} must be a tensor (T,) or a sequence of scalar tensors, "
            f"got {type(losses).__name__}; for a dictionary take list(losses.values())"
        )
    if not losses:
        raise ValueError(f"{name} is empty; give the loss of at least one task")
    for t, loss in enumerate(losses):
        require_tensor(**{f"{name}[{t}]": loss})
        require_scalar(**{f"{name}[{t}]": loss})
    require_float(**{f"{name}[{t}]": loss for t, loss in enumerate(losses)})
    return torch.stack(list(losses))


def _weights(weights: Tensor | Sequence[float], losses: Tensor) -> Tensor:
    """Give the weights of the tasks in the dtype of the losses."""
    values = torch.as_tensor(weights, dtype=losses.dtype, device=losses.device)
    require_float(weights=values)
    require_finite(weights=values)
    if values.shape != losses.shape:
        raise ValueError(
            f"weights must have one entry for each of the {len(losses)} tasks, "
            f"got the shape {shape(values)}"
        )
    if seen((values < 0).any()):
        raise ValueError(f"weights must not be negative, got {float(values.min()):g}")
    if seen((values == 0).all()):
        raise ValueError("weights must not all be 0; give a task that counts a positive weight")
    return values


def _require_tasks(tasks: int, gradients: Tensor) -> None:
    if len(gradients) != tasks:
        raise ValueError(
            f"gradients {shape(gradients)} must have one row for each of the {tasks} tasks; "
            "make them with task_gradients"
        )


def _orders(tasks: int, generator: torch.Generator | None) -> Tensor:
    """Draw for each task (columns) an order of the others (rows, one a turn)."""
    device = place_of(generator, "cpu")
    chance = torch.rand(tasks, tasks, generator=generator, device=device)
    order = chance.fill_diagonal_(2).argsort(dim=1)  # each task itself comes last
    return order[:, :-1].T
