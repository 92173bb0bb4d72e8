"""Jobs replayed over a trace of carbon or prices: a policy, no cap, the best single limit, and the optimum.

A job is a number of hours of full-speed work (the speed under the highest limit). It starts at a whole hour, at least
five weeks after the trace begins, and must be done within slack times those hours. A pause before its end draws
``pause_w``; after its end the job draws nothing. The policy is the same object as in the real loop: it sees the past,
the current hour's intensity, and the forecast of `overwinter.carbon.forecast`.

The optimum knows the whole trace; `overwinter.power.planning` solves the linear programme exactly.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta

import numpy as np

from overwinter.carbon.forecast import Forecaster, Hours
from overwinter.errors import ConfigError, OverwinterError
from overwinter.power.control.asking import defect
from overwinter.power.interface import Decision, Observation, OperatingPoint, PowerPolicy, Series
from overwinter.power.planning import Floats, envelope, plan
from overwinter.power.simulation.device import HOUR_S, DeviceTable

_J_PER_KWH = 3.6e6
_PAST_HOURS = 5 * 7 * 24
_DONE = 1e-9  # rounding error, as a share of the work
_LATE_S = 1e-3
_LONGEST = 20  # multiple of the time to the deadline after which a policy counts as never finishing


@dataclass(frozen=True, kw_only=True)
class Job:
    """Parameters of every simulated job.

    Attributes:
        hours: hours of work at full speed.
        slack: time to the deadline, as a multiple of ``hours``.
        pause_w: power drawn in a pause before the end.
        priced: whether the trace contains prices instead of carbon intensities.
        budget_j: energy budget of the job; None: unlimited.
        budget_cost: budget of grams or money; None: unlimited.
    """

    hours: float
    slack: float
    pause_w: float = 0.0
    priced: bool = False
    budget_j: float | None = None
    budget_cost: float | None = None

    @property
    def time_s(self) -> float:
        """Time from the start to the deadline."""
        return self.hours * self.slack * HOUR_S


@dataclass(frozen=True, kw_only=True)
class Outcome:
    """The result of one job.

    Attributes:
        cost: grams, or money if the trace contains prices.
        energy_j: energy used.
        hours: hours from its start to its end.
        missed: whether it missed its deadline.
        over_budget: whether it exceeded its budget.
    """

    cost: float
    energy_j: float
    hours: float
    missed: bool
    over_budget: bool


class ForecastMemory:
    """Cached forecasts of a trace, since several jobs and slacks need the same hour.

    Args:
        trace: hourly intensities.
        others: traces of other regions; only their past is used.
        now_known: whether the current hour's value is known.
        published: number of future hours that are known too, such as tomorrow's prices.
    """

    def __init__(
        self, trace: Hours, others: Sequence[Hours] = (), *, now_known: bool = True, published: int = 0
    ) -> None:
        self._trace, self._published = trace, published
        self._forecaster = Forecaster(trace, others, now_known=now_known)
        self._known: dict[int, Floats] = {}

    def at(self, hour: int, steps: int) -> Floats:
        """Return the forecast of ``hour`` and the hours after it; (steps,)."""
        known = self._known.get(hour)
        if known is None or len(known) < steps:
            known = self._known[hour] = self._made(hour, steps)
        return known[:steps]

    def _made(self, hour: int, steps: int) -> Floats:
        place = hour - self._trace.first
        forecast_known = (
            self._trace.values[place : place + 1 + self._published][:steps] if self._published else np.zeros(0)
        )
        if not len(forecast_known):
            return self._forecaster.at(hour, steps)
        latest = hour + len(forecast_known) - 1
        return np.concatenate([forecast_known[:-1], self._forecaster.at(latest, steps - len(forecast_known) + 1)])


def draw_starts(trace: Hours, job: Job, count: int, seed: int) -> list[int]:
    """Draw hours of the trace at which jobs start, each at most once, in order of time.

    Raises:
        ConfigError: the trace is too short for one job.
    """
    first = trace.first + _PAST_HOURS
    last = trace.first + len(trace.values) - math.ceil(job.hours * job.slack - _DONE)
    if last < first:
        raise ConfigError(
            f"The trace has {len(trace.values)} hours: five weeks of past and {job.hours * job.slack:g} h for the job "
            "do not fit. Use a longer trace, fewer hours or less slack."
        )
    possible = np.arange(first, last + 1)
    drawn = np.random.default_rng(seed).choice(possible, size=min(count, len(possible)), replace=False)
    return sorted(int(hour) for hour in drawn)


def replay(
    policy: PowerPolicy, device: DeviceTable, job: Job, trace: Hours, start: int, forecasts: ForecastMemory
) -> Outcome:
    """Run one job under ``policy`` from hour ``start`` of the trace."""
    left_s, now_s, cost, energy_j = job.hours * HOUR_S, 0.0, 0.0, 0.0
    while left_s > _DONE * job.hours * HOUR_S:
        if now_s > _LONGEST * job.time_s + _PAST_HOURS * HOUR_S:
            raise ConfigError(f"The policy has not finished the job after {now_s / HOUR_S:.0f} h: it pauses too much.")
        seen = _with_budget(_observed(device, job, trace, start, now_s, left_s, forecasts), job, energy_j, cost)
        decision = _decided(policy, seen)
        point = _operating(device, decision, job.pause_w)
        until_s = (math.floor(now_s / HOUR_S + _DONE) + 1) * HOUR_S - now_s
        duration_s = min(until_s, decision.review_s or until_s)
        full_speed = point.speed_per_s * HOUR_S
        if full_speed > 0:
            duration_s = min(duration_s, left_s / full_speed)
        drawn_j = point.power_w * duration_s
        cost += drawn_j / _J_PER_KWH * _intensity(trace, start, now_s)
        energy_j, left_s, now_s = energy_j + drawn_j, left_s - full_speed * duration_s, now_s + duration_s
    return _outcome(cost, energy_j, now_s, job)


def run_under(limit_w: float, device: DeviceTable, job: Job, trace: Hours, start: int) -> Outcome:
    """Run one job under a single limit from beginning to end."""
    point = device.at(limit_w)
    time_s = job.hours / point.speed_per_s
    spent_s = np.clip(time_s - HOUR_S * np.arange(math.ceil(time_s / HOUR_S)), 0.0, HOUR_S)
    grams = point.power_w / _J_PER_KWH * spent_s @ _values(trace, start, len(spent_s))
    return _outcome(float(grams), point.power_w * time_s, time_s, job)


def best_under(device: DeviceTable, job: Job, trace: Hours, start: int) -> Outcome:
    """Run one job optimally, with perfect knowledge of the trace."""
    durations_s = _hours_of(job.time_s)
    intensities = _values(trace, start, len(durations_s))
    best = plan(intensities, durations_s, job.hours, device.points, job.pause_w)
    busy = np.flatnonzero(best.work > _DONE * job.hours)
    end = int(busy[-1]) if best.end_step is None else best.end_step
    kept, free = envelope(device.points, job.pause_w), envelope(device.points, 0.0)
    energy_j = 0.0
    for step in range(end + 1):
        hull = (free if step == end else kept).at(intensities[step])
        energy_j += float(np.interp(best.work[step] / durations_s[step], hull.speeds, hull.powers)) * durations_s[step]
    # in its last hour the job runs at the slowest sufficient speed, or faster and then ends
    last = free.at(intensities[end])
    ending_s = min(durations_s[end], best.work[end] / last.speeds[min(1, len(last.speeds) - 1)])
    return _outcome(best.cost / _J_PER_KWH, energy_j, float(durations_s[:end].sum() + ending_s), job)


def _outcome(cost: float, energy_j: float, time_s: float, job: Job) -> Outcome:
    budgets = ((energy_j, job.budget_j), (cost, job.budget_cost))
    return Outcome(
        cost=float(cost),
        energy_j=float(energy_j),
        hours=float(time_s / HOUR_S),
        missed=bool(time_s > job.time_s + _LATE_S),
        over_budget=any(budget is not None and spent > budget * (1 + _DONE) for spent, budget in budgets),
    )


def _decided(policy: PowerPolicy, seen: Observation) -> Decision:
    """Return the policy's decision; raise where the real loop would continue under the previous limits."""
    try:
        decision = policy.decide(seen)
        wrong = defect(decision, {device.name for device in seen.devices})
    except Exception as error:
        raise OverwinterError(f"The policy failed at {seen.time_utc:%Y-%m-%d %H:%M}: {error!r}. Correct it.") from error
    if wrong:
        raise OverwinterError(
            f"The policy returned an invalid decision at {seen.time_utc:%Y-%m-%d %H:%M}: {wrong}. Correct it."
        )
    return decision


