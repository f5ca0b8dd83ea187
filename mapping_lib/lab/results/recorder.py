"""Measure a table row by row: resumable, nothing lost, nothing mixed up."""

import json
import math
import platform
import sys
import time
from collections.abc import Callable, Iterable, Mapping
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
from mapping_lib.lab.registry import Entry, find
from mapping_lib.lab.results.files import Row, complaints, key_of, parse, text, write

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
        self._header: dict[str, Any] = json.loads(text(header))  # as a file gives it back
        self._together: dict[str, list[Row]] | None = None  # what waits for the row in progress
        if wrong := complaints(self._header | {"rows": []}):
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
        due = [key for key in keys if not self._has(key)]
        with tqdm(
            total=len(keys),
            initial=len(keys) - len(due),
            desc=self.path.stem,
            disable=not machine.shows_progress(self._progress),
        ) as bar:
            for key in due:
                if not self._has(key):  # another process may have measured it meanwhile
                    bar.set_postfix_str(", ".join(map(str, key.values())))
                    self._measure(key, function)
                bar.update()

    def extend(self, table: str, rows: Iterable[Row]) -> None:
        """Add rows to a further table of the file, such as learning curves.

        Called by a function that :meth:`measure` runs, the rows are written together with the row
        that is measured, or not at all. Rows that the table holds already are left out.

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
        """Return the keys, each with the method first and the seed last, or say what is wrong."""
        checked: list[Row] = []
        for key in map(self._ordered, keys):
            if key in checked:
                raise ValueError(f"the key {key} stands twice")
            checked.append(key)
        for other in [*map(key_of, self.rows()), *checked]:
            if checked and other.keys() != checked[0].keys():
                raise ValueError(
                    f"all keys of a file have the same columns, but {other} and {checked[0]} differ"
                )
        return checked

    def _ordered(self, key: Row) -> Row:
        """Return a key with the method first and the seed last."""
        for name in ("method", "seed"):
            if name not in key:
                raise ValueError(f"the key {key} has no {name!r}")
        if key["method"] not in self._header["methods"]:
            words = suggest(key["method"], self._header["methods"])
            raise ValueError(f"{self._header['recipe']} has no method {key['method']!r}{words}")
        for name, value in key.items():
            if not isinstance(value, str | int | float):
                raise ValueError(f"{name!r} of a key must be a word or a number, not {value!r}")
        problem = {name: key[name] for name in key if name not in ("method", "seed")}
        return {"method": key["method"], **problem, "seed": key["seed"]}

    def _has(self, key: Row) -> bool:
        return any(key_of(row) == key for row in self.rows())

    def _measure(self, key: Row, function: Callable[[Row], Mapping[str, float] | None]) -> None:
        """Measure one row, and write it with what the function hands to `extend`."""
        self._together = {}
        start = time.process_time()
        try:
            values = _numbers(function(dict(key)), key)
            seconds = values.pop("seconds", time.process_time() - start)
            row = key | values | {"seconds": round(seconds, 2)}
            self._write({"rows": [row], **self._together})
        except Exception as error:
            error.add_note(f"while measuring {key}; rows measured before are in {self.path}")
            raise
        finally:
            self._together = None

    def _write(self, tables: Mapping[str, list[Row]]) -> None:
        """Add rows to tables of the file, unless its row of that key is there by now."""
        self.path.parent.mkdir(parents=True, exist_ok=True)
        with FileLock(self.path.with_name(f".{self.path.stem}.lock")):
            content = self._stored()
            taken = [key_of(row) for row in content["rows"]]
            if any(key_of(row) in taken for row in tables.get("rows", [])):
                return
            for table, rows in tables.items():
                held = content.get(table, [])
                content[table] = [*held, *(row for row in rows if row not in held)]
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
        stored = parse(self.path)
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
        if wrong := complaints(content):
            raise ValueError(
                f"{self.path} can't be continued: {'; '.join(wrong)}; correct file or recipe"
            )
        return content


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
