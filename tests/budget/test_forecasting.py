"""Forecasts from history: exact, extrapolated, scaled, or honestly unknown."""

from __future__ import annotations

import random
import statistics

import pytest
from hypothesis import given
from hypothesis import strategies as st

from overwinter.budget import forecast


def test_without_history_it_is_unknown(record):
    others = [record(stage="quantize", energy_j=5.0), record(configuration_key="key-2", energy_j=5.0)]
    for records in ([], others, [record(energy_j=None)], [record(energy_j=5.0, status="running")]):
        seen = forecast(records, stage="train", configuration_key="key-1")
        assert (seen.basis, seen.energy_j, seen.carbon_g, seen.duration_s) == ("unknown", None, None, None)


def test_the_same_configuration_is_exact(record):
    records = [record(energy_j=each, duration_s=each / 10, carbon_g=each / 1000) for each in (90.0, 100.0, 110.0)]
    seen = forecast(records, stage="train", configuration_key="key-1", host="here")
    assert (seen.basis, seen.executions) == ("exact", 3)
    assert seen.energy_j.expected == pytest.approx(100.0)
    assert seen.energy_j.low < 90.0 < 110.0 < seen.energy_j.high
    assert seen.duration_s.expected == pytest.approx(10.0)
    assert seen.carbon_g.expected == pytest.approx(0.1)


def test_one_outlier_does_not_move_it(record):
    energies = [100.0, 101.0, 99.0, 100.5, 5000.0]
    seen = forecast([record(energy_j=each) for each in energies], stage="train", configuration_key="key-1")
    assert seen.energy_j.expected == pytest.approx(100.5)
    assert seen.energy_j.high < 200


def test_what_was_resumed_counts_as_part_of_the_whole(record):
    seen = forecast([record(energy_j=40.0, resumed_j=60.0)], stage="train", configuration_key="key-1")
    assert seen.energy_j.expected == pytest.approx(100.0)


def test_a_stopped_execution_is_extrapolated(record):
    stopped = record(status="refused", energy_j=25.0, resumed_j=5.0, done=30, total=100)
    seen = forecast([stopped], stage="train", configuration_key="key-1")
    assert seen.basis == "unfinished"
    assert seen.energy_j.expected == pytest.approx(100.0)
    barely_begun = record(status="killed", energy_j=25.0, done=5, total=100)
    assert forecast([barely_begun], stage="train", configuration_key="key-1").basis == "unknown"


def test_done_executions_are_preferred_to_stopped_ones(record):
    records = [record(status="killed", energy_j=25.0, done=50, total=100), record(energy_j=70.0)]
    seen = forecast(records, stage="train", configuration_key="key-1")
    assert (seen.basis, seen.energy_j.expected) == ("exact", pytest.approx(70.0))


_LIKE = {"configuration_key": "other", "workload": "w", "inputs": {}}
_ASKED = {"stage": "train", "configuration_key": "key-1", "workload": "w", "inputs": {}, "host": "here"}


def _run(record, epochs: float, *, fixed: float = 20.0, per_step: float = 0.1, **values):
    """An execution of 10 steps per epoch; what its first step cost is part of what is fixed."""
    steps = 10 * epochs - 1
    cost = {"energy_j": fixed + per_step * steps, "steps_j": per_step * steps}
    time = {"duration_s": (fixed + per_step * steps) / 5, "steps_s": per_step * steps / 5}
    usual = {**_LIKE, **cost, **time, "work": epochs, "steps": steps, "done": 10 * epochs, "total": 10 * epochs}
    return record(**{**usual, **values})


@given(
    st.floats(0.1, 1e4),
    st.floats(1e-3, 10),
    st.integers(1, 64),
    st.lists(st.integers(1, 4), min_size=1, max_size=4),
)
def test_another_amount_keeps_what_is_fixed_and_grows_with_the_steps(record, fixed, per_step, epochs, history):
    """Also from a single execution, and exactly where all is reported without noise."""
    runs = [_run(record, each, fixed=fixed, per_step=per_step) for each in history]
    seen = forecast(runs, **_ASKED, work=epochs)
    truth = _run(record, epochs, fixed=fixed, per_step=per_step)
    assert seen.basis == "scaled"
    assert seen.energy_j.expected == pytest.approx(truth.energy_j)
    assert seen.duration_s.expected == pytest.approx(truth.duration_s)
    assert seen.energy_j.low < truth.energy_j < seen.energy_j.high
    assert seen.energy_j.high / seen.energy_j.low < 3.5


def test_carbon_grows_like_the_joules(record):
    run = _run(record, 2, carbon_g=0.5)
    seen = forecast([run], **_ASKED, work=8)
    assert seen.carbon_g.expected / 0.5 == pytest.approx(seen.energy_j.expected / run.energy_j)


