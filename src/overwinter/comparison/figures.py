"""One figure of two sides: its difference, the interval of the difference, and the verdict."""

from __future__ import annotations

import math
from dataclasses import replace

from overwinter.comparison.records import BEYOND, EQUAL, INCOMPARABLE, MISSING, SAME, UNKNOWN, WITHIN, FigureChange
from overwinter.comparison.statistics import Estimate, Interval, difference_interval, ratio_interval


def exact(name: str, unit: str, a: float | None, b: float | None, *, better: str | None, basis: str) -> FigureChange:
    """Return the change of a figure without noise: any difference is beyond it."""
    change = bare(name, unit, a, b, better=better, basis=basis)
    if change.difference is None:
        return change
    ends = (change.difference, change.difference)
    return with_interval(change, ends, None if change.relative is None else (change.relative, change.relative))


def bare(name: str, unit: str, a: float | None, b: float | None, *, better: str | None, basis: str) -> FigureChange:
    """Return a change whose noise is not known."""
    base = FigureChange(name=name, unit=unit, better=better, a=a, b=b, verdict=UNKNOWN, basis=basis)
    if a is None or b is None:
        missing = " and ".join(side for side, value in (("A", a), ("B", b)) if value is None)
        return replace(base, verdict=MISSING, basis=f"{missing} has no such figure")
    difference = b - a
    relative = difference / abs(a) if a else None
    verdict = EQUAL if difference == 0 else UNKNOWN
    return replace(base, difference=difference, relative=relative, verdict=verdict)


def same(change: FigureChange) -> FigureChange:
    """Return the change as one of two names for the same measurement."""
    if change.difference is None:
        return change
    none = with_interval(change, (0.0, 0.0), (0.0, 0.0))
    return replace(none, verdict=SAME, basis="both are the same execution")


def incomparable(change: FigureChange, reason: str) -> FigureChange:
    """Return the change without a verdict, and why."""
    return change if change.difference is None else replace(change, verdict=INCOMPARABLE, basis=reason)


def between(change: FigureChange, a: Estimate | None, b: Estimate | None, *, ratio: bool) -> FigureChange:
    """Return the change with the interval that follows from the intervals of both figures.

    Args:
        change: The change without an interval.
        a: A's figure with its interval; None: unknown.
        b: B's.
        ratio: Whether noise is relative, as of joules and seconds; otherwise the difference itself is judged.
    """
    if a is None or b is None or change.difference is None:
        return change
    change = replace(change, a_low=a.low, a_high=a.high, b_low=b.low, b_high=b.high)
    if ratio and min(a.low, b.low) > 0:
        low, high = ratio_interval(a, b)
        return with_interval(change, (a.value * low, a.value * high), (low, high))
    low, high = difference_interval(a, b)
    return with_interval(change, (low, high), (low / abs(a.value), high / abs(a.value)) if a.value else None)


def with_interval(change: FigureChange, difference: Interval, relative: Interval | None) -> FigureChange:
    """Return the change with the interval of its difference, and the verdict that follows."""
    low, high = difference
    verdict = EQUAL if change.difference == 0 else BEYOND if low > 0 or high < 0 else WITHIN
    ends = relative or (None, None)
    if not all(math.isfinite(each) for each in (low, high)):
        return change
    return replace(
        change,
        difference_low=low,
        difference_high=high,
        relative_low=ends[0],
        relative_high=ends[1],
        verdict=verdict,
    )
