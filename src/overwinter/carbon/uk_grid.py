"""Great Britain's grid (https://carbonintensity.org.uk, NESO; CC BY 4.0): half-hourly average; needs no token."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from overwinter.carbon.http import SourceError, get_json
from overwinter.carbon.intensity import Kind
from overwinter.carbon.provider import Point
from overwinter.carbon.rows import read_rows, share_of

_NAME = "uk_grid"
_RENEWABLE = ("biomass", "hydro", "solar", "wind")


class UkGrid:
    """The national intensity, and its forecast for 48 hours.

    Args:
        base_url: URL of the service.
    """

    name = _NAME
    kind: Kind = "average"

    def __init__(self, base_url: str) -> None:
        self._base_url = base_url.rstrip("/")
        self.identity = f"{_NAME} {self._base_url}"
        self.notes: tuple[str, ...] = ()
        self.renewable_share: float | None = None

    def fetch(self, time_utc: datetime, *, deadline_s: float) -> tuple[Point, ...]:
        """Return the current half hour and the next 48 hours."""
        self.notes, self.renewable_share = (), None
        now = self._points("", deadline_s, "present")
        try:
            ahead = self._points(f"/{time_utc:%Y-%m-%dT%H:%MZ}/fw48h", deadline_s, "forecast")
        except SourceError as error:
            ahead = ()  # the present is known; a forecast can be made from history
            self.notes = (*self.notes, f"no forecast: {error}")
        known = {each.time_utc: each for each in (*ahead, *now)}
        if not known:
            raise SourceError("; ".join(self.notes) or f"{_NAME} reports nothing")
        self.renewable_share = self._renewable(deadline_s)
        return tuple(known[time] for time in sorted(known))

    def _points(self, path: str, deadline_s: float, what: str) -> tuple[Point, ...]:
        response = get_json(f"{self._base_url}/intensity{path}", deadline_s=deadline_s)
        rows = response.get("data") if isinstance(response, dict) else None
        points, notes = read_rows(rows, _row, service=_NAME, what=what)
        self.notes = (*self.notes, *notes)
        return points

    def _renewable(self, deadline_s: float) -> float | None:
        """Return the share of wind, solar, hydro and biomass in the current half hour."""
        try:
            mix = get_json(f"{self._base_url}/generation", deadline_s=deadline_s)["data"]["generationmix"]
            percent = {str(each["fuel"]): float(each["perc"]) for each in mix}
        except (SourceError, LookupError, TypeError, ValueError):
            return None  # optional
        return share_of(sum(percent.get(fuel, 0.0) for fuel in _RENEWABLE)) if percent else None


def _row(row: Any) -> tuple[Any, Any]:
    start, reported = row["from"], row["intensity"]
    if start == row.get("to"):
        raise SourceError(f"it ends where it begins, at {start!r}")
    return start, reported["forecast"] if reported.get("actual") is None else reported["actual"]
