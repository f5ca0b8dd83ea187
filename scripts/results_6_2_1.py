"""Measure the tables of section 6.2.1 and write them to book/results.

    python scripts/results_6_2_1.py rates
    python scripts/results_6_2_1.py docstrings
    MAPPING_DATA=… python scripts/results_6_2_1.py reviews
    MAPPING_DATA=… python scripts/results_6_2_1.py sst2

`rates` comes first: the others read what it chose. Each is written after each row; a second call
goes on where the first one stopped, and several processes may fill one file: --source and --seed
give each its share. A GPU is used where there is one. A CPU gets a smaller budget: texts are cut
after 96 word pieces in place of 128, and the encoder is trained at fewer numbers of labels, not at
all on reviews, and in at least 60 steps of 16 texts. The numbers in book/results were measured so,
on one core: half an hour of CPU time.

A machine that lacks the libraries whose docstrings are read can be handed them over:

    python scripts/results_6_2_1.py hand-over docstrings.json
    MAPPING_DOCSTRINGS=docstrings.json python scripts/results_6_2_1.py docstrings

rates: learning rates, tried with 500 of SST-2's training phrases on 1,000 others; a tuning seed
draws them. The rates serve for docstrings and reviews as well, so that nothing is chosen there.

docstrings: topics, learned from 5, 20 or 40 labelled docstrings a topic of NumPy and SciPy, tested
on their other docstrings and on those of the deep-learning libraries.

reviews: good or bad, learned from 1,600 reviews of one domain, with another 400 of it to choose the
strength of a logistic regression by, tested on 1,000 of another; its
other 1,000 reviews are what methods of adaptation see, without labels.

A first run had C = 10 throughout; the choice was added because a fixed strength might favour counts
or vectors. The order of the methods stayed the same.

sst2: good or bad, learned from 100, 500, 2,000 or all phrases of SST-2's training part less 1,000
that are held out; tested on the official validation sentences, which choose nothing.
"""

import argparse
import json
import os
import warnings
from collections.abc import Callable, Iterable, Iterator
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import torch
from sklearn.feature_extraction.text import TfidfVectorizer
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import balanced_accuracy_score, f1_score
from torch import Tensor, nn
from torch.nn.functional import cross_entropy, linear

from mapping_lib.adaptation import adaptation_weight, domain_adversarial_loss, reverse_gradient
from mapping_lib.distances import mmd
from mapping_lib.features import coral_map, subspace_alignment
from mapping_lib.instances import classifier_ratio, effective_sample_size
from mapping_lib.lab import results
from mapping_lib.lab.data import amazon_reviews, docstrings, sst2
from mapping_lib.lab.data.texts import REVIEW_DOMAINS
from mapping_lib.lab.data.types import Texts
from mapping_lib.lab.language import Encoder, minilm
from mapping_lib.lab.machine import device, seeded
from mapping_lib.lab.results import Method, Recorder
from mapping_lib.lab.schedules import warm_up
from mapping_lib.lab.text_classifiers import (
    BagOfPieces,
    TextNetwork,
    coverage,
    embeddings,
    piece_ids,
    solved_head,
    tune,
)
from mapping_lib.lab.training import fit, predict
from mapping_lib.metrics import expected_calibration_error

FOLDER = Path(
    os.environ.get("RESULTS_FOLDER", Path(__file__).resolve().parents[1] / "book/results")
)
PLACE = device("auto")
PACKAGES = ("torch", "transformers", "scikit-learn", "numpy")
SEEDS, TUNING_SEED = range(3), 100
ON_CPU = PLACE.type == "cpu"  # then there is less of everything
LIMIT = 96 if ON_CPU else 128  # word pieces of a text that are read
STRENGTH = 10.0  # C of a logistic regression, as in scripts/results_1_3.py
STRENGTHS = (0.1, 1.0, 10.0, 100.0)  # on reviews, where source texts are held out to choose by
RATES = {"LoRA": (1e-3, 3e-3), "fine-tuning": (5e-5, 2e-4)}
SMALL_RATES = (1e-2, 1e-1)
TUNED = {  # numbers of labels at which the encoder is trained
    "docstrings": (20,) if ON_CPU else (5, 20, 40),
    "sst2": (100, 500, 2000) if ON_CPU else (100, 500, 2000, 0),
}
ON_GPU_ALONE = {  # too slow otherwise
    "reviews": (
        "small network from scratch",
        "LoRA",
        "fine-tuning",
        "fine-tuning, MMD",
    ),
    "sst2": ("small network from scratch",),
}
WAYS = {"LoRA": "LoRA", "fine-tuning": "all"}
SMALL = "small network from scratch"
BATCH = 16 if ON_CPU else 32
CHOSEN = "rate chosen by `rates` on held-out phrases of SST-2's training part"
NOTHING = f"nothing was tuned: C = {STRENGTH:g}"
BY_SOURCE = "C of 0.1, 1, 10, 100 on the source's other 400 texts"
FIXED = "nothing was tuned: {}"
HELD = 1_000  # phrases of SST-2's training part that are held out
SETTINGS = {"word pieces": LIMIT, "batch": BATCH, "encoder's products": "bfloat16"}
TUNING = ("LoRA", "fine-tuning", "fine-tuning, MMD")

