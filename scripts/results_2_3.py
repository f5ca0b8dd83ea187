"""Measure the tables of section 2.3 and write them to book/results.

    OMP_NUM_THREADS=1 python scripts/results_2_3.py stitching
    OMP_NUM_THREADS=1 python scripts/results_2_3.py names
    OMP_NUM_THREADS=1 python scripts/results_2_3.py barriers
    OMP_NUM_THREADS=1 python scripts/results_2_3.py soups
    OMP_NUM_THREADS=1 python scripts/results_2_3.py tasks
    OMP_NUM_THREADS=1 python scripts/results_2_3.py mappings

The file is written after each row; a second call goes on where the first one stopped.

stitching: two networks trained apart on handwritten digits. The head of one classifies the features
of the other, once they are mapped to its own by a number of images that both have seen, without
labels. The network mapped from is as wide, twice as wide, or untrained.

names: English names and what they are called in another language, both as embeddings of one encoder
for English; names that are the same in both are left out. Accuracy: the share of 400 names whose
nearest among the 400 English ones is the right one.

barriers: two networks trained apart on the same digits, and the way from one to the other.

soups: a network trained on rendered digits, fine-tuned by eight people, each on 50 handwritten
digits of their own.

tasks: the same network, fine-tuned by two people, one with the digits 0 to 4, one with 5 to 9.

mappings: the same network carried to handwritten digits by mappings of features, of parameters and
of instances, with 1,000 target inputs, or with one or five labels a class. One configuration each,
none tuned.
"""

import warnings
from collections.abc import Callable
from dataclasses import replace
from functools import cache, partial
from pathlib import Path
from typing import NamedTuple

import torch
from recipes import run_recipe
from scipy.optimize import linear_sum_assignment
from torch import Tensor, nn

from mapping_lib import merging
from mapping_lib.augmentation import pseudo_labels
from mapping_lib.features import canonical_correlation, coral_map, extract, procrustes
from mapping_lib.instances import classifier_ratio, effective_sample_size
from mapping_lib.lab import results
from mapping_lib.lab.adapting import split
from mapping_lib.lab.data import Images, cldr_names, handwritten_digits, rendered_digits
from mapping_lib.lab.language import minilm
from mapping_lib.lab.states import LAYERS, State, accuracy_of, connect, perceptron, trained, walk
from mapping_lib.lab.training import accuracy, predict
from mapping_lib.mappings import linear

FOLDER = Path(__file__).resolve().parents[1] / "book" / "results"
SEEDS = range(5)
FEATURES = "4"  # the layer whose output the head of a perceptron sees
FIXED = "nothing to choose"


def recorder_of(
    name: str,
    problem: str,
    methods: dict[str, tuple[str, str]],
    *,
    data: tuple[str, ...],
    weights: tuple[str, ...] = (),
    packages: tuple[str, ...] = ("torch",),
    settings: dict[str, object] | None = None,
) -> results.Recorder:
    """Open a results file."""
    return results.Recorder(
        FOLDER / f"mapping_{name}.json",
        problem=problem,
        recipe=f"scripts/results_2_3.py {name}",
        data=data,
        weights=weights,
        methods={method: results.Method(*words) for method, words in methods.items()},
        packages=packages,
        settings=settings,
    )


def digits(seed: int, sizes: tuple[int, ...], size: int = 8) -> list[Images]:
    """Split the handwritten digits at random into parts of given sizes."""
    generator = torch.Generator().manual_seed(seed)
    return split(handwritten_digits(size=size), sizes, generator)


# --- stitching ---

PAIRS = (10, 20, 50, 100, 300, 1000)
STITCHING = {
    "its own features": ("The network whose head it is, on its own features.", FIXED),
    "as they are": ("The other network's features, unit by unit.", FIXED),
    "units matched": (
        "The other network's units in other places: the assignment with the largest correlations.",
        FIXED,
    ),
    "Procrustes": ("Rotation and shift of the other network's features.", FIXED),
    "canonical, twice as wide": (
        "A network with twice as many features, to the canonical directions and back by the "
        "pseudo-inverse, each direction times its correlation; 9 directions.",
        "ridge 0.1 and 9 directions set by hand, before the test images were looked at",
    ),
    "Procrustes, untrained network": (
        "Rotation and shift of a random network's features, scaled to the spread of the target's.",
        FIXED,
    ),
}


