"""A latency limit on top of another policy: slow rungs are rationed, so that slow answers stay under a twentieth.

The 95th percentile of the added latency is within a limit as long as at most 5 % of the requests wait longer. Rungs
that wake within the limit are free to use. Every request earns a twentieth of a slow answer; going to a slow rung
needs as many as its wake will probably cost.
"""

from __future__ import annotations

import math
from typing import Any

from overwinter.errors import ConfigError, IntegrityError
from overwinter.serving.sleep.interface import Decision, SleepPolicy
from overwinter.serving.sleep.ladder import Ladder

_EARNED = 0.05  # slow answers per request: one minus the percentile
_SAVED_UP_MOST = 250.0  # slow answers, so that a day of plenty does not pay for a bad week
_SPEED = 0.05  # weight of the newest wake in the running mean of slow answers per wake


class WithinLatency:
    """What a policy wants, but never further down than the latency limit affords.

    The limit holds over any stretch of requests that begins with nothing saved up, but for the requests that come
    while a wake is under way and were more than in the wakes before.
    """

    def __init__(self, policy: SleepPolicy, ladder: Ladder, *, limit_s: float) -> None:
        """Check the limit.

        Raises:
            ConfigError: it is no number, or negative.
        """
        if isinstance(limit_s, bool) or not isinstance(limit_s, int | float) or not limit_s >= 0:
            raise ConfigError(f"The latency limit {limit_s!r} must be a number of seconds, zero or more.")
        self._policy = policy
        self._limit_s = float(limit_s)
        self._wait_s = tuple(rung.sleep_s + rung.wake_s for rung in ladder.rungs)
        self._rung = 0
        self._ready_s = -math.inf  # when the wake that is under way is done
        self._left = -1.0  # slow answers that may still be given; one is kept in reserve
        self._per_wake = 1.0
        self._this_wake = 0

    def began_idle(self, time_s: float) -> None:
        """Pass it on."""
        self._policy.began_idle(time_s)

    def arrived(self, time_s: float) -> None:
        """Count the request, and whether it has to wait longer than the limit."""
        if self._wait_s[self._rung] > self._limit_s and time_s >= self._ready_s:
            self._begin_wake(time_s + self._wait_s[self._rung])
        slow = self._ready_s - time_s > self._limit_s
        self._this_wake += slow
        self._left = min(self._left + _EARNED, _SAVED_UP_MOST) - slow
        self._rung = 0
        self._policy.arrived(time_s)

    def decide(self, time_s: float) -> Decision:
        """Return the policy's rung, or the deepest that the limit affords."""
        wish = self._policy.decide(time_s)
        rung = wish.rung if self._left >= self._per_wake else self._fast(wish.rung)
        self._rung = rung
        if rung == wish.rung:
            return wish
        return Decision(rung=rung, until_s=wish.until_s, reason="latency limit")

    def state(self) -> dict[str, Any]:
        """Return what is left, and the state of the policy inside."""
        return {"left": self._left, "per_wake": self._per_wake, "policy": self._policy.state()}

    def restore(self, state: dict[str, Any]) -> None:
        """Go on from ``state``.

        Raises:
            IntegrityError: ``state`` was not made by a policy like this one.
        """
        try:
            left, per_wake, inner = float(state["left"]), float(state["per_wake"]), dict(state["policy"])
            if not (left <= _SAVED_UP_MOST and math.isfinite(left) and 1 <= per_wake < math.inf):
                raise ValueError(f"{left} slow answers left, {per_wake} per wake")  # noqa: TRY301 -- one message
        except (KeyError, TypeError, ValueError) as error:
            raise IntegrityError(
                f"The saved state of the latency limit cannot be used: {error}. Delete it: counting then begins afresh."
            ) from None
        self._policy.restore(inner)
        self._left, self._per_wake = left, per_wake

    def _begin_wake(self, ready_s: float) -> None:
        if self._this_wake:
            self._per_wake += _SPEED * (self._this_wake - self._per_wake)
        self._ready_s, self._this_wake = ready_s, 0

    def _fast(self, wished: int) -> int:
        return max(rung for rung in range(wished + 1) if self._wait_s[rung] <= self._limit_s)
