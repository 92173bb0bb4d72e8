"""`overwinter run [overrides]`: compose, plan, `dvc repro`, and the closing table."""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Sequence
from typing import TYPE_CHECKING

from overwinter.errors import EXIT_DONE, ConfigError, RefusedError

if TYPE_CHECKING:
    from overwinter.config import Project
    from overwinter.report import StageSummary


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the overrides and the output's form."""
    parser.add_argument("overrides", nargs="*", metavar="key=value", help="Hydra overrides, such as train.epochs=5")
    parser.add_argument("-m", "--multirun", action="store_true", help="sweep over several values (not there yet)")
    parser.add_argument("--json", action="store_true", help="print the table as JSON on standard output")


def run(arguments: argparse.Namespace) -> int:
    """Reproduce the pipeline; return 0, or the exit code of the program that stopped it."""
    if arguments.multirun:
        raise ConfigError("Sweeps (-m) are not there yet. Run the values one by one: stages they share run once.")
    from rich.console import Console

    from overwinter.config import find_project, load_config
    from overwinter.pipeline.composing import write_composed
    from overwinter.pipeline.reproduce import reproduce
    from overwinter.report import progress_for, summarize

    project = find_project()
    _refuse_beyond_budget(project, arguments.overrides)
    write_composed(project, arguments.overrides)
    progress = progress_for(Console(stderr=True))
    try:
        outcome = reproduce(project, progress)
    finally:
        progress.close()
    rows = summarize(project.outputs, load_config(project).pipeline.stages, outcome.ran)
    if arguments.json:
        print(json.dumps({"run_id": outcome.run_id, "stages": [row.to_json() for row in rows]}, indent=2))
    else:
        _print_table(rows)
    if outcome.exit_code != EXIT_DONE:
        print(f"overwinter: {outcome.message}", file=sys.stderr)
    return outcome.exit_code


def _refuse_beyond_budget(project: Project, overrides: Sequence[str]) -> None:
    """Plan first: a run that the budget cannot hold is refused before anything is spent or written."""
    from overwinter.pipeline.outlook import look_ahead
    from overwinter.pipeline.plan import make_plan

    verdict = look_ahead(make_plan(project, overrides), project).verdict
    if not verdict.passed:
        raise RefusedError(f"the budget cannot hold this run; nothing was started.\n{verdict.refusal()}")


def _print_table(rows: list[StageSummary]) -> None:
    from rich.console import Console

    from overwinter.report.summary import describe_sources, render_summary

    console = Console(width=None if sys.stdout.isatty() else 140)
    console.print(render_summary(rows))
    console.print(describe_sources(rows), style="dim")
