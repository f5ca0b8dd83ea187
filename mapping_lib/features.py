r"""Transfer by features (section 3.1): take features out of a network, align those of two domains,
select and fuse them.

Source first, target second, one row an example. Linear alignments are returned as a
:data:`~mapping_lib.mappings.Layer`, so that ``linear(x, *layer)`` maps any row, also a new one;
TCA, joint distribution adaptation and transport give the mapped rows themselves.
"""

import contextlib
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple, TypeAlias

import torch
from torch import Tensor, nn

from mapping_lib._checks import (
    require_features,
    require_finite,
    require_float,
    require_number,
    require_tensor,
    seen,
    shape,
)
from mapping_lib._modules import modes_kept
from mapping_lib._names import suggest
from mapping_lib.distances import mmd
from mapping_lib.mappings import Layer, linear
from mapping_lib.transport import sinkhorn_plan

__all__ = [
    "Alignment",
    "CanonicalCorrelation",
    "JointAdaptation",
    "bilinear_fusion",
    "canonical_correlation",
    "concatenation_fusion",
    "coral_map",
    "extract",
    "gated_fusion",
    "information_per_feature",
    "joint_distribution_adaptation",
    "mmd_per_feature",
    "procrustes",
    "select_features",
    "subspace_alignment",
    "tca",
    "transport_map",
]

Kernel: TypeAlias = Callable[[Tensor, Tensor], Tensor]
"""Maps rows ``(n, d)`` and ``(m, d)`` to their products ``(n, m)`` in another space."""


class Alignment(NamedTuple):
    """Two mappings into one space, of the source's rows and of the target's.

    Made by :func:`subspace_alignment`.
    """

    source: Layer
    target: Layer


class CanonicalCorrelation(NamedTuple):
    """Two mappings whose outputs correlate, and the correlation of each pair, largest first.

    Made by :func:`canonical_correlation`.
    """

    source: Layer
    target: Layer
    correlations: Tensor


class JointAdaptation(NamedTuple):
    """Mapped rows of source and target, and what the target's were taken for in the end.

    Made by :func:`joint_distribution_adaptation`.
    """

    source: Tensor
    target: Tensor
    labels: Tensor


class _ReachedLast(Exception):  # noqa: N818  (nothing went wrong)
    """The last layer that is wanted has given its output."""


def extract(
    model: nn.Module, inputs: Tensor, *, layers: Sequence[str], batch_size: int = 64
) -> dict[str, Tensor]:
    r"""Take the features that a network computes at layers given by name.

    .. math:: \phi_k(x) = f_k(\dots f_2(f_1(x)) \dots)

    An image's feature map is averaged over its places, so that each channel is one feature. The
    model runs in eval mode and without gradients, and no further than the last of the layers; it is
    left in the mode it was in.

    Taught in :ref:`extractor-transfer` (section 3.1.1).
    Source: :cite:t:`yosinski2014how`, section 2.

    Parameters
    ----------
    model
        Any module.
    inputs
        What it maps, ``(n, ...)``.
    layers
        Names of its submodules, as ``model.named_modules()`` gives them.
    batch_size
        Inputs at a time; doesn't change the result beyond rounding.

    Returns
    -------
    dict of str to Tensor
        By the layer's name, features ``(n, width)``, in the order of `layers`.

    Raises
    ------
    TypeError
        The inputs aren't floating point, or a layer doesn't return a tensor.
    ValueError
        An unknown layer, one that the model doesn't run, no layer, or inputs with NaN.

    Examples
    --------
    >>> model = nn.Sequential(nn.ReLU(), nn.Flatten())
    >>> extract(model, torch.tensor([[-1., 2.]]), layers=["0"])
    {'0': tensor([[0., 2.]])}
    """
    require_float(inputs=inputs)
    require_number("batch_size", batch_size, least=1)
    modules = dict(model.named_modules())
    if not layers or isinstance(layers, str):
        raise ValueError(f"layers must be a list of names, got {layers!r}; give at least one")
    for name in layers:
        if name not in modules or not name:
            known = [other for other in modules if other]
            raise ValueError(f"the model has no layer {name!r}{suggest(name, known)}")
    found: dict[str, list[Tensor]] = {name: [] for name in layers}
    batch: dict[str, Tensor] = {}

    def keep(name: str) -> Callable[..., None]:
        def hook(module: nn.Module, arguments: Any, output: Any) -> None:
            if not isinstance(output, Tensor):
                raise TypeError(f"layer {name!r} returns {type(output).__name__}, not a tensor")
            batch[name] = output.flatten(2).mean(2) if output.ndim > 2 else output
            if len(batch) == len(found):
                raise _ReachedLast

        return hook

    hooks = [modules[name].register_forward_hook(keep(name)) for name in found]
    try:
        with modes_kept(model), torch.no_grad():
            model.eval()
            for part in torch.split(inputs, batch_size):
                batch.clear()
                with contextlib.suppress(_ReachedLast):
                    model(part)
                for name in found:
                    if name not in batch:
                        raise ValueError(f"the model doesn't run its layer {name!r}")
                    found[name].append(batch[name])
    finally:
        for handle in hooks:
            handle.remove()
    return {name: torch.cat(parts) for name, parts in found.items()}


