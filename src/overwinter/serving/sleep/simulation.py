"""Recorded requests replayed through a sleep policy, against the offline optimum.

Accounting, the same for policies and optimum: per gap between two arrivals, the joules of resting on each
rung for as long as the policy rests there, and for going down and waking what they cost on top of resting
(`Rung.switch_j`). Serving time, and arrivals during a wake, are left out of the joules. They count in the
latency: who arrives during a wake waits for its end. The model is ready when the first request arrives.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from overwinter.errors import OverwinterError
from overwinter.serving.sleep.interface import SleepPolicy
from overwinter.serving.sleep.ladder import Ladder
from overwinter.serving.sleep.requests import Seconds
from overwinter.serving.sleep.timed import Fixed

_MOST_DECISIONS = 1_000_000  # in one gap; a policy that asks for more stands still


@dataclass(frozen=True, kw_only=True)
class Outcome:
    """What a policy spent on a trace.

    Attributes:
        energy_j: all gaps.
        wakes: how often it woke, for a request or ahead of one.
        added_latency_s: per request, how long it waited for a wake. (requests,)
        rest_s: seconds rested on each rung of the ladder.
        timeouts_s: per gap, how long after the arrival the model first left the top; infinite if never.
            (gaps,)
    """

    energy_j: float
    wakes: int
    added_latency_s: Seconds
    rest_s: tuple[float, ...]
    timeouts_s: NDArray[np.float64]

    def added_latency_percentile_s(self, percentile: float) -> float:
        """Return a percentile of the added latency over all requests."""
        return float(np.percentile(self.added_latency_s, percentile))

    def to_json(self) -> dict[str, Any]:
        """Return the figures that are compared."""
        return {
            "energy_j": self.energy_j,
            "wakes": self.wakes,
            "added_latency_p50_s": self.added_latency_percentile_s(50),
            "added_latency_p95_s": self.added_latency_percentile_s(95),
        }


@dataclass(frozen=True, kw_only=True)
class BestFixed:
    """The fixed time-out that would have spent least, known only afterwards."""

    timeout_s: float
    energy_j: float


def replay(arrivals_s: Seconds, policy: SleepPolicy, ladder: Ladder) -> Outcome:
    """Show a policy every arrival in turn, and account for where it rested.

    Args:
        arrivals_s: ascending. (requests,)
        policy: fresh, or restored; it is changed by what it sees.
        ladder: what each rung costs.
    """
    sleeper = _Sleeper(policy, ladder)
    times_s = arrivals_s.tolist()
    waits_s, timeouts_s, energies_j = [sleeper.answer(times_s[0])], [], []
    for until_s in times_s[1:]:
        timeouts_s.append(sleeper.rest(until_s))
        waits_s.append(sleeper.answer(until_s))
        energies_j.append(sleeper.take_energy_j())
    return Outcome(
        energy_j=float(np.sum(energies_j)),  # in the optimum's order, so that rounding cannot put it below
        wakes=sleeper.wakes,
        added_latency_s=np.array(waits_s),
        rest_s=tuple(sleeper.rest_s),
        timeouts_s=np.array(timeouts_s),
    )


def replay_fixed(arrivals_s: Seconds, timeout_s: float, ladder: Ladder) -> Outcome:
    """Replay a fixed time-out."""
    return replay(arrivals_s, Fixed(ladder, timeout_s=timeout_s), ladder)


def optimum_j(arrivals_s: Seconds, ladder: Ladder) -> float:
    """Return the least joules with all arrivals known: per gap, the cheapest rung from its first moment."""
    gaps_s = np.diff(arrivals_s)
    choices_j = [gaps_s * rung.power_w + rung.switch_j for rung in ladder.rungs]
    return float(np.min(choices_j, axis=0).sum())


def best_fixed(arrivals_s: Seconds, ladder: Ladder) -> BestFixed:
    """Return the fixed time-out to the lowest rung that spends least, found exactly.

    Between two neighbouring gap lengths a longer time-out only costs more, so that 0 and the gaps are all to
    try.
    """
    gaps_s = np.sort(np.diff(arrivals_s))
    timeouts_s = np.append(0.0, gaps_s)
    ended = np.searchsorted(gaps_s, timeouts_s, side="right")  # gaps that end before each time-out, or with it
    outlasting = len(gaps_s) - ended
    sums_s = np.append(0.0, np.cumsum(gaps_s))
    on_top_s = sums_s[ended] + outlasting * timeouts_s
    top, lowest = ladder.rungs[0], ladder.rungs[-1]
    energies_j = top.power_w * on_top_s + lowest.power_w * (sums_s[-1] - on_top_s) + outlasting * lowest.switch_j
    timeout_s = float(timeouts_s[energies_j.argmin()])
    return BestFixed(timeout_s=timeout_s, energy_j=_fixed_j(np.diff(arrivals_s), timeout_s, ladder))


def _fixed_j(gaps_s: Seconds, timeout_s: float, ladder: Ladder) -> float:
    """Return the joules of a fixed time-out, gap by gap, in the optimum's order."""
    top, lowest = ladder.rungs[0], ladder.rungs[-1]
    slept_j = top.power_w * timeout_s + lowest.power_w * (gaps_s - timeout_s) + lowest.switch_j
    return float(np.where(gaps_s > timeout_s, slept_j, top.power_w * gaps_s).sum())


