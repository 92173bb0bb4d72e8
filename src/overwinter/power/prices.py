"""What energy costs by the hour: a CSV with ``time_utc,price_per_kwh``, in any currency, also of the coming hours.

Exchanges publish the prices of the next day at noon, so that what lies ahead in the file is known, not foreseen.
"""

from __future__ import annotations

from datetime import datetime, timedelta
from pathlib import Path

from overwinter.carbon.trace import Trace, read_trace
from overwinter.errors import OverwinterError
from overwinter.power.interface import Series

COLUMN = "price_per_kwh"


class Prices:
    """The prices of a file.

    Args:
        trace: the values, which may be negative.
        name: of the file, for messages.
    """

    def __init__(self, trace: Trace, *, name: str) -> None:
        self._trace, self._name = trace, name

    def at(self, time_utc: datetime) -> float:
        """Return the price at ``time_utc``, per kilowatt-hour.

        Raises:
            OverwinterError: the file does not reach there.
        """
        return self._trace.values[self._place(time_utc)]

    def forecast(self, time_utc: datetime) -> Series:
        """Return the prices from the step that contains ``time_utc`` on.

        Raises:
            OverwinterError: the file does not reach there.
        """
        place = self._place(time_utc)
        return Series(
            start_utc=self._trace.start_utc + timedelta(seconds=place * self._trace.step_s),
            step_s=self._trace.step_s,
            values=self._trace.values[place:],
        )

    def _place(self, time_utc: datetime) -> int:
        place = self._trace.place(time_utc)
        if place is None:
            reach = f"{self._trace.start_utc:%Y-%m-%d %H:%M} to {self._trace.end_utc:%Y-%m-%d %H:%M}"
            raise OverwinterError(f"{self._name} (power.prices) reaches from {reach} only")
        return place


def read_prices(path: Path) -> Prices:
    """Read the file that `power.prices` names.

    Raises:
        ConfigError: it is missing, or holds no prices; the line is named.
    """
    return Prices(read_trace(path, COLUMN), name=path.name)
