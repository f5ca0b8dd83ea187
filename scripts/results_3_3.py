"""Measure the tables of section 3.3 and write them to book/results.

    OMP_NUM_THREADS=1 python scripts/results_3_3.py tables
    OMP_NUM_THREADS=1 python scripts/results_3_3.py boosting
    OMP_NUM_THREADS=1 python scripts/results_3_3.py selection
    OMP_NUM_THREADS=1 python scripts/results_3_3.py noise
    OMP_NUM_THREADS=1 python scripts/results_3_3.py augmentation
    OMP_NUM_THREADS=1 python scripts/results_3_3.py style
    OMP_NUM_THREADS=1 python scripts/results_3_3.py pseudo

The files are written after each row; a second call goes on where the first one stopped.

tables: half of the rows of a table are the target, without labels where weights are estimated, and
with labels to test. From the other half a biased sample is drawn as source. A seed draws halves and
sample.

boosting: a source of 250 or 300 labelled rows and a target of 10 or 40. Either both are tumours and
some labels of the source are wrong, or the source are rendered digits and the target handwritten
ones. A seed draws everything.

selection, noise, pseudo: frozen features of EfficientNet-Lite0 on the patches of section 5.2, 20 of
each left half to choose among; the 400 patches of right halves test and choose nothing. A seed
draws the patches. augmentation: a small network trained from scratch on such patches at 48 pixels.
style: patches in even light are the source, patches in haze under a light from below the target.
"""

import warnings
from collections.abc import Callable, Sequence
from functools import cache, partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from recipes import run_recipe
from sklearn.linear_model import LogisticRegression, Ridge
from sklearn.model_selection import StratifiedKFold
from sklearn.tree import DecisionTreeClassifier
from torch import Tensor
from torch.nn.functional import cross_entropy, normalize, one_hot

from mapping_lib import instances
from mapping_lib.adaptation import information_maximisation
from mapping_lib.augmentation import cutmix, fourier_mix, mixup, pseudo_labels, rand_augment
from mapping_lib.lab import backbones
from mapping_lib.lab.adapting import digit_problem
from mapping_lib.lab.data import Images, breast_cancer, photographs
from mapping_lib.lab.results import Method, Recorder
from mapping_lib.lab.shifts import BIASES, Style, biased_table, cropped, hazed, standardised
from mapping_lib.lab.training import accuracy, predict

FOLDER = Path(__file__).resolve().parents[1] / "book" / "results"
PACKAGES = ("torch", "torchvision", "scikit-learn", "numpy", "scipy", "pillow")
NOTHING = "nothing to choose"


# tables

Weigh = Callable[[Tensor, Tensor, Tensor, int], Tensor | None]  # source, target, true ratio, seed


def matched(ridge: float, bound: float = 1000.0) -> Weigh:
    """Return kernel mean matching with a ridge and a bound."""
    return lambda source, target, *_: instances.kernel_mean_matching(
        source, target, ridge=ridge, bound=bound
    )


def likely(source: Tensor, target: Tensor, true: Tensor, seed: int) -> Tensor:
    """Weigh by KLIEP."""
    generator = torch.Generator().manual_seed(seed)
    return instances.kliep(source, target, bandwidth=BANDWIDTHS, generator=generator)


