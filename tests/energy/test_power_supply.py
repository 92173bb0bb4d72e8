"""A laptop's batteries, on a folder tree: the whole machine while they give power, and nothing otherwise."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from overwinter.energy import probe
from overwinter.energy.power_supply import Supplies, open_power_supply, power_supply_status
from overwinter.energy.sources import open_channels

DISCHARGING = {"type": "Battery", "status": "Discharging", "present": 1}


class SupplyTree:
    """A power_supply tree in a folder."""

    def __init__(self, root: Path) -> None:
        self.root = root
        root.mkdir(exist_ok=True)

    def add(self, name: str, **files: Any) -> Path:
        folder = self.root / name
        folder.mkdir()
        for file, content in files.items():
            (folder / file).write_text(f"{content}\n")
        return folder


@pytest.fixture
def supplies(opening: Any) -> SupplyTree:
    """An empty tree, which `energy.power_supply_root` names."""
    opening.energy.sources = ["rapl", "hwmon", "power-supply", "modelled"]
    return SupplyTree(Path(opening.energy.power_supply_root))


def opened(opening: Any) -> list[tuple[str, str]]:
    return [(channel.device, channel.source) for channel in open_channels(opening)]


def run(meter: Any, clock: Any, seconds: float) -> None:
    for _ in range(round(seconds * 10)):
        clock.forward(0.1)
        meter.tick()


@pytest.mark.parametrize(
    "tells",
    [
        {"power_now": 12_000_000},
        {"power_now": -12_000_000},  # some drivers count what is drawn as negative
        {"current_now": 1_000_000, "voltage_now": 12_000_000},
        {"current_now": -1_000_000, "voltage_now": 12_000_000},
        {"power_now": 0, "current_now": 1_000_000, "voltage_now": 12_000_000},
        {"power_now": "", "current_now": 1_000_000, "voltage_now": 12_000_000},
    ],
)
def test_a_battery_that_gives_power_tells_the_whole_machine(
    supplies: SupplyTree, opening: Any, hand_driven: Any, clock: Any, tells: dict[str, Any]
) -> None:
    supplies.add("BAT0", **DISCHARGING, **tells)
    supplies.add("AC", type="Mains", online=0)
    meter = hand_driven(open_power_supply(opening), opening).start()
    run(meter, clock, 30)
    report = meter.close()
    assert report.energy_j == pytest.approx(360)
    (part,) = report.components
    assert (part.device, part.source) == ("machine", "power-supply")
    assert report.measured_fraction == 1


def test_it_covers_what_would_be_modelled(supplies: SupplyTree, opening: Any) -> None:
    supplies.add("BAT0", **DISCHARGING, power_now=12_000_000)
    assert opened(opening) == [("machine", "power-supply")]


def test_it_is_not_added_to_a_measured_package(supplies: SupplyTree, powercap: Any, opening: Any) -> None:
    supplies.add("BAT0", **DISCHARGING, power_now=12_000_000)
    powercap.zone("intel-rapl:0", "package-0")
    assert opened(opening) == [("cpu:package-0", "rapl"), ("ram", "modelled")]


@pytest.mark.parametrize(
    ("battery", "others", "reason"),
    [
        ({"status": "Charging"}, {}, "no battery is discharging (Charging)"),
        ({"status": "Full"}, {}, "no battery is discharging (Full)"),
        ({"status": "Not charging"}, {}, "Not charging"),
        ({"status": "Unknown"}, {}, "Unknown"),
        ({"status": ""}, {}, "unknown state"),
        ({"status": "Discharging"}, {"AC": {"type": "Mains", "online": 1}}, "mains power"),
        ({"status": "Discharging"}, {"ucsi": {"type": "USB", "online": 1}}, "mains power"),
        ({"status": "Discharging"}, {"BAT1": {"type": "Battery", "status": "Charging"}}, "Charging"),
    ],
)
def test_on_mains_power_a_battery_tells_nothing_and_that_is_reported(
    supplies: SupplyTree, opening: Any, battery: dict[str, Any], others: dict[str, Any], reason: str
) -> None:
    supplies.add("BAT0", **{**DISCHARGING, "power_now": 12_000_000, **battery})
    for name, files in others.items():
        supplies.add(name, **files)
    assert opened(opening) == [("cpu", "modelled"), ("ram", "modelled")]
    assert any(reason in text for text in opening.warnings)
    available, reported, remedy = power_supply_status(supplies.root)
    assert (available, reason in reported) == (False, True)
    assert "unplug" in remedy


def test_batteries_of_mice_and_empty_bays_are_none(supplies: SupplyTree, opening: Any) -> None:
    supplies.add("hidpp_battery_0", **DISCHARGING, scope="Device", power_now=12_000_000)
    supplies.add("BAT1", **{**DISCHARGING, "present": 0}, power_now=12_000_000)
    supplies.add("mouse-charger", type="USB", online=1, scope="Device")
    assert opened(opening) == [("cpu", "modelled"), ("ram", "modelled")]
    assert "no battery" in power_supply_status(supplies.root)[1]
    assert opening.warnings == []


def test_several_batteries_add_up_whichever_gives_power(
    supplies: SupplyTree, opening: Any, hand_driven: Any, clock: Any
) -> None:
    first = supplies.add("BAT0", **DISCHARGING, power_now=8_000_000)
    second = supplies.add("BAT1", **{**DISCHARGING, "status": "Not charging"}, power_now=0)
    meter = hand_driven(open_power_supply(opening), opening).start()
    run(meter, clock, 10)
    assert meter.read().energy_j == pytest.approx(80)
    (second / "status").write_text("Discharging")
    (second / "power_now").write_text("4000000")
    window = meter.window("both")
    run(meter, clock, 10)
    assert window.close().energy_j == pytest.approx(120, rel=0.01)
    (first / "status").write_text("Not charging")
    window = meter.window("the other")
    run(meter, clock, 10)
    assert window.close().energy_j == pytest.approx(40, rel=0.02)


def test_mains_power_in_the_middle_is_a_gap_that_is_reported_and_it_goes_on_after(
    supplies: SupplyTree, opening: Any, hand_driven: Any, clock: Any
) -> None:
    battery = supplies.add("BAT0", **DISCHARGING, power_now=10_000_000)
    mains = supplies.add("AC", type="Mains", online=0)
    meter = hand_driven(open_power_supply(opening), opening).start()
    run(meter, clock, 20)
    (mains / "online").write_text("1")
    (battery / "status").write_text("Charging")
    (battery / "power_now").write_text("45000000")  # what flows into it, which is not what is drawn
    run(meter, clock, 10)
    (mains / "online").write_text("0")
    (battery / "status").write_text("Discharging")
    (battery / "power_now").write_text("10000000")
    run(meter, clock, 20)
    report = meter.close()
    assert report.energy_j == pytest.approx(500, rel=0.01)
    assert report.measured_fraction == pytest.approx(0.8, abs=0.01)
    assert any("mains power" in text and "last known power" in text for text in report.warnings)


@pytest.mark.parametrize(
    ("level", "fallen"),
    [
        ({"energy_now": 50_000_000}, {"energy_now": 49_900_000}),  # 0.1 Wh
        (
            {"charge_now": 5_000_000, "voltage_min_design": 10_000_000, "voltage_now": 11_000_000},
            {"charge_now": 4_990_000, "voltage_now": 12_500_000},  # the voltage moves with the load
        ),
    ],
)
def test_where_no_power_is_reported_the_level_is(
    supplies: SupplyTree, opening: Any, hand_driven: Any, clock: Any, level: dict[str, int], fallen: dict[str, int]
) -> None:
    battery = supplies.add("BAT0", **DISCHARGING, **level)
    meter = hand_driven(open_power_supply(opening), opening).start()
    run(meter, clock, 30)
    for file, content in fallen.items():
        (battery / file).write_text(str(content))
    run(meter, clock, 1)
    report = meter.close()
    assert report.energy_j == pytest.approx(360)
    assert report.components[0].source == "power-supply"
    assert any("too short for power-supply" in text for text in report.warnings)


def test_batteries_that_tell_nothing_are_reported(supplies: SupplyTree, opening: Any) -> None:
    supplies.add("BAT0", **DISCHARGING)
    assert opened(opening) == [("cpu", "modelled"), ("ram", "modelled")]
    assert any("neither power nor remaining energy" in text for text in opening.warnings)


def test_the_doctor_names_it(supplies: SupplyTree, energy_config: Any, hardware_config: Any) -> None:
    supplies.add("BAT0", **DISCHARGING, power_now=12_000_000)
    (status,) = [each for each in probe(energy_config, hardware_config) if each.name == "power-supply"]
    assert status.available
    assert "BAT0" in status.reason


@settings(max_examples=50, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(files=st.dictionaries(st.sampled_from(["type", "status", "online", "power_now", "current_now", "voltage_now",
    "energy_now", "charge_now", "present", "scope"]), st.binary(max_size=8)))  # fmt: skip
def test_whatever_the_files_hold_nothing_is_raised_but_what_is_reported(
    tmp_path_factory: pytest.TempPathFactory, files: dict[str, bytes]
) -> None:
    folder = tmp_path_factory.mktemp("supply") / "BAT0"
    folder.mkdir()
    for file, content in files.items():
        (folder / file).write_bytes(content)
    supplies = Supplies(folder.parent)
    assert isinstance(supplies.hindrance, str)
    for read in (supplies.power_w, supplies.left_uj):
        try:
            assert read() >= 0
        except (OSError, ValueError):
            continue
