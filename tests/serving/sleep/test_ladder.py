from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from overwinter.errors import ConfigError
from overwinter.serving.sleep import Ladder, Rung


def test_break_even_is_the_formula_of_the_facts():
    off = Rung(name="off", power_w=70.0, wake_s=5.0, wake_j=650.0, sleep_s=2.0, sleep_j=190.0)
    ladder = Ladder([Rung(name="parked", power_w=120.0), off])
    assert ladder.break_even_s == pytest.approx((190 + 650 - 70 * (2 + 5)) / (120 - 70))


def test_the_envelope_has_every_rung_that_pays_somewhere(deep_ladder):
    assert [step.rung for step in deep_ladder.descents] == [1, 2, 3]
    assert [step.after_s for step in deep_ladder.descents] == pytest.approx([1, 5, 30])


def test_a_rung_that_never_pays_is_left_out():
    costly = Rung(name="costly", power_w=50.0, wake_j=1000.0)
    off = Rung(name="off", power_w=0.0, wake_j=100.0)
    ladder = Ladder([Rung(name="ready", power_w=60.0), costly, off])
    assert [(step.rung, step.after_s) for step in ladder.descents] == [(2, pytest.approx(100 / 60))]


@given(
    st.lists(st.tuples(st.floats(1, 50), st.floats(0, 1000)), min_size=1, max_size=5),
    st.floats(0, 1e4),
)
def test_the_envelope_is_the_cheapest_rung_at_every_idle_time(steps, idle_s):
    power_w = 1.0 + sum(drop_w for drop_w, _ in steps)
    rungs = [Rung(name="top", power_w=power_w)]
    for index, (drop_w, wake_j) in enumerate(steps):
        power_w -= drop_w
        rungs.append(Rung(name=str(index), power_w=max(power_w, 0.0), wake_j=wake_j))
    ladder = Ladder(rungs)
    chosen = 0
    for step in ladder.descents:
        if idle_s > step.after_s:
            chosen = step.rung
    costs_j = [rung.power_w * idle_s + rung.switch_j for rung in ladder.rungs]
    assert costs_j[chosen] == pytest.approx(min(costs_j), rel=1e-6, abs=1e-6)


@pytest.mark.parametrize(
    ("rungs", "said"),
    [
        ([Rung(name="ready", power_w=1)], "needs a rung below"),
        ([Rung(name="ready", power_w=1, wake_s=1), Rung(name="off", power_w=0)], "must be ready"),
        ([Rung(name="ready", power_w=1), Rung(name="off", power_w=1)], "saves nothing"),
        ([Rung(name="off", power_w=1), Rung(name="off", power_w=0)], "share a name"),
    ],
)
def test_a_ladder_that_makes_no_sense_is_refused(rungs, said):
    with pytest.raises(ConfigError, match=said):
        Ladder(rungs)


@pytest.mark.parametrize("value", [-1.0, float("nan"), float("inf")])
def test_a_rung_says_which_of_its_costs_is_wrong(value):
    with pytest.raises(ConfigError, match="'off' has wake_j"):
        Rung(name="off", power_w=1.0, wake_j=value)
