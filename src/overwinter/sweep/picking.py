"""Picking a point of a sweep that has run: the knee of its front, the cheapest within a limit, the best, or by name."""

from __future__ import annotations

from dataclasses import replace

from overwinter.config import Project, compose, validate
from overwinter.config.groups.search import SearchSettings
from overwinter.errors import ConfigError, IntegrityError, nearest
from overwinter.sweep.front import (
    FRONT_FILE,
    Front,
    FrontPoint,
    best_quality,
    done_points,
    find_front,
    least_energy,
    read_front,
)
from overwinter.sweep.goal import Goal, make_goal, read_limit
from overwinter.sweep.points import make_points
from overwinter.sweep.results import SweepRecord, load_sweep, sweep_folder

KNEE, LEAST_ENERGY, BEST_QUALITY = "knee", "least-energy", "best-quality"
PICKS = f"{KNEE}, {LEAST_ENERGY}, {LEAST_ENERGY}:accuracy>=0.97, {BEST_QUALITY}, or a point's name"


def pick_point(project: Project, name: str, wanted: str) -> FrontPoint:
    """Return a point of a sweep.

    Args:
        project: The project.
        name: The sweep's name.
        wanted: `knee`, `least-energy`, `least-energy:MEASURE>=VALUE`, `best-quality`, or the beginning of a point's
            name.

    Raises:
        ConfigError: there is no such sweep, none of its points is done, or none is as wanted; the message names the
            best there is.
        IntegrityError: the sweep's points.json is damaged.
    """
    record = find_sweep(project, name)
    points = done_points(record.points)
    if not points:
        raise ConfigError(f"no point of the sweep {name} is done yet. {_why(record)}Run it again: it goes on.")
    front = front_of(project, record)
    how, _, limit = wanted.partition(":")
    if how == KNEE and not limit:
        return _knee(front, name)
    if how in (LEAST_ENERGY, BEST_QUALITY) and (not limit or how == LEAST_ENERGY):
        return _within(points, goal_of(front), how, limit, name)
    return _named(record, points, wanted)


def has_changed(project: Project, point: FrontPoint) -> bool:
    """Return whether the configuration of a point is another one now than when it ran."""
    return make_points(project, [point.overrides], until="")[0].name != point.name


def find_sweep(project: Project, name: str) -> SweepRecord:
    """Return the record of a sweep.

    Raises:
        ConfigError: there is no such sweep.
        IntegrityError: its points.json is damaged.
    """
    record = load_sweep(project, name)
    if record is None:
        folder = project.state / "sweeps"
        known = sorted(path.parent.name for path in folder.glob("*/points.json"))
        listed = f" Sweeps here: {', '.join(known)}." if known else " Nothing was swept here yet."
        raise ConfigError(f"there is no sweep {name!r}.{listed}{nearest(name, known)}")
    return record


def front_of(project: Project, record: SweepRecord) -> Front:
    """Return the front of a sweep's points as they are now, with the goal that the sweep had.

    A sweep without a search has the default goal: quality against joules per response, within budget.quality.

    Raises:
        ConfigError: the configuration of its points is invalid by now.
    """
    try:
        goal = goal_of(read_front(sweep_folder(project, record.name)))
    except IntegrityError:
        overrides = record.points[0].overrides if record.points else ()
        goal = make_goal(SearchSettings(), validate(compose(project, overrides)))
    return find_front(record.points, goal)


def goal_of(front: Front) -> Goal:
    """Return the goal of a front."""
    goal = Goal(objectives=front.objectives, headline=front.headline, higher_is_better=front.higher_is_better)
    return replace(
        goal, limits=tuple(read_limit(text, headline=front.headline, key=FRONT_FILE) for text in front.limits)
    )


def _knee(front: Front, name: str) -> FrontPoint:
    found = next((point for point in front.points if point.name == front.knee), None)
    if found is None:
        many = f"its {len(front.points)} points lie on a line" if front.points else "it has no point"
        raise ConfigError(f"the front of the sweep {name} has no knee: {many}. Pick {LEAST_ENERGY} or {BEST_QUALITY}.")
    return found


def _within(points: list[FrontPoint], goal: Goal, how: str, limit: str, name: str) -> FrontPoint:
    """Return the cheapest or the best point within the sweep's limits and one more."""
    limits = goal.limits
    if limit:
        limits = (*limits, read_limit(limit, headline=goal.headline, key="--pick"))
    chosen = {LEAST_ENERGY: least_energy, BEST_QUALITY: best_quality}[how]
    goal = replace(goal, limits=limits)
    found = chosen([point for point in points if goal.meets(point.figures)], goal)
    if found is None:
        raise ConfigError(f"no point of the sweep {name} has {_broken(points, goal)}")
    return found


def _broken(points: list[FrontPoint], goal: Goal) -> str:
    """Return the limits, and the point that breaks them least."""
    wanted = " and ".join(limit.text for limit in goal.limits) or "a figure to compare"
    nearest_point = min(points, key=lambda point: max((0.0, *goal.violations(point.figures).values())))
    figures = {
        f"{limit.text.split(' ')[0]} {_shown(nearest_point.figures[limit.figure])}": None for limit in goal.limits
    }
    closest = f" The closest is {nearest_point.name}: {', '.join(figures)}." if figures else ""
    return f"{wanted}.{closest} Ask for less, or name a point."


def _shown(value: float | None) -> str:
    return "unknown" if value is None else f"{value:.6g}"


def _named(record: SweepRecord, points: list[FrontPoint], wanted: str) -> FrontPoint:
    found = [point for point in points if wanted and point.name.startswith(wanted)]
    if len(found) == 1:
        return found[0]
    if found:
        raise ConfigError(f"--pick {wanted}: several points begin so: {', '.join(point.name for point in found)}.")
    other = next((each for each in record.points if wanted and each.name.startswith(wanted)), None)
    if other is not None:
        raise ConfigError(
            f"--pick {wanted}: point {other.name} is {other.status}: {other.message or 'it did not end'}."
        )
    known = [KNEE, LEAST_ENERGY, BEST_QUALITY, *(point.name for point in points)]
    raise ConfigError(
        f"--pick {wanted!r}: the sweep {record.name} has no such point. Write {PICKS}.{nearest(wanted, known)}"
    )


def _why(record: SweepRecord) -> str:
    """Return why a point did not end, if one did not."""
    ended = next((each for each in record.points if each.message), None)
    return "" if ended is None else f"Point {ended.name} was {ended.status}: {ended.message.rstrip('.')}. "
