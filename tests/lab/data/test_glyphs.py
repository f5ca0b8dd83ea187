import numpy as np
import pytest
import torch
from PIL import Image, ImageDraw, ImageFont

from mapping_lib.lab.data import rendered_digits, rendered_glyphs
from mapping_lib.lab.data._scripts import SCRIPTS
from mapping_lib.lab.data.glyphs import _fonts


def test_rendered_digits():
    digits = rendered_digits(200, seed=0)
    assert digits.images.shape == (200, 1, 16, 16)
    assert digits.labels.bincount().tolist() == [20] * 10
    assert digits.classes == tuple("0123456789")
    assert (digits.entry, digits.domain) == ("rendered-glyphs", "rendered-digits")
    assert torch.equal(digits.images, rendered_digits(200, seed=0).images)
    assert not torch.equal(digits.images, rendered_digits(200, seed=1).images)
    ink = digits.images.mean((1, 2, 3))
    assert ink.min() > 0.02  # something is drawn, white on black
    assert ink.max() < 0.7
    assert rendered_digits(7, seed=0, size=32).images.shape == (7, 1, 32, 32)


def told_apart(train, test):
    """Share of the test images that lie nearest to the mean of their class."""
    k = len(train.classes)
    means = torch.stack([train.images[train.labels == c].mean(0).flatten() for c in range(k)])
    distances = torch.cdist(test.images.flatten(1), means)
    return (distances.argmin(1) == test.labels).double().mean()


def test_rendered_digits_are_told_apart_by_a_nearest_mean():
    assert told_apart(rendered_digits(600, seed=0), rendered_digits(200, seed=1)) > 0.35


def test_rendered_glyphs():
    glyphs = rendered_glyphs("validation", per_class=3, seed=0)
    assert glyphs.images.shape == (189, 1, 28, 28)
    assert glyphs.labels.bincount().tolist() == [3] * 63
    assert glyphs.classes[0] == "Georgian ა"
    assert (glyphs.entry, glyphs.domain, glyphs.split) == (
        "rendered-glyphs",
        "rendered-glyphs",
        "validation",
    )
    assert torch.equal(glyphs.images, rendered_glyphs("validation", per_class=3, seed=0).images)
    other = rendered_glyphs("validation", per_class=3, seed=1)
    assert not torch.equal(glyphs.images, other.images)
    assert glyphs.images.mean((1, 2, 3)).min() > 0.01
    assert told_apart(glyphs, other) > 0.1  # chance is 1/63


def test_splits_of_the_scripts():
    counts = {s: sum(map(len, scripts.values())) for s, scripts in SCRIPTS.items()}
    assert counts == {"train": 577, "validation": 63, "test": 261}
    names = [name for scripts in SCRIPTS.values() for name in scripts]
    assert len(set(names)) == len(names) == 13


def outline(letter, font):
    """Draw a letter so that its longer side fills 24 pixels."""
    canvas = Image.new("L", (240, 240))
    ImageDraw.Draw(canvas).text((70, 50), letter, fill=255, font=font)
    cut = canvas.crop(canvas.getbbox())
    width, height = (max(1, round(side * 24 / max(cut.size))) for side in cut.size)
    whole = Image.new("L", (24, 24))
    small = cut.resize((width, height), Image.Resampling.BOX)
    whole.paste(small, ((24 - width) // 2, (24 - height) // 2))
    return np.asarray(whole, float).ravel()


def test_no_two_letters_look_alike():
    """Not Latin A and Greek Α, nor a letter that the font hasn't and draws as an empty box."""
    (path,) = _fonts("DejaVuSans.ttf")
    font = ImageFont.truetype(path, 96)
    letters = [c for scripts in SCRIPTS.values() for row in scripts.values() for c in row]
    drawn = torch.from_numpy(np.stack([outline(letter, font) for letter in letters]))
    ink = drawn.sum(1)
    share = torch.cdist(drawn, drawn, p=1) / torch.maximum(ink, ink[:, None])
    share.fill_diagonal_(1)
    assert share.min() >= 0.4


@pytest.mark.parametrize("seed", [-1, 1.5, "1", None])
@pytest.mark.parametrize("draw", [rendered_digits, lambda n, **s: rendered_glyphs("test", **s)])
def test_bad_seeds(draw, seed):
    with pytest.raises(ValueError, match=r"seed must be a whole number from 0, got"):
        draw(1, seed=seed, size=8)


@pytest.mark.parametrize("n", [0, -8, 1.5, "3"])
def test_counts_that_cannot_be(n):
    with pytest.raises(ValueError, match="n must be at least 1 and whole, got"):
        rendered_digits(n, seed=0)
    with pytest.raises(ValueError, match="per_class must be at least 1 and whole, got"):
        rendered_glyphs("test", per_class=n, seed=0)


def test_an_unknown_split():
    with pytest.raises(ValueError, match=r"unknown split 'tset'; did you mean 'test'\?"):
        rendered_glyphs("tset", seed=0)
