"""The form of a results file: JSON that is read whole, checked, and written whole."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from mapping_lib.lab.files import whole

Row = dict[str, Any]
"""One row of a table, by column."""

FIELDS = ("problem", "recipe", "methods", "conditions", "rows")
METHOD = ("what", "chosen")
ROW = ("method", "seed", "seconds")


def folder() -> Path:
    """Return ``book/results``, looked for from the working directory upwards.

    Raises
    ------
    FileNotFoundError
        The working directory isn't inside a clone of the book.
    """
    here = Path.cwd()
    for parent in (here, *here.parents):
        if (parent / "book" / "results").is_dir():
            return parent / "book" / "results"
    raise FileNotFoundError(
        f"no folder book/results in {here} or above it: run this inside a clone of the book"
    )


def load(name: str) -> dict[str, Any]:
    """Read a results file by its name without ending.

    Parameters
    ----------
    name
        Such as ``"fine_tuning_photographs"``.

    Raises
    ------
    FileNotFoundError
        There is no such file; the message lists those there are.
    ValueError
        As :func:`read` raises it.
    """
    path = folder() / f"{name}.json"
    if not path.is_file():
        known = ", ".join(sorted(file.stem for file in folder().glob("*.json"))) or "none"
        raise FileNotFoundError(f"no results {name!r} in {folder()}; there are: {known}")
    return read(path)


def read(path: Path) -> dict[str, Any]:
    """Read a results file and check that it has what the book relies on.

    Parameters
    ----------
    path
        The file.

    Raises
    ------
    ValueError
        The file is damaged, or lacks something that a results file must have.
    """
    content = parse(path)
    if wrong := complaints(content) or ([] if content["rows"] else ["no row"]):
        raise ValueError(f"{path} is no whole results file: {'; '.join(wrong)}; run its recipe")
    return content


def write(path: Path, content: Mapping[str, Any]) -> None:
    """Write a results file whole or not at all: one line a row, so that changes can be read.

    Parameters
    ----------
    path
        Where to; its folder is made.
    content
        What JSON can hold.

    Raises
    ------
    ValueError
        A number is NaN or infinite, which JSON has not.
    """
    lines = [f"  {text(name)}: {_lines(value)}" for name, value in content.items()]
    path.parent.mkdir(parents=True, exist_ok=True)
    with whole(path) as draft:
        draft.write_text("{\n" + ",\n".join(lines) + "\n}\n", encoding="utf-8")


def key_of(row: Row) -> Row:
    """Return what tells a row from others: its method, the columns of the problem, its seed.

    Parameters
    ----------
    row
        Of a results file, where these stand before what was measured.

    Examples
    --------
    >>> key_of({"method": "a", "labels_per_class": 5, "seed": 0, "accuracy": 0.9})
    {'method': 'a', 'labels_per_class': 5, 'seed': 0}
    """
    names = list(row)
    return {name: row[name] for name in names[: names.index("seed") + 1]}


def parse(path: Path) -> dict[str, Any]:
    """Read a JSON object; a NaN in it is damage."""
    try:
        content = json.loads(path.read_text(encoding="utf-8"), parse_constant=_refuse)
        if not isinstance(content, dict):
            raise ValueError(f"it holds a {type(content).__name__}, not an object")
    except ValueError as error:
        raise ValueError(
            f"{path} is damaged ({error}): check it out again, or remove it and run its recipe"
        ) from error
    return content


def complaints(content: Mapping[str, Any]) -> list[str]:
    """List what a results file lacks; its rows may still be none."""
    wrong = [f"no {field!r}" for field in FIELDS if content.get(field) in (None, "", {})]
    if wrong:
        return wrong
    for name, method in content["methods"].items():
        wrong += [f"method {name!r} has no {word!r}" for word in METHOD if not _has(method, word)]
    for number, row in enumerate(content["rows"], start=1):
        lacking = [f"row {number} has no {word!r}" for word in ROW if not _has(row, word)]
        if not lacking and row["method"] not in content["methods"]:
            lacking = [f"row {number} is of {row['method']!r}, which 'methods' doesn't describe"]
        wrong += lacking
    return wrong


def text(value: Any) -> str:
    """Return a value as one line of JSON."""
    return json.dumps(value, ensure_ascii=False, allow_nan=False)


def _lines(value: Any) -> str:
    """Return a table with a line for each row, a mapping of mappings with a line for each."""
    if isinstance(value, list) and value:
        return "[\n" + ",\n".join("    " + text(row) for row in value) + "\n  ]"
    if isinstance(value, dict) and value and all(isinstance(v, dict) for v in value.values()):
        return "{\n" + ",\n".join(f"    {text(k)}: {text(v)}" for k, v in value.items()) + "\n  }"
    return text(value)


def _has(value: Any, word: str) -> bool:
    return isinstance(value, dict) and value.get(word) not in (None, "")


def _refuse(constant: str) -> None:
    raise ValueError(f"JSON has no {constant}")
