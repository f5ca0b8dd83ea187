import copy
import itertools

import pytest
import torch
from torch.testing import assert_close

from mapping_lib.lab.data.entities import entities
from mapping_lib.lab.data.types import TaggedSentences
from mapping_lib.lab.entities import bio_labels, bio_rules, entity_scores
from mapping_lib.lab.language import minilm
from mapping_lib.lab.tagging import Tagger, Words, character_features, train_tagger

LABELS = bio_labels(("LOC", "PER"))


@pytest.fixture(scope="module")
def encoder():
    return minilm()


@pytest.fixture(scope="module")
def news(encoder):
    return Words(entities("news", "train", count=60), LABELS, encoder=encoder)


def sentences(*texts):
    rows = tuple(tuple(text.split(" ")) for text in texts)
    tags = tuple(("O",) * len(row) for row in rows)
    return TaggedSentences(rows, tags, ("LOC", "PER"), entry="own", split="all")


@pytest.mark.parametrize(
    ("word", "shape"),
    [
        ("Ada", [1, 0, 0, 0, 0, 0, 0, 0]),
        ("US", [1, 1, 0, 0, 0, 0, 0, 0]),
        ("iPhone", [0, 0, 1, 0, 0, 0, 0, 0]),
        ("#ny24", [0, 0, 0, 1, 0, 1, 0, 0]),
        ("Meyer-Lund", [1, 0, 1, 0, 1, 0, 0, 0]),
        ("A", [1, 0, 0, 0, 0, 0, 0, 1]),
        (":)", [0, 0, 0, 0, 0, 0, 1, 0]),
    ],
)
def test_shape_of_a_word(word, shape):
    assert character_features(word)[:8].int().tolist() == shape


def test_pieces_of_words():
    assert character_features("ada").shape == (520,)
    assert character_features("ada")[8:].sum() == 4 + 3 + 1  # <a ad da a>, <ad ada da>, <ada>
    berlin, berlind, rome = (character_features(w)[8:] for w in ("berlin", "berlind", "rome"))
    assert berlin @ berlind > berlin @ rome + 5


def test_vectors_are_those_of_the_first_pieces(encoder):
    words = Words(sentences("Embeddings of Zänker slept", "Rome"), LABELS, encoder=encoder)
    batch = words.batch([0, 1])
    assert batch.mask.tolist() == [[True] * 4, [True, False, False, False]]
    (tokens,) = encoder.tokens(["Embeddings of Zänker slept"])
    places = [tokens.pieces.index(piece) for piece in ("em", "of", "za", "slept")]
    assert_close(batch.vectors[0], tokens.embeddings[places], atol=1e-5, rtol=1e-4)
    assert (batch.vectors[1, 1:] == 0).all()
    assert (batch.characters[1, 1:] == 0).all()


def test_an_encoder_of_its_own_reads_the_same(encoder, news):
    tagger = Tagger(LABELS, encoder=copy.deepcopy(encoder.network), seed=1)
    frozen = Tagger(LABELS, seed=1).eval()
    tagger.eval()
    batch = news.batch([3, 5, 8])
    mask = batch.mask
    assert_close(tagger(batch)[mask], frozen(batch)[mask], atol=1e-4, rtol=1e-3)


def test_very_long_sentences_and_words_without_pieces(encoder):
    words = Words(sentences(" ".join(["word"] * 400), "a \ufe0f b"), LABELS, encoder=encoder)
    batch = words.batch([0, 1])
    assert batch.ids.shape == (2, 256)
    assert batch.first[0, 253] == 254
    assert (batch.first[0, 254:] == 0).all()
    assert batch.first[1, :3].tolist() == [1, 0, 2]
    assert len(Tagger(LABELS).eval().tag(words)[0]) == 400


@pytest.mark.parametrize("settings", [{}, {"crf": False}, {"width": 0, "window": 1}])
def test_it_learns_and_repeats(news, settings):
    found = []
    for _ in range(2):
        tagger = Tagger(LABELS, characters=True, seed=0, **settings)
        train_tagger(tagger, news, steps=60, seed=0)
        found.append(tagger.tag(news))
    assert found[0] == found[1]
    assert entity_scores(news.data.tags, found[0])["f1"] > 0.9


def test_a_field_predicts_whole_rows_only(news):
    tagger = Tagger(LABELS, seed=2)
    with torch.no_grad():
        tagger.head[-1].weight.mul_(100)
    after, first = bio_rules(LABELS)
    number = {label: k for k, label in enumerate(LABELS)}
    for row in tagger.tag(news):
        places = [number[tag] for tag in row]
        assert first[places[0]]
        assert all(after[a, b] for a, b in itertools.pairwise(places))


def test_neighbours_are_shifted_within_a_sentence(news):
    plain = Tagger(LABELS, width=0, characters=True, window=1, seed=0).eval()
    batch = news.batch([0])
    seen = []
    plain.head.register_forward_hook(lambda _, given, __: seen.append(given[0]))
    plain(batch)
    after, here, before = seen[0][0].split(520, 1)
    assert_close(here, batch.characters[0])
    assert_close(before[1:], here[:-1])
    assert_close(after[:-1], here[1:])
    assert (before[0] == 0).all()
    assert (after[-1] == 0).all()


def test_what_does_not_fit(news):
    with pytest.raises(ValueError, match="unknown tag 'B-LOC'"):
        Words(news.data, ("O", "B-PER", "I-PER"))
    with pytest.raises(ValueError, match="the words have no vectors"):
        Tagger(LABELS)(Words(news.data, LABELS).batch([0]))
    with pytest.raises(ValueError, match="the tagger knows"):
        train_tagger(Tagger(("O", "B-PER", "I-PER")), news, steps=1)
