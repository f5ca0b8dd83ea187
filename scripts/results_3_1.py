"""Measure the tables of section 3.1 and write them to book/results.

    OMP_NUM_THREADS=1 MAPPING_DATA=… python scripts/results_3_1.py office
    OMP_NUM_THREADS=1 python scripts/results_3_1.py digits
    OMP_NUM_THREADS=1 python scripts/results_3_1.py layers

The file is written after each row; a second call goes on where the first one stopped.

office: the twelve pairs of Office-Caltech-10 on SURF features, all rows of both domains, by the
nearest neighbour, prepared as is usual: each row divided by its sum, each column of a domain
standardised. Nothing is drawn, so there is one seed. `published` holds the figures of Long et al.
(2013), table 4.

digits: 1,000 rendered digits with labels to 1,000 handwritten ones without, by the nearest
neighbour, once on pixels and once on the 64 features of a small network trained on 3,200 renders
for 300 steps. A seed draws renders, subsets, weights and batches.

Every setting of a method's grid is measured, each row with what chooses among them: `reverse`, the
accuracy on the source of the target's guesses (reverse validation), which takes no target label.
The oracle chooses by accuracy.

layers: twenty pictures, 5 labelled patches a class of the left halves, 400 patches of the right
halves to test; a logistic regression on the features of each stage of EfficientNet-Lite0, with
ImageNet's weights and with random ones.
"""

from collections.abc import Callable
from functools import cache
from itertools import permutations
from pathlib import Path

import torch
from recipes import run_recipe
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from torch import Tensor

from mapping_lib import features
from mapping_lib.lab import backbones, results
from mapping_lib.lab.adapting import DigitNetwork, adapt, digit_problem, outputs
from mapping_lib.lab.data import office_caltech10_surf, photographs
from mapping_lib.mappings import linear

FOLDER = Path(__file__).resolve().parents[1] / "book" / "results"
DOMAINS = {"C": "caltech10", "A": "amazon", "W": "webcam", "D": "dslr"}
PAIRS = [f"{source}→{target}" for source, target in permutations(DOMAINS, 2)]
PUBLISHED = {  # Long et al. (2013), table 4, in percent: nearest neighbour, PCA, TCA, JDA
    "C→A": (23.70, 36.95, 38.20, 44.78),
    "C→W": (25.76, 32.54, 38.64, 41.69),
    "C→D": (25.48, 38.22, 41.40, 45.22),
    "A→C": (26.00, 34.73, 37.76, 39.36),
    "A→W": (29.83, 35.59, 37.63, 37.97),
    "A→D": (25.48, 27.39, 33.12, 39.49),
    "W→C": (19.86, 26.36, 29.30, 31.17),
    "W→A": (22.96, 31.00, 30.06, 32.78),
    "W→D": (59.24, 77.07, 87.26, 89.17),
    "D→C": (26.27, 29.65, 31.70, 31.52),
    "D→A": (28.50, 32.05, 32.15, 33.09),
    "D→W": (63.39, 75.93, 86.10, 89.49),
}
SEEDS = range(5)
STAGES = ["bn1", *(f"blocks.{k}" for k in range(7)), "global_pool"]

Outcome = tuple[Tensor, Tensor, Tensor | None]  # mapped source and target, guesses if it makes them
Align = Callable[[Tensor, Tensor, Tensor, float], Outcome]


def unit(rows: Tensor) -> Tensor:
    """Scale each row to norm 1."""
    scaled: Tensor = rows / rows.norm(dim=1, keepdim=True).clamp(min=1e-12)
    return scaled


def nearest(source: Tensor, labels: Tensor, target: Tensor) -> Tensor:
    """Give each target row the label of the nearest source row."""
    found: Tensor = labels[torch.cdist(target, source).argmin(1)]
    return found


def nothing(source: Tensor, target: Tensor, labels: Tensor, setting: float) -> Outcome:
    """Leave the features as they are."""
    return source, target, None


