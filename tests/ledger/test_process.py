"""A process is distinguished from every other one, and a dead one from a living one."""

from __future__ import annotations

import os
import subprocess
import sys
from dataclasses import replace

from overwinter.ledger.process import is_alive, this_process


def test_this_process_lives():
    me = this_process()
    assert me.pid == os.getpid()
    assert me.process_start > 0
    assert is_alive(me, observer=me) is True


def test_a_reused_pid_is_another_process():
    me = this_process()
    assert is_alive(replace(me, process_start=me.process_start - 1), observer=me) is False


def test_nothing_survives_the_machine_s_restart():
    me = this_process()
    assert is_alive(replace(me, boot_id="another"), observer=me) is False


def test_another_machine_or_container_cannot_be_seen():
    me = this_process()
    assert is_alive(replace(me, boot_id="another", host="elsewhere"), observer=me) is None
    assert is_alive(replace(me, pid_namespace="pid:[1]"), observer=me) is None


def test_a_zombie_is_dead():
    me = this_process()
    child = subprocess.Popen([sys.executable, "-c", "pass"])
    try:
        identity = replace(me, pid=child.pid, process_start=_start_of(child.pid))
        os.waitid(os.P_PID, child.pid, os.WEXITED | os.WNOWAIT)  # ended, and not yet collected
        assert is_alive(identity, observer=me) is False
    finally:
        child.wait()
    assert is_alive(identity, observer=me) is False


def _start_of(pid: int) -> int:
    with open(f"/proc/{pid}/stat") as stat:  # noqa: PTH123 - as /proc is read
        return int(stat.read().rpartition(")")[2].split()[19])