class Stitched(NamedTuple):
    """A head, and the features of four networks on images to map by and on test images."""

    head: nn.Module
    train: dict[str, Tensor]
    test: dict[str, Tensor]
    labels: Tensor


@cache
def stitched(seed: int) -> Stitched:
    """Train three networks, and take features of them and of an untrained one."""
    train, test = digits(seed, (1000, 797))
    networks = {
        "target": perceptron(64, seed=10 * seed),
        "source": perceptron(64, seed=10 * seed + 1),
        "wide": perceptron(128, seed=10 * seed + 2),
        "untrained": perceptron(64, seed=10 * seed + 3),
    }
    for k, name in enumerate(("target", "source", "wide")):
        trained(networks[name], train, seed=10 * seed + k)
    seen, new = (
        {
            name: extract(network, part.images, layers=[FEATURES])[FEATURES]
            for name, network in networks.items()
        }
        for part in (train, test)
    )
    return Stitched(networks["target"][-1], seen, new, test.labels)


def matched(source: Tensor, target: Tensor) -> Tensor:
    """Find which unit of the source goes to which place, by correlation."""
    both = torch.corrcoef(torch.cat([target, source], dim=1).mT).nan_to_num()
    n = target.shape[1]
    return torch.as_tensor(linear_sum_assignment(both[:n, n:].numpy(), maximize=True)[1])


def there_and_back(source: Tensor, target: Tensor, new: Tensor) -> Tensor:
    """Map new rows of the source to canonical directions, and from them to the target."""
    maps = canonical_correlation(source, target, width=9, ridge=0.1)
    weight, bias = maps.target
    directions = linear(new, *maps.source) * maps.correlations
    assert bias is not None
    back: Tensor = (directions - bias) @ torch.linalg.pinv(weight).mT
    return back


def measure_stitching() -> None:
    """Fill book/results/mapping_stitching.json."""
    recorder = recorder_of(
        "stitching",
        "the head of one network on the features of another, by the images that map them",
        STITCHING,
        data=("handwritten-digits",),
        packages=("torch", "scipy"),
        settings={"width": 64, "epochs": 30, "rate": 0.001},
    )

    def measure(key: results.Row) -> dict[str, float]:
        of, n, method = stitched(key["seed"]), key["pairs"], key["method"]
        target, new = of.train["target"][:n], of.test["source"]
        source = of.train["source"][:n]
        if method == "its own features":
            new = of.test["target"]
        elif method == "units matched":
            new = new[:, matched(source, target)]
        elif method == "Procrustes":
            new = linear(new, *procrustes(source, target))
        elif method == "canonical, twice as wide":
            new = there_and_back(of.train["wide"][:n], target, of.test["wide"])
        elif method == "Procrustes, untrained network":
            source = of.train["untrained"][:n]
            scale = (target.var(0).sum() / source.var(0).sum()).sqrt()
            new = linear(scale * of.test["untrained"], *procrustes(scale * source, target))
        with torch.no_grad():
            return {"accuracy": round(accuracy(of.head(new), of.labels), 4)}

    recorder.measure(
        [
            {"method": method, "pairs": n, "seed": seed}
            for seed in SEEDS
            for method in STITCHING
            for n in PAIRS
        ],
        measure,
    )


# --- names ---

NAMES = {
    "identity": ("The nearest English embedding.", FIXED),
    "Procrustes": ("The same after rotation and shift, found on the pairs.", FIXED),
    "canonical": (
        "The same in 200 canonical directions, each times its correlation.",
        "ridge by accuracy on a fifth of the pairs, held out",
    ),
}
RIDGES = (0.001, 0.003, 0.01, 0.03)


