from copy import deepcopy

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torchmetrics.functional.text import word_error_rate

from mapping_lib.lab.data.synthetic import synthetic_speech
from mapping_lib.lab.data.types import Clips
from mapping_lib.lab.hearing import SpeechEncoder
from mapping_lib.lab.recognising import (
    Recogniser,
    Strings,
    alignment,
    digit_strings,
    hear,
    pretrain_encoder,
    roughen,
    some_clips,
    some_seconds,
    speech_recogniser,
    train_recogniser,
    word_errors,
)

WORDS = st.lists(st.sampled_from("0123"), max_size=6).map(" ".join)


def tones(voices=2, rate=8000):
    """Return ten "digits" that are tones of their own, said by some voices."""
    labels = torch.arange(10).repeat(voices)
    speakers = torch.arange(voices).repeat_interleave(10)
    time = torch.arange(1600) / 8000
    waves = [
        torch.sin(2 * torch.pi * (300 + 300 * k + 20 * s) * time) / 2
        for k, s in zip(labels.tolist(), speakers.tolist(), strict=True)
    ]
    names = tuple("abcdefgh"[:voices])
    digits = tuple("0123456789")
    return Clips(tuple(waves), rate, labels, digits, speakers, names, entry="tones", split="train")


# errors


@pytest.mark.parametrize(
    ("said", "heard", "pairs"),
    [
        ("7 0 3", "7 0 3", [("7", "7"), ("0", "0"), ("3", "3")]),
        ("7 0 3", "7 3", [("7", "7"), ("0", None), ("3", "3")]),
        ("7", "7 7", None),
        ("1 2", "", [("1", None), ("2", None)]),
        ("", "4", [(None, "4")]),
    ],
)
def test_alignment_by_hand(said, heard, pairs):
    found = alignment(said, heard)
    if pairs is not None:
        assert found == pairs
    assert [a for a, _ in found if a] == said.split()
    assert [b for _, b in found if b] == heard.split()


@given(WORDS, WORDS)
def test_alignment_is_a_way_back(said, heard):
    there = sum(a != b for a, b in alignment(said, heard))
    back = sum(a != b for a, b in alignment(heard, said))
    assert there == back
    assert abs(len(said.split()) - len(heard.split())) <= there
    assert (there == 0) == (said == heard)


@given(st.lists(st.tuples(WORDS, WORDS), min_size=1, max_size=5))
def test_word_errors_against_torchmetrics(pairs):
    said, heard = zip(*pairs, strict=True)
    if not any(said):
        with pytest.raises(ValueError, match="nothing was said"):
            word_errors(said, heard)
        return
    found = word_errors(said, heard)
    assert abs(found["wer"] - word_error_rate(list(heard), list(said)).item()) < 1e-6
    wrong = sum(a != b for a, b in pairs) / len(pairs)
    assert abs(found["strings"] - wrong) < 1e-12


def test_kinds_of_errors():
    found = word_errors(["1 2 3", "4"], ["1 5", "4 4"])
    assert found["substitutions"] == found["deletions"] == found["insertions"] == 0.25
    assert (found["wer"], found["strings"]) == (0.75, 1)


# strings


def test_strings_are_of_one_voice_and_say_their_targets():
    clips = tones()
    strings = digit_strings(clips, 30, seed=0, lengths=(2, 4), pause=(0.1, 0.1))
    assert len(strings) == 30
    assert {len(t) for t in strings.targets} == {2, 3, 4}
    assert set(strings.voices) == {"a", "b"}
    for wave, target, voice in zip(strings.waves, strings.targets, strings.voices, strict=True):
        assert len(wave) == 800 + len(target) * 2400
        for place, label in enumerate(target):
            part = wave[800 + 2400 * place :][:1600]
            expected = clips.waves[10 * "ab".index(voice) + label - 1]
            assert torch.equal(part, expected)
    assert strings.texts[0] == " ".join(str(k - 1) for k in strings.targets[0])


