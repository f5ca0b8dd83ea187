import math

import pytest
import torch

from mapping_lib.lab import moods
from mapping_lib.lab.data.synthetic import synthetic_speech
from mapping_lib.lab.hearing import SpeechEncoder, speech_features, write_recording

RATE = 8000


def voice(hertz=150.0, seconds=1.0, loud=0.3):
    """A buzz whose loudness rises and falls five times a second."""
    t = torch.arange(round(seconds * RATE)) / RATE
    buzz = sum((2 * math.pi * hertz * k * t).sin() / k for k in range(1, 6))
    return loud * buzz / 2 * (0.55 - 0.45 * (2 * math.pi * 5 * t).cos())


def named(wave):
    return dict(zip(moods.FUNCTIONALS, moods.functionals(wave, rate=RATE).tolist(), strict=True))


def test_functionals_hear_what_was_changed_and_nothing_else():
    plain, louder = named(voice()), named(voice(loud=0.6))
    assert abs(plain["pitch"] - 12 * math.log2(1.5)) < 0.05
    assert plain["pitch range"] < 0.1
    assert abs(louder["loudness"] - plain["loudness"] - 20 * math.log10(2)) < 0.01
    for name in set(moods.FUNCTIONALS) - {"loudness"}:
        assert abs(louder[name] - plain[name]) < 1e-3
    assert abs(plain["syllable rate"] * 1.0 - 5) < 2.5
    assert plain["periodicity"] > 0.95
    higher = named(voice(300.0))
    assert abs(higher["pitch"] - plain["pitch"] - 12) < 0.05
    assert higher["brightness"] > plain["brightness"] + 1


def test_voiced_stretches():
    t = torch.zeros(RATE)
    t[1000:3000] = voice(seconds=0.25)
    t[5000:7000] = voice(seconds=0.25)
    assert named(voice())["voiced stretch"] > 2 * named(t)["voiced stretch"] > 0


@pytest.mark.parametrize(
    ("wave", "words"),
    [
        (torch.zeros(RATE), "sound in it"),
        (torch.ones(2, RATE), "sound in it"),
        (torch.ones(100), "frame of 400 samples"),
        (0.1 * torch.randn(RATE, generator=torch.Generator().manual_seed(0)), "no voice"),
    ],
)
def test_waves_without_a_voice(wave, words):
    with pytest.raises(ValueError, match=words):
        moods.functionals(wave, rate=RATE)


def test_spectrum_statistics():
    wave = voice()
    found = moods.spectrum_statistics(wave, rate=RATE)
    features = speech_features(wave, normalise="none")
    assert torch.equal(found, torch.cat([features.mean(0), features.std(0)]))


def test_by_voice():
    draw = torch.Generator().manual_seed(0)
    x, who = torch.randn(30, 3, generator=draw), torch.arange(30) % 3
    moved = 5 * x + 100 * who[:, None]
    assert torch.allclose(moods.by_voice(moved, who), moods.by_voice(x, who), atol=1e-4)
    assert torch.equal(x, torch.randn(30, 3, generator=torch.Generator().manual_seed(0)))
    constant = moods.by_voice(torch.ones(4, 1), torch.tensor([0, 0, 1, 1]))
    assert (constant == 0).all()
    with pytest.raises(ValueError, match="speaker 7 has one clip"):
        moods.by_voice(x[:3], torch.tensor([0, 0, 7]))