@cache
def embedded(language: str) -> tuple[Tensor, Tensor]:
    """Embeddings of names in a language and of the English ones, where they differ."""
    names = cldr_names(language)
    pairs = zip(names.targets, names.sources, strict=True)
    differ = [(other, en) for other, en in pairs if other.casefold() != en.casefold()]
    encoder = minilm()
    others, english = ([pair[k] for pair in differ] for k in (0, 1))
    return encoder.sentences(others, progress=False), encoder.sentences(english, progress=False)


def retrieved(source: Tensor, target: Tensor) -> float:
    """Share of rows whose nearest target row, by the angle, is their own."""
    s, t = (nn.functional.normalize(rows) for rows in (source, target))
    return accuracy(s @ t.mT, torch.arange(len(s)))


def canonical(source: Tensor, target: Tensor, ridge: float, *new: Tensor) -> float:
    """Retrieve new rows in canonical directions that were found on others."""
    maps = canonical_correlation(source, target, width=200, ridge=ridge)
    s, t = linear(new[0], *maps.source), linear(new[1], *maps.target)
    return retrieved(s * maps.correlations, t * maps.correlations)


def measure_names() -> None:
    """Fill book/results/mapping_names.json."""
    recorder = recorder_of(
        "names",
        "names of another language to English ones, in one space, by the pairs to learn from",
        NAMES,
        data=("cldr-names",),
        weights=("minilm",),
        packages=("torch", "babel", "transformers"),
        settings={"test pairs": 400, "ridges": RIDGES},
    )

    def measure(key: results.Row) -> dict[str, float]:
        source, target = embedded(key["language"])
        order = torch.randperm(len(source), generator=torch.Generator().manual_seed(key["seed"]))
        test, pairs = order[:400], order[400 : 400 + key["pairs"]]
        s, t, new = source[pairs], target[pairs], (source[test], target[test])
        if key["method"] == "identity":
            return {"accuracy": round(retrieved(*new), 4)}
        if key["method"] == "Procrustes":
            return {"accuracy": round(retrieved(linear(new[0], *procrustes(s, t)), new[1]), 4)}
        cut = len(s) // 5
        held = (s[:cut], t[:cut])
        ridge = max(RIDGES, key=lambda r: (canonical(s[cut:], t[cut:], r, *held), r))
        return {"accuracy": round(canonical(s, t, ridge, *new), 4)}

    recorder.measure(
        [
            {"method": method, "language": language, "pairs": n, "seed": seed}
            for language in ("de", "fr", "es")
            for method in NAMES
            for n in (50, 100, 200, 400)
            for seed in SEEDS
        ],
        measure,
    )


# --- barriers ---

BARRIERS = {
    "line": ("The straight line between the two networks as they are.", FIXED),
    "line, units matched": (
        "The same after permuting the units of the first by weight matching.",
        FIXED,
    ),
    "curve": (
        "A Bézier curve between the networks as they are, its bend trained for 600 steps.",
        "steps and rate by the training loss of another pair of networks",
    ),
}
WIDTHS = (8, 16, 32, 64, 128, 256)
DRAWN = 32  # the width whose ways are kept point by point


@cache
def pair_of(width: int, seed: int) -> tuple[State, State, nn.Module, Images, Images]:
    """Train two networks apart: other first weights, other batches, the same images."""
    train, test = digits(seed, (1000, 797))
    networks = [perceptron(width, seed=10 * seed + k) for k in (0, 1)]
    states = [trained(network, train, seed=10 * seed + k) for k, network in enumerate(networks)]
    return states[0], states[1], networks[0], train, test


