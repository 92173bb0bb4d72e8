"""WattTime (https://docs.watttime.org, version 3): marginal emissions of a region, every five minutes.

The account's name and password give a token that is valid for half an hour. Values are in pounds of CO2 per
megawatt-hour and are converted.
"""

from __future__ import annotations

import base64
import time
from datetime import datetime
from typing import Any
from urllib.parse import quote

from overwinter.carbon.http import SourceError, get_json
from overwinter.carbon.intensity import Kind
from overwinter.carbon.provider import Point
from overwinter.carbon.rows import read_rows

_NAME = "watttime"
_SIGNAL, _UNITS = "co2_moer", "lbs_co2_per_mwh"
_G_PER_KWH = 0.45359237  # of one lb/MWh
_TOKEN_S = 25 * 60.0  # renewed before its half hour is over
_UNAUTHORIZED = 401


class WattTime:
    """The marginal intensity of one region, now and for the next day.

    Args:
        base_url: URL of the service, without the version.
        region: region, such as ``CAISO_NORTH``, which is open to every account.
        user: name of the account.
        password: password of the account.
    """

    kind: Kind = "marginal"
    renewable_share: float | None = None  # a marginal kilowatt-hour has no mix

    def __init__(self, base_url: str, *, region: str, user: str, password: str) -> None:
        self.name = f"{_NAME} {region}"
        self._base_url, self._region = base_url.rstrip("/"), region
        self._login = base64.b64encode(f"{user}:{password}".encode()).decode()
        self._token, self._renew_s = "", 0.0
        self.identity = f"{_NAME} {self._base_url} {region}"
        self.notes: tuple[str, ...] = ()

    def fetch(self, time_utc: datetime, *, deadline_s: float) -> tuple[Point, ...]:  # noqa: ARG002 -- the service starts at the present
        """Return the current five minutes and the forecast after them."""
        query = f"region={quote(self._region, safe='')}&signal_type={_SIGNAL}"
        response = self._ask(f"{self._base_url}/v3/forecast?{query}", deadline_s)
        try:
            rows, meta = response["data"], response["meta"]
            units, region = meta["units"], meta.get("region", self._region)
        except (LookupError, TypeError, AttributeError):
            raise SourceError(f"{self.name} returned an undocumented response") from None
        if units != _UNITS:
            raise SourceError(f"{self.name} returned values in {units!r} instead of {_UNITS!r}")
        if region != self._region:
            raise SourceError(f"{self.name} returned values for region {region!r}")
        points, self.notes = read_rows(rows, _row, service=self.name, what="forecast")
        if not points:
            raise SourceError("; ".join(self.notes) or f"{self.name} reports nothing")
        return points

    def _ask(self, url: str, deadline_s: float) -> Any:
        """Send a request with the token; renew an expired token once."""
        fresh = not self._token or time.monotonic() >= self._renew_s
        if fresh:
            self._renew(deadline_s)
        try:
            return get_json(
                url, deadline_s=deadline_s, headers={"Authorization": f"Bearer {self._token}"}, whose=self.name
            )
        except SourceError as error:
            self._token = ""
            if fresh or error.status != _UNAUTHORIZED:
                raise
        return self._ask(url, deadline_s)

    def _renew(self, deadline_s: float) -> None:
        headers = {"Authorization": f"Basic {self._login}"}
        response = get_json(f"{self._base_url}/login", deadline_s=deadline_s, headers=headers, whose=self.name)
        token = response.get("token") if isinstance(response, dict) else None
        if not isinstance(token, str) or not token:
            raise SourceError(f"{self.name} returned no token")
        self._token, self._renew_s = token, time.monotonic() + _TOKEN_S


def _row(row: Any) -> tuple[Any, Any]:
    value = row["value"]
    return row["point_time"], value if isinstance(value, bool) else float(value) * _G_PER_KWH
