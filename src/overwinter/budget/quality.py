"""Limits on quality at a gate: on accuracy and loss, also relative to the dense model, and on other figures by name."""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from overwinter.budget.limits import Budget
from overwinter.budget.verdict import Reason
from overwinter.config.groups.budget import QualityConfig

# In order of preference: measured on held-out data, then a stand-in for it in earlier stages.
_ACCURACIES = ("accuracy", "validation_accuracy")
_LOSSES = ("perplexity", "loss", "validation_loss")
# Accuracies are ratios of counts: a difference equal to the limit must not fail because of rounding.
_ROUNDING = 1e-12


_Check = Callable[[Mapping[str, Any], Mapping[str, Any], float], "_Finding | None"]


@dataclass(frozen=True, kw_only=True)
class _Finding:
    """The figure to compare with one limit on quality; `value` is None if there is no such figure."""

    value: float | None
    ok: bool
    words: str


def judge_quality(
    budget: Budget, stage: str, figures: Mapping[str, Any], dense: Mapping[str, Any], *, final: bool
) -> list[Reason]:
    """Judge a stage's model.

    Stages before evaluate are judged by the figures they report, so that a model that is already too poor stops the
    pipeline there.

    Args:
        budget: The budget.
        stage: The stage's name.
        figures: Figures of the model by name.
        dense: The same figures of the dense model; empty if there is none.
        final: Whether the stage is evaluate, in which every figure that a limit needs must exist.
    """
    reasons = []
    for key, allowed, check in _limits(budget.quality):
        found = check(figures, dense, allowed)
        if found is None and final:
            found = _Finding(value=None, ok=False, words="there is no figure for it in the metrics")
        if found is not None:
            reasons.append(_reason(budget, stage, f"budget.quality.{key}", allowed, found))
    return reasons


def _limits(quality: QualityConfig) -> Iterator[tuple[str, float, _Check]]:
    """Yield the key, the value and the check of each limit that is set."""
    checks: dict[str, _Check] = {
        "min_accuracy": _min_accuracy,
        "max_accuracy_loss": _accuracy_loss,
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


def _named(name: str, sign: int, metrics: Mapping[str, Any], _: Mapping[str, Any], allowed: float) -> _Finding | None:
    value = metrics.get(name)
    if not isinstance(value, int | float):
        return None
    return _Finding(
        value=float(value), ok=sign * (value - allowed) >= -_ROUNDING, words=f"{_described(name)} {value:.4g}"
    )


def _min_accuracy(metrics: Mapping[str, Any], _: Mapping[str, Any], allowed: float) -> _Finding | None:
    name = _first(metrics, metrics, _ACCURACIES)
    if name is None:
        return None
    value = float(metrics[name])
    return _Finding(value=value, ok=value >= allowed, words=f"{_described(name)} {value:.4f}")


def _accuracy_loss(metrics: Mapping[str, Any], dense: Mapping[str, Any], allowed: float) -> _Finding | None:
    name = _first(metrics, dense, _ACCURACIES)
    if name is None:
        return None
    value, reference = float(metrics[name]), float(dense[name])
    words = f"{_described(name)} {value:.4f}, dense {reference:.4f}"
    return _Finding(value=reference - value, ok=reference - value <= allowed + _ROUNDING, words=words)


def _loss_increase(metrics: Mapping[str, Any], dense: Mapping[str, Any], allowed: float) -> _Finding | None:
    name = _first(metrics, dense, _LOSSES)
    if name is None:
        return None
    value, reference = float(metrics[name]), float(dense[name])
    rise = value / reference - 1 if reference > 0 else None
    words = f"{_described(name)} {value:.4g}, dense {reference:.4g}"
    return _Finding(value=rise, ok=value <= reference * (1 + allowed) + _ROUNDING, words=words)


def _first(metrics: Mapping[str, Any], dense: Mapping[str, Any], names: tuple[str, ...]) -> str | None:
    return next((name for name in names if name in metrics and name in dense), None)


def _described(name: str) -> str:
    return name.replace("_", " ")


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
