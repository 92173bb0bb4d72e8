"""What executions add up to: spent by one run, by stage or day, and spent on results later thrown away."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

from overwinter.ledger.records import DONE, RUNNING, ExecutionRecord, Spent

_KEYS: dict[str, Callable[[ExecutionRecord], str]] = {
    "stage": lambda record: record.stage,
    "day": lambda record: f"{record.started_utc:%Y-%m-%d}",
    "experiment": lambda record: record.experiment or "(workspace)",
    "status": lambda record: record.status,
    "run": lambda record: record.run_id,
}
SUM_KEYS = tuple(_KEYS)


@dataclass(frozen=True, kw_only=True)
class Total:
    """What a group of executions spent, each counted once.

    Attributes:
        name: of the group, such as a stage or a day (UTC).
        executions: how many.
        energy_j: joules, as far as they are known.
        uncertainty_j: of `energy_j`; the executions' own errors share causes (one meter, one table of design
            powers), so that they are added, not averaged out.
        measured_fraction: share of `energy_j` that counters measured.
        carbon_g: grams, as far as they are known.
        cost: money by currency, as far as it is known.
        duration_s: seconds.
        unknown: executions of which no joules are known.
    """

    name: str
    executions: int
    energy_j: float
    uncertainty_j: float
    measured_fraction: float
    carbon_g: float
    cost: dict[str, float]
    duration_s: float
    unknown: int


def total(name: str, records: Sequence[ExecutionRecord]) -> Total:
    """Add up some executions under a name."""
    energy_j = sum(record.energy_j or 0.0 for record in records)
    measured_j = sum((record.energy_j or 0.0) * (record.measured_fraction or 0.0) for record in records)
    cost: dict[str, float] = {}
    for record in records:
        if record.cost is not None and record.currency is not None:
            cost[record.currency] = cost.get(record.currency, 0.0) + record.cost
    return Total(
        name=name,
        executions=len(records),
        energy_j=energy_j,
        uncertainty_j=sum(record.uncertainty_j or 0.0 for record in records),
        measured_fraction=measured_j / energy_j if energy_j else 0.0,
        carbon_g=sum(record.carbon_g or 0.0 for record in records),
        cost=cost,
        duration_s=sum(record.duration_s or 0.0 for record in records),
        unknown=sum(record.energy_j is None for record in records),
    )


def totals(records: Iterable[ExecutionRecord], by: str) -> list[Total]:
    """Add executions up by one of `SUM_KEYS`, in order of first appearance."""
    groups: dict[str, list[ExecutionRecord]] = {}
    for record in records:
        groups.setdefault(_KEYS[by](record), []).append(record)
    return [total(name, group) for name, group in groups.items()]


def thrown_away(records: Sequence[ExecutionRecord]) -> list[ExecutionRecord]:
    """Return the executions whose result nobody has any more.

    Kept is, for each stage of each experiment (and of the workspace), what its latest done execution made,
    and every execution that this one resumed. All else that ended was spent in vain: it failed, was killed or
    refused and never resumed, or its artifact was replaced by another one.

    Args:
        records: all executions of the ledger, oldest first; a selection would miss what replaced them.
    """
    by_id = {record.id: record for record in records}
    latest = {(record.stage, record.experiment): record for record in records if record.status == DONE}
    digests = {(record.stage, record.artifact_digest) for record in latest.values()}
    kept = [record for record in records if record.status == RUNNING]
    kept += [record for record in records if record.status == DONE and _is_kept(record, latest, digests)]
    useful: set[str] = set()
    for record in kept:
        useful |= _with_resumed(record, by_id)
    return [record for record in records if record.id not in useful]


def unfinished(records: Sequence[ExecutionRecord]) -> list[ExecutionRecord]:
    """Return the ended executions since the last done one; ``records`` of one configuration, oldest first."""
    last_done = max((place for place, record in enumerate(records) if record.status == DONE), default=-1)
    return [record for record in records[last_done + 1 :] if record.status != RUNNING]


def total_spent(records: Sequence[ExecutionRecord]) -> Spent:
    """Add executions up, with what the ones that they resumed had spent, nothing twice."""
    own = {record.id for record in records}
    # Carried-over spending counts unless the execution it comes from is counted itself.
    carried = [record for record in records if record.resumed_from is not None and record.resumed_from not in own]
    return Spent(
        energy_j=sum(r.energy_j or 0.0 for r in records) + sum(r.resumed_j for r in carried),
        carbon_g=sum(r.carbon_g or 0.0 for r in records) + sum(r.resumed_carbon_g for r in carried),
        duration_s=sum(r.duration_s or 0.0 for r in records) + sum(r.resumed_duration_s for r in carried),
        executions=tuple(record.id for record in records),
    )


def _is_kept(
    record: ExecutionRecord,
    latest: dict[tuple[str, str | None], ExecutionRecord],
    digests: set[tuple[str, str | None]],
) -> bool:
    if latest[record.stage, record.experiment] is record:
        return True
    return record.artifact_digest is not None and (record.stage, record.artifact_digest) in digests


def _with_resumed(record: ExecutionRecord, by_id: dict[str, ExecutionRecord]) -> set[str]:
    chain: set[str] = set()
    current: ExecutionRecord | None = record
    while current is not None and current.id not in chain:
        chain.add(current.id)
        current = by_id.get(current.resumed_from or "")
    return chain
