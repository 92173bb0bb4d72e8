"""Energy in joules with provenance: the device, whether it is measured or modelled, and the uncertainty.

`open_meter` opens the configured `sources` (`nvml`, `rapl`, `amd`, `hwmon`, `power_supply`, `modelled`), each a list
of channels: one device with each `protocols.Gauge` that can read it; when one fails, the next takes over. A
`meter.EnergyMeter` reads them in one `sampler` thread and at the edges of windows; `report` makes an `EnergyReport` of
a window, and `record` is the part that a stage writes to energy.json. `status.probe` lists the sources that work on
this machine; `cross_check` also measures with CodeCarbon. No torch is imported.

A third-party source is a function in the entry-point group `overwinter.energy_sources`: it takes an `Opening` and
returns each `Channel` over its own `Gauge`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from overwinter.lazy_imports import lazily

if TYPE_CHECKING:
    from overwinter.energy.channel import Channel
    from overwinter.energy.meter import EnergyMeter, Window
    from overwinter.energy.opened import open_meter
    from overwinter.energy.opening import Opening
    from overwinter.energy.protocols import Gauge, Increment
    from overwinter.energy.record import EnergyRecord, find_energy, read_energy
    from overwinter.energy.report import Component, EnergyReport, combined_uncertainty_j
    from overwinter.energy.samples import PowerSample
    from overwinter.energy.status import SourceStatus, probe

__all__ = [
    "Channel",
    "Component",
    "EnergyMeter",
    "EnergyRecord",
    "EnergyReport",
    "Gauge",
    "Increment",
    "Opening",
    "PowerSample",
    "SourceStatus",
    "Window",
    "combined_uncertainty_j",
    "find_energy",
    "open_meter",
    "probe",
    "read_energy",
]

__getattr__ = lazily(
    __name__,
    {  # loaded on first use: a gate reads records but does not meter
        "Channel": "channel",
        "Component": "report",
        "EnergyMeter": "meter",
        "EnergyRecord": "record",
        "EnergyReport": "report",
        "Gauge": "protocols",
        "Increment": "protocols",
        "Opening": "opening",
        "PowerSample": "samples",
        "SourceStatus": "status",
        "Window": "meter",
        "combined_uncertainty_j": "report",
        "find_energy": "record",
        "open_meter": "opened",
        "probe": "status",
        "read_energy": "record",
    },
)