Key = dict[str, Any]


# Texts


@cache
def encoder() -> Encoder:
    """Return MiniLM; its network is copied before it is trained."""
    return minilm()


@cache
def pretrained() -> TextNetwork:
    """Return MiniLM with a head that nobody uses."""
    return TextNetwork(encoder(), 2).to(PLACE).eval()


def halved() -> torch.autocast:
    """Return the context in which encoders compute: matrix products with bfloat16.

    Without autocast's cache: it keeps a weight's bfloat16 copy until the context is left, and a
    network that is trained inside would never see its own steps.
    """
    return torch.autocast(PLACE.type, torch.bfloat16, cache_enabled=False)


class Corpus:
    """Texts, their word pieces and frozen embeddings, made once."""

    def __init__(self, texts: Texts) -> None:
        self.texts = list(texts.texts)
        self.labels = texts.labels
        self.classes = len(texts.classes)
        self.ids = piece_ids(encoder(), self.texts, limit=LIMIT, cut=True)
        self._frozen = torch.full((len(self.texts), encoder().width), torch.nan)

    def some(self, rows: Tensor, *, cut: bool = False) -> list[str]:
        """Return some texts, whole or as far as the encoder reads them."""
        if not cut:
            return [self.texts[row] for row in rows.tolist()]
        decode = encoder()._tokenizer.decode  # joins the pieces; no capitals, which don't count
        return [decode(ids[ids != 0].tolist()) for ids in self.ids[rows]]

    def frozen(self, rows: Tensor) -> Tensor:
        """Return frozen embeddings; each is made once, when it is first asked for."""
        due = rows[self._frozen[rows, 0].isnan()].unique()
        if len(due):
            with halved():
                self._frozen[due] = embeddings(pretrained(), self.ids[due]).float()
        return self._frozen[rows]


def code_texts(domain: str) -> Texts:
    """Return docstrings, from a file if they were handed over."""
    if not (handed := os.environ.get("MAPPING_DOCSTRINGS")):
        return docstrings(domain)
    content = json.loads(Path(handed).read_text(encoding="utf-8"))[domain]
    return Texts(
        texts=tuple(content["texts"]),
        labels=torch.tensor(content["labels"]),
        classes=tuple(content["classes"]),
        entry="docstrings",
        split="all",
        domain=domain,
    )


def hand_over(path: str) -> None:
    """Write the docstrings into a file."""
    content = {}
    for domain in ("scientific", "deep-learning"):
        found = docstrings(domain)
        content[domain] = {
            "texts": found.texts,
            "labels": found.labels.tolist(),
            "classes": found.classes,
        }
    Path(path).write_text(json.dumps(content), encoding="utf-8")


@cache
def corpus(name: str) -> Corpus:
    """Return a set of texts by its name."""
    kind, _, part = name.partition(":")
    if kind == "docstrings":
        return Corpus(code_texts(part))
    return Corpus(sst2(part) if kind == "sst2" else amazon_reviews(part))


def drawn_by(*numbers: int) -> torch.Generator:
    """Return a generator that depends on all the numbers."""
    return torch.Generator().manual_seed(int(np.random.SeedSequence(numbers).generate_state(1)[0]))


