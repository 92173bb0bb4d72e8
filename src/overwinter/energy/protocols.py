"""The interface of a gauge, which reads one device's energy; each implementation is a module of this package."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol


@dataclass(frozen=True, kw_only=True, slots=True)
class Increment:
    """The energy drawn since the previous call.

    Attributes:
        energy_uj: The energy in whole microjoules, so that sums are exact.
        doubt_uj: Further uncertainty, such as for a missed wrap.
        gap_s: Seconds without a reading, for which the last known power is assumed.
    """

    energy_uj: int
    doubt_uj: int = 0
    gap_s: float = 0.0


class Gauge(Protocol):
    """A reader of one device. Any call may raise any exception: its channel then uses the next gauge.

    Attributes:
        source: The source: `nvml-counter`, `nvml-power`, `amdsmi`, `rapl`, `hwmon`, `power-supply` or `modelled`.
        relative_uncertainty: The relative uncertainty of its energies, for any length of window.
        edge_s: The maximum age of a reading; it widens the uncertainty of short windows.
    """

    source: str
    relative_uncertainty: float
    edge_s: float

    @property
    def max_interval_s(self) -> float:
        """Maximum interval between two readings without losing energy."""

    def start(self, now_s: float) -> None:
        """Start at ``now_s``; the first `advance` counts from there."""

    def advance(self, now_s: float, *, edge: bool) -> Increment:
        """Return the energy drawn since the previous call; ``edge`` requests full accuracy."""

    def power_w(self) -> float | None:
        """Return the power now, if the device reports it; for None, the channel derives it."""

    def limit_w(self) -> float | None:
        """Return the power limit in force, if there is one."""
