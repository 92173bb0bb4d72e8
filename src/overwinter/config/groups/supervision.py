"""The groups that supervise work, whatever it is: a watched script has these and no others."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from omegaconf import MISSING

from overwinter.config.groups.budget import BudgetConfig
from overwinter.config.groups.energy import EnergyConfig, HardwareConfig
from overwinter.config.groups.ledger import LedgerConfig


@dataclass
class Supervision:
    """The part of `Config` that meters, limits and records work. `carbon` and `power` take their option's schema."""

    energy: EnergyConfig = field(default_factory=EnergyConfig)
    hardware: HardwareConfig = field(default_factory=HardwareConfig)
    ledger: LedgerConfig = field(default_factory=LedgerConfig)
    carbon: Any = MISSING
    power: Any = MISSING
    budget: BudgetConfig = field(default_factory=BudgetConfig)
