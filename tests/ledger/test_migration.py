"""A ledger that an earlier version wrote is migrated when it is opened, by several processes at once too."""

from __future__ import annotations

import sqlite3
import subprocess
import sys
from contextlib import closing
from pathlib import Path

import pytest

from overwinter.ledger import Filter, Ledger, Origin
from overwinter.ledger.schema import MIGRATIONS

BEGIN_ONE = """
import sys
from pathlib import Path
from overwinter.ledger import Ledger, Origin

with Ledger.open(Path(sys.argv[1])) as ledger:
    ledger.begin(stage="train", run_id="new", configuration_key="k", origin=Origin(project="p", person=sys.argv[2]))
"""


@pytest.fixture
def old(path: Path) -> Path:
    path.parent.mkdir()
    with closing(sqlite3.connect(path)) as connection:
        connection.executescript(Path(__file__).with_name("schema_2.sql").read_text())
    return path


def test_what_it_held_stays_and_new_rows_say_whose_they_are(old: Path, begin, messages):
    with Ledger.open(old, log=messages) as ledger:
        (first,) = ledger.executions()
        assert (first.stage, first.energy_j, first.inputs, first.host) == ("train", 60.0, {"data": "d"}, "vm")
        assert (first.project, first.person, first.prefix_key) == (None, None, None)
        begin(ledger, prefix_key="p", origin=Origin(project="winter", person="Ada <ada@example.org>"))
        (second,) = ledger.executions(Filter(project="winter"))
        assert (second.person, second.prefix_key) == ("Ada <ada@example.org>", "p")
    with closing(sqlite3.connect(old)) as connection:
        assert connection.execute("PRAGMA user_version").fetchone() == (len(MIGRATIONS),)
    assert messages.texts == []


def test_several_processes_may_be_the_first_to_open_it(old: Path):
    command = [sys.executable, "-c", BEGIN_ONE, str(old)]
    processes = [subprocess.Popen([*command, f"person-{number}"]) for number in range(4)]
    assert [process.wait(60) for process in processes] == [0] * 4
    with Ledger.open(old) as ledger:
        assert {each.person for each in ledger.executions()} == {None, *(f"person-{number}" for number in range(4))}


def test_on_a_read_only_disk_it_is_read_as_it_is(old: Path, monkeypatch: pytest.MonkeyPatch):
    def refused(_self: object, _session: object) -> None:
        raise sqlite3.OperationalError("attempt to write a readonly database")

    with Ledger.open(old) as ledger:
        monkeypatch.setattr("overwinter.ledger.database.Database._writable", refused)
        assert [(each.stage, each.project) for each in ledger.executions()] == [("train", None)]
        assert ledger.executions(Filter(project="winter")) == []
