"""The summary table of a sweep, and what sharing stages has saved."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from overwinter.units import format_bytes, format_si

if TYPE_CHECKING:
    from rich.table import Table

    from overwinter.sweep.results import PointRecord

LEAST_IMPORTANT = ("ran", "size", "point")  # columns left out on a narrow terminal, in this order


@dataclass(frozen=True, kw_only=True)
class Sharing:
    """What the points of a sweep have in common.

    Attributes:
        points: The finished points.
        stages: Their stages, each counted for every point.
        distinct: Stages that differ.
        apart_j: What the points cost to produce one by one, without sharing.
        together_j: What their distinct stages cost to produce.
    """

    points: int
    stages: int
    distinct: int
    apart_j: float
    together_j: float

    def describe(self) -> str:
        """Return a sentence."""
        if not self.points:
            return "No point is finished."
        if self.points == 1:
            return "1 point is finished."
        if self.distinct == self.stages:
            return f"{self.points} finished; no two of them have a stage in common."
        return (
            f"{self.points} points have {self.stages} stages, of which {self.distinct} are distinct and ran once; that "
            f"saved {format_si(self.apart_j - self.together_j, 'J')} of {format_si(self.apart_j, 'J')}."
        )


def sharing(records: Sequence[PointRecord]) -> Sharing:
    """Return what finished points have in common."""
    done = [record for record in records if record.status == "done"]
    cost_j: dict[str, float] = {}
    for record in done:
        cost_j |= {key: record.stages_j.get(stage, 0.0) for stage, key in record.keys.items()}
    return Sharing(
        points=len(done),
        stages=sum(len(record.keys) for record in done),
        distinct=len(cost_j),
        apart_j=sum(sum(record.stages_j.values()) for record in done),
        together_j=sum(cost_j.values()),
    )


def render_sweep(records: Sequence[PointRecord], without: Collection[str] = ()) -> Table:
    """Return the points as a table; ``without`` names columns to leave out."""
    from rich.box import SIMPLE_HEAD
    from rich.table import Table

    table = Table(box=SIMPLE_HEAD)
    varied = varied_overrides(records)
    headline = next((record.headline for record in records if record.headline), "quality")
    rows = [_row(record, varied[record.name], headline) for record in records]
    titles = [title for title in (rows[0] if rows else {}) if title not in without]
    for title in titles:
        left = title in ("point", "settings", "status", "ran")
        table.add_column(title, justify="left" if left else "right", overflow="fold")
    for row in rows:
        table.add_row(*(row[title] for title in titles))
    return table


def varied_overrides(records: Sequence[PointRecord]) -> dict[str, str]:
    """Return, for each point by name, the overrides that not all points have."""
    common = set.intersection(*(set(record.overrides) for record in records)) if len(records) > 1 else set()
    return {record.name: " ".join(each for each in record.overrides if each not in common) for record in records}


def _row(record: PointRecord, settings: str, headline: str) -> Mapping[str, str]:
    return {
        "point": record.name,
        "settings": settings,
        "status": record.status,
        headline: "" if record.quality is None else f"{record.quality:.4g}",
        "per response": _joules(record.energy_per_response_j),
        "to produce": _joules(record.production_j),
        "size": "" if record.size_bytes is None else format_bytes(record.size_bytes),
        "ran": ", ".join(record.ran),
    }


def _joules(energy_j: float | None) -> str:
    return "" if energy_j is None else format_si(energy_j, "J")