def test_no_figure_is_made_of_executions_of_other_settings(record):
    runs = [_run(record, 2, workload="batches of 32"), _run(record, 2, workload=None)]
    seen = forecast(runs, **_ASKED, work=8)
    assert (seen.basis, seen.energy_j, seen.executions) == ("unknown", None, 2)


def test_without_the_parts_the_range_holds_all_that_may_be(record):
    """Of 50 J for 10 units, 40 units may take 50 J, if all of it is fixed, or 200 J, if none is."""
    run = record(**_LIKE, energy_j=50.0, work=10.0)
    seen = forecast([run], **_ASKED, work=40.0).energy_j
    assert seen.low < 50.0 < seen.expected < 200.0 < seen.high


def test_other_inputs_and_another_machine_widen_the_range(record):
    run = _run(record, 2)
    alike = forecast([run], **_ASKED, work=8).energy_j
    for other in ({"inputs": {"train": "x"}}, {"inputs": None}, {"host": "elsewhere"}):
        seen = forecast([run], **{**_ASKED, **other}, work=8).energy_j
        assert seen.high / seen.low > 1.3 * alike.high / alike.low


def test_one_that_ended_early_may_do_so_again(record):
    early = _run(record, 12, work=32, total=320)
    seen = forecast([early], **_ASKED, work=32).energy_j
    assert seen.low < early.energy_j
    assert seen.high > _run(record, 32).energy_j


def test_a_stopped_execution_counts_its_start_once(record):
    """A quarter of the steps cost a quarter of what grows; the start is not paid four times."""
    stopped = _run(record, 4, configuration_key="key-1", status="refused", work=16, total=160)
    seen = forecast([stopped], **_ASKED, work=16)
    assert seen.basis == "unfinished"
    assert seen.energy_j.expected == pytest.approx(_run(record, 16).energy_j)


def test_a_resumed_execution_tells_of_one_start_too(record):
    resumed = _run(record, 2, work=4, total=40, done=40, resumed_j=25.0)
    seen = forecast([resumed], **_ASKED, work=8)
    assert seen.energy_j.expected == pytest.approx(_run(record, 8).energy_j)


def test_this_machine_s_history_is_preferred_and_another_s_is_wider(record):
    away, here = record(energy_j=10.0, host="away"), record(energy_j=20.0)
    assert forecast([away, here], stage="train", configuration_key="key-1", host="here").executions == 1
    seen = forecast([away], stage="train", configuration_key="key-1", host="here")
    assert seen.energy_j.expected == pytest.approx(10.0)
    assert seen.energy_j.high > 15.0


def test_carbon_follows_the_intensity_of_now(record):
    records = [record(energy_j=3.6e6, carbon_g=999.0)]
    seen = forecast(records, stage="train", configuration_key="key-1", intensity_g_per_kwh=50.0)
    assert seen.carbon_g.expected == pytest.approx(50.0)


def test_only_the_latest_count(record):
    records = [record(energy_j=1000.0)] * 30 + [record(energy_j=10.0)] * 20
    assert forecast(records, stage="train", configuration_key="key-1").energy_j.high < 20


@given(st.lists(st.floats(1e-3, 1e9), min_size=1, max_size=20), st.floats(1e-3, 1e3))
def test_the_middle_is_within_the_history_and_the_unit_does_not_matter(record, energies: list[float], factor: float):
    seen = forecast([record(energy_j=each) for each in energies], stage="train", configuration_key="key-1").energy_j
    other = forecast(
        [record(energy_j=each * factor) for each in energies], stage="train", configuration_key="key-1"
    ).energy_j
    assert min(energies) * (1 - 1e-9) <= seen.expected <= max(energies) * (1 + 1e-9)
    assert 0 < seen.low < seen.expected < seen.high
    assert other.expected == pytest.approx(seen.expected * factor)


@pytest.mark.parametrize("history", [1, 2, 3, 5, 10, 20])
def test_the_range_covers_the_next_execution_nearly_always(record, history: int):
    """Costs that scatter by 15 %: the next one lies within the range in about nine of ten cases or more."""
    chance = random.Random(history)
    inside = []
    for _ in range(1000):
        *past, coming = (100.0 * chance.lognormvariate(0.0, 0.15) for _ in range(history + 1))
        seen = forecast([record(energy_j=each) for each in past], stage="train", configuration_key="key-1").energy_j
        inside.append(seen.low <= coming <= seen.high)
    assert statistics.mean(inside) >= 0.88


def test_a_stage_that_costs_nothing_is_forecast_as_such(record):
    seen = forecast([record(energy_j=0.0), record(energy_j=0.0)], stage="train", configuration_key="key-1").energy_j
    assert (seen.low, seen.expected, seen.high) == (0.0, 0.0, 0.0)
