"""Measure the tables of section 6.2.3 and write them to book/results.

    OMP_NUM_THREADS=1 python scripts/results_6_2_3.py names-french-0
    OMP_NUM_THREADS=1 MAPPING_DATA=… python scripts/results_6_2_3.py captions-french-0
    OMP_NUM_THREADS=1 python scripts/results_6_2_3.py parent

The number is the seed, 0 to 2; `--help` lists all. They run on a GPU where there is one, several at
a time if wanted: all write to the same files. `names` and `captions` measure everything in turn.
`parent` trains the translator of names that the notebook loads, on a CPU.

names: translation_names and translation_students. From English to Spanish with few pairs of CLDR's
names, character by character. A parent has learned English to French, or something else, from all
names that aren't held out. A seed draws the child's pairs, new weights and the order; the parents',
too. Rates are chosen on German, so that no Spanish test name chooses anything.

captions: translation_captions and translation_distilled. Multi30k from English to German; the
parent has learned English to French. Word pieces are learned on the training sentences of all three
languages: German text counts as known, its translations don't. Test: the 1,000 captions of 2016,
most probable piece each time. Steps and rates were set in advance.

The environment variable SHARE, such as 0.01, cuts all steps for a trial.
"""

import os
import time
from collections.abc import Callable
from functools import cache, partial
from pathlib import Path
from typing import Any

from recipes import run_recipe

from mapping_lib.lab import checkpoints, results
from mapping_lib.lab.data import Translations
from mapping_lib.lab.parallel import copies, letters_of, short_names, shuffled, some
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

FEW, PARENT_STEPS, CHILD_STEPS, LONGER = (20, 50, 100, 300), 4000, 200, 1000
RATES = {"from": (1e-4, 3e-4, 1e-3), "scratch": (1e-3, 3e-3)}
ON_GERMAN = (
    "steps set in advance; the rate is the best of {} in the same task for German, with 50 pairs, "
    "on German test names"
)
PARENTS = {
    "French": "English to French.",
    "Chinese": "English to Chinese.",
    "shuffled French": "English to French, each name with another's translation.",
    "English": "English to English: it learns to copy.",
}


def trained_as(what: str, kind: str) -> results.Method:
    """Describe a method whose rate is chosen on German."""
    return results.Method(what, ON_GERMAN.format(", ".join(f"{rate:g}" for rate in RATES[kind])))


NAMES = {
    "copied": results.Method("The English name as it is.", NOTHING),
    "copied, small letters": results.Method("The English name in small letters.", NOTHING),
    "parent as it is": results.Method("What the parent for French says.", NOTHING),
    "from scratch": trained_as(f"{CHILD_STEPS} steps on the pairs.", "scratch"),
    "from scratch, longer": trained_as(f"{LONGER} steps on the pairs.", "scratch"),
    **{
        f"from {name}": trained_as(
            f"Parent: {what} Then {CHILD_STEPS} steps on the pairs; one vocabulary for all.", "from"
        )
        for name, what in PARENTS.items()
    },
    "from French, own vocabulary": trained_as(
        "As from French, with a vocabulary of the child's own pairs; the parent's rows for "
        "characters that it knows.",
        "from",
    ),
    "from French, random rows": trained_as(
        "The same, but each character is given a row of the parent drawn at random.", "from"
    ),
}
STUDENTS = {
    "teacher": trained_as("The child from French with 50 pairs.", "from"),
    "student, the pairs": results.Method(
        f"Half as wide, from scratch: {LONGER} steps on the same 50 pairs.", CHOSEN
    ),
    "student, answers to the same": results.Method(
        "The same on what the teacher says of the same 50 names.", CHOSEN
    ),
    "student, answers to all": results.Method(
        "The same on what the teacher says of all English training names.", CHOSEN
    ),
}


@cache
def alphabet(*more: str) -> Vocabulary:
    """Return the characters that are seen in training, and those of further languages."""
    return characters(*letters_of("fr", "es", "de", *more))


def trained(
    translator: Translator, known: Vocabulary, pairs: Translations, plan: Course, seed: int
) -> Translator:
    """Teach a translator pairs."""
    return teach(translator, known, pairs.sources, pairs.targets, plan, seed=seed, device=DEVICE)


