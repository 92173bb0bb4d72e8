"""A command run once under each of several limits: what it takes and how long, and which limit costs least."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from overwinter.power.guard import Guard

_STEP_W = 1.0


@dataclass(frozen=True, kw_only=True)
class ProfilePoint:
    """One run of the command.

    Attributes:
        limit_w: on every device.
        energy_j: drawn by the limited devices.
        duration_s: of the run.
        slowdown: against the run without a cap; 0.1 is 10 % longer.
    """

    limit_w: float
    energy_j: float
    duration_s: float
    slowdown: float

    def to_json(self) -> dict[str, Any]:
        """Return the fields as JSON values, with the mean power."""
        return {**asdict(self), "power_w": self.energy_j / self.duration_s}


def profile(
    guard: Guard,
    work: Callable[[], None],
    energy_j: Callable[[], Mapping[str, float]],
    *,
    count: int,
    clock: Callable[[], float] = time.monotonic,
) -> list[ProfilePoint]:
    """Run the work under ``count`` limits, from the highest that an operator allows to the lowest.

    Args:
        guard: over the devices, open.
        work: what to run; raises if it fails, which ends the profile with every limit put back.
        energy_j: joules that each device has drawn since some fixed moment.
        count: of limits, evenly spread.
        clock: monotonic seconds.

    Returns:
        a point per limit, in falling order of the limit.
    """
    devices = guard.actuator.devices()
    points: list[ProfilePoint] = []
    for limit_w in spread(guard, count):
        for device in devices:
            guard.apply(device, limit_w)
        before_j, began_s = energy_j(), clock()
        work()
        duration_s, after_j = clock() - began_s, energy_j()
        drawn_j = sum(after_j.get(device, 0.0) - before_j.get(device, 0.0) for device in devices)
        full_s = points[0].duration_s if points else duration_s
        slowdown = duration_s / full_s - 1
        points.append(ProfilePoint(limit_w=limit_w, energy_j=drawn_j, duration_s=duration_s, slowdown=slowdown))
    return points


def spread(guard: Guard, count: int) -> list[float]:
    """Return ``count`` limits that every device takes, evenly spread, the highest first."""
    limits = [guard.actuator.limits(device) for device in guard.actuator.devices()]
    lowest = max(each.minimum for each in limits)
    highest = min(
        min(each.maximum, guard.previous(device)) for each, device in zip(limits, guard.actuator.devices(), strict=True)
    )
    if count < 2 or highest - lowest < _STEP_W:
        return [highest]
    return [round(highest - (highest - lowest) * step / (count - 1), 1) for step in range(count)]


def best(points: Sequence[ProfilePoint], *, max_slowdown: float) -> ProfilePoint:
    """Return the point with the least energy among those that are not too slow; the first always is."""
    return min((each for each in points if each.slowdown <= max_slowdown), key=lambda each: each.energy_j)
