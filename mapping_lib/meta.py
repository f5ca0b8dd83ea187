r"""Meta-learning (section 4.3.3): learn what lets a few examples of a new task suffice.

A task has a support set, to learn from, and a query set, to be judged by. Here are the inner loop
:math:`\theta - \alpha \nabla L`, what MAML, first-order MAML, ANIL and Reptile make of it, two
heads that need no loop at all, and the N-way K-shot episodes that few-shot learners train on.

A loss is a function ``loss(parameters, batch)`` that gives a scalar; parameters are a tensor or a
dictionary of tensors, a batch is whatever the loss takes. :func:`task_loss` makes one of a module.
"""

import copy
import math
import warnings
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any, NamedTuple, TypeAlias

import torch
from torch import Tensor, nn
from torch.func import functional_call, grad_and_value, vmap
from torch.nn.functional import one_hot
from torch.nn.modules.batchnorm import _BatchNorm, _NormBase
from torch.utils._pytree import tree_flatten, tree_leaves, tree_map, tree_unflatten

from mapping_lib._checks import (
    place_of,
    require_features,
    require_labels,
    require_number,
    require_scalar,
    require_tensor,
    seen,
)
from mapping_lib._modules import listed, matching
from mapping_lib.kernels import _squared_distances
from mapping_lib.optimisers import Parameters, _each, _require_alike

__all__ = [
    "Episode",
    "Loss",
    "OuterGradient",
    "episode",
    "inner_loop",
    "maml_gradient",
    "maml_loss",
    "prototype_logits",
    "prototypes",
    "reptile_step",
    "ridge_logits",
    "task_loss",
]

Loss: TypeAlias = Callable[[Any, Any], Tensor]
"""The loss of a task takes parameters and a batch, and gives a scalar."""

NO_GRADIENT = (
    "the loss has no gradient in the parameters; compute it from the parameters that it is given, "
    "without detach(), no_grad() or rounding to integers"
)


class OuterGradient(NamedTuple):
    """What :func:`maml_gradient` returns: the mean loss after adaptation, and its gradient."""

    loss: Tensor
    gradient: Parameters


class Episode(NamedTuple):
    """What :func:`episode` draws: rows of the examples, and their labels within the episode.

    ``classes`` holds the labels in the data of the episode's classes 0, 1, ...
    """

    support: Tensor
    support_labels: Tensor
    query: Tensor
    query_labels: Tensor
    classes: Tensor


def inner_loop(
    loss: Loss,
    parameters: Parameters,
    support: Any,
    *,
    inner_rate: float,
    steps: int = 1,
    only: str | Sequence[str] | None = None,
    first_order: bool = False,
) -> Parameters:
    r"""Adapt parameters to a task: gradient descent on its support set.

    .. math:: \theta_{i+1} = \theta_i - \alpha \, \nabla L_{\text{support}}(\theta_i),
        \qquad i = 0, \dots, k - 1

    The result is a differentiable function of :math:`\theta_0`. Under ``torch.no_grad()`` it is
    computed without that, which is what a test and Reptile need. Which parameters move is for
    `only` to say; that some don't require gradients changes nothing.

    Taught in :ref:`meta-learning` (section 4.3.3).
    Source: :cite:t:`finn2017model`, algorithm 1; with `only` :cite:t:`raghu2020rapid`, section 4.

    Parameters
    ----------
    loss
        Called as ``loss(parameters, support)``.
    parameters
        :math:`\theta_0`; left as they are.
    support
        A batch, as the loss takes it.
    inner_rate
        :math:`\alpha`, not negative.
    steps
        k, from 0.
    only
        Names or patterns of the parameters that adapt; ``"head"`` stands for all that begin with
        ``head.``. None: all. With the head alone this is ANIL ("almost no inner loop").
    first_order
        Whether the inner gradients count as constants when the result is differentiated.

    Returns
    -------
    Tensor or dict
        :math:`\theta_k`.

    Raises
    ------
    TypeError
        Parameters aren't floating-point tensors, or the loss doesn't return a tensor.
    ValueError
        The loss isn't a scalar or has no gradient in the parameters, a number is out of range, or
        `only` fits no parameter.
    FloatingPointError
        The inner loop diverges: its loss or its parameters are no longer finite.

    Warns
    -----
    UserWarning
        The support loss rose more than tenfold.

    Examples
    --------
    >>> inner_loop(lambda θ, b: (θ - b) ** 2, torch.tensor(5.), torch.tensor(1.), inner_rate=0.25)
    tensor(3.)
    """
    names = _moving(parameters, inner_rate, steps, only)
    θ, losses = parameters, []
    for _ in range(steps):
        gradient, value = grad_and_value(partial(_inner_loss, loss, θ, support))(_part(θ, names))
        if first_order:
            gradient = _each(Tensor.detach, gradient)
        θ = _step(θ, gradient, inner_rate)
        losses.append(value.detach())
    _say_if_diverged(losses, tree_leaves(θ), inner_rate)
    return θ


