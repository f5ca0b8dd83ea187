"""What outline and pages say of each section: is it written, how long, exercises.

All of it is read from the files, so that no page can promise what isn't there.
"""

import functools
import itertools
import json
import re
from pathlib import Path
from typing import Any

import yaml

BOOK = Path(__file__).resolve().parents[1]

Heading = dict[str, Any]

UNWRITTEN = "to be written"
TIME = re.compile(
    r"Reading takes (?:about )?"
    r"(?:(\d+) minutes|(half an hour|an hour and a half|an hour|two hours))"
)
WORDS = {"half an hour": 30, "an hour": 60, "an hour and a half": 90, "two hours": 120}
EXERCISE = re.compile(r"^```\{exercise\} (\S+)", re.MULTILINE)
LABELLED = re.compile(r"^\(([\w-]+)\)=\n#{1,2} ", re.MULTILINE)


def read_outline() -> list[Heading]:
    """Return the chapters of ``book/outline.yml``, nested as there."""
    path = BOOK / "outline.yml"
    return _chapters(path, path.stat().st_mtime_ns)


def entries(sections: list[Heading]) -> list[Heading]:
    """Return every heading of the outline in reading order."""
    return [e for s in sections for e in (s, *entries(s.get("sections", [])))]


def find(number: str) -> Heading:
    """Return the heading of that number, or raise ``ValueError``."""
    for entry in entries(read_outline()):
        if entry["number"] == number:
            return entry
    raise ValueError(f"the outline has no section {number!r}")


def notebook(entry: Heading) -> Path | None:
    """Return the notebook of a page, or None where it is still to be written."""
    path = BOOK / f"{entry['file']}.ipynb"
    return path if path.exists() else None


def is_page(entry: Heading) -> bool:
    """Return whether the heading has a page that isn't an index of others."""
    return "file" in entry and not any("file" in s for s in entry.get("sections", []))


def pages_of(number: str) -> list[Heading]:
    """Return the pages below a heading, or its own (``all``: of the book)."""
    if number == "all":
        return [e for e in entries(read_outline()) if is_page(e)]
    found = [e for e in entries([find(number)]) if is_page(e)]
    return found or pages_of(number.rpartition(".")[0])


def is_written(entry: Heading) -> bool:
    """Return whether the heading's page is a notebook, or all pages below it are."""
    return all(notebook(page) for page in pages_of(entry["number"]))


def state(number: str) -> str:
    """Return nothing where all pages are written, else how far it is."""
    pages = pages_of(number)
    written = sum(notebook(page) is not None for page in pages)
    if written == len(pages):
        return ""
    return f"{written} of {len(pages)} pages written" if written else UNWRITTEN


def cells(entry: Heading) -> list[Heading]:
    """Return the cells of a page's notebook, none where it is still to be written."""
    return _content(entry)["cells"] if notebook(entry) else []


def stored_run(entry: Heading) -> Heading | None:
    """Return what the page's notebook recorded when it was executed, if it was."""
    return _content(entry)["metadata"].get("mapping_lib") if notebook(entry) else None


def cpu_seconds(entry: Heading) -> float | None:
    """Return the CPU seconds that the page's stored run took, if there is one."""
    run = stored_run(entry)
    return run and float(run["cpu_seconds"])


def reading_minutes(entry: Heading) -> int | None:
    """Return the minutes of reading that a written page announces."""
    first = _source(cells(entry)[0]) if notebook(entry) else ""
    match = TIME.search(first)
    return match and (int(match[1]) if match[1] else WORDS[match[2]])


def exercises(entry: Heading) -> list[str]:
    """Return the ids of the page's exercises in its order."""
    return [id for cell in cells(entry) for id in EXERCISE.findall(_source(cell))]


def written_texts() -> dict[str, str]:
    """Return the Markdown of every written section of the outline, by its number."""
    numbers = {e["label"]: e["number"] for e in entries(read_outline())}
    texts: dict[str, str] = {}
    for page in pages_of("all"):
        number = page["number"]
        for cell in cells(page):
            if cell["cell_type"] != "markdown":
                continue
            pieces = LABELLED.split(_source(cell))  # text, label, text, label, text …
            for label, text in zip(["", *pieces[1::2]], pieces[0::2], strict=True):
                number = numbers.get(label, number)
                texts[number] = texts.get(number, "") + "\n" + text
    return texts


def sections_with(term: str, chinese: str, texts: dict[str, str]) -> list[str]:
    """Return the numbers of the sections that have a term's Chinese name in brackets.

    Where none has, the first that names the term in English.
    """
    name = re.compile(rf"[(,;]\s?{re.escape(chinese)}\s?[),;]")
    english = re.compile(rf"\b{re.escape(term)}", re.IGNORECASE)
    found = [number for number, text in texts.items() if name.search(text)]
    named = (number for number, text in texts.items() if english.search(text))
    return found or list(itertools.islice(named, 1))


@functools.cache
def _chapters(path: Path, changed: int) -> list[Heading]:
    chapters: list[Heading] = yaml.safe_load(path.read_text(encoding="utf-8"))
    return chapters


def _content(entry: Heading) -> Any:
    path = BOOK / f"{entry['file']}.ipynb"
    return _parsed(path, path.stat().st_mtime_ns)


@functools.cache
def _parsed(path: Path, changed: int) -> Any:
    return json.loads(path.read_text(encoding="utf-8"))


def _source(cell: Heading) -> str:
    return "".join(cell["source"])
