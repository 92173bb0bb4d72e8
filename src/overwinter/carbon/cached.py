"""Live sources of carbon intensity: fetched in the background, cached on disk, and used while fresh.

`at` waits for the network only once: without a cache on disk, the first reading waits for the first fetch, up to the
time-out. A failed fetch is retried after 5 s, then 10 s, up to 10 min, or after the server's Retry-After, which
applies to all programs that share the folder. A response is valid for `max_age_s`, so half-hourly values and forecasts
bridge an outage. After that the source raises, and the fall-back chain continues.

Where the provider has no forecast, one is made from the past hours that it has reported (`history`), also while it
does not respond.
"""

from __future__ import annotations

import hashlib
import json
import threading
import time
from bisect import bisect_right
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

from overwinter.carbon.history import History
from overwinter.carbon.http import MAX_BACKOFF_S, SourceError
from overwinter.carbon.intensity import Intensity
from overwinter.carbon.provider import Point, Provider, point
from overwinter.errors import OverwinterError
from overwinter.files import write_json

_FIRST_RETRY_S, _LAST_RETRY_S = 5.0, 600.0
_MAX_STEP_S = 3600.0  # longest step of a service: a fetched value may already be this old
_LEAD_S = 600.0  # a service's first point may begin at the next round five minutes


@dataclass(frozen=True, kw_only=True)
class _Fetched:
    """The result of a fetch.

    Attributes:
        fetched_utc: time of the fetch.
        points: intensities in order of time.
        notes: notes for the user.
        renewable_share: renewable share of the electricity at that time, from 0 to 1; None if not reported.
    """

    fetched_utc: datetime
    points: tuple[Point, ...]
    notes: tuple[str, ...] = ()
    renewable_share: float | None = None

    def at(self, time_utc: datetime, last_holds_s: float) -> Point | None:
        """Return the point that holds at ``time_utc``; the last one holds for ``last_holds_s``."""
        place = bisect_right(self.points, time_utc, key=lambda each: each.time_utc) - 1
        if place < 0:
            early_s = (self.points[0].time_utc - time_utc).total_seconds()
            return self.points[0] if early_s <= _LEAD_S else None
        found = self.points[place]
        is_last = place == len(self.points) - 1
        return None if is_last and (time_utc - found.time_utc).total_seconds() > last_holds_s else found


