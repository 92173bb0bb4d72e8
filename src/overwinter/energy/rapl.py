"""Package and memory energy through Linux's powercap tree (RAPL), each joule counted once.

A package contains its cores, and psys contains the packages: they are never added up. `intel-rapl-mmio` is a
second way to the same counters. https://docs.kernel.org/power/powercap/powercap.html
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path

from overwinter.energy.channel import Channel
from overwinter.energy.counter import CounterGauge
from overwinter.energy.opening import Opening
from overwinter.energy.protocols import Gauge

_ZONE = re.compile(r"(intel-rapl|intel-rapl-mmio|amd-rapl)(:\d+)+")
_PEAK_W = {
    "cpu": 1500.0,
    "ram": 500.0,
    "platform": 4000.0,
}  # no machine draws more; what would is a counter's jump
_GUESS_W = {"cpu": 60.0, "ram": 5.0, "platform": 100.0}  # only if a counter fails before it ever told a power
_REMEDY = "run as root, or let an administrator `chmod a+r` the energy_uj files (closed since CVE-2020-8694)"


@dataclass(frozen=True, kw_only=True)
class Zone:
    """A power zone with a counter.

    Attributes:
        device: `cpu:package-0`, `ram:package-0` or `platform`.
        folder: in the powercap tree.
    """

    device: str
    folder: Path

    @property
    def domain(self) -> str:
        """`cpu`, `ram` or `platform`."""
        return self.device.split(":")[0]

    @property
    def readable(self) -> bool:
        """Whether this process may read the counter."""
        try:
            self.energy_uj()
        except (OSError, ValueError):
            return False
        return True

    def energy_uj(self) -> int:
        """Read the counter, in microjoules."""
        return int((self.folder / "energy_uj").read_text())

    def range_uj(self) -> int:
        """Return where the counter begins again at zero, in microjoules."""
        return int((self.folder / "max_energy_range_uj").read_text())


class RaplGauge(CounterGauge):
    """One zone's counter; against a wall meter RAPL is within 10 to 15 %."""

    source = "rapl"
    relative_uncertainty = 0.15
    edge_s = 0.002  # the counter is updated about every millisecond

    def __init__(self, zone: Zone, warn: Callable[[str], None]) -> None:
        self._zone = zone
        super().__init__(
            zone.energy_uj,
            device=zone.device,
            warn=warn,
            unit_uj=1,
            peak_w=_PEAK_W[zone.domain],
            turn=zone.range_uj(),
        )

    def limit_w(self) -> float | None:
        """Return the long-term limit in force, if the zone has one."""
        try:
            return int((self._zone.folder / "constraint_0_power_limit_uw").read_text()) / 1e6 or None
        except (OSError, ValueError):
            return None


def open_rapl(opening: Opening) -> list[Channel]:
    """Open the zones that count each part once."""
    zones = find_zones(Path(opening.energy.rapl_root))
    readable = [zone for zone in zones if zone.readable]
    if zones and not readable:
        opening.warn(f"rapl: {zones[0].folder}/energy_uj may not be read; {_REMEDY}; until then the CPU is modelled")
    return [_channel(zone, opening) for zone in choose(readable)]


def rapl_status(root: Path) -> tuple[bool, str, str]:
    """Return (available, reason, what to do) for `overwinter doctor`."""
    zones = find_zones(root)
    if not zones:
        return (
            False,
            f"no power zones under {root}",
            "nothing to do in a virtual machine; in a container, mount the host's tree (energy.rapl_root)",
        )
    chosen = choose([zone for zone in zones if zone.readable])
    if not chosen:
        return False, f"{len(zones)} zones under {root}, none readable", _REMEDY
    return True, ", ".join(zone.device for zone in chosen), ""


def find_zones(root: Path) -> list[Zone]:
    """Find every package, memory and psys zone under ``root``, in its flat and in its nested form."""
    folders = {
        path.name: path
        for pattern in ("*", "*/*", "*/*/*")
        for path in sorted(_glob(root, pattern), reverse=True)
        if _ZONE.fullmatch(path.name) and (path / "energy_uj").exists()
    }
    named = {name: _read(folder / "name") for name, folder in folders.items()}
    zones = [(_device(name, named), folder) for name, folder in sorted(folders.items())]
    return [Zone(device=device, folder=folder) for device, folder in zones if device]


def choose(zones: Iterable[Zone]) -> list[Zone]:
    """Keep zones that don't overlap: packages and their memory; psys only where there is no package."""
    by_device: dict[str, Zone] = {}
    for zone in sorted(zones, key=lambda zone: ("mmio" in zone.folder.name, zone.folder.name)):
        by_device.setdefault(zone.device, zone)
    if any(zone.domain == "cpu" for zone in by_device.values()):
        by_device.pop("platform", None)
        return list(by_device.values())
    return [by_device["platform"]] if "platform" in by_device else list(by_device.values())


def _device(zone_name: str, named: dict[str, str]) -> str | None:
    own = named[zone_name]
    if own.startswith("package"):
        return f"cpu:{own}"
    if own == "dram":
        return f"ram:{named.get(zone_name.rpartition(':')[0], zone_name)}"
    return "platform" if own == "psys" else None


def _channel(zone: Zone, opening: Opening) -> Channel:
    try:
        gauges: list[Gauge] = [RaplGauge(zone, opening.warn)]
    except (OSError, ValueError) as error:
        opening.warn(f"{zone.device}: its counter's range is unreadable ({error}); {_GUESS_W[zone.domain]:g} W assumed")
        gauges = []
    return Channel(
        device=zone.device,
        gauges=gauges,
        guess_w=_GUESS_W[zone.domain],
        held_uncertainty=opening.hardware.relative_uncertainty,
        warn=opening.warn,
        never_still=zone.domain != "ram",  # some platforms show a memory zone that never counts
    )


def _glob(root: Path, pattern: str) -> list[Path]:
    try:
        return list(root.glob(pattern))
    except OSError:
        return []


def _read(path: Path) -> str:
    try:
        return path.read_text().strip()
    except OSError:
        return ""
