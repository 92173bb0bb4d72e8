"""Checks of the group `power/` beside its own: what the policy needs of other groups."""

from __future__ import annotations

from overwinter.config.groups import Config
from overwinter.config.limits import read_limits
from overwinter.errors import ConfigError

_PACED = ("energy", "carbon", "money")


def check_power(config: Config) -> None:
    """Check the group `power/` of a typed configuration, and that there is a budget where the policy needs one.

    Raises:
        ConfigError: the first value that cannot be used, with its key.
    """
    config.power.check("power")
    if config.power.needs != "budget":
        return
    total, stages = read_limits(config.budget)
    limits = [*total, *(each for limits in stages.values() for each in limits)]
    if not any(limit.amount.dimension in _PACED for limit in limits):
        raise ConfigError(
            f"power.policy={config.power.policy} has nothing to pace: no joules, grams or money are limited. "
            "Set budget.total, such as budget.total='2 kWh'."
        )
