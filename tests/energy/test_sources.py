"""Sources are tried in order, no part is counted twice, and third parties add their own by entry point."""

from __future__ import annotations

import importlib.metadata
from typing import Any

import pytest

from overwinter.config.groups.energy import check_energy
from overwinter.energy import Channel, Increment, Opening, open_meter
from overwinter.energy.sources import open_channels


def devices(opening: Any) -> list[str]:
    return [channel.device for channel in open_channels(opening)]


def test_packages_leave_only_memory_to_the_model(powercap: Any, opening: Any) -> None:
    powercap.zone("intel-rapl:0", "package-0")
    assert devices(opening) == ["cpu:package-0", "ram"]


def test_memory_zones_leave_nothing_to_the_model(powercap: Any, opening: Any) -> None:
    powercap.zone("intel-rapl:0", "package-0")
    powercap.zone("intel-rapl:0:0", "dram")
    assert devices(opening) == ["cpu:package-0", "ram:package-0"]


def test_psys_contains_cpu_and_memory(powercap: Any, opening: Any) -> None:
    powercap.zone("intel-rapl:0", "psys")
    assert devices(opening) == ["platform"]


def test_the_order_decides(powercap: Any, opening: Any) -> None:
    powercap.zone("intel-rapl:0", "package-0")
    opening.energy.sources = ["modelled"]
    assert devices(opening) == ["cpu", "ram"]


class WallPlug:
    """A third party's gauge: a socket meter of 42 W."""

    source = "wall-plug"
    relative_uncertainty = 0.02
    edge_s = 0.0
    max_interval_s = float("inf")

    def start(self, now_s: float) -> None:
        self.now_s = now_s

    def advance(self, now_s: float, *, edge: bool) -> Increment:
        elapsed_s, self.now_s = now_s - self.now_s, now_s
        return Increment(energy_uj=round(42e6 * elapsed_s))

    def power_w(self) -> float:
        return 42.0

    def limit_w(self) -> None:
        return None


def open_wall_plug(opening: Opening) -> list[Channel]:
    return [Channel(device="platform", gauges=[WallPlug()], guess_w=42, held_uncertainty=0.4, warn=opening.warn)]


def test_an_entry_point_is_a_source_like_any_other(
    energy_config: Any, hardware_config: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Point:
        name = "wall_plug"

        def load(self) -> Any:
            return open_wall_plug

    monkeypatch.setattr(importlib.metadata, "entry_points", lambda group: [Point()])
    energy_config.sources = ["wall_plug", "modelled"]
    check_energy(energy_config)
    with open_meter(energy_config, hardware_config) as meter:
        report = meter.read()
    (part,) = report.components
    assert (part.device, part.source) == ("platform", "wall-plug")
    assert part.average_w == pytest.approx(42, rel=0.01)
    assert report.measured_fraction == 1
