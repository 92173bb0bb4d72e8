"""The cleanest start: never worse than now, never after the deadline, and found where a slow search finds it."""

from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from overwinter.carbon.cleanest import cleanest_start
from overwinter.carbon.provider import Point

NOW = datetime(2026, 7, 1, 12, tzinfo=UTC)
HOUR_S = 3600.0


def hours(*values, first=NOW):
    return [Point(time_utc=first + timedelta(hours=place), g_per_kwh=value) for place, value in enumerate(values)]


def after(number):
    return NOW + timedelta(hours=number)


@pytest.mark.parametrize(
    ("values", "duration_h", "latest_h", "start_h", "mean"),
    [
        ((300, 100, 200), 1, 2, 1, 100),
        ((300, 100, 200), 1, 0.5, 0.5, 200),  # the deadline leaves half of the clean hour
        ((300, 100, 200), 2, 5, 1, 150),
        ((100, 100, 100), 1, 2, 0, 100),  # nothing is gained by waiting
        ((100, 50, 300), 1.5, 2, 0.5, 200 / 3),  # a longer wait would end in the dirty hour
        ((300, 100, 50), 1, -1, 0, 300),  # late already
        ((300, 100), 1, 40, 1, 100),  # not beyond what is forecast
    ],
)
def test_the_lowest_mean_within_the_deadline(values, duration_h, latest_h, start_h, mean):
    found = cleanest_start(hours(*values), now_utc=NOW, duration_s=duration_h * HOUR_S, latest_utc=after(latest_h))
    assert found is not None
    assert found.start_utc == after(start_h)
    assert found.g_per_kwh == pytest.approx(mean)


def test_without_a_forecast_there_is_no_choice():
    assert cleanest_start([], now_utc=NOW, duration_s=60, latest_utc=after(5)) is None


def test_a_value_also_holds_before_the_first_point_and_for_work_of_no_duration():
    late = hours(300, 100, first=after(1))
    found = cleanest_start(late, now_utc=NOW, duration_s=0, latest_utc=after(9))
    assert found is not None
    assert (found.start_utc, found.g_per_kwh, found.now_g_per_kwh) == (after(2), 100, 300)


@given(
    values=st.lists(st.floats(1, 900), min_size=1, max_size=12),
    duration_h=st.floats(0.1, 8),
    latest_h=st.floats(0, 15),
)
def test_no_other_start_is_cleaner(values, duration_h, latest_h):
    points, horizon_h = hours(*values), len(values) if len(values) > 1 else 0
    found = cleanest_start(points, now_utc=NOW, duration_s=duration_h * HOUR_S, latest_utc=after(latest_h))
    assert found is not None
    assert NOW <= found.start_utc <= after(latest_h)
    assert found.g_per_kwh <= found.now_g_per_kwh

    def mean(start_h):
        covered = [max(0.0, min(place + 1, start_h + duration_h) - max(place, start_h)) for place in range(len(values))]
        covered[-1] += max(0.0, start_h + duration_h - max(len(values), start_h))
        return sum(share * value for share, value in zip(covered, values, strict=True)) / duration_h

    tried = [share / 20 * latest_h for share in range(21)]
    others = [mean(each) for each in tried if each + duration_h <= horizon_h]
    assert all(found.g_per_kwh <= other + 1e-6 * max(values) for other in others)
