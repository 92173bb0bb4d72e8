"""How many bytes of requests are in memory: of all connections together, and of deferred requests that are due."""

from __future__ import annotations

import asyncio


class HeldBytes:
    """A count with a limit.

    Args:
        max_bytes: at once (`serve.limits.held_bytes`).
    """

    def __init__(self, max_bytes: int) -> None:
        self.max_bytes, self._count = max_bytes, 0
        self._freed = asyncio.Event()

    def fits(self, size_bytes: int) -> bool:
        """Return whether so much more may be taken into memory."""
        return self._count + size_bytes <= self.max_bytes

    def add(self, size_bytes: int) -> None:
        """Count what has come into memory."""
        self._count += size_bytes

    def remove(self, size_bytes: int) -> None:
        """Count what has left it."""
        self._count -= size_bytes
        self._freed.set()

    async def room(self, size_bytes: int) -> None:
        """Wait until so much more fits; what never would waits until there is nothing else."""
        while self._count and not self.fits(size_bytes):
            self._freed.clear()
            await self._freed.wait()
