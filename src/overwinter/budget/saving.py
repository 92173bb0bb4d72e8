"""Does compression pay? Fewer joules per answer than dense, and the joules spent on it earned back."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from overwinter.budget.limits import Budget
from overwinter.budget.verdict import Reason
from overwinter.units import format_si


def judge_net_saving(budget: Budget, metrics: Mapping[str, Any]) -> list[Reason]:
    """Judge whether the chosen model's confidence interval lies wholly below the dense model's.

    Args:
        budget: what is asked for.
        metrics: of the stage evaluate: `dense` and `chosen`, each with `energy_per_answer_j` and, as [low,
            high], `energy_per_answer_ci_j`.
    """
    if not budget.net_saving:
        return []
    dense_j, chosen_j = _interval(metrics["dense"]), _interval(metrics["chosen"])
    if dense_j is None or chosen_j is None:
        words = "evaluate gives no joules per answer with a confidence interval for both dense and chosen"
        return [_reason(budget, "net_saving", None, 0.0, "J", False, f"{words}. Raise evaluate.repeats.")]
    gap_j = dense_j[0] - chosen_j[1]
    words = f"{_per_answer('chosen', metrics['chosen'])}, {_per_answer('dense', metrics['dense'])}"
    if gap_j <= 0:
        words += ": no saving beyond the confidence interval. Compress more, or leave out budget.net_saving"
    return [_reason(budget, "net_saving", gap_j, 0.0, "J", gap_j > 0, f"{words}.")]


def judge_payback(budget: Budget, metrics: Mapping[str, Any], spent_j: float) -> tuple[list[Reason], list[str]]:
    """Judge after how many answers the joules spent on compressing are earned back.

    Args:
        budget: what is asked for.
        metrics: as in `judge_net_saving`.
        spent_j: joules of the stages in `budget.payback.stages`.

    Returns:
        the reasons, and warnings where only the confidence interval's far end would break the limit.
    """
    limits = _payback_limits(budget)
    if not limits:
        return [], []
    likely, at_worst = _answers_to_earn(metrics, spent_j)
    reasons, warnings = [], []
    for limit in limits:
        value = None if likely is None else likely / limit.answers_per_unit
        ok = value is not None and value <= limit.allowed
        words = _earned(spent_j, value, limit)
        reasons.append(_reason(budget, limit.key, value, limit.allowed, limit.unit, ok, words))
        if ok and (at_worst is None or at_worst > limit.allowed * limit.answers_per_unit):
            late = "never" if at_worst is None else f"after {at_worst:.3g} answers"
            warnings.append(f"budget.{limit.key}: at the interval's far end, they are earned back {late}.")
    return reasons, warnings


@dataclass(frozen=True, kw_only=True)
class _PaybackLimit:
    key: str
    allowed: float
    unit: str
    answers_per_unit: float


def _payback_limits(budget: Budget) -> list[_PaybackLimit]:
    payback, limits = budget.payback, []
    if payback.answers is not None:
        allowed = payback.answers
        limits.append(_PaybackLimit(key="payback.answers", allowed=allowed, unit="answers", answers_per_unit=1.0))
    if payback.days is not None and payback.answers_per_day is not None:
        rate = payback.answers_per_day
        limits.append(_PaybackLimit(key="payback.days", allowed=payback.days, unit="days", answers_per_unit=rate))
    return limits


def _answers_to_earn(metrics: Mapping[str, Any], spent_j: float) -> tuple[float | None, float | None]:
    """Answers that earn ``spent_j`` back: likely, and at the far end of the intervals; None is never."""
    dense, chosen = metrics["dense"], metrics["chosen"]
    if "energy_per_answer_j" not in dense or "energy_per_answer_j" not in chosen:
        return None, None
    saving_j = float(dense["energy_per_answer_j"]) - float(chosen["energy_per_answer_j"])
    dense_j, chosen_j = _interval(dense), _interval(chosen)
    least_saving_j = dense_j[0] - chosen_j[1] if dense_j and chosen_j else 0.0
    return _divided(spent_j, saving_j), _divided(spent_j, least_saving_j)


def _divided(spent_j: float, saving_j: float) -> float | None:
    return float(math.ceil(spent_j / saving_j)) if saving_j > 0 else None


def _earned(spent_j: float, value: float | None, limit: _PaybackLimit) -> str:
    spent = format_si(spent_j, "J")
    if value is None:
        return f"{spent} spent on compressing are never earned back: answers got no cheaper. Leave it dense."
    earned = f"{spent} spent on compressing are earned back after {value:.4g} {limit.unit}"
    remedy = "" if value <= limit.allowed else " Compress with less effort, or expect more answers."
    return f"{earned}; budget.{limit.key} allows {limit.allowed:.4g}.{remedy}"


def _interval(form: Mapping[str, Any]) -> tuple[float, float] | None:
    interval = form.get("energy_per_answer_ci_j")
    return (float(interval[0]), float(interval[1])) if interval else None


def _per_answer(name: str, form: Mapping[str, Any]) -> str:
    low_j, high_j = _interval(form) or (math.nan, math.nan)
    return f"{name} {format_si(low_j, 'J')} to {format_si(high_j, 'J')} per answer"


def _reason(
    budget: Budget, name: str, value: float | None, allowed: float, unit: str, ok: bool, message: str
) -> Reason:
    return Reason(
        limit=f"budget.{name}",
        value=value,
        allowed=allowed,
        unit=unit,
        ok=ok,
        binding=budget.mode != "warn",
        message=message,
    )
