"""Measure the tables of section 6.2.3 and write them to book/results.

    OMP_NUM_THREADS=1 python scripts/results_6_2_3.py parent
    OMP_NUM_THREADS=1 python scripts/results_6_2_3.py names
    OMP_NUM_THREADS=1 MAPPING_DATA=… python scripts/results_6_2_3.py captions

`parent` trains the translator of names that the notebook loads; `names` starts from its checkpoint.
`names-0`, `captions-0` and so on measure one seed; several may run at a time, since they lock the
files that they write to.

names: translation_names. From English to Spanish with few pairs of CLDR's names, character by
character. A parent has learned English to French, or something else, from all names that aren't
held out. A seed draws the child's pairs, new weights and the order; each parent is trained once.

captions: translation_captions. Multi30k from English to German; the parent has learned English to
French. Word pieces are learned on the training sentences of all three languages: German text counts
as known, its translations don't. Test: the captions of 2016, most probable piece each time.

The budget is that of one CPU thread shared with others: about four minutes of CPU time for names,
eight for captions, and a little more than one for the parent. The parents are far from trained to
the end, and so are the captions' children. On a GPU, `captions` takes a larger network, more steps,
all 29,000 pairs as well, all 1,000 test captions in place of 300, and a child from scratch that
works as long as parent and child: a quarter of an hour. Steps were set in advance; the children's
rate is the better one of 3e-4 and 1e-3 for German names with 50 pairs.

The environment variable SHARE, such as 0.01, cuts all steps for a trial.
"""

import os
from collections.abc import Callable
from functools import cache, partial
from pathlib import Path
from typing import Any

from recipes import run_recipe

from mapping_lib.lab import checkpoints, machine, results
from mapping_lib.lab.data import Translations, multi30k
from mapping_lib.lab.parallel import copies, french_parent, letters_of, short_names, shuffled, some
from mapping_lib.lab.translating import (
    Course,
    Rows,
    Translator,
    Vocabulary,
    carried,
    characters,
    scored,
    teach,
    translate,
    word_pieces,
)

FOLDER = Path(__file__).resolve().parents[1] / "book" / "results"
SEEDS, DEVICE = range(3), "auto"
SHARE = float(os.environ.get("SHARE", "1"))
CHOSEN = "set in advance, not tuned"
NOTHING = "nothing to choose"


def course(steps: int, **settings: Any) -> Course:
    """Make a course, shortened for a trial."""
    return Course(steps=max(2, round(SHARE * steps)), **settings)


def rounded(found: list[str], wanted: tuple[str, ...]) -> dict[str, float]:
    """Score translations, four decimals."""
    return {name: round(value, 4) for name, value in scored(found, wanted).items()}


# --- names ---

FEW, PARENT_STEPS, CONTROL_STEPS, CHILD_STEPS = (20, 50, 100), 2000, 1000, 100
RATE = 1e-3
TRIED = "steps set in advance; the better one of two rates for German names"
PARENTS = {
    "French": f"English to French, {PARENT_STEPS:,} steps of 64.",
    "shuffled French": "English to French, each name with another's translation, "
    f"{CONTROL_STEPS:,} steps of 64.",
    "English": f"English to English: it learns to copy; {CONTROL_STEPS:,} steps of 64.",
}
NAMES = {
    "copied": results.Method("The English name as it is.", NOTHING),
    "copied, small letters": results.Method("The English name in small letters.", NOTHING),
    "parent as it is": results.Method("What the parent for French says.", NOTHING),
    "from scratch": results.Method(f"{CHILD_STEPS} steps of 32 on the pairs.", TRIED),
    **{
        f"from {name}": results.Method(
            f"Parent: {what} Then {CHILD_STEPS} steps of 32 on the pairs; one vocabulary for all.",
            TRIED,
        )
        for name, what in PARENTS.items()
    },
    "from French, own vocabulary": results.Method(
        "As from French, with a vocabulary of the child's own pairs; the parent's rows for "
        "characters that it knows.",
        TRIED,
    ),
    "from French, random rows": results.Method(
        "The same, but each character is given a row of the parent drawn at random.", TRIED
    ),
}


