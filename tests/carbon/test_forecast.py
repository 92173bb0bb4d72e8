from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from overwinter.carbon.forecast import Forecaster, Hours, _lag_products, by_hour, hour_of
from overwinter.carbon.trace import Trace, read_trace

TRACES = Path(__file__).parents[3] / "shared" / "data" / "carbon"
FIRST = hour_of(datetime(2026, 1, 1, tzinfo=UTC))


def weekly(weeks, noise=0.0, seed=0):
    hour = np.arange(168 * weeks)
    shape = 300 + 80 * np.sin(2 * np.pi * hour / 24) + 40 * (hour % 168 < 48)
    return Hours(first=FIRST, values=shape + noise * np.random.default_rng(seed).normal(size=len(hour)))


@given(st.integers(40 * 24, 44 * 24), st.floats(0, 1000), st.booleans())
@settings(max_examples=15)
def test_later_hours_change_nothing(place, later, now_known):
    hours = weekly(7, noise=20)
    changed = hours.values.copy()
    changed[place + now_known :] = later
    seen = [
        Forecaster(Hours(first=FIRST, values=values), now_known=now_known).at(FIRST + place, 30)
        for values in (hours.values, changed)
    ]
    assert np.array_equal(*seen)


def test_later_hours_of_other_regions_change_nothing():
    other = weekly(7, noise=20, seed=1)
    changed = Hours(first=FIRST, values=np.where(np.arange(len(other.values)) >= 960, 0.0, other.values))
    seen = [Forecaster(weekly(7, noise=20), [each]).at(FIRST + 960, 30) for each in (other, changed)]
    assert np.array_equal(*seen)


def test_other_regions_contribute():
    alone = Forecaster(weekly(7, noise=20)).at(FIRST + 960, 30)
    assert not np.array_equal(alone, Forecaster(weekly(7, noise=20), [weekly(7, noise=20, seed=1)]).at(FIRST + 960, 30))


def test_a_repeating_week_is_forecast():
    hours = weekly(10)
    forecast = Forecaster(hours).at(FIRST + 9 * 168 + 30, 96)
    assert forecast == pytest.approx(hours.values[9 * 168 + 30 : 9 * 168 + 126], abs=3)


@pytest.mark.parametrize("order", [1, 25, 169])
def test_the_fast_sums_equal_those_over_all_windows(order):
    deviations = np.random.default_rng(0).normal(size=700)
    runs = np.lib.stride_tricks.sliding_window_view(deviations, order + 1)
    assert _lag_products(deviations, order) == pytest.approx(runs.T @ runs)


def test_constant_intensity_stays_constant():
    forecast = Forecaster(Hours(first=FIRST, values=np.full(1000, 250.0))).at(FIRST + 900, 48)
    assert forecast == pytest.approx(np.full(48, 250.0))


@pytest.mark.parametrize("known", [1, 5, 24, 100, 600])
def test_a_short_history_repeats_its_last_day(known):
    hours = weekly(4, noise=5)
    past = Hours(first=FIRST, values=hours.values[:known])
    forecast = Forecaster(past).at(FIRST + known, 30)
    assert forecast.tolist() == np.resize(past.values[-24:] if known >= 24 else past.values[-1:], 30).tolist()


def test_no_history_is_reported():
    with pytest.raises(ValueError, match="at least one hour"):
        Forecaster(weekly(4)).at(FIRST, 5)


def test_half_hours_are_averaged_and_long_steps_spread():
    start = datetime(2026, 1, 1, 0, 30, tzinfo=UTC)
    halves = Trace(start_utc=start, step_s=1800, values=(9, 100, 200, 300, 400), interpolated=frozenset())
    assert by_hour(halves).values.tolist() == [150, 350]
    assert by_hour(halves).first == FIRST + 1
    long = Trace(start_utc=datetime(2026, 1, 1, tzinfo=UTC), step_s=7200, values=(100, 200), interpolated=frozenset())
    assert by_hour(long).values.tolist() == [100, 100, 200, 200]


@pytest.mark.parametrize("name", ["gb_2021", "us_pjm_2022"])
def test_a_day_ahead_forecast_beats_repeating_the_day(name):
    path = TRACES / f"{name}.csv"
    if not path.is_file():
        pytest.skip(f"{path.name} is not here: recorded traces are not part of the project")
    hours = by_hour(read_trace(path))
    forecaster, own, repeated = Forecaster(hours), [], []
    for place in range(60 * 24, len(hours.values) - 24, 24 * 15):
        actual = hours.values[place : place + 24]
        own.append(abs(forecaster.at(hours.first + place, 24) - actual).mean())
        repeated.append(abs(hours.values[place - 24 : place] - actual).mean())
    assert np.mean(own) < 0.8 * np.mean(repeated)
