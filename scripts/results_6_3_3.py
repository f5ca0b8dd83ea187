"""Measure the tables of section 6.3.3 and write them to book/results.

    OMP_NUM_THREADS=1 MAPPING_DATA=… python scripts/results_6_3_3.py folds
    OMP_NUM_THREADS=1 MAPPING_DATA=… python scripts/results_6_3_3.py labels
    OMP_NUM_THREADS=1 MAPPING_DATA=… python scripts/results_6_3_3.py cues
    OMP_NUM_THREADS=1 python scripts/results_6_3_3.py languages

The files are written after each row; a second call goes on where the first one stopped. On one core
of a CPU all four take about eight minutes.

folds: moods of the synthetic corpus in English (12 voices, 96 clips, four folds) and all seven
emotions of EmoDB (10 speakers, 198 clips at 8 kHz, five folds). Folds leave out whole speakers, or
clips at random. A seed draws the folds and the first weights.

labels: the four moods in EmoDB (119 clips), from the synthetic ones in both languages and some
labelled clips an emotion, drawn among the speakers that aren't tested on. Five folds of two
speakers.

cues: which hand-made features carry the moods from the synthetic corpus to EmoDB: trained on nine
voices that a seed draws, tested on the other three and on EmoDB; and trained on EmoDB, tested on
speakers left out.

languages: trained on nine voices that a seed draws, in one language, tested on the other three in
each.

The encoder of digits learned to tell the ten digits and eight commands apart, said in English by
the 20 voices that don't act moods. Nothing is chosen on any of these moods: rates and steps are
those that the notebook uses, set once by hand. The recogniser of section 6.3.1, which is taken as
it comes, has heard eight of the twelve acting voices say digits.
"""

from collections.abc import Callable, Iterator
from copy import deepcopy
from dataclasses import dataclass
from functools import cache
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np
import torch
from recipes import run_recipe
from scipy.signal import resample_poly
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import accuracy_score, confusion_matrix
from sklearn.model_selection import GroupKFold, StratifiedKFold
from torch import Tensor

from mapping_lib.lab import moods, results
from mapping_lib.lab.data import Clips, emodb
from mapping_lib.lab.data.synthetic import MOODS, synthetic_speech
from mapping_lib.lab.hearing import SpeechEncoder, speech_features
from mapping_lib.lab.machine import device, seeded
from mapping_lib.lab.recognising import speech_recogniser

FOLDER = Path(__file__).resolve().parents[1] / "book" / "results"
PACKAGES = ("torch", "scikit-learn", "numpy", "scipy")
PLACE = device("auto")
SEEDS, NETWORK_SEEDS = range(5), range(3)
STEPS, BATCH, RATE = 100, 16, 1e-3
SOURCE_STEPS, SOURCE_BATCH = 400, 64
LABELS = (0, 1, 5, 20)
SAME = {"calm": "neutral", "angry": "anger", "sad": "sadness", "happy": "happiness"}
FIXED = "nothing chosen: scikit-learn's default"
BY_HAND = "rate and steps set once by hand"


@dataclass(frozen=True)
class Corpus:
    """Clips at 8 kHz with their labels and speakers."""

    waves: tuple[Tensor, ...]
    labels: Tensor
    speakers: Tensor
    classes: tuple[str, ...]

    def __len__(self) -> int:
        return len(self.waves)


def corpus(clips: Clips) -> Corpus:
    """Bring clips to 8 kHz."""
    waves = clips.waves
    if clips.rate == 16000:
        halved = [resample_poly(wave.numpy(), 1, 2).clip(-1, 1) for wave in waves]
        waves = tuple(torch.from_numpy(wave.astype(np.float32)) for wave in halved)
    return Corpus(waves, clips.labels, clips.speakers, clips.classes)


@cache
def corpora(name: str) -> Corpus:
    """Return a corpus by name; "four" holds EmoDB's four moods, in the order of the synthetic."""
    if name in ("en", "de"):
        return corpus(synthetic_speech("prosody", language=name))
    if name == "both":
        first, second = corpora("en"), corpora("de")
        return Corpus(
            first.waves + second.waves,
            torch.cat([first.labels, second.labels]),
            torch.cat([first.speakers, second.speakers]),
            MOODS,
        )
    whole = corpus(emodb())
    if name == "emodb":
        return whole
    wanted = [whole.classes.index(SAME[mood]) for mood in MOODS]
    rows = [i for i, label in enumerate(whole.labels.tolist()) if label in wanted]
    labels = torch.tensor([wanted.index(int(whole.labels[i])) for i in rows])
    return Corpus(tuple(whole.waves[i] for i in rows), labels, whole.speakers[rows], MOODS)


