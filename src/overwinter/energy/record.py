"""energy.json: the cost of producing a stage's outputs, with the same fields for every power policy and grid.

Fields of the meter are defined in `report`, all others here; `EnergyRecord.of` sets their defaults, and
overwinter.pipeline.records their values.
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
    """The content of energy.json: the meter's report, with grid, power policy and resumed costs.

    Attributes:
        schema: The schema version, raised when a field changes its meaning.
        stage: The stage; for a measured command, its name in the ledger.
        execution: The id in the ledger; None if it is not recorded in one.
        cost: Money, in `currency`; None if no price is known.
        currency: The currency, such as EUR.
        carbon_g: Grams of CO2 equivalent; None if not computed.
        intensity_g_per_kwh: The latest carbon intensity.
        intensity_source: The source of the carbon intensity.
        intensity_kind: `average` or `marginal`.
        renewable_share: The renewable share of the electricity, 0 to 1; None if unknown.
        power_policy: The power policy; `none` if there was none.
        power_actuator: The actuator that set the limits; None for none.
        power_note: A note on that kind of limit.
        cap_bound_fraction: The share of the capped time in which the cap slowed the work; None if never capped.
        paused_s: Seconds paused by a duty cycle.
        resumed_j: The part of `energy_j` from earlier attempts, up to the resumed checkpoint.
        resumed_carbon_g: The same part of `carbon_g`.
        resumed_duration_s: The same part of `duration_s`.
        machine: The processor and its number of threads, without which modelled joules cannot be compared; None in
            files of older versions.
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
    machine: str | None = None

    @classmethod
    def of(cls, report: EnergyReport, *, stage: str, **known: Any) -> Self:
        """Return the record of a meter's report; fields that are not in ``known`` get their defaults."""
        metered = {field.name: getattr(report, field.name) for field in fields(EnergyReport)}
        besides = dict.fromkeys(field.name for field in fields(cls))
        besides |= {"schema": _SCHEMA, "power_policy": "none", "power_note": "", "paused_s": 0.0}
        besides |= {"resumed_j": 0.0, "resumed_carbon_g": 0.0, "resumed_duration_s": 0.0}
        values: dict[str, Any] = {**besides, **metered, "stage": stage, **known}
        return cls(**values)


def read_energy(path: Path) -> EnergyRecord:
    """Read an energy.json.

    Raises:
        IntegrityError: it is missing, lacks a figure or contains an invalid one.
    """
    remedy = f"Run `dvc repro -f {path.parent.name}`."
    record = read_record(EnergyRecord, path, remedy=remedy)
    for name in _NEVER_NEGATIVE:
        value = getattr(record, name)
        if value is not None and value < 0:
            raise IntegrityError(f"{path}: {name}={value!r} is not valid. {remedy}")
    return record


def find_energy(path: Path) -> EnergyRecord | None:
    """Read an energy.json; None if it cannot be read."""
    try:
        return read_energy(path)
    except IntegrityError:
        return None
