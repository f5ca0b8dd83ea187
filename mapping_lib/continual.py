r"""Lifelong transfer (section 8.1.3): learn tasks one after another and keep what was learned.

Three ways to hold on to the old tasks: stay near the old parameters where they matter (EWC), keep
the old answers (LwF), or keep some old rows, in a memory of fixed size, and let them correct the
gradient (A-GEM). And the numbers that say how well that went, all read off one matrix: the accuracy
on task j after learning task i.
"""

import math
from collections.abc import Iterator, Mapping, Sequence
from typing import Literal, NamedTuple, TypeAlias

import torch
from torch import Tensor, nn
from torch.func import functional_call, grad, vmap
from torch.nn.functional import cross_entropy, one_hot

from mapping_lib._checks import (
    place_of,
    require_features,
    require_finite,
    require_float,
    require_labels,
    require_logits,
    require_number,
    require_same_shape,
    require_tensor,
    seen,
    shape,
    warn_of_distribution,
)
from mapping_lib._modules import modes_kept, named, require_common_shapes
from mapping_lib._names import suggest
from mapping_lib.distillation import kd_loss
from mapping_lib.parameters import Parameters, _same_memory

__all__ = [
    "Anchor",
    "agem_projection",
    "average_accuracy",
    "backward_transfer",
    "diagonal_fisher",
    "ewc_penalty",
    "forgetting",
    "forward_transfer",
    "lwf_loss",
    "reservoir_slots",
]

Logits: TypeAlias = Tensor | Sequence[Tensor]
"""The logits of one head, ``(n, K)``, or of several, each with its own softmax."""


class Anchor(NamedTuple):
    """An old task, as :func:`ewc_penalty` holds on to it.

    ``parameters`` are copies of what the network had after the task, ``fisher`` says how much each
    of them matters there, both by name; ``task`` is the task's name.
    """

    task: str
    parameters: Mapping[str, Tensor]
    fisher: Mapping[str, Tensor]


