"""The results of a sweep's points, and their file `.overwinter/sweeps/NAME/points.json`."""

from __future__ import annotations

import json
import re
import stat
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

from overwinter.config import Project
from overwinter.energy.record import ENERGY_FILE, find_energy
from overwinter.errors import ConfigError, IntegrityError
from overwinter.metrics import EvaluationMetrics, read_metrics
from overwinter.plain_files import open_plain
from overwinter.records import parse_record, write_record
from overwinter.sweep.points import Point

DONE = "done"
REFUSED = "refused"
FAILED = "failed"
SKIPPED = "skipped"
INTERRUPTED = "interrupted"
POINTS_FILE = "points.json"
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,99}")
_RESERVED = ("trees", "lock")
_SHOWN = 40  # characters of a name in a message
_MAX_BYTES = 256 << 20  # of points.json; a thousand points take about one


@dataclass(frozen=True, kw_only=True)
class PointFigures:
    """What a point gave. A figure that is not known is None.

    Attributes:
        status: `done`; `refused` by a gate or a budget; `failed`; `skipped`, because the sweep's budget ended before
            it; or `interrupted`.
        message: Why it is not done; empty if it is.
        run_id: The id of its latest run in the ledger; empty if it has not run.
        experiment: The name of its DVC experiment; None if none was saved.
        headline: The name of the task's headline measure.
        quality: The headline measure of the candidate that evaluate chose.
        energy_per_response_j: The joules per response of that candidate.
        production_j: What its stages cost to produce, by their energy.json, whether they ran now or before.
        size_bytes: The size of that candidate.
        ran: The stages that were executed now; the others were restored.
        stages_j: What each stage cost to produce.
    """

    status: str
    message: str = ""
    run_id: str = ""
    experiment: str | None = None
    headline: str | None = None
    quality: float | None = None
    energy_per_response_j: float | None = None
    production_j: float | None = None
    size_bytes: int | None = None
    ran: tuple[str, ...] = ()
    stages_j: Mapping[str, float] = field(default_factory=dict)


@dataclass(frozen=True, kw_only=True)
class PointResult(PointFigures):
    """A point and what it gave."""

    point: Point


@dataclass(frozen=True, kw_only=True)
class PointRecord(PointFigures):
    """A point and what it gave, as points.json keeps them; the other attributes are those of `Point`."""

    name: str
    overrides: tuple[str, ...]
    keys: Mapping[str, str]

    @classmethod
    def of(cls, result: PointResult) -> PointRecord:
        """Return the record of a result."""
        point = result.point
        figures = {name: getattr(result, name) for name in _FIGURES}
        return cls(name=point.name, overrides=point.overrides, keys=dict(point.keys), **figures)

    def result(self, point: Point, ran: Sequence[str] = ()) -> PointResult:
        """Return the recorded result of a point.

        Args:
            point: The point.
            ran: The stages that were executed now.
        """
        figures = {name: getattr(self, name) for name in _FIGURES}
        return PointResult(point=point, **figures | {"ran": tuple(ran)})


_FIGURES = tuple(PointFigures.__dataclass_fields__)


@dataclass(frozen=True, kw_only=True)
class SweepRecord:
    """The content of points.json.

    Attributes:
        name: The sweep's name.
        until: The last stage of its points.
        commit: The commit that its experiments start from.
        overrides: The overrides of the sweep, sorted, without Hydra's own; empty if they are not known.
        points: The points, in the order in which the sweeper gave them.
    """

    name: str
    until: str
    commit: str
    overrides: tuple[str, ...] = ()
    points: tuple[PointRecord, ...] = ()

    def with_points(self, results: Iterable[PointRecord], order: Sequence[str] = ()) -> SweepRecord:
        """Return the record with these points, each in place of an earlier one of its name.

        Args:
            results: The points.
            order: The names of points of the present batch, which stand in this order after all others.
        """
        points = {record.name: record for record in self.points} | {record.name: record for record in results}
        others = [name for name in points if name not in order]
        placed = [points[name] for name in [*others, *order] if name in points]
        return replace(self, points=tuple(placed))

    def without_replaced(self, points: Iterable[Point]) -> SweepRecord:
        """Return the record without points that had the overrides of these, but another configuration."""
        present = {point.overrides: point.name for point in points}
        kept = [each for each in self.points if present.get(each.overrides, each.name) == each.name]
        return replace(self, points=tuple(kept))

    def check_same(self, overrides: Sequence[str]) -> None:
        """Check that a sweep of this name is this one: points of two sweeps would have one table and one front.

        Args:
            overrides: The overrides of the other sweep, without Hydra's own.

        Raises:
            ConfigError: it has other overrides.
        """
        if self.overrides and overrides and tuple(sorted(overrides)) != self.overrides:
            raise ConfigError(
                f"the sweep {self.name} is of {' '.join(self.overrides)}; give this one a name of its own "
                "(--name NAME), and what both have in common is not run again."
            )