def centre(source: Tensor, target: Tensor, labels: Tensor, setting: float) -> Outcome:
    """Take each domain's mean from it."""
    return source - source.mean(0), target - target.mean(0), None


def pca(source: Tensor, target: Tensor, labels: Tensor, setting: float) -> Outcome:
    """Principal components of both domains together; the setting is their number."""
    both = torch.cat([source, target])
    both = both - both.mean(0)
    directions = torch.linalg.svd(both, full_matrices=False).Vh[: int(setting)]
    rows = both @ directions.mT
    return rows[: len(source)], rows[len(source) :], None


def normed(align: Align) -> Align:
    """Scale each row to norm 1 before and after another method."""

    def scaled(source: Tensor, target: Tensor, labels: Tensor, setting: float) -> Outcome:
        z_s, z_t, guesses = align(unit(source), unit(target), labels, setting)
        return unit(z_s), unit(z_t), guesses

    return scaled


def coral(source: Tensor, target: Tensor, labels: Tensor, setting: float) -> Outcome:
    """CORAL map of the source; the setting is the ridge."""
    layer = features.coral_map(source, target, ridge=setting)
    return linear(source, *layer), target, None


def subspace(source: Tensor, target: Tensor, labels: Tensor, setting: float) -> Outcome:
    """Subspace alignment; the setting is the width."""
    layers = features.subspace_alignment(source, target, width=int(setting))
    return linear(source, *layers.source), linear(target, *layers.target), None


def tca(width: int | None) -> Align:
    """TCA with the linear kernel; the setting is the penalty, or the width if none is given."""

    def align(source: Tensor, target: Tensor, labels: Tensor, setting: float) -> Outcome:
        components = int(setting) if width is None else width
        penalty = 1.0 if width is None else setting
        return *features.tca(source, target, width=components, penalty=penalty), None

    return align


def jda(width: int, *, scaled: bool) -> Align:
    """Joint distribution adaptation, ten rounds; the setting is the penalty."""

    def align(source: Tensor, target: Tensor, labels: Tensor, setting: float) -> Outcome:
        scale: Callable[[Tensor], Tensor] = unit if scaled else lambda rows: rows
        z_s, z_t, guesses = features.joint_distribution_adaptation(
            scale(source),
            scale(target),
            labels,
            width=width,
            penalty=setting,
            classify=lambda s, y, t: nearest(scale(s), y, scale(t)),
        )
        return scale(z_s), scale(z_t), guesses

    return align


def moved(source: Tensor, target: Tensor, labels: Tensor, setting: float) -> Outcome:
    """Barycentric map of entropic optimal transport; the setting is the regularisation."""
    return features.transport_map(source, target, regularisation=setting), target, None


def measured(
    align: Align, source: Tensor, labels: Tensor, target: Tensor, truth: Tensor, setting: float
) -> dict[str, float]:
    """Align, classify by the nearest neighbour, and score with and without target labels."""
    z_s, z_t, guesses = align(source, target, labels, setting)
    guesses = nearest(z_s, labels, z_t) if guesses is None else guesses
    back = nearest(z_t, guesses, z_s)
    return {
        "accuracy": round((guesses == truth).double().mean().item(), 4),
        "reverse": round((back == labels).double().mean().item(), 4),
    }


