"""Quality of one candidate's outputs, and the limits that it breaks."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from overwinter.errors import ConfigError, nearest
from overwinter.evaluation.figures import Interval, low_and_high
from overwinter.tasks import Measure

_ROUNDING = 1e-12  # a loss of exactly the limit is allowed: differences have rounding errors


@dataclass(frozen=True, kw_only=True)
class Quality:
    """Quality of one session's outputs on the test split.

    Attributes:
        headline: the task's headline measure.
        figures: name -> number: every measure of the task; `loss`; the headline on corrupted inputs,
            `HEADLINE_CORRUPTION`; your own measures; `agreement_with_dense`; `divergence_from_dense`.
        interval: of the headline on all inputs of this kind, of which the test split is a sample.
        loss_interval: of the headline's loss against dense (`Measure.loss`), on the same samples.
        worst_class: name of the class with the lowest accuracy; None where samples are not right or wrong.
        origin: origin of dense's weights if they are not as trained; reported with every figure.
        broken_limits: figures that are worse than dense's by more than is allowed, in words.
    """

    headline: Measure
    figures: Mapping[str, float]
    interval: Interval
    loss_interval: Interval
    worst_class: str | None = None
    origin: str | None = None
    broken_limits: tuple[str, ...] = ()

    @property
    def value(self) -> float:
        """The headline's value."""
        return self.figures[self.headline.name]

    def loss_against(self, dense: Quality) -> float:
        """Return how much worse the headline is than dense's, in points or as a share; below 0 it is better."""
        return self.headline.loss(self.value, dense.value)

    def brief(self) -> str:
        """Return the headline in words."""
        return self.headline.describe_named(self.value)

    def describe(self) -> str:
        """Return the headline with its interval."""
        low, high = (self.headline.describe(end) for end in self.interval)
        origin = "" if self.origin is None else f"; dense is {self.origin}"
        return f"{self.brief()} (between {low} and {high}{origin})"

    def loss(self) -> str:
        """Return the interval of the headline's loss against dense, in words."""
        low, high = (self.headline.describe_loss(end) for end in self.loss_interval)
        return f"{self.headline.title} loss against dense between {low} and {high}"

    def to_json(self) -> dict[str, Any]:
        """Return the fields for comparison.json."""
        name = self.headline.name
        extra = {"origin": self.origin, "worst_class": self.worst_class}
        return {
            **self.figures,
            **low_and_high(name, self.interval),
            **low_and_high(f"{name}_loss", self.loss_interval),
            **{key: text for key, text in extra.items() if text is not None},
            "broken_limits": list(self.broken_limits),
        }


def broken_limits(
    figures: Mapping[str, float],
    dense: Mapping[str, float],
    measures: Mapping[str, Measure],
    max_losses: Mapping[str, float],
) -> tuple[str, ...]:
    """Return the limits that a candidate breaks, in words.

    Args:
        figures: name -> number of the candidate.
        dense: the same of dense.
        measures: direction and unit of each figure.
        max_losses: name -> largest allowed `Measure.loss`.

    Raises:
        ConfigError: a limit names a measure that this model does not have.
    """
    for name in max_losses:
        if name not in measures:
            raise ConfigError(
                f"evaluate.max_losses.{name}: this model has no such measure. It has {', '.join(measures)}."
                f"{nearest(name, list(measures))}"
            )
    return tuple(
        f"{name} {measures[name].describe(figures[name])}, dense {measures[name].describe(dense[name])}"
        for name, allowed in max_losses.items()
        if measures[name].loss(figures[name], dense[name]) > allowed + _ROUNDING
    )
