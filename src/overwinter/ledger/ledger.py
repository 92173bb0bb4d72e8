"""The ledger's door: begin an execution, close those whose process is gone, and ask what was spent."""

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
from overwinter.ledger.records import KILLED, RUNNING, ExecutionRecord, Filter, Spent
from overwinter.ledger.schema import COLUMNS, COLUMNS_WITHOUT_DOCUMENTS, rows_source, to_record, to_text

LEDGER_FILE = Path(STATE_FOLDER) / "ledger.sqlite"
_REAP_TIMEOUT_S = 5.0
# Heartbeats come every second; a process on another machine or in another container that was silent for so
# long is taken for dead. If it was only stopped, its next heartbeat reopens it.
_SILENCE = timedelta(minutes=5)
_HEARTBEAT_INTERVAL_S = 1.0


class Ledger:
    """Every execution of every stage. Several processes may have the same ledger open.

    Nothing that a running stage calls raises because of the disk: trouble is reported once, loudly, and the work
    goes on. Only `executions`, which the user asks for, raises when the ledger cannot be read.
    """

    def __init__(self, path: Path, log: Callable[[str], None]) -> None:
        self.path = path
        self._log = log
        self._logged: set[str] = set()
        self._database = Database(path, self._log_once)

    @classmethod
    def open(cls, path: Path, *, log: Callable[[str], None] | None = None) -> Self:
        """Open the ledger at ``path``; the file is made when something is first written.

        Args:
            path: such as ``.overwinter/ledger.sqlite``.
            log: receives, once each, what went wrong; standard error if left out.
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
        """Why the journal is not WAL; empty while it is."""
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
        experiment: str | None = None,
        params_digest: str | None = None,
        work: float | None = None,
        workload: str | None = None,
        inputs: Mapping[str, str] | None = None,
        resumed: Spent | None = None,
        origin: Origin | None = None,
    ) -> Execution:
        """Record that a stage begins in the calling process.

        Args:
            stage: its name.
            run_id: shared by the stages that one command runs.
            configuration_key: digest of all that decides the stage's result.
            experiment: DVC's name of the experiment; None in the workspace.
            params_digest: digest of its parameters.
            work: declared amount of work, such as epochs x samples, for forecasts of other amounts.
            workload: digest of what a step of its work is, whatever their number.
            inputs: the artifact digest of each stage that it reads from.
            resumed: what `earlier` returned, if the stage goes on from a checkpoint.
            origin: the project and the user; by default neither is recorded.
        """
        self._take_leftovers()
        values: dict[str, Any] = {"id": secrets.token_hex(16), "stage": stage, "run_id": run_id}
        values |= {"experiment": experiment, "configuration_key": configuration_key}
        values |= {"params_digest": params_digest, "work": work, "workload": workload, "inputs": inputs}
        values |= this_process().to_row() | asdict(origin or Origin())
        if resumed is not None and resumed.executions:
            values |= {"resumed_from": resumed.executions[-1], "resumed_j": resumed.energy_j}
            values |= {"resumed_carbon_g": resumed.carbon_g, "resumed_duration_s": resumed.duration_s}
        return Execution(first_row(values), self._database, self._log_once)

    def reap(self) -> list[ExecutionRecord]:
        """Close as killed the executions whose process is gone.

        The last heartbeat's joules stay; the uncertainty grows by a heartbeat's interval at the last power,
        which is what may have been spent unseen. Joules that no heartbeat ever reported stay unknown.

        Returns:
            those closed now.
        """
        self._take_leftovers()
        observer = this_process()
        gone = [record for record in self._known(Filter(status=RUNNING)) if _is_gone(record, observer)]
        return [record for record in gone if self._close_as_killed(record)]

    def executions(self, which: Filter | None = None, *, documents: bool = False) -> list[ExecutionRecord]:
        """Return the executions asked for, oldest first.

        Args:
            which: a selection; all by default.
            documents: with the contents of energy.json and metrics.json, which are long to read for thousands
                of executions; without, they are None.

        Raises:
            OverwinterError: the ledger exists and cannot be read.
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
        """Return what a run has spent by now, with what its resumed stages had spent in earlier runs.

        Args:
            run_id: the run.
            stage: one stage of it, or None for all.
        """
        return total_spent(self._known(Filter(run_id=run_id, stage=stage)))

    def earlier(self, *, stage: str, configuration_key: str) -> Spent:
        """Return what the unfinished executions of one configuration have spent that its checkpoint rests on.

        It is what a stage that goes on from there has to count as its own.
        """
        return total_spent(resumable(self._known(Filter(stage=stage, configuration_key=configuration_key))))

    def _known(self, which: Filter) -> list[ExecutionRecord]:
        try:
            return self.executions(which)
        except OverwinterError:
            return []  # said already, loudly; a ledger that cannot be read must not stop the work

    def _close_as_killed(self, record: ExecutionRecord) -> bool:
        unseen_j = (record.power_w or 0.0) * _HEARTBEAT_INTERVAL_S
        uncertainty_j = None if record.energy_j is None else (record.uncertainty_j or 0.0) + unseen_j
        last_sign = record.heartbeat_utc or record.started_utc

        def close(connection: sqlite3.Connection) -> bool:
            # The heartbeat's time guards against one that came between our look and now.
            query = """UPDATE executions SET status = ?, ended_utc = ?, uncertainty_j = ?, message = ?
                       WHERE id = ? AND status = ? AND heartbeats = ?"""
            message = "The process was gone without closing its execution: killed, or the machine stopped."
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
        # Only the block's success forgets the rows kept in a spool.
        with contextlib.suppress(sqlite3.Error, OSError), leftovers.taking(self.path) as rows:
            if rows:
                self._database.write(lambda db: insert(db, rows), busy_timeout_s=_REAP_TIMEOUT_S, durable=True)

    def _log_once(self, text: str) -> None:
        kind = text.partition("(")[0]  # the same trouble, whatever SQLite calls it this time
        if kind not in self._logged:
            self._logged.add(kind)
            self._log(text)


def ledger_path(folder: Path | None = None) -> Path:
    """Return where the ledger of the project around ``folder`` (the current one if left out) is.

    DVC reports a stage its main root in ``DVC_ROOT``, also when it runs in a temporary copy of the project.
    Otherwise the nearest folder upwards that has a ledger or a DVC repository counts.
    """
    if root := os.environ.get("DVC_ROOT"):
        return Path(root) / LEDGER_FILE
    start = (folder or Path.cwd()).absolute()
    for parent in (start, *start.parents):
        if (parent / LEDGER_FILE).exists() or (parent / ".dvc").is_dir():
            return parent / LEDGER_FILE
    return start / LEDGER_FILE


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
