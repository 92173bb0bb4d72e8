"""This run's share of the machine's CPU time, for counters that several runs read."""

from __future__ import annotations

from overwinter.energy import proc
from overwinter.energy.cpu_time import CpuTime
from overwinter.energy.split import Use


class CpuShare:
    """Divides energy by CPU time, over all of the machine's CPUs and sockets.

    Args:
        tree: This run's CPU time, walked just before each call.
        idle_fraction: The idle power of a CPU as a share of its busy power.
    """

    by = "CPU time"

    def __init__(self, tree: CpuTime, *, idle_fraction: float) -> None:
        self.idle_fraction, self.trouble = idle_fraction, ""
        self._tree = tree
        self._own_s = 0.0
        self._machine = proc.CpuTimes(busy_s=0.0, idle_s=0.0)

    def begin(self) -> None:
        """Start observing."""
        self.use()

    def use(self) -> Use | None:
        """Return the use since the previous call."""
        machine = proc.cpu_times()
        self.trouble = "" if machine else "the machine's CPU time is not reported (/proc/stat)"
        if machine is None:
            return None
        own_s = self._tree.quick_cpu_s()
        used_s, self._own_s = own_s - self._own_s, own_s
        busy_s, idle_s = machine.busy_s - self._machine.busy_s, machine.idle_s - self._machine.idle_s
        self._machine = machine
        all_s = max(busy_s + idle_s, used_s)
        return Use(own=used_s / all_s, busy=busy_s / all_s) if all_s > 0 else Use(own=0.0, busy=0.0)
