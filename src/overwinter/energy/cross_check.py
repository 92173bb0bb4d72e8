"""A cross-check of the meter with CodeCarbon: offline, without a socket, every argument explicit.

CodeCarbon takes missing arguments from `~/.codecarbon.config`, `./.codecarbon.config` and `CODECARBON_*`, so the same
program could measure differently on another machine; and it suppresses its own failures.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

from overwinter.energy.report import EnergyReport
from overwinter.errors import ConfigError
from overwinter.units import format_si

if TYPE_CHECKING:
    from overwinter.config.groups.energy import EnergyConfig

_J_PER_KWH = 3.6e6
_SETTINGS: dict[str, Any] = {
    "allow_multiple_runs": True,
    "api_call_interval": -1,
    "api_endpoint": "",
    "api_key": "",
    "cloud_provider": None,
    "cloud_region": None,
    "country_2letter_iso_code": None,
    "electricitymaps_api_token": None,
    "emissions_endpoint": None,
    "experiment_id": "overwinter",
    "experiment_name": "overwinter",
    "force_carbon_intensity_g_co2e_kwh": None,
    "force_cpu_power": None,
    "force_mode_cpu_load": False,
    "force_ram_power": 0,  # its constant guess is 20 W; only CPU and GPU are compared
    "gpu_ids": None,
    "log_level": "error",
    "logger_preamble": "",
    "logging_logger": None,
    "measure_power_secs": 1.0,
    "metadata": None,
    "on_csv_write": "append",
    "output_dir": ".",
    "output_file": "emissions.csv",
    "output_handlers": [],
    "output_methods": [],
    "project_name": "overwinter",
    "prometheus_url": "",
    "pue": 1.0,
    "rapl_include_dram": False,
    "rapl_prefer_psys": False,
    "region": None,
    "tracking_mode": "machine",
    "wue": 0.0,
}


class CrossCheck(Protocol):
    """A second meter that runs at the same time and is compared at the end."""

    def start(self, warn: Callable[[str], None]) -> None:
        """Start measuring."""

    def stop(self, ours: EnergyReport, warn: Callable[[str], None]) -> None:
        """Stop, and compare with this meter's report."""


class CodeCarbonCheck:
    """CodeCarbon's OfflineEmissionsTracker.

    Args:
        threshold: The relative difference above which to warn.
        country: The ISO 3166 alpha-3 code for its carbon figures.
        csv_path: The file to which its emissions.csv row is appended; None for none.
    """

    def __init__(self, *, threshold: float, country: str, csv_path: Path | None) -> None:
        self._threshold, self._country, self._csv_path = threshold, country, csv_path
        self._tracker: Any = None

    def start(self, warn: Callable[[str], None]) -> None:
        """Start measuring; CodeCarbon takes a second or two."""
        try:
            from codecarbon import OfflineEmissionsTracker

            self._tracker = OfflineEmissionsTracker(country_iso_code=self._country, **_SETTINGS)
            self._tracker.start()
        except Exception as error:  # noqa: BLE001 -- a second opinion must not stop the work
            self._tracker = None
            warn(f"cross-check: CodeCarbon does not start ({type(error).__name__}: {error})")

    def stop(self, ours: EnergyReport, warn: Callable[[str], None]) -> None:
        """Stop, warn about a difference above the threshold, and write the CSV row."""
        if self._tracker is None:
            return
        try:
            self._tracker.stop()
            theirs = self._tracker.final_emissions_data
            self._compare(ours, (theirs.cpu_energy + theirs.gpu_energy) * _J_PER_KWH, warn)
            if self._csv_path:
                _append_csv(self._csv_path, theirs)
        except Exception as error:  # noqa: BLE001 -- as above
            warn(f"cross-check: CodeCarbon gave no figure ({type(error).__name__}: {error})")

    def _compare(self, ours: EnergyReport, theirs_j: float, warn: Callable[[str], None]) -> None:
        ours_j = sum(part.energy_j for part in ours.components if not part.device.startswith("ram"))
        difference = abs(theirs_j - ours_j) / ours_j if ours_j else float("inf")
        if difference > self._threshold:
            warn(
                f"cross-check: CodeCarbon measured {format_si(theirs_j, 'J')} for CPU and GPU, this meter "
                f"{format_si(ours_j, 'J')}, {difference:.0%} apart (threshold: {self._threshold:.0%})"
            )


def open_cross_check(energy: EnergyConfig) -> CrossCheck | None:
    """Return the meter named by `energy.cross_check`; None for `none`.

    Raises:
        ConfigError: the name is unknown.
    """
    if energy.cross_check == "none":
        return None
    if energy.cross_check == "codecarbon":
        csv_path = Path(energy.cross_check_csv) if energy.cross_check_csv else None
        return CodeCarbonCheck(
            threshold=energy.cross_check_threshold, country=energy.cross_check_country, csv_path=csv_path
        )
    raise ConfigError(f"energy.cross_check={energy.cross_check!r} is unknown. Allowed: none, codecarbon.")


def _append_csv(path: Path, emissions: Any) -> None:
    """Append one row in CodeCarbon's own format, with its own writer."""
    from codecarbon.output_methods.file import FileOutput

    path.parent.mkdir(parents=True, exist_ok=True)
    FileOutput(path.name, str(path.parent), "append").out(emissions, emissions)
