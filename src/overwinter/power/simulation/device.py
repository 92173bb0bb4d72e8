"""Simulated device: a table of time and average power per power limit."""

from __future__ import annotations

import csv
import math
from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from statistics import fmean

import numpy as np

from overwinter.errors import ConfigError, nearest
from overwinter.power.interface import DeviceState, OperatingPoint

LIMIT, TIME, POWER = "power_limit", "time_per_epoch", "average_power"
HOUR_S = 3600.0

Row = dict[str, str]


@dataclass(frozen=True, kw_only=True)
class DeviceTable:
    """One workload on one device.

    Attributes:
        select: columns and values that identify the workload.
        points: one point per limit, rising; speed is 1 hour of full-speed work per hour under the highest limit.
        piece_s: seconds of the table's piece of work (an epoch) under the highest limit.
    """

    select: Mapping[str, str]
    points: tuple[OperatingPoint, ...]
    piece_s: float = HOUR_S

    @property
    def state(self) -> DeviceState:
        """The device's state for a policy, without a previous cap."""
        low, high = self.points[0].limit_w, self.points[-1].limit_w
        return DeviceState(name="device", min_w=low, max_w=high, default_w=high, previous_w=high, current_w=high)

    def at(self, limit_w: float) -> OperatingPoint:
        """Return speed and power under any limit, interpolated linearly between the table's limits."""
        limits = [point.limit_w for point in self.points]
        return OperatingPoint(
            limit_w=limit_w,
            power_w=float(np.interp(limit_w, limits, [point.power_w for point in self.points])),
            speed_per_s=float(np.interp(limit_w, limits, [point.speed_per_s for point in self.points])),
        )


def read_device_table(path: Path, select: Mapping[str, str]) -> DeviceTable:
    """Read the rows that match ``select``; rows that differ only in other columns are averaged.

    Raises:
        ConfigError: the file is missing or not such a table, or no row matches.
    """
    return _table(path, _selected(path, _rows(path), select), dict(select))


def read_workloads(path: Path, select: Mapping[str, str]) -> list[DeviceTable]:
    """Read every workload of a table; a workload's rows differ only in the limit and the measurements.

    Raises:
        ConfigError: the file is missing or not such a table, or no row matches.
    """
    groups: dict[tuple[tuple[str, str], ...], list[Row]] = defaultdict(list)
    for row in _selected(path, _rows(path), select):
        groups[tuple((name, row[name]) for name in row if name not in (LIMIT, TIME, POWER))].append(row)
    return [_table(path, rows, dict(key)) for key, rows in groups.items()]


def parse_select(text: str | None) -> dict[str, str]:
    """Parse ``network=resnet50,batch_size=360``.

    Raises:
        ConfigError: the text has another format.
    """
    chosen = {}
    for part in (text or "").split(","):
        name, equals, value = part.partition("=")
        if equals and name.strip():
            chosen[name.strip()] = value.strip()
        elif part.strip():
            raise ConfigError(f"--select {text}: {part!r} is not COLUMN=VALUE. Write network=resnet50,batch_size=360.")
    return chosen


def _rows(path: Path) -> list[Row]:
    try:
        with path.open(encoding="utf-8-sig", newline="") as stream:
            reader = csv.DictReader(stream)
            names = [name.partition("(")[0].strip() for name in reader.fieldnames or ()]
            reader.fieldnames = names
            rows = list(reader)
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise ConfigError(f"{path} cannot be read: {error}. Name a CSV with {LIMIT}, {TIME} and {POWER}.") from None
    missing = [name for name in (LIMIT, TIME, POWER) if name not in names]
    if missing:
        raise ConfigError(f"{path} has no column {missing[0]}. Its first line must name {LIMIT}, {TIME} and {POWER}.")
    return rows


def _selected(path: Path, rows: list[Row], select: Mapping[str, str]) -> list[Row]:
    for name, value in select.items():
        known = sorted({row[name] for row in rows if name in row})
        if rows and not known:
            columns = list(rows[0])
            raise ConfigError(f"{path} has no column {name!r}. Columns: {', '.join(columns)}.{nearest(name, columns)}")
        rows = [row for row in rows if row[name] == value]
        if not rows:
            raise ConfigError(
                f"{path} has no row with {name}={value}. Values: {', '.join(known)}.{nearest(value, known)}"
            )
    if not rows:
        raise ConfigError(f"{path} has no rows. Name a table with one row per power limit.")
    return rows


def _table(path: Path, rows: Iterable[Row], select: Mapping[str, str]) -> DeviceTable:
    seen: dict[float, list[tuple[float, float]]] = defaultdict(list)
    for row in rows:
        try:
            limit_w, time_s, power_w = (float(row[name]) for name in (LIMIT, TIME, POWER))
        except (TypeError, ValueError):
            raise ConfigError(f"{path}: {dict(row)} has no number in {LIMIT}, {TIME} or {POWER}. Correct it.") from None
        if not all(math.isfinite(value) and value > 0 for value in (limit_w, time_s, power_w)):
            raise ConfigError(f"{path}: {dict(row)} must have numbers above 0 in {LIMIT}, {TIME} and {POWER}.")
        seen[limit_w].append((time_s, power_w))
    full_s = fmean(time_s for time_s, _ in seen[max(seen)])
    points = [
        OperatingPoint(
            limit_w=limit_w,
            power_w=fmean(power_w for _, power_w in each),
            speed_per_s=full_s / fmean(time_s for time_s, _ in each) / HOUR_S,
        )
        for limit_w, each in sorted(seen.items())
    ]
    return DeviceTable(select=select, points=tuple(points), piece_s=full_s)
