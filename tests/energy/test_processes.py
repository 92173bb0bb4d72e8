"""CPU time of living, finished and orphaned descendants, each second once."""

from __future__ import annotations

import os
import subprocess
import sys
import time

import pytest

from overwinter.energy.processes import ProcessTree, process_age_s

BURN = "import time,sys\nwhile time.process_time() < {}: pass\nprint('done', flush=True)\nsys.stdin.read()"


def burner(seconds: float) -> subprocess.Popen[str]:
    """Start a child that has burnt ``seconds`` of CPU when this returns, and lives until its input closes."""
    child = subprocess.Popen(
        [sys.executable, "-S", "-c", BURN.format(seconds)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    assert child.stdout is not None
    assert child.stdout.readline() == "done\n"
    return child


def finish(child: subprocess.Popen[str]) -> None:
    child.communicate("")


def test_a_child_counts_while_it_lives_and_once_when_it_is_finished() -> None:
    tree = ProcessTree(own=False)
    before_s = tree.walk()
    child = burner(0.3)
    living_s = tree.walk() - before_s
    finish(child)
    finished_s = tree.walk() - before_s
    assert 0.25 <= living_s <= 0.6
    assert living_s - 0.05 <= finished_s <= living_s + 0.15


def test_a_grandchild_counts() -> None:
    tree = ProcessTree(own=False)
    before_s = tree.walk()
    script = f"import subprocess,sys; subprocess.run([sys.executable,'-S','-c',{BURN.format(0.3)!r}])"
    subprocess.run(
        [sys.executable, "-S", "-c", script], stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, check=True
    )
    assert 0.25 <= tree.walk() - before_s <= 0.9


def test_an_orphan_that_was_seen_stays_counted() -> None:
    tree = ProcessTree(own=False)
    before_s = tree.walk()
    burn = BURN.format(0.4)
    orphan = f"import subprocess,sys; p=subprocess.Popen([sys.executable,'-S','-c',{burn!r}]); sys.stdin.read()"
    parent = subprocess.Popen(
        [sys.executable, "-S", "-c", orphan], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    assert parent.stdout is not None
    assert parent.stdout.readline() == "done\n"
    seen_s = tree.walk() - before_s
    assert seen_s >= 0.35
    parent.kill()
    parent.communicate()
    readings_s = [tree.walk() - before_s for _ in range(5) if time.sleep(0.05) is None]
    assert readings_s == sorted(readings_s)
    assert readings_s[-1] >= seen_s - 0.02


def test_readings_never_fall_while_children_come_and_go() -> None:
    tree = ProcessTree()
    readings_s = []
    for _ in range(15):
        child = subprocess.Popen([sys.executable, "-S", "-c", "pass"])
        readings_s += [tree.walk(), tree.quick_cpu_s()]
        child.wait()
        readings_s += [tree.quick_cpu_s(), tree.walk()]
    assert readings_s == sorted(readings_s)


def test_own_time_is_counted_without_a_walk() -> None:
    tree = ProcessTree()
    before_s, own_s = tree.walk(), time.process_time()
    while time.process_time() - own_s < 0.1:
        pass
    assert tree.quick_cpu_s() - before_s == pytest.approx(0.1, abs=0.03)


def test_still_until_something_begins() -> None:
    tree = ProcessTree()
    tree.walk()
    started = subprocess.Popen(["true"])
    assert not tree.is_still()
    started.wait()
    deadline_s = time.monotonic() + 20.0
    while not tree.is_still() and time.monotonic() < deadline_s:  # others start processes too
        tree.look()
    assert tree.is_still()


def test_memory_of_this_process() -> None:
    tree = ProcessTree()
    before_gib = tree.memory_gib()
    block = bytearray(os.urandom(1)) * 100_000_000
    assert tree.memory_gib() - before_gib == pytest.approx(len(block) / 2**30, rel=0.2)


def test_the_age_of_this_process() -> None:
    age_s = process_age_s()
    time.sleep(0.05)
    assert process_age_s() - age_s == pytest.approx(0.05, abs=0.045)
