"""Hourly energy prices from a CSV with ``time_utc,price_per_kwh``, in any currency, also for the coming hours.

Exchanges publish the next day's prices at noon, so future prices in the file are known, not forecast. A job may
outlast the file's content at its start, so a file that has changed is read again.
"""

from __future__ import annotations

import contextlib
from datetime import datetime, timedelta
from pathlib import Path

from overwinter.carbon.trace import Trace, read_trace
from overwinter.errors import ConfigError, OverwinterError
from overwinter.power.interface import Series

COLUMN = "price_per_kwh"


class Prices:
    """Prices of the file in `power.prices`; they may be negative.

    Args:
        path: path of the file.

    Raises:
        ConfigError: the file is missing or invalid; the message names the line.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._changed = _change(path)
        self._known = read_trace(path, COLUMN)

    def at(self, time_utc: datetime) -> float:
        """Return the price at ``time_utc``, per kilowatt-hour.

        Raises:
            OverwinterError: the time is outside the file.
        """
        trace, place = self._place(time_utc)
        return trace.values[place]

    def forecast(self, time_utc: datetime) -> Series:
        """Return the prices, starting with the step that contains ``time_utc``.

        Raises:
            OverwinterError: the time is outside the file.
        """
        trace, place = self._place(time_utc)
        start_utc = trace.start_utc + timedelta(seconds=place * trace.step_s)
        return Series(start_utc=start_utc, step_s=trace.step_s, values=trace.values[place:])

    def _place(self, time_utc: datetime) -> tuple[Trace, int]:
        trace = self._latest()
        place = trace.place(time_utc)
        if place is None:
            reach = f"{trace.start_utc:%Y-%m-%d %H:%M} to {trace.end_utc:%Y-%m-%d %H:%M}"
            raise OverwinterError(f"{self._path.name} (power.prices) covers {reach} only")
        return trace, place

    def _latest(self) -> Trace:
        """Return the file's content; while the file is incomplete or missing, its previous content."""
        changed = _change(self._path)
        if changed != self._changed:
            with contextlib.suppress(ConfigError):
                self._known = read_trace(self._path, COLUMN)
                self._changed = changed
        return self._known


def _change(path: Path) -> tuple[int, int]:
    """Return a fingerprint of the file that changes when it is written."""
    try:
        status = path.stat()
    except OSError:
        return 0, 0
    return status.st_mtime_ns, status.st_size
