"""The comparison of two runs as a table for a terminal, and as Markdown for a pull request."""

from __future__ import annotations

from collections.abc import Collection
from typing import TYPE_CHECKING

from overwinter.comparison.records import BEYOND, EQUAL, FAILS, HOLDS, SAME, FigureChange, RunComparison
from overwinter.comparison.wording import (
    describe_difference,
    describe_interval,
    describe_share,
    describe_value,
    reads_relative,
)
from overwinter.report.fitting import fitted

if TYPE_CHECKING:
    from rich.console import Console
    from rich.table import Table

_TITLES = ("figure", "A", "B", "change", "95 % interval", "verdict")
_DROPPABLE = ("95 % interval",)
_STYLES = {True: "red", False: "green", None: None}
_ICONS = {HOLDS: "✅", FAILS: "❌"}


def print_comparison(console: Console, comparison: RunComparison) -> None:
    """Print a comparison: what changed, the figures, how they were judged, and the limits."""

    def say(text: str, style: str | None = None) -> None:
        console.print(text, style=style, highlight=False, markup=False)

    say(f"A: {comparison.a}{_serving(comparison.a_chosen)}")
    say(f"B: {comparison.b}{_serving(comparison.b_chosen)}")
    for line in parameter_lines(comparison):
        say(line)
    console.print(fitted(console, lambda without: comparison_table(comparison, without), _DROPPABLE))
    for note in [*bases(comparison), *comparison.notes]:
        say(f"- {note}")
    for limit in comparison.limits:
        style = "red" if limit.status == FAILS else "yellow" if limit.status != HOLDS else None
        say(f"{limit.status}: {limit.expression} ({limit.message})", style)


def comparison_table(comparison: RunComparison, without: Collection[str] = ()) -> Table:
    """Return the figures as a table; ``without`` names columns to leave out."""
    from rich.box import SIMPLE_HEAD
    from rich.table import Table

    table = Table(box=SIMPLE_HEAD, pad_edge=False)
    kept = [place for place, title in enumerate(_TITLES) if title not in without]
    for title in (_TITLES[place] for place in kept):
        left = title in ("figure", "verdict")
        table.add_column(title, justify="left" if left else "right", overflow="fold")
    for change in comparison.figures:
        cells = _cells(change)
        cells[0] = _indented(change.name)
        style = _STYLES[change.is_worse] if change.verdict == BEYOND else None
        table.add_row(*(cells[place] for place in kept), style=style)
    return table


def render_markdown(comparison: RunComparison) -> str:
    """Return the comparison as Markdown, for a comment or a job summary."""
    lines = [f"### {_escaped(comparison.a)} → {_escaped(comparison.b)}", ""]
    if comparison.limits:
        lines += [
            f"- {_ICONS.get(limit.status, '⚠️')} `{limit.expression}` {limit.status}: {_escaped(limit.message)}"
            for limit in comparison.limits
        ]
        lines.append("")
    lines += [f"| {' | '.join(_TITLES)} |", "|---|--:|--:|--:|--:|---|"]
    for change in comparison.figures:
        cells = [_escaped(each) for each in _cells(change)]
        lines.append(f"| {' | '.join([*cells[:-1], f'**{cells[-1]}**' if change.verdict == BEYOND else cells[-1]])} |")
    served = [f"{side} serves `{name}`" for side, name in _served(comparison) if name]
    lines += ["", *(f"- {each}" for each in [*served, *map(_escaped, parameter_lines(comparison))])]
    details = [_escaped(each) for each in [*bases(comparison), *comparison.notes]]
    lines += ["", "<details><summary>How this was judged</summary>", "", *(f"- {each}" for each in details)]
    return "\n".join([*lines, "", "</details>", ""])


def parameter_lines(comparison: RunComparison) -> list[str]:
    """Return the changed parameters, one per line."""
    if not comparison.parameters_known:
        return ["changed parameters: not known"]
    return list(comparison.parameters) or ["no parameter changed"]


def bases(comparison: RunComparison) -> list[str]:
    """Return what the verdicts rest on, each basis once with the figures it is of."""
    grouped: dict[str, list[str]] = {}
    for change in comparison.figures:
        if change.basis and change.basis != "exact" and change.verdict not in (EQUAL, SAME):
            grouped.setdefault(change.basis, []).append(change.name)
    return [f"{', '.join(_shortened(names))}: {basis}" for basis, names in grouped.items()]


def _shortened(names: list[str]) -> list[str]:
    """Return names of which each that continues the one before it has its last part alone: `.sparsify`."""
    wholes = ["", *(name.partition(".")[0] for name in names)]
    return [
        name.removeprefix(whole) if name != whole and before == whole else name
        for name, before, whole in zip(names, wholes, wholes[1:], strict=False)
    ]


def _served(comparison: RunComparison) -> list[tuple[str, str | None]]:
    return [("A", comparison.a_chosen), ("B", comparison.b_chosen)]


def _serving(name: str | None) -> str:
    return "" if name is None else f", serves {name}"


def _cells(change: FigureChange) -> list[str]:
    amount = describe_share(change.relative) if reads_relative(change) else ""
    return [
        change.name,
        describe_value(change, change.a),
        describe_value(change, change.b),
        amount or describe_difference(change, change.difference),
        describe_interval(change) if change.difference_low != change.difference_high else "",
        change.verdict,
    ]


def _indented(name: str) -> str:
    """Return a figure's name; a stage's part of a figure stands below it."""
    whole, _, part = name.partition(".")
    return f"  .{part}" if part else whole


def _escaped(text: str) -> str:
    return text.replace("\\", "\\\\").replace("|", "\\|").replace("<", "&lt;").replace("*", "\\*").replace("_", "\\_")
