"""The forecast cost of a stage on another machine, from stages that both machines have executed.

For every stage that both ledgers know, the ratio of its cost there to its cost here is known. A stage that only this
machine has executed is expected to cost as much there as here, times the ratio of such stages: of the same name first,
and the fewer of those there are, the more of all stages. Ratios are averaged as logarithms, joules and seconds apart:
a machine may be slower and yet take fewer joules.
"""

from __future__ import annotations

import math
import statistics
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from overwinter.budget.forecasting import Forecast
from overwinter.budget.ranges import Range

if TYPE_CHECKING:
    from overwinter.ledger import ExecutionRecord

_J_PER_KWH = 3.6e6
# Set on the pipelines of `FITTED` in benchmarks/hardware.py: how many pairs of the same stage all stages' median counts
# as, and the assumed scatter of a ratio (one sigma of logarithms), which counts as many pairs as `_WORTH`.
_OTHERS = 0.25
_SCATTER, _WORTH = 0.15, 4


@dataclass(frozen=True, kw_only=True)
class Pair:
    """One stage in one configuration that two machines have executed.

    Attributes:
        stage: The stage.
        energy: The logarithm of its joules there over its joules here; None if not known.
        time: The same of its seconds.
    """

    stage: str
    energy: float | None
    time: float | None


def pairs_of(here: Sequence[ExecutionRecord], there: Sequence[ExecutionRecord]) -> list[Pair]:
    """Return the stages that two machines finished with the same parameters and code.

    Args:
        here: The executions of the machine whose costs are known.
        there: The executions of the other machine.
    """
    mine, theirs = _by_configuration(here), _by_configuration(there)
    return [
        Pair(
            stage=stage,
            energy=_difference([_joules(each) for each in mine[key]], [_joules(each) for each in theirs[key]]),
            time=_difference([_seconds(each) for each in mine[key]], [_seconds(each) for each in theirs[key]]),
        )
        for key in mine
        if key in theirs and (stage := key[0])
    ]


def transferred(known: Forecast, pairs: Sequence[Pair], *, intensity_g_per_kwh: float | None) -> Forecast:
    """Return the forecast of a stage on the other machine.

    Args:
        known: Its forecast on the machine that is `here` of the pairs.
        pairs: What both machines have executed.
        intensity_g_per_kwh: The carbon intensity there; without it, grams are not known.

    Returns:
        A forecast with the basis `transferred` and the number of pairs; `unknown` if nothing is known to compare.
    """
    energy_j = _scaled(known.energy_j, [(each.stage, each.energy) for each in pairs], known.stage)
    duration_s = _scaled(known.duration_s, [(each.stage, each.time) for each in pairs], known.stage)
    if energy_j is None and duration_s is None:
        return Forecast(stage=known.stage, basis="unknown")
    carbon_g = None
    if energy_j is not None and intensity_g_per_kwh is not None:
        carbon_g = energy_j.scaled(intensity_g_per_kwh / _J_PER_KWH)
    return Forecast(
        stage=known.stage,
        basis="transferred",
        executions=len(pairs),
        energy_j=energy_j,
        carbon_g=carbon_g,
        duration_s=duration_s,
    )


def _by_configuration(records: Sequence[ExecutionRecord]) -> dict[tuple[str, str], list[ExecutionRecord]]:
    found: dict[tuple[str, str], list[ExecutionRecord]] = {}
    for record in records:
        if record.status == "done" and record.energy_j is not None:
            # Inputs made on two machines may differ in their last digits, and with them the configuration key.
            found.setdefault((record.stage, record.prefix_key or record.configuration_key), []).append(record)
    return found


def _joules(record: ExecutionRecord) -> float:
    return (record.energy_j or 0.0) + record.resumed_j


def _seconds(record: ExecutionRecord) -> float:
    return (record.duration_s or 0.0) + record.resumed_duration_s


def _difference(here: Sequence[float], there: Sequence[float]) -> float | None:
    """Return the logarithm of the ratio of medians; None if one of them is not positive."""
    mine, theirs = statistics.median(here), statistics.median(there)
    return math.log(theirs / mine) if mine > 0 and theirs > 0 else None


def _scaled(known: Range | None, ratios: Sequence[tuple[str, float | None]], stage: str) -> Range | None:
    every = [(name, ratio) for name, ratio in ratios if ratio is not None]
    if known is None or not every:
        return None
    common = statistics.median(ratio for _, ratio in every)
    own = [ratio for name, ratio in every if name == stage]
    middle = (sum(own) + _OTHERS * common) / (len(own) + _OTHERS)
    near = own or [ratio for _, ratio in every]
    squares = sum((ratio - middle) ** 2 for ratio in near)
    sigma = math.sqrt((_WORTH * _SCATTER**2 + squares) / (_WORTH + len(near) - 1))
    return _spread(known.scaled(math.exp(middle)), 2 * sigma * math.sqrt(1 + 1 / len(near)))


def _spread(range_: Range, half: float) -> Range:
    """Return a range with an independent error added: ends as logarithms, in quadrature."""
    if range_.low <= 0 or range_.expected <= 0:
        return range_.widened(half)
    below, above = math.log(range_.expected / range_.low), math.log(range_.high / range_.expected)
    return Range(
        low=range_.expected * math.exp(-math.hypot(below, half)),
        expected=range_.expected,
        high=range_.expected * math.exp(math.hypot(above, half)),
    )
