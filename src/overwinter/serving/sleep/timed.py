"""Policies that go down after time-outs: fixed, break-even, randomised."""

from __future__ import annotations

import math
import random
from typing import Any

from overwinter.errors import ConfigError
from overwinter.serving.sleep.interface import Decision
from overwinter.serving.sleep.levels import SleepLevels


class TimedDescent:
    """The base class: goes down at the levels' break-even times, multiplied by one factor.

    A subclass chooses the factor as an idle period begins (0: all the way down at once; infinity: never), and
    may learn from how long the period was.
    """

    reason = "time-out"

    def __init__(self, sleep_levels: SleepLevels) -> None:
        self._descents = sleep_levels.descents
        self._idle_since_s: float | None = None
        self._deadlines: tuple[tuple[float, int], ...] = ()

    def began_idle(self, time_s: float) -> None:
        """Choose the time-outs of this idle period."""
        self._idle_since_s = time_s
        factor = self._choose()
        steps = self._descents if factor < math.inf else ()
        self._deadlines = tuple((time_s + factor * step.after_s, step.level) for step in steps)

    def arrived(self, time_s: float) -> None:
        """Learn how long the idle period was, if it was one."""
        if self._idle_since_s is not None:
            self._learn(max(0.0, time_s - self._idle_since_s))
            self._idle_since_s = None

    def decide(self, time_s: float) -> Decision:
        """Return the sleep level whose time-out has passed, and when the next one passes."""
        level, reason = 0, "busy lately"
        for deadline_s, below in self._deadlines:
            if time_s < deadline_s:
                return Decision(level=level, until_s=deadline_s, reason=reason)
            level, reason = below, self.reason
        return Decision(level=level, until_s=math.inf, reason=reason)

    def state(self) -> dict[str, Any]:
        """Return nothing: the policy depends only on the present idle period."""
        return {}

    def restore(self, state: dict[str, Any]) -> None:
        """Do nothing: the policy has no state."""

    def _choose(self) -> float:
        raise NotImplementedError

    def _learn(self, idle_s: float) -> None:
        pass


class Fixed(TimedDescent):
    """A fixed time-out to the lowest level, whatever sleeping and waking cost."""

    def __init__(self, sleep_levels: SleepLevels, *, timeout_s: float) -> None:
        """Check the time-out.

        Raises:
            ConfigError: The time-out is not a number, or negative.
        """
        super().__init__(sleep_levels)
        if isinstance(timeout_s, bool) or not isinstance(timeout_s, int | float) or not timeout_s >= 0:
            raise ConfigError(f"timeout_s={timeout_s!r} must be a number of seconds, zero or more.")
        self._timeout_s = float(timeout_s)

    def began_idle(self, time_s: float) -> None:
        """Start the time-out."""
        self._idle_since_s = time_s
        self._deadlines = ((time_s + self._timeout_s, self._descents[-1].level),)


class BreakEven(TimedDescent):
    """A descent when waiting has cost as much as sleeping and waking would: at most twice the optimum.

    Karlin, Manasse, Rudolph and Sleator, *Competitive snoopy caching* (1988); no deterministic policy does
    better. Joules are counted above the lowest level, and where going down in steps costs no more than going
    down at once.
    """

    reason = "break-even"

    def _choose(self) -> float:
        return 1.0


class Randomised(TimedDescent):
    """A random share of the break-even times: at most e/(e-1) = 1.58 times the optimum, in expectation.

    The share x has the density e^x / (e - 1) on 0..1. Karlin, Manasse, McGeoch and Owicki, *Competitive
    randomized algorithms for nonuniform problems* (1990); one share for all steps: Lotker, Patt-Shamir and
    Rawitz, *Rent, lease or buy* (2008). The draws are independent of everything, so that a restart does no
    harm.
    """

    reason = "randomised"

    def __init__(self, sleep_levels: SleepLevels, *, seed: int = 0) -> None:
        super().__init__(sleep_levels)
        self._random = random.Random(seed)  # noqa: S311 -- a sleep time is not secret

    def _choose(self) -> float:
        return math.log1p(self._random.random() * (math.e - 1))
