"""Measure the tables of section 2.2 and write them to book/results.

    OMP_NUM_THREADS=1 python scripts/results_2_2.py depth
    OMP_NUM_THREADS=1 python scripts/results_2_2.py alike
    OMP_NUM_THREADS=1 MAPPING_DATA=… python scripts/results_2_2.py ants-bees
    OMP_NUM_THREADS=1 python scripts/results_2_2.py attention
    OMP_NUM_THREADS=1 python scripts/results_2_2.py changed

The file is written after each row; a second call goes on where the first one stopped.

depth: five properties of crops of twenty photographs, read by a linear probe after each stage of
EfficientNet-Lite0, trained on ImageNet or with random weights, and from coarse pixels. Crops of
the left halves teach the probe, crops of the right halves test it. A seed draws the crops and the
random weights.

alike: how alike the descriptions of 400 crops are by linear CKA, stage by stage, between the
trained network, two random ones and coarse pixels.

ants-bees: ants or bees, by a logistic regression on the features of each stage, for 200 of the 244
training images and all test images, at 128 pixels. A seed draws the 200 images and the random
weights.

attention: how well the attention that a word piece receives ranks what leaving it out does to the
embedding of its sentence. Five samples of 60 docstrings of NumPy and SciPy, 8 to 24 pieces long.

changed: what is left of the embeddings of the same docstrings, by the cosine, when the attention
weights of a layer are changed: each row shuffled, or made uniform.
"""

from collections.abc import Callable
from functools import cache
from pathlib import Path

import numpy as np
import torch
from recipes import run_recipe
from scipy.stats import rankdata, spearmanr
from torch import Tensor

from mapping_lib.distances import linear_cka
from mapping_lib.lab import results
from mapping_lib.lab.attending import leave_one_out, read, received, sample_texts
from mapping_lib.lab.backbones import efficientnet_lite0
from mapping_lib.lab.data import hymenoptera
from mapping_lib.lab.language import Encoder, minilm
from mapping_lib.lab.machine import seeded
from mapping_lib.lab.probing import (
    MEASURED,
    NAMED,
    STAGES,
    Crops,
    by_stage,
    coarse_pixels,
    crops,
    probe,
)

FOLDER = Path(__file__).resolve().parents[1] / "book" / "results"
SEEDS = range(5)
PER_PICTURE = 20
FIXED = "nothing to choose"
PROBE = "ridge by cross-validation on the training crops; C = 1; standardised features"
NETWORKS = {
    "ImageNet": "Stages of EfficientNet-Lite0 trained on ImageNet.",
    "random": "Stages of the same network with random weights.",
}


def recorder_of(
    name: str,
    problem: str,
    methods: dict[str, tuple[str, str]],
    *,
    data: tuple[str, ...],
    weights: tuple[str, ...],
    packages: tuple[str, ...],
    settings: dict[str, object],
) -> results.Recorder:
    """Open a results file."""
    return results.Recorder(
        FOLDER / f"representations_{name.replace('-', '_')}.json",
        problem=problem,
        recipe=f"scripts/results_2_2.py {name}",
        data=data,
        weights=weights,
        methods={method: results.Method(*words) for method, words in methods.items()},
        packages=packages,
        settings=settings,
    )


def stages_of(method: str, images: Tensor, seed: int) -> dict[str, Tensor]:
    """Take features of the trained network, or of the random one of a seed, after each stage."""
    with seeded(seed):
        return by_stage(efficientnet_lite0(pretrained=method == "ImageNet"), images)


# --- depth ---


@cache
def halves(seed: int) -> tuple[Crops, Crops]:
    """Cut crops to learn from and crops to test on."""
    return crops(PER_PICTURE, half="left", seed=seed), crops(PER_PICTURE, half="right", seed=seed)


