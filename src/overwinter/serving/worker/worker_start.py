"""Starting a worker: a fork of the supervisor, a program of its own, or a container.

A fork has Python and most of the standard library in memory already: a wake from `off` would spend half its time on
starting an interpreter otherwise. The supervisor has one thread, so that forking is safe. With `serve.worker.launcher`
the worker is a program of its own instead, in a container for example.
"""

from __future__ import annotations

import gc
import importlib
import os
import signal
import sys
import traceback
from collections.abc import Sequence
from pathlib import Path
from typing import NoReturn

from overwinter.serving.worker.container_worker import is_container, start_container
from overwinter.serving.worker.worker_process import WorkerProcess, start_program, started

# What every worker needs and the supervisor has no use for, small enough to keep: 0.3 MB, and 10 ms less per wake.
_SHARED = ("concurrent.futures.thread", "ctypes", "hashlib", "pickle", "tempfile")
_PROGRAM = "import sys; from overwinter.serving.worker.main import main; main(sys.argv[1])"


def prepare_to_fork() -> None:
    """Import what workers share, and keep the garbage collection of a worker from copying the supervisor's memory."""
    for name in _SHARED:
        importlib.import_module(name)
    gc.collect()
    gc.freeze()


async def start_worker(kind: str, *, trusted: Sequence[str], launcher: Sequence[str]) -> WorkerProcess:
    """Start a worker; it imports what waking needs, and waits.

    Args:
        kind: what it will wake: `language`, or a runtime's name.
        trusted: where model classes may come from; only with some is the working directory importable.
        launcher: words before the command of a program of its own; none: it is a fork.

    Raises:
        WorkerDied: the system cannot start it.
    """
    if not launcher:
        return await started(lambda handle: _fork(handle, kind, trusted), WorkerProcess)
    if is_container(launcher):
        return await start_container(launcher, ["python", *_program(kind, trusted)])
    return await start_program([*launcher, sys.executable, *_program(kind, trusted)])


def _program(kind: str, trusted: Sequence[str]) -> list[str]:
    return [*([] if trusted else ["-P"]), "-c", _PROGRAM, kind]


def _fork(handle: int, kind: str, trusted: Sequence[str]) -> int:
    """Fork, with signals held back until the child no longer hands them to the supervisor's loop."""
    before = signal.pthread_sigmask(signal.SIG_BLOCK, (signal.SIGTERM, signal.SIGINT))
    try:
        if pid := os.fork():
            return pid
        _become_worker(handle, kind, trusted, before)
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def _become_worker(handle: int, kind: str, trusted: Sequence[str], mask: set[int | signal.Signals]) -> NoReturn:
    """Be the worker in a fresh child, and end with it: nothing of the supervisor runs here any more."""
    status = 1
    try:
        signal.set_wakeup_fd(-1)
        signal.signal(signal.SIGTERM, signal.SIG_DFL)
        signal.signal(signal.SIGINT, signal.SIG_IGN)
        signal.pthread_sigmask(signal.SIG_SETMASK, mask)
        os.dup2(handle, 0)
        os.dup2(handle, 1)
        os.closerange(3, os.sysconf("SC_OPEN_MAX"))  # the port, its clients and the sockets of other workers
        if trusted:
            sys.path.insert(0, str(Path.cwd()))
        from overwinter.serving.worker.main import main

        main(kind)
        status = 0
    except BaseException:  # noqa: BLE001 -- it must not fall back into the supervisor's code
        traceback.print_exc()
    finally:
        os._exit(status)
