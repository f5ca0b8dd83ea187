r"""Distances between sets of features (sections 3.1.2 and 4.3.1): how far apart two domains are.

Each takes rows of the source and rows of the target, as many as there are of each, and gives a
scalar that can be minimised: L_d in :math:`L_s + \lambda L_d`. Those between distributions of
matter moved from one to the other are in :mod:`mapping_lib.transport`.
"""

import math
import warnings
from collections.abc import Sequence
from itertools import pairwise
from typing import Any

import torch
from torch import Tensor

from mapping_lib._checks import (
    place_of,
    require_features,
    require_number,
    require_tensor,
    seen,
    shape,
)
from mapping_lib.kernels import _squared_distances, gaussian_kernel, median_heuristic

__all__ = [
    "coral",
    "jmmd",
    "kernel_cka",
    "linear_cka",
    "linear_time_mmd",
    "mmd",
    "proxy_a_distance",
]

BLOCK = 256  # rows: three buffers of 256 × 256 numbers stay in a core's cache


def mmd(
    source: Tensor,
    target: Tensor,
    *,
    bandwidth: float | Tensor | Sequence[float] | None = None,
    biased: bool = True,
) -> Tensor:
    r"""Squared maximum mean discrepancy: the distance between two mean embeddings.

    .. math::

        \operatorname{MMD}^2 =
        \frac{1}{n_s^2} \sum_{i,j} k(x^s_i, x^s_j) + \frac{1}{n_t^2} \sum_{i,j} k(x^t_i, x^t_j)
        - \frac{2}{n_s n_t} \sum_{i,j} k(x^s_i, x^t_j)

    with a Gaussian kernel k, or a sum of them. The unbiased form leaves out the terms
    :math:`i = j` of the first two sums and divides by :math:`n_s (n_s - 1)` and
    :math:`n_t (n_t - 1)`; it can be negative.

    Value and gradient are summed up over blocks of rows, so the memory they take grows as the
    features do, not with :math:`n^2`. A second derivative, and :func:`torch.func.grad`, need all
    pairs at once.

    Taught in :ref:`feature-alignment` (section 3.1.2).
    Source: :cite:t:`gretton2012kernel`, eqs. 3 and 5; several kernels:
    :cite:t:`long2015learning`.

    Parameters
    ----------
    source
        Source features ``(n_s, d)``.
    target
        Target features ``(n_t, d)``.
    bandwidth
        The bandwidth :math:`\sigma` of the kernel, in units of the features; a sequence is the sum
        of their kernels; None is :func:`mapping_lib.kernels.median_heuristic`. It is a constant:
        no gradient flows to it.
    biased
        Whether pairs of a row with itself count.

    Returns
    -------
    Tensor
        A scalar without unit: between 0 and 2 for each kernel if biased.

    Raises
    ------
    TypeError
        A tensor isn't floating point, or the dtypes differ.
    ValueError
        The widths differ, a tensor is empty, NaN or infinite, a bandwidth isn't positive or
        carries a gradient, the median is zero, or the unbiased form is given a single row.

    Examples
    --------
    >>> mmd(torch.tensor([[0.]]), torch.tensor([[2.]]), bandwidth=1)  # 2 (1 - e^-2)
    tensor(1.7293)
    """
    require_features(least=1 if biased else 2, source=source, target=target)
    σs = _bandwidths(bandwidth, source, target)
    wanted = torch.is_grad_enabled() and (source.requires_grad or target.requires_grad)
    value: Tensor = _Mmd.apply(source, target, σs, biased, wanted)[0]
    return value


