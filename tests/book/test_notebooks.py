"""Every notebook is stored as it ran, keeps the book's form and defines no formula of its own."""

import ast
import json
import re
import subprocess
import sys

import course
import nbformat
import notebooks
import papermill as pm
import pytest
from nbclient.exceptions import CellExecutionError
from run_notebook import run, value_of

PATHS = notebooks.notebook_paths()
MAY_DEFINE = ("by-hand", "exercise", "solution", notebooks.INSTALL_TAG)
MOST_LINES = 30

every_notebook = pytest.mark.parametrize("path", PATHS, ids=lambda path: path.stem)


def markdown(notebook):
    """Return the text of all Markdown cells, in order."""
    return "\n\n".join(c.source for c in notebook.cells if c.cell_type == "markdown")


def outline_entry(path):
    name = path.relative_to(notebooks.BOOK).with_suffix("").as_posix()
    found = [e for e in course.entries(course.read_outline()) if e.get("file") == name]
    assert found, f"book/outline.yml has no entry with the file {name}"
    return found[0]


def test_there_are_notebooks():
    assert len(PATHS) >= 3


@every_notebook
def test_every_code_cell_was_executed_in_order(path):
    notebook = notebooks.read(path)
    cells = [c for c in notebook.cells if c.cell_type == "code"]
    assert [c.execution_count for c in cells] == list(range(1, len(cells) + 1))
    outputs = [o for c in cells for o in c.outputs]
    assert outputs
    assert not [o for o in outputs if o.output_type == "error" or o.get("name") == "stderr"]


@every_notebook
def test_every_cell_that_ends_in_a_value_stores_it(path):
    """nbval compares nothing where nothing is stored: what prints or shows must have its output."""
    for cell in notebooks.code_cells(notebooks.read(path)):
        last = ast.parse(notebooks.python_source(cell)).body[-1]
        shows = isinstance(last, ast.Expr) and not isinstance(last.value, ast.Call)
        calls = r"^\s*(print|plt\.show|show_source|check)\("
        if shows or re.search(calls, cell.source, re.MULTILINE):
            assert cell.outputs, cell.source


@every_notebook
def test_table_that_a_cell_makes_is_rendered_as_one(path):
    for cell in notebooks.read(path).cells:
        for output in cell.get("outputs", []):
            if re.search(r"^\|.*---", output.get("data", {}).get("text/markdown", ""), re.M):
                # without it the output is read as CommonMark, which has no tables
                formats = cell.metadata.get("mystnb", {}).get("markdown_format")
                assert formats in ("gfm", "myst"), cell.source


@every_notebook
def test_stamp_is_fresh(path):
    assert not notebooks.is_stale(path), "run `make notebooks`"


@every_notebook
def test_title_and_sections_are_those_of_the_outline(path):
    entry, text = outline_entry(path), markdown(notebooks.read(path))
    found = re.findall(
        r'^\(([\w-]+)\)=\n(#{1,2}) (.+)\n+<p lang="zh" class="zh">(.+)</p>', text, re.MULTILINE
    )
    title, *sections = [(label, len(marks), en, zh) for label, marks, en, zh in found]
    assert title == (entry["label"], 1, entry["en"], entry["zh"])
    expected = [(s["label"], 2, s["en"], s["zh"]) for s in entry.get("sections", [])]
    assert [s for s in sections if s in expected] == expected
    if expected:  # the outline's sections and no other, so that the numbers stay the outline's
        assert sections == expected
    headings = re.findall(r"^## (.+)$", re.sub(r"(?ms)^```.*?^```", "", text), re.MULTILINE)
    assert headings[-3:] == ["Exercises", "Summary", "References"], "the last three are due"


@every_notebook
def test_first_cells_are_title_and_parameters(path):
    cells = [c for c in notebooks.read(path).cells if not notebooks.has_tag(c, "install")]
    assert cells[0].cell_type == "markdown"
    tagged = [n for n, c in enumerate(cells) if notebooks.has_tag(c, "parameters")]
    assert len(tagged) == 1, "one cell tagged 'parameters' is due, before all other code"
    assert all(c.cell_type == "markdown" for c in cells[: tagged[0]])
    assert "seed" in pm.inspect_notebook(str(path)), "one of the parameters is seed"


@every_notebook
def test_every_figure_has_alt_text_and_caption(path):
    figures = 0
    for cell in notebooks.code_cells(notebooks.read(path)):
        if any("image/png" in o.get("data", {}) for o in cell.outputs):
            settings = cell.metadata.get("mystnb", {})
            assert len(settings.get("image", {}).get("alt", "")) > 30, cell.source
            assert len(settings.get("figure", {}).get("caption", "")) > 30, cell.source
            figures += 1
    assert figures >= 3, "a page has three figures at least"


