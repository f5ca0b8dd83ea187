"""A folder of data for the readers: small files, which the registry takes for the right ones."""

import hashlib
from dataclasses import replace

import pytest

from mapping_lib.lab import registry
from mapping_lib.lab.registry import File, find


@pytest.fixture
def plant(tmp_path, monkeypatch):
    """Write files under MAPPING_DATA, and give an entry their hashes."""
    folder = tmp_path / "data"
    folder.mkdir()
    monkeypatch.setenv("MAPPING_DATA", str(folder))

    def write(name, files):
        known = []
        for path, content in files.items():
            target = folder / path
            target.parent.mkdir(parents=True, exist_ok=True)
            target.write_bytes(content)
            sha256 = hashlib.sha256(content).hexdigest()
            known.append(File(path, sha256, len(content), "data"))
        entry = replace(find(name), files=tuple(known))
        monkeypatch.setattr(registry, "ENTRIES", (entry,))
        return folder

    return write
