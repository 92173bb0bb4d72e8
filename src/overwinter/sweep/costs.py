"""The forecast costs of a sweep's points, and the order in which a budget buys most of them."""

from __future__ import annotations

import heapq
import statistics
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace

from overwinter.budget import Forecast, Range
from overwinter.ledger import ExecutionRecord
from overwinter.ledger.records import DONE
from overwinter.pipeline.history import History
from overwinter.sweep.points import Point

Keys = Mapping[str, str]
"""Stage -> prefix key, in the pipeline's order."""


@dataclass(frozen=True, kw_only=True)
class Cost:
    """The sum of forecasts.

    Attributes:
        energy_j: The joules of the stages that have a forecast.
        duration_s: Their seconds, one after the other.
        unknown: The number of stages without a forecast.
    """

    energy_j: Range
    duration_s: Range
    unknown: int

    def __sub__(self, other: Cost) -> Cost:
        """Return what a plan saves whose stages are among those of this one, whatever each costs."""
        return Cost(
            energy_j=_minus(self.energy_j, other.energy_j),
            duration_s=_minus(self.duration_s, other.duration_s),
            unknown=self.unknown - other.unknown,
        )


class Costs:
    """Forecasts of the stages of points, each made once.

    Args:
        records: The ledger's executions, oldest first.
    """

    def __init__(self, records: Sequence[ExecutionRecord]) -> None:
        self._history = History(records)
        self._forecasts: dict[str, Forecast] = {}
        self._usual_j = _usual_j(records)

    def is_done(self, stage: str, key: str) -> bool:
        """Return whether a stage was finished before, so that DVC restores it."""
        return self._history.is_done(stage, prefix_key=key)

    def missing(self, point: Point, finished: Collection[str] = ()) -> list[str]:
        """Return the stages of a point that have to run.

        Args:
            point: The point.
            finished: Keys of stages that are finished or scheduled, besides those that the ledger knows.
        """
        return [stage for stage, key in point.keys.items() if key not in finished and not self.is_done(stage, key)]

    def stage(self, point: Point, stage: str) -> Forecast:
        """Return the forecast of one execution of a stage of a point, done before or not."""
        key = point.keys[stage]
        if key not in self._forecasts:
            self._forecasts[key] = self._history.forecast(point.config, stage, point.keys)
        return self._forecasts[key]

    def point(self, point: Point, finished: Collection[str] = ()) -> Cost:
        """Return the forecast of the stages of a point that have to run; ``finished`` as of `missing`."""
        return total(self.stage(point, stage) for stage in self.missing(point, finished))

    def expected_j(self, point: Point, stage: str) -> float:
        """Return the joules that a stage is expected to cost.

        Without a forecast, it is expected to cost what it cost in other configurations; if it never ran, zero.
        """
        energy_j = self.stage(point, stage).energy_j
        return self._usual_j.get(stage, 0.0) if energy_j is None else energy_j.expected

    def by_key(self, points: Iterable[Point]) -> dict[str, float]:
        """Return the joules that each stage of ``points`` is expected to cost now: zero if it was done before."""
        stages = {key: (point, stage) for point in points for stage, key in point.keys.items()}
        return {
            key: 0.0 if self.is_done(stage, key) else self.expected_j(point, stage)
            for key, (point, stage) in stages.items()
        }


def total(forecasts: Iterable[Forecast]) -> Cost:
    """Return the sum of forecasts."""
    each = list(forecasts)
    return Cost(
        energy_j=add_ranges(forecast.energy_j for forecast in each),
        duration_s=add_ranges(forecast.duration_s for forecast in each),
        unknown=sum(forecast.energy_j is None for forecast in each),
    )


def add_ranges(ranges: Iterable[Range | None]) -> Range:
    """Return the sum of the known ranges, end by end: what makes one stage dear makes them all dear."""
    known = [range_ for range_ in ranges if range_ is not None]
    low, expected, high = (sum(getattr(range_, end) for range_ in known) for end in ("low", "expected", "high"))
    return Range(low=low, expected=expected, high=high)


def order_points(points: Sequence[Keys], cost_j: Mapping[str, float] | None = None) -> list[int]:
    """Return the order in which to start points.

    Without costs, points keep their order, but those that share their first stages follow each other, so that what they
    share is made once and early. With costs, as a budget needs them, the point that adds the fewest joules to those
    before it comes next: what it shares with them is paid for.

    Args:
        points: The keys of each point's stages.
        cost_j: Key -> joules that a stage is expected to cost.
    """
    return _by_shared_stages(points) if cost_j is None else _cheapest_first(points, cost_j)


def _by_shared_stages(points: Sequence[Keys]) -> list[int]:
    places: dict[str, int] = {}
    for keys in points:
        for key in keys.values():
            places.setdefault(key, len(places))
    return sorted(range(len(points)), key=lambda point: [places[key] for key in points[point].values()])


def _cheapest_first(points: Sequence[Keys], cost_j: Mapping[str, float]) -> list[int]:
    having: dict[str, list[int]] = {}
    for point, keys in enumerate(points):
        for key in set(keys.values()):
            having.setdefault(key, []).append(point)
    missing = [set(keys.values()) for keys in points]
    place = {point: position for position, point in enumerate(_by_shared_stages(points))}

    def entry(point: int) -> tuple[float, int, int]:
        return sum(sorted(cost_j.get(key, 0.0) for key in missing[point])), place[point], point

    waiting = [entry(point) for point in range(len(points))]
    heapq.heapify(waiting)
    order: dict[int, None] = {}
    while waiting:
        *_, point = heapq.heappop(waiting)
        if point in order:
            continue  # an entry from before it became cheaper
        order[point] = None
        cheaper = {other for key in missing[point] for other in having[key] if other not in order}
        paid = set(missing[point])
        for other in cheaper:
            missing[other] -= paid
            heapq.heappush(waiting, entry(other))
    return list(order)


def _minus(whole: Range, part: Range) -> Range:
    ends = {end: max(0.0, getattr(whole, end) - getattr(part, end)) for end in ("low", "expected", "high")}
    return replace(whole, **ends)


def _usual_j(records: Sequence[ExecutionRecord]) -> dict[str, float]:
    known: dict[str, list[float]] = {}
    for record in records:
        if record.status == DONE and record.energy_j is not None:
            known.setdefault(record.stage, []).append(record.energy_j)
    return {stage: statistics.median(values) for stage, values in known.items()}