def linear_time_mmd(
    source: Tensor, target: Tensor, *, bandwidth: float | Tensor | Sequence[float] | None = None
) -> Tensor:
    r"""Squared maximum mean discrepancy, estimated in one pass over the rows.

    .. math::

        \frac{1}{m} \sum_{i=1}^{m} k(x^s_{2i-1}, x^s_{2i}) + k(x^t_{2i-1}, x^t_{2i})
        - k(x^s_{2i-1}, x^t_{2i}) - k(x^s_{2i}, x^t_{2i-1}), \qquad
        m = \left\lfloor \tfrac{1}{2} \min(n_s, n_t) \right\rfloor

    Each row enters one term only, so it is unbiased, with more variance than :func:`mmd`, and it
    can be negative. The rows must be in random order; rows beyond 2m aren't used.

    Taught in :ref:`feature-alignment` (section 3.1.2).
    Source: :cite:t:`gretton2012kernel`, lemma 14.

    Parameters
    ----------
    source
        Source features ``(n_s, d)``, two rows at least.
    target
        Target features ``(n_t, d)``, two rows at least.
    bandwidth
        As in :func:`mmd`.

    Returns
    -------
    Tensor
        A scalar without unit.

    Raises
    ------
    TypeError
        A tensor isn't floating point, or the dtypes differ.
    ValueError
        The widths differ, a set has fewer than two rows, NaN or infinite values, a bandwidth isn't
        positive or carries a gradient, or the median is zero.

    Examples
    --------
    >>> source, target = torch.tensor([[0.], [0.]]), torch.tensor([[2.], [2.]])
    >>> linear_time_mmd(source, target, bandwidth=1)  # 1 + 1 - 2 e^-2
    tensor(1.7293)
    """
    require_features(least=2, source=source, target=target)
    σs = _bandwidths(bandwidth, source, target)
    wide = torch.promote_types(source.dtype, torch.float32)
    m = min(len(source), len(target)) // 2
    s1, s2 = source[0 : 2 * m : 2].to(wide), source[1 : 2 * m : 2].to(wide)
    t1, t2 = target[0 : 2 * m : 2].to(wide), target[1 : 2 * m : 2].to(wide)

    def k(x: Tensor, y: Tensor) -> Tensor:  # (m, d), (m, d) -> (m,)
        squared = ((x - y) ** 2).sum(1)
        return torch.stack([torch.exp(-squared / (2 * σ**2)) for σ in σs]).sum(0)

    return (k(s1, s2) + k(t1, t2) - k(s1, t2) - k(s2, t1)).mean().to(source.dtype)


def jmmd(
    source: Sequence[Tensor],
    target: Sequence[Tensor],
    *,
    bandwidth: Sequence[float] | None = None,
    biased: bool = True,
) -> Tensor:
    r"""Squared joint maximum mean discrepancy: of several layers together.

    It is :func:`mmd` with the product of the layers' Gaussian kernels,

    .. math::

        k(x, y) = \prod_{l} \exp \left( -\frac{\lVert x_l - y_l \rVert^2}{2 \sigma_l^2} \right)

    so it also sees how the layers depend on each other, features and predictions for example,
    which a sum of discrepancies doesn't.

    Taught in :ref:`domain-adaptation` (section 4.3.1).
    Source: :cite:t:`long2017deep`, section 3.

    Parameters
    ----------
    source
        Source features of each layer, ``(n_s, d_l)``.
    target
        Target features of each layer, ``(n_t, d_l)``, of as many layers.
    bandwidth
        A bandwidth :math:`\sigma_l` for each layer; None is
        :func:`mapping_lib.kernels.median_heuristic` of each.
    biased
        Whether pairs of a row with itself count.

    Returns
    -------
    Tensor
        A scalar without unit, between 0 and 2 if biased.

    Raises
    ------
    TypeError
        Source or target isn't a sequence of tensors, a tensor isn't floating point, or the dtypes
        differ.
    ValueError
        The numbers of layers, bandwidths or rows don't fit, and as in :func:`mmd`.

    Examples
    --------
    >>> source = torch.tensor([[0.]]), torch.tensor([[0.]])
    >>> target = torch.tensor([[2.]]), torch.tensor([[4.]])
    >>> jmmd(source, target, bandwidth=(2, 4))  # 2 (1 - e^-1/2 e^-1/2)
    tensor(1.2642)
    """
    _require_layers(source, target)
    if bandwidth is None:
        σs = [float(median_heuristic(s, t)) for s, t in zip(source, target, strict=True)]
    else:
        σs = _bandwidths(bandwidth, source[0], target[0])
    if len(σs) != len(source):
        raise ValueError(f"got {len(σs)} bandwidths for {len(source)} layers; give one a layer")
    # a product of Gaussians is the Gaussian of the layers side by side, each in units of its own σ
    s = torch.cat([layer / σ for layer, σ in zip(source, σs, strict=True)], dim=1)
    t = torch.cat([layer / σ for layer, σ in zip(target, σs, strict=True)], dim=1)
    return mmd(s, t, bandwidth=1.0, biased=biased)


