"""Measure what section 8.3.2 compares, and write book/results/distillation_*.json.

    python scripts/results_8_3_2.py digits          (6 CPU minutes)
    python scripts/results_8_3_2.py temperature     (1 CPU minute)
    python scripts/results_8_3_2.py steps           (1 CPU minute)
    python scripts/results_8_3_2.py shift           (2 CPU minutes)
    python scripts/results_8_3_2.py photographs     (2 CPU minutes)

A teacher of 46,650 parameters and a student of 2,653 on handwritten digits. A seed draws which
images the teacher has (500, labelled), which the student has (600, three a class labelled), which
are held out to choose by (100), the weights and the batches; the 597 test images are the same for
all. Every student takes 600 steps of Adam, whose rate falls from 0.005 to 0, and in each up to 32
labelled images and up to 32 of those that the teacher answers. A weight is the one with the best
mean accuracy on the held-out images; rows of all weights are kept.

digits: labels alone, the teacher's softened, hard and shuffled answers, to all images and to the
labelled ones, hints, attention, relations, and a student of a student, each at several weights.
*Evened* answers have the confidence of the softened ones and share the rest evenly.

temperature: softened answers to all images at four temperatures, with and without the factor T²,
three seeds.

steps: labels alone, softened and hard answers after few and many steps.

shift: the network of section 4.3.1 trained on rendered digits, and the same adapted to handwritten
ones without their labels (maximum mean discrepancy of four kernels, weight 3, as that section's
score without target labels chose); students learn from them on 1,000 handwritten digits without
labels. Three seeds.

photographs: frozen EfficientNet-Lite0 with a logistic regression on five labelled patches of each
of twenty pictures, and a network of 101,028 parameters that learns from it at 32 × 32
pixels, for 400 steps; beside it one that has all 500 labels; three seeds, nothing is chosen.
"""

from collections.abc import Callable, Mapping
from dataclasses import replace
from functools import cache, partial
from pathlib import Path
from typing import Any

import torch
from recipes import run_recipe
from sklearn.linear_model import LogisticRegression
from torch import Tensor, nn
from torch.nn.functional import interpolate

from mapping_lib.distillation import (
    attention_transfer,
    hint_loss,
    kd_loss,
    relational_angle,
    relational_distance,
    shuffle_non_target,
)
from mapping_lib.lab import results
from mapping_lib.lab.adapting import (
    DigitNetwork,
    adapt,
    digit_problem,
    outputs,
    several_kernels,
)
from mapping_lib.lab.backbones import efficientnet_lite0, features
from mapping_lib.lab.data import Images, photographs
from mapping_lib.lab.distilling import (
    STUDENT,
    TEACHER,
    Classroom,
    DigitCnn,
    Layers,
    Lesson,
    PhotographCnn,
    Student,
    Term,
    answers,
    classroom,
    from_logits,
    learn,
    study,
)
from mapping_lib.lab.training import accuracy
from mapping_lib.losses import cross_entropy
from mapping_lib.metrics import expected_calibration_error

FOLDER = Path(__file__).resolve().parents[1] / "book" / "results"
SEEDS, FEW = range(5), range(3)
STEPS, LABELLED, SHARES, TEMPERATURES = 600, 30, (0.5, 0.9, 1.0), (1, 2, 4, 8)
TUNED = "weight by accuracy on 100 held-out labelled images, mean of three seeds"
HELD_OUT = "weight by accuracy on 100 held-out labelled images, mean of five seeds"
room = cache(classroom)


def measured(network: Student, data: Classroom) -> dict[str, float]:
    """Measure a network on the test and on the held-out images."""
    test, held_out = answers(network, data.test.images), answers(network, data.held_out.images)
    logits, labels = test.logits, data.test.labels
    return {
        "accuracy": round(accuracy(logits, labels), 4),
        "held_out": round(accuracy(held_out.logits, data.held_out.labels), 4),
        "calibration_error": round(float(expected_calibration_error(logits, labels)), 4),
    }


