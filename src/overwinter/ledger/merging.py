"""Merging: the executions of several projects and machines in one ledger, for reports over all of them.

A merged ledger is apart from any project's own: forecasts, resuming and what DVC's cache holds are read from a
project's ledger, and executions of another machine would falsify them.
"""

from __future__ import annotations

import contextlib
import sqlite3
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from overwinter.errors import ConfigError, IntegrityError
from overwinter.files import write_error
from overwinter.ledger.database import Database, connect_read_only
from overwinter.ledger.execution import insert
from overwinter.ledger.kept import STATE_FOLDER
from overwinter.ledger.records import KILLED, RUNNING, ExecutionRecord
from overwinter.ledger.schema import COLUMNS, is_newer, missing_columns, rows_source, to_record

_TIMEOUT_S = 5.0
_OPEN = (RUNNING, KILLED)  # another machine's ledger may know better how these ended


@dataclass(frozen=True, kw_only=True)
class Merged:
    """What merging one ledger did.

    Attributes:
        source: The ledger that was read.
        added: The number of executions that were new.
        updated: Those that had not ended when they were merged before.
        known: Those that were there already.
        newer: Whether a newer version of Overwinter wrote that ledger; what it records besides is left out.
    """

    source: Path
    added: int
    updated: int
    known: int
    newer: bool = False


def merge_ledgers(sources: Sequence[Path], into: Path) -> list[Merged]:
    """Copy the executions of ledgers into another one; the sources are only read.

    An execution has the same id everywhere, so merging again adds what is new and counts nothing twice.

    Args:
        sources: The ledgers to read.
        into: The ledger to write; it is created if it is missing.

    Raises:
        ConfigError: ``into`` is a project's own ledger or one of the sources, or a source is missing or no ledger.
        IntegrityError: a source is damaged; nothing was written.
        OverwinterError: ``into`` cannot be written.
    """
    target = into.absolute()
    if target.parent.name == STATE_FOLDER:
        raise ConfigError(
            f"--into {into} is a project's own ledger, which its forecasts and budgets rely on. Name another file."
        )
    if any(source.exists() and target.exists() and source.samefile(target) for source in sources):
        raise ConfigError(f"--into {into} is one of the ledgers to merge. Name another file.")
    read = [(source, *_read(source)) for source in sources]
    database = Database(target, _unlogged)
    try:
        return [_merged(database, source, rows, newer=newer) for source, rows, newer in read]
    except (sqlite3.Error, OSError) as error:
        raise write_error(target, error if isinstance(error, OSError) else OSError(str(error))) from error
    finally:
        database.close()


def read_rows(path: Path) -> list[dict[str, object]]:
    """Return the rows of a ledger, oldest first, without changing the file; ledgers of other versions can be read, too.

    Raises:
        ConfigError: the file is missing or no ledger.
        IntegrityError: a row is damaged.
    """
    return _read(path)[0]


def _read(path: Path) -> tuple[list[dict[str, object]], bool]:
    """Return the rows of a ledger, and whether a newer version of Overwinter wrote it."""
    if not path.is_file():
        raise ConfigError(f"{path} does not exist. Name a ledger, such as .overwinter/ledger.sqlite.")
    try:
        with contextlib.closing(connect_read_only(path.absolute())) as connection:
            missing, newer = missing_columns(connection), is_newer(connection)
            names = ", ".join(COLUMNS)
            query = f"SELECT {names} FROM {rows_source(connection)} ORDER BY started_utc, rowid"  # noqa: S608 - our own names
            rows = [] if missing else [dict(row) for row in connection.execute(query)]
    except (sqlite3.Error, OSError) as error:
        raise ConfigError(f"{path} cannot be read as a ledger ({error}). Name a ledger.sqlite.") from None
    if missing:
        raise ConfigError(
            f"{path} cannot be read as a ledger (no column {missing[0]}). Name a ledger.sqlite, or update Overwinter "
            "if a newer version wrote it."
        )
    try:
        for row in rows:
            to_record(row)
    except (ValueError, TypeError, KeyError) as error:
        raise IntegrityError(f"{path}: an execution is damaged ({error}). Copy the ledger again.") from None
    return rows, newer


def read_executions(path: Path) -> list[ExecutionRecord]:
    """Return the executions of a ledger, oldest first, without changing the file; errors as of `read_rows`."""
    return [to_record(row) for row in read_rows(path)]


def _unlogged(text: str) -> None:
    """Report nothing: a slower journal is no concern of a ledger that is written once."""
    del text


def _merged(database: Database, source: Path, rows: Sequence[dict[str, object]], *, newer: bool) -> Merged:
    def write(connection: sqlite3.Connection) -> Merged:
        known = {row["id"]: row["status"] for row in connection.execute("SELECT id, status FROM executions")}
        new = [row for row in rows if row["id"] not in known]
        ended = [row for row in rows if known.get(row["id"]) in _OPEN and row["status"] != known[row["id"]]]
        insert(connection, [*new, *ended])
        same = sum(row["id"] in known for row in rows) - len(ended)
        return Merged(source=source, added=len(new), updated=len(ended), known=same, newer=newer)

    return database.write(write, busy_timeout_s=_TIMEOUT_S, durable=True)
