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
    """A rule of the schedule in YAML.

    Attributes:
        days: days, such as `mon-fri` or `sat,sun`.
        hours: hours, such as `22:00-06:00`; the part after midnight belongs to the day on which it begins.
        limit: limit as in `static`; null: unchanged.
        pause: whether to pause the work during these hours.
    """

    days: str = MISSING
    hours: str = MISSING
    limit: str | None = MISSING
    pause: bool = MISSING


@dataclass
class SchedulePowerConfig(CappedPowerConfig):
    """Settings of the schedule: limits by time of day and week."""

    time_zone: str = setting("time zone of the rules, such as Europe/Berlin")
    rules: list[ScheduleRule] = setting(
        "rules of the schedule; the first that matches applies; if none matches, nothing is limited"
    )

    def check(self, key: str) -> None:  # noqa: ARG002  there is one schedule
        """Refuse an invalid time zone or rule."""
        self.open()

    def open(self) -> Schedule:
        """Create the policy."""
        return Schedule(rules=read_rules(self.rules), time_zone=read_time_zone(self.time_zone))


@dataclass(frozen=True, kw_only=True)
class TimetableRule:
    """A parsed rule of the schedule.

    Attributes:
        days: weekdays; Monday is 0.
        start: local time at which it begins.
        end: local time at which it ends; at or before ``start``: on the next day, so equal times are a whole day.
        limit: limit on every device; None: unchanged.
        pause: whether to pause the work.
    """

    days: frozenset[int]
    start: time
    end: time
    limit: LimitSetting | None
    pause: bool

    def holds(self, local: datetime) -> bool:
        """Return whether the rule applies at a local time."""
        now = local.time().replace(tzinfo=None)
        today, yesterday = local.weekday() in self.days, (local.weekday() - 1) % 7 in self.days
        if self.start < self.end:
            return today and self.start <= now < self.end
        return (today and now >= self.start) or (yesterday and now < self.end)


@dataclass(frozen=True, kw_only=True)
class Schedule:
    """A policy with limits by time of day and week.

    Attributes:
        rules: rules in order; the first that applies is used.
        time_zone: time zone of the rules.
    """

    rules: tuple[TimetableRule, ...]
    time_zone: ZoneInfo

    def decide(self, observation: Observation) -> Decision:
        """Return the decision of the rule that applies at the observation's time."""
        local = observation.time_utc.astimezone(self.time_zone)
        for rule in self.rules:
            if rule.holds(local):
                span = f"{rule.start:%H:%M}-{rule.end:%H:%M} {self.time_zone.key}"
                if rule.pause:
                    return pause(f"the schedule pauses {span}")
                return limited(observation, rule.limit, f"the schedule's limit for {span}")
        return as_before("no rule of the schedule applies now")


def read_rules(rules: list[ScheduleRule]) -> tuple[TimetableRule, ...]:
    """Parse the rules of a schedule.

    Raises:
        ConfigError: a day, a time or a limit is invalid.
    """
    return tuple(_read_rule(rule, f"power.rules[{place}]") for place, rule in enumerate(rules))


def read_time_zone(name: str) -> ZoneInfo:
    """Return a time zone by its name.

    Raises:
        ConfigError: the name is unknown.
    """
    try:
        return ZoneInfo(name)
    except (ValueError, OSError, KeyError):
        raise ConfigError(
            f"power.time_zone={name!r} is unknown. Use a name of the IANA database, such as Europe/Berlin or UTC."
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
