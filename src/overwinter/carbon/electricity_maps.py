"""Electricity Maps (https://api.electricitymaps.com/v3): average of a zone's consumption, hourly, with a token."""

from __future__ import annotations

from datetime import datetime
from typing import Any
from urllib.parse import quote

from overwinter.carbon.http import SourceError, get_json
from overwinter.carbon.intensity import Kind
from overwinter.carbon.provider import Point, point

_NAME = "electricity_maps"


class ElectricityMaps:
    """The intensity of one zone, and its forecast where the token's plan has one.

    Args:
        base_url: of the service, with its version.
        zone: such as ``FR`` or ``US-CAL-CISO``.
        token: of the account; sent as the header ``auth-token``.
    """

    kind: Kind = "average"

    def __init__(self, base_url: str, *, zone: str, token: str) -> None:
        self.name = f"{_NAME} {zone}"
        self._base_url, self._zone, self._token = base_url.rstrip("/"), zone, token
        self.identity = f"{_NAME} {self._base_url} {zone}"

    def fetch(self, time_utc: datetime, *, deadline_s: float) -> tuple[Point, ...]:  # noqa: ARG002 -- it tells the latest
        """Return the latest hour and the forecast; where there is none, the last day, from which one can be made."""
        latest = self._ask("latest", deadline_s)
        try:
            now = point(latest["datetime"], latest["carbonIntensity"], service=_NAME)
        except (KeyError, TypeError):
            raise SourceError(f"{_NAME} answers otherwise than it documents") from None
        around = [each for each in self._rows("forecast", deadline_s) if each.time_utc > now.time_utc]
        if not around:
            around = [each for each in self._rows("history", deadline_s) if each.time_utc < now.time_utc]
        return tuple(sorted((now, *around), key=lambda each: each.time_utc))

    def _rows(self, what: str, deadline_s: float) -> list[Point]:
        """Return the rows of ``forecast`` or ``history``; none where the token's plan has no such thing."""
        try:
            rows = self._ask(what, deadline_s)[what]
            return [point(row["datetime"], row["carbonIntensity"], service=_NAME) for row in rows]
        except (SourceError, KeyError, TypeError):
            return []

    def _ask(self, what: str, deadline_s: float) -> dict[str, Any]:
        url = f"{self._base_url}/carbon-intensity/{what}?zone={quote(self._zone, safe='')}"
        answer = get_json(url, deadline_s=deadline_s, headers={"auth-token": self._token})
        if not isinstance(answer, dict):
            raise SourceError(f"{_NAME} answers otherwise than it documents")
        return answer
