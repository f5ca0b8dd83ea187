r"""Transfer across modalities (section 8.1.1): images and words in one space, learned by contrast.

Row i of one modality belongs to row i of the other. All embeddings are scaled to length 1 here, so
that similarities are cosines; give them as they come from the network.
"""

from typing import Any

import torch
from torch import Tensor
from torch.nn.functional import normalize

from mapping_lib._checks import (
    require_features,
    require_labels,
    require_number,
    require_scalar,
    seen,
    shape,
)

__all__ = ["clip_loss", "close_gap", "info_nce", "modality_gap", "zero_shot_weights"]


def info_nce(queries: Tensor, keys: Tensor, *, temperature: float | Tensor) -> Tensor:
    r"""Loss of finding, for each query, its own key among all keys.

    .. math::
       L(u, v) = -\frac1n \sum_{i=1}^{n}
       \log \frac{\exp(u_i^\top v_i / \tau)}{\sum_{j=1}^{m} \exp(u_i^\top v_j / \tau)}

    where u and v are the rows scaled to length 1. It is the cross-entropy of a classifier whose
    classes are the keys. If all keys look alike it is log m.

    Taught in :ref:`cross-modal-transfer` (section 8.1.1).
    Source: :cite:t:`oord2018representation`, eq. 4, with cosines as scores.

    Parameters
    ----------
    queries
        Shape ``(n, d)``, no row zero.
    keys
        Shape ``(m, d)``, m ≥ n and m ≥ 2. Key i belongs to query i; further ones belong to none.
    temperature
        τ > 0, a number or a scalar tensor, which gets a gradient if it requires one.

    Returns
    -------
    Tensor
        A scalar, in nats.

    Raises
    ------
    TypeError
        Inputs that aren't floating-point tensors of one dtype, a temperature that isn't a number.
    ValueError
        NaN, infinite values or a zero row; unequal widths; fewer keys than queries, or only one;
        a temperature that isn't positive and finite.

    Examples
    --------
    >>> info_nce(torch.tensor([[1.0, 0.0]]), torch.tensor([[3.0, 0.0], [0.0, 2.0]]), temperature=1)
    tensor(0.3133)
    """
    u, v, scale = _checked({"queries": queries, "keys": keys}, temperature)
    if len(v) < len(u):
        raise ValueError(
            f"every query needs its key, got {len(u)} queries and {len(v)} keys; "
            "put the key of query i into row i"
        )
    if len(v) == 1:
        raise ValueError(
            "one key only: the loss is 0 whatever the embeddings; give at least two, for contrast"
        )
    logits = u @ v.mT * scale  # (n, m)
    return (logits.logsumexp(1) - logits.diagonal()).mean().to(queries.dtype)