def measure_barriers() -> None:
    """Fill book/results/mapping_barriers.json."""
    recorder = recorder_of(
        "barriers",
        "the way from one network to another that was trained apart, by their width",
        BARRIERS,
        data=("handwritten-digits",),
        packages=("torch", "scipy"),
        settings={"epochs": 30, "rate": 0.001, "points of a way": 21},
    )

    def measure(key: results.Row) -> dict[str, float]:
        source, target, network, train, test = pair_of(key["width"], key["seed"])
        if key["method"] == "line, units matched":
            axes = merging.unit_axes(source, layers=LAYERS)
            generator = torch.Generator().manual_seed(key["seed"])
            places = merging.weight_matching(source, target, axes=axes, generator=generator)
            source = merging.permute(source, places, axes=axes)
        path: Callable[[float], State]
        if key["method"] == "curve":
            bend = connect(source, target, network=network, images=train, seed=key["seed"])
            path = lambda t: merging.bezier(source, bend, target, share=t)  # noqa: E731
        else:
            path = lambda t: merging.interpolate(source, target, share=t)  # noqa: E731
        losses, accuracies = walk(path, network=network, images=test)
        on_train, _ = walk(path, network=network, images=train)
        if key["width"] == DRAWN:
            points = zip(losses.tolist(), accuracies.tolist(), strict=True)
            ways = [
                key | {"share": k / 20, "loss": round(loss, 4), "accuracy": round(share, 4)}
                for k, (loss, share) in enumerate(points)
            ]
            recorder.extend("ways", ways)
        return {
            "barrier": round(merging.barrier(losses).item(), 4),
            "training_barrier": round(merging.barrier(on_train).item(), 4),
            "lowest_accuracy": round(accuracies.min().item(), 4),
            "middle_accuracy": round(accuracies[10].item(), 4),
        }

    recorder.measure(
        [
            {"method": method, "width": width, "seed": seed}
            for width in WIDTHS
            for seed in SEEDS
            for method in BARRIERS
        ],
        measure,
    )


# --- soups and tasks ---


def only(images: Images, which: Tensor) -> Images:
    """Keep some images."""
    return replace(images, images=images.images[which], labels=images.labels[which])


WIDTH = 128
PEOPLE, OWN = 8, 50


@cache
def pretrained(seed: int) -> tuple[nn.Module, State]:
    """Train the network that others fine-tune, on 4,000 rendered digits."""
    network = perceptron(WIDTH, seed=seed, size=16)
    return network, trained(network, rendered_digits(4000, seed=seed), seed=seed, epochs=10)


SOUPS = {
    "start": ("The network trained on rendered digits.", FIXED),
    "one, mean of eight": ("Fine-tuned by one person on 50 digits; the mean of the eight.", FIXED),
    "one, best of eight": ("The one of the eight with the best validation accuracy.",
                           "which one, by 200 validation digits"),
    "soup": ("The average of the eight networks' parameters.", FIXED),
    "greedy soup": ("Averages those that make the average no worse.",
                    "who joins, by 200 validation digits"),
    "ensemble": ("The average of the eight networks' probabilities; eight times the work.", FIXED),
    "all digits in one place": ("Fine-tuned on the 400 digits of all together.", FIXED),
    "soup of strangers": ("The average of eight trained on the same digits from first weights of "
                          "their own.", FIXED),
    "soup of strangers, units matched": ("The same, each permuted to match the first.", FIXED),
    "one stranger, mean of eight": ("One of these eight; the mean.", FIXED),
    "one, same digits": ("Fine-tuned on the same 50 digits, in eight orders; the mean.",
                         FIXED),
    "soup, same digits": ("The average of these eight.", FIXED),
}  # fmt: skip


class Kitchen(NamedTuple):
    """What the soups of a seed are made of."""

    network: nn.Module
    start: State
    tuned: list[State]
    strangers: list[State]
    together: State
    alike: list[State]
    validation: Images
    test: Images


