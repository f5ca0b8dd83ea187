"""Text about code: docstrings of the installed libraries, labelled by topic."""

import ast
import re
from collections.abc import Iterator
from functools import cache
from inspect import cleandoc
from pathlib import Path

import torch

from mapping_lib.lab.data._arguments import one_of
from mapping_lib.lab.data.types import Texts
from mapping_lib.lab.registry import File, find, locate

DOMAINS = {
    "scientific": ("numpy", "scipy"),
    "deep-learning": ("torch", "torchvision", "tensorflow", "keras"),
}
LIBRARIES = tuple(library for libraries in DOMAINS.values() for library in libraries)

# A file has the first topic that its path, or the beginning of it, stands under.
TOPICS = {
    "sparse matrices": (
        "scipy/sparse",
        "torch/sparse",
        "tensorflow/python/ops/sparse_ops",
        "tensorflow/python/ops/gen_sparse_ops",
    ),
    "linear algebra": (
        "numpy/linalg",
        "scipy/linalg",
        "torch/linalg",
        "tensorflow/python/ops/linalg",
        "tensorflow/python/ops/gen_linalg_ops",
        "keras/src/ops/linalg",
    ),
    "Fourier and signals": (
        "numpy/fft",
        "scipy/fft",
        "scipy/signal",
        "torch/fft",
        "torch/signal",
        "tensorflow/python/ops/signal",
        "tensorflow/python/ops/gen_spectral_ops",
    ),
    "probability": (
        "scipy/stats",
        "torch/distributions",
        "tensorflow/python/ops/distributions",
        "tensorflow/python/ops/random_ops",
        "tensorflow/python/ops/stateful_random_ops",
        "tensorflow/python/ops/stateless_random_ops",
        "keras/src/random",
    ),
    "optimisation": (
        "scipy/optimize",
        "torch/optim",
        "tensorflow/python/training",
        "keras/src/optimizers",
    ),
    "images": (
        "scipy/ndimage",
        "torchvision/transforms",
        "tensorflow/python/ops/image_ops_impl",
        "keras/src/ops/image",
    ),
    "special functions": (
        "scipy/special",
        "torch/special",
        "tensorflow/python/ops/special_math_ops",
    ),
}

FEWEST_WORDS = 5

_SECTION = re.compile(  # an underlined heading, one with a colon, or Markdown's
    r"^ *(?:.+\n *[-=~]{3,}|(?:args|arguments|keyword args|call arguments|inputs?|parameters|"
    r"attributes|shape|returns?|outputs?|yields|raises|examples?|for example|usage|e\.g\.|"
    r"references?|see also|notes?|warnings?):?|#+ .*) *$",
    re.MULTILINE | re.IGNORECASE,
)
_NOT_PROSE = re.compile(r" |>>>|\.\. |[*+-] |\d+\. |[|{%@]")  # code, lists, directives, templates
_SIGNATURE = re.compile(r"\A[\w.]+\([^\n]*\)(?: ->[^\n]*)?(?:\n|$)")
_MARKUP = (  # what to look for, what to put there
    (r":math:`[^`]*`|\\\\\(.*?\\\\\)|`?\$[^$]*\$`?", ""),  # formulas
    (r":[\w:]+:`", "`"),  # roles
    (r"`([^`<]*?)\s*<[^>`]*>`_*", r"\1"),  # links of reST
    (r"\[([^\]]*)\](?:\(\s*[^)]*\)|\[[^\]]*\])", r"\1"),  # links of Markdown
    (r"https?://\S+|\[[\w ,]+\]_", ""),  # addresses and citations
    (r"[`*~|\\]", ""),
    (r"\b(?:[A-Za-z]\w+\.)+([A-Za-z]\w+)", r"\1"),  # scipy.linalg.det: it would tell the topic
    (r"\s+", " "),
    (r" (?=[.,;:)])", ""),
    (r"::", ":"),
)


