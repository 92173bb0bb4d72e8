"""Tables with invalid rows: exactly these are left out and counted."""

from __future__ import annotations

import math
from datetime import UTC, datetime, timedelta, timezone
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from overwinter.carbon import electricity_maps, uk_grid, watttime
from overwinter.carbon.http import SourceError
from overwinter.carbon.rows import on_the_minute, read_rows, share_of

_NOON = datetime(2026, 6, 1, 12, tzinfo=UTC)


def _read(row: Any) -> tuple[Any, Any]:
    return row["time"], row["value"]


def _row(hour: int, value: Any = 100.0) -> dict[str, Any]:
    return {"time": (_NOON + timedelta(hours=hour)).isoformat(), "value": value}


_WRONG = [
    None,
    5,
    [],
    {},
    {"time": "2026-06-01T00:00Z"},
    {"value": 100},
    {"time": "yesterday", "value": 100},
    {"time": None, "value": 100},
    {"time": 7, "value": 100},  # an implausible epoch
    {"time": 1e300, "value": 100},
    {"time": "0001-01-01T00:00:00+14:00", "value": 100},
    *({"time": "2026-06-01T00:00Z", "value": value} for value in (None, "", "dirty", True, math.nan, math.inf)),
    *({"time": "2026-06-01T00:00Z", "value": value} for value in (-1, 1e6, 10**400, [], {})),
]


@pytest.mark.parametrize("wrong", _WRONG, ids=repr)
def test_a_wrong_row_is_left_out_and_counted(wrong: Any) -> None:
    points, (note,) = read_rows([_row(0), wrong, _row(1)], _read, service="maps XX", what="history")
    assert [each.time_utc for each in points] == [_NOON, _NOON + timedelta(hours=1)]
    assert note.startswith("maps XX: 1 of 3 rows of the history are left out; the first because it ")


@given(st.lists(st.booleans(), max_size=30), st.randoms())
def test_right_rows_stay_in_order_whatever_is_between_them(right: list[bool], chance: Any) -> None:
    rows = [_row(hour) if each else chance.choice(_WRONG) for hour, each in enumerate(right)]
    chance.shuffle(rows)
    points, notes = read_rows(rows, _read, service="maps", what="forecast")
    assert [each.time_utc for each in points] == [_NOON + timedelta(hours=h) for h, each in enumerate(right) if each]
    wrong = right.count(False)
    assert [note.split(" rows")[0] for note in notes] == ([f"maps: {wrong} of {len(right)}"] if wrong else [])


def test_of_two_rows_at_one_time_the_later_counts() -> None:
    points, notes = read_rows([_row(1, 5), _row(0, 1), _row(0, 2)], _read, service="maps", what="history")
    assert ([each.g_per_kwh for each in points], notes) == ([2, 5], ())


@pytest.mark.parametrize("rows", [None, {}, "rows", 5, "<html>"])
def test_something_other_than_a_table_is_an_error(rows: Any) -> None:
    with pytest.raises(SourceError, match="undocumented response"):
        read_rows(rows, _read, service="maps", what="history")


@pytest.mark.parametrize(
    "time",
    [
        "2026-06-01T12:00:00.000Z",
        "2026-06-01T12:00Z",
        "2026-06-01T12:00:00",  # no zone: UTC, as all of them document
        "2026-06-01T14:00:00+02:00",
        "2026-06-01T05:00:00-0700",
        int(_NOON.timestamp()),
        _NOON.timestamp() * 1000,
        "2026-06-01T12:00:01Z",
        "2026-06-01T11:59:58.900Z",
    ],
)
def test_one_moment_in_many_ways(time: Any) -> None:
    (point,), notes = read_rows([{"time": time, "value": "100.5"}], _read, service="maps", what="history")
    assert (point.time_utc, point.g_per_kwh, notes) == (_NOON, 100.5, ())


