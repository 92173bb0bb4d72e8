"""The protocol of network services for live sources; each implementation has its own file in this folder."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Protocol

from overwinter.carbon.http import SourceError
from overwinter.carbon.intensity import Kind

_YEAR_2000_S, _YEAR_2200_S, _MILLISECONDS = 946684800, 7258118400, 1e11


@dataclass(frozen=True, kw_only=True)
class Point:
    """An intensity that holds from a time until the next point.

    Attributes:
        time_utc: start of its validity.
        g_per_kwh: the intensity.
    """

    time_utc: datetime
    g_per_kwh: float


class Provider(Protocol):
    """A service that reports carbon intensities.

    Attributes:
        name: name of the service and its zone, for the record.
        kind: average or marginal.
        identity: key of its cached responses: service, address, zone; no secrets.
        notes: notes for the user about the latest fetch, such as rows that were left out.
        renewable_share: renewable share at the latest fetch, from 0 to 1; None if the service does not report it.
    """

    name: str
    kind: Kind
    identity: str
    notes: tuple[str, ...]
    renewable_share: float | None

    def fetch(self, time_utc: datetime, *, deadline_s: float) -> tuple[Point, ...]:
        """Return the points around ``time_utc`` and after it, in order of time. Raises SourceError."""


def point(time: Any, g_per_kwh: Any, *, service: str) -> Point:
    """Return a checked point from a pair in a service's response.

    Raises:
        SourceError: the pair is not what the service documents.
    """
    if isinstance(g_per_kwh, bool):
        raise SourceError(f"{service} has {g_per_kwh!r} at {time!r}, which is not an intensity")
    try:
        moment, value = _moment(time), float(g_per_kwh)
    except (TypeError, ValueError, OverflowError):
        raise SourceError(f"{service} has {g_per_kwh!r} at {time!r}, which is not an intensity") from None
    if not 0 <= value < 10_000:  # also rejects NaN; the dirtiest plants emit some 1300 g/kWh
        raise SourceError(f"{service} has {value:g} g/kWh, which is out of range")
    return Point(time_utc=moment, g_per_kwh=value)


def _moment(time: Any) -> datetime:
    """Parse ISO 8601 (UTC without a zone), or seconds or milliseconds since 1970."""
    if not isinstance(time, bool) and isinstance(time, (int, float)):
        seconds = time / 1000 if time >= _MILLISECONDS else time
        if not _YEAR_2000_S <= seconds < _YEAR_2200_S:
            raise ValueError
        return datetime.fromtimestamp(seconds, tz=UTC)
    moment = datetime.fromisoformat(str(time))
    return (moment if moment.tzinfo else moment.replace(tzinfo=UTC)).astimezone(UTC)
