import hashlib
import http.server
import importlib
import os
import pickle
import subprocess
import sys
import tempfile
import threading
from dataclasses import replace
from importlib.metadata import version
from pathlib import Path

import pytest
import torchvision

from mapping_lib._names import suggest
from mapping_lib.lab import backbones, registry
from mapping_lib.lab.registry import (
    ENTRIES,
    CacheNotWritable,
    CorruptKnowledge,
    DownloadFailed,
    Entry,
    File,
    MissingKnowledge,
    cache_folder,
    check_tier,
    find,
    locate,
)

CONTENT = bytes(range(256)) * 400
SIZE = len(CONTENT)
SHA256 = hashlib.sha256(CONTENT).hexdigest()


def entry(place="data", *, url=None, path="folder/file.bin", sha256=SHA256, size=SIZE):
    return Entry(
        name="thing",
        variant="small",
        tier="real",
        kind="data",
        title="A thing",
        source="https://example.org",
        licence="CC0",
        citation="nobody2000nothing",
        files=(File(path, sha256, size, place),),
        publishable=True,
        obtain="ask nobody",
        fallback="another thing",
        reader="data.thing",
        url=url,
    )


@pytest.fixture
def cache(tmp_path, monkeypatch):
    monkeypatch.setenv("MAPPING_CACHE", str(tmp_path / "cache"))
    monkeypatch.delenv("MAPPING_DATA", raising=False)
    return tmp_path / "cache"


# names


@pytest.mark.parametrize(
    ("unknown", "tail"),
    [
        ("reel", "; did you mean 'real'?"),
        ("BUNDLED", "; did you mean 'bundled'?"),
        ("quux", "; known names: 'bundled', 'full', 'real'"),
    ],
)
def test_suggest(unknown, tail):
    assert suggest(unknown, ["real", "bundled", "full"]) == tail


# the catalogue


def test_names_and_variants_are_unique():
    keys = [(e.name, e.variant) for e in ENTRIES]
    assert len(set(keys)) == len(keys)


@pytest.mark.parametrize("e", ENTRIES, ids=lambda e: e.name)
def test_entries_are_complete(e):
    for words in (e.title, e.source, e.licence, e.citation, e.obtain, e.fallback):
        assert words.strip() == words != ""
    assert e.files
    assert e.size == sum(f.size for f in e.files) > 0
    assert len(e.sha256) == 64
    for f in e.files:
        assert len(f.sha256) == 64
        assert set(f.sha256) <= set("0123456789abcdef")
        assert not Path(f.path).is_absolute()
        assert ".." not in Path(f.path).parts
    assert e.offline == (e.tier == "bundled")
    assert e.url is None or e.url.startswith("https://")
    assert e.url is None or e.url.endswith("/")


@pytest.mark.parametrize("e", ENTRIES, ids=lambda e: e.name)
def test_every_entry_names_its_reader(e):
    module, _, name = e.reader.rpartition(".")
    assert callable(getattr(importlib.import_module(f"mapping_lib.lab.{module}"), name))


@pytest.mark.parametrize("e", [e for e in ENTRIES if e.tier == "bundled"], ids=lambda e: e.name)
def test_everything_bundled_is_here_and_unchanged(e):
    for f in e.files:
        assert locate(e, f.path).stat().st_size == f.size


@pytest.mark.parametrize("name", ["resnet18", "resnet50"])
def test_resnet_file_name_carries_its_hash(name):
    (file,) = find(name).files
    assert file.path == f"{name}-{file.sha256[:8]}.pth"
    assert getattr(torchvision.models, f"ResNet{name[6:]}_Weights").IMAGENET1K_V1.url == (
        f"{find(name).url}{file.path}"
    )


def test_hash_of_a_set_is_that_of_sha256sums_lines():
    e = replace(entry(), files=(File("b", "1" * 64, 1, "data"), File("a", "2" * 64, 2, "data")))
    lines = f"{'1' * 64}  b\n{'2' * 64}  a\n"
    assert e.sha256 == hashlib.sha256(lines.encode()).hexdigest()
    assert e.size == 3


# find


def test_find_by_name_and_variant():
    e = find("hymenoptera")
    assert e.tier == "real"
    assert not e.publishable
    assert find("hymenoptera", variant=e.variant) is e


