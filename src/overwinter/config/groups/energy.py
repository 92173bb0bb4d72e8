"""The groups `energy/` and `hardware/`: what is metered, and what the model of the rest assumes."""

from __future__ import annotations

from dataclasses import dataclass

from overwinter.codecarbon_tables import find_country
from overwinter.config.settings import setting
from overwinter.errors import ConfigError
from overwinter.registries import ENERGY_SOURCES

CPU_TIME_WAYS = ("auto", "cgroup", "rusage", "proc")


@dataclass
class EnergyConfig:
    """Metering. None of it changes a result, so no stage depends on it."""

    sources: list[str] = setting(
        "meters to try in this order, also of other packages (overwinter.energy_sources); what one measures, the next "
        "leave alone"
    )
    sample_interval_s: float = setting(
        "time between two samples of power; a counter that wraps sooner is read sooner", at_least=0.01, at_most=10
    )
    cpu_time: str = setting(
        "how modelled CPU seconds are counted: cgroup (a group of our own), rusage (orphans too), proc (only looks at "
        "/proc), or auto: the best that works here",
        choices=CPU_TIME_WAYS,
    )
    rapl_root: str = setting("the powercap tree; containers often mount it elsewhere")
    hwmon_root: str = setting("the tree of sensors of boards (Jetson), ARM servers and ACPI power meters")
    power_supply_root: str = setting("the tree of batteries: the whole machine, while a laptop's gives power")
    cross_check: str = setting(
        "codecarbon: let CodeCarbon measure too, which takes it seconds to start; or none",
        choices=("none", "codecarbon"),
    )
    cross_check_threshold: float = setting(
        "warn when CodeCarbon differs by more than this share of our figure", at_least=0
    )
    cross_check_country: str = setting("country of CodeCarbon's own gram figures (ISO 3166 alpha-3)")
    cross_check_csv: str | None = setting("append CodeCarbon's emissions.csv row to this file; null: none")
    idle_probe_s: float = setting(
        "time of idling measured before the work, only where a counter's idle power is not in hardware.idle_w; 0 "
        "leaves it unknown",
        at_least=0,
        at_most=600,
    )


@dataclass
class HardwareConfig:
    """What the model of unmetered parts assumes of this machine, and what it draws when idle."""

    cpu_tdp_w: float | None = setting(
        "thermal design power of all CPU packages together; null: CodeCarbon's table, by the CPU's name",
        at_least=0.1,
        at_most=100_000,
    )
    cpu_threads: int | None = setting(
        "hardware threads that share cpu_tdp_w; null: those that this machine shows", at_least=1, at_most=1_000_000
    )
    cpu_w_per_thread: float = setting(
        "watts of a busy hardware thread where the table does not help (virtual machine, unknown name; as CodeCarbon "
        "guesses)",
        at_least=0.01,
        at_most=1000,
    )
    cpu_idle_fraction: float = setting("share of the design power that an idle package draws", at_least=0, at_most=1)
    ram_w_per_gib: float = setting(
        "watts per GiB of memory in use (3 W per 8 GB, CodeCarbon's rule for DDR3 and DDR4)", at_least=0, at_most=100
    )
    relative_uncertainty: float = setting(
        "uncertainty of every modelled figure: 0.4 is plus or minus 40 %", at_least=0, at_most=10
    )
    idle_w: dict[str, float] = setting(
        "watts when idle, per device, such as {gpu:0: 60, cpu:package-0: 35}; empty: probe or model",
        at_least=0,
        at_most=100_000,
    )


def check_energy(config: EnergyConfig) -> None:
    """Check what ranges and choices cannot say of the group `energy/`.

    Raises:
        ConfigError: a source that does not exist or stands twice, or none; or a country that CodeCarbon does not know.
    """
    if not config.sources:
        raise ConfigError("energy.sources=[] would meter nothing. Name at least 'modelled'.")
    for name in config.sources:
        ENERGY_SOURCES.check(name)
    if len(set(config.sources)) < len(config.sources):
        raise ConfigError(f"energy.sources={list(config.sources)} names a source twice. Name each once.")
    if config.cross_check != "none":
        find_country(config.cross_check_country, key="energy.cross_check_country")
