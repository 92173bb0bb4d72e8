"""The tables, their migrations, and rows that come back as they went in."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from dataclasses import asdict
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from overwinter.ledger import Ledger
from overwinter.ledger.execution import insert
from overwinter.ledger.schema import COLUMNS, MIGRATIONS, migrate, to_record, to_row, to_text

_moments = st.datetimes(timezones=st.sampled_from([UTC]))
_figures = st.none() | st.floats(allow_nan=False, allow_infinity=False)
_documents = st.none() | st.dictionaries(st.text(), st.integers() | st.text() | st.lists(st.booleans()))


def database() -> sqlite3.Connection:
    connection = sqlite3.connect(":memory:", isolation_level=None)
    connection.row_factory = sqlite3.Row
    return connection


def columns(connection: sqlite3.Connection) -> list[str]:
    return [row["name"] for row in connection.execute("PRAGMA table_info(executions)")]


def test_the_table_has_a_column_for_every_field_of_a_record():
    with closing(database()) as connection:
        migrate(connection)
        assert columns(connection) == list(COLUMNS)


def test_migrating_again_changes_nothing():
    with closing(database()) as connection:
        migrate(connection)
        migrate(connection)
        assert connection.execute("PRAGMA user_version").fetchone()[0] == len(MIGRATIONS)


def test_an_older_ledger_keeps_its_rows_and_gets_the_new_column(record):
    with closing(database()) as connection:
        migrate(connection)
        insert(connection, [to_row(asdict(record(pid=1, process_start=2, boot_id="b", pid_namespace="n")))])
        migrate(connection, (*MIGRATIONS, ("ALTER TABLE executions ADD COLUMN region TEXT",)))
        assert columns(connection)[-1] == "region"
        assert connection.execute("SELECT stage, region FROM executions").fetchone()[:] == ("train", None)


def test_a_failing_migration_leaves_the_ledger_as_it_was():
    with closing(database()) as connection:
        migrate(connection)
        before = columns(connection)
        broken = (*MIGRATIONS, ("ALTER TABLE executions ADD COLUMN region TEXT", "SELECT * FROM nowhere"))
        with pytest.raises(sqlite3.OperationalError, match="nowhere"):
            migrate(connection, broken)
        assert columns(connection) == before
        assert connection.execute("PRAGMA user_version").fetchone()[0] == len(MIGRATIONS)


def test_a_program_of_yesterday_writes_a_ledger_of_tomorrow(path: Path, begin):
    path.parent.mkdir()
    with closing(sqlite3.connect(path, isolation_level=None)) as connection:
        migrate(connection, (*MIGRATIONS, ("ALTER TABLE executions ADD COLUMN region TEXT DEFAULT 'north'",)))
    with Ledger.open(path) as ledger:
        execution = begin(ledger)
        execution.heartbeat(energy_j=3.0)
        execution.finish(status="done", exit_code=0)
        assert [each.status for each in ledger.executions()] == ["done"]
    with closing(sqlite3.connect(path)) as connection:
        assert connection.execute("PRAGMA user_version").fetchone()[0] == len(MIGRATIONS) + 1


@given(
    started=_moments,
    ended=st.none() | _moments,
    energy_j=_figures,
    energy=_documents,
    message=st.none() | st.text(),
)
def test_a_record_comes_back_as_it_went_in(record, started, ended, energy_j, energy, message):
    message = message if message is None else message.replace("\x00", "").encode("utf-8", "ignore").decode()
    given_record = record(
        started_utc=started, ended_utc=ended, energy_j=energy_j, energy=energy, message=message,
        pid=1, process_start=2, boot_id="b", pid_namespace="n",
    )  # fmt: skip
    with closing(database()) as connection:
        migrate(connection)
        insert(connection, [to_row(asdict(given_record))])
        assert to_record(connection.execute("SELECT * FROM executions").fetchone()) == given_record


@given(_moments, _moments)
def test_the_order_of_texts_is_the_order_of_times(one, other):
    assert (to_text(one) < to_text(other)) == (one < other)


def test_a_time_of_another_zone_is_kept_in_utc():
    moment = datetime.fromisoformat("2026-07-01T12:00:00+02:00")
    assert to_text(moment) == "2026-07-01T10:00:00.000000+00:00"
    assert datetime.fromisoformat(to_text(moment)) - moment == timedelta(0)
