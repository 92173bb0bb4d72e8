"""Streamed responses: the queue of parts between a worker and a client.

There is no backpressure on the worker: the length of a response is limited (`serve.limits.response_tokens`), so a slow
client costs memory, but no time of the model.
"""

from __future__ import annotations

import asyncio
from typing import Self


class Stream:
    """The parts of a body, each read once.

    Attributes:
        abandoned: Whether the client has disconnected.
    """

    def __init__(self) -> None:
        self._parts: asyncio.Queue[bytes | None] = asyncio.Queue()
        self.abandoned = False

    def put(self, part: bytes) -> None:
        """Add a part."""
        if part and not self.abandoned:
            self._parts.put_nowait(part)

    def end(self) -> None:
        """Mark the end."""
        self._parts.put_nowait(None)

    def abandon(self) -> None:
        """Record that the client has disconnected."""
        self.abandoned = True

    def __aiter__(self) -> Self:
        """Iterate over the parts."""
        return self

    async def __anext__(self) -> bytes:
        """Return the next part, when it is available."""
        part = await self._parts.get()
        if part is None:
            raise StopAsyncIteration
        return part
