"""One training loop for domain adaptation, whose domain loss is an argument.

A :class:`DigitNetwork` maps images to features and features to logits. :func:`adapt` trains it on
labelled source images and target images without labels; what it asks of the domain loss is a
function from a :class:`Batch` to a scalar, so that methods are exchanged in one place::

    adapt(network, source, target.images, domain_loss=lambda b: coral(b.source, b.target), weight=1)
    adapt(network, source, target.images, domain_loss=Adversary(64), weight=0.3)
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.functional import max_pool2d

from mapping_lib.adaptation import (
    adaptation_loss,
    adaptation_weight,
    certainty_weights,
    classifier_discrepancy,
    conditional_features,
    deep_jdot,
    domain_adversarial_loss,
    reverse_gradient,
)
from mapping_lib.distances import mmd
from mapping_lib.kernels import median_heuristic
from mapping_lib.lab.data import Images, handwritten_digits, rendered_digits
from mapping_lib.lab.machine import seeded
from mapping_lib.losses import cross_entropy
from mapping_lib.transport import sinkhorn_divergence

__all__ = [
    "Adversary",
    "Batch",
    "ConditionalAdversary",
    "DigitNetwork",
    "DomainNorm",
    "Outputs",
    "Problem",
    "SecondHead",
    "Training",
    "adapt",
    "chosen",
    "digit_problem",
    "joint_transport",
    "outputs",
    "several_kernels",
    "split",
    "transport",
]

DomainLoss = Callable[["Batch"], Tensor]


@dataclass(frozen=True)
class Batch:
    """What a domain loss may look at in one step: no target labels are among it.

    Attributes
    ----------
    source, target
        Features, shapes (n_s, d) and (n_t, d).
    source_logits, target_logits
        Of the classifier, (n_s, K) and (n_t, K).
    source_labels
        Shape (n_s,).
    """

    source: Tensor
    target: Tensor
    source_logits: Tensor
    target_logits: Tensor
    source_labels: Tensor


@dataclass
class Training:
    """What :func:`adapt` measured, one entry a step.

    Attributes
    ----------
    source_losses
        The source loss.
    domain_losses
        The domain loss, without its weight.
    """

    source_losses: list[float] = field(default_factory=list)
    domain_losses: list[float] = field(default_factory=list)


@dataclass(frozen=True)
class Outputs:
    """Features and logits of images, computed with the statistics of their domain."""

    features: Tensor
    logits: Tensor


@dataclass(frozen=True)
class Problem:
    """Images of two domains.

    Attributes
    ----------
    source, source_held_out
        Labelled images to train on, and others that only measure.
    target, target_test
        Images to adapt to, whose labels no method looks at, and others that only measure.
    """

    source: Images
    source_held_out: Images
    target: Images
    target_test: Images


def split(images: Images, sizes: Sequence[int], generator: torch.Generator) -> list[Images]:
    """Split images at random into parts of given sizes.

    Parameters
    ----------
    images
        At least as many as the sizes add up to.
    sizes
        Of the parts.
    generator
        Draws them.
    """
    order = torch.randperm(len(images), generator=generator)[: sum(sizes)]
    return [
        replace(images, images=images.images[part], labels=images.labels[part])
        for part in torch.split(order, list(sizes))
    ]


def digit_problem(seed: int) -> Problem:
    """Draw the problem of section 4.3.1: 4,000 rendered digits to 1,797 handwritten ones.

    Of the first, 800 are held out; of the second, 1,000 are adapted to and 797 test.
    """
    generator = torch.Generator().manual_seed(seed)
    source = split(rendered_digits(4000, seed=seed), [3200, 800], generator)
    return Problem(*source, *split(handwritten_digits(), [1000, 797], generator))


class DomainNorm(nn.Module):
    """Batch norm with statistics for each domain; scale and shift are shared.

    Parameters
    ----------
    width
        Number of channels.
    shared
        Whether both domains are normalised together after all, as plain batch norm does.
    """

    def __init__(self, width: int, *, shared: bool = False) -> None:
        super().__init__()
        self.shared = shared
        self.source = nn.BatchNorm1d(width, affine=False)
        self.target = self.source if shared else nn.BatchNorm1d(width, affine=False)
        self.weight = nn.Parameter(torch.ones(width))
        self.bias = nn.Parameter(torch.zeros(width))

    def forward(self, x: Tensor, n_source: int) -> Tensor:
        """Normalise the first `n_source` rows as source, the others as target."""
        flat = x.flatten(2) if x.dim() > 2 else x
        if self.shared or n_source == len(x):
            normal = self.source(flat)
        elif n_source == 0:
            normal = self.target(flat)
        else:
            normal = torch.cat([self.source(flat[:n_source]), self.target(flat[n_source:])])
        by_channel = (-1, *[1] * (x.dim() - 2))
        weight, bias = self.weight.view(by_channel), self.bias.view(by_channel)
        scaled: Tensor = normal.view(x.shape) * weight + bias
        return scaled


class DigitNetwork(nn.Module):
    """A small convolutional network for 16×16 digits: 27k parameters, 64 features, ten logits.

    Parameters
    ----------
    seed
        Draws the first weights, and nothing else.
    shared_norm
        Whether batch norm normalises both domains together. By default each has its own
        statistics.
    """

    def __init__(self, *, seed: int, shared_norm: bool = False) -> None:
        super().__init__()
        with seeded(seed):
            self.first = nn.Conv2d(1, 8, 3, padding=1, bias=False)
            self.second = nn.Conv2d(8, 24, 3, padding=1, bias=False)
            self.third = nn.Linear(24 * 16, 64, bias=False)
            self.head = nn.Linear(64, 10)
        self.norms = nn.ModuleList(DomainNorm(width, shared=shared_norm) for width in (8, 24, 64))

    def features(self, images: Tensor, n_source: int) -> Tensor:
        """Map images to features (n, 64); the first `n_source` are the source's."""
        first, second, third = self.norms
        x = max_pool2d(first(self.first(images), n_source).relu(), 2)
        x = max_pool2d(second(self.second(x), n_source).relu(), 2)
        return third(self.third(x.flatten(1)), n_source).relu()  # type: ignore[no-any-return]

    def forward(self, images: Tensor) -> Tensor:
        """Map target images to logits (n, 10)."""
        return self.head(self.features(images, 0))  # type: ignore[no-any-return]