def maml_loss(
    loss: Loss,
    parameters: Parameters,
    support: Any,
    query: Any,
    *,
    inner_rate: float,
    steps: int = 1,
    only: str | Sequence[str] | None = None,
    first_order: bool = False,
) -> Tensor:
    r"""The loss of a task after adaptation, as a function of the parameters before it (MAML).

    .. math:: L_{\text{query}} \bigl( \theta - \alpha \nabla L_{\text{support}}(\theta) \bigr)

    for one inner step; for k, the argument is the :math:`\theta_k` of :func:`inner_loop`. The
    gradient runs through the inner steps, so it holds second derivatives. For many tasks at once,
    and faster, see :func:`maml_gradient`.

    Taught in :ref:`meta-learning` (section 4.3.3).
    Source: :cite:t:`finn2017model`, eq. 1; with `only` (ANIL) :cite:t:`raghu2020rapid`, section 4.

    Parameters
    ----------
    loss
        Called as ``loss(parameters, batch)``.
    parameters
        :math:`\theta`.
    support, query
        Batches, as the loss takes them.
    inner_rate, steps, only, first_order
        As in :func:`inner_loop`. First-order MAML leaves the second derivatives out.

    Returns
    -------
    Tensor
        A scalar.

    Raises
    ------
    TypeError, ValueError, FloatingPointError
        As :func:`inner_loop` raises them.

    Examples
    --------
    >>> θ, b = torch.tensor(5., requires_grad=True), torch.tensor(1.)
    >>> half_square = lambda θ, b: (θ - b) ** 2 / 2
    >>> for first_order in (False, True):  # θ' = 3; the gradient (θ' - b)(1 - α) or (θ' - b)
    ...     value = maml_loss(half_square, θ, b, b, inner_rate=0.5, first_order=first_order)
    ...     print(value.item(), torch.autograd.grad(value, θ)[0].item())
    2.0 1.0
    2.0 2.0
    """
    θ = inner_loop(
        loss,
        parameters,
        support,
        inner_rate=inner_rate,
        steps=steps,
        only=only,
        first_order=first_order,
    )
    return _value(loss, θ, query)


