"""The start time at which work of a known duration meets the lowest mean carbon intensity, within a deadline."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from itertools import pairwise

from overwinter.carbon.provider import Point

_DIGITS = 6  # of g/kWh: means that differ by the order of a sum are equal


@dataclass(frozen=True, kw_only=True)
class Start:
    """A start time, and what the forecast says of it.

    Attributes:
        start_utc: The time at which to start.
        g_per_kwh: The mean intensity over the work, if it starts then.
        now_g_per_kwh: The same, if it starts now.
    """

    start_utc: datetime
    g_per_kwh: float
    now_g_per_kwh: float


def cleanest_start(
    points: Sequence[Point], *, now_utc: datetime, duration_s: float, latest_utc: datetime
) -> Start | None:
    """Return the start of the work with the lowest mean intensity; the earliest of equal ones.

    Args:
        points: The forecast, in order of time; a value holds until the next point, the first one also before its time,
            and the last one for as long as the step before it.
        now_utc: The present time.
        duration_s: The expected duration of the work, in seconds.
        latest_utc: The latest start that is allowed; work that is late starts now.

    Returns:
        The start; None if there is no forecast. Times for which nothing is forecast are not chosen.
    """
    if not points:
        return None
    duration = timedelta(seconds=duration_s)
    # The mean is piecewise linear in the start: it is lowest where an end of the work meets a change of the forecast.
    edges = [each.time_utc for each in points]
    starts = {edge - shift for edge in [*edges, _end(points)] for shift in (timedelta(0), duration)}
    known = [each for each in {*starts, latest_utc} if now_utc < each <= latest_utc and each + duration <= _end(points)]
    means = {each: _mean(points, each, duration_s) for each in [now_utc, *sorted(known)]}
    best = min(means, key=lambda each: (round(means[each], _DIGITS), each))
    return Start(start_utc=best, g_per_kwh=means[best], now_g_per_kwh=means[now_utc])


def _end(points: Sequence[Point]) -> datetime:
    last = points[-1].time_utc
    return last + (last - points[-2].time_utc) if len(points) > 1 else last


def _mean(points: Sequence[Point], start_utc: datetime, duration_s: float) -> float:
    if duration_s <= 0:
        return next((each for each in reversed(points) if each.time_utc <= start_utc), points[0]).g_per_kwh
    end_utc = start_utc + timedelta(seconds=duration_s)
    edges = [min(start_utc, points[0].time_utc), *(each.time_utc for each in points[1:]), max(end_utc, _end(points))]
    summed = sum(
        point.g_per_kwh * max(0.0, (min(until, end_utc) - max(since, start_utc)).total_seconds())
        for point, (since, until) in zip(points, pairwise(edges), strict=True)
    )
    return summed / duration_s
