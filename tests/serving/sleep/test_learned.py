from __future__ import annotations

import copy
import json
import random

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from overwinter.errors import IntegrityError
from overwinter.serving.sleep import open_policy
from overwinter.serving.sleep.learned import FACTORS, _Losses
from overwinter.serving.sleep.requests import read_arrivals
from overwinter.serving.sleep.simulation import best_fixed, optimum_j, replay, replay_fixed


def arrivals(gaps_s):
    return np.cumsum([0.0, *gaps_s])


def exponential(mean_s, count, seed=0):
    return np.random.default_rng(seed).exponential(mean_s, count).tolist()


def test_rare_requests_teach_it_to_sleep_at_once(sleep_levels):
    times_s = arrivals(exponential(10 * sleep_levels.break_even_s, 3000))
    outcome = replay(times_s, open_policy("learned", sleep_levels), sleep_levels)
    assert np.median(outcome.timeouts_s[1000:]) <= 0.1 * sleep_levels.break_even_s
    assert outcome.energy_j <= 1.01 * best_fixed(times_s, sleep_levels).energy_j


def test_frequent_requests_teach_it_to_stay(sleep_levels):
    times_s = arrivals(exponential(sleep_levels.break_even_s / 4, 3000))
    outcome = replay(times_s, open_policy("learned", sleep_levels), sleep_levels)
    assert outcome.energy_j <= 1.01 * best_fixed(times_s, sleep_levels).energy_j
    assert outcome.energy_j < 0.99 * replay_fixed(times_s, sleep_levels.break_even_s / 4, sleep_levels).energy_j


def test_quiet_and_busy_times_get_time_outs_of_their_own(sleep_levels):
    unit_s = sleep_levels.break_even_s
    gaps_s = [gap for turn in range(20) for gap in exponential((8, 0.125)[turn % 2] * unit_s, 300, seed=turn)]
    times_s = arrivals(gaps_s)
    outcome = replay(times_s, open_policy("learned", sleep_levels), sleep_levels)
    assert outcome.energy_j < 0.99 * best_fixed(times_s, sleep_levels).energy_j  # no single time-out can do both


