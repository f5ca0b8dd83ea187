"""The way in is true: what it says of pages, commands, messages, symbols and terms."""

import re
import subprocess
import sys
from collections import Counter
from types import SimpleNamespace

import course
import nbformat
import notebooks
import outline
import pytest
import yaml
from notebooks import BOOK, ROOT
from run_notebook import check_parameters

from mapping_lib.lab import registry
from mapping_lib.lab.data import photographs, usps
from mapping_lib.lab.exercises import check, registered

USE, TEACH = (BOOK / name for name in ("how_to_use.md", "for_teachers.md"))
WAY_IN = [BOOK / "index.md", USE, TEACH]
BLOCK = re.compile(r"^```(\w*)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
WRITTEN = [page for page in outline.pages_of("all") if outline.notebook(page)]

every_written_page = pytest.mark.parametrize("page", WRITTEN, ids=lambda page: page["number"])


def text_of(path):
    return path.read_text(encoding="utf-8")


def blocks(path, language):
    return [code for kind, code in BLOCK.findall(text_of(path)) if kind == language]


def run_in(folder, code):
    """Run a page's code as a reader would, in a folder of their own."""
    command = [sys.executable, "-c", code]
    result = subprocess.run(command, cwd=folder, capture_output=True, text=True)
    assert result.returncode == 0, result.stderr
    return result.stdout


# What the roles say


@pytest.fixture
def half_a_book(tmp_path, monkeypatch):
    """A book of two chapters: of the first one page of two is written, of the second none."""
    sections = [{"number": "1.1.1", "label": "c", "en": "C", "zh": "丙"}]
    pages = [
        {"number": "1.1", "label": "a", "en": "A", "zh": "甲", "file": "a", "sections": sections},
        {"number": "1.2", "label": "b", "en": "B", "zh": "乙", "file": "b"},
    ]
    chapter = {"number": "1", "label": "one", "en": "One", "zh": "一", "file": "one"}
    last = {"number": "2", "label": "two", "en": "Two", "zh": "二", "file": "two"}
    (tmp_path / "outline.yml").write_text(yaml.safe_dump([chapter | {"sections": pages}, last]))
    cells = [
        "(a)=\n# A\n\nReading takes about an hour and a half, running it a second.",
        "(c)=\n## C\n\nA mapping (映射), and XOR (XOR, 异或).",
        "## Exercises\n\n```{exercise} 1.1-a On paper\n```\n\n```{exercise} 1.1-b In code\n```",
    ]
    notebook = nbformat.v4.new_notebook(cells=[nbformat.v4.new_markdown_cell(c) for c in cells])
    notebook.metadata["mapping_lib"] = {"cpu_seconds": 12.4}
    nbformat.write(notebook, tmp_path / "a.ipynb")
    monkeypatch.setattr(outline, "BOOK", tmp_path)
    return tmp_path


def test_what_is_not_written_is_marked(half_a_book):
    assert outline.state("1.1") == outline.state("1.1.1") == ""
    assert outline.state("1.2") == outline.state("2") == "to be written"
    assert outline.state("1") == "1 of 2 pages written"
    assert course.written_pages(outline.pages_of("all")) == "1 of 3"
    (half_a_book / "a.ipynb").rename(half_a_book / "b.ipynb")
    assert (outline.state("1.1.1"), outline.state("1.2")) == ("to be written", "")


def test_times_and_exercises_are_those_of_written_pages(half_a_book):
    one, two = outline.pages_of("1"), outline.pages_of("2")
    assert (
        course.reading_time(one) == "1\N{NO-BREAK SPACE}h\N{NO-BREAK SPACE}30\N{NO-BREAK SPACE}min"
    )
    assert course.computing_time(one) == "12\N{NO-BREAK SPACE}s"
    assert course.exercise_ids(one) == "1.1-a to b"
    facts = (course.reading_time, course.computing_time, course.exercise_ids)
    assert [fact(two) for fact in facts] == ["–"] * 3


def test_glossary_names_the_sections_of_a_term(half_a_book):
    source = [
        "# G\n\n:::{glossary}\nmapping (映射)\n  A function.\n\nrank (秩)\n  A number.\n:::\n"
    ]
    app = SimpleNamespace(env=SimpleNamespace(note_reread=lambda: None))
    course.link_glossary(app, "book/glossary", source)
    met = "  [Met in {ref}`1.1.1 <c>`.]{.met}"
    assert f"mapping (映射)\n  A function.\n\n{met}\n\nrank (秩)\n  A number.\n:::" in source[0]
    texts = outline.written_texts()
    assert outline.sections_with("XOR", "异或", texts) == ["1.1.1"]
    assert outline.sections_with("running", "运行", texts) == ["1.1"]  # in English alone


def test_unknown_section_is_refused():
    with pytest.raises(ValueError, match=r"the outline has no section '4\.9'"):
        outline.find("4.9")


@every_written_page
def test_page_announces_its_reading_time(page):
    """The paths add these up: "Reading takes 40 minutes" in the first cell, or in whole hours."""
    assert outline.reading_minutes(page), 'say "Reading takes 40 minutes" in the first cell'


# Terms and symbols


def test_glossary_has_every_term_once():
    terms = re.findall(r"^(\S.*) \(([^()]+)\)\n  \S", text_of(BOOK / "glossary.md"), re.MULTILINE)
    assert len(terms) > 100
    for names in zip(*terms, strict=True):
        assert max(Counter(names).values()) == 1


@pytest.mark.parametrize("section", outline.written_texts())
def test_chinese_terms_are_in_the_glossary(section):
    text = re.sub(r'<p lang="zh".*?</p>', "", outline.written_texts()[section])
    brackets = re.findall(r"\(([^()\n]*[\u4e00-\u9fff][^()\n]*)\)", text)
    parts = [part.strip() for inside in brackets for part in re.split("[,;]", inside)]
    terms = [part for part in parts if re.search("[\u4e00-\u9fff]", part)]
    glossary = text_of(BOOK / "glossary.md")
    lacking = [term for term in terms if term not in glossary]
    assert not lacking, f"book/glossary.md lacks {lacking}"


GREEK = (
    r"\\(?:var)?(?:alpha|beta|gamma|delta|epsilon|zeta|eta|theta|iota|kappa|lambda|mu|nu|xi|pi|rho|"
    r"sigma|tau|upsilon|phi|chi|psi|omega)(?![a-zA-Z])|\\math(?:cal|bb)\s*\{?[A-Z]\}?"
)


def symbols(text):
    """Return Greek, calligraphic and blackboard letters, without braces or spaces."""
    return {re.sub(r"[{}\s]", "", symbol) for symbol in re.findall(GREEK, text)}


@every_written_page
def test_symbols_of_numbered_formulas_are_in_the_notation(page):
    text = "\n".join("".join(c["source"]) for c in outline.cells(page))
    formulas = re.findall(r"\$\$((?:(?!\$\$).)+)\$\$ \(eq:", text, re.DOTALL)
    used = {symbol for formula in formulas for symbol in symbols(formula)}
    lacking = used - symbols(text_of(BOOK / "notation.md"))
    assert not lacking, f"book/notation.md lacks {sorted(lacking)}"


# Commands, code and messages on the pages


@pytest.mark.parametrize("path", [*WAY_IN, ROOT / "README.md"], ids=lambda path: path.name)
def test_files_and_targets_that_are_named_exist(path):
    text = text_of(path)
    for name in re.findall(r"\b(?:book|scripts|mapping_lib|tests)/[\w/.]*\w", text):
        if "for_class" not in name:
            assert (ROOT / name).exists(), name
    targets = re.findall(r"^([\w-]+):", text_of(ROOT / "Makefile"), re.MULTILINE)
    assert set(re.findall(r"(?:^|`)make ([\w-]+)", text, re.MULTILINE)) <= set(targets)


@pytest.mark.parametrize("path", [USE, TEACH], ids=lambda path: path.name)
def test_exercises_that_are_named_exist(path):
    named = set(re.findall(r"\b\d(?:\.\d)+-[a-h]\b", text_of(path)))
    assert named
    assert named <= set(registered())


def test_exercise_on_the_page_says_what_is_printed_below(tmp_path):
    code = next(c for c in blocks(USE, "python") if "check(" in c)
    said = run_in(
        tmp_path, code.replace("check(", "print(check(").replace("gradient)\n", "gradient))\n")
    )
    assert said in blocks(USE, "text")


def test_pictures_of_your_own(tmp_path):
    train, test = photographs(2, seed=0)
    for name, images in (("train", train), ("test", test)):
        for n, (image, label) in enumerate(zip(images.images, images.labels, strict=True)):
            folder = tmp_path / "pictures" / name / images.classes[label]
            folder.mkdir(parents=True, exist_ok=True)
            if label < 3 and len(list(folder.iterdir())) < 2:
                save(image, folder / f"{n}.png")
        for folder in (tmp_path / "pictures" / name).iterdir():
            if not list(folder.iterdir()):
                folder.rmdir()
    code = next(c for c in blocks(USE, "python") if "ImageFolder" in c)
    share = re.fullmatch(r"right on (\d\.\d\d) of the test pictures\n", run_in(tmp_path, code))
    assert float(share[1]) > 0.5


def save(image, path):
    from torchvision.transforms.functional import to_pil_image

    to_pil_image(image).save(path)


def test_own_exercise_says_what_is_printed_below(tmp_path):
    code = next(c for c in blocks(TEACH, "python") if "@exercise" in c)
    assert run_in(tmp_path, code) in blocks(TEACH, "text")


def test_class_copy_has_no_solution_and_is_marked(tmp_path):
    """The page's two pieces of code: a copy without solutions, and what its checks say."""
    original = BOOK / "3_algorithms" / "3_1_features.ipynb"
    copies, marks = (
        next(c for c in blocks(TEACH, "python") if word in c) for word in ("for_class", "marked")
    )
    (tmp_path / "book" / "3_algorithms").mkdir(parents=True)
    (tmp_path / original.relative_to(ROOT)).write_bytes(original.read_bytes())
    run_in(tmp_path, copies)
    page = notebooks.read(tmp_path / "book" / "3_algorithms" / "3_1_for_class.ipynb")
    assert not [
        c for c in page.cells if notebooks.has_tag(c, "solution") or "solution-" in c.source
    ]
    exercises = [c for c in page.cells if notebooks.has_tag(c, "exercise")]
    assert len(exercises) == len(outline.exercises(outline.find("3.1"))) == 4
    exercises[0].outputs[0].data["text/plain"] = repr(check("3.1-a", (2.5, -8.5)))
    nbformat.write(page, tmp_path / "marked.ipynb")
    said = run_in(tmp_path, marks)
    assert said.startswith("✓ 3.1-a: right\n✗ 3.1-b: nothing yet")
    assert said.endswith("1 of 4\n")


def test_messages_on_the_page_are_those_that_a_reader_gets(monkeypatch, tmp_path):
    text = text_of(USE)
    monkeypatch.delenv("MAPPING_DATA", raising=False)
    monkeypatch.setenv("MAPPING_CACHE", str(tmp_path))
    with pytest.raises(
        registry.MissingKnowledge, match=r"needs the file .*, which isn't there"
    ) as e:
        usps()
    assert "Instead: " in str(e.value)
    assert "`MissingKnowledge: … needs the file …, which isn't there`" in text
    with pytest.raises(ValueError, match="unknown parameter") as e:
        check_parameters(BOOK / "4_mathematics" / "4_1_mappings.ipynb", {"sed": 1})
    assert f"`{e.value}`" in text
    assert f"`{check('4.2-b', None)!r}`" in text
    with pytest.raises(ValueError, match="there is no exercise") as e:
        check("4.2-x", 1)
    assert str(e.value).startswith("there is no exercise '4.2-x'")
    assert "`there is no exercise '4.2-x'`" in text
    assert "Python 3.11 or newer is needed" in text_of(ROOT / "Makefile")


def test_citation_on_the_page_is_that_of_the_file():
    cff = yaml.safe_load(text_of(ROOT / "CITATION.cff"))
    (entry,) = blocks(TEACH, "bibtex")
    assert f"title   = {{{cff['title']}}}" in entry
    assert f"{{{{{cff['authors'][0]['name']}}}}}" in entry
    assert f"version = {{{cff['version']}}}" in entry
    assert f"year    = {{{cff['date-released'].year}}}" in entry
