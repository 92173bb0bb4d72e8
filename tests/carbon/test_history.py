"""The history on disk and its forecasts: gaps, several runs, corrupt files, and no look into the future."""

from __future__ import annotations

import json
import math
from datetime import UTC, datetime, timedelta
from pathlib import Path

import numpy as np
import pytest

from overwinter.carbon.forecast import Hours
from overwinter.carbon.history import History
from overwinter.carbon.past import PastForecast, filled
from overwinter.carbon.provider import Point

_START = datetime(2026, 6, 1, tzinfo=UTC)


def _at(hour: float, value: float) -> Point:
    return Point(time_utc=_START + timedelta(hours=hour), g_per_kwh=value)


def _history(tmp_path: Path) -> History:
    return History(tmp_path / "x.history.json", identity="service ZONE")


def _values(history: History, hour: float, count: int) -> list[float]:
    return [each.g_per_kwh for each in history.forecast(_START + timedelta(hours=hour))[:count]]


def test_the_running_hour_is_the_mean_of_what_was_reported_in_it(tmp_path: Path) -> None:
    history = _history(tmp_path)
    for minutes, value in ((5, 100), (20, 200), (50, 300)):
        time_utc = _START + timedelta(minutes=minutes)
        history.add([_at(minutes / 60 - 1, 50), _at(minutes / 60, value), _at(5, 999)], time_utc)
    hours = json.loads((tmp_path / "x.history.json").read_text())["hours"]
    assert [row[1:] for row in hours] == [[50, 1], [200, 3]]


def test_another_run_continues_it(tmp_path: Path) -> None:
    for hour in range(30):
        _history(tmp_path).add([_at(hour, 100 + hour % 24)], _START + timedelta(hours=hour))
    assert _values(_history(tmp_path), 29.5, 4) == [105, 106, 107, 108]


def test_it_bridges_hours_without_the_service(tmp_path: Path) -> None:
    history = _history(tmp_path)
    for hour in range(48):
        history.add([_at(hour, 100 + hour % 24)], _START + timedelta(hours=hour))
    assert _values(history, 53, 3) == [105, 106, 107]
    assert history.forecast(_START + timedelta(hours=48 + 60)) == ()


@pytest.mark.parametrize("text", ["", "{", "[]", '{"hours": [[1, 2]]}', '{"hours": [[1, "x", 1]]}', '{"hours": 7}'])
def test_a_corrupt_file_is_started_again(tmp_path: Path, text: str) -> None:
    (tmp_path / "x.history.json").write_text(text)
    history = _history(tmp_path)
    assert history.forecast(_START) == ()
    history.add([_at(0, 100)], _START)
    assert history.forecast(_START) == ()  # one hour allows no forecast
    history.add([_at(1, 100)], _START + timedelta(hours=1))
    assert _values(history, 1, 2) == [100, 100]


def test_impossible_values_are_left_out(tmp_path: Path) -> None:
    rows = [[1, 100, 1], [2, -5, 1], [3, float("nan"), 1], [4, 1e9, 1], [5, 100, 0], [6, 100, 1]]
    (tmp_path / "x.history.json").write_text(json.dumps({"hours": rows}))
    reported = _history(tmp_path).forecast(datetime.fromtimestamp(6 * 3600, tz=UTC))
    assert all(each.g_per_kwh == 100 for each in reported)


def test_half_a_year_is_kept(tmp_path: Path) -> None:
    history = _history(tmp_path)
    history.add([_at(hour, 1) for hour in range(5000)], _START + timedelta(hours=5000))
    assert len(json.loads((tmp_path / "x.history.json").read_text())["hours"]) == 26 * 7 * 24


def test_gaps_are_filled_and_a_gap_of_days_starts_again() -> None:
    assert filled({3: 10.0, 6: 40.0}).values.tolist() == [10, 20, 30, 40]
    assert filled({3: 10.0, 100: 40.0, 101: 50.0}).first == 100
    assert filled({}).values.size == 0


def test_later_hours_are_ignored() -> None:
    values = np.array([200 + 50 * math.sin(hour / 4) for hour in range(200)])
    later = np.concatenate([values, np.full(50, 9e3)])
    time_utc = datetime.fromtimestamp(199 * 3600, tz=UTC)
    reported = [PastForecast(Hours(first=0, values=each)).at(time_utc) for each in (values, later)]
    assert reported[0] == reported[1]
    assert len(reported[0]) == 96
