"""Words and moods spoken by a synthesiser, which come with the package."""

import csv
from pathlib import PurePosixPath

import numpy as np
import torch

from mapping_lib.lab.archives import members, reading
from mapping_lib.lab.data._arguments import one_of
from mapping_lib.lab.data.glyphs import DIGITS
from mapping_lib.lab.data.types import Clips
from mapping_lib.lab.registry import locate

NUMBERS = ("zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine")
COMMANDS = ("yes", "no", "up", "down", "left", "right", "stop", "go")
MOODS = ("calm", "angry", "sad", "happy")
LABELS = {"digits": NUMBERS, "commands": COMMANDS, "prosody": MOODS}
LANGUAGES = {
    "digits": ("en", "de", "es", "cmn"),
    "commands": ("en",),
    "prosody": ("en", "de"),
}
SPLITS = ("train", "validation", "test")
RATE = 8000


def synthetic_speech(part: str = "digits", *, language: str = "en", split: str = "all") -> Clips:
    """Return clips of the synthetic corpus, which ``scripts/make_speech.py`` made.

    Of 32 voices, 18 are to learn from, 4 to tune on and 10 to test on. In English all of them say
    the digits (twice) and eight commands. Eight voices, half of them for tests, say the digits in
    the other languages, and twelve, four of them for tests, the sentences of the moods.

    The moods are acted by a machine: they are settings of pitch, range of pitch, rate and loudness,
    not emotions.

    Parameters
    ----------
    part
        ``"digits"``, ``"commands"`` or ``"prosody"``. The classes of the digits are named as those
        of :func:`mapping_lib.lab.data.speech.spoken_digits`, in every language.
    language
        ``"en"``, ``"de"``, ``"es"`` or ``"cmn"`` (Mandarin) for digits, ``"en"`` or ``"de"`` for
        prosody.
    split
        ``"train"``, ``"validation"``, ``"test"`` or ``"all"``: no voice is in two of them.

    Returns
    -------
    Clips
        At 8 kHz, silence cut off at both ends, scaled by one number a voice.

    Raises
    ------
    ValueError
        An unknown part or split, or a language that the part isn't spoken in.
    CorruptKnowledge
        The file isn't the one that the registry knows.

    Examples
    --------
    >>> synthetic_speech("digits", split="test")
    Clips(digits, en, test: 200 clips, 69 s at 8000 Hz, 10 classes, 10 voices)
    """
    one_of(LABELS, part=part)
    one_of(LANGUAGES[part], language=language)
    one_of((*SPLITS, "all"), split=split)
    path = locate("synthetic-speech")
    with reading(path, "an archive of clips"):
        held = members(path)
        rows = list(csv.DictReader(held[PurePosixPath("clips.csv")].decode().splitlines()))
        codes = np.frombuffer(held[PurePosixPath("codes.bin")], np.int8)
        ends = np.cumsum([int(row["samples"]) for row in rows])
        if ends[-1] != len(codes):
            raise ValueError(f"{len(codes)} samples, not the {ends[-1]} of the table")
        steps = torch.arange(128) / 63
        loudness = (256**steps - 1) / 255  # of each code but for its sign
        waves, labels, names = [], [], []
        for row, end in zip(rows, ends, strict=True):
            if (row["part"], row["language"]) != (part, language):
                continue
            if split in ("all", row["split"]):
                code = torch.from_numpy(codes[end - int(row["samples"]) : end].astype(np.int64))
                waves.append(loudness[code.abs()] * code.sign())
                labels.append(LABELS[part].index(row["label"]))
                names.append(row["voice"])
        voices = tuple(sorted(set(names)))
        return Clips(
            tuple(waves),
            RATE,
            torch.tensor(labels),
            DIGITS if part == "digits" else LABELS[part],
            torch.tensor([voices.index(name) for name in names]),
            voices,
            entry="synthetic-speech",
            domain=f"{part}, {language}",
            split=split,
        )
