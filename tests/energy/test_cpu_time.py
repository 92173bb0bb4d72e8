"""CPU time of a command's tree, by each way of counting: each second once, none lost."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from overwinter.config.groups.energy import CPU_TIME_WAYS
from overwinter.energy.control_group import SHARED
from overwinter.energy.cpu_time import MARK, WAYS, CpuTime

BURN = "import time\nwhile time.process_time() < {}: pass"


@pytest.fixture(params=WAYS)
def counting(request: pytest.FixtureRequest) -> Iterator[CpuTime]:
    """CPU time of children, by one way alone, as in a process that runs other things too."""
    counting = CpuTime(own=False, ways=(request.param,))
    counting.begin()
    if request.param == "cgroup" and counting.way != "cgroup":
        counting.close()
        pytest.skip("no control group can be made here")
    yield counting
    counting.close()
    assert MARK not in os.environ


def used_s(counting: CpuTime, *command: str) -> float:
    before_s = counting.walk()
    subprocess.run(command, check=True)
    return counting.walk() - before_s


class Burner:
    """A program that burns CPU time and says when it has; a shell can wait for that, however busy the machine."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        (folder / "burn.py").write_text(
            "import sys, time\nwhile time.process_time() < float(sys.argv[1]): pass\nopen(sys.argv[2], 'w').close()\n"
        )

    def command(self, seconds: float, name: str = "done") -> str:
        return f"{sys.executable} -S {self.folder}/burn.py {seconds} {self.folder}/{name}"

    def wait(self, *names: str) -> str:
        return "; ".join(f"while [ ! -e {self.folder}/{name} ]; do sleep 0.05; done" for name in names) + "; sleep 0.2"


@pytest.fixture
def burner(tmp_path: Path) -> Burner:
    return Burner(tmp_path)


def test_a_script_that_waits_counts_once(counting: CpuTime, burner: Burner) -> None:
    script = burner.folder / "script.sh"
    script.write_text(f"#!/bin/sh\n{burner.command(0.6)}\ntrue\n")
    script.chmod(0o755)
    assert used_s(counting, "sh", "-c", f"{script}; true") == pytest.approx(0.62, abs=0.1)


def test_work_in_the_background_of_a_shell_that_has_ended(counting: CpuTime, burner: Burner) -> None:
    script = f"({burner.command(0.6)} &); {burner.wait('done')}"
    assert used_s(counting, "sh", "-c", script) == pytest.approx(0.65, abs=0.2)


def test_children_of_a_parent_that_ignores_sigchld(counting: CpuTime, burner: Burner) -> None:
    both = f"{burner.command(0.5, 'one')} & {burner.command(0.5, 'two')} &"
    script = f"trap '' CHLD; {both} {burner.wait('one', 'two')}"
    assert used_s(counting, "sh", "-c", script) == pytest.approx(1.1, abs=0.3)


def test_a_daemon_in_a_session_of_its_own(counting: CpuTime, burner: Burner) -> None:
    script = f"(setsid {burner.command(0.6)} &); {burner.wait('done')}"
    assert used_s(counting, "sh", "-c", script) == pytest.approx(0.65, abs=0.2)


def test_what_ran_before_counts_from_the_beginning_on() -> None:
    child = subprocess.Popen([sys.executable, "-S", "-c", BURN.format(60)])
    time.sleep(0.3)
    counting = CpuTime(own=False)
    try:
        begun_s = counting.begin()
        time.sleep(0.5)
        assert 0.01 <= counting.walk() - begun_s <= 5.0
    finally:
        counting.close()
        child.kill()
        child.wait()


def test_own_time_counts_if_asked_for() -> None:
    for own in (False, True):
        counting = CpuTime(own=own)
        begun_s, own_s = counting.begin(), time.process_time()
        while time.process_time() - own_s < 0.3:
            pass
        found_s = counting.walk() - begun_s
        counting.close()
        assert found_s == pytest.approx(0.3 if own else 0.0, abs=0.05)


def test_a_group_that_another_process_removes_costs_nothing_but_itself() -> None:
    counting = CpuTime(own=False, ways=("cgroup",))
    counting.begin()
    if counting.way != "cgroup":
        counting.close()
        pytest.skip("no control group can be made here")
    assert counting._group is not None
    counting._group.leave()
    before_s = counting.walk()
    subprocess.run([sys.executable, "-S", "-c", BURN.format(0.3)], check=True)
    assert counting.walk() - before_s == pytest.approx(0.31, abs=0.1)
    counting.close()
    assert SHARED._group is None


def test_a_fork_neither_counts_nor_closes_what_is_its_parent_s() -> None:
    counting = CpuTime(own=True)
    counting.begin()
    pid = os.fork()
    if pid == 0:
        counting.walk()
        counting.close()
        os._exit(0)
    assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 0
    if counting._group is not None:
        assert os.getpid() in counting._group.processes()
    counting.close()


def test_readings_never_fall(counting: CpuTime) -> None:
    readings_s = [counting.walk()]
    for number in range(6):
        child = subprocess.Popen([sys.executable, "-S", "-c", BURN.format(0.03)])
        readings_s += [counting.walk(), counting.quick_cpu_s()]
        if number % 2:
            child.send_signal(signal.SIGKILL)
        child.wait()
        readings_s += [counting.quick_cpu_s(), counting.walk()]
    assert readings_s == sorted(readings_s)


def test_the_configuration_allows_these_ways():
    assert ("auto", *WAYS) == CPU_TIME_WAYS