def coral_map(source: Tensor, target: Tensor, *, ridge: float = 0.0) -> Layer:
    r"""Map the source linearly so that its mean and covariance become the target's.

    .. math::

        x \mapsto \mu_t + A (x - \mu_s), \qquad
        A = (C_t + r I)^{1/2} (C_s + r I)^{-1/2}

    Without the ridge :math:`r` the mapped covariance :math:`A C_s A^\top` is exactly :math:`C_t`.
    The paper writes rows, :math:`x^\top A^\top`, takes features with mean 0, and :math:`r = 1`.

    Taught in :ref:`feature-alignment` (section 3.1.2).
    Source: :cite:t:`sun2016return`, algorithm 1.

    Parameters
    ----------
    source
        Features ``(n_s, d)``, at least two rows.
    target
        Features ``(n_t, d)``, at least two rows.
    ridge
        Added to all variances of both, so in their units; needed where the source has no more rows
        than features.

    Returns
    -------
    Layer
        The weight :math:`A`, ``(d, d)``, and the bias :math:`\mu_t - A \mu_s`, ``(d,)``.

    Raises
    ------
    TypeError
        A tensor isn't floating point, or the dtypes differ.
    ValueError
        The widths differ, a set has fewer than two rows, NaN or infinite values, the ridge is
        negative, or the source's covariance has no inverse.

    Examples
    --------
    >>> source, target = torch.tensor([[-2.], [0.], [2.]]), torch.tensor([[1.], [5.], [9.]])
    >>> coral_map(source, target)  # standard deviations 2 and 4
    (tensor([[2.]]), tensor([5.]))
    """
    require_features(source=source, target=target, least=2)
    require_number("ridge", ridge)
    (mean_s, C_s), (mean_t, C_t) = _moments(source, ridge), _moments(target, ridge)
    A = _root(C_t) @ _inverse_root(C_s, "source", len(source))
    return A.to(source.dtype), (mean_t - A @ mean_s).to(source.dtype)


def subspace_alignment(source: Tensor, target: Tensor, *, width: int) -> Alignment:
    r"""Map source and target to the target's principal subspace, the source by way of its own.

    .. math:: x_s \mapsto P_t^\top P_s P_s^\top (x_s - \mu_s), \qquad
              x_t \mapsto P_t^\top (x_t - \mu_t)

    The columns of :math:`P_s` and :math:`P_t`, ``(d, k)``, are the first k principal directions.
    :math:`M = P_s^\top P_t` is the matrix that brings them closest,
    :math:`\min_M \lVert P_s M - P_t \rVert_F`.

    Taught in :ref:`feature-alignment` (section 3.1.2).
    Source: :cite:t:`fernando2013unsupervised`, eqs. 1 and 2.

    Parameters
    ----------
    source
        Features ``(n_s, d)``, at least two rows.
    target
        Features ``(n_t, d)``, at least two rows.
    width
        The number k of directions.

    Returns
    -------
    Alignment
        The mapping of the source and that of the target, each with a weight ``(k, d)`` and a bias
        ``(k,)``. The sign of each direction makes its largest entry positive.

    Raises
    ------
    TypeError
        A tensor isn't floating point, or the dtypes differ.
    ValueError
        The widths differ, a set has fewer than two rows, NaN or infinite values, or fewer than k
        directions in which it varies.

    Examples
    --------
    >>> source, target = torch.tensor([[1., 0.], [-1., 0.]]), torch.tensor([[3., 4.], [-3., -4.]])
    >>> layer, _ = subspace_alignment(source, target, width=1)
    >>> linear(source, *layer)  # the cosine of the angle between the directions
    tensor([[ 0.6000],
            [-0.6000]])
    """
    require_features(source=source, target=target, least=2)
    mean_s, P_s = _principal(source, width, "source")
    mean_t, P_t = _principal(target, width, "target")
    to_source, to_target = P_t.mT @ P_s @ P_s.mT, P_t.mT
    return Alignment(
        (to_source.to(source.dtype), -(to_source @ mean_s).to(source.dtype)),
        (to_target.to(source.dtype), -(to_target @ mean_t).to(source.dtype)),
    )