@cache
def inputs(name: str, kind: str) -> list[Tensor]:
    """Return log-mel features of all clips of a corpus."""
    return [speech_features(wave, normalise=kind) for wave in corpora(name).waves]


@cache
def digits_encoder(kind: str, seed: int) -> SpeechEncoder:
    """Train an encoder to tell words apart, by the voices that don't act."""
    actors = set(synthetic_speech("prosody").voices)
    waves: list[Tensor] = []
    labels: list[int] = []
    for part, offset in (("digits", 0), ("commands", 10)):
        clips = synthetic_speech(part)
        for wave, label, who in zip(clips.waves, clips.labels, clips.speakers, strict=True):
            if clips.voices[who] not in actors:
                waves.append(wave)
                labels.append(offset + int(label))
    features = [speech_features(wave, normalise=kind) for wave in waves]
    with seeded(seed):
        model = moods.MoodNetwork(SpeechEncoder(), 18).to(PLACE)
    moods.learn(
        model,
        features,
        torch.tensor(labels),
        steps=SOURCE_STEPS,
        batch_size=SOURCE_BATCH,
        seed=seed,
    )
    return model.encoder


@cache
def recogniser() -> SpeechEncoder:
    """Return the encoder of the recogniser that comes with the package."""
    return speech_recogniser().encoder.to(PLACE).eval()


@cache
def random_encoder(seed: int) -> SpeechEncoder:
    """Return an encoder with its first weights."""
    with seeded(seed):
        return SpeechEncoder().to(PLACE).eval()


@cache
def features(kind: str, name: str, seed: int = 0) -> Tensor:
    """Return one vector a clip: hand-made, of the spectrum, or by a frozen encoder."""
    if kind == "hand-made":
        return torch.stack([moods.functionals(w, rate=8000) for w in corpora(name).waves])
    if kind == "spectrum":
        return torch.stack([moods.spectrum_statistics(w, rate=8000) for w in corpora(name).waves])
    if kind == "random encoder":
        return moods.pooled(random_encoder(seed), inputs(name, "none"))
    if kind == "random, bands centred":
        return moods.pooled(random_encoder(seed), inputs(name, "bands"))
    if kind == "recogniser of 6.3.1":
        return moods.pooled(recogniser(), inputs(name, "bands"))
    normalise = {"digits encoder": "bands", "digits + loudness": "none"}
    if kind in normalise:
        return moods.pooled(digits_encoder(normalise[kind], seed), inputs(name, normalise[kind]))
    if kind == "mood encoder":  # learned all synthetic moods, from the encoder of digits
        model = trained(
            "both", torch.arange(len(corpora("both"))), digits_encoder("none", seed), seed
        )
        return moods.pooled(model.encoder, inputs(name, "none"))
    raise KeyError(kind)


def trained(name: str, rows: Tensor, encoder: SpeechEncoder | None, seed: int) -> moods.MoodNetwork:
    """Train a network on some clips of a corpus, from an encoder's weights or from scratch."""
    whole = corpora(name)
    with seeded(seed):
        model = moods.MoodNetwork(
            deepcopy(encoder) if encoder else SpeechEncoder(), len(whole.classes)
        )
    clips = [inputs(name, "none")[i] for i in rows.tolist()]
    kind: dict[str, Any] = {"steps": STEPS, "batch_size": BATCH, "rate": RATE, "seed": seed}
    return moods.learn(model.to(PLACE), clips, whole.labels[rows], **kind)


# folds: speakers left out, or clips drawn at random

Guess = Callable[[str, Tensor, Tensor, int], Tensor]  # corpus, train, test, seed -> predictions


def solved(kind: str, *, normalised: bool = False) -> Guess:
    """Return a logistic regression on features of a kind, each speaker standardised or not."""

    def guess(name: str, train: Tensor, test: Tensor, seed: int) -> Tensor:
        found = features(kind, name, seed)
        if normalised:
            found = moods.by_voice(found, corpora(name).speakers)
        solver = moods.logistic().fit(found[train], corpora(name).labels[train])
        return torch.from_numpy(solver.predict(found[test]))

    return guess


def network(name: str, train: Tensor, test: Tensor, seed: int, *, scratch: bool) -> Tensor:
    """Train a network on a fold, and return what it predicts."""
    model = trained(name, train, None if scratch else digits_encoder("none", seed), seed)
    return moods.look(model, [inputs(name, "none")[i] for i in test.tolist()]).argmax(1)