@every_notebook
def test_every_exercise_has_a_solution_and_a_check(path):
    notebook = notebooks.read(path)
    text = markdown(notebook)
    # The reader sees the id that `check` takes, not a number of another kind.
    heads = re.findall(r"```\{exercise\} (\S+) [^\n]+\n:label: ex-(\S+)\n:nonumber:\n", text)
    assert text.count("```{exercise}") == len(heads)
    assert all(id.replace(".", "-") == label for id, label in heads)
    exercises = [label for _, label in heads]
    solutions = re.findall(r"```\{solution-start\} ex-([\w-]+)\n:class: dropdown", text)
    assert len(exercises) >= 3, "a page has three exercises at least"
    assert solutions == exercises, "each exercise has a solution, in the same order"
    assert text.count("```{solution-end}") == len(solutions)
    stubs, solved = (
        "\n".join(c.source for c in notebook.cells if notebooks.has_tag(c, tag))
        for tag in ("exercise", "solution")
    )
    for label in exercises:
        *section, letter = label.split("-")
        call = f'check("{".".join(section)}-{letter}"'
        assert call in stubs, "a cell tagged 'exercise' calls it"
        assert call in solved, "a cell tagged 'solution' calls it"


@every_notebook
def test_no_formula_is_defined(path):
    for cell in notebooks.code_cells(notebooks.read(path)):
        if notebooks.has_tag(cell, *MAY_DEFINE):
            continue
        for node in ast.walk(ast.parse(notebooks.python_source(cell))):
            defines = isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef)
            assigns = isinstance(node, ast.Assign | ast.AnnAssign | ast.NamedExpr)
            names = assigns and isinstance(node.value, ast.Lambda)
            forbidden = defines or names
            assert not forbidden, f"a definition outside a by-hand cell:\n{cell.source}"


@every_notebook
def test_cells_are_short(path):
    for cell in notebooks.code_cells(notebooks.read(path)):
        lines = len(cell.source.splitlines())
        assert lines <= MOST_LINES, f"more than {MOST_LINES} lines:\n{cell.source}"


@every_notebook
def test_install_cell_follows_the_repository_setting(path):
    notebook, copy = notebooks.read(path), notebooks.read(path)
    folder = path.parent.relative_to(notebooks.ROOT).as_posix()
    notebooks.set_install_cell(copy, folder, *notebooks.repository())
    assert [c.source for c in notebook.cells] == [c.source for c in copy.cells]


def test_install_cell_names_the_address_and_leaves_the_stamp():
    path = PATHS[0]
    notebook = notebooks.read(path)
    before = notebooks.stamp(notebook)
    notebooks.set_install_cell(notebook, "book/1_x", "https://example.org/owner/name", "dev")
    source = notebook.cells[1].source
    assert "git clone -q --depth 1 --branch dev https://example.org/owner/name" in source
    assert "%cd -q everything-is-a-mapping/book/1_x" in source
    assert '%pip install -q "../..[lab]"' in source
    assert notebooks.stamp(notebook) == before


def test_stamp_sees_code_and_not_docstrings(tmp_path, monkeypatch):
    notebook = notebooks.read(PATHS[0])
    before = notebooks.stamp(notebook)
    original = notebooks.code_without_docstrings

    def changed(source):
        return original(source).replace("return", "return not", 1)

    monkeypatch.setattr(notebooks, "code_without_docstrings", changed)
    assert notebooks.stamp(notebook) != before
    code = 'def f(x):\n    """Doc."""\n    # why\n    return x\n'
    assert original(code) == "def f(x):\n    return x"
    assert original(code) == original(code.replace("Doc.", "Another.\n\n    Long."))


def test_failed_notebook_keeps_its_file(tmp_path):
    path = tmp_path / "1_1_broken.ipynb"
    cell = {"cell_type": "code", "source": "1 / 0", "metadata": {}, "outputs": [], "id": "a"}
    title = {"cell_type": "markdown", "source": "# T", "metadata": {}, "id": "t"}
    broken = {"nbformat": 4, "nbformat_minor": 5, "metadata": {}}
    broken["cells"] = [title, cell | {"execution_count": None}]
    path.write_text(json.dumps(broken))
    before = path.read_bytes()
    with pytest.raises(CellExecutionError, match="ZeroDivisionError"):
        notebooks.execute(path)
    assert path.read_bytes() == before
    assert list(tmp_path.iterdir()) == [path]