def tca(
    source: Tensor,
    target: Tensor,
    *,
    width: int,
    penalty: float = 1.0,
    kernel: Kernel | None = None,
) -> tuple[Tensor, Tensor]:
    r"""Transfer component analysis: directions that vary, but not between the domains.

    .. math::

        Z = K W, \qquad
        \max_W \; \operatorname{tr}(W^\top K H K W)
        \quad \text{with} \quad W^\top (K L K + \mu I) W = I

    :math:`K` holds the products of all rows, those of the source first. What is maximised is the
    variance of :math:`Z`; :math:`H = I - \frac1n \mathbf 1 \mathbf 1^\top` centres.
    :math:`L = e e^\top`, where :math:`e_i` is :math:`1/n_s` in the source and :math:`-1/n_t` in the
    target, so that :math:`\operatorname{tr}(W^\top K L K W)` is the squared distance between the
    domains' means of :math:`Z`, as :math:`\operatorname{tr}(K L)` is the MMD² of this kernel.

    Solved on the CPU in 64 bits; no gradients.

    Taught in :ref:`feature-alignment` (section 3.1.2).
    Source: :cite:t:`pan2011domain`, section III.

    Parameters
    ----------
    source
        Features ``(n_s, d)``, at least two rows.
    target
        Features ``(n_t, d)``, at least two rows.
    width
        The number k of components.
    penalty
        :math:`\mu`, above 0, in units of the kernel, squared.
    kernel
        The product of rows, such as ``partial(gaussian_kernel, bandwidth=1.0)``; None takes the
        linear kernel :math:`x^\top y`.

    Returns
    -------
    Tensor, Tensor
        The rows of :math:`Z`: those of the source ``(n_s, k)``, and those of the target
        ``(n_t, k)``. Components are in the order of their variance, and uncorrelated over both
        domains together.

    Raises
    ------
    TypeError
        A tensor isn't floating point, or the dtypes differ.
    ValueError
        The widths differ, a set has fewer than two rows, NaN or infinite values, the penalty isn't
        above 0, or fewer than k directions vary.

    Examples
    --------
    >>> source = torch.tensor([[0., 0.], [1., 0.]])  # the second feature tells the domains apart
    >>> target = torch.tensor([[0., 9.], [1., 9.]])
    >>> z_s, z_t = tca(source, target, width=1)
    >>> (z_s.mean() - z_t.mean()).abs() < 0.1 * z_s.diff(dim=0).abs()  # the first doesn't
    tensor([[True]])
    """
    require_features(source=source, target=target, least=2)
    K = _products(source, target, kernel)
    domains = _difference(len(source), len(target))
    Z = _components(K, domains, width, penalty).to(source)
    return Z[: len(source)], Z[len(source) :]


def joint_distribution_adaptation(
    source: Tensor,
    target: Tensor,
    labels: Tensor,
    *,
    width: int,
    penalty: float = 1.0,
    rounds: int = 10,
    kernel: Kernel | None = None,
    classify: Callable[[Tensor, Tensor, Tensor], Tensor] | None = None,
) -> JointAdaptation:
    r"""Transfer components that bring together the domains, and each class of them.

    .. math::

        \max_W \; \operatorname{tr}(W^\top K H K W)
        \quad \text{with} \quad
        W^\top \Bigl( K \sum_{c=0}^{C} M_c \, K + \lambda I \Bigr) W = I

    :math:`M_0` is the :math:`L` of :func:`tca`, and :math:`M_c` the same matrix for the rows of
    class c alone. The target's classes are guesses: each round classifies the target by the
    features of the round before; the first round has no guesses and is TCA. A class that nobody is
    taken for is left out.

    Taught in :ref:`feature-alignment` (section 3.1.2).
    Source: :cite:t:`long2013transfer`, section 3 and algorithm 1.

    Parameters
    ----------
    source
        Features ``(n_s, d)``, at least two rows.
    target
        Features ``(n_t, d)``, at least two rows.
    labels
        The source's classes ``(n_s,)``, integers, at least two different ones.
    width
        The number k of components.
    penalty
        :math:`\lambda`, above 0.
    rounds
        How often components are computed.
    kernel
        As :func:`tca` takes it.
    classify
        Called with mapped source, labels and mapped target, returns the target's labels; by default
        the label of the nearest row.

    Returns
    -------
    JointAdaptation
        Source ``(n_s, k)`` and target ``(n_t, k)`` of the last round, and the target's labels.

    Raises
    ------
    TypeError
        A tensor isn't floating point, the dtypes differ, or labels aren't integers.
    ValueError
        As :func:`tca` raises it; or there is one class only, or not one label a row.

    Examples
    --------
    >>> source = torch.tensor([[0., 0.], [1., 0.]])
    >>> target = torch.tensor([[0., 9.], [1., 9.], [1., 9.]])
    >>> joint_distribution_adaptation(source, target, torch.tensor([4, 7]), width=1).labels
    tensor([4, 7, 7])
    """
    require_features(source=source, target=target, least=2)
    _require_labels(labels, source, "source")
    require_number("rounds", rounds, least=1)
    K = _products(source, target, kernel)
    n_s, n_t = len(source), len(target)
    differences = _difference(n_s, n_t)
    for _ in range(int(rounds)):
        Z = _components(K, differences, width, penalty).to(source)
        guesses = (classify or _nearest)(Z[:n_s], labels, Z[n_s:])
        classes = [c for c in torch.unique(labels) if seen((guesses == c).any())]
        columns = [_difference(n_s, n_t)]
        columns += [_difference(n_s, n_t, labels == c, guesses == c) for c in classes]
        differences = torch.cat(columns, dim=1)
    return JointAdaptation(Z[:n_s], Z[n_s:], guesses)


