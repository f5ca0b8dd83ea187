import json
import re
import subprocess
import sys
from importlib.metadata import version
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
import pytest
import torch

from mapping_lib.lab import results
from mapping_lib.lab.plots.results import table_of_dots, table_of_means
from mapping_lib.lab.registry import find


@pytest.fixture
def folder(tmp_path, monkeypatch):
    folder = tmp_path / "book" / "results"
    folder.mkdir(parents=True)
    (tmp_path / "book" / "5_practice").mkdir()
    monkeypatch.chdir(tmp_path / "book" / "5_practice")
    return folder


METHODS = {
    "guess": results.Method("says the most frequent class", chosen="nothing to choose"),
    "learn": results.Method("learns", chosen="rate by hand"),
}


def recorder(folder, **changes):
    settings = {
        "problem": "α → β",
        "recipe": "scripts/results_x.py",
        "methods": METHODS,
        "packages": ["torch"],
        "data": ["photographs"],
        "settings": {"steps": 2},
    }
    return results.Recorder(folder / "table.json", **settings | changes)


def keys(*methods, seeds=2, labels=(1, 5)):
    return [
        {"method": method, "labels_per_class": number, "seed": seed}
        for method in methods
        for number in labels
        for seed in range(seeds)
    ]


def measured(key):
    return {"accuracy": key["seed"] / 4}


def content(folder, change=lambda content: None):
    """Return a whole file's content, changed."""
    recorder(folder).measure(keys("guess", labels=(1,)), measured)
    stored = json.loads((folder / "table.json").read_text(encoding="utf-8"))
    change(stored)
    (folder / "table.json").write_text(json.dumps(stored), encoding="utf-8")
    return stored


def stems(folder):
    return sorted(file.name for file in folder.iterdir())


# Reading and writing


def test_round_trip_one_line_a_row_and_a_method(folder):
    path = folder / "table.json"
    whole = content(folder) | {"curves": [], "sweep": [{"rate": 0.1}]}
    results.write(path, whole)
    assert results.load("table") == whole
    lines = path.read_text(encoding="utf-8").splitlines()
    assert '    {"rate": 0.1}' in lines
    assert '  "problem": "α → β",' in lines
    assert '    "learn": {"what": "learns", "chosen": "rate by hand"}' in lines
    assert path.stat().st_mode & 0o777 == 0o644


@pytest.mark.parametrize("error", [KeyboardInterrupt, OSError])
def test_an_interrupted_write_keeps_the_old_file(folder, monkeypatch, error):
    path = folder / "table.json"
    results.write(path, {"rows": [{"a": 1}]})

    def interrupted(*arguments):
        raise error

    monkeypatch.setattr(Path, "replace", interrupted)
    with pytest.raises(error):
        results.write(path, {"rows": []})
    assert json.loads(path.read_text(encoding="utf-8")) == {"rows": [{"a": 1}]}
    assert stems(folder) == ["table.json"]


def test_missing_results_are_named(folder, monkeypatch):
    (folder / "other.json").write_text("{}")
    with pytest.raises(FileNotFoundError, match=r"no results 'table' in .*; there are: other"):
        results.load("table")
    monkeypatch.chdir("/")
    with pytest.raises(FileNotFoundError, match=r"no folder book/results in / or above it"):
        results.load("table")


@pytest.mark.parametrize(
    ("text", "words"),
    [('{"rows": [', "Expecting value"), ('{"a": NaN}', "no NaN"), ("[1]", "a list, not an object")],
)
def test_a_damaged_file_is_named(folder, text, words):
    (folder / "table.json").write_text(text)
    with pytest.raises(ValueError, match=rf"table\.json is damaged \(.*{words}.* run its recipe"):
        results.load("table")


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_what_json_cannot_hold_is_refused(folder, value):
    for written in ({"a": value}, {"rows": [{"a": value}]}):
        with pytest.raises(ValueError, match="JSON"):
            results.write(folder / "table.json", written)
    assert not stems(folder)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda c: c.pop("problem"), "no 'problem'"),
        (lambda c: c.pop("recipe"), "no 'recipe'"),
        (lambda c: c.pop("conditions"), "no 'conditions'"),
        (lambda c: c.update(methods={}), "no 'methods'"),
        (lambda c: c["methods"]["learn"].pop("chosen"), "method 'learn' has no 'chosen'"),
        (lambda c: c["methods"].update(guess="guesses"), "method 'guess' has no 'what'"),
        (lambda c: c["rows"][0].pop("method"), "row 1 has no 'method'"),
        (lambda c: c["rows"][1].pop("seed"), "row 2 has no 'seed'"),
        (lambda c: c["rows"][1].pop("seconds"), "row 2 has no 'seconds'"),
        (lambda c: c["rows"][1].update(method="luck"), "row 2 is of 'luck', which 'methods'"),
        (lambda c: c["rows"].clear(), "no row"),
    ],
)
def test_what_a_file_lacks_is_named(folder, change, words):
    content(folder, change)
    with pytest.raises(ValueError, match=rf"table\.json is no whole results file: .*{words}"):
        results.load("table")


