"""GLUE's nine tasks: what their files look like, a reader that loses no row, and the score.

Taught in :ref:`glue` (section 7.3.3).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from scipy.stats import pearsonr, spearmanr
from sklearn.metrics import accuracy_score, f1_score, matthews_corrcoef

from mapping_lib._names import suggest


@dataclass(frozen=True)
class Task:
    """One task of GLUE.

    Attributes
    ----------
    name
        As its folder is called.
    asks
        The question.
    train, dev, test
        Numbers of examples; two where there are a matched and a mismatched part.
    columns
        The columns of the training file that matter; where :attr:`header` is false, all of them.
    label
        Which column is the label.
    metrics
        Names of its measures, as :func:`task_scores` knows them.
    header
        Whether the first line of the training file names the columns.
    """

    name: str
    asks: str
    train: int
    dev: tuple[int, ...]
    test: tuple[int, ...]
    columns: tuple[str, ...]
    label: str
    metrics: tuple[str, ...]
    header: bool = True


_PAIR = ("sentence1", "sentence2")

TASKS = {
    task.name: task
    for task in (
        Task(
            "CoLA",
            "is it grammatical?",
            8_551,
            (1_043,),
            (1_063,),
            ("source", "label", "mark", "sentence"),
            "label",
            ("Matthews",),
            header=False,
        ),
        Task(
            "SST-2",
            "is it praise?",
            67_349,
            (872,),
            (1_821,),
            ("sentence", "label"),
            "label",
            ("accuracy",),
        ),
        Task(
            "MRPC",
            "do both say the same?",
            3_668,
            (408,),
            (1_725,),
            ("#1 String", "#2 String", "Quality"),
            "Quality",
            ("F1", "accuracy"),
        ),
        Task(
            "STS-B",
            "how alike are they, 0 to 5?",
            5_749,
            (1_500,),
            (1_379,),
            (*_PAIR, "score"),
            "score",
            ("Pearson", "Spearman"),
        ),
        Task(
            "QQP",
            "is it the same question?",
            363_846,
            (40_430,),
            (390_965,),
            ("question1", "question2", "is_duplicate"),
            "is_duplicate",
            ("F1", "accuracy"),
        ),
        Task(
            "MNLI",
            "does it follow, contradict, neither?",
            392_702,
            (9_815, 9_832),
            (9_796, 9_847),
            (*_PAIR, "gold_label"),
            "gold_label",
            ("accuracy (matched)", "accuracy (mismatched)"),
        ),
        Task(
            "QNLI",
            "does the sentence hold the answer?",
            104_743,
            (5_463,),
            (5_463,),
            ("question", "sentence", "label"),
            "label",
            ("accuracy",),
        ),
        Task(
            "RTE",
            "does it follow?",
            2_490,
            (277,),
            (3_000,),
            (*_PAIR, "label"),
            "label",
            ("accuracy",),
        ),
        Task(
            "WNLI",
            "does it follow with the pronoun filled in?",
            635,
            (71,),
            (146,),
            (*_PAIR, "label"),
            "label",
            ("accuracy",),
        ),
    )
}
"""GLUE's tasks :cite:p:`wang2018glue`, with sizes as counted in the files."""


def find_task(name: str) -> Task:
    """Return the task of that name.

    Raises
    ------
    ValueError
        An unknown name; the message suggests the nearest known one.

    Examples
    --------
    >>> find_task("RTE").train
    2490
    """
    if name not in TASKS:
        raise ValueError(f"unknown task {name!r}" + suggest(name, TASKS))
    return TASKS[name]


def read_rows(path: str | Path, task: str, *, labelled: bool = True) -> list[dict[str, str]]:
    """Read a file of a task: a row for each line, cut at tabs and nowhere else.

    Quotes are letters as any other. Line numbers count from 1.

    Parameters
    ----------
    path
        The file, UTF-8.
    task
        Name of the task.
    labelled
        Whether the file has labels. GLUE's test files have none; they have a header in every task.

    Returns
    -------
    list
        For each row its columns by name, those of :attr:`Task.columns`.

    Raises
    ------
    ValueError
        A column is missing, or a line has more or fewer columns than the first.
    """
    path, known = Path(path), find_task(task)
    wanted = [name for name in known.columns if labelled or name != known.label]
    # splitlines() would also break at characters such as U+2028
    lines = path.read_text(encoding="utf-8-sig").split("\n")
    lines = [line.removesuffix("\r") for line in lines]
    if known.header or not labelled:
        names = lines[0].split("\t")
        first = 1
        if not labelled and not known.header:
            wanted = ["sentence"]
    else:
        names, first = list(known.columns), 0
    if missing := [name for name in wanted if name not in names]:
        raise ValueError(
            f"{path.name}, line 1: there is no column {missing[0]!r} for {task}"
            f"{suggest(missing[0], names)}"
        )
    rows = []
    for number, line in enumerate(lines[first:], start=first + 1):
        if not line:
            continue
        cells = line.split("\t")
        if len(cells) != len(names):
            raise ValueError(
                f"{path.name}, line {number}: {len(cells)} columns where {len(names)} are due"
            )
        row = dict(zip(names, cells, strict=True))
        rows.append({name: row[name] for name in wanted})
    return rows


def task_scores(
    task: str, predictions: Sequence[float], labels: Sequence[float]
) -> dict[str, float]:
    """Return a task's measures, each between −1 or 0 and 1; of MNLI for one part, as accuracy.

    Parameters
    ----------
    task
        Name of the task.
    predictions, labels
        Numbers of classes, or for STS-B similarities. F1 is that of class 1.

    Raises
    ------
    ValueError
        Unequal lengths, or no example.
    """
    said, true = np.asarray(predictions), np.asarray(labels)
    if said.shape != true.shape or said.ndim != 1 or len(said) == 0:
        raise ValueError(
            f"as many predictions as labels are due, got {said.shape} and {true.shape}"
        )
    functions = {
        "accuracy": lambda: accuracy_score(true, said),
        "F1": lambda: f1_score(true, said),
        "Matthews": lambda: matthews_corrcoef(true, said),
        "Pearson": lambda: pearsonr(said, true)[0],
        "Spearman": lambda: spearmanr(said, true)[0],
    }
    names = dict.fromkeys(name.split(" (")[0] for name in find_task(task).metrics)
    return {name: float(functions[name]()) for name in names}


def glue_score(scores: Mapping[str, Sequence[float]]) -> float:
    """Return GLUE's one number: a mean over tasks of the mean over each task's measures.

    Parameters
    ----------
    scores
        Of each of the nine tasks, its measures; two for MNLI: matched and mismatched.

    Raises
    ------
    ValueError
        A task or a measure is missing or too many.

    Examples
    --------
    >>> glue_score({name: [0.5] * len(task.metrics) for name, task in TASKS.items()})
    0.5
    """
    if set(scores) != set(TASKS):
        wrong = sorted(set(TASKS) ^ set(scores))
        raise ValueError(f"the nine tasks of GLUE are due, each once; not so: {wrong}")
    for name, values in scores.items():
        if len(values) != len(TASKS[name].metrics):
            due = TASKS[name].metrics
            raise ValueError(f"{name} has the measures {due}, got {len(values)} numbers")
    return float(np.mean([np.mean(values) for values in scores.values()]))
