"""Measure the tables of section 6.3.2 and write them to book/results.

    OMP_NUM_THREADS=1 MAPPING_DATA=… python scripts/results_6_3_2.py steps
    OMP_NUM_THREADS=1 MAPPING_DATA=… python scripts/results_6_3_2.py transfer
    OMP_NUM_THREADS=1 MAPPING_DATA=… python scripts/results_6_3_2.py splits

The files are written after each row; a second call goes on where the first one stopped. All three
take six minutes on one core.

The source is the synthetic corpus: 18 voices to learn from, 4 to choose on, 10 to test on, each of
which says the digits twice and eight commands once. The target are the six speakers of Free Spoken
Digits: recordings 0 to 4 of each digit are the trials, and a quarter of 5 to 24 is what adapts to
them without labels, or trains where a method may know some of the speakers. Trials are all pairs of
clips, each once.

steps: how long to train. The rate is 0.001, which wasn't chosen. Each number of steps is a run of
its own. For each loss that number is taken for the other tables whose mean error is least on voices
to choose on. Four are too few for that, so a third of the training voices is held out, too, another
third for each of three seeds: twelve to learn from, ten to choose on. The other tables learn from
all eighteen. The columns of test voices and real speakers show what the choice costs; nothing is
chosen by them.

transfer: every method on the test voices and on the six real speakers; kinds of trials; microphones
(one for all, one a speaker, one a clip, 6 dB); what centring and normalised scores give, whose
cohort are other clips of the same speakers without their names (of the voices to choose on, on the
synthetic side). False accepts and rejects are those at a threshold at which they are equal on the
voices to choose on, for plain and for centred embeddings.

splits: three real speakers to learn from, the other three to test on, in all 20 ways; each is
trained once, with a seed of its own. Three speakers have 150 trial clips.
"""

from functools import cache
from itertools import combinations
from pathlib import Path

import torch
from recipes import run_recipe
from results_3_2 import drawn_by

from mapping_lib.lab.data import spoken_digits
from mapping_lib.lab.data.synthetic import synthetic_speech
from mapping_lib.lab.machine import seeded
from mapping_lib.lab.results import Method, Recorder, mean_and_sd, read
from mapping_lib.lab.results.files import Row
from mapping_lib.lab.speakers import (
    SpeakerEncoder,
    Trials,
    Voices,
    embed,
    interval_over_speakers,
    microphones,
    normalise_scores,
    statistics,
    train_speakers,
    trials_of,
    voices_of,
)
from mapping_lib.speech import detection_errors

FOLDER = Path(__file__).resolve().parents[1] / "book" / "results"
PACKAGES = ("torch", "scipy")
DATA = ["synthetic-speech", "spoken-digits"]
STEPS, RATE, DECIBELS = (25, 50, 100, 200), 0.001, 6.0
SEEDS, TUNING_SEEDS, SPLITS = range(5), range(100, 103), range(20)
SETTINGS = {"rate": RATE, "batch": "6 clips of 12 voices", "decibels": DECIBELS}

NOT_LEARNED = {
    "mean of log-mel": "loudness",
    "deviation of log-mel": "bands",
}
LEARNED = {
    "untrained encoder": ("loudness", None, 0.0),
    "classifier": ("loudness", "softmax", 0.0),
    "GE2E": ("loudness", "ge2e", 0.0),
    "GE2E, bands": ("bands", "ge2e", 0.0),
    "GE2E, many microphones": ("loudness", "ge2e", DECIBELS),
}
BY_STEPS = "steps by the table of steps: least error on synthetic voices held out"


@cache
def synthetic(split: str, normalise: str) -> Voices:
    """Return digits and commands of a split's voices."""
    parts = (synthetic_speech(part, split=split) for part in ("digits", "commands"))
    return voices_of(*parts, normalise=normalise)


@cache
def real(normalise: str, labelled: bool = False) -> Voices:
    """Return the trial clips of the six speakers, or a quarter of the others."""
    voices = voices_of(spoken_digits("train" if labelled else "test"), normalise=normalise)
    return voices.at(range(0, len(voices), 4)) if labelled else voices


# steps: how long to train


