"""Limits on quality at a gate: on the headline measure and the loss, also relative to dense, and on figures by name."""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any, Protocol

from overwinter.budget.limits import Budget
from overwinter.budget.verdict import Reason
from overwinter.config.groups.budget import QualityConfig

# Many measures are ratios of counts: a difference equal to the limit must not fail because of rounding.
_ROUNDING = 1e-12


class Headline(Protocol):
    """The task's headline measure (`overwinter.tasks.Measure`)."""

    @property
    def name(self) -> str: ...  # noqa: D102 - its name among the figures

    @property
    def higher_is_better(self) -> bool: ...  # noqa: D102 - its direction

    def loss(self, value: float, dense: float) -> float:
        """Return how much worse a value is than dense's, in points or as a share of it."""

    def describe(self, value: float) -> str:
        """Return a value in words."""

    def describe_named(self, value: float) -> str:
        """Return a value in words, with the measure's name."""

    def describe_loss(self, loss: float) -> str:
        """Return a loss in words."""


@dataclass(frozen=True, kw_only=True)
class ModelFigures:
    """Figures of a stage's model, to judge its quality.

    Attributes:
        find_headline: returns the task's headline measure; called only for limits on it, since a task needs numpy.
        model: figures of the model by name; for evaluate, of the chosen candidate.
        dense: the same figures of the dense model, as the reference; empty if there is none.
    """

    find_headline: Callable[[], Headline]
    model: Mapping[str, Any]
    dense: Mapping[str, Any]


@dataclass(frozen=True, kw_only=True)
class _Finding:
    """The figure to compare with one limit on quality; `value` is None if there is no such figure."""

    value: float | None
    ok: bool
    words: str


_Check = Callable[[ModelFigures, float], _Finding | None]


def judge_quality(budget: Budget, stage: str, figures: ModelFigures, *, final: bool) -> list[Reason]:
    """Judge a stage's model.

    Stages before evaluate are judged by the figures they report, so that a model that is already too poor stops the
    pipeline there.

    Args:
        budget: The budget.
        stage: The stage's name.
        figures: Figures of the model and of dense.
        final: Whether the stage is evaluate, in which every figure that a limit needs must exist.
    """
    reasons = _missed_target(budget, stage, figures.model)
    for key, allowed, check in _limits(budget.quality):
        found = check(figures, allowed)
        if found is None and final:
            found = _Finding(value=None, ok=False, words="there is no figure for it in the metrics")
        if found is not None:
            reasons.append(_reason(budget, stage, f"budget.quality.{key}", allowed, found))
    return reasons


def _missed_target(budget: Budget, stage: str, metrics: Mapping[str, Any]) -> list[Reason]:
    """Return that a training ended without reaching the target that it had, if so."""
    if metrics.get("reached") is not False:
        return []
    ((name, target),) = metrics["to"].items()
    found = _Finding(value=_number(metrics, name), ok=False, words=f"{name.replace('_', ' ')} {metrics[name]:.4g}")
    reason = _reason(budget, stage, f"train.to.{name}", target, found)
    return [replace(reason, message=f"{reason.message.partition(' Compress')[0]} Train longer, or lower the target.")]


def _limits(quality: QualityConfig) -> Iterator[tuple[str, float, _Check]]:
    """Yield the key, the value and the check of each limit that is set."""
    checks: dict[str, _Check] = {
        "min_quality": _min_quality,
        "max_quality_loss": _quality_loss,
        "max_loss_increase": _loss_increase,
    }
    for key, check in checks.items():
        allowed = getattr(quality, key)
        if allowed is not None:
            yield key, allowed, check
    for name, allowed in quality.at_least.items():
        yield f"at_least.{name}", allowed, functools.partial(_named, name, 1)
    for name, allowed in quality.at_most.items():
        yield f"at_most.{name}", allowed, functools.partial(_named, name, -1)


def _named(name: str, sign: int, figures: ModelFigures, allowed: float) -> _Finding | None:
    value = _number(figures.model, name)
    if value is None:
        return None
    words = f"{name.replace('_', ' ')} {value:.4g}"
    return _Finding(value=value, ok=sign * (value - allowed) >= -_ROUNDING, words=words)


def _min_quality(figures: ModelFigures, allowed: float) -> _Finding | None:
    headline = figures.find_headline()
    value = _number(figures.model, headline.name)
    if value is None:
        return None
    sign = 1 if headline.higher_is_better else -1
    return _Finding(value=value, ok=sign * (value - allowed) >= -_ROUNDING, words=_in_words(headline, value))


def _quality_loss(figures: ModelFigures, allowed: float) -> _Finding | None:
    headline = figures.find_headline()
    value, reference = _number(figures.model, headline.name), _number(figures.dense, headline.name)
    if value is None or reference is None:
        return None
    lost = headline.loss(value, reference)
    change = f"{headline.describe_loss(abs(lost))} {'worse' if lost > 0 else 'better'}" if lost else "no difference"
    words = f"{_in_words(headline, value)}, dense {headline.describe(reference)}: {change}"
    return _Finding(value=lost, ok=lost <= allowed + _ROUNDING, words=words)


def _loss_increase(figures: ModelFigures, allowed: float) -> _Finding | None:
    value, reference = _number(figures.model, "loss"), _number(figures.dense, "loss")
    if value is None or reference is None:
        return None
    rise = value / reference - 1 if reference > 0 else None
    words = f"loss {value:.4g}, dense {reference:.4g}"
    return _Finding(value=rise, ok=value <= reference * (1 + allowed) + _ROUNDING, words=words)


def _number(figures: Mapping[str, Any], name: str) -> float | None:
    value = figures.get(name)
    return float(value) if isinstance(value, int | float) else None


def _in_words(headline: Headline, value: float) -> str:
    """Return a value with the direction where less is better, which a name such as perplexity does not tell."""
    return headline.describe_named(value) + ("" if headline.higher_is_better else " (less is better)")


def _reason(budget: Budget, stage: str, key: str, allowed: float, found: _Finding) -> Reason:
    remedy = "" if found.ok else " Compress less, or train longer; or relax the limit."
    return Reason(
        limit=key,
        value=found.value,
        allowed=allowed,
        unit="1",
        ok=found.ok,
        binding=budget.mode != "warn",
        message=f"{stage}: {found.words}, {'within' if found.ok else 'violates'} {key}={allowed:g}.{remedy}",
    )