def procrustes(source: Tensor, target: Tensor) -> Layer:
    r"""Rotate and shift the source so that each of its rows comes closest to its partner.

    .. math::

        x \mapsto \mu_t + Q (x - \mu_s), \qquad
        Q = \arg\min_{Q^\top Q = I} \sum_i \lVert Q (x_i - \mu_s) - (y_i - \mu_t) \rVert^2
          = U V^\top

    with the singular value decomposition
    :math:`\sum_i (y_i - \mu_t)(x_i - \mu_s)^\top = U S V^\top`. Q may also reflect.

    Taught in :ref:`feature-alignment` (section 3.1.2).
    Source: :cite:t:`schonemann1966generalized`.

    Parameters
    ----------
    source
        Rows :math:`x_i`, ``(n, d)``, at least two.
    target
        Their partners :math:`y_i`, ``(n, d)``, row by row.

    Returns
    -------
    Layer
        The weight :math:`Q`, ``(d, d)``, and the bias :math:`\mu_t - Q \mu_s`, ``(d,)``.

    Raises
    ------
    TypeError
        A tensor isn't floating point, or the dtypes differ.
    ValueError
        The shapes differ, there are fewer than two rows, or NaN or infinite values.

    Examples
    --------
    >>> corners = torch.tensor([[0., 0.], [2., 0.], [0., 1.]])
    >>> quarter_turn = torch.tensor([[0., 0.], [0., 2.], [-1., 0.]])
    >>> procrustes(corners, quarter_turn)[0].round().abs()
    tensor([[0., 1.],
            [1., 0.]])
    """
    require_features(source=source, target=target, least=2)
    _require_partners(source, target)
    x, y = _wide(source), _wide(target)
    U, _, Vh = torch.linalg.svd((y - y.mean(0)).mT @ (x - x.mean(0)))
    Q = U @ Vh
    return Q.to(source.dtype), (y.mean(0) - Q @ x.mean(0)).to(source.dtype)


def canonical_correlation(
    source: Tensor, target: Tensor, *, width: int, ridge: float = 0.0
) -> CanonicalCorrelation:
    r"""Map two views of the same examples to where they correlate most.

    .. math::

        \max_{A, B} \; \operatorname{tr}(A C_{st} B^\top)
        \quad \text{with} \quad A (C_s + r I) A^\top = B (C_t + r I) B^\top = I

    Solved by the singular values of
    :math:`(C_s + r I)^{-1/2} \, C_{st} \, (C_t + r I)^{-1/2} = U S V^\top`: the first k rows
    of :math:`U^\top (C_s + r I)^{-1/2}` and :math:`V^\top (C_t + r I)^{-1/2}`. Without the ridge,
    :math:`S` holds the correlations, which no invertible linear map of a view changes.

    Taught in :ref:`feature-alignment` (section 3.1.2).
    Source: :cite:t:`hotelling1936relations`.

    Parameters
    ----------
    source
        One view, ``(n, d_s)``.
    target
        The other view of the same examples, ``(n, d_t)``, row by row.
    width
        The number k of pairs of directions.
    ridge
        Added to all variances; needed where there are no more rows than features.

    Returns
    -------
    CanonicalCorrelation
        Mappings with weights ``(k, d_s)`` and ``(k, d_t)``, and k correlations.

    Raises
    ------
    TypeError
        A tensor isn't floating point, or the dtypes differ.
    ValueError
        The numbers of rows differ, there are NaN or infinite values, the width is larger than a
        view's, the ridge is negative, or a covariance has no inverse.

    Examples
    --------
    >>> height = torch.tensor([[1.], [2.], [3.]])
    >>> canonical_correlation(height, 7 - 2 * height, width=1).correlations
    tensor([1.])
    """
    require_float(source=source, target=target)
    require_features(source=source, least=2)
    require_features(target=target, least=2)
    _require_partners(source, target)
    require_number("ridge", ridge)
    _require_width(width, min(source.shape[1], target.shape[1]), "features of the narrower view")
    (mean_s, C_s), (mean_t, C_t) = _moments(source, ridge), _moments(target, ridge)
    C_st = (_wide(source) - mean_s).mT @ (_wide(target) - mean_t) / (len(source) - 1)
    white_s = _inverse_root(C_s, "source", len(source))
    white_t = _inverse_root(C_t, "target", len(target))
    U, correlations, Vh = torch.linalg.svd(white_s @ C_st @ white_t, full_matrices=False)
    A, B = U.mT[:width] @ white_s, Vh[:width] @ white_t
    turn = _signs(A)
    A, B, dtype = turn * A, turn * B, source.dtype
    return CanonicalCorrelation(
        (A.to(dtype), -(A @ mean_s).to(dtype)),
        (B.to(dtype), -(B @ mean_t).to(dtype)),
        correlations[:width].to(dtype),
    )