BANDWIDTHS = (0.3, 0.5, 1.0, 2.0, 4.0)
WEIGHTINGS: dict[str, tuple[Weigh, str, str]] = {
    "unweighted": (lambda *_: None, "The biased sample as it is.", NOTHING),
    "true ratio": (
        lambda source, target, true, seed: true,
        "The inverse of the probability with which each row was drawn: only we know it.",
        NOTHING,
    ),
    "classifier": (
        lambda source, target, *_: instances.classifier_ratio(source, target),
        "Ratio by a logistic regression that tells the domains apart.",
        "the library's regularisation, 1",
    ),
    "KLIEP": (
        likely,
        "Mixture of kernels of largest likelihood, 100 centres.",
        f"bandwidth of {BANDWIDTHS} by its likelihood on held-out target rows",
    ),
    "KMM": (
        matched(1.0),
        "Kernel mean matching, median bandwidth.",
        "the library's ridge, 1",
    ),
    "KMM, ridge 0.1": (matched(0.1), "The same with a smaller ridge.", "set by hand, to compare"),
    "KMM, ridge 10": (matched(10.0), "The same with a larger ridge.", "set by hand, to compare"),
    "KMM, no ridge": (
        matched(0.0),
        "Kernel mean matching as in the paper: no ridge, bound 1,000.",
        "the paper's bound",
    ),
    "KMM, no ridge, bound 3": (matched(0.0, 3.0), "The same, bound 3.", "set by hand, to compare"),
    "unweighted, weak penalty": (
        lambda *_: None,
        "The biased sample as it is; a tenth of the penalty on the model's coefficients.",
        "set by hand, to compare",
    ),
    "KMM, weak penalty": (matched(1.0), "KMM with that penalty.", "set by hand, to compare"),
    "unbiased sample": (
        lambda *_: None,
        "As many rows drawn evenly: what the bias costs.",
        NOTHING,
    ),
}


def tables_row(key: dict[str, Any]) -> dict[str, float]:
    """Train on a weighted biased sample; give the score on the target."""
    method, seed = key["method"], key["seed"]
    drawn = biased_table(key["table"], seed=seed, biased=method != "unbiased sample")
    weights = WEIGHTINGS[method][0](drawn.source, drawn.target, drawn.ratio, seed)
    sample_weight = None if weights is None else (weights / weights.mean()).numpy()
    penalty = 0.1 if method.endswith("weak penalty") else 1.0
    model = (
        Ridge(penalty)
        if key["table"] == "diabetes"
        else LogisticRegression(C=1 / penalty, max_iter=1000)
    )
    model.fit(drawn.source.numpy(), drawn.source_truth.numpy(), sample_weight)
    share = 1.0 if weights is None else instances.effective_sample_size(weights) / len(weights)
    return {
        "score": round(float(model.score(drawn.target.numpy(), drawn.target_truth.numpy())), 4),
        "effective_share": round(float(share), 4),
    }


# boosting

Pair = tuple[Tensor, Tensor]  # rows, labels
LABELS = (10, 40)
BOOSTED = {
    "target only": "Logistic regression on the target's labels.",
    "source only": "Logistic regression on the source's labels.",
    "both together": "Logistic regression on all rows, each with the same weight.",
    "both, half and half": "The same; source and target get half of the weight each.",
    "TrAdaBoost": "20 rounds of logistic regression; the target alone if the rounds can't start.",
    "TrAdaBoost, half and half": "The same; in each round the source's and the target's weights "
    "are scaled to half of the sum each.",
    "TrAdaBoost, stumps": "20 rounds of decision trees of depth 1.",
    "stump, target only": "One decision tree of depth 1 on the target's labels.",
}
PROBLEMS = {
    "tumours": 0.0,
    "tumours, 30 % wrong": 0.3,
    "tumours, 45 % wrong": 0.45,
    "3 or 8": None,
    "4 or 9": None,
}


def tumours(seed: int, labels: int, wrong: float) -> tuple[Pair, Pair, Pair]:
    """Source, labelled target and test rows of one table; some source labels are wrong."""
    table = breast_cancer()
    rows = (table.features - table.features.mean(0)) / table.features.std(0)
    generator = torch.Generator().manual_seed(seed)
    source, few, test = torch.randperm(len(rows), generator=generator).split([250, 50, 269])
    flipped = torch.rand(250, generator=generator) < wrong
    known = torch.where(flipped, 1 - table.labels[source], table.labels[source])
    few = both_classes(few, table.labels, labels)
    return (rows[source], known), (rows[few], table.labels[few]), (rows[test], table.labels[test])