# Recording


def test_a_recorded_table_has_all_that_the_book_needs(folder):
    recorder(folder, weights=["efficientnet-lite0"]).measure(keys("guess", "learn"), measured)
    stored = results.load("table")
    entry = find("photographs")
    assert stored["data"] == {"photographs": {"variant": entry.variant, "sha256": entry.sha256}}
    assert list(stored["weights"]) == ["efficientnet-lite0"]
    assert stored["settings"] == {"steps": 2}
    assert stored["conditions"]["versions"] == {"torch": version("torch")}
    assert list(map(results.key_of, stored["rows"])) == keys("guess", "learn")
    assert list(stored["rows"][1]) == ["method", "labels_per_class", "seed", "accuracy", "seconds"]
    assert stored["rows"][1]["accuracy"] == 0.25


def test_seconds_are_of_the_cpu_unless_the_function_says_others(folder):
    def busy(key):
        if key["seed"] == 1:
            return {"seconds": 7.1234, "accuracy": 1}
        return {"accuracy": sum(i % 7 for i in range(2_000_000)) * 0.0}

    recorder(folder).measure(keys("guess", labels=(1,)), busy)
    first, second = results.load("table")["rows"]
    assert 0 < first["seconds"] < 60
    assert second["seconds"] == 7.12
    assert list(second)[-2:] == ["accuracy", "seconds"]


def test_rows_stand_in_the_order_of_methods_whenever_they_were_measured(folder):
    recorder(folder).measure(reversed(keys("guess", "learn", labels=(5, 20, 1))), measured)
    ordered = keys("guess", "learn", labels=(1, 5, 20))
    assert list(map(results.key_of, results.load("table")["rows"])) == ordered


@pytest.mark.parametrize("error", [KeyboardInterrupt, RuntimeError("no memory")])
def test_an_interrupted_run_loses_only_the_row_in_progress(folder, error):
    asked = []

    def interrupted(key):
        asked.append(key)
        table.extend("curves", [{"seed": key["seed"], "step": 0}])
        if len(asked) == 3:
            raise error
        return measured(key)

    table = recorder(folder)
    with pytest.raises(type(error) if isinstance(error, Exception) else error) as caught:
        table.measure(keys("guess"), interrupted)
    if isinstance(error, RuntimeError):
        assert re.search(
            r"while measuring .*'seed': 0.* in .*table\.json", caught.value.__notes__[0]
        )
    assert len(table.rows()) == 2
    assert [row["seed"] for row in table.rows("curves")] == [0, 1]
    table.extend("sweep", [{"rate": 0.1}])
    assert table.rows("sweep") == [{"rate": 0.1}]

    recorder(folder).measure(keys("guess"), interrupted)
    assert asked == [*keys("guess")[:3], *keys("guess")[2:]]
    assert list(map(results.key_of, results.load("table")["rows"])) == keys("guess")


def test_measuring_again_measures_nothing(folder):
    recorder(folder).measure(keys("guess"), measured)
    before = (folder / "table.json").read_bytes()
    recorder(folder).measure(keys("guess"), lambda key: pytest.fail("measured again"))
    assert (folder / "table.json").read_bytes() == before


