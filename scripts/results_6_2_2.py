"""Measure the tables of section 6.2.2 and write them to book/results.

    OMP_NUM_THREADS=1 MAPPING_DATA=… python scripts/results_6_2_2.py frozen
    OMP_NUM_THREADS=1 MAPPING_DATA=… python scripts/results_6_2_2.py tuned
    OMP_NUM_THREADS=1 python scripts/results_6_2_2.py made

The files are written after each row; a second call goes on where the first one stopped. A GPU is
used where there is one. The budget is that of one core of a CPU, about ten minutes for frozen and
two for made: a part of the source, and three seeds.

News (CoNLL-2003) is the source, posts (WNUT-17) are the target. Of the source's types PER and LOC
are kept, of the target's person and location, under these names; all other entities (ORG, MISC;
corporation, creative-work, group, product) are tagged O, in training and in tests. 3,000 of the
source's 14,041 training sentences are used, and 1,000 of its 3,453 test sentences, drawn once; of
the target all 1,287 test posts. A seed draws the first weights, the order of the sentences, and 10,
100 or 1,000 of the target's training posts, whether they have entities or not.

Each method learns on the source and then on the posts ("source"), or begins with a new head on the
posts alone ("target"), or goes on from the source on posts and as many of the source's sentences
("both": up to 300, or 1,000, of each; fewer posts are repeated). It is tested on the test sentences
of source and target. No number of steps and no rate was chosen by any score.

made: the made sentences of the book, 400 of news to learn from (a seed draws them), 300 to test of
each kind; frozen against fine-tuned MiniLM, 100 steps of 32.
"""

from collections.abc import Iterable
from copy import deepcopy
from dataclasses import replace
from functools import cache
from itertools import product
from pathlib import Path
from typing import Any

import torch
from recipes import run_recipe

from mapping_lib.lab import results
from mapping_lib.lab.data import TaggedSentences, conll2003, wnut17
from mapping_lib.lab.data.entities import DOMAINS, entities
from mapping_lib.lab.entities import bio_labels, count_kinds, entity_scores, findings
from mapping_lib.lab.language import Encoder, minilm
from mapping_lib.lab.machine import device
from mapping_lib.lab.tagging import Tagger, Words, train_tagger
from mapping_lib.parameters import freeze

FOLDER = Path(__file__).resolve().parents[1] / "book" / "results"
PLACE = device("auto")
SEEDS = range(3)
SIZES = {("news", "train"): 3000, ("news", "test"): 1000}  # others are used whole
STEPS = {10: 50, 100: 100, 1000: 200}  # by target posts
SETTINGS: dict[str, Any] = {
    "source": "3,000 sentences, 600 steps of 32",
    "target": "50, 100 and 200 steps of 32 for 10, 100 and 1,000 posts",
    "rate": 0.002,
    "fine-tuned": "200 steps of 16 on the source, half the target's steps, of 16",
    "encoder rate": 2e-4,
    "types": "PER, LOC",
}
TYPES = {"PER": "PER", "LOC": "LOC", "person": "PER", "location": "LOC"}
LABELS = bio_labels(("LOC", "PER"))
BY_HAND = "rates and steps set by hand, nothing compared"

SETUP: dict[str, dict[str, Any]] = {
    "letters only, field": {"width": 0, "characters": True, "window": 1},
    "frozen, softmax": {"crf": False},
    "frozen + letters, softmax": {"crf": False, "characters": True},
    "frozen, field": {},
    "frozen + letters, field": {"characters": True},
    "fine-tuned + letters, field": {"characters": True},
}
METHODS = {
    "letters only, field": "No encoder: letters of a word and of its two neighbours, and a "
    "conditional random field.",
    "frozen, softmax": "MiniLM's frozen vectors, each word by itself.",
    "frozen + letters, softmax": "MiniLM's frozen vectors and the word's letters, each word by "
    "itself.",
    "frozen, field": "MiniLM's frozen vectors and a conditional random field.",
    "frozen + letters, field": "MiniLM's frozen vectors, the word's letters, and a conditional "
    "random field.",
    "fine-tuned + letters, field": "The same, and all of MiniLM is trained.",
}
TUNED = "fine-tuned + letters, field"


