"""The verdict before a stage starts, and on a whole plan, from forecasts and the remaining budget."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from overwinter.budget.forecasting import Forecast
from overwinter.budget.limits import Budget
from overwinter.budget.verdict import Reason, Verdict, verdict
from overwinter.errors import RefusedError

if TYPE_CHECKING:
    from overwinter.config.limits import Limit
    from overwinter.ledger import Spent
    from overwinter.units import Quantity


@dataclass(frozen=True, kw_only=True)
class _Outlook:
    """The amounts to compare with one limit: already spent, and with the forecasts.

    Attributes:
        spent: The amount already spent.
        sure: The amount with the expected value of an exact forecast, or the lower end of a rough one: a projection
            from first steps or another configuration must not block a stage for good.
        expected: The amount with the expected values.
        high: The amount with the upper ends.
        unknown: Stages without a forecast.
    """

    spent: float
    sure: float
    expected: float
    high: float
    unknown: tuple[str, ...]


def admit(budget: Budget, *, stage: str, forecast: Forecast, spent_run: Spent, spent_stage: Spent) -> tuple[str, ...]:
    """Check a stage's forecast against the remaining budget, before it starts.

    Args:
        budget: The budget.
        stage: The stage that is about to start.
        forecast: The forecast of its whole execution; resumed work counts as done.
        spent_run: The run's spending so far, including resumed spending of its stages.
        spent_stage: The part of it spent on this stage.

    Returns:
        Warnings on limits that do not bind, or that only the forecast's upper end exceeds.

    Raises:
        RefusedError: nothing is left, or less than the forecast (of a rough forecast: less than its lower end).
    """
    admission = _judged(budget, stage, {stage: forecast}, spent_run, {stage: spent_stage})
    if not admission.passed:
        raise RefusedError(f"{stage} does not start.\n{admission.refusal()}")
    return admission.warnings


def judge_plan(
    budget: Budget,
    *,
    forecasts: Sequence[Forecast],
    spent_run: Spent,
    spent_stages: Mapping[str, Spent],
) -> Verdict:
    """Judge whether all stages that would run fit into the budget.

    Args:
        budget: The budget.
        forecasts: Forecasts of all stages that would run, in order.
        spent_run: The amount that already counts: spent by the run, or the cost of the results it would reuse.
        spent_stages: The part of it that belongs to a stage that would run (its checkpoint); a missing stage has none.

    Returns:
        The verdict; its warnings name stages without a forecast.
    """
    by_stage = {each.stage: each for each in forecasts}
    return _judged(budget, "plan", by_stage, spent_run, spent_stages)


def _judged(
    budget: Budget,
    name: str,
    forecasts: Mapping[str, Forecast],
    spent_run: Spent,
    spent_stages: Mapping[str, Spent],
) -> Verdict:
    reasons: list[Reason] = []
    warnings: list[str] = []
    rest = {stage: spent_stages.get(stage) for stage in forecasts}
    for stage, each in forecasts.items():
        for limit in budget.limits_of(stage):
            outlook = _outlook(limit, budget, {stage: each}, rest[stage], rest)
            _weigh(limit, budget, outlook, f"{stage} alone", reasons, warnings)
    for limit in budget.total:
        outlook = _outlook(limit, budget, forecasts, spent_run, rest)
        _weigh(limit, budget, outlook, "the whole run", reasons, warnings)
    return verdict(name, reasons, warnings=list(dict.fromkeys(warnings)), modelled=False, mode=budget.mode)


def _weigh(
    limit: Limit, budget: Budget, outlook: _Outlook, whose: str, reasons: list[Reason], warnings: list[str]
) -> None:
    allowed = limit.amount.value
    ok = outlook.sure <= allowed and outlook.spent < allowed
    message = _in_words(limit, outlook, whose) if ok else _refused(limit, outlook, whose)
    reasons.append(
        Reason(
            limit=limit.key,
            value=outlook.expected,
            allowed=allowed,
            unit=limit.amount.unit,
            ok=ok,
            binding=budget.binds(limit),
            message=message,
        )
    )
    if ok and (outlook.high > allowed or outlook.unknown):
        warnings.append(message)


def _in_words(limit: Limit, outlook: _Outlook, whose: str) -> str:
    """Describe a limit that is not exceeded: within, may be exceeded, or without a forecast."""
    expected, high = limit.quantity(outlook.expected), limit.quantity(outlook.high)
    if outlook.high > limit.amount.value:
        return f"{limit} may be exceeded: {whose} is expected to cost {expected}, at most {_more(outlook, high)}."
    if outlook.unknown:
        rest = f" Without {_them(outlook)}, {whose} is expected to cost {expected}." if outlook.expected else ""
        return (
            f"{limit}: no forecast of {limit.amount.dimension} for {', '.join(outlook.unknown)}; "
            f"the limit is enforced while the stage runs.{rest}"
        )
    return f"{whose} is expected to cost {expected}, within {limit}; {_left(limit, outlook)} are left."


def _refused(limit: Limit, outlook: _Outlook, whose: str) -> str:
    if outlook.spent >= limit.amount.value:
        return f"Nothing is left of {limit}: {limit.quantity(outlook.spent)} are spent. Raise the limit."
    at_least = "at least " if outlook.unknown else ""
    return (
        f"{whose} is expected to cost {at_least}{limit.quantity(outlook.expected)}, over {limit}; "
        f"{_left(limit, outlook)} are left. Raise the limit, or make the work cheaper."
    )


def _more(outlook: _Outlook, high: Quantity) -> str:
    return f"{high} and what {', '.join(outlook.unknown)} may need" if outlook.unknown else str(high)


def _them(outlook: _Outlook) -> str:
    return "it" if len(outlook.unknown) == 1 else "them"


def _left(limit: Limit, outlook: _Outlook) -> Quantity:
    return limit.quantity(max(0.0, limit.amount.value - outlook.spent))


def _outlook(
    limit: Limit,
    budget: Budget,
    forecasts: Mapping[str, Forecast],
    spent: Spent | None,
    rest: Mapping[str, Spent | None],
) -> _Outlook:
    before = _spent(limit, budget, spent)
    sure = expected = high = before
    unknown: list[str] = []
    for stage, each in forecasts.items():
        low, likely, at_most = (_whole(limit, budget, each, end) for end in ("low", "expected", "high"))
        if low is None or likely is None or at_most is None:
            unknown.append(stage)
            continue
        resumed = _spent(limit, budget, rest[stage])  # already counted in `before`
        sure += max(0.0, (likely if each.basis == "exact" else low) - resumed)
        expected += max(0.0, likely - resumed)
        high += max(0.0, at_most - resumed)
    return _Outlook(spent=before, sure=sure, expected=expected, high=high, unknown=tuple(unknown))


@dataclass(frozen=True, kw_only=True)
class _Costs:
    energy_j: float | None
    carbon_g: float | None
    duration_s: float | None


def _whole(limit: Limit, budget: Budget, each: Forecast, end: str) -> float | None:
    """Return the forecast in the limit's dimension, at the range's ``end``: `low`, `expected` or `high`."""
    ranges = (each.energy_j, each.carbon_g, each.duration_s)
    energy_j, carbon_g, duration_s = (getattr(each, end) if each is not None else None for each in ranges)
    costs = _Costs(energy_j=energy_j, carbon_g=carbon_g, duration_s=duration_s)
    return budget.amount(limit.amount.dimension, costs)


def _spent(limit: Limit, budget: Budget, spent: Spent | None) -> float:
    return (budget.amount(limit.amount.dimension, spent) or 0.0) if spent is not None else 0.0
