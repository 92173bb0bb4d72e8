"""Reading and checking of the group `power/`: limits, timetables, deadlines."""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import UTC, datetime, time, timedelta
from pathlib import Path
from zoneinfo import ZoneInfo

from overwinter.config.checks.budget import read_limits
from overwinter.config.checks.ranges import check_at_least, check_choice
from overwinter.config.groups import Config
from overwinter.config.groups.budget import BudgetConfig
from overwinter.config.groups.power import (
    BudgetPacingPowerConfig,
    CappedPowerConfig,
    DeadlinePowerConfig,
    EnergyOptimalPowerConfig,
    PlannedPowerConfig,
    PowerConfig,
    PriceAwarePowerConfig,
    SchedulePowerConfig,
    ScheduleRule,
    StaticPowerConfig,
)
from overwinter.errors import ConfigError
from overwinter.units import parse_quantity

ON_DENIED = ("fail", "duty_cycle", "ignore")
SHARE_DEVICE = ("refuse", "share")
_PACED = ("energy", "carbon", "money")
_DAYS = ("mon", "tue", "wed", "thu", "fri", "sat", "sun")
_HOURS = re.compile(r"(\d{1,2}):(\d{2})\s*-\s*(\d{1,2}):(\d{2})")


@dataclass(frozen=True, kw_only=True)
class LimitSetting:
    """A limit as it was written: watts, or a share of a device's range.

    Attributes:
        amount: watts, or the share (0 to 1).
        is_share: which of both.
    """

    amount: float
    is_share: bool

    def watts(self, min_w: float, max_w: float) -> float:
        """Return the limit of a device that takes ``min_w`` to ``max_w``."""
        return min_w + self.amount * (max_w - min_w) if self.is_share else self.amount


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
        """Tell whether it holds at a local time."""
        now = local.time().replace(tzinfo=None)
        today, yesterday = local.weekday() in self.days, (local.weekday() - 1) % 7 in self.days
        if self.start < self.end:
            return today and self.start <= now < self.end
        return (today and now >= self.start) or (yesterday and now < self.end)


def check_power(config: Config) -> None:
    """Check the group `power/` of a typed configuration; a third party's own keys are its own business.

    Raises:
        ConfigError: the first value that cannot be used, with its key.
    """
    check_power_values(config.power)
    if isinstance(config.power, BudgetPacingPowerConfig):
        _check_budget_is_there(config.budget)


def check_power_values(chosen: PowerConfig) -> None:
    """Check the group by itself; see `check_power`."""
    if isinstance(chosen, CappedPowerConfig):
        check_choice("power.on_denied", chosen.on_denied, ON_DENIED)
        check_choice("power.share_device", chosen.share_device, SHARE_DEVICE)
        check_at_least("power.interval_s", chosen.interval_s, 0, above=True)
    if isinstance(chosen, StaticPowerConfig):
        read_limit(chosen.limit, key="power.limit")
        if chosen.clock_mhz is not None:
            check_at_least("power.clock_mhz", chosen.clock_mhz, 1)
    if isinstance(chosen, SchedulePowerConfig):
        read_time_zone(chosen.time_zone)
        read_rules(chosen.rules)
    if isinstance(chosen, EnergyOptimalPowerConfig):
        _check_energy_optimal(chosen)
    if isinstance(chosen, DeadlinePowerConfig):
        _check_planned(chosen)


def read_limit(text: str | None, *, key: str) -> LimitSetting | None:
    """Read `150 W` or `40 %`; null is None.

    Raises:
        ConfigError: neither, or a share above 100 %, or no watts at all.
    """
    if text is None:
        return None
    quantity = parse_quantity(text, key=key, dimensions=("power", "share"))
    is_share = quantity.dimension == "share"
    if is_share and quantity.value > 1:
        raise ConfigError(f"{key}={text!r} is more than the whole range. A share is at most 100 %.")
    if not is_share and quantity.value <= 0:
        raise ConfigError(f"{key}={text!r} must be above 0 W.")
    return LimitSetting(amount=quantity.value, is_share=is_share)


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


def read_deadline(text: str | None, *, started_utc: datetime) -> datetime | None:
    """Read `power.deadline`: a time with its zone, or a duration from the start.

    Raises:
        ConfigError: neither, or a time without a zone.
    """
    if text is None:
        return None
    try:
        deadline = datetime.fromisoformat(text)
    except ValueError:
        duration = parse_quantity(text, key="power.deadline", dimensions=("time",))
        return started_utc + timedelta(seconds=duration.value)
    if deadline.tzinfo is None:
        raise ConfigError(f"power.deadline={text!r} has no time zone. End it in Z, or in an offset such as +01:00.")
    return deadline.astimezone(UTC)


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


def _check_energy_optimal(chosen: EnergyOptimalPowerConfig) -> None:
    check_at_least("power.step_w", chosen.step_w, 0, above=True)
    if chosen.max_slowdown is not None:
        check_at_least("power.max_slowdown", chosen.max_slowdown, 0)


def _check_planned(chosen: DeadlinePowerConfig) -> None:
    read_deadline(chosen.deadline, started_utc=datetime(2000, 1, 1, tzinfo=UTC))
    if isinstance(chosen, PlannedPowerConfig):
        check_at_least("power.pause_w", chosen.pause_w, 0)
        check_at_least("power.resume_s", chosen.resume_s, 0)
    if isinstance(chosen, PriceAwarePowerConfig) and not Path(chosen.prices).is_file():
        raise ConfigError(
            f"power.prices={chosen.prices!r} is not there. Name a CSV with time_utc,price_per_kwh for every hour."
        )


def _check_budget_is_there(budget: BudgetConfig) -> None:
    total, stages = read_limits(budget)
    limits = [*total, *(each for limits in stages.values() for each in limits)]
    if not any(limit.amount.dimension in _PACED for limit in limits):
        raise ConfigError(
            "power.policy=budget_pacing has nothing to pace: no joules, grams or money are limited. "
            "Set budget.total, such as budget.total='2 kWh'."
        )