def two_digits(seed: int, labels: int, digits: tuple[int, int]) -> tuple[Pair, Pair, Pair]:
    """Rendered digits as source, handwritten ones as target: is it the second of the two?"""
    problem = digits_of(seed)
    generator = torch.Generator().manual_seed(seed)

    def part(images: Images, count: int | None) -> Pair:
        order = torch.randperm(len(images), generator=generator)
        order = order[torch.isin(images.labels[order], torch.tensor(digits))]
        kind = (images.labels == digits[1]).long()
        chosen = order if count is None else both_classes(order, kind, count)
        return images.images[chosen].flatten(1), kind[chosen]

    return (
        part(problem.source, 300),
        part(problem.target, labels),
        part(problem.target_test, None),
    )


@cache
def digits_of(seed: int) -> Any:
    """Rendered to handwritten digits."""
    return digit_problem(seed)


def both_classes(order: Tensor, kind: Tensor, count: int) -> Tensor:
    """Return the first rows of an order, at least one of each class."""
    chosen = order[:count]
    if len(kind[chosen].unique()) == 1:
        other = order[kind[order] != kind[chosen[0]]][:1]
        chosen = torch.cat([chosen[:-1], other])
    return chosen


def logistic(rows: Tensor, labels: Tensor, weights: Tensor) -> instances.Hypothesis:
    """Fit a logistic regression by weights of any sum."""
    scaled = (weights / weights.mean()).numpy()
    model = LogisticRegression(max_iter=1000).fit(rows.numpy(), labels.numpy(), scaled)
    return lambda x: torch.as_tensor(model.predict(x.numpy()))


def stump(rows: Tensor, labels: Tensor, weights: Tensor) -> instances.Hypothesis:
    """Fit a decision tree of depth 1."""
    model = DecisionTreeClassifier(max_depth=1, random_state=0)
    model.fit(rows.numpy(), labels.numpy(), (weights / weights.mean()).numpy())
    return lambda x: torch.as_tensor(model.predict(x.numpy()))


def half_and_half(weights: Tensor, n: int) -> Tensor:
    """Scale the weights of the first n rows and those of the others to one sum."""
    return torch.cat([weights[:n] / weights[:n].sum(), weights[n:] / weights[n:].sum()])


def balanced_logistic(
    n: int, rows: Tensor, labels: Tensor, weights: Tensor
) -> instances.Hypothesis:
    """Fit a logistic regression to which the first n rows and the others say as much."""
    return logistic(rows, labels, half_and_half(weights, n))


def boosting_row(key: dict[str, Any]) -> dict[str, float]:
    """Learn from source and few target labels; give the accuracy on other target rows."""
    method, wrong = key["method"], PROBLEMS[key["problem"]]
    if wrong is None:
        first, second = key["problem"].split(" or ")
        found = two_digits(key["seed"], key["labels"], (int(first), int(second)))
    else:
        found = tumours(key["seed"], key["labels"], wrong)
    (source, known), (target, few), (rows, truth) = found
    n, m = len(source), len(target)
    learner = stump if "stump" in method else logistic
    everything, all_labels = torch.cat([source, target]), torch.cat([known, few])
    even = torch.ones(n + m)
    alone = partial(learner, target, few, torch.ones(m))
    share, rounds = m / (n + m), 0
    if method.startswith("TrAdaBoost"):
        balanced = partial(balanced_logistic, n) if method.endswith("half and half") else learner
        try:
            boosted = instances.tradaboost(source, known, target, few, rounds=20, learner=balanced)
            said, rounds = boosted.predict(rows), len(boosted.hypotheses)
            share = float(boosted.weights[-1, n:].sum())
        except ValueError:  # the first hypothesis is no better than chance on the target
            said, share = alone()(rows), 1.0
    elif method.endswith("target only"):
        said, share = alone()(rows), 1.0
    elif method == "source only":
        said, share = learner(source, known, torch.ones(n))(rows), 0.0
    else:
        halved = method.endswith("half and half")
        weights = half_and_half(even, n) if halved else even
        said, share = learner(everything, all_labels, weights)(rows), 0.5 if halved else share
    return {
        "accuracy": round((said == truth).double().mean().item(), 4),
        "target_share": round(share, 4),
        "rounds": rounds,
    }


