"""Sums and comparison of all jobs of a simulation."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from overwinter.carbon.forecast import Hours
from overwinter.errors import ConfigError
from overwinter.power.interface import PowerPolicy
from overwinter.power.simulation.device import HOUR_S, DeviceTable
from overwinter.power.simulation.replay import ForecastMemory, Job, Outcome, best_under, draw_starts, replay, run_under


@dataclass(frozen=True, kw_only=True)
class Comparison:
    """The outcomes of all jobs, in the order of their starts.

    Attributes:
        starts: start hours, since 1970.
        policy: outcomes under the policy.
        no_cap: outcomes under the highest limit.
        best_static: outcomes under the best single limit in hindsight that misses no deadline.
        best_static_w: the best single limit.
        optimum: outcomes with perfect knowledge.
        job: parameters of the jobs.
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
        """Return sums over all starts, and the grams (``_g``) or money (``_cost``) of each start."""
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


def compare(
    policy: PowerPolicy, device: DeviceTable, job: Job, trace: Hours, starts: Sequence[int], forecasts: ForecastMemory
) -> Comparison:
    """Run jobs from all ``starts`` under the policy and under its references."""
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
    """Draw ``count`` starts and compare; see `compare`. ``published`` future hours are known, not forecast."""
    starts = draw_starts(trace, job, count, seed)
    return compare(policy, device, job, trace, starts, ForecastMemory(trace, published=published))


def _sum(outcomes: Sequence[Outcome]) -> float:
    return sum(each.cost for each in outcomes)
