import io
import lzma
import tarfile
from dataclasses import replace

import pytest
import torch

from mapping_lib.lab import registry
from mapping_lib.lab.data.synthetic import LABELS, LANGUAGES, SPLITS, synthetic_speech
from mapping_lib.lab.registry import CorruptKnowledge, File, find

TABLE = "part,language,split,voice,label,samples\ndigits,en,train,ann,two,3\n"


def packed(table=TABLE, codes=b"\x00\x3f\xc1"):
    stream = io.BytesIO()
    with tarfile.open(fileobj=stream, mode="w") as archive:
        for name, content in (("clips.csv", table.encode()), ("codes.bin", codes)):
            member = tarfile.TarInfo(name)
            member.size = len(content)
            archive.addfile(member, io.BytesIO(content))
    return lzma.compress(stream.getvalue())


@pytest.fixture
def planted(plant, monkeypatch):
    def write(content):
        plant("synthetic-speech", {"speech.tar.xz": content})

    return write


def test_a_small_corpus(planted):
    planted(packed())
    clips = synthetic_speech(split="train")
    assert clips.waves[0].tolist() == [0, 1, -1]
    assert (clips.labels.tolist(), clips.voices, clips.rate) == ([2], ("ann",), 8000)
    assert (clips.domain, clips.split, clips.entry) == ("digits, en", "train", "synthetic-speech")


@pytest.mark.parametrize(
    "content",
    [
        b"nothing",
        packed(codes=b"\x00"),
        packed(TABLE.replace("two", "ten")),
        packed(TABLE.replace("samples", "count")),
        packed(TABLE.replace(",3", ",three")),
    ],
)
def test_damaged(planted, content):
    planted(content)
    with pytest.raises(CorruptKnowledge, match="can't be read as an archive"):
        synthetic_speech()


def test_another_file_is_refused(planted, monkeypatch):
    planted(packed())
    entry = registry.ENTRIES[0]
    wrong = File("speech.tar.xz", "0" * 64, entry.files[0].size, "data")
    monkeypatch.setattr(registry, "ENTRIES", (replace(entry, files=(wrong,)),))
    with pytest.raises(CorruptKnowledge, match="SHA-256"):
        synthetic_speech()


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ({"part": "digit"}, "unknown part 'digit'; did you mean 'digits'"),
        ({"language": "fr"}, "unknown language 'fr'"),
        ({"part": "commands", "language": "de"}, "unknown language 'de'"),
        ({"split": "tests"}, "unknown split 'tests'; did you mean 'test'"),
    ],
)
def test_unknown_names(arguments, words):
    with pytest.raises(ValueError, match=words):
        synthetic_speech(**arguments)


@pytest.mark.parametrize("part", LABELS)
def test_voices_are_in_one_split_each(part):
    for language in LANGUAGES[part]:
        splits = SPLITS if language == "en" and part != "prosody" else ("train", "test")
        seen = [synthetic_speech(part, language=language, split=split) for split in splits]
        voices = [voice for clips in seen for voice in clips.voices]
        assert len(set(voices)) == len(voices)
        everything = synthetic_speech(part, language=language)
        assert set(voices) == set(everything.voices)
        assert sum(map(len, seen)) == len(everything)
        assert everything.labels.bincount().unique().numel() == 1  # as many of each


def test_what_is_there():
    digits = synthetic_speech()
    assert (len(digits), len(digits.voices), digits.classes[7]) == (640, 32, "7")
    assert digits.speakers.bincount().tolist() == [20] * 32
    for language in ("de", "es", "cmn"):
        assert len(synthetic_speech(language=language)) == 80
    assert len(synthetic_speech("commands")) == 256
    assert [len(synthetic_speech("prosody", language=k)) for k in ("en", "de")] == [96, 96]


def test_sounds_are_whole():
    for part, languages in LANGUAGES.items():
        for language in languages:
            clips = synthetic_speech(part, language=language)
            for wave in clips.waves:
                assert 0.1 < len(wave) / clips.rate < 2
                assert 0.1 < wave.abs().max() < 0.96  # neither silent nor clipped


def test_moods_differ_as_they_were_set():
    """Angry is louder and quicker than calm, sad softer and slower, voice by voice."""
    clips = synthetic_speech("prosody")
    loud = torch.stack([wave.square().mean().sqrt() for wave in clips.waves])
    long = torch.tensor([float(len(wave)) for wave in clips.waves])
    for voice in range(len(clips.voices)):
        mean = {
            mood: [
                values[(clips.speakers == voice) & (clips.labels == k)].mean()
                for values in (loud, long)
            ]
            for k, mood in enumerate(clips.classes)
        }
        assert mean["angry"][0] > mean["calm"][0] > mean["sad"][0]
        assert mean["angry"][1] < mean["calm"][1] < mean["sad"][1]


def test_the_shipped_file_is_the_registered_one():
    (file,) = find("synthetic-speech").files
    assert (file.place, file.size < 3 * 2**20) == ("mapping_lib", True)
