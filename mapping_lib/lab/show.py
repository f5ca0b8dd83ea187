"""Show the library's own source in a notebook, so that text and code cannot drift apart."""

from __future__ import annotations

import ast
import inspect
import textwrap
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True, repr=False)
class Source:
    """Python source that a notebook displays as a highlighted code block."""

    text: str

    def __repr__(self) -> str:
        return self.text

    def _repr_markdown_(self) -> str:
        return f"```python\n{self.text}\n```"


def show_source(*functions: Callable[..., Any]) -> Source:
    """Return the source of functions, methods or classes, without their docstrings.

    The docstring stands on the page of the API; here the signature and the code are wanted. Above
    each function stands the module it comes from.

    Raises
    ------
    ValueError
        Nothing was given.
    TypeError
        Something given has no Python source: an instance, or a function written in C.

    Examples
    --------
    >>> from mapping_lib._names import suggest
    >>> print(str(show_source(suggest)).splitlines()[0])
    # mapping_lib._names
    """
    if not functions:
        raise ValueError("show_source needs at least one function")
    blocks = []
    module = None
    for function in functions:
        code = _without_docstrings(_source(function))
        if function.__module__ != module:
            module = function.__module__
            code = f"# {module}\n{code}"
        blocks.append(code)
    return Source("\n\n\n".join(blocks))


def _source(function: Callable[..., Any]) -> str:
    try:
        return textwrap.dedent(inspect.getsource(function))
    except (TypeError, OSError) as error:
        raise TypeError(f"no Python source is known for {function!r}") from error


def _without_docstrings(source: str) -> str:
    lines = source.splitlines()
    for node in ast.walk(ast.parse(source)):
        if not isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
            continue
        if ast.get_docstring(node) is None:
            continue
        docstring, *rest = node.body
        end = docstring.end_lineno or docstring.lineno
        # The blank lines after the docstring go with it; the numbers of other lines stay.
        while rest and end < len(lines) and not lines[end].strip():
            end += 1
        indent = " " * docstring.col_offset
        first = [] if rest else [f"{indent}..."]
        removed = end - docstring.lineno + 1 - len(first)
        lines[docstring.lineno - 1 : end] = first + [_REMOVED] * removed
    return "\n".join(line.rstrip() for line in lines if line != _REMOVED)


_REMOVED = "\0"
