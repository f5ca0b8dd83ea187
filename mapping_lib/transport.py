r"""Distances by transport (sections 3.1.2 and 4.3.1): what it costs to move one set onto another.

All are squared: their unit is that of the features, squared, and they have a gradient where the
sets agree.
"""

import math
import warnings
from typing import Any, NamedTuple

import torch
from torch import Tensor

from mapping_lib._checks import (
    place_of,
    require_features,
    require_float,
    require_number,
    seen,
    shape,
)
from mapping_lib.kernels import _squared_distances

__all__ = ["bures_wasserstein", "sinkhorn_divergence", "sinkhorn_plan", "sliced_wasserstein"]


def sinkhorn_plan(
    cost: Tensor,
    *,
    regularisation: float,
    source_weights: Tensor | None = None,
    target_weights: Tensor | None = None,
    iterations: int = 2500,
    tolerance: float = 1e-9,
) -> Tensor:
    r"""Entropic optimal transport: the plan that moves the source onto the target.

    .. math::

        P = \operatorname*{arg\,min}_{P \ge 0,\; P \mathbf{1} = a,\; P^\top \mathbf{1} = b}
        \sum_{i,j} P_{ij} C_{ij} + \varepsilon \sum_{i,j} P_{ij} (\log P_{ij} - 1),
        \qquad P_{ij} = e^{(f_i + g_j - C_{ij}) / \varepsilon}

    The rows and the columns are scaled in turn until both sums are right. Scalings that grow large
    are moved into the potentials f and g, so a small :math:`\varepsilon` neither overflows nor
    divides by zero. Where the scaling is slow, Newton's method on the potentials finishes.

    Taught in :ref:`feature-alignment` (section 3.1.2).
    Source: :cite:t:`cuturi2013sinkhorn`; the potentials: :cite:t:`schmitzer2019stabilized`.

    Parameters
    ----------
    cost
        Costs :math:`C`, ``(n, m)``, of moving a unit from row i of the source to row j of the
        target. The plan carries no gradient: a loss :math:`\langle P, C \rangle` has its right
        gradient with the plan fixed.
    regularisation
        The weight :math:`\varepsilon` of the entropy, positive, in units of the cost.
    source_weights
        Masses :math:`a`, ``(n,)``, positive with sum 1; None is 1/n each.
    target_weights
        Masses :math:`b`, ``(m,)``, positive with sum 1; None is 1/m each.
    iterations
        How often rows and columns are scaled at most. Newton's method takes over after so many, or
        as soon as their pace shows that they won't do.
    tolerance
        Stops when the norm of the error of the sums is below.

    Returns
    -------
    Tensor
        The plan :math:`P`, ``(n, m)``, with sum 1.

    Raises
    ------
    TypeError
        A tensor isn't floating point, or the dtypes differ.
    ValueError
        The cost isn't a matrix or isn't finite, weights don't fit, aren't positive or don't sum to
        1, or a number is out of range.

    Warns
    -----
    UserWarning
        The tolerance wasn't reached.

    Examples
    --------
    >>> cost = torch.tensor([[0., 1.], [1., 0.]])
    >>> sinkhorn_plan(cost, regularisation=0.5)  # e^0 to e^-2
    tensor([[0.4404, 0.0596],
            [0.0596, 0.4404]])
    """
    require_features(cost=cost)
    a = _weights("source_weights", source_weights, len(cost), cost)
    b = _weights("target_weights", target_weights, cost.shape[1], cost)
    _require_positive(regularisation=regularisation, iterations=iterations, tolerance=tolerance)
    C = cost.detach().double()
    return _solve(C, a, b, regularisation, iterations, tolerance).plan.to(cost.dtype)


