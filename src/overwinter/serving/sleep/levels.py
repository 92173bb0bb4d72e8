"""The sleep levels on which an idle model can sleep, and when each of them pays.

The lower envelope of the sleep levels' costs over the length of an idle period gives the break-even times: Irani,
Shukla and Gupta, *Online strategies for dynamic power management* (2003); Augustine, Irani and Swamy (FOCS
2004). With two levels it is ``T* = [E_sleep + E_wake - P_off (t_sleep + t_wake)] / (P_park - P_off)``.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

from overwinter.errors import ConfigError


@dataclass(frozen=True, kw_only=True)
class SleepLevel:
    """A way of sleeping, with its measured costs.

    Attributes:
        name: for instance `ready`, `parked`, `preforked`, `off`.
        power_w: drawn while asleep there.
        wake_s: from a request to being ready to answer it; the 95th percentile, where it was measured.
        wake_j: energy of one wake, all of it.
        sleep_s: from leaving the sleep level above until it is reached; a request that comes meanwhile waits for its
            end.
        sleep_j: energy of going there, all of it.
    """

    name: str
    power_w: float
    wake_s: float = 0.0
    wake_j: float = 0.0
    sleep_s: float = 0.0
    sleep_j: float = 0.0

    def __post_init__(self) -> None:
        for quantity in ("power_w", "wake_s", "wake_j", "sleep_s", "sleep_j"):
            value = getattr(self, quantity)
            if not (math.isfinite(value) and value >= 0):
                raise ConfigError(
                    f"The sleep level {self.name!r} has {quantity}={value}. It must be finite, zero or more."
                )

    @property
    def switch_j(self) -> float:
        """Energy of going there and waking from there, on top of staying there for as long."""
        return self.sleep_j + self.wake_j - self.power_w * (self.sleep_s + self.wake_s)


@dataclass(frozen=True, kw_only=True)
class Descent:
    """One step of the lower envelope: a sleep level, and from which idle time it is the cheapest choice."""

    after_s: float
    level: int


class SleepLevels:
    """Rungs from the top (ready to answer) down, each drawing less than the one above it."""

    def __init__(self, levels: Sequence[SleepLevel]) -> None:
        """Check the sleep levels.

        Raises:
            ConfigError: there is none below the top, the top needs a wake, a name is used twice, or a sleep level
                draws as much as the one above it.
        """
        self.levels = tuple(levels)
        if len(self.levels) < 2:
            raise ConfigError(f"There must be a sleep level below the top, but there is {len(self.levels)} in all.")
        top = self.levels[0]
        if top.wake_s or top.wake_j or top.sleep_s or top.sleep_j:
            raise ConfigError(f"The top level {top.name!r} must be ready: nothing to wake from, nowhere to sink.")
        for above, below in zip(self.levels, self.levels[1:], strict=False):
            if below.power_w >= above.power_w:
                raise ConfigError(
                    f"{below.name!r} draws {below.power_w:g} W, {above.name!r} above it {above.power_w:g} W: "
                    "going down saves nothing. Leave it out, or correct the watts."
                )
        names = [level.name for level in self.levels]
        if len(set(names)) < len(names):
            raise ConfigError(f"Two sleep levels share a name: {', '.join(names)}.")

    @cached_property
    def descents(self) -> tuple[Descent, ...]:
        """The lower envelope, from its first step down; sleep levels that never pay are not on it."""
        steps: list[Descent] = []
        for level in range(1, len(self.levels)):
            while steps and self._pays_after_s(steps[-1].level, level) <= steps[-1].after_s:
                steps.pop()
            above = steps[-1].level if steps else 0
            steps.append(Descent(after_s=self._pays_after_s(above, level), level=level))
        return tuple(steps)

    @property
    def break_even_s(self) -> float:
        """The idle time from which any sleep pays."""
        return self.descents[0].after_s

    def _pays_after_s(self, above: int, below: int) -> float:
        saved_w = self.levels[above].power_w - self.levels[below].power_w
        return max(0.0, (self.levels[below].switch_j - self.levels[above].switch_j) / saved_w)
