"""Pairs of texts for a small translator: CLDR's short names in several languages, and your own."""

from __future__ import annotations

import unicodedata
from collections.abc import Iterable, Sequence
from dataclasses import replace
from functools import cache
from hashlib import sha256
from pathlib import Path

import torch

from mapping_lib.lab import checkpoints, results
from mapping_lib.lab.data import cldr_names
from mapping_lib.lab.data._arguments import at_least_one
from mapping_lib.lab.data.types import Translations
from mapping_lib.lab.translating import Translator, Vocabulary, characters

LONGEST_NAME = 16
"""Characters of the longest name on either side, so that a laptop can learn them."""

PARENT = "8040e4e0a58432d8e7b689bbb956bcd65c20300521604b99013f53851e75aab0"
"""SHA-256 of the checkpoint that ``scripts/results_6_2_3.py parent`` wrote."""

TEST_NAMES = 200
"""English names kept for the tests, whatever the language they are translated to."""


@cache
def short_names(language: str) -> tuple[Translations, Translations]:
    """Return CLDR's names of up to 16 characters for training and for testing.

    200 English names, the same for all languages, are held out: no pair with one of them is in any
    training set. They are drawn from those with one Spanish translation each.

    Parameters
    ----------
    language
        As :func:`mapping_lib.lab.data.names.cldr_names` takes it.

    Returns
    -------
    tuple of Translations
        Training pairs in a random order, and test pairs.
    """
    held_out = _held_out()
    pairs = _short(language)
    order = torch.randperm(len(pairs), generator=torch.Generator().manual_seed(1)).tolist()
    train = [pairs[k] for k in order if pairs[k][0] not in held_out]
    test = [pair for pair in pairs if pair[0] in held_out]
    names = cldr_names(language)
    return (
        replace(_with(names, train), split="train"),
        replace(_with(names, test), split="test"),
    )


def some(pairs: Translations, count: int, *, seed: int) -> Translations:
    """Draw pairs.

    Parameters
    ----------
    pairs
        From these.
    count
        How many, at least 1; all that there are if there are fewer.
    seed
        Which; with one seed, a larger draw holds the smaller one.
    """
    at_least_one(count=count)
    order = torch.randperm(len(pairs), generator=torch.Generator().manual_seed(seed)).tolist()
    return _with(pairs, [(pairs.sources[k], pairs.targets[k]) for k in order[:count]])


def shuffled(pairs: Translations, *, seed: int) -> Translations:
    """Give each source the target of another, drawn at random: both languages, no translation.

    Parameters
    ----------
    pairs
        Stay as they are.
    seed
        Draws the order of the targets.
    """
    order = torch.randperm(len(pairs), generator=torch.Generator().manual_seed(seed)).tolist()
    return replace(pairs, targets=tuple(pairs.targets[k] for k in order))


def copies(pairs: Translations) -> Translations:
    """Give each source itself as its target, in the source's own language.

    Parameters
    ----------
    pairs
        Stay as they are.
    """
    english = pairs.languages[0]
    return replace(pairs, targets=pairs.sources, languages=(english, english))


def letters_of(*languages: str) -> list[tuple[str, ...]]:
    """Return all that may be seen in training for these languages, to make one vocabulary of.

    Parameters
    ----------
    languages
        As :func:`short_names` takes them.

    Returns
    -------
    list of tuple of str
        The sources and targets of their training names, and all English test names.
    """
    train = [short_names(language)[0] for language in languages]
    texts = [part for pairs in train for part in (pairs.sources, pairs.targets)]
    return [*texts, tuple(sorted(_held_out()))]


def french_parent() -> tuple[Translator, Vocabulary]:
    """Load the translator of names from English to French, and its vocabulary.

    It has learned from all training names of :func:`short_names`.

    Raises
    ------
    FileNotFoundError, CheckpointError
        The checkpoint isn't there, is damaged, or isn't the one whose SHA-256 stands here.
    """
    path = results.folder() / "checkpoints" / "names_en_fr.pt"
    vocabulary = characters(*letters_of("fr", "es"))
    parent = Translator(len(vocabulary), dropout=0.2)
    checkpoints.load(path, parent)
    if sha256(path.read_bytes()).hexdigest() != PARENT:
        raise checkpoints.CheckpointError(
            f"{path} isn't the file it should be: its SHA-256 is another; check it out again, or "
            "if the recipe has made it anew, put the new sum into mapping_lib/lab/parallel.py"
        )
    return parent, vocabulary