def test_papermill_runs_a_notebook_with_other_parameters(tmp_path):
    source = next(p for p in PATHS if p.stem.startswith("4_1"))
    output = tmp_path / "run.ipynb"
    run(source, output, {"seed": 1})
    injected = [
        c for c in notebooks.read(output).cells if notebooks.has_tag(c, "injected-parameters")
    ]
    assert len(injected) == 1
    assert "seed = 1" in injected[0].source


def test_misspelt_parameter_is_refused(tmp_path):
    with pytest.raises(ValueError, match="unknown parameter 'sed'; did you mean 'seed'"):
        run(PATHS[0], tmp_path / "out.ipynb", {"sed": 1})
    assert not list(tmp_path.iterdir())


def test_run_refuses_what_it_cannot_do(tmp_path):
    with pytest.raises(ValueError, match="no notebook at"):
        run(tmp_path / "none.ipynb", tmp_path / "out.ipynb", {})
    torn = tmp_path / "torn.ipynb"
    torn.write_text("{")
    with pytest.raises(ValueError, match="isn't a notebook that can be read"):
        run(torn, tmp_path / "out.ipynb", {})
    with pytest.raises(ValueError, match="would replace"):
        run(PATHS[0], PATHS[0], {})
    with pytest.raises(ValueError, match="there is no folder"):
        run(PATHS[0], tmp_path / "none" / "out.ipynb", {})


def test_failed_run_leaves_no_file(tmp_path):
    path = tmp_path / "fails.ipynb"
    cells = [
        nbformat.v4.new_code_cell("seed = 0", metadata={"tags": ["parameters"]}),
        nbformat.v4.new_code_cell("1 / seed"),
    ]
    nbformat.write(nbformat.v4.new_notebook(cells=cells, metadata=notebooks.KERNEL), path)
    with pytest.raises(pm.PapermillExecutionError):
        run(path, tmp_path / "out.ipynb", {})
    assert list(tmp_path.iterdir()) == [path]


@pytest.mark.parametrize(
    ("text", "value"), [("1", 1), ("1e-3", 0.001), ("real", "real"), ("no", "no"), ("[", "[")]
)
def test_parameter_values_are_python(text, value):
    assert value_of(text) == value


def test_draft_that_cannot_be_read_is_stale(tmp_path):
    path = tmp_path / "1_1_torn.ipynb"
    path.write_text("{")
    assert notebooks.is_stale(path)
    assert notebooks.refresh([path]) == 1
    assert path.read_text() == "{"


def test_changed_results_make_a_notebook_stale():
    cell = nbformat.v4.new_code_cell('results.load("fine_tuning_photographs")')
    notebook = nbformat.v4.new_notebook(cells=[cell])
    assert [f.stem for f in notebooks.used_results(notebook)] == ["fine_tuning_photographs"]
    plain = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell("1")])
    assert notebooks.used_results(plain) == []


@pytest.mark.real
@pytest.mark.parametrize("section", ["5_1", "5_2"])
def test_practice_runs_on_real_data(tmp_path, section):
    source = next(p for p in PATHS if p.stem.startswith(section))
    run(source, tmp_path / "real.ipynb", {"data": "real"})


def test_versions_are_the_pinned_ones():
    """The outputs are those of requirements.txt; another environment may show others."""
    lines = (notebooks.ROOT / "requirements.txt").read_text(encoding="utf-8").splitlines()
    pins = dict(line.split("#")[0].strip().split("==") for line in lines if "==" in line)
    for path in PATHS:
        versions = dict(notebooks.read(path).metadata["mapping_lib"]["versions"])
        assert versions.pop("python").startswith("3.11.")
        assert versions == {name: pins[name] for name in notebooks.RECORDED}


def test_kernels_run_without_a_network():
    """Every notebook under nbval runs in such a Python (tests/conftest.py)."""
    code = "import socket; socket.create_connection(('192.0.2.1', 80), timeout=5)"
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert "the tests run without a network" in result.stderr
    code = "import socket; socket.getaddrinfo('example.org', 80)"
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert "the tests run without a network" in result.stderr


def test_printed_pieces_are_joined():
    one, two, three = (
        nbformat.v4.new_output("stream", name="stdout", text=text) for text in ("a\n", "b\n", "c\n")
    )
    value = nbformat.v4.new_output("display_data", data={"text/plain": "v"})
    cell = nbformat.v4.new_code_cell("", outputs=[one, two, value, three])
    notebooks.merge_streams(cell)
    assert [output.get("text") for output in cell.outputs] == ["a\nb\n", None, "c\n"]
