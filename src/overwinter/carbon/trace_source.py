"""Intensity source over a recorded trace."""

from __future__ import annotations

from datetime import datetime
from typing import TYPE_CHECKING

from overwinter.carbon.http import SourceError
from overwinter.carbon.intensity import Intensity, Kind
from overwinter.carbon.provider import Point
from overwinter.carbon.trace import Trace

if TYPE_CHECKING:
    from overwinter.carbon.past import PastForecast


class TraceSource:
    """A source with a trace's intensities; forecasts use only the past, not the recorded future.

    Args:
        trace: the values.
        name: name of the file, for the record.
        kind: average or marginal.
    """

    def __init__(self, trace: Trace, *, name: str, kind: Kind) -> None:
        self._trace, self._name, self._kind = trace, name, kind
        self._past_forecast: PastForecast | None = None

    def at(self, time_utc: datetime) -> Intensity:
        """Return the intensity at ``time_utc``.

        Raises:
            SourceError: the time is outside the trace.
        """
        place = self._trace.place(time_utc)
        if place is None:
            reach = f"{self._trace.start_utc:%Y-%m-%d %H:%M} to {self._trace.end_utc:%Y-%m-%d %H:%M}"
            raise SourceError(f"{self._name} covers {reach} only")
        suffix = " (interpolated)" if place in self._trace.interpolated else ""
        return Intensity(g_per_kwh=self._trace.values[place], source=f"trace {self._name}{suffix}", kind=self._kind)

    def forecast(self, time_utc: datetime) -> tuple[Point, ...]:
        """Return a forecast from the hours before ``time_utc``; see `overwinter.carbon.past`."""
        if self._past_forecast is None:
            from overwinter.carbon.forecast import by_hour  # numpy, which only forecasts need
            from overwinter.carbon.past import PastForecast

            self._past_forecast = PastForecast(by_hour(self._trace))
        return self._past_forecast.at(time_utc)
