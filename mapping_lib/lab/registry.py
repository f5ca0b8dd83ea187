"""Find, check and (only when asked) fetch the files that the book's entries name.

>>> locate("handwritten-digits").name
'digits.csv.gz'
"""

import hashlib
import importlib.util
import os
from pathlib import Path

import pooch
import requests
import torch

from mapping_lib._names import suggest
from mapping_lib.lab.catalogue import ENTRIES, TIERS, Entry, File, Tier
from mapping_lib.lab.machine import shows_progress

__all__ = [
    "ENTRIES",
    "TIERS",
    "CacheNotWritable",
    "CorruptKnowledge",
    "DownloadFailed",
    "Entry",
    "File",
    "MissingKnowledge",
    "Tier",
    "cache_folder",
    "check_tier",
    "find",
    "locate",
]


class MissingKnowledge(FileNotFoundError):  # noqa: N818
    """A file isn't there; the message says which, where it was looked for, how to get it."""


class CorruptKnowledge(ValueError):  # noqa: N818
    """A file is there but isn't the one it should be."""


class DownloadFailed(ConnectionError):  # noqa: N818
    """A download was asked for and didn't succeed; nothing is left behind."""


class CacheNotWritable(PermissionError):  # noqa: N818
    """The folder that a download should go to can't be written to."""


_verified: set[tuple[Path, int, int, str]] = set()  # path, size, time of change, SHA-256


def check_tier(tier: str) -> Tier:
    """Return the tier.

    Parameters
    ----------
    tier
        ``"bundled"``, ``"real"`` or ``"full"``.

    Raises
    ------
    ValueError
        An unknown tier; the message suggests the nearest known one.

    Examples
    --------
    >>> check_tier("bundled")
    'bundled'
    """
    for known in TIERS:
        if tier == known:
            return known
    raise ValueError(f"unknown tier {tier!r}" + suggest(tier, TIERS))


def find(name: str, *, variant: str | None = None) -> Entry:
    """Return the entry of that name: the variant asked for, or the first of them.

    Parameters
    ----------
    name
        Such as ``"photographs"``; the book's data page lists them all.
    variant
        Which form of it, where there are several.

    Raises
    ------
    ValueError
        An unknown name or variant; the message suggests the nearest known one.

    Examples
    --------
    >>> find("photographs").tier, len(find("photographs").files)
    ('bundled', 20)
    """
    named = [entry for entry in ENTRIES if entry.name == name]
    if not named:
        raise ValueError(
            f"unknown entry {name!r}" + suggest(name, {entry.name for entry in ENTRIES})
        )
    if variant is None:
        return named[0]
    for entry in named:
        if entry.variant == variant:
            return entry
    known = [entry.variant for entry in named]
    raise ValueError(f"{name!r} has no variant {variant!r}" + suggest(variant, known))


def cache_folder() -> Path:
    """Folder for downloads: MAPPING_CACHE, or the platform's usual place for caches."""
    chosen = os.environ.get("MAPPING_CACHE")
    return Path(chosen).expanduser() if chosen else Path(pooch.os_cache("mapping_lib"))


def locate(entry: Entry | str, path: str | None = None, *, download: bool = False) -> Path:
    """Return where a file of an entry is, its size and SHA-256 checked.

    A file is hashed once a process, and again when it has changed since. Downloads come from the
    address of the entry, as a temporary file that gets its name when its hash is right: two
    processes may fetch the same file, and an interrupt leaves nothing of it behind.

    Parameters
    ----------
    entry
        An entry or its name.
    path
        Which of the entry's files; may be left out where it has only one.
    download
        Fetch the file if it is missing. Nothing is ever fetched without this.

    Raises
    ------
    MissingKnowledge
        The file isn't there (or ``MAPPING_DATA`` isn't set).
    CorruptKnowledge
        The file has another size or hash, or the server sent something else.
    DownloadFailed
        No network, or the server refused or broke off.
    CacheNotWritable
        The download has nowhere to go.
    """
    if isinstance(entry, str):
        entry = find(entry)
    file = _file(entry, path)
    folders = _folders(file)
    for folder in folders:
        if (folder / file.path).is_file():
            return _verify(entry, file, folder / file.path)
    if download and entry.url is not None:
        return _fetch(entry, file, _download_folder(file))
    raise MissingKnowledge(_missing(entry, file, folders, download))


def _file(entry: Entry, path: str | None) -> File:
    """Return the entry's only file, or the one with that path."""
    if path is None:
        if len(entry.files) == 1:
            return entry.files[0]
        raise ValueError(f"{entry.name!r} has {len(entry.files)} files: say which by its path")
    for file in entry.files:
        if file.path == path:
            return file
    known = [file.path for file in entry.files]
    raise ValueError(f"{entry.name!r} has no file {path!r}" + suggest(path, known))


