"""Settings of the policies that plan over a forecast; separate from the planning, which imports numpy."""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import datetime
from pathlib import Path
from typing import ClassVar, Literal

from overwinter.config.settings import setting
from overwinter.errors import ConfigError
from overwinter.power.interface import Job, PowerPolicy
from overwinter.power.settings import DeadlinePowerConfig, ProfileUse


@dataclass
class PlannedPowerConfig(DeadlinePowerConfig):
    """Base settings of policies that plan limits and pauses over a forecast, at the least cost by the deadline."""

    pause: bool = setting("whether to pause the work; false: only limits follow the forecast")
    pause_w: float = setting("watts drawn in a pause, up to the end of the work; 0: the device is released", at_least=0)
    resume_s: float = setting(
        "seconds that a pause costs in addition to its length: saving, restarting, loading", at_least=0
    )
    profile: str | None = setting(
        "folder of profiles (power and speed under each limit) from power=energy_optimal; null: measured during the run"
    )

    def job(self, started_utc: datetime) -> Job:
        """Return the job's deadline and the cost of a pause."""
        return replace(super().job(started_utc), pause_w=self.pause_w, resume_s=self.resume_s)

    def profile_use(self) -> ProfileUse | None:
        """Read the profiles that `energy_optimal` has stored."""
        return None if self.profile is None else ProfileUse(folder=self.profile, writes=False)


@dataclass
class CarbonAwarePowerConfig(PlannedPowerConfig):
    """Least carbon, by the intensity of the source in `carbon/` and its forecast."""

    def open(self) -> PowerPolicy:
        """Create the policy."""
        from overwinter.power.policies.planned import CarbonAware

        return CarbonAware(pauses=self.pause)


@dataclass
class PriceAwarePowerConfig(PlannedPowerConfig):
    """Least cost, by hourly prices."""

    prices: str = setting(
        "CSV with time_utc,price_per_kwh for every hour, relative to the project; prices may be negative"
    )

    needs: ClassVar[Literal["prices", "budget"] | None] = "prices"

    def check(self, key: str) -> None:
        """Refuse a missing file of prices."""
        super().check(key)
        if not Path(self.prices).is_file():
            raise ConfigError(
                f"{key}.prices={self.prices!r} does not exist. Name a CSV with time_utc,price_per_kwh for every hour."
            )

    def open(self) -> PowerPolicy:
        """Create the policy."""
        from overwinter.power.policies.planned import PriceAware

        return PriceAware(pauses=self.pause)

    def price_table(self) -> Path:
        """Return the file of prices."""
        return Path(self.prices)