def measure_steps() -> None:
    """Fill book/results/speakers_steps.json."""
    losses = {"classifier": "softmax", "GE2E": "ge2e"}
    recorder = Recorder(
        FOLDER / "speakers_steps.json",
        problem="speakers: equal error rate over the steps of training",
        recipe="scripts/results_6_3_2.py steps",
        data=DATA,
        methods={
            "classifier": Method("Embedding before a linear head over 18 voices.", "what is asked"),
            "GE2E": Method("Embedding trained by the end-to-end loss.", "what is asked"),
        },
        packages=PACKAGES,
        settings=SETTINGS,
    )

    every = synthetic("train", "loudness")
    names = sorted(set(every.speakers))

    def measure(key: Row) -> dict[str, float]:
        held_out = names[key["seed"] % 3 :: 3]
        model = train_speakers(
            every.of([name for name in names if name not in held_out]),
            loss=losses[key["method"]],
            steps=key["steps"],
            rate=RATE,
            seed=key["seed"],
        )
        parts = {
            "eer_choice": synthetic("validation", "loudness") + every.of(held_out),
            "eer_synthetic": synthetic("test", "loudness"),
            "eer_real": real("loudness"),
        }
        return {
            name: round(trials_of(embed(model, voices), voices).error(), 4)
            for name, voices in parts.items()
        }

    recorder.measure(
        [
            {"method": method, "steps": steps, "seed": seed}
            for seed in TUNING_SEEDS
            for steps in STEPS
            for method in losses
        ],
        measure,
    )


@cache
def chosen(method: str) -> int:
    """Return the number of steps with the least error on the voices to choose on."""
    rows = read(FOLDER / "speakers_steps.json")["rows"]
    found = {
        steps: mean_and_sd(rows, "eer_choice", method=method, steps=steps)[0] for steps in STEPS
    }
    return min(found, key=lambda steps: (found[steps], steps))


# transfer: methods on synthetic and on real speakers


@cache
def trained(method: str, seed: int) -> SpeakerEncoder:
    """Train an encoder on the synthetic voices, or return it as it starts."""
    normalise, loss, decibels = LEARNED[method]
    if loss is None:
        with seeded(seed):
            return SpeakerEncoder().eval()
    return train_speakers(
        synthetic("train", normalise),
        loss=loss,
        steps=chosen("classifier" if loss == "softmax" else "GE2E"),
        rate=RATE,
        seed=seed,
        decibels=decibels,
    )


def described(method: str, seed: int, voices: Voices) -> torch.Tensor:
    """Return a vector a clip by a method."""
    if method in NOT_LEARNED:
        return statistics(voices, spread=method.startswith("deviation"))
    return embed(trained(method, seed), voices)


def normalisation(method: str) -> str:
    """Return how a method's features are normalised."""
    return NOT_LEARNED.get(method) or LEARNED[method][0]


def heard_by(voices: Voices, how: str, *, seed: int, normalise: str) -> Voices:
    """Let the clips go through microphones: one a speaker, or one a clip."""
    names = sorted(set(voices.speakers))
    count = len(names) if how == "own" else len(voices)
    which = (
        [names.index(who) for who in voices.speakers] if how == "own" else list(range(len(voices)))
    )
    curves = microphones(count, decibels=DECIBELS, generator=drawn_by(seed))
    if normalise == "bands":
        return voices  # each filter's mean over the clip is subtracted: nothing is left of them
    added = tuple(f + curves[k] for f, k in zip(voices.features, which, strict=True))
    return Voices(added, voices.speakers, voices.words)


def equal_threshold(trials: Trials) -> float:
    """Return the first threshold at which no more pairs are wrongly accepted than rejected."""
    thresholds, accepts, rejects = detection_errors(trials.scores, trials.same_voice)
    return float(thresholds[(accepts <= rejects).nonzero()[0]])


def all_values(method: str, seed: int, voices: Voices, cohort: Voices) -> dict[str, float]:
    """Measure everything that the table has of one method."""
    found = described(method, seed, voices)
    trials = trials_of(found, voices)
    others = described(method, seed, cohort)
    mean = others.mean(0)
    centred = trials_of(found - mean, voices)
    values = {
        "eer": trials.error(),
        **{f"eer_{kind}": trials.words(kind).error() for kind in ("same", "other", "crossed")},
        "eer_centred": centred.error(),
        "eer_scores_normalised": normalise_scores(trials, found, others).error(),
        "eer_centred_crossed": centred.words("crossed").error(),
    }
    choice = synthetic("validation", normalisation(method))
    known = described(method, seed, choice)
    for name, pairs, shift in (("", trials, 0 * mean), ("_centred", centred, known.mean(0))):
        accepted = pairs.scores >= equal_threshold(trials_of(known - shift, choice))
        values[f"false_accepts{name}"] = accepted[~pairs.same_voice].double().mean().item()
        values[f"false_rejects{name}"] = (~accepted)[pairs.same_voice].double().mean().item()
    for how in ("own", "each"):
        heard = heard_by(voices, how, seed=1000 + seed, normalise=normalisation(method))
        values[f"eer_{how}_microphone"] = trials_of(described(method, seed, heard), heard).error()
    values["low"], values["high"] = interval_over_speakers(trials, draws=100, seed=seed)
    return {name: round(value, 4) for name, value in values.items()}


