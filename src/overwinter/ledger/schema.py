"""The ledger's tables, their migrations, and the conversion between rows and records.

A migration only adds columns, tables or indexes, and every statement names its columns, so an older version of
Overwinter can still write a newer ledger.
"""

from __future__ import annotations

import json
import re
import sqlite3
from collections.abc import Mapping, Sequence
from dataclasses import fields
from datetime import UTC, datetime
from typing import Any

from overwinter.ledger.records import ExecutionRecord

MIGRATIONS: tuple[tuple[str, ...], ...] = (
    (
        """
        CREATE TABLE executions (
            id TEXT NOT NULL PRIMARY KEY,
            stage TEXT NOT NULL,
            run_id TEXT NOT NULL,
            experiment TEXT,
            configuration_key TEXT NOT NULL,
            params_digest TEXT,
            work REAL,
            started_utc TEXT NOT NULL,
            ended_utc TEXT,
            duration_s REAL,
            status TEXT NOT NULL,
            pid INTEGER NOT NULL,
            process_start INTEGER NOT NULL,
            boot_id TEXT NOT NULL,
            pid_namespace TEXT NOT NULL,
            host TEXT NOT NULL,
            energy_j REAL,
            uncertainty_j REAL,
            measured_fraction REAL,
            idle_j REAL,
            carbon_g REAL,
            cost REAL,
            currency TEXT,
            power_w REAL,
            heartbeat_utc TEXT,
            heartbeats INTEGER NOT NULL,
            done REAL,
            total REAL,
            resumed_from TEXT,
            resumed_j REAL NOT NULL,
            resumed_carbon_g REAL NOT NULL,
            resumed_duration_s REAL NOT NULL,
            sources TEXT,
            exit_code INTEGER,
            message TEXT,
            energy TEXT,
            metrics TEXT,
            artifact_digest TEXT
        )
        """,
        "CREATE INDEX executions_by_start ON executions (started_utc)",
        "CREATE INDEX executions_by_run ON executions (run_id)",
        "CREATE INDEX executions_by_configuration ON executions (stage, configuration_key)",
        "CREATE INDEX executions_running ON executions (status) WHERE status = 'running'",
    ),
    (
        "ALTER TABLE executions ADD COLUMN workload TEXT",
        "ALTER TABLE executions ADD COLUMN inputs TEXT",
        "ALTER TABLE executions ADD COLUMN steps REAL",
        "ALTER TABLE executions ADD COLUMN steps_j REAL",
        "ALTER TABLE executions ADD COLUMN steps_s REAL",
    ),
    (
        "ALTER TABLE executions ADD COLUMN project TEXT",
        "ALTER TABLE executions ADD COLUMN person TEXT",
    ),
    ("ALTER TABLE executions ADD COLUMN prefix_key TEXT",),
)

_ADDING = re.compile(r"ADD COLUMN (\w+)")
COLUMNS = tuple(field.name for field in fields(ExecutionRecord))
_TIMES = ("started_utc", "ended_utc", "heartbeat_utc")
_DOCUMENTS = ("energy", "metrics")
_JSON = (*_DOCUMENTS, "inputs")
_ADDED = frozenset(_ADDING.findall(" ".join(statement for step in MIGRATIONS for statement in step)))
COLUMNS_WITHOUT_DOCUMENTS = tuple(f"NULL AS {name}" if name in _DOCUMENTS else name for name in COLUMNS)


def migrate(connection: sqlite3.Connection, migrations: Sequence[Sequence[str]] = MIGRATIONS) -> None:
    """Migrate a ledger to the newest schema, each step in one transaction."""
    while (version := _version(connection)) < len(migrations):
        connection.execute("BEGIN IMMEDIATE")
        try:
            if _version(connection) == version:  # another process may have migrated it
                for statement in migrations[version]:
                    connection.execute(statement)
                connection.execute(f"PRAGMA user_version = {version + 1}")
            connection.execute("COMMIT")
        except BaseException:
            connection.execute("ROLLBACK")
            raise


def rows_source(connection: sqlite3.Connection) -> str:
    """Return the source to select from: the table, with nulls for columns that an old read-only ledger lacks."""
    present = {row["name"] for row in connection.execute("PRAGMA table_info(executions)")}
    nulls = "".join(f", NULL AS {name}" for name in COLUMNS if name not in present)
    return f"(SELECT rowid, *{nulls} FROM executions)" if nulls else "executions"  # noqa: S608 - our own names


def missing_columns(connection: sqlite3.Connection) -> list[str]:
    """Return the columns that every version of the ledger has, and this file lacks: all of them, if it is no ledger."""
    present = {row["name"] for row in connection.execute("PRAGMA table_info(executions)")}
    return [name for name in COLUMNS if name not in present and name not in _ADDED]


def is_newer(connection: sqlite3.Connection) -> bool:
    """Return whether a newer version of Overwinter wrote the file, whose additions are not read."""
    return _version(connection) > len(MIGRATIONS)


def to_row(values: Mapping[str, Any]) -> dict[str, Any]:
    """Convert some or all values of a record to values that SQLite stores."""
    row = dict(values)
    for name in _TIMES:
        if isinstance(row.get(name), datetime):
            row[name] = to_text(row[name])
    for name in _JSON:
        if row.get(name) is not None:
            # `default`: a figure of an unexpected type must not lose the record or stop the work.
            row[name] = json.dumps(row[name], separators=(",", ":"), default=str)
    return {name: _storable(value) if isinstance(value, str) else value for name, value in row.items()}


def to_record(row: Mapping[str, Any]) -> ExecutionRecord:
    """Convert a stored row to a record."""
    values = {name: row[name] for name in COLUMNS}
    for name in _TIMES:
        if values[name] is not None:
            values[name] = datetime.fromisoformat(values[name])
    for name in _JSON:
        if values[name] is not None:
            values[name] = json.loads(values[name])
    return ExecutionRecord(**values)


def to_text(time_utc: datetime) -> str:
    """Format a time so that texts sort by time."""
    return time_utc.astimezone(UTC).isoformat(timespec="microseconds")


def _storable(text: str) -> str:
    """Replace characters that UTF-8 cannot encode: a file name in an error message may contain any bytes."""
    return text.encode("utf-8", "backslashreplace").decode()


def _version(connection: sqlite3.Connection) -> int:
    return int(connection.execute("PRAGMA user_version").fetchone()[0])
