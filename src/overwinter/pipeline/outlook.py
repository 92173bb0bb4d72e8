"""The forecast costs of a plan, from the ledger's history, judged against the budget."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from overwinter.budget import Forecast, Verdict, judge_plan, parse_budget
from overwinter.config import Project
from overwinter.energy.record import ENERGY_FILE, find_energy
from overwinter.errors import OverwinterError
from overwinter.files import digest
from overwinter.ledger import Ledger, Spent, checkpoint_folder, has_checkpoint, ledger_path
from overwinter.pipeline.history import History, restoring
from overwinter.pipeline.identity import artifacts_read, lineage
from overwinter.pipeline.plan import PipelinePlan
from overwinter.pipeline.prefix import prefix_keys


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
    prefixes = prefix_keys(config, project, plan.parameters)
    with Ledger.open(ledger_path(project.root)) as ledger:
        ledger.reap()
        history = History(ledger.executions())
        forecasts: dict[str, Forecast] = {}
        restored: set[str] = set()
        spent: dict[str, Spent] = {}
        for stage in (name for name in config.pipeline.stages if name in runs):
            present = _present(plan, project, stage, runs)
            key = None if present is None else digest(present)
            waits = not (runs - restored).isdisjoint(config.pipeline.stages[stage].needs)
            if not waits and history.is_done(stage, prefix_key=prefixes[stage], configuration_key=key):
                restored.add(stage)
                forecasts[stage] = restoring(stage)
                continue
            inputs = None if present is None else artifacts_read(present)
            forecasts[stage] = history.forecast(config, stage, prefixes, configuration_key=key, inputs=inputs)
            if forecasts[stage].energy_j is None and key is not None and probe is not None:
                forecasts[stage] = probe(stage)
            key = key or history.configuration_key(stage, prefixes[stage])
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


def _present(plan: PipelinePlan, project: Project, stage: str, runs: set[str]) -> dict[str, Any] | None:
    """Return the stage's lineage, if the inputs in outputs/ are those that it will read."""
    if not runs.isdisjoint(plan.config.pipeline.stages[stage].needs):
        return None  # a run or DVC's cache will replace them
    try:
        return lineage(plan.config, project, stage)
    except OverwinterError:
        return None


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
