"""Measured tables in ``book/results``: written by recipes in ``scripts``, read by the book.

A file holds what was measured ("problem"), by which recipe, on which data and weights, what each
method does and how its hyper-parameters were chosen, the versions and the machine, and the rows.
A row is a method, the columns of the problem, a seed, and then what was measured.
"""

import json
import math
import platform
import statistics
import sys
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from importlib.metadata import version
from numbers import Integral, Real
from pathlib import Path
from typing import Any

import torch
from filelock import FileLock
from tqdm import tqdm

from mapping_lib._names import suggest
from mapping_lib.lab import machine
from mapping_lib.lab.catalogue import Entry
from mapping_lib.lab.files import whole
from mapping_lib.lab.registry import find

Row = dict[str, Any]

_FIELDS = ("problem", "recipe", "methods", "conditions", "rows")
_METHOD, _ROW = ("what", "chosen"), ("method", "seed", "seconds")
_SAME = ("problem", "recipe", "data", "weights", "settings", "conditions")  # or no resuming


@dataclass(frozen=True)
class Method:
    """One line of a comparison.

    Attributes
    ----------
    what
        What it does.
    chosen
        How its hyper-parameters were chosen: on which data, by what, or that they weren't.
    """

    what: str
    chosen: str


class Recorder:
    """Measure a table row by row into a results file; a second run goes on where one stopped.

    The file is the only state. It is read anew before each row, and written whole after it, under
    a lock (a hidden file beside it): an interrupted run loses the row in progress and nothing else,
    and two processes may fill one file. A row that both have measured is kept once, the first.

    Parameters
    ----------
    path
        The file, ``book/results/<name>.json``.
    problem
        What is measured, the title on the results page.
    recipe
        The command that measures it, from the root of the repository and without ``python``.
    methods
        Every method by its name.
    packages
        Whose versions the numbers depend on.
    data, weights
        Entries of the registry, or their names; variant and SHA-256 of each are stored.
    settings
        What else the numbers depend on, such as the number of steps.
    device
        Where the models run, such as ``"cpu"`` or ``"cuda"``.
    progress
        Whether to show a bar; by default as :func:`mapping_lib.lab.training.fit` does.

    Raises
    ------
    ValueError
        The file there is damaged, or was measured under other conditions, which the message names.

    Examples
    --------
    >>> from tempfile import TemporaryDirectory
    >>> coin = Method("says heads", chosen="nothing to choose")
    >>> with TemporaryDirectory() as folder:
    ...     recorder = Recorder(
    ...         Path(folder, "coin.json"),
    ...         problem="a coin",
    ...         recipe="scripts/results_coin.py",
    ...         methods={"heads": coin},
    ...         packages=["torch"],
    ...     )
    ...     keys = [{"method": "heads", "seed": seed} for seed in range(2)]
    ...     recorder.measure(keys, lambda key: {"accuracy": key["seed"] / 2, "seconds": 0})
    ...     recorder.rows()[1]
    {'method': 'heads', 'seed': 1, 'accuracy': 0.5, 'seconds': 0}
    """

    def __init__(
        self,
        path: str | Path,
        *,
        problem: str,
        recipe: str,
        methods: Mapping[str, Method],
        packages: Iterable[str],
        data: Iterable[str | Entry] = (),
        weights: Iterable[str | Entry] = (),
        settings: Mapping[str, Any] | None = None,
        device: str = "cpu",
        progress: bool | None = None,
    ) -> None:
        self.path = Path(path)
        self._progress = progress
        header = {
            "problem": problem,
            "recipe": recipe,
            "data": _variants(data),
            "weights": _variants(weights),
            "methods": {name: asdict(method) for name, method in methods.items()},
            "settings": dict(settings or {}),
            "conditions": conditions(packages, device=device),
        }
        self._header: dict[str, Any] = json.loads(_text(header))  # as a file gives it back
        self._together: dict[str, list[Row]] | None = None  # what waits for the row in progress
        wrong = _wrong(self._header | {"rows": []})
        if wrong:
            raise ValueError(f"{self.path.name} would lack something: {'; '.join(wrong)}")
        self._stored()

    def rows(self, table: str = "rows") -> list[Row]:
        """Return what a table of the file holds by now; a table not begun is empty."""
        return list(self._stored().get(table, []))

    def measure(
        self, keys: Iterable[Row], function: Callable[[Row], Mapping[str, float] | None]
    ) -> None:
        """Measure a row for each key that has none yet.

        Parameters
        ----------
        keys
            Each with "method", "seed", and the columns of the problem, the same in all.
        function
            Takes a key and returns the measured values by name. What it returns should depend on
            the key alone, so that a run in pieces gives what a run in one piece gives. CPU seconds
            of the call are stored as "seconds" unless it returns others.

        Raises
        ------
        ValueError
            A key lacks something, has an unknown method or stands twice; or a measured value is
            no finite number. Rows measured before stay in the file.
        """
        keys = self._checked(keys)
        with tqdm(
            total=len(keys), desc=self.path.stem, disable=not machine.shows_progress(self._progress)
        ) as bar:
            for key in keys:
                if not any(key_of(row) == key for row in self.rows()):
                    bar.set_postfix_str(", ".join(map(str, key.values())))
                    self._measure(key, function)
                bar.update()

    def extend(self, table: str, rows: Iterable[Row]) -> None:
        """Add rows to a further table of the file, such as learning curves.

        Called by a function that :meth:`measure` runs, the rows are written together with the row
        that is measured, or not at all.

        Parameters
        ----------
        table
            Its name; not "rows", which :meth:`measure` fills.
        rows
            What JSON can hold.
        """
        if table == "rows" or table in self._header:
            raise ValueError(f"{table!r} is no further table: choose another name")
        if self._together is None:
            self._write({table: list(rows)})
        else:
            self._together.setdefault(table, []).extend(rows)

    def _checked(self, keys: Iterable[Row]) -> list[Row]:
        """Return the keys with the method first and the seed last, or say what is wrong."""
        checked: list[Row] = []
        for key in keys:
            if lacking := [name for name in ("method", "seed") if name not in key]:
                raise ValueError(f"the key {key} has no {lacking[0]!r}")
            method = key["method"]
            if method not in self._header["methods"]:
                words = suggest(method, self._header["methods"])
                raise ValueError(f"{self._header['recipe']} has no method {method!r}{words}")
            for name, value in key.items():
                if not isinstance(value, str | int | float) or value != value:
                    raise ValueError(f"{name!r} of a key is a word or a number, not {value!r}")
            problem = {name: key[name] for name in key if name not in ("method", "seed")}
            key = {"method": method, **problem, "seed": key["seed"]}
            if key in checked:
                raise ValueError(f"the key {key} stands twice")
            checked.append(key)
        for other in [*map(key_of, self.rows()), *checked]:
            if checked and other.keys() != checked[0].keys():
                raise ValueError(
                    f"all keys of a file have the same columns, but {other} and {checked[0]} differ"
                )
        return checked

    def _measure(self, key: Row, function: Callable[[Row], Mapping[str, float] | None]) -> None:
        """Measure one row, and write it with what the function hands to `extend`."""
        self._together = {}
        start = time.process_time()
        try:
            values = _numbers(function(dict(key)), key)
            seconds = round(time.process_time() - start, 2)
            row = key | values | {"seconds": values.get("seconds", seconds)}
            self._write({"rows": [row], **self._together})
        except Exception as error:
            error.add_note(f"while measuring {key}; the rows before it are in {self.path}")
            raise
        finally:
            self._together = None

    def _write(self, tables: Mapping[str, list[Row]]) -> None:
        """Add rows to tables of the file, unless it has got a row of that key meanwhile."""
        self.path.parent.mkdir(parents=True, exist_ok=True)
        with FileLock(self.path.with_name(f".{self.path.stem}.lock")):
            content = self._stored()
            taken = [key_of(row) for row in content["rows"]]
            if any(key_of(row) in taken for row in tables.get("rows", [])):
                return
            for table, rows in tables.items():
                content[table] = [*content.get(table, []), *rows]
            content["rows"].sort(key=self._place)
            write(self.path, content)

    def _place(self, row: Row) -> tuple[int, list[tuple[bool, Any]]]:
        """Order rows as the methods are, then by their key, whoever measured them when."""
        _, *values = key_of(row).values()
        methods = list(self._header["methods"])
        return methods.index(row["method"]), [(isinstance(value, str), value) for value in values]

    def _stored(self) -> dict[str, Any]:
        """Return the content of the file, which must be this recipe's, or an empty one."""
        if not self.path.exists():
            return self._header | {"rows": []}
        stored = _parse(self.path)
        differing = [
            difference
            for field in _SAME
            for difference in _differences(field, stored.get(field), self._header[field])
        ]
        if differing:
            raise ValueError(
                f"{self.path} was measured otherwise: {'; '.join(differing)}. Rows of both can't "
                "stand in one table: go back to what the file names, or move the file away to "
                "measure everything anew"
            )
        content = self._header | {name: stored[name] for name in stored if name != "methods"}
        if wrong := _wrong(content):
            raise ValueError(f"{self.path} can't be continued: {'; '.join(wrong)}")
        return content


