"""Text and library name each other: what is public is taught, what is displayed has a function."""

import importlib
import inspect
import re
import subprocess
import sys

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
LABELLED = re.compile(r"\$\$\s*\(([^)\s]+)\)|^```\{math\}\n:label: (\S+)", re.MULTILINE)
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
EQUATIONS = [
    (label, match[1] or match[2])
    for label, text in SECTIONS.items()
    for match in LABELLED.finditer(text)
]


def taught_in(function):
    match = TAUGHT.search(inspect.getdoc(function) or "")
    assert match, f"{function.__name__}: no 'Taught in :ref:`label` (section number)'"
    return match[1], match[2].rstrip(".")


def public(kind):
    values = {
        f"{module}.{name}": getattr(importlib.import_module(f"mapping_lib.{module}"), name)
        for module, name in PUBLIC
    }
    return [pytest.param(value, id=name) for name, value in values.items() if kind(value)]


@pytest.mark.parametrize("function", public(inspect.isfunction))
def test_public_name_is_taught_where_its_docstring_says(function):
    label, number = taught_in(function)
    assert BY_LABEL[label]["number"] == number
    assert label in SECTIONS, f"section {number} is not written"
    named = re.search(rf"\b{function.__name__}\b", SECTIONS[label])
    assert named, f"section {number} doesn't name {function.__name__}"


@pytest.mark.parametrize("function", public(inspect.isfunction))
def test_docstring_gives_formula_source_and_example(function):
    text = inspect.getdoc(function)
    for part in (".. math::", "Parameters\n---", "Returns\n---", "Raises\n---", "Source:", ">>>"):
        assert part in text, f"{function.__name__}: no {part!r}"
    for name in inspect.signature(function).parameters:
        described = re.search(rf"^(\w+, )*{name}(, \w+)*$", text, re.MULTILINE)
        assert described, f"{function.__name__}: {name} isn't described"


@pytest.mark.parametrize("record", public(inspect.isclass))
def test_public_record_names_the_function_it_belongs_to(record):
    match = re.search(r":func:`(\w+)`", inspect.getdoc(record))
    assert match
    assert (record.__module__.removeprefix("mapping_lib."), match[1]) in PUBLIC


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
        imported = set(notebooks._imports(source, f"mapping_lib.{module}"))
        assert not {n for n in imported if n.startswith("mapping_lib.lab")}, module


def test_formulas_need_torch_alone():
    """The wheel's only requirement: no module of the lab's extra is drawn in."""
    code = f"""
import sys
class Refuse:
    def find_spec(self, name, path=None, target=None):
        if name.split(".")[0] in ("matplotlib", "sklearn", "skimage", "scipy", "timm", "tqdm"):
            raise ImportError(name)
sys.meta_path.insert(0, Refuse())
for module in {MODULES}:
    __import__(f"mapping_lib.{{module}}")
"""
    subprocess.run([sys.executable, "-c", code], check=True)


def test_every_module_of_the_lab_is_on_an_api_page():
    pages = (notebooks.BOOK / "api").glob("*.md")
    text = "".join(page.read_text(encoding="utf-8") for page in pages)
    for path in (notebooks.ROOT / "mapping_lib" / "lab").rglob("*.py"):
        parts = path.relative_to(notebooks.ROOT).with_suffix("").parts
        if parts[-1].startswith("_") or "exercises" in parts:
            continue
        assert f".. automodule:: {'.'.join(parts)}\n" in text, path.name


def test_modules_stay_readable():
    for path in (notebooks.ROOT / "mapping_lib").rglob("*.py"):
        code = notebooks.code_without_docstrings(path.read_text(encoding="utf-8"))
        assert len(code.splitlines()) <= 400, path
