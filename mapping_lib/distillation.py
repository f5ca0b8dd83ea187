r"""Distillation (section 8.3.2): a student network learns what a teacher network answers.

The student comes first, the teacher second. **No gradient reaches the teacher**: its answers are
what is to be learned, and a loss that could also move them would pull the teacher towards a worse
student. Where both networks teach each other, ``teacher_gradient=True`` lets it through.
"""

import math
from collections.abc import Callable

import torch
from torch import Tensor
from torch.nn.functional import huber_loss

from mapping_lib._checks import (
    place_of,
    require_features,
    require_finite,
    require_float,
    require_logits,
    require_number,
    require_same_shape,
    seen,
    shape,
    warn_of_distribution,
)
from mapping_lib.losses import cross_entropy

__all__ = [
    "attention_map",
    "attention_transfer",
    "distillation_loss",
    "hint_loss",
    "kd_loss",
    "relational_angle",
    "relational_distance",
    "shuffle_non_target",
    "soften",
]


def soften(logits: Tensor, *, temperature: float) -> Tensor:
    r"""Give the probabilities of a softmax at a temperature.

    .. math:: p_k(T) = \frac{e^{z_k / T}}{\sum_j e^{z_j / T}}

    At :math:`T = 1` they are the usual ones. Above it they come nearer to each other, and small
    ones can be told apart; towards 0 all goes to the largest logit.

    Taught in :ref:`distillation` (section 8.3.2).
    Source: :cite:t:`hinton2015distilling`, eq. 1.

    Parameters
    ----------
    logits
        Logits :math:`z`, ``(n, K)`` with at least two classes.
    temperature
        :math:`T > 0`, in units of the logits.

    Returns
    -------
    Tensor
        Probabilities, ``(n, K)``.

    Raises
    ------
    TypeError
        The logits aren't a floating-point tensor, or the temperature isn't a number.
    ValueError
        The logits aren't a matrix, have only one class, or are empty, NaN or infinite; or the
        temperature isn't positive and finite.

    Warns
    -----
    UserWarning
        Every row of logits is a probability distribution.

    Examples
    --------
    >>> soften(torch.tensor([[math.log(9.), 0.]]), temperature=2)  # 3 : 1 in place of 9 : 1
    tensor([[0.7500, 0.2500]])
    """
    require_logits(logits=logits)
    _require_temperature(temperature)
    warn_of_distribution(logits=logits)
    return (logits / temperature).softmax(dim=1)


def kd_loss(
    student_logits: Tensor,
    teacher_logits: Tensor,
    *,
    temperature: float,
    teacher_gradient: bool = False,
) -> Tensor:
    r"""Divergence of the student's softened answers from the teacher's, times :math:`T^2`.

    .. math::

        \frac{T^2}{n} \sum_{i=1}^{n} \sum_{k=1}^{K}
        p_{ik} \log \frac{p_{ik}}{q_{ik}}, \qquad
        p_i = \operatorname{softmax}(v_i / T), \quad q_i = \operatorname{softmax}(z_i / T)

    Its gradient for a logit is :math:`T (q_{ik} - p_{ik}) / n`. The difference shrinks as
    :math:`1 / T`, so the factor :math:`T^2` keeps the gradient's size: for logits with mean zero it
    goes to :math:`(z_{ik} - v_{ik}) / (n K)` as :math:`T \to \infty`, that of half the squared
    distance of the logits, over K.

    Taught in :ref:`distillation` (section 8.3.2).
    Source: :cite:t:`hinton2015distilling`, section 2 and eqs. 2 to 4.

    Parameters
    ----------
    student_logits
        Logits of the student :math:`z`, ``(n, K)``.
    teacher_logits
        Logits of the teacher :math:`v`, ``(n, K)``, for the same rows and classes.
    temperature
        :math:`T > 0` of both.
    teacher_gradient
        Whether a gradient reaches the teacher's logits as well.

    Returns
    -------
    Tensor
        A scalar in nats, not negative; 0 where the logits differ by a constant in each row.

    Raises
    ------
    TypeError
        Logits aren't floating point, their dtypes differ, or the temperature isn't a number.
    ValueError
        The rows or classes differ in number, there is only one class, logits are empty, NaN or
        infinite, or the temperature isn't positive and finite.

    Warns
    -----
    UserWarning
        Every row of logits is a probability distribution.

    Examples
    --------
    >>> kd_loss(torch.tensor([[0., 0.]]), torch.tensor([[0., -1e4]]), temperature=2)  # 4 log 2
    tensor(2.7726)
    """
    require_logits(student_logits=student_logits, teacher_logits=teacher_logits)
    _require_one_task(student_logits, teacher_logits)
    _require_temperature(temperature)
    warn_of_distribution(student_logits=student_logits, teacher_logits=teacher_logits)
    v = teacher_logits if teacher_gradient else teacher_logits.detach()
    log_p = (v / temperature).log_softmax(dim=1)
    log_q = (student_logits / temperature).log_softmax(dim=1)
    return temperature**2 * (log_p.exp() * (log_p - log_q)).sum(dim=1).mean()


