import pytest
import torch

from mapping_lib.lab.data import (
    Clips,
    Features,
    Images,
    Measurements,
    Scenes,
    TaggedSentences,
    Texts,
    Translations,
)

SET = {"entry": "somewhere", "split": "all"}
TWO = {"labels": torch.tensor([0, 1]), "classes": ("a", "b")}
GOOD = {
    Images: TWO | {"images": torch.rand(2, 1, 4, 5)},
    Features: TWO | {"features": torch.rand(2, 3)},
    Measurements: {
        "features": torch.rand(2, 3),
        "values": torch.rand(2),
        "names": ("x", "y", "z"),
    },
    Texts: TWO | {"texts": ("one", "two")},
    TaggedSentences: {
        "sentences": (("Ann", "Lee", "sings"), ("no",)),
        "tags": (("B-PER", "I-PER", "O"), ("O",)),
        "types": ("PER",),
    },
    Translations: {"sources": ("a", "b"), "targets": ("c", "d"), "languages": ("en", "de")},
    Clips: TWO
    | {
        "waves": (torch.zeros(8), torch.ones(12)),
        "rate": 4,
        "speakers": torch.tensor([0, 0]),
        "voices": ("x",),
    },
    Scenes: {
        "images": (torch.rand(3, 4, 6), torch.rand(3, 5, 5)),
        "boxes": (torch.tensor([[0.0, 1, 6, 4]]), torch.zeros(0, 4)),
        "labels": (torch.tensor([1]), torch.zeros(0).long()),
        "classes": ("a", "b"),
        "masks": (torch.full((4, 6), 7), None),
        "regions": {7: "sky"},
    },
}


def made(kind, **changes):
    return kind(**(SET | GOOD[kind] | changes))


@pytest.mark.parametrize(
    ("kind", "words"),
    [
        (Images, "Images(somewhere, all: 2 of 1×4×5, 2 classes)"),
        (Features, "Features(somewhere, all: 2 rows of 3, 2 classes)"),
        (Measurements, "Measurements(somewhere, all: 2 rows of 3, one number each)"),
        (Texts, "Texts(somewhere, all: 2 texts, 2 classes)"),
        (TaggedSentences, "TaggedSentences(somewhere, all: 2 sentences, 4 tokens, 1 types)"),
        (Translations, "Translations(somewhere, all: 2 pairs, en→de)"),
        (Clips, "Clips(somewhere, all: 2 clips, 5 s at 4 Hz, 2 classes, 1 voices)"),
        (Scenes, "Scenes(somewhere, all: 2 images, 1 objects, 2 classes, 1 masks)"),
    ],
)
def test_examples_tell_what_they_are_and_not_what_they_hold(kind, words):
    assert repr(made(kind)) == words
    assert len(made(kind)) == 2
    assert repr(made(kind, domain="part")) == words.replace("somewhere", "part")
    assert made(kind).domain == "somewhere"
    assert made(kind, domain="part").entry == "somewhere"


