"""The sleep levels of an idle model, and the idle time from which each of them pays.

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
    """A sleep level, with its measured costs.

    Attributes:
        name: The name, such as `ready`, `parked`, `preforked`, `off`.
        power_w: The power draw at this level.
        wake_s: The time from a request to `ready`; the 95th percentile, if measured.
        wake_j: The total energy of one wake.
        sleep_s: The time to go there from the level above; a request that arrives meanwhile waits for its end.
        sleep_j: The total energy of going there.
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
        """Return the energy of going there and waking, above that of staying there for the same time."""
        return self.sleep_j + self.wake_j - self.power_w * (self.sleep_s + self.wake_s)


@dataclass(frozen=True, kw_only=True)
class Descent:
    """One step of the lower envelope: a sleep level, and from which idle time it is the cheapest choice."""

    after_s: float
    level: int


class SleepLevels:
    """The sleep levels from the top (`ready`) down, each with less power draw than the one above it."""

    def __init__(self, levels: Sequence[SleepLevel]) -> None:
        """Check the sleep levels.

        Raises:
            ConfigError: There is no level below the top, the top needs a wake, a name is used twice, or a level draws
                as much as the one above it.
        """
        self.levels = tuple(levels)
        if len(self.levels) < 2:
            raise ConfigError(f"There must be a sleep level below the top, but there is {len(self.levels)} in total.")
        top = self.levels[0]
        if top.wake_s or top.wake_j or top.sleep_s or top.sleep_j:
            raise ConfigError(
                f"The top level {top.name!r} must be ready: without time or energy to go there or to wake."
            )
        for above, below in zip(self.levels, self.levels[1:], strict=False):
            if below.power_w >= above.power_w:
                raise ConfigError(
                    f"{below.name!r} draws {below.power_w:g} W, {above.name!r} above it {above.power_w:g} W: "
                    "it saves nothing. Remove it, or correct the watts."
                )
        names = [level.name for level in self.levels]
        if len(set(names)) < len(names):
            raise ConfigError(f"Two sleep levels share a name: {', '.join(names)}.")

    @cached_property
    def descents(self) -> tuple[Descent, ...]:
        """Return the lower envelope, from its first step down, without levels that never pay."""
        steps: list[Descent] = []
        for level in range(1, len(self.levels)):
            while steps and self._pays_after_s(steps[-1].level, level) <= steps[-1].after_s:
                steps.pop()
            above = steps[-1].level if steps else 0
            steps.append(Descent(after_s=self._pays_after_s(above, level), level=level))
        return tuple(steps)

    @property
    def break_even_s(self) -> float:
        """Return the idle time from which any sleep pays."""
        return self.descents[0].after_s

    def _pays_after_s(self, above: int, below: int) -> float:
        saved_w = self.levels[above].power_w - self.levels[below].power_w
        return max(0.0, (self.levels[below].switch_j - self.levels[above].switch_j) / saved_w)
