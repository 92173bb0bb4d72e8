"""Quality at a gate: accuracy not below, loss not above, both against the dense model; any other figure by name."""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from overwinter.budget.limits import Budget
from overwinter.budget.verdict import Reason
from overwinter.config.groups.budget import QualityConfig

# By preference: what is measured on held-out data, then what stands for it while a model is still in the
# making.
_ACCURACIES = ("accuracy", "validation_accuracy")
_LOSSES = ("perplexity", "loss", "validation_loss")
# Accuracies are counts over counts: a difference of just the allowed points must not fail on rounding.
_ROUNDING = 1e-12


_Check = Callable[[Mapping[str, Any], Mapping[str, Any], float], "_Finding | None"]


@dataclass(frozen=True, kw_only=True)
class _Finding:
    """What one limit on quality is held against; `value` is None where the figures give none."""

    value: float | None
    ok: bool
    words: str


def judge_quality(
    budget: Budget, stage: str, figures: Mapping[str, Any], dense: Mapping[str, Any], *, final: bool
) -> list[Reason]:
    """Judge the model that a stage leaves.

    Earlier stages than evaluate are judged by what they report, so that a model that is already too bad stops the
    pipeline there.

    Args:
        budget: what is allowed.
        stage: the stage's name.
        figures: of the model, by name.
        dense: the same of the dense model; empty if there is none.
        final: the stage is evaluate, where a figure that a limit needs has to be there.
    """
    reasons = []
    for key, allowed, check in _limits(budget.quality):
        found = check(figures, dense, allowed)
        if found is None and final:
            found = _Finding(value=None, ok=False, words="the metrics have no figure for it")
        if found is not None:
            reasons.append(_reason(budget, stage, f"budget.quality.{key}", allowed, found))
    return reasons


def _limits(quality: QualityConfig) -> Iterator[tuple[str, float, _Check]]:
    """Yield the key of each limit that is set, what it allows, and how it is judged."""
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
        message=f"{stage}: {found.words}, {'within' if found.ok else 'against'} {key}={allowed:g}.{remedy}",
    )
