import functools

import pytest

from mapping_lib._names import suggest
from mapping_lib.lab.show import show_source


# fmt: off
def doubled(x: float, *, times: int = 1) -> float:
    """Double a number.

    At length.
    """

    text = """not a docstring"""
    return x * 2**times if text else x  # why


def empty():
    """Only words."""


class Pair:
    """Two numbers."""

    first: float = 1.0

    def swap(self) -> "Pair":
        r"""Swap them."""
        def inner():
            """Inner."""
            return self
        return inner()
# fmt: on


HERE = doubled.__module__


def test_function():
    assert repr(show_source(doubled)) == (
        f"# {HERE}\n"
        "def doubled(x: float, *, times: int = 1) -> float:\n"
        '    text = """not a docstring"""\n'
        "    return x * 2**times if text else x  # why"
    )


def test_markdown_is_a_code_block():
    shown = show_source(doubled)
    assert shown._repr_markdown_() == f"```python\n{shown!r}\n```"


def test_function_of_nothing_but_a_docstring():
    assert repr(show_source(empty)).endswith("def empty():\n    ...")


def test_class_and_method():
    assert repr(show_source(Pair)) == (
        f"# {HERE}\n"
        "class Pair:\n"
        "    first: float = 1.0\n"
        "\n"
        '    def swap(self) -> "Pair":\n'
        "        def inner():\n"
        "            return self\n"
        "        return inner()"
    )
    assert repr(show_source(Pair.swap)).startswith(f"# {HERE}\ndef swap(self)")


def test_several_functions_name_each_module_once():
    text = repr(show_source(doubled, empty, suggest))
    assert text.count(f"# {HERE}\n") == 1
    assert text.count("# mapping_lib._names\n") == 1
    assert text.count("\n\n\ndef ") == 1
    assert "\n\n\n# mapping_lib._names\ndef suggest(" in text


def test_what_is_shown_still_runs():
    namespace = {}
    exec(repr(show_source(doubled)), namespace)
    assert namespace["doubled"](3.0) == 6.0


@pytest.mark.parametrize("thing", [len, 3, functools.partial(doubled, times=2)])
def test_no_source(thing):
    with pytest.raises(TypeError, match="no Python source"):
        show_source(thing)


def test_nothing_given():
    with pytest.raises(ValueError, match="at least one"):
        show_source()
