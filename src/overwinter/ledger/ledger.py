"""The ledger's entry point: begin an execution, close those whose process is gone, and query spending."""

from __future__ import annotations

import contextlib
import os
import secrets
import sqlite3
import sys
from collections.abc import Callable, Mapping
from dataclasses import asdict
from datetime import UTC, datetime, timedelta
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from overwinter.errors import OverwinterError
from overwinter.ledger import leftovers
from overwinter.ledger.aggregation import resumable, total_spent
from overwinter.ledger.database import Database
from overwinter.ledger.execution import Execution, first_row, insert
from overwinter.ledger.kept import STATE_FOLDER
from overwinter.ledger.origin import Origin
from overwinter.ledger.process import ProcessIdentity, is_alive, this_process
from overwinter.ledger.records import DONE, KILLED, RUNNING, ExecutionRecord, Filter, Spent
from overwinter.ledger.schema import COLUMNS, COLUMNS_WITHOUT_DOCUMENTS, rows_source, to_record, to_text

LEDGER_FILE = Path(STATE_FOLDER) / "ledger.sqlite"
_REAP_TIMEOUT_S = 5.0
# A stage's heartbeats come every second, a server's every minute; a process on another machine or in another container
# without a heartbeat for this long is considered dead. If it was only stopped, its next heartbeat reopens its entry.
_SILENCE = timedelta(minutes=5)
_LEAST_INTERVAL_S = 1.0


class Ledger:
    """The record of every execution of every stage. Several processes may open the same ledger.

    Methods called by a running stage never raise on disk errors: the error is reported once, and the work continues.
    Only `executions`, for users' queries, raises if the ledger cannot be read.
    """

    def __init__(self, path: Path, log: Callable[[str], None]) -> None:
        self.path = path
        self._log = log
        self._logged: set[str] = set()
        self._database = Database(path, self._log_once)

    @classmethod
    def open(cls, path: Path, *, log: Callable[[str], None] | None = None) -> Self:
        """Open the ledger at ``path``; the file is created at the first write.

        Args:
            path: The ledger's path, such as ``.overwinter/ledger.sqlite``.
            log: A function that reports each error once; prints to standard error by default.
        """
        return cls(Path(path).absolute(), log or _to_standard_error)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    @property
    def journal_reason(self) -> str:
        """Reason for a journal other than WAL; empty for WAL."""
        return self._database.journal_reason

    def close(self) -> None:
        """Close the file. A later use opens it again."""
        self._database.close()

    def begin(
        self,
        *,
        stage: str,
        run_id: str,
        configuration_key: str,
        prefix_key: str | None = None,
        experiment: str | None = None,
        params_digest: str | None = None,
        work: float | None = None,
        workload: str | None = None,
        inputs: Mapping[str, str] | None = None,
        resumed: Spent | None = None,
        origin: Origin | None = None,
    ) -> Execution:
        """Record that a stage starts in the calling process.

        Args:
            stage: The stage's name.
            run_id: The id shared by the stages that one command runs.
            configuration_key: The digest of everything that determines the stage's result.
            prefix_key: The digest of what determines it and is known before the pipeline runs.
            experiment: The DVC experiment; None in the workspace.
            params_digest: The digest of its parameters.
            work: The declared amount of work, such as epochs x samples, for forecasts of other amounts.
            workload: The digest of its steps' settings, independent of their number.
            inputs: The artifact digest of each stage that it reads from.
            resumed: The value of `earlier`, if the stage resumes from a checkpoint.
            origin: The project and the user; by default neither is recorded.
        """
        self._take_leftovers()
        values: dict[str, Any] = {"id": secrets.token_hex(16), "stage": stage, "run_id": run_id}
        values |= {"experiment": experiment, "configuration_key": configuration_key, "prefix_key": prefix_key}
        values |= {"params_digest": params_digest, "work": work, "workload": workload, "inputs": inputs}
        values |= this_process().to_row() | asdict(origin or Origin())
        if resumed is not None and resumed.executions:
            values |= {"resumed_from": resumed.executions[-1], "resumed_j": resumed.energy_j}
            values |= {"resumed_carbon_g": resumed.carbon_g, "resumed_duration_s": resumed.duration_s}
        return Execution(first_row(values), self._database, self._log_once)

    def reap(self) -> list[ExecutionRecord]:
        """Close as killed the executions whose process is gone.

        The last heartbeat's joules stay; their uncertainty grows by one heartbeat interval at the last power, as much
        as can be unrecorded. Without a heartbeat, the joules stay unknown.

        Returns:
            The closed executions.
        """
        self._take_leftovers()
        observer = this_process()
        gone = [record for record in self._known(Filter(status=RUNNING)) if _is_gone(record, observer)]
        return [record for record in gone if self._close_as_killed(record)]

    def settle(self, row: Mapping[str, Any]) -> None:
        """Write the row that `Execution.done_row` made, of an execution that was killed once its result was complete.

        An execution that closed itself keeps its row.
        """

        def close(connection: sqlite3.Connection) -> None:
            query = "SELECT 1 FROM executions WHERE id = ? AND status = ?"
            if connection.execute(query, (row["id"], DONE)).fetchone() is None:
                insert(connection, [row])

        try:
            self._database.write(close, busy_timeout_s=_REAP_TIMEOUT_S, durable=True)
        except (sqlite3.Error, OSError):
            leftovers.keep(self.path, row)

    def executions(self, which: Filter | None = None, *, documents: bool = False) -> list[ExecutionRecord]:
        """Return the selected executions, oldest first.

        Args:
            which: The selection; all by default.
            documents: Whether to read energy.json and metrics.json, which is slow for thousands of executions.

        Raises:
            OverwinterError: the ledger exists but cannot be read.
        """
        condition, values = _condition(which or Filter())
        names = ", ".join(COLUMNS if documents else COLUMNS_WITHOUT_DOCUMENTS)

        def selected(connection: sqlite3.Connection) -> list[ExecutionRecord]:
            source = rows_source(connection)
            query = f"SELECT {names} FROM {source} WHERE {condition} ORDER BY started_utc, rowid"  # noqa: S608 - our own names
            return [to_record(row) for row in connection.execute(query, values)]

        if not self.path.exists():
            return []
        try:
            return self._database.read(selected)
        except (sqlite3.Error, OSError) as error:
            message = f"The ledger {self.path} cannot be read ({error}). Check its and its folder's permissions."
            self._log_once(message)
            raise OverwinterError(message) from error

    def spent(self, *, run_id: str, stage: str | None = None) -> Spent:
        """Return a run's spending so far, including resumed spending of earlier runs.

        Args:
            run_id: The run.
            stage: One stage of it, or None for all.
        """
        return total_spent(self._known(Filter(run_id=run_id, stage=stage)))

    def earlier(self, *, stage: str, configuration_key: str) -> Spent:
        """Return the spending of the unfinished executions that produced a configuration's checkpoint.

        A stage that resumes from the checkpoint has to count it as its own.
        """
        return total_spent(resumable(self._known(Filter(stage=stage, configuration_key=configuration_key))))

    def _known(self, which: Filter) -> list[ExecutionRecord]:
        try:
            return self.executions(which)
        except OverwinterError:
            return []  # already reported; an unreadable ledger must not stop the work

    def _close_as_killed(self, record: ExecutionRecord) -> bool:
        unseen_j = (record.power_w or 0.0) * _interval_s(record)
        uncertainty_j = None if record.energy_j is None else (record.uncertainty_j or 0.0) + unseen_j
        last_sign = record.heartbeat_utc or record.started_utc

        def close(connection: sqlite3.Connection) -> bool:
            # The number of heartbeats guards against one that came in the meantime.
            query = """UPDATE executions SET status = ?, ended_utc = ?, uncertainty_j = ?, message = ?
                       WHERE id = ? AND status = ? AND heartbeats = ?"""
            message = "The process ended without closing its execution: killed, or the machine stopped."
            values = (
                KILLED,
                to_text(last_sign),
                uncertainty_j,
                message,
                record.id,
                RUNNING,
                record.heartbeats,
            )
            return connection.execute(query, values).rowcount == 1

        try:
            return self._database.write(close, busy_timeout_s=_REAP_TIMEOUT_S, durable=True)
        except (sqlite3.Error, OSError) as error:
            self._log_once(f"The ledger {self.path} cannot be written ({error}): killed executions stay open in it.")
            return False

    def _take_leftovers(self) -> None:
        # The saved rows are deleted only if the block succeeds.
        with contextlib.suppress(sqlite3.Error, OSError), leftovers.taking(self.path) as rows:
            if rows:
                self._database.write(lambda db: insert(db, rows), busy_timeout_s=_REAP_TIMEOUT_S, durable=True)

    def _log_once(self, text: str) -> None:
        kind = text.partition("(")[0]  # the same error, whatever SQLite's message
        if kind not in self._logged:
            self._logged.add(kind)
            self._log(text)


