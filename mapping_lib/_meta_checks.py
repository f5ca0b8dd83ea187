"""The checks of meta-learning: losses, names of parameters, tasks, an inner loop that diverges."""

import warnings
from collections.abc import Callable, Sequence
from fnmatch import fnmatchcase
from typing import Any

from torch import Tensor
from torch.utils._pytree import tree_leaves

from mapping_lib._checks import require_float, require_same_shape, seen, shape

Loss = Callable[[Any, Any], Tensor]

NO_GRADIENT = (
    "the loss has no gradient in the parameters; compute it from the parameters that it is given, "
    "without detach(), no_grad() or rounding to integers"
)


def scalar(loss: Loss, *, differentiated: bool = False) -> Loss:
    """Require a loss to return a scalar, and where it is differentiated, one with a gradient."""

    def checked(parameters: Any, batch: Any) -> Tensor:
        value = loss(parameters, batch)
        if not isinstance(value, Tensor):
            raise TypeError(
                f"the loss must return a scalar tensor, got {type(value).__name__}; "
                "leave out item() and float()"
            )
        if value.ndim:
            raise ValueError(
                f"the loss must be a scalar, got the shape {shape(value)}; reduce it with mean()"
            )
        if differentiated and not value.requires_grad:
            raise ValueError(NO_GRADIENT)
        return value

    return checked


def chosen_names(parameters: Any, only: Sequence[str]) -> list[str]:
    """Give the names of the parameters that adapt."""
    if isinstance(parameters, Tensor):
        raise TypeError("only chooses among named parameters: give a dictionary, or only=None")
    if isinstance(only, str):
        raise TypeError(f"only must be a sequence of names or patterns; write only=[{only!r}]")
    for pattern in only:
        if not any(fnmatchcase(name, pattern) for name in parameters):
            raise ValueError(
                f"only names {pattern!r}, which no parameter fits; there are {sorted(parameters)}"
            )
    chosen = [n for n in parameters if any(fnmatchcase(n, pattern) for pattern in only)]
    if not chosen:
        raise ValueError("only is empty: give at least one name, or None for all parameters")
    return chosen


def count_tasks(support: Any, query: Any) -> int:
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


def require_parameters(parameters: Any) -> None:
    if not isinstance(parameters, dict):
        return require_float(parameters=parameters)
    if not parameters:
        raise ValueError("parameters is empty; take dict(model.named_parameters())")
    for name, part in parameters.items():
        require_float(**{f"parameters[{name!r}]": part})
    return None


def require_alike(parameters: Any, adapted: Any) -> None:
    """Require two trees of parameters with the same names and shapes."""
    for tree in (parameters, adapted):
        require_parameters(tree)
    if isinstance(parameters, dict) != isinstance(adapted, dict):
        raise TypeError("adapted must be like the parameters: tensors, or dictionaries of them")
    if not isinstance(parameters, dict):
        return require_same_shape(parameters=parameters, adapted=adapted)
    if parameters.keys() != adapted.keys():
        raise ValueError(f"adapted must have the names {sorted(parameters)}, got {sorted(adapted)}")
    for name, part in parameters.items():
        require_same_shape(**{f"parameters[{name!r}]": part, f"adapted[{name!r}]": adapted[name]})
    return None


def require_whole(name: str, value: int, *, least: int = 1) -> None:
    if isinstance(value, bool) or not isinstance(value, int):
        raise TypeError(f"{name} must be a whole number, got {value!r}")
    if value < least:
        raise ValueError(f"{name} must be at least {least}, got {value}")


def say_if_diverged(losses: Tensor, θ: Any, inner_rate: float) -> None:
    """Raise where the inner loop has left the finite numbers, warn where it climbs."""
    parts = [losses, *tree_leaves(θ)]
    if any(seen(~part.detach().isfinite().all()) for part in parts):
        raise FloatingPointError(
            f"the inner loop diverges at inner_rate {inner_rate:g}: its losses are "
            f"{_listed(losses)}; take a smaller rate or fewer steps"
        )
    if len(losses) > 1 and seen((losses[0] > 0) & (losses[-1] > 10 * losses[0])):
        _warn(
            f"the inner loop diverges at inner_rate {inner_rate:g}: its losses are "
            f"{_listed(losses)}; take a smaller rate"
        )


def _listed(losses: Tensor) -> str:
    return ", ".join(f"{value:.3g}" for value in losses.tolist())


def _warn(message: str) -> None:
    warnings.warn(message, UserWarning, stacklevel=4)