def sinkhorn_divergence(
    source: Tensor,
    target: Tensor,
    *,
    regularisation: float,
    iterations: int = 2500,
    tolerance: float = 1e-9,
) -> Tensor:
    r"""Entropic transport cost between two sets, less the mean of that within each.

    .. math::

        S_\varepsilon(s, t) = W_\varepsilon(s, t)
        - \tfrac{1}{2} W_\varepsilon(s, s) - \tfrac{1}{2} W_\varepsilon(t, t), \qquad
        W_\varepsilon(s, t) = \min_P \sum_{i,j} P_{ij} \lVert x^s_i - x^t_j \rVert^2
        + \varepsilon \operatorname{KL}(P \,\|\, a b^\top)

    with equal weights. It is 0 for equal sets, which :math:`W_\varepsilon` isn't; it goes from the
    squared Wasserstein distance, :math:`\varepsilon \to 0`, to the squared distance of the means,
    :math:`\varepsilon \to \infty`. Its gradient is that of the costs with the plans fixed, exact at
    the optimum; a second derivative raises an error.

    Taught in :ref:`domain-adaptation` (section 4.3.1).
    Source: :cite:t:`feydy2019interpolating`, eq. 3.

    Parameters
    ----------
    source
        Source features ``(n_s, d)``.
    target
        Target features ``(n_t, d)``.
    regularisation
        The weight :math:`\varepsilon`, positive, in units of the features, squared.
    iterations, tolerance
        As in :func:`sinkhorn_plan`.

    Returns
    -------
    Tensor
        A scalar in units of the features, squared, not negative.

    Raises
    ------
    TypeError
        A tensor isn't floating point, or the dtypes differ.
    ValueError
        The widths differ, a tensor is empty, NaN or infinite, or a number is out of range.

    Warns
    -----
    UserWarning
        The tolerance wasn't reached.

    Examples
    --------
    >>> source, target = torch.tensor([[0.], [1.]]), torch.tensor([[1.5], [2.5]])
    >>> sinkhorn_divergence(source, target, regularisation=0.1)  # a shift: 1.5²
    tensor(2.2500)
    """
    require_features(source=source, target=target)
    _require_positive(regularisation=regularisation, iterations=iterations, tolerance=tolerance)
    settings = (regularisation, iterations, tolerance)

    def cost(x: Tensor, y: Tensor) -> Tensor:
        W: Tensor = _EntropicCost.apply(_squared_distances(x, y), *settings)
        return W

    s, t = source.double(), target.double()
    return (cost(s, t) - cost(s, s) / 2 - cost(t, t) / 2).to(source.dtype)


