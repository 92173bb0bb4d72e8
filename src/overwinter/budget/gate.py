"""The gate after a stage: the cost of producing an artifact, and its quality, judged against the budget.

A gate judges the *cost to produce* (from energy.json, also for results restored from DVC's cache), never the current
spending, so the same artifact always gets the same verdict.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass

from overwinter.budget.limits import Budget
from overwinter.budget.quality import ModelFigures, judge_quality
from overwinter.budget.saving import judge_net_saving, judge_payback
from overwinter.budget.verdict import Reason, Verdict, verdict
from overwinter.config.limits import Limit
from overwinter.energy.record import EnergyRecord
from overwinter.metrics import EvaluationMetrics


def judge(
    budget: Budget,
    *,
    stage: str,
    energy: Mapping[str, EnergyRecord],
    figures: ModelFigures | None = None,
    evaluation: EvaluationMetrics | None = None,
) -> Verdict:
    """Judge one stage.

    Args:
        budget: The budget.
        stage: The stage before the gate.
        energy: The cost of this stage and of all earlier ones.
        figures: Figures of this stage's model and of dense; None: its quality is not judged.
        evaluation: metrics.json of the stage evaluate, to judge net saving and payback; None for other stages.
    """
    own, total = _together([energy[stage]]), _together(energy.values())
    reasons = [_held(limit, own, stage, budget) for limit in budget.limits_of(stage)]
    reasons += [_held(limit, total, "all stages so far", budget) for limit in budget.total]
    measured = min(own.measured_share, total.measured_share) if budget.total else own.measured_share
    if evaluation and (budget.net_saving or budget.payback.responses is not None or budget.payback.days is not None):
        measured = min(measured, _measured_responses(evaluation))
    if budget.require_measured:
        reasons.append(_measured(measured, stage, budget))
    if figures is not None:
        reasons += judge_quality(budget, stage, figures, final=evaluation is not None)
    warnings = _close_calls(budget, stage, energy)
    if evaluation:
        spent_j = sum(energy[name].energy_j for name in budget.payback.stages if name in energy)
        payback, doubts = judge_payback(budget, evaluation, spent_j)
        reasons, warnings = reasons + judge_net_saving(budget, evaluation) + payback, warnings + doubts
    modelled = measured < budget.measured_share
    if modelled and reasons:
        warnings.append(
            f"Judged on modelled joules: counters measured {measured:.0%} of them, "
            f"and budget.measured_share={budget.measured_share:g}."
        )
    return verdict(stage, reasons, warnings=warnings, modelled=modelled, mode=budget.mode)


def _measured_responses(evaluation: EvaluationMetrics) -> float:
    """Return 0 if joules per response were modelled, else 1."""
    return float(evaluation.reference.measured and evaluation.chosen.measured)


@dataclass(frozen=True, kw_only=True)
class _Produced:
    """The cost of producing one or more artifacts."""

    energy_j: float
    measured_j: float
    carbon_g: float | None
    duration_s: float

    @property
    def measured_share(self) -> float:
        return self.measured_j / self.energy_j if self.energy_j else 1.0


def _together(records: Collection[EnergyRecord]) -> _Produced:
    grams = [record.carbon_g for record in records if record.carbon_g is not None]
    return _Produced(
        energy_j=sum(record.energy_j for record in records),
        measured_j=sum(record.energy_j * record.measured_fraction for record in records),
        carbon_g=sum(grams) if len(grams) == len(records) else None,
        duration_s=sum(record.duration_s for record in records),
    )


def _held(limit: Limit, produced: _Produced, whose: str, budget: Budget) -> Reason:
    value = budget.amount(limit.amount.dimension, produced)
    ok = value is not None and value <= limit.amount.value
    return Reason(
        limit=limit.key,
        value=value,
        allowed=limit.amount.value,
        unit=limit.amount.unit,
        ok=ok,
        binding=budget.binds(limit),
        message=_in_words(limit, value, whose, ok=ok),
    )


def _in_words(limit: Limit, value: float | None, whose: str, *, ok: bool) -> str:
    if value is None:
        unknown = f"{whose}: {limit.amount.dimension} is unknown, so {limit} cannot be checked."
        return f"{unknown} Set `carbon` to an intensity source."
    cost = limit.quantity(value)
    if ok:
        return f"{whose} cost {cost}, within {limit}."
    return f"{whose} cost {cost}, over {limit}. Raise the limit, or make the work cheaper."


def _measured(measured: float, stage: str, budget: Budget) -> Reason:
    ok = measured >= budget.measured_share
    message = f"{stage}: counters measured {measured:.0%} of the joules"
    if not ok:
        message += (
            f", less than budget.measured_share={budget.measured_share:g}, and budget.require_measured=true. "
            "Run `overwinter doctor` for the missing counters."
        )
    return Reason(
        limit="budget.require_measured",
        value=measured,
        allowed=budget.measured_share,
        unit="1",
        ok=ok,
        binding=budget.mode != "warn",
        message=message,
    )


def _close_calls(budget: Budget, stage: str, energy: Mapping[str, EnergyRecord]) -> list[str]:
    """Warn about limits on joules that hold only within the figure's uncertainty."""
    warnings = []
    for limits, names in ((budget.limits_of(stage), [stage]), (budget.total, list(energy))):
        value_j = sum(energy[name].energy_j for name in names)
        # Errors of the stages share one cause (the same counter, the same assumed watts): they add up.
        doubt_j = sum(energy[name].uncertainty_j for name in names)
        warnings += [
            f"{limit} holds only within the uncertainty: {value_j:.4g} J ± {doubt_j:.3g} J."
            for limit in limits
            if limit.amount.dimension == "energy" and value_j <= limit.amount.value < value_j + doubt_j
        ]
    return warnings
