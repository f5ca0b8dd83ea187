"""What the book's pages draw from its own files: map, status, data, results.

Nothing that a build can read is written by hand: which pages are written, how long each
notebook took and with which versions, which data there are, what was measured. It is
taken from the outline, the notebooks' metadata, the catalogue and the results files.
"""

import re
from collections.abc import Callable
from importlib import import_module
from typing import Any

import results_page
from docutils import nodes
from docutils.statemachine import StringList
from outline import (
    BOOK,
    Heading,
    cells,
    cpu_seconds,
    entries,
    exercises,
    find,
    notebook,
    pages_of,
    read_outline,
    reading_minutes,
    sections_with,
    state,
    stored_run,
    written_texts,
)
from sphinx import addnodes
from sphinx.application import Sphinx
from sphinx.config import Config
from sphinx.util.docutils import SphinxDirective, SphinxRole
from sphinx.util.nodes import nested_parse_with_titles

from mapping_lib.lab import results
from mapping_lib.lab.catalogue import ENTRIES, TIERS, Entry

# A term with its Chinese name in brackets, and the indented lines of its definition.
GLOSSARY_ENTRY = re.compile(
    r"^(?P<term>\S.*) \((?P<chinese>[^()]+)\)\n(?:  .*\n)+", re.MULTILINE
)


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
            how_far = state(entry["number"])
            mark = f" [{how_far}]{{.unwritten}}" if how_far else ""
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
        for page in pages_of("all"):
            if not notebook(page):
                continue
            code = sum(cell["cell_type"] == "code" for cell in cells(page))
            title = f"{{ref}}`{page['number']} {page['en']} <{page['label']}>`"
            run = stored_run(page)
            if run is None:  # a draft; the checks on the notebooks refuse it
                rows.append(f"| {title} | {code} | | not yet: `make notebooks` |")
                continue
            rows.append(
                f"| {title} | {code} | {run['cpu_seconds']:.0f} | {run['executed']} |"
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


class FromOutline(SphinxRole):
    """A role whose text is the number of a section, or several with spaces between."""

    def replacement(self) -> list[nodes.Node]:
        """Return what stands in the role's place, or raise ``ValueError``."""
        raise NotImplementedError

    def run(self) -> tuple[list[nodes.Node], list[nodes.system_message]]:
        """Return the replacement, or an error that names the section there isn't."""
        self.env.note_reread()  # what it says changes while the page does not
        try:
            return self.replacement(), []
        except ValueError as error:
            message = self.inliner.reporter.error(str(error), line=self.lineno)
            problem = self.inliner.problematic(self.rawtext, self.rawtext, message)
            return [problem], [message]


class SectionLink(FromOutline):
    """``{section}`3.1.2```: a link with number and title, marked until it is there."""

    def replacement(self) -> list[nodes.Node]:
        """Return the link, and how far the section is if it isn't complete."""
        entry, how_far = find(self.text), state(self.text)
        title = f"{entry['number']}\N{NO-BREAK SPACE}{entry['en']}"
        link = addnodes.pending_xref(
            self.rawtext,
            nodes.inline(self.rawtext, title, classes=["std", "std-ref"]),
            refdomain="std",
            reftype="ref",
            reftarget=entry["label"],
            refexplicit=True,
            refwarn=True,
            refdoc=self.env.docname,
        )
        self.set_source_info(link)
        mark = nodes.inline("", how_far, classes=["unwritten"])
        return [link, nodes.Text(" "), mark] if how_far else [link]


class SectionFact(FromOutline):
    """A role that says one thing of all pages of the sections."""

    def __init__(self, fact: Callable[[list[Heading]], str]) -> None:
        super().__init__()
        self.fact = fact

    def replacement(self) -> list[nodes.Node]:
        """Return what the fact's function says of the pages."""
        pages = [page for number in self.text.split() for page in pages_of(number)]
        return [nodes.Text(self.fact(pages))]


def reading_time(pages: list[Heading]) -> str:
    """Return how long the written pages take to read, such as ``1 h 30 min``."""
    known = [m for m in map(reading_minutes, pages) if m is not None]
    hours, minutes = divmod(sum(known), 60)
    parts = [f"{hours} h"] * (hours > 0) + [f"{minutes} min"] * (minutes > 0)
    return " ".join(parts).replace(" ", "\N{NO-BREAK SPACE}") if known else "–"


def computing_time(pages: list[Heading]) -> str:
    """Return the CPU seconds of the pages' stored runs."""
    known = [s for s in map(cpu_seconds, pages) if s is not None]
    return f"{sum(known):.0f}\N{NO-BREAK SPACE}s" if known else "–"


def exercise_ids(pages: list[Heading]) -> str:
    """Return the first and last exercise of each page."""
    ranges = []
    for page in pages:
        ids = exercises(page)
        if ids:
            last = ids[-1].rpartition("-")[2]
            ranges.append(f"{ids[0]} to {last}" if len(ids) > 1 else ids[0])
    return ", ".join(ranges) or "–"


def written_pages(pages: list[Heading]) -> str:
    """Return how many of the pages are written."""
    written = sum(notebook(page) is not None for page in pages)
    return f"{written} of {len(pages)}"


def link_glossary(app: Sphinx, docname: str, source: list[str]) -> None:
    """Say under each term of the glossary which written sections it is met in."""
    if docname != "book/glossary":
        return
    app.env.note_reread()  # the sections change while the glossary does not
    labels = {e["number"]: e["label"] for e in entries(read_outline())}
    texts = written_texts()

    def with_links(match: re.Match[str]) -> str:
        met_in = sections_with(match["term"], match["chinese"], texts)
        links = [f"{{ref}}`{number} <{labels[number]}>`" for number in met_in]
        met = f"\n\n  [Met in {', '.join(links)}.]{{.met}}" if links else ""
        return f"{match[0].rstrip()}{met}\n"

    source[0] = GLOSSARY_ENTRY.sub(with_links, source[0])


def add_repository_buttons(app: Sphinx, config: Config) -> None:
    """Switch on the buttons that need the repository's address, if it is set."""
    options = config.html_theme_options
    if not options.get("repository_url"):
        app.tags.add("unpublished")
        return
    app.tags.add("published")
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
    app.add_role("section", SectionLink())
    app.add_role("reading", SectionFact(reading_time))
    app.add_role("cpu", SectionFact(computing_time))
    app.add_role("exercises", SectionFact(exercise_ids))
    app.add_role("written", SectionFact(written_pages))
    app.connect("source-read", link_glossary)
    app.add_directive("course-map", CourseMap)
    app.add_directive("notebook-status", NotebookStatus)
    app.add_directive("data-registry", DataRegistry)
    app.add_directive("results", Results)
    app.connect("config-inited", add_repository_buttons, priority=100)
    return {"version": "1", "parallel_read_safe": True, "parallel_write_safe": True}
