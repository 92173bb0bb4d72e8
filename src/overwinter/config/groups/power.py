"""The group `power/`: one schema per policy, found by the policy's name."""

from __future__ import annotations

from dataclasses import dataclass

from omegaconf import MISSING


@dataclass
class PowerConfig:
    """What every policy has. The policy `none` has nothing else.

    Attributes:
        policy: `none`, one of the policies below, or the name of an entry point in
            `overwinter.power_policies`.
    """

    policy: str = MISSING


@dataclass
class CappedPowerConfig(PowerConfig):
    """What every policy has that changes limits; a third party's schema builds on it.

    Attributes:
        actuator: `auto`, or the name of one.
        on_denied: without the right to set a limit: `fail`, `duty_cycle` (pauses between steps) or `ignore`.
        interval_s: time between two decisions.
        share_device: a second run on the same device: `refuse` or `share`.
    """

    actuator: str = MISSING
    on_denied: str = MISSING
    interval_s: float = MISSING
    share_device: str = MISSING


@dataclass
class StaticPowerConfig(CappedPowerConfig):
    """One limit from beginning to end.

    Attributes:
        limit: watts (`150 W`), or a share of the device's range (`40 %`: 0 % is its lowest limit, 100 % its
            highest); null leaves the limit alone.
        clock_mhz: lock the GPU's clock there; null leaves it alone.
    """

    limit: str | None = MISSING
    clock_mhz: int | None = MISSING


@dataclass
class ScheduleRule:
    """One row of a timetable.

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
    """Limits by time of day and week.

    Attributes:
        time_zone: in which the rules are meant, such as `Europe/Berlin`.
        rules: the first that fits holds; where none fits, nothing is limited.
    """

    time_zone: str = MISSING
    rules: list[ScheduleRule] = MISSING


@dataclass
class EnergyOptimalPowerConfig(CappedPowerConfig):
    """The limit with the least energy per unit of work, found with few probes.

    Attributes:
        max_slowdown: how much longer the work may take than without a cap (0.2: 20 %); null: no matter.
        step_w: distance between two limits that are tried.
        profile: folder that holds, for each stage, what is known of its work on this device; read, and written
            when all probes are done; null keeps none.
    """

    max_slowdown: float | None = MISSING
    step_w: float = MISSING
    profile: str | None = MISSING


@dataclass
class DeadlinePowerConfig(CappedPowerConfig):
    """What policies have that plan up to a deadline.

    Attributes:
        deadline: when the work must be done: a time with its zone (`2026-03-01T08:00:00+01:00`), or a duration
            from the stage's start (`36 h`); null: as soon as possible.
    """

    deadline: str | None = MISSING


@dataclass
class BudgetPacingPowerConfig(DeadlinePowerConfig):
    """What is left of the budget of joules or grams, spent evenly up to the deadline."""


@dataclass
class PlannedPowerConfig(DeadlinePowerConfig):
    """Limits and pauses planned over a forecast, so that the work is done by its deadline at the least cost.

    Attributes:
        pause: pauses are allowed; otherwise only limits follow the forecast.
        pause_w: power drawn in a pause, up to the job's end; 0: the device is handed back.
        resume_s: time that a pause costs beside its own length: saving, starting again, loading.
        profile: like that of `energy_optimal`, read only: what the work does under each limit.
    """

    pause: bool = MISSING
    pause_w: float = MISSING
    resume_s: float = MISSING
    profile: str | None = MISSING


@dataclass
class CarbonAwarePowerConfig(PlannedPowerConfig):
    """The least grams, by the intensity of the source in `carbon/` and its forecast."""


@dataclass
class PriceAwarePowerConfig(PlannedPowerConfig):
    """The least money, by hourly prices.

    Attributes:
        prices: CSV with `time_utc` and `price_per_kwh` for every hour, also the coming ones.
    """

    prices: str = MISSING