def test_further_tables_are_written_at_once_and_once(folder):
    table = recorder(folder)
    table.extend("sweep", [{"rate": 0.1}])
    table.extend("sweep", [{"rate": 0.1}, {"rate": 0.2}])
    assert recorder(folder).rows("sweep") == [{"rate": 0.1}, {"rate": 0.2}]
    assert table.rows() == table.rows("curves") == []
    for name in ("rows", "methods"):
        with pytest.raises(ValueError, match=f"'{name}' is no further table"):
            table.extend(name, [])


def swap(path, value):
    def change(stored):
        *way, last = path
        for name in way:
            stored = stored[name]
        stored[last] = value

    return change


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (
            swap(["conditions", "versions", "torch"], "1.0"),
            f"conditions versions torch was '1.0', is '{re.escape(version('torch'))}'",
        ),
        (swap(["conditions", "machine"], "a GPU"), "conditions machine was 'a GPU', is '"),
        (swap(["data", "photographs", "sha256"], "f00"), "data photographs sha256 was 'f00', is '"),
        (swap(["data"], {}), "data photographs was None, is {"),
        (swap(["recipe"], "scripts/y.py"), "recipe was 'scripts/y.py', is 'scripts/results_x.py'"),
        (swap(["problem"], "β → α"), "problem was 'β → α', is 'α → β'"),
        (swap(["settings", "steps"], 3), "settings steps was 3, is 2"),
    ],
)
def test_a_file_that_was_measured_otherwise_is_not_continued(folder, change, words):
    content(folder, change)
    before = (folder / "table.json").read_bytes()
    with pytest.raises(ValueError, match=rf"measured otherwise: {words}.* move the file away"):
        recorder(folder)
    assert (folder / "table.json").read_bytes() == before


def test_a_file_with_a_method_that_the_recipe_gave_up_is_not_continued(folder):
    content(folder)
    with pytest.raises(ValueError, match="can't be continued: row 1 is of 'guess'"):
        recorder(folder, methods={"learn": METHODS["learn"]})


def test_new_methods_and_better_words_are_no_reason_to_measure_anew(folder):
    content(folder)
    methods = {"guess": results.Method("guesses", chosen="nothing"), "new": METHODS["learn"]}
    recorder(folder, methods=methods).measure(keys("new", labels=(1,)), measured)
    stored = results.load("table")
    assert stored["methods"]["guess"] == {"what": "guesses", "chosen": "nothing"}
    assert [row["method"] for row in stored["rows"]] == ["guess", "guess", "new", "new"]


@pytest.mark.parametrize(
    ("wrong", "words"),
    [
        (
            {"method": "gues", "seed": 0},
            "scripts/results_x.py has no method 'gues'; did you mean 'gu",
        ),
        ({"method": "guess"}, "has no 'seed'"),
        ({"seed": 0}, "has no 'method'"),
        ({"method": "guess", "labels_per_class": 1, "seed": 1}, "stands twice"),
        ({"method": "guess", "seed": 1}, "same columns"),
        ({"method": "guess", "labels_per_class": None, "seed": 3}, "a word or a number, not None"),
    ],
)
def test_keys_are_checked_before_anything_is_measured(folder, wrong, words):
    with pytest.raises(ValueError, match=re.escape(words)):
        recorder(folder).measure([*keys("guess"), wrong], lambda key: pytest.fail("measured"))
    assert not stems(folder)


def test_keys_have_the_columns_of_the_stored_rows(folder):
    content(folder)
    with pytest.raises(ValueError, match="all keys of a file have the same columns"):
        recorder(folder).measure([{"method": "guess", "seed": 9}], measured)


@pytest.mark.parametrize(
    ("values", "words"),
    [
        ({"accuracy": float("nan")}, "'accuracy' must be a finite number, not nan"),
        ({"accuracy": np.float32("inf")}, "'accuracy' must be a finite number, not .*inf"),
        ({"accuracy": "0.9"}, "'accuracy' must be a finite number, not '0.9'"),
        ({"accuracy": torch.tensor(0.5)}, r"must be a finite number, not tensor\(0.5"),
        ({"seed": 1}, "returned 'seed', which belongs to the key"),
        (None, "returned no values"),
        ({}, "returned no values"),
    ],
)
def test_what_is_no_measurement_is_refused(folder, values, words):
    def second(key):
        return measured(key) if key["seed"] == 0 else values

    with pytest.raises(ValueError, match=words):
        recorder(folder).measure(keys("guess", labels=(1,)), second)
    assert [row["seed"] for row in results.load("table")["rows"]] == [0]


