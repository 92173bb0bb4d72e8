"""The Pareto front of a sweep's points, its knee, and the points to pick from it.

A point is on the front if no other point is at least as good in every objective and better in one. Points that a gate
or a budget refused, that failed, or that break a limit of the search are not considered.

The knee is the point of the front that lies furthest below the straight line (with more objectives, the plane) through
its ends, each objective scaled from its best value on the front, 0, to its worst, 1: I. Das, "On characterizing the
'knee' of the Pareto curve based on Normal-Boundary Intersection", Structural Optimization 18 (1999). So it is the point
with the least sum of scaled objectives; there is none if no point lies below that line.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from overwinter.records import read_record, write_record
from overwinter.sweep.goal import QUALITY, Goal
from overwinter.sweep.results import DONE

if TYPE_CHECKING:
    import numpy as np

    from overwinter.sweep.results import PointRecord

FRONT_FILE = "front.json"
STUDY_FILE = "study.db"
ENERGY = "energy_per_response_j"
_SCHEMA = 1
_LEVEL = 1e-9  # scaled distance from the line below which a point counts as on it


@dataclass(frozen=True, kw_only=True)
class FrontPoint:
    """A point and what it gave; a figure that is not known is None.

    Attributes:
        name: The point's name.
        overrides: Its overrides.
        experiment: The name of its DVC experiment.
        quality: The headline measure of the candidate that evaluate chose.
        energy_per_response_j: The joules per response of that candidate.
        production_j: The joules that its stages cost to produce.
        size_bytes: The size of that candidate.
    """

    name: str
    overrides: tuple[str, ...]
    experiment: str | None = None
    quality: float | None = None
    energy_per_response_j: float | None = None
    production_j: float | None = None
    size_bytes: int | None = None

    @classmethod
    def of(cls, record: PointRecord) -> FrontPoint:
        """Return a point from its record in points.json."""
        return cls(
            name=record.name,
            overrides=record.overrides,
            experiment=record.experiment,
            quality=record.quality,
            energy_per_response_j=record.energy_per_response_j,
            production_j=record.production_j,
            size_bytes=record.size_bytes,
        )

    @property
    def figures(self) -> dict[str, float | None]:
        """The figures by name, as a goal reads them."""
        return {
            QUALITY: self.quality,
            ENERGY: self.energy_per_response_j,
            "production_j": self.production_j,
            "size_bytes": self.size_bytes,
        }


@dataclass(frozen=True, kw_only=True)
class Front:
    """The Pareto front of a sweep, as front.json keeps it.

    Attributes:
        schema: The version of this record.
        headline: The name of the task's headline measure, which is `quality`.
        higher_is_better: Whether a higher quality is better.
        objectives: What is traded off.
        directions: `maximize` or `minimize`, of each objective.
        limits: The limits that every point meets, in words.
        considered: The number of points that were done and met the limits.
        points: The points of the front, the best in the first objective first.
        knee: The name of the knee; None if the front has none.
        least_energy: The name of the point with the fewest joules per response within the limits; None if unknown.
    """

    schema: int = _SCHEMA
    headline: str
    higher_is_better: bool
    objectives: tuple[str, ...]
    directions: tuple[str, ...]
    limits: tuple[str, ...]
    considered: int
    points: tuple[FrontPoint, ...]
    knee: str | None = None
    least_energy: str | None = None


def find_front(records: Sequence[PointRecord], goal: Goal) -> Front:
    """Return the front of a sweep.

    Args:
        records: The sweep's points; those that are not done, break a limit or lack an objective are left out.
        goal: What is traded off.
    """
    points = done_points(records)
    known = [point for point in points if goal.values(point.figures) is not None and goal.meets(point.figures)]
    losses = losses_of(known, goal)
    order = sorted(undominated(losses), key=lambda place: (*losses[place], known[place].name))
    front = [known[place] for place in order]
    return Front(
        headline=goal.headline,
        higher_is_better=goal.higher_is_better,
        objectives=goal.objectives,
        directions=tuple(goal.directions),
        limits=tuple(limit.text for limit in goal.limits),
        considered=len(known),
        points=tuple(front),
        knee=_knee(front, losses[order]),
        least_energy=None if (least := least_energy(known, goal)) is None else least.name,
    )


def losses_of(points: Sequence[FrontPoint], goal: Goal) -> np.ndarray:
    """Return the objectives of points, of which less is better: (points, objectives)."""
    import numpy as np

    signs = [-1.0 if goal.maximizes(each) else 1.0 for each in goal.objectives]
    values = [goal.values(point.figures) or [] for point in points]
    return np.array(values, dtype=float).reshape(len(points), len(signs)) * signs


def undominated(losses: np.ndarray) -> list[int]:
    """Return the rows that no other row dominates; of equal rows, all."""
    return [
        place
        for place, own in enumerate(losses)
        if not ((losses <= own).all(axis=1) & (losses < own).any(axis=1)).any()
    ]


def _knee(front: Sequence[FrontPoint], losses: np.ndarray) -> str | None:
    """Return the name of the knee: the least sum of scaled objectives, if it is below that of the ends."""
    if not front:
        return None
    if len(front) == 1:
        return front[0].name
    best, spread = losses.min(axis=0), losses.max(axis=0) - losses.min(axis=0)
    varies = spread > 0  # an objective in which all are equal says nothing
    if not varies.any():
        return front[0].name
    scaled = ((losses - best)[:, varies] / spread[varies]).sum(axis=1)
    place = int(scaled.argmin())
    return front[place].name if scaled[place] < varies.sum() - 1 - _LEVEL else None


def least_energy(points: Sequence[FrontPoint], goal: Goal) -> FrontPoint | None:
    """Return the point with the fewest joules per response, of equals the best; None if all are unknown."""
    known = [point for point in points if point.energy_per_response_j is not None]
    return min(known, key=lambda point: (_energy(point), _loss(point, goal), point.name), default=None)


def best_quality(points: Sequence[FrontPoint], goal: Goal) -> FrontPoint | None:
    """Return the point with the best quality, of equals the one with the fewest joules; None if all are unknown."""
    known = [point for point in points if point.quality is not None]
    return min(known, key=lambda point: (_loss(point, goal), _energy(point), point.name), default=None)


def least_energy_mark(front: Front) -> str:
    """Return what marks the point with the fewest joules: `least energy with accuracy >= 0.97`."""
    return " with ".join(["least energy", *([" and ".join(front.limits)] if front.limits else [])])


def _energy(point: FrontPoint) -> float:
    return math.inf if point.energy_per_response_j is None else point.energy_per_response_j


def _loss(point: FrontPoint, goal: Goal) -> float:
    if point.quality is None:
        return math.inf
    return -point.quality if goal.higher_is_better else point.quality


def done_points(records: Sequence[PointRecord]) -> list[FrontPoint]:
    """Return the points that are done."""
    return [FrontPoint.of(record) for record in records if record.status == DONE]


def read_front(folder: Path) -> Front:
    """Read a sweep's front.json.

    Raises:
        IntegrityError: it is missing or damaged.
    """
    return read_record(Front, folder / FRONT_FILE, remedy="Run the sweep again: what is done is not run again.")


def forget_front(folder: Path) -> None:
    """Remove a sweep's front.json, so that the goal of an earlier start is not taken for this one's.

    A search keeps its goal there, and writes it anew when it starts.
    """
    if not (folder / STUDY_FILE).exists():
        (folder / FRONT_FILE).unlink(missing_ok=True)


def write_front(folder: Path, front: Front) -> Path:
    """Write a sweep's front.json; return its path."""
    path = folder / FRONT_FILE
    write_record(path, front)
    return path