def clip_loss(
    images: Tensor, texts: Tensor, *, temperature: float | Tensor, block: int | None = None
) -> Tensor:
    r"""Loss of finding the text of each image and the image of each text within a batch.

    .. math:: \tfrac12 \bigl( L(u, v) + L(v, u) \bigr)

    where :func:`info_nce` is L: the mean cross-entropy of the rows and of the columns of the
    similarities :math:`z_{ij} = u_i^\top v_j / \tau`. With their softmax over rows
    :math:`p_{ij}` and over columns :math:`q_{ij}`, the gradient is
    :math:`(p_{ij} + q_{ij} - 2 \cdot 1[i = j]) / 2n`.

    Taught in :ref:`cross-modal-transfer` (section 8.1.1).
    Source: :cite:t:`radford2021learning`, figure 3; for medical images
    :cite:t:`zhang2022contrastive`, eqs. 2 to 4.

    Parameters
    ----------
    images, texts
        Shape ``(n, d)``, n ≥ 2, no row zero. Image i and text i are a pair; every other one of the
        batch counts as wrong, also if it would fit as well.
    temperature
        τ > 0, a number or a scalar tensor, which gets a gradient if it requires one. CLIP learns
        :math:`\log(1 / \tau)`, from τ = 0.07.
    block
        Rows and columns of z that are held at a time. The value and the gradients are the same, the
        memory beyond the embeddings grows with block² in place of n²; the gradient computes z once
        more, and has no gradient of its own. None holds all of z.

    Returns
    -------
    Tensor
        A scalar, in nats; log n if nothing is told apart.

    Raises
    ------
    TypeError
        Inputs that aren't floating-point tensors of one dtype, a temperature that isn't a number.
    ValueError
        NaN, infinite values or a zero row; unequal widths or numbers of rows; one pair only; a
        temperature that isn't positive and finite; a block that isn't a whole number from 1 on.

    Examples
    --------
    >>> images = torch.tensor([[1.0, 0.0], [0.0, 1.0]])
    >>> clip_loss(images, images, temperature=1)
    tensor(0.3133)
    >>> clip_loss(images, images.flip(0), temperature=1)
    tensor(1.3133)
    """
    u, v, scale = _checked({"images": images, "texts": texts}, temperature)
    if len(images) != len(texts):
        raise ValueError(
            f"images and texts must be pairs, got {len(images)} images and {len(texts)} texts; "
            "put the text of image i into row i, repeated where several images share it"
        )
    if len(images) == 1:
        raise ValueError(
            "one pair only: the loss is 0 whatever the embeddings; give at least two, for contrast"
        )
    if block is not None:
        if not isinstance(block, int) or isinstance(block, bool) or block < 1:
            raise ValueError(f"block must be a whole number, at least 1, or None, got {block!r}")
        found: Tensor = _BlockedClip.apply(u, v, scale, block)
    else:
        logits = u @ v.mT * scale  # (n, n)
        sums = logits.logsumexp(1) + logits.logsumexp(0)
        found = (sums / 2 - logits.diagonal()).mean()
    return found.to(images.dtype)


def zero_shot_weights(prompts: Tensor, labels: Tensor, *, classes: int | None = None) -> Tensor:
    r"""Write a classifier from words: for each class the mean of its prompts, on the unit sphere.

    .. math::
       w_k = \frac{m_k}{\lVert m_k \rVert},
       \qquad m_k = \frac{1}{n_k} \sum_{i:\, y_i = k} \frac{t_i}{\lVert t_i \rVert}

    The class of an image with the embedding x is that of the largest :math:`w_k^\top x`.

    Taught in :ref:`cross-modal-transfer` (section 8.1.1).
    Source: :cite:t:`radford2021learning`, section 3.1.4.

    Parameters
    ----------
    prompts
        Embeddings t of the prompts of all classes, ``(n, d)``, no row zero.
    labels
        The class of each, ``(n,)``, integers from 0.
    classes
        Number of classes K; by default, one more than the largest label.

    Returns
    -------
    Tensor
        Shape ``(K, d)``, each row of length 1.

    Raises
    ------
    TypeError
        Prompts that aren't a floating-point tensor, labels that aren't integers.
    ValueError
        NaN, infinite values or a zero row; labels of another shape or beyond K; a class without a
        prompt, or with prompts that cancel out.

    Examples
    --------
    >>> prompts = torch.tensor([[5.0, 0.0], [0.0, 0.1], [-2.0, 0.0]])
    >>> zero_shot_weights(prompts, torch.tensor([0, 0, 1]))
    tensor([[ 0.7071,  0.7071],
            [-1.0000,  0.0000]])
    """
    unit = _unit(prompts=prompts)["prompts"]
    if classes is not None and (not isinstance(classes, int) or classes < 1):
        raise ValueError(f"classes must be a whole number, at least 1, got {classes!r}")
    require_labels("labels", labels, len(prompts), classes)
    count = int(labels.max()) + 1 if classes is None else classes
    sizes = torch.bincount(labels, minlength=count)
    if seen((sizes == 0).any()):
        missing = (sizes == 0).nonzero().flatten().tolist()
        raise ValueError(f"no prompt for the classes {missing}; write at least one for each")
    sums = unit.new_zeros(count, unit.shape[1]).index_add(0, labels, unit)
    lengths = (sums / sizes[:, None]).norm(dim=1, keepdim=True)
    if seen((lengths < 8 * torch.finfo(unit.dtype).eps).any()):
        gone = (lengths.flatten() < 8 * torch.finfo(unit.dtype).eps).nonzero().flatten().tolist()
        raise ValueError(
            f"the prompts of the classes {gone} point in opposite directions and cancel out; "
            "leave one of them out"
        )
    weights: Tensor = sums / sizes[:, None] / lengths
    return weights.to(prompts.dtype)