class Adversary(nn.Module):
    """The domain loss of adversarial adaptation: a discriminator behind reversed gradients.

    Parameters
    ----------
    width
        Number of features.
    seed
        Draws the first weights.
    layer_norm
        Whether each row of features is normalised before the discriminator sees it.
    """

    def __init__(self, width: int = 64, *, seed: int = 0, layer_norm: bool = True) -> None:
        super().__init__()
        with seeded(seed + 1_000_000):
            self.discriminator = nn.Sequential(
                nn.LayerNorm(width, elementwise_affine=False) if layer_norm else nn.Identity(),
                nn.Linear(width, 64),
                nn.ReLU(),
                nn.Linear(64, 1),
            )

    def domain_logits(self, inputs: Tensor) -> Tensor:
        """Map what the discriminator sees to one logit a row, its gradient reversed."""
        logits: Tensor = self.discriminator(reverse_gradient(inputs, 1.0))
        return logits.squeeze(1)

    def forward(self, batch: Batch) -> Tensor:
        """Return the discriminator's cross-entropy."""
        return domain_adversarial_loss(
            self.domain_logits(batch.source), self.domain_logits(batch.target)
        )


class ConditionalAdversary(Adversary):
    """The same on products of features and class probabilities, sure predictions counting more.

    Parameters
    ----------
    width, classes
        Numbers of features and of classes.
    seed, layer_norm
        As in :class:`Adversary`; the features are normalised, before the product.
    """

    def __init__(
        self, width: int = 64, classes: int = 10, *, seed: int = 0, layer_norm: bool = True
    ) -> None:
        super().__init__(width * classes, seed=seed, layer_norm=False)
        self.norm = nn.LayerNorm(width, elementwise_affine=False) if layer_norm else nn.Identity()

    def forward(self, batch: Batch) -> Tensor:
        """Return the discriminator's weighted cross-entropy."""
        sides = (
            (self.norm(batch.source), batch.source_logits.detach()),
            (self.norm(batch.target), batch.target_logits.detach()),
        )
        (source, s), (target, t) = ((conditional_features(f, z), z) for f, z in sides)
        return domain_adversarial_loss(
            self.domain_logits(source),
            self.domain_logits(target),
            source_weights=certainty_weights(s),
            target_weights=certainty_weights(t),
        )


