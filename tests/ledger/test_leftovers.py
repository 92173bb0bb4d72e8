"""Records saved next to a ledger that cannot be written."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest

from overwinter.ledger import leftovers


def test_rows_are_given_back_in_order_and_then_forgotten(tmp_path: Path):
    ledger = tmp_path / "ledger.sqlite"
    for number in range(3):
        assert leftovers.keep(ledger, {"id": str(number)}) == leftovers.leftovers_path(ledger)
    with leftovers.taking(ledger) as rows:
        assert [row["id"] for row in rows] == ["0", "1", "2"]
    assert not leftovers.leftovers_path(ledger).exists()


def test_rows_stay_when_they_could_not_be_recorded(tmp_path: Path):
    ledger = tmp_path / "ledger.sqlite"
    leftovers.keep(ledger, {"id": "0"})
    with pytest.raises(OSError, match="full"), leftovers.taking(ledger):
        raise OSError("full")
    with leftovers.taking(ledger) as rows:
        assert rows == [{"id": "0"}]


def test_a_line_cut_short_is_left_out(tmp_path: Path):
    ledger = tmp_path / "ledger.sqlite"
    leftovers.leftovers_path(ledger).write_text('{"id": "0"}\n{"id": "1", "sta', encoding="utf-8")
    with leftovers.taking(ledger) as rows:
        assert rows == [{"id": "0"}]


def test_where_the_folder_is_gone_the_temporary_folder_keeps_them(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    kept = leftovers.keep(tmp_path / "gone" / "ledger.sqlite", {"id": "7"})
    assert kept is not None
    assert kept.parent == tmp_path
    assert json.loads(kept.read_text(encoding="utf-8")) == {"id": "7"}


def test_nothing_is_lost_between_many_that_keep_and_one_that_takes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path / "nowhere"))
    ledger, children, each = tmp_path / "ledger.sqlite", 4, 30
    pids = []
    for child in range(children):
        if (pid := os.fork()) == 0:
            for number in range(each):
                leftovers.keep(ledger, {"id": f"{child}-{number}"})
            os._exit(0)
        pids.append(pid)
    taken: list[str] = []
    while pids:
        with leftovers.taking(ledger) as rows:
            taken += [row["id"] for row in rows]
        pids = [pid for pid in pids if os.waitpid(pid, os.WNOHANG)[0] == 0]
    with leftovers.taking(ledger) as rows:
        taken += [row["id"] for row in rows]
    assert sorted(taken) == sorted(f"{child}-{number}" for child in range(children) for number in range(each))
