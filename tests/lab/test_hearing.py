import io
import struct
import wave as wave_format

import numpy as np
import pytest
import torch

from mapping_lib.lab.hearing import (
    RecordingError,
    SpeechBatch,
    SpeechEncoder,
    pad_features,
    player,
    read_recording,
    speech_features,
    write_recording,
)

TONE = np.sin(2 * np.pi * 440 * np.arange(8000) / 8000) / 2


def pcm(values, width):
    """Return little-endian PCM of values in [-1, 1)."""
    if width == 1:
        return (values * 128 + 128).astype(np.uint8).tobytes()
    whole = (values * 2.0 ** (8 * width - 1)).astype(np.int64)
    return b"".join(int(v).to_bytes(width, "little", signed=True) for v in whole)


def stored(path, values=TONE, *, width=2, rate=8000, channels=1, cut=0):
    stream = io.BytesIO()
    with wave_format.open(stream, "wb") as file:
        file.setnchannels(channels)
        file.setsampwidth(width)
        file.setframerate(rate)
        file.writeframes(pcm(np.repeat(values, channels), width))
    content = stream.getvalue()
    path.write_bytes(content[: len(content) - cut])
    return path


@pytest.mark.parametrize(("width", "step"), [(1, 2e-2), (2, 1e-4), (3, 1e-6), (4, 1e-6)])
def test_every_width_is_read(tmp_path, width, step):
    wave = read_recording(stored(tmp_path / "a.wav", width=width))
    assert wave.dtype == torch.float32
    assert (wave - torch.from_numpy(TONE)).abs().max() < step


def test_written_and_read(tmp_path):
    wave = torch.from_numpy(TONE).float()
    back = read_recording(write_recording(tmp_path / "a.wav", wave))
    assert (back - wave).abs().max() < 1e-4


def test_more_samples_a_second_are_brought_down(tmp_path):
    """A tone below half the rate stays; one above vanishes instead of turning into another."""
    seconds = np.arange(44100) / 44100
    low, high = (np.sin(2 * np.pi * f * seconds) / 2 for f in (440, 6000))
    kept = read_recording(stored(tmp_path / "low.wav", low, rate=44100))
    assert len(kept) == 8000
    assert (kept[500:-500] - torch.from_numpy(TONE)[500:-500]).abs().max() < 0.01
    gone = read_recording(stored(tmp_path / "high.wav", high, rate=44100))
    assert gone[500:-500].abs().max() < 0.01


def test_stereo_is_mixed_on_request(tmp_path):
    path = stored(tmp_path / "a.wav", channels=2)
    with pytest.raises(RecordingError, match="has 2 channels, and one is due: save it as mono, or"):
        read_recording(path)
    assert (read_recording(path, mix=True) - torch.from_numpy(TONE)).abs().max() < 1e-4


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"rate": 4000}, "4000 samples a second, and 8000 are due: the tones above 2000 Hz"),
        ({"values": TONE * 0}, r"is silent \(nothing louder than 0.00000"),
        ({"values": TONE * 1e-3}, "is silent"),
        ({"values": (TONE * 8).clip(-1, 0.9999)}, "is clipped: .*% of its samples"),
        ({"values": TONE[:100]}, "lasts 0.013 s"),
        ({"values": TONE[:0]}, "holds no samples"),
        ({"cut": 1000}, "is cut off: it announces 8000 samples and holds 7500"),
    ],
)
def test_what_would_spoil_a_result_is_refused(tmp_path, change, words):
    path = stored(tmp_path / "a.wav", **change)
    with pytest.raises(RecordingError, match=words):
        read_recording(path)


@pytest.mark.parametrize("content", [b"", b"RIFF", b"ID3" + bytes(100), b"RIFF\0\0\0\0AIFF"])
def test_no_wav_file(tmp_path, content):
    path = tmp_path / "a.wav"
    path.write_bytes(content)
    with pytest.raises(RecordingError, match="can't be read as a WAV file"):
        read_recording(path)


