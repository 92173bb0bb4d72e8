"""The summary table of a run: the costs and the result of each stage, and whether it ran or was reused."""

from __future__ import annotations

import json
from collections.abc import Collection, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from overwinter.energy.record import ENERGY_FILE, find_energy
from overwinter.errors import IntegrityError
from overwinter.ledger import total, total_spent
from overwinter.ledger.records import DONE
from overwinter.metrics import CandidateMetrics, EvaluationMetrics, ModelMetrics, read_metrics
from overwinter.units import format_bytes, format_duration, format_si

if TYPE_CHECKING:
    from rich.table import Table

    from overwinter.ledger import ExecutionRecord
    from overwinter.tasks import Measure

_PASSED = ("run", "reused")
LEAST_IMPORTANT = ("carbon", "size", "quality")  # columns left out on a narrow terminal, in this order


@dataclass(frozen=True, kw_only=True)
class StageSummary:
    """One row of the table. None means unknown.

    Attributes:
        stage: The stage's name.
        state: `run`, `reused`, `refused` or `not judged` by its gate, `missing`, or `not reached` after one of these;
            for an execution that did not finish, its status in the ledger, such as `failed`.
        duration_s: Seconds to produce the current output, or of the attempt without output, with resumed attempts.
        energy_j: Joules of the same.
        uncertainty_j: Uncertainty of `energy_j`.
        measured_fraction: Share of `energy_j` measured by counters.
        carbon_g: Grams of CO2 equivalent.
        quality: The model's quality, such as `accuracy 98.6 %`.
        size_bytes: Size of the model on disk.
    """

    stage: str
    state: str
    duration_s: float | None = None
    energy_j: float | None = None
    uncertainty_j: float | None = None
    measured_fraction: float | None = None
    carbon_g: float | None = None
    quality: str | None = None
    size_bytes: float | None = None

    def to_json(self) -> dict[str, Any]:
        """Return the row as a mapping."""
        return asdict(self)


def summarize(
    outputs: Path,
    stages: Collection[str],
    ran: Collection[str],
    executions: Sequence[ExecutionRecord] = (),
    headline: Measure | None = None,
) -> list[StageSummary]:
    """Return one row per stage, in order, from the files in ``outputs``.

    Outputs after a stage that did not pass are from an earlier run with other parameters, and are not reported. An
    attempt that did not finish leaves none: where there are some, DVC has restored them since.

    Args:
        outputs: The project's folder of outputs.
        stages: The pipeline's stages.
        ran: The stages that ran in this run.
        executions: This run's executions, oldest first, for the cost of stages without output.
        headline: The task's headline measure, to describe figures of that name; None: unknown.
    """
    rows: list[StageSummary] = []
    for stage in stages:
        attempts = [each for each in executions if each.stage == stage]
        if attempts and attempts[-1].status != DONE and not (outputs / stage / ENERGY_FILE).exists():
            rows.append(_attempted(stage, attempts))
            continue
        stopped = any(row.state not in _PASSED for row in rows)
        old = stopped and stage not in ran
        rows.append(
            StageSummary(stage=stage, state="not reached")
            if old
            else _row(outputs / stage, stage, stage in ran, headline)
        )
    return rows


def render_summary(rows: list[StageSummary], without: Collection[str] = ()) -> Table:
    """Return the rows as a table, with a total; ``without`` names columns to leave out."""
    from rich.box import SIMPLE_HEAD
    from rich.table import Table

    table = Table(box=SIMPLE_HEAD, show_footer=True)
    columns = _columns([row for row in rows if row.energy_j is not None])
    kept = [place for place, (title, _) in enumerate(columns) if title not in without]
    for title, footer in (columns[place] for place in kept):
        left = title in ("stage", "quality", "")
        table.add_column(title, footer=footer, justify="left" if left else "right", overflow="fold")
    for row in rows:
        cells = _cells(row)
        table.add_row(*(cells[place] for place in kept))
    return table


