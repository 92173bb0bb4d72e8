"""The policies that plan over a forecast: `carbon_aware` and `price_aware`.

Receding horizon: each decision plans the remaining work over the forecast's steps up to the deadline
(`overwinter.power.planning`) and executes the first step of that plan. Within a step the faster of two limits comes
first, so that time never runs short at its end.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

import numpy as np

from overwinter.power.interface import Decision, Observation, OperatingPoint, Series
from overwinter.power.planning import Envelope, Floats, LimitPlan, envelope, plan
from overwinter.power.policies.decisions import (
    as_before,
    limit_all,
    pause,
    time_left_s,
    trial,
    usable_points,
    work_left,
)

_NOTHING = 1e-9  # rounding error, as a share of a step or of the work
_MIN_S = 1e-3
_DAY_S = 86400.0
_HOUR_S = 3600.0
_TRIAL_ROOM = 0.9  # maximum share of the remaining time that the work may need for a limit of unknown speed to be tried
_MAX_PLAN = 1000  # steps; with a later deadline they are longer


@dataclass(frozen=True, kw_only=True)
class CarbonAware:
    """Least carbon by the deadline.

    Attributes:
        pauses: whether the work may pause; otherwise only limits follow the intensity.
    """

    pauses: bool = True

    def decide(self, observation: Observation) -> Decision:
        """Return the first step of the plan over the intensity's forecast."""
        forecast = _not_below_zero(observation.intensity_forecast)
        return _first_step(observation, forecast, "gCO2e/kWh", pauses=self.pauses)


@dataclass(frozen=True, kw_only=True)
class PriceAware:
    """Least cost by the deadline.

    Attributes:
        pauses: whether the work may pause; otherwise only limits follow the price.
    """

    pauses: bool = True

    def decide(self, observation: Observation) -> Decision:
        """Return the first step of the plan over the price's forecast."""
        return _first_step(observation, observation.price_forecast, "per kWh", pauses=self.pauses)


def _not_below_zero(forecast: Series | None) -> Series | None:
    """Return the forecast with negative values set to 0: an extrapolated intensity may fall below zero."""
    if forecast is None or not any(value < 0 for value in forecast.values):
        return forecast
    return replace(forecast, values=tuple(0.0 if value < 0 else value for value in forecast.values))


def _first_step(observation: Observation, forecast: Series | None, unit: str, *, pauses: bool) -> Decision:
    left, until_s = work_left(observation), time_left_s(observation)
    if left is None or until_s is None or left <= 0:
        return as_before("no deadline, or the remaining work is unknown")
    points = usable_points(observation)
    if not points:
        return as_before("speed and power under limits are unknown so far")
    until_s -= observation.resume_s if pauses else 0.0
    if left >= until_s * max(point.speed_per_s for point in points) * (1 - _NOTHING):
        return as_before("no spare time before the deadline")
    if left <= _TRIAL_ROOM * until_s * points[0].speed_per_s and (untried := trial(observation)) is not None:
        return untried
    idle_w = observation.pause_w if pauses else None
    durations_s, prices = horizon(observation, forecast, until_s)
    planned = plan(prices, durations_s, left, points, idle_w)
    curve = envelope(points, 0.0 if planned.end_step == 0 else idle_w)
    known = f"{prices[0]:.3g} {unit}" if forecast is not None else "no forecast: the least energy by the deadline"
    return _carry_out(observation, planned, curve, prices, durations_s, known)


def horizon(observation: Observation, forecast: Series | None, until_s: float) -> tuple[Floats, Floats]:
    """Return duration and price of the steps from now to ``until_s`` seconds ahead; (steps,) each.

    The first step ends with the forecast's first step. Beyond the forecast its last day repeats; missing values get the
    mean; without a forecast all steps cost the same.
    """
    values = _filled(forecast)
    step_s = forecast.step_s if forecast is not None and forecast.step_s > 0 else _HOUR_S
    gone_s = 0.0
    if forecast is not None:
        gone_s = (observation.time_utc - forecast.start_utc).total_seconds()
    first = max(0, int(gone_s // step_s))
    head_s = step_s - (gone_s - first * step_s) if gone_s >= 0 else step_s
    merged = max(1, math.ceil(until_s / step_s / _MAX_PLAN))
    edges = np.arange(head_s, until_s, step_s * merged)
    durations_s = np.diff(np.concatenate([[0.0], edges, [until_s]]))
    prices = _continued(values, first + np.arange(len(durations_s)) * merged, step_s)
    return durations_s, prices


def _filled(forecast: Series | None) -> Floats:
    values = np.array(forecast.values if forecast is not None else (), dtype=float)
    finite = np.isfinite(values)
    if not finite.any():
        return np.ones(1)
    return np.where(finite, values, values[finite].mean())


def _continued(values: Floats, places: np.ndarray[tuple[int], np.dtype[np.intp]], step_s: float) -> Floats:
    """Return the values at ``places``; beyond the end, the last day or the last value repeats."""
    day = min(len(values), max(1, round(_DAY_S / step_s)))
    if len(values) < round(_DAY_S / step_s):
        day = 1
    beyond = places - len(values)
    return values[np.where(beyond < 0, places, len(values) - day + beyond % day)]


def _carry_out(
    observation: Observation, planned: LimitPlan, curve: Envelope, prices: Floats, durations_s: Floats, known: str
) -> Decision:
    """Return the decision for the work of the first step: a limit or a pause, and its duration."""
    hull, duration_s = curve.at(prices[0]), float(durations_s[0])
    speed = float(planned.work[0]) / duration_s
    upper = min(int(np.searchsorted(hull.speeds, speed * (1 - _NOTHING))), len(hull.speeds) - 1)
    if upper == 0:
        return _slower(observation, planned, durations_s, hull.limits_w[0], known)
    share = (speed - hull.speeds[upper - 1]) / (hull.speeds[upper] - hull.speeds[upper - 1])
    if share < _NOTHING:
        return _slower(observation, planned, durations_s, hull.limits_w[upper - 1], known)
    lasting_s = duration_s if share > 1 - _NOTHING else share * duration_s
    return _at(observation, hull.limits_w[upper], max(lasting_s, _MIN_S), known)


def _slower(
    observation: Observation, planned: LimitPlan, durations_s: Floats, limit_w: float | None, known: str
) -> Decision:
    """Return the decision for the lower of two limits; a pause that costs more than it saves is skipped."""
    duration_s = max(float(durations_s[0]), _MIN_S)
    busy = np.flatnonzero(planned.work > _NOTHING * planned.work.sum())
    pause_s = float(durations_s[: busy[0]].sum()) if len(busy) else math.inf
    if limit_w is None and pause_s <= 2 * observation.resume_s:
        slowest_w = _slowest(usable_points(observation))
        return _at(observation, slowest_w, duration_s, f"{known}; too short for a pause")
    return _at(observation, limit_w, duration_s, known)


def _slowest(points: tuple[OperatingPoint, ...]) -> float:
    return min(points, key=lambda point: point.speed_per_s).limit_w


def _at(observation: Observation, limit_w: float | None, review_s: float, known: str) -> Decision:
    if limit_w is None:
        return pause(f"paused at {known}", review_s=review_s)
    return limit_all(observation, limit_w, f"{limit_w:.4g} W at {known}", review_s=review_s)
