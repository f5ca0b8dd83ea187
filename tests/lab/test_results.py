import json
import re
from pathlib import Path

import pytest

from mapping_lib.lab import results


@pytest.fixture
def folder(tmp_path, monkeypatch):
    folder = tmp_path / "book" / "results"
    folder.mkdir(parents=True)
    (tmp_path / "book" / "5_practice").mkdir()
    monkeypatch.chdir(tmp_path / "book" / "5_practice")
    return folder


CONTENT = {"problem": "α → β", "settings": {"steps": 2}, "rows": [{"a": 1}, {"a": 2}], "empty": []}


def test_round_trip_one_line_a_row(folder):
    path = folder / "table.json"
    results.write(path, CONTENT)
    assert results.load("table") == CONTENT
    lines = path.read_text(encoding="utf-8").splitlines()
    assert '    {"a": 1},' in lines
    assert '  "problem": "α → β",' in lines
    assert [file.name for file in folder.iterdir()] == ["table.json"]
    assert path.stat().st_mode & 0o777 == 0o644


@pytest.mark.parametrize("error", [KeyboardInterrupt, OSError])
def test_an_interrupted_write_keeps_the_old_file(folder, monkeypatch, error):
    path = folder / "table.json"
    results.write(path, CONTENT)

    def interrupted(*arguments):
        raise error

    monkeypatch.setattr(Path, "replace", interrupted)
    with pytest.raises(error):
        results.write(path, {"rows": []})
    assert json.loads(path.read_text(encoding="utf-8")) == CONTENT
    assert [file.name for file in folder.iterdir()] == ["table.json"]


def test_missing_results_are_named(folder, tmp_path, monkeypatch):
    results.write(folder / "other.json", CONTENT)
    with pytest.raises(FileNotFoundError, match=r"no results 'table' in .*; there are: other"):
        results.load("table")
    monkeypatch.chdir("/")
    with pytest.raises(FileNotFoundError, match=r"no folder book/results in / or above it"):
        results.load("table")


def test_mean_and_sd_of_matching_rows():
    rows = [
        {"m": "a", "s": 0, "v": 1.0},
        {"m": "a", "s": 1, "v": 3.0},
        {"m": "b", "s": 0, "v": 9.0},
    ]
    assert results.mean_and_sd(rows, "v", m="a") == (2.0, pytest.approx(2**0.5))
    assert results.mean_and_sd(rows, "v", m="b") == (9.0, 0.0)
    with pytest.raises(KeyError, match=re.escape("no row has {'m': 'c'}")):
        results.mean_and_sd(rows, "v", m="c")


def test_comparison_leaves_a_dash_where_nothing_was_measured():
    rows = [{"method": "long name", "n": 20, "accuracy": 1.0}]
    rows += [{"method": "b", "n": 1, "accuracy": 0.25}, {"method": "b", "n": 1, "accuracy": 0.75}]
    assert results.comparison(rows, ["b", "long name"], by="n").splitlines() == [
        "n                     1           20",
        "b           0.50 ± 0.35            –",
        "long name             –  1.00 ± 0.00",
    ]


def test_conditions_name_versions_and_machine():
    found = results.conditions(["torch"])
    assert re.match(r"\d+\.\d+", found["versions"]["torch"])
    assert "one thread" in found["machine"]


def test_a_damaged_file_is_named(folder):
    (folder / "table.json").write_text('{"rows": [')
    with pytest.raises(ValueError, match=r"table\.json is damaged .* run its recipe"):
        results.load("table")


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_what_json_cannot_hold_is_refused(folder, value):
    for content in ({"a": value}, {"rows": [{"a": value}]}):
        with pytest.raises(ValueError, match="JSON"):
            results.write(folder / "table.json", content)
    assert not list(folder.iterdir())


def test_misspelt_columns_are_answered_with_the_nearest():
    rows = [{"method": "a", "accuracy": 1.0}, {"method": "b"}]
    with pytest.raises(KeyError, match="no row has 'methd'; did you mean 'method'"):
        results.mean_and_sd(rows, "accuracy", methd="a")
    with pytest.raises(KeyError, match="no row has 'acuracy'; did you mean 'accuracy'"):
        results.mean_and_sd(rows, "acuracy", method="a")
