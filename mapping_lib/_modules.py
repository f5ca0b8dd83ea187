"""Submodules and parameters of a network: found by name, looked at while they run."""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from fnmatch import fnmatchcase
from typing import Any

import torch
from torch import Tensor, nn

from mapping_lib._checks import shape
from mapping_lib._names import suggest


class _AllSeen(Exception):  # noqa: N818  (nothing went wrong)
    """Every wanted submodule has given its output."""


@contextmanager
def modes_kept(model: nn.Module) -> Iterator[None]:
    """Put each submodule back into the mode, train or eval, that it was in."""
    training = {module: module.training for module in model.modules()}
    try:
        yield
    finally:
        for module, mode in training.items():
            module.training = mode


def weighted_layers(model: nn.Module) -> dict[str, Any]:
    """Give the linear and convolutional layers of a model by name, in its order."""
    kinds = (nn.Linear, nn.Conv1d, nn.Conv2d, nn.Conv3d)
    return {name: module for name, module in model.named_modules() if isinstance(module, kinds)}


def first_outputs(
    model: nn.Module, inputs: Tensor, modules: Mapping[str, nn.Module]
) -> dict[str, Tensor]:
    """Run a model in eval mode without gradients, no further than needed.

    Returns the first output of each given submodule that runs, in the order in which they run.
    """
    found: dict[str, Tensor] = {}

    def keep(name: str) -> Callable[..., None]:
        def hook(module: nn.Module, arguments: Any, output: Any) -> None:
            if not isinstance(output, Tensor):
                raise TypeError(f"layer {name!r} returns {type(output).__name__}, not a tensor")
            found.setdefault(name, output)
            if len(found) == len(modules):
                raise _AllSeen

        return hook

    hooks = [module.register_forward_hook(keep(name)) for name, module in modules.items()]
    try:
        with modes_kept(model), torch.no_grad(), suppress(_AllSeen):
            model.eval()
            model(inputs)
    finally:
        for handle in hooks:
            handle.remove()
    return found


def named(parameters: nn.Module | Mapping[str, Tensor], name: str) -> dict[str, Tensor]:
    """Give parameters by their names: those of a model, or those of a mapping."""
    if isinstance(parameters, nn.Module):
        return dict(parameters.named_parameters())
    if not isinstance(parameters, Mapping):
        raise TypeError(
            f"{name} must be a model or a mapping from names to tensors, got "
            f"{type(parameters).__name__}; use dict(model.named_parameters())"
        )
    return dict(parameters)


def require_common_shapes(left: Mapping[str, Tensor], right: Mapping[str, Tensor]) -> None:
    """Require that tensors of one name have one shape."""
    for name in left:
        if name in right and left[name].shape != right[name].shape:
            raise ValueError(
                f"{name!r} has the shapes {shape(left[name])} and {shape(right[name])}; "
                "leave it out if the two don't belong together"
            )


def listed(names: str | Sequence[str]) -> list[str]:
    """Give names as a list, also a single one."""
    names = [names] if isinstance(names, str) else list(names)
    if not names:
        raise ValueError("names is empty; give at least one")
    return names


def matching(
    names: Iterable[str],
    patterns: Sequence[str],
    *,
    what: str = "parameter",
    inside: bool = True,
) -> list[str]:
    """Give the names that match a pattern, and those inside a submodule that does."""
    names = list(names)
    found: set[str] = set()
    for pattern in patterns:
        wanted = [pattern, f"{pattern}.*"] if inside else [pattern]
        hits = {name for name in names if any(fnmatchcase(name, w) for w in wanted)}
        if not hits:
            raise ValueError(f"no {what} matches {pattern!r}{hint(pattern, names)}")
        found |= hits
    return [name for name in names if name in found]


def hint(pattern: str, names: Iterable[str]) -> str:
    """Say what was probably meant: a name, or a submodule of one."""
    parts = [name.split(".") for name in names]
    known = {".".join(part[:length]) for part in parts for length in range(1, len(part) + 1)}
    found = suggest(pattern, known)
    near = "mean" in found or len(known) <= 12
    return found if near else suggest(pattern, {part[0] for part in parts})
