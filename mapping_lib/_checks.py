"""Checks of arguments: what was wrong, what is expected, what to do.

Types and shapes are always checked. Values (NaN, ranges) are checked where they can be looked at:
not inside :func:`torch.func.vmap`, where a tensor stands for many, nor inside
:func:`torch.compile`, where it stands for none yet.
"""

import warnings
from math import inf

import torch
from torch import Tensor


def seen(condition: Tensor) -> bool:
    """Whether a condition is known to be true; False where its value can't be looked at."""
    if torch.compiler.is_compiling():
        return False
    try:
        return bool(condition)
    except RuntimeError:  # inside vmap
        return False


def require_tensor(**tensors: Tensor) -> None:
    """Require tensors."""
    for name, tensor in tensors.items():
        if not isinstance(tensor, Tensor):
            raise TypeError(
                f"{name} must be a torch.Tensor, got {type(tensor).__name__}; "
                "make one with torch.as_tensor(...)"
            )


def require_float(**tensors: Tensor) -> None:
    """Require floating-point tensors of one dtype, not empty and without NaN."""
    require_tensor(**tensors)
    for name, tensor in tensors.items():
        if not tensor.is_floating_point():
            raise TypeError(
                f"{name} must hold floating-point numbers, got {tensor.dtype}; "
                f"convert it with {name}.float()"
            )
        if tensor.numel() == 0:
            raise ValueError(
                f"{name} is empty, its shape is {shape(tensor)}; give it at least one element"
            )
        if seen(tensor.detach().sum().isnan()) and seen(tensor.isnan().any()):  # the sum is quick
            raise ValueError(
                f"{name} contains NaN in {int(tensor.isnan().sum())} of {tensor.numel()} places; "
                "find where it arises or remove these rows"
            )
    if len({tensor.dtype for tensor in tensors.values()}) > 1:
        found = ", ".join(f"{name} {tensor.dtype}" for name, tensor in tensors.items())
        raise TypeError(f"the tensors must have one dtype, got {found}; convert them with .to(...)")


def require_scalar(**values: Tensor) -> None:
    """Require tensors without axes, such as losses."""
    for name, value in values.items():
        if value.ndim:
            raise ValueError(
                f"{name} must be a scalar, got the shape {shape(value)}; reduce it with mean()"
            )


def require_finite(**tensors: Tensor) -> None:
    """Require tensors without infinite values."""
    for name, tensor in tensors.items():
        if seen(tensor.isinf().any()):
            raise ValueError(
                f"{name} must be finite, got {int(tensor.isinf().sum())} infinite values; "
                "to rule out a class use a large negative number such as -1e4"
            )


def require_same_shape(**tensors: Tensor) -> None:
    """Require tensors of one shape: nothing is broadcast."""
    if len({tensor.shape for tensor in tensors.values()}) > 1:
        found = ", ".join(f"{name} {shape(tensor)}" for name, tensor in tensors.items())
        raise ValueError(f"the shapes must be equal, got {found}; use reshape or squeeze")


def require_matrix(**tensors: Tensor) -> None:
    """Require tensors with exactly two axes."""
    for name, tensor in tensors.items():
        if tensor.ndim != 2:
            raise ValueError(
                f"{name} must be a matrix with 2 axes, got {tensor.ndim} with shape "
                f"{shape(tensor)}; add an axis with unsqueeze or remove one with squeeze"
            )


def require_features(*, least: int = 1, **sets: Tensor) -> None:
    """Require finite matrices ``(n, d)`` of one dtype and one width, with enough rows each."""
    require_float(**sets)
    require_matrix(**sets)
    for name, rows in sets.items():
        if seen(~rows.detach().sum().isfinite()) and seen(rows.isinf().any()):
            raise ValueError(
                f"{name} must be finite, got {int(rows.isinf().sum())} infinite values; "
                "find where they arise or remove these rows"
            )
        if len(rows) < least:
            raise ValueError(
                f"{name} {shape(rows)} must have at least {least} rows, got {len(rows)}; "
                "give it more examples"
            )
    if len({rows.shape[1] for rows in sets.values()}) > 1:
        found = ", ".join(f"{name} {shape(rows)}" for name, rows in sets.items())
        raise ValueError(
            f"the widths must be equal, got {found}; give all of them the same features as columns"
        )


def require_logits(*, instead: str = "at least two are needed", **logits: Tensor) -> None:
    """Require rows of finite logits of several classes; `instead` says what to do with one."""
    require_float(**logits)
    require_matrix(**logits)
    require_finite(**logits)
    for name, tensor in logits.items():
        if tensor.shape[1] == 1:
            raise ValueError(
                f"{name} {shape(tensor)} has one class only, whose softmax is always 1; {instead}"
            )


