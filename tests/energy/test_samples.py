"""Samples stay bounded and keep the whole picture."""

from __future__ import annotations

import itertools

from overwinter.energy.samples import PowerSample, SampleLog


def test_a_long_run_keeps_its_whole_length_at_a_coarser_step() -> None:
    log = SampleLog(most=100)
    for index in range(10_000):
        log.add((PowerSample(time_s=index / 10, device="cpu", power_w=1.0, limit_w=None),))
    times_s = [sample.time_s for sample in log.all()]
    assert 25 <= len(times_s) <= 100
    assert times_s[0] == 0
    assert times_s[-1] > 950
    steps = {round(after - before, 6) for before, after in itertools.pairwise(times_s)}
    assert len(steps) == 1
