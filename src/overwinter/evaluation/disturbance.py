"""Detection of other processes on the cores during a sample."""

from __future__ import annotations

import time

import psutil

# The kernel counts busy time in ticks of 10 ms per core, so less cannot be distinguished from zero.
_TICKS_S = 0.02
_FOREIGN_SHARE = 0.1
_MIN_OWN_SHARE = 0.9


class CoreWatch:
    """Comparison of this process's CPU time with the whole machine's, since the object's creation."""

    def __init__(self) -> None:
        self._busy_s = _busy_s()
        self._own_s = time.process_time()

    def foreign_s(self) -> float:
        """Return the CPU-seconds that other processes used, on all cores."""
        own_s = time.process_time() - self._own_s
        return max(0.0, _busy_s() - self._busy_s - own_s)


def is_disturbed(*, wall_s: float, own_cpu_s: float, foreign_s: float) -> bool:
    """Return whether a sample must be dropped.

    Args:
        wall_s: duration of the sample.
        own_cpu_s: CPU time of this process; much less than ``wall_s`` means that it had to wait.
        foreign_s: CPU time of other processes, on all cores.
    """
    return own_cpu_s < _MIN_OWN_SHARE * wall_s or foreign_s > _TICKS_S + _FOREIGN_SHARE * wall_s


def _busy_s() -> float:
    times = psutil.cpu_times()
    idle_s = times.idle + getattr(times, "iowait", 0.0)
    # `user` includes the time of guests.
    guests_s = getattr(times, "guest", 0.0) + getattr(times, "guest_nice", 0.0)
    return float(sum(times) - idle_s - guests_s)
