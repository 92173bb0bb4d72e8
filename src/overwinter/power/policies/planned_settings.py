"""The settings of the policies that plan over a forecast, apart from the planning, which needs numpy."""

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
    """Limits and pauses planned over a forecast, so that the work is done by its deadline at the least cost."""

    pause: bool = setting("false: only limits follow the forecast")
    pause_w: float = setting(
        "watts drawn in a pause, up to the end of the work; 0: the device is handed back", at_least=0
    )
    resume_s: float = setting(
        "seconds that a pause costs beside its own length: saving, starting again, loading", at_least=0
    )
    profile: str | None = setting(
        "folder that power=energy_optimal has filled: what each stage does under each limit; null: learned on the way"
    )

    def job(self, started_utc: datetime) -> Job:
        """Return the work's deadline, and what a pause costs."""
        return replace(super().job(started_utc), pause_w=self.pause_w, resume_s=self.resume_s)

    def profile_use(self) -> ProfileUse | None:
        """Read what `energy_optimal` has stored."""
        return None if self.profile is None else ProfileUse(folder=self.profile, writes=False)


@dataclass
class CarbonAwarePowerConfig(PlannedPowerConfig):
    """The least grams, by the intensity of the source in `carbon/` and its forecast."""

    def open(self) -> PowerPolicy:
        """Make the policy."""
        from overwinter.power.policies.planned import CarbonAware

        return CarbonAware(pauses=self.pause)


@dataclass
class PriceAwarePowerConfig(PlannedPowerConfig):
    """The least money, by hourly prices."""

    prices: str = setting(
        "CSV with time_utc,price_per_kwh for every hour, relative to the project; prices may be negative"
    )

    needs: ClassVar[Literal["prices", "budget"] | None] = "prices"

    def check(self, key: str) -> None:
        """Refuse prices that are not there."""
        super().check(key)
        if not Path(self.prices).is_file():
            raise ConfigError(
                f"{key}.prices={self.prices!r} is not there. Name a CSV with time_utc,price_per_kwh for every hour."
            )

    def open(self) -> PowerPolicy:
        """Make the policy."""
        from overwinter.power.policies.planned import PriceAware

        return PriceAware(pauses=self.pause)

    def price_table(self) -> Path:
        """Return the file of prices."""
        return Path(self.prices)