def diagonal_fisher(
    model: nn.Module,
    inputs: Tensor,
    targets: Tensor | None = None,
    *,
    labels: Literal["true", "exact", "sampled"] = "true",
    likelihood: Literal["categorical", "gaussian"] = "categorical",
    reduction: Literal["mean", "sum"] = "mean",
    batch_size: int = 64,
    generator: torch.Generator | None = None,
) -> dict[str, Tensor]:
    r"""How much each parameter matters for what a model says: the diagonal of the Fisher matrix.

    .. math::

        F_j = \frac{1}{n} \sum_{i=1}^{n} \mathbb{E}_{y} \left(
        \frac{\partial \log p_\theta(y \mid x_i)}{\partial \theta_j} \right)^{\!2}

    The square is taken of each row's own gradient, then comes the mean: the gradients of a batch
    cancel each other, and at an optimum their mean is 0. The answer :math:`y` is the model's own:
    the expectation over all of them (``labels="exact"``, one gradient a class) or one that is drawn
    (``"sampled"``). With the true label in its place (``"true"``) this is the *empirical* Fisher,
    which goes to 0 as the training rows are fitted.

    Taught in :ref:`lifelong-transfer` (section 8.1.3).
    Source: :cite:t:`kirkpatrick2017overcoming`, F of eq. 3; that the empirical one differs:
    :cite:t:`kunstner2019limitations`.

    Parameters
    ----------
    model
        Maps inputs to logits, ``(n, K)``, or to the means of Gaussians with variance 1. Runs in
        eval mode and is left as it was.
    inputs
        One row an example, n of them.
    targets
        Classes ``(n,)``, or numbers ``(n, K)`` for Gaussians; for ``labels="true"`` alone.
    labels
        Where :math:`y` comes from.
    likelihood
        :math:`p_\theta`: a softmax, or Gaussians.
    reduction
        ``"sum"`` leaves :math:`1/n` out.
    batch_size
        Rows at a time; doesn't change the result beyond rounding.
    generator
        Draws the answers of ``"sampled"``; None takes the global one.

    Returns
    -------
    dict of str to Tensor
        :math:`F`, by name and in the shape of each parameter that learns. None is negative.

    Raises
    ------
    TypeError
        Inputs, targets or outputs aren't tensors of the right kind.
    ValueError
        There are no rows, nothing learns, an option is unknown, targets lack or aren't used or
        don't fit, the batch size isn't positive, or the outputs aren't finite.

    Examples
    --------
    >>> line = nn.Linear(1, 1, bias=False)
    >>> _ = nn.init.ones_(line.weight)
    >>> x = torch.tensor([[1.], [3.]])
    >>> diagonal_fisher(line, x, labels="exact", likelihood="gaussian")  # (1² + 3²) / 2
    {'weight': tensor([[5.]])}
    """
    for name, value, known in (
        ("labels", labels, ("true", "exact", "sampled")),
        ("likelihood", likelihood, ("categorical", "gaussian")),
        ("reduction", reduction, ("mean", "sum")),
    ):
        if value not in known:
            raise ValueError(f"{name} must be one of {', '.join(map(repr, known))}, got {value!r}")
    require_tensor(inputs=inputs)
    if inputs.ndim == 0 or len(inputs) == 0:
        raise ValueError("the task has no inputs, so nothing can matter to it; give some rows")
    if batch_size < 1:
        raise ValueError(f"batch_size must be at least 1, got {batch_size}")
    if (targets is None) == (labels == "true"):
        raise ValueError(
            "labels='true' needs targets; the model's own answers are 'exact' or 'sampled'"
            if targets is None
            else f"labels={labels!r} takes the model's own answers; leave the targets out"
        )
    learning = {name: p.detach() for name, p in model.named_parameters() if p.requires_grad}
    if not learning:
        raise ValueError("no parameter of the model learns; unfreeze what the penalty is to hold")

    def log_likelihood(parameters: dict[str, Tensor], x: Tensor, y: Tensor) -> Tensor:
        output: Tensor = functional_call(model, parameters, (x.unsqueeze(0),)).squeeze(0)
        categorical = likelihood == "categorical"
        return (y * output.log_softmax(0) if categorical else -(y - output).square() / 2).sum()

    scores = vmap(grad(log_likelihood), in_dims=(None, 0, 0))
    found = {name: torch.zeros_like(p) for name, p in learning.items()}
    with modes_kept(model):
        model.eval()
        with torch.no_grad():
            outputs = torch.cat([model(rows) for rows in torch.split(inputs, batch_size)])
        require_features(outputs=outputs)
        for answers, weights in _answers(outputs, targets, labels, likelihood, generator):
            parts = zip(
                *(torch.split(t, batch_size) for t in (inputs, answers, weights)), strict=True
            )
            for x, y, weight in parts:
                for name, gradient in scores(learning, x, y).items():
                    found[name] += torch.tensordot(weight, gradient.square(), dims=1)
    return {name: f / len(inputs) if reduction == "mean" else f for name, f in found.items()}


def ewc_penalty(parameters: Parameters, anchors: Sequence[Anchor], *, strength: float) -> Tensor:
    r"""Pull parameters back to old tasks, each as strongly as it mattered there (EWC).

    .. math::

        \frac{\lambda}{2} \sum_{t} \sum_{j} F_{tj} \, (\theta_j - \theta^*_{tj})^2

    With the Fisher matrix summed over the rows and :math:`\lambda = 1` this is the second-order
    approximation of the old tasks' negative log-likelihood around their optimum, without the terms
    off the diagonal. Where there are none and the likelihood is Gaussian it is exact: minimised
    together with a new task's loss it gives the solution of all tasks together.

    Taught in :ref:`lifelong-transfer` (section 8.1.3).
    Source: :cite:t:`kirkpatrick2017overcoming`, eq. 3, with a penalty for each old task.

    Parameters
    ----------
    parameters
        :math:`\theta`, a model or its parameters by name. Those that no anchor names, such as a
        new head, are free.
    anchors
        The old tasks: :math:`\theta^*_t` and :math:`F_t` of each.
    strength
        :math:`\lambda`.

    Returns
    -------
    Tensor
        A scalar, to be added to the new task's loss; in nats where that is in nats.

    Raises
    ------
    TypeError
        Parameters or anchors aren't tensors by name, or the strength is no number.
    ValueError
        There are no anchors, a task stands twice, names or shapes don't fit, a Fisher entry is
        negative, the strength is negative or infinite, or an anchor is the model's own memory.

    Examples
    --------
    >>> old = Anchor("A", {"w": torch.tensor([1., 1.])}, {"w": torch.tensor([4., 0.])})
    >>> ewc_penalty({"w": torch.tensor([3., 9.])}, [old], strength=0.5)  # 1/4 · 4 · 2²
    tensor(4.)
    """
    require_number("strength", strength, below=math.inf)
    own = named(parameters, "parameters")
    if not anchors:
        raise ValueError("there are no anchors; before a second task there is nothing to keep")
    tasks = [anchor.task for anchor in anchors]
    for task in tasks:
        if tasks.count(task) > 1:
            raise ValueError(
                f"task {task!r} is anchored twice, so it would count double; keep one anchor a "
                "task, or give tasks different names"
            )
    pulls = []
    for task, kept, fisher in anchors:
        _require_fitting(task, own, kept, fisher)
        for name, weight in fisher.items():
            moved = own[name] - kept[name].detach()
            pulls.append((weight.detach() * moved.square()).sum())
    return strength / 2 * torch.stack(pulls).sum()


