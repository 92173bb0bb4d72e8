"""All jobs of a simulation, added up and compared; and what a search for the least energy finds, and its probes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from itertools import pairwise
from typing import Any

from overwinter.carbon.forecast import Hours
from overwinter.errors import ConfigError
from overwinter.power.interface import Observation, OperatingPoint, PowerPolicy
from overwinter.power.policies import EnergyOptimal
from overwinter.power.simulation import (
    HOUR_S,
    ForecastMemory,
    Job,
    Outcome,
    best_under,
    draw_starts,
    replay,
    run_under,
)
from overwinter.power.simulation_device import DeviceTable


@dataclass(frozen=True, kw_only=True)
class Comparison:
    """The outcomes of all jobs, in the order of their starts.

    Attributes:
        starts: hours since 1970.
        policy: under the policy.
        no_cap: under the highest limit.
        best_static: under the best single limit in hindsight that misses no deadline.
        best_static_w: that limit.
        optimum: with perfect knowledge.
        job: what they had to do.
    """

    starts: Sequence[int]
    policy: Sequence[Outcome]
    no_cap: Sequence[Outcome]
    best_static: Sequence[Outcome]
    best_static_w: float
    optimum: Sequence[Outcome]
    job: Job

    def share_of_saving(self, of: Sequence[Outcome] | None = None) -> float | None:
        """Return the share of the optimum's saving that the policy, or ``of``, reached; None: nothing to save."""
        uncapped, least = _sum(self.no_cap), _sum(self.optimum)
        possible = uncapped - least
        return (uncapped - _sum(of or self.policy)) / possible if possible > 1e-9 * abs(uncapped) else None

    def to_json(self) -> dict[str, Any]:
        """Return sums over all starts, and grams (``_g``), or money (``_cost``), of each."""
        return {
            "policy": self._summed(self.policy),
            "no_cap": self._summed(self.no_cap),
            "best_static": {**self._summed(self.best_static), "limit_w": self.best_static_w},
            "optimum": self._summed(self.optimum),
            "share_of_optimum_saving": self.share_of_saving(),
            "runs": [self._run(place) for place in range(len(self.starts))],
        }

    def _run(self, place: int) -> dict[str, Any]:
        start, unit = datetime.fromtimestamp(self.starts[place] * HOUR_S, tz=UTC), "cost" if self.job.priced else "g"
        return {
            "start_utc": f"{start:%Y-%m-%dT%H:%M:%SZ}",
            f"policy_{unit}": self.policy[place].cost,
            "policy_hours": self.policy[place].hours,
            f"no_cap_{unit}": self.no_cap[place].cost,
            f"best_static_{unit}": self.best_static[place].cost,
            f"optimum_{unit}": self.optimum[place].cost,
        }

    def _summed(self, outcomes: Sequence[Outcome]) -> dict[str, Any]:
        summed = {
            "cost" if self.job.priced else "carbon_g": _sum(outcomes),
            "energy_j": sum(each.energy_j for each in outcomes),
            "hours": sum(each.hours for each in outcomes),
            "missed_deadlines": sum(each.missed for each in outcomes),
        }
        if self.job.budget_j is not None or self.job.budget_cost is not None:
            summed["over_budget"] = sum(each.over_budget for each in outcomes)
        return summed


@dataclass(frozen=True, kw_only=True)
class Found:
    """What a search for the limit with the least energy came to, on one workload.

    Attributes:
        select: the workload.
        probes: limits tried.
        full_sweep: limits there are.
        limit_w: what was chosen.
        energy_j: per unit of work (an hour at full speed), under it.
        best_energy_j: the least there is, among the limits that are not too slow.
        slowdown: of the chosen one, against the highest limit.
    """

    select: Mapping[str, str]
    probes: int
    full_sweep: int
    limit_w: float
    energy_j: float
    best_energy_j: float
    slowdown: float


def compare(
    policy: PowerPolicy, device: DeviceTable, job: Job, trace: Hours, starts: Sequence[int], forecasts: ForecastMemory
) -> Comparison:
    """Run jobs from all ``starts`` under the policy and under what it is compared with."""
    by_limit = {
        point.limit_w: [run_under(point.limit_w, device, job, trace, start) for start in starts]
        for point in device.points
    }
    in_time = [limit_w for limit_w, runs in by_limit.items() if not any(run.missed for run in runs)]
    if not in_time:
        raise ConfigError(f"No limit of the device does {job.hours:g} h of work at slack {job.slack:g}. Raise --slack.")
    best_w = min(in_time, key=lambda limit_w: _sum(by_limit[limit_w]))
    return Comparison(
        starts=starts,
        policy=[replay(policy, device, job, trace, start, forecasts) for start in starts],
        no_cap=by_limit[device.points[-1].limit_w],
        best_static=by_limit[best_w],
        best_static_w=best_w,
        optimum=[best_under(device, job, trace, start) for start in starts],
        job=job,
    )


def simulate(
    policy: PowerPolicy, device: DeviceTable, job: Job, trace: Hours, *, count: int, seed: int, published: int = 0
) -> Comparison:
    """Draw ``count`` starts and compare; see `compare`. ``published`` hours ahead are known, not foreseen."""
    starts = draw_starts(trace, job, count, seed)
    return compare(policy, device, job, trace, starts, ForecastMemory(trace, published=published))


def find_least_energy(device: DeviceTable, max_slowdown: float | None) -> Found:
    """Let `EnergyOptimal` try limits of ``device``, whose table answers, until it asks for one it has tried."""
    limits_w = [point.limit_w for point in device.points]
    step_w = min((after - each for each, after in pairwise(limits_w)), default=1.0)
    policy = EnergyOptimal(max_slowdown=max_slowdown, step_w=step_w)
    known: dict[float, OperatingPoint] = {}
    while (limit_w := _asked(policy, device, known)) not in known:
        known[limit_w] = device.at(limit_w)
    chosen, full_speed = known[limit_w], device.points[-1].speed_per_s
    slowest = 0.0 if max_slowdown is None else full_speed / (1 + max_slowdown) * (1 - 1e-9)
    return Found(
        select=device.select,
        probes=len(known),
        full_sweep=len(limits_w),
        limit_w=chosen.limit_w,
        energy_j=_energy_j(chosen),
        best_energy_j=min(_energy_j(point) for point in device.points if point.speed_per_s >= slowest),
        slowdown=full_speed / chosen.speed_per_s - 1,
    )


def _asked(policy: PowerPolicy, device: DeviceTable, known: Mapping[float, OperatingPoint]) -> float:
    points = tuple(sorted(known.values(), key=lambda point: point.limit_w))
    seen = Observation(time_utc=datetime.fromtimestamp(0, tz=UTC), devices=(device.state,), points=points)
    limit_w = policy.decide(seen).limits_w.get(device.state.name)
    return device.state.ceiling_w if limit_w is None else limit_w


def _energy_j(point: OperatingPoint) -> float:
    return point.power_w / point.speed_per_s


def _sum(outcomes: Sequence[Outcome]) -> float:
    return sum(each.cost for each in outcomes)
