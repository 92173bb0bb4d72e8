"""A worker process as the supervisor sees it: started, asked one thing at a time, and ended."""

from __future__ import annotations

import asyncio
import contextlib
import socket
import sys
from collections.abc import Mapping, Sequence
from typing import Any

from overwinter.serving.server.frames import Frame, FrameError, pack_frame, receive_frame

_PROGRAM = "from overwinter.hibernation.worker import main; main()"


class WorkerDied(Exception):  # noqa: N818 -- an event that the supervisor handles, no fault of its own
    """The worker ended, fell silent, or spoke nonsense."""


class WorkerProcess:
    """A process at the other end of a socket. Made by `start_worker`."""

    def __init__(
        self, process: asyncio.subprocess.Process, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> None:
        self._process, self._reader, self._writer = process, reader, writer
        self._greeted = False

    @property
    def pid(self) -> int:
        """Of the process."""
        return self._process.pid

    @property
    def alive(self) -> bool:
        """Whether it has not ended."""
        return self._process.returncode is None

    async def ask(self, header: Mapping[str, Any], body: bytes = b"", *, within_s: float) -> Frame:
        """Send a frame and return the answer.

        Raises:
            WorkerDied: there was none; the process is ended then.
        """
        try:
            async with asyncio.timeout(within_s):
                self._writer.write(pack_frame(header, body))
                await self._writer.drain()
                if not self._greeted:  # `preforked`: its imports are done
                    await receive_frame(self._reader)
                    self._greeted = True
                return await receive_frame(self._reader)
        except (TimeoutError, OSError, EOFError, FrameError) as error:
            silent = isinstance(error, TimeoutError)
            await self.stop(within_s=0)
            said = f"fell silent for {within_s:g} s" if silent else f"ended with {self._process.returncode}"
            raise WorkerDied(f"the worker {said}") from None

    async def stop(self, *, within_s: float) -> None:
        """Let it leave, and kill it if it does not."""
        self._writer.close()
        try:
            await asyncio.wait_for(self._process.wait(), within_s)
        except TimeoutError:
            with contextlib.suppress(ProcessLookupError):
                self._process.kill()
            await self._process.wait()

    async def ended(self) -> None:
        """Return when it has ended."""
        await self._process.wait()


async def start_worker(runtime: str, *, trusted: Sequence[str], launcher: Sequence[str]) -> WorkerProcess:
    """Start a worker; it imports what waking needs, and waits.

    Args:
        runtime: whose modules it imports.
        trusted: where model classes may come from; only with some is the working directory importable.
        launcher: words before the command.

    Raises:
        WorkerDied: the system cannot start it.
    """
    ours, theirs = socket.socketpair()
    command = [*launcher, sys.executable, *([] if trusted else ["-P"]), "-c", _PROGRAM, runtime]
    try:
        with theirs:
            handle = theirs.fileno()
            process = await asyncio.create_subprocess_exec(*command, stdin=handle, stdout=handle)
    except OSError as error:
        ours.close()
        raise WorkerDied(f"the worker cannot be started: {error}") from None
    reader, writer = await asyncio.open_connection(sock=ours)
    return WorkerProcess(process, reader, writer)