def coral(source: Tensor, target: Tensor) -> Tensor:
    r"""Squared distance between the covariances of two feature sets.

    .. math:: \frac{1}{4 d^2} \lVert C_s - C_t \rVert_F^2

    The means don't enter. Covariances divide by :math:`n - 1`.

    Taught in :ref:`domain-adaptation` (section 4.3.1).
    Source: :cite:t:`sun2016deep`, eq. 1.

    Parameters
    ----------
    source
        Source features ``(n_s, d)``, two rows at least.
    target
        Target features ``(n_t, d)``, two rows at least.

    Returns
    -------
    Tensor
        A scalar in units of the features to the fourth power.

    Raises
    ------
    TypeError
        A tensor isn't floating point, or the dtypes differ.
    ValueError
        The widths differ, or a set has fewer than two rows, NaN or infinite values.

    Examples
    --------
    >>> coral(torch.tensor([[0.], [2.]]), torch.tensor([[0.], [4.]]))  # (2 - 8)² / 4
    tensor(9.)
    """
    require_features(least=2, source=source, target=target)
    d = source.shape[1]
    s, t = _scatter_root(source), _scatter_root(target)  # C = s.mT @ s
    if len(s) + len(t) < d:  # the same norm from products of rows, which are fewer
        ss, tt, st = s @ s.mT, t @ t.mT, s @ t.mT
        squared = (ss**2).sum() + (tt**2).sum() - 2 * (st**2).sum()
    else:
        squared = ((s.mT @ s - t.mT @ t) ** 2).sum()
    return (squared / (4 * d**2)).to(source.dtype)


def proxy_a_distance(
    source: Tensor,
    target: Tensor,
    *,
    generator: torch.Generator,
    held_out: float = 0.5,
    regularisation: float = 1.0,
) -> Tensor:
    r"""Proxy of the A-distance: how well a classifier tells the domains apart.

    .. math:: \hat d_{\mathcal A} = 2 (1 - 2 \hat\varepsilon)

    where :math:`\hat\varepsilon` is the error of a linear classifier of the domain on rows that it
    wasn't trained on, the mean of its errors on source and on target so that the larger set counts
    no more. The error on its own training rows would call equal domains distant. Equal domains
    give 0 up to chance, which may be negative.

    Taught in :ref:`domain-adaptation` (section 4.3.1).
    Source: :cite:t:`bendavid2007analysis`.

    Parameters
    ----------
    source
        Source features ``(n_s, d)``, four rows at least.
    target
        Target features ``(n_t, d)``, four rows at least.
    generator
        Draws which rows are held out.
    held_out
        The share of the rows of each domain on which the error is measured, in (0, 1).
    regularisation
        Weight of half the squared norm of the classifier's coefficients, beside the summed
        log-loss of standardised features.

    Returns
    -------
    Tensor
        A scalar without unit between -2 and 2, and without gradient.

    Raises
    ------
    TypeError
        A tensor isn't floating point, or the dtypes differ.
    ValueError
        The widths differ, a set has fewer than four rows, NaN or infinite values, or the share or
        the weight is out of range.

    Examples
    --------
    >>> source, target = torch.arange(0., 8).reshape(8, 1), torch.arange(20., 26).reshape(6, 1)
    >>> proxy_a_distance(source, target, generator=torch.Generator().manual_seed(0))
    tensor(2.)
    """
    require_features(least=4, source=source, target=target)
    require_number("held_out", held_out, below=1)
    require_number("regularisation", regularisation)
    if not (held_out and regularisation):
        raise ValueError(
            f"held_out and regularisation must be positive, got {held_out} and {regularisation}"
        )
    from sklearn.linear_model import LogisticRegression
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    train, test = [], []
    for rows in (source, target):
        order = torch.randperm(len(rows), generator=generator, device=place_of(generator))
        count = min(max(1, round(held_out * len(rows))), len(rows) - 1)
        shuffled = rows.detach()[order.to(rows.device)].cpu().double().numpy()
        test.append(shuffled[:count])
        train.append(shuffled[count:])
    classifier = make_pipeline(
        StandardScaler(),
        LogisticRegression(C=1 / regularisation, class_weight="balanced", max_iter=1000),
    )
    domain = [0] * len(train[0]) + [1] * len(train[1])
    classifier.fit([*train[0], *train[1]], domain)
    errors = [float((classifier.predict(rows) != label).mean()) for label, rows in enumerate(test)]
    return torch.as_tensor(2 * (1 - sum(errors)), dtype=source.dtype, device=source.device)