@cache
def described(method: str, seed: int) -> tuple[dict[str, Tensor], dict[str, Tensor]]:
    """Take features of both sets of crops by their layer."""
    train, test = halves(seed)
    if method == "pixels":
        return {"pixels": coarse_pixels(train.images)}, {"pixels": coarse_pixels(test.images)}
    both = stages_of(method, torch.cat([train.images, test.images]), seed)
    n = len(train)
    return {k: v[:n] for k, v in both.items()}, {k: v[n:] for k, v in both.items()}


def measure_depth() -> None:
    """Fill book/results/representations_depth.json."""
    recorder = recorder_of(
        "depth",
        "five properties of crops of photographs, read by a linear probe after each stage",
        {name: (what, PROBE) for name, what in NETWORKS.items()}
        | {"pixels": ("The crop shrunk to 8 × 8 squares of colour.", PROBE)},
        data=("photographs",),
        weights=("efficientnet-lite0",),
        packages=("torch", "timm", "scikit-learn", "pillow"),
        settings={"size": 96, "crops a picture": PER_PICTURE},
    )

    def measure(key: results.Row) -> dict[str, float]:
        (train, test), layer = halves(key["seed"]), key["layer"]
        learn, judge = (part[layer] for part in described(key["method"], key["seed"]))
        return {
            name: round(probe(learn, train.properties[name], judge, test.properties[name]), 4)
            for name in (*reversed(NAMED), *MEASURED)
        }

    recorder.measure(
        [
            {"method": method, "layer": layer, "seed": seed}
            for seed in SEEDS
            for method in (*NETWORKS, "pixels")
            for layer in (STAGES if method in NETWORKS else ("pixels",))
        ],
        measure,
    )


# --- alike ---

ALIKE = {
    "two random": ("Two networks with other random weights.", FIXED),
    "ImageNet and random": ("The trained network and a random one.", FIXED),
    "ImageNet and pixels": ("The trained network and the crop in 8 × 8 squares.", FIXED),
    "random and pixels": ("A random network and the crop in 8 × 8 squares.", FIXED),
}

PAIRS = {
    "two random": ("random", "another"),
    "ImageNet and random": ("ImageNet", "random"),
    "ImageNet and pixels": ("ImageNet", "pixels"),
    "random and pixels": ("random", "pixels"),
}


@cache
def pair_of(seed: int) -> dict[str, dict[str, Tensor]]:
    """Describe the same crops by three networks and by their pixels."""
    images = halves(seed)[1].images
    squares = coarse_pixels(images)
    return {
        "ImageNet": stages_of("ImageNet", images, seed),
        "random": stages_of("random", images, seed),
        "another": stages_of("random", images, seed + 100),
        "pixels": dict.fromkeys(STAGES, squares),
    }


def measure_alike() -> None:
    """Fill book/results/representations_alike.json."""
    recorder = recorder_of(
        "alike",
        "linear CKA between two descriptions of the same crops, by stage",
        ALIKE,
        data=("photographs",),
        weights=("efficientnet-lite0",),
        packages=("torch", "timm", "pillow"),
        settings={"size": 96, "crops a picture": PER_PICTURE},
    )

    def measure(key: results.Row) -> dict[str, float]:
        of = pair_of(key["seed"])
        both = (of[name][key["layer"]].double() for name in PAIRS[key["method"]])
        return {"cka": round(linear_cka(*both).item(), 4)}

    recorder.measure(
        [
            {"method": method, "layer": layer, "seed": seed}
            for seed in SEEDS
            for method in ALIKE
            for layer in STAGES
        ],
        measure,
    )


# --- ants and bees ---


@cache
def insects(method: str, seed: int) -> tuple[dict[str, Tensor], Tensor, dict[str, Tensor], Tensor]:
    """Take features of ants and bees after each stage; the trained network's don't depend on it."""
    train, test = hymenoptera(size=128)
    both = stages_of(method, torch.cat([train.images, test.images]), seed)
    n = len(train)
    learn, judge = ({k: v[at] for k, v in both.items()} for at in (slice(n), slice(n, None)))
    return learn, train.labels, judge, test.labels