def lwf_loss(
    logits: Tensor,
    labels: Tensor,
    kept_logits: Logits,
    old_logits: Logits,
    *,
    strength: float = 1.0,
    temperature: float = 2.0,
) -> Tensor:
    r"""Learn the new task and keep the old heads' answers to the new rows (LwF).

    .. math::

        \frac1n \sum_{i=1}^{n} \Bigl( -\log \operatorname{softmax}(z_i)_{y_i}
        + \lambda T^2 \sum_{h} \operatorname{KL} \bigl( \operatorname{softmax}(v_{hi} / T)
        \,\Vert\, \operatorname{softmax}(u_{hi} / T) \bigr) \Bigr)

    No old row is needed: :math:`v_h` is what the network said about the *new* rows before it began
    to learn from them, :math:`u_h` what the same head says now: the second term is
    :func:`mapping_lib.distillation.kd_loss`. The paper has the cross-entropy in place of the
    divergence, which differs by a constant, and no :math:`T^2`.

    Taught in :ref:`lifelong-transfer` (section 8.1.3).
    Source: :cite:t:`li2016learning`, section 3; :math:`T^2` from :cite:t:`hinton2015distilling`.

    Parameters
    ----------
    logits
        :math:`z`, ``(n, K)``, for the new task: of its own head, or of all classes so far.
    labels
        :math:`y`, ``(n,)``, their classes.
    kept_logits
        :math:`u`, of the old head now, ``(n, K_old)``, or of several.
    old_logits
        :math:`v`, of the same heads before; no gradient reaches them.
    strength
        :math:`\lambda`.
    temperature
        :math:`T > 0`.

    Returns
    -------
    Tensor
        A scalar in nats.

    Raises
    ------
    TypeError
        Logits aren't floating point, labels aren't integers, or a setting is no number.
    ValueError
        Rows, classes or numbers of heads differ, there are no old heads, logits are empty or not
        finite, a label is out of range, the strength is negative or infinite, or the temperature
        isn't positive and finite.

    Warns
    -----
    UserWarning
        Every row of logits, of the new head or of an old one, is a probability distribution.

    Examples
    --------
    >>> new, label, old = torch.tensor([[0., 0.]]), torch.tensor([1]), torch.tensor([[5., 1.]])
    >>> lwf_loss(new, label, old, old)  # log 2: nothing old has changed
    tensor(0.6931)
    """
    require_number("strength", strength, below=math.inf)
    require_logits(logits=logits)
    require_labels("labels", labels, len(logits), logits.shape[1])
    warn_of_distribution(logits=logits)
    now, before = (
        [each] if isinstance(each, Tensor) else list(each) for each in (kept_logits, old_logits)
    )
    if not now or len(now) != len(before):
        raise ValueError(
            f"there are {len(now)} heads now and {len(before)} before; give both for each old head"
        )
    for u, v in zip(now, before, strict=True):
        require_logits(kept_logits=u, old_logits=v)
        require_same_shape(kept_logits=u, old_logits=v)
        if len(u) != len(logits):
            raise ValueError(
                f"kept_logits {shape(u)} and logits {shape(logits)} must have the same rows, those "
                "of the new task"
            )
    kept = torch.stack(
        [kd_loss(u, v, temperature=temperature) for u, v in zip(now, before, strict=True)]
    ).sum()
    return cross_entropy(logits, labels) + strength * kept


