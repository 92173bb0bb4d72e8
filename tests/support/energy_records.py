"""Records of energy as a meter leaves them, for tests of what reads them."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from overwinter.energy import EnergyRecord, EnergyReport

_REPORT = EnergyReport(
    duration_s=10.0,
    energy_j=100.0,
    uncertainty_j=5.0,
    measured_fraction=1.0,
    components=(),
    idle_j=None,
    above_idle_j=None,
    warnings=(),
)


def energy_record(*, stage: str = "train", **values: Any) -> EnergyRecord:
    """Return the content of an energy.json, with some values of the test's own."""
    return EnergyRecord.of(_REPORT, stage=stage, **{"carbon_g": 0.01, **values})


@pytest.fixture(scope="session")
def energy() -> Callable[..., EnergyRecord]:
    """Return `energy_record`."""
    return energy_record
