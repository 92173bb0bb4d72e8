"""One execution: what it leaves, what a heartbeat costs, and which calls count."""

from __future__ import annotations

import math
import os
import threading
import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from overwinter.energy import Component
from overwinter.ledger import Ledger
from overwinter.ledger.execution import sources
from overwinter.records import to_json

ENERGY = {
    "duration_s": 2.5,
    "energy_j": 100.0,
    "uncertainty_j": 4.0,
    "measured_fraction": 0.8,
    "idle_j": 30.0,
    "carbon_g": 0.01,
}


def component(source: str, energy_j: float) -> Component:
    return Component(device="gpu:0", source=source, energy_j=energy_j, uncertainty_j=0.0, average_w=0.0, peak_w=0.0)


def test_what_is_finished_is_there_in_full(ledger: Ledger, begin, energy):
    left = energy(**ENERGY, components=(component("modelled", 20.0), component("nvml-counter", 80.0)))
    execution = begin(ledger, experiment="blue-cat", params_digest="p", work=12.0)
    execution.heartbeat(energy_j=50.0, uncertainty_j=2.0, cost=0.5, currency="EUR", done=3, total=10)
    execution.finish(
        status="done",
        exit_code=0,
        energy=left,
        metrics={"accuracy": 0.9},
        artifact_digest="a",
        message=None,
    )
    (record,) = ledger.executions(documents=True)
    assert record.status == "done"
    assert (record.energy_j, record.uncertainty_j, record.measured_fraction) == (100.0, 4.0, 0.8)
    assert (record.duration_s, record.idle_j, record.carbon_g) == (2.5, 30.0, 0.01)
    assert (record.cost, record.currency, record.done, record.total) == (0.5, "EUR", 3, 10)
    assert (record.experiment, record.params_digest, record.work) == ("blue-cat", "p", 12.0)
    assert (record.energy, record.metrics, record.artifact_digest) == (to_json(left), {"accuracy": 0.9}, "a")
    assert record.sources == "nvml-counter 80 %, modelled 20 %"
    assert record.exit_code == 0
    assert record.ended_utc >= record.started_utc


def test_what_was_resumed_is_the_earlier_executions_own_spending(ledger: Ledger, begin, energy):
    begin(ledger).finish(status="refused", exit_code=3, energy=energy(energy_j=60.0, uncertainty_j=3.0, carbon_g=0.006))
    went_on = begin(ledger, resumed=ledger.earlier(stage="train", configuration_key="key-1"))
    resumed = {"resumed_j": 60.0, "resumed_carbon_g": 0.006, "resumed_duration_s": 4.0}
    went_on.finish(status="done", exit_code=0, energy=energy(cost=0.5, currency="EUR", idle_j=10.0, **resumed))
    record = ledger.executions()[1]
    assert (record.energy_j, record.uncertainty_j, record.idle_j, record.duration_s) == (40.0, 2.0, 4.0, 6.0)
    assert (record.carbon_g, record.cost) == pytest.approx((0.004, 0.2))
    assert ledger.spent(run_id="run-1").energy_j == 100.0


def test_energy_is_unknown_until_someone_tells_it(ledger: Ledger, begin):
    begin(ledger).finish(status="failed", exit_code=1, message="no meter")
    assert ledger.executions()[0].energy_j is None


def test_without_an_energy_json_the_last_heartbeat_stays(ledger: Ledger, begin):
    execution = begin(ledger)
    execution.heartbeat(energy_j=7.0, uncertainty_j=1.0)
    execution.finish(status="failed", exit_code=1, message="NaN loss")
    (record,) = ledger.executions()
    assert (record.energy_j, record.uncertainty_j, record.message) == (7.0, 1.0, "NaN loss")


def test_only_the_first_end_counts_and_nothing_beats_after_it(ledger: Ledger, begin):
    execution = begin(ledger)
    execution.finish(status="refused", exit_code=3)
    execution.heartbeat(energy_j=9.0)
    execution.finish(status="failed", exit_code=1)
    (record,) = ledger.executions()
    assert (record.status, record.exit_code, record.energy_j) == ("refused", 3, None)


@pytest.mark.parametrize("status", ["running", "killed", "DONE", ""])
def test_an_unknown_end_is_refused(ledger: Ledger, begin, status: str):
    with pytest.raises(ValueError, match="allowed: done, failed, refused, interrupted"):
        begin(ledger).finish(status=status, exit_code=0)


def test_a_forked_child_does_not_speak_for_its_parent(ledger: Ledger, begin):
    execution = begin(ledger)
    execution.heartbeat(energy_j=1.0)
    pid = os.fork()
    if pid == 0:
        execution.heartbeat(energy_j=1e9)
        execution.finish(status="failed", exit_code=1)
        os._exit(0)
    os.waitpid(pid, 0)
    (record,) = ledger.executions()
    assert (record.status, record.energy_j) == ("running", 1.0)


def test_power_comes_from_two_heartbeats(ledger: Ledger, begin):
    execution = begin(ledger)
    execution.heartbeat(energy_j=10.0)
    time.sleep(0.05)
    execution.heartbeat(energy_j=15.0)
    assert 5.0 / 0.5 < ledger.executions()[0].power_w < 5.0 / 0.05


def test_a_meter_that_jumps_back_says_nothing_about_power(ledger: Ledger, begin):
    execution = begin(ledger)
    time.sleep(0.01)
    execution.heartbeat(energy_j=10.0)
    before_w = ledger.executions()[0].power_w
    time.sleep(0.01)
    execution.heartbeat(energy_j=1.0)
    assert ledger.executions()[0].power_w == before_w > 0


def test_a_heartbeat_costs_less_than_a_millisecond(ledger: Ledger, begin):
    execution, beats = begin(ledger), 300
    before_s = time.thread_time()
    for beat in range(beats):
        execution.heartbeat(energy_j=float(beat), done=beat, total=beats)
    assert (time.thread_time() - before_s) / beats < 1e-3


def test_heartbeats_come_from_another_thread(ledger: Ledger, begin):
    execution = begin(ledger)
    stop = threading.Event()

    def beat() -> None:
        while not stop.is_set():
            execution.heartbeat(energy_j=1.0)

    thread = threading.Thread(target=beat)
    thread.start()
    others = [begin(ledger, stage="sparsify") for _ in range(20)]
    for other in others:
        other.finish(status="done", exit_code=0)
    execution.finish(status="done", exit_code=0)
    stop.set()
    thread.join()
    assert {each.status for each in ledger.executions()} == {"done"}


@given(st.lists(st.tuples(st.sampled_from(["rapl", "modelled", "nvml-power"]), st.floats(0, 1e9)), min_size=1))
def test_the_sources_shares_add_up_to_the_whole(parts):
    text = sources([component(name, energy_j) for name, energy_j in parts])
    shares = [float(part.split()[1]) for part in text.split(", ") if "%" in part]
    assert {part.split()[0] for part in text.split(", ")} == {name for name, _ in parts}
    if sum(energy_j for _, energy_j in parts):
        assert math.isclose(sum(shares), 100, abs_tol=1.5)


def test_a_message_of_any_bytes_and_a_figure_of_any_type_do_not_cost_the_record(ledger: Ledger, begin):
    begin(ledger).finish(
        status="failed",
        exit_code=1,
        message="no file \udcff\x00.bin",
        metrics={"loss": complex(1, 2), "nan": math.nan},
    )
    (record,) = ledger.executions(documents=True)
    assert record.message == "no file \\udcff\x00.bin"
    assert record.metrics["loss"] == "(1+2j)"
