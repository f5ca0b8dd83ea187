import math

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from mapping_lib.prosody import autocorrelation, pitch

RATE = 8000


def tone(hertz, seconds=0.5, rate=RATE, phase=0.0):
    t = torch.arange(round(seconds * rate), dtype=torch.float64) / rate
    return torch.sin(2 * math.pi * hertz * t + phase)


def noise(*size, seed=0):
    return torch.randn(*size, dtype=torch.float64, generator=torch.Generator().manual_seed(seed))


# autocorrelation


def test_autocorrelation_of_a_sine_is_a_cosine():
    """Closed form: r(tau) = cos(2 pi f tau), whatever the phase; the window is divided out."""
    for phase in (0.0, 1.0, 2.5):
        found = autocorrelation(tone(200, 0.1, phase=phase))
        lags = torch.arange(len(found), dtype=torch.float64) / RATE
        assert torch.allclose(found, (2 * math.pi * 200 * lags).cos(), atol=2e-3)


def test_autocorrelation_against_numpy():
    frames = noise(2, 3, 51)
    window = np.hanning(53)[1:-1]
    found = autocorrelation(frames)
    assert found.shape == (2, 3, 26)
    own = np.correlate(window, window, "full")[50:]
    for i, j in np.ndindex(2, 3):
        x = (frames[i, j] - frames[i, j].mean()).numpy() * window
        a = np.correlate(x, x, "full")[50:]
        assert np.allclose(found[i, j], ((a / a[0]) / (own / own[0]))[:26], atol=1e-12)


def test_finer_lags_agree_at_whole_samples_and_fill_in_between():
    frames = noise(2, 51)
    whole, finer = autocorrelation(frames), autocorrelation(frames, finer=4)
    assert finer.shape == (2, 101)
    assert torch.allclose(finer[:, ::4], whole, atol=1e-9)
    wave = tone(3300, 0.05)  # 2.4 samples a period
    found = autocorrelation(wave, finer=4)[:200]
    lags = torch.arange(200, dtype=torch.float64) / (4 * RATE)
    assert torch.allclose(found, (2 * math.pi * 3300 * lags).cos(), atol=1e-2)


def test_the_window_is_divided_out():
    """Without that, a tone's peak falls with its lag, and half the period's harmonic wins."""
    frame = tone(80, 0.05)
    window = torch.hann_window(402, periodic=False, dtype=torch.float64)[1:-1]
    x = (frame - frame.mean()) * window
    plain = (x[:-100] @ x[100:]) / (x @ x)
    assert plain < 0.75
    assert autocorrelation(frame)[100] > 0.98


def test_silence_and_constants_are_like_nothing():
    for frames in (torch.zeros(40), torch.full((40,), 0.5)):
        assert (autocorrelation(frames) == 0).all()


def test_autocorrelation_gradcheck():
    frames = noise(2, 12).requires_grad_()
    assert torch.autograd.gradcheck(autocorrelation, frames)


@given(st.floats(0.01, 100), st.floats(-5, 5), st.integers(0, 1000))
def test_autocorrelation_ignores_gain_sign_and_offset(gain, offset, seed):
    frames = noise(40, seed=seed)
    for changed in (gain * frames, -frames, frames + offset):
        assert torch.allclose(autocorrelation(changed), autocorrelation(frames), atol=1e-6)
    assert torch.allclose(autocorrelation(frames.flip(0)), autocorrelation(frames), atol=1e-9)


# pitch


@given(st.floats(62, 480), st.floats(0, 6.28))
def test_pitch_of_a_sine_and_of_its_harmonics(hertz, phase):
    """The fundamental is found, though the second harmonic is stronger, or the first is missing."""
    second, third = tone(2 * hertz, phase=phase), tone(3 * hertz, phase=2 * phase)
    for wave in (tone(hertz, phase=phase), tone(hertz) + 2 * second, second + third):
        track = pitch(wave, rate=RATE)
        assert torch.allclose(track.hertz, torch.tensor(hertz).double(), rtol=5e-3)
        assert track.strength.min() > 0.95


def test_pitch_follows_a_glide():
    """A chirp from 100 Hz up by 100 Hz in a second: in each frame's middle 100 + 100 t."""
    t = torch.arange(RATE, dtype=torch.float64) / RATE
    track = pitch(torch.sin(2 * math.pi * (100 * t + 50 * t**2)), rate=RATE)
    middles = 0.025 + 0.01 * torch.arange(len(track.hertz))
    assert len(middles) == 96
    assert (track.hertz - (100 + 100 * middles)).abs().max() < 1.5


