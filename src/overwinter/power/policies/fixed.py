"""The policies that look at nothing but the clock: `none`, `static` and `schedule`."""

from __future__ import annotations

from dataclasses import dataclass
from zoneinfo import ZoneInfo

from overwinter.config.checks.power import LimitSetting, TimetableRule
from overwinter.power.interface import Decision, Observation
from overwinter.power.policies.answers import as_before, pause, within


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
    limits = {device.name: within(device, limit.watts(device.min_w, device.max_w)) for device in observation.devices}
    return Decision(limits_w=limits, clock_mhz=clock_mhz, reason=reason)
