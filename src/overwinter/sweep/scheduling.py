"""The order of a sweep's points: no stage runs twice, and points that share stages follow each other.

A point claims its stages when it starts. Another point may start as soon as no running point claims one of its stages
that is not finished yet. A claim ends when DVC has committed the stage's result, which the next point then restores
from DVC's cache, or when the point ends.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence

from overwinter.sweep.costs import Keys, order_points


class Schedule:
    """Decides which point starts next.

    Args:
        points: The keys of each point's stages.
        order: The order in which points start, as far as they may; by default, those that share stages follow each
            other.
    """

    def __init__(self, points: Sequence[Keys], order: Sequence[int] | None = None) -> None:
        self._points = points
        self.waiting = list(order_points(points) if order is None else order)
        self._claims: dict[int, set[str]] = {}
        self._finished: set[str] = set()
        self._failed: dict[str, int] = {}

    @property
    def running(self) -> list[int]:
        """Points that have started and not ended."""
        return list(self._claims)

    @property
    def paid_for(self) -> set[str]:
        """Keys of stages that are finished, or that a running point runs now."""
        return self._finished.union(*self._claims.values())

    def next(self) -> int | None:
        """Return the next point that may start; None if all that wait need a stage that is running now."""
        claimed = {key for claims in self._claims.values() for key in claims}
        ready = (point for point in self.waiting if claimed.isdisjoint(self._unfinished(point)))
        return next(ready, None)

    def start(self, point: int) -> None:
        """Let a waiting point claim its stages."""
        self.waiting.remove(point)
        self._claims[point] = self._unfinished(point)

    def commit(self, point: int, stages: Collection[str]) -> None:
        """Note that stages of a running point are committed."""
        keys = {key for stage, key in self._points[point].items() if stage in stages}
        self._finished |= keys
        self._claims[point] -= keys

    def end(self, point: int, failed: str | None = None) -> None:
        """Note that a point has ended, and at which stage it failed."""
        del self._claims[point]
        if failed is not None:
            self._failed[self._points[point][failed]] = point

    def put_back(self, point: int) -> None:
        """Let a running point wait again, as the first."""
        del self._claims[point]
        self.waiting.insert(0, point)

    def drop(self, point: int) -> None:
        """Remove a waiting point."""
        self.waiting.remove(point)

    def failed_before(self, point: int) -> tuple[str, int] | None:
        """Return a stage of a waiting point that has failed, and the point in which it did; None if none has."""
        failed = ((stage, self._failed[key]) for stage, key in self._points[point].items() if key in self._failed)
        return next(failed, None)

    def _unfinished(self, point: int) -> set[str]:
        return set(self._points[point].values()) - self._finished


def shared_stages(one: Keys, other: Keys) -> int:
    """Return how many stages two points have in common, from the first on."""
    pairs = zip(one.values(), other.values(), strict=False)
    return next((place for place, (a, b) in enumerate(pairs) if a != b), min(len(one), len(other)))
