"""Measured tables in ``book/results``: written by recipes in ``scripts``, read by the notebooks."""

import json
import platform
import statistics
import sys
from collections.abc import Iterable, Sequence
from importlib.metadata import version
from pathlib import Path
from typing import Any

from mapping_lib._names import suggest
from mapping_lib.lab.files import whole

Row = dict[str, Any]


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
        The file is damaged.
    """
    path = folder() / f"{name}.json"
    if not path.is_file():
        known = ", ".join(sorted(file.stem for file in folder().glob("*.json"))) or "none"
        raise FileNotFoundError(f"no results {name!r} in {folder()}; there are: {known}")
    try:
        content: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    except ValueError as error:
        raise ValueError(
            f"{path} is damaged ({error}): check it out again, or run its recipe"
        ) from error
    return content


def write(path: Path, content: dict[str, Any]) -> None:
    """Write a results file whole or not at all: one line a row, so that changes can be read.

    Parameters
    ----------
    path
        Where to; its folder is made.
    content
        What JSON can hold. It names its recipe under "recipe".

    Raises
    ------
    ValueError
        A number is NaN or infinite, which JSON has not.
    """

    def text(value: Any) -> str:
        return json.dumps(value, ensure_ascii=False, allow_nan=False)

    lines = []
    for key, value in content.items():
        if isinstance(value, list) and value:
            rows = ",\n".join("    " + text(row) for row in value)
            lines.append(f"  {json.dumps(key)}: [\n{rows}\n  ]")
        else:
            lines.append(f"  {json.dumps(key)}: {text(value)}")
    path.parent.mkdir(parents=True, exist_ok=True)
    with whole(path) as draft:
        draft.write_text("{\n" + ",\n".join(lines) + "\n}\n", encoding="utf-8")


def conditions(packages: Iterable[str]) -> dict[str, Any]:
    """Return what numbers depend on: the versions of some packages and the kind of machine."""
    return {
        "python": platform.python_version(),
        "versions": {package: version(package) for package in packages},
        "machine": f"{sys.platform} {platform.machine()}, CPU, one thread",
    }


def mean_and_sd(rows: Sequence[Row], value: str, **where: Any) -> tuple[float, float]:
    """Return mean and standard deviation of a value over the rows that match.

    Parameters
    ----------
    rows
        One a measurement.
    value
        The column to average.
    **where
        Columns and what they must hold.

    Raises
    ------
    KeyError
        No row has such a column, or none matches.

    Examples
    --------
    >>> rows = [{"method": "a", "seed": 0, "accuracy": 1.0}, {"method": "a", "seed": 1, \
"accuracy": 0.0}]
    >>> mean_and_sd(rows, "accuracy", method="a")
    (0.5, 0.7071067811865476)
    """
    known = {name for row in rows for name in row}
    for name in (value, *where):
        if rows and name not in known:
            raise KeyError(f"no row has {name!r}{suggest(name, known)}")
    values = [
        row[value] for row in rows if all(row.get(key) == wanted for key, wanted in where.items())
    ]
    if not values:
        raise KeyError(f"no row has {where}")
    return statistics.fmean(values), statistics.stdev(values) if len(values) > 1 else 0.0


def comparison(rows: Sequence[Row], methods: Iterable[str], *, by: str) -> str:
    """Return a table in plain text: mean ± standard deviation of the accuracy of each method.

    Parameters
    ----------
    rows
        With "method", "accuracy" and the column `by`.
    methods
        The methods to compare, one line each.
    by
        Whose values become the columns.

    Examples
    --------
    >>> rows = [{"method": "a", "n": n, "accuracy": n / 10} for n in (1, 1, 5)]
    >>> print(comparison(rows, ["a"], by="n"))
    n             1            5
    a   0.10 ± 0.00  0.50 ± 0.00
    """
    methods = list(methods)
    columns = sorted({row[by] for row in rows})
    wide = max(len(name) for name in [by, *methods]) + 3
    lines = [by.ljust(wide) + "  ".join(f"{column:>11}" for column in columns)]
    for method in methods:
        cells = []
        for column in columns:
            if any(row["method"] == method and row[by] == column for row in rows):
                mean, sd = mean_and_sd(rows, "accuracy", method=method, **{by: column})
                cells.append(f"{mean:.2f} ± {sd:.2f}")
            else:
                cells.append("–")
        lines.append(method.ljust(wide) + "  ".join(f"{cell:>11}" for cell in cells))
    return "\n".join(lines)