@cache
def kitchen(seed: int) -> Kitchen:
    """Fine-tune eight networks from one start, train eight from starts of their own."""
    network, start = pretrained(seed)
    *own, validation, test = digits(seed, (*[OWN] * PEOPLE, 200, 1000), size=16)
    tuned = [
        trained(network, part, seed=10 * seed + k, start=start, epochs=60, rate=0.003)
        for k, part in enumerate(own)
    ]
    strangers = [
        trained(perceptron(WIDTH, seed=100 * seed + k + 1, size=16), part, seed=10 * seed + k,
                epochs=60, rate=0.003)
        for k, part in enumerate(own)
    ]  # fmt: skip
    (everyone,) = digits(seed, (OWN * PEOPLE,), size=16)
    together = trained(network, everyone, seed=seed, start=start, epochs=60, rate=0.003)
    alike = [
        trained(network, own[0], seed=10 * seed + k, start=start, epochs=60, rate=0.003)
        for k in range(PEOPLE)
    ]
    return Kitchen(network, start, tuned, strangers, together, alike, validation, test)


def mixed(states: list[State], network: nn.Module, images: Images) -> float:
    """Accuracy of the average of the networks' probabilities."""
    total = torch.zeros(len(images), 10)
    for state in states:
        network.load_state_dict(state)
        total += predict(network, images.images).softmax(1)
    return accuracy(total.log(), images.labels)


def measure_soups() -> None:
    """Fill book/results/mapping_soups.json."""
    recorder = recorder_of(
        "soups",
        "eight networks fine-tuned from one start on 50 digits each, and their averages",
        SOUPS,
        data=("rendered-glyphs", "handwritten-digits"),
        packages=("torch", "scipy"),
        settings={"width": WIDTH, "people": PEOPLE, "digits each": OWN, "epochs": 60,
                  "rate": 0.003},
    )  # fmt: skip

    def measure(key: results.Row) -> dict[str, float]:
        of, method = kitchen(key["seed"]), key["method"]
        score = partial(accuracy_of, network=of.network, images=of.test)
        held_out = partial(accuracy_of, network=of.network, images=of.validation)
        if method == "start":
            reached = score(of.start)
        elif method == "one, mean of eight":
            reached = sum(map(score, of.tuned)) / PEOPLE
        elif method == "one stranger, mean of eight":
            reached = sum(map(score, of.strangers)) / PEOPLE
        elif method == "one, same digits":
            reached = sum(map(score, of.alike)) / PEOPLE
        elif method == "soup, same digits":
            reached = score(merging.soup(of.alike))
        elif method == "one, best of eight":
            reached = score(max(of.tuned, key=held_out))
        elif method == "soup":
            reached = score(merging.soup(of.tuned))
        elif method == "greedy soup":
            reached = score(merging.greedy_soup(of.tuned, held_out).state)
        elif method == "ensemble":
            reached = mixed(of.tuned, of.network, of.test)
        elif method == "all digits in one place":
            reached = score(of.together)
        else:
            first, *others = of.strangers
            if method.endswith("units matched"):
                axes = merging.unit_axes(first, layers=LAYERS)
                generator = torch.Generator().manual_seed(key["seed"])
                match = partial(merging.weight_matching, axes=axes, generator=generator)
                others = [
                    merging.permute(other, match(other, first), axes=axes) for other in others
                ]
            reached = score(merging.soup([first, *others]))
        return {"accuracy": round(reached, 4)}

    recorder.measure(
        [{"method": method, "seed": seed} for seed in SEEDS for method in SOUPS], measure
    )


BY_VALIDATION = "every scale is measured; `validation`, 200 digits, chooses among them"
TASKS = {
    "start": ("The network trained on rendered digits.", FIXED),
    "tuned on 0 to 4": ("Fine-tuned on the digits 0 to 4 of 800.", FIXED),
    "tuned on 5 to 9": ("Fine-tuned on the digits 5 to 9 of the same 800.", FIXED),
    "tuned on all": ("Fine-tuned on all of them in one place.", FIXED),
    "sum": ("The start plus the sum of both task vectors, times the scale.", BY_VALIDATION),
    "minus 0 to 4": ("The start less the first task vector, times the scale.", "nothing chosen"),
}
SCALES = tuple(k / 10 for k in range(1, 16))


