"""Recorded traces: CSV with ``time_utc`` and a figure in even steps; gaps are interpolated and reported.

The figure is a carbon intensity (``g_per_kwh``), or, for `overwinter.power.prices`, a price (``price_per_kwh``).
"""

from __future__ import annotations

import csv
import math
import statistics
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from itertools import pairwise
from pathlib import Path

from overwinter.carbon.http import SourceError
from overwinter.carbon.provider import point
from overwinter.errors import ConfigError

TIME, INTENSITY = "time_utc", "g_per_kwh"
_UNEVEN = 0.05  # of a step
_JITTER_S = 2.0  # clocks of loggers that are off by a second
_MAX_STEPS = 20  # per known value; with more, the smallest gap is not the step

_Row = tuple[datetime, float]


@dataclass(frozen=True, kw_only=True)
class Trace:
    """Figures in even steps.

    Attributes:
        start_utc: start of the first step.
        step_s: length of a step.
        values: one value per step, in the unit of the column's name.
        interpolated: indices of the interpolated values.
    """

    start_utc: datetime
    step_s: float
    values: tuple[float, ...]
    interpolated: frozenset[int]

    @property
    def end_utc(self) -> datetime:
        """The end of the last step."""
        return self.start_utc + timedelta(seconds=self.step_s * len(self.values))

    def place(self, time_utc: datetime) -> int | None:
        """Return the index of the step that contains a time; None outside the trace."""
        place = int((time_utc - self.start_utc).total_seconds() // self.step_s)
        return place if 0 <= place < len(self.values) else None


def read_trace(path: Path, column: str = INTENSITY) -> Trace:
    """Read ``time_utc`` and ``column`` of a CSV file; other columns are ignored.

    Raises:
        ConfigError: the file is missing or not a trace; the message names the line.
    """
    try:
        with path.open(encoding="utf-8-sig", newline="") as stream:
            return _evened(_rows(csv.DictReader(stream), path, column), path)
    except OSError as error:
        raise ConfigError(f"{path} cannot be read: {error.strerror}. Name a CSV file with {TIME},{column}.") from None
    except (csv.Error, UnicodeDecodeError) as error:
        raise ConfigError(f"{path} is not a CSV file: {error}.") from None


def _rows(reader: csv.DictReader[str], path: Path, column: str) -> list[_Row]:
    columns = (TIME, column)
    missing = [name for name in columns if name not in (reader.fieldnames or ())]
    if missing:
        raise ConfigError(f"{path} has no column {missing[0]}. Its first line must name {', '.join(columns)}.")
    read = _READERS.get(column, _figure)
    rows: list[_Row] = []
    for row in reader:
        if not (row[column] or "").strip():
            continue  # an explicit gap
        try:
            time_utc, value = read(row[TIME], row[column])
        except SourceError as error:
            raise ConfigError(f"{path}, line {reader.line_num}: {error}.") from None
        if rows and time_utc <= rows[-1][0]:
            raise ConfigError(f"{path}, line {reader.line_num}: {row[TIME]} is not after the time before it.")
        rows.append((time_utc, value))
    return rows


def _intensity(time: str, g_per_kwh: str) -> _Row:
    read = point(time, g_per_kwh, service="it")
    return read.time_utc, read.g_per_kwh


def _figure(time: str, text: str) -> _Row:
    """Parse a figure of any sign: prices may be negative."""
    moment = point(time, 0.0, service="it").time_utc
    try:
        value = float(text)
    except ValueError:
        value = math.nan
    if not math.isfinite(value):
        raise SourceError(f"it has {text!r} at {time}, which is not a number")
    return moment, value


_READERS: dict[str, Callable[[str, str], _Row]] = {INTENSITY: _intensity}


def _evened(rows: list[_Row], path: Path) -> Trace:
    if len(rows) < 2:
        raise ConfigError(f"{path} has {len(rows)} figures. A trace needs at least two.")
    step_s = _step_s(min((after - each).total_seconds() for (each, _), (after, _) in pairwise(rows)))
    start_utc = rows[0][0]
    steps = [(each - start_utc).total_seconds() / step_s for each, _ in rows]
    places = [round(step) for step in steps]
    away = [step - place for step, place in zip(steps, places, strict=True)]
    usual = statistics.median(away)  # the first row's clock may be the one that is off
    start_utc += timedelta(seconds=usual * step_s)
    uneven = any(abs(each - usual) > max(_UNEVEN, _JITTER_S / step_s) for each in away)
    if uneven or places[-1] >= _MAX_STEPS * len(rows):
        raise ConfigError(f"{path} has no even steps: its smallest is {step_s:g} s. Write one figure per step.")
    values = list(_filled(places, [value for _, value in rows]))
    return Trace(
        start_utc=start_utc.astimezone(UTC),
        step_s=step_s,
        values=tuple(values),
        interpolated=frozenset(range(len(values))) - frozenset(places),
    )


def _step_s(smallest_s: float) -> float:
    """Return the step between two rows, rounded to whole minutes if close: each row may be off by a second."""
    minutes_s = 60.0 * round(smallest_s / 60.0)
    return minutes_s if minutes_s and abs(smallest_s - minutes_s) <= 2 * _JITTER_S else smallest_s


def _filled(places: list[int], values: list[float]) -> Iterable[float]:
    """Yield a value per step, interpolated linearly between known ones."""
    for (place, after_place), (value, after) in zip(pairwise(places), pairwise(values), strict=True):
        for between in range(after_place - place):
            yield value + (after - value) * between / (after_place - place)
    yield values[-1]
