"""energy.json: what it cost to produce a stage's outputs, in one shape whatever the power policy and the grid.

A field of the meter's is added in `report`, one of what surrounds it here; `EnergyRecord.of` says what it is where
no one knows better, and overwinter.pipeline.records fills it in.
"""

from __future__ import annotations

from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any, Self

from overwinter.energy.report import EnergyReport
from overwinter.errors import IntegrityError
from overwinter.records import read_record

ENERGY_FILE = "energy.json"
_SCHEMA = 2
_NEVER_NEGATIVE = ("duration_s", "energy_j", "uncertainty_j", "measured_fraction", "carbon_g")


@dataclass(frozen=True, kw_only=True)
class EnergyRecord(EnergyReport):
    """The content of energy.json: the meter's report, with grid, power policy and what was resumed.

    Attributes:
        schema: of this shape, raised when a field changes its meaning.
        stage: whose cost it is; of a command that was measured, its name in the ledger.
        execution: its id in the ledger; None: it is not in one.
        cost: money, in `currency`; None where no price is known.
        currency: such as EUR.
        carbon_g: grams of CO2 equivalent; None where they were not weighed.
        intensity_g_per_kwh: of the electricity, the latest.
        intensity_source: who says so.
        intensity_kind: `average` or `marginal`.
        renewable_share: of the electricity, 0 to 1; None where the source does not say.
        power_policy: its name; `none` where nothing governed the power.
        power_actuator: what set the limits; None: nothing did.
        power_note: what a reader must know of that kind of limit.
        cap_bound_fraction: share of the capped time in which the cap held the work back; None: never capped.
        paused_s: what a duty cycle has paused.
        resumed_j: of `energy_j`, what earlier attempts had spent up to the checkpoint that this one went on from.
        resumed_carbon_g: of `carbon_g`, the same.
        resumed_duration_s: of `duration_s`, the same.
    """

    schema: int
    stage: str
    execution: str | None
    cost: float | None
    currency: str | None
    carbon_g: float | None
    intensity_g_per_kwh: float | None
    intensity_source: str | None
    intensity_kind: str | None
    renewable_share: float | None
    power_policy: str
    power_actuator: str | None
    power_note: str
    cap_bound_fraction: float | None
    paused_s: float
    resumed_j: float
    resumed_carbon_g: float
    resumed_duration_s: float

    @classmethod
    def of(cls, report: EnergyReport, *, stage: str, **known: Any) -> Self:
        """Return the record of a meter's report; what is not ``known`` besides is unknown, none or zero."""
        metered = {field.name: getattr(report, field.name) for field in fields(EnergyReport)}
        besides = dict.fromkeys(field.name for field in fields(cls))
        besides |= {"schema": _SCHEMA, "power_policy": "none", "power_note": "", "paused_s": 0.0}
        besides |= {"resumed_j": 0.0, "resumed_carbon_g": 0.0, "resumed_duration_s": 0.0}
        values: dict[str, Any] = {**besides, **metered, "stage": stage, **known}
        return cls(**values)


def read_energy(path: Path) -> EnergyRecord:
    """Read an energy.json.

    Raises:
        IntegrityError: it is missing, lacks a figure or holds an impossible one.
    """
    remedy = f"Run `dvc repro -f {path.parent.name}`."
    record = read_record(EnergyRecord, path, remedy=remedy)
    for name in _NEVER_NEGATIVE:
        value = getattr(record, name)
        if value is not None and value < 0:
            raise IntegrityError(f"{path}: {name}={value!r} is not valid. {remedy}")
    return record


def find_energy(path: Path) -> EnergyRecord | None:
    """Read an energy.json; None where there is none that can be read."""
    try:
        return read_energy(path)
    except IntegrityError:
        return None
