"""What a layer knows: crops of photographs with known properties, and linear probes that read them.

Each crop has three properties that can be measured on its pixels and two that cannot. A probe is a
linear model on frozen features :cite:p:`alain2017understanding`: what it can read stands there in
plain sight, whatever else may be hidden.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from types import MappingProxyType

import torch
from sklearn.linear_model import LogisticRegression, RidgeCV
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from torch import Tensor
from torch.nn.functional import avg_pool2d, interpolate

from mapping_lib._modules import first_outputs
from mapping_lib._names import suggest
from mapping_lib.features import extract
from mapping_lib.lab.backbones import Backbone
from mapping_lib.lab.data import photograph, photographs

STAGES: Mapping[str, str] = MappingProxyType(
    {"stem": "bn1"} | {f"stage {k + 1}": f"blocks.{k}" for k in range(7)} | {"head": "global_pool"}
)
"""Layers of EfficientNet-Lite0 by the names of the text, from the stem to what the head sees."""

MEASURED = ("brightness", "warmth", "direction")
"""Properties that are numbers, measured on the pixels."""

NAMED = ("turn", "picture")
"""Properties that are classes, namely which way is up and which picture it was cut from."""

SIDE = 448  # of the square that is cut into halves


@dataclass(frozen=True)
class Crops:
    """Crops and their properties.

    Attributes
    ----------
    images
        Shape (n, 3, size, size), in [0, 1].
    properties
        By name, shape (n,): real numbers for those of :data:`MEASURED`, classes for :data:`NAMED`.
    """

    images: Tensor
    properties: Mapping[str, Tensor]

    def __len__(self) -> int:
        return len(self.images)

    def __repr__(self) -> str:
        return f"Crops({len(self)} of {'×'.join(map(str, self.images.shape[1:]))})"


@cache
def _pictures() -> Tensor:
    """Return the twenty pictures, in colour where they have any, (20, 3, side, side)."""
    names = photographs(1, seed=0, size=8, test_per_class=1)[0].classes
    return torch.cat([photograph(name, size=SIDE).images for name in names])


def crops(count: int, *, half: str, seed: int, size: int = 96) -> Crops:
    """Cut crops from one half of each of the twenty pictures, and say what is true of each.

    A crop is a square of 40 to 90 % of the half's width, turned by none to three quarter turns,
    with random exposure (× 0.6 to 1.6) and colour of the light (red and blue × 0.75 to 1.25 and
    the reverse). Of the crop as it is then, brightness is the mean of its pixels, warmth the mean
    of red minus blue, and direction the share of the brightness's squared changes that go across
    (1: all upright edges, −1: all level ones).

    Parameters
    ----------
    count
        Crops of each picture, at least 1.
    half
        ``"left"`` or ``"right"``: no pixel is in both.
    seed
        Draws them.
    size
        Side of a crop in pixels.

    Raises
    ------
    ValueError
        No crop, or another half.

    Examples
    --------
    >>> crops(2, half="left", seed=0, size=32)
    Crops(40 of 3×32×32)
    """
    if half not in ("left", "right"):
        raise ValueError(f"half must be 'left' or 'right', not {half!r}")
    if count < 1:
        raise ValueError(f"count must be at least 1, got {count}")
    generator = torch.Generator().manual_seed(2 * seed + (half == "right"))
    width = SIDE // 2
    found, turns = [], []
    for picture in _pictures()[..., :width] if half == "left" else _pictures()[..., width:]:
        for _ in range(count):
            share, across, down, exposure, colour = torch.rand(5, generator=generator).tolist()
            turn = int(torch.randint(4, (), generator=generator))
            side = int((0.4 + 0.5 * share) * width)
            left, top = int(across * (width - side)), int(down * (SIDE - side))
            cut = picture[:, top : top + side, left : left + side]
            cut = interpolate(cut[None], size, mode="bilinear", antialias=True)[0]
            light = 0.6 * (1.6 / 0.6) ** exposure
            gains = torch.tensor([0.75 + 0.5 * colour, 1.0, 1.25 - 0.5 * colour]) * light
            changed = (cut * gains[:, None, None]).clamp(0, 1)
            found.append(changed.rot90(turn, (1, 2)))
            turns.append(turn)
    images = torch.stack(found)
    grey = images.mean(1)
    across, down = (grey.diff(dim=axis).square().mean((1, 2)) for axis in (2, 1))
    properties = {
        "brightness": images.mean((1, 2, 3)),
        "warmth": (images[:, 0] - images[:, 2]).mean((1, 2)),
        "direction": (across - down) / (across + down + 1e-8),
        "turn": torch.tensor(turns),
        "picture": torch.arange(len(images) // count).repeat_interleave(count),
    }
    return Crops(images, MappingProxyType(properties))


def by_stage(model: Backbone, images: Tensor) -> dict[str, Tensor]:
    """Take features after each of the :data:`STAGES` of EfficientNet-Lite0.

    Parameters
    ----------
    model
        :func:`mapping_lib.lab.backbones.efficientnet_lite0`, trained or not.
    images
        Shape (n, 3, height, width), in [0, 1].
    """
    found = extract(model.body, (images - model.mean) / model.std, layers=list(STAGES.values()))
    return {name: found[layer] for name, layer in STAGES.items()}


def coarse_pixels(images: Tensor, *, side: int = 8) -> Tensor:
    """Shrink images to a few squares of colour: features that no network made, (n, 3·side²).

    Parameters
    ----------
    images
        Shape (n, 3, height, width), height and width multiples of `side`.
    side
        Squares in a row.
    """
    return avg_pool2d(images, images.shape[-1] // side).flatten(1)


def probe(train: Tensor, labels: Tensor, test: Tensor, truth: Tensor) -> float:
    """Read a property off features by a linear model, and return how well, on other rows.

    Classes: accuracy of a logistic regression. Numbers: the share of their variance that a ridge
    regression explains, R², whose ridge is chosen on the training rows. Features are standardised.

    Parameters
    ----------
    train, test
        Features (n, d) and (m, d).
    labels, truth
        The property of each row, integers for classes.

    Raises
    ------
    ValueError
        Rows and labels don't fit.

    Examples
    --------
    >>> rows = torch.tensor([[0.0], [1.0], [2.0], [3.0]])
    >>> probe(rows, torch.tensor([0, 0, 1, 1]), rows, torch.tensor([0, 0, 1, 1]))
    1.0
    """
    if len(train) != len(labels) or len(test) != len(truth):
        raise ValueError(
            f"one label a row is due, got {len(labels)} for {len(train)} and {len(truth)} for "
            f"{len(test)}"
        )
    if labels.is_floating_point():
        model = RidgeCV(alphas=[10.0**k for k in range(-2, 5)])
    else:
        model = LogisticRegression(max_iter=2000)
    fitted = make_pipeline(StandardScaler(), model).fit(train.numpy(), labels.numpy())
    score = float(fitted.score(test.numpy(), truth.numpy()))
    assert math.isfinite(score)
    return score


def maps_by_stage(model: Backbone, image: Tensor, stages: Sequence[str]) -> dict[str, Tensor]:
    """Take the feature maps of one image after some of the :data:`STAGES`, not averaged.

    Parameters
    ----------
    model
        :func:`mapping_lib.lab.backbones.efficientnet_lite0`, trained or not.
    image
        Shape (1, 3, height, width), in [0, 1].
    stages
        Names of stages.

    Returns
    -------
    dict of str to Tensor
        By stage, shape (channels, height, width).

    Raises
    ------
    ValueError
        There is no such stage, or the head's input, which has no places any more.
    """
    for name in stages:
        if name not in STAGES or name == "head":
            raise ValueError(f"there is no map of {name!r}{suggest(name, list(STAGES)[:-1])}")
    modules = dict(model.body.named_modules())
    wanted = {STAGES[name]: modules[STAGES[name]] for name in stages}
    found = first_outputs(model.body, (image - model.mean) / model.std, wanted)
    return {name: found[STAGES[name]][0] for name in stages}
