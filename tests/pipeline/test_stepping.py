"""The cost between the first and the latest report of progress."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest

from overwinter.pipeline.stepping import Stepping


def _report(time_s: float) -> Any:
    return SimpleNamespace(energy_j=10.0 * time_s, duration_s=time_s)


class _Meter:
    def __init__(self) -> None:
        self.now_s, self.readings = 0.0, 0

    def read(self) -> Any:
        self.readings += 1
        return _report(self.now_s)


def _followed(meter: _Meter, *, start_s: float, step_s: float, steps: int, total: int) -> Stepping:
    stepping = Stepping(meter.read)
    for step in range(1, steps + 1):
        meter.now_s = start_s + step * step_s
        stepping.note(step, total, _report(meter.now_s - meter.now_s % 0.5))  # the watch reads twice a second
    return stepping


def test_the_whole_is_read_at_its_edges_and_the_meter_asked_twice() -> None:
    meter = _Meter()
    costs = _followed(meter, start_s=5.0, step_s=0.07, steps=40, total=40).costs()
    assert costs is not None
    assert (costs.steps, meter.readings) == (39, 2)
    assert costs.steps_j == pytest.approx(39 * 0.7)
    assert costs.steps_s == pytest.approx(39 * 0.07)


def test_in_between_it_is_right_to_about_a_step() -> None:
    costs = _followed(_Meter(), start_s=5.0, step_s=0.07, steps=100, total=1000).costs()
    assert costs is not None
    assert costs.steps_s / costs.steps == pytest.approx(0.07, rel=0.03)


def test_one_step_tells_nothing_yet() -> None:
    assert _followed(_Meter(), start_s=5.0, step_s=0.07, steps=1, total=1).costs() is None
    assert Stepping(_Meter().read).costs() is None
