"""The points of a sweep: each job's overrides, composed and checked before any work."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from overwinter.config import Config, Project, compose, validate
from overwinter.errors import ConfigError
from overwinter.files import digest
from overwinter.pipeline.render import rendered_stages

_SHOWN = 3  # wrong points that one message names
_NAME_DIGITS = 8


@dataclass(frozen=True, kw_only=True)
class Point:
    """One configuration of a sweep.

    Attributes:
        name: The first eight hexadecimal digits of the SHA-256 of `params`.
        overrides: Its overrides in Hydra's grammar, without those of Hydra itself.
        params: The text of its params.yaml.
        config: The same, typed.
        keys: Stage -> digest of everything that determines its result, up to and with the sweep's last stage.
    """

    name: str
    overrides: tuple[str, ...]
    params: str
    config: Config
    keys: Mapping[str, str]


def make_points(project: Project, batch: Sequence[Sequence[str]], *, until: str) -> list[Point]:
    """Compose and check every job of a batch; return one point per job, in order.

    Args:
        project: The project.
        batch: The overrides of each job; those of Hydra itself are left out.
        until: The last stage of the sweep's points; a pipeline without it runs to its own last stage.

    Raises:
        ConfigError: some jobs are invalid; the message names the first of them.
    """
    points: list[Point] = []
    wrong: list[str] = []
    for job in batch:
        overrides = tuple(each for each in job if not each.lstrip("+~").startswith(("hydra.", "hydra/")))
        try:
            points.append(_point(project, overrides, until))
        except ConfigError as error:
            wrong.append(f"{' '.join(overrides)}: {error}")
    if wrong:
        more = f"\nand {len(wrong) - _SHOWN} more" if len(wrong) > _SHOWN else ""
        raise ConfigError("\n".join(wrong[:_SHOWN]) + more)
    return points


def _point(project: Project, overrides: tuple[str, ...], until: str) -> Point:
    params = compose(project, overrides)
    config = validate(params)
    name = hashlib.sha256(params.encode()).hexdigest()[:_NAME_DIGITS]
    return Point(name=name, overrides=overrides, params=params, config=config, keys=_keys(config, project, until))


def _keys(config: Config, project: Project, until: str) -> dict[str, str]:
    everything, stages = asdict(config), rendered_stages(config, project)
    names = list(config.pipeline.stages)
    keys: dict[str, str] = {}
    for name in names[: names.index(until) + 1] if until in names else names:
        parameters = {key: _dotted(everything, key) for key in stages[name]["params"]}
        needs = [keys[need] for need in config.pipeline.stages[name].needs]
        keys[name] = digest([name, stages[name]["cmd"], parameters, needs])
    return keys


def _dotted(tree: Any, key: str) -> Any:
    for part in key.split("."):
        tree = tree[part]
    return tree