def from_scratch(name: str, train: Tensor, test: Tensor, seed: int) -> Tensor:
    """Train all weights, from those that a seed draws."""
    return network(name, train, test, seed, scratch=True)


def fine_tuned(name: str, train: Tensor, test: Tensor, seed: int) -> Tensor:
    """Train all weights, from those of the encoder of words."""
    return network(name, train, test, seed, scratch=False)


KINDS = {
    "hand-made": "Eight numbers: pitch, loudness, rate, timbre",
    "spectrum": "Mean and deviation over time of 40 log-mel features",
    "random encoder": "Pooled vectors of an encoder with its first weights",
    "random, bands centred": "As the random encoder; each band's mean taken out",
    "recogniser of 6.3.1": "Pooled vectors of the encoder of digit strings that comes along",
    "digits encoder": "Pooled vectors of an encoder of words; each band's mean taken out",
    "digits + loudness": "Pooled vectors of an encoder of words",
    "mood encoder": "Pooled vectors of an encoder of words, then of synthetic moods",
}
FOLDS: dict[str, tuple[Guess, str, str]] = {
    **{
        f"{kind}{suffix}": (
            solved(kind, normalised=bool(suffix)),
            f"{what}{', each speaker standardised' if suffix else ''}; logistic regression.",
            FIXED,
        )
        for kind, what in KINDS.items()
        if kind != "mood encoder"
        for suffix in ("", ", by voice")
    },
    "encoder from scratch": (from_scratch, f"All weights learn, {STEPS} steps.", BY_HAND),
    "digits + loudness, fine-tuned": (
        fine_tuned,
        f"All weights learn from those of the words, {STEPS} steps.",
        BY_HAND,
    ),
}
NETWORKS = ("encoder from scratch", "digits + loudness, fine-tuned")
NAMES = {"synthetic": "en", "EmoDB": "emodb"}


def folds_of(name: str, kind: str, seed: int) -> Iterator[tuple[Tensor, Tensor]]:
    """Divide a corpus, by speakers or at random."""
    whole, count = corpora(name), 4 if name == "en" else 5
    splitter: Any = GroupKFold if kind == "speakers" else StratifiedKFold
    parts = splitter(count, shuffle=True, random_state=seed)
    groups = whole.speakers if kind == "speakers" else None
    for train, test in parts.split(whole.labels, whole.labels, groups):
        yield torch.from_numpy(train), torch.from_numpy(test)


def measure_folds() -> None:
    """Fill emotion_folds.json."""
    recorder = results.Recorder(
        FOLDER / "emotion_folds.json",
        problem="moods of the synthetic corpus and of EmoDB, speakers left out or clips at random",
        recipe="scripts/results_6_3_3.py folds",
        data=["synthetic-speech", "emodb"],
        weights=["speech-recogniser"],
        methods={name: results.Method(what, chosen) for name, (_, what, chosen) in FOLDS.items()},
        packages=PACKAGES,
        settings={"steps": STEPS, "batch": BATCH, "source steps": SOURCE_STEPS},
        device=str(PLACE),
    )

    def measured(key: dict[str, Any]) -> dict[str, float]:
        name = NAMES[key["corpus"]]
        whole = corpora(name)
        predicted = torch.empty_like(whole.labels)
        for train, test in folds_of(name, key["folds"], key["seed"]):
            predicted[test] = FOLDS[key["method"]][0](name, train, test, key["seed"])
        table = confusion_matrix(whole.labels, predicted)
        if key["folds"] == "speakers":
            counts = [
                {
                    **{column: key[column] for column in ("method", "corpus", "seed")},
                    **{"emotion": emotion, "counts": row.tolist()},
                }
                for emotion, row in zip(whole.classes, table, strict=True)
            ]
            recorder.extend("confusions", counts)
        low, high = moods.recall_interval(whole.labels, predicted, whole.speakers)
        return rounded(
            recall=moods.uar(whole.labels, predicted),
            accuracy=accuracy_score(whole.labels, predicted),
            low=low,
            high=high,
        )

    keys = [
        {"method": method, "corpus": name, "folds": kind, "seed": seed}
        for method, name, kind in product(FOLDS, NAMES, ("speakers", "random"))
        for seed in (SEEDS if method.startswith(("hand-made", "spectrum")) else NETWORK_SEEDS)
        if kind == "speakers" or method != NETWORKS[1]
    ]
    recorder.measure(keys, measured)


# labels: from the synthetic moods to EmoDB's, with few labels


