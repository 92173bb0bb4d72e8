"""What a carbon intensity is, and what a source of it must offer."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Literal, Protocol

Kind = Literal["average", "marginal"]


@dataclass(frozen=True, kw_only=True, slots=True)
class Intensity:
    """Grams of CO2 equivalent per kilowatt-hour, with provenance.

    Attributes:
        g_per_kwh: the figure.
        source: where it comes from, with its year or time.
        kind: `average` of the whole mix, or `marginal`, of one more kilowatt-hour: different quantities.
        renewable_share: of the electricity at that time, from 0 to 1; None where the source reports no mix.
    """

    g_per_kwh: float
    source: str
    kind: Kind
    renewable_share: float | None = None


class IntensitySource(Protocol):
    """Reports the intensity of a moment."""

    def at(self, time_utc: datetime) -> Intensity:
        """Return the intensity at ``time_utc``."""
