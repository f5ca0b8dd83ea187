import bz2
import gzip
import io
import tarfile
import zipfile
from pathlib import PurePosixPath

import pytest

from mapping_lib.lab import archives
from mapping_lib.lab.archives import lines, members, reading, unpacked
from mapping_lib.lab.registry import CorruptKnowledge


def write_zip(path, files):
    with zipfile.ZipFile(path, "w") as archive:
        for name, content in files.items():
            archive.writestr(name, content)
    return path


def write_tar(path, files, mode="w:gz", **special):
    with tarfile.open(path, mode) as archive:
        for name, content in files.items():
            member = tarfile.TarInfo(name)
            member.size = len(content)
            for field, value in special.items():
                setattr(member, field, value)
            archive.addfile(member, io.BytesIO(content))
    return path


@pytest.mark.parametrize("mode", ["w", "w:gz", "w:bz2", "w:xz"])
def test_members_of_a_tar(tmp_path, mode):
    path = write_tar(tmp_path / "a.tar", {"b/2": b"two", "b/1": b"one"}, mode)
    assert members(path) == {PurePosixPath("b/1"): b"one", PurePosixPath("b/2"): b"two"}
    assert [str(name) for name in members(path)] == ["b/1", "b/2"]


def test_members_of_a_zip_leave_folders_out(tmp_path):
    path = write_zip(tmp_path / "a.zip", {"b/": b"", "b/1": b"one"})
    assert members(path) == {PurePosixPath("b/1"): b"one"}


OUTSIDE = ["../evil", "b/../../evil", "/etc/evil", "..\\evil", "C:\\evil", "C:evil"]


@pytest.mark.parametrize("name", OUTSIDE)
@pytest.mark.parametrize("write", [write_zip, write_tar])
def test_paths_outside_the_folder_are_refused(tmp_path, write, name):
    path = write(tmp_path / "a.bin", {"good": b"1", name: b"2"})
    with pytest.raises(CorruptKnowledge, match=r"would land outside its folder: nothing of it was"):
        members(path)
    assert list(tmp_path.iterdir()) == [path]


@pytest.mark.parametrize("kind", [tarfile.SYMTYPE, tarfile.LNKTYPE, tarfile.CHRTYPE])
def test_links_and_devices_are_refused(tmp_path, kind):
    path = write_tar(tmp_path / "a.tar", {"b": b""}, type=kind, linkname="/etc/passwd")
    with pytest.raises(CorruptKnowledge, match="holds 'b', a link or a device"):
        members(path)


@pytest.mark.parametrize("write", [write_zip, write_tar])
def test_an_archive_that_would_fill_the_memory(tmp_path, write, monkeypatch):
    path = write(tmp_path / "a.bin", {"b": bytes(600), "c": bytes(600)})
    members(path)
    monkeypatch.setattr(archives, "LIMIT", 1000)
    with pytest.raises(CorruptKnowledge, match="unpacks to more than 1,000 bytes"):
        members(path)


@pytest.mark.parametrize("write", [write_zip, write_tar])
def test_a_torn_archive(tmp_path, write):
    files = {f"b/{k}": bytes(range(256)) * k for k in range(9)}
    path = write(tmp_path / "a.bin", files)
    path.write_bytes(path.read_bytes()[:-100])
    with pytest.raises(CorruptKnowledge, match=r"a.bin can't be read as an archive \(.*damaged"):
        members(path)


@pytest.mark.parametrize("write", [write_zip, write_tar])
def test_an_archive_without_files(tmp_path, write):
    with pytest.raises(CorruptKnowledge, match="an archive without files"):
        members(write(tmp_path / "a.bin", {}))


def test_something_else(tmp_path):
    path = tmp_path / "a.zip"
    path.write_bytes(b"<html>not found</html>")
    with pytest.raises(CorruptKnowledge, match="can't be read as an archive"):
        members(path)


# packed texts


def test_lines_are_cut_at_line_feeds_alone(tmp_path):
    path = tmp_path / "a.gz"
    path.write_bytes(gzip.compress("a\u2028b\x0cc\näöü\n\nd\n".encode()))
    assert lines(path) == ["a\u2028b\x0cc", "äöü", "", "d"]


@pytest.mark.parametrize(
    "damage",
    [lambda c: c[:-9], lambda c: c[:20] + b"\0\0\0" + c[23:], lambda c: b"no gzip"],
)
def test_torn_lines(tmp_path, damage):
    path = tmp_path / "a.gz"
    path.write_bytes(damage(gzip.compress(bytes(range(128)) * 9)))
    with pytest.raises(CorruptKnowledge, match=r"a.gz can't be read as a packed text"):
        lines(path)


def test_lines_of_another_encoding(tmp_path):
    path = tmp_path / "a.gz"
    path.write_bytes(gzip.compress("ä".encode("latin-1")))
    with pytest.raises(CorruptKnowledge, match="UnicodeDecodeError"):
        lines(path)


def test_unpacked_by_its_ending(tmp_path, monkeypatch):
    for name, pack in (("a.gz", gzip.compress), ("a.bz2", bz2.compress)):
        (tmp_path / name).write_bytes(pack(b"content"))
        assert unpacked(tmp_path / name) == b"content"
    monkeypatch.setattr(archives, "LIMIT", 5)
    for read in (unpacked, lines):
        with pytest.raises(CorruptKnowledge, match="unpacks to more than 5 bytes"):
            read(tmp_path / "a.gz")


# errors


def test_only_damage_becomes_an_error_of_the_registry(tmp_path):
    for error in (MemoryError(), CorruptKnowledge("as it was"), KeyboardInterrupt()):
        with pytest.raises(type(error)) as caught, reading(tmp_path, "a text"):
            raise error
        assert caught.value is error
