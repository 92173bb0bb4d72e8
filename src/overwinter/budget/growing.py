"""The forecast of another amount of the same work: the cost of its steps, and its fixed cost."""

from __future__ import annotations

import math
import statistics
from collections.abc import Sequence
from dataclasses import dataclass

from overwinter.budget.ranges import Range

# Assumed scatter of executions of one workload, one sigma of logarithms, and the number of executions it counts as.
_SCATTER, _WORTH = 0.12, 8
_OTHER_INPUTS = 0.30  # the same for executions with other inputs: a model with other channels, a sparser one
# A step's cost drifts (heat, neighbours, memory): one sigma per doubling of the observed amount.
_DRIFT = 0.03


@dataclass(frozen=True, kw_only=True)
class Parts:
    """The cost of one execution, in joules, grams or seconds.

    Attributes:
        cost: The whole cost.
        steps_cost: The part between its first and its latest report of progress; None if unknown.
        steps: Units of work between the two.
        done: Units of work done at the end.
        total: Units of work planned.
        ratio: The amount of work to forecast, as a multiple of the amount this execution planned.
    """

    cost: float
    steps_cost: float | None
    steps: float | None
    done: float | None
    total: float | None
    ratio: float


def grown(history: Sequence[Parts], *, same_inputs: bool) -> Range | None:
    """Return the forecast cost of the amount of work to do; None without a history.

    Args:
        history: Executions of the same workload, in any amount.
        same_inputs: Whether they read the same inputs.
    """
    split = [each for each in history if each.steps_cost is not None and each.steps and each.total]
    scatter = _SCATTER if same_inputs else _OTHER_INPUTS
    return _from_parts(split, scatter) if split else _between(history, scatter)


def _from_parts(history: Sequence[Parts], scatter: float) -> Range:
    seen = sum(each.steps or 0.0 for each in history)
    per_step = sum(each.steps_cost or 0.0 for each in history) / seen
    fixed = statistics.median(_fixed(each) for each in history)
    # The first step counts as fixed cost, as a warm-up.
    needed = max(0.0, statistics.median((each.total or 0.0) * each.ratio for each in history) - 1)
    fewest = min([needed, *((each.done or 0.0) for each in history if (each.done or 0.0) < (each.total or 0.0))])
    most, least = fixed + per_step * needed, fixed + per_step * fewest
    if least <= 0:
        return Range(low=0.0, expected=most, high=most * math.exp(2 * scatter))
    own = [_fixed(each) + (each.steps_cost or 0.0) / (each.steps or 1.0) * needed for each in history]
    drift = _DRIFT * math.log2(max(1.0, needed / seen)) * per_step * needed / most
    half = 2 * math.hypot(_sigma(own, scatter) * math.sqrt(1 + 1 / len(history)), drift)
    # An execution that ended early may do so again: then the cost is anywhere in between.
    spread = Range(low=least, expected=math.sqrt(least * most), high=most)
    return spread.widened(half)


def _between(history: Sequence[Parts], scatter: float) -> Range | None:
    """Return the range from all cost being fixed to all cost growing with the work, if the parts are unknown."""
    costs = [each.cost for each in history if each.cost > 0]
    if len(costs) < len(history) or not costs:
        return Range(low=0.0, expected=0.0, high=max(each.cost for each in history)) if history else None
    ends = sorted(statistics.geometric_mean(each.cost * each.ratio**share for each in history) for share in (0, 1))
    half = 2 * _sigma(costs, scatter) * math.sqrt(1 + 1 / len(costs))
    return Range(low=ends[0], expected=math.sqrt(ends[0] * ends[1]), high=ends[1]).widened(half)


def _fixed(each: Parts) -> float:
    return max(0.0, each.cost - (each.steps_cost or 0.0))


def _sigma(values: Sequence[float], scatter: float) -> float:
    """Return the scatter of costs: the assumed one, weighted with the observed one."""
    logs = [math.log(value) for value in values if value > 0]
    squares = sum((each - statistics.fmean(logs)) ** 2 for each in logs)
    return math.sqrt((_WORTH * scatter**2 + squares) / (_WORTH + max(0, len(logs) - 1)))