def maml_gradient(
    loss: Loss,
    parameters: Parameters,
    support: Any,
    query: Any,
    *,
    inner_rate: float,
    steps: int = 1,
    only: str | Sequence[str] | None = None,
    first_order: bool = False,
    vectorised: bool | None = None,
) -> OuterGradient:
    r"""The gradient of the MAML loss, averaged over tasks.

    .. math::

        \frac{1}{T} \sum_{t=1}^{T} (I - \alpha H_0) \cdots (I - \alpha H_{k-1}) \,
        \nabla L_{\text{query}}(\theta_k), \qquad H_i = \nabla^2 L_{\text{support}}(\theta_i)

    where support, query and the :math:`\theta_i` are those of task t. First-order MAML leaves the
    factors out. They are multiplied from the right, so that no Hessian is ever formed: each costs
    one Hessian-vector product, a derivative of the inner gradient.

    The tasks are computed in one of two ways, which give the same up to rounding. **Vectorised**,
    all at once: the loss runs under :func:`torch.func.vmap`, on parameters of each task, several
    times faster for small perceptrons, and many times under :func:`torch.compile`. **Looped**, one
    after the other: networks with convolutions are slower vectorised, in gigabytes of memory. The
    query gradient has no graph of its own, and convolutions see it in the memory format that they
    are fastest in.

    Taught in :ref:`meta-learning` (section 4.3.3).
    Source: :cite:t:`finn2017model`, section 2.2; the product :cite:t:`nichol2018first`, section 5.

    Parameters
    ----------
    loss
        Called as ``loss(parameters, batch)``.
    parameters
        :math:`\theta`; left as they are.
    support, query
        Batches of all tasks: a tensor, or tuples or dictionaries of tensors, with the tasks on the
        first axis, ``(T, ...)``. The loss sees one task at a time, without that axis.
    inner_rate, steps, only, first_order
        As in :func:`inner_loop`.
    vectorised
        None: unless a parameter has more than two axes, as the kernels of convolutions have.
        Compiled, always.

    Returns
    -------
    OuterGradient
        ``loss``, a scalar, and ``gradient``, like the parameters; neither has a graph.

    Raises
    ------
    TypeError, ValueError, FloatingPointError
        As :func:`inner_loop` raises them; or the batches don't have the same number of tasks.

    Warns
    -----
    UserWarning
        As :func:`inner_loop` warns.

    Examples
    --------
    >>> half_square = lambda θ, b: (θ - b) ** 2 / 2
    >>> tasks = torch.tensor([1., 3.])  # θ' = 3 and 4, so 2 (1 - α) and 1 (1 - α)
    >>> maml_gradient(half_square, torch.tensor(5.), tasks, tasks, inner_rate=0.5)
    OuterGradient(loss=tensor(1.2500), gradient=tensor(0.7500))
    """
    names = _moving(parameters, inner_rate, steps, only)
    tasks = _tasks(support, query)
    settings: Any = {"inner_rate": inner_rate, "steps": steps, "first_order": first_order}
    θ = _each(Tensor.detach, parameters)
    if torch.compiler.is_compiling():  # compiled code has derivatives by torch.func alone
        after = grad_and_value(partial(maml_loss, loss, only=only, **settings))
        gradients, values = vmap(after, (None, 0, 0), randomness="different")(θ, support, query)
        return OuterGradient(values.mean(), _each(lambda each: each.mean(0), gradients))
    if vectorised is None:
        vectorised = all(part.ndim <= 2 for part in tree_leaves(θ))
    with torch.enable_grad():
        if vectorised:
            every = _each(lambda part: part.expand(tasks, *part.shape), θ)
            v, *values = _gradient_by_factors(
                _sum(loss), every, support, query, names=names, **settings
            )
            total: Any = _each(lambda each: each.sum(0), v), *values
        else:
            total = None
            for t in range(tasks):
                batches = tree_map(lambda each: each[t], (support, query))  # noqa: B023
                found = _gradient_by_factors(loss, θ, *batches, names=names, **settings)
                total = found if total is None else tree_map(torch.add, total, found)
    gradient, value, losses = tree_map(lambda each: each / tasks, total)
    _say_if_diverged([*losses, value], [], inner_rate)
    return OuterGradient(value, gradient)


def reptile_step(
    parameters: Parameters, adapted: Sequence[Parameters], *, rate: float
) -> Parameters:
    r"""Move parameters towards what tasks made of them (Reptile).

    .. math:: \theta \leftarrow \theta + \varepsilon \, \frac{1}{T} \sum_{t=1}^{T} (\phi_t - \theta)

    The :math:`\phi_t` come from several inner steps, on batches that differ; then the expected step
    contains, beside the gradient of the mean loss, a second-order term that makes gradients of one
    task agree, without a second derivative being computed.

    Taught in :ref:`meta-learning` (section 4.3.3).
    Source: :cite:t:`nichol2018first`, algorithm 2.

    Parameters
    ----------
    parameters
        :math:`\theta`; left as they are.
    adapted
        :math:`\phi_t`, one for each task, like the parameters.
    rate
        :math:`\varepsilon`, in [0, 1].

    Returns
    -------
    Tensor or dict
        The new parameters, without graph.

    Raises
    ------
    TypeError
        Parameters aren't floating-point tensors, or some are tensors and others dictionaries.
    ValueError
        There are no tasks, names or shapes differ, a tensor contains NaN, or the rate is out of
        range.

    Examples
    --------
    >>> reptile_step(torch.tensor([0.]), [torch.tensor([2.]), torch.tensor([4.])], rate=0.5)
    tensor([1.5000])
    """
    require_number("rate", rate, most=1)
    tasks = list(adapted) if isinstance(adapted, Sequence) else []
    if not tasks:
        raise ValueError("adapted must be a sequence with the parameters of at least one task")
    for φ in tasks:
        _require_alike(parameters=parameters, adapted=φ)

    def step(θ: Tensor, *φ: Tensor) -> Tensor:
        return (θ + rate * (torch.stack(φ).mean(0) - θ)).detach()

    return _each(step, parameters, *tasks)


