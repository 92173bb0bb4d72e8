"""A batch of jobs from one of Hydra's sweepers, run as points of a named sweep."""

from __future__ import annotations

import contextlib
import hashlib
from collections.abc import Sequence
from dataclasses import replace
from typing import Any, Protocol

from overwinter.config import Project, find_project
from overwinter.config.composition import hydra_set_aside
from overwinter.config.groups.search import SearchSettings
from overwinter.config.groups.sweep import SweepSettings
from overwinter.config.settings import check_settings
from overwinter.data.local_files import check_data
from overwinter.errors import ConfigError, nearest
from overwinter.sweep.front import FRONT_FILE, find_front, write_front
from overwinter.sweep.goal import make_goal
from overwinter.sweep.points import Point, make_points
from overwinter.sweep.recording import OnEvent
from overwinter.sweep.results import INTERRUPTED, PointResult, read_sweep, sweep_folder
from overwinter.sweep.running import run_points

_NAME_DIGITS = 8
_NAMELESS = ("hydra.launcher.", "hydra.sweeper.trials=")
_SWEEP_GROUP = "sweep="
_HYDRA = ("hydra.", "hydra/")


class RunPoints(Protocol):
    """Runs points and returns their results in the same order; see `run_points`."""

    def __call__(
        self,
        project: Project,
        points: Sequence[Point],
        *,
        settings: SweepSettings,
        on_event: OnEvent,
        overrides: Sequence[str] = (),
    ) -> list[PointResult]:
        """Run the points."""


def run_batch(
    jobs: Sequence[Sequence[str]],
    sweep_overrides: Sequence[str],
    settings: SweepSettings,
    *,
    on_event: OnEvent,
    run: RunPoints | None = None,
) -> list[PointResult]:
    """Run the jobs of a batch in the project of the current folder, and return their results in the same order.

    Args:
        jobs: The overrides of each job.
        sweep_overrides: The overrides of the whole sweep, from which it is named if `settings.name` is None.
        settings: The sweep's settings.
        on_event: A function that gets every event, as in `run_points`.
        run: Runs the points somewhere else; None for `run_points`.

    Raises:
        ConfigError: a job or a setting is invalid.
        KeyboardInterrupt: the sweep was interrupted.
    """
    project = find_project()
    check_settings(settings, key="hydra.launcher")
    settings = replace(settings, name=settings.name or sweep_name(project, sweep_overrides))
    batch = [without_hydra(job) for job in jobs]
    with hydra_set_aside():
        points = make_points(project, batch, until=settings.until)
    check_until(points, settings.until)
    with contextlib.chdir(project.root):
        for point in {repr((each.config.data, each.config.model)): each for each in points}.values():
            check_data(point.config)
    words = without_hydra(sweep_overrides)
    results = (run or run_points)(project, points, settings=settings, on_event=on_event, overrides=words)
    _keep_goal(project, str(settings.name), points[0])
    if any(result.status == INTERRUPTED for result in results):
        raise KeyboardInterrupt
    return results


def _keep_goal(project: Project, name: str, point: Point) -> None:
    """Write the front with the goal of a point, unless a search keeps it: configs/ may have changed by now."""
    folder = sweep_folder(project, name)
    record = read_sweep(project, name)
    if record is None or (folder / FRONT_FILE).exists():
        return
    with contextlib.suppress(ConfigError):  # whoever asks for the front gets the message
        write_front(folder, find_front(record.points, make_goal(SearchSettings(), point.config)))


def check_until(points: Sequence[Point], until: str) -> None:
    """Raise ConfigError if a pipeline lacks the last stage that was asked for; the default one may be missing."""
    for point in points:
        stages = list(point.config.pipeline.stages)
        if until not in stages and until != SweepSettings.until:
            raise ConfigError(
                f"hydra.launcher.until={until!r}: there is no such stage. Stages: {', '.join(stages)}."
                f"{nearest(until, stages)}"
            )


def without_hydra(overrides: Sequence[str]) -> list[str]:
    """Return the overrides that a point's params.yaml depends on: not Hydra's own, and not the choice of a sweep."""
    return [each for each in overrides if not each.lstrip("+~").startswith((*_HYDRA, _SWEEP_GROUP))]


def fixed_overrides(hydra: Any) -> set[str]:
    """Return the overrides that no point varies, by Hydra's node `hydra`; those of several values match no point's."""
    params = hydra.sweeper.get("params") or {}
    return {*hydra.overrides.task, *(f"{key}={value}" for key, value in params.items())}


def sweep_name(project: Project, overrides: Sequence[str]) -> str:
    """Return the name of a sweep that was not given one: equal overrides, in any order, have equal names.

    The content of configs/sweep/NAME.yaml counts. The settings of the launcher do not, nor does the number of a
    search's trials: with more of them, it goes on.
    """
    hashed = hashlib.sha256()
    for override in sorted(each for each in overrides if not each.startswith(_NAMELESS)):
        hashed.update(f"{override}\0".encode())
        group, _, choice = override.lstrip("+").partition("=")
        path = project.configs / "sweep" / f"{choice}.yaml"
        if group == "sweep" and path.is_file():
            hashed.update(path.read_bytes())
    return hashed.hexdigest()[:_NAME_DIGITS]
