"""Measure the table of section 6.2.2 and write it to book/results.

    OMP_NUM_THREADS=1 MAPPING_DATA=… python scripts/results_6_2_2.py softmax-0
    OMP_NUM_THREADS=1 MAPPING_DATA=… python scripts/results_6_2_2.py field-0
    OMP_NUM_THREADS=1 MAPPING_DATA=… python scripts/results_6_2_2.py letters-0
    OMP_NUM_THREADS=1 MAPPING_DATA=… python scripts/results_6_2_2.py tuned-0
    OMP_NUM_THREADS=1 MAPPING_DATA=… python scripts/results_6_2_2.py low-rank-0

and the same with the seeds 1 to 4. All fill one file, which is written after each row, and may run
side by side; a second call goes on where the first one stopped. A GPU is used where there is one.

News (CoNLL-2003, 14,041 sentences) is the source, posts (WNUT-17) are the target. Of the source's
types PER and LOC are kept, of the target's person and location, under these names; all other
entities (ORG, MISC; corporation, creative-work, group, product) are tagged O, in training and in
tests. A seed draws the first weights, the order of the sentences, and 10, 100 or 1,000 of the
target's training sentences, whether they have entities or not.

Each method learns on the source, or begins with a new head on the target sentences alone; then it
is tested on the test sentences of both. No number of steps and no rate was chosen on any test or
target set.
"""

from collections.abc import Callable
from copy import deepcopy
from dataclasses import replace
from functools import cache, partial
from itertools import product
from pathlib import Path
from typing import Any

import torch
from recipes import run_recipe

from mapping_lib.lab import results
from mapping_lib.lab.data import TaggedSentences, conll2003, wnut17
from mapping_lib.lab.entities import bio_labels, count_kinds, entity_scores, findings
from mapping_lib.lab.language import Encoder, minilm
from mapping_lib.lab.machine import device
from mapping_lib.lab.tagging import Tagger, Words, train_tagger
from mapping_lib.parameters import add_lora, freeze

FOLDER = Path(__file__).resolve().parents[1] / "book" / "results"
PLACE = device("auto")
SEEDS = range(5)
STEPS = {10: 50, 100: 100, 1000: 200}  # by target sentences
SETTINGS: dict[str, Any] = {
    "steps on the source": 1000,
    "steps on the target": "50, 100 and 200 for 10, 100 and 1,000 sentences",
    "batch": 64,
    "rate": 0.002,
    "encoder rate": 1e-4,
    "rate of low-rank changes": 1e-3,
    "rank": 8,
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
    "LoRA + letters, field": {"characters": True},
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
    "LoRA + letters, field": "The same, and MiniLM changes by rank 8 in its queries and values.",
}
GROUPS = {
    "softmax": ("letters only, field", "frozen, softmax", "frozen + letters, softmax"),
    "field": ("frozen, field",),
    "letters": ("frozen + letters, field",),
    "tuned": ("fine-tuned + letters, field",),
    "low-rank": ("LoRA + letters, field",),
}


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
def words(name: str, split: str, frozen: bool) -> Words:
    """Return a set in a tagger's form, with MiniLM's vectors or without."""
    data = two_types({"news": conll2003, "posts": wnut17}[name](split))
    return Words(data, LABELS, encoder=encoder() if frozen else None, device=PLACE)


@cache
def few(count: int, seed: int, frozen: bool) -> Words:
    """Draw some of the target's training sentences."""
    data = two_types(wnut17("train"))
    drawn = torch.randperm(len(data), generator=torch.Generator().manual_seed(seed))
    rows = drawn[:count].tolist()
    some = replace(
        data,
        sentences=tuple(data.sentences[row] for row in rows),
        tags=tuple(data.tags[row] for row in rows),
    )
    return Words(some, LABELS, encoder=encoder() if frozen else None, device=PLACE)


def new_tagger(method: str, seed: int) -> Tagger:
    """Return an untrained tagger."""
    network = None
    if method.startswith(("fine-tuned", "LoRA")):
        network = deepcopy(encoder().network).cpu()
        freeze(network, "pooler")
    if method.startswith("LoRA"):
        freeze(network)
        for part in ("query", "value"):
            add_lora(
                network,
                f"encoder.layer.*.attention.self.{part}",
                rank=SETTINGS["rank"],
                generator=torch.Generator().manual_seed(seed),
            )
    return Tagger(LABELS, encoder=network, seed=seed, **SETUP[method]).to(PLACE)


def trained(tagger: Tagger, on: Words, method: str, steps: int, seed: int) -> Tagger:
    """Train a tagger."""
    name = "rate of low-rank changes" if method.startswith("LoRA") else "encoder rate"
    return train_tagger(
        tagger,
        on,
        steps=steps,
        rate=SETTINGS["rate"],
        encoder_rate=SETTINGS[name],
        batch_size=SETTINGS["batch"],
        seed=seed,
        progress=False,
    )


@cache
def source_tagger(method: str, seed: int) -> Tagger:
    """Return a tagger that learned the source, to be copied."""
    frozen = method.startswith("frozen")
    steps = SETTINGS["steps on the source"]
    return trained(new_tagger(method, seed), words("news", "train", frozen), method, steps, seed)


def measured(key: results.Row) -> dict[str, float]:
    """Train a tagger, and score it on both tests."""
    method, count, seed = key["method"], key["target_sentences"], key["seed"]
    frozen = method.startswith("frozen")
    if key["start"] == "source":
        tagger = deepcopy(source_tagger(method, seed))
    else:
        tagger = new_tagger(method, seed)
    if count:
        trained(tagger, few(count, seed, frozen), method, STEPS[count], seed)
    values: dict[str, float] = {}
    for name, mark in (("posts", ""), ("news", "news_")):
        test = words(name, "test", frozen)
        truth, found = test.data.tags, tagger.tag(test)
        values |= {f"{mark}{k}": round(v, 4) for k, v in entity_scores(truth, found).items()}
        kinds = count_kinds(findings(truth, found))
        values |= {f"{mark}{k.replace(' ', '_')}": n for k, n in kinds.items()}
    return values


def measure(group: str, seed: int) -> None:
    """Fill book/results/entities_transfer.json with a group's rows of a seed."""
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
    cases = [("source", 0), *product(("source", "target"), STEPS)]
    recorder.measure(
        [
            {"method": method, "start": start, "target_sentences": count, "seed": seed}
            for method in GROUPS[group]
            for start, count in cases
        ],
        measured,
    )


def recipes() -> dict[str, Callable[[], None]]:
    """Return the recipe of each group and seed by its name."""
    return {f"{g}-{seed}": partial(measure, g, seed) for g in GROUPS for seed in SEEDS}


if __name__ == "__main__":
    run_recipe(__doc__, recipes())