def distillation_loss(
    student_logits: Tensor,
    teacher_logits: Tensor,
    labels: Tensor,
    *,
    temperature: float,
    alpha: float,
) -> Tensor:
    r"""Learn from labels and from the teacher at once.

    .. math:: (1 - \alpha) \, L_{\mathrm{CE}}(z, y) + \alpha \, T^2 L_{\mathrm{KL}}(z, v)

    with :func:`mapping_lib.losses.cross_entropy` at temperature 1 and :func:`kd_loss`, whose
    :math:`T^2` stays at every :math:`\alpha`, 0 and 1 among them.

    Taught in :ref:`distillation` (section 8.3.2).
    Source: :cite:t:`hinton2015distilling`, section 2.

    Parameters
    ----------
    student_logits
        Logits of the student, ``(n, K)``.
    teacher_logits
        Logits of the teacher, ``(n, K)``; no gradient reaches them.
    labels
        Labels ``(n,)``, integers from 0 to K - 1; or probabilities, ``(n, K)``.
    temperature
        :math:`T > 0` of the second term.
    alpha
        Share of the teacher in [0, 1].

    Returns
    -------
    Tensor
        A scalar in nats.

    Raises
    ------
    TypeError
        As in :func:`kd_loss` and :func:`mapping_lib.losses.cross_entropy`.
    ValueError
        As there, or the share is outside [0, 1].

    Warns
    -----
    UserWarning
        Every row of logits is a probability distribution.

    Examples
    --------
    >>> student, teacher = torch.tensor([[0., 0.]]), torch.tensor([[0., -1e4]])
    >>> distillation_loss(student, teacher, torch.tensor([1]), temperature=2, alpha=0.5)
    tensor(1.7329)
    """
    require_number("alpha", alpha, most=1)
    soft = kd_loss(student_logits, teacher_logits, temperature=temperature)
    return (1 - alpha) * cross_entropy(student_logits, labels) + alpha * soft


def shuffle_non_target(logits: Tensor, *, generator: torch.Generator | None = None) -> Tensor:
    r"""Shuffle each row's logits but the largest one: answers without dark knowledge.

    .. math:: \tilde v_{ik} = v_{i \pi_i(k)}, \qquad \pi_i(\arg\max_k v_{ik}) = \arg\max_k v_{ik}

    with a permutation :math:`\pi_i` of the other classes, drawn for each row. The answer, its
    confidence and the entropy stay; which wrong classes are nearly right is lost. A student that
    learns as well from these did not need to know it.

    Taught in :ref:`distillation` (section 8.3.2).
    Source: :cite:t:`furlanello2018born`, "dark knowledge with permuted predictions".

    Parameters
    ----------
    logits
        Logits of the teacher :math:`v`, ``(n, K)``; the first of equal maxima stays.
    generator
        Draws the permutations; None is torch's global one.

    Returns
    -------
    Tensor
        ``(n, K)``.

    Raises
    ------
    TypeError
        The logits aren't a floating-point tensor.
    ValueError
        The logits aren't a matrix, have only one class, or are empty, NaN or infinite.

    Examples
    --------
    >>> shuffle_non_target(torch.tensor([[1., 5., 1.]]))
    tensor([[1., 5., 1.]])
    """
    require_logits(logits=logits)
    n, K = logits.shape
    where = place_of(generator, logits.device)
    best = logits.argmax(dim=1, keepdim=True)
    others = torch.arange(K - 1, device=logits.device).expand(n, -1)
    others = others + (others >= best)
    order = torch.rand(n, K - 1, generator=generator, device=where).argsort(dim=1)
    drawn = others.gather(1, order.to(logits.device))
    shuffled = logits.gather(1, torch.cat([best, drawn], dim=1))
    return shuffled.scatter(1, torch.cat([best, others], dim=1), shuffled)


