import errno
import gc
import mmap
import os
import stat

import pytest

from overwinter.bundle import private
from overwinter.bundle.private import PrivateFiles, private_copy
from overwinter.errors import IntegrityError, OverwinterError

TEXTS = {"model.onnx": b"abc" * 1000, "sub/empty": b"", "sub/deeper/table.json": b"{}"}


@pytest.fixture(params=["memory", "disk", "disk without O_TMPFILE"])
def kept(request, monkeypatch):
    if request.param.startswith("disk"):
        monkeypatch.setattr(private, "_SMALL_BYTES", 0)
        monkeypatch.setattr(private, "available_bytes", lambda: 0)
    if request.param == "disk without O_TMPFILE":
        monkeypatch.setattr(os, "open", _without_tmpfile(os.open))
    files = PrivateFiles({name: len(text) for name, text in TEXTS.items()})
    for name, text in TEXTS.items():
        files.prepare(name, 0, len(text))
        files.store(name, memoryview(text), 0)
    files.freeze()
    return files


def _without_tmpfile(real):
    def opened(path, flags, *rest, **others):
        if flags & os.O_TMPFILE == os.O_TMPFILE:
            raise OSError(errno.EOPNOTSUPP, "no such thing here")
        return real(path, flags, *rest, **others)

    return opened


def test_they_are_a_folder_of_what_was_stored(kept):
    assert {name: (kept.folder / name).read_bytes() for name in TEXTS} == TEXTS
    assert stat.S_IMODE(kept.folder.stat().st_mode) == 0o700
    assert {stat.S_IMODE((kept.folder / name).stat().st_mode) for name in TEXTS} == {0o400}


def test_in_memory_no_one_can_change_them(kept):
    if not kept._in_memory:
        pytest.skip("root may write any file on a disk; this one has no name")
    path = kept.folder / "model.onnx"
    for change in (lambda: path.write_bytes(b"x"), lambda: os.truncate(path, 0), lambda: os.truncate(path, 1 << 20)):
        with pytest.raises(PermissionError):
            change()
    with pytest.raises(OverwinterError, match="no space in memory"):
        kept.store("model.onnx", memoryview(b"x"), 0)


def test_nothing_of_them_has_a_name_on_the_disk(kept):
    for name in TEXTS:
        assert not (kept.folder / name).readlink().readlink().exists()


def test_what_is_mapped_outlives_them(kept):
    folder = kept.folder
    with (folder / "model.onnx").open("rb") as stream:
        mapped = mmap.mmap(stream.fileno(), 0, prot=mmap.PROT_READ)
    kept.release("sub")
    assert [path.name for path in folder.rglob("*") if path.is_file()] == ["model.onnx"]
    kept.release()
    assert not folder.exists()
    assert bytes(mapped) == TEXTS["model.onnx"]


def test_they_go_with_anyone_who_has_them():
    gc.collect()
    files = PrivateFiles({"a": 1})
    folder, before = files.folder, len(os.listdir("/proc/self/fd"))
    del files
    gc.collect()
    assert not folder.exists()
    assert len(os.listdir("/proc/self/fd")) == before - 1


def test_names_that_fit_into_no_folder_leave_nothing_behind(tmp_path, monkeypatch):
    monkeypatch.setattr(private, "_MEMORY", tmp_path)
    with pytest.raises(IntegrityError, match="'a/b' cannot be a file in a folder"):
        PrivateFiles({"a": 1, "a/b": 1})
    assert list(tmp_path.iterdir()) == []


def test_where_there_is_no_room_it_says_so(monkeypatch):
    monkeypatch.setattr(private, "_SMALL_BYTES", 0)
    monkeypatch.setattr(private, "available_bytes", lambda: 0)
    with pytest.raises(OverwinterError, match=r"no space in .*set TMPDIR"):
        PrivateFiles({"a": 1 << 60})


def test_large_files_in_a_small_memory_go_to_the_disk_unless_they_must_not(monkeypatch):
    monkeypatch.setattr(private, "available_bytes", lambda: 100 << 20)
    sizes = {"a": 60 << 20}
    assert not PrivateFiles(sizes)._in_memory
    assert PrivateFiles(sizes, memory_only=True)._in_memory
    assert PrivateFiles({"a": 40 << 20})._in_memory


def test_a_copy_is_what_was_there(tmp_path):
    (tmp_path / "bundle.sealed").write_bytes(b"was there")
    copy = private_copy(tmp_path / "bundle.sealed")
    (tmp_path / "bundle.sealed").write_bytes(b"is there now")
    assert (copy.folder / "bundle.sealed").read_bytes() == b"was there"


def test_only_plain_files_are_copied(tmp_path):
    os.mkfifo(tmp_path / "pipe")
    for name in ("pipe", ".", "none"):
        with pytest.raises(IntegrityError, match="cannot be read"):
            private_copy(tmp_path / name)