def measure_ants_bees() -> None:
    """Fill book/results/representations_ants_bees.json."""
    recorder = recorder_of(
        "ants-bees",
        "ants or bees, by a logistic regression on the features of each stage",
        {
            name: (what, "C = 1 on standardised features, set beforehand")
            for name, what in NETWORKS.items()
        },
        data=("hymenoptera",),
        weights=("efficientnet-lite0",),
        packages=("torch", "timm", "scikit-learn", "pillow"),
        settings={"size": 128, "training images": 200},
    )

    def measure(key: results.Row) -> dict[str, float]:
        seed = key["seed"]
        learn, labels, judge, truth = insects(key["method"], seed * (key["method"] == "random"))
        chosen = torch.randperm(len(labels), generator=torch.Generator().manual_seed(seed))[:200]
        layer = key["layer"]
        score = probe(learn[layer][chosen], labels[chosen], judge[layer], truth)
        return {"accuracy": round(score, 4)}

    recorder.measure(
        [
            {"method": method, "layer": layer, "seed": seed}
            for seed in SEEDS
            for method in NETWORKS
            for layer in STAGES
        ],
        measure,
    )


# --- attention ---

TEXTS = 60
RANKS: dict[str, tuple[str, str]] = {
    "last layer": ("Attention received in the last layer, mean over heads and places.", FIXED),
    "all layers": ("The same, mean over the six layers.", FIXED),
    "best head": (
        "Attention received in one head of one layer.",
        "the head with the best correlation on the other four samples",
    ),
    "rollout": ("Attention multiplied through the layers, half of each the identity.", FIXED),
    "rarity": ("The place of the piece in the vocabulary, which begins with common ones.", FIXED),
    "length": ("The number of letters of the piece.", FIXED),
    "last layer, rarity held fixed": (
        "Attention received in the last layer: the partial correlation, given rarity.",
        FIXED,
    ),
    "rarity, last layer held fixed": (
        "Rarity: the partial correlation, given the attention received in the last layer.",
        FIXED,
    ),
}


@cache
def encoder() -> Encoder:
    """Read the encoder once."""
    return minilm()


@cache
def effects(seed: int) -> list[dict[str, Tensor]]:
    """Measure for each text what leaving a piece out does, and everything that may rank it."""
    found = []
    for text in sample_texts(encoder(), TEXTS, seed=seed):
        there = read(encoder(), text)
        of = received(there.weights)
        of["effect"] = leave_one_out(encoder(), text)
        of["rarity"] = there.ids[1:-1].double()
        of["length"] = torch.tensor([len(piece.strip("#")) for piece in there.pieces[1:-1]])
        found.append(of)
    return found


def rank_correlation(texts: list[dict[str, Tensor]], pick: Callable[..., Tensor]) -> float:
    """Average Spearman's correlation with the effect over the texts."""
    each = [float(spearmanr(pick(of), of["effect"]).statistic) for of in texts]
    return sum(value for value in each if value == value) / len(each)  # NaN: all equal


def partial_correlation(texts: list[dict[str, Tensor]], name: str, given: str) -> float:
    """Correlate with the effect, another score held fixed; ranks within each text, pooled."""
    ranks = [
        [(rankdata(of[of_name]) - 1) / (len(of["effect"]) - 1) - 0.5 for of in texts]
        for of_name in (name, "effect", given)
    ]
    of_effect, with_effect = np.corrcoef([np.concatenate(each) for each in ranks])[:2]
    r, with_given, effect_given = of_effect[1], of_effect[2], with_effect[2]
    left = (1 - with_given**2) * (1 - effect_given**2)
    return float((r - with_given * effect_given) / left**0.5)


def best_head(seed: int) -> tuple[int, int]:
    """Find the head with the best correlation on the other samples."""
    others = [of for other in SEEDS if other != seed for of in effects(other)]
    places = [(layer, head) for layer in range(6) for head in range(12)]
    return max(places, key=lambda at: rank_correlation(others, lambda of: of["heads"][at]))


