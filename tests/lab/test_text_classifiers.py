import re

import pytest
import torch
from sklearn.linear_model import LogisticRegression
from tokenizers import Tokenizer
from torch import nn

from mapping_lib.lab.language import Encoder, minilm
from mapping_lib.lab.registry import locate
from mapping_lib.lab.schedules import warm_up
from mapping_lib.lab.text_classifiers import (
    BagOfPieces,
    TextNetwork,
    coverage,
    embeddings,
    piece_ids,
    require_fitting,
    solved_head,
    tune,
)

TEXTS = ["A cat sleeps.", "Solve a linear system of equations.", "one", "a b c d e f g h i j k"]


@pytest.fixture(scope="module")
def encoder():
    return minilm()


def wrong(words, function, *arguments, error=ValueError, **settings):
    with pytest.raises(error, match=re.escape(words)):
        function(*arguments, **settings)


def test_ids_are_those_of_the_pieces(encoder):
    ids = piece_ids(encoder, TEXTS)
    assert ids.shape == (4, 13)
    assert (ids != 0).sum(1).tolist() == [len(encoder.pieces(text)) for text in TEXTS]
    assert encoder._tokenizer.decode(ids[0].tolist()) == "a cat sleeps."


def test_long_texts_are_cut_and_said_to_be(encoder):
    with pytest.warns(UserWarning, match=re.escape("2 of 4 texts have more than 6 word pieces")):
        ids = piece_ids(encoder, TEXTS, limit=6)
    assert ids.shape == (4, 6)
    assert ids[3].tolist()[-1] == piece_ids(encoder, ["a"])[0, -1]  # [SEP]
    torch.testing.assert_close(piece_ids(encoder, TEXTS, limit=6, cut=True), ids)
    found = coverage(encoder, TEXTS, limit=6)
    assert found.cut.tolist() == [False, True, False, True]
    assert found.lengths.tolist() == [6, 9, 3, 13]
    assert found.unread == pytest.approx((3 + 7) / 31)
    assert "4 texts, 2 cut after 6 word pieces (32% of all pieces unread)" in repr(found)


def test_other_scripts_are_reported(encoder):
    with pytest.warns(UserWarning, match=re.escape("50% of the word pieces are unknown")):
        found = coverage(encoder, ["plain words", "🦖 🧬"])
    assert found.unknown.tolist() == [0, 1]
    with pytest.warns(UserWarning, match=re.escape("a word has 4.5 of them")):
        found = coverage(encoder, ["Η μετατροπή Φουριέ ενός"])
    assert found.unknown.tolist() == [0]


def test_bad_texts(encoder):
    for function in (coverage, piece_ids):
        wrong("texts[1] is empty", function, encoder, ["a", " \n"])
        wrong("texts[0] must be a string, got None", function, encoder, [None], error=TypeError)
        wrong("texts must be a list of strings", function, encoder, "one text", error=TypeError)
        wrong("there are no texts", function, encoder, [])
        wrong("limit must be a whole number from 3 to 512", function, encoder, ["a"], limit=513)


def test_a_tokenizer_that_does_not_fit(encoder):
    file = str(locate("minilm", "model/tokenizer.json"))
    larger = Tokenizer.from_file(file)
    larger.add_tokens(["neologism"])
    wrong("the tokenizer has 30523 pieces", require_fitting, Encoder(encoder.network, larger))
    wrong("vectors for 30522", piece_ids,
          Encoder(encoder.network, larger), ["a"])  # fmt: skip
    text = locate("minilm", "model/tokenizer.json").read_text()
    other = Tokenizer.from_str(text.replace("[UNK]", "[OOV]"))
    wrong("the tokenizer has no [UNK]", TextNetwork, Encoder(encoder.network, other), 2)
    moved = Tokenizer.from_str(
        text.replace('"[PAD]": 0', '"[PAD]": 1').replace('"[unused0]": 1', '"[unused0]": 0')
        .replace('"[PAD]":0', '"[PAD]":1').replace('"[unused0]":1', '"[unused0]":0')
    )  # fmt: skip
    if moved.token_to_id("[PAD]") != 0:
        wrong("[PAD] has the number 1", require_fitting, Encoder(encoder.network, moved))


