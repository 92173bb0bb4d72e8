"""The policy `energy_optimal`: the limit with the least energy per unit of work, found while the work goes on."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from overwinter.config.groups.power import EnergyOptimalPowerConfig
from overwinter.power.interface import Decision, Observation
from overwinter.power.policies.answers import as_before, limit_all, usable_points
from overwinter.power.policies.probing import search


@dataclass(frozen=True, kw_only=True)
class EnergyOptimal:
    """Tries few limits, each until the observation has a point for it, then stays with the best.

    Attributes:
        max_slowdown: how much longer the work may take than without a cap; None: no matter.
        step_w: distance between two limits that are tried.
    """

    max_slowdown: float | None
    step_w: float

    def decide(self, observation: Observation) -> Decision:
        """Answer the next limit to try, or the best."""
        limits_w = self.limits_w(observation)
        if not limits_w:
            return as_before("no device takes limits")
        found = search(limits_w, usable_points(observation), self.max_slowdown, len(observation.devices))
        if found.next_w is not None:
            return limit_all(observation, found.next_w, f"trying {found.next_w:.0f} W")
        if found.best_w is None:
            return as_before("no limit is known to be fast enough")
        decision = limit_all(observation, found.best_w, f"{found.best_w:.0f} W needs the least energy per work")
        return replace(decision, settled=True)

    def limits_w(self, observation: Observation) -> list[float]:
        """Return the limits that may be tried: from the highest allowed one down in steps, and the lowest."""
        lowest_w = max((device.min_w for device in observation.devices), default=0.0)
        highest_w = min((device.ceiling_w for device in observation.devices), default=-1.0)
        if highest_w < lowest_w:
            return []
        steps = np.arange(highest_w, lowest_w - 1e-6, -self.step_w)
        known = [float(limit_w) for limit_w in steps]
        if known[-1] - lowest_w > self.step_w / 2:
            known.append(lowest_w)
        return known[::-1]


def open_energy_optimal(config: EnergyOptimalPowerConfig) -> EnergyOptimal:
    """Make the policy from the group `power/`."""
    return EnergyOptimal(max_slowdown=config.max_slowdown, step_w=config.step_w)
