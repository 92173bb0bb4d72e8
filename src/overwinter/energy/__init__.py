"""Joules with provenance: what was drawn, by which device, measured or modelled, and how sure that is.

`open_meter` opens the configured `sources` (`nvml`, `rapl`, `amd`, `hwmon`, `power_supply`, `modelled`), each a list
of `channel`s: one device with the `protocols.Gauge`s that can read it, so that a failing one is followed by the next. A
`meter.EnergyMeter` reads them in one `sampler` thread and at the edges of windows; `report` turns what a
window drew into an `EnergyReport`, and `record` is what a stage keeps of it in energy.json.
`status.probe` tells what this machine can meter; `cross_check` lets CodeCarbon measure beside. No torch is imported.

A third party's source is a function in the entry-point group `overwinter.energy_sources`: it takes an `Opening`
and returns `Channel`s over its own `Gauge`s.
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
    {  # loaded when first used: a gate reads records, and meters nothing
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
