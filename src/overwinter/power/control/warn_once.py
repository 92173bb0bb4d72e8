"""What the control loop tells a person: each line once, however often its cause comes back."""

from __future__ import annotations

from collections.abc import Callable


class WarnOnce:
    """Warns of each thing once.

    Args:
        warn: takes one line for a person.
    """

    def __init__(self, warn: Callable[[str], None]) -> None:
        self._warn = warn
        self._told: dict[str, None] = {}

    def tell(self, text: str) -> None:
        """Tell a line, unless it was told before."""
        if text not in self._told:
            self._told[text] = None
            self._warn(text)

    def told(self) -> tuple[str, ...]:
        """Return every line that was told, in order."""
        return tuple(self._told)