class SecondHead(nn.Module):
    """The domain loss of maximum classifier discrepancy: another classifier on the features.

    Its own source loss belongs to it. Both classifiers want to disagree on the target, the features
    want them to agree: the gradient of the discrepancy is reversed between them.

    Parameters
    ----------
    head
        The network's classifier.
    seed
        Draws the other's first weights.
    """

    def __init__(self, head: nn.Linear, *, seed: int = 0) -> None:
        super().__init__()
        self._first = [head]  # in a list, so that its parameters stay the network's own
        with seeded(seed + 1_000_000):
            self.second = nn.Linear(head.in_features, head.out_features)

    def forward(self, batch: Batch) -> Tensor:
        """Return the second classifier's source loss less the discrepancy."""
        reversed_features = reverse_gradient(batch.target, 1.0)
        apart = classifier_discrepancy(
            self._first[0](reversed_features), self.second(reversed_features)
        )
        return cross_entropy(self.second(batch.source), batch.source_labels) - apart


def several_kernels(batch: Batch) -> Tensor:
    """Return MMD with four Gaussian kernels around the median distance of the batch."""
    middle = float(median_heuristic(batch.source.detach(), batch.target.detach()))
    return mmd(batch.source, batch.target, bandwidth=[middle * c for c in (0.25, 0.5, 1, 2)])


def transport(batch: Batch) -> Tensor:
    """Return the Sinkhorn divergence, regularised by a tenth of the mean squared norm."""
    scale = float(batch.source.detach().square().sum(1).mean()) / 10
    with warnings.catch_warnings():  # 30 iterations are enough to descend by
        warnings.simplefilter("ignore", UserWarning)
        return sinkhorn_divergence(batch.source, batch.target, regularisation=scale, iterations=30)


def joint_transport(batch: Batch) -> Tensor:
    """Return DeepJDOT with the weights 0.01 of features and 1 of labels."""
    return deep_jdot(
        batch.source,
        batch.source_labels,
        batch.target,
        batch.target_logits,
        feature_weight=0.01,
        label_weight=1,
    )


