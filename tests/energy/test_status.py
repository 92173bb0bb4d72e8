"""`probe` says of every source whether it works here, and what to do."""

from __future__ import annotations

import subprocess
import sys
from typing import Any

from overwinter import energy
from overwinter.energy import probe


def test_every_built_in_source_has_a_reason(energy_config: Any, hardware_config: Any) -> None:
    found = {status.name: status for status in probe(energy_config, hardware_config)}
    assert list(found) == ["nvml", "rapl", "amdsmi", "hwmon", "power-supply", "modelled"]
    assert all(status.reason and status.remedy for status in found.values() if not status.available)
    assert found["modelled"].available


def test_a_readable_tree_is_available(powercap: Any, energy_config: Any, hardware_config: Any) -> None:
    powercap.zone("intel-rapl:0", "package-0")
    rapl = next(status for status in probe(energy_config, hardware_config) if status.name == "rapl")
    assert (rapl.available, rapl.reason) == (True, "cpu:package-0")


def test_the_room_and_a_running_meter_load_no_torch_and_no_codecarbon() -> None:
    code = (
        "import sys, overwinter.energy, overwinter.carbon\n"
        "print(sys.modules.keys() & {'torch', 'codecarbon', 'omegaconf', 'numpy', 'psutil'})"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "set()"


def test_public_names_are_sorted_and_real() -> None:
    assert energy.__all__ == sorted(energy.__all__)
    assert all(hasattr(energy, name) for name in energy.__all__)
