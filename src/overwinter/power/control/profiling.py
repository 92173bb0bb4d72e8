"""Profiles of a command: its energy and duration under several limits, one run each, and the best limit.

`policies.probing` selects the limits, as in `energy_optimal`, unless all are requested.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any, Self

from overwinter.power.guard.guard import Guard
from overwinter.power.interface import OperatingPoint

_STEP_W = 1.0


@dataclass(frozen=True, kw_only=True)
class ProfilePoint:
    """One run of the command.

    Attributes:
        limit_w: limit on every device.
        energy_j: energy of the limited devices.
        duration_s: duration of the run.
        slowdown: slowdown against the run without a cap; 0.1 is 10 % longer.
    """

    limit_w: float
    energy_j: float
    duration_s: float
    slowdown: float

    @classmethod
    def stored(cls, point: OperatingPoint, full_speed_per_s: float) -> Self:
        """Return the run of a stored operating point; the inverse of `operating`."""
        duration_s = 1 / point.speed_per_s
        return cls(
            limit_w=point.limit_w,
            energy_j=point.power_w * duration_s,
            duration_s=duration_s,
            slowdown=full_speed_per_s * duration_s - 1,
        )

    def operating(self) -> OperatingPoint:
        """Return the operating point: mean power, and runs per second."""
        return OperatingPoint(
            limit_w=self.limit_w, power_w=self.energy_j / self.duration_s, speed_per_s=1 / self.duration_s
        )

    def to_json(self) -> dict[str, Any]:
        """Return the fields as JSON values, with the mean power."""
        return {**asdict(self), "power_w": self.energy_j / self.duration_s}


def profile(
    guard: Guard,
    work: Callable[[], None],
    energy_j: Callable[[], Mapping[str, float]],
    *,
    limits_w: Sequence[float],
    max_slowdown: float | None,
    clock: Callable[[], float] = time.monotonic,
) -> list[ProfilePoint]:
    """Run the work under the limits that are worth a run, the highest first.

    Args:
        guard: open guard over the devices.
        work: the work to run; if it raises, the profile ends and every limit is restored.
        energy_j: returns the joules that each device has drawn since a fixed time.
        limits_w: limits that may be tried; see `spread`.
        max_slowdown: maximum slowdown against the run without a cap; None: every limit is tried.
        clock: returns monotonic seconds.

    Returns:
        A point per tried limit, in falling order of the limit.
    """
    devices = guard.devices
    points: list[ProfilePoint] = []
    while (limit_w := _next(limits_w, points, max_slowdown)) is not None:
        for device in devices:
            guard.apply(device, limit_w)
        before_j, began_s = energy_j(), clock()
        work()
        duration_s, after_j = clock() - began_s, energy_j()
        drawn_j = sum(after_j.get(device, 0.0) - before_j.get(device, 0.0) for device in devices)
        full_s = points[0].duration_s if points else duration_s
        slowdown = duration_s / full_s - 1
        points.append(ProfilePoint(limit_w=limit_w, energy_j=drawn_j, duration_s=duration_s, slowdown=slowdown))
    return sorted(points, key=lambda point: -point.limit_w)


def _next(limits_w: Sequence[float], points: Sequence[ProfilePoint], max_slowdown: float | None) -> float | None:
    tried = {point.limit_w for point in points}
    if max_slowdown is None or any(
        point.energy_j <= 0 for point in points
    ):  # without metered energy there is no search
        return next((limit_w for limit_w in limits_w if limit_w not in tried), None)
    from overwinter.power.policies.probing import search

    return search(limits_w, [point.operating() for point in points], max_slowdown).next_w


def spread(guard: Guard, count: int) -> list[float]:
    """Return ``count`` limits that every device supports, evenly spaced, the highest first."""
    limits = [guard.actuator.limits(device) for device in guard.devices]
    lowest = max(each.minimum for each in limits)
    highest = min(min(each.maximum, guard.previous(device)) for each, device in zip(limits, guard.devices, strict=True))
    if count < 2 or highest - lowest < _STEP_W:
        return [highest]
    return [round(highest - (highest - lowest) * step / (count - 1), 1) for step in range(count)]


def best(points: Sequence[ProfilePoint], *, max_slowdown: float) -> ProfilePoint:
    """Return the point with the least energy within ``max_slowdown``; the first point always qualifies."""
    return min((each for each in points if each.slowdown <= max_slowdown), key=lambda each: each.energy_j)