def ledger_path(folder: Path | None = None) -> Path:
    """Return the path of the ledger of the project that contains ``folder`` (the current folder by default).

    DVC sets ``DVC_ROOT`` to the main root, also for a stage in a temporary copy of the project. Otherwise it is the
    nearest parent folder with a ledger or a DVC repository.
    """
    if root := os.environ.get("DVC_ROOT"):
        return Path(root) / LEDGER_FILE
    start = (folder or Path.cwd()).absolute()
    for parent in (start, *start.parents):
        if (parent / LEDGER_FILE).exists() or (parent / ".dvc").is_dir():
            return parent / LEDGER_FILE
    return start / LEDGER_FILE


def _interval_s(record: ExecutionRecord) -> float:
    """Return the mean time between the heartbeats of an execution."""
    if record.heartbeat_utc is None or not record.heartbeats:
        return _LEAST_INTERVAL_S
    lived_s = (record.heartbeat_utc - record.started_utc).total_seconds()
    return max(_LEAST_INTERVAL_S, lived_s / record.heartbeats)


def _is_gone(record: ExecutionRecord, observer: ProcessIdentity) -> bool:
    owner = ProcessIdentity(
        pid=record.pid,
        process_start=record.process_start,
        boot_id=record.boot_id,
        pid_namespace=record.pid_namespace,
        host=record.host,
    )
    alive = is_alive(owner, observer=observer)
    if alive is None:
        return datetime.now(UTC) - (record.heartbeat_utc or record.started_utc) > _SILENCE
    return not alive


def _condition(which: Filter) -> tuple[str, list[Any]]:
    exact = {"stage": which.stage, "status": which.status, "run_id": which.run_id}
    exact |= {"experiment": which.experiment, "configuration_key": which.configuration_key}
    exact |= {"project": which.project, "host": which.host}
    parts = [f"{name} = ?" for name, value in exact.items() if value is not None]
    values: list[Any] = [value for value in exact.values() if value is not None]
    if which.since_utc is not None:
        parts.append("started_utc >= ?")
        values.append(to_text(which.since_utc))
    return " AND ".join(parts) or "1", values


def _to_standard_error(text: str) -> None:
    sys.stderr.write(f"WARNING: {text}\n")
