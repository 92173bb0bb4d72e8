"""Budgets that stop a run: in joules, grams, money and seconds, in total and per stage.

- `limits`: the budget as a value; `overwinter.config.limits` parses the configuration.
- `gate`, with `quality` and `saving`: the verdict after a stage, on the cost of producing its artifact.
- `forecasting`: the forecast cost of a stage, from the ledger's history of similar configurations; with `growing`, for
  other amounts of the same work, and `ranges`; on another machine, from what both have run (`transfer`), or from public
  figures of its hardware (`roofline`).
- `admission`: the verdict before a stage starts, and on a whole plan, against the remaining budget.
- `guard`: the check of a running stage against its limits.
- `verdict`: the verdict's type.

Nothing here reads a file or a database; importing it loads neither rich, sqlite nor torch.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from overwinter.lazy_imports import lazily

if TYPE_CHECKING:
    from overwinter.budget.admission import admit, judge_plan
    from overwinter.budget.forecasting import Forecast, forecast
    from overwinter.budget.gate import judge
    from overwinter.budget.guard import StageGuard
    from overwinter.budget.limits import Budget, parse_budget
    from overwinter.budget.quality import ModelFigures
    from overwinter.budget.ranges import Range
    from overwinter.budget.verdict import Reason, Verdict

__all__ = [
    "Budget",
    "Forecast",
    "ModelFigures",
    "Range",
    "Reason",
    "StageGuard",
    "Verdict",
    "admit",
    "forecast",
    "judge",
    "judge_plan",
    "parse_budget",
]

__getattr__ = lazily(
    __name__,
    {  # loaded on first use: a gate judges and does not forecast
        "Budget": "limits",
        "Forecast": "forecasting",
        "ModelFigures": "quality",
        "Range": "ranges",
        "Reason": "verdict",
        "StageGuard": "guard",
        "Verdict": "verdict",
        "admit": "admission",
        "forecast": "forecasting",
        "judge": "gate",
        "judge_plan": "admission",
        "parse_budget": "limits",
    },
)
