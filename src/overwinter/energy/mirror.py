"""Detection of two zones that show the same counter, as the dies of a package do on AMD's first Zens.

On other processors (Intel's Cascade Lake-AP), each die has its own counter. The names do not distinguish the cases,
but the values do: separate counters are equal at most once by chance, when both stand still or one overtakes the other.
"""

from __future__ import annotations

import time
from collections.abc import Callable

_EQUALS = 3  # equal values, more than by chance
_UNEQUALS = 5  # pairs of different values, more than one counter read between two of its updates
_FAR_UJ = 150_000_000  # more than a package draws between two successive readings
_SETTLING_S = 0.025
_PAUSE_S = 0.001  # a counter is updated about every millisecond


class MirrorWatch:
    """Compares two counters until it is known whether they are the same.

    Args:
        one: A function that reads the first.
        other: A function that reads the second.

    Attributes:
        verdict: True if they are the same, False if not, None if not known yet.
    """

    def __init__(self, one: Callable[[], int], other: Callable[[], int]) -> None:
        self.verdict: bool | None = None
        self._one, self._other = one, other
        self._equals: set[int] = set()
        self._unequals: set[tuple[int, int]] = set()

    def look(self) -> bool | None:
        """Compare once more, unless it is known, and return the verdict."""
        if self.verdict is None:
            try:
                before, between, after = self._one(), self._other(), self._one()
            except (OSError, ValueError):
                return None
            self._weigh(before, between, after)
        return self.verdict

    def _weigh(self, before: int, between: int, after: int) -> None:
        if before == between == after:
            self._equals.add(between)
        elif not before <= between <= after:
            self._unequals.add((before, between))
        if len(self._equals) >= _EQUALS:
            self.verdict = True
        elif len(self._equals) <= 1 and (len(self._unequals) >= _UNEQUALS or abs(before - between) > _FAR_UJ):
            self.verdict = False


def settled(watch: MirrorWatch) -> MirrorWatch:
    """Compare for a moment, which is enough to distinguish counters that change in it."""
    until_s = time.monotonic() + _SETTLING_S
    while watch.look() is None and time.monotonic() < until_s:
        time.sleep(_PAUSE_S)
    return watch