def test_unknown_names_are_answered_with_the_nearest():
    with pytest.raises(ValueError, match="unknown entry 'hymenopetra'; did you mean 'hymenoptera'"):
        find("hymenopetra")
    with pytest.raises(ValueError, match="unknown entry 'imagenet'; known names: 'amazon-reviews'"):
        find("imagenet")
    with pytest.raises(ValueError, match=r"'resnet18' has no variant 'torchvision'; "):
        find("resnet18", variant="torchvision")
    with pytest.raises(
        ValueError, match=r"has no file 'data/cofee.png'; did you mean 'data/coffee"
    ):
        locate("photographs", "data/cofee.png")
    with pytest.raises(ValueError, match="'photographs' has 20 files: say which"):
        locate("photographs")


def test_tiers():
    assert [check_tier(t) for t in ("bundled", "real", "full")] == ["bundled", "real", "full"]
    with pytest.raises(ValueError, match=r"'bundeld'; did you mean 'bundled'\?"):
        check_tier("bundeld")


# locate


def test_missing_file_says_what_where_and_how(cache):
    with pytest.raises(MissingKnowledge) as caught:
        locate(entry())
    text = str(caught.value)
    assert isinstance(caught.value, FileNotFoundError)
    for words in (
        "'thing' (small) needs the file folder/file.bin",
        f"Looked for: {cache / 'folder/file.bin'}",
        "How to get it: ask nobody.",
        "Instead: another thing.",
    ):
        assert words in text


def test_missing_data_folder_is_named(cache, tmp_path, monkeypatch):
    with pytest.raises(MissingKnowledge, match="MAPPING_DATA isn't set"):
        locate("hymenoptera")
    monkeypatch.setenv("MAPPING_DATA", str(tmp_path))
    with pytest.raises(MissingKnowledge) as caught:
        locate("hymenoptera", download=True)
    assert str(tmp_path / "hymenoptera" / "hymenoptera_data.zip") in str(caught.value)
    assert f"MAPPING_DATA names {tmp_path}, which is empty" in str(caught.value)
    assert "can't be downloaded automatically" in str(caught.value)
    assert "isn't this variant" in str(caught.value)


def test_missing_package_is_named():
    with pytest.raises(MissingKnowledge, match="the package 'no_such_package', which isn't inst"):
        locate(entry("no_such_package"))


def test_a_data_folder_that_is_none(cache, tmp_path, monkeypatch):
    monkeypatch.setenv("MAPPING_DATA", str(tmp_path / "nowhere"))
    with pytest.raises(MissingKnowledge, match=r"nowhere, which isn't a folder"):
        locate("hymenoptera")


def test_files_of_keras_are_found_in_its_folder_too(cache, tmp_path, monkeypatch):
    monkeypatch.setenv("KERAS_HOME", str(tmp_path / "keras"))
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    e = entry("keras-cache", path="file.h5")
    with pytest.raises(MissingKnowledge) as caught:
        locate(e)
    usual = tmp_path / "home" / ".keras" / "models"  # keras_models sets KERAS_HOME to the cache
    own, theirs = cache / "keras" / "models", tmp_path / "keras" / "models"
    looked = "; ".join(str(folder / "file.h5") for folder in (own, theirs, usual))
    assert f"Looked for: {looked}\n" in str(caught.value)
    for folder in (usual, theirs, own):  # ours first
        folder.mkdir(parents=True)
        (folder / "file.h5").write_bytes(CONTENT)
        assert locate(e) == folder / "file.h5"


def test_found_in_the_data_folder(cache, tmp_path, monkeypatch):
    monkeypatch.setenv("MAPPING_DATA", str(tmp_path / "data"))
    path = tmp_path / "data" / "folder" / "file.bin"
    path.parent.mkdir(parents=True)
    path.write_bytes(CONTENT)
    assert locate(entry("data")) == path


def test_wrong_size_and_wrong_hash(cache):
    path = cache / "folder" / "file.bin"
    path.parent.mkdir(parents=True)
    path.write_bytes(CONTENT[:-1])
    with pytest.raises(CorruptKnowledge, match=r"has 102,399 bytes, not the 102,400 of 'thing'"):
        locate(entry())
    path.write_bytes(CONTENT[:-1] + b"x")
    with pytest.raises(CorruptKnowledge, match=f"not the {SHA256} of 'thing' .*Replace it by"):
        locate(entry())


