"""Live sources: the cache on disk, refreshes in the background, back-off, and forecasts from the history."""

from __future__ import annotations

import contextlib
import threading
import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from overwinter.carbon.cached import LiveSource
from overwinter.carbon.history import History
from overwinter.carbon.http import SourceError
from overwinter.carbon.provider import Point

_NOON = datetime(2026, 6, 1, 12, 10, tzinfo=UTC)


class _Clock:
    """A wall clock and a monotonic clock."""

    def __init__(self) -> None:
        self.utc, self.now_s = _NOON, 100.0

    def forward(self, duration_s: float) -> None:
        self.utc += timedelta(seconds=duration_s)
        self.now_s += duration_s


class _Provider:
    """Returns one value, or fails."""

    name, kind, identity = "service ZONE", "average", "service ZONE"

    def __init__(self) -> None:
        self.value: float | SourceError = 100.0
        self.fetches = 0
        self.gate = threading.Event()
        self.gate.set()
        self.ahead = 1

    def fetch(self, time_utc: datetime, *, deadline_s: float) -> tuple[Point, ...]:
        self.fetches += 1
        self.gate.wait(5)
        if isinstance(self.value, SourceError):
            raise self.value
        hour = time_utc.replace(minute=0, second=0, microsecond=0)
        return tuple(Point(time_utc=hour + timedelta(hours=n), g_per_kwh=self.value + n) for n in range(self.ahead))


@pytest.fixture
def clock() -> _Clock:
    return _Clock()


@pytest.fixture
def provider() -> _Provider:
    return _Provider()


@pytest.fixture
def source(clock: _Clock, provider: _Provider, tmp_path: Path) -> Callable[[], LiveSource]:
    def make() -> LiveSource:
        return LiveSource(
            provider,  # type: ignore[arg-type]
            folder=tmp_path / "cache",
            refresh_s=300,
            max_age_s=7200,
            timeout_s=0.5,
            now=lambda: clock.utc,
            clock=lambda: clock.now_s,
        )

    return make


def _settled(live: LiveSource) -> None:
    if live._thread is not None:
        live._thread.join(5)


def test_first_reading_waits_for_the_first_fetch(source: Any, clock: _Clock) -> None:
    response = source().at(clock.utc)
    assert (response.g_per_kwh, response.source, response.kind) == (100, "service ZONE at 2026-06-01T12:00Z", "average")


def test_no_reading_waits_longer_than_the_time_out(source: Any, clock: _Clock, provider: _Provider) -> None:
    provider.gate.clear()
    live = source()
    began_s = time.monotonic()
    with pytest.raises(SourceError):
        live.at(clock.utc)
    assert time.monotonic() - began_s < 1
    clock.forward(0.6)
    began_s = time.monotonic()
    with pytest.raises(SourceError):
        live.at(clock.utc)
    assert time.monotonic() - began_s < 0.1
    provider.gate.set()


def test_refreshes_in_the_background_while_the_old_response_serves(
    source: Any, clock: _Clock, provider: _Provider
) -> None:
    live = source()
    assert live.at(clock.utc).g_per_kwh == 100
    provider.value = 150.0
    clock.forward(299)
    assert live.at(clock.utc).g_per_kwh == 100
    assert provider.fetches == 1
    provider.gate.clear()
    clock.forward(2)
    began_s = time.monotonic()
    assert live.at(clock.utc).g_per_kwh == 100
    assert time.monotonic() - began_s < 0.1
    provider.gate.set()
    _settled(live)
    assert live.at(clock.utc).g_per_kwh == 150
    assert provider.fetches == 2


def test_another_run_starts_from_the_disk(source: Any, clock: _Clock, provider: _Provider, tmp_path: Path) -> None:
    first = source()
    first.at(clock.utc)
    _settled(first)
    provider.value = SourceError("gone")
    clock.forward(60)
    assert source().at(clock.utc).g_per_kwh == 100
    assert provider.fetches == 1


def test_a_response_that_is_too_old_is_not_used(source: Any, clock: _Clock, provider: _Provider) -> None:
    live = source()
    live.at(clock.utc)
    provider.value = SourceError("gone")
    clock.forward(7100)
    assert live.at(clock.utc).g_per_kwh == 100
    _settled(live)
    clock.forward(200)
    with pytest.raises(SourceError, match="gone"):
        live.at(clock.utc)


