"""Digests of what stages read: right after every change, and hashed once until the next."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest

from overwinter.files import tree_digest
from overwinter.pipeline import contents
from overwinter.pipeline.contents import CONTENTS_FILE, Contents


@pytest.fixture
def hashed(monkeypatch: pytest.MonkeyPatch) -> list[Path]:
    """Every path whose content was read."""
    read: list[Path] = []

    def noted(path: Path) -> str:
        read.append(path)
        return tree_digest(path)

    monkeypatch.setattr(contents, "tree_digest", noted)
    monkeypatch.setattr(contents, "_KNOWN", {})
    return read


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    made = tmp_path / "data"
    (made / "inner").mkdir(parents=True)
    (made / "a.csv").write_text("1,2\n")
    (made / "inner" / "b.csv").write_text("3,4\n")
    return made


def _change(folder: Path) -> None:
    (folder / "a.csv").write_text("9,2\n")  # the same size


def _add(folder: Path) -> None:
    (folder / "c.csv").touch()


def _rename(folder: Path) -> None:
    (folder / "a.csv").rename(folder / "z.csv")


def _remove(folder: Path) -> None:
    shutil.rmtree(folder / "inner")


@pytest.mark.parametrize("change", [_change, _add, _rename, _remove])
def test_every_change_of_a_folder_is_seen_by_the_next_command(folder, tmp_path, hashed, change):
    before = Contents(tmp_path).digest(folder)
    assert before == tree_digest(folder)
    change(folder)
    assert Contents(tmp_path).digest(folder) == tree_digest(folder) != before


def test_what_does_not_change_is_read_once_in_a_process(folder, tmp_path, hashed):
    assert len({Contents(tmp_path).digest(folder) for _ in range(3)}) == 1
    assert hashed == [folder]


def test_pythons_caches_do_not_count(folder, tmp_path, hashed):
    before = Contents(tmp_path).digest(folder)
    (folder / "__pycache__").mkdir()
    (folder / "__pycache__" / "a.pyc").touch()
    assert Contents(tmp_path).digest(folder) == before
    assert hashed == [folder]


def test_what_does_not_exist_has_an_empty_digest(tmp_path, hashed):
    assert Contents(tmp_path).digest(tmp_path / "missing") == ""


def test_a_large_file_is_read_once_in_many_processes(tmp_path, hashed, monkeypatch):
    large = tmp_path / "large.bin"
    large.write_bytes(bytes(1 << 20))
    first = Contents(tmp_path / "state").digest(large)
    monkeypatch.setattr(contents, "_KNOWN", {})  # another process
    assert Contents(tmp_path / "state").digest(large) == first
    assert hashed == [large]
    large.write_bytes(b"\1" * (1 << 20))
    assert Contents(tmp_path / "state").digest(large) == tree_digest(large) != first


@pytest.mark.parametrize("damaged", ["{", "[]", json.dumps({"x": 1, "y": ["a", 2]})])
def test_a_damaged_list_of_digests_is_written_anew(tmp_path, hashed, damaged):
    large = tmp_path / "large.bin"
    large.write_bytes(bytes(1 << 20))
    (tmp_path / CONTENTS_FILE).write_text(damaged)
    assert Contents(tmp_path).digest(large) == tree_digest(large)
    assert list(json.loads((tmp_path / CONTENTS_FILE).read_text())) == [str(large)]
