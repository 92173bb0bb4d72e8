"""The tree against a model of the kernel in which anything may happen between two reads of /proc."""

from __future__ import annotations

import os
import random
import resource
from collections.abc import Iterator
from dataclasses import dataclass
from types import SimpleNamespace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from overwinter.energy import proc, processes
from overwinter.energy.processes import ProcessTree

ROOT, OUTSIDE = 1000, 1
TICKS_PER_S = os.sysconf("SC_CLK_TCK")
RELEASE = ("X", "X, in its parent's account", "X, without a parent")
"""The states of a process while it is waited for, before it is gone."""


@dataclass
class Process:
    """The kernel's record of a process; its times are in ticks."""

    ppid: int
    forgets: bool = False
    own: int = 0
    waited: int = 0
    state: str = "R"


class Kernel:
    """Processes below ROOT. At each read `chance` decides what happens before it.

    Args:
        chance: what is drawn from.
        adopts: whether orphans become children of ROOT.
        forgetting: whether some processes ignore SIGCHLD.
        busy: how much happens between two reads.
    """

    def __init__(self, chance: random.Random, *, adopts: bool = True, forgetting: bool = False, busy: float = 0.0):
        self.chance, self.adopts, self.forgetting, self.busy = chance, adopts, forgetting, busy
        self.processes = {ROOT: Process(OUTSIDE)}
        self.used = 0
        self.newest = ROOT

    def fork(self, pid: int, *, forgets: bool = False) -> int:
        self.newest += 1
        self.processes[self.newest] = Process(pid, forgets)
        return self.newest

    def burn(self, pid: int, ticks: int) -> None:
        self.processes[pid].own += ticks
        self.used += ticks

    def end(self, pid: int) -> None:
        ended = self.processes[pid]
        for child_pid, child in self.processes.items():
            if child.ppid == pid:
                child.ppid = ROOT if self.adopts else OUTSIDE
                if child.state == "Z" and not self.adopts:
                    self.release(child_pid)
        ended.state = "X, in its parent's account" if self._parent(ended).forgets else "Z"

    def release(self, pid: int) -> None:
        """Bring one that has ended, or is being released, one step further."""
        process = self.processes[pid]
        step = RELEASE.index(process.state) + 1 if process.state in RELEASE else 0
        if step < len(RELEASE):
            process.state = RELEASE[step]
        if step == 1 and process.ppid in self.processes:
            self.processes[process.ppid].waited += process.own + process.waited

    def happen(self) -> None:
        """Let one thing happen, to one process."""
        pids = [pid for pid, process in self.processes.items() if pid != ROOT or process.state == "R"]
        pid = self.chance.choice(pids)
        process = self.processes[pid]
        if process.state != "R":
            self._go_on(pid)
        elif pid == ROOT or self.chance.random() < 0.2:
            if len(self.processes) < 12:
                self.fork(pid, forgets=self.forgetting and self.chance.random() < 0.3)
        elif self.chance.random() < 0.5 or self._waits(pid):
            self.burn(pid, self.chance.randint(1, 500))
        else:
            self.end(pid)

    def finish(self) -> None:
        """Let all end, and be waited for."""
        self.busy = 0.0
        while len(self.processes) > 1:
            pid = self.chance.choice([pid for pid in self.processes if pid != ROOT])
            if self.processes[pid].state != "R":
                self._go_on(pid)
            elif not self._waits(pid):
                self.end(pid)

    # What the tree asks.

    def read(self, name: str) -> bytes:
        self._pass()
        pid, _, what = name.partition("/")
        process = self.processes.get(int(pid))
        if process is None:
            return b""
        if what == "status":
            return f"Tgid:\t{pid}\nSigIgn:\t{int(process.forgets) << 16:016x}\n".encode()
        if what != "stat":
            return b""
        ppid, threads = (0, 0) if process.state == RELEASE[-1] else (process.ppid, 1)
        times = f"{process.own} 0 {process.waited} 0"
        text = f"{pid} (a) b) {process.state[0]} {ppid} 0 0 0 0 0 0 0 0 0 {times} 20 0 {threads} 0 7 0 0"
        if process.state in RELEASE:
            self._go_on(int(pid))  # does not take long
        return text.encode()

    def waited_by_root(self, _: int) -> SimpleNamespace:
        self._pass()
        return SimpleNamespace(ru_utime=self.processes[ROOT].waited / TICKS_PER_S, ru_stime=0.0)

    def pids(self) -> set[int]:
        self._pass()
        return set(self.processes)

    def is_there(self, pid: int) -> bool:
        return pid in self.processes

    def newest_pid(self) -> int:
        return self.newest

    def _pass(self) -> None:
        while self.chance.random() < self.busy:
            self.happen()

    def _go_on(self, pid: int) -> None:
        if self.processes[pid].state == RELEASE[-1]:
            del self.processes[pid]
        else:
            self.release(pid)

    def _waits(self, pid: int) -> bool:
        """Return whether it is releasing a child."""
        return any(child.ppid == pid and child.state in RELEASE for child in self.processes.values())

    def _parent(self, process: Process) -> Process:
        return self.processes.get(process.ppid, Process(0, forgets=True))


