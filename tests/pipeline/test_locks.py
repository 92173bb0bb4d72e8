import fcntl
import os
import signal
import subprocess
import sys

import pytest

from overwinter.errors import OverwinterError
from overwinter.pipeline import locks

_HOLDER = """
import pathlib, sys, time
from overwinter.pipeline.locks import locked
with locked(pathlib.Path(sys.argv[1]), what="outputs/train"):
    print("held", flush=True)
    time.sleep(60)
"""


@pytest.fixture
def holder(tmp_path):
    process = subprocess.Popen(
        [sys.executable, "-c", _HOLDER, str(tmp_path / "lock")], stdout=subprocess.PIPE, text=True
    )
    assert process.stdout.readline() == "held\n"
    yield process
    process.kill()
    process.wait()
    process.stdout.close()


def test_a_second_writer_is_refused_and_reported_who_holds_it(tmp_path, holder, monkeypatch):
    monkeypatch.setattr(locks, "_PATIENCE_S", 0.2)
    with (
        pytest.raises(OverwinterError, match=f"process {holder.pid}"),
        locks.locked(tmp_path / "lock", what="outputs/train"),
    ):
        pass


def test_a_killed_holder_lets_go(tmp_path, holder):
    os.kill(holder.pid, signal.SIGKILL)
    with locks.locked(tmp_path / "lock", what="outputs/train"):
        assert (tmp_path / "lock").read_text() == f"{os.getpid()}\n"


@pytest.fixture
def dvc_locks(tmp_path):
    folder = tmp_path / ".dvc" / "tmp"
    folder.mkdir(parents=True)
    return folder / "rwlock"


@pytest.mark.parametrize("cut_short", ["", '{"write": {"/pro'])
def test_a_list_of_dvc_s_that_a_kill_cut_short_is_removed(tmp_path, dvc_locks, cut_short):
    dvc_locks.write_text(cut_short)
    assert locks.repair_dvc_rwlock(tmp_path)
    assert not dvc_locks.exists()


@pytest.mark.parametrize("whole", [None, "{}", '{"read": {}, "write": {}}'])
def test_a_whole_list_stays(tmp_path, dvc_locks, whole):
    if whole is not None:
        dvc_locks.write_text(whole)
    assert not locks.repair_dvc_rwlock(tmp_path)
    assert dvc_locks.exists() == (whole is not None)


def test_a_list_that_dvc_is_writing_stays(tmp_path, dvc_locks):
    dvc_locks.write_text("")
    with dvc_locks.with_name("rwlock.lock").open("w") as guard:
        fcntl.flock(guard, fcntl.LOCK_EX)
        assert not locks.repair_dvc_rwlock(tmp_path)
    assert dvc_locks.exists()


def test_dvc_still_guards_its_list_with_the_lock_that_is_taken_here(tmp_path):
    from dvc import rwlock
    from dvc.fs import localfs

    with (
        rwlock._edit_rwlock(str(tmp_path), localfs, hardlink=False),
        (tmp_path / rwlock.RWLOCK_LOCK).open("a") as guard,
        pytest.raises(BlockingIOError),
    ):
        fcntl.flock(guard, fcntl.LOCK_EX | fcntl.LOCK_NB)
    assert rwlock.RWLOCK_FILE == "rwlock"


@pytest.mark.parametrize(
    "cut_short",
    [
        "",
        "schema",
        "schema: '2.0'\nstages:\n",
        "schema: '2.0'\nstages:\n  train:\n    cm",
        "schema: '2.0'\nstages:\n  train:\n    cmd: [",
        "\x00\x01",
    ],
)
def test_a_dvc_lock_that_a_kill_cut_short_is_quarantined(tmp_path, cut_short):
    (tmp_path / "dvc.lock").write_text(cut_short)
    assert locks.repair_dvc_lock(tmp_path)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["dvc.lock.broken"]


@pytest.mark.parametrize("whole", [None, "schema: '2.0'\nstages: {}\n", "schema: '2.0'\nstages: {a: {cmd: b}}\n"])
def test_a_whole_dvc_lock_stays(tmp_path, whole):
    if whole is not None:
        (tmp_path / "dvc.lock").write_text(whole)
    assert not locks.repair_dvc_lock(tmp_path)
    assert (tmp_path / "dvc.lock").exists() == (whole is not None)


_WORKER = """
import pathlib, sys, time
from overwinter.pipeline.locks import locked_in_turn
for _ in range(20):
    with locked_in_turn(pathlib.Path(sys.argv[1]), on_wait=print):
        mine = pathlib.Path(sys.argv[2])
        mine.touch(exist_ok=False)  # fails while another one is inside
        time.sleep(0.002)
        mine.unlink()
"""


def test_those_who_wait_for_their_turn_are_never_two_at_once(tmp_path):
    """The file is removed after each turn: who opened the removed one must not think that it holds the lock."""
    command = [sys.executable, "-c", _WORKER.replace("time.sleep(0.002)", "time.sleep(0)"), str(tmp_path / "lock")]
    workers = [subprocess.Popen([*command, str(tmp_path / "inside")]) for _ in range(3)]
    assert [worker.wait(timeout=60) for worker in workers] == [0, 0, 0]
    assert not (tmp_path / "lock").exists()


def test_who_waits_is_reported_the_holder_and_then_gets_the_lock(tmp_path, holder, monkeypatch):
    monkeypatch.setattr(locks, "_SILENT_S", 0.0)
    reported = []

    def report(pid):
        reported.append(pid)
        holder.kill()

    with locks.locked_in_turn(tmp_path / "lock", on_wait=report) as waited:
        assert waited
    assert reported == [str(holder.pid)]


def test_a_lock_that_is_free_is_taken_without_waiting(tmp_path, holder):
    with locks.locked_if_free(tmp_path / "lock") as held:
        assert not held
    with locks.locked_if_free(tmp_path / "other") as held, locks.locked_in_turn(tmp_path / "third", on_wait=print):
        assert held
    assert [path.name for path in tmp_path.iterdir()] == ["lock"]
