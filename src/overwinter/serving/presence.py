"""Detection of clients that disconnect before their response, so that nothing is computed for them.

A client that disconnects closes its side of the connection, and so does one that only stops sending and still reads
(`nc -N`). TCP distinguishes the two only when data is sent to them, which the first one's machine refuses. So a client
that has closed its side gets an interim response (100), which every HTTP/1.1 client must accept. HTTP/1.0 has no
interim responses: such a client counts as connected. With TLS, the end of its side ends the connection.
"""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Awaitable, Callable
from types import TracebackType
from typing import Self

_PATIENCE_S = 0.05  # most responses are ready before the first check
_FIRST_LOOK_S, _MAX_LOOK_S = 0.02, 1.0


class Watched:
    """A block that is cancelled when the client disconnects.

    Args:
        left: Returns when the client's side is closed; True if it has certainly disconnected.
    """

    def __init__(self, left: Callable[[], Awaitable[bool]]) -> None:
        self._left = left
        self._watching: asyncio.Future[bool] | None = None
        self._over = False

    async def __aenter__(self) -> Self:
        """Begin to watch, after a short delay."""
        self._task = asyncio.current_task()
        self._timer = asyncio.get_running_loop().call_later(_PATIENCE_S, self._begin)
        return self

    async def __aexit__(
        self, _kind: type[BaseException] | None, _error: BaseException | None, _trace: TracebackType | None
    ) -> None:
        """Stop watching: only one task may read the connection at a time."""
        self._over = True
        self._timer.cancel()
        if self._watching is not None:
            self._watching.cancel()
            await asyncio.wait({self._watching})

    def _begin(self) -> None:
        self._watching = asyncio.ensure_future(self._left())
        self._watching.add_done_callback(self._notify)

    def _notify(self, watching: asyncio.Future[bool]) -> None:
        if not (self._over or watching.cancelled()) and watching.result() and self._task is not None:
            self._task.cancel()


async def until_refused(writer: asyncio.StreamWriter, probe: bytes) -> None:
    """Return when the other side has refused a probe; never if it accepts it."""
    if not _refused(writer):
        writer.write(probe)
    pause_s = _FIRST_LOOK_S
    while not _refused(writer):
        await asyncio.sleep(pause_s)
        pause_s = min(2 * pause_s, _MAX_LOOK_S)


def _refused(writer: asyncio.StreamWriter) -> bool:
    """Return whether the connection is closed; asyncio does not check while nothing is read or written."""
    if writer.transport.is_closing():
        return True
    return bool(writer.get_extra_info("socket").getsockopt(socket.SOL_SOCKET, socket.SO_ERROR))
