"""Read a reader's own texts: a table with a column of texts, or a folder for each class."""

from __future__ import annotations

import codecs
import csv
import io
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

import torch

from mapping_lib._names import suggest
from mapping_lib.lab.data.types import Texts
from mapping_lib.lab.folders import _visible

SEPARATORS = {".csv": ",;\t", ".tsv": "\t"}
"""What may part the columns, by the ending of the file's name; tried in this order."""

_OTHER_ENCODINGS = "cp1252 (Western European Windows), gb18030 (Chinese) or utf-16"
_WIDE_MARKS = (codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)


@dataclass(frozen=True, repr=False)
class OwnTexts(Texts):
    """Texts of a table or a folder, and where each stands.

    Otherwise as :class:`~mapping_lib.lab.data.types.Texts`.

    Attributes
    ----------
    places
        Of each text, such as ``"mail.csv, line 7"`` or ``"spam/1.txt"``.
    """

    places: tuple[str, ...]


def read_texts(
    path: str | Path,
    *,
    text: str = "text",
    label: str = "label",
    encoding: str = "utf-8",
    drop_repeated: bool = False,
) -> OwnTexts:
    """Read a table of texts and labels, or a folder that has a sub-folder of texts for each class.

    Nothing is guessed, and nothing is written: what can't be read is named by file and line.

    Taught in :ref:`text-classification` (section 6.2.1).

    Parameters
    ----------
    path
        A ``.csv`` file (columns parted by commas, semicolons or tabs), a ``.tsv`` file (tabs), the
        first line with the names of the columns; or a folder whose sub-folders hold ``.txt`` files,
        one text each.
    text, label
        Names of the two columns of a table; others are left alone.
    encoding
        How the bytes are to be read, as Python names it.
    drop_repeated
        Whether a text that comes again under the same label is left out. By default that is an
        error: it could be learned from and tested on.

    Returns
    -------
    OwnTexts
        Classes in alphabetical order.

    Raises
    ------
    FileNotFoundError
        There is no such file or folder.
    ValueError
        Another encoding or kind of file, a column that is missing, a row that is too long or too
        short, an empty text or label, a text that comes again, one class, or a class of one text.
    """
    path = Path(path).expanduser()
    if not path.exists():
        raise FileNotFoundError(f"there is no {path}; looked for it at {path.absolute()}")
    found = [*(_folder(path, encoding) if path.is_dir() else _table(path, text, label, encoding))]
    kept, seen = [], dict[str, tuple[str, str]]()
    for place, words, name in found:
        key = " ".join(words.split())
        other, its_name = seen.setdefault(key, (place, name))
        if other == place:
            kept.append((place, words, name))
        elif its_name != name:
            raise ValueError(
                f"{place} is the same text as {other}, but under {name!r} and not {its_name!r}: "
                "decide which is right"
            )
        elif not drop_repeated:
            raise ValueError(
                f"{place} is the same text as {other}: it could be learned from and tested on; "
                "remove one, or pass drop_repeated=True"
            )
    names = [name for _, _, name in kept]
    classes = sorted(set(names))
    if len(classes) < 2:
        had = f"only {classes[0]!r}" if classes else "no texts at all"
        raise ValueError(f"{path} must have texts of at least two classes, it has {had}")
    for name in classes:
        if names.count(name) == 1:
            place = kept[names.index(name)][0]
            raise ValueError(
                f"the class {name!r} has one text ({place}): two are the least, one to test on"
            )
    return OwnTexts(
        tuple(words for _, words, _ in kept),
        torch.tensor([classes.index(name) for name in names]),
        tuple(classes),
        entry="own texts",
        split="all",
        domain=path.name,
        places=tuple(place for place, _, _ in kept),
    )


