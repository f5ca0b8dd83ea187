"""Wrong labels: put in at known places, looked for by confident learning, and what they do to a
ranking.

Taught in :ref:`imagenet` (section 7.3.1).
"""

from __future__ import annotations

import numpy as np
import torch
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import StratifiedKFold, cross_val_predict
from torch import Tensor

from mapping_lib._checks import require_number

KINDS = ("any", "next")


def with_errors(
    labels: Tensor, *, share: float, classes: int, seed: int, kind: str = "any"
) -> tuple[Tensor, Tensor]:
    """Change some labels, and tell which.

    Parameters
    ----------
    labels
        Shape (n,), from 0.
    share
        The chance of each label to be changed, from 0 to 1.
    classes
        Number of classes, at least 2.
    seed
        Draws them.
    kind
        ``"any"``: to any other class; ``"next"``: to the class after it, as if each class were
        taken for one other.

    Returns
    -------
    Tensor, Tensor
        The labels, and whether each was changed.

    Raises
    ------
    ValueError
        A share or a kind that can't be.

    Examples
    --------
    >>> with_errors(torch.tensor([0, 1, 2]), share=1.0, classes=3, seed=0, kind="next")
    (tensor([1, 2, 0]), tensor([True, True, True]))
    """
    require_number("share", share, most=1)
    if kind not in KINDS:
        raise ValueError(f"kind must be one of {KINDS}, got {kind!r}")
    if classes < 2:
        raise ValueError(f"classes must be at least 2, got {classes}")
    generator = torch.Generator().manual_seed(seed)
    changed = torch.rand(len(labels), generator=generator) < share
    step = torch.ones(len(labels), dtype=torch.int64)
    if kind == "any":
        step = torch.randint(1, classes, (len(labels),), generator=generator)
    return torch.where(changed, (labels + step) % classes, labels), changed


def out_of_fold(features: Tensor, labels: Tensor, *, seed: int, folds: int = 5) -> Tensor:
    """Return each example's class probabilities by a model that hasn't seen the example.

    A logistic regression (C = 1) is fitted as often as there are folds, each time without one fold.

    Parameters
    ----------
    features
        Shape (n, d).
    labels
        Shape (n,); every class of 0 … K − 1 must occur at least `folds` times.
    seed
        Draws the folds, each with about the same share of every class.
    folds
        How many.

    Returns
    -------
    Tensor
        Shape (n, K).

    Raises
    ------
    ValueError
        A class occurs less than `folds` times.
    """
    counts = labels.bincount()
    if counts.min() < folds:
        rare = int(counts.argmin())
        raise ValueError(
            f"class {rare} has {int(counts[rare])} examples for {folds} folds; take fewer folds"
        )
    found = cross_val_predict(
        LogisticRegression(max_iter=1000),
        features.numpy(),
        labels.numpy(),
        cv=StratifiedKFold(folds, shuffle=True, random_state=seed),
        method="predict_proba",
    )
    return torch.from_numpy(np.asarray(found))


def suspects(probabilities: Tensor, labels: Tensor) -> Tensor:
    r"""Tell which labels confident learning holds for wrong.

    Class j is *confident* for an example if its probability reaches what it has, on average, where
    j is the given label: :math:`p_j(x) \ge t_j`, with
    :math:`t_j = \frac{1}{n_j} \sum_{i:\, y_i = j} p_j(x_i)`. An example is suspect if the most
    probable of its confident classes isn't its label :cite:p:`northcutt2021confident`.

    Parameters
    ----------
    probabilities
        Shape (n, K), of models that haven't seen the example.
    labels
        Shape (n,); every class occurs.

    Returns
    -------
    Tensor
        Shape (n,), true where the label is suspect.

    Raises
    ------
    ValueError
        Shapes that don't fit, or a class without a label, whose threshold nothing would say.

    Examples
    --------
    >>> p = torch.tensor([[0.9, 0.1], [0.7, 0.3], [0.2, 0.8], [0.85, 0.15]])
    >>> suspects(p, torch.tensor([0, 0, 1, 1]))
    tensor([False, False, False,  True])
    """
    if probabilities.ndim != 2 or labels.shape != probabilities.shape[:1]:
        raise ValueError(
            f"probabilities (n, K) and labels (n,) are due, got {tuple(probabilities.shape)} and "
            f"{tuple(labels.shape)}"
        )
    classes = probabilities.shape[1]
    own = torch.nn.functional.one_hot(labels, classes).to(probabilities)
    counts = own.sum(0)
    if (counts == 0).any():
        raise ValueError(f"class {int(counts.argmin())} has no label, so it has no threshold")
    least = (probabilities * own).sum(0) / counts
    confident = probabilities >= least
    best = probabilities.masked_fill(~confident, -1).argmax(1)
    return confident.any(1) & (best != labels)


def precision_recall(said: Tensor, true: Tensor) -> tuple[float, float]:
    """Return which share of what was said is true, and which share of what is true was said.

    Examples
    --------
    >>> precision_recall(torch.tensor([True, True, False]), torch.tensor([True, False, False]))
    (0.5, 1.0)
    """
    hits = float((said & true).sum())
    return hits / max(int(said.sum()), 1), hits / max(int(true.sum()), 1)


def measured_accuracy(accuracy: float, *, right: float, wrong: float, noise: float) -> float:
    r"""Return the accuracy that a test with wrong labels shows, :math:`a - \rho\,(r - w)`.

    Of a test set, a share ρ has a wrong label. A model with true accuracy a answers there rightly
    with the share r, which the wrong label counts as a mistake, and gives the very same wrong label
    with the share w, which counts as right.

    Parameters
    ----------
    accuracy
        By true labels, on all examples.
    right, wrong
        Shares of the wrongly labelled examples: answered rightly, answered as the label says.
    noise
        Share of the wrong labels.

    Examples
    --------
    >>> measured_accuracy(0.9, right=0.8, wrong=0.1, noise=0.1)
    0.83
    """
    return round(accuracy - noise * (right - wrong), 12)


def turning_point(
    first: tuple[float, float, float], second: tuple[float, float, float]
) -> float | None:
    r"""Return the share of wrong test labels at which two models swap places, or None.

    :math:`\rho^* = (a_1 - a_2) / \bigl((r_1 - w_1) - (r_2 - w_2)\bigr)`, where it lies in (0, 1).

    Parameters
    ----------
    first, second
        Each model's accuracy, right and wrong, as :func:`measured_accuracy` takes them.

    Examples
    --------
    >>> turning_point((0.95, 0.75, 0.0), (0.9, 0.25, 0.5))
    0.05
    >>> turning_point((0.95, 0.5, 0.0), (0.9, 0.5, 0.0)) is None
    True
    """
    slope = (first[1] - first[2]) - (second[1] - second[2])
    if slope == 0:
        return None
    point = (first[0] - second[0]) / slope
    return round(point, 12) if 0 < point < 1 else None
