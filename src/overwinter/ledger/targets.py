"""What trainings to a target cost: joules to a quality, the figure by which ways to train are compared."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime

from overwinter.ledger.records import DONE, ExecutionRecord


@dataclass(frozen=True, kw_only=True)
class ToTarget:
    """A training that had a target.

    Attributes:
        id: of the execution.
        started_utc: its start.
        stage: its name.
        experiment: the DVC experiment; None outside of one.
        measure: of the target.
        target: its value.
        found: the measure's value at the end, on the validation split.
        reached: whether the target was reached, at which the training stopped.
        epochs: begun ones.
        energy_j: joules until then, with those of the attempts that it resumed; None if unknown.
        duration_s: seconds until then, with those of the attempts that it resumed.
        measured_fraction: share of the joules that counters measured.
    """

    id: str
    started_utc: datetime
    stage: str
    experiment: str | None
    measure: str
    target: float
    found: float | None
    reached: bool
    epochs: int | None
    energy_j: float | None
    duration_s: float | None
    measured_fraction: float | None


def to_targets(records: Iterable[ExecutionRecord]) -> list[ToTarget]:
    """Return the finished trainings that had a target, with their documents; the cheapest of each target first."""
    found = [_to_target(record) for record in records if record.status == DONE and (record.metrics or {}).get("to")]
    return sorted(found, key=lambda each: (each.measure, each.target, not each.reached, each.energy_j or 0.0))


def _to_target(record: ExecutionRecord) -> ToTarget:
    metrics = record.metrics or {}
    ((measure, target),) = metrics["to"].items()
    return ToTarget(
        id=record.id,
        started_utc=record.started_utc,
        stage=record.stage,
        experiment=record.experiment,
        measure=measure,
        target=target,
        found=metrics.get(measure),
        reached=bool(metrics["reached"]),
        epochs=metrics.get("epochs"),
        energy_j=None if record.energy_j is None else record.energy_j + record.resumed_j,
        duration_s=None if record.duration_s is None else record.duration_s + record.resumed_duration_s,
        measured_fraction=record.measured_fraction,
    )
