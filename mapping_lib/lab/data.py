"""Images the notebooks learn from, each set split and labelled, each pixel in [0, 1].

Every file comes through :mod:`mapping_lib.lab.registry`, so its hash has been checked.
"""

import io
import zipfile
from dataclasses import dataclass
from pathlib import PurePosixPath

import numpy as np
import numpy.typing as npt
import torch
from PIL import Image, ImageDraw, ImageFilter, ImageFont
from torch import Tensor

from mapping_lib._names import suggest
from mapping_lib.lab.registry import CorruptKnowledge, check_tier, find, locate

Pixels = npt.NDArray[np.float32]
DIGITS = tuple("0123456789")


@dataclass(frozen=True)
class Images:
    """Labelled images of one domain and one split.

    Attributes
    ----------
    images
        Shape (n, channels, height, width), float, in [0, 1].
    labels
        Shape (n,), integers that index ``classes``.
    classes
        Name of each class.
    domain, split
        The entry that the images are from, and what they are for ("train", "test", "all").
    """

    images: Tensor
    labels: Tensor
    classes: tuple[str, ...]
    domain: str
    split: str

    def __post_init__(self) -> None:
        images, labels = self.images, self.labels
        if images.ndim != 4 or not images.is_floating_point() or len(images) == 0:
            raise ValueError(
                "images must be floats of shape (n, channels, height, width) with n at least 1, "
                f"got {images.dtype} {tuple(images.shape)}"
            )
        if labels.shape != images.shape[:1] or labels.dtype != torch.int64:
            raise ValueError(
                f"labels must be {len(images)} int64 numbers, one an image, "
                f"got {labels.dtype} {tuple(labels.shape)}"
            )
        if not (images.min() >= 0 and images.max() <= 1):  # false for NaN, too
            raise ValueError("images must lie in [0, 1] and hold no NaN; divide bytes by 255")
        if labels.min() < 0 or labels.max() >= len(self.classes):
            raise ValueError(
                f"labels must lie in 0 … {len(self.classes) - 1} (there are {len(self.classes)} "
                f"classes), got {int(labels.min())} … {int(labels.max())}"
            )

    def __len__(self) -> int:
        return len(self.images)

    def __repr__(self) -> str:
        shape = "×".join(map(str, self.images.shape[1:]))
        return (
            f"Images({self.domain}, {self.split}: {len(self)} of {shape}, "
            f"{len(self.classes)} classes)"
        )


def transfer_problem(tier: str, *, seed: int, labels_per_class: int = 1) -> tuple[Images, Images]:
    """Return the training and test images of the fine-tuning problem of a tier.

    Taught in :ref:`pytorch-fine-tuning` (section 5.2).

    Parameters
    ----------
    tier
        ``"bundled"`` and ``"full"`` take the photographs at 96 pixels; ``"real"`` takes the ants
        and bees at 224.
    seed, labels_per_class
        As :func:`photographs` takes them; they change nothing of the ants and bees, whose split
        is the official one.

    Raises
    ------
    ValueError
        An unknown tier.
    MissingKnowledge, CorruptKnowledge
        As :func:`hymenoptera` raises them.
    """
    if check_tier(tier) == "real":
        return hymenoptera(size=224)
    return photographs(labels_per_class, seed=seed, size=96)


def photograph(name: str, *, size: int = 224) -> Images:
    """Return one of the twenty pictures whole: in colour if it has any, its middle square.

    Parameters
    ----------
    name
        Its class in :func:`photographs`, such as ``"china"``.
    size
        Side of the square in pixels.

    Raises
    ------
    ValueError
        There is no such picture; the message suggests the nearest name.

    Examples
    --------
    >>> photograph("china").images.shape
    torch.Size([1, 3, 224, 224])
    """
    _at_least_one(size=size)
    entry = find("photographs")
    names = {_class_name(file.path): file.path for file in entry.files}
    if name not in names:
        raise ValueError(f"there is no photograph {name!r}" + suggest(name, names))
    picture = _square(locate(entry, names[name]).read_bytes(), size)
    return Images(picture[None], torch.tensor([0]), (name,), "photographs", "all")


