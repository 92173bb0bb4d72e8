"""The policies that look at nothing but the clock: `none`, `static` and `schedule`."""

from __future__ import annotations

from dataclasses import dataclass
from zoneinfo import ZoneInfo

from overwinter.config.checks.power import LimitSetting, TimetableRule, read_limit, read_rules, read_time_zone
from overwinter.config.groups.power import PowerConfig, SchedulePowerConfig, StaticPowerConfig
from overwinter.power.interface import Decision, DeviceState, Observation
from overwinter.power.policies.answers import as_before, pause


@dataclass(frozen=True, kw_only=True)
class NoCap:
    """Nothing is limited."""

    def decide(self, observation: Observation) -> Decision:  # noqa: ARG002  the protocol's signature
        """Leave every limit as it was."""
        return as_before("no power cap")


@dataclass(frozen=True, kw_only=True)
class StaticCap:
    """One limit from beginning to end.

    Attributes:
        limit: on every device; None leaves it alone.
        clock_mhz: locked clock; None leaves it alone.
    """

    limit: LimitSetting | None
    clock_mhz: int | None = None

    def decide(self, observation: Observation) -> Decision:
        """Answer the limit."""
        return _limited(observation, self.limit, "the limit of the configuration", self.clock_mhz)


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
                return _limited(observation, rule.limit, f"the timetable's limit of {span}")
        return as_before("no rule of the timetable holds now")


def _limited(
    observation: Observation, limit: LimitSetting | None, reason: str, clock_mhz: int | None = None
) -> Decision:
    if limit is None:
        return Decision(clock_mhz=clock_mhz, reason=reason)
    limits = {device.name: _asked_w(device, limit) for device in observation.devices}
    return Decision(limits_w=limits, clock_mhz=clock_mhz, reason=reason)


def _asked_w(device: DeviceState, limit: LimitSetting) -> float:
    """Return what a person asked for, at most what an operator allows.

    Watts out of the device's range are not moved into it: the loop refuses them, says so, and the previous limit holds.
    """
    asked_w = limit.watts(device.min_w, device.max_w)
    return asked_w if asked_w > device.max_w else min(asked_w, max(device.ceiling_w, device.min_w))


def open_no_cap(_: PowerConfig) -> NoCap:
    """Make the policy `none`."""
    return NoCap()


def open_static(config: StaticPowerConfig) -> StaticCap:
    """Make the policy `static` from the group `power/`."""
    return StaticCap(limit=read_limit(config.limit, key="power.limit"), clock_mhz=config.clock_mhz)


def open_schedule(config: SchedulePowerConfig) -> Schedule:
    """Make the policy `schedule` from the group `power/`."""
    return Schedule(rules=read_rules(config.rules), time_zone=read_time_zone(config.time_zone))