def test_strings_are_drawn_by_the_seed():
    first, again, other = (digit_strings(tones(), 5, seed=s) for s in (1, 1, 2))
    assert first.targets == again.targets != other.targets
    assert all(torch.equal(a, b) for a, b in zip(first.waves, again.waves, strict=True))
    with pytest.raises(ValueError, match="ten digits at 8000 samples a second"):
        digit_strings(tones(rate=16000), 1, seed=0)


def test_some_clips_and_seconds():
    clips = tones(3)
    assert set(some_clips(clips, ["c"]).speakers.tolist()) == {2}
    assert some_clips(clips, torch.tensor([5, 2])).labels.tolist() == [5, 2]
    with pytest.raises(ValueError, match=r"no clip is of \['z'\]; there are a, b, c"):
        some_clips(clips, ["z"])
    few, more = (some_seconds(clips, s, seed=0) for s in (1.95, 3.95))
    assert (len(few), len(more), len(some_seconds(clips, 99, seed=0))) == (10, 20, 30)
    assert sorted(few.labels.tolist()) == list(range(10))  # each digit once
    assert all(a is b for a, b in zip(few.waves, more.waves, strict=False))


def test_roughening():
    wave = tones().waves[3]
    first, again, other = (
        roughen(wave, generator=torch.Generator().manual_seed(s)) for s in (0, 0, 1)
    )
    assert torch.equal(first, again)
    assert not torch.equal(first[:1000], other[:1000])
    for k in range(20):
        changed = roughen(wave, generator=torch.Generator().manual_seed(k))
        assert 0.84 * 1600 < len(changed) < 1.16 * 1600
        assert abs(changed.abs().max() - 1) < 1e-5
    assert roughen(torch.zeros(500), generator=torch.Generator()).isfinite().all()


# training


def test_tones_are_learned():
    strings = digit_strings(tones(), 60, seed=0)
    model, losses = train_recogniser(strings, seed=0, steps=60, rough=False)
    assert sum(losses[-5:]) / 5 < losses[0] / 5
    fresh = digit_strings(tones(), 20, seed=9)
    assert word_errors(fresh.texts, hear(model, fresh.waves))["wer"] < 0.3
    assert hear(model, fresh.waves, batch_size=3) == hear(model, fresh.waves)


def test_training_is_repeatable_and_leaves_the_random_state():
    strings = digit_strings(tones(), 20, seed=0)
    before = torch.random.get_rng_state()
    runs = [train_recogniser(strings, seed=3, steps=3)[1] for _ in range(2)]
    assert runs[0] == runs[1]
    assert torch.equal(before, torch.random.get_rng_state())


def test_an_encoder_is_carried_over():
    encoder = SpeechEncoder()
    start = deepcopy(encoder.state_dict())
    strings = digit_strings(tones(), 20, seed=0)
    model, _ = train_recogniser(strings, seed=0, encoder=encoder, steps=2, encoder_rate=1e-9)
    assert model.encoder is encoder
    for name, value in encoder.state_dict().items():
        assert torch.allclose(value, start[name], atol=1e-6)


def test_a_string_that_is_too_short():
    strings = digit_strings(tones(), 4, seed=0)
    cut = Strings((strings.waves[0][:900], *strings.waves[1:]), strings.targets, strings.voices)
    with pytest.raises(
        ValueError, match=r"string 0 \(.*\) needs \d steps, and the encoder gives 3"
    ):
        train_recogniser(cut, seed=0, steps=1, rough=False)


def test_hidden_frames_are_guessed():
    strings = digit_strings(tones(), 80, seed=0)
    encoder, losses = pretrain_encoder(strings.waves, seed=0, steps=30, batch_size=8)
    assert sum(losses[-5:]) / 5 < losses[0] - 0.5
    assert isinstance(encoder, SpeechEncoder)


def test_recogniser_has_a_logit_for_each_label_and_the_blank():
    model = Recogniser()
    assert model.head.out_features == 11
    assert model.head.in_features == model.encoder.width


def test_the_shipped_recogniser_knows_unseen_synthetic_voices():
    strings = digit_strings(synthetic_speech(split="test"), 40, seed=5)
    found = word_errors(strings.texts, hear(speech_recogniser(), strings.waves))
    assert found["wer"] < 0.3