def task_loss(model: nn.Module, criterion: Callable[[Any, Any], Tensor]) -> Loss:
    r"""Make of a module a loss as a function of its parameters, which leaves the module alone.

    .. math:: L(\theta) = \ell \bigl( f_\theta(x), y \bigr)

    The parameters are ``dict(model.named_parameters())``, or what became of them. Batch norm in
    training mode normalises by the batch and writes its running statistics nowhere: neither in the
    model nor from one task into the next; in eval mode it uses the running statistics the model has
    now. The mode of each layer is the one it has now.

    Taught in :ref:`meta-learning` (section 4.3.3).
    Source: :cite:t:`finn2017model`, eqs. 2 and 3.

    Parameters
    ----------
    model
        :math:`f`; a copy of it is taken.
    criterion
        :math:`\ell`, called as ``criterion(outputs, targets)``.

    Returns
    -------
    Loss
        Called as ``loss(parameters, (inputs, targets))``.

    Raises
    ------
    TypeError
        The model isn't a module.
    ValueError
        Raised by the loss: the parameters' names aren't the model's, or batch norm would take its
        statistics from one example.

    Examples
    --------
    >>> line = nn.Linear(1, 1, bias=False)
    >>> loss = task_loss(line, nn.functional.mse_loss)
    >>> loss({"weight": torch.tensor([[3.]])}, (torch.tensor([[1.]]), torch.tensor([[1.]])))
    tensor(4.)
    """
    if not isinstance(model, nn.Module):
        raise TypeError(
            f"model must be a torch.nn.Module, got {type(model).__name__}; "
            "a plain function of parameters and batch is a loss already"
        )
    own = copy.deepcopy(model)
    by_batch = False
    for layer in own.modules():
        if isinstance(layer, _NormBase) and (layer.training or layer.running_mean is None):
            layer.track_running_stats = False  # normalise by the batch, remember nothing
            by_batch |= isinstance(layer, _BatchNorm)
    names = {name for name, _ in own.named_parameters()}

    def loss(parameters: Any, batch: Any) -> Tensor:
        if not isinstance(parameters, dict) or parameters.keys() != names:
            found = sorted(parameters) if isinstance(parameters, dict) else type(parameters)
            raise ValueError(
                f"the parameters must be those of the model, {sorted(names)}, got {found}; "
                "take dict(model.named_parameters())"
            )
        inputs, targets = batch
        if by_batch and isinstance(inputs, Tensor) and len(inputs) == 1:
            raise ValueError(
                "batch norm in training mode would take its statistics from one example; give the "
                "task at least two, or call model.eval() before task_loss"
            )
        buffers = {name: buffer.clone() for name, buffer in own.named_buffers()}
        return criterion(functional_call(own, (parameters, buffers), (inputs,)), targets)

    return loss


def episode(
    labels: Tensor,
    *,
    ways: int,
    shots: int,
    queries: int,
    generator: torch.Generator | None = None,
) -> Episode:
    r"""Draw an N-way K-shot episode: N classes, of each K examples to learn from and M to test on.

    .. math::

        S = \{ (x_{c_j, i}, j) : j < N,\ i < K \}, \qquad
        Q = \{ (x_{c_j, i}, j) : j < N,\ K \le i < K + M \}

    where the classes :math:`c_1, \dots, c_N` are drawn without replacement, and so are the
    examples of each; within the episode the classes are called 0 to N - 1.

    Taught in :ref:`meta-learning` (section 4.3.3).
    Source: :cite:t:`vinyals2016matching`, section 4.

    Parameters
    ----------
    labels
        Of the data, ``(n,)``, integers from 0.
    ways, shots, queries
        N, K and M, from 1; classes with fewer than K + M examples aren't drawn.
    generator
        Draws; None takes the global one.

    Returns
    -------
    Episode
        Rows ``support`` (N K,) and ``query`` (N M,) of the data, class after class, with their
        labels in the episode.

    Raises
    ------
    TypeError
        The labels aren't a tensor of integers, or a number isn't whole.
    ValueError
        The labels have more than one axis or are negative, a number is below 1, or too few classes
        have enough examples.

    Examples
    --------
    >>> drawn = episode(torch.tensor([7, 7, 7, 9]), ways=1, shots=1, queries=2)
    >>> drawn.classes, drawn.query_labels, sorted([*drawn.support.tolist(), *drawn.query.tolist()])
    (tensor([7]), tensor([0, 0]), [0, 1, 2])
    """
    require_tensor(labels=labels)
    require_labels("labels", labels, labels.numel())
    for name, count in (("ways", ways), ("shots", shots), ("queries", queries)):
        _require_whole(name, count)
    need = shots + queries
    classes, counts = torch.unique(labels, return_counts=True)
    able = classes[counts >= need]
    if len(able) < ways:
        raise ValueError(
            f"{ways} ways with {shots} shots and {queries} queries need {ways} classes with at "
            f"least {need} examples each, but {len(able)} of the {len(classes)} classes have that "
            "many; take fewer ways, shots or queries, or more data"
        )
    chosen = able[_order(len(able), generator).to(able.device)[:ways]]
    drawn = []
    for each in chosen:
        rows = (labels == each).nonzero().squeeze(1)
        drawn.append(rows[_order(len(rows), generator).to(rows.device)[:need]])
    table = torch.stack(drawn)
    names = torch.arange(ways, device=labels.device)
    return Episode(
        table[:, :shots].flatten(),
        names.repeat_interleave(shots),
        table[:, shots:].flatten(),
        names.repeat_interleave(queries),
        chosen,
    )


