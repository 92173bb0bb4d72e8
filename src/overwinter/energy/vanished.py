"""The CPU time of vanished processes that no parent's account includes.

When a parent waits for a child, the kernel adds the child's time, and that of children the child had waited for, to
the parent's account (`cutime`, getrusage). The time of a child whose parent ignores SIGCHLD, or whose new parent is
outside the tree, is lost; then its last reading counts. The cases differ only in sums: a parent whose account grew by
less than its vanished children used has not waited for all of them.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Mapping

from overwinter.energy.proc import Stat

# Two accounts in whole hundredths of a second can differ by this much from rounding.
_ROUNDING_S = 0.021
_ORPHANS = -1  # the key of processes whose parent has also ended


class VanishedTime:
    """CPU seconds of vanished processes that no existing account includes.

    Args:
        waited_s: The waited-for seconds of the existing processes before any process of the tree vanished.

    Attributes:
        lost_s: Seconds so far that are counted nowhere else.
    """

    def __init__(self, waited_s: Mapping[int, float]) -> None:
        self.lost_s = 0.0
        self._waited_s = dict(waited_s)
        self._missing_s: defaultdict[int, float] = defaultdict(float)

    def meet(self, pid: int, stat: Stat) -> None:
        """Add a new process, whose waited-for time counts from now on."""
        self._waited_s[pid] = stat.waited_s

    def settle(
        self, gone: Mapping[int, Stat], waited_s: Mapping[int, float], ended: Collection[int] = frozenset()
    ) -> None:
        """Account for vanished processes, given the waited-for time of each existing process of the tree.

        Args:
            gone: The last accounts of processes that vanished since the last call.
            waited_s: The waited-for seconds of every existing process, including the root, read after the others
                vanished.
            ended: The zombies among them, whose children have become orphans.
        """
        last_s = {**{pid: stat.waited_s for pid, stat in gone.items()}, **waited_s}
        grown_s = {pid: time_s - self._waited_s.get(pid, time_s) for pid, time_s in last_s.items()}
        self._waited_s = dict(waited_s)
        used_s: defaultdict[int, float] = defaultdict(float)
        for stat in gone.values():
            if stat.ppid in gone or stat.ppid in ended:
                used_s[_ORPHANS] += stat.cpu_s
            elif stat.ppid in waited_s:
                used_s[stat.ppid] += stat.cpu_s
            else:
                self.lost_s += stat.cpu_s  # its parent is outside the tree
        for pid, time_s in grown_s.items():
            self._balance(pid, used_s[pid], time_s)
        # A process that waited for a vanished parent also has the time of children which that parent had waited for.
        spare_s = sum(max(0.0, time_s - used_s[pid]) for pid, time_s in grown_s.items())
        self._balance(_ORPHANS, used_s[_ORPHANS], spare_s)
        for pid in gone:
            self._missing_s.pop(pid, None)

    def _balance(self, pid: int, used_s: float, grown_s: float) -> None:
        """Add the time missing from an account; a surplus is from children that were never seen."""
        missing_s = max(self._missing_s[pid] + used_s - grown_s, 0.0)
        if missing_s > _ROUNDING_S:
            self.lost_s += missing_s
            missing_s = 0.0
        self._missing_s[pid] = missing_s
