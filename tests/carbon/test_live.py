"""Live sources against a local server that speaks their documented JSON, also slow, broken, limited and expired."""

from __future__ import annotations

import base64
import contextlib
import json
import logging
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest
from hypothesis import given
from hypothesis import strategies as st

from overwinter.carbon.cached import LiveSource
from overwinter.carbon.electricity_maps import ElectricityMaps
from overwinter.carbon.fallback import FallbackChain
from overwinter.carbon.http import SourceError, get_json
from overwinter.carbon.provider import point
from overwinter.carbon.settings import ElectricityMapsCarbonConfig, UkGridCarbonConfig, WattTimeCarbonConfig
from overwinter.carbon.uk_grid import UkGrid
from overwinter.carbon.watttime import WattTime
from overwinter.config import check_settings
from overwinter.errors import ConfigError

_TOKEN = "s3cret-token-that-must-not-leak"
_PASSWORD = "s3cret-password"
_NOON = datetime(2026, 6, 1, 12, 10, tzinfo=UTC)


@dataclass
class _Service:
    """The server's responses, and the requests that it received."""

    url: str = ""
    asked: list[tuple[str, dict[str, str]]] = field(default_factory=list)
    responses: Callable[[str, dict[str, list[str]], dict[str, str]], Any] = lambda path, query, headers: None

    def count(self, path: str) -> int:
        return sum(asked.startswith(path) for asked, _ in self.asked)


@dataclass
class _Raw:
    """A response that is not simply JSON with status 200."""

    status: int = 200
    body: bytes = b"{}"
    headers: dict[str, str] = field(default_factory=dict)
    delay_s: float = 0.0
    drip_s: float = 0.0


@pytest.fixture
def service() -> Iterator[_Service]:
    reported = _Service()

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            headers = {key.lower(): value for key, value in self.headers.items()}
            reported.asked.append((self.path, headers))
            parts = urlsplit(self.path)
            response = reported.responses(parts.path, parse_qs(parts.query), headers)
            raw = response if isinstance(response, _Raw) else _Raw(body=json.dumps(response).encode())
            time.sleep(raw.delay_s)
            with contextlib.suppress(OSError):
                self.send_response(raw.status)
                for key, value in raw.headers.items():
                    self.send_header(key, value)
                self.end_headers()
                self._send(raw)

        def _send(self, raw: _Raw) -> None:
            for byte in raw.body if raw.drip_s else ():
                self.wfile.write(bytes([byte]))
                self.wfile.flush()
                time.sleep(raw.drip_s)
            if not raw.drip_s:
                self.wfile.write(raw.body)

        def log_message(self, *_: Any) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True).start()
    reported.url = f"http://127.0.0.1:{server.server_address[1]}"
    yield reported
    server.shutdown()
    server.server_close()


def check(config: Any) -> None:
    check_settings(config, key="carbon")
    config.check("carbon")


def _soon() -> float:
    return time.monotonic() + 2


# The documented responses.


def _uk(path: str, query: Any, headers: Any) -> Any:
    def row(start: datetime, forecast: int, actual: int | None) -> dict[str, Any]:
        end = start + timedelta(minutes=30)
        intensity = {"forecast": forecast, "actual": actual, "index": "moderate"}
        return {"from": f"{start:%Y-%m-%dT%H:%MZ}", "to": f"{end:%Y-%m-%dT%H:%MZ}", "intensity": intensity}

    noon = datetime(2026, 6, 1, 12, tzinfo=UTC)
    if path == "/intensity":
        return {"data": [row(noon, 200, 210)]}
    assert path == "/intensity/2026-06-01T12:10Z/fw48h"
    return {"data": [row(noon + timedelta(minutes=30 * step), 200 - step, None) for step in range(96)]}