def test_numbers_of_numpy_are_numbers(folder):
    values = {"accuracy": np.float32(0.5), "errors": np.int64(3)}
    recorder(folder).measure(keys("guess", seeds=1, labels=(1,)), lambda key: values)
    (row,) = results.load("table")["rows"]
    assert (row["accuracy"], row["errors"]) == (0.5, 3)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"problem": ""}, "table.json would lack something: no 'problem'"),
        ({"methods": {}}, "no 'methods'"),
        ({"methods": {"a": results.Method("a", "")}}, "method 'a' has no 'chosen'"),
        ({"data": ["photograph"]}, "unknown entry 'photograph'; did you mean 'photographs'"),
    ],
)
def test_a_recipe_that_says_too_little_is_refused(folder, change, words):
    with pytest.raises(ValueError, match=re.escape(words)):
        recorder(folder, **change)


@pytest.mark.parametrize("wanted", [True, False])
def test_progress_is_shown_where_it_is_wanted(folder, capsys, wanted):
    recorder(folder, progress=wanted).measure(keys("guess"), measured)
    seen = capsys.readouterr()
    assert ("table" in seen.err and "4/4" in seen.err) == wanted
    assert seen.out == ""


WORKER = """
import sys, time
from pathlib import Path
from mapping_lib.lab import results

path, seeds = Path(sys.argv[1]), range(*map(int, sys.argv[2:]))
recorder = results.Recorder(
    path,
    problem="two processes",
    recipe="scripts/results_x.py",
    methods={"guess": results.Method("guesses", chosen="nothing")},
    packages=["torch"],
)

def measure(key):
    recorder.extend("curves", [key | {"step": step} for step in range(2)])
    return {"accuracy": seeds.start}

print("ready", flush=True)
sys.stdin.readline()
recorder.measure([{"method": "guess", "seed": seed} for seed in seeds], measure)
"""


def test_two_processes_fill_one_file_and_lose_nothing(folder):
    """Sixty rows each, twenty of them the same."""
    command = [sys.executable, "-c", WORKER, str(folder / "table.json")]
    both = [
        subprocess.Popen(
            [*command, *bounds], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )
        for bounds in (("0", "60"), ("40", "100"))
    ]
    for process in both:
        assert process.stdout.readline() == "ready\n"
    for process in both:
        process.stdin.write("go\n")
        process.stdin.flush()
    for process in both:
        process.communicate(timeout=120)
        assert process.returncode == 0
    stored = results.load("table")
    assert [row["seed"] for row in stored["rows"]] == list(range(100))
    assert {row["accuracy"] for row in stored["rows"]} == {0, 40}
    assert len(stored["curves"]) == 200


def test_what_another_has_measured_meanwhile_is_not_measured_again(folder):
    asked = []

    def measure_while_another_does(key):
        asked.append(key["seed"])
        recorder(folder).measure(keys("guess", seeds=3, labels=(1,))[1:2], measured)
        return measured(key)

    recorder(folder).measure(keys("guess", seeds=3, labels=(1,)), measure_while_another_does)
    assert asked == [0, 2]


def test_a_second_recipe_cannot_write_into_a_file_begun_meanwhile(folder):
    first, second = recorder(folder), recorder(folder, settings={"steps": 3})
    first.measure(keys("guess"), measured)
    with pytest.raises(ValueError, match="settings steps was 2, is 3"):
        second.measure(keys("learn"), measured)
    assert {row["method"] for row in results.load("table")["rows"]} == {"guess"}


def test_conditions_name_versions_and_machine(monkeypatch):
    monkeypatch.setattr(torch, "get_num_threads", lambda: 1)
    found = results.conditions(["torch"])
    assert re.match(r"\d+\.\d+", found["versions"]["torch"])
    assert found["machine"].endswith("CPU, one thread")
    monkeypatch.setattr(torch, "get_num_threads", lambda: 2)
    assert results.conditions([])["machine"].endswith("CPU, 2 threads")
    with pytest.raises(ValueError, match="unknown device 'gpu'"):
        results.conditions([], device="gpu")


# Tables


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


