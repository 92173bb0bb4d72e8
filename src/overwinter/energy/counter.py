"""Increments of a hardware counter that may wrap, be reset, or not be read for too long."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from overwinter.energy.protocols import Increment

_MAX_REPORTED = 10  # faults of one counter reported individually


@dataclass(frozen=True, kw_only=True, slots=True)
class Step:
    """The change of a counter since the previous reading.

    Attributes:
        amount: Counted units.
        doubt: Units by which `amount` may be wrong.
        fault: A description of what is wrong with the reading, for the user; empty if nothing.
        lost: Whether `amount` is unknown and must be estimated.
    """

    amount: int
    doubt: int = 0
    fault: str = ""
    lost: bool = False


class Counter:
    """Readings of one counter.

    A reading below the previous one is a wrap if the device could have drawn that much in the time, else a reset. If
    the counter could have wrapped several times, the number of wraps follows from the recent rate.

    Args:
        value: The first reading.
        now_s: The time of the first reading.
        peak_per_s: An upper bound of the units per second.
        turn: Units after which the counter wraps to zero; None if it never does, or if unknown.
        possible_turns: Possible values of `turn` if it is unknown.
    """

    def __init__(
        self,
        value: int,
        now_s: float,
        *,
        peak_per_s: float,
        turn: int | None = None,
        possible_turns: Sequence[int] = (),
    ) -> None:
        if turn is not None and value > turn:
            turn = None  # it has counted beyond its reported end
        self._value, self._now_s = value, now_s
        self._peak_per_s, self._turn = peak_per_s, turn
        self._possible_turns = possible_turns
        self._rate_per_s = 0.0
        # A late update of the counter makes the next increment larger.
        self._slack_s = 1.0 if turn is None else min(1.0, turn / peak_per_s / 4)

    @property
    def max_interval_s(self) -> float:
        """Time within which the counter cannot wrap, with a margin."""
        shortest = min(self._possible_turns, default=None) if self._turn is None else self._turn
        return float("inf") if shortest is None else shortest / self._peak_per_s / 4

    def step(self, value: int, now_s: float) -> Step:
        """Return the change to a new reading."""
        elapsed_s = max(now_s - self._now_s, 0.0)
        limit = self._peak_per_s * (elapsed_s + self._slack_s)
        if self._turn is not None and value > self._turn:
            self._turn = None  # as above
        guessed = self._turn is None and value < self._value and self._guess_turn(self._value - value, limit)
        forward = value - self._value if self._turn is None else (value - self._value) % self._turn
        previous, self._value, self._now_s = self._value, value, now_s
        if self._turn is not None and limit >= self._turn:
            return self._turned(forward, elapsed_s, self._turn)
        if not 0 <= forward <= limit:
            return Step(
                amount=0,
                fault=f"the counter jumped from {previous} to {value} in {elapsed_s:.3g} s",
                lost=True,
            )
        if elapsed_s > 0:
            self._rate_per_s = forward / elapsed_s
        if guessed:
            fault = f"the counter fell from {previous} to {value}, taken as a wrap at {self._turn}"
            return Step(amount=forward, doubt=forward, fault=fault)
        return Step(amount=forward)

    def _guess_turn(self, fallen: int, limit: float) -> bool:
        """Find the wrap of a counter that fell, and return whether there is one; otherwise it was reset."""
        self._turn = next((turn for turn in self._possible_turns if 0 <= turn - fallen <= limit), None)
        return self._turn is not None

    def _turned(self, forward: int, elapsed_s: float, turn: int) -> Step:
        """Return the change of a counter that may have wrapped more than once since the last reading."""
        turns = max(0, round((self._rate_per_s * elapsed_s - forward) / turn))
        fault = f"the counter was not read for {elapsed_s:.3g} s and may have wrapped more than once"
        return Step(amount=forward + turns * turn, doubt=turn, fault=fault)


class CounterGauge:
    """Base class of gauges on a hardware counter; subclasses set the uncertainty.

    Args:
        read: A function that returns the counter's value.
        device: The device's name, for messages.
        warn: A function that shows one line to the user.
        unit_uj: Microjoules per unit of the counter.
        peak_w: An upper bound of the device's power.
        turn: Units after which the counter wraps to zero; None if it never does, or if unknown.
        possible_turns: Possible values of `turn` if it is unknown.
    """

    source: str
    relative_uncertainty: float
    edge_s: float

    def __init__(
        self,
        read: Callable[[], int],
        *,
        device: str,
        warn: Callable[[str], None],
        unit_uj: float,
        peak_w: float,
        turn: int | None = None,
        possible_turns: Sequence[int] = (),
    ) -> None:
        self._read, self._device, self._warn, self._unit_uj = read, device, warn, unit_uj
        self._peak_per_s, self._turn, self._possible_turns = peak_w * 1e6 / unit_uj, turn, possible_turns
        self._now_s, self._faults = 0.0, 0
        self._counter = self._begun(0.0)

    @property
    def max_interval_s(self) -> float:
        """Maximum interval between two readings without losing a wrap."""
        return self._counter.max_interval_s

    def start(self, now_s: float) -> None:
        """Start at ``now_s``."""
        self._now_s = now_s
        self._counter = self._begun(now_s)

    def advance(self, now_s: float, *, edge: bool) -> Increment:  # noqa: ARG002 -- every reading is exact
        """Return the energy drawn since the previous call."""
        step = self._counter.step(self._read(), now_s)
        elapsed_s, self._now_s = max(0.0, now_s - self._now_s), now_s
        if step.fault:
            self._notify(step.fault)
        return Increment(
            energy_uj=round(step.amount * self._unit_uj),
            doubt_uj=round(step.doubt * self._unit_uj),
            gap_s=elapsed_s if step.lost else 0.0,
        )

    def power_w(self) -> float | None:
        """Return None: the power is derived from the energy."""
        return None

    def limit_w(self) -> float | None:
        """Return None: no limit is known."""
        return None

    def _notify(self, fault: str) -> None:
        self._faults += 1
        if self._faults < _MAX_REPORTED:
            self._warn(f"{self._device}: {fault}; the energy of that time is estimated")
        elif self._faults == _MAX_REPORTED:
            self._warn(f"{self._device}: its counter is faulty again and again; further faults are not reported")

    def _begun(self, now_s: float) -> Counter:
        return Counter(
            self._read(),
            now_s,
            peak_per_s=self._peak_per_s,
            turn=self._turn,
            possible_turns=self._possible_turns,
        )
