from __future__ import annotations

import json

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from overwinter.errors import ConfigError, IntegrityError
from overwinter.serving.sleep import open_policy
from overwinter.serving.sleep.requests import read_arrivals
from overwinter.serving.sleep.simulation import replay


def arrivals(gaps_s):
    return np.cumsum([0.0, *gaps_s])


@given(
    st.lists(st.floats(5, 1e4), min_size=1, max_size=200),
    st.sampled_from(["break_even", "learned", "randomised"]),
    st.floats(0, 4.9),
)
def test_the_limit_holds_where_requests_come_one_at_a_time(two_levels, gaps_s, name, limit_s):
    sleep_levels = two_levels(5.0)
    outcome = replay(arrivals(gaps_s), open_policy(name, sleep_levels, limit_p95_s=limit_s), sleep_levels)
    for end in range(1, len(gaps_s) + 2):  # not only in the end
        assert np.percentile(outcome.added_latency_s[:end], 95) <= limit_s


def test_the_ration_is_used_and_goes_to_long_gaps(two_levels):
    sleep_levels = two_levels(5.0)
    rng = np.random.default_rng(0)
    gaps_s = np.where(rng.random(20_000) < 0.03, 2000.0, rng.exponential(20.0, 20_000))
    outcome = replay(arrivals(gaps_s), open_policy("break_even", sleep_levels, limit_p95_s=1.0), sleep_levels)
    slept = np.isfinite(outcome.timeouts_s)
    assert 0.03 < (outcome.added_latency_s > 1).mean() <= 0.05
    assert slept[gaps_s == 2000].mean() > 0.9


def test_levels_that_wake_in_time_are_free(deep_levels):
    policy = open_policy("break_even", deep_levels, limit_p95_s=0.5)
    policy.began_idle(0.0)
    levels = [policy.decide(time_s).level for time_s in (2, 10, 31, 1000)]
    assert levels == [1, 2, 2, 2]
    assert policy.decide(1000).reason == "latency limit"


def test_a_limit_beyond_the_slowest_wake_changes_nothing(sleep_levels):
    times_s = arrivals(np.random.default_rng(0).exponential(10, 500))
    free = replay(times_s, open_policy("learned", sleep_levels), sleep_levels)
    limited = replay(times_s, open_policy("learned", sleep_levels, limit_p95_s=5.0), sleep_levels)
    assert limited.energy_j == free.energy_j


@pytest.mark.parametrize("wake_s", [0.2, 30.0])
@pytest.mark.parametrize("name", ["azure_llm_2023_conv", "twitter_ups"])
def test_the_limit_holds_on_recorded_requests(two_levels, requests_folder, name, wake_s):
    times_s = read_arrivals(requests_folder / f"{name}.csv", seed=0)[:20_000]
    sleep_levels = two_levels(wake_s)
    for limit_s in (0.0, wake_s / 2):
        outcome = replay(times_s, open_policy("learned", sleep_levels, limit_p95_s=limit_s), sleep_levels)
        assert outcome.added_latency_percentile_s(95) <= limit_s


def test_its_counts_survive_sleep(sleep_levels):
    times_s = arrivals(np.random.default_rng(0).exponential(30, 400))
    whole, first, second = (open_policy("learned", sleep_levels, limit_p95_s=1.0) for _ in range(3))
    replay(times_s, whole, sleep_levels)
    replay(times_s[:201], first, sleep_levels)
    second.restore(json.loads(json.dumps(first.state())))
    stay = replay(times_s[200:], second, sleep_levels)
    assert stay.wakes > 0
    for bad in ({}, {**first.state(), "left": float("inf")}, {**first.state(), "patience": -1}, {"left": "x"}):
        with pytest.raises(IntegrityError, match="counting then begins afresh"):
            second.restore(bad)


@pytest.mark.parametrize("limit_s", [-1.0, float("nan"), "fast"])
def test_a_wrong_limit_is_refused(sleep_levels, limit_s):
    with pytest.raises(ConfigError, match="latency limit"):
        open_policy("learned", sleep_levels, limit_p95_s=limit_s)
