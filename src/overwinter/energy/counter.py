"""A hardware counter that wraps, is reset, or was not looked at for too long, turned into increments."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from overwinter.energy.protocols import Increment

_MAX_REPORTED = 10  # faults of one counter, one by one


@dataclass(frozen=True, kw_only=True, slots=True)
class Step:
    """What happened to the counter since the previous reading.

    Attributes:
        amount: counted units.
        doubt: units by which `amount` may be wrong.
        fault: empty, or what is wrong with the reading, for the user.
        lost: whether `amount` is unknown and the time must be filled otherwise.
    """

    amount: int
    doubt: int = 0
    fault: str = ""
    lost: bool = False


class Counter:
    """Readings of one counter.

    A reading below the previous one is a wrap if the device could have drawn that much in the time, else the
    counter was set back. When the time would have allowed a full turn, the number of turns follows from the
    recent rate.

    Args:
        value: the first reading.
        now_s: its time.
        peak_per_s: more units per second than the device can draw.
        turn: units after which the counter begins again at zero; None if it never does, or no one tells.
        possible_turns: what its turn may be, where no one tells.
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
            turn = None  # it has counted beyond what is told to be its end
        self._value, self._now_s = value, now_s
        self._peak_per_s, self._turn = peak_per_s, turn
        self._possible_turns = possible_turns
        self._rate_per_s = 0.0
        # A counter's update may be late, so that the next reading catches up with more than its share.
        self._slack_s = 1.0 if turn is None else min(1.0, turn / peak_per_s / 4)

    @property
    def max_interval_s(self) -> float:
        """Time within which the counter cannot turn, with a margin."""
        shortest = min(self._possible_turns, default=None) if self._turn is None else self._turn
        return float("inf") if shortest is None else shortest / self._peak_per_s / 4

    def step(self, value: int, now_s: float) -> Step:
        """Take a new reading."""
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
            fault = f"the counter fell from {previous} to {value}, which is taken for a turn at {self._turn}"
            return Step(amount=forward, doubt=forward, fault=fault)
        return Step(amount=forward)

    def _guess_turn(self, fallen: int, limit: float) -> bool:
        """Find the turn that a counter which fell has made, if it is one; otherwise it was set back."""
        self._turn = next((turn for turn in self._possible_turns if 0 <= turn - fallen <= limit), None)
        return self._turn is not None

    def _turned(self, forward: int, elapsed_s: float, turn: int) -> Step:
        """The counter was not read for so long that it may have wrapped more than once."""
        turns = max(0, round((self._rate_per_s * elapsed_s - forward) / turn))
        fault = f"the counter was not read for {elapsed_s:.3g} s and may have wrapped more than once"
        return Step(amount=forward + turns * turn, doubt=turn, fault=fault)


class CounterGauge:
    """What every gauge on a hardware counter shares; its classes say how far to trust the counter.

    Args:
        read: gives the counter's value.
        device: for messages.
        warn: takes one line for the user.
        unit_uj: microjoules per unit of the counter.
        peak_w: more than the device can draw.
        turn: units after which the counter begins again at zero; None if it never does, or no one tells.
        possible_turns: what its turn may be, where no one tells.
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
        """Read at least this often, or a turn of the counter is lost."""
        return self._counter.max_interval_s

    def start(self, now_s: float) -> None:
        """Begin at ``now_s``."""
        self._now_s = now_s
        self._counter = self._begun(now_s)

    def advance(self, now_s: float, *, edge: bool) -> Increment:  # noqa: ARG002 -- every reading counts alike
        """Return what was drawn since the previous call."""
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
        """Return None: the power follows from the energy."""
        return None

    def limit_w(self) -> float | None:
        """Return None: no limit is known."""
        return None

    def _notify(self, fault: str) -> None:
        self._faults += 1
        if self._faults < _MAX_REPORTED:
            self._warn(f"{self._device}: {fault}; the energy of that time is estimated")
        elif self._faults == _MAX_REPORTED:
            self._warn(
                f"{self._device}: its counter goes wrong again and again; the rest of it is not reported one by one"
            )

    def _begun(self, now_s: float) -> Counter:
        return Counter(
            self._read(),
            now_s,
            peak_per_s=self._peak_per_s,
            turn=self._turn,
            possible_turns=self._possible_turns,
        )
