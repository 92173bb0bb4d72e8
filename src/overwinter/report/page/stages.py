"""The stages of a report: what each cost to produce, by device, and what its gate judged."""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from dataclasses import asdict
from pathlib import Path

from overwinter.energy.record import ENERGY_FILE, EnergyRecord, find_energy
from overwinter.energy.report import MODELLED
from overwinter.ledger import ExecutionRecord
from overwinter.ledger.records import DONE
from overwinter.report.page.content import Device, GateReport, StageFigures
from overwinter.report.summary import StageSummary, summarize
from overwinter.tasks import Measure


def read_stages(
    outputs: Path, stages: Iterable[str], executions: Sequence[ExecutionRecord], headline: Measure | None
) -> tuple[StageFigures, ...]:
    """Return the stages with their figures, in order.

    Args:
        outputs: The folder of outputs.
        stages: The names of the stages.
        executions: The executions of the latest run, for the cost of a stage that it did not finish.
        headline: The task's headline measure; None: unknown.
    """
    ran = {record.stage for record in executions if record.status == DONE}
    rows = summarize(outputs, list(stages), ran, executions, headline)
    return tuple(_figures(row, outputs / row.stage) for row in rows)


def summed(stages: Sequence[StageSummary]) -> StageSummary:
    """Return the sum of what stages cost to produce; a figure that one of them lacks is that of the others."""
    known = [stage for stage in stages if stage.energy_j is not None]
    energy_j = sum(stage.energy_j or 0.0 for stage in known)
    measured_j = sum((stage.energy_j or 0.0) * (stage.measured_fraction or 0.0) for stage in known)
    grams = [stage.carbon_g for stage in known if stage.carbon_g is not None]
    return StageSummary(
        stage="total",
        state="",
        duration_s=sum(stage.duration_s or 0.0 for stage in known),
        energy_j=energy_j,
        # Errors of the stages share one cause (the same counter, the same assumed watts): they add up.
        uncertainty_j=sum(stage.uncertainty_j or 0.0 for stage in known),
        measured_fraction=measured_j / energy_j if energy_j else 0.0,
        carbon_g=sum(grams) if grams else None,
    )


def _figures(row: StageSummary, folder: Path) -> StageFigures:
    energy = find_energy(folder / ENERGY_FILE)
    if energy is None or row.energy_j != energy.energy_j:  # the row is of an attempt without output, or of nothing
        return StageFigures(**asdict(row), gate=_gate(folder / "gate_report.json") if row.state == "refused" else None)
    return StageFigures(
        **asdict(row),
        devices=devices_of(energy),
        idle_j=energy.idle_j,
        power_policy=energy.power_policy,
        cap_bound_fraction=energy.cap_bound_fraction,
        intensity_g_per_kwh=energy.intensity_g_per_kwh,
        intensity_source=energy.intensity_source,
        cost=energy.cost,
        currency=energy.currency,
        warnings=tuple(energy.warnings),
        gate=_gate(folder / "gate_report.json"),
        execution=energy.execution,
    )


def devices_of(energy: EnergyRecord) -> tuple[Device, ...]:
    """Return the joules by device."""
    return tuple(
        Device(
            device=each.device,
            source=each.source,
            measured=each.source != MODELLED,
            energy_j=each.energy_j,
            uncertainty_j=each.uncertainty_j,
            average_w=each.average_w,
            peak_w=each.peak_w,
        )
        for each in energy.components
    )


def _gate(path: Path) -> GateReport | None:
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
        return GateReport(
            passed=bool(content["passed"]),
            mode=str(content["mode"]),
            reasons=tuple((bool(each["ok"]), str(each["message"])) for each in content["reasons"]),
            warnings=tuple(map(str, content["warnings"])),
        )
    except (OSError, ValueError, KeyError, TypeError):
        return None