def prototypes(features: Tensor, labels: Tensor) -> Tensor:
    r"""The mean of each class.

    .. math:: c_k = \frac{1}{n_k} \sum_{i : y_i = k} x_i

    Taught in :ref:`meta-learning` (section 4.3.3).
    Source: :cite:t:`snell2017prototypical`, eq. 1.

    Parameters
    ----------
    features
        :math:`x`, ``(n, d)``.
    labels
        :math:`y`, ``(n,)``, the classes 0 to K - 1, each at least once.

    Returns
    -------
    Tensor
        ``(K, d)``.

    Raises
    ------
    TypeError
        Features aren't floating point, or labels aren't integers.
    ValueError
        Features aren't a finite matrix, there isn't a label for each row, or a class is missing.

    Examples
    --------
    >>> prototypes(torch.tensor([[1.], [5.], [3.]]), torch.tensor([0, 1, 1]))
    tensor([[1.],
            [4.]])
    """
    members = _members(features, labels)
    means: Tensor = members.T @ features / members.sum(0).unsqueeze(1)
    return means


def prototype_logits(support: Tensor, labels: Tensor, query: Tensor) -> Tensor:
    r"""Classify by the distance to the mean of each class (prototypical networks).

    .. math:: z_k(x) = -\lVert x - c_k \rVert^2

    Taught in :ref:`meta-learning` (section 4.3.3).
    Source: :cite:t:`snell2017prototypical`, eq. 2.

    Parameters
    ----------
    support
        Features ``(n_s, d)`` of the support set.
    labels
        Its labels ``(n_s,)``, the classes 0 to K - 1, each at least once.
    query
        Features ``(n_q, d)``.

    Returns
    -------
    Tensor
        Logits ``(n_q, K)``.

    Raises
    ------
    TypeError
        Features aren't floating point of one dtype, or labels aren't integers.
    ValueError
        Features aren't finite matrices of one width, there isn't a label for each row of the
        support, or a class is missing.

    Examples
    --------
    >>> support, labels = torch.tensor([[0.], [1.], [3.]]), torch.tensor([0, 1, 1])
    >>> prototype_logits(support, labels, torch.tensor([[1.]]))  # the means are 0 and 2
    tensor([[-1., -1.]])
    """
    require_features(support=support, query=query)
    centres = prototypes(support, labels)
    return -_squared_distances(query, centres).to(query.dtype)


