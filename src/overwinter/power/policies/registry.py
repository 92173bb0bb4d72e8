"""From ``power.policy`` to a policy."""

from __future__ import annotations

from typing import Any

from overwinter.power.interface import PowerPolicy
from overwinter.registries import POWER_POLICIES


def open_policy(config: Any) -> PowerPolicy:
    """Make the policy that ``config.policy`` names, built in or an entry point's, from the group `power/`.

    Raises:
        ConfigError: nobody offers it, or a value cannot be used.
    """
    policy: PowerPolicy = POWER_POLICIES.find(str(config.policy))(config)
    return policy


def policy_names() -> list[str]:
    """Return the names of all policies, built in and added."""
    return POWER_POLICIES.names()
