"""Figures and changes in words."""

from __future__ import annotations

from overwinter.comparison.records import FigureChange
from overwinter.units import format_bytes, format_si

_SHARE = "share"


def describe_value(change: FigureChange, value: float | None) -> str:
    """Return one side's figure: `41.4 µJ`, `98.89 %`; empty if it is missing."""
    if value is None:
        return ""
    if change.unit == _SHARE:
        return f"{100 * value:.2f} %"
    if change.unit == "B":
        return format_bytes(value)
    if change.unit in ("J", "s"):
        return format_si(value, change.unit)
    return f"{value:#.3g} {change.unit}".rstrip() if abs(value) < 99.95 else f"{value:.0f} {change.unit}".rstrip()


def describe_difference(change: FigureChange, value: float | None) -> str:
    """Return a difference with its sign: `+2.10 µJ`, `-0.28 points`; empty if it is unknown."""
    if value is None:
        return ""
    sign = "-" if value < 0 else "+"
    words = f"{100 * abs(value):.2f} points" if change.unit == _SHARE else describe_value(change, abs(value))
    return f"{sign}{words}"


def describe_share(share: float | None) -> str:
    """Return a relative difference: `+12.3 %`; empty if it is unknown."""
    if share is None:
        return ""
    return f"{100 * share:+.0f} %" if abs(share) >= 1 else f"{100 * share:+.1f} %"


def reads_relative(change: FigureChange) -> bool:
    """Return whether people read the change as a share of A's figure; of shares, as points."""
    return change.unit != _SHARE and change.relative is not None


def describe_change(change: FigureChange) -> str:
    """Return the difference with its interval: `-0.28 points (-1.90 to +1.31 points)`."""
    ends = [describe_difference(change, end) for end in (change.difference_low, change.difference_high)]
    return _with_ends(describe_difference(change, change.difference), ends)


def describe_relative(change: FigureChange) -> str:
    """Return the relative difference with its interval: `+3.2 % (-5.1 % to +12.0 %)`."""
    if change.relative is None:
        return describe_change(change)
    ends = [describe_share(end) for end in (change.relative_low, change.relative_high)]
    return _with_ends(describe_share(change.relative), ends)


def describe_interval(change: FigureChange) -> str:
    """Return the interval of the change as people read it; empty if it is unknown."""
    if reads_relative(change):
        ends = [describe_share(end) for end in (change.relative_low, change.relative_high)]
    else:
        ends = [describe_difference(change, end) for end in (change.difference_low, change.difference_high)]
    return f"{_number(ends)} to {ends[1]}" if all(ends) else ""


def _with_ends(words: str, ends: list[str]) -> str:
    return f"{words} ({_number(ends)} to {ends[1]})" if all(ends) and ends[0] != ends[1] else words


def _number(ends: list[str]) -> str:
    """Return the lower end, without its unit if the upper one has the same."""
    low, high = (each.partition(" ") for each in ends)
    return low[0] if low[2] == high[2] else ends[0]