def test_hours_around_a_change_of_clocks_are_all_there() -> None:
    summer, winter = timezone(timedelta(hours=2)), timezone(timedelta(hours=1))
    times = [datetime(2026, 10, 25, 2, tzinfo=summer), datetime(2026, 10, 25, 2, tzinfo=winter)]
    rows = [{"time": each.isoformat(), "value": 1} for each in times]
    points, _ = read_rows(rows, _read, service="maps", what="history")
    assert [each.time_utc.hour for each in points] == [0, 1]


@given(
    st.sampled_from([5, 15, 30, 60]), st.lists(st.floats(-2, 2), min_size=2, max_size=60), st.integers(0, 10_000_000)
)
def test_a_second_of_jitter_makes_no_gaps(minutes: int, jitter_s: list[float], start: int) -> None:
    first = datetime(2026, 1, 1, tzinfo=UTC) + timedelta(minutes=start % 500_000)
    steps = [first + timedelta(minutes=minutes * place) for place in range(len(jitter_s))]
    reported = [on_the_minute(step + timedelta(seconds=away)) for step, away in zip(steps, jitter_s, strict=True)]
    assert reported == steps


def test_other_seconds_stay_as_they_are() -> None:
    odd = _NOON + timedelta(seconds=10)
    assert on_the_minute(odd) == odd


@pytest.mark.parametrize(
    ("percent", "share"),
    [(0, 0.0), (37.5, 0.375), (100, 1.0), (101, None), (-1, None), (math.nan, None), (None, None), ("50", None)],
)
def test_a_share_is_a_percentage_or_nothing(percent: Any, share: float | None) -> None:
    assert share_of(percent) == share
    assert share_of(True) is None


# The providers' tables, without a network.


def _answering(monkeypatch: pytest.MonkeyPatch, module: Any, responses: dict[str, Any]) -> None:
    def get_json(url: str, **_: Any) -> Any:
        for part, response in responses.items():
            if part in url:
                if isinstance(response, Exception):
                    raise response
                return response
        raise SourceError("HTTP 404", status=404)

    monkeypatch.setattr(module, "get_json", get_json)


def _maps_row(hour: int, value: Any = 100, **more: Any) -> dict[str, Any]:
    return {"zone": "XX", "carbonIntensity": value, "datetime": (_NOON + timedelta(hours=hour)).isoformat(), **more}


def _maps() -> electricity_maps.ElectricityMaps:
    return electricity_maps.ElectricityMaps("https://maps.example/v3", zone="XX", token="t" * 8)


@pytest.mark.parametrize("place", range(6))
@pytest.mark.parametrize("wrong", [{"carbonIntensity": None}, {"zone": "YY"}, {"unit": "lb/MWh"}, {"datetime": ""}])
def test_maps_keep_the_other_hours_of_a_history(monkeypatch: Any, place: int, wrong: dict[str, Any]) -> None:
    rows = [_maps_row(hour - 6) for hour in range(6)]
    rows[place] |= wrong
    _answering(monkeypatch, electricity_maps, {"latest": _maps_row(0), "history": {"history": rows}})
    maps = _maps()
    assert len(maps.fetch(_NOON, deadline_s=1)) == 6
    assert maps.notes[0] == "no forecast: HTTP 404"
    assert "electricity_maps XX: 1 of 6 rows of the history are left out" in maps.notes[1]


def test_maps_without_a_present_value_take_the_hour_before(monkeypatch: Any) -> None:
    responses = {"latest": _maps_row(0, None), "history": {"history": [_maps_row(-2, 80), _maps_row(-1, 90)]}}
    _answering(monkeypatch, electricity_maps, responses)
    maps = _maps()
    assert [each.g_per_kwh for each in maps.fetch(_NOON, deadline_s=1)] == [80, 90]
    assert "of the latest are left out" in maps.notes[0]


def test_maps_of_another_zone_or_unit_are_refused(monkeypatch: Any) -> None:
    table = {"zone": "YY", "forecast": [_maps_row(hour) for hour in range(3)]}
    _answering(monkeypatch, electricity_maps, {"latest": _maps_row(0, zone="YY"), "forecast": table})
    with pytest.raises(SourceError, match=r"it is for zone 'YY' instead of 'XX'"):
        _maps().fetch(_NOON, deadline_s=1)


