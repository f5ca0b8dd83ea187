import pytest
from hypothesis import given
from hypothesis import strategies as st
from seqeval.metrics.sequence_labeling import get_entities

from mapping_lib.lab.entities import (
    KINDS,
    bio_labels,
    bio_rules,
    count_kinds,
    entity_scores,
    findings,
    read_conll,
    spans,
)

LABELS = bio_labels(["LOC", "PER"])
ROWS = st.lists(st.sampled_from(LABELS), min_size=1, max_size=8)


def test_labels_and_rules():
    assert LABELS == ("O", "B-LOC", "I-LOC", "B-PER", "I-PER")
    after, first = bio_rules(LABELS)
    assert first.tolist() == [True, True, False, True, False]
    allowed = {(a, b) for i, a in enumerate(LABELS) for j, b in enumerate(LABELS) if after[i, j]}
    assert ("O", "I-PER") not in allowed
    assert ("B-LOC", "I-PER") not in allowed
    assert {("B-PER", "I-PER"), ("I-PER", "I-PER"), ("I-PER", "B-PER"), ("O", "O")} <= allowed
    assert len(allowed) == 25 - 6


@given(ROWS)
def test_spans_are_seqevals(row):
    assert spans(row) == [(kind, start, end + 1) for kind, start, end in get_entities(row)]


@given(st.lists(st.tuples(ROWS, st.randoms()), min_size=1, max_size=4))
def test_scores_are_those_of_the_spans(drawn):
    truth = [row for row, _ in drawn]
    predicted = [random.choices(LABELS, k=len(row)) for row, random in drawn]
    there = {(k, *span) for k, row in enumerate(truth) for span in spans(row)}
    found = {(k, *span) for k, row in enumerate(predicted) for span in spans(row)}
    right = len(there & found)
    scores = entity_scores(truth, predicted)
    assert scores["precision"] == pytest.approx(right / len(found) if found else 0)
    assert scores["recall"] == pytest.approx(right / len(there) if there else 0)
    both = len(there) + len(found)
    assert scores["f1"] == pytest.approx(2 * right / both if both else 0)
    counts = count_kinds(findings(truth, predicted))
    assert counts["right"] == right
    assert list(counts) == list(KINDS)
    met = counts["boundary"] + counts["type"] + counts["boundary and type"] + right
    assert met + counts["missed"] == len(there)
    assert met + counts["spurious"] == len(found)


@pytest.mark.parametrize(
    ("truth", "predicted", "kind"),
    [
        ("B-PER I-PER O", "B-PER I-PER O", "right"),
        ("B-PER I-PER O", "B-LOC I-LOC O", "type"),
        ("B-PER I-PER O", "B-PER O O", "boundary"),
        ("B-PER I-PER O", "O B-LOC O", "boundary and type"),
        ("B-PER I-PER O", "O O O", "missed"),
        ("O O O", "O B-PER O", "spurious"),
    ],
)
def test_each_kind_of_finding(truth, predicted, kind):
    (found,) = findings([truth.split()], [predicted.split()])
    assert found.kind == kind
    assert (found.truth is None) == (kind == "spurious")
    assert (found.predicted is None) == (kind == "missed")


def test_rows_of_unequal_length():
    for function in (findings, entity_scores):
        with pytest.raises(ValueError, match="one tag for each word"):
            function([["O", "O"]], [["O"]])


# files


@pytest.fixture
def write(tmp_path):
    def write(text, encoding="utf-8"):
        path = tmp_path / "own.txt"
        path.write_bytes(text.encode(encoding))
        return path

    return write


def test_a_file(write):
    text = "-DOCSTART- -X- O\n\nAda NNP B-PER\nLovelace NNP I-PER\n\n\nin IN O\r\nRome NNP B-LOC"
    data = read_conll(write("\ufeff" + text))
    assert data.sentences == (("Ada", "Lovelace"), ("in", "Rome"))
    assert data.tags == (("B-PER", "I-PER"), ("O", "B-LOC"))
    assert (data.types, data.entry, data.split) == (("LOC", "PER"), "own", "all")
    assert read_conll(write(text), types=["PER", "LOC", "ORG"]).types == ("PER", "LOC", "ORG")


def test_a_broken_row_is_refused_or_mended(write):
    path = write("Ada I-PER\nLovelace I-PER\nin O\nRome I-LOC\nYork B-PER\nTown I-LOC\n")
    with pytest.raises(ValueError, match=r"own\.txt, line 1: I-PER after O, where only B-PER"):
        read_conll(path)
    tags = ("B-PER", "I-PER", "O", "B-LOC", "B-PER", "B-LOC")
    assert read_conll(path, repair=True).tags == (tags,)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("", "has no words: lines of a word and its tag are due"),
        ("\n \n", "has no words"),
        ("-DOCSTART- O\n", "has no words"),
        ("Ada B-PER\nLovelace\n", "line 2 has 1 columns where 2, as on the lines before, are due"),
        ("Ada\n", "line 1 has 1 columns where at least 2, are due: 'Ada'"),
        ("Ada NNP B-PER\nin O\n", "line 2 has 2 columns where 3, as on"),
        ("Ada S-PER\n", "line 1: the tag 'S-PER' isn't in BIO; O, or B- or I- and a type"),
        ("Ada B-\n", "the tag 'B-' isn't in BIO"),
        ("Ada PER\n", "the tag 'PER' isn't in BIO"),
        ("Ada O\nX B-PRE\n", r"line 2: unknown type 'PRE'; did you mean 'PER'\?"),
    ],
)
def test_files_that_are_wrong(write, text, words):
    with pytest.raises(ValueError, match=words):
        read_conll(write(text), types=["LOC", "PER"])


def test_missing_file_and_other_encoding(write, tmp_path):
    with pytest.raises(FileNotFoundError, match=r"nothing\.txt isn.t there: check the path"):
        read_conll(tmp_path / "nothing.txt")
    with pytest.raises(ValueError, match=r"isn't in UTF-8 \(byte 1\): convert it"):
        read_conll(write("Jürgen B-PER\n", "latin-1"))