def photographs(
    labels_per_class: int, *, seed: int, size: int = 96, test_per_class: int = 20
) -> tuple[Images, Images]:
    """Cut patches from twenty pictures; the class of a patch is the picture it was cut from.

    Training patches come from the left half of each picture, test patches from the right half,
    so no pixel is in both. All are square, grey (repeated to three channels), 40 to 80 % of the
    half's shorter side, with random contrast (0.5 to 1.5) and brightness (-0.2 to 0.2).

    Parameters
    ----------
    labels_per_class
        Training patches of each picture, at least 1. The first ones are the same for any number.
    seed
        Draws the training patches. The test patches are the same for every seed.
    size
        Side of a patch in pixels.
    test_per_class
        Test patches of each picture.

    Examples
    --------
    >>> train, test = photographs(1, seed=0, size=32)
    >>> train, test
    (Images(photographs, train: 20 of 3×32×32, 20 classes), Images(photographs, test: 400 of \
3×32×32, 20 classes))
    """
    _at_least_one(labels_per_class=labels_per_class, size=size, test_per_class=test_per_class)
    _check_seed(seed)
    entry = find("photographs")
    pictures = [Image.open(locate(entry, file.path)).convert("L") for file in entry.files]
    classes = tuple(_class_name(file.path) for file in entry.files)

    def patches(count: int, half: int, stream: int) -> Images:
        cut = [
            _patch(picture, half, size, generator)
            for k, picture in enumerate(pictures)
            for generator in [np.random.default_rng([stream, k])]
            for _ in range(count)
        ]
        labels = torch.arange(len(pictures)).repeat_interleave(count)
        images = torch.from_numpy(np.stack(cut))[:, None].repeat(1, 3, 1, 1)
        return Images(images, labels, classes, "photographs", ("train", "test")[half])

    return patches(labels_per_class, 0, seed + 1), patches(test_per_class, 1, 0)


def _class_name(path: str) -> str:
    """Return what a picture is called here: its file's name, or plainer words."""
    stem = PurePosixPath(path).stem
    plainer = {"chelsea": "cat", "hubble_deep_field": "stars", "ihc": "tissue", "page": "print"}
    return plainer.get(stem, stem.removesuffix("_motion").removesuffix("_left"))


def _patch(picture: Image.Image, half: int, size: int, generator: np.random.Generator) -> Pixels:
    """Cut one jittered patch from the left (0) or the right (1) half of a grey picture."""
    width, height = picture.width // 2, picture.height
    side = int(generator.uniform(0.4, 0.8) * min(width, height))
    left = (picture.width - width) * half + int(generator.integers(width - side + 1))
    top = int(generator.integers(height - side + 1))
    cut = picture.crop((left, top, left + side, top + side))
    pixels = np.asarray(cut.resize((size, size), Image.Resampling.BILINEAR), np.float32) / 255
    contrast, brightness = generator.uniform(0.5, 1.5), generator.uniform(-0.2, 0.2)
    changed = (pixels - pixels.mean()) * contrast + pixels.mean() + brightness
    return _clipped(changed)


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
    _at_least_one(n=n, size=size)
    _check_seed(seed)
    entry = find("rendered-digits")
    fonts = [str(locate(entry, file.path)) for file in entry.files]
    generator = np.random.default_rng([seed, 1])
    images = np.stack([_digit(str(k % 10), fonts, size, generator) for k in range(n)])
    labels = torch.arange(n) % 10
    return Images(torch.from_numpy(images)[:, None], labels, DIGITS, "rendered-digits", "all")