@pytest.fixture(scope="module", autouse=True)
def nothing_waits() -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(proc, "_RELEASE_S", 0.0)
        yield


def watched(kernel: Kernel, patch: pytest.MonkeyPatch) -> ProcessTree:
    patch.setattr(proc, "_bytes", kernel.read)
    patch.setattr(proc, "is_ours", lambda: True)
    patch.setattr(processes, "os", SimpleNamespace(getpid=lambda: ROOT))
    for name in ("pids", "is_there", "newest_pid"):
        patch.setattr(proc, name, getattr(kernel, name))
    patch.setattr(resource, "getrusage", kernel.waited_by_root)
    return ProcessTree(own=False)


HISTORIES = st.integers(0, 2**32), st.floats(0.05, 0.8)


def ticks_counted(seed: int, busy: float, *, adopts: bool, forgetting: bool) -> tuple[int, int]:
    """Look at one history while it happens; return ticks counted, and used."""
    kernel = Kernel(random.Random(seed), adopts=adopts, forgetting=forgetting, busy=busy)
    with pytest.MonkeyPatch.context() as patch:
        tree = watched(kernel, patch)
        tree.walk()
        for _ in range(30):
            kernel.chance.choice([tree.look, tree.look, tree.walk])()
            assert round(tree.quick_cpu_s() * TICKS_PER_S) <= kernel.used
        kernel.finish()
        return round(tree.walk() * TICKS_PER_S), kernel.used


@settings(max_examples=300)
@given(*HISTORIES, st.booleans(), st.booleans())
def test_no_tick_counts_twice(seed: int, busy: float, adopts: bool, forgetting: bool) -> None:
    counted, used = ticks_counted(seed, busy, adopts=adopts, forgetting=forgetting)
    assert counted <= used


@settings(max_examples=200)
@given(*HISTORIES)
def test_every_tick_counts_where_all_are_waited_for(seed: int, busy: float) -> None:
    counted, used = ticks_counted(seed, busy, adopts=True, forgetting=False)
    assert counted == used


@pytest.mark.parametrize("state", RELEASE)
def test_a_child_seen_while_it_is_being_released(state: str, monkeypatch: pytest.MonkeyPatch) -> None:
    kernel = Kernel(random.Random(0))
    tree = watched(kernel, monkeypatch)
    parent = kernel.fork(ROOT)
    child = kernel.fork(parent)
    kernel.burn(child, 3 * TICKS_PER_S)
    tree.walk()
    kernel.end(child)
    while kernel.processes[child].state != state:
        kernel.release(child)
    tree.walk()
    kernel.finish()
    assert tree.walk() == 3.0
