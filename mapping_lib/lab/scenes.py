"""Scenes of cut-out things on real photographs, with boxes and masks, and weather over them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import numpy.typing as npt
import torch
from PIL import Image, ImageDraw, ImageFilter, ImageFont
from torch import Tensor
from torch.nn.functional import interpolate

from mapping_lib.lab.data import Scenes
from mapping_lib.lab.data._arguments import at_least_one, check_seed, one_of
from mapping_lib.lab.data._pictures import clipped
from mapping_lib.lab.data.types import Pixels
from mapping_lib.lab.registry import find, locate

THINGS = {
    "airplane": "\N{AIRPLANE}",
    "anchor": "\N{ANCHOR}",
    "scissors": "\N{BLACK SCISSORS}",
    "star": "\N{BLACK STAR}",
    "telephone": "\N{BLACK TELEPHONE}",
    "umbrella": "\N{UMBRELLA}",
}
"""The classes, and the character of DejaVu Sans whose outline is cut out."""

TEXTURES = (
    "brick",
    "chelsea",
    "coffee",
    "flower",
    "grass",
    "gravel",
    "ihc",
    "retina",
)
"""Photographs that things are cut from."""

GROUNDS = ("astronaut", "camera", "china", "coins", "moon", "motorcycle_left", "rocket", "text")
"""Photographs that stand behind the things."""

SPLITS = ("train", "test")
_FONTS = ("DejaVuSans.ttf", "DejaVuSans-Bold.ttf", "DejaVuSans-Oblique.ttf")
_VISIBLE = 0.5  # least share of a thing that others leave to be seen


def scenes(
    n: int,
    *,
    seed: int,
    split: str = "train",
    size: int = 128,
    things: tuple[int, int] = (2, 5),
    sides: tuple[float, float] = (0.12, 0.45),
) -> Scenes:
    """Draw scenes: things cut from photographs, put on other photographs, some partly hidden.

    A thing has the outline of a symbol (six classes) and the surface of a patch of a photograph,
    is turned by up to 25 degrees and stretched by up to a quarter, and is made lighter or darker
    than what is behind it. In the split "train" grounds and surfaces come from the left halves of
    the photographs, in "test" from the right halves, so no pixel is in both. Boxes and masks are
    those of what can be seen; at least half of each thing can.

    Parameters
    ----------
    n
        How many scenes. The first ones are the same for any number.
    seed
        Draws all of it.
    split
        ``"train"`` or ``"test"``.
    size
        Side of a scene in pixels.
    things
        Least and largest number of things in a scene.
    sides
        Least and largest side of a thing as a share of the scene's, drawn evenly in its logarithm.

    Returns
    -------
    Scenes
        Masks hold 0 for the ground and 1 + class for a thing.

    Raises
    ------
    ValueError
        An unknown split, or a number that can't be right.

    Examples
    --------
    >>> scenes(2, seed=0, size=64)
    Scenes(scenes, train: 2 images, 7 objects, 6 classes, 2 masks)
    """
    at_least_one(n=n, size=size)
    check_seed(seed)
    one_of(SPLITS, split=split)
    if not 1 <= things[0] <= things[1]:
        raise ValueError(f"things must be a least and a largest number from 1, got {things}")
    if not 0 < sides[0] <= sides[1] <= 0.9:
        raise ValueError(f"sides must be two shares, 0 < least <= largest <= 0.9, got {sides}")
    half = SPLITS.index(split)
    grounds, surfaces = ([_half(name, half) for name in names] for names in (GROUNDS, TEXTURES))
    drawn = [
        _scene(np.random.default_rng([seed, half, k]), grounds, surfaces, size, things, sides)
        for k in range(n)
    ]
    images, boxes, labels, masks = zip(*drawn, strict=True)
    return Scenes(
        images,
        boxes,
        labels,
        tuple(THINGS),
        masks,
        dict(enumerate(["ground", *THINGS])),
        entry="photographs",
        split=split,
        domain="scenes",
    )


def foggy(images: Tensor, strength: float = 1.0) -> Tensor:
    r"""Put fog over images: nothing at the lower edge, most at the upper one, which is far away.

    Light of a thing at distance d fades and the fog's own light takes its place,
    :math:`x\,e^{-\beta d} + a\,(1 - e^{-\beta d})` :cite:p:`sakaridis2018semantic`, with a = 0.85,
    distances from 0.25 at the lower to 1 at the upper edge, and β twice the strength.

    Parameters
    ----------
    images
        Shape (n, 3, height, width), in [0, 1]; so is the result.
    strength
        From 0, no fog, to 1, where an eighth of the contrast is left at the upper edge.

    Examples
    --------
    >>> foggy(torch.zeros(1, 3, 2, 2), 1.0)[0, 0, :, 0].round(decimals=2)
    tensor([0.7300, 0.3300])
    """
    _share(strength)
    distance = torch.linspace(1, 0.25, images.shape[-2]).to(images)[:, None]
    left = torch.exp(-2 * strength * distance)
    clouded: Tensor = images * left + 0.85 * (1 - left)
    return clouded


def nightly(images: Tensor, strength: float = 1.0, *, generator: torch.Generator) -> Tensor:
    """Show images at night: dark, bluish, with the noise of a sensor that had little light.

    Parameters
    ----------
    images
        Shape (n, 3, height, width), in [0, 1]; so is the result.
    strength
        From 0, by day, to 1: a quarter of the light.
    generator
        Draws the noise.

    Examples
    --------
    >>> dark = nightly(torch.ones(1, 3, 64, 64), 1.0, generator=torch.Generator())
    >>> dark.mean((0, 2, 3)).round(decimals=2)
    tensor([0.2000, 0.2500, 0.3500])
    """
    _share(strength)
    light = 0.25**strength * torch.tensor([0.8, 1.0, 1.4]).to(images).view(3, 1, 1) ** strength
    noise = torch.randn(images.shape, generator=generator).to(images)
    dark: Tensor = (images * light + 0.04 * strength * noise).clamp(0, 1)
    return dark


def shifted(images: Tensor, shift: str, strength: float = 1.0, *, seed: int = 0) -> Tensor:
    """Put the weather of a name over images: ``"clear"``, ``"fog"`` or ``"night"``.

    Examples
    --------
    >>> shifted(torch.ones(1, 3, 1, 1), "clear").flatten()
    tensor([1., 1., 1.])
    """
    one_of(("clear", "fog", "night"), shift=shift)
    if shift == "night":
        return nightly(images, strength, generator=torch.Generator().manual_seed(seed))
    return foggy(images, strength) if shift == "fog" else images


def _share(strength: float) -> None:
    if not 0 <= strength <= 1:
        raise ValueError(f"strength must lie in [0, 1], got {strength}")


def _half(stem: str, half: int) -> Image.Image:
    """Return the left (0) or the right (1) half of a photograph, in colour."""
    entry = find("photographs")
    path = next(file.path for file in entry.files if f"/{stem}." in file.path)
    with Image.open(locate(entry, path)) as opened:
        picture = opened.convert("RGB")
    middle = picture.width // 2
    left = (picture.width - middle) * half
    return picture.crop((left, 0, left + middle, picture.height))


def _patch(picture: Image.Image, size: tuple[int, int], generator: np.random.Generator) -> Pixels:
    """Cut a random patch of the shape of `size` (width, height) and scale it to it."""
    width, height = size
    most = min(picture.width / width, picture.height / height)
    scale = most * generator.uniform(0.5, 1.0)
    across, down = scale * width, scale * height
    left = generator.uniform(0, picture.width - across)
    top = generator.uniform(0, picture.height - down)
    box = (left, top, left + across, top + down)
    cut = picture.resize(size, Image.Resampling.BILINEAR, box)
    if generator.random() < 0.5:
        cut = cut.transpose(Image.Transpose.FLIP_LEFT_RIGHT)
    return clipped(np.asarray(cut) / 255)


def _outline(character: str, side: float, generator: np.random.Generator) -> Pixels:
    """Draw a symbol, turned and stretched, and cut away the empty border; values are opacity."""
    entry = find("rendered-glyphs")
    fonts = [file.path for file in entry.files if file.path.endswith(_FONTS)]
    path = locate(entry, fonts[int(generator.integers(len(fonts)))])
    canvas = Image.new("L", (400, 400))
    font = ImageFont.truetype(str(path), 200)
    ImageDraw.Draw(canvas).text((200, 200), character, fill=255, font=font, anchor="mm")
    canvas = canvas.rotate(generator.uniform(-25, 25), Image.Resampling.BILINEAR)
    if generator.random() < 0.5:
        canvas = canvas.transpose(Image.Transpose.FLIP_LEFT_RIGHT)
    canvas = canvas.crop(canvas.getbbox())
    stretch = np.sqrt(generator.uniform(0.8, 1.25))
    scale = side / max(canvas.width * stretch, canvas.height / stretch)
    width = max(round(canvas.width * stretch * scale), 4)
    height = max(round(canvas.height / stretch * scale), 4)
    drawn = canvas.resize((width, height), Image.Resampling.BOX)
    return clipped(np.asarray(drawn) / 255)


Drawn = tuple[Tensor, Tensor, Tensor, Tensor]


def _scene(
    generator: np.random.Generator,
    grounds: Sequence[Image.Image],
    surfaces: Sequence[Image.Image],
    size: int,
    things: tuple[int, int],
    sides: tuple[float, float],
) -> Drawn:
    """Draw one scene: image, boxes, labels, mask."""
    picture = _patch(grounds[int(generator.integers(len(grounds)))], (size, size), generator)
    picture = picture * 0.8 + 0.1  # room for things that are lighter or darker
    owner = np.full((size, size), -1)  # the thing that a pixel shows
    areas: list[int] = []
    labels: list[int] = []
    characters = list(THINGS.values())
    wanted = int(generator.integers(things[0], things[1] + 1))
    for _ in range(10 * wanted):  # what would hide too much of another is drawn anew elsewhere
        if len(labels) == wanted:
            break
        kind = int(generator.integers(len(characters)))
        side = size * np.exp(generator.uniform(*np.log(sides)))
        opacity = _outline(characters[kind], side, generator)
        height, width = opacity.shape
        top = int(generator.integers(size - height + 1))
        left = int(generator.integers(size - width + 1))
        place = (slice(top, top + height), slice(left, left + width))
        covers = opacity > 0.5
        tried = owner.copy()
        tried[place][covers] = len(labels)
        seen = np.bincount(tried[tried >= 0], minlength=len(labels) + 1)
        if (seen[:-1] < _VISIBLE * np.array(areas)).any() or not covers.any():
            continue
        owner = tried
        areas.append(int(covers.sum()))
        labels.append(kind)
        surface = _surface(surfaces, picture[place], generator)
        picture[place] += opacity[..., None] * (surface - picture[place])
    softened = Image.fromarray((picture.clip(0, 1) * 255).astype(np.uint8))
    softened = softened.filter(ImageFilter.GaussianBlur(generator.uniform(0, 0.7)))
    image = torch.from_numpy(np.asarray(softened, np.float32) / 255).permute(2, 0, 1).contiguous()
    boxes = torch.tensor([_box(owner == k) for k in range(len(labels))])
    mask = torch.from_numpy(np.append(labels, -1)[owner] + 1)
    return image, boxes, torch.tensor(labels), mask


def _surface(
    surfaces: Sequence[Image.Image], behind: Pixels, generator: np.random.Generator
) -> Pixels:
    """Cut a surface, tint it, and make it lighter or darker than what is behind."""
    height, width = behind.shape[:2]
    cut = _patch(surfaces[int(generator.integers(len(surfaces)))], (width, height), generator)
    level = float(behind.mean())
    step = generator.uniform(0.15, 0.4) * (1 if level < generator.uniform(0.3, 0.7) else -1)
    tint = generator.uniform(-0.08, 0.08, 3)
    changed = 0.6 * (cut - cut.mean()) + level + step + tint
    return clipped(changed)


def _box(shown: npt.NDArray[np.bool_]) -> list[float]:
    """Return left, top, right and bottom of the pixels that are shown."""
    rows, columns = np.flatnonzero(shown.any(1)), np.flatnonzero(shown.any(0))
    return [float(columns[0]), float(rows[0]), float(columns[-1] + 1), float(rows[-1] + 1)]


def fitted(found: Scenes, *, size: int) -> Scenes:
    """Scale images of any size to squares, the rest grey, and boxes and masks with them.

    Parameters
    ----------
    found
        Images with boxes, such as COCO's.
    size
        Side of the squares in pixels; the longer side of an image fills it.

    Returns
    -------
    Scenes
        Of the same entry and split. A box keeps at least one pixel. Masks show 255 where there is
        no image, and that key is named "outside".
    """
    at_least_one(size=size)
    images, boxes = [], []
    masks: list[Tensor | None] = []
    for image, around, mask in zip(found.images, found.boxes, found.masks, strict=True):
        height, width = image.shape[1:]
        scale = size / max(height, width)
        shape = (max(round(height * scale), 1), max(round(width * scale), 1))
        square = torch.full((3, size, size), 0.5)
        small = interpolate(image[None], shape, mode="bilinear", antialias=True)[0].clamp(0, 1)
        square[:, : shape[0], : shape[1]] = small
        limits = torch.tensor([shape[1], shape[0]] * 2, dtype=torch.float32)
        box = (around * scale).minimum(limits)
        box[:, :2] = box[:, :2].minimum((box[:, 2:] - 1).clamp(min=0))
        box[:, 2:] = box[:, 2:].maximum(box[:, :2] + 1)
        images.append(square)
        boxes.append(box)
        if mask is not None:
            whole = torch.full((size, size), 255)
            nearest = interpolate(mask[None, None].float(), shape, mode="nearest-exact")
            whole[: shape[0], : shape[1]] = nearest[0, 0].long()
            masks.append(whole)
        else:
            masks.append(None)
    return replace(
        found,
        images=tuple(images),
        boxes=tuple(boxes),
        masks=tuple(masks),
        regions=found.regions | {255: "outside"},
    )
