import matplotlib.pyplot as plt
import torch

from mapping_lib.lab.plots.speech import draw_log_mel, draw_posteriors, draw_wave

TONE = torch.sin(2 * torch.pi * 1000 * torch.arange(4000) / 8000) / 2


def test_wave_over_seconds():
    figure, axis = plt.subplots()
    draw_wave(axis, TONE, rate=8000)
    assert axis.get_xlim() == (0, 0.5)
    assert len(axis.lines[0].get_xdata()) == 4000
    plt.close(figure)


def test_a_tone_is_bright_at_its_frequency():
    figure, axis = plt.subplots()
    draw_log_mel(axis, TONE, rate=8000)
    brightest = axis.images[0].get_array()[:, 20].argmax()
    names = [tick.get_text() for tick in axis.get_yticklabels()]
    assert abs(axis.get_yticks()[names.index("1000")] - brightest) < 1
    plt.close(figure)


def test_posteriors_name_what_is_likely():
    table = torch.tensor([[0.9, 0.1, 0], [0.2, 0.8, 0], [0.4, 0.6, 0], [0.7, 0, 0.3], [0, 1, 0]])
    figure, axis = plt.subplots()
    draw_posteriors(axis, table, ["blank", "seven", "two"], step=0.04)
    assert [text.get_text() for text in axis.texts] == ["seven", "seven"]
    assert [text.xy[0] for text in axis.texts] == [0.04, 0.16]  # once a peak
    assert len(axis.lines) == 2
    plt.close(figure)
