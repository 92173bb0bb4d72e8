"""From ``power.policy`` to a policy."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from overwinter.plugins import Registry
from overwinter.power.interface import PowerPolicy

POLICIES: Registry[Callable[[Any], PowerPolicy]] = Registry(
    group="overwinter.power_policies",
    key="power.policy",
    built_in={
        "budget_pacing": "overwinter.power.policies.budget_pacing:open_budget_pacing",
        "carbon_aware": "overwinter.power.policies.planned:open_carbon_aware",
        "energy_optimal": "overwinter.power.policies.energy_optimal:open_energy_optimal",
        "none": "overwinter.power.policies.fixed:open_no_cap",
        "price_aware": "overwinter.power.policies.planned:open_price_aware",
        "schedule": "overwinter.power.policies.fixed:open_schedule",
        "static": "overwinter.power.policies.fixed:open_static",
    },
)


def open_policy(config: Any) -> PowerPolicy:
    """Make the policy that ``config.policy`` names, built in or an entry point's, from the group `power/`.

    Raises:
        ConfigError: nobody offers it, or a value cannot be used.
    """
    return POLICIES.find(str(config.policy))(config)


def policy_names() -> list[str]:
    """Return the names of all policies, built in and added."""
    return POLICIES.names()
