"""Fields of energy.json besides the meter's: grid, price, power policy, resumed costs, execution."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

from overwinter.carbon import Intensity
from overwinter.ledger import Spent as Resumed
from overwinter.pipeline.records import energy_record as energy_record_of
from overwinter.pipeline.watch import Spent, Watch
from overwinter.power.control.loop import PowerRecord
from overwinter.records import to_json
from tests.support.energy_records import energy_record


def _intensity(share: float | None = None) -> Intensity:
    return Intensity(g_per_kwh=100.0, source="uk_grid", kind="average", renewable_share=share)


def _stage(**values: Any) -> Any:
    budget = SimpleNamespace(price_per_j=None, currency=None)
    fixed = {"name": "train", "control": None, "resumed": None, "budget": budget, "devices": None, "waited_s": 0.0}
    return SimpleNamespace(**fixed | values)


def _spent(notes: tuple[str, ...] = ()) -> Spent:
    report = energy_record(warnings=("short",), idle_j=10.0, above_idle_j=90.0)
    return Spent(report=report, carbon_g=1.0, intensity=_intensity(0.4), notes=notes)


def test_the_mix_and_what_was_left_out_stand_beside_the_intensity() -> None:
    notes = ("uk_grid: 1 of 96 rows of the forecast are left out",)
    record = energy_record_of(_stage(), _spent(notes), execution="id-1")
    assert (record.renewable_share, record.execution) == (0.4, "id-1")
    assert record.warnings == ("short", *notes)


def test_a_power_policy_changes_values_and_no_key() -> None:
    policy = PowerRecord(
        power_policy="carbon_cap",
        actuator="nvml",
        note="caps the board",
        cap_bound_fraction=0.5,
        decisions=3,
        paused_s=1.5,
        cpu_s=0.1,
        warnings=("the cap never held",),
    )
    free = energy_record_of(_stage(), _spent(), execution="id-1")
    governed = energy_record_of(_stage(control=SimpleNamespace(record=lambda: policy)), _spent(), execution="id-1")
    assert to_json(free).keys() == to_json(governed).keys()
    assert (free.power_policy, free.power_actuator, free.cap_bound_fraction) == ("none", None, None)
    assert (governed.power_policy, governed.power_actuator, governed.paused_s) == ("carbon_cap", "nvml", 1.5)
    assert governed.warnings == ("short", "the cap never held")


def test_what_was_resumed_belongs_to_the_cost_and_is_priced() -> None:
    earlier = Resumed(energy_j=100.0, carbon_g=2.0, duration_s=30.0, executions=("id-0",))
    priced = SimpleNamespace(price_per_j=0.01, currency="EUR")
    record = energy_record_of(_stage(resumed=earlier, budget=priced), _spent(), execution="id-1")
    assert (record.energy_j, record.carbon_g, record.duration_s) == (200.0, 3.0, 40.0)
    assert (record.uncertainty_j, record.idle_j, record.above_idle_j) == (10.0, 20.0, 180.0)
    assert (record.resumed_j, record.resumed_carbon_g, record.resumed_duration_s) == (100.0, 2.0, 30.0)
    assert (record.cost, record.currency) == (2.0, "EUR")


def test_the_watch_keeps_each_note_once_also_of_a_source_that_has_none() -> None:
    meter: Any = SimpleNamespace(read=lambda: energy_record(energy_j=1.0), close=lambda: energy_record(energy_j=2.0))
    values = iter([("a",), ("a", "b"), ()])

    class Source:
        notes = property(lambda self: next(values))

        def at(self, time_utc: Any) -> Intensity:
            return _intensity()

    watch = Watch(meter, Source(), lambda spent: None)
    assert watch.latest.notes == ("a",)
    assert watch.close().notes == ("a", "b")
    plain: Any = SimpleNamespace(at=lambda time_utc: _intensity())
    assert Watch(meter, plain, lambda spent: None).close().notes == ()


def test_waits_for_other_runs_are_reported_and_so_is_a_measurement_that_could_not_be_alone() -> None:
    devices = SimpleNamespace(waited_s=30.4, trouble="other runs may disturb it")
    record = energy_record_of(_stage(devices=devices, waited_s=2.0), _spent(), execution="id-1")
    waited = "the stage waited 32 s for other runs, which count neither as time nor as energy"
    assert record.warnings == ("short", waited, "other runs may disturb it")