def agem_projection(gradient: Tensor, reference: Tensor) -> Tensor:
    r"""The gradient without what would raise the loss on remembered rows (A-GEM).

    .. math::

        \tilde g = g - \frac{\min(0, \, g^\top g_{\text{ref}})}
        {g_{\text{ref}}^\top g_{\text{ref}}} \, g_{\text{ref}}

    The nearest vector to :math:`g` along which the memory's loss doesn't rise, to first order. It
    is :math:`g` itself where the two don't conflict, and orthogonal to :math:`g_{\text{ref}}`
    otherwise.

    Taught in :ref:`lifelong-transfer` (section 8.1.3).
    Source: :cite:t:`chaudhry2019efficient`, eq. 11.

    Parameters
    ----------
    gradient
        :math:`g`, ``(P,)``, of the loss on the new rows.
    reference
        :math:`g_{\text{ref}}`, ``(P,)``, of the loss on rows of the memory.

    Returns
    -------
    Tensor
        ``(P,)``. A reference of 0 changes nothing.

    Raises
    ------
    TypeError
        They aren't floating point, or their dtypes differ.
    ValueError
        They aren't vectors of one length, are empty, or aren't finite.

    Examples
    --------
    >>> agem_projection(torch.tensor([-2., 1.]), torch.tensor([3., 0.]))
    tensor([0., 1.])
    """
    require_float(gradient=gradient, reference=reference)
    require_same_shape(gradient=gradient, reference=reference)
    require_finite(gradient=gradient, reference=reference)
    if gradient.ndim != 1:
        raise ValueError(
            f"gradient must be a vector, got the shape {shape(gradient)}; flatten all parameters "
            "into one with torch.nn.utils.parameters_to_vector"
        )
    wide = torch.promote_types(gradient.dtype, torch.float32)  # as squares need
    g, r = gradient.to(wide), reference.to(wide)
    conflict = (g @ r).clamp(max=0)
    projected = g - conflict / (r @ r).clamp(min=torch.finfo(wide).tiny) * r
    return projected.to(gradient.dtype)


def reservoir_slots(
    n: int, *, size: int, generator: torch.Generator | None, passed: int = 0
) -> Tensor:
    r"""Where the next items of a stream go in a memory of fixed size (reservoir sampling).

    .. math::

        s_t = \begin{cases} t & t < k \\ u_t & t \ge k, \, u_t < k \\ -1 & \text{otherwise}
        \end{cases}, \qquad u_t \sim \operatorname{uniform} \{0, 1, \dots, t\}

    The items of a stream are counted from :math:`t = 0`; :math:`k` is the size of the memory. Item
    t overwrites slot :math:`s_t`, or is let go at −1. After n items each of them is in the memory
    with the same probability :math:`k / n`, whatever n turns out to be.

    Taught in :ref:`lifelong-transfer` (section 8.1.3).
    Source: :cite:t:`vitter1985random`, algorithm R.

    Parameters
    ----------
    n
        How many items come.
    size
        :math:`k`, slots of the memory.
    generator
        Draws; None takes the global one.
    passed
        How many items came before these.

    Returns
    -------
    Tensor
        :math:`s`, ``(n,)``, integers from −1 to :math:`k - 1`, to be written in their order.

    Raises
    ------
    ValueError
        There are no items, the memory has no slots, or a count is negative.

    Examples
    --------
    >>> reservoir_slots(3, size=3, generator=None)
    tensor([0, 1, 2])
    """
    for name, value, least, what in (
        ("n", n, 1, "a task without items has nothing to remember"),
        ("size", size, 1, "a memory without slots can't hold anything"),
        ("passed", passed, 0, "it counts the items before"),
    ):
        if value < least:
            raise ValueError(f"{name} must be at least {least}, got {value}: {what}")
    device = place_of(generator, torch.device("cpu"))
    t = torch.arange(passed, passed + n, device=device)
    u = torch.rand(n, generator=generator, dtype=torch.float64, device=device)
    drawn = (u * (t + 1)).long()
    return torch.where(t < size, t, torch.where(drawn < size, drawn, -1))


