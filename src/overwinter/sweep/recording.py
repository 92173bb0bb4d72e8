"""Keeping the results of a sweep's points as they end: in points.json, and as events for the display."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from overwinter.config import Project
from overwinter.config.groups.sweep import SweepSettings
from overwinter.sweep.points import Point
from overwinter.sweep.repository import Repository
from overwinter.sweep.results import DONE, PointRecord, PointResult, SweepRecord, read_sweep, write_sweep

OnEvent = Callable[[dict[str, Any]], None]


class Recorder:
    """The results of one run of a sweep.

    Args:
        project: The project.
        repository: Its repository.
        points: The points, all different.
        settings: The sweep's settings.
        spent: Returns the joules of each of the sweep's runs, by the run's id.
        on_event: A function that gets every event.
        overrides: The overrides of the whole sweep, without Hydra's own.

    Raises:
        ConfigError: the name is that of a sweep with other overrides.
    """

    def __init__(
        self,
        project: Project,
        repository: Repository,
        points: Sequence[Point],
        settings: SweepSettings,
        *,
        spent: Callable[[], Mapping[str, float]],
        on_event: OnEvent,
        overrides: Sequence[str],
    ) -> None:
        self._project, self._repository, self._points = project, repository, points
        self._spent, self._on_event = spent, on_event
        self._results: dict[str, PointResult] = {}
        name = settings.name or "sweep"
        if (earlier := read_sweep(project, name)) is not None:
            earlier.check_same(overrides)
        self._record = SweepRecord(
            name=name,
            until=settings.until,
            commit=repository.head,
            overrides=tuple(sorted(overrides)),
            points=() if earlier is None else earlier.without_replaced(points).points,
        )

    def by_name(self) -> dict[str, PointResult]:
        """Return the results by the points' names."""
        return dict(self._results)

    def take_earlier(self) -> list[int]:
        """Take the results of points that an earlier run finished, and that are still experiments; return where."""
        records = {record.name: record for record in self._record.points}
        taken = []
        for number, point in enumerate(self._points):
            record = records.get(point.name)
            if record is None or record.status != DONE or dict(record.keys) != dict(point.keys):
                continue
            if record.experiment and self._repository.experiment(record.experiment):
                self.note(record.result(point))
                taken.append(number)
        return taken

    def finish(self, result: PointResult) -> None:
        """Take the result of a point that has ended, and write it down."""
        self.note(result)
        self.write()

    def note(self, result: PointResult) -> None:
        """Take the result of a point, without writing it down yet."""
        self._results[result.point.name] = result
        order = [point.name for point in self._points]
        self._record = self._record.with_points([PointRecord.of(result)], order)
        spent_j = sum(self._spent().values()) if result.run_id else 0.0
        self.tell("point", result.point, status=result.status, message=result.message, result=result, spent_j=spent_j)

    def write(self) -> None:
        """Write points.json.

        Raises:
            OverwinterError: the disk is full, or read-only.
        """
        write_sweep(self._project, self._record)

    def tell(self, kind: str, point: Point, **details: Any) -> None:
        """Tell of an event of a point."""
        counts = {"finished": len(self._results), "total": len(self._points)}
        self._on_event({"event": kind, "point": point.name, "stage": "", "time_s": time.time(), **counts, **details})

    def say(self, text: str, point: Point | None = None) -> None:
        """Say something about a point, or about the whole sweep."""
        name = self._record.name if point is None else point.name
        self._on_event({"event": "say", "point": name, "stage": "", "text": text, "time_s": time.time()})

    def pass_on(self, event: Mapping[str, Any], point: Point) -> None:
        """Pass on an event of a point's stage."""
        self._on_event({**event, "point": point.name})


def experiment_name(point: str) -> str:
    """Return the name of a point's DVC experiment; a point that two sweeps have in common is one experiment."""
    return f"point-{point}"


def experiment_text(sweep: str, overrides: Sequence[str]) -> str:
    """Return the message of the commit of a point's experiment."""
    return f"overwinter sweep {sweep}: {' '.join(overrides) or 'the configuration as it is'}"