NAN = torch.tensor([[0.0, 1.0], [torch.nan, 1.0]])
BAD = [
    (Images, {"images": torch.rand(2, 4, 4)}, r"shape \(n, channels, height, width\)"),
    (Images, {"images": torch.rand(0, 1, 4, 4), "labels": torch.zeros(0).long()}, "n at least 1"),
    (Images, {"images": torch.ones(2, 1, 4, 4).byte()}, "must be floats"),
    (Images, {"images": torch.full((2, 1, 4, 4), 255.0)}, r"lie in \[0, 1\].*divide bytes by 255"),
    (Images, {"images": torch.full((2, 1, 4, 4), torch.nan)}, "hold no NaN"),
    (Images, {"labels": torch.tensor([0])}, "labels must be 2 int64 numbers, one an example"),
    (Images, {"labels": torch.tensor([0.0, 1])}, "int64 numbers"),
    (Images, {"labels": torch.tensor([0, 2])}, r"must lie in 0 … 1 \(there are 2 classes\)"),
    (Images, {"labels": torch.tensor([0, -1])}, r"got -1 … 0"),
    (Features, {"features": torch.rand(2)}, r"shape \(n, width\)"),
    (Features, {"features": NAN}, "hold NaN or infinity"),
    (Features, {"labels": torch.tensor([0, 1, 1])}, "labels must be 2 int64 numbers"),
    (Features, {"names": ("x", "y")}, "2 names for 3 features: one for each is due"),
    (Measurements, {"values": torch.rand(2, 1)}, "values must be 2 numbers of torch.float32"),
    (Measurements, {"values": torch.rand(2).double()}, "numbers of torch.float32, one an example"),
    (Measurements, {"values": torch.tensor([0.0, torch.nan])}, "values hold NaN or infinity"),
    (Measurements, {"features": NAN, "names": ()}, "features hold NaN or infinity"),
    (Texts, {"texts": ()}, "texts is empty: at least one text is due"),
    (Texts, {"texts": ("one", " ")}, r"texts\[1\] must be a text that isn't blank, got ' '"),
    (Texts, {"texts": ("one", 2)}, r"texts\[1\] must be a text"),
    (Texts, {"texts": ("one", "two", "three")}, "labels must be 3 int64"),
    (TaggedSentences, {"sentences": (), "tags": ()}, "0 sentences and 0 rows of tags"),
    (TaggedSentences, {"tags": (("O", "O", "O"),)}, "2 sentences and 1 rows of tags"),
    (TaggedSentences, {"tags": (("O", "O"), ("O",))}, "sentence 0 has 3 tokens and 2 tags"),
    (TaggedSentences, {"types": ("LOC",)}, r"tags \['B-PER', 'I-PER'\], not in BIO .* LOC"),
    (Translations, {"targets": ("c",)}, "2 sources and 1 targets"),
    (Translations, {"targets": ("c", "")}, r"targets\[1\] must be a text"),
    (Clips, {"waves": ()}, "there are no clips"),
    (Clips, {"waves": (torch.zeros(8), torch.zeros(0))}, "clip 1 must be floats"),
    (Clips, {"waves": (torch.zeros(2, 8), torch.zeros(3))}, r"clip 0 must be floats of shape"),
    (Clips, {"waves": (torch.zeros(8), torch.full((3,), 2.0))}, r"clip 1 must lie in \[-1, 1\]"),
    (Clips, {"waves": (torch.full((8,), torch.nan), torch.zeros(3))}, "hold no NaN"),
    (Clips, {"speakers": torch.tensor([0, 1])}, r"speakers must lie in 0 … 0"),
    (Scenes, {"images": ()}, "0 images, 2 sets of boxes"),
    (Scenes, {"masks": (None,)}, "1 masks: at least one image"),
    (
        Scenes,
        {"boxes": (torch.tensor([[0.0, 1, 7, 4]]), torch.zeros(0, 4))},
        r"scene 0: a box reaches beyond the image of 6 × 4 pixels",
    ),
    (
        Scenes,
        {"boxes": (torch.tensor([[-1.0, 1, 5, 4]]), torch.zeros(0, 4))},
        r"scene 0: a box reaches beyond",
    ),
    (
        Scenes,
        {"boxes": (torch.tensor([[2.0, 1, 2, 4]]), torch.zeros(0, 4))},
        r"scene 0: a box has no area",
    ),
    (Scenes, {"boxes": (torch.rand(1, 5), torch.zeros(0, 4))}, r"boxes \(objects, 4\) are due"),
    (
        Scenes,
        {"labels": (torch.tensor([2]), torch.zeros(0).long())},
        r"scene 0: labels must lie in 0 … 1",
    ),
    (Scenes, {"masks": (torch.full((4, 5), 7), None)}, r"mask is \(4, 5\), the image \(4, 6\)"),
    (Scenes, {"masks": (torch.full((4, 6), 8), None)}, r"numbers \[8\], which have no name"),
    (Scenes, {"images": (torch.rand(1, 4, 6), torch.rand(3, 5, 5))}, r"image \(3, h, w\) in"),
]


@pytest.mark.parametrize(("kind", "changes", "words"), BAD)
def test_examples_are_checked(kind, changes, words):
    with pytest.raises(ValueError, match=words):
        made(kind, **changes)