def _digit(digit: str, fonts: list[str], size: int, generator: np.random.Generator) -> Pixels:
    """Draw one digit at four times its size, then shrink it."""
    side = 4 * size
    canvas = Image.new("L", (side, side))
    draw = ImageDraw.Draw(canvas)
    font = ImageFont.truetype(
        fonts[generator.integers(len(fonts))], int(side * generator.uniform(0.75, 1.2))
    )
    stroke = int(generator.integers(0, side // 16 + 1))
    shift = generator.uniform(-0.1, 0.1, 2) * side
    middle = (side / 2 + shift[0], side / 2 + shift[1])
    box = draw.textbbox((0, 0), digit, font=font, stroke_width=stroke)
    corner = (middle[0] - (box[0] + box[2]) / 2, middle[1] - (box[1] + box[3]) / 2)
    draw.text(corner, digit, fill=255, font=font, stroke_width=stroke)
    blurred = canvas.filter(ImageFilter.GaussianBlur(generator.uniform(0, side / 24)))
    pixels = np.asarray(blurred.resize((size, size), Image.Resampling.BOX), np.float32) / 255
    noise = generator.normal(0, generator.uniform(0, 0.1), pixels.shape)
    return _clipped(pixels + noise)


def handwritten_digits(*, size: int = 16) -> Images:
    """Return scikit-learn's 1,797 handwritten digits, enlarged from 8×8, white on black.

    >>> handwritten_digits()
    Images(handwritten-digits, all: 1797 of 1×16×16, 10 classes)
    """
    _at_least_one(size=size)
    table = np.loadtxt(locate("handwritten-digits"), delimiter=",", dtype=np.float32)
    pixels = torch.from_numpy(table[:, :-1].reshape(-1, 1, 8, 8) / 16)
    images = torch.nn.functional.interpolate(pixels, (size, size), mode="bilinear", antialias=True)
    labels = torch.from_numpy(table[:, -1]).long()
    return Images(images.clamp(0, 1), labels, DIGITS, "handwritten-digits", "all")


def hymenoptera(*, size: int = 224) -> tuple[Images, Images]:
    """Return the ants and bees, the official training and validation pictures.

    The shorter side is scaled to ``size`` and the middle square is cut out. The pictures must not
    be shown in anything that is published (their entry says so); numbers about them may.

    Parameters
    ----------
    size
        Side of the square in pixels.

    Raises
    ------
    MissingKnowledge, CorruptKnowledge
        The archive isn't there, or isn't the variant that the registry knows.
    """
    _at_least_one(size=size)
    classes = ("ants", "bees")
    pictures: dict[str, list[Tensor]] = {"train": [], "val": []}
    labels: dict[str, list[int]] = {"train": [], "val": []}
    path = locate("hymenoptera")
    try:
        with zipfile.ZipFile(path) as archive:
            for name in sorted(archive.namelist()):
                match PurePosixPath(name).parts:
                    case (_, ("train" | "val") as split, ("ants" | "bees") as kind, _):
                        pictures[split].append(_square(archive.read(name), size))
                        labels[split].append(classes.index(kind))
    except (zipfile.BadZipFile, OSError, EOFError) as error:
        raise CorruptKnowledge(
            f"{path} can't be read ({error}): the archive or a picture in it is damaged"
        ) from error
    if not (pictures["train"] and pictures["val"]):
        raise CorruptKnowledge(f"{path} holds no train/ and val/ folders with ants and bees")
    train, test = (
        Images(torch.stack(pictures[split]), torch.tensor(labels[split]), classes, "hymenoptera", s)
        for split, s in (("train", "train"), ("val", "test"))
    )
    return train, test


def _square(content: bytes, size: int) -> Tensor:
    """Decode a picture, scale its shorter side to size, and cut the middle square out."""
    with Image.open(io.BytesIO(content)) as opened:
        picture = opened.convert("RGB")
    side = min(picture.size)
    left, top = (picture.width - side) // 2, (picture.height - side) // 2
    box = (left, top, left + side, top + side)
    scaled = picture.resize((size, size), Image.Resampling.BILINEAR, box)
    return torch.from_numpy(np.asarray(scaled, np.float32) / 255).permute(2, 0, 1).contiguous()


def _clipped(pixels: npt.NDArray[np.floating]) -> Pixels:
    """Cut values off at 0 and 1."""
    return np.asarray(np.clip(pixels, 0, 1), np.float32)


def _check_seed(seed: int) -> None:
    """Refuse what NumPy can't take, and -1, which would draw training patches as test ones are."""
    if not isinstance(seed, int | np.integer) or seed < 0:
        raise ValueError(f"seed must be a whole number from 0, got {seed!r}")


def _at_least_one(**counts: int) -> None:
    """Refuse counts and sizes below one."""
    for name, count in counts.items():
        if not isinstance(count, int | np.integer) or count < 1:
            raise ValueError(f"{name} must be at least 1 and whole, got {count!r}")
