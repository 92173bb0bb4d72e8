"""What the settings of all power policies have in common: the group `power/`.

A policy is registered by the dataclass of its settings (`overwinter.config.groups.PluginConfig`), which also say what a
stage and the simulator must give it. Nothing here imports numpy.
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
    """Where a policy finds what the work does under each limit.

    Attributes:
        folder: with one profile per stage.
        writes: whether the policy adds what it learns; otherwise it only reads.
    """

    folder: str
    writes: bool


@dataclass
class PowerConfig(PluginConfig):
    """The settings of any policy: of those in `configs/power/`, and of entry points in `overwinter.power_policies`.

    Attributes:
        needs: what the policy needs that not every run has: `prices`, or a `budget`.
        limits_power: whether it ever changes a limit or pauses.
    """

    policy: str = MISSING

    needs: ClassVar[Literal["prices", "budget"] | None] = None
    limits_power: ClassVar[bool] = False

    @abstractmethod
    def open(self) -> PowerPolicy:
        """Make the policy."""

    def job(self, started_utc: datetime) -> Job:  # noqa: ARG002  for policies with a deadline
        """Return what the work promises that starts at ``started_utc``."""
        return Job()

    def price_table(self) -> Path | None:
        """Return the file of hourly prices of a policy that needs `prices`."""
        return None

    def profile_use(self) -> ProfileUse | None:
        """Return the stored profiles that the policy uses; None: none."""
        return None


@dataclass
class CappedPowerConfig(PowerConfig):
    """The settings of any policy that changes limits; a third party's build on it."""

    actuator: str = setting(
        "what sets the limit: auto takes the first that works here; `overwinter power status` lists them"
    )
    on_denied: str = setting(
        "without the right to set limits: fail, duty_cycle (pauses between steps, saves no energy by itself), ignore",
        choices=("fail", "duty_cycle", "ignore"),
    )
    interval_s: float = setting("seconds between two decisions", above=0)
    share_device: str = setting("a second run on the same device: refuse, share", choices=("refuse", "share"))

    limits_power: ClassVar[bool] = True


@dataclass
class SearchingPowerConfig(CappedPowerConfig):
    """The settings of any policy that tries limits: the simulator lets it search on a table of measurements."""

    @classmethod
    @abstractmethod
    def over(cls, limits_w: Sequence[float], max_slowdown: float | None) -> PowerPolicy:
        """Make the policy for a device that takes ``limits_w`` only.

        Args:
            limits_w: the limits.
            max_slowdown: how much longer the work may take than under the highest of them; None: no matter.
        """


@dataclass
class DeadlinePowerConfig(CappedPowerConfig):
    """The settings of any policy that plans up to a deadline."""

    deadline: str | None = setting(
        "when the work must be done: a time with its zone (2026-03-01T08:00:00+01:00), or a duration from the stage's "
        "start; null: no deadline"
    )

    def check(self, key: str) -> None:
        """Refuse a deadline that cannot be read."""
        read_deadline(self.deadline, started_utc=datetime(2000, 1, 1, tzinfo=UTC), key=f"{key}.deadline")

    def job(self, started_utc: datetime) -> Job:
        """Return the work's deadline."""
        return replace(super().job(started_utc), deadline_utc=read_deadline(self.deadline, started_utc=started_utc))


def read_deadline(text: str | None, *, started_utc: datetime, key: str = "power.deadline") -> datetime | None:
    """Read a time with its zone, or a duration from the start.

    Raises:
        ConfigError: neither, or a time without a zone.
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