def key_of(row: Row) -> Row:
    """Return what tells a row from others: its method, the columns of the problem, its seed.

    Parameters
    ----------
    row
        Of a results file, where these come before what was measured.

    Examples
    --------
    >>> key_of({"method": "a", "labels_per_class": 5, "seed": 0, "accuracy": 0.9})
    {'method': 'a', 'labels_per_class': 5, 'seed': 0}
    """
    names = list(row)
    return {name: row[name] for name in names[: names.index("seed") + 1]}


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
        The file is damaged, or lacks something that a results file must have.
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
    content = _parse(path)
    wrong = _wrong(content) or ([] if content["rows"] else ["no row"])
    if wrong:
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
    lines = []
    for key, value in content.items():
        if isinstance(value, list) and value:
            rows = ",\n".join("    " + _text(row) for row in value)
            lines.append(f"  {_text(key)}: [\n{rows}\n  ]")
        elif key == "methods":
            methods = ",\n".join(f"    {_text(name)}: {_text(value[name])}" for name in value)
            lines.append(f"  {_text(key)}: {{\n{methods}\n  }}")
        else:
            lines.append(f"  {_text(key)}: {_text(value)}")
    path.parent.mkdir(parents=True, exist_ok=True)
    with whole(path) as draft:
        draft.write_text("{\n" + ",\n".join(lines) + "\n}\n", encoding="utf-8")


