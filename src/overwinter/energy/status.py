"""The status of energy sources on this machine, for `overwinter doctor`: fast, and without torch."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from overwinter.energy.amd import amd_status
from overwinter.energy.hwmon import hwmon_status
from overwinter.energy.modelled import modelled_status
from overwinter.energy.nvml import nvml_status
from overwinter.energy.opening import Opening
from overwinter.energy.power_supply import power_supply_status
from overwinter.energy.rapl import rapl_status

if TYPE_CHECKING:
    from overwinter.config.groups.energy import EnergyConfig, HardwareConfig


@dataclass(frozen=True, kw_only=True)
class SourceStatus:
    """The status of an energy source on this machine.

    Attributes:
        name: `nvml`, `rapl`, `amdsmi`, `hwmon`, `power-supply` or `modelled`.
        available: Whether it would be used.
        reason: The finding, in words.
        remedy: A remedy; empty if none is needed.
    """

    name: str
    available: bool
    reason: str
    remedy: str


def probe(energy: EnergyConfig, hardware: HardwareConfig) -> list[SourceStatus]:
    """Return the status of each built-in source; reads counters only."""
    opening = Opening(energy=energy, hardware=hardware, warn=lambda _: None)
    found = {
        "nvml": nvml_status(),
        "rapl": rapl_status(Path(energy.rapl_root)),
        "amdsmi": amd_status(),
        "hwmon": hwmon_status(Path(energy.hwmon_root)),
        "power-supply": power_supply_status(Path(energy.power_supply_root)),
        "modelled": modelled_status(opening),
    }
    return [
        SourceStatus(name=name, available=available, reason=reason, remedy=remedy)
        for name, (available, reason, remedy) in found.items()
    ]