@pytest.mark.parametrize(
    ("expected", "share"), [({"renewablePercentage": 42}, 0.42), ({}, None), (SourceError("403"), None)]
)
def test_maps_report_the_renewable_share_if_the_plan_has_it(monkeypatch: Any, expected: Any, share: Any) -> None:
    _answering(
        monkeypatch, electricity_maps, {"power-breakdown/latest": expected, "carbon-intensity/latest": _maps_row(0)}
    )
    maps = _maps()
    assert len(maps.fetch(_NOON, deadline_s=1)) == 1
    assert maps.renewable_share == share


def _half_hour(place: int, value: Any = 100, *, actual: Any = None) -> dict[str, Any]:
    start = _NOON + timedelta(minutes=30 * place)
    end = start + timedelta(minutes=30)
    return {
        "from": f"{start:%Y-%m-%dT%H:%MZ}",
        "to": f"{end:%Y-%m-%dT%H:%MZ}",
        "intensity": {"forecast": value, "actual": actual},
    }


def _uk(monkeypatch: Any, now: Any, ahead: Any, mix: Any = None) -> uk_grid.UkGrid:
    _answering(monkeypatch, uk_grid, {"fw48h": {"data": ahead}, "generation": mix, "/intensity": {"data": now}})
    return uk_grid.UkGrid("https://uk.example")


@pytest.mark.parametrize(
    "odd",
    [
        {},
        None,
        _half_hour(1, None),
        _half_hour(1, "a lot"),
        {**_half_hour(1), "intensity": None},
        {**_half_hour(1), "intensity": []},
        {**_half_hour(1), "to": _half_hour(1)["from"]},  # a window that ends where it begins
    ],
)
def test_one_odd_row_leaves_the_other_half_hours(monkeypatch: Any, odd: Any) -> None:
    ahead = [_half_hour(0), odd, *(_half_hour(place) for place in range(2, 96))]
    grid = _uk(monkeypatch, [_half_hour(0, 200, actual=210)], ahead)
    points = grid.fetch(_NOON, deadline_s=1)
    assert (len(points), points[0].g_per_kwh) == (95, 210)
    assert "uk_grid: 1 of 96 rows of the forecast are left out" in grid.notes[0]


def test_uk_reports_the_renewable_share(monkeypatch: Any) -> None:
    fuels = {"biomass": 5.0, "coal": 0, "imports": 10, "gas": 25, "nuclear": 10, "hydro": 2.5, "solar": 7.5, "wind": 40}
    mix = {"data": {"generationmix": [{"fuel": fuel, "perc": percent} for fuel, percent in fuels.items()]}}
    for reported, share in ((mix, 0.55), ({"data": []}, None), (None, None), ({"data": {"generationmix": []}}, None)):
        grid = _uk(monkeypatch, [_half_hour(0)], [], reported)
        grid.fetch(_NOON, deadline_s=1)
        assert grid.renewable_share == (share if share is None else pytest.approx(share))


def test_watttime_keeps_the_other_rows_and_refuses_another_region(monkeypatch: Any) -> None:
    rows = [{"point_time": (_NOON + timedelta(minutes=5 * n)).isoformat(), "value": 1000 + n} for n in range(6)]
    rows[3]["value"] = None
    meta = {"units": "lbs_co2_per_mwh", "region": "CAISO_NORTH"}
    _answering(monkeypatch, watttime, {"/login": {"token": "t"}, "forecast": {"data": rows, "meta": meta}})
    source = watttime.WattTime("https://w.example", region="CAISO_NORTH", user="ada", password="secret")
    assert len(source.fetch(_NOON, deadline_s=1)) == 5
    assert "watttime CAISO_NORTH: 1 of 6 rows of the forecast are left out" in source.notes[0]
    meta["region"] = "PJM_DC"
    with pytest.raises(SourceError, match="returned values for region 'PJM_DC'"):
        source.fetch(_NOON, deadline_s=1)
