r"""Scores that rank sources before training on the target, and the gap that they should foretell.

A source is a trained model. Its predictions or its features on the target's few labelled examples
say how well its knowledge fits them: the higher the score, the better. Scores are compared between
sources on the same target examples; a single score means little.
"""

from math import pi
from typing import Literal

import torch
from torch import Tensor

from mapping_lib._checks import (
    _is_distribution,
    place_of,
    require_features,
    require_float,
    require_labels,
    require_matrix,
    require_number,
    require_same_shape,
    seen,
    shape,
)

__all__ = ["h_score", "leep", "logme", "nce", "negative_transfer_gap"]


def leep(source_probabilities: Tensor, labels: Tensor) -> Tensor:
    r"""Log likelihood of the target's labels under the source model's own classes.

    .. math::
        \frac1n \sum_{i=1}^n \log \sum_z \hat P(y_i \mid z) \, \theta_z(x_i), \qquad
        \hat P(y \mid z) = \frac{\sum_{i : y_i = y} \theta_z(x_i)}{\sum_i \theta_z(x_i)}

    :math:`\theta_z(x)` is the probability that the source model gives to its class :math:`z`. A
    source class that no example reaches (:math:`\sum_i \theta_z = 0`) adds nothing.

    Taught in :ref:`negative-transfer` (section 8.2.1).
    Source: :cite:t:`nguyen2020leep`, eq. 2.

    Parameters
    ----------
    source_probabilities
        :math:`\theta`, ``(n, Z)``: after the softmax, each row with sum 1.
    labels
        The target's classes :math:`y`, ``(n,)``.

    Returns
    -------
    Tensor
        A scalar in nats, at most 0; 0 if the source's classes determine the label.

    Raises
    ------
    TypeError
        The probabilities aren't floating point, or the labels aren't integers.
    ValueError
        The rows aren't probabilities, a value is NaN, or the numbers of rows differ.

    Examples
    --------
    >>> leep(torch.tensor([[1., 0., 0.], [0., 1., 0.]]), torch.tensor([0, 1]))
    tensor(0.)
    """
    require_float(source_probabilities=source_probabilities)
    require_matrix(source_probabilities=source_probabilities)
    _require_probabilities(source_probabilities)
    require_labels("labels", labels, len(source_probabilities))
    theta = _double(source_probabilities)
    classes, y = _classes(labels.to(theta.device))
    joint = theta.new_zeros(len(classes), theta.shape[1]).index_add(0, y, theta)
    conditional = joint / torch.where(joint.sum(0) > 0, joint.sum(0), 1)
    likelihood = (theta * conditional[y]).sum(1)
    return likelihood.log().mean().to(source_probabilities)


def nce(source_labels: Tensor, labels: Tensor) -> Tensor:
    r"""Negative conditional entropy of the target's labels, given the source's.

    .. math::
        -\hat H(Y \mid Z) = \sum_{y, z} \hat P(y, z) \log \frac{\hat P(y, z)}{\hat P(z)}

    with the shares :math:`\hat P` counted on the same examples.

    Taught in :ref:`negative-transfer` (section 8.2.1).
    Source: :cite:t:`tran2019transferability`, section 3.

    Parameters
    ----------
    source_labels
        :math:`z`, ``(n,)``: the class of each target example in the source's terms, such as the
        source model's prediction.
    labels
        :math:`y`, ``(n,)``: the target's.

    Returns
    -------
    Tensor
        A scalar in nats, between :math:`-\hat H(Y)` and 0, of the default dtype.

    Raises
    ------
    TypeError
        Labels aren't integers.
    ValueError
        There are no labels, a label is negative, or the numbers of labels differ.

    Examples
    --------
    >>> nce(torch.tensor([4, 4, 7, 7]), torch.tensor([0, 0, 1, 1]))
    tensor(0.)
    """
    require_labels("labels", labels, len(labels) if isinstance(labels, Tensor) else 0)
    require_labels("source_labels", source_labels, len(labels))
    if len(labels) == 0:
        raise ValueError("labels is empty; give it at least one label")
    z = _classes(source_labels.to(labels.device))[1]
    y = _classes(labels)[1]
    counts = torch.zeros(
        int(z.max()) + 1, int(y.max()) + 1, dtype=torch.get_default_dtype(), device=labels.device
    )
    counts.index_put_((z, y), counts.new_ones(()), accumulate=True)
    joint = counts / len(labels)
    source, both = (torch.special.entr(p).sum() for p in (joint.sum(1), joint))  # H(Z), H(Y, Z)
    score: Tensor = (source - both).clamp(max=0)
    return score


