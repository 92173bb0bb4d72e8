"""The supervisor's handle of a worker process: start, one request at a time, stop."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import socket
from collections.abc import Callable
from typing import TypeVar

from overwinter.errors import IntegrityError
from overwinter.serving.worker.frames import Frame, FrameError, pack_frame, receive_frame
from overwinter.serving.worker.records import CANCEL, Piece, Record


class WorkerDied(Exception):  # noqa: N818 -- an event that the supervisor handles, not an error of its own
    """The worker exited, did not respond, or sent invalid data."""


class WorkerSilent(WorkerDied):
    """The worker did not respond in time, and was killed."""


class WorkerProcess:
    """A process at the other end of a socket; construct it with `worker_start.start_worker`."""

    def __init__(self, pid: int, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.pid, self._reader, self._writer = pid, reader, writer
        self._exit = asyncio.create_task(_exit_code(pid))
        self._owes = False

    @property
    def listens(self) -> bool:
        """Return whether every request was answered."""
        return self.alive and not self._owes

    @property
    def alive(self) -> bool:
        """Return whether the process is running."""
        return not self._exit.done()

    async def ask(self, record: Record, body: bytes = b"", *, within_s: float) -> Frame:
        """Send a frame and return the response; after a `Piece` with `more`, `next_frame` returns the next one.

        Raises:
            WorkerDied: There was no response; the process is then killed.
        """
        self._owes = True
        self._writer.write(pack_frame(record.header(), body))
        return await self.next_frame(within_s=within_s)

    def cancel(self) -> None:
        """Cancel a response of several frames; the last one follows soon."""
        self._writer.write(pack_frame(CANCEL.header()))

    async def next_frame(self, *, within_s: float) -> Frame:
        """Return the next frame.

        Raises:
            WorkerDied: There was none; the process is then killed. `WorkerSilent`: none in time.
        """
        try:
            async with asyncio.timeout(within_s):
                await self._writer.drain()
                frame = await receive_frame(self._reader)
            self._owes = Piece.read(frame.header).more
        except (TimeoutError, OSError, EOFError, FrameError, IntegrityError) as error:
            await self.stop(within_s=0)
            if isinstance(error, TimeoutError):
                raise WorkerSilent(f"the worker did not respond for {within_s:g} s") from None
            raise WorkerDied(f"the worker exited with {self._exit.result()}") from None
        return frame

    async def stop(self, *, within_s: float) -> None:
        """Let the process exit, and kill it if it does not."""
        self._writer.close()
        await asyncio.wait({self._exit}, timeout=within_s)
        if self.alive:
            with contextlib.suppress(ProcessLookupError):
                os.kill(self.pid, signal.SIGKILL)
            await self.ended()

    async def ended(self) -> None:
        """Return when the process has ended."""
        await asyncio.wait({self._exit})


_Worker = TypeVar("_Worker", bound=WorkerProcess)


async def start_program(command: list[str]) -> WorkerProcess:
    """Start a program that exchanges frames over its standard input and output.

    Raises:
        WorkerDied: The system cannot start it.
    """
    return await start_program_as(WorkerProcess, command)


async def start_program_as(make: type[_Worker], command: list[str]) -> _Worker:
    """Start a program as `start_program` does, for another kind of `WorkerProcess`."""
    return await started(lambda handle: _spawn(command, handle), make)


async def started(start: Callable[[int], int], make: type[_Worker]) -> _Worker:
    """Start a process with one end of a socket, given as a file descriptor; return a handle with the other end.

    Raises:
        WorkerDied: The system cannot start it.
    """
    ours, theirs = socket.socketpair()
    try:
        with theirs:
            pid = start(theirs.fileno())
    except OSError as error:
        ours.close()
        raise WorkerDied(f"the worker cannot be started: {error}") from None
    reader, writer = await asyncio.open_connection(sock=ours)
    return make(pid, reader, writer)


def _spawn(command: list[str], handle: int) -> int:
    wiring = [(os.POSIX_SPAWN_DUP2, handle, 0), (os.POSIX_SPAWN_DUP2, handle, 1)]
    return os.posix_spawnp(command[0], command, os.environ, file_actions=wiring)


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
