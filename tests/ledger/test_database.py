"""The file under the ledger: WAL, forks, replacement, corruption, full and read-only disks."""

from __future__ import annotations

import os
import shutil
import sqlite3
import subprocess
from contextlib import closing
from pathlib import Path
from typing import IO

import pytest

from overwinter.ledger import Filter, Ledger
from overwinter.ledger import database as module


def corrupted(path: Path) -> list[Path]:
    return sorted(path.parent.glob("ledger.corrupted-*.sqlite"))


def damage(path: Path, at: int = 0, size: int = 64) -> None:
    with path.open("r+b") as stream:
        stream.seek(at)
        stream.write(b"\xa5" * size)


def test_the_journal_is_wal_and_heartbeats_do_not_wait_for_the_disk(ledger: Ledger, path: Path, begin):
    begin(ledger).heartbeat(energy_j=1.0)
    with closing(sqlite3.connect(path)) as other:
        assert other.execute("PRAGMA journal_mode").fetchone()[0] == "wal"
    assert ledger.journal_reason == ""
    assert path.with_name("ledger.sqlite-wal").exists()


def test_on_a_network_file_system_the_journal_is_another_and_it_says_so(
    ledger: Ledger, path: Path, messages, begin, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(module, "_file_system", lambda folder: "nfs4")
    begin(ledger).finish(status="done", exit_code=0)
    with closing(sqlite3.connect(path)) as other:
        assert other.execute("PRAGMA journal_mode").fetchone()[0] == "delete"
    assert "nfs4" in ledger.journal_reason
    assert len(messages.texts) == 1
    assert "network file system (nfs4)" in messages.texts[0]
    assert [each.status for each in ledger.executions()] == ["done"]


def test_the_file_system_of_a_folder_is_found():
    assert module._file_system(Path("/proc")) == "proc"


def test_a_forked_child_opens_its_own(ledger: Ledger, begin):
    mine = begin(ledger)
    inherited = ledger._database._session.connection
    pid = os.fork()
    if pid == 0:
        status = 1
        try:
            begin(ledger, stage="child").finish(status="done", exit_code=0)
            status = 0 if ledger._database._session.connection is not inherited else 2
            ledger.close()
        finally:
            os._exit(status)
    assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 0
    mine.finish(status="done", exit_code=0)
    assert [(each.stage, each.status) for each in ledger.executions()] == [
        ("train", "done"),
        ("child", "done"),
    ]


def test_a_ledger_deleted_under_us_is_begun_again_with_what_we_know(ledger: Ledger, path: Path, begin):
    execution = begin(ledger)
    for each in path.parent.iterdir():
        each.unlink()
    execution.heartbeat(energy_j=5.0)
    (record,) = ledger.executions()
    assert (record.id, record.energy_j) == (execution.id, 5.0)


def test_a_corrupted_file_is_quarantined_and_a_new_one_begun(ledger: Ledger, path: Path, messages, begin):
    begin(ledger).finish(status="done", exit_code=0)
    ledger.close()
    damage(path)
    broken = path.read_bytes()
    begin(ledger, stage="sparsify").finish(status="done", exit_code=0)
    assert [each.stage for each in ledger.executions()] == ["sparsify"]
    (quarantined,) = corrupted(path)
    assert quarantined.read_bytes() == broken
    assert len(messages.texts) == 1
    assert quarantined.name in messages.texts[0]
    assert "corrupted" in messages.texts[0]


def test_corruption_in_the_middle_of_a_run_loses_nothing_of_the_run(ledger: Ledger, path: Path, messages, begin):
    execution = begin(ledger)
    execution.heartbeat(energy_j=5.0)
    with closing(sqlite3.connect(path)) as other:
        other.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    damage(path, at=4096, size=path.stat().st_size - 4096)
    with Ledger.open(path, log=messages) as other_ledger:
        begin(other_ledger, stage="sparsify")
    execution.heartbeat(energy_j=6.0)
    execution.finish(status="done", exit_code=0)
    assert {each.stage: each.energy_j for each in ledger.executions()} == {"sparsify": None, "train": 6.0}
    assert len(corrupted(path)) == 1


def test_of_two_that_find_it_corrupted_one_keeps_it_aside(path: Path, messages, begin):
    with Ledger.open(path, log=messages) as one, Ledger.open(path, log=messages) as other:
        begin(one)
        begin(other)
        one.close()
        other.close()
        damage(path)
        begin(one, stage="one")
        begin(other, stage="other")
        assert [each.stage for each in other.executions()] == ["one", "other"]
    assert len(corrupted(path)) == 1


def test_the_new_ledger_is_not_mistaken_for_the_corrupted_one(ledger: Ledger, path: Path, messages, begin):
    """Found corrupted by two at once: the slower one must not put the quicker one's new ledger aside."""
    begin(ledger)
    before = module._file_identity(path)
    path.rename(path.with_name("ledger.corrupted-by-hand.sqlite"))
    begin(ledger, stage="sparsify")
    ledger._database._quarantine(before, sqlite3.DatabaseError("malformed"))
    assert [each.stage for each in ledger.executions()] == ["sparsify"]
    assert messages.texts == []


def test_an_empty_file_is_no_corruption(ledger: Ledger, path: Path, messages, begin):
    path.parent.mkdir()
    path.touch()
    begin(ledger)
    assert len(ledger.executions()) == 1
    assert messages.texts == []


def test_a_text_file_in_its_place_is_quarantined(ledger: Ledger, path: Path, begin):
    path.parent.mkdir()
    path.write_text("this is no database, and long enough to be sure of it" * 20, encoding="utf-8")
    begin(ledger)
    assert len(ledger.executions()) == 1
    assert corrupted(path)[0].read_text(encoding="utf-8").startswith("this is no database")


@pytest.mark.parametrize(("missed", "warned"), [(2, False), (3, True)])
def test_a_locked_file_is_no_corruption_and_a_warning_only_if_it_stays_locked(
    ledger: Ledger, path: Path, messages, begin, missed: int, warned: bool
):
    execution = begin(ledger)
    with closing(sqlite3.connect(path, isolation_level=None)) as other:
        other.execute("BEGIN IMMEDIATE")
        for number in range(missed):
            execution.heartbeat(energy_j=1.0 + number)  # each gives up after half a second
        other.execute("COMMIT")
    execution.heartbeat(energy_j=5.0)
    assert ledger.executions()[0].energy_j == 5.0
    assert ["Another process keeps it locked" in text for text in messages.texts] == [True] * warned


def test_a_folder_that_is_a_file_stops_nothing(tmp_path: Path, messages, begin):
    (tmp_path / "file").touch()
    with Ledger.open(tmp_path / "file" / "ledger.sqlite", log=messages) as ledger:
        ledger.reap()
        execution = begin(ledger)
        execution.heartbeat(energy_j=1.0)
        execution.heartbeat(energy_j=2.0)
        assert ledger.spent(run_id="run-1").energy_j == 0
    assert len(messages.texts) == 1
    assert "The work continues" in messages.texts[0]


@pytest.mark.special
def test_on_a_full_disk_the_work_goes_on_and_the_record_is_made_up_for(small_disk: Path, messages, begin):
    path, filler = small_disk / "ledger.sqlite", small_disk / "filler"
    with Ledger.open(path, log=messages) as ledger:
        begin(ledger).finish(status="done", exit_code=0)
        fill(filler)
        execution = begin(ledger, stage="sparsify")
        for number in range(200):
            execution.heartbeat(energy_j=float(number))
        assert len(messages.texts) == 1
        assert "full" in messages.texts[0]
        assert [each.stage for each in ledger.executions()] == ["train"]
        filler.unlink()
        execution.heartbeat(energy_j=200.0)
        execution.finish(status="done", exit_code=0)
        assert [(each.stage, each.energy_j) for each in ledger.executions()] == [
            ("train", None),
            ("sparsify", 200.0),
        ]


@pytest.mark.special
def test_a_final_record_that_found_no_place_is_taken_up_later(
    small_disk: Path, tmp_path: Path, messages, begin, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr("overwinter.ledger.execution._FINISH_DELAYS_S", (0.0, 0.01))
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    path, filler = small_disk / "ledger.sqlite", small_disk / "filler"
    with Ledger.open(path, log=messages) as ledger:
        begin(ledger).finish(status="done", exit_code=0)
        fill(filler)
        begin(ledger, stage="sparsify").finish(status="failed", exit_code=1, message="x" * 10_000)
        (kept,) = tmp_path.glob("overwinter-*.unrecorded.jsonl")  # the disk itself has no room for it
        beside = path.with_name("ledger.sqlite.unrecorded.jsonl")
        assert f"It was saved to {kept}. Move that file to {beside}" in messages.texts[-1]
        filler.unlink()
        shutil.move(kept, beside)
        begin(ledger, stage="quantize")
        assert {each.stage: each.status for each in ledger.executions()} == {
            "train": "done",
            "sparsify": "failed",
            "quantize": "running",
        }


@pytest.mark.special
def test_a_read_only_disk_can_be_read_and_stops_nothing(small_disk: Path, messages, begin):
    path = small_disk / "ledger.sqlite"
    with Ledger.open(path, log=messages) as ledger:
        begin(ledger).finish(status="done", exit_code=0)
    subprocess.run(["mount", "-o", "remount,ro", str(small_disk)], check=True)
    with Ledger.open(path, log=messages) as ledger:
        begin(ledger, stage="sparsify").heartbeat(energy_j=1.0)
        assert [each.stage for each in ledger.executions(Filter(status="done"))] == ["train"]
    assert len(messages.texts) == 1
    assert "The work continues" in messages.texts[0]


def fill(filler: Path) -> None:
    with filler.open("wb", buffering=0) as stream, pytest.raises(OSError, match="No space"):
        endlessly(stream)


def endlessly(stream: IO[bytes]) -> None:
    while True:
        stream.write(b"x" * 512)
