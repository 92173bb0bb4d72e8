from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from overwinter.errors import ConfigError
from overwinter.serving.sleep import SleepLevel, SleepLevels


def test_break_even_is_the_formula_of_the_facts():
    off = SleepLevel(name="off", power_w=70.0, wake_s=5.0, wake_j=650.0, sleep_s=2.0, sleep_j=190.0)
    sleep_levels = SleepLevels([SleepLevel(name="parked", power_w=120.0), off])
    assert sleep_levels.break_even_s == pytest.approx((190 + 650 - 70 * (2 + 5)) / (120 - 70))


def test_the_envelope_has_every_level_that_pays_somewhere(deep_levels):
    assert [step.level for step in deep_levels.descents] == [1, 2, 3]
    assert [step.after_s for step in deep_levels.descents] == pytest.approx([1, 5, 30])


def test_a_level_that_never_pays_is_left_out():
    costly = SleepLevel(name="costly", power_w=50.0, wake_j=1000.0)
    off = SleepLevel(name="off", power_w=0.0, wake_j=100.0)
    sleep_levels = SleepLevels([SleepLevel(name="ready", power_w=60.0), costly, off])
    assert [(step.level, step.after_s) for step in sleep_levels.descents] == [(2, pytest.approx(100 / 60))]


@given(
    st.lists(st.tuples(st.floats(1, 50), st.floats(0, 1000)), min_size=1, max_size=5),
    st.floats(0, 1e4),
)
def test_the_envelope_is_the_cheapest_level_at_every_idle_time(steps, idle_s):
    power_w = 1.0 + sum(drop_w for drop_w, _ in steps)
    levels = [SleepLevel(name="top", power_w=power_w)]
    for index, (drop_w, wake_j) in enumerate(steps):
        power_w -= drop_w
        levels.append(SleepLevel(name=str(index), power_w=max(power_w, 0.0), wake_j=wake_j))
    sleep_levels = SleepLevels(levels)
    chosen = 0
    for step in sleep_levels.descents:
        if idle_s > step.after_s:
            chosen = step.level
    costs_j = [level.power_w * idle_s + level.switch_j for level in sleep_levels.levels]
    assert costs_j[chosen] == pytest.approx(min(costs_j), rel=1e-6, abs=1e-6)


@pytest.mark.parametrize(
    ("levels", "expected"),
    [
        ([SleepLevel(name="ready", power_w=1)], "must be a sleep level below"),
        ([SleepLevel(name="ready", power_w=1, wake_s=1), SleepLevel(name="off", power_w=0)], "must be ready"),
        ([SleepLevel(name="ready", power_w=1), SleepLevel(name="off", power_w=1)], "saves nothing"),
        ([SleepLevel(name="off", power_w=1), SleepLevel(name="off", power_w=0)], "share a name"),
    ],
)
def test_sleep_levels_that_make_no_sense_are_refused(levels, expected):
    with pytest.raises(ConfigError, match=expected):
        SleepLevels(levels)


@pytest.mark.parametrize("value", [-1.0, float("nan"), float("inf")])
def test_a_level_says_which_of_its_costs_is_wrong(value):
    with pytest.raises(ConfigError, match="'off' has wake_j"):
        SleepLevel(name="off", power_w=1.0, wake_j=value)
