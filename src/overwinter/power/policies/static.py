"""The policy `static`: a constant limit."""

from __future__ import annotations

from dataclasses import dataclass

from overwinter.config.settings import setting
from overwinter.power.interface import Decision, Observation
from overwinter.power.policies.limits import LimitSetting, limited, read_limit
from overwinter.power.settings import CappedPowerConfig


@dataclass
class StaticPowerConfig(CappedPowerConfig):
    """A constant power limit."""

    limit: str | None = setting(
        "watts (150 W), or a share of the range from the lowest to the highest limit; null: unchanged"
    )
    clock_mhz: int | None = setting(
        "locked GPU clock in MHz, for work that no power limit slows down, such as decoding; null: unlocked", at_least=1
    )

    def check(self, key: str) -> None:
        """Refuse an invalid limit."""
        read_limit(self.limit, key=f"{key}.limit")

    def open(self) -> StaticCap:
        """Create the policy."""
        return StaticCap(limit=read_limit(self.limit, key="power.limit"), clock_mhz=self.clock_mhz)


@dataclass(frozen=True, kw_only=True)
class StaticCap:
    """A policy with a constant limit.

    Attributes:
        limit: limit on every device; None: unchanged.
        clock_mhz: locked clock; None: unlocked.
    """

    limit: LimitSetting | None
    clock_mhz: int | None = None

    def decide(self, observation: Observation) -> Decision:
        """Return the limit."""
        return limited(observation, self.limit, "the configured limit", self.clock_mhz)
