"""Recordings of spoken digits and of acted emotions."""

import csv
import io
import wave
from pathlib import PurePosixPath

import numpy as np
import torch
from torch import Tensor

from mapping_lib.lab.archives import members, reading
from mapping_lib.lab.data._arguments import one_of
from mapping_lib.lab.data.glyphs import DIGITS
from mapping_lib.lab.data.types import Clips
from mapping_lib.lab.registry import locate

EMOTIONS = ("anger", "boredom", "disgust", "fear", "happiness", "neutral", "sadness")


def spoken_digits(split: str) -> Clips:
    """Return spoken English digits of six speakers at 8 kHz, in the official split.

    Parameters
    ----------
    split
        ``"train"``: recordings 5 to 24 of each speaker and digit (1,200); ``"test"``: 0 to 4 (300).

    Raises
    ------
    ValueError
        An unknown split.
    MissingKnowledge, CorruptKnowledge
        The files aren't there, or aren't those that the registry knows.
    """
    one_of(("train", "test"), split=split)
    path = locate("spoken-digits", "fsdd/recordings_00-24.tar.bz2")
    with reading(path, "an archive of recordings"):
        clips = []
        for name, content in members(path).items():
            digit, speaker, index = name.stem.split("_")
            if (int(index) < 5) == (split == "test"):
                clips.append((_waveform(content, 8000), DIGITS.index(digit), speaker))
        return _clips(clips, 8000, DIGITS, entry="spoken-digits", split=split)


def emodb() -> Clips:
    """Return 198 German sentences, spoken by ten actors with seven emotions, 2 s each at 16 kHz.

    There is no official split: leave out speakers. The clips must not be played in anything that is
    published, and results on this part don't compare with published ones on the whole.

    Raises
    ------
    MissingKnowledge, CorruptKnowledge
        The files aren't there, or aren't those that the registry knows.
    """
    path = locate("emodb")
    with reading(path, "an archive of recordings"):
        held = members(path)
        table = held[PurePosixPath("labels.csv")].decode()
        clips = [
            (
                _waveform(held[PurePosixPath("wav", row["file"])], 16000),
                EMOTIONS.index(row["emotion"]),
                row["speaker"],
            )
            for row in csv.DictReader(table.splitlines())
        ]
        return _clips(clips, 16000, EMOTIONS, entry="emodb", split="all")


def _waveform(content: bytes, rate: int) -> Tensor:
    """Decode a WAV file of one channel and 16 bits, to [-1, 1)."""
    with wave.open(io.BytesIO(content)) as stream:
        found = (stream.getnchannels(), stream.getsampwidth(), stream.getframerate())
        if found != (1, 2, rate):
            raise ValueError(f"channels, bytes and rate are {found}, not {(1, 2, rate)}")
        samples = np.frombuffer(stream.readframes(stream.getnframes()), "<i2")
    return torch.from_numpy(samples.astype(np.float32) / 2**15)


def _clips(
    clips: list[tuple[Tensor, int, str]],
    rate: int,
    classes: tuple[str, ...],
    *,
    entry: str,
    split: str,
) -> Clips:
    """Put clips together; the voices are numbered in the order of their names."""
    waves, labels, names = zip(*clips, strict=True)
    voices = tuple(sorted(set(names)))
    speakers = torch.tensor([voices.index(name) for name in names])
    return Clips(
        waves, rate, torch.tensor(labels), classes, speakers, voices, entry=entry, split=split
    )
