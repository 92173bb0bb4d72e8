"""A worker process as the supervisor sees it: started, asked one thing at a time, and ended.

A worker is a fork of the supervisor, which has Python and most of the standard library in memory already: a wake
from `off` would spend half its time on starting an interpreter otherwise. The supervisor has one thread, so that
forking is safe. With `serve.worker.launcher` the worker is a program of its own instead, in a container for example.
"""

from __future__ import annotations

import asyncio
import contextlib
import gc
import importlib
import os
import signal
import socket
import sys
import traceback
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, NoReturn, TypeVar

from overwinter.serving.server.frames import Frame, FrameError, pack_frame, receive_frame

# What every worker needs and the supervisor has no use for, small enough to keep: 0.3 MB, and 10 ms less per wake.
_SHARED = ("concurrent.futures.thread", "ctypes", "hashlib", "pickle", "tempfile")
_PROGRAM = "import sys; from overwinter.hibernation.worker import main; main(sys.argv[1])"


class WorkerDied(Exception):  # noqa: N818 -- an event that the supervisor handles, no fault of its own
    """The worker ended, fell silent, or spoke nonsense."""


class WorkerProcess:
    """A process at the other end of a socket. Made by `start_worker`."""

    def __init__(self, pid: int, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.pid, self._reader, self._writer = pid, reader, writer
        self._exit = asyncio.create_task(_exit_code(pid))
        self._owes = False

    @property
    def listens(self) -> bool:
        """Whether it has answered all that it was asked."""
        return self.alive and not self._owes

    @property
    def alive(self) -> bool:
        """Whether it has not ended."""
        return not self._exit.done()

    async def ask(self, header: Mapping[str, Any], body: bytes = b"", *, within_s: float) -> Frame:
        """Send a frame and return the answer; while its header has `more`, `next_frame` gives what follows.

        Raises:
            WorkerDied: there was none; the process is ended then.
        """
        self._owes = True
        self._writer.write(pack_frame(header, body))
        return await self.next_frame(within_s=within_s)

    def cancel(self) -> None:
        """Ask it to end the answer that it gives in several frames; the last one comes soon."""
        self._writer.write(pack_frame({"operation": "cancel"}))

    async def next_frame(self, *, within_s: float) -> Frame:
        """Return what it says next.

        Raises:
            WorkerDied: it said nothing; the process is ended then.
        """
        try:
            async with asyncio.timeout(within_s):
                await self._writer.drain()
                frame = await receive_frame(self._reader)
        except (TimeoutError, OSError, EOFError, FrameError) as error:
            silent = isinstance(error, TimeoutError)
            await self.stop(within_s=0)
            said = f"fell silent for {within_s:g} s" if silent else f"ended with {self._exit.result()}"
            raise WorkerDied(f"the worker {said}") from None
        self._owes = bool(frame.header.get("more"))
        return frame

    async def stop(self, *, within_s: float) -> None:
        """Let it leave, and kill it if it does not."""
        self._writer.close()
        await asyncio.wait({self._exit}, timeout=within_s)
        if self.alive:
            with contextlib.suppress(ProcessLookupError):
                os.kill(self.pid, signal.SIGKILL)
            await self.ended()

    async def ended(self) -> None:
        """Return when it has ended."""
        await asyncio.wait({self._exit})


_Worker = TypeVar("_Worker", bound=WorkerProcess)


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
        return await _started(lambda handle: _fork(handle, kind, trusted), WorkerProcess)
    from overwinter.serving.server.container_worker import is_container, start_container

    if is_container(launcher):
        return await start_container(launcher, ["python", *_program(kind, trusted)])
    return await start_program([*launcher, sys.executable, *_program(kind, trusted)])


async def start_program(command: list[str]) -> WorkerProcess:
    """Start a program that speaks frames over its standard input and output.

    Raises:
        WorkerDied: the system cannot start it.
    """
    return await start_program_as(WorkerProcess, command)


async def start_program_as(make: type[_Worker], command: list[str]) -> _Worker:
    """Do as `start_program` does, for another kind of `WorkerProcess`."""
    return await _started(lambda handle: _spawn(command, handle), make)


async def _started(start: Callable[[int], int], make: type[_Worker]) -> _Worker:
    ours, theirs = socket.socketpair()
    try:
        with theirs:
            pid = start(theirs.fileno())
    except OSError as error:
        ours.close()
        raise WorkerDied(f"the worker cannot be started: {error}") from None
    reader, writer = await asyncio.open_connection(sock=ours)
    return make(pid, reader, writer)


def _program(kind: str, trusted: Sequence[str]) -> list[str]:
    return [*([] if trusted else ["-P"]), "-c", _PROGRAM, kind]


def _spawn(command: list[str], handle: int) -> int:
    wiring = [(os.POSIX_SPAWN_DUP2, handle, 0), (os.POSIX_SPAWN_DUP2, handle, 1)]
    return os.posix_spawnp(command[0], command, os.environ, file_actions=wiring)


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
        from overwinter.hibernation.worker import main

        main(kind)
        status = 0
    except BaseException:  # noqa: BLE001 -- it must not fall back into the supervisor's code
        traceback.print_exc()
    finally:
        os._exit(status)


async def _exit_code(pid: int) -> int:
    """Wait for a child without a thread; negative: the signal that ended it."""
    ended = asyncio.get_running_loop().create_future()
    handle = os.pidfd_open(pid)
    asyncio.get_running_loop().add_reader(handle, ended.cancel)
    try:
        await asyncio.wait({ended})
    finally:
        asyncio.get_running_loop().remove_reader(handle)
        os.close(handle)
    return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