@cache
def encoder() -> Encoder:
    """Return MiniLM, to be copied."""
    return minilm()


def two_types(data: TaggedSentences) -> TaggedSentences:
    """Keep people and places, under the source's names."""
    tags = tuple(
        tuple(f"{tag[:2]}{TYPES[tag[2:]]}" if tag[2:] in TYPES else "O" for tag in row)
        for row in data.tags
    )
    return replace(data, tags=tags, types=("LOC", "PER"))


@cache
def sentences(name: str, split: str) -> TaggedSentences:
    """Return the sentences of a set that are used."""
    data = two_types({"news": conll2003, "posts": wnut17}[name](split))
    count = SIZES.get((name, split), len(data))
    return data if count == len(data) else drawn(data, count, seed=0)


def drawn(data: TaggedSentences, count: int, seed: int) -> TaggedSentences:
    """Draw some of the sentences."""
    order = torch.randperm(len(data), generator=torch.Generator().manual_seed(seed))
    rows = order[:count].tolist()
    return replace(
        data,
        sentences=tuple(data.sentences[row] for row in rows),
        tags=tuple(data.tags[row] for row in rows),
    )


@cache
def words(name: str, split: str, frozen: bool) -> Words:
    """Return a set in a tagger's form, with MiniLM's vectors or without."""
    return Words(
        sentences(name, split), LABELS, encoder=encoder() if frozen else None, device=PLACE
    )


@cache
def few(count: int, seed: int, frozen: bool) -> Words:
    """Draw some of the target's training posts."""
    some = drawn(sentences("posts", "train"), count, seed)
    return Words(some, LABELS, encoder=encoder() if frozen else None, device=PLACE)


