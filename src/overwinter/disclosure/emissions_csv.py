"""CodeCarbon's emissions.csv: one row an execution, which its dashboards and notebooks read.

CodeCarbon splits energy by CPU, GPU and RAM; what a sensor of the whole machine measures is in `energy_consumed` only.
Columns of figures that Overwinter does not have (water, place, utilization) stay empty.
"""

from __future__ import annotations

import csv
import io
import os
import platform
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from overwinter import __version__
from overwinter.errors import ConfigError
from overwinter.files import write_text
from overwinter.ledger import ExecutionRecord

_J_PER_KWH = 3.6e6
# The fields of codecarbon.output_methods.emissions_data.EmissionsData (3.3), in order; importing it takes a second.
COLUMNS = (
    "timestamp",
    "project_name",
    "run_id",
    "experiment_id",
    "duration",
    "emissions",
    "emissions_rate",
    "cpu_power",
    "gpu_power",
    "ram_power",
    "cpu_energy",
    "gpu_energy",
    "ram_energy",
    "energy_consumed",
    "water_consumed",
    "country_name",
    "country_iso_code",
    "region",
    "cloud_provider",
    "cloud_region",
    "os",
    "python_version",
    "codecarbon_version",
    "cpu_count",
    "cpu_model",
    "gpu_count",
    "gpu_model",
    "longitude",
    "latitude",
    "ram_total_size",
    "tracking_mode",
    "cpu_utilization_percent",
    "gpu_utilization_percent",
    "ram_utilization_percent",
    "ram_used_gb",
    "on_cloud",
    "pue",
    "wue",
)
_PARTS = ("cpu", "gpu", "ram")


def emissions_row(execution: ExecutionRecord) -> dict[str, Any]:
    """Return an execution in CodeCarbon's columns and units: kilograms, kilowatt-hours, watts, seconds.

    Args:
        execution: The execution, read with its documents.
    """
    own = execution.pid == os.getpid() and execution.host == platform.node()
    duration_s, carbon_g = execution.duration_s, execution.carbon_g
    known = {
        "timestamp": f"{execution.ended_utc or execution.started_utc:%Y-%m-%dT%H:%M:%S}",
        "project_name": execution.project,
        "run_id": execution.id,
        "experiment_id": execution.experiment or execution.stage,
        "duration": duration_s,
        "emissions": None if carbon_g is None else carbon_g / 1000,
        "emissions_rate": carbon_g / 1000 / duration_s if carbon_g is not None and duration_s else None,
        "energy_consumed": None if execution.energy_j is None else execution.energy_j / _J_PER_KWH,
        "os": platform.platform() if own else None,
        "python_version": platform.python_version() if own else None,
        "codecarbon_version": f"overwinter {__version__}",
        "tracking_mode": "process",
        "pue": 1,
        **_by_part(execution.energy or {}),
    }
    return {column: known.get(column) for column in COLUMNS}


def append_emissions(path: Path, executions: Sequence[ExecutionRecord]) -> None:
    """Append executions to an emissions.csv, which is made if it is missing.

    Raises:
        ConfigError: The file has other columns.
        OverwinterError: It cannot be written.
    """
    text = io.StringIO(_checked(path))
    text.seek(0, io.SEEK_END)
    names = next(csv.reader(io.StringIO(text.getvalue())), None)
    writer = csv.DictWriter(text, names or COLUMNS, lineterminator="\n")
    if names is None:
        writer.writeheader()
    writer.writerows(emissions_row(execution) for execution in executions)
    write_text(path, text.getvalue())


def check_emissions(path: Path) -> None:
    """Raise ConfigError if the file exists with other columns."""
    _checked(path)


def _checked(path: Path) -> str:
    text = path.read_text(encoding="utf-8") if path.is_file() else ""
    names = next(csv.reader(io.StringIO(text)), None)
    if names is not None and sorted(names) != sorted(COLUMNS):
        raise ConfigError(f"{path} has other columns than CodeCarbon 3.3 writes. Name another file.")
    return text if text.endswith("\n") or not text else text + "\n"


def _by_part(energy: Mapping[str, Any]) -> dict[str, Any]:
    """Return energy, power and counts by CPU, GPU and RAM, from the content of energy.json."""
    found: dict[str, Any] = {}
    components = energy.get("components", ())
    for part in _PARTS:
        own = [each for each in components if each["device"].partition(":")[0] == part]
        if own:
            found[f"{part}_energy"] = sum(each["energy_j"] for each in own) / _J_PER_KWH
            found[f"{part}_power"] = sum(each["average_w"] for each in own)
    found["gpu_count"] = len({each["device"] for each in components if each["device"].startswith("gpu:")}) or None
    name, _, threads = (energy.get("machine") or "").rpartition(", ")
    if name:
        found |= {"cpu_model": name, "cpu_count": threads.partition(" ")[0]}
    return found
