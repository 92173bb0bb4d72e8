"""One running execution in the ledger: its start, its heartbeats and its end, without failing on disk errors."""

from __future__ import annotations

import os
import sqlite3
import threading
import time
from collections.abc import Callable, Iterable, Mapping
from datetime import UTC, datetime
from typing import Any

from overwinter.energy.record import EnergyRecord
from overwinter.energy.report import Component
from overwinter.ledger import leftovers
from overwinter.ledger.database import Database, is_busy
from overwinter.ledger.records import DONE, FINAL_STATUSES, RUNNING
from overwinter.ledger.schema import COLUMNS, to_row
from overwinter.records import to_json

_BEGIN_TIMEOUT_S = 5.0
_HEARTBEAT_TIMEOUT_S = 0.5  # the next one comes within the second
_MISSED = 3  # heartbeats in a row that wait in vain for other processes; fewer are no cause for a warning
_HELD = "Another process keeps it locked: look for one that hangs."
_UNWRITABLE = "Free disk space, or check the folder's permissions."
_FINISH_DELAYS_S = (0.0, 0.2, 0.8, 2.0)
_PLACES = ", ".join(f":{name}" for name in COLUMNS)
_INSERT = f"INSERT OR REPLACE INTO executions ({', '.join(COLUMNS)}) VALUES ({_PLACES})"  # noqa: S608 - our own names
# Columns that a heartbeat updates. Status and end are among them, to reopen an execution that another machine closed as
# killed because it could not see the process.
_LIVE_COLUMNS = (
    "status",
    "ended_utc",
    "message",
    "duration_s",
    "energy_j",
    "uncertainty_j",
    "measured_fraction",
    "idle_j",
    "carbon_g",
    "cost",
    "currency",
    "power_w",
    "heartbeat_utc",
    "heartbeats",
    "done",
    "total",
    "steps",
    "steps_j",
    "steps_s",
    "metrics",
)
_UPDATE = f"UPDATE executions SET {', '.join(f'{c} = :{c}' for c in _LIVE_COLUMNS)} WHERE id = :id"  # noqa: S608 - our own column names