@pytest.mark.parametrize("text", ["", "{", "[]", '{"points": []}', '{"points": [["x", 1]], "fetched_utc": 5}'])
def test_a_corrupt_cache_is_ignored(source: Any, clock: _Clock, tmp_path: Path, text: str) -> None:
    _settled(source())
    for path in (tmp_path / "cache").iterdir():
        path.write_text(text)
    assert source().at(clock.utc).g_per_kwh == 100


def test_failures_back_off_and_success_ends_the_back_off(source: Any, clock: _Clock, provider: _Provider) -> None:
    provider.value = SourceError("busy")
    live = source()
    fetched_at = []
    began_s = clock.now_s
    for _ in range(900):
        with contextlib.suppress(SourceError):
            live.at(clock.utc)
        _settled(live)
        if provider.fetches > len(fetched_at):
            fetched_at.append(clock.now_s - began_s)
        clock.forward(1)
    assert fetched_at == [0, 5, 15, 35, 75, 155, 315, 635]
    provider.value = 90.0
    clock.forward(400)
    with contextlib.suppress(SourceError):
        live.at(clock.utc)
    _settled(live)
    assert live.at(clock.utc).g_per_kwh == 90


def test_retry_after_is_respected(source: Any, clock: _Clock, provider: _Provider) -> None:
    provider.value = SourceError("limited", status=429, retry_after_s=120)
    live = source()
    for _ in range(119):
        with contextlib.suppress(SourceError):
            live.at(clock.utc)
        _settled(live)
        clock.forward(1)
    assert provider.fetches == 1


def test_a_provider_with_a_defect_is_reported_by_its_error(source: Any, clock: _Clock, provider: _Provider) -> None:
    provider.value = "not a number"  # type: ignore[assignment]
    live = source()
    _settled(live)
    with pytest.raises(SourceError, match="failed with TypeError"):
        live.at(clock.utc)


def test_forecast_begins_with_the_running_step(source: Any, clock: _Clock, provider: _Provider) -> None:
    provider.ahead = 4
    live = source()
    _settled(live)
    provider.value = SourceError("gone")
    clock.forward(3600)
    forecast = live.forecast(clock.utc)
    assert [each.g_per_kwh for each in forecast] == [101, 102, 103]
    assert forecast[0].time_utc == datetime(2026, 6, 1, 13, tzinfo=UTC)


def test_a_forecast_is_available_while_the_service_does_not_respond(
    source: Any, clock: _Clock, provider: _Provider
) -> None:
    provider.ahead = 4
    live = source()
    _settled(live)
    provider.value = SourceError("gone")
    clock.forward(5400)
    assert live.at(clock.utc).g_per_kwh == 101


def test_retry_after_holds_for_other_programs_too(source: Any, clock: _Clock, provider: _Provider) -> None:
    provider.value = SourceError("HTTP 429: too many", status=429, retry_after_s=3600)
    with pytest.raises(SourceError, match="too many"):
        source().at(clock.utc)
    clock.forward(3500)
    with pytest.raises(SourceError, match="too many"):
        source().at(clock.utc)
    assert provider.fetches == 1
    clock.forward(200)
    provider.value = 100.0
    assert source().at(clock.utc).g_per_kwh == 100


def test_notes_and_the_mix_come_with_the_response_also_from_disk(source: Any, clock: _Clock, provider: Any) -> None:
    provider.notes, provider.renewable_share = ("1 of 24 rows are left out",), 0.4
    for _ in range(2):
        live = source()
        assert live.at(clock.utc).renewable_share == 0.4
        assert live.notes == ("1 of 24 rows are left out",)
        _settled(live)
    assert provider.fetches == 1


def test_gaps_in_the_reported_day_do_not_flatten_the_forecast(tmp_path: Path) -> None:
    for missing in ({0}, {0, 1, 2}, {23}, {11}, set(range(5)), set(range(0, 24, 3))):
        history = History(tmp_path / f"{len(missing)}{min(missing)}.json", identity="x")
        day = [
            Point(time_utc=_NOON - timedelta(hours=24 - hour), g_per_kwh=400 if hour < 3 else 100) for hour in range(24)
        ]
        history.add([*(each for hour, each in enumerate(day) if hour not in missing), _point_now(400)], _NOON)
        ahead = [each.g_per_kwh for each in history.forecast(_NOON)]
        assert ahead[0] == 400
        assert all(each <= 200 for each in ahead[6:23])


def _point_now(value: float) -> Point:
    return Point(time_utc=_NOON.replace(minute=0), g_per_kwh=value)
