"""Great Britain's grid (https://carbonintensity.org.uk, NESO; CC BY 4.0): average, half-hourly, without a token."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from overwinter.carbon.http import SourceError, get_json
from overwinter.carbon.intensity import Kind
from overwinter.carbon.provider import Point, point

_NAME = "uk_grid"


class UkGrid:
    """The national intensity, and its forecast for 48 hours.

    Args:
        base_url: of the service.
    """

    name = _NAME
    kind: Kind = "average"

    def __init__(self, base_url: str) -> None:
        self._base_url = base_url.rstrip("/")
        self.identity = f"{_NAME} {self._base_url}"

    def fetch(self, time_utc: datetime, *, deadline_s: float) -> tuple[Point, ...]:
        """Return the running half hour and the next 48 hours."""
        now = _points(get_json(f"{self._base_url}/intensity", deadline_s=deadline_s))
        try:
            start = f"{time_utc:%Y-%m-%dT%H:%MZ}"
            ahead = _points(get_json(f"{self._base_url}/intensity/{start}/fw48h", deadline_s=deadline_s))
        except SourceError:
            ahead = ()  # the present is known; a forecast can be made from history
        known = {each.time_utc: each for each in (*ahead, *now)}
        return tuple(known[time] for time in sorted(known))


def _points(answer: Any) -> tuple[Point, ...]:
    try:
        rows = [(row["from"], row["intensity"]) for row in answer["data"]]
        told = [(start, each["forecast"] if each.get("actual") is None else each["actual"]) for start, each in rows]
    except (KeyError, TypeError, AttributeError):
        raise SourceError(f"{_NAME} answers otherwise than it documents") from None
    return tuple(point(start, value, service=_NAME) for start, value in told if value is not None)