@cache
def teacher(seed: int) -> DigitCnn:
    """Train the teacher of a seed on its own 500 images."""
    network = DigitCnn(TEACHER, seed=seed + 100)
    learn(network, room(seed).teacher, seed=seed)
    return network


@cache
def elder(seed: int) -> DigitCnn:
    """Train a network of the student's size on all 600 labels of the pool."""
    network = DigitCnn(STUDENT, seed=seed + 200)
    learn(network, room(seed).pool, seed=seed)
    return network


def lesson_of(images: Images, network: Student, labelled: int) -> Lesson:
    """Let a network answer images."""
    return Lesson(images.images, images.labels, answers(network, images.images), labelled)


@cache
def lesson(where: str, seed: int) -> Lesson:
    """Put together what a student learns from."""
    data, pool = room(seed), room(seed).pool
    if where == "labelled":
        few = Images(
            pool.images[:LABELLED],
            pool.labels[:LABELLED],
            pool.classes,
            entry=pool.entry,
            split=pool.split,
        )
        return lesson_of(few, teacher(seed), LABELLED)
    if where == "teacher's own":
        return lesson_of(data.teacher, teacher(seed), 0)
    if where == "same size":
        return lesson_of(pool, elder(seed), len(pool))
    return lesson_of(pool, teacher(seed), LABELLED)


@cache
def shuffled(where: str, seed: int) -> Lesson:
    """Take from the teacher's answers which wrong classes are nearly right."""
    right = lesson(where, seed)
    logits = shuffle_non_target(right.teacher.logits, generator=torch.Generator().manual_seed(seed))
    return Lesson(right.images, right.labels, from_logits(logits), LABELLED)


@cache
def evened(where: str, seed: int) -> Lesson:
    """Share what the softened answers leave to the other classes evenly among them."""
    right = lesson(where, seed)
    p = (right.teacher.logits / 4).softmax(1)
    top, answer = p.max(1, keepdim=True)
    rest = ((1 - top) / (p.shape[1] - 1)).expand_as(p)
    logits = 4 * rest.scatter(1, answer, top).log()
    return Lesson(right.images, right.labels, from_logits(logits), LABELLED)


def softened(student: Layers, given: Layers, *, temperature: float, factor: bool = True) -> Tensor:
    """Learn softened answers."""
    loss = kd_loss(student.logits, given.logits, temperature=temperature)
    return loss if factor else loss / temperature**2


def hard(student: Layers, given: Layers) -> Tensor:
    """Learn the class that the teacher thinks likeliest."""
    return cross_entropy(student.logits, given.logits.argmax(1))


def looks(student: Layers, given: Layers) -> Tensor:
    """Learn where both layers of the teacher look."""
    first = attention_transfer(student.first, given.first)
    return first + attention_transfer(student.second, given.second)


def distances(student: Layers, given: Layers) -> Tensor:
    """Learn the distances between images."""
    return relational_distance(student.features, given.features)


def both_relations(student: Layers, given: Layers) -> Tensor:
    """Learn distances and angles, as the paper weights them."""
    angles = relational_angle(student.features, given.features)
    return distances(student, given) + 2 * angles


def trained(
    seed: int, given: Lesson, term: Term, share: float, steps: int = STEPS, hints: bool = False
) -> DigitCnn:
    """Train a student."""
    student, extra = DigitCnn(STUDENT, seed=seed), None
    if hints:
        with torch.random.fork_rng():
            torch.manual_seed(seed)
            extra = nn.Conv2d(STUDENT.second, TEACHER.second, 1)

        def term(student: Layers, given: Layers) -> Tensor:
            return hint_loss(student.second, given.second, extra)

    study(student, given, term, share=share, steps=steps, seed=seed, extra=extra)
    return student


def recorder_of(
    name: str, problem: str, methods: Mapping[str, results.Method], **more: Any
) -> results.Recorder:
    """Open a results file."""
    return results.Recorder(
        FOLDER / f"distillation_{name}.json",
        problem=problem,
        recipe=f"scripts/results_8_3_2.py {name}",
        methods=methods,
        **{"packages": ("torch", "numpy", "scikit-learn"), "data": ["handwritten-digits"],
           "settings": {"steps": STEPS, "labelled": LABELLED}} | more,
    )  # fmt: skip


