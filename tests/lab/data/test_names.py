import pickle
import shutil
import subprocess
import sys

import pytest

from mapping_lib.lab.data import cldr_names
from mapping_lib.lab.data.names import DOMAINS, LANGUAGES
from mapping_lib.lab.registry import MissingKnowledge, find, locate

COUNTS = {  # territories, languages, scripts, currencies
    "de": [294, 644, 150, 303],
    "es": [294, 572, 96, 282],
    "fr": [294, 649, 174, 305],
    "zh": [294, 583, 200, 305],
}


@pytest.mark.parametrize("language", LANGUAGES)
def test_how_many_there_are(language):
    parts = [cldr_names(language, domain=domain) for domain in DOMAINS]
    assert [len(part) for part in parts] == COUNTS[language]
    assert [part.domain for part in parts] == list(DOMAINS)
    together = cldr_names(language)
    assert (together.entry, together.domain, together.split) == ("cldr-names", "cldr-names", "all")
    assert together.languages == ("en", language)
    assert together.sources == sum((part.sources for part in parts), ())
    assert together.targets == sum((part.targets for part in parts), ())


@pytest.mark.parametrize(
    ("language", "domain", "source", "target"),
    [
        ("de", "territories", "Germany", "Deutschland"),
        ("de", "languages", "Arabic", "Arabisch"),
        ("fr", "territories", "United Kingdom", "Royaume-Uni"),
        ("fr", "currencies", "Swiss Franc", "franc suisse"),
        ("es", "languages", "Dutch", "neerlandés"),
        ("zh", "territories", "China", "中国"),
        ("zh", "scripts", "Arabic", "阿拉伯文"),
        ("zh", "languages", "Arabic", "阿拉伯语"),
    ],
)
def test_names_that_one_knows(language, domain, source, target):
    names = cldr_names(language, domain=domain)
    assert target in [b for a, b in zip(names.sources, names.targets, strict=True) if a == source]


@pytest.mark.parametrize("language", LANGUAGES)
def test_no_pair_comes_twice(language):
    names = cldr_names(language)
    pairs = list(zip(names.sources, names.targets, strict=True))
    assert len(pairs) == len(set(pairs))


def test_what_the_docstring_says_of_equal_names():
    german, chinese = (
        list(zip(names.sources, names.targets, strict=True))
        for names in (cldr_names("de"), cldr_names("zh"))
    )
    assert sum(a == b for a, b in german) / len(german) == pytest.approx(1 / 3, abs=0.02)
    assert not any(a == b for a, b in chinese)
    assert {b for a, b in german if a == "Tamil"} == {"Tamil", "Tamilisch"}
    assert "Arabic" in cldr_names("de", domain="languages").sources
    assert "Arabic" not in cldr_names("de", domain="scripts").sources


# files


@pytest.fixture
def babel(tmp_path):
    """A copy of Babel with the data that the entry names, and a way to read names from it."""
    entry = find("cldr-names")
    source = locate(entry, "global.dat").parent
    ignored = shutil.ignore_patterns("locale-data", "__pycache__")
    shutil.copytree(source, tmp_path / "babel", ignore=ignored)
    (tmp_path / "babel" / "locale-data").mkdir()
    for file in entry.files:
        shutil.copy(source / file.path, tmp_path / "babel" / file.path)

    def read(language="fr"):
        code = (
            f"import sys; sys.path.insert(0, {str(tmp_path)!r})\n"
            "from mapping_lib.lab.data import cldr_names\n"
            "assert 'babel' not in sys.modules\n"
            f"print(cldr_names({language!r}))\n"
            f"assert sys.modules['babel'].__file__.startswith({str(tmp_path)!r})"
        )
        return subprocess.run(
            [sys.executable, "-c", code], capture_output=True, text=True, check=False, cwd=tmp_path
        )

    return read


@pytest.mark.parametrize("language", LANGUAGES)
def test_babel_needs_no_other_files(babel, language):
    result = babel(language)
    assert (result.stderr, result.returncode) == ("", 0)
    assert result.stdout == f"{cldr_names(language)}\n"


class Bomb:
    """What unpickles into a file that shows it."""

    def __reduce__(self):
        return open, ("it-ran", "w")


@pytest.mark.parametrize("name", ["global", "locale-data/root", "locale-data/en", "locale-data/fr"])
def test_code_in_the_data_does_not_run(babel, tmp_path, monkeypatch, name):
    monkeypatch.chdir(tmp_path)
    hostile = pickle.dumps(Bomb())
    (tmp_path / "babel" / f"{name}.dat").write_bytes(hostile)
    result = babel()
    assert "CorruptKnowledge" in result.stderr
    assert f"{name}.dat has" in result.stderr
    assert not (tmp_path / "it-ran").exists()
    pickle.loads(hostile).close()  # and it would have
    assert (tmp_path / "it-ran").exists()


def test_a_missing_package_is_named(monkeypatch):
    monkeypatch.setitem(sys.modules, "babel", None)
    with pytest.raises(MissingKnowledge, match="package 'babel', which isn't installed"):
        cldr_names("fr")


# bad input


def test_unknown_languages_and_domains():
    with pytest.raises(ValueError, match="unknown language 'en'; known names: 'de', 'es', 'fr', "):
        cldr_names("en")
    with pytest.raises(ValueError, match=r"unknown language 'zh_CN'"):
        cldr_names("zh_CN")
    with pytest.raises(ValueError, match=r"unknown domain 'script'; did you mean 'scripts'\?"):
        cldr_names("de", domain="script")
