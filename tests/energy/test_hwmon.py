"""Sensors of boards and servers, on a folder tree: each joule once, and none of what is not known to be ours."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml

from overwinter.energy import open_meter, probe
from overwinter.energy.hwmon import hwmon_status, open_hwmon
from overwinter.energy.sources import open_channels


class HwmonTree:
    """A hwmon tree in a folder."""

    def __init__(self, root: Path) -> None:
        self.root = root
        root.mkdir(exist_ok=True)

    def chip(self, name: str, **files: Any) -> Path:
        folder = self.root / f"hwmon{len(list(self.root.iterdir()))}"
        folder.mkdir()
        for file, content in {"name": name, **files}.items():
            (folder / file).write_text(f"{content}\n")
        return folder

    def rails(self, *rails: tuple[str, int, int]) -> Path:
        """An INA3221: (label, millivolts, milliamperes) of each channel, and its shunts, which are no rails."""
        files: dict[str, Any] = {"in4_input": 40_000, "in7_input": 90_000, "in7_label": "sum of shunt voltages"}
        for place, (label, voltage_mv, current_ma) in enumerate(rails, start=1):
            files |= {f"in{place}_label": label, f"in{place}_input": voltage_mv, f"curr{place}_input": current_ma}
        return self.chip("ina3221", **files, curr4_input=99_999)


@pytest.fixture
def hwmon(opening: Any) -> HwmonTree:
    """An empty tree, which `energy.hwmon_root` names."""
    opening.energy.sources = ["rapl", "hwmon", "modelled"]
    return HwmonTree(Path(opening.energy.hwmon_root))


def opened(opening: Any) -> list[tuple[str, str]]:
    return [(channel.device, channel.source) for channel in open_channels(opening)]


def drawn_j(hand_driven: Any, opening: Any, clock: Any, seconds: int = 10) -> Any:
    meter = hand_driven(open_hwmon(opening), opening).start()
    for _ in range(seconds * 10):
        clock.forward(0.1)
        meter.tick()
    return meter.close()


def test_the_rail_of_the_whole_board_contains_the_others(
    hwmon: HwmonTree, opening: Any, hand_driven: Any, clock: Any
) -> None:
    hwmon.rails(("VDD_IN", 5000, 2400), ("VDD_CPU_GPU_CV", 5000, 900), ("VDD_SOC", 5000, 500))
    report = drawn_j(hand_driven, opening, clock)
    (part,) = report.components
    assert (part.device, part.source) == ("machine:vdd_in", "hwmon")
    assert report.energy_j == pytest.approx(120)
    assert report.measured_fraction == 1
    assert part.uncertainty_j == pytest.approx(12, rel=0.05)


def test_known_rails_add_up_to_a_board_without_such_a_rail(
    hwmon: HwmonTree, opening: Any, hand_driven: Any, clock: Any
) -> None:
    hwmon.rails(("VDD_GPU_SOC", 20_000, 500), ("VDD_CPU_CV", 20_000, 250), ("VIN_SYS_5V0", 5000, 800))
    hwmon.rails(("NC", 20_000, 1), ("VDDQ_VDD2_1V8AO", 5000, 300), ("NC", 20_000, 1))
    report = drawn_j(hand_driven, opening, clock)
    assert report.energy_j == pytest.approx((10 + 5 + 4) * 10)  # the memory's rail is fed by that of 5 V
    assert len(report.components) == 3


def test_rails_of_unknown_place_are_left_to_the_model(hwmon: HwmonTree, opening: Any) -> None:
    hwmon.rails(("VDD_CAMERA", 5000, 100), ("VDD_GPU_SOC", 5000, 100), ("VDD_FAN", 12_000, 100))
    hwmon.chip("ina238", power1_input=5_000_000)
    hwmon.chip("amdgpu", power1_average=30_000_000, power1_label="PPT")
    assert opened(opening) == [("cpu", "modelled"), ("ram", "modelled")]
    available, reason, _ = hwmon_status(hwmon.root)
    assert not available
    assert "VDD_CAMERA" in reason


def test_a_meter_of_the_whole_machine_leaves_nothing_to_add(hwmon: HwmonTree, opening: Any) -> None:
    legacy = hwmon.chip("", power9_cap="1")
    (legacy / "name").unlink()
    (legacy / "device").mkdir()
    for file, content in {
        "name": "power_meter",
        "power1_average": 250_000_000,
        "power1_average_interval": 1000,
    }.items():
        (legacy / "device" / file).write_text(str(content))
    (channel,) = open_channels(opening)
    assert (channel.device, channel.source) == ("machine", "hwmon")
    assert channel._gauges[0].edge_s == 1.0
    assert opening.covered >= {"cpu", "ram", "gpu"}


def test_beside_measured_packages_a_whole_machine_is_not_added(hwmon: HwmonTree, powercap: Any, opening: Any) -> None:
    hwmon.rails(("VDD_IN", 5000, 2400))
    powercap.zone("intel-rapl:0", "package-0")
    assert opened(opening) == [("cpu:package-0", "rapl"), ("ram", "modelled")]


def test_the_order_of_the_sources_decides_which_of_them_counts(hwmon: HwmonTree, powercap: Any, opening: Any) -> None:
    opening.energy.sources = ["hwmon", "rapl", "modelled"]
    hwmon.rails(("VDD_IN", 5000, 2400))
    powercap.zone("intel-rapl:0", "package-0")
    powercap.zone("intel-rapl:0:0", "dram")
    assert opened(opening) == [("machine:vdd_in", "hwmon")]


def test_a_measured_board_takes_the_place_of_a_gpu_that_is_only_assumed(
    nvml: Any, hwmon: HwmonTree, opening: Any
) -> None:
    opening.energy.sources = ["nvml", "hwmon", "modelled"]
    hwmon.rails(("VDD_IN", 5000, 2400))
    nvml.count = 1
    nvml.devices[0].energy_rc = nvml.devices[0].power_rc = 3  # as the GPU in a Jetson answers
    assert opened(opening) == [("machine:vdd_in", "hwmon")]
    nvml.devices[0].power_rc = 0
    opening.covered, opening.measured = set(), set()
    assert opened(opening) == [("gpu:0", "nvml-power"), ("cpu", "modelled"), ("ram", "modelled")]


def test_processor_and_memory_of_an_arm_server(hwmon: HwmonTree, opening: Any, hand_driven: Any, clock: Any) -> None:
    labels = ("power1 CORE VRD", "power2 SoC", "power3 DIMM VRD1", "power4 DIMM VRD2", "power5 RCA VRD")
    files = {f"power{place}_label": label for place, label in enumerate(labels, start=1)}
    files |= {f"power{place}_input": place * 10_000_000 for place in range(1, 6)}
    hwmon.chip("smpro_hwmon", **files, temp1_input=40_000)
    report = drawn_j(hand_driven, opening, clock)
    by_kind: dict[str, float] = {}
    for part in report.components:
        kind = part.device.partition(":")[0]
        by_kind[kind] = by_kind.get(kind, 0.0) + part.energy_j
    assert by_kind == {"cpu": pytest.approx(800), "ram": pytest.approx(700)}


def test_sockets_count_and_their_cores_do_not(hwmon: HwmonTree, opening: Any, hand_driven: Any, clock: Any) -> None:
    files: dict[str, Any] = {}
    for place, label in enumerate(("Ecore000", "Ecore001", "Esocket0", "Esocket1"), start=1):
        files |= {f"energy{place}_label": label, f"energy{place}_input": 10**9}
    chip = hwmon.chip("amd_energy", **files)
    meter = hand_driven(open_hwmon(opening), opening).start()
    for _ in range(10):
        clock.forward(0.1)
        for place in range(1, 5):
            path = chip / f"energy{place}_input"
            path.write_text(str(int(path.read_text()) + 5_000_000))
        meter.tick()
    report = meter.close()
    assert report.energy_j == pytest.approx(100)
    assert [part.device for part in report.components] == ["cpu:esocket0", "cpu:esocket1"]


def test_amd_energy_is_not_added_to_rapl(hwmon: HwmonTree, powercap: Any, opening: Any) -> None:
    hwmon.chip("amd_energy", energy1_label="Esocket0", energy1_input=10**9)
    powercap.zone("intel-rapl:0", "package-0")
    assert opened(opening)[0] == ("cpu:package-0", "rapl")
    assert not any(source == "hwmon" for _, source in opened(opening))


@pytest.mark.parametrize("content", ["", "garbage", "-7"])
def test_a_sensor_that_tells_nothing_credible_is_reported_and_not_zero(
    hwmon: HwmonTree, opening: Any, content: str
) -> None:
    hwmon.chip("power_meter", power1_average=content)
    assert opened(opening) == [("cpu", "modelled"), ("ram", "modelled")]
    assert any("power_meter gives no credible value" in text for text in opening.warnings)


def test_of_two_meters_of_the_whole_the_larger_contains_the_other(hwmon: HwmonTree, opening: Any) -> None:
    hwmon.chip("corsairpsu", power1_label="power total", power1_input=300_000_000)
    hwmon.rails(("VDD_IN", 5000, 2400))
    assert opened(opening) == [("machine:power-total", "hwmon")]
    assert any("VDD_IN is assumed to be a part" in text for text in opening.warnings)


def test_a_sensor_that_fails_in_the_middle_is_bridged_then_assumed(
    hwmon: HwmonTree, opening: Any, hand_driven: Any, clock: Any
) -> None:
    chip = hwmon.chip("power_meter", power1_average=100_000_000)
    meter = hand_driven(open_hwmon(opening), opening).start()
    for step in range(100):
        clock.forward(0.1)
        if step == 30:
            (chip / "power1_average").write_text("")  # for a moment
        if step == 33:
            (chip / "power1_average").write_text("100000000")
        if step == 60:
            (chip / "power1_average").unlink()  # for good
        meter.tick()
    report = meter.close()
    assert report.energy_j == pytest.approx(1000, rel=0.01)
    assert report.measured_fraction == pytest.approx(0.6, abs=0.02)
    assert any("hwmon failed" in text for text in report.warnings)


def test_a_negative_current_is_one_all_the_same(hwmon: HwmonTree, opening: Any, hand_driven: Any, clock: Any) -> None:
    hwmon.rails(("VDD_IN", 5000, -2000))
    assert drawn_j(hand_driven, opening, clock).energy_j == pytest.approx(100)


def test_the_doctor_names_it(hwmon: HwmonTree, opening: Any, energy_config: Any, hardware_config: Any) -> None:
    hwmon.rails(("VDD_IN", 5000, 2400))
    (status,) = [each for each in probe(energy_config, hardware_config) if each.name == "hwmon"]
    assert status.available
    assert "machine:vdd_in (ina3221)" in status.reason


def test_the_command_measures_a_board(hwmon: HwmonTree, opening: Any, tmp_path: Path) -> None:
    hwmon.rails(("VDD_IN", 5000, 2400), ("VDD_SOC", 5000, 500))
    groups = {"energy": vars(opening.energy), "hardware": vars(opening.hardware)}
    (tmp_path / ".dvc").mkdir()
    (tmp_path / "params.yaml").write_text(yaml.safe_dump(groups))
    command = [sys.executable, "-m", "overwinter.cli", "measure", "--json", "--", "sleep", "1"]
    done = subprocess.run(command, capture_output=True, text=True, check=True, cwd=tmp_path)
    report = json.loads(done.stderr)
    assert [part["device"] for part in report["components"]] == ["machine:vdd_in"]
    assert report["energy_j"] == pytest.approx(12 * report["duration_s"], rel=0.01)


def test_windows_of_a_running_meter_add_up(hwmon: HwmonTree, energy_config: Any, hardware_config: Any) -> None:
    hwmon.rails(("VDD_IN", 5000, 2400))
    energy_config.sources = ["hwmon"]
    with open_meter(energy_config, hardware_config) as meter:
        parts = [meter.window(str(index)).close().energy_j for index in range(5)]
        assert sum(parts) <= meter.read().energy_j
