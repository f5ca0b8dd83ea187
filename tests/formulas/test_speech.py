import math

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from scipy.optimize import brentq
from sklearn.metrics import roc_curve
from transformers import audio_utils

from mapping_lib.speech import (
    detection_errors,
    equal_error_rate,
    ge2e_loss,
    hertz_to_mel,
    log_mel,
    mel_filter_bank,
    mel_to_hertz,
)


def randn(*size, seed=0):
    return torch.randn(*size, dtype=torch.float64, generator=torch.Generator().manual_seed(seed))


# the mel scale and its filters


def test_mel_scale_against_transformers_and_back():
    hertz = torch.linspace(0, 8000, 50, dtype=torch.float64)
    theirs = audio_utils.hertz_to_mel(hertz.numpy(), mel_scale="htk")
    assert np.allclose(hertz_to_mel(hertz), theirs)
    assert torch.allclose(mel_to_hertz(hertz_to_mel(hertz)), hertz)
    assert abs(hertz_to_mel(torch.tensor(1000.0)).item() - 1000) < 0.1  # by construction


@pytest.mark.parametrize(
    ("bins", "filters", "rate", "low", "high"),
    [(129, 40, 8000, 0.0, None), (257, 23, 16000, 64.0, 7600.0), (33, 5, 8000, 100.0, 3000.0)],
)
def test_filter_bank_against_transformers(bins, filters, rate, low, high):
    ours = mel_filter_bank(bins, filters, rate=rate, low=low, high=high, dtype=torch.float64)
    theirs = audio_utils.mel_filter_bank(
        bins, filters, low, high or rate / 2, rate, norm=None, mel_scale="htk"
    )
    assert np.allclose(ours, theirs, atol=1e-12)


def test_filters_reach_half_of_an_odd_rate():
    whole = mel_filter_bank(513, 40, rate=11025, dtype=torch.float64)
    assert torch.equal(
        whole, mel_filter_bank(513, 40, rate=11025, high=5512.5, dtype=torch.float64)
    )


def test_a_window_one_sample_longer_than_a_power_of_two():
    wave = 0.1 * randn(1000).clamp(-3, 3)
    found = log_mel(wave, rate=8000, window=129 / 8000, filters=20)
    assert found.shape[-1] == 20
    assert found.isfinite().all()


def test_filters_overlap_to_one():
    """Between the first and the last centre, each frequency's weights have sum 1."""
    bank = mel_filter_bank(1001, 20, rate=8000, dtype=torch.float64)
    first, last = bank[:, 0].argmax(), bank[:, -1].argmax()
    total = bank.sum(1)
    assert torch.allclose(total[first + 1 : last], torch.ones(last - first - 1).double())
    assert (total <= 1 + 1e-12).all()
    assert total[0] == total[-1] == 0
    assert mel_filter_bank(1001, 20, rate=8000).dtype == torch.float32


# log-mel features


def test_log_mel_against_transformers():
    wave = torch.tanh(randn(3000) / 3)
    window = np.hanning(201)[:-1]  # periodic
    bank = audio_utils.mel_filter_bank(129, 40, 0, 4000, 8000, norm=None, mel_scale="htk")
    theirs = audio_utils.spectrogram(
        wave.numpy(),
        window,
        frame_length=200,
        hop_length=80,
        fft_length=256,
        power=2.0,
        center=True,
        pad_mode="constant",
        mel_filters=bank,
        mel_floor=1e-6,
        log_mel="log",
    ).T
    ours = log_mel(wave, rate=8000)
    assert ours.shape == (38, 40)
    assert np.allclose(ours[:37], theirs[:37], atol=1e-5)  # float32 inside theirs


