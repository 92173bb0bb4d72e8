from __future__ import annotations

import shutil
import subprocess
from datetime import UTC, datetime, timedelta
from itertools import islice, pairwise
from zoneinfo import ZoneInfo

import pytest
from cronsim import CronSim
from hypothesis import given, settings
from hypothesis import strategies as st

from overwinter.deploy.timetable import clock_times, read_timetable
from overwinter.errors import ConfigError

FIRST = datetime(2026, 3, 1, tzinfo=UTC)
CLOCKS = st.builds(
    "{} {} * * {}".format,
    st.sampled_from(["0", "*/20", "7,31", "15-17"]),
    st.sampled_from(["8", "*/6", "0,23", "9-17", "*"]),
    st.sampled_from(["*", "1-5", "0", "7", "1,3", "sat"]),
)


def ticks(expressions, *, count=60, first=FIRST):
    found = {tick for expression in expressions for tick in islice(CronSim(expression, first), count)}
    return sorted(found)[:count]


@given(CLOCKS)
@settings(max_examples=60)
def test_expressions_tick_as_what_was_read(expression):
    assert ticks(read_timetable(expression).expressions()) == ticks([expression])


@given(CLOCKS, st.integers(0, 1439))
@settings(max_examples=60)
def test_earlier_moves_every_tick(expression, lead_min):
    lead = timedelta(minutes=lead_min)
    moved = [text for part in read_timetable(expression).earlier(60 * lead_min) for text in part.expressions()]
    assert [tick + lead for tick in ticks(moved, first=FIRST - lead)] == ticks([expression])


@given(CLOCKS, st.sampled_from(["Europe/Berlin", "Asia/Kolkata", "America/New_York"]))
@settings(max_examples=8)
def test_another_zones_clock_shows_every_moment(expression, zone):
    timetable = read_timetable(expression)
    moved = [text for part in timetable.moved_between(zone, "UTC") for text in part.expressions()]
    wanted = list(islice(CronSim(expression, FIRST.astimezone(ZoneInfo(zone))), 20))
    everything = ticks(moved, count=300)
    assert {tick.astimezone(UTC) for tick in wanted} <= set(everything)


def test_days_of_the_month_are_not_moved_over_midnight():
    assert read_timetable("30 8 1 * *").earlier(60)[0].expressions() == ("29 8 1 * *",)
    with pytest.raises(ConfigError, match="days of the month"):
        read_timetable("0 0 1 * *").earlier(60)


@pytest.mark.parametrize("expression", ["0 0 * *", "0 0 L * *", "0 0 * * MON#2", "* * * * * *", "61 0 * * *"])
def test_what_no_orchestrator_reads_is_refused(expression):
    with pytest.raises(ConfigError, match="five fields"):
        read_timetable(expression)


def test_clock_times():
    assert clock_times(read_timetable("5,10 0,23 * * *")) == ("0005", "0010", "2305", "2310")


@pytest.mark.special
@pytest.mark.parametrize("expression", ["0 8 * * 1-5", "*/20 6-22 * * 0,6", "30 4 1,15 * *", "0 12 1 * 5"])
def test_systemd_reads_the_same_moments(expression):
    if not shutil.which("systemd-analyze"):
        pytest.skip("systemd-analyze is not installed")
    zone = ZoneInfo("Europe/Berlin")
    now = datetime.now(UTC)
    found = set()
    for calendar in read_timetable(expression).calendars("Europe/Berlin"):
        command = ["systemd-analyze", "calendar", "--iterations=8", calendar]
        shown = subprocess.run(command, capture_output=True, text=True, check=True).stdout
        found |= {line.split(": ", 1)[1] for line in shown.splitlines() if "Next elapse" in line or "Iter. #" in line}
    wanted = [tick.astimezone(UTC) for tick in islice(CronSim(expression, now.astimezone(zone)), 8)]
    assert all(first < second for first, second in pairwise(wanted))
    assert {f"{tick:%a %Y-%m-%d %H:%M:%S} UTC" for tick in wanted} <= found
