"""Windows in which the model is kept ready, given by two cron expressions and a time zone."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from itertools import islice
from typing import Any
from zoneinfo import ZoneInfo

from cronsim import CronSim, CronSimError

from overwinter.errors import ConfigError

# How far back to look for the latest tick: most expressions tick daily, the rarest on 29 February of some
# century.
_LOOK_BACK_S = tuple(86400.0 * days for days in (1, 8, 32, 367, 9 * 366))

_TRIED_STARTS = 20  # in one of which the window must open, or it is a mistake


@dataclass(frozen=True, kw_only=True)
class Window:
    """A window, open from each tick of one cron expression to the next tick of another.

    Attributes:
        start: A five-field cron expression, such as `0 8 * * 1-5`.
        end: A five-field cron expression; a simultaneous tick of both closes the window.
        time_zone: An IANA name, such as `Europe/Berlin`; skipped and repeated hours are treated as by Debian's cron.
    """

    start: str
    end: str
    time_zone: str = "UTC"

    def __post_init__(self) -> None:
        try:
            zone = ZoneInfo(self.time_zone)
        except (KeyError, ValueError, OSError, TypeError):
            raise ConfigError(
                f"time_zone={self.time_zone!r} is unknown. Write an IANA name, such as Europe/Berlin or UTC."
            ) from None
        for key in ("start", "end"):
            _check_expression(key, getattr(self, key), zone)
        if not any(map(self.is_open, islice(self._ticks(self.start, datetime.now(UTC).timestamp()), _TRIED_STARTS))):
            raise ConfigError(
                f"start={self.start!r}, end={self.end!r}: the window closes whenever it opens. Set another end; "
                "for a whole week, use two overlapping windows."
            )

    def is_open(self, time_s: float) -> bool:
        """Return whether the last start before ``time_s`` (or at it) is later than the last end."""
        return self._last(self.start, time_s) > self._last(self.end, time_s)

    def next_start_s(self, time_s: float) -> float:
        """Return the next opening after ``time_s``, in UNIX time; infinite if there is none within fifty years."""
        opening = (tick for tick in self._ticks(self.start, time_s) if tick > time_s and self.is_open(tick))
        return next(opening, math.inf)

    def next_end_s(self, time_s: float) -> float:
        """Return the first end after ``time_s``, in UNIX time; infinite if there is none within fifty years."""
        return next((tick for tick in self._ticks(self.end, time_s) if tick > time_s), math.inf)

    def _last(self, expression: str, time_s: float) -> float:
        """Return the last tick by ``time_s``, found forward: backward, cronsim loses those of skipped hours."""
        for look_back_s in _LOOK_BACK_S:
            last = -math.inf
            for tick in self._ticks(expression, time_s - look_back_s):
                if tick > time_s:
                    break
                last = tick
            if last > -math.inf:
                return last
        return -math.inf

    def _ticks(self, expression: str, from_s: float) -> Iterator[float]:
        from_utc = datetime.fromtimestamp(math.floor(from_s), tz=UTC)
        for tick in CronSim(expression, from_utc.astimezone(ZoneInfo(self.time_zone))):
            yield tick.timestamp()


def parse_windows(windows: Any) -> tuple[Window, ...]:
    """Return windows from a list of mappings with the keys `start`, `end` and optionally `time_zone`.

    Raises:
        ConfigError: The value is not such a list, or a window is wrong.
    """
    if not isinstance(windows, list | tuple) or not windows:
        raise ConfigError(f"windows={windows!r} must be a list of windows, each with start and end.")
    return tuple(map(_parse_window, windows))


def _parse_window(window: Any) -> Window:
    if isinstance(window, Window):
        return window
    try:
        return Window(**window)
    except TypeError:
        raise ConfigError(
            f"The window {window!r} must have start and end (cron expressions), and optionally time_zone."
        ) from None


def _check_expression(key: str, expression: Any, zone: ZoneInfo) -> None:
    try:
        if len(expression.split()) != 5:
            raise CronSimError("it needs five fields")  # noqa: TRY301 -- same message for every fault
        CronSim(expression, datetime.now(zone))
    except (AttributeError, CronSimError) as error:
        raise ConfigError(
            f"{key}={expression!r} is not a cron expression: {error}. Write five fields, such as 0 8 * * 1-5."
        ) from None