def transport_map(source: Tensor, target: Tensor, *, regularisation: float = 0.05) -> Tensor:
    r"""Move each source row to the mean of the target rows that its mass is transported to.

    .. math::

        x_i \mapsto \frac{\sum_j P_{ij} \, y_j}{\sum_j P_{ij}}, \qquad
        P = \arg\min_{P \in \Pi} \;
        \sum_{ij} P_{ij} \, \frac{\lVert x_i - y_j \rVert^2}{\bar c}
        + \varepsilon \sum_{ij} P_{ij} \log P_{ij}

    :math:`\Pi` holds the plans that take :math:`1/n_s` from each source row and bring
    :math:`1/n_t` to each target row. The costs are divided by their mean :math:`\bar c`, so that
    neither the plan nor :math:`\varepsilon` depends on the unit of the features. A gradient takes
    the plan as fixed, and so reaches the target alone.

    Taught in :ref:`feature-alignment` (section 3.1.2).
    Source: :cite:t:`courty2017optimal`.

    Parameters
    ----------
    source
        Features ``(n_s, d)``, at least two rows.
    target
        Features ``(n_t, d)``, at least two rows.
    regularisation
        :math:`\varepsilon`, above 0. A large one moves every row to the target's mean.

    Returns
    -------
    Tensor
        The moved rows, ``(n_s, d)``, inside the target's convex hull.

    Raises
    ------
    TypeError
        A tensor isn't floating point, or the dtypes differ.
    ValueError
        The widths differ, a set has fewer than two rows, NaN or infinite values, all rows are one
        point, or the regularisation isn't above 0.

    Examples
    --------
    >>> transport_map(torch.tensor([[0.], [1.]]), torch.tensor([[5.], [7.]])).round()
    tensor([[5.],
            [7.]])
    """
    require_features(source=source, target=target, least=2)
    cost = torch.cdist(source, target).square()
    if seen(cost.mean() == 0):
        raise ValueError("all rows of both sets are one point: there is nothing to transport")
    plan = sinkhorn_plan((cost / cost.mean()).detach(), regularisation=regularisation)
    moved: Tensor = plan @ target / plan.sum(1, keepdim=True)
    return moved


def mmd_per_feature(source: Tensor, target: Tensor, *, bandwidth: float | None = None) -> Tensor:
    r"""Squared MMD between the domains, of each feature by itself.

    .. math:: s_j = \operatorname{MMD}^2\bigl(\{x_{ij}\}_i, \{y_{ij}\}_i\bigr)

    A feature with a small one looks the same in both domains. A feature that is constant over both
    is scored 0.

    Taught in :ref:`feature-selection-and-fusion` (section 3.1.3).
    Source: :cite:t:`gretton2012kernel`, eq. 5, applied to one feature at a time.

    Parameters
    ----------
    source
        Features ``(n_s, d)``, at least two rows.
    target
        Features ``(n_t, d)``, at least two rows.
    bandwidth
        As :func:`mapping_lib.distances.mmd` takes it; None takes each feature's median distance, or
        its standard deviation where more than half of its values are equal.

    Returns
    -------
    Tensor
        Scores ``(d,)``, not negative.

    Raises
    ------
    TypeError
        A tensor isn't floating point, or the dtypes differ.
    ValueError
        The widths differ, a set has fewer than two rows, or NaN or infinite values.

    Examples
    --------
    >>> source, target = torch.tensor([[0., 0.], [1., 1.]]), torch.tensor([[0., 8.], [1., 9.]])
    >>> mmd_per_feature(source, target)[0]  # the second feature has moved
    tensor(0.)
    """
    require_features(source=source, target=target, least=2)
    scores = []
    for x, y in zip(source.mT.unsqueeze(2), target.mT.unsqueeze(2), strict=True):
        both = torch.cat([x, y]).detach()
        if seen(both.max() == both.min()):
            scores.append((x.sum() + y.sum()) * 0)
            continue
        own = bandwidth
        if own is None and seen(torch.pdist(both).median() == 0):
            own = both.std().item()
        scores.append(mmd(x, y, bandwidth=own))
    return torch.stack(scores).clamp(min=0)


def information_per_feature(features: Tensor, labels: Tensor, *, bins: int = 8) -> Tensor:
    r"""Mutual information between each feature and the label.

    .. math::

        I_j = \sum_{b, c} p(b, c) \log \frac{p(b, c)}{p(b) \, p(c)}

    where b is the bin of feature j, cut at its quantiles, c the class, and p their frequencies. The
    estimate is too large by about :math:`(B - 1)(C - 1) / 2n` for B bins and C classes, the same
    for all features.

    Taught in :ref:`feature-selection-and-fusion` (section 3.1.3).
    Source: :cite:t:`battiti1994using`.

    Parameters
    ----------
    features
        Features ``(n, d)``, at least two rows.
    labels
        Classes ``(n,)``, integers, at least two different ones.
    bins
        B, at least 2. Equal values share a bin.

    Returns
    -------
    Tensor
        Scores ``(d,)`` in nats, from 0 to the smaller of log B and the entropy of the classes.

    Raises
    ------
    TypeError
        The features aren't floating point, or labels aren't integers.
    ValueError
        There are NaN or infinite values, one class only, not one label a row, or fewer than two
        bins.

    Examples
    --------
    >>> features = torch.tensor([[0., 3.], [1., 3.], [8., 3.], [9., 3.]])
    >>> information_per_feature(features, torch.tensor([0, 0, 1, 1]), bins=2)  # log 2 and 0
    tensor([0.6931, 0.0000])
    """
    require_features(features=features, least=2)
    _require_labels(labels, features, "features")
    require_number("bins", bins, least=2)
    n, wide = len(features), _wide(features)
    levels = torch.linspace(0, 1, int(bins) + 1, device=wide.device, dtype=wide.dtype)[1:-1]
    cuts = torch.quantile(wide, levels, dim=0, interpolation="higher").mT.contiguous()
    values = wide.mT.contiguous()
    member = nn.functional.one_hot(
        torch.searchsorted(cuts, values, right=True), int(bins)
    )  # (d, n, B)
    _, index = torch.unique(labels.to(features.device), return_inverse=True)
    classes = nn.functional.one_hot(index)  # (n, C)
    p = torch.einsum("dnb,nc->dbc", member.to(values), classes.to(values)) / n
    independent = p.sum(2, keepdim=True) * p.sum(1, keepdim=True)
    terms = torch.where(p > 0, p * (p / independent).log(), torch.zeros_like(p))
    return terms.sum((1, 2)).clamp(min=0).to(features.dtype)


