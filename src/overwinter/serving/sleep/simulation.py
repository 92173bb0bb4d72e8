"""Replay of recorded requests through a sleep policy, compared with the offline optimum.

Accounting, the same for policies and optimum: per gap between two arrivals, the joules at each sleep level for as long
as the policy stays there, plus the additional joules of going down and waking (`SleepLevel.switch_j`). Serving time,
and arrivals during a wake, do not count in the joules. They count in the latency: a request during a wake waits for its
end. The model is ready when the first request arrives.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from overwinter.errors import OverwinterError
from overwinter.serving.sleep.interface import SleepPolicy
from overwinter.serving.sleep.levels import SleepLevels
from overwinter.serving.sleep.requests import Seconds
from overwinter.serving.sleep.timed import Fixed

_MAX_DECISIONS = 1_000_000  # in one gap; a policy with more makes no progress


@dataclass(frozen=True, kw_only=True)
class Outcome:
    """The cost of a policy on a trace.

    Attributes:
        energy_j: The energy of all gaps.
        wakes: The number of wakes, for a request or before one.
        added_latency_s: The wait of each request for a wake. (requests,)
        level_s: The time at each sleep level.
        timeouts_s: For each gap, the time from the arrival until the model first left the top; infinite if never.
            (gaps,)
    """

    energy_j: float
    wakes: int
    added_latency_s: Seconds
    level_s: tuple[float, ...]
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
    """The fixed time-out with the least energy, in hindsight."""

    timeout_s: float
    energy_j: float


def replay(arrivals_s: Seconds, policy: SleepPolicy, sleep_levels: SleepLevels) -> Outcome:
    """Replay every arrival through a policy, and return its cost.

    Args:
        arrivals_s: The arrival times, ascending. (requests,)
        policy: The policy, fresh or restored; the replay changes it.
        sleep_levels: The sleep levels and their costs.
    """
    sleeper = _Sleeper(policy, sleep_levels)
    times_s = arrivals_s.tolist()
    waits_s, timeouts_s, energies_j = [sleeper.respond(times_s[0])], [], []
    for until_s in times_s[1:]:
        timeouts_s.append(sleeper.stay(until_s))
        waits_s.append(sleeper.respond(until_s))
        energies_j.append(sleeper.take_energy_j())
    return Outcome(
        energy_j=float(np.sum(energies_j)),  # in the optimum's order, so that rounding cannot put it below
        wakes=sleeper.wakes,
        added_latency_s=np.array(waits_s),
        level_s=tuple(sleeper.level_s),
        timeouts_s=np.array(timeouts_s),
    )


def replay_fixed(arrivals_s: Seconds, timeout_s: float, sleep_levels: SleepLevels) -> Outcome:
    """Replay a fixed time-out."""
    return replay(arrivals_s, Fixed(sleep_levels, timeout_s=timeout_s), sleep_levels)


def optimum_j(arrivals_s: Seconds, sleep_levels: SleepLevels) -> float:
    """Return the least joules with all arrivals known: per gap, the cheapest level from its start."""
    gaps_s = np.diff(arrivals_s)
    choices_j = [gaps_s * level.power_w + level.switch_j for level in sleep_levels.levels]
    return float(np.min(choices_j, axis=0).sum())


def best_fixed(arrivals_s: Seconds, sleep_levels: SleepLevels) -> BestFixed:
    """Return the exact fixed time-out to the lowest level with the least energy.

    Between two neighbouring gap lengths a longer time-out only costs more, so that 0 and the gap lengths are the only
    candidates.
    """
    gaps_s = np.sort(np.diff(arrivals_s))
    timeouts_s = np.append(0.0, gaps_s)
    ended = np.searchsorted(gaps_s, timeouts_s, side="right")  # gaps that end before each time-out, or with it
    outlasting = len(gaps_s) - ended
    sums_s = np.append(0.0, np.cumsum(gaps_s))
    on_top_s = sums_s[ended] + outlasting * timeouts_s
    top, lowest = sleep_levels.levels[0], sleep_levels.levels[-1]
    energies_j = top.power_w * on_top_s + lowest.power_w * (sums_s[-1] - on_top_s) + outlasting * lowest.switch_j
    timeout_s = float(timeouts_s[energies_j.argmin()])
    return BestFixed(timeout_s=timeout_s, energy_j=_fixed_j(np.diff(arrivals_s), timeout_s, sleep_levels))


def _fixed_j(gaps_s: Seconds, timeout_s: float, sleep_levels: SleepLevels) -> float:
    """Return the joules of a fixed time-out, gap by gap, in the optimum's order."""
    top, lowest = sleep_levels.levels[0], sleep_levels.levels[-1]
    slept_j = top.power_w * timeout_s + lowest.power_w * (gaps_s - timeout_s) + lowest.switch_j
    return float(np.where(gaps_s > timeout_s, slept_j, top.power_w * gaps_s).sum())


class _Sleeper:
    """A model that does what its policy says, and counts."""

    def __init__(self, policy: SleepPolicy, sleep_levels: SleepLevels) -> None:
        self._policy = policy
        self._sleep_levels = sleep_levels
        self._level = 0
        self._now_s = self._settled_s = self._ready_s = -math.inf
        self.level_s = [0.0] * len(sleep_levels.levels)
        self._energy_j = 0.0
        self.wakes = 0

    def stay(self, until_s: float) -> float:
        """Follow the policy until a time; return the seconds until the top was left, infinite if it was not."""
        began_s, left_s = self._now_s, math.inf
        self._policy.began_idle(began_s)
        if until_s <= began_s:
            return left_s
        for _ in range(_MAX_DECISIONS):
            decision = self._policy.decide(self._now_s)
            if decision.level != self._level:
                self._move(decision.level)
                left_s = min(left_s, self._now_s - began_s)
            step_s = min(decision.until_s, until_s)
            self._stay(step_s - self._now_s)
            self._now_s = step_s
            if decision.until_s >= until_s:
                return left_s
        raise OverwinterError(
            f"The sleep policy {type(self._policy).__name__} decided {_MAX_DECISIONS} times in one gap, "
            f"at last for {decision}. Its until_s must be in the future."
        )

    def respond(self, time_s: float) -> float:
        """Wake if necessary; return the wait of the request."""
        self._now_s = time_s
        if self._level:
            self._move(0)
        self._policy.arrived(time_s)
        return max(0.0, self._ready_s - time_s)

    def take_energy_j(self) -> float:
        """Return the joules since the last call."""
        energy_j, self._energy_j = self._energy_j, 0.0
        return energy_j

    def _stay(self, duration_s: float) -> None:
        self.level_s[self._level] += duration_s
        self._energy_j += self._sleep_levels.levels[self._level].power_w * duration_s

    def _move(self, to: int) -> None:
        """Move to another level, and add the cost."""
        left, reached = self._sleep_levels.levels[self._level], self._sleep_levels.levels[to]
        if to > self._level:
            self._energy_j += reached.sleep_j - reached.power_w * reached.sleep_s
            self._settled_s = self._now_s + reached.sleep_s
        else:
            self.wakes += 1
            self._energy_j += left.wake_j - left.power_w * left.wake_s - reached.wake_j
            if self._now_s >= self._ready_s:
                self._ready_s = max(self._now_s, self._settled_s) + left.wake_s - reached.wake_s
        self._level = to
