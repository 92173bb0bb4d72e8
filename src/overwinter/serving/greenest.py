"""The start time with the lowest expected carbon intensity before a deadline."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple


class Point(NamedTuple):
    """A carbon intensity from a time on, until the next point."""

    time_s: float
    g_per_kwh: float


def greenest_time_s(points: Sequence[Point], *, now_s: float, latest_s: float) -> float:
    """Return the earliest start time with the lowest expected intensity.

    Args:
        points: The points of a forecast, in order; the first also holds before its time. Without any, nothing waits.
        now_s: The present time, in seconds since 1970.
        latest_s: The latest start time.

    Returns:
        ``now_s``, or a point's time after it and at most ``latest_s``.
    """
    reachable = [point for point in points if now_s < point.time_s <= latest_s]
    best = min(reachable, key=lambda point: (point.g_per_kwh, point.time_s), default=None)
    present = present_g_per_kwh(points, now_s=now_s)
    if best is None or present is None or present <= best.g_per_kwh:
        return now_s
    return best.time_s


def present_g_per_kwh(points: Sequence[Point], *, now_s: float) -> float | None:
    """Return the present intensity; None without any points."""
    past = [point for point in points if point.time_s <= now_s]
    here = past[-1:] or points[:1]
    return here[0].g_per_kwh if here else None
