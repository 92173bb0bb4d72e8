"""The table of a sweep's Pareto front: its points, the knee, and the fewest joules within the limits."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import TYPE_CHECKING

from overwinter.sweep.front import Front, FrontPoint, least_energy_mark
from overwinter.units import format_bytes, format_si

if TYPE_CHECKING:
    from rich.table import Table

    from overwinter.tasks import Measure

LEAST_IMPORTANT = ("to produce", "size")  # columns left out on a narrow terminal, in this order
_TITLES = {
    "quality": "quality",
    "energy_per_response_j": "energy per response",
    "production_j": "to produce",
    "size_bytes": "size",
}


def render_front(
    front: Front, headline: Measure | None, without: Collection[str] = (), *, settings: Mapping[str, str]
) -> Table:
    """Return the points of the front as a table; ``without`` names columns to leave out.

    Args:
        front: The front.
        headline: The task's headline measure, to describe figures of that name; None: unknown.
        without: Columns to leave out.
        settings: The settings that vary among all points of the sweep, by the points' names.
    """
    from rich.box import SIMPLE_HEAD
    from rich.table import Table

    table = Table(box=SIMPLE_HEAD)
    titles = ["point", "settings", *_titles(front), ""]
    kept = [place for place, title in enumerate(titles) if title not in without]
    for place in kept:
        left = titles[place] in ("point", "settings", "")
        table.add_column(titles[place], justify="left" if left else "right", overflow="fold")
    for point in front.points:
        cells = [point.name, settings[point.name], *_figures(point, front, headline), _marks(point, front)]
        table.add_row(*(cells[place] for place in kept))
    return table


def describe_front(front: Front) -> str:
    """Return a line on how many points the front is of, and what it trades off."""
    sought = " against ".join(front.headline if each == "quality" else _TITLES[each] for each in front.objectives)
    limits = f" with {' and '.join(front.limits)}" if front.limits else ""
    if not front.points:
        return f"No front: no point{limits} is done, or its {sought} is unknown."
    points = f"{front.considered} point{'' if front.considered == 1 else 's'}{limits}"
    knee = "" if front.knee else " It has no knee."
    return f"The Pareto front of {points}: {sought}.{knee}"


def _titles(front: Front) -> list[str]:
    return [front.headline.replace("_", " "), *list(_TITLES.values())[1:]]


def _figures(point: FrontPoint, front: Front, headline: Measure | None) -> list[str]:
    known = headline is not None and headline.name == front.headline
    quality = "" if point.quality is None else f"{point.quality:.4g}"
    if headline is not None and known and point.quality is not None:
        quality = headline.describe(point.quality)
    return [
        quality,
        "" if point.energy_per_response_j is None else format_si(point.energy_per_response_j, "J"),
        "" if point.production_j is None else format_si(point.production_j, "J"),
        "" if point.size_bytes is None else format_bytes(point.size_bytes),
    ]


def _marks(point: FrontPoint, front: Front) -> str:
    marks = {"knee": front.knee, least_energy_mark(front): front.least_energy}
    return ", ".join(mark for mark, name in marks.items() if name == point.name)
