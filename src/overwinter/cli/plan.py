"""`overwinter plan [overrides]`: show which stages would run, why, at what cost, and whether the budget suffices."""

from __future__ import annotations

import argparse
import json
from dataclasses import asdict
from functools import partial
from typing import TYPE_CHECKING

from overwinter.cli import plan_hardware, plan_sweep, sweep
from overwinter.errors import EXIT_DONE, EXIT_REFUSED

if TYPE_CHECKING:
    from overwinter.budget import Forecast, Range
    from overwinter.config import Project
    from overwinter.pipeline.outlook import Outlook
    from overwinter.pipeline.plan import PipelinePlan, PlannedStage


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the overrides and the output format."""
    parser.add_argument("overrides", nargs="*", metavar="key=value", help="Hydra overrides, such as train.epochs=5")
    parser.add_argument("-m", "--multirun", action="store_true", help="sweep: plan every combination, as of seed=1,2")
    parser.add_argument("--json", action="store_true", help="print JSON")
    parser.add_argument(
        "--probe",
        type=float,
        metavar="SECONDS",
        help="run stages without history for this many seconds (uses energy; their checkpoints are kept)",
    )
    sweep.add_arguments(parser)
    plan_hardware.add_arguments(parser)


def run(arguments: argparse.Namespace) -> int:
    """Print the plan; return 3 if it exceeds the budget."""
    if arguments.compare_hardware:
        sweep.refuse_stray(arguments, but=("until",))
        return plan_hardware.run(arguments)
    plan_hardware.refuse_stray(arguments)
    if arguments.multirun:
        return plan_sweep.run(arguments)
    sweep.refuse_stray(arguments)
    from overwinter.config import find_project
    from overwinter.pipeline.outlook import look_ahead
    from overwinter.pipeline.plan import make_plan

    project = find_project()
    plan = make_plan(project, arguments.overrides)
    prober = None
    if arguments.probe is not None:
        prober = partial(_probed, project, plan, arguments)
    outlook = look_ahead(plan, project, prober)
    if arguments.json:
        print(json.dumps(_as_json(plan, outlook), indent=2))
    else:
        _print_table(plan, outlook)
    return EXIT_DONE if outlook.verdict.passed else EXIT_REFUSED


def _probed(project: Project, plan: PipelinePlan, arguments: argparse.Namespace, stage: str) -> Forecast:
    from overwinter.pipeline.probe import probe

    return probe(project, plan.config, stage, arguments.overrides, arguments.probe)


def _as_json(plan: PipelinePlan, outlook: Outlook) -> dict[str, object]:
    return {
        "stages": [asdict(stage) for stage in plan.stages],
        "forecasts": {name: asdict(each) for name, each in outlook.forecasts.items()},
        "verdict": outlook.verdict.to_json(),
    }


def _print_table(plan: PipelinePlan, outlook: Outlook) -> None:
    from rich.box import SIMPLE_HEAD
    from rich.console import Console
    from rich.table import Table

    console = Console()
    table = Table(box=SIMPLE_HEAD)
    for title in ("stage", ""):
        table.add_column(title, no_wrap=True)
    for title in ("energy", "time", "why"):
        table.add_column(title, overflow="fold")  # a narrow terminal wraps them instead of truncating
    for stage in plan.stages:
        if stage.name not in plan.config.pipeline.stages and not _own_reasons(stage):
            continue  # a gate or the check that only follows
        expected = outlook.forecasts.get(stage.name)
        state = "reused" if not stage.runs else ("restore" if stage.name in outlook.restored else "run")
        table.add_row(stage.name, state, _energy(expected), _time(expected), "\n".join(_why(stage)))
    console.print(table)
    if not any(stage.runs for stage in plan.stages):
        console.print("Nothing would run: everything is up to date.")
    styles = {reason.message: None if reason.ok else "red" for reason in outlook.verdict.reasons}
    styles |= dict.fromkeys((warning for warning in outlook.verdict.warnings if styles.get(warning) is None), "yellow")
    for message, style in styles.items():
        console.print(message, style=style, highlight=False, markup=False)


def _own_reasons(stage: PlannedStage) -> list[str]:
    return [reason for reason in stage.reasons if reason not in stage.follows]


def _why(stage: PlannedStage) -> list[str]:
    names = [reason.removesuffix(" runs") for reason in stage.follows]
    return _own_reasons(stage) + ([f"after {', '.join(names)}"] if names else [])


def _energy(expected: Forecast | None) -> str:
    if expected is None:
        return ""
    if expected.energy_j is None and expected.executions:
        return "unknown: has only run with other settings"
    return _span(expected.energy_j, "J")


def _time(expected: Forecast | None) -> str:
    return "" if expected is None else _span(expected.duration_s, "s")


def _span(range_: Range | None, unit: str) -> str:
    from overwinter.units import format_duration, format_si

    if range_ is None:
        return "unknown"
    if range_.high == 0:
        return "none"
    log = format_duration if unit == "s" else lambda value: format_si(value, unit)
    return f"{log(range_.expected)} ({log(range_.low)} to {log(range_.high)})"