@cache
def tuned_by_two(seed: int) -> tuple[nn.Module, dict[str, State], Images, Images]:
    """Fine-tune the start on each half of the classes, and on all."""
    network, start = pretrained(seed)
    train, validation, test = digits(seed, (800, 200, 797), size=16)
    low = train.labels < 5
    parts = {"0 to 4": only(train, low), "5 to 9": only(train, ~low), "all": train}
    states = {
        f"tuned on {name}": trained(network, part, seed=seed, start=start, epochs=20, rate=3e-4)
        for name, part in parts.items()
    }
    return network, {"start": start, **states}, validation, test


def measure_tasks() -> None:
    """Fill book/results/mapping_tasks.json."""
    recorder = recorder_of(
        "tasks",
        "task vectors of two halves of the digits, added and subtracted, by their scale",
        TASKS,
        data=("rendered-glyphs", "handwritten-digits"),
        settings={"width": WIDTH, "epochs": 20, "rate": 0.0003},
    )

    def measure(key: results.Row) -> dict[str, float]:
        network, states, validation, test = tuned_by_two(key["seed"])
        start, scale = states["start"], key["scale"]
        first, second = (
            merging.task_vector(start, states[f"tuned on {name}"]) for name in ("0 to 4", "5 to 9")
        )
        if key["method"] == "sum":
            state = merging.add_task_vectors(start, first, second, scale=scale)
        elif key["method"].startswith("minus"):
            state = merging.add_task_vectors(start, first, scale=-scale)
        else:
            state = states[key["method"]]
        score = partial(accuracy_of, state, network=network)
        low = test.labels < 5
        values = {
            "accuracy": score(images=test),
            "on_0_to_4": score(images=only(test, low)),
            "on_5_to_9": score(images=only(test, ~low)),
            "validation": score(images=validation),
        }
        return {name: round(value, 4) for name, value in values.items()}

    recorder.measure(
        [
            {"method": method, "scale": scale, "seed": seed}
            for seed in SEEDS
            for method in TASKS
            for scale in (SCALES if method in ("sum", "minus 0 to 4") else (1.0,))
        ],
        measure,
    )


# --- three kinds of mapping on one problem ---

LABELLED = (10, 50)
MAPPINGS = {
    "none": ("The network trained on rendered digits.", FIXED),
    "features: CORAL map": (
        "The target's features mapped to the mean and covariance of the source's.",
        "ridge 0.1, set by hand and not tuned",
    ),
    "instances: weights": (
        "Trained anew on the source, drawn with the weights of a classifier of the domain, which "
        "sees a few principal components of the pixels.",
        "as many components, of 2 to 12, as leave an effective sample of a tenth of the source",
    ),
    "instances: pseudo-labels": (
        "Trained on, with the target's inputs of which it is sure by 0.9, as it labels them; "
        "three rounds.",
        "set by hand and not tuned",
    ),
    "from scratch": ("Trained on the labelled target digits alone.", FIXED),
    "features: new head": ("The first layers kept, the head trained on the target.", FIXED),
    "parameters: fine-tuning": ("All layers trained on, on the labelled target digits.", FIXED),
    "instances: both together": (
        "Trained anew on the source and the labelled target digits, repeated to 500.",
        "500: set by hand and not tuned",
    ),
}


def joined(*parts: Images) -> Images:
    """Join images of the same classes."""
    images = torch.cat([part.images for part in parts])
    return replace(parts[0], images=images, labels=torch.cat([part.labels for part in parts]))


def feature_map(network: nn.Module, source: Images, target: Images, test: Images) -> float:
    """Score the head on test features that are mapped to the source's moments."""
    views = [
        extract(network, part.images, layers=[FEATURES])[FEATURES]
        for part in (source, target, test)
    ]
    layer = coral_map(views[1], views[0], ridge=0.1)
    with torch.no_grad():
        logits = network.get_submodule("5")(linear(views[2], *layer))
    return accuracy(logits, test.labels)