def modality_gap(images: Tensor, texts: Tensor) -> Tensor:
    r"""Vector from the mean text to the mean image, on the unit sphere; its norm is the gap.

    .. math::
       \Delta = \frac1n \sum_{i=1}^{n} \frac{x_i}{\lVert x_i \rVert}
       - \frac1m \sum_{j=1}^{m} \frac{t_j}{\lVert t_j \rVert}

    Its norm lies between 0 and 2. No gap of the means doesn't say that the two sets are alike, for
    which see :func:`mapping_lib.distances.mmd`.

    Taught in :ref:`cross-modal-transfer` (section 8.1.1).
    Source: :cite:t:`liang2022mind`, section 4.2.

    Parameters
    ----------
    images, texts
        Shape ``(n, d)`` and ``(m, d)``, no row zero; pairs aren't needed.

    Returns
    -------
    Tensor
        Shape ``(d,)``.

    Raises
    ------
    TypeError
        Inputs that aren't floating-point tensors of one dtype.
    ValueError
        NaN, infinite values or a zero row; unequal widths.

    Examples
    --------
    >>> images = torch.tensor([[2.0, 0.0], [0.0, 3.0]])
    >>> modality_gap(images, torch.tensor([[0.0, 1.0]]))
    tensor([ 0.5000, -0.5000])
    """
    unit = _unit(images=images, texts=texts)
    return (unit["images"].mean(0) - unit["texts"].mean(0)).to(images.dtype)


def close_gap(
    images: Tensor, texts: Tensor, *, gap: Tensor, share: float = 1.0
) -> tuple[Tensor, Tensor]:
    r"""Shift images and texts towards each other, half of the way each, back onto the sphere.

    .. math::
       x_i' = \frac{u_i - \lambda \Delta}{\lVert u_i - \lambda \Delta \rVert},
       \qquad
       t_j' = \frac{v_j + \lambda \Delta}{\lVert v_j + \lambda \Delta \rVert}

    where u and v are the rows scaled to length 1 and λ is half the share. For share 1 the means
    meet before the rows are scaled again; a negative share widens the gap.

    Taught in :ref:`cross-modal-transfer` (section 8.1.1).
    Source: :cite:t:`liang2022mind`, section 4.2.

    Parameters
    ----------
    images, texts
        Shape ``(n, d)`` and ``(m, d)``, no row zero.
    gap
        Δ of :func:`modality_gap`, ``(d,)``; measure it on training rows if these are new ones.
    share
        Part of the gap to take away, a finite number.

    Returns
    -------
    tuple of Tensor
        The shifted images and texts, each row of length 1.

    Raises
    ------
    TypeError
        Inputs that aren't floating-point tensors of one dtype.
    ValueError
        NaN, infinite values or a zero row, before or after the shift; unequal widths; a gap that
        isn't a vector of that width.

    Examples
    --------
    >>> images, texts = torch.tensor([[1.0, 0.0]]), torch.tensor([[0.0, 1.0]])
    >>> close_gap(images, texts, gap=modality_gap(images, texts))
    (tensor([[0.7071, 0.7071]]), tensor([[0.7071, 0.7071]]))
    """
    unit = _unit(images=images, texts=texts)
    require_number("share", share, least=-1e9, most=1e9)
    if gap.shape != (images.shape[1],):
        raise ValueError(
            f"gap must be a vector ({images.shape[1]},), got the shape {shape(gap)}; "
            "make it with modality_gap"
        )
    require_features(gap=gap[None])
    step = share / 2 * gap
    moved = _unit(shifted_images=unit["images"] - step, shifted_texts=unit["texts"] + step)
    return moved["shifted_images"].to(images.dtype), moved["shifted_texts"].to(texts.dtype)


