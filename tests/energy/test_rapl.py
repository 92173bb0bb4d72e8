"""RAPL through sysfs trees in temporary folders: each joule once, exact over wraps, never silently zero."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from overwinter.energy import open_meter
from overwinter.energy.rapl import choose, find_zones, open_rapl, rapl_status


def devices(root: Path) -> list[str]:
    return sorted(zone.device for zone in choose(find_zones(root)))


def write(zone: Path, energy_uj: int) -> None:
    (zone / "energy_uj").write_text(f"{energy_uj}\n")


def test_packages_and_memory_count_once(powercap: Any) -> None:
    powercap.zone("intel-rapl:0", "package-0")
    powercap.zone("intel-rapl:0:0", "core")
    powercap.zone("intel-rapl:0:1", "dram")
    powercap.zone("intel-rapl:1", "package-1")
    powercap.zone("intel-rapl:2", "psys")
    powercap.zone("intel-rapl-mmio:0", "package-0")
    assert devices(powercap.root) == ["cpu:package-0", "cpu:package-1", "ram:package-0"]
    assert all("mmio" not in str(zone.folder) for zone in choose(find_zones(powercap.root)))


def test_the_nested_form_of_the_tree_gives_the_same(powercap: Any) -> None:
    powercap.zone("intel-rapl/intel-rapl:0", "package-0")
    powercap.zone("intel-rapl/intel-rapl:0/intel-rapl:0:0", "dram")
    powercap.zone("intel-rapl/intel-rapl:0/intel-rapl:0:1", "uncore")
    assert devices(powercap.root) == ["cpu:package-0", "ram:package-0"]


def test_linked_and_nested_at_once_count_once(powercap: Any) -> None:
    nested = powercap.zone("devices/intel-rapl/intel-rapl:0", "package-0")
    (powercap.root / "intel-rapl:0").symlink_to(nested)
    assert devices(powercap.root) == ["cpu:package-0"]


def test_psys_serves_only_where_no_package_does(powercap: Any) -> None:
    powercap.zone("intel-rapl:1", "psys")
    powercap.zone("intel-rapl:2", "dram")
    assert devices(powercap.root) == ["platform"]


def test_memory_mapped_zones_serve_where_they_are_the_only_ones(powercap: Any) -> None:
    powercap.zone("intel-rapl-mmio:0", "package-0")
    assert devices(powercap.root) == ["cpu:package-0"]


def test_three_wraps_are_exact_to_the_microjoule(powercap: Any, opening: Any, hand_driven: Any, clock: Any) -> None:
    turn_uj, power_uw, true_uj = 262_143_328_850, 287_654_321, 262_000_000_017
    zone = powercap.zone("intel-rapl:0", "package-0", energy_uj=true_uj, range_uj=turn_uj)
    first_uj = true_uj
    meter = hand_driven(open_rapl(opening), opening).start()
    window = meter.window("long")
    while true_uj - first_uj < 3.5 * turn_uj:
        clock.forward(7.3)
        true_uj += power_uw * 73 // 10 + 1
        write(zone, true_uj % turn_uj)
        meter.tick()
    report = window.close()
    assert round(report.energy_j * 1e6) == true_uj - first_uj
    assert report.components[0].source == "rapl"
    assert report.measured_fraction == 1.0
    assert not report.warnings


@settings(max_examples=25, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_nested_and_overlapping_windows_are_exact(
    data: st.DataObject, tmp_path_factory: pytest.TempPathFactory, opening: Any, hand_driven: Any, clock: Any
) -> None:
    root = tmp_path_factory.mktemp("powercap")
    zone = root / "intel-rapl:0"
    zone.mkdir()
    turn_uj = data.draw(st.integers(10_000_000_000, 300_000_000_000))
    true_uj = data.draw(st.integers(0, turn_uj - 1))
    (zone / "name").write_text("package-0")
    (zone / "max_energy_range_uj").write_text(str(turn_uj))
    write(zone, true_uj)
    opening.energy.rapl_root = str(root)
    meter = hand_driven(open_rapl(opening), opening).start()
    opened: list[tuple[Any, int]] = []
    for _ in range(data.draw(st.integers(1, 12))):
        opened.append((meter.window("w"), true_uj))
        clock.forward(1.5)
        true_uj += data.draw(st.integers(0, 2_000_000_000))
        write(zone, true_uj % turn_uj)
        if data.draw(st.booleans()):
            meter.tick()
        which, before_uj = data.draw(st.sampled_from(opened))
        assert round(which.read().energy_j * 1e6) == true_uj - before_uj
    for window, before_uj in opened:
        assert round(window.close().energy_j * 1e6) == true_uj - before_uj


def test_a_counter_that_jumps_back_is_reported_and_filled(
    powercap: Any, opening: Any, hand_driven: Any, clock: Any
) -> None:
    zone = powercap.zone("intel-rapl:0", "package-0", energy_uj=90_000_000_000)
    meter = hand_driven(open_rapl(opening), opening).start()
    for step in range(1, 11):
        clock.forward(1.0)
        write(zone, 90_000_000_000 + step * 50_000_000)  # 50 W
        meter.tick()
    clock.forward(1.0)
    write(zone, 12)
    report = meter.read()
    by_source = {part.source: part.energy_j for part in report.components}
    assert by_source["rapl"] == pytest.approx(500.0)
    assert by_source["modelled"] == pytest.approx(50.0)  # the lost second, at the last known power
    assert any("jumped from 90500000000 to 12" in text for text in report.warnings)
    assert 0.9 < report.measured_fraction < 1.0


def test_a_counter_that_becomes_unreadable_is_filled_with_a_warning(
    powercap: Any, opening: Any, hand_driven: Any, clock: Any
) -> None:
    zone = powercap.zone("intel-rapl:0", "package-0")
    meter = hand_driven(open_rapl(opening), opening).start()
    for step in range(1, 4):
        clock.forward(1.0)
        write(zone, step * 80_000_000)
        meter.tick()
    (zone / "energy_uj").unlink()
    window = meter.window("after")
    clock.forward(10.0)
    report = window.close()
    assert report.energy_j == pytest.approx(800.0)
    assert report.components[-1].source == "modelled"
    assert report.uncertainty_j == pytest.approx(0.4 * 800.0, rel=0.01)
    assert any("rapl failed" in text for text in meter.read().warnings)


def test_a_package_that_never_moves_is_a_failure_not_zero(
    powercap: Any, opening: Any, hand_driven: Any, clock: Any
) -> None:
    powercap.zone("intel-rapl:0", "package-0", energy_uj=17)
    meter = hand_driven(open_rapl(opening), opening).start()
    for _ in range(60):
        clock.forward(0.2)
        meter.tick()
    report = meter.read()
    assert report.energy_j > 0
    assert report.measured_fraction == 0
    assert any("stood still" in text for text in report.warnings)


def test_counters_that_may_not_be_read_are_reported(
    powercap: Any, opening: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    zone = powercap.zone("intel-rapl:0", "package-0")
    (zone / "energy_uj").write_text("denied")  # root reads through any mode, so an unreadable number stands in
    assert open_rapl(opening) == []
    assert "may not be read" in opening.warnings[0]
    available, reason, remedy = rapl_status(powercap.root)
    assert (available, "none readable" in reason) == (False, True)
    assert "chmod" in remedy


def test_the_sampler_thread_catches_wraps_by_itself(powercap: Any, energy_config: Any, hardware_config: Any) -> None:
    turn_uj = 60_000_000  # at 1500 W the shortest wrap takes 40 ms, so the sampler polls every 10 ms
    zone = powercap.zone("intel-rapl:0", "package-0", range_uj=turn_uj)
    energy_config.sources = ["rapl"]
    with open_meter(energy_config, hardware_config) as meter:
        assert meter._sampler is not None
        assert meter._sampler._interval_s == pytest.approx(0.01)
        window, true_uj, begun_s = meter.window("wraps"), 0, time.monotonic()
        while true_uj < 3.2 * turn_uj:
            elapsed_uj = int((time.monotonic() - begun_s) * 150e6)  # 150 W
            true_uj = elapsed_uj
            aside = zone / "aside"
            aside.write_text(str(true_uj % turn_uj))
            aside.replace(zone / "energy_uj")
            time.sleep(0.002)
        report = window.close()
    assert round(report.energy_j * 1e6) == true_uj or report.warnings  # a starved machine must at least say so
    assert len(meter.samples) > 20
