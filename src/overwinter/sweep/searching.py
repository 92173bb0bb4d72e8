"""A search in the project of the current folder, from the arguments that Hydra gives its sweeper."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from overwinter.config import Project, find_project
from overwinter.config.composition import hydra_set_aside
from overwinter.config.groups.search import SearchSettings
from overwinter.config.settings import check_settings
from overwinter.errors import ConfigError
from overwinter.files import digest
from overwinter.sweep.batches import sweep_name, without_hydra
from overwinter.sweep.front import find_front, write_front
from overwinter.sweep.goal import Goal, make_goal
from overwinter.sweep.points import Point, make_points
from overwinter.sweep.results import DONE, REFUSED, PointRecord, read_sweep, sweep_folder
from overwinter.sweep.search import Plan, run_search
from overwinter.sweep.space import Job, read_space

if TYPE_CHECKING:
    from hydra.core.config_loader import ConfigLoader

_LAUNCHERS = (".OverwinterLauncher", ".SlurmLauncher")


def search_project(
    arguments: Sequence[str],
    settings: SearchSettings,
    hydra: Any,
    *,
    loader: ConfigLoader | None,
    launch: Callable[[Sequence[Job], int, int], Sequence[Mapping[str, Any]]],
) -> None:
    """Search in the project of the current folder, and keep the front so far after each batch.

    Args:
        arguments: The overrides of the sweep, without Hydra's own.
        settings: The settings of the search.
        hydra: Hydra's node `hydra`.
        loader: Hydra's loader, which lists the options that a glob matches.
        launch: Runs a batch of jobs by Overwinter's launcher, and returns what each gave; it also gets the number of
            points that have ended, and that of all points.

    Raises:
        ConfigError: a setting, a range or a job is invalid, or the launcher is another one.
    """
    if not str(hydra.launcher.get("_target_", "")).endswith(_LAUNCHERS):
        raise ConfigError(
            "hydra/sweeper=overwinter needs the figures that hydra/launcher=overwinter, or overwinter_slurm, returns. "
            "Select one of them, or start the search by `overwinter run -m`."
        )
    check_settings(settings, key="hydra.sweeper")
    project = find_project()
    name = hydra.launcher.name or sweep_name(project, list(hydra.overrides.task))
    given = [f"{key}={text}" for key, text in settings.params.items()]
    space = read_space([*given, *without_hydra(arguments)], loader)
    with hydra_set_aside():
        example = make_points(project, [space.example()], until=hydra.launcher.until)[0]
    goal = make_goal(settings, example.config)
    plan = Plan(space=space, goal=goal, settings=settings, workers=hydra.launcher.workers, ground=ground_of(example))
    folder = sweep_folder(project, name)

    ended = {each.name for each in _records(project, name) if each.status in (DONE, REFUSED)}
    total = _total(settings, space.size())

    def launch_and_keep(jobs: Sequence[Job]) -> Sequence[Mapping[str, Any]]:
        returned = launch(jobs, len(ended), total)
        ended.update(each["name"] for each in returned)
        keep_front(project, name, goal)
        return returned

    folder.mkdir(parents=True, exist_ok=True)
    keep_front(project, name, goal)
    run_search(plan, folder, launch_and_keep)


def ground_of(example: Point) -> str:
    """Return a digest of what the results of all points depend on, besides the keys that vary.

    The example point is the same at each start, so its stages' keys change only with code, data and fixed settings.
    """
    return digest(dict(example.keys))


def keep_front(project: Project, name: str, goal: Goal) -> Path:
    """Write the front of a sweep's points as they are now; return its path."""
    return write_front(sweep_folder(project, name), find_front(_records(project, name), goal))


def _records(project: Project, name: str) -> Sequence[PointRecord]:
    record = read_sweep(project, name)
    return () if record is None else record.points


def _total(settings: SearchSettings, size: int | None) -> int:
    """Return the number of points that a search runs in all: at most those that its space has."""
    if size is None:
        return settings.trials
    return size if settings.method == "grid" else min(size, settings.trials)