def test_compressed_wav(tmp_path):
    path = stored(tmp_path / "a.wav")
    content = bytearray(path.read_bytes())
    content[20:22] = struct.pack("<H", 7)  # mu-law
    path.write_bytes(content)
    with pytest.raises(RecordingError, match=r"unknown format: 7.*save it as uncompressed WAV"):
        read_recording(path)


def test_no_file(tmp_path):
    with pytest.raises(FileNotFoundError, match="there is no recording"):
        read_recording(tmp_path / "a.wav")


def test_player_holds_the_wave_as_it_is():
    sound = player(torch.tensor([0.0, 0.5, -0.25]))
    with wave_format.open(io.BytesIO(sound.data)) as stream:
        found = np.frombuffer(stream.readframes(3), "<i2")
    assert np.abs(found / 32767 - [0, 0.5, -0.25]).max() < 1e-4  # not made louder


@pytest.mark.parametrize("wave", [torch.zeros(2, 2), torch.zeros(0), torch.tensor([2.0])])
def test_no_wave(wave, tmp_path):
    with pytest.raises(ValueError, match=r"a wave of shape \(samples,\)"):
        write_recording(tmp_path / "a.wav", wave)
    with pytest.raises(ValueError, match=r"a wave of shape \(samples,\)"):
        player(wave)


def test_features_forget_what_they_should():
    wave = torch.randn(4000, generator=torch.Generator().manual_seed(0)).clamp(-4, 4) / 10
    quiet = wave / 2
    for how, same in (("bands", True), ("loudness", True), ("none", False)):
        loud_features, quiet_features = (speech_features(w, normalise=how) for w in (wave, quiet))
        assert loud_features.shape == (51, 40)
        assert torch.allclose(loud_features, quiet_features, atol=1e-4) == same
    assert speech_features(wave).mean(0).abs().max() < 1e-5
    assert speech_features(wave, normalise="loudness").mean(0).abs().max() > 0.1
    with pytest.raises(ValueError, match="normalise must be"):
        speech_features(wave, normalise="band")


def some_clips(*lengths):
    generator = torch.Generator().manual_seed(0)
    return [torch.randn(length, 40, generator=generator) for length in lengths]


def test_padding_changes_nothing():
    clips = some_clips(37, 80, 61)
    torch.manual_seed(0)
    encoder = SpeechEncoder().double().eval()
    clips = [clip.double() for clip in clips]
    together, steps = encoder(pad_features(clips))
    pooled = encoder.pooled(pad_features(clips))
    assert steps.tolist() == [10, 20, 16]
    for clip, vectors, count, pool in zip(clips, together, steps, pooled, strict=True):
        alone, own = encoder(pad_features([clip]))
        assert own.tolist() == [count]
        assert torch.allclose(alone[0], vectors[:count])
        assert vectors[count:].abs().sum() == 0
        assert torch.allclose(encoder.pooled(pad_features([clip]))[0], pool)
        mean = alone[0].mean(0)
        spread = (alone[0].var(0, correction=0) + 1e-5).sqrt()
        assert torch.allclose(pool, torch.cat([mean, spread]))


def test_encoder_is_as_described():
    encoder = SpeechEncoder()
    assert 100_000 < sum(p.numel() for p in encoder.parameters()) < 180_000
    for frames in (1, 4, 5, 79):
        vectors, steps = encoder(pad_features(some_clips(frames)))
        assert vectors.shape[1] == steps.item() == -(-frames // 4)


def test_a_vector_sees_its_surroundings_only():
    torch.manual_seed(0)
    encoder = SpeechEncoder().eval()
    clip = some_clips(400)[0].requires_grad_()
    vectors, _ = encoder(pad_features([clip]))
    vectors[0, 50].abs().sum().backward()
    reached = clip.grad.abs().sum(1).nonzero()[:, 0]
    assert 50 <= 200 - reached.min() <= 60
    assert 50 <= reached.max() - 200 <= 60


def test_batches():
    batch = pad_features(some_clips(3, 5))
    assert len(batch) == 2
    assert batch.features[0, 3:].abs().sum() == 0
    assert isinstance(batch.to("cpu"), SpeechBatch)
    with pytest.raises(ValueError, match="there are no clips"):
        pad_features([])
