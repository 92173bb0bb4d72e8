"""The rows of a service's answer: one that cannot be used is skipped and counted, and the others stay."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any

from overwinter.carbon.http import SourceError
from overwinter.carbon.provider import Point, point

_JITTER_S = 2.0  # services keep to whole minutes; some of their clocks do not, quite


def read_rows(
    rows: Any, read: Callable[[Any], tuple[Any, Any]], *, service: str, what: str
) -> tuple[tuple[Point, ...], tuple[str, ...]]:
    """Return the points of a table in order of time, the later of two at one time, and what was left out.

    Args:
        rows: of the answer.
        read: returns the time and the value of a row; it may raise whatever a row of another shape raises.
        service: its name and zone.
        what: the table's name, such as ``history``.

    Raises:
        SourceError: it is no table.
    """
    if not isinstance(rows, list):
        raise SourceError(f"{service} answers differently than it documents")
    points: dict[datetime, Point] = {}
    problems: list[str] = []
    for row in rows:
        try:
            each = point(*read(row), service="it")
        except (LookupError, TypeError, AttributeError, ValueError):
            problems.append("it is not what is documented")
        except SourceError as error:
            problems.append(str(error))
        else:
            time_utc = on_the_minute(each.time_utc)
            points[time_utc] = replace(each, time_utc=time_utc)
    skipped = f"{service}: {len(problems)} of {len(rows)} rows of the {what} are left out"
    notes = (f"{skipped}; the first, since {problems[0]}",) if problems else ()
    return tuple(points[time] for time in sorted(points)), notes


def on_the_minute(time_utc: datetime) -> datetime:
    """Return the whole minute that a time misses by a second or two; any other time as it is."""
    minute = time_utc.replace(second=0, microsecond=0)
    away_s = (time_utc - minute).total_seconds()
    if away_s <= _JITTER_S:
        return minute
    return minute + timedelta(minutes=1) if 60.0 - away_s <= _JITTER_S else time_utc


def share_of(percent: Any) -> float | None:
    """Return a share from 0 to 1 of what should be a percentage; None where it is none."""
    if isinstance(percent, bool) or not isinstance(percent, (int, float)) or not 0 <= percent <= 100:
        return None
    return percent / 100