def conditions(packages: Iterable[str], *, device: str = "cpu") -> dict[str, Any]:
    """Return what numbers depend on: the versions of some packages and the kind of machine.

    Parameters
    ----------
    packages
        Their names, as pip knows them.
    device
        Where the models run, as :func:`mapping_lib.lab.machine.device` takes it.

    Examples
    --------
    >>> sorted(conditions(["torch"]))
    ['machine', 'python', 'versions']
    """
    place = machine.device(device)
    if place.type == "cuda":
        kind = torch.cuda.get_device_name(place)
    else:
        threads = torch.get_num_threads()
        kind = f"{place.type.upper()}, {'one thread' if threads == 1 else f'{threads} threads'}"
    return {
        "python": platform.python_version(),
        "versions": {package: version(package) for package in packages},
        "machine": f"{sys.platform} {platform.machine()}, {kind}",
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


def comparison(
    rows: Sequence[Row],
    methods: Iterable[str],
    *,
    by: str | None = None,
    value: str = "accuracy",
    digits: int = 2,
) -> str:
    """Return a table in plain text: mean ± standard deviation over the seeds of each method.

    Parameters
    ----------
    rows
        With "method", `value` and the column `by`.
    methods
        The methods to compare, one line each.
    by
        Whose values become the columns; None for a problem that has only one.
    value
        What was measured.
    digits
        Decimals.

    Examples
    --------
    >>> rows = [{"method": "a", "n": n, "accuracy": n / 10} for n in (1, 1, 5)]
    >>> print(comparison(rows, ["a"], by="n"))
    n             1            5
    a   0.10 ± 0.00  0.50 ± 0.00
    """
    methods = list(methods)
    columns = sorted({row[by] for row in rows}) if by else [value]
    wide = max(len(name) for name in [by or "", *methods]) + 3
    lines = [(by or "").ljust(wide) + "  ".join(f"{column:>11}" for column in columns)]
    for method in methods:
        cells = []
        for column in columns:
            where = {"method": method, **({by: column} if by else {})}
            if any(where.items() <= row.items() for row in rows):
                mean, sd = mean_and_sd(rows, value, **where)
                cells.append(f"{mean:.{digits}f} ± {sd:.{digits}f}")
            else:
                cells.append("–")
        lines.append(method.ljust(wide) + "  ".join(f"{cell:>11}" for cell in cells))
    return "\n".join(lines)


def _text(value: Any) -> str:
    return json.dumps(value, ensure_ascii=False, allow_nan=False)


def _parse(path: Path) -> dict[str, Any]:
    """Read JSON as it is; a NaN in it is damage."""
    try:
        content = json.loads(path.read_text(encoding="utf-8"), parse_constant=_refuse)
        if not isinstance(content, dict):
            raise ValueError(f"it holds a {type(content).__name__}, not an object")
    except ValueError as error:
        raise ValueError(
            f"{path} is damaged ({error}): check it out again, or remove it and run its recipe"
        ) from error
    return content


def _refuse(constant: str) -> None:
    raise ValueError(f"JSON has no {constant}")


def _variants(entries: Iterable[str | Entry]) -> dict[str, dict[str, str]]:
    """Return variant and hash of each entry by its name."""
    found = [find(entry) if isinstance(entry, str) else entry for entry in entries]
    return {entry.name: {"variant": entry.variant, "sha256": entry.sha256} for entry in found}


def _numbers(values: Mapping[str, float] | None, key: Row) -> dict[str, float]:
    """Return measured values as numbers that JSON can hold."""
    if not values:
        raise ValueError("the function returned no values; due is a dict such as {'accuracy': 0.9}")
    numbers: dict[str, float] = {}
    for name, value in values.items():
        if name in key:
            raise ValueError(f"the function returned {name!r}, which belongs to the key")
        if not isinstance(value, Real) or not math.isfinite(value):
            raise ValueError(f"{name!r} must be a finite number, not {value!r}")
        numbers[name] = int(value) if isinstance(value, Integral) else float(value)
    return numbers


def _differences(name: str, there: Any, here: Any) -> list[str]:
    """Say in which places two values differ."""
    if isinstance(there, dict) and isinstance(here, dict):
        places = [(f"{name} {key}", there.get(key), here.get(key)) for key in {**there, **here}]
        return [difference for place in places for difference in _differences(*place)]
    return [] if there == here else [f"{name} was {there!r}, is {here!r}"]


def _wrong(content: Mapping[str, Any]) -> list[str]:
    """List what a results file lacks; rows may be none yet."""
    if lacking := [f"no {field!r}" for field in _FIELDS if content.get(field) in (None, "", {})]:
        return lacking
    methods = content["methods"]
    wrong = []
    for name, method in methods.items():
        wrong += [f"method {name!r} has no {word!r}" for word in _METHOD if not _has(method, word)]
    for number, row in enumerate(content["rows"], start=1):
        missing = [f"row {number} has no {word!r}" for word in _ROW if not _has(row, word)]
        if not missing and row["method"] not in methods:
            missing = [f"row {number} has the method {row['method']!r}, which isn't described"]
        wrong += missing
    return wrong


def _has(value: Any, word: str) -> bool:
    return isinstance(value, dict) and value.get(word) not in (None, "")
