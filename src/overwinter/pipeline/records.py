"""What a stage leaves about its energy: the content of energy.json, and power.csv."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

from overwinter.files import write_text

if TYPE_CHECKING:
    from overwinter.energy import PowerSample
    from overwinter.pipeline.stage import Stage
    from overwinter.pipeline.watch import Spent

_COLUMNS = ("time_s", "device", "power_w", "limit_w", "intensity_g_per_kwh")


def energy_record(stage: Stage, spent: Spent, *, execution: str) -> dict[str, Any]:
    """Return the content of energy.json: the cost to produce what the stage made.

    A stage that went on from a checkpoint carries what its earlier attempts had spent up to there. The execution is
    named, so that the ledger knows which of them a result in use rests on.
    """
    record: dict[str, Any] = {"schema": 1, "stage": stage.name, "execution": execution, **spent.report.to_json()}
    record["carbon_g"] = spent.carbon_g
    record["intensity_g_per_kwh"] = spent.intensity.g_per_kwh
    record["intensity_source"] = spent.intensity.source
    record["intensity_kind"] = spent.intensity.kind
    record["renewable_share"] = spent.intensity.renewable_share
    record["warnings"] = [*record["warnings"], *spent.notes]
    record |= _power(stage)
    record["resumed_j"] = 0.0
    if stage.resumed is not None and stage.resumed.executions:
        _add_resumed(record, stage.resumed)
    return record


def _power(stage: Stage) -> dict[str, Any]:
    if stage.control is None:
        return {"power_policy": "none", "cap_bound_fraction": None}
    record = stage.control.record()
    return {
        "power_policy": record.power_policy,
        "power_actuator": record.actuator,
        "power_note": record.note,
        "cap_bound_fraction": record.cap_bound_fraction,
        "paused_s": record.paused_s,
        "power_warnings": list(record.warnings),
    }


def _add_resumed(record: dict[str, Any], resumed: Any) -> None:
    fresh_j = record["energy_j"]
    if fresh_j > 0:  # the earlier attempts were metered alike, so their uncertainty is taken as alike
        for name in ("uncertainty_j", "idle_j", "above_idle_j"):
            if record[name] is not None:
                record[name] *= 1 + resumed.energy_j / fresh_j
    record["energy_j"] += resumed.energy_j
    record["carbon_g"] += resumed.carbon_g
    record["duration_s"] += resumed.duration_s
    record["resumed_j"] = resumed.energy_j


def write_power_csv(stage: Stage, samples: Iterable[PowerSample], spent: Spent) -> None:
    """Write the samples of power as the stage's plot."""
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
