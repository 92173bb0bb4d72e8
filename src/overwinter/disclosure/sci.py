"""Software Carbon Intensity (ISO/IEC 21031:2024, https://sci.greensoftware.foundation): grams per functional unit.

SCI = (E * I + M) / R. E * I is the carbon that the ledger has, each joule at the intensity when it was used. M, the
share of the hardware's embodied carbon, and R, the functional unit, are not in any meter: they are declared, or the
score is null.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from overwinter.errors import ConfigError
from overwinter.ledger import ExecutionRecord

_J_PER_KWH = 3.6e6


@dataclass(frozen=True, kw_only=True)
class Embodied:
    """The declared embodied carbon of the hardware, M = TE * TS * RS.

    Attributes:
        total_g: Grams of CO2 equivalent of making and disposing of the whole hardware (TE).
        lifetime_s: Its expected lifetime in seconds, over which the time of the work is a share (TS).
        share: The share of the hardware that the work has reserved (RS), 0 to 1.
    """

    total_g: float
    lifetime_s: float
    share: float = 1.0

    def __post_init__(self) -> None:
        if self.total_g < 0 or self.lifetime_s <= 0 or not 0 < self.share <= 1:
            raise ConfigError(
                f"embodied carbon of {self.total_g:g} g over {self.lifetime_s:g} s, share {self.share:g}: the lifetime "
                "must be above 0, the share above 0 and at most 1."
            )

    def of(self, duration_s: float) -> float:
        """Return the grams that belong to ``duration_s`` seconds of work."""
        return self.total_g * duration_s / self.lifetime_s * self.share


@dataclass(frozen=True, kw_only=True)
class CarbonIntensity:
    """The software carbon intensity of some executions.

    Attributes:
        sci_g_per_unit: Grams of CO2 equivalent per functional unit; None unless unit and embodied carbon are declared.
        functional_unit: The declared unit (R), such as `1000 responses`; None if undeclared.
        units: How many of them the executions delivered; None if undeclared.
        energy_kwh: Energy (E).
        operational_g: Grams of that energy (E * I); None if unknown.
        embodied_g: Grams of the hardware (M); None if undeclared.
        duration_s: Seconds of work.
        measured_fraction: Share of the energy that counters measured.
        intensity_kinds: `average` or `marginal`, or both: the figures of different kinds should not be compared.
        executions: How many executions it is of.
    """

    sci_g_per_unit: float | None
    functional_unit: str | None
    units: float | None
    energy_kwh: float
    operational_g: float | None
    embodied_g: float | None
    duration_s: float
    measured_fraction: float
    intensity_kinds: tuple[str, ...]
    executions: int


def carbon_intensity(
    executions: Sequence[ExecutionRecord],
    *,
    functional_unit: str | None = None,
    units: float | None = None,
    embodied: Embodied | None = None,
) -> CarbonIntensity:
    """Return the software carbon intensity of executions together.

    Args:
        executions: The executions, read with their documents.
        functional_unit: What one unit is.
        units: How many units the executions delivered.
        embodied: The hardware's embodied carbon; of zero grams if it is to be left out on purpose.

    Raises:
        ConfigError: Only one of unit and number is declared, or the number is not above zero.
    """
    if (functional_unit is None) != (units is None):
        raise ConfigError("A functional unit and the number of such units belong together. Declare both, or neither.")
    if units is not None and not units > 0:
        raise ConfigError(f"{units:g} units were delivered: a score needs more than none.")
    energy_j = sum(each.energy_j or 0.0 for each in executions)
    measured_j = sum((each.energy_j or 0.0) * (each.measured_fraction or 0.0) for each in executions)
    duration_s = sum(each.duration_s or 0.0 for each in executions)
    unknown = not executions or any(each.carbon_g is None for each in executions)
    operational_g = None if unknown else sum(each.carbon_g or 0.0 for each in executions)
    embodied_g = None if embodied is None else embodied.of(duration_s)
    declared = operational_g is not None and embodied_g is not None and units is not None
    return CarbonIntensity(
        sci_g_per_unit=((operational_g or 0.0) + (embodied_g or 0.0)) / (units or 1.0) if declared else None,
        functional_unit=functional_unit,
        units=units,
        energy_kwh=energy_j / _J_PER_KWH,
        operational_g=operational_g,
        embodied_g=embodied_g,
        duration_s=duration_s,
        measured_fraction=measured_j / energy_j if energy_j else 0.0,
        intensity_kinds=tuple(sorted({str(each.energy["intensity_kind"]) for each in executions if each.energy})),
        executions=len(executions),
    )