def test_features_are_the_encoders_own(encoder):
    network = TextNetwork(encoder, 3).eval()
    ids = piece_ids(encoder, TEXTS)
    found = embeddings(network, ids, batch_size=3)
    torch.testing.assert_close(found, encoder.sentences(TEXTS), atol=2e-6, rtol=0)
    assert network(ids).shape == (4, 3)
    torch.testing.assert_close(network(ids), network.head(found), atol=1e-5, rtol=0)


def test_the_encoder_stays_as_it_is(encoder):
    before = encoder.sentences(TEXTS)
    ids, labels = piece_ids(encoder, TEXTS), torch.tensor([0, 1, 0, 1])
    tune(TextNetwork(encoder, 2), ids, labels, way="all", rate=1e-3, steps=2)
    torch.testing.assert_close(encoder.sentences(TEXTS), before)


@pytest.mark.parametrize(("way", "count"), [("head", 0), ("LoRA", 24), ("all", 101)])
def test_what_each_way_moves(encoder, way, count):
    network = TextNetwork(encoder, 2, seed=1)
    before = {name: value.clone() for name, value in network.state_dict().items()}
    ids, labels = piece_ids(encoder, TEXTS), torch.tensor([0, 1, 0, 1])
    tune(network, ids, labels, way=way, rate=1e-3, steps=3, batch_size=2)
    moved = [
        name for name, value in network.named_parameters()
        if name.startswith("body") and not torch.equal(before.get(name, value + 1), value)
    ]  # fmt: skip
    assert not torch.equal(network.head.weight, before["head.weight"])
    assert not network.training
    moved = [name for name in moved if "original" not in name]
    if way == "all":  # the pooler has no gradient, one row of types is never used
        assert len(moved) > 90
    else:
        assert len(moved) == count
        kept = network.body.embeddings.word_embeddings.weight
        torch.testing.assert_close(kept, before["body.embeddings.word_embeddings.weight"])


def test_tuning_depends_on_the_seed_alone(encoder):
    ids, labels = piece_ids(encoder, TEXTS), torch.tensor([0, 1, 0, 1])
    found = [
        tune(TextNetwork(encoder, 2), ids, labels, way="LoRA", rate=1e-2, steps=2, seed=seed)(ids)
        for seed in (0, 0, 1)
    ]
    torch.testing.assert_close(found[0], found[1])
    assert not torch.allclose(found[0], found[2])


def test_an_unknown_way(encoder):
    network = TextNetwork(encoder, 2)
    ids = piece_ids(encoder, ["a", "b"])
    wrong("way must be one of head, LoRA, all, not 'lora'", tune, network, ids,
          torch.tensor([0, 1]), way="lora", rate=1e-3, steps=1)  # fmt: skip


@pytest.mark.parametrize("classes", [2, 3])
def test_a_solved_head_is_scikit_learns(classes):
    generator = torch.Generator().manual_seed(0)
    rows = torch.randn(60, 5, generator=generator)
    labels = torch.arange(60) % classes
    head = solved_head(rows, labels, classes, strength=2.0)
    solver = LogisticRegression(C=2.0, max_iter=5000).fit(rows.numpy(), labels.numpy())
    expected = torch.as_tensor(solver.predict_proba(rows.numpy())).float()
    torch.testing.assert_close(head(rows).softmax(1), expected, atol=1e-4, rtol=0)
    wrong("there is no example of class", solved_head, rows, labels, classes + 1, strength=1.0)


def test_a_bag_forgets_order_and_padding():
    network = BagOfPieces(20, 3, width=4, seed=0)
    ids = torch.tensor([[3, 5, 7, 0], [7, 3, 5, 0], [7, 7, 3, 5]])
    found = network(ids)
    torch.testing.assert_close(found[0], found[1])
    assert not torch.allclose(found[0], found[2])
    mean = network.body.weight[[3, 5, 7]].mean(0)
    torch.testing.assert_close(found[0], nn.functional.linear(mean, *network.head.parameters()))


def test_the_schedule():
    rate = warm_up(50)
    assert [rate(step) for step in (0, 4, 5)] == [0.2, 1.0, 1.0]
    assert rate(49) == pytest.approx(1 / 45)
    assert warm_up(1)(0) == 1
