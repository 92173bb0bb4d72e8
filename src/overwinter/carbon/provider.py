"""What a service on the network must offer to be a live source; implementations are beside this file, one each."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Protocol

from overwinter.carbon.http import SourceError
from overwinter.carbon.intensity import Kind

_YEAR_2000_S, _YEAR_2200_S, _MILLISECONDS = 946684800, 7258118400, 1e11


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
        identity: what reports its answers apart from those of others: service, address, zone; no secrets.
        notes: what the user should know of the latest fetch, such as rows that were left out.
        renewable_share: of the electricity at the latest fetch, from 0 to 1; None where the service does not report.
    """

    name: str
    kind: Kind
    identity: str
    notes: tuple[str, ...]
    renewable_share: float | None

    def fetch(self, time_utc: datetime, *, deadline_s: float) -> tuple[Point, ...]:
        """Return what is known around ``time_utc`` and after it, in order of time. Raises SourceError."""


def point(time: Any, g_per_kwh: Any, *, service: str) -> Point:
    """Check one pair of a service's answer.

    Raises:
        SourceError: it is not what the service documents.
    """
    if isinstance(g_per_kwh, bool):
        raise SourceError(f"{service} tells {g_per_kwh!r} at {time!r}, which is no intensity")
    try:
        moment, value = _moment(time), float(g_per_kwh)
    except (TypeError, ValueError, OverflowError):
        raise SourceError(f"{service} tells {g_per_kwh!r} at {time!r}, which is no intensity") from None
    if not 0 <= value < 10_000:  # also not a NaN; the dirtiest plants emit some 1300 g/kWh
        raise SourceError(f"{service} tells {value:g} g/kWh, which cannot be")
    return Point(time_utc=moment, g_per_kwh=value)


def _moment(time: Any) -> datetime:
    """Read ISO 8601, in UTC where it names no zone, or seconds or milliseconds since 1970."""
    if not isinstance(time, bool) and isinstance(time, (int, float)):
        seconds = time / 1000 if time >= _MILLISECONDS else time
        if not _YEAR_2000_S <= seconds < _YEAR_2200_S:
            raise ValueError
        return datetime.fromtimestamp(seconds, tz=UTC)
    moment = datetime.fromisoformat(str(time))
    return (moment if moment.tzinfo else moment.replace(tzinfo=UTC)).astimezone(UTC)