def test_of_equal_peaks_the_shortest_lag_wins():
    """A tone of 400 Hz repeats after 20 samples, and after 40 and 60 as well."""
    track = pitch(tone(400), rate=RATE)
    assert torch.allclose(track.hertz, torch.tensor(400.0).double(), rtol=1e-3)


def test_pitch_between_two_samples():
    """The lag of 330 Hz is 24.24 samples; whole lags would give 333.3 Hz."""
    assert (pitch(tone(330), rate=RATE).hertz - 330).abs().max() < 0.2


def test_the_peak_is_a_parabolas_through_its_three_lags():
    """Against NumPy's polynomial, on weak peaks of a tone in noise."""
    wave = tone(123) + noise(len(tone(123)))
    length, step, finer = 400, 80, 4  # three periods of 60 Hz, 10 ms, lags a sample
    alike = autocorrelation(wave.unfold(-1, length, step), finer=finer)
    track = pitch(wave, rate=RATE)
    assert len(alike) == len(track.hertz)
    for row, hertz, strength in zip(alike, track.hertz, track.strength, strict=True):
        lag = finer * RATE / hertz.item()
        places = round(lag) + np.arange(-1, 2)
        a, b, c = np.polyfit(places - places[1], row[places].numpy(), 2)
        if abs(lag - round(lag)) < 0.49 and a < 0:
            assert lag == pytest.approx(places[1] - b / (2 * a))
            assert strength.item() == pytest.approx(c - b * b / (4 * a))


def test_rate_shape_and_limits():
    other = pitch(tone(150, rate=16000).expand(2, 3, -1), rate=16000, hop=0.02)
    assert other.hertz.shape == other.strength.shape == (2, 3, 23)
    assert torch.allclose(other.hertz, torch.tensor(150.0).double(), rtol=1e-3)
    deep = pitch(tone(50), rate=RATE, lowest=40.0)
    assert torch.allclose(deep.hertz, torch.tensor(50.0).double(), rtol=1e-2)
    assert (pitch(tone(200), rate=RATE, highest=150.0).hertz < 155).all()  # an octave lower


def test_noise_and_silence_have_no_strength():
    found = pitch(noise(RATE), rate=RATE)
    assert found.strength.mean() < 0.4
    assert (found.strength >= 0).all()
    silent = pitch(torch.zeros(RATE), rate=RATE)
    assert (silent.strength == 0).all()
    assert silent.hertz.isfinite().all()


def test_strength_is_the_share_of_what_repeats():
    """A tone of power 1/2 in white noise of power s²: (1/2) / (1/2 + s²)."""
    for sd in (0.3, 0.5):
        wave = tone(150, 8.0) + sd * noise(8 * RATE)
        share = 0.5 / (0.5 + sd**2)
        assert abs(pitch(wave, rate=RATE).strength.mean().item() - share) < 0.06


@pytest.mark.parametrize(
    ("call", "kind", "words"),
    [
        (lambda: autocorrelation(torch.ones(3)), ValueError, "at least four samples"),
        (lambda: autocorrelation(torch.tensor(1.0)), ValueError, "at least four samples"),
        (lambda: autocorrelation(torch.ones(8, dtype=torch.int64)), TypeError, "float"),
        (lambda: autocorrelation(torch.full((8,), math.nan)), ValueError, "frames"),
        (lambda: autocorrelation(torch.ones(8), finer=0), ValueError, "finer"),
        (lambda: pitch(torch.ones(399), rate=RATE), ValueError, r"frame of 400 samples \(0\.05 s"),
        (lambda: pitch(torch.tensor(0.1), rate=RATE), ValueError, "got 0"),
        (lambda: pitch(torch.full((800,), math.inf), rate=RATE), ValueError, "wave"),
        (lambda: pitch(torch.ones(800).int(), rate=RATE), TypeError, "float"),
        (lambda: pitch(torch.ones(800), rate=RATE, lowest=300, highest=200), ValueError, "rise"),
        (lambda: pitch(torch.ones(800), rate=RATE, highest=2000), ValueError, "quarter"),
        (lambda: pitch(torch.ones(800), rate=RATE, highest=2500), ValueError, "quarter"),
        (lambda: pitch(torch.ones(800), rate=RATE, lowest=0.0), ValueError, "rise"),
        (lambda: pitch(torch.ones(800), rate=RATE, hop=0.0), ValueError, "hop"),
        (lambda: pitch(torch.ones(800), rate=0), ValueError, "rate"),
    ],
)
def test_bad_input(call, kind, words):
    with pytest.raises(kind, match=words):
        call()
