"""Whether two zones show one and the same counter, as the dies of a package do on AMD's first Zens.

Each die of other processors (Intel's Cascade Lake-AP) has a counter of its own. Names do not tell which it is, but
the counters do: those of their own meet at most once by accident, when both stand still or one overtakes the other.
"""

from __future__ import annotations

import time
from collections.abc import Callable

_EQUALS = 3  # values at which both were met: no accident any more
_UNEQUALS = 5  # pairs of values that differ: no counter that was read between two of its updates
_FAR_UJ = 150_000_000  # what no package draws between two readings in a row
_SETTLING_S = 0.025
_PAUSE_S = 0.001  # a counter is updated about every millisecond


class MirrorWatch:
    """Compares two counters until it is clear whether they are one.

    Args:
        one: reads the first.
        other: reads the second.

    Attributes:
        verdict: True: they are one; False: they are two; None: not clear yet.
    """

    def __init__(self, one: Callable[[], int], other: Callable[[], int]) -> None:
        self.verdict: bool | None = None
        self._one, self._other = one, other
        self._equals: set[int] = set()
        self._unequals: set[tuple[int, int]] = set()

    def look(self) -> bool | None:
        """Compare once more, unless it is clear, and return the verdict."""
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
    """Look for a moment; counters that move by then are distinguished."""
    until_s = time.monotonic() + _SETTLING_S
    while watch.look() is None and time.monotonic() < until_s:
        time.sleep(_PAUSE_S)
    return watch