def test_a_file_in_place_of_another_is_named(cache, tmp_path, monkeypatch):
    """Swapped files, also of one size, are recognised by their hashes."""
    first, second = (
        replace(e, name=name, files=(replace(e.files[0], path=name, sha256=sha256),))
        for name, content in (("first", CONTENT), ("second", CONTENT[::-1]))
        for e, sha256 in [(entry(), hashlib.sha256(content).hexdigest())]
    )
    monkeypatch.setattr(registry, "ENTRIES", (first, second))
    cache.mkdir()
    (cache / "first").write_bytes(CONTENT[::-1])
    (cache / "second").write_bytes(CONTENT)
    with pytest.raises(CorruptKnowledge, match=r"of 'first' \(small\): it is second of 'second'"):
        locate("first")
    with pytest.raises(CorruptKnowledge, match=r"of 'second' \(small\): it is first of 'first'"):
        locate("second")


def test_a_hostile_file_in_torchs_cache_is_refused_not_run(tmp_path, monkeypatch):
    """torch.hub trusts any file of the right name; a pickle can run code when it is loaded."""
    monkeypatch.setattr(registry.torch.hub, "get_dir", lambda: str(tmp_path))
    (tmp_path / "checkpoints").mkdir()
    trap = tmp_path / "trapped"
    for name in ("resnet18", "resnet50"):
        (file,) = find(name).files
        content = pickle.dumps(Trap(trap), protocol=2)
        (tmp_path / "checkpoints" / file.path).write_bytes(content)
        with pytest.raises(CorruptKnowledge, match="Remove it and get the right one"):
            getattr(backbones, name)()
        # And should the hash ever be that of a hostile file, torch reads tensors alone.
        known = replace(file, sha256=hashlib.sha256(content).hexdigest(), size=len(content))
        monkeypatch.setattr(registry, "ENTRIES", (replace(find(name), files=(known,)),))
        with pytest.raises(pickle.UnpicklingError, match="Weights only load failed"):
            getattr(backbones, name)()
        monkeypatch.setattr(registry, "ENTRIES", ENTRIES)
    assert not trap.exists()
    pickle.loads(content)
    assert trap.exists()  # the trap was one


class Trap:
    """An object whose unpickling makes a file."""

    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return Path.touch, (self.path,)


def test_a_file_of_another_version_of_a_package(tmp_path, monkeypatch):
    (tmp_path / "some_package").mkdir()
    (tmp_path / "some_package" / "__init__.py").touch()
    (tmp_path / "some_package" / "file.bin").write_bytes(b"newer")
    monkeypatch.syspath_prepend(tmp_path)
    with pytest.raises(CorruptKnowledge) as caught:
        locate(entry("some_package", path="file.bin"))
    assert "ask nobody --force-reinstall --no-deps." in str(caught.value)
    assert "Remove" not in str(caught.value)  # pip would not put it back


@pytest.mark.parametrize("e", [e for e in ENTRIES if e.tier == "bundled"], ids=lambda e: e.name)
def test_what_is_bundled_names_the_version_that_has_its_hash(e):
    command, action, *packages = e.obtain.split()
    assert (command, action) == ("pip", "install")
    if packages == ["."]:  # from the checkout: it comes with the library itself
        assert {f.place for f in e.files} == {"mapping_lib"}
        return
    for package in packages:
        name, pin = package.split("==")
        assert version(name) == pin  # the files are those of this version: see the test above


def test_a_file_is_hashed_once_and_again_when_it_changes(cache, monkeypatch):
    path = cache / "folder" / "file.bin"
    path.parent.mkdir(parents=True)
    path.write_bytes(CONTENT)
    hashed = []
    digest = hashlib.file_digest
    monkeypatch.setattr(
        registry.hashlib, "file_digest", lambda s, n: hashed.append(1) or digest(s, n)
    )
    assert locate(entry()) == locate(entry()) == path
    assert len(hashed) == 1
    path.write_bytes(CONTENT[:-1] + b"x")
    os.utime(path, ns=(0, 0))
    with pytest.raises(CorruptKnowledge):
        locate(entry())