def hint_loss(
    student_features: Tensor,
    teacher_features: Tensor,
    regressor: Callable[[Tensor], Tensor] | None = None,
    *,
    teacher_gradient: bool = False,
) -> Tensor:
    r"""Half the squared distance between a student's layer and a teacher's.

    .. math:: \frac{1}{2n} \sum_{i=1}^{n} \lVert r(u_i) - v_i \rVert^2

    The regressor r, trained along with the student, takes the narrower layer to the wider one and
    is thrown away afterwards. The sum runs over all of a row's entries, so its weight depends on
    how many there are.

    Taught in :ref:`distillation` (section 8.3.2).
    Source: :cite:t:`romero2015fitnets`, eq. 3.

    Parameters
    ----------
    student_features
        Outputs of the student's layer :math:`u`, ``(n, ...)``.
    teacher_features
        Outputs of the teacher's layer :math:`v`, ``(n, ...)``.
    regressor
        The mapping r, such as ``nn.Linear(32, 256)`` or a 1×1 convolution; None where the shapes
        are equal.
    teacher_gradient
        Whether a gradient reaches the teacher's features as well.

    Returns
    -------
    Tensor
        A scalar in squared units of the features.

    Raises
    ------
    TypeError
        Features aren't floating point, or their dtypes differ.
    ValueError
        The shapes differ (after the regressor), or features are empty, NaN or infinite.

    Examples
    --------
    >>> hint_loss(torch.tensor([[1.]]), torch.tensor([[2., 4.]]), lambda u: u.expand(-1, 2))
    tensor(5.)
    """
    require_float(student_features=student_features, teacher_features=teacher_features)
    mapped = student_features if regressor is None else regressor(student_features)
    require_float(mapped=mapped, teacher_features=teacher_features)
    require_finite(mapped=mapped, teacher_features=teacher_features)
    if mapped.shape != teacher_features.shape:
        after = "" if regressor is None else " after the regressor"
        raise ValueError(
            f"the student's features have shape {shape(mapped)}{after}, the teacher's "
            f"{shape(teacher_features)}; give a regressor that maps one to the other"
        )
    v = teacher_features if teacher_gradient else teacher_features.detach()
    return (mapped - v).flatten(1).square().sum(dim=1).mean() / 2


def attention_map(maps: Tensor) -> Tensor:
    r"""Say how strongly a layer answers at each place, as one unit vector for each row.

    .. math::

        q_i = \frac{Q_i}{\lVert Q_i \rVert}, \qquad Q_{i,hw} = \sum_{c} A_{i,chw}^2

    Taught in :ref:`distillation` (section 8.3.2).
    Source: :cite:t:`zagoruyko2017paying`, section 3.1.

    Parameters
    ----------
    maps
        Outputs of a convolutional layer :math:`A`, ``(n, c, h, w)``.

    Returns
    -------
    Tensor
        ``(n, h w)``, not negative, each row of length 1; a row of zeros where the layer is silent.

    Raises
    ------
    TypeError
        The maps aren't a floating-point tensor.
    ValueError
        They haven't four axes, or are empty, NaN or infinite.

    Examples
    --------
    >>> attention_map(torch.tensor([[[[1., 1.]], [[1., -1.]]]]))
    tensor([[0.7071, 0.7071]])
    """
    require_float(maps=maps)
    require_finite(maps=maps)
    if maps.ndim != 4:
        raise ValueError(
            f"maps must have 4 axes (rows, channels, height, width), got shape {shape(maps)}; "
            "take the outputs of a convolution, before they are pooled or flattened"
        )
    tiny = torch.finfo(maps.dtype).tiny
    # The map has no unit: so scaled, the squares neither overflow nor vanish.
    largest = maps.detach().abs().amax(dim=(1, 2, 3), keepdim=True).clamp_min(tiny)
    energy = (maps / largest).square().sum(dim=1).flatten(1)
    unit: Tensor = energy / torch.linalg.vector_norm(energy, dim=1, keepdim=True).clamp_min(tiny)
    return unit


