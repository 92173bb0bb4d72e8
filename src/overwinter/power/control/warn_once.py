"""What the control loop reports to the user: each line once, however often its cause comes back."""

from __future__ import annotations

from collections.abc import Callable


class WarnOnce:
    """Warns of each thing once.

    Args:
        warn: takes one line for the user.
    """

    def __init__(self, warn: Callable[[str], None]) -> None:
        self._warn = warn
        self._reported: dict[str, None] = {}

    def notify(self, text: str) -> None:
        """Tell a line, unless it was reported before."""
        if text not in self._reported:
            self._reported[text] = None
            self._warn(text)

    def reported(self) -> tuple[str, ...]:
        """Return every line that was reported, in order."""
        return tuple(self._reported)