@cache
def mixed(count: int, seed: int) -> Words:
    """Draw some of the target's posts, repeated, and as many of the source's sentences."""
    posts = drawn(sentences("posts", "train"), count, seed)
    size = max(count, 300)
    news = drawn(sentences("news", "train"), size, seed)
    repeat = range(size // count + (size % count > 0))
    both = replace(
        news,
        sentences=news.sentences + sum((posts.sentences for _ in repeat), ())[:size],
        tags=news.tags + sum((posts.tags for _ in repeat), ())[:size],
    )
    return Words(both, LABELS, encoder=encoder(), device=PLACE)


def new_tagger(method: str, seed: int) -> Tagger:
    """Return an untrained tagger."""
    network = None
    if method == TUNED:
        network = deepcopy(encoder().network)
        freeze(network, "pooler")  # words don't pass through it
    return Tagger(LABELS, encoder=network, seed=seed, **SETUP[method]).to(PLACE)


def trained(tagger: Tagger, on: Words, method: str, steps: int, seed: int) -> Tagger:
    """Train a tagger."""
    return train_tagger(
        tagger,
        on,
        steps=steps,
        rate=SETTINGS["rate"],
        encoder_rate=SETTINGS["encoder rate"],
        batch_size=16 if method == TUNED else 32,
        seed=seed,
        progress=False,
    )


@cache
def source_tagger(method: str, seed: int) -> Tagger:
    """Return a tagger that learned the source, to be copied."""
    train = words("news", "train", method.startswith("frozen"))
    return trained(new_tagger(method, seed), train, method, 200 if method == TUNED else 600, seed)


def measured(key: results.Row) -> dict[str, float]:
    """Train a tagger, and score it on both tests."""
    method, count, seed = key["method"], key["target_posts"], key["seed"]
    frozen = method.startswith("frozen")
    if key["start"] != "target":
        tagger = deepcopy(source_tagger(method, seed))
    else:
        tagger = new_tagger(method, seed)
    if count:
        steps = STEPS[count] // 2 if method == TUNED else STEPS[count]
        on = mixed(count, seed) if key["start"] == "both" else few(count, seed, frozen)
        trained(tagger, on, method, steps, seed)
    values: dict[str, float] = {}
    for name, mark in (("posts", ""), ("news", "news_")):
        test = words(name, "test", frozen)
        truth, found = test.data.tags, tagger.tag(test)
        values |= {f"{mark}{k}": round(v, 4) for k, v in entity_scores(truth, found).items()}
        kinds = count_kinds(findings(truth, found))
        values |= {f"{mark}{k.replace(' ', '_')}": n for k, n in kinds.items()}
    return values


def measure(methods: Iterable[str], cases: Iterable[tuple[str, int]]) -> None:
    """Fill book/results/entities_transfer.json with the rows of some methods."""
    recorder = results.Recorder(
        FOLDER / "entities_transfer.json",
        problem="people and places, from news (CoNLL-2003) to posts (WNUT-17), entity F1",
        recipe="scripts/results_6_2_2.py",
        data=["conll2003", "wnut17"],
        weights=["minilm"],
        methods={name: results.Method(what, BY_HAND) for name, what in METHODS.items()},
        packages=("torch", "transformers", "tokenizers", "seqeval", "numpy"),
        settings=SETTINGS,
        device=str(PLACE),
    )
    cases = list(cases)
    recorder.measure(
        [
            {"method": method, "start": start, "target_posts": count, "seed": seed}
            for seed, method, (start, count) in product(SEEDS, methods, cases)
        ],
        measured,
    )


def measure_frozen() -> None:
    """Measure all methods but the fine-tuned one."""
    cases = [("source", 0), *product(("source", "target"), STEPS)]
    measure([method for method in METHODS if method != TUNED], cases)
    measure(["frozen + letters, field"], product(("both",), STEPS))


def measure_tuned() -> None:
    """Measure the fine-tuned encoder, on news alone: a minute a seed."""
    measure([TUNED], [("source", 0)])


@cache
def made_tagger(method: str, seed: int) -> Tagger:
    """Return a tagger that learned made news."""
    data = entities("news", "train", count=400, seed=seed)
    on = Words(data, LABELS, encoder=None if method == TUNED else encoder(), device=PLACE)
    return train_tagger(
        new_tagger(method, seed),
        on,
        steps=100,
        encoder_rate=SETTINGS["encoder rate"],
        seed=seed,
        progress=False,
    )


@cache
def made_test(domain: str, frozen: bool) -> Words:
    """Return made test sentences in a tagger's form."""
    data = entities(domain, "test", count=300)
    return Words(data, LABELS, encoder=encoder() if frozen else None, device=PLACE)


def measure_made() -> None:
    """Fill book/results/entities_made.json."""
    methods = ("frozen + letters, field", TUNED)
    recorder = results.Recorder(
        FOLDER / "entities_made.json",
        problem="people and places in made sentences, learned from news, entity F1",
        recipe="scripts/results_6_2_2.py made",
        data=["made-entities"],
        weights=["minilm"],
        methods={name: results.Method(METHODS[name], BY_HAND) for name in methods},
        packages=("torch", "transformers", "tokenizers", "seqeval", "numpy"),
        settings={"source": "400 sentences, 100 steps of 32", "encoder rate": 2e-4, "rate": 0.002},
        device=str(PLACE),
    )

    def measure(key: results.Row) -> dict[str, float]:
        test = made_test(key["domain"], key["method"] != TUNED)
        found = made_tagger(key["method"], key["seed"]).tag(test)
        return {k: round(v, 4) for k, v in entity_scores(test.data.tags, found).items()}

    recorder.measure(
        [
            {"method": method, "domain": domain, "seed": seed}
            for seed, method, domain in product(SEEDS, methods, DOMAINS)
        ],
        measure,
    )


if __name__ == "__main__":
    run_recipe(__doc__, {"frozen": measure_frozen, "tuned": measure_tuned, "made": measure_made})
