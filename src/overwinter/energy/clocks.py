"""Detection of a suspended machine, from the difference of two clocks."""

from __future__ import annotations

import time
from collections.abc import Callable

_NOTICEABLE_S = 0.5


def suspended_clock_s() -> float:
    """Return the seconds that the machine has been suspended since its boot."""
    return time.clock_gettime(time.CLOCK_BOOTTIME) - time.clock_gettime(time.CLOCK_MONOTONIC)


class SuspendWatch:
    """Detects that the machine was suspended.

    Args:
        suspended_s: A function that returns the seconds suspended so far.
    """

    def __init__(self, suspended_s: Callable[[], float] = suspended_clock_s) -> None:
        self._suspended_s = suspended_s
        self._known_s = suspended_s()

    def newly_suspended_s(self) -> float:
        """Return the seconds suspended since the last call; 0 if negligible."""
        now_s = self._suspended_s()
        gone_s = now_s - self._known_s
        if gone_s < _NOTICEABLE_S:
            return 0.0
        self._known_s = now_s
        return gone_s
