"""A latency limit on top of another policy: at most a twentieth of the requests waits longer.

The 95th percentile of the added latency is within a limit as long as at most 5 % of the requests wait longer.
Levels that wake within the limit are free to use. The others have two rules. Every request earns a twentieth of a slow
response, and going to a slow level needs as many as its wake will probably cost: that keeps the limit. And the model
must have been idle for some time first, which is adjusted so that the budget is used in the longest idle periods,
where it saves most energy.
"""

from __future__ import annotations

import math
from typing import Any

from overwinter.errors import ConfigError, IntegrityError
from overwinter.serving.sleep.interface import Decision, SleepPolicy
from overwinter.serving.sleep.levels import SleepLevels

_EARNED = 0.05  # slow responses per request: one minus the percentile
_SAVED_UP_MOST = 1000.0  # slow responses, so that a quiet year does not pay for a bad week
_SPEED = 0.05  # weight of the newest wake in the running mean of slow responses per wake
_STEP = 0.01  # by how much a slow response lengthens the patience, as a logarithm; less adapts too late
_PATIENCE_RANGE = (1e-3, 1e6)  # in break-even times


class WithinLatency:
    """A policy, restricted to the levels that the latency limit affords.

    The limit holds over all requests since the start, except those that arrive during a wake in larger numbers than in
    earlier wakes.
    """

    def __init__(self, policy: SleepPolicy, sleep_levels: SleepLevels, *, limit_s: float) -> None:
        """Check the limit.

        Raises:
            ConfigError: The limit is not a number, or negative.
        """
        if isinstance(limit_s, bool) or not isinstance(limit_s, int | float) or not limit_s >= 0:
            raise ConfigError(f"The latency limit {limit_s!r} must be a number of seconds, zero or more.")
        self._policy = policy
        self._limit_s = float(limit_s)
        self._wait_s = tuple(level.sleep_s + level.wake_s for level in sleep_levels.levels)
        self._unit_s = sleep_levels.break_even_s or 1.0
        self._patience = 1.0  # in break-even times
        self._level, self._wanted = 0, False
        self._idle_since_s = 0.0
        self._ready_s = -math.inf  # end of the wake in progress
        self._left = -1.0  # slow responses that are still allowed; one is kept in reserve
        self._per_wake = 1.0
        self._this_wake = 0

    def began_idle(self, time_s: float) -> None:
        """Record that the model is idle, and notify the inner policy."""
        self._idle_since_s = time_s
        self._policy.began_idle(time_s)

    def arrived(self, time_s: float) -> None:
        """Count the request, and whether it has to wait longer than the limit."""
        if self._wait_s[self._level] > self._limit_s and time_s >= self._ready_s:
            self._begin_wake(time_s + self._wait_s[self._level])
        slow = self._ready_s - time_s > self._limit_s
        self._this_wake += slow
        self._left = min(self._left + _EARNED, _SAVED_UP_MOST) - slow
        self._adjust_patience()
        self._level, self._wanted = 0, False
        self._policy.arrived(time_s)

    def decide(self, time_s: float) -> Decision:
        """Return the policy's sleep level, or the deepest that the limit affords."""
        decision = self._policy.decide(time_s)
        self._level = decision.level
        if self._wait_s[decision.level] <= self._limit_s:
            return decision
        patient_s = self._idle_since_s + self._patience * self._unit_s
        self._wanted = time_s >= patient_s
        if self._wanted and self._left >= self._per_wake:
            return decision
        self._level = max(level for level in range(decision.level) if self._wait_s[level] <= self._limit_s)
        until_s = min(decision.until_s, patient_s) if time_s < patient_s else decision.until_s
        return Decision(level=self._level, until_s=until_s, reason="latency limit")

    def state(self) -> dict[str, Any]:
        """Return the counts, and the state of the inner policy."""
        return {
            "left": self._left,
            "per_wake": self._per_wake,
            "patience": self._patience,
            "policy": self._policy.state(),
        }

    def restore(self, state: dict[str, Any]) -> None:
        """Continue from ``state``.

        Raises:
            IntegrityError: ``state`` is not from such a policy.
        """
        try:
            left, per_wake, patience = (float(state[key]) for key in ("left", "per_wake", "patience"))
            inner = dict(state["policy"])
            if not (-math.inf < left <= _SAVED_UP_MOST and 1 <= per_wake < math.inf and _possible(patience)):
                found = f"{left} left, {per_wake} per wake, patience {patience}"
                raise ValueError(found)  # noqa: TRY301 -- one message for all faults
        except (KeyError, TypeError, ValueError) as error:
            raise IntegrityError(
                f"The saved state of the latency limit cannot be used: {error}. Delete it: counting then begins afresh."
            ) from None
        self._policy.restore(inner)
        self._left, self._per_wake, self._patience = left, per_wake, patience

    def _begin_wake(self, ready_s: float) -> None:
        if self._this_wake:
            self._per_wake += _SPEED * (self._this_wake - self._per_wake)
        self._ready_s, self._this_wake = ready_s, 0

    def _adjust_patience(self) -> None:
        """Adjust the patience so that a twentieth of the responses would be slow."""
        shortest, longest = _PATIENCE_RANGE
        self._patience *= math.exp(_STEP * (self._wanted * self._per_wake - _EARNED))
        self._patience = max(shortest, min(longest, self._patience))


def _possible(patience: float) -> bool:
    return _PATIENCE_RANGE[0] <= patience <= _PATIENCE_RANGE[1]