def test_two_variants_of_one_path_are_checked_each(cache):
    path = cache / "folder" / "file.bin"
    path.parent.mkdir(parents=True)
    path.write_bytes(CONTENT)
    assert locate(entry()) == path
    with pytest.raises(CorruptKnowledge):
        locate(entry(sha256="0" * 64))


def test_a_wrong_file_in_torchs_cache_is_not_trusted(tmp_path, monkeypatch):
    monkeypatch.setattr(registry.torch.hub, "get_dir", lambda: str(tmp_path))
    with pytest.raises(MissingKnowledge, match="pass download=True once while online"):
        locate("resnet18")
    path = tmp_path / "checkpoints" / "resnet18-f37072fd.pth"
    path.parent.mkdir()
    path.write_bytes(b"not weights")
    with pytest.raises(CorruptKnowledge, match="has 11 bytes, not the 46,830,571"):
        locate("resnet18")


def test_cache_folder(monkeypatch, tmp_path):
    monkeypatch.setenv("MAPPING_CACHE", str(tmp_path))
    assert cache_folder() == tmp_path
    monkeypatch.delenv("MAPPING_CACHE")
    assert cache_folder().name == "mapping_lib"


# downloads, from a server on this machine


class Handler(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        self.server.requests.append(self.path)
        case = self.path.split("/")[1]
        if case == "refused":
            self.send_error(403)
            return
        self.send_response(200)
        self.send_header("Content-Length", str(len(CONTENT)))
        self.end_headers()
        if case == "torn":
            self.wfile.write(CONTENT[: len(CONTENT) // 2])
        elif case == "wrong":
            self.wfile.write(CONTENT[::-1])
        elif case == "together":
            self.wfile.write(CONTENT[: SIZE // 2])
            self.server.together.wait()
            self.wfile.write(CONTENT[SIZE // 2 :])
        elif case == "stalled":
            self.wfile.write(CONTENT[: SIZE // 2])
            self.server.stalled.set()
            self.server.release.wait(timeout=60)
        else:
            self.wfile.write(CONTENT)

    def log_message(self, *arguments):
        pass


@pytest.fixture
def server():
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.requests = []
    server.stalled = threading.Event()
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    yield server
    server.shutdown()
    thread.join()
    server.server_close()


def address(server, path):
    return f"http://127.0.0.1:{server.server_port}/{path}/"


def files_in(folder):
    return [path for path in folder.rglob("*") if path.is_file()]


def test_download_only_when_asked(cache, server):
    e = entry(url=address(server, "whole"))
    with pytest.raises(MissingKnowledge):
        locate(e)
    assert server.requests == []
    assert not cache.exists()
    path = locate(e, download=True)
    assert path == cache / "folder" / "file.bin"
    assert path.read_bytes() == CONTENT
    assert locate(e, download=True) == path
    assert server.requests == ["/whole/file.bin"]
    assert files_in(cache) == [path]


@pytest.mark.parametrize("path", ["torn", "refused"])
def test_a_download_that_breaks_off_leaves_nothing(cache, server, path):
    e = entry(url=address(server, path))
    with pytest.raises(DownloadFailed) as caught:
        locate(e, download=True)
    text = str(caught.value)
    for words in (
        f"{e.url}file.bin",
        "Nothing was kept",
        str(cache / "folder/file.bin"),
        "Instead: another",
    ):
        assert words in text
    assert files_in(cache) == []


def test_wrong_bytes_from_the_server_are_not_kept(cache, server):
    with pytest.raises(CorruptKnowledge, match=r"sent something else than folder/file.bin"):
        locate(entry(url=address(server, "wrong")), download=True)
    assert files_in(cache) == []


def test_no_network(cache, server):
    url = address(server, "whole")
    server.shutdown()
    server.server_close()
    with pytest.raises(DownloadFailed, match=r"ConnectionError: no network, or the server"):
        locate(entry(url=url), download=True)
    assert files_in(cache) == []


def test_an_interrupt_leaves_nothing(cache, server, monkeypatch):
    def interrupted(self, url, output_file, pooch):
        Path(output_file).write_bytes(CONTENT[:1000])
        raise KeyboardInterrupt

    monkeypatch.setattr(registry.pooch.HTTPDownloader, "__call__", interrupted)
    with pytest.raises(KeyboardInterrupt):
        locate(entry(url=address(server, "whole")), download=True)
    assert files_in(cache) == []


def test_a_full_disk_is_no_network_error(cache, server, monkeypatch):
    def full(self, url, output_file, pooch):
        Path(output_file).write_bytes(CONTENT[:1000])
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(registry.pooch.HTTPDownloader, "__call__", full)
    with pytest.raises(CacheNotWritable, match=r"No space left on device.*Make room"):
        locate(entry(url=address(server, "whole")), download=True)
    assert files_in(cache) == []


def test_two_at_once(cache, server):
    e = entry(url=address(server, "whole"))
    paths = []
    threads = [
        threading.Thread(target=lambda: paths.append(locate(e, download=True))) for _ in range(2)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert paths == [cache / "folder" / "file.bin"] * 2
    assert files_in(cache) == paths[:1]


FETCH = """
import sys
from pathlib import Path
from mapping_lib.lab.registry import Entry, File, locate
sha256, size, url = sys.argv[1:]
fields = dict.fromkeys(("title", "source", "licence", "citation", "obtain", "fallback"), "x")
files = (File("folder/file.bin", sha256, int(size), "data"),)
thing = Entry("thing", "small", "real", "data", files=files, publishable=True, reader="x",
              url=url, **fields)
print(locate(thing, download=True))
"""


def test_two_processes_at_once(cache, server):
    """Both wait until the other has asked, so both write; both get the whole file."""
    server.together = threading.Barrier(2, timeout=60)
    command = [sys.executable, "-c", FETCH, SHA256, str(SIZE), address(server, "together")]
    both = [subprocess.Popen(command, stdout=subprocess.PIPE, text=True) for _ in range(2)]
    printed = [process.communicate(timeout=120)[0].strip() for process in both]
    assert [process.returncode for process in both] == [0, 0]
    assert server.requests == ["/together/file.bin"] * 2
    assert printed == [str(cache / "folder" / "file.bin")] * 2
    assert files_in(cache) == [cache / "folder" / "file.bin"]
    assert files_in(cache)[0].read_bytes() == CONTENT


def test_a_process_killed_in_a_download_leaves_no_file_of_that_name(cache, server):
    server.release = threading.Event()
    command = [sys.executable, "-c", FETCH, SHA256, str(SIZE), address(server, "stalled")]
    process = subprocess.Popen(command)
    server.stalled.wait(timeout=60)
    process.kill()
    process.wait(timeout=60)
    server.release.set()
    assert not (cache / "folder" / "file.bin").exists()
    assert locate(entry(url=address(server, "whole")), download=True).read_bytes() == CONTENT


def test_a_cache_that_cannot_be_made(tmp_path, monkeypatch, server):
    (tmp_path / "file").write_text("in the way")
    monkeypatch.setenv("MAPPING_CACHE", str(tmp_path / "file"))
    with pytest.raises(CacheNotWritable, match=r"can't write folder/file.bin into .*Set MAPPING_C"):
        locate(entry(url=address(server, "whole")), download=True)
    assert server.requests == []


@pytest.mark.skipif(os.name == "nt", reason="folders have other permissions there")
def test_a_read_only_cache(server, monkeypatch):
    with tempfile.TemporaryDirectory() as folder:  # tmp_path is closed to other users
        Path(folder).chmod(0o555)
        monkeypatch.setenv("MAPPING_CACHE", folder)
        user = os.geteuid()
        if user == 0:  # root may write anywhere
            os.seteuid(65534)
        try:
            with pytest.raises(CacheNotWritable, match=r"PermissionError.*Set MAPPING_CACHE"):
                locate(entry(url=address(server, "whole")), download=True)
        finally:
            os.seteuid(user)
    assert server.requests == []


def test_a_write_that_is_refused(cache, server, monkeypatch):
    def refuse(*arguments, **options):
        raise PermissionError("read-only")

    monkeypatch.setattr(registry.pooch.utils, "make_local_storage", refuse)
    with pytest.raises(CacheNotWritable, match=r"\(PermissionError\)"):
        locate(entry(url=address(server, "whole")), download=True)
