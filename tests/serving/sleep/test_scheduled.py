from __future__ import annotations

import math
from datetime import datetime
from zoneinfo import ZoneInfo

import numpy as np
import pytest
from cronsim import CronSim
from hypothesis import given
from hypothesis import strategies as st

from overwinter.errors import ConfigError
from overwinter.serving.sleep import open_policy
from overwinter.serving.sleep.simulation import replay
from overwinter.serving.sleep.windows import Window

BERLIN = ZoneInfo("Europe/Berlin")
OFFICE = {"start": "0 8 * * 1-5", "end": "0 18 * * 1-5", "time_zone": "Europe/Berlin"}


def at(text, zone=BERLIN):
    return datetime.fromisoformat(text).replace(tzinfo=zone).timestamp()


@pytest.mark.parametrize(
    ("moment", "is_open"),
    [
        ("2026-03-27T07:59:59", False),
        ("2026-03-27T08:00:00", True),
        ("2026-03-27T17:59:59", True),
        ("2026-03-27T18:00:00", False),
        ("2026-03-28T12:00:00", False),  # Saturday
        ("2026-03-30T08:00:00", True),  # Monday after the clock went forward
        ("2026-10-26T08:00:00", True),  # Monday after it went back
        ("2026-10-26T07:59:59", False),
    ],
)
def test_a_window_follows_the_clock_of_its_zone(moment, is_open):
    assert Window(**OFFICE).is_open(at(moment)) is is_open


def test_a_window_that_starts_in_the_skipped_hour_opens_right_after_it():
    window = Window(start="30 2 * * *", end="0 6 * * *", time_zone="Europe/Berlin")
    assert window.is_open(at("2026-03-29T03:00:01"))
    assert not window.is_open(at("2026-03-29T01:59:59"))


def test_the_next_start_lies_ahead_in_the_repeated_hour():
    window = Window(start="30 2 * * *", end="45 2 * * *", time_zone="Europe/Berlin")
    second_pass_s = datetime(2026, 10, 25, 2, 40, tzinfo=BERLIN, fold=1).timestamp()
    assert window.next_start_s(second_pass_s) == at("2026-10-26T02:30:00")


@given(st.integers(1_767_225_600, 1_798_761_600))
def test_a_window_is_open_as_if_cron_had_run_all_along(moment_s):
    window = Window(start="15 */7 * * *", end="5 3,9,16 * * *", time_zone="America/New_York")
    week_ago = datetime.fromtimestamp(moment_s - 7 * 86400, tz=ZoneInfo(window.time_zone))
    events = []
    for opens, expression in ((True, window.start), (False, window.end)):
        for tick in CronSim(expression, week_ago):
            if tick.timestamp() > moment_s:
                break
            events.append((tick.timestamp(), not opens, opens))
    assert window.is_open(moment_s) is max(events)[2]


def test_it_is_woken_before_the_window_and_sleeps_after_it(sleep_levels):
    policy = open_policy("scheduled", sleep_levels, options={"windows": [OFFICE]})
    policy.began_idle(at("2026-03-27T03:00:00"))
    night = policy.decide(at("2026-03-27T04:00:00"))
    assert (night.level, night.until_s) == (1, at("2026-03-27T08:00:00") - 5.0)  # one wake ahead
    ahead = policy.decide(night.until_s)
    assert (ahead.level, ahead.until_s, ahead.reason) == (0, at("2026-03-27T08:00:00"), "window")
    inside = policy.decide(ahead.until_s)
    assert (inside.level, inside.until_s) == (0, at("2026-03-27T18:00:00"))
    weekend = policy.decide(inside.until_s)
    assert (weekend.level, weekend.until_s) == (1, at("2026-03-30T08:00:00") - 5.0)


def test_outside_the_windows_the_other_policy_sleeps_on_its_own_times(sleep_levels):
    policy = open_policy("scheduled", sleep_levels, options={"windows": [OFFICE]})
    began_s = at("2026-03-28T12:00:00")
    policy.began_idle(began_s)
    assert policy.decide(began_s).until_s == pytest.approx(began_s + sleep_levels.break_even_s)


def test_the_first_request_of_a_window_does_not_wait(sleep_levels):
    policy = open_policy("scheduled", sleep_levels, options={"windows": [OFFICE]})
    times_s = np.array([at("2026-03-27T01:00:00"), at("2026-03-27T08:00:00"), at("2026-03-27T17:00:00")])
    outcome = replay(times_s, policy, sleep_levels)
    assert outcome.added_latency_s.tolist() == [0, 0, 0]
    assert outcome.wakes == 1


def test_two_windows_hold_together(sleep_levels):
    evening = {"start": "0 20 * * *", "end": "0 22 * * *", "time_zone": "Europe/Berlin"}
    policy = open_policy("scheduled", sleep_levels, options={"windows": [OFFICE, evening]})
    policy.began_idle(at("2026-03-27T17:00:00"))
    levels = [
        policy.decide(at(f"2026-03-27T{clock}")).level for clock in ("17:30", "18:30", "19:59:56", "21:00", "22:00")
    ]
    assert levels == [0, 1, 0, 0, 1]


def test_an_end_that_never_comes_keeps_it_open():
    assert Window(start="0 0 1 1 *", end="0 0 29 2 *").next_end_s(at("2027-01-01T00:00:00")) < math.inf


@pytest.mark.parametrize(
    ("windows", "expected"),
    [
        ([], "must be a list of windows"),
        ("0 8 * * *", "must be a list of windows"),
        ([{"start": "0 8 * * *"}], "must have start and end"),
        ([{**OFFICE, "open": 1}], "must have start and end"),
        ([{**OFFICE, "start": "0 25 * * *"}], "start='0 25"),
        ([{**OFFICE, "end": "0 0 8 * * *"}], "five fields"),
        ([{**OFFICE, "end": 5}], "end=5"),
        ([{**OFFICE, "time_zone": "Europe/Atlantis"}], "IANA"),
        ([{**OFFICE, "time_zone": "../../etc/passwd"}], "IANA"),
    ],
)
def test_a_wrong_window_is_refused(sleep_levels, windows, expected):
    with pytest.raises(ConfigError, match=expected):
        open_policy("scheduled", sleep_levels, options={"windows": windows})


@pytest.mark.parametrize(
    ("start", "end"),
    [
        ("0 8 * * *", "0 8 * * *"),
        ("0 8 * * *", "00 8 * * 0-6"),
        ("0 22 * * 1-5", "0 22 * * *"),
        ("0 8 * * *", "0 * * * *"),
    ],
)
def test_a_window_that_closes_whenever_it_opens_is_refused(start, end):
    with pytest.raises(ConfigError, match="closes whenever it opens"):
        Window(start=start, end=end)


def test_a_start_that_opens_nothing_wakes_nothing():
    window = Window(start="0 8 * * *", end="0 8 * * 0")  # on Sundays it closes as it opens
    saturday = at("2026-03-28T12:00:00", ZoneInfo("UTC"))
    assert window.next_start_s(saturday) == at("2026-03-30T08:00:00", ZoneInfo("UTC"))
