import matplotlib.pyplot as plt
import pytest

from mapping_lib.lab.plots.timeline import timeline

EVENTS = [(1943, "threshold unit", False), (1976, "weights carried over", True)]
EVENTS += [(1986, "backpropagation", False), (1986, "another", False)]


@pytest.fixture(autouse=True)
def closed():
    yield
    plt.close("all")


def test_every_event_has_its_row_and_its_kind():
    (axis,) = timeline(EVENTS, plain="models", marked="transfer").axes
    words = [text.get_text() for text in axis.texts]
    assert words[::2] == [str(year) for year, _, _ in EVENTS]
    assert words[1::2] == [text for _, text, _ in EVENTS]
    weights = [text.get_fontweight() for text in axis.texts[1::2]]
    assert weights == ["normal", "bold", "normal", "normal"]
    plain, marked = axis.collections
    assert (plain.get_label(), marked.get_label()) == ("models", "transfer")
    assert (len(plain.get_offsets()), len(marked.get_offsets())) == (3, 1)


def test_rows_lie_further_apart_where_years_do():
    (axis,) = timeline(EVENTS, plain="models", marked="transfer").axes
    heights = [text.get_position()[1] for text in axis.texts[::2]]
    assert heights == pytest.approx([0, 2.2, 4.2, 5.2])  # 33 years count as 12
    bottom, top = axis.get_ylim()
    assert bottom > heights[-1]
    assert top < 0  # the oldest on top


def test_events_that_cannot_be_drawn():
    for events in ([], EVENTS[::-1]):
        with pytest.raises(ValueError, match="in the order of their years"):
            timeline(events, plain="models", marked="transfer")