@cache
def name_parent(name: str, seed: int) -> tuple[Translator, Vocabulary]:
    """Train a parent on all names that aren't held out."""
    french, chinese = (short_names(language)[0] for language in ("fr", "zh"))
    pairs = {
        "French": french,
        "Chinese": chinese,
        "shuffled French": shuffled(french, seed=seed),
        "English": copies(french),
    }[name]
    known = alphabet("zh") if name == "Chinese" else alphabet()
    start = Translator(len(known), fused=True, seed=seed)
    return trained(start, known, pairs, course(PARENT_STEPS), seed), known


def name_child(
    method: str, language: str, count: int, seed: int, rate: float
) -> tuple[Translator, Vocabulary]:
    """Train a child on a few pairs."""
    pairs, vocabulary = some(short_names(language)[0], count, seed=seed), alphabet()
    steps = LONGER if method.endswith("longer") else CHILD_STEPS
    if method.startswith("from scratch"):
        child = Translator(len(vocabulary), fused=True, seed=seed)
    else:
        name, _, how = method.removeprefix("from ").partition(", ")
        if how:
            english = short_names("es")[1].sources
            vocabulary = characters(pairs.sources, pairs.targets, english)
        rows: Rows = "random" if how == "random rows" else "equal"
        child = carried(*name_parent(name, seed), vocabulary, rows=rows, seed=seed)
    plan = course(steps, batch=32, rate=rate)
    return trained(child, vocabulary, pairs, plan, seed), vocabulary


@cache
def best_rate(method: str, seed: int) -> float:
    """Choose a rate by chrF of German names, when 50 German pairs are to learn from."""
    test = short_names("de")[1]

    def score(rate: float) -> float:
        found = translate(*name_child(method, "de", 50, seed, rate), test.sources, longest=30)
        return scored(found, test.targets)["chrf"]

    return max(RATES["scratch" if method.startswith("from scratch") else "from"], key=score)


@cache
def spanish(method: str, count: int, seed: int) -> tuple[Translator, Vocabulary]:
    """Train a child for Spanish."""
    return name_child(method, "es", count, seed, best_rate(method, seed))


def name_recorder(name: str, problem: str, methods: dict[str, results.Method]) -> results.Recorder:
    """Open a results file of names."""
    return results.Recorder(
        FOLDER / f"{name}.json",
        problem=problem,
        recipe="scripts/results_6_2_3.py names",
        methods=methods,
        packages=("torch", "babel", "sacrebleu"),
        data=("cldr-names",),
        settings={"share of the steps": SHARE, "test names": len(short_names("es")[1])},
        device=DEVICE,
    )


def names_table(methods: tuple[str, ...] = tuple(NAMES), *seeds: int) -> None:
    """Fill translation_names, or the rows of some methods."""
    recorder = name_recorder(
        "translation_names", "names from English to Spanish, by the number of pairs", NAMES
    )
    test = short_names("es")[1]

    def row(key: dict[str, Any]) -> dict[str, float]:
        method, count, seed = key["method"], key["pairs"], key["seed"]
        if method.startswith("copied"):
            small = method.endswith("letters")
            return rounded([n.lower() if small else n for n in test.sources], test.targets)
        if method == "parent as it is":
            translator, known = name_parent("French", seed)
        else:
            translator, known = spanish(method, count, seed)
        return rounded(translate(translator, known, test.sources, longest=30), test.targets)

    recorder.measure(
        [
            {"method": method, "pairs": count, "seed": seed}
            for seed in seeds or SEEDS
            for method in methods
            for count in FEW
        ],
        row,
    )


def students_table(*seeds: int) -> None:
    """Fill translation_students."""
    recorder = name_recorder(
        "translation_students", "names from English to Spanish, a small student", STUDENTS
    )
    train, test = short_names("es")

    def row(key: dict[str, Any]) -> dict[str, float]:
        method, seed = key["method"], key["seed"]
        translator, known = spanish("from French", 50, seed)
        if method != "teacher":
            pairs = some(train, 50, seed=seed)
            if "answers" in method:
                english = train.sources if method.endswith("all") else pairs.sources
                pairs = answered(translator, known, tuple(dict.fromkeys(english)))
            student = Translator(len(known), width=32, fused=True, seed=seed)
            translator = trained(student, known, pairs, course(LONGER, batch=32), seed)
        found = translate(translator, known, test.sources, longest=30)
        count = sum(weights.numel() for weights in translator.parameters())
        return rounded(found, test.targets) | {"parameters": count}

    recorder.measure(
        [{"method": method, "seed": seed} for seed in seeds or SEEDS for method in STUDENTS], row
    )


