"""What moved when a network was fine-tuned: how far each part, and what putting one back does.

A part is a name for some submodules; :data:`PARTS` are those of EfficientNet-Lite0, one for each of
the stages of :data:`mapping_lib.lab.probing.STAGES`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from copy import deepcopy
from types import MappingProxyType

import torch
from torch import Tensor, nn

from mapping_lib._modules import matching, named, require_common_shapes

__all__ = ["PARTS", "SMALL_PARTS", "distances", "rewound"]

Parts = Mapping[str, Sequence[str]]

PARTS: Parts = MappingProxyType(
    {"stem": ("body.conv_stem", "body.bn1")}
    | {f"stage {k + 1}": (f"body.blocks.{k}",) for k in range(7)}
    | {"head": ("body.conv_head", "body.bn2")}
)
"""Submodules that compute each stage of EfficientNet-Lite0; "head" is what makes its features."""

SMALL_PARTS: Parts = MappingProxyType(
    {f"convolution {k + 1}": (f"convolutions.{k}",) for k in range(3)} | {"classifier": ("head",)}
)
"""Submodules of :class:`mapping_lib.lab.small_networks.Convolutional`."""


def distances(before: nn.Module, after: nn.Module, parts: Parts) -> dict[str, float]:
    r"""Return how far the parameters of each part moved, in units of their own length.

    The distance is :math:`\lVert \theta' - \theta \rVert / \lVert \theta \rVert`, with all
    parameters of a part in one vector.

    Parameters
    ----------
    before, after
        Two networks of one structure.
    parts
        Names of submodules or parameters, by the name of the part.

    Raises
    ------
    ValueError
        A name fits nothing, the networks differ in structure, or a part has length 0 before.

    Examples
    --------
    >>> line, other = nn.Linear(2, 1, bias=False), nn.Linear(2, 1, bias=False)
    >>> _ = line.weight.data.copy_(torch.tensor([[3.0, 4.0]]))
    >>> _ = other.weight.data.copy_(torch.tensor([[3.0, 5.0]]))
    >>> distances(line, other, {"all": ["weight"]})
    {'all': 0.2}
    """
    old, new = named(before, "before"), named(after, "after")
    _require_one_structure(old, new)
    found = {}
    for part, patterns in parts.items():
        names = matching(old, patterns)
        length, way = (
            sum(float(v.detach().double().square().sum()) for v in values) ** 0.5
            for values in (
                [old[name] for name in names],
                [new[name].double() - old[name].double() for name in names],
            )
        )
        if length == 0:
            raise ValueError(f"all parameters of {part!r} are 0 before: no distance has that unit")
        found[part] = way / length
    return found


def rewound(after: nn.Module, before: nn.Module, names: Sequence[str]) -> nn.Module:
    """Return a copy of a network some of whose submodules are put back to what they were.

    With the two networks exchanged it is a transplant: the old network with a new part.

    Parameters
    ----------
    after
        The network to copy.
    before
        The network of the same structure that the submodules are taken from, with their buffers.
    names
        Of submodules or parameters.

    Raises
    ------
    ValueError
        A name fits nothing, or the networks differ in structure.

    Examples
    --------
    >>> before, after = (nn.Sequential(nn.Linear(1, 1), nn.Linear(1, 1)) for _ in range(2))
    >>> put_back = rewound(after, before, ["1"])
    >>> distances(before, put_back, {"last": ["1"]})
    {'last': 0.0}
    >>> torch.equal(put_back[0].weight, after[0].weight)
    True
    """
    old, new = before.state_dict(), after.state_dict()
    _require_one_structure(old, new)
    chosen = set(matching(new, names, what="submodule"))
    copy = deepcopy(after)
    with torch.no_grad():
        for name, tensor in copy.state_dict().items():
            if name in chosen:
                tensor.copy_(old[name])
    return copy


def _require_one_structure(old: Mapping[str, Tensor], new: Mapping[str, Tensor]) -> None:
    """Require the same names and shapes."""
    if apart := sorted(set(old) ^ set(new)):
        raise ValueError(f"the networks differ in structure: only one of them has {apart[0]!r}")
    require_common_shapes(old, new)
