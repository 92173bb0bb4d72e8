"""The budget as a value: limits in base units, the price of a joule, and what they are held against."""

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
    """What something costs; None is unknown, never zero."""

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
    """What may be spent, and what has to come out of it.

    Attributes:
        total: limits on all stages together.
        stages: limits per stage; a stage without any is absent.
        price_per_j: money per joule, or None.
        currency: of `price_per_j` and of limits in money.
        mode: `stop`, `warn` or `degrade`.
        fallbacks: of the mode `degrade`: the overrides of each, in order.
        require_measured: modelled figures do not pass.
        measured_share: share of joules measured by counters from which a figure counts as measured.
        quality: how good the models have to be.
        net_saving: the chosen model must use fewer joules per response than the dense one.
        payback: when the joules spent on compressing must be earned back.
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
        """Return what of ``costs`` a limit on ``dimension`` is held against; None if that is not known."""
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
        """Return whether breaking ``limit`` stops anything; a soft one does not, nor any in the mode `warn`."""
        return limit.hard and self.mode != "warn"


def parse_budget(config: BudgetConfig) -> Budget:
    """Read the group `budget/` of the configuration.

    Raises:
        ConfigError: a wrong unit, a sum of stages above the total, or any other value that cannot be used.
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
