"""Electricity Maps (https://api.electricitymaps.com/v3): hourly average of a zone's consumption; needs a token."""

from __future__ import annotations

from datetime import datetime
from typing import Any
from urllib.parse import quote

from overwinter.carbon.http import SourceError, get_json
from overwinter.carbon.intensity import Kind
from overwinter.carbon.provider import Point
from overwinter.carbon.rows import read_rows, share_of

_NAME = "electricity_maps"
_UNITS = ("gco2eq/kwh", "gco2e/kwh", "gco2/kwh")


class ElectricityMaps:
    """The intensity of one zone, and its forecast and mix where the token's plan has them.

    Args:
        base_url: URL of the service, with its version.
        zone: zone, such as ``FR`` or ``US-CAL-CISO``.
        token: token of the account; sent as the header ``auth-token``.
    """

    kind: Kind = "average"

    def __init__(self, base_url: str, *, zone: str, token: str) -> None:
        self.name = f"{_NAME} {zone}"
        self._base_url, self._zone, self._token = base_url.rstrip("/"), zone, token
        self.identity = f"{_NAME} {self._base_url} {zone}"
        self.notes: tuple[str, ...] = ()
        self.renewable_share: float | None = None

    def fetch(self, time_utc: datetime, *, deadline_s: float) -> tuple[Point, ...]:  # noqa: ARG002 -- the service reports the latest
        """Return the latest hour and the forecast, or without a forecast the last day, which can replace it."""
        self.notes, self.renewable_share = (), None
        latest = self._points([self._ask("carbon-intensity/latest", deadline_s)], "latest")
        around = [each for each in self._table("forecast", deadline_s) if each.time_utc not in _times(latest)]
        if latest:
            around = [each for each in around if each.time_utc > latest[-1].time_utc]
        if not around:
            past = self._table("history", deadline_s)
            around = [each for each in past if not latest or each.time_utc < latest[-1].time_utc]
        if not latest and not around:
            raise SourceError("; ".join(self.notes) or f"{self.name} reports nothing")
        self.renewable_share = self._renewable(deadline_s)
        return tuple(sorted((*latest, *around), key=lambda each: each.time_utc))

    def _table(self, what: str, deadline_s: float) -> tuple[Point, ...]:
        """Return the rows of ``forecast`` or ``history``; empty, with a note, if the plan does not include it."""
        try:
            response = self._ask(f"carbon-intensity/{what}", deadline_s)
            return self._points(response.get(what), what, within=response)
        except SourceError as error:
            self.notes = (*self.notes, f"no {what}: {error}")
            return ()

    def _points(self, rows: Any, what: str, *, within: dict[str, Any] | None = None) -> tuple[Point, ...]:
        self._check(within or {})
        points, notes = read_rows(rows, self._row, service=self.name, what=what)
        self.notes = (*self.notes, *notes)
        return points

    def _row(self, row: Any) -> tuple[Any, Any]:
        self._check(row)
        return row["datetime"], row["carbonIntensity"]

    def _check(self, reported: dict[str, Any]) -> None:
        zone, units = reported.get("zone"), reported.get("units", reported.get("unit"))
        if isinstance(zone, str) and zone.casefold() != self._zone.casefold():
            raise SourceError(f"it is for zone {zone!r} instead of {self._zone!r}")
        if isinstance(units, str) and units.replace(" ", "").casefold() not in _UNITS:
            raise SourceError(f"its unit is {units!r} instead of gCO2eq/kWh")

    def _renewable(self, deadline_s: float) -> float | None:
        try:
            return share_of(self._ask("power-breakdown/latest", deadline_s).get("renewablePercentage"))
        except SourceError:
            return None  # not in every plan, and optional

    def _ask(self, path: str, deadline_s: float) -> dict[str, Any]:
        url = f"{self._base_url}/{path}?zone={quote(self._zone, safe='')}"
        response = get_json(url, deadline_s=deadline_s, headers={"auth-token": self._token}, whose=self.name)
        if not isinstance(response, dict):
            raise SourceError(f"{self.name} returned an undocumented response")
        return response


def _times(points: tuple[Point, ...]) -> set[datetime]:
    return {each.time_utc for each in points}