def average_accuracy(accuracies: Tensor) -> Tensor:
    r"""Mean accuracy over all tasks after the last one.

    .. math:: \frac{1}{T} \sum_{j=1}^{T} R_{Tj}

    Taught in :ref:`lifelong-transfer` (section 8.1.3).
    Source: :cite:t:`lopezpaz2017gradient`, section 2.

    Parameters
    ----------
    accuracies
        :math:`R`, ``(T, T)``: entry (i, j) is the accuracy on task j after learning task i.

    Returns
    -------
    Tensor
        A scalar.

    Raises
    ------
    TypeError
        The matrix isn't a floating-point tensor.
    ValueError
        It isn't square, is empty, NaN or infinite, or has one task only.

    Examples
    --------
    >>> average_accuracy(torch.tensor([[0.9, 0.1], [0.5, 0.8]]))
    tensor(0.6500)
    """
    _require_accuracies(accuracies)
    return accuracies[-1].mean()


def forgetting(accuracies: Tensor) -> Tensor:
    r"""Mean loss of accuracy on old tasks, each from the best it ever had.

    .. math:: \frac{1}{T-1} \sum_{j=1}^{T-1} \Bigl( \max_{i < T} R_{ij} - R_{Tj} \Bigr)

    Negative where the last task helped all of them. With two tasks it is the backward transfer with
    its sign turned, if task 1 is best right after it was learned.

    Taught in :ref:`lifelong-transfer` (section 8.1.3).
    Source: :cite:t:`chaudhry2018riemannian`, forgetting measure.

    Parameters
    ----------
    accuracies
        :math:`R`, ``(T, T)``: entry (i, j) is the accuracy on task j after learning task i.

    Returns
    -------
    Tensor
        A scalar.

    Raises
    ------
    TypeError
        The matrix isn't a floating-point tensor.
    ValueError
        It isn't square, is empty, NaN or infinite, or has one task only.

    Examples
    --------
    >>> forgetting(torch.tensor([[0.75, 0.], [0.25, 1.]]))
    tensor(0.5000)
    """
    _require_accuracies(accuracies)
    before, last = accuracies[:-1, :-1], accuracies[-1, :-1]
    return (before.amax(dim=0) - last).mean()


def backward_transfer(accuracies: Tensor) -> Tensor:
    r"""What later tasks did to earlier ones: mean change since each was learned.

    .. math:: \frac{1}{T-1} \sum_{j=1}^{T-1} \bigl( R_{Tj} - R_{jj} \bigr)

    Taught in :ref:`lifelong-transfer` (section 8.1.3).
    Source: :cite:t:`lopezpaz2017gradient`, section 2.

    Parameters
    ----------
    accuracies
        :math:`R`, ``(T, T)``: entry (i, j) is the accuracy on task j after learning task i.

    Returns
    -------
    Tensor
        A scalar; negative is forgetting.

    Raises
    ------
    TypeError
        The matrix isn't a floating-point tensor.
    ValueError
        It isn't square, is empty, NaN or infinite, or has one task only.

    Examples
    --------
    >>> backward_transfer(torch.tensor([[0.75, 0.], [0.25, 1.]]))
    tensor(-0.5000)
    """
    _require_accuracies(accuracies)
    return (accuracies[-1] - accuracies.diagonal())[:-1].mean()


