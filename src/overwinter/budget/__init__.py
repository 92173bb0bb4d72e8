"""Budgets that really stop a run: in joules, grams, money and seconds, in total and per stage.

- `limits`: the budget as a value; the configuration's texts are read in `overwinter.config.limits`.
- `gate`, with `quality` and `saving`: the verdict between two stages, on the cost to produce an artifact.
- `forecasting`: what a stage will cost, from the ledger's history of like configurations; with `growing`, of other
  amounts of the same work, and `ranges`.
- `admission`: the verdict before a stage starts, and on a whole plan, on what is left.
- `guard`: the eye inside a running stage, on what is being spent now.
- `verdict`: what they say.

Nothing in here reads a file or a database; importing it loads neither rich, sqlite nor torch.
"""

from overwinter.budget.admission import admit, judge_plan
from overwinter.budget.forecasting import Forecast, forecast
from overwinter.budget.gate import judge
from overwinter.budget.guard import StageGuard
from overwinter.budget.limits import Budget, parse_budget
from overwinter.budget.ranges import Range
from overwinter.budget.verdict import Reason, Verdict

__all__ = [
    "Budget",
    "Forecast",
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