def answered(teacher: Translator, vocabulary: Vocabulary, english: tuple[str, ...]) -> Translations:
    """Pair English texts with what a teacher makes of them."""
    says = translate(teacher, vocabulary, english, batch=512)
    kept = [pair for pair in zip(english, says, strict=True) if pair[1]]
    sources, targets = (tuple(pair[k] for pair in kept) for k in (0, 1))
    return Translations(sources, targets, ("en", "other"), entry="answers", split="train")


def ship_parent() -> None:
    """Train the parent of the notebook on a CPU, with the book's own attention."""
    french = short_names("fr")[0]
    parent = Translator(len(alphabet()), seed=0)
    teach(parent, alphabet(), french.sources, french.targets, course(PARENT_STEPS), progress=True)
    checkpoints.save(parent.state_dict(), FOLDER / "checkpoints" / "names_en_fr.pt")


# --- captions ---

COUNTS, LITTLE, ALL = (500, 2000, 5000, 29_000), (500, 2000, 5000), 29_000
PIECES, SIZE = 6000, {"width": 192, "heads": 4, "layers": 3, "dropout": 0.2, "fused": True}
STUDENT = SIZE | {"width": 64, "layers": 2}
CAPTION_STEPS = {500: 800, 2000: 800, 5000: 800, ALL: 1500}
STUDENT_STEPS = 1500
BEFORE = CAPTION_STEPS[ALL]
CAPTIONS = {
    "from scratch": results.Method(
        "800 steps of 128 pairs at rate 1e-3; with all pairs 1,500 of 256.", CHOSEN
    ),
    "from scratch, longer": results.Method(
        "As many steps as parent and child have together: 2,300.", CHOSEN
    ),
    "from French": results.Method(
        "Parent: English to French, all pairs, 1,500 steps of 256; then as from scratch.", CHOSEN
    ),
    "from shuffled French": results.Method(
        "The same, but in the parent's pairs each caption has another's translation.", CHOSEN
    ),
    "from French, own vocabulary": results.Method(
        "As from French, with word pieces of the child's own pairs only; the parent's rows for "
        "pieces that it knows.",
        CHOSEN,
    ),
}
DISTILLED = {
    "teacher": results.Method("The child from French with 5,000 pairs.", CHOSEN),
    "student, the pairs": results.Method(
        "A third as wide, two layers; 1,500 steps on the 5,000 true pairs.", CHOSEN
    ),
    "student, answers to the same": results.Method(
        "The same on the teacher's translations of the same 5,000 captions.", CHOSEN
    ),
    "student, answers to all": results.Method(
        "The same on the teacher's translations of all 29,000 English captions.", CHOSEN
    ),
}


@cache
def captions(language: str, split: str = "train") -> Translations:
    """Return captions, read once."""
    from mapping_lib.lab.data import multi30k

    return multi30k(language, split)


@cache
def pieces() -> Vocabulary:
    """Learn word pieces on the training sentences of all three languages."""
    german, french = captions("de"), captions("fr")
    return word_pieces(german.sources, german.targets, french.targets, size=PIECES)


@cache
def caption_parent(name: str, seed: int) -> Translator:
    """Train a parent on all captions."""
    pairs = captions("fr")
    if name.startswith("shuffled"):
        pairs = shuffled(pairs, seed=seed)
    start = Translator(len(pieces()), **SIZE, seed=seed)
    return trained(start, pieces(), pairs, course(BEFORE, batch=256, rate=1e-3), seed)


@cache
def caption_child(method: str, count: int, seed: int) -> tuple[Translator, Vocabulary]:
    """Train a child on some captions."""
    pairs, vocabulary = some(captions("de"), count, seed=seed), pieces()
    steps = CAPTION_STEPS[count] + (BEFORE if method.endswith("longer") else 0)
    plan = course(steps, batch=256 if count == ALL else 128, rate=1e-3)
    if method.startswith("from scratch"):
        child = Translator(len(vocabulary), **SIZE, seed=seed)
    else:
        name, _, how = method.removeprefix("from ").partition(", ")
        if how:
            vocabulary = word_pieces(pairs.sources, pairs.targets, size=PIECES)
        child = carried(caption_parent(name, seed), pieces(), vocabulary, seed=seed)
    return trained(child, vocabulary, pairs, plan, seed), vocabulary


