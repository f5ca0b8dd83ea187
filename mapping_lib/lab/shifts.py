"""Differences between source and target that are made on purpose, so that what they do is known."""

from __future__ import annotations

from typing import Literal, NamedTuple, get_args

import torch
from torch import Tensor
from torch.nn.functional import interpolate

from mapping_lib.lab.data import breast_cancer, diabetes, wine
from mapping_lib.lab.data._arguments import at_least_one, one_of

Table = Literal["breast cancer", "wine", "diabetes"]
Style = Literal["haze", "haze and light"]

BIASES: dict[Table, tuple[tuple[str, str], float, int]] = {
    "breast cancer": (("worst radius", "worst texture"), 2.0, 100),
    "wine": (("alcohol", "hue"), 1.0, 50),
    "diabetes": (("body mass index", "log triglycerides"), 1.0, 100),
}
"""Of each table the two columns used, how strongly a biased sample prefers small values of the
first, and its number of rows."""


class Shifted(NamedTuple):
    """A labelled source and a labelled target, whose labels are for testing, and the true ratio.

    Made by :func:`shifted_curve` and :func:`biased_table`.
    """

    source: Tensor
    source_truth: Tensor
    target: Tensor
    target_truth: Tensor
    ratio: Tensor


def shifted_curve(
    *,
    generator: torch.Generator,
    shift: float = 0.8,
    source_rows: int = 150,
    target_rows: int = 200,
) -> Shifted:
    r"""Draw points of a curve where the source is, and others where the target is.

    :math:`y = \sin(\pi x) / (\pi x) + \varepsilon`, noise of deviation 0.1;
    :math:`x \sim N(1, 0.5^2)` in the source and :math:`N(1 + \text{shift}, 0.3^2)` in the target. A
    line fits neither well, and another one each. After :cite:t:`sugiyama2007covariate`.

    Parameters
    ----------
    generator
        Draws the points.
    shift
        How far the target's mean x is from the source's.
    source_rows, target_rows
        How many points to draw.

    Examples
    --------
    >>> drawn = shifted_curve(generator=torch.Generator().manual_seed(0))
    >>> drawn.source.shape, drawn.target.shape, drawn.ratio.shape
    (torch.Size([150, 1]), torch.Size([200, 1]), torch.Size([150]))
    """
    at_least_one(source_rows=source_rows, target_rows=target_rows)

    def draw(count: int, mean: float, sd: float) -> tuple[Tensor, Tensor]:
        x = mean + sd * torch.randn(count, 1, generator=generator, dtype=torch.float64)
        noise = 0.1 * torch.randn(count, generator=generator, dtype=torch.float64)
        return x, curve(x.squeeze(1)) + noise

    x_s, y_s = draw(source_rows, 1.0, 0.5)
    x_t, y_t = draw(target_rows, 1 + shift, 0.3)
    return Shifted(x_s, y_s, x_t, y_t, curve_ratio(x_s.squeeze(1), shift=shift))


def curve(x: Tensor) -> Tensor:
    """Return what the points of :func:`shifted_curve` scatter around.

    >>> curve(torch.tensor([0.0, 1.0])).round(decimals=3).abs()
    tensor([1., 0.])
    """
    return torch.sinc(x)


def curve_ratio(x: Tensor, *, shift: float = 0.8) -> Tensor:
    """Return the true density ratio of :func:`shifted_curve`, target over source.

    >>> curve_ratio(torch.tensor([1.0]), shift=0.0)  # narrower by 5/3, so as much higher
    tensor([1.6667])
    """
    target, source = (x - 1 - shift) / 0.3, (x - 1) / 0.5
    return 0.5 / 0.3 * torch.exp((source.square() - target.square()) / 2)


