"""Copies of data at fsspec addresses: fetched once per version, and verified."""

import fsspec
import pytest

from overwinter import copies
from overwinter.data import data_path
from overwinter.errors import ConfigError, IntegrityError


@pytest.fixture
def memory(monkeypatch, tmp_path):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    files = fsspec.filesystem("memory")
    files.store.clear()
    files.pipe({"/set/a.txt": b"one", "/set/deep/b.txt": b"two"})
    return files


@pytest.fixture
def fetched(monkeypatch):
    places = []
    real = copies.fetch
    monkeypatch.setattr(
        copies, "fetch", lambda place, *rest, **named: places.append(place) or real(place, *rest, **named)
    )
    return places


def test_a_path_is_itself(tmp_path):
    assert data_path(str(tmp_path)) == tmp_path
    assert data_path(f"file://{tmp_path}") == tmp_path
    with pytest.raises(ConfigError, match=r"data\.root=.* does not exist"):
        data_path(f"file://{tmp_path}/none")


def test_a_folder_is_fetched_once_per_version(memory, fetched):
    folder = data_path("memory://set")
    assert (folder / "a.txt").read_bytes() == b"one"
    assert (folder / "deep" / "b.txt").read_bytes() == b"two"
    assert data_path("memory://set") == folder
    assert len(fetched) == 1
    memory.pipe("/set/a.txt", b"three")
    assert (data_path("memory://set") / "a.txt").read_bytes() == b"three"
    assert (folder / "a.txt").read_bytes() == b"one"


def test_a_file_keeps_its_name(memory):
    path = data_path("memory://set/a.txt")
    assert (path.name, path.read_bytes()) == ("a.txt", b"one")


@pytest.mark.parametrize("damage", [lambda path: path.write_bytes(b"0ne"), lambda path: path.unlink()])
def test_a_damaged_copy_is_fetched_again(memory, fetched, damage):
    damage(data_path("memory://set") / "a.txt")
    assert (data_path("memory://set") / "a.txt").read_bytes() == b"one"
    assert len(fetched) == 2


def test_what_changes_while_it_is_fetched_is_refused(memory, monkeypatch):
    real = type(memory).get

    def changed(self, *words, **named):
        real(self, *words, **named)
        self.pipe("/set/a.txt", b"another")

    monkeypatch.setattr(type(memory), "get", changed)
    with pytest.raises(IntegrityError, match="changed while it was fetched"):
        data_path("memory://set")


def test_a_name_that_leads_out_of_the_folder_is_refused(memory):
    memory.store["/set/../../evil.txt"] = memory.store["/set/a.txt"]
    with pytest.raises(ConfigError, match="outside of the folder"):
        data_path("memory://set")
