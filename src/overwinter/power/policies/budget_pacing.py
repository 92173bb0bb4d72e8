"""The policy `budget_pacing`: what is left of the budget, spent evenly up to the deadline."""

from __future__ import annotations

from dataclasses import dataclass

from overwinter.power.interface import Decision, Observation, OperatingPoint
from overwinter.power.policies.answers import (
    as_before,
    limit_all,
    pause,
    time_left_s,
    usable_points,
    work_left,
)

_J_PER_KWH = 3.6e6
_HOUR_S = 3600.0


@dataclass(frozen=True, kw_only=True)
class BudgetPacing:
    """Spends joules, or grams, evenly: over the time to the deadline, or without one over the work."""

    def decide(self, observation: Observation) -> Decision:
        """Answer the limit under which the budget lasts."""
        left_j = _remaining_j(observation)
        if left_j is None:
            return as_before("no budget is left to pace: none of joules, and none of grams with an intensity")
        until_s = time_left_s(observation)
        if until_s is None:
            return _over_work(observation, left_j)
        if until_s <= 0:
            return as_before("the deadline is over")
        return _over_time(observation, max(left_j, 0.0) / until_s)


def _remaining_j(observation: Observation) -> float | None:
    amounts = []
    if observation.remaining_energy_j is not None:
        amounts.append(observation.remaining_energy_j)
    intensity = observation.intensity_g_per_kwh
    if observation.remaining_carbon_g is not None and intensity is not None and intensity > 0:
        amounts.append(observation.remaining_carbon_g / intensity * _J_PER_KWH)
    return min(amounts, default=None)


def _over_time(observation: Observation, allowed_w: float) -> Decision:
    """Limit all devices together to ``allowed_w``; below their lowest limits, pause for a share of each hour."""
    devices = max(1, len(observation.devices))
    lowest = min(usable_points(observation), key=lambda point: point.power_w, default=None)
    if lowest is not None and lowest.power_w > allowed_w:
        return _part_time(observation, lowest, allowed_w)
    return limit_all(observation, allowed_w / devices, f"the budget allows {allowed_w:.0f} W up to the deadline")


def _part_time(observation: Observation, lowest: OperatingPoint, allowed_w: float) -> Decision:
    """Work for the first part of every hour, so that the mean is ``allowed_w``; the clock says which part it is."""
    share = max(0.0, allowed_w - observation.pause_w) / max(lowest.power_w - observation.pause_w, 1e-9)
    into_hour_s = observation.time_utc.timestamp() % _HOUR_S
    reason = f"the budget allows {allowed_w:.0f} W, the lowest limit draws {lowest.power_w:.0f} W"
    if into_hour_s < share * _HOUR_S:
        return limit_all(observation, lowest.limit_w, reason, review_s=share * _HOUR_S - into_hour_s)
    return pause(reason, review_s=_HOUR_S - into_hour_s)


def _over_work(observation: Observation, left_j: float) -> Decision:
    """Without a deadline: the fastest limit under which the joules last for the work that is left."""
    left, points = work_left(observation), usable_points(observation)
    if left is None or left <= 0 or not points:
        return as_before("no deadline, and the work or its power under limits is not known yet")
    affordable = [point for point in points if point.power_w / point.speed_per_s * left <= left_j]
    if affordable:
        fastest = max(affordable, key=lambda point: point.speed_per_s)
        return limit_all(observation, fastest.limit_w, "the fastest limit under which the budget lasts")
    frugal = min(points, key=lambda point: point.power_w / point.speed_per_s)
    return limit_all(observation, frugal.limit_w, "the budget does not last even at the most frugal known limit")
