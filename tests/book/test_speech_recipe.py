import numpy as np
from make_speech import DIGITS, MOODS, VOICES, coded

from mapping_lib.lab.data.synthetic import synthetic_speech


def test_the_corpus_has_what_the_recipe_names():
    assert set(synthetic_speech(split="test").voices) == set(VOICES["test"])
    assert tuple(MOODS) == synthetic_speech("prosody").classes
    assert {len(words) for words in DIGITS.values()} == {10}


def test_coding_loses_little():
    wave = np.sin(np.arange(4000) / 7) * np.linspace(0.02, 0.9, 4000)
    stored = np.frombuffer(coded(wave), np.int8)
    back = np.sign(stored) * (256 ** (np.abs(stored) / 63.0) - 1) / 255
    noise = np.square(back - wave).sum() / np.square(wave).sum()
    assert -36 < 10 * np.log10(noise) < -28  # the theory of mu-law with 7 bits: about -32 dB