class Execution:
    """A row of the ledger while its stage runs, made by `Ledger.begin`.

    No method raises on a ledger error, so disk errors never stop the work. Every method may be called from any thread;
    in a forked child they do nothing, since the execution belongs to the parent.

    Attributes:
        id: The row's key.
        run_id: The run that it belongs to.
    """

    def __init__(self, row: Mapping[str, Any], database: Database, warn: Callable[[str], None]) -> None:
        self.id: str = row["id"]
        self.run_id: str = row["run_id"]
        self._row = {**dict.fromkeys(COLUMNS), **row}
        self._database = database
        self._warn = warn
        self._pid = os.getpid()
        self._lock = threading.Lock()
        self._started_s, self._waited_s = time.monotonic(), 0.0
        self._last: tuple[float, float] | None = None  # (monotonic seconds, joules) of the last heartbeat
        self._finished = False
        self._missed = 0  # heartbeats in a row that could not be written
        self._record(self._insert, timeout_s=_BEGIN_TIMEOUT_S, durable=True)

    def heartbeat(
        self,
        *,
        energy_j: float,
        uncertainty_j: float = 0.0,
        measured_fraction: float | None = None,
        idle_j: float | None = None,
        carbon_g: float | None = None,
        cost: float | None = None,
        currency: str | None = None,
        done: float | None = None,
        total: float | None = None,
        steps: float | None = None,
        steps_j: float | None = None,
        steps_s: float | None = None,
        waited_s: float = 0.0,
        metrics: Mapping[str, Any] | None = None,
    ) -> None:
        """Record the costs so far; it takes well under a millisecond.

        A stage calls it at least once a second: what is spent after the last call is lost if the process is killed.

        Args:
            energy_j: Joules since the execution began.
            uncertainty_j: Uncertainty of `energy_j`.
            measured_fraction: Share of `energy_j` measured by counters.
            idle_j: Joules that idling would have cost.
            carbon_g: Grams so far; None if the intensity is unknown.
            cost: Money so far, in `currency`.
            currency: The currency, such as EUR.
            done: Units of work done.
            total: Units of work in total.
            steps: Units of work between the first and the latest report of progress.
            steps_j: Joules between these two.
            steps_s: Seconds between these two.
            waited_s: Seconds so far in which it waited for other runs, which do not count.
            metrics: Figures beside the costs, of work that has some before its end.
        """
        if self._pid != os.getpid():
            return
        with self._lock:
            if self._finished:
                return
            now_s = time.monotonic()
            figures = {
                "energy_j": energy_j,
                "uncertainty_j": uncertainty_j,
                "measured_fraction": measured_fraction,
            }
            money = {"carbon_g": carbon_g, "cost": cost, "currency": currency}
            self._row.update(figures, idle_j=idle_j, **money, done=done, total=total)
            self._row.update(steps=steps, steps_j=steps_j, steps_s=steps_s, metrics=metrics)
            self._row["power_w"] = self._power_w(now_s, energy_j)
            self._waited_s = waited_s
            self._row["duration_s"] = now_s - self._started_s - waited_s
            self._row["heartbeat_utc"] = datetime.now(UTC)
            self._row["heartbeats"] += 1
            self._record(self._update, timeout_s=_HEARTBEAT_TIMEOUT_S, durable=False)

    def finish(
        self,
        *,
        status: str,
        exit_code: int,
        energy: EnergyRecord | None = None,
        metrics: Mapping[str, Any] | None = None,
        message: str | None = None,
        artifact_digest: str | None = None,
    ) -> None:
        """Close the execution. Only the first call has an effect, so a clean-up may call it again.

        Args:
            status: `done`, `failed`, `refused` or `interrupted`.
            exit_code: The exit code of the process.
            energy: The content of energy.json; without it, the last heartbeat's figures stay.
            metrics: The content of metrics.json, also for a refused stage.
            message: The error message, if any.
            artifact_digest: The digest of the stage's outputs.

        Raises:
            ValueError: the status is invalid.
        """
        if status not in FINAL_STATUSES:
            raise ValueError(f"status={status!r} does not close an execution; allowed: {', '.join(FINAL_STATUSES)}")
        if self._pid != os.getpid():
            return
        with self._lock:
            if self._finished:
                return
            self._finished = True
            self._row.update(self._end(status, exit_code, energy, metrics, message, artifact_digest))
            self._record_at_last()

    def done_row(
        self, *, energy: EnergyRecord, metrics: Mapping[str, Any] | None, artifact_digest: str
    ) -> dict[str, Any]:
        """Return the row that this execution has once it is done, for `Ledger.settle` if it is killed before that.

        Args:
            energy: The content of energy.json.
            metrics: The content of metrics.json.
            artifact_digest: The digest of the stage's outputs.
        """
        with self._lock:
            return to_row({**self._row, **self._end(DONE, 0, energy, metrics, None, artifact_digest)})

    def _end(
        self,
        status: str,
        exit_code: int,
        energy: EnergyRecord | None,
        metrics: Mapping[str, Any] | None,
        message: str | None,
        artifact_digest: str | None,
    ) -> dict[str, Any]:
        end = {"status": status, "exit_code": exit_code, "ended_utc": datetime.now(UTC), "message": message}
        end |= {"metrics": metrics, "artifact_digest": artifact_digest}
        end["duration_s"] = time.monotonic() - self._started_s - self._waited_s
        if energy is not None:
            end |= {**_spent(energy), "energy": to_json(energy), "sources": sources(energy.components)}
        return end

    def _power_w(self, now_s: float, energy_j: float) -> float | None:
        before_s, before_j = self._last or (self._started_s, 0.0)
        self._last = (now_s, energy_j)
        elapsed_s = now_s - before_s
        # No power follows from two calls at the same time, or from a counter that was reset.
        return (energy_j - before_j) / elapsed_s if elapsed_s > 1e-3 and energy_j >= before_j else self._row["power_w"]

    def _record_at_last(self) -> None:
        for delay_s in _FINISH_DELAYS_S:
            time.sleep(delay_s)
            if self._record(self._insert, timeout_s=_BEGIN_TIMEOUT_S, durable=True):
                return
        kept = leftovers.keep(self._database.path, to_row(self._row))
        beside = leftovers.leftovers_path(self._database.path)
        if kept is None:
            where = f"It could not be saved anywhere: {to_row(self._row)}"
        elif kept == beside:
            where = f"It was saved to {kept}, which the next run reads."
        else:
            where = f"It was saved to {kept}. Move that file to {beside} for the next run to read."
        self._warn(f"The final record of {self._row['stage']} ({self.id}) cannot be written to the ledger. {where}")

    def _record(self, work: Callable[[sqlite3.Connection], None], *, timeout_s: float, durable: bool) -> bool:
        try:
            self._database.write(work, busy_timeout_s=timeout_s, durable=durable)
        except (sqlite3.Error, OSError) as error:
            busy = is_busy(error)
            self._missed += 1
            if durable or not busy or self._missed >= _MISSED:
                self._warn(
                    f"The ledger {self._database.path} cannot be written ({error}). The work continues, and every "
                    f"heartbeat tries again. {_HELD if busy else _UNWRITABLE}"
                )
            return False
        self._missed = 0
        return True

    def _insert(self, connection: sqlite3.Connection) -> None:
        insert(connection, [to_row(self._row)])

    def _update(self, connection: sqlite3.Connection) -> None:
        row = to_row({name: self._row[name] for name in ("id", *_LIVE_COLUMNS)})
        if connection.execute(_UPDATE, row).rowcount == 0:  # the start was not recorded, or the file is new
            self._insert(connection)


