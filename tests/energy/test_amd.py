"""The amdsmi source against a stand-in module with the functions and keys of amdsmi 7.0; not on hardware."""

from __future__ import annotations

import sys
from types import ModuleType
from typing import Any

import pytest

from overwinter.energy.amd import amd_status, open_amd


@pytest.fixture
def amdsmi(monkeypatch: pytest.MonkeyPatch, tmp_path: Any) -> Any:
    module: Any = ModuleType("amdsmi")
    module.energy, module.closed = {"a": 1000}, []
    module.amdsmi_init = lambda: None
    module.amdsmi_shut_down = lambda: module.closed.append(True)
    module.amdsmi_get_processor_handles = lambda: ["a"]
    module.amdsmi_get_energy_count = lambda handle: {
        "energy_accumulator": module.energy[handle],
        "counter_resolution": 15.3,
        "timestamp": 0,
    }
    module.amdsmi_get_power_info = lambda handle: {"current_socket_power": "N/A", "average_socket_power": 153}
    module.amdsmi_get_power_cap_info = lambda handle: {"power_cap": 750_000_000}
    monkeypatch.setitem(sys.modules, "amdsmi", module)
    monkeypatch.setattr("overwinter.energy.amd._DRIVER", tmp_path)
    monkeypatch.setattr("overwinter.energy.amd.importlib.util.find_spec", lambda name: object())
    return module


def test_the_accumulator_counts_in_its_own_unit(amdsmi: Any, opening: Any, hand_driven: Any, clock: Any) -> None:
    meter = hand_driven(open_amd(opening), opening, closers=opening.closers).start()
    for _ in range(10):
        clock.forward(1)
        amdsmi.energy["a"] += 10_000_000  # x 15.3 microjoules = 153 W
        meter.tick()
    report = meter.close()
    (part,) = report.components
    assert (part.device, part.source) == ("gpu:amd-0", "amdsmi")
    assert report.energy_j == pytest.approx(1530)
    assert (meter.samples[0].power_w, meter.samples[0].limit_w) == (153, 750)
    assert amdsmi.closed == [True]


def test_a_library_that_does_not_start_is_a_warning(amdsmi: Any, opening: Any) -> None:
    def fail() -> None:
        raise OSError("libamd_smi.so: cannot open")

    amdsmi.amdsmi_init = fail
    assert open_amd(opening) == []
    assert "does not start" in opening.warnings[0]


def test_doctor_is_honest_about_it(amdsmi: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    assert "not been tested on hardware" in amd_status()[1]
    monkeypatch.setattr("overwinter.energy.amd.importlib.util.find_spec", lambda name: None)
    assert amd_status() == (
        False,
        "the Python package amdsmi is not installed",
        "pip install 'overwinter[amd]'",
    )