def sweep_folder(project: Project, name: str) -> Path:
    """Return the folder of a sweep.

    Raises:
        ConfigError: the name cannot be that of a folder.
        IntegrityError: the folder is a link.
    """
    if not _NAME.fullmatch(name) or name in _RESERVED:
        raise ConfigError(
            f"{_shortened(name)!r} cannot be a sweep's name. Use up to 100 letters, digits, '.', '_' and '-', not "
            f"{' or '.join(_RESERVED)}."
        )
    if project.state.exists() and not project.state.is_dir():
        raise ConfigError(f"{project.state} is a file, but Overwinter keeps its state in that folder. Move it away.")
    folder = project.state / "sweeps" / name
    refuse_links(folder)
    return folder


def refuse_links(*paths: Path) -> None:
    """Check that paths that a sweep writes to are no links, which would lead its files out of the project.

    Raises:
        IntegrityError: one is a link.
    """
    for path in paths:
        if path.is_symlink():
            raise IntegrityError(f"{path} is a link, and a sweep writes no files through links. Remove it.")


def _shortened(name: str) -> str:
    return name if len(name) <= _SHOWN else f"{name[:_SHOWN]}..."


def read_sweep(project: Project, name: str) -> SweepRecord | None:
    """Return the record of a sweep; None if it has none, or a damaged one, which is written anew.

    Raises:
        IntegrityError: points.json is a link, a folder or a pipe.
    """
    check_plain(sweep_folder(project, name) / POINTS_FILE)
    try:
        return load_sweep(project, name)
    except IntegrityError:
        return None


def load_sweep(project: Project, name: str) -> SweepRecord | None:
    """Return the record of a sweep, under the name of its folder; None if it has none.

    Raises:
        IntegrityError: points.json is damaged, or not a regular file.
    """
    path = sweep_folder(project, name) / POINTS_FILE
    remedy = "Run the sweep again: what is done is not run again."
    check_plain(path)
    try:
        parsed = json.loads(_bounded(path))
    except FileNotFoundError:
        return None
    except RecursionError:
        raise IntegrityError(f"{path} cannot be read: its JSON is nested too deep. {remedy}") from None
    except (OSError, ValueError) as error:
        raise IntegrityError(f"{path} cannot be read: {error}. {remedy}") from None
    return replace(parse_record(SweepRecord, parsed, where=str(path), remedy=remedy), name=name)


def _bounded(path: Path) -> bytes:
    with open_plain(path) as stream:
        content = stream.read(_MAX_BYTES + 1)
    if len(content) > _MAX_BYTES:
        raise ValueError(f"it is larger than {_MAX_BYTES >> 20} MiB")
    return content


def check_plain(path: Path) -> None:
    """Check that a file of a sweep is a regular file, or missing.

    Raises:
        IntegrityError: it is a link, a folder or a pipe.
    """
    try:
        mode = path.lstat().st_mode
    except OSError:
        return  # who opens it reports that
    if not stat.S_ISREG(mode):
        kind = "a link" if stat.S_ISLNK(mode) else "a folder" if stat.S_ISDIR(mode) else "not a regular file"
        raise IntegrityError(f"{path} is {kind}. Remove it, or give the sweep another name (--name NAME).")


def write_sweep(project: Project, record: SweepRecord) -> None:
    """Write the record of a sweep.

    Raises:
        OverwinterError: the disk is full, or read-only.
    """
    write_record(sweep_folder(project, record.name) / POINTS_FILE, record)


def read_figures(outputs: Path, stages: Sequence[str]) -> dict[str, object]:
    """Return the figures of a finished point from its outputs, as attributes of `PointResult`.

    Args:
        outputs: The folder of the outputs.
        stages: The stages of the point, in order.
    """
    energies = {stage: find_energy(outputs / stage / ENERGY_FILE) for stage in stages}
    stages_j = {stage: energy.energy_j for stage, energy in energies.items() if energy is not None}
    return {
        "stages_j": stages_j,
        "production_j": sum(stages_j.values()) if len(stages_j) == len(stages) else None,
        **_quality(outputs, stages),
    }


def _quality(outputs: Path, stages: Sequence[str]) -> dict[str, object]:
    """Return the figures of the chosen candidate; without evaluate, those of the last model."""
    metrics = []
    for stage in reversed(stages):
        try:
            metrics.append(read_metrics(outputs / stage / "metrics.json", remedy=""))
        except IntegrityError:
            continue
    for each in metrics:
        if isinstance(each, EvaluationMetrics):
            chosen = each.chosen
            return {
                "headline": chosen.headline,
                "quality": chosen.quality,
                "energy_per_response_j": chosen.energy_per_response_j,
                "size_bytes": chosen.size_bytes,
            }
    model = next(
        (each for each in metrics if not isinstance(each, EvaluationMetrics) and each.quality is not None), None
    )
    return (
        {} if model is None else {"headline": model.headline, "quality": model.quality, "size_bytes": model.size_bytes}
    )
