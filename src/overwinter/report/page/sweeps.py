"""The latest sweep of a project, for a report."""

from __future__ import annotations

from overwinter.config import Project
from overwinter.errors import OverwinterError
from overwinter.report.page.content import FrontEntry, SweepFigures
from overwinter.report.sweep_front import describe_front
from overwinter.report.sweep_summary import varied_overrides
from overwinter.sweep.front import Front, done_points, least_energy_mark
from overwinter.sweep.picking import find_sweep, front_of
from overwinter.sweep.results import POINTS_FILE


def read_sweep_figures(project: Project, name: str | None = None) -> SweepFigures | None:
    """Return a sweep's points and front; by default of the latest sweep, or None without one that has a front.

    Args:
        project: The project.
        name: The sweep's name.

    Raises:
        ConfigError: there is no sweep of that name.
    """
    if name is not None:
        return _figures(project, name)
    found = sorted(
        (project.state / "sweeps").glob(f"*/{POINTS_FILE}"), key=lambda path: path.stat().st_mtime, reverse=True
    )
    for path in found:
        try:
            return _figures(project, path.parent.name)
        except OverwinterError:
            continue  # its points are not comparable, or its file is damaged; `overwinter run -m` reports that
    return None


def _figures(project: Project, name: str) -> SweepFigures:
    record = find_sweep(project, name)
    front, varied = front_of(project, record), varied_overrides(record.points)
    return SweepFigures(
        name=name,
        description=describe_front(front),
        points=tuple(
            FrontEntry(
                name=point.name,
                settings=varied.get(point.name, ""),
                mark=_mark(point.name, front),
                quality=point.quality,
                energy_per_response_j=point.energy_per_response_j,
                production_j=point.production_j,
                size_bytes=point.size_bytes,
            )
            for point in done_points(record.points)
        ),
    )


def _mark(name: str, front: Front) -> str:
    marks = {"knee": front.knee, least_energy_mark(front): front.least_energy}
    found = ", ".join(mark for mark, marked in marks.items() if marked == name)
    return found or ("front" if name in {point.name for point in front.points} else "")
