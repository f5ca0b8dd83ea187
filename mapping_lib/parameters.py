r"""Transfer by parameters (sections 3.2.2 and 3.2.3): which parameters of a pretrained network
learn, how fast, how far, and in what form; which are shared; and which follow the data at test
time.

Parts of a model are chosen by patterns of names, as ``model.named_parameters()`` gives them:
``"body"`` is everything in the submodule body, ``"*.bias"`` every bias, ``"head.weight"`` one
parameter. Functions that take a model change it in place.
"""

import math
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, TypeAlias

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm
from torch.nn.utils import parametrize

from mapping_lib._checks import place_of, require_float, require_number
from mapping_lib._modules import (
    first_outputs,
    hint,
    listed,
    matching,
    modes_kept,
    named,
    require_common_shapes,
    weighted_layers,
)
from mapping_lib._names import suggest
from mapping_lib.initialisation import he
from mapping_lib.losses import entropy

__all__ = [
    "BottleneckAdapter",
    "LowRank",
    "adabn",
    "add_adapters",
    "add_lora",
    "bitfit",
    "freeze",
    "gradual_unfreezing",
    "hard_sharing",
    "l2_sp",
    "layerwise_rates",
    "merge_lora",
    "soft_sharing",
    "tent",
    "tent_step",
    "trainable",
    "unfreeze",
    "unmerge_lora",
]

Parameters: TypeAlias = nn.Module | Mapping[str, Tensor]
"""A model, or tensors by name."""


class LowRank(nn.Module):
    r"""The change of one weight, made by :func:`add_lora`: a parametrisation of the layer.

    Attributes
    ----------
    down, up
        :math:`A`, ``(r, in)``, and :math:`B`, ``(out, r)``.
    scale
        The factor s.
    kept
        While the change is merged, the weight without it; else None.
    """

    kept: Tensor | None

    def __init__(
        self, weight: Tensor, rank: int, scale: float, generator: torch.Generator | None
    ) -> None:
        super().__init__()
        out, into = weight.flatten(1).shape
        device = place_of(generator, weight.device)
        drawn = torch.randn(rank, into, generator=generator, device=device) / math.sqrt(into)
        self.down = nn.Parameter(drawn.to(weight))
        self.up = nn.Parameter(weight.new_zeros(out, rank))
        self.scale = scale
        self.register_buffer("kept", None)

    def forward(self, weight: Tensor) -> Tensor:
        """Add the change to the weight, unless it is merged."""
        if self.kept is not None:
            return weight
        return weight + self.scale * (self.up @ self.down).view_as(weight)


class BottleneckAdapter(nn.Module):
    r"""Two small layers beside the identity, added by :func:`add_adapters`.

    .. math:: h \mapsto h + U \max(0, D h + c) + b

    Starts as the identity, since :math:`U = 0` and :math:`b = 0`.

    Parameters
    ----------
    width
        Number of features or channels.
    bottleneck
        Number m of features between the layers.
    axis
        Where the features are: the last axis, or 1 in feature maps.
    generator
        Draws :math:`D`.
    """

    def __init__(
        self,
        width: int,
        *,
        bottleneck: int,
        axis: int = -1,
        generator: torch.Generator | None = None,
    ) -> None:
        super().__init__()
        require_number("bottleneck", bottleneck, least=1, most=width)
        self.axis = axis
        self.down = nn.Parameter(he((bottleneck, width), generator=generator))
        self.down_bias = nn.Parameter(torch.zeros(bottleneck))
        self.up = nn.Parameter(torch.zeros(width, bottleneck))
        self.up_bias = nn.Parameter(torch.zeros(width))

    def forward(self, features: Tensor) -> Tensor:
        """Map features to features of the same shape."""
        h = features.movedim(self.axis, -1)
        narrow = nn.functional.linear(h, self.down, self.down_bias).relu()
        h = h + nn.functional.linear(narrow, self.up, self.up_bias)
        return h.movedim(-1, self.axis)


