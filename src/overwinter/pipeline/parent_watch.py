"""A watch that ends a stage when a program that started it ends.

`kill -9` of dvc leaves its stage running, and a second `dvc repro` then restores outputs while the orphan still
writes. So a stage started by DVC holds a pidfd of every process between itself and dvc, and of `overwinter run` if
that started dvc, and ends as soon as one of them does.
"""

from __future__ import annotations

import contextlib
import os
import select
import signal
import threading
import time
from collections.abc import Sequence
from pathlib import Path

import psutil

RUN_ID = "OVERWINTER_RUN_ID"
RUN_PID = "OVERWINTER_RUN_PID"


def watch_parent() -> None:
    """Watch the programs that started this stage, in a daemon thread; do nothing if the user started it."""
    if "DVC_STAGE" not in os.environ:
        return
    watched = [_opened(pid) for pid in _starters()]
    threading.Thread(target=_end_with_any, args=(watched,), name="parent_watch", daemon=True).start()


def end_with(pids: Sequence[int], *, agent: int) -> None:
    """End this process, and first the agent that would start it again, as soon as any of some processes ends."""

    def end() -> None:
        with contextlib.suppress(ProcessLookupError):
            os.kill(agent, signal.SIGKILL)
        _die()

    def watch() -> None:
        poll = select.poll()
        for handle in watched:
            poll.register(handle, select.POLLIN)
        poll.poll()
        end()

    try:
        watched = [os.pidfd_open(pid) for pid in pids]
    except ProcessLookupError:
        end()
    threading.Thread(target=watch, name="parent_watch", daemon=True).start()


def run_id() -> str:
    """Return the id shared by all executions of one command: of `overwinter run`, of `dvc`, or of this process."""
    given = os.environ.get(RUN_ID)
    if given:
        return given
    if "DVC_STAGE" in os.environ:
        for process in psutil.Process().parents():
            if _is_dvc(process):
                return f"dvc-{_moment(process)}-{process.pid}"
    return f"hand-{_moment(psutil.Process())}-{os.getpid()}"


def experiment() -> str | None:
    """Return the name of the DVC experiment that this program is part of; None in the workspace."""
    return os.environ.get("DVC_EXP_NAME") or None


def _moment(process: psutil.Process) -> str:
    return time.strftime("%Y%m%d-%H%M%S", time.gmtime(process.create_time()))


def _starters() -> list[int]:
    """Return the process ids from the parent up to dvc, and up to `overwinter run` if that started dvc."""
    chain: list[int] = []
    dvc_seen, run_pid = False, int(os.environ.get(RUN_PID, "0"))
    for process in psutil.Process().parents():
        dvc_seen = dvc_seen or _is_dvc(process)
        chain.append(process.pid)
        if dvc_seen and (not run_pid or process.pid == run_pid):
            return chain
    _die()  # dvc, or `overwinter run`, has already ended
    return chain


def _is_dvc(process: psutil.Process) -> bool:
    try:
        words = process.cmdline()
    except psutil.Error:
        return False
    return any(Path(word).name == "dvc" or word.startswith("dvc.") for word in words[:4])


def _opened(pid: int) -> int:
    try:
        return os.pidfd_open(pid)
    except ProcessLookupError:
        _die()
        raise


def _end_with_any(watched: list[int]) -> None:
    poll = select.poll()
    for handle in watched:
        poll.register(handle, select.POLLIN)
    poll.poll()
    _die()


def _die() -> None:
    """End at once, with all children, so that they cannot interfere with a second run."""
    for child in psutil.Process().children(recursive=True):
        child.kill()
    os.kill(os.getpid(), signal.SIGKILL)
