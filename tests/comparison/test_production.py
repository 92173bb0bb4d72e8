"""The joules to produce: stages, their total, and what repetitions say."""

import math
from dataclasses import replace

import pytest

from overwinter.comparison import Noises, Side
from overwinter.comparison.metering import modelled_share
from overwinter.comparison.production import production_changes
from overwinter.comparison.records import BEYOND, INCOMPARABLE, MISSING, SAME, WITHIN
from overwinter.comparison.statistics import Noise
from overwinter.energy import Component
from tests.support.energy_records import energy_record

NOISE = Noise(deviation=0.05, freedom=10, repeats=12)


def record(stage, joules, execution=None, **values):
    return energy_record(stage=stage, energy_j=joules, uncertainty_j=0.4 * joules, execution=execution, **values)


def side(*records, planned=("train", "sparsify", "distill"), **params):
    energy = {each.stage: each for each in records}
    return Side(title="", params={"pipeline": {"stages": dict.fromkeys(planned)}, **params}, energy=energy)


def changes(a, b, **production):
    found, notes = production_changes(a, b, Noises(production=production))
    return {each.name.removeprefix("production_energy").lstrip("."): each for each in found}, notes


def test_without_repetitions_the_noise_of_a_busy_machine_is_assumed():
    found, _ = changes(side(record("train", 100)), side(record("train", 55)))
    assert found["train"].verdict == WITHIN
    assert "25 % each as on a busy machine, or the meter's uncertainty where that is wider" in found["train"].basis
    assert found["train"].a_low == pytest.approx(60.0)  # the meter's 40 % is wider
    assert found["train"].a_high == pytest.approx(100 * math.exp(1.96 * 0.25), rel=1e-3)
    assert changes(side(record("train", 100)), side(record("train", 30)))[0]["train"].verdict == BEYOND


def test_the_repetitions_of_other_stages_count_where_a_stage_has_none():
    noises = Noises(production={"sparsify": NOISE}, any_production=replace(NOISE, deviation=0.5))
    [_, train], _ = production_changes(side(record("train", 100)), side(record("train", 30)), noises)
    assert train.verdict == WITHIN
    assert "the spread of other stages', 50 % each" in train.basis


def test_repetitions_cancel_the_error_that_both_runs_share():
    found, _ = changes(side(record("train", 100)), side(record("train", 75)), train=NOISE)
    assert found["train"].verdict == BEYOND
    assert "12 repetitions in the ledger, 5.0 % each" in found["train"].basis
    assert changes(side(record("train", 100)), side(record("train", 92)), train=NOISE)[0]["train"].verdict == WITHIN


def test_a_reused_stage_adds_no_noise_to_the_total():
    a = side(record("train", 1000, "t"), record("sparsify", 100, "s1"))
    b = side(record("train", 1000, "t"), record("sparsify", 70, "s2"))
    found, _ = changes(a, b, sparsify=NOISE)
    assert found["train"].verdict == SAME
    assert found[""].verdict == BEYOND
    assert found[""].difference == pytest.approx(-30)
    assert found[""].difference_high == pytest.approx(found["sparsify"].difference_high)


def test_a_stage_that_only_one_pipeline_has_counts_in_full():
    a = side(record("train", 100, "t"), planned=("train",))
    b = side(record("train", 100, "t"), record("distill", 50, "d"), planned=("train", "distill"))
    found, notes = changes(a, b)
    assert notes == []
    assert found["distill"].verdict == MISSING
    assert (found[""].a, found[""].b) == (100, 150)
    assert found[""].difference_low == pytest.approx(50 - 20)
    assert found[""].difference_high == pytest.approx(50 * math.exp(1.96 * 0.25), rel=1e-3)
    back, _ = changes(b, a)
    assert back[""].difference_high == pytest.approx(-(50 - 20))
    assert found[""].verdict == BEYOND


def test_a_stage_that_has_not_run_is_left_out_of_the_total():
    found, notes = changes(side(record("train", 100, "t")), side(record("train", 100, "t"), record("sparsify", 50)))
    assert found[""].verdict == SAME
    assert notes == ["production_energy leaves out sparsify, which only one side has run"]


def component(source, device="cpu"):
    return Component(device=device, energy_j=1.0, uncertainty_j=0.1, source=source, average_w=1.0, peak_w=1.0)


def test_modelled_joules_are_not_compared_with_counted_ones():
    a = side(record("train", 100, components=(component("modelled"),)))
    b = side(record("train", 50, components=(component("rapl"),)))
    found, _ = changes(a, b, train=NOISE)
    assert found["train"].verdict == found[""].verdict == INCOMPARABLE
    assert found["train"].basis == "A's joules come from cpu modelled; B's from cpu rapl"


def test_two_gpus_of_one_kind_are_one_meter():
    sides = (
        side(record("train", joules, components=(component("nvml-counter", device),)))
        for joules, device in ((100, "gpu:0"), (50, "gpu:3"))
    )
    assert changes(*sides, train=NOISE)[0]["train"].verdict == BEYOND


def test_another_model_of_the_hardware_makes_modelled_joules_incomparable():
    modelled, counted = (component("modelled"),), (component("rapl"),)
    for components, verdict in ((modelled, INCOMPARABLE), (counted, BEYOND)):
        a = side(record("train", 100, components=components), hardware={"cpu_w_per_thread": 4.0})
        b = side(record("train", 50, components=components), hardware={"cpu_w_per_thread": 8.0})
        assert changes(a, b, train=NOISE)[0]["train"].verdict == verdict


@pytest.mark.parametrize(
    ("shares", "note"),
    [
        ((0.0, 0.0), "joules are modelled from CPU time and memory"),
        ((1.0, 0.25), "counters measured 100% of A's and 25% of B's joules to produce"),
        ((1.0, 1.0), None),
    ],
)
def test_modelled_joules_are_called_so(shares, note):
    found = modelled_share(*(side(record("train", 100, measured_fraction=share)) for share in shares))
    assert found is None if note is None else found.startswith(note)