def logme(features: Tensor, labels: Tensor) -> Tensor:
    r"""Log evidence of linear models on frozen features, an example and target column.

    .. math::
        \max_{\alpha, \beta} \frac1n \log \int \mathcal N (y; F w, \beta^{-1} I) \,
        \mathcal N (w; 0, \alpha^{-1} I) \, dw

    The integral depends on :math:`t = \alpha / \beta` alone once :math:`\beta` is the best one:
    with the singular values :math:`\sigma_r` of :math:`F` and :math:`u_r` their left vectors

    .. math::
        -\frac12 \log \frac{2 \pi e \, S(t)}{n}
        - \frac1{2n} \sum_r \log \Bigl(1 + \frac{\sigma_r^2}{t}\Bigr), \qquad
        S(t) = \lVert y \rVert^2 - \sum_r \frac{\sigma_r^2}{\sigma_r^2 + t} (u_r^\top y)^2

    which holds for any :math:`n` and :math:`d`, also :math:`n < d`. One decomposition serves all
    columns; :math:`t` is searched on a grid, then between its neighbours.

    Taught in :ref:`negative-transfer` (section 8.2.1).
    Source: :cite:t:`you2021logme`, section 4; :cite:t:`you2022ranking`.

    Parameters
    ----------
    features
        :math:`F`, ``(n, d)``: the source's features of the target's examples.
    labels
        Integers ``(n,)``: each class present is a column of ones and zeros. Or numbers to predict,
        floating point, ``(n,)`` or ``(n, k)``.

    Returns
    -------
    Tensor
        A scalar in nats, the mean over the columns. It doesn't depend on the features' unit. Where
        fewer directions than examples fit a column exactly, its evidence has no bound; a millionth
        of its squared length is then taken to be out of their reach.

    Raises
    ------
    TypeError
        The features aren't floating point, or the labels are complex or boolean.
    ValueError
        NaN or infinite values, rows that don't match, fewer than two examples, a single class, or
        a column to predict that is constant.

    Examples
    --------
    >>> logme(torch.tensor([[1.], [-1.]]), torch.tensor([1., -1.])) > logme(
    ...     torch.tensor([[1.], [1.]]), torch.tensor([1., -1.]))
    tensor(True)
    """
    require_features(features=features, least=2)
    f = _double(features)
    y = _columns(labels, f)
    squares, projected = _decomposed(f, y)
    rest = (y.square().sum(0) - projected.sum(0)).clamp(min=0)  # what no direction reaches
    unreached = 1e-6 * y.square().sum(0)  # at least, where directions are missing
    rest = rest.maximum(unreached) if len(squares) < len(f) else torch.zeros_like(rest)
    return _best_evidence(squares, projected, rest, len(f)).mean().to(features)


def h_score(
    features: Tensor, labels: Tensor, *, shrinkage: float | Literal["auto"] = 0.0
) -> Tensor:
    r"""Scatter of the classes' means, measured in the scatter of all features.

    .. math::
        \operatorname{tr} \bigl( C_\lambda^{-1} \, (1 - \lambda) \,
        \operatorname{cov}(\mathbb{E}[f \mid y]) \bigr), \qquad
        C_\lambda = (1 - \lambda) C + \lambda \frac{\operatorname{tr} C}{d} I

    :math:`C` is the features' covariance and :math:`\lambda` the shrinkage. Without it, a
    direction without variance counts nothing, and examples that the features can tell apart one by
    one (:math:`n \le d`) give the largest score whatever the source.

    Taught in :ref:`negative-transfer` (section 8.2.1).
    Source: :cite:t:`bao2019information`, definition 2; shrinkage: :cite:t:`ibrahim2022newer`.

    Parameters
    ----------
    features
        ``(n, d)``: the source's features of the target's examples.
    labels
        ``(n,)``: the target's classes.
    shrinkage
        :math:`\lambda`, from 0 to below 1, or ``"auto"``: that of :cite:t:`ledoit2004well`.

    Returns
    -------
    Tensor
        A scalar without unit, from 0 to the number of classes minus 1 (and at most d).

    Raises
    ------
    TypeError
        The features aren't floating point, the labels aren't integers, or the shrinkage isn't a
        number.
    ValueError
        NaN or infinite values, rows that don't match, a single class, constant features, or a
        shrinkage out of range.

    Examples
    --------
    >>> h_score(torch.tensor([[0.], [0.], [2.], [2.]]), torch.tensor([0, 0, 1, 1]))
    tensor(1.)
    """
    require_features(features=features, least=2)
    require_labels("labels", labels, len(features))
    weight = _shrinkage(features, shrinkage)
    f = _double(features)
    classes, y = _classes(labels.to(f.device))
    _require_classes(len(classes))
    u, s, _ = torch.linalg.svd(f - f.mean(0), full_matrices=False)
    if seen(s[0] <= f.norm() * len(f) * torch.finfo(f.dtype).eps):
        raise ValueError("the features are constant; a source that answers all alike has no score")
    kept = s > s[0] * max(f.shape) * torch.finfo(f.dtype).eps
    mean = s.square().sum() / f.shape[1]
    share = (1 - weight) * s.square() / ((1 - weight) * s.square() + weight * mean)
    sums = f.new_zeros(len(classes), len(s)).index_add(0, y, u)
    between = (sums.square() / y.bincount().unsqueeze(1)).sum(0)  # of each whitened direction
    return torch.where(kept, share * between, 0).sum().to(features)


