import matplotlib.pyplot as plt
import pytest

from mapping_lib.lab.plots.research import draw_questions


@pytest.fixture(autouse=True)
def closed():
    yield
    plt.close("all")


def test_names_stand_in_the_order_of_the_dots():
    figure = draw_questions({"who?": "Wang 2019, Pratt 1993, von Neumann 1958", "what?": "He 2019"})
    (axis,) = figure.axes
    texts = [text.get_text() for text in axis.texts]
    assert texts == ["who?", "von Neumann, Pratt, Wang", "what?", "He"]
    dots = [line for line in axis.lines if line.get_marker() == "o"]
    assert [float(dot.get_xdata()[0]) for dot in dots] == [1958, 1993, 2019, 2019]
    assert [float(dot.get_ydata()[0]) for dot in dots] == [0, 0, 0, 1]


def test_papers_of_one_year_are_stacked():
    figure = draw_questions({"who?": "A 2001, B 2001, C 2002"}, until=2010)
    dots = [line for line in figure.axes[0].lines if line.get_marker() == "o"]
    first, second, third = (float(dot.get_ydata()[0]) for dot in dots)
    assert second < first == third
    assert figure.axes[0].get_xlim() == (2000, 2010.5)


@pytest.mark.parametrize(
    ("questions", "words"),
    [
        ({}, "no questions"),
        ({"who?": "Pratt"}, "a name and a year"),
        ({"who?": "Pratt 93"}, "a name and a year"),
        ({"who?": "1993"}, "a name and a year"),
    ],
)
def test_what_cannot_be_drawn(questions, words):
    with pytest.raises(ValueError, match=words):
        draw_questions(questions)
