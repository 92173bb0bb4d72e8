"""Base settings of the power policies: the group `power/`.

A policy is registered by the dataclass of its settings (`overwinter.config.groups.PluginConfig`), which also declare
what it needs from a stage and the simulator. No numpy.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import ClassVar, Literal

from omegaconf import MISSING

from overwinter.config.groups.plugin import PluginConfig
from overwinter.config.settings import setting
from overwinter.errors import ConfigError
from overwinter.power.interface import Job, PowerPolicy
from overwinter.units import parse_quantity


@dataclass(frozen=True, kw_only=True)
class ProfileUse:
    """A policy's use of stored profiles.

    Attributes:
        folder: folder with one profile per stage.
        writes: whether the policy stores new points; otherwise it only reads.
    """

    folder: str
    writes: bool


@dataclass
class PowerConfig(PluginConfig):
    """Base settings of a policy, in `configs/power/` or an entry point in `overwinter.power_policies`.

    Attributes:
        needs: optional input that the policy requires: `prices` or a `budget`.
        limits_power: whether the policy changes limits or pauses.
    """

    policy: str = MISSING

    needs: ClassVar[Literal["prices", "budget"] | None] = None
    limits_power: ClassVar[bool] = False

    @abstractmethod
    def open(self) -> PowerPolicy:
        """Create the policy."""

    def job(self, started_utc: datetime) -> Job:  # noqa: ARG002  for policies with a deadline
        """Return the deadline and pause costs of a job that starts at ``started_utc``."""
        return Job()

    def price_table(self) -> Path | None:
        """Return the file of hourly prices, for a policy that needs `prices`."""
        return None

    def profile_use(self) -> ProfileUse | None:
        """Return the policy's use of stored profiles; None: it uses none."""
        return None


@dataclass
class CappedPowerConfig(PowerConfig):
    """Base settings of a policy that changes limits; third parties inherit from it."""

    actuator: str = setting(
        "actuator that sets the limit; auto: the first that works here; `overwinter power status` lists them"
    )
    on_denied: str = setting(
        "without permission to set limits: fail, duty_cycle (pauses between steps, saves no energy by itself), ignore",
        choices=("fail", "duty_cycle", "ignore"),
    )
    interval_s: float = setting("seconds between two decisions", above=0)
    share_device: str = setting("a second run on the same device: refuse, share", choices=("refuse", "share"))

    limits_power: ClassVar[bool] = True


@dataclass
class SearchingPowerConfig(CappedPowerConfig):
    """Base settings of a policy that searches for a limit; the simulator runs its search on a table of measurements."""

    @classmethod
    @abstractmethod
    def over(cls, limits_w: Sequence[float], max_slowdown: float | None) -> PowerPolicy:
        """Create the policy for a device that supports ``limits_w`` only.

        Args:
            limits_w: the supported limits.
            max_slowdown: maximum slowdown against the highest of them (0.2: 20 %); None: no maximum.
        """


@dataclass
class DeadlinePowerConfig(CappedPowerConfig):
    """Base settings of a policy that plans up to a deadline."""

    deadline: str | None = setting(
        "deadline of the work: a time with its zone (2026-03-01T08:00:00+01:00), or a duration from the stage's start; "
        "null: none"
    )

    def check(self, key: str) -> None:
        """Refuse an invalid deadline."""
        read_deadline(self.deadline, started_utc=datetime(2000, 1, 1, tzinfo=UTC), key=f"{key}.deadline")

    def job(self, started_utc: datetime) -> Job:
        """Return the job's deadline."""
        return replace(super().job(started_utc), deadline_utc=read_deadline(self.deadline, started_utc=started_utc))


def read_deadline(text: str | None, *, started_utc: datetime, key: str = "power.deadline") -> datetime | None:
    """Parse a time with its zone, or a duration from the start.

    Raises:
        ConfigError: the text is neither, or the time has no zone.
    """
    if text is None:
        return None
    try:
        deadline = datetime.fromisoformat(text)
    except ValueError:
        duration = parse_quantity(text, key=key, dimensions=("time",))
        return started_utc + timedelta(seconds=duration.value)
    if deadline.tzinfo is None:
        raise ConfigError(f"{key}={text!r} has no time zone. End it in Z, or in an offset such as +01:00.")
    return deadline.astimezone(UTC)