class LiveSource:
    """A provider's intensities with a cache on disk.

    Args:
        provider: the service to query.
        folder: folder of the cached responses; shared by all runs of a user.
        refresh_s: seconds between two fetches.
        max_age_s: maximum age of a response in use, in seconds.
        timeout_s: timeout of one fetch, and of the first reading.
        now: returns the wall-clock time in UTC.
        clock: returns monotonic seconds.
    """

    def __init__(
        self,
        provider: Provider,
        *,
        folder: Path,
        refresh_s: float,
        max_age_s: float,
        timeout_s: float,
        now: Callable[[], datetime] = lambda: datetime.now(UTC),
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._provider = provider
        name = hashlib.sha256(provider.identity.encode()).hexdigest()[:24]
        self._path = folder / f"{name}.json"
        self._backoff_path = folder / f"{name}.rest.json"
        self._history = History(folder / f"{name}.history.json", identity=provider.identity)
        self._refresh_s, self._max_age_s, self._timeout_s = refresh_s, max_age_s, timeout_s
        self._last_holds_s = max_age_s + _MAX_STEP_S
        self._now, self._clock = now, clock
        self._lock = threading.Lock()
        self._fetched = self._from_disk()
        self._problem, backoff_s = self._backoff_from_disk()
        self._failures = 0
        self._next_s = clock() + backoff_s
        self._thread: threading.Thread | None = None
        self._first_by_s = clock() + timeout_s
        self._refresh_if_due()

    def at(self, time_utc: datetime) -> Intensity:
        """Return the intensity at ``time_utc``.

        Raises:
            SourceError: it is unknown or too old; the message gives the reason.
        """
        self._refresh_if_due()
        fetched = self._usable()
        if fetched is None:
            self._await_first()
            fetched = self._usable()
        found = fetched.at(time_utc, self._last_holds_s) if fetched else None
        if found is None:
            raise SourceError(self._problem or f"{self._provider.name} reports nothing about {time_utc:%Y-%m-%d %H:%M}")
        source = f"{self._provider.name} at {found.time_utc:%Y-%m-%dT%H:%MZ}"
        return Intensity(
            g_per_kwh=found.g_per_kwh,
            source=source,
            kind=self._provider.kind,
            renewable_share=fetched.renewable_share if fetched else None,
        )

    @property
    def notes(self) -> tuple[str, ...]:
        """Notes for the user about the response in use: rows left out, no forecast."""
        fetched = self._usable()
        return fetched.notes if fetched is not None else ()

    def forecast(self, time_utc: datetime) -> tuple[Point, ...]:
        """Return a forecast that starts with the point that holds at ``time_utc``; empty if too little is known.

        It is the provider's own, or else computed from the hours that the provider has reported so far.
        """
        self._refresh_if_due()
        fetched = self._usable()
        first = fetched.at(time_utc, self._last_holds_s) if fetched else None
        published: tuple[Point, ...] = ()
        if fetched is not None and first is not None:
            published = tuple(each for each in fetched.points if each.time_utc >= first.time_utc)
        return published if len(published) > 1 else self._history.forecast(time_utc)

    def _usable(self) -> _Fetched | None:
        fetched = self._fetched
        return fetched if fetched is not None and abs(self._age_s(fetched)) <= self._max_age_s else None

    def _age_s(self, fetched: _Fetched) -> float:
        return (self._now() - fetched.fetched_utc).total_seconds()

    # Refreshing.

    def _refresh_if_due(self) -> None:
        with self._lock:
            running = self._thread is not None and self._thread.is_alive()
            fresh = self._fetched is not None and 0 <= self._age_s(self._fetched) < self._refresh_s
            if running or fresh or self._clock() < self._next_s:
                return
            self._thread = threading.Thread(target=self._refresh, name="carbon-refresh", daemon=True)
            self._thread.start()

    def _await_first(self) -> None:
        """Wait for a running fetch, until the time-out that started when the source was opened."""
        thread = self._thread
        if thread is not None:
            thread.join(max(0.0, self._first_by_s - self._clock()))

    def _refresh(self) -> None:
        time_utc = self._now()
        try:
            points = self._provider.fetch(time_utc, deadline_s=time.monotonic() + self._timeout_s)
        except SourceError as error:
            self._failed(str(error), error.retry_after_s)
            return
        except Exception as error:  # noqa: BLE001 -- an exception in this thread would be lost
            self._failed(f"{self._provider.name} failed with {type(error).__name__}", 0.0)
            return
        if not points:
            self._failed(f"{self._provider.name} reports nothing", 0.0)
            return
        self._fetched = _Fetched(
            fetched_utc=time_utc,
            points=points,
            notes=tuple(getattr(self._provider, "notes", ())),
            renewable_share=getattr(self._provider, "renewable_share", None),
        )
        self._problem, self._failures = "", 0
        self._next_s = self._clock() + self._refresh_s
        self._to_disk(self._fetched, time_utc)

    def _failed(self, problem: str, retry_after_s: float) -> None:
        wait_s = min(_LAST_RETRY_S, _FIRST_RETRY_S * 2**self._failures)
        self._failures += 1
        self._next_s = self._clock() + max(wait_s, retry_after_s)
        self._problem = problem
        if retry_after_s > 0:
            self._backoff_to_disk(problem, retry_after_s)

    # The disk.

    def _from_disk(self) -> _Fetched | None:
        try:
            content = json.loads(self._path.read_text(encoding="utf-8"))
            points = tuple(point(time, value, service="the cache") for time, value in content["points"])
            fetched_utc = datetime.fromisoformat(content["fetched_utc"])
            if not points or fetched_utc.tzinfo is None:
                return None
            notes, share = tuple(map(str, content.get("notes", ()))), content.get("renewable_share")
            known = isinstance(share, float) and 0 <= share <= 1
            return _Fetched(
                fetched_utc=fetched_utc, points=points, notes=notes, renewable_share=share if known else None
            )
        except (OSError, ValueError, KeyError, TypeError, SourceError):
            return None

    def _to_disk(self, fetched: _Fetched, time_utc: datetime) -> None:
        content = {
            "schema": 1,
            "source": self._provider.identity,
            "kind": self._provider.kind,
            "fetched_utc": fetched.fetched_utc.isoformat(),
            "points": [[each.time_utc.isoformat(), each.g_per_kwh] for each in fetched.points],
            "notes": list(fetched.notes),
            "renewable_share": fetched.renewable_share,
        }
        try:
            write_json(self._path, content)
            self._history.add(fetched.points, time_utc)
        except OverwinterError as error:
            self._problem = f"not cached on disk: {error}"

    def _backoff_from_disk(self) -> tuple[str, float]:
        """Return why and for how many seconds to back off; another program may have received the Retry-After."""
        try:
            content = json.loads(self._backoff_path.read_text(encoding="utf-8"))
            backoff_s = (datetime.fromisoformat(content["until_utc"]) - self._now()).total_seconds()
            problem = str(content["problem"])
        except (OSError, ValueError, KeyError, TypeError):
            return "", 0.0
        return (problem, backoff_s) if 0 < backoff_s <= MAX_BACKOFF_S else ("", 0.0)

    def _backoff_to_disk(self, problem: str, backoff_s: float) -> None:
        until_utc = self._now() + timedelta(seconds=backoff_s)
        with suppress(OverwinterError):  # then only this process backs off
            write_json(self._backoff_path, {"schema": 1, "until_utc": until_utc.isoformat(), "problem": problem})
