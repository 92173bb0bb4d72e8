"""How what a counter shows is divided among the runs that read it: what a way to know their parts must offer.

    part = (idle / meters + (1 - idle) * own) / (idle + (1 - idle) * busy)

`busy` is how much of the device was used, `own` how much of it by this run, both from 0 to 1; `idle` is what an idle
device draws of a busy one's power. So each of the meters carries the same part of what the device draws idle, and the
rest goes by use; what others use who meter nothing is in no figure. The parts of runs that use all of it add up to one.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

_NOTHING = 1e-9  # of what the device can draw: below, its parts cannot be known


@dataclass(frozen=True, kw_only=True, slots=True)
class Use:
    """How much of a device was used in some time.

    Attributes:
        own: by this run, 0 to 1 of all that the device can do.
        busy: by all.
    """

    own: float
    busy: float

    def part(self, *, meters: int, idle_fraction: float) -> float:
        """Return this run's part of what the device drew, where ``meters`` runs divide it."""
        busy = min(max(self.busy, self.own), 1.0)
        drawn = idle_fraction + (1 - idle_fraction) * busy
        if drawn < _NOTHING:
            return 1 / meters
        return (idle_fraction / meters + (1 - idle_fraction) * self.own) / drawn


class Split(Protocol):
    """One way to know who used a device.

    Attributes:
        by: what it goes by, for the user.
        idle_fraction: what an idle device draws of a busy one's power.
        trouble: why it cannot tell; empty while it can.
    """

    by: str
    idle_fraction: float
    trouble: str

    def begin(self) -> None:
        """Begin to look: another meter has come."""

    def use(self) -> Use | None:
        """Return the use since the previous call, or since the beginning; None where it cannot tell."""
