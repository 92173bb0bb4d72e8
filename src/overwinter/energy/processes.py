"""CPU time and memory of this process and all its descendants, running and finished, read cheaply from /proc.

A finished child's time is in its parent's account (getrusage, cutime) once it has been waited for, a running child's
in its own; `vanished` counts the time in neither. A process seen in the tree stays in it, even if its parent ends
first; one that was already an orphan is identified by a mark in its environment. Every figure is a lower bound: a
reading can miss time, but never counts any twice.
"""

from __future__ import annotations

import os
import resource
import threading
import time
from dataclasses import replace
from enum import Enum

from overwinter.energy import proc
from overwinter.energy.proc import Stat
from overwinter.energy.vanished import VanishedTime

_GIB = 2**30
_YOUNG_S = 2.0  # time for which a new process is read often, since most that vanish do so soon
_MAX_NEW = 256  # maximum number of ids looked up one by one; for more, all of /proc is listed


class Risk(Enum):
    """The risk that CPU time is used that no account will include: certain, possible, or none now."""

    CERTAIN = "certain"
    POSSIBLE = "possible"
    NONE = "none"


class ProcessTree:
    """The descendants of a process. Thread-safe.

    Args:
        root: The process id of the root: this process, or an ancestor shared by several ranks.
        own: Whether this process's own CPU time counts.

    Attributes:
        mark: Text in the environment of all processes of the tree, to identify orphans; empty if none can get lost.
    """

    def __init__(self, *, root: int | None = None, own: bool = True) -> None:
        self._self = os.getpid()
        self._root = root or self._self
        self._own, self.mark = own, ""
        self._sees = proc.is_ours()  # else only what was waited for is known
        self._lock = threading.RLock()
        self._listed: set[int] = set()
        self._unborn: set[int] = set()
        self._newest = 0
        self._ancestors: frozenset[int] = frozenset()
        self._members: dict[int, Stat] = {}
        self._born_s: dict[int, float] = {}
        self._forgetful: set[int] = set()
        self._vanished = VanishedTime({self._self: self._finished_s()})
        self._cpu_s = 0.0
        self._counted_own_s = 0.0

    def quick_cpu_s(self) -> float:
        """Return the CPU seconds so far; those of running children are from the last `walk`. Never falls."""
        with self._lock:
            own_s = self._own_s()
            self._cpu_s += own_s - self._counted_own_s
            self._counted_own_s = own_s
            return self._cpu_s

    def look(self) -> Risk:
        """Add new processes, and record the time of those that may vanish; return the risk.

        Reads one small file while nothing changes.
        """
        with self._lock:
            if not self._sees or os.getpid() != self._self:
                return Risk.NONE
            self._find_new(self._new_ids())
            lost, young = self._unaccounted(), self._young()
            # What others use unseen would hide, in their parents' accounts, that time is missing there.
            watched = set(self._members) if lost or self._forgetful else {*lost, *young}
            if not self._read_closely(watched):
                self._settle()  # before its parent ends too, and its time can no longer be attributed
            return Risk.CERTAIN if lost or self._forgetful else Risk.POSSIBLE if young else Risk.NONE

    def is_still(self) -> bool:
        """Return whether no process has started since the last look; cheap, and without the lock."""
        return not self._unborn and proc.newest_pid() == self._newest

    def walk(self) -> float:
        """Return all CPU seconds so far. Never falls."""
        with self._lock:
            if os.getpid() != self._self:
                return self._cpu_s  # a fork inherited this object; the parent counts for it
            if self._sees:
                self._list()
            self._settle()
            return self._cpu_s

    def living(self) -> list[int]:
        """Return the descendants that were running at the last look."""
        with self._lock:
            return list(self._members)

    def memory_gib(self) -> float:
        """Return the resident memory of this process, plus the unshared memory of its running descendants.

        Pages that forks share with their parent count as theirs; the sum is limited to the memory in use.
        """
        own_bytes = sum(proc.memory_bytes(self._self)[:1]) if self._own else 0
        others_bytes = sum(resident - shared for resident, shared in map(proc.memory_bytes, self.living()))
        return min(own_bytes + others_bytes, proc.used_memory_bytes()) / _GIB

    def _settle(self) -> None:
        """Read all accounts, and find the account that includes the time of each vanished process."""
        gone: dict[int, Stat] = {}
        while True:
            # Parents before their children: one that is waited for in between is missing, not counted twice.
            finished_s, own_s = self._finished_s(), self._own_s()
            fresh = self._read_all()
            if not fresh:
                break
            gone |= fresh  # whether they were waited for shows in accounts read after they were gone
        ended = {pid for pid, stat in self._members.items() if stat.ended}
        self._vanished.settle(gone, self._waited_s(finished_s), ended)
        living_s = sum(stat.cpu_s for stat in self._members.values())
        self._cpu_s = max(self._cpu_s, finished_s + own_s + living_s + self._vanished.lost_s)
        self._counted_own_s = own_s

    def _own_s(self) -> float:
        return time.process_time() if self._own else 0.0

    def _finished_s(self) -> float:
        usage = resource.getrusage(resource.RUSAGE_CHILDREN)
        return usage.ru_utime + usage.ru_stime

    def _waited_s(self, finished_s: float) -> dict[int, float]:
        return {self._self: finished_s, **{pid: stat.waited_s for pid, stat in self._members.items()}}

    def _list(self) -> None:
        """List all of /proc, which is slow but misses nothing."""
        self._newest = proc.newest_pid() or 0
        self._ancestors = _ancestors(self._root)
        pids = proc.pids()
        self._find_new(pids - self._listed - self._members.keys())
        self._listed = pids
        self._note_forgetful(self._parents())

    def _new_ids(self) -> set[int]:
        """Return the ids given since the last look; an id that does not exist yet is tried once more."""
        newest = proc.newest_pid()
        if newest is None or not 0 <= newest - self._newest <= _MAX_NEW:
            self._newest = newest or 0
            return proc.pids() - self._listed - self._members.keys()
        new = set(range(self._newest + 1, newest + 1))
        self._newest = newest
        tried, self._unborn = new | self._unborn, new
        return tried - self._members.keys()

    def _find_new(self, pids: set[int]) -> None:
        """Add new processes whose parent is in the tree, and repeat for their children."""
        # Parents before their children, again: what one has waited for at first sight is of children never seen.
        new = {pid: stat for pid in sorted(pids) if (stat := proc.stat(pid))}
        self._unborn -= new.keys()
        new.pop(self._self, None)
        if self._root != self._self and self._root in new:
            self._members[self._root] = new.pop(self._root)
            self._vanished.meet(self._root, self._members[self._root])
        while found := {pid: new.pop(pid) for pid, stat in list(new.items()) if self._belongs(pid, stat)}:
            for pid, stat in found.items():
                self._take_in(pid, stat)

    def _take_in(self, pid: int, stat: Stat) -> None:
        if not proc.status(pid).leads:
            return
        self._members[pid] = stat
        self._born_s[pid] = time.monotonic()
        self._vanished.meet(pid, stat)
        self._note_forgetful({pid, stat.ppid} & self._members.keys())

    def _note_forgetful(self, pids: set[int]) -> None:
        forgetful = {pid for pid in pids if proc.status(pid).forgets_children}
        self._forgetful = (self._forgetful - pids) | forgetful

    def _belongs(self, pid: int, stat: Stat) -> bool:
        if self._is_parent(stat.ppid):
            return True
        # An orphan's new parent is always one of its ancestors.
        return bool(self.mark) and stat.ppid in self._ancestors and proc.carries(pid, self.mark)

    def _is_parent(self, pid: int) -> bool:
        return pid == self._self or pid in self._members

    def _parents(self) -> set[int]:
        return {stat.ppid for stat in self._members.values()} & self._members.keys()

    def _unaccounted(self) -> list[int]:
        """Return the processes whose time will be added to no account."""
        return [
            pid for pid, stat in self._members.items() if stat.ppid in self._forgetful or not self._is_parent(stat.ppid)
        ]

    def _young(self) -> list[int]:
        """Return the new processes that may still become orphans, if orphans can get lost."""
        if not self.mark:
            return []
        since_s = time.monotonic() - _YOUNG_S
        return [pid for pid, born_s in self._born_s.items() if born_s > since_s]

    def _read_closely(self, pids: set[int]) -> bool:
        """Read some accounts exactly; return whether all still exist and none has waited for a child.

        The time of a child that was waited for would be in two accounts if both had ended at the next look.
        """
        for pid in [pid for pid in self._parents_first() if pid in pids]:
            now = proc.stat(pid, exact=True)
            known = self._members[pid]
            if now is None or now.start_ticks != known.start_ticks or now.waited_s > known.waited_s:
                return False
            self._members[pid] = _later(known, now)
        return True

    def _read_all(self) -> dict[int, Stat]:
        """Read all accounts again; remove those that have ended, and return their last state."""
        gone = {}
        for pid in self._parents_first():
            known, now = self._members[pid], proc.stat(pid)
            if now is not None and now.start_ticks == known.start_ticks:
                self._members[pid] = _later(known, now)
            elif now is not None or not proc.is_there(pid):
                gone[pid] = self._members.pop(pid)
                self._born_s.pop(pid, None)
        self._forgetful -= gone.keys()
        return gone

    def _parents_first(self) -> list[int]:
        children: dict[int, list[int]] = {}
        tops = []
        for pid, stat in self._members.items():
            if stat.ppid in self._members:
                children.setdefault(stat.ppid, []).append(pid)
            else:
                tops.append(pid)
        for pid in tops:  # grows while it is gone through
            tops += children.get(pid, ())
        return tops


def process_age_s() -> float:
    """Return how long ago this process started."""
    stat = proc.stat(os.getpid())
    if stat is None:
        return 0.0
    return max(0.0, time.clock_gettime(time.CLOCK_BOOTTIME) - proc.since_boot_s(stat.start_ticks))


def _later(known: Stat, now: Stat) -> Stat:
    """Return the later account, keeping more exact earlier figures."""
    return now if now.own_s >= known.own_s else replace(now, own_s=known.own_s)


def _ancestors(pid: int) -> frozenset[int]:
    found = {1}
    while (stat := proc.stat(pid)) and stat.ppid and stat.ppid not in found:
        pid = stat.ppid
        found.add(pid)
    return frozenset(found)
