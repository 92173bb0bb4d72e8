"""CPU time and memory of this process and all its descendants, living and finished, read cheaply from /proc.

A finished child's time is in its parent's account (getrusage, cutime) once it has been waited for; a living
child's is in its own. New processes are found by comparing the list of process ids with the last one, so that
only new ids cost a look. A process that was seen in the tree stays in it, even when its parent dies before
it.
"""

from __future__ import annotations

import os
import resource
import time
from dataclasses import dataclass
from pathlib import Path

_TICK_S = 1 / os.sysconf("SC_CLK_TCK")
_PAGE_BYTES = os.sysconf("SC_PAGE_SIZE")
_GIB = 2**30
_PROC = "/proc"


@dataclass(frozen=True, slots=True)
class _Stat:
    """One process's account. A recycled id has another start; CPU seconds are with waited-for children."""

    ppid: int
    start_ticks: int
    cpu_s: float


class ProcessTree:
    """The descendants of a process.

    Args:
        root: process id of the root: this process, or an ancestor that several ranks share.
        own: whether this process's own CPU time counts.
    """

    def __init__(self, *, root: int | None = None, own: bool = True) -> None:
        self._self = os.getpid()
        self._root = root or self._self
        self._own = own
        self._seen: set[int] = set()
        self._members: dict[int, _Stat] = {}
        self._orphaned_s = 0.0
        self._cpu_s = 0.0
        self._counted_own_s = 0.0

    def quick_cpu_s(self) -> float:
        """Return CPU seconds so far; those of living children are as old as the last `walk`. Never falls."""
        own_s = self._own_s()
        self._cpu_s += own_s - self._counted_own_s
        self._counted_own_s = own_s
        return self._cpu_s

    def walk(self) -> float:
        """Return CPU seconds so far, of all. Never falls."""
        if os.getpid() != self._self:
            return self._cpu_s  # a fork inherited this object; the parent counts for it
        self._find_new()
        before_s = self._finished_s()
        own_s, living_s = self._own_s(), self._living_s()
        # A child that was waited for in between is missing now and counted at the next walk; never twice.
        self._cpu_s = max(self._cpu_s, before_s + own_s + living_s + self._orphaned_s)
        self._counted_own_s = own_s
        return self._cpu_s

    def memory_gib(self) -> float:
        """Return resident memory: all of this process's, and what its living descendants don't share."""
        own_bytes = sum(_statm(self._self)[:1]) if self._own else 0
        return (own_bytes + sum(resident - shared for resident, shared in map(_statm, self._members))) / _GIB

    def _own_s(self) -> float:
        return time.process_time() if self._own else 0.0

    def _finished_s(self) -> float:
        usage = resource.getrusage(resource.RUSAGE_CHILDREN)
        return usage.ru_utime + usage.ru_stime

    def _find_new(self) -> None:
        """Take in new processes whose parent is in the tree, over again for the children of those."""
        pids = _pids()
        new = {pid: stat for pid in pids - self._seen if (stat := _stat(pid))}
        self._seen = pids
        self._add_root(new)
        while found := {pid: new.pop(pid) for pid, stat in list(new.items()) if self._is_parent(stat.ppid)}:
            self._members.update(found)

    def _add_root(self, new: dict[int, _Stat]) -> None:
        new.pop(self._self, None)
        if self._root != self._self and self._root in new:
            self._members[self._root] = new.pop(self._root)

    def _is_parent(self, pid: int) -> bool:
        return pid == self._self or pid in self._members

    def _living_s(self) -> float:
        for pid, known in list(self._members.items()):
            stat = _stat(pid)
            if stat is not None and stat.start_ticks == known.start_ticks:
                self._members[pid] = stat
                continue
            del self._members[pid]
            if not self._is_parent(known.ppid):
                self._orphaned_s += known.cpu_s  # nobody in the tree waits for it, so no account holds its time
        return sum(stat.cpu_s for stat in self._members.values())


def process_age_s() -> float:
    """Return how long ago this process started."""
    stat = _stat(os.getpid())
    if stat is None:
        return 0.0
    return max(0.0, time.clock_gettime(time.CLOCK_BOOTTIME) - stat.start_ticks * _TICK_S)


def _pids() -> set[int]:
    try:
        names = os.listdir(_PROC)
    except OSError:
        return set()
    return {int(name) for name in names if name.isdecimal()}


def _stat(pid: int) -> _Stat | None:
    """Read /proc/PID/stat; a process's name may hold brackets, so fields count from the last one."""
    content = _bytes(f"{_PROC}/{pid}/stat")
    fields = content[content.rfind(b")") + 2 :].split(b" ", 20)
    if len(fields) < 20:
        return None
    cpu_ticks = int(fields[11]) + int(fields[12]) + int(fields[13]) + int(fields[14])
    return _Stat(ppid=int(fields[1]), start_ticks=int(fields[19]), cpu_s=cpu_ticks * _TICK_S)


def _statm(pid: int) -> tuple[int, int]:
    """Return (resident, shared) bytes; zeros for a process that is gone."""
    fields = _bytes(f"{_PROC}/{pid}/statm").split()
    return (int(fields[1]) * _PAGE_BYTES, int(fields[2]) * _PAGE_BYTES) if len(fields) > 2 else (0, 0)


def _bytes(path: str) -> bytes:
    try:
        return Path(path).read_bytes()
    except OSError:
        return b""
