"""Results files belong to recipes and data that are here; the page shows what they hold."""

import course
import pytest
import results_page
from notebooks import BOOK, ROOT

from mapping_lib.lab import results
from mapping_lib.lab.registry import find

FILES = pytest.mark.parametrize(
    "path", sorted((BOOK / "results").glob("*.json")), ids=lambda path: path.stem
)
HARD = "\N{NO-BREAK SPACE}"


def content(**changes):
    method = {"what": "Says something.", "chosen": "nothing to choose"}
    rows = [("guess", 1, 0, 0.25), ("guess", 1, 1, 0.75), ("guess", 5, 0, 1.0), ("luck", 5, 0, 0.5)]
    names = ("method", "labels_per_class", "seed", "accuracy")
    return {
        "problem": "a coin",
        "recipe": "scripts/results_5_2.py coin",
        "data": {"photographs": {"variant": find("photographs").variant, "sha256": "f" * 64}},
        "methods": {"guess": method, "luck": method},
        "conditions": {"python": "3", "versions": {"torch": "2"}, "machine": "an abacus"},
        "rows": [dict(zip(names, row, strict=True)) | {"seconds": 12.0} for row in rows],
    } | changes


@FILES
def test_recipe_and_data_of_a_results_file_are_here(path):
    stored = results.read(path)
    assert (ROOT / stored["recipe"].split()[0]).is_file()
    assert course.section_of(stored["recipe"])
    for name, of in {**stored["data"], **stored["weights"]}.items():
        assert find(name, variant=of["variant"]).sha256 == of["sha256"]


def test_table_has_a_line_a_method_and_a_dash_where_nothing_was_measured():
    lines = results_page.section("coin", content(), "9.9")
    assert lines[:2] == ["(results-coin)=", "## A coin"]
    assert "Used in 9.9." in lines
    start = lines.index(f"| method | 1 | 5 | seeds | CPU{HARD}s |")
    assert lines[start + 2 : start + 4] == [
        f"| guess | 0.500{HARD}±{HARD}0.354 | 1.000 | 2 | 12 |",
        "| luck | – | 0.500 | 1 | 12 |",
    ]


def test_problem_of_one_column_has_its_values_name_over_it():
    rows = [{"method": "luck", "seed": 0, "errors": 3, "seconds": 0.5}]
    lines = results_page.section("coin", content(rows=rows), "9.9")
    start = lines.index(f"| method | errors | seeds | CPU{HARD}s |")
    assert lines[start + 2] == "| luck | 3.000 | 1 | 0.5 |"


def test_command_names_the_folder_of_real_data_only_where_it_is_needed():
    lines = results_page.section("coin", content(), "9.9")
    assert "OMP_NUM_THREADS=1 python scripts/results_5_2.py coin" in lines
    entry = find("hymenoptera")
    data = {"hymenoptera": {"variant": entry.variant, "sha256": entry.sha256}}
    lines = results_page.section("coin", content(data=data), "9.9")
    assert "OMP_NUM_THREADS=1 MAPPING_DATA=… python scripts/results_5_2.py coin" in lines


def test_settings_are_words():
    settings = {"steps": 80, "head": {"rate": 0.1, "epochs": 5}}
    lines = results_page.section("coin", content(settings=settings), "9.9")
    assert "- settings: steps 80, head (rate 0.1, epochs 5)" in lines


def test_recipe_of_no_section_is_refused():
    assert course.section_of("scripts/results_5_2.py x").startswith("{ref}`5.2 ")
    for recipe in ("scripts/results_9_9_9.py", "scripts/measure.py"):
        with pytest.raises(ValueError, match=rf"'{recipe}' is not scripts/results_<section>\.py"):
            course.section_of(recipe)
