"""Forecasts on another machine: by the ratio of what both have run, and unknown without any."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from overwinter.budget import Forecast, Range
from overwinter.budget.transfer import Pair, pairs_of, transferred

_logs = st.floats(-2, 2)


@pytest.fixture
def known():
    range_ = Range(low=90.0, expected=100.0, high=110.0)
    return Forecast(stage="train", basis="exact", energy_j=range_, duration_s=range_.scaled(0.1))


def pair(stage="train", energy=0.0, time=0.0):
    return Pair(stage=stage, energy=energy, time=time)


def test_a_ratio_of_the_same_configuration_on_both_machines(record):
    here = [record(prefix_key="a", energy_j=each, duration_s=each) for each in (90.0, 100.0, 130.0)]
    there = [record(prefix_key="a", energy_j=150.0, duration_s=200.0, host="there")]
    (found,) = pairs_of(here, there)
    assert found.energy == pytest.approx(0.405, abs=1e-3)  # of the medians
    assert found.time == pytest.approx(0.693, abs=1e-3)


@pytest.mark.parametrize(
    "values",
    [
        {"prefix_key": "b"},
        {"stage": "sparsify"},
        {"status": "failed"},
        {"energy_j": None},
    ],
)
def test_what_is_not_the_same_is_no_pair(record, values):
    here = record(prefix_key="a", energy_j=100.0)
    assert pairs_of([here], [record(**{"prefix_key": "a", "energy_j": 100.0, **values})]) == []


def test_executions_older_than_prefix_keys_are_paired_by_their_configuration(record):
    assert len(pairs_of([record(energy_j=1.0)], [record(energy_j=2.0)])) == 1


def test_joules_before_a_checkpoint_count(record):
    (found,) = pairs_of([record(energy_j=100.0)], [record(energy_j=40.0, resumed_j=60.0)])
    assert found.energy == pytest.approx(0.0)


def test_stages_of_the_same_name_weigh_more_than_others(known):
    pairs = [pair(energy=1.0)] * 3 + [pair("evaluate", energy=0.0)] * 3
    found = transferred(known, pairs, intensity_g_per_kwh=None)
    assert found.energy_j is not None
    assert 2.2 < found.energy_j.expected / 100 < 2.7  # e to the power of nearly 1
    assert found.carbon_g is None


def test_a_stage_that_never_ran_there_takes_the_ratio_of_the_others(known):
    found = transferred(known, [pair("evaluate", energy=0.7, time=0.3)], intensity_g_per_kwh=360.0)
    assert found.basis == "transferred"
    assert found.energy_j is not None
    assert found.energy_j.expected == pytest.approx(201.4, abs=0.1)
    assert found.duration_s is not None
    assert found.duration_s.expected == pytest.approx(13.5, abs=0.1)
    assert found.carbon_g is not None
    assert found.carbon_g.expected == pytest.approx(201.4 * 360 / 3.6e6, rel=1e-3)


def test_with_nothing_in_common_nothing_is_known(known):
    assert transferred(known, [], intensity_g_per_kwh=1.0).basis == "unknown"
    unknown = Forecast(stage="train", basis="unknown")
    assert transferred(unknown, [pair()], intensity_g_per_kwh=1.0).basis == "unknown"


@given(logs=st.lists(_logs, min_size=1, max_size=8), shift=_logs)
def test_the_range_widens_with_scatter_and_moves_with_the_ratio(known_range, logs, shift):
    def found(ratios):
        made = transferred(known_range, [pair(energy=each) for each in ratios], intensity_g_per_kwh=None).energy_j
        assert made is not None
        return made

    one, moved, even = found(logs), found([each + shift for each in logs]), found([sum(logs) / len(logs)] * len(logs))
    assert one.low <= one.expected <= one.high
    assert moved.high / moved.low == pytest.approx(one.high / one.low)
    assert even.high / even.low <= one.high / one.low * (1 + 1e-9)


@pytest.fixture(scope="module")
def known_range():
    range_ = Range(low=90.0, expected=100.0, high=110.0)
    return Forecast(stage="train", basis="exact", energy_j=range_, duration_s=range_)