def linear_cka(source: Tensor, target: Tensor) -> Tensor:
    r"""Linear centred kernel alignment: how alike two descriptions of the same examples are.

    .. math::

        \frac{\lVert X_s^\top X_t \rVert_F^2}
        {\lVert X_s^\top X_s \rVert_F \, \lVert X_t^\top X_t \rVert_F}

    with columns centred. Rotations of the features and a common scale change nothing, so features
    of different networks or layers, of different width, can be compared.

    Taught in :ref:`extractor-transfer` (section 3.1.1).
    Source: :cite:t:`kornblith2019similarity`, section 3.

    Parameters
    ----------
    source
        Features ``(n, d_s)`` of n examples in one network or layer.
    target
        Features ``(n, d_t)`` of the same examples, in the same order, in the other.

    Returns
    -------
    Tensor
        A scalar without unit between 0 and 1.

    Raises
    ------
    TypeError
        A tensor isn't floating point, or the dtypes differ.
    ValueError
        The numbers of rows differ, there are fewer than two, values are NaN or infinite, or the
        features of one are constant.

    Examples
    --------
    >>> source, target = torch.tensor([[0.], [1.], [2.]]), torch.tensor([[0.], [0.], [1.]])
    >>> linear_cka(source, target)  # the squared correlation: 1² / (2 · 2/3)
    tensor(0.7500)
    """
    _require_pairs(source, target)
    wide = torch.promote_types(source.dtype, torch.float32)
    s, t = (rows.to(wide) - rows.mean(0, dtype=wide) for rows in (source, target))
    if len(s) < min(s.shape[1], t.shape[1]):  # from products of rows, which are fewer
        return _alignment(s @ s.mT, t @ t.mT).to(source.dtype)
    cross, own_s, own_t = ((a.mT @ b).norm() for a, b in ((s, t), (s, s), (t, t)))
    alignment: Tensor = cross**2 / (own_s * own_t)
    return alignment.to(source.dtype)


def kernel_cka(
    source: Tensor, target: Tensor, *, bandwidth: tuple[float, float] | None = None
) -> Tensor:
    r"""Centred kernel alignment under Gaussian kernels.

    .. math::

        \frac{\langle H K_s H, H K_t H \rangle}{\lVert H K_s H \rVert_F \, \lVert H K_t H \rVert_F},
        \qquad H = I - \tfrac{1}{n} \mathbf{1} \mathbf{1}^\top

    Unlike :func:`linear_cka` it also sees neighbourhoods that are curved.

    Taught in :ref:`extractor-transfer` (section 3.1.1).
    Source: :cite:t:`kornblith2019similarity`, section 3.

    Parameters
    ----------
    source
        Features ``(n, d_s)`` of n examples in one network or layer.
    target
        Features ``(n, d_t)`` of the same examples, in the same order, in the other.
    bandwidth
        The two bandwidths; None is the median distance of each, so that a scale changes nothing.

    Returns
    -------
    Tensor
        A scalar without unit between 0 and 1.

    Raises
    ------
    TypeError
        A tensor isn't floating point, or the dtypes differ.
    ValueError
        The numbers of rows differ, there are fewer than two, values are NaN or infinite, the
        features of one are constant, or the bandwidths aren't two positive numbers.

    Examples
    --------
    >>> source, target = torch.tensor([[0.], [1.], [2.]]), torch.tensor([[0.], [1.], [1.]])
    >>> kernel_cka(source, target, bandwidth=(0.1, 0.1))  # all differ; two are equal: 1/√2
    tensor(0.7071)
    """
    _require_pairs(source, target)
    if bandwidth is None:
        half = len(source) // 2
        σs = [float(median_heuristic(rows[:half], rows[half:])) for rows in (source, target)]
    else:
        σs = _bandwidths(bandwidth, source, target)
    if len(σs) != 2:
        raise ValueError(f"bandwidth must be two numbers, got {len(σs)}")
    wide = torch.promote_types(source.dtype, torch.float32)
    K_s, K_t = (
        gaussian_kernel(rows.to(wide), rows.to(wide), bandwidth=σ)
        for rows, σ in zip((source, target), σs, strict=True)
    )
    return _alignment(_centred(K_s), _centred(K_t)).to(source.dtype)