def test_a_tone_by_hand():
    """A cosine at bin k of amplitude A: |X|² = (A Σw / 2)² at k, a quarter of it beside."""
    n, bin_of, amplitude = 256, 32, 0.5
    wave = amplitude * torch.cos(2 * torch.pi * bin_of * torch.arange(8 * n).double() / n)
    features = log_mel(wave, rate=8000, filters=12, window=n / 8000, hop=n / 8000)
    peak = (amplitude * (n / 2) / 2) ** 2
    bank = mel_filter_bank(n // 2 + 1, 12, rate=8000, dtype=torch.float64)
    wanted = peak * (bank[bin_of] + (bank[bin_of - 1] + bank[bin_of + 1]) / 4)
    assert torch.allclose(features[4].exp(), wanted.clamp(min=1e-6), rtol=1e-6)


@given(st.floats(0.01, 1.0), st.integers(0, 100))
def test_loudness_is_a_shift(factor, seed):
    wave = torch.tanh(randn(900, seed=seed))
    moved = log_mel(factor * wave, rate=8000, floor=1e-300)
    assert torch.allclose(moved, log_mel(wave, rate=8000, floor=1e-300) + 2 * math.log(factor))


def test_silence_batches_and_lengths():
    assert torch.allclose(log_mel(torch.zeros(1), rate=8000), torch.tensor(math.log(1e-6)))
    waves = torch.tanh(randn(2, 3, 801))
    features = log_mel(waves, rate=8000)
    assert features.shape == (2, 3, 11, 40)
    assert torch.allclose(features[1, 2], log_mel(waves[1, 2], rate=8000))
    assert log_mel(torch.zeros(160), rate=8000).shape == (3, 40)


def test_log_mel_gradient():
    wave = (randn(60) / 5).clamp(-0.9, 0.9).requires_grad_()
    kind = {"rate": 1000, "filters": 3, "window": 0.032, "hop": 0.016}
    assert torch.autograd.gradcheck(lambda w: log_mel(w, **kind), wave)


@pytest.mark.parametrize(
    ("call", "error", "words"),
    [
        (lambda: hertz_to_mel(torch.tensor([1])), TypeError, "floating-point"),
        (lambda: hertz_to_mel(torch.tensor([-1.0])), ValueError, "not be negative, got -1 Hz"),
        (lambda: mel_filter_bank(1, 2, rate=8000), ValueError, r"bins must lie in \[2"),
        (lambda: mel_filter_bank(9, 0, rate=8000), ValueError, r"filters must lie in \[1"),
        (lambda: mel_filter_bank(9, 2, rate=0), ValueError, r"rate must lie in \[1"),
        (
            lambda: mel_filter_bank(9, 2, rate=8000, high=5000),
            ValueError,
            r"high must lie in \[0, 4000\]",
        ),
        (
            lambda: mel_filter_bank(9, 2, rate=8000, low=300, high=300),
            ValueError,
            r"low must lie in \[0, 300\)",
        ),
        (lambda: mel_filter_bank(33, 40, rate=8000), ValueError, "of 40 filters are so narrow"),
        (lambda: log_mel(torch.ones(9).long(), rate=8000), TypeError, "floating-point"),
        (lambda: log_mel(torch.tensor(0.5), rate=8000), ValueError, "an axis of samples"),
        (lambda: log_mel(torch.zeros(0), rate=8000), ValueError, "wave is empty"),
        (lambda: log_mel(torch.tensor([math.nan]), rate=8000), ValueError, "NaN"),
        (lambda: log_mel(torch.tensor([math.inf]), rate=8000), ValueError, "finite"),
        (lambda: log_mel(torch.tensor([3e4]), rate=8000), ValueError, "16-bit integers by 32768"),
        (lambda: log_mel(torch.zeros(9), rate=8000, hop=0), ValueError, "hop in samples"),
        (lambda: log_mel(torch.zeros(9), rate=8000, hop=0.1), ValueError, "hop in samples"),
        (lambda: log_mel(torch.zeros(9), rate=8000, window=0), ValueError, "window in samples"),
        (lambda: log_mel(torch.zeros(9), rate=8000, floor=0), ValueError, "floor must lie"),
    ],
)
def test_bad_sounds(call, error, words):
    with pytest.raises(error, match=words):
        call()


# errors of detection


def by_scipy(scores, same):
    accepts, hits, _ = roc_curve(same.numpy(), scores.numpy(), drop_intermediate=False)
    return brentq(lambda x: 1 - x - np.interp(x, accepts, hits), 0, 1)


@given(st.integers(0, 10_000), st.integers(1, 30), st.integers(1, 30), st.floats(-2, 3))
def test_equal_error_rate_against_scikit_learn(seed, n_same, n_different, gap):
    scores = randn(n_same + n_different, seed=seed)
    same = torch.arange(len(scores)) < n_same
    scores = scores + gap * same
    assert abs(equal_error_rate(scores, same).item() - by_scipy(scores, same)) < 1e-8
    assert torch.allclose(equal_error_rate(3 * scores - 1, same), equal_error_rate(scores, same))


def test_equal_error_rate_with_ties():
    generator = torch.Generator().manual_seed(0)
    for _ in range(20):
        scores = torch.randint(0, 5, (40,), generator=generator).double()
        same = torch.rand(40, generator=generator) < 0.4
        crossing = equal_error_rate(scores, same).item()
        assert abs(crossing - by_scipy(scores, same)) < 1e-8


@pytest.mark.parametrize(
    ("scores", "rate"),
    [([2.0, 3.0, 0.0, 1.0], 0.0), ([0.0, 1.0, 2.0, 3.0], 1.0), ([1.0, 1.0, 1.0, 1.0], 0.5)],
)
def test_equal_error_rate_by_hand(scores, rate):
    same = torch.tensor([True, True, False, False])
    assert abs(equal_error_rate(torch.tensor(scores), same).item() - rate) < 1e-6


def test_detection_errors_by_counting():
    scores, same = randn(50), torch.arange(50) % 3 == 0
    scores[7] = scores[8] = scores[9]
    found = detection_errors(scores, same)
    assert len(found.thresholds) == 49  # 48 values, and infinity
    for threshold, accepts, rejects in zip(*found, strict=True):
        assert abs(accepts - (scores[~same] >= threshold).double().mean()) < 1e-12
        assert abs(rejects - (scores[same] < threshold).double().mean()) < 1e-12


@pytest.mark.parametrize(
    ("scores", "same", "error", "words"),
    [
        (torch.ones(2).long(), torch.tensor([True, False]), TypeError, "floating-point"),
        (torch.ones(2), torch.tensor([1, 0]), TypeError, "same must hold booleans"),
        (torch.ones(2), [True, False], TypeError, "same must be a torch.Tensor"),
        (torch.ones(3), torch.tensor([True, False]), ValueError, "one axis and one length"),
        (torch.ones(2, 1), torch.tensor([[True], [False]]), ValueError, "one axis and one length"),
        (torch.ones(2), torch.tensor([True, True]), ValueError, "got 2 of one and 0 of two"),
        (torch.ones(2), torch.tensor([False, False]), ValueError, "got 0 of one and 2 of two"),
        (torch.tensor([1, math.nan]), torch.tensor([True, False]), ValueError, "NaN"),
        (torch.tensor([1, math.inf]), torch.tensor([True, False]), ValueError, "finite"),
    ],
)
def test_bad_pairs(scores, same, error, words):
    with pytest.raises(error, match=words):
        equal_error_rate(scores, same)


# the loss of speakers


def plainly(embeddings, scale):
    """The paper's formula, utterance by utterance."""
    total, (speakers, utterances, _) = 0.0, embeddings.shape
    unit = embeddings / embeddings.norm(dim=2, keepdim=True)
    for j in range(speakers):
        for i in range(utterances):
            scores = []
            for k in range(speakers):
                members = [unit[k, m] for m in range(utterances) if k != j or m != i]
                centre = sum(members) / len(members)
                scores.append(scale * float(unit[j, i] @ centre / centre.norm()))
            total += -scores[j] + math.log(sum(map(math.exp, scores)))
    return total / (speakers * utterances)


@pytest.mark.parametrize("shape", [(2, 2, 3), (3, 4, 2), (5, 3, 8)])
def test_ge2e_utterance_by_utterance(shape):
    embeddings = randn(*shape)
    for scale in (1.0, 10.0):
        assert abs(ge2e_loss(embeddings, scale=scale).item() - plainly(embeddings, scale)) < 1e-10


def test_ge2e_leaves_the_utterance_out_of_its_own_centre():
    """Three corners: each utterance of speaker 0 alone; with itself it would look better."""
    embeddings = torch.tensor([[[1.0, 0.0], [0.0, 1.0]], [[-1.0, 0.0], [-1.0, 0.0]]])
    own, other = 0.0, (-1.0, 0.0)  # cosines of (1, 0) and (0, 1)
    first = [math.log(math.exp(own) + math.exp(o)) - own for o in other]
    back = math.cos(3 * math.pi / 4)
    second = math.log(math.exp(1) + math.exp(back)) - 1
    wanted = (sum(first) + 2 * second) / 4
    assert abs(ge2e_loss(embeddings, scale=1.0).item() - wanted) < 1e-6


@given(st.integers(0, 1000))
def test_ge2e_invariances(seed):
    embeddings = randn(3, 4, 5, seed=seed)
    value = ge2e_loss(embeddings)
    with pytest.raises(TypeError, match="positional"):
        ge2e_loss(embeddings, 10.0)
    turned, _ = torch.linalg.qr(randn(5, 5, seed=seed + 1))
    lengths = randn(3, 4, 1, seed=seed + 2).exp()
    assert torch.allclose(value, ge2e_loss(embeddings @ turned))
    assert torch.allclose(value, ge2e_loss(embeddings * lengths))
    assert torch.allclose(value, ge2e_loss(embeddings[[2, 0, 1]][:, [3, 1, 0, 2]]))
    assert value >= 0


def test_ge2e_gradient():
    scale = torch.tensor(3.0, dtype=torch.float64, requires_grad=True)
    embeddings = randn(2, 3, 4).requires_grad_()
    assert torch.autograd.gradcheck(lambda e, w: ge2e_loss(e, scale=w), (embeddings, scale))


@pytest.mark.parametrize(
    ("embeddings", "scale", "error", "words"),
    [
        (torch.ones(2, 2, 3).long(), 1.0, TypeError, "floating-point"),
        (torch.ones(4, 3), 1.0, ValueError, r"shape \(speakers, utterances, d\)"),
        (torch.ones(1, 4, 3), 1.0, ValueError, r"at least two speakers .* got \(1, 4, 3\)"),
        (torch.ones(4, 1, 3), 1.0, ValueError, "two utterances each"),
        (torch.zeros(2, 2, 3), 1.0, ValueError, "an embedding is zero"),
        (torch.ones(2, 2, 3) * math.inf, 1.0, ValueError, "finite"),
        (torch.ones(2, 2, 3), 0.0, ValueError, "scale must be positive, got 0"),
        (torch.ones(2, 2, 3), -2.0, ValueError, "scale must be positive, got -2"),
    ],
)
def test_bad_embeddings(embeddings, scale, error, words):
    with pytest.raises(error, match=words):
        ge2e_loss(embeddings, scale=scale)
