import matplotlib.pyplot as plt
import numpy as np
import torch

from mapping_lib.lab.plots.moods import draw_intervals, draw_pitch, draw_profiles


def test_pitch_has_gaps_where_nothing_sounds():
    wave = torch.sin(2 * torch.pi * 200 * torch.arange(8000) / 8000)
    wave[4000:] = 0
    figure, axis = plt.subplots()
    draw_pitch(axis, wave, rate=8000, label="tone", colour="blue")
    hertz = axis.lines[0].get_ydata()
    assert abs(hertz[10] - 200) < 0.5
    assert np.isnan(hertz[-10:]).all()
    plt.close(figure)


def test_profiles_meet_where_corpora_agree():
    rows = [
        {"corpus": corpus, "mood": mood, "feature": feature, "mean": mean}
        for corpus in ("a", "b")
        for mood in ("w", "x", "y", "z")
        for feature, mean in (("pitch", 1.0), ("loudness", 1.0 if corpus == "a" else -1.0))
    ]
    figure = draw_profiles(rows, ("a", "b"), ("w", "x", "y", "z"))
    assert [axis.get_title(loc="left") for axis in figure.axes] == ["w", "x", "y", "z"]
    first, second = figure.axes[0].lines[1:]
    assert first.get_xdata().tolist() == [1, 1]
    assert second.get_xdata().tolist() == [1, -1]
    plt.close(figure)


def test_intervals():
    figure, axis = plt.subplots()
    draw_intervals(axis, {"a": (0.5, 0.4, 0.7), "b": (0.2, 0.1, 0.3)})
    assert [text.get_text() for text in axis.texts] == [
        "0.50 (0.40 to 0.70)",
        "0.20 (0.10 to 0.30)",
    ]
    assert axis.yaxis_inverted()
    plt.close(figure)