def random_gaps(seed, count, scale_s, law):
    random_state = np.random.default_rng(seed)
    means_s = scale_s * np.array([1.0, 10.0])
    return {
        "exponential": lambda: random_state.exponential(scale_s, count),
        "heavy": lambda: scale_s * random_state.pareto(1.2, count),
        "bursts": lambda: random_state.exponential(
            np.where(random_state.random(count) < 0.8, scale_s / 30, means_s[1])
        ),
        "change": lambda: random_state.exponential(np.repeat(means_s, (count + 1) // 2)[:count]),
    }[law]()


def excess_in_switches(gaps_s, sleep_levels, name="learned"):
    """How many sleeps and wakes more than the best fixed time-out of hindsight a policy spends."""
    times_s = arrivals(gaps_s)
    spent_j = replay(times_s, open_policy(name, sleep_levels), sleep_levels).energy_j
    return (spent_j - best_fixed(times_s, sleep_levels).energy_j) / sleep_levels.levels[-1].switch_j


@given(
    st.integers(0, 10_000),
    st.integers(20, 1000),
    st.floats(-2, 2),
    st.sampled_from(["exponential", "heavy", "bursts", "change"]),
)
def test_on_random_requests_the_excess_grows_as_the_root_of_the_periods_that_decide(two_levels, seed, count, log, law):
    sleep_levels = two_levels()
    gaps_s = random_gaps(seed, count, 10**log * sleep_levels.break_even_s, law)
    deciding = np.count_nonzero(gaps_s > sleep_levels.break_even_s / 20)
    assert excess_in_switches(gaps_s, sleep_levels) <= 3 + 1.5 * np.sqrt(deciding)


@pytest.mark.parametrize("law", ["exponential", "heavy", "bursts", "change"])
def test_short_traces_cost_a_few_sleeps_and_wakes_and_less_than_break_even_in_the_mean(sleep_levels, law):
    excesses, of_break_even = [], []
    for seed in range(90):  # 20 to 200 requests, a hundredth to a hundred times break-even apart
        gaps_s = random_gaps(seed, 20 + 2 * seed, sleep_levels.break_even_s * 10 ** (seed * 37 % 90 / 22 - 2), law)
        excesses.append(excess_in_switches(gaps_s, sleep_levels))
        of_break_even.append(excess_in_switches(gaps_s, sleep_levels, "break_even"))
    assert np.mean(excesses) <= 3.5
    assert np.mean(excesses) <= 0.75 * np.mean(of_break_even)


def test_it_begins_at_break_even_and_leaves_it_by_degrees(sleep_levels):
    policy = open_policy("learned", sleep_levels)
    rare_s = 100 * sleep_levels.break_even_s
    timeouts_s = replay(arrivals([rare_s] * 6), policy, sleep_levels).timeouts_s / sleep_levels.break_even_s
    assert timeouts_s[0] == pytest.approx(1)
    assert np.all(np.diff(timeouts_s) <= 0)
    assert timeouts_s[1] > 0
    assert timeouts_s[-1] == 0


def test_gaps_that_never_decide_leave_it_at_break_even(sleep_levels):
    times_s = arrivals([sleep_levels.break_even_s / 100] * 500)
    policy = open_policy("learned", sleep_levels)
    replay(times_s, policy, sleep_levels)
    policy.began_idle(times_s[-1])
    assert policy.decide(times_s[-1]).until_s - times_s[-1] == pytest.approx(sleep_levels.break_even_s)


def test_a_change_of_regime_is_followed_within_some_periods(sleep_levels):
    unit_s = sleep_levels.break_even_s
    policy = open_policy("learned", sleep_levels)
    outcome = replay(arrivals([0.3 * unit_s] * 1000 + [3 * unit_s] * 60), policy, sleep_levels)
    assert np.all(np.isinf(outcome.timeouts_s[:1000]))
    assert np.median(outcome.timeouts_s[1020:]) <= 0.1 * unit_s


@given(st.floats(0, 1e4), st.sampled_from(range(len(FACTORS))))
def test_the_losses_are_what_following_a_candidate_costs(two_levels, idle_s, candidate):
    sleep_levels = two_levels()
    timeout_s = FACTORS[candidate] * sleep_levels.break_even_s
    times_s = np.array([0.0, idle_s])
    cost_j = replay_fixed(times_s, timeout_s, sleep_levels).energy_j - sleep_levels.levels[-1].power_w * idle_s
    assert _Losses(sleep_levels).of(idle_s)[candidate] == pytest.approx(cost_j, abs=1e-6, rel=1e-9)


def test_the_losses_follow_every_level_of_a_deep_levels(deep_levels):
    losses_j = _Losses(deep_levels).of(100.0)  # break-even at 1, 5 and 30 s; 20 W on the lowest level
    assert losses_j[FACTORS.index(1)] == pytest.approx(1 * 80 + 4 * 40 + 25 * 30 + 990)
    assert losses_j[FACTORS.index(0)] == pytest.approx(990)
    assert losses_j[-1] == pytest.approx(100 * 80)


@given(st.lists(st.floats(0, 100), min_size=80, max_size=120), st.integers(0, 79))
def test_a_policy_restored_halfway_decides_as_if_it_had_never_slept(two_levels, gaps_s, cut):
    sleep_levels, times_s = two_levels(), arrivals(gaps_s)
    whole = open_policy("learned", sleep_levels)
    first = open_policy("learned", sleep_levels)
    expected = replay(times_s, whole, sleep_levels).timeouts_s
    before = replay(times_s[: cut + 1], first, sleep_levels).timeouts_s
    second = open_policy("learned", sleep_levels)
    second.restore(json.loads(json.dumps(first.state())))
    after = replay(times_s[cut:], second, sleep_levels).timeouts_s
    assert np.array_equal(np.concatenate([before, after]), expected)
    assert second.state() == whole.state()


def test_a_policy_restored_while_it_follows_the_short_memory_goes_on_with_it(sleep_levels):
    gaps_s = [
        gap for turn in range(8) for gap in exponential((8, 0.125)[turn % 2] * sleep_levels.break_even_s, 100, turn)
    ]
    policy = open_policy("learned", sleep_levels)
    replay(arrivals(gaps_s), policy, sleep_levels)
    long_j, short_j = policy.state()["spent_j"]
    assert short_j < long_j  # the case is the one meant
    other = open_policy("learned", sleep_levels)
    other.restore(json.loads(json.dumps(policy.state())))
    more_s = arrivals(exponential(sleep_levels.break_even_s, 50, seed=9))
    first, second = (replay(more_s, each, sleep_levels).timeouts_s for each in (policy, other))
    assert np.array_equal(first, second)


def test_the_state_of_an_earlier_version_is_refused_with_what_is_missing(sleep_levels):
    with pytest.raises(IntegrityError, match=r"no entry 'memories'.*learns afresh"):
        open_policy("learned", sleep_levels).restore(
            {"policy": "learned", "factors": [str(f) for f in FACTORS], "seen": 3}
        )


def damaged(state):
    """Every way of leaving out or spoiling one entry."""
    for key in state:
        yield {name: value for name, value in state.items() if name != key}
        for wrong in (None, "x", -1.5, [], [float("nan")] * 2, [[0.0] * len(FACTORS)]):
            yield {**copy.deepcopy(state), key: wrong}


def test_a_damaged_state_is_refused_and_nothing_of_it_is_used(sleep_levels):
    policy = open_policy("learned", sleep_levels)
    replay(arrivals(exponential(5, 100)), policy, sleep_levels)
    good = policy.state()
    for bad in damaged(good):
        with pytest.raises(IntegrityError, match="learns afresh"):
            policy.restore(bad)
        assert policy.state() == good


def test_a_state_stays_small(sleep_levels):
    policy = open_policy("learned", sleep_levels)
    rng = random.Random(0)
    replay(arrivals([10 ** rng.uniform(-4, 5) for _ in range(20_000)]), policy, sleep_levels)
    assert len(json.dumps(policy.state())) < 2_000


@pytest.mark.parametrize("name", ["azure_llm_2023_conv", "twitter_ups"])
def test_it_comes_near_the_optimum_on_recorded_requests(two_levels, requests_folder, name):
    times_s = read_arrivals(requests_folder / f"{name}.csv", seed=0)[:30_000]
    for wake_s in (1.0, 30.0):
        sleep_levels = two_levels(wake_s)
        spent_j = replay(times_s, open_policy("learned", sleep_levels), sleep_levels).energy_j
        assert spent_j <= 1.005 * best_fixed(times_s, sleep_levels).energy_j
        assert spent_j <= 1.05 * optimum_j(times_s, sleep_levels)
