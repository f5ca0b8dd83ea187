import re
import shutil
import subprocess
import sys

import pytest
from sklearn.feature_extraction.text import TfidfVectorizer

from mapping_lib.lab.data import docstrings
from mapping_lib.lab.data.docstrings import DOMAINS, LIBRARIES, TOPICS, _texts
from mapping_lib.lab.registry import CorruptKnowledge, MissingKnowledge, find, locate

COUNTS = {  # sparse, linear algebra, signals, probability, optimisation, images, special
    "scientific": [66, 119, 227, 179, 139, 65, 194],
    "deep-learning": [80, 141, 57, 149, 108, 160, 57],
}


def letters(text):
    return " ".join(re.findall("[a-z]+", text.lower()))


# what there is


@pytest.mark.parametrize("domain", DOMAINS)
def test_every_topic_has_its_texts(domain):
    found = docstrings(domain)
    assert found.labels.bincount().tolist() == COUNTS[domain]
    assert (found.entry, found.domain, found.split) == ("docstrings", domain, "all")
    assert found.classes == tuple(TOPICS)


@pytest.mark.parametrize(
    ("domain", "topic", "text"),
    [
        ("numpy", "Fourier and signals", "Compute the FFT of a signal that has Hermitian symmetr"),
        ("scipy", "linear algebra", "Compute QR decomposition of a matrix. Calculate the dec"),
        ("scipy", "special functions", "Inverse of the regularized incomplete beta function."),
        ("scipy", "sparse matrices", "Solve the sparse linear system Ax=b, where b may be a v"),
        ("scipy", "images", "Multidimensional grayscale closing. A grayscale closing c"),
        ("torch", "linear algebra", "Computes the determinant of a square matrix."),
        ("torch", "special functions", "Computes the Hurwitz zeta function, elementwise."),
        ("torch", "Fourier and signals", "Computes the Hamming window. The Hamming window is d"),
        ("torch", "optimisation", "Decays the learning rate of each parameter group by gamma "),
        ("torchvision", "images", "Adjust contrast of an image."),
        ("tensorflow", "probability", "Outputs random values from a normal distribution."),
        ("keras", "linear algebra", "Computes the Cholesky decomposition of a positive semi-d"),
    ],
)
def test_texts_that_one_knows(domain, topic, text):
    found = docstrings(domain)
    topics = {
        found.classes[label]
        for known, label in zip(found.texts, found.labels, strict=True)
        if known.startswith(text)
    }
    assert topics == {topic}


def test_a_domain_is_its_libraries():
    for domain, libraries in DOMAINS.items():
        parts = [docstrings(library) for library in libraries]
        assert docstrings(domain).texts == sum((part.texts for part in parts), ())
        labels = [label for part in parts for label in part.labels.tolist()]
        assert docstrings(domain).labels.tolist() == labels


def test_again_the_same():
    first = docstrings("scientific").texts
    _texts.cache_clear()
    assert docstrings("scientific").texts == first


def test_every_file_gives_texts_and_has_one_topic():
    entry = find("docstrings")
    assert {file.place for file in entry.files} == set(LIBRARIES)
    for file in entry.files:
        path = f"{file.place}/{file.path}"
        assert [path.startswith(beginnings) for beginnings in TOPICS.values()].count(True) == 1
        assert _texts(locate(entry, file.path)), path
    for beginning in (beginning for beginnings in TOPICS.values() for beginning in beginnings):
        assert any(f"{file.place}/{file.path}".startswith(beginning) for file in entry.files)


# no leaks


def test_no_text_comes_twice():
    texts = [letters(text) for domain in DOMAINS for text in docstrings(domain).texts]
    assert len(texts) == len(set(texts))


def test_hardly_a_text_of_the_target_is_a_copy_with_small_changes():
    source, target = (docstrings(domain).texts for domain in DOMAINS)
    words = TfidfVectorizer(ngram_range=(1, 2)).fit(source + target)
    nearest = (words.transform(target) @ words.transform(source).T).toarray().max(1)
    assert (nearest > 0.9).sum() <= 4


def test_no_path_of_a_name_tells_the_topic():
    paths = re.compile(r"\b(?:numpy|np|scipy|torch|torchvision|tf|tensorflow|keras)\.\w")
    for domain in DOMAINS:
        assert [text for text in docstrings(domain).texts if paths.search(text)] == []


def test_texts_hold_prose_alone():
    marks = re.compile(r"`|::|:\w+:`|>>>|https?:|\n|  |\\|\$|^(Args|Parameters|Returns):")
    for domain in DOMAINS:
        texts = docstrings(domain).texts
        assert [text for text in texts if marks.search(text)] == []
        assert min(len(text.split()) for text in texts) >= 5