def select_features(scores: Tensor, *, keep: int) -> Tensor:
    r"""Choose the features with the largest scores.

    .. math:: S = \arg\max_{|S| = k} \sum_{j \in S} s_j

    Taught in :ref:`feature-selection-and-fusion` (section 3.1.3).
    Source: :cite:t:`guyon2003introduction`, section 2.

    Parameters
    ----------
    scores
        One a feature, ``(d,)``: of :func:`information_per_feature`, or of :func:`mmd_per_feature`
        with a minus before it.
    keep
        The number k of features to keep.

    Returns
    -------
    Tensor
        Their indices ``(k,)`` in ascending order; of equal scores the first.

    Raises
    ------
    TypeError
        The scores aren't floating point.
    ValueError
        They aren't a vector, contain NaN, or there are fewer than k.

    Examples
    --------
    >>> select_features(torch.tensor([0.3, 0.1, 0.9]), keep=2)
    tensor([0, 2])
    """
    require_float(scores=scores)
    if scores.ndim != 1:
        raise ValueError(f"scores must be a vector, one a feature, got shape {shape(scores)}")
    _require_width(keep, len(scores), "features", "keep")
    return scores.argsort(descending=True, stable=True)[:keep].sort().values


def concatenation_fusion(*views: Tensor) -> Tensor:
    r"""Put several views of the same examples side by side, each scaled to mean square norm 1.

    .. math::

        x \mapsto \Bigl[ \frac{x^{(1)}}{r_1}; \dots; \frac{x^{(m)}}{r_m} \Bigr], \qquad
        r_v^2 = \frac1n \sum_{i=1}^n \lVert x^{(v)}_i \rVert^2

    Without the scaling the view with the largest numbers decides every distance.

    Taught in :ref:`feature-selection-and-fusion` (section 3.1.3).
    Source: :cite:t:`baltrusaitis2019multimodal`, section 6.1 (early fusion).

    Parameters
    ----------
    views
        Features ``(n, d_v)``, the same examples row by row.

    Returns
    -------
    Tensor
        Fused features ``(n, d_1 + ... + d_m)``.

    Raises
    ------
    TypeError
        A view isn't floating point, or the dtypes differ.
    ValueError
        There is no view, the numbers of rows differ, a view is zero, or has NaN or infinite values.

    Examples
    --------
    >>> concatenation_fusion(torch.tensor([[3., 4.]]), torch.tensor([[1000.]]))
    tensor([[0.6000, 0.8000, 1.0000]])
    """
    if not views:
        raise ValueError("there are no views; give at least one")
    named = {f"view {number}": view for number, view in enumerate(views, start=1)}
    _require_views(named)
    scaled = []
    for name, view in named.items():
        size = view.square().sum(1).mean().sqrt()
        if seen(size == 0):
            raise ValueError(f"{name} is zero everywhere and has no scale; leave it out")
        scaled.append(view / size)
    return torch.cat(scaled, dim=1)


def gated_fusion(
    first: Tensor, second: Tensor, weight: Tensor, bias: Tensor | None = None
) -> Tensor:
    r"""Mix two views of the same width, each feature by a gate that looks at both.

    .. math:: z = g \odot x + (1 - g) \odot y, \qquad g = \sigma\bigl(W [x; y] + b\bigr)

    Taught in :ref:`feature-selection-and-fusion` (section 3.1.3).
    Source: :cite:t:`arevalo2017gated`, the gated multimodal unit without its tanh layers.

    Parameters
    ----------
    first
        The view :math:`x`, ``(n, d)``.
    second
        The view :math:`y` of the same examples, ``(n, d)``.
    weight
        :math:`W`, ``(d, 2d)``, or ``(1, 2d)`` for one gate for all features.
    bias
        :math:`b`, ``(d,)`` or ``(1,)``; none by default.

    Returns
    -------
    Tensor
        Fused features ``(n, d)``, each between those of the two views.

    Raises
    ------
    TypeError
        A tensor isn't floating point, or the dtypes differ.
    ValueError
        The shapes don't fit, or there are NaN or infinite values.

    Examples
    --------
    >>> gated_fusion(torch.tensor([[2., 4.]]), torch.tensor([[6., 0.]]), torch.zeros(1, 4))
    tensor([[4., 2.]])
    """
    _require_views({"first": first, "second": second}, same_width=True)
    d = first.shape[1]
    if weight.ndim != 2 or weight.shape[0] not in (1, d):
        raise ValueError(
            f"weight must have the shape (1, {2 * d}) or ({d}, {2 * d}), got {shape(weight)}"
        )
    gate = torch.sigmoid(linear(torch.cat([first, second], dim=1), weight, bias))
    return gate * first + (1 - gate) * second


