"""RAPL through sysfs trees in temporary folders: each joule once, exact over wraps, never silently zero."""

from __future__ import annotations

import contextlib
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from overwinter.energy import open_meter
from overwinter.energy.rapl import open_rapl, rapl_status
from overwinter.energy.rapl_zones import choose, find_zones


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


def test_the_nested_variant_of_the_tree_gives_the_same(powercap: Any) -> None:
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
        true_uj += data.draw(st.integers(1, 2_000_000_000))
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
    assert any("has not changed for" in text for text in report.warnings)


def test_counters_that_may_not_be_read_are_reported(
    powercap: Any, opening: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    zone = powercap.zone("intel-rapl:0", "package-0")
    (zone / "energy_uj").write_text("denied")  # root reads through any mode, so an unreadable number stands in
    assert open_rapl(opening) == []
    assert "cannot be read" in opening.warnings[0]
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
            staging = zone / "aside"
            staging.write_text(str(true_uj % turn_uj))
            staging.replace(zone / "energy_uj")
            time.sleep(0.002)
        report = window.close()
    assert round(report.energy_j * 1e6) == true_uj or report.warnings  # a starved machine must at least say so
    assert len(meter.samples) > 20


@contextlib.contextmanager
def running(*counters: tuple[Path, int, float]) -> Iterator[None]:
    """Let counters run, each from its start in microjoules at its watts, as a kernel does."""
    stop, begun_s = threading.Event(), time.monotonic()

    def run() -> None:
        while not stop.wait(0.001):
            since_s = time.monotonic() - begun_s
            for zone, start_uj, power_w in counters:
                (zone / "aside").write_text(str(start_uj + int(power_w * 1e6 * since_s)))
                (zone / "aside").replace(zone / "energy_uj")

    thread = threading.Thread(target=run)
    thread.start()
    time.sleep(0.01)
    try:
        yield
    finally:
        stop.set()
        thread.join()


def drawn(meter: Any, clock: Any, zones: dict[Path, float], *, seconds: int) -> None:
    """Let zones draw for some time, in ticks of 0.1 s."""
    for _ in range(seconds * 10):
        clock.forward(0.1)
        for zone, power_w in zones.items():
            write(zone, int((zone / "energy_uj").read_text()) + int(power_w * 1e5))
        meter.tick()


def test_a_package_that_may_not_be_read_is_named_filled_in_and_not_called_measured(
    powercap: Any, opening: Any, hand_driven: Any, clock: Any
) -> None:
    first = powercap.zone("intel-rapl:0", "package-0")
    second = powercap.zone("intel-rapl:1", "package-1")
    (second / "energy_uj").unlink()
    (second / "energy_uj").mkdir()
    meter = hand_driven(open_rapl(opening), opening).start()
    drawn(meter, clock, {first: 68.0}, seconds=10)
    report = meter.read()
    by_device = {part.device: part for part in report.components}
    assert by_device["cpu:package-0"].energy_j == pytest.approx(680)
    assert by_device["cpu:package-1"].energy_j == pytest.approx(680)
    assert by_device["cpu:package-1"].source == "modelled"
    assert by_device["cpu:package-1"].uncertainty_j == pytest.approx(680)  # nothing says how the work is spread
    assert report.measured_fraction == pytest.approx(0.5)
    assert any("cpu:package-1 (intel-rapl:1)" in text and "cannot be read" in text for text in report.warnings)
    available, reason, remedy = rapl_status(powercap.root)
    assert available
    assert "intel-rapl:1" in reason
    assert "chmod" in remedy


def test_memory_that_may_be_read_alone_counts_and_the_package_is_left_to_the_next_source(
    powercap: Any, opening: Any
) -> None:
    package = powercap.zone("intel-rapl:0", "package-0")
    (package / "energy_uj").write_text("")
    powercap.zone("intel-rapl:0:0", "dram")
    powercap.zone("intel-rapl:0:1", "core")  # inside the package, and no measure of it
    assert [channel.device for channel in open_rapl(opening)] == ["ram:package-0"]
    assert any("cpu:package-0 (intel-rapl:0)" in text for text in opening.warnings)


def test_psys_stands_in_for_packages_of_which_one_may_not_be_read(powercap: Any, opening: Any) -> None:
    powercap.zone("intel-rapl:0", "package-0")
    (powercap.zone("intel-rapl:1", "package-1") / "energy_uj").write_text("denied")
    powercap.zone("intel-rapl:2", "psys")
    assert [channel.device for channel in open_rapl(opening)] == ["platform"]
    assert opening.warnings == []


def test_the_memory_mapped_twin_stands_in_for_a_zone_that_may_not_be_read(powercap: Any, opening: Any) -> None:
    (powercap.zone("intel-rapl:0", "package-0") / "energy_uj").write_text("denied")
    powercap.zone("intel-rapl-mmio:0", "package-0")
    assert [channel.device for channel in open_rapl(opening)] == ["cpu:package-0"]
    assert opening.warnings == []


@pytest.mark.parametrize("content", [None, b"", b"\xff\xfe\n"])
def test_zones_without_a_usable_name_count_by_their_folder(powercap: Any, opening: Any, content: bytes | None) -> None:
    zones = [powercap.zone("intel-rapl:0", "package-0"), powercap.zone("intel-rapl:1", "?")]
    inside = powercap.zone("intel-rapl:1:0", "?")
    twin = powercap.zone("intel-rapl-mmio:1", "?")
    for zone in (zones[1], inside, twin):
        (zone / "name").unlink()
        if content is not None:
            (zone / "name").write_bytes(content)
    found = [channel.device for channel in open_rapl(opening)]
    assert found[0] == "cpu:package-0"
    assert len(found) == 2  # the subzone lies inside, the twin is the same
    if not content:
        assert found[1] == "cpu:intel-rapl:1"
        assert any("intel-rapl:1 has no name" in text for text in opening.warnings)


def test_the_eleventh_package_is_a_and_is_found(powercap: Any) -> None:
    for place in ("0", "9", "a", "10"):
        powercap.zone(f"intel-rapl:{place}", f"package-{int(place, 16)}")
    found = [zone.device for zone in choose(find_zones(powercap.root))]
    assert found == ["cpu:package-0", "cpu:package-9", "cpu:package-10", "cpu:package-16"]


def test_links_in_circles_as_in_sysfs_count_once(powercap: Any) -> None:
    real = powercap.zone("devices/intel-rapl/intel-rapl:0", "package-0")
    inside = powercap.zone("devices/intel-rapl/intel-rapl:0/intel-rapl:0:0", "dram")
    (powercap.root / "intel-rapl:0").symlink_to(real)
    (powercap.root / "intel-rapl:0:0").symlink_to(inside)
    (real / "subsystem").symlink_to(powercap.root)
    (inside / "device").symlink_to(real)
    assert devices(powercap.root) == ["cpu:package-0", "ram:package-0"]


def test_a_masked_tree_of_dangling_links_is_no_zone(powercap: Any) -> None:
    (powercap.root / "intel-rapl:0").symlink_to(powercap.root / "masked")
    assert find_zones(powercap.root) == []


def test_dies_that_show_one_counter_count_once(powercap: Any, energy_config: Any, hardware_config: Any) -> None:
    dies = [powercap.zone(f"intel-rapl:{die}", f"package-0-die-{die}", energy_uj=10**6) for die in range(4)]
    energy_config.sources = ["rapl"]
    with running(*((die, 10**6, 68.0) for die in dies)), open_meter(energy_config, hardware_config) as meter:
        time.sleep(0.6)
        report = meter.read()
    assert report.energy_j == pytest.approx(68 * report.duration_s, rel=0.1)
    assert report.measured_fraction == 1


def test_dies_with_counters_of_their_own_count_each(powercap: Any, energy_config: Any, hardware_config: Any) -> None:
    dies = [powercap.zone(f"intel-rapl:{die}", f"package-0-die-{die}", energy_uj=10**6) for die in range(2)]
    energy_config.sources = ["rapl"]
    with (
        running((dies[0], 10**6, 30.0), (dies[1], 3 * 10**6, 40.0)),
        open_meter(energy_config, hardware_config) as meter,
    ):
        time.sleep(0.6)
        report = meter.read()
    assert report.energy_j == pytest.approx(70 * report.duration_s, rel=0.1)


def test_packages_that_draw_alike_are_two(powercap: Any, opening: Any, hand_driven: Any, clock: Any) -> None:
    zones = {powercap.zone(f"intel-rapl:{each}", f"package-{each}"): 68.0 for each in range(2)}
    meter = hand_driven(open_rapl(opening), opening).start()
    drawn(meter, clock, zones, seconds=5)
    assert meter.read().energy_j == pytest.approx(680)


def test_dies_that_stand_still_at_first_are_distinguished_later_and_nothing_is_lost(
    powercap: Any, opening: Any, hand_driven: Any, clock: Any
) -> None:
    one = powercap.zone("intel-rapl:0", "package-0-die-0")
    two = powercap.zone("intel-rapl:1", "package-0-die-1")
    meter = hand_driven(open_rapl(opening), opening).start()
    drawn(meter, clock, {one: 30.0, two: 40.0}, seconds=5)
    assert meter.read().energy_j == pytest.approx(350)


def test_dies_that_stand_still_at_first_and_mirror_each_other_then(
    powercap: Any, opening: Any, hand_driven: Any, clock: Any
) -> None:
    dies = {powercap.zone(f"intel-rapl:{die}", f"package-0-die-{die}"): 68.0 for die in range(2)}
    meter = hand_driven(open_rapl(opening), opening).start()
    drawn(meter, clock, dies, seconds=5)
    report = meter.read()
    assert report.energy_j == pytest.approx(340)
    assert report.uncertainty_j == pytest.approx(0.15 * 340, rel=0.5)


def test_old_kernels_call_all_dies_alike(powercap: Any) -> None:
    powercap.zone("intel-rapl:0", "package-0")
    powercap.zone("intel-rapl:1", "package-0")
    assert devices(powercap.root) == ["cpu:package-0", "cpu:package-0-intel-rapl:1"]


@pytest.mark.parametrize("expected", ["denied", "0", "-1", "", "17"])  # the last one is less than the counter
def test_a_range_that_is_not_reported_or_wrong_costs_no_joule(
    powercap: Any, opening: Any, hand_driven: Any, clock: Any, expected: str
) -> None:
    zone = powercap.zone("intel-rapl:0", "package-0", energy_uj=10**6)
    (zone / "max_energy_range_uj").write_text(expected)
    meter = hand_driven(open_rapl(opening), opening).start()
    drawn(meter, clock, {zone: 10.0}, seconds=3)
    report = meter.read()
    assert report.energy_j == pytest.approx(30)
    assert report.measured_fraction == 1


@pytest.mark.parametrize("turn_uj", [65_532_610_987, 262_143_328_850])
def test_a_wrap_is_recognized_without_its_range(
    powercap: Any, opening: Any, hand_driven: Any, clock: Any, turn_uj: int
) -> None:
    start_uj = turn_uj - 15_000_000
    zone = powercap.zone("intel-rapl:0", "package-0", energy_uj=start_uj)
    (zone / "max_energy_range_uj").unlink()
    meter = hand_driven(open_rapl(opening), opening).start()
    for step in range(1, 31):
        clock.forward(0.1)
        write(zone, (start_uj + step * 1_000_000) % turn_uj)
        meter.tick()
    report = meter.read()
    assert report.energy_j == pytest.approx(30)
    assert report.measured_fraction == 1
    assert any("taken as a wrap" in text for text in report.warnings)
    assert any("intel-rapl:0" in text and "range" in text for text in report.warnings)


@pytest.mark.parametrize("garbage", [b"", b"12x4\n", b"\xff\xff", b"-5"])
def test_a_reading_that_fails_in_passing_loses_nothing(
    powercap: Any, opening: Any, hand_driven: Any, clock: Any, garbage: bytes
) -> None:
    zone = powercap.zone("intel-rapl:0", "package-0", energy_uj=10**6)
    meter = hand_driven(open_rapl(opening), opening).start()
    drawn(meter, clock, {zone: 50.0}, seconds=2)
    kept = (zone / "energy_uj").read_bytes()
    (zone / "energy_uj").write_bytes(garbage)
    clock.forward(0.1)
    meter.tick()
    (zone / "energy_uj").write_bytes(kept)
    drawn(meter, clock, {zone: 50.0}, seconds=2)
    report = meter.read()
    assert report.energy_j == pytest.approx(200)
    assert report.measured_fraction == 1


def test_a_package_that_vanishes_is_named_and_filled_in(
    powercap: Any, opening: Any, hand_driven: Any, clock: Any
) -> None:
    stays, goes = (powercap.zone(f"intel-rapl:{each}", f"package-{each}") for each in range(2))
    meter = hand_driven(open_rapl(opening), opening).start()
    drawn(meter, clock, {stays: 50.0, goes: 30.0}, seconds=2)
    goes.rename(powercap.root / "gone")
    drawn(meter, clock, {stays: 50.0}, seconds=2)
    report = meter.read()
    assert report.energy_j == pytest.approx(320, rel=0.01)
    assert report.measured_fraction < 0.9
    assert any("cpu:package-1: rapl failed" in text for text in report.warnings)


def test_a_package_that_comes_later_is_named(powercap: Any, opening: Any, hand_driven: Any, clock: Any) -> None:
    zone = powercap.zone("intel-rapl:0", "package-0")
    meter = hand_driven(open_rapl(opening), opening).start()
    powercap.zone("intel-rapl:1", "package-1")
    drawn(meter, clock, {zone: 50.0}, seconds=1)
    assert any("intel-rapl:1 appeared after the start" in text for text in meter.close().warnings)


def test_a_dead_counter_is_found_out_in_a_short_window_too(
    powercap: Any, opening: Any, hand_driven: Any, clock: Any
) -> None:
    powercap.zone("intel-rapl:0", "package-0", energy_uj=17)
    meter = hand_driven(open_rapl(opening), opening).start()
    clock.forward(0.5)
    report = meter.close()
    assert report.energy_j == pytest.approx(30)  # 60 W assumed
    assert report.measured_fraction == 0
    assert any("has not changed for" in text for text in report.warnings)


def test_a_counter_that_is_set_back_again_and_again_does_not_flood_the_record(
    powercap: Any, opening: Any, hand_driven: Any, clock: Any
) -> None:
    zone = powercap.zone("intel-rapl:0", "package-0")
    meter = hand_driven(open_rapl(opening), opening).start()
    for step in range(200):
        clock.forward(0.1)
        write(zone, 90_000_000_000 + step if step % 2 else 40_000_000_000 + step)
        meter.tick()
    assert 5 < len(meter.read().warnings) < 15
