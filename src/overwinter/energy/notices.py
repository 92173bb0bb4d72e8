"""Warnings about the meters with their times, so that each report includes those of its window."""

from __future__ import annotations

import time
from collections.abc import Callable


class Notices:
    """Collects warnings, each text once. Adding is thread-safe.

    Args:
        clock: A monotonic clock in seconds.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._at_s: dict[str, float] = {}
        self._standing_until_s = 0.0

    def add(self, text: str) -> None:
        """Add one line for the user."""
        self._at_s.setdefault(text, self._clock())

    def renew(self, text: str) -> None:
        """Add one line, or renew it for every window that is open now."""
        self._at_s[text] = self._clock()

    def begin(self) -> None:
        """Include all warnings so far, from opening the meters, in every report."""
        self._standing_until_s = self._clock()

    def since(self, start_s: float) -> list[str]:
        """Return the warnings for a window that started at ``start_s``."""
        return [text for text, at_s in list(self._at_s.items()) if at_s >= start_s or at_s <= self._standing_until_s]
