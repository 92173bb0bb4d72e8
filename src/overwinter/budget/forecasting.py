"""The forecast cost of a stage, from the ledger's history.

For a configuration that has run, the forecast is the median and its spread the median absolute deviation, both of
logarithms (costs are ratios, and one run with a busy neighbour must not move the forecast). The range widens with few
executions (a normal prediction interval's sqrt(1 + 1/n), with a larger factor for small n), and never falls below a
floor, the smallest scatter between executions.

For another amount of the same work (more epochs, all else equal), the forecast is the sum of two parts that every
execution records: the cost of its steps, which grows with their number, and its fixed cost (starting, loading, saving).
Executions with other settings are not used.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from overwinter.budget.growing import Parts, grown
from overwinter.budget.ranges import Range, prediction_range

if TYPE_CHECKING:
    from overwinter.ledger import ExecutionRecord

_J_PER_KWH = 3.6e6
# Older executions ran with other versions of the machine, the libraries or the code.
_LATEST = 20
# The smallest share of its work for which an unfinished execution is used.
_MIN_SHARE = 0.1
# Half widths of the range, as a ratio, when many executions agree with one another.
_FLOORS = {"exact": 0.10, "unfinished": 0.25}
_OTHER_HOST = 0.50


@dataclass(frozen=True, kw_only=True)
class Forecast:
    """The forecast cost of one whole execution of a stage.

    Attributes:
        stage: The stage's name.
        basis: `exact` (finished executions of the same configuration), `unfinished` (stopped ones, extrapolated),
            `scaled` (other amounts of the same work, with their fixed and growing parts), `restored` (from the cache),
            `probe` (some steps of the stage), `transferred` (other stages on the same machine), `modelled` (public
            figures of the hardware), or `unknown`.
        executions: The number of executions used; for `unknown`, the number with other settings.
        energy_j: Joules; None if unknown.
        carbon_g: Grams; None if unknown.
        duration_s: Seconds; None if unknown.
    """

    stage: str
    basis: str
    executions: int = 0
    energy_j: Range | None = None
    carbon_g: Range | None = None
    duration_s: Range | None = None


def forecast(
    records: Sequence[ExecutionRecord],
    *,
    stage: str,
    configuration_key: str | None,
    work: float | None = None,
    workload: str | None = None,
    inputs: Mapping[str, str] | None = None,
    host: str | None = None,
    intensity_g_per_kwh: float | None = None,
) -> Forecast:
    """Forecast one stage.

    Args:
        records: The ledger's executions, oldest first; those of other stages are ignored.
        stage: The stage.
        configuration_key: The key of the execution to forecast; None if it depends on results that do not exist yet.
        work: Its declared amount of work, such as epochs x samples; None if it declares none.
        workload: The digest of its steps' settings; only executions of the same workload are scaled.
        inputs: The artifact digests of its inputs; None if they do not exist yet.
        host: The machine it would run on; executions on this machine are preferred.
        intensity_g_per_kwh: The carbon intensity; without it, grams come from the history.
    """
    own = [record for record in records if record.stage == stage and record.energy_j is not None]
    same = [record for record in own if configuration_key is not None and record.configuration_key == configuration_key]
    done = [record for record in own if record.status == "done"]
    like = [record for record in done if work and record.work and workload and record.workload == workload]
    stopped = [record for record in same if _share_done(record) >= _MIN_SHARE]
    for basis, chosen in (
        ("exact", [each for each in same if each.status == "done"]),
        ("unfinished", stopped),
        ("scaled", like),
    ):
        if chosen:
            at_home = [record for record in chosen if host is None or record.host == host]
            latest = (at_home or chosen)[-_LATEST:]
            same_inputs = all(record.inputs == inputs for record in latest)
            made = _Made(basis=basis, work=work, away=not at_home, same_inputs=same_inputs)
            return made.forecast(stage, latest, intensity_g_per_kwh)
    return Forecast(stage=stage, basis="unknown", executions=len(done))


@dataclass(frozen=True, kw_only=True)
class _Made:
    """The method that makes a forecast from executions.

    Attributes:
        basis: The basis of the forecast.
        work: The amount of work to forecast.
        away: Whether the executions ran on another machine.
        same_inputs: Whether they read the same inputs.
    """

    basis: str
    work: float | None
    away: bool
    same_inputs: bool

    def forecast(self, stage: str, records: Sequence[ExecutionRecord], intensity_g_per_kwh: float | None) -> Forecast:
        energy_j = self._range([_Cost.energy(each) for each in records], records)
        weighed = [each for each in records if each.carbon_g is not None]
        carbon_g = self._range([_Cost.carbon(each) for each in weighed], weighed)
        if intensity_g_per_kwh is not None and energy_j is not None:
            carbon_g = energy_j.scaled(intensity_g_per_kwh / _J_PER_KWH)
        timed = [each for each in records if each.duration_s is not None]
        return Forecast(
            stage=stage,
            basis=self.basis,
            executions=len(records),
            energy_j=energy_j,
            carbon_g=carbon_g,
            duration_s=self._range([_Cost.time(each) for each in timed], timed),
        )

    def _range(self, costs: Sequence[_Cost], records: Sequence[ExecutionRecord]) -> Range | None:
        if self.basis == "exact":
            return prediction_range([each.whole for each in costs], self._floor("exact"))
        parts = [self._parts(cost, record) for cost, record in zip(costs, records, strict=True)]
        if self.basis == "scaled" or all(each.steps_cost is not None for each in parts):
            range_ = grown(parts, same_inputs=self.same_inputs)
            return range_.widened(math.log1p(_OTHER_HOST)) if range_ is not None and self.away else range_
        shares = [each.whole / _share_done(record) for each, record in zip(costs, records, strict=True)]
        return prediction_range(shares, self._floor("unfinished"))

    def _floor(self, basis: str) -> float:
        return _FLOORS[basis] + (_OTHER_HOST if self.away else 0.0)

    def _parts(self, cost: _Cost, record: ExecutionRecord) -> Parts:
        ratio = (self.work or 0.0) / (record.work or 1.0) if self.basis == "scaled" else 1.0
        return Parts(
            cost=cost.own,
            steps_cost=cost.steps,
            steps=record.steps,
            done=record.done if record.status == "done" else record.total,
            total=record.total,
            ratio=ratio,
        )


@dataclass(frozen=True, kw_only=True)
class _Cost:
    """One execution's joules, grams or seconds: in total with resumed ones, its own, and those of its steps."""

    whole: float
    own: float
    steps: float | None

    @classmethod
    def energy(cls, record: ExecutionRecord) -> _Cost:
        own = record.energy_j or 0.0
        return cls(whole=own + record.resumed_j, own=own, steps=record.steps_j)

    @classmethod
    def carbon(cls, record: ExecutionRecord) -> _Cost:
        own, energy_j = record.carbon_g or 0.0, record.energy_j or 0.0
        share = None if record.steps_j is None else (record.steps_j / energy_j if energy_j else 0.0)
        steps = None if share is None else share * own
        return cls(whole=own + record.resumed_carbon_g, own=own, steps=steps)

    @classmethod
    def time(cls, record: ExecutionRecord) -> _Cost:
        own = record.duration_s or 0.0
        return cls(whole=own + record.resumed_duration_s, own=own, steps=record.steps_s)


def _share_done(record: ExecutionRecord) -> float:
    if record.status in ("running", "done") or not record.done or not record.total:
        return 0.0
    return min(1.0, record.done / record.total)