# how a docstring is read

MODULE = '''
def seen(x):
    r"""Return :func:`~scipy.linalg.det` of ``x`` [1]_, see the `book <https://a.b>`_.

    .. note::
        This isn't prose.

    The *second* paragraph counts, too: :math:`x^2` is left out.

    >>> seen(1)
    2

    The third one doesn't count.
    """
    def inner():
        """What a function defines inside isn't public."""


def sectioned(x):
    """Keep what stands before the first section.
    Args:
        x: dropped, as are all the words that follow here.
    """


def underlined(x):
    """Keep what stands before the first line.

    Parameters
    ----------
    x : dropped, as are all the words that follow here.
    """


def marked(x):
    """Keep what [Markdown](https://a.b) says of `tf.linalg.det`.

    ```python
    this(is, not, prose, at, all)

    nor(is, this, not, prose)
    ```
    #### Heading
    The words below a heading are left out.
    """


class Seen:
    """A public class has a docstring."""

    def method(self):
        """A public method has one, too."""

    def _method(self):
        """A private method isn't to be seen."""


class _Hidden:
    """A private class isn't to be seen."""

    def method(self):
        """Neither are the methods it has."""


def short(x):
    """Four words are few."""


raise SystemExit("this module was run")
'''

CALLED = '''
given = _add_docstr(_C.given, r"""
given(input, *, out=None) -> Tensor

Written where the function is {named}.
""".format(named="named") + """

This comes after the first string.
""")
_hidden = _add_docstr(_C.hidden, "A private name isn't to be seen.")
add_newdoc("added", """
    added(x, out=None)

    Written beside the function's name.
    """)
add_newdoc("_hidden", "A private name isn't to be seen.")


@_add_docstr(
    """Written above the function itself.""",
    "This comes after the first string.",
)
def decorated(x): ...
'''


def test_what_is_kept_of_a_docstring(tmp_path):
    (tmp_path / "module.py").write_text(MODULE, encoding="utf-8")
    assert _texts(tmp_path / "module.py") == (
        "Return det of x, see the book. The second paragraph counts, too: is left out.",
        "Keep what stands before the first section.",
        "Keep what stands before the first line.",
        "Keep what Markdown says of det.",
        "A public class has a docstring.",
        "A public method has one, too.",
    )


def test_docstrings_given_by_calls(tmp_path):
    (tmp_path / "module.py").write_text(CALLED, encoding="utf-8")
    assert _texts(tmp_path / "module.py") == (
        "Written where the function is {named}.",
        "Written beside the function's name.",
        "Written above the function itself.",
    )


def test_the_libraries_are_read_and_not_imported():
    code = (
        "import sys\n"
        "from mapping_lib.lab.data import docstrings\n"
        "docstrings('deep-learning')\n"
        "print(sorted({'tensorflow', 'keras'} & set(sys.modules)))"
    )
    result = subprocess.run(
        [sys.executable, "-W", "always", "-c", code], capture_output=True, text=True, check=True
    )
    assert result.stdout == "[]\n"
    assert "SyntaxWarning" not in result.stderr


# bad input


def test_unknown_domains():
    with pytest.raises(ValueError, match=r"unknown domain 'sientific'; did you mean 'scientific'"):
        docstrings("sientific")
    with pytest.raises(ValueError, match="unknown domain 'R'; known names: 'deep-learning', 'ke"):
        docstrings("R")


@pytest.fixture
def keras(tmp_path, monkeypatch):
    """A copy of Keras's files that is found first."""
    entry = find("docstrings")
    for file in entry.files:
        if file.place == "keras":
            target = tmp_path / "keras" / file.path
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(locate(entry, file.path), target)
    (tmp_path / "keras" / "__init__.py").touch()
    monkeypatch.delitem(sys.modules, "keras", raising=False)
    monkeypatch.syspath_prepend(tmp_path)
    return tmp_path / "keras"


def test_a_changed_file_is_refused(keras):
    expected = docstrings("keras").texts
    path = keras / "src/ops/linalg.py"
    path.write_bytes(path.read_bytes().replace(b"Cholesky", b"Fholesky"))
    with pytest.raises(CorruptKnowledge, match=r"linalg.py has the SHA-256 .* of 'docstrings'"):
        docstrings("keras")
    path.write_bytes(path.read_bytes().replace(b"Fholesky", b"Cholesky"))
    assert docstrings("keras").texts == expected


def test_a_missing_library_is_named_and_the_others_are_read(monkeypatch):
    monkeypatch.setitem(sys.modules, "keras", None)
    assert docstrings("scientific")
    with pytest.raises(MissingKnowledge, match="package 'keras', which isn't installed"):
        docstrings("deep-learning")