NORMED = "each row scaled to norm 1 before and after"
FIXED = "nothing to choose"
BY_PAPER = "as Long et al. (2013) set it"
BY_REVERSE = "every setting is measured; `reverse` chooses without target labels"
Table = dict[str, tuple[Align, str, str, tuple[float, ...]]]
OFFICE: Table = {
    "none": (nothing, "nearest neighbour on the features as they are", FIXED, (0,)),
    "PCA": (pca, "100 principal components of both domains", BY_PAPER, (100,)),
    "TCA": (tca(100), "linear kernel, 100 components, penalty 1", BY_PAPER, (1.0,)),
    "JDA": (jda(100, scaled=False), "the same, ten rounds", BY_PAPER, (1.0,)),
    "JDA, rows of norm 1": (
        jda(100, scaled=True),
        "the same, each row scaled to norm 1 before and after, as in the authors' code",
        BY_PAPER,
        (1.0,),
    ),
    "none, rows of norm 1": (normed(nothing), NORMED, FIXED, (0,)),
    "PCA, rows of norm 1": (normed(pca), f"100 components, {NORMED}", BY_PAPER, (100,)),
    "TCA, rows of norm 1": (normed(tca(100)), f"as TCA, {NORMED}", BY_PAPER, (1.0,)),
    "CORAL map": (coral, "ridge 1", "as Sun et al. (2016) set it", (1.0,)),
    "subspace alignment": (subspace, "the setting is the width", BY_REVERSE, (10, 20, 40, 80)),
}
DIGITS: Table = {
    "none": (nothing, "nearest neighbour on the features as they are", FIXED, (0,)),
    "centred": (centre, "each domain's mean taken off", FIXED, (0,)),
    "subspace alignment": (subspace, "the setting is the width", BY_REVERSE, (5, 10, 20, 40)),
    "CORAL map": (coral, "the setting is the ridge", BY_REVERSE, (0.01, 0.1, 1.0)),
    "TCA": (tca(None), "linear kernel, penalty 1; the setting is the width", BY_REVERSE,
            (5, 10, 20, 40)),
    "none, rows of norm 1": (normed(nothing), NORMED, FIXED, (0,)),
    "PCA, rows of norm 1": (normed(pca), f"20 components, {NORMED}", FIXED, (20,)),
    "TCA, rows of norm 1": (
        normed(tca(20)), f"linear kernel, width 20, {NORMED}; the setting is the penalty",
        BY_REVERSE, (0.1, 1.0, 10.0),
    ),
    "JDA, rows of norm 1": (
        jda(20, scaled=True), "linear kernel, width 20, ten rounds; the setting is the penalty",
        BY_REVERSE, (0.1, 1.0, 10.0),
    ),
    "transport map": (moved, "the setting is the regularisation", BY_REVERSE,
                      (0.05, 0.1, 0.2)),
}  # fmt: skip


def recorder_of(name: str, problem: str, table: Table, data: list[str]) -> results.Recorder:
    """Open a results file."""
    return results.Recorder(
        FOLDER / f"{name}.json",
        problem=problem,
        recipe=f"scripts/results_3_1.py {name.removeprefix('features_')}",
        data=data,
        methods={m: results.Method(what, chosen) for m, (_, what, chosen, _) in table.items()},
        packages=("torch", "scipy", "numpy"),
    )


@cache
def office_domain(letter: str) -> tuple[Tensor, Tensor]:
    """Features and labels of a domain, rows divided by their sums, columns standardised."""
    domain = office_caltech10_surf(DOMAINS[letter])
    rows = domain.features.double()
    rows = rows / rows.sum(1, keepdim=True)
    deviation = rows.std(0, correction=0)
    return (rows - rows.mean(0)) / torch.where(deviation > 0, deviation, 1.0), domain.labels


def measure_office() -> None:
    """Fill book/results/features_office.json."""
    recorder = recorder_of(
        "features_office",
        "Office-Caltech-10, SURF features, nearest neighbour",
        OFFICE,
        ["office-caltech10-surf"],
    )
    names = ("none", "PCA", "TCA", "JDA")
    recorder.extend(
        "published",
        [
            {"method": method, "pair": pair, "accuracy": round(value / 100, 4)}
            for pair, values in PUBLISHED.items()
            for method, value in zip(names, values, strict=True)
        ],
    )

    def measure(key: results.Row) -> dict[str, float]:
        source, target = key["pair"].split("→")
        align = OFFICE[key["method"]][0]
        return measured(align, *office_domain(source), *office_domain(target), key["setting"])

    recorder.measure(
        [
            {"method": method, "pair": pair, "setting": setting, "seed": 0}
            for method, (_, _, _, grid) in OFFICE.items()
            for pair in PAIRS
            for setting in grid
        ],
        measure,
    )