def few(labels: Tensor, each: int, generator: torch.Generator) -> tuple[Tensor, Tensor]:
    """Draw some rows of each class; return them and the rest."""
    order = torch.randperm(len(labels), generator=generator)
    classes = range(int(labels.max()) + 1)
    chosen = torch.cat([order[labels[order] == k][:each] for k in classes])
    return chosen, order[~torch.isin(order, chosen)]


# Ways to learn: each takes a corpus, rows of it, a rate and a seed, and returns a function that
# maps a corpus and rows of that to logits.

Logits = Callable[[Corpus, Tensor], Tensor]


def by_words(known: Corpus, rows: Tensor, rate: float, seed: int, steps: int) -> Logits:
    """Words counted (TF-IDF), those of the labelled texts, and a logistic regression."""
    counted = TfidfVectorizer(sublinear_tf=True)
    features = counted.fit_transform(known.some(rows))
    solver = LogisticRegression(C=STRENGTH, max_iter=2000).fit(features, known.labels[rows])

    def logits(corpus: Corpus, rows: Tensor) -> Tensor:
        found = solver.decision_function(counted.transform(corpus.some(rows)))
        scores = torch.as_tensor(found).float()
        return torch.stack([-scores, scores], 1) / 2 if scores.dim() == 1 else scores

    return logits


def from_scratch(known: Corpus, rows: Tensor, rate: float, seed: int, steps: int) -> Logits:
    """The mean of learned vectors of word pieces, and a linear head."""
    network = BagOfPieces(encoder().network.config.vocab_size, known.classes, seed=seed)
    optimiser = torch.optim.Adam(network.parameters(), lr=rate)
    epochs = 30 if len(rows) < 1000 else 10 if len(rows) < 10_000 else 3
    fit(
        network, cross_entropy, known.ids[rows], known.labels[rows], epochs=epochs, seed=seed,
        batch_size=BATCH if len(rows) < 10_000 else 128, optimiser=optimiser, progress=False,
        device=PLACE,
    )  # fmt: skip
    return lambda corpus, rows: predict(network, corpus.ids[rows])


def frozen(known: Corpus, rows: Tensor, rate: float, seed: int, steps: int) -> Logits:
    """Frozen embeddings of MiniLM and a logistic regression."""
    features, labels = known.frozen(rows), known.labels[rows]
    head = solved_head(features, labels, known.classes, strength=STRENGTH)
    return lambda corpus, rows: predict(head, corpus.frozen(rows))


def tuned(way: str) -> Callable[..., Logits]:
    """Return the function that starts from `frozen` and moves the encoder."""

    def learn(known: Corpus, rows: Tensor, rate: float, seed: int, steps: int) -> Logits:
        network = started(known, rows)
        large = len(rows) > 10_000
        with halved():
            tune(
                network, known.ids[rows], known.labels[rows], way=WAYS[way], rate=rate,
                steps=steps, batch_size=128 if large else BATCH, seed=seed, device=PLACE,
            )  # fmt: skip
        return lambda corpus, rows: outputs(network, corpus.ids[rows])

    return learn


@torch.no_grad()
def outputs(network: TextNetwork, ids: Tensor) -> Tensor:
    """Return the logits of all rows."""
    with halved():
        found = embeddings(network, ids)
    return linear(found.float(), network.head.weight.cpu(), network.head.bias.cpu())


def started(known: Corpus, rows: Tensor) -> TextNetwork:
    """Return MiniLM with the head of `frozen`."""
    network = TextNetwork(encoder(), known.classes)
    network.head = solved_head(
        known.frozen(rows), known.labels[rows], known.classes, strength=STRENGTH
    )
    return network


LEARN: dict[str, Callable[..., Logits]] = {
    "TF-IDF": by_words,
    SMALL: from_scratch,
    "frozen": frozen,
    "LoRA": tuned("LoRA"),
    "fine-tuning": tuned("fine-tuning"),
}
METHODS = {
    "TF-IDF": Method("words of the labelled texts counted, a logistic regression", NOTHING),
    SMALL: Method("mean of learned vectors of word pieces, a linear head", CHOSEN),
    "frozen": Method("frozen embeddings of MiniLM, a logistic regression", NOTHING),
    "LoRA": Method("from there, rank 8 on queries and values, and the head", CHOSEN),
    "fine-tuning": Method("from there, all parameters of MiniLM, and the head", CHOSEN),
}