def freeze(model: nn.Module, *patterns: str) -> list[str]:
    r"""Stop parameters from learning.

    .. math::

        \theta_i \leftarrow \theta_i - \eta \, m_i \, \frac{\partial L}{\partial \theta_i}, \qquad
        m_i = \begin{cases} 0 & \theta_i \text{ is frozen} \\ 1 & \text{else} \end{cases}

    The running mean and variance of batch norm are no parameters: in train mode they go on moving
    (section 5.2 shows the damage). Put frozen parts into eval mode.

    Taught in :ref:`fine-tuning` (section 3.2.2).
    Source: :cite:t:`yosinski2014how`, section 2.

    Parameters
    ----------
    model
        Any module.
    patterns
        Names of parameters or submodules, ``*`` stands for anything; none means everything.

    Returns
    -------
    list of str
        The names of the parameters, in the model's order.

    Raises
    ------
    ValueError
        A pattern matches nothing.

    Examples
    --------
    >>> model = nn.Sequential(nn.Linear(2, 2), nn.Linear(2, 1))
    >>> freeze(model, "0")
    ['0.weight', '0.bias']
    >>> [name for name, p in model.named_parameters() if p.requires_grad]
    ['1.weight', '1.bias']
    """
    return _set_learning(model, patterns, learn=False)


def unfreeze(model: nn.Module, *patterns: str) -> list[str]:
    r"""Let parameters learn again.

    .. math:: m_i \leftarrow 1

    in the step of :func:`freeze`.

    Taught in :ref:`fine-tuning` (section 3.2.2).
    Source: :cite:t:`yosinski2014how`, section 2.

    Parameters
    ----------
    model
        Any module.
    patterns
        Names of parameters or submodules, ``*`` stands for anything; none means everything.

    Returns
    -------
    list of str
        The names of the parameters, in the model's order.

    Raises
    ------
    ValueError
        A pattern matches nothing.

    Examples
    --------
    >>> model = nn.Linear(2, 1).requires_grad_(False)
    >>> unfreeze(model, "b*")
    ['bias']
    """
    return _set_learning(model, patterns, learn=True)


def trainable(model: nn.Module) -> list[nn.Parameter]:
    r"""Give the parameters that learn, for an optimiser.

    .. math:: \{ \theta_i : m_i = 1 \}

    with the :math:`m_i` of :func:`freeze`. An optimiser takes frozen parameters without a word, and
    a training of nothing looks like one that doesn't help.

    Taught in :ref:`fine-tuning` (section 3.2.2).
    Source: :cite:t:`yosinski2014how`, section 2.

    Parameters
    ----------
    model
        Any module.

    Returns
    -------
    list of Parameter
        Each once, in the model's order.

    Raises
    ------
    ValueError
        The model has no parameters, or all are frozen.

    Examples
    --------
    >>> model = nn.Linear(2, 1)
    >>> freeze(model, "weight")
    ['weight']
    >>> trainable(model) == [model.bias]
    True
    """
    every = list(model.parameters())
    learning = [parameter for parameter in every if parameter.requires_grad]
    if not learning:
        raise ValueError(
            f"all {len(every)} parameters of the model are frozen: an optimiser would have nothing "
            "to train; unfreeze some, such as the head"
            if every
            else "the model has no parameters to train"
        )
    return learning


