"""History of a service's reported intensities on disk, for forecasts where the service has none.

Services report the present; the history accumulates from repeated fetches. It keeps one value per hour, the mean of
the reports in that hour, for half a year.
"""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from datetime import datetime
from pathlib import Path

from overwinter.carbon.provider import Point
from overwinter.files import write_json

_HOUR_S = 3600.0
_KEPT = 26 * 7 * 24  # hours
_CREDIBLE = 10_000.0  # g/kWh, as in `provider.point`


class History:
    """Hourly intensities of one service and zone.

    Args:
        path: path of the file; other runs may write it too, and every `add` merges their values.
        identity: identity of the provider, stored in the file for its readers.
    """

    def __init__(self, path: Path, *, identity: str) -> None:
        self._path, self._identity = path, identity
        self._known: tuple[int, tuple[Point, ...]] = (0, ())

    def add(self, points: Sequence[Point], now_utc: datetime) -> None:
        """Add reported points: the current hour's value, and past hours that are not known yet.

        Raises:
            OverwinterError: the file cannot be written.
        """
        hours, now = self._read(), _hour(now_utc)
        running = [each.g_per_kwh for each in points if each.time_utc <= now_utc]
        for each in points:
            if _hour(each.time_utc) < now:
                hours.setdefault(_hour(each.time_utc), (each.g_per_kwh, 1))
        if running:
            mean, samples = hours.get(now, (0.0, 0))
            hours[now] = ((mean * samples + running[-1]) / (samples + 1), samples + 1)
        kept = sorted(hours)[-_KEPT:]
        content = [[hour, *hours[hour]] for hour in kept]
        write_json(self._path, {"schema": 1, "source": self._identity, "hours": content})
        self._known = (0, ())

    def forecast(self, time_utc: datetime) -> tuple[Point, ...]:
        """Return a forecast that starts with the current hour; empty if too little is known."""
        hour = _hour(time_utc)
        if self._known[0] != hour:
            from overwinter.carbon.past import PastForecast, filled  # numpy, which nothing else here needs

            past = filled({each: value for each, (value, _) in self._read().items()})
            self._known = (hour, PastForecast(past).at(time_utc))
        return self._known[1]

    def _read(self) -> dict[int, tuple[float, int]]:
        try:
            rows = json.loads(self._path.read_text(encoding="utf-8"))["hours"]
            hours = {int(hour): (float(value), int(samples)) for hour, value, samples in rows}
        except (OSError, ValueError, KeyError, TypeError):
            return {}
        return {
            hour: (value, samples)
            for hour, (value, samples) in hours.items()
            if samples > 0 and math.isfinite(value) and 0 <= value < _CREDIBLE
        }


def _hour(time_utc: datetime) -> int:
    return int(time_utc.timestamp() // _HOUR_S)