# frozen features


@cache
def backbone() -> backbones.Backbone:
    """EfficientNet-Lite0 with its ImageNet weights."""
    return backbones.efficientnet_lite0()


def frozen(images: Tensor) -> Tensor:
    """Return frozen features."""
    return backbones.features(backbone(), images, progress=False)


@cache
def pool(seed: int) -> Pair:
    """Features of 20 patches of each left half, class by class."""
    train, _ = photographs(20, seed=seed, size=96, test_per_class=1)
    return frozen(train.images), train.labels


@cache
def tested() -> Pair:
    """Features of the 400 patches of right halves."""
    _, test = photographs(1, seed=0, size=96)
    return frozen(test.images), test.labels


def probe(
    rows: Tensor, labels: Tensor, *, c: float = 1.0, weights: Tensor | None = None
) -> LogisticRegression:
    """Fit a logistic regression on features."""
    sample_weight = None if weights is None else weights.numpy()
    model = LogisticRegression(C=c, max_iter=5000)
    return model.fit(rows.numpy(), labels.numpy(), sample_weight)


def score(model: LogisticRegression, pair: Pair) -> float:
    """Return accuracy."""
    return round(float(model.score(pair[0].numpy(), pair[1].numpy())), 4)


# selection

COUNTS = (20, 40, 60, 100, 200)
SELECTIONS = {
    "at random": "Patches drawn evenly from the pool.",
    "k-center": "Greedy k-center on the features as they are, from a random first patch.",
    "k-center, rows of norm 1": "The same on features divided by their norm.",
    "class by class": "The same number of patches of each class: needs the labels that are to be "
    "bought.",
}