def caption_scores(translator: Translator, vocabulary: Vocabulary) -> dict[str, float]:
    """Score a translator on the captions of 2016."""
    test = captions("de", "test")
    return rounded(translate(translator, vocabulary, test.sources, batch=512), test.targets)


def caption_recorder(name: str, problem: str, methods: dict[str, results.Method]) -> Any:
    """Open a results file of captions."""
    return results.Recorder(
        FOLDER / f"{name}.json",
        problem=problem,
        recipe="scripts/results_6_2_3.py captions",
        methods=methods,
        packages=("torch", "tokenizers", "sacrebleu"),
        data=("multi30k",),
        settings={"share of the steps": SHARE, "pieces": PIECES, "test captions": 1000},
        device=DEVICE,
    )


def captions_table(methods: tuple[str, ...] = tuple(CAPTIONS), *seeds: int) -> None:
    """Fill translation_captions, or the rows of some methods."""
    recorder = caption_recorder(
        "translation_captions", "captions from English to German, by the number of pairs", CAPTIONS
    )
    recorder.measure(
        [
            {"method": method, "pairs": count, "seed": seed}
            for seed in seeds or SEEDS
            for method in methods
            for count in (COUNTS if method in ("from scratch", "from French") else LITTLE)
        ],
        lambda key: caption_scores(*caption_child(key["method"], key["pairs"], key["seed"])),
    )


def distilled_table(*seeds: int) -> None:
    """Fill translation_distilled."""
    recorder = caption_recorder(
        "translation_distilled",
        "captions from English to German, a small student",
        DISTILLED,
    )

    def row(key: dict[str, Any]) -> dict[str, float]:
        seed = key["seed"]
        teacher, vocabulary = caption_child("from French", 5000, seed)
        if key["method"] == "teacher":
            return caption_scores(teacher, vocabulary) | size_of(teacher)
        pairs = some(captions("de"), 5000, seed=seed)
        if "answers" in key["method"]:
            english = captions("de").sources if key["method"].endswith("all") else pairs.sources
            pairs = answered(teacher, vocabulary, english)
        student = Translator(len(vocabulary), **STUDENT, seed=seed)
        trained(student, vocabulary, pairs, course(STUDENT_STEPS, batch=128), seed)
        return caption_scores(student, vocabulary) | size_of(student)

    recorder.measure(
        [{"method": method, "seed": seed} for seed in seeds or SEEDS for method in DISTILLED], row
    )


def size_of(translator: Translator) -> dict[str, float]:
    """Count parameters, and time the translation of the test captions."""
    vocabulary, test = pieces(), captions("de", "test")
    translate(translator, vocabulary, test.sources[:8])
    start = time.perf_counter()
    translate(translator, vocabulary, test.sources, batch=512)
    wall = time.perf_counter() - start
    count = sum(weights.numel() for weights in translator.parameters())
    return {"parameters": count, "test_seconds": round(wall, 2)}


NAME_GROUPS = {
    "scratch": ("copied", "copied, small letters", "from scratch", "from scratch, longer"),
    "french": (
        "parent as it is",
        "from French",
        "from French, own vocabulary",
        "from French, random rows",
    ),
    "chinese": ("from Chinese",),
    "shuffled": ("from shuffled French",),
    "english": ("from English",),
}
CAPTION_GROUPS = {
    "scratch": ("from scratch",),
    "longer": ("from scratch, longer",),
    "french": ("from French",),
    "own": ("from French, own vocabulary",),
    "shuffled": ("from shuffled French",),
}

if __name__ == "__main__":
    tables: dict[str, Callable[[], object]] = {
        "names": lambda: [names_table(), students_table()],
        "captions": lambda: [captions_table(), distilled_table()],
        "parent": ship_parent,
    }
    for seed in SEEDS:
        tables[f"names-students-{seed}"] = partial(students_table, seed)
        tables[f"captions-distilled-{seed}"] = partial(distilled_table, seed)
        for group, methods in NAME_GROUPS.items():
            tables[f"names-{group}-{seed}"] = partial(names_table, methods, seed)
        for group, methods in CAPTION_GROUPS.items():
            tables[f"captions-{group}-{seed}"] = partial(captions_table, methods, seed)
    run_recipe(__doc__ or "", tables)