class _Mmd(torch.autograd.Function):
    r"""MMD² and its gradient in one pass over the pairs i <= j of all rows, block by block.

    With :math:`y = z / \sigma` in units of the widest bandwidth and weights c of the three kinds of
    pairs, the value is :math:`\sum_{ij} c_{ij} k_{ij}` and the gradient by :math:`z_i` is
    :math:`\frac{2}{\sigma} \sum_j c_{ij} k'_{ij} (y_j - y_i)`, where k' weights each kernel by
    :math:`\sigma^2 / \sigma_u^2`.
    """

    @staticmethod
    def forward(
        source: Tensor, target: Tensor, σs: list[float], biased: bool, wanted: bool
    ) -> tuple[Tensor, Tensor, Tensor]:
        n, m, d, σ = len(source), len(target), source.shape[1], max(σs)
        rows = BLOCK if source.device.type == "cpu" else 16 * BLOCK
        within_s, within_t, between = _pair_weights(n, m, biased)
        right = _in_units(source, target, σs)  # (n + m, d + 2)
        kernels = _KernelSum(σs, right.new_empty(3, rows * rows), wanted)
        gradient = torch.zeros_like(right if wanted else right[:0])
        value, overlap = 0.0, 0.0
        blocks = [*_blocks(0, n, rows), *_blocks(n, n + m, rows)]
        for k, i in enumerate(blocks):
            # (y_i, -|y_i|²/2, 1) · (y_j, 1, -|y_j|²/2) = -|y_i - y_j|²/2
            left = torch.cat([right[i, :d], right[i, d + 1 :], right[i, d : d + 1]], dim=1)
            for j in blocks[k:]:
                crossing = i.start < n <= j.start
                c = between if crossing else within_s if j.start < n else within_t
                total, slopes = kernels(left, right[j], diagonal=i == j)
                value += c * total * (1 if i == j else 2)
                overlap += total if crossing else 0
                if wanted:
                    gradient[i].addmm_(slopes, right[j], alpha=c)
                if wanted and i != j:
                    gradient[j].addmm_(slopes.mT, right[i], alpha=c)
        if not biased:  # a row's kernels with itself are 1
            value -= len(σs) * (n * within_s + m * within_t)
        if overlap < len(σs) * n * m * torch.finfo(right.dtype).eps:
            _warn_apart(σ)
        sums, y = gradient[:, d : d + 1], right[: len(gradient), :d]  # Σ c k', y
        by_z = gradient[:, :d].addcmul_(sums, y, value=-1).mul_(2 / σ).to(source.dtype)
        return source.new_tensor(value), by_z[:n], by_z[n:]

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Any, ...], output: tuple[Tensor, ...]) -> None:
        source, target, ctx.σs, ctx.biased, _ = inputs
        ctx.mark_non_differentiable(*output[1:])
        ctx.save_for_backward(source, target, *output[1:])

    @staticmethod
    def backward(ctx: Any, outer: Tensor, *_: Tensor) -> tuple[Tensor | None, ...]:
        source, target, by_source, by_target = ctx.saved_tensors
        if torch.is_grad_enabled():  # there may be a second derivative
            by_source, by_target = _mmd_gradient(source, target, ctx.σs, ctx.biased)
        return outer * by_source, outer * by_target, None, None, None

    @staticmethod
    def vmap(info: Any, in_dims: tuple[Any, ...], *inputs: Any) -> tuple[Any, Any]:
        each = [
            [
                x.select(dim, k) if isinstance(dim, int) else x
                for x, dim in zip(inputs, in_dims, strict=True)
            ]
            for k in range(info.batch_size)
        ]
        results = [_Mmd.apply(*arguments) for arguments in each]
        return tuple(torch.stack(part) for part in zip(*results, strict=True)), (0, 0, 0)


