"""Maps of the places that a backbone's answer came from, and checks of what such maps are worth."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn
from torch.nn.functional import interpolate

from mapping_lib._checks import require_number
from mapping_lib.lab.backbones import Backbone
from mapping_lib.metrics import grad_cam


def maps_of(
    model: Backbone,
    images: Tensor,
    classes: Tensor,
    *,
    layer: str = "body.bn2",
    batch_size: int = 32,
) -> Tensor:
    """Return the Grad-CAM of a class's logit for each image, shape (n, height, width).

    Computed where the model is, returned where the images are; the model is left as it is.

    Parameters
    ----------
    model
        In eval mode.
    images
        Shape (n, 3, height, width), in [0, 1].
    classes
        Shape (n,), of which class each image is asked.
    layer
        Whose maps are taken; by default EfficientNet's last ones.
    batch_size
        Images at a time.

    Raises
    ------
    ValueError
        There is no class for each image, or the layer returned no maps.
    AttributeError
        The model has no such layer.
    """
    if classes.shape != images.shape[:1]:
        raise ValueError(f"{len(images)} images and {tuple(classes.shape)} classes: one for each")
    found: list[Tensor] = []

    def keep(module: nn.Module, arguments: object, output: Tensor) -> Tensor:
        found[:] = [output.detach().requires_grad_()]
        return found[0]

    maps = []
    handle = model.get_submodule(layer).register_forward_hook(keep)
    try:
        batches = torch.split(images, batch_size)
        for batch, asked in zip(batches, torch.split(classes, batch_size), strict=True):
            place = model.mean.device
            with torch.enable_grad():
                logits = model(batch.to(place))
                score = logits.gather(1, asked.to(place)[:, None]).sum()
                (slopes,) = torch.autograd.grad(score, found)
            maps.append(grad_cam(found[0].detach(), slopes))
    finally:
        handle.remove()
    return torch.cat(maps).to(images.device)


def rank_correlation(maps: Tensor, others: Tensor) -> Tensor:
    """Return Spearman's rank correlation of each pair of maps, shape (n,).

    Places of equal value share their mean rank. A map that is the same everywhere says nothing:
    its correlation is 0.

    Parameters
    ----------
    maps, others
        Shape (n, height, width).

    Examples
    --------
    >>> rising = torch.tensor([[[1.0, 2.0, 3.0]]])
    >>> rank_correlation(rising, rising**2), rank_correlation(rising, -rising)
    (tensor([1.]), tensor([-1.]))
    """
    if maps.shape != others.shape:
        raise ValueError(f"maps {tuple(maps.shape)} and {tuple(others.shape)} are no pairs")
    a, b = (_centred_ranks(values.flatten(1)) for values in (maps, others))
    scale = (a.square().sum(1) * b.square().sum(1)).sqrt()
    return torch.where(scale > 0, (a * b).sum(1) / scale.clamp(min=1e-12), torch.zeros(()))


def _centred_ranks(rows: Tensor) -> Tensor:
    """Return each value's rank in its row, less the mean rank."""
    one, other = rows[:, :, None], rows[:, None]
    ranks = (one > other).sum(2) + (one == other).sum(2) / 2
    return ranks - ranks.mean(1, keepdim=True)


def masked(images: Tensor, maps: Tensor, *, share: float) -> Tensor:
    """Grey the places of each image where its map is highest.

    Parameters
    ----------
    images
        Shape (n, channels, height, width).
    maps
        Shape (n, h, w), coarser than the images.
    share
        Of the map's places, from 0 to 1; rounded up to whole places. They take the image's mean.

    Examples
    --------
    >>> masked(torch.tensor([[[[0.0, 1.0]]]]), torch.tensor([[[1.0, 2.0]]]), share=0.5)
    tensor([[[[0.0000, 0.5000]]]])
    """
    require_number("share", share, most=1)
    flat = maps.flatten(1)
    taken = flat.argsort(1, descending=True)[:, : math.ceil(share * flat.shape[1])]
    chosen = torch.zeros_like(flat).scatter(1, taken, 1.0).view(len(maps), 1, *maps.shape[1:])
    where = interpolate(chosen, images.shape[2:]) > 0
    return torch.where(where, images.mean((2, 3), keepdim=True), images)
