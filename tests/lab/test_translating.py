import math

import pytest
import torch
from torch.testing import assert_close

from mapping_lib.lab.parallel import (
    copies,
    kinds_of_error,
    read_parallel,
    short_names,
    shuffled,
    some,
)
from mapping_lib.lab.translating import (
    END,
    PAD,
    SPECIAL,
    START,
    UNKNOWN,
    Attend,
    Course,
    Translator,
    Vocabulary,
    _searched,
    alignment,
    carried,
    characters,
    scored,
    teach,
    translate,
    word_pieces,
)

WORDS = ["ab", "ba", "aab", "bb", "abab", "b"]


@pytest.fixture
def vocabulary():
    return characters(WORDS)


def small(symbols, **settings):
    return Translator(symbols, width=16, heads=2, layers=1, **settings)


def test_characters_there_and_back(vocabulary):
    ids = vocabulary.encode(["ab", "b"])
    assert ids.tolist() == [[4, 5, END], [5, END, PAD]]
    assert vocabulary.decode(ids) == ["ab", "b"]
    assert vocabulary.encode(["ax"])[0, 1] == UNKNOWN
    assert vocabulary.unknown(["ax", "by"]) == {"x", "y"}


@pytest.mark.parametrize(
    ("texts", "words"),
    [([], "at least one"), ("ab", "list"), (["a", ""], "text 1 is empty"), (["a" * 600], "601")],
)
def test_encode_refuses(vocabulary, texts, words):
    with pytest.raises(ValueError, match=words):
        vocabulary.encode(texts)


def test_vocabulary_needs_its_special_symbols():
    with pytest.raises(ValueError, match="<pad>"):
        Vocabulary(("a", "b"))
    with pytest.raises(ValueError, match="once"):
        Vocabulary((*SPECIAL, "a", "a"))


def test_word_pieces_there_and_back():
    texts = ["the old house", "the cold house", "an old mouse"] * 5
    known = word_pieces(texts, size=30)
    assert known.symbols[:4] == SPECIAL
    assert known.decode(known.encode(texts[:3])) == texts[:3]
    assert len(known.cut("the old house")) < len("the old house")
    with pytest.raises(ValueError, match="no texts"):
        word_pieces([" "], size=30)


def test_fused_attention_is_the_same_map():
    torch.manual_seed(0)
    plain, fused = Attend(16, 4), Attend(16, 4, fused=True)
    fused.load_state_dict(plain.state_dict())
    source, target = torch.randn(3, 5, 16), torch.randn(3, 4, 16)
    mask = torch.ones(3, 1, 1, 5, dtype=torch.bool)
    mask[1, ..., 3:] = False
    assert_close(plain(source, target, mask), fused(source, target, mask), rtol=1e-4, atol=1e-5)
    weights = plain.weights(source, target, mask)
    assert weights.shape == (3, 4, 4, 5)
    assert_close(weights.sum(-1), torch.ones(3, 4, 4))
    assert (weights[1, ..., 3:] == 0).all()


def test_padding_and_later_places_change_nothing(vocabulary):
    translator = small(len(vocabulary)).eval()
    alone = translator(torch.tensor([[4, END]]), torch.tensor([[START, 5]]))
    padded = translator(torch.tensor([[4, END, PAD, PAD]]), torch.tensor([[START, 5, 4, 4]]))
    assert_close(alone, padded[:, :2], rtol=1e-4, atol=1e-5)


def test_seed_draws_the_weights_and_nothing_else(vocabulary):
    torch.manual_seed(3)
    expected = torch.rand(1)
    torch.manual_seed(3)
    first, second, other = (small(len(vocabulary), seed=s) for s in (0, 0, 1))
    assert_close(torch.rand(1), expected)
    assert_close(first.state_dict(), second.state_dict())
    assert not torch.equal(first.table.weight, other.table.weight)


def test_it_learns_to_copy_and_is_reproducible(vocabulary):
    runs = []
    for _ in range(2):
        translator = small(len(vocabulary), dropout=0.0)
        plan = Course(steps=120, batch=6, rate=1e-2, smoothing=0.0)
        teach(translator, vocabulary, WORDS, WORDS, plan, progress=False)
        runs.append(plan.losses)
    assert runs[0] == runs[1]
    assert runs[0][-1] < runs[0][0] / 4
    assert translate(translator, vocabulary, WORDS) == WORDS
    assert translate(translator, vocabulary, WORDS, beams=3, batch=2) == WORDS
    assert not translator.training


@pytest.mark.parametrize("beams", [1, 2, 4])
def test_beams_against_all_translations(vocabulary, beams):
    translator = small(len(vocabulary), seed=2).eval()
    ids = vocabulary.encode(["ab"])
    symbols, longest = (END, 4, 5), 3

    def score(said):
        total, before = 0.0, [START]
        for symbol in said:
            logits = translator.decode(*translator.encode(ids), torch.tensor([before]))[0, -1]
            logits[[PAD, START, UNKNOWN]] = -math.inf
            total += logits.log_softmax(0)[symbol].item()
            before.append(symbol)
        return total

    def every(said):
        if said and (said[-1] == END or len(said) == longest):
            yield said
        else:
            for symbol in symbols:
                yield from every([*said, symbol])

    with torch.no_grad():
        scores = {tuple(said): score(said) for said in every([])}
        found = [k for k in _searched(translator, ids, beams, 0.0, longest)[0].tolist() if k != PAD]
        best = max(scores, key=lambda said: scores[said])
        wide = _searched(translator, ids, 27, 0.0, longest)[0].tolist()
    assert tuple(found) in scores
    assert tuple(k for k in wide if k != PAD) == best  # wide enough to lose nothing
    assert scores[tuple(found)] <= scores[best] + 1e-6


