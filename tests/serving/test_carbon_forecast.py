"""The process that asks for the carbon intensity."""

import asyncio
import datetime as dt
import math

from overwinter.serving.carbon_forecast import CarbonForecast

CONSTANT = {"source": "constant", "intensity_g_per_kwh": 475.0}


def asked(carbon):
    log = []
    grid = CarbonForecast(carbon, refresh_s=60, log=lambda event, **facts: log.append(facts))

    async def twice():
        return await grid.points(), await grid.points()

    first, again = asyncio.run(twice())
    assert first is again
    return first, log


def test_a_constant_expects_nothing():
    assert asked(CONSTANT)[0] == ()


def test_a_trace_expects_what_its_past_lets_expect(tmp_path):
    now = dt.datetime.now(dt.UTC).replace(minute=0, second=0, microsecond=0)
    hours = [now - dt.timedelta(hours=hours) for hours in range(24 * 8, -2, -1)]
    rows = [f"{hour:%Y-%m-%dT%H:%M:%SZ},{300 + 100 * math.cos(hour.hour / 24 * 2 * math.pi):.1f}" for hour in hours]
    (tmp_path / "trace.csv").write_text("\n".join(["time_utc,g_per_kwh", *rows]) + "\n")
    trace = {"source": "trace", "path": str(tmp_path / "trace.csv"), "kind": "average", "fallback": {"c": CONSTANT}}
    points, _ = asked(trace)
    assert len(points) > 20
    least = min(points[:24], key=lambda point: point.g_per_kwh)
    assert abs(dt.datetime.fromtimestamp(least.time_s, dt.UTC).hour - 12) <= 2


def test_a_source_that_fails_is_none_and_the_log_says_why(tmp_path):
    trace = {"source": "trace", "path": str(tmp_path / "trace.csv"), "kind": "average", "fallback": {"c": CONSTANT}}
    (tmp_path / "trace.csv").write_text("time,what\n")
    points, log = asked(trace)
    assert points == ()
    assert "the carbon intensity is unknown" in log[0]["message"]
    assert "no column time_utc" in log[0]["message"]


def test_a_process_that_dies_is_none_too(monkeypatch, capfd):
    monkeypatch.setattr("overwinter.serving.carbon_forecast._PROGRAM", "1 / 0")
    points, log = asked(CONSTANT)
    assert (points, "is unknown" in log[0]["message"]) == ((), True)
    assert "Traceback" in capfd.readouterr().err