def share_of(weight: float) -> float:
    """Turn a weight β of L_CE + β term into the share of (1 - α) L_CE + α term."""
    return weight / (1 + weight)


def measure_digits() -> None:
    """Fill book/results/distillation_digits.json."""
    kd = partial(softened, temperature=4)
    shares = [(f"α = {share:g}", share) for share in SHARES]

    def weights(*given: float) -> list[tuple[str, float]]:
        return [(f"β = {weight:g}", share_of(weight)) for weight in given]

    no_choice = [("", 0.0)]
    ways: dict[str, tuple[str, Callable[[int], Lesson], Term, list[tuple[str, float]]]] = {
        "alone": ("30 labels", partial(lesson, "all"), hard, no_choice),
        "softened, labelled images": ("T = 4", partial(lesson, "labelled"), kd, shares),
        "softened, all images": ("T = 4", partial(lesson, "all"), kd, shares),
        "hard, all images": ("most likely class", partial(lesson, "all"), hard, shares),
        "softened and shuffled": (
            "T = 4, without dark knowledge", partial(shuffled, "all"), kd, shares),
        "hard, labelled images": ("most likely class", partial(lesson, "labelled"), hard, shares),
        "shuffled, labelled images": (
            "T = 4, without dark knowledge", partial(shuffled, "labelled"), kd, shares),
        "evened, labelled images": (
            "T = 4, the other classes alike", partial(evened, "labelled"), kd, shares),
        "softened, teacher's images": (
            "T = 4, no labels", partial(lesson, "teacher's own"), kd, [("α = 1", 1.0)]),
        "hard, teacher's images": (
            "no labels", partial(lesson, "teacher's own"), hard, [("α = 1", 1.0)]),
        "hints": ("second convolution", partial(lesson, "all"), hard,
                  weights(0.001, 0.01, 0.1, 1)),
        "attention": ("both convolutions", partial(lesson, "all"), looks,
                      weights(0.1, 1, 10, 100)),
        "distances": ("of features", partial(lesson, "all"), distances,
                      weights(0.3, 3, 30, 300)),
        "distances and angles": ("of features", partial(lesson, "all"), both_relations,
                                 weights(0.3, 3, 30, 300)),
        "born again": ("600 labels and a network of the same size", partial(lesson, "same size"),
                       kd, shares[:2]),
    }  # fmt: skip
    chosen = {name: HELD_OUT if len(way[3]) > 1 else "nothing to choose" for name, way in
              ways.items()}  # fmt: skip
    methods = {name: results.Method(way[0], chosen[name]) for name, way in ways.items()}
    methods["teacher"] = results.Method("500 other labels, 46,650 parameters", "nothing to choose")
    methods["600 labels"] = results.Method("a student with all labels", "nothing to choose")
    methods["600 labels, elder"] = results.Method("the same, other weights", "nothing to choose")
    recorder = recorder_of("digits", "a student learns digits from a teacher", methods)

    def measure(key: results.Row) -> dict[str, float]:
        name, seed = key["method"], key["seed"]
        if name == "teacher":
            right = accuracy(lesson("all", seed).teacher.logits, room(seed).pool.labels)
            return measured(teacher(seed), room(seed)) | {"on_pool": round(right, 4)}
        if name == "600 labels, elder":
            return measured(elder(seed), room(seed))
        if name == "600 labels":
            student = DigitCnn(STUDENT, seed=seed)
            learn(student, room(seed).pool, seed=seed)
            return measured(student, room(seed))
        _, given, term, settings = ways[name]
        share = dict(settings)[key["weight"]]
        student = trained(seed, given(seed), term, share, hints=name == "hints")
        return measured(student, room(seed))

    single = ("teacher", "600 labels", "600 labels, elder")
    pairs = [(name, "") for name in single]
    pairs += [(name, label) for name, way in ways.items() for label, _ in way[3]]
    recorder.measure(
        [{"method": n, "weight": w, "seed": seed} for seed in SEEDS for n, w in pairs], measure
    )


