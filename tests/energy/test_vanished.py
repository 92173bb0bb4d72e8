"""Time of vanished processes, against a model of what the kernel adds to whose account."""

from __future__ import annotations

from dataclasses import dataclass, field

from hypothesis import given
from hypothesis import strategies as st

from overwinter.energy.proc import Stat
from overwinter.energy.vanished import VanishedTime

ROOT, OUTSIDE = 1000, 1
ROUNDING_S = 0.021


@dataclass
class Process:
    ppid: int
    own_s: float = 0.0
    waited_s: float = 0.0
    forgets: bool = False


@dataclass
class Kernel:
    """Processes below ROOT, whose accounts grow as the kernel's do."""

    adopts: bool
    processes: dict[int, Process] = field(default_factory=lambda: {ROOT: Process(OUTSIDE)})
    used_s: float = 0.0
    newest: int = ROOT

    def burn(self, pid: int, seconds: float) -> None:
        self.processes[pid].own_s += seconds
        self.used_s += seconds

    def fork(self, pid: int, *, forgets: bool) -> None:
        self.newest += 1
        self.processes[self.newest] = Process(pid, forgets=forgets)

    def end(self, pid: int) -> None:
        ended = self.processes.pop(pid)
        for other in self.processes.values():
            if other.ppid == pid:
                other.ppid = ROOT if self.adopts else OUTSIDE
        parent = self.processes.get(ended.ppid)
        if parent is not None and not parent.forgets:
            parent.waited_s += ended.own_s + ended.waited_s


class Looker:
    """Do what `ProcessTree` does with its readings, with every account available."""

    def __init__(self, kernel: Kernel) -> None:
        self.kernel, self.vanished = kernel, VanishedTime({ROOT: 0.0})
        self.seen: dict[int, Stat] = {}
        self.total_s = 0.0
        self.look()

    def look(self) -> None:
        living = {pid: p for pid, p in self.kernel.processes.items() if pid != ROOT}
        stats = {pid: Stat(p.ppid, 0, p.own_s, p.waited_s) for pid, p in living.items()}
        for pid in stats.keys() - self.seen.keys():
            self.vanished.meet(pid, Stat(0, 0, 0.0, 0.0))
        gone = {pid: stat for pid, stat in self.seen.items() if pid not in stats}
        finished_s = self.kernel.processes[ROOT].waited_s
        self.vanished.settle(gone, {ROOT: finished_s, **{pid: stat.waited_s for pid, stat in stats.items()}})
        self.seen = stats
        counted_s = finished_s + sum(stat.cpu_s for stat in stats.values()) + self.vanished.lost_s
        self.total_s = max(self.total_s, counted_s)


STEPS = st.lists(
    st.tuples(st.sampled_from(["burn", "burn", "fork", "end", "look"]), st.integers(0, 99), st.floats(0.0, 2.0)),
    max_size=120,
)


def play(steps: list[tuple[str, int, float]], *, adopts: bool, forgetting: bool, look_always: bool = False) -> Looker:
    kernel = Kernel(adopts)
    looker = Looker(kernel)
    for what, choice, seconds in steps:
        pids = [pid for pid in kernel.processes if pid != ROOT or what == "fork"]
        if what == "look" or look_always:
            looker.look()
        if what == "look" or not pids:
            continue
        pid = pids[choice % len(pids)]
        if what == "burn":
            kernel.burn(pid, seconds)
        elif what == "fork":
            kernel.fork(pid, forgets=forgetting and choice % 3 == 0)
        elif what == "end":
            kernel.end(pid)
    looker.look()
    looker.look()
    return looker


@given(steps=STEPS, adopts=st.booleans(), forgetting=st.booleans())
def test_no_second_counts_twice(steps: list[tuple[str, int, float]], adopts: bool, forgetting: bool) -> None:
    looker = play(steps, adopts=adopts, forgetting=forgetting)
    assert looker.total_s <= looker.kernel.used_s + 1e-6


@given(steps=STEPS)
def test_nothing_is_lost_where_all_parents_wait_and_orphans_are_adopted(steps: list[tuple[str, int, float]]) -> None:
    looker = play(steps, adopts=True, forgetting=False)
    assert abs(looker.total_s - looker.kernel.used_s) < 1e-6
    assert looker.vanished.lost_s < 1e-6


@given(steps=STEPS, adopts=st.booleans())
def test_looking_before_every_change_loses_only_rounding(steps: list[tuple[str, int, float]], adopts: bool) -> None:
    looker = play(steps, adopts=adopts, forgetting=True, look_always=True)
    forgetful = 1 + sum(what == "fork" for what, _, _ in steps)
    assert looker.total_s >= looker.kernel.used_s - ROUNDING_S * forgetful


def test_a_parent_that_waited_for_its_child_and_vanished_with_it() -> None:
    kernel = Kernel(adopts=False)
    looker = Looker(kernel)
    kernel.fork(ROOT, forgets=False)
    script = kernel.newest
    kernel.fork(script, forgets=False)
    kernel.burn(kernel.newest, 3.0)
    looker.look()
    kernel.end(kernel.newest)
    kernel.end(script)
    looker.look()
    assert looker.total_s == 3.0


def test_a_child_that_its_parent_forgot() -> None:
    kernel = Kernel(adopts=True)
    looker = Looker(kernel)
    kernel.fork(ROOT, forgets=True)
    kernel.fork(kernel.newest, forgets=False)
    kernel.burn(kernel.newest, 3.0)
    looker.look()
    kernel.end(kernel.newest)
    looker.look()
    assert looker.total_s == 3.0


def test_an_orphan_whose_parent_has_ended_and_is_still_there() -> None:
    vanished = VanishedTime({ROOT: 0.0, 2: 0.0, 3: 0.0})
    orphan = Stat(ppid=2, start_ticks=0, own_s=0.5, waited_s=0.0)
    vanished.settle({3: orphan}, {ROOT: 0.5, 2: 0.0}, ended={2})
    assert vanished.lost_s == 0.0


def test_a_parent_that_was_seen_to_have_waited_for_its_child_and_then_vanished_too() -> None:
    vanished = VanishedTime({ROOT: 0.0, 2: 0.0, 3: 0.0})
    child = Stat(ppid=2, start_ticks=0, own_s=3.0, waited_s=0.0)
    parent = Stat(ppid=ROOT, start_ticks=0, own_s=0.5, waited_s=3.0)
    vanished.settle({3: child, 2: parent}, {ROOT: 3.5})
    assert vanished.lost_s == 0.0
