"""The jobs of a sweep before it runs, from the same overrides and by Hydra's own sweeper."""

from __future__ import annotations

import math
import random
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
from typing import TYPE_CHECKING, Any

from overwinter.config import Project
from overwinter.config.groups.search import SearchSettings
from overwinter.config.groups.sweep import SweepSettings
from overwinter.config.settings import check_settings
from overwinter.errors import ConfigError
from overwinter.sweep.batches import without_hydra

if TYPE_CHECKING:
    from hydra.core.config_loader import ConfigLoader
    from hydra.core.override_parser.types import Override

_LAUNCHERS = "hydra/launcher="
_LAUNCHER = f"{_LAUNCHERS}overwinter"
_SWEEPER = "hydra/sweeper=overwinter_grid"
_OTHER_SWEEPERS = ("hydra/sweeper=", "+sweep=", "sweep=")
_MAPPINGS = tuple(f"hydra.sweeper.{name}{end}" for name in ("at_least", "at_most", "params") for end in ("=", "."))
_GRIDS = ("BasicSweeper", "GridSweeper")
_GRID = "grid"
_DRAWS = 20  # attempts to draw a job that differs from those before, for each that is wanted


@dataclass(frozen=True, kw_only=True)
class Expansion:
    """The jobs of a sweep.

    Attributes:
        jobs: The overrides of each job.
        settings: The settings of the sweep.
        drawn: Whether the jobs were drawn from the sweep's space, because a search will choose its own as it runs.
        search: The settings of the search; None for a sweep without one.
    """

    jobs: tuple[tuple[str, ...], ...]
    settings: SweepSettings
    drawn: bool
    search: SearchSettings | None = None


def sweep_words(overrides: Sequence[str]) -> list[str]:
    """Return the overrides of a sweep with Overwinter's launcher and its sweeper, unless they choose others.

    A mapping such as `hydra.sweeper.at_least={accuracy: 0.9}` may add keys, which Hydra allows only with `++`.
    """
    chosen = any(each.startswith(_OTHER_SWEEPERS) for each in overrides)
    words = [f"++{each}" if each.startswith(_MAPPINGS) else each for each in overrides]
    launched = any(each.startswith(_LAUNCHERS) for each in overrides)
    return [*words, *([] if launched else [_LAUNCHER]), *([] if chosen else [_SWEEPER])]


def expand(project: Project, overrides: Sequence[str]) -> Expansion:
    """Return the jobs that `overwinter run -m` would run.

    Args:
        project: The project.
        overrides: The overrides of the sweep, Hydra's own among them.

    Raises:
        ConfigError: Hydra does not accept the overrides, a file of configs/ is not YAML, nothing is swept, or the
            sweeper is not known.
    """
    from hydra import initialize_config_dir
    from hydra.core.global_hydra import GlobalHydra
    from hydra.types import RunMode
    from omegaconf import OmegaConf

    from overwinter.config.composition import explained_composition

    with explained_composition(project), initialize_config_dir(str(project.configs), version_base=None):
        hydra = GlobalHydra.instance().hydra
        assert hydra is not None  # noqa: S101 -- for the type checker
        words = sweep_words(overrides)
        config = hydra.compose_config(project.config_name, words, RunMode.MULTIRUN, from_shell=False)
        sweeper = OmegaConf.to_container(config.hydra.sweeper)
        launcher = OmegaConf.to_container(config.hydra.launcher)
        assert isinstance(sweeper, dict)  # noqa: S101 -- Hydra's schema
        assert isinstance(launcher, dict)  # noqa: S101
        task = [str(each) for each in config.hydra.overrides.task]
        return _expanded(task, _named(sweeper), _named(launcher), hydra.config_loader)


def _named(node: Mapping[Any, Any]) -> dict[str, Any]:
    return {str(key): value for key, value in node.items()}


def _expanded(
    task: Sequence[str], sweeper: Mapping[str, Any], launcher: Mapping[str, Any], loader: ConfigLoader
) -> Expansion:
    from hydra.core.override_parser.overrides_parser import OverridesParser

    names = {field.name for field in fields(SweepSettings)}
    settings = SweepSettings(**{name: value for name, value in launcher.items() if name in names})
    check_settings(settings, key="hydra.launcher")
    given = [f"{key}={text}" for key, text in (sweeper.get("params") or {}).items()]
    parsed = OverridesParser.create(config_loader=loader).parse_overrides([*given, *without_hydra(task)])
    kind = str(sweeper.get("_target_", "")).rpartition(".")[2]
    searches = kind not in _GRIDS and {"method", "trials"} <= sweeper.keys()
    search = _search(sweeper) if searches else None
    if searches and sweeper["method"] != _GRID:
        jobs = _drawn(parsed, int(sweeper["trials"]), seed=int(sweeper.get("seed") or 0))
    elif kind in _GRIDS or searches:
        jobs = _product(parsed, checked=kind == "GridSweeper")
    else:
        raise ConfigError(
            f"The sweeper {sweeper.get('_target_')} chooses its points in a way that cannot be planned. Use Hydra's "
            "basic sweeper or Overwinter's."
        )
    return Expansion(jobs=jobs, settings=settings, drawn=searches and sweeper["method"] != _GRID, search=search)


def _search(sweeper: Mapping[str, Any]) -> SearchSettings:
    names = {field.name for field in fields(SearchSettings)}
    search = SearchSettings(**{name: value for name, value in sweeper.items() if name in names})
    check_settings(search, key="hydra.sweeper")
    return search


def _product(overrides: Sequence[Override], *, checked: bool) -> tuple[tuple[str, ...], ...]:
    from hydra._internal.core_plugins.basic_sweeper import BasicSweeper

    if checked:
        from hydra_plugins.overwinter.grid import check_sweep

        check_sweep(overrides)
    (jobs,) = BasicSweeper.split_arguments(list(overrides), None)
    return tuple(tuple(job) for job in jobs)


def _drawn(overrides: Sequence[Override], trials: int, *, seed: int) -> tuple[tuple[str, ...], ...]:
    """Return ``trials`` different jobs drawn from the space of a search; fewer if it has fewer."""
    latest = {each.get_key_element(): each for each in overrides}
    fixed = tuple(str(each.input_line) for each in latest.values() if not each.is_sweep_override())
    swept = {key: each for key, each in latest.items() if each.is_sweep_override()}
    if not swept:
        raise ConfigError("Nothing is swept: no override has several values, such as sparsify.amount=0.5,0.7.")
    listed = {key: list(each.sweep_string_iterator()) for key, each in swept.items() if each.is_discrete_sweep()}
    if empty := [key for key, values in listed.items() if not values]:
        raise ConfigError(f"{empty[0]} has no values. Name at least one.")
    source = random.Random(seed)  # noqa: S311 -- a sample for a forecast
    jobs: dict[tuple[str, ...], None] = {}
    for _ in range(_DRAWS * trials):
        if len(jobs) == trials:
            break
        values = {
            key: source.choice(listed[key]) if key in listed else _number(each, source) for key, each in swept.items()
        }
        jobs[(*fixed, *(f"{key}={value}" for key, value in values.items()))] = None
    return tuple(jobs)


def _number(override: Override, source: random.Random) -> str:
    """Draw a number from an interval."""
    interval: Any = override.value()
    low, high = interval.start, interval.end
    if isinstance(low, int) and isinstance(high, int):
        return str(source.randint(low, high))
    if "log" in interval.tags and low > 0:
        return repr(math.exp(source.uniform(math.log(low), math.log(high))))
    return repr(source.uniform(low, high))
