"""Forecasts of carbon intensity, from a short-lived process: the sources need more memory than the supervisor has."""

from __future__ import annotations

import asyncio
import os
import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from overwinter.errors import IntegrityError, OverwinterError
from overwinter.serving.greenest import Point
from overwinter.serving.metrics import Log
from overwinter.serving.worker.frames import pack_frame, read_frame
from overwinter.serving.worker.records import Record
from overwinter.serving.worker.worker_process import WorkerDied, start_program

_PROGRAM = "from overwinter.serving.carbon_forecast import main; main()"
_RESPONSE_S = 60.0


@dataclass(frozen=True, kw_only=True)
class _Question(Record):
    """The input of the process: the group `carbon/`."""

    carbon: Mapping[str, Any]


@dataclass(frozen=True, kw_only=True)
class _Forecast(Record):
    """The output of the process: g/kWh now, points of (Unix time, g/kWh), the source's name and notes, or an error."""

    present_g_per_kwh: float | None = None
    points: Sequence[tuple[float, float]] = ()
    source: str = ""
    notes: Sequence[str] = ()
    error: str | None = None


class CarbonForecast:
    """The forecast of a source, fetched again when it is old.

    Args:
        carbon: The group `carbon/`, validated.
        refresh_s: The time for which a forecast is used.
        log: Receives errors of the source.

    Attributes:
        present_g_per_kwh: The intensity when it was last fetched; None if it is unknown.
    """

    def __init__(self, carbon: Mapping[str, Any], *, refresh_s: float, log: Log) -> None:
        self._carbon, self._refresh_s, self._log = carbon, refresh_s, log
        self._points: tuple[Point, ...] = ()
        self.present_g_per_kwh: float | None = None
        self._asked_s = -float("inf")
        self._lock = asyncio.Lock()

    async def points(self) -> tuple[Point, ...]:
        """Return the forecast from now on; empty if there is none, and then nothing waits."""
        async with self._lock:
            if time.monotonic() - self._asked_s >= self._refresh_s:
                self._points = await self._ask()
                self._asked_s = time.monotonic()
        return self._points

    async def _ask(self) -> tuple[Point, ...]:
        try:
            process = await start_program([sys.executable, "-P", "-c", _PROGRAM])
            frame = await process.ask(_Question(carbon=dict(self._carbon)), within_s=_RESPONSE_S)
            await process.stop(within_s=_RESPONSE_S)
            forecast = _Forecast.read(frame.header)
        except (WorkerDied, IntegrityError) as error:
            forecast = _Forecast(error=str(error))
        if forecast.error is not None:
            self._log("grid", message=f"the carbon intensity is unknown: {forecast.error}")
            return ()
        self.present_g_per_kwh = forecast.present_g_per_kwh
        for note in forecast.notes:
            self._log("grid", message=note)
        self._log("grid", points=len(forecast.points), source=forecast.source)
        return tuple(Point(*point) for point in forecast.points)


def main() -> None:
    """Write the forecast for one request; standard input and output are one socket."""
    incoming, outgoing = os.fdopen(os.dup(0), "rb"), os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)
    frame = read_frame(incoming)
    if frame is not None:
        outgoing.write(pack_frame(_asked(_Question.read(frame.header).carbon).header()))
        outgoing.flush()


def _asked(carbon: Mapping[str, Any]) -> _Forecast:
    try:
        return _looked_up(carbon)
    except OverwinterError as error:
        return _Forecast(error=str(error))


def _looked_up(carbon: Mapping[str, Any]) -> _Forecast:
    import datetime as dt

    from overwinter.config.validation import typed_carbon

    source = typed_carbon(carbon).open()
    now = dt.datetime.now(dt.UTC)
    present = source.at(now)
    forecast = getattr(source, "forecast", None)
    points = [] if forecast is None else [(each.time_utc.timestamp(), each.g_per_kwh) for each in forecast(now)]
    notes = list(getattr(source, "notes", ()))
    return _Forecast(present_g_per_kwh=present.g_per_kwh, source=present.source, points=points, notes=notes)
