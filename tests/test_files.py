import errno
import os

import pytest

from overwinter import files
from overwinter.errors import IntegrityError, OverwinterError


def test_a_file_is_replaced_whole(tmp_path):
    path = tmp_path / "deep" / "a.json"
    files.write_json(path, {"a": 1})
    files.write_json(path, {"a": 2})
    assert files.read_json(path, remedy="-") == {"a": 2}
    assert os.listdir(path.parent) == ["a.json"]


def test_a_failed_write_keeps_the_old_file_and_nothing_else(tmp_path):
    path = tmp_path / "a.txt"
    files.write_text(path, "old")
    with pytest.raises(ZeroDivisionError), files.replacing(path) as staging:
        staging.write_text(str(1 / 0))
    assert path.read_text() == "old"
    assert os.listdir(tmp_path) == ["a.txt"]


@pytest.mark.parametrize(
    ("number", "word"),
    [(errno.ENOSPC, "space"), (errno.EROFS, "permissions"), (errno.EIO, "cannot be written")],
)
def test_a_disk_error_becomes_one_message_that_names_the_file(tmp_path, number, word):
    path = tmp_path / "a.txt"
    with pytest.raises(OverwinterError, match=word) as caught, files.replacing(path):
        raise OSError(number, os.strerror(number))
    assert "a.txt" in str(caught.value)
    assert os.listdir(tmp_path) == []


def test_json_has_no_nan(tmp_path):
    with pytest.raises(ValueError, match="not JSON compliant"):
        files.write_json(tmp_path / "a.json", {"loss": float("nan")})
    assert os.listdir(tmp_path) == []


@pytest.mark.parametrize("content", [None, "", "{", '{"a": 1'])
def test_missing_or_truncated_json_is_an_integrity_error_with_the_remedy(tmp_path, content):
    path = tmp_path / "a.json"
    if content is not None:
        path.write_text(content)
    with pytest.raises(IntegrityError, match="Run `dvc repro`"):
        files.read_json(path, remedy="Run `dvc repro`.")


def test_sha256_is_the_standard_one(tmp_path):
    (tmp_path / "a").write_bytes(b"abc")
    assert files.sha256(tmp_path / "a") == "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"


def test_the_mask_of_a_credential_s_access_list_is_not_a_group_permission(tmp_path, monkeypatch):
    secret = tmp_path / "token"
    monkeypatch.delenv("CREDENTIALS_DIRECTORY", raising=False)
    assert [files.open_to_others(secret, mode) for mode in (0o100600, 0o100440, 0o100604)] == [False, True, True]
    monkeypatch.setenv("CREDENTIALS_DIRECTORY", str(tmp_path))
    assert [files.open_to_others(secret, mode) for mode in (0o100400, 0o100440, 0o100444)] == [False, False, True]
    assert files.open_to_others(tmp_path.parent / "token", 0o100440)
