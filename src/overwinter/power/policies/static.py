"""The policy `static`: one limit from beginning to end."""

from __future__ import annotations

from dataclasses import dataclass

from overwinter.config.settings import setting
from overwinter.power.interface import Decision, Observation
from overwinter.power.policies.limits import LimitSetting, limited, read_limit
from overwinter.power.settings import CappedPowerConfig


@dataclass
class StaticPowerConfig(CappedPowerConfig):
    """One limit from beginning to end."""

    limit: str | None = setting(
        "watts (150 W), or a share of the range from the lowest to the highest limit; null leaves it alone"
    )
    clock_mhz: int | None = setting(
        "lock the GPU clock there (where no cap binds, such as decoding); null leaves it alone", at_least=1
    )

    def check(self, key: str) -> None:
        """Refuse a limit that cannot be read."""
        read_limit(self.limit, key=f"{key}.limit")

    def open(self) -> StaticCap:
        """Make the policy."""
        return StaticCap(limit=read_limit(self.limit, key="power.limit"), clock_mhz=self.clock_mhz)


@dataclass(frozen=True, kw_only=True)
class StaticCap:
    """One limit from beginning to end.

    Attributes:
        limit: on every device; None leaves it alone.
        clock_mhz: locked clock; None leaves it alone.
    """

    limit: LimitSetting | None
    clock_mhz: int | None = None

    def decide(self, observation: Observation) -> Decision:
        """Answer the limit."""
        return limited(observation, self.limit, "the limit of the configuration", self.clock_mhz)
