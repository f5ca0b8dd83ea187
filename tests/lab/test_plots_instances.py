import matplotlib.pyplot as plt
import numpy as np
import pytest

from mapping_lib.lab.plots import panels
from mapping_lib.lab.plots.instances import gains, weighted_points


@pytest.fixture(autouse=True)
def closed():
    yield
    plt.close("all")


def test_area_is_the_weight():
    _, (axis,) = panels()
    weighted_points(axis, [0, 1, 2], [0, 0, 0], weights=[0, 1, 2], area=10, label="source")
    (points,) = axis.collections
    assert np.allclose(points.get_sizes(), [1.5, 11.5, 21.5])
    weighted_points(axis, [0, 1], [0, 0], area=10)
    assert np.allclose(axis.collections[1].get_sizes(), 11.5)


@pytest.mark.parametrize(
    ("weights", "words"),
    [
        ([1.0], "x, y and weights are due for each point"),
        ([1.0, -1.0], "must not be negative"),
        ([0.0, 0.0], "nor all zero"),
    ],
)
def test_weights_that_cannot_be_drawn(weights, words):
    _, (axis,) = panels()
    with pytest.raises(ValueError, match=words):
        weighted_points(axis, [0, 1], [0, 1], weights=weights)


def test_gains_show_mean_and_two_standard_errors():
    _, (axis,) = panels()
    gains(axis, {"a": [0.0, 2.0], "b": [1.0, 1.0]}, colours={"b": "red"}, notes={"a": "29 %"})
    assert [tick.get_text() for tick in axis.get_yticklabels()] == ["a", "b"]
    first, _ = (container.lines for container in axis.containers)
    assert first[0].get_xdata() == [1]
    ends = first[2][0].get_segments()[0][:, 0]
    assert np.allclose(ends, [1 - 2, 1 + 2])  # sd is √2, two rows
    assert axis.texts[0].get_text() == "29 %"


def test_gains_of_too_little():
    _, (axis,) = panels()
    with pytest.raises(ValueError, match="at least two seeds are due, for a"):
        gains(axis, {"a": [0.1]})
    with pytest.raises(ValueError, match="for one method"):
        gains(axis, {})
