"""Recorded traces: even steps, gaps that are filled and reported, and invalid files."""

from __future__ import annotations

import itertools
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from overwinter.carbon.http import SourceError
from overwinter.carbon.settings import TraceCarbonConfig
from overwinter.carbon.trace import read_trace
from overwinter.carbon.trace_source import TraceSource
from overwinter.config import check_settings
from overwinter.errors import ConfigError

_START = datetime(2021, 1, 1, tzinfo=UTC)


def check(config: Any) -> None:
    check_settings(config, key="carbon")
    config.check("carbon")


def _hour(hour: float) -> datetime:
    return _START + timedelta(hours=hour)


def _written(tmp_path: Path, *rows: str, header: str = "time_utc,g_per_kwh") -> Path:
    path = tmp_path / "trace.csv"
    path.write_text("\n".join([header, *rows]) + "\n")
    return path


def _row(hour: int, value: object) -> str:
    return f"{_hour(hour):%Y-%m-%dT%H:%M:%SZ},{value}"


def test_reads_even_steps(tmp_path: Path) -> None:
    trace = read_trace(_written(tmp_path, _row(0, 96.0), _row(1, 94), _row(2, "9e1")))
    assert (trace.start_utc, trace.step_s, trace.values) == (_START, 3600, (96, 94, 90))
    assert trace.interpolated == frozenset()
    assert trace.end_utc == _hour(3)
    assert [trace.place(_hour(hour)) for hour in (-0.1, 0, 1.9, 2.99, 3)] == [None, 0, 1, 2, None]


def test_gaps_are_interpolated_and_reported(tmp_path: Path) -> None:
    path = _written(tmp_path, _row(0, 100), _row(1, 110), _row(2, ""), _row(4, 140), _row(5, 150))
    trace = read_trace(path)
    assert trace.values == pytest.approx((100, 110, 120, 130, 140, 150))
    assert trace.interpolated == {2, 3}
    source = TraceSource(trace, name="x.csv", kind="marginal")
    assert source.at(_hour(3.5)).source == "trace x.csv (interpolated)"
    assert source.at(_hour(4)).source == "trace x.csv"
    assert source.at(_hour(4)).kind == "marginal"


def test_outside_its_time_it_is_an_error(tmp_path: Path) -> None:
    source = TraceSource(read_trace(_written(tmp_path, _row(0, 1), _row(1, 2))), name="x.csv", kind="average")
    with pytest.raises(SourceError, match="2021-01-01 00:00 to 2021-01-01 02:00 only"):
        source.at(_hour(2))
    assert source.forecast(_hour(100)) == ()


def test_its_forecast_comes_from_its_past_alone(tmp_path: Path) -> None:
    days = [_row(hour, 100 + 50 * (hour % 24 < 6)) for hour in range(24 * 3)]
    after = [_row(hour, 9000) for hour in range(24 * 3, 24 * 4)]
    source = TraceSource(read_trace(_written(tmp_path, *days, *after)), name="x.csv", kind="average")
    reported = source.forecast(_hour(71))
    assert [reported[0].time_utc, reported[1].time_utc] == [_hour(71), _hour(72)]
    assert [each.g_per_kwh for each in reported[:9]] == [100, *[150] * 6, 100, 100]
    assert source.forecast(_hour(0)) == ()


@given(st.lists(st.floats(0, 2000), min_size=2, max_size=40), st.data())
def test_what_is_known_stays_and_the_rest_lies_between(
    tmp_path_factory: pytest.TempPathFactory, values: list[float], data: st.DataObject
) -> None:
    kept = data.draw(st.sets(st.integers(1, len(values) - 2), max_size=len(values) // 3)) if len(values) > 2 else set()
    rows = [_row(hour, value) for hour, value in enumerate(values) if hour not in kept]
    known = [hour for hour in range(len(values)) if hour not in kept]
    if any(after - hour == 1 for hour, after in itertools.pairwise(known)):
        trace = read_trace(_written(tmp_path_factory.mktemp("trace"), *rows))
        assert trace.interpolated == kept
        assert len(trace.values) == len(values)
        assert all(trace.values[hour] == values[hour] for hour in range(len(values)) if hour not in kept)
        assert all(min(values) <= value <= max(values) or hour in kept for hour, value in enumerate(trace.values))


@pytest.mark.parametrize(
    ("rows", "message"),
    [
        ([], "has 0 figures"),
        ([_row(0, 1)], "has 1 figures"),
        ([_row(0, 1), _row(1, -5)], "line 3: it has -5"),
        ([_row(0, 1), _row(1, "nan")], "line 3"),
        ([_row(0, 1), _row(1, "dirty")], "line 3: it has 'dirty'"),
        ([_row(0, 1), "yesterday,5"], "line 3"),
        ([_row(1, 1), _row(0, 2)], "line 3: .* is not after"),
        ([_row(0, 1), _row(0, 2)], "line 3: .* is not after"),
        ([_row(0, 1), _row(1, 2), _row(2, 3), "2021-01-01T02:00:10Z,5"], "no even steps: its smallest is 10 s"),
    ],
)
def test_an_invalid_trace_is_reported_with_its_line(tmp_path: Path, rows: list[str], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        read_trace(_written(tmp_path, *rows))


def test_files_that_are_not_traces(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="no column g_per_kwh"):
        read_trace(_written(tmp_path, header="time_utc,price"))
    with pytest.raises(ConfigError, match="No such file"):
        read_trace(tmp_path / "none.csv")
    (tmp_path / "binary.csv").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(ConfigError, match="not a CSV file"):
        read_trace(tmp_path / "binary.csv")


def test_from_the_configuration_with_a_fall_back_outside_its_time(tmp_path: Path) -> None:
    path = _written(tmp_path, _row(0, 96), _row(1, 94))
    fallback = {"constant": {"source": "constant", "intensity_g_per_kwh": 475.0}}
    config = TraceCarbonConfig(source="trace", path=str(path), kind="average", fallback=fallback)
    check(config)
    source = config.open()
    assert source.at(_hour(1.5)).g_per_kwh == 94
    outside = source.at(_hour(9))
    assert outside.g_per_kwh == 475
    assert "trace.csv covers" in outside.source
    config.kind = "middling"
    with pytest.raises(ConfigError, match="middling"):
        check(config)
    config.kind, config.path = "average", str(tmp_path / "none.csv")
    with pytest.raises(ConfigError, match=r"carbon\.path"):
        check(config)


@given(st.sampled_from([5, 15, 30, 60]), st.lists(st.integers(-1, 1), min_size=30, max_size=200), st.data())
def test_a_second_of_jitter_makes_no_gaps_and_moves_nothing(
    tmp_path_factory: pytest.TempPathFactory, minutes: int, jitter_s: list[int], data: st.DataObject
) -> None:
    gone = data.draw(st.sets(st.integers(2, len(jitter_s) - 2), max_size=5))
    times = [_START + timedelta(minutes=minutes * place, seconds=away) for place, away in enumerate(jitter_s)]
    rows = [f"{time:%Y-%m-%dT%H:%M:%SZ},{place}" for place, time in enumerate(times) if place not in gone]
    trace = read_trace(_written(tmp_path_factory.mktemp("trace"), *rows))
    assert (trace.step_s, len(trace.values), trace.interpolated) == (60.0 * minutes, len(jitter_s), gone)
    assert abs((trace.start_utc - _START).total_seconds()) <= 1
