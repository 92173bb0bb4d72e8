"""The base class of gauges on power sensors: power readings integrated by the trapezoid rule."""

from __future__ import annotations

from collections.abc import Callable

from overwinter.energy.protocols import Increment


class PowerGauge:
    """Integrates power over time; subclasses set the uncertainty.

    Args:
        read_w: A function that returns the power, in watts.
    """

    source: str
    relative_uncertainty: float
    edge_s: float
    max_interval_s = 1.0

    def __init__(self, read_w: Callable[[], float]) -> None:
        self._read_w = read_w
        self._now_s = 0.0
        self._power_w: float | None = None

    def start(self, now_s: float) -> None:
        """Start at ``now_s``, which is in the past if another gauge failed then."""
        self._now_s, self._power_w = now_s, None

    def advance(self, now_s: float, *, edge: bool) -> Increment:  # noqa: ARG002 -- every reading is exact
        """Return the energy drawn since the previous call."""
        power_w = self._read_w()
        mean_w = power_w if self._power_w is None else (power_w + self._power_w) / 2
        energy_uj = round(mean_w * max(now_s - self._now_s, 0.0) * 1e6)
        self._now_s, self._power_w = now_s, power_w
        return Increment(energy_uj=energy_uj)

    def power_w(self) -> float | None:
        """Return the power at the last reading."""
        return self._power_w

    def limit_w(self) -> float | None:
        """Return None: no limit is known."""
        return None
