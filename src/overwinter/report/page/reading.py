"""Reading the content of a report from a project: outputs, power.csv, events, ledger, budget, sweeps."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime

from overwinter.budget import parse_budget
from overwinter.config import Project, load_config
from overwinter.errors import ConfigError
from overwinter.ledger import Ledger, kept_in, ledger_path
from overwinter.report.headline import headline_of
from overwinter.report.page.accounts import latest_run, ledger_figures, limits_used
from overwinter.report.page.advice import advise
from overwinter.report.page.content import ReportContent, ServedModel
from overwinter.report.page.lineage import amended, lineage_of, outdated
from overwinter.report.page.responses import payback_of, read_evaluation, read_responses
from overwinter.report.page.stages import read_stages, summed
from overwinter.report.page.sweeps import read_sweep_figures
from overwinter.report.page.traces import read_curves, read_power
from overwinter.report.summary import describe_sources


def read_content(project: Project, *, sweep: str | None = None, served: tuple[ServedModel, ...] = ()) -> ReportContent:
    """Return what a report of the project's present results shows.

    Args:
        project: The project.
        sweep: The sweep to show; by default the latest.
        served: The models of a running server.

    Raises:
        ConfigError: no stage has run yet, params.yaml is invalid, or there is no such sweep.
    """
    config = load_config(project)
    headline, budget = headline_of(config), parse_budget(config.budget)
    path = ledger_path(project.root)
    with Ledger.open(path) as opened:
        opened.reap()
        records = opened.executions()
    stages = read_stages(project.outputs, config.pipeline.stages, latest_run(records), headline)
    swept = read_sweep_figures(project, sweep)
    if swept is None and all(stage.energy_j is None for stage in stages):
        raise ConfigError(f"{project.root} has no results to report yet. Run `overwinter run`.")
    run_ids = {record.id: record.run_id for record in records}
    runs_of = {stage.stage: run_ids[stage.execution] for stage in stages if stage.execution in run_ids}
    curves = read_curves(project.state / "runs", runs_of, stages)
    found = read_evaluation(project.outputs, stages)
    responses = None if found is None else read_responses(project.outputs / found[0], found[1], headline)
    payback = None if found is None else payback_of(budget, found[1], stages)
    ledger = ledger_figures(records, kept_in(path.parent))
    power, lineage = read_power(project.outputs, stages), lineage_of(project, stages, records)
    advice = advise(stages, curves, headline, responses, payback, swept, ledger, power)
    return ReportContent(
        project=config.ledger.project or project.root.name,
        written_utc=f"{datetime.now(UTC):%Y-%m-%d %H:%M} UTC",
        stages=stages,
        total=summed(stages),
        sources=describe_sources(list(stages)),
        power=power,
        curves=curves,
        headline=None if headline is None else headline.name,
        responses=responses,
        payback=payback,
        limits=limits_used(budget, stages),
        ledger=ledger,
        lineage=lineage,
        advice=tuple(replace(each, command=each.command and amended(lineage.command, each.command)) for each in advice),
        sweep=swept,
        outdated=outdated(stages, records),
        served=served,
    )
