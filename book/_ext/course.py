"""What the book's pages draw from its own files: map, status, data, results.

Nothing that a build can read is written by hand: which pages are written, how long each
notebook took and with which versions, which data there are, what was measured. It is
taken from the outline, the notebooks' metadata, the catalogue and the results files.
"""

import json
import re
from importlib import import_module
from pathlib import Path
from typing import Any

import results_page
import yaml
from docutils import nodes
from docutils.statemachine import StringList
from sphinx.application import Sphinx
from sphinx.config import Config
from sphinx.util.docutils import SphinxDirective
from sphinx.util.nodes import nested_parse_with_titles

from mapping_lib.lab import results
from mapping_lib.lab.catalogue import ENTRIES, TIERS, Entry

BOOK = Path(__file__).resolve().parents[1]


def read_outline() -> list[dict[str, Any]]:
    """Return the chapters of ``book/outline.yml``, nested as there."""
    chapters: list[dict[str, Any]] = yaml.safe_load(
        (BOOK / "outline.yml").read_text(encoding="utf-8")
    )
    return chapters


def entries(sections: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Return every heading of the outline in reading order."""
    return [e for s in sections for e in (s, *entries(s.get("sections", [])))]


def is_written(entry: dict[str, Any]) -> bool:
    """Return whether the heading's page is a notebook, or all pages below it are."""
    if "file" in entry and (BOOK / f"{entry['file']}.ipynb").exists():
        return True
    pages = [s for s in entry.get("sections", []) if "file" in s]
    return bool(pages) and all(is_written(s) for s in pages)


class Generated(SphinxDirective):
    """A directive whose content is Markdown lines that :meth:`lines` returns."""

    def lines(self) -> list[str]:
        """Return the lines of Markdown to put on the page."""
        raise NotImplementedError

    def run(self) -> list[nodes.Node]:
        """Parse the lines where the directive stands."""
        self.env.note_reread()  # the lines' origin changes while the page does not
        container = nodes.container()
        source = f"<{self.name}>"
        known = set(self.state.document.findall(nodes.section))
        nested_parse_with_titles(
            self.state, StringList(self.lines(), source=source), container
        )
        # MyST has hung the sections on the page already, before what precedes them.
        new = [s for s in self.state.document.findall(nodes.section) if s not in known]
        for section in new:
            if section.parent not in new:
                section.parent.remove(section)
                container.append(section)
        return container.children


class CourseMap(Generated):
    """``{course-map}``: the outline's pages with links, the unwritten ones marked.

    With a number (``{course-map} 4.3``) only the pages below that heading.
    """

    optional_arguments = 1

    def lines(self) -> list[str]:
        """Return a nested list of the outline's pages."""
        if not self.arguments:
            return self._list(read_outline(), 0)
        below = {e["number"]: e for e in entries(read_outline())}
        number = self.arguments[0]
        if number not in below:
            raise self.error(f"course-map: the outline has no section {number}")
        return self._list(below[number]["sections"], 0)

    def _list(self, sections: list[dict[str, Any]], depth: int) -> list[str]:
        rows = []
        for entry in sections:
            mark = "" if is_written(entry) else " [to be written]{.unwritten}"
            title = f"{entry['number']} {entry['en']}"
            zh = f'[{entry["zh"]}]{{.zh lang="zh"}}'
            rows.append(
                f"{'  ' * depth}- {{ref}}`{title} <{entry['label']}>` {zh}{mark}"
            )
            pages = [s for s in entry.get("sections", []) if "file" in s]
            rows += self._list(pages, depth + 1)
        return rows


class NotebookStatus(Generated):
    """``{notebook-status}``: CPU seconds and versions of every stored run."""

    def lines(self) -> list[str]:
        """Return two tables: the notebooks' times and their versions."""
        rows = [
            "| notebook | code cells | CPU seconds | executed |",
            "|---|---:|---:|---|",
        ]
        versions: dict[str, set[str]] = {}
        for entry in entries(read_outline()):
            path = BOOK / f"{entry.get('file')}.ipynb"
            if "file" not in entry or not path.exists():
                continue
            notebook = json.loads(path.read_text(encoding="utf-8"))
            run = notebook["metadata"].get("mapping_lib")
            cells = sum(c["cell_type"] == "code" for c in notebook["cells"])
            title = f"{{ref}}`{entry['number']} {entry['en']} <{entry['label']}>`"
            if run is None:  # a draft; the checks on the notebooks refuse it
                rows.append(f"| {title} | {cells} | | not yet: `make notebooks` |")
                continue
            rows.append(
                f"| {title} | {cells} | {run['cpu_seconds']:.0f} | {run['executed']} |"
            )
            for name, version in run["versions"].items():
                versions.setdefault(name, set()).add(version)
        rows += ["", "| made with | version |", "|---|---|"]
        rows += [
            f"| {name} | {', '.join(sorted(vs))} |"
            for name, vs in sorted(versions.items())
        ]
        return rows


class DataRegistry(Generated):
    """``{data-registry} tier``: the catalogue's entries of a tier."""

    required_arguments = 1

    def lines(self) -> list[str]:
        """Return a table of the entries and what is to be known of each."""
        tier = self.arguments[0]
        if tier not in TIERS:
            raise self.error(f"data-registry: there is no tier {tier}")
        found = [entry for entry in ENTRIES if entry.tier == tier]
        rows = ["| entry | kind | size | without network | content |"]
        rows += ["|---|---|---:|---|---|"]
        rows += [
            f"| {{ref}}`{entry.name} <data-{entry.name}>` "
            f"| {entry.kind} | {entry.size / 1e6:.1f} MB "
            f"| {'yes' if entry.offline else 'once it is here'} "
            f"| {'may be shown' if entry.publishable else 'numbers only'} |"
            for entry in found
        ]
        return rows + [line for entry in found for line in self._entry(entry)]

    def _entry(self, entry: Entry) -> list[str]:
        """Return what is to be known of an entry."""
        module, _, name = f"mapping_lib.lab.{entry.reader}".rpartition(".")
        reader = getattr(import_module(module), name)
        places = sorted({f"`{file.place}`" for file in entry.files})
        reads = f"{reader.__module__}.{reader.__name__}"
        files = f"{len(entry.files)} file{'s' * (len(entry.files) > 1)}"
        return [
            "",
            f"(data-{entry.name})=",
            f"### {entry.name}",
            "",
            f"{entry.title} {{cite:p}}`{entry.citation}`.",
            f"Variant: {entry.variant}.",
            "",
            f"- read by {{py:func}}`{entry.reader} <{reads}>`",
            f"- {files}, {entry.size / 1e6:.1f} MB, in {', '.join(places)}",
            f"- licence: {entry.licence}",
            f"- source: <{entry.source}>",
            f"- how to get it: {entry.obtain}",
            f"- without it: {entry.fallback}",
            f"- SHA-256: `{entry.sha256}`",
            "",
        ]


class Results(Generated):
    """``{results}``: a section for every file of ``book/results``."""

    def lines(self) -> list[str]:
        """Return the sections, or an error that names the file and what it lacks."""
        rows = []
        for path in sorted((BOOK / "results").glob("*.json")):
            try:
                content = results.read(path)
                used_in = section_of(content["recipe"])
                rows += results_page.section(path.stem, content, used_in)
            except (KeyError, ValueError) as error:
                raise self.error(f"{path.name}: {error.args[0]}") from error
        return rows


def section_of(recipe: str) -> str:
    """Return a link to the section of a recipe such as ``scripts/results_5_2.py``."""
    match = re.match(r"scripts/results_(\d+(?:_\d+)*)\.py\b", recipe)
    number = match[1].replace("_", ".") if match else ""
    for entry in entries(read_outline()):
        if entry["number"] == number:
            return f"{{ref}}`{number} {entry['en']} <{entry['label']}>`"
    raise ValueError(f"the recipe {recipe!r} is not scripts/results_<section>.py")


def add_repository_buttons(app: Sphinx, config: Config) -> None:
    """Switch on the buttons that need the repository's address, if it is set."""
    options = config.html_theme_options
    if not options.get("repository_url"):
        return
    for button in (
        "use_repository_button",
        "use_edit_page_button",
        "use_issues_button",
    ):
        options[button] = True
    options["launch_buttons"] = {
        "notebook_interface": "jupyterlab",
        "binderhub_url": "https://mybinder.org",
        "colab_url": "https://colab.research.google.com",
    }


def setup(app: Sphinx) -> dict[str, Any]:
    """Register the directives and the buttons."""
    app.add_directive("course-map", CourseMap)
    app.add_directive("notebook-status", NotebookStatus)
    app.add_directive("data-registry", DataRegistry)
    app.add_directive("results", Results)
    app.connect("config-inited", add_repository_buttons, priority=100)
    return {"version": "1", "parallel_read_safe": True, "parallel_write_safe": True}
