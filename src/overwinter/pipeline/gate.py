"""The gate after a stage: it judges the stage's costs and quality before later stages may run.

The gate depends on energy.json, which changes with every run; later stages depend only on gate.json, which contains
the verdict and no numbers. So new joules for the same model rerun only the gate, and so does a raised budget.
gate.json exists only after a pass: `dvc exp save` could otherwise save a refused one, and later stages would run.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

from overwinter.budget import ModelFigures, Verdict, judge, parse_budget
from overwinter.config import Config, Project, find_project, load_config
from overwinter.energy.record import ENERGY_FILE, read_energy
from overwinter.errors import ConfigError, RefusedError
from overwinter.files import read_json, write_json
from overwinter.metrics import Comparison, evaluation_metrics
from overwinter.pipeline.events import emit
from overwinter.pipeline.finished import forget_committed
from overwinter.pipeline.parent_watch import experiment, run_id, watch_parent
from overwinter.pipeline.render import gate_name
from overwinter.records import read_record

if TYPE_CHECKING:
    from overwinter.tasks import Measure


def run_gate(stage: str) -> int:
    """Judge the costs of ``stage`` and of the stages before it, and the quality of its model.

    Raises:
        RefusedError: the gate refuses; the figures are in gate_report.json and in the ledger.
        ConfigError: there is no such stage.
        IntegrityError: a file to judge is missing or unreadable.
    """
    watch_parent()
    emit("start", gate_name(stage))
    project = find_project()
    forget_committed(project)
    config = load_config(project)
    folder = project.outputs / stage
    (folder / "gate.json").unlink(missing_ok=True)
    verdict = _judged(stage, config, project)
    write_json(folder / "gate_report.json", verdict.to_json())
    for warning in verdict.warnings:
        _log(stage, warning)
    if not verdict.passed:
        _record_refusal(stage, verdict, project, config)
        raise RefusedError(f"the gate after {stage} refuses.\n{verdict.refusal()}")
    write_json(folder / "gate.json", {"stage": stage, "pass": True})
    return 0


def _judged(stage: str, config: Config, project: Project) -> Verdict:
    names = list(config.pipeline.stages)
    if stage not in names:
        raise ConfigError(f"There is no stage {stage!r}. Stages: {', '.join(names)}.")
    judged = names[: names.index(stage) + 1]
    metrics = [_metrics(project, name) for name in (stage, names[0])]
    figures: Sequence[Mapping[str, Any]] = metrics
    folder, remedy = project.outputs / stage, f"Run `dvc repro {stage}`."
    evaluation = evaluation_metrics(metrics[0], where=str(folder / "metrics.json"), remedy=remedy)
    if evaluation is not None:
        candidates = read_record(Comparison, folder / "comparison.json", remedy=remedy).candidates
        figures = [candidates.get(each.name, {}) for each in (evaluation.chosen, evaluation.dense)]
    return judge(
        parse_budget(config.budget),
        stage=stage,
        energy={name: read_energy(project.outputs / name / ENERGY_FILE) for name in judged},
        figures=ModelFigures(
            find_headline=lambda: _headline(config),
            model=figures[0],
            dense=figures[1],
        ),
        evaluation=evaluation,
    )


def _headline(config: Config) -> Measure:
    from overwinter.tasks import find_headline  # loads numpy

    return find_headline(config.task, trusted=config.trusted_targets)


def _metrics(project: Project, stage: str) -> dict[str, Any]:
    content: dict[str, Any] = read_json(project.outputs / stage / "metrics.json", remedy=f"Run `dvc repro {stage}`.")
    return content


def _log(stage: str, text: str) -> None:
    print(f"{gate_name(stage)}: {text}", flush=True)
    emit("say", gate_name(stage), text=text)


def _record_refusal(stage: str, verdict: Verdict, project: Project, config: Config) -> None:
    """Record the refusal in the ledger, since DVC keeps nothing of a failed stage."""
    from overwinter.ledger import Ledger, ledger_path, origin_of

    with Ledger.open(ledger_path(project.root)) as ledger:
        execution = ledger.begin(
            stage=gate_name(stage),
            run_id=run_id(),
            configuration_key="",
            experiment=experiment(),
            origin=origin_of(ledger.path, **asdict(config.ledger)),
        )
        execution.finish(
            status="refused",
            exit_code=RefusedError.exit_code,
            metrics=verdict.to_json(),
            message=verdict.refusal(),
        )
