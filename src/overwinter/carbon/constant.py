"""One average intensity for all times."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Any

from overwinter.carbon.intensity import Intensity


@dataclass(frozen=True, kw_only=True)
class FixedIntensity:
    """A source whose figure does not depend on the time.

    Attributes:
        intensity: the figure and its provenance.
    """

    intensity: Intensity

    def at(self, time_utc: datetime) -> Intensity:  # noqa: ARG002 -- the same at all times
        """Return the figure."""
        return self.intensity


def open_constant(config: Any) -> FixedIntensity:
    """Open the option `constant` of the group `carbon/`."""
    figure = float(config.intensity_g_per_kwh)
    return FixedIntensity(intensity=Intensity(g_per_kwh=figure, source="carbon.intensity_g_per_kwh", kind="average"))
