import io

import matplotlib.pyplot as plt
import numpy as np
import pytest
from matplotlib.colors import to_rgb

from mapping_lib.lab.plots import (
    COLOURS,
    WIDTH,
    bars_with_seeds,
    learning_curve,
    panels,
    use_style,
)


@pytest.fixture(autouse=True)
def _own_figures():
    use_style()
    yield
    plt.close("all")


def luminance(colour):
    channels = [c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in to_rgb(colour)]
    return float(np.dot([0.2126, 0.7152, 0.0722], channels))


def test_text_is_legible_and_dark_on_white():
    sizes = ["font.size", "axes.labelsize", "xtick.labelsize", "ytick.labelsize", "legend.fontsize"]
    assert min(plt.rcParams[size] for size in sizes) >= 10
    assert luminance(plt.rcParams["figure.facecolor"]) == pytest.approx(1)
    for text in ("text.color", "axes.labelcolor", "xtick.labelcolor"):
        assert 1.05 / (luminance(plt.rcParams[text]) + 0.05) >= 7  # WCAG's AAA


def test_lines_take_colours_of_the_palette():
    colours = plt.rcParams["axes.prop_cycle"].by_key()["color"]
    assert set(colours) < set(COLOURS.values())
    assert len(set(colours)) == 7


def test_png_of_a_figure_is_small_and_wide_enough():
    _, axes = panels(2, ratio=0.8)
    for axis in axes:
        learning_curve(axis, range(10), np.random.default_rng(0).random((5, 10)), label="a")
    file = io.BytesIO()
    plt.savefig(file, format="png")
    assert file.getbuffer().nbytes < 100_000
    file.seek(0)
    assert plt.imread(file).shape[:2] == (int(WIDTH * 0.4 * 150), int(WIDTH * 150))


def test_panels_come_in_one_row():
    figure, axes = panels(3, 2, ratio=0.5, sharex=True)
    assert axes.shape == (6,)
    assert figure.get_figheight() == pytest.approx(WIDTH / 3)


def test_learning_curve_is_mean_and_deviation():
    _, (axis,) = panels()
    learning_curve(axis, [1, 2], [[0.0, 1.0], [2.0, 1.0]], label="frozen", colour=COLOURS["green"])
    (line,), (band,) = axis.lines, axis.collections
    np.testing.assert_allclose(line.get_ydata(), [1, 1])
    low, high = band.get_datalim(axis.transData).get_points()[:, 1]
    assert (low, high) == pytest.approx((1 - np.sqrt(2), 1 + np.sqrt(2)))
    assert line.get_label() == "frozen"
    assert line.get_color() == COLOURS["green"]


def test_single_run_has_no_band():
    _, (axis,) = panels()
    learning_curve(axis, [1, 2, 3], [0.1, 0.2, 0.3])
    assert not axis.collections


def test_learning_curve_refuses_other_lengths():
    _, (axis,) = panels()
    with pytest.raises(ValueError, match=r"must be \(seeds, 3\).*not \(1, 2\)"):
        learning_curve(axis, [1, 2, 3], [0.1, 0.2])


def test_bars():
    _, (axis,) = panels()
    bars_with_seeds(axis, {"scratch": [0.2, 0.4], "frozen": [0.7]}, colours={"frozen": "#009E73"})
    assert [bar.get_width() for bar in axis.patches] == pytest.approx([0.3, 0.7])
    assert [text.get_text() for text in axis.texts] == ["0.30 ± 0.14", "0.70"]
    assert [label.get_text() for label in axis.get_yticklabels()] == ["scratch", "frozen"]
    assert axis.yaxis_inverted()


@pytest.mark.parametrize(("results", "words"), [({}, "no results"), ({"a": []}, "for a")])
def test_bars_of_nothing(results, words):
    _, (axis,) = panels()
    with pytest.raises(ValueError, match=words):
        bars_with_seeds(axis, results)
