"""From ``power.policy`` to a policy."""

from __future__ import annotations

from collections.abc import Callable
from importlib.metadata import entry_points
from typing import Any, cast

from overwinter.config.checks.power import read_limit, read_rules, read_time_zone
from overwinter.errors import ConfigError, nearest
from overwinter.power.interface import PowerPolicy
from overwinter.power.policies.budget_pacing import BudgetPacing
from overwinter.power.policies.energy_optimal import EnergyOptimal
from overwinter.power.policies.fixed import NoCap, Schedule, StaticCap
from overwinter.power.policies.planned import CarbonAware, PriceAware

GROUP = "overwinter.power_policies"


def open_policy(config: Any) -> PowerPolicy:
    """Make the policy that ``config.policy`` names, built in or an entry point's, from the group `power/`.

    Raises:
        ConfigError: nobody offers it, or a value cannot be used.
    """
    name = str(config.policy)
    if name in _BUILT_IN:
        return _BUILT_IN[name](config)
    added = {point.name: point for point in entry_points(group=GROUP)}
    if name in added:
        return cast(PowerPolicy, added[name].load()(config))
    known = policy_names()
    raise ConfigError(f"power.policy={name!r} is unknown. Known: {', '.join(known)}.{nearest(name, known)}")


def policy_names() -> list[str]:
    """Return the names of all policies, built in and added."""
    return sorted({*_BUILT_IN, *(point.name for point in entry_points(group=GROUP))})


def _static(config: Any) -> PowerPolicy:
    return StaticCap(limit=read_limit(config.limit, key="power.limit"), clock_mhz=config.clock_mhz)


def _schedule(config: Any) -> PowerPolicy:
    return Schedule(rules=read_rules(config.rules), time_zone=read_time_zone(config.time_zone))


_BUILT_IN: dict[str, Callable[[Any], PowerPolicy]] = {
    "none": lambda _: NoCap(),
    "static": _static,
    "schedule": _schedule,
    "energy_optimal": lambda config: EnergyOptimal(max_slowdown=config.max_slowdown, step_w=config.step_w),
    "budget_pacing": lambda _: BudgetPacing(),
    "carbon_aware": lambda config: CarbonAware(pauses=config.pause),
    "price_aware": lambda config: PriceAware(pauses=config.pause),
}
