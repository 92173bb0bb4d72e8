"""Simulated jobs that search for the limit with the least energy while they run, on a table of measurements.

A job is a number of equal pieces of work, each the table's piece (an epoch). The policy is the same object as in the
real loop and decides before each piece, so a tried limit costs a piece under that limit. The measured joules of a
piece have noise; its seconds have none, since clocks are exact.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from datetime import UTC, datetime
from statistics import fmean
from typing import Any

import numpy as np

from overwinter.power.interface import Observation, OperatingPoint, PowerPolicy
from overwinter.power.policies.energy_optimal import EnergyOptimalPowerConfig
from overwinter.power.policies.probing import energy_per_work_j, slowest_per_s
from overwinter.power.settings import SearchingPowerConfig
from overwinter.power.simulation.device import HOUR_S, DeviceTable

_MIN_SHARE = 0.01  # smallest measurement, as a share of a piece's joules


@dataclass(frozen=True, kw_only=True)
class Search:
    """Parameters of the search and of its measurements.

    Attributes:
        pieces: number of pieces in a job.
        noise: standard deviation of a piece's measured joules, relative to them.
        repeats: jobs per workload, each with other noise.
        max_slowdown: maximum slowdown of a piece against the highest limit; None: no maximum.
    """

    pieces: int
    noise: float = 0.0
    repeats: int = 1
    max_slowdown: float | None = None


@dataclass(frozen=True, kw_only=True)
class Found:
    """Results of all jobs of one workload.

    Attributes:
        select: columns and values that identify the workload.
        probes: mean number of tried limits per job.
        full_sweep: number of limits in the table.
        limit_w: limit of the first job's last piece.
        slowdown: slowdown under the slowest limit of all jobs' last pieces, against the highest limit.
        energy_j: energy of a piece under ``limit_w``.
        best_energy_j: energy of a piece under the best limit that is fast enough.
        slow_pieces: number of pieces in all jobs under a limit already known to be too slow.
        job_energy_j: mean energy of a job.
        best_job_energy_j: energy of a job under the best limit.
    """

    select: Mapping[str, str]
    probes: float
    full_sweep: int
    limit_w: float
    slowdown: float
    energy_j: float
    best_energy_j: float
    slow_pieces: int
    job_energy_j: float
    best_job_energy_j: float

    @property
    def ratio(self) -> float:
        """Energy of a job relative to the minimum."""
        return self.job_energy_j / self.best_job_energy_j

    def to_json(self) -> dict[str, Any]:
        """Return the fields as JSON values, with the ratio."""
        return {**asdict(self), "select": dict(self.select), "ratio": self.ratio}


def summed_up(found: Sequence[Found]) -> dict[str, float]:
    """Return the mean and the worst ratio of all workloads, and the number of slow pieces."""
    ratios = [each.ratio for each in found]
    return {
        "mean_ratio": fmean(ratios),
        "worst_ratio": max(ratios),
        "slow_pieces": sum(each.slow_pieces for each in found),
    }


def find_least_energy(
    device: DeviceTable,
    search: Search,
    seed: int = 0,
    *,
    policy_of: type[SearchingPowerConfig] = EnergyOptimalPowerConfig,
) -> Found:
    """Run all jobs of ``search`` with a searching policy on ``device``, and return the results."""
    rng = np.random.default_rng(seed)
    table = {point.limit_w: point for point in device.points}
    policy = policy_of.over(tuple(table), search.max_slowdown)
    jobs = [run_job(policy, device, search, rng) for _ in range(search.repeats)]
    top, lasts = device.points[-1], [table[limits_w[-1]] for limits_w in jobs]
    slowest = 0.0 if search.max_slowdown is None else slowest_per_s(top, search.max_slowdown)
    piece_j = {limit_w: energy_per_work_j(point) * device.piece_s / HOUR_S for limit_w, point in table.items()}
    slow = {limit_w for limit_w, point in table.items() if point.speed_per_s < slowest}
    best_j = min(piece_j[each] for each in piece_j if each not in slow)
    return Found(
        select=device.select,
        probes=fmean(len(set(limits_w)) for limits_w in jobs),
        full_sweep=len(table),
        limit_w=jobs[0][-1],
        slowdown=max(top.speed_per_s / last.speed_per_s for last in lasts) - 1,
        energy_j=piece_j[jobs[0][-1]],
        best_energy_j=best_j,
        slow_pieces=sum(sum(each in slow for each in limits_w) - len(slow & set(limits_w)) for limits_w in jobs),
        job_energy_j=fmean(sum(piece_j[each] for each in limits_w) for limits_w in jobs),
        best_job_energy_j=search.pieces * best_j,
    )


def run_job(policy: PowerPolicy, device: DeviceTable, search: Search, rng: np.random.Generator) -> list[float]:
    """Run one job, and return the limit of each of its pieces."""
    known: dict[float, OperatingPoint] = {}
    limits_w: list[float] = []
    first = Observation(time_utc=datetime.fromtimestamp(0, tz=UTC), devices=(device.state,), work_total=search.pieces)
    for done in range(search.pieces):
        limit_w = _asked(policy, first, known, done)
        share = max(_MIN_SHARE, 1 + search.noise * float(rng.standard_normal()))
        known[limit_w] = _with_another(known.get(limit_w), device.at(limit_w), share)
        limits_w.append(limit_w)
    return limits_w


def _with_another(known: OperatingPoint | None, true: OperatingPoint, share: float) -> OperatingPoint:
    """Return the means with one more measurement, of ``share`` of the true power."""
    trials, before_w = (known.trials, known.power_w) if known else (0, 0.0)
    power_w = (before_w * trials + true.power_w * share) / (trials + 1)
    return OperatingPoint(limit_w=true.limit_w, power_w=power_w, speed_per_s=true.speed_per_s, trials=trials + 1)


def _asked(policy: PowerPolicy, first: Observation, known: Mapping[float, OperatingPoint], done: int) -> float:
    points = tuple(sorted(known.values(), key=lambda point: point.limit_w))
    (state,) = first.devices
    limit_w = policy.decide(replace(first, points=points, work_done=float(done))).limits_w.get(state.name)
    return state.ceiling_w if limit_w is None else limit_w