def require_labels(name: str, labels: Tensor, n: int, classes: int | None = None) -> None:
    """Require one class a row: whole numbers from 0, below `classes` where that is given."""
    require_tensor(**{name: labels})
    if labels.is_floating_point() or labels.is_complex() or labels.dtype == torch.bool:
        raise TypeError(f"{name} must be integers, got {labels.dtype}; use {name}.long()")
    if labels.shape != (n,):
        raise ValueError(f"{name} must have the shape ({n},), one label a row, got {shape(labels)}")
    most = inf if classes is None else classes - 1
    if seen(((labels < 0) | (labels > most)).any()):
        raise ValueError(
            f"{name} must lie between 0 and {most:g}, got {int(labels.min())} to "
            f"{int(labels.max())}; count classes from 0"
        )


def require_number(
    name: str, value: float, *, least: float = 0, most: float = inf, below: float = inf
) -> None:
    """Require ``least <= value <= most`` and ``value < below``."""
    try:
        inside = least <= value <= most and value < below
    except TypeError:
        raise TypeError(f"{name} must be a number, got {value!r}") from None
    if not inside:
        interval = f"[{least:g}, {most:g}]" if most < below else f"[{least:g}, {below:g})"
        raise ValueError(f"{name} must lie in {interval}, got {value}")


def place_of(
    generator: torch.Generator | None, otherwise: torch.device | str | None = None
) -> torch.device:
    """Return where a generator draws, or `otherwise` where there may be none and is none."""
    if generator is None and otherwise is not None:
        return torch.device(otherwise)
    if not isinstance(generator, torch.Generator):
        seed = generator if isinstance(generator, int) else 0
        raise TypeError(
            f"generator must be a torch.Generator, got {generator!r}; "
            f"write generator=torch.Generator().manual_seed({seed})"
        )
    return generator.device


def require_distribution(name: str, rows: Tensor) -> None:
    """Require rows of probabilities: none negative, each row with sum 1."""
    if seen(~_is_distribution(rows)):
        raise ValueError(
            f"{name} must be class labels or rows of probabilities (not negative, each row with "
            f"sum 1), got values from {float(rows.min()):g} to {float(rows.max()):g} and sums from "
            f"{float(rows.sum(1).min()):g} to {float(rows.sum(1).max()):g}; "
            f"normalise with {name} / {name}.sum(1, keepdim=True)"
        )


def warn_of_distribution(**tensors: Tensor) -> None:
    """Warn the caller's caller of rows that look like probabilities where logits are due."""
    for name, rows in tensors.items():
        if seen(_is_distribution(rows)):
            _warn(f"{name}: every row is a probability distribution", "softmax")


def warn_of_probabilities(**tensors: Tensor) -> None:
    """Warn the caller's caller of ten or more values all in [0, 1] where logits are due.

    Equal values give no warning: they are the zeros of a model that hasn't learned anything yet.
    """
    for name, values in tensors.items():
        if values.numel() < 10 or not seen(values.max() > values.min()):
            continue
        if seen(((values >= 0) & (values <= 1)).all()):
            _warn(f"{name}: all values lie in [0, 1]", "sigmoid")


def warn_of_few(weights: Tensor, *, reached: Tensor | None = None) -> None:
    """Warn the caller's caller of weights that a few rows hold nearly all of.

    Where the domains are so far apart that all source rows are equally alien, weights may be equal
    ones: `reached` says how much of the target the weighted source stands for, 1 if all is well.
    """
    n = len(weights)
    effective = weights.sum().square() / weights.square().sum()
    if reached is not None and seen(reached < 2 / 3):
        warnings.warn(
            f"weighted, the source stands for {float(reached):.0%} of the target only: the domains "
            f"hardly overlap, and of {n} rows worth {float(effective):.1f} equal ones none may be "
            "like the target's; use fewer features",
            UserWarning,
            stacklevel=3,
        )
    elif seen(effective < n / 10):
        warnings.warn(
            f"{n} weights are worth {float(effective):.1f} equal ones: the domains "
            "hardly overlap, so an estimate from them is doubtful; use fewer features",
            UserWarning,
            stacklevel=3,
        )


def shape(tensor: Tensor) -> tuple[int, ...]:
    """Give the shape as a plain tuple, for messages."""
    return tuple(tensor.shape)


def _is_distribution(rows: Tensor) -> Tensor:
    tolerance = max(1e-4, 8 * torch.finfo(rows.dtype).eps)
    return (rows >= 0).all() & ((rows.sum(1) - 1).abs() <= tolerance).all()


def _warn(what: str, function: str) -> None:
    message = f"{what}, but logits are due; pass the scores before the {function}"
    warnings.warn(message, UserWarning, stacklevel=4)
