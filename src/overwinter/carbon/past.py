"""Forecasts from past values, cached for the hour, for providers without a forecast.

The past may have gaps: hours without a response are interpolated linearly, and the forecast starts at the latest
known hour.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime

import numpy as np

from overwinter.carbon.forecast import HOUR_S, Forecaster, Hours, hour_of
from overwinter.carbon.provider import Point

_AHEAD = 96  # hours; beyond, the last day repeats
_MAX_GAP = 48  # hours without a response, after which nothing is forecast


class PastForecast:
    """Forecasts of the coming hours.

    Args:
        past: the known hours; those after the requested one are ignored.
    """

    def __init__(self, past: Hours) -> None:
        self._past = past
        self._forecaster = Forecaster(past)
        self._known: tuple[int, tuple[Point, ...]] = (0, ())

    def at(self, time_utc: datetime) -> tuple[Point, ...]:
        """Return the current hour and those after it; empty if too little is known."""
        hour = hour_of(time_utc)
        if self._known[0] != hour:
            self._known = (hour, self._made(hour))
        return self._known[1]

    def _made(self, hour: int) -> tuple[Point, ...]:
        known = len(self._past.until(hour + 1).values)
        latest = self._past.first + known - 1
        if not known or hour - latest > _MAX_GAP:
            return ()
        if not len(self._past.until(latest).values):
            return ()  # one hour alone allows no forecast
        values = self._forecaster.at(latest, hour - latest + _AHEAD)[hour - latest :]
        return tuple(_point(hour + step, float(value)) for step, value in enumerate(values))


def filled(known: Mapping[int, float]) -> Hours:
    """Return hourly values with gaps interpolated; values before a gap of more than 48 hours are dropped.

    Args:
        known: hour since 1970 -> value.
    """
    hours = np.array(sorted(known), dtype=np.int64)
    if not len(hours):
        return Hours(first=0, values=np.zeros(0))
    breaks = np.flatnonzero(np.diff(hours) > _MAX_GAP)
    hours = hours[breaks[-1] + 1 :] if len(breaks) else hours
    every = np.arange(hours[0], hours[-1] + 1)
    return Hours(first=int(hours[0]), values=np.interp(every, hours, [known[int(hour)] for hour in hours]))


def _point(hour: int, value: float) -> Point:
    return Point(time_utc=datetime.fromtimestamp(hour * HOUR_S, tz=UTC), g_per_kwh=max(0.0, value))
