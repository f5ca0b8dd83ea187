"""Teachers and students of section 8.3.2: small networks, their layers, and one training loop.

A :class:`DigitCnn` gives its layers as well as its logits. :func:`study` trains one on what a
teacher answers; which of the teacher's :class:`Layers` it is to learn, and how, is an argument::

    lesson = Lesson(images, labels, answers(teacher, images), labelled=30)
    student = DigitCnn(STUDENT, seed=0)
    study(student, lesson, lambda s, t: kd_loss(s.logits, t.logits, temperature=4), share=0.9)
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from statistics import fmean
from typing import NamedTuple

import torch
from torch import Tensor, nn

from mapping_lib.lab.backbones import small_cnn
from mapping_lib.lab.data import Images, handwritten_digits
from mapping_lib.lab.machine import seeded
from mapping_lib.lab.results.files import Row
from mapping_lib.lab.training import accuracy
from mapping_lib.losses import cross_entropy

__all__ = [
    "STUDENT",
    "TEACHER",
    "Classroom",
    "DigitCnn",
    "Layers",
    "Lesson",
    "PhotographCnn",
    "Structure",
    "Student",
    "answers",
    "chosen",
    "classroom",
    "from_logits",
    "learn",
    "study",
]


class Structure(NamedTuple):
    """Channels of two convolutions, and units of a hidden layer (0: none)."""

    first: int
    second: int
    hidden: int


TEACHER = Structure(16, 32, 80)
"""46,650 parameters."""

STUDENT = Structure(8, 11, 0)
"""2,653 parameters."""


class Layers(NamedTuple):
    """What a :class:`DigitCnn` computes on its way: two maps, the features under its head, logits.

    Maps have the shapes (n, c, 8, 8) and (n, c, 4, 4).
    """

    first: Tensor
    second: Tensor
    features: Tensor
    logits: Tensor

    def rows(self, index: Tensor | slice) -> Layers:
        """Take some rows of each."""
        return Layers(*(layer[index] for layer in self))


Term = Callable[[Layers, Layers], Tensor]
"""What a student is to learn from a teacher: layers of both, for the same images, to a scalar."""


class Student(nn.Module):
    """A network that gives its layers; its logits are the last of them."""

    def layers(self, images: Tensor) -> Layers:
        """Map images to all that is computed on the way."""
        raise NotImplementedError

    def forward(self, images: Tensor) -> Tensor:
        """Map images to logits."""
        return self.layers(images).logits


class DigitCnn(Student):
    """Two convolutions of stride 2 for 16×16 images, a hidden layer or none, ten logits.

    Parameters
    ----------
    structure
        Its widths.
    seed
        Draws the first weights, and nothing else.
    """

    def __init__(self, structure: Structure, *, seed: int) -> None:
        super().__init__()
        flat = 16 * structure.second
        with seeded(seed):
            self.first = nn.Conv2d(1, structure.first, 3, stride=2, padding=1)
            self.second = nn.Conv2d(structure.first, structure.second, 3, stride=2, padding=1)
            self.hidden = nn.Linear(flat, structure.hidden) if structure.hidden else None
            self.head = nn.Linear(structure.hidden or flat, 10)

    def layers(self, images: Tensor) -> Layers:
        """Map images (n, 1, 16, 16) to all that is computed on the way."""
        first = self.first(images).relu()
        second = self.second(first).relu()
        features = second.flatten(1)
        if self.hidden is not None:
            features = self.hidden(features).relu()
        return Layers(first, second, features, self.head(features))


class PhotographCnn(Student):
    """The network of :func:`mapping_lib.lab.backbones.small_cnn`, which learns photographs.

    Parameters
    ----------
    classes
        Number of logits.
    seed
        Draws the first weights, and nothing else.
    """

    def __init__(self, classes: int, *, seed: int) -> None:
        super().__init__()
        with seeded(seed):
            self.network = small_cnn(classes)

    def layers(self, images: Tensor) -> Layers:
        """Map images (n, 3, height, width) to features and logits; maps are left out."""
        features = self.network.features(images)
        none = features[:, :0]
        return Layers(none, none, features, self.network.head(features))


@dataclass(frozen=True)
class Lesson:
    """Images to learn from, of which the first `labelled` have labels, and a teacher's layers.

    Attributes
    ----------
    images, labels
        One row an image; labels from the row `labelled` on are never looked at.
    teacher
        Its layers for all images.
    labelled
        How many labels there are; 0 for none.
    """

    images: Tensor
    labels: Tensor
    teacher: Layers
    labelled: int


@dataclass(frozen=True)
class Classroom:
    """Handwritten digits of one draw: parts that share no image.

    Attributes
    ----------
    teacher
        500 labelled images for the teacher.
    pool
        600 images for the student; the first 30, three a class, are the labelled ones.
    held_out
        100 labelled images, to choose by.
    test
        597 images, the same for each seed.
    """

    teacher: Images
    pool: Images
    held_out: Images
    test: Images


def classroom(seed: int, *, per_class: int = 3) -> Classroom:
    """Draw handwritten digits for a teacher, for its student, and to measure by.

    Parameters
    ----------
    seed
        Draws which digit is for whom; the test is the same for all.
    per_class
        How many of each class come first in the pool.
    """
    digits = handwritten_digits()
    generator = torch.Generator().manual_seed(seed)
    shuffled = torch.randperm(len(digits), generator=torch.Generator().manual_seed(0))
    order = shuffled[597:][torch.randperm(1200, generator=generator)]
    parts = [order[:500], order[500:1100], order[1100:], shuffled[:597]]
    pool = parts[1]
    labels = digits.labels[pool]
    few = torch.cat([(labels == k).nonzero()[:per_class, 0] for k in range(10)])
    rest = torch.ones(len(pool), dtype=torch.bool)
    rest[few] = False
    parts[1] = torch.cat([pool[few], pool[rest]])
    return Classroom(
        *(replace(digits, images=digits.images[p], labels=digits.labels[p]) for p in parts)
    )


@torch.no_grad()
def answers(network: Student, images: Tensor) -> Layers:
    """Compute a network's layers in eval mode, without gradients.

    Parameters
    ----------
    network
        A teacher, or a student to be measured; is left in eval mode.
    images
        As it takes them.
    """
    network.eval()
    return network.layers(images)


def from_logits(logits: Tensor) -> Layers:
    """Make a teacher's layers of its logits alone; the others are empty.

    Parameters
    ----------
    logits
        Shape (n, K).
    """
    none = logits[:, :0]
    return Layers(none, none, none, logits)


def study(
    student: Student,
    lesson: Lesson,
    term: Term,
    *,
    share: float,
    steps: int = 600,
    batch_size: int = 32,
    rate: float = 5e-3,
    seed: int = 0,
    extra: nn.Module | None = None,
    watched: Images | None = None,
    every: int = 50,
) -> list[float]:
    r"""Train a student on labels and on a teacher: (1 - α) L_CE + α term, with Adam.

    A step takes `batch_size` of the labelled images and `batch_size` of all images (without what
    the share leaves no use for); the rate falls to 0 along a cosine. Adam's steps don't depend on
    the scale of a loss, so that only the ratio of the two parts counts.

    Parameters
    ----------
    student
        Is trained in place.
    lesson
        What to learn from.
    term
        Takes the layers of the student and of the teacher for the same images.
    share
        α, the share of the teacher in [0, 1]; at 1 labels aren't looked at, at 0 the teacher isn't.
    steps, batch_size
        How long, and how many examples of each kind a step.
    rate
        Adam's first learning rate.
    seed
        Draws the batches.
    extra
        What is trained along with the student and thrown away, such as a regressor.
    watched
        Labelled images whose accuracy is measured every `every` steps.
    every
        How often.

    Returns
    -------
    list of float
        The accuracies, the first one before training; empty without `watched`.

    Raises
    ------
    FloatingPointError
        The loss is NaN or infinite.
    """
    parameters = [*student.parameters(), *(extra.parameters() if extra is not None else ())]
    optimiser = torch.optim.Adam(parameters, lr=rate, fused=True)
    generator = torch.Generator().manual_seed(seed)
    n = len(lesson.images)
    measured = []
    for step in range(steps + 1):
        if watched is not None and step % every == 0:
            measured.append(accuracy(answers(student, watched.images).logits, watched.labels))
        if step == steps:
            student.eval()
            return measured
        student.train()
        known = torch.randint(max(lesson.labelled, 1), (batch_size,), generator=generator)
        others = torch.randint(n, (batch_size,), generator=generator)
        known = known[: 0 if share == 1 else batch_size]
        others = others[: 0 if share == 0 else batch_size]
        found = student.layers(lesson.images[torch.cat([known, others])])
        loss = torch.zeros(())
        if len(known):
            logits = found.logits[: len(known)]
            loss = loss + (1 - share) * cross_entropy(logits, lesson.labels[known])
        if len(others):
            taught = term(found.rows(slice(len(known), None)), lesson.teacher.rows(others))
            loss = loss + share * taught
        if not loss.isfinite():
            raise FloatingPointError(f"the loss isn't finite in step {step + 1}: lower the rate")
        for group in optimiser.param_groups:
            group["lr"] = rate * (1 + math.cos(math.pi * step / steps)) / 2
        optimiser.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        optimiser.step()
    raise AssertionError


def chosen(rows: Sequence[Row], *, by: str = "held_out") -> dict[str, list[Row]]:
    """Take for each method the rows of its best weight, by the mean of a column over the seeds.

    Parameters
    ----------
    rows
        With "method", "weight" and the column.
    by
        What decides; "accuracy" on the test is an oracle's choice.

    Examples
    --------
    >>> rows = [{"method": "a", "weight": w, "held_out": h} for w, h in (("1", 0.5), ("2", 0.7))]
    >>> chosen(rows)
    {'a': [{'method': 'a', 'weight': '2', 'held_out': 0.7}]}
    """
    groups: dict[str, dict[str, list[Row]]] = {}
    for row in rows:
        groups.setdefault(row["method"], {}).setdefault(row["weight"], []).append(row)
    return {
        method: max(weights.values(), key=lambda group: fmean(row[by] for row in group))
        for method, weights in groups.items()
    }


def learn(
    network: Student,
    images: Images,
    *,
    steps: int = 600,
    seed: int = 0,
    rate: float = 5e-3,
    watched: Images | None = None,
) -> list[float]:
    """Train a network on labels alone, by the loop of :func:`study`.

    Parameters
    ----------
    network
        Is trained in place.
    images
        All of them labelled.
    steps, rate, seed, watched
        As there.
    """
    n = len(images)
    lesson = Lesson(images.images, images.labels, from_logits(torch.zeros(n, 1)), n)
    return study(
        network,
        lesson,
        _nothing,
        share=0,
        steps=steps,
        rate=rate,
        seed=seed,
        watched=watched,
    )


def _nothing(student: Layers, teacher: Layers) -> Tensor:
    return student.logits.sum() * 0
