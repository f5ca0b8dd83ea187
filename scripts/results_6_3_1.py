"""Measure the tables of section 6.3.1, write them to book/results, and make its checkpoint.

    OMP_NUM_THREADS=1 MAPPING_DATA=… python scripts/results_6_3_1.py everything
    OMP_NUM_THREADS=1 MAPPING_DATA=… python scripts/results_6_3_1.py shift
    OMP_NUM_THREADS=1 MAPPING_DATA=… python scripts/results_6_3_1.py curve
    OMP_NUM_THREADS=1 python scripts/results_6_3_1.py checkpoint

The files are written after each row; a second call goes on where the first one stopped. Everything
takes about eight minutes of one CPU core, for which its numbers of steps and seeds were chosen. A
GPU is used where there is one.

Strings of two to five digits are put together from clips of one voice each. Errors are counted on
100 strings, the same for every method and seed.

shift: recognisers of synthetic English, as spoken or roughened (speed, tilt, echo, noise), hear
voices they know, unseen voices, other languages and real speakers. 18 voices, 1,200 strings, 600
steps of 16, three seeds.

curve: recognisers of real speakers, from some seconds of labelled clips of four speakers. The other
two are unheard; which, changes with the seed. 400 strings, 250 steps of 16. A recogniser starts
from scratch, from an encoder that learned to guess what is hidden (all synthetic clips of training
voices and all clips of the four speakers, no labels, 1,200 steps of 32), or from one that learned
roughened synthetic digits. Nothing is chosen on real labels: rates and steps are those of "shift".

checkpoint: the roughened recogniser of seed 0, in half precision.
"""

from collections.abc import Mapping
from copy import deepcopy
from functools import cache
from pathlib import Path

from recipes import run_recipe

from mapping_lib.lab import checkpoints, results
from mapping_lib.lab.data import spoken_digits
from mapping_lib.lab.data.synthetic import LABELS, LANGUAGES, synthetic_speech
from mapping_lib.lab.hearing import SpeechEncoder
from mapping_lib.lab.machine import device
from mapping_lib.lab.recognising import (
    Recogniser,
    Strings,
    digit_strings,
    hear,
    pretrain_encoder,
    some_clips,
    some_seconds,
    train_recogniser,
    word_errors,
)

ROOT = Path(__file__).resolve().parents[1]
FOLDER = ROOT / "book" / "results"
CHECKPOINT = ROOT / "mapping_lib" / "lab" / "data" / "speech_recogniser.pt"
PACKAGES = ("torch", "scikit-learn", "numpy")
PLACE = device("auto")
SEEDS, SECONDS = range(3), (10, 30, 100, 350)
SOURCE_STRINGS, SOURCE_STEPS = 1200, 600
REAL_STRINGS, REAL_STEPS = 400, 250
HIDDEN_STEPS = 1200
TEST_STRINGS, TEST_SEED = 100, 900
BY_HAND = "steps and rate by hand, on synthetic voices of the validation split"


@cache
def source(rough: bool, seed: int) -> Recogniser:
    """Return a recogniser of synthetic English."""
    strings = digit_strings(synthetic_speech(split="train"), SOURCE_STRINGS, seed=seed)
    model, _ = train_recogniser(strings, seed=seed, steps=SOURCE_STEPS, rough=rough, place=PLACE)
    return model


@cache
def domains() -> Mapping[str, Strings]:
    """Return the test strings of each domain."""
    clips = {
        "known voices": synthetic_speech(split="train"),
        "unseen voices": synthetic_speech(split="test"),
        "German": synthetic_speech(language="de", split="test"),
        "Spanish": synthetic_speech(language="es", split="test"),
        "Mandarin": synthetic_speech(language="cmn", split="test"),
        "real speakers": spoken_digits("test"),
    }
    return {name: digit_strings(own, TEST_STRINGS, seed=TEST_SEED) for name, own in clips.items()}


def errors(model: Recogniser, strings: Strings) -> dict[str, float]:
    """Return a recogniser's errors on some strings."""
    found = word_errors(strings.texts, hear(model, strings.waves))
    return {name: round(value, 4) for name, value in found.items()}


def measure_shift() -> None:
    """Measure recognisers of synthetic English elsewhere."""
    recorder = results.Recorder(
        FOLDER / "speech_shift.json",
        problem="word errors of recognisers of synthetic digits, on other voices and languages",
        recipe="scripts/results_6_3_1.py shift",
        data=["synthetic-speech", "spoken-digits"],
        methods={
            "as spoken": results.Method("Strings as the synthesiser says them.", BY_HAND),
            "roughened": results.Method("Other speed, tilt, an echo and noise.", BY_HAND),
        },
        packages=PACKAGES,
        settings={"strings": SOURCE_STRINGS, "steps": SOURCE_STEPS, "test strings": TEST_STRINGS},
        device=str(PLACE),
    )
    names = (
        *("known voices", "unseen voices", "German", "Spanish", "Mandarin"),
        "real speakers",
    )

    def measure(key: results.Row) -> dict[str, float]:
        model = source(key["method"] == "roughened", key["seed"])
        strings = domains()[key["domain"]]
        if key["domain"] == "real speakers":
            recorder.extend("speakers", by_speaker(model, strings, key))
        return errors(model, strings)

    recorder.measure(
        [
            {"method": method, "domain": domain, "seed": seed}
            for seed in SEEDS
            for method in ("as spoken", "roughened")
            for domain in names
        ],
        measure,
    )