def forward_transfer(accuracies: Tensor, baseline: Tensor) -> Tensor:
    r"""What earlier tasks did for later ones before these were learned.

    .. math:: \frac{1}{T-1} \sum_{j=2}^{T} \bigl( R_{j-1,j} - b_j \bigr)

    Taught in :ref:`lifelong-transfer` (section 8.1.3).
    Source: :cite:t:`lopezpaz2017gradient`, section 2.

    Parameters
    ----------
    accuracies
        :math:`R`, ``(T, T)``: entry (i, j) is the accuracy on task j after learning task i.
    baseline
        :math:`b`, ``(T,)``: accuracies before the first task, of random first weights.

    Returns
    -------
    Tensor
        A scalar.

    Raises
    ------
    TypeError
        They aren't floating-point tensors of one dtype.
    ValueError
        The matrix isn't square or has one task only, the baseline hasn't one entry a task, or an
        entry is NaN or infinite.

    Examples
    --------
    >>> forward_transfer(torch.tensor([[0.75, 0.5], [0.25, 1.]]), torch.tensor([0.125, 0.25]))
    tensor(0.2500)
    """
    _require_accuracies(accuracies)
    require_float(accuracies=accuracies, baseline=baseline)
    require_finite(baseline=baseline)
    if baseline.shape != accuracies.shape[:1]:
        raise ValueError(
            f"baseline must have one accuracy for each of the {len(accuracies)} tasks, got the "
            f"shape {shape(baseline)}"
        )
    return (accuracies.diagonal(1) - baseline[1:]).mean()


def _answers(
    outputs: Tensor,
    targets: Tensor | None,
    labels: str,
    likelihood: str,
    generator: torch.Generator | None,
) -> Iterator[tuple[Tensor, Tensor]]:
    """Give answers, a row an example, and their weights in the expectation."""
    n, width = outputs.shape
    ones, units = outputs.new_ones(n), torch.eye(width, device=outputs.device, dtype=outputs.dtype)
    categorical = likelihood == "categorical"
    if categorical:
        require_logits(outputs=outputs)
    if labels == "exact":
        probabilities = outputs.softmax(dim=1)
        for k in range(width):
            if categorical:
                yield units[k].expand(n, -1), probabilities[:, k]
            else:
                yield outputs + units[k], ones
    elif labels == "sampled":
        if categorical:
            drawn = torch.multinomial(outputs.softmax(dim=1), 1, generator=generator)
            yield units[drawn.squeeze(1)], ones
        else:
            device = place_of(generator, outputs.device)
            noise = torch.randn(n, width, generator=generator, device=device, dtype=outputs.dtype)
            yield outputs + noise.to(outputs.device), ones
    elif targets is not None:
        if categorical:
            require_labels("targets", targets, n, width)
            yield one_hot(targets, width).to(outputs.dtype), ones
        else:
            require_features(outputs=outputs, targets=targets)
            require_same_shape(outputs=outputs, targets=targets)
            yield targets, ones


def _require_fitting(
    task: str,
    own: Mapping[str, Tensor],
    kept: Mapping[str, Tensor],
    fisher: Mapping[str, Tensor],
) -> None:
    """Require that an anchor's tensors are there and belong to the model's parameters."""
    kept, fisher = named(kept, "anchor.parameters"), named(fisher, "anchor.fisher")
    if not fisher:
        raise ValueError(f"the Fisher matrix of task {task!r} is empty, so nothing would be kept")
    for name, weight in fisher.items():
        for what, there in (("the model", own), ("the anchor's parameters", kept)):
            if name not in there:
                raise ValueError(
                    f"the Fisher matrix of task {task!r} has {name!r}, which {what} lacks"
                    f"{suggest(name, there)}; take both from one model"
                )
        require_float(**{f"fisher[{name!r}]": weight})
        if seen((weight < 0).any()):
            raise ValueError(
                f"the Fisher matrix of task {task!r} is negative in {name!r}, got "
                f"{float(weight.min()):g}; it is a mean of squares"
            )
        if _same_memory(own[name], kept[name]):
            raise ValueError(
                f"task {task!r}: {name!r} of the anchor is the parameter itself and moves along "
                "with it; copy it with .detach().clone()"
            )
    require_common_shapes(own, fisher)
    require_common_shapes(fisher, kept)


def _require_accuracies(accuracies: Tensor) -> None:
    """Require a square matrix of at least two tasks."""
    require_features(accuracies=accuracies)
    if accuracies.shape[0] != accuracies.shape[1]:
        raise ValueError(
            f"accuracies must be square, a row after each task and a column for each, got "
            f"{shape(accuracies)}; test all tasks after each, also those not learned yet"
        )
    if len(accuracies) < 2:
        raise ValueError("accuracies of one task alone say nothing of transfer; give at least two")
