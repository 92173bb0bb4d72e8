"""The policy `schedule`: limits by time of day and week."""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import datetime, time
from zoneinfo import ZoneInfo

from omegaconf import MISSING

from overwinter.config.settings import setting
from overwinter.errors import ConfigError
from overwinter.power.interface import Decision, Observation
from overwinter.power.policies.decisions import as_before, pause
from overwinter.power.policies.limits import LimitSetting, limited, read_limit
from overwinter.power.settings import CappedPowerConfig

_DAYS = ("mon", "tue", "wed", "thu", "fri", "sat", "sun")
_HOURS = re.compile(r"(\d{1,2}):(\d{2})\s*-\s*(\d{1,2}):(\d{2})")


@dataclass
class ScheduleRule:
    """One row of a timetable, as it stands in YAML.

    Attributes:
        days: such as `mon-fri` or `sat,sun`.
        hours: such as `22:00-06:00`; past midnight belongs to the day on which it began.
        limit: like that of `static`; null leaves the limit alone.
        pause: stop the work then.
    """

    days: str = MISSING
    hours: str = MISSING
    limit: str | None = MISSING
    pause: bool = MISSING


@dataclass
class SchedulePowerConfig(CappedPowerConfig):
    """Limits by time of day and week."""

    time_zone: str = setting("in which the rules are meant, such as Europe/Berlin")
    rules: list[ScheduleRule] = setting("the first that fits holds; where none fits, nothing is limited")

    def check(self, key: str) -> None:  # noqa: ARG002  there is one timetable
        """Refuse a time zone or a rule that cannot be read."""
        self.open()

    def open(self) -> Schedule:
        """Make the policy."""
        return Schedule(rules=read_rules(self.rules), time_zone=read_time_zone(self.time_zone))


@dataclass(frozen=True, kw_only=True)
class TimetableRule:
    """One row of a timetable, read.

    Attributes:
        days: Monday is 0.
        start: local time from which it holds.
        end: up to which; at or before ``start``: on the next day, so that the same time twice is a whole day.
        limit: None leaves the limit alone.
        pause: stop the work then.
    """

    days: frozenset[int]
    start: time
    end: time
    limit: LimitSetting | None
    pause: bool

    def holds(self, local: datetime) -> bool:
        """Return whether it holds at a local time."""
        now = local.time().replace(tzinfo=None)
        today, yesterday = local.weekday() in self.days, (local.weekday() - 1) % 7 in self.days
        if self.start < self.end:
            return today and self.start <= now < self.end
        return (today and now >= self.start) or (yesterday and now < self.end)


@dataclass(frozen=True, kw_only=True)
class Schedule:
    """Limits by time of day and week.

    Attributes:
        rules: the first that holds counts.
        time_zone: in which they are meant.
    """

    rules: tuple[TimetableRule, ...]
    time_zone: ZoneInfo

    def decide(self, observation: Observation) -> Decision:
        """Answer the rule that holds at the observation's time."""
        local = observation.time_utc.astimezone(self.time_zone)
        for rule in self.rules:
            if rule.holds(local):
                span = f"{rule.start:%H:%M}-{rule.end:%H:%M} {self.time_zone.key}"
                if rule.pause:
                    return pause(f"the timetable pauses {span}")
                return limited(observation, rule.limit, f"the timetable's limit of {span}")
        return as_before("no rule of the timetable holds now")


def read_rules(rules: list[ScheduleRule]) -> tuple[TimetableRule, ...]:
    """Read the rows of a timetable.

    Raises:
        ConfigError: a day, a time or a limit that cannot be read.
    """
    return tuple(_read_rule(rule, f"power.rules[{place}]") for place, rule in enumerate(rules))


def read_time_zone(name: str) -> ZoneInfo:
    """Find a time zone.

    Raises:
        ConfigError: there is none of that name.
    """
    try:
        return ZoneInfo(name)
    except (ValueError, OSError, KeyError):
        raise ConfigError(
            f"power.time_zone={name!r} is unknown. Write a name of the IANA database, such as Europe/Berlin or UTC."
        ) from None


def _read_rule(rule: ScheduleRule, key: str) -> TimetableRule:
    start, end = _read_hours(rule.hours, f"{key}.hours")
    return TimetableRule(
        days=_read_days(rule.days, f"{key}.days"),
        start=start,
        end=end,
        limit=read_limit(rule.limit, key=f"{key}.limit"),
        pause=rule.pause,
    )


def _read_days(text: str, key: str) -> frozenset[int]:
    days: set[int] = set()
    for part in text.replace(" ", "").lower().split(","):
        first, _, last = part.partition("-")
        if first not in _DAYS or (last or first) not in _DAYS:
            raise ConfigError(f"{key}={text!r} cannot be read. Write days such as mon-fri or sat,sun.")
        start, end = _DAYS.index(first), _DAYS.index(last or first)
        days.update((start + step) % 7 for step in range((end - start) % 7 + 1))
    return frozenset(days)


def _read_hours(text: str, key: str) -> tuple[time, time]:
    match = _HOURS.fullmatch(text.strip())
    parts = [int(part) for part in match.groups()] if match else [99] * 4
    if not all(_is_time(hour, minute) for hour, minute in (parts[:2], parts[2:])):
        raise ConfigError(f"{key}={text!r} cannot be read. Write hours such as 22:00-06:00.")
    return time(parts[0] % 24, parts[1]), time(parts[2] % 24, parts[3])


def _is_time(hour: int, minute: int) -> bool:
    return (hour < 24 and minute < 60) or (hour == 24 and minute == 0)