def sources(components: Iterable[Component]) -> str:
    """Return the share of joules by source: ``nvml-counter 92 %, modelled 8 %``."""
    by_source: dict[str, float] = {}
    for component in components:
        by_source[component.source] = by_source.get(component.source, 0.0) + component.energy_j
    total_j = sum(by_source.values())
    largest_first = sorted(by_source.items(), key=lambda item: -item[1])
    return ", ".join(f"{name} {100 * part_j / total_j:.0f} %" if total_j else name for name, part_j in largest_first)


def insert(connection: sqlite3.Connection, rows: Iterable[Mapping[str, Any]]) -> None:
    """Write whole rows, replacing earlier rows with the same id."""
    connection.executemany(_INSERT, ({**dict.fromkeys(COLUMNS), **row} for row in rows))


def first_row(values: Mapping[str, Any]) -> dict[str, Any]:
    """Return the row of an execution that begins now, with the caller's ``values``."""
    row = {"status": RUNNING, "heartbeats": 0, "started_utc": datetime.now(UTC)}
    row |= {"resumed_j": 0.0, "resumed_carbon_g": 0.0, "resumed_duration_s": 0.0}
    return {**row, **values}


def _spent(energy: EnergyRecord) -> dict[str, Any]:
    """Return the spending of this execution alone; resumed executions have their own rows."""
    own_j = energy.energy_j - energy.resumed_j
    own_share = own_j / energy.energy_j if energy.energy_j else 1.0
    figures = {
        "duration_s": energy.duration_s - energy.resumed_duration_s,
        "energy_j": own_j,
        "uncertainty_j": energy.uncertainty_j * own_share,
        "measured_fraction": energy.measured_fraction,
        "idle_j": None if energy.idle_j is None else energy.idle_j * own_share,
        "carbon_g": None if energy.carbon_g is None else energy.carbon_g - energy.resumed_carbon_g,
        "cost": None if energy.cost is None else energy.cost * own_share,
        "currency": energy.currency,
    }
    return {name: figure for name, figure in figures.items() if figure is not None}