def _folders(file: File) -> list[Path]:
    """List the folders in which a file may be, in order."""
    if file.place == "data":
        given = os.environ.get("MAPPING_DATA")
        return ([Path(given).expanduser().absolute()] if given else []) + [cache_folder()]
    if file.place == "torch-cache":
        return [_download_folder(file)]
    if file.place == "keras-cache":  # Keras's own folders are looked into, not written to
        theirs = (os.environ.get("KERAS_HOME"), "~/.keras")
        own = [Path(home).expanduser() / "models" for home in theirs if home]
        return list(dict.fromkeys([_download_folder(file), *own]))
    spec = importlib.util.find_spec(file.place)
    return [Path(place) for place in (spec.submodule_search_locations or [])] if spec else []


def _download_folder(file: File) -> Path:
    """Return the folder that a download of this file goes to."""
    if file.place == "torch-cache":
        return Path(torch.hub.get_dir()) / "checkpoints"
    return cache_folder() / "keras" / "models" if file.place == "keras-cache" else cache_folder()


def _missing(entry: Entry, file: File, folders: list[Path], download: bool) -> str:
    """Say what is missing, where it was looked for, how to get it, and what to use instead."""
    places = [str(folder / file.path) for folder in folders]
    if file.place == "data":
        places.append(f"(the environment variable MAPPING_DATA {_data_folder()})")
    if not places:
        places.append(f"the package {file.place!r}, which isn't installed")
    cannot = "It can't be downloaded automatically. " if download else ""
    return (
        f"{entry.name!r} ({entry.variant}) needs the file {file.path}, which isn't there.\n"
        f"Looked for: {'; '.join(places)}\n"
        f"{cannot}How to get it: {entry.obtain}.\n"
        f"Instead: {entry.fallback}."
    )


def _data_folder() -> str:
    """Say what the reader's folder of data is like."""
    given = os.environ.get("MAPPING_DATA")
    if not given:
        return "isn't set"
    folder = Path(given).expanduser().absolute()
    if not folder.is_dir():
        return f"names {folder}, which isn't a folder"
    return f"names {folder}" + ("" if any(folder.iterdir()) else ", which is empty")


def _verify(entry: Entry, file: File, path: Path) -> Path:
    """Return the path if size and hash are right."""
    status = path.stat()
    key = (path, status.st_size, status.st_mtime_ns, file.sha256)
    if key in _verified:
        return path
    with path.open("rb") as stream:
        found = hashlib.file_digest(stream, "sha256").hexdigest()
    if (status.st_size, found) != (file.size, file.sha256):
        raise CorruptKnowledge(_wrong(entry, file, path, status.st_size, found))
    _verified.add(key)
    return path


def _wrong(entry: Entry, file: File, path: Path, size: int, sha256: str) -> str:
    """Say that a file isn't what it should be, what it is if that is known, and what to do."""
    if size != file.size:
        seen, fate = f"{size:,} bytes, not the {file.size:,}", "torn"
    else:
        seen, fate = f"the SHA-256 {sha256}, not the {file.sha256}", "damaged"
    guess = f"it is {fate}, or another variant"
    for other in ENTRIES:
        for known in other.files:
            if known.sha256 == sha256:
                guess = f"it is {known.path} of {other.name!r} ({other.variant})"
    if file.place == "data":
        remedy = f"Replace it by the right one: {entry.obtain}."
    elif file.place in ("torch-cache", "keras-cache"):
        remedy = f"Remove it and get the right one: {entry.obtain}."
    else:  # pip does nothing where it finds the package installed
        remedy = f"Get the right one: {entry.obtain} --force-reinstall --no-deps."
    return f"{path} has {seen} of {entry.name!r} ({entry.variant}): {guess}. {remedy}"


def _fetch(entry: Entry, file: File, folder: Path) -> Path:
    """Download a file; it gets its name only when it is whole and its hash is right."""
    target = folder / file.path
    url = f"{entry.url}{target.name}"
    try:
        pooch.utils.make_local_storage(str(target.parent), env="MAPPING_CACHE")
    except OSError as error:
        raise CacheNotWritable(
            f"can't write {file.path} into {target.parent} ({error.__class__.__name__}). "
            "Set MAPPING_CACHE (for torch's weights TORCH_HOME) to a folder that you may write to."
        ) from error
    downloader = pooch.HTTPDownloader(timeout=30, progressbar=shows_progress())
    try:
        pooch.retrieve(
            url,
            known_hash=f"sha256:{file.sha256}",
            fname=target.name,
            path=target.parent,
            downloader=downloader,
        )
    except ValueError as error:  # pooch: the hash doesn't match; the partial file is gone
        raise CorruptKnowledge(
            f"{url} sent something else than {file.path} of {entry.name!r} (its SHA-256 "
            f"isn't {file.sha256}). Nothing was kept. Try again, or: {entry.obtain}."
        ) from error
    except requests.RequestException as error:
        raise DownloadFailed(
            f"{file.path} of {entry.name!r} could not be downloaded from {url} "
            f"({error.__class__.__name__}: no network, or the server refused or broke off). "
            f"Nothing was kept. How to get it: put the file at {target}.\n"
            f"Instead: {entry.fallback}."
        ) from error
    except OSError as error:
        raise CacheNotWritable(
            f"can't write {file.path} into {target.parent} ({error}). Nothing was kept. "
            "Make room, or set MAPPING_CACHE (for torch's weights TORCH_HOME) to another folder."
        ) from error
    return _verify(entry, file, target)
