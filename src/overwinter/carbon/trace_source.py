"""The intensity of a moment, and a forecast, from a recorded trace."""

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
    """The intensity of a moment, from a trace, and a forecast from its past: a recorded future is none.

    Args:
        trace: the values.
        name: of the file, for the record.
        kind: average or marginal.
    """

    def __init__(self, trace: Trace, *, name: str, kind: Kind) -> None:
        self._trace, self._name, self._kind = trace, name, kind
        self._memory: PastForecast | None = None

    def at(self, time_utc: datetime) -> Intensity:
        """Return the intensity at ``time_utc``.

        Raises:
            SourceError: the trace does not reach there.
        """
        place = self._trace.place(time_utc)
        if place is None:
            reach = f"{self._trace.start_utc:%Y-%m-%d %H:%M} to {self._trace.end_utc:%Y-%m-%d %H:%M}"
            raise SourceError(f"{self._name} reaches from {reach} only")
        suffix = " (interpolated)" if place in self._trace.interpolated else ""
        return Intensity(g_per_kwh=self._trace.values[place], source=f"trace {self._name}{suffix}", kind=self._kind)

    def forecast(self, time_utc: datetime) -> tuple[Point, ...]:
        """Return what the hours before ``time_utc`` let expect, as `overwinter.carbon.past` does."""
        if self._memory is None:
            from overwinter.carbon.forecast import by_hour  # numpy, which only forecasts need
            from overwinter.carbon.past import PastForecast

            self._memory = PastForecast(by_hour(self._trace))
        return self._memory.at(time_utc)
