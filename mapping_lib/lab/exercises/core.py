"""The machinery of the exercises: registering a check, running it, saying what is wrong."""

from __future__ import annotations

import contextlib
import functools
import importlib
import pkgutil
import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from torch import Tensor, nn

from mapping_lib._names import suggest
from mapping_lib.lab.machine import seeded

Check = Callable[[Any], str | None]

NOTHING_YET = "nothing yet"

_checks: dict[str, Check] = {}


@dataclass(frozen=True, repr=False)
class Verdict:
    """What :func:`check` found: true when the answer is right, with a message in words."""

    id: str
    right: bool
    message: str

    def __bool__(self) -> bool:
        return self.right

    def __repr__(self) -> str:
        return f"{'✓' if self.right else '✗'} {self.id}: {self.message}"

    def _repr_markdown_(self) -> str:
        return f"{'✓' if self.right else '✗'} **{self.id}**: {self.message}"


@dataclass(frozen=True)
class Case:
    """What a test knows of an exercise: its solution, and wrong answers by what is said of them."""

    solution: Any
    wrong: Mapping[str, Any] = field(default_factory=dict)


class _AnswerError(Exception):
    """Raised inside a check when the learner's function failed or returned nothing."""


def exercise(id: str) -> Callable[[Check], Check]:
    """Register the decorated function as the check of an exercise.

    The function takes the answer and returns None when it is right, else what is wrong, in words.

    Parameters
    ----------
    id
        The section's number and a letter, such as ``"4.2-b"``.

    Raises
    ------
    ValueError
        Another module has registered the same id.
    """

    def register(function: Check) -> Check:
        other = _checks.get(id)
        if other is not None and other.__module__ != function.__module__:
            raise ValueError(f"exercise {id!r} is registered twice, first in {other.__module__}")
        _checks[id] = function
        return function

    return register


@functools.cache
def _load_sections() -> None:
    package = importlib.import_module(__package__)
    for module in pkgutil.iter_modules(package.__path__):
        if module.name.startswith("section_"):
            importlib.import_module(f"{__package__}.{module.name}")


def registered() -> list[str]:
    """Return the ids of all exercises, sorted."""
    _load_sections()
    return sorted(_checks)


def check(id: str, answer: Any) -> Verdict:
    """Tell whether the answer to an exercise is right, and if not, what is wrong with it.

    A function is tried on inputs the reader has not seen. Its exceptions are reported, not
    raised. PyTorch's random numbers are seeded for the check and put back after it.

    Parameters
    ----------
    id
        The number of the exercise, such as ``"4.2-b"``.
    answer
        A number, a tensor, a function …, as the exercise asks; None means not answered yet.

    Returns
    -------
    Verdict
        True in an ``if`` or an ``assert`` when the answer is right.

    Raises
    ------
    ValueError
        There is no such exercise.
    """
    known = registered()
    if id not in _checks:
        raise ValueError(f"there is no exercise {id!r}{suggest(id, known)}")
    if answer is None:
        return Verdict(id, False, NOTHING_YET)
    with seeded(0):
        wrong = _run(_checks[id], answer)
    return Verdict(id, wrong is None, "right" if wrong is None else wrong)


def _run(function: Check, answer: Any) -> str | None:
    try:
        return function(guard(answer) if _is_function(answer) else answer)
    except _AnswerError as error:
        return str(error)
    except Exception as error:
        if isinstance(error, TypeError) and not callable(answer) and "callable" in str(error):
            return f"the answer is {_a(answer)} where a function is due"
        return f"the answer could not be checked: `{type(error).__name__}: {error}`"


def _is_function(answer: Any) -> bool:
    # A module or a class is handed over as it is: a check may need its parameters.
    return callable(answer) and not isinstance(answer, nn.Module | type)


def guard(function: Callable[..., Any]) -> Callable[..., Any]:
    """Wrap a learner's function so that its failures end the check with a message.

    :func:`check` does this to an answer that is a function; a check whose answer is a model, or
    holds several functions, does it itself. Tensors are passed as copies, so that a function that
    writes into its arguments does not change the check's.

    Parameters
    ----------
    function
        What the learner wrote.

    Returns
    -------
    Callable
        The same function; an exception in it, or None for a result, ends the check with words.
    """

    @functools.wraps(function)
    def guarded(*inputs: Any, **settings: Any) -> Any:
        copies = [x.clone() if isinstance(x, Tensor) else x for x in inputs]
        try:
            value = function(*copies, **settings)
        except Exception as error:
            given = [describe(x) for x in inputs]
            given += [f"{name}={describe(x)}" for name, x in settings.items()]
            raise _AnswerError(
                f"your function raised `{type(error).__name__}: {error}`"
                f" when given `({', '.join(given)})`{_about_dtypes(error, inputs)}"
            ) from error
        if value is None:
            raise _AnswerError(f"{NOTHING_YET}: the function returns None")
        return value

    return guarded


def _about_dtypes(error: Exception, inputs: Iterable[Any]) -> str:
    """Return what to do where tensors of two dtypes met, or nothing."""
    dtypes = {x.dtype for x in inputs if isinstance(x, Tensor) and x.is_floating_point()}
    if len(dtypes) != 1 or not re.search(r"\bdtype|scalar type", str(error)):
        return ""
    return f"; tensors that you make need the inputs' dtype, {dtypes.pop()}"


def describe(value: Any) -> str:
    """Return a short description of an input, for messages.

    >>> import torch
    >>> describe(torch.zeros(5, 3))
    'tensor of shape (5, 3)'
    >>> describe(torch.tensor([1.0, 0.25]))
    'tensor([1, 0.25])'
    """
    if not isinstance(value, Tensor):
        text = " ".join(repr(value).split())  # a module is printed over several lines
        return text if len(text) <= 60 else f"{text[:60]}…"
    if value.dim() <= 1 and value.numel() <= 4:
        with contextlib.suppress(RuntimeError):  # inside torch.func.vmap there are no numbers
            numbers = [f"{x:.4g}" for x in value.flatten().tolist()]
            return f"tensor([{', '.join(numbers)}])" if value.dim() else f"tensor({numbers[0]})"
    return f"tensor of shape {tuple(value.shape)}"


def _a(value: Any) -> str:
    name = type(value).__name__
    return f"an {name}" if name[0] in "aeio" or name.startswith("nd") else f"a {name}"
