"""Solvers of two convex problems: the weights of kernel mean matching, the mixture of KLIEP.

The former is a quadratic program whose kernel matrix K is dense, positive semidefinite and, like
kappa, without negative entries.
"""

from collections.abc import Callable
from functools import partial

import torch
from torch import Tensor

SMALL = 500  # numbers up to which the interior point method comes first
EXACT = 1e-9  # of the objective, which the interior point method may miss; of many 100 times it
NEAR = 1e-6  # of the objective, which projected gradients may miss
PRODUCTS = 0.1  # with K for each number, after which projected gradients give up
NOTHING = 1e-10  # of K's mean square length, which a root of low rank may miss
LIKELY = 1e-8  # nats a row, which the mixture's likelihood may miss


def matching_weights(
    K: Tensor, kappa: Tensor, *, ridge: float, bound: float, least: float, most: float
) -> Tensor:
    """Minimise ½ xᵀ(K + ridge I)x - κᵀx over 0 ≤ x ≤ bound and least ≤ sum x ≤ most, in 64 bits.

    Few numbers, and a K of low rank, by interior points; others by projected gradients, and what
    these don't settle by interior points after all.
    """
    root = low_rank_root(K)
    K = K + ridge * torch.eye(len(K), dtype=K.dtype, device=K.device)
    if root is None and len(kappa) > SMALL:
        x = projected_gradient(K, kappa, bound, least, most)
        if x is not None:
            return x
    solve = partial(interior_point, K, kappa, bound, root=root, ridge=ridge)
    x = solve()
    total = float(x.sum())
    return x if least <= total <= most else solve(total=least if total < least else most)


def interior_point(
    K: Tensor,
    kappa: Tensor,
    bound: float,
    *,
    total: float | None = None,
    root: Tensor | None = None,
    ridge: float = 0.0,
) -> Tensor:
    """Minimise ½ xᵀKx - κᵀx over 0 ≤ x ≤ bound, and with the sum `total` if that is given.

    Predictor and corrector as of Mehrotra; y and z are the multipliers of the two bounds, nu that
    of the sum. With a root, K is taken for root rootᵀ + ridge I where equations are solved.
    """
    n, one = len(kappa), torch.ones_like(kappa)
    exact = EXACT if n <= SMALL else 100 * EXACT
    x = one if total is None else one * (total / n)
    y = 1e-4 * (K @ x + kappa).mean() * one  # small, as equal weights are no bad start
    z, nu = y / bound, torch.zeros_like(y[0])
    for _ in range(100):
        Kx, left = K @ x, bound - x
        residual = kappa - Kx + y - z + nu
        gap, objective = y @ x + z @ left, x @ Kx / 2 - kappa @ x
        size = torch.maximum(Kx, kappa).max()
        if gap <= exact * objective.abs() and residual.abs().max() <= exact * size:
            break
        solve = _factorised(K, y / x + z / left, root, ridge)
        if solve is None:  # as exact as these numbers can be
            break
        mu = low = high = torch.zeros_like(x)  # aim at xy = left z = 0, to first order
        for corrected in (False, True):
            right = residual + (mu - low) / x - y - (mu - high) / left + z
            S = solve(torch.stack([right, one], dim=1))
            dnu = 0 * nu if total is None else (total - x.sum() - S[:, 0].sum()) / S[:, 1].sum()
            dx = S[:, 0] + dnu * S[:, 1]
            dy, dz = (mu - low - y * dx) / x - y, (mu - high + z * dx) / left - z
            shrink = torch.cat([-dx / x, dx / left, -dy / y, -dz / z]).max()
            length = 1 / shrink.clamp(min=1)
            if not corrected:  # aim at what the step leaves of the gap, to second order
                after = (y + length * dy) @ (x + length * dx)
                after += (z + length * dz) @ (left - length * dx)
                mu, low, high = (after / gap) ** 3 * gap / (2 * n), dx * dy, -dx * dz
        length *= 0.99  # stay inside
        x, y, z, nu = x + length * dx, y + length * dy, z + length * dz, nu + length * dnu
    return x


def low_rank_root(K: Tensor) -> Tensor | None:
    """Give few columns whose products are K but for rounding; None if more than n / 5 are needed.

    Cholesky's factor with pivots: each column takes the row that the others say least of.
    """
    n = len(K)
    most = n // 5
    columns, left = K.new_zeros(most, n), K.diagonal().clone()
    for r in range(most):
        if left.sum() <= NOTHING * n:
            return columns[:r].mT.contiguous()
        if r == most // 2 and left.sum() > NOTHING**0.5 * n:  # not half of the digits yet
            return None
        i = int(left.argmax())
        columns[r] = (K[i] - columns[:r, i] @ columns[:r]) / left[i].sqrt()
        left = (left - columns[r].square()).clamp(min=0)
    return None


def _factorised(
    K: Tensor, diagonal: Tensor, root: Tensor | None, ridge: float
) -> Callable[[Tensor], Tensor] | None:
    """Give what solves (K + diagonal) V = R for V; None if rounding makes that impossible."""
    if root is None:
        H = K.clone()
        H.diagonal().add_(diagonal)
        factor, failed = torch.linalg.cholesky_ex(H)
        return None if failed else lambda R: torch.cholesky_solve(R, factor)
    diagonal = (diagonal + ridge)[:, None]
    scaled = root / diagonal  # Woodbury's formula: a small matrix in place of a large one
    small = root.mT @ scaled
    small.diagonal().add_(1)
    factor, failed = torch.linalg.cholesky_ex(small)
    if failed:
        return None
    return lambda R: R / diagonal - scaled @ torch.cholesky_solve(scaled.mT @ R, factor)