def drawn_by_weight(source: Images, target: Images, seed: int) -> Images:
    """Draw as many source images as there are, each in proportion to its weight."""
    pixels = [part.images.flatten(1) for part in (source, target)]
    both = torch.cat(pixels)
    directions = torch.linalg.svd(both - both.mean(0), full_matrices=False).Vh.mT
    for k in (12, 8, 6, 4, 3, 2):
        with warnings.catch_warnings():  # of little overlap: what the loop looks for
            warnings.simplefilter("ignore")
            weights = classifier_ratio(*(part @ directions[:, :k] for part in pixels))
        if effective_sample_size(weights) >= len(source) / 10:
            break
    generator = torch.Generator().manual_seed(seed)
    return only(source, torch.multinomial(weights, len(source), True, generator=generator))


def self_trained(
    network: nn.Module, start: State, source: Images, target: Images, seed: int
) -> State:
    """Train on with guesses of which the network is sure, three times."""
    state = start
    for turn in range(3):
        network.load_state_dict(state)
        labels, sure = pseudo_labels(predict(network, target.images), threshold=0.9)
        guessed = replace(target, images=target.images[sure], labels=labels[sure])
        together = joined(source, guessed)
        state = trained(network, together, seed=seed + turn, start=state, epochs=3)
    return state


def measure_mappings() -> None:
    """Fill book/results/mapping_mappings.json."""
    recorder = recorder_of(
        "mappings",
        "rendered to handwritten digits by mappings of three kinds",
        MAPPINGS,
        data=("rendered-glyphs", "handwritten-digits"),
        packages=("torch", "scikit-learn"),
        settings={"width": WIDTH, "target inputs": 1000},
    )

    def measure(key: results.Row) -> dict[str, float]:
        seed, method = key["seed"], key["method"]
        network, start = pretrained(seed)
        network.load_state_dict(start)
        source = rendered_digits(4000, seed=seed)
        inputs, test = digits(seed, (1000, 797), size=16)
        each = max(key["labels"] // 10, 1)
        rows = [(inputs.labels == digit).nonzero()[:each, 0] for digit in range(10)]
        labelled = only(inputs, torch.cat(rows))
        if method == "features: CORAL map":
            return {"accuracy": round(feature_map(network, source, inputs, test), 4)}
        if method == "none":
            state = start
        elif method == "instances: weights":
            drawn = drawn_by_weight(source, inputs, seed)
            fresh = perceptron(WIDTH, seed=seed, size=16)
            state = trained(fresh, drawn, seed=seed, epochs=10)
        elif method == "instances: pseudo-labels":
            state = self_trained(network, start, source, inputs, seed)
        elif method == "from scratch":
            fresh = perceptron(WIDTH, seed=seed, size=16)
            state = trained(fresh, labelled, seed=seed, epochs=60)
        elif method == "features: new head":
            network.requires_grad_(False)
            network.get_submodule("5").requires_grad_(True)
            state = trained(network, labelled, seed=seed, start=start, epochs=60)
            network.requires_grad_(True)
        elif method == "parameters: fine-tuning":
            state = trained(network, labelled, seed=seed, start=start, epochs=60)
        else:
            together = joined(source, *[labelled] * (500 // key["labels"]))
            fresh = perceptron(WIDTH, seed=seed, size=16)
            state = trained(fresh, together, seed=seed, epochs=10)
        return {"accuracy": round(accuracy_of(state, network=network, images=test), 4)}

    recorder.measure(
        [
            {"method": method, "labels": labels, "seed": seed}
            for seed in SEEDS
            for k, method in enumerate(MAPPINGS)
            for labels in (LABELLED if k > 3 else (0,))
        ],
        measure,
    )


if __name__ == "__main__":
    run_recipe(
        __doc__,
        {
            "stitching": measure_stitching,
            "names": measure_names,
            "barriers": measure_barriers,
            "soups": measure_soups,
            "tasks": measure_tasks,
            "mappings": measure_mappings,
        },
    )
