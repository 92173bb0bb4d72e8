"""The start of a worker: a fork of the supervisor, a separate program, or a container.

A fork has Python and most of the standard library in memory: otherwise a wake from `off` would spend half its time on
starting an interpreter. The supervisor has one thread, so that forking is safe. With `serve.worker.launcher`, the
worker is a separate program instead, for example in a container.
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

# Modules that every worker needs, but not the supervisor; keeping them takes 0.3 MB and saves 10 ms per wake.
_SHARED = ("concurrent.futures.thread", "ctypes", "hashlib", "pickle", "tempfile")
_PROGRAM = "import sys; from overwinter.serving.worker.main import main; main(sys.argv[1])"


def prepare_to_fork() -> None:
    """Import shared modules, and freeze them, so that a worker's garbage collection does not copy their memory."""
    for name in _SHARED:
        importlib.import_module(name)
    gc.collect()
    gc.freeze()


async def start_worker(kind: str, *, trusted: Sequence[str], launcher: Sequence[str]) -> WorkerProcess:
    """Start a worker; it imports what waking needs, and waits.

    Args:
        kind: The kind of model: `language`, or a runtime's name.
        trusted: The packages of trusted model classes; with any, the working directory is importable.
        launcher: The command that starts a separate program; empty: the worker is a fork.

    Raises:
        WorkerDied: The system cannot start it.
    """
    if not launcher:
        return await started(lambda handle: _fork(handle, kind, trusted), WorkerProcess)
    if is_container(launcher):
        return await start_container(launcher, ["python", *_program(kind, trusted)])
    return await start_program([*launcher, sys.executable, *_program(kind, trusted)])


def _program(kind: str, trusted: Sequence[str]) -> list[str]:
    return [*([] if trusted else ["-P"]), "-c", _PROGRAM, kind]


def _fork(handle: int, kind: str, trusted: Sequence[str]) -> int:
    """Fork, with signals blocked until the child has left the supervisor's event loop."""
    before = signal.pthread_sigmask(signal.SIG_BLOCK, (signal.SIGTERM, signal.SIGINT))
    try:
        if pid := os.fork():
            return pid
        _become_worker(handle, kind, trusted, before)
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def _become_worker(handle: int, kind: str, trusted: Sequence[str], mask: set[int | signal.Signals]) -> NoReturn:
    """Run the worker in a new child, and exit with it, without running any of the supervisor's code."""
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
    except BaseException:  # noqa: BLE001 -- it must not return to the supervisor's code
        traceback.print_exc()
    finally:
        os._exit(status)
