"""A channel: one device and the gauges that can read it. When a gauge fails, the next takes over."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

from overwinter.energy.protocols import Gauge, Increment
from overwinter.energy.report import MODELLED

_STUCK_AFTER_S = 5.0
_STUCK_AFTER_UPDATES = 500  # expected updates without a change
_STUCK_AFTER_READS = 10
_DEAD_AFTER_UPDATES = 100  # the same at the end of a window, for a counter that has never changed
_SMOOTHING = 0.3  # of the recent power: about the last second at 10 Hz
_MIN_POWER_INTERVAL_S = 0.02  # a power derived over less is mostly the counter's own update


class _StuckCounterError(Exception):
    """A counter does not change although its device is on."""


@dataclass(slots=True)
class Total:
    """Energy since the channel's start, by one source.

    Attributes:
        source: The source.
        relative_uncertainty: The source's relative uncertainty.
        edge_s: The source's `edge_s`.
        energy_uj: This run's energy so far.
        doubt_uj: Further uncertainty so far.
        drawn_uj: The device's energy so far, for all runs.
        waiting_uj: Energy drawn while another meter read the counter, not yet divided.
    """

    source: str
    relative_uncertainty: float
    edge_s: float
    energy_uj: int = 0
    doubt_uj: int = 0
    drawn_uj: int = 0
    waiting_uj: int = 0


class Channel:
    """One device's energy since its start.

    Args:
        device: The device, such as `gpu:0`.
        gauges: Gauges that can read it, the best first. After the last one fails, the last known power is assumed.
        guess_w: The power assumed while none is known.
        held_uncertainty: The relative uncertainty of assumed power.
        warn: A function that shows one line to the user.
        never_still: Whether the counter always changes while the device is on, so that no change is a failure.
        counter: The counter's identity on this machine, to find other meters of it; the device's name by default.

    Attributes:
        shared: Whether another meter reads the counter too; energy drawn then waits for `settle`.
        shared_s: The last time that another meter read it.
        idle_w: The device's idle power; None if unknown.
    """

    def __init__(
        self,
        *,
        device: str,
        gauges: Sequence[Gauge],
        guess_w: float,
        held_uncertainty: float,
        warn: Callable[[str], None],
        never_still: bool = False,
        counter: str | None = None,
    ) -> None:
        self.device = device
        self.counter = counter or device
        self.shared, self.shared_s = False, float("-inf")
        self.idle_w: float | None = None
        self._gauges = list(gauges)
        self._recent_w: float | None = None
        self._guess_w = guess_w
        self._held_uncertainty = held_uncertainty
        self._warn = warn
        self._never_still = never_still
        self._totals: dict[str, Total] = {}
        self._now_s = self._moved_s = self._ticked_s = 0.0
        self._still_reads = 0
        self._ticked_uj = 0

    def start(self, now_s: float) -> None:
        """Start counting at ``now_s``."""
        self._now_s = self._moved_s = self._ticked_s = now_s
        while self._gauges:
            try:
                self._gauges[0].start(now_s)
            except Exception as error:  # noqa: BLE001 -- a driver may raise anything; the work must go on
                self._drop(error)
            else:
                return

    @property
    def max_interval_s(self) -> float:
        """Maximum interval between two readings without losing energy."""
        return self._gauges[0].max_interval_s if self._gauges else float("inf")

    @property
    def totals(self) -> Iterator[Total]:
        """Yield the energy since the start, by source."""
        return iter(self._totals.values())

    @property
    def energy_uj(self) -> int:
        """This run's energy since the start, over all sources."""
        return sum(total.energy_uj for total in self._totals.values())

    @property
    def drawn_uj(self) -> int:
        """The device's energy since the start, over all sources and runs."""
        return sum(total.drawn_uj for total in self._totals.values())

    @property
    def power_w(self) -> float:
        """The device's recent power, or the guess if none is known."""
        return self._guess_w if self._recent_w is None else self._recent_w

    @property
    def source(self) -> str:
        """Source of the current gauge."""
        return self._gauges[0].source if self._gauges else MODELLED

    @property
    def measured(self) -> bool:
        """Whether a counter or a sensor currently reads this device."""
        return self.source != MODELLED

    def advance(self, now_s: float, *, edge: bool) -> None:
        """Count up to ``now_s``. Never raises."""
        while self._gauges:
            try:
                self._count(self._gauges[0].advance(now_s, edge=edge), now_s, edge=edge)
            except Exception as error:  # noqa: BLE001 -- a driver may raise anything; the work must go on
                self._drop(error)
                self._hand_over()
            else:
                self._now_s = now_s
                return
        self._hold(now_s - self._moved_s)
        self._now_s = self._moved_s = now_s

    def settle(self, part: float | None) -> int:
        """Count ``part`` of the energy drawn while other meters read the counter too, as an estimate.

        Its uncertainty is that of assumed power. If the part is unknown, all of it is counted, with the same amount as
        uncertainty.

        Returns:
            The microjoules that waited.
        """
        self.shared_s, waited_uj = self._now_s, 0
        for total in list(self._totals.values()):
            waiting_uj, total.waiting_uj = total.waiting_uj, 0
            waited_uj += waiting_uj
            if part is None:
                total.energy_uj += waiting_uj
                total.doubt_uj += waiting_uj
        if waited_uj and part is not None:
            self._total(MODELLED, self._held_uncertainty, 0.0).energy_uj += round(waited_uj * part)
        return waited_uj

    def sample(self, now_s: float) -> tuple[float, float | None] | None:
        """Return the device's (power in watts, limit in watts) at ``now_s``; None if too little time has passed."""
        elapsed_s = now_s - self._ticked_s
        if elapsed_s < _MIN_POWER_INTERVAL_S:
            return None
        power_w, limit_w = self._reading()
        if power_w is None:
            power_w = (self.drawn_uj - self._ticked_uj) / 1e6 / elapsed_s
        self._ticked_s, self._ticked_uj = now_s, self.drawn_uj
        if power_w or not self._never_still:  # a counter without a change is not a power of zero
            self._recent_w = _smoothed(self._recent_w, power_w)
        return power_w, limit_w

    def _reading(self) -> tuple[float | None, float | None]:
        if not self._gauges:
            return self.power_w, None
        try:
            return self._gauges[0].power_w(), self._gauges[0].limit_w()
        except Exception:  # noqa: BLE001 -- a missing sample loses no energy; `advance` notices a dead device
            return None, None

    def _count(self, increment: Increment, now_s: float, *, edge: bool) -> None:
        gauge = self._gauges[0]
        moved = bool(increment.energy_uj or increment.gap_s)
        self._still_reads = 0 if moved else self._still_reads + 1
        total = self._total(gauge.source, gauge.relative_uncertainty, gauge.edge_s)
        if self._never_still and not moved and self._is_stuck(now_s - self._moved_s, total, edge=edge):
            raise _StuckCounterError(f"it has not changed for {now_s - self._moved_s:.1f} s")
        self._add(total, increment.energy_uj)
        total.doubt_uj += increment.doubt_uj
        self._hold(increment.gap_s)
        if moved:
            self._moved_s = now_s

    def _is_stuck(self, still_s: float, total: Total, *, edge: bool) -> bool:
        if edge and not total.drawn_uj and still_s >= min(_STUCK_AFTER_S, _DEAD_AFTER_UPDATES * total.edge_s):
            return True
        patience_s = min(_STUCK_AFTER_S, _STUCK_AFTER_UPDATES * total.edge_s)
        return self._still_reads >= _STUCK_AFTER_READS and still_s >= patience_s

    def _hold(self, duration_s: float) -> None:
        """Assume the last known power for a time without readings."""
        if duration_s > 0:
            total = self._total(MODELLED, self._held_uncertainty, 0.0)
            self._add(total, round(self.power_w * duration_s * 1e6))

    def _add(self, total: Total, energy_uj: int) -> None:
        total.drawn_uj += energy_uj
        if self.shared:
            total.waiting_uj += energy_uj
        else:
            total.energy_uj += energy_uj

    def _total(self, source: str, relative_uncertainty: float, edge_s: float) -> Total:
        if source not in self._totals:
            self._totals[source] = Total(source, relative_uncertainty, edge_s)
        return self._totals[source]

    def _drop(self, error: Exception) -> None:
        failed = self._gauges.pop(0)
        then = (
            f"continuing with {self._gauges[0].source}" if self._gauges else "assuming its last known power from now on"
        )
        self._warn(f"{self.device}: {failed.source} failed ({error or type(error).__name__}); {then}")

    def _hand_over(self) -> None:
        """Start the next gauge at the failed one's last change."""
        self._still_reads = 0
        while self._gauges:
            try:
                self._gauges[0].start(self._moved_s)
            except Exception as error:  # noqa: BLE001 -- as above
                self._drop(error)
            else:
                return


def _smoothed(recent_w: float | None, power_w: float) -> float:
    return power_w if recent_w is None else recent_w + _SMOOTHING * (power_w - recent_w)
