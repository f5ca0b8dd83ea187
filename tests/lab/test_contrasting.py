import pytest
import torch

from mapping_lib.lab.contrasting import DESCRIPTIONS, Towers, learn
from mapping_lib.lab.data import photographs


def pairs(seed=0):
    generator = torch.Generator().manual_seed(seed)
    texts = torch.randn(6, 2, 7, generator=generator)
    images = (texts.mean(1) @ torch.randn(7, 9, generator=generator)).repeat(3, 1) + 5
    return images, torch.arange(6).repeat(3), texts


def towers_of(images, texts, **settings):
    return Towers(images, texts.flatten(0, 1), **({"width": 8, "seed": 0} | settings))


def test_every_photograph_has_three_descriptions():
    classes = photographs(1, seed=0, size=8, test_per_class=1)[0].classes
    assert tuple(DESCRIPTIONS) == classes
    texts = [text for three in DESCRIPTIONS.values() for text in three]
    assert len(set(texts)) == 60


def test_towers_give_unit_rows_and_take_off_the_mean():
    images, _, texts = pairs()
    towers = towers_of(images, texts)
    found = towers.of_images(images)
    assert torch.allclose(found.norm(dim=1), torch.ones(18))
    assert torch.allclose(towers.of_images(2 * towers.image_mean - images), -found, atol=1e-4)
    plain = towers_of(images, texts, centre=False)
    assert torch.equal(plain.image_mean, torch.zeros(9))
    assert not torch.allclose(plain.of_images(images), found, atol=0.1)
    assert towers.temperature.item() == pytest.approx(0.07)
    assert towers_of(images, texts, temperature=1e-5).temperature.item() == pytest.approx(0.01)


def test_learning_finds_the_pairs_and_repeats():
    images, concepts, texts = pairs()
    ends = []
    for _ in range(2):
        towers = towers_of(images, texts)
        losses = learn(
            towers, images, concepts, texts, steps=80, batch_size=6, dropout=0.0, rate=0.01, seed=1
        )
        ends.append(losses)
    assert ends[0] == ends[1]
    assert losses[-1] < losses[0] / 3
    scores = towers.of_images(images) @ towers.of_texts(texts.mean(1)).mT
    assert (scores.argmax(1) == concepts).all()
    assert towers.log_scale.requires_grad
    fixed = towers_of(images, texts, learned=False, temperature=0.3)
    learn(fixed, images, concepts, texts, steps=3, batch_size=2, seed=0)
    assert fixed.temperature.item() == pytest.approx(0.3)


def test_concepts_without_images_take_no_part():
    images, concepts, texts = pairs()
    kept = concepts < 3
    towers = towers_of(images, texts)
    learn(towers, images[kept], concepts[kept], texts, steps=2, batch_size=3, seed=0)
    with pytest.raises(ValueError, match=r"between 2 and 3, the number of concepts.* got 4"):
        learn(towers, images[kept], concepts[kept], texts, steps=2, batch_size=4, seed=0)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"batch_size": 1}, "between 2 and 6"),
        ({"steps": 0}, "steps must lie"),
        ({"dropout": 1.0}, "dropout must lie"),
    ],
)
def test_bad_settings(change, words):
    images, concepts, texts = pairs()
    settings = {"steps": 2, "batch_size": 2, "seed": 0} | change
    with pytest.raises(ValueError, match=words):
        learn(towers_of(images, texts), images, concepts, texts, **settings)
    with pytest.raises(ValueError, match=r"labels|concepts"):
        learn(towers_of(images, texts), images, concepts[:4], texts, steps=1, batch_size=2, seed=0)
