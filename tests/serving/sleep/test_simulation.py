from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from overwinter.errors import OverwinterError
from overwinter.serving.sleep import Decision, open_policy
from overwinter.serving.sleep.simulation import best_fixed, optimum_j, replay, replay_fixed

gaps = st.lists(st.floats(0, 1e4) | st.floats(0, 20) | st.integers(0, 30), min_size=1, max_size=80)
policies = st.sampled_from(["break_even", "randomised", "learned", "fixed", "scheduled"])
OPTIONS = {
    "fixed": {"timeout_s": 7},
    "scheduled": {"windows": [{"start": "0 * * * *", "end": "30 * * * *"}]},
}


def arrivals(gaps_s):
    return np.cumsum([0.0, *gaps_s])


def make(name, sleep_levels, limit_p95_s=None):
    return open_policy(name, sleep_levels, options=OPTIONS.get(name), limit_p95_s=limit_p95_s)


def expected_j(gap_s, timeout_s, sleep_levels):
    """The issue's accounting, word by word."""
    park, off = sleep_levels.levels
    if gap_s <= timeout_s:
        return park.power_w * gap_s
    wake_w = off.wake_j / off.wake_s
    return park.power_w * timeout_s + off.power_w * (gap_s - timeout_s) + off.wake_s * (wake_w - off.power_w)


@given(gaps, st.floats(0, 100) | st.integers(0, 30))
def test_the_accounting_is_the_one_of_the_issue(two_levels, gaps_s, timeout_s):
    sleep_levels, times_s = two_levels(), arrivals(gaps_s)
    outcome = replay_fixed(times_s, timeout_s, sleep_levels)
    taken_s = np.diff(times_s)
    assume_clear = np.abs(taken_s - timeout_s) > 1e-6 * (1 + times_s[-1])  # beyond rounding, or exact
    exact = all(float(gap).is_integer() for gap in [*gaps_s, timeout_s])
    if assume_clear.all() or exact:
        assert outcome.wakes == int((taken_s > timeout_s).sum())
        assert outcome.energy_j == pytest.approx(sum(expected_j(gap, timeout_s, sleep_levels) for gap in taken_s))


@given(gaps, policies, st.none() | st.floats(0, 10))
def test_the_optimum_is_a_lower_bound_of_every_policy(two_levels, gaps_s, name, limit_s):
    sleep_levels, times_s = two_levels(sleep_s=1.0, sleep_w=90.0), arrivals(gaps_s)
    spent_j = replay(times_s, make(name, sleep_levels, limit_s), sleep_levels).energy_j
    assert optimum_j(times_s, sleep_levels) <= spent_j * (1 + 1e-12)


@given(gaps, policies, st.none() | st.floats(0, 10), st.data())
def test_no_policy_sees_the_future(two_levels, gaps_s, name, limit_s, data):
    sleep_levels, times_s = two_levels(), arrivals(gaps_s)
    cut = data.draw(st.integers(1, len(times_s) - 1))
    whole = replay(times_s, make(name, sleep_levels, limit_s), sleep_levels)
    later = np.append(times_s[: cut + 1], times_s[cut] + 12345.0)
    changed = replay(later, make(name, sleep_levels, limit_s), sleep_levels)
    assert np.array_equal(whole.timeouts_s[:cut], changed.timeouts_s[:cut])
    assert np.array_equal(whole.added_latency_s[: cut + 1], changed.added_latency_s[: cut + 1])


@given(gaps, policies)
def test_every_second_is_spent_on_one_level(two_levels, gaps_s, name):
    sleep_levels, times_s = two_levels(), arrivals(gaps_s)
    outcome = replay(times_s, make(name, sleep_levels), sleep_levels)
    assert sum(outcome.level_s) == pytest.approx(times_s[-1] - times_s[0])
    idle_j = sum(level.power_w * level_s for level, level_s in zip(sleep_levels.levels, outcome.level_s, strict=True))
    assert outcome.energy_j == pytest.approx(idle_j + outcome.wakes * sleep_levels.levels[1].switch_j)


