"""Warnings about the meters, with their time, so that each report carries those of its own stretch."""

from __future__ import annotations

import time
from collections.abc import Callable


class Notices:
    """Collects warnings; the same text counts once. Adding is safe from any thread.

    Args:
        clock: monotonic seconds.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._at_s: dict[str, float] = {}
        self._standing_until_s = 0.0

    def add(self, text: str) -> None:
        """Add one line for the user."""
        self._at_s.setdefault(text, self._clock())

    def renew(self, text: str) -> None:
        """Add one line, or say that it holds again: for every window that is open now."""
        self._at_s[text] = self._clock()

    def begin(self) -> None:
        """Let what was reported so far, while meters were opened, stand for every report."""
        self._standing_until_s = self._clock()

    def since(self, start_s: float) -> list[str]:
        """Return what concerns a window that began at ``start_s``."""
        return [text for text, at_s in list(self._at_s.items()) if at_s >= start_s or at_s <= self._standing_until_s]
