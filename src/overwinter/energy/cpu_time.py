"""CPU time of this process's tree, by the best method that works on this machine.

    cgroup: a temporary control group, in which the kernel counts (`control_group`).
    rusage: orphans become this process's children and it waits for them, so that the kernel counts them too
            (PR_SET_CHILD_SUBREAPER); only for a program that only runs a command.
    proc:   reads only /proc, often while processes start and end (`processes`).

The later methods run in addition to the earlier ones: each can only miss time, so the largest figure is the best.
"""

from __future__ import annotations

import contextlib
import os
import time

from overwinter.energy.control_group import SHARED, ControlGroup
from overwinter.energy.opening import Opening
from overwinter.energy.processes import ProcessTree, Risk
from overwinter.energy.ranks import ranks_on_node
from overwinter.energy.sampler import Sampler

WAYS = ("cgroup", "rusage", "proc")
MARK = "OVERWINTER_METER"
"""Environment variable by which orphans are known; a meter inside another one's command adds its own."""
_SET_CHILD_SUBREAPER = 36
_PACES = {Risk.CERTAIN: (0.004, 0.02), Risk.POSSIBLE: (0.015, 0.01), Risk.NONE: (0.04, 0.004)}
"""Seconds between looks, and the most of one thread's time that they may take."""
_BESIDE_WORK_S = 0.1  # in a process that itself works, from which each takes the interpreter


class CpuTime:
    """CPU seconds and memory of a process tree.

    Args:
        root: The process id of the root, if it is not this process.
        own: Whether this process's own CPU time counts.
        adopts: Whether this process waits for all its children, including orphans.
        ways: The methods of `WAYS` to try, the best first.
    """

    def __init__(
        self, *, root: int | None = None, own: bool = True, adopts: bool = False, ways: tuple[str, ...] = WAYS
    ) -> None:
        self._root, self._own, self._adopts, self._ways = root, own, adopts, ways
        self._mark = f"{os.getpid()}-{time.monotonic_ns():x}"
        self._tree = ProcessTree(root=root, own=own)
        self._group: ControlGroup | None = None
        self._group_s = self._own_s = self._begun_s = self._cpu_s = 0.0
        self._watch: Sampler | None = None
        self._risk, self._stopped = Risk.POSSIBLE, False
        self.way = "proc"

    def begin(self) -> float:
        """Start counting, and return the CPU seconds so far."""
        self._begun_s = self._cpu_s = self._tree.walk()
        self.way = self._chosen()
        if self.way == "proc":
            self._tree.mark = self._mark
            _add_mark(self._mark)
        if self.way != "cgroup":
            self._watch = Sampler(self._look, 0.0)
            self._watch.start()
        return self._begun_s

    def close(self) -> None:
        """Stop counting; later figures are the last one."""
        self.walk()
        self._stopped = True
        if self._watch:
            self._watch.stop()
        if self._group:
            self._group = None
            SHARED.leave()
        _remove_mark(self._mark)

    def quick_cpu_s(self) -> float:
        """Return the CPU seconds so far that are cheap to read. Never falls."""
        self._cpu_s = max(self._cpu_s, self._tree.quick_cpu_s())
        return self._cpu_s

    def walk(self) -> float:
        """Return all CPU seconds so far. Never falls."""
        self._cpu_s = max(self._cpu_s, self._tree.walk(), self._begun_s + self._grouped_s())
        return self._cpu_s

    def memory_gib(self) -> float:
        """Return the resident memory of this process, plus the unshared memory of its living descendants."""
        return self._tree.memory_gib()

    def processes(self) -> set[int]:
        """Return the ids of this process and of its descendants at the last reading."""
        return {os.getpid(), *self._living()}

    def left_running(self) -> str:
        """Return a message on processes that still run after the command has ended; empty if there are none."""
        self._tree.walk()
        count = len(self._living()) if self._adopts else 0
        if not count:
            return ""
        still = (
            "1 process that the command started still runs"
            if count == 1
            else (f"{count} processes that the command started still run")
        )
        return f"{still}; their use after the command's end is not counted"

    def _living(self) -> set[int]:
        grouped = self._group.processes() if self._group else []
        return {*self._tree.living(), *grouped} - {os.getpid()}

    def _grouped_s(self) -> float:
        """Return the CPU seconds in the group since the start."""
        if self._group is None:
            return 0.0
        try:
            used_s = self._group.cpu_s() - self._group_s
        except (OSError, ValueError):  # the group was removed: the tree's figure is used
            return 0.0
        return used_s if self._own else used_s - (time.process_time() - self._own_s)

    def _chosen(self) -> str:
        if "cgroup" in self._ways and self._root in (None, os.getpid()):
            self._group = SHARED.enter(self._tree.living())
            if self._group is not None:
                self._group_s, self._own_s = self._group.cpu_s(), time.process_time()
                self._begun_s = self._tree.walk()
                return "cgroup"
        return "rusage" if "rusage" in self._ways and self._adopts and _adopt_orphans() else "proc"

    def _look(self) -> float:
        """Look once something has begun, or something is at stake; return the seconds until the next look."""
        pause_s = _BESIDE_WORK_S if self._own else _PACES[Risk.NONE][0]
        while self._risk is Risk.NONE and self._tree.is_still() and not self._stopped:
            time.sleep(pause_s)  # wakes up for half the price of waiting for an event
        begun_s = time.thread_time()
        self._risk = self._tree.look()
        cost_s = time.thread_time() - begun_s
        if self._risk is not Risk.NONE:
            pause_s = _PACES[self._risk][0]
        return max(pause_s, cost_s / _PACES[self._risk][1])


def cpu_time_of(opening: Opening) -> CpuTime:
    """Return the CPU time of this run, including all ranks on this node."""
    chosen = getattr(opening.energy, "cpu_time", "auto")  # a params.yaml of an earlier version has no such key
    return CpuTime(
        root=os.getppid() if ranks_on_node(os.environ) > 1 else None,  # the launcher that all ranks are children of
        own=opening.own_process,
        adopts=opening.adopts_orphans,
        ways=WAYS if chosen == "auto" else (chosen,),
    )


def _adopt_orphans() -> bool:
    """Make this process the parent of every orphan among its descendants; the setting is not inherited."""
    import ctypes  # takes milliseconds, and only here

    with contextlib.suppress(OSError, AttributeError):
        return bool(ctypes.CDLL(None).prctl(_SET_CHILD_SUBREAPER, 1, 0, 0, 0) == 0)
    return False


def _add_mark(mark: str) -> None:
    marks = os.environ.get(MARK, "").split()
    os.environ[MARK] = " ".join([*marks, mark])


def _remove_mark(mark: str) -> None:
    marks = [each for each in os.environ.get(MARK, "").split() if each != mark]
    if marks:
        os.environ[MARK] = " ".join(marks)
    else:
        os.environ.pop(MARK, None)
