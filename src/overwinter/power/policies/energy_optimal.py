"""The policy `energy_optimal`: finds the limit with the least energy per unit of work while the work runs.

The work continues under each limit that is tried, so that a try costs only its excess over the best limit; the
objective is the energy of the whole job. `probing` selects the limits to try. Those close to the best are tried
retried as long as they may still be the best (optimism in the face of uncertainty: Auer, Cesa-Bianchi and Fischer
2002), since the noise of one measurement exceeds the differences between limits.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

from overwinter.config.settings import setting
from overwinter.power.interface import Decision, Observation, OperatingPoint
from overwinter.power.policies.decisions import as_before, limit_all, usable_points
from overwinter.power.policies.probing import energy_per_work_j, search
from overwinter.power.settings import ProfileUse, SearchingPowerConfig

_DOUBT = 0.05  # relative error of the energy in one trial
_MAX_TRIALS = 50  # of one limit; then the search is over


@dataclass
class EnergyOptimalPowerConfig(SearchingPowerConfig):
    """The limit with the least energy per unit of work, found with few probes."""

    max_slowdown: float | None = setting(
        "maximum slowdown against the work without a cap (0.2: 20 %); null: no maximum", at_least=0
    )
    step_w: float = setting("watts between two tried limits", above=0)
    profile: str | None = setting(
        "folder of profiles (power and speed under each limit, per stage and device), read and updated; null: none"
    )

    def open(self) -> EnergyOptimal:
        """Create the policy."""
        return EnergyOptimal(max_slowdown=self.max_slowdown, step_w=self.step_w)

    def profile_use(self) -> ProfileUse | None:
        """Read and update the stored profiles."""
        return None if self.profile is None else ProfileUse(folder=self.profile, writes=True)

    @classmethod
    def over(cls, limits_w: Sequence[float], max_slowdown: float | None) -> EnergyOptimal:
        """Create the policy for a device that supports ``limits_w`` only."""
        return EnergyOptimal(max_slowdown=max_slowdown, step_w=1.0, limits_w=limits_w)


@dataclass(frozen=True, kw_only=True)
class EnergyOptimal:
    """Tries limits, each until the observation has a point for it, then continues with the best.

    Attributes:
        max_slowdown: maximum slowdown against the work without a cap; None: no maximum.
        step_w: watts between two tried limits.
        limits_w: the limits to try; None: from the highest allowed one down in steps, and the lowest.
    """

    max_slowdown: float | None
    step_w: float
    limits_w: Sequence[float] | None = None

    def decide(self, observation: Observation) -> Decision:
        """Return the next limit to try, or the best one."""
        limits_w = self._grid_w(observation) if self.limits_w is None else self.limits_w
        if not limits_w:
            return as_before("no device supports power limits")
        found = search(limits_w, usable_points(observation), self.max_slowdown)
        if found.next_w is not None:
            return limit_all(observation, found.next_w, f"trying {found.next_w:.0f} W")
        best = min(found.fast_enough, key=energy_per_work_j)
        retried = best if best.trials >= _MAX_TRIALS else min(found.fast_enough, key=_least_credible_j)
        if retried != best:
            return limit_all(observation, retried.limit_w, f"trying {retried.limit_w:.0f} W again")
        decision = limit_all(observation, best.limit_w, f"{best.limit_w:.0f} W needs the least energy per work")
        return replace(decision, settled=True)

    def _grid_w(self, observation: Observation) -> list[float]:
        lowest_w = max((device.min_w for device in observation.devices), default=0.0)
        highest_w = min((device.ceiling_w for device in observation.devices), default=-1.0)
        if highest_w < lowest_w:
            return []
        steps = int((highest_w - lowest_w + 1e-6) / self.step_w)
        known = [highest_w - step * self.step_w for step in range(steps + 1)]
        if known[-1] - lowest_w > self.step_w / 2:
            known.append(lowest_w)
        return known[::-1]


def _least_credible_j(point: OperatingPoint) -> float:
    return energy_per_work_j(point) * (1 - _DOUBT / math.sqrt(point.trials))
