"""Parts of runs that use all of a device add up to one, and no idle energy is lost."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from overwinter.energy.split import Use


@given(
    owns=st.lists(st.floats(0.0, 0.25), min_size=2, max_size=4),
    idle_fraction=st.floats(0.0, 1.0),
)
def test_parts_add_up_to_one(owns: list[float], idle_fraction: float) -> None:
    uses = [Use(own=own, busy=sum(owns)) for own in owns]
    parts = [use.part(meters=len(owns), idle_fraction=idle_fraction) for use in uses]
    assert sum(parts) == pytest.approx(1.0)
    assert all(0.0 <= part <= 1.0 for part in parts)


def test_an_idle_device_is_divided_equally() -> None:
    assert Use(own=0.0, busy=0.0).part(meters=3, idle_fraction=0.3) == pytest.approx(1 / 3)
    assert Use(own=0.0, busy=0.0).part(meters=3, idle_fraction=0.0) == pytest.approx(1 / 3)


def test_what_others_use_is_in_no_figure() -> None:
    use = Use(own=0.25, busy=1.0)
    assert use.part(meters=2, idle_fraction=0.2) == pytest.approx(0.2 / 2 + 0.8 * 0.25)


def test_own_use_that_is_reported_later_than_all_s_is_no_more_than_all() -> None:
    assert Use(own=0.5, busy=0.4).part(meters=2, idle_fraction=0.0) == pytest.approx(1.0)