class _KernelSum:
    """Sums of Gaussian kernels over a block of pairs, in buffers that are used again."""

    def __init__(self, σs: list[float], buffers: Tensor, wanted: bool) -> None:
        ratios = sorted((max(σs) / σ) ** 2 for σ in σs)  # 1, ...
        squarings = [_squarings(a, b) for a, b in pairwise(ratios)]
        self.narrower = list(zip(ratios[1:], squarings, strict=True))
        self.buffers, self.wanted = buffers, wanted

    def __call__(self, left: Tensor, right: Tensor, *, diagonal: bool) -> tuple[float, Tensor]:
        """Give the sum over all pairs and kernels, and each pair's sum weighted by its ratios."""
        shape = len(left), len(right)
        exponent, K, slopes = (flat[: shape[0] * shape[1]].view(shape) for flat in self.buffers)
        torch.mm(left, right.mT, out=exponent)
        if diagonal:
            exponent.fill_diagonal_(0)
        torch.exp(exponent, out=K)
        total = K.sum().item()
        if self.wanted:
            slopes.copy_(K)
        for ratio, squarings in self.narrower:
            if squarings is None:
                torch.mul(exponent, ratio, out=K).exp_()
            for _ in range(squarings or 0):
                K.mul_(K)  # half the variance
            total += K.sum().item()
            if self.wanted:
                slopes.add_(K, alpha=ratio)
        return total, slopes


def _mmd_gradient(
    source: Tensor, target: Tensor, σs: list[float], biased: bool
) -> tuple[Tensor, Tensor]:
    """Give the gradient of MMD² by operations that can be differentiated again."""
    n, m = len(source), len(target)
    within_s, within_t, between = _pair_weights(n, m, biased)
    z = torch.cat([source, target]).to(torch.promote_types(source.dtype, torch.float32))
    c = z.new_full((n + m, n + m), between)
    c[:n, :n], c[n:, n:] = within_s, within_t
    D = _squared_distances(z, z)
    slopes = c * torch.stack([torch.exp(-D / (2 * σ**2)) / σ**2 for σ in σs]).sum(0)
    by_z = 2 * (slopes @ z - slopes.sum(1, keepdim=True) * z).to(source.dtype)
    return by_z[:n], by_z[n:]


def _pair_weights(n: int, m: int, biased: bool) -> tuple[float, float, float]:
    """Give the weights of a pair within the source, within the target, and between them."""
    less = 0 if biased else 1
    return 1 / (n * (n - less)), 1 / (m * (m - less)), -1 / (n * m)


def _in_units(source: Tensor, target: Tensor, σs: list[float]) -> Tensor:
    """Centre all rows and divide them by the widest bandwidth; give (y, 1, -|y|²/2).

    Where the squares would have too few digits for the narrowest kernel, it is in double.
    """
    (n, d), m = source.shape, len(target)
    for dtype in (torch.promote_types(source.dtype, torch.float32), torch.float64):
        right = torch.empty(n + m, d + 2, dtype=dtype, device=source.device)
        y = right[:, :d]
        y[:n], y[n:] = source, target
        y.sub_(y.mean(0)).div_(max(σs))
        half = torch.linalg.vector_norm(y, dim=1).square_().div_(-2)
        right[:, d], right[:, d + 1] = 1, half
        lost = -half.min() * torch.finfo(dtype).eps * (max(σs) / min(σs)) ** 2
        if lost < 1e-3:
            break
    return right


def _squarings(ratio: float, narrower: float) -> int | None:
    """Tell how many squarings lead from a kernel to the narrower one, if a few do."""
    steps = math.log2(narrower / ratio)
    few = round(steps) <= 4 and abs(steps - round(steps)) < 1e-9
    return round(steps) if few else None


