"""The division of a counter's energy among the runs that read it, and the interface of a way to divide it.

    part = (idle / meters + (1 - idle) * own) / (idle + (1 - idle) * busy)

`busy` is the utilisation of the device, `own` the part by this run, both from 0 to 1; `idle` is the idle power as a
share of the busy power. So the meters share the idle energy equally and the rest by use; use by unmetered work is in
no figure. The parts of runs that together use all of it add up to one.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

_NOTHING = 1e-9  # share of the device's power below which the parts are unknown


@dataclass(frozen=True, kw_only=True, slots=True)
class Use:
    """The utilisation of a device in some time.

    Attributes:
        own: The utilisation by this run, 0 to 1.
        busy: The utilisation by all processes, 0 to 1.
    """

    own: float
    busy: float

    def part(self, *, meters: int, idle_fraction: float) -> float:
        """Return this run's part of the device's energy, divided among ``meters`` runs."""
        busy = min(max(self.busy, self.own), 1.0)
        drawn = idle_fraction + (1 - idle_fraction) * busy
        if drawn < _NOTHING:
            return 1 / meters
        return (idle_fraction / meters + (1 - idle_fraction) * self.own) / drawn


class Split(Protocol):
    """A way to observe the use of a device by run.

    Attributes:
        by: A description of the measure, for the user.
        idle_fraction: The idle power as a share of the busy power.
        trouble: The reason why the use is unknown; empty if it is known.
    """

    by: str
    idle_fraction: float
    trouble: str

    def begin(self) -> None:
        """Start observing, when another meter has started."""

    def use(self) -> Use | None:
        """Return the use since the previous call, or since the start; None if unknown."""