def describe_sources(rows: list[StageSummary]) -> str:
    """Return a line on the share of joules that was measured."""
    energy_j = sum(row.energy_j or 0.0 for row in rows)
    measured_j = sum((row.energy_j or 0.0) * (row.measured_fraction or 0.0) for row in rows)
    if energy_j == 0:
        return "No energy was recorded."
    share = measured_j / energy_j
    if share == 0:
        return "Joules are modelled from CPU time and memory: no counter can be read here (`overwinter doctor`)."
    return f"{share:.0%} of the joules were measured by counters; the rest is modelled."


def _row(folder: Path, stage: str, ran: bool, headline: Measure | None) -> StageSummary:
    energy, model = find_energy(folder / ENERGY_FILE), _model(folder / "metrics.json")
    if energy is None:
        return StageSummary(stage=stage, state="missing")
    state = _state(folder, ran)
    return StageSummary(
        stage=stage,
        state=state,
        quality=_quality(model, headline),
        size_bytes=model.size_bytes,
        duration_s=energy.duration_s,
        energy_j=energy.energy_j,
        uncertainty_j=energy.uncertainty_j,
        measured_fraction=energy.measured_fraction,
        carbon_g=energy.carbon_g,
    )


def _attempted(stage: str, attempts: Sequence[ExecutionRecord]) -> StageSummary:
    """Return the row of a stage without output: its costs, with those of resumed attempts."""
    own, spent = total(stage, attempts), total_spent(attempts)
    known = own.unknown < own.executions
    return StageSummary(
        stage=stage,
        state=attempts[-1].status,
        duration_s=spent.duration_s if any(each.duration_s is not None for each in attempts) else None,
        energy_j=spent.energy_j if known else None,
        # Earlier attempts were metered in the same way, so the same relative uncertainty is assumed.
        uncertainty_j=own.uncertainty_j * (spent.energy_j / own.energy_j if own.energy_j else 1.0) if known else None,
        measured_fraction=own.measured_fraction if known else None,
        carbon_g=spent.carbon_g if known else None,
    )


def _state(folder: Path, ran: bool) -> str:
    if (folder / "gate.json").exists():
        return "run" if ran else "reused"
    return "refused" if _read(folder / "gate_report.json").get("passed") is False else "not judged"


def _columns(rows: list[StageSummary]) -> list[tuple[str, str]]:
    """Return the columns' titles and totals."""
    energy_j = sum(row.energy_j or 0.0 for row in rows)
    # Errors of the stages have a common cause (the same assumed watts), so they add up linearly.
    uncertainty_j = sum(row.uncertainty_j or 0.0 for row in rows)
    return [
        ("stage", "total"),
        ("time", format_duration(sum(row.duration_s or 0.0 for row in rows)) if rows else ""),
        ("energy", _energy(energy_j, uncertainty_j) if rows else "unknown"),
        ("carbon", format_si(sum(row.carbon_g or 0.0 for row in rows), "gCO2e") if rows else ""),
        ("quality", ""),
        ("size", ""),
        ("", ""),
    ]


def _cells(row: StageSummary) -> list[str]:
    return [
        row.stage,
        "" if row.duration_s is None else format_duration(row.duration_s),
        "" if row.energy_j is None else _energy(row.energy_j, row.uncertainty_j or 0.0),
        "" if row.carbon_g is None else format_si(row.carbon_g, "gCO2e"),
        row.quality or "",
        "" if row.size_bytes is None else format_bytes(row.size_bytes),
        row.state,
    ]


def _energy(energy_j: float, uncertainty_j: float) -> str:
    return f"{format_si(energy_j, 'J')} ± {format_si(uncertainty_j, 'J')}"


def _quality(model: ModelMetrics | CandidateMetrics, headline: Measure | None) -> str | None:
    if model.quality is None:
        return None
    known = headline is not None and headline.name == model.headline
    words = headline.describe_named(model.quality) if headline and known else f"{model.headline} {model.quality:.4g}"
    return f"{words} (of {model.origin})" if model.origin else words


def _model(path: Path) -> ModelMetrics | CandidateMetrics:
    """Return the model's metrics of a stage; empty metrics if they cannot be read."""
    try:
        metrics = read_metrics(path, remedy="Run `dvc repro`.")
    except IntegrityError:
        return ModelMetrics()
    return metrics.chosen if isinstance(metrics, EvaluationMetrics) else metrics


def _read(path: Path) -> dict[str, Any]:
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return content if isinstance(content, dict) else {}
