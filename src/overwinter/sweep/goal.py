"""The goal of a search: what its points trade off, in which direction, and the limits that they must meet."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from overwinter.config.groups.search import OBJECTIVES
from overwinter.errors import ConfigError, nearest

if TYPE_CHECKING:
    from overwinter.config import Config
    from overwinter.config.groups.search import SearchSettings
    from overwinter.tasks import Measure

QUALITY = "quality"
_LEAST = 1e-12  # joules or bytes that still have a logarithm
_LIMIT = re.compile(r"(\w+)\s*(>=|<=)\s*(\S+)")
Figures = Mapping[str, float | None]


@dataclass(frozen=True, kw_only=True)
class FigureLimit:
    """A limit that a point must meet.

    Attributes:
        figure: One of `OBJECTIVES`.
        bound: The limit.
        lower: Whether it is a lower limit.
        text: The limit in words, such as `accuracy >= 0.97`.
    """

    figure: str
    bound: float
    lower: bool
    text: str

    def violation(self, value: float) -> float:
        """Return by how much a value breaks the limit, as a share of the limit; 0 or less if it meets it."""
        worse = self.bound - value if self.lower else value - self.bound
        return worse / abs(self.bound) if self.bound else worse


@dataclass(frozen=True, kw_only=True)
class Goal:
    """What a search looks for.

    Attributes:
        objectives: What is traded off, of `OBJECTIVES`.
        headline: The name of the task's headline measure, which is `quality`.
        higher_is_better: Whether a higher quality is better.
        limits: What a point must meet.
    """

    objectives: tuple[str, ...]
    headline: str
    higher_is_better: bool
    limits: tuple[FigureLimit, ...] = ()

    def maximizes(self, figure: str) -> bool:
        """Return whether more of a figure is better."""
        return figure == QUALITY and self.higher_is_better

    @property
    def directions(self) -> list[Literal["maximize", "minimize"]]:
        """The directions of the objectives, as Optuna names them."""
        return ["maximize" if self.maximizes(each) else "minimize" for each in self.objectives]

    def values(self, figures: Figures) -> list[float] | None:
        """Return a point's value of each objective; None if one is unknown."""
        values = [figures.get(each) for each in self.objectives]
        return None if any(value is None for value in values) else [float(value or 0.0) for value in values]

    def losses(self, values: Sequence[float]) -> list[float]:
        """Return the objectives so that less is better: quality as it is, joules and bytes by their logarithms."""
        return [
            (-value if self.maximizes(name) else value) if name == QUALITY else math.log10(max(value, _LEAST))
            for name, value in zip(self.objectives, values, strict=True)
        ]

    def violations(self, figures: Figures) -> dict[str, float]:
        """Return by how much a point breaks each limit, by the limit's text; an unknown figure breaks it."""
        found = {}
        for limit in self.limits:
            value = figures.get(limit.figure)
            found[limit.text] = 1.0 if value is None else limit.violation(value)
        return found

    def meets(self, figures: Figures) -> bool:
        """Return whether a point meets every limit."""
        return all(each <= 0 for each in self.violations(figures).values())


def make_goal(settings: SearchSettings, config: Config) -> Goal:
    """Return the goal of a search: its own limits, and those of the quality gate that a sweep knows the figure of.

    Args:
        settings: The settings of the search.
        config: The configuration of one of its points.

    Raises:
        ConfigError: an objective is named twice or not at all, or a limit is on a figure that a sweep does not know.
    """
    from overwinter.tasks import find_headline

    objectives = tuple(settings.objectives)
    if not objectives or len(set(objectives)) < len(objectives):
        raise ConfigError(
            f"hydra.sweeper.objectives={list(objectives)} must name one or more of {', '.join(OBJECTIVES)}, each once."
        )
    headline = find_headline(config.task, trusted=config.trusted_targets)
    limits = [*_own_limits(settings, headline), *_quality_limits(config, headline)]
    return Goal(
        objectives=objectives,
        headline=headline.name,
        higher_is_better=headline.higher_is_better,
        limits=tuple({limit.text: limit for limit in limits}.values()),
    )


def _own_limits(settings: SearchSettings, headline: Measure) -> list[FigureLimit]:
    found = []
    for key, given, lower in (("at_least", settings.at_least, True), ("at_most", settings.at_most, False)):
        for name, bound in given.items():
            found.append(figure_limit(name, bound, lower=lower, headline=headline.name, key=f"hydra.sweeper.{key}"))
    return found


def _quality_limits(config: Config, headline: Measure) -> list[FigureLimit]:
    """Return the limits of the quality gate on the headline measure."""
    quality, higher = config.budget.quality, headline.higher_is_better
    bounds = [(quality.min_quality, higher)]
    bounds += [(quality.at_least.get(headline.name), True), (quality.at_most.get(headline.name), False)]
    return [
        figure_limit(headline.name, bound, lower=lower, headline=headline.name, key="budget.quality")
        for bound, lower in bounds
        if bound is not None
    ]


def figure_limit(name: str, bound: float, *, lower: bool, headline: str, key: str) -> FigureLimit:
    """Return a limit on a figure of a sweep's points.

    Args:
        name: The headline measure's name, or one of `OBJECTIVES`.
        bound: The limit.
        lower: Whether it is a lower limit.
        headline: The name of the headline measure.
        key: The key that sets it, for the message.

    Raises:
        ConfigError: a sweep does not know that figure.
    """
    known = (headline, *OBJECTIVES)
    if name not in known:
        raise ConfigError(f"{key}: a sweep does not know {name!r}. Known: {', '.join(known)}.{nearest(name, known)}")
    shown = headline if name == QUALITY else name
    return FigureLimit(
        figure=QUALITY if name == headline else name,
        bound=bound,
        lower=lower,
        text=f"{shown} {'>=' if lower else '<='} {bound:g}",
    )


def read_limit(text: str, *, headline: str, key: str) -> FigureLimit:
    """Return the limit in a text such as `accuracy >= 0.97` or `size_bytes<=50000`.

    Args:
        text: The text.
        headline: The name of the headline measure.
        key: Where the text is from, for the message.

    Raises:
        ConfigError: it is not a limit, or a sweep does not know the figure.
    """
    found = _LIMIT.fullmatch(text.strip())
    try:
        name, sign, bound = found.groups() if found else ("", "", "")
        return figure_limit(name, float(bound), lower=sign == ">=", headline=headline, key=key)
    except ValueError:
        raise ConfigError(f"{key}: {text!r} is not a limit. Write {headline}>=0.9 or size_bytes<=50000.") from None


def unknown_objectives(goal: Goal, figures: Figures) -> Sequence[str]:
    """Return the objectives of which a point has no figure."""
    return [each for each in goal.objectives if figures.get(each) is None]
