"""A model of a device without a readable counter, from others of its kind: it is assumed to draw as much as they do."""

from __future__ import annotations

import statistics
from collections.abc import Sequence

from overwinter.energy.channel import Channel
from overwinter.energy.protocols import Increment
from overwinter.energy.report import MODELLED


class SiblingModel:
    """The mean of other channels, which must be read before this one.

    The distribution of work over sockets is unknown: this one may be idle, or do most of it.
    """

    source = MODELLED
    relative_uncertainty = 1.0
    edge_s = 0.0
    max_interval_s = float("inf")

    def __init__(self, siblings: Sequence[Channel]) -> None:
        self._siblings = list(siblings)
        self._reported_uj = 0

    def start(self, now_s: float) -> None:  # noqa: ARG002 -- the siblings know the time
        """Start at the siblings' energy so far."""
        self._reported_uj = self._mean_uj()

    def advance(self, now_s: float, *, edge: bool) -> Increment:  # noqa: ARG002 -- as above
        """Return the siblings' mean energy since the previous call."""
        before_uj, self._reported_uj = self._reported_uj, self._mean_uj()
        return Increment(energy_uj=self._reported_uj - before_uj)

    def power_w(self) -> float | None:
        """Return None: the power follows from the energy."""
        return None

    def limit_w(self) -> float | None:
        """Return None: no limit is known."""
        return None

    def _mean_uj(self) -> int:
        return round(statistics.fmean(channel.energy_uj for channel in self._siblings))
