"""Figures of sounds: the wave, its log-mel features, and what a recogniser says when."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from matplotlib.axes import Axes
from torch import Tensor

from mapping_lib.lab.plots.style import COLOURS
from mapping_lib.speech import hertz_to_mel, log_mel, mel_to_hertz

__all__ = ["draw_log_mel", "draw_posteriors", "draw_wave"]

FILTERS = 40


def draw_wave(axis: Axes, wave: Tensor, *, rate: int, colour: str = "blue") -> None:
    """Draw a wave over time.

    Parameters
    ----------
    axis
        Where to draw.
    wave
        Shape (samples,), in [-1, 1].
    rate
        Samples a second.
    colour
        A name of the palette.
    """
    seconds = np.arange(len(wave)) / rate
    axis.plot(seconds, wave.numpy(), color=COLOURS[colour], linewidth=0.6)
    axis.set(xlim=(0, len(wave) / rate), ylabel="amplitude", xlabel="time in s")
    axis.grid(False)


def draw_log_mel(axis: Axes, wave: Tensor, *, rate: int) -> None:
    """Draw the log-mel features of a wave: bright where there is energy, frequency upwards.

    Parameters
    ----------
    axis
        Where to draw.
    wave
        Shape (samples,), in [-1, 1].
    rate
        Samples a second.
    """
    features = log_mel(wave, rate=rate, filters=FILTERS)
    low = float(features.max()) - 12  # nats, about 50 dB: what is weaker is not heard
    extent = (0, len(wave) / rate, -0.5, FILTERS - 0.5)
    shown = features.mT.clamp(min=low).numpy()
    axis.imshow(shown, origin="lower", aspect="auto", extent=extent, cmap="cividis")
    top = float(hertz_to_mel(torch.tensor(rate / 2)))
    centres = mel_to_hertz(torch.arange(1, FILTERS + 1) * top / (FILTERS + 1))
    hertz = [f for f in (250, 500, 1000, 2000, 4000) if f < float(centres[-1])]
    axis.set_yticks(np.interp(hertz, centres.numpy(), np.arange(FILTERS)), [str(f) for f in hertz])
    axis.set(ylabel="frequency in Hz", xlabel="time in s")
    axis.grid(False)


def draw_posteriors(
    axis: Axes, probabilities: Tensor, names: Sequence[str], *, step: float, blank: int = 0
) -> None:
    """Draw a recogniser's probability of each label over time, the blank in grey.

    Parameters
    ----------
    axis
        Where to draw.
    probabilities
        Shape (steps, labels). Labels that never reach a half are not drawn.
    names
        Of the labels, the blank's among them.
    step
        Seconds from one row to the next.
    blank
        Which label is the blank.
    """
    seconds = np.arange(len(probabilities)) * step
    others = [name for name in COLOURS if name not in ("grey", "light", "yellow")]
    drawn = 0
    for label, name in enumerate(names):
        row = probabilities[:, label].numpy()
        if label == blank:
            axis.plot(seconds, row, color=COLOURS["grey"], linewidth=1.5, linestyle=":", label=name)
        elif row.max() >= 0.5:
            colour = COLOURS[others[drawn % len(others)]]
            axis.plot(seconds, row, color=colour, marker="o", markersize=3)
            above = np.flatnonzero(row >= 0.5)
            for peak in np.split(above, np.flatnonzero(np.diff(above) > 1) + 1):
                place = seconds[peak[row[peak].argmax()]]
                axis.annotate(name, (place, 1.03), ha="center", color=colour, fontsize=13)
            drawn += 1
    axis.set(ylim=(0, 1.2), ylabel="probability", xlabel="time in s")