def negative_transfer_gap(
    transfer: Tensor,
    scratch: Tensor,
    *,
    confidence: float = 0.95,
    resamples: int = 10_000,
    generator: torch.Generator | None = None,
) -> Tensor:
    r"""Risk with a source minus risk without it, and its bootstrap interval over paired seeds.

    .. math::
        \hat g = \frac1k \sum_{j=1}^k \bigl( R_j(A(S, T)) - R_j(A(\varnothing, T)) \bigr)

    The algorithm :math:`A`, the budget and the target's examples are the same with the source
    :math:`S` and without. Positive: the source hurts. The interval holds the middle share of the
    gaps of k seeds drawn with replacement. With few seeds it is too narrow; compare
    :func:`mapping_lib.transferability.paired_interval`.

    Taught in :ref:`negative-transfer` (section 8.2.1).
    Source: :cite:t:`wang2019characterizing`, section 3; interval: :cite:t:`efron1993introduction`.

    Parameters
    ----------
    transfer, scratch
        Risks such as errors :math:`R_j`, ``(k, …)``, one row a seed, two at least: the lower the
        better.
    confidence
        The share of the resampled gaps inside the interval, in (0, 1).
    resamples
        How often the seeds are drawn.
    generator
        Draws the seeds; by default torch's own.

    Returns
    -------
    Tensor
        ``(3, …)``: the gap, the lower and the upper end of its interval, in the unit of the risks.

    Raises
    ------
    TypeError
        A tensor isn't floating point, or the dtypes differ.
    ValueError
        The shapes differ, there are fewer than two seeds, a value is NaN or infinite, or the
        confidence or the number of resamples is out of range.

    Examples
    --------
    >>> negative_transfer_gap(torch.tensor([0.5, 0.75]), torch.tensor([0.25, 0.5]))
    tensor([0.2500, 0.2500, 0.2500])
    """
    require_float(transfer=transfer, scratch=scratch)
    require_same_shape(transfer=transfer, scratch=scratch)
    difference = transfer - scratch
    if seen(~difference.isfinite().all()):
        raise ValueError("risks must be finite; find the runs that diverged")
    if difference.ndim == 0 or len(difference) < 2:
        raise ValueError("one seed says nothing about spread; give two at least, one a row")
    require_number("confidence", confidence, below=1)
    if confidence == 0:
        raise ValueError("confidence must be positive, got 0")
    if not isinstance(resamples, int) or resamples < 1:
        raise ValueError(f"resamples must be a whole number from 1, got {resamples}")
    k, d = len(difference), difference.reshape(len(difference), -1)
    place = place_of(generator, difference.device)
    drawn = torch.randint(k, (resamples, k), generator=generator, device=place).to(d.device)
    times = d.new_zeros(resamples, k).scatter_add_(1, drawn, d.new_ones(resamples, k))
    gaps = (times @ d / k).sort(0).values
    ends = [_quantile(gaps, (1 - side * confidence) / 2) for side in (1, -1)]
    return torch.stack([d.mean(0), *ends]).reshape(3, *difference.shape[1:])


def _quantile(ordered: Tensor, level: float) -> Tensor:
    """Return a quantile of each column of ordered rows, straight between two of them."""
    place = level * (len(ordered) - 1)
    below = min(int(place), max(len(ordered) - 2, 0))
    above = min(below + 1, len(ordered) - 1)
    return torch.lerp(ordered[below], ordered[above], place - below)


