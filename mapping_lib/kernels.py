r"""Kernels (section 3.1.2): similarities of rows that are inner products in a feature space.

The bandwidth :math:`\sigma` is the distance at which two rows begin to count as different.
"""

import torch
from torch import Tensor

from mapping_lib._checks import require_features, require_number, seen, shape

__all__ = ["gaussian_kernel", "laplacian_kernel", "median_heuristic"]


def gaussian_kernel(x: Tensor, y: Tensor, *, bandwidth: float | Tensor) -> Tensor:
    r"""Compare rows by their squared distance.

    .. math:: k(x, y) = \exp \left( -\frac{\lVert x - y \rVert^2}{2 \sigma^2} \right)

    Taught in :ref:`feature-alignment` (section 3.1.2).
    Source: :cite:t:`muandet2017kernel`, section 2.1.

    Parameters
    ----------
    x
        Rows ``(n, d)``.
    y
        Rows ``(m, d)``.
    bandwidth
        The bandwidth :math:`\sigma`, in units of the features; a tensor may carry a gradient.

    Returns
    -------
    Tensor
        Similarities ``(n, m)`` in [0, 1].

    Raises
    ------
    TypeError
        A tensor isn't floating point, the dtypes differ, or the bandwidth is no number.
    ValueError
        The widths differ, a tensor is empty, NaN or infinite, or the bandwidth isn't positive.

    Examples
    --------
    >>> gaussian_kernel(torch.tensor([[0.]]), torch.tensor([[0.], [2.]]), bandwidth=1)  # 1, e^-2
    tensor([[1.0000, 0.1353]])
    """
    require_features(x=x, y=y)
    _require_bandwidth(bandwidth)
    return torch.exp(-_squared_distances(x, y) / (2 * bandwidth**2)).to(x.dtype)


def laplacian_kernel(x: Tensor, y: Tensor, *, bandwidth: float | Tensor) -> Tensor:
    r"""Compare rows by the sum of the differences of their features.

    .. math:: k(x, y) = \exp \left( -\frac{\lVert x - y \rVert_1}{\sigma} \right)

    Its tail is heavier than the Gaussian kernel's, so far rows still count; it has a kink where
    features agree, and its derivative there is taken as 0.

    Taught in :ref:`feature-alignment` (section 3.1.2).
    Source: :cite:t:`muandet2017kernel`, section 2.1.

    Parameters
    ----------
    x
        Rows ``(n, d)``.
    y
        Rows ``(m, d)``.
    bandwidth
        The bandwidth :math:`\sigma`, in units of the features; a tensor may carry a gradient.

    Returns
    -------
    Tensor
        Similarities ``(n, m)`` in [0, 1].

    Raises
    ------
    TypeError
        A tensor isn't floating point, the dtypes differ, or the bandwidth is no number.
    ValueError
        The widths differ, a tensor is empty, NaN or infinite, or the bandwidth isn't positive.

    Examples
    --------
    >>> laplacian_kernel(torch.tensor([[0., 0.]]), torch.tensor([[3., -1.]]), bandwidth=2)  # e^-2
    tensor([[0.1353]])
    """
    require_features(x=x, y=y)
    _require_bandwidth(bandwidth)
    wide = torch.promote_types(x.dtype, torch.float32)
    return torch.exp(-torch.cdist(x.to(wide), y.to(wide), p=1) / bandwidth).to(x.dtype)


def median_heuristic(source: Tensor, target: Tensor, *, rows: int = 1000) -> Tensor:
    r"""Choose a bandwidth: the median distance between different rows of both sets together.

    .. math::

        \sigma = \operatorname{median} \bigl\{ \lVert z_i - z_j \rVert : i < j \bigr\}, \qquad
        z = (x^s_1, \dots, x^s_{n_s}, x^t_1, \dots, x^t_{n_t})

    A row's distance 0 from itself doesn't count. No gradient flows through the choice.

    Taught in :ref:`feature-alignment` (section 3.1.2).
    Source: :cite:t:`garreau2017large`.

    Parameters
    ----------
    source
        Source features ``(n_s, d)``.
    target
        Target features ``(n_t, d)``.
    rows
        Of a larger set, so many rows in equal steps are used, at least two.

    Returns
    -------
    Tensor
        A positive scalar in units of the features.

    Raises
    ------
    TypeError
        A tensor isn't floating point, or the dtypes differ.
    ValueError
        The widths differ, a tensor is empty, NaN or infinite, or most pairs of rows are equal,
        so that the median is zero.

    Examples
    --------
    >>> median_heuristic(torch.tensor([[0.], [1.]]), torch.tensor([[5.]]))  # of 1, 5 and 4
    tensor(4.)
    """
    require_features(source=source, target=target)
    require_number("rows", rows, least=2)
    with torch.no_grad():
        wide = torch.promote_types(source.dtype, torch.float32)
        z = torch.cat([_thin(source, rows), _thin(target, rows)]).to(wide)
        i, j = torch.triu_indices(len(z), len(z), offset=1, device=z.device)
        squared = _squared_distances(z, z)[i, j]
        lower, upper = (squared.kthvalue(k).values for k in _middle(len(squared)))
        median = (lower.sqrt() + upper.sqrt()) / 2
    if seen(median == 0):
        raise ValueError(
            "the median distance is zero: most pairs of rows are equal, so the heuristic has no "
            "bandwidth to give; pass a bandwidth, or drop equal rows and see whether the features "
            "are constant"
        )
    return median.to(source.dtype)


def _squared_distances(x: Tensor, y: Tensor) -> Tensor:
    """Give squared Euclidean distances ``(n, m)``; what is zero but for rounding is zero."""
    wide = torch.promote_types(x.dtype, torch.float32)
    middle = x.detach().mean(dim=0, dtype=wide)
    x, y = x - middle, y - middle  # (n, d), (m, d)
    norms = (x * x).sum(1)[:, None] + (y * y).sum(1)  # (n, m)
    squared = norms - 2 * x @ y.mT
    rounding = squared.detach() <= 4 * torch.finfo(wide).eps * norms.detach()
    return squared - squared.detach() * rounding  # 0 there, with all its derivatives


def _thin(rows: Tensor, most: int) -> Tensor:
    """Take at most so many rows, in equal steps."""
    count = min(len(rows), most)
    return rows[torch.arange(count, device=rows.device) * len(rows) // count]


def _middle(count: int) -> tuple[int, int]:
    """Give the ranks, from 1, of the two middle ones of so many numbers; equal if odd."""
    return (count + 1) // 2, count // 2 + 1


def _require_bandwidth(bandwidth: float | Tensor) -> None:
    if isinstance(bandwidth, Tensor):
        if bandwidth.ndim:
            raise ValueError(
                f"bandwidth must be one number, got shape {shape(bandwidth)}; "
                "for several kernels add their matrices"
            )
        wrong = seen(~(bandwidth.detach() > 0))
    else:
        require_number("bandwidth", bandwidth)
        wrong = not bandwidth
    if wrong:
        raise ValueError(f"bandwidth must be positive, got {bandwidth}; median_heuristic finds one")