def test_teach_refuses(vocabulary):
    translator = small(len(vocabulary))
    with pytest.raises(ValueError, match="2 sources but 1 targets"):
        teach(translator, vocabulary, ["a", "b"], ["a"], Course(steps=1))
    with pytest.raises(ValueError, match="carried"):
        teach(translator, characters(["abc"]), ["a"], ["a"], Course(steps=1))
    with torch.no_grad():
        translator.table.weight[4] = math.nan
    with pytest.raises((FloatingPointError, ValueError)):
        teach(translator, vocabulary, ["a"], ["b"], Course(steps=1), progress=False)


def test_carried_rows(vocabulary):
    parent = small(len(vocabulary), seed=1)
    other = characters(["bc"])
    child = carried(parent, vocabulary, other, seed=0)
    new = carried(parent, vocabulary, other, rows="new", seed=0)
    random = carried(parent, vocabulary, other, rows="random", seed=0)
    row = parent.table.weight
    assert_close(child.table.weight[:5], row[[0, 1, 2, 3, 5]])  # special ones, and b
    assert_close(child.table.weight[5], new.table.weight[5])  # c
    assert not torch.equal(new.table.weight[4], row[5])
    assert all((row == given).all(1).any() for given in random.table.weight)
    assert_close(child.encoder.state_dict(), parent.encoder.state_dict())
    assert child.encoder is not parent.encoder
    same = carried(parent, vocabulary, vocabulary)
    assert_close(same.state_dict(), parent.state_dict())
    with pytest.raises(ValueError, match="pass the vocabulary that the parent"):
        carried(parent, other, vocabulary) if len(other) != len(vocabulary) else carried(
            parent, characters(["abc"]), vocabulary
        )
    with pytest.raises(ValueError, match="rows"):
        carried(parent, vocabulary, vocabulary, rows="old")


def test_alignment(vocabulary):
    translator = small(len(vocabulary))
    source, target, weights = alignment(translator, vocabulary, "ab", "b")
    assert (source, target) == (["a", "b", "<end>"], ["b", "<end>"])
    assert weights.shape == (1, 2, 2, 3)
    assert_close(weights.sum(-1), torch.ones(1, 2, 2))


def test_scored():
    found = scored(["a b c d", "x"], ["a b c d", "y"])
    assert found["exact"] == 0.5
    assert 0 < found["bleu"] < 1
    with pytest.raises(ValueError, match="1 translations for 2"):
        scored(["a"], ["a", "b"])


def test_short_names_keep_their_test_names_apart():
    held_out = set(short_names("es")[1].sources)
    assert len(held_out) == 200
    for language in ("fr", "es", "zh", "de"):
        train, test = short_names(language)
        assert held_out.isdisjoint(train.sources)
        assert set(test.sources) <= held_out
        assert max(map(len, train.sources + train.targets)) <= 16
        assert (train.split, test.split) == ("train", "test")


def test_some_shuffled_copies():
    train = short_names("es")[0]
    few, more = some(train, 5, seed=1), some(train, 9, seed=1)
    assert more.sources[:5] == few.sources
    assert some(train, 5, seed=2).sources != few.sources
    mixed = shuffled(train, seed=0)
    assert sorted(mixed.targets) == sorted(train.targets)
    assert mixed.targets != train.targets
    assert copies(few).targets == few.sources
    with pytest.raises(ValueError, match="count"):
        some(train, 0, seed=0)


def write(folder, **files):
    paths = []
    for name, content in files.items():
        path = folder / f"{name}.txt"
        path.write_bytes(content if isinstance(content, bytes) else content.encode())
        paths.append(path)
    return paths


def test_read_parallel(tmp_path):
    pair = write(tmp_path, en="One \r\nTwo\r\n\r\n", es="\ufeffUno\nDos")
    found = read_parallel(*pair, languages=("en", "es"))
    assert found.sources == ("One", "Two")
    assert found.targets == ("Uno", "Dos")
    assert repr(found) == "Translations(en.txt | es.txt, all: 2 pairs, en→es)"


@pytest.mark.parametrize(
    ("english", "spanish", "words"),
    [
        ("a\nb\n", "a\n", "has 2 lines, .* has 1"),
        ("a\n\nb", "a\nb\nc", "line 2 of .*en.txt is empty"),
        ("\n \n", "a", "en.txt is empty: one text"),
        ("a\nb", b"a\nma\xf1ana", "es.txt isn't UTF-8: byte 0xf1 in line 2"),
        ("a", "a".encode("utf-16"), "isn't UTF-8"),
        ("a", b"a\x00", "zero bytes"),
        ("a\nb", "a\n中", r"line 2 of .*es.txt has '中' \(U\+4E2D\)"),
    ],
)
def test_read_parallel_says_what_is_wrong(tmp_path, english, spanish, words):
    pair = write(tmp_path, en=english, es=spanish)
    with pytest.raises(ValueError, match=words):
        read_parallel(*pair, known="abc")


def test_read_parallel_without_a_file(tmp_path):
    with pytest.raises(FileNotFoundError, match="no file"):
        read_parallel(tmp_path / "en.txt", tmp_path / "es.txt")


def test_kinds_of_error():
    rows = [
        ("Peru", "Perú", "Perú", "right"),
        ("Peru", "peru", "Perú", "accents or capitals"),
        ("Fiji", "Fidji", "Fiyi", "one or two letters"),
        ("Germany", "germany", "Alemania", "left in the source's words"),
        ("Germany", "Francia", "Alemania", "other"),
        ("x", "abc", "abcde", "one or two letters"),
        ("x", "xbcd", "abcdef", "other"),
    ]
    sources, found, wanted, kinds = zip(*rows, strict=True)
    assert kinds_of_error(sources, found, wanted) == list(kinds)
