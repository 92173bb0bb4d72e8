"""The groups `energy/` and `hardware/`: the energy meters, and the power model of unmetered parts."""

from __future__ import annotations

from dataclasses import dataclass

from overwinter.codecarbon_tables import find_country
from overwinter.config.settings import setting
from overwinter.errors import ConfigError
from overwinter.registries import ENERGY_SOURCES
from overwinter.units import Quantity, parse_quantity

CPU_TIME_WAYS = ("auto", "cgroup", "rusage", "proc")
FOR_COMPARISONS = ("accelerator", "cpu_gflops_per_thread", "cpu_memory_gb_per_s", "price_per_hour")
"""The keys of the group `hardware/` on which no modelled joule depends."""


@dataclass
class EnergyConfig:
    """Energy metering. It changes no result, so no stage depends on it."""

    sources: list[str] = setting(
        "energy sources to try, in this order, including plug-ins (overwinter.energy_sources); a device is measured by "
        "the first source that reads it"
    )
    sample_interval_s: float = setting(
        "interval between two samples of power; a counter that wraps sooner is read more often",
        at_least=0.01,
        at_most=10,
    )
    cpu_time: str = setting(
        "how CPU time is counted for modelled energy: cgroup (in a new cgroup), rusage (orphans too), proc (only reads "
        "/proc); auto uses the best one that works",
        choices=CPU_TIME_WAYS,
    )
    rapl_root: str = setting("path of the powercap tree (RAPL); containers often mount it elsewhere")
    hwmon_root: str = setting("path of the hwmon tree: sensors of Jetson boards, ARM servers and ACPI power meters")
    power_supply_root: str = setting("path of the power supply tree: a laptop's battery measures the whole machine")
    cross_check: str = setting(
        "also measure with CodeCarbon, which takes seconds to start: codecarbon or none",
        choices=("none", "codecarbon"),
    )
    cross_check_threshold: float = setting(
        "warn when CodeCarbon's figure differs by more than this share of Overwinter's", at_least=0
    )
    cross_check_country: str = setting("country for CodeCarbon's carbon figures (ISO 3166 alpha-3)")
    cross_check_csv: str | None = setting("file to which CodeCarbon's emissions.csv row is appended; null: none")
    idle_probe_s: float = setting(
        "seconds of idling measured before the work, only for counters whose idle power is not in hardware.idle_w; 0 "
        "skips the measurement",
        at_least=0,
        at_most=600,
    )


@dataclass
class AcceleratorConfig:
    """Public figures of an accelerator, for forecasts of machines on which nothing has run; null: there is none."""

    name: str | None = setting("name of the accelerator; null: none", default=None)
    tdp_w: float | None = setting("thermal design power of the board", above=0, at_most=100_000, default=None)
    peak_tflops: float | None = setting(
        "peak rate without sparsity, of bf16, or of fp16 where bf16 is missing", above=0, default=None
    )
    memory_gb: float | None = setting("size of its memory", above=0, default=None)
    memory_gb_per_s: float | None = setting("bandwidth of its memory", above=0, default=None)
    figures_from: str | None = setting("source of these figures", default=None)


@dataclass
class HardwareConfig:
    """The power model of unmetered parts of this machine, its idle power, and figures for comparisons of hardware."""

    cpu_tdp_w: float | None = setting(
        "total thermal design power of all CPU packages; null: looked up by CPU name in CodeCarbon's table",
        at_least=0.1,
        at_most=100_000,
    )
    cpu_threads: int | None = setting(
        "hardware threads that share cpu_tdp_w; null: all threads that this machine reports",
        at_least=1,
        at_most=1_000_000,
    )
    cpu_w_per_thread: float = setting(
        "watts per busy hardware thread if the CPU is not in the table (virtual machine, unknown name; as CodeCarbon "
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
    cpu_gflops_per_thread: float = setting(
        "peak rate of one thread in fp32, for comparisons of hardware on which nothing has run", above=0, default=50.0
    )
    cpu_memory_gb_per_s: float = setting(
        "memory bandwidth of one thread, for the same comparisons", above=0, default=10.0
    )
    accelerator: AcceleratorConfig = setting(
        "public figures of the accelerator, for the same comparisons", default_factory=AcceleratorConfig
    )
    price_per_hour: str | None = setting(
        "price of an hour on the machine, without electricity, such as 2.50 EUR; null: none", default=None
    )


def read_hourly_price(text: str | None, *, key: str) -> Quantity | None:
    """Return the price of an hour, if there is one.

    Raises:
        ConfigError: it is not an amount of money.
    """
    return None if text is None else parse_quantity(text, key=key, dimensions=("money",))


def check_hardware(config: HardwareConfig) -> None:
    """Check the group `hardware/`, beyond ranges.

    Raises:
        ConfigError: a price that is not money, or an accelerator without one of its figures.
    """
    read_hourly_price(config.price_per_hour, key="hardware.price_per_hour")
    figures = config.accelerator
    missing = [name for name in ("tdp_w", "peak_tflops", "memory_gb_per_s") if getattr(figures, name) is None]
    if figures.name is not None and missing:
        raise ConfigError(
            f"hardware.accelerator.name={figures.name!r} needs hardware.accelerator.{missing[0]}. Set it, or choose an "
            "option of configs/hardware/."
        )


def check_energy(config: EnergyConfig) -> None:
    """Check the group `energy/`, beyond ranges and choices.

    Raises:
        ConfigError: no source, an unknown or repeated source, or a country missing from CodeCarbon's table.
    """
    if not config.sources:
        raise ConfigError("energy.sources=[] would meter nothing. Name at least 'modelled'.")
    for name in config.sources:
        ENERGY_SOURCES.check(name)
    if len(set(config.sources)) < len(config.sources):
        raise ConfigError(f"energy.sources={list(config.sources)} names a source twice. Name each once.")
    if config.cross_check != "none":
        find_country(config.cross_check_country, key="energy.cross_check_country")
