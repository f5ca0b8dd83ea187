r"""Transfer by instances (section 3.3): weight the rows of the source, or select some of them.

Source first, target second, one row an example. Weights say how often a source row should count so
that the source stands for the target; a training multiplies each row's loss by its weight.
"""

import warnings
from collections.abc import Callable, Sequence
from functools import partial
from math import inf, log
from typing import NamedTuple, TypeAlias

import torch
from torch import Tensor

from mapping_lib._checks import (
    place_of,
    require_features,
    require_finite,
    require_float,
    require_labels,
    require_logits,
    require_number,
    seen,
    shape,
    warn_of_distribution,
    warn_of_few,
)
from mapping_lib._solvers import matching_weights, mixture_shares
from mapping_lib.adaptation import importance_weights
from mapping_lib.kernels import gaussian_kernel, median_heuristic

__all__ = [
    "Boosted",
    "classifier_ratio",
    "effective_sample_size",
    "k_center",
    "kernel_mean_matching",
    "kliep",
    "select_confident",
    "self_paced_weights",
    "tradaboost",
]

Hypothesis: TypeAlias = Callable[[Tensor], Tensor]
"""Maps rows ``(n, d)`` to classes ``(n,)``, 0 or 1."""

Learner: TypeAlias = Callable[[Tensor, Tensor, Tensor], Hypothesis]
"""Maps rows, their classes and their weights, which sum to 1, to a hypothesis."""

SOME = 500  # target rows, which are enough for the length of their mean
FOLDS = 5  # target rows are held out in so many parts where KLIEP chooses a bandwidth


class Boosted(NamedTuple):
    r"""What boosting found: hypotheses :math:`h_r`, their :math:`\beta_r`, and the weights.

    `weights` has a row for each round and one for the end, ``(rounds + 1, n_s + n_t)``, each with
    sum 1, source first. Made by :func:`tradaboost`.
    """

    hypotheses: list[Hypothesis]
    betas: Tensor
    weights: Tensor

    def predict(self, rows: Tensor) -> Tensor:
        """Give rows the class that the later half of the hypotheses votes for."""
        half = (len(self.hypotheses) - 1) // 2
        said = torch.stack([h(rows) for h in self.hypotheses[half:]]).to(self.betas)  # (rounds, n)
        votes = -self.betas[half:].log().unsqueeze(1) * (said - 0.5)
        return (votes.sum(0) >= 0).long()


def effective_sample_size(weights: Tensor) -> Tensor:
    r"""Say how many equally weighted rows the weighted ones are worth.

    .. math:: n_{\text{eff}} = \frac{\bigl(\sum_i w_i\bigr)^2}{\sum_i w_i^2}

    A weighted mean of values of variance :math:`\sigma^2` has the variance
    :math:`\sigma^2 / n_{\text{eff}}`. Far below n it warns: the domains hardly overlap, and a few
    rows decide.

    Taught in :ref:`instance-weighting` (section 3.3.1).
    Source: :cite:t:`kish1965survey`; in importance sampling
    :cite:t:`kong1994sequential`.

    Parameters
    ----------
    weights
        Weights ``(n,)``, not negative, of any sum above 0.

    Returns
    -------
    Tensor
        A scalar from 1 to n.

    Raises
    ------
    TypeError
        The weights aren't a floating-point tensor.
    ValueError
        They aren't a vector, one is negative, NaN or infinite, or all are 0.

    Examples
    --------
    >>> effective_sample_size(torch.tensor([2., 2., 0., 0.]))
    tensor(2.)
    """
    require_float(weights=weights)
    require_finite(weights=weights)
    if weights.ndim != 1:
        raise ValueError(f"weights must be a vector, one a row, got shape {shape(weights)}")
    if seen((weights < 0).any()):
        raise ValueError(
            f"weights must not be negative, got {float(weights.min()):g}; "
            "a ratio of densities never is, so clamp what an estimate left below 0"
        )
    if seen(weights.sum() == 0):
        raise ValueError(
            f"all {len(weights)} weights are 0, so no row counts; "
            "no source row resembles the target, or the weights were rounded away"
        )
    share = weights / weights.max()  # squares neither overflow nor vanish
    return share.sum().square() / share.square().sum()


