"""The self-test of the meters: what a good meter, one that stands still and one that lies look like."""

from __future__ import annotations

import threading
import time

import pytest

from overwinter.energy import Component
from overwinter.energy.report import EnergyReport
from overwinter.energy.self_test import check_meters, judge


def metered(**powers_w: float) -> EnergyReport:
    components = tuple(
        Component(
            device=name.replace("_", ":"),
            energy_j=power_w,
            uncertainty_j=0.0,
            source="rapl",
            average_w=power_w,
            peak_w=power_w,
        )
        for name, power_w in powers_w.items()
    )
    return EnergyReport(
        duration_s=1.0,
        energy_j=sum(powers_w.values()),
        uncertainty_j=0.0,
        measured_fraction=1.0,
        components=components,
        idle_j=None,
        above_idle_j=None,
        warnings=(),
    )


def test_the_model_of_this_machine_passes(energy_config, hardware_config):
    checks = {check.device: check for check in check_meters(energy_config, hardware_config, duration_s=0.1)}
    assert checks["cpu"].source == "modelled"
    assert checks["cpu"].fault == ""
    assert checks["cpu"].busy_w > checks["cpu"].idle_w


@pytest.mark.parametrize(
    ("idle_w", "busy_w", "fault"),
    [
        ({"gpu_0": 60.0}, {"gpu_0": 60.0}, ""),
        ({"cpu_package-0": 20.0}, {"cpu_package-0": 31.0}, ""),
        ({"cpu_package-0": 20.0}, {"cpu_package-0": 20.0}, "no more power"),
        ({"cpu_package-0": 0.0}, {"cpu_package-0": 0.0}, "stands still"),
        ({"machine": 5e4}, {"machine": 6e4}, "more than a machine draws"),
        ({}, {"cpu": 10.0}, ""),
    ],
)
def test_each_device_is_judged_by_what_it_may_draw(idle_w, busy_w, fault):
    (check,) = judge(metered(**idle_w), metered(**busy_w))
    assert fault in check.fault
    assert bool(check.fault) == bool(fault)


def test_a_package_whose_counter_stands_still_is_found(powercap, energy_config, hardware_config):
    powercap.zone("intel-rapl:0", "package-0", energy_uj=5_000_000)
    checks = check_meters(energy_config, hardware_config, duration_s=0.1)
    assert [check.fault for check in checks if check.device.startswith("cpu")] == [
        "its counter stands still or cannot be read, so its power is modelled"
    ]


def test_a_counter_that_runs_with_the_work_passes(powercap, energy_config, hardware_config):
    counter = powercap.zone("intel-rapl:0", "package-0") / "energy_uj"
    ended = threading.Event()

    def count() -> None:
        while not ended.wait(0.005):
            counter.write_text(f"{int(5e6 * (time.monotonic() + 10 * time.process_time()))}\n")

    thread = threading.Thread(target=count)
    thread.start()
    try:
        checks = check_meters(energy_config, hardware_config, duration_s=0.3)
    finally:
        ended.set()
        thread.join()
    assert [check.fault for check in checks if check.source == "rapl"] == [""]
