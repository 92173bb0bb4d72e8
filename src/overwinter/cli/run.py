"""`overwinter run [overrides]`: compose, plan, `dvc repro`, and print a summary table."""

from __future__ import annotations

import argparse
import contextlib
import json
import sys
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any

from overwinter.cli import sweep, sweep_front
from overwinter.errors import EXIT_DONE, EXIT_REFUSED, ConfigError, RefusedError

if TYPE_CHECKING:
    from overwinter.config import Project
    from overwinter.ledger import ExecutionRecord
    from overwinter.pipeline.plan import PipelinePlan
    from overwinter.pipeline.reproduce import Reproduction
    from overwinter.report import StageSummary

_NAMED = 3  # maximum number of changed settings to list before a run


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the overrides and the output format."""
    parser.add_argument("overrides", nargs="*", metavar="key=value", help="Hydra overrides, such as train.epochs=5")
    parser.add_argument("-m", "--multirun", action="store_true", help="sweep: run every combination, as of seed=1,2")
    parser.add_argument("--json", action="store_true", help="print the table as JSON on standard output")
    parser.add_argument(
        "--track",
        action="append",
        default=[],
        metavar="NAME",
        help="send the curves of every stage to tensorboard or mlflow, too; may be repeated",
    )
    sweep.add_arguments(parser)
    sweep_front.add_arguments(parser)


def run(arguments: argparse.Namespace) -> int:
    """Reproduce the pipeline; return 0, or the exit code of the program that stopped it."""
    if arguments.multirun and arguments.track:
        raise ConfigError("--track follows one run. Leave it out of a sweep.")
    if arguments.multirun:
        sweep_front.refuse_pick(arguments)
        return sweep.run(arguments)
    sweep.refuse_stray(arguments, but=("until",))
    from overwinter.config import find_project, load_config
    from overwinter.pipeline.render import stages_until
    from overwinter.report import summarize
    from overwinter.report.headline import headline_of

    project = find_project()
    outcome = _reproduced(project, sweep_front.picked_overrides(arguments), arguments)
    executions = _executions(project, outcome.run_id)
    config = load_config(project)
    stages = stages_until(arguments.until, config)
    rows = summarize(project.outputs, stages, outcome.ran, executions, headline_of(config))
    if arguments.json:
        print(json.dumps({"run_id": outcome.run_id, "stages": [row.to_json() for row in rows]}, indent=2))
    else:
        _print_table(rows)
    if outcome.exit_code != EXIT_DONE:
        print(f"{outcome.traceback}overwinter: {outcome.message}", file=sys.stderr)
    return outcome.exit_code


def _executions(project: Project, run_id: str) -> list[ExecutionRecord]:
    """Return the ledger's records of this run; none if the ledger cannot be read, which was reported before."""
    from overwinter.errors import OverwinterError
    from overwinter.ledger import Filter, Ledger, ledger_path

    with Ledger.open(ledger_path(project.root)) as ledger:
        ledger.reap()
        try:
            return ledger.executions(Filter(run_id=run_id))
        except OverwinterError:
            return []


def _reproduced(project: Project, overrides: Sequence[str], arguments: argparse.Namespace) -> Reproduction:
    """Run, or only up to a stage and its gate.

    If the budget refuses in the mode `degrade`, recompose with the next fallback and run again.

    Raises:
        RefusedError: The plan exceeds the budget, and no fallback is left.
    """
    from overwinter.pipeline.degrading import record_fallback

    attempts = _attempts(project, overrides)
    current = next(attempts)
    while True:
        following = None
        try:
            outcome = _attempt(project, current, arguments.until, arguments.track)
            if outcome.exit_code != EXIT_REFUSED or (following := next(attempts, None)) is None:
                return outcome
            refusal = outcome.message
        except RefusedError as error:
            if (following := next(attempts, None)) is None:
                raise
            refusal = str(error)
        added = " ".join(following[len(overrides) :])
        print(f"overwinter: {refusal}\noverwinter: degrading: {added}", file=sys.stderr)
        record_fallback(project, following, added, refusal)
        current = following


def _attempts(project: Project, overrides: Sequence[str]) -> Iterator[list[str]]:
    """Yield the overrides; after a refusal in the mode `degrade`, also with each fallback."""
    from overwinter.budget import parse_budget
    from overwinter.config import compose, validate

    yield list(overrides)
    budget = parse_budget(validate(compose(project, overrides)).budget)
    for fallback in budget.fallbacks if budget.mode == "degrade" else ():
        yield [*overrides, *fallback]


def _attempt(project: Project, overrides: Sequence[str], until: str | None, track: Sequence[str]) -> Reproduction:
    from rich.console import Console

    from overwinter.pipeline.composing import write_rendered
    from overwinter.pipeline.render import gate_name, render_dvc_yaml, stages_until
    from overwinter.pipeline.reproduce import new_run_id, reproduce
    from overwinter.report import progress_for
    from overwinter.tracking import open_tracking

    plan = _look_ahead(project, overrides)
    targets = () if until is None else (gate_name(stages_until(until, plan.config)[-1]),)
    run_id = new_run_id()
    tracking = open_tracking(track, folder=project.state, run=run_id, log=_warn)  # refuses before a file is changed
    with contextlib.closing(tracking):
        if replaced := _replaced(plan, project):
            _warn(replaced)
        write_rendered(project, plan.params, plan.config, dvc_yaml=render_dvc_yaml(plan.config, project))
        with contextlib.closing(progress_for(Console(stderr=True))) as progress:

            def on_event(event: dict[str, Any]) -> None:
                progress(event)
                tracking(event)

            return reproduce(project, on_event, targets=targets, run_id=run_id)


def _warn(text: str) -> None:
    print(f"overwinter: {text}", file=sys.stderr)


def _look_ahead(project: Project, overrides: Sequence[str]) -> PipelinePlan:
    """Plan, and refuse a run over the budget before anything is spent or written."""
    from overwinter.data.local_files import check_data
    from overwinter.pipeline.outlook import look_ahead
    from overwinter.pipeline.plan import make_plan

    plan = make_plan(project, overrides)
    check_data(plan.config)
    verdict = look_ahead(plan, project).verdict
    if not verdict.passed:
        raise RefusedError(f"this run exceeds the budget; nothing was started.\n{verdict.refusal()}")
    return plan


def _replaced(plan: PipelinePlan, project: Project) -> str:
    """Return a text that lists the settings that differ from those of the present outputs; empty if none do."""
    from overwinter.energy.record import ENERGY_FILE

    made = [stage for stage in plan.stages if (project.outputs / stage.name / ENERGY_FILE).exists()]
    changed = list(dict.fromkeys(reason for stage in made for reason in stage.reasons if " -> " in reason))
    if not changed:
        return ""
    more = f" and {len(changed) - _NAMED} more" if len(changed) > _NAMED else ""
    return (
        f"outputs of another configuration will be replaced ({'; '.join(changed[:_NAMED])}{more}); DVC's cache keeps "
        "them.\nTo make this configuration the default, write it into configs/ (config.yaml names each group's choice)."
    )


def _print_table(rows: list[StageSummary]) -> None:
    from rich.console import Console

    from overwinter.report.fitting import fitted
    from overwinter.report.summary import LEAST_IMPORTANT, describe_sources, render_summary

    console = Console(width=None if sys.stdout.isatty() else 140)
    console.print(fitted(console, lambda without: render_summary(rows, without), LEAST_IMPORTANT))
    console.print(describe_sources(rows), style="dim")