def biased_table(name: Table, *, seed: int, biased: bool = True) -> Shifted:
    """Split a table in halves; the target is one of them, the source a biased sample of the other.

    A row of the source's half is drawn, without replacement, in proportion to exp(-s z), where z is
    its first column, standardised, and s the strength in :data:`BIASES`. The columns are
    standardised by the target's mean and deviation, which take no labels.

    Parameters
    ----------
    name
        A key of :data:`BIASES`.
    seed
        Draws halves and sample.
    biased
        False draws the sample evenly.

    Returns
    -------
    Shifted
        Labels, or the numbers to predict. The ratio is 1 / exp(-s z), which holds up to a factor
        and as long as the sample is small against its half.

    Raises
    ------
    ValueError
        There is no such table.
    """
    one_of(BIASES, name=name)
    names, strength, size = BIASES[name]
    truth: Tensor
    if name == "diabetes":
        measured = diabetes()
        rows, truth, known = measured.features, measured.values, measured.names
    else:
        table = breast_cancer() if name == "breast cancer" else wine()
        rows, truth, known = table.features, table.labels, table.names
    rows = rows[:, [known.index(column) for column in names]]
    generator = torch.Generator().manual_seed(seed)
    pool, held = torch.randperm(len(rows), generator=generator).tensor_split(2)
    rows = (rows - rows[held].mean(0)) / rows[held].std(0)
    first = rows[pool, 0]
    chance = torch.exp(-strength * (first - first.mean()) / first.std() * biased)
    drawn = torch.multinomial(chance, size, generator=generator)  # without replacement
    source = pool[drawn]
    return Shifted(rows[source], truth[source], rows[held], truth[held], 1 / chance[drawn])


def hazed(images: Tensor, style: Style) -> Tensor:
    """Show images in haze, which takes contrast, or in haze under a light from below.

    Parameters
    ----------
    images
        Shape (n, channels, height, width), in [0, 1]; so is the result.
    style
        ``"haze"`` or ``"haze and light"``.

    Raises
    ------
    ValueError
        There is no such style.

    Examples
    --------
    >>> hazed(torch.ones(1, 1, 2, 2), "haze").unique()
    tensor([0.8500])
    """
    one_of(get_args(Style), style=style)
    if style == "haze":
        return 0.25 * images + 0.6
    light = torch.linspace(0, 1, images.shape[-2]).to(images)
    return (0.35 * images + 0.6 * light[:, None]).clamp(0, 1)


def standardised(images: Tensor) -> Tensor:
    """Bring each image to the mean 0.5 and the standard deviation 0.25.

    Parameters
    ----------
    images
        Shape (n, channels, height, width), in [0, 1]; so is the result.

    Examples
    --------
    >>> standardised(torch.tensor([[[[0.1, 0.3]]]])).flatten()
    tensor([0.2500, 0.7500])
    """
    mean = images.mean((1, 2, 3), keepdim=True)
    spread = images.std((1, 2, 3), correction=0, keepdim=True).clamp(min=1e-4)
    return ((images - mean) / spread * 0.25 + 0.5).clamp(0, 1)


def cropped(images: Tensor, generator: torch.Generator, *, least: float = 0.6) -> Tensor:
    """Cut a square from each image, enlarge it to the image's size, and mirror half of them.

    Parameters
    ----------
    images
        Square ones, shape (n, channels, side, side).
    generator
        Draws side, place and mirroring.
    least
        Least side of the cut as a share of the image's.

    Examples
    --------
    >>> cropped(torch.rand(3, 1, 8, 8), torch.Generator()).shape
    torch.Size([3, 1, 8, 8])
    """
    n, side = len(images), images.shape[-1]
    cut = torch.empty_like(images)
    for i in range(n):
        a, b, c, mirror = torch.rand(4, generator=generator).tolist()
        size = round(side * (least + (1 - least) * a))
        top, left = int(b * (side - size + 1)), int(c * (side - size + 1))
        piece = images[i : i + 1, :, top : top + size, left : left + size]
        piece = piece.flip(-1) if mirror < 0.5 else piece
        cut[i] = interpolate(piece, (side, side), mode="bilinear", antialias=True)[0]
    return cut