def sliced_wasserstein(
    source: Tensor, target: Tensor, *, projections: int, generator: torch.Generator
) -> Tensor:
    r"""Mean squared Wasserstein distance of the sets as seen along random directions.

    .. math::

        \frac{1}{L} \sum_{l=1}^{L} \int_0^1
        \bigl( F^{-1}_{s, u_l}(q) - F^{-1}_{t, u_l}(q) \bigr)^2 \, dq

    where :math:`F_{s, u}` is the distribution function of the projections :math:`u^\top x^s_i` on a
    unit vector u. Along a line the best plan keeps the order, so sorting solves it.

    Taught in :ref:`feature-alignment` (section 3.1.2).
    Source: :cite:t:`bonneel2015sliced`.

    Parameters
    ----------
    source
        Source features ``(n_s, d)``.
    target
        Target features ``(n_t, d)``.
    projections
        The number L of directions, at least one.
    generator
        Draws the directions.

    Returns
    -------
    Tensor
        A scalar in units of the features, squared, not negative.

    Raises
    ------
    TypeError
        A tensor isn't floating point, or the dtypes differ.
    ValueError
        The widths differ, a tensor is empty, NaN or infinite, or there is no projection.

    Examples
    --------
    >>> source, target = torch.tensor([[0.], [4.]]), torch.tensor([[1.]])
    >>> generator = torch.Generator().manual_seed(0)
    >>> sliced_wasserstein(source, target, projections=5, generator=generator)  # (1² + 3²) / 2
    tensor(5.)
    """
    require_features(source=source, target=target)
    require_number("projections", projections, least=1)
    wide = torch.promote_types(source.dtype, torch.float32)
    d, n, m = source.shape[1], len(source), len(target)
    u = torch.randn(
        d, projections, generator=generator, device=place_of(generator), dtype=torch.float64
    )
    u = (u / u.norm(dim=0)).to(source.device, wide)
    s = (source.to(wide) @ u).sort(dim=0).values  # (n, L)
    t = (target.to(wide) @ u).sort(dim=0).values  # (m, L)
    # both quantile functions are constant between multiples of 1/n and 1/m: count in 1/(n m)
    of_s, of_t = (torch.arange(1, k + 1, device=source.device) for k in (n, m))
    ends = torch.cat([of_s * m, of_t * n]).sort().values
    widths = ends.diff(prepend=ends.new_zeros(1)).to(wide) / (n * m)
    gaps = s[(ends - 1) // m] - t[(ends - 1) // n]  # (pieces, L)
    squared: Tensor = (widths @ gaps**2).mean()
    return squared.to(source.dtype)


def bures_wasserstein(source: Tensor, target: Tensor) -> Tensor:
    r"""Squared Wasserstein distance between the normal distributions fitted to two sets.

    .. math::

        \lVert \mu_s - \mu_t \rVert^2 + \operatorname{tr} \left( C_s + C_t
        - 2 \bigl( C_s^{1/2} C_t C_s^{1/2} \bigr)^{1/2} \right)

    Unlike :func:`mapping_lib.distances.coral` it also sees the means, and it has the unit of the
    features, squared. A second derivative raises an error.

    Taught in :ref:`feature-alignment` (section 3.1.2).
    Source: :cite:t:`bhatia2019bures`.

    Parameters
    ----------
    source
        Source features ``(n_s, d)``, two rows at least.
    target
        Target features ``(n_t, d)``, two rows at least.

    Returns
    -------
    Tensor
        A scalar in units of the features, squared, not negative.

    Raises
    ------
    TypeError
        A tensor isn't floating point, or the dtypes differ.
    ValueError
        The widths differ, or a set has fewer than two rows, NaN or infinite values.

    Examples
    --------
    >>> source, target = torch.tensor([[0.], [2.]]), torch.tensor([[0.], [1.]])
    >>> bures_wasserstein(source, target)  # (1 - 1/2)² + (√2 - √1/2)²
    tensor(0.7500)
    """
    require_features(least=2, source=source, target=target)
    wide = torch.promote_types(source.dtype, torch.float32)
    s, t = source.to(wide), target.to(wide)
    shift = s.mean(0) - t.mean(0)
    A = (s - s.mean(0)) / math.sqrt(len(s) - 1)  # C_s = A.mT @ A
    B = (t - t.mean(0)) / math.sqrt(len(t) - 1)
    # tr (C_s^1/2 C_t C_s^1/2)^1/2 is the sum of the singular values of A Bᵀ
    fidelity: Tensor = _NuclearNorm.apply(A, B)
    squared = (shift**2).sum() + (A**2).sum() + (B**2).sum() - 2 * fidelity
    return squared.to(source.dtype)


class _NuclearNorm(torch.autograd.Function):
    """The sum of the singular values of A Bᵀ, by a product no larger than A and B are wide."""

    @staticmethod
    def forward(ctx: Any, A: Tensor, B: Tensor) -> Tensor:
        Q_A, R_A = torch.linalg.qr(A)
        Q_B, R_B = torch.linalg.qr(B)
        U, singular, V = torch.linalg.svd(R_A @ R_B.mT, full_matrices=False)
        tiny = singular <= singular[0] * len(singular) * torch.finfo(A.dtype).eps
        left, right = Q_A @ (U * ~tiny), Q_B @ V.mT
        ctx.save_for_backward(left @ (right.mT @ B), right @ (left.mT @ A), A, B)
        total: Tensor = singular.sum()
        return total

    @staticmethod
    def backward(ctx: Any, outer: Tensor) -> tuple[Tensor, Tensor]:
        by_A, by_B, A, B = ctx.saved_tensors
        return _first_only(outer * by_A, A, B), _first_only(outer * by_B, A, B)


class _EntropicCost(torch.autograd.Function):
    """The optimal entropic cost under equal weights; its derivative by the costs is the plan."""

    @staticmethod
    def forward(
        ctx: Any, cost: Tensor, regularisation: float, iterations: int, tolerance: float
    ) -> Tensor:
        n, m = cost.shape
        a, b = cost.new_full((n,), 1 / n), cost.new_full((m,), 1 / m)
        plan, f, g, _ = _solve(cost, a, b, regularisation, iterations, tolerance)
        ctx.save_for_backward(plan, cost)
        # f and g belong to P = e^(f + g - C)/ε; those of P = a b e^(f + g - C)/ε are the dual value
        return a @ (f - regularisation * a.log()) + b @ (g - regularisation * b.log())

    @staticmethod
    def backward(ctx: Any, outer: Tensor) -> tuple[Tensor, None, None, None]:
        plan, cost = ctx.saved_tensors
        return _first_only(outer * plan, cost), None, None, None


def _first_only(gradient: Tensor, *inputs: Tensor) -> Tensor:
    """Let a gradient that depends on the inputs raise an error when it is differentiated."""
    guarded: Tensor = _FirstOnly.apply(gradient, *inputs) if torch.is_grad_enabled() else gradient
    return guarded


class _FirstOnly(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, gradient: Tensor, *_: Tensor) -> Tensor:
        return gradient.clone()

    @staticmethod
    def backward(ctx: Any, *_: Tensor) -> None:
        raise RuntimeError(
            "sinkhorn_divergence and bures_wasserstein have a first derivative only; take mmd, "
            "coral or sliced_wasserstein where a second one is needed"
        )


class _Solution(NamedTuple):
    """The plan P = e^(f + g - C)/ε, its potentials, and the norm of the error of its sums."""

    plan: Tensor
    f: Tensor
    g: Tensor
    error: float


def _solve(
    C: Tensor, a: Tensor, b: Tensor, ε: float, iterations: int, tolerance: float
) -> _Solution:
    """Find the plan with row sums a and column sums b: by scaling, then by Newton's method."""
    least, most = (float(value) for value in C.aminmax())
    if (most - least) / ε > 1e9:
        raise ValueError(
            f"regularisation {ε:g} is lost beside costs from {least:g} to {most:g}; take a larger "
            "one, or solve without entropy by scipy.optimize.linear_sum_assignment"
        )
    f, g = torch.full_like(a, least), torch.zeros_like(b)
    if (most - least) / ε > 500:  # no row and no column of e^(f + g - C)/ε may vanish
        f = C.min(1).values
        g = (C - f[:, None]).min(0).values
    found = _scale(C, a, b, ε, f, g, iterations, tolerance)
    if found.error < tolerance:
        return found
    if len(a) < len(b):  # the system to solve is of the smaller side
        plan, g, f, error = _descend(C.mT, b, a, ε, most - least, tolerance)
        found = _Solution(plan.mT, f, g, error)
    else:
        found = _descend(C, a, b, ε, most - least, tolerance)
    if not found.error < tolerance:
        _warn_unsettled(found.error, tolerance)
    return found


def _scale(
    C: Tensor, a: Tensor, b: Tensor, ε: float, f: Tensor, g: Tensor, times: int, tolerance: float
) -> _Solution:
    """Sinkhorn's iteration: scale rows and columns in turn."""
    K = _exponential(C, ε, f, g)
    v = torch.ones_like(b)
    u = a / (K @ v)
    earlier = 1.0
    for time in range(times + 1):
        columns = K.mT @ u
        if time % 10 == 0 or time == times:
            error = (v * columns - b).norm().item()
            if error < tolerance or time == times:
                break
            if time % 100 == 0:  # is this pace enough?
                pace = math.log(error / earlier) if time else -math.inf  # of 100 steps
                if math.log(error) + pace * (times - time) / 100 > math.log(tolerance):
                    break
                earlier = error
            if torch.cat([u, v]).log().abs().max() > 115:  # e^115 = 1e50
                f, g = f + ε * u.log(), g + ε * v.log()
                K = _exponential(C, ε, f, g)
                u, v, columns = torch.ones_like(u), torch.ones_like(v), K.sum(0)
        v = b / columns
        u = a / (K @ v)
    return _Solution(K.mul_(u[:, None]).mul_(v), f + ε * u.log(), g + ε * v.log(), error)


def _exponential(C: Tensor, ε: float, f: Tensor, g: Tensor) -> Tensor:
    """Give e^(f + g - C)/ε in one new matrix."""
    return torch.mul(C, -1 / ε).add_((f / ε)[:, None]).add_(g / ε).exp_()


def _descend(C: Tensor, a: Tensor, b: Tensor, ε: float, wide: float, tolerance: float) -> _Solution:
    """Newton's method from a wide entropy to the narrow one, so that each start is near its end."""
    g, most = torch.zeros_like(b), wide
    while wide > ε:
        g = _newton(C, a, b, wide, g, most, 10, tolerance=0.01 / math.sqrt(len(b))).g
        wide /= 4
    return _newton(C, a, b, ε, g, most, 100, tolerance)


def _newton(
    C: Tensor, a: Tensor, b: Tensor, ε: float, g: Tensor, most: float, times: int, tolerance: float
) -> _Solution:
    """Newton's method on the dual value a f(g) + b g, with f(g) the one that makes rows right."""
    f, P, value = _dual(C, a, b, ε, g)
    for time in range(times + 1):
        columns = P.sum(0)
        ascent = b - columns
        error = ascent.norm().item()
        if error < tolerance or time == times:
            break
        # a constant in g changes nothing: the square of the ones takes that direction out
        curvature = columns.diag() - P.mT @ (P / a[:, None]) + 1 / len(b) ** 2
        factor = _cholesky(curvature, (0.1 * error + 1e-14) * columns.max())
        step = ε * torch.cholesky_solve(ascent[:, None], factor)[:, 0]
        slope = float(ascent @ step)
        length = min(1.0, most / float(step.abs().max()))
        for _ in range(20):
            further = g + length * step
            f, P, higher = _dual(C, a, b, ε, further)
            if higher >= value + 1e-4 * length * slope - 1e-14 * abs(value):
                break
            length /= 2
        g, value = further, higher
    return _Solution(P, f, g, error)


def _cholesky(matrix: Tensor, ridge: Tensor) -> Tensor:
    """Factor a matrix plus a ridge, a larger one where rounding has made the matrix indefinite."""
    factor: Tensor
    failed = torch.ones((), device=matrix.device)
    while failed:
        factor, failed = torch.linalg.cholesky_ex(matrix + ridge.expand(len(matrix)).diag())
        ridge = 100 * ridge
    return factor


def _dual(C: Tensor, a: Tensor, b: Tensor, ε: float, g: Tensor) -> tuple[Tensor, Tensor, float]:
    """Give the potential f that makes the rows right, the plan, and the dual value."""
    scores = (g - C) / ε
    rows = torch.logsumexp(scores, dim=1)
    f = ε * (a.log() - rows)
    return f, a[:, None] * torch.exp(scores - rows[:, None]), float(a @ f + b @ g)


def _warn_unsettled(error: float, tolerance: float) -> None:
    warnings.warn(
        f"the sums of the plan are still off by {error:.1e}, more than {tolerance:.1e}; take a "
        "larger regularisation or a larger tolerance",
        UserWarning,
        stacklevel=4,
    )


def _weights(name: str, weights: Tensor | None, count: int, cost: Tensor) -> Tensor:
    if weights is None:
        return torch.full((count,), 1 / count, dtype=torch.float64, device=cost.device)
    require_float(cost=cost, **{name: weights})
    if weights.shape != (count,):
        raise ValueError(
            f"{name} {shape(weights)} doesn't fit cost {shape(cost)}: its shape must be ({count},)"
        )
    weights = weights.detach().double()
    off = (weights.sum() - 1).abs() > 1e-6
    if seen((weights <= 0).any() | off):
        raise ValueError(
            f"{name} must be positive with sum 1, got values from {float(weights.min()):g} and sum "
            f"{float(weights.sum()):g}; drop rows of weight 0 and divide by the sum"
        )
    return weights / weights.sum()


def _require_positive(**numbers: float) -> None:
    for name, number in numbers.items():
        require_number(name, number)
        if not number:
            raise ValueError(f"{name} must be positive, got 0")