def bilinear_fusion(first: Tensor, second: Tensor, weight: Tensor | None = None) -> Tensor:
    r"""Fuse two views by the products of their features.

    .. math:: z_k = x^\top W_k \, y = \sum_{ij} W_{kij} \, x_i \, y_j

    Without weights, z holds all products :math:`x_i y_j`.

    Taught in :ref:`feature-selection-and-fusion` (section 3.1.3).
    Source: :cite:t:`lin2015bilinear`, eq. 1; with weights :cite:t:`tenenbaum2000separating`, eq. 1.

    Parameters
    ----------
    first
        The view :math:`x`, ``(n, d_1)``.
    second
        The view :math:`y` of the same examples, ``(n, d_2)``.
    weight
        :math:`W`, ``(k, d_1, d_2)``; None for all products.

    Returns
    -------
    Tensor
        Fused features ``(n, k)``, or ``(n, d_1 d_2)`` without weights.

    Raises
    ------
    TypeError
        A tensor isn't floating point, or the dtypes differ.
    ValueError
        The shapes don't fit, or there are NaN or infinite values.

    Examples
    --------
    >>> bilinear_fusion(torch.tensor([[1., 2.]]), torch.tensor([[5., 10.]]))
    tensor([[ 5., 10., 10., 20.]])
    """
    _require_views({"first": first, "second": second})
    if weight is None:
        return torch.einsum("ni,nj->nij", first, second).flatten(1)
    require_float(weight=weight, first=first)
    due = (first.shape[1], second.shape[1])
    if weight.ndim != 3 or weight.shape[1:] != due:
        raise ValueError(f"weight must have the shape (k, {due[0]}, {due[1]}), got {shape(weight)}")
    return torch.einsum("ni,kij,nj->nk", first, weight, second)


def _wide(x: Tensor) -> Tensor:
    """Give x in a dtype that linear algebra takes: at least 32 bits."""
    return x.to(torch.promote_types(x.dtype, torch.float32))


def _moments(x: Tensor, ridge: float) -> tuple[Tensor, Tensor]:
    """Mean and covariance, with the ridge on the diagonal."""
    x = _wide(x)
    centred = x - x.mean(0)
    covariance = centred.mT @ centred / (len(x) - 1)
    return x.mean(0), covariance + ridge * torch.eye(x.shape[1], dtype=x.dtype, device=x.device)


def _root(covariance: Tensor) -> Tensor:
    values, vectors = torch.linalg.eigh(covariance)
    root: Tensor = (vectors * values.clamp(min=0).sqrt()) @ vectors.mT
    return root


def _inverse_root(covariance: Tensor, name: str, n: int) -> Tensor:
    values, vectors = torch.linalg.eigh(covariance)
    d = len(values)
    least = d * torch.finfo(values.dtype).eps * values.max()
    if seen(values.min() <= least):
        raise ValueError(
            f"the {name}'s covariance, of {n} rows and {d} features, has rank "
            f"{int((values > least).sum())} and so no inverse; give a ridge, such as ridge=1.0, "
            "or fewer features"
        )
    root: Tensor = (vectors / values.sqrt()) @ vectors.mT
    return root


def _principal(x: Tensor, width: int, name: str) -> tuple[Tensor, Tensor]:
    """Mean, and the first principal directions as columns."""
    x = _wide(x)
    n, d = x.shape
    _require_width(width, min(n - 1, d), f"directions that {n} rows of {d} features can span")
    centred = x - x.mean(0)
    if n > d:
        squares, vectors = torch.linalg.eigh(centred.mT @ centred)
        squares, directions = squares.flip(0), vectors.flip(1)
    else:
        _, values, Vh = torch.linalg.svd(centred, full_matrices=False)
        squares, directions = values.square(), Vh.mT
    least = max(n, d) * torch.finfo(x.dtype).eps * squares[0]
    if seen(squares[width - 1] <= least):
        raise ValueError(
            f"the {name} varies in {int((squares > least).sum())} directions only, and width is "
            f"{width}; choose a smaller width"
        )
    directions = directions[:, :width]
    return x.mean(0), directions * _signs(directions.mT).mT


def _signs(rows: Tensor) -> Tensor:
    """Give the sign of each row's largest entry, as a column."""
    largest = rows.detach().gather(1, rows.abs().argmax(1, keepdim=True))
    return torch.where(largest < 0, -1, 1).to(rows)


