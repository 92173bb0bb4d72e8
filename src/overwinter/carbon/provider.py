"""What a service on the network must offer to be a live source; implementations are beside this file, one each."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Protocol

from overwinter.carbon.http import SourceError
from overwinter.carbon.intensity import Kind


@dataclass(frozen=True, kw_only=True)
class Point:
    """An intensity that holds from a time on, until the next one.

    Attributes:
        time_utc: from when.
        g_per_kwh: the intensity.
    """

    time_utc: datetime
    g_per_kwh: float


class Provider(Protocol):
    """A service that tells intensities.

    Attributes:
        name: of the service and its zone, for the record.
        kind: average or marginal.
        identity: what tells its answers apart from those of others: service, address, zone; no secrets.
    """

    name: str
    kind: Kind
    identity: str

    def fetch(self, time_utc: datetime, *, deadline_s: float) -> tuple[Point, ...]:
        """Return what is known around ``time_utc`` and after it, in order of time. Raises SourceError."""


def point(time: Any, g_per_kwh: Any, *, service: str) -> Point:
    """Check one pair of a service's answer.

    Raises:
        SourceError: it is not what the service documents.
    """
    try:
        moment = datetime.fromisoformat(str(time))
        value = float(g_per_kwh)
    except (TypeError, ValueError):
        raise SourceError(f"{service} tells {g_per_kwh!r} at {time!r}, which is no intensity") from None
    if not 0 <= value < 10_000:  # also not a NaN; the dirtiest plants emit some 1300 g/kWh
        raise SourceError(f"{service} tells {value:g} g/kWh, which cannot be")
    if moment.tzinfo is None:
        moment = moment.replace(tzinfo=UTC)
    return Point(time_utc=moment.astimezone(UTC), g_per_kwh=value)