def scores(logits: Tensor, labels: Tensor, suffix: str = "") -> dict[str, float]:
    """Return the scores of a row."""
    found = logits.argmax(1)
    values = {
        "accuracy": float((found == labels).double().mean()),
        "macro_accuracy": float(balanced_accuracy_score(labels, found)),
        "macro_f1": float(f1_score(labels, found, average="macro")),
        "ece": expected_calibration_error(logits, labels).item(),
    }
    return {f"{name}{suffix}": round(value, 4) for name, value in values.items()}


def steps_for(rows: int) -> int:
    """Return the steps of fine-tuning: some passes, but at least 60 and at most 1,000 steps."""
    passes = 1 if ON_CPU else 3
    return min(1000, max(60, passes * rows // BATCH))


# rates


def measured(methods: Iterable[str], name: str) -> list[str]:
    """Return the methods for which this machine is fast enough."""
    return [m for m in methods if not (ON_CPU and m in ON_GPU_ALONE[name])]


def recorder(name: str, methods: dict[str, Method], **header: Any) -> Recorder:
    """Return a recorder for a table."""
    return Recorder(
        FOLDER / f"{name}.json",
        methods=methods,
        weights=["minilm"],
        packages=PACKAGES,
        device=str(PLACE),
        **header,
    )


def measure_rates(sources: list[str], seeds: list[int]) -> None:
    """Fill book/results/text_rates.json."""
    table = recorder(
        "text_rates",
        {name: METHODS[name] for name in (SMALL, *RATES)},
        problem="SST-2, learning rates, on held-out training phrases",
        recipe="scripts/results_6_2_1.py rates",
        data=["sst2"],
        settings=SETTINGS | {"labels": 500, "held out": 1000},
    )
    known = corpus("sst2:train")
    order = torch.randperm(len(known.labels), generator=drawn_by(TUNING_SEED, 1))
    rows, held = order[:500], order[500:1500]

    def measure(key: Key) -> dict[str, float]:
        learn = LEARN[key["method"]]
        logits = learn(known, rows, key["rate"], key["seed"], steps_for(len(rows)))
        return scores(logits(known, held), known.labels[held])

    table.measure(
        [
            {"method": method, "rate": rate, "seed": TUNING_SEED}
            for method, rates in {SMALL: SMALL_RATES, **RATES}.items()
            for rate in rates
        ],
        measure,
    )


@cache
def chosen(method: str) -> float:
    """Return the rate that was best on held-out phrases."""
    if method not in (SMALL, *RATES):
        return 0.0
    rows = results.read(FOLDER / "text_rates.json")["rows"]
    tried = [row for row in rows if row["method"] == method]
    if not tried:
        raise SystemExit(f"no rate for {method} yet: run `rates` first")
    return float(max(tried, key=lambda row: row["accuracy"])["rate"])


# docstrings


def measure_docstrings(sources: list[str], seeds: list[int]) -> None:
    """Fill book/results/text_docstrings.json."""
    table = recorder(
        "text_docstrings",
        METHODS,
        problem="topics of docstrings, every way to learn",
        recipe="scripts/results_6_2_1.py docstrings",
        data=["docstrings"],
        settings=SETTINGS,
    )

    def measure(key: Key) -> dict[str, float]:
        own, other = corpus("docstrings:scientific"), corpus("docstrings:deep-learning")
        rows, rest = few(own.labels, key["labels"], drawn_by(key["seed"], key["labels"]))
        rate = chosen(key["method"])
        logits = LEARN[key["method"]](own, rows, rate, key["seed"], steps_for(len(rows)))
        away = torch.arange(len(other.labels))
        return scores(logits(own, rest), own.labels[rest], "_same") | scores(
            logits(other, away), other.labels[away], "_others"
        )

    table.measure(
        [
            {"method": method, "labels": labels, "seed": seed}
            for seed in seeds
            for method in METHODS
            for labels in (5, 20, 40)
            if method not in TUNING or labels in TUNED["docstrings"]
        ],
        measure,
    )


# reviews

RIDGE, WIDTH, HEAD_STEPS, HIDDEN = 1e-3, 50, 200, 64
ADAPTED = {
    "TF-IDF, cut": Method(
        "as TF-IDF, but reading no more of a text than the encoder does", BY_SOURCE
    ),
    "frozen, CORAL map": Method(
        "the source's embeddings mapped to the target's mean and covariance, then as frozen",
        FIXED.format(f"ridge {RIDGE:g}; C as for frozen"),
    ),
    "frozen, subspace alignment": Method(
        f"both in their first {WIDTH} directions, the source's brought to the target's",
        FIXED.format(f"{WIDTH} directions; C as for frozen"),
    ),
    "frozen, importance weights": Method(
        "the source's texts weighed by a classifier of the domains, then as frozen",
        BY_SOURCE,
    ),
    "frozen, hidden layer": Method(
        f"a hidden layer of {HIDDEN} units on the embeddings, source alone",
        FIXED.format(f"Adam, rate 0.001, {HEAD_STEPS} steps"),
    ),
    "frozen, hidden layer, MMD": Method(
        "the same and the MMD of the hidden features of both domains",
        FIXED.format("weight 1"),
    ),
    "frozen, hidden layer, DANN": Method(
        "the same against a classifier of the domains behind reversed gradients",
        FIXED.format("weight rising to 1"),
    ),
    "fine-tuning, MMD": Method(
        "as fine-tuning, and the MMD of the encoder's embeddings of both domains",
        FIXED.format("weight 1; rate as fine-tuning"),
    ),
    "frozen, target's labels": Method(
        "as frozen, learned from the target's 1,000 texts with their labels, 800 to learn and "
        "200 to choose C: a reference",
        "C of 0.1, 1, 10, 100 on 200 of the target's labelled texts",
    ),
}


def hidden(domain_loss: str | None, known: Corpus, rows: Tensor, target: Tensor, seed: int) -> Any:
    """Train a hidden layer and a head on embeddings, with or without a domain loss."""
    source, labels = known.frozen(rows), known.labels[rows]
    with seeded(seed):
        body = nn.Sequential(nn.Linear(source.shape[1], HIDDEN), nn.ReLU())
        head = nn.Linear(HIDDEN, known.classes)
        critic = nn.Sequential(nn.Linear(HIDDEN, HIDDEN), nn.ReLU(), nn.Linear(HIDDEN, 1))
    parts = nn.ModuleList([body, head, critic])
    optimiser = torch.optim.Adam(parts.parameters(), lr=1e-3)
    generator = drawn_by(seed, 3)
    scale = source.shape[1] ** 0.5  # embeddings have length 1; this makes entries about 1
    for step in range(HEAD_STEPS):
        own = torch.randint(len(source), (64,), generator=generator)
        away = torch.randint(len(target), (64,), generator=generator)
        h_s, h_t = body(scale * source[own]), body(scale * target[away])
        loss = cross_entropy(head(h_s), labels[own])
        if domain_loss == "MMD":
            loss = loss + mmd(h_s, h_t)
        if domain_loss == "DANN":
            weight = adaptation_weight(step / HEAD_STEPS)
            told = [critic(reverse_gradient(h, weight)).squeeze(1) for h in (h_s, h_t)]
            loss = loss + domain_adversarial_loss(*told)
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
    return lambda corpus, rows: predict(nn.Sequential(body, head), scale * corpus.frozen(rows))


def pairs_of(
    known: Corpus, rows: Tensor, unlabelled: Tensor, steps: int, generator: torch.Generator
) -> Iterator[tuple[Tensor, Tensor, Tensor]]:
    """Yield word pieces and labels of the source, and word pieces of the target."""
    for _ in range(steps):
        own = rows[torch.randint(len(rows), (BATCH,), generator=generator)]
        away = torch.randint(len(unlabelled), (BATCH,), generator=generator)
        yield known.ids[own].to(PLACE), known.labels[own].to(PLACE), unlabelled[away].to(PLACE)


def tuned_with_mmd(
    known: Corpus, rows: Tensor, unlabelled: Tensor, rate: float, seed: int
) -> Logits:
    """Move all parameters, and hold the domains' embeddings together."""
    network = started(known, rows).to(PLACE)
    steps = steps_for(len(rows))
    groups = [{"params": network.body.parameters(), "lr": rate},
              {"params": network.head.parameters(), "lr": 1e-3}]  # fmt: skip
    optimiser = torch.optim.AdamW(groups)
    schedule = torch.optim.lr_scheduler.LambdaLR(optimiser, warm_up(steps))
    with seeded(seed):
        network.train()
        for ids, labels, away in pairs_of(known, rows, unlabelled, steps, drawn_by(seed, 4)):
            with halved():
                h_s, h_t = network.features(ids).float(), network.features(away).float()
            loss = cross_entropy(network.head(h_s), labels) + mmd(h_s, h_t)
            optimiser.zero_grad()
            loss.backward()
            optimiser.step()
            schedule.step()
    network.eval()
    return lambda corpus, rows: outputs(network, corpus.ids[rows])


def regression(
    features: Any, known: Corpus, rows: Tensor, held: Any, others: Tensor, weights: Any = None
) -> Callable[[Any], Tensor]:
    """Fit logistic regressions of several strengths; keep the best on held-out source texts."""
    labels, truth = known.labels[rows].numpy(), known.labels[others].numpy()
    models = [
        LogisticRegression(C=strength, max_iter=5000).fit(features, labels, sample_weight=weights)
        for strength in STRENGTHS
    ]
    best = max(models, key=lambda model: model.score(held, truth))

    def logits(found: Any) -> Tensor:
        scores = torch.as_tensor(best.decision_function(found)).float()
        return torch.stack([-scores, scores], 1) / 2

    return logits


def learned(
    method: str, known: Corpus, rows: Tensor, others: Tensor, target: Corpus, seen: Tensor, key: Key
) -> tuple[Logits, dict[str, float]]:
    """Learn from the source's rows and the target's rows without labels."""
    if method.startswith("TF-IDF"):
        cut = method == "TF-IDF, cut"
        counted = TfidfVectorizer(sublinear_tf=True)
        features = counted.fit_transform(known.some(rows, cut=cut))
        held = counted.transform(known.some(others, cut=cut))
        words = regression(features, known, rows, held, others)
        return lambda corpus, rows: words(counted.transform(corpus.some(rows, cut=cut))), {}
    if method.startswith("frozen, hidden layer"):
        kind = {"MMD": "MMD", "DANN": "DANN"}.get(method.rpartition(", ")[2])
        return hidden(kind, known, rows, target.frozen(seen), key["seed"]), {}
    if method == "fine-tuning, MMD":
        rate = chosen("fine-tuning")
        return tuned_with_mmd(known, rows, target.ids[seen], rate, key["seed"]), {}
    if method == "frozen, target's labels":
        known, rows, others = target, seen[:800], seen[800:]
    source, held, away = known.frozen(rows), known.frozen(others), target.frozen(seen)
    layer_s = layer_t = (torch.eye(source.shape[1]), torch.zeros(source.shape[1]))
    weights, more = None, {}
    if method == "frozen, CORAL map":
        layer_s = coral_map(source, away, ridge=RIDGE)
    if method == "frozen, subspace alignment":
        layer_s, layer_t = subspace_alignment(source, away, width=WIDTH)
    if method == "frozen, importance weights":
        with warnings.catch_warnings():  # that the domains hardly overlap is measured below
            warnings.simplefilter("ignore", UserWarning)
            weights = classifier_ratio(source, away)
        more = {"effective_share": round(float(effective_sample_size(weights)) / len(weights), 4)}
        weights = (weights / weights.mean()).numpy()
    mapped, mapped_held = (linear(x, *layer_s).numpy() for x in (source, held))
    vectors = regression(mapped, known, rows, mapped_held, others, weights)
    return lambda corpus, rows: vectors(linear(corpus.frozen(rows), *layer_t).numpy()), more


_tuned: dict[tuple[str, str, int], Logits] = {}


def from_source(method: str, known: Corpus, rows: Tensor, key: Key) -> Logits:
    """Return what a network learned from the source alone; one serves for all targets."""
    name = method, key["source"], key["seed"]
    if name not in _tuned:
        _tuned.clear()  # one at a time
        _tuned[name] = LEARN[method](known, rows, chosen(method), key["seed"], steps_for(1600))
    return _tuned[name]


def measure_reviews(sources: list[str], seeds: list[int]) -> None:
    """Fill book/results/text_reviews.json."""
    everything = METHODS | ADAPTED
    for name in ("TF-IDF", "frozen"):
        everything[name] = Method(METHODS[name].what, BY_SOURCE)
    methods = {name: everything[name] for name in measured(everything, "reviews")}
    table = recorder(
        "text_reviews",
        methods,
        problem="reviews, good or bad, from one kind of goods to another",
        recipe="scripts/results_6_2_1.py reviews",
        data=["amazon-reviews"],
        settings=SETTINGS | {"labelled": 1600, "tested": 1000},
    )

    def measure(key: Key) -> dict[str, float]:
        method, seed = key["method"], key["seed"]
        target = corpus(f"reviews:{key['target']}")
        order = torch.randperm(2000, generator=drawn_by(seed, 6))
        seen, tested = order[:1000], order[1000:]
        known = corpus(f"reviews:{key['source']}")
        order = torch.randperm(2000, generator=drawn_by(seed, 5))
        rows, others = order[:1600], order[1600:]
        more: dict[str, float] = {}
        if method in (SMALL, "LoRA", "fine-tuning"):
            logits = from_source(method, known, rows, key)
        else:
            logits, more = learned(method, known, rows, others, target, seen, key)
        return scores(logits(target, tested), target.labels[tested]) | more

    keys = [
        {"method": method, "source": source, "target": target, "seed": seed}
        for seed in seeds
        for source in sources
        for method in methods
        for target in REVIEW_DOMAINS
        if (source == target) == (method == "frozen, target's labels")
    ]
    keys.sort(key=lambda key: key["method"] in TUNING)  # what is slow comes last
    keys.sort(key=lambda key: key["method"] == "fine-tuning, MMD")
    table.extend("coverage", map(read_of, sources))
    table.measure(keys, measure)


def read_of(name: str) -> Key:
    """Return what the encoder reads of the reviews of one kind of goods."""
    found = coverage(encoder(), corpus(f"reviews:{name}").texts, limit=LIMIT)
    return {
        "domain": name,
        "median_pieces": int(found.lengths.median()),
        "cut": round(float(found.cut.double().mean()), 4),
        "unread": round(found.unread, 4),
        "unknown": round(float(found.unknown.mean()), 5),
    }


# sst2


def measure_sst2(sources: list[str], seeds: list[int]) -> None:
    """Fill book/results/text_sst2.json."""
    table = recorder(
        "text_sst2",
        {name: METHODS[name] for name in measured(METHODS, "sst2")},
        problem="SST-2, good or bad, from so many labelled phrases (0: all)",
        recipe="scripts/results_6_2_1.py sst2",
        data=["sst2"],
        settings=SETTINGS | {"held out": HELD},
    )

    def measure(key: Key) -> dict[str, float]:
        known, test = corpus("sst2:train"), corpus("sst2:validation")
        order = torch.randperm(len(known.labels), generator=drawn_by(key["seed"], 7))
        held, rest = order[:HELD], order[HELD:]
        rows = rest[: key["labels"] or None]
        rate = chosen(key["method"])
        steps = steps_for(len(rows))
        logits = LEARN[key["method"]](known, rows, rate, key["seed"], steps)
        everything = torch.arange(len(test.labels))
        return scores(logits(test, everything), test.labels) | scores(
            logits(known, held), known.labels[held], "_held_out"
        )

    table.measure(
        [
            {"method": method, "labels": labels, "seed": seed}
            for labels in (100, 500, 2000, 0)  # what is slow comes last
            for seed in seeds
            for method in measured(METHODS, "sst2")
            if method not in TUNING or labels in TUNED["sst2"]
            if method != "frozen" or labels or not ON_CPU
        ],
        measure,
    )


RECIPES = {
    "rates": measure_rates,
    "docstrings": measure_docstrings,
    "reviews": measure_reviews,
    "sst2": measure_sst2,
}


def main() -> None:
    """Run the recipe that the command line names, with one thread."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("recipe", choices=[*RECIPES, "hand-over"])
    parser.add_argument("path", nargs="?", default="docstrings.json")
    parser.add_argument("--source", choices=REVIEW_DOMAINS, help="one source of `reviews`")
    parser.add_argument("--seed", type=int, choices=[*SEEDS])
    given = parser.parse_args()
    torch.set_num_threads(1)
    torch.set_float32_matmul_precision("high")  # on a GPU, products with 10 bits of mantissa
    if given.recipe == "hand-over":
        hand_over(given.path)
        return
    sources = [given.source] if given.source else list(REVIEW_DOMAINS)
    RECIPES[given.recipe](sources, list(SEEDS) if given.seed is None else [given.seed])


if __name__ == "__main__":
    main()
