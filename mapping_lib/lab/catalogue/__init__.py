"""Every data set and every set of weights that the book uses, one entry a variant.

The entries stand in ``bundled.toml``, ``real.toml`` and ``full.toml`` beside this module, a file a
tier. An entry says where its files belong, what they must hash to, how to get them, whether their
content may be shown, what reads it, and what a reader without it gets instead.
:mod:`mapping_lib.lab.registry` finds, checks and fetches them; the book's data page is made from
this list.
"""

import hashlib
import tomllib
from collections.abc import Iterator
from dataclasses import dataclass
from importlib.resources import files
from typing import Any, Literal, get_args

Tier = Literal["bundled", "real", "full"]
Kind = Literal["data", "weights"]
TIERS: tuple[Tier, ...] = get_args(Tier)


@dataclass(frozen=True)
class File:
    """One file: its path below its place, its SHA-256 and its size in bytes.

    ``place`` is the name of an installed package, or one of ``"data"`` (the folder that the
    environment variable MAPPING_DATA names, then the cache), ``"torch-cache"`` (torch's
    hub cache) and ``"keras-cache"`` (Keras's cache of models).
    """

    path: str
    sha256: str
    size: int
    place: str


@dataclass(frozen=True)
class Entry:
    """One variant of a data set or of a set of weights.

    Attributes
    ----------
    name, variant
        The name that :func:`mapping_lib.lab.registry.find` takes, and which form of it this is.
    tier
        ``"bundled"`` comes with the pinned packages, ``"real"`` has to be put into a folder,
        ``"full"`` is a large original that its own library would download.
    kind, title, source, licence, citation
        What it is, where it comes from, its terms, and its key in ``book/references.bib``.
    files
        What must be there.
    publishable
        Whether its content (an image, a sentence) may appear in outputs; numbers always may.
    obtain, fallback
        How to get it, and what a reader without it gets instead.
    reader
        The function of ``mapping_lib.lab`` that reads it, such as ``"data.mnist"``.
    url
        The address, up to and with the last slash, under which its files may be downloaded on
        request by their names; None where that isn't possible.
    """

    name: str
    variant: str
    tier: Tier
    kind: Kind
    title: str
    source: str
    licence: str
    citation: str
    files: tuple[File, ...]
    publishable: bool
    obtain: str
    fallback: str
    reader: str
    url: str | None = None

    @property
    def offline(self) -> bool:
        """Whether it is there without a network once ``requirements.txt`` is installed."""
        return self.tier == "bundled"

    @property
    def size(self) -> int:
        """Bytes of all its files."""
        return sum(file.size for file in self.files)

    @property
    def sha256(self) -> str:
        """Hash of its file, or, of several, of the lines that ``sha256sum`` prints for them."""
        if len(self.files) == 1:
            return self.files[0].sha256
        lines = "".join(f"{file.sha256}  {file.path}\n" for file in self.files)
        return hashlib.sha256(lines.encode()).hexdigest()


def _entries() -> Iterator[Entry]:
    """Read the entries of all tiers."""
    for tier in TIERS:
        text = files(__name__).joinpath(f"{tier}.toml").read_text(encoding="utf-8")
        for fields in tomllib.loads(text)["entry"]:
            yield Entry(tier=tier, **(fields | {"files": _files(fields["files"])}))


def _files(places: dict[str, Any]) -> tuple[File, ...]:
    """Read lines of "path size sha256", a block for each place."""
    return tuple(
        File(path, sha256, int(size), place)
        for place, block in places.items()
        for path, size, sha256 in (line.split() for line in block.strip().splitlines())
    )


ENTRIES: tuple[Entry, ...] = tuple(_entries())
