"""Conversion of cron expressions: to an earlier time, another time zone, or systemd's calendar syntax."""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from itertools import groupby
from zoneinfo import ZoneInfo

from cronsim import CronSim, CronSimError

from overwinter.errors import ConfigError

_DAY_MIN = 24 * 60
_FULL = {"day": frozenset(range(1, 32)), "month": frozenset(range(1, 13)), "weekday": frozenset(range(7))}
_WEEKDAYS = ("Sun", "Mon", "Tue", "Wed", "Thu", "Fri", "Sat")
_OFFSET_YEARS = 2  # years to compare two zones over: their rules repeat every year


@dataclass(frozen=True, kw_only=True)
class Timetable:
    """The times of a cron expression, in some time zone.

    Attributes:
        minutes: The minutes of the day, 0 to 1439.
        days: The days of the month, 1 to 31.
        months: The months, 1 to 12.
        weekdays: The weekdays, 0 (Sunday) to 6.
        either: Whether a matching day of the month or weekday is enough, as in cron when both are restricted.
    """

    minutes: frozenset[int]
    days: frozenset[int] = _FULL["day"]
    months: frozenset[int] = _FULL["month"]
    weekdays: frozenset[int] = _FULL["weekday"]
    either: bool = False

    def earlier(self, lead_s: float) -> tuple[Timetable, ...]:
        """Return the times ``lead_s`` before these; the lead is rounded up to whole minutes.

        Raises:
            ConfigError: A time would fall on the day before, and the days of the month are restricted; or the lead is
                not from zero to less than a day.
        """
        if not 0 <= lead_s < 60 * _DAY_MIN:
            raise ConfigError(f"A lead of {lead_s:g} s cannot be rendered: it must be from zero to less than a day.")
        return self._moved(-math.ceil(lead_s / 60))

    def expressions(self) -> tuple[str, ...]:
        """Return five-field cron expressions for exactly these times."""
        fields = [_listed(self.days, _FULL["day"]), _listed(self.months, _FULL["month"])]
        fields.append(_listed(self.weekdays, _FULL["weekday"]))
        return tuple(
            f"{_listed(minutes, frozenset(range(60)))} {_listed(hours, frozenset(range(24)))} {' '.join(fields)}"
            for minutes, hours in self._clock()
        )

    def calendars(self, zone: str) -> tuple[str, ...]:
        """Return systemd calendar expressions (systemd.time(7)) for these times in a zone."""
        days, months = _listed(self.days, _FULL["day"], sign=".."), _listed(self.months, _FULL["month"], sign="..")
        week = ",".join(_WEEKDAYS[day] for day in sorted(self.weekdays, key=lambda day: (day - 1) % 7))
        week = "" if self.weekdays == _FULL["weekday"] else f"{week} "
        dates = [("", f"*-{months}-{days}"), (week, f"*-{months}-*")] if self.either else [(week, f"*-{months}-{days}")]
        return tuple(
            f"{weekday}{date} {_listed(hours, frozenset(range(24)), sign='..')}:"
            f"{_listed(minutes, frozenset(range(60)), sign='..')}:00 {zone}"
            for weekday, date in dates
            for minutes, hours in self._clock()
        )

    def moved_between(self, zone: str, machine_zone: str) -> tuple[Timetable, ...]:
        """Return the times of ``zone`` in ``machine_zone``, for every difference of the two over the year.

        If the difference changes over the year, the result contains other times, too: the caller must check the
        clock of ``zone``.

        Raises:
            ConfigError: A time would fall on another day, and the days of the month are restricted.
        """
        moved = {part for shift_min in _differences_min(zone, machine_zone) for part in self._moved(shift_min)}
        return tuple(sorted(moved, key=lambda part: sorted(part.minutes)))

    def _moved(self, shift_min: int) -> tuple[Timetable, ...]:
        parts = []
        places = sorted((minute + shift_min for minute in self.minutes), key=lambda place: place // _DAY_MIN)
        for days, group in groupby(places, key=lambda place: place // _DAY_MIN):
            minutes = frozenset(place % _DAY_MIN for place in group)
            parts.append(replace(self, minutes=minutes, weekdays=self._weekdays_moved(days)))
        return tuple(parts)

    def _weekdays_moved(self, days: int) -> frozenset[int]:
        if days and (self.days, self.months) != (_FULL["day"], _FULL["month"]):
            raise ConfigError(
                f"{self.expressions()[0]!r} moves to another day, but its days of the month are restricted. "
                "Restrict only weekdays, or choose a time further from midnight."
            )
        return frozenset((weekday + days) % 7 for weekday in self.weekdays)

    def _clock(self) -> list[tuple[frozenset[int], frozenset[int]]]:
        """Return (minutes, hours) pairs whose products are the minutes of the day."""
        by_hour = {hour: frozenset(m % 60 for m in self.minutes if m // 60 == hour) for hour in range(24)}
        sets = sorted({minutes for minutes in by_hour.values() if minutes}, key=sorted)
        return [(minutes, frozenset(hour for hour in by_hour if by_hour[hour] == minutes)) for minutes in sets]


def read_timetable(expression: str) -> Timetable:
    """Read a five-field cron expression.

    Raises:
        ConfigError: The expression is not valid, or names days by their place in the month (`L`, `LW`, `MON#2`),
            which not every orchestrator supports.
    """
    try:
        parsed = CronSim(expression, datetime(2026, 1, 1, tzinfo=UTC))
    except CronSimError as error:
        raise ConfigError(f"{expression!r} is not a cron expression: {error}. Write five fields.") from None
    numbers = [*parsed.days, *parsed.weekdays]
    if len(expression.split()) != 5 or not all(isinstance(number, int) and number >= 0 for number in numbers):
        raise ConfigError(f"{expression!r} cannot be rendered. Write five fields without L, LW and #.")
    return Timetable(
        minutes=frozenset(60 * hour + minute for hour in parsed.hours for minute in parsed.minutes),
        days=frozenset(parsed.days),
        months=frozenset(parsed.months),
        weekdays=frozenset(day % 7 for day in parsed.weekdays if isinstance(day, int)),
        either=not parsed.day_and,
    )


def clock_times(timetable: Timetable) -> tuple[str, ...]:
    """Return the times of day as `HHMM`."""
    return tuple(f"{minute // 60:02}{minute % 60:02}" for minute in sorted(timetable.minutes))


def _differences_min(zone: str, machine_zone: str) -> set[int]:
    """Return the differences between the machine's clock and the zone's, in minutes, over several years."""
    here, there = ZoneInfo(machine_zone), ZoneInfo(zone)
    first = datetime.now(UTC)
    ahead = set()
    for day in range(366 * _OFFSET_YEARS):
        moment = first + timedelta(days=day)
        offset = (moment.astimezone(here).utcoffset() or timedelta()) - (
            moment.astimezone(there).utcoffset() or timedelta()
        )
        ahead.add(round(offset.total_seconds() / 60))
    return ahead


def _listed(values: Iterable[int], full: frozenset[int], *, sign: str = "-") -> str:
    """Return a set as `*`, or as values and ranges such as `1-5,7`."""
    ordered = sorted(values)
    if frozenset(ordered) == full:
        return "*"
    runs = [[value for _, value in run] for _, run in groupby(enumerate(ordered), key=lambda pair: pair[1] - pair[0])]
    return ",".join(str(run[0]) if len(run) == 1 else f"{run[0]}{sign}{run[-1]}" for run in runs)