def projected_gradient(
    K: Tensor, kappa: Tensor, bound: float, least: float, most: float
) -> Tensor | None:
    """Minimise ½ xᵀKx - κᵀx over 0 ≤ x ≤ bound and least ≤ sum x ≤ most; None if it takes long.

    Projected gradient finds which x are at a bound, conjugate gradients move the others: Moré and
    Toraldo's method. It ends when no feasible point can be lower by more than a millionth.
    """
    feasible = partial(_project, bound=bound, least=least, most=most)
    x = feasible(torch.ones_like(kappa))
    slowest = rate = 1 / K.sum(1).max()  # at most the inverse of the largest eigenvalue
    products = 0
    while products < PRODUCTS * len(kappa):  # a few hundredths of the time of interior points
        gradient = K @ x - kappa
        for _ in range(4):
            d = feasible(x - rate * gradient) - x
            Kd = K @ d
            slope, curvature = gradient @ d, d @ Kd
            if slope >= 0 or curvature <= 0:
                break
            length = (-slope / curvature).clamp(max=1)
            x, gradient = x + length * d, gradient + length * Kd
            rate = (d @ d / curvature).clamp(min=slowest)  # Barzilai and Borwein's
            products += 1
        objective = x @ (gradient - kappa) / 2
        if _missing(x, gradient, bound, least, most) <= NEAR * objective.abs():
            return feasible(x)
        free = (x > 0) & (x < bound)
        at_sum = bool(_close(x.sum(), least) | _close(x.sum(), most))
        direction, used = _conjugate_direction(K, -gradient, free, at_sum)
        products += used + 2
        for halvings in range(20):
            d = feasible(x + direction / 2**halvings) - x
            if gradient @ d + d @ (K @ d) / 2 < 0:
                x = x + d
                break
            products += 1
    return None


def _conjugate_direction(
    K: Tensor, right: Tensor, free: Tensor, fixed_sum: bool
) -> tuple[Tensor, int]:
    """Solve K d = right among the free d, and with sum 0 if so wished, until progress stalls."""

    def allowed(v: Tensor) -> Tensor:
        v = v * free
        return v - free * (v.sum() / free.sum()) if fixed_sum else v

    residual = p = allowed(right)
    d, size, best, used = torch.zeros_like(right), residual @ residual, 0.0, 0
    while used < 60:
        used += 1
        Kp = K @ p
        curvature = p @ Kp
        if curvature <= 0:
            break
        length = size / curvature
        d, residual = d + length * p, residual - length * allowed(Kp)
        progress = float(length * size)
        best = max(best, progress)
        if progress <= 0.1 * best:
            break
        size, before = residual @ residual, size
        p = residual + size / before * p
    return d, used


def _project(x: Tensor, bound: float, least: float, most: float) -> Tensor:
    """Give the nearest point with entries in [0, bound] and a sum in [least, most]."""
    nearest = x.clamp(0, bound)
    if least <= float(nearest.sum()) <= most:
        return nearest
    total = least if float(nearest.sum()) < least else most
    low, high = float(x.min()) - bound, float(x.max())  # shifts that give the sums n bound and 0
    for _ in range(60):
        middle = (low + high) / 2
        if float((x - middle).clamp(0, bound).sum()) > total:
            low = middle
        else:
            high = middle
    return (x - high).clamp(0, bound)


def _missing(x: Tensor, gradient: Tensor, bound: float, least: float, most: float) -> Tensor:
    """Bound how far the objective is above its least: what a linear one could fall."""
    steepest = gradient.sort().values
    mass = min(max(bound * int((steepest < 0).sum()), least), most)  # where the gradient is least
    filled = (mass - bound * torch.arange(len(x), dtype=x.dtype, device=x.device)).clamp(0, bound)
    return gradient @ x - steepest @ filled


def _close(a: Tensor, b: float) -> Tensor:
    return (a - b).abs() <= 1e-9 * abs(b)


def mixture_shares(ratios: Tensor) -> Tensor:
    """Maximise the mean of log w, w = `ratios` γ, over γ ≥ 0 with sum 1, by interior points.

    As γ times a number adds its logarithm, the sum may be a penalty: minimise sum γ - mean log w.
    With g_b = mean(ratios_b / w), log max g bounds what is missing, by Jensen's inequality.
    """
    rows = ratios[ratios.amax(1) > 0]  # no shares give the others a density
    n, count = rows.shape
    gamma = torch.full_like(rows[0], 1 / count)
    z = torch.full_like(gamma, 0.5)  # multipliers of γ ≥ 0
    for _ in range(100):
        relative = rows / (rows @ gamma)[:, None]  # (n, B)
        g = relative.mean(0)
        if g.max() * gamma.sum() <= 1 + LIKELY:
            break
        mu = 0.1 * (gamma @ z) / count
        H = relative.mT @ relative / n
        H.diagonal().add_(z / gamma)
        right = g - 1 + mu / gamma
        d = torch.cholesky_solve(right[:, None], torch.linalg.cholesky(H))[:, 0]
        dz = (mu - z * d) / gamma - z
        length = 0.99 / torch.cat([-d / gamma, -dz / z]).max().clamp(min=0.99)
        gamma, z = gamma + length * d, z + length * dz
    return gamma / gamma.sum()