def _blocks(start: int, end: int, rows: int) -> list[slice]:
    return [slice(i, min(i + rows, end)) for i in range(start, end, rows)]


def _warn_apart(σ: float) -> None:
    warnings.warn(
        f"source and target don't overlap at the bandwidth {σ:g}: every kernel between them is "
        "zero to rounding, so no gradient draws them together; take a larger bandwidth",
        UserWarning,
        stacklevel=4,
    )


def _alignment(K: Tensor, L: Tensor) -> Tensor:
    """Give the cosine of the angle between two centred matrices."""
    norm_K, norm_L = K.norm(), L.norm()
    if seen((norm_K == 0) | (norm_L == 0)):
        raise ValueError(
            "the kernel of the source or of the target is the same for all pairs, so there is "
            "nothing to align; take a smaller bandwidth"
        )
    cosine: Tensor = (K * L).sum() / (norm_K * norm_L)
    return cosine


def _centred(K: Tensor) -> Tensor:
    return K - K.mean(0) - K.mean(1, keepdim=True) + K.mean()


def _scatter_root(rows: Tensor) -> Tensor:
    """Centre and scale rows so that their scatter is their covariance."""
    wide = rows.to(torch.promote_types(rows.dtype, torch.float32))
    return (wide - wide.mean(0)) / math.sqrt(len(rows) - 1)


def _bandwidths(
    bandwidth: float | Tensor | Sequence[float] | None, source: Tensor, target: Tensor
) -> list[float]:
    """Give the bandwidths as numbers, the median heuristic for None."""
    if bandwidth is None:
        bandwidth = median_heuristic(source, target)
    if isinstance(bandwidth, Tensor):
        if bandwidth.requires_grad:
            raise ValueError(
                "bandwidth carries a gradient, but is a constant here; pass bandwidth.detach(), or "
                "average gaussian_kernel, which has a gradient for it"
            )
        bandwidth = bandwidth.tolist()
    several = isinstance(bandwidth, Sequence) and not isinstance(bandwidth, str)
    σs: list[Any] = [*bandwidth] if several else [bandwidth]  # type: ignore[misc]
    for σ in σs:
        require_number("bandwidth", σ)
    if not (σs and all(σs)):
        raise ValueError(
            f"bandwidth must be positive, got {bandwidth}; None chooses one by the median heuristic"
        )
    return [float(σ) for σ in σs]


def _require_layers(source: Sequence[Tensor], target: Sequence[Tensor]) -> None:
    for name, layers in (("source", source), ("target", target)):
        if isinstance(layers, Tensor) or not isinstance(layers, Sequence):
            raise TypeError(
                f"{name} must be a sequence of tensors, one a layer, got {type(layers).__name__}; "
                "for a single layer use mmd"
            )
        require_tensor(**{f"{name}[{i}]": layer for i, layer in enumerate(layers)})
        if len({len(layer) for layer in layers}) > 1:
            found = ", ".join(str(shape(layer)) for layer in layers)
            raise ValueError(f"the layers of {name} must have the same rows, got {found}")
    if len(source) != len(target) or len(source) == 0:
        raise ValueError(
            f"got {len(source)} layers of the source and {len(target)} of the target; give the "
            "same layers of both, one at least"
        )
    for s, t in zip(source, target, strict=True):
        require_features(source=s, target=t)


def _require_pairs(source: Tensor, target: Tensor) -> None:
    """Require two descriptions of the same examples: as many rows, of any widths."""
    require_features(least=2, source=source)
    require_features(least=2, target=target)
    if source.dtype != target.dtype:
        raise TypeError(
            f"the tensors must have one dtype, got source {source.dtype}, target {target.dtype}; "
            "convert them with .to(...)"
        )
    if len(source) != len(target):
        raise ValueError(
            f"source {shape(source)} and target {shape(target)} must describe the same examples, "
            "row by row; give as many rows of each"
        )
    for name, rows in (("source", source), ("target", target)):
        spread = (rows - rows.mean(0)).abs().max()
        if seen(spread <= 4 * torch.finfo(rows.dtype).eps * rows.abs().max()):
            raise ValueError(
                f"{name} is constant: its features don't differ between examples, so there is "
                "nothing to align"
            )
