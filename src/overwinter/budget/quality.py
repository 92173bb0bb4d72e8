"""Quality at a gate: accuracy not below, loss not above, both against the dense model."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from overwinter.budget.limits import Budget
from overwinter.budget.verdict import Reason

# By preference: what is measured on held-out data, then what stands for it while a model is still in the
# making.
_ACCURACIES = ("accuracy", "validation_accuracy")
_LOSSES = ("perplexity", "loss", "validation_loss")


def judge_quality(
    budget: Budget, stage: str, metrics: Mapping[str, Any], dense: Mapping[str, Any]
) -> list[Reason]:
    """Judge the model that a stage leaves.

    At the stage evaluate (metrics with `dense` and `chosen`) a figure that a limit needs has to be there.
    Earlier stages are judged by what they report, so that a model that is already too bad stops the pipeline
    there.

    Args:
        budget: what is allowed.
        stage: the stage's name.
        metrics: of the stage.
        dense: of the stage that made the dense model; empty if there is none, or if it is this one.
    """
    final = "dense" in metrics and "chosen" in metrics
    if final:
        metrics, dense = metrics["chosen"], metrics["dense"]
    reasons = [_min_accuracy(budget, stage, metrics), _accuracy_loss(budget, stage, metrics, dense)]
    reasons.append(_loss_increase(budget, stage, metrics, dense))
    return [reason for reason in reasons if reason is not None and (final or reason.value is not None)]


def _min_accuracy(budget: Budget, stage: str, metrics: Mapping[str, Any]) -> Reason | None:
    allowed = budget.quality.min_accuracy
    if allowed is None:
        return None
    name, value = _first(metrics, metrics, _ACCURACIES)
    ok = value is not None and value[0] >= allowed
    words = f"{name} {value[0]:.4f}" if value else "no accuracy"
    return _reason(budget, stage, "min_accuracy", value[0] if value else None, allowed, ok, words)


def _accuracy_loss(
    budget: Budget, stage: str, metrics: Mapping[str, Any], dense: Mapping[str, Any]
) -> Reason | None:
    allowed = budget.quality.max_accuracy_loss
    if allowed is None:
        return None
    name, value = _first(metrics, dense, _ACCURACIES)
    lost = None if value is None else value[1] - value[0]
    # Accuracies are counts over counts: a difference of just the allowed points must not fail on rounding.
    ok = lost is not None and lost <= allowed + 1e-12
    words = (
        f"{name} {value[0]:.4f}, dense {value[1]:.4f}"
        if value
        else "no accuracy to compare with the dense model's"
    )
    return _reason(budget, stage, "max_accuracy_loss", lost, allowed, ok, words)


def _loss_increase(
    budget: Budget, stage: str, metrics: Mapping[str, Any], dense: Mapping[str, Any]
) -> Reason | None:
    allowed = budget.quality.max_loss_increase
    if allowed is None:
        return None
    name, value = _first(metrics, dense, _LOSSES)
    if value is None:
        return _reason(
            budget,
            stage,
            "max_loss_increase",
            None,
            allowed,
            False,
            "no loss to compare with the dense model's",
        )
    ok = value[0] <= value[1] * (1 + allowed)
    rise = value[0] / value[1] - 1 if value[1] > 0 else None
    return _reason(
        budget, stage, "max_loss_increase", rise, allowed, ok, f"{name} {value[0]:.4g}, dense {value[1]:.4g}"
    )


def _first(
    metrics: Mapping[str, Any], dense: Mapping[str, Any], names: tuple[str, ...]
) -> tuple[str, tuple[float, float] | None]:
    for name in names:
        if name in metrics and name in dense:
            return name.replace("_", " "), (float(metrics[name]), float(dense[name]))
    return "", None


def _reason(
    budget: Budget, stage: str, name: str, value: float | None, allowed: float, ok: bool, words: str
) -> Reason:
    key = f"budget.quality.{name}"
    remedy = "" if ok else " Compress less, or train longer; or relax the limit."
    return Reason(
        limit=key,
        value=value,
        allowed=allowed,
        unit="1",
        ok=ok,
        binding=budget.mode != "warn",
        message=f"{stage}: {words}, {'within' if ok else 'against'} {key}={allowed:g}.{remedy}",
    )