def adapt(
    network: DigitNetwork,
    source: Images,
    target: Tensor,
    *,
    domain_loss: DomainLoss | None = None,
    weight: float = 0.0,
    steps: int = 500,
    batch_size: int = 64,
    rate: float = 1e-3,
    betas: tuple[float, float] = (0.9, 0.999),
    gamma: float = 10.0,
    seed: int = 0,
) -> Training:
    """Train a network on L_s + λ L_d with Adam; λ rises by the schedule of adversarial adaptation.

    Parameters
    ----------
    network
        Is trained in place.
    source
        Labelled images.
    target
        Images without labels, (n, 1, 16, 16).
    domain_loss
        Takes a :class:`Batch`; None trains on the source alone, while the target's batches still
        pass through batch norm. If it is a module its parameters are trained with the network's.
    weight
        λ, which the schedule approaches.
    steps, batch_size
        Each step takes `batch_size` images of each domain.
    rate, betas
        Of Adam.
    gamma
        Of the schedule.
    seed
        Draws the batches.

    Returns
    -------
    Training
        Both losses in each step.

    Raises
    ------
    ValueError
        Fewer images than a batch takes, or λ below 0.
    FloatingPointError
        A loss is NaN or infinite.
    """
    for name, count in (("source", len(source)), ("target", len(target))):
        if count < batch_size:
            raise ValueError(f"{name} has {count} images, fewer than batch_size {batch_size}")
    parameters = list(network.parameters())
    if isinstance(domain_loss, nn.Module):
        parameters += list(domain_loss.parameters())
    optimiser = torch.optim.Adam(parameters, lr=rate, betas=betas, fused=True)
    generator = torch.Generator().manual_seed(seed)
    rows = zip(
        _forever(len(source), batch_size, generator),
        _forever(len(target), batch_size, generator),
        strict=True,
    )
    training = Training()
    network.train()
    for step, (chosen_source, chosen_target) in zip(range(steps), rows, strict=False):
        labels = source.labels[chosen_source]
        images = torch.cat([source.images[chosen_source], target[chosen_target]])
        features = network.features(images, batch_size)
        logits = network.head(features)
        batch = Batch(
            source=features[:batch_size],
            target=features[batch_size:],
            source_logits=logits[:batch_size],
            target_logits=logits[batch_size:],
            source_labels=labels,
        )
        source_loss = cross_entropy(batch.source_logits, labels)
        between = torch.zeros(()) if domain_loss is None else domain_loss(batch)
        if not (source_loss + between).isfinite():
            raise FloatingPointError(
                f"a loss isn't finite in step {step + 1}: try a smaller weight"
            )
        λ = weight * adaptation_weight(step / steps, gamma=gamma)
        optimiser.zero_grad()
        adaptation_loss(source_loss, between, weight=λ).backward()  # type: ignore[no-untyped-call]
        optimiser.step()
        training.source_losses.append(source_loss.item())
        training.domain_losses.append(between.item())
    network.eval()
    return training


@torch.no_grad()
def outputs(network: DigitNetwork, images: Tensor, domain: str) -> Outputs:
    """Compute features and logits with the running statistics of a domain.

    Parameters
    ----------
    network
        A trained one.
    images
        Shape (n, 1, 16, 16).
    domain
        ``"source"`` or ``"target"``.
    """
    if domain not in ("source", "target"):
        raise ValueError(f"domain must be 'source' or 'target', not {domain!r}")
    parts = [
        network.eval().features(part, len(part) if domain == "source" else 0)
        for part in torch.split(images, 500)
    ]
    features = torch.cat(parts)
    return Outputs(features, network.head(features))


def chosen(
    rows: Iterable[Mapping[str, Any]], score: str, *, largest: bool = True
) -> list[Mapping[str, Any]]:
    """Keep of each method and seed the row whose λ a score prefers.

    Parameters
    ----------
    rows
        Of a results file, with a column "weight".
    score
        The column that chooses.
    largest
        Whether the largest is best; else the smallest.

    Returns
    -------
    list
        In the order of their methods; of equal scores the smallest λ wins.

    Raises
    ------
    KeyError
        A row has no such column.

    Examples
    --------
    >>> rows = [
    ...     {"method": "a", "weight": 1, "seed": 0, "accuracy": 0.5, "score": 3},
    ...     {"method": "a", "weight": 2, "seed": 0, "accuracy": 0.7, "score": 1},
    ... ]
    >>> [row["weight"] for row in chosen(rows, "score")]
    [1]
    """
    groups: dict[tuple[tuple[str, Any], ...], list[Mapping[str, Any]]] = {}
    for row in rows:
        if score not in row:
            raise KeyError(f"no column {score!r} in {dict(row)}")
        key = list(row)[: list(row).index("seed") + 1]
        groups.setdefault(tuple((k, row[k]) for k in key if k != "weight"), []).append(row)
    sign = -1 if largest else 1
    return [min(group, key=lambda r: (sign * r[score], r["weight"])) for group in groups.values()]


def _forever(n: int, size: int, generator: torch.Generator) -> Iterator[Tensor]:
    """Yield rows of batches of one size, every row once before any comes again."""
    while True:
        order = torch.randperm(n, generator=generator)
        yield from torch.split(order[: n - n % size], size)