def gradual_unfreezing(
    blocks: Sequence[nn.Module], *, epoch: int, every: int = 1
) -> list[nn.Parameter]:
    r"""Let the last block learn in the first epoch, and one more in each epoch after it.

    .. math::

        m_l = \begin{cases}
            1 & l > L - 1 - \lfloor e / k \rfloor \\
            0 & \text{else}
        \end{cases}
        \qquad l = 1, \dots, L

    for the parameters of block l in epoch :math:`e = 0, 1, \dots`

    Call it before each epoch. Give the optimiser all blocks from the start: it passes over
    parameters without a gradient, but never learns of those that it wasn't given.

    Taught in :ref:`fine-tuning` (section 3.2.2).
    Source: :cite:t:`howard2018universal`, section 3.3.

    Parameters
    ----------
    blocks
        Parts of the model, from the input to the head.
    epoch
        Counted from 0.
    every
        The number k of epochs from one block to the next.

    Returns
    -------
    list of Parameter
        Those that learn.

    Raises
    ------
    ValueError
        There is no block, one has no parameters or shares them with another, or a number is out of
        range.

    Examples
    --------
    >>> body, head = nn.Linear(2, 2), nn.Linear(2, 1)
    >>> len(gradual_unfreezing([body, head], epoch=0)), body.weight.requires_grad
    (2, False)
    >>> len(gradual_unfreezing([body, head], epoch=1)), body.weight.requires_grad
    (4, True)
    """
    groups = _parameters_of(blocks)
    require_number("epoch", epoch)
    require_number("every", every, least=1)
    first = len(groups) - 1 - int(epoch // every)
    for position, group in enumerate(groups):
        for parameter in group:
            parameter.requires_grad_(position >= first)
    return [parameter for group in groups[max(first, 0) :] for parameter in group]


def layerwise_rates(
    blocks: Sequence[nn.Module], *, rate: float, decay: float
) -> list[dict[str, Any]]:
    r"""Give each block its own learning rate, smaller towards the input.

    .. math:: \eta_l = \eta \, \delta^{L - l} \qquad l = 1, \dots, L

    Taught in :ref:`fine-tuning` (section 3.2.2).
    Source: :cite:t:`howard2018universal`, section 3.2, with :math:`\delta = 1 / 2.6`.

    Parameters
    ----------
    blocks
        Parts of the model, from the input to the head.
    rate
        :math:`\eta`, of the last block.
    decay
        :math:`\delta`, from 0 to 1; at 1 all rates are equal.

    Returns
    -------
    list of dict
        Parameter groups for an optimiser, in the order of the blocks.

    Raises
    ------
    ValueError
        There is no block, one has no parameters or shares them with another, all parameters are
        frozen, or a number is out of range.

    Examples
    --------
    >>> groups = layerwise_rates([nn.Linear(1, 1) for _ in range(3)], rate=0.4, decay=0.5)
    >>> [group["lr"] for group in groups]
    [0.1, 0.2, 0.4]
    """
    groups = _parameters_of(blocks)
    require_number("rate", rate)
    require_number("decay", decay, most=1)
    trainable(nn.ModuleList(blocks))
    last = len(groups) - 1
    return [
        {"params": group, "lr": rate * decay ** (last - position)}
        for position, group in enumerate(groups)
    ]


def l2_sp(
    parameters: Parameters,
    start: Mapping[str, Tensor],
    *,
    weight: float,
    head_weight: float = 0.0,
) -> Tensor:
    r"""Penalise the distance from the starting point, where weight decay pulls towards 0.

    .. math::

        \frac{\alpha}{2} \sum_{k \in S} \lVert \theta_k - \theta_k^0 \rVert^2
        + \frac{\beta}{2} \sum_{k \notin S} \lVert \theta_k \rVert^2

    :math:`S` are the parameters that have a starting point :math:`\theta^0`; the others, those of a
    new head, are drawn towards 0.

    Taught in :ref:`fine-tuning` (section 3.2.2).
    Source: :cite:t:`li2018explicit`, section 3.

    Parameters
    ----------
    parameters
        A model, or its parameters by name.
    start
        Copies of the pretrained parameters by name, such as
        ``{name: p.detach().clone() for name, p in model.named_parameters()}``.
    weight
        :math:`\alpha`.
    head_weight
        :math:`\beta`.

    Returns
    -------
    Tensor
        A scalar, to be added to the loss.

    Raises
    ------
    TypeError
        Parameters or start aren't tensors by name.
    ValueError
        A weight is negative, no name has a starting point, shapes differ, or the start is the
        model's own memory, as ``state_dict()`` gives it: it would move along.

    Examples
    --------
    >>> now = {"body": torch.tensor([3.]), "head": torch.tensor([2.])}
    >>> start = {"body": torch.tensor([1.])}
    >>> l2_sp(now, start, weight=1.0, head_weight=0.5)  # 1/2 · 2² + 1/4 · 2²
    tensor(3.)
    """
    own, start = named(parameters, "parameters"), named(start, "start")
    require_number("weight", weight)
    require_number("head_weight", head_weight)
    require_common_shapes(own, start)
    old = [name for name in own if name in start]
    new = [name for name in own if name not in start]
    if not old:
        raise ValueError(
            "none of the parameters has a starting point" + suggest(next(iter(start), ""), own)
        )
    for name in old:
        if _same_memory(own[name], start[name]):
            raise ValueError(
                f"start[{name!r}] is the parameter itself and moves along with it; "
                "copy it with .detach().clone()"
            )
    moved = torch.stack([(own[name] - start[name].detach()).square().sum() for name in old]).sum()
    size = sum((own[name].square().sum() for name in new), torch.zeros_like(moved))
    return weight / 2 * moved + head_weight / 2 * size


def bitfit(model: nn.Module, *patterns: str) -> list[str]:
    r"""Let only biases learn, and what is named besides.

    .. math::

        m_i = \begin{cases} 1 & \theta_i \text{ is part of a bias} \\ 0 & \text{else} \end{cases}

    with the :math:`m_i` of :func:`freeze`. A parameter is a bias if the last part of its name is
    ``bias``; where batch norm follows a convolution, the bias is batch norm's.

    Taught in :ref:`fine-tuning` (section 3.2.2).
    Source: :cite:t:`benzaken2022bitfit`, section 3.

    Parameters
    ----------
    model
        Any module.
    patterns
        What learns besides, such as ``"head"``.

    Returns
    -------
    list of str
        The names of the parameters that learn, in the model's order.

    Raises
    ------
    ValueError
        The model has no bias, or a pattern matches nothing.

    Examples
    --------
    >>> bitfit(nn.Sequential(nn.Linear(2, 2), nn.Linear(2, 1)), "1")
    ['0.bias', '1.weight', '1.bias']
    """
    names = [name for name, _ in model.named_parameters()]
    biases = [name for name in names if name.split(".")[-1] == "bias"]
    if not biases:
        raise ValueError("the model has no bias to learn; add_lora or add_adapters would do")
    learn = {*biases, *matching(names, patterns)}
    for name, parameter in model.named_parameters():
        parameter.requires_grad_(name in learn)
    return [name for name in names if name in learn]


def add_lora(
    model: nn.Module,
    names: str | Sequence[str],
    *,
    rank: int,
    scale: float = 1.0,
    generator: torch.Generator | None = None,
) -> list[LowRank]:
    r"""Freeze weights and let each learn a change of low rank.

    .. math::

        W' = W + s \, B A, \qquad
        B \in \mathbb R^{\text{out} \times r}, \quad A \in \mathbb R^{r \times \text{in}}

    :math:`A_{ij} \sim \mathcal N(0, 1/\text{in})` and :math:`B = 0`, so that nothing changes at the
    start. A convolution's weight is taken as a matrix of ``out`` rows, and ``in`` counts the
    places of the kernel. The layer stays what it is; only its weight is computed, anew in each pass
    until it is merged.

    Other parameters are left as they are: to train the change alone, call :func:`freeze` before.

    Taught in :ref:`fine-tuning` (section 3.2.2).
    Source: :cite:t:`hu2022lora`, eq. 3, where :math:`s = \alpha / r`.

    Parameters
    ----------
    model
        Any module.
    names
        Names or patterns of its layers; of a submodule, all its linear and convolutional layers.
    rank
        The number r, at most the smaller side of the matrix.
    scale
        The factor s.
    generator
        Draws :math:`A`; by default torch's own.

    Returns
    -------
    list of LowRank
        One a layer, in the model's order.

    Raises
    ------
    ValueError
        A name matches no linear or convolutional layer, the rank is larger than a layer, or a layer
        has a change already.

    Examples
    --------
    >>> model = nn.Sequential(nn.Linear(3, 3))
    >>> [change] = add_lora(model, "0", rank=1)
    >>> change.down.shape, change.up.shape
    (torch.Size([1, 3]), torch.Size([3, 1]))
    """
    require_number("scale", scale)
    layers = weighted_layers(model)
    chosen = matching(layers, listed(names), what="linear or convolutional layer")
    for name in chosen:
        out, into = layers[name].weight.flatten(1).shape
        smaller = min(out, into)
        if not isinstance(rank, int) or not 1 <= rank <= smaller:
            raise ValueError(
                f"the rank must be a whole number from 1 to {smaller}, the smaller side of "
                f"{name!r} with {out} × {into} weights, got {rank!r}"
            )
        if _low_rank(layers[name]) is not None:
            raise ValueError(f"{name!r} has a low-rank change already; leave it out")
    changes = []
    for name in chosen:
        layer = layers[name]
        layer.weight.requires_grad_(False)
        change = LowRank(layer.weight.detach(), rank, scale, generator)
        parametrize.register_parametrization(layer, "weight", change)
        changes.append(change)
    return changes


@torch.no_grad()
def merge_lora(model: nn.Module, *, keep: bool = True) -> list[str]:
    r"""Write the low-rank changes into the weights, so that they cost nothing more.

    .. math:: W \leftarrow W + s \, B A

    Outputs stay the same to the last bit. A change that is merged already isn't merged twice.

    Taught in :ref:`fine-tuning` (section 3.2.2).
    Source: :cite:t:`hu2022lora`, section 4.1.

    Parameters
    ----------
    model
        One that :func:`add_lora` was called on.
    keep
        Whether the weights without the change are kept for :func:`unmerge_lora`. False leaves plain
        layers, whose parameters have their old names.

    Returns
    -------
    list of str
        The names of the layers.

    Raises
    ------
    ValueError
        The model has no low-rank change.

    Examples
    --------
    >>> model = nn.Sequential(nn.Linear(3, 3))
    >>> [change] = add_lora(model, "0", rank=1)
    >>> merge_lora(model, keep=False), [name for name, _ in model.named_parameters()]
    (['0'], ['0.bias', '0.weight'])
    """
    found = _changed_layers(model)
    for layer, change in found.values():
        if change.kept is None:
            original = layer.parametrizations.weight.original
            merged = change(original)
            change.kept = original.detach().clone()
            original.copy_(merged)
            change.requires_grad_(False)
        if not keep:
            parametrize.remove_parametrizations(layer, "weight")
    return list(found)


@torch.no_grad()
def unmerge_lora(model: nn.Module) -> list[str]:
    r"""Take merged low-rank changes out of the weights again, to go on training them.

    .. math:: W \leftarrow W' - s \, B A

    The weights are those that were kept, the same to the last bit, which subtraction wouldn't give.

    Taught in :ref:`fine-tuning` (section 3.2.2).
    Source: :cite:t:`hu2022lora`, section 4.1.

    Parameters
    ----------
    model
        One that :func:`merge_lora` was called on.

    Returns
    -------
    list of str
        The names of the layers.

    Raises
    ------
    ValueError
        The model has no low-rank change.

    Examples
    --------
    >>> model = nn.Sequential(nn.Linear(3, 3))
    >>> before = model[0].weight.clone()
    >>> [change] = add_lora(model, "0", rank=1)
    >>> merge_lora(model), unmerge_lora(model), torch.equal(model[0].weight, before)
    (['0'], ['0'], True)
    """
    found = _changed_layers(model)
    for layer, change in found.values():
        if change.kept is not None:
            layer.parametrizations.weight.original.copy_(change.kept)
            change.kept = None
            change.requires_grad_(True)
    return list(found)


def add_adapters(
    model: nn.Module,
    names: str | Sequence[str],
    *,
    inputs: Tensor,
    bottleneck: int,
    generator: torch.Generator | None = None,
) -> list[BottleneckAdapter]:
    r"""Put a small network with a bottleneck behind layers of a model.

    .. math:: h \mapsto h + U \max(0, D h + c) + b, \qquad
        D \in \mathbb R^{m \times d}, \quad U \in \mathbb R^{d \times m}

    :math:`U`, b and c start at 0, so that nothing changes at the start. In a feature map each place
    is mapped by itself, by its d channels.

    Other parameters are left as they are: to train the adapters alone, call :func:`freeze` before.
    Each becomes the submodule ``adapter`` of its layer.

    Taught in :ref:`fine-tuning` (section 3.2.2).
    Source: :cite:t:`houlsby2019parameter`, section 2.1; in convolutional networks
    :cite:t:`rebuffi2018efficient`.

    Parameters
    ----------
    model
        Any module.
    names
        Names or patterns of its layers, which must return tensors.
    inputs
        What the model maps, to see the widths of the layers; one row is enough.
    bottleneck
        The width m.
    generator
        Draws :math:`D`; by default torch's own.

    Returns
    -------
    list of BottleneckAdapter
        One a layer, in the model's order.

    Raises
    ------
    TypeError
        The inputs aren't floating point, or a layer doesn't return a tensor.
    ValueError
        A name matches no layer, the model doesn't run one, the bottleneck is wider than a layer, or
        a layer has an adapter already.

    Examples
    --------
    >>> model = nn.Sequential(nn.Linear(2, 3), nn.ReLU())
    >>> [adapter] = add_adapters(model, "0", inputs=torch.ones(1, 2), bottleneck=1)
    >>> [tuple(p.shape) for p in adapter.parameters()]
    [(1, 3), (1,), (3, 1), (3,)]
    """
    require_float(inputs=inputs)
    modules = {name: module for name, module in model.named_modules() if name}
    chosen = matching(modules, listed(names), what="layer", inside=False)
    layers = {name: modules[name] for name in chosen}
    outputs = first_outputs(model, inputs, layers)
    adapters = {}
    for name, layer in layers.items():
        if name not in outputs:
            raise ValueError(f"the model doesn't run its layer {name!r}; leave it out")
        if hasattr(layer, "adapter"):
            raise ValueError(f"{name!r} has an adapter already; leave it out")
        output = outputs[name]
        axis = 1 if output.ndim > 3 or isinstance(layer, nn.Conv1d) else -1
        adapters[name] = BottleneckAdapter(
            output.shape[axis], bottleneck=bottleneck, axis=axis, generator=generator
        ).to(output)
    for name, adapter in adapters.items():
        layers[name].add_module("adapter", adapter)
        if type(layers[name]).forward is not nn.Sequential.forward:  # which runs it as its last
            layers[name].register_forward_hook(_adapted)
    return list(adapters.values())


def hard_sharing(source: nn.Module, target: nn.Module, *patterns: str) -> list[str]:
    r"""Let two models have parameters in common.

    .. math:: \theta^t_k = \theta^s_k \qquad k \in S

    The target's parameters are replaced by the source's: a step of either moves both. Buffers, such
    as batch norm's running statistics, stay each model's own.

    Taught in :ref:`parameter-sharing` (section 3.2.3).
    Source: :cite:t:`caruana1997multitask`.

    Parameters
    ----------
    source
        Keeps its parameters.
    target
        Is changed in place.
    patterns
        Names of the shared parameters or submodules, such as ``"body"``; none means all.

    Returns
    -------
    list of str
        The names of the parameters that are shared.

    Raises
    ------
    ValueError
        A pattern matches nothing, the target lacks a name, or shapes differ.

    Examples
    --------
    >>> first, second = nn.Linear(2, 1), nn.Linear(2, 1)
    >>> hard_sharing(first, second, "weight"), second.weight is first.weight
    (['weight'], True)
    """
    theirs = dict(source.named_parameters(remove_duplicate=False))
    ours = dict(target.named_parameters(remove_duplicate=False))
    shared = _common(theirs, ours, patterns)
    for name in shared:
        owner, _, last = name.rpartition(".")
        setattr(target.get_submodule(owner), last, theirs[name])
    return shared


def soft_sharing(source: Parameters, target: Parameters, *patterns: str) -> Tensor:
    r"""Penalise the distance between the parameters of two models.

    .. math:: \sum_{k \in S} \lVert \theta^s_k - \theta^t_k \rVert^2

    Taught in :ref:`parameter-sharing` (section 3.2.3).
    Source: :cite:t:`duong2015low`.

    Parameters
    ----------
    source, target
        Models, or their parameters by name.
    patterns
        Names of the parameters or submodules that are drawn together, such as ``"body"``; none
        means all.

    Returns
    -------
    Tensor
        A scalar, to be weighted and added to the loss.

    Raises
    ------
    TypeError
        An argument is neither a model nor a mapping.
    ValueError
        A pattern matches nothing, the target lacks a name, or shapes differ.

    Examples
    --------
    >>> soft_sharing({"w": torch.tensor([1., 5.])}, {"w": torch.tensor([1., 2.])})
    tensor(9.)
    """
    theirs, ours = named(source, "source"), named(target, "target")
    distances = [
        (theirs[name] - ours[name]).square().sum() for name in _common(theirs, ours, patterns)
    ]
    return torch.stack(distances).sum()


@torch.no_grad()
def adabn(model: nn.Module, batches: Tensor | Iterable[Tensor], *, prior: float = 0.0) -> list[str]:
    r"""Adaptive batch normalisation: replace batch norm's statistics by those of the target.

    .. math::

        \mu = \frac{N \mu_s + n \mu_t}{N + n}, \qquad
        \sigma^2 = \frac{N \sigma_s^2 + n \sigma_t^2}{N + n}

    :math:`\mu_t` and :math:`\sigma_t^2` are a channel's mean and variance over all n inputs and all
    places, and N is the number of inputs that the source's statistics count for. With
    :math:`N = 0` this is AdaBN. With a prior the two variances are averaged, as Schneider
    et al. do; that the two means differ is left out, so it is not the variance of all values.

    No labels, no gradients. While the statistics are gathered, each batch is normalised by its own;
    so a single batch that holds everything is exact, and small batches, or batches of one class,
    are not.

    Taught in :ref:`parameter-sharing` (section 3.2.3).
    Source: :cite:t:`li2016revisiting`, algorithm 1; with a prior :cite:t:`schneider2020improving`.

    Parameters
    ----------
    model
        One with batch norm; the statistics are changed in place.
    batches
        Target inputs ``(n, ...)``, or several batches of them.
    prior
        The number N.

    Returns
    -------
    list of str
        The names of the layers whose statistics were replaced.

    Raises
    ------
    TypeError
        The inputs aren't floating point.
    ValueError
        The model runs no batch norm with running statistics, there is no batch, one holds a single
        value a channel, or inputs contain NaN.

    Examples
    --------
    >>> model = nn.Sequential(nn.BatchNorm1d(1))
    >>> adabn(model, torch.tensor([[1.], [5.]])), model[0].running_mean, model[0].running_var
    (['0'], tensor([3.]), tensor([4.]))
    """
    require_number("prior", prior)
    norms = {
        name: module
        for name, module in model.named_modules()
        if isinstance(module, _BatchNorm) and module.running_mean is not None
    }
    found: dict[str, _Moments] = {}
    total = 0

    def gather(name: str) -> Any:
        def hook(module: nn.Module, arguments: tuple[Tensor, ...]) -> None:
            moments = _moments(arguments[0], name)
            found[name] = _pooled(found[name], moments) if name in found else moments

        return hook

    before = {name: {k: v.clone() for k, v in norms[name].named_buffers()} for name in norms}
    hooks = [norms[name].register_forward_pre_hook(gather(name)) for name in norms]
    try:
        with modes_kept(model):
            model.eval()
            for norm in norms.values():
                norm.training = True
            for batch in [batches] if isinstance(batches, Tensor) else batches:
                require_float(inputs=batch)
                model(batch)
                total += len(batch)
    finally:
        for handle in hooks:
            handle.remove()
        for name, buffers in before.items():
            for key, value in buffers.items():
                getattr(norms[name], key).copy_(value)
    if not found:
        raise ValueError(
            "there are no batches; give at least one"
            if norms and not total
            else "the model runs no batch norm with running statistics, so AdaBN changes nothing"
        )
    for name, (_, mean, variance) in found.items():
        buffers = dict(norms[name].named_buffers())
        for old, new in ((buffers["running_mean"], mean), (buffers["running_var"], variance)):
            old.copy_((prior * old + total * new) / (prior + total))
    return list(found)


def tent(model: nn.Module) -> list[nn.Parameter]:
    r"""Prepare a model for test-time entropy minimisation.

    .. math::

        y = \gamma \, \frac{x - \mu(x)}{\sqrt{\sigma^2(x) + \epsilon}} + \beta

    Batch norm normalises by the mean and variance of each batch of test inputs; the source's
    statistics are dropped. Only its :math:`\gamma` and :math:`\beta` learn, and :func:`tent_step`
    moves them. There is no way back: work on a copy of the model.

    Taught in :ref:`parameter-sharing` (section 3.2.3).
    Source: :cite:t:`wang2021tent`, section 3.2.

    Parameters
    ----------
    model
        One with batch norm; changed in place and put into eval mode.

    Returns
    -------
    list of Parameter
        What the optimiser trains.

    Raises
    ------
    ValueError
        The model has no batch norm with scale and shift.

    Examples
    --------
    >>> model = nn.Sequential(nn.Linear(2, 2), nn.BatchNorm1d(2))
    >>> tent(model) == [model[1].weight, model[1].bias]
    True
    """
    norms = [module for module in model.modules() if isinstance(module, _BatchNorm)]
    parameters = [p for norm in norms for p in (norm.weight, norm.bias) if p is not None]
    if not parameters:
        raise ValueError(
            "the model has no batch norm with scale and shift, so Tent has nothing to train"
        )
    model.eval().requires_grad_(False)
    for norm in norms:
        norm.track_running_stats = False
        norm.running_mean = norm.running_var = norm.num_batches_tracked = None
    for parameter in parameters:
        parameter.requires_grad_(True)
    return parameters


def tent_step(model: nn.Module, inputs: Tensor, optimiser: torch.optim.Optimizer) -> Tensor:
    r"""Predict a batch of test inputs, and take one step towards surer predictions.

    .. math::

        (\gamma, \beta) \leftarrow (\gamma, \beta) - \eta \nabla_{\gamma, \beta}
        \frac1n \sum_{i=1}^{n} H(p_i), \qquad
        H(p) = - \sum_{k=1}^{K} p_k \log p_k

    The predictions :math:`p_i` are those before the step, which helps the batches that follow.

    Nothing in it keeps predictions right: the entropy of one class for all inputs is 0 as well.

    Taught in :ref:`parameter-sharing` (section 3.2.3).
    Source: :cite:t:`wang2021tent`, sections 3.1 and 3.3.

    Parameters
    ----------
    model
        One that :func:`tent` has prepared; maps inputs to logits.
    inputs
        Test inputs, ``(n, ...)``.
    optimiser
        Of the parameters that :func:`tent` returned.

    Returns
    -------
    Tensor
        The logits ``(n, K)`` before the step, without a gradient.

    Raises
    ------
    TypeError
        The inputs aren't floating point.
    ValueError
        Inputs contain NaN, the model's output isn't logits of several classes, the model wasn't
        prepared by :func:`tent`, or the optimiser is another model's.

    Examples
    --------
    >>> model = nn.Sequential(nn.BatchNorm1d(2))
    >>> optimiser = torch.optim.SGD(tent(model), lr=1.0)
    >>> x = torch.tensor([[0., 1.], [1., 0.]])
    >>> [round(float(tent_step(model, x, optimiser).amax()), 2) for _ in range(3)]  # ever surer
    [1.0, 1.21, 1.39]
    """
    require_float(inputs=inputs)
    norms = [module for module in model.modules() if isinstance(module, _BatchNorm)]
    if not norms or any(norm.running_mean is not None for norm in norms):
        raise ValueError(
            "the model's batch norm has its source's statistics; prepare it with tent(model)"
        )
    held = {parameter for group in optimiser.param_groups for parameter in group["params"]}
    if held.isdisjoint(trainable(model)):
        raise ValueError(
            "the optimiser holds no parameter of this model that learns; give it what tent(model) "
            "returned for this very copy of the model"
        )
    optimiser.zero_grad()
    logits: Tensor = model(inputs)
    entropy(logits).backward()  # type: ignore[no-untyped-call]
    optimiser.step()
    return logits.detach()


_Moments: TypeAlias = tuple[int, Tensor, Tensor]


def _moments(x: Tensor, name: str) -> _Moments:
    """Give the number of values a channel, their mean and their variance."""
    values = x.movedim(1, -1).flatten(0, -2)  # (values, channels)
    if len(values) < 2:
        raise ValueError(
            f"{name!r} gets a single value a channel, which has no variance; give larger batches"
        )
    values = values.to(torch.promote_types(values.dtype, torch.float32))
    return len(values), values.mean(0), values.var(0, correction=0)


def _pooled(a: _Moments, b: _Moments) -> _Moments:
    """Give the moments of two sets together: variance within plus variance between."""
    n = a[0] + b[0]
    share = b[0] / n
    apart = b[1] - a[1]
    within = (1 - share) * a[2] + share * b[2]
    return n, a[1] + share * apart, within + share * (1 - share) * apart.square()


def _adapted(module: nn.Module, arguments: Any, output: Tensor) -> Tensor:
    """Pass a layer's output through its adapter: a forward hook."""
    adapter: Any = module.adapter
    return adapter(output)  # type: ignore[no-any-return]


def _same_memory(a: Tensor, b: Tensor) -> bool:
    """Whether two tensors of one shape are one; False where nobody can tell."""
    if torch.compiler.is_compiling():
        return False
    try:
        return bool(a.numel()) and a.data_ptr() == b.data_ptr()
    except RuntimeError:  # inside torch.func
        return False


def _set_learning(model: nn.Module, patterns: Sequence[str], *, learn: bool) -> list[str]:
    parameters = dict(model.named_parameters())
    names = matching(parameters, patterns) if patterns else list(parameters)
    for name in names:
        parameters[name].requires_grad_(learn)
    return names


def _parameters_of(blocks: Sequence[nn.Module]) -> list[list[nn.Parameter]]:
    """Give the parameters of each block."""
    if not blocks:
        raise ValueError("blocks is empty; give the parts of the model from input to head")
    groups = [list(block.parameters()) for block in blocks]
    seen: set[nn.Parameter] = set()
    for position, group in enumerate(groups):
        if not group:
            raise ValueError(f"blocks[{position}] has no parameters; leave it out")
        if not seen.isdisjoint(group):
            raise ValueError(
                f"blocks[{position}] shares parameters with a block before it; "
                "each parameter must lie in one block"
            )
        seen.update(group)
    return groups


def _common(
    source: Mapping[str, Tensor], target: Mapping[str, Tensor], patterns: Sequence[str]
) -> list[str]:
    """Give the names to be shared, which both must have in one shape."""
    chosen = matching(source, patterns) if patterns else list(source)
    for name in chosen:
        if name not in target:
            raise ValueError(
                f"the target has no parameter {name!r}{hint(name, target)}; "
                "name what is to be shared"
            )
    require_common_shapes({name: source[name] for name in chosen}, target)
    return chosen


def _low_rank(layer: nn.Module) -> LowRank | None:
    """Give the low-rank change of a layer, if it has one."""
    if not parametrize.is_parametrized(layer, "weight"):
        return None
    steps: Any = layer.parametrizations
    return next((step for step in steps.weight if isinstance(step, LowRank)), None)


def _changed_layers(model: nn.Module) -> dict[str, tuple[Any, LowRank]]:
    """Give the layers with a low-rank change, by name."""
    found = {
        name: (module, change)
        for name, module in model.named_modules()
        if (change := _low_rank(module)) is not None
    }
    if not found:
        raise ValueError("the model has no low-rank change; call add_lora first")
    return found