@cache
def alphabet() -> Vocabulary:
    """Return the characters that are seen in training."""
    return characters(*letters_of("fr", "es"))


def trained(
    translator: Translator, known: Vocabulary, pairs: Translations, plan: Course, seed: int
) -> Translator:
    """Teach a translator pairs."""
    return teach(translator, known, pairs.sources, pairs.targets, plan, seed=seed, device=DEVICE)


@cache
def name_parent(name: str) -> Translator:
    """Load the parent for French, or train another on all names that aren't held out."""
    if name == "French":
        return french_parent()[0]
    french = short_names("fr")[0]
    pairs = copies(french) if name == "English" else shuffled(french, seed=0)
    start = Translator(len(alphabet()), dropout=0.2, fused=True)
    return trained(start, alphabet(), pairs, course(CONTROL_STEPS), 0)


def name_child(method: str, count: int, seed: int) -> tuple[Translator, Vocabulary]:
    """Train a child on a few pairs."""
    pairs, vocabulary = some(short_names("es")[0], count, seed=seed), alphabet()
    if method == "from scratch":
        child = Translator(len(vocabulary), dropout=0.2, seed=seed)
    else:
        name, _, how = method.removeprefix("from ").partition(", ")
        if how:
            english = short_names("es")[1].sources
            vocabulary = characters(pairs.sources, pairs.targets, english)
        rows: Rows = "random" if how == "random rows" else "equal"
        child = carried(name_parent(name), alphabet(), vocabulary, rows=rows, seed=seed)
    plan = course(CHILD_STEPS, batch=32, rate=RATE)
    return trained(child, vocabulary, pairs, plan, seed), vocabulary


def names_table(*seeds: int, methods: tuple[str, ...] = tuple(NAMES)) -> None:
    """Fill translation_names, or the rows of some methods."""
    test = short_names("es")[1]
    recorder = results.Recorder(
        FOLDER / "translation_names.json",
        problem="names from English to Spanish, by the number of pairs",
        recipe="scripts/results_6_2_3.py names",
        methods=NAMES,
        packages=("torch", "babel", "sacrebleu"),
        data=("cldr-names",),
        settings={"share of the steps": SHARE, "test names": len(test)},
        device=DEVICE,
    )

    def row(key: dict[str, Any]) -> dict[str, float]:
        method, count, seed = key["method"], key["pairs"], key["seed"]
        if method.startswith("copied"):
            small = method.endswith("letters")
            return rounded([n.lower() if small else n for n in test.sources], test.targets)
        if method == "parent as it is":
            translator, known = name_parent("French"), alphabet()
        else:
            translator, known = name_child(method, count, seed)
        return rounded(translate(translator, known, test.sources, longest=25), test.targets)

    recorder.measure(
        [
            {"method": method, "pairs": count, "seed": seed}
            for method in methods
            for seed in seeds or SEEDS
            for count in FEW
        ],
        row,
    )


def ship_parent() -> None:
    """Train the parent for French; the notebook and the table of names start from it."""
    french = short_names("fr")[0]
    parent = Translator(len(alphabet()), dropout=0.2, fused=True)
    teach(parent, alphabet(), french.sources, french.targets, course(PARENT_STEPS), progress=True)
    checkpoints.save(parent.state_dict(), FOLDER / "checkpoints" / "names_en_fr.pt")


# --- captions ---

if machine.device(DEVICE).type == "cpu":
    TEST, PIECES, CHILD_BATCH = 300, 2000, 32
    SIZE: dict[str, Any] = {"width": 64, "layers": 2, "dropout": 0.1, "fused": True}
    CAPTION_PARENT: dict[str, Any] = {"steps": 1000, "batch": 64, "rate": 2e-3}
    CAPTION_CHILD = {500: 300, 2000: 300, 5000: 300}  # steps by pairs
    LONG_AT: tuple[int, ...] = ()  # numbers of pairs with a child from scratch that works for both