def ridge_logits(
    support: Tensor, labels: Tensor, query: Tensor, *, regularisation: float | Tensor
) -> Tensor:
    r"""Classify by ridge regression of the classes on the support set, solved in closed form.

    .. math::

        Z_q = X_q W, \qquad W = (X^\top X + \lambda I)^{-1} X^\top Y
        = X^\top (X X^\top + \lambda I)^{-1} Y

    X are the features of the support set and Y its classes, one-hot. The second form inverts a
    matrix of the size of the support set; it is taken when that is smaller than the number of
    features. The solution is differentiable in the features and in :math:`\lambda`.

    Taught in :ref:`meta-learning` (section 4.3.3).
    Source: :cite:t:`bertinetto2019meta`, eqs. 4 to 6, without their learned scale and shift.

    Parameters
    ----------
    support
        X, ``(n_s, d)``.
    labels
        ``(n_s,)``, the classes 0 to K - 1, each at least once.
    query
        :math:`X_q`, ``(n_q, d)``.
    regularisation
        :math:`\lambda`, positive; a tensor may carry a gradient.

    Returns
    -------
    Tensor
        ``(n_q, K)``: estimates of the one-hot labels. As logits they are flat: multiply them by a
        number that is learned.

    Raises
    ------
    TypeError
        Features aren't floating point of one dtype, or labels aren't integers.
    ValueError
        Features aren't finite matrices of one width, there isn't a label for each row of the
        support, a class is missing, or the regularisation isn't positive.

    Examples
    --------
    >>> support, labels = torch.tensor([[1., 0.], [0., 1.]]), torch.tensor([0, 1])
    >>> ridge_logits(support, labels, torch.tensor([[2., 4.]]), regularisation=1)
    tensor([[1., 2.]])
    """
    require_features(support=support, query=query)
    members = _members(support, labels)
    strength = torch.as_tensor(regularisation, dtype=support.dtype, device=support.device)
    if strength.ndim or seen(~((strength > 0) & strength.isfinite())):
        raise ValueError(f"regularisation must be a positive number, got {regularisation}")
    n, d = support.shape
    identity = torch.eye(min(n, d), dtype=support.dtype, device=support.device)
    weights: Tensor
    if n < d:
        weights = support.T @ torch.linalg.solve(support @ support.T + strength * identity, members)
    else:
        gram = support.T @ support + strength * identity
        weights = torch.linalg.solve(gram, support.T @ members)
    return query @ weights


def _gradient_by_factors(
    loss: Loss,
    θ: Any,
    support: Any,
    query: Any,
    *,
    names: list[str] | None,
    inner_rate: float,
    steps: int,
    first_order: bool,
) -> tuple[Any, Tensor, list[Tensor]]:
    """Give the outer gradient of a task, its loss, and the support losses on the way there."""
    path, losses = [], []
    for _ in range(steps):
        θ = _each(_leaf, θ)
        value = _value(loss, θ, support)
        gradient = _derivative(value, _part(θ, names), create_graph=not first_order)
        path.append((θ, gradient))
        θ = _step(θ, gradient, inner_rate)
        losses.append(value.detach())
    θ = _each(lambda part: _leaf(_channels_last(part)), θ)
    value = _value(loss, θ, tree_map(_channels_last, query))
    v = _derivative(value, θ)
    for θ, gradient in [] if first_order else reversed(path):
        Hv = _derivative(gradient, θ, along=_part(v, gradient))
        v = _step(v, Hv, inner_rate)  # v ← (I − αH) v
    return v, value.detach(), losses


def _leaf(part: Tensor) -> Tensor:
    """Cut a parameter off what it was computed from, and let gradients be taken in it."""
    return part.detach().requires_grad_()


def _derivative(
    values: Any, parameters: Any, *, along: Any = None, create_graph: bool = False
) -> Any:
    """Differentiate values, along a direction where they are many, in each of the parameters."""
    directions = [None] if along is None else tree_leaves(along)
    pairs = zip(tree_leaves(values), directions, strict=True)
    varying = [(value, u) for value, u in pairs if value.requires_grad]
    leaves, form = tree_flatten(parameters)
    found: Sequence[Tensor | None] = [None] * len(leaves)
    if varying:
        outputs, weights = zip(*varying, strict=True)
        found = torch.autograd.grad(
            outputs, leaves, weights, create_graph=create_graph, allow_unused=True
        )
    if along is None and all(each is None for each in found):
        raise ValueError(NO_GRADIENT)
    zeros = map(torch.zeros_like, leaves)
    return tree_unflatten([z if g is None else g for g, z in zip(found, zeros, strict=True)], form)


def _inner_loss(loss: Loss, θ: Any, support: Any, part: Any) -> Tensor:
    """The support loss as a function of what adapts."""
    value = _value(loss, part if isinstance(part, Tensor) else {**θ, **part}, support)
    if not value.requires_grad:
        raise ValueError(NO_GRADIENT)
    return value