def attention_transfer(
    student_maps: Tensor, teacher_maps: Tensor, *, teacher_gradient: bool = False
) -> Tensor:
    r"""Squared distance between where a student's layer looks and where a teacher's does.

    .. math:: \frac{1}{n} \sum_{i=1}^{n} \lVert q_i^S - q_i^T \rVert^2

    with the maps :math:`q` of :func:`attention_map`. The paper has the distance without the square;
    its authors' code has the square, as here, but takes the mean over places, so that its value is
    smaller by the factor :math:`h w`.

    Taught in :ref:`distillation` (section 8.3.2).
    Source: :cite:t:`zagoruyko2017paying`, eq. 2.

    Parameters
    ----------
    student_maps
        Outputs of a convolutional layer of the student, ``(n, c_s, h, w)``.
    teacher_maps
        Outputs of one of the teacher, ``(n, c_t, h, w)``; channels may differ.
    teacher_gradient
        Whether a gradient reaches the teacher's maps as well.

    Returns
    -------
    Tensor
        A scalar without unit, between 0 and 2.

    Raises
    ------
    TypeError
        Maps aren't floating point, or their dtypes differ.
    ValueError
        Maps haven't four axes, differ in rows, height or width, or are empty, NaN or infinite.

    Examples
    --------
    >>> attention_transfer(torch.tensor([[[[1., 0.]]]]), torch.tensor([[[[0., 5.]]]]))
    tensor(2.)
    """
    require_float(student_maps=student_maps, teacher_maps=teacher_maps)
    q, p = attention_map(student_maps), attention_map(teacher_maps)
    (n, _, *size), (m, _, *teacher_size) = student_maps.shape, teacher_maps.shape
    _require_rows(n, m)
    if size != teacher_size:
        raise ValueError(
            f"the maps must have one height and width, got {tuple(size)} for the student and "
            f"{tuple(teacher_size)} for the teacher; bring one to the other's size with "
            "torch.nn.functional.adaptive_avg_pool2d"
        )
    return (q - (p if teacher_gradient else p.detach())).square().sum(dim=1).mean()


def relational_distance(
    student_features: Tensor, teacher_features: Tensor, *, teacher_gradient: bool = False
) -> Tensor:
    r"""How the distances among a student's features differ from those among a teacher's.

    .. math::

        \frac{1}{n(n-1)} \sum_{i \ne j} \ell \bigl( \psi(u_i, u_j) - \psi(v_i, v_j) \bigr),
        \qquad \psi(u_i, u_j) = \frac{\lVert u_i - u_j \rVert}{\mu_u}

    with the mean distance :math:`\mu_u` over all pairs :math:`i \ne j` and Huber's
    :math:`\ell(d) = d^2 / 2` for :math:`|d| \le 1`, else :math:`|d| - 1/2`. Only relations are
    compared, so the two widths may differ, and neither a shift, a rotation nor a scale of either
    set changes anything. The paper sums where this takes the mean over pairs. A pair of equal
    rows has distance 0 and no gradient; if all rows of the student are equal, their relations
    are taken as 0.

    Taught in :ref:`distillation` (section 8.3.2).
    Source: :cite:t:`park2019relational`, the distance-wise loss.

    Parameters
    ----------
    student_features
        Features of the student :math:`u`, ``(n, d_s)``, two rows at least.
    teacher_features
        Features of the teacher :math:`v`, ``(n, d_t)``, for the same rows.
    teacher_gradient
        Whether a gradient reaches the teacher's features as well.

    Returns
    -------
    Tensor
        A scalar without unit.

    Raises
    ------
    TypeError
        Features aren't floating point, or their dtypes differ.
    ValueError
        They aren't matrices with equally many rows, two at least; all rows of the teacher are
        equal; or features are NaN or infinite.

    Examples
    --------
    >>> student, teacher = torch.tensor([[0.], [1.], [2.]]), torch.tensor([[0.], [1.], [5.]])
    >>> relational_distance(student, teacher)  # ratios 3 : 3 : 6 against 1.2 : 4.8 : 6, over 4
    tensor(0.0675)
    """
    _require_relations(2, student_features, teacher_features)
    v = teacher_features if teacher_gradient else teacher_features.detach()
    return huber_loss(_relative_distances(student_features), _relative_distances(v))


