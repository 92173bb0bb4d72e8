"""The accounts of a report: what is used and left of the budget, and the sums of the ledger."""

from __future__ import annotations

from collections.abc import Sequence

from overwinter.budget import Budget
from overwinter.config.limits import Limit
from overwinter.ledger import ExecutionRecord, Kept, Total, total, total_spent, wasted
from overwinter.report.page.content import LedgerFigures, LimitUse, StageFigures
from overwinter.report.page.stages import summed
from overwinter.report.summary import StageSummary


def limits_used(budget: Budget, stages: Sequence[StageFigures]) -> tuple[LimitUse, ...]:
    """Return every limit on costs with what producing the present results uses of it, as the gates judge it."""
    whole = summed(stages)
    uses = [_used(budget, limit, whole, "all stages") for limit in budget.total]
    for stage in stages:
        uses += [_used(budget, limit, stage, stage.stage) for limit in budget.limits_of(stage.stage)]
    return tuple(uses)


def ledger_figures(records: Sequence[ExecutionRecord], kept: Kept) -> LedgerFigures | None:
    """Return the sums of a ledger; None if it is empty.

    Args:
        records: All executions, oldest first.
        kept: The results and checkpoints that still exist.
    """
    if not records:
        return None
    stages = [record for record in records if not record.is_command]
    commands = [record for record in records if record.is_command]
    lost = wasted(records, kept)
    return LedgerFigures(
        total=total("all", stages),
        wasted=total("wasted", lost),
        wasted_by=_by_stage_and_status(lost),
        commands=total("measured commands", commands) if commands else None,
        last_run=total_spent(latest_run(records)),
        since=f"{records[0].started_utc:%Y-%m-%d}",
    )


def latest_run(records: Sequence[ExecutionRecord]) -> list[ExecutionRecord]:
    """Return the executions of the latest run in the workspace, oldest first."""
    own = [record for record in records if record.experiment is None and record.of_pipeline]
    return [record for record in own if record.run_id == own[-1].run_id]


def _used(budget: Budget, limit: Limit, costs: StageSummary, covers: str) -> LimitUse:
    amount = budget.amount(limit.amount.dimension, costs)
    allowed = limit.amount.value
    return LimitUse(
        limit=limit.key,
        covers=covers,
        allowed=str(limit.amount),
        used=None if amount is None else str(limit.quantity(amount)),
        left=None if amount is None else str(limit.quantity(max(0.0, allowed - amount))),
        share=None if amount is None or not allowed else amount / allowed,
        hard=limit.hard,
    )


def _by_stage_and_status(records: Sequence[ExecutionRecord]) -> tuple[Total, ...]:
    groups: dict[str, list[ExecutionRecord]] = {}
    for record in records:
        groups.setdefault(f"{record.stage}, {record.status}", []).append(record)
    sums = [total(name, group) for name, group in groups.items()]
    return tuple(sorted(sums, key=lambda each: -each.energy_j))