def weighed(source: Tensor, target: Tensor, mine: Tensor, theirs: Tensor) -> LogisticRegression:
    """Solve for source and target rows together; both weigh the same, as a hundred rows do."""
    rows, labels = torch.cat([source, target]), torch.cat([mine, theirs])
    counts = [len(part) for part in (source, target) for _ in part]
    weights = [(100 if len(target) and len(source) else 200) / count for count in counts]
    return LogisticRegression(max_iter=2000).fit(rows, labels, sample_weight=weights)


TRANSFER: dict[str, tuple[str, bool, bool]] = {  # features, uses the source, uses the target
    "target only, hand-made": ("hand-made", False, True),
    "target only, spectrum": ("spectrum", False, True),
    "target only, digits encoder": ("digits + loudness", False, True),
    "target only, mood encoder": ("mood encoder", False, True),
    "source too, hand-made": ("hand-made", True, True),
    "source too, hand-made without loudness": ("hand-made", True, True),
    "source too, spectrum": ("spectrum", True, True),
    "source too, digits encoder": ("digits + loudness", True, True),
    "source too, mood encoder": ("mood encoder", True, True),
}


def measure_labels() -> None:
    """Fill emotion_labels.json."""
    recorder = results.Recorder(
        FOLDER / "emotion_labels.json",
        problem="EmoDB's four moods from synthetic ones and few labels an emotion",
        recipe="scripts/results_6_3_3.py labels",
        data=["synthetic-speech", "emodb"],
        methods={
            name: results.Method(
                f"{KINDS[kind]}, each speaker standardised; logistic regression on "
                f"{'synthetic moods and ' if source else ''}labelled clips.",
                FIXED,
            )
            for name, (kind, source, _) in TRANSFER.items()
        },
        packages=PACKAGES,
        settings={"steps": STEPS, "batch": BATCH, "source steps": SOURCE_STEPS},
        device=str(PLACE),
    )

    def measured(key: dict[str, Any]) -> dict[str, float]:
        kind, use_source, _ = TRANSFER[key["method"]]
        source, target = corpora("both"), corpora("four")
        draw = torch.Generator().manual_seed(key["seed"])
        given = moods.by_voice(features(kind, "both", key["seed"] % 3), source.speakers)
        asked = moods.by_voice(features(kind, "four", key["seed"] % 3), target.speakers)
        if "without loudness" in key["method"]:
            kept = [i for i, n in enumerate(moods.FUNCTIONALS) if n not in moods.GROUPS["loudness"]]
            given, asked = given[:, kept], asked[:, kept]
        given, known = (given, source.labels) if use_source else (given[:0], source.labels[:0])
        predicted = torch.empty_like(target.labels)
        for train, test in folds_of("four", "speakers", key["seed"]):
            order = train[torch.randperm(len(train), generator=draw)]
            rows = [order[target.labels[order] == k][: key["labels_per_class"]] for k in range(4)]
            few = torch.cat(rows)
            solver = weighed(given, asked[few], known, target.labels[few])
            predicted[test] = torch.from_numpy(solver.predict(asked[test]))
        low, high = moods.recall_interval(target.labels, predicted, target.speakers)
        return rounded(recall=moods.uar(target.labels, predicted), low=low, high=high)

    keys = [
        {"method": method, "labels_per_class": labels, "seed": seed}
        for method, labels, seed in product(TRANSFER, LABELS, SEEDS)
        if labels or TRANSFER[method][1]
    ]
    recorder.measure(keys, measured)


# cues: which of the hand-made features carry over

CUES: dict[str, tuple[str, ...]] = {
    **{f"{name} alone": names for name, names in moods.GROUPS.items()},
    "all": moods.FUNCTIONALS,
    "pitch and rate": moods.GROUPS["pitch"] + moods.GROUPS["rate"],
    **{
        f"all but {name}": tuple(n for n in moods.FUNCTIONALS if n not in names)
        for name, names in moods.GROUPS.items()
    },
}
WAYS = ("synthetic → synthetic", "synthetic → EmoDB", "EmoDB → EmoDB")


