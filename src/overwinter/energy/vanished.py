"""Where the CPU time of vanished processes went: to a parent that waited for them, or to no one.

When a parent waits for a child, the kernel adds the child's time, and what the child had waited for, to the
parent's account (`cutime`, getrusage). A child whose parent ignores SIGCHLD, or whose new parent is not of the
tree, vanishes without a trace; then what was last seen of it is all there is to count. Both show only in sums:
a parent whose account grew by less than its vanished children had used has not waited for all of them.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Mapping

from overwinter.energy.proc import Stat

# Two accounts of whole hundredths of a second differ by this much without meaning anything.
_ROUNDING_S = 0.021
_ORPHANS = -1  # no process: those whose parent has ended too


class VanishedTime:
    """CPU seconds of vanished processes that no living account holds.

    Args:
        waited_s: what those that are there have waited for before any of the tree vanished.

    Attributes:
        lost_s: so far; counted nowhere else.
    """

    def __init__(self, waited_s: Mapping[int, float]) -> None:
        self.lost_s = 0.0
        self._waited_s = dict(waited_s)
        self._missing_s: defaultdict[int, float] = defaultdict(float)

    def meet(self, pid: int, stat: Stat) -> None:
        """Take in a new process: what it has waited for from here on is of the tree."""
        self._waited_s[pid] = stat.waited_s

    def settle(
        self, gone: Mapping[int, Stat], waited_s: Mapping[int, float], ended: Collection[int] = frozenset()
    ) -> None:
        """Take what vanished, as it was last seen, and what each living process of the tree has waited for since.

        Args:
            gone: vanished since the last call.
            waited_s: of every one that is there, the root's too; read after the others were seen to be gone.
            ended: those of them that wait for no one any more, and whose children have become orphans.
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
                self.lost_s += stat.cpu_s  # its parent is none of the tree
        for pid, time_s in grown_s.items():
            self._balance(pid, used_s[pid], time_s)
        # Anyone who waited for a vanished parent has its children's time too, if it had waited for them.
        spare_s = sum(max(0.0, time_s - used_s[pid]) for pid, time_s in grown_s.items())
        self._balance(_ORPHANS, used_s[_ORPHANS], spare_s)
        for pid in gone:
            self._missing_s.pop(pid, None)

    def _balance(self, pid: int, used_s: float, grown_s: float) -> None:
        """Add up what an account lacks; what it has beyond is of children that were never seen."""
        missing_s = max(self._missing_s[pid] + used_s - grown_s, 0.0)
        if missing_s > _ROUNDING_S:
            self.lost_s += missing_s
            missing_s = 0.0
        self._missing_s[pid] = missing_s
