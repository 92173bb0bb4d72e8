"""The watch of a running stage: one thread reads the meter, computes the carbon and writes the ledger's heartbeats."""

from __future__ import annotations

import threading
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from overwinter.carbon import Intensity, IntensitySource
    from overwinter.energy import EnergyMeter, EnergyReport

_INTERVAL_S = 0.5
_J_PER_KWH = 3.6e6


@dataclass(frozen=True, kw_only=True)
class Spent:
    """The costs of a stage so far.

    Attributes:
        report: The meter's reading.
        carbon_g: Grams of CO2 equivalent, each joule at the intensity when it was used.
        intensity: The latest carbon intensity.
        notes: Notes of the intensity source, such as gaps in its data.
    """

    report: EnergyReport
    carbon_g: float
    intensity: Intensity
    notes: tuple[str, ...] = ()

    def carbon(self) -> dict[str, Any]:
        """Return the carbon figures of energy.json."""
        return {
            "carbon_g": self.carbon_g,
            "intensity_g_per_kwh": self.intensity.g_per_kwh,
            "intensity_source": self.intensity.source,
            "intensity_kind": self.intensity.kind,
            "renewable_share": self.intensity.renewable_share,
        }


class Watch:
    """Reads a meter twice a second until it is closed; the readings include everything since the process started."""

    def __init__(self, meter: EnergyMeter, source: IntensitySource, on_reading: Callable[[Spent], None]) -> None:
        self._meter = meter
        self._source = source
        self._on_reading = on_reading
        self._weighed_j = 0.0
        self._carbon_g = 0.0
        self._notes: dict[str, None] = {}  # an ordered set
        self._lock = threading.Lock()
        self._stopping = threading.Event()
        self.latest = self._weigh(meter.read())
        self._thread = threading.Thread(target=self._run, name="stage-watch", daemon=True)
        self._thread.start()

    def close(self) -> Spent:
        """Close the meter and return the final costs."""
        self._stopping.set()
        self._thread.join()
        self.latest = self._weigh(self._meter.close())
        return self.latest

    def _run(self) -> None:
        while not self._stopping.wait(_INTERVAL_S):
            self.latest = self._weigh(self._meter.read())
            self._on_reading(self.latest)

    def _weigh(self, report: EnergyReport) -> Spent:
        intensity = self._source.at(datetime.now(UTC))
        with self._lock:
            fresh_j = max(0.0, report.energy_j - self._weighed_j)
            self._weighed_j += fresh_j
            self._carbon_g += fresh_j / _J_PER_KWH * intensity.g_per_kwh
            self._notes |= dict.fromkeys(getattr(self._source, "notes", ()))
            return Spent(report=report, carbon_g=self._carbon_g, intensity=intensity, notes=tuple(self._notes))