def measure_transfer() -> None:
    """Fill book/results/speakers_transfer.json."""
    nothing = "nothing to choose"
    methods = {
        "mean of log-mel": Method("Each filter's mean over the clip; loudness taken out.", nothing),
        "deviation of log-mel": Method("Each filter's standard deviation over the clip.", nothing),
        "untrained encoder": Method("Random weights.", nothing),
        "classifier": Method("Trained to classify 18 synthetic voices; loudness.", BY_STEPS),
        "GE2E": Method("The end-to-end loss on 18 synthetic voices; loudness.", BY_STEPS),
        "GE2E, bands": Method("The same; each filter's mean is taken out.", BY_STEPS),
        "GE2E, many microphones": Method(
            "GE2E with a random microphone for each clip of a batch.", BY_STEPS
        ),
    }
    recorder = Recorder(
        FOLDER / "speakers_transfer.json",
        problem="speakers never heard in training: synthetic voices and real ones",
        recipe="scripts/results_6_3_2.py transfer",
        data=DATA,
        methods=methods,
        packages=PACKAGES,
        settings=SETTINGS | {"steps": {name: chosen(name) for name in ("classifier", "GE2E")}},
    )

    def measure(key: Row) -> dict[str, float]:
        method, seed = key["method"], key["seed"]
        how = normalisation(method)
        if key["voices"] == "synthetic":
            return all_values(method, seed, synthetic("test", how), synthetic("validation", how))
        return all_values(method, seed, real(how), real(how, labelled=True))

    recorder.measure(
        [
            {"method": method, "voices": voices, "seed": seed}
            for seed in SEEDS
            for method in methods
            for voices in ("synthetic", "real")
        ],
        measure,
    )


# splits: three real speakers to learn from, three to test on


def measure_splits() -> None:
    """Fill book/results/speakers_splits.json."""
    names = sorted(set(real("loudness").speakers))
    learners = list(combinations(names, 3))
    few = "20 clips each"
    methods = {
        "mean of log-mel": Method("No learning.", "nothing to choose"),
        "synthetic": Method("GE2E on 18 synthetic voices.", BY_STEPS),
        "3 real speakers": Method("GE2E on three real speakers, 50 clips each.", BY_STEPS),
        "synthetic and 3 real": Method("GE2E on all 21 together.", BY_STEPS),
        f"synthetic and 3 real, {few}": Method("GE2E on all 21, few real clips.", BY_STEPS),
    }
    recorder = Recorder(
        FOLDER / "speakers_splits.json",
        problem="three real speakers to learn from, three others to test on, 20 splits",
        recipe="scripts/results_6_3_2.py splits",
        data=DATA,
        methods=methods,
        packages=PACKAGES,
        settings=SETTINGS | {"steps": chosen("GE2E")},
    )

    def encoder(method: str, seed: int) -> SpeakerEncoder:
        if method == "synthetic":
            return trained("GE2E", seed % len(SEEDS))
        own = real("loudness", labelled=True).of(learners[seed])
        if few in method:  # 50 a speaker, five of each digit: keep two of them
            own = own.at([i for i in range(len(own)) if i % 5 < 2])
        if method != "3 real speakers":
            own = synthetic("train", "loudness") + own
        return train_speakers(own, steps=chosen("GE2E"), rate=RATE, seed=seed)

    def measure(key: Row) -> dict[str, float]:
        tested = [name for name in names if name not in learners[key["seed"]]]
        voices = real("loudness").of(tested)
        cohort = real("loudness", labelled=True).of(tested)
        if key["method"] == "mean of log-mel":
            found, others = statistics(voices), statistics(cohort)
        else:
            model = encoder(key["method"], key["seed"])
            found, others = embed(model, voices), embed(model, cohort)
        trials, centred = trials_of(found, voices), trials_of(found - others.mean(0), voices)
        values = {
            "eer": trials.error(),
            "eer_crossed": trials.words("crossed").error(),
            "eer_centred": centred.error(),
            "eer_centred_crossed": centred.words("crossed").error(),
        }
        return {name: round(value, 4) for name, value in values.items()}

    recorder.measure(
        [{"method": method, "seed": split} for split in SPLITS for method in methods], measure
    )


if __name__ == "__main__":
    run_recipe(
        __doc__,
        {"steps": measure_steps, "transfer": measure_transfer, "splits": measure_splits},
    )
