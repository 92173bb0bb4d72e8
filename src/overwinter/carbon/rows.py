"""Rows of a service's response: invalid rows are skipped and counted."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any

from overwinter.carbon.http import SourceError
from overwinter.carbon.provider import Point, point

_JITTER_S = 2.0  # services use whole minutes, but some clocks are off by a second


def read_rows(
    rows: Any, read: Callable[[Any], tuple[Any, Any]], *, service: str, what: str
) -> tuple[tuple[Point, ...], tuple[str, ...]]:
    """Return the points of a table in order of time, and notes about invalid rows; of two points at one time, the last.

    Args:
        rows: rows of the response.
        read: returns the time and the value of a row; it may raise if the row has another shape.
        service: name and zone of the service.
        what: name of the table, such as ``history``.

    Raises:
        SourceError: ``rows`` is not a list.
    """
    if not isinstance(rows, list):
        raise SourceError(f"{service} returned an undocumented response")
    points: dict[datetime, Point] = {}
    problems: list[str] = []
    for row in rows:
        try:
            each = point(*read(row), service="it")
        except (LookupError, TypeError, AttributeError, ValueError):
            problems.append("it has an undocumented format")
        except SourceError as error:
            problems.append(str(error))
        else:
            time_utc = on_the_minute(each.time_utc)
            points[time_utc] = replace(each, time_utc=time_utc)
    skipped = f"{service}: {len(problems)} of {len(rows)} rows of the {what} are left out"
    notes = (f"{skipped}; the first because {problems[0]}",) if problems else ()
    return tuple(points[time] for time in sorted(points)), notes


def on_the_minute(time_utc: datetime) -> datetime:
    """Round a time that is within two seconds of a whole minute; return any other time unchanged."""
    minute = time_utc.replace(second=0, microsecond=0)
    away_s = (time_utc - minute).total_seconds()
    if away_s <= _JITTER_S:
        return minute
    return minute + timedelta(minutes=1) if 60.0 - away_s <= _JITTER_S else time_utc


def share_of(percent: Any) -> float | None:
    """Return a percentage as a share from 0 to 1; None if it is not a percentage."""
    if isinstance(percent, bool) or not isinstance(percent, (int, float)) or not 0 <= percent <= 100:
        return None
    return percent / 100
