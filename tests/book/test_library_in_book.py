"""Text and library name each other: what is public is taught, what is displayed has a function."""

import importlib
import inspect
import re

import course
import notebooks
import pytest

MODULES = sorted(
    p.stem for p in (notebooks.ROOT / "mapping_lib").glob("*.py") if not p.stem.startswith("_")
)
PUBLIC = [
    (module, name)
    for module in MODULES
    for name in importlib.import_module(f"mapping_lib.{module}").__all__
]
TAUGHT = re.compile(r"Taught in\s+:ref:`([\w-]+)`\s+\(section\s+([\d.]+)\)")
LABELLED = re.compile(r"\$\$\s*\(([^)\s]+)\)")
SECTION = re.compile(r"^\(([\w-]+)\)=\n#{1,2} ", re.MULTILINE)
BY_LABEL = {e["label"]: e for e in course.entries(course.read_outline())}


def written_sections():
    """Return the text and code of each labelled section of each notebook, by label."""
    sections = {}
    for path in notebooks.notebook_paths():
        label = ""
        for cell in notebooks.read(path).cells:
            match = SECTION.search(cell.source)
            if cell.cell_type == "markdown" and match:
                label = match[1]
            sections[label] = sections.get(label, "") + "\n" + cell.source
    return sections


SECTIONS = written_sections()
EQUATIONS = [(label, eq) for label, text in SECTIONS.items() for eq in LABELLED.findall(text)]


def taught_in(function):
    match = TAUGHT.search(inspect.getdoc(function) or "")
    assert match, f"{function.__name__}: no 'Taught in :ref:`label` (section number)'"
    return match[1], match[2].rstrip(".")


def functions():
    for module, name in PUBLIC:
        value = getattr(importlib.import_module(f"mapping_lib.{module}"), name)
        if inspect.isfunction(value) or inspect.isclass(value):
            yield pytest.param(value, id=f"{module}.{name}")


@pytest.mark.parametrize("function", functions())
def test_public_name_is_taught_where_its_docstring_says(function):
    label, number = taught_in(function)
    assert BY_LABEL[label]["number"] == number
    assert label in SECTIONS, f"section {number} is not written"
    assert re.search(rf"\b{function.__name__}\b", SECTIONS[label])


@pytest.mark.parametrize("function", functions())
def test_docstring_gives_formula_source_and_example(function):
    if inspect.isclass(function):
        return
    text = inspect.getdoc(function)
    for part in (".. math::", "Returns", "Source:", ">>>"):
        assert part in text, f"{function.__name__}: no {part!r}"


def test_there_are_labelled_formulas():
    assert len(EQUATIONS) >= 10


@pytest.mark.parametrize(("label", "equation"), EQUATIONS)
def test_labelled_formula_names_its_function(label, equation):
    match = re.fullmatch(r"eq:(\w+)\.(\w+)(:[\w-]+)?", equation)
    assert match, f"{equation}: a label reads eq:module.function or eq:module.function:detail"
    module, name = match[1], match[2]
    assert (module, name) in PUBLIC
    assert f"{{py:func}}`mapping_lib.{module}.{name}`" in SECTIONS[label]


def test_formulas_do_not_import_the_lab():
    for module in MODULES:
        source = (notebooks.ROOT / "mapping_lib" / f"{module}.py").read_text(encoding="utf-8")
        assert "lab" not in {n.split(".")[1] for n in notebooks._imports(source) if "." in n}


def test_modules_stay_readable():
    for path in (notebooks.ROOT / "mapping_lib").rglob("*.py"):
        assert len(path.read_text(encoding="utf-8").splitlines()) <= 420, path