def kernel_mean_matching(
    source: Tensor,
    target: Tensor,
    *,
    bandwidth: float | None = None,
    bound: float = 1000.0,
    slack: float | None = None,
    ridge: float = 1.0,
) -> Tensor:
    r"""Weigh the source so that its mean in a kernel's feature space is the target's.

    .. math::

        \min_{w} \; \Bigl\lVert \frac{1}{n_s} \sum_{i=1}^{n_s} w_i \varphi(x^s_i) -
        \frac{1}{n_t} \sum_{j=1}^{n_t} \varphi(x^t_j) \Bigr\rVert^2
        + \frac{\rho}{n_s^2} \sum_{i=1}^{n_s} w_i^2, \qquad
        0 \le w_i \le w_{\max}, \quad
        \Bigl\lvert \frac{1}{n_s} \sum_{i=1}^{n_s} w_i - 1 \Bigr\rvert \le \delta

    A quadratic program: :math:`\min \frac12 w^\top (K + \rho I) w - \kappa^\top w` with
    :math:`K_{ij} = k(x^s_i, x^s_j)`,
    :math:`\kappa_i = \frac{n_s}{n_t} \sum_j k(x^s_i, x^t_j)`, the Gaussian kernel and
    :math:`\langle \varphi(x), \varphi(y) \rangle = k(x, y)`.

    The paper has no ridge, :math:`\rho = 0`. Then many weights are nearly as good as the best, and
    the best are a few large ones wherever the kernel is smooth and the features few: it matches
    the noise of the samples. The ridge adds the variance that unequal weights cost.

    Up to 500 source rows, and more where K has low rank, as with few features, an interior point
    method finds the optimum. Others go by projected gradient, conjugate between the bounds, and by
    the former if that doesn't settle.

    Taught in :ref:`instance-weighting` (section 3.3.1).
    Source: :cite:t:`huang2006correcting`, without the ridge.

    Parameters
    ----------
    source
        Features ``(n_s, d)``.
    target
        Features ``(n_t, d)``.
    bandwidth
        Of the kernel; None for the median heuristic.
    bound
        :math:`w_{\max}`, above 1, the most that a row may count.
    slack
        :math:`\delta` in [0, 1]; None for :math:`1 - 1 / \sqrt{n_s}`.
    ridge
        :math:`\rho`, not negative.

    Returns
    -------
    Tensor
        Weights ``(n_s,)`` of mean about 1, without gradient.

    Raises
    ------
    TypeError
        A tensor isn't floating point, the dtypes differ, or a setting isn't a number.
    ValueError
        The widths differ, there are NaN or infinite values, a setting is out of range, or no
        source row has a target row within reach of the bandwidth.

    Warns
    -----
    UserWarning
        The domains hardly overlap: the weights are worth less than a tenth of their number, or the
        product of the weighted mean with the target's is less than 2/3 of the latter's square.

    Examples
    --------
    >>> source, target = torch.tensor([[0.], [99.]]), torch.tensor([[0.], [0.], [0.], [99.]])
    >>> kernel_mean_matching(source, target, bandwidth=1, ridge=0)  # 3/4 and 1/4 of two rows
    tensor([1.5000, 0.5000])
    """
    require_features(source=source, target=target)
    n = len(source)
    slack = 1 - n**-0.5 if slack is None else slack
    require_number("slack", slack, most=1)
    require_number("bound", bound, below=inf)
    require_number("ridge", ridge, below=inf)
    if bound <= 1:
        raise ValueError(f"bound must be above 1, the mean of the weights, got {bound:g}")
    rows, others = source.detach().double(), target.detach().double()
    sigma = median_heuristic(rows, others) if bandwidth is None else bandwidth
    K = gaussian_kernel(rows, rows, bandwidth=sigma)
    kappa = n * gaussian_kernel(rows, others, bandwidth=sigma).mean(1)
    if seen(kappa.max() == 0):
        raise ValueError(
            f"no source row has a target row within reach of bandwidth={float(sigma):g}; "
            "choose a larger one"
        )
    least, most = n * (1 - slack), n * (1 + slack)
    beta = matching_weights(K, kappa, ridge=ridge, bound=bound, least=least, most=most)
    weights = beta.to(source.dtype)
    some = others[:: -(-len(others) // SOME)]
    itself = gaussian_kernel(some, some, bandwidth=sigma).mean()
    warn_of_few(weights, reached=beta @ kappa / n**2 / itself)
    return weights


def kliep(
    source: Tensor,
    target: Tensor,
    *,
    generator: torch.Generator,
    bandwidth: float | Sequence[float] | None = None,
    centres: int = 100,
    at: Tensor | None = None,
) -> Tensor:
    r"""Estimate the density ratio target over source as a mixture of kernels (KLIEP).

    .. math::

        w(x) = \sum_{b=1}^{B} \alpha_b \, k(x, c_b), \qquad
        \max_{\alpha \ge 0} \; \frac{1}{n_t} \sum_{j=1}^{n_t} \log w(x^t_j), \qquad
        \frac{1}{n_s} \sum_{i=1}^{n_s} w(x^s_i) = 1

    Maximum likelihood: of all densities :math:`w(x) \, p_s(x)` it gives the target's rows the
    highest one. The problem is concave. With :math:`m_b` the mean of :math:`k(x^s_i, c_b)` over
    the source, the likelihood can be no more than :math:`\log \max_b g_b` below the largest,

    .. math:: g_b = \frac{1}{n_t} \sum_{j=1}^{n_t} \frac{k(x^t_j, c_b)}{m_b \, w(x^t_j)}

    An interior point method ends when that is less than a millionth.

    Taught in :ref:`instance-weighting` (section 3.3.1).
    Source: :cite:t:`sugiyama2008direct`.

    Parameters
    ----------
    source
        Features ``(n_s, d)``.
    target
        Features ``(n_t, d)``.
    generator
        Draws the centres, and the folds where a bandwidth is chosen.
    bandwidth
        Of the Gaussian kernel; None for the median heuristic. Of several the one with the highest
        likelihood on held-out target rows, in five folds.
    centres
        B; the :math:`c_b` are so many of the target's rows, or all of them.
    at
        Rows at which to give the ratio; None for the source.

    Returns
    -------
    Tensor
        The ratio at each row, ``(n_s,)`` or ``(n,)``, without gradient; its mean over the source
        is 1.

    Raises
    ------
    TypeError
        A tensor isn't floating point, the dtypes differ, or a setting isn't a number.
    ValueError
        The widths differ, there are NaN or infinite values, a setting is out of range, or no
        centre has a source row within reach of the bandwidth.

    Warns
    -----
    UserWarning
        The domains hardly overlap: the weights are worth less than a tenth of their number, or the
        weighted source's mean in the kernel's feature space is less than 2/3 of the target's.

    Examples
    --------
    >>> source, target = torch.tensor([[0.], [99.]]), torch.tensor([[0.], [0.], [0.], [99.]])
    >>> kliep(source, target, bandwidth=1, generator=torch.Generator())
    tensor([1.5000, 0.5000])
    """
    at = source if at is None else at
    require_features(source=source, target=target, at=at)
    require_number("centres", centres, least=1)
    rows, others = source.detach().double(), target.detach().double()
    order = torch.randperm(len(others), generator=generator, device=place_of(generator))
    order = order.to(others.device)
    if bandwidth is None:
        bandwidth = float(median_heuristic(rows, others))
    elif isinstance(bandwidth, Sequence):
        bandwidth = _likeliest(rows, others, order, int(centres), bandwidth)
    near = partial(gaussian_kernel, y=others[order[: int(centres)]], bandwidth=bandwidth)
    of_source, of_target = near(rows), near(others)  # (n_s, B), (n_t, B)
    alpha = _heights(of_target, of_source.mean(0))
    if alpha is None:
        raise ValueError(
            f"no centre has a source row within reach of bandwidth={bandwidth:g}; "
            "choose a larger one"
        )
    w = of_source @ alpha
    weights = w.to(source.dtype)
    warn_of_few(weights, reached=(w @ of_source).mean() / len(w) / of_target.mean())
    return weights if at is source else (near(at.detach().double()) @ alpha).to(source.dtype)


def classifier_ratio(
    source: Tensor, target: Tensor, *, regularisation: float = 1.0, at: Tensor | None = None
) -> Tensor:
    r"""Estimate the density ratio target over source by a classifier that tells them apart.

    .. math:: w(x) = \frac{n_s}{n_t} \, e^{-d(x)}, \qquad
        d(x) = \log \frac{P(\text{source} \mid x)}{P(\text{target} \mid x)}

    Here d is logistic regression on standardised features, so log w is linear in x; for another
    classifier give its logits to :func:`mapping_lib.adaptation.importance_weights`.

    Taught in :ref:`instance-weighting` (section 3.3.1).
    Source: :cite:t:`bickel2007discriminative`.

    Parameters
    ----------
    source
        Features ``(n_s, d)``.
    target
        Features ``(n_t, d)``.
    regularisation
        Weight of half the squared norm of the classifier's coefficients, beside the summed log-loss
        of standardised features; positive.
    at
        Rows at which to give the ratio; None for the source.

    Returns
    -------
    Tensor
        The ratio at each row, ``(n_s,)`` or ``(n,)``, without gradient.

    Raises
    ------
    TypeError
        A tensor isn't floating point, the dtypes differ, or a setting isn't a number.
    ValueError
        The widths differ, there are NaN or infinite values, or the regularisation isn't positive.

    Warns
    -----
    UserWarning
        The domains hardly overlap: the source's weights are worth less than a tenth of their
        number, or their mean, 1 for a ratio of densities, is below 2/3.

    Examples
    --------
    >>> source, target = torch.tensor([[0.], [1.]]), torch.tensor([[0.], [0.], [1.], [1.]])
    >>> classifier_ratio(source, target)  # the same distribution
    tensor([1.0000, 1.0000])
    """
    at = source if at is None else at
    require_features(source=source, target=target, at=at)
    require_number("regularisation", regularisation)
    if regularisation == 0:
        raise ValueError("regularisation must be positive, got 0; a small one is enough")
    from sklearn.linear_model import LogisticRegression
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    classifier = make_pipeline(
        StandardScaler(), LogisticRegression(C=1 / regularisation, max_iter=1000)
    )
    rows, others = (x.detach().double().cpu().numpy() for x in (source, target))
    n, m = len(rows), len(others)
    classifier.fit([*rows, *others], [1] * n + [0] * m)

    def ratio(x: Tensor) -> Tensor:
        logits = classifier.decision_function(x.detach().double().cpu().numpy())
        return importance_weights(torch.from_numpy(logits).to(x), source_share=n / (n + m))

    with warnings.catch_warnings():  # the one below takes more into account
        warnings.simplefilter("ignore", UserWarning)
        weights, wanted = ratio(source), ratio(at)
    warn_of_few(weights, reached=weights.mean())
    return wanted


def tradaboost(
    source: Tensor,
    source_labels: Tensor,
    target: Tensor,
    target_labels: Tensor,
    *,
    rounds: int = 20,
    learner: Learner | None = None,
) -> Boosted:
    r"""Boost on the target's few labels, and trust the source less where it errs (TrAdaBoost).

    .. math::

        w_i \leftarrow \begin{cases}
        w_i \, \beta^{\lvert h_r(x_i) - y_i \rvert} & \text{source} \\
        w_i \, \beta_r^{-\lvert h_r(x_i) - y_i \rvert} & \text{target}
        \end{cases} \qquad
        \beta = \frac{1}{1 + \sqrt{2 \log(n_s) / N}}, \quad
        \beta_r = \frac{\epsilon_r}{1 - \epsilon_r}, \quad
        \epsilon_r = \frac{\sum_{\text{target}} w_i \lvert h_r(x_i) - y_i \rvert}
        {\sum_{\text{target}} w_i}

    In each of N rounds :math:`h_r` is learnt from all rows by their weights. The later half of
    them, weighted by :math:`-\log \beta_r`, votes.

    The rounds end early where :math:`\epsilon_r \ge \frac12`; an :math:`\epsilon_r` of 0 counts as
    half a target row in error, so that no vote is infinite.

    Taught in :ref:`instance-weighting` (section 3.3.1).
    Source: :cite:t:`dai2007boosting`, algorithm 1.

    Parameters
    ----------
    source
        Features ``(n_s, d)``.
    source_labels
        Classes ``(n_s,)``, 0 or 1.
    target
        Features ``(n_t, d)``.
    target_labels
        Classes ``(n_t,)``, 0 or 1.
    rounds
        N.
    learner
        Maps rows, classes and weights to a hypothesis; None for logistic regression.

    Returns
    -------
    Boosted
        Hypotheses, their :math:`\beta_r`, and the weights by round; `predict` gives the vote.

    Raises
    ------
    TypeError
        A tensor isn't floating point, the dtypes differ, or labels aren't integers.
    ValueError
        The widths differ, there are NaN or infinite values, labels other than 0 and 1 or not one a
        row, rounds below 1, or the first hypothesis is no better than chance on the target.

    Examples
    --------
    >>> source, target = torch.tensor([[0.], [1.], [3.]]), torch.tensor([[0.], [3.]])
    >>> labels, few = torch.tensor([1, 0, 1]), torch.tensor([0, 1])  # of row 0. they disagree
    >>> learner = lambda rows, labels, weights: lambda x: (x[:, 0] > 2).long()
    >>> found = tradaboost(source, labels, target, few, rounds=1, learner=learner)
    >>> found.weights[1] < found.weights[1].max(), found.predict(source)
    (tensor([ True, False, False, False, False]), tensor([0, 0, 1]))
    """
    require_features(source=source, target=target)
    require_labels("source_labels", source_labels, len(source), 2)
    require_labels("target_labels", target_labels, len(target), 2)
    require_number("rounds", rounds, least=1)
    learner = _logistic_regression if learner is None else learner
    n = len(source)
    rows = torch.cat([source, target]).detach()
    labels = torch.cat([source_labels, target_labels]).to(rows.device)
    share = rows.new_full((len(rows),), 1 / len(rows))
    beta = 1 / (1 + (2 * log(n) / rounds) ** 0.5)
    hypotheses: list[Hypothesis] = []
    betas: list[Tensor] = []
    history = [share]
    for _ in range(int(rounds)):
        hypothesis = learner(rows, labels, share)
        wrong = (hypothesis(rows).to(labels) - labels).abs().to(rows)
        error = (share[n:] * wrong[n:]).sum() / share[n:].sum()
        if seen(error >= 0.5):
            break
        error = error.clamp(min=0.5 / len(target))
        beta_t = error / (1 - error)
        share = torch.cat([share[:n] * beta ** wrong[:n], share[n:] * beta_t ** -wrong[n:]])
        share = share / share.sum()
        hypotheses.append(hypothesis)
        betas.append(beta_t)
        history.append(share)
    if not hypotheses:
        raise ValueError(
            f"the first hypothesis errs on {float(error):.0%} of the target's weight, no better "
            "than chance; take another learner, or leave the source out"
        )
    return Boosted(hypotheses, torch.stack(betas), torch.stack(history))


def select_confident(
    logits: Tensor, *, threshold: float | None = None, count: int | None = None
) -> Tensor:
    r"""Choose the rows of whose class the model is most sure.

    .. math:: S = \{ i : \max_k p_{ik} \ge \tau \}, \qquad p_i = \operatorname{softmax}(z_i)

    With a count instead of the threshold :math:`\tau`, S holds the rows with the largest
    :math:`\max_k p_{ik}`.

    Taught in :ref:`instance-selection` (section 3.3.2).
    Source: :cite:t:`lewis1994sequential` turned round, who label what is least sure.

    Parameters
    ----------
    logits
        :math:`z`, ``(n, K)`` with at least two classes.
    threshold
        :math:`\tau` in [0, 1].
    count
        The number of rows.

    Returns
    -------
    Tensor
        Their indices in ascending order; of equally sure rows the first.

    Raises
    ------
    TypeError
        The logits aren't a floating-point tensor.
    ValueError
        Not exactly one of threshold and count, or out of range; the logits aren't a matrix, have
        one class only, or are NaN or infinite.

    Warns
    -----
    UserWarning
        Every row of logits is a probability distribution.

    Examples
    --------
    >>> logits = torch.tensor([[0., 0.], [9., 0.], [0., 3.]])
    >>> select_confident(logits, threshold=0.9), select_confident(logits, count=1)
    (tensor([1, 2]), tensor([1]))
    """
    require_logits(logits=logits)
    if (threshold is None) == (count is None):
        raise ValueError(
            f"give either threshold or count, got threshold={threshold}, count={count}"
        )
    warn_of_distribution(logits=logits)
    sure = logits.detach().softmax(dim=1).amax(dim=1)
    if count is None:
        assert threshold is not None
        require_number("threshold", threshold, most=1)
        return (sure >= threshold).nonzero().squeeze(1)
    _require_count(count, len(sure), "rows of logits")
    return sure.argsort(descending=True, stable=True)[:count].sort().values


def k_center(
    features: Tensor,
    *,
    count: int,
    generator: torch.Generator | None = None,
    chosen: Tensor | None = None,
) -> Tensor:
    r"""Choose rows so that no row is far from the nearest chosen one: a coreset.

    .. math:: \min_{|S| = k} \; \max_i \; \min_{j \in S} \lVert x_i - x_j \rVert

    Greedily: the next row is the one farthest from all that are chosen. The largest distance is
    then at most twice the least possible.

    Taught in :ref:`instance-selection` (section 3.3.2).
    Source: :cite:t:`sener2018active`, algorithm 1; the factor 2 :cite:t:`gonzalez1985clustering`.

    Parameters
    ----------
    features
        Features ``(n, d)``.
    count
        The number k of rows to choose.
    generator
        Draws the first row; needed where none is chosen yet.
    chosen
        Indices of rows that are chosen already, such as those with labels.

    Returns
    -------
    Tensor
        Indices ``(count,)`` of the newly chosen rows, in the order of choice.

    Raises
    ------
    TypeError
        The features aren't floating point, or chosen isn't whole numbers.
    ValueError
        There are fewer rows left than count, neither a generator nor chosen rows, or NaN or
        infinite values.

    Examples
    --------
    >>> rows = torch.tensor([[0.], [1.], [9.], [4.]])
    >>> k_center(rows, count=2, chosen=torch.tensor([0]))  # 9 away, then 4 away
    tensor([2, 3])
    """
    require_features(features=features)
    rows, n = features.detach(), len(features)
    if chosen is None:
        _require_count(count, n, "rows of features")
        if generator is None:
            raise ValueError("nothing is chosen yet: give a generator, which draws the first row")
        first = torch.randint(n, (1,), generator=generator, device=place_of(generator))
        found = [int(first)]
    else:
        if chosen.is_floating_point() or chosen.dtype == torch.bool:
            raise TypeError(
                f"chosen must hold indices, got {chosen.dtype}; use nonzero() on a mask"
            )
        if chosen.ndim != 1 or not len(chosen) or seen(((chosen < 0) | (chosen >= n)).any()):
            raise ValueError(f"chosen must be a vector of rows from 0 to {n - 1}, got {chosen}")
        _require_count(count, n - len(set(chosen.tolist())), "rows that aren't chosen yet")
        found = []
    nearest = rows.new_full((n,), inf)
    for j in found if chosen is None else chosen.tolist():
        nearest = torch.minimum(nearest, (rows - rows[j]).square().sum(1))
        nearest[j] = -inf  # never again, also where rows are equal
    while len(found) < count:
        j = int(nearest.argmax())
        found.append(j)
        nearest = torch.minimum(nearest, (rows - rows[j]).square().sum(1))
        nearest[j] = -inf
    return torch.tensor(found, device=features.device)


def self_paced_weights(losses: Tensor, *, age: float, soft: bool = False) -> Tensor:
    r"""Weights that let easy examples in first, and harder ones as the model grows older.

    .. math::

        v_i = \begin{cases} 1 & \ell_i < \lambda \\ 0 & \text{otherwise} \end{cases}
        \quad \text{minimises} \quad \sum_i v_i \ell_i - \lambda \sum_i v_i,
        \quad v_i \in [0, 1]

    With the soft regulariser :math:`\frac{\lambda}{2} \sum_i (v_i^2 - 2 v_i)` instead, it is
    :math:`v_i = \max(0, 1 - \ell_i / \lambda)`. A training raises the age :math:`\lambda` step by
    step until all examples count.

    Taught in :ref:`instance-selection` (section 3.3.2).
    Source: :cite:t:`kumar2010self`; soft :cite:t:`jiang2014easy`.

    Parameters
    ----------
    losses
        :math:`\ell`, one an example, of any shape.
    age
        :math:`\lambda`, positive, in units of the losses.
    soft
        Whether the weights fall from 1 to 0, in place of a jump.

    Returns
    -------
    Tensor
        Weights in [0, 1] in the shape of the losses, without gradient.

    Raises
    ------
    TypeError
        The losses aren't a floating-point tensor, or the age isn't a number.
    ValueError
        A loss is negative, NaN or infinite, or the age isn't positive.

    Examples
    --------
    >>> self_paced_weights(torch.tensor([0.5, 3.]), age=2)
    tensor([1., 0.])
    >>> self_paced_weights(torch.tensor([0.5, 3.]), age=2, soft=True)
    tensor([0.7500, 0.0000])
    """
    require_float(losses=losses)
    require_finite(losses=losses)
    require_number("age", age, below=inf)
    if age == 0:
        raise ValueError("age must be positive, got 0: no example would count")
    if seen((losses < 0).any()):
        raise ValueError(f"losses must not be negative, got {float(losses.min()):g}")
    share = losses.detach() / age
    return (1 - share).clamp(min=0) if soft else (share < 1).to(losses)


def _heights(similar: Tensor, m: Tensor) -> Tensor | None:
    """Give the alpha of KLIEP from the kernels at target rows; None if no centre is in reach."""
    within = m > torch.finfo(m.dtype).tiny  # without a source row near, a height has no bound
    if not within.any():
        return None
    alpha = torch.zeros_like(m)
    alpha[within] = mixture_shares(similar[:, within] / m[within]) / m[within]
    return alpha


def _likeliest(
    source: Tensor, target: Tensor, order: Tensor, centres: int, bandwidths: Sequence[float]
) -> float:
    """Give the bandwidth with the largest likelihood of target rows held out."""
    if not bandwidths or len(target) < FOLDS:
        raise ValueError(
            f"to choose a bandwidth give at least one and {FOLDS} target rows, got "
            f"{len(bandwidths)} and {len(target)}"
        )
    scores = [_held_out_likelihood(source, target, order, centres, b) for b in bandwidths]
    return bandwidths[scores.index(max(scores))]


def _held_out_likelihood(
    source: Tensor, target: Tensor, order: Tensor, centres: int, bandwidth: float
) -> float:
    """Sum log w over the target's rows, each w from the folds that the row isn't in."""
    near = partial(gaussian_kernel, bandwidth=bandwidth)
    similar, m = near(target, target), near(source, target).mean(0)
    fold = torch.arange(len(order), device=order.device) % FOLDS
    score = 0.0
    for number in range(FOLDS):
        held, kept = order[fold == number], order[fold != number]
        c = kept[:centres]
        alpha = _heights(similar[kept][:, c], m[c])
        w = similar[held][:, c] @ (m[c] * 0 if alpha is None else alpha)
        score += float(w.clamp(min=torch.finfo(w.dtype).tiny).log().sum())
    return score


def _logistic_regression(rows: Tensor, labels: Tensor, weights: Tensor) -> Hypothesis:
    """Fit logistic regression by weights of mean 1, on standardised features."""
    from sklearn.linear_model import LogisticRegression
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    model = make_pipeline(StandardScaler(), LogisticRegression(max_iter=1000))
    scaled = (weights * len(weights)).double().cpu().numpy()
    model.fit(rows.cpu(), labels.cpu(), logisticregression__sample_weight=scaled)
    return lambda x: torch.as_tensor(model.predict(x.detach().cpu()), device=x.device)


def _require_count(count: int, most: int, what: str) -> None:
    if not isinstance(count, int) or not 1 <= count <= most:
        raise ValueError(f"count must be a whole number from 1 to {most} ({what}), got {count!r}")
