"""Sums over executions: by run, by stage or day, and of executions whose results are no longer used."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from overwinter.ledger.kept import STATE_FOLDER, Kept, kept_in
from overwinter.ledger.records import DONE, RUNNING, SCRATCH, ExecutionRecord, Spent

UNKNOWN = "(not recorded)"
_KEYS: dict[str, Callable[[ExecutionRecord], str]] = {
    "stage": lambda record: record.stage,
    "day": lambda record: f"{record.started_utc:%Y-%m-%d}",
    "month": lambda record: f"{record.started_utc:%Y-%m}",
    "experiment": lambda record: record.experiment or "(workspace)",
    "status": lambda record: record.status,
    "run": lambda record: record.run_id,
    "project": lambda record: record.project or UNKNOWN,
    "person": lambda record: record.person or UNKNOWN,
    "host": lambda record: record.host,
}
SUM_KEYS = tuple(_KEYS)
COMMANDS = "(measured commands)"
_OF_ONE_KIND = ("stage", "run")  # no group of these holds both stages and measured commands


@dataclass(frozen=True, kw_only=True)
class Total:
    """The spending of a group of executions, each counted once.

    Attributes:
        name: The group, such as a stage or a day (UTC).
        executions: The number of executions.
        energy_j: Known joules.
        uncertainty_j: Uncertainty of `energy_j`; the executions' errors have common causes (one meter, one table of
            design powers), so they add up linearly.
        measured_fraction: Share of `energy_j` measured by counters.
        carbon_g: Known grams.
        cost: Known money by currency.
        duration_s: Seconds.
        unknown: The number of executions without known joules.
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
    """Return the sum of executions, under a name."""
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
    """Return sums by one of `SUM_KEYS`, in order of first appearance; measured commands form groups of their own."""
    groups: dict[str, list[ExecutionRecord]] = {}
    for record in records:
        own = by in _OF_ONE_KIND or not record.is_command
        groups.setdefault(_KEYS[by](record) if own else COMMANDS, []).append(record)
    return [total(name, group) for name, group in groups.items()]


def group_of(record: ExecutionRecord, keys: Sequence[str]) -> tuple[str, ...]:
    """Return what an execution is grouped by, for each of some `SUM_KEYS`."""
    return tuple(_KEYS[key](record) for key in keys)


def wasted(records: Sequence[ExecutionRecord], kept: Kept | None = None) -> list[ExecutionRecord]:
    """Return the executions that no result in use depends on.

    In use are: results in outputs/ and in scratch folders; the latest finished execution of every experiment, and of a
    stage without a result in outputs/; checkpoints that can be resumed; and running executions. Each depends on the
    execution that made it, on the executions that this one resumed, and on those that made its inputs. Results are
    compared by content: all executions that made the same result are in use with it.

    Args:
        records: All executions of the ledger, oldest first; a selection would miss dependent executions.
        kept: The results and checkpoints that still exist; without it, the latest result of every stage counts.
    """
    records = [record for record in records if record.of_pipeline]  # results of commands and scripts are unknown
    there = _there(records, kept or Kept())
    made: dict[tuple[str, str], list[ExecutionRecord]] = {}
    for record in records:
        if record.status == DONE and record.artifact_digest is not None:
            made.setdefault((record.stage, record.artifact_digest), []).append(record)
    by_id = {record.id: record for record in records}
    useful: set[str] = set()
    while there:
        record = there.pop()
        if record.id in useful:
            continue
        useful.add(record.id)
        there += made.get((record.stage, record.artifact_digest or ""), [])
        there += [by_id[record.resumed_from]] if record.resumed_from in by_id else []
        for stage, digest in (record.inputs or {}).items():
            there += made.get((stage, digest), [])
    return [record for record in records if record.id not in useful]


def wasted_in(state: Path, records: Sequence[ExecutionRecord]) -> list[ExecutionRecord]:
    """Return the wasted executions of the ledger in the folder ``state``.

    Of a project's own ledger, its files tell what is in use. Of a ledger elsewhere, such as a merged one, only the
    latest result of every stage of each project counts as in use.
    """
    if state.name == STATE_FOLDER:
        return wasted(records, kept_in(state))
    projects: dict[str | None, list[ExecutionRecord]] = {}
    for record in records:
        projects.setdefault(record.project, []).append(record)
    return [record for own in projects.values() for record in wasted(own)]


def _there(records: Sequence[ExecutionRecord], kept: Kept) -> list[ExecutionRecord]:
    latest = {(record.stage, record.experiment): record for record in records if record.status == DONE}
    by_files = {id(record) for record in latest.values() if _is_known_from_files(record, kept)}
    attempts: dict[tuple[str, str], list[ExecutionRecord]] = {}
    for record in records:
        attempts.setdefault((record.stage, record.configuration_key), []).append(record)
    stopped = [unfinished(some) for (stage, key), some in attempts.items() if kept.has_checkpoint(stage, key)]
    return [
        *(record for record in records if record.status == RUNNING or record.id in kept.results),
        *(record for record in latest.values() if id(record) not in by_files),
        *(some[-1] for some in stopped if some),
    ]


def _is_known_from_files(record: ExecutionRecord, kept: Kept) -> bool:
    """Return whether the files determine if the latest result is in use; an earlier one may have replaced it."""
    if record.experiment == SCRATCH:
        return record.workload is not None  # earlier versions did not record the execution in energy.json
    return record.experiment is None and record.stage in kept.stages


def unfinished(records: Sequence[ExecutionRecord]) -> list[ExecutionRecord]:
    """Return the ended executions after the last finished one; ``records`` of one configuration, oldest first."""
    last_done = max((place for place, record in enumerate(records) if record.status == DONE), default=-1)
    return [record for record in records[last_done + 1 :] if record.status != RUNNING]


def resumable(records: Sequence[ExecutionRecord]) -> list[ExecutionRecord]:
    """Return the latest unfinished execution and those that it resumed, oldest first.

    The current checkpoint is theirs; executions before them contributed nothing to it.

    Args:
        records: Executions of one configuration, oldest first.
    """
    ended = unfinished(records)
    by_id = {record.id: record for record in ended}
    chain: list[ExecutionRecord] = ended[-1:]
    while chain and (before := by_id.pop(chain[0].resumed_from or "", None)) is not None:
        chain.insert(0, before)
    return chain


def total_spent(records: Sequence[ExecutionRecord]) -> Spent:
    """Return the sum of executions and of those they resumed, each counted once."""
    own = {record.id for record in records}
    # Resumed spending counts unless the execution it comes from is in the sum.
    carried = [record for record in records if record.resumed_from is not None and record.resumed_from not in own]
    return Spent(
        energy_j=sum(r.energy_j or 0.0 for r in records) + sum(r.resumed_j for r in carried),
        carbon_g=sum(r.carbon_g or 0.0 for r in records) + sum(r.resumed_carbon_g for r in carried),
        duration_s=sum(r.duration_s or 0.0 for r in records) + sum(r.resumed_duration_s for r in carried),
        executions=tuple(record.id for record in records),
    )
