"""Reading of /proc: names with brackets, threads, ended processes."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

from overwinter.energy import proc


def test_this_process() -> None:
    own = proc.stat(os.getpid())
    assert own is not None
    assert own.ppid == os.getppid()
    exact = proc.stat(os.getpid(), exact=True)
    assert exact is not None
    assert own.own_s <= exact.own_s <= time.process_time()
    assert proc.is_ours()
    assert os.getpid() in proc.pids()
    assert proc.is_there(os.getpid())
    assert proc.memory_bytes(os.getpid())[0] > 1_000_000


def test_memory_in_use_on_the_machine() -> None:
    pages = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    assert proc.memory_bytes(os.getpid())[0] < proc.used_memory_bytes() < pages


def test_a_name_with_brackets_and_blanks(tmp_path: Path) -> None:
    program = tmp_path / "a) R (b 1 2"
    program.symlink_to("/bin/sleep")
    child = subprocess.Popen([str(program), "30"])
    try:
        found = proc.stat(child.pid)
        assert found is not None
        assert found.ppid == os.getpid()
    finally:
        child.kill()
        child.wait()
    assert proc.stat(child.pid) is None
    assert not proc.is_there(child.pid)
    assert proc.memory_bytes(child.pid) == (0, 0)


def test_a_thread_is_no_process() -> None:
    ready, done = threading.Event(), threading.Event()
    ids: list[int] = []

    def live() -> None:
        ids.append(threading.get_native_id())
        ready.set()
        done.wait()

    thread = threading.Thread(target=live)
    thread.start()
    ready.wait()
    try:
        assert proc.status(os.getpid()).leads
        assert not proc.status(ids[0]).leads
    finally:
        done.set()
        thread.join()


def test_who_forgets_its_children_and_who_is_marked() -> None:
    code = "import signal,sys; signal.signal(signal.SIGCHLD, signal.SIG_IGN); print('x', flush=True); sys.stdin.read()"
    child = subprocess.Popen(
        [sys.executable, "-S", "-c", code],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        env={"OVERWINTER_METER": "mark-of-a-test"},
    )
    assert child.stdout is not None
    child.stdout.readline()
    assert proc.status(child.pid).forgets_children
    assert proc.carries(child.pid, "mark-of-a-test")
    assert not proc.carries(child.pid, "another-mark")
    assert not proc.status(os.getpid()).forgets_children or signal.getsignal(signal.SIGCHLD) is signal.SIG_IGN
    child.communicate(b"")


def test_the_newest_id_grows_with_each_process() -> None:
    before = proc.newest_pid()
    child = subprocess.Popen(["true"])
    child.wait()
    assert before is not None
    after = proc.newest_pid()
    assert after is not None
    assert after >= child.pid or after < before  # ids begin anew after the highest one