@cache
def digits(seed: int, kind: str) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Features and labels of 1,000 rendered digits, then of 1,000 handwritten ones."""
    problem = digit_problem(seed)
    source, target = problem.source.images[:1000], problem.target.images
    labels, truth = problem.source.labels[:1000], problem.target.labels
    if kind == "network":
        network = DigitNetwork(seed=seed)
        adapt(network, problem.source, problem.target.images, steps=300, seed=seed)
        source = outputs(network, source, "source").features  # statistics of the source for both
        target = outputs(network, target, "source").features
    return source.flatten(1).double(), labels, target.flatten(1).double(), truth


def measure_digits() -> None:
    """Fill book/results/features_digits.json."""
    recorder = recorder_of(
        "features_digits",
        "rendered to handwritten digits, features aligned, nearest neighbour",
        DIGITS,
        ["rendered-glyphs", "handwritten-digits"],
    )

    def measure(key: results.Row) -> dict[str, float]:
        align = DIGITS[key["method"]][0]
        return measured(align, *digits(key["seed"], key["features"]), key["setting"])

    recorder.measure(
        [
            {"method": method, "features": kind, "setting": setting, "seed": seed}
            for seed in SEEDS
            for kind in ("pixels", "network")
            for method, (_, _, _, grid) in DIGITS.items()
            for setting in grid
        ],
        measure,
    )


@cache
def test_stages(pretrained: bool) -> tuple[backbones.Backbone, dict[str, Tensor], Tensor]:
    """A network, and the features of the test patches, which are always the same."""
    torch.manual_seed(0)
    model = backbones.efficientnet_lite0(pretrained=pretrained)
    _, test = photographs(1, seed=0, size=96)
    return model, stages(model, test.images), test.labels


def stages(model: backbones.Backbone, images: Tensor) -> dict[str, Tensor]:
    """Features after the stem, after each stage, and those the head sees."""
    return features.extract(model.body, (images - model.mean) / model.std, layers=STAGES)


def measure_layers() -> None:
    """Fill book/results/features_layers.json."""
    methods = {
        "ImageNet": "features of EfficientNet-Lite0 trained on ImageNet",
        "random": "the same network with random weights",
    }
    recorder = results.Recorder(
        FOLDER / "features_layers.json",
        problem="photographs, logistic regression on the features of each stage",
        recipe="scripts/results_3_1.py layers",
        data=["photographs"],
        weights=["efficientnet-lite0"],
        methods={m: results.Method(what, "C = 1 on standardised features") for m, what in
                 methods.items()},
        packages=("torch", "timm", "scikit-learn", "numpy", "pillow"),
        settings={"size": 96, "labels_per_class": 5, "test": 400},
    )  # fmt: skip

    @cache
    def train_stages(method: str, seed: int) -> tuple[dict[str, Tensor], Tensor]:
        train, _ = photographs(5, seed=seed, size=96, test_per_class=1)
        return stages(test_stages(method == "ImageNet")[0], train.images), train.labels

    def measure(key: results.Row) -> dict[str, float]:
        train, labels = train_stages(key["method"], key["seed"])
        _, test, truth = test_stages(key["method"] == "ImageNet")
        probe = make_pipeline(StandardScaler(), LogisticRegression(max_iter=5000))
        probe.fit(train[key["layer"]].numpy(), labels.numpy())
        reached = probe.score(test[key["layer"]].numpy(), truth.numpy())
        return {"accuracy": round(float(reached), 4), "width": train[key["layer"]].shape[1]}

    recorder.measure(
        [
            {"method": method, "layer": layer, "seed": seed}
            for method in methods
            for seed in SEEDS
            for layer in STAGES
        ],
        measure,
    )


if __name__ == "__main__":
    run_recipe(
        __doc__,
        {
            "office": measure_office,
            "digits": measure_digits,
            "layers": measure_layers,
        },
    )