def _products(source: Tensor, target: Tensor, kernel: Kernel | None) -> Tensor:
    """Give K, the products of all rows, in 64 bits on the CPU."""
    rows = torch.cat([source, target]).detach()
    if kernel is None:
        rows = rows.double().cpu()
        return rows @ rows.mT
    products = kernel(rows, rows)
    require_float(kernel=products)
    require_finite(kernel=products)
    return products.double().cpu()


def _difference(
    n_s: int, n_t: int, in_source: Tensor | None = None, in_target: Tensor | None = None
) -> Tensor:
    """Give the column e whose eᵀK is the mean of some source rows minus that of some target's."""
    s = torch.ones(n_s, device="cpu") if in_source is None else in_source
    t = torch.ones(n_t, device="cpu") if in_target is None else in_target
    s, t = s.double().cpu(), t.double().cpu()
    return torch.cat([s / s.sum(), -t / t.sum()]).unsqueeze(1)


def _components(K: Tensor, E: Tensor, width: int, penalty: float) -> Tensor:
    """Solve max tr WᵀKHKW with Wᵀ(KEEᵀK + λI)W = I, and give KW.

    With B = (KEEᵀK + λI)^(-1/2), known in closed form since EEᵀ has low rank, the solution is BV
    for the first right singular vectors V of HKB.
    """
    import scipy.linalg
    from scipy.sparse.linalg import LinearOperator, eigsh

    require_number("penalty", penalty)
    if penalty == 0:
        raise ValueError("penalty must be above 0, got 0; a small one such as 1e-3 is enough")
    n = len(K)
    _require_width(width, n - 1, f"the directions of {n} rows")
    U, s, _ = torch.linalg.svd(K @ E, full_matrices=False)
    shrink = 1 - (penalty / (penalty + s.square())).sqrt()  # √λ B = I - U diag(shrink) Uᵀ
    centred = K - K.mean(0)
    HKB = (centred - (centred @ U * shrink) @ U.mT) / penalty**0.5
    if n > 10 * width and n > 100:  # Lanczos, without the product of the matrix with itself
        forth, back = HKB.numpy(), HKB.mT.numpy()
        gram = LinearOperator((n, n), matvec=lambda v: back @ (forth @ v), dtype=float)
        start = torch.randn(n, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
        most = max(6 * width, 20)  # more vectors kept, fewer restarts
        squares, V = eigsh(gram, k=width, which="LA", v0=start.numpy(), ncv=most)
    else:
        squares, V = scipy.linalg.eigh((HKB.mT @ HKB).numpy(), subset_by_index=[n - width, n - 1])
    squares, V = torch.from_numpy(squares).flip(0), torch.from_numpy(V.copy()).flip(1)
    least = n * torch.finfo(K.dtype).eps * squares[0]
    if seen((squares <= least).any()):
        raise ValueError(
            f"the rows vary in {int((squares > least).sum())} directions only, and width is "
            f"{width}; choose a smaller width"
        )
    W = (V - (U * shrink) @ (U.mT @ V)) / penalty**0.5
    Z = K @ W
    signed: Tensor = Z * _signs((Z - Z.mean(0)).mT).mT
    return signed


def _nearest(source: Tensor, labels: Tensor, target: Tensor) -> Tensor:
    """Give each target row the label of the nearest source row."""
    return labels.to(source.device)[torch.cdist(target, source).argmin(1)]


def _require_partners(source: Tensor, target: Tensor) -> None:
    if len(source) != len(target):
        raise ValueError(
            f"row i of source belongs to row i of target, but there are {len(source)} and "
            f"{len(target)} rows; without pairs use coral_map or transport_map"
        )


def _require_views(views: dict[str, Tensor], *, same_width: bool = False) -> None:
    require_float(**views)
    for name, view in views.items():
        require_features(least=1, **{name: view})
    sizes = {view.shape if same_width else view.shape[0] for view in views.values()}
    if len(sizes) > 1:
        found = ", ".join(f"{name} {shape(view)}" for name, view in views.items())
        what = "shape" if same_width else "number of rows, one an example"
        raise ValueError(f"the views must have one {what}, got {found}")


def _require_labels(labels: Tensor, rows: Tensor, name: str) -> None:
    require_tensor(labels=labels)
    if labels.is_floating_point() or labels.is_complex() or labels.dtype == torch.bool:
        raise TypeError(f"labels must be integers, got {labels.dtype}; use labels.long()")
    if labels.shape != rows.shape[:1]:
        raise ValueError(
            f"{name} has {len(rows)} rows, but labels have shape {shape(labels)}; "
            "give one label a row"
        )
    if seen((labels == labels[0]).all()):
        raise ValueError(f"all labels are {int(labels[0])}; give at least two classes")


def _require_width(width: int, most: int, what: str, name: str = "width") -> None:
    if not isinstance(width, int) or not 1 <= width <= most:
        raise ValueError(f"{name} must be a whole number from 1 to {most} ({what}), got {width!r}")
