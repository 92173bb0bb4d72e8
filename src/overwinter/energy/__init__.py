"""Joules with provenance: what was drawn, by which device, measured or modelled, and how sure that is.

`open_meter` opens the configured `sources` (`nvml`, `rapl`, `amd`, `hwmon`, `power_supply`, `modelled`), each a list
of `channel`s: one device with the `protocols.Gauge`s that can read it, so that a failing one is followed by the next. A
`meter.EnergyMeter` reads them in one `sampler` thread and at the edges of windows; `report` turns what a
window drew into an `EnergyReport`. `status.probe` tells what this machine can meter; `cross_check` lets
CodeCarbon measure beside. No torch is imported.

A third party's source is a function in the entry-point group `overwinter.energy_sources`: it takes an `Opening`
and returns `Channel`s over its own `Gauge`s.
"""

from overwinter.energy.channel import Channel
from overwinter.energy.meter import EnergyMeter, Window
from overwinter.energy.opened import open_meter
from overwinter.energy.opening import Opening
from overwinter.energy.protocols import Gauge, Increment
from overwinter.energy.report import Component, EnergyReport, combined_uncertainty_j
from overwinter.energy.samples import PowerSample
from overwinter.energy.status import SourceStatus, probe

__all__ = [
    "Channel",
    "Component",
    "EnergyMeter",
    "EnergyReport",
    "Gauge",
    "Increment",
    "Opening",
    "PowerSample",
    "SourceStatus",
    "Window",
    "combined_uncertainty_j",
    "open_meter",
    "probe",
]