def measure_temperature() -> None:
    """Fill book/results/distillation_temperature.json."""
    ways = {
        f"{factor}, α = {share}": (factor == "with T²", share)
        for factor in ("with T²", "without T²")
        for share in (0.5, 0.9)
    }
    recorder = recorder_of(
        "temperature",
        "softened answers of a teacher at several temperatures",
        {
            name: results.Method("the gradient's size doesn't depend on T" if factor else
                                 "the divergence alone", TUNED)
            for name, (factor, _) in ways.items()
        },
    )  # fmt: skip

    def measure(key: results.Row) -> dict[str, float]:
        factor, share = ways[key["method"]]
        term = partial(softened, temperature=key["temperature"], factor=factor)
        student = trained(key["seed"], lesson("all", key["seed"]), term, share)
        return measured(student, room(key["seed"]))

    recorder.measure(
        [
            {"method": name, "temperature": temperature, "seed": seed}
            for seed in FEW
            for name, (factor, _) in ways.items()
            for temperature in TEMPERATURES
            if factor or temperature > 1
        ],
        measure,
    )


def measure_steps() -> None:
    """Fill book/results/distillation_steps.json."""
    terms: dict[str, tuple[Term, float]] = {
        "alone": (hard, 0.0),
        "softened": (partial(softened, temperature=4), 1.0),
        "hard": (hard, 1.0),
    }
    recorder = recorder_of(
        "steps", "students after few and many steps",
        {name: results.Method("as in the table of digits", "α = 0 or 1") for name in terms},
        settings={"labelled": LABELLED},
    )  # fmt: skip

    def measure(key: results.Row) -> dict[str, float]:
        term, share = terms[key["method"]]
        given = lesson("all", key["seed"])
        student = trained(key["seed"], given, term, share, steps=key["steps"])
        return measured(student, room(key["seed"]))

    recorder.measure(
        [
            {"method": method, "steps": steps, "seed": seed}
            for seed in SEEDS
            for steps in (20, 60, 200, 600, 1200)
            for method in terms
        ],
        measure,
    )


def measure_shift() -> None:
    """Fill book/results/distillation_shift.json."""
    kinds = ("labels", "softened, rendered", "softened, handwritten", "hard, handwritten")
    teachers = ("rendered digits", "adapted")
    recorder = recorder_of(
        "shift", "a teacher of rendered digits, a student of handwritten ones",
        {kind: results.Method("what the student learns from", "T = 4, α = 1, nothing chosen")
         for kind in ("teacher", *kinds)},
        data=["rendered-glyphs", "handwritten-digits"],
        settings={"steps": 1500},
    )  # fmt: skip
    problem = cache(digit_problem)

    @cache
    def logits_of(name: str, seed: int) -> dict[str, Tensor]:
        data, network = problem(seed), DigitNetwork(seed=seed)
        adapted = name == "adapted"
        adapt(network, data.source, data.target.images, weight=3, seed=seed,
              domain_loss=several_kernels if adapted else None)  # fmt: skip
        parts = {"rendered": data.source, "handwritten": data.target, "test": data.target_test}
        side = {part: "target" if adapted and part != "rendered" else "source" for part in parts}
        return {
            part: outputs(network, images.images, side[part]).logits
            for part, images in parts.items()
        }

    def measure(key: results.Row) -> dict[str, float]:
        seed, kind, data = key["seed"], key["method"], problem(key["seed"])
        test, truth = data.target_test.images, data.target_test.labels
        if kind == "teacher":
            logits = logits_of(key["teacher"], seed)["test"]
        else:
            student = DigitCnn(STUDENT, seed=seed)
            if kind == "labels":
                learn(student, data.source, steps=1500, seed=seed)
            else:
                part = "rendered" if kind.endswith(" rendered") else "handwritten"
                images = data.source if part == "rendered" else data.target
                given = from_logits(logits_of(key["teacher"], seed)[part])
                term = hard if kind.startswith("hard") else partial(softened, temperature=4)
                todo = Lesson(images.images, images.labels, given, 0)
                study(student, todo, term, share=1, steps=1500, seed=seed)
            logits = answers(student, test).logits
        found = {"accuracy": round(accuracy(logits, truth), 4)}
        error = float(expected_calibration_error(logits, truth))
        return found | {"calibration_error": round(error, 4)}

    recorder.measure(
        [
            {"method": kind, "teacher": name, "seed": seed}
            for seed in FEW
            for name in teachers
            for kind in ("teacher", *kinds)
            if kind != "labels" or name == "rendered digits"
        ],
        measure,
    )