def test_uar_and_its_interval():
    labels = torch.tensor([0] * 8 + [1] * 2)
    assert moods.uar(labels, torch.zeros(10).long()) == 0.5
    assert moods.uar(labels, labels) == 1.0
    assert moods.uar(labels + 3, torch.full((10,), 3)) == 0.5  # other classes don't occur
    draw = torch.Generator().manual_seed(0)
    labels, who = torch.arange(200) % 4, torch.arange(200) // 20
    right = torch.rand(10, generator=draw)[who] > torch.rand(200, generator=draw)
    guess = torch.where(right, labels, (labels + 1) % 4)
    low, high = moods.recall_interval(labels, guess, who)
    assert low < moods.uar(labels, guess) < high
    assert (low, high) == moods.recall_interval(labels, guess, who)
    alone = moods.recall_interval(labels, guess, torch.arange(200))  # as if clips were independent
    assert high - low > 1.3 * (alone[1] - alone[0])
    with pytest.raises(ValueError, match="at least three"):
        moods.recall_interval(labels, guess, who // 5)


def test_a_network_learns_and_repeats():
    clips = [speech_features(voice(hertz), normalise="none") for hertz in (120, 300) * 4]
    labels = torch.tensor([0, 1] * 4)
    found = []
    for _ in range(2):
        torch.manual_seed(0)
        model = moods.MoodNetwork(SpeechEncoder(), 2)
        before = moods.pooled(model.encoder, clips)
        moods.learn(model, clips, labels, steps=15, batch_size=4, seed=1, rate=3e-3)
        found.append(moods.look(model, clips))
    assert torch.equal(*found)
    assert (found[0].argmax(1) == labels).all()
    assert before.shape == (8, 128)
    assert not torch.equal(before, moods.pooled(model.encoder, clips))
    held = moods.pooled(model.encoder, clips)
    moods.learn(model, clips, labels, steps=2, batch_size=4, seed=1, encoder_rate=1e-12)
    assert torch.allclose(held, moods.pooled(model.encoder, clips), atol=1e-4)


def test_logistic_repeats_on_real_features():
    clips = synthetic_speech("prosody", split="test")
    x = torch.stack([moods.functionals(w, rate=RATE) for w in clips.waves])
    x = moods.by_voice(x, clips.speakers)
    solver = moods.logistic().fit(x, clips.labels)
    assert moods.uar(clips.labels, torch.from_numpy(solver.predict(x))) > 0.8
    assert moods.logistic(0.5)[-1].C == 0.5


# a reader's own folder


@pytest.fixture
def own(tmp_path):
    for mood, hertz in (("glad", 250), ("cross", 150)):
        (tmp_path / mood).mkdir()
        for who in ("ana", "ben", "chi"):
            write_recording(tmp_path / mood / f"{who}_1.wav", voice(hertz))
    (tmp_path / "notes.txt").write_text("left alone")
    return tmp_path


def test_own_recordings(own):
    found = moods.read_moods(own)
    assert (found.classes, found.voices) == (("cross", "glad"), ("ana", "ben", "chi"))
    assert found.labels.tolist() == [0, 0, 0, 1, 1, 1]
    assert found.speakers.tolist() == [0, 1, 2] * 2
    assert (found.rate, found.domain) == (8000, own.name)


def test_own_recordings_that_would_mislead(own):
    with pytest.raises(FileNotFoundError, match="there is no folder"):
        moods.read_moods(own / "nowhere")
    write_recording(own / "glad" / "nobody.wav", voice())
    with pytest.raises(ValueError, match=r"speaker_nobody\.wav"):
        moods.read_moods(own)
    (own / "glad" / "nobody.wav").unlink()
    write_recording(own / "glad" / "ana_2.wav", torch.zeros(RATE))
    with pytest.raises(ValueError, match="silent"):
        moods.read_moods(own)
    (own / "glad" / "ana_2.wav").unlink()
    for mood in ("glad", "cross"):
        (own / mood / "chi_1.wav").unlink()
    with pytest.raises(ValueError, match="nobody but ana and ben speaks"):
        moods.read_moods(own)
    for path in (own / "glad").iterdir():
        path.unlink()
    with pytest.raises(ValueError, match="'glad' has no recordings"):
        moods.read_moods(own)
    (own / "glad").rmdir()
    with pytest.raises(ValueError, match="only 'cross'"):
        moods.read_moods(own)
