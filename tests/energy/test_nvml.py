"""The real pynvml on a compiled stand-in library: counters, fallbacks, failures in the middle, visibility."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import Any

import pytest

from overwinter.energy import open_meter, probe
from overwinter.energy.nvml import open_nvml

UNSUPPORTED, UNKNOWN, GPU_IS_LOST = 3, 999, 15


def run(meter: Any, clock: Any, device: Any, *, seconds: int, power_w: float) -> None:
    """Let the GPU draw for some time, in ticks of 0.1 s."""
    device.power_mw = int(power_w * 1000)
    for _ in range(seconds * 10):
        clock.forward(0.1)
        device.energy_mj += int(power_w * 100)
        meter.tick()


def test_the_energy_counter_is_preferred_and_exact(nvml: Any, opening: Any, hand_driven: Any, clock: Any) -> None:
    nvml.count = 1
    meter = hand_driven(open_nvml(opening), opening).start()
    window = meter.window("w")
    run(meter, clock, nvml.devices[0], seconds=60, power_w=250)
    report = window.close()
    assert report.energy_j == pytest.approx(15_000)
    (part,) = report.components
    assert (part.device, part.source) == ("gpu:0", "nvml-counter")
    assert part.peak_w == pytest.approx(250)
    assert part.uncertainty_j == pytest.approx(750, rel=0.01)
    assert meter.samples[-1].limit_w == 300


def test_without_a_counter_power_is_integrated(nvml: Any, opening: Any, hand_driven: Any, clock: Any) -> None:
    nvml.count = 1
    nvml.devices[0].energy_rc = UNSUPPORTED
    meter = hand_driven(open_nvml(opening), opening).start()
    run(meter, clock, nvml.devices[0], seconds=20, power_w=120)
    report = meter.read()
    assert report.energy_j == pytest.approx(2400, rel=0.01)
    assert [part.source for part in report.components] == ["nvml-power"]
    assert report.measured_fraction == 1


@pytest.mark.parametrize("code", [UNSUPPORTED, UNKNOWN, GPU_IS_LOST])
def test_a_counter_that_starts_failing_hands_over_to_power(
    nvml: Any, opening: Any, hand_driven: Any, clock: Any, code: int
) -> None:
    nvml.count = 1
    meter = hand_driven(open_nvml(opening), opening).start()
    run(meter, clock, nvml.devices[0], seconds=10, power_w=200)
    nvml.devices[0].energy_rc = code
    run(meter, clock, nvml.devices[0], seconds=10, power_w=200)
    report = meter.read()
    assert report.energy_j == pytest.approx(4000, rel=0.01)
    assert {part.source for part in report.components} == {"nvml-counter", "nvml-power"}
    assert any("continuing with nvml-power" in text for text in report.warnings)


def test_when_all_fails_the_last_power_is_assumed_never_zero(
    nvml: Any, opening: Any, hand_driven: Any, clock: Any
) -> None:
    nvml.count = 1
    meter = hand_driven(open_nvml(opening), opening).start()
    run(meter, clock, nvml.devices[0], seconds=10, power_w=200)
    nvml.devices[0].energy_rc = nvml.devices[0].power_rc = GPU_IS_LOST
    run(meter, clock, nvml.devices[0], seconds=10, power_w=200)
    report = meter.read()
    assert report.energy_j == pytest.approx(4000, rel=0.01)
    assert report.measured_fraction == pytest.approx(0.5, abs=0.01)
    assert len([text for text in report.warnings if "failed" in text]) == 2


def test_a_gpu_that_never_tells_is_assumed_at_half_its_limit(
    nvml: Any, opening: Any, hand_driven: Any, clock: Any
) -> None:
    nvml.count = 1
    nvml.devices[0].energy_rc = nvml.devices[0].power_rc = UNSUPPORTED
    meter = hand_driven(open_nvml(opening), opening).start()
    clock.forward(10)
    assert meter.read().energy_j == pytest.approx(1500)
    assert any("assuming 150 W" in text for text in meter.read().warnings)


def test_a_counter_that_stands_still_is_found_out(nvml: Any, opening: Any, hand_driven: Any, clock: Any) -> None:
    nvml.count = 1
    meter = hand_driven(open_nvml(opening), opening).start()
    for _ in range(100):
        clock.forward(0.1)
        meter.tick()
    report = meter.read()
    assert report.energy_j == pytest.approx(1000, rel=0.02)  # 100 W for 10 s, although the counter gave nothing
    assert any("has not changed for" in text for text in report.warnings)


def test_a_counter_reset_by_the_driver_is_reported(nvml: Any, opening: Any, hand_driven: Any, clock: Any) -> None:
    nvml.count = 1
    meter = hand_driven(open_nvml(opening), opening).start()
    run(meter, clock, nvml.devices[0], seconds=10, power_w=200)
    nvml.devices[0].energy_mj = 0
    run(meter, clock, nvml.devices[0], seconds=10, power_w=200)
    report = meter.read()
    assert report.energy_j == pytest.approx(4000, rel=0.01)
    assert any("jumped from" in text for text in report.warnings)


@pytest.mark.parametrize(
    ("value", "expected"), [("1", ["gpu:1"]), ("GPU-0aaa", ["gpu:0"]), ("", []), ("MIG-one", ["gpu:1"])]
)
def test_cuda_visible_devices_is_honoured(
    nvml: Any, opening: Any, monkeypatch: pytest.MonkeyPatch, value: str, expected: list[str]
) -> None:
    nvml.devices[1].migs = 1
    nvml.devices[1].mig_uuid[0].value = b"MIG-one-two"
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", value)
    assert [channel.device for channel in open_nvml(opening)] == expected
    assert any("whole board" in text for text in opening.warnings) == value.startswith("MIG")


def test_a_driver_that_does_not_start_is_a_warning(nvml: Any, opening: Any) -> None:
    nvml.init_rc = 9
    assert open_nvml(opening) == []
    assert "does not start" in opening.warnings[0]


def test_a_short_window_says_so_and_is_not_a_sure_zero(nvml: Any, opening: Any, hand_driven: Any, clock: Any) -> None:
    nvml.count = 1
    meter = hand_driven(open_nvml(opening), opening).start()
    run(meter, clock, nvml.devices[0], seconds=5, power_w=300)
    window = meter.window("blink")
    clock.forward(0.03)  # the counter has not moved yet
    report = window.close()
    assert report.energy_j == 0
    assert report.uncertainty_j == pytest.approx(9, rel=0.01)
    assert any("'blink' lasted 0.03 s, too short" in text for text in report.warnings)


def test_the_idle_probe_measures_a_baseline(nvml: Any, energy_config: Any, hardware_config: Any) -> None:
    energy_config.sources, energy_config.idle_probe_s = ["nvml"], 0.3
    nvml.count = 1
    stop = threading.Event()

    def idle() -> None:
        begun_s, start_mj = time.monotonic(), nvml.devices[0].energy_mj
        while not stop.wait(0.005):
            nvml.devices[0].energy_mj = start_mj + int((time.monotonic() - begun_s) * 50_000)  # 50 W

    thread = threading.Thread(target=idle)
    thread.start()
    try:
        with open_meter(energy_config, hardware_config) as meter, meter.window("work") as window:
            time.sleep(0.3)
    finally:
        stop.set()
        thread.join()
    report = window.close()
    assert report.idle_j is not None
    assert report.above_idle_j is not None
    assert report.idle_j == pytest.approx(report.energy_j, rel=0.3)
    assert report.idle_j + report.above_idle_j == pytest.approx(report.energy_j)


def test_a_configured_baseline_spares_the_probe(nvml: Any, energy_config: Any, hardware_config: Any) -> None:
    energy_config.sources, energy_config.idle_probe_s = ["nvml"], 600.0
    hardware_config.idle_w = {"gpu:0": 50.0, "gpu:1": 50.0}
    begun_s = time.monotonic()
    with open_meter(energy_config, hardware_config) as meter:
        assert time.monotonic() - begun_s < 60
    assert meter.read().idle_j is not None


def test_an_unknown_baseline_is_null_not_zero(nvml: Any, energy_config: Any, hardware_config: Any) -> None:
    energy_config.sources = ["nvml"]
    with open_meter(energy_config, hardware_config) as meter:
        assert meter.read().idle_j is None
        assert meter.read().above_idle_j is None


def test_a_driver_that_hangs_does_not_hold_the_work(
    nvml: Any, energy_config: Any, hardware_config: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("overwinter.energy.meter._LOCK_PATIENCE_S", 0.05)
    monkeypatch.setattr("overwinter.energy.sampler._STOP_PATIENCE_S", 0.05)
    energy_config.sources = ["nvml"]
    nvml.count = 1
    with open_meter(energy_config, hardware_config) as meter:
        nvml.devices[0].hang_ms = 1000
        time.sleep(0.3)  # the sampler is in the driver now
        begun_s = time.monotonic()
        report = meter.read()
        assert time.monotonic() - begun_s < 0.5
        nvml.devices[0].hang_ms = 0
        assert any("does not respond" in text for text in report.warnings)
        time.sleep(1.2)  # let the sampler come back before the mapping goes away


def test_probe_names_the_gpus(nvml: Any, energy_config: Any, hardware_config: Any) -> None:
    (status,) = [found for found in probe(energy_config, hardware_config) if found.name == "nvml"]
    assert status.available
    assert "gpu:1 Stand-in GPU" in status.reason


def test_a_fresh_process_loads_the_library_by_name(standin_library: Path, standin_state: Any) -> None:
    environ = {**os.environ, "LD_LIBRARY_PATH": str(standin_library.parent), "CUDA_VISIBLE_DEVICES": "0"}
    command = [sys.executable, "-m", "overwinter.cli", "measure", "--json", "--", "sleep", "0.2"]
    done = subprocess.run(command, env=environ, capture_output=True, text=True, check=True, cwd="/")
    parts = json.loads(done.stderr)["components"]
    assert [part["device"] for part in parts] == ["gpu:0", "cpu", "ram"]
    assert parts[0]["source"] == "nvml-counter"