def relational_angle(
    student_features: Tensor, teacher_features: Tensor, *, teacher_gradient: bool = False
) -> Tensor:
    r"""How the angles among a student's features differ from those among a teacher's.

    .. math::

        \frac{1}{n(n-1)(n-2)} \sum_{i \ne j \ne k \ne i}
        \ell \bigl( \psi(u_i, u_j, u_k) - \psi(v_i, v_j, v_k) \bigr), \qquad
        \psi(u_i, u_j, u_k) =
        \frac{(u_i - u_j)^\top (u_k - u_j)}{\lVert u_i - u_j \rVert \lVert u_k - u_j \rVert}

    with Huber's :math:`\ell` as in :func:`relational_distance`: the cosine of the angle at row j.
    At a pair of equal rows there is no angle, and the cosine is taken as 0. The paper sums where
    this takes the mean over triples. It needs memory for :math:`n^3` cosines and :math:`n^2 d`
    differences.

    Taught in :ref:`distillation` (section 8.3.2).
    Source: :cite:t:`park2019relational`, the angle-wise loss.

    Parameters
    ----------
    student_features
        Features of the student :math:`u`, ``(n, d_s)``, three rows at least.
    teacher_features
        Features of the teacher :math:`v`, ``(n, d_t)``, for the same rows.
    teacher_gradient
        Whether a gradient reaches the teacher's features as well.

    Returns
    -------
    Tensor
        A scalar without unit, between 0 and 1.5.

    Raises
    ------
    TypeError
        Features aren't floating point, or their dtypes differ.
    ValueError
        They aren't matrices with equally many rows, three at least; all rows of the teacher are
        equal; or features are NaN or infinite.

    Examples
    --------
    >>> corner = torch.tensor([[0., 0.], [1., 0.], [0., 1.]])
    >>> line = torch.tensor([[0.], [1.], [2.]])
    >>> relational_angle(line, corner)  # cosines 1, -1, 1 against 0, 0.71, 0.71
    tensor(0.5833)
    """
    _require_relations(3, student_features, teacher_features)
    v = teacher_features if teacher_gradient else teacher_features.detach()
    n = len(v)
    losses = huber_loss(_cosines(student_features), _cosines(v), reduction="none")
    i = torch.arange(n, device=v.device)
    j, k = i.unsqueeze(1), i.view(n, 1, 1)
    distinct = (i != j) & (j != k) & (i != k)
    return (losses * distinct).sum() / (n * (n - 1) * (n - 2))


def _relative_distances(rows: Tensor) -> Tensor:
    """Give the distances of all pairs i < j in units of their mean."""
    first, second = torch.triu_indices(len(rows), len(rows), 1, device=rows.device)
    distances = torch.linalg.vector_norm(rows[first] - rows[second], dim=1)
    relative: Tensor = distances / distances.mean().clamp_min(torch.finfo(rows.dtype).tiny)
    return relative


def _cosines(rows: Tensor) -> Tensor:
    """Give ``(n, n, n)``: the cosine of the angle at the row of the first axis."""
    differences = rows.unsqueeze(0) - rows.unsqueeze(1)
    norms = torch.linalg.vector_norm(differences, dim=2, keepdim=True)
    unit = differences / norms.clamp_min(torch.finfo(rows.dtype).tiny)
    cosines: Tensor = unit @ unit.transpose(1, 2)
    return cosines


def _require_temperature(temperature: float) -> None:
    try:
        inside = 0 < temperature < math.inf
    except TypeError:
        raise TypeError(f"temperature must be a number, got {temperature!r}") from None
    if not inside:
        raise ValueError(
            f"temperature must be positive and finite, got {temperature}; 1 leaves the "
            "probabilities as they are, larger ones soften them"
        )


def _require_one_task(student: Tensor, teacher: Tensor) -> None:
    _require_rows(len(student), len(teacher))
    if student.shape[1] != teacher.shape[1]:
        raise ValueError(
            f"the student has {student.shape[1]} classes, the teacher {teacher.shape[1]}; give "
            "both the same classes in the same order, or compare features with hint_loss"
        )
    require_same_shape(student_logits=student, teacher_logits=teacher)


def _require_rows(student: int, teacher: int) -> None:
    if student != teacher:
        raise ValueError(
            f"got {student} rows of the student and {teacher} of the teacher; show both "
            "the same examples in the same order"
        )


def _require_relations(least: int, student: Tensor, teacher: Tensor) -> None:
    require_float(student_features=student, teacher_features=teacher)
    require_features(least=least, student_features=student)
    require_features(least=least, teacher_features=teacher)
    _require_rows(len(student), len(teacher))
    if seen((teacher == teacher[0]).all()):
        raise ValueError(
            "all rows of the teacher's features are equal, so there are no relations to learn; "
            "take another layer, or look for what broke this one"
        )
