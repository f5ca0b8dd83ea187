r"""Anchor-free object detection: heat maps of centres, their loss, boxes from peaks, and precision.

A box is (left, top, right, bottom) in pixels. A map has a cell for each square of *stride* pixels.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn.functional import logsigmoid, max_pool2d

from mapping_lib._checks import (
    require_finite,
    require_float,
    require_labels,
    require_number,
    require_same_shape,
    require_tensor,
    seen,
    shape,
)

__all__ = [
    "Centres",
    "Detections",
    "average_precision",
    "centre_heatmap",
    "centre_l1",
    "centre_targets",
    "decode",
    "gaussian_radius",
    "heatmap_focal_loss",
    "match_detections",
]


class Centres(NamedTuple):
    """What a detector has to say at the centres of boxes; made by :func:`centre_targets`."""

    cells: Tensor
    """Shape (n, 2), row and column of the cell that holds each centre."""

    offsets: Tensor
    """Shape (n, 2), where in its cell a centre lies, right and down, each in [0, 1)."""

    sizes: Tensor
    """Shape (n, 2), width and height of each box, in cells."""


class Detections(NamedTuple):
    """Boxes that a detector has found, the best first; made by :func:`decode`."""

    boxes: Tensor
    """Shape (n, 4), left, top, right and bottom in pixels."""

    scores: Tensor
    """Shape (n,), each in (0, 1), falling."""

    labels: Tensor
    """Shape (n,), the class of each."""


def gaussian_radius(sizes: Tensor, *, min_iou: float = 0.3) -> Tensor:
    r"""Say how far both corners of a box may move along each axis so that it keeps an overlap.

    .. math::
        r = \min(r_1, r_2, r_3), \quad
        \begin{aligned}
        (w - r_1)(h - r_1) &= \tfrac{2t}{1 + t}\, w h, \\
        (w - 2 r_2)(h - 2 r_2) &= t\, w h, \\
        (w + 2 r_3)(h + 2 r_3) &= \tfrac1t\, w h
        \end{aligned}

    The box is shifted (:math:`r_1`), shrunk at both corners (:math:`r_2`) or grown at both
    (:math:`r_3`); of each equation the smallest root that isn't negative is taken.

    Parameters
    ----------
    sizes
        Shape (n, 2), width and height, positive, in any unit.
    min_iou
        The overlap t that is kept, intersection over union, above 0 and at most 1.

    Returns
    -------
    Tensor
        Shape (n,), in the unit of the sizes.

    Raises
    ------
    TypeError
        The sizes aren't floating-point numbers.
    ValueError
        A side isn't positive and finite, the shape isn't (n, 2), or the overlap isn't in (0, 1].

    Notes
    -----
    Taught in :ref:`object-detection` (section 6.1.2).
    Source: Law and Deng (2018), section 3.2 :cite:p:`law2018cornernet`, which states the condition;
    the published code divides each root by 2 in place of twice the leading coefficient and takes
    the larger root in the first two cases, so that its radius keeps another overlap than t.

    Examples
    --------
    >>> gaussian_radius(torch.tensor([[8.0, 8.0]]), min_iou=0.25)  # shrunk to 4 x 4: a quarter
    tensor([2.])
    """
    require_float(sizes=sizes)
    require_finite(sizes=sizes)
    if sizes.ndim != 2 or sizes.shape[1] != 2:
        raise ValueError(f"sizes must be (n, 2), width and height, got {shape(sizes)}")
    if seen((sizes <= 0).any()):
        raise ValueError("a box has no area: each width and height must be above 0")
    _require_overlap(min_iou)
    total, area = sizes.sum(1), sizes.prod(1)
    shifted = _smaller_root(1.0, -total, area * (1 - min_iou) / (1 + min_iou))
    shrunk = _smaller_root(4.0, -2 * total, area * (1 - min_iou))
    # 4 t r² + 2 t (w + h) r - (1 - t) w h = 0 has one root above zero.
    root = (4 * min_iou**2 * total.square() + 16 * min_iou * (1 - min_iou) * area).sqrt()
    grown = (root - 2 * min_iou * total) / (8 * min_iou)
    return torch.minimum(torch.minimum(shifted, shrunk), grown)


def centre_targets(boxes: Tensor, *, size: tuple[int, int], stride: int) -> Centres:
    r"""Place the centres of boxes on a map: cell, offset in it, and size.

    .. math::
        p = \Bigl\lfloor \frac{c}{R} \Bigr\rfloor, \qquad o = \frac{c}{R} - p, \qquad
        s = \frac{1}{R}\,(\text{right} - \text{left},\ \text{bottom} - \text{top})

    Parameters
    ----------
    boxes
        Shape (n, 4), left, top, right, bottom in pixels, inside the image; n may be 0.
    size
        Height and width of the image in pixels, multiples of the stride.
    stride
        Pixels R a cell is wide and high.

    Returns
    -------
    Centres
        Cells, offsets and sizes.

    Raises
    ------
    TypeError
        The boxes aren't floating-point numbers.
    ValueError
        A box has no area or reaches beyond the image, the shape isn't (n, 4), or the size isn't a
        multiple of the stride.

    Notes
    -----
    Taught in :ref:`object-detection` (section 6.1.2).
    Source: Zhou et al. (2019), sections 3 and 4 :cite:p:`zhou2019objects`; sizes are in cells here.

    Examples
    --------
    >>> found = centre_targets(torch.tensor([[2.0, 4.0, 8.0, 6.0]]), size=(8, 8), stride=4)
    >>> found.cells, found.offsets, found.sizes
    (tensor([[1, 1]]), tensor([[0.2500, 0.2500]]), tensor([[1.5000, 0.5000]]))
    """
    _require_map(size, stride)
    _require_boxes(boxes, size)
    height, width = size
    centres = (boxes[:, :2] + boxes[:, 2:]) / 2 / stride
    limits = torch.tensor([width // stride - 1, height // stride - 1], device=boxes.device)
    cells = centres.floor().long().minimum(limits)  # rounding may reach the edge
    sizes = (boxes[:, 2:] - boxes[:, :2]) / stride
    return Centres(cells.flip(1), centres - cells, sizes)


def centre_heatmap(
    boxes: Tensor,
    labels: Tensor,
    *,
    classes: int,
    size: tuple[int, int],
    stride: int,
    min_iou: float = 0.3,
) -> Tensor:
    r"""Draw a Gaussian at the centre of each box on its class's map; where two meet, the larger.

    .. math::
        Y_{kq} = \max_{i:\, y_i = k} \exp\Bigl(-\frac{\lVert q - p_i \rVert^2}{2 \sigma_i^2}\Bigr),
        \qquad \sigma_i = \tfrac13\, r(s_i)

    with the cells :math:`p_i` and sizes :math:`s_i` of :func:`centre_targets` and the radius of
    :func:`gaussian_radius`.

    Parameters
    ----------
    boxes
        Shape (n, 4), left, top, right, bottom in pixels, inside the image; n may be 0.
    labels
        Shape (n,), the class of each box.
    classes
        Number of classes K.
    size
        Height and width of the image in pixels, multiples of the stride.
    stride
        Pixels a cell is wide and high.
    min_iou
        Overlap that a box shifted by the radius keeps; the smaller, the wider the Gaussian.

    Returns
    -------
    Tensor
        Shape (K, height / stride, width / stride), in [0, 1], 1 at each centre.

    Raises
    ------
    TypeError
        The boxes aren't floating-point numbers or the labels aren't integers.
    ValueError
        A box has no area or reaches beyond the image, a label isn't one of the classes, or the
        size isn't a multiple of the stride.

    Notes
    -----
    Taught in :ref:`object-detection` (section 6.1.2).
    Source: Zhou et al. (2019), section 3 :cite:p:`zhou2019objects`, with the radius of Law and Deng
    (2018), section 3.2 :cite:p:`law2018cornernet`.

    Examples
    --------
    >>> box = torch.tensor([[4.0, 0.0, 8.0, 4.0]])
    >>> centre_heatmap(box, torch.tensor([0]), classes=1, size=(4, 12), stride=4).round(decimals=3)
    tensor([[[0., 1., 0.]]])
    """
    require_number("classes", classes, least=1)
    centres = centre_targets(boxes, size=size, stride=stride)
    require_labels("labels", labels, len(boxes), classes)
    _require_overlap(min_iou)
    rows, columns = size[0] // stride, size[1] // stride
    heat = boxes.new_zeros(classes, rows, columns)
    if len(boxes) == 0:
        return heat
    deviation = gaussian_radius(centres.sizes, min_iou=min_iou) / 3
    down = torch.arange(rows, device=boxes.device) - centres.cells[:, :1]
    right = torch.arange(columns, device=boxes.device) - centres.cells[:, 1:]
    square = down[:, :, None].square() + right[:, None, :].square()
    least = torch.finfo(boxes.dtype).tiny
    peaks = torch.exp(-square / (2 * deviation.square().clamp(min=least))[:, None, None])
    where = labels.view(-1, 1, 1).expand_as(peaks)
    return heat.scatter_reduce(0, where, peaks, "amax")


def heatmap_focal_loss(
    logits: Tensor, target: Tensor, *, alpha: float = 2.0, beta: float = 4.0
) -> Tensor:
    r"""Cross-entropy of each cell, less for cells that are right already or near a centre.

    .. math::
        -\frac1N \sum_{q}
        \begin{cases}
        (1 - \hat Y_q)^\alpha \log \hat Y_q & Y_q = 1 \\
        (1 - Y_q)^\beta\, \hat Y_q^\alpha \log(1 - \hat Y_q) & \text{else}
        \end{cases}

    with :math:`\hat Y = \sigma(z)` of the logits z, and N the number of centres, at least 1.

    Parameters
    ----------
    logits
        Any shape, one number a cell.
    target
        The same shape, in [0, 1], as :func:`centre_heatmap` draws it.
    alpha
        How much less a cell counts that is right already.
    beta
        How much less a cell counts that is near a centre.

    Returns
    -------
    Tensor
        A scalar in nats a centre.

    Raises
    ------
    TypeError
        The tensors aren't floating-point numbers of one dtype.
    ValueError
        The shapes differ, a logit isn't finite, the target leaves [0, 1], or an exponent is
        negative.

    Notes
    -----
    Taught in :ref:`object-detection` (section 6.1.2).
    Source: Law and Deng (2018), eq. 1 :cite:p:`law2018cornernet`; Zhou et al. (2019), eq. 1
    :cite:p:`zhou2019objects`.

    Examples
    --------
    >>> heatmap_focal_loss(torch.zeros(2), torch.tensor([1.0, 0.5]))  # (1/4 + 1/64) ln 2
    tensor(0.1841)
    """
    require_float(logits=logits, target=target)
    require_same_shape(logits=logits, target=target)
    require_finite(logits=logits)
    for name, exponent in (("alpha", alpha), ("beta", beta)):
        require_number(name, exponent)
    if seen(((target < 0) | (target > 1)).any()):
        raise ValueError(
            f"target must lie in [0, 1], got {float(target.min()):g} to {float(target.max()):g}; "
            "draw it with centre_heatmap"
        )
    centre = target == 1
    chance = torch.sigmoid(logits)
    found = (1 - chance).pow(alpha) * logsigmoid(logits)
    empty = (1 - target).pow(beta) * chance.pow(alpha) * logsigmoid(-logits)
    total = torch.where(centre, found, empty).sum()
    return -total / centre.sum().clamp(min=1)


def centre_l1(maps: Tensor, values: Tensor, *, cells: Tensor) -> Tensor:
    r"""Mean absolute difference of maps and wanted values, looked at in the centres' cells alone.

    .. math:: \frac1N \sum_{i=1}^N \bigl\lVert \hat S_{p_i} - s_i \bigr\rVert_1

    Parameters
    ----------
    maps
        Shape (b, d, rows, columns), what the network says in each cell of b images.
    values
        Shape (N, d), what is wanted: sizes or offsets of :func:`centre_targets`; N may be 0.
    cells
        Shape (N, 3), image, row and column of each centre.

    Returns
    -------
    Tensor
        A scalar in the unit of the values; 0 where there are no centres.

    Raises
    ------
    TypeError
        Maps or values aren't floating-point numbers, or the cells aren't integers.
    ValueError
        The shapes don't fit, or a cell lies beyond the maps.

    Notes
    -----
    Taught in :ref:`object-detection` (section 6.1.2).
    Source: Zhou et al. (2019), eqs. 2 and 3 :cite:p:`zhou2019objects`.

    Examples
    --------
    >>> maps = torch.zeros(1, 2, 4, 4)
    >>> centre_l1(maps, torch.tensor([[3.0, -1.0]]), cells=torch.tensor([[0, 2, 1]]))
    tensor(4.)
    """
    require_float(maps=maps)
    require_tensor(values=values, cells=cells)
    if cells.is_floating_point() or cells.dtype == torch.bool:
        raise TypeError(f"cells must be integers, got {cells.dtype}; use cells.long()")
    if maps.ndim != 4 or values.shape != (len(cells), maps.shape[1]) or cells.shape[1:] != (3,):
        raise ValueError(
            "maps (b, d, rows, columns), values (N, d) and cells (N, 3) are due, got "
            f"{shape(maps)}, {shape(values)} and {shape(cells)}"
        )
    if len(cells) == 0:
        return maps.sum() * 0
    require_float(maps=maps, values=values)
    image, row, column = cells.unbind(1)
    limits = cells.new_tensor([maps.shape[0], maps.shape[2], maps.shape[3]])
    if seen(((cells < 0) | (cells >= limits)).any()):
        raise ValueError(f"a cell lies beyond the maps, which are {shape(maps)}")
    return (maps[image, :, row, column] - values).abs().sum(1).mean()


def decode(
    logits: Tensor, sizes: Tensor, offsets: Tensor, *, stride: int, keep: int = 100
) -> Detections:
    r"""Read boxes off the maps of one image: a box at each peak, the best first.

    .. math::
        \hat Y_{kq} = \max_{\lVert q' - q \rVert_\infty \le 1} \hat Y_{kq'}
        \;\Rightarrow\; \text{box} = R \Bigl(q + \hat o_q \mp \tfrac12 \hat s_q\Bigr)

    A peak is a cell of a class's map that no neighbour exceeds. Its score is :math:`\hat Y_{kq}`.

    Parameters
    ----------
    logits
        Shape (K, rows, columns), of the heat maps of K classes.
    sizes
        Shape (2, rows, columns), width and height in cells; negative ones count as 0.
    offsets
        Shape (2, rows, columns), where in its cell the centre lies, right and down.
    stride
        Pixels R a cell is wide and high.
    keep
        How many boxes at most.

    Returns
    -------
    Detections
        At most ``keep`` boxes, scores and labels. Boxes may reach beyond the image.

    Raises
    ------
    TypeError
        The maps aren't floating-point numbers of one dtype.
    ValueError
        The shapes don't fit, or stride or keep is below 1.

    Notes
    -----
    Taught in :ref:`object-detection` (section 6.1.2).
    Source: Zhou et al. (2019), section 4 :cite:p:`zhou2019objects`.

    Examples
    --------
    >>> heat = torch.tensor([[[-9.0, 0.0, -1.0]]])
    >>> two, half = torch.full((2, 1, 3), 2.0), torch.full((2, 1, 3), 0.5)
    >>> decode(heat, two, half, stride=4, keep=1)
    Detections(boxes=tensor([[ 2., -2., 10.,  6.]]), scores=tensor([0.5000]), labels=tensor([0]))
    """
    require_float(logits=logits, sizes=sizes, offsets=offsets)
    for name, value in (("stride", stride), ("keep", keep)):
        require_number(name, value, least=1)
    if logits.ndim != 3 or not sizes.shape == offsets.shape == (2, *logits.shape[1:]):
        raise ValueError(
            "logits (K, rows, columns), sizes and offsets (2, rows, columns) are due, got "
            f"{shape(logits)}, {shape(sizes)} and {shape(offsets)}"
        )
    rows, columns = logits.shape[1:]
    peak = logits == max_pool2d(logits[None], 3, stride=1, padding=1)[0]
    ranked = torch.where(peak, logits, -torch.inf).flatten()
    best, places = ranked.topk(min(keep, int(peak.sum())))
    label = places // (rows * columns)
    row, column = places % (rows * columns) // columns, places % columns
    cell = torch.stack([column, row], 1)
    centre = cell + offsets[:, row, column].T
    half = sizes[:, row, column].T.clamp(min=0) / 2
    boxes = stride * torch.cat([centre - half, centre + half], 1)
    return Detections(boxes, torch.sigmoid(best), label)


def match_detections(overlaps: Tensor, *, threshold: float) -> Tensor:
    r"""Give each detection, the best first, the free object that it overlaps most, or none.

    .. math::
        m(i) = \arg\max_{j \notin \{m(1), \dots, m(i-1)\},\ \text{IoU}_{ij} \ge t} \text{IoU}_{ij}

    Parameters
    ----------
    overlaps
        Shape (n, m), intersection over union of n detections, the best first, and m objects of
        one image and one class; each may be 0.
    threshold
        The least overlap t that counts, above 0 and at most 1.

    Returns
    -------
    Tensor
        Shape (n,), the number of the object that each detection found, -1 for a false alarm.

    Raises
    ------
    TypeError
        The overlaps are no floating-point tensor.
    ValueError
        The overlaps are no matrix or leave [0, 1], or the threshold isn't in (0, 1].

    Notes
    -----
    Taught in :ref:`object-detection` (section 6.1.2).
    Source: Lin et al. (2014) :cite:p:`lin2014microsoft`, whose evaluation code ``pycocotools`` is
    the definition; Everingham et al. (2010), section 4.2 :cite:p:`everingham2010pascal`.

    Examples
    --------
    >>> match_detections(torch.tensor([[0.6, 0.8], [0.1, 0.9]]), threshold=0.5)
    tensor([ 1, -1])
    """
    require_tensor(overlaps=overlaps)
    if not overlaps.is_floating_point():
        raise TypeError(f"overlaps must hold floating-point numbers, got {overlaps.dtype}")
    if overlaps.ndim != 2:
        raise ValueError(f"overlaps must be a matrix (n, m), got {shape(overlaps)}")
    if seen(~((overlaps >= 0) & (overlaps <= 1)).all()):
        raise ValueError("overlaps must lie in [0, 1] and hold no NaN")
    _require_overlap(threshold, "threshold")
    found = torch.full((len(overlaps),), -1, device=overlaps.device)
    if overlaps.numel() == 0:
        return found
    near = (overlaps >= min(threshold, 1 - 1e-10)).any(1).nonzero().flatten().tolist()
    taken: set[int] = set()
    for i in near:
        free = [
            (value, j)
            for j, value in enumerate(overlaps[i].tolist())
            if value >= min(threshold, 1 - 1e-10) and j not in taken
        ]
        if free:
            found[i] = max(free)[1]
            taken.add(int(found[i]))
    return found


def average_precision(scores: Tensor, hits: Tensor, *, objects: int) -> Tensor:
    r"""Average, over 101 levels of recall, the best precision at that recall or a higher one.

    .. math::
        \text{AP} = \frac{1}{101} \sum_{r \in \{0, 0.01, \dots, 1\}}
        \max_{i:\, R_i \ge r} P_i, \qquad
        P_i = \frac{h_i}{i}, \quad R_i = \frac{h_i}{n}

    with :math:`h_i` the hits among the i best detections and n the number of objects; the maximum
    over nothing is 0.

    Parameters
    ----------
    scores
        Shape (m,), of the detections of one class in all images; m may be 0.
    hits
        Shape (m,), bool, whether each found an object.
    objects
        How many there are to find, at least 1.

    Returns
    -------
    Tensor
        A scalar in [0, 1].

    Raises
    ------
    TypeError
        The hits aren't bool or the scores aren't floating-point numbers.
    ValueError
        The shapes differ, a score is NaN, there are no objects, or more hits than objects.

    Notes
    -----
    Taught in :ref:`object-detection` (section 6.1.2).
    Source: Lin et al. (2014) :cite:p:`lin2014microsoft`, as ``pycocotools`` computes it; Everingham
    et al. (2010), section 4.2 :cite:p:`everingham2010pascal`, with 11 levels.

    Examples
    --------
    >>> average_precision(torch.tensor([0.9, 0.8]), torch.tensor([False, True]), objects=1)
    tensor(0.5000)
    """
    require_tensor(scores=scores, hits=hits)
    if not scores.is_floating_point() or hits.dtype != torch.bool:
        raise TypeError(f"float scores and bool hits are due, got {scores.dtype} and {hits.dtype}")
    if scores.ndim != 1 or scores.shape != hits.shape:
        raise ValueError(
            f"scores and hits must be (m,) both, got {shape(scores)} and {shape(hits)}"
        )
    if seen(scores.isnan().any()):
        raise ValueError("scores hold NaN: has training diverged?")
    require_number("objects", objects, least=1)
    if seen(hits.sum() > objects):
        raise ValueError(f"{int(hits.sum())} hits of {objects} objects: each can be found once")
    if len(scores) == 0:
        return scores.new_zeros(())
    order = scores.argsort(descending=True, stable=True)
    found = hits[order].cumsum(0).double()
    precision = found / torch.arange(1, len(found) + 1, device=found.device)
    best = precision.flip(0).cummax(0).values.flip(0)
    levels = torch.arange(101, dtype=torch.float64, device=found.device) * 0.01  # as COCO's
    first = torch.searchsorted(found / objects, levels)
    reached = first < len(best)
    return (best[first.clamp(max=len(best) - 1)] * reached).mean().to(scores.dtype)


def _smaller_root(a: float, b: Tensor, c: Tensor) -> Tensor:
    """Return the smaller root of a r² + b r + c with b < 0 < c, without cancellation."""
    root = (b.square() - 4 * a * c).clamp(min=0).sqrt()
    return 2 * c / (root - b)


def _require_overlap(value: float, name: str = "min_iou") -> None:
    require_number(name, value, most=1)
    if value == 0:
        raise ValueError(f"{name} must lie in (0, 1], got 0")


def _require_map(size: tuple[int, int], stride: int) -> None:
    require_number("stride", stride, least=1)
    if len(size) != 2 or any(side < stride or side % stride for side in size):
        raise ValueError(f"size (height, width) must be multiples of the stride {stride}: {size}")


def _require_boxes(boxes: Tensor, size: tuple[int, int]) -> None:
    require_tensor(boxes=boxes)
    if boxes.ndim != 2 or boxes.shape[1] != 4:
        raise ValueError(
            f"boxes must be (n, 4), left, top, right, bottom in pixels, got {shape(boxes)}"
        )
    if boxes.numel() == 0:
        return
    require_float(boxes=boxes)
    height, width = size
    for number, (left, top, right, bottom) in enumerate(boxes.detach().tolist()):
        words = f"box {number} ({left:g}, {top:g}, {right:g}, {bottom:g})"
        if not (left < right and top < bottom):
            raise ValueError(f"{words} has no area; left < right and top < bottom are due")
        if left < 0 or top < 0 or right > width or bottom > height:
            raise ValueError(f"{words} reaches beyond the image of {width} × {height} pixels")
