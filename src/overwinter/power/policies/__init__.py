"""The power policies: pure functions of what is observed (`overwinter.power.interface`).

`fixed` looks at nothing but the clock (`none`, `static`, `schedule`), `energy_optimal` tries limits with the help
of `probing`, `budget_pacing` spends evenly, `planned` follows a forecast (`carbon_aware`, `price_aware`). Third
parties add theirs as entry points of the group `overwinter.power_policies`; `registry` finds them all by name.
"""

from overwinter.power.policies.budget_pacing import BudgetPacing
from overwinter.power.policies.energy_optimal import EnergyOptimal
from overwinter.power.policies.fixed import NoCap, Schedule, StaticCap
from overwinter.power.policies.planned import CarbonAware, PriceAware
from overwinter.power.policies.registry import open_policy, policy_names

__all__ = [
    "BudgetPacing",
    "CarbonAware",
    "EnergyOptimal",
    "NoCap",
    "PriceAware",
    "Schedule",
    "StaticCap",
    "open_policy",
    "policy_names",
]
