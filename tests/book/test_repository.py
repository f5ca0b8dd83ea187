"""The repository stays light, its table of contents is the outline, its settings are known ones."""

import shutil
import subprocess
from pathlib import Path

import course
import jupyter_book
import pytest
import yaml
from jupyter_book.config import validate_yaml
from notebooks import BOOK, ROOT

MIB = 2**20


def tracked_files():
    if shutil.which("git") is None or not (ROOT / ".git").exists():
        pytest.skip("not a git checkout")
    command = ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"]
    listed = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True)
    files = [ROOT / name for name in listed.stdout.split("\0") if name]
    return [f for f in files if f.is_file()]


def test_files_are_of_reasonable_size():
    sizes = {f: f.stat().st_size for f in tracked_files()}
    assert sum(sizes.values()) < 50 * MIB  # 45 executed notebooks with their figures
    too_large = {str(f): s for f, s in sizes.items() if s > 3 * MIB}
    assert not too_large


def test_toc_carries_the_whole_outline():
    toc = yaml.safe_load((ROOT / "_toc.yml").read_text(encoding="utf-8"))
    (course_part,) = (part for part in toc["parts"] if part.get("numbered"))

    def files(nodes):
        return [
            {"file": n["file"].removeprefix("book/"), "sections": files(n.get("sections", []))}
            for n in nodes
        ]

    def pages(sections):
        return [
            {"file": s["file"], "sections": pages(s.get("sections", []))}
            for s in sections
            if "file" in s
        ]

    assert course_part["numbered"] is True
    due = pages(course.read_outline())
    assert files(course_part["chapters"]) == due, "_toc.yml and book/outline.yml differ"


@pytest.mark.parametrize("entry", course.entries(course.read_outline()), ids=lambda e: e["number"])
def test_page_of_the_outline_exists_once_with_its_heading(entry):
    if "file" not in entry:
        return
    pages = [BOOK / f"{entry['file']}{suffix}" for suffix in (".md", ".ipynb")]
    present = [p for p in pages if p.exists()]
    assert len(present) == 1
    if present[0].suffix == ".md":  # the notebooks' headings: test_notebooks.py
        text = present[0].read_text(encoding="utf-8")
        headings = [(entry, "#")] + [
            (s, "##") for s in entry.get("sections", []) if "file" not in s
        ]
        for part, marks in headings:
            zh = f'<p lang="zh" class="zh">{part["zh"]}</p>'
            assert f"({part['label']})=\n{marks} {part['en']}\n\n{zh}\n" in text
        unwritten = "sections" not in entry or "file" not in entry["sections"][0]
        assert unwritten == (":class: unwritten" in text)


def test_book_settings_are_ones_that_jupyter_book_knows():
    config = yaml.safe_load((ROOT / "_config.yml").read_text(encoding="utf-8"))
    validate_yaml(config, raise_on_errors=True)
    defaults = Path(jupyter_book.__file__).with_name("default_config.yml")
    known = yaml.safe_load(defaults.read_text(encoding="utf-8")) | {
        "bibtex_bibfiles": None,
        "latex": None,
    }
    for key, value in config.items():
        assert key in known
        if isinstance(value, dict) and isinstance(known[key], dict):
            assert set(value) <= set(known[key]) | {"navbar_footer_text"}, key
