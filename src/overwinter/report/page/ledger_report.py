"""The report of ledgers: kilowatt-hours, kilograms and money by project, person, month or else, and what was wasted."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from overwinter.errors import ConfigError, nearest
from overwinter.ledger import SUM_KEYS, ExecutionRecord, group_of, total, wasted_in
from overwinter.ledger.merging import read_executions

_J_PER_KWH = 3.6e6


@dataclass(frozen=True, kw_only=True)
class GroupCosts:
    """The costs of a group of executions, each counted once.

    Attributes:
        keys: What the executions have in common, in the order of the report's keys.
        executions: Their number.
        energy_kwh: Known kilowatt-hours of all of them.
        uncertainty_kwh: Uncertainty of these; errors have common causes and add up.
        carbon_kg: Known kilograms of CO2 equivalent.
        cost: Known money by currency.
        measured_share: Share of the energy measured by counters.
        pipeline_kwh: The part of the pipeline's stages.
        wasted_kwh: The part of it that no result in use depends on.
        served_kwh: The part of servers.
        commands_kwh: The part of other measured commands.
        scripts_kwh: The part of watched scripts, whose results are unknown.
        unknown: The number of executions without known joules.
    """

    keys: tuple[str, ...]
    executions: int
    energy_kwh: float
    uncertainty_kwh: float
    carbon_kg: float
    cost: Mapping[str, float]
    measured_share: float
    pipeline_kwh: float
    wasted_kwh: float
    served_kwh: float
    commands_kwh: float
    scripts_kwh: float
    unknown: int

    @property
    def wasted_share(self) -> float:
        """Share of the stages' energy that was wasted."""
        return self.wasted_kwh / self.pipeline_kwh if self.pipeline_kwh else 0.0


@dataclass(frozen=True, kw_only=True)
class LedgerReport:
    """The costs in a period.

    Attributes:
        written_utc: When the report was made.
        since: Begin of the period; None: of the ledger.
        until: End of the period, which is not part of it; None: now.
        by: The keys of the groups.
        groups: The groups, the most energy first.
        total: All of them.
        ledgers: The files that were read.
        hosts: The machines.
        first: The first day with an execution.
        last: The last one.
    """

    written_utc: str
    since: str | None
    until: str | None
    by: tuple[str, ...]
    groups: tuple[GroupCosts, ...]
    total: GroupCosts
    ledgers: tuple[str, ...]
    hosts: tuple[str, ...]
    first: str | None
    last: str | None

    def to_json(self) -> dict[str, Any]:
        """Return the report as a mapping."""
        content = asdict(self)
        for group, values in ((self.total, content["total"]), *zip(self.groups, content["groups"], strict=True)):
            values["wasted_share"] = group.wasted_share
        return content


def group_keys(text: str) -> tuple[str, ...]:
    """Return the keys in `project,person,month`.

    Raises:
        ConfigError: one is not known.
    """
    keys = tuple(each.strip() for each in text.split(",") if each.strip())
    for key in keys:
        if key not in SUM_KEYS:
            raise ConfigError(f"--by {key!r} is not known. Keys: {', '.join(SUM_KEYS)}.{nearest(key, SUM_KEYS)}")
    return keys


def report_ledgers(
    paths: Sequence[Path], *, by: Sequence[str], since: datetime | None = None, until: datetime | None = None
) -> LedgerReport:
    """Return the costs in ledgers.

    What is wasted is judged by all executions of a ledger, also those outside the period.

    Args:
        paths: The ledgers; an execution in several of them counts once.
        by: The keys of the groups.
        since: Executions that began earlier do not count.
        until: Nor do those that began then or later.

    Raises:
        ConfigError: a file is missing or no ledger.
        IntegrityError: an execution in it is damaged.
    """
    records: dict[str, ExecutionRecord] = {}
    lost: set[str] = set()
    for path in paths:
        read = read_executions(path)
        new = [record for record in read if record.id not in records]
        vain = {record.id for record in wasted_in(path.absolute().parent, read)}
        lost |= {record.id for record in new if record.id in vain}
        records |= {record.id: record for record in new}
    chosen = sorted(_within(records.values(), since, until), key=lambda record: record.started_utc)
    groups: dict[tuple[str, ...], list[ExecutionRecord]] = {}
    for record in chosen:
        groups.setdefault(group_of(record, by), []).append(record)
    costs = [_costs(keys, own, lost) for keys, own in groups.items()]
    return LedgerReport(
        written_utc=f"{datetime.now(UTC):%Y-%m-%d %H:%M} UTC",
        since=_day(since),
        until=_day(until),
        by=tuple(by),
        groups=tuple(sorted(costs, key=lambda each: -each.energy_kwh)),
        total=_costs((), chosen, lost),
        ledgers=tuple(map(str, paths)),
        hosts=tuple(sorted({record.host for record in chosen})),
        first=_day(chosen[0].started_utc) if chosen else None,
        last=_day(chosen[-1].started_utc) if chosen else None,
    )


def _within(
    records: Iterable[ExecutionRecord], since: datetime | None, until: datetime | None
) -> list[ExecutionRecord]:
    return [
        record
        for record in records
        if (since is None or record.started_utc >= since) and (until is None or record.started_utc < until)
    ]


def _costs(keys: tuple[str, ...], records: Sequence[ExecutionRecord], lost: set[str]) -> GroupCosts:
    sums = total("", records)
    commands = [record for record in records if record.is_command and not record.is_server]
    stages = [record for record in records if record.of_pipeline]
    return GroupCosts(
        keys=keys,
        executions=sums.executions,
        energy_kwh=sums.energy_j / _J_PER_KWH,
        uncertainty_kwh=sums.uncertainty_j / _J_PER_KWH,
        carbon_kg=sums.carbon_g / 1000,
        cost=sums.cost,
        measured_share=sums.measured_fraction,
        pipeline_kwh=_kwh(stages),
        wasted_kwh=_kwh([record for record in stages if record.id in lost]),
        served_kwh=_kwh([record for record in records if record.is_server]),
        commands_kwh=_kwh(commands),
        scripts_kwh=_kwh([record for record in records if record.is_script]),
        unknown=sums.unknown,
    )


def _kwh(records: Sequence[ExecutionRecord]) -> float:
    return sum(record.energy_j or 0.0 for record in records) / _J_PER_KWH


def _day(moment: datetime | None) -> str | None:
    if moment is None:
        return None
    midnight = (moment.hour, moment.minute, moment.second) == (0, 0, 0)
    return f"{moment:%Y-%m-%d}" if midnight else f"{moment:%Y-%m-%d %H:%M}"