class _Sleeper:
    """A model that does what its policy says, and counts."""

    def __init__(self, policy: SleepPolicy, ladder: Ladder) -> None:
        self._policy = policy
        self._ladder = ladder
        self._rung = 0
        self._now_s = self._settled_s = self._ready_s = -math.inf
        self.rest_s = [0.0] * len(ladder.rungs)
        self._energy_j = 0.0
        self.wakes = 0

    def rest(self, until_s: float) -> float:
        """Rest until a moment; return after how many seconds the top was left, infinite if it was not."""
        began_s, left_s = self._now_s, math.inf
        self._policy.began_idle(began_s)
        if until_s <= began_s:
            return left_s
        for _ in range(_MOST_DECISIONS):
            decision = self._policy.decide(self._now_s)
            if decision.rung != self._rung:
                self._move(decision.rung)
                left_s = min(left_s, self._now_s - began_s)
            step_s = min(decision.until_s, until_s)
            self._rest(step_s - self._now_s)
            self._now_s = step_s
            if decision.until_s >= until_s:
                return left_s
        raise OverwinterError(
            f"The sleep policy {type(self._policy).__name__} decided {_MOST_DECISIONS} times in one gap, "
            f"at last for {decision}. Its until_s must lie ahead."
        )

    def answer(self, time_s: float) -> float:
        """Wake if need be; return how long the request waits."""
        self._now_s = time_s
        if self._rung:
            self._move(0)
        self._policy.arrived(time_s)
        return max(0.0, self._ready_s - time_s)

    def take_energy_j(self) -> float:
        """Return the joules since this was last asked."""
        energy_j, self._energy_j = self._energy_j, 0.0
        return energy_j

    def _rest(self, duration_s: float) -> None:
        self.rest_s[self._rung] += duration_s
        self._energy_j += self._ladder.rungs[self._rung].power_w * duration_s

    def _move(self, to: int) -> None:
        """Go down, paying for it, or wake, in part or wholly."""
        left, reached = self._ladder.rungs[self._rung], self._ladder.rungs[to]
        if to > self._rung:
            self._energy_j += reached.sleep_j - reached.power_w * reached.sleep_s
            self._settled_s = self._now_s + reached.sleep_s
        else:
            self.wakes += 1
            self._energy_j += left.wake_j - left.power_w * left.wake_s - reached.wake_j
            if self._now_s >= self._ready_s:
                self._ready_s = max(self._now_s, self._settled_s) + left.wake_s - reached.wake_s
        self._rung = to
