"""Limits on the benefit of compression: net saving in joules per response, and payback of the joules spent on it."""

from __future__ import annotations

import math
from dataclasses import dataclass

from overwinter.budget.limits import Budget
from overwinter.budget.verdict import Reason
from overwinter.metrics import CandidateMetrics, EvaluationMetrics
from overwinter.units import format_si


def judge_net_saving(budget: Budget, evaluation: EvaluationMetrics) -> list[Reason]:
    """Judge whether the chosen model's confidence interval is entirely below the reference's: dense, or its file."""
    if not budget.net_saving:
        return []
    reference, chosen = evaluation.reference, evaluation.chosen
    gap_j = _least_saving_j(evaluation)
    words = f"{_per_response('chosen', chosen)}, {_per_response(_called(evaluation), reference)}"
    if gap_j <= 0:
        words += ": no saving beyond the confidence interval. Compress more, or unset budget.net_saving"
    return [_reason(budget, "net_saving", gap_j, 0.0, "J", gap_j > 0, f"{words}.")]


def judge_payback(budget: Budget, evaluation: EvaluationMetrics, spent_j: float) -> tuple[list[Reason], list[str]]:
    """Judge after how many responses the joules spent on compressing are earned back.

    Args:
        budget: The budget.
        evaluation: The metrics of the reference and the chosen model.
        spent_j: Joules of the stages in `budget.payback.stages`.

    Returns:
        The reasons, and warnings on limits that only the far end of the confidence interval exceeds.
    """
    limits = _payback_limits(budget)
    if not limits:
        return [], []
    likely, at_worst = responses_to_earn(evaluation, spent_j)
    reasons, warnings = [], []
    for limit in limits:
        value = None if likely is None else likely / limit.responses_per_unit
        ok = value is not None and value <= limit.allowed
        words = _earned(spent_j, value, limit, keep=evaluation.reference.name)
        reasons.append(_reason(budget, limit.key, value, limit.allowed, limit.unit, ok, words))
        if ok and (at_worst is None or at_worst > limit.allowed * limit.responses_per_unit):
            late = "never" if at_worst is None else f"after {at_worst:.3g} responses"
            warnings.append(f"budget.{limit.key}: at the far end of the interval, the joules are earned back {late}.")
    return reasons, warnings


@dataclass(frozen=True, kw_only=True)
class _PaybackLimit:
    key: str
    allowed: float
    unit: str
    responses_per_unit: float


def _payback_limits(budget: Budget) -> list[_PaybackLimit]:
    payback, limits = budget.payback, []
    if payback.responses is not None:
        allowed = payback.responses
        limits.append(_PaybackLimit(key="payback.responses", allowed=allowed, unit="responses", responses_per_unit=1.0))
    if payback.days is not None and payback.responses_per_day is not None:
        rate = payback.responses_per_day
        limits.append(_PaybackLimit(key="payback.days", allowed=payback.days, unit="days", responses_per_unit=rate))
    return limits


def responses_to_earn(evaluation: EvaluationMetrics, spent_j: float) -> tuple[float | None, float | None]:
    """Return the responses that earn ``spent_j`` back: expected, and at the far end of the intervals; None is never."""
    saving_j = evaluation.reference.energy_per_response_j - evaluation.chosen.energy_per_response_j
    return _divided(spent_j, saving_j), _divided(spent_j, _least_saving_j(evaluation))


def _least_saving_j(evaluation: EvaluationMetrics) -> float:
    """Return the smallest saving in joules per response within the intervals."""
    return evaluation.reference.energy_per_response_low_j - evaluation.chosen.energy_per_response_high_j


def _divided(spent_j: float, saving_j: float) -> float | None:
    return float(math.ceil(spent_j / saving_j)) if saving_j > 0 else None


def _earned(spent_j: float, value: float | None, limit: _PaybackLimit, *, keep: str) -> str:
    spent = format_si(spent_j, "J")
    if value is None:
        return f"{spent} spent on compressing are never earned back: responses got no cheaper. Keep {keep}."
    earned = f"{spent} spent on compressing are earned back after {value:.4g} {limit.unit}"
    remedy = "" if value <= limit.allowed else " Compress with less effort, or expect more responses."
    return f"{earned}; budget.{limit.key} allows {limit.allowed:.4g}.{remedy}"


def _called(evaluation: EvaluationMetrics) -> str:
    return "dense" if evaluation.given is None else evaluation.given.name


def _per_response(name: str, metrics: CandidateMetrics) -> str:
    low, high = (
        format_si(each, "J") for each in (metrics.energy_per_response_low_j, metrics.energy_per_response_high_j)
    )
    return f"{name} {low} to {high} per response"


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