@given(gaps)
def test_the_best_fixed_time_out_is_the_best_of_all(two_levels, gaps_s):
    sleep_levels, times_s = two_levels(), arrivals(gaps_s)
    best = best_fixed(times_s, sleep_levels)
    tried_s = [0.0, 1.0, 7.0, 1e9, *np.diff(times_s), *(np.diff(times_s) * 1.01)]
    taken_s = np.diff(times_s)
    energies_j = [sum(expected_j(gap, timeout_s, sleep_levels) for gap in taken_s) for timeout_s in tried_s]
    assert best.energy_j == pytest.approx(min(energies_j))
    assert best.energy_j >= optimum_j(times_s, sleep_levels) * (1 - 1e-12)


def test_who_arrives_during_a_wake_waits_for_its_end(two_levels):
    sleep_levels = two_levels(5.0)
    outcome = replay_fixed(np.array([0.0, 100.0, 102.0, 104.5, 106.0]), 10.0, sleep_levels)
    assert outcome.added_latency_s.tolist() == [0, 5, 3, 0.5, 0]
    assert outcome.wakes == 1


def test_who_arrives_while_it_goes_to_sleep_waits_for_that_too(two_levels):
    sleep_levels = two_levels(5.0, sleep_s=4.0, sleep_w=100.0)
    outcome = replay_fixed(np.array([0.0, 11.0, 100.0]), 10.0, sleep_levels)
    assert outcome.added_latency_s.tolist() == [0, 3 + 5, 5]


def test_a_wake_that_is_under_way_is_not_begun_again(two_levels):
    outcome = replay_fixed(np.array([0.0, 100.0, 103.0, 106.0]), 0.0, two_levels(5.0))
    assert outcome.added_latency_s.tolist() == [0, 5, 2, 5]
    assert outcome.wakes == 3  # as the accounting has it: one per gap that was slept in


def test_a_gap_as_long_as_the_time_out_is_not_slept_in(two_levels):
    sleep_levels = two_levels()
    assert replay_fixed(np.array([0.0, 60.0, 120.0]), 60.0, sleep_levels).wakes == 0
    assert replay_fixed(np.array([5.0, 5.0, 5.0]), 0.0, sleep_levels).wakes == 0


def test_percentiles_are_over_requests(two_levels):
    times_s = np.cumsum([0.0] + [1.0] * 89 + [100.0] * 10)
    outcome = replay_fixed(times_s, 60.0, two_levels(5.0))
    assert outcome.added_latency_percentile_s(50) == 0
    assert outcome.added_latency_percentile_s(95) == 5


def test_a_policy_that_stands_still_is_named(two_levels):
    class Stuck:
        def began_idle(self, time_s): ...
        def arrived(self, time_s): ...
        def decide(self, time_s):
            return Decision(level=0, until_s=time_s, reason="stuck")

    with pytest.raises(OverwinterError, match="Stuck decided"):
        replay(np.array([0.0, 1.0]), Stuck(), two_levels())


def test_a_policy_may_wake_ahead_of_a_request(deep_levels):
    class Prepared:
        def began_idle(self, time_s):
            self.since_s = time_s

        def arrived(self, time_s): ...
        def decide(self, time_s):
            wake_s = self.since_s + 50
            if time_s < wake_s:
                return Decision(level=3, until_s=wake_s, reason="")
            return Decision(level=0, until_s=math.inf, reason="")

    outcome = replay(np.array([0.0, 51.0, 200.0]), Prepared(), deep_levels)
    assert outcome.wakes == 2
    assert outcome.added_latency_s.tolist() == [0, 1, 0]  # 2 s of waking, begun 1 s ahead; then long ahead
    assert outcome.level_s == (1 + 99, 0, 0, 100)