def read_parallel(
    source: str | Path,
    target: str | Path,
    *,
    languages: tuple[str, str] = ("source", "target"),
    known: Iterable[str] | None = None,
) -> Translations:
    """Read two text files whose lines translate each other, one text a line, in UTF-8.

    Taught in :ref:`machine-translation` (section 6.2.3).

    Parameters
    ----------
    source, target
        The files. Blanks around a text and empty lines at the end don't count.
    languages
        Names of the two languages.
    known
        Characters that may occur, such as ``vocabulary.symbols``; None lets all.

    Raises
    ------
    FileNotFoundError
        There is no such file.
    ValueError
        A file isn't UTF-8, is empty or has an empty line; the numbers of lines differ; or a
        character isn't known. The message names the file and the line.
    """
    paths = (Path(source).expanduser(), Path(target).expanduser())
    texts = [_texts(path) for path in paths]
    counts = [len(part) for part in texts]
    if counts[0] != counts[1]:
        raise ValueError(
            f"{paths[0]} has {counts[0]} lines, {paths[1]} has {counts[1]}: line k of one must "
            "translate line k of the other; look for a line that was broken in two, or is missing"
        )
    if known is not None:
        allowed = {*known}
        for path, part in zip(paths, texts, strict=True):
            _require_known(path, part, allowed)
    return Translations(
        tuple(texts[0]),
        tuple(texts[1]),
        languages,
        entry="your own",
        split="all",
        domain=" | ".join(path.name for path in paths),
    )


def kinds_of_error(
    sources: Sequence[str], found: Sequence[str], wanted: Sequence[str]
) -> list[str]:
    """Say of each translation what is wrong with it, the mildest that is true.

    Parameters
    ----------
    sources, found, wanted
        Texts, their translations and the references.

    Returns
    -------
    list of str
        ``"right"``, ``"accents or capitals"``, ``"one or two letters"``, ``"left in the source's
        words"`` (but for capitals), or ``"other"``.

    Examples
    --------
    >>> kinds_of_error(["Fiji", "Japan"], ["fidji", "Japan"], ["Fiyi", "Japón"])
    ['one or two letters', 'one or two letters']
    """
    kinds = []
    for source, text, due in zip(sources, found, wanted, strict=True):
        plain, goal = _plain(text), _plain(due)
        if text == due:
            kinds.append("right")
        elif plain == goal:
            kinds.append("accents or capitals")
        elif _distance(plain, goal) <= 2:
            kinds.append("one or two letters")
        elif plain == _plain(source):
            kinds.append("left in the source's words")
        else:
            kinds.append("other")
    return kinds


def _plain(text: str) -> str:
    """Take accents and capitals from a text."""
    parts = unicodedata.normalize("NFD", text.casefold())
    return "".join(part for part in parts if not unicodedata.combining(part))


def _distance(one: str, other: str) -> int:
    """Count the letters to insert, take out or replace to get from one text to another."""
    row = list(range(len(other) + 1))
    for k, letter in enumerate(one, 1):
        before, row[0] = row[0], k
        for j, goal in enumerate(other, 1):
            replaced = before + (letter != goal)
            before, row[j] = row[j], min(row[j] + 1, row[j - 1] + 1, replaced)
    return row[-1]


def _texts(path: Path) -> list[str]:
    """Return the lines of a text file, or say what is wrong with it."""
    if not path.is_file():
        raise FileNotFoundError(f"there is no file {path}")
    raw = path.read_bytes()
    try:
        text = raw.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = raw[: error.start].count(b"\n") + 1
        raise ValueError(
            f"{path} isn't UTF-8: byte {raw[error.start]:#x} in line {line}; save it as UTF-8 "
            "(it may be Latin-1, Windows-1252 or UTF-16)"
        ) from None
    if "\x00" in text:
        raise ValueError(f"{path} holds zero bytes: it is no UTF-8 text; save it as UTF-8")
    # str.splitlines would break at rare characters, too, and put the files out of step.
    lines = [line.strip() for line in text.replace("\r\n", "\n").split("\n")]
    while lines and not lines[-1]:
        lines.pop()
    if not lines:
        raise ValueError(f"{path} is empty: one text a line is due")
    if "" in lines:
        raise ValueError(
            f"line {lines.index('') + 1} of {path} is empty: take it out of both files"
        )
    return lines


def _require_known(path: Path, texts: list[str], allowed: set[str]) -> None:
    for number, text in enumerate(texts, 1):
        strange = [character for character in text if character not in allowed]
        if strange:
            raise ValueError(
                f"line {number} of {path} has {strange[0]!r} (U+{ord(strange[0]):04X}), which the "
                "vocabulary hasn't: take the line out, or give the child a vocabulary of its own "
                "with carried"
            )


def _short(language: str) -> list[tuple[str, str]]:
    names = cldr_names(language)
    pairs = zip(names.sources, names.targets, strict=True)
    return [pair for pair in pairs if max(map(len, pair)) <= LONGEST_NAME]


@cache
def _held_out() -> frozenset[str]:
    english = [source for source, _ in _short("es")]
    single = sorted(name for name in set(english) if english.count(name) == 1)
    order = torch.randperm(len(single), generator=torch.Generator().manual_seed(0)).tolist()
    return frozenset(single[k] for k in order[:TEST_NAMES])


def _with(names: Translations, pairs: list[tuple[str, str]]) -> Translations:
    return replace(
        names,
        sources=tuple(source for source, _ in pairs),
        targets=tuple(target for _, target in pairs),
    )
