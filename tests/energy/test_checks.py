"""Wrong settings of `energy` and `hardware` are refused with the full key and the value."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from overwinter.config import check_settings
from overwinter.config.groups.energy import check_energy
from overwinter.errors import ConfigError


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"sources": []}, r"energy.sources=\[\]"),
        ({"sources": ["nvml", "nvml"]}, "names a source twice"),
        ({"sources": ["rapll"]}, "Did you mean 'rapl'"),
        ({"sample_interval_s": 0.0}, "energy.sample_interval_s=0.0 must be at least 0.01 and at most 10"),
        ({"sample_interval_s": float("nan")}, "energy.sample_interval_s=nan"),
        ({"idle_probe_s": -1.0}, "energy.idle_probe_s=-1"),
        ({"cross_check": "codecarb"}, "Did you mean 'codecarbon'"),
        ({"cross_check": "codecarbon", "cross_check_country": "FRX"}, "energy.cross_check_country='FRX'"),
        ({"cross_check_threshold": -0.1}, "energy.cross_check_threshold=-0.1"),
    ],
)
def test_energy(energy_config: Any, change: dict[str, Any], message: str) -> None:
    check_energy(energy_config)
    check_settings(energy_config, key="energy")
    changed = replace(energy_config, **change)
    with pytest.raises(ConfigError, match=message):  # noqa: PT012 - one of the two refuses
        check_settings(changed, key="energy")
        check_energy(changed)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"cpu_tdp_w": -5.0}, "hardware.cpu_tdp_w=-5"),
        ({"cpu_threads": 0}, "hardware.cpu_threads=0"),
        ({"cpu_w_per_thread": 0.0}, "hardware.cpu_w_per_thread=0"),
        ({"cpu_idle_fraction": 1.5}, "at most 1"),
        ({"ram_w_per_gib": -1.0}, "hardware.ram_w_per_gib"),
        ({"relative_uncertainty": -0.4}, "hardware.relative_uncertainty"),
        ({"idle_w": {"gpu:0": -1.0}}, "hardware.idle_w.gpu:0=-1"),
    ],
)
def test_hardware(hardware_config: Any, change: dict[str, Any], message: str) -> None:
    check_settings(hardware_config, key="hardware")
    with pytest.raises(ConfigError, match=message):
        check_settings(replace(hardware_config, **change), key="hardware")
