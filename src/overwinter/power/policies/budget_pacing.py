"""The policy `budget_pacing`: spends the remaining budget evenly up to the deadline."""

from __future__ import annotations

import math
from dataclasses import dataclass
from itertools import pairwise
from statistics import fmean
from typing import ClassVar, Literal

from overwinter.power.interface import Decision, Observation, OperatingPoint
from overwinter.power.policies.decisions import (
    NEAR_W,
    as_before,
    limit_all,
    pause,
    time_left_s,
    trial,
    usable_points,
    work_left,
)
from overwinter.power.settings import DeadlinePowerConfig

_J_PER_KWH = 3.6e6
_MORE = 1.02  # of the allowed power; a smaller excess is within the accuracy of a limit
_PERIODS_S = (3600.0, 900.0, 300.0, 60.0)
_FEWEST = 8  # periods up to the deadline


@dataclass
class BudgetPacingPowerConfig(DeadlinePowerConfig):
    """Settings of the policy that spends the remaining joules or grams evenly up to the deadline."""

    needs: ClassVar[Literal["prices", "budget"] | None] = "budget"

    def open(self) -> BudgetPacing:
        """Create the policy; budget and deadline come with the observation."""
        return BudgetPacing()


@dataclass(frozen=True, kw_only=True)
class BudgetPacing:
    """Spends joules, or grams, evenly: over the time to the deadline, or without one over the work."""

    def decide(self, observation: Observation) -> Decision:
        """Return the limit under which the budget lasts."""
        left_j = _remaining_j(observation)
        if left_j is None:
            return as_before("no budget to pace: neither joules, nor grams with a known intensity")
        until_s = time_left_s(observation)
        if until_s is None:
            return _over_work(observation, left_j)
        if until_s <= 0:
            return as_before("the deadline has passed")
        return _over_time(observation, left_j, until_s)


def _remaining_j(observation: Observation) -> float | None:
    amounts = []
    if observation.remaining_energy_j is not None:
        amounts.append(observation.remaining_energy_j)
    intensity = _coming_intensity(observation)
    if observation.remaining_carbon_g is not None and intensity is not None and intensity > 0:
        amounts.append(observation.remaining_carbon_g / intensity * _J_PER_KWH)
    return min(amounts, default=None)


def _coming_intensity(observation: Observation) -> float | None:
    """Return the mean forecast intensity up to the deadline; without a forecast, the current intensity."""
    forecast, until_s = observation.intensity_forecast, time_left_s(observation)
    steps = len(forecast.values) if forecast is not None else 0
    if forecast is not None and until_s is not None:
        steps = max(1, math.ceil(until_s / forecast.step_s))
    ahead = [value for value in (forecast.values[:steps] if forecast else ()) if math.isfinite(value) and value > 0]
    return fmean(ahead) if ahead else observation.intensity_g_per_kwh


def _over_time(observation: Observation, left_j: float, until_s: float) -> Decision:
    """Limit all devices together to what the budget allows; below their lowest limits, pause for a share of the time.

    If the work would miss the deadline that way, a faster limit that needs no more joules in total is better: a device
    with a high idle power is cheaper when the work is done sooner.
    """
    allowed_w = max(left_j, 0.0) / until_s
    if (faster := _sooner(observation, left_j, until_s, allowed_w)) is not None:
        return faster
    devices = max(1, len(observation.devices))
    lowest = _lowest(observation)
    if lowest is not None and lowest.power_w > allowed_w * _MORE:
        return _part_time(observation, lowest, allowed_w, until_s)
    return limit_all(observation, allowed_w / devices, f"the budget allows {allowed_w:.3g} W up to the deadline")


def _lowest(observation: Observation) -> OperatingPoint | None:
    """Return the operating point under the lowest limit; None: unknown so far."""
    lowest_w = max((device.min_w for device in observation.devices), default=0.0)
    at_lowest = [point for point in usable_points(observation) if point.limit_w <= lowest_w + NEAR_W]
    return min(at_lowest, key=lambda point: point.power_w, default=None)


def _sooner(observation: Observation, left_j: float, until_s: float, allowed_w: float) -> Decision | None:
    left, points = work_left(observation), usable_points(observation)
    if left is None or not points or _speed_at(points, allowed_w, observation.pause_w) * until_s >= left:
        return None
    fitting = [
        point
        for point in points
        if point.speed_per_s * until_s >= left and point.power_w / point.speed_per_s * left <= left_j
    ]
    if fitting:
        slowest = min(fitting, key=lambda point: point.speed_per_s)
        return limit_all(
            observation, slowest.limit_w, f"{slowest.limit_w:.3g} W finishes the work in time and within the budget"
        )
    ceilings = {device.ceiling_w for device in observation.devices}
    if len(ceilings) == 1 and max(point.limit_w for point in points) < min(ceilings) - 1:
        return as_before("the work would miss its deadline; trying without a cap")
    return None


def _speed_at(points: tuple[OperatingPoint, ...], power_w: float, pause_w: float) -> float:
    """Return the speed at a mean power: interpolated between two points, or part-time below the lowest."""
    rising = sorted(points, key=lambda point: point.power_w)
    lowest, highest = rising[0], rising[-1]
    if power_w < lowest.power_w:
        return lowest.speed_per_s * max(0.0, power_w - pause_w) / max(lowest.power_w - pause_w, 1e-9)
    for below, above in pairwise(rising):
        if below.power_w <= power_w < above.power_w:
            share = (power_w - below.power_w) / (above.power_w - below.power_w)
            return below.speed_per_s + share * (above.speed_per_s - below.speed_per_s)
    return highest.speed_per_s


def _part_time(observation: Observation, lowest: OperatingPoint, allowed_w: float, until_s: float) -> Decision:
    """Work for the first part of every hour by the clock, so that the mean power is ``allowed_w``.

    If the deadline is near, the period is 15 minutes, 5 minutes or 1 minute.
    """
    period_s = next((each for each in _PERIODS_S if each <= until_s / _FEWEST), _PERIODS_S[-1])
    share = max(0.0, allowed_w - observation.pause_w) / max(lowest.power_w - observation.pause_w, 1e-9)
    gone_s = observation.time_utc.timestamp() % period_s
    reason = f"the budget allows {allowed_w:.3g} W, the lowest known limit draws {lowest.power_w:.3g} W"
    if gone_s < share * period_s:
        return limit_all(observation, lowest.limit_w, reason, review_s=share * period_s - gone_s)
    return pause(reason, review_s=period_s - gone_s)


def _over_work(observation: Observation, left_j: float) -> Decision:
    """Return the fastest limit under which the joules last for the remaining work, without a deadline."""
    left, points = work_left(observation), usable_points(observation)
    if left is None or left <= 0 or not points:
        return as_before("no deadline, and the remaining work or its power under limits is unknown so far")
    affordable = [point for point in points if point.power_w / point.speed_per_s * left <= left_j]
    if affordable:
        fastest = max(affordable, key=lambda point: point.speed_per_s)
        return limit_all(observation, fastest.limit_w, "the fastest limit under which the budget lasts")
    if (untried := trial(observation)) is not None:
        return untried
    frugal = min(points, key=lambda point: point.power_w / point.speed_per_s)
    return limit_all(observation, frugal.limit_w, "the budget does not last even at the most frugal known limit")