def by_speaker(model: Recogniser, strings: Strings, key: results.Row) -> list[results.Row]:
    """Return the word error rate of each speaker."""
    heard = hear(model, strings.waves)
    rows = []
    for speaker in sorted(set(strings.voices)):
        own = [i for i, voice in enumerate(strings.voices) if voice == speaker]
        found = word_errors([strings.texts[i] for i in own], [heard[i] for i in own])
        rows.append(
            {
                "method": key["method"],
                "speaker": speaker,
                "seed": key["seed"],
                "wer": round(found["wer"], 4),
                "words": sum(len(strings.targets[i]) for i in own),
            }
        )
    return rows


def speakers(seed: int) -> tuple[list[str], list[str]]:
    """Return the speakers to learn from, and the two that stay unheard."""
    everyone = spoken_digits("train").voices
    unheard = [everyone[(2 * seed + k) % len(everyone)] for k in range(2)]
    return [name for name in everyone if name not in unheard], unheard


@cache
def without_labels(seed: int) -> SpeechEncoder:
    """Return an encoder that learned to guess what is hidden."""
    waves = [
        wave
        for part in LABELS
        for language in LANGUAGES[part]
        for wave in synthetic_speech(part, language=language, split="train").waves
    ]
    waves += some_clips(spoken_digits("train"), speakers(seed)[0]).waves
    encoder, losses = pretrain_encoder(waves, seed=seed, steps=HIDDEN_STEPS, place=PLACE)
    print(f"hidden frames: {losses[0]:.2f} at first, {sum(losses[-20:]) / 20:.2f} at last")
    return encoder


def measure_curve() -> None:
    """Measure recognisers of real speakers over the seconds of labelled speech."""
    by_shift = "rate and batch as in 'shift'; steps by hand; nothing on real labels"
    recorder = results.Recorder(
        FOLDER / "speech_curve.json",
        problem="word errors on real speakers over labelled seconds of four of them",
        recipe="scripts/results_6_3_1.py curve",
        data=["synthetic-speech", "spoken-digits"],
        methods={
            "synthetic speech alone": results.Method("No real label.", by_shift),
            "from scratch": results.Method("New weights.", by_shift),
            "hidden frames first": results.Method("An encoder trained without labels.", by_shift),
            "synthetic digits first": results.Method(
                "The encoder of a recogniser of roughened synthetic digits.", by_shift
            ),
        },
        packages=PACKAGES,
        settings={
            "strings": REAL_STRINGS,
            "steps": REAL_STEPS,
            "steps without labels": HIDDEN_STEPS,
            "test strings": TEST_STRINGS,
        },
        device=str(PLACE),
    )

    def measure(key: results.Row) -> dict[str, float]:
        method, seed = key["method"], key["seed"]
        heard, unheard = speakers(seed)
        if method == "synthetic speech alone":
            model, labelled = source(True, seed), 0.0
        else:
            clips = some_clips(spoken_digits("train"), heard)
            clips = some_seconds(clips, key["seconds_wanted"], seed=seed)
            labelled = sum(map(len, clips.waves)) / clips.rate
            encoder = {
                "from scratch": lambda: None,
                "hidden frames first": lambda: deepcopy(without_labels(seed)),
                "synthetic digits first": lambda: deepcopy(source(True, seed).encoder),
            }[method]()
            strings = digit_strings(clips, REAL_STRINGS, seed=seed)
            model, _ = train_recogniser(
                strings, seed=seed, encoder=encoder, steps=REAL_STEPS, place=PLACE
            )
        values = {"labelled": round(labelled, 1)}
        for name, voices in (("heard", heard), ("unheard", unheard)):
            clips = some_clips(spoken_digits("test"), voices)
            found = errors(model, digit_strings(clips, TEST_STRINGS, seed=TEST_SEED))
            values[f"wer_{name}"] = found["wer"]
        return values

    recorder.measure(
        [
            {"method": method, "seconds_wanted": seconds, "seed": seed}
            for seed in SEEDS
            for method, budget in (
                ("synthetic speech alone", (0,)),
                ("synthetic digits first", SECONDS),
                ("from scratch", SECONDS),
                ("hidden frames first", SECONDS),
            )
            for seconds in budget
        ],
        measure,
    )


def make_checkpoint() -> None:
    """Write the roughened recogniser of seed 0 in half precision."""
    state = source(True, 0).cpu().state_dict()
    checkpoints.save({name: value.half() for name, value in state.items()}, CHECKPOINT)
    print(f"{CHECKPOINT.name}: {CHECKPOINT.stat().st_size:,} bytes")


def everything() -> None:
    """Make the checkpoint and measure both tables in one process, which trains nothing twice."""
    make_checkpoint()
    measure_shift()
    measure_curve()


if __name__ == "__main__":
    run_recipe(
        __doc__,
        {
            "everything": everything,
            "shift": measure_shift,
            "curve": measure_curve,
            "checkpoint": make_checkpoint,
        },
    )
