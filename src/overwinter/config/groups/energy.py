"""The groups `energy/` and `hardware/`: what is metered, and what is assumed of the rest."""

from __future__ import annotations

from dataclasses import dataclass

from omegaconf import MISSING


@dataclass
class EnergyConfig:
    """Metering. None of it changes a result, so no stage depends on it.

    Attributes:
        sources: which meters to try, in this order, among `nvml`, `rapl`, `amdsmi`, `hwmon`, `power-supply`,
            `modelled`, or entry points in `overwinter.energy_sources`; a part of the machine is left to the first
            that measures it.
        sample_interval_s: seconds between two samples of power; a counter that wraps sooner is read sooner.
        cpu_time: how a model's CPU seconds are counted: `auto` takes the best that works here of `cgroup` (a control
            group of our own), `rusage` (orphans come to `overwinter measure`, which waits for them) and `proc`
            (looks at /proc only); or one of these.
        rapl_root: the powercap tree, for containers that mount it elsewhere.
        hwmon_root: the tree of hardware monitors, likewise.
        power_supply_root: the tree of batteries and mains supplies, likewise.
        cross_check: `none`, or `codecarbon` to let CodeCarbon measure beside.
        cross_check_threshold: relative difference from which the cross-check warns.
        cross_check_country: ISO 3166 alpha-3 code that CodeCarbon's own gram figures are for; joules don't
            depend on it.
        cross_check_csv: file that CodeCarbon's own emissions.csv row is appended to; null writes none.
        idle_probe_s: seconds of idling measured before the work begins, where a counter's idle power is not
            configured in `hardware.idle_w`; 0 leaves such a baseline unknown.
    """

    sources: list[str] = MISSING
    sample_interval_s: float = MISSING
    cpu_time: str = MISSING
    rapl_root: str = MISSING
    hwmon_root: str = MISSING
    power_supply_root: str = MISSING
    cross_check: str = MISSING
    cross_check_threshold: float = MISSING
    cross_check_country: str = MISSING
    cross_check_csv: str | None = MISSING
    idle_probe_s: float = MISSING


@dataclass
class HardwareConfig:
    """What the model of unmetered parts assumes of this machine, and what it draws when idle.

    Attributes:
        cpu_tdp_w: thermal design power of all packages together; null looks the CPU's name up in CodeCarbon's
            table.
        cpu_threads: hardware threads that share `cpu_tdp_w`; null takes those that this machine shows.
        cpu_w_per_thread: watts of one busy hardware thread where the table does not help: an unknown name, or
            a virtual machine, which shows only its part of a package.
        cpu_idle_fraction: share of the design power that an idle package draws.
        ram_w_per_gib: watts per GiB of memory in use.
        relative_uncertainty: of every modelled figure.
        idle_w: device -> watts when idle, such as `gpu:0: 60`; overrides the probe and the model.
    """

    cpu_tdp_w: float | None = MISSING
    cpu_threads: int | None = MISSING
    cpu_w_per_thread: float = MISSING
    cpu_idle_fraction: float = MISSING
    ram_w_per_gib: float = MISSING
    relative_uncertainty: float = MISSING
    idle_w: dict[str, float] = MISSING