def _maps(path: str, query: Any, headers: Any) -> Any:
    if headers.get("auth-token") != _TOKEN:
        return _Raw(status=401, body=b'{"error": "Unauthorized"}')
    assert query == {"zone": ["FR"]}
    if path == "/v3/carbon-intensity/latest":
        return {
            "zone": "FR",
            "carbonIntensity": 56,
            "datetime": "2026-06-01T12:00:00.000Z",
            "updatedAt": "2026-06-01T11:50:00.000Z",
            "createdAt": "2026-05-29T12:00:00.000Z",
            "emissionFactorType": "lifecycle",
            "isEstimated": True,
            "estimationMethod": "TIME_SLICER_AVERAGE",
        }
    hours = [{"carbonIntensity": 60 + hour, "datetime": f"2026-06-01T{12 + hour}:00:00.000Z"} for hour in range(6)]
    return {"zone": "FR", "forecast": hours, "updatedAt": "2026-06-01T11:50:00.000Z"}


class _WattTimeServer:
    """Issues tokens; responds to an expired one with 401."""

    def __init__(self) -> None:
        self.valid = 0
        self.units = "lbs_co2_per_mwh"

    def __call__(self, path: str, query: Any, headers: Any) -> Any:
        if path == "/login":
            expected = "Basic " + base64.b64encode(f"ada:{_PASSWORD}".encode()).decode()
            if headers.get("authorization") != expected:
                return _Raw(status=403)
            self.valid += 1
            return {"token": f"token-{self.valid}"}
        if headers.get("authorization") != f"Bearer token-{self.valid}":
            return _Raw(status=401)
        assert query == {"region": ["CAISO_NORTH"], "signal_type": ["co2_moer"]}
        rows = [{"point_time": f"2026-06-01T12:{10 + 5 * step}:00+00:00", "value": 1000.0 - step} for step in range(6)]
        meta = {
            "data_point_period_seconds": 300,
            "region": "CAISO_NORTH",
            "signal_type": "co2_moer",
            "units": self.units,
            "generated_at_period_seconds": 300,
            "generated_at": "2026-06-01T12:10:00+00:00",
        }
        return {"data": rows, "meta": meta}


def _watttime(service: _Service) -> WattTime:
    return WattTime(service.url, region="CAISO_NORTH", user="ada", password=_PASSWORD)


# Providers.

_NOON_SHARP = datetime(2026, 6, 1, 12, tzinfo=UTC)


def test_uk_grid_returns_the_actual_and_the_forecast(service: _Service) -> None:
    service.responses = _uk
    points = UkGrid(service.url).fetch(_NOON, deadline_s=_soon())
    assert (points[0].g_per_kwh, points[1].g_per_kwh, len(points)) == (210, 199, 96)
    assert points[1].time_utc == datetime(2026, 6, 1, 12, 30, tzinfo=UTC)
    assert UkGrid.kind == "average"


def test_uk_grid_works_without_its_forecast(service: _Service) -> None:
    service.responses = lambda path, *rest: _uk(path, *rest) if path == "/intensity" else _Raw(status=500)
    assert [each.g_per_kwh for each in UkGrid(service.url).fetch(_NOON, deadline_s=_soon())] == [210]


def test_electricity_maps_sends_its_token_and_reads_latest_and_forecast(service: _Service) -> None:
    service.responses = _maps
    maps = ElectricityMaps(f"{service.url}/v3", zone="FR", token=_TOKEN)
    points = maps.fetch(_NOON, deadline_s=_soon())
    assert [each.g_per_kwh for each in points] == [56, 61, 62, 63, 64, 65]
    assert maps.kind == "average"


def test_electricity_maps_works_without_a_forecast_in_the_plan(service: _Service) -> None:
    def latest_alone(path: str, *rest: Any) -> Any:
        return _maps(path, *rest) if path.endswith("latest") else _Raw(status=403)

    service.responses = latest_alone
    maps = ElectricityMaps(f"{service.url}/v3", zone="FR", token=_TOKEN)
    assert [each.g_per_kwh for each in maps.fetch(_NOON, deadline_s=_soon())] == [56]


