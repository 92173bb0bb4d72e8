"""The forecast costs of a plan, from the ledger's history, judged against the budget."""

from __future__ import annotations

import platform
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from overwinter.budget import Forecast, Range, Verdict, forecast, judge_plan, parse_budget
from overwinter.config import Project
from overwinter.energy.record import ENERGY_FILE, find_energy
from overwinter.errors import OverwinterError
from overwinter.ledger import ExecutionRecord, Ledger, Spent, checkpoint_folder, has_checkpoint, ledger_path
from overwinter.pipeline.identity import artifacts_read, configuration_key, declared_work, likeness, lineage
from overwinter.pipeline.plan import PipelinePlan

_NOTHING = Range(low=0.0, expected=0.0, high=0.0)


@dataclass(frozen=True, kw_only=True)
class Outlook:
    """The forecast costs of a plan.

    Attributes:
        forecasts: Forecasts of the stages that would run, by name.
        restored: Stages that ran before on the same inputs and parameters, so DVC restores them from its cache.
        verdict: The budget's verdict on the whole plan, including reused results.
    """

    forecasts: dict[str, Forecast]
    restored: frozenset[str]
    verdict: Verdict


def look_ahead(plan: PipelinePlan, project: Project, probe: Callable[[str], Forecast] | None = None) -> Outlook:
    """Forecast every stage that would run, and judge the sum against the budget.

    Args:
        plan: The plan.
        project: The project.
        probe: A function that probes a stage without history whose inputs exist; without it, such a stage is unknown.
    """
    config = plan.config
    runs = {stage.name for stage in plan.stages if stage.runs}
    with Ledger.open(ledger_path(project.root)) as ledger:
        ledger.reap()
        records = ledger.executions()
        forecasts: dict[str, Forecast] = {}
        restored: set[str] = set()
        spent: dict[str, Spent] = {}
        for stage in config.pipeline.stages:
            if stage not in runs:
                continue
            key = _known_key(plan, project, stage, runs - restored)
            if key is not None and _done_before(records, stage, key):
                restored.add(stage)
                forecasts[stage] = Forecast(
                    stage=stage, basis="restored", energy_j=_NOTHING, carbon_g=_NOTHING, duration_s=_NOTHING
                )
                continue
            forecasts[stage] = forecast(
                records,
                stage=stage,
                configuration_key=key,
                work=declared_work(config, stage),
                workload=likeness(config, stage),
                inputs=artifacts_read(lineage(config, project, stage)) if key is not None else None,
                host=platform.node(),
            )
            if forecasts[stage].energy_j is None and key is not None and probe is not None:
                forecasts[stage] = probe(stage)
            if key is not None and has_checkpoint(checkpoint_folder(project.state, stage, key)):
                spent[stage] = ledger.earlier(stage=stage, configuration_key=key)
    reused = _cost_of_reused(project, [stage for stage in config.pipeline.stages if stage not in runs])
    verdict = judge_plan(
        parse_budget(config.budget),
        forecasts=list(forecasts.values()),
        spent_run=_sum([reused, *spent.values()]),
        spent_stages=spent,
    )
    return Outlook(forecasts=forecasts, restored=frozenset(restored), verdict=verdict)


def _known_key(plan: PipelinePlan, project: Project, stage: str, running: set[str]) -> str | None:
    """Return the stage's configuration key, if its current inputs will be those of the run."""
    if any(need in running for need in plan.config.pipeline.stages[stage].needs):
        return None
    try:
        return configuration_key(plan.config, project, stage)
    except OverwinterError:
        return None


def _done_before(records: Sequence[ExecutionRecord], stage: str, key: str) -> bool:
    return any(
        record.stage == stage and record.configuration_key == key and record.status == "done" for record in records
    )


def _cost_of_reused(project: Project, stages: Sequence[str]) -> Spent:
    found = (find_energy(project.outputs / stage / ENERGY_FILE) for stage in stages)
    return _sum(
        [
            Spent(energy_j=energy.energy_j, carbon_g=energy.carbon_g or 0.0, duration_s=energy.duration_s)
            for energy in found
            if energy is not None  # without an output, the gate reports it
        ]
    )


def _sum(parts: Sequence[Spent]) -> Spent:
    return Spent(
        energy_j=sum(part.energy_j for part in parts),
        carbon_g=sum(part.carbon_g for part in parts),
        duration_s=sum(part.duration_s for part in parts),
        executions=tuple(name for part in parts for name in part.executions),
    )
