"""A stage's energy records: energy.json and power.csv."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterable, Iterator
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from overwinter.energy import EnergyRecord
from overwinter.energy.machine import this_machine
from overwinter.files import write_text

if TYPE_CHECKING:
    from overwinter.energy import PowerSample
    from overwinter.ledger import Spent as Resumed
    from overwinter.pipeline.stage import Stage
    from overwinter.pipeline.supervised import Supervised
    from overwinter.pipeline.watch import Spent
    from overwinter.power.control.loop import PowerRecord

_WORTH_A_NOTE_S = 1.0
_COLUMNS = ("time_s", "device", "power_w", "limit_w", "intensity_g_per_kwh")


def energy_record(work: Supervised, spent: Spent, *, execution: str) -> EnergyRecord:
    """Return the content of energy.json: the cost of producing the stage's outputs.

    A stage that resumed from a checkpoint includes the cost of its earlier attempts. The execution's id is recorded,
    so that the ledger can tell which executions a result in use depends on.
    """
    policy = work.control.record() if work.control is not None else None
    record = EnergyRecord.of(
        spent.report,
        stage=work.name,
        execution=execution,
        machine=_machine(),
        **spent.carbon(),
        **(_power(policy) if policy else {}),
    )
    notes = (*spent.notes, *(policy.warnings if policy else ()), *_waits(work))
    record = replace(record, warnings=(*record.warnings, *notes))
    if work.resumed is not None and work.resumed.executions:
        record = _with_resumed(record, work.resumed)
    if work.budget.price_per_j is None:
        return record
    return replace(record, cost=work.budget.price_per_j * record.energy_j, currency=work.budget.currency)


def _waits(work: Supervised) -> Iterator[str]:
    """Yield what waiting for other runs means for the figures."""
    devices = work.devices
    waited_s = work.waited_s + (devices.waited_s if devices is not None else 0.0)
    if waited_s >= _WORTH_A_NOTE_S:
        yield f"the stage waited {waited_s:.0f} s for other runs, which count neither as time nor as energy"
    if devices is not None and devices.trouble:
        yield devices.trouble


def _machine() -> str:
    machine = this_machine()
    return f"{machine.cpu_name}, {machine.threads} threads"


def _power(policy: PowerRecord) -> dict[str, Any]:
    return {
        "power_policy": policy.power_policy,
        "power_actuator": policy.actuator,
        "power_note": policy.note,
        "cap_bound_fraction": policy.cap_bound_fraction,
        "paused_s": policy.paused_s,
    }


def _with_resumed(record: EnergyRecord, resumed: Resumed) -> EnergyRecord:
    # The earlier attempts were metered in the same way, so the same relative uncertainty and idle share are assumed.
    ratio = 1 + resumed.energy_j / record.energy_j if record.energy_j > 0 else 1.0
    return replace(
        record,
        energy_j=record.energy_j + resumed.energy_j,
        carbon_g=(record.carbon_g or 0.0) + resumed.carbon_g,
        duration_s=record.duration_s + resumed.duration_s,
        uncertainty_j=record.uncertainty_j * ratio,
        idle_j=None if record.idle_j is None else record.idle_j * ratio,
        above_idle_j=None if record.above_idle_j is None else record.above_idle_j * ratio,
        resumed_j=resumed.energy_j,
        resumed_carbon_g=resumed.carbon_g,
        resumed_duration_s=resumed.duration_s,
    )


def write_power_csv(stage: Stage, samples: Iterable[PowerSample], spent: Spent) -> None:
    """Write the power samples as power.csv, for the stage's plot."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(_COLUMNS)
    for sample in samples:
        limit_w = "" if sample.limit_w is None else f"{sample.limit_w:.3f}"
        writer.writerow(
            [
                f"{sample.time_s:.3f}",
                sample.device,
                f"{sample.power_w:.3f}",
                limit_w,
                f"{spent.intensity.g_per_kwh:g}",
            ]
        )
    write_text(stage.out("power.csv"), text.getvalue())
