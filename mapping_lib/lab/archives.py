"""Read archives and packed texts without writing anything: what is damaged or hostile is refused.

Members are read into memory and never unpacked, so no archive can write outside a folder. Names
that would, links, devices and bombs are refused all the same: who packs them isn't to be trusted
with the rest.
"""

import bz2
import gzip
import tarfile
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path, PurePosixPath, PureWindowsPath

from mapping_lib.lab.registry import CorruptKnowledge

Members = dict[PurePosixPath, bytes]
LIMIT = 2**30  # bytes that an archive may unpack to; the largest of the book has 60 MB


@contextmanager
def reading(path: Path, what: str) -> Iterator[None]:
    """Turn every error that damaged content raises into one that names the file.

    Parameters
    ----------
    path
        The file that is read inside the block.
    what
        What it should be, in words: "a zip archive of pictures".

    Raises
    ------
    CorruptKnowledge
        Whatever was raised inside; one of its own passes unchanged.

    Examples
    --------
    >>> with reading(Path("torn.csv"), "a table of numbers"):
    ...     float("1,5")
    Traceback (most recent call last):
    mapping_lib.lab.registry.CorruptKnowledge: torn.csv can't be read as a table of numbers \
(ValueError: could not convert string to float: '1,5'): it is damaged, or something else
    """
    try:
        yield
    except (CorruptKnowledge, MemoryError):
        raise
    except Exception as error:  # decoders meet damage with any kind of error
        first, *_ = str(error).splitlines() or [""]
        reason = f"{type(error).__name__}: {first}".removesuffix(": ")
        raise CorruptKnowledge(
            f"{path} can't be read as {what} ({reason}): it is damaged, or something else"
        ) from error


def members(path: Path) -> Members:
    """Read all files of a zip or tar archive, sorted by their names.

    Parameters
    ----------
    path
        A ``.zip``, or a tar packed with gzip, bzip2, xz or not at all.

    Raises
    ------
    CorruptKnowledge
        The archive is damaged or empty, a member is a link or a device or would land outside the
        folder that the archive is unpacked in, or all together are larger than a gibibyte.
    """
    with reading(path, "an archive"):
        with path.open("rb") as stream:
            is_zip = stream.read(2) == b"PK"  # also when its end is torn off
        found = _zip_members(path) if is_zip else _tar_members(path)
    if not found:
        raise CorruptKnowledge(f"{path} is an archive without files")
    return dict(sorted(found.items()))


def lines(path: Path) -> list[str]:
    """Read the lines of a UTF-8 text that is packed with gzip, without their ends.

    Parameters
    ----------
    path
        A ``.gz`` file.

    Raises
    ------
    CorruptKnowledge
        The file is damaged, not UTF-8, or unpacks to more than a gibibyte.
    """
    with reading(path, "a packed text"), gzip.open(path) as stream:
        content = stream.read(LIMIT + 1)
        _check_size(path, len(content))
        # Not splitlines, which also cuts at the rare separators that stand inside texts.
        return content.decode("utf-8").removesuffix("\n").split("\n")


def unpacked(path: Path) -> bytes:
    """Read a file packed with gzip or bzip2, by its ending.

    Parameters
    ----------
    path
        A ``.gz`` or ``.bz2`` file.

    Raises
    ------
    CorruptKnowledge
        The file is damaged, or unpacks to more than a gibibyte.
    """
    with reading(path, "a packed file"):
        with bz2.open(path) if path.suffix == ".bz2" else gzip.open(path) as stream:
            content = stream.read(LIMIT + 1)
        _check_size(path, len(content))
        return content


def _zip_members(path: Path) -> Members:
    with zipfile.ZipFile(path) as archive:
        held = [member for member in archive.infolist() if not member.is_dir()]
        _check_size(path, sum(member.file_size for member in held))
        return {_inside(path, member.filename): archive.read(member) for member in held}


def _tar_members(path: Path) -> Members:
    found: Members = {}
    total = 0
    with tarfile.open(path) as archive:  # one pass: packed archives can't be read in any order
        for member in archive:
            if member.isdir():
                continue
            name = _inside(path, member.name)
            stream = archive.extractfile(member) if member.isfile() else None
            if stream is None:
                raise CorruptKnowledge(
                    f"{path} holds {member.name!r}, a link or a device where a file is due: "
                    "nothing of it was used"
                )
            total += member.size
            _check_size(path, total)
            found[name] = stream.read()
    return found


def _inside(path: Path, name: str) -> PurePosixPath:
    """Return a member's path, which must stay below the folder it would be unpacked in."""
    inner = PurePosixPath(name.replace("\\", "/"))
    if inner.is_absolute() or ".." in inner.parts or PureWindowsPath(name).drive:
        raise CorruptKnowledge(
            f"{path} holds {name!r}, which would land outside its folder: nothing of it was used"
        )
    return inner


def _check_size(path: Path, size: int) -> None:
    """Refuse what would fill the memory."""
    if size > LIMIT:
        raise CorruptKnowledge(
            f"{path} unpacks to more than {LIMIT:,} bytes, which no file of the book does: "
            "nothing of it was used"
        )
