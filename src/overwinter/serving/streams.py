"""A response that is written while it is read: the parts between a worker and a client.

Nothing holds the worker back: a response's length has a limit (`serve.limits.response_tokens`), so a slow client costs
memory, and no time of the model.
"""

from __future__ import annotations

import asyncio
from typing import Self


class Stream:
    """Parts of a body, each given out once.

    Attributes:
        abandoned: whether no one reads it any more.
    """

    def __init__(self) -> None:
        self._parts: asyncio.Queue[bytes | None] = asyncio.Queue()
        self.abandoned = False

    def put(self, part: bytes) -> None:
        """Add a part."""
        if part and not self.abandoned:
            self._parts.put_nowait(part)

    def end(self) -> None:
        """Say that there is no more."""
        self._parts.put_nowait(None)

    def abandon(self) -> None:
        """Say that no one reads it any more."""
        self.abandoned = True

    def __aiter__(self) -> Self:
        """Read it."""
        return self

    async def __anext__(self) -> bytes:
        """Return the next part, once it is there."""
        part = await self._parts.get()
        if part is None:
            raise StopAsyncIteration
        return part