def test_electricity_maps_returns_the_last_day_without_a_forecast(service: _Service, tmp_path: Path) -> None:
    def without_forecast(path: str, *rest: Any) -> Any:
        if path.endswith("forecast"):
            return _Raw(status=403)
        if path.endswith("history"):
            rows = [
                {"carbonIntensity": 10 + each, "datetime": _NOON_SHARP - timedelta(hours=each)} for each in range(24)
            ]
            return {"zone": "FR", "history": [{**row, "datetime": row["datetime"].isoformat()} for row in rows[::-1]]}
        return _maps(path, *rest)

    service.responses = without_forecast
    maps = ElectricityMaps(f"{service.url}/v3", zone="FR", token=_TOKEN)
    reported = [each.g_per_kwh for each in maps.fetch(_NOON, deadline_s=_soon())]
    assert (reported[0], reported[-2], reported[-1], len(reported)) == (33, 11, 56, 24)
    live = LiveSource(maps, folder=tmp_path, refresh_s=300, max_age_s=7200, timeout_s=2, now=lambda: _NOON)
    assert live.at(_NOON).g_per_kwh == 56
    ahead = live.forecast(_NOON)  # a day that repeats, since a day is all that is known
    assert ahead[0].time_utc == _NOON_SHARP
    assert [each.g_per_kwh for each in ahead[:4]] == [56, 33, 32, 31]


def test_watttime_logs_in_and_converts_pounds_per_megawatt_hour(service: _Service) -> None:
    service.responses = _WattTimeServer()
    points = _watttime(service).fetch(_NOON, deadline_s=_soon())
    assert points[0].g_per_kwh == pytest.approx(453.59237)
    assert len(points) == 6
    assert WattTime.kind == "marginal"


def test_watttime_renews_an_expired_token_once(service: _Service) -> None:
    service.responses = server = _WattTimeServer()
    watttime = _watttime(service)
    watttime.fetch(_NOON, deadline_s=_soon())
    server.valid += 1  # as if half an hour had passed
    watttime.fetch(_NOON, deadline_s=_soon())
    assert service.count("/login") == 2
    service.responses = lambda path, *rest: server(path, *rest) if path == "/login" else _Raw(status=401)
    with pytest.raises(SourceError, match="HTTP 401"):
        watttime.fetch(_NOON, deadline_s=_soon())
    assert service.count("/login") == 3


def test_watttime_in_other_units_is_refused(service: _Service) -> None:
    service.responses = server = _WattTimeServer()
    server.units = "kg_co2_per_mwh"
    with pytest.raises(SourceError, match="kg_co2_per_mwh"):
        _watttime(service).fetch(_NOON, deadline_s=_soon())


_BROKEN = [
    b"",
    b"null",
    b"[]",
    b"{}",
    b'{"data": 5}',
    b'{"data": [{}]}',
    b"<html>",
    b'{"data": [{"from": "now", "intensity": 3}]}',
]


@pytest.mark.parametrize("body", _BROKEN)
def test_an_undocumented_response_is_a_source_error(service: _Service, body: bytes) -> None:
    service.responses = lambda *_: _Raw(body=body)
    for provider in (
        UkGrid(service.url),
        ElectricityMaps(service.url, zone="FR", token=_TOKEN),
        _watttime(service),
    ):
        with pytest.raises(SourceError):
            provider.fetch(_NOON, deadline_s=_soon())


@given(st.text() | st.none() | st.integers(), st.floats() | st.text() | st.none())
def test_a_point_is_checked(moment: Any, value: Any) -> None:
    with contextlib.suppress(SourceError):
        checked = point(moment, value, service="x")
        assert 0 <= checked.g_per_kwh < 10_000
        assert checked.time_utc.utcoffset() == timedelta(0)


# HTTP.


