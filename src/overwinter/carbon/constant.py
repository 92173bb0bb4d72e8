"""One average intensity for all times."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

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
