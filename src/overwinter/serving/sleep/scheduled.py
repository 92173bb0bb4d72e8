"""A schedule on top of another policy: ready in its windows, and woken in time for them."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

from overwinter.serving.sleep.interface import Decision, SleepPolicy
from overwinter.serving.sleep.levels import SleepLevels
from overwinter.serving.sleep.windows import Window


class Scheduled:
    """A policy that keeps the model ready in windows; outside them, another policy decides.

    It wakes the model before a window by the longest wake time, so that the first request finds it ready.
    """

    def __init__(self, policy: SleepPolicy, sleep_levels: SleepLevels, *, windows: Sequence[Window]) -> None:
        self._policy = policy
        self._windows = tuple(windows)
        self._lead_s = max(level.sleep_s + level.wake_s for level in sleep_levels.levels)
        self._held, self._known_from_s, self._known_until_s = False, math.inf, -math.inf

    def began_idle(self, time_s: float) -> None:
        """Notify the policy outside."""
        self._policy.began_idle(time_s)

    def arrived(self, time_s: float) -> None:
        """Notify the policy outside, which learns from requests inside, too."""
        self._policy.arrived(time_s)

    def decide(self, time_s: float) -> Decision:
        """Return the top level in a window and shortly before one, otherwise the decision of the policy outside."""
        if not self._known_from_s <= time_s < self._known_until_s:
            self._look_up(time_s)
        if self._held:
            return Decision(level=0, until_s=self._known_until_s, reason="window")
        outside = self._policy.decide(time_s)
        until_s = min(outside.until_s, self._known_until_s)
        return Decision(level=outside.level, until_s=until_s, reason=outside.reason)

    def state(self) -> dict[str, Any]:
        """Return the state of the policy outside."""
        return self._policy.state()

    def restore(self, state: dict[str, Any]) -> None:
        """Restore the policy outside."""
        self._policy.restore(state)

    def _look_up(self, time_s: float) -> None:
        held, until_s = zip(*(self._hold(window, time_s) for window in self._windows), strict=True)
        self._held, self._known_from_s, self._known_until_s = any(held), time_s, min(until_s)

    def _hold(self, window: Window, time_s: float) -> tuple[bool, float]:
        """Return whether the window keeps the model ready, and until when that is known."""
        if window.is_open(time_s):
            return True, window.next_end_s(time_s)
        start_s = window.next_start_s(time_s)
        ready_from_s = start_s - self._lead_s
        return (True, start_s) if ready_from_s <= time_s else (False, ready_from_s)
