import io
import tarfile
import wave

import numpy as np
import pytest

from mapping_lib.lab.data import emodb, spoken_digits
from mapping_lib.lab.registry import CorruptKnowledge


def recording(samples, rate=8000, channels=1):
    stream = io.BytesIO()
    with wave.open(stream, "wb") as file:
        file.setnchannels(channels)
        file.setsampwidth(2)
        file.setframerate(rate)
        file.writeframes(np.array(samples, "<i2").tobytes())
    return stream.getvalue()


def tarred(members):
    stream = io.BytesIO()
    with tarfile.open(fileobj=stream, mode="w:bz2") as archive:
        for name, content in members.items():
            member = tarfile.TarInfo(name)
            member.size = len(content)
            archive.addfile(member, io.BytesIO(content))
    return stream.getvalue()


DIGITS = {
    "recordings/7_theo_4.wav": recording([0, 16384, -32768]),
    "recordings/7_theo_5.wav": recording([1, 2]),
    "recordings/0_ann_24.wav": recording([3]),
}


def test_spoken_digits_in_the_official_split(plant):
    plant("spoken-digits", {"fsdd/recordings_00-24.tar.bz2": tarred(DIGITS)})
    test, train = spoken_digits("test"), spoken_digits("train")
    assert test.waves[0].tolist() == [0, 0.5, -1]
    assert (test.labels.tolist(), test.voices, test.rate) == ([7], ("theo",), 8000)
    assert train.labels.tolist() == [0, 7]
    assert [train.voices[k] for k in train.speakers] == ["ann", "theo"]
    with pytest.raises(ValueError, match="unknown split 'all'"):
        spoken_digits("all")


@pytest.mark.parametrize(
    "members",
    [
        {"recordings/7_theo_4.wav": recording([1], rate=16000)},
        {"recordings/7_theo_4.wav": recording([1, 2], channels=2)},
        {"recordings/7_theo_4.wav": b"RIFF"},
        {"recordings/theo.wav": recording([1])},
        {"recordings/7_theo_9.wav": recording([1])},  # none to test on
    ],
)
def test_damaged_recordings(plant, members):
    plant("spoken-digits", {"fsdd/recordings_00-24.tar.bz2": tarred(members)})
    with pytest.raises(CorruptKnowledge, match="can't be read as an archive of recordings"):
        spoken_digits("test")


TABLE = b"file,speaker,sex,sentence,emotion,seconds\n03a01Fa.wav,03,m,a01,happiness,2.0\n"


def test_emodb(plant):
    clip = recording([0, 8192], rate=16000)
    members = {"labels.csv": TABLE, "wav/03a01Fa.wav": clip, "wav/other.wav": clip}
    plant("emodb", {"emodb/emodb_subset_16k.tar.bz2": tarred(members)})
    clips = emodb()
    assert clips.waves[0].tolist() == [0, 0.25]
    assert [clips.classes[k] for k in clips.labels] == ["happiness"]
    assert (clips.voices, clips.rate, clips.split) == (("03",), 16000, "all")


@pytest.mark.parametrize(
    "table", [TABLE.replace(b"happiness", b"joy"), TABLE + b"x.wav,3,m,a,fear"]
)
def test_damaged_emodb(plant, table):
    members = {"labels.csv": table, "wav/03a01Fa.wav": recording([0], rate=16000)}
    plant("emodb", {"emodb/emodb_subset_16k.tar.bz2": tarred(members)})
    with pytest.raises(CorruptKnowledge, match="can't be read as an archive of recordings"):
        emodb()


@pytest.mark.real
def test_the_real_recordings():
    train, test = spoken_digits("train"), spoken_digits("test")
    assert train.labels.bincount().tolist() == [120] * 10
    assert test.labels.bincount().tolist() == [30] * 10
    assert len(train.voices) == 6
    clips = emodb()
    assert clips.labels.bincount().tolist() == [30, 30, 21, 28, 29, 30, 30]
    assert len(clips.voices) == 10
    assert {len(wave) for wave in clips.waves} == {32_000}
