"""The points of a sweep: each job's overrides, composed and checked before any work."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from overwinter.config import Config, Project
from overwinter.config.composing_many import Composer
from overwinter.errors import ConfigError
from overwinter.pipeline.prefix import PrefixKeys

_SHOWN = 3  # errors that one message names
_CHECKED = 8  # wrong points after which the others are not checked
_NAME_DIGITS = 8


@dataclass(frozen=True, kw_only=True)
class Point:
    """One configuration of a sweep.

    Attributes:
        name: The first eight hexadecimal digits of the SHA-256 of `params`.
        overrides: Its overrides in Hydra's grammar, without those of Hydra itself.
        params: The text of its params.yaml.
        config: The same, typed.
        keys: Stage -> prefix key, in the pipeline's order, up to and with the sweep's last stage.
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
        ConfigError: there is no job, or some are invalid; the message names the first of them.
    """
    if not batch:
        raise ConfigError("The sweep has no points: one of its choices is empty. Give each at least one value.")
    maker = _PointMaker(project, until)
    points: list[Point] = []
    wrong: dict[str, list[str]] = {}
    for checked, job in enumerate(batch, start=1):
        overrides = tuple(each for each in job if not each.lstrip("+~").startswith(("hydra.", "hydra/")))
        try:
            points.append(maker.point(overrides))
        except ConfigError as error:
            wrong.setdefault(str(error), []).append(" ".join(overrides))
            if checked - len(points) == _CHECKED:  # to explain all of many would take minutes
                break
    if wrong:
        raise ConfigError(_explained(wrong, checked=checked, total=len(batch)))
    return points


@dataclass
class _PointMaker:
    """Makes points; what they have in common is composed, checked and hashed once."""

    project: Project
    until: str
    _made: dict[tuple[str, ...], Point] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self._composer, self._prefixes = Composer(self.project), PrefixKeys(self.project)

    def point(self, overrides: tuple[str, ...]) -> Point:
        if overrides not in self._made:
            made = self._composer.compose(overrides)
            keys = self._prefixes.of(made.config, made.parameters)
            names = list(keys)
            last = names.index(self.until) if self.until in names else len(names) - 1
            self._made[overrides] = Point(
                name=hashlib.sha256(made.params.encode()).hexdigest()[:_NAME_DIGITS],
                overrides=overrides,
                params=made.params,
                config=made.config,
                keys={name: keys[name] for name in names[: last + 1]},
            )
        return self._made[overrides]


def _explained(wrong: Mapping[str, Sequence[str]], *, checked: int, total: int) -> str:
    """Return a message that names the first points of each error, and how many were checked."""
    lines = [_line(message, points) for message, points in list(wrong.items())[:_SHOWN]]
    if total == 1:
        return lines[0]
    count = sum(len(points) for points in wrong.values())
    whole = f" The other {total - checked} were not checked." if checked < total else ""
    return "\n".join([*lines, f"{count} of the first {checked} points are wrong; nothing was started.{whole}"])


def _line(message: str, points: Sequence[str]) -> str:
    if len(points) == 1 and message.startswith(f"{points[0]}: "):
        return message
    more = f" (and {len(points) - 1} more)" if len(points) > 1 else ""
    return f"{points[0] or 'the configuration as it is'}{more}: {message}"