def _with_budget(seen: Observation, job: Job, energy_j: float, cost: float) -> Observation:
    return replace(
        seen,
        remaining_energy_j=None if job.budget_j is None else job.budget_j - energy_j,
        remaining_carbon_g=None if job.budget_cost is None else job.budget_cost - cost,
    )


def _observed(
    device: DeviceTable,
    job: Job,
    trace: Hours,
    start: int,
    now_s: float,
    left_s: float,
    forecasts: ForecastMemory,
) -> Observation:
    hour = start + math.floor(now_s / HOUR_S + _DONE)
    began = datetime.fromtimestamp(start * HOUR_S, tz=UTC)
    steps = max(1, math.ceil(job.time_s / HOUR_S - _DONE) - (hour - start))
    forecast = forecasts.at(min(hour, trace.first + len(trace.values)), steps)
    now = _intensity(trace, start, now_s)
    ahead = Series(
        start_utc=datetime.fromtimestamp(hour * HOUR_S, tz=UTC), step_s=HOUR_S, values=tuple(forecast.tolist())
    )
    return Observation(
        time_utc=began + timedelta(seconds=now_s),
        devices=(device.state,),
        points=device.points,
        work_done=job.hours - left_s / HOUR_S,
        work_total=job.hours,
        deadline_utc=began + timedelta(seconds=job.time_s),
        intensity_g_per_kwh=None if job.priced else now,
        intensity_forecast=None if job.priced else ahead,
        price_per_kwh=now if job.priced else None,
        price_forecast=ahead if job.priced else None,
        pause_w=job.pause_w,
    )


