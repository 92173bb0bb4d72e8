"""What a way of reading one device's energy must offer; implementations are beside this file, one each."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol


@dataclass(frozen=True, kw_only=True, slots=True)
class Increment:
    """Energy drawn since the previous call.

    Attributes:
        energy_uj: in whole microjoules, so that sums are exact.
        doubt_uj: further uncertainty, where the gauge could not tell (a lost wrap).
        gap_s: seconds of which the gauge knows nothing; the last known power is assumed for them.
    """

    energy_uj: int
    doubt_uj: int = 0
    gap_s: float = 0.0


class Gauge(Protocol):
    """One way of reading one device. May raise anything at any call: its channel goes to the next one.

    Attributes:
        source: provenance: `nvml-counter`, `nvml-power`, `amdsmi`, `rapl`, `hwmon`, `power-supply` or `modelled`.
        relative_uncertainty: of its energies, whatever the length of the window.
        edge_s: how stale a reading may be; it widens the uncertainty of short windows.
    """

    source: str
    relative_uncertainty: float
    edge_s: float

    @property
    def max_interval_s(self) -> float:
        """Read at least this often, or energy is lost."""

    def start(self, now_s: float) -> None:
        """Begin at ``now_s``; the first `advance` counts from there."""

    def advance(self, now_s: float, *, edge: bool) -> Increment:
        """Return what was drawn since the previous call; ``edge`` asks for full accuracy."""

    def power_w(self) -> float | None:
        """Return the power now, if the device tells; None lets the channel derive it."""

    def limit_w(self) -> float | None:
        """Return the power limit in force, if there is one."""