def _table(path: Path, text: str, label: str, encoding: str) -> Iterator[tuple[str, str, str]]:
    """Yield place, text and label of each row."""
    if path.suffix.lower() not in SEPARATORS:
        raise ValueError(
            f"{path} must be a {' or '.join(SEPARATORS)} file, or a folder; save a spreadsheet as "
            "CSV first"
        )
    content = _decoded(path, encoding)
    first = content.partition("\n")[0].strip("\r")
    separator, columns = _header(path, first, text, label)
    reader = csv.reader(io.StringIO(content, newline=""), delimiter=separator, strict=True)
    at = {name: columns.index(name) for name in (text, label)}
    start = 1
    for row in _rows(path, reader):
        place, start = f"{path.name}, line {start}", reader.line_num + 1
        if place.endswith(" line 1") or not row:  # the header; a blank line
            continue
        if len(row) != len(columns):
            raise ValueError(
                f"{place}: {len(row)} columns where the first line names {len(columns)}; a text "
                f"that holds {separator!r} must stand in double quotes"
            )
        words, name = row[at[text]].strip(), row[at[label]].strip()
        for column, value in ((text, words), (label, name)):
            if not value:
                raise ValueError(f"{place}: the column {column!r} is empty; fill in or remove it")
        yield place, words, name


def _header(path: Path, first: str, text: str, label: str) -> tuple[str, list[str]]:
    """Return what parts the columns, and their names."""
    tried: list[list[str]] = []
    for separator in SEPARATORS[path.suffix.lower()]:
        columns = [name.strip() for name in next(csv.reader([first], delimiter=separator), [])]
        if text in columns and label in columns:
            if twice := [name for name in (text, label) if columns.count(name) > 1]:
                raise ValueError(f"{path.name}, line 1: the column {twice[0]!r} stands twice")
            return separator, columns
        tried.append(columns)
    columns = max(tried, key=len)
    missing = next(name for name in (text, label) if name not in columns)
    role = "text" if missing == text else "label"
    raise ValueError(
        f"{path.name}, line 1: there is no column {missing!r} (name yours by {role}=…)"
        f"{suggest(missing, columns)}"
    )


def _rows(path: Path, reader: Iterable[list[str]]) -> Iterator[list[str]]:
    """Yield rows; turn an error of the format into one that names the line."""
    rows, line = iter(reader), 0
    while True:
        try:
            row = next(rows)
        except StopIteration:
            return
        except csv.Error as error:
            raise ValueError(
                f"{path.name}, line {line + 1}: this row can't be read ({error}); look for a "
                "double quote that isn't closed"
            ) from error
        line = getattr(reader, "line_num", line)
        yield row


def _folder(folder: Path, encoding: str) -> Iterator[tuple[str, str, str]]:
    """Yield place, text and class of each file."""
    for kind in _visible(folder):
        if not kind.is_dir():
            raise ValueError(
                f"{kind} lies beside the classes; put each text into the sub-folder of its class"
            )
        files = _visible(kind)
        if not files:
            raise ValueError(f"the class {kind} has no texts (.txt)")
        for path in files:
            if path.is_dir() or path.suffix.lower() != ".txt":
                raise ValueError(f"{path} is no .txt file; convert it, or take it out")
            words = _decoded(path, encoding).strip()
            if not words:
                raise ValueError(f"{kind.name}/{path.name} is empty; remove it")
            yield f"{kind.name}/{path.name}", words, kind.name


def _decoded(path: Path, encoding: str) -> str:
    """Read a file as text, or say which line has bytes of another encoding."""
    try:
        name = codecs.lookup(encoding).name
    except LookupError as error:
        raise ValueError(
            f"Python knows no encoding {encoding!r}; try {_OTHER_ENCODINGS}"
        ) from error
    content = path.read_bytes()
    if name == "utf-8":
        if content.startswith(_WIDE_MARKS):
            raise ValueError(f"{path} is UTF-16, not UTF-8; pass encoding='utf-16'")
        content = content.removeprefix(codecs.BOM_UTF8)
    try:
        words = content.decode(encoding)
    except UnicodeDecodeError as error:
        line = content.count(b"\n", 0, error.start) + 1
        raise ValueError(
            f"{path.name}, line {line}: the byte 0x{content[error.start]:02x} isn't {encoding}; "
            f"pass the encoding that the file was saved in, such as {_OTHER_ENCODINGS}"
        ) from error
    if "\0" in words:
        line = words.count("\n", 0, words.index("\0")) + 1
        raise ValueError(f"{path.name}, line {line}: there is a zero byte; it is no text file")
    return words