def measure_photographs() -> None:
    """Fill book/results/distillation_photographs.json."""
    ways: dict[str, tuple[str, Term, float]] = {
        "alone": ("100 labels", hard, 0.0),
        "softened, labelled patches": ("T = 4", partial(softened, temperature=4), 0.9),
        "softened, all patches": ("T = 4", partial(softened, temperature=4), 0.9),
        "hard, all patches": ("most likely class", hard, 0.9),
        "500 labels": ("no teacher", hard, 0.0),
    }
    methods = {name: results.Method(way[0], "α = 0.9, nothing chosen") for name, way in
               ways.items()}  # fmt: skip
    methods["teacher"] = results.Method("frozen, logistic regression on 100 labels", "C = 1")
    recorder = recorder_of(
        "photographs", "EfficientNet-Lite0 teaches a small network",
        methods, data=["photographs"], weights=["efficientnet-lite0"],
        settings={"steps": 400, "labelled": 100, "patches": 500, "side": 32},
        packages=("torch", "numpy", "scikit-learn", "timm", "pillow"),
    )  # fmt: skip

    body = efficientnet_lite0()

    @cache
    def features_of_test() -> Tensor:
        return features(body, photographs(1, seed=0)[1].images)

    @cache
    def prepared(seed: int) -> tuple[Lesson, Tensor, Tensor, Tensor]:
        train, test = photographs(25, seed=seed)
        first = (torch.arange(len(train)) % 25) < 5
        order = torch.cat([first.nonzero()[:, 0], (~first).nonzero()[:, 0]])
        images, labels = train.images[order], train.labels[order]
        known, found = features(body, images), features_of_test()
        model = LogisticRegression(max_iter=2000)
        model.fit(known[:100].numpy(), labels[:100].numpy())
        logits = [
            torch.as_tensor(model.decision_function(rows.numpy())).float()
            for rows in (known, found)
        ]
        small = interpolate(images, size=32, mode="area")
        given = Lesson(small, labels, from_logits(logits[0]), 100)
        return given, interpolate(test.images, size=32, mode="area"), test.labels, logits[1]

    def measure(key: results.Row) -> dict[str, float]:
        given, test, truth, logits = prepared(key["seed"])
        if key["method"] != "teacher":
            _, term, share = ways[key["method"]]
            if "labelled" in key["method"]:
                rows = given.teacher.rows(slice(100))
                given = Lesson(given.images[:100], given.labels[:100], rows, 100)
            if key["method"] == "500 labels":
                given = replace(given, labelled=500)
            student = PhotographCnn(20, seed=key["seed"])
            study(student, given, term, share=share, steps=400, seed=key["seed"])
            logits = answers(student, test).logits
        error = float(expected_calibration_error(logits, truth))
        return {
            "accuracy": round(accuracy(logits, truth), 4),
            "calibration_error": round(error, 4),
        }

    recorder.measure(
        [
            {"method": method, "seed": seed}
            for seed in FEW
            for method in ("teacher", *ways)
        ],
        measure,
    )  # fmt: skip


if __name__ == "__main__":
    run_recipe(
        __doc__,
        {
            "digits": measure_digits,
            "temperature": measure_temperature,
            "steps": measure_steps,
            "shift": measure_shift,
            "photographs": measure_photographs,
        },
    )
