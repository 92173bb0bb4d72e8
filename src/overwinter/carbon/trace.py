"""A recorded trace of intensities: CSV with ``time_utc,g_per_kwh``, in even steps; gaps are interpolated and told."""

from __future__ import annotations

import csv
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from itertools import pairwise
from pathlib import Path

from overwinter.carbon.http import SourceError
from overwinter.carbon.intensity import Intensity, Kind
from overwinter.carbon.provider import Point, point
from overwinter.errors import ConfigError

COLUMNS = ("time_utc", "g_per_kwh")
_UNEVEN = 0.05  # of a step
_MOST_STEPS = 20  # for one that is known: beyond, the steps are not what they seem


@dataclass(frozen=True, kw_only=True)
class Trace:
    """Intensities in even steps.

    Attributes:
        start_utc: of the first step.
        step_s: length of a step.
        g_per_kwh: one value per step.
        interpolated: places of the values that were missing.
    """

    start_utc: datetime
    step_s: float
    g_per_kwh: tuple[float, ...]
    interpolated: frozenset[int]

    @property
    def end_utc(self) -> datetime:
        """The end of the last step."""
        return self.start_utc + timedelta(seconds=self.step_s * len(self.g_per_kwh))

    def place(self, time_utc: datetime) -> int | None:
        """Return the place of the step that contains a time; None outside the trace."""
        place = int((time_utc - self.start_utc).total_seconds() // self.step_s)
        return place if 0 <= place < len(self.g_per_kwh) else None


class TraceSource:
    """The intensity of a moment, from a trace. It tells no forecast: a recorded future is not one.

    Args:
        trace: the values.
        name: of the file, for the record.
        kind: average or marginal.
    """

    def __init__(self, trace: Trace, *, name: str, kind: Kind) -> None:
        self._trace, self._name, self._kind = trace, name, kind

    def at(self, time_utc: datetime) -> Intensity:
        """Return the intensity at ``time_utc``.

        Raises:
            SourceError: the trace does not reach there.
        """
        place = self._trace.place(time_utc)
        if place is None:
            reach = f"{self._trace.start_utc:%Y-%m-%d %H:%M} to {self._trace.end_utc:%Y-%m-%d %H:%M}"
            raise SourceError(f"{self._name} reaches from {reach} only")
        told = " (interpolated)" if place in self._trace.interpolated else ""
        return Intensity(g_per_kwh=self._trace.g_per_kwh[place], source=f"trace {self._name}{told}", kind=self._kind)


def read_trace(path: Path) -> Trace:
    """Read a CSV file with the columns ``time_utc`` and ``g_per_kwh``; others are ignored.

    Raises:
        ConfigError: the file is missing, or holds no such trace; the line is named.
    """
    try:
        with path.open(encoding="utf-8-sig", newline="") as stream:
            return _evened(_rows(csv.DictReader(stream), path), path)
    except OSError as error:
        raise ConfigError(
            f"{path} cannot be read: {error.strerror}. Name a CSV file with time_utc,g_per_kwh."
        ) from None
    except (csv.Error, UnicodeDecodeError) as error:
        raise ConfigError(f"{path} is not a CSV file: {error}.") from None


def _rows(reader: csv.DictReader[str], path: Path) -> list[Point]:
    missing = [column for column in COLUMNS if column not in (reader.fieldnames or ())]
    if missing:
        raise ConfigError(f"{path} has no column {missing[0]}. Its first line must name {', '.join(COLUMNS)}.")
    points: list[Point] = []
    for row in reader:
        if not (row["g_per_kwh"] or "").strip():
            continue  # a gap that is written down
        try:
            read = point(row["time_utc"], row["g_per_kwh"], service="it")
        except SourceError as error:
            raise ConfigError(f"{path}, line {reader.line_num}: {error}.") from None
        if points and read.time_utc <= points[-1].time_utc:
            raise ConfigError(f"{path}, line {reader.line_num}: {row['time_utc']} is not after the time before it.")
        points.append(read)
    return points


def _evened(points: list[Point], path: Path) -> Trace:
    if len(points) < 2:
        raise ConfigError(f"{path} holds {len(points)} intensities. A trace has at least two.")
    start_utc = points[0].time_utc
    step_s = min((after.time_utc - each.time_utc).total_seconds() for each, after in pairwise(points))
    steps = [(each.time_utc - start_utc).total_seconds() / step_s for each in points]
    places = [round(step) for step in steps]
    uneven = any(abs(step - place) > _UNEVEN for step, place in zip(steps, places, strict=True))
    if uneven or places[-1] >= _MOST_STEPS * len(points):
        raise ConfigError(f"{path} has no even steps: its smallest is {step_s:g} s. Write one intensity per step.")
    values = list(_filled(places, [each.g_per_kwh for each in points]))
    return Trace(
        start_utc=start_utc.astimezone(UTC),
        step_s=step_s,
        g_per_kwh=tuple(values),
        interpolated=frozenset(range(len(values))) - frozenset(places),
    )


def _filled(places: list[int], values: list[float]) -> Iterable[float]:
    """Yield a value per place, on the straight line between known ones."""
    for (place, after_place), (value, after) in zip(pairwise(places), pairwise(values), strict=True):
        for between in range(after_place - place):
            yield value + (after - value) * between / (after_place - place)
    yield values[-1]
