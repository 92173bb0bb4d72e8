"""`overwinter plan -m [overrides]`: show what a sweep would run, at what cost, and what sharing saves."""

from __future__ import annotations

import argparse
import json
from typing import TYPE_CHECKING

from overwinter.cli import sweep
from overwinter.errors import EXIT_DONE, EXIT_REFUSED, ConfigError

if TYPE_CHECKING:
    from overwinter.budget import Range
    from overwinter.sweep.costs import Cost
    from overwinter.sweep.planning import SweepPlan


def run(arguments: argparse.Namespace) -> int:
    """Print the plan of a sweep; return 3 if it exceeds the sweep's budget."""
    if arguments.probe is not None:
        raise ConfigError("--probe runs the stages of one configuration. Leave it out, or plan one point without -m.")
    from overwinter.config import find_project
    from overwinter.records import to_json
    from overwinter.sweep.expanding import expand
    from overwinter.sweep.planning import plan_sweep

    project = find_project()
    planned = plan_sweep(
        project, expand(project, [*arguments.overrides, *sweep.settings(arguments)]), arguments.overrides
    )
    if arguments.json:
        print(json.dumps(to_json(planned), indent=2))
    else:
        _print(planned)
    return EXIT_DONE if planned.budget is None or planned.budget.holds else EXIT_REFUSED


def _print(planned: SweepPlan) -> None:
    from rich.box import SIMPLE_HEAD
    from rich.console import Console
    from rich.table import Table

    console = Console()
    table = Table(box=SIMPLE_HEAD)
    for title in ("stage", "points", "distinct", "done", "run"):
        table.add_column(title, no_wrap=True, justify="left" if title == "stage" else "right")
    for title in ("energy", "time"):
        table.add_column(title, overflow="fold")
    for stage in planned.stages:
        numbers = (stage.points, stage.distinct, stage.done, stage.runs)
        table.add_row(stage.name, *map(str, numbers), *_forecast(stage.cost, stage.runs))
    numbers = (_sum(planned, "points"), _sum(planned, "distinct"), _sum(planned, "done"), _sum(planned, "runs"))
    table.add_row("total", *map(str, numbers), *_forecast(planned.cost, numbers[-1]))
    console.print(table)
    for line in describe(planned):
        console.print(line, highlight=False, markup=False, soft_wrap=True)
    if planned.budget is not None:
        style = None if planned.budget.holds else "red"
        console.print(planned.budget.message, style=style, highlight=False, markup=False, soft_wrap=True)


def describe(planned: SweepPlan) -> list[str]:
    """Return the sentences below the table."""
    counted = f"{planned.jobs} jobs, of which {planned.points} differ" if planned.jobs > planned.points else ""
    lines = [f"Sweep {planned.name}: {counted or f'{planned.points} points'}."]
    if planned.drawn:
        lines.append(
            "A search chooses its points from its results, so which they are is not known: these were drawn at random."
        )
    executions, distinct = _sum(planned, "points"), _sum(planned, "distinct")
    if executions > distinct:
        saved = f", which saves {_energy(planned.shared)}" if planned.shared.energy_j.high else ""
        lines.append(f"Shared stages run once: {distinct} executions instead of {executions}{saved}.")
    if done := _sum(planned, "done"):
        lines.append(f"{done} are done and come from DVC's cache, which saves {_energy(planned.restored)}.")
    if planned.cost.unknown:
        lines.append(
            f"{planned.cost.unknown} executions have no forecast: nothing like them has run. The sums are without them."
        )
    return lines


def _sum(planned: SweepPlan, name: str) -> int:
    return sum(getattr(stage, name) for stage in planned.stages)


def _forecast(cost: Cost, runs: int) -> tuple[str, str]:
    if not runs:
        return "none", "none"
    if cost.unknown == runs:
        return "unknown", "unknown"
    more = f" and {cost.unknown} unknown" if cost.unknown else ""
    return f"{_energy(cost)}{more}", f"{_span(cost.duration_s, 's')}{more}"


def _energy(cost: Cost) -> str:
    return _span(cost.energy_j, "J")


def _span(range_: Range, unit: str) -> str:
    from overwinter.units import format_duration, format_si

    form = format_duration if unit == "s" else lambda value: format_si(value, unit)
    return f"{form(range_.expected)} ({form(range_.low)} to {form(range_.high)})"
