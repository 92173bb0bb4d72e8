"""Helpers of policies: decisions with the same limit for every device, within its range."""

from __future__ import annotations

import math

from overwinter.power.interface import Decision, DeviceState, Observation, OperatingPoint

NEAR_W = 0.5  # drivers round limits
_TRIAL_SHARE = 0.4  # of the range; close to the limit with the least energy on most GPUs, and far from the top
_TRIAL_S = 60.0


def as_before(reason: str) -> Decision:
    """Return the decision to continue with every device's previous limit."""
    return Decision(reason=reason)


def pause(reason: str, *, review_s: float | None = None) -> Decision:
    """Return the decision to pause the work."""
    return Decision(pause=True, review_s=review_s, reason=reason)


def limit_all(
    observation: Observation,
    limit_w: float,
    reason: str,
    *,
    review_s: float | None = None,
    clock_mhz: int | None = None,
) -> Decision:
    """Return the decision to limit every device to ``limit_w``, or to the nearest value that is allowed."""
    limits = {device.name: within(device, limit_w) for device in observation.devices}
    return Decision(limits_w=limits, clock_mhz=clock_mhz, review_s=review_s, reason=reason)


def within(device: DeviceState, limit_w: float) -> float | None:
    """Return ``limit_w`` clamped to the allowed range of ``device``; None for its previous limit."""
    if device.ceiling_w < device.min_w or not math.isfinite(limit_w):
        return None
    return min(max(limit_w, device.min_w), device.ceiling_w)


def usable_points(observation: Observation) -> tuple[OperatingPoint, ...]:
    """Return the valid points whose limit every device may be set to."""
    lowest_w = max((device.min_w for device in observation.devices), default=0.0)
    highest_w = min((device.ceiling_w for device in observation.devices), default=math.inf)
    return tuple(
        point
        for point in observation.points
        if lowest_w - NEAR_W <= point.limit_w <= highest_w + NEAR_W
        and 0 < point.speed_per_s < math.inf
        and 0 < point.power_w < math.inf
    )


def trial(observation: Observation) -> Decision | None:
    """Return the decision to try a lower limit, if none was measured yet; None: enough is known.

    Without a stored profile the work first runs without a cap, then for a while under this limit: planning needs two
    points in addition to the pause.
    """
    lowest_w = max((device.min_w for device in observation.devices), default=0.0)
    highest_w = min((device.ceiling_w for device in observation.devices), default=0.0)
    if highest_w - lowest_w <= NEAR_W or len(usable_points(observation)) != 1:
        return None
    trial_w = lowest_w + _TRIAL_SHARE * (highest_w - lowest_w)
    if any(abs(point.limit_w - trial_w) <= NEAR_W for point in usable_points(observation)):
        return None
    reason = f"trying {trial_w:.0f} W, since no lower limit was measured yet"
    return limit_all(observation, trial_w, reason, review_s=_TRIAL_S)


def work_left(observation: Observation) -> float | None:
    """Return the remaining units of work; None: unknown."""
    if observation.work_total is None:
        return None
    left = observation.work_total - (observation.work_done or 0.0)
    return left if math.isfinite(left) else None


def time_left_s(observation: Observation) -> float | None:
    """Return the seconds to the deadline, negative after it; None: no deadline."""
    if observation.deadline_utc is None:
        return None
    return (observation.deadline_utc - observation.time_utc).total_seconds()