def measure_attention() -> None:
    """Fill book/results/representations_attention.json."""
    recorder = recorder_of(
        "attention",
        "rank correlation of a piece's score with the effect of leaving it out",
        RANKS,
        data=("docstrings",),
        weights=("minilm",),
        packages=("torch", "transformers", "scipy"),
        settings={"texts": TEXTS, "pieces": "8 to 24"},
    )

    def measure(key: results.Row) -> dict[str, float]:
        texts, method = effects(key["seed"]), key["method"]
        if method == "best head":
            at = best_head(key["seed"])
            value = rank_correlation(texts, lambda of: of["heads"][at])
        elif " held fixed" in method:
            value = partial_correlation(texts, *method.removesuffix(" held fixed").split(", "))
        else:
            value = rank_correlation(texts, lambda of: of[method])
        return {"correlation": round(value, 4)}

    recorder.measure([{"method": m, "seed": seed} for seed in SEEDS for m in RANKS], measure)


# --- changed ---

CHANGED = {
    "shuffled": ("Each row's weights in another order, in each head its own.", FIXED),
    "uniform": ("Each place attends to all alike.", FIXED),
    "a piece left out": ("The text without one piece, the mean over all.", FIXED),
    "another text": ("The embedding of the next text of the sample.", FIXED),
}


def shuffled(weights: Tensor, generator: torch.Generator) -> Tensor:
    """Put the weights of each row in a random order."""
    order = torch.rand(weights.shape, generator=generator).argsort(-1)
    return weights.gather(-1, order)


def measure_changed() -> None:
    """Fill book/results/representations_changed.json."""
    recorder = recorder_of(
        "changed",
        "cosine of a text's embedding with the one after its attention was changed",
        CHANGED,
        data=("docstrings",),
        weights=("minilm",),
        packages=("torch", "transformers"),
        settings={"texts": TEXTS, "pieces": "8 to 24"},
    )

    def measure(key: results.Row) -> dict[str, float]:
        texts = sample_texts(encoder(), TEXTS, seed=key["seed"])
        generator = torch.Generator().manual_seed(key["seed"])
        chosen = key["layer"]
        layers = [chosen - 1] if isinstance(chosen, int) else range(6 * (chosen == "all"))

        def change(layer: int, weights: Tensor) -> Tensor:
            if layer not in layers:
                return weights
            if key["method"] == "uniform":
                return torch.full_like(weights, 1 / weights.shape[-1])
            return shuffled(weights, generator)

        plain = [read(encoder(), text).embedding for text in texts]
        if key["method"] == "a piece left out":
            cosines = [1 - leave_one_out(encoder(), text).mean() for text in texts]
        elif key["method"] == "another text":
            pairs = zip(plain, plain[1:] + plain[:1], strict=True)
            cosines = [a @ b for a, b in pairs]
        else:
            changed = [read(encoder(), text, change=change).embedding for text in texts]
            cosines = [a @ b for a, b in zip(plain, changed, strict=True)]
        return {"cosine": round(torch.stack(cosines).mean().item(), 4)}

    keys: list[dict[str, object]] = [
        {"method": method, "layer": layer, "seed": seed}
        for seed in SEEDS
        for method in ("shuffled", "uniform")
        for layer in (1, 2, 3, 4, 5, 6, "all")
    ]
    keys += [
        {"method": method, "layer": "none", "seed": seed}
        for seed in SEEDS
        for method in ("a piece left out", "another text")
    ]
    recorder.measure(keys, measure)


if __name__ == "__main__":
    run_recipe(
        __doc__,
        {
            "depth": measure_depth,
            "alike": measure_alike,
            "ants-bees": measure_ants_bees,
            "attention": measure_attention,
            "changed": measure_changed,
        },
    )