def measure_cues() -> None:
    """Fill emotion_cues.json."""
    recorder = results.Recorder(
        FOLDER / "emotion_cues.json",
        problem="which hand-made features carry four moods from synthetic voices to EmoDB",
        recipe="scripts/results_6_3_3.py cues",
        data=["synthetic-speech", "emodb"],
        methods={
            name: results.Method(f"Logistic regression on {', '.join(names)}, by voice.", FIXED)
            for name, names in CUES.items()
        },
        packages=PACKAGES,
        device="cpu",
    )
    place = {"synthetic": "en", "EmoDB": "four"}
    held = {
        name: moods.by_voice(features("hand-made", key), corpora(key).speakers)
        for name, key in place.items()
    }
    profile = [
        {
            "corpus": name,
            "mood": mood,
            "feature": feature,
            "mean": round(float(held[name][corpora(place[name]).labels == k, i].mean()), 3),
        }
        for name in held
        for k, mood in enumerate(MOODS)
        for i, feature in enumerate(moods.FUNCTIONALS)
    ]

    peaks = [
        {"corpus": name, "mood": mood, "median": round(float(np.median(loudest)), 3)}
        for name, whole, named in (
            ("synthetic", synthetic_speech("prosody"), MOODS),
            ("EmoDB", emodb(), tuple(SAME.values())),
        )
        for mood, here in zip(MOODS, named, strict=True)
        for loudest in [
            [
                float(wave.abs().max())
                for wave, label in zip(whole.waves, whole.labels, strict=True)
                if whole.classes[label] == here
            ]
        ]
    ]

    def measured(key: dict[str, Any]) -> dict[str, float]:
        recorder.extend("profile", profile)
        recorder.extend("peaks", peaks)
        start, end = key["way"].split(" → ")
        source, target = corpora(place[start]), corpora(place[end])
        columns = [moods.FUNCTIONALS.index(name) for name in CUES[key["method"]]]
        predicted = torch.full_like(target.labels, -1)
        if start == end == "EmoDB":
            pairs = list(folds_of("four", "speakers", key["seed"]))
        else:
            known = drawn_voices(source, key["seed"])
            test = ~known if start == end else torch.ones(len(target), dtype=torch.bool)
            pairs = [(known.nonzero().flatten(), test.nonzero().flatten())]
        for train, test in pairs:
            solver = LogisticRegression(max_iter=2000)
            solver.fit(held[start][train][:, columns], source.labels[train])
            predicted[test] = torch.from_numpy(solver.predict(held[end][test][:, columns]))
        tested = predicted >= 0
        return rounded(recall=moods.uar(target.labels[tested], predicted[tested]))

    keys = [
        {"method": method, "way": way, "seed": seed}
        for method, way, seed in product(CUES, WAYS, SEEDS)
    ]
    recorder.measure(keys, measured)


def drawn_voices(whole: Corpus, seed: int) -> Tensor:
    """Tell which clips are by the nine voices that a seed draws."""
    voices = torch.randperm(12, generator=torch.Generator().manual_seed(seed))[:9]
    return torch.isin(whole.speakers, voices)


# languages: from English to German and back

LANGUAGE_METHODS = ("hand-made", "spectrum", "digits + loudness")


def measure_languages() -> None:
    """Fill emotion_languages.json."""
    recorder = results.Recorder(
        FOLDER / "emotion_languages.json",
        problem="synthetic moods from one language to another, unseen voices",
        recipe="scripts/results_6_3_3.py languages",
        data=["synthetic-speech"],
        methods={
            name: results.Method(f"{KINDS[name]}, by voice; logistic regression.", FIXED)
            for name in LANGUAGE_METHODS
        },
        packages=PACKAGES,
        settings={"source steps": SOURCE_STEPS},
        device=str(PLACE),
    )

    def measured(key: dict[str, Any]) -> dict[str, float]:
        start, end = key["way"].split(" → ")
        source, target = corpora(start), corpora(end)
        given, asked = (
            moods.by_voice(features(key["method"], name, key["seed"] % 3), corpora(name).speakers)
            for name in (start, end)
        )
        known, tested = drawn_voices(source, key["seed"]), ~drawn_voices(target, key["seed"])
        solver = moods.logistic().fit(given[known], source.labels[known])
        predicted = torch.from_numpy(solver.predict(asked[tested]))
        return rounded(recall=moods.uar(target.labels[tested], predicted))

    ways = [f"{start} → {end}" for start, end in product(("en", "de"), repeat=2)]
    recorder.measure(
        [
            {"method": method, "way": way, "seed": seed}
            for method, way, seed in product(LANGUAGE_METHODS, ways, SEEDS)
        ],
        measured,
    )


def rounded(**values: float) -> dict[str, float]:
    """Round to what is worth storing."""
    return {name: round(float(value), 4) for name, value in values.items()}


if __name__ == "__main__":
    run_recipe(
        __doc__,
        {
            "folds": measure_folds,
            "labels": measure_labels,
            "cues": measure_cues,
            "languages": measure_languages,
        },
    )
