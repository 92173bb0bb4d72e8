from hypothesis import given
from hypothesis import strategies as st

from overwinter.serving.greenest import Point, greenest_time_s, present_g_per_kwh

FORECAST = st.lists(
    st.tuples(st.integers(0, 48), st.integers(0, 500)), min_size=1, max_size=30, unique_by=lambda each: each[0]
).map(lambda pairs: [Point(hour * 3600.0, float(g)) for hour, g in sorted(pairs)])


@given(points=FORECAST, now_s=st.floats(0, 48 * 3600), patience_s=st.floats(-3600, 48 * 3600))
def test_no_other_moment_in_reach_is_greener_and_none_as_green_is_earlier(points, now_s, patience_s):
    latest_s = now_s + patience_s
    found_s = greenest_time_s(points, now_s=now_s, latest_s=latest_s)
    assert found_s == now_s or now_s < found_s <= latest_s
    expected = present_g_per_kwh(points, now_s=found_s)
    for moment_s in (now_s, *(point.time_s for point in points if now_s < point.time_s <= latest_s)):
        there = present_g_per_kwh(points, now_s=moment_s)
        assert there >= expected
        assert there > expected or moment_s >= found_s


def test_without_a_forecast_nothing_is_waited_for():
    assert greenest_time_s([], now_s=5.0, latest_s=99.0) == 5.0
    assert present_g_per_kwh([], now_s=5.0) is None
