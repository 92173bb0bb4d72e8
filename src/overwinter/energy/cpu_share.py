"""This run's share of what all of the machine's CPUs did, to split a counter by that several runs read."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

from overwinter.energy.processes import ProcessTree

_TICK_S = 1 / os.sysconf("SC_CLK_TCK")
_BUSY = (0, 1, 2, 5, 6, 7)  # user, nice, system, irq, softirq, steal: all but idle and waiting for disks


class CpuShare:
    """CPU time of this process's tree over the machine's busy time, from its making on.

    Args:
        own: whether this process's own CPU time counts.
        asked: whether the share is worth telling at the end.
    """

    def __init__(self, *, own: bool, asked: Callable[[], bool]) -> None:
        self._tree, self._asked = ProcessTree(own=own), asked
        self._tree_s, self._busy_s = self._tree.walk(), busy_s()

    def last_word(self) -> str:
        """Return a line for a person; empty where nothing was shared or nothing is known."""
        if not self._asked():
            return ""
        busy = busy_s() - self._busy_s
        if busy <= 0:
            return ""
        share = min(1.0, (self._tree.walk() - self._tree_s) / busy)
        return (
            f"of the time that the CPUs were busy meanwhile, {share:.0%} was this run's: a way to split the joules "
            "above idle, and an estimate"
        )


def busy_s(stat: Path = Path("/proc/stat")) -> float:
    """Return the seconds that all CPUs together have been busy since the machine's start; 0 if that is not told."""
    try:
        words = stat.read_text().partition("\n")[0].split()[1:]
        return sum(int(words[place]) for place in _BUSY) * _TICK_S
    except (OSError, ValueError, IndexError):
        return 0.0