def selection_row(key: dict[str, Any]) -> dict[str, float]:
    """Choose patches to label without labels, learn from them."""
    rows, labels = pool(key["seed"])
    count, method = key["count"], key["method"]
    generator = torch.Generator().manual_seed(key["seed"])
    if method == "at random":
        chosen = torch.randperm(len(rows), generator=generator)[:count]
    elif method == "class by class":
        chosen = torch.arange(len(rows)).view(20, 20)[:, : count // 20].flatten()
    else:
        view = normalize(rows) if method.endswith("norm 1") else rows
        chosen = instances.k_center(view, count=count, generator=generator)
    rest = torch.cdist(normalize(rows), normalize(rows[chosen])).amin(1)
    return {
        "accuracy": score(probe(rows[chosen], labels[chosen]), tested()),
        "classes": len(labels[chosen].unique()),
        "norm": round(float(rows[chosen].norm(dim=1).mean() / rows.norm(dim=1).mean()), 4),
        "farthest": round(float(rest.max()), 4),
    }


# noise

SHARES = (0.5, 0.6, 0.7, 0.8, 0.9)
PENALTIES = (0.0001, 0.001, 0.01, 0.1, 1.0)
PACES = 3  # of the age, up to the share that is let in at last
BY_NOISY = "by three-fold cross-validation on the labels there are, the wrong ones among them"
PACED = {
    "all rows": ("Logistic regression with C = 1 on all rows.", NOTHING),
    "all rows, chosen penalty": (
        "The same; the penalty is chosen.",
        f"C of {PENALTIES} {BY_NOISY}",
    ),
    "self-paced": (
        "Logistic regression with C = 1; the age lets in a share of the rows that grows from 0.2 "
        "to its last value.",
        f"last share of {(*SHARES, 1.0)} {BY_NOISY}",
    ),
    "right rows only": ("The rows whose labels are right: only we know them.", NOTHING),
}


def paced(rows: Tensor, labels: Tensor, share: float) -> tuple[Any, Tensor]:
    """Let easy rows in first, up to a share of all; give the model and the last weights."""
    weights = torch.ones(len(rows))
    model = probe(rows, labels)
    for now in np.linspace(0.2, share, PACES) if share < 1 else ():
        logits = torch.as_tensor(model.decision_function(rows.numpy()))
        losses = cross_entropy(logits, labels, reduction="none")
        age = float(losses.quantile(now))
        weights = instances.self_paced_weights(losses, age=age).float()
        model = probe(rows, labels, weights=weights + 1e-6)
    return model, weights


@cache
def turned(seed: int) -> tuple[Tensor, Tensor, Pair]:
    """The pool and the test patches in the axes of the pool's 400 singular vectors.

    A penalised logistic regression is the same there, and faster: it never leaves their span.
    """
    rows, labels = pool(seed)
    axes = torch.linalg.svd(rows, full_matrices=False).Vh.T
    return rows @ axes, labels, (tested()[0] @ axes, tested()[1])


def noise_row(key: dict[str, Any]) -> dict[str, float]:
    """Learn from patches of which a share has wrong labels."""
    rows, truth, test = turned(key["seed"])
    generator = torch.Generator().manual_seed(key["seed"])
    wrong = torch.rand(len(rows), generator=generator) < key["wrong"]
    others = (truth + torch.randint(1, 20, (len(rows),), generator=generator)) % 20
    labels = torch.where(wrong, others, truth)
    method = key["method"]

    def trained(setting: float, chosen: Tensor) -> tuple[Any, Tensor]:
        if method == "all rows, chosen penalty":
            return probe(rows[chosen], labels[chosen], c=setting), torch.ones(len(chosen))
        return paced(rows[chosen], labels[chosen], setting)

    everything = torch.arange(len(rows))
    if method in ("all rows", "right rows only"):
        chosen = everything[~wrong] if method == "right rows only" else everything
        values = {"setting": 1.0, "oracle": 0.0}
        model, weights = probe(rows[chosen], labels[chosen]), (~wrong | (method == "all rows"))
    else:
        settings = PENALTIES if method == "all rows, chosen penalty" else (*SHARES, 1.0)
        setting = cross_validated(settings, trained, rows, labels)
        models = {s: trained(s, everything) for s in settings}
        values = {
            "setting": setting,
            "oracle": max(score(model, test) for model, _ in models.values()),
        }
        model, weights = models[setting]
    reached = score(model, test)
    values["oracle"] = values["oracle"] or reached
    weights = weights.double()
    return {
        "accuracy": reached,
        **values,
        "wrong_let_in": round(float((weights * wrong).sum() / weights.sum()), 4),
        "let_in": round(float(weights.mean()), 4),
    }


def cross_validated(
    settings: Sequence[float],
    trained: Callable[[float, Tensor], tuple[Any, Tensor]],
    rows: Tensor,
    labels: Tensor,
) -> float:
    """Return the setting with the largest accuracy on held-out rows, the first of equals."""
    folds = list(StratifiedKFold(3, shuffle=True, random_state=0).split(rows, labels))

    def held_out(setting: float) -> float:
        return sum(
            score(trained(setting, torch.as_tensor(kept))[0], (rows[held], labels[held]))
            for kept, held in folds
        )

    return max(settings, key=held_out)


# augmentation

SIDE, STEPS, BATCH, RATE, COPIES = 48, 300, 32, 0.01, 4
CHANGES = {
    "none": "The patches as they are.",
    "crop and mirror": "A square of 60 to 100 % of the side, cut at random, half of them mirrored.",
    "RandAugment": "Two operations of strength 3 on each patch.",
    "mixup, α = 0.2": "Pairs of patches mixed, labels with them.",
    "mixup, α = 1": "The same; all shares are equally likely.",
    "CutMix": "A rectangle of another patch pasted in, labels by area, α = 1.",
    "mixup, α = 0.2, twice the steps": "600 steps in place of 300; from scratch only.",
}
BY_HAND = "α, strength and SGD's rate set by hand, the same rate for all"


def changed(method: str, images: Tensor, labels: Tensor, generator: torch.Generator) -> Pair:
    """Augment images and labels, rows of probabilities."""
    if method == "crop and mirror":
        return cropped(images, generator), labels
    if method == "RandAugment":
        return rand_augment(images, operations=2, magnitude=3, generator=generator), labels
    if method.startswith("mixup"):
        mixed = mixup(images, labels, alpha=1 if "1" in method else 0.2, generator=generator)
        return mixed.inputs, mixed.labels
    if method == "CutMix":
        mixed = cutmix(images, labels, alpha=1, generator=generator)
        return mixed.inputs, mixed.labels
    return images, labels


def augmentation_row(key: dict[str, Any]) -> dict[str, float]:
    """Learn from augmented patches, from scratch or on frozen features."""
    method, seed = key["method"], key["seed"]
    generator = torch.Generator().manual_seed(seed)
    if key["network"] == "frozen":
        train, test = photographs(5, seed=seed, size=96, test_per_class=1)
        known = one_hot(train.labels, 20).float()
        parts = [(train.images, known)]
        for _ in range(COPIES * (method != "none")):
            parts.append(changed(method, train.images, known, generator))
        rows = frozen(torch.cat([images for images, _ in parts]))
        shares = torch.cat([labels for _, labels in parts])
        row, label = shares.nonzero(as_tuple=True)  # a mixed row counts for both of its labels
        model = probe(rows[row], label, weights=shares[row, label] / len(parts))
        return {
            "accuracy": score(model, tested()),
            "train_accuracy": 1.0 * score(model, (rows[: len(train)], train.labels)),
        }
    train, test = photographs(5, seed=seed, size=SIDE)
    torch.manual_seed(seed)
    network = backbones.small_cnn(20).train()
    optimiser = torch.optim.SGD(network.parameters(), lr=RATE, momentum=0.9)
    known = one_hot(train.labels, 20).float()
    for _ in range(STEPS * (2 if "twice" in method else 1)):
        drawn = torch.randint(len(train), (BATCH,), generator=generator)
        images, labels = changed(method, train.images[drawn], known[drawn], generator)
        optimiser.zero_grad()
        cross_entropy(network(images), labels).backward()
        optimiser.step()
    return {
        "accuracy": round(accuracy(predict(network, test.images), test.labels), 4),
        "train_accuracy": round(accuracy(predict(network, train.images), train.labels), 4),
    }


# style

STYLES = ("haze", "haze and light")
FREQUENCIES = (0.0, 0.01, 0.02, 0.05, 0.1, 0.2)
STYLED = {
    "source only": "Labelled patches in even light.",
    "standardised": "Each patch, of source and target, brought to one mean and one contrast.",
    **{
        f"Fourier, share {share:g}": "The labelled patches and two mixed copies of each."
        for share in FREQUENCIES
    },
    "target labels": "The same labelled patches as the target would show them.",
}


def hazy(seed: int | None, style: Style) -> Tensor:
    """Patches in haze: 200 of the left halves to adapt to; without a seed the test patches."""
    if seed is None:
        _, test = photographs(1, seed=0, size=96)
        return hazed(test.images, style)
    others, _ = photographs(10, seed=seed + 50, size=96, test_per_class=1)
    return hazed(others.images, style)


@cache
def hazy_features(seed: int | None, style: Style, even: bool) -> Tensor:
    """Their frozen features."""
    images = hazy(seed, style)
    return frozen(standardised(images) if even else images)


def style_row(key: dict[str, Any]) -> dict[str, float]:
    """Learn in even light, test in haze."""
    method, seed, style = key["method"], key["seed"], key["style"]
    train, _ = photographs(5, seed=seed, size=96, test_per_class=1)
    unlabelled = hazy(seed, style)
    even = method == "standardised"
    images, labels = train.images, train.labels
    if even:
        images = standardised(images)
    elif method == "target labels":
        images = hazed(images, style)
    elif method.startswith("Fourier"):
        share, generator = float(method.split()[-1]), torch.Generator().manual_seed(seed)
        copies = [
            fourier_mix(images, unlabelled, share=share, generator=generator) for _ in range(2)
        ]
        images, labels = torch.cat([images, *copies]), labels.repeat(3)
    model = probe(frozen(images), labels)
    logits = logits_of(model, hazy_features(seed, style, even))
    return {
        "accuracy": score(model, (hazy_features(None, style, even), tested()[1])),
        "information": round(float(-information_maximisation(logits)), 4),
    }


# pseudo-labels

THRESHOLDS, ROUNDS = (0.0, 0.5, 0.8, 0.95), 6
PSEUDO = {
    "labels only": "Logistic regression on the labelled patches.",
    **{
        f"threshold {threshold:g}": "Six rounds: predict the other patches, add those that are "
        "sure enough with their predicted class, learn anew."
        for threshold in THRESHOLDS
    },
    "all labels": "The true labels of all patches.",
}


def pseudo_row(key: dict[str, Any], recorder: Recorder) -> dict[str, float]:
    """Learn from few labels and from the model's own guesses."""
    rows, truth = pool(key["seed"])
    method, labelled = key["method"], torch.arange(400).view(20, 20)[:, : key["labels"]].flatten()
    rest = torch.ones(400, dtype=torch.bool)
    rest[labelled] = False
    u, missing = rows[rest], truth[rest]
    model = probe(rows[labelled], truth[labelled])
    before = score(model, tested())
    first = logits_of(model, u).argmax(1) != missing  # wrong from the start
    curve = [state(model, u, missing, first) | {"accuracy": before, "taken": 0.0}]
    if method == "all labels":
        model = probe(rows, truth)
        curve = [
            state(model, u, missing, first) | {"accuracy": score(model, tested()), "taken": 1.0}
        ]
    for _ in range(ROUNDS * method.startswith("threshold")):
        found = pseudo_labels(logits_of(model, u), threshold=float(method.split()[-1]))
        mask = found.mask
        model = probe(
            torch.cat([rows[labelled], u[mask]]), torch.cat([truth[labelled], found.labels[mask]])
        )
        taken = round(float(mask.float().mean()), 4)
        curve.append(
            state(model, u, missing, first) | {"accuracy": score(model, tested()), "taken": taken}
        )
    recorder.extend(
        "rounds", [key | {"round": number} | values for number, values in enumerate(curve)]
    )
    return {"accuracy": curve[-1]["accuracy"], "before": before} | {
        name: curve[-1][name] for name in WATCHED
    }


WATCHED = ("taken", "right", "corrected", "sure_where_wrong")


def logits_of(model: LogisticRegression, rows: Tensor) -> Tensor:
    """Return logits of features."""
    return torch.as_tensor(model.decision_function(rows.numpy()))


def state(
    model: LogisticRegression, rows: Tensor, truth: Tensor, wrong: Tensor
) -> dict[str, float]:
    """Say how many guesses are right, and what became of those wrong from the start."""
    sure, guess = logits_of(model, rows).softmax(1).max(1)
    right = guess == truth
    values = {
        "right": right.float().mean(),
        "corrected": right[wrong].float().mean(),
        "sure_where_wrong": sure[wrong].mean(),
    }
    return {name: round(float(value), 4) for name, value in values.items()}


# the files


def measure(command: str, keys: list[dict[str, Any]]) -> None:
    """Fill one file."""
    name, problem, data, weights, methods, row, settings = FILES[command]
    recorder = Recorder(
        FOLDER / f"{name}.json",
        problem=problem,
        recipe=f"scripts/results_3_3.py {command}",
        data=data,
        weights=weights,
        methods=methods,
        packages=PACKAGES,
        settings=settings,
    )
    recorder.measure(keys, partial(row, recorder=recorder) if command == "pseudo" else row)


FILES: dict[str, Any] = {
    "tables": (
        "instances_tables",
        "three tables, a biased sample as source",
        ["breast-cancer", "wine", "diabetes"],
        [],
        {name: Method(what, chosen) for name, (_, what, chosen) in WEIGHTINGS.items()},
        tables_row,
        {
            name: {"features": ", ".join(columns), "strength of the bias": strength, "rows": size}
            for name, (columns, strength, size) in BIASES.items()
        },
    ),
    "boosting": (
        "instances_boosting",
        "few target labels beside a source with wrong labels, or of another domain",
        ["breast-cancer", "rendered-glyphs", "handwritten-digits"],
        [],
        {name: Method(what, NOTHING) for name, what in BOOSTED.items()},
        boosting_row,
        {"rounds": 20, "C": 1},
    ),
    "selection": (
        "instances_selection",
        "photographs, which patches to label",
        ["photographs"],
        ["efficientnet-lite0"],
        {name: Method(what, NOTHING) for name, what in SELECTIONS.items()},
        selection_row,
        {"pool": 400, "C": 1},
    ),
    "noise": (
        "instances_noise",
        "photographs, a share of the labels is wrong",
        ["photographs"],
        ["efficientnet-lite0"],
        {name: Method(*words) for name, words in PACED.items()},
        noise_row,
        {"patches": 400, "paces": PACES},
    ),
    "augmentation": (
        "instances_augmentation",
        "photographs, augmented patches, from scratch and on frozen features",
        ["photographs"],
        ["efficientnet-lite0"],
        {name: Method(what, BY_HAND) for name, what in CHANGES.items()},
        augmentation_row,
        {
            "labels a class": 5,
            "from scratch": {"size": SIDE, "steps": STEPS, "batch": BATCH, "SGD's rate": RATE},
        }
        | {"frozen": {"size": 96, "copies": COPIES, "C": 1}},
    ),
    "style": (
        "instances_style",
        "photographs, from even light to haze",
        ["photographs"],
        ["efficientnet-lite0"],
        {
            name: Method(
                what,
                "not here: every share is measured, and the page chooses by a score without labels"
                if name.startswith("Fourier")
                else NOTHING,
            )
            for name, what in STYLED.items()
        },
        style_row,
        {"labels a class": 5, "unlabelled": 200, "C": 1},
    ),
    "pseudo": (
        "instances_pseudo",
        "photographs, pseudo-labels on frozen features",
        ["photographs"],
        ["efficientnet-lite0"],
        {
            name: Method(what, "every threshold is measured" if "thr" in name else NOTHING)
            for name, what in PSEUDO.items()
        },
        pseudo_row,
        {"patches": 400, "rounds": ROUNDS, "C": 1},
    ),
}
KEYS: dict[str, Callable[[], list[dict[str, Any]]]] = {
    "tables": lambda: [
        {"method": method, "table": table, "seed": seed}
        for seed in range(20)
        for table in BIASES
        for method in WEIGHTINGS
    ],
    "boosting": lambda: [
        {"method": method, "problem": problem, "labels": labels, "seed": seed}
        for seed in range(20)
        for problem in PROBLEMS
        for labels in LABELS
        for method in BOOSTED
        if seed < 10 or "tumours" in problem
    ],
    "selection": lambda: [
        {"method": method, "count": count, "seed": seed}
        for seed in range(5)
        for count in COUNTS
        for method in SELECTIONS
    ],
    "noise": lambda: [
        {"method": method, "wrong": wrong, "seed": seed}
        for seed in range(5)
        for wrong in (0.0, 0.3)
        for method in PACED
    ],
    "augmentation": lambda: [
        {"method": method, "network": network, "seed": seed}
        for seed in range(5)
        for network in ("scratch", "frozen")
        for method in CHANGES
        if network == "scratch" or "twice" not in method
    ],
    "style": lambda: [
        {"method": method, "style": style, "seed": seed}
        for seed in range(5)
        for style in STYLES
        for method in STYLED
    ],
    "pseudo": lambda: [
        {"method": method, "labels": labels, "seed": seed}
        for seed in range(5)
        for labels in (1, 3)
        for method in PSEUDO
    ],
}


def main() -> None:
    """Run one of the recipes."""
    warnings.simplefilter("ignore", UserWarning)  # the effective share is stored
    run_recipe(__doc__, {name: lambda name=name: measure(name, KEYS[name]()) for name in FILES})


if __name__ == "__main__":
    main()
