"""The table of methods is the book's: its sections and its functions are there."""

import importlib

import course
import matplotlib.pyplot as plt
import pytest

from mapping_lib.lab.methods import GIVES, MAPPED, METHODS, Table
from mapping_lib.lab.plots.curves import draw_rows
from mapping_lib.lab.plots.methods import draw_methods

SECTIONS = {entry["label"]: entry["number"] for entry in course.entries(course.read_outline())}


@pytest.mark.parametrize("method", METHODS, ids=lambda method: method.name)
def test_method_stands_in_the_outline_and_its_function_in_the_library(method):
    assert SECTIONS[method.label] == method.number
    assert method.mapped in MAPPED
    assert method.gives in GIVES
    if method.function:
        module, name = method.function.split(".")
        assert name in importlib.import_module(f"mapping_lib.{module}").__all__


def test_names_are_unique_and_each_kind_has_several():
    assert len({method.name for method in METHODS}) == len(METHODS)
    for mapped in MAPPED:
        assert sum(method.mapped == mapped for method in METHODS) > 5


def test_table_links_each_method_to_its_section():
    text = Table(METHODS[:1])._repr_markdown_()
    assert text.splitlines()[0] == "| mapped | method | how | the target gives | section |"
    assert "{ref}`3.1.1 <extractor-transfer>`" in text
    assert repr(Table(METHODS)).count("\n") == len(METHODS) - 1
    assert repr(Table(METHODS[:1])).startswith("features    3.1.1  feature extraction: keep")


def test_drawing_names_every_method_with_its_section():
    figure = draw_methods(METHODS)
    words = " ".join(text.get_text() for text in figure.axes[0].texts)
    plain = " ".join(words.split())
    for method in METHODS:
        assert method.number in plain
        assert all(word.strip(",") in plain for word in method.name.split())
    assert plain.count("target gives nothing") == 1
    plt.close(figure)


def test_two_methods_make_a_smaller_drawing():
    figure, small = draw_methods(METHODS), draw_methods(METHODS[:2])
    assert small.get_size_inches()[1] < figure.get_size_inches()[1]
    plt.close("all")


ROWS = [
    {"method": method, "n": n, "seed": seed, "accuracy": base + n / 10 + seed / 100}
    for method, base in (("a", 0.0), ("b", 0.5))
    for seed in (1, 0)
    for n in (5, 1)
]


def test_rows_are_drawn_in_order_and_their_means_returned():
    figure, axis = plt.subplots()
    mean = draw_rows(axis, ROWS, over="n", colour="green", label="b", method="b")
    assert mean == pytest.approx({1: 0.605, 5: 1.005})
    (line,) = axis.get_lines()
    assert list(line.get_xdata()) == [1, 5]
    assert list(line.get_ydata()) == pytest.approx([0.605, 1.005])
    assert len(axis.collections) == 1
    plt.close(figure)


def test_rows_that_make_no_curve_are_refused():
    figure, axis = plt.subplots()
    with pytest.raises(ValueError, match=r"no row has .*'method': 'c'"):
        draw_rows(axis, ROWS, over="n", method="c")
    with pytest.raises(ValueError, match="each seed must have one row for each n"):
        draw_rows(axis, ROWS, over="n")
    with pytest.raises(ValueError, match="each seed must have one row for each n"):
        draw_rows(axis, ROWS[1:], over="n", method="a")
    plt.close(figure)
