"""Make the book's corpus of synthetic speech and write it to mapping_lib/lab/data.

    pip install --target SITE --no-deps espeakng-loader==0.2.4
    python scripts/make_speech.py SITE

eSpeak NG says every text; readers of the book need none of this, because the corpus comes with the
package. Everything is made in one process, in one order: the synthesiser draws noise as it goes
along, so that a second call for the same word gives other samples. Its generators are seeded, so
that a second run of this recipe gives the same bytes (``--check`` compares them with the file that
is there).

A speaker is a variant of a voice (which changes formants, roughness and breath), with an accent, a
pitch and a rate of its own. Each clip departs from these a little.

digits: 32 voices say zero to nine in English, twice; eight of them say them once in German, Spanish
and Mandarin. commands: 32 voices say eight English words once. prosody: twelve voices say two
English and two German sentences, calm, angry, sad and happy. These moods are acted by a machine:
they are nothing but settings of pitch, range of pitch, rate and loudness, below in MOODS.

Clips are trimmed, brought to 8 kHz, scaled by one number a voice, and stored with 7 bits a sample
on the mu-law scale of telephones (which has 8).
"""

import argparse
import ctypes
import io
import lzma
import sys
import tarfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
from scipy.signal import resample_poly

Wave = npt.NDArray[np.float64]
RATE = 8000
FILE = Path(__file__).resolve().parents[1] / "mapping_lib/lab/data/synthetic_speech.tar.xz"

DIGITS = {
    "en": ["zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine"],
    "de": ["null", "eins", "zwei", "drei", "vier", "fünf", "sechs", "sieben", "acht", "neun"],
    "es": ["cero", "uno", "dos", "tres", "cuatro", "cinco", "seis", "siete", "ocho", "nueve"],
    "cmn": list("零一二三四五六七八九"),
}
COMMANDS = ["yes", "no", "up", "down", "left", "right", "stop", "go"]
SENTENCES = {
    "en": ["The train is late.", "We eat at seven."],
    "de": ["Der Zug kommt später.", "Wir essen um sieben."],
}
# What is added to a voice's pitch; range of pitch; factors on its rate and its loudness.
MOODS = {
    "calm": (0, 45, 1.0, 1.0),
    "angry": (8, 75, 1.2, 1.7),
    "sad": (-8, 20, 0.8, 0.6),
    "happy": (14, 90, 1.1, 1.2),
}
ACCENTS = (
    *("en-us", "en", "en-gb-x-rp", "en-gb-scotland"),
    *("en-us-nyc", "en-029", "en-gb-x-gbclan"),
)

# Whom to learn from, to tune on and to test on. Women's and men's voices alternate.
VOICES = {
    "train": [
        "f1",
        "m1",
        "f2",
        "m3",
        "f4",
        "m7",
        "Alicia",
        "adam",
        "belinda",
        "boris",
        "grandma",
        "grandpa",
        "linda",
        "edward",
        "aunty",
        "Gene",
        "anika",
        "pablo",
    ],
    "validation": ["f5", "Michael", "shelby", "victor"],
    "test": ["f3", "m2", "Andrea", "benjamin", "Annie", "m8", "steph", "Lee", "zac", "norbert"],
}
SPLIT = {voice: split for split, voices in VOICES.items() for voice in voices}
POLYGLOTS = VOICES["train"][:4] + VOICES["test"][:4]
ACTORS = VOICES["train"][:8] + VOICES["test"][:4]


@dataclass(frozen=True)
class Clip:
    """What is said, by whom, and how."""

    part: str
    language: str
    label: str
    voice: str
    text: str
    mood: str = "calm"


def clips() -> Iterator[Clip]:
    """List all clips in the order in which they are made."""
    for voice in SPLIT:
        for _ in range(2):
            for word in DIGITS["en"]:
                yield Clip("digits", "en", word, voice, word)
        for word in COMMANDS:
            yield Clip("commands", "en", word, voice, word)
    for language in ("de", "es", "cmn"):
        for voice in POLYGLOTS:
            for english, word in zip(DIGITS["en"], DIGITS[language], strict=True):
                yield Clip("digits", language, english, voice, word)
    for voice in ACTORS:
        for mood in MOODS:
            for language, sentences in SENTENCES.items():
                for sentence in sentences:
                    yield Clip("prosody", language, mood, voice, sentence, mood)


