"""Characters drawn from matplotlib's fonts: digits, and the letters of thirteen scripts."""

import numpy as np
import torch
from PIL import Image, ImageDraw, ImageFilter, ImageFont

from mapping_lib.lab.data._arguments import at_least_one, check_seed, one_of
from mapping_lib.lab.data._pictures import clipped
from mapping_lib.lab.data._scripts import SCRIPTS
from mapping_lib.lab.data.types import Images, Pixels
from mapping_lib.lab.registry import find, locate

DIGITS = tuple("0123456789")


def rendered_digits(n: int, *, seed: int, size: int = 16) -> Images:
    """Draw digits from matplotlib's fonts, white on black, none rotated.

    Font, shift, scale, stroke width, blur and noise are drawn at random.

    Parameters
    ----------
    n
        How many; the classes take turns, so each has the same number, give or take one.
    seed
        Draws all of it.
    size
        Side in pixels.

    Examples
    --------
    >>> rendered_digits(20, seed=0)
    Images(rendered-digits, all: 20 of 1×16×16, 10 classes)
    """
    at_least_one(n=n, size=size)
    check_seed(seed)
    fonts = _fonts("")
    generator = np.random.default_rng([seed, 1])
    images = np.stack([_glyph(str(k % 10), fonts, size, generator) for k in range(n)])
    return Images(
        torch.from_numpy(images)[:, None],
        torch.arange(n) % 10,
        DIGITS,
        entry="rendered-glyphs",
        split="all",
        domain="rendered-digits",
    )


def rendered_glyphs(split: str, *, per_class: int = 20, seed: int, size: int = 28) -> Images:
    """Draw letters of many scripts, white on black: one class each, for few-shot episodes.

    The scripts of the three splits are disjoint: 577 letters to train on (Latin, Greek, Cyrillic,
    Canadian syllabics), 63 to validate on (Georgian), and 261 to test on (Armenian, Hebrew, Arabic,
    N'Ko, Lao, Ogham, Tifinagh, Old Italic). As the digits are drawn, from the upright and the bold
    DejaVu Sans, which have them all, and rotated by up to 15 degrees.

    Parameters
    ----------
    split
        ``"train"``, ``"validation"`` or ``"test"``.
    per_class
        Images of each letter.
    seed
        Draws all of it.
    size
        Side in pixels.

    Raises
    ------
    ValueError
        An unknown split; the message suggests the nearest known one.

    Examples
    --------
    >>> rendered_glyphs("validation", per_class=2, seed=0)
    Images(rendered-glyphs, validation: 126 of 1×28×28, 63 classes)
    """
    one_of(SCRIPTS, split=split)
    at_least_one(per_class=per_class, size=size)
    check_seed(seed)
    letters = [(script, letter) for script, row in SCRIPTS[split].items() for letter in row]
    fonts = _fonts("DejaVuSans.ttf", "DejaVuSans-Bold.ttf")
    generator = np.random.default_rng([seed, 2])
    images = np.stack(
        [
            _glyph(letter, fonts, size, generator, rotation=15)
            for _, letter in letters
            for _ in range(per_class)
        ]
    )
    return Images(
        torch.from_numpy(images)[:, None],
        torch.arange(len(letters)).repeat_interleave(per_class),
        tuple(f"{script} {letter}" for script, letter in letters),
        entry="rendered-glyphs",
        split=split,
    )


def _fonts(*endings: str) -> list[str]:
    """Return the paths of the entry's fonts that have one of these endings."""
    entry = find("rendered-glyphs")
    return [str(locate(entry, file.path)) for file in entry.files if file.path.endswith(endings)]


def _glyph(
    character: str,
    fonts: list[str],
    size: int,
    generator: np.random.Generator,
    *,
    rotation: float = 0,
) -> Pixels:
    """Draw one character at four times its size, then shrink it."""
    side = 4 * size
    canvas = Image.new("L", (side, side))
    draw = ImageDraw.Draw(canvas)
    font = ImageFont.truetype(
        fonts[generator.integers(len(fonts))], int(side * generator.uniform(0.75, 1.2))
    )
    stroke = int(generator.integers(0, side // 16 + 1))
    shift = generator.uniform(-0.1, 0.1, 2) * side
    middle = (side / 2 + shift[0], side / 2 + shift[1])
    box = draw.textbbox((0, 0), character, font=font, stroke_width=stroke)
    corner = (middle[0] - (box[0] + box[2]) / 2, middle[1] - (box[1] + box[3]) / 2)
    draw.text(corner, character, fill=255, font=font, stroke_width=stroke)
    if rotation:
        angle = generator.uniform(-rotation, rotation)
        canvas = canvas.rotate(angle, Image.Resampling.BILINEAR, center=middle)
    blurred = canvas.filter(ImageFilter.GaussianBlur(generator.uniform(0, side / 24)))
    pixels = np.asarray(blurred.resize((size, size), Image.Resampling.BOX), np.float32) / 255
    noise = generator.normal(0, generator.uniform(0, 0.1), pixels.shape)
    return clipped(pixels + noise)
