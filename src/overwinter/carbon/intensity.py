"""The carbon intensity record, and the protocol of its sources."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Literal, Protocol

Kind = Literal["average", "marginal"]


@dataclass(frozen=True, kw_only=True, slots=True)
class Intensity:
    """Grams of CO2 equivalent per kilowatt-hour, with provenance.

    Attributes:
        g_per_kwh: grams of CO2 equivalent per kilowatt-hour.
        source: source of the figure, with its year or time.
        kind: `average` of the whole mix, or `marginal`, of one more kilowatt-hour: different quantities.
        renewable_share: renewable share of the electricity at that time, from 0 to 1; None if not reported.
    """

    g_per_kwh: float
    source: str
    kind: Kind
    renewable_share: float | None = None


class IntensitySource(Protocol):
    """A source of carbon intensity over time."""

    def at(self, time_utc: datetime) -> Intensity:
        """Return the intensity at ``time_utc``."""
