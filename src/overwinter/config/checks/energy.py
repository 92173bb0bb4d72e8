"""What a type cannot say of the groups `energy/` and `hardware/`."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING

from overwinter.errors import ConfigError, nearest
from overwinter.registries import ENERGY_SOURCES

if TYPE_CHECKING:
    from overwinter.config.groups.energy import EnergyConfig, HardwareConfig

CPU_TIME_WAYS = ("auto", "cgroup", "rusage", "proc")
_CROSS_CHECKS = ("none", "codecarbon")
_LONGEST_INTERVAL_S = 10.0
_LONGEST_PROBE_S = 600.0


def check_energy(config: EnergyConfig) -> None:
    """Check the group `energy/`.

    Raises:
        ConfigError: a source or cross-check that does not exist, or a number out of range.
    """
    if not config.sources:
        raise ConfigError("energy.sources=[] would meter nothing. Name at least 'modelled'.")
    for name in config.sources:
        ENERGY_SOURCES.check(name)
    if len(set(config.sources)) < len(config.sources):
        raise ConfigError(f"energy.sources={list(config.sources)} names a source twice. Name each once.")
    _between("energy.sample_interval_s", config.sample_interval_s, 0.01, _LONGEST_INTERVAL_S)
    _between("energy.idle_probe_s", config.idle_probe_s, 0.0, _LONGEST_PROBE_S)
    _between("energy.cross_check_threshold", config.cross_check_threshold, 0.0, float("inf"))
    _choice("energy.cpu_time", config.cpu_time, CPU_TIME_WAYS)
    _choice("energy.cross_check", config.cross_check, _CROSS_CHECKS)
    if config.cross_check != "none":
        _country("energy.cross_check_country", config.cross_check_country)


def check_hardware(config: HardwareConfig) -> None:
    """Check the group `hardware/`.

    Raises:
        ConfigError: a number out of range.
    """
    if config.cpu_tdp_w is not None:
        _between("hardware.cpu_tdp_w", config.cpu_tdp_w, 0.1, 100_000.0)
    if config.cpu_threads is not None:
        _between("hardware.cpu_threads", config.cpu_threads, 1, 1_000_000)
    _between("hardware.cpu_w_per_thread", config.cpu_w_per_thread, 0.01, 1000.0)
    _between("hardware.cpu_idle_fraction", config.cpu_idle_fraction, 0.0, 1.0)
    _between("hardware.ram_w_per_gib", config.ram_w_per_gib, 0.0, 100.0)
    _between("hardware.relative_uncertainty", config.relative_uncertainty, 0.0, 10.0)
    for device, idle_w in config.idle_w.items():
        _between(f"hardware.idle_w.{device}", idle_w, 0.0, 100_000.0)


def _country(key: str, code: str) -> None:
    from overwinter.carbon.country import find_country

    find_country(code, key=key)


def _between(key: str, value: float, low: float, high: float) -> None:
    if not low <= value <= high:  # a NaN is not between anything
        upper = "" if high == float("inf") else f" and at most {high:g}"
        raise ConfigError(f"{key}={value:g} is out of range. It must be at least {low:g}{upper}.")


def _choice(key: str, value: str, allowed: Iterable[str]) -> None:
    if value not in allowed:
        raise ConfigError(f"{key}={value!r} is not known. Allowed: {', '.join(allowed)}.{nearest(value, allowed)}")
