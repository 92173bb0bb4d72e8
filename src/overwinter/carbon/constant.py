"""One average intensity for all times."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import ClassVar

from overwinter.carbon.intensity import Intensity
from overwinter.carbon.settings import CarbonConfig
from overwinter.config.settings import setting


@dataclass
class ConstantCarbonConfig(CarbonConfig):
    """A fixed average intensity, in gCO2e per kWh."""

    intensity_g_per_kwh: float = setting(
        "grams of CO2 equivalent per kilowatt-hour, at all times", at_least=0, at_most=5000
    )

    always_available: ClassVar[bool] = True

    def open(self) -> FixedIntensity:
        """Open the source."""
        figure = float(self.intensity_g_per_kwh)
        return FixedIntensity(
            intensity=Intensity(g_per_kwh=figure, source="carbon.intensity_g_per_kwh", kind="average")
        )


@dataclass(frozen=True, kw_only=True)
class FixedIntensity:
    """A source with the same intensity at all times.

    Attributes:
        intensity: the intensity and its provenance.
    """

    intensity: Intensity

    def at(self, time_utc: datetime) -> Intensity:  # noqa: ARG002 -- the same at all times
        """Return the fixed intensity."""
        return self.intensity