def test_misspelt_columns_are_answered_with_the_nearest():
    rows = [{"method": "a", "accuracy": 1.0}, {"method": "b"}]
    with pytest.raises(KeyError, match="no row has 'methd'; did you mean 'method'"):
        results.mean_and_sd(rows, "accuracy", methd="a")
    with pytest.raises(KeyError, match="no row has 'acuracy'; did you mean 'accuracy'"):
        results.mean_and_sd(rows, "acuracy", method="a")


def test_comparison_leaves_a_dash_where_nothing_was_measured():
    rows = [{"method": "long name", "n": 20, "accuracy": 1.0}]
    rows += [{"method": "b", "n": 1, "accuracy": 0.25}, {"method": "b", "n": 1, "accuracy": 0.75}]
    assert results.comparison(rows, ["b", "long name"], by="n").splitlines() == [
        "n                     1           20",
        "b           0.50 ± 0.35            –",
        "long name             –  1.00 ± 0.00",
    ]


def test_comparison_of_another_value_in_one_column():
    rows = [{"method": "a", "seed": seed, "seconds": 10.0 * seed} for seed in (1, 2, 3)]
    assert results.comparison(rows, ["a"], value="seconds", digits=0).splitlines() == [
        "        seconds",
        "a       20 ± 10",
    ]


# Pictures


def drawn(axis, marker):
    """Return the x of every point with that marker, row after row from the top."""
    points = [
        (round(float(y)), float(x))
        for line in axis.lines
        if line.get_marker() == marker
        for x, y in zip(*line.get_data(), strict=True)
    ]
    return [x for _, x in sorted(points)]


def test_a_table_of_dots_shows_each_seed_and_each_mean():
    runs = {
        "a": {"1": [0.2, 0.4], "5": [0.5]},
        "b, with a name of two lines, at least": {"5": [0.7]},
    }
    figure = table_of_dots(runs, value="accuracy", by="labels")
    (axis,) = figure.axes
    assert drawn(axis, "o") == [0.2, 0.4, 0.5, 0.7]
    assert drawn(axis, "|") == pytest.approx([0.3, 0.5, 0.7])
    assert [text.get_text() for text in axis.get_yticklabels()] == [
        "a",
        "b, with a name of two\nlines, at least",
    ]
    (legend,) = figure.legends
    assert legend.get_title().get_text() == "labels"
    assert [text.get_text() for text in legend.get_texts()] == ["1", "5"]
    plt.close(figure)


def test_a_table_of_one_column_is_drawn_as_bars_with_numbers():
    figure = table_of_dots({"a": {"": [0.9, 1.0]}, "b": {"": [0.5]}}, value="accuracy")
    (axis,) = figure.axes
    assert {text.get_text() for text in axis.texts} == {"0.950 ± 0.071", "0.500"}
    assert max(axis.get_xticks()) == 1  # no accuracy is larger
    assert not figure.legends
    plt.close(figure)


def test_a_legend_of_long_names_stays_inside_the_figure():
    names = [f"{count} rows of a source with a long name" for count in range(5)]
    figure = table_of_dots({"a": {name: [0.5] for name in names}}, value="accuracy", by="rows")
    figure.canvas.draw()
    (legend,) = figure.legends
    assert legend.get_window_extent().x0 >= 0
    assert legend.get_window_extent().x1 <= figure.bbox.width
    plt.close(figure)


def test_a_table_of_means_leaves_what_was_not_measured_empty_and_sorts_numbers_as_numbers():
    runs = {"a": {"10, blur": [0.2, 0.4], "5, blur": [0.5]}, "b": {"5, blur": [0.7]}}
    figure = table_of_means(runs, value="accuracy", by="labels")
    axis, bar = figure.axes
    assert [text.get_text() for text in axis.get_yticklabels()] == ["5, blur", "10, blur"]
    assert [text.get_text() for text in axis.get_xticklabels()] == ["a", "b"]
    assert [text.get_text() for text in axis.texts] == ["0.50", "0.70", "0.30"]
    assert bar.get_ylabel() == "accuracy"
    plt.close(figure)


@pytest.mark.parametrize("draw", [table_of_dots, table_of_means])
def test_a_table_of_nothing_is_not_drawn(draw):
    with pytest.raises(ValueError, match="no results to draw"):
        draw({}, value="accuracy")
