r"""How something is said: the pitch of a voice, over time (section 6.3.3).

A wave is a vector of samples ``(..., samples)``; a track has one number for each frame.
"""

from typing import NamedTuple

import torch
from torch import Tensor

from mapping_lib._checks import require_finite, require_float, require_number

__all__ = ["Pitch", "autocorrelation", "pitch"]

COST = 0.01  # of an octave downwards, so that of equal peaks the shortest lag wins
FINER = 4  # lags a sample: at whole samples alone, a peak between two looks too low


class Pitch(NamedTuple):
    """A track of pitch, as :func:`pitch` returns it.

    Attributes
    ----------
    hertz
        Fundamental frequency of each frame, ``(..., frames)``. It means something only where the
        strength is high.
    strength
        Autocorrelation at that frequency's lag: near 1 in a vowel, low in noise, 0 in silence.
    """

    hertz: Tensor
    strength: Tensor


def autocorrelation(frames: Tensor, *, finer: int = 1) -> Tensor:
    r"""How alike a frame is to itself, a lag later.

    The mean is subtracted and a Hann window :math:`w` laid over the frame :math:`x`. A window falls
    off at both ends, which lowers all long lags; so its own autocorrelation is divided out.

    .. math::

        r(\tau) = \frac{a_{wx}(\tau) / a_{wx}(0)}{a_w(\tau) / a_w(0)}, \qquad
        a_s(\tau) = \sum_{t} s_t s_{t + \tau}

    Taught in :ref:`emotion-recognition` (section 6.3.3).
    Source: :cite:t:`boersma1993accurate`.

    Parameters
    ----------
    frames
        Shape ``(..., samples)``, at least four samples each.
    finer
        How many lags a sample: 4 gives the lags 0, 1/4, 1/2 …, as the spectrum implies them.

    Returns
    -------
    Tensor
        For lags of 0 to half a frame, ``(..., 1 + finer * (samples // 2))``. At lag 0 it is 1, or 0
        where the frame is constant.

    Raises
    ------
    TypeError
        The frames aren't floating point.
    ValueError
        NaN or infinity, or fewer than four samples a frame.

    Examples
    --------
    >>> square = torch.tensor([1.0, 1.0, -1.0, -1.0]).repeat(10)
    >>> autocorrelation(square)[:5].round().abs()  # a period of 4: alike again at lag 4
    tensor([1., 0., 1., 0., 1.])
    """
    require_float(frames=frames)
    require_finite(frames=frames)
    if frames.ndim == 0 or frames.shape[-1] < 4:
        raise ValueError(
            f"frames must have at least four samples each, got shape {tuple(frames.shape)}"
        )
    require_number("finer", finer, least=1)
    length = frames.shape[-1]
    lags = 1 + finer * (length // 2)
    window = torch.hann_window(length + 2, periodic=False, dtype=frames.dtype, device=frames.device)
    window = window[1:-1]  # without the zeros at its ends
    centred = frames - frames.mean(-1, keepdim=True)
    own = _products(window, finer)[:lags]
    found = _products(centred * window, finer)[..., :lags]
    energy = found[..., :1]
    tiny = torch.finfo(frames.dtype).tiny
    alike = torch.where(energy > tiny, found / energy.clamp(min=tiny), 0.0)
    return alike * own[0] / own


def pitch(
    wave: Tensor,
    *,
    rate: float,
    lowest: float = 60.0,
    highest: float = 500.0,
    hop: float = 0.01,
) -> Pitch:
    r"""Fundamental frequency of a voice over time.

    In each frame, the lag with the highest autocorrelation, less a small cost of long lags:

    .. math::

        f_0 = \frac{\text{rate}}{\tau^*}, \qquad
        \tau^* = \operatorname*{arg\,max}_{\tau_{\min} \le \tau \le \tau_{\max}}
        \bigl[ r(\tau) - 0.01 \log_2 (\tau / \tau_{\min}) \bigr]

    A wave that repeats after :math:`\tau` does so after :math:`2 \tau` as well; the cost decides
    for the shorter. Lags are taken a quarter of a sample apart, and a parabola through the highest
    value and its neighbours finds the peak between two of them. A frame lasts three periods of the
    lowest frequency.

    Taught in :ref:`emotion-recognition` (section 6.3.3).
    Source: :cite:t:`boersma1993accurate`, whose search for the best path over frames is left out.

    Parameters
    ----------
    wave
        Samples ``(..., samples)``, as long as a frame at least.
    rate
        Samples a second.
    lowest, highest
        Frequencies in Hz to search between.
    hop
        Distance between two frames, in seconds.

    Returns
    -------
    Pitch
        The frequency of each frame in Hz, and its strength.

    Raises
    ------
    TypeError
        The wave isn't floating point.
    ValueError
        NaN or infinity, a wave shorter than a frame, or frequencies that aren't in rising order or
        that the rate can't hold.

    Examples
    --------
    >>> tone = torch.sin(2 * torch.pi * 100 * torch.arange(8000) / 8000)
    >>> track = pitch(tone, rate=8000)
    >>> track.hertz.median().round()
    tensor(100.)
    """
    require_float(wave=wave)
    require_finite(wave=wave)
    require_number("rate", rate, least=1)
    if not 0 < lowest < highest < rate / 4:
        raise ValueError(
            "lowest and highest must rise from above 0 to below a quarter of the rate, got "
            f"{lowest:g} and {highest:g} Hz at {rate:g} samples a second"
        )
    length, step = round(3 * rate / lowest), round(hop * rate)
    require_number("hop in samples", step, least=1, most=length)
    if wave.ndim == 0 or wave.shape[-1] < length:
        have = 0 if wave.ndim == 0 else wave.shape[-1]
        raise ValueError(
            f"wave must hold a frame of {length} samples ({length / rate:g} s, three periods of "
            f"{lowest:g} Hz), got {have}"
        )
    alike = autocorrelation(wave.unfold(-1, length, step), finer=FINER)
    first, last = (round(FINER * rate / limit) for limit in (highest, lowest))
    lags = torch.arange(first, last + 1, dtype=wave.dtype, device=wave.device)
    cost = COST * (lags / first).log2()
    best = first + (alike[..., first : last + 1] - cost).argmax(-1, keepdim=True)
    before, at, after = (alike.gather(-1, best + k)[..., 0] for k in (-1, 0, 1))
    bend = before - 2 * at + after
    shift = torch.where(bend < 0, 0.5 * (before - after) / bend, 0.0).clamp(-0.5, 0.5)
    strength = (at - 0.25 * (before - after) * shift).clamp(0, 1)
    return Pitch(FINER * rate / (best[..., 0] + shift), strength)


def _products(signal: Tensor, finer: int) -> Tensor:
    """Return the sums of products of a signal and itself, for lags from 0, `finer` a sample."""
    size = 2 * signal.shape[-1]
    spectrum = torch.fft.rfft(signal, size)
    power = spectrum.real.square() + spectrum.imag.square()
    if finer > 1:  # more frequencies follow, and the last one so far is no longer alone
        power = torch.cat([power[..., :-1], power[..., -1:] / 2], -1)
    found: Tensor = torch.fft.irfft(power, finer * size)
    return finer * found[..., : finer * signal.shape[-1]]