def _operating(device: DeviceTable, decision: Decision, pause_w: float) -> OperatingPoint:
    """Return the operating point under a decision; a pause has speed 0."""
    state = device.state
    if decision.pause:
        return OperatingPoint(limit_w=state.min_w, power_w=pause_w, speed_per_s=0.0)
    limit_w = decision.limits_w.get(state.name)
    if limit_w is None:
        return device.points[-1]
    if not state.min_w <= limit_w <= state.max_w:
        raise ConfigError(
            f"The policy's limit of {limit_w:g} W is outside the device's range, {state.min_w:g} to {state.max_w:g} W."
        )
    return device.at(limit_w)


def _intensity(trace: Hours, start: int, now_s: float) -> float:
    return float(_values(trace, start + math.floor(now_s / HOUR_S + _DONE), 1)[0])


def _values(trace: Hours, start: int, count: int) -> Floats:
    """Return the intensities of hours; beyond the trace's end, which only a late job reaches, the last week repeats."""
    places = start - trace.first + np.arange(count)
    beyond = places - len(trace.values)
    week = min(168, len(trace.values))
    return trace.values[np.where(beyond < 0, places, len(trace.values) - week + beyond % week)]


def _hours_of(time_s: float) -> Floats:
    """Return the durations of the hours up to ``time_s``, the last one truncated; (hours,)."""
    count = math.ceil(time_s / HOUR_S - _DONE)
    return np.asarray(np.minimum(HOUR_S, time_s - HOUR_S * np.arange(count)))
