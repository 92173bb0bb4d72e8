"""Warnings of the control loop, each line once."""

from __future__ import annotations

from collections.abc import Callable


class WarnOnce:
    """Reports each line only once.

    Args:
        warn: reports one line to the user.
    """

    def __init__(self, warn: Callable[[str], None]) -> None:
        self._warn = warn
        self._reported: dict[str, None] = {}

    def notify(self, text: str) -> None:
        """Report a line, unless it was reported before."""
        if text not in self._reported:
            self._reported[text] = None
            self._warn(text)

    def reported(self) -> tuple[str, ...]:
        """Return every reported line, in order."""
        return tuple(self._reported)
