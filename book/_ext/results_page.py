"""The section of the results page on one file: picture, tables, how it was made."""

import base64
import io
import statistics
from typing import Any

import matplotlib.pyplot as plt

from mapping_lib.lab.plots.results import columns_of, table_of_dots, table_of_means
from mapping_lib.lab.registry import find
from mapping_lib.lab.results import key_of

Content = dict[str, Any]
Runs = dict[str, dict[str, list[float]]]  # one number a seed, by method and column
MOST_COLOURS = 7  # of the house style; more columns are drawn as a matrix
HARD = "\N{NO-BREAK SPACE}"  # numbers stay on one line, a wide table scrolls


def section(name: str, content: Content, used_in: str) -> list[str]:
    """Return the Markdown lines of a section.

    Parameters
    ----------
    name
        Of the file, without its ending.
    content
        What :func:`mapping_lib.lab.results.read` returned.
    used_in
        A link to the section of the book that uses it.
    """
    first = content["rows"][0]
    values = [c for c in first if c not in key_of(first) and c != "seconds"]
    title = content["problem"][0].upper() + content["problem"][1:]
    lines = [f"(results-{name})=", f"## {title}", "", f"Used in {used_in}.", ""]
    lines += _picture(content, values[0])
    for value in values:
        lines += _table(content, value)
    return [*lines, *_methods(content), *_provenance(name, content)]


def _runs(content: Content, value: str) -> Runs:
    runs: Runs = {method: {} for method in content["methods"]}
    for row in content["rows"]:
        if value not in row:  # not every method has every number
            continue
        _, *problem, _ = key_of(row).values()
        column = ", ".join(map(str, problem))
        runs[row["method"]].setdefault(column, []).append(row[value])
    return {method: cells for method, cells in runs.items() if cells}


def _by(content: Content) -> str:
    """Return what the columns of the problem are, or nothing where there are none."""
    _, *problem, _ = key_of(content["rows"][0])
    return ", ".join(problem).replace("_", " ")


def _picture(content: Content, value: str) -> list[str]:
    """Return a figure whose image is part of the page: no file is written."""
    runs, by = _runs(content, value), _by(content)
    if len(columns_of(runs)) > MOST_COLOURS:
        figure = table_of_means(runs, value=value, by=by)
        shown = "the mean of its seeds"
        caption = "A field is the mean of a method's seeds."
    else:
        figure = table_of_dots(runs, value=value, by=by)
        shown, mark = "a dot for each seed", "tick" if by else "bar"
        caption = f"A dot is a seed, a {mark} the mean of a method's seeds."
    stream = io.BytesIO()
    figure.savefig(stream, format="png")
    plt.close(figure)
    image = base64.b64encode(stream.getvalue()).decode()
    return [
        f"```{{figure}} data:image/png;base64,{image}",
        f":alt: {value} of each method{f' by {by}' * bool(by)}, {shown};"
        " the numbers are in the table below",
        "",
        caption,
        "```",
        "",
    ]


def _table(content: Content, value: str) -> list[str]:
    """Return a table of means ± standard deviations, a line for each method."""
    runs, by, seconds = _runs(content, value), _by(content), _runs(content, "seconds")
    columns = columns_of(runs)
    lines = [
        f"**{value}**{f' by {by}' * bool(by)}, mean ± standard deviation over the"
        " seeds; CPU seconds are the mean of a run:",
        "",
        f"| method | {' | '.join(c or value for c in columns)} | seeds | CPU{HARD}s |",
        f"|---|{'---:|' * (len(columns) + 2)}",
    ]
    for method, cells in runs.items():
        shown = [_mean_and_sd(cells[c]) if c in cells else "–" for c in columns]
        seeds = {row["seed"] for row in content["rows"] if row["method"] == method}
        spent = statistics.fmean(s for cell in seconds[method].values() for s in cell)
        row = [method, *shown, f"{len(seeds)}", f"{spent:.{int(spent < 9.95)}f}"]
        lines.append(f"| {' | '.join(row)} |")
    return [*lines, ""]


def _mean_and_sd(values: list[float]) -> str:
    mean = f"{statistics.fmean(values):.3f}"
    if len(values) == 1:
        return mean
    return f"{mean}{HARD}±{HARD}{statistics.stdev(values):.3f}"


def _methods(content: Content) -> list[str]:
    lines = [
        "````{dropdown} What the methods do, and how their hyper-parameters were chosen"
    ]
    for name, method in content["methods"].items():
        words = f"{method['what']} *Hyper-parameters:* {method['chosen']}."
        lines += [name, f": {words}", ""]
    return [*lines, "````", ""]


def _provenance(name: str, content: Content) -> list[str]:
    """Return what the numbers depend on and the command that measures them again."""
    lines, real = [], False
    for kind in ("data", "weights"):
        for entry, stored in content.get(kind, {}).items():
            variant = stored["variant"]
            real |= find(entry, variant=variant).tier == "real"
            sha256 = f"SHA-256 `{stored['sha256'][:12]}…`"
            lines.append(
                f"- {kind}: {{ref}}`{entry} <data-{entry}>`, {variant}; {sha256}"
            )
    if content.get("settings"):
        lines.append(f"- settings: {_words(content['settings'])}")
    conditions = content["conditions"]
    versions = ", ".join(f"{p} {v}" for p, v in conditions["versions"].items())
    lines += [
        f"- measured with {versions}, Python {conditions['python']}",
        f"- on {conditions['machine']}",
        f"- every row: {{download}}`{name}.json <results/{name}.json>`",
        "",
        "What measures the rows that the file lacks, and all of them without a file:",
        "",
        "```",
        f"OMP_NUM_THREADS=1 {'MAPPING_DATA=… ' * real}python {content['recipe']}",
        "```",
        "",
    ]
    return lines


def _words(settings: dict[str, Any]) -> str:
    """Return settings as words, those within settings in brackets."""
    return ", ".join(
        f"{name} ({_words(value)})" if isinstance(value, dict) else f"{name} {value}"
        for name, value in settings.items()
    )