def _decomposed(f: Tensor, y: Tensor) -> tuple[Tensor, Tensor]:
    """Return the squared singular values above 0, and each column's squared projections on them."""
    wide = len(f) <= f.shape[1]
    squares, vectors = torch.linalg.eigh(f @ f.T if wide else f.T @ f)
    kept = squares > squares[-1].clamp(min=0) * max(f.shape) * torch.finfo(f.dtype).eps
    squares, vectors = squares[kept], vectors[:, kept]
    projected = (vectors.T @ (y if wide else f.T @ y)).square()
    return squares, projected if wide else projected / squares.unsqueeze(1)


def _best_evidence(squares: Tensor, projected: Tensor, rest: Tensor, n: int) -> Tensor:
    """Return each column's largest evidence over t, an example: on a grid, then by thirds."""
    if len(squares) == 0:  # features that are all zero
        return _evidence(rest, rest.new_zeros(()), n)
    low, high = float(squares[0].log()) - 16, float(squares[-1].log()) + 24
    grid = torch.linspace(low, high, 100, dtype=squares.dtype, device=squares.device)
    t = grid.exp().unsqueeze(1)
    values = _evidence(rest + t / (t + squares) @ projected, (squares / t).log1p().sum(1, True), n)
    best, place = values.max(0)
    a, b = grid[(place - 1).clamp(min=0)], grid[(place + 1).clamp(max=len(grid) - 1)]
    ratio = squares.unsqueeze(1)
    for _ in range(30):  # each takes a third of [a, b] away: (2 / 3)^30 of it is left
        thirds = torch.lerp(a, b, 1 / 3), torch.lerp(a, b, 2 / 3)
        first, second = (
            _evidence(
                rest + (projected / (1 + ratio / x.exp())).sum(0),
                (ratio / x.exp()).log1p().sum(0),
                n,
            )
            for x in thirds
        )
        a, b = torch.where(first < second, thirds[0], a), torch.where(first < second, b, thirds[1])
        best = best.maximum(first).maximum(second)
    return best


def _evidence(left: Tensor, log_determinant: Tensor, n: int) -> Tensor:
    """Return the log evidence an example of a column of which S(t) is left."""
    return -(1 + (2 * pi * left / n).log() + log_determinant / n) / 2


def _columns(labels: Tensor, f: Tensor) -> Tensor:
    """Return what is predicted, (n, k): one column a class, or the numbers as they are."""
    if isinstance(labels, Tensor) and labels.is_floating_point():
        require_features(labels=labels.unsqueeze(1) if labels.ndim == 1 else labels)
        y = _double(labels.unsqueeze(1) if labels.ndim == 1 else labels).to(f.device)
        if len(y) != len(f):
            raise ValueError(
                f"labels {shape(labels)} must have {len(f)} rows, one for each row of features"
            )
        if seen((y == y[0]).all(0).any()):
            raise ValueError("a column of labels is constant; leave it out, nothing predicts it")
        return y
    require_labels("labels", labels, len(f))
    classes, y = _classes(labels.to(f.device))
    _require_classes(len(classes))
    return torch.eye(len(classes), dtype=f.dtype, device=f.device)[y]


def _shrinkage(features: Tensor, shrinkage: float | Literal["auto"]) -> float:
    """Return the shrinkage as a number."""
    if shrinkage == "auto":
        from sklearn.covariance import ledoit_wolf_shrinkage

        return min(float(ledoit_wolf_shrinkage(features.detach().cpu().double().numpy())), 1 - 1e-9)
    require_number("shrinkage", shrinkage, below=1)
    return float(shrinkage)


def _classes(labels: Tensor) -> tuple[Tensor, Tensor]:
    """Return the classes present, and each label's place among them."""
    classes, places = torch.unique(labels, return_inverse=True)
    return classes, places


def _double(rows: Tensor) -> Tensor:
    """Return rows in float64, on the CPU where their device has none."""
    return (rows.cpu() if rows.device.type == "mps" else rows).double()


def _require_classes(count: int) -> None:
    """Require two classes at least."""
    if count < 2:
        raise ValueError(
            "all labels are of one class, which any source predicts; give examples of two at least"
        )


def _require_probabilities(rows: Tensor) -> None:
    """Require rows of probabilities, which come from a softmax."""
    if seen(~_is_distribution(rows)):
        sums = rows.sum(1)
        raise ValueError(
            "source_probabilities must be rows of probabilities (not negative, each row with sum "
            f"1), got values from {float(rows.min()):g} and sums from {float(sums.min()):g} to "
            f"{float(sums.max()):g}; use logits.softmax(1)"
        )
