import json

import pytest

from overwinter.bundle import read_bundle
from overwinter.errors import OverwinterError


def test_files_are_for_the_owner_only(whole):
    assert {path.stat().st_mode & 0o777 for path in whole.rglob("*") if path.is_file()} == {0o600}
    assert {path.stat().st_mode & 0o777 for path in [whole, *whole.rglob("*")] if path.is_dir()} == {0o700}


def test_equal_contents_have_equal_bytes(tmp_path, write, whole):
    assert write(tmp_path / "again").digest == read_bundle(whole).digest


def test_what_is_not_known_takes_no_place(whole):
    content = json.loads((whole / "bundle.json").read_text())
    assert not {"licence", "notes"} & set(content)


def test_licence_notes_and_extras_come_along(tmp_path, write):
    extras = tmp_path / "extras"
    extras.mkdir()
    (extras / "tokenizer.json").write_text("{}")
    bundle = write(tmp_path / "bundle", extras=extras, licence="Apache-2.0", notes="for tests")
    assert (bundle.licence, bundle.notes) == ("Apache-2.0", "for tests")
    assert (bundle.extras / "tokenizer.json").read_text() == "{}"
    assert (bundle.extras / "tokenizer.json").stat().st_mode & 0o777 == 0o600


def test_an_occupied_folder_is_left_alone(tmp_path, write):
    (tmp_path / "notes.txt").write_text("mine")
    with pytest.raises(OverwinterError, match="is not empty"):
        write(tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["notes.txt"]


def test_nothing_is_left_of_a_bundle_that_could_not_be_written(tmp_path, write, monkeypatch):
    def fail(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("overwinter.bundle.writing._copy_private", fail)
    with pytest.raises(OverwinterError, match="No space left"):
        write(tmp_path / "bundle")
    assert list(tmp_path.iterdir()) == []
