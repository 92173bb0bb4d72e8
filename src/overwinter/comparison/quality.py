"""Quality of the chosen variants: the headline measure with its interval, and the task's other measures."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from overwinter.comparison.contents import Side
from overwinter.comparison.figures import bare, between, same
from overwinter.comparison.records import HIGHER, LOWER, FigureChange
from overwinter.comparison.responses import confidence, is_one_execution
from overwinter.comparison.statistics import Estimate, estimate
from overwinter.tasks import Measure

SHARE = "share"
_TWO_SAMPLES = "intervals of two independent samples; on the same test split they are wider than needed"


def qualities(a: Side, b: Side, measures: Mapping[str, Measure]) -> list[FigureChange]:
    """Return the change of the headline (of both, if the tasks differ), and of the other measures at hand."""
    names = list(dict.fromkeys(name for name in (headline(a), headline(b)) if name))
    found = [_headline_change(name, a, b, measures.get(name)) for name in names]
    rows = [_row(side) for side in (a, b)]
    for name in (name for name in measures if name not in names):
        one, two = (_number(row.get(name)) for row in rows)
        if one is not None and two is not None:
            found.append(_measure(name, one, two, measures[name], basis="no interval is stored for it"))
    return [same(each) for each in found] if is_one_execution(a, b) else found


def headline(side: Side) -> str | None:
    """Return the name of the measure that a side is judged by; None if it reports none."""
    if side.evaluation is not None:
        return side.evaluation.chosen.headline
    return next((each.headline for each in reversed(list(side.models.values())) if each.quality is not None), None)


def _headline_change(name: str, a: Side, b: Side, measure: Measure | None) -> FigureChange:
    chosen = a.evaluation is not None or b.evaluation is not None
    values = [_quality(name, side, chosen=chosen) for side in (a, b)]
    change = _measure(name, values[0], values[1], measure, basis=_TWO_SAMPLES)
    if not chosen:
        return replace(change, basis="of the last model, on the validation split, without an interval")
    return between(change, *(_quality_estimate(name, side) for side in (a, b)), ratio=False)


def _measure(name: str, a: float | None, b: float | None, measure: Measure | None, *, basis: str) -> FigureChange:
    better = None if measure is None else HIGHER if measure.higher_is_better else LOWER
    unit = "" if measure is None else SHARE if measure.in_per_cent else measure.unit
    return bare(name, unit, a, b, better=better, basis=basis)


def _quality(name: str, side: Side, *, chosen: bool) -> float | None:
    """Return a headline: of the chosen variant on the test split, or else of the last model on the validation split."""
    if chosen:
        return side.evaluation.chosen.quality if side.evaluation and side.evaluation.chosen.headline == name else None
    found = [each.quality for each in side.models.values() if each.headline == name and each.quality is not None]
    return found[-1] if found else None


def _quality_estimate(name: str, side: Side) -> Estimate | None:
    if side.evaluation is None or side.evaluation.chosen.headline != name:
        return None
    chosen, row = side.evaluation.chosen, _row(side)
    low, high = chosen.quality_low, chosen.quality_high
    if low is None or high is None:
        low, high = row.get(f"{name}_low"), row.get(f"{name}_high")
    return estimate(chosen.quality, low, high, confidence=confidence(side))


def _row(side: Side) -> Mapping[str, Any]:
    """Return all figures of the chosen candidate; empty if comparison.json is not at hand."""
    return {} if side.evaluation is None else (side.candidates or {}).get(side.evaluation.chosen.name, {})


def _number(value: object) -> float | None:
    if not isinstance(value, int | float) or isinstance(value, bool) or not abs(value) <= sys.float_info.max:
        return None
    return float(value)
