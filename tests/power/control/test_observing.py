"""Observations of the control loop: power per limit, the limit in force, a forecast in even steps."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from overwinter.carbon import Intensity
from overwinter.carbon.constant import FixedIntensity
from overwinter.carbon.provider import Point
from overwinter.power.control.observing import Readings, WorkMeter, common_limit_w, forecast_series, sources_of
from overwinter.power.interface import Observation

_NOON = datetime(2026, 6, 1, 12, tzinfo=UTC)


def test_common_limit() -> None:
    assert common_limit_w([200.0, 200.04]) == 200.0
    assert common_limit_w([200.0, 250.0]) is None
    assert common_limit_w([]) is None


def test_a_stretch_under_a_limit_begins_after_it_has_settled() -> None:
    meter = WorkMeter()
    meter.note(0.0, {"a": 0.0}, 0.0)
    meter.decided(200.0)
    for second in range(1, 11):
        meter.note(second, {"a": 1000.0 + 100.0 * second}, float(second))
    (point,) = meter.points()
    assert point.power_w == pytest.approx(100)
    assert meter.since_decision()[0] == pytest.approx(200)


def test_each_decision_that_holds_a_limit_is_one_trial_of_it() -> None:
    meter, now_s = WorkMeter(), 0.0
    meter.note(now_s, {"a": 0.0}, 0.0)
    for limit_w in (200.0, 100.0, 100.0, 200.0, 100.0):
        meter.decided(limit_w)
        for _ in range(5):
            now_s += 1
            meter.note(now_s, {"a": 100.0 * now_s}, now_s)
    assert {point.limit_w: point.trials for point in meter.points()} == {100.0: 3, 200.0: 2}


def _points(*reported: tuple[float, float]) -> list[Point]:
    return [Point(time_utc=_NOON + timedelta(minutes=minute), g_per_kwh=value) for minute, value in reported]


def test_a_forecast_becomes_even_steps_from_now_on() -> None:
    points = _points((-60, 1), (-30, 2), (0, 3), (30, 4), (90, 5), (120, 6))
    series = forecast_series(points, _NOON + timedelta(minutes=10))
    assert series is not None
    assert (series.start_utc, series.step_s) == (_NOON, 1800)
    assert series.values == (3, 4, 4, 5, 6)


def test_one_point_is_not_a_forecast() -> None:
    assert forecast_series([], _NOON) is None
    assert forecast_series(_points((-60, 1), (0, 2)), _NOON + timedelta(minutes=5)) is None


@pytest.mark.parametrize(("expected", "seen"), [(0.4, 0.4), (None, None), (float("nan"), None)])
def test_a_policy_sees_the_share_of_renewables(expected: float | None, seen: float | None) -> None:
    intensity = Intensity(g_per_kwh=100.0, source="grid", kind="average", renewable_share=expected)
    readings = Readings(sources_of(FixedIntensity(intensity=intensity)), lambda text: None)
    assert readings.outside(_NOON)["renewable_share"] == seen
    assert "renewable_share" in Observation.__dataclass_fields__