else:
    TEST, PIECES, CHILD_BATCH = 1000, 4000, 64
    SIZE = {"width": 256, "layers": 3, "dropout": 0.2, "fused": True}
    CAPTION_PARENT = {"steps": 4000, "batch": 128, "rate": 1e-3}
    CAPTION_CHILD = {500: 500, 2000: 1000, 5000: 1500, 29000: 3000}
    LONG_AT = (500,)
LONG = "from scratch, long"
CAPTIONS = {
    "from scratch": results.Method(
        f"{', '.join(map(str, CAPTION_CHILD.values()))} steps of {CHILD_BATCH} pairs for "
        f"{', '.join(map(str, CAPTION_CHILD))} pairs, rate 1e-3.",
        CHOSEN,
    ),
    LONG: results.Method(
        "The same, but for as long as parent and child together, counted in pairs.", CHOSEN
    ),
    "from French": results.Method(
        f"Parent: English to French, all 29,000 pairs, {CAPTION_PARENT['steps']:,} steps of "
        f"{CAPTION_PARENT['batch']}, rate {CAPTION_PARENT['rate']:g}; then as from scratch.",
        CHOSEN,
    ),
}


@cache
def captions(language: str, split: str = "train") -> Translations:
    """Return captions, read once."""
    return multi30k(language, split)


@cache
def pieces() -> Vocabulary:
    """Learn word pieces on the training sentences of all three languages."""
    german, french = captions("de"), captions("fr")
    return word_pieces(german.sources, german.targets, french.targets, size=PIECES)


@cache
def caption_parent() -> Translator:
    """Train the parent on all captions."""
    start = Translator(len(pieces()), **SIZE)
    return trained(start, pieces(), captions("fr"), course(**CAPTION_PARENT), 0)


def captions_table(*seeds: int) -> None:
    """Fill translation_captions."""
    recorder = results.Recorder(
        FOLDER / "translation_captions.json",
        problem="captions from English to German, by the number of pairs",
        recipe="scripts/results_6_2_3.py captions",
        methods=CAPTIONS,
        packages=("torch", "tokenizers", "sacrebleu"),
        data=("multi30k",),
        settings={"share of the steps": SHARE, "pieces": PIECES, "test captions": TEST},
        device=DEVICE,
    )
    test = captions("de", "test")

    def row(key: dict[str, Any]) -> dict[str, float]:
        pairs = some(captions("de"), key["pairs"], seed=key["seed"])
        if key["method"] == "from French":
            child = carried(caption_parent(), pieces(), pieces())
        else:
            child = Translator(len(pieces()), **SIZE, seed=key["seed"])
        steps = CAPTION_CHILD[key["pairs"]]
        if key["method"] == LONG:
            steps += CAPTION_PARENT["steps"] * CAPTION_PARENT["batch"] // CHILD_BATCH
        plan = course(steps, batch=CHILD_BATCH, rate=1e-3)
        trained(child, pieces(), pairs, plan, key["seed"])
        found = translate(child, pieces(), test.sources[:TEST], longest=40)
        return rounded(found, test.targets[:TEST])

    recorder.measure(
        [
            {"method": method, "pairs": count, "seed": seed}
            for seed in seeds or SEEDS
            for method in CAPTIONS
            for count in CAPTION_CHILD
            if method != LONG or count in LONG_AT
        ],
        row,
    )


if __name__ == "__main__":
    tables: dict[str, Callable[[], object]] = {
        "parent": ship_parent,
        "names": names_table,
        "captions": captions_table,
    }
    for seed in SEEDS:
        tables[f"names-{seed}"] = partial(names_table, seed)
        tables[f"captions-{seed}"] = partial(captions_table, seed)
    run_recipe(__doc__ or "", tables)
