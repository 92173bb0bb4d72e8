"""The number of bytes of requests in memory: those of all connections, and deferred requests that are due."""

from __future__ import annotations

import asyncio


class HeldBytes:
    """A count with a limit.

    Args:
        max_bytes: The limit (`serve.limits.held_bytes`).
    """

    def __init__(self, max_bytes: int) -> None:
        self.max_bytes, self._count = max_bytes, 0
        self._freed = asyncio.Event()

    def fits(self, size_bytes: int) -> bool:
        """Return whether this many bytes more fit."""
        return self._count + size_bytes <= self.max_bytes

    def add(self, size_bytes: int) -> None:
        """Add bytes to the count."""
        self._count += size_bytes

    def remove(self, size_bytes: int) -> None:
        """Subtract bytes from the count."""
        self._count -= size_bytes
        self._freed.set()

    async def room(self, size_bytes: int) -> None:
        """Wait until this many bytes more fit; more than the limit waits until memory is empty."""
        while self._count and not self.fits(size_bytes):
            self._freed.clear()
            await self._freed.wait()