def _value(loss: Loss, θ: Any, batch: Any) -> Tensor:
    """The loss, once it is seen to be a scalar."""
    value = loss(θ, batch)
    if not isinstance(value, Tensor):
        raise TypeError(
            f"the loss must return a scalar tensor, got {type(value).__name__}; "
            "leave out item() and float()"
        )
    require_scalar(**{"the loss": value})
    return value


def _sum(loss: Loss) -> Loss:
    """The loss of all tasks together, as a function of the parameters of each."""
    of_tasks: Any = vmap(partial(_value, loss), randomness="different")
    return lambda θ, batch: of_tasks(θ, batch).sum()


def _part(tree: Any, names: Any) -> Any:
    """Keep of parameters what adapts."""
    return tree if isinstance(tree, Tensor) or names is None else {n: tree[n] for n in names}


def _step(θ: Any, gradient: Any, rate: float) -> Any:
    """θ − α g, where there is a gradient."""
    if isinstance(θ, Tensor):
        return θ - rate * gradient
    return {**θ, **{name: θ[name] - rate * g for name, g in gradient.items()}}


def _channels_last(tensor: Any) -> Any:
    """Lay images and kernels out as convolutions are fastest; values are the same."""
    if not isinstance(tensor, Tensor) or tensor.ndim != 4:
        return tensor
    # With one channel .to(memory_format=...) changes nothing: both layouts have the same strides.
    return torch.empty_like(tensor, memory_format=torch.channels_last).copy_(tensor)


def _moving(
    parameters: Parameters, inner_rate: float, steps: int, only: str | Sequence[str] | None
) -> list[str] | None:
    """Check what an inner loop is given; give the names of what adapts, None for all."""
    _require_alike(parameters=parameters)
    require_number("inner_rate", inner_rate, below=math.inf)
    _require_whole("steps", steps, least=0)
    if only is None:
        return None
    if isinstance(parameters, Tensor):
        raise TypeError("only chooses among named parameters: give a dictionary, or only=None")
    return matching(parameters, listed(only))


def _tasks(support: Any, query: Any) -> int:
    """Give the number of tasks, the same in all tensors of the batches."""
    parts = [part for part in tree_leaves((support, query)) if isinstance(part, Tensor)]
    if not parts or any(part.ndim == 0 for part in parts):
        raise ValueError(
            "support and query must hold tensors with the tasks on the first axis, (T, ...); "
            "stack the tasks, or give a single one as tensor.unsqueeze(0)"
        )
    counts = sorted({len(part) for part in parts})
    if len(counts) > 1 or counts[0] == 0:
        raise ValueError(
            "support and query must have the same number of tasks on the first axis, at least 1, "
            f"got {counts}"
        )
    return counts[0]


def _members(features: Tensor, labels: Tensor) -> Tensor:
    """Give the labels one-hot (n, K), in the dtype of the features."""
    require_features(features=features)
    require_labels("labels", labels, len(features))
    members = one_hot(labels.long()).to(features)
    if seen((members.sum(0) == 0).any()):
        missing = (members.sum(0) == 0).nonzero().squeeze(1).tolist()
        raise ValueError(
            f"each class 0 to {members.shape[1] - 1} must have at least one row, but {missing} "
            "have none; call the classes of the episode 0 to K - 1"
        )
    return members


def _order(n: int, generator: torch.Generator | None) -> Tensor:
    """Draw an order of n things."""
    device = place_of(generator, "cpu")
    return torch.randperm(n, generator=generator, device=device)


def _require_whole(name: str, value: int, *, least: int = 1) -> None:
    if isinstance(value, bool) or not isinstance(value, int):
        raise TypeError(f"{name} must be a whole number, got {value!r}")
    if value < least:
        raise ValueError(f"{name} must be at least {least}, got {value}")


def _say_if_diverged(losses: list[Tensor], parameters: list[Tensor], inner_rate: float) -> None:
    """Raise where the inner loop has left the finite numbers, warn where it climbs."""
    finite = not any(seen(~part.detach().isfinite().all()) for part in [*losses, *parameters])
    climbs = len(losses) > 1 and seen((losses[0] > 0) & (losses[-1] > 10 * losses[0]))
    if finite and not climbs:
        return
    message = (
        f"the inner loop diverges at inner_rate {inner_rate:g}: its losses are "
        f"{', '.join(f'{float(value):.3g}' for value in losses)}; take a smaller rate"
    )
    if not finite:
        raise FloatingPointError(f"{message} or fewer steps")
    warnings.warn(message, UserWarning, stacklevel=3)