@pytest.mark.parametrize(
    ("response", "what"),
    [
        (_Raw(delay_s=3.0), "in time"),
        (_Raw(body=b"x" * 100, drip_s=0.1), "in time"),
        (_Raw(status=503), "HTTP 503"),
        (_Raw(status=302, headers={"Location": "http://example.org/"}), "HTTP 302"),
        (_Raw(body=b"no json"), "returned no JSON"),
    ],
)
def test_a_failure_is_an_error_within_the_deadline(service: _Service, response: _Raw, what: str) -> None:
    service.responses = lambda *_: response
    began_s = time.monotonic()
    with pytest.raises(SourceError, match=what):
        get_json(f"{service.url}/x", deadline_s=began_s + 0.5, headers={"auth-token": _TOKEN})
    assert time.monotonic() - began_s < 1.5


def test_a_refused_connection_is_an_error() -> None:
    with pytest.raises(SourceError, match=r"127\.0\.0\.1 did not respond"):
        get_json("http://127.0.0.1:9/", deadline_s=_soon())


def test_a_rate_limit_carries_retry_after(service: _Service) -> None:
    service.responses = lambda *_: _Raw(status=429, headers={"Retry-After": "120"})
    with pytest.raises(SourceError) as caught:
        get_json(f"{service.url}/x", deadline_s=_soon())
    assert (caught.value.status, caught.value.retry_after_s) == (429, 120)


# The chain, from the configuration.


def _config(kind: type, url: str, tmp_path: Path, **more: Any) -> Any:
    names = {
        UkGridCarbonConfig: "uk_grid",
        ElectricityMapsCarbonConfig: "electricity_maps",
        WattTimeCarbonConfig: "watttime",
    }
    common = {
        "source": names[kind],
        "base_url": url,
        "refresh_s": 300.0,
        "max_age_s": 7200.0,
        "timeout_s": 1.0,
        "cache": str(tmp_path / "cache"),
        "fallback": {"constant": {"source": "constant", "intensity_g_per_kwh": 475.0}},
    }
    return kind(**{**common, **more})


def test_the_record_names_the_fall_back(service: _Service, tmp_path: Path) -> None:
    service.responses = lambda *_: _Raw(status=503)
    response = _config(UkGridCarbonConfig, service.url, tmp_path).open().at(datetime.now(UTC))
    assert (response.g_per_kwh, response.kind) == (475, "average")
    assert response.source == "carbon.intensity_g_per_kwh (fall-back: 127.0.0.1 returned HTTP 503)"


