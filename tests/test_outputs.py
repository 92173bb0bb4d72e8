"""Output files that the user names: links, pipes and devices are followed, and regular files keep their metadata."""

from __future__ import annotations

import argparse
import os
import stat
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from overwinter.errors import OverwinterError
from overwinter.outputs import OutputError, check_output, check_output_folder, output_path, write_output

ROOT = os.geteuid() == 0


def written(path: Path, content: str = "new\n") -> None:
    check_output(path)
    write_output(path, content)


def test_a_new_file_follows_the_umask(tmp_path: Path) -> None:
    before = os.umask(0o027)
    try:
        written(tmp_path / "new.json")
    finally:
        os.umask(before)
    assert (tmp_path / "new.json").read_text() == "new\n"
    assert stat.S_IMODE((tmp_path / "new.json").stat().st_mode) == 0o640
    assert [path.name for path in tmp_path.iterdir()] == ["new.json"]


def test_an_old_file_keeps_its_mode_and_owner(tmp_path: Path) -> None:
    path = tmp_path / "old.json"
    path.write_text("old")
    path.chmod(0o606)
    if ROOT:
        os.chown(path, 12, 34)
    written(path)
    found = path.stat()
    assert path.read_text() == "new\n"
    assert stat.S_IMODE(found.st_mode) == 0o606
    if ROOT:
        assert (found.st_uid, found.st_gid) == (12, 34)


def test_a_link_stays_and_its_target_is_written(tmp_path: Path) -> None:
    (tmp_path / "far").mkdir()
    (tmp_path / "far" / "target").write_text("old")
    (tmp_path / "second").symlink_to("far/target")
    (tmp_path / "first").symlink_to(tmp_path / "second")
    written(tmp_path / "first")
    assert (tmp_path / "first").is_symlink()
    assert (tmp_path / "second").is_symlink()
    assert (tmp_path / "far" / "target").read_text() == "new\n"


def test_a_dangling_link_creates_its_target(tmp_path: Path) -> None:
    (tmp_path / "link").symlink_to("later")
    written(tmp_path / "link")
    assert (tmp_path / "later").read_text() == "new\n"


def test_hard_links_stay_one_file(tmp_path: Path) -> None:
    (tmp_path / "one").write_text("old and longer")
    (tmp_path / "two").hardlink_to(tmp_path / "one")
    written(tmp_path / "one")
    assert (tmp_path / "two").read_text() == "new\n"


def test_a_link_through_another_folder_s_dots(tmp_path: Path) -> None:
    (tmp_path / "deep" / "er").mkdir(parents=True)
    (tmp_path / "link").symlink_to("deep/er")
    written(tmp_path / "link" / ".." / "file")
    assert (tmp_path / "deep" / "file").read_text() == "new\n"


@pytest.mark.parametrize("name", ["/dev/null", "/dev/zero"])
def test_a_device_stays_a_device(name: str) -> None:
    before = Path(name).stat()
    written(Path(name))
    assert stat.S_ISCHR(Path(name).stat().st_mode)
    assert Path(name).stat().st_rdev == before.st_rdev


def test_a_link_to_a_device(tmp_path: Path) -> None:
    (tmp_path / "nothing").symlink_to("/dev/null")
    written(tmp_path / "nothing")
    assert (tmp_path / "nothing").is_symlink()
    assert stat.S_ISCHR(Path("/dev/null").stat().st_mode)


def test_a_named_pipe_whose_reader_comes_later(tmp_path: Path) -> None:
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    check_output(pipe)
    read: list[str] = []
    reader = threading.Timer(0.3, lambda: read.append(pipe.read_text()))
    reader.start()
    write_output(pipe, "x" * 200_000)
    reader.join()
    assert read == ["x" * 200_000]
    assert stat.S_ISFIFO(pipe.stat().st_mode)


def test_a_named_pipe_without_a_reader(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("overwinter.outputs._READER_TIMEOUT_S", 0.1)
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(OverwinterError, match="pipe"):
        write_output(tmp_path / "pipe", "new")


def test_a_full_device_is_reported() -> None:
    check_output(Path("/dev/full"))
    with pytest.raises(OverwinterError, match="No space left"):
        write_output(Path("/dev/full"), "new")


def test_standard_output_is_not_truncated(tmp_path: Path) -> None:
    code = (
        "from pathlib import Path\n"
        "from overwinter.outputs import check_output, write_output\n"
        "print('before', flush=True)\n"
        "for name in ('/dev/stdout', '/dev/fd/1', '/proc/self/fd/1'):\n"
        "    check_output(Path(name)); write_output(Path(name), 'x\\n')\n"
        "print('after')\n"
    )
    with (tmp_path / "all").open("w") as stream:
        subprocess.run([sys.executable, "-c", code], stdout=stream, check=True)
    assert (tmp_path / "all").read_text() == "before\nx\nx\nx\nafter\n"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "before\nx\nx\nx\nafter\n"


def test_a_descriptor_that_is_not_open() -> None:
    with pytest.raises(OutputError, match="/dev/fd/987"):
        check_output(Path("/dev/fd/987"))


@pytest.mark.parametrize("name", ["missing/file", "folder", "file/below", "loop", "n" * 300])
def test_an_unwritable_path_is_detected_beforehand(tmp_path: Path, name: str) -> None:
    (tmp_path / "folder").mkdir()
    (tmp_path / "file").write_text("old")
    (tmp_path / "loop").symlink_to("loop")
    before = sorted(tmp_path.rglob("*"))
    with pytest.raises(OutputError, match="cannot be written"):
        check_output(tmp_path / name)
    assert sorted(tmp_path.rglob("*")) == before


def test_a_long_name_that_the_disk_allows(tmp_path: Path) -> None:
    written(tmp_path / ("n" * 255))
    assert (tmp_path / ("n" * 255)).read_text() == "new\n"


@pytest.mark.skipif(ROOT, reason="root may write everywhere")
def test_paths_without_write_permission(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("old")
    (tmp_path / "file").chmod(0o444)
    with pytest.raises(OutputError, match="Permission denied"):
        check_output(tmp_path / "file")
    (tmp_path / "file").chmod(0o644)
    tmp_path.chmod(0o555)
    try:
        written(tmp_path / "file")  # the folder takes no new file, and this one is written in place
        with pytest.raises(OutputError, match="Permission denied"):
            check_output(tmp_path / "other")
    finally:
        tmp_path.chmod(0o755)
    assert (tmp_path / "file").read_text() == "new\n"


@pytest.mark.parametrize("text", ["", "folder/"])
def test_text_that_does_not_name_a_file(text: str) -> None:
    with pytest.raises(argparse.ArgumentTypeError, match="is not the name of a file"):
        output_path(text)


def test_a_folder_may_exist_or_not_and_is_left_as_it_was(tmp_path: Path) -> None:
    check_output_folder(tmp_path)
    check_output_folder(tmp_path / "new" / "deep")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("name", ["file", "file/below", "link"])
def test_what_cannot_be_a_folder_is_said_without_a_number(tmp_path: Path, name: str) -> None:
    (tmp_path / "file").touch()
    (tmp_path / "link").symlink_to("nowhere")
    said = "link is no folder" if name == "link" else "file is a file"
    with pytest.raises(OutputError, match=rf"{said}\. Name another folder\."):
        check_output_folder(tmp_path / name)
