"""The budget as a value: limits in base units, the price of a joule, and the costs to compare with them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

from overwinter.config import check_settings
from overwinter.config.groups.budget import check_budget_values
from overwinter.config.limits import Limit, read_fallbacks, read_limits, read_price

if TYPE_CHECKING:
    from overwinter.config.groups.budget import BudgetConfig, PaybackConfig, QualityConfig

_J_PER_KWH = 3.6e6


class Costs(Protocol):
    """Costs in joules, grams and seconds; None means unknown, never zero."""

    @property
    def energy_j(self) -> float | None:
        """Joules."""

    @property
    def carbon_g(self) -> float | None:
        """Grams of CO2 equivalent."""

    @property
    def duration_s(self) -> float | None:
        """Seconds."""


@dataclass(frozen=True, kw_only=True)
class Budget:
    """Limits on costs and on quality.

    Attributes:
        total: Limits on all stages together.
        stages: Limits per stage; stages without a limit are absent.
        price_per_j: Money per joule, or None.
        currency: The currency of `price_per_j` and of limits in money.
        mode: `stop`, `warn` or `degrade`.
        fallbacks: The overrides of each fallback of the mode `degrade`, in order.
        require_measured: Whether modelled figures fail a gate.
        measured_share: The minimum share of joules from counters for a figure to count as measured.
        quality: Limits on the quality of models.
        net_saving: Whether the chosen model must use fewer joules per response than the dense one.
        payback: Limits on the break-even point of compression.
    """

    total: tuple[Limit, ...]
    stages: Mapping[str, tuple[Limit, ...]]
    price_per_j: float | None
    currency: str | None
    mode: str
    fallbacks: tuple[tuple[str, ...], ...]
    require_measured: bool
    measured_share: float
    quality: QualityConfig
    net_saving: bool
    payback: PaybackConfig

    def limits_of(self, stage: str) -> tuple[Limit, ...]:
        """Return the limits on one stage alone."""
        return self.stages.get(stage, ())

    def amount(self, dimension: str, costs: Costs) -> float | None:
        """Return the amount of ``costs`` in ``dimension``, to compare with a limit; None if unknown."""
        match dimension:
            case "energy":
                return costs.energy_j
            case "carbon":
                return costs.carbon_g
            case "time":
                return costs.duration_s
            case _:
                energy_j = costs.energy_j
                return None if self.price_per_j is None or energy_j is None else energy_j * self.price_per_j

    def binds(self, limit: Limit) -> bool:
        """Return whether exceeding ``limit`` stops the work: not for a soft limit, nor in the mode `warn`."""
        return limit.hard and self.mode != "warn"


def parse_budget(config: BudgetConfig) -> Budget:
    """Parse the group `budget/` of the configuration.

    Raises:
        ConfigError: a wrong unit, a sum of stages above the total, or another invalid value.
    """
    check_settings(config, key="budget")
    check_budget_values(config)
    total, stages = read_limits(config)
    price = read_price(config)
    return Budget(
        total=total,
        stages=stages,
        price_per_j=price.value / _J_PER_KWH if price else None,
        currency=price.unit if price else None,
        mode=config.mode,
        fallbacks=read_fallbacks(config),
        require_measured=config.require_measured,
        measured_share=config.measured_share,
        quality=config.quality,
        net_saving=config.net_saving,
        payback=config.payback,
    )