def docstrings(domain: str) -> Texts:
    """Return what a domain's docstrings say, labelled by topic.

    There are seven topics. A docstring has that of the file it stands in, so some are labelled
    more narrowly than a person would ("return a copy" under sparse matrices).

    The text is the first two paragraphs of prose of a public function, method or class; signatures,
    parameters, examples, formulas and mark-up are left out, and so is the path of a name, which
    would tell the topic. Texts of fewer than five words are left out. One that comes again, in the
    same library or in a later one, counts once; so none is in two domains.

    Taught in :ref:`text-classification` (section 6.2.1).

    Parameters
    ----------
    domain
        ``"scientific"`` (NumPy and SciPy), ``"deep-learning"`` (PyTorch, torchvision, TensorFlow
        and Keras), or one of these libraries by the name it is imported by.

    Raises
    ------
    ValueError
        An unknown domain; the message suggests the nearest known one.
    MissingKnowledge, CorruptKnowledge
        A library isn't installed, or has another version than the one the registry knows.

    Examples
    --------
    >>> docstrings("numpy")
    Texts(numpy, all: 45 texts, 7 classes)
    >>> docstrings("numpy").texts[1]
    'Transpose each matrix in a stack of matrices. Unlike transpose, this only swaps the last two \
axes, rather than all of them'
    """
    one_of([*DOMAINS, *LIBRARIES], domain=domain)
    chosen = DOMAINS.get(domain, (domain,))
    entry = find("docstrings")
    seen: set[str] = set()
    texts, labels = [], []
    for library in LIBRARIES[: LIBRARIES.index(chosen[-1]) + 1]:
        for file in entry.files:
            if file.place != library:
                continue
            for text in _texts(locate(entry, file.path)):
                key = " ".join(re.findall("[a-z]+", text.lower()))
                if key not in seen and library in chosen:
                    texts.append(text)
                    labels.append(_topic(file))
                seen.add(key)
    return Texts(
        entry=entry.name,
        split="all",
        domain=domain,
        texts=tuple(texts),
        labels=torch.tensor(labels),
        classes=tuple(TOPICS),
    )


def _topic(file: File) -> int:
    """Return the number of a file's topic."""
    path = f"{file.place}/{file.path}"
    return next(
        number for number, beginnings in enumerate(TOPICS.values()) if path.startswith(beginnings)
    )


@cache  # parsing all the files takes seconds
def _texts(path: Path) -> tuple[str, ...]:
    """Return the prose of each public docstring of a file; its code is read, not run."""
    tree = ast.parse(path.read_text(encoding="utf-8"))
    public = [_prose(text) for name, text in _docstrings(tree.body) if not name.startswith("_")]
    return tuple(text for text in public if len(text.split()) >= FEWEST_WORDS)


def _docstrings(body: list[ast.stmt]) -> Iterator[tuple[str, str]]:
    """Yield name and docstring of what a module or a public class defines.

    Besides docstrings in their usual place there are some given by a call: PyTorch's
    ``det = _add_docstr(function, "…")`` and ``@_add_docstr("…")``, SciPy's
    ``add_newdoc("gamma", "…")``.
    """
    for node in body:
        match node:
            case ast.Assign(
                targets=[ast.Name(id=name)],
                value=ast.Call(func=ast.Name(id="_add_docstr"), args=[_, text]),
            ):
                yield name, _first_string(text)
            case ast.Expr(
                value=ast.Call(
                    func=ast.Name(id="add_newdoc"), args=[ast.Constant(value=str(name)), text]
                )
            ):
                yield name, _first_string(text)
            case ast.FunctionDef(
                name=name,
                decorator_list=[ast.Call(func=ast.Name(id="_add_docstr"), args=[text, *_])],
            ):
                yield name, _first_string(text)
            case ast.FunctionDef(name=name):
                yield name, ast.get_docstring(node) or ""
            case ast.ClassDef(name=name):
                yield name, ast.get_docstring(node) or ""
                if not name.startswith("_"):
                    yield from _docstrings(node.body)


def _first_string(expression: ast.expr) -> str:
    """Return the first string of an expression such as ``"…".format(…) + "…"``."""
    strings = [
        (node.lineno, node.col_offset, node.value)
        for node in ast.walk(expression)
        if isinstance(node, ast.Constant) and isinstance(node.value, str)
    ]
    return cleandoc(min(strings)[2])


def _prose(docstring: str) -> str:
    """Return the first two paragraphs of prose before the first section, without mark-up."""
    docstring = _SIGNATURE.sub("", docstring)
    docstring = re.sub(r"```.*?(?:```|\Z)", "", docstring, flags=re.DOTALL)
    described = _SECTION.split(docstring, maxsplit=1)[0]
    paragraphs = [
        _without_markup(paragraph)
        for paragraph in re.split(r"\n\s*\n", described)
        if not _NOT_PROSE.match(paragraph.lstrip("\n"))
    ]
    return " ".join([paragraph for paragraph in paragraphs if paragraph][:2])


def _without_markup(text: str) -> str:
    """Take formulas and the marks of reST and Markdown out of a text, and the paths of names."""
    for pattern, replacement in _MARKUP:
        text = re.sub(pattern, replacement, text, flags=re.DOTALL)
    return text.strip()