class _BlockedClip(torch.autograd.Function):
    """The symmetric loss of unit rows, tile after tile of their similarities."""

    @staticmethod
    def forward(ctx: Any, u: Tensor, v: Tensor, scale: Tensor, block: int) -> Tensor:
        """Sum up each tile's exponentials, by row and by column."""
        rows, columns = (u.new_full((len(u),), -torch.inf) for _ in range(2))
        for i in range(0, len(u), block):
            for j in range(0, len(v), block):
                tile = u[i : i + block] @ v[j : j + block].mT * scale
                for axis, sums, at in ((1, rows, i), (0, columns, j)):
                    part = sums[at : at + block]
                    torch.logaddexp(part, tile.logsumexp(axis), out=part)
        ctx.save_for_backward(u, v, scale, rows, columns)
        ctx.block = block
        return ((rows + columns) / 2 - (u * v).sum(1) * scale).mean()

    @staticmethod
    def backward(ctx: Any, outer: Tensor) -> tuple[Tensor, Tensor, Tensor, None]:
        """Compute the tiles again, and what their softmaxes weigh."""
        if torch.is_grad_enabled():  # once_differentiable would let this pass, and be wrong
            raise RuntimeError(
                "the gradient of the loss in blocks has no gradient of its own, which create_graph "
                "asks for; use block=None"
            )
        u, v, scale, rows, columns = ctx.saved_tensors
        block, n = ctx.block, len(u)
        of_u, of_v = torch.zeros_like(u), torch.zeros_like(v)  # of the sum over all tiles
        for i in range(0, n, block):
            for j in range(0, n, block):
                a, b = u[i : i + block], v[j : j + block]
                tile = a @ b.mT * scale
                slopes = (tile - rows[i : i + block, None]).exp()
                slopes += tile.sub_(columns[None, j : j + block]).exp_()  # (rows, columns)
                of_u[i : i + block] += slopes @ b
                of_v[j : j + block] += slopes.mT @ a
        of_u -= 2 * v
        of_v -= 2 * u
        factor = outer / (2 * n)
        return of_u * factor * scale, of_v * factor * scale, (of_u * u).sum() * factor, None


def _unit(**sets: Tensor) -> dict[str, Tensor]:
    """Scale rows to length 1, in 32 bits at least; refuse those that have no direction."""
    require_features(least=1, **sets)
    found = {}
    for name, rows in sets.items():
        wide = rows.to(torch.promote_types(rows.dtype, torch.float32))
        largest = wide.detach().abs().amax(1, keepdim=True)
        if seen((largest == 0).any()):
            zero = (largest.flatten() == 0).nonzero().flatten().tolist()
            raise ValueError(
                f"{name} has rows that are zero and so have no direction: {zero[:5]}"
                f"{' …' if len(zero) > 5 else ''}; remove them, or look for dead units"
            )
        found[name] = normalize(wide / largest, eps=0.0)  # squares of huge rows stay finite
    return found


def _checked(sets: dict[str, Tensor], temperature: float | Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Return both sets with rows of length 1, and the inverse temperature."""
    u, v = _unit(**sets).values()
    if isinstance(temperature, Tensor):
        require_scalar(temperature=temperature)
        wrong = seen(~((temperature > 0) & (temperature < torch.inf)))  # NaN as well
    else:
        if isinstance(temperature, str) or not hasattr(temperature, "__float__"):
            raise TypeError(f"temperature must be a number, got {temperature!r}")
        wrong = not 0 < temperature < torch.inf
    if wrong:
        raise ValueError(
            f"temperature must be positive and finite, got {float(temperature):g}; "
            "CLIP starts at 0.07"
        )
    return u, v, torch.as_tensor(temperature, dtype=u.dtype, device=u.device).reciprocal()