def test_marginal_source_with_an_average_fall_back_reports_each_kind(
    service: _Service, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("USER_HERE", "ada")
    monkeypatch.setenv("PASSWORD_HERE", _PASSWORD)
    names = {"region": "CAISO_NORTH", "user_env": "USER_HERE", "password_env": "PASSWORD_HERE"}
    service.responses = _WattTimeServer()
    chain = _config(WattTimeCarbonConfig, service.url, tmp_path, **names).open()
    assert chain.at(_NOON).kind == "marginal"
    assert chain.at(_NOON - timedelta(days=1)).kind == "average"
    assert isinstance(chain, FallbackChain)
    assert chain.forecast(_NOON)[0].g_per_kwh == pytest.approx(453.59237)


def test_chain_of_several(service: _Service, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TOKEN_HERE", "wrong")
    now = datetime.now(UTC)
    start = now.replace(minute=0, second=0, microsecond=0)

    def both(path: str, query: Any, headers: Any) -> Any:
        if path.startswith("/v3"):
            return _maps(path, query, headers)
        return {"data": [{"from": start.isoformat(), "to": "", "intensity": {"forecast": 9, "actual": None}}]}

    service.responses = both
    uk = vars(_config(UkGridCarbonConfig, service.url, tmp_path))
    fallback = {"uk": uk, "constant": {"source": "constant", "intensity_g_per_kwh": 475.0}}
    more = {"zone": "FR", "token_env": "TOKEN_HERE", "fallback": fallback}
    config = _config(ElectricityMapsCarbonConfig, f"{service.url}/v3", tmp_path, **more)
    check(config)
    response = config.open().at(now)
    assert response.g_per_kwh == 9
    assert "uk_grid" in response.source
    assert "HTTP 401" in response.source


def test_tokens_reach_neither_the_log_nor_the_cache_nor_any_message(
    service: _Service,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
    capfd: pytest.CaptureFixture[str],
) -> None:
    caplog.set_level(logging.DEBUG)
    monkeypatch.setenv("TOKEN_HERE", _TOKEN)
    service.responses = _maps
    more = {"zone": "FR", "token_env": "TOKEN_HERE"}
    config = _config(ElectricityMapsCarbonConfig, f"{service.url}/v3", tmp_path, **more)
    chain = config.open()
    assert chain.at(_NOON).g_per_kwh == 56
    service.responses = lambda *_: _Raw(status=401, body=_TOKEN.encode())
    config.cache = str(tmp_path / "other")
    failed = config.open().at(_NOON)
    assert "HTTP 401" in failed.source
    reported = [failed.source, repr(failed), caplog.text, *capfd.readouterr(), repr(chain), repr(config)]
    reported += [path.read_text() for path in tmp_path.rglob("*.json")]
    assert len(list(tmp_path.rglob("*.json"))) == 2  # the latest response, and the history
    assert not [text for text in reported if _TOKEN in text]


def test_missing_token_names_the_variable(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("TOKEN_HERE", raising=False)
    config = _config(ElectricityMapsCarbonConfig, "https://a.example", tmp_path, zone="FR", token_env="TOKEN_HERE")
    with pytest.raises(ConfigError, match="export TOKEN_HERE"):
        config.open()
    monkeypatch.setenv("TOKEN_HERE", "line\nbreak")
    with pytest.raises(ConfigError) as caught:
        config.open()
    assert "break" not in str(caught.value)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        *(
            ({"base_url": url}, f"base_url='{url}' must start with https")
            for url in ("http://a.example", "ftp://localhost", "file:///etc/passwd", "localhost")
        ),
        ({"base_url": "https://me:secret@a.example"}, "not contain a name, password or query"),
        ({"timeout_s": 2.5}, "carbon.timeout_s=2.5"),
        ({"timeout_s": 0.0}, "carbon.timeout_s=0"),
        ({"timeout_s": float("nan")}, "carbon.timeout_s=nan"),
        ({"refresh_s": 0.0}, "carbon.refresh_s=0"),
        ({"max_age_s": 10.0}, "carbon.max_age_s=10"),
        ({"zone": " "}, "carbon.zone is empty"),
        ({"token_env": "eyJ0eXAi.iOiJKV1QiLCJ"}, "carbon.token_env must name an environment variable"),
        ({"fallback": {}}, "must end with an option that is always available: constant or country"),
        ({"fallback": {"a": 5}}, "carbon.fallback.a=5"),
        ({"fallback": {"a": {"source": "sun"}}}, "'sun' is unknown"),
        ({"fallback": {"a": {"source": "country"}}}, "No value for carbon.fallback.a.country"),
        (
            {"fallback": {"a": {"source": "country", "county": "FRA"}}},
            "carbon.fallback.a.county: there is no such key.* Did you mean 'country'",
        ),
    ],
)
def test_invalid_settings_are_refused(tmp_path: Path, change: dict[str, Any], message: str) -> None:
    base = {"zone": "FR", "token_env": "TOKEN_HERE"}
    config = _config(ElectricityMapsCarbonConfig, "https://a.example", tmp_path, **base)
    check(config)
    for key, value in change.items():
        setattr(config, key, value)
    with pytest.raises(ConfigError, match=message) as caught:
        check(config)
    assert "eyJ0eXAi" not in str(caught.value)
