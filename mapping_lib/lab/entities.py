"""Entities in rows of BIO tags: where they are, how many were found, what went wrong, and files.

A span is an entity's type with its first word and the one after its last: ``("PER", 0, 2)``.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor

from mapping_lib._names import suggest
from mapping_lib.lab.data.types import TaggedSentences

Span = tuple[str, int, int]
Rows = Sequence[Sequence[str]]

KINDS = ("right", "boundary", "type", "boundary and type", "missed", "spurious")


def bio_labels(types: Sequence[str]) -> tuple[str, ...]:
    """Return all tags of the BIO scheme, "O" first.

    Parameters
    ----------
    types
        Types of entities.

    Examples
    --------
    >>> bio_labels(["LOC", "PER"])
    ('O', 'B-LOC', 'I-LOC', 'B-PER', 'I-PER')
    """
    return "O", *(f"{mark}-{kind}" for kind in types for mark in "BI")


def bio_rules(labels: Sequence[str]) -> tuple[Tensor, Tensor]:
    """Say which tag may follow which, and which may stand first: I-X only after B-X or I-X.

    Parameters
    ----------
    labels
        Tags of the BIO scheme.

    Returns
    -------
    Tensor, Tensor
        Booleans ``(K, K)``, row before column, and ``(K,)``.

    Examples
    --------
    >>> after, first = bio_rules(["O", "B-PER", "I-PER"])
    >>> after.int().tolist(), first.int().tolist()
    ([[1, 1, 0], [1, 1, 1], [1, 1, 1]], [1, 1, 0])
    """
    after = [
        [not new.startswith("I-") or old in (new, f"B-{new[2:]}") for new in labels]
        for old in labels
    ]
    return torch.tensor(after), torch.tensor([not label.startswith("I-") for label in labels])


def spans(tags: Sequence[str]) -> list[Span]:
    """Return the entities of a row of tags.

    An I-X that follows neither B-X nor I-X begins an entity, as it does in conlleval and in
    seqeval's default mode.

    Parameters
    ----------
    tags
        Of the words of one sentence, in BIO.

    Examples
    --------
    >>> spans(["B-PER", "I-PER", "O", "B-LOC", "B-LOC"])
    [('PER', 0, 2), ('LOC', 3, 4), ('LOC', 4, 5)]
    >>> spans(["O", "I-PER"])
    [('PER', 1, 2)]
    """
    found: list[Span] = []
    before = "O"
    for place, tag in enumerate(tags):
        kind = tag[2:]
        if tag.startswith("I-") and before[2:] == kind:
            name, start, _ = found[-1]
            found[-1] = name, start, place + 1
        elif tag != "O":
            found.append((kind, place, place + 1))
        before = tag
    return found


def entity_scores(truth: Rows, predicted: Rows) -> dict[str, float]:
    """Score rows of tags by whole entities, with seqeval, and by words.

    Parameters
    ----------
    truth, predicted
        One row of tags a sentence.

    Returns
    -------
    dict
        "precision", "recall" and "f1" over the entities of all types, and "accuracy" over words.

    Raises
    ------
    ValueError
        Rows of different lengths.

    Examples
    --------
    >>> scores = entity_scores([["B-PER", "I-PER", "O", "O"]], [["B-PER", "O", "O", "O"]])
    >>> scores["f1"], scores["accuracy"]
    (0.0, 0.75)
    """
    _same(truth, predicted)
    from seqeval.metrics import accuracy_score, f1_score, precision_score, recall_score

    rows = list(map(list, truth)), list(map(list, predicted))
    return {
        "precision": float(precision_score(*rows, zero_division=0)),
        "recall": float(recall_score(*rows, zero_division=0)),
        "f1": float(f1_score(*rows, zero_division=0)),
        "accuracy": float(accuracy_score(*rows)),
    }


@dataclass(frozen=True)
class Finding:
    """An entity that is there, one that was predicted, or both where they meet.

    Attributes
    ----------
    kind
        "right", "boundary" (the type is right), "type" (the boundaries are right), "boundary and
        type", "missed" or "spurious".
    sentence
        Its number.
    truth, predicted
        The spans; None where there is none.
    """

    kind: str
    sentence: int
    truth: Span | None
    predicted: Span | None


def findings(truth: Rows, predicted: Rows) -> list[Finding]:
    """Sort each entity, true or predicted, into one kind of success or error.

    Equal spans meet first, then those with equal boundaries, then those that overlap, from the
    left and those of one type first; each meets one other at most.

    Parameters
    ----------
    truth, predicted
        One row of tags a sentence.

    Raises
    ------
    ValueError
        Rows of different lengths.

    Examples
    --------
    >>> truth = [["B-PER", "I-PER", "O", "B-LOC"]]
    >>> [found.kind for found in findings(truth, [["O", "B-PER", "O", "B-PER"]])]
    ['type', 'boundary']
    """
    _same(truth, predicted)
    found = []
    for number, (row, other) in enumerate(zip(truth, predicted, strict=True)):
        left, right = spans(row), spans(other)
        for kind in ("right", "type", "boundary", "boundary and type"):
            for a in tuple(left):
                b = next((b for b in right if _meets(a, b, kind)), None)
                if b is not None:
                    left.remove(a)
                    right.remove(b)
                    found.append(Finding(kind, number, a, b))
        found += [Finding("missed", number, a, None) for a in left]
        found += [Finding("spurious", number, None, b) for b in right]
    return found


def count_kinds(found: Sequence[Finding]) -> dict[str, int]:
    """Count findings of each kind, in the order of KINDS.

    Parameters
    ----------
    found
        What :func:`findings` returned.

    Examples
    --------
    >>> count_kinds(findings([["B-PER"]], [["O"]]))["missed"]
    1
    """
    counts = Counter(finding.kind for finding in found)
    return {kind: counts[kind] for kind in KINDS}


def read_conll(
    path: str | Path, *, types: Sequence[str] | None = None, repair: bool = False
) -> TaggedSentences:
    """Read a file with a word and its tag on each line, and a blank line after each sentence.

    There may be columns between the two; lines that begin with ``-DOCSTART-`` are left out.

    Parameters
    ----------
    path
        A text file in UTF-8, columns parted by blanks or tabs.
    types
        The types of entities that may occur; None for those that the file has.
    repair
        Whether an I-X after neither B-X nor I-X becomes B-X, as in files in the older IOB1
        scheme. Otherwise it is refused.

    Raises
    ------
    FileNotFoundError
        There is no such file.
    ValueError
        An empty file, another encoding, lines of unequal numbers of columns, a tag that isn't in
        BIO or whose type isn't known, or a broken row of tags. The message names file and line.

    Examples
    --------
    >>> from tempfile import TemporaryDirectory
    >>> with TemporaryDirectory() as folder:
    ...     file = Path(folder, "own.txt")
    ...     _ = file.write_text("Ada B-PER\\nLovelace I-PER\\nslept O\\n\\nRome B-LOC\\n")
    ...     read_conll(file)
    TaggedSentences(own, all: 2 sentences, 4 tokens, 2 types)
    """
    path = Path(path)
    try:
        text = path.read_text(encoding="utf-8-sig")
    except FileNotFoundError:
        raise FileNotFoundError(f"{path} isn't there: check the path") from None
    except UnicodeDecodeError as error:
        raise ValueError(
            f"{path} isn't in UTF-8 (byte {error.start}): convert it, for example with iconv"
        ) from None
    sentences: list[list[tuple[str, str]]] = [[]]
    columns = 0
    for number, line in enumerate(text.split("\n"), 1):
        parts = line.split()
        if not parts or parts[0] == "-DOCSTART-":
            if sentences[-1]:
                sentences.append([])
            continue
        where = f"{path}, line {number}"
        if len(parts) < 2 or len(parts) != (columns or len(parts)):
            due = f"{columns}, as on the lines before" if columns else "at least 2"
            raise ValueError(f"{where} has {len(parts)} columns where {due}, are due: {line!r}")
        columns = len(parts)
        before = sentences[-1][-1][1] if sentences[-1] else "O"
        sentences[-1].append((parts[0], _tag(parts[-1], before, where, types, repair)))
    if not sentences[0]:
        raise ValueError(f"{path} has no words: lines of a word and its tag are due")
    sentences = [sentence for sentence in sentences if sentence]
    known = types or sorted({tag[2:] for row in sentences for _, tag in row} - {""})
    return TaggedSentences(
        tuple(tuple(word for word, _ in sentence) for sentence in sentences),
        tuple(tuple(tag for _, tag in sentence) for sentence in sentences),
        tuple(known),
        entry=path.stem,
        split="all",
    )


def _tag(tag: str, before: str, where: str, types: Sequence[str] | None, repair: bool) -> str:
    """Return a tag that may follow the one before, or say what is wrong with it."""
    if tag == "O":
        return tag
    kind = tag[2:]
    if tag[:2] not in ("B-", "I-") or not kind:
        raise ValueError(
            f"{where}: the tag {tag!r} isn't in BIO; O, or B- or I- and a type, is due"
        )
    if types is not None and kind not in types:
        raise ValueError(f"{where}: unknown type {kind!r}{suggest(kind, types)}")
    if tag[0] == "I" and before[2:] != kind:
        if repair:
            return f"B-{kind}"
        raise ValueError(
            f"{where}: {tag} after {before}, where only B-{kind} or I-{kind} may stand before it; "
            "mend the file, or let repair=True begin an entity here"
        )
    return tag


def _meets(a: Span, b: Span, kind: str) -> bool:
    """Say whether two spans meet in the way that a kind of finding means."""
    if kind in ("right", "type"):
        return a[1:] == b[1:] and (a[0] == b[0]) == (kind == "right")
    overlap = a[1] < b[2] and b[1] < a[2]
    return overlap and (a[0] == b[0]) == (kind == "boundary")


def _same(truth: Rows, predicted: Rows) -> None:
    """Require one predicted tag for each word."""
    if [len(row) for row in truth] != [len(row) for row in predicted]:
        raise ValueError(
            f"truth ({len(truth)} rows) and predicted ({len(predicted)} rows) must have the same "
            "sentences with one tag for each word"
        )