class Synthesiser:
    """ESpeak NG's library, called through ctypes."""

    def __init__(self, folder: Path) -> None:
        self._library = ctypes.CDLL(str(folder / "libespeak-ng.so"))
        self.rate = self._library.espeak_Initialize(2, 0, str(folder).encode(), 0)
        if self.rate <= 0:
            sys.exit(f"eSpeak NG doesn't find its data in {folder}")
        self._library.espeak_ng_SetRandSeed(ctypes.c_long(631))  # it was seeded by the clock,
        ctypes.CDLL(None).srand(631)  # and breath comes from the C library's generator
        self._heard: list[npt.NDArray[np.int16]] = []
        kind = ctypes.CFUNCTYPE(
            ctypes.c_int, ctypes.POINTER(ctypes.c_short), ctypes.c_int, ctypes.c_void_p
        )
        self._callback = kind(self._hear)  # kept, or Python would free it
        self._library.espeak_SetSynthCallback(self._callback)

    def _hear(self, samples, count: int, _) -> int:  # type: ignore[no-untyped-def]
        if samples and count > 0:
            self._heard.append(np.ctypeslib.as_array(samples, (count,)).copy())
        return 0

    def say(
        self, text: str, voice: str, *, rate: int, loudness: int, pitch: int, pitch_range: int
    ) -> Wave:
        """Return a text as spoken, at the library's rate, in [-1, 1)."""
        self._heard.clear()
        if self._library.espeak_SetVoiceByName(voice.encode()):
            sys.exit(f"eSpeak NG has no voice {voice}")
        for number, value in enumerate((rate, loudness, pitch, pitch_range), 1):
            self._library.espeak_SetParameter(number, value, 0)
        content = text.encode() + b"\0"
        self._library.espeak_Synth(content, len(content), 0, 0, 0, 1, None, None)
        self._library.espeak_Synchronize()
        return np.concatenate(self._heard) / 2**15


def spoken(folder: Path) -> Iterator[tuple[Clip, Wave]]:
    """Say all clips, trimmed and at 8 kHz, as loud as the synthesiser makes them."""
    machine = Synthesiser(folder)
    draw = np.random.default_rng(631)
    own = {voice: (draw.integers(35, 66), draw.uniform(1.0, 1.35)) for voice in SPLIT}
    for clip in clips():
        pitch, speed = own[clip.voice]
        up, pitch_range, faster, louder = MOODS[clip.mood]
        accent = ACCENTS[list(SPLIT).index(clip.voice) % len(ACCENTS)]
        wave = machine.say(
            clip.text,
            f"{accent if clip.language == 'en' else clip.language}+{clip.voice}",
            rate=round(160 * speed * faster * draw.uniform(0.9, 1.1)),
            loudness=round(35 * louder * draw.uniform(0.85, 1.15)),
            pitch=round(np.clip(pitch + up + draw.normal(0, 4), 5, 95)),
            pitch_range=round(np.clip(pitch_range + draw.normal(0, 8), 5, 99)),
        )
        if np.abs(wave).max() > 0.999:
            sys.exit(f"{clip} is clipped")
        yield clip, trimmed(resample_poly(wave, RATE, machine.rate))


def trimmed(wave: Wave) -> Wave:
    """Cut silence off both ends, but for 15 ms."""
    power = np.convolve(wave**2, np.ones(80) / 80, "same")
    loud = np.flatnonzero(power > 1e-4 * power.max())
    return wave[max(loud[0] - 120, 0) : loud[-1] + 120]


def coded(wave: Wave) -> bytes:
    """Quantise samples in [-1, 1] to 127 steps, evenly in the logarithm of the loudness."""
    curved = np.sign(wave) * np.log1p(255 * np.abs(wave)) / np.log(256)
    return np.round(63 * curved).astype(np.int8).tobytes()


def packed(folder: Path) -> bytes:
    """Return the corpus: a table with a line a clip, and the codes of all clips one by one."""
    made = list(spoken(folder))
    loudest = {
        voice: max(np.abs(wave).max() for clip, wave in made if clip.voice == voice)
        for voice in SPLIT
    }
    lines, codes = ["part,language,split,voice,label,samples"], []
    for clip, wave in made:
        fields = (clip.part, clip.language, SPLIT[clip.voice], clip.voice, clip.label, len(wave))
        lines.append(",".join(map(str, fields)))
        codes.append(coded(wave / loudest[clip.voice] * 0.95))
    stream = io.BytesIO()
    with tarfile.open(fileobj=stream, mode="w", format=tarfile.USTAR_FORMAT) as archive:
        for name, content in (
            ("clips.csv", ("\n".join(lines) + "\n").encode()),
            ("codes.bin", b"".join(codes)),
        ):
            member = tarfile.TarInfo(name)
            member.size = len(content)
            archive.addfile(member, io.BytesIO(content))
    return lzma.compress(stream.getvalue(), preset=9 | lzma.PRESET_EXTREME)


def main() -> None:
    """Make the corpus, or compare with the one that is there."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("site", type=Path, help="the folder that espeakng-loader is installed in")
    parser.add_argument("--check", action="store_true", help="compare, and write nothing")
    given = parser.parse_args()
    content = packed(given.site / "espeakng_loader")
    if given.check:
        same = lzma.decompress(content) == lzma.decompress(FILE.read_bytes())
        sys.exit(0 if same else f"{FILE} holds other clips")
    FILE.write_bytes(content)
    print(f"{FILE.name}: {len(content):,} bytes")


if __name__ == "__main__":
    main()
