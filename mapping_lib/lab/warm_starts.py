"""Few-shot learners that begin from a pretrained body, and heads that compare directions."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy, normalize

from mapping_lib.lab.data.types import Images
from mapping_lib.lab.few_shot import Learner, Prototypes, Task
from mapping_lib.lab.training import accuracy
from mapping_lib.meta import prototype_logits, prototypes

__all__ = [
    "Cosine",
    "FeatureScale",
    "ScaleShift",
    "crossing_task",
    "from_body",
    "mean_accuracy",
]


def from_body(learner: Any, source: Learner) -> Any:
    """Begin a learner from another's body; its head stays as it is, and the other is left alone.

    Parameters
    ----------
    learner
        A :class:`mapping_lib.lab.few_shot.Learner` that has not been trained; changed in place.
    source
        Whose body to copy, batch norm's running statistics included.

    Returns
    -------
    Learner
        The learner itself.

    Raises
    ------
    RuntimeError
        The bodies differ in structure.
    """
    learner.network.body.load_state_dict(source.network.body.state_dict())
    return learner


class Cosine(Prototypes):
    """The nearest mean by cosine, with a learned factor: the head of Meta-Baseline.

    With the body of a pretrained network and no training it is the baseline that has met no
    episode; trained, it is what meta-learning makes of that baseline. With `statistics_fixed`,
    batch norm keeps its running statistics in training and normalises by them.
    """

    first_scale = 10.0
    statistics_fixed = False

    def train(self, images: Images, iterations: int) -> None:
        """Take steps of one task each."""
        self.network.train(not self.statistics_fixed)
        for _ in range(iterations):
            self.step(self.draw(images))

    def step(self, task: Task) -> None:
        """Take a step on the loss of one task's query set."""
        self.optimiser.zero_grad()
        cross_entropy(self.logits(task), task.query_labels).backward()  # type: ignore[no-untyped-call]
        self.optimiser.step()

    def head(self, support: Tensor, labels: Tensor, query: Tensor) -> Tensor:
        """Give logits from features: the factor times (cosine - 1), by the library's distance."""
        centres = normalize(prototypes(support, labels))
        names = torch.arange(len(centres), device=labels.device)
        return prototype_logits(centres, names, normalize(query)) * self.scale / 2


class ScaleShift(Cosine):
    """The same on a frozen body: episodes move each channel's scale and shift, and no kernel.

    Batch norm has the two numbers already, and its running statistics stay as they are.
    """

    statistics_fixed = True

    def __init__(self, **settings: Any) -> None:
        super().__init__(**settings)
        norms = [m for m in self.network.modules() if isinstance(m, nn.BatchNorm2d)]
        self.moving = [part for norm in norms for part in (norm.weight, norm.bias)]
        self.optimiser = torch.optim.Adam([*self.moving, self.scale], lr=self.rate)


class _Affine(nn.Module):
    """A factor and a summand for each feature."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.ones(width))
        self.bias = nn.Parameter(torch.zeros(width))

    def forward(self, features: Tensor) -> Tensor:
        return features * self.weight + self.bias


class FeatureScale(Cosine):
    """A scale and a shift of features that were computed beforehand, learned from episodes.

    Parameters
    ----------
    width
        Number of features.
    ways, shots, seed
        As :class:`mapping_lib.lab.few_shot.Learner` takes them.
    """

    def __init__(self, *, width: int, **settings: Any) -> None:
        super().__init__(**settings)
        self.network = _Affine(width)  # type: ignore[assignment]
        self.optimiser = torch.optim.Adam([*self.network.parameters(), self.scale], lr=self.rate)

    def practise(self, draw: Callable[[torch.Generator], Task], iterations: int) -> None:
        """Take steps of one task each.

        Parameters
        ----------
        draw
            Gives a task of features.
        iterations
            How many.
        """
        for _ in range(iterations):
            self.step(draw(self.generator))


def crossing_task(
    known: tuple[Tensor, Tensor],
    new: tuple[Tensor, Tensor],
    *,
    classes: Tensor,
    ways: int,
    shots: int,
    queries: int,
    generator: torch.Generator,
) -> Task:
    """Draw an episode whose support set comes from one set of examples, its queries from another.

    So no query shares pixels with a support image where both are cut from one picture.

    Parameters
    ----------
    known, new
        Inputs and labels: to draw the support set from, and the query set.
    classes
        Of which to draw `ways`.
    ways, shots, queries
        Of the episode; both sets have that many examples of each class.
    generator
        Draws.

    Raises
    ------
    ValueError
        There are fewer classes than ways, or a class has too few examples.
    """
    if len(classes) < ways:
        raise ValueError(f"{ways} ways need as many classes, got {len(classes)}")
    drawn = classes[torch.randperm(len(classes), generator=generator)[:ways]]
    parts = []
    for (inputs, labels), count in ((known, shots), (new, queries)):
        rows = []
        for k in drawn:
            found = (labels == k).nonzero()[:, 0]
            if len(found) < count:
                raise ValueError(
                    f"class {int(k)} has {len(found)} examples, but {count} are asked for"
                )
            rows.append(found[torch.randperm(len(found), generator=generator)[:count]])
        parts += [inputs[torch.cat(rows)], torch.arange(ways).repeat_interleave(count)]
    return Task(*parts)


def mean_accuracy(classify: Callable[[Task], Tensor], tasks: list[Task]) -> tuple[float, float]:
    """Give the mean accuracy over tasks, and its standard error.

    Parameters
    ----------
    classify
        Takes a task and gives logits of its query set.
    tasks
        At least two.

    Raises
    ------
    ValueError
        There are fewer, so that nothing can be said of their spread.
    """
    if len(tasks) < 2:
        raise ValueError(f"a standard error takes at least two tasks, got {len(tasks)}; draw more")
    found = torch.tensor([accuracy(classify(task), task.query_labels) for task in tasks])
    return float(found.mean()), float(found.std() / len(found) ** 0.5)
