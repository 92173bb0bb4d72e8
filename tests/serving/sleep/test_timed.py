from __future__ import annotations

import math
import random

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from overwinter.errors import ConfigError
from overwinter.serving.sleep import open_policy
from overwinter.serving.sleep.simulation import optimum_j, replay

gaps = st.lists(st.floats(0, 1e4) | st.floats(0, 20), min_size=1, max_size=60)
costs = st.fixed_dictionaries(
    {
        "wake_s": st.floats(0, 100),
        "park_w": st.floats(100, 300),
        "off_w": st.floats(0, 90),
        "wake_w": st.floats(0, 500),
        "sleep_s": st.floats(0, 20),
        "sleep_w": st.floats(0, 300),
    }
)


def arrivals(gaps_s):
    return np.cumsum([0.0, *gaps_s])


def above_off_j(energy_j, arrivals_s, sleep_levels):
    return energy_j - sleep_levels.levels[-1].power_w * (arrivals_s[-1] - arrivals_s[0])


def tolerance_j(arrivals_s):
    return 1e-9 * 500 * (arrivals_s[-1] + 1e3)


@given(gaps, costs)
def test_break_even_spends_at_most_twice_the_optimum_above_off(two_levels, gaps_s, costs):
    sleep_levels, times_s = two_levels(**costs), arrivals(gaps_s)
    spent_j = above_off_j(
        replay(times_s, open_policy("break_even", sleep_levels), sleep_levels).energy_j, times_s, sleep_levels
    )
    least_j = above_off_j(optimum_j(times_s, sleep_levels), times_s, sleep_levels)
    if sleep_levels.levels[-1].switch_j >= 0:  # a wake that saves joules has no break-even
        assert spent_j <= 2 * least_j + tolerance_j(times_s)


def test_break_even_is_no_better_than_its_theorem(sleep_levels):
    just_after_s = sleep_levels.break_even_s * (1 + 1e-9)
    times_s = arrivals([just_after_s] * 50)
    spent_j = above_off_j(
        replay(times_s, open_policy("break_even", sleep_levels), sleep_levels).energy_j, times_s, sleep_levels
    )
    assert spent_j / above_off_j(optimum_j(times_s, sleep_levels), times_s, sleep_levels) == pytest.approx(2, rel=1e-6)


@given(gaps)
def test_break_even_is_two_competitive_on_four_levels(gaps_s):
    from overwinter.serving.sleep import SleepLevel, SleepLevels

    levels = [
        SleepLevel(name=str(n), power_w=p, wake_j=j)
        for n, p, j in ((0, 100, 0), (1, 60, 40), (2, 50, 90), (3, 20, 990))
    ]
    sleep_levels, times_s = SleepLevels(levels), arrivals(gaps_s)
    spent_j = above_off_j(
        replay(times_s, open_policy("break_even", sleep_levels), sleep_levels).energy_j, times_s, sleep_levels
    )
    assert spent_j <= 2 * above_off_j(optimum_j(times_s, sleep_levels), times_s, sleep_levels) + tolerance_j(times_s)


@pytest.mark.parametrize("share", [0.1, 0.5, 0.9, 0.999, 1.001, 2.0, 10.0])
def test_randomised_keeps_its_bound_in_expectation_whatever_the_gap(sleep_levels, share):
    times_s = arrivals([share * sleep_levels.break_even_s] * 20_000)
    spent_j = above_off_j(
        replay(times_s, open_policy("randomised", sleep_levels, seed=3), sleep_levels).energy_j, times_s, sleep_levels
    )
    ratio = spent_j / above_off_j(optimum_j(times_s, sleep_levels), times_s, sleep_levels)
    assert ratio == pytest.approx(math.e / (math.e - 1), rel=0.03)  # its worst case is every case


def test_randomised_is_the_same_for_the_same_seed(sleep_levels):
    times_s = arrivals([random.Random(1).expovariate(0.2) for _ in range(200)])
    once, again, other = (
        replay(times_s, open_policy("randomised", sleep_levels, seed=seed), sleep_levels).energy_j for seed in (1, 1, 2)
    )
    assert once == again != other


def test_the_deadline_is_reported_and_then_the_level(sleep_levels):
    policy = open_policy("fixed", sleep_levels, options={"timeout_s": 60})
    policy.began_idle(1000.0)
    before, after = policy.decide(1059.9), policy.decide(1060.0)
    assert (before.level, before.until_s) == (0, 1060.0)
    assert (after.level, after.until_s, after.reason) == (1, math.inf, "time-out")


def test_break_even_goes_down_level_by_level(deep_levels):
    policy = open_policy("break_even", deep_levels)
    policy.began_idle(0.0)
    assert [policy.decide(time_s).level for time_s in (0.5, 2, 10, 29.9, 31)] == [0, 1, 2, 2, 3]


@pytest.mark.parametrize("timeout_s", [-1, "soon", None, float("nan"), True])
def test_a_wrong_time_out_is_refused(sleep_levels, timeout_s):
    with pytest.raises(ConfigError, match="timeout_s="):
        open_policy("fixed", sleep_levels, options={"timeout_s": timeout_s})
